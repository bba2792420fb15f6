//! Copies: between layouts, dtypes and devices.

use kiln_storage::{DType, Device, RawTensor, Result};

use crate::backend::{backend, fetch, run, store, uninit};
use crate::op::Op;
use crate::rules::{check_no_partial_overlap, check_writable};

/// A contiguous copy of `x` in memory of its own.
///
/// # Errors
/// The memory is not there or is lent out.
pub fn contiguous_copy(x: &RawTensor) -> Result<RawTensor> {
    let out = uninit("clone", x.shape(), x.dtype(), x.device())?;
    run("clone", &Op::Copy, &[x], &[&out])?;
    Ok(out)
}

/// `x` itself when it is contiguous, else a contiguous copy.
///
/// # Errors
/// As [`contiguous_copy`].
pub fn contiguous(x: &RawTensor) -> Result<RawTensor> {
    if x.is_contiguous() { Ok(x.clone()) } else { contiguous_copy(x) }
}

/// `x` converted to `dtype`; itself when it has that dtype.
///
/// # Errors
/// As [`contiguous_copy`].
pub fn to_dtype(x: &RawTensor, dtype: DType) -> Result<RawTensor> {
    if x.dtype() == dtype {
        return Ok(x.clone());
    }
    let out = uninit("to", x.shape(), dtype, x.device())?;
    run("to", &Op::Copy, &[x], &[&out])?;
    Ok(out)
}

/// `x` on `device`; itself when it is there.
///
/// # Errors
/// No backend is registered for a device, or a transfer fails.
pub fn to_device(x: &RawTensor, device: Device) -> Result<RawTensor> {
    const OP: &str = "to";
    let from = x.device();
    if from == device {
        return Ok(x.clone());
    }
    if from.is_cpu() {
        let target = backend(OP, device)?;
        let out = uninit(OP, x.shape(), x.dtype(), device)?;
        target.upload(&contiguous(x)?, &out)?;
        return Ok(out);
    }
    let host = fetch(OP, backend(OP, from)?, x)?;
    if device.is_cpu() { Ok(host) } else { to_device(&host, device) }
}

/// Writes `src`, broadcast and converted, into `dst` (`dst.copy_(src)`), across devices if need be.
///
/// # Errors
/// `src` does not broadcast to `dst`'s shape, or elements of `dst` share memory with each other or partly with `src`.
pub fn copy_(dst: &RawTensor, src: &RawTensor) -> Result<()> {
    const OP: &str = "copy_";
    check_writable(OP, dst)?;
    let src = src.with_layout(src.layout().broadcast_to(OP, dst.shape())?);
    if src.device() == dst.device() {
        check_no_partial_overlap(OP, dst, &src)?;
        run(OP, &Op::Copy, &[&src], &[dst])?;
    } else if dst.device().is_cpu() {
        let host = fetch(OP, backend(OP, src.device())?, &src)?;
        run(OP, &Op::Copy, &[&host], &[dst])?;
    } else {
        let host = to_dtype(&contiguous(&to_device(&src, Device::CPU)?)?, dst.dtype())?;
        store(OP, backend(OP, dst.device())?, &host, dst)?;
    }
    dst.bump_version();
    Ok(())
}
