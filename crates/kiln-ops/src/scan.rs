//! Accumulations along an axis: sums, products, extremes and sums of exponentials so far.

use kiln_storage::{DType, Error, RawTensor, Result};

use crate::backend::{run, uninit};
use crate::copy::contiguous;
pub use crate::cpu::scan::ScanOp;
use crate::op::Op;
use crate::reduce::{ArgOp, Axis};

/// The axis; a 0-dim tensor counts as a vector of one element.
fn along(op: &'static str, x: &RawTensor, axis: i64) -> Result<Axis> {
    let at = x.shape().axis(op, axis)?;
    Ok(if x.rank() == 0 { Axis::all(1) } else { Axis::of(x.shape(), at) })
}

/// What the elements up to each one accumulate to. Floats keep their dtype, integers and truth values give int64.
///
/// # Errors
/// An axis out of range; sums of exponentials of what is not floating point.
pub fn cumulative(code: ScanOp, x: &RawTensor, axis: i64) -> Result<RawTensor> {
    let op = match code {
        ScanOp::Sum => "cumsum",
        ScanOp::Prod => "cumprod",
        ScanOp::LogSumExp => "logcumsumexp",
    };
    let axis = along(op, x, axis)?;
    if code == ScanOp::LogSumExp && !x.dtype().is_float() {
        return Err(Error::dtype(op, format!("\"{op}\" is not implemented for {}", x.dtype())));
    }
    let dtype = if x.dtype().is_float() { x.dtype() } else { DType::I64 };
    let x = contiguous(x)?;
    let y = uninit(op, x.shape(), dtype, x.device())?;
    if y.numel() > 0 {
        run(op, &Op::Scan(code, axis), &[&x], &[&y])?;
    }
    Ok(y)
}

/// The largest or smallest element up to each one, and where along the axis it is: of equal ones the last, and NaN from
/// the first one on.
///
/// # Errors
/// An axis out of range.
pub fn cumulative_extreme(code: ArgOp, x: &RawTensor, axis: i64) -> Result<(RawTensor, RawTensor)> {
    let op = if code == ArgOp::Max { "cummax" } else { "cummin" };
    let axis = along(op, x, axis)?;
    let x = contiguous(x)?;
    let values = uninit(op, x.shape(), x.dtype(), x.device())?;
    let places = uninit(op, x.shape(), DType::I64, x.device())?;
    if values.numel() > 0 {
        run(op, &Op::ScanExtreme(code, axis), &[&x], &[&values, &places])?;
    }
    Ok((values, places))
}
