//! Softmax and the losses over classes that build on it.

use kiln_storage::{DType, Error, RawTensor, Result, Shape};

use crate::backend::{run, uninit};
use crate::copy::contiguous;
pub use crate::cpu::softmax::Reduction;
use crate::op::Op;
use crate::reduce::Axis;
use crate::rules::{expect_dtype, expect_float, same_device};

fn line_axis(op: &'static str, x: &RawTensor, axis: i64) -> Result<Axis> {
    if x.rank() == 0 {
        x.shape().axis(op, axis)?;
        return Ok(Axis::all(1));
    }
    Ok(Axis::of(x.shape(), x.shape().axis(op, axis)?))
}

/// `e^x / sum(e^x)` along `axis`, or its logarithm.
///
/// # Errors
/// An axis out of range; elements that are not floating point.
pub fn softmax(x: &RawTensor, axis: i64, log: bool) -> Result<RawTensor> {
    let op = if log { "log_softmax" } else { "softmax" };
    expect_float(op, "the input", x)?;
    let axis = line_axis(op, x, axis)?;
    let x = contiguous(x)?;
    let y = uninit(op, x.shape(), x.dtype(), x.device())?;
    if y.numel() > 0 {
        run(op, &Op::Softmax { axis, log }, &[&x], &[&y])?;
    }
    Ok(y)
}

/// The gradient for the input of [`softmax`] from its result and the gradient for that.
///
/// # Errors
/// Memory that is lent out or not there.
pub fn softmax_backward(y: &RawTensor, g: &RawTensor, axis: i64, log: bool) -> Result<RawTensor> {
    let op = if log { "log_softmax_backward" } else { "softmax_backward" };
    let axis = line_axis(op, y, axis)?;
    let (y, g) = (contiguous(y)?, contiguous(g)?);
    let gx = uninit(op, y.shape(), y.dtype(), y.device())?;
    if gx.numel() > 0 {
        run(op, &Op::SoftmaxGrad { axis, log }, &[&y, &g], &[&gx])?;
    }
    Ok(gx)
}

/// The options of a loss whose targets are classes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassLoss {
    /// Positions with this target count for nothing.
    pub ignore_index: i64,
    /// How much of the target's probability is spread over all classes.
    pub label_smoothing: f64,
    /// What becomes of the positions' losses.
    pub reduction: Reduction,
}

/// Checked operands of a class loss: `x` is `[classes]` or `[batch, classes, positions..]`, `target` the same without
/// the classes.
struct Classes {
    x: RawTensor,
    target: RawTensor,
    weight: Option<RawTensor>,
    axis: Axis,
    out: Shape,
}

impl Classes {
    fn new(
        op: &'static str,
        x: &RawTensor,
        target: &RawTensor,
        weight: Option<&RawTensor>,
        options: &ClassLoss,
    ) -> Result<Classes> {
        expect_float(op, "the input", x)?;
        expect_dtype(op, "class targets", target, DType::I64)?;
        same_device(op, &[x, target])?;
        let at = if x.rank() <= 1 { 0 } else { 1 };
        if x.rank() == 0 {
            return Err(Error::shape(op, "the input needs a class axis, got a zero-dimensional tensor"));
        }
        if *target.shape() != x.shape().without(at) {
            return Err(Error::shape(
                op,
                format!(
                    "Expected target size {:?} for input {:?}, got {:?}",
                    x.shape().without(at),
                    x.shape(),
                    target.shape()
                ),
            ));
        }
        let axis = Axis::of(x.shape(), at);
        if let Some(w) = weight {
            same_device(op, &[x, w])?;
            expect_dtype(op, "class weights", w, x.dtype())?;
            if w.shape() != &[axis.n] {
                return Err(Error::shape(
                    op,
                    format!(
                        "weight tensor should be defined either for all {} classes or no classes but got weight tensor of shape: {:?}",
                        axis.n,
                        w.shape()
                    ),
                ));
            }
        }
        if !(0.0..=1.0).contains(&options.label_smoothing) {
            return Err(Error::value(
                op,
                format!("label_smoothing must be between 0.0 and 1.0. Got: {}", options.label_smoothing),
            ));
        }
        let out =
            if options.reduction == Reduction::None { target.shape().clone() } else { Shape::default() };
        Ok(Classes {
            x: contiguous(x)?,
            target: contiguous(target)?,
            weight: weight.map(contiguous).transpose()?,
            axis,
            out,
        })
    }

    /// The operands followed by the class weights, if there are any.
    fn inputs<'a>(&'a self, operands: &[&'a RawTensor]) -> Vec<&'a RawTensor> {
        operands.iter().copied().chain(&self.weight).collect()
    }
}

/// The dtype that a reduction of `dtype` is accumulated in.
fn accumulation(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

/// The cross entropy between `logits` and class targets, and two numbers per position that the gradient needs.
///
/// # Errors
/// Shapes or dtypes that do not fit; a target that is no class.
pub fn cross_entropy(
    logits: &RawTensor,
    target: &RawTensor,
    weight: Option<&RawTensor>,
    options: &ClassLoss,
) -> Result<(RawTensor, RawTensor)> {
    const OP: &str = "cross_entropy";
    let c = Classes::new(OP, logits, target, weight, options)?;
    let y = uninit(OP, &c.out, c.x.dtype(), c.x.device())?;
    let stats = uninit(OP, &[2 * c.target.numel()].into(), accumulation(c.x.dtype()), c.x.device())?;
    run(OP, &Op::CrossEntropy(c.axis, *options), &c.inputs(&[&c.x, &c.target]), &[&y, &stats])?;
    Ok((y, stats))
}

/// The gradient for the logits of [`cross_entropy`].
///
/// # Errors
/// As [`cross_entropy`].
pub fn cross_entropy_backward(
    logits: &RawTensor,
    target: &RawTensor,
    weight: Option<&RawTensor>,
    options: &ClassLoss,
    stats: &RawTensor,
    g: &RawTensor,
) -> Result<RawTensor> {
    const OP: &str = "cross_entropy_backward";
    let c = Classes::new(OP, logits, target, weight, options)?;
    let g = contiguous(g)?;
    let gx = uninit(OP, c.x.shape(), c.x.dtype(), c.x.device())?;
    run(OP, &Op::CrossEntropyGrad(c.axis, *options), &c.inputs(&[&c.x, &c.target, stats, &g]), &[&gx])?;
    Ok(gx)
}

/// The negative log likelihood of class targets under log-probabilities `x`.
///
/// # Errors
/// As [`cross_entropy`].
pub fn nll_loss(
    x: &RawTensor,
    target: &RawTensor,
    weight: Option<&RawTensor>,
    options: &ClassLoss,
) -> Result<RawTensor> {
    const OP: &str = "nll_loss";
    let c = Classes::new(OP, x, target, weight, options)?;
    let y = uninit(OP, &c.out, c.x.dtype(), c.x.device())?;
    run(OP, &Op::NllLoss(c.axis, *options), &c.inputs(&[&c.x, &c.target]), &[&y])?;
    Ok(y)
}

/// The gradient for the input of [`nll_loss`], which has the shape and dtype of `x`.
///
/// # Errors
/// As [`cross_entropy`].
pub fn nll_loss_backward(
    x: &RawTensor,
    target: &RawTensor,
    weight: Option<&RawTensor>,
    options: &ClassLoss,
    g: &RawTensor,
) -> Result<RawTensor> {
    const OP: &str = "nll_loss_backward";
    let c = Classes::new(OP, x, target, weight, options)?;
    let g = contiguous(g)?;
    let gx = uninit(OP, c.x.shape(), c.x.dtype(), c.x.device())?;
    run(OP, &Op::NllLossGrad(c.axis, *options), &c.inputs(&[&c.target, &g]), &[&gx])?;
    Ok(gx)
}
