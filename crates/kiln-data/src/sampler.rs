//! In which order samples are drawn: PyTorch's samplers, with its random streams.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_autograd::kiln_ops::random::sampling::{self, RandomOrder, draw_seed};
use kiln_autograd::kiln_ops::random::{Generator, RandomError, default_generator};
use kiln_autograd::{Error, Result};

/// A generator that a loader, its sampler and the user share.
pub type SharedGenerator = Arc<Mutex<Generator>>;

/// A generator with a seed, to be shared.
pub fn shared_generator(seed: u64) -> SharedGenerator {
    Arc::new(Mutex::new(Generator::new(seed)))
}

pub(crate) fn lock(generator: &SharedGenerator) -> MutexGuard<'_, Generator> {
    generator.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn random_error(op: &'static str, error: RandomError) -> Error {
    Error::value(op, error.to_string())
}

/// The sample numbers of one epoch.
pub type IndexIter = Box<dyn Iterator<Item = Result<usize>> + Send>;

/// Gives the order of an epoch's samples.
pub trait Sampler: Send + Sync {
    /// How many samples an epoch has.
    fn len(&self) -> usize;

    /// Whether an epoch has no samples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The order of the next epoch. Random numbers are drawn when the first sample is asked for.
    fn iter(&self) -> IndexIter;

    /// The generator that is drawn from, if not the default one. A [`DataLoader`](crate::DataLoader) saves its state, to
    /// go on in the middle of an epoch.
    fn generator(&self) -> Option<SharedGenerator> {
        None
    }
}

/// All samples in order.
pub struct SequentialSampler(pub usize);

impl Sampler for SequentialSampler {
    fn len(&self) -> usize {
        self.0
    }

    fn iter(&self) -> IndexIter {
        Box::new((0..self.0).map(Ok))
    }
}

/// Samples in random order: each once, or with replacement (`RandomSampler`).
pub struct RandomSampler {
    n: usize,
    num_samples: usize,
    replacement: bool,
    generator: Option<SharedGenerator>,
}

impl RandomSampler {
    /// All of `n` samples once, in random order.
    pub fn new(n: usize) -> RandomSampler {
        RandomSampler { n, num_samples: n, replacement: false, generator: None }
    }

    /// Draws every sample from all, whatever was drawn before.
    pub fn replacement(mut self, replacement: bool) -> RandomSampler {
        self.replacement = replacement;
        self
    }

    /// The number of samples of an epoch.
    pub fn num_samples(mut self, num_samples: usize) -> RandomSampler {
        self.num_samples = num_samples;
        self
    }

    /// Draws from `generator` instead of a stream seeded by the default one.
    pub fn generator(mut self, generator: SharedGenerator) -> RandomSampler {
        self.generator = Some(generator);
        self
    }
}

impl Sampler for RandomSampler {
    fn len(&self) -> usize {
        self.num_samples
    }

    fn iter(&self) -> IndexIter {
        let (n, num_samples, replacement) = (self.n, self.num_samples, self.replacement);
        let generator = self.generator.clone();
        lazily(move || {
            let order = RandomOrder::new(n, num_samples, replacement)
                .map_err(|e| random_error("RandomSampler", e))?;
            // Without a generator of its own the order comes from a private stream, seeded by the default one.
            let generator =
                generator.unwrap_or_else(|| shared_generator(draw_seed(&mut default_generator())));
            Ok(Box::new(Blocks { order, generator, block: Vec::new().into_iter(), done: false }))
        })
    }

    fn generator(&self) -> Option<SharedGenerator> {
        self.generator.clone()
    }
}

/// Walks a random order block by block; where the end is reached, the stream is left as PyTorch leaves it.
struct Blocks {
    order: RandomOrder,
    generator: SharedGenerator,
    block: std::vec::IntoIter<i64>,
    done: bool,
}

impl Iterator for Blocks {
    type Item = Result<usize>;

    fn next(&mut self) -> Option<Result<usize>> {
        if let Some(i) = self.block.next() {
            return Some(Ok(i as usize));
        }
        if self.done {
            return None;
        }
        match self.order.next_block(&mut lock(&self.generator)) {
            Ok(Some(block)) => {
                self.block = block.into_iter();
                self.block.next().map(|i| Ok(i as usize))
            }
            Ok(None) => {
                self.done = true;
                None
            }
            Err(e) => {
                self.done = true;
                Some(Err(random_error("RandomSampler", e)))
            }
        }
    }
}

/// Given samples in random order, each once (`SubsetRandomSampler`).
pub struct SubsetRandomSampler {
    indices: Vec<i64>,
    generator: Option<SharedGenerator>,
}

impl SubsetRandomSampler {
    /// The samples with the given numbers, drawn from `generator` or the default stream.
    pub fn new(indices: &[usize], generator: Option<SharedGenerator>) -> SubsetRandomSampler {
        SubsetRandomSampler { indices: indices.iter().map(|&i| i as i64).collect(), generator }
    }
}

impl Sampler for SubsetRandomSampler {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn iter(&self) -> IndexIter {
        let (indices, generator) = (self.indices.clone(), self.generator.clone());
        drawn("SubsetRandomSampler", generator, move |g| sampling::subset_order(g, &indices))
    }

    fn generator(&self) -> Option<SharedGenerator> {
        self.generator.clone()
    }
}

/// Samples drawn by weight (`WeightedRandomSampler`).
pub struct WeightedRandomSampler {
    weights: Vec<f64>,
    num_samples: usize,
    replacement: bool,
    generator: Option<SharedGenerator>,
}

impl WeightedRandomSampler {
    /// `num_samples` samples, each with a chance that is proportional to its weight.
    pub fn new(
        weights: &[f64],
        num_samples: usize,
        replacement: bool,
        generator: Option<SharedGenerator>,
    ) -> WeightedRandomSampler {
        WeightedRandomSampler { weights: weights.to_vec(), num_samples, replacement, generator }
    }
}

impl Sampler for WeightedRandomSampler {
    fn len(&self) -> usize {
        self.num_samples
    }

    fn iter(&self) -> IndexIter {
        let (weights, num, replacement) = (self.weights.clone(), self.num_samples, self.replacement);
        drawn("WeightedRandomSampler", self.generator.clone(), move |g| {
            sampling::weighted_order(g, &weights, num, replacement)
        })
    }

    fn generator(&self) -> Option<SharedGenerator> {
        self.generator.clone()
    }
}

/// An order that is drawn in one go, from `generator` or the default stream.
fn drawn(
    op: &'static str,
    generator: Option<SharedGenerator>,
    draw: impl FnOnce(&mut Generator) -> Result<Vec<i64>, RandomError> + Send + 'static,
) -> IndexIter {
    lazily(move || {
        let order = match generator {
            Some(g) => draw(&mut lock(&g)),
            None => draw(&mut default_generator()),
        };
        let order = order.map_err(|e| random_error(op, e))?;
        Ok(Box::new(order.into_iter().map(|i| Ok(i as usize))))
    })
}

/// An iterator that is made when its first item is asked for.
fn lazily(make: impl FnOnce() -> Result<IndexIter> + Send + 'static) -> IndexIter {
    let mut make = Some(make);
    let mut inner: Option<IndexIter> = None;
    Box::new(std::iter::from_fn(move || {
        if let Some(make) = make.take() {
            match make() {
                Ok(iter) => inner = Some(iter),
                Err(e) => return Some(Err(e)),
            }
        }
        inner.as_mut()?.next()
    }))
}
