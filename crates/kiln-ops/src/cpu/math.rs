//! Elementwise mathematics with the same bits on every instruction set.
//!
//! [`Math`] is a trait over the float types whose methods take the instruction set as a type, [`Arch`]. The `f32` bodies
//! are branch-free sequences of sums, products, fused multiply-adds through [`Arch::fma32`], selections and integer
//! arithmetic on bits: inlined into a loop inside [`dispatch`](super::arch::dispatch) they vectorise, and each operation
//! in them rounds the same way everywhere. The standard library's functions do not: they come from the C library of the
//! system. Call the trait's methods with the instruction set (`x.exp::<A>()` for a generic `x`, `Math::exp::<A>(x)` for a
//! concrete one, where `x.exp()` would be the standard library's).
//!
//! Where a method says nothing else: its `f32` result is within 2 units in the last place of the exact value; results
//! below the normal numbers are right; NaN gives NaN; infinities and the sign of zero are as in PyTorch. "Vectorised"
//! speaks of `f32`; the others, and all of `f64`, compute one element at a time with the `libm` crate, the `f32` ones
//! by way of `f64`, which makes them right but for the last rounding.
//!
//! The coefficients are minimax fits, by Sollya's `fpminimax` and `remez`, of the function and interval next to them.

mod double;
mod erf;
mod exp;
mod log;
mod pow;
mod round;
mod special;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_binary;
mod trig;
mod zeta;

pub(crate) use special::{digamma, erfinv, i0, lgamma};
pub(crate) use zeta::zeta;

use super::arch::Arch;

/// `poly!(A, x; c0, c1, c2)`: `c0 + c1 x + c2 x^2` by Horner's rule with fused multiply-adds.
macro_rules! poly {
    ($A:ty, $x:expr; $c:literal) => { $c };
    ($A:ty, $x:expr; $c:literal, $($rest:literal),+) => {
        <$A as crate::cpu::arch::Arch>::fma32(crate::cpu::math::poly!($A, $x; $($rest),+), $x, $c)
    };
}
use poly;

/// The same value as [`poly`] but for rounding, given `x` and its square: in pairs of terms, so that half as many
/// operations wait for each other. Quicker for long polynomials, which otherwise fill the processor with waiting.
macro_rules! poly_pairs {
    ($A:ty, $x:expr, $square:expr; $c0:literal) => { $c0 };
    ($A:ty, $x:expr, $square:expr; $c0:literal, $c1:literal) => {
        <$A as crate::cpu::arch::Arch>::fma32($c1, $x, $c0)
    };
    ($A:ty, $x:expr, $square:expr; $c0:literal, $c1:literal, $($rest:literal),+) => {
        <$A as crate::cpu::arch::Arch>::fma32(
            crate::cpu::math::poly_pairs!($A, $x, $square; $($rest),+),
            $square,
            <$A as crate::cpu::arch::Arch>::fma32($c1, $x, $c0),
        )
    };
}
use poly_pairs;

/// Mathematical functions of a float type, the same bits on every instruction set. See the [module](self).
pub trait Math: Copy {
    /// `e^x`, within 1 unit in the last place. Vectorised.
    fn exp<A: Arch>(self) -> Self;
    /// `2^x`, within 1 unit in the last place. Vectorised.
    fn exp2<A: Arch>(self) -> Self;
    /// `e^x - 1` without cancellation. Vectorised.
    fn expm1<A: Arch>(self) -> Self;
    /// Natural logarithm, within 1 unit in the last place. Vectorised.
    fn log<A: Arch>(self) -> Self;
    /// Logarithm to base 2. Vectorised.
    fn log2<A: Arch>(self) -> Self;
    /// Logarithm to base 10. Vectorised.
    fn log10<A: Arch>(self) -> Self;
    /// `log(1 + x)` without cancellation, within 1.5 units in the last place. Vectorised.
    fn log1p<A: Arch>(self) -> Self;

    /// `1 / (1 + e^-x)`, within 2.5 units in the last place. Vectorised.
    fn sigmoid<A: Arch>(self) -> Self;
    /// `log(sigmoid(x))`. Vectorised.
    fn log_sigmoid<A: Arch>(self) -> Self;
    /// `log(1 + e^x)`. Vectorised.
    fn softplus<A: Arch>(self) -> Self;
    /// `x sigmoid(x)`, within 3.5 units in the last place. Vectorised.
    fn silu<A: Arch>(self) -> Self;
    /// `x tanh(softplus(x))`, within 4.5 units in the last place. Vectorised.
    fn mish<A: Arch>(self) -> Self;
    /// Hyperbolic tangent. Vectorised.
    fn tanh<A: Arch>(self) -> Self;
    /// Error function. Vectorised.
    fn erf<A: Arch>(self) -> Self;
    /// `1 - erf(x)` without cancellation, within 5 units in the last place. Vectorised.
    fn erfc<A: Arch>(self) -> Self;
    /// `x (1 + erf(x / sqrt(2))) / 2`, within 5 units in the last place also in the tail; NaN at -infinity. Vectorised.
    fn gelu<A: Arch>(self) -> Self;
    /// `x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`, within 3.5 units in the last place also in the tail.
    /// Vectorised.
    fn gelu_tanh<A: Arch>(self) -> Self;

    /// Sine, of any argument. For whole slices [`sin_slice`](Math::sin_slice) is faster.
    fn sin<A: Arch>(self) -> Self;
    /// Cosine, of any argument. For whole slices [`cos_slice`](Math::cos_slice) is faster.
    fn cos<A: Arch>(self) -> Self;
    /// Tangent, of any argument, within 3 units in the last place. For whole slices [`tan_slice`](Math::tan_slice) is
    /// faster.
    fn tan<A: Arch>(self) -> Self;
    /// `y[i] = sin(x[i])`, the bits of [`sin`](Math::sin). Vectorised.
    ///
    /// # Panics
    ///
    /// If the lengths differ.
    fn sin_slice<A: Arch>(x: &[Self], y: &mut [Self]);
    /// `y[i] = cos(x[i])`, as [`sin_slice`](Math::sin_slice).
    fn cos_slice<A: Arch>(x: &[Self], y: &mut [Self]);
    /// `y[i] = tan(x[i])`, as [`sin_slice`](Math::sin_slice).
    fn tan_slice<A: Arch>(x: &[Self], y: &mut [Self]);
    /// Inverse sine, within 2.5 units in the last place. Vectorised.
    fn asin<A: Arch>(self) -> Self;
    /// Inverse cosine. Vectorised.
    fn acos<A: Arch>(self) -> Self;
    /// Inverse tangent. Vectorised.
    fn atan<A: Arch>(self) -> Self;
    /// The angle of the point `(x, y)`, called on `y`. Vectorised.
    fn atan2<A: Arch>(self, x: Self) -> Self;

    /// Hyperbolic sine, within 2.5 units in the last place. Vectorised.
    fn sinh<A: Arch>(self) -> Self;
    /// Hyperbolic cosine. Vectorised.
    fn cosh<A: Arch>(self) -> Self;
    /// Inverse hyperbolic sine.
    fn asinh<A: Arch>(self) -> Self;
    /// Inverse hyperbolic cosine.
    fn acosh<A: Arch>(self) -> Self;
    /// Inverse hyperbolic tangent.
    fn atanh<A: Arch>(self) -> Self;

    /// `self^y`, with the special cases of IEEE 754, right but for the last rounding. Vectorised.
    fn pow<A: Arch>(self, y: Self) -> Self;
    /// Square root, correctly rounded. Vectorised, also for `f64`.
    fn sqrt<A: Arch>(self) -> Self;
    /// `1 / sqrt(x)`. Vectorised, also for `f64`.
    fn rsqrt<A: Arch>(self) -> Self;
    /// `sqrt(x^2 + y^2)` without overflow on the way. Vectorised.
    fn hypot<A: Arch>(self, y: Self) -> Self;

    /// The nearest integer, halves to even. Vectorised; exact.
    fn round<A: Arch>(self) -> Self;
    /// The next integer below. Vectorised; exact.
    fn floor<A: Arch>(self) -> Self;
    /// The next integer above. Vectorised; exact.
    fn ceil<A: Arch>(self) -> Self;
    /// The next integer towards 0. Vectorised; exact.
    fn trunc<A: Arch>(self) -> Self;
    /// -1, 0 or 1; 0 for NaN. Vectorised, also for `f64`.
    fn sign<A: Arch>(self) -> Self;
    /// The remainder with the sign of `self`, as `fmod` in C. Exact.
    fn fmod<A: Arch>(self, divisor: Self) -> Self;
    /// The remainder with the sign of the divisor, as `%` in Python.
    fn remainder<A: Arch>(self, divisor: Self) -> Self;
    /// The floor of the exact quotient, as `//` in Python.
    fn floor_divide<A: Arch>(self, divisor: Self) -> Self;

    /// The inverse of [`erf`](Math::erf).
    fn erfinv<A: Arch>(self) -> Self;
    /// The logarithm of the absolute value of the gamma function.
    fn lgamma<A: Arch>(self) -> Self;
    /// The derivative of [`lgamma`](Math::lgamma).
    fn digamma<A: Arch>(self) -> Self;
    /// The modified Bessel function of the first kind, of order 0.
    fn i0<A: Arch>(self) -> Self;
    /// `sin(pi x) / (pi x)`, 1 at 0.
    fn sinc<A: Arch>(self) -> Self;
    /// `log(x / (1 - x))`.
    fn logit<A: Arch>(self) -> Self;
}

/// Methods that are a call with the same name: of the modules here, or of something in `f64`.
macro_rules! calls {
    (vector: $($module:ident::$name:ident($($arg:ident),*)),+ $(,)?) => { $(
        #[inline(always)]
        fn $name<A: Arch>(self $(, $arg: Self)*) -> Self { $module::$name::<A>(self $(, $arg)*) }
    )+ };
    (rounded: $($module:ident::$name:ident),+ $(,)?) => { $(
        #[inline]
        fn $name<A: Arch>(self) -> Self { $module::$name(self as f64) as f32 }
    )+ };
    (double: $($name:ident = $path:path),+ $(,)?) => { $(
        #[inline]
        fn $name<A: Arch>(self) -> Self { $path(self) }
    )+ };
    (exact: $($module:ident::$kind:ident::{ $($name:ident),+ })+) => { $($(
        #[inline]
        fn $name<A: Arch>(self, divisor: Self) -> Self { $module::$kind::$name(self, divisor) }
    )+)+ };
}

/// `sin`, `cos` and `tan` of `f32`: the body for arguments that are not large, else the `f64` function.
macro_rules! circular {
    ($($name:ident, $slice:ident, $small:path, $large:path;)+) => { $(
        #[inline]
        fn $name<A: Arch>(self) -> Self {
            if self.abs() >= trig::LARGE { $large(self as f64) as f32 } else { $small(self) }
        }
        #[inline(always)]
        fn $slice<A: Arch>(x: &[f32], y: &mut [f32]) {
            assert_eq!(x.len(), y.len());
            // Blocks of all arguments through the vectorised body, then the large ones again.
            for (x, y) in x.chunks(256).zip(y.chunks_mut(256)) {
                let mut largest = 0u32;
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = $small(x);
                    // Positive floats order like their bits.
                    largest = largest.max(x.abs().to_bits());
                }
                if largest >= trig::LARGE.to_bits() {
                    for (y, &x) in y.iter_mut().zip(x) {
                        if x.abs() >= trig::LARGE {
                            *y = $large(x as f64) as f32;
                        }
                    }
                }
            }
        }
    )+ };
}

impl Math for f32 {
    calls!(vector:
        exp::exp(), exp::exp2(), exp::expm1(), log::log(), log::log2(), log::log10(), log::log1p(),
        exp::sigmoid(), log::log_sigmoid(), log::softplus(), exp::silu(), exp::mish(), exp::tanh(),
        erf::erf(), erf::erfc(), erf::gelu(), erf::gelu_tanh(),
        trig::asin(), trig::acos(), trig::atan(), trig::atan2(x), exp::sinh(), exp::cosh(), pow::pow(y),
        round::round(), round::floor(), round::ceil(), round::trunc(),
    );
    calls!(rounded:
        libm::asinh, libm::acosh, libm::atanh, special::erfinv, special::lgamma, special::digamma, special::i0,
        special::sinc, special::logit,
    );
    calls!(exact: round::single::{ fmod, remainder, floor_divide });
    circular!(
        sin, sin_slice, trig::sin_small::<A>, libm::sin;
        cos, cos_slice, trig::cos_small::<A>, libm::cos;
        tan, tan_slice, trig::tan_small::<A>, libm::tan;
    );

    #[inline(always)]
    fn sqrt<A: Arch>(self) -> Self {
        f32::sqrt(self)
    }
    #[inline(always)]
    fn rsqrt<A: Arch>(self) -> Self {
        1.0 / f32::sqrt(self)
    }
    #[inline(always)]
    fn hypot<A: Arch>(self, y: Self) -> Self {
        let (x, y) = (self as f64, y as f64);
        let length = (x * x + y * y).sqrt();
        // Infinite even if the other is NaN.
        let infinite = x.abs() == f64::INFINITY || y.abs() == f64::INFINITY;
        if infinite { f32::INFINITY } else { length as f32 }
    }
    #[inline(always)]
    fn sign<A: Arch>(self) -> Self {
        (self > 0.0) as i32 as f32 - (self < 0.0) as i32 as f32
    }
}

/// The plain loop, for `f64`.
macro_rules! slices {
    ($($slice:ident = $function:path),+) => { $(
        fn $slice<A: Arch>(x: &[f64], y: &mut [f64]) {
            assert_eq!(x.len(), y.len());
            for (y, &x) in y.iter_mut().zip(x) {
                *y = $function(x);
            }
        }
    )+ };
}

impl Math for f64 {
    calls!(double:
        exp = libm::exp, exp2 = libm::exp2, expm1 = libm::expm1,
        log = libm::log, log2 = libm::log2, log10 = libm::log10, log1p = libm::log1p,
        tanh = libm::tanh, erf = libm::erf, erfc = libm::erfc,
        sin = libm::sin, cos = libm::cos, tan = libm::tan, asin = libm::asin, acos = libm::acos, atan = libm::atan,
        sinh = libm::sinh, cosh = libm::cosh, asinh = libm::asinh, acosh = libm::acosh, atanh = libm::atanh,
        round = libm::rint, floor = libm::floor, ceil = libm::ceil, trunc = libm::trunc,
        erfinv = special::erfinv, lgamma = special::lgamma, digamma = special::digamma, i0 = special::i0,
        sinc = special::sinc, logit = special::logit,
        sigmoid = double::sigmoid, log_sigmoid = double::log_sigmoid, softplus = double::softplus,
        silu = double::silu, mish = double::mish, gelu = double::gelu, gelu_tanh = double::gelu_tanh,
    );
    calls!(exact: round::double::{ remainder, floor_divide });
    slices!(sin_slice = libm::sin, cos_slice = libm::cos, tan_slice = libm::tan);

    #[inline]
    fn fmod<A: Arch>(self, divisor: Self) -> Self {
        libm::fmod(self, divisor)
    }
    #[inline]
    fn atan2<A: Arch>(self, x: Self) -> Self {
        libm::atan2(self, x)
    }
    #[inline]
    fn pow<A: Arch>(self, y: Self) -> Self {
        libm::pow(self, y)
    }
    #[inline]
    fn hypot<A: Arch>(self, y: Self) -> Self {
        libm::hypot(self, y)
    }
    #[inline(always)]
    fn sqrt<A: Arch>(self) -> Self {
        f64::sqrt(self)
    }
    #[inline(always)]
    fn rsqrt<A: Arch>(self) -> Self {
        1.0 / f64::sqrt(self)
    }
    #[inline(always)]
    fn sign<A: Arch>(self) -> Self {
        (self > 0.0) as i32 as f64 - (self < 0.0) as i32 as f64
    }
}
