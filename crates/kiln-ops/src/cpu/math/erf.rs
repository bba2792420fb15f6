//! The error function in `f32` and the activations built on it.

use super::exp::{BIAS, exp_reduced, power_of_two, reduce, scale, vanish_below};
use super::poly_pairs;
use crate::cpu::arch::Arch;

/// erf for 0 to 0.91, where it is accurate relative to itself.
#[inline(always)]
fn erf_near<A: Arch>(u: f32) -> f32 {
    let z = u * u;
    let p = poly_pairs!(A, z, z * z; 0.128_379_15, -0.376_125_07, 0.112_819_46, -0.026_771_061, 0.004_999_344_7, -0.000_602_071_7);
    A::fma32(u, p, u)
}

#[inline(always)]
pub(super) fn erf<A: Arch>(x: f32) -> f32 {
    let u = x.abs();
    let near = erf_near::<A>(u);
    // 1 - e^log(erfc); 1 from 3.95 on.
    let v = if 3.95 < u { 3.95 } else { u };
    let log = poly_pairs!(A, v, v * v; -0.000_180_726_36, -1.127_737_6, -0.637_077_45, -0.104_023_86, 0.022_271_534, -0.003_054_442_6,
        0.000_197_084_78);
    let (t, _, r) = reduce::<A>(log, BIAS);
    let far = A::fma32(-exp_reduced::<A>(r), power_of_two(t), 1.0);
    (if u < 0.91 { near } else { far }).copysign(x)
}

/// `factor e^(-h - low)`: `low`, the rounding error of the argument, goes straight to the reduced argument.
#[inline(always)]
fn exp_neg_pair<A: Arch>(h: f32, low: f32, factor: f32) -> f32 {
    let (t, _, r) = reduce::<A>(-h, 2.0 * BIAS);
    scale(exp_reduced::<A>(r - low) * factor, t)
}

#[inline(always)]
pub(super) fn erfc<A: Arch>(x: f32) -> f32 {
    // e^(u^2) erfc(u) (u + 3) is smooth and flat: a polynomial in (u - 3) / (u + 3).
    // NaN is kept out and comes back at the end: which of several NaNs an fma passes on is not the same everywhere.
    let u = x.abs();
    let v = if u < 10.2 { u } else { 10.2 };
    let t = 1.0 / (v + 3.0);
    let y = A::fma32(2.0, v * t, -1.0);
    let p = poly_pairs!(A, y, y * y; 1.074_006_9, -0.883_394_5, 0.590_228_3, -0.310_465_96, 0.119_529_17, -0.026_840_061,
        -0.001_227_045_9, 0.003_080_578, -0.000_481_994_68, -0.000_324_719_47)
        * t;
    let square = v * v;
    let tail = exp_neg_pair::<A>(square, A::fma32(v, v, -square), p);
    let y = if x < 0.0 { 2.0 - tail } else { tail };
    // There the polynomial above loses digits.
    let y = if u < 0.55 { 1.0 - erf_near::<A>(u).copysign(x) } else { y };
    if x.is_nan() { x } else { y }
}

#[inline(always)]
pub(super) fn gelu<A: Arch>(x: f32) -> f32 {
    // x times the normal distribution function, as max(x, 0) - |x| tail(|x|) with the function's tail: it is
    // e^(-x^2/2) / (|x| + 2.5) times a polynomial in |x| / (|x| + 2.5), and unlike 1 + erf keeps its relative accuracy.
    let u = x.abs();
    let u = if 14.6 < u { 14.6 } else { u };
    let t = 1.0 / (u + 2.5);
    let w = u * t;
    let p = poly_pairs!(A, w, w * w; 1.25, -1.243_392_2, 0.169_606_86, 0.291_873_6, 0.055_981_144, -0.149_522_19,
        0.137_497_93, -0.312_745_1, 0.279_342_14, -0.079_701_684);
    let half = 0.5 * u;
    let square = half * u;
    // 0 x is -0 for negative x, so that the sign of zero stays, and NaN at -infinity, as in PyTorch.
    (if x >= 0.0 { x } else { 0.0 * x }) + exp_neg_pair::<A>(square, A::fma32(half, u, -square), p * -w)
}

#[inline(always)]
pub(super) fn gelu_tanh<A: Arch>(x: f32) -> f32 {
    // 0.5 (1 + tanh(v)) is sigmoid(2v). 2v = x (C0 + C1 x^2) with the errors of its roundings carried in `low`.
    const C0: f32 = 1.595_769_2;
    const C0_LO: f32 = -4.534_068e-8;
    const C1: f32 = 0.071_354_814;
    const C1_LO: f32 = 2.398_832_5e-9;
    let u = x.abs();
    let u = if 12.0 < u { 12.0 } else { u };
    let square = u * u;
    let square_low = A::fma32(u, u, -square);
    // The sum of two products, and what its rounding lost (Knuth's TwoSum).
    let product = C1 * square;
    let c = product + C0;
    let back = c - product;
    let sum_low = (product - (c - back)) + (C0 - back);
    let product_low =
        A::fma32(C1, square, -product) + A::fma32(C1, square_low, A::fma32(C1_LO, square, C0_LO));
    let v = u * c;
    let low = A::fma32(u, sum_low + product_low, A::fma32(u, c, -v));
    let z = exp_neg_pair::<A>(v, low, 1.0);
    let xz = exp_neg_pair::<A>(v, low, vanish_below(x, -12.0));
    (if x < 0.0 { xz } else { x }) / (1.0 + z)
}
