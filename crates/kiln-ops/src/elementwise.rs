//! Elementwise operations: the tables of op codes with their host bodies, and the entries that check, promote and
//! allocate.
//!
//! A row of a table is all that a new elementwise operation needs in this crate.

use kiln_storage::{DType, RawTensor, Result, Scalar, Shape, broadcast_shapes};

use crate::backend::{run, uninit};
use crate::op::Op;
use crate::promotion::wide_dtype;
use crate::rules::{check_in_place, check_no_partial_overlap, mixed_devices};
use crate::{Error, promotion};

mod tables;

pub use tables::*;

/// A second operand: a tensor or a plain number.
#[derive(Clone, Copy)]
pub enum Operand<'a> {
    /// A tensor.
    Tensor(&'a RawTensor),
    /// A number, which only takes part in promotion by its class.
    Scalar(Scalar),
}

impl<'a> From<&'a RawTensor> for Operand<'a> {
    fn from(t: &'a RawTensor) -> Operand<'a> {
        Operand::Tensor(t)
    }
}

macro_rules! operand_from {
    ($($t:ty),*) => {
        $(impl From<$t> for Operand<'_> {
            fn from(s: $t) -> Self {
                Operand::Scalar(s.into())
            }
        })*
    };
}
operand_from!(Scalar, bool, u8, i8, i16, i32, i64, u32, usize, f32, f64);

/// Two operands brought to one shape, device and dtype.
pub(crate) struct Pair {
    a: RawTensor,
    b: RawTensor,
    shape: Shape,
    pub(crate) dtype: DType,
}

impl Pair {
    pub(crate) fn new(op: &'static str, a: Operand<'_>, b: Operand<'_>) -> Result<Pair> {
        let dtype = promotion::result_type(&[a, b]);
        let (a, b) = match (a, b) {
            (Operand::Tensor(a), Operand::Tensor(b)) => {
                // A zero-dimensional host tensor acts like a number beside tensors of another device.
                if a.device() == b.device() {
                    (a.clone(), b.clone())
                } else if a.device().is_cpu() && a.rank() == 0 {
                    (crate::to_device(a, b.device())?, b.clone())
                } else if b.device().is_cpu() && b.rank() == 0 {
                    (a.clone(), crate::to_device(b, a.device())?)
                } else {
                    return Err(mixed_devices(op, a.device(), b.device()));
                }
            }
            (Operand::Tensor(a), Operand::Scalar(s)) => (a.clone(), crate::scalar(s, dtype, a.device())?),
            (Operand::Scalar(s), Operand::Tensor(b)) => (crate::scalar(s, dtype, b.device())?, b.clone()),
            (Operand::Scalar(s), Operand::Scalar(t)) => {
                (crate::scalar(s, dtype, Default::default())?, crate::scalar(t, dtype, Default::default())?)
            }
        };
        let shape = broadcast_shapes(op, a.shape(), b.shape())?;
        Ok(Pair { a, b, shape, dtype })
    }

    pub(crate) fn run(&self, op: &'static str, kernel: Op, out_dtype: DType) -> Result<RawTensor> {
        let out = uninit(op, &self.shape, out_dtype, self.a.device())?;
        self.run_into(op, kernel, &out)?;
        Ok(out)
    }

    fn run_into(&self, op: &'static str, kernel: Op, out: &RawTensor) -> Result<()> {
        if self.a.shape() == &self.shape && self.b.shape() == &self.shape {
            return run(op, &kernel, &[&self.a, &self.b], &[out]);
        }
        let a = self.a.with_layout(self.a.layout().broadcast_to(op, &self.shape)?);
        let b = self.b.with_layout(self.b.layout().broadcast_to(op, &self.shape)?);
        run(op, &kernel, &[&a, &b], &[out])
    }

    /// Refuses to divide integers by zero, for which there is no result.
    fn check_divisor(&self, code: BinaryOp) -> Result<()> {
        use BinaryOp::*;
        let divides = matches!(code, Remainder | Fmod | FloorDivide | TruncDivide);
        if !divides || !self.dtype.is_int() || self.shape.numel() == 0 {
            return Ok(());
        }
        let fine = crate::reduce::reduce(crate::reduce::ReduceOp::All, &self.b, &[], false)?;
        let fine = crate::to_device(&crate::to_dtype(&fine, DType::Bool)?, Default::default())?;
        if fine.to_vec::<bool>()? == [true] {
            return Ok(());
        }
        Err(Error::value(code.name(), "ZeroDivisionError: an integer was divided by zero"))
    }

    /// Writes the result, which is of `dtype`, to `out`, which may be one of the operands.
    pub(crate) fn run_out(&self, op: &'static str, kernel: Op, out: &RawTensor, dtype: DType) -> Result<()> {
        check_in_place(op, out, dtype, &self.shape)?;
        if out.device() != self.a.device() {
            return Err(mixed_devices(op, out.device(), self.a.device()));
        }
        check_no_partial_overlap(op, out, &self.a)?;
        check_no_partial_overlap(op, out, &self.b)?;
        self.run_into(op, kernel, out)?;
        out.bump_version();
        Ok(())
    }
}

/// Two tensors of one dtype, device and shape, if that is what they are: by far the most frequent pair, and the one for
/// which nothing needs to be brought together.
#[inline]
fn alike<'a>(a: Operand<'a>, b: Operand<'a>) -> Option<(&'a RawTensor, &'a RawTensor)> {
    match (a, b) {
        (Operand::Tensor(a), Operand::Tensor(b))
            if a.dtype() == b.dtype() && a.shape() == b.shape() && a.device() == b.device() =>
        {
            Some((a, b))
        }
        _ => None,
    }
}

/// Runs a kernel on such a pair.
#[inline(always)]
fn run_alike(
    op: &'static str,
    kernel: Op,
    (a, b): (&RawTensor, &RawTensor),
    dtype: DType,
) -> Result<RawTensor> {
    let out = uninit(op, a.shape(), dtype, a.device())?;
    run(op, &kernel, &[a, b], &[&out])?;
    Ok(out)
}

/// Arithmetic of two operands, with broadcasting and promotion; `op` names it in messages.
///
/// # Errors
/// Shapes that do not broadcast, different devices, or truth values where PyTorch refuses them.
#[inline]
pub fn binary<'a>(code: BinaryOp, a: impl Into<Operand<'a>>, b: impl Into<Operand<'a>>) -> Result<RawTensor> {
    binary_of(code, a.into(), b.into())
}

/// [`binary`], compiled once for all kinds of operands, as the others below that end so.
fn binary_of(code: BinaryOp, a: Operand<'_>, b: Operand<'_>) -> Result<RawTensor> {
    let op = code.name();
    if let Some(pair) = alike(a, b).filter(|(a, _)| a.dtype().is_float()) {
        let dtype = pair.0.dtype();
        return run_alike(op, Op::Binary(code, wide_dtype(dtype)), pair, dtype);
    }
    let pair = Pair::new(op, a, b)?;
    check_bool(code, pair.dtype)?;
    pair.check_divisor(code)?;
    pair.run(op, Op::Binary(code, wide_dtype(pair.dtype)), pair.dtype)
}

/// [`binary`] written into its first operand.
///
/// # Errors
/// As [`binary`]; also a result that does not fit the first operand's shape or dtype.
pub fn binary_in_place<'a>(code: BinaryOp, a: &'a RawTensor, b: impl Into<Operand<'a>>) -> Result<()> {
    binary_out(code, a, b, a)
}

/// [`binary`] written to `out`, which has the result's shape and may be one of the operands.
///
/// # Errors
/// As [`binary_in_place`]; `out` shares some of its elements with an operand.
pub fn binary_out<'a>(
    code: BinaryOp,
    a: impl Into<Operand<'a>>,
    b: impl Into<Operand<'a>>,
    out: &RawTensor,
) -> Result<()> {
    binary_out_of(code, a.into(), b.into(), out)
}

fn binary_out_of(code: BinaryOp, a: Operand<'_>, b: Operand<'_>, out: &RawTensor) -> Result<()> {
    let op = code.name();
    let pair = Pair::new(op, a, b)?;
    check_bool(code, pair.dtype)?;
    pair.check_divisor(code)?;
    pair.run_out(op, Op::Binary(code, wide_dtype(pair.dtype)), out, pair.dtype)
}

fn check_bool(code: BinaryOp, dtype: DType) -> Result<()> {
    use BinaryOp::*;
    let op = code.name();
    if dtype != DType::Bool {
        return Ok(());
    }
    match code {
        Sub => Err(Error::dtype(
            op,
            "Subtraction of two bool tensors is not supported; use logical_xor or bitwise_xor instead",
        )),
        Remainder | Fmod | FloorDivide | TruncDivide | Pow => {
            Err(Error::dtype(op, format!("\"{op}\" is not implemented for bool")))
        }
        _ => Ok(()),
    }
}

/// A function of two operands that needs floating point: integers become the default float dtype.
///
/// # Errors
/// As [`binary`].
pub fn float_binary<'a>(
    code: FloatBinaryOp,
    a: impl Into<Operand<'a>>,
    b: impl Into<Operand<'a>>,
) -> Result<RawTensor> {
    float_binary_of(code, a.into(), b.into())
}

fn float_binary_of(code: FloatBinaryOp, a: Operand<'_>, b: Operand<'_>) -> Result<RawTensor> {
    let op = code.name();
    if let Some(pair) = alike(a, b).filter(|(a, _)| a.dtype().is_float()) {
        let dtype = pair.0.dtype();
        return run_alike(op, Op::FloatBinary(code, wide_dtype(dtype)), pair, dtype);
    }
    let pair = Pair::new(op, a, b)?;
    let dtype = promotion::to_float(pair.dtype);
    pair.run(op, Op::FloatBinary(code, wide_dtype(dtype)), dtype)
}

/// [`float_binary`] written into its first operand.
///
/// # Errors
/// As [`binary_in_place`].
pub fn float_binary_in_place<'a>(
    code: FloatBinaryOp,
    a: &'a RawTensor,
    b: impl Into<Operand<'a>>,
) -> Result<()> {
    float_binary_out(code, a, b, a)
}

/// [`float_binary`] written to `out`, as [`binary_out`].
///
/// # Errors
/// As [`binary_out`].
pub fn float_binary_out<'a>(
    code: FloatBinaryOp,
    a: impl Into<Operand<'a>>,
    b: impl Into<Operand<'a>>,
    out: &RawTensor,
) -> Result<()> {
    float_binary_out_of(code, a.into(), b.into(), out)
}

fn float_binary_out_of(code: FloatBinaryOp, a: Operand<'_>, b: Operand<'_>, out: &RawTensor) -> Result<()> {
    let op = code.name();
    let pair = Pair::new(op, a, b)?;
    let dtype = promotion::to_float(pair.dtype);
    pair.run_out(op, Op::FloatBinary(code, wide_dtype(dtype)), out, dtype)
}

fn expect_int(op: &'static str, dtype: DType) -> Result<()> {
    if dtype.is_int() || dtype == DType::Bool {
        return Ok(());
    }
    Err(Error::dtype(op, format!("\"{op}\" takes integers or truth values, got {dtype}")))
}

/// Bitwise and integer functions of two operands.
///
/// # Errors
/// As [`binary`]; floating point operands.
pub fn int_binary<'a>(
    code: IntOp,
    a: impl Into<Operand<'a>>,
    b: impl Into<Operand<'a>>,
) -> Result<RawTensor> {
    let op = code.name();
    let pair = Pair::new(op, a.into(), b.into())?;
    expect_int(op, pair.dtype)?;
    pair.run(op, Op::IntBinary(code, wide_dtype(pair.dtype)), pair.dtype)
}

/// [`int_binary`] written into its first operand.
///
/// # Errors
/// As [`binary_in_place`]; floating point operands.
pub fn int_binary_in_place<'a>(code: IntOp, a: &'a RawTensor, b: impl Into<Operand<'a>>) -> Result<()> {
    let op = code.name();
    let pair = Pair::new(op, a.into(), b.into())?;
    expect_int(op, pair.dtype)?;
    pair.run_out(op, Op::IntBinary(code, wide_dtype(pair.dtype)), a, pair.dtype)
}

/// A comparison; the result is of dtype bool.
///
/// # Errors
/// As [`binary`].
pub fn compare<'a>(
    code: CompareOp,
    a: impl Into<Operand<'a>>,
    b: impl Into<Operand<'a>>,
) -> Result<RawTensor> {
    compare_of(code, a.into(), b.into())
}

fn compare_of(code: CompareOp, a: Operand<'_>, b: Operand<'_>) -> Result<RawTensor> {
    let op = code.name();
    let pair = Pair::new(op, a, b)?;
    pair.run(op, Op::Compare(code, wide_dtype(pair.dtype)), DType::Bool)
}

/// A comparison written into its first operand, in that operand's dtype.
///
/// # Errors
/// As [`binary_in_place`].
pub fn compare_in_place<'a>(code: CompareOp, a: &'a RawTensor, b: impl Into<Operand<'a>>) -> Result<()> {
    let op = code.name();
    let pair = Pair::new(op, a.into(), b.into())?;
    pair.run_out(op, Op::Compare(code, wide_dtype(pair.dtype)), a, DType::Bool)
}

/// A function of one tensor that needs floating point: integers become the default float dtype.
///
/// # Errors
/// Memory that is lent out or not there.
pub fn float_unary(code: FloatOp, x: &RawTensor) -> Result<RawTensor> {
    use FloatOp::*;
    // Integers are their own floor, ceiling, rounding and truncation.
    if x.dtype().is_int() && matches!(code, Floor | Ceil | Round | Trunc) {
        return crate::copy::contiguous_copy(x);
    }
    let dtype = promotion::to_float(x.dtype());
    let out = uninit(code.name(), x.shape(), dtype, x.device())?;
    run(code.name(), &Op::Float(code, wide_dtype(dtype)), &[x], &[&out])?;
    Ok(out)
}

/// [`float_unary`] written into its operand.
///
/// # Errors
/// The operand is not floating point, or its elements share memory.
pub fn float_unary_in_place(code: FloatOp, x: &RawTensor) -> Result<()> {
    use FloatOp::*;
    if x.dtype().is_int() && matches!(code, Floor | Ceil | Round | Trunc) {
        check_in_place(code.name(), x, x.dtype(), x.shape())?;
        x.bump_version();
        return Ok(());
    }
    let dtype = promotion::to_float(x.dtype());
    check_in_place(code.name(), x, dtype, x.shape())?;
    run(code.name(), &Op::Float(code, wide_dtype(dtype)), &[x], &[x])?;
    x.bump_version();
    Ok(())
}

fn check_num(code: NumOp, dtype: DType) -> Result<()> {
    let op = code.name();
    match code {
        NumOp::Neg | NumOp::Relu if dtype == DType::Bool => {
            Err(Error::dtype(op, format!("\"{op}\" is not supported for bool; use logical_not instead")))
        }
        _ => Ok(()),
    }
}

/// A function of one tensor that keeps its dtype.
///
/// # Errors
/// A truth value where PyTorch refuses it.
pub fn num_unary(code: NumOp, x: &RawTensor) -> Result<RawTensor> {
    check_num(code, x.dtype())?;
    let out = uninit(code.name(), x.shape(), x.dtype(), x.device())?;
    run(code.name(), &Op::Num(code, wide_dtype(x.dtype())), &[x], &[&out])?;
    Ok(out)
}

/// [`num_unary`] written into its operand.
///
/// # Errors
/// As [`num_unary`]; elements that share memory.
pub fn num_unary_in_place(code: NumOp, x: &RawTensor) -> Result<()> {
    check_num(code, x.dtype())?;
    check_in_place(code.name(), x, x.dtype(), x.shape())?;
    run(code.name(), &Op::Num(code, wide_dtype(x.dtype())), &[x], &[x])?;
    x.bump_version();
    Ok(())
}

/// A question about each element; the result is of dtype bool.
///
/// # Errors
/// Memory that is lent out or not there.
pub fn test(code: TestOp, x: &RawTensor) -> Result<RawTensor> {
    let out = uninit(code.name(), x.shape(), DType::Bool, x.device())?;
    run(code.name(), &Op::Test(code, wide_dtype(x.dtype())), &[x], &[&out])?;
    Ok(out)
}

/// A function of three operands of one dtype (the promotion of all three), with broadcasting.
///
/// # Errors
/// As [`binary`].
pub fn ternary<'a>(
    code: TernaryOp,
    a: &'a RawTensor,
    b: impl Into<Operand<'a>>,
    c: impl Into<Operand<'a>>,
) -> Result<RawTensor> {
    ternary_of(code, a, b.into(), c.into())
}

fn ternary_of(code: TernaryOp, a: &RawTensor, b: Operand<'_>, c: Operand<'_>) -> Result<RawTensor> {
    let op = code.name();
    let dtype = promotion::result_type(&[a.into(), b, c]);
    let (operands, shape) = broadcast_three(op, [a.into(), b, c], dtype)?;
    let out = uninit(op, &shape, dtype, a.device())?;
    run(op, &Op::Ternary(code, wide_dtype(dtype)), &[&operands[0], &operands[1], &operands[2]], &[&out])?;
    Ok(out)
}

/// Elements of `a` where `condition` holds, else of `b` (`torch.where`).
///
/// # Errors
/// `condition` is not of dtype bool or uint8; shapes that do not broadcast; different devices.
pub fn where_<'a>(
    condition: &'a RawTensor,
    a: impl Into<Operand<'a>>,
    b: impl Into<Operand<'a>>,
) -> Result<RawTensor> {
    where_of(condition, a.into(), b.into())
}

fn where_of(condition: &RawTensor, a: Operand<'_>, b: Operand<'_>) -> Result<RawTensor> {
    const OP: &str = "where";
    if !matches!(condition.dtype(), DType::Bool | DType::U8) {
        return Err(Error::dtype(
            OP,
            format!(
                "expected condition to be a boolean tensor, but got a tensor with dtype {}",
                condition.dtype()
            ),
        ));
    }
    let dtype = promotion::result_type(&[a, b]);
    let (operands, shape) = broadcast_three(OP, [condition.into(), a, b], dtype)?;
    let out = uninit(OP, &shape, dtype, condition.device())?;
    run(OP, &Op::Where, &[&operands[0], &operands[1], &operands[2]], &[&out])?;
    Ok(out)
}

/// Three operands as tensors of one device and shape; numbers become tensors of `dtype`.
fn broadcast_three(
    op: &'static str,
    operands: [Operand<'_>; 3],
    dtype: DType,
) -> Result<([RawTensor; 3], Shape)> {
    let mut device = None;
    for o in &operands {
        if let Operand::Tensor(t) = o {
            let here = t.device();
            let scalar_like = here.is_cpu() && t.rank() == 0;
            match device {
                None => device = Some((here, scalar_like)),
                Some((_, true)) => device = Some((here, scalar_like)),
                Some((d, false)) if d != here && !scalar_like => return Err(mixed_devices(op, d, here)),
                Some(_) => {}
            }
        }
    }
    let device = device.map(|(d, _)| d).unwrap_or_default();
    let tensor = |o: Operand<'_>| match o {
        Operand::Tensor(t) => crate::to_device(t, device),
        Operand::Scalar(s) => crate::scalar(s, dtype, device),
    };
    let [a, b, c] = operands;
    let (a, b, c) = (tensor(a)?, tensor(b)?, tensor(c)?);
    let shape = broadcast_shapes(op, &broadcast_shapes(op, a.shape(), b.shape())?, c.shape())?;
    let fit = |t: RawTensor| Ok::<_, Error>(t.with_layout(t.layout().broadcast_to(op, &shape)?));
    Ok(([fit(a)?, fit(b)?, fit(c)?], shape))
}
