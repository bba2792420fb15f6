//! Tensors put together from others, repeated, rolled, mirrored, padded and cut to triangles.

use kiln_storage::{DType, Device, Dims, Error, Layout, RawTensor, Result, Shape};

use crate::backend::{run, uninit};
use crate::copy::{contiguous_copy, to_device, to_dtype};
use crate::elementwise::Operand;
use crate::index::index_select;
use crate::op::Op;
use crate::promotion::result_type;
use crate::rules::{check_writable, same_device};
use crate::shape::{distinct_axes, reshape_to};

/// Tensors one after the other along `axis`, in the dtype that they promote to. Empty one-dimensional tensors are
/// skipped, whatever the shape of the others.
///
/// # Errors
/// An empty list, 0-dim tensors, shapes that differ on other axes, different devices.
pub fn cat(tensors: &[&RawTensor], axis: i64) -> Result<RawTensor> {
    const OP: &str = "cat";
    if tensors.is_empty() {
        return Err(Error::value(OP, "expected a non-empty list of Tensors"));
    }
    if let Some(i) = tensors.iter().position(|t| t.rank() == 0) {
        return Err(Error::shape(
            OP,
            format!("zero-dimensional tensor (at position {i}) cannot be concatenated"),
        ));
    }
    let skipped = |t: &RawTensor| t.shape().dims() == [0];
    let Some(first) = tensors.iter().find(|t| !skipped(t)) else {
        return join(OP, tensors, 0);
    };
    let axis = first.shape().axis(OP, axis)?;
    for (i, t) in tensors.iter().enumerate().filter(|(_, t)| !skipped(t)) {
        if t.rank() != first.rank() {
            return Err(Error::shape(
                OP,
                format!(
                    "Tensors must have same number of dimensions: got {} and {} (tensor number {i} has shape {:?}, \
                     the first one {:?})",
                    first.rank(),
                    t.rank(),
                    t.shape(),
                    first.shape()
                ),
            ));
        }
        if let Some(a) = (0..t.rank()).find(|&a| a != axis && t.shape()[a] != first.shape()[a]) {
            return Err(Error::shape(
                OP,
                format!(
                    "Sizes of tensors must match except in dimension {axis}. Expected size {} but got size {} at dimension \
                     {a} for tensor number {i} in the list.",
                    first.shape()[a],
                    t.shape()[a]
                ),
            ));
        }
    }
    join(OP, tensors, axis)
}

/// [`cat`] after its checks.
fn join(op: &'static str, tensors: &[&RawTensor], axis: usize) -> Result<RawTensor> {
    let device = same_device(op, tensors)?;
    let operands: Vec<Operand<'_>> = tensors.iter().map(|&t| t.into()).collect();
    let dtype = result_type(&operands);
    let parts = || tensors.iter().filter(|t| t.shape().dims() != [0]);
    let Some(first) = parts().next() else {
        return uninit(op, &[0].into(), dtype, device);
    };
    let total = parts().try_fold(0usize, |sum, t| sum.checked_add(t.shape()[axis]));
    let total = total.ok_or_else(|| Error::shape(op, "the number of elements overflows"))?;
    let out = uninit(op, &first.shape().with(axis, total), dtype, device)?;
    let mut start = 0;
    for &part in parts() {
        let len = part.shape()[axis];
        run(op, &Op::Copy, &[part], &[&out.with_layout(out.layout().slice(axis, start, len, 1))])?;
        start += len;
    }
    Ok(out)
}

/// Tensors of one shape along a new axis.
///
/// # Errors
/// An empty list, shapes or devices that differ.
pub fn stack(tensors: &[&RawTensor], axis: i64) -> Result<RawTensor> {
    const OP: &str = "stack";
    let Some(first) = tensors.first() else {
        return Err(Error::value(OP, "expects a non-empty TensorList"));
    };
    let axis = kiln_storage::resolve_axis(OP, axis, first.rank() + 1)?;
    if let Some(i) = tensors.iter().position(|t| t.shape() != first.shape()) {
        return Err(Error::shape(
            OP,
            format!(
                "expects each tensor to be equal size, but got {:?} at entry 0 and {:?} at entry {i}",
                first.shape(),
                tensors[i].shape()
            ),
        ));
    }
    let parts: Vec<RawTensor> = tensors.iter().map(|t| t.with_layout(t.layout().unsqueeze(axis))).collect();
    join(OP, &parts.iter().collect::<Vec<_>>(), axis)
}

/// The whole tensor `repeats[i]` times along axis `i`; more repeats than axes add axes in front.
///
/// # Errors
/// Fewer repeats than axes, or negative ones.
pub fn repeat(x: &RawTensor, repeats: &[i64]) -> Result<RawTensor> {
    repeated("repeat", x, repeats)
}

/// [`repeat`] that takes missing repeats, counted from the last axis, as 1.
///
/// # Errors
/// Negative repeats.
pub fn tile(x: &RawTensor, repeats: &[i64]) -> Result<RawTensor> {
    let missing = x.rank().saturating_sub(repeats.len());
    let all: Vec<i64> = std::iter::repeat_n(1, missing).chain(repeats.iter().copied()).collect();
    repeated("tile", x, &all)
}

fn repeated(op: &'static str, x: &RawTensor, repeats: &[i64]) -> Result<RawTensor> {
    let Some(lead) = repeats.len().checked_sub(x.rank()) else {
        return Err(Error::shape(
            op,
            format!(
                "Number of dimensions of repeat dims ({}) can not be smaller than number of dimensions of tensor ({})",
                repeats.len(),
                x.rank()
            ),
        ));
    };
    // Each axis becomes a pair: which repetition, and where in the tensor.
    let (mut pairs, mut strides, mut shape) = (Dims::new(), Dims::new(), Dims::new());
    for (i, &r) in repeats.iter().enumerate() {
        if r < 0 {
            return Err(Error::value(
                op,
                format!("Trying to create tensor with negative dimension: repeats {repeats:?}"),
            ));
        }
        let (size, stride) = match i.checked_sub(lead) {
            Some(a) => (x.shape()[a], x.layout().strides()[a]),
            None => (1, 0),
        };
        pairs.extend([r as usize, size]);
        strides.extend([0, stride]);
        shape.push((r as usize).checked_mul(size).ok_or_else(|| {
            Error::shape(op, format!("repeats {repeats:?}: the number of elements overflows"))
        })?);
    }
    interleaved_copy(op, x, pairs.into(), &strides, shape.into())
}

/// A fresh tensor of `shape` filled in row-major order with `x` seen through `strides` over `pairs`.
fn interleaved_copy(
    op: &'static str,
    x: &RawTensor,
    pairs: Shape,
    strides: &[usize],
    shape: Shape,
) -> Result<RawTensor> {
    let out = uninit(op, &shape, x.dtype(), x.device())?;
    let source = x.with_layout(Layout::new(pairs.clone(), strides, x.layout().offset())?);
    run(op, &Op::Copy, &[&source], &[&out.with_layout(Layout::contiguous(pairs))])?;
    Ok(out)
}

/// Every position of `axis` (of the flattened tensor if `None`) `repeats` times in a row.
///
/// # Errors
/// Negative repeats.
pub fn repeat_interleave(x: &RawTensor, repeats: i64, axis: Option<i64>) -> Result<RawTensor> {
    const OP: &str = "repeat_interleave";
    if repeats < 0 {
        return Err(Error::value(OP, format!("Repeats must be non-negative, got {repeats}")));
    }
    let (x, axis) = flat_unless_axis(OP, x, axis)?;
    let mut pairs = Dims::from_slice(x.shape());
    let mut strides = Dims::from_slice(x.layout().strides());
    pairs.insert(axis + 1, repeats as usize);
    strides.insert(axis + 1, 0);
    let size = x.shape()[axis].checked_mul(repeats as usize);
    let size =
        size.ok_or_else(|| Error::shape(OP, format!("{repeats} repeats: the number of elements overflows")))?;
    interleaved_copy(OP, &x, pairs.into(), &strides, x.shape().with(axis, size))
}

fn flat_unless_axis(op: &'static str, x: &RawTensor, axis: Option<i64>) -> Result<(RawTensor, usize)> {
    match axis {
        Some(_) if x.rank() == 0 => {
            Ok((reshape_to(x, [1].into())?, x.shape().axis(op, axis.unwrap_or_default())?))
        }
        Some(axis) => Ok((x.clone(), x.shape().axis(op, axis)?)),
        None => Ok((reshape_to(x, [x.numel()].into())?, 0)),
    }
}

/// Position `i` of `axis` (of the flattened tensor if `None`) `repeats[i]` times in a row. One single repeat counts for
/// all positions.
///
/// # Errors
/// Repeats that are negative, not int32 or int64, not one-dimensional, or not as many as positions.
pub fn repeat_interleave_by(x: &RawTensor, repeats: &RawTensor, axis: Option<i64>) -> Result<RawTensor> {
    const OP: &str = "repeat_interleave";
    let (x, axis) = flat_unless_axis(OP, x, axis)?;
    let n = x.shape()[axis];
    if repeats.rank() <= 1 && repeats.numel() == 1 {
        let one = repeats.with_layout(repeats.layout().squeeze(|_| true));
        let all = one.with_layout(one.layout().broadcast_to(OP, &[n].into())?);
        return index_select(&x, axis as i64, &repeat_positions(&all)?);
    }
    if repeats.rank() == 1 && repeats.numel() != n {
        return Err(Error::shape(
            OP,
            format!(
                "repeats must have the same size as input along dim, but got repeats.size(0) = {} and input.size({axis}) \
                 = {n}",
                repeats.numel()
            ),
        ));
    }
    index_select(&x, axis as i64, &repeat_positions(repeats)?)
}

/// The positions `0, 1, ...`, each as often as `repeats` says (`torch.repeat_interleave` of one argument).
///
/// # Errors
/// As [`repeat_interleave_by`].
pub fn repeat_positions(repeats: &RawTensor) -> Result<RawTensor> {
    const OP: &str = "repeat_interleave";
    if repeats.rank() > 1 {
        return Err(Error::shape(
            OP,
            format!("repeats must be 0-dim or 1-dim tensor, got shape {:?}", repeats.shape()),
        ));
    }
    if !matches!(repeats.dtype(), DType::I32 | DType::I64) {
        return Err(Error::dtype(OP, format!("repeats must be int32 or int64, got {}", repeats.dtype())));
    }
    let counts = to_dtype(&to_device(repeats, Device::CPU)?, DType::I64)?.to_vec::<i64>()?;
    if let Some(bad) = counts.iter().find(|&&c| c < 0) {
        return Err(Error::value(OP, format!("repeats can not be negative, got {bad}")));
    }
    let total = counts.iter().try_fold(0usize, |sum, &c| sum.checked_add(c as usize));
    let mut positions: Vec<i64> = Vec::new();
    total
        .and_then(|n| positions.try_reserve_exact(n).ok())
        .ok_or_else(|| Error::shape(OP, "the result does not fit into memory"))?;
    for (i, &count) in counts.iter().enumerate() {
        positions.extend(std::iter::repeat_n(i as i64, count as usize));
    }
    let n = positions.len();
    to_device(&RawTensor::from_vec(OP, positions, [n])?, repeats.device())
}

/// The order along the given axes reversed.
///
/// # Errors
/// Axes that are not there, or twice in the list.
pub fn flip(x: &RawTensor, axes: &[i64]) -> Result<RawTensor> {
    const OP: &str = "flip";
    let mut axes =
        distinct_axes(OP, axes, x.rank(), |a| format!("dim {a} appears multiple times in the list of dims"))?;
    axes.retain(|a| a < x.rank() && x.shape()[a] > 1);
    if axes.is_empty() {
        return contiguous_copy(x);
    }
    let out = uninit(OP, x.shape(), x.dtype(), x.device())?;
    run(OP, &Op::Flip { axes }, &[x], &[&out])?;
    Ok(out)
}

/// Elements moved on by `shifts[i]` places along `axes[i]`, those past the end to the front; without axes, along the
/// flattened tensor.
///
/// # Errors
/// Lists of different length, or axes that are not there.
pub fn roll(x: &RawTensor, shifts: &[i64], axes: &[i64]) -> Result<RawTensor> {
    const OP: &str = "roll";
    if shifts.is_empty() {
        return Err(Error::value(OP, "`shifts` required"));
    }
    if axes.is_empty() && shifts.len() == 1 {
        let flat = reshape_to(x, [x.numel()].into())?;
        return reshape_to(&roll_axis(OP, &flat, shifts[0], 0)?, x.shape().clone());
    }
    if shifts.len() != axes.len() {
        return Err(Error::value(
            OP,
            format!("shifts and dimensions must align. shifts: {}, dims:{}", shifts.len(), axes.len()),
        ));
    }
    if x.rank() == 0 {
        return Err(Error::index(
            OP,
            format!("Dimension specified as {} but tensor has no dimensions", axes[0]),
        ));
    }
    let axes: Dims = axes.iter().map(|&a| x.shape().axis(OP, a)).collect::<Result<_>>()?;
    let mut out = roll_axis(OP, x, shifts[0], axes[0])?;
    for (&shift, &axis) in shifts.iter().zip(&axes).skip(1) {
        out = roll_axis(OP, &out, shift, axis)?;
    }
    Ok(out)
}

fn roll_axis(op: &'static str, x: &RawTensor, shift: i64, axis: usize) -> Result<RawTensor> {
    let n = x.shape()[axis];
    let out = uninit(op, x.shape(), x.dtype(), x.device())?;
    if n == 0 {
        return Ok(out);
    }
    let shift = shift.rem_euclid(n as i64) as usize;
    for (from, to, len) in [(0, shift, n - shift), (n - shift, 0, shift)] {
        let source = x.with_layout(x.layout().slice(axis, from, len, 1));
        run(op, &Op::Copy, &[&source], &[&out.with_layout(out.layout().slice(axis, to, len, 1))])?;
    }
    Ok(out)
}

/// The plane of two axes turned by `times` right angles, from the first axis towards the second.
///
/// # Errors
/// Axes that are not there, the same, or not two.
pub fn rot90(x: &RawTensor, times: i64, axes: &[i64]) -> Result<RawTensor> {
    const OP: &str = "rot90";
    let &[a, b] = axes else {
        return Err(Error::value(
            OP,
            format!("expected total rotation dims == 2, but got dims = {}", axes.len()),
        ));
    };
    if x.rank() < 2 {
        return Err(Error::shape(OP, format!("expected total dims >= 2, but got total dims = {}", x.rank())));
    }
    let (i, j) = (x.shape().axis(OP, a)?, x.shape().axis(OP, b)?);
    if i == j {
        return Err(Error::value(
            OP,
            format!("expected rotation dims to be different, but got dim0 = {a} and dim1 = {b}"),
        ));
    }
    let turned = |y: RawTensor| y.with_layout(y.layout().transpose(i, j));
    match times.rem_euclid(4) {
        0 => contiguous_copy(x),
        1 => Ok(turned(flip(x, &[b])?)),
        2 => flip(x, &[a, b]),
        _ => Ok(turned(flip(x, &[a])?)),
    }
}

/// The lower triangle of the last two axes, up to `diagonal` places above the main diagonal; zeros elsewhere.
///
/// # Errors
/// Fewer than two axes.
pub fn tril(x: &RawTensor, diagonal: i64) -> Result<RawTensor> {
    triangle("tril", false, x, diagonal)
}

/// The upper triangle of the last two axes, from `diagonal` places above the main diagonal; zeros elsewhere.
///
/// # Errors
/// Fewer than two axes.
pub fn triu(x: &RawTensor, diagonal: i64) -> Result<RawTensor> {
    triangle("triu", true, x, diagonal)
}

/// [`tril`] in place.
///
/// # Errors
/// As [`tril`]; elements that share memory.
pub fn tril_(x: &RawTensor, diagonal: i64) -> Result<()> {
    triangle_in_place("tril_", false, x, diagonal)
}

/// [`triu`] in place.
///
/// # Errors
/// As [`triu`]; elements that share memory.
pub fn triu_(x: &RawTensor, diagonal: i64) -> Result<()> {
    triangle_in_place("triu_", true, x, diagonal)
}

fn check_matrix(op: &'static str, x: &RawTensor) -> Result<()> {
    if x.rank() >= 2 {
        return Ok(());
    }
    Err(Error::shape(op, format!("input tensor must have at least 2 dimensions, got shape {:?}", x.shape())))
}

fn triangle(op: &'static str, upper: bool, x: &RawTensor, diagonal: i64) -> Result<RawTensor> {
    check_matrix(op, x)?;
    let out = uninit(op, x.shape(), x.dtype(), x.device())?;
    run(op, &Op::Triangle { upper, diagonal }, &[x], &[&out])?;
    Ok(out)
}

fn triangle_in_place(op: &'static str, upper: bool, x: &RawTensor, diagonal: i64) -> Result<()> {
    check_matrix(op, x)?;
    check_writable(op, x)?;
    run(op, &Op::Triangle { upper, diagonal }, &[x], &[x])?;
    x.bump_version();
    Ok(())
}
