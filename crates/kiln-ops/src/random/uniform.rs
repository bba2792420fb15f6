//! Units, uniform numbers, and the comparisons of units that Bernoulli draws are.

use half::{bf16, f16};

use super::element::sealed::Fill;
use super::element::start;
use super::mt19937::Mt19937;
use super::{Generator, RandomElement, RandomError, RandomFloat, Result, normal, normal_f32};
use crate::cpu::arch::{Arch, Kernel};

const UNIT32_MASK: u32 = (1 << 24) - 1;
const UNIT64_MASK: u64 = (1 << 53) - 1;

/// The number that a pair of words stands for.
#[inline(always)]
pub(super) fn pair([high, low]: [u32; 2]) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

#[inline(always)]
pub(super) fn unit32(word: u32) -> f32 {
    // Through i32, which every instruction set converts in one step.
    (word & UNIT32_MASK) as i32 as f32 * (1.0 / (1 << 24) as f32)
}

#[inline(always)]
pub(super) fn unit64(pair: u64) -> f64 {
    (pair & UNIT64_MASK) as i64 as f64 * (1.0 / (1u64 << 53) as f64)
}

impl Generator {
    /// Fills `out` with uniform numbers of `[from, to)`: `unit * (to - from) + from`, rounded once (for the 16-bit types, to
    /// `f32` first), with the bounds rounded to the element type (to `f32`) beforehand; `from` where rounding gives `to`.
    ///
    /// # Errors
    ///
    /// Unless `from <= to`, both bounds and their difference being within the range of `T`.
    pub fn uniform<T: RandomFloat>(&mut self, out: &mut [T], from: f64, to: f64) -> Result<()> {
        let (lowest, highest) = T::RANGE;
        for (name, bound) in [("from", from), ("to", to)] {
            if !(lowest..=highest).contains(&bound) {
                return Err(RandomError::OutOfBounds { name, dtype: T::NAME });
            }
        }
        let rule = if from > to {
            "from <= to"
        } else if to - from > highest {
            "to - from to be within the range of the dtype"
        } else {
            start::<T, _>(Uniform { engine: &mut self.engine, out, from, to });
            return Ok(());
        };
        Err(RandomError::Parameter { op: "uniform_", rule, found: format!("from={from} and to={to}") })
    }

    /// For every element a unit64, compared with `p`: `yes` below it, `no` otherwise.
    pub(super) fn fill_below_scalar<T: RandomElement>(&mut self, out: &mut [T], p: f64, no: T, yes: T) {
        // unit64 = k / 2^53 < p holds exactly when the integer k < ceil(p * 2^53), and that product is exact.
        let threshold = libm::ceil(p * (1u64 << 53) as f64) as u64;
        start::<T, _>(BelowScalar { engine: &mut self.engine, out, threshold, no, yes });
    }
}

struct Uniform<'a, T> {
    engine: &'a mut Mt19937,
    out: &'a mut [T],
    from: f64,
    to: f64,
}

impl<T: RandomFloat> Kernel for Uniform<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        T::fill_uniform::<A>(self.engine, self.out, self.from, self.to);
    }
}

struct BelowScalar<'a, T> {
    engine: &'a mut Mt19937,
    out: &'a mut [T],
    threshold: u64,
    no: T,
    yes: T,
}

impl<T: RandomElement> Kernel for BelowScalar<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let BelowScalar { engine, mut out, threshold, no, yes } = self;
        while !out.is_empty() {
            let pairs = engine.pairs(out.len());
            let (now, later) = out.split_at_mut(pairs.len());
            for (value, &words) in now.iter_mut().zip(pairs) {
                *value = if pair(words) & UNIT64_MASK < threshold { yes } else { no };
            }
            out = later;
        }
    }
}

/// Writes a unit32 to every element.
#[inline(always)]
pub(super) fn fill_unit32(engine: &mut Mt19937, mut out: &mut [f32]) {
    while !out.is_empty() {
        let words = engine.words(out.len());
        let (now, later) = out.split_at_mut(words.len());
        for (value, &word) in now.iter_mut().zip(words) {
            *value = unit32(word);
        }
        out = later;
    }
}

/// Writes a unit64 to every element.
#[inline(always)]
pub(super) fn fill_unit64(engine: &mut Mt19937, mut out: &mut [f64]) {
    while !out.is_empty() {
        let pairs = engine.pairs(out.len());
        let (now, later) = out.split_at_mut(pairs.len());
        for (value, &words) in now.iter_mut().zip(pairs) {
            *value = unit64(pair(words));
        }
        out = later;
    }
}

impl Fill for f32 {
    #[inline(always)]
    fn fill_uniform<A: Arch>(engine: &mut Mt19937, mut out: &mut [f32], from: f64, to: f64) {
        let (from, to) = (from as f32, to as f32);
        if (from, to) == (0.0, 1.0) {
            return fill_unit32(engine, out);
        }
        let span = to - from;
        while !out.is_empty() {
            let words = engine.words(out.len());
            let (now, later) = out.split_at_mut(words.len());
            for (value, &word) in now.iter_mut().zip(words) {
                let scaled = A::fma32(unit32(word), span, from);
                *value = if scaled == to { from } else { scaled };
            }
            out = later;
        }
    }

    #[inline(always)]
    fn fill_normal<A: Arch>(engine: &mut Mt19937, out: &mut [f32], mean: f64, std: f64) {
        normal_f32::fill::<A>(engine, out, mean as f32, std as f32);
    }

    #[inline(never)]
    fn fill_below(engine: &mut Mt19937, mut p: &[f32], mut out: &mut [bool]) {
        while !out.is_empty() {
            let words = engine.words(out.len());
            let (now, later) = out.split_at_mut(words.len());
            let (p_now, p_later) = p.split_at(words.len());
            for ((value, &p), &word) in now.iter_mut().zip(p_now).zip(words) {
                *value = unit32(word) < p;
            }
            (out, p) = (later, p_later);
        }
    }
}

impl Fill for f64 {
    #[inline(always)]
    fn fill_uniform<A: Arch>(engine: &mut Mt19937, out: &mut [f64], from: f64, to: f64) {
        fill_unit64(engine, out);
        if (from, to) == (0.0, 1.0) {
            return;
        }
        let span = to - from;
        for value in out {
            let scaled = A::fma64(*value, span, from);
            *value = if scaled == to { from } else { scaled };
        }
    }

    #[inline(always)]
    fn fill_normal<A: Arch>(engine: &mut Mt19937, out: &mut [f64], mean: f64, std: f64) {
        normal::fill_f64::<A>(engine, out, mean, std);
    }

    #[inline(never)]
    fn fill_below(engine: &mut Mt19937, mut p: &[f64], mut out: &mut [bool]) {
        while !out.is_empty() {
            let pairs = engine.pairs(out.len());
            let (now, later) = out.split_at_mut(pairs.len());
            let (p_now, p_later) = p.split_at(pairs.len());
            for ((value, &p), &words) in now.iter_mut().zip(p_now).zip(pairs) {
                *value = unit64(pair(words)) < p;
            }
            (out, p) = (later, p_later);
        }
    }
}

macro_rules! small_floats {
    ($($t:ident)*) => { $(
        impl Fill for $t {
            #[inline(always)]
            fn fill_uniform<A: Arch>(engine: &mut Mt19937, mut out: &mut [$t], from: f64, to: f64) {
                // Only the result is rounded to 16 bits, not the bounds.
                let (start, end) = (from as f32, to as f32);
                let span = end - start;
                let (from, to) = ($t::from_f32(start), $t::from_f32(end));
                while !out.is_empty() {
                    let words = engine.words(out.len());
                    let (now, later) = out.split_at_mut(words.len());
                    for (value, &word) in now.iter_mut().zip(words) {
                        let scaled = $t::from_f32(A::fma32(unit32(word), span, start));
                        *value = if scaled == to { from } else { scaled };
                    }
                    out = later;
                }
            }

            #[inline(always)]
            fn fill_normal<A: Arch>(engine: &mut Mt19937, out: &mut [$t], mean: f64, std: f64) {
                normal_f32::fill_narrow(engine, out, mean as f32, std as f32);
            }

            #[inline(never)]
            fn fill_below(engine: &mut Mt19937, mut p: &[$t], mut out: &mut [bool]) {
                while !out.is_empty() {
                    let words = engine.words(out.len());
                    let (now, later) = out.split_at_mut(words.len());
                    let (p_now, p_later) = p.split_at(words.len());
                    for ((value, p), &word) in now.iter_mut().zip(p_now).zip(words) {
                        *value = unit32(word) < p.to_f32();
                    }
                    (out, p) = (later, p_later);
                }
            }
        }
    )* };
}
small_floats!(f16 bf16);
