//! Exponential and Cauchy numbers, and the slopes of randomised leaky rectifiers.

use std::f64::consts::PI;

use super::{Generator, RandomError, RandomFloat, Result};

impl Generator {
    /// Fills `out` with exponential numbers of rate `lambd`: `-ln(1 - unit) / lambd`.
    ///
    /// # Errors
    ///
    /// Unless `lambd` is positive.
    pub fn exponential<T: RandomFloat>(&mut self, out: &mut [T], lambd: f64) -> Result<()> {
        check("exponential_", lambd > 0.0, "lambda > 0.0", "lambda", lambd)?;
        let scale = -1.0 / lambd;
        for value in out {
            *value = T::from_f64(scale * libm::log1p(-self.unit64()));
        }
        Ok(())
    }

    /// Fills `out` with Cauchy numbers: `median + sigma tan(pi (unit - 1/2))`.
    ///
    /// # Errors
    ///
    /// Unless `sigma` is positive.
    pub fn cauchy<T: RandomFloat>(&mut self, out: &mut [T], median: f64, sigma: f64) -> Result<()> {
        check("cauchy_", sigma > 0.0, "sigma > 0.0", "sigma", sigma)?;
        for value in out {
            let tangent = libm::tan(PI * (self.unit64() - 0.5));
            *value = T::from_f64(libm::fma(sigma, tangent, median));
        }
        Ok(())
    }

    /// Fills `slopes` with what `rrelu` multiplies `input` by while training: a uniform number of `[lower, upper)` where the
    /// input is not positive (only there is anything drawn), 1 elsewhere.
    ///
    /// # Errors
    ///
    /// If `lower > upper`, or the slices differ in length.
    pub fn rrelu_slopes<T: RandomFloat>(
        &mut self,
        input: &[T],
        slopes: &mut [T],
        lower: f64,
        upper: f64,
    ) -> Result<()> {
        let ordered = lower <= upper;
        if !ordered || input.len() != slopes.len() {
            let found = format!("{lower}, {upper}, {} and {} elements", input.len(), slopes.len());
            let rule = "lower <= upper and as many slopes as inputs";
            return Err(RandomError::Parameter { op: "rrelu", rule, found });
        }
        let (lower, upper) = (T::from_f64(lower).to_f64(), T::from_f64(upper).to_f64());
        for (slope, x) in slopes.iter_mut().zip(input) {
            let drawn = if x.to_f64() <= 0.0 { self.unit64() * (upper - lower) + lower } else { 1.0 };
            *slope = T::from_f64(drawn);
        }
        Ok(())
    }
}

pub(super) fn check(op: &'static str, holds: bool, rule: &'static str, name: &str, value: f64) -> Result<()> {
    if holds { Ok(()) } else { Err(RandomError::Parameter { op, rule, found: format!("{name}={value}") }) }
}
