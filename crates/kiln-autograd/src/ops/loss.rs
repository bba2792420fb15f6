//! Losses that compare a prediction with a target element by element.

use crate::ops::compose::{in_single, need_float};
use crate::ops::softmax::Reduction;
use crate::record::record;
use crate::{Error, Here, Result, Tensor, autocast, no_grad};

/// All the elements' losses, their mean or their sum.
#[track_caller]
pub(crate) fn reduced(losses: Tensor, reduction: Reduction) -> Result<Tensor> {
    match reduction {
        Reduction::None => Ok(losses),
        Reduction::Mean => losses.mean(),
        Reduction::Sum => losses.sum(),
    }
}

#[track_caller]
fn same_shape(op: &'static str, x: &Tensor, target: &Tensor) -> Result<()> {
    if x.shape() == target.shape() {
        return Ok(());
    }
    Err(Error::shape(
        op,
        format!(
            "target size {:?} must be the same as input size {:?}; reshape or expand the target",
            target.shape(),
            x.shape()
        ),
    ))
}

/// Records `y` as a function of the difference of its operands: `slope` is its derivative, from the difference and how
/// many there are. One node, where the composition would make three.
#[track_caller]
fn record_difference(
    name: &'static str,
    y: Tensor,
    input: &Tensor,
    target: &Tensor,
    slope: impl Fn(Tensor, usize) -> Result<Tensor> + Copy + Send + Sync + 'static,
) -> Tensor {
    let difference = |from: &Tensor, to: &Tensor| {
        let (a, b) = (from.save(), to.save());
        move |g: &Tensor| {
            let d = a.get()?.sub(&b.get()?)?;
            let n = d.numel();
            g.mul(&slope(d, n)?)
        }
    };
    let raw = y.raw().clone();
    // Both slopes are odd: the target's is that of the difference turned around.
    record(name, raw)
        .input(input, || difference(input, target))
        .input(target, || difference(target, input))
        .done()
}

impl Tensor {
    /// Squared differences (`torch.nn.functional.mse_loss`).
    ///
    /// # Errors
    /// Shapes that do not broadcast; integers, of which there is no mean.
    #[track_caller]
    pub fn mse_loss(&self, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.mse_loss(&cast.of(target)?, reduction);
        }
        let y = no_grad(|| {
            let difference = self.sub(target)?;
            need_float("mse_loss", &[&difference])?;
            reduced(difference.square()?, reduction)
        })
        .here()?;
        let slope = move |d: Tensor, n: usize| match reduction {
            Reduction::Mean => d.mul(2.0 / n as f64),
            _ => d.mul(2.0),
        };
        Ok(record_difference("MseLossBackward0", y, self, target, slope))
    }

    /// Absolute differences (`torch.nn.functional.l1_loss`).
    ///
    /// # Errors
    /// Shapes that do not broadcast; integers, of which there is no mean.
    #[track_caller]
    pub fn l1_loss(&self, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.l1_loss(&cast.of(target)?, reduction);
        }
        let y = no_grad(|| reduced(self.sub(target)?.abs()?, reduction)).here()?;
        let slope = move |d: Tensor, n: usize| match reduction {
            Reduction::Mean => d.sign()?.mul(1.0 / n as f64),
            _ => d.sign(),
        };
        Ok(record_difference("L1LossBackward0", y, self, target, slope))
    }

    /// Half the squared difference over `beta` where the difference is below `beta`, else the absolute difference less
    /// half of `beta` (`torch.nn.functional.smooth_l1_loss`).
    ///
    /// # Errors
    /// Shapes that do not broadcast; a negative `beta`; integers.
    #[track_caller]
    pub fn smooth_l1_loss(&self, target: &Tensor, beta: f64, reduction: Reduction) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.smooth_l1_loss(&cast.of(target)?, beta, reduction);
        }
        const OP: &str = "smooth_l1_loss";
        if beta < 0.0 || beta.is_nan() {
            return Err(Error::value(OP, format!("does not support negative values for beta, got {beta}")));
        }
        if beta == 0.0 {
            return self.l1_loss(target, reduction);
        }
        let difference = self.sub(target)?;
        need_float(OP, &[&difference])?;
        let losses = in_single(&difference, &|difference| {
            let distance = difference.abs()?;
            let near = distance.square()?.mul(0.5 / beta)?;
            near.where_self(&distance.lt(beta)?, &distance.sub(0.5 * beta)?)
        })?;
        reduced(losses, reduction)
    }

    /// Half the squared difference where the difference is at most `delta`, else `delta` times the absolute difference
    /// less half of `delta` (`torch.nn.functional.huber_loss`).
    ///
    /// # Errors
    /// Shapes that do not broadcast; a `delta` that is not positive; integers.
    #[track_caller]
    pub fn huber_loss(&self, target: &Tensor, delta: f64, reduction: Reduction) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.huber_loss(&cast.of(target)?, delta, reduction);
        }
        const OP: &str = "huber_loss";
        if delta <= 0.0 || delta.is_nan() {
            return Err(Error::value(
                OP,
                format!("does not support non-positive values for delta, got {delta}"),
            ));
        }
        let difference = self.sub(target)?;
        need_float(OP, &[&difference])?;
        let losses = in_single(&difference, &|difference| {
            let distance = difference.abs()?;
            let near = distance.square()?.mul(0.5)?;
            near.where_self(&distance.le(delta)?, &distance.sub(0.5 * delta)?.mul(delta)?)
        })?;
        reduced(losses, reduction)
    }

    /// The cross entropy of probabilities with target probabilities; logarithms end at -100
    /// (`torch.nn.functional.binary_cross_entropy`).
    ///
    /// # Errors
    /// Shapes that differ; probabilities outside of 0..=1; integers.
    #[track_caller]
    pub fn binary_cross_entropy(
        &self,
        target: &Tensor,
        weight: Option<&Tensor>,
        reduction: Reduction,
    ) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            let weight = cast.opt(weight)?;
            return cast.of(self)?.binary_cross_entropy(&cast.of(target)?, weight.as_ref(), reduction);
        }
        const OP: &str = "binary_cross_entropy";
        same_shape(OP, self, target)?;
        need_float(OP, &[self, target])?;
        for (what, t) in [("input", self), ("target", target)] {
            if !t.detach().ge(0.0)?.logical_and(&t.detach().le(1.0)?)?.all()?.item()?.is_true() {
                return Err(Error::value(OP, format!("all elements of {what} should be between 0 and 1")));
            }
        }
        let (x, t) = (self.detach(), target.detach());
        let yes = x.log()?.clamp_min(-100.0)?;
        let no = x.neg()?.log1p()?.clamp_min(-100.0)?;
        let raw = t.sub(1.0)?.mul(&no)?.sub(&t.mul(&yes)?)?.raw().clone();
        let losses = record("BinaryCrossEntropyBackward0", raw)
            .input(self, || {
                let (x, t) = (self.save(), target.save());
                move |g: &Tensor| {
                    let (x, t) = (x.get()?, t.get()?);
                    let spread = x.rsub(1.0)?.mul(&x)?.clamp_min(1e-12)?;
                    g.mul(&x.sub(&t)?)?.div(&spread)
                }
            })
            .input(target, || {
                let x = self.save();
                move |g: &Tensor| {
                    let x = x.get()?;
                    g.mul(&x.neg()?.log1p()?.sub(&x.log()?)?)
                }
            })
            .done();
        weighted(losses, weight, reduction)
    }

    /// [`Tensor::binary_cross_entropy`] of the sigmoid of these logits, without overflow
    /// (`torch.nn.functional.binary_cross_entropy_with_logits`).
    ///
    /// # Errors
    /// Shapes that differ; weights that do not broadcast; integers.
    #[track_caller]
    pub fn binary_cross_entropy_with_logits(
        &self,
        target: &Tensor,
        weight: Option<&Tensor>,
        pos_weight: Option<&Tensor>,
        reduction: Reduction,
    ) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            let (x, target) = (cast.of(self)?, cast.of(target)?);
            let (weight, pos_weight) = (cast.opt(weight)?, cast.opt(pos_weight)?);
            return x.binary_cross_entropy_with_logits(
                &target,
                weight.as_ref(),
                pos_weight.as_ref(),
                reduction,
            );
        }
        const OP: &str = "binary_cross_entropy_with_logits";
        same_shape(OP, self, target)?;
        need_float(OP, &[self])?;
        let log = self.log_sigmoid()?;
        let misses = target.rsub(1.0)?.mul(self)?;
        let losses = match pos_weight {
            None => misses.sub(&log)?,
            Some(w) => misses.sub(&w.sub(1.0)?.mul(target)?.add(1.0)?.mul(&log)?)?,
        };
        weighted(losses, weight, reduction)
    }

    /// `target * (ln(target) - self)`, or `e^target * (target - self)` for targets given as logarithms; `self` holds
    /// logarithms (`torch.nn.functional.kl_div`).
    ///
    /// # Errors
    /// Shapes that do not broadcast.
    #[track_caller]
    pub fn kl_div(&self, target: &Tensor, log_target: bool, reduction: Reduction) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.kl_div(&cast.of(target)?, log_target, reduction);
        }
        let losses = match log_target {
            true => target.exp()?.mul(&target.sub(self)?)?,
            false => target.xlogy(target)?.sub(&target.mul(self)?)?,
        };
        reduced(losses, reduction)
    }

    /// The negative log likelihood of counts under Poisson rates, given as logarithms if `log_input`; with `full`,
    /// Stirling's term is added for targets above 1 (`torch.nn.functional.poisson_nll_loss`).
    ///
    /// # Errors
    /// Shapes that do not broadcast.
    #[track_caller]
    pub fn poisson_nll_loss(
        &self,
        target: &Tensor,
        log_input: bool,
        full: bool,
        eps: f64,
        reduction: Reduction,
    ) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.poisson_nll_loss(&cast.of(target)?, log_input, full, eps, reduction);
        }
        let mut losses = match log_input {
            true => self.exp()?.sub(&target.mul(self)?)?,
            false => self.sub(&target.mul(&self.add(eps)?.log()?)?)?,
        };
        if full {
            let spread = target.mul(std::f64::consts::TAU)?.log()?.mul(0.5)?;
            let stirling = target.mul(&target.log()?)?.sub(target)?.add(&spread)?;
            losses = losses.add(&stirling.masked_fill(&target.le(1)?, 0.0)?)?;
        }
        reduced(losses, reduction)
    }

    /// `ln(1 + e^(-target * self))` for targets -1 and 1 (`torch.nn.functional.soft_margin_loss`).
    ///
    /// # Errors
    /// Shapes that do not broadcast.
    #[track_caller]
    pub fn soft_margin_loss(&self, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.soft_margin_loss(&cast.of(target)?, reduction);
        }
        need_float("soft_margin_loss", &[self])?;
        reduced(target.mul(self)?.log_sigmoid()?.neg()?, reduction)
    }

    /// `self` where the target is 1, `max(0, margin - self)` where it is -1
    /// (`torch.nn.functional.hinge_embedding_loss`).
    ///
    /// # Errors
    /// Shapes that do not broadcast.
    #[track_caller]
    pub fn hinge_embedding_loss(&self, target: &Tensor, margin: f64, reduction: Reduction) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.hinge_embedding_loss(&cast.of(target)?, margin, reduction);
        }
        let far = self.rsub(margin)?.clamp_min(0.0)?.masked_fill(&target.eq(1)?, 0.0)?;
        let near = self.masked_fill(&target.ne(1)?.logical_and(&target.eq(-1)?)?, 0.0)?;
        reduced(far.add(&near)?, reduction)
    }

    /// `max(0, -target * (self - other) + margin)` (`torch.nn.functional.margin_ranking_loss`).
    ///
    /// # Errors
    /// Ranks that differ; shapes that do not broadcast.
    #[track_caller]
    pub fn margin_ranking_loss(
        &self,
        other: &Tensor,
        target: &Tensor,
        margin: f64,
        reduction: Reduction,
    ) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            let (x, other, target) = (cast.of(self)?, cast.of(other)?, cast.of(target)?);
            return x.margin_ranking_loss(&other, &target, margin, reduction);
        }
        if self.rank() != other.rank() || self.rank() != target.rank() {
            return Err(Error::shape(
                "margin_ranking_loss",
                format!(
                    "All input tensors should have same dimension but got sizes: input1: {:?}, input2: {:?}, target: \
                     {:?}",
                    self.shape(),
                    other.shape(),
                    target.shape()
                ),
            ));
        }
        let losses = target.neg()?.mul(&self.sub(other)?)?.add(margin)?.clamp_min(0.0)?;
        reduced(losses, reduction)
    }

    /// The negative log likelihood of the target under a normal distribution with this mean and `var`
    /// (`torch.nn.functional.gaussian_nll_loss`).
    ///
    /// # Errors
    /// A negative variance; a variance whose shape neither is the mean's, nor lacks its last axis, nor has size 1 for one.
    #[track_caller]
    pub fn gaussian_nll_loss(
        &self,
        target: &Tensor,
        var: &Tensor,
        full: bool,
        eps: f64,
        reduction: Reduction,
    ) -> Result<Tensor> {
        const OP: &str = "gaussian_nll_loss";
        let (mine, theirs) = (self.dims(), var.dims());
        let missing_last = mine.split_last().is_some_and(|(_, lead)| lead == theirs);
        // One axis may be of size 1 for all of the mean's.
        let other = || mine.iter().zip(&theirs).filter(|(m, t)| m != t).map(|(_, t)| *t);
        let single = mine.len() == theirs.len() && other().eq([1]);
        let var = if mine == theirs || single {
            var.clone()
        } else if missing_last {
            var.unsqueeze(-1)?
        } else {
            return Err(Error::shape(
                OP,
                format!("var is of incorrect size {theirs:?} for means of {mine:?}"),
            ));
        };
        if var.detach().lt(0.0)?.any()?.item()?.is_true() {
            return Err(Error::value(OP, "var has negative entry/entries"));
        }
        // The limit holds for the values only: the gradient passes as if there were none.
        let raised = var.detach().clamp_min(eps)?;
        let limited = var.add(&raised.sub(&var.detach())?)?;
        let mut losses = limited.log()?.add(&self.sub(target)?.square()?.div(&limited)?)?.mul(0.5)?;
        if full {
            losses = losses.add(0.5 * std::f64::consts::TAU.ln())?;
        }
        reduced(losses, reduction)
    }

    /// `1 - cos` of the pairs with target 1, `max(0, cos - margin)` of those with -1
    /// (`torch.nn.functional.cosine_embedding_loss`).
    ///
    /// # Errors
    /// Shapes that do not fit.
    #[track_caller]
    pub fn cosine_embedding_loss(
        &self,
        other: &Tensor,
        target: &Tensor,
        margin: f64,
        reduction: Reduction,
    ) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            let (x, other, target) = (cast.of(self)?, cast.of(other)?, cast.of(target)?);
            return x.cosine_embedding_loss(&other, &target, margin, reduction);
        }
        const OP: &str = "cosine_embedding_loss";
        let rank = target.rank();
        if rank > 1 || self.rank() != rank + 1 || other.rank() != rank + 1 {
            return Err(Error::shape(
                OP,
                format!(
                    "{}D target tensor expects {}D input tensors, but found inputs with sizes {:?} and {:?}.",
                    rank,
                    rank + 1,
                    self.shape(),
                    other.shape()
                ),
            ));
        }
        const EPS: f64 = 1e-12;
        let axis = [rank as i64];
        let product = self.mul(other)?.sum_axes(&axis, false)?;
        let left = self.square()?.sum_axes(&axis, false)?.add(EPS)?;
        let right = other.square()?.sum_axes(&axis, false)?.add(EPS)?;
        let cos = product.div(&left.mul(&right)?.sqrt()?)?;
        let near = cos.rsub(1.0)?.masked_fill(&target.ne(1)?, 0.0)?;
        let far = cos.sub(margin)?.clamp_min(0.0)?.masked_fill(&target.ne(-1)?, 0.0)?;
        reduced(near.add(&far)?, reduction)
    }

    /// How much nearer than the other sample the sample of the same kind should be: `max(0, d(self, positive) - d(self,
    /// negative) + margin)`; with `swap`, the nearer of the two distances to the negative sample counts
    /// (`torch.nn.functional.triplet_margin_loss`).
    ///
    /// # Errors
    /// A margin that is not positive; ranks that differ; shapes that do not broadcast.
    #[track_caller]
    pub fn triplet_margin_loss(
        &self,
        positive: &Tensor,
        negative: &Tensor,
        margin: f64,
        p: f64,
        eps: f64,
        swap: bool,
        reduction: Reduction,
    ) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            let (x, positive, negative) = (cast.of(self)?, cast.of(positive)?, cast.of(negative)?);
            return x.triplet_margin_loss(&positive, &negative, margin, p, eps, swap, reduction);
        }
        let distance = |a: &Tensor, b: &Tensor| a.pairwise_distance(b, p, eps, false);
        self.triplet_margin_with_distance_loss(positive, negative, distance, margin, swap, reduction)
    }
}

#[track_caller]
fn weighted(losses: Tensor, weight: Option<&Tensor>, reduction: Reduction) -> Result<Tensor> {
    match weight {
        None => reduced(losses, reduction),
        Some(w) => reduced(losses.mul(w)?, reduction),
    }
}
