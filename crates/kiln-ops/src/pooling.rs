//! Max and average pooling over one to three spatial axes, and their gradients.

use kiln_storage::{DType, Error, RawTensor, Result, Shape};

use crate::backend::{run, uninit};
use crate::copy::contiguous;
pub use crate::cpu::pool2d::{AvgPool, PoolOptions, PoolShape};
use crate::op::Op;

/// The pooling geometry of `x`, `[channels, spatial..]` or `[batch, channels, spatial..]` with `axes` spatial axes, and
/// the shape of the result.
///
/// # Errors
/// Another rank, channels or spatial axes of size 0, or options that do not fit.
pub fn pool_geometry(
    op: &'static str,
    x: &RawTensor,
    axes: usize,
    o: &PoolOptions<'_>,
) -> Result<(PoolShape, Shape)> {
    let rank = x.rank();
    if rank != axes + 1 && rank != axes + 2 {
        return Err(Error::shape(
            op,
            format!("expected {}D or {}D (batch mode) input, got shape {:?}", axes + 1, axes + 2, x.shape()),
        ));
    }
    let (lead, spatial) = x.shape().split_at(rank - axes);
    if lead[lead.len() - 1] == 0 {
        return Err(Error::shape(op, format!("expected a non-zero channel axis, got shape {:?}", x.shape())));
    }
    let shape = PoolShape::infer(op, lead.iter().product(), spatial, o)?;
    let out = lead.iter().chain(&shape.output[3 - axes..]).copied().collect();
    Ok((shape, out))
}

/// The geometry of pooling the last axes of `x`, `[channels, spatial..]` or `[batch, channels, spatial..]`, to `sizes`,
/// and the shape of the result. `None` when there is nothing to compute.
///
/// # Errors
/// Another rank, or an axis of size 0 other than the batch.
pub fn adaptive_geometry(
    op: &'static str,
    x: &RawTensor,
    sizes: &[usize],
) -> Result<(Option<PoolShape>, Shape)> {
    let (rank, axes) = (x.rank(), sizes.len());
    if rank != axes + 1 && rank != axes + 2 {
        return Err(Error::shape(
            op,
            format!("expected {}D or {}D (batch mode) input, got shape {:?}", axes + 1, axes + 2, x.shape()),
        ));
    }
    let first = rank - axes - 1;
    if x.shape()[rank - axes..].contains(&0) {
        return Err(Error::shape(
            op,
            format!("expected non-zero size for non-batch dimensions, got shape {:?}", x.shape()),
        ));
    }
    let (lead, spatial) = x.shape().split_at(first + 1);
    let out: Shape = lead.iter().chain(sizes).copied().collect();
    if out.numel() == 0 {
        return Ok((None, out));
    }
    let three = |s: &[usize]| std::array::from_fn(|i| (i + s.len()).checked_sub(3).map_or(1, |at| s[at]));
    let shape = PoolShape::adaptive(lead.iter().product(), three(spatial), three(sizes));
    Ok((Some(shape), out))
}

/// The largest element of every adaptive window and its position in its plane, as int32.
///
/// # Errors
/// bool elements; a plane of 2^31 elements or more.
pub fn adaptive_max_pool(
    op: &'static str,
    x: &RawTensor,
    shape: Option<&PoolShape>,
    out: &Shape,
) -> Result<(RawTensor, RawTensor)> {
    no_bool(op, x)?;
    let y = uninit(op, out, x.dtype(), x.device())?;
    let index = uninit(op, out, DType::I32, x.device())?;
    if let Some(shape) = shape {
        if shape.input_plane() > i32::MAX as usize {
            return Err(Error::shape(
                op,
                format!("planes of shape {:?} have too many elements", shape.input),
            ));
        }
        run(op, &Op::AdaptiveMaxPool(*shape), &[&contiguous(x)?], &[&y, &index])?;
    }
    Ok((y, index))
}

/// The mean of every adaptive window.
///
/// # Errors
/// Elements that are not floating point.
pub fn adaptive_avg_pool(
    op: &'static str,
    x: &RawTensor,
    shape: Option<&PoolShape>,
    out: &Shape,
) -> Result<RawTensor> {
    only_float(op, x)?;
    let y = uninit(op, out, x.dtype(), x.device())?;
    if let Some(shape) = shape {
        run(op, &Op::AdaptiveAvgPool(*shape), &[&contiguous(x)?], &[&y])?;
    }
    Ok(y)
}

/// The gradient for the input of [`adaptive_avg_pool`].
///
/// # Errors
/// Memory that is lent out or not there.
pub fn adaptive_avg_pool_backward(
    op: &'static str,
    g: &RawTensor,
    shape: Option<&PoolShape>,
    x: &Shape,
) -> Result<RawTensor> {
    match shape {
        None => crate::full(x, 0.into(), g.dtype(), g.device()),
        Some(shape) => {
            let gx = uninit(op, x, g.dtype(), g.device())?;
            run(op, &Op::AdaptiveAvgPoolGrad(*shape), &[&contiguous(g)?], &[&gx])?;
            Ok(gx)
        }
    }
}

fn no_bool(op: &'static str, x: &RawTensor) -> Result<()> {
    if x.dtype() == DType::Bool {
        return Err(Error::dtype(op, format!("\"{op}\" is not implemented for bool")));
    }
    Ok(())
}

fn only_float(op: &'static str, x: &RawTensor) -> Result<()> {
    if x.dtype().is_float() {
        return Ok(());
    }
    Err(Error::dtype(op, format!("\"{op}\" is not implemented for {}", x.dtype())))
}

/// The largest element of every window and, if wanted, its position in its plane, as int32 (a plane of more elements
/// is refused).
///
/// # Errors
/// bool elements; a plane of 2^31 elements or more with positions wanted.
pub fn max_pool(
    op: &'static str,
    x: &RawTensor,
    shape: &PoolShape,
    out: &Shape,
    positions: bool,
) -> Result<(RawTensor, Option<RawTensor>)> {
    no_bool(op, x)?;
    if positions && shape.input_plane() > i32::MAX as usize {
        return Err(Error::shape(op, format!("planes of shape {:?} have too many elements", shape.input)));
    }
    let x = contiguous(x)?;
    let y = uninit(op, out, x.dtype(), x.device())?;
    let index = positions.then(|| uninit(op, out, DType::I32, x.device())).transpose()?;
    let mut outputs = vec![&y];
    outputs.extend(&index);
    run(op, &Op::MaxPool(*shape), &[&x], &outputs)?;
    Ok((y, index))
}

/// The gradient for the input of [`max_pool`].
///
/// # Errors
/// Memory that is lent out or not there.
pub fn max_pool_backward(
    op: &'static str,
    g: &RawTensor,
    index: &RawTensor,
    shape: &PoolShape,
    x: &Shape,
) -> Result<RawTensor> {
    let g = contiguous(g)?;
    let gx = uninit(op, x, g.dtype(), g.device())?;
    run(op, &Op::MaxPoolGrad(*shape), &[&g, index], &[&gx])?;
    Ok(gx)
}

/// The mean of every window.
///
/// # Errors
/// Elements that are not floating point; a divisor of 0.
pub fn avg_pool(
    op: &'static str,
    x: &RawTensor,
    shape: &PoolShape,
    options: AvgPool,
    out: &Shape,
) -> Result<RawTensor> {
    only_float(op, x)?;
    if options.divisor == Some(0) {
        return Err(Error::value(op, "divisor must be not zero"));
    }
    let x = contiguous(x)?;
    let y = uninit(op, out, x.dtype(), x.device())?;
    run(op, &Op::AvgPool(*shape, options), &[&x], &[&y])?;
    Ok(y)
}

/// The gradient for the input of [`avg_pool`].
///
/// # Errors
/// Memory that is lent out or not there.
pub fn avg_pool_backward(
    op: &'static str,
    g: &RawTensor,
    shape: &PoolShape,
    options: AvgPool,
    x: &Shape,
) -> Result<RawTensor> {
    let g = contiguous(g)?;
    let gx = uninit(op, x, g.dtype(), g.device())?;
    run(op, &Op::AvgPoolGrad(*shape, options), &[&g], &[&gx])?;
    Ok(gx)
}
