//! The contiguous form of the normal fill in `f32`.
//!
//! Logarithm, sine and cosine are the single-precision polynomials of the Cephes library (Moshier, "Methods and Programs
//! for Mathematical Functions", 1989), as PyTorch's vectorised fill evaluates them: which products are fused with which
//! sums decides the last bit, and is part of the stream.

use std::f32::consts::TAU;

use super::RandomElement;
use super::mt19937::Mt19937;
use super::normal::GROUP;
use super::uniform::fill_unit32;
use crate::cpu::arch::{Arch, Kernel, dispatch};

/// Elements drawn, then transformed: whole groups, few enough to stay in the first-level cache.
const CHUNK: usize = 64 * GROUP;
/// Groups whose radii and angles lie side by side during the transform, so that full vectors are used.
const SIDE_BY_SIDE: usize = 8;
const HALF: usize = GROUP / 2;

/// Fills `out`, which has [`GROUP`] elements or more.
#[inline(always)]
pub(super) fn fill<A: Arch>(engine: &mut Mt19937, out: &mut [f32], mean: f32, std: f32) {
    for chunk in out.chunks_mut(CHUNK) {
        // A last part of a group consumes units too, though its values are drawn again below.
        fill_unit32(engine, chunk);
        transform::<A>(chunk, mean, std);
    }
    if !out.len().is_multiple_of(GROUP)
        && let Some(last) = out.last_chunk_mut::<GROUP>()
    {
        fill_unit32(engine, last);
        transform::<A>(last, mean, std);
    }
}

/// Fills a 16-bit type from `f32` groups; unlike [`fill`], a last part of a group draws nothing of its own.
pub(super) fn fill_narrow<T: RandomElement>(engine: &mut Mt19937, out: &mut [T], mean: f32, std: f32) {
    let mut buffer = [0.0; CHUNK];
    let mut draw = |out: &mut [T]| {
        let buffer = &mut buffer[..out.len()];
        dispatch(Groups { engine, out: buffer, mean, std });
        for (value, &wide) in out.iter_mut().zip(&*buffer) {
            *value = T::from_f64(f64::from(wide));
        }
    };
    let whole = out.len() / GROUP * GROUP;
    out[..whole].chunks_mut(CHUNK).for_each(&mut draw);
    if whole != out.len()
        && let Some(last) = out.last_chunk_mut::<GROUP>()
    {
        draw(last);
    }
}

/// Whole groups, compiled once for all types that are rounded from them.
struct Groups<'a> {
    engine: &'a mut Mt19937,
    out: &'a mut [f32],
    mean: f32,
    std: f32,
}

impl Kernel for Groups<'_> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        fill_unit32(self.engine, self.out);
        transform::<A>(self.out, self.mean, self.std);
    }
}

/// Turns the units of every whole group of `values` into normal numbers.
#[inline(always)]
fn transform<A: Arch>(values: &mut [f32], mean: f32, std: f32) {
    let groups = values.as_chunks_mut::<GROUP>().0;
    let (blocks, rest) = groups.as_chunks_mut::<SIDE_BY_SIDE>();
    for block in blocks {
        transform_groups::<A, { SIDE_BY_SIDE * HALF }>(block, mean, std);
    }
    for group in rest {
        transform_groups::<A, HALF>(std::slice::from_mut(group), mean, std);
    }
}

/// Transforms `LANES / 8` groups: radii from their first halves, angles from their second ones.
#[inline(always)]
fn transform_groups<A: Arch, const LANES: usize>(groups: &mut [[f32; GROUP]], mean: f32, std: f32) {
    let mut first = [0.0; LANES];
    let mut second = [0.0; LANES];
    let halves = first.chunks_exact_mut(HALF).zip(second.chunks_exact_mut(HALF));
    for (group, (radii, angles)) in groups.iter().zip(halves) {
        radii.copy_from_slice(&group[..HALF]);
        angles.copy_from_slice(&group[HALF..]);
    }
    for i in 0..LANES {
        let radius = (-2.0 * ln::<A>(1.0 - first[i])).sqrt();
        let (sin, cos) = sin_cos::<A>(TAU * second[i]);
        first[i] = A::fma32(radius * cos, std, mean);
        second[i] = A::fma32(radius * sin, std, mean);
    }
    let halves = first.chunks_exact(HALF).zip(second.chunks_exact(HALF));
    for (group, (cosines, sines)) in groups.iter_mut().zip(halves) {
        group[..HALF].copy_from_slice(cosines);
        group[HALF..].copy_from_slice(sines);
    }
}

/// ln(x) for a normal, positive `x`.
#[inline(always)]
fn ln<A: Arch>(x: f32) -> f32 {
    const SQRT_HALF: f32 = 0.707_106_781_186_547_524;
    const POLYNOMIAL: [f32; 9] = [
        7.0376836292e-2,
        -1.1514610310e-1,
        1.1676998740e-1,
        -1.2420140846e-1,
        1.4249322787e-1,
        -1.6668057665e-1,
        2.0000714765e-1,
        -2.4999993993e-1,
        3.3333331174e-1,
    ];
    // ln 2 in two parts; the product of the first with an exponent is exact.
    const LN2_HIGH: f32 = 0.693359375;
    const LN2_LOW: f32 = -2.12194440e-4;

    // x = m 2^e with m in [1/2, 1), then m - 1 with m in [sqrt(1/2), sqrt(2)).
    let bits = x.to_bits();
    let exponent = ((bits >> 23) as i32 - 126) as f32;
    let m = f32::from_bits(bits & 0x007F_FFFF | 0x3F00_0000);
    let small = m < SQRT_HALF;
    let e = exponent - if small { 1.0 } else { 0.0 };
    let m = (m - 1.0) + if small { m } else { 0.0 };

    let z = m * m;
    let mut p = POLYNOMIAL[0];
    for coefficient in &POLYNOMIAL[1..] {
        p = A::fma32(p, m, *coefficient);
    }
    let p = A::fma32(p * m, z, e * LN2_LOW);
    let p = A::fma32(-z, 0.5, p);
    A::fma32(e, LN2_HIGH, m + p)
}

/// sin(t) and cos(t) for `t` of [0, 2 pi].
#[inline(always)]
fn sin_cos<A: Arch>(t: f32) -> (f32, f32) {
    const FOUR_OVER_PI: f32 = 1.27323954473516;
    // Pi/4 in three parts, negated.
    const PI4: [f32; 3] = [-0.78515625, -2.4187564849853515625e-4, -3.77489497744594108e-8];

    // The octant, rounded up to an even one, so that what remains is within pi/4 of 0.
    let octant = ((t * FOUR_OVER_PI) as i32 + 1) & !1;
    let y = octant as f32;
    let t = A::fma32(y, PI4[0], t);
    let t = A::fma32(y, PI4[1], t);
    let t = A::fma32(y, PI4[2], t);

    let z = t * t;
    let c = A::fma32(2.443315711809948e-5, z, -1.388731625493765e-3);
    let c = A::fma32(c, z, 4.166664568298827e-2);
    let c = A::fma32(c * z, z, -(z * 0.5)) + 1.0;
    let s = A::fma32(-1.9515295891e-4, z, 8.3321608736e-3);
    let s = A::fma32(s, z, -1.6666654611e-1);
    let s = A::fma32(s * z, t, t);

    let swap = octant & 2 != 0;
    let sin_sign = ((octant & 4) as u32) << 29;
    let cos_sign = ((!(octant - 2) & 4) as u32) << 29;
    let sin = if swap { c } else { s };
    let cos = if swap { s } else { c };
    (f32::from_bits(sin.to_bits() ^ sin_sign), f32::from_bits(cos.to_bits() ^ cos_sign))
}
