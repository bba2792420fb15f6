//! Norms, distances, and spreads that come with their means.

use crate::ops::compose::{in_single, need_float};
use crate::record::record;
use crate::{Error, Here, Result, Tensor};

impl Tensor {
    /// The `p`-norm over `axes` (none given: all): 2 for the length, infinities for the extremes, 0 for the number of
    /// elements that are not zero (`torch.linalg.vector_norm`). Where the norm is 0, so is the gradient.
    ///
    /// # Errors
    /// Integers; an axis out of range or named twice; an extreme of nothing.
    #[track_caller]
    pub fn vector_norm(&self, p: f64, axes: &[i64], keepdim: bool) -> Result<Tensor> {
        need_float("vector_norm", &[self])?;
        in_single(self, &|x| x.float_norm(p, axes, keepdim))
    }

    #[track_caller]
    fn float_norm(&self, p: f64, axes: &[i64], keepdim: bool) -> Result<Tensor> {
        let x = self.detach();
        let magnitude = x.abs()?;
        let y = match p {
            f64::INFINITY => magnitude.amax(axes, keepdim)?,
            f64::NEG_INFINITY => magnitude.amin(axes, keepdim)?,
            0.0 => x.ne(0.0)?.to_dtype(x.dtype())?.sum_axes(axes, keepdim)?,
            1.0 => magnitude.sum_axes(axes, keepdim)?,
            2.0 => x.square()?.sum_axes(axes, keepdim)?.sqrt()?,
            p => magnitude.pow(p)?.sum_axes(axes, keepdim)?.pow(1.0 / p)?,
        };
        let resolved = kiln_ops::reduce::resolve_axes("vector_norm", axes, self.rank()).here()?.to_vec();
        let raw = y.raw().clone();
        Ok(record("LinalgVectorNormBackward0", raw)
            .input_from_output(self, || {
                let x = self.save();
                move |g: &Tensor, y: &Tensor| {
                    let kept = |t: &Tensor| match keepdim {
                        true => Ok(t.clone()),
                        false => resolved.iter().try_fold(t.clone(), |t, &a| t.unsqueeze(a as i64)),
                    };
                    norm_gradient(&x.get()?, &kept(g)?, &kept(y)?, p, &resolved)
                }
            })
            .done())
    }

    /// The `p`-norm of `self - other` (`torch.dist`).
    ///
    /// # Errors
    /// Integers; shapes that do not broadcast.
    #[track_caller]
    pub fn dist(&self, other: &Tensor, p: f64) -> Result<Tensor> {
        self.sub(other)?.vector_norm(p, &[], false)
    }

    /// The `p`-norm over the last axis of `self - other + eps` (`torch.nn.functional.pairwise_distance`).
    ///
    /// # Errors
    /// Shapes that do not broadcast.
    #[track_caller]
    pub fn pairwise_distance(&self, other: &Tensor, p: f64, eps: f64, keepdim: bool) -> Result<Tensor> {
        self.sub(other)?.add(eps)?.vector_norm(p, &[-1], keepdim)
    }

    /// Divided by the `p`-norm over `axes`, which counts as at least `eps` (`torch.nn.functional.normalize`).
    ///
    /// # Errors
    /// As [`Tensor::vector_norm`].
    #[track_caller]
    pub fn normalize(&self, p: f64, axes: &[i64], eps: f64) -> Result<Tensor> {
        self.div(&self.vector_norm(p, axes, true)?.clamp_min(eps)?)
    }

    /// The cosine of the angle between vectors along `axis`, whose lengths count as at least `eps`
    /// (`torch.nn.functional.cosine_similarity`).
    ///
    /// # Errors
    /// Integers; shapes that do not broadcast; an axis out of range.
    #[track_caller]
    pub fn cosine_similarity(&self, other: &Tensor, axis: i64, eps: f64) -> Result<Tensor> {
        const OP: &str = "cosine_similarity";
        let dtype = self.joint_dtype(crate::Arg::Tensor(other));
        if !dtype.is_float() {
            return Err(Error::dtype(
                OP,
                format!("expected common dtype to be floating point, yet it is {dtype}"),
            ));
        }
        let shape = kiln_ops::broadcast_shapes(OP, &self.shape(), &other.shape()).here()?;
        let unit = |t: &Tensor| {
            let t = t.expand(&shape)?.to_dtype(dtype)?;
            let length = t.vector_norm(2.0, &[axis], true)?;
            // The limit holds for the value only: the gradient is that of the length itself.
            let limited = length.detach().clamp_min(eps)?;
            let limited = length.add(&limited.sub(&length.detach())?)?;
            t.div(&limited)
        };
        unit(self).here()?.mul(&unit(other).here()?)?.sum_axes(&[axis], false)
    }

    /// Slices of `axis` scaled down to a `p`-norm of at most `maxnorm` (`torch.renorm`).
    ///
    /// # Errors
    /// Integers; fewer than two axes; a `p` or `maxnorm` that is not positive.
    #[track_caller]
    pub fn renorm(&self, p: f64, axis: i64, maxnorm: f64) -> Result<Tensor> {
        const OP: &str = "renorm";
        need_float(OP, &[self])?;
        if p <= 0.0 || p.is_nan() || maxnorm < 0.0 {
            return Err(Error::value(OP, format!("expects p > 0 and maxnorm >= 0, got {p} and {maxnorm}")));
        }
        if self.rank() < 2 {
            return Err(Error::shape(
                OP,
                format!("input needs at least 2 dimensions, got {:?}", self.shape()),
            ));
        }
        let axis = self.shape().axis(OP, axis).here()?;
        let others: Vec<i64> = (0..self.rank() as i64).filter(|&a| a != axis as i64).collect();
        let norm = self.vector_norm(p, &others, true)?;
        let factor = norm.add(1e-7)?.rdiv(maxnorm)?;
        let factor = factor.where_self(&norm.gt(maxnorm)?, 1.0)?;
        self.mul(&factor)
    }

    /// Standard deviations and means over `axes` (`torch.std_mean`).
    ///
    /// # Errors
    /// As [`Tensor::std_axes`].
    #[track_caller]
    pub fn std_mean(&self, axes: &[i64], correction: f64, keepdim: bool) -> Result<(Tensor, Tensor)> {
        let std = self.std_axes(axes, correction, keepdim)?;
        let mean = self.mean_beside(&std, axes, keepdim)?;
        Ok((std, mean))
    }

    /// Variances and means over `axes` (`torch.var_mean`).
    ///
    /// # Errors
    /// As [`Tensor::var_axes`].
    #[track_caller]
    pub fn var_mean(&self, axes: &[i64], correction: f64, keepdim: bool) -> Result<(Tensor, Tensor)> {
        let var = self.var_axes(axes, correction, keepdim)?;
        let mean = self.mean_beside(&var, axes, keepdim)?;
        Ok((var, mean))
    }

    /// The means that come with a spread. PyTorch corrects them from element to element, which an infinite one leaves no
    /// number to correct: there is no mean behind it, and only if it is the last one the mean is infinite.
    #[track_caller]
    fn mean_beside(&self, spread: &Tensor, axes: &[i64], keepdim: bool) -> Result<Tensor> {
        let mean = self.mean_axes(axes, keepdim)?;
        let lost = mean.detach().isinf()?.logical_and(&spread.detach().isnan()?)?;
        if self.numel() == mean.numel() || !lost.any()?.item()?.is_true() {
            return Ok(mean);
        }
        let infinite = self.detach().isinf()?;
        let (mut last, resolved) =
            (infinite.clone(), kiln_ops::reduce::resolve_axes("mean", axes, self.rank()).here()?);
        for &axis in &resolved {
            last = last.narrow(axis as i64, -1, 1)?;
        }
        let sooner = infinite.sum_axes(axes, keepdim)?.gt(&last.reshape(mean.shape())?)?;
        mean.masked_fill(&lost.logical_and(&sooner)?, f64::NAN)
    }
}

/// The gradient of a norm, from `g` and the norm `y` with the reduced axes kept.
fn norm_gradient(x: &Tensor, g: &Tensor, y: &Tensor, p: f64, axes: &[usize]) -> Result<Tensor> {
    let zero = y.eq(0.0)?;
    // Quotients by a norm of 0 count as 0; so do their derivatives.
    let over = |divisor: Tensor| g.div(&divisor.masked_fill(&zero, 1.0)?)?.masked_fill(&zero, 0.0);
    let power = |exponent: f64| x.abs()?.pow(exponent);
    match p {
        0.0 => x.mul(g)?.zeros_like(),
        1.0 => x.sign()?.mul(g),
        2.0 => x.mul(&over(y.clone())?),
        p if p.is_infinite() => {
            // Equal extremes share the gradient.
            let axes: Vec<i64> = axes.iter().map(|&a| a as i64).collect();
            let hit = x.abs()?.eq(y)?.to_dtype(x.dtype())?;
            let share = hit.div(&hit.sum_axes(&axes, true)?)?;
            x.sign()?.mul(&share)?.mul(g)
        }
        p if p < 1.0 => {
            let slope = x.sign()?.mul(&power(p - 1.0)?)?.masked_fill(&x.eq(0.0)?, 0.0)?;
            slope.mul(&g.mul(&y.pow(1.0 - p)?)?)
        }
        p if p < 2.0 => {
            let scale = over(y.pow(p - 1.0)?)?;
            x.sign()?.mul(&power(p - 1.0)?)?.mul(&scale)
        }
        p => {
            let scale = over(y.pow(p - 1.0)?)?;
            x.mul(&power(p - 2.0)?)?.mul(&scale)
        }
    }
}
