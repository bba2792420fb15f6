//! Windows for signals, with PyTorch's names and defaults (`torch.signal.windows`).
//!
//! Each function takes the length, whether the window is symmetric (else it is one period of a periodic one), and the
//! options of the result, whose dtype is single or double precision. They are computed in double precision.
//!
//! ```
//! use kiln_autograd::{F32, windows};
//! assert_eq!(windows::bartlett(5, true, F32)?.to_vec::<f32>()?, [0.0, 0.5, 1.0, 0.5, 0.0]);
//! # Ok::<(), kiln_autograd::Error>(())
//! ```

use std::f64::consts::PI;

use kiln_ops::DType;

use crate::{Error, F64, Here, Result, Tensor, TensorOptions};

/// Checks the arguments, evaluates `f` at `length` places and converts: `place(i)` is `start + i * step`.
#[track_caller]
fn sample(
    op: &'static str,
    length: i64,
    options: TensorOptions,
    start: f64,
    step: f64,
    f: impl FnOnce(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let count = usize::try_from(length)
        .map_err(|_| Error::value(op, format!("requires non-negative window length, got M={length}")))
        .here()?;
    let dtype = options.float();
    if !matches!(dtype, DType::F32 | DType::F64) {
        return Err(Error::dtype(op, format!("expects float32 or float64 dtypes, got: {dtype}")));
    }
    let place = Tensor::arange_with(count as i64, DType::I64).to_dtype(F64)?.mul(step)?.add(start)?;
    let y = f(&place).here()?.to_dtype(dtype)?.to_device(options.device)?;
    y.requires_grad_(options.requires_grad)
}

/// The number of steps of a window: one less than its places when symmetric.
fn steps(length: i64, symmetric: bool) -> f64 {
    (if symmetric { length - 1 } else { length }) as f64
}

/// The sum of `(-1)^i a[i] cos(2 pi i k)` (`torch.signal.windows.general_cosine`).
///
/// # Errors
/// A negative length, another dtype than the two, no coefficients.
#[track_caller]
pub fn general_cosine(
    length: i64,
    coefficients: &[f64],
    symmetric: bool,
    options: impl Into<TensorOptions>,
) -> Result<Tensor> {
    const OP: &str = "general_cosine";
    if coefficients.is_empty() {
        return Err(Error::value(OP, "Coefficients cannot be empty"));
    }
    let step = if length == 1 { 0.0 } else { 2.0 * PI / steps(length, symmetric) };
    sample(OP, length, options.into(), 0.0, step, |angle| {
        if length == 1 {
            return angle.ones_like();
        }
        let mut sum = angle.zeros_like()?;
        for (i, &a) in coefficients.iter().enumerate() {
            let signed = if i % 2 == 0 { a } else { -a };
            sum = sum.add(&angle.mul(i as f64)?.cos()?.mul(signed)?)?;
        }
        Ok(sum)
    })
}

/// `alpha - (1 - alpha) cos(2 pi k)` (`torch.signal.windows.general_hamming`; PyTorch's default `alpha` is 0.54).
///
/// # Errors
/// As [`general_cosine`].
#[track_caller]
pub fn general_hamming(
    length: i64,
    alpha: f64,
    symmetric: bool,
    options: impl Into<TensorOptions>,
) -> Result<Tensor> {
    general_cosine(length, &[alpha, 1.0 - alpha], symmetric, options)
}

/// [`general_hamming`] with 0.54 (`torch.signal.windows.hamming`).
///
/// # Errors
/// As [`general_cosine`].
#[track_caller]
pub fn hamming(length: i64, symmetric: bool, options: impl Into<TensorOptions>) -> Result<Tensor> {
    general_hamming(length, 0.54, symmetric, options)
}

/// [`general_hamming`] with 0.5 (`torch.signal.windows.hann`).
///
/// # Errors
/// As [`general_cosine`].
#[track_caller]
pub fn hann(length: i64, symmetric: bool, options: impl Into<TensorOptions>) -> Result<Tensor> {
    general_hamming(length, 0.5, symmetric, options)
}

/// Blackman's window (`torch.signal.windows.blackman`).
///
/// # Errors
/// As [`general_cosine`].
#[track_caller]
pub fn blackman(length: i64, symmetric: bool, options: impl Into<TensorOptions>) -> Result<Tensor> {
    general_cosine(length, &[0.42, 0.5, 0.08], symmetric, options)
}

/// Nuttall's window of four terms (`torch.signal.windows.nuttall`).
///
/// # Errors
/// As [`general_cosine`].
#[track_caller]
pub fn nuttall(length: i64, symmetric: bool, options: impl Into<TensorOptions>) -> Result<Tensor> {
    general_cosine(length, &[0.3635819, 0.4891775, 0.1365995, 0.0106411], symmetric, options)
}

/// A triangle (`torch.signal.windows.bartlett`).
///
/// # Errors
/// As [`general_cosine`].
#[track_caller]
pub fn bartlett(length: i64, symmetric: bool, options: impl Into<TensorOptions>) -> Result<Tensor> {
    let (start, step) = if length == 1 { (0.0, 0.0) } else { (-1.0, 2.0 / steps(length, symmetric)) };
    sample("bartlett", length, options.into(), start, step, |x| x.abs()?.rsub(1.0))
}

/// Half a period of a sine (`torch.signal.windows.cosine`).
///
/// # Errors
/// As [`general_cosine`].
#[track_caller]
pub fn cosine(length: i64, symmetric: bool, options: impl Into<TensorOptions>) -> Result<Tensor> {
    let step = PI / (if !symmetric && length > 1 { length + 1 } else { length }) as f64;
    sample("cosine", length, options.into(), 0.5 * step, step, Tensor::sin)
}

/// `e^(-|k - center| / tau)`; the center is by default the middle (`torch.signal.windows.exponential`).
///
/// # Errors
/// As [`general_cosine`]; a `tau` that is not positive, a center for a symmetric window.
#[track_caller]
pub fn exponential(
    length: i64,
    center: Option<f64>,
    tau: f64,
    symmetric: bool,
    options: impl Into<TensorOptions>,
) -> Result<Tensor> {
    const OP: &str = "exponential";
    if tau.is_nan() || tau <= 0.0 {
        return Err(Error::value(OP, format!("Tau must be positive, got: {tau} instead.")));
    }
    if symmetric && center.is_some() {
        return Err(Error::value(OP, "Center must be None for symmetric windows"));
    }
    let center = center.unwrap_or(middle(length, symmetric));
    sample(OP, length, options.into(), -center / tau, 1.0 / tau, |x| x.abs()?.neg()?.exp())
}

fn middle(length: i64, symmetric: bool) -> f64 {
    0.5 * (if !symmetric && length > 1 { length } else { length - 1 }) as f64
}

/// The density of a normal distribution, 1 in the middle (`torch.signal.windows.gaussian`).
///
/// # Errors
/// As [`general_cosine`]; a standard deviation that is not positive.
#[track_caller]
pub fn gaussian(length: i64, std: f64, symmetric: bool, options: impl Into<TensorOptions>) -> Result<Tensor> {
    const OP: &str = "gaussian";
    if std.is_nan() || std <= 0.0 {
        return Err(Error::value(OP, format!("Standard deviation must be positive, got: {std} instead.")));
    }
    let scale = 1.0 / (std * 2.0f64.sqrt());
    let start = -middle(length, symmetric) * scale;
    sample(OP, length, options.into(), start, scale, |x| x.square()?.neg()?.exp())
}

/// Kaiser's window of shape `beta`, PyTorch's default being 12 (`torch.signal.windows.kaiser`).
///
/// # Errors
/// As [`general_cosine`]; a negative `beta`.
#[track_caller]
pub fn kaiser(length: i64, beta: f64, symmetric: bool, options: impl Into<TensorOptions>) -> Result<Tensor> {
    const OP: &str = "kaiser";
    if beta.is_nan() || beta < 0.0 {
        return Err(Error::value(OP, format!("beta must be non-negative, got: {beta} instead.")));
    }
    let (start, step) = if length == 1 { (0.0, 0.0) } else { (-beta, 2.0 * beta / steps(length, symmetric)) };
    sample(OP, length, options.into(), start, step, |x| {
        // Rounding may take the last place beyond the end.
        let root = x.square()?.rsub(beta * beta)?.clamp_min(0.0)?.sqrt()?;
        let top = Tensor::scalar(beta)?.to_dtype(F64)?;
        // Scaled Bessel functions: of large shapes the plain ones overflow, which gives PyTorch NaN in single precision.
        root.i0e()?.div(&top.i0e()?)?.mul(&root.sub(&top)?.exp()?)
    })
}
