//! Layers that normalise: by rows, by groups of channels, by channels over the batch.
//!
//! Forward and backward pass are one kernel each. A backward pass that is to be differentiated again goes through the
//! composite of tracked operations that says what the layer computes.

use kiln_ops::norm::{self, Grads, RowNorm};
use kiln_ops::{DType, Device, RawTensor, Shape};

use crate::grad_mode::{is_tracked, no_grad};
use crate::ops::compose::{in_single, need_float};
use crate::record::{Saved, record_joint};
use crate::{Error, Here, Result, Tensor, func};

/// What is normalised, and what scales and shifts it.
#[derive(Clone, Copy)]
struct Operands<'a> {
    x: &'a Tensor,
    weight: Option<&'a Tensor>,
    bias: Option<&'a Tensor>,
}

/// What a layer computes, by tracked operations.
type Plain = Box<dyn Fn(Operands<'_>) -> Result<Tensor> + Send + Sync>;

/// The gradients that are wanted, from the input, the result's gradient and the weight.
type Fused =
    Box<dyn Fn(&RawTensor, &RawTensor, Option<&RawTensor>, [bool; 3]) -> Result<Grads> + Send + Sync>;

impl Operands<'_> {
    /// The optional ones as kernels take them.
    fn raw_affine(&self) -> [Option<RawTensor>; 2] {
        [self.weight, self.bias].map(|t| t.map(|t| t.raw().clone()))
    }

    /// Records the result `y`.
    #[track_caller]
    fn record(self, name: &'static str, y: RawTensor, plain: Plain, fused: Fused) -> Result<Tensor> {
        let Operands { x, weight, bias } = self;
        let inputs: Vec<&Tensor> = [Some(x), weight, bias].into_iter().flatten().collect();
        let mut outputs = record_joint(name, vec![y], &inputs, || {
            let (x, weight) = (x.save(), weight.map(Tensor::save));
            // No gradient depends on its values.
            let bias = bias.map(|b| (b.shape().clone(), b.dtype(), b.device()));
            let present = [true, weight.is_some(), bias.is_some()];
            Box::new(move |g, wants| {
                let Some(g) = &g[0] else { return Ok(vec![None; wants.len()]) };
                let x = x.get()?;
                let weight = weight.as_ref().map(Saved::get).transpose()?;
                if is_tracked() {
                    let zeros = |(shape, dtype, device): &(Shape, DType, Device)| {
                        Tensor::zeros_with(shape.clone(), (*dtype, *device))
                    };
                    let operands = [Some(x), weight, bias.as_ref().map(zeros)];
                    let inputs: Vec<Tensor> = operands.into_iter().flatten().collect();
                    return func::tracked_gradients(&inputs, wants, &[Some(g.clone())], |inputs| {
                        let mut inputs = inputs.iter();
                        let mut next = |there: bool| if there { inputs.next() } else { None };
                        let Some(x) = next(present[0]) else { return Ok(Vec::new()) };
                        let (weight, bias) = (next(present[1]), next(present[2]));
                        Ok(vec![plain(Operands { x, weight, bias })?])
                    });
                }
                let mut wants = wants.iter().copied();
                let wanted = present.map(|there| there && wants.next().unwrap_or(false));
                let weight = weight.map(|w| w.raw().clone());
                let found = fused(&x.raw(), &g.raw(), weight.as_ref(), wanted)?;
                let there = found.into_iter().zip(present).filter(|(_, there)| *there);
                Ok(there.map(|(t, _)| t.map(Tensor::from_raw)).collect())
            })
        });
        outputs.pop().ok_or_else(|| Error::value(name, "no result")).here()
    }
}

impl Tensor {
    /// Normalised to mean 0 and variance 1 over the last axes, whose sizes are `shape`, then scaled by `weight` and shifted
    /// by `bias` (`torch.nn.functional.layer_norm`).
    ///
    /// ```
    /// use kiln_autograd::{Tensor, tensor};
    /// let x = tensor!([[1.0, 3.0], [-5.0, 5.0]]);
    /// let y = x.layer_norm(&[2], None, Some(&tensor!([0.0, 10.0])), 0.0)?;
    /// assert_eq!(y.to_vec::<f32>()?, [-1.0, 11.0, -1.0, 11.0]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
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
        let norm = RowNorm { n: shape.iter().product(), center: true, eps };
        self.row_norm("NativeLayerNormBackward0", shape, weight, bias, norm)
    }

    /// Divided by the root of the mean square over the last axes, whose sizes are `shape`, then scaled by `weight`; the
    /// default `eps` is the dtype's (`torch.nn.functional.rms_norm`).
    ///
    /// # Errors
    /// The last sizes are not `shape`; a weight of another shape; integers.
    #[track_caller]
    pub fn rms_norm(&self, shape: &[usize], weight: Option<&Tensor>, eps: Option<f64>) -> Result<Tensor> {
        let least = if self.dtype() == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
        let norm = RowNorm { n: shape.iter().product(), center: false, eps: eps.unwrap_or(least) };
        self.row_norm("FusedRmsNormBackward0", shape, weight, None, norm)
    }

    #[track_caller]
    fn row_norm(
        &self,
        name: &'static str,
        shape: &[usize],
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        norm: RowNorm,
    ) -> Result<Tensor> {
        let operands = Operands { x: self, weight, bias };
        let [w, b] = operands.raw_affine();
        let (y, stats) = norm::row_norm(&self.raw(), shape, w.as_ref(), b.as_ref(), norm).here()?;
        let axes: Vec<i64> = (1..=shape.len() as i64).map(|a| -a).collect();
        let plain = move |o: Operands<'_>| {
            in_single(o.x, &|x| {
                let unit = match norm.center {
                    true => standardised(x, &axes, norm.eps)?,
                    false => x.mul(&x.square()?.mean_axes(&axes, true)?.add(norm.eps)?.rsqrt()?)?,
                };
                affine(&unit, o.weight, o.bias)
            })
        };
        let shape = shape.to_vec();
        let fused = move |x: &RawTensor, g: &RawTensor, w: Option<&RawTensor>, wanted| {
            norm::row_norm_backward(x, g, &stats, &shape, w, norm, wanted)
        };
        operands.record(name, y, Box::new(plain), Box::new(fused))
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
        let channels = self.channels_to_normalise(OP, running)?;
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
        let stats = match (training, running) {
            (true, _) => norm::batch_stats(&self.raw()).here()?,
            // Copies: the running ones may be moved before the gradient is asked for.
            (false, Some((mean, var))) => [in_double(mean)?, in_double(var)?],
            (false, None) => {
                return Err(Error::value(
                    OP,
                    "Expected running_mean and running_var to be defined when training=False",
                ));
            }
        };
        let operands = Operands { x: self, weight, bias };
        let [w, b] = operands.raw_affine();
        let y = norm::batch_norm(&self.raw(), [&stats[0], &stats[1]], w.as_ref(), b.as_ref(), eps).here()?;
        // An empty batch has no statistics.
        if training
            && count > 0
            && let Some((mean, var)) = running
        {
            no_grad(|| {
                let [now, spread] = stats.each_ref().map(|t| Tensor::from_raw(t.clone()));
                move_towards(mean, &now, momentum)?;
                move_towards(var, &spread.mul(count as f64 / (count as f64 - 1.0))?, momentum)
            })
            .here()?;
        }
        let axes: Vec<i64> = (0..self.rank() as i64).filter(|&a| a != 1).collect();
        let fixed = (!training).then(|| stats.clone());
        let plain = move |o: Operands<'_>| {
            in_single(o.x, &|x| {
                let unit = match &fixed {
                    None => standardised(x, &axes, eps)?,
                    Some(stats) => {
                        let [mean, var] = stats.each_ref().map(|t| Tensor::from_raw(t.clone()));
                        let scale = var.add(eps)?.rsqrt()?.to_dtype(x.dtype())?;
                        let centred = x.sub(&per_channel(&mean.to_dtype(x.dtype())?, x)?)?;
                        centred.mul(&per_channel(&scale, x)?)?
                    }
                };
                affine_per_channel(&unit, o)
            })
        };
        let fused = move |x: &RawTensor, g: &RawTensor, w: Option<&RawTensor>, wanted| {
            norm::batch_norm_backward(x, g, [&stats[0], &stats[1]], w, eps, training, wanted)
        };
        operands.record("NativeBatchNormBackward0", y, Box::new(plain), Box::new(fused))
    }

    /// The number of channels (axis 1), of which every running statistic has one number.
    #[track_caller]
    fn channels_to_normalise(&self, op: &'static str, running: Option<(&Tensor, &Tensor)>) -> Result<usize> {
        let Some(&channels) = self.dims().get(1) else {
            return Err(Error::shape(op, format!("expected a batch with channels, got {:?}", self.shape())));
        };
        let mut statistics = running.into_iter().flat_map(|(mean, var)| [mean, var]);
        if let Some(t) = statistics.find(|t| t.dims() != [channels]) {
            return Err(Error::shape(
                op,
                format!("expected one number for each of {channels} channels, got {:?}", t.shape()),
            ));
        }
        Ok(channels)
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
        let channels = self.channels_to_normalise(OP, running)?;
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
        if self.numel() == 0 {
            return in_single(self, &|x| affine_per_channel(x, Operands { x, weight, bias }));
        }
        let y = self.grouped_norm(OP, "InstanceNormBackward0", channels, weight, bias, eps)?;
        if let Some((mean, var)) = running {
            no_grad(|| {
                let x = in_single_or_double(self)?;
                move_towards(mean, &x.mean_axes(&axes, false)?.mean_axes(&[0], false)?, momentum)?;
                move_towards(var, &x.var_axes(&axes, 1.0, false)?.mean_axes(&[0], false)?, momentum)
            })
            .here()?;
        }
        Ok(y)
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
        self.grouped_norm("group_norm", "NativeGroupNormBackward0", groups, weight, bias, eps)
    }

    #[track_caller]
    fn grouped_norm(
        &self,
        op: &'static str,
        name: &'static str,
        groups: usize,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        eps: f64,
    ) -> Result<Tensor> {
        let operands = Operands { x: self, weight, bias };
        let [w, b] = operands.raw_affine();
        let (y, stats) = norm::group_norm(op, &self.raw(), groups, w.as_ref(), b.as_ref(), eps).here()?;
        let plain = move |o: Operands<'_>| {
            in_single(o.x, &|x| {
                let [batch, rest] = [x.shape()[0], x.shape()[1..].iter().product::<usize>() / groups];
                let rows = x.reshape([batch, groups, rest])?;
                let unit = standardised(&rows, &[-1], eps)?.reshape(x.shape().dims())?;
                affine_per_channel(&unit, o)
            })
        };
        let fused = move |x: &RawTensor, g: &RawTensor, w: Option<&RawTensor>, wanted| {
            norm::group_norm_backward(op, x, g, &stats, groups, w, eps, wanted)
        };
        operands.record(name, y, Box::new(plain), Box::new(fused))
    }
}

/// Half precision in single, the others as they are.
#[track_caller]
fn in_single_or_double(x: &Tensor) -> Result<Tensor> {
    if x.dtype() == DType::F64 { Ok(x.clone()) } else { x.to_dtype(DType::F32) }
}

/// A copy in double precision.
#[track_caller]
fn in_double(x: &Tensor) -> Result<RawTensor> {
    let raw = x.raw();
    match raw.dtype() {
        DType::F64 => kiln_ops::contiguous_copy(&raw).here(),
        _ => kiln_ops::to_dtype(&raw, DType::F64).here(),
    }
}

/// Moves a running statistic towards its present value.
#[track_caller]
fn move_towards(running: &Tensor, now: &Tensor, momentum: f64) -> Result<()> {
    let moved = running.to_dtype(now.dtype())?.mul(1.0 - momentum)?.add(&now.mul(momentum)?)?;
    running.copy_(&moved)
}

/// Mean 0 and variance 1 over `axes`.
#[track_caller]
fn standardised(x: &Tensor, axes: &[i64], eps: f64) -> Result<Tensor> {
    let centred = x.sub(&x.mean_axes(axes, true)?)?;
    let var = centred.square()?.mean_axes(axes, true)?;
    centred.mul(&var.add(eps)?.rsqrt()?)
}

/// Numbers for each channel as a tensor that broadcasts against `x`.
#[track_caller]
fn per_channel(t: &Tensor, x: &Tensor) -> Result<Tensor> {
    let sizes: Vec<i64> = (0..x.rank()).map(|a| if a == 1 { -1 } else { 1 }).collect();
    t.reshape(sizes.as_slice())
}

/// [`affine`] with the weight and bias of each channel.
#[track_caller]
fn affine_per_channel(unit: &Tensor, o: Operands<'_>) -> Result<Tensor> {
    let [weight, bias] = [o.weight, o.bias].map(|t| t.map(|t| per_channel(t, unit)).transpose());
    affine(unit, weight?.as_ref(), bias?.as_ref())
}

/// `x * weight + bias` with what is there, in the dtype of `x`.
#[track_caller]
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
