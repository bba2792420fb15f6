//! Elementwise operations: a row per function with its derivative, and the arithmetic of two operands.

use kiln_ops::elementwise::{
    self as e, BinaryOp, CompareOp, FloatBinaryOp, FloatOp, NumOp, float_unary, float_unary_in_place,
    num_unary, num_unary_in_place,
};

use crate::arg::{Arg, SavedArg};
use crate::record::{Recorder, Saved, record};
use crate::{Here, Result, Tensor, inplace};

/// Methods of one operand. A row: the method, its in-place form, the op code, what the derivative reads (`x`: the
/// operand, `y`: the result, `-`: nothing) and the derivative, from the result's gradient `g`.
macro_rules! unary_methods {
    ($entry:ident, $entry_:ident, $codes:ident; $($(#[$doc:meta])* $name:ident $name_:ident: $code:ident, $from:tt, |$g:pat_param, $v:pat_param| $d:expr;)*) => {
        impl Tensor {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// The dtype is not one PyTorch has this function for, or memory is not there.
                #[track_caller]
                pub fn $name(&self) -> Result<Tensor> {
                    let y = $entry($codes::$code, &self.raw()).here()?;
                    let rec = record(concat!(stringify!($code), "Backward0"), y).elementwise();
                    Ok(unary_methods!(@record self, rec, $from, |$g, $v| $d).done())
                }

                #[doc = concat!("In-place form of [`Tensor::", stringify!($name), "`].")]
                ///
                /// # Errors
                /// As the out-of-place form; a leaf that requires grad; a result that does not fit the dtype.
                #[track_caller]
                pub fn $name_(&self) -> Result<()> {
                    inplace::check(stringify!($name_), self)?;
                    let before = unary_methods!(@before self, $from);
                    $entry_($codes::$code, &self.raw()).here()?;
                    let _ = &before;
                    let rec = record(concat!(stringify!($code), "Backward0"), self.raw().clone()).elementwise();
                    unary_methods!(@record_in_place self, before, rec, $from, |$g, $v| $d).done_in_place(self)
                }
            )*
        }
    };
    (@record $self:ident, $rec:ident, x, |$g:pat_param, $v:pat_param| $d:expr) => {
        $rec.input($self, || {
            let x = $self.save();
            move |$g: &Tensor| -> Result<Tensor> {
                let $v = &x.get()?;
                $d
            }
        })
    };
    (@record $self:ident, $rec:ident, y, |$g:pat_param, $v:pat_param| $d:expr) => {
        $rec.input_from_output($self, || move |$g: &Tensor, $v: &Tensor| -> Result<Tensor> { $d })
    };
    (@record $self:ident, $rec:ident, -, |$g:pat_param, $v:pat_param| $d:expr) => {
        $rec.input($self, || move |$g: &Tensor| -> Result<Tensor> { let $v = (); $d })
    };
    (@before $self:ident, x) => { $self.save_copy_if_needed()? };
    (@before $self:ident, $from:tt) => { () };
    (@record_in_place $self:ident, $before:ident, $rec:ident, x, |$g:pat_param, $v:pat_param| $d:expr) => {
        $rec.input($self, || move |$g: &Tensor| -> Result<Tensor> {
            let $v = &match &$before {
                Some(x) => x.get()?,
                None => return Err(crate::Error::autograd("backward", "the operand was not saved")),
            };
            $d
        })
    };
    (@record_in_place $self:ident, $before:ident, $rec:ident, $from:tt, |$g:pat_param, $v:pat_param| $d:expr) => {
        unary_methods!(@record $self, $rec, $from, |$g, $v| $d)
    };
}

pub(crate) use unary_methods;

/// 2 / sqrt(pi), the slope of erf at 0.
const TWO_OVER_SQRT_PI: f64 = std::f64::consts::FRAC_2_SQRT_PI;
const LN_2: f64 = std::f64::consts::LN_2;
const LN_10: f64 = std::f64::consts::LN_10;

unary_methods! {
    float_unary, float_unary_in_place, FloatOp;
    /// `e^x`, elementwise (`torch.exp`).
    exp exp_: Exp, y, |g, y| g.mul(y);
    /// `2^x`, elementwise (`torch.exp2`).
    exp2 exp2_: Exp2, y, |g, y| g.mul(y)?.mul(LN_2);
    /// `e^x - 1`, elementwise, accurate near 0 (`torch.expm1`).
    expm1 expm1_: Expm1, y, |g, y| g.mul(&y.add(1.0)?);
    /// Natural logarithm, elementwise (`torch.log`).
    log log_: Log, x, |g, x| g.div(x);
    /// Logarithm to base 2, elementwise (`torch.log2`).
    log2 log2_: Log2, x, |g, x| g.div(&x.mul(LN_2)?);
    /// Logarithm to base 10, elementwise (`torch.log10`).
    log10 log10_: Log10, x, |g, x| g.div(&x.mul(LN_10)?);
    /// `ln(1 + x)`, elementwise, accurate near 0 (`torch.log1p`).
    log1p log1p_: Log1p, x, |g, x| g.div(&x.add(1.0)?);
    /// Square root, elementwise (`torch.sqrt`).
    sqrt sqrt_: Sqrt, y, |g, y| g.div(&y.mul(2.0)?);
    /// `1 / sqrt(x)`, elementwise (`torch.rsqrt`).
    rsqrt rsqrt_: Rsqrt, y, |g, y| g.mul(-0.5)?.mul(&y.pow(3.0)?);
    /// `1 / x`, elementwise (`torch.reciprocal`).
    reciprocal reciprocal_: Reciprocal, y, |g, y| g.neg()?.mul(&y.mul(y)?);
    /// Sine, elementwise (`torch.sin`).
    sin sin_: Sin, x, |g, x| g.mul(&x.cos()?);
    /// Cosine, elementwise (`torch.cos`).
    cos cos_: Cos, x, |g, x| g.mul(&x.sin()?.neg()?);
    /// Tangent, elementwise (`torch.tan`).
    tan tan_: Tan, y, |g, y| g.mul(&y.mul(y)?.add(1.0)?);
    /// Inverse sine, elementwise (`torch.asin`).
    asin asin_: Asin, x, |g, x| g.mul(&x.mul(x)?.neg()?.add(1.0)?.rsqrt()?);
    /// Inverse cosine, elementwise (`torch.acos`).
    acos acos_: Acos, x, |g, x| g.mul(&x.mul(x)?.neg()?.add(1.0)?.rsqrt()?)?.neg();
    /// Inverse tangent, elementwise (`torch.atan`).
    atan atan_: Atan, x, |g, x| g.div(&x.mul(x)?.add(1.0)?);
    /// Hyperbolic sine, elementwise (`torch.sinh`).
    sinh sinh_: Sinh, x, |g, x| g.mul(&x.cosh()?);
    /// Hyperbolic cosine, elementwise (`torch.cosh`).
    cosh cosh_: Cosh, x, |g, x| g.mul(&x.sinh()?);
    /// Hyperbolic tangent, elementwise (`torch.tanh`).
    tanh tanh_: Tanh, y, |g, y| g.tanh_backward(y);
    /// Inverse hyperbolic sine, elementwise (`torch.asinh`).
    asinh asinh_: Asinh, x, |g, x| g.mul(&x.mul(x)?.add(1.0)?.rsqrt()?);
    /// Inverse hyperbolic cosine, elementwise (`torch.acosh`).
    acosh acosh_: Acosh, x, |g, x| g.mul(&x.mul(x)?.sub(1.0)?.rsqrt()?);
    /// Inverse hyperbolic tangent, elementwise (`torch.atanh`).
    atanh atanh_: Atanh, x, |g, x| g.div(&x.mul(x)?.neg()?.add(1.0)?);
    /// `1 / (1 + e^-x)`, elementwise (`torch.sigmoid`).
    sigmoid sigmoid_: Sigmoid, y, |g, y| g.sigmoid_backward(y);
    /// `ln(sigmoid(x))`, elementwise, without overflow (`torch.nn.functional.logsigmoid`).
    log_sigmoid log_sigmoid_: LogSigmoid, x, |g, x| g.mul(&x.neg()?.sigmoid()?);
    /// `x * sigmoid(x)`, elementwise (`torch.nn.functional.silu`).
    silu silu_: Silu, x, |g, x| {
        let s = x.sigmoid()?;
        g.mul(&s.mul(&x.mul(&s.neg()?.add(1.0)?)?.add(1.0)?)?)
    };
    /// The Gauss error function, elementwise (`torch.erf`).
    erf erf_: Erf, x, |g, x| g.mul(&x.mul(x)?.neg()?.exp()?.mul(TWO_OVER_SQRT_PI)?);
    /// `1 - erf(x)`, elementwise (`torch.erfc`).
    erfc erfc_: Erfc, x, |g, x| g.mul(&x.mul(x)?.neg()?.exp()?.mul(-TWO_OVER_SQRT_PI)?);
    /// `x * P(N <= x)` for a standard normal `N`, elementwise (`torch.nn.functional.gelu`).
    gelu gelu_: Gelu, x, |g, x| g.mul(&gelu_slope(x)?);
    /// The tanh approximation of [`Tensor::gelu`], elementwise (`gelu(approximate='tanh')`).
    gelu_tanh gelu_tanh_: GeluTanh, x, |g, x| g.mul(&gelu_tanh_slope(x)?);
    /// The largest integer not above x, elementwise (`torch.floor`).
    floor floor_: Floor, -, |g, ()| g.zeros_like();
    /// The smallest integer not below x, elementwise (`torch.ceil`).
    ceil ceil_: Ceil, -, |g, ()| g.zeros_like();
    /// The nearest integer, halves to even, elementwise (`torch.round`).
    round round_: Round, -, |g, ()| g.zeros_like();
    /// x without its fraction, elementwise (`torch.trunc`).
    trunc trunc_: Trunc, -, |g, ()| g.zeros_like();
    /// The fraction of x, with its sign, elementwise (`torch.frac`).
    frac frac_: Frac, -, |g, ()| Ok(g.clone());
}

unary_methods! {
    num_unary, num_unary_in_place, NumOp;
    /// `-x`, elementwise (`torch.neg`).
    neg neg_: Neg, -, |g, ()| g.neg();
    /// `|x|`, elementwise (`torch.abs`). The derivative at 0 is 0.
    abs abs_: Abs, x, |g, x| g.mul(&x.sign()?);
    /// -1, 0 or 1, elementwise (`torch.sign`).
    sign sign_: Sign, -, |g, ()| g.zeros_like();
    /// `max(x, 0)`, elementwise (`torch.relu`). The derivative at 0 is 0.
    relu relu_: Relu, y, |g, y| g.relu_backward(y);
}

/// The derivative of gelu: P(N <= x) + x * density(x).
fn gelu_slope(x: &Tensor) -> Result<Tensor> {
    let cdf = x.mul(std::f64::consts::FRAC_1_SQRT_2)?.erf()?.add(1.0)?.mul(0.5)?;
    let density =
        x.mul(x)?.mul(-0.5)?.exp()?.mul(0.5 * std::f64::consts::FRAC_1_SQRT_2 * TWO_OVER_SQRT_PI)?;
    cdf.add(&x.mul(&density)?)
}

fn gelu_tanh_slope(x: &Tensor) -> Result<Tensor> {
    let beta = std::f64::consts::SQRT_2 * TWO_OVER_SQRT_PI * 0.5;
    let kappa = 0.044715;
    let inner = x.add(&x.pow(3.0)?.mul(kappa)?)?.mul(beta)?;
    let t = inner.tanh()?;
    let inner_slope = x.mul(x)?.mul(3.0 * kappa)?.add(1.0)?.mul(beta)?;
    let left = t.add(1.0)?.mul(0.5)?;
    let right = x.mul(0.5)?.mul(&t.mul(&t)?.neg()?.add(1.0)?)?.mul(&inner_slope)?;
    left.add(&right)
}

/// Functions of the result's gradient `g` and the result `y` that are one kernel: `g * slope(y)`.
macro_rules! gradient_methods {
    ($($name:ident: $entry:ident, $code:expr, $text:literal, |$g:ident, $y:ident, $gg:ident| $dg:expr, $dy:expr;)*) => {
        impl Tensor {
            $(pub(crate) fn $name(&self, y: &Tensor) -> Result<Tensor> {
                let out = e::$entry($code, &*self.raw(), &*y.raw())?;
                Ok(record($text, out)
                    .input(self, || {
                        let y = y.save();
                        move |$gg: &Tensor| -> Result<Tensor> { let $y = &y.get()?; $dg }
                    })
                    .input(y, || {
                        let (g, y) = (self.save(), y.save());
                        move |$gg: &Tensor| -> Result<Tensor> { let ($g, $y) = (&g.get()?, &y.get()?); let _ = ($g, $y); $dy }
                    })
                    .done())
            })*
        }
    };
}

gradient_methods! {
    tanh_backward: float_binary, FloatBinaryOp::TanhGrad, "TanhBackwardBackward0", |g, y, gg|
        gg.tanh_backward(y), gg.mul(&g.mul(&y.mul(-2.0)?)?);
    sigmoid_backward: float_binary, FloatBinaryOp::SigmoidGrad, "SigmoidBackwardBackward0", |g, y, gg|
        gg.sigmoid_backward(y), gg.mul(&g.mul(&y.mul(-2.0)?.add(1.0)?)?);
    relu_backward: binary, BinaryOp::ReluGrad, "ThresholdBackwardBackward0", |g, y, gg|
        gg.relu_backward(y), gg.zeros_like();
}

/// The operands of a binary operation as a derivative sees them.
struct Operands {
    a: Option<Saved>,
    b: Option<SavedArg>,
}

impl Operands {
    fn save(a: &Tensor, b: Arg<'_>, reads: Reads) -> Operands {
        Operands {
            a: matches!(reads, Reads::A | Reads::Both).then(|| a.save()),
            b: matches!(reads, Reads::B | Reads::Both).then(|| b.save()),
        }
    }

    /// The left operand.
    fn a(&self) -> Result<Tensor> {
        self.a.as_ref().ok_or_else(not_saved)?.get()
    }

    /// Calls `f` with the right operand.
    fn b(&self, f: impl FnOnce(Arg<'_>) -> Result<Tensor>) -> Result<Tensor> {
        self.b.as_ref().ok_or_else(not_saved)?.with(f)
    }

    /// The right operand as a tensor of `like`'s kind.
    fn b_tensor(&self, like: &Tensor) -> Result<Tensor> {
        self.b(|b| match b {
            Arg::Tensor(t) => Ok(t.clone()),
            Arg::Scalar(s) => like.new_scalar(s),
        })
    }
}

fn not_saved() -> crate::Error {
    crate::Error::autograd("backward", "a derivative reads an operand that its rule does not save")
}

/// What a derivative reads.
#[derive(Clone, Copy, PartialEq)]
enum Reads {
    Nothing,
    A,
    B,
    Both,
}

/// The derivative with respect to one operand.
#[derive(Clone, Copy)]
enum Rule {
    /// The result's gradient, as it is.
    Pass,
    /// What it reads, and the function of the result's gradient.
    Call(Reads, fn(&Tensor, &Operands) -> Result<Tensor>),
}

impl Rule {
    fn reads_left(self) -> bool {
        matches!(self, Rule::Call(Reads::A | Reads::Both, _))
    }

    /// Records `t` as the operand that this is the derivative with respect to.
    fn record(self, rec: Recorder, t: &Tensor, saved: &impl Fn(Reads) -> Operands) -> Recorder {
        match self {
            Rule::Pass => rec.input_unchanged(t),
            Rule::Call(reads, derivative) => rec.input(t, || {
                let operands = saved(reads);
                move |g: &Tensor| derivative(g, &operands)
            }),
        }
    }
}

/// Records a binary operation on `a`, whose value before the operation is `before`, with the derivatives of both sides.
fn record_binary(
    rec: Recorder,
    a: &Tensor,
    saved: impl Fn(Reads) -> Operands,
    b: Arg<'_>,
    da: Rule,
    db: Rule,
) -> Recorder {
    let rec = da.record(rec, a, &saved);
    match b.tensor() {
        None => rec,
        Some(t) => db.record(rec, t, &saved),
    }
}

/// Methods of two operands. A row: the method, its in-place form, the entries and the op code, the node's name, and the
/// derivatives with respect to the left and the right operand.
macro_rules! binary_methods {
    ($($(#[$doc:meta])* $name:ident $name_:ident: $entry:ident, $entry_:ident, $code:expr, $text:literal, $da:expr, $db:expr;)*) => {
        impl Tensor {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// Shapes that do not broadcast, different devices, or dtypes PyTorch refuses.
                #[track_caller]
                pub fn $name<'a>(&self, other: impl Into<Arg<'a>>) -> Result<Tensor> {
                    let other = other.into();
                    let y = other.with(|o| e::$entry($code, &*self.raw(), o)).here()?;
                    if !Tensor::any_requires_grad(&[self, other.tensor().unwrap_or(self)]) {
                        return Ok(Tensor::from_raw(y));
                    }
                    let saved = |reads| Operands::save(self, other, reads);
                    Ok(record_binary(record($text, y).elementwise(), self, saved, other, $da, $db).done())
                }

                #[doc = concat!("In-place form of [`Tensor::", stringify!($name), "`].")]
                ///
                /// # Errors
                /// As the out-of-place form; a leaf that requires grad; a result that does not fit the shape or dtype.
                #[track_caller]
                pub fn $name_<'a>(&self, other: impl Into<Arg<'a>>) -> Result<()> {
                    let other = other.into();
                    inplace::check(stringify!($name_), self)?;
                    let (da, db): (Rule, Rule) = ($da, $db);
                    if !Tensor::any_requires_grad(&[self, other.tensor().unwrap_or(self)]) {
                        return other.with(|o| e::$entry_($code, &*self.raw(), o)).here();
                    }
                    // Derivatives read the operand as it was before.
                    let reads_a = da.reads_left() || db.reads_left();
                    let before = if reads_a { self.snapshot()? } else { self.clone() };
                    let aliased = other.tensor().filter(|t| t.shares_storage(self)).map(|t| t.snapshot()).transpose().here()?;
                    let right = aliased.as_ref().map_or(other, Arg::Tensor);
                    other.with(|o| e::$entry_($code, &*self.raw(), o)).here()?;
                    let rec = record($text, self.raw().clone()).elementwise();
                    let saved = |reads| Operands::save(&before, right, reads);
                    record_binary(rec, self, saved, other, da, db).done_in_place(self)
                }
            )*
        }
    };
}

use Reads::{A, B, Both, Nothing};
use Rule::{Call, Pass};

binary_methods! {
    /// `self + other`, with broadcasting (`torch.add`).
    add add_: binary, binary_in_place, BinaryOp::Add, "AddBackward0",
        Pass, Pass;
    /// `self - other`, with broadcasting (`torch.sub`).
    sub sub_: binary, binary_in_place, BinaryOp::Sub, "SubBackward0",
        Pass, Call(Nothing, |g, _| g.neg());
    /// `self * other`, with broadcasting (`torch.mul`).
    mul mul_: binary, binary_in_place, BinaryOp::Mul, "MulBackward0",
        Call(B, |g, o| o.b(|b| g.mul(b))), Call(A, |g, o| g.mul(&o.a()?));
    /// `self / other`, with broadcasting; integers give the default float dtype (`torch.div`).
    div div_: float_binary, float_binary_in_place, FloatBinaryOp::Div, "DivBackward0",
        Call(B, |g, o| o.b(|b| g.div(b))),
        Call(Both, |g, o| {
            let (a, b) = (o.a()?, o.b_tensor(g)?);
            g.neg()?.mul(&a.div(&b)?.div(&b)?)
        });
    /// `self` to the power `other`, with broadcasting (`torch.pow`).
    pow pow_: binary, binary_in_place, BinaryOp::Pow, "PowBackward0",
        Call(Both, pow_backward_base), Call(Both, pow_backward_exponent);
    /// The larger element, NaN if either is; at ties the gradient is shared equally (`torch.maximum`).
    maximum maximum_: binary, binary_in_place, BinaryOp::Maximum, "MaximumBackward0",
        Call(Both, |g, o| share(g, o, CompareOp::Lt)), Call(Both, |g, o| share(g, o, CompareOp::Gt));
    /// The smaller element, NaN if either is; at ties the gradient is shared equally (`torch.minimum`).
    minimum minimum_: binary, binary_in_place, BinaryOp::Minimum, "MinimumBackward0",
        Call(Both, |g, o| share(g, o, CompareOp::Gt)), Call(Both, |g, o| share(g, o, CompareOp::Lt));
    /// The larger element, the other one if one is NaN (`torch.fmax`).
    fmax fmax_: binary, binary_in_place, BinaryOp::Fmax, "FmaxBackward0",
        Call(Both, |g, o| keep_left(g, o, CompareOp::Ge, true)), Call(Both, |g, o| keep_left(g, o, CompareOp::Ge, false));
    /// The smaller element, the other one if one is NaN (`torch.fmin`).
    fmin fmin_: binary, binary_in_place, BinaryOp::Fmin, "FminBackward0",
        Call(Both, |g, o| keep_left(g, o, CompareOp::Le, true)), Call(Both, |g, o| keep_left(g, o, CompareOp::Le, false));
    /// `self - other * floor(self / other)`: the sign of the divisor, as Python's `%` (`torch.remainder`).
    remainder remainder_: binary, binary_in_place, BinaryOp::Remainder, "RemainderBackward0",
        Pass,
        Call(Both, |g, o| g.neg()?.mul(&o.b(|b| o.a()?.floor_divide(b))?));
    /// `self - other * trunc(self / other)`: the sign of the dividend, as C's `fmod` (`torch.fmod`).
    fmod fmod_: binary, binary_in_place, BinaryOp::Fmod, "FmodBackward0",
        Pass,
        Call(Both, |g, o| g.neg()?.mul(&o.b(|b| o.a()?.trunc_divide(b))?));
    /// `floor(self / other)` (`torch.floor_divide`, `div(rounding_mode='floor')`).
    floor_divide floor_divide_: binary, binary_in_place, BinaryOp::FloorDivide, "DivBackward1",
        Call(Nothing, |g, _| g.zeros_like()), Call(Nothing, |g, _| g.zeros_like());
    /// `trunc(self / other)` (`div(rounding_mode='trunc')`).
    trunc_divide trunc_divide_: binary, binary_in_place, BinaryOp::TruncDivide, "DivBackward1",
        Call(Nothing, |g, _| g.zeros_like()), Call(Nothing, |g, _| g.zeros_like());
    /// The angle of the point `(other, self)` (`torch.atan2`).
    atan2 atan2_: float_binary, float_binary_in_place, FloatBinaryOp::Atan2, "Atan2Backward0",
        Call(Both, |g, o| {
            let (a, b) = (o.a()?, o.b_tensor(g)?);
            g.mul(&b.div(&a.mul(&a)?.add(&b.mul(&b)?)?)?)
        }),
        Call(Both, |g, o| {
            let (a, b) = (o.a()?, o.b_tensor(g)?);
            g.neg()?.mul(&a.div(&a.mul(&a)?.add(&b.mul(&b)?)?)?)
        });
    /// `sqrt(self^2 + other^2)` (`torch.hypot`).
    hypot hypot_: float_binary, float_binary_in_place, FloatBinaryOp::Hypot, "HypotBackward0",
        Call(Both, |g, o| { let (a, b) = (o.a()?, o.b_tensor(g)?); g.mul(&a.div(&a.hypot(&b)?)?) }),
        Call(Both, |g, o| { let (a, b) = (o.a()?, o.b_tensor(g)?); g.mul(&b.div(&a.hypot(&b)?)?) });
}

fn pow_backward_base(g: &Tensor, o: &Operands) -> Result<Tensor> {
    let a = o.a()?;
    o.b(|b| match b {
        // Common powers without a call of pow each; x^0 has the slope 0 everywhere, also at 0.
        Arg::Scalar(s) => match s.to_f64() {
            0.0 => g.zeros_like(),
            1.0 => Ok(g.clone()),
            2.0 => g.mul(&a.mul(2.0)?),
            p => g.mul(&a.pow(p - 1.0)?.mul(p)?),
        },
        Arg::Tensor(b) => {
            let slope = b.mul(&a.pow(&b.sub(1.0)?)?)?;
            let zero = b.eq(0.0)?;
            g.mul(&slope.masked_fill(&zero, 0.0)?)
        }
    })
}

fn pow_backward_exponent(g: &Tensor, o: &Operands) -> Result<Tensor> {
    let (a, b) = (o.a()?, o.b_tensor(g)?);
    // 0^b has the slope 0 for b >= 0, where the formula gives 0 * -inf.
    let flat = a.eq(0.0)?.logical_and(&b.ge(0.0)?)?;
    let slope = a.pow(&b)?.mul(&a.log()?)?;
    g.mul(&slope.masked_fill(&flat, 0.0)?)
}

/// The gradient but where this side loses, half of it where both are equal. Where NaN leaves it open, both get it.
fn share(g: &Tensor, o: &Operands, loses: CompareOp) -> Result<Tensor> {
    let (a, b) = (o.a()?, o.b_tensor(g)?);
    let shared = g.div(2.0)?.where_self(&a.eq(&b)?, g)?;
    shared.masked_fill(&a.compare(loses, &b)?, 0.0)
}

/// The gradient of fmax and fmin: all of it to the left where `wins` holds or the right is NaN, else to the right.
fn keep_left(g: &Tensor, o: &Operands, wins: CompareOp, left: bool) -> Result<Tensor> {
    let (a, b) = (o.a()?, o.b_tensor(g)?);
    let to_left = a.compare(wins, &b)?.logical_or(&b.isnan()?)?;
    let drop = if left { to_left.logical_not()? } else { to_left };
    g.masked_fill(&drop, 0.0)
}

impl Tensor {
    /// A comparison by its op code.
    #[track_caller]
    pub(crate) fn compare<'a>(&self, code: CompareOp, other: impl Into<Arg<'a>>) -> Result<Tensor> {
        Ok(Tensor::from_raw(other.into().with(|o| e::compare(code, &*self.raw(), o)).here()?))
    }
}
