//! Exponentials in `f32` and the functions made from one: exp, exp2, expm1, sigmoid, silu, tanh, sinh, cosh.

use super::poly;
use crate::cpu::arch::Arch;

/// Adding this rounds a small float to an integer, ties to even, and leaves the integer in the low bits of the sum.
pub(super) const ROUNDER: f32 = 12_582_912.0;
pub(super) const LN2_HI: f32 = 0.693_147_2;
pub(super) const LN2_LO: f32 = -1.904_654_2e-9;
const LOG2_E: f32 = 1.442_695;

/// The exponent bias of `f32`: with it added to [`ROUNDER`], the low bits of the sum are those of a power of two.
pub(super) const BIAS: f32 = 127.0;

/// `x` in `lo..=hi`; NaN stays NaN. The order of the comparisons makes each a single instruction.
#[inline(always)]
fn clamp(x: f32, lo: f32, hi: f32) -> f32 {
    let x = if hi < x { hi } else { x };
    if lo > x { lo } else { x }
}

/// `x = n ln 2 + r` with `|r| <= ln 2 / 2` as `(t, n, r)`: the low bits of `t` are the integer `n + bias`.
#[inline(always)]
pub(super) fn reduce<A: Arch>(x: f32, bias: f32) -> (f32, f32, f32) {
    let rounder = ROUNDER + bias;
    let t = A::fma32(x, LOG2_E, rounder);
    let n = t - rounder;
    (t, n, A::fma32(n, -LN2_LO, A::fma32(n, -LN2_HI, x)))
}

/// `2^n`, where the low bits of `t` are `n + BIAS` in 0..=255.
#[inline(always)]
pub(super) fn power_of_two(t: f32) -> f32 {
    f32::from_bits(t.to_bits() << 23)
}

/// `p 2^n`, where the low bits of `t` are `n + 2 * BIAS` in 0..=509. The power is cut in two, each half a number that
/// `f32` has: so that a result below the normal numbers is rounded once and one above them becomes infinite.
#[inline(always)]
pub(super) fn scale(p: f32, t: f32) -> f32 {
    let bits = t.to_bits();
    let half = bits >> 1;
    p * f32::from_bits(half << 23) * f32::from_bits((bits - half) << 23)
}

/// `e^r` for `|r| <= ln 2 / 2`: within 3.4e-9 before rounding.
#[inline(always)]
pub(super) fn exp_reduced<A: Arch>(r: f32) -> f32 {
    poly!(A, r; 1.0, 1.0, 0.499_999_9, 0.166_665_2, 0.041_668_955, 0.008_368_852, 0.001_378_358_6)
}

#[inline(always)]
pub(super) fn exp<A: Arch>(x: f32) -> f32 {
    // Beyond the limits the result is 0 or infinity, which the scaling gives.
    let (t, _, r) = reduce::<A>(clamp(x, -104.0, 89.0), 2.0 * BIAS);
    scale(exp_reduced::<A>(r), t)
}

#[inline(always)]
pub(super) fn exp2<A: Arch>(x: f32) -> f32 {
    let x = clamp(x, -151.0, 129.0);
    let t = x + (ROUNDER + 2.0 * BIAS);
    // Exact: both are multiples of the last bit of `x`.
    let r = x - (t - (ROUNDER + 2.0 * BIAS));
    let p = poly!(A, r; 1.0, 0.693_147_2, 0.240_226_45, 0.055_503_58, 0.009_618_826, 0.001_339_168_4, 0.000_152_449_95);
    scale(p, t)
}

/// `e^r - 1` for `|r| <= ln 2 / 2`, relative to itself within 1.5e-8 before rounding.
#[inline(always)]
fn expm1_reduced<A: Arch>(r: f32) -> f32 {
    let q = poly!(A, r; 0.499_999_97, 0.166_665_42, 0.041_667_495, 0.008_366_725, 0.001_386_548_5);
    A::fma32(r * r, q, r)
}

#[inline(always)]
pub(super) fn expm1<A: Arch>(x: f32) -> f32 {
    // 2^n (p + 1) - 1. With half the power, because 2^128 is not a number.
    let (t, n, r) = reduce::<A>(clamp(x, -18.0, 89.0), BIAS - 1.0);
    let p = expm1_reduced::<A>(r);
    let s = power_of_two(t);
    let y = 2.0 * A::fma32(s, p, s - 0.5);
    let y = if n == 0.0 { p } else { y };
    y.copysign(x)
}

/// `e^-|x|`, at most 1.
#[inline(always)]
pub(super) fn exp_neg_abs<A: Arch>(x: f32) -> f32 {
    let x = -x.abs();
    let (t, _, r) = reduce::<A>(if -104.0 > x { -104.0 } else { x }, 2.0 * BIAS);
    scale(exp_reduced::<A>(r), t)
}

#[inline(always)]
pub(super) fn sigmoid<A: Arch>(x: f32) -> f32 {
    // e^-|x| never overflows, and for negative x it is the numerator, so that nothing cancels.
    let z = exp_neg_abs::<A>(x);
    (if x < 0.0 { z } else { 1.0 }) / (1.0 + z)
}

/// `e^-|x|` and, for negative `x`, `x e^-|x|`, rounded only once where `e^-|x|` has lost digits below the normal numbers.
#[inline(always)]
fn exp_neg_abs_and_product<A: Arch>(x: f32) -> (f32, f32) {
    let u = -x.abs();
    let (t, _, r) = reduce::<A>(if -110.0 > u { -110.0 } else { u }, 2.0 * BIAS);
    let p = exp_reduced::<A>(r);
    (scale(p, t), scale(p * vanish_below(x, -110.0), t))
}

/// `x`, but -0 below `limit`, and NaN for -infinity: what a factor is to be when the other one vanishes.
#[inline(always)]
pub(super) fn vanish_below(x: f32, limit: f32) -> f32 {
    if x < limit { 0.0 * x } else { x }
}

#[inline(always)]
pub(super) fn silu<A: Arch>(x: f32) -> f32 {
    let (z, xz) = exp_neg_abs_and_product::<A>(x);
    (if x < 0.0 { xz } else { x }) / (1.0 + z)
}

#[inline(always)]
pub(super) fn mish<A: Arch>(x: f32) -> f32 {
    // tanh(log(1 + w)) = w (w + 2) / (w (w + 2) + 2), for w = e^x; for positive x over w^2.
    let (z, xz) = exp_neg_abs_and_product::<A>(x);
    let negative = x < 0.0;
    let a = if negative { z + 2.0 } else { A::fma32(2.0, z, 1.0) };
    let b = if negative { A::fma32(z, a, 2.0) } else { A::fma32(2.0 * z, z, a) };
    (if negative { xz } else { x }) * (a / b)
}

#[inline(always)]
pub(super) fn tanh<A: Arch>(x: f32) -> f32 {
    let u = x.abs();
    let z = u * u;
    let p = poly!(A, z; -0.333_332_99, 0.133_319_36, -0.053_784_706, 0.020_798_54, -0.005_897_808_4);
    let near = A::fma32(u * z, p, u);
    // With m = e^2|x| - 1: m / (m + 2). From 9.02 on the result rounds to 1.
    let v = 2.0 * u;
    let v = if 18.2 < v { 18.2 } else { v };
    let (t, _, r) = reduce::<A>(v, BIAS);
    let s = power_of_two(t);
    let m = A::fma32(s, expm1_reduced::<A>(r), s - 1.0);
    (if u < 0.6 { near } else { m / (m + 2.0) }).copysign(x)
}

#[inline(always)]
pub(super) fn sinh<A: Arch>(x: f32) -> f32 {
    // With m = e^|x| - 1: (m + m / (m + 1)) / 2. A quarter of the power, because e^|x| overflows before the result.
    let u = x.abs();
    let (t, n, r) = reduce::<A>(if 89.6 < u { 89.6 } else { u }, BIAS - 2.0);
    let p = expm1_reduced::<A>(r);
    let s = power_of_two(t);
    let half = 2.0 * A::fma32(s, p, s - 0.25);
    let half = if n == 0.0 { 0.5 * p } else { half };
    let y = half + half / (2.0 * half + 1.0);
    let y = if half > 1e9 { half } else { y };
    // Halving loses the last bit of the smallest numbers.
    (if u < 1e-4 { u } else { y }).copysign(x)
}

#[inline(always)]
pub(super) fn cosh<A: Arch>(x: f32) -> f32 {
    let u = x.abs();
    let (t, _, r) = reduce::<A>(if 89.6 < u { 89.6 } else { u }, BIAS - 2.0);
    let half = 2.0 * (exp_reduced::<A>(r) * power_of_two(t));
    half + 0.25 / half
}
