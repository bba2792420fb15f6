//! The Mersenne twister MT19937 (Matsumoto and Nishimura, "Mersenne twister: a 623-dimensionally equidistributed
//! uniform pseudo-random number generator", 1998), renewed a block at a time.
//!
//! Draws read tempered words out of a finished block, so that a fill is a loop over slices that the compiler
//! vectorises: [`Mt19937::words`] and [`Mt19937::pairs`] hand out as much of the block as they can.

use crate::cpu::arch::{Arch, Kernel, dispatch};

/// Words of the recurrence, and of a block.
pub(super) const N: usize = 624;
/// Distance of the word each new word is mixed with.
const M: usize = 397;
const TWIST: u32 = 0x9908_B0DF;

/// The engine.
#[derive(Clone)]
pub struct Mt19937 {
    /// The recurrence.
    state: [u32; N],
    /// The output words of `state`.
    output: [u32; N],
    /// Output words handed out; `N` asks for a new block.
    used: usize,
    /// No block was made since seeding: `state` is the seed's expansion and `output` means nothing.
    fresh: bool,
    /// A pair whose words lie in two blocks.
    straddling: [[u32; 2]; 1],
}

impl Mt19937 {
    pub(super) fn new(seed: u32) -> Self {
        let mut state = [seed; N];
        for j in 1..N {
            let previous = state[j - 1];
            state[j] = 1_812_433_253u32.wrapping_mul(previous ^ (previous >> 30)).wrapping_add(j as u32);
        }
        Mt19937 { state, output: [0; N], used: N, fresh: true, straddling: [[0; 2]] }
    }

    /// An engine that has handed out `used` words of the block `state`.
    pub(super) fn from_block(state: [u32; N], used: usize) -> Self {
        debug_assert!(used <= N);
        let output = state.map(temper);
        Mt19937 { state, output, used, fresh: false, straddling: [[0; 2]] }
    }

    /// An engine that has yet to make its first block from `state`.
    pub(super) fn from_expansion(state: [u32; N]) -> Self {
        Mt19937 { state, output: [0; N], used: N, fresh: true, straddling: [[0; 2]] }
    }

    /// The recurrence, words handed out of its block, and whether there is no block yet.
    pub(super) fn parts(&self) -> (&[u32; N], usize, bool) {
        (&self.state, self.used, self.fresh)
    }

    #[inline]
    pub(super) fn next_u32(&mut self) -> u32 {
        if self.used == N {
            dispatch(Renew(self));
        }
        let word = self.output[self.used];
        self.used += 1;
        word
    }

    /// The next words: as many as the block has left, `limit` at most and one at least (`limit` is not 0).
    #[inline(always)]
    pub(super) fn words(&mut self, limit: usize) -> &[u32] {
        if self.used == N {
            self.renew();
        }
        let start = self.used;
        self.used += limit.min(N - start);
        &self.output[start..self.used]
    }

    /// The next pairs of words: as many as the block has left, `limit` at most and one at least (`limit` is not 0).
    #[inline(always)]
    pub(super) fn pairs(&mut self, limit: usize) -> &[[u32; 2]] {
        if self.used == N {
            self.renew();
        }
        if self.used == N - 1 {
            let high = self.output[N - 1];
            self.renew();
            self.straddling = [[high, self.output[0]]];
            self.used = 1;
            return &self.straddling;
        }
        let start = self.used;
        self.used += 2 * limit.min((N - start) / 2);
        self.output[start..self.used].as_chunks().0
    }

    /// Makes the next block.
    #[inline(always)]
    fn renew(&mut self) {
        // Word i needs the old words i and i + 1 and the word M further on, which is new from N - M on. A copy of the
        // old words and three stretches, none of which reads what it writes, leave loops without dependencies.
        let old = self.state;
        let (first, rest) = self.state.split_at_mut(N - M);
        let (second, third) = rest.split_at_mut(N - M);
        for (i, word) in first.iter_mut().enumerate() {
            *word = old[i + M] ^ twist(old[i], old[i + 1]);
        }
        let tail = &old[N - M..];
        for ((word, far), near) in second.iter_mut().zip(&*first).zip(tail.windows(2)) {
            *word = far ^ twist(near[0], near[1]);
        }
        let tail = &old[2 * (N - M)..];
        for ((word, far), near) in third.iter_mut().zip(&*second).zip(tail.windows(2)) {
            *word = far ^ twist(near[0], near[1]);
        }
        self.state[N - 1] = self.state[M - 1] ^ twist(old[N - 1], self.state[0]);
        for (output, &word) in self.output.iter_mut().zip(&self.state) {
            *output = temper(word);
        }
        self.used = 0;
        self.fresh = false;
    }
}

struct Renew<'a>(&'a mut Mt19937);

impl Kernel for Renew<'_> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        self.0.renew();
    }
}

/// The recurrence's mix of the top bit of one word and the rest of the next.
#[inline(always)]
fn twist(upper: u32, lower: u32) -> u32 {
    let mixed = (upper & 0x8000_0000) | (lower & 0x7FFF_FFFF);
    (mixed >> 1) ^ ((lower & 1).wrapping_neg() & TWIST)
}

#[inline(always)]
fn temper(word: u32) -> u32 {
    let y = word ^ (word >> 11);
    let y = y ^ ((y << 7) & 0x9D2C_5680);
    let y = y ^ ((y << 15) & 0xEFC6_0000);
    y ^ (y >> 18)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_words() {
        // The 10000th word after seed 5489 is fixed by the C++ standard ([rand.predef]).
        let mut engine = Mt19937::new(5489);
        let last = (0..10_000).map(|_| engine.next_u32()).last();
        assert_eq!(last, Some(4_123_659_995));
    }

    #[test]
    fn pieces_of_any_length_give_one_stream() {
        let mut singly = Mt19937::new(7);
        let mut pieces = Mt19937::new(7);
        let mut limit = 1;
        for round in 0..2000 {
            limit = limit * 31 % 701 + 1;
            let got: Vec<u32> =
                if round % 2 == 0 { pieces.words(limit).to_vec() } else { pieces.pairs(limit).concat() };
            assert!(!got.is_empty() && got.len() <= 2 * limit);
            for word in got {
                assert_eq!(word, singly.next_u32());
            }
        }
    }
}
