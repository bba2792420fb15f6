//! The functions that are rare in a network: in `f64`, one element at a time. Their `f32` forms round the `f64` result.

use std::f64::consts::{FRAC_2_SQRT_PI, PI};

/// The logarithm of `x / (1 - x)`.
pub(super) fn logit(x: f64) -> f64 {
    libm::log(x / (1.0 - x))
}

/// `sin(pi x) / (pi x)`, 1 at 0.
pub(super) fn sinc(x: f64) -> f64 {
    let y = PI * x;
    if x == 0.0 { 1.0 } else { libm::sin(y) / y }
}

/// The inverse of erf: Winitzki's closed form (relative error 2e-3; "A handy approximation for the error function and
/// its inverse", 2008) and two of Halley's steps, each of which cubes the error.
pub(super) fn erfinv(x: f64) -> f64 {
    let u = x.abs();
    if !(u < 1.0) {
        return if u == 1.0 { f64::INFINITY.copysign(x) } else { f64::NAN };
    }
    const A: f64 = 0.147;
    let log = libm::log((1.0 - u) * (1.0 + u));
    let t = 2.0 / (PI * A) + 0.5 * log;
    let mut y = libm::sqrt((libm::sqrt(t * t - log / A) - t).max(0.0));
    for _ in 0..2 {
        // 1 - u is exact in the upper half, and erfc keeps its digits there.
        let error = if u > 0.5 { (1.0 - u) - libm::erfc(y) } else { libm::erf(y) - u };
        let newton = error / (FRAC_2_SQRT_PI * libm::exp(-y * y));
        y -= newton / (1.0 + y * newton);
    }
    y.copysign(x)
}

/// The logarithm of the absolute value of the gamma function.
pub(super) fn lgamma(x: f64) -> f64 {
    if x == f64::NEG_INFINITY { f64::INFINITY } else { libm::lgamma(x) }
}

/// The derivative of [`lgamma`].
pub(super) fn digamma(x: f64) -> f64 {
    if x == 0.0 {
        return f64::INFINITY.copysign(-x);
    }
    if x < 0.0 {
        // The poles have no value; infinity minus its floor has none either.
        let fraction = x - libm::floor(x);
        if !(fraction > 0.0) {
            return f64::NAN;
        }
        return digamma(1.0 - x) - PI / libm::tan(PI * fraction);
    }
    // digamma(x) = digamma(x + 1) - 1/x, up to where the asymptotic series holds to the last digit.
    let (mut x, mut shift) = (x, 0.0);
    while x < 10.0 {
        shift -= 1.0 / x;
        x += 1.0;
    }
    // The Bernoulli numbers B(2k) over 2k, from the last term on.
    const TERMS: [f64; 7] =
        [1.0 / 12.0, -691.0 / 32760.0, 1.0 / 132.0, -1.0 / 240.0, 1.0 / 252.0, -1.0 / 120.0, 1.0 / 12.0];
    let z = 1.0 / (x * x);
    let series = TERMS.iter().fold(0.0, |sum, term| sum * z + term) * z;
    libm::log(x) - 0.5 / x - series + shift
}

/// The modified Bessel function of the first kind, of order 0.
pub(super) fn i0(x: f64) -> f64 {
    let u = x.abs();
    if u == f64::INFINITY {
        return u;
    }
    let (mut term, mut sum) = (1.0, 1.0);
    if u < 20.0 {
        // The power series: all terms positive.
        let quarter = 0.25 * u * u;
        let mut k = 1.0;
        while term > 1e-17 * sum {
            term *= quarter / (k * k);
            sum += term;
            k += 1.0;
        }
        sum
    } else {
        // The asymptotic series, whose terms fall below the last digit before they grow again.
        let mut k = 1.0;
        while term > 1e-17 * sum {
            let odd = 2.0 * k - 1.0;
            term *= odd * odd / (k * 8.0 * u);
            sum += term;
            k += 1.0;
        }
        // e^u overflows before the result does.
        let root = libm::exp(0.5 * u);
        root * (sum / libm::sqrt(2.0 * PI * u)) * root
    }
}
