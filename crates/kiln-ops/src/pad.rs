//! Padding (`torch.nn.functional.pad`).

use kiln_storage::{Dims, Error, RawTensor, Result, Scalar};

use crate::backend::{run, uninit};
use crate::op::Op;

/// What lies outside of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PadMode {
    /// One value.
    Constant(Scalar),
    /// The tensor mirrored at its border elements: `2 1 | 0 1 2 | 1 0`.
    Reflect,
    /// The border elements: `0 0 | 0 1 2 | 2 2`.
    Replicate,
    /// The tensor again: `1 2 | 0 1 2 | 0 1`.
    Circular,
}

/// `x` with room around it. `padding` lists, from the last axis on, how many positions come before and after; negative
/// numbers take positions away.
///
/// # Errors
/// A list of odd length or for more axes than there are; sizes that become negative. Except for constants: any but
/// the last one to three axes of a tensor with one or two axes more; reflections of the whole axis or more; more than one
/// turn around.
pub fn pad(x: &RawTensor, padding: &[i64], mode: PadMode) -> Result<RawTensor> {
    const OP: &str = "pad";
    if !padding.len().is_multiple_of(2) {
        return Err(Error::value(OP, format!("Padding length must be divisible by 2, got {padding:?}")));
    }
    if padding.len() / 2 > x.rank() {
        return Err(Error::value(
            OP,
            format!(
                "Padding length should be less than or equal to two times the input dimension but got padding length {} \
                 and input of dimension {}",
                padding.len(),
                x.rank()
            ),
        ));
    }
    let first = x.rank() - padding.len() / 2;
    let pairs = |axis: usize| (padding[2 * (x.rank() - 1 - axis)], padding[2 * (x.rank() - 1 - axis) + 1]);
    if !matches!(mode, PadMode::Constant(_)) {
        check_supported(OP, x, padding, mode)?;
    }
    let mut dims = Dims::from_slice(x.shape());
    for axis in first..x.rank() {
        let (before, after) = pairs(axis);
        let size = x.shape()[axis] as i128 + before as i128 + after as i128;
        dims[axis] = usize::try_from(size).map_err(|_| {
            Error::shape(
                OP,
                format!(
                    "The input size {}, plus negative padding {before} and {after} resulted in a negative output size \
                     at dimension {axis} of {:?}",
                    x.shape()[axis],
                    x.shape()
                ),
            )
        })?;
        check_border(OP, x, axis, before, after, dims[axis], mode)?;
    }
    if let PadMode::Constant(value) = mode {
        let out = uninit(OP, &dims.into(), x.dtype(), x.device())?;
        let (mut source, mut rest) = (x.layout().clone(), out.layout().clone());
        for axis in first..x.rank() {
            let ((before, after), n) = (pairs(axis), x.shape()[axis]);
            let size = rest.shape()[axis];
            let inner = before.max(0) as usize..size - (after.max(0) as usize).min(size);
            for (start, end) in [(0, inner.start.min(size)), (inner.end.max(inner.start), size)] {
                if start < end {
                    let border = out.with_layout(rest.slice(axis, start, end - start, 1));
                    run(OP, &Op::Fill(value), &[], &[&border])?;
                }
            }
            let len = inner.len();
            rest = rest.slice(axis, inner.start.min(size), len, 1);
            source = source.slice(axis, ((-before).max(0) as usize).min(n), len, 1);
        }
        run(OP, &Op::Copy, &[&x.with_layout(source)], &[&out.with_layout(rest)])?;
        return Ok(out);
    }
    let mut out = x.clone();
    for axis in (first..x.rank()).rev() {
        out = pad_axis(OP, &out, axis, pairs(axis), dims[axis], mode)?;
    }
    Ok(out)
}

/// PyTorch's rule which axes of which tensors can be padded with something else than a constant.
fn check_supported(op: &'static str, x: &RawTensor, padding: &[i64], mode: PadMode) -> Result<()> {
    let axes = padding.len() / 2;
    if !(1..=3).contains(&axes) || !(axes + 1..=axes + 2).contains(&x.rank()) {
        return Err(Error::unsupported(
            op,
            format!(
                "Padding size {} is not supported for {}D input tensor; without a constant, 2D or 3D inputs take padding \
                 size 2, 3D or 4D inputs 4, 4D or 5D inputs 6",
                padding.len(),
                x.rank()
            ),
        ));
    }
    let batch = usize::from(x.rank() == axes + 2);
    if mode != PadMode::Circular && x.shape()[batch..].contains(&0) {
        return Err(Error::shape(
            op,
            format!("expected non-zero sizes on all axes but that of the batch, but got: {:?}", x.shape()),
        ));
    }
    Ok(())
}

fn check_border(
    op: &'static str,
    x: &RawTensor,
    axis: usize,
    before: i64,
    after: i64,
    size: usize,
    mode: PadMode,
) -> Result<()> {
    let n = x.shape()[axis] as i64;
    match mode {
        // What one side takes away must be there before the other side adds.
        PadMode::Constant(_)
            if before.saturating_neg() > n
                || after.saturating_neg() > n - before.min(0).saturating_neg().min(n) =>
        {
            return Err(Error::shape(
                op,
                format!("padding ({before}, {after}) takes more than the {n} positions of dimension {axis}"),
            ));
        }
        PadMode::Reflect if before >= n || after >= n => {
            return Err(Error::value(
                op,
                format!(
                    "Padding size should be less than the corresponding input dimension, but got: padding ({before}, \
                     {after}) at dimension {axis} of input {:?}",
                    x.shape()
                ),
            ));
        }
        PadMode::Circular => {
            let middle = n + before.min(0) + after.min(0);
            if before > middle || after > middle {
                return Err(Error::value(
                    op,
                    format!(
                        "Padding value causes wrapping around more than once: padding ({before}, {after}) at dimension \
                         {axis} of input {:?}",
                        x.shape()
                    ),
                ));
            }
        }
        _ => {}
    }
    if size == 0 && n > 0 && matches!(mode, PadMode::Reflect | PadMode::Replicate) {
        return Err(Error::shape(
            op,
            format!("padding ({before}, {after}) leaves nothing of dimension {axis}"),
        ));
    }
    Ok(())
}

/// One axis padded with elements of `x` itself.
fn pad_axis(
    op: &'static str,
    x: &RawTensor,
    axis: usize,
    (before, after): (i64, i64),
    size: usize,
    mode: PadMode,
) -> Result<RawTensor> {
    if (before, after) == (0, 0) {
        return crate::contiguous(x);
    }
    let n = x.shape()[axis] as i64;
    let out = uninit(op, &x.shape().with(axis, size), x.dtype(), x.device())?;
    let part = |t: &RawTensor, start: i64, len: i64| {
        t.with_layout(t.layout().slice(axis, start as usize, len as usize, 1))
    };
    let size = size as i64;
    // Positions of the result: `0..start` before the tensor, `start..end` inside, `end..size` after it.
    let start = before.clamp(0, size);
    let end = before.saturating_add(n).clamp(start, size);
    // Position `p` of the result is position `p - before` of the tensor.
    if end > start {
        run(op, &Op::Copy, &[&part(x, start - before, end - start)], &[&part(&out, start, end - start)])?;
    }
    for (from, len) in [(0, start), (end, size - end)] {
        if len == 0 {
            continue;
        }
        let to = part(&out, from, len);
        match mode {
            PadMode::Replicate => {
                let edge = part(x, if from < start { 0 } else { n - 1 }, 1);
                let edge = edge.with_layout(edge.layout().broadcast_to(op, to.shape())?);
                run(op, &Op::Copy, &[&edge], &[&to])?;
            }
            PadMode::Reflect => {
                let first = from - before;
                let last = first + len - 1;
                let lowest = if first < 0 { -last } else { 2 * (n - 1) - last };
                run(op, &Op::Flip { axes: [axis].as_slice().into() }, &[&part(x, lowest, len)], &[&to])?;
            }
            _ => {
                // The part of the tensor that is left repeats, the end of it before its start.
                let inside = end - start;
                let at = if from < start { inside - len } else { 0 };
                run(op, &Op::Copy, &[&part(x, start - before + at, len)], &[&to])?;
            }
        }
    }
    Ok(out)
}
