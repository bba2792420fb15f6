//! The second operand of an operation: a tensor or a number.

use kiln_ops::{Operand, Scalar};

use crate::Tensor;

/// A tensor, or a plain number, which takes part in type promotion only by its class (bool, integer, float).
///
/// Methods take `impl Into<Arg>`, so that `x.add(&y)`, `x.add(1)` and `x.add(0.5)` all work.
#[derive(Clone, Copy)]
pub enum Arg<'a> {
    /// A tensor.
    Tensor(&'a Tensor),
    /// A number.
    Scalar(Scalar),
}

impl<'a> Arg<'a> {
    /// Calls `f` with the operand that kiln-ops takes.
    #[inline]
    pub(crate) fn with<R>(self, f: impl FnOnce(Operand<'_>) -> R) -> R {
        match self {
            Arg::Tensor(t) => f(Operand::Tensor(&t.raw())),
            Arg::Scalar(s) => f(Operand::Scalar(s)),
        }
    }

    /// The tensor, if it is one.
    #[inline]
    pub fn tensor(self) -> Option<&'a Tensor> {
        match self {
            Arg::Tensor(t) => Some(t),
            Arg::Scalar(_) => None,
        }
    }

    /// The operand for use in a derivative.
    #[inline]
    pub(crate) fn save(self) -> SavedArg {
        match self {
            Arg::Tensor(t) => SavedArg::Tensor(t.save()),
            Arg::Scalar(s) => SavedArg::Scalar(s),
        }
    }
}

/// An operand remembered for a derivative.
pub(crate) enum SavedArg {
    Tensor(crate::Saved),
    Scalar(Scalar),
}

impl SavedArg {
    /// Calls `f` with the operand.
    #[track_caller]
    pub(crate) fn with<R>(&self, f: impl FnOnce(Arg<'_>) -> crate::Result<R>) -> crate::Result<R> {
        match self {
            SavedArg::Tensor(t) => f(Arg::Tensor(t.borrow()?)),
            SavedArg::Scalar(s) => f(Arg::Scalar(*s)),
        }
    }
}

impl<'a> From<&'a Tensor> for Arg<'a> {
    #[inline]
    fn from(t: &'a Tensor) -> Arg<'a> {
        Arg::Tensor(t)
    }
}

macro_rules! arg_from {
    ($($t:ty),*) => {
        $(impl From<$t> for Arg<'_> {
            #[inline]
            fn from(s: $t) -> Self {
                Arg::Scalar(s.into())
            }
        })*
    };
}
arg_from!(Scalar, bool, u8, i8, i16, i32, i64, u32, usize, f32, f64);
