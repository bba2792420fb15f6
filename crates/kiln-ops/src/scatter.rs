//! Reading and writing along one axis with an index for each element.
//!
//! Writes come in the order of the index along the axis, whatever the number of threads.

use kiln_storage::{DType, Device, Error, RawTensor, Result, Scalar, Shape};

use crate::backend::{run, uninit};
use crate::copy::{contiguous_copy, to_dtype};
use crate::elementwise::{BinaryOp, FloatBinaryOp, Operand, binary_in_place, float_binary_in_place};
use crate::index::{INTS, LONG, accumulate, at_least_1d, new_values, on_copy, plain_index, select_positions};
use crate::mask::check_value;
use crate::op::{Combine, Op};
use crate::rules::{check_writable, same_device};
use crate::shape::reshape_to;

/// How several elements become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Their sum.
    Sum,
    /// Their product.
    Prod,
    /// Their mean; rounded down for integers.
    Mean,
    /// The largest, NaN if one is.
    Amax,
    /// The smallest, NaN if one is.
    Amin,
}

impl Reduction {
    pub(crate) fn combine(self) -> Combine {
        match self {
            Reduction::Sum | Reduction::Mean => Combine::Add,
            Reduction::Prod => Combine::Multiply,
            Reduction::Amax => Combine::Max,
            Reduction::Amin => Combine::Min,
        }
    }
}

/// The 0-dim tensor that a reduction starts from without the old elements.
pub(crate) fn identity(
    op: &'static str,
    reduce: Reduction,
    dtype: DType,
    device: Device,
) -> Result<RawTensor> {
    let lowest = match dtype {
        DType::Bool | DType::U8 => Scalar::Int(0),
        DType::I8 => Scalar::Int(i8::MIN.into()),
        DType::I16 => Scalar::Int(i16::MIN.into()),
        DType::I32 => Scalar::Int(i32::MIN.into()),
        DType::I64 => Scalar::Int(i64::MIN),
        _ => Scalar::Float(f64::NEG_INFINITY),
    };
    let highest = match (dtype, lowest) {
        (DType::Bool, _) => Scalar::Int(1),
        (DType::U8, _) => Scalar::Int(255),
        // -1 - MIN is MAX.
        (_, Scalar::Int(low)) => Scalar::Int(-1 - low),
        _ => Scalar::Float(f64::INFINITY),
    };
    let value = match reduce {
        Reduction::Sum | Reduction::Mean => Scalar::Int(0),
        Reduction::Prod => Scalar::Int(1),
        Reduction::Amax => lowest,
        Reduction::Amin => highest,
    };
    if reduce == Reduction::Mean && dtype == DType::Bool {
        return Err(Error::dtype(op, "the mean is not implemented for bool"));
    }
    crate::scalar(value, dtype, device)
}

/// Divides sums by how many elements went into each; `add` adds ones, of the shape of `like`, to where these went.
pub(crate) fn divide_by_counts(
    op: &'static str,
    sums: &RawTensor,
    include_self: bool,
    like: &RawTensor,
    add: impl FnOnce(&RawTensor, &RawTensor) -> Result<()>,
) -> Result<()> {
    // Integers, so that no count is rounded.
    let device = sums.device();
    let counts = crate::full(sums.shape(), Scalar::Int(include_self.into()), DType::I64, device)?;
    let one = crate::scalar(Scalar::Int(1), DType::I64, device)?;
    add(&counts, &one.with_layout(one.layout().broadcast_to(op, like.shape())?))?;
    binary_in_place(BinaryOp::Maximum, &counts, Operand::Scalar(Scalar::Int(1)))?;
    if sums.dtype().is_float() {
        return float_binary_in_place(FloatBinaryOp::Div, sums, &to_dtype(&counts, sums.dtype())?);
    }
    let means = crate::elementwise::binary(BinaryOp::FloorDivide, sums, &counts)?;
    run(op, &Op::Copy, &[&means], &[sums])
}

/// Fails unless the index has the rank of `x` and is nowhere larger than it, apart from `axis`.
fn check_index(op: &'static str, x: &RawTensor, axis: usize, index: &RawTensor) -> Result<()> {
    if x.rank().max(1) != index.rank().max(1) {
        return Err(Error::shape(
            op,
            format!(
                "Index tensor must have the same number of dimensions as input tensor, got index {:?} and input {:?}",
                index.shape(),
                x.shape()
            ),
        ));
    }
    let (x, index) = (at_least_1d(x), at_least_1d(index));
    match (0..x.rank()).find(|&a| a != axis && index.shape()[a] > x.shape()[a]) {
        None => Ok(()),
        Some(a) => Err(Error::shape(
            op,
            format!(
                "Size does not match at dimension {a} expected index {:?} to be no larger than self {:?} apart from \
                 dimension {axis}",
                index.shape(),
                x.shape()
            ),
        )),
    }
}

/// `x` cut to the sizes of `shape` on all axes but `axis`.
fn cut_to(x: &RawTensor, shape: &Shape, axis: usize) -> RawTensor {
    let mut layout = x.layout().clone();
    for a in (0..shape.rank()).filter(|&a| a != axis) {
        layout = layout.slice(a, 0, shape[a], 1);
    }
    x.with_layout(layout)
}

/// The index as a vector along `axis`, if it is the same for all places on the other axes: whole rows move then.
fn same_for_all(index: &RawTensor, axis: usize) -> Option<RawTensor> {
    let layout = index.layout();
    let same = (0..index.rank()).all(|a| a == axis || layout.strides()[a] == 0 || layout.shape()[a] == 1);
    let worth = index.rank() > 1 && index.numel() > index.shape()[axis];
    (same && worth).then(|| {
        let mut vector = layout.clone();
        for a in (0..index.rank()).rev().filter(|&a| a != axis) {
            vector = vector.select(a, 0);
        }
        index.with_layout(vector)
    })
}

/// `y[i, j, k] = x[i, index[i, j, k], k]`, for `axis` the second of three; the result has the shape of the index.
///
/// # Errors
/// An index of another rank than `x`, larger than it on other axes, not int32 or int64, or out of bounds; negative ones
/// are.
pub fn gather(x: &RawTensor, axis: i64, index: &RawTensor) -> Result<RawTensor> {
    const OP: &str = "gather";
    same_device(OP, &[x, index])?;
    let at = x.shape().axis(OP, axis)?;
    // Nothing is picked, whatever the index would have been.
    if index.numel() == 0 {
        return uninit(OP, index.shape(), x.dtype(), x.device());
    }
    check_index(OP, x, at, index)?;
    gather_along(OP, x, at, index, INTS, false)
}

fn gather_along(
    op: &'static str,
    x: &RawTensor,
    axis: usize,
    index: &RawTensor,
    allowed: &[DType],
    wrap: bool,
) -> Result<RawTensor> {
    let x = at_least_1d(x);
    if let Some(vector) = same_for_all(index, axis).filter(|_| !wrap) {
        let vector = plain_index(op, &vector, allowed, None)?;
        return select_positions(op, &cut_to(&x, index.shape(), axis), axis, &vector);
    }
    if !allowed.contains(&index.dtype()) {
        return Err(Error::dtype(
            op,
            format!("Expected dtype {allowed:?} for index, but got {}", index.dtype()),
        ));
    }
    let out = uninit(op, index.shape(), x.dtype(), x.device())?;
    let index = at_least_1d(&to_dtype(index, DType::I64)?);
    let target = at_least_1d(&out);
    run(op, &Op::Gather { axis, wrap }, &[&x, &index], &[&target])?;
    Ok(out)
}

/// [`gather`] with `x` and the index broadcast on the other axes; negative indices count from the end. Without an axis,
/// positions of the flattened tensor.
///
/// # Errors
/// As [`gather`]; shapes that do not broadcast.
pub fn take_along_dim(x: &RawTensor, index: &RawTensor, axis: Option<i64>) -> Result<RawTensor> {
    const OP: &str = "take_along_dim";
    same_device(OP, &[x, index])?;
    let Some(axis) = axis else {
        let flat = reshape_to(x, [x.numel()].into())?;
        return gather_along(OP, &flat, 0, &reshape_to(index, [index.numel()].into())?, LONG, true);
    };
    if x.rank() != index.rank() {
        return Err(Error::shape(
            OP,
            format!(
                "input and indices should have the same number of dimensions, but got {} dimensions for input, and {} \
                 dimensions for indices",
                x.rank(),
                index.rank()
            ),
        ));
    }
    let at = x.shape().axis(OP, axis)?;
    let (x, index) = (at_least_1d(x), at_least_1d(index));
    let common = kiln_storage::broadcast_shapes(OP, &x.shape().with(at, 1), &index.shape().with(at, 1))?;
    let fit = |t: &RawTensor| {
        let layout = t.layout().broadcast_to(OP, &common.with(at, t.shape()[at]))?;
        Ok::<_, Error>(t.with_layout(layout))
    };
    gather_along(OP, &fit(&x)?, at, &fit(&index)?, LONG, true)
}

/// The checks and the kernel of all that writes along an axis.
fn scatter_along(
    op: &'static str,
    x: &RawTensor,
    axis: i64,
    index: &RawTensor,
    source: Operand<'_>,
    combine: Combine,
) -> Result<()> {
    same_device(op, &[x, index])?;
    let at = x.shape().axis(op, axis)?;
    check_writable(op, x)?;
    if !INTS.contains(&index.dtype()) {
        return Err(Error::dtype(
            op,
            format!("Expected dtype {INTS:?} for index, but got {}", index.dtype()),
        ));
    }
    if let Operand::Tensor(source) = source {
        same_device(op, &[x, source])?;
        if source.dtype() != x.dtype() {
            return Err(Error::dtype(
                op,
                format!(
                    "Expected self.dtype to be equal to src.dtype, got {} and {}",
                    x.dtype(),
                    source.dtype()
                ),
            ));
        }
    }
    if index.numel() == 0 {
        return Ok(());
    }
    check_index(op, x, at, index)?;
    let (target, index) = (at_least_1d(x), at_least_1d(index));
    let values = match source {
        Operand::Scalar(_) => {
            let value = check_value(op, x, source)?;
            value.with_layout(value.layout().broadcast_to(op, index.shape())?)
        }
        Operand::Tensor(source) => {
            let source = at_least_1d(source);
            let fits = source.rank() == index.rank()
                && (0..index.rank()).all(|a| index.shape()[a] <= source.shape()[a]);
            if !fits {
                return Err(Error::shape(
                    op,
                    format!(
                        "Expected index {:?} to be no larger than self {:?} apart from dimension {at} and to be no larger \
                         size than src {:?}",
                        index.shape(),
                        x.shape(),
                        source.shape()
                    ),
                ));
            }
            let source = new_values(op, &target, &source)?;
            let cut = cut_to(&source, index.shape(), at);
            cut.with_layout(cut.layout().slice(at, 0, index.shape()[at], 1))
        }
    };
    if let Some(vector) = same_for_all(&index, at) {
        let vector = plain_index(op, &vector, INTS, Some(x))?;
        let part = cut_to(&target, index.shape(), at);
        let kernel = Op::IndexPut { axes: [at].as_slice().into(), place: at, wrap: false, combine };
        return accumulate(op, &part, combine, values, |x, values| {
            run(op, &kernel, &[values, &vector], &[x])
        });
    }
    let mut index = to_dtype(&index, DType::I64)?;
    if index.storage().is_same(x.storage()) {
        index = contiguous_copy(&index)?;
    }
    let kernel = Op::Scatter { axis: at, combine };
    accumulate(op, &target, combine, values, |x, values| run(op, &kernel, &[values, &index], &[x]))
}

/// Writes `source`, a tensor at least as large as the index or a number: `x[i, index[i, j, k], k] = source[i, j, k]`, for
/// `axis` the second of three.
///
/// # Errors
/// As [`gather`]; a source of another dtype; elements of `x` that share memory.
pub fn scatter_<'a>(
    x: &RawTensor,
    axis: i64,
    index: &RawTensor,
    source: impl Into<Operand<'a>>,
) -> Result<()> {
    scatter_along("scatter_", x, axis, index, source.into(), Combine::Replace)?;
    x.bump_version();
    Ok(())
}

/// [`scatter_`] on a copy.
///
/// # Errors
/// As [`scatter_`].
pub fn scatter<'a>(
    x: &RawTensor,
    axis: i64,
    index: &RawTensor,
    source: impl Into<Operand<'a>>,
) -> Result<RawTensor> {
    on_copy(x, |out| scatter_(out, axis, index, source))
}

/// [`scatter_`] that adds.
///
/// # Errors
/// As [`scatter_`].
pub fn scatter_add_<'a>(
    x: &RawTensor,
    axis: i64,
    index: &RawTensor,
    source: impl Into<Operand<'a>>,
) -> Result<()> {
    scatter_along("scatter_add_", x, axis, index, source.into(), Combine::Add)?;
    x.bump_version();
    Ok(())
}

/// [`scatter_add_`] on a copy.
///
/// # Errors
/// As [`scatter_`].
pub fn scatter_add<'a>(
    x: &RawTensor,
    axis: i64,
    index: &RawTensor,
    source: impl Into<Operand<'a>>,
) -> Result<RawTensor> {
    on_copy(x, |out| scatter_add_(out, axis, index, source))
}

/// [`scatter_`] that reduces; without `include_self`, the old elements of the places that are written to do not count.
/// `Tensor.scatter_(.., reduce="add")` is the sum and `"multiply"` the product.
///
/// # Errors
/// As [`scatter_`]; the mean of truth values.
pub fn scatter_reduce_<'a>(
    x: &RawTensor,
    axis: i64,
    index: &RawTensor,
    source: impl Into<Operand<'a>>,
    reduce: Reduction,
    include_self: bool,
) -> Result<()> {
    const OP: &str = "scatter_reduce_";
    let source = source.into();
    check_writable(OP, x)?;
    if include_self && reduce != Reduction::Mean {
        scatter_along(OP, x, axis, index, source, reduce.combine())?;
    } else {
        // Several steps, on a copy, so that an error of a later one leaves `x` as it was.
        let out = contiguous_copy(x)?;
        let neutral = identity(OP, reduce, x.dtype(), x.device())?;
        if !include_self {
            let neutral = at_each(OP, &neutral, index)?;
            scatter_along(OP, &out, axis, index, (&neutral).into(), Combine::Replace)?;
        }
        scatter_along(OP, &out, axis, index, source, reduce.combine())?;
        if reduce == Reduction::Mean {
            divide_by_counts(OP, &out, include_self, index, |counts, ones| {
                scatter_along(OP, counts, axis, index, ones.into(), Combine::Add)
            })?;
        }
        run(OP, &Op::Copy, &[&out], &[x])?;
    }
    x.bump_version();
    Ok(())
}

fn at_each(op: &'static str, value: &RawTensor, index: &RawTensor) -> Result<RawTensor> {
    Ok(value.with_layout(value.layout().broadcast_to(op, index.shape())?))
}

/// [`scatter_reduce_`] on a copy.
///
/// # Errors
/// As [`scatter_reduce_`].
pub fn scatter_reduce<'a>(
    x: &RawTensor,
    axis: i64,
    index: &RawTensor,
    source: impl Into<Operand<'a>>,
    reduce: Reduction,
    include_self: bool,
) -> Result<RawTensor> {
    on_copy(x, |out| scatter_reduce_(out, axis, index, source, reduce, include_self))
}
