//! Reading and writing along one axis on the host, with an index for each element.

use std::sync::atomic::{AtomicBool, Ordering};

use kiln_storage::{Access, RawTensor, Result};

use super::index::{Combiner, out_of_bounds};
use super::walk::{Nest, Steps, by_size, host, steps, tasks};
use crate::op::Combine;

/// The strides of `table` with that of `axis` taken out, and that stride: the index says where on the axis.
fn without_axis(table: &RawTensor, axis: usize) -> (Steps, isize) {
    let mut free = steps(table);
    let step = std::mem::take(&mut free[axis]);
    (free, step)
}

/// The first index outside of `0..size` (or of `-size..size`), if there is one.
fn find_outside(index: &RawTensor, size: usize, wrap: bool) -> Option<i64> {
    let nest = Nest::new(index.shape(), [&steps(index)]);
    let [step] = nest.row_strides();
    let from = host(index);
    let (size, low) = (size as i64, if wrap { -(size as i64) } else { 0 });
    let mut found = None;
    nest.for_rows(0..nest.rows(), |[at]| {
        if found.is_none() {
            // SAFETY: positions lie inside the layout; the caller holds the access.
            let index = |i: usize| unsafe { *from.get().cast::<i64>().offset(at + i as isize * step) };
            found = (0..nest.row()).map(index).find(|&i| i < low || i >= size);
        }
    });
    found
}

/// The kernel of [`crate::Op::Gather`].
pub(crate) fn gather(
    op: &'static str,
    axis: usize,
    wrap: bool,
    [x, index]: [&RawTensor; 2],
    y: &RawTensor,
) -> Result<()> {
    if index.numel() == 0 {
        return Ok(());
    }
    let _access = Access::new(op, [x.storage(), index.storage()], [y.storage()])?;
    let (x_steps, axis_step) = without_axis(x, axis);
    let size = x.shape()[axis];
    let nest = Nest::new(index.shape(), [&x_steps, &steps(index), &steps(y)]);
    let [x_step, index_step, y_step] = nest.row_strides();
    let (from, list, to) = (host(x), host(index), host(y));
    let failed = AtomicBool::new(false);
    let add = if wrap { size as i64 } else { 0 };
    by_size!(x.dtype().size(), W => {
        let part = |at: [isize; 3], start: usize, n: usize| {
            let start = start as isize;
            let from = from.get().cast::<W>().wrapping_offset(at[0] + start * x_step);
            let list = list.get().cast::<i64>().wrapping_offset(at[1] + start * index_step);
            let to = to.get().cast::<W>().wrapping_offset(at[2] + start * y_step);
            let mut inside = true;
            for i in 0..n as isize {
                // SAFETY: rows lie inside the layouts; an index outside of its axis is not followed.
                unsafe {
                    let index = *list.offset(i * index_step);
                    let index = if index < 0 { index.wrapping_add(add) } else { index };
                    if (index as u64) < size as u64 {
                        to.offset(i * y_step).write(*from.offset(i * x_step + index as isize * axis_step));
                    } else {
                        inside = false;
                    }
                }
            }
            if !inside {
                failed.store(true, Ordering::Relaxed);
            }
        };
        if nest.rows() == 1 {
            tasks(nest.row(), 1, &|range| part([0; 3], range.start, range.len()));
        } else {
            tasks(nest.rows(), nest.row(), &|range| nest.for_rows(range, |at| part(at, 0, nest.row())));
        }
    });
    match failed.into_inner().then(|| find_outside(index, size, wrap)).flatten() {
        Some(bad) => Err(out_of_bounds(op, bad, axis, size)),
        None => Ok(()),
    }
}

/// The kernel of [`crate::Op::Scatter`].
pub(crate) fn scatter(
    op: &'static str,
    axis: usize,
    combine: Combine,
    [source, index]: [&RawTensor; 2],
    x: &RawTensor,
) -> Result<()> {
    if index.numel() == 0 {
        return Ok(());
    }
    let _access = Access::new(op, [source.storage(), index.storage()], [x.storage()])?;
    let size = x.shape()[axis];
    if let Some(bad) = find_outside(index, size, false) {
        return Err(out_of_bounds(op, bad, axis, size));
    }
    let combiner = Combiner::new(op, combine, x.dtype())?;
    let (x_steps, axis_step) = without_axis(x, axis);
    let (index_steps, source_steps) = (steps(index), steps(source));
    // Places that differ on another axis are different elements, so that such an axis can be cut.
    let cut = (0..index.rank()).filter(|&a| a != axis).max_by_key(|&a| index.shape()[a]);
    let (cut, pieces) = cut.map_or((axis, 1), |a| (a, index.shape()[a]));
    let (new, list, old) = (host(source), host(index), host(x));
    let bytes = x.dtype().size() as isize;
    tasks(pieces, index.numel() / pieces, &|range| {
        let start = range.start as isize;
        let mut shape = index.shape().dims().to_vec();
        if cut != axis {
            shape[cut] = range.len();
        }
        let nest = Nest::new(&shape, [&x_steps, &index_steps, &source_steps]);
        let [x_step, index_step, source_step] = nest.row_strides();
        let base = |steps: &Steps| if cut == axis { 0 } else { start * steps[cut] };
        let bases = [base(&x_steps), base(&index_steps), base(&source_steps)];
        const BLOCK: usize = 256;
        let mut offsets = [0isize; BLOCK];
        nest.for_rows(0..nest.rows(), |[x_at, index_at, source_at]| {
            let mut at = 0;
            while at < nest.row() {
                let n = BLOCK.min(nest.row() - at);
                for (i, offset) in (at as isize..).zip(&mut offsets[..n]) {
                    // SAFETY: positions lie inside the layouts.
                    let index =
                        unsafe { *list.get().cast::<i64>().offset(bases[1] + index_at + i * index_step) };
                    *offset = x_at + i * x_step + index as isize * axis_step;
                }
                let new_at = bases[2] + source_at + at as isize * source_step;
                // SAFETY: all indices were checked above, under the same access, and entries keep the index and the
                // source out of the memory of `x`.
                unsafe {
                    let new = new.get().offset(new_at * bytes);
                    combiner.points(new, source_step, old.get().offset(bases[0] * bytes), &offsets[..n]);
                }
                at += n;
            }
        });
    });
    Ok(())
}
