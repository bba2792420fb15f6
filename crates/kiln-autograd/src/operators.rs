//! `+ - * / % -x`, `& | ^ !`, `<< >>` and their assigning forms, between tensors and numbers.
//!
//! They do what the methods do and panic, with the method's error and at the caller's line, where the method fails.
//! Assignment works in place, as in PyTorch: every view of the memory sees it.
//!
//! A number on the left is an `f64` or `i64`: one type for each kind of literal lets Rust see what `2.0 * &x` is before
//! it looks at what is done with it.

// The module and not its traits: where these are in scope, `t.mul(x)` of an owned `t` is the operator, not the method.
use std::ops;

use kiln_ops::elementwise::{BinaryOp, binary};
use kiln_ops::{DType, Scalar};

use crate::record::record;
use crate::{Arg, Here, Result, Tensor};

/// What may stand on the right of an operator: `&Tensor`, `Tensor` or a number.
pub trait Right {
    /// The operand.
    fn arg(&self) -> Arg<'_>;
}

impl Right for Tensor {
    #[inline]
    fn arg(&self) -> Arg<'_> {
        Arg::Tensor(self)
    }
}

impl Right for &Tensor {
    #[inline]
    fn arg(&self) -> Arg<'_> {
        Arg::Tensor(self)
    }
}

macro_rules! numbers_on_the_right {
    ($($t:ty)*) => {$(
        impl Right for $t {
            #[inline]
            fn arg(&self) -> Arg<'_> {
                Arg::Scalar((*self).into())
            }
        }
    )*};
}
numbers_on_the_right!(Scalar bool u8 i8 i16 i32 i64 u32 usize f32 f64);

/// The result, or a panic with the error's text at the line of the operator.
#[inline]
#[track_caller]
fn or_panic<T>(result: Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{}", error.kind()),
    }
}

macro_rules! operators {
    ($($Op:ident $op:ident = $method:ident;)*) => {$(
        impl<R: Right> ops::$Op<R> for &Tensor {
            type Output = Tensor;
            #[inline]
            #[track_caller]
            fn $op(self, right: R) -> Tensor {
                or_panic(Tensor::$method(self, right.arg()))
            }
        }
        impl<R: Right> ops::$Op<R> for Tensor {
            type Output = Tensor;
            #[inline]
            #[track_caller]
            fn $op(self, right: R) -> Tensor {
                or_panic(Tensor::$method(&self, right.arg()))
            }
        }
    )*};
}
operators! {
    Add add = add;
    Sub sub = sub;
    Mul mul = mul;
    Div div = div;
    Rem rem = remainder;
    BitAnd bitand = bitwise_and;
    BitOr bitor = bitwise_or;
    BitXor bitxor = bitwise_xor;
    Shl shl = bitwise_left_shift;
    Shr shr = bitwise_right_shift;
}

macro_rules! assigning_operators {
    ($($Op:ident $op:ident = $method:ident;)*) => {$(
        impl<R: Right> ops::$Op<R> for Tensor {
            #[inline]
            #[track_caller]
            fn $op(&mut self, right: R) {
                or_panic(Tensor::$method(self, right.arg()));
            }
        }
    )*};
}
assigning_operators! {
    AddAssign add_assign = add_;
    SubAssign sub_assign = sub_;
    MulAssign mul_assign = mul_;
    DivAssign div_assign = div_;
    RemAssign rem_assign = remainder_;
    BitAndAssign bitand_assign = bitwise_and_;
    BitOrAssign bitor_assign = bitwise_or_;
    BitXorAssign bitxor_assign = bitwise_xor_;
}

macro_rules! numbers_on_the_left {
    ($number:ty: $($Op:ident $op:ident = |$s:ident, $t:ident| $e:expr;)*) => {$(
        impl ops::$Op<&Tensor> for $number {
            type Output = Tensor;
            #[inline]
            #[track_caller]
            fn $op(self, $t: &Tensor) -> Tensor {
                let $s = Scalar::from(self);
                or_panic($e)
            }
        }
        impl ops::$Op<Tensor> for $number {
            type Output = Tensor;
            #[inline]
            #[track_caller]
            fn $op(self, right: Tensor) -> Tensor {
                ops::$Op::$op(self, &right)
            }
        }
    )*};
    ($($number:ty)*) => {$(
        numbers_on_the_left! { $number:
            Add add = |s, t| Tensor::add(t, s);
            Sub sub = |s, t| number_minus(s, t);
            Mul mul = |s, t| Tensor::mul(t, s);
            Div div = |s, t| number_over(s, t);
            Rem rem = |s, t| number_modulo(s, t);
        }
    )*};
}
numbers_on_the_left!(f64 i64);

#[track_caller]
fn number_minus(s: Scalar, t: &Tensor) -> Result<Tensor> {
    let y = binary(BinaryOp::Sub, s, &*t.raw()).here()?;
    Ok(record("RsubBackward1", y).input(t, || |g: &Tensor| g.neg()).done())
}

/// As PyTorch does it, so that the history and the last bit are the same.
#[track_caller]
fn number_over(s: Scalar, t: &Tensor) -> Result<Tensor> {
    Tensor::mul(&t.reciprocal()?, s)
}

#[track_caller]
fn number_modulo(s: Scalar, t: &Tensor) -> Result<Tensor> {
    let y = binary(BinaryOp::Remainder, s, &*t.raw()).here()?;
    Ok(record("RemainderBackward0", y)
        .input(t, || {
            let t = t.save();
            move |g: &Tensor| {
                let quotient = t.get()?.reciprocal()?.mul(s)?.floor()?;
                g.neg()?.mul(&quotient)
            }
        })
        .done())
}

impl ops::Neg for &Tensor {
    type Output = Tensor;
    #[inline]
    #[track_caller]
    fn neg(self) -> Tensor {
        or_panic(Tensor::neg(self))
    }
}

impl ops::Neg for Tensor {
    type Output = Tensor;
    #[inline]
    #[track_caller]
    fn neg(self) -> Tensor {
        or_panic(Tensor::neg(&self))
    }
}

/// The opposite truth value, or every bit of an integer flipped.
impl ops::Not for &Tensor {
    type Output = Tensor;
    #[track_caller]
    fn not(self) -> Tensor {
        or_panic(if self.dtype() == DType::Bool { self.logical_not() } else { self.bitwise_xor(-1) })
    }
}

impl ops::Not for Tensor {
    type Output = Tensor;
    #[track_caller]
    fn not(self) -> Tensor {
        !&self
    }
}
