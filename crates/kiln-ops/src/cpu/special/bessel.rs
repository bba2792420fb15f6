//! Bessel functions and the Airy function.
//!
//! The equations are numbered as in the NIST Digital Library of Mathematical Functions (DLMF).

use std::f64::consts::{FRAC_PI_4, PI};

use crate::cpu::math::i0;

/// Terms below this share of a sum no longer change it.
const TINY: f64 = 1e-17;
const EULER: f64 = 0.577_215_664_901_532_9;

/// J0.
pub(crate) fn bessel_j0(x: f64) -> f64 {
    libm::j0(x)
}

/// Of an infinity, which PyTorch's formulas for all but J0 multiply by 0.
fn finite(x: f64, f: fn(f64) -> f64) -> f64 {
    if x.is_infinite() { f64::NAN } else { f(x) }
}

/// J1; NaN at infinities.
pub(crate) fn bessel_j1(x: f64) -> f64 {
    finite(x, libm::j1)
}

/// Y0; minus infinity at 0, NaN at infinity.
pub(crate) fn bessel_y0(x: f64) -> f64 {
    finite(x, libm::y0)
}

/// Y1; minus infinity at 0, NaN at infinity.
pub(crate) fn bessel_y1(x: f64) -> f64 {
    finite(x, libm::y1)
}

/// I0; NaN at infinities, as in PyTorch.
pub(crate) fn bessel_i0(x: f64) -> f64 {
    finite(x, i0)
}

/// sin(x) / x.
pub(crate) fn spherical_j0(x: f64) -> f64 {
    if x.is_infinite() {
        return 0.0;
    }
    if x.abs() < 1e-8 { 1.0 } else { libm::sin(x) / x }
}

/// The sum of the asymptotic series of I (`sign` -1) or K (`sign` 1) of order `nu`, without its factor: DLMF 10.40.1 and
/// 10.40.2.
fn asymptotic(nu: f64, x: f64, sign: f64) -> f64 {
    let (mut term, mut sum, mut k) = (1.0, 1.0, 1.0);
    while f64::abs(term) > TINY * f64::abs(sum) && k < 60.0 {
        let odd = 2.0 * k - 1.0;
        term *= sign * (4.0 * nu * nu - odd * odd) / (8.0 * k * x);
        sum += term;
        k += 1.0;
    }
    sum
}

/// From here on the asymptotic series are exact to the last digit.
const FAR: f64 = 20.0;

/// e^-|x| I0(x).
pub(crate) fn i0e(x: f64) -> f64 {
    let u = x.abs();
    if u < FAR { i0(u) * libm::exp(-u) } else { asymptotic(0.0, u, -1.0) / (2.0 * PI * u).sqrt() }
}

/// The power series of I1, all of whose terms have one sign: DLMF 10.25.2.
fn i1_series(x: f64) -> f64 {
    let quarter = 0.25 * x * x;
    let (mut term, mut sum, mut k) = (0.5 * x, 0.5 * x, 1.0);
    while term.abs() > TINY * sum.abs() {
        term *= quarter / (k * (k + 1.0));
        sum += term;
        k += 1.0;
    }
    sum
}

/// I1; NaN at infinities, as in PyTorch.
pub(crate) fn i1(x: f64) -> f64 {
    let u = x.abs();
    if u < FAR {
        return i1_series(x);
    }
    if u == f64::INFINITY {
        return f64::NAN;
    }
    // e^u overflows before the result does.
    let root = libm::exp(0.5 * u);
    (root * (asymptotic(1.0, u, -1.0) / (2.0 * PI * u).sqrt()) * root).copysign(x)
}

/// e^-|x| I1(x).
pub(crate) fn i1e(x: f64) -> f64 {
    let u = x.abs();
    if u < FAR {
        i1_series(x) * libm::exp(-u)
    } else {
        (asymptotic(1.0, u, -1.0) / (2.0 * PI * u).sqrt()).copysign(x)
    }
}

/// e^x K of order `nu` for x from 1/2 on.
///
/// The trapezoidal rule on the integral of e^(-x cosh t) cosh(nu t) (DLMF 10.32.9): its error for an analytic integrand
/// that vanishes doubly exponentially falls exponentially with the step.
fn k_scaled(nu: f64, x: f64) -> f64 {
    if x >= FAR {
        return (PI / (2.0 * x)).sqrt() * asymptotic(nu, x, 1.0);
    }
    const STEP: f64 = 0.125;
    let (mut sum, mut t) = (0.5, STEP);
    loop {
        let half = libm::sinh(0.5 * t);
        let term = libm::exp(-2.0 * x * half * half) * libm::cosh(nu * t);
        sum += term;
        t += STEP;
        if term <= TINY * sum || t > 12.0 {
            return STEP * sum;
        }
    }
}

/// Below this the power series of K0 and K1 keep all digits.
const NEAR: f64 = 1.0;

/// The power series of K0 for small positive x: DLMF 10.31.2.
fn k0_series(x: f64) -> f64 {
    let quarter = 0.25 * x * x;
    let (mut power, mut harmonic, mut sum) = (1.0, 0.0, 0.0);
    for k in 1..20 {
        let k = f64::from(k);
        power *= quarter / (k * k);
        harmonic += 1.0 / k;
        sum += power * harmonic;
    }
    sum - (libm::log(0.5 * x) + EULER) * i0(x)
}

/// The power series of K1 for small positive x: DLMF 10.31.1.
fn k1_series(x: f64) -> f64 {
    let quarter = 0.25 * x * x;
    let (mut power, mut harmonic, mut sum) = (1.0, 0.0, 0.0);
    for k in 0..20 {
        let k = f64::from(k);
        // psi(k + 1) + psi(k + 2)
        sum += power * (2.0 * harmonic + 1.0 / (k + 1.0) - 2.0 * EULER);
        harmonic += 1.0 / (k + 1.0);
        power *= quarter / ((k + 1.0) * (k + 2.0));
    }
    1.0 / x + libm::log(0.5 * x) * i1_series(x) - 0.25 * x * sum
}

/// K of order 0 or 1, times e^x where `scaled`: infinite at 0, NaN below.
fn k(nu: f64, x: f64, scaled: bool) -> f64 {
    if x == 0.0 {
        return f64::INFINITY;
    }
    if x < 0.0 || x.is_nan() {
        return f64::NAN;
    }
    if x < NEAR {
        let y = if nu == 0.0 { k0_series(x) } else { k1_series(x) };
        return if scaled { y * libm::exp(x) } else { y };
    }
    let y = k_scaled(nu, x);
    if scaled { y } else { y * libm::exp(-x) }
}

/// K0.
pub(crate) fn k0(x: f64) -> f64 {
    k(0.0, x, false)
}

/// e^x K0(x).
pub(crate) fn k0e(x: f64) -> f64 {
    k(0.0, x, true)
}

/// K1.
pub(crate) fn k1(x: f64) -> f64 {
    k(1.0, x, false)
}

/// e^x K1(x).
pub(crate) fn k1e(x: f64) -> f64 {
    k(1.0, x, true)
}

/// Ai; the absolute error is below 1e-10 for negative x, where it oscillates, the relative one below 1e-13 elsewhere.
/// NaN for infinities, as in PyTorch.
pub(crate) fn airy_ai(x: f64) -> f64 {
    if x.is_infinite() || x.is_nan() {
        return f64::NAN;
    }
    if x < -7.0 {
        return airy_turned(-x, 0.0);
    }
    if x < 1.0 {
        return airy_series(x);
    }
    // DLMF 9.6.2
    let zeta = 2.0 / 3.0 * x * x.sqrt();
    k_scaled(1.0 / 3.0, zeta) * libm::exp(-zeta) * (x / 3.0).sqrt() / PI
}

/// DLMF 9.4.1 with Ai(0) and Ai'(0).
fn airy_series(x: f64) -> f64 {
    const VALUE: f64 = 0.355_028_053_887_817_24;
    const SLOPE: f64 = -0.258_819_403_792_806_8;
    let cube = x * x * x;
    let (mut f, mut g) = (1.0, x);
    let mut sum = VALUE * f + SLOPE * g;
    for k in 1..60 {
        let k = 3.0 * f64::from(k);
        f *= cube / ((k - 1.0) * k);
        g *= cube / (k * (k + 1.0));
        sum += VALUE * f + SLOPE * g;
    }
    sum
}

/// Ai(-x) for large x where the phase is off by `error`: DLMF 9.7.9.
pub(super) fn airy_turned(x: f64, error: f64) -> f64 {
    let zeta = 2.0 / 3.0 * x * x.sqrt();
    let (mut even, mut odd, mut term) = (1.0, 0.0, 1.0);
    for k in 1..40 {
        let k6 = 6.0 * f64::from(k);
        let next = term * (k6 - 5.0) * (k6 - 3.0) * (k6 - 1.0)
            / (216.0 * f64::from(k) * (2.0 * f64::from(k) - 1.0) * zeta);
        if next >= term || next < TINY {
            break;
        }
        term = next;
        // Signs in pairs: + + - - of even and odd terms.
        let signed = if k / 2 % 2 == 0 { term } else { -term };
        if k % 2 == 0 {
            even += signed;
        } else {
            odd += signed;
        }
    }
    let phase = zeta - FRAC_PI_4 + error;
    (libm::cos(phase) * even + libm::sin(phase) * odd) / (PI.sqrt() * x.sqrt().sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_computed_with_40_digits() {
        let cases: &[(fn(f64) -> f64, f64, f64)] = &[
            (i1, 1.0, 0.565_159_103_992_485),
            (i1, -25.0, -5_657_865_129.878_701),
            (i0e, 30.0, 0.073_145_946_482_237_29),
            (i1e, 5.0, 0.163_972_266_944_542_34),
            (k0, 0.1, 2.427_069_024_702_016_6),
            (k0, 2.0, 0.113_893_872_749_533_44),
            (k1, 0.1, 9.853_844_780_870_606),
            (k1, 2.0, 0.139_865_881_816_522_43),
            (k0e, 50.0, 0.176_807_155_857_429_33),
            (airy_ai, 0.0, 0.355_028_053_887_817_24),
            (airy_ai, 1.0, 0.135_292_416_312_881_41),
            (airy_ai, 5.0, 0.000_108_344_428_136_074_4),
            (airy_ai, -5.0, 0.350_761_009_024_114_3),
            (airy_ai, -10.0, 0.040_241_238_486_443_19),
            (spherical_j0, 0.0, 1.0),
        ];
        for &(f, x, want) in cases {
            let got = f(x);
            assert!((got - want).abs() <= 2e-12 * want.abs().max(0.05), "{x}: {got} {want}");
        }
    }

    #[test]
    fn pieces_meet() {
        // Both sides of a border are other formulas; the functions are smooth.
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-10 * a.abs().max(b.abs());
        for f in [i0e as fn(f64) -> f64, i1e, k0e, k1e] {
            for border in [NEAR, FAR] {
                assert!(near(f(border * (1.0 - 1e-13)), f(border * (1.0 + 1e-13))), "{border}");
            }
        }
        for border in [-7.0, 1.0] {
            assert!((airy_ai(border - 1e-13) - airy_ai(border + 1e-13)).abs() < 1e-10, "{border}");
        }
    }
}
