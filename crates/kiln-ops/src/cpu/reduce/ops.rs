//! The table of reductions: what each does with an element, and how it combines two results.

use std::marker::PhantomData;

use kiln_storage::{DType, Element};

use super::fold::Fold;
use crate::cpu::arch::{Arch, Portable};
use crate::cpu::real::{Computed, Float, Number, Real};

/// A row: the type of elements `$i`, the accumulation, its start, the map of an element and a shift, the combination.
macro_rules! folds {
    ($($(#[$doc:meta])* $name:ident<$($p:ident: $bound:ident),*> [$i:ident => $acc:ty] hot $hot:expr, shifted $shifted:expr,
        start $start:expr, map<$a:ident> |$x:ident, $shift:ident| $map:expr, join |$l:ident, $r:ident| $join:expr;)*) => {
        $($(#[$doc])*
        pub(crate) struct $name<$($p),*>(PhantomData<($($p,)*)>);
        impl<$($p: $bound),*> Fold for $name<$($p),*> {
            type In = $i;
            type Acc = $acc;
            const START: $acc = $start;
            const HOT: bool = $hot;
            const SHIFTED: bool = $shifted;
            #[inline(always)]
            fn map<$a: Arch>($x: $i, $shift: $acc) -> $acc {
                $map
            }
            #[inline(always)]
            fn join($l: $acc, $r: $acc) -> $acc {
                $join
            }
        })*
    };
}

/// Worth a version for every instruction set.
const fn single<T: Element>() -> bool {
    matches!(T::DTYPE, DType::F32)
}

folds! {
    Sum<T: Element, S: Number> [T => S] hot single::<T>(), shifted false,
        start S::ZERO, map<A> |x, _s| S::load(x), join |a, b| a.plus(b);
    NanSum<T: Float> [T => T::Acc] hot false, shifted false,
        start T::Acc::ZERO, map<A> |x, _s| { let v = T::Acc::load(x); if v.is_nan() { T::Acc::ZERO } else { v } },
        join |a, b| a + b;
    Prod<T: Element, S: Number> [T => S] hot false, shifted false,
        start S::ONE, map<A> |x, _s| S::load(x), join |a, b| a.times(b);
    Max<T: Computed> [T => T::Acc] hot single::<T>(), shifted false,
        start T::Acc::LOWEST, map<A> |x, _s| T::Acc::load(x), join |a, b| larger(a, b);
    Min<T: Computed> [T => T::Acc] hot single::<T>(), shifted false,
        start T::Acc::HIGHEST, map<A> |x, _s| T::Acc::load(x), join |a, b| smaller(a, b);
    SumAbs<T: Float> [T => T::Acc] hot false, shifted false,
        start T::Acc::ZERO, map<A> |x, _s| T::Acc::load(x).abs(), join |a, b| a + b;
    MaxAbs<T: Float> [T => T::Acc] hot false, shifted false,
        start T::Acc::ZERO, map<A> |x, _s| T::Acc::load(x).abs(), join |a, b| larger(a, b);
    SumSquares<T: Float> [T => T::Acc] hot single::<T>(), shifted false,
        start T::Acc::ZERO, map<A> |x, _s| { let v = T::Acc::load(x); v * v }, join |a, b| a + b;
    SumExp<T: Float> [T => T::Acc] hot single::<T>(), shifted true,
        start T::Acc::ZERO, map<A> |x, max| (T::Acc::load(x) - max).exp::<A>(), join |a, b| a + b;
    /// The sum of distances to another value.
    SumShifted<T: Float> [T => T::Acc] hot false, shifted true,
        start T::Acc::ZERO, map<A> |x, from| T::Acc::load(x) - from, join |a, b| a + b;
    /// The squared distances to a mean, in the type of calculation.
    SquaresFrom<T: Float> [T => T::Acc] hot single::<T>(), shifted true,
        start T::Acc::ZERO, map<A> |x, mean| { let d = T::Acc::load(x) - mean; d * d }, join |a, b| a + b;
    /// The squared distances to a mean, in double precision.
    Distances<T: Float> [T => f64] hot single::<T>(), shifted true,
        start 0.0, map<A> |x, mean| { let d = x.to_f64() - mean; d * d }, join |a, b| a + b;
    All<> [bool => bool] hot false, shifted false,
        start true, map<A> |x, _s| x, join |a, b| a & b;
    Any<> [bool => bool] hot false, shifted false,
        start false, map<A> |x, _s| x, join |a, b| a | b;
    CountTrue<> [bool => i64] hot false, shifted false,
        start 0, map<A> |x, _s| x as i64, join |a, b| a + b;
}

/// The larger one; NaN wins, and the second of two equals.
#[inline(always)]
pub(crate) fn larger<T: Number>(a: T, b: T) -> T {
    if (a > b) | a.is_nan() { a } else { b }
}

/// The smaller one; NaN wins, and the second of two equals.
#[inline(always)]
pub(crate) fn smaller<T: Number>(a: T, b: T) -> T {
    if (a < b) | a.is_nan() { a } else { b }
}

/// The logarithm, outside of a kernel.
pub(crate) fn ln<T: Real>(x: T) -> T {
    x.ln::<Portable>()
}
