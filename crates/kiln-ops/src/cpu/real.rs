//! The numbers that kernels calculate with: `f32` and `f64`, and which of them stands for each floating point dtype.

use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

use kiln_storage::{Element, bf16, f16};

use super::arch::Arch;

/// A type that sums and products are accumulated in.
pub trait Number: Element {
    /// Zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// No value is below this one.
    const LOWEST: Self;
    /// No value is above this one.
    const HIGHEST: Self;
    /// The sum; integers wrap.
    fn plus(self, other: Self) -> Self;
    /// The product; integers wrap.
    fn times(self, other: Self) -> Self;
    /// Whether this is a NaN.
    fn is_nan(self) -> bool;
    /// From any element.
    fn load<I: Element>(x: I) -> Self;
    /// To any element.
    fn store<O: Element>(self) -> O;
}

/// `f32` or `f64`, with the functions that kernels need on any instruction set.
pub trait Real:
    Number
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
{
    /// Not a number.
    const NAN: Self;
    /// The nearest number to `v`.
    fn of(v: f64) -> Self;
    /// `self * b + c`, rounded once.
    fn fma<A: Arch>(self, b: Self, c: Self) -> Self;
    /// The square root.
    fn sqrt(self) -> Self;
    /// The absolute value.
    fn abs(self) -> Self;
    /// `e^self`.
    fn exp<A: Arch>(self) -> Self;
    /// The natural logarithm.
    fn ln<A: Arch>(self) -> Self;
}

/// What the elements of a dtype are calculated in.
pub trait Computed: Element {
    /// The type itself, `f32` for the half precision types, `u8` for `bool`.
    type Acc: Number;
    /// Runs `fill` on a buffer in the type of calculation that becomes `out`, rounded once.
    fn written<R>(out: &mut [Self], fill: impl FnOnce(&mut [Self::Acc]) -> R) -> R;
    /// Runs `read` on `x` in the type of calculation.
    fn read<R>(x: &[Self], read: impl FnOnce(&[Self::Acc]) -> R) -> R;
}

/// A floating point dtype.
pub trait Float: Computed<Acc: Real> {}

impl<T: Computed<Acc: Real>> Float for T {}

macro_rules! number {
    ($($t:ty, $zero:expr, $one:expr, $low:expr, $high:expr, $plus:expr, $times:expr, $to:ident, $from:ident;)*) => {
        $(impl Number for $t {
            const ZERO: $t = $zero;
            const ONE: $t = $one;
            const LOWEST: $t = $low;
            const HIGHEST: $t = $high;
            #[inline(always)]
            fn plus(self, other: $t) -> $t {
                let f: fn($t, $t) -> $t = $plus;
                f(self, other)
            }
            #[inline(always)]
            fn times(self, other: $t) -> $t {
                let f: fn($t, $t) -> $t = $times;
                f(self, other)
            }
            #[inline(always)]
            #[allow(clippy::eq_op)]
            fn is_nan(self) -> bool {
                self != self
            }
            #[inline(always)]
            fn load<I: Element>(x: I) -> $t {
                x.$to() as $t
            }
            #[inline(always)]
            fn store<O: Element>(self) -> O {
                O::$from(self as _)
            }
        })*
    };
}
number! {
    f32, 0.0, 1.0, f32::NEG_INFINITY, f32::INFINITY, |a, b| a + b, |a, b| a * b, to_f32, from_f32;
    f64, 0.0, 1.0, f64::NEG_INFINITY, f64::INFINITY, |a, b| a + b, |a, b| a * b, to_f64, from_f64;
    u8, 0, 1, u8::MIN, u8::MAX, u8::wrapping_add, u8::wrapping_mul, to_i64, from_i64;
    i8, 0, 1, i8::MIN, i8::MAX, i8::wrapping_add, i8::wrapping_mul, to_i64, from_i64;
    i16, 0, 1, i16::MIN, i16::MAX, i16::wrapping_add, i16::wrapping_mul, to_i64, from_i64;
    i32, 0, 1, i32::MIN, i32::MAX, i32::wrapping_add, i32::wrapping_mul, to_i64, from_i64;
    i64, 0, 1, i64::MIN, i64::MAX, i64::wrapping_add, i64::wrapping_mul, to_i64, from_i64;
}

impl Real for f32 {
    const NAN: f32 = f32::NAN;
    #[inline(always)]
    fn of(v: f64) -> f32 {
        v as f32
    }
    #[inline(always)]
    fn fma<A: Arch>(self, b: f32, c: f32) -> f32 {
        A::fma32(self, b, c)
    }
    #[inline(always)]
    fn sqrt(self) -> f32 {
        f32::sqrt(self)
    }
    #[inline(always)]
    fn abs(self) -> f32 {
        f32::abs(self)
    }
    #[inline(always)]
    fn exp<A: Arch>(self) -> f32 {
        exp32::<A>(self)
    }
    #[inline(always)]
    fn ln<A: Arch>(self) -> f32 {
        ln32::<A>(self)
    }
}

impl Real for f64 {
    const NAN: f64 = f64::NAN;
    #[inline(always)]
    fn of(v: f64) -> f64 {
        v
    }
    #[inline(always)]
    fn fma<A: Arch>(self, b: f64, c: f64) -> f64 {
        A::fma64(self, b, c)
    }
    #[inline(always)]
    fn sqrt(self) -> f64 {
        f64::sqrt(self)
    }
    #[inline(always)]
    fn abs(self) -> f64 {
        f64::abs(self)
    }
    #[inline(always)]
    fn exp<A: Arch>(self) -> f64 {
        libm::exp(self)
    }
    #[inline(always)]
    fn ln<A: Arch>(self) -> f64 {
        libm::log(self)
    }
}

macro_rules! as_itself {
    ($($t:ty)*) => {
        $(impl Computed for $t {
            type Acc = $t;
            #[inline(always)]
            fn written<R>(out: &mut [$t], fill: impl FnOnce(&mut [$t]) -> R) -> R {
                fill(out)
            }
            #[inline(always)]
            fn read<R>(x: &[$t], read: impl FnOnce(&[$t]) -> R) -> R {
                read(x)
            }
        })*
    };
}
as_itself! { f32 f64 u8 i8 i16 i32 i64 }

macro_rules! converted {
    ($($t:ty => $acc:ty;)*) => {
        $(impl Computed for $t {
            type Acc = $acc;
            fn written<R>(out: &mut [$t], fill: impl FnOnce(&mut [$acc]) -> R) -> R {
                let mut buffer = vec![<$acc>::ZERO; out.len()];
                let result = fill(&mut buffer);
                for (o, v) in out.iter_mut().zip(buffer) {
                    *o = v.store();
                }
                result
            }
            fn read<R>(x: &[$t], read: impl FnOnce(&[$acc]) -> R) -> R {
                read(&x.iter().map(|&v| <$acc>::load(v)).collect::<Vec<_>>())
            }
        })*
    };
}
converted! { f16 => f32; bf16 => f32; bool => u8; }

/// Adding and subtracting 1.5 * 2^23 rounds a small `f32` to an integer, which then is in the low bits.
const ROUND: f32 = 12582912.0;

/// `e^x` without branches, within 1.1 ulp: `2^n * e^r` with `|r| <= ln(2) / 2`.
#[inline(always)]
fn exp32<A: Arch>(x: f32) -> f32 {
    // Beyond these bounds the result is 0 or infinity; the comparisons keep NaN.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    let t = A::fma32(x, std::f32::consts::LOG2_E, ROUND);
    let n = t - ROUND;
    // ln(2) in two parts, the first one short enough for n * LN2_HIGH to be exact.
    let r = A::fma32(n, -0.693145752, x);
    let r = A::fma32(n, -1.42860677e-6, r);
    // Fitted to (e^r - 1 - r) / r^2 with the relative error of e^r as weight: 2^-28.
    let p = A::fma32(0.0013813145, r, 0.008369419);
    let p = A::fma32(p, r, 0.041668456);
    let p = A::fma32(p, r, 0.16666515);
    let p = A::fma32(p, r, 0.49999994);
    let p = A::fma32(p * r, r, r) + 1.0;
    // 2^n in two steps, since 2^n itself may be subnormal or too large.
    let n = t.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let half = n >> 1;
    let power = |k: i32| f32::from_bits((k.wrapping_add(127) as u32) << 23);
    p * power(half) * power(n.wrapping_sub(half))
}

/// The natural logarithm without branches, within 1 ulp.
#[inline(always)]
fn ln32<A: Arch>(x: f32) -> f32 {
    let subnormal = x < f32::MIN_POSITIVE;
    let scaled = if subnormal { x * 16777216.0 } else { x };
    // x = m * 2^e with m between sqrt(1/2) and sqrt(2).
    let bits = scaled.to_bits().wrapping_sub(0x3f35_04f3);
    let e = (bits as i32 >> 23) - if subnormal { 24 } else { 0 };
    let m = f32::from_bits((bits & 0x007f_ffff).wrapping_add(0x3f35_04f3));
    let f = m - 1.0;
    // Fitted to (ln(1 + f) - f + f^2 / 2) / f^3 with the relative error of the logarithm as weight: 2^-30.
    let q = A::fma32(0.06746402, f, -0.11715964);
    let q = A::fma32(q, f, 0.11909956);
    let q = A::fma32(q, f, -0.12400974);
    let q = A::fma32(q, f, 0.14216213);
    let q = A::fma32(q, f, -0.1666811);
    let q = A::fma32(q, f, 0.20002273);
    let q = A::fma32(q, f, -0.2500001);
    let q = A::fma32(q, f, 0.3333331);
    let e = e as f32;
    let f2 = f * f;
    let low = A::fma32(q * f, f2, e * 1.42860677e-6);
    let low = A::fma32(f2, -0.5, low);
    let y = A::fma32(e, 0.693145752, f + low);
    let y = if x == f32::INFINITY { x } else { y };
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    if x >= 0.0 { y } else { f32::NAN }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::arch::Portable;

    fn ulps(got: f32, want: f64) -> f64 {
        let nearest = want as f32;
        let ulp = (f32::from_bits(nearest.abs().to_bits() + 1) as f64) - nearest.abs() as f64;
        (got as f64 - want).abs() / ulp
    }

    #[test]
    fn exp_and_ln_are_within_their_bounds() {
        let (mut worst_exp, mut worst_ln) = (0.0f64, 0.0f64);
        for i in 0..400_000 {
            let x = -103.0 + i as f32 * (191.0 / 400_000.0);
            worst_exp = worst_exp.max(ulps(exp32::<Portable>(x), libm::exp(x as f64)));
            let x = f32::from_bits(1 + i * 5347);
            worst_ln = worst_ln.max(ulps(ln32::<Portable>(x), libm::log(x as f64)));
            let x = 0.5 + i as f32 * (1.5 / 400_000.0);
            worst_ln = worst_ln.max(ulps(ln32::<Portable>(x), libm::log(x as f64)));
        }
        assert!(worst_exp < 1.1, "exp is off by {worst_exp} ulp");
        assert!(worst_ln < 1.1, "ln is off by {worst_ln} ulp");
    }

    #[test]
    fn exp_and_ln_at_the_ends() {
        assert_eq!(exp32::<Portable>(0.0), 1.0);
        assert_eq!(exp32::<Portable>(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp32::<Portable>(f32::NEG_INFINITY), 0.0);
        assert!(exp32::<Portable>(f32::NAN).is_nan());
        assert_eq!(ln32::<Portable>(1.0), 0.0);
        assert_eq!(ln32::<Portable>(0.0), f32::NEG_INFINITY);
        assert_eq!(ln32::<Portable>(-0.0), f32::NEG_INFINITY);
        assert_eq!(ln32::<Portable>(f32::INFINITY), f32::INFINITY);
        assert!(ln32::<Portable>(-1.0).is_nan() && ln32::<Portable>(f32::NAN).is_nan());
    }
}
