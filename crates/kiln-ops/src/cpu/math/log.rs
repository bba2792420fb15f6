//! Logarithms in `f32`.

use super::exp::{LN2_HI, LN2_LO, exp_neg_abs};
use super::poly_pairs;
use crate::cpu::arch::Arch;

/// The bits of sqrt(1/2): mantissas are taken from there to sqrt(2), so that the logarithm of a number near 1 does not
/// cancel.
const SQRT_HALF: i32 = 0x3F35_04F3;

/// `e` and `f` with `x = 2^e (1 + f)`, `f` in sqrt(1/2)-1 .. sqrt(2)-1, for positive finite `x`.
#[inline(always)]
fn split(x: f32) -> (f32, f32) {
    let small = x < f32::MIN_POSITIVE;
    let (factor, shift) = if small { (8_388_608.0, 23) } else { (1.0, 0) };
    let bits = (x * factor).to_bits() as i32;
    let e = bits.wrapping_sub(SQRT_HALF) >> 23;
    let m = f32::from_bits(bits.wrapping_sub(e << 23) as u32);
    (e.wrapping_sub(shift) as f32, m - 1.0)
}

/// `log(1 + f) - f`.
#[inline(always)]
fn log1p_minus<A: Arch>(f: f32) -> f32 {
    let f2 = f * f;
    let p = poly_pairs!(A, f, f2; 0.333_333_13, -0.250_000_12, 0.200_020_73, -0.166_678_52, 0.142_202_3, -0.124_082_78,
        0.118_863_24, -0.116_601_15, 0.067_319_915);
    A::fma32(f2, -0.5, f2 * f * p)
}

/// `y` for positive finite `x`; else -infinity at 0, infinity at infinity, NaN.
#[inline(always)]
fn specials(x: f32, y: f32) -> f32 {
    let other = if x == 0.0 { f32::NEG_INFINITY } else { x };
    let other = if x < 0.0 { f32::NAN } else { other };
    // One comparison of the bits; written with floats, the compiler makes it a slow test for classes of numbers.
    if x.to_bits().wrapping_sub(1) < f32::INFINITY.to_bits() - 1 { y } else { other }
}

#[inline(always)]
pub(super) fn log<A: Arch>(x: f32) -> f32 {
    let (e, f) = split(x);
    let y = A::fma32(e, LN2_LO, log1p_minus::<A>(f));
    specials(x, A::fma32(e, LN2_HI, f + y))
}

#[inline(always)]
pub(super) fn log2<A: Arch>(x: f32) -> f32 {
    // log2(e) in two parts, so that the product is exact enough to be added to `e`.
    const HI: f32 = 1.442_695;
    const LO: f32 = 1.925_963e-8;
    let (e, f) = split(x);
    let y = log1p_minus::<A>(f);
    specials(x, A::fma32(f, HI, A::fma32(y, HI, (f + y) * LO)) + e)
}

#[inline(always)]
pub(super) fn log10<A: Arch>(x: f32) -> f32 {
    const HI: f32 = 0.434_294_5;
    const LO: f32 = -1.010_305e-8;
    const LOG10_2_HI: f32 = 0.301_03;
    const LOG10_2_LO: f32 = -1.432_098_9e-8;
    let (e, f) = split(x);
    let y = log1p_minus::<A>(f);
    let y = A::fma32(y, HI, A::fma32(f + y, LO, e * LOG10_2_LO));
    specials(x, A::fma32(e, LOG10_2_HI, A::fma32(f, HI, y)))
}

#[inline(always)]
pub(super) fn log1p<A: Arch>(x: f32) -> f32 {
    let u = 1.0 + x;
    let e = (u.to_bits() as i32).wrapping_sub(SQRT_HALF) >> 23;
    // f = (1 + x) / 2^e - 1, rounded once: the scaling of x is exact where it matters, and so is the constant part.
    let s = f32::from_bits(0x3F80_0000i32.wrapping_sub(e.min(126) << 23) as u32);
    let scaled = f32::from_bits((x.to_bits() as i32).wrapping_sub(e << 23) as u32);
    let f = scaled + (s - 1.0);
    let e = e as f32;
    let y = A::fma32(e, LN2_LO, log1p_minus::<A>(f));
    let y = A::fma32(e, LN2_HI, f + y);
    // The sign of zero.
    let y = if x == 0.0 { x } else { y };
    specials(u, y)
}

#[inline(always)]
pub(super) fn log_sigmoid<A: Arch>(x: f32) -> f32 {
    (if x < 0.0 { x } else { 0.0 }) - log1p::<A>(exp_neg_abs::<A>(x))
}

#[inline(always)]
pub(super) fn softplus<A: Arch>(x: f32) -> f32 {
    (if x > 0.0 { x } else { 0.0 }) + log1p::<A>(exp_neg_abs::<A>(x))
}
