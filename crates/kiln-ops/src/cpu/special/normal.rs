//! The normal distribution's functions and what goes with them.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// -x ln(x), 0 at 0, minus infinity below.
pub(crate) fn entr(x: f64) -> f64 {
    if x > 0.0 {
        -x * libm::log(x)
    } else if x == 0.0 {
        0.0
    } else if x < 0.0 {
        f64::NEG_INFINITY
    } else {
        x
    }
}

/// a ln(1 + b), 0 where a is 0 and b is a number.
pub(crate) fn xlog1py(a: f64, b: f64) -> f64 {
    if a == 0.0 && !b.is_nan() { 0.0 } else { a * libm::log1p(b) }
}

/// e^(x^2), with the square's rounding error put right: its logarithm would be off by as much as the square is large.
fn exp_square(x: f64) -> f64 {
    let square = x * x;
    if square.is_infinite() {
        return square;
    }
    libm::exp(square) * (1.0 + libm::fma(x, x, -square))
}

/// e^(x^2) erfc(x), without overflow for large x.
pub(crate) fn erfcx(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x < 0.0 {
        return 2.0 * exp_square(x) - erfcx(-x);
    }
    if x < 25.0 {
        return exp_square(x) * libm::erfc(x);
    }
    // DLMF 7.12.1
    let (mut term, mut sum, mut k) = (1.0, 1.0, 1.0);
    while f64::abs(term) > 1e-17 {
        term *= -(2.0 * k - 1.0) / (2.0 * x * x);
        sum += term;
        k += 1.0;
    }
    sum / (x * PI.sqrt())
}

/// P(N <= x) of a standard normal N.
pub(crate) fn ndtr(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}

/// The logarithm of [`ndtr`], also where that is too small to be a number.
pub(crate) fn log_ndtr(x: f64) -> f64 {
    if x < -1.0 {
        libm::log(0.5 * erfcx(-x * FRAC_1_SQRT_2)) - 0.5 * x * x
    } else {
        libm::log1p(-0.5 * libm::erfc(x * FRAC_1_SQRT_2))
    }
}

/// The inverse of [`ndtr`]: infinite at 0 and 1, NaN outside.
///
/// A start within 5e-4 (Hastings, "Approximations for Digital Computers", 1955, sheet 68), and steps of Newton's method
/// with Halley's correction on the logarithm of the distribution function, or on the function itself near the middle.
pub(crate) fn ndtri(p: f64) -> f64 {
    if p == 0.0 || p == 1.0 {
        return if p == 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    if !(p > 0.0 && p < 1.0) {
        return f64::NAN;
    }
    if p > 0.5 {
        return -lower(1.0 - p);
    }
    lower(p)
}

/// [`ndtri`] for 0 < p <= 1/2.
fn lower(p: f64) -> f64 {
    let t = (-2.0 * libm::log(p)).sqrt();
    let mut x = (2.515517 + t * (0.802853 + t * 0.010328))
        / (1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308)))
        - t;
    for _ in 0..3 {
        if p > 0.25 {
            // erf keeps the digits of what is left of 1/2.
            let error = 0.5 * libm::erf(x * FRAC_1_SQRT_2) - (p - 0.5);
            let step = error * (2.0 * PI).sqrt() * libm::exp(0.5 * x * x);
            x -= step / (1.0 + 0.5 * x * step);
        } else {
            let error = log_ndtr(x) - libm::log(p);
            // The slope of the logarithm is h = density / distribution, its own slope -h (x + h).
            let h = (2.0 / PI).sqrt() / erfcx(-x * FRAC_1_SQRT_2);
            let step = error / h;
            x -= step / (1.0 + 0.5 * step * (x + h));
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_computed_with_40_digits() {
        let cases: &[(fn(f64) -> f64, f64, f64)] = &[
            (erfcx, 1.0, 0.427_583_576_155_807),
            (erfcx, 30.0, 0.018_795_888_861_416_75),
            (erfcx, -2.0, 108.940_904_389_977_97),
            (log_ndtr, -40.0, -804.608_442_013_753_8),
            (log_ndtr, 1.0, -0.172_753_779_023_449_88),
            (ndtri, 0.975, 1.959_963_984_540_054),
            (ndtri, 0.3, -0.524_400_512_708_041),
            (ndtri, 1e-300, -37.047_096_299_361_2),
            (ndtr, -1.0, 0.158_655_253_931_457_05),
            (entr, 0.5, 0.346_573_590_279_972_64),
        ];
        for &(f, x, want) in cases {
            let got = f(x);
            assert!((got - want).abs() <= 1e-13 * want.abs(), "{x}: {got} {want}");
        }
    }

    #[test]
    fn the_inverse_inverts() {
        for i in 1..1000 {
            let p = f64::from(i) / 1000.0;
            assert!((ndtr(ndtri(p)) - p).abs() < 1e-15, "{p}");
        }
    }
}
