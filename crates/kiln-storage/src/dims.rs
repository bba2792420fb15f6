//! [`Dims`]: a short list of sizes or strides.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// So many entries stand in the value itself.
const INLINE: usize = 4;

/// Sizes or strides, inline up to rank 4.
///
/// A list of its own because every operation copies a few: up to rank 4 a copy is a handful of register moves, where
/// general small vectors call `memcpy` with a length. It is as small as it is so that a whole tensor without history
/// takes 128 bytes: the compiler moves values up to that size in registers and calls `memcpy` for larger ones.
#[derive(Clone)]
pub struct Dims {
    len: usize,
    inline: [usize; INLINE],
    /// All entries, when there are more than fit inline. Boxed twice, because a slice's pointer takes two words.
    spilled: Option<Box<Box<[usize]>>>,
}

impl Dims {
    /// No entries.
    #[inline]
    pub const fn new() -> Dims {
        Dims { len: 0, inline: [0; INLINE], spilled: None }
    }

    /// The entries of a slice.
    #[inline]
    pub fn from_slice(entries: &[usize]) -> Dims {
        let mut dims = Dims { len: entries.len(), inline: [0; INLINE], spilled: None };
        if entries.len() <= INLINE {
            for (to, from) in dims.inline.iter_mut().zip(entries) {
                *to = *from;
            }
        } else {
            dims.spilled = Some(Box::new(entries.into()));
        }
        dims
    }

    /// `len` times the same entry.
    #[inline(always)]
    pub fn from_elem(entry: usize, len: usize) -> Dims {
        if len <= INLINE {
            return Dims { len, inline: [entry; INLINE], spilled: None };
        }
        Dims { len, inline: [0; INLINE], spilled: Some(Box::new(vec![entry; len].into())) }
    }

    /// Sorts the entries by a key, equal ones in the order they have: by insertion, which is quick for the few entries
    /// there are, and small.
    pub fn sort_by_key(&mut self, key: &dyn Fn(usize) -> usize) {
        for i in 1..self.len {
            let mut at = i;
            while at > 0 && key(self[at - 1]) > key(self[at]) {
                self.swap(at - 1, at);
                at -= 1;
            }
        }
    }

    /// Adds an entry at the end.
    #[inline]
    pub fn push(&mut self, entry: usize) {
        self.insert(self.len, entry);
    }

    /// Adds an entry before the one at `at`.
    ///
    /// # Panics
    /// `at` is beyond the end.
    pub fn insert(&mut self, at: usize, entry: usize) {
        assert!(at <= self.len, "no place {at} in a list of {}", self.len);
        if self.len < INLINE {
            self.inline.copy_within(at..self.len, at + 1);
            self.inline[at] = entry;
        } else {
            let mut all = self.to_vec();
            all.insert(at, entry);
            self.spilled = Some(Box::new(all.into()));
        }
        self.len += 1;
    }

    /// Leaves only the entries for which `keep` holds.
    pub fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        *self = self.iter().copied().filter(|&entry| keep(entry)).collect();
    }

    /// Takes out the entry at `at`.
    ///
    /// # Panics
    /// There is no such entry.
    pub fn remove(&mut self, at: usize) -> usize {
        let entry = self[at];
        let mut rest = self.clone();
        rest[at..].rotate_left(1);
        *self = Dims::from_slice(&rest[..rest.len() - 1]);
        entry
    }
}

impl From<&[usize]> for Dims {
    #[inline]
    fn from(entries: &[usize]) -> Dims {
        Dims::from_slice(entries)
    }
}

impl Deref for Dims {
    type Target = [usize];
    #[inline]
    fn deref(&self) -> &[usize] {
        match &self.spilled {
            None => &self.inline[..self.len],
            Some(all) => all,
        }
    }
}

impl DerefMut for Dims {
    #[inline]
    fn deref_mut(&mut self) -> &mut [usize] {
        match &mut self.spilled {
            None => &mut self.inline[..self.len],
            Some(all) => all,
        }
    }
}

impl Default for Dims {
    fn default() -> Dims {
        Dims::new()
    }
}

impl PartialEq for Dims {
    #[inline]
    fn eq(&self, other: &Dims) -> bool {
        // A loop: the lists are too short for a call of memcmp to pay.
        self.len == other.len && self.iter().zip(other.iter()).all(|(a, b)| a == b)
    }
}

impl Eq for Dims {}

impl std::hash::Hash for Dims {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for Dims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl FromIterator<usize> for Dims {
    fn from_iter<I: IntoIterator<Item = usize>>(entries: I) -> Dims {
        let mut dims = Dims::new();
        dims.extend(entries);
        dims
    }
}

impl Extend<usize> for Dims {
    fn extend<I: IntoIterator<Item = usize>>(&mut self, entries: I) {
        entries.into_iter().for_each(|entry| self.push(entry));
    }
}

impl<'a> IntoIterator for &'a Dims {
    type Item = &'a usize;
    type IntoIter = std::slice::Iter<'a, usize>;
    #[inline]
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorting_is_that_of_a_slice() {
        for len in 0..9 {
            let entries: Vec<usize> = (0..len).map(|i| i * 37 % 11).collect();
            // A key that few differ in shows whether equal ones keep their order.
            let (mut dims, mut sorted) = (Dims::from_slice(&entries), entries);
            dims.sort_by_key(&|a| a % 3);
            sorted.sort_by_key(|&a| a % 3);
            assert_eq!(*dims, *sorted);
        }
    }

    /// Every operation against the same one of a vector, across the border between inline and spilled.
    #[test]
    fn behaves_like_a_vector() {
        let mut dims = Dims::new();
        let mut vector: Vec<usize> = Vec::new();
        for i in 0..10 {
            let at = i * 7 % (i + 1);
            dims.insert(at, i);
            vector.insert(at, i);
            assert_eq!(*dims, *vector);
            assert_eq!(dims, Dims::from_slice(&vector));
            assert_eq!(dims, vector.iter().copied().collect());
        }
        assert_ne!(dims, Dims::from_elem(3, 10));
        for i in 0..10 {
            let at = i * 5 % vector.len();
            assert_eq!(dims.remove(at), vector.remove(at));
            assert_eq!(*dims, *vector);
            let copy = dims.clone();
            assert_eq!(copy, dims);
        }
        assert_eq!(*Dims::from_elem(2, 8), [2; 8]);
        assert_eq!(*Dims::from_elem(2, 3), [2; 3]);
    }
}
