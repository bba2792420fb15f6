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
pub(crate) fn erfinv(x: f64) -> f64 {
    let u = x.abs();
    if u.is_nan() || u >= 1.0 {
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
pub(crate) fn lgamma(x: f64) -> f64 {
    if x == f64::NEG_INFINITY { f64::INFINITY } else { libm::lgamma(x) }
}

/// The derivative of [`lgamma`].
pub(crate) fn digamma(x: f64) -> f64 {
    if x == 0.0 {
        return f64::INFINITY.copysign(-x);
    }
    if x < 0.0 {
        // The poles have no value; infinity minus itself has none either. What is left is exact, also next to 0.
        let fraction = x - libm::rint(x);
        if fraction.is_nan() || fraction == 0.0 {
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
pub(crate) fn i0(x: f64) -> f64 {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with values computed with 40 digits.
    fn check(name: &str, function: fn(f64) -> f64, values: &[(f64, f64)]) {
        for &(x, want) in values {
            let got = function(x);
            assert!(
                (got - want).abs() <= 4e-15 * want.abs().max(x.abs().min(0.1)),
                "{name}({x:e}) = {got:e}, not {want:e}"
            );
        }
    }

    #[test]
    fn values() {
        check(
            "digamma",
            digamma,
            &[
                (1e-10, -10000000000.577215),
                (0.1, -10.423754940411076),
                (0.5, -1.9635100260214235),
                (1.0, -0.5772156649015329),
                (2.5, 0.7031566406452432),
                (9.99, 2.250700372831201),
                (10.0, 2.251752589066721),
                (1000000.0, 13.815510057964191),
                (-0.5, 0.03648997397857652),
                (-3.75, -1.6923885983113303),
                (-100.25, 7.754238959208646),
            ],
        );
        check(
            "erfinv",
            erfinv,
            &[
                (1e-300, 8.86226925452758e-301),
                (1e-09, 8.86226925452758e-10),
                (0.1, 0.08885599049425769),
                (0.4999, 0.4768250236254278),
                (0.5001, 0.4770475405909757),
                (0.9, 1.1630871536766743),
                (0.999999, 3.458910737275499),
                (-0.3, -0.2724627147267543),
                (-0.9999999999999, -5.261483331372676),
            ],
        );
        check(
            "i0",
            i0,
            &[
                (0.0, 1.0),
                (0.001, 1.0000002500000156),
                (1.0, 1.2660658777520084),
                (5.5, 42.69464515184779),
                (-12.0, 18948.925349296307),
                (19.99, 43135797.87064526),
                (20.01, 43984910.8348573),
                (100.0, 1.0737517071310738e+42),
                (710.0, 3.345334558619656e+306),
            ],
        );
        check(
            "lgamma",
            lgamma,
            &[
                (1e-08, 18.42068073818021),
                (0.5, 0.5723649429247001),
                (3.5, 1.2009736023470743),
                (100.0, 359.1342053695754),
                (100000.0, 1051287.7089736569),
                (-0.5, 1.2655121234846454),
                (-2.25, 0.5555015450206475),
            ],
        );
        check("sinc", sinc, &[(0.0, 1.0), (0.5, 2.0 / PI), (-1.5, -2.0 / (3.0 * PI))]);
        check("logit", logit, &[(0.5, 0.0), (0.25, -3f64.ln()), (0.9, 9f64.ln())]);
    }

    /// As PyTorch has them.
    #[test]
    fn special_values() {
        let inf = f64::INFINITY;
        for (function, x, want) in [
            (digamma as fn(f64) -> f64, 0.0, -inf),
            (digamma, -0.0, inf),
            (digamma, inf, inf),
            (digamma, -1.0, f64::NAN),
            (digamma, -inf, f64::NAN),
            (erfinv, 1.0, inf),
            (erfinv, -1.0, -inf),
            (erfinv, 1.5, f64::NAN),
            (erfinv, -0.0, -0.0),
            (lgamma, 0.0, inf),
            (lgamma, -2.0, inf),
            (lgamma, inf, inf),
            (lgamma, -inf, inf),
            (i0, 1e30, inf),
            (i0, -inf, inf),
            (logit, 0.0, -inf),
            (logit, 1.0, inf),
            (logit, -1.0, f64::NAN),
            (sinc, -0.0, 1.0),
        ] {
            let got = function(x);
            assert!(
                got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan()),
                "f({x}) = {got}, not {want}"
            );
        }
        for function in [digamma, erfinv, lgamma, i0, logit, sinc] {
            assert!(function(f64::NAN).is_nan());
        }
    }
}
