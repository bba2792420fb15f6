//! Arithmetic that integers and floats share, and bit operations of integers, as kernels need them: wrapping for
//! integers, PyTorch's rules for NaN, signs and division.

use super::arch::Arch;
use super::math::Math;

/// A number that kernels compute with: `u8`, `i8`, `i16`, `i32`, `i64`, `f32` or `f64`.
pub(crate) trait Num: kiln_storage::Element {
    const ZERO: Self;
    const ONE: Self;
    fn add(self, b: Self) -> Self;
    fn sub(self, b: Self) -> Self;
    fn mul(self, b: Self) -> Self;
    /// `-x`; called on zero so that tables read the same for integers and floats.
    fn neg_of(self, x: Self) -> Self;
    fn abs(self) -> Self;
    fn sign(self) -> Self;
    /// The larger number, NaN if either is.
    fn maximum(self, b: Self) -> Self;
    fn minimum(self, b: Self) -> Self;
    /// The larger number, the other one if one is NaN.
    fn fmax(self, b: Self) -> Self;
    fn fmin(self, b: Self) -> Self;
    fn is_nan(self) -> bool;
    fn is_infinite(self) -> bool;
    fn sign_bit(self) -> bool;
    /// Remainder with the sign of the divisor. Integer division by zero is refused before kernels run; they give 0.
    fn remainder<A: Arch>(self, b: Self) -> Self;
    fn fmod<A: Arch>(self, b: Self) -> Self;
    fn floor_div<A: Arch>(self, b: Self) -> Self;
    fn trunc_div<A: Arch>(self, b: Self) -> Self;
    fn pow<A: Arch>(self, b: Self) -> Self;
}

/// Floats: arithmetic, [`Math`], and what only floats have.
pub(crate) trait FloatNum: Num + Math {
    fn div(self, b: Self) -> Self;
    fn copysign(self, b: Self) -> Self;
    /// The next representable number towards `b`.
    fn nextafter(self, b: Self) -> Self;
    /// The number as a mantissa within 0.5 and 1 and a power of 2; itself and 0 for 0, infinities and NaN.
    fn frexp(self) -> (Self, Self);
}

/// Integers.
pub(crate) trait Int: Num {
    fn and(self, b: Self) -> Self;
    fn or(self, b: Self) -> Self;
    fn xor(self, b: Self) -> Self;
    /// 0 for shifts by the width or more, or by a negative number.
    fn shift_left(self, b: Self) -> Self;
    /// The sign (0 or -1) for shifts by the width or more, or by a negative number.
    fn shift_right(self, b: Self) -> Self;
    fn gcd(self, b: Self) -> Self;
    fn lcm(self, b: Self) -> Self;
}

macro_rules! num_int {
    ($($t:ty, $signed:expr;)*) => {$(
        impl Num for $t {
            const ZERO: $t = 0;
            const ONE: $t = 1;
            #[inline(always)]
            fn add(self, b: $t) -> $t { self.wrapping_add(b) }
            #[inline(always)]
            fn sub(self, b: $t) -> $t { self.wrapping_sub(b) }
            #[inline(always)]
            fn mul(self, b: $t) -> $t { self.wrapping_mul(b) }
            #[inline(always)]
            fn neg_of(self, x: $t) -> $t { (0 as $t).wrapping_sub(x) }
            #[inline(always)]
            #[allow(unused_comparisons)]
            fn abs(self) -> $t { if self < 0 { (0 as $t).wrapping_sub(self) } else { self } }
            #[inline(always)]
            #[allow(unused_comparisons)]
            fn sign(self) -> $t { ((self > 0) as $t).wrapping_sub((self < 0) as $t) }
            #[inline(always)]
            fn maximum(self, b: $t) -> $t { if self > b { self } else { b } }
            #[inline(always)]
            fn minimum(self, b: $t) -> $t { if self < b { self } else { b } }
            #[inline(always)]
            fn fmax(self, b: $t) -> $t { self.maximum(b) }
            #[inline(always)]
            fn fmin(self, b: $t) -> $t { self.minimum(b) }
            #[inline(always)]
            fn is_nan(self) -> bool { false }
            #[inline(always)]
            fn is_infinite(self) -> bool { false }
            #[inline(always)]
            #[allow(unused_comparisons)]
            fn sign_bit(self) -> bool { self < 0 }
            #[inline(always)]
            #[allow(unused_comparisons)]
            fn remainder<A: Arch>(self, b: $t) -> $t {
                if b == 0 { return 0; }
                let r = self.wrapping_rem(b);
                if r != 0 && (r < 0) != (b < 0) { r.wrapping_add(b) } else { r }
            }
            #[inline(always)]
            fn fmod<A: Arch>(self, b: $t) -> $t { if b == 0 { 0 } else { self.wrapping_rem(b) } }
            #[inline(always)]
            #[allow(unused_comparisons)]
            fn floor_div<A: Arch>(self, b: $t) -> $t {
                if b == 0 { return 0; }
                let q = self.wrapping_div(b);
                let r = self.wrapping_rem(b);
                if r != 0 && (r < 0) != (b < 0) { q.wrapping_sub(1) } else { q }
            }
            #[inline(always)]
            fn trunc_div<A: Arch>(self, b: $t) -> $t { if b == 0 { 0 } else { self.wrapping_div(b) } }
            #[inline(always)]
            #[allow(unused_comparisons)]
            fn pow<A: Arch>(self, b: $t) -> $t {
                if b < 0 {
                    // 1 / self^|b| cut to an integer; only 1 and -1 leave something.
                    return if self == 1 { 1 }
                        else if $signed && self.wrapping_add(1) == 0 { if b % 2 == 0 { 1 } else { self } }
                        else { 0 };
                }
                let (mut base, mut e, mut r) = (self, b, 1 as $t);
                while e > 0 {
                    if e & 1 == 1 { r = r.wrapping_mul(base); }
                    base = base.wrapping_mul(base);
                    e >>= 1;
                }
                r
            }
        }

        impl Int for $t {
            #[inline(always)]
            fn and(self, b: $t) -> $t { self & b }
            #[inline(always)]
            fn or(self, b: $t) -> $t { self | b }
            #[inline(always)]
            fn xor(self, b: $t) -> $t { self ^ b }
            #[inline(always)]
            #[allow(unused_comparisons)]
            fn shift_left(self, b: $t) -> $t {
                if b < 0 || b as u64 >= <$t>::BITS as u64 { 0 } else { self << b }
            }
            #[inline(always)]
            #[allow(unused_comparisons)]
            fn shift_right(self, b: $t) -> $t {
                if b < 0 || b as u64 >= <$t>::BITS as u64 { if self < 0 { (0 as $t).wrapping_sub(1) } else { 0 } } else { self >> b }
            }
            #[inline(always)]
            fn gcd(self, b: $t) -> $t {
                let (mut x, mut y) = (Num::abs(self), Num::abs(b));
                while y != 0 { (x, y) = (y, x.wrapping_rem(y)); }
                Num::abs(x)
            }
            #[inline(always)]
            fn lcm(self, b: $t) -> $t {
                let g = self.gcd(b);
                if g == 0 { 0 } else { Num::abs((self / g).wrapping_mul(b)) }
            }
        }
    )*};
}
num_int! { u8, false; i8, true; i16, true; i32, true; i64, true; }

macro_rules! num_float {
    ($($t:ty;)*) => {$(
        impl Num for $t {
            const ZERO: $t = 0.0;
            const ONE: $t = 1.0;
            #[inline(always)]
            fn add(self, b: $t) -> $t { self + b }
            #[inline(always)]
            fn sub(self, b: $t) -> $t { self - b }
            #[inline(always)]
            fn mul(self, b: $t) -> $t { self * b }
            #[inline(always)]
            fn neg_of(self, x: $t) -> $t { -x }
            #[inline(always)]
            fn abs(self) -> $t { <$t>::abs(self) }
            #[inline(always)]
            fn sign(self) -> $t { Math::sign::<super::arch::Portable>(self) }
            #[inline(always)]
            fn maximum(self, b: $t) -> $t { if self > b || self.is_nan() { self } else { b } }
            #[inline(always)]
            fn minimum(self, b: $t) -> $t { if self < b || self.is_nan() { self } else { b } }
            #[inline(always)]
            fn fmax(self, b: $t) -> $t { if self > b || b.is_nan() { self } else { b } }
            #[inline(always)]
            fn fmin(self, b: $t) -> $t { if self < b || b.is_nan() { self } else { b } }
            #[inline(always)]
            fn is_nan(self) -> bool { <$t>::is_nan(self) }
            #[inline(always)]
            fn is_infinite(self) -> bool { <$t>::is_infinite(self) }
            #[inline(always)]
            fn sign_bit(self) -> bool { self.is_sign_negative() }
            #[inline(always)]
            fn remainder<A: Arch>(self, b: $t) -> $t { Math::remainder::<A>(self, b) }
            #[inline(always)]
            fn fmod<A: Arch>(self, b: $t) -> $t { Math::fmod::<A>(self, b) }
            #[inline(always)]
            fn floor_div<A: Arch>(self, b: $t) -> $t { Math::floor_divide::<A>(self, b) }
            #[inline(always)]
            fn trunc_div<A: Arch>(self, b: $t) -> $t { Math::trunc::<A>(self / b) }
            #[inline(always)]
            fn pow<A: Arch>(self, b: $t) -> $t { Math::pow::<A>(self, b) }
        }
    )*};
}
num_float! { f32; f64; }

macro_rules! float_num {
    ($($t:ty, $next:path;)*) => {$(
        impl FloatNum for $t {
            #[inline(always)]
            fn div(self, b: $t) -> $t { self / b }
            #[inline(always)]
            fn copysign(self, b: $t) -> $t { <$t>::copysign(self, b) }
            #[inline]
            fn nextafter(self, b: $t) -> $t { $next(self, b) }
            #[inline]
            fn frexp(self) -> ($t, $t) {
                // Exact also in single precision, of which every number is a normal one in double.
                let (mantissa, exponent) = libm::frexp(self as f64);
                (mantissa as $t, exponent as $t)
            }
        }
    )*};
}
float_num! { f32, libm::nextafterf; f64, libm::nextafter; }
