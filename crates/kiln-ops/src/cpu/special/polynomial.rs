//! Orthogonal polynomials, by their recurrences (DLMF 18.9). The degree is a number whose fraction is cut off; negative
//! degrees give 0.

/// Recurrences run at most so long; the degrees beyond, which no computation needs, give NaN.
const LONGEST: i64 = 1_000_000;
/// Above this degree Chebyshev's polynomials come from their closed forms.
const CLOSED: i64 = 8;

/// The degree; what no integer holds counts as negative, as in PyTorch.
fn degree(n: f64) -> i64 {
    if n.abs() < i64::MAX as f64 { n as i64 } else { -1 }
}

/// Chebyshev's four kinds, which share a recurrence and differ in how it starts.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    T,
    U,
    V,
    W,
}

fn chebyshev(kind: Kind, x: f64, n: i64) -> f64 {
    if n < 0 {
        return 0.0;
    }
    let even = if n % 2 == 0 { 1.0 } else { -1.0 };
    let real = n as f64;
    if x.abs() == 1.0 {
        let sign = if x > 0.0 { 1.0 } else { even };
        return match (kind, x > 0.0) {
            (Kind::T, _) | (Kind::V, true) | (Kind::W, false) => sign,
            (Kind::U, _) => sign * (real + 1.0),
            (Kind::V, false) | (Kind::W, true) => sign * (2.0 * real + 1.0),
        };
    }
    if n == 0 {
        return 1.0;
    }
    if n > CLOSED && x.abs() < 1.0 {
        let angle = libm::acos(x);
        return match kind {
            Kind::T => libm::cos(real * angle),
            Kind::U => libm::sin((real + 1.0) * angle) / libm::sin(angle),
            Kind::V => libm::cos((real + 0.5) * angle) / libm::cos(0.5 * angle),
            Kind::W => libm::sin((real + 0.5) * angle) / libm::sin(0.5 * angle),
        };
    }
    if n > LONGEST {
        // The same with hyperbolic functions; on the negative side V and W change places.
        let angle = libm::acosh(x.abs());
        let kind = match kind {
            Kind::V if x < 0.0 => Kind::W,
            Kind::W if x < 0.0 => Kind::V,
            kind => kind,
        };
        let value = match kind {
            Kind::T => libm::cosh(real * angle),
            Kind::U => libm::sinh((real + 1.0) * angle) / libm::sinh(angle),
            Kind::V => libm::cosh((real + 0.5) * angle) / libm::cosh(0.5 * angle),
            Kind::W => libm::sinh((real + 0.5) * angle) / libm::sinh(0.5 * angle),
        };
        return if x < 0.0 { even * value } else { value };
    }
    let first = match kind {
        Kind::T => x,
        Kind::U => 2.0 * x,
        Kind::V => 2.0 * x - 1.0,
        Kind::W => 2.0 * x + 1.0,
    };
    recurrence(n, first, |_, q, p| 2.0 * x * q - p)
}

/// The `n`-th of a sequence that starts with 1 and `first`, where `next` gives the one after the k-th, `q`, and the one
/// before, `p`.
fn recurrence(n: i64, first: f64, next: impl Fn(f64, f64, f64) -> f64) -> f64 {
    match n {
        0 => return 1.0,
        n if n < 0 => return 0.0,
        n if n > LONGEST => return f64::NAN,
        _ => {}
    }
    let (mut p, mut q) = (1.0, first);
    for k in 1..n {
        (p, q) = (q, next(k as f64, q, p));
        if q.is_nan() {
            break;
        }
    }
    q
}

/// T.
pub(crate) fn chebyshev_t(x: f64, n: f64) -> f64 {
    chebyshev(Kind::T, x, degree(n))
}

/// U.
pub(crate) fn chebyshev_u(x: f64, n: f64) -> f64 {
    chebyshev(Kind::U, x, degree(n))
}

/// V.
pub(crate) fn chebyshev_v(x: f64, n: f64) -> f64 {
    chebyshev(Kind::V, x, degree(n))
}

/// W.
pub(crate) fn chebyshev_w(x: f64, n: f64) -> f64 {
    chebyshev(Kind::W, x, degree(n))
}

/// T at 2x - 1.
pub(crate) fn shifted_t(x: f64, n: f64) -> f64 {
    chebyshev_t(2.0 * x - 1.0, n)
}

/// U at 2x - 1.
pub(crate) fn shifted_u(x: f64, n: f64) -> f64 {
    chebyshev_u(2.0 * x - 1.0, n)
}

/// V at 2x - 1.
pub(crate) fn shifted_v(x: f64, n: f64) -> f64 {
    chebyshev_v(2.0 * x - 1.0, n)
}

/// W at 2x - 1.
pub(crate) fn shifted_w(x: f64, n: f64) -> f64 {
    chebyshev_w(2.0 * x - 1.0, n)
}

/// Degrees up to which PyTorch computes Hermite polynomials of doubles; beyond, NaN.
const HERMITE: i64 = 512;

/// H, the physicists' form.
pub(crate) fn hermite_h(x: f64, n: f64) -> f64 {
    let n = degree(n);
    if n > HERMITE { f64::NAN } else { recurrence(n, 2.0 * x, |k, q, p| 2.0 * x * q - 2.0 * k * p) }
}

/// He, the probabilists' form.
pub(crate) fn hermite_he(x: f64, n: f64) -> f64 {
    let n = degree(n);
    if n > HERMITE { f64::NAN } else { recurrence(n, x, |k, q, p| x * q - k * p) }
}

/// L.
pub(crate) fn laguerre_l(x: f64, n: f64) -> f64 {
    let n = degree(n);
    if x == 0.0 && n >= 0 {
        return 1.0;
    }
    recurrence(n, 1.0 - x, |k, q, p| ((2.0 * k + 1.0 - x) * q - k * p) / (k + 1.0))
}

/// P.
pub(crate) fn legendre_p(x: f64, n: f64) -> f64 {
    let n = degree(n);
    if x.abs() == 1.0 && n >= 0 {
        return if x > 0.0 || n % 2 == 0 { 1.0 } else { -1.0 };
    }
    recurrence(n, x, |k, q, p| ((2.0 * k + 1.0) * x * q - k * p) / (k + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_degrees_are_what_tables_say() {
        let x = 0.3;
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-13, "{a} {b}");
        near(chebyshev_t(x, 3.0), 4.0 * x * x * x - 3.0 * x);
        near(chebyshev_u(x, 2.0), 4.0 * x * x - 1.0);
        near(chebyshev_v(x, 2.0), 4.0 * x * x - 2.0 * x - 1.0);
        near(chebyshev_w(x, 2.0), 4.0 * x * x + 2.0 * x - 1.0);
        near(shifted_t(0.5, 2.0), -1.0);
        near(hermite_h(x, 3.0), 8.0 * x * x * x - 12.0 * x);
        near(hermite_he(x, 3.0), x * x * x - 3.0 * x);
        near(laguerre_l(x, 2.0), 0.5 * (x * x - 4.0 * x + 2.0));
        near(legendre_p(x, 3.0), 0.5 * (5.0 * x * x * x - 3.0 * x));
        assert_eq!((chebyshev_t(x, -1.0), legendre_p(x, -2.0)), (0.0, 0.0));
    }

    #[test]
    fn closed_forms_continue_the_recurrence() {
        for kind in [Kind::T, Kind::U, Kind::V, Kind::W] {
            for x in [-0.9, -0.2, 0.4, 0.99] {
                let step = 2.0 * x * chebyshev(kind, x, CLOSED) - chebyshev(kind, x, CLOSED - 1);
                assert!((step - chebyshev(kind, x, CLOSED + 1)).abs() < 1e-12);
            }
        }
        // Enormous degrees neither hang nor panic.
        assert_eq!(chebyshev_t(1.1, 1e18), f64::INFINITY);
        assert!(legendre_p(0.1, 1e18).is_nan());
    }
}
