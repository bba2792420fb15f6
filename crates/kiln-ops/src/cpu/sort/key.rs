//! Elements as unsigned integers in the same order.

use kiln_storage::{Element, bf16, f16};

/// An unsigned integer that is sorted by its digits.
pub trait Bits: Copy + Ord + Send + Sync + Default + 'static {
    /// How many bits there are.
    const BITS: u32;
    /// The bits from `shift` on, below `mask`.
    fn digit(self, shift: u32, mask: usize) -> usize;
    /// The same number with the order turned around.
    fn inverted(self) -> Self;
}

macro_rules! bits {
    ($($t:ty)*) => {
        $(impl Bits for $t {
            const BITS: u32 = <$t>::BITS;
            #[inline(always)]
            fn digit(self, shift: u32, mask: usize) -> usize {
                (self >> shift) as usize & mask
            }
            #[inline(always)]
            fn inverted(self) -> $t {
                !self
            }
        })*
    };
}
bits! { u8 u16 u32 u64 }

/// An element that can be sorted.
pub trait SortKey: Element {
    /// An unsigned integer.
    type Key: Bits;
    /// The integer: equal for equal elements and for all NaNs, which come last.
    fn key(self) -> Self::Key;
    /// The element of a key, unless several have it.
    fn from_key(key: Self::Key) -> Option<Self>;

    /// The integer in rising or falling order.
    #[inline(always)]
    fn ordered(self, descending: bool) -> Self::Key {
        if descending { self.key().inverted() } else { self.key() }
    }
}

macro_rules! unsigned_keys {
    ($($t:ty => $key:ty, $flip:expr;)*) => {
        $(impl SortKey for $t {
            type Key = $key;
            #[inline(always)]
            fn key(self) -> $key {
                self as $key ^ $flip
            }
            #[inline(always)]
            fn from_key(key: $key) -> Option<$t> {
                Some((key ^ $flip) as $t)
            }
        })*
    };
}
unsigned_keys! {
    u8 => u8, 0;
    i8 => u8, 1 << 7;
    i16 => u16, 1 << 15;
    i32 => u32, 1 << 31;
    i64 => u64, 1 << 63;
}

impl SortKey for bool {
    type Key = u8;
    #[inline(always)]
    fn key(self) -> u8 {
        self as u8
    }
    #[inline(always)]
    fn from_key(key: u8) -> Option<bool> {
        Some(key != 0)
    }
}

macro_rules! float_keys {
    ($($t:ty => $key:ty, $signed:ty;)*) => {
        $(impl SortKey for $t {
            type Key = $key;
            #[inline(always)]
            fn key(self) -> $key {
                const SIGN: $key = 1 << (<$key>::BITS - 1);
                let bits = self.to_bits();
                // Negative numbers rise as their bits fall.
                let negative = (bits as $signed >> (<$key>::BITS - 1)) as $key;
                let key = bits ^ (negative | SIGN);
                let key = if bits == SIGN { SIGN } else { key };
                if self.is_nan() { <$key>::MAX } else { key }
            }
            #[inline(always)]
            fn from_key(key: $key) -> Option<$t> {
                const SIGN: $key = 1 << (<$key>::BITS - 1);
                if key == SIGN || key == <$key>::MAX {
                    return None;
                }
                let negative = key & SIGN == 0;
                Some(<$t>::from_bits(if negative { !key } else { key ^ SIGN }))
            }
        })*
    };
}
float_keys! {
    f16 => u16, i16;
    bf16 => u16, i16;
    f32 => u32, i32;
    f64 => u64, i64;
}
