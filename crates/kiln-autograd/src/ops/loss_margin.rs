//! Losses that ask for a distance between right and wrong classes, or between pairs.

use crate::ops::compose::need_float;
use crate::ops::index::zeros;
use crate::ops::loss::reduced;
use crate::ops::softmax::Reduction;
use crate::{DType, Error, Here, Result, Tensor, autocast};

#[track_caller]
fn is_any(mask: &Tensor) -> Result<bool> {
    Ok(mask.any()?.item()?.is_true())
}

impl Tensor {
    /// The mean over all classes of `max(0, margin - x[target] + x[class])^p`, the right class left out
    /// (`torch.nn.functional.multi_margin_loss`).
    ///
    /// Shapes: input `[batch, classes]` or `[classes]`, target (int64) `[batch]` or a number, weight `[classes]`.
    ///
    /// # Errors
    /// Other shapes, a `p` other than 1 and 2, a class out of range, integers.
    #[track_caller]
    pub fn multi_margin_loss(
        &self,
        target: &Tensor,
        p: f64,
        margin: f64,
        weight: Option<&Tensor>,
        reduction: Reduction,
    ) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            let weight = cast.opt(weight)?;
            return cast.of(self)?.multi_margin_loss(target, p, margin, weight.as_ref(), reduction);
        }
        const OP: &str = "multi_margin_loss";
        need_float(OP, &[self])?;
        if p != 1.0 && p != 2.0 {
            return Err(Error::value(OP, format!("only p == 1 and p == 2 supported, got {p}")));
        }
        let (batch, classes) = match *self.dims() {
            [] => (1, 1),
            [classes] if classes > 0 => (1, classes),
            [batch, classes] if classes > 0 => (batch, classes),
            _ => {
                return Err(Error::shape(
                    OP,
                    format!(
                        "Expected non-empty vector or matrix with optional 0-dim batch size, but got: {:?}",
                        self.shape()
                    ),
                ));
            }
        };
        if target.rank() > 1 || target.numel() != batch || target.dtype() != DType::I64 {
            return Err(Error::shape(
                OP,
                format!(
                    "inconsistent target size, expected {batch} int64 classes but got {:?} of {}",
                    target.shape(),
                    target.dtype()
                ),
            ));
        }
        if let Some(w) = weight.filter(|w| w.dims() != [classes]) {
            return Err(Error::shape(
                OP,
                format!("inconsistent weight size, expected {classes} but got {:?}", w.shape()),
            ));
        }
        if is_any(&target.lt(0)?.logical_or(&target.ge(classes as i64)?)?)? {
            return Err(Error::index(OP, format!("target out of range for {classes} classes")));
        }
        let x = self.reshape([batch, classes])?;
        let index = target.reshape([batch, 1])?;
        let right = x.gather(1, &index)?;
        // relu has slope 0 at 0, as the loss has.
        let mut misses = x.sub(&right)?.add(margin)?.relu()?;
        if p == 2.0 {
            misses = misses.square()?;
        }
        if let Some(w) = weight {
            misses = misses.mul(&w.index_select(0, &target.reshape([batch])?)?.unsqueeze(1)?)?;
        }
        let own = zeros(&misses.shape(), &misses)?.to_dtype(DType::Bool)?.scatter(1, &index, true)?;
        let losses = misses.masked_fill(&own, 0.0)?.sum_axes(&[1], false)?.div(classes as f64)?;
        reduced(losses.reshape(target.shape())?, reduction)
    }

    /// `sum of max(0, 1 - (x[right] - x[wrong])) / classes` over all pairs of a right and a wrong class
    /// (`torch.nn.functional.multilabel_margin_loss`).
    ///
    /// Shapes: input `[batch, classes]` or `[classes]`, target (int64) the same: the right classes first, then -1.
    ///
    /// # Errors
    /// Other shapes, a class out of range, integers.
    #[track_caller]
    pub fn multilabel_margin_loss(&self, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.multilabel_margin_loss(target, reduction);
        }
        const OP: &str = "multilabel_margin_loss";
        need_float(OP, &[self])?;
        let (batch, classes) = match *self.dims() {
            [] => (1, 1),
            [classes] if classes > 0 => (1, classes),
            [batch, classes] if classes > 0 => (batch, classes),
            _ => {
                return Err(Error::shape(
                    OP,
                    format!(
                        "Expected non-empty vector or matrix with optional 0-dim batch size, but got: {:?}",
                        self.shape()
                    ),
                ));
            }
        };
        if target.shape() != self.shape()
            && !(self.rank() < 2 && target.numel() == classes && target.rank() < 2)
        {
            return Err(Error::shape(
                OP,
                format!(
                    "inconsistent target size: {:?} for input of size: {:?}",
                    target.shape(),
                    self.shape()
                ),
            ));
        }
        if target.dtype() != DType::I64 {
            return Err(Error::dtype(OP, format!("targets must be int64, got {}", target.dtype())));
        }
        if is_any(&target.lt(-1)?.logical_or(&target.ge(classes as i64)?)?)? {
            return Err(Error::index(OP, format!("target out of range for {classes} classes")));
        }
        let x = self.reshape([batch, classes])?;
        let target = target.reshape([batch, classes])?;
        // What stands behind the first -1 does not count.
        let listed = target.ge(0)?.to_dtype(DType::I64)?.cumprod(1)?;
        let index = target.clamp_min(0)?;
        let count = zeros(&target.shape(), &target)?.scatter_add(1, &index, &listed)?;
        let wrong = count.eq(0)?.unsqueeze(1)?;
        let pairs = listed.gt(0)?.unsqueeze(2)?.logical_and(&wrong)?;
        let right = x.gather(1, &index)?.unsqueeze(2)?;
        let misses = x.unsqueeze(1)?.sub(&right)?.add(1.0)?.relu()?;
        let misses = misses.masked_fill(&pairs.logical_not()?, 0.0)?;
        let losses = misses.sum_axes(&[1, 2], false)?.div(classes as f64)?;
        reduced(if self.rank() < 2 { losses.squeeze_axis(0)? } else { losses }, reduction)
    }

    /// The mean over all classes of the logistic losses of each (`torch.nn.functional.multilabel_soft_margin_loss`).
    ///
    /// Shapes: input and target (0 or 1) `[.., classes]`, weight broadcast to them.
    ///
    /// # Errors
    /// Shapes that do not broadcast, no axis, integers.
    #[track_caller]
    pub fn multilabel_soft_margin_loss(
        &self,
        target: &Tensor,
        weight: Option<&Tensor>,
        reduction: Reduction,
    ) -> Result<Tensor> {
        need_float("multilabel_soft_margin_loss", &[self])?;
        let yes = target.mul(&self.log_sigmoid()?)?;
        let no = target.rsub(1.0)?.mul(&self.neg()?.log_sigmoid()?)?;
        let losses = yes.add(&no)?.neg()?;
        let losses = match weight {
            Some(w) => losses.mul(w)?,
            None => losses,
        };
        let classes = self.size(-1)?;
        reduced(losses.sum_axes(&[-1], false)?.div(classes as f64)?, reduction)
    }

    /// [`Tensor::triplet_margin_loss`] with any distance between two tensors
    /// (`torch.nn.functional.triplet_margin_with_distance_loss`).
    ///
    /// # Errors
    /// A margin that is not positive; ranks that differ; shapes that do not broadcast; what `distance` fails with.
    #[track_caller]
    pub fn triplet_margin_with_distance_loss(
        &self,
        positive: &Tensor,
        negative: &Tensor,
        distance: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
        margin: f64,
        swap: bool,
        reduction: Reduction,
    ) -> Result<Tensor> {
        const OP: &str = "triplet_margin_loss";
        if margin <= 0.0 || margin.is_nan() {
            return Err(Error::value(OP, format!("margin must be greater than 0, got {margin}")));
        }
        if self.rank() != positive.rank() || self.rank() != negative.rank() {
            return Err(Error::shape(
                OP,
                format!(
                    "The anchor, positive, and negative tensors are expected to have the same number of dimensions, \
                     but got: anchor {}D, positive {}D, and negative {}D inputs",
                    self.rank(),
                    positive.rank(),
                    negative.rank()
                ),
            ));
        }
        let near = distance(self, positive).here()?;
        let mut far = distance(self, negative).here()?;
        if swap {
            far = far.minimum(&distance(positive, negative).here()?)?;
        }
        reduced(near.sub(&far)?.add(margin)?.clamp_min(0.0)?, reduction)
    }
}
