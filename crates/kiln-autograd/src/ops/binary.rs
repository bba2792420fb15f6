//! The arithmetic of two operands: a row per operation with its derivatives.

use kiln_ops::elementwise::{self as e, BinaryOp, CompareOp, FloatBinaryOp};
use kiln_ops::{Operand, RawTensor};

use crate::arg::{Arg, SavedArg};
use crate::record::{Recorder, Saved, record};
use crate::{Here, Result, Tensor, inplace};

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

    /// Records `t` as the operand that this is the derivative with respect to; `a` and `b` are the operands as they were
    /// before the operation.
    fn record(self, rec: Recorder, t: &Tensor, a: &Tensor, b: Arg<'_>) -> Recorder {
        match self {
            Rule::Pass => rec.input_unchanged(t),
            Rule::Call(reads, derivative) => rec.input(t, || {
                let operands = Operands::save(a, b, reads);
                move |g: &Tensor| derivative(g, &operands)
            }),
        }
    }
}

/// The op code, for the entry that takes it.
#[derive(Clone, Copy)]
enum Code {
    Num(BinaryOp),
    Float(FloatBinaryOp),
}

impl Code {
    fn run(self, a: &RawTensor, b: Operand<'_>) -> Result<RawTensor> {
        match self {
            Code::Num(code) => e::binary(code, a, b),
            Code::Float(code) => e::float_binary(code, a, b),
        }
    }

    fn run_in_place(self, a: &RawTensor, b: Operand<'_>) -> Result<()> {
        match self {
            Code::Num(code) => e::binary_in_place(code, a, b),
            Code::Float(code) => e::float_binary_in_place(code, a, b),
        }
    }
}

/// What one operation has of its own: the op code, the node's name and the derivatives with respect to the left and the
/// right operand.
struct Binary {
    code: Code,
    name: &'static str,
    da: Rule,
    db: Rule,
}

impl Binary {
    /// The operation's result.
    #[track_caller]
    fn of(&self, a: &Tensor, b: Arg<'_>) -> Result<Tensor> {
        let y = b.with(|b| self.code.run(&a.raw(), b)).here()?;
        if !Tensor::any_requires_grad(&[a, b.tensor().unwrap_or(a)]) {
            return Ok(Tensor::from_raw(y));
        }
        let rec = self.da.record(record(self.name, y).elementwise(), a, a, b);
        Ok(match b.tensor() {
            None => rec,
            Some(t) => self.db.record(rec, t, a, b),
        }
        .done())
    }

    /// Makes `a` the operation's result.
    #[track_caller]
    fn change(&self, op: &'static str, a: &Tensor, b: Arg<'_>) -> Result<()> {
        inplace::check(op, a)?;
        if !Tensor::any_requires_grad(&[a, b.tensor().unwrap_or(a)]) {
            return b.with(|b| self.code.run_in_place(&a.raw(), b)).here();
        }
        // Derivatives read the operand as it was before.
        let reads_a = self.da.reads_left() || self.db.reads_left();
        let before = if reads_a { a.snapshot()? } else { a.clone() };
        let aliased = match b.tensor() {
            Some(t) if t.shares_storage(a) => Some(t.snapshot()?),
            _ => None,
        };
        let right = aliased.as_ref().map_or(b, Arg::Tensor);
        b.with(|b| self.code.run_in_place(&a.raw(), b)).here()?;
        let rec = self.da.record(record(self.name, a.raw().clone()).elementwise(), a, &before, right);
        match b.tensor() {
            None => rec,
            Some(t) => self.db.record(rec, t, &before, right),
        }
        .done_in_place(a)
    }
}

/// Methods of two operands. A row: the method, its in-place form, the op code, the node's name, and the
/// derivatives with respect to the left and the right operand.
macro_rules! binary_methods {
    ($($(#[$doc:meta])* $name:ident $name_:ident: $code:expr, $text:literal, $da:expr, $db:expr;)*) => {
        /// The rows, under the methods' names.
        #[allow(non_upper_case_globals)]
        mod rows {
            use super::*;
            $(pub(super) static $name: Binary = Binary {
                code: $code,
                name: $text,
                da: $da,
                db: $db,
            };)*
        }

        impl Tensor {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// Shapes that do not broadcast, different devices, or dtypes PyTorch refuses.
                #[track_caller]
                pub fn $name<'a>(&self, other: impl Into<Arg<'a>>) -> Result<Tensor> {
                    rows::$name.of(self, other.into())
                }

                #[doc = concat!("In-place form of [`Tensor::", stringify!($name), "`].")]
                ///
                /// # Errors
                /// As the out-of-place form; a leaf that requires grad; a result that does not fit the shape or dtype.
                #[track_caller]
                pub fn $name_<'a>(&self, other: impl Into<Arg<'a>>) -> Result<()> {
                    rows::$name.change(stringify!($name_), self, other.into())
                }
            )*
        }
    };
}

use Code::{Float, Num};
use Reads::{A, B, Both, Nothing};
use Rule::{Call, Pass};

binary_methods! {
    /// `self + other`, with broadcasting (`torch.add`).
    add add_: Num(BinaryOp::Add), "AddBackward0",
        Pass, Pass;
    /// `self - other`, with broadcasting (`torch.sub`).
    sub sub_: Num(BinaryOp::Sub), "SubBackward0",
        Pass, Call(Nothing, |g, _| g.neg());
    /// `self * other`, with broadcasting (`torch.mul`).
    mul mul_: Num(BinaryOp::Mul), "MulBackward0",
        Call(B, |g, o| o.b(|b| g.mul(b))), Call(A, |g, o| g.mul(&o.a()?));
    /// `self / other`, with broadcasting; integers give the default float dtype (`torch.div`).
    div div_: Float(FloatBinaryOp::Div), "DivBackward0",
        Call(B, |g, o| o.b(|b| g.div(b))),
        Call(Both, |g, o| {
            let (a, b) = (o.a()?, o.b_tensor(g)?);
            g.neg()?.mul(&a.div(&b)?.div(&b)?)
        });
    /// `self` to the power `other`, with broadcasting (`torch.pow`).
    pow pow_: Num(BinaryOp::Pow), "PowBackward0",
        Call(Both, pow_backward_base), Call(Both, pow_backward_exponent);
    /// The larger element, NaN if either is; at ties the gradient is shared equally (`torch.maximum`).
    maximum maximum_: Num(BinaryOp::Maximum), "MaximumBackward0",
        Call(Both, |g, o| share(g, o, CompareOp::Lt)), Call(Both, |g, o| share(g, o, CompareOp::Gt));
    /// The smaller element, NaN if either is; at ties the gradient is shared equally (`torch.minimum`).
    minimum minimum_: Num(BinaryOp::Minimum), "MinimumBackward0",
        Call(Both, |g, o| share(g, o, CompareOp::Gt)), Call(Both, |g, o| share(g, o, CompareOp::Lt));
    /// The larger element, the other one if one is NaN (`torch.fmax`).
    fmax fmax_: Num(BinaryOp::Fmax), "FmaxBackward0",
        Call(Both, |g, o| keep_left(g, o, CompareOp::Ge, true)), Call(Both, |g, o| keep_left(g, o, CompareOp::Ge, false));
    /// The smaller element, the other one if one is NaN (`torch.fmin`).
    fmin fmin_: Num(BinaryOp::Fmin), "FminBackward0",
        Call(Both, |g, o| keep_left(g, o, CompareOp::Le, true)), Call(Both, |g, o| keep_left(g, o, CompareOp::Le, false));
    /// `self - other * floor(self / other)`: the sign of the divisor, as Python's `%` (`torch.remainder`).
    remainder remainder_: Num(BinaryOp::Remainder), "RemainderBackward0",
        Pass,
        Call(Both, |g, o| g.neg()?.mul(&o.b(|b| o.a()?.floor_divide(b))?));
    /// `self - other * trunc(self / other)`: the sign of the dividend, as C's `fmod` (`torch.fmod`).
    fmod fmod_: Num(BinaryOp::Fmod), "FmodBackward0",
        Pass,
        Call(Both, |g, o| g.neg()?.mul(&o.b(|b| o.a()?.trunc_divide(b))?));
    /// `floor(self / other)` (`torch.floor_divide`, `div(rounding_mode='floor')`).
    floor_divide floor_divide_: Num(BinaryOp::FloorDivide), "DivBackward1",
        Call(Nothing, |g, _| g.zeros_like()), Call(Nothing, |g, _| g.zeros_like());
    /// `trunc(self / other)` (`div(rounding_mode='trunc')`).
    trunc_divide trunc_divide_: Num(BinaryOp::TruncDivide), "DivBackward1",
        Call(Nothing, |g, _| g.zeros_like()), Call(Nothing, |g, _| g.zeros_like());
    /// The angle of the point `(other, self)` (`torch.atan2`).
    atan2 atan2_: Float(FloatBinaryOp::Atan2), "Atan2Backward0",
        Call(Both, |g, o| {
            let (a, b) = (o.a()?, o.b_tensor(g)?);
            g.mul(&b.div(&a.mul(&a)?.add(&b.mul(&b)?)?)?)
        }),
        Call(Both, |g, o| {
            let (a, b) = (o.a()?, o.b_tensor(g)?);
            g.neg()?.mul(&a.div(&a.mul(&a)?.add(&b.mul(&b)?)?)?)
        });
    /// `sqrt(self^2 + other^2)` (`torch.hypot`).
    hypot hypot_: Float(FloatBinaryOp::Hypot), "HypotBackward0",
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
    shared.masked_fill(&a.compare(loses, Arg::Tensor(&b))?, 0.0)
}

/// The gradient of fmax and fmin: all of it to the left where `wins` holds or the right is NaN, else to the right.
fn keep_left(g: &Tensor, o: &Operands, wins: CompareOp, left: bool) -> Result<Tensor> {
    let (a, b) = (o.a()?, o.b_tensor(g)?);
    let to_left = a.compare(wins, Arg::Tensor(&b))?.logical_or(&b.isnan()?)?;
    let drop = if left { to_left.logical_not()? } else { to_left };
    g.masked_fill(&drop, 0.0)
}
