//! Elementwise functions of one operand: a row per function with its derivative.

use kiln_ops::RawTensor;
use kiln_ops::elementwise::{self as e, BinaryOp, CompareOp, FloatBinaryOp, FloatOp, NumOp};
use kiln_ops::special::{self, SpecialOp};

use crate::arg::Arg;
use crate::node::{Derivative, InputFn, OutputFn};
use crate::record::record;
use crate::{Error, Here, Result, Tensor, inplace};

/// The op code, for the entry that takes it.
#[derive(Clone, Copy)]
pub(crate) enum Code {
    Float(FloatOp),
    Num(NumOp),
    Special(SpecialOp),
}

impl Code {
    fn run(self, x: &RawTensor) -> Result<RawTensor> {
        match self {
            Code::Float(code) => e::float_unary(code, x),
            Code::Num(code) => e::num_unary(code, x),
            Code::Special(code) => special::special(code, x),
        }
    }

    fn run_in_place(self, x: &RawTensor) -> Result<()> {
        match self {
            Code::Float(code) => e::float_unary_in_place(code, x),
            Code::Num(code) => e::num_unary_in_place(code, x),
            Code::Special(code) => special::special_(code, x),
        }
    }
}

/// The derivative of a function of one operand, by what it reads beside the result's gradient.
#[derive(Clone, Copy)]
pub(crate) enum Slope {
    Operand(fn(&Tensor, &Tensor) -> Result<Tensor>),
    /// Made when it is needed, which takes no memory, where a pointer to a function would.
    Result(fn() -> OutputFn),
    Nothing(fn() -> InputFn),
}

impl Tensor {
    /// A function of one operand, by its entry.
    #[track_caller]
    pub(crate) fn unary(&self, name: &'static str, code: Code, slope: Slope) -> Result<Tensor> {
        let y = code.run(&self.raw()).here()?;
        let rec = record(name, y).elementwise();
        Ok(match slope {
            Slope::Operand(slope) => rec.input(self, || {
                let x = self.save();
                move |g: &Tensor| slope(g, x.borrow()?)
            }),
            Slope::Result(slope) => rec.input_with(self, || Derivative::Output(slope())),
            Slope::Nothing(slope) => rec.input_with(self, || Derivative::Input(slope())),
        }
        .done())
    }

    /// The in-place form `op` of [`Tensor::unary`].
    #[track_caller]
    pub(crate) fn unary_in_place(
        &self,
        op: &'static str,
        name: &'static str,
        code: Code,
        slope: Slope,
    ) -> Result<()> {
        inplace::check(op, self)?;
        let before = match slope {
            Slope::Operand(_) => self.save_copy_if_needed()?,
            _ => None,
        };
        code.run_in_place(&self.raw()).here()?;
        let rec = record(name, self.raw().clone()).elementwise();
        match slope {
            Slope::Operand(slope) => rec.input(self, || {
                move |g: &Tensor| match &before {
                    Some(x) => slope(g, x.borrow()?),
                    None => Err(Error::autograd("backward", "the operand was not saved")),
                }
            }),
            Slope::Result(slope) => rec.input_with(self, || Derivative::Output(slope())),
            Slope::Nothing(slope) => rec.input_with(self, || Derivative::Input(slope())),
        }
        .done_in_place(self)
    }
}

/// Methods of one operand. A row: the method, its in-place form, the op code, what the derivative reads (`x`: the
/// operand, `y`: the result, `-`: nothing) and the derivative, from the result's gradient `g`.
macro_rules! unary_methods {
    ($kind:ident, $codes:ident; $($(#[$doc:meta])* $name:ident $name_:ident: $code:ident, $from:tt, |$g:pat_param, $v:pat_param| $d:expr;)*) => {
        impl Tensor {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// The dtype is not one PyTorch has this function for, or memory is not there.
                #[track_caller]
                pub fn $name(&self) -> Result<Tensor> {
                    const NAME: &str = concat!(stringify!($code), "Backward0");
                    let slope = unary_methods!(@slope $from, |$g, $v| $d);
                    self.unary(NAME, Code::$kind($codes::$code), slope)
                }

                #[doc = concat!("In-place form of [`Tensor::", stringify!($name), "`].")]
                ///
                /// # Errors
                /// As the out-of-place form; a leaf that requires grad; a result that does not fit the dtype.
                #[track_caller]
                pub fn $name_(&self) -> Result<()> {
                    const NAME: &str = concat!(stringify!($code), "Backward0");
                    let slope = unary_methods!(@slope $from, |$g, $v| $d);
                    self.unary_in_place(stringify!($name_), NAME, Code::$kind($codes::$code), slope)
                }
            )*
        }
    };
    (@slope x, |$g:pat_param, $x:pat_param| $d:expr) => { Slope::Operand(|$g, $x| $d) };
    (@slope y, |$g:pat_param, $y:pat_param| $d:expr) => { Slope::Result(|| Box::new(|$g: &Tensor, $y: &Tensor| $d)) };
    (@slope -, |$g:pat_param, $nothing:pat_param| $d:expr) => {
        Slope::Nothing(|| {
            Box::new(|$g: &Tensor| {
                let $nothing = ();
                $d
            })
        })
    };
}

pub(crate) use unary_methods;

/// 2 / sqrt(pi), the slope of erf at 0.
const TWO_OVER_SQRT_PI: f64 = std::f64::consts::FRAC_2_SQRT_PI;
const LN_2: f64 = std::f64::consts::LN_2;
const LN_10: f64 = std::f64::consts::LN_10;

unary_methods! {
    Float, FloatOp;
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
    Num, NumOp;
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

impl Tensor {
    /// A comparison by its op code.
    #[track_caller]
    pub(crate) fn compare(&self, code: CompareOp, other: Arg<'_>) -> Result<Tensor> {
        Ok(Tensor::from_raw(other.with(|o| e::compare(code, &*self.raw(), o)).here()?))
    }
}
