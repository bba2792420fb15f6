//! Making tensors.

use kiln_storage::{DType, Device, Error, RawTensor, Result, Scalar, Shape};

use crate::backend::{run, uninit};
use crate::copy::to_device;
use crate::op::Op;

/// A tensor of one value.
///
/// # Errors
/// The size overflows or the memory is not there.
pub fn full(shape: &Shape, value: Scalar, dtype: DType, device: Device) -> Result<RawTensor> {
    let out = uninit("full", shape, dtype, device)?;
    run("full", &Op::Fill(value), &[], &[&out])?;
    Ok(out)
}

/// Writes one value everywhere (`fill_`), also where elements share memory.
///
/// # Errors
/// Memory that is lent out.
pub fn fill_(x: &RawTensor, value: Scalar) -> Result<()> {
    // Along an axis that repeats its elements once is enough.
    let mut layout = x.layout().clone();
    for axis in (0..layout.rank()).rev() {
        if layout.strides()[axis] == 0 && layout.shape()[axis] > 1 {
            layout = layout.select(axis, 0);
        }
    }
    run("fill_", &Op::Fill(value), &[], &[&x.with_layout(layout)])?;
    x.bump_version();
    Ok(())
}

/// A zero-dimensional tensor.
///
/// # Errors
/// The memory is not there.
#[inline]
pub fn scalar(value: Scalar, dtype: DType, device: Device) -> Result<RawTensor> {
    let host = RawTensor::uninit("scalar", Shape::default(), dtype)?;
    crate::cpu::host::write_scalar(&host, value);
    to_device(&host, device)
}

/// `start, start + step, ...` up to but without `end` (`torch.arange`).
///
/// # Errors
/// `step` is zero or points away from `end`; bounds that are not finite.
pub fn arange(start: Scalar, end: Scalar, step: Scalar, dtype: DType, device: Device) -> Result<RawTensor> {
    const OP: &str = "arange";
    let ints = [start, end, step].iter().all(|s| !matches!(s, Scalar::Float(_)));
    let (from, to, by) = (start.to_f64(), end.to_f64(), step.to_f64());
    if !(from.is_finite() && to.is_finite()) {
        return Err(Error::value(OP, format!("unsupported range: {from} -> {to}")));
    }
    if by == 0.0 || by.is_nan() {
        return Err(Error::value(OP, "step must be nonzero"));
    }
    if (to - from) * by.signum() < 0.0 {
        return Err(Error::value(OP, "upper bound and lower bound inconsistent with step sign"));
    }
    let n = if ints {
        let (from, to, by) = (start.to_i64() as i128, end.to_i64() as i128, step.to_i64() as i128);
        let (span, by) = if by > 0 { (to - from, by) } else { (from - to, -by) };
        ((span + by - 1) / by).max(0) as f64
    } else {
        ((to - from) / by).ceil()
    };
    if n > (1u64 << 48) as f64 {
        return Err(Error::value(OP, format!("{n} elements do not fit into memory")));
    }
    let n = n as usize;
    let host = if dtype.is_float() {
        // PyTorch computes in the accumulation type: double for all floats.
        let values: Vec<f64> = (0..n).map(|i| from + i as f64 * by).collect();
        RawTensor::from_vec(OP, values, [n])?
    } else {
        let (from, by) = (start.to_i64(), step.to_i64());
        RawTensor::from_vec(OP, (0..n as i64).map(|i| from.wrapping_add(i.wrapping_mul(by))).collect(), [n])?
    };
    to_device(&crate::copy::to_dtype(&host, dtype)?, device)
}
