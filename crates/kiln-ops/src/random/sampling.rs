//! The orders that samplers, shuffling loaders and splits draw, as PyTorch's `torch.utils.data` draws them.

use std::ops::Range;

use super::{Generator, RandomError, Result};

/// Draws with replacement are made this many at a time.
const REPLACEMENT_BLOCK: usize = 32;

/// The seed that a loader's epoch takes from a stream: worker `k` runs on the stream of `base_seed + k`, and a sampler
/// without a generator of its own shuffles with the stream of another such seed.
pub fn draw_seed(generator: &mut Generator) -> u64 {
    let mut seed = [0i64];
    generator.random_full(&mut seed);
    seed[0] as u64
}

/// The order of a random sampler, drawn a block at a time, when it is needed: with a generator that is also used
/// elsewhere, when matters.
///
/// With replacement the blocks are 32 independent draws. Without, they are permutations of all `n`, as many as it takes, the last
/// one cut; even where nothing is left of the last, it is drawn.
#[derive(Clone, Debug)]
pub struct RandomOrder {
    n: usize,
    left: usize,
    replacement: bool,
    finished: bool,
}

impl RandomOrder {
    /// `num_samples` indices below `n`.
    ///
    /// # Errors
    ///
    /// If `n` or `num_samples` is 0.
    pub fn new(n: usize, num_samples: usize, replacement: bool) -> Result<Self> {
        if n == 0 || num_samples == 0 {
            let problem = format!("num_samples should be positive, but got {num_samples} of {n}");
            return Err(RandomError::Sampling { op: "RandomSampler", problem });
        }
        Ok(RandomOrder { n, left: num_samples, replacement, finished: false })
    }

    /// A permutation of all `n`.
    ///
    /// # Errors
    ///
    /// If `n` is 0.
    pub fn shuffle(n: usize) -> Result<Self> {
        RandomOrder::new(n, n, false)
    }

    /// The next indices, at least one; `None` when all were given.
    ///
    /// # Errors
    ///
    /// If a permutation does not fit into memory.
    pub fn next_block(&mut self, generator: &mut Generator) -> Result<Option<Vec<i64>>> {
        if self.finished {
            return Ok(None);
        }
        let whole = if self.replacement { REPLACEMENT_BLOCK } else { self.n };
        let len = whole.min(self.left);
        self.finished = len < whole;
        let block = if self.replacement {
            let mut block = vec![0; len];
            generator.random_from_to(&mut block, 0, self.n as i64)?;
            block
        } else {
            let mut block = generator.randperm(self.n)?;
            block.truncate(len);
            block
        };
        self.left -= len;
        Ok((!block.is_empty()).then_some(block))
    }

    /// All indices that are left.
    ///
    /// # Errors
    ///
    /// If they do not fit into memory.
    pub fn collect(mut self, generator: &mut Generator) -> Result<Vec<i64>> {
        let mut order = super::error::reserve("RandomSampler", self.left)?;
        while let Some(block) = self.next_block(generator)? {
            order.extend(block);
        }
        Ok(order)
    }
}

/// `indices` in random order: the subset sampler.
///
/// # Errors
///
/// If they do not fit into memory.
pub fn subset_order(generator: &mut Generator, indices: &[i64]) -> Result<Vec<i64>> {
    let order = generator.randperm(indices.len())?;
    Ok(order.into_iter().map(|i| indices[i as usize]).collect())
}

/// `num_samples` indices below `weights.len()`, drawn by weight: the weighted sampler.
///
/// # Errors
///
/// As for [`Generator::multinomial`].
pub fn weighted_order(
    generator: &mut Generator,
    weights: &[f64],
    num_samples: usize,
    replacement: bool,
) -> Result<Vec<i64>> {
    generator.multinomial(weights, [1, weights.len()], num_samples, replacement)
}

/// A permutation of `0..n` and where to cut it into parts of the given lengths.
///
/// # Errors
///
/// Unless the lengths sum to `n`.
pub fn random_split(
    generator: &mut Generator,
    n: usize,
    lengths: &[usize],
) -> Result<(Vec<i64>, Vec<Range<usize>>)> {
    let total = lengths.iter().try_fold(0usize, |sum, &len| sum.checked_add(len));
    if total != Some(n) {
        let problem = format!("the lengths {lengths:?} do not sum to the length {n} of the dataset");
        return Err(RandomError::Sampling { op: "random_split", problem });
    }
    let mut start = 0;
    let cuts = lengths.iter().map(|&len| {
        start += len;
        start - len..start
    });
    let cuts = cuts.collect();
    Ok((generator.randperm(n)?, cuts))
}

/// The lengths that fractions of `n` stand for: rounded down, and what is left handed out one by one from the first.
///
/// # Errors
///
/// Unless the fractions are within `[0, 1]` and sum to 1.
pub fn split_lengths(n: usize, fractions: &[f64]) -> Result<Vec<usize>> {
    let fail = |problem| Err(RandomError::Sampling { op: "random_split", problem });
    if let Some(i) = fractions.iter().position(|f| !(0.0..=1.0).contains(f)) {
        return fail(format!("fraction {} at index {i} is not between 0 and 1", fractions[i]));
    }
    let sum: f64 = fractions.iter().sum();
    // The relative tolerance of Python's math.isclose.
    if (sum - 1.0).abs() > 1e-9 * sum.max(1.0) {
        return fail(format!("the fractions {fractions:?} do not sum to 1"));
    }
    let mut lengths: Vec<usize> = fractions.iter().map(|f| (n as f64 * f) as usize).collect();
    let left = n.saturating_sub(lengths.iter().sum());
    let parts = lengths.len();
    for i in 0..left {
        lengths[i % parts] += 1;
    }
    Ok(lengths)
}
