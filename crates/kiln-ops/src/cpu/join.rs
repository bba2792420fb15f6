//! Mirrored and triangular copies on the host.

use kiln_storage::{Access, RawTensor, Result};

use super::walk::{Nest, Steps, by_size, copy_row, host, steps, tasks};

/// `y` is `x` with the order along `axes` reversed.
pub(crate) fn flip(op: &'static str, axes: &[usize], x: &RawTensor, y: &RawTensor) -> Result<()> {
    if x.numel() == 0 {
        return Ok(());
    }
    let _access = Access::new(op, [x.storage()], [y.storage()])?;
    let mut from_steps = steps(x);
    let mut last = 0;
    for &axis in axes {
        last += from_steps[axis] * (x.shape()[axis] as isize - 1);
        from_steps[axis] = -from_steps[axis];
    }
    let nest = Nest::new(x.shape(), [&from_steps, &steps(y)]);
    let (from, to) = (host(x), host(y));
    let [from_step, to_step] = nest.row_strides();
    by_size!(x.dtype().size(), W => {
        tasks(nest.rows(), nest.row(), &|rows| {
            let (from, to) = (from.get().cast::<W>(), to.get().cast::<W>());
            // SAFETY: reversed axes start at their last element, so that all positions lie inside the layouts; tasks
            // write disjoint rows, and the entry keeps `x` and `y` apart.
            nest.for_rows(rows, |[f, t]| unsafe {
                copy_row(from.offset(last + f), from_step, to.offset(t), to_step, nest.row());
            });
        });
    });
    Ok(())
}

/// `y` is `x` with zeros above (or, for `upper`, below) the given diagonal of the last two axes; both may be the same.
pub(crate) fn triangle(
    op: &'static str,
    upper: bool,
    diagonal: i64,
    x: &RawTensor,
    y: &RawTensor,
) -> Result<()> {
    if x.numel() == 0 {
        return Ok(());
    }
    let _access = Access::new(op, [x.storage()], [y.storage()])?;
    let rank = x.rank();
    let columns = x.shape()[rank - 1];
    let (x_steps, y_steps) = (steps(x), steps(y));
    let (x_step, y_step) = (x_steps[rank - 1], y_steps[rank - 1]);
    // A third operand counts the rows of a matrix.
    let mut row_number = Steps::from_elem(0, rank - 1);
    row_number[rank - 2] = 1;
    let lines =
        Nest::points(&x.shape()[..rank - 1], [&x_steps[..rank - 1], &y_steps[..rank - 1], &row_number]);
    let (from, to) = (host(x), host(y));
    let in_place = from.get() == to.get() && x.layout() == y.layout();
    by_size!(x.dtype().size(), W => {
        let line = |f: isize, t: isize, number: isize| {
            let edge = (number as i64).saturating_add(diagonal).saturating_add(i64::from(!upper));
            let edge = edge.clamp(0, columns as i64) as usize;
            let (keep, clear) = if upper { (edge..columns, 0..edge) } else { (0..edge, edge..columns) };
            let (from, to) = (from.get().cast::<W>(), to.get().cast::<W>());
            // SAFETY: positions lie inside the layouts; tasks write disjoint rows. When `x` is `y` nothing is copied,
            // otherwise `y` is fresh memory.
            unsafe {
                if !in_place {
                    let (f, t) = (f + keep.start as isize * x_step, t + keep.start as isize * y_step);
                    copy_row(from.offset(f), x_step, to.offset(t), y_step, keep.len());
                }
                for c in clear {
                    to.offset(t + c as isize * y_step).write(0);
                }
            }
        };
        tasks(lines.rows(), columns, &|range| lines.for_rows(range, |[f, t, number]| line(f, t, number)));
    });
    Ok(())
}
