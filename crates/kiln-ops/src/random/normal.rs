//! Normal numbers, in PyTorch's two forms, and the log-normal numbers made of the second.
//!
//! A contiguous fill of [`GROUP`] elements or more draws one unit per element and turns groups of 16 units into 16 normal
//! numbers (Box and Muller's transform, "A note on the generation of random normal deviates", 1958). Everything else draws
//! one value at a time in `f64`; there the transform's second value is cached and is the next one to be handed out.

use std::f64::consts::PI;

use super::element::start;
use super::mt19937::Mt19937;
use super::uniform::fill_unit64;
use super::{Generator, RandomError, RandomFloat, Result};
use crate::cpu::arch::{Arch, Kernel};

/// Elements that the contiguous form transforms together: 8 radii, then 8 angles.
pub(super) const GROUP: usize = 16;

impl Generator {
    /// Fills `out`, a whole contiguous tensor, with normal numbers.
    ///
    /// # Errors
    ///
    /// If `std` is negative or NaN.
    pub fn normal<T: RandomFloat>(&mut self, out: &mut [T], mean: f64, std: f64) -> Result<()> {
        if out.len() < GROUP {
            return self.normal_one_by_one(out, mean, std);
        }
        check_std("normal", std >= 0.0, "std >= 0.0", std)?;
        start::<T, _>(Grouped { engine: &mut self.engine, out, mean, std });
        Ok(())
    }

    /// Fills `out` with the normal numbers that a tensor which is not contiguous gets, in the order of its memory: the
    /// dimension of the smallest stride runs fastest.
    ///
    /// # Errors
    ///
    /// If `std` is negative or NaN.
    pub fn normal_one_by_one<T: RandomFloat>(&mut self, out: &mut [T], mean: f64, std: f64) -> Result<()> {
        check_std("normal", std >= 0.0, "std >= 0.0", std)?;
        for value in out {
            *value = T::from_f64(libm::fma(self.normal_sample(), std, mean));
        }
        Ok(())
    }

    /// Fills `out` with exponentials of normal numbers.
    ///
    /// # Errors
    ///
    /// Unless `std` is positive.
    pub fn log_normal<T: RandomFloat>(&mut self, out: &mut [T], mean: f64, std: f64) -> Result<()> {
        check_std("log_normal_", std > 0.0, "std > 0.0", std)?;
        for value in out {
            *value = T::from_f64(libm::exp(libm::fma(self.normal_sample(), std, mean)));
        }
        Ok(())
    }

    /// One standard normal number of the one-at-a-time form.
    pub fn normal_sample(&mut self) -> f64 {
        if let Some(value) = self.cached_normal.take() {
            return value;
        }
        let (u1, u2) = (self.unit64(), self.unit64());
        let radius = (-2.0 * libm::log1p(-u2)).sqrt();
        let (sin, cos) = libm::sincos(2.0 * PI * u1);
        self.cached_normal = Some(radius * sin);
        radius * cos
    }
}

fn check_std(op: &'static str, holds: bool, rule: &'static str, std: f64) -> Result<()> {
    if holds { Ok(()) } else { Err(RandomError::Parameter { op, rule, found: format!("std {std}") }) }
}

struct Grouped<'a, T> {
    engine: &'a mut Mt19937,
    out: &'a mut [T],
    mean: f64,
    std: f64,
}

impl<T: RandomFloat> Kernel for Grouped<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        T::fill_normal::<A>(self.engine, self.out, self.mean, self.std);
    }
}

/// The contiguous form in `f64`.
#[inline(always)]
pub(super) fn fill_f64<A: Arch>(engine: &mut Mt19937, out: &mut [f64], mean: f64, std: f64) {
    fill_unit64(engine, out);
    let ragged = !out.len().is_multiple_of(GROUP);
    for group in out.as_chunks_mut::<GROUP>().0 {
        transform_f64::<A>(group, mean, std);
    }
    if ragged && let Some(last) = out.last_chunk_mut::<GROUP>() {
        fill_unit64(engine, last);
        transform_f64::<A>(last, mean, std);
    }
}

#[inline(always)]
fn transform_f64<A: Arch>(group: &mut [f64; GROUP], mean: f64, std: f64) {
    for i in 0..GROUP / 2 {
        let radius = (-2.0 * libm::log(1.0 - group[i])).sqrt();
        let (sin, cos) = libm::sincos(2.0 * PI * group[i + GROUP / 2]);
        group[i] = A::fma64(radius * cos, std, mean);
        group[i + GROUP / 2] = A::fma64(radius * sin, std, mean);
    }
}
