//! The rules by which two sets of numbers agree.
//!
//! Integers and booleans must be equal. Floats must satisfy `|got - want| <= atol + rtol * |want|`, computed in f64;
//! NaN equals NaN, an infinity equals only the same infinity, and the sign of zero does not matter.

use anyhow::{Result, bail, ensure};
use serde::Deserialize;

use super::case::Arg;

/// How far a float may be off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
pub struct Tolerance {
    /// Relative to the expected value.
    pub rtol: f64,
    /// Absolute.
    pub atol: f64,
}

impl Tolerance {
    /// Both parts multiplied.
    pub fn times(self, factor: f64) -> Self {
        Self { rtol: self.rtol * factor, atol: self.atol * factor }
    }

    /// Whether one value agrees with another.
    pub fn allows(self, got: f64, want: f64) -> bool {
        if got.is_nan() || want.is_nan() {
            return got.is_nan() && want.is_nan();
        }
        if got.is_infinite() || want.is_infinite() {
            return got == want;
        }
        (got - want).abs() <= self.atol + self.rtol * want.abs()
    }
}

/// How one output is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compare {
    /// Value by value.
    #[default]
    #[serde(skip)]
    Close,
    /// The absolute values: factors that are unique only up to signs.
    Abs,
    /// Indices among equal values: what lies at the index counts.
    Ties,
    /// Dtype and shape alone.
    Skip,
}

/// The elements of a tensor: floats of any width as f64, integers and booleans as i64.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Floats.
    Float(Vec<f64>),
    /// Integers, and booleans as 0 and 1.
    Int(Vec<i64>),
}

impl Values {
    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Float(v) => v.len(),
            Self::Int(v) => v.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether all are zero, which a gradient that is absent also means.
    pub fn all_zero(&self) -> bool {
        match self {
            Self::Float(v) => v.iter().all(|&v| v == 0.0),
            Self::Int(v) => v.iter().all(|&v| v == 0),
        }
    }

    /// The elements at these positions.
    pub fn select(&self, positions: &[usize]) -> Result<Self> {
        if let Some(bad) = positions.iter().find(|&&p| p >= self.len()) {
            bail!("position {bad} in a tensor of {} elements", self.len());
        }
        Ok(match self {
            Self::Float(v) => Self::Float(positions.iter().map(|&p| v[p]).collect()),
            Self::Int(v) => Self::Int(positions.iter().map(|&p| v[p]).collect()),
        })
    }
}

/// Compares element by element; the error names the first difference and counts them.
pub fn values(got: &Values, want: &Values, tolerance: Tolerance, compare: Compare) -> Result<()> {
    ensure!(got.len() == want.len(), "{} elements, expected {}", got.len(), want.len());
    match (got, want) {
        _ if compare == Compare::Skip => Ok(()),
        (Values::Float(got), Values::Float(want)) if compare == Compare::Abs => {
            differences(got, want, |g, w| tolerance.allows(g.abs(), w.abs()))
        }
        (Values::Float(got), Values::Float(want)) => differences(got, want, |g, w| tolerance.allows(*g, *w)),
        (Values::Int(got), Values::Int(want)) => differences(got, want, |g, w| g == w),
        _ => bail!("floats beside integers"),
    }
}

fn differences<T: std::fmt::Debug>(got: &[T], want: &[T], same: impl Fn(&T, &T) -> bool) -> Result<()> {
    let mut wrong = got.iter().zip(want).enumerate().filter(|(_, (g, w))| !same(g, w));
    if let Some((i, (g, w))) = wrong.next() {
        bail!("element {i} is {g:?}, expected {w:?} ({} of {} differ)", 1 + wrong.count(), got.len());
    }
    Ok(())
}

/// Compares indices along one axis of a tensor: where they differ, the values that they point to must be the same.
///
/// `shape` is the shape of `input`; the indices have the same shape but for the length of axis `dim`, which may also be
/// missing.
pub fn ties(input: &Values, shape: &[usize], dim: i64, got: &[i64], want: &[i64]) -> Result<()> {
    ensure!(got.len() == want.len(), "{} indices, expected {}", got.len(), want.len());
    let rank = shape.len() as i64;
    let dim = if dim < 0 { dim + rank } else { dim };
    // A 0-dim tensor is sorted as if it had one element on one axis.
    let (shape, dim) = match (usize::try_from(dim), shape) {
        (_, []) => (&[1][..], 0),
        (Ok(dim), shape) if dim < shape.len() => (shape, dim),
        _ => bail!("axis {dim} of a tensor of rank {rank}"),
    };
    let length = shape[dim];
    let inner: usize = shape[dim + 1..].iter().product();
    let outer: usize = shape[..dim].iter().product();
    if got.is_empty() {
        return Ok(());
    }
    let lanes = outer * inner;
    ensure!(
        lanes > 0 && got.len().is_multiple_of(lanes),
        "{} indices for a tensor of shape {shape:?}",
        got.len()
    );
    let taken = got.len() / lanes;
    let same = |a: usize, b: usize| match input {
        Values::Int(v) => v.get(a).is_some() && v.get(a) == v.get(b),
        Values::Float(v) => v.get(a).zip(v.get(b)).is_some_and(|(a, b)| a == b || (a.is_nan() && b.is_nan())),
    };
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        let (o, rest) = (i / (taken * inner), i % inner);
        let at = |index: i64| {
            let index = usize::try_from(index).ok().filter(|&index| index < length)?;
            Some((o * length + index) * inner + rest)
        };
        let agree = match (at(g), at(w)) {
            (Some(a), Some(b)) => a == b || same(a, b),
            _ => false,
        };
        ensure!(agree, "index {i} is {g}, expected {w} or one of its equals");
    }
    Ok(())
}

/// Compares plain values: numbers, bools, strings, lists of them.
pub fn plain(got: &Arg, want: &Arg, tolerance: Tolerance) -> Result<()> {
    let same = match (got, want) {
        (Arg::Float(g), Arg::Float(w)) => tolerance.allows(*g, *w),
        (Arg::List(g), Arg::List(w)) if g.len() == w.len() => {
            return g.iter().zip(w).try_for_each(|(g, w)| plain(g, w, tolerance));
        }
        (g, w) => g == w,
    };
    ensure!(same, "the result is {got:?}, expected {want:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const INF: f64 = f64::INFINITY;
    const NAN: f64 = f64::NAN;

    #[test]
    fn floats_agree_within_both_tolerances() {
        let tolerance = Tolerance { rtol: 0.1, atol: 0.5 };
        let rows = [
            (1.0, 1.0, true),
            (10.0, 11.5, true),
            (10.0, 12.0, false),
            // The tolerance is relative to the expected value, not to the other.
            (12.0, 10.0, false),
            (11.5, 10.0, true),
            (0.0, -0.0, true),
            (NAN, NAN, true),
            (NAN, 1.0, false),
            (1.0, NAN, false),
            (INF, INF, true),
            (INF, -INF, false),
            (INF, 1e308, false),
            (1e308, INF, false),
        ];
        for (got, want, agree) in rows {
            assert_eq!(tolerance.allows(got, want), agree, "{got} for {want}");
        }
        assert!(Tolerance::default().allows(1.0, 1.0) && !Tolerance::default().allows(1.0, 1.0 + 1e-15));
    }

    #[test]
    fn tensors_are_compared_by_their_rule() {
        let exact = Tolerance::default();
        let (a, b) = (Values::Float(vec![1.0, -2.0]), Values::Float(vec![-1.0, 2.0]));
        assert!(values(&a, &b, exact, Compare::Close).is_err());
        assert!(values(&a, &b, exact, Compare::Abs).is_ok());
        assert!(values(&a, &b, exact, Compare::Skip).is_ok());
        assert!(values(&a, &Values::Float(vec![1.0]), exact, Compare::Skip).is_err());
        let wide = Tolerance { rtol: 9.0, atol: 9.0 };
        assert!(values(&Values::Int(vec![1]), &Values::Int(vec![2]), wide, Compare::Close).is_err());
        assert!(values(&Values::Int(vec![1]), &Values::Float(vec![1.0]), wide, Compare::Close).is_err());
        let error = values(&a, &Values::Float(vec![1.0, 3.0]), exact, Compare::Close).expect_err("differs");
        assert_eq!(error.to_string(), "element 1 is -2.0, expected 3.0 (1 of 2 differ)");
    }

    #[test]
    fn indices_among_equal_values_may_differ() {
        // [[3, 1, 3], [2, 2, 0]]
        let input = Values::Int(vec![3, 1, 3, 2, 2, 0]);
        let shape = [2, 3];
        // A sort along the last axis.
        assert!(ties(&input, &shape, -1, &[1, 2, 0, 2, 1, 0], &[1, 0, 2, 2, 0, 1]).is_ok());
        assert!(ties(&input, &shape, 1, &[0, 1, 2, 2, 1, 0], &[1, 0, 2, 2, 0, 1]).is_err());
        // The index of the mode, the axis gone.
        assert!(ties(&input, &shape, 1, &[2, 0], &[0, 1]).is_ok());
        assert!(ties(&input, &shape, 1, &[1, 0], &[0, 1]).is_err());
        // Along the first axis.
        assert!(ties(&input, &shape, 0, &[0, 1, 0], &[0, 1, 0]).is_ok());
        assert!(ties(&input, &shape, 0, &[1, 1, 0], &[0, 1, 0]).is_err());
        // Out of range, wrong counts, wrong axis: errors, not panics.
        assert!(ties(&input, &shape, 1, &[3, 0], &[0, 1]).is_err());
        assert!(ties(&input, &shape, 1, &[-1, 0], &[0, 1]).is_err());
        assert!(ties(&input, &shape, 1, &[0, 0, 0], &[0, 0, 0]).is_err());
        assert!(ties(&input, &shape, 2, &[0, 0], &[0, 0]).is_err());
        // NaNs are equals; a 0-dim tensor has one element.
        assert!(ties(&Values::Float(vec![NAN, NAN]), &[2], 0, &[1], &[0]).is_ok());
        assert!(ties(&Values::Float(vec![1.0]), &[], -1, &[0], &[0]).is_ok());
    }

    #[test]
    fn plain_values_keep_their_type() {
        let tolerance = Tolerance { rtol: 0.0, atol: 0.1 };
        assert!(plain(&Arg::Float(1.05), &Arg::Float(1.0), tolerance).is_ok());
        assert!(plain(&Arg::Int(1), &Arg::Float(1.0), tolerance).is_err());
        assert!(plain(&Arg::Bool(true), &Arg::Int(1), tolerance).is_err());
        let list = |v: &[i64]| Arg::List(v.iter().map(|&i| Arg::Int(i)).collect());
        assert!(plain(&list(&[1, 2]), &list(&[1, 2]), tolerance).is_ok());
        assert!(plain(&list(&[1]), &list(&[1, 2]), tolerance).is_err());
    }
}
