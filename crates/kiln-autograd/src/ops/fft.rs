//! Fourier transforms, with PyTorch's names and defaults (`torch.fft`), built with the feature `fft`.
//!
//! Kiln has no complex dtype. A complex tensor is a real one with a last axis of two, real and imaginary part, as
//! `torch.view_as_real` gives it; axes are counted without that one. [`complex`] makes one of real numbers.
//!
//! ```
//! use kiln_autograd::{Tensor, fft::{self, Norm}};
//! let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [4])?;
//! let y = fft::rfft(&x, None, -1, Norm::Backward)?;
//! assert_eq!(y.to_vec::<f32>()?, [10.0, 0.0, -2.0, 2.0, -2.0, 0.0]);
//! assert!(fft::irfft(&y, Some(4), -1, Norm::Backward)?.allclose(&x, 1e-5, 1e-6, false)?);
//! # Ok::<(), kiln_autograd::Error>(())
//! ```

use kiln_ops::resolve_axis;

use crate::collect::Collect;
use crate::record::record;
use crate::{Error, Here, Result, Tensor, autocast};

/// By which direction the division by the number of points happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Norm {
    /// By the inverse transforms.
    #[default]
    Backward,
    /// By both, each by the square root.
    Ortho,
    /// By the forward transforms.
    Forward,
}

impl Norm {
    fn factor(self, n: usize, inverse: bool) -> f64 {
        let n = n as f64;
        match (self, inverse) {
            (Norm::Ortho, _) => 1.0 / n.sqrt(),
            (Norm::Backward, true) | (Norm::Forward, false) => 1.0 / n,
            _ => 1.0,
        }
    }
}

/// A transform along one axis: what messages call it, its direction and normalization.
#[derive(Clone, Copy)]
struct Transform {
    op: &'static str,
    inverse: bool,
    norm: Norm,
}

/// Real numbers as complex ones with an imaginary part of 0: `[..]` -> `[.., 2]`. Integers become floating point.
///
/// # Errors
/// Memory that is not there.
#[track_caller]
pub fn complex(x: &Tensor) -> Result<Tensor> {
    let x = x.to_dtype(kiln_ops::to_float(x.dtype()))?;
    Tensor::stack(&[&x, &x.zeros_like()?], -1)
}

/// The complex conjugates of `[.., 2]`.
///
/// # Errors
/// Memory that is not there.
#[track_caller]
pub fn conj(z: &Tensor) -> Result<Tensor> {
    let (re, im) = (z.narrow(-1, 0, 1)?, z.narrow(-1, 1, 1)?);
    Tensor::cat(&[&re, &im.neg()?], -1)
}

/// The axis of a complex tensor, counted without the last one.
#[track_caller]
fn axis_of(op: &'static str, z: &Tensor, axis: i64) -> Result<i64> {
    let rank = z.rank();
    if rank == 0 || z.size(-1)? != 2 {
        return Err(Error::shape(op, format!("expected complex numbers [.., 2], got shape {:?}", z.shape())));
    }
    if rank == 1 {
        return Err(Error::index(op, format!("Dimension specified as {axis} but tensor has no dimensions")));
    }
    Ok(resolve_axis(op, axis, rank - 1).here()? as i64)
}

/// `z` cut or filled with zeros to `n` points.
#[track_caller]
fn sized(op: &'static str, z: &Tensor, axis: i64, n: usize) -> Result<Tensor> {
    if n < 1 {
        return Err(Error::value(op, format!("Invalid number of data points ({n}) specified")));
    }
    let (have, n) = (z.size(axis)? as i64, n as i64);
    if have >= n {
        return z.narrow(axis, 0, n);
    }
    let mut sizes = z.dims();
    sizes[axis as usize] = (n - have) as usize;
    Tensor::cat(&[z, &Tensor::zeros_with(sizes.as_slice(), z)], axis)
}

impl Transform {
    /// Along a resolved axis with `n` points.
    #[track_caller]
    fn complex(self, z: &Tensor, n: usize, axis: i64) -> Result<Tensor> {
        let last = z.rank() as i64 - 2;
        let moved = sized(self.op, z, axis, n)?.movedim(&[axis], &[last])?;
        let y = transform(self.op, &moved, self.inverse)?.movedim(&[last], &[axis])?;
        let factor = self.norm.factor(n, self.inverse);
        if factor == 1.0 { Ok(y) } else { y.mul(factor) }
    }

    /// Of half of a Hermitian signal, to `n` real points.
    #[track_caller]
    fn real(self, z: &Tensor, n: usize, axis: i64) -> Result<Tensor> {
        let half = sized(self.op, z, axis, n / 2 + 1)?;
        let rest = n as i64 - (n as i64 / 2 + 1);
        let whole = if rest > 0 {
            Tensor::cat(&[&half, &conj(&half.narrow(axis, 1, rest)?.flip(&[axis])?)?], axis)?
        } else {
            half.narrow(axis, 0, n as i64)?
        };
        self.complex(&whole, n, axis)?.select(-1, 0)
    }
}

/// The transform along the last axis but one, which is its own derivative but for the direction.
#[track_caller]
fn transform(op: &'static str, z: &Tensor, inverse: bool) -> Result<Tensor> {
    if let Some(cast) = autocast::full() {
        return transform(op, &cast.of(z)?, inverse);
    }
    let y = kiln_ops::fft(op, &z.raw(), inverse).here()?;
    Ok(record("FftC2CBackward0", y).input(z, || move |g: &Tensor| transform(op, g, !inverse)).done())
}

/// How many points a real result has: those asked for, or twice the intervals between the given ones.
#[track_caller]
fn points(op: &'static str, z: &Tensor, n: Option<usize>, axis: i64) -> Result<usize> {
    let n = match n {
        Some(n) => n,
        None => (2 * z.size(axis)?).saturating_sub(2),
    };
    if n < 1 {
        return Err(Error::value(op, format!("Invalid number of data points ({n}) specified")));
    }
    Ok(n)
}

/// The transform of complex numbers along an axis, cut or filled up to `n` points (`torch.fft.fft`).
///
/// # Errors
/// Not complex numbers, an axis out of range, no points.
#[track_caller]
pub fn fft(z: &Tensor, n: Option<usize>, axis: i64, norm: Norm) -> Result<Tensor> {
    along(Transform { op: "fft.fft", inverse: false, norm }, z, n, axis)
}

/// The inverse of [`fft()`] (`torch.fft.ifft`).
///
/// # Errors
/// As [`fft()`].
#[track_caller]
pub fn ifft(z: &Tensor, n: Option<usize>, axis: i64, norm: Norm) -> Result<Tensor> {
    along(Transform { op: "fft.ifft", inverse: true, norm }, z, n, axis)
}

#[track_caller]
fn along(transform: Transform, z: &Tensor, n: Option<usize>, axis: i64) -> Result<Tensor> {
    let axis = axis_of(transform.op, z, axis)?;
    let n = match n {
        Some(n) => n,
        None => z.size(axis)?,
    };
    transform.complex(z, n, axis)
}

/// The first half, `n / 2 + 1` complex numbers, of the transform of real numbers (`torch.fft.rfft`).
///
/// # Errors
/// An axis out of range, no points.
#[track_caller]
pub fn rfft(x: &Tensor, n: Option<usize>, axis: i64, norm: Norm) -> Result<Tensor> {
    half(Transform { op: "fft.rfft", inverse: false, norm }, x, n, axis)
}

/// The inverse of [`hfft`] (`torch.fft.ihfft`).
///
/// # Errors
/// As [`rfft`].
#[track_caller]
pub fn ihfft(x: &Tensor, n: Option<usize>, axis: i64, norm: Norm) -> Result<Tensor> {
    half(Transform { op: "fft.ihfft", inverse: true, norm }, x, n, axis)
}

#[track_caller]
fn half(transform: Transform, x: &Tensor, n: Option<usize>, axis: i64) -> Result<Tensor> {
    let z = complex(x)?;
    let axis = axis_of(transform.op, &z, axis)?;
    let n = match n {
        Some(n) => n,
        None => z.size(axis)?,
    };
    transform.complex(&z, n, axis)?.narrow(axis, 0, n as i64 / 2 + 1)
}

/// Real numbers from the first half of their transform (`torch.fft.irfft`); `n` of them, by default an even number.
///
/// # Errors
/// Not complex numbers, an axis out of range, no points.
#[track_caller]
pub fn irfft(z: &Tensor, n: Option<usize>, axis: i64, norm: Norm) -> Result<Tensor> {
    const OP: &str = "fft.irfft";
    let axis = axis_of(OP, z, axis)?;
    Transform { op: OP, inverse: true, norm }.real(z, points(OP, z, n, axis)?, axis)
}

/// The real transform of a Hermitian signal of which the first half is given (`torch.fft.hfft`).
///
/// # Errors
/// As [`irfft`].
#[track_caller]
pub fn hfft(z: &Tensor, n: Option<usize>, axis: i64, norm: Norm) -> Result<Tensor> {
    const OP: &str = "fft.hfft";
    let axis = axis_of(OP, z, axis)?;
    Transform { op: OP, inverse: false, norm }.real(z, points(OP, z, n, axis)?, axis)
}

/// The axes of a transform in several, resolved, and the points asked for along each.
#[track_caller]
fn plan(
    op: &'static str,
    z: &Tensor,
    sizes: Option<&[i64]>,
    axes: Option<&[i64]>,
) -> Result<Vec<(i64, Option<usize>)>> {
    let rank = z.rank().saturating_sub(1);
    let axes: Vec<i64> = match (axes, sizes) {
        (Some(axes), _) => axes.iter().map(|&a| axis_of(op, z, a)).all_ok().here()?,
        (None, Some(sizes)) if sizes.len() > rank => {
            return Err(Error::shape(
                op,
                format!("got {} sizes but the input only has {rank} dimensions", sizes.len()),
            ));
        }
        (None, Some(sizes)) => (rank - sizes.len()..rank).map(|a| a as i64).collect(),
        (None, None) => (0..rank as i64).collect(),
    };
    if (1..axes.len()).any(|i| axes[..i].contains(&axes[i])) {
        return Err(Error::value(op, format!("dims must be unique, got {axes:?}")));
    }
    if sizes.is_some_and(|s| s.len() != axes.len()) {
        return Err(Error::value(op, "dim and shape arguments must have the same length"));
    }
    let wanted = |i: usize| match sizes.map(|s| s[i]) {
        None | Some(-1) => Ok(None),
        Some(n) => match usize::try_from(n) {
            Ok(n) if n > 0 => Ok(Some(n)),
            _ => Err(Error::value(op, format!("Invalid number of data points ({n}) specified"))),
        },
    };
    axes.iter().enumerate().map(|(i, &axis)| Ok((axis, wanted(i)?))).all_ok().here()
}

/// [`fft()`] along several axes, by default all; sizes of -1 stay as they are (`torch.fft.fftn`).
///
/// # Errors
/// As [`fft()`]; axes named twice; other numbers of sizes than of axes.
#[track_caller]
pub fn fftn(z: &Tensor, sizes: Option<&[i64]>, axes: Option<&[i64]>, norm: Norm) -> Result<Tensor> {
    let plan = plan("fft.fftn", z, sizes, axes)?;
    plan.iter().try_fold(z.clone(), |z, &(axis, n)| fft(&z, n, axis, norm)).here()
}

/// The inverse of [`fftn`] (`torch.fft.ifftn`).
///
/// # Errors
/// As [`fftn`].
#[track_caller]
pub fn ifftn(z: &Tensor, sizes: Option<&[i64]>, axes: Option<&[i64]>, norm: Norm) -> Result<Tensor> {
    let plan = plan("fft.ifftn", z, sizes, axes)?;
    plan.iter().try_fold(z.clone(), |z, &(axis, n)| ifft(&z, n, axis, norm)).here()
}

/// [`rfft`] along the last of several axes and [`fft()`] along the others (`torch.fft.rfftn`).
///
/// # Errors
/// As [`fftn`]; no axes.
#[track_caller]
pub fn rfftn(x: &Tensor, sizes: Option<&[i64]>, axes: Option<&[i64]>, norm: Norm) -> Result<Tensor> {
    const OP: &str = "fft.rfftn";
    let plan = plan(OP, &complex(x)?, sizes, axes)?;
    let Some((&(last, n), others)) = plan.split_last() else { return Err(no_axes(OP)) };
    others.iter().try_fold(rfft(x, n, last, norm)?, |z, &(axis, n)| fft(&z, n, axis, norm)).here()
}

/// [`ifft`] along all but the last of several axes and [`irfft`] along that (`torch.fft.irfftn`).
///
/// # Errors
/// As [`fftn`]; no axes.
#[track_caller]
pub fn irfftn(z: &Tensor, sizes: Option<&[i64]>, axes: Option<&[i64]>, norm: Norm) -> Result<Tensor> {
    const OP: &str = "fft.irfftn";
    let plan = plan(OP, z, sizes, axes)?;
    let Some((&(last, n), others)) = plan.split_last() else { return Err(no_axes(OP)) };
    let z = others.iter().try_fold(z.clone(), |z, &(axis, n)| ifft(&z, n, axis, norm)).here()?;
    irfft(&z, n, last, norm)
}

/// [`fft()`] along all but the last of several axes and [`hfft`] along that (`torch.fft.hfftn`).
///
/// # Errors
/// As [`fftn`]; no axes.
#[track_caller]
pub fn hfftn(z: &Tensor, sizes: Option<&[i64]>, axes: Option<&[i64]>, norm: Norm) -> Result<Tensor> {
    const OP: &str = "fft.hfftn";
    let plan = plan(OP, z, sizes, axes)?;
    let Some((&(last, n), others)) = plan.split_last() else { return Err(no_axes(OP)) };
    let z = others.iter().try_fold(z.clone(), |z, &(axis, n)| fft(&z, n, axis, norm)).here()?;
    hfft(&z, n, last, norm)
}

fn no_axes(op: &'static str) -> Error {
    Error::value(op, "must transform at least one axis")
}

/// The Fourier transforms of overlapping windows of `window`'s length, `hop` elements apart: `[.., t]` ->
/// `[.., n / 2 + 1, frames, 2]` (`torch.stft` with one-sided results, as `torch.view_as_real` gives them). With `center`
/// the signal is first reflected at its ends, so that window i is around element `i * hop`.
///
/// # Errors
/// More than two axes or none, an empty window, a signal shorter than it, a `hop` of 0.
#[track_caller]
pub fn stft(x: &Tensor, window: &Tensor, hop: usize, center: bool, normalized: bool) -> Result<Tensor> {
    const OP: &str = "stft";
    let (n, rank) = (window.numel(), x.rank());
    if window.rank() != 1 || n == 0 || hop == 0 || !(1..=2).contains(&rank) {
        return Err(Error::value(
            OP,
            format!(
                "expected a signal of 1 or 2 axes, a window and a hop above 0, got {:?}, {:?} and {hop}",
                x.shape(),
                window.shape()
            ),
        ));
    }
    let signal = if center {
        let side = (n / 2) as i64;
        let wide = if rank == 1 { x.unsqueeze(0)? } else { x.clone() };
        let padded = wide.pad(&[side, side], kiln_ops::PadMode::Reflect)?;
        if rank == 1 { padded.squeeze_axis(0)? } else { padded }
    } else {
        x.clone()
    };
    if signal.size(-1)? < n {
        return Err(Error::shape(
            OP,
            format!("the signal {:?} is shorter than the window of {n}", signal.shape()),
        ));
    }
    let frames = signal.unfold(-1, n as i64, hop as i64)?.mul(window)?;
    let norm = if normalized { Norm::Ortho } else { Norm::Backward };
    rfft(&frames, None, -1, norm)?.transpose(-3, -2)
}
