//! Softmax and the losses whose targets are classes.

pub use kiln_ops::softmax::Reduction;
use kiln_ops::softmax::{self as s, ClassLoss};

use crate::grad_mode::is_tracked;
use crate::record::record;
use crate::{Error, Here, Result, Tensor, autocast, func};

/// The options of [`Tensor::cross_entropy`] and [`Tensor::nll_loss`]; the default is PyTorch's: no weights, -100 is
/// ignored, the mean is taken, no smoothing.
#[derive(Clone)]
pub struct CrossEntropyOptions {
    /// A weight for each class.
    pub weight: Option<Tensor>,
    /// Positions with this target count for nothing.
    pub ignore_index: i64,
    /// What becomes of the positions' losses.
    pub reduction: Reduction,
    /// How much of the target's probability is spread over all classes.
    pub label_smoothing: f64,
}

impl Default for CrossEntropyOptions {
    fn default() -> CrossEntropyOptions {
        CrossEntropyOptions {
            weight: None,
            ignore_index: -100,
            reduction: Reduction::Mean,
            label_smoothing: 0.0,
        }
    }
}

impl CrossEntropyOptions {
    fn plain(&self) -> ClassLoss {
        ClassLoss {
            ignore_index: self.ignore_index,
            label_smoothing: self.label_smoothing,
            reduction: self.reduction,
        }
    }
}

impl Tensor {
    /// `e^x / sum(e^x)` along `axis` (`torch.softmax`).
    ///
    /// # Errors
    /// An axis out of range; elements that are not floating point.
    #[track_caller]
    pub fn softmax(&self, axis: i64) -> Result<Tensor> {
        let y = s::softmax(&self.raw(), axis, false).here()?;
        Ok(record("SoftmaxBackward0", y)
            .input_from_output(self, || move |g: &Tensor, y: &Tensor| softmax_gradient(y, g, axis))
            .done())
    }

    /// `ln(softmax(x))` along `axis` (`torch.log_softmax`).
    ///
    /// # Errors
    /// As [`Tensor::softmax`].
    #[track_caller]
    pub fn log_softmax(&self, axis: i64) -> Result<Tensor> {
        let y = s::softmax(&self.raw(), axis, true).here()?;
        Ok(record("LogSoftmaxBackward0", y)
            .input_from_output(self, || move |g: &Tensor, y: &Tensor| log_softmax_gradient(y, g, axis))
            .done())
    }

    /// The cross entropy between these logits and `target`: int64 classes, or probabilities in the logits' shape
    /// (`torch.nn.functional.cross_entropy`).
    ///
    /// Shapes: logits `[classes]` or `[batch, classes, positions..]`, classes the same without the class axis; the
    /// result is a number, or of the targets' shape without reduction.
    ///
    /// # Errors
    /// Shapes or dtypes that do not fit; a target that is no class; a class to ignore among probabilities.
    #[track_caller]
    pub fn cross_entropy(&self, target: &Tensor, options: &CrossEntropyOptions) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            let options =
                CrossEntropyOptions { weight: cast.opt(options.weight.as_ref())?, ..options.clone() };
            return cast.of(self)?.cross_entropy(&cast.of(target)?, &options);
        }
        if target.dtype().is_float() {
            if options.ignore_index >= 0 {
                return Err(Error::value(
                    "cross_entropy",
                    "ignore_index is not supported for floating point target",
                ));
            }
            return self.cross_entropy_with_probabilities(target, options);
        }
        let plain = options.plain();
        let weight = options.weight.as_ref();
        let (y, stats) =
            s::cross_entropy(&self.raw(), &target.raw(), weight.map(|w| w.raw()).as_deref(), &plain)
                .here()?;
        Ok(record("NllLossBackward0", y)
            .input(self, || {
                let (x, target, weight) = (self.save(), target.save(), weight.map(Tensor::save));
                let options = options.clone();
                move |g: &Tensor| {
                    let (x, target) = (x.get()?, target.get()?);
                    let weight = weight.as_ref().map(|w| w.get()).transpose()?;
                    if is_tracked() {
                        // To be differentiated again: the composite form, made of tracked operations.
                        let axis = if x.rank() == 1 { 0 } else { 1 };
                        let composite =
                            |x: &[Tensor]| Ok(vec![x[0].log_softmax(axis)?.nll_from(&target, &options)?]);
                        let gx = func::tracked_gradients(&[x], &[true], &[Some(g.clone())], composite)?;
                        return gx
                            .into_iter()
                            .flatten()
                            .next()
                            .ok_or_else(|| Error::autograd("cross_entropy", "no gradient"));
                    }
                    let weight = weight.as_ref().map(|w| w.raw());
                    let gx = s::cross_entropy_backward(
                        &x.raw(),
                        &target.raw(),
                        weight.as_deref(),
                        &plain,
                        &stats,
                        &g.raw(),
                    )?;
                    Ok(Tensor::from_raw(gx))
                }
            })
            .done())
    }

    /// The loss of log-probabilities with label smoothing, out of tracked operations.
    #[track_caller]
    fn nll_from(&self, target: &Tensor, options: &CrossEntropyOptions) -> Result<Tensor> {
        let plain = self.nll_loss(target, options)?;
        if options.label_smoothing == 0.0 {
            return Ok(plain);
        }
        let axis = if self.rank() == 1 { 0 } else { 1 };
        let classes = self.size(axis)? as f64;
        let ignored = target.eq(options.ignore_index)?;
        let weighted = match &options.weight {
            Some(w) => self.mul(&w.reshape(class_sizes(self.rank(), axis))?)?,
            None => self.clone(),
        };
        let smooth = weighted.sum_axes(&[axis], false)?.neg()?.masked_fill(&ignored, 0.0)?;
        let smooth = match options.reduction {
            Reduction::None => smooth,
            Reduction::Sum => smooth.sum()?,
            Reduction::Mean => {
                let ones = CrossEntropyOptions { reduction: Reduction::Sum, ..options.clone() };
                let total = self.detach().zeros_like()?.sub(1.0)?.nll_loss(target, &ones)?;
                smooth.sum()?.div(&total)?
            }
        };
        let e = options.label_smoothing;
        plain.mul(1.0 - e)?.add(&smooth.mul(e / classes)?)
    }

    #[track_caller]
    fn cross_entropy_with_probabilities(
        &self,
        target: &Tensor,
        options: &CrossEntropyOptions,
    ) -> Result<Tensor> {
        const OP: &str = "cross_entropy";
        if self.shape() != target.shape() {
            return Err(Error::shape(
                OP,
                format!(
                    "Expected floating point target of size {:?}, got {:?}",
                    self.shape(),
                    target.shape()
                ),
            ));
        }
        let axis = if self.rank() <= 1 { 0 } else { 1 };
        let classes = self.size(axis)? as f64;
        let e = options.label_smoothing;
        let target = if e > 0.0 { target.mul(1.0 - e)?.add(e / classes)? } else { target.clone() };
        let mut terms = self.log_softmax(axis)?.mul(&target)?;
        if let Some(w) = &options.weight {
            terms = terms.mul(&w.reshape(class_sizes(self.rank(), axis))?)?;
        }
        match options.reduction {
            Reduction::None => terms.sum_axes(&[axis], false)?.neg(),
            Reduction::Sum => terms.sum()?.neg(),
            Reduction::Mean => terms.sum()?.neg()?.div((self.numel() as f64 / classes).max(0.0)),
        }
    }

    /// The negative log likelihood of `target` under these log-probabilities (`torch.nn.functional.nll_loss`).
    ///
    /// Shapes: as for [`Tensor::cross_entropy`] with classes.
    ///
    /// # Errors
    /// Shapes or dtypes that do not fit; a target that is no class.
    #[track_caller]
    pub fn nll_loss(&self, target: &Tensor, options: &CrossEntropyOptions) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            let options =
                CrossEntropyOptions { weight: cast.opt(options.weight.as_ref())?, ..options.clone() };
            return cast.of(self)?.nll_loss(&cast.of(target)?, &options);
        }
        let plain = ClassLoss { label_smoothing: 0.0, ..options.plain() };
        let weight = options.weight.as_ref();
        let y = s::nll_loss(&self.raw(), &target.raw(), weight.map(|w| w.raw()).as_deref(), &plain).here()?;
        Ok(record("NllLossBackward0", y)
            .input(self, || {
                let (x, target) = (self.detach(), target.save());
                let options = options.clone();
                move |g: &Tensor| {
                    let target = target.get()?;
                    let weight = options.weight.as_ref().map(|w| w.raw());
                    let gx =
                        s::nll_loss_backward(&x.raw(), &target.raw(), weight.as_deref(), &plain, &g.raw())?;
                    // Linear in g: the gradient of g is the loss of what comes back.
                    let options = options.clone();
                    Ok(record("NllLossBackwardBackward0", gx)
                        .input(g, || {
                            let target = target.save();
                            move |gg: &Tensor| gg.nll_loss(&target.get()?, &options)
                        })
                        .done())
                }
            })
            .done())
    }
}

/// `[1, .., -1, .., 1]` with -1 at the class axis.
fn class_sizes(rank: usize, axis: i64) -> crate::Sizes {
    let sizes: Vec<i64> = (0..rank).map(|a| if a as i64 == axis { -1 } else { 1 }).collect();
    sizes.as_slice().into()
}

fn softmax_gradient(y: &Tensor, g: &Tensor, axis: i64) -> Result<Tensor> {
    if is_tracked() {
        let gy = g.mul(y)?;
        return gy.sub(&y.mul(&gy.sum_axes(&[axis], true)?)?);
    }
    Ok(Tensor::from_raw(s::softmax_backward(&y.raw(), &g.raw(), axis, false)?))
}

fn log_softmax_gradient(y: &Tensor, g: &Tensor, axis: i64) -> Result<Tensor> {
    if is_tracked() {
        return g.sub(&y.exp()?.mul(&g.sum_axes(&[axis], true)?)?);
    }
    Ok(Tensor::from_raw(s::softmax_backward(&y.raw(), &g.raw(), axis, true)?))
}
