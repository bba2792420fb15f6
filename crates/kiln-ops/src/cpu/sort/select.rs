//! Parts of the sorted order.

use super::key::SortKey;
use super::{GRAIN, radix, write};
use crate::cpu::arch::{Arch, Kernel, dispatch_single_to_avx2};
use crate::cpu::split::pieces2;

/// The `k` largest (or smallest) elements of each row of `n`, best first, and where they were; of equals the first ones.
/// `k` is at most `n`.
pub fn top_k<T: SortKey>(x: &[T], n: usize, k: usize, largest: bool, values: &mut [T], index: &mut [i64]) {
    if x.is_empty() || k == 0 {
        return;
    }
    let rows = (GRAIN / n).max(1);
    let count = (x.len() / n).div_ceil(rows);
    pieces2(values, rows * k, index, rows * k, count, |i, values, index| {
        let x = &x[i * rows * n..][..values.len() / k * n];
        let mut items = Vec::new();
        for ((x, values), index) in
            x.chunks_exact(n).zip(values.chunks_exact_mut(k)).zip(index.chunks_exact_mut(k))
        {
            dispatch_single_to_avx2::<T, _>(Best { x, k, descending: largest, items: &mut items });
            items.sort_unstable();
            write(x, largest, &items, values, index);
        }
    });
}

/// Collects the `k` first items of the sorted order, in any order.
struct Best<'a, T: SortKey> {
    x: &'a [T],
    k: usize,
    descending: bool,
    items: &'a mut Vec<radix::Item<T::Key>>,
}

impl<T: SortKey> Kernel for Best<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let Best { x, k, descending, items } = self;
        const STEP: usize = 64;
        items.clear();
        // What comes is collected until there are a few times k; then all but the k best are dropped, and only what
        // beats the worst of them is collected from there on.
        let limit = (2 * k).max(k + 256);
        let mut bound: Option<T::Key> = None;
        for (b, chunk) in x.chunks(STEP).enumerate() {
            if let Some(bound) = bound {
                let mut any = false;
                for &v in chunk {
                    any |= v.ordered(descending) < bound;
                }
                if !any {
                    continue;
                }
            }
            for (i, &v) in chunk.iter().enumerate() {
                let key = v.ordered(descending);
                if bound.is_none_or(|bound| key < bound) {
                    items.push((key, (b * STEP + i) as u32));
                }
            }
            if items.len() >= limit {
                let (_, worst, _) = items.select_nth_unstable(k - 1);
                bound = Some(worst.0);
                items.truncate(k);
            }
        }
        if items.len() > k {
            items.select_nth_unstable(k - 1);
            items.truncate(k);
        }
    }
}

/// The `k`-th smallest element of each row of `n`, counted from 0, and where it was; NaN is larger than any number.
pub fn kth_value<T: SortKey>(x: &[T], n: usize, k: usize, values: &mut [T], index: &mut [i64]) {
    let rows = (GRAIN / n.max(1)).max(1);
    let count = values.len().div_ceil(rows);
    pieces2(values, rows, index, rows, count, |i, values, index| {
        let mut items = Vec::with_capacity(n);
        for (r, (v, at)) in values.iter_mut().zip(index).enumerate() {
            let row = (i * rows + r) * n;
            items.clear();
            items.extend(x[row..row + n].iter().enumerate().map(|(i, v)| (v.key(), i as u32)));
            let (_, &mut (_, place), _) = items.select_nth_unstable(k);
            (*v, *at) = (x[row + place as usize], place as i64);
        }
    });
}

/// The most frequent element of each row of `n` (the smallest of several), and where it was last.
pub fn mode<T: SortKey>(x: &[T], n: usize, values: &mut [T], index: &mut [i64]) {
    let rows = (GRAIN / n.max(1)).max(1);
    let count = values.len().div_ceil(rows);
    pieces2(values, rows, index, rows, count, |i, values, index| {
        let (mut items, mut scratch) = (Vec::with_capacity(n), Vec::new());
        for (r, (v, at)) in values.iter_mut().zip(index).enumerate() {
            let row = (i * rows + r) * n;
            items.clear();
            items.extend(x[row..row + n].iter().enumerate().map(|(i, v)| (v.key(), i as u32)));
            let row_x = &x[row..row + n];
            if n <= BY_INSERTION && row_x.iter().any(is_nan) {
                sort_by_insertion(row_x, &mut items);
            } else {
                radix::sort(&mut items, &mut scratch);
            }
            // NaN differs from NaN.
            let best = items
                .chunk_by(|a, b| a.0 == b.0 && !is_nan(&row_x[a.1 as usize]))
                .fold(&items[..0], |best, run| if run.len() > best.len() { run } else { best });
            if let Some(&(_, place)) = best.last() {
                (*v, *at) = (x[row + place as usize], place as i64);
            }
        }
    });
}

fn is_nan<T: SortKey>(v: &T) -> bool {
    v.partial_cmp(v).is_none()
}

/// Up to so many elements the sort of PyTorch's `mode`, which is that of the GNU library, goes by insertion.
const BY_INSERTION: usize = 16;

/// Sorts a row by comparing elements and not keys. NaN is neither smaller nor larger than anything, so that where it ends
/// up, and which of several equally frequent elements comes first, depends on how the sort goes: this is PyTorch's way.
fn sort_by_insertion<T: SortKey>(row: &[T], items: &mut [radix::Item<T::Key>]) {
    for i in 1..items.len() {
        let v = row[items[i].1 as usize];
        let mut to = i;
        if v < row[items[0].1 as usize] {
            to = 0;
        } else {
            while v < row[items[to - 1].1 as usize] {
                to -= 1;
            }
        }
        items[to..=i].rotate_right(1);
    }
}

/// The distinct elements of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Unique<T> {
    /// Each element once.
    pub values: Vec<T>,
    /// For every element of the input, which of `values` it is.
    pub inverse: Vec<i64>,
    /// How often each of `values` occurs.
    pub counts: Vec<i64>,
}

/// The distinct elements, rising. NaN differs from NaN, as everywhere else.
pub fn unique<T: SortKey>(x: &[T]) -> Unique<T> {
    let mut items: Vec<_> = x.iter().enumerate().map(|(i, v)| (v.key(), i as u32)).collect();
    radix::sort(&mut items, &mut Vec::new());
    let mut result = Unique { values: Vec::new(), inverse: vec![0; x.len()], counts: Vec::new() };
    for (_, place) in items {
        result.add(x[place as usize], place as usize);
    }
    result
}

/// The elements without those that equal the one before them.
pub fn unique_consecutive<T: SortKey>(x: &[T]) -> Unique<T> {
    let mut result = Unique { values: Vec::new(), inverse: vec![0; x.len()], counts: Vec::new() };
    for (place, &v) in x.iter().enumerate() {
        result.add(v, place);
    }
    result
}

impl<T: SortKey> Unique<T> {
    fn add(&mut self, v: T, place: usize) {
        if self.values.last() != Some(&v) {
            self.values.push(v);
            self.counts.push(0);
        }
        if let Some(count) = self.counts.last_mut() {
            *count += 1;
        }
        self.inverse[place] = self.values.len() as i64 - 1;
    }
}
