//! Reading and writing at positions along one axis or in the flattened tensor.
//!
//! Writes come in the order of the indices, whatever the number of threads: of several new elements for one place the
//! last one stays, and sums are the same bits each time. An index out of bounds is found before anything is written.

use kiln_storage::{DType, Error, Layout, RawTensor, Result, Scalar, Shape};

use crate::backend::{run, uninit};
use crate::copy::{contiguous, contiguous_copy, to_dtype};
use crate::elementwise::{BinaryOp, Operand, binary};
use crate::mask::check_value;
use crate::op::{Combine, Op};
use crate::rules::{check_no_partial_overlap, check_writable, same_device};
use crate::scatter::{Reduction, divide_by_counts, identity};
use crate::shape::reshape_to;

/// A contiguous int64 index that shares no memory with `written`.
pub(crate) fn plain_index(
    op: &'static str,
    index: &RawTensor,
    allowed: &[DType],
    written: Option<&RawTensor>,
) -> Result<RawTensor> {
    if !allowed.contains(&index.dtype()) {
        return Err(Error::dtype(
            op,
            format!("Expected dtype {allowed:?} for index, but got {}", index.dtype()),
        ));
    }
    let index = contiguous(&to_dtype(index, DType::I64)?)?;
    if written.is_some_and(|x| x.storage().is_same(index.storage())) {
        return contiguous_copy(&index);
    }
    Ok(index)
}

pub(crate) const INTS: &[DType] = &[DType::I32, DType::I64];
pub(crate) const LONG: &[DType] = &[DType::I64];

/// A 0-dim tensor as a vector of one element, others as they are.
pub(crate) fn at_least_1d(x: &RawTensor) -> RawTensor {
    if x.rank() == 0 { x.with_layout(x.layout().unsqueeze(0)) } else { x.clone() }
}

/// What a kernel writes into `x`, apart from `x` itself.
pub(crate) fn new_values(op: &'static str, x: &RawTensor, values: &RawTensor) -> Result<RawTensor> {
    check_no_partial_overlap(op, x, values)?;
    if x.storage().is_same(values.storage()) { contiguous_copy(values) } else { Ok(values.clone()) }
}

/// The memory that `x` looks at, as a vector, and where in it each of `x`'s elements lies: for writing to some elements of
/// a tensor whose elements share memory. PyTorch allows that where only what is selected is written.
pub(crate) fn memory_of(x: &RawTensor) -> Result<(RawTensor, RawTensor)> {
    let span = x.layout().span();
    let n = span.len();
    let memory = x.with_layout(Layout::new([n].into(), &[1], span.start)?);
    let places = crate::arange(0.into(), (n as i64).into(), 1.into(), DType::I64, x.device())?;
    let places = places.with_layout(Layout::new(x.shape().clone(), x.layout().strides(), 0)?);
    Ok((memory, places))
}

/// Runs an accumulating kernel on `x`, half precision in single precision so that long sums do not stall.
pub(crate) fn accumulate(
    op: &'static str,
    x: &RawTensor,
    combine: Combine,
    values: RawTensor,
    kernel: impl FnOnce(&RawTensor, &RawTensor) -> Result<()>,
) -> Result<()> {
    if combine == Combine::Replace || !matches!(x.dtype(), DType::F16 | DType::BF16) {
        return kernel(x, &values);
    }
    let wide = to_dtype(x, DType::F32)?;
    kernel(&wide, &to_dtype(&values, DType::F32)?)?;
    run(op, &Op::Copy, &[&wide], &[x])
}

/// A vector of positions along `axis` of `x`.
fn axis_index(op: &'static str, index: &RawTensor) -> Result<()> {
    if index.rank() <= 1 {
        return Ok(());
    }
    Err(Error::index(op, format!("Index is supposed to be a vector, got shape {:?}", index.shape())))
}

/// The positions `index` of `axis`, in this order.
///
/// # Errors
/// An index that is not a vector of int32 or int64, or is out of bounds; negative ones are.
pub fn index_select(x: &RawTensor, axis: i64, index: &RawTensor) -> Result<RawTensor> {
    const OP: &str = "index_select";
    same_device(OP, &[x, index])?;
    let at = x.shape().axis(OP, axis)?;
    axis_index(OP, index)?;
    if x.rank() == 0 && index.numel() != 1 {
        return Err(Error::index(
            OP,
            format!("Index to scalar can have only 1 value, got {} value(s)", index.numel()),
        ));
    }
    let index = at_least_1d(&plain_index(OP, index, INTS, None)?);
    let out = select_positions(OP, &at_least_1d(x), at, &index)?;
    if x.rank() == 0 { reshape_to(&out, Shape::default()) } else { Ok(out) }
}

/// `x` with `axis` replaced by the axes of a plain index, which names positions of `axis`.
pub(crate) fn select_positions(
    op: &'static str,
    x: &RawTensor,
    axis: usize,
    index: &RawTensor,
) -> Result<RawTensor> {
    let dims = x.shape();
    let shape = dims[..axis].iter().chain(index.shape().iter()).chain(&dims[axis + 1..]).copied().collect();
    let out = uninit(op, &shape, x.dtype(), x.device())?;
    run(op, &Op::Index { axes: [axis].as_slice().into(), place: axis, wrap: false }, &[x, index], &[&out])?;
    Ok(out)
}

/// The checks and the kernel of the functions that write `source` to positions of one axis.
fn update_axis(
    op: &'static str,
    x: &RawTensor,
    axis: i64,
    index: &RawTensor,
    allowed: &[DType],
    source: &RawTensor,
    combine: Combine,
) -> Result<()> {
    same_device(op, &[x, index, source])?;
    let at = x.shape().axis(op, axis)?;
    axis_index(op, index)?;
    check_writable(op, x)?;
    if x.dtype() != source.dtype() {
        return Err(Error::dtype(
            op,
            format!("self ({}) and source ({}) must have the same scalar type", x.dtype(), source.dtype()),
        ));
    }
    let (target, source) = (at_least_1d(x), at_least_1d(source));
    let others_fit =
        target.rank() == source.rank() && target.shape().without(at) == source.shape().without(at);
    if !others_fit {
        return Err(Error::shape(
            op,
            format!(
                "source tensor shape must match self tensor shape, excluding the specified dimension {at}. Got self.shape \
                 = {:?} source.shape = {:?}",
                x.shape(),
                source.shape()
            ),
        ));
    }
    if index.numel() != source.shape()[at] {
        return Err(Error::index(
            op,
            format!(
                "Number of indices ({}) should be equal to source.size(dim): ({}), for dim: {at}",
                index.numel(),
                source.shape()[at]
            ),
        ));
    }
    let index = at_least_1d(&plain_index(op, index, allowed, Some(x))?);
    let values = new_values(op, &target, &source)?;
    let kernel = Op::IndexPut { axes: [at].as_slice().into(), place: at, wrap: false, combine };
    accumulate(op, &target, combine, values, |x, values| run(op, &kernel, &[values, &index], &[x]))
}

/// Adds `alpha * source` to the positions `index` of `axis`, in their order.
///
/// # Errors
/// As [`index_select`]; a source of another dtype or shape than the positions; elements of `x` that share memory.
pub fn index_add_(
    x: &RawTensor,
    axis: i64,
    index: &RawTensor,
    source: &RawTensor,
    alpha: Scalar,
) -> Result<()> {
    const OP: &str = "index_add_";
    let scaled = match alpha {
        Scalar::Int(1) | Scalar::Float(1.0) => source.clone(),
        _ if x.dtype().is_float() => binary(BinaryOp::Mul, source, Operand::Scalar(alpha))?,
        _ if x.dtype() == DType::Bool => {
            binary(BinaryOp::Mul, source, Operand::Scalar(Scalar::Bool(alpha.is_true())))?
        }
        _ => binary(BinaryOp::Mul, source, Operand::Scalar(Scalar::Int(alpha.to_i64())))?,
    };
    update_axis(OP, x, axis, index, INTS, &scaled, Combine::Add)?;
    x.bump_version();
    Ok(())
}

/// [`index_add_`] on a copy.
///
/// # Errors
/// As [`index_add_`].
pub fn index_add(
    x: &RawTensor,
    axis: i64,
    index: &RawTensor,
    source: &RawTensor,
    alpha: Scalar,
) -> Result<RawTensor> {
    on_copy(x, |out| index_add_(out, axis, index, source, alpha))
}

/// Runs an in-place function on a copy of `x`.
pub(crate) fn on_copy(x: &RawTensor, change: impl FnOnce(&RawTensor) -> Result<()>) -> Result<RawTensor> {
    let out = contiguous_copy(x)?;
    change(&out)?;
    Ok(out)
}

/// Copies `source` to the positions `index` of `axis`.
///
/// # Errors
/// As [`index_add_`]; an index of dtype int32.
pub fn index_copy_(x: &RawTensor, axis: i64, index: &RawTensor, source: &RawTensor) -> Result<()> {
    update_axis("index_copy_", x, axis, index, LONG, source, Combine::Replace)?;
    x.bump_version();
    Ok(())
}

/// [`index_copy_`] on a copy.
///
/// # Errors
/// As [`index_copy_`].
pub fn index_copy(x: &RawTensor, axis: i64, index: &RawTensor, source: &RawTensor) -> Result<RawTensor> {
    on_copy(x, |out| index_copy_(out, axis, index, source))
}

/// Combines `source` with the positions `index` of `axis` by a reduction; without `include_self`, the old elements of
/// those positions do not count.
///
/// # Errors
/// As [`index_add_`]; a sum, for which there is [`index_add_`].
pub fn index_reduce_(
    x: &RawTensor,
    axis: i64,
    index: &RawTensor,
    source: &RawTensor,
    reduce: Reduction,
    include_self: bool,
) -> Result<()> {
    const OP: &str = "index_reduce_";
    if reduce == Reduction::Sum {
        return Err(Error::value(
            OP,
            "reduce argument must be either prod, mean, amax or amin, got sum; use index_add_",
        ));
    }
    // Everything happens on a copy, so that errors of later steps leave `x` as it was.
    let out = contiguous_copy(x)?;
    if !include_self {
        let neutral = identity(OP, reduce, x.dtype(), x.device())?;
        let neutral = neutral.with_layout(neutral.layout().broadcast_to(OP, source.shape())?);
        update_axis(OP, &out, axis, index, INTS, &neutral, Combine::Replace)?;
    }
    update_axis(OP, &out, axis, index, INTS, source, reduce.combine())?;
    if reduce == Reduction::Mean {
        divide_by_counts(OP, &out, include_self, source, |counts, ones| {
            update_axis(OP, counts, axis, index, INTS, ones, Combine::Add)
        })?;
    }
    check_writable(OP, x)?;
    run(OP, &Op::Copy, &[&out], &[x])?;
    x.bump_version();
    Ok(())
}

/// [`index_reduce_`] on a copy.
///
/// # Errors
/// As [`index_reduce_`].
pub fn index_reduce(
    x: &RawTensor,
    axis: i64,
    index: &RawTensor,
    source: &RawTensor,
    reduce: Reduction,
    include_self: bool,
) -> Result<RawTensor> {
    on_copy(x, |out| index_reduce_(out, axis, index, source, reduce, include_self))
}

/// Writes one value, a number or a 0-dim tensor, to the positions `index` of `axis`; negative ones count from the end.
///
/// # Errors
/// An index that is not a vector of int64 or is out of bounds; a value that does not fit the dtype.
pub fn index_fill_<'a>(
    x: &RawTensor,
    axis: i64,
    index: &RawTensor,
    value: impl Into<Operand<'a>>,
) -> Result<()> {
    const OP: &str = "index_fill_";
    same_device(OP, &[x, index])?;
    let at = x.shape().axis(OP, axis)?;
    axis_index(OP, index)?;
    let value = check_value(OP, x, value.into())?;
    if x.layout().overlaps_itself() {
        let (memory, places) = memory_of(x)?;
        let mut indices = vec![None; at];
        indices.push(Some(plain_index(OP, index, LONG, None)?));
        let places = crate::advanced::index(&places, &indices)?;
        return index_fill_(&memory, 0, &reshape_to(&places, [places.numel()].into())?, &value);
    }
    let index = at_least_1d(&plain_index(OP, index, LONG, Some(x))?);
    let target = at_least_1d(x);
    let shape = target.shape().with(at, index.numel());
    let values = value.with_layout(value.layout().broadcast_to(OP, &shape)?);
    let kernel =
        Op::IndexPut { axes: [at].as_slice().into(), place: at, wrap: true, combine: Combine::Replace };
    run(OP, &kernel, &[&values, &index], &[&target])?;
    x.bump_version();
    Ok(())
}

/// [`index_fill_`] on a copy.
///
/// # Errors
/// As [`index_fill_`].
pub fn index_fill<'a>(
    x: &RawTensor,
    axis: i64,
    index: &RawTensor,
    value: impl Into<Operand<'a>>,
) -> Result<RawTensor> {
    on_copy(x, |out| index_fill_(out, axis, index, value))
}

/// Elements of the flattened tensor; negative positions count from the end.
///
/// # Errors
/// An index that is not int64 or is out of bounds.
pub fn take(x: &RawTensor, index: &RawTensor) -> Result<RawTensor> {
    const OP: &str = "take";
    same_device(OP, &[x, index])?;
    let index = plain_index(OP, index, LONG, None)?;
    let flat = reshape_to(x, [x.numel()].into())?;
    let out = uninit(OP, index.shape(), x.dtype(), x.device())?;
    run(OP, &Op::Index { axes: [0].as_slice().into(), place: 0, wrap: true }, &[&flat, &index], &[&out])?;
    Ok(out)
}

/// Writes `source` to positions of the flattened tensor, or adds it to them; negative positions count from the end.
///
/// # Errors
/// As [`take`]; a source of another dtype or number of elements; elements of `x` that share memory.
pub fn put_(x: &RawTensor, index: &RawTensor, source: &RawTensor, accumulates: bool) -> Result<()> {
    const OP: &str = "put_";
    same_device(OP, &[x, index, source])?;
    check_writable(OP, x)?;
    if x.dtype() != source.dtype() {
        return Err(Error::dtype(
            OP,
            format!(
                "self and source expected to have the same dtype, but got self.dtype = {} and source.dtype = {}",
                x.dtype(),
                source.dtype()
            ),
        ));
    }
    if index.numel() != source.numel() {
        return Err(Error::index(
            OP,
            format!(
                "Expected source and index to have the same number of elements, but got source.numel() = {}, \
                 index.numel() = {}",
                source.numel(),
                index.numel()
            ),
        ));
    }
    let n = [index.numel()];
    let index = reshape_to(&plain_index(OP, index, LONG, Some(x))?, n.into())?;
    let values = reshape_to(&new_values(OP, x, source)?, n.into())?;
    let combine = if accumulates { Combine::Add } else { Combine::Replace };
    let kernel = Op::IndexPut { axes: [0].as_slice().into(), place: 0, wrap: true, combine };
    let flat = reshape_to(x, [x.numel()].into())?;
    accumulate(OP, &flat, combine, values, |flat, values| run(OP, &kernel, &[values, &index], &[flat]))?;
    if !flat.storage().is_same(x.storage()) {
        let back = reshape_to(&flat, x.shape().clone())?;
        run(OP, &Op::Copy, &[&back], &[x])?;
    }
    x.bump_version();
    Ok(())
}

/// [`put_`] on a copy.
///
/// # Errors
/// As [`put_`].
pub fn put(x: &RawTensor, index: &RawTensor, source: &RawTensor, accumulates: bool) -> Result<RawTensor> {
    on_copy(x, |out| put_(out, index, source, accumulates))
}
