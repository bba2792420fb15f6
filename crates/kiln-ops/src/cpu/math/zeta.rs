//! Hurwitz's zeta function, from which the polygamma functions come.

/// The Bernoulli numbers B(2j) over (2j)!.
const TERMS: [f64; 8] = [
    1.0 / 12.0,
    -1.0 / 720.0,
    1.0 / 30240.0,
    -1.0 / 1_209_600.0,
    1.0 / 47_900_160.0,
    -691.0 / 1_307_674_368_000.0,
    1.0 / 74_724_249_600.0,
    -3617.0 / 10_670_622_842_880_000.0,
];

/// The sum of `(q + k)^-s` over all k from 0 on. NaN for s below 1 and, unless s is an integer, for negative q.
pub(crate) fn zeta(s: f64, q: f64) -> f64 {
    if s == 1.0 {
        return f64::INFINITY;
    }
    if s < 1.0 || q.is_nan() || (s.is_nan() && q > 0.0) {
        return f64::NAN;
    }
    if q > 0.0 {
        return positive(s, q);
    }
    if q == libm::floor(q) {
        return f64::INFINITY;
    }
    if s != libm::floor(s) || q.is_infinite() {
        return f64::NAN;
    }
    // The terms on the negative side are those of two such sums on the positive side.
    let below = libm::ceil(-q);
    let sign = if s % 2.0 == 0.0 { 1.0 } else { -1.0 };
    sign * (positive(s, 1.0 - q - below) - positive(s, 1.0 - q)) + positive(s, q + below)
}

/// The first terms, and the rest by the formula of Euler and Maclaurin.
fn positive(s: f64, q: f64) -> f64 {
    let (mut sum, mut a) = (0.0, q);
    while a < 12.0 + s.min(1e3) {
        let term = libm::pow(a, -s);
        sum += term;
        if term < 1e-17 * sum {
            return sum;
        }
        a += 1.0;
    }
    let last = libm::pow(a, -s);
    sum += last * (a / (s - 1.0) + 0.5);
    let mut factor = s * last / a;
    let mut k = 1.0;
    for term in TERMS {
        sum += factor * term;
        factor *= (s + k) * (s + k + 1.0) / (a * a);
        k += 2.0;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::zeta;

    /// Values of torch.special.zeta in float64.
    #[test]
    fn values() {
        for (s, q, want) in [
            (2.0, 1.0, 1.644_934_066_848_226_4),
            (2.0, 0.1, 101.433_299_150_792_76),
            (2.0, 25.5, 0.039_994_669_649_562_92),
            (3.0, 1.0, 1.202_056_903_159_594_2),
            (4.5, 2.0, 0.054_707_510_761_454_31),
            (30.0, 1.0, 1.000_000_000_931_327_4),
            (2.0, -0.5, 8.934_802_200_544_679),
            (3.0, -1.5, 0.118_102_025_820_864_13),
        ] {
            let got = zeta(s, q);
            assert!((got - want).abs() <= 1e-13 * want.abs(), "zeta({s}, {q}) = {got}, not {want}");
        }
        assert_eq!(zeta(2.0, -3.0), f64::INFINITY);
        assert_eq!(zeta(1.0, 2.0), f64::INFINITY);
        assert!(zeta(0.5, 2.0).is_nan());
        assert!(zeta(2.5, -0.5).is_nan());
        assert!(zeta(2.0, -1e300).is_infinite());
    }
}
