//! Evenly spaced numbers, and the identity matrix.

use kiln_storage::{DType, Device, Error, RawTensor, Result, Scalar};

use crate::copy::{to_device, to_dtype};

/// `steps` numbers from `start` to `end`, both included (`torch.linspace`). The second half is counted from the end, so
/// that the numbers are symmetric.
///
/// # Errors
/// The memory is not there, or numbers do not exist in bool.
pub fn linspace(start: f64, end: f64, steps: usize, dtype: DType, device: Device) -> Result<RawTensor> {
    const OP: &str = "linspace";
    let spaced = evenly(OP, start, end, steps, dtype)?;
    to_device(&to_dtype(&spaced, dtype)?, device)
}

/// `base` to the power of [`linspace`] (`torch.logspace`).
///
/// # Errors
/// As [`linspace`].
pub fn logspace(
    start: f64,
    end: f64,
    steps: usize,
    base: f64,
    dtype: DType,
    device: Device,
) -> Result<RawTensor> {
    const OP: &str = "logspace";
    let exponents = evenly(OP, start, end, steps, dtype)?.to_vec::<f64>()?;
    let powers = exponents.into_iter().map(|x| libm::pow(base, x)).collect();
    to_device(&to_dtype(&RawTensor::from_vec(OP, powers, [steps])?, dtype)?, device)
}

/// The numbers of [`linspace`] as doubles, rounded as numbers of `dtype` are on the way.
fn evenly(op: &'static str, start: f64, end: f64, steps: usize, dtype: DType) -> Result<RawTensor> {
    if dtype == DType::Bool {
        return Err(Error::dtype(op, "not there for bool"));
    }
    if steps > 1 << 40 {
        return Err(Error::value(op, format!("{steps} numbers do not fit into memory")));
    }
    let mut out = Vec::new();
    out.try_reserve_exact(steps)
        .map_err(|_| Error::value(op, format!("{steps} numbers do not fit into memory")))?;
    let half = steps / 2;
    let last = steps.saturating_sub(1);
    if dtype == DType::F32 {
        let (start, end) = (start as f32, end as f32);
        let step = if last > 0 { (end - start) / last as f32 } else { 0.0 };
        out.extend((0..steps).map(|i| {
            let x = if steps > 1 && i >= half {
                libm::fmaf(-step, (last - i) as f32, end)
            } else {
                libm::fmaf(step, i as f32, start)
            };
            f64::from(x)
        }));
    } else {
        let (start, end) = match dtype.is_int() {
            true => (start.trunc(), end.trunc()),
            false => (start, end),
        };
        let step = if last > 0 { (end - start) / last as f64 } else { 0.0 };
        out.extend((0..steps).map(|i| {
            if steps > 1 && i >= half {
                libm::fma(-step, (last - i) as f64, end)
            } else {
                libm::fma(step, i as f64, start)
            }
        }));
    }
    RawTensor::from_vec(op, out, [steps])
}

/// Ones on the diagonal of a matrix of zeros (`torch.eye`).
///
/// # Errors
/// The size overflows or the memory is not there.
pub fn eye(rows: usize, columns: usize, dtype: DType, device: Device) -> Result<RawTensor> {
    let out = crate::full(&[rows, columns].into(), Scalar::Int(0), dtype, device)?;
    crate::fill_(&out.with_layout(out.layout().diagonal(0, 0, 1)), Scalar::Int(1))?;
    // A fresh tensor, whatever it took to make it.
    RawTensor::new("eye", out.storage().clone(), out.layout().clone(), dtype)
}
