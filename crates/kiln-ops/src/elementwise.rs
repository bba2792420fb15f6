//! Elementwise operations: the tables of op codes with their host bodies, and the entries that check, promote and
//! allocate.
//!
//! A row of a table is all that a new elementwise operation needs in this crate.

use kiln_storage::{DType, RawTensor, Result, Scalar, Shape, broadcast_shapes};

use crate::backend::{run, uninit};
use crate::cpu::num::{FloatNum, Int, Num};
use crate::op::Op;
use crate::rules::{check_in_place, check_no_partial_overlap, mixed_devices};
use crate::{Error, cpu::arch::Arch, promotion};

/// Declares an enum of op codes, its names, and one host body per row as a zero-sized type. `$bound` is what the body
/// may do with its operands.
macro_rules! op_table {
    (
        $(#[$doc:meta])* $vis:vis enum $name:ident, trait $row:ident : $bound:ident, mod $rows:ident, macro $with_row:ident,
        $args:tt -> $out:ty {
            $($(#[$vdoc:meta])* $variant:ident $text:literal $body:expr;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $vis enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// Every op code of the table.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// PyTorch's name.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }

        /// The host body of a row.
        pub(crate) trait $row: 'static {
            /// One element.
            fn apply<A: Arch, T: $bound> $args -> $out;
        }

        /// One type per row.
        pub(crate) mod $rows {
            use super::*;
            $(#[derive(Clone, Copy)]
            pub(crate) struct $variant;
            impl $row for $variant {
                #[inline(always)]
                fn apply<A: Arch, T: $bound> $args -> $out { $body }
            })*
        }

        /// Evaluates `$then` with the type of the row bound to a name.
        macro_rules! $with_row {
            ($op:expr, $r:ident => $then:expr) => {
                match $op { $($crate::elementwise::$name::$variant => { type $r = $crate::elementwise::$rows::$variant; $then })* }
            };
        }
        pub(crate) use $with_row;
    };
}

op_table! {
    /// Functions of one number that need floating point; integers are converted to the default float dtype first.
    pub enum FloatOp, trait FloatRow: FloatNum, mod float_rows, macro with_float_row, (x: T) -> T {
        /// e^x
        Exp "exp" x.exp::<A>();
        /// 2^x
        Exp2 "exp2" x.exp2::<A>();
        /// e^x - 1, accurate near 0
        Expm1 "expm1" x.expm1::<A>();
        /// natural logarithm
        Log "log" x.log::<A>();
        /// logarithm to base 2
        Log2 "log2" x.log2::<A>();
        /// logarithm to base 10
        Log10 "log10" x.log10::<A>();
        /// ln(1 + x), accurate near 0
        Log1p "log1p" x.log1p::<A>();
        /// square root
        Sqrt "sqrt" x.sqrt::<A>();
        /// 1 / square root
        Rsqrt "rsqrt" x.rsqrt::<A>();
        /// 1 / x
        Reciprocal "reciprocal" T::ONE.div(x);
        /// sine
        Sin "sin" x.sin::<A>();
        /// cosine
        Cos "cos" x.cos::<A>();
        /// tangent
        Tan "tan" x.tan::<A>();
        /// inverse sine
        Asin "asin" x.asin::<A>();
        /// inverse cosine
        Acos "acos" x.acos::<A>();
        /// inverse tangent
        Atan "atan" x.atan::<A>();
        /// hyperbolic sine
        Sinh "sinh" x.sinh::<A>();
        /// hyperbolic cosine
        Cosh "cosh" x.cosh::<A>();
        /// hyperbolic tangent
        Tanh "tanh" x.tanh::<A>();
        /// inverse hyperbolic sine
        Asinh "asinh" x.asinh::<A>();
        /// inverse hyperbolic cosine
        Acosh "acosh" x.acosh::<A>();
        /// inverse hyperbolic tangent
        Atanh "atanh" x.atanh::<A>();
        /// 1 / (1 + e^-x)
        Sigmoid "sigmoid" x.sigmoid::<A>();
        /// ln(sigmoid(x))
        LogSigmoid "log_sigmoid" x.log_sigmoid::<A>();
        /// x * sigmoid(x)
        Silu "silu" x.silu::<A>();
        /// the Gauss error function
        Erf "erf" x.erf::<A>();
        /// 1 - erf(x)
        Erfc "erfc" x.erfc::<A>();
        /// the inverse of erf
        Erfinv "erfinv" x.erfinv::<A>();
        /// ln |gamma(x)|
        Lgamma "lgamma" x.lgamma::<A>();
        /// derivative of ln gamma(x)
        Digamma "digamma" x.digamma::<A>();
        /// x * P(N <= x) for a standard normal N
        Gelu "gelu" x.gelu::<A>();
        /// the tanh approximation of gelu
        GeluTanh "gelu_tanh" x.gelu_tanh::<A>();
        /// largest integer not above x
        Floor "floor" x.floor::<A>();
        /// smallest integer not below x
        Ceil "ceil" x.ceil::<A>();
        /// nearest integer, halves to even
        Round "round" x.round::<A>();
        /// x without its fraction
        Trunc "trunc" x.trunc::<A>();
        /// x - trunc(x)
        Frac "frac" x.sub(x.trunc::<A>());
    }
}

op_table! {
    /// Functions of one number that keep its dtype, integers included.
    pub enum NumOp, trait NumRow: Num, mod num_rows, macro with_num_row, (x: T) -> T {
        /// -x
        Neg "neg" T::ZERO.neg_of(x);
        /// |x|
        Abs "abs" x.abs();
        /// -1, 0 or 1
        Sign "sign" x.sign();
        /// x * x
        Square "square" x.mul(x);
        /// max(x, 0)
        Relu "relu" x.maximum(T::ZERO);
    }
}

op_table! {
    /// Questions about one number.
    pub enum TestOp, trait TestRow: Num, mod test_rows, macro with_test_row, (x: T) -> bool {
        /// not a number
        IsNan "isnan" x.is_nan();
        /// infinite
        IsInf "isinf" x.is_infinite();
        /// neither infinite nor not a number
        IsFinite "isfinite" !(x.is_nan() || x.is_infinite());
        /// plus infinity
        IsPosInf "isposinf" x.is_infinite() && x > T::ZERO;
        /// minus infinity
        IsNegInf "isneginf" x.is_infinite() && x < T::ZERO;
        /// negative, or minus zero
        SignBit "signbit" x.sign_bit();
        /// zero
        LogicalNot "logical_not" x == T::ZERO;
    }
}

op_table! {
    /// Functions of two numbers of one dtype, integers included.
    pub enum BinaryOp, trait BinaryRow: Num, mod binary_rows, macro with_binary_row, (a: T, b: T) -> T {
        /// a + b
        Add "add" a.add(b);
        /// a - b
        Sub "sub" a.sub(b);
        /// a * b
        Mul "mul" a.mul(b);
        /// the larger one; NaN if either is
        Maximum "maximum" a.maximum(b);
        /// the smaller one; NaN if either is
        Minimum "minimum" a.minimum(b);
        /// the larger one; the other one if one is NaN
        Fmax "fmax" a.fmax(b);
        /// the smaller one; the other one if one is NaN
        Fmin "fmin" a.fmin(b);
        /// a - b * floor(a / b): the sign of b
        Remainder "remainder" a.remainder::<A>(b);
        /// a - b * trunc(a / b): the sign of a
        Fmod "fmod" a.fmod::<A>(b);
        /// floor(a / b)
        FloorDivide "floor_divide" a.floor_div::<A>(b);
        /// trunc(a / b)
        TruncDivide "trunc_divide" a.trunc_div::<A>(b);
        /// a^b
        Pow "pow" a.pow::<A>(b);
        /// g where y > 0, else 0: the gradient of relu
        ReluGrad "relu_backward" if b > T::ZERO { a } else { T::ZERO };
    }
}

op_table! {
    /// Functions of two numbers that need floating point.
    pub enum FloatBinaryOp, trait FloatBinaryRow: FloatNum, mod float_binary_rows, macro with_float_binary_row, (a: T, b: T) -> T {
        /// a / b
        Div "div" a.div(b);
        /// the angle of the point (b, a)
        Atan2 "atan2" a.atan2::<A>(b);
        /// sqrt(a^2 + b^2)
        Hypot "hypot" a.hypot::<A>(b);
        /// |a| with the sign of b
        Copysign "copysign" a.copysign(b);
        /// the next representable number after a towards b
        NextAfter "nextafter" a.nextafter(b);
        /// the sum of (b + k)^-a over all k from 0 on: Hurwitz's zeta function
        Zeta "zeta" a.zeta(b);
        /// g * (1 - y^2): the gradient of tanh
        TanhGrad "tanh_backward" a.mul(T::ONE.sub(b.mul(b)));
        /// g * y * (1 - y): the gradient of sigmoid
        SigmoidGrad "sigmoid_backward" a.mul(T::ONE.sub(b).mul(b));
    }
}

op_table! {
    /// Functions of two integers of one dtype, or two truth values.
    pub enum IntOp, trait IntRow: Int, mod int_rows, macro with_int_row, (a: T, b: T) -> T {
        /// bits set in both
        BitAnd "bitwise_and" a.and(b);
        /// bits set in either
        BitOr "bitwise_or" a.or(b);
        /// bits set in one
        BitXor "bitwise_xor" a.xor(b);
        /// a shifted towards higher bits
        ShiftLeft "bitwise_left_shift" a.shift_left(b);
        /// a shifted towards lower bits
        ShiftRight "bitwise_right_shift" a.shift_right(b);
        /// greatest common divisor
        Gcd "gcd" a.gcd(b);
        /// least common multiple
        Lcm "lcm" a.lcm(b);
    }
}

op_table! {
    /// Questions about two numbers.
    pub enum CompareOp, trait CompareRow: Num, mod compare_rows, macro with_compare_row, (a: T, b: T) -> bool {
        /// a == b
        Eq "eq" a == b;
        /// a != b
        Ne "ne" a != b;
        /// a < b
        Lt "lt" a < b;
        /// a <= b
        Le "le" a <= b;
        /// a > b
        Gt "gt" a > b;
        /// a >= b
        Ge "ge" a >= b;
        /// both are not zero
        LogicalAnd "logical_and" a != T::ZERO && b != T::ZERO;
        /// one is not zero
        LogicalOr "logical_or" a != T::ZERO || b != T::ZERO;
        /// exactly one is not zero
        LogicalXor "logical_xor" (a != T::ZERO) != (b != T::ZERO);
    }
}

op_table! {
    /// Functions of three numbers of one dtype.
    pub enum TernaryOp, trait TernaryRow: Num, mod ternary_rows, macro with_ternary_row, (a: T, b: T, c: T) -> T {
        /// a limited to b..=c (c where b > c)
        Clamp "clamp" a.maximum(b).minimum(c);
        /// a + b * c, each rounded
        AddMul "addcmul" a.add(b.mul(c));
        /// g where lo <= x <= hi is decided by the mask tensors' order: a if b <= c else 0
        KeepIfLe "keep_if_le" if b <= c { a } else { T::ZERO };
    }
}

/// The dtype in which numbers of `dtype` are computed: halves in single precision, narrow integers and bool in int32,
/// whose results wrap to the same bits.
pub(crate) fn compute_dtype(dtype: DType) -> DType {
    match dtype {
        DType::F16 | DType::BF16 => DType::F32,
        DType::Bool | DType::U8 | DType::I8 | DType::I16 => DType::I32,
        d => d,
    }
}

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
struct Pair {
    a: RawTensor,
    b: RawTensor,
    shape: Shape,
    dtype: DType,
}

impl Pair {
    fn new(op: &'static str, a: Operand<'_>, b: Operand<'_>) -> Result<Pair> {
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

    fn run(&self, op: &'static str, kernel: Op, out_dtype: DType) -> Result<RawTensor> {
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

    fn run_in_place(&self, op: &'static str, kernel: Op, out: &RawTensor, dtype: DType) -> Result<()> {
        check_in_place(op, out, dtype, &self.shape)?;
        check_no_partial_overlap(op, out, &self.b)?;
        self.run_into(op, kernel, out)?;
        out.bump_version();
        Ok(())
    }
}

/// Arithmetic of two operands, with broadcasting and promotion; `op` names it in messages.
///
/// # Errors
/// Shapes that do not broadcast, different devices, or truth values where PyTorch refuses them.
pub fn binary<'a>(code: BinaryOp, a: impl Into<Operand<'a>>, b: impl Into<Operand<'a>>) -> Result<RawTensor> {
    let op = code.name();
    let pair = Pair::new(op, a.into(), b.into())?;
    check_bool(code, pair.dtype)?;
    pair.check_divisor(code)?;
    pair.run(op, Op::Binary(code, compute_dtype(pair.dtype)), pair.dtype)
}

/// [`binary`] written into its first operand.
///
/// # Errors
/// As [`binary`]; also a result that does not fit the first operand's shape or dtype.
pub fn binary_in_place<'a>(code: BinaryOp, a: &'a RawTensor, b: impl Into<Operand<'a>>) -> Result<()> {
    let op = code.name();
    let pair = Pair::new(op, a.into(), b.into())?;
    check_bool(code, pair.dtype)?;
    pair.check_divisor(code)?;
    pair.run_in_place(op, Op::Binary(code, compute_dtype(pair.dtype)), a, pair.dtype)
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
    let op = code.name();
    let pair = Pair::new(op, a.into(), b.into())?;
    let dtype = promotion::to_float(pair.dtype);
    pair.run(op, Op::FloatBinary(code, compute_dtype(dtype)), dtype)
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
    let op = code.name();
    let pair = Pair::new(op, a.into(), b.into())?;
    let dtype = promotion::to_float(pair.dtype);
    pair.run_in_place(op, Op::FloatBinary(code, compute_dtype(dtype)), a, dtype)
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
    pair.run(op, Op::IntBinary(code, compute_dtype(pair.dtype)), pair.dtype)
}

/// [`int_binary`] written into its first operand.
///
/// # Errors
/// As [`binary_in_place`]; floating point operands.
pub fn int_binary_in_place<'a>(code: IntOp, a: &'a RawTensor, b: impl Into<Operand<'a>>) -> Result<()> {
    let op = code.name();
    let pair = Pair::new(op, a.into(), b.into())?;
    expect_int(op, pair.dtype)?;
    pair.run_in_place(op, Op::IntBinary(code, compute_dtype(pair.dtype)), a, pair.dtype)
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
    let op = code.name();
    let pair = Pair::new(op, a.into(), b.into())?;
    pair.run(op, Op::Compare(code, compute_dtype(pair.dtype)), DType::Bool)
}

/// A comparison written into its first operand, in that operand's dtype.
///
/// # Errors
/// As [`binary_in_place`].
pub fn compare_in_place<'a>(code: CompareOp, a: &'a RawTensor, b: impl Into<Operand<'a>>) -> Result<()> {
    let op = code.name();
    let pair = Pair::new(op, a.into(), b.into())?;
    pair.run_in_place(op, Op::Compare(code, compute_dtype(pair.dtype)), a, DType::Bool)
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
    run(code.name(), &Op::Float(code, compute_dtype(dtype)), &[x], &[&out])?;
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
    run(code.name(), &Op::Float(code, compute_dtype(dtype)), &[x], &[x])?;
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
    run(code.name(), &Op::Num(code, compute_dtype(x.dtype())), &[x], &[&out])?;
    Ok(out)
}

/// [`num_unary`] written into its operand.
///
/// # Errors
/// As [`num_unary`]; elements that share memory.
pub fn num_unary_in_place(code: NumOp, x: &RawTensor) -> Result<()> {
    check_num(code, x.dtype())?;
    check_in_place(code.name(), x, x.dtype(), x.shape())?;
    run(code.name(), &Op::Num(code, compute_dtype(x.dtype())), &[x], &[x])?;
    x.bump_version();
    Ok(())
}

/// A question about each element; the result is of dtype bool.
///
/// # Errors
/// Memory that is lent out or not there.
pub fn test(code: TestOp, x: &RawTensor) -> Result<RawTensor> {
    let out = uninit(code.name(), x.shape(), DType::Bool, x.device())?;
    run(code.name(), &Op::Test(code, compute_dtype(x.dtype())), &[x], &[&out])?;
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
    let op = code.name();
    let (b, c) = (b.into(), c.into());
    let dtype = promotion::result_type(&[a.into(), b, c]);
    let (operands, shape) = broadcast_three(op, [a.into(), b, c], dtype)?;
    let out = uninit(op, &shape, dtype, a.device())?;
    run(op, &Op::Ternary(code, compute_dtype(dtype)), &[&operands[0], &operands[1], &operands[2]], &[&out])?;
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
    const OP: &str = "where";
    let (a, b) = (a.into(), b.into());
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
