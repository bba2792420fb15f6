//! Activation functions composed of others.

use crate::ops::compose::{in_single, need_float};
use crate::record::record;
use crate::{Error, Result, Tensor, autocast, no_grad};

impl Tensor {
    /// x where positive, else `slope * x` (`torch.nn.functional.leaky_relu`).
    ///
    /// # Errors
    /// Integers.
    #[track_caller]
    pub fn leaky_relu(&self, slope: f64) -> Result<Tensor> {
        need_float("leaky_relu", &[self])?;
        self.where_self(&self.gt(0)?, &self.mul(slope)?)
    }

    /// x where positive, else `weight * x`, with a weight for all or one for each channel
    /// (`torch.nn.functional.prelu`).
    ///
    /// # Errors
    /// Integers, different dtypes, a weight that is neither one number nor one for each channel.
    #[track_caller]
    pub fn prelu(&self, weight: &Tensor) -> Result<Tensor> {
        if let Some(cast) = autocast::lower() {
            return cast.of(self)?.prelu(&cast.of(weight)?);
        }
        const OP: &str = "prelu";
        need_float(OP, &[self, weight])?;
        if self.dtype() != weight.dtype() {
            return Err(Error::dtype(
                OP,
                format!("Type promoting not supported. Got {} and {}", self.dtype(), weight.dtype()),
            ));
        }
        if weight.rank() > 1 {
            return Err(Error::shape(
                OP,
                format!("Expected `weight` to be a scalar or 1D tensor, but got shape {:?}", weight.shape()),
            ));
        }
        let weight = if weight.numel() == 1 {
            weight.reshape([0i64; 0])?
        } else {
            let rank = self.rank();
            let channels = if rank > 1 { self.shape()[1] } else { 1 };
            if rank == 0 || channels != weight.numel() {
                return Err(Error::shape(
                    OP,
                    format!(
                        "Mismatch of parameter numbers and input channel size. Found parameter numbers = {} and \
                         channel size = {channels} of {:?}",
                        weight.numel(),
                        self.shape()
                    ),
                ));
            }
            let sizes: Vec<i64> = (0..rank).map(|a| if a == 1 { -1 } else { 1 }).collect();
            weight.reshape(sizes.as_slice())?
        };
        self.where_self(&self.gt(0)?, &self.mul(&weight)?)
    }

    /// x where positive, else `alpha * (e^x - 1)` (`torch.nn.functional.elu`).
    ///
    /// # Errors
    /// Integers.
    #[track_caller]
    pub fn elu(&self, alpha: f64) -> Result<Tensor> {
        self.exponential_unit("elu", alpha, 1.0, 1.0)
    }

    /// x where positive, else `alpha * (e^(x / alpha) - 1)` (`torch.nn.functional.celu`).
    ///
    /// # Errors
    /// Integers; an `alpha` of 0.
    #[track_caller]
    pub fn celu(&self, alpha: f64) -> Result<Tensor> {
        if alpha == 0.0 {
            return Err(Error::value("celu", "ZeroDivisionError: alpha cannot be 0 for CELU"));
        }
        self.exponential_unit("celu", alpha, 1.0, 1.0 / alpha)
    }

    /// [`Tensor::elu`] with the constants that keep mean and variance (`torch.nn.functional.selu`).
    ///
    /// # Errors
    /// Integers.
    #[track_caller]
    pub fn selu(&self) -> Result<Tensor> {
        self.exponential_unit("selu", 1.673_263_242_354_377_2, 1.050_700_987_355_480_5, 1.0)
    }

    #[track_caller]
    fn exponential_unit(&self, op: &'static str, alpha: f64, scale: f64, input_scale: f64) -> Result<Tensor> {
        need_float(op, &[self])?;
        in_single(self, &|x| {
            // Only the negative side goes through the exponential, which would overflow on the other.
            let y = no_grad(|| {
                let negative =
                    x.masked_fill(&x.gt(0.0)?, 0.0)?.mul(input_scale)?.expm1()?.mul(alpha * scale)?;
                let positive = if scale == 1.0 { x.clone() } else { x.mul(scale)? };
                positive.where_self(&x.gt(0)?, &negative)
            })?;
            let raw = y.raw().clone();
            // The slope from the operand: from the result it would be a difference, with few digits left far below 0.
            let slope = || {
                let x = x.save();
                move |g: &Tensor| {
                    let x = x.get()?;
                    let below = x
                        .masked_fill(&x.gt(0.0)?, 0.0)?
                        .mul(input_scale)?
                        .exp()?
                        .mul(alpha * scale * input_scale)?;
                    g.mul(&below.full_like(scale)?.where_self(&x.gt(0)?, &below)?)
                }
            };
            Ok(record("EluBackward0", raw).input(x, slope).done())
        })
    }

    /// Elements limited to `low..=high`, with no gradient at the limits (`torch.nn.functional.hardtanh`).
    ///
    /// # Errors
    /// `low` above `high`; truth values.
    #[track_caller]
    pub fn hardtanh(&self, low: f64, high: f64) -> Result<Tensor> {
        const OP: &str = "hardtanh";
        if low > high {
            return Err(Error::value(OP, format!("min_val {low} cannot be greater than max_val {high}")));
        }
        if self.dtype() == kiln_ops::DType::Bool {
            return Err(Error::dtype(OP, "Bool inputs not supported for hardtanh"));
        }
        let x = self.detach();
        // Integers stay integers: the limits are cut to them.
        let y = match x.dtype().is_float() {
            true => x.clamp(low, high)?,
            false if x.dtype() == kiln_ops::DType::U8 => {
                // Nothing is below 0.
                x.clamp(low.clamp(0.0, 255.0) as i64, high.clamp(0.0, 255.0) as i64)?
            }
            false => x.clamp(low as i64, high as i64)?,
        };
        let raw = y.raw().clone();
        Ok(record("HardtanhBackward0", raw)
            .input(self, || {
                let x = self.save();
                move |g: &Tensor| {
                    let x = x.get()?;
                    g.masked_fill(&x.le(low)?.logical_or(&x.ge(high)?)?, 0.0)
                }
            })
            .done())
    }

    /// Elements limited to 0..=6 (`torch.nn.functional.relu6`).
    ///
    /// # Errors
    /// Truth values.
    #[track_caller]
    pub fn relu6(&self) -> Result<Tensor> {
        self.hardtanh(0.0, 6.0)
    }

    /// `ln(1 + e^(beta x)) / beta`, x itself where `beta x` is above `threshold` (`torch.nn.functional.softplus`).
    ///
    /// # Errors
    /// Integers.
    #[track_caller]
    pub fn softplus(&self, beta: f64, threshold: f64) -> Result<Tensor> {
        need_float("softplus", &[self])?;
        in_single(self, &|x| {
            let scaled = x.mul(beta)?;
            let soft = scaled.neg()?.log_sigmoid()?.div(-beta)?;
            x.where_self(&scaled.gt(threshold)?, &soft)
        })
    }

    /// `x / (1 + |x|)` (`torch.nn.functional.softsign`).
    ///
    /// # Errors
    /// The memory is not there.
    #[track_caller]
    pub fn softsign(&self) -> Result<Tensor> {
        self.div(&self.abs()?.add(1)?)
    }

    /// `x - tanh(x)` (`torch.nn.functional.tanhshrink`).
    ///
    /// # Errors
    /// The memory is not there.
    #[track_caller]
    pub fn tanhshrink(&self) -> Result<Tensor> {
        self.sub(&self.tanh()?)
    }

    /// Elements with 0 for those within `-limit..=limit` (`torch.nn.functional.hardshrink`).
    ///
    /// # Errors
    /// Integers.
    #[track_caller]
    pub fn hardshrink(&self, limit: f64) -> Result<Tensor> {
        need_float("hardshrink", &[self])?;
        self.masked_fill(&self.ge(-limit)?.logical_and(&self.le(limit)?)?, 0.0)
    }

    /// Elements moved towards 0 by `limit`, 0 for those within (`torch.nn.functional.softshrink`).
    ///
    /// # Errors
    /// Integers; a negative `limit`.
    #[track_caller]
    pub fn softshrink(&self, limit: f64) -> Result<Tensor> {
        const OP: &str = "softshrink";
        need_float(OP, &[self])?;
        if limit < 0.0 || limit.is_nan() {
            return Err(Error::value(
                OP,
                format!("lambda must be greater or equal to 0, but found to be {limit}."),
            ));
        }
        let near = self.abs()?.le(limit)?;
        let shift = self.detach().sign()?.mul(limit)?;
        self.sub(&shift)?.masked_fill(&near, 0.0)
    }

    /// `x` limited to -3..=3, plus 3, over 6 (`torch.nn.functional.hardsigmoid`).
    ///
    /// # Errors
    /// Integers.
    #[track_caller]
    pub fn hardsigmoid(&self) -> Result<Tensor> {
        need_float("hardsigmoid", &[self])?;
        in_single(self, &|x| x.add(3.0)?.hardtanh(0.0, 6.0)?.div(6.0))
    }

    /// `x * hardsigmoid(x)` (`torch.nn.functional.hardswish`).
    ///
    /// # Errors
    /// Integers.
    #[track_caller]
    pub fn hardswish(&self) -> Result<Tensor> {
        need_float("hardswish", &[self])?;
        in_single(self, &|x| x.mul(&x.add(3.0)?.hardtanh(0.0, 6.0)?)?.div(6.0))
    }

    /// `x * tanh(softplus(x))` (`torch.nn.functional.mish`).
    ///
    /// # Errors
    /// Integers.
    #[track_caller]
    pub fn mish(&self) -> Result<Tensor> {
        need_float("mish", &[self])?;
        in_single(self, &|x| x.mul(&x.neg()?.log_sigmoid()?.neg()?.tanh()?))
    }

    /// Elements above `limit`, `value` for the others (`torch.nn.functional.threshold`).
    ///
    /// # Errors
    /// Truth values.
    #[track_caller]
    pub fn threshold(&self, limit: f64, value: f64) -> Result<Tensor> {
        let (low, value) = self.below_threshold(limit, value)?;
        self.masked_fill(&low, value)
    }

    /// Which elements are not above `limit`, and `value` as this dtype has it.
    #[track_caller]
    pub(super) fn below_threshold(&self, limit: f64, value: f64) -> Result<(Tensor, kiln_ops::Scalar)> {
        if self.dtype() == kiln_ops::DType::Bool {
            return Err(Error::dtype("threshold", "\"threshold\" is not implemented for bool"));
        }
        match self.dtype().is_float() {
            true => Ok((self.le(limit)?, value.into())),
            false => Ok((self.le(limit as i64)?, (value as i64).into())),
        }
    }

    /// The first half of `axis` times the sigmoid of the second (`torch.nn.functional.glu`).
    ///
    /// # Errors
    /// Integers; an axis out of range or of odd size; a tensor without axes.
    #[track_caller]
    pub fn glu(&self, axis: i64) -> Result<Tensor> {
        const OP: &str = "glu";
        need_float(OP, &[self])?;
        if self.rank() == 0 {
            return Err(Error::shape(OP, "does not support 0-dimensional tensors"));
        }
        let size = self.size(axis)? as i64;
        if size % 2 != 0 {
            return Err(Error::shape(
                OP,
                format!("Halving dimension must be even, but dimension {axis} is size {size}"),
            ));
        }
        let half = size / 2;
        self.narrow(axis, 0, half)?.mul(&self.narrow(axis, half, half)?.sigmoid()?)
    }

    /// [`Tensor::softmax`] of `-x` (`torch.nn.functional.softmin`).
    ///
    /// # Errors
    /// As [`Tensor::softmax`].
    #[track_caller]
    pub fn softmin(&self, axis: i64) -> Result<Tensor> {
        self.neg()?.softmax(axis)
    }
}
