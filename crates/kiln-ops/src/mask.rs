//! Masks: filling, reading and writing where they are true, and where that is.

use kiln_storage::{DType, Device, Error, RawTensor, Result, Scalar, Shape, broadcast_shapes};

use crate::backend::{run, uninit};
use crate::copy::{contiguous, to_device, to_dtype};
use crate::elementwise::Operand;
use crate::index::{memory_of, new_values, on_copy};
use crate::op::Op;
use crate::rules::{check_in_place, check_no_partial_overlap, check_writable, same_device};

/// A value for elements of `x`, a number or a 0-dim tensor, as a 0-dim tensor of its dtype and device.
///
/// # Errors
/// A tensor with axes, or a number beyond what the dtype holds.
pub(crate) fn check_value(op: &'static str, x: &RawTensor, value: Operand<'_>) -> Result<RawTensor> {
    let dtype = x.dtype();
    match value {
        Operand::Scalar(s) => {
            check_fits(op, s, dtype)?;
            crate::scalar(s, dtype, x.device())
        }
        Operand::Tensor(t) if t.rank() > 0 => Err(Error::shape(
            op,
            format!(
                "only supports a 0-dimensional value tensor, but got tensor with {} dimension(s).",
                t.rank()
            ),
        )),
        Operand::Tensor(t) => to_dtype(&to_device(t, x.device())?, dtype),
    }
}

/// PyTorch's check of numbers that become elements. Negative numbers may wrap around in uint8.
fn check_fits(op: &'static str, value: Scalar, dtype: DType) -> Result<()> {
    let v = value.to_f64();
    let fits = match dtype {
        DType::Bool | DType::F64 => true,
        DType::U8 => (-255.0..=255.0).contains(&v),
        DType::I8 => (-128.0..=127.0).contains(&v),
        DType::I16 => (-32768.0..=32767.0).contains(&v),
        DType::I32 => (-2147483648.0..=2147483647.0).contains(&v),
        DType::I64 => {
            !matches!(value, Scalar::Float(f) if !(-9223372036854775808.0..9223372036854775808.0).contains(&f))
        }
        DType::F16 => !v.is_finite() || v.abs() <= 65504.0,
        DType::BF16 => !v.is_finite() || v.abs() <= f64::from(f32::from_bits(0x7f7f_0000)),
        _ => !v.is_finite() || v.abs() <= f64::from(f32::MAX),
    };
    if fits {
        return Ok(());
    }
    Err(Error::value(op, format!("value {value} cannot be converted to type {dtype} without overflow")))
}

fn check_mask(op: &'static str, mask: &RawTensor) -> Result<()> {
    if mask.dtype() == DType::Bool {
        return Ok(());
    }
    Err(Error::dtype(op, format!("only supports boolean masks, but got mask with dtype {}", mask.dtype())))
}

fn expanded(op: &'static str, t: &RawTensor, shape: &Shape) -> Result<RawTensor> {
    Ok(t.with_layout(t.layout().broadcast_to(op, shape)?))
}

/// `x` with one value, a number or a 0-dim tensor, where the mask is true; both broadcast.
///
/// # Errors
/// A mask that is not bool, shapes that do not broadcast, a value that does not fit the dtype.
pub fn masked_fill<'a>(x: &RawTensor, mask: &RawTensor, value: impl Into<Operand<'a>>) -> Result<RawTensor> {
    filled(x, mask, value.into())
}

fn filled(x: &RawTensor, mask: &RawTensor, value: Operand<'_>) -> Result<RawTensor> {
    const OP: &str = "masked_fill";
    same_device(OP, &[x, mask])?;
    check_mask(OP, mask)?;
    let value = check_value(OP, x, value)?;
    let shape = broadcast_shapes(OP, x.shape(), mask.shape())?;
    let out = uninit(OP, &shape, x.dtype(), x.device())?;
    let [mask, value, x] = [mask, &value, x].map(|t| expanded(OP, t, &shape));
    run(OP, &Op::Where, &[&mask?, &value?, &x?], &[&out])?;
    Ok(out)
}

/// [`masked_fill`] in place; the mask broadcasts to `x`.
///
/// # Errors
/// As [`masked_fill`].
pub fn masked_fill_<'a>(x: &RawTensor, mask: &RawTensor, value: impl Into<Operand<'a>>) -> Result<()> {
    fill_in_place(x, mask, value.into())
}

fn fill_in_place(x: &RawTensor, mask: &RawTensor, value: Operand<'_>) -> Result<()> {
    const OP: &str = "masked_fill_";
    same_device(OP, &[x, mask])?;
    check_mask(OP, mask)?;
    let value = check_value(OP, x, value)?;
    if x.layout().overlaps_itself() {
        let (memory, places) = memory_of(x)?;
        let places = masked_select(&places, &expanded(OP, mask, x.shape())?)?;
        return crate::index_fill_(&memory, 0, &places, &value);
    }
    check_in_place(OP, x, x.dtype(), &broadcast_shapes(OP, x.shape(), mask.shape())?)?;
    let mask = expanded(OP, mask, x.shape())?;
    check_no_partial_overlap(OP, x, &mask)?;
    run(OP, &Op::Where, &[&mask, &expanded(OP, &value, x.shape())?, x], &[x])?;
    x.bump_version();
    Ok(())
}

/// How many elements of a contiguous mask are true.
fn count_true(op: &'static str, mask: &RawTensor) -> Result<usize> {
    let count = uninit(op, &Shape::default(), DType::I64, mask.device())?;
    run(op, &Op::CountTrue, &[mask], &[&count])?;
    Ok(to_device(&count, Device::CPU)?.to_vec::<i64>()?[0] as usize)
}

/// The elements where the mask is true, in row-major order; both broadcast.
///
/// # Errors
/// A mask that is not bool, or shapes that do not broadcast.
pub fn masked_select(x: &RawTensor, mask: &RawTensor) -> Result<RawTensor> {
    const OP: &str = "masked_select";
    same_device(OP, &[x, mask])?;
    check_mask(OP, mask)?;
    let shape = broadcast_shapes(OP, x.shape(), mask.shape())?;
    let mask = contiguous(&expanded(OP, mask, &shape)?)?;
    let out = uninit(OP, &[count_true(OP, &mask)?].into(), x.dtype(), x.device())?;
    run(OP, &Op::MaskedSelect, &[&expanded(OP, x, &shape)?, &mask], &[&out])?;
    Ok(out)
}

/// Writes the elements of `source`, in row-major order, where the mask is true; the mask broadcasts to `x`.
///
/// # Errors
/// A mask that is not bool or does not broadcast, a source of another dtype or with too few elements, elements of `x` that
/// share memory.
pub fn masked_scatter_(x: &RawTensor, mask: &RawTensor, source: &RawTensor) -> Result<()> {
    const OP: &str = "masked_scatter_";
    same_device(OP, &[x, mask, source])?;
    check_mask(OP, mask)?;
    check_writable(OP, x)?;
    if x.dtype() != source.dtype() {
        return Err(Error::dtype(
            OP,
            format!(
                "expected self and source to have same dtypes but got {} and {}",
                x.dtype(),
                source.dtype()
            ),
        ));
    }
    let mask = expanded(OP, mask, x.shape())?;
    check_no_partial_overlap(OP, x, &mask)?;
    // A mask that is `x` itself is read while `x` is written.
    let mask =
        if mask.storage().is_same(x.storage()) { crate::contiguous_copy(&mask)? } else { contiguous(&mask)? };
    let wanted = count_true(OP, &mask)?;
    if source.numel() < wanted {
        return Err(Error::value(
            OP,
            format!("Number of elements of source ({}) < number of ones in mask ({wanted})", source.numel()),
        ));
    }
    let source = contiguous(&new_values(OP, x, source)?)?;
    run(OP, &Op::MaskedScatter, &[&source, &mask], &[x])?;
    x.bump_version();
    Ok(())
}

/// [`masked_scatter_`] on a copy; `x` broadcasts to the mask.
///
/// # Errors
/// As [`masked_scatter_`].
pub fn masked_scatter(x: &RawTensor, mask: &RawTensor, source: &RawTensor) -> Result<RawTensor> {
    const OP: &str = "masked_scatter";
    let shape = broadcast_shapes(OP, x.shape(), mask.shape())?;
    on_copy(&expanded(OP, x, &shape)?, |out| masked_scatter_(out, mask, source))
}

/// The indices of the elements that are not zero, one row each: int64 of shape `[n, rank]`.
///
/// # Errors
/// Memory that is lent out or not there.
pub fn nonzero(x: &RawTensor) -> Result<RawTensor> {
    const OP: &str = "nonzero";
    let mask = contiguous(&to_dtype(x, DType::Bool)?)?;
    let out = uninit(OP, &[count_true(OP, &mask)?, x.rank()].into(), DType::I64, x.device())?;
    run(OP, &Op::Nonzero, &[&mask], &[&out])?;
    Ok(out)
}

/// [`nonzero`] as one vector per axis (`torch.where` of one argument); a 0-dim tensor counts as a vector of one element.
///
/// # Errors
/// As [`nonzero`].
pub fn nonzero_by_axis(x: &RawTensor) -> Result<Vec<RawTensor>> {
    crate::unbind(&nonzero(&crate::index::at_least_1d(x))?, 1)
}
