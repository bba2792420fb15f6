//! Reading and writing at lists of positions on the host.

use std::ops::Range;

use kiln_storage::{Access, DType, Error, RawTensor, Result, with_dtype};

use super::num::Num;
use super::walk::{Nest, Steps, by_size, copy_row, host, steps, tasks};
use crate::copy::contiguous_copy;
use crate::op::Combine;

/// The parameters of [`crate::Op::Index`].
pub(crate) struct Plan<'a> {
    pub axes: &'a [usize],
    pub place: usize,
    pub wrap: bool,
}

/// Positions resolved at a time: they stay in the first-level cache.
const BLOCK: usize = 512;

/// The index tensors of one call.
struct Positions<'a> {
    lists: Vec<&'a [i64]>,
    sizes: Vec<usize>,
    steps: Steps,
    wrap: bool,
}

impl<'a> Positions<'a> {
    /// # Safety
    /// The indices are contiguous int64 host tensors that nobody writes to while the result lives.
    unsafe fn new(plan: &Plan<'_>, x: &RawTensor, indices: &'a [&RawTensor]) -> Positions<'a> {
        let list = |t: &&RawTensor| {
            assert!(t.dtype() == DType::I64 && t.is_contiguous(), "indices are contiguous int64");
            match t.numel() {
                0 => &[][..],
                // SAFETY: the caller's promise, and the assertion.
                n => unsafe { std::slice::from_raw_parts(host(t).get().cast::<i64>(), n) },
            }
        };
        let x_steps = steps(x);
        Positions {
            lists: indices.iter().map(list).collect(),
            sizes: plan.axes.iter().map(|&a| x.shape()[a]).collect(),
            steps: plan.axes.iter().map(|&a| x_steps[a]).collect(),
            wrap: plan.wrap,
        }
    }

    fn len(&self) -> usize {
        self.lists[0].len()
    }

    /// Writes where the positions of the range lie, in elements from the first; `false` if one is out of bounds.
    #[inline]
    fn resolve(&self, range: Range<usize>, offsets: &mut [isize]) -> bool {
        let mut inside = true;
        for (j, list) in self.lists.iter().enumerate() {
            let (size, step) = (self.sizes[j] as i64, self.steps[j]);
            let add = if self.wrap { size } else { 0 };
            for (offset, &index) in offsets.iter_mut().zip(&list[range.clone()]) {
                let index = if index < 0 { index.wrapping_add(add) } else { index };
                inside &= (index as u64) < size as u64;
                let here = (index as isize).wrapping_mul(step);
                *offset = if j == 0 { here } else { offset.wrapping_add(here) };
            }
        }
        inside
    }

    /// All offsets.
    fn resolve_all(&self, op: &'static str, axes: &[usize]) -> Result<Vec<isize>> {
        let mut offsets = vec![0; self.len()];
        if self.resolve(0..self.len(), &mut offsets) {
            Ok(offsets)
        } else {
            Err(self.out_of_bounds(op, axes))
        }
    }

    /// The error about the first index that is out of bounds.
    #[cold]
    fn out_of_bounds(&self, op: &'static str, axes: &[usize]) -> Error {
        for (j, list) in self.lists.iter().enumerate() {
            let size = self.sizes[j] as i64;
            let low = if self.wrap { -size } else { 0 };
            if let Some(bad) = list.iter().find(|i| **i < low || **i >= size) {
                return out_of_bounds(op, *bad, axes[j], size as usize);
            }
        }
        unreachable!("one index is out of bounds")
    }
}

#[cold]
pub(crate) fn out_of_bounds(op: &'static str, index: i64, axis: usize, size: usize) -> Error {
    Error::index(op, format!("index {index} is out of bounds for dimension {axis} with size {size}"))
}

/// Sizes and strides of the axes of `x` that no index is for: those before the place, and those after it.
struct Rest {
    outer: (Vec<usize>, Steps),
    inner: (Vec<usize>, Steps),
}

impl Rest {
    fn new(plan: &Plan<'_>, x: &RawTensor) -> Rest {
        let x_steps = steps(x);
        let free: Vec<usize> = (0..x.rank()).filter(|a| !plan.axes.contains(a)).collect();
        let pick = |axes: &[usize]| {
            (axes.iter().map(|&a| x.shape()[a]).collect(), axes.iter().map(|&a| x_steps[a]).collect())
        };
        Rest { outer: pick(&free[..plan.place]), inner: pick(&free[plan.place..]) }
    }
}

/// The kernel of [`crate::Op::Index`].
pub(crate) fn get(op: &'static str, plan: Plan<'_>, ins: &[&RawTensor], y: &RawTensor) -> Result<()> {
    let (x, indices) = (ins[0], &ins[1..]);
    let _access = Access::new(op, ins.iter().map(|t| t.storage()), [y.storage()])?;
    // SAFETY: the access keeps writers out, and `y` is fresh memory.
    let positions = unsafe { Positions::new(&plan, x, indices) };
    let n = positions.len();
    if y.numel() == 0 {
        // Empty, but a wrong index is one all the same.
        return positions.resolve_all(op, plan.axes).map(|_| ());
    }
    let rest = Rest::new(&plan, x);
    let inner: usize = rest.inner.0.iter().product();
    let dense: Steps = dense_steps(&rest.inner.0);
    let block = Nest::new(&rest.inner.0, [&rest.inner.1, &dense]);
    let outer: usize = rest.outer.0.iter().product();
    let (from, to) = (host(x), host(y));
    let size = x.dtype().size();
    let whole_rows = block.rows() == 1 && (block.row() == 1 || block.row_strides() == [1, 1]);
    // Copies the elements of positions `offsets`, of the outer place `base`, to position `at` of the result.
    let copy = |offsets: &[isize], base: isize, at: usize| {
        let bytes = inner * size;
        let (from, to) =
            (from.get().wrapping_offset(base * size as isize), to.get().wrapping_add(at * bytes));
        // SAFETY: `resolve` has checked the offsets, so that all reads lie inside the layout of `x`, and `y` has room for
        // `n` rows for each outer place.
        unsafe {
            if !whole_rows {
                by_size!(size, W => for (i, &offset) in offsets.iter().enumerate() {
                    let (from, to) = (from.cast::<W>().offset(offset), to.cast::<W>().add(i * inner));
                    let [f, t] = block.row_strides();
                    block.for_rows(0..block.rows(), |[p, q]| copy_row(from.offset(p), f, to.offset(q), t, block.row()));
                });
                return;
            }
            match (bytes, size) {
                (1, _) => copy_words::<u8>(from, to, offsets, size),
                (2, _) => copy_words::<u16>(from, to, offsets, size),
                (4, _) => copy_words::<u32>(from, to, offsets, size),
                (8, _) => copy_words::<u64>(from, to, offsets, size),
                (16, _) => copy_words::<u128>(from, to, offsets, size),
                _ => {
                    for (i, &offset) in offsets.iter().enumerate() {
                        let row = from.offset(offset * size as isize);
                        std::ptr::copy_nonoverlapping(row, to.add(i * bytes), bytes);
                    }
                }
            }
        }
    };
    if outer == 1 {
        let failed = std::sync::atomic::AtomicBool::new(false);
        let row_bytes = if whole_rows { inner * size } else { 0 };
        tasks(n, inner, &|range| {
            if let ([list], 1 | 2 | 4 | 8) = (&positions.lists[..], row_bytes) {
                // Single words, the most frequent case: one pass, with no offsets in between.
                let to = to.get().wrapping_add(range.start * row_bytes);
                // SAFETY: every index is checked before its word is read; `y` has a word for each.
                let inside = unsafe {
                    by_size!(row_bytes, W => select_words::<W>(&positions, &list[range], from.get(), to, size))
                };
                if !inside {
                    failed.store(true, std::sync::atomic::Ordering::Relaxed);
                }
                return;
            }
            let mut offsets = [0isize; BLOCK];
            let mut at = range.start;
            while at < range.end {
                let end = range.end.min(at + BLOCK);
                let offsets = &mut offsets[..end - at];
                if !positions.resolve(at..end, offsets) {
                    failed.store(true, std::sync::atomic::Ordering::Relaxed);
                    return;
                }
                copy(offsets, 0, at);
                at = end;
            }
        });
        return match failed.into_inner() {
            true => Err(positions.out_of_bounds(op, plan.axes)),
            false => Ok(()),
        };
    }
    let offsets = positions.resolve_all(op, plan.axes)?;
    let places = Nest::points(&rest.outer.0, [&rest.outer.1]);
    tasks(outer, n * inner, &|range| {
        let mut o = range.start;
        places.for_rows(range, |[base]| {
            copy(&offsets, base, o * n);
            o += 1;
        });
    });
    Ok(())
}

/// Row-major strides.
fn dense_steps(shape: &[usize]) -> Steps {
    let mut out = Steps::from_elem(1, shape.len());
    for axis in (1..shape.len()).rev() {
        out[axis - 1] = out[axis] * shape[axis] as isize;
    }
    out
}

/// Copies one word per offset; offsets count elements of `size` bytes.
///
/// # Safety
/// Every word lies inside readable memory; `to` has room for as many words as there are offsets.
#[inline(always)]
unsafe fn copy_words<W: Copy>(from: *const u8, to: *mut u8, offsets: &[isize], size: usize) {
    for (i, &offset) in offsets.iter().enumerate() {
        // SAFETY: the caller's promise; rows of narrow elements need not be aligned for a whole word.
        unsafe {
            let word = from.offset(offset * size as isize).cast::<W>().read_unaligned();
            to.cast::<W>().add(i).write_unaligned(word);
        }
    }
}

/// Copies the word at each position of a single list; stops with `false` at one that is out of bounds.
///
/// # Safety
/// Words at positions inside the axis are readable, in elements of `size` bytes; `to` has room for one per position.
#[inline(always)]
unsafe fn select_words<W: Copy>(
    positions: &Positions<'_>,
    list: &[i64],
    from: *const u8,
    to: *mut u8,
    size: usize,
) -> bool {
    let (n, step) = (positions.sizes[0] as i64, positions.steps[0] * size as isize);
    let add = if positions.wrap { n } else { 0 };
    for (i, &index) in list.iter().enumerate() {
        let index = if index < 0 { index.wrapping_add(add) } else { index };
        if index as u64 >= n as u64 {
            return false;
        }
        // SAFETY: the caller's promise.
        unsafe {
            let word = from.offset(index as isize * step).cast::<W>().read_unaligned();
            to.cast::<W>().add(i).write_unaligned(word);
        }
    }
    true
}

/// A combination for a dtype, as functions of untyped memory.
#[derive(Clone, Copy)]
pub(crate) struct Combiner {
    row: unsafe fn(*const u8, isize, *mut u8, isize, usize),
    points: unsafe fn(*const u8, isize, *mut u8, &[isize]),
}

impl Combiner {
    pub(crate) fn new(op: &'static str, combine: Combine, dtype: DType) -> Result<Combiner> {
        if combine == Combine::Replace {
            return Ok(
                by_size!(dtype.size(), W => Combiner { row: row::<W, Replace>, points: points::<W, Replace> }),
            );
        }
        // Truth values are 0 and 1: their sum is "or", the larger one, and their product "and", the smaller one.
        let (combine, dtype) = match (combine, dtype) {
            (Combine::Add, DType::Bool) => (Combine::Max, DType::U8),
            (Combine::Multiply, DType::Bool) => (Combine::Min, DType::U8),
            (c, DType::Bool) => (c, DType::U8),
            other => other,
        };
        with_dtype!(dtype, [F32, F64, U8, I8, I16, I32, I64], T => Ok(match combine {
            Combine::Add => Combiner { row: row::<T, Add>, points: points::<T, Add> },
            Combine::Multiply => Combiner { row: row::<T, Multiply>, points: points::<T, Multiply> },
            Combine::Max => Combiner { row: row::<T, Max>, points: points::<T, Max> },
            _ => Combiner { row: row::<T, Min>, points: points::<T, Min> },
        }), else => Err(Error::dtype(op, format!("\"{op}\" does not compute in {dtype}"))))
    }

    /// Combines `n` elements `new_step` and `old_step` apart.
    ///
    /// # Safety
    /// Both rows are valid for the dtype; they do not overlap.
    #[inline(always)]
    pub(crate) unsafe fn row(
        &self,
        new: *const u8,
        new_step: isize,
        old: *mut u8,
        old_step: isize,
        n: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe { (self.row)(new, new_step, old, old_step, n) }
    }

    /// Combines elements `new_step` apart with those at the offsets, in order.
    ///
    /// # Safety
    /// As for [`Combiner::row`].
    #[inline(always)]
    pub(crate) unsafe fn points(&self, new: *const u8, new_step: isize, old: *mut u8, offsets: &[isize]) {
        // SAFETY: the caller's promise.
        unsafe { (self.points)(new, new_step, old, offsets) }
    }
}

/// What becomes of an old element and a new one.
trait Rule<T> {
    fn apply(old: T, new: T) -> T;
}
struct Replace;
impl<T> Rule<T> for Replace {
    #[inline(always)]
    fn apply(_: T, new: T) -> T {
        new
    }
}
macro_rules! rules {
    ($($name:ident $method:ident;)*) => {$(
        struct $name;
        impl<T: Num> Rule<T> for $name {
            #[inline(always)]
            fn apply(old: T, new: T) -> T { old.$method(new) }
        }
    )*};
}
rules! { Add add; Multiply mul; Max maximum; Min minimum; }

/// # Safety
/// See [`Combiner::row`].
unsafe fn row<T: Copy, R: Rule<T>>(new: *const u8, new_step: isize, old: *mut u8, old_step: isize, n: usize) {
    let (new, old) = (new.cast::<T>(), old.cast::<T>());
    // SAFETY: the caller's promise.
    unsafe {
        if new_step == 1 && old_step == 1 {
            let (new, old) = (std::slice::from_raw_parts(new, n), std::slice::from_raw_parts_mut(old, n));
            for (o, &v) in old.iter_mut().zip(new) {
                *o = R::apply(*o, v);
            }
        } else {
            for i in 0..n as isize {
                let o = old.offset(i * old_step);
                *o = R::apply(*o, *new.offset(i * new_step));
            }
        }
    }
}

/// # Safety
/// See [`Combiner::points`].
unsafe fn points<T: Copy, R: Rule<T>>(new: *const u8, new_step: isize, old: *mut u8, offsets: &[isize]) {
    let (new, old) = (new.cast::<T>(), old.cast::<T>());
    for (i, &offset) in offsets.iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe {
            let o = old.offset(offset);
            *o = R::apply(*o, *new.offset(i as isize * new_step));
        }
    }
}

/// The kernel of [`crate::Op::IndexPut`].
pub(crate) fn put(
    op: &'static str,
    plan: Plan<'_>,
    combine: Combine,
    ins: &[&RawTensor],
    x: &RawTensor,
) -> Result<()> {
    let (mut values, indices) = (ins[0].clone(), &ins[1..]);
    let lead = plan.place;
    let listed = indices[0].rank();
    let listed_nest =
        |v: &RawTensor| Nest::new(&v.shape()[lead..lead + listed], [&steps(v)[lead..lead + listed]]);
    if listed_nest(&values).rows() > 1 {
        // The walk below wants the values of all positions at one stride.
        values = contiguous_copy(&values)?;
    }
    let [value_step] = listed_nest(&values).row_strides();
    let _access =
        Access::new(op, indices.iter().map(|t| t.storage()).chain([values.storage()]), [x.storage()])?;
    // SAFETY: the access keeps other writers out, and the lists are read before `x` is written.
    let offsets = unsafe { Positions::new(&plan, x, indices) }.resolve_all(op, plan.axes)?;
    let rest = Rest::new(&plan, x);
    let count = |(sizes, _): &(Vec<usize>, Steps)| sizes.iter().product::<usize>();
    let (outer, inner) = (count(&rest.outer), count(&rest.inner));
    if outer * inner * offsets.len() == 0 {
        return Ok(());
    }
    let combiner = Combiner::new(op, combine, x.dtype())?;
    let value_steps = steps(&values);
    let places = Nest::points(&rest.outer.0, [&rest.outer.1, &value_steps[..lead]]);
    let block = Nest::new(&rest.inner.0, [&rest.inner.1, &value_steps[lead + listed..]]);
    let (new, old, size) = (host(&values), host(x), x.dtype().size() as isize);
    let [old_step, new_step] = block.row_strides();
    // One range of outer places, block rows and columns: different ones touch different elements of `x`, and all
    // positions come in order.
    let work = |outer: Range<usize>, rows: Range<usize>, columns: Range<usize>| {
        places.for_rows(outer, |[old_base, new_base]| {
            let new = new.get().wrapping_offset((new_base + columns.start as isize * new_step) * size);
            let old = old.get().wrapping_offset((old_base + columns.start as isize * old_step) * size);
            if inner == 1 {
                // SAFETY: the offsets were checked against the layout of `x`; `values` has an element for each.
                unsafe { combiner.points(new, value_step, old, &offsets) };
                return;
            }
            for (p, &offset) in offsets.iter().enumerate() {
                block.for_rows(rows.clone(), |[o, v]| {
                    // SAFETY: as above; entries keep `values` and `x` apart.
                    unsafe {
                        let new = new.offset((p as isize * value_step + v) * size);
                        combiner.row(new, new_step, old.offset((offset + o) * size), old_step, columns.len());
                    }
                });
            }
        });
    };
    let (rows, columns) = (block.rows(), block.row());
    // Columns are worth cutting where a piece still fills cache lines.
    let strips = columns.div_ceil(64);
    let each = offsets.len() * outer * inner;
    if outer >= rows && outer >= strips {
        tasks(outer, each / outer, &|range| work(range, 0..rows, 0..columns));
    } else if rows >= strips {
        tasks(rows, each / rows, &|range| work(0..outer, range, 0..columns));
    } else {
        tasks(strips, each / strips, &|range| {
            work(0..outer, 0..rows, range.start * 64..columns.min(range.end * 64));
        });
    }
    Ok(())
}
