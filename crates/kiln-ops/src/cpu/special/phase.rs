//! Oscillating functions of large numbers in single precision.
//!
//! There the result is an amplitude times the sine or cosine of a phase, and a phase of a thousand radians that is rounded
//! to `f32` is wrong in the fourth digit. PyTorch computes single precision that way. The rounding of the phase is taken
//! over, so that results agree; everything else stays exact.

use std::f64::consts::{FRAC_PI_4, PI};

use super::bessel::{airy_ai, airy_turned, bessel_j0, bessel_j1, bessel_y0, bessel_y1};

/// From here on PyTorch computes Bessel functions by phase and amplitude.
const FAR: f64 = 5.0;

/// By how much `x - late` is off when it is computed in single precision.
fn error(x: f64, late: f64) -> f64 {
    let x = x as f32;
    f64::from(x - late as f32) - (f64::from(x) - late)
}

/// The functions of the first and second kind where the phase is that far off: those of the exact phase, turned.
fn turned(x: f64, late: f64, j: fn(f64) -> f64, y: fn(f64) -> f64) -> (f64, f64) {
    if x > FAR && x.is_finite() {
        let (j, y, error) = (j(x), y(x), error(x, late));
        let (sin, cos) = (libm::sin(error), libm::cos(error));
        return (j * cos - y * sin, y * cos + j * sin);
    }
    (j(x), y(x))
}

/// J0 in single precision.
pub(crate) fn bessel_j0_single(x: f64) -> f64 {
    turned(x.abs(), FRAC_PI_4, bessel_j0, bessel_y0).0
}

/// J1 in single precision.
pub(crate) fn bessel_j1_single(x: f64) -> f64 {
    let y = turned(x.abs(), 3.0 * FRAC_PI_4, bessel_j1, bessel_y1).0;
    if x < 0.0 { -y } else { y }
}

/// Y0 in single precision.
pub(crate) fn bessel_y0_single(x: f64) -> f64 {
    turned(x, FRAC_PI_4, bessel_j0, bessel_y0).1
}

/// Y1 in single precision.
pub(crate) fn bessel_y1_single(x: f64) -> f64 {
    turned(x, 3.0 * FRAC_PI_4, bessel_j1, bessel_y1).1
}

/// Ai in single precision.
pub(crate) fn airy_ai_single(x: f64) -> f64 {
    if x >= -7.0 || !x.is_finite() {
        return airy_ai(x);
    }
    let single = x as f32;
    let phase = -2.0 * single * (-single).sqrt() / 3.0 + 0.25 * std::f32::consts::PI;
    let u = -f64::from(single);
    airy_turned(u, f64::from(phase) - (2.0 / 3.0 * u * u.sqrt() + 0.25 * PI))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of PyTorch in single precision, most of them wrong in the fourth to sixth digit.
    #[test]
    fn the_rounding_of_the_phase_is_taken_over() {
        let cases: &[(fn(f64) -> f64, f64, f64)] = &[
            (bessel_j0_single, 1113.0, 0.023817935958504677),
            (bessel_j0_single, 10701.0, 0.0077035389840602875),
            (bessel_j0_single, -99.5, -0.01954323798418045),
            (bessel_j1_single, 1113.0, 0.0021765343844890594),
            (bessel_j1_single, -10701.0, 0.0003869729698635638),
            (bessel_j1_single, 99.5, -0.07766321301460266),
            (bessel_y0_single, 1113.0, 0.0021659403573721647),
            (bessel_y0_single, 10701.0, -0.0003835371171589941),
            (bessel_y0_single, 99.5, -0.07756396383047104),
            (bessel_y1_single, 1113.0, -0.023816974833607674),
            (bessel_y1_single, 10701.0, -0.007703367155045271),
            (bessel_y1_single, 99.5, 0.019153479486703873),
            (airy_ai_single, -7.5, 0.3217756152153015),
            (airy_ai_single, -99.5, 0.07248856872320175),
            (airy_ai_single, -1113.0, -0.05638445168733597),
            (airy_ai_single, -10701.0, 0.005840107332915068),
        ];
        for &(f, x, want) in cases {
            assert!((f(x) - want).abs() <= 1e-5 * want.abs() + 3e-7, "{x}: {} {want}", f(x));
        }
    }

    #[test]
    fn near_zero_nothing_changes() {
        for x in [0.0, 0.5, 4.9] {
            assert_eq!(bessel_j0_single(x), bessel_j0(x));
            assert_eq!(bessel_y1_single(x), bessel_y1(x));
            assert_eq!(bessel_j1_single(-x), bessel_j1(-x));
            assert_eq!(airy_ai_single(-x), airy_ai(-x));
        }
        assert!(bessel_y0_single(-1.0).is_nan() && bessel_y0_single(f64::INFINITY).is_nan());
    }
}
