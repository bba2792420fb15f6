//! Elementwise functions composed of others.

use kiln_ops::elementwise::{self as e, FloatBinaryOp, NumOp};
use kiln_ops::{DType, Operand, Scalar};

use crate::arg::Arg;
use crate::birth::called_here;
use crate::collect::Collect;
use crate::record::record;
use crate::{Error, Here, Result, Tensor};

/// Refuses tensors that are not floating point where PyTorch has no such function for integers.
#[track_caller]
pub(crate) fn need_float(op: &'static str, tensors: &[&Tensor]) -> Result<()> {
    match tensors.iter().find(|t| !t.dtype().is_float()) {
        None => Ok(()),
        Some(t) => Err(Error::dtype(op, format!("\"{op}\" takes floating point tensors, got {}", t.dtype()))),
    }
}

/// Calls `f` with half precision operands in single precision and rounds the result once.
#[track_caller]
pub(crate) fn in_single(x: &Tensor, f: &dyn Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    match x.dtype() {
        half @ (DType::F16 | DType::BF16) => {
            let x = x.to_dtype(DType::F32)?;
            called_here(|| f(&x)).here()?.to_dtype(half)
        }
        _ => called_here(|| f(x)).here(),
    }
}

/// Calls `f` with half precision operands in single precision and rounds the result once.
#[track_caller]
pub(crate) fn rounded_once<const N: usize>(
    operands: [&Tensor; N],
    f: &dyn Fn([&Tensor; N]) -> Result<Tensor>,
) -> Result<Tensor> {
    let half = |d: DType| matches!(d, DType::F16 | DType::BF16);
    let dtype = operands[0].dtype();
    if !half(dtype) || operands.iter().any(|t| t.dtype() != dtype) {
        return called_here(|| f(operands)).here();
    }
    let wide = operands.iter().map(|t| t.to_dtype(DType::F32)).all_ok().here()?;
    called_here(|| f(std::array::from_fn(|i| &wide[i]))).here()?.to_dtype(dtype)
}

impl Tensor {
    /// `x * x`, elementwise; truth values count as 0 and 1 (`torch.square`).
    ///
    /// # Errors
    /// Memory that is lent out or not there.
    #[track_caller]
    pub fn square(&self) -> Result<Tensor> {
        if self.dtype() == kiln_ops::DType::Bool {
            return self.to_dtype(kiln_ops::DType::I64);
        }
        let y = e::num_unary(NumOp::Square, &self.raw()).here()?;
        Ok(record("PowBackward0", y)
            .input(self, || {
                let x = self.save();
                move |g: &Tensor| g.mul(&x.get()?.mul(2.0)?)
            })
            .done())
    }

    /// Elements of `self` where `condition` holds, else of `other` (`torch.where(condition, self, other)`).
    ///
    /// # Errors
    /// `condition` is not bool; shapes that do not broadcast; different devices.
    #[track_caller]
    pub fn where_self<'a>(&self, condition: &Tensor, other: impl Into<Arg<'a>>) -> Result<Tensor> {
        self.choose(condition, other.into())
    }

    #[track_caller]
    fn choose(&self, condition: &Tensor, other: Arg<'_>) -> Result<Tensor> {
        let y = other.with(|o| e::where_(&condition.raw(), &*self.raw(), o)).here()?;
        let rec = record("WhereBackward0", y).input(self, || {
            let c = condition.save();
            move |g: &Tensor| g.masked_fill(&c.get()?.logical_not()?, 0.0)
        });
        Ok(match other.tensor() {
            None => rec,
            Some(t) => rec.input(t, || {
                let c = condition.save();
                move |g: &Tensor| g.masked_fill(&c.get()?, 0.0)
            }),
        }
        .done())
    }

    /// `-1 * self + other`: subtraction with the operands exchanged (`torch.rsub`).
    ///
    /// # Errors
    /// As [`Tensor::sub`].
    #[track_caller]
    pub fn rsub<'a>(&self, other: impl Into<Arg<'a>>) -> Result<Tensor> {
        match other.into() {
            Arg::Tensor(t) => t.sub(self),
            Arg::Scalar(s) => self.neg()?.add(s),
        }
    }

    /// The dtype that this tensor and `other` meet in.
    pub(crate) fn joint_dtype(&self, other: Arg<'_>) -> DType {
        other.with(|o| kiln_ops::result_type(&[Operand::Tensor(&self.raw()), o]))
    }

    /// `self + alpha * other` (`torch.add(alpha)`).
    ///
    /// # Errors
    /// As [`Tensor::add`]; a float `alpha` for integers.
    #[track_caller]
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
    #[track_caller]
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
    #[track_caller]
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
    #[track_caller]
    pub(crate) fn to_operand(&self, other: Arg<'_>, dtype: DType) -> Result<Tensor> {
        match other {
            Arg::Tensor(t) => Ok(t.clone()),
            Arg::Scalar(s) => Ok(Tensor::from_raw(kiln_ops::scalar(s, dtype, self.device()).here()?)),
        }
    }

    /// `base ^ self` for a number `base` (`torch.pow(number, tensor)`).
    ///
    /// # Errors
    /// As [`Tensor::pow`].
    #[track_caller]
    pub fn rpow(&self, base: impl Into<Scalar>) -> Result<Tensor> {
        let base = base.into();
        let base = self.to_operand(Arg::Scalar(base), self.joint_dtype(Arg::Scalar(base)))?;
        base.pow(self)
    }

    /// `number / self` (`torch.true_divide(number, tensor)`).
    ///
    /// # Errors
    /// As [`Tensor::div`].
    #[track_caller]
    pub fn rdiv(&self, number: impl Into<Scalar>) -> Result<Tensor> {
        let number = number.into();
        let dtype = kiln_ops::to_float(self.joint_dtype(Arg::Scalar(number)));
        self.to_operand(Arg::Scalar(number), dtype)?.div(self)
    }

    /// `self + value * a * b` (`torch.addcmul`).
    ///
    /// # Errors
    /// Shapes that do not broadcast, different devices.
    #[track_caller]
    pub fn addcmul(&self, a: &Tensor, b: &Tensor, value: impl Into<Scalar>) -> Result<Tensor> {
        let value = value.into();
        let dtype = self.joint_dtype(Arg::Tensor(a)).promote(b.dtype());
        if !matches!(value, Scalar::Bool(_)) {
            check_alpha("addcmul", dtype, value)?;
        }
        let value = if dtype.is_int() { Scalar::Int(value.to_i64()) } else { value };
        rounded_once([self, a, b], &|[x, a, b]| {
            let product = a.mul(b)?;
            if value.to_f64() == 1.0 { x.add(&product) } else { x.add(&product.mul(value)?) }
        })
    }

    /// `self + value * a / b` (`torch.addcdiv`).
    ///
    /// # Errors
    /// Integers; shapes that do not broadcast, different devices.
    #[track_caller]
    pub fn addcdiv(&self, a: &Tensor, b: &Tensor, value: impl Into<Scalar>) -> Result<Tensor> {
        if !a.dtype().is_float() && !b.dtype().is_float() {
            return Err(Error::dtype(
                "addcdiv",
                "Integer division with addcdiv is no longer supported; convert to a floating point dtype first",
            ));
        }
        let value = value.into();
        rounded_once([self, a, b], &|[x, a, b]| {
            let quotient = a.div(b)?;
            if value.to_f64() == 1.0 { x.add(&quotient) } else { x.add(&quotient.mul(value)?) }
        })
    }

    /// `self + weight * (end - self)` (`torch.lerp`).
    ///
    /// # Errors
    /// Operands of different dtypes or that are not floating point; shapes that do not broadcast.
    #[track_caller]
    pub fn lerp<'a>(&self, end: &Tensor, weight: impl Into<Arg<'a>>) -> Result<Tensor> {
        self.towards(end, weight.into())
    }

    #[track_caller]
    fn towards(&self, end: &Tensor, weight: Arg<'_>) -> Result<Tensor> {
        need_float("lerp", &[self, end])?;
        let same = |t: &Tensor| match t.dtype() == self.dtype() {
            true => Ok(()),
            false => Err(Error::dtype("lerp", format!("expected dtype {}, got {}", self.dtype(), t.dtype()))),
        };
        same(end).here()?;
        // From the nearer end, so that a weight of 0 or 1 gives an end exactly.
        match weight {
            Arg::Scalar(s) => rounded_once([self, end], &|[x, end]| {
                let (w, difference) = (s.to_f64(), end.sub(x)?);
                if w.abs() < 0.5 { x.add(&difference.mul(w)?) } else { end.sub(&difference.mul(1.0 - w)?) }
            }),
            Arg::Tensor(w) => {
                same(w).here()?;
                rounded_once([self, end, w], &|[x, end, w]| {
                    let difference = end.sub(x)?;
                    let from_start = x.add(&difference.mul(w)?)?;
                    let from_end = end.sub(&difference.mul(&w.rsub(1.0)?)?)?;
                    from_start.where_self(&w.abs()?.lt(0.5)?, &from_end)
                })
            }
        }
    }

    /// Both raised to the power in f64 (`torch.float_power`).
    ///
    /// # Errors
    /// As [`Tensor::pow`].
    #[track_caller]
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
    #[track_caller]
    pub fn copysign<'a>(&self, other: impl Into<Arg<'a>>) -> Result<Tensor> {
        let other = other.into();
        let y = other.with(|o| e::float_binary(FloatBinaryOp::Copysign, &*self.raw(), o)).here()?;
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

    /// Degrees in radians (`torch.deg2rad`).
    ///
    /// # Errors
    /// The memory is not there.
    #[track_caller]
    pub fn deg2rad(&self) -> Result<Tensor> {
        self.mul(std::f64::consts::PI / 180.0)
    }

    /// Radians in degrees (`torch.rad2deg`).
    ///
    /// # Errors
    /// The memory is not there.
    #[track_caller]
    pub fn rad2deg(&self) -> Result<Tensor> {
        self.mul(180.0 / std::f64::consts::PI)
    }

    /// [`Tensor::sign`] (`torch.sgn`).
    ///
    /// # Errors
    /// The memory is not there.
    #[track_caller]
    pub fn sgn(&self) -> Result<Tensor> {
        self.sign()
    }

    /// Elements rounded to `decimals` places after the point, or before it if negative (`torch.round(decimals)`).
    ///
    /// # Errors
    /// Places for integers.
    #[track_caller]
    pub fn round_decimals(&self, decimals: i64) -> Result<Tensor> {
        if decimals == 0 {
            return self.round();
        }
        need_float("round", &[self])?;
        let ten = 10f64.powi(decimals.unsigned_abs().min(400) as i32);
        let y = in_single(&self.detach(), &|x| match decimals > 0 {
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
    #[track_caller]
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
    #[track_caller]
    pub fn allclose(&self, other: &Tensor, rtol: f64, atol: f64, equal_nan: bool) -> Result<bool> {
        Ok(self.isclose(other, rtol, atol, equal_nan)?.all()?.item()?.is_true())
    }

    /// All bits inverted; truth values negated (`torch.bitwise_not`).
    ///
    /// # Errors
    /// Floating point elements.
    #[track_caller]
    pub fn bitwise_not(&self) -> Result<Tensor> {
        if self.dtype() == DType::Bool { self.bitwise_xor(true) } else { self.bitwise_xor(-1) }
    }

    /// Where elements have no imaginary part: everywhere (`torch.isreal`).
    ///
    /// # Errors
    /// The memory is not there.
    #[track_caller]
    pub fn isreal(&self) -> Result<Tensor> {
        Ok(Tensor::from_raw(kiln_ops::full(&self.shape(), true.into(), DType::Bool, self.device()).here()?))
    }

    /// The tensor itself (`torch.positive`).
    ///
    /// # Errors
    /// Truth values.
    #[track_caller]
    pub fn positive(&self) -> Result<Tensor> {
        if self.dtype() == DType::Bool {
            return Err(Error::dtype("positive", "The `+` operator, on a bool tensor is not supported."));
        }
        Ok(self.clone())
    }
}

/// Refuses factors that a dtype cannot hold.
#[track_caller]
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
#[track_caller]
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
