//! The saved form of a generator: the 5056 bytes of PyTorch's `get_state`.

use super::mt19937::{Mt19937, N};
use super::{Generator, RandomError, Result};

/// Bytes of a saved state.
pub const STATE_LEN: usize = 5056;

// Offsets of the fields, all little endian. What lies between and behind them is zero.
const SEED: usize = 0;
/// i32: draws until the block must be renewed, that one included. 1 right after seeding.
const LEFT: usize = 8;
/// i32: 1.
const SEEDED: usize = 12;
/// u64: words handed out of the block.
const NEXT: usize = 16;
/// The words, each in 8 bytes.
const WORDS: usize = 24;
const CACHED_NORMAL: usize = 5024;
/// i32: whether the cached normal counts.
const NORMAL_IS_CACHED: usize = 5040;

impl Generator {
    /// The state as PyTorch saves it; [`set_state`](Self::set_state) continues the stream from there.
    pub fn get_state(&self) -> Vec<u8> {
        let (words, used, fresh) = self.engine.parts();
        let (left, next) = match (fresh, used) {
            (true, _) => (1, 0),
            (false, N) => (1, N),
            (false, used) => (N + 1 - used, used),
        };
        let mut bytes = vec![0; STATE_LEN];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(SEED, &self.seed.to_le_bytes());
        put(LEFT, &(left as i32).to_le_bytes());
        put(SEEDED, &1i32.to_le_bytes());
        put(NEXT, &(next as u64).to_le_bytes());
        for (j, &word) in words.iter().enumerate() {
            put(WORDS + 8 * j, &u64::from(word).to_le_bytes());
        }
        if let Some(normal) = self.cached_normal {
            put(CACHED_NORMAL, &normal.to_le_bytes());
            put(NORMAL_IS_CACHED, &1i32.to_le_bytes());
        }
        bytes
    }

    /// Continues from a saved state, PyTorch's or Kiln's.
    ///
    /// # Errors
    ///
    /// If `state` is not the 5056 bytes of a valid state; the generator is then unchanged.
    pub fn set_state(&mut self, state: &[u8]) -> Result<()> {
        let Ok(state) = <&[u8; STATE_LEN]>::try_from(state) else {
            let problem = format!("a state has {STATE_LEN} bytes, but found {}", state.len());
            return Err(RandomError::State(problem));
        };
        let u64_at = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&state[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        let i32_at = |at: usize| u64_at(at) as u32 as i32;

        let (left, next) = (i32_at(LEFT), u64_at(NEXT));
        let block = N as u64;
        let consistent = match left {
            1 => next <= block,
            2..=624 => next == block + 1 - left as u64,
            _ => false,
        };
        if !consistent || i32_at(SEEDED) != 1 {
            return Err(RandomError::State("not a valid mt19937 state".to_owned()));
        }
        let words = std::array::from_fn(|j| u64_at(WORDS + 8 * j) as u32);
        self.engine = match (left, next) {
            (1, 0) => Mt19937::from_expansion(words),
            (1, _) => Mt19937::from_block(words, N),
            (_, next) => Mt19937::from_block(words, next as usize),
        };
        self.seed = u64_at(SEED);
        let cached = i32_at(NORMAL_IS_CACHED) != 0;
        self.cached_normal = cached.then(|| f64::from_bits(u64_at(CACHED_NORMAL)));
        Ok(())
    }
}
