//! Normalisation: of rows (layer and RMS norm), of groups of channels, and of channels over a batch.
//!
//! Results come with the statistics that their gradients need. Weights and biases may be missing, and of any floating
//! point dtype; gradients for them are in the dtype that the input is computed in.

use kiln_storage::{DType, Error, RawTensor, Result, Shape};

use crate::backend::{run, uninit};
use crate::copy::{contiguous, to_dtype};
pub use crate::cpu::norm::{BatchNorm, GroupNorm, RowNorm};
use crate::create::full;
use crate::op::Op;
use crate::promotion::wide_dtype;
use crate::reduce::Axis;
use crate::rules::{expect_float, same_device};

/// The gradients for input, weight and bias, those that were wanted.
pub type Grads = [Option<RawTensor>; 3];

/// Checked weight and bias as a kernel wants them behind its other operands.
struct Affine {
    weight: Option<RawTensor>,
    bias: Option<RawTensor>,
}

impl Affine {
    /// For the input `x`; `shape` is what both must have.
    fn new(
        op: &'static str,
        x: &RawTensor,
        weight: Option<&RawTensor>,
        bias: Option<&RawTensor>,
        shape: &[usize],
    ) -> Result<Affine> {
        let dtype = wide_dtype(x.dtype());
        let checked = |t: &RawTensor| {
            expect_float(op, "weight and bias", t)?;
            same_device(op, &[x, t])?;
            if *t.shape() != *shape {
                return Err(Error::shape(
                    op,
                    format!("Expected weight and bias of shape {shape:?}, got {:?}", t.shape()),
                ));
            }
            contiguous(&to_dtype(t, dtype)?)
        };
        let bias = bias.map(checked).transpose()?;
        let weight = match (weight, &bias) {
            (Some(weight), _) => Some(checked(weight)?),
            // Kernels take a bias only behind a weight.
            (None, Some(_)) => Some(full(&shape.into(), 1.0.into(), dtype, x.device())?),
            (None, None) => None,
        };
        Ok(Affine { weight, bias })
    }

    fn behind<'a>(&'a self, operands: &[&'a RawTensor]) -> Vec<&'a RawTensor> {
        operands.iter().copied().chain(&self.weight).chain(&self.bias).collect()
    }
}

/// Memory for the gradients that are wanted, and for the others tensors without elements.
fn gradients(op: &'static str, x: &RawTensor, shape: &[usize], wanted: [bool; 3]) -> Result<[RawTensor; 3]> {
    let (of_weights, nothing) = (Shape::from(shape), Shape::from([0]));
    let make = |wanted: bool, shape: &Shape, dtype: DType| {
        uninit(op, if wanted { shape } else { &nothing }, dtype, x.device())
    };
    let wide = wide_dtype(x.dtype());
    Ok([
        make(wanted[0], x.shape(), x.dtype())?,
        make(wanted[1], &of_weights, wide)?,
        make(wanted[2], &of_weights, wide)?,
    ])
}

fn only(wanted: [bool; 3], found: [RawTensor; 3]) -> Grads {
    let mut wanted = wanted.into_iter();
    found.map(|t| wanted.next().unwrap_or(false).then_some(t))
}

fn row_op(norm: &RowNorm) -> &'static str {
    if norm.center { "layer_norm" } else { "rms_norm" }
}

/// Rows, which are the last axes and of the sizes `shape`, normalised, times `weight` plus `bias`; and the statistics for
/// [`row_norm_backward`]. `norm.n` is the product of `shape`.
///
/// # Errors
/// The last sizes are not `shape`; weights of another shape; elements that are not floating point.
pub fn row_norm(
    x: &RawTensor,
    shape: &[usize],
    weight: Option<&RawTensor>,
    bias: Option<&RawTensor>,
    norm: RowNorm,
) -> Result<(RawTensor, RawTensor)> {
    let op = row_op(&norm);
    expect_float(op, "the input", x)?;
    if shape.is_empty() || !x.shape().ends_with(shape) {
        return Err(Error::shape(
            op,
            format!(
                "Given normalized_shape={shape:?}, expected input with shape [*, {shape:?}], but got {:?}",
                x.shape()
            ),
        ));
    }
    let affine = Affine::new(op, x, weight, bias, shape)?;
    let x = contiguous(x)?;
    let rows = x.numel().checked_div(norm.n).unwrap_or(0);
    let y = uninit(op, x.shape(), x.dtype(), x.device())?;
    let stats = uninit(op, &[2 * rows].into(), wide_dtype(x.dtype()), x.device())?;
    if y.numel() > 0 {
        run(op, &Op::RowNorm(norm), &affine.behind(&[&x]), &[&y, &stats])?;
    }
    Ok((y, stats))
}

/// The gradients of [`row_norm`] from the gradient `g` for its result and its statistics.
///
/// # Errors
/// As [`row_norm`].
pub fn row_norm_backward(
    x: &RawTensor,
    g: &RawTensor,
    stats: &RawTensor,
    shape: &[usize],
    weight: Option<&RawTensor>,
    norm: RowNorm,
    wanted: [bool; 3],
) -> Result<Grads> {
    let op = row_op(&norm);
    let affine = Affine::new(op, x, weight, None, shape)?;
    let (x, g) = (contiguous(x)?, contiguous(g)?);
    let found = gradients(op, &x, shape, wanted)?;
    let [gx, gweight, gbias] = &found;
    run(op, &Op::RowNormGrad(norm), &affine.behind(&[&x, &g, stats]), &[gx, gweight, gbias])?;
    Ok(only(wanted, found))
}

/// The kernel's parameters for `x`, `[batch, channels, positions..]`, and the number of channels.
fn grouped(op: &'static str, x: &RawTensor, groups: usize, eps: f64) -> Result<(GroupNorm, usize)> {
    expect_float(op, "the input", x)?;
    let channels = channels_of(op, x)?;
    if x.shape()[2..].contains(&0) {
        return Err(Error::shape(
            op,
            format!("Expected the sizes behind the channels to be greater than 0, got {:?}", x.shape()),
        ));
    }
    if channels == 0 {
        return Err(Error::shape(op, "Expected number of channels to be greater than 0, got 0"));
    }
    if groups == 0 || channels % groups != 0 {
        return Err(Error::shape(
            op,
            format!(
                "Expected number of channels {channels} to be divisible by the number of groups {groups}"
            ),
        ));
    }
    let inner = x.shape()[2..].iter().product();
    Ok((GroupNorm { groups, channels: channels / groups, inner, eps }, channels))
}

fn channels_of(op: &'static str, x: &RawTensor) -> Result<usize> {
    match x.shape().get(1) {
        Some(&channels) => Ok(channels),
        None => Err(Error::shape(op, format!("expected a batch with channels, got {:?}", x.shape()))),
    }
}

/// Every group of channels of every element of the batch normalised, times the channel's weight plus its bias; and the
/// statistics for [`group_norm_backward`]. `op` is named in errors: this is instance norm too, with a group for each
/// channel.
///
/// # Errors
/// Channels that do not divide into the groups; weights that are not one number per channel; elements that are not
/// floating point.
pub fn group_norm(
    op: &'static str,
    x: &RawTensor,
    groups: usize,
    weight: Option<&RawTensor>,
    bias: Option<&RawTensor>,
    eps: f64,
) -> Result<(RawTensor, RawTensor)> {
    let (norm, channels) = grouped(op, x, groups, eps)?;
    let affine = Affine::new(op, x, weight, bias, &[channels])?;
    let x = contiguous(x)?;
    let y = uninit(op, x.shape(), x.dtype(), x.device())?;
    let stats = uninit(op, &[2 * x.shape()[0] * groups].into(), wide_dtype(x.dtype()), x.device())?;
    run(op, &Op::GroupNorm(norm), &affine.behind(&[&x]), &[&y, &stats])?;
    Ok((y, stats))
}

/// The gradients of [`group_norm`] from the gradient `g` for its result and its statistics.
///
/// # Errors
/// As [`group_norm`].
pub fn group_norm_backward(
    op: &'static str,
    x: &RawTensor,
    g: &RawTensor,
    stats: &RawTensor,
    groups: usize,
    weight: Option<&RawTensor>,
    eps: f64,
    wanted: [bool; 3],
) -> Result<Grads> {
    let (norm, channels) = grouped(op, x, groups, eps)?;
    let affine = Affine::new(op, x, weight, None, &[channels])?;
    let (x, g) = (contiguous(x)?, contiguous(g)?);
    let found = gradients(op, &x, &[channels], wanted)?;
    let [gx, gweight, gbias] = &found;
    run(op, &Op::GroupNormGrad(norm), &affine.behind(&[&x, &g, stats]), &[gx, gweight, gbias])?;
    Ok(only(wanted, found))
}

/// The mean and the biased variance of each channel (axis 1), in double precision. An empty batch has NaN.
///
/// # Errors
/// A tensor without channels; elements that are not floating point.
pub fn batch_stats(x: &RawTensor) -> Result<[RawTensor; 2]> {
    const OP: &str = "batch_norm";
    expect_float(OP, "the input", x)?;
    let channels: Shape = [channels_of(OP, x)?].into();
    if x.numel() == 0 {
        let nan = full(&channels, f64::NAN.into(), DType::F64, x.device())?;
        return Ok([nan.clone(), nan]);
    }
    let [mean, var] =
        [uninit(OP, &channels, DType::F64, x.device())?, uninit(OP, &channels, DType::F64, x.device())?];
    run(OP, &Op::BatchStats(Axis::of(x.shape(), 1)), &[&contiguous(x)?], &[&mean, &var])?;
    Ok([mean, var])
}

/// Checks what was to be one number per channel, and gives it in double precision.
fn statistics(x: &RawTensor, stats: [&RawTensor; 2]) -> Result<[RawTensor; 2]> {
    const OP: &str = "batch_norm";
    let channels = channels_of(OP, x)?;
    let checked = |t: &RawTensor| {
        same_device(OP, &[x, t])?;
        if *t.shape() != [channels] {
            return Err(Error::shape(
                OP,
                format!("expected one number for each of {channels} channels, got {:?}", t.shape()),
            ));
        }
        contiguous(&to_dtype(t, DType::F64)?)
    };
    Ok([checked(stats[0])?, checked(stats[1])?])
}

/// `(x - mean) / sqrt(var + eps) * weight + bias`, with one of each per channel (axis 1); `stats` are means and variances.
///
/// # Errors
/// A tensor without channels; statistics or weights that are not one number per channel; elements that are not floating
/// point.
pub fn batch_norm(
    x: &RawTensor,
    stats: [&RawTensor; 2],
    weight: Option<&RawTensor>,
    bias: Option<&RawTensor>,
    eps: f64,
) -> Result<RawTensor> {
    const OP: &str = "batch_norm";
    expect_float(OP, "the input", x)?;
    let [mean, var] = statistics(x, stats)?;
    let axis = Axis::of(x.shape(), 1);
    let affine = Affine::new(OP, x, weight, bias, &[axis.n])?;
    let x = contiguous(x)?;
    let y = uninit(OP, x.shape(), x.dtype(), x.device())?;
    if y.numel() > 0 {
        let norm = BatchNorm { axis, eps, own: false };
        run(OP, &Op::BatchNorm(norm), &affine.behind(&[&x, &mean, &var]), &[&y])?;
    }
    Ok(y)
}

/// The gradients of [`batch_norm`] from the gradient `g` for its result. With `own` the statistics are those of `x`
/// ([`batch_stats`]), and the gradient for `x` passes through them; else they are constants.
///
/// # Errors
/// As [`batch_norm`].
pub fn batch_norm_backward(
    x: &RawTensor,
    g: &RawTensor,
    stats: [&RawTensor; 2],
    weight: Option<&RawTensor>,
    eps: f64,
    own: bool,
    wanted: [bool; 3],
) -> Result<Grads> {
    const OP: &str = "batch_norm";
    let [mean, var] = statistics(x, stats)?;
    let axis = Axis::of(x.shape(), 1);
    let affine = Affine::new(OP, x, weight, None, &[axis.n])?;
    let (x, g) = (contiguous(x)?, contiguous(g)?);
    if x.numel() == 0 {
        let zeros = |shape: &Shape, dtype| full(shape, 0.0.into(), dtype, x.device());
        let (of_weights, wide) = ([axis.n].into(), wide_dtype(x.dtype()));
        let found = [zeros(x.shape(), x.dtype())?, zeros(&of_weights, wide)?, zeros(&of_weights, wide)?];
        return Ok(only(wanted, found));
    }
    let found = gradients(OP, &x, &[axis.n], wanted)?;
    let [gx, gweight, gbias] = &found;
    let norm = BatchNorm { axis, eps, own };
    run(OP, &Op::BatchNormGrad(norm), &affine.behind(&[&x, &g, &mean, &var]), &[gx, gweight, gbias])?;
    Ok(only(wanted, found))
}
