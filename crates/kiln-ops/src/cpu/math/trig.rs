//! Trigonometric functions in `f32` and their inverses.
//!
//! sin, cos and tan reduce their argument with fused multiply-adds, which is exact enough up to [`LARGE`]; beyond it the
//! argument goes through `f64` and a reduction with as many digits of 1/pi as it needs, one element at a time.

use super::exp::ROUNDER;
use super::{poly, poly_pairs};
use crate::cpu::arch::Arch;

/// From here on the vectorised bodies of sin, cos and tan are not accurate.
pub(super) const LARGE: f32 = 1.0e5;

const TWO_OVER_PI: f32 = 0.636_619_75;
/// pi/2 in three parts.
const PIO2: [f32; 3] = [1.570_796_4, -4.371_139e-8, -1.715_124_5e-15];

/// `x = q pi/2 + r + low` with `|r| <= pi/4` as `(q, r, low)`, the lowest bits of `q` only.
#[inline(always)]
fn reduce<A: Arch>(x: f32) -> (u32, f32, f32) {
    let t = A::fma32(x, TWO_OVER_PI, ROUNDER);
    let q = t - ROUNDER;
    // Exact: what is left is a multiple of the last bit of pi/2, below 1.
    let first = A::fma32(q, -PIO2[0], x);
    // The next part in full, since near a zero it cancels: its product in two, and what the subtraction loses (exact
    // too: `first` is a multiple of the last bit of `product`).
    let product = q * PIO2[1];
    let product_low = A::fma32(q, PIO2[1], -product);
    let r = first - product;
    let low = A::fma32(q, -PIO2[2], ((first - r) - product) - product_low);
    (t.to_bits(), r, low)
}

/// sin and cos of `r + low` for `|r| <= pi/4`.
#[inline(always)]
fn sin_cos_reduced<A: Arch>(r: f32, low: f32) -> (f32, f32) {
    let z = r * r;
    let s = poly!(A, z; -0.166_666_55, 0.008_332_189, -0.000_195_182_76);
    let c = poly!(A, z; -0.5, 0.041_666_646, -0.001_388_731_1, 2.443_255_8e-5);
    (r + A::fma32(r * z, s, low), A::fma32(z, c, A::fma32(-r, low, 1.0)))
}

#[inline(always)]
pub(super) fn sin_small<A: Arch>(x: f32) -> f32 {
    let (q, r, low) = reduce::<A>(x);
    let (s, c) = sin_cos_reduced::<A>(r, low);
    let y = if q & 1 == 0 { s } else { c };
    let y = f32::from_bits(y.to_bits() ^ ((q & 2) << 30));
    // The reduction turns -0 into 0.
    if x == 0.0 { x } else { y }
}

#[inline(always)]
pub(super) fn cos_small<A: Arch>(x: f32) -> f32 {
    let (q, r, low) = reduce::<A>(x);
    let (s, c) = sin_cos_reduced::<A>(r, low);
    let y = if q & 1 == 0 { c } else { s };
    f32::from_bits(y.to_bits() ^ ((q.wrapping_add(1) & 2) << 30))
}

#[inline(always)]
pub(super) fn tan_small<A: Arch>(x: f32) -> f32 {
    let (q, r, low) = reduce::<A>(x);
    let (s, c) = sin_cos_reduced::<A>(r, low);
    let odd = q & 1 != 0;
    let (above, below) = if odd { (c, -s) } else { (s, c) };
    let y = above / below;
    if x == 0.0 { x } else { y }
}

#[inline(always)]
pub(super) fn atan<A: Arch>(x: f32) -> f32 {
    let u = x.abs();
    let inverted = u > 1.0;
    let v = if inverted { 1.0 / u } else { u };
    let y = atan_reduced::<A>(v);
    (if inverted { (PIO2[0] - y) + PIO2[1] } else { y }).copysign(x)
}

/// For 0 to 1.
#[inline(always)]
fn atan_reduced<A: Arch>(v: f32) -> f32 {
    let z = v * v;
    let p = poly_pairs!(A, z, z * z; -0.333_333, 0.199_985_36, -0.142_641_26, 0.109_516_546, -0.084_020_56, 0.057_935_8,
        -0.031_157_766, 0.010_904_537, -0.001_791_502);
    A::fma32(v * z, p, v)
}

#[inline(always)]
pub(super) fn atan2<A: Arch>(y: f32, x: f32) -> f32 {
    let (v, u) = (y.abs(), x.abs());
    let swapped = v > u;
    let (low, high) = if swapped { (u, v) } else { (v, u) };
    // 0/0 and inf/inf.
    let ratio = if low == high { 1.0 } else { low / high };
    let ratio = if high == 0.0 { 0.0 } else { ratio };
    let a = atan_reduced::<A>(ratio);
    let a = if swapped { (PIO2[0] - a) + PIO2[1] } else { a };
    let a = if x.is_sign_negative() { (2.0 * PIO2[0] - a) + 2.0 * PIO2[1] } else { a };
    let a = a.copysign(y);
    if x.is_nan() || y.is_nan() { x + y } else { a }
}

/// asin for `|x| <= 1/2`, given `z = x^2`.
#[inline(always)]
fn asin_reduced<A: Arch>(x: f32, z: f32) -> f32 {
    let p = poly!(A, z; 0.166_667_52, 0.074_953_07, 0.045_469_638, 0.024_181_534, 0.042_165_037);
    A::fma32(x * z, p, x)
}

#[inline(always)]
pub(super) fn asin<A: Arch>(x: f32) -> f32 {
    let u = x.abs();
    let large = u > 0.5;
    // asin(u) = pi/2 - 2 asin(sqrt((1 - u) / 2)); the subtraction is exact there.
    let half = 0.5 - 0.5 * u;
    let v = if large { half.sqrt() } else { u };
    let z = if large { half } else { u * u };
    let y = asin_reduced::<A>(v, z);
    (if large { A::fma32(-2.0, y, PIO2[1]) + PIO2[0] } else { y }).copysign(x)
}

#[inline(always)]
pub(super) fn acos<A: Arch>(x: f32) -> f32 {
    let u = x.abs();
    let large = u > 0.5;
    let half = 0.5 - 0.5 * u;
    let v = if large { half.sqrt() } else { u };
    let z = if large { half } else { u * u };
    let y = asin_reduced::<A>(v, z);
    let near_one = 2.0 * y;
    let far = if x < 0.0 { A::fma32(-2.0, y, 2.0 * PIO2[1]) + 2.0 * PIO2[0] } else { near_one };
    let middle = PIO2[0] - (y.copysign(x) - PIO2[1]);
    if large { far } else { middle }
}
