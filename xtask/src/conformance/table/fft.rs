//! Fourier transforms and windows for signals.
//!
//! Kiln has no complex dtype: what gives complex numbers is called, so that its refusals count, and then left out.

use kiln_autograd::fft::{self, Norm};
use kiln_autograd::{DType, Result, Tensor, TensorOptions, windows};

use super::create::Options;
use crate::conformance::args::{Answer, Args, Out, Stop, inexpressible, missing};
use crate::conformance::inexpressible::{COMPLEX, OVERFLOW, TYPE};
use crate::vectors::Arg;

fn norm(a: &Args<'_>, position: usize) -> Answer<Norm> {
    match a.str_or(position, "norm", "backward")? {
        "backward" => Ok(Norm::Backward),
        "ortho" => Ok(Norm::Ortho),
        "forward" => Ok(Norm::Forward),
        other => missing(format!("the normalization {other:?}")),
    }
}

fn left_out(_: Tensor) -> Answer<Out> {
    inexpressible(COMPLEX)
}

type One = fn(&Tensor, Option<usize>, i64, Norm) -> Result<Tensor>;
type Many = fn(&Tensor, Option<&[i64]>, Option<&[i64]>, Norm) -> Result<Tensor>;

fn one(a: &Args<'_>, function: One, real: bool) -> Answer<Tensor> {
    let n = match a.opt_int(1, "n")?.map(usize::try_from).transpose() {
        Ok(n) => n,
        Err(_) => return missing("a negative number of points"),
    };
    let (axis, norm) = (a.int_or(2, "dim", -1)?, norm(a, 3)?);
    let x = if real { a.x()? } else { fft::complex(&a.x()?)? };
    Ok(function(&x, n, axis, norm)?)
}

fn many(a: &Args<'_>, function: Many, real: bool, axes: Option<&[i64]>) -> Answer<Tensor> {
    let (sizes, named, norm) = (a.opt_ints(1, "s")?, a.opt_ints(2, "dim")?, norm(a, 3)?);
    let x = if real { a.x()? } else { fft::complex(&a.x()?)? };
    Ok(function(&x, sizes.as_deref(), named.as_deref().or(axes), norm)?)
}

/// By half the size of each axis, forwards or backwards.
fn shift(a: &Args<'_>, forward: bool) -> Answer<Tensor> {
    let x = a.x()?;
    let axes = a.opt_ints(1, "dim")?.unwrap_or((0..x.rank() as i64).collect());
    let by = |&axis: &i64| {
        let n = x.size(axis)? as i64;
        Ok(if forward { n / 2 } else { (n + 1) / 2 })
    };
    let shifts = axes.iter().map(by).collect::<Result<Vec<_>>>()?;
    Ok(x.roll(&shifts, &axes)?)
}

fn stft(a: &Args<'_>) -> Answer<Out> {
    let n = a.size(1, "n_fft")?;
    let hop = a.size_or(2, "hop_length", n / 4)?;
    let length = a.size_or(3, "win_length", n)?;
    let (center, normalized) = (a.bool_or(NAMED, "center", true)?, a.bool_or(NAMED, "normalized", false)?);
    if length != n
        || a.str_or(NAMED, "pad_mode", "reflect")? != "reflect"
        || !a.bool_or(NAMED, "onesided", true)?
    {
        return missing("windows that are shorter than the transform, other padding, or two-sided results");
    }
    let x = a.x()?;
    let window = match a.opt_tensor(4, "window")? {
        Some(window) => window,
        None => Tensor::ones_with([n], &x),
    };
    let y = fft::stft(&x, &window, hop, center, normalized)?;
    if a.bool_or(NAMED, "return_complex", false)? { left_out(y) } else { Ok(y.into()) }
}

/// By name only.
const NAMED: usize = usize::MAX;

fn window(name: &str, a: &Args<'_>) -> Answer<Tensor> {
    let options: TensorOptions = Options::of(a)?.tensor();
    let length = a.int(0, "M|window_length")?;
    let symmetric = a.bool_or(NAMED, "sym", true)?;
    Ok(match name {
        "bartlett" => windows::bartlett(length, symmetric, options)?,
        "blackman" => windows::blackman(length, symmetric, options)?,
        "cosine" => windows::cosine(length, symmetric, options)?,
        "hamming" => windows::hamming(length, symmetric, options)?,
        "hann" => windows::hann(length, symmetric, options)?,
        "nuttall" => windows::nuttall(length, symmetric, options)?,
        "exponential" => {
            let (center, tau) = (a.opt_float(NAMED, "center")?, a.float_or(NAMED, "tau", 1.0)?);
            windows::exponential(length, center, tau, symmetric, options)?
        }
        "gaussian" => windows::gaussian(length, a.float_or(NAMED, "std", 1.0)?, symmetric, options)?,
        "kaiser" => {
            let beta = a.float_or(NAMED, "beta", 12.0)?;
            let window = windows::kaiser(length, beta, symmetric, options)?;
            // PyTorch divides by a Bessel function that grows as e^beta.
            let overflows = window.dtype() != DType::F64 && beta > 88.0 && length > 1;
            return if overflows { inexpressible(OVERFLOW) } else { Ok(window) };
        }
        "general_hamming" => {
            windows::general_hamming(length, a.float_or(NAMED, "alpha", 0.54)?, symmetric, options)?
        }
        "general_cosine" => {
            let Some(Arg::List(list)) = a.named("a") else { return inexpressible(TYPE) };
            let Some(list) = list.iter().map(Arg::float).collect::<Option<Vec<_>>>() else {
                return missing("coefficients that are no numbers");
            };
            windows::general_cosine(length, &list, symmetric, options)?
        }
        _ => return Err(Stop::NoRow),
    })
}

/// The operators of this family.
pub fn call(name: &str, a: &Args<'_>) -> Answer<Out> {
    if let Some(name) = name.strip_prefix("signal.windows.") {
        return Ok(window(name, a)?.into());
    }
    if name == "stft" {
        return stft(a);
    }
    let Some(function) = name.strip_prefix("fft.") else { return Err(Stop::NoRow) };
    let two: Option<&[i64]> = Some(&[-2, -1]);
    match function {
        "fft" => left_out(one(a, fft::fft, false)?),
        "ifft" => left_out(one(a, fft::ifft, false)?),
        "rfft" => left_out(one(a, fft::rfft, true)?),
        "ihfft" => left_out(one(a, fft::ihfft, true)?),
        "fft2" => left_out(many(a, fft::fftn, false, two)?),
        "ifft2" => left_out(many(a, fft::ifftn, false, two)?),
        "rfft2" => left_out(many(a, fft::rfftn, true, two)?),
        "fftn" => left_out(many(a, fft::fftn, false, None)?),
        "ifftn" => left_out(many(a, fft::ifftn, false, None)?),
        "rfftn" => left_out(many(a, fft::rfftn, true, None)?),
        "irfft" => Ok(one(a, fft::irfft, false)?.into()),
        "hfft" => Ok(one(a, fft::hfft, false)?.into()),
        "irfft2" => Ok(many(a, fft::irfftn, false, two)?.into()),
        "irfftn" => Ok(many(a, fft::irfftn, false, None)?.into()),
        "hfft2" => Ok(many(a, fft::hfftn, false, two)?.into()),
        "hfftn" => Ok(many(a, fft::hfftn, false, None)?.into()),
        "fftshift" => Ok(shift(a, true)?.into()),
        "ifftshift" => Ok(shift(a, false)?.into()),
        _ => Err(Stop::NoRow),
    }
}
