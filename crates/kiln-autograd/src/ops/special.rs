//! Logarithms of sums, gamma functions and other rare functions, composed of others.

use kiln_ops::elementwise::{self as e, FloatBinaryOp, FloatOp};
use kiln_ops::special::{SpecialBinaryOp, special_binary};
use kiln_ops::{DType, Scalar};

use crate::arg::Arg;
use crate::ops::compose::in_single;
use crate::record::record;
use crate::{Error, Here, Result, Tensor};

/// The natural logarithm of pi.
const LN_PI: f64 = 1.144_729_885_849_400_2;

impl Tensor {
    /// Mantissas within 0.5 and 1 and powers of 2, of dtype int32, whose products are the elements (`torch.frexp`). 0,
    /// infinities and NaN have the power 0.
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// let (mantissa, exponent) = Tensor::from_vec(vec![6.0f32, -0.25], [2])?.frexp()?;
    /// assert_eq!(mantissa.to_vec::<f32>()?, [0.75, -0.5]);
    /// assert_eq!(exponent.to_vec::<i32>()?, [3, -1]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Integers.
    #[track_caller]
    pub fn frexp(&self) -> Result<(Tensor, Tensor)> {
        if !self.dtype().is_float() {
            return Err(Error::dtype("frexp", "torch.frexp() only supports floating-point dtypes"));
        }
        let mantissa = e::float_unary(FloatOp::FrexpMantissa, &self.raw()).here()?;
        let exponent = Tensor::from_raw(e::float_unary(FloatOp::FrexpExponent, &self.raw()).here()?);
        let mantissa = record("FrexpBackward0", mantissa)
            .input(self, || {
                let exponent = exponent.save();
                move |g: &Tensor| g.div(&exponent.get()?.exp2()?)
            })
            .done();
        Ok((mantissa, exponent.to_dtype(DType::I32)?))
    }

    /// The angles of numbers in the plane: pi for those below 0, 0 for others (`torch.angle`).
    ///
    /// # Errors
    /// The memory is not there.
    #[track_caller]
    pub fn angle(&self) -> Result<Tensor> {
        let x = self.detach().to_dtype(kiln_ops::to_float(self.dtype()))?;
        let y = x.zeros_like()?.masked_fill(&x.lt(0)?, std::f64::consts::PI)?;
        let y = y.masked_fill(&x.isnan()?, f64::NAN)?;
        let raw = y.raw().clone();
        Ok(record("AngleBackward0", raw).input(self, || |g: &Tensor| g.zeros_like()).done())
    }

    /// The logarithm of the gamma function for `p` dimensions (`torch.mvlgamma`): the sum of `lgamma(x - i/2)` for `i` from
    /// 0 to `p - 1`, and `p (p - 1) ln(pi) / 4`.
    ///
    /// # Errors
    /// A `p` below 1.
    #[track_caller]
    pub fn mvlgamma(&self, p: i64) -> Result<Tensor> {
        if p < 1 {
            return Err(Error::value("mvlgamma", format!("p has to be greater than or equal to 1, got {p}")));
        }
        let x = self.to_dtype(kiln_ops::to_float(self.dtype()))?;
        in_single(&x, &|x| {
            let term = |i: i64| x.sub(i as f64 / 2.0)?.lgamma();
            let sum = (1..p).try_fold(term(0)?, |sum, i| sum.add(&term(i)?))?;
            sum.add((p * (p - 1)) as f64 / 4.0 * LN_PI)
        })
    }

    /// `self * ln(other)`, 0 where `self` is 0 (`torch.xlogy`).
    ///
    /// # Errors
    /// Shapes that do not broadcast, different devices.
    #[track_caller]
    pub fn xlogy<'a>(&self, other: impl Into<Arg<'a>>) -> Result<Tensor> {
        let other = other.into();
        let dtype = kiln_ops::to_float(self.joint_dtype(other));
        let (x, y) = (self.to_dtype(dtype)?, self.to_operand(other, dtype)?.to_dtype(dtype)?);
        let zero = x.eq(0.0)?.logical_and(&y.isnan()?.logical_not()?)?;
        let out = x.detach().mul(&y.detach().log()?)?.masked_fill(&zero, 0.0)?;
        let out = out.raw().clone();
        Ok(record("XlogyBackward0", out)
            .input(&x, || {
                let (x, y) = (x.save(), y.save());
                move |g: &Tensor| {
                    let (x, y) = (x.get()?, y.get()?);
                    let flat = x.eq(0.0)?.logical_and(&y.le(0.0)?)?;
                    g.mul(&y.log()?.masked_fill(&flat, 0.0)?)
                }
            })
            .input(&y, || {
                let (x, y) = (x.save(), y.save());
                move |g: &Tensor| g.mul(&x.get()?)?.div(&y.get()?)
            })
            .done())
    }

    /// `ln(e^self + e^other)` without overflow (`torch.logaddexp`).
    ///
    /// # Errors
    /// Shapes that do not broadcast, different devices.
    #[track_caller]
    pub fn logaddexp(&self, other: &Tensor) -> Result<Tensor> {
        self.log_add("LogaddexpBackward0", other, 1.0)
    }

    /// `log2(2^self + 2^other)` without overflow (`torch.logaddexp2`).
    ///
    /// # Errors
    /// Shapes that do not broadcast, different devices.
    #[track_caller]
    pub fn logaddexp2(&self, other: &Tensor) -> Result<Tensor> {
        self.log_add("Logaddexp2Backward0", other, std::f64::consts::LN_2)
    }

    /// The logarithm of a sum of powers of the base whose natural logarithm is `scale`.
    #[track_caller]
    fn log_add(&self, name: &'static str, other: &Tensor, scale: f64) -> Result<Tensor> {
        let dtype = kiln_ops::to_float(self.joint_dtype(Arg::Tensor(other)));
        let (a, b) = (self.detach().to_dtype(dtype)?, other.detach().to_dtype(dtype)?);
        let sum = in_single(&a, &|a| {
            let b = b.to_dtype(a.dtype())?;
            let distance = a.sub(&b)?.abs()?;
            let tail = distance.mul(-scale)?.exp()?.log1p()?.div(scale)?;
            // Equal infinities: their distance is not a number, their sum is what they are.
            let same = a.eq(&b)?.logical_and(&a.isinf()?)?;
            let top = a.maximum(&b)?;
            top.where_self(&same, &top.add(&tail)?)
        })?;
        let share = move |g: &Tensor, mine: &Tensor, theirs: &Tensor| {
            g.div(&theirs.sub(mine)?.mul(scale)?.exp()?.add(1.0)?)
        };
        let raw = sum.raw().clone();
        Ok(record(name, raw)
            .input(self, || {
                let (a, b) = (self.save(), other.save());
                move |g: &Tensor| share(g, &a.get()?, &b.get()?)
            })
            .input(other, || {
                let (a, b) = (self.save(), other.save());
                move |g: &Tensor| share(g, &b.get()?, &a.get()?)
            })
            .done())
    }

    /// `self * 2^other` (`torch.ldexp`).
    ///
    /// # Errors
    /// Shapes that do not broadcast, different devices.
    #[track_caller]
    pub fn ldexp(&self, other: &Tensor) -> Result<Tensor> {
        let dtype = kiln_ops::to_float(self.joint_dtype(Arg::Tensor(other)));
        self.mul(&other.rpow(2.0)?)?.to_dtype(dtype)
    }

    /// NaN and infinities replaced; absent replacements are 0 and the dtype's extremes (`torch.nan_to_num`).
    ///
    /// # Errors
    /// The memory is not there.
    #[track_caller]
    pub fn nan_to_num(&self, nan: Option<f64>, posinf: Option<f64>, neginf: Option<f64>) -> Result<Tensor> {
        let Some((low, high)) = extremes(self.dtype()) else { return self.copy() };
        self.masked_fill(&self.isnan()?, nan.unwrap_or(0.0))?
            .masked_fill(&self.isposinf()?, posinf.unwrap_or(high))?
            .masked_fill(&self.isneginf()?, neginf.unwrap_or(low))
    }

    /// `sin(pi x) / (pi x)`, 1 at 0 (`torch.sinc`).
    ///
    /// # Errors
    /// The memory is not there.
    #[track_caller]
    pub fn sinc(&self) -> Result<Tensor> {
        let zero = self.eq(0)?;
        let angle = self.masked_fill(&zero, 1)?.mul(std::f64::consts::PI)?;
        angle.sin()?.div(&angle)?.masked_fill(&zero, 1.0)
    }

    /// `ln(x / (1 - x))` with x limited to `eps..=1-eps` if an `eps` is given (`torch.logit`).
    ///
    /// # Errors
    /// The memory is not there.
    #[track_caller]
    pub fn logit(&self, eps: Option<f64>) -> Result<Tensor> {
        let x = self.to_dtype(kiln_ops::to_float(self.dtype()))?;
        let (low, high) = eps.map_or((0.0, 1.0), |eps| (eps, 1.0 - eps));
        let limited = match eps {
            // The lower limit counts first, also where it is above the upper one.
            Some(_) => {
                let (x, below) = (x.detach(), x.detach().lt(low)?);
                x.clamp_max(high)?.masked_fill(&below, low)?
            }
            None => x.detach(),
        };
        let y = limited.div(&limited.rsub(1.0)?)?.log()?.raw().clone();
        Ok(record("LogitBackward0", y)
            .input(&x, || {
                let x = x.save();
                move |g: &Tensor| {
                    let x = x.get()?;
                    let outside = x.lt(low)?.logical_or(&x.gt(high)?)?;
                    let slope = g.div(&x.mul(&x.rsub(1.0)?)?)?;
                    slope.masked_fill(&outside, if eps.is_some() { 0.0 } else { f64::NAN })
                }
            })
            .done())
    }

    /// The `n`-th derivative of [`Tensor::digamma`] (`torch.polygamma`).
    ///
    /// # Errors
    /// A negative `n`.
    #[track_caller]
    pub fn polygamma(&self, n: i64) -> Result<Tensor> {
        if n < 0 {
            return Err(Error::value("polygamma", format!("does not support negative n, got {n}")));
        }
        if n == 0 {
            return self.digamma();
        }
        let order = n as f64;
        let sign = if n % 2 == 0 { -1.0 } else { 1.0 };
        let factorial: f64 = (1..=n.min(200)).map(|k| k as f64).product();
        let x = self.to_dtype(kiln_ops::to_float(self.dtype()))?;
        let y = in_single(&x.detach(), &|x| {
            let s = x.new_scalar(Scalar::Float(order + 1.0))?;
            let zeta = special_binary(SpecialBinaryOp::Zeta, &*s.raw(), &*x.raw()).here()?;
            Tensor::from_raw(zeta).mul(sign * factorial)
        })?;
        let raw = y.raw().clone();
        Ok(record("PolygammaBackward0", raw)
            .input(&x, || {
                let x = x.save();
                move |g: &Tensor| g.mul(&x.get()?.polygamma(n + 1)?)
            })
            .done())
    }

    /// The next representable number after each element towards `other` (`torch.nextafter`).
    ///
    /// # Errors
    /// Integers; shapes that do not broadcast.
    #[track_caller]
    pub fn nextafter(&self, other: &Tensor) -> Result<Tensor> {
        let dtype = self.joint_dtype(Arg::Tensor(other));
        if !dtype.is_float() {
            return Err(Error::dtype("nextafter", format!("\"nextafter\" is not implemented for {dtype}")));
        }
        let (a, b) = (self.to_dtype(dtype)?, other.to_dtype(dtype)?);
        let y = e::float_binary(FloatBinaryOp::NextAfter, &*a.raw(), &*b.raw()).here()?;
        // A step to the neighbour keeps the slope; where both are equal there is none, as PyTorch has it.
        Ok(record("NextafterBackward0", y)
            .input(&a, || {
                let (a, b) = (a.save(), b.save());
                move |g: &Tensor| g.masked_fill(&a.get()?.eq(&b.get()?)?, 0.0)
            })
            .input(&b, || |g: &Tensor| g.zeros_like())
            .done())
    }

    /// 0 below zero, 1 above, `values` at zero (`torch.heaviside`).
    ///
    /// # Errors
    /// Different dtypes; shapes that do not broadcast.
    #[track_caller]
    pub fn heaviside(&self, values: &Tensor) -> Result<Tensor> {
        if self.dtype() != values.dtype() {
            return Err(Error::dtype(
                "heaviside",
                format!("expects both operands of one dtype, got {} and {}", self.dtype(), values.dtype()),
            ));
        }
        let step = self.gt(0)?.to_dtype(self.dtype())?;
        values.detach().where_self(&self.eq(0)?, &step)
    }
}

/// The least and the greatest finite number of a floating point dtype.
fn extremes(dtype: DType) -> Option<(f64, f64)> {
    let high = match dtype {
        DType::F16 => 65504.0,
        DType::BF16 => f64::from(f32::from_bits(0x7f7f_0000)),
        DType::F32 => f64::from(f32::MAX),
        DType::F64 => f64::MAX,
        _ => return None,
    };
    Some((-high, high))
}
