//! Sorting along the last axis, and what sorted order gives: the best k, the k-th, the most frequent, unique elements.
//!
//! Elements become unsigned integers in the same order ([`SortKey`]); NaN comes after all numbers, and the two zeros are
//! equal. Sorting is stable.

mod key;
mod radix;
mod select;

pub use key::SortKey;
pub use select::{Unique, kth_value, mode, top_k, unique, unique_consecutive};

use std::cmp::Ordering;

use self::key::Bits;
use super::split::pieces2;

/// About as many elements are one task.
const GRAIN: usize = 4096;

/// Sorts the rows of `n` elements of `x`, stably: `values` and where in the row each was. NaN is larger than any number.
pub fn sort<T: SortKey>(x: &[T], n: usize, descending: bool, values: &mut [T], index: &mut [i64]) {
    if x.is_empty() {
        return;
    }
    let rows = (GRAIN / n).max(1);
    let count = (x.len() / n).div_ceil(rows);
    pieces2(values, rows * n, index, rows * n, count, |i, values, index| {
        let x = &x[i * rows * n..][..values.len()];
        let (mut items, mut scratch) = (Vec::with_capacity(n), Vec::new());
        for ((x, values), index) in
            x.chunks_exact(n).zip(values.chunks_exact_mut(n)).zip(index.chunks_exact_mut(n))
        {
            items.clear();
            items.extend(x.iter().enumerate().map(|(i, v)| (v.ordered(descending), i as u32)));
            radix::sort(&mut items, &mut scratch);
            write(x, descending, &items, values, index);
        }
    });
}

/// The numbers below `n` in the order that `compare` says, equal ones as they come; compiled once for all comparisons.
pub(crate) fn order(n: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| compare(a, b));
    order
}

/// Writes sorted items as elements and indices.
fn write<T: SortKey>(
    x: &[T],
    descending: bool,
    items: &[(T::Key, u32)],
    values: &mut [T],
    index: &mut [i64],
) {
    for ((&(key, i), v), at) in items.iter().zip(values).zip(index) {
        // Most keys give the element back without a visit to its old place.
        *v = T::from_key(if descending { key.inverted() } else { key }).unwrap_or_else(|| x[i as usize]);
        *at = i as i64;
    }
}

#[cfg(test)]
mod tests;
