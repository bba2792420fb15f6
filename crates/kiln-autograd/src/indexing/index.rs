//! The parts that an index is made of, and what converts to them.

use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

use kiln_ops::DType;

use crate::Tensor;

/// One part of an index.
#[derive(Clone, Debug)]
pub enum Index {
    /// One position of an axis, which disappears.
    At(i64),
    /// Some positions of an axis.
    Slice(Slice),
    /// A new axis of size 1.
    NewAxis,
    /// All axes that no other part is for.
    Ellipsis,
    /// A new axis of size 1 (`true`) or 0 (`false`).
    Bool(bool),
    /// Positions of one axis as an integer tensor, or a mask of as many axes as it has.
    Tensor(Tensor),
}

/// A new axis of size 1, Python's `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewAxis;

/// All axes that no other part of the index is for, Python's `...`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ellipsis;

/// Positions `start`, `start + step`, ... before `end`, Python's `start:end:step`. Negative bounds count from the end of the
/// axis, bounds outside of it are moved to it, and `None` is the end of the axis on that side.
///
/// Ranges convert to it. Clippy takes a literal `1..-1` for a mistake; `Slice::new(1, -1, 1)` says the same.
///
/// ```
/// use kiln_autograd::{Slice, Tensor, s};
/// let x = Tensor::arange(10);
/// assert_eq!(x.i(Slice::new(1, None, 3))?.to_vec::<i64>()?, [1, 4, 7]);
/// assert_eq!(x.i(s![-4..; 2])?.to_vec::<i64>()?, [6, 8]);
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    pub(super) start: Option<i64>,
    pub(super) end: Option<i64>,
    pub(super) step: i64,
}

impl Slice {
    /// Python's `start:end:step`.
    pub fn new(start: impl Into<Option<i64>>, end: impl Into<Option<i64>>, step: i64) -> Slice {
        Slice { start: start.into(), end: end.into(), step }
    }

    /// The same range in steps of `step`.
    pub fn step(self, step: i64) -> Slice {
        Slice { step, ..self }
    }
}

/// A range with a step, as a part of an index: `s![1..7; 2]` is Python's `1:7:2`, `s![..; 2]` is `::2`.
#[macro_export]
macro_rules! s {
    ($range:expr ; $step:expr) => {
        $crate::Slice::from($range).step($step)
    };
}

/// A position as Python's integers count; what does not fit lies outside of every axis.
trait Position {
    fn position(self) -> i64;
}

macro_rules! positions {
    ($($t:ty)*) => {$(
        impl Position for $t {
            #[inline]
            fn position(self) -> i64 {
                i64::try_from(self).unwrap_or(i64::MAX)
            }
        }
        impl From<$t> for Index {
            #[inline]
            fn from(at: $t) -> Index {
                Index::At(at.position())
            }
        }
        impl From<Range<$t>> for Slice {
            fn from(r: Range<$t>) -> Slice {
                Slice::new(r.start.position(), r.end.position(), 1)
            }
        }
        impl From<RangeFrom<$t>> for Slice {
            fn from(r: RangeFrom<$t>) -> Slice {
                Slice::new(r.start.position(), None, 1)
            }
        }
        impl From<RangeTo<$t>> for Slice {
            fn from(r: RangeTo<$t>) -> Slice {
                Slice::new(None, r.end.position(), 1)
            }
        }
        impl From<RangeInclusive<$t>> for Slice {
            fn from(r: RangeInclusive<$t>) -> Slice {
                Slice::new(r.start().position(), after(r.end().position()), 1)
            }
        }
        impl From<RangeToInclusive<$t>> for Slice {
            fn from(r: RangeToInclusive<$t>) -> Slice {
                Slice::new(None, after(r.end.position()), 1)
            }
        }
        slices_as_parts! { Range<$t>, RangeFrom<$t>, RangeTo<$t>, RangeInclusive<$t>, RangeToInclusive<$t> }
        lists_as_parts! { $t }
    )*};
}

macro_rules! slices_as_parts {
    ($($t:ty),*) => {$(
        impl From<$t> for Index {
            fn from(range: $t) -> Index {
                Index::Slice(range.into())
            }
        }
    )*};
}

macro_rules! lists_as_parts {
    ($t:ty) => {
        impl From<&[$t]> for Index {
            fn from(list: &[$t]) -> Index {
                Index::Tensor(Tensor::from(list.iter().map(|&at| at.position()).collect::<Vec<i64>>()))
            }
        }
        lists_as_slices! { $t }
    };
}

macro_rules! lists_as_slices {
    ($t:ty) => {
        impl From<Vec<$t>> for Index {
            fn from(list: Vec<$t>) -> Index {
                Index::from(list.as_slice())
            }
        }
        impl From<&Vec<$t>> for Index {
            fn from(list: &Vec<$t>) -> Index {
                Index::from(list.as_slice())
            }
        }
        impl<const N: usize> From<[$t; N]> for Index {
            fn from(list: [$t; N]) -> Index {
                Index::from(list.as_slice())
            }
        }
        impl<const N: usize> From<&[$t; N]> for Index {
            fn from(list: &[$t; N]) -> Index {
                Index::from(list.as_slice())
            }
        }
    };
}

positions!(i32 i64 usize);

/// The end of a slice that goes up to and with `last`: after -1, the last position, there is no number for it.
fn after(last: i64) -> Option<i64> {
    (last != -1).then(|| last.saturating_add(1))
}

impl From<RangeFull> for Slice {
    fn from(_: RangeFull) -> Slice {
        Slice::new(None, None, 1)
    }
}

slices_as_parts! { RangeFull, Slice }

/// A mask, as a list.
impl From<&[bool]> for Index {
    fn from(mask: &[bool]) -> Index {
        Index::Tensor(Tensor::from(mask))
    }
}
lists_as_slices! { bool }

impl From<bool> for Index {
    fn from(keep: bool) -> Index {
        Index::Bool(keep)
    }
}

impl From<NewAxis> for Index {
    fn from(_: NewAxis) -> Index {
        Index::NewAxis
    }
}

impl From<Ellipsis> for Index {
    fn from(_: Ellipsis) -> Index {
        Index::Ellipsis
    }
}

impl From<&Tensor> for Index {
    fn from(t: &Tensor) -> Index {
        Index::Tensor(t.clone())
    }
}

impl From<Tensor> for Index {
    fn from(t: Tensor) -> Index {
        Index::Tensor(t)
    }
}

impl Index {
    /// How many axes of the tensor the part is for; the ellipsis is for the rest.
    pub(super) fn axes(&self) -> usize {
        match self {
            Index::At(_) | Index::Slice(_) => 1,
            Index::NewAxis | Index::Ellipsis | Index::Bool(_) => 0,
            Index::Tensor(t) if matches!(t.dtype(), DType::Bool | DType::U8) => t.rank(),
            Index::Tensor(_) => 1,
        }
    }
}

/// An index: a part, a tuple of up to eight parts, or a slice of parts made at run time.
pub trait Indices {
    /// Calls `f` with the parts.
    fn with<R>(self, f: impl FnOnce(&[Index]) -> R) -> R;
}

impl<T: Into<Index>> Indices for T {
    #[inline]
    fn with<R>(self, f: impl FnOnce(&[Index]) -> R) -> R {
        f(&[self.into()])
    }
}

impl Indices for &[Index] {
    fn with<R>(self, f: impl FnOnce(&[Index]) -> R) -> R {
        f(self)
    }
}

/// No part: the whole tensor, Python's `x[()]`.
impl Indices for () {
    fn with<R>(self, f: impl FnOnce(&[Index]) -> R) -> R {
        f(&[])
    }
}

macro_rules! tuples {
    ($(($($T:ident)+))*) => {$(
        impl<$($T: Into<Index>),+> Indices for ($($T,)+) {
            #[inline]
            fn with<Out>(self, f: impl FnOnce(&[Index]) -> Out) -> Out {
                #[allow(non_snake_case)]
                let ($($T,)+) = self;
                f(&[$($T.into()),+])
            }
        }
    )*};
}
tuples! { (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H) }
