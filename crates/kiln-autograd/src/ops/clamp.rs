//! Elements limited to a range.

use kiln_ops::elementwise::{self as e, BinaryOp, TernaryOp};
use kiln_ops::{DType, Scalar};

use crate::arg::Arg;
use crate::record::record;
use crate::{Error, Here, Result, Tensor};

impl Tensor {
    /// Elements limited to `min..=max`; the gradient passes where an element lies within (`torch.clamp`).
    ///
    /// # Errors
    /// Memory that is lent out or not there.
    #[track_caller]
    pub fn clamp(&self, min: impl Into<Scalar>, max: impl Into<Scalar>) -> Result<Tensor> {
        self.limited(min.into(), max.into())
    }

    #[track_caller]
    fn limited(&self, min: Scalar, max: Scalar) -> Result<Tensor> {
        let y = e::ternary(TernaryOp::Clamp, &self.raw(), min, max).here()?;
        Ok(record("ClampBackward1", y)
            .input(self, || {
                let x = self.save();
                move |g: &Tensor| {
                    let x = x.get()?;
                    // At the limits there is no slope, nor for NaN.
                    let within = x.gt(min)?.logical_and(&x.lt(max)?)?;
                    g.masked_fill(&within.logical_not()?, 0.0)
                }
            })
            .done())
    }

    /// Elements raised to `min` where below it (`torch.clamp_min`); the gradient passes where they are not.
    ///
    /// # Errors
    /// Shapes that do not broadcast, different devices.
    #[track_caller]
    pub fn clamp_min<'a>(&self, min: impl Into<Arg<'a>>) -> Result<Tensor> {
        self.bounded("ClampMinBackward0", BinaryOp::Maximum, min.into())
    }

    /// Elements lowered to `max` where above it (`torch.clamp_max`); the gradient passes where they are not.
    ///
    /// # Errors
    /// Shapes that do not broadcast, different devices.
    #[track_caller]
    pub fn clamp_max<'a>(&self, max: impl Into<Arg<'a>>) -> Result<Tensor> {
        self.bounded("ClampMaxBackward0", BinaryOp::Minimum, max.into())
    }

    #[track_caller]
    fn bounded(&self, name: &'static str, code: BinaryOp, bound: Arg<'_>) -> Result<Tensor> {
        let above = code == BinaryOp::Maximum;
        let limit = match bound {
            // Between tensors: at ties the gradient is shared.
            Arg::Tensor(t) => return if above { self.maximum(t) } else { self.minimum(t) },
            Arg::Scalar(s) => s,
        };
        let y = e::binary(code, &*self.raw(), limit).here()?;
        Ok(record(name, y)
            .input(self, || {
                let x = self.save();
                move |g: &Tensor| {
                    let x = x.get()?;
                    // At the limit there is no slope, nor for NaN.
                    let within = if above { x.gt(limit)? } else { x.lt(limit)? };
                    g.masked_fill(&within.logical_not()?, 0.0)
                }
            })
            .done())
    }

    /// Elements limited to a range of which either end may be open, a number or a tensor (`torch.clamp`).
    ///
    /// # Errors
    /// Neither end is given; shapes that do not broadcast.
    #[track_caller]
    pub fn clamp_range(&self, min: Option<Arg<'_>>, max: Option<Arg<'_>>) -> Result<Tensor> {
        if [min, max].iter().flatten().any(|bound| self.joint_dtype(*bound) == DType::Bool) {
            return Err(Error::dtype("clamp", "\"clamp\" is not implemented for bool"));
        }
        match (min, max) {
            (Some(min), Some(max)) => self.clamp_min(min)?.clamp_max(max),
            (Some(min), None) => self.clamp_min(min),
            (None, Some(max)) => self.clamp_max(max),
            (None, None) => Err(Error::value("clamp", "At least one of 'min' or 'max' must not be None")),
        }
    }
}
