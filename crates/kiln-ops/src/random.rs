//! Random numbers: PyTorch's CPU streams, value for value.
//!
//! A [`Generator`] is a Mersenne twister with the two habits PyTorch's has: a cached second normal value and a
//! serialised state of 5056 bytes. After the same seed, the same calls give the values that PyTorch gives on the CPU,
//! whatever the machine: functions of `f32` are the polynomials PyTorch's vectorised code uses, and functions of `f64`
//! come from `libm`, so they can differ from a given C library in the last two bits.
//!
//! Vocabulary: a *word* is one 32-bit output of the engine, a *pair* is two words read as a 64-bit number, and a *unit*
//! is a number of `[0, 1)` made from one word (`f32`, 24 bits) or one pair (`f64`, 53 bits).
//!
//! The fills work on slices in memory order, and [`default_generator`] is the stream that calls without a generator of
//! their own draw from:
//!
//! ```
//! use kiln_ops::random::Generator;
//!
//! let mut generator = Generator::new(0);
//! let mut values = [0f32; 2];
//! generator.uniform(&mut values, 0.0, 1.0)?;
//! assert_eq!(values, [0.49625659, 0.7682218]); // torch.manual_seed(0); torch.rand(2)
//! # Ok::<(), kiln_ops::random::RandomError>(())
//! ```

mod continuous;
mod discrete;
mod element;
mod error;
mod mt19937;
mod multinomial;
mod normal;
mod normal_f32;
pub mod sampling;
mod state;
mod uniform;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

pub use element::{RandomElement, RandomFloat};
pub use error::RandomError;
use mt19937::Mt19937;
pub use state::STATE_LEN;

/// What fallible functions of this module return.
pub type Result<T> = std::result::Result<T, RandomError>;

/// The seed of a [`Generator`] that was given none, PyTorch's.
pub const DEFAULT_SEED: u64 = 67_280_421_310_721;

/// A stream of random numbers, PyTorch's `torch.Generator` on the CPU.
///
/// The draws are methods, grouped by file: units and uniform numbers, normal numbers, the other continuous
/// distributions, integers and Bernoulli draws, and categories by weight.
#[derive(Clone)]
pub struct Generator {
    seed: u64,
    engine: Mt19937,
    /// The second value of the last pair of one-at-a-time normals, not yet handed out.
    cached_normal: Option<f64>,
}

impl Generator {
    /// A generator seeded with `seed`. Negative seeds of PyTorch are `seed as u64`.
    pub fn new(seed: u64) -> Self {
        Generator { seed, engine: Mt19937::new(seed as u32), cached_normal: None }
    }

    /// A generator whose seed comes from the operating system's randomness.
    pub fn from_entropy() -> Self {
        Generator::new(entropy())
    }

    /// Starts the stream of `seed`, dropping a cached normal.
    ///
    /// The engine starts from the low 32 bits; [`initial_seed`](Self::initial_seed) returns all of them.
    pub fn manual_seed(&mut self, seed: u64) {
        *self = Generator::new(seed);
    }

    /// Seeds from the operating system's randomness and returns the seed.
    pub fn seed_from_entropy(&mut self) -> u64 {
        let seed = entropy();
        self.manual_seed(seed);
        seed
    }

    /// The seed the stream was last started with.
    pub fn initial_seed(&self) -> u64 {
        self.seed
    }

    /// The next word.
    #[inline]
    pub fn next_u32(&mut self) -> u32 {
        self.engine.next_u32()
    }

    /// The next pair: two words, the first one is the high half.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let high = self.engine.next_u32();
        let low = self.engine.next_u32();
        uniform::pair([high, low])
    }

    /// The next word as a number of `[0, 1)` with 24 bits.
    #[inline]
    pub fn unit32(&mut self) -> f32 {
        uniform::unit32(self.next_u32())
    }

    /// The next pair as a number of `[0, 1)` with 53 bits.
    #[inline]
    pub fn unit64(&mut self) -> f64 {
        uniform::unit64(self.next_u64())
    }
}

impl Default for Generator {
    /// A generator seeded with [`DEFAULT_SEED`], like `torch.Generator()`.
    fn default() -> Self {
        Generator::new(DEFAULT_SEED)
    }
}

impl fmt::Debug for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generator")
            .field("seed", &self.seed)
            .field("cached_normal", &self.cached_normal)
            .finish_non_exhaustive()
    }
}

/// 64 bits that differ from run to run: the standard library keys its hash maps from the operating system.
fn entropy() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

static DEFAULT: LazyLock<Mutex<Generator>> = LazyLock::new(|| Mutex::new(Generator::from_entropy()));

/// The generator that draws use when they are given none, locked for the caller. Until it is seeded it starts from
/// the operating system's randomness.
///
/// Hold the guard for the whole of one draw, so that draws of other threads do not interleave with it, and for no
/// longer: asking again on the same thread while a guard lives blocks for ever.
pub fn default_generator() -> MutexGuard<'static, Generator> {
    // A panic elsewhere while the guard was held cannot leave the engine in an invalid state.
    DEFAULT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Seeds the default generator, like `torch.manual_seed`.
pub fn manual_seed(seed: u64) {
    default_generator().manual_seed(seed);
}

/// Seeds the default generator from the operating system's randomness and returns the seed, like `torch.seed`.
pub fn seed() -> u64 {
    default_generator().seed_from_entropy()
}

/// The seed the default generator was last started with, like `torch.initial_seed`.
pub fn initial_seed() -> u64 {
    default_generator().initial_seed()
}
