//! Elementwise functions composed of others.

use kiln_ops::elementwise::{self as e, BinaryOp, FloatBinaryOp};
use kiln_ops::{DType, Operand, Scalar};

use crate::arg::Arg;
use crate::record::record;
use crate::{Error, Result, Tensor};

/// Refuses tensors that are not floating point where PyTorch has no such function for integers.
pub(crate) fn need_float(op: &'static str, tensors: &[&Tensor]) -> Result<()> {
    match tensors.iter().find(|t| !t.dtype().is_float()) {
        None => Ok(()),
        Some(t) => Err(Error::dtype(op, format!("\"{op}\" takes floating point tensors, got {}", t.dtype()))),
    }
}

/// Calls `f` with half precision operands in single precision and rounds the result once.
pub(crate) fn in_single(x: &Tensor, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    match x.dtype() {
        half @ (DType::F16 | DType::BF16) => f(&x.to_dtype(DType::F32)?)?.to_dtype(half),
        _ => f(x),
    }
}

/// Calls `f` with half precision operands in single precision and rounds the result once.
pub(crate) fn rounded_once<const N: usize>(
    operands: [&Tensor; N],
    f: impl FnOnce([&Tensor; N]) -> Result<Tensor>,
) -> Result<Tensor> {
    let half = |d: DType| matches!(d, DType::F16 | DType::BF16);
    let dtype = operands[0].dtype();
    if !half(dtype) || operands.iter().any(|t| t.dtype() != dtype) {
        return f(operands);
    }
    let wide = operands.iter().map(|t| t.to_dtype(DType::F32)).collect::<Result<Vec<_>>>()?;
    f(std::array::from_fn(|i| &wide[i]))?.to_dtype(dtype)
}

impl Tensor {
    /// The dtype that this tensor and `other` meet in.
    pub(crate) fn joint_dtype(&self, other: Arg<'_>) -> DType {
        other.with(|o| kiln_ops::result_type(&[Operand::Tensor(&self.raw()), o]))
    }

    /// `self + alpha * other` (`torch.add(alpha)`).
    ///
    /// # Errors
    /// As [`Tensor::add`]; a float `alpha` for integers.
    pub fn add_scaled<'a>(&self, other: impl Into<Arg<'a>>, alpha: impl Into<Scalar>) -> Result<Tensor> {
        let other = other.into();
        match scaled("add", self, other, alpha.into())? {
            None => self.add(other),
            Some(scaled) => self.add(&scaled),
        }
    }

    /// `self - alpha * other` (`torch.sub(alpha)`).
    ///
    /// # Errors
    /// As [`Tensor::sub`]; a float `alpha` for integers.
    pub fn sub_scaled<'a>(&self, other: impl Into<Arg<'a>>, alpha: impl Into<Scalar>) -> Result<Tensor> {
        let other = other.into();
        if self.joint_dtype(other) == DType::Bool {
            return self.sub(other);
        }
        match scaled("sub", self, other, alpha.into())? {
            None => self.sub(other),
            Some(scaled) => self.sub(&scaled),
        }
    }

    /// `other - alpha * self` (`torch.rsub(alpha)`).
    ///
    /// # Errors
    /// As [`Tensor::sub_scaled`].
    pub fn rsub_scaled<'a>(&self, other: impl Into<Arg<'a>>, alpha: impl Into<Scalar>) -> Result<Tensor> {
        let (other, alpha) = (other.into(), alpha.into());
        let dtype = self.joint_dtype(other);
        if dtype == DType::Bool {
            return Err(Error::dtype(
                "rsub",
                "Subtraction, the `-` operator, with two bool tensors is not supported; use logical_xor",
            ));
        }
        check_alpha("rsub", dtype, alpha)?;
        let other = self.to_operand(other, dtype)?;
        match alpha.to_f64() {
            1.0 => other.sub(self),
            _ => other.sub(&self.to_dtype(dtype)?.mul(alpha)?),
        }
    }

    /// An operand as a tensor; a number takes `dtype`.
    pub(crate) fn to_operand(&self, other: Arg<'_>, dtype: DType) -> Result<Tensor> {
        match other {
            Arg::Tensor(t) => Ok(t.clone()),
            Arg::Scalar(s) => Ok(Tensor::from_raw(kiln_ops::scalar(s, dtype, self.device())?)),
        }
    }

    /// `base ^ self` for a number `base` (`torch.pow(number, tensor)`).
    ///
    /// # Errors
    /// As [`Tensor::pow`].
    pub fn rpow(&self, base: impl Into<Scalar>) -> Result<Tensor> {
        let base = base.into();
        let base = self.to_operand(Arg::Scalar(base), self.joint_dtype(Arg::Scalar(base)))?;
        base.pow(self)
    }

    /// `number / self` (`torch.true_divide(number, tensor)`).
    ///
    /// # Errors
    /// As [`Tensor::div`].
    pub fn rdiv(&self, number: impl Into<Scalar>) -> Result<Tensor> {
        let number = number.into();
        let dtype = kiln_ops::to_float(self.joint_dtype(Arg::Scalar(number)));
        self.to_operand(Arg::Scalar(number), dtype)?.div(self)
    }

    /// `self + value * a * b` (`torch.addcmul`).
    ///
    /// # Errors
    /// Shapes that do not broadcast, different devices.
    pub fn addcmul(&self, a: &Tensor, b: &Tensor, value: impl Into<Scalar>) -> Result<Tensor> {
        let value = value.into();
        let dtype = self.joint_dtype(Arg::Tensor(a)).promote(b.dtype());
        if !matches!(value, Scalar::Bool(_)) {
            check_alpha("addcmul", dtype, value)?;
        }
        let value = if dtype.is_int() { Scalar::Int(value.to_i64()) } else { value };
        rounded_once([self, a, b], |[x, a, b]| {
            let product = a.mul(b)?;
            if value.to_f64() == 1.0 { x.add(&product) } else { x.add(&product.mul(value)?) }
        })
    }

    /// `self + value * a / b` (`torch.addcdiv`).
    ///
    /// # Errors
    /// Integers; shapes that do not broadcast, different devices.
    pub fn addcdiv(&self, a: &Tensor, b: &Tensor, value: impl Into<Scalar>) -> Result<Tensor> {
        if !a.dtype().is_float() && !b.dtype().is_float() {
            return Err(Error::dtype(
                "addcdiv",
                "Integer division with addcdiv is no longer supported; convert to a floating point dtype first",
            ));
        }
        let value = value.into();
        rounded_once([self, a, b], |[x, a, b]| {
            let quotient = a.div(b)?;
            if value.to_f64() == 1.0 { x.add(&quotient) } else { x.add(&quotient.mul(value)?) }
        })
    }

    /// `self + weight * (end - self)` (`torch.lerp`).
    ///
    /// # Errors
    /// Operands of different dtypes or that are not floating point; shapes that do not broadcast.
    pub fn lerp<'a>(&self, end: &Tensor, weight: impl Into<Arg<'a>>) -> Result<Tensor> {
        let weight = weight.into();
        need_float("lerp", &[self, end])?;
        let same = |t: &Tensor| match t.dtype() == self.dtype() {
            true => Ok(()),
            false => Err(Error::dtype("lerp", format!("expected dtype {}, got {}", self.dtype(), t.dtype()))),
        };
        same(end)?;
        // From the nearer end, so that a weight of 0 or 1 gives an end exactly.
        match weight {
            Arg::Scalar(s) => rounded_once([self, end], |[x, end]| {
                let (w, difference) = (s.to_f64(), end.sub(x)?);
                if w.abs() < 0.5 { x.add(&difference.mul(w)?) } else { end.sub(&difference.mul(1.0 - w)?) }
            }),
            Arg::Tensor(w) => {
                same(w)?;
                rounded_once([self, end, w], |[x, end, w]| {
                    let difference = end.sub(x)?;
                    let from_start = x.add(&difference.mul(w)?)?;
                    let from_end = end.sub(&difference.mul(&w.rsub(1.0)?)?)?;
                    from_start.where_self(&w.abs()?.lt(0.5)?, &from_end)
                })
            }
        }
    }

    /// Elements raised to `min` where below it (`torch.clamp_min`); the gradient passes where they are not.
    ///
    /// # Errors
    /// Shapes that do not broadcast, different devices.
    pub fn clamp_min<'a>(&self, min: impl Into<Arg<'a>>) -> Result<Tensor> {
        self.bounded("ClampMinBackward0", BinaryOp::Maximum, min.into())
    }

    /// Elements lowered to `max` where above it (`torch.clamp_max`); the gradient passes where they are not.
    ///
    /// # Errors
    /// Shapes that do not broadcast, different devices.
    pub fn clamp_max<'a>(&self, max: impl Into<Arg<'a>>) -> Result<Tensor> {
        self.bounded("ClampMaxBackward0", BinaryOp::Minimum, max.into())
    }

    fn bounded(&self, name: &'static str, code: BinaryOp, bound: Arg<'_>) -> Result<Tensor> {
        let y = bound.with(|o| e::binary(code, &*self.raw(), o))?;
        // Neither holds for NaN, which has no gradient.
        let within = move |x: &Tensor, bound: Arg<'_>| {
            if code == BinaryOp::Maximum { x.ge(bound) } else { x.le(bound) }
        };
        let beyond = move |x: &Tensor, bound: Arg<'_>| {
            if code == BinaryOp::Maximum { x.lt(bound) } else { x.gt(bound) }
        };
        let rec = record(name, y).input(self, || {
            let (x, bound) = (self.save(), bound.save());
            move |g: &Tensor| {
                let x = x.get()?;
                bound.with(|b| g.masked_fill(&within(&x, b)?.logical_not()?, 0.0))
            }
        });
        Ok(match bound.tensor() {
            None => rec,
            Some(t) => rec.input(t, || {
                let (x, bound) = (self.save(), t.save());
                move |g: &Tensor| {
                    let kept = beyond(&x.get()?, Arg::Tensor(&bound.get()?))?.logical_not()?;
                    g.masked_fill(&kept, 0.0)
                }
            }),
        }
        .done())
    }

    /// Elements limited to a range of which either end may be open, a number or a tensor (`torch.clamp`).
    ///
    /// # Errors
    /// Neither end is given; shapes that do not broadcast.
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

    /// Both raised to the power in f64 (`torch.float_power`).
    ///
    /// # Errors
    /// As [`Tensor::pow`].
    pub fn float_power<'a>(&self, exponent: impl Into<Arg<'a>>) -> Result<Tensor> {
        let base = self.to_dtype(DType::F64)?;
        match exponent.into() {
            Arg::Scalar(s) => base.pow(s.to_f64()),
            Arg::Tensor(t) => base.pow(&t.to_dtype(DType::F64)?),
        }
    }

    /// The magnitude of `self` with the sign of `other` (`torch.copysign`).
    ///
    /// # Errors
    /// Shapes that do not broadcast, different devices.
    pub fn copysign<'a>(&self, other: impl Into<Arg<'a>>) -> Result<Tensor> {
        let other = other.into();
        let y = other.with(|o| e::float_binary(FloatBinaryOp::Copysign, &*self.raw(), o))?;
        let rec = record("CopysignBackward0", y).input_from_output(self, || {
            let x = self.save();
            move |g: &Tensor, y: &Tensor| {
                let x = x.get()?;
                let ratio = y.sign()?.mul(&x.sign()?)?;
                g.mul(&ratio.detach())
            }
        });
        Ok(match other.tensor() {
            None => rec,
            Some(t) => rec.input(t, || |g: &Tensor| g.zeros_like()),
        }
        .done())
    }

    /// The next representable number after each element towards `other` (`torch.nextafter`).
    ///
    /// # Errors
    /// Integers; shapes that do not broadcast.
    pub fn nextafter(&self, other: &Tensor) -> Result<Tensor> {
        let dtype = self.joint_dtype(Arg::Tensor(other));
        if !dtype.is_float() {
            return Err(Error::dtype("nextafter", format!("\"nextafter\" is not implemented for {dtype}")));
        }
        let (a, b) = (self.to_dtype(dtype)?, other.to_dtype(dtype)?);
        let y = e::float_binary(FloatBinaryOp::NextAfter, &*a.raw(), &*b.raw())?;
        // A step to the neighbour keeps the slope; where both are equal, the other one is the result.
        Ok(record("NextafterBackward0", y)
            .input(&a, || {
                let (a, b) = (a.save(), b.save());
                move |g: &Tensor| g.masked_fill(&a.get()?.eq(&b.get()?)?, 0.0)
            })
            .input(&b, || {
                let (a, b) = (a.save(), b.save());
                move |g: &Tensor| g.masked_fill(&a.get()?.ne(&b.get()?)?, 0.0)
            })
            .done())
    }

    /// 0 below zero, 1 above, `values` at zero (`torch.heaviside`).
    ///
    /// # Errors
    /// Different dtypes; shapes that do not broadcast.
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

    /// `self * ln(other)`, 0 where `self` is 0 (`torch.xlogy`).
    ///
    /// # Errors
    /// Shapes that do not broadcast, different devices.
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
    pub fn logaddexp(&self, other: &Tensor) -> Result<Tensor> {
        self.log_add("LogaddexpBackward0", other, 1.0)
    }

    /// `log2(2^self + 2^other)` without overflow (`torch.logaddexp2`).
    ///
    /// # Errors
    /// Shapes that do not broadcast, different devices.
    pub fn logaddexp2(&self, other: &Tensor) -> Result<Tensor> {
        self.log_add("Logaddexp2Backward0", other, std::f64::consts::LN_2)
    }

    /// The logarithm of a sum of powers of the base whose natural logarithm is `scale`.
    fn log_add(&self, name: &'static str, other: &Tensor, scale: f64) -> Result<Tensor> {
        let dtype = kiln_ops::to_float(self.joint_dtype(Arg::Tensor(other)));
        let (a, b) = (self.detach().to_dtype(dtype)?, other.detach().to_dtype(dtype)?);
        let sum = in_single(&a, |a| {
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
    pub fn ldexp(&self, other: &Tensor) -> Result<Tensor> {
        let dtype = kiln_ops::to_float(self.joint_dtype(Arg::Tensor(other)));
        self.mul(&other.rpow(2.0)?)?.to_dtype(dtype)
    }

    /// NaN and infinities replaced; absent replacements are 0 and the dtype's extremes (`torch.nan_to_num`).
    ///
    /// # Errors
    /// The memory is not there.
    pub fn nan_to_num(&self, nan: Option<f64>, posinf: Option<f64>, neginf: Option<f64>) -> Result<Tensor> {
        let Some((low, high)) = extremes(self.dtype()) else { return self.copy() };
        self.masked_fill(&self.isnan()?, nan.unwrap_or(0.0))?
            .masked_fill(&self.isposinf()?, posinf.unwrap_or(high))?
            .masked_fill(&self.isneginf()?, neginf.unwrap_or(low))
    }

    /// Degrees in radians (`torch.deg2rad`).
    ///
    /// # Errors
    /// The memory is not there.
    pub fn deg2rad(&self) -> Result<Tensor> {
        self.mul(std::f64::consts::PI / 180.0)
    }

    /// Radians in degrees (`torch.rad2deg`).
    ///
    /// # Errors
    /// The memory is not there.
    pub fn rad2deg(&self) -> Result<Tensor> {
        self.mul(180.0 / std::f64::consts::PI)
    }

    /// `sin(pi x) / (pi x)`, 1 at 0 (`torch.sinc`).
    ///
    /// # Errors
    /// The memory is not there.
    pub fn sinc(&self) -> Result<Tensor> {
        let zero = self.eq(0)?;
        let angle = self.masked_fill(&zero, 1)?.mul(std::f64::consts::PI)?;
        angle.sin()?.div(&angle)?.masked_fill(&zero, 1.0)
    }

    /// [`Tensor::sign`] (`torch.sgn`).
    ///
    /// # Errors
    /// The memory is not there.
    pub fn sgn(&self) -> Result<Tensor> {
        self.sign()
    }

    /// `ln(x / (1 - x))` with x limited to `eps..=1-eps` if an `eps` is given (`torch.logit`).
    ///
    /// # Errors
    /// The memory is not there.
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

    /// Elements rounded to `decimals` places after the point, or before it if negative (`torch.round(decimals)`).
    ///
    /// # Errors
    /// Places for integers.
    pub fn round_decimals(&self, decimals: i64) -> Result<Tensor> {
        if decimals == 0 {
            return self.round();
        }
        need_float("round", &[self])?;
        let ten = 10f64.powi(decimals.unsigned_abs().min(400) as i32);
        let y = in_single(&self.detach(), |x| match decimals > 0 {
            true => x.mul(ten)?.round()?.div(ten),
            false => x.div(ten)?.round()?.mul(ten),
        })?;
        let raw = y.raw().clone();
        Ok(record("RoundBackward1", raw).input(self, || |g: &Tensor| g.zeros_like()).done())
    }

    /// Where `|self - other| <= atol + rtol * |other|` (`torch.isclose`).
    ///
    /// # Errors
    /// Different dtypes, negative tolerances, shapes that do not broadcast.
    pub fn isclose(&self, other: &Tensor, rtol: f64, atol: f64, equal_nan: bool) -> Result<Tensor> {
        const OP: &str = "isclose";
        if self.dtype() != other.dtype() {
            return Err(Error::dtype(OP, format!("{} did not match {}", self.dtype(), other.dtype())));
        }
        if rtol < 0.0 || atol < 0.0 || rtol.is_nan() || atol.is_nan() {
            return Err(Error::value(
                OP,
                format!("rtol and atol must be greater than or equal to zero, got {rtol} and {atol}"),
            ));
        }
        let mut close = self.eq(other)?;
        if equal_nan && self.dtype().is_float() {
            close = close.logical_or(&self.isnan()?.logical_and(&other.isnan()?)?)?;
        }
        if rtol == 0.0 && atol == 0.0 {
            return Ok(close);
        }
        let dtype = kiln_ops::to_float(self.dtype());
        let (a, b) = (self.detach().to_dtype(dtype)?, other.detach().to_dtype(dtype)?);
        let allowed = b.mul(rtol)?.abs()?.add(atol)?;
        let actual = a.sub(&b)?.abs()?;
        close.logical_or(&actual.isfinite()?.logical_and(&actual.le(&allowed)?)?)
    }

    /// Whether all elements are close (`torch.allclose`).
    ///
    /// # Errors
    /// As [`Tensor::isclose`].
    pub fn allclose(&self, other: &Tensor, rtol: f64, atol: f64, equal_nan: bool) -> Result<bool> {
        Ok(self.isclose(other, rtol, atol, equal_nan)?.all()?.item()?.is_true())
    }

    /// The `n`-th derivative of [`Tensor::digamma`] (`torch.polygamma`).
    ///
    /// # Errors
    /// A negative `n`.
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
        let y = in_single(&x.detach(), |x| {
            let s = x.new_scalar(Scalar::Float(order + 1.0))?;
            let zeta = e::float_binary(FloatBinaryOp::Zeta, &*s.raw(), &*x.raw())?;
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

    /// All bits inverted; truth values negated (`torch.bitwise_not`).
    ///
    /// # Errors
    /// Floating point elements.
    pub fn bitwise_not(&self) -> Result<Tensor> {
        if self.dtype() == DType::Bool { self.bitwise_xor(true) } else { self.bitwise_xor(-1) }
    }

    /// Where elements have no imaginary part: everywhere (`torch.isreal`).
    ///
    /// # Errors
    /// The memory is not there.
    pub fn isreal(&self) -> Result<Tensor> {
        Ok(Tensor::from_raw(kiln_ops::full(&self.shape(), true.into(), DType::Bool, self.device())?))
    }

    /// The tensor itself (`torch.positive`).
    ///
    /// # Errors
    /// Truth values.
    pub fn positive(&self) -> Result<Tensor> {
        if self.dtype() == DType::Bool {
            return Err(Error::dtype("positive", "The `+` operator, on a bool tensor is not supported."));
        }
        Ok(self.clone())
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

/// Refuses factors that a dtype cannot hold.
pub(crate) fn check_alpha(op: &'static str, dtype: DType, alpha: Scalar) -> Result<()> {
    match alpha {
        Scalar::Bool(_) if dtype != DType::Bool => {
            Err(Error::dtype(op, "Boolean alpha only supported for Boolean results."))
        }
        Scalar::Float(_) if !dtype.is_float() => Err(Error::dtype(
            op,
            "For integral input tensors, argument alpha must not be a floating point number.",
        )),
        _ => Ok(()),
    }
}

/// `alpha * other` in the dtype of the sum; none when `alpha` is 1.
fn scaled(op: &'static str, x: &Tensor, other: Arg<'_>, alpha: Scalar) -> Result<Option<Tensor>> {
    let dtype = x.joint_dtype(other);
    check_alpha(op, dtype, alpha)?;
    if alpha.to_f64() == 1.0 {
        return Ok(None);
    }
    let other = match other {
        Arg::Tensor(t) if t.dtype() == DType::Bool && dtype != DType::Bool => t.to_dtype(dtype)?,
        other => x.to_operand(other, dtype)?,
    };
    other.mul(alpha).map(Some)
}
