//! Integers, permutations, Bernoulli and geometric draws, dropout masks.

use super::continuous::check;
use super::error::reserve;
use super::mt19937::Mt19937;
use super::uniform::pair;
use super::{Generator, RandomElement, RandomError, RandomFloat, Result};

/// From this range on an integer takes a pair of words.
const WIDE_RANGE: u64 = 1 << 28;

/// Elements that are drawn, then converted: few enough to stay in the first-level cache.
const CHUNK: usize = 512;

/// From this length on a permutation takes a pair of words per element, and another algorithm.
const LONG_PERMUTATION: usize = (u32::MAX / 20) as usize;

impl Generator {
    /// Fills `out` with integers of `[from, to)`, PyTorch's `random_(from, to)` and `randint`.
    ///
    /// # Errors
    ///
    /// Unless `from < to`, both `from` and `to - 1` being within the range of `T`.
    pub fn random_from_to<T: RandomElement>(&mut self, out: &mut [T], from: i64, to: i64) -> Result<()> {
        check_order("'from' to be less than 'to'", from, to)?;
        let (mut first, mut end) = (from, to);
        if T::IS_FLOAT {
            first = round_up_to_exact::<T>(from);
            end = round_down_to_exact::<T>(to);
            check_order("'from' casted to dtype to be less than 'to' casted to dtype", first, end)?;
        }
        check_bound::<T>("from", first)?;
        check_bound::<T>("to - 1", end - 1)?;
        self.fill_integers(out, first, end.wrapping_sub(first) as u64);
        Ok(())
    }

    /// Fills `out` with integers from `from` to the largest that `T` holds (of the integers that a floating-point `T`
    /// holds without gaps), that one included: PyTorch's `random_(from, None)`.
    ///
    /// # Errors
    ///
    /// Unless `from` is within that range.
    pub fn random_from<T: RandomElement>(&mut self, out: &mut [T], from: i64) -> Result<()> {
        let from = if T::IS_FLOAT { round_up_to_exact::<T>(from) } else { from };
        check_bound::<T>("from", from)?;
        let last = if T::IS_FLOAT { 1i64 << T::DIGITS } else { (T::RANGE.1) as i64 };
        if from > last {
            return Err(RandomError::OutOfBounds { name: "from", dtype: T::NAME });
        }
        // All of i64 has 2^64 integers, which wraps to the range 0: a pair as it is, without an offset.
        let range = (last.wrapping_sub(from) as u64).wrapping_add(1);
        self.fill_integers(out, if range == 0 { 0 } else { from }, range);
        Ok(())
    }

    /// Fills `out` with PyTorch's `random_()`: integers from 0 to the largest that `T` holds, or for floating-point types
    /// the largest up to which all are held.
    pub fn random_full<T: RandomElement>(&mut self, out: &mut [T]) {
        let range = if T::IS_FLOAT { (1u64 << T::DIGITS) + 1 } else { 1u64 << T::DIGITS };
        // The width depends on the type here, not on the range.
        Integers { from: 0, range, wide: T::DIGITS > 32 }.fill(&mut self.engine, out);
    }

    fn fill_integers<T: RandomElement>(&mut self, out: &mut [T], from: i64, range: u64) {
        let wide = range == 0 || range >= WIDE_RANGE;
        Integers { from, range, wide }.fill(&mut self.engine, out);
    }

    /// A random permutation of `0..n`.
    ///
    /// # Errors
    ///
    /// If `n` integers do not fit into memory.
    pub fn randperm(&mut self, n: usize) -> Result<Vec<i64>> {
        let mut order = reserve("randperm", n)?;
        if n < LONG_PERMUTATION {
            order.extend(0..n as i64);
            for i in 0..n.saturating_sub(1) {
                let step = self.next_u32() as usize % (n - i);
                order.swap(i, i + step);
            }
        } else {
            // The inside-out shuffle of Fisher and Yates.
            for i in 0..n {
                let place = (self.next_u64() % (i as u64 + 1)) as usize;
                order.push(i as i64);
                order.swap(i, place);
            }
        }
        Ok(order)
    }

    /// Fills `out` with 1 with probability `p`, else 0.
    ///
    /// # Errors
    ///
    /// Unless `p` is within `[0, 1]`.
    pub fn bernoulli_scalar<T: RandomElement>(&mut self, out: &mut [T], p: f64) -> Result<()> {
        check("bernoulli_", (0.0..=1.0).contains(&p), "p to be in [0, 1]", "p", p)?;
        self.fill_below_scalar(out, p, T::from_i64(0), T::from_i64(1));
        Ok(())
    }

    /// Fills `out` with 1 with the probability in the same place of `p`, else 0.
    ///
    /// # Errors
    ///
    /// Unless every probability is within `[0, 1]` and the slices have one length.
    pub fn bernoulli_tensor<P: RandomFloat, T: RandomElement>(
        &mut self,
        out: &mut [T],
        p: &[P],
    ) -> Result<()> {
        check_probabilities(p, out.len())?;
        write_hits(out, &mut |from, hits| {
            P::fill_below(&mut self.engine, &p[from..from + hits.len()], hits);
        });
        Ok(())
    }

    /// Fills `mask` with what dropout of probability `p` multiplies its input by: 0, or `1 / (1 - p)`. Nothing is drawn
    /// for `p` 0 and 1.
    ///
    /// # Errors
    ///
    /// Unless `p` is within `[0, 1]`.
    pub fn dropout_mask<T: RandomFloat>(&mut self, mask: &mut [T], p: f64) -> Result<()> {
        check("dropout", (0.0..=1.0).contains(&p), "probability to be between 0 and 1", "p", p)?;
        if p == 0.0 || p == 1.0 {
            mask.fill(T::from_i64((p == 0.0) as i64));
            return Ok(());
        }
        let keep = 1.0 - p;
        // The types below f64 divide in f32, by the rounded probability.
        let scale = if T::DIGITS == f64::MANTISSA_DIGITS { 1.0 / keep } else { f64::from(1.0 / keep as f32) };
        self.fill_below_scalar(mask, keep, T::from_i64(0), T::from_f64(scale));
        Ok(())
    }

    /// Fills `out` with the number of trials up to the first success of probability `p`: `ceil(ln(unit) / ln(1 - p))`.
    ///
    /// # Errors
    ///
    /// Unless `p` is within `(0, 1)`.
    pub fn geometric<T: RandomElement>(&mut self, out: &mut [T], p: f64) -> Result<()> {
        check("geometric_", p > 0.0 && p < 1.0, "p to be in (0, 1)", "p", p)?;
        let scale = libm::log1p(-p);
        for value in out {
            *value = T::from_f64(libm::ceil(libm::log(self.unit64()) / scale));
        }
        Ok(())
    }
}

/// Writes 1 where `draw` finds a hit, else 0; `draw` gets the first of its elements and as many truth values. By way of
/// those the draws are compiled once for each type of probabilities alone.
fn write_hits<T: RandomElement>(out: &mut [T], draw: &mut dyn FnMut(usize, &mut [bool])) {
    let mut hits = [false; 1024];
    let mut at = 0;
    for out in out.chunks_mut(hits.len()) {
        let hits = &mut hits[..out.len()];
        draw(at, hits);
        for (value, &hit) in out.iter_mut().zip(&*hits) {
            *value = T::from_i64(hit as i64);
        }
        at += out.len();
    }
}

fn check_probabilities<P: RandomFloat>(p: &[P], elements: usize) -> Result<()> {
    let problem = |rule, found| Err(RandomError::Parameter { op: "bernoulli", rule, found });
    if elements != p.len() {
        return problem("as many probabilities as elements", format!("{} for {elements}", p.len()));
    }
    match p.iter().map(|p| p.to_f64()).find(|p| !(0.0..=1.0).contains(p)) {
        Some(bad) => problem("p to be in [0, 1]", format!("p={bad}")),
        None => Ok(()),
    }
}

fn check_order(rule: &'static str, from: i64, to: i64) -> Result<()> {
    if from < to {
        return Ok(());
    }
    Err(RandomError::Parameter { op: "random_", rule, found: format!("from={from} >= to={to}") })
}

fn check_bound<T: RandomElement>(name: &'static str, bound: i64) -> Result<()> {
    let (lowest, highest) = T::RANGE;
    // i64's own range is exact only up to rounding, but every i64 is in it.
    if (lowest..=highest).contains(&(bound as f64)) {
        Ok(())
    } else {
        Err(RandomError::OutOfBounds { name, dtype: T::NAME })
    }
}

/// Rounds the start of a range up where `T` would round it down, out of the range.
fn round_up_to_exact<T: RandomElement>(from: i64) -> i64 {
    let rounded = round_through::<T>(from.wrapping_add(1));
    if rounded < from { rounded + spacing::<T>(from.wrapping_add(1)) } else { from }
}

/// Rounds the end of a range down where `T` would round the last integer up, out of the range.
fn round_down_to_exact<T: RandomElement>(to: i64) -> i64 {
    let rounded = round_through::<T>(to.wrapping_sub(1));
    if rounded >= to { rounded.saturating_sub(spacing::<T>(to.wrapping_sub(1))) } else { to }
}

fn round_through<T: RandomElement>(value: i64) -> i64 {
    T::to_i64(T::from_i64(value))
}

/// The distance of the neighbours of `value` in `T`, an inexact integer.
fn spacing<T: RandomElement>(value: i64) -> i64 {
    1i64 << (value.unsigned_abs().ilog2() + 1).saturating_sub(T::DIGITS)
}

/// Which integers are drawn, and how.
struct Integers {
    from: i64,
    /// 0 stands for 2^64.
    range: u64,
    /// Whether an integer takes a pair of words rather than one.
    wide: bool,
}

impl Integers {
    fn fill<T: RandomElement>(&self, engine: &mut Mt19937, out: &mut [T]) {
        let mut drawn = [0; CHUNK];
        for out in out.chunks_mut(CHUNK) {
            let drawn = &mut drawn[..out.len()];
            self.draw(engine, drawn);
            for (value, &drawn) in out.iter_mut().zip(&*drawn) {
                *value = T::from_i64(drawn);
            }
        }
    }

    /// The integers, in the type that holds them all: compiled once for all element types.
    fn draw(&self, engine: &mut Mt19937, mut out: &mut [i64]) {
        let &Integers { from, range, wide } = self;
        if !wide {
            // The remainder of a 32-bit division by two products (Lemire, Kaser and Kurz, "Faster remainder by direct
            // computation", 2019): `inverse` is 2^64 / range, rounded up.
            let inverse = (u64::MAX / range).wrapping_add(1);
            while !out.is_empty() {
                let words = engine.words(out.len());
                let (now, later) = out.split_at_mut(words.len());
                for (value, &word) in now.iter_mut().zip(words) {
                    let fraction = inverse.wrapping_mul(u64::from(word));
                    let remainder = (u128::from(fraction) * u128::from(range)) >> 64;
                    *value = (remainder as i64).wrapping_add(from);
                }
                out = later;
            }
            return;
        }
        while !out.is_empty() {
            let pairs = engine.pairs(out.len());
            let (now, later) = out.split_at_mut(pairs.len());
            for (value, &words) in now.iter_mut().zip(pairs) {
                let drawn = pair(words);
                let drawn = if range == 0 { drawn } else { drawn % range };
                *value = (drawn as i64).wrapping_add(from);
            }
            out = later;
        }
    }
}
