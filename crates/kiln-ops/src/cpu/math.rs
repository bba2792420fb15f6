//! Elementwise mathematics.
use super::arch::Arch;
use super::num::Num;
macro_rules! m { ($($n:ident $f:ident),*) => {
pub(crate) trait Math: Num {
    $(fn $n<A: Arch>(self) -> Self;)*
    fn powf<A: Arch>(self, b: Self) -> Self;
    fn atan2<A: Arch>(self, b: Self) -> Self;
    fn hypot<A: Arch>(self, b: Self) -> Self;
    fn div(self, b: Self) -> Self;
    fn copysign(self, b: Self) -> Self;
    fn nextafter(self, b: Self) -> Self;
}
impl Math for f64 { $(fn $n<A: Arch>(self) -> Self { $f(self) })*
    fn powf<A: Arch>(self, b: Self) -> Self { libm::pow(self, b) }
    fn atan2<A: Arch>(self, b: Self) -> Self { libm::atan2(self, b) }
    fn hypot<A: Arch>(self, b: Self) -> Self { libm::hypot(self, b) }
    fn div(self, b: Self) -> Self { self / b }
    fn copysign(self, b: Self) -> Self { self.copysign(b) }
    fn nextafter(self, b: Self) -> Self { libm::nextafter(self, b) }
}
impl Math for f32 { $(fn $n<A: Arch>(self) -> Self { $f(self as f64) as f32 })*
    fn powf<A: Arch>(self, b: Self) -> Self { libm::pow(self as f64, b as f64) as f32 }
    fn atan2<A: Arch>(self, b: Self) -> Self { libm::atan2(self as f64, b as f64) as f32 }
    fn hypot<A: Arch>(self, b: Self) -> Self { libm::hypot(self as f64, b as f64) as f32 }
    fn div(self, b: Self) -> Self { self / b }
    fn copysign(self, b: Self) -> Self { self.copysign(b) }
    fn nextafter(self, b: Self) -> Self { libm::nextafterf(self, b) }
}
}}
use libm::*;
fn rsqrt(x: f64) -> f64 {
    1.0 / x.sqrt()
}
fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}
fn silu(x: f64) -> f64 {
    x * sigmoid(x)
}
fn log_sigmoid(x: f64) -> f64 {
    x.min(0.0) - libm::log1p(libm::exp(-x.abs()))
}
fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + libm::erf(x * 0.70710678118654752))
}
fn gelu_tanh(x: f64) -> f64 {
    0.5 * x * (1.0 + libm::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))
}
fn erfinv(x: f64) -> f64 {
    x
}
fn digamma(x: f64) -> f64 {
    x
}
fn rnd(x: f64) -> f64 {
    x.round_ties_even()
}
m!(exp exp, exp2 exp2, expm1 expm1, log log, log2 log2, log10 log10, log1p log1p, sqrt sqrt, rsqrt rsqrt, sin sin, cos cos, tan tan, asin asin, acos acos, atan atan,
sinh sinh, cosh cosh, tanh tanh, asinh asinh, acosh acosh, atanh atanh, sigmoid sigmoid, log_sigmoid log_sigmoid, silu silu, erf erf, erfc erfc, erfinv erfinv, lgamma lgamma,
digamma digamma, gelu gelu, gelu_tanh gelu_tanh, floor floor, ceil ceil, round rnd, trunc trunc);
