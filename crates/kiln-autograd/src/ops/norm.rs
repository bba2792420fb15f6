//! Norms, distances, and layers that normalise.

use kiln_ops::DType;

use crate::ops::compose::{in_single, need_float};
use crate::record::record;
use crate::{Error, Result, Tensor};

impl Tensor {
    /// The `p`-norm over `axes` (none given: all): 2 for the length, infinities for the extremes, 0 for the number of
    /// elements that are not zero (`torch.linalg.vector_norm`). Where the norm is 0, so is the gradient.
    ///
    /// # Errors
    /// Integers; an axis out of range or named twice; an extreme of nothing.
    #[track_caller]
    pub fn vector_norm(&self, p: f64, axes: &[i64], keepdim: bool) -> Result<Tensor> {
        need_float("vector_norm", &[self])?;
        in_single(self, |x| x.float_norm(p, axes, keepdim))
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
        let resolved = kiln_ops::reduce::resolve_axes("vector_norm", axes, self.rank())?.to_vec();
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
        let shape = kiln_ops::broadcast_shapes(OP, &self.shape(), &other.shape())?;
        let unit = |t: &Tensor| {
            let t = t.expand(&shape)?.to_dtype(dtype)?;
            let length = t.vector_norm(2.0, &[axis], true)?;
            // The limit holds for the value only: the gradient is that of the length itself.
            let limited = length.detach().clamp_min(eps)?;
            let limited = length.add(&limited.sub(&length.detach())?)?;
            t.div(&limited)
        };
        unit(self)?.mul(&unit(other)?)?.sum_axes(&[axis], false)
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
        let axis = self.shape().axis(OP, axis)?;
        let others: Vec<i64> = (0..self.rank() as i64).filter(|&a| a != axis as i64).collect();
        let norm = self.vector_norm(p, &others, true)?;
        let factor = norm.add(1e-7)?.rdiv(maxnorm)?;
        let factor = factor.where_self(&norm.gt(maxnorm)?, 1.0)?;
        self.mul(&factor)
    }

    /// Normalised over the last axes, whose sizes are `shape`, then scaled by `weight` and shifted by `bias`
    /// (`torch.nn.functional.layer_norm`).
    ///
    /// # Errors
    /// The last sizes are not `shape`; weights of another shape; integers.
    #[track_caller]
    pub fn layer_norm(
        &self,
        shape: &[usize],
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        eps: f64,
    ) -> Result<Tensor> {
        let axes = self.last_axes("layer_norm", shape, &[weight, bias])?;
        in_single(self, |x| {
            let unit = standardised(x, &axes, eps)?;
            affine(&unit, weight, bias)
        })
    }

    /// Divided by the root of the mean square over the last axes, whose sizes are `shape`, then scaled by `weight`; the
    /// default `eps` is the dtype's (`torch.nn.functional.rms_norm`).
    ///
    /// # Errors
    /// The last sizes are not `shape`; a weight of another shape; integers.
    #[track_caller]
    pub fn rms_norm(&self, shape: &[usize], weight: Option<&Tensor>, eps: Option<f64>) -> Result<Tensor> {
        let axes = self.last_axes("rms_norm", shape, &[weight])?;
        in_single(self, |x| {
            let eps =
                eps.unwrap_or(if x.dtype() == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) });
            let unit = x.mul(&x.square()?.mean_axes(&axes, true)?.add(eps)?.rsqrt()?)?;
            affine(&unit, weight, None)
        })
    }

    /// The axes over which a layer of these last sizes normalises.
    #[track_caller]
    fn last_axes(&self, op: &'static str, shape: &[usize], weights: &[Option<&Tensor>]) -> Result<Vec<i64>> {
        need_float(op, &[self])?;
        let dims = self.dims();
        if shape.is_empty() || !dims.ends_with(shape) {
            return Err(Error::shape(
                op,
                format!(
                    "Given normalized_shape={shape:?}, expected input with shape [*, {shape:?}], but got {dims:?}"
                ),
            ));
        }
        if let Some(w) = weights.iter().flatten().find(|w| w.dims() != shape) {
            return Err(Error::shape(
                op,
                format!("Expected weight and bias of the normalized shape {shape:?}, got {:?}", w.shape()),
            ));
        }
        Ok((1..=shape.len() as i64).map(|a| -a).collect())
    }

    /// Normalised over all axes but the channels (axis 1), by the batch's mean and variance if `training`, else by the
    /// running ones; then scaled by `weight` and shifted by `bias`. Training moves the running statistics towards the
    /// batch's by `momentum` (`torch.nn.functional.batch_norm`).
    ///
    /// # Errors
    /// A tensor without channels; statistics or weights that are not one number per channel; training on one value per
    /// channel; no running statistics outside of training; integers.
    #[track_caller]
    pub fn batch_norm(
        &self,
        running: Option<(&Tensor, &Tensor)>,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        training: bool,
        momentum: f64,
        eps: f64,
    ) -> Result<Tensor> {
        const OP: &str = "batch_norm";
        need_float(OP, &[self])?;
        if self.rank() == 1 && self.numel() == 0 {
            return self.copy();
        }
        if self.rank() < 2 {
            return Err(Error::shape(OP, format!("expected a batch with channels, got {:?}", self.shape())));
        }
        let channels = self.shape()[1];
        let statistics = running.map(|(mean, var)| [mean, var]);
        for t in statistics.iter().flatten().copied().chain(weight).chain(bias) {
            if t.dims() != [channels] {
                return Err(Error::shape(
                    OP,
                    format!("expected one number for each of {channels} channels, got {:?}", t.shape()),
                ));
            }
        }
        let axes: Vec<i64> = (0..self.rank() as i64).filter(|&a| a != 1).collect();
        let count = self.numel().checked_div(channels).unwrap_or(0);
        if training && count == 1 {
            return Err(Error::value(
                OP,
                format!(
                    "Expected more than 1 value per channel when training, got input size {:?}",
                    self.shape()
                ),
            ));
        }
        // An empty batch has no statistics.
        if training
            && count > 0
            && let Some((mean, var)) = running
        {
            crate::no_grad(|| {
                let x = in_single_or_double(self)?;
                move_towards(mean, &x.mean_axes(&axes, false)?, momentum)?;
                move_towards(var, &x.var_axes(&axes, 1.0, false)?, momentum)
            })?;
        }
        let sizes: Vec<i64> = (0..self.rank()).map(|a| if a == 1 { -1 } else { 1 }).collect();
        let per_channel = |t: &Tensor| t.reshape(sizes.as_slice());
        in_single(self, |x| {
            let unit = match (training, running) {
                (true, _) => standardised(x, &axes, eps)?,
                (false, Some((mean, var))) => {
                    let scale = per_channel(&var.to_dtype(x.dtype())?.add(eps)?.rsqrt()?)?;
                    x.sub(&per_channel(&mean.to_dtype(x.dtype())?)?)?.mul(&scale)?
                }
                (false, None) => {
                    return Err(Error::value(
                        OP,
                        "Expected running_mean and running_var to be defined when training=False",
                    ));
                }
            };
            let weight = weight.map(per_channel).transpose()?;
            let bias = bias.map(per_channel).transpose()?;
            affine(&unit, weight.as_ref(), bias.as_ref())
        })
    }

    /// Normalised over the positions of every channel of every element of the batch, by their own mean and variance, or,
    /// without `use_input_stats`, by the running ones (`torch.nn.functional.instance_norm`).
    ///
    /// # Errors
    /// Fewer than three axes; statistics or weights that are not one number per channel; one position per channel;
    /// integers.
    #[track_caller]
    pub fn instance_norm(
        &self,
        running: Option<(&Tensor, &Tensor)>,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        use_input_stats: bool,
        momentum: f64,
        eps: f64,
    ) -> Result<Tensor> {
        const OP: &str = "instance_norm";
        if !use_input_stats {
            return self.batch_norm(running, weight, bias, false, momentum, eps);
        }
        need_float(OP, &[self])?;
        if self.rank() < 3 {
            return Err(Error::shape(
                OP,
                format!("expected a batch with channels and positions, got {:?}", self.shape()),
            ));
        }
        let channels = self.shape()[1];
        let statistics = running.map(|(mean, var)| [mean, var]);
        if let Some(t) =
            statistics.iter().flatten().copied().chain(weight).chain(bias).find(|t| t.dims() != [channels])
        {
            return Err(Error::shape(
                OP,
                format!("expected one number for each of {channels} channels, got {:?}", t.shape()),
            ));
        }
        let axes: Vec<i64> = (2..self.rank() as i64).collect();
        if self.shape()[2..].iter().product::<usize>() == 1 {
            return Err(Error::value(
                OP,
                format!(
                    "Expected more than 1 spatial element when training, got input size {:?}",
                    self.shape()
                ),
            ));
        }
        if let Some((mean, var)) = running {
            crate::no_grad(|| {
                let x = in_single_or_double(self)?;
                move_towards(mean, &x.mean_axes(&axes, false)?.mean_axes(&[0], false)?, momentum)?;
                move_towards(var, &x.var_axes(&axes, 1.0, false)?.mean_axes(&[0], false)?, momentum)
            })?;
        }
        let sizes: Vec<i64> = (0..self.rank()).map(|a| if a == 1 { -1 } else { 1 }).collect();
        in_single(self, |x| {
            let unit = standardised(x, &axes, eps)?;
            let weight = weight.map(|t| t.reshape(sizes.as_slice())).transpose()?;
            let bias = bias.map(|t| t.reshape(sizes.as_slice())).transpose()?;
            affine(&unit, weight.as_ref(), bias.as_ref())
        })
    }

    /// Normalised over groups of channels and all positions (`torch.nn.functional.group_norm`).
    ///
    /// # Errors
    /// Channels that do not divide into the groups; weights that are not one number per channel; integers.
    #[track_caller]
    pub fn group_norm(
        &self,
        groups: usize,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        eps: f64,
    ) -> Result<Tensor> {
        const OP: &str = "group_norm";
        need_float(OP, &[self])?;
        if self.rank() < 2 {
            return Err(Error::shape(OP, format!("expected a batch with channels, got {:?}", self.shape())));
        }
        let (batch, channels) = (self.shape()[0], self.shape()[1]);
        if self.shape()[2..].contains(&0) {
            return Err(Error::shape(
                OP,
                format!(
                    "Expected the sizes behind the channels to be greater than 0, got {:?}",
                    self.shape()
                ),
            ));
        }
        if channels == 0 {
            return Err(Error::shape(OP, "Expected number of channels to be greater than 0, got 0"));
        }
        if groups == 0 || channels % groups != 0 {
            return Err(Error::shape(
                OP,
                format!(
                    "Expected number of channels {channels} to be divisible by the number of groups {groups}"
                ),
            ));
        }
        if let Some(t) = [weight, bias].into_iter().flatten().find(|t| t.dims() != [channels]) {
            return Err(Error::shape(
                OP,
                format!("expected one number for each of {channels} channels, got {:?}", t.shape()),
            ));
        }
        let rest = self.numel().checked_div(batch * groups).unwrap_or(0);
        let sizes: Vec<i64> = (0..self.rank()).map(|a| if a == 1 { -1 } else { 1 }).collect();
        in_single(self, |x| {
            let rows = x.reshape([batch as i64, groups as i64, rest as i64])?;
            let unit = standardised(&rows, &[-1], eps)?.reshape(self.shape().dims())?;
            let weight = weight.map(|t| t.reshape(sizes.as_slice())).transpose()?;
            let bias = bias.map(|t| t.reshape(sizes.as_slice())).transpose()?;
            affine(&unit, weight.as_ref(), bias.as_ref())
        })
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
            (infinite.clone(), kiln_ops::reduce::resolve_axes("mean", axes, self.rank())?);
        for &axis in &resolved {
            last = last.narrow(axis as i64, -1, 1)?;
        }
        let sooner = infinite.sum_axes(axes, keepdim)?.gt(&last.reshape(mean.shape())?)?;
        mean.masked_fill(&lost.logical_and(&sooner)?, f64::NAN)
    }
}

/// Half precision in single, the others as they are.
fn in_single_or_double(x: &Tensor) -> Result<Tensor> {
    if x.dtype() == DType::F64 { Ok(x.clone()) } else { x.to_dtype(DType::F32) }
}

/// Moves a running statistic towards its present value.
fn move_towards(running: &Tensor, now: &Tensor, momentum: f64) -> Result<()> {
    let moved = running.to_dtype(now.dtype())?.mul(1.0 - momentum)?.add(&now.mul(momentum)?)?;
    running.copy_(&moved)
}

/// Mean 0 and variance 1 over `axes`.
fn standardised(x: &Tensor, axes: &[i64], eps: f64) -> Result<Tensor> {
    let centred = x.sub(&x.mean_axes(axes, true)?)?;
    let var = centred.square()?.mean_axes(axes, true)?;
    centred.mul(&var.add(eps)?.rsqrt()?)
}

/// `x * weight + bias` with what is there, in the dtype of `x`.
fn affine(x: &Tensor, weight: Option<&Tensor>, bias: Option<&Tensor>) -> Result<Tensor> {
    let scaled = match weight {
        Some(w) => x.mul(&w.to_dtype(x.dtype())?)?,
        None => x.clone(),
    };
    match bias {
        Some(b) => scaled.add(&b.to_dtype(x.dtype())?),
        None => Ok(scaled),
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
