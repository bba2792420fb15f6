//! Draws of categories by their weights.

use super::error::reserve;
use super::{Generator, RandomError, RandomFloat, Result};

/// Categories that a draw can tell apart, PyTorch's bound.
const MAX_CATEGORIES: usize = 1 << 24;

impl Generator {
    /// `num_samples` categories for every row of `weights`, which is `rows x categories` in row-major order. A weight need
    /// not be a probability: only its share of the row's sum counts.
    ///
    /// With replacement a sample is found in the row's cumulative sums. Without (and for a single sample), every category
    /// gets its weight divided by an exponential number, and the largest quotients win (Efraimidis and Spirakis,
    /// "Weighted random sampling with a reservoir", 2006); of equal quotients the first.
    ///
    /// # Errors
    ///
    /// If a weight is negative, infinite or NaN, a row sums to 0, there are more than 2^24 categories, no sample is asked for, or more
    /// than there are categories without replacement.
    pub fn multinomial<T: RandomFloat>(
        &mut self,
        weights: &[T],
        [rows, categories]: [usize; 2],
        num_samples: usize,
        replacement: bool,
    ) -> Result<Vec<i64>> {
        let fail = |problem| Err(RandomError::Weights(problem));
        if rows.checked_mul(categories) != Some(weights.len()) {
            return fail("the weights do not have the given shape");
        }
        if num_samples == 0 {
            return fail("cannot sample n_sample <= 0 samples");
        }
        if !replacement && num_samples > categories {
            return fail("cannot sample n_sample > prob_dist.size(-1) samples without replacement");
        }
        if categories > MAX_CATEGORIES {
            return fail("number of categories cannot exceed 2^24");
        }
        if rows == 0 {
            return Ok(Vec::new());
        }
        if categories == 0 {
            return fail("there are no categories to sample from");
        }
        for row in weights.chunks_exact(categories) {
            if !row.iter().map(|w| w.to_f64()).all(|w| w >= 0.0 && w.is_finite()) {
                return fail("probability tensor contains either `inf`, `nan` or element < 0");
            }
            if row.iter().all(|w| w.to_f64() == 0.0) {
                return fail("invalid multinomial distribution (sum of probabilities <= 0)");
            }
        }
        let mut samples = reserve("multinomial", rows.saturating_mul(num_samples))?;
        if replacement && num_samples > 1 {
            let mut cumulative = reserve("multinomial", categories)?;
            for row in weights.chunks_exact(categories) {
                accumulate(row, &mut cumulative);
                for _ in 0..num_samples {
                    let unit = self.unit64();
                    samples.push(cumulative.partition_point(|&sum| sum < unit) as i64);
                }
            }
        } else {
            let mut quotients = reserve("multinomial", categories)?;
            for row in weights.chunks_exact(categories) {
                quotients.clear();
                for (category, weight) in row.iter().enumerate() {
                    let exponential = T::from_f64(-libm::log1p(-self.unit64()));
                    // f64 holds the quotient of narrower types precisely enough to be rounded a second time.
                    let quotient = T::from_f64(weight.to_f64() / exponential.to_f64()).to_f64();
                    quotients.push((quotient, category as i64));
                }
                append_largest(&mut quotients, num_samples, &mut samples);
            }
        }
        Ok(samples)
    }
}

/// The row's running sums, in `f64` for that type and in `f32` for the others, divided by the last, which becomes 1.
fn accumulate<T: RandomFloat>(row: &[T], cumulative: &mut Vec<f64>) {
    // f64 holds sums and quotients of f32 precisely enough to be rounded a second time.
    let wide = T::DIGITS == f64::MANTISSA_DIGITS;
    let rounded = |value: f64| if wide { value } else { f64::from(value as f32) };
    cumulative.clear();
    let mut sum = 0.0;
    for weight in row {
        sum = rounded(sum + weight.to_f64());
        cumulative.push(sum);
    }
    for value in cumulative.iter_mut() {
        *value = rounded(*value / sum);
    }
    if let Some(last) = cumulative.last_mut() {
        *last = 1.0;
    }
}

/// Appends the categories of the `count` largest quotients in falling order.
fn append_largest(quotients: &mut [(f64, i64)], count: usize, samples: &mut Vec<i64>) {
    // 0 / 0, if an exponential number is 0, sorts before every number, as PyTorch sorts NaN.
    let falling = |a: &(f64, i64), b: &(f64, i64)| {
        let nan_first = b.0.is_nan().cmp(&a.0.is_nan());
        nan_first.then(b.0.partial_cmp(&a.0).unwrap_or(std::cmp::Ordering::Equal)).then(a.1.cmp(&b.1))
    };
    if count < quotients.len() {
        quotients.select_nth_unstable_by(count, falling);
    }
    let largest = &mut quotients[..count];
    largest.sort_unstable_by(falling);
    samples.extend(largest.iter().map(|&(_, category)| category));
}
