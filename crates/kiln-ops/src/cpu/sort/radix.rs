//! Stable sorting of keys with the places they came from.

use super::key::Bits;

/// A key and its place.
pub(super) type Item<K> = (K, u32);

/// Rows shorter than this are sorted by comparison.
const SHORT: usize = 200;
/// Rows from this length on are sorted by longer digits.
const LONG: usize = 1 << 15;

/// Sorts items whose places rise, stably. `scratch` is reused between calls.
pub(super) fn sort<K: Bits>(items: &mut Vec<Item<K>>, scratch: &mut Vec<Item<K>>) {
    if items.len() < SHORT {
        // Places differ and rise, so the order of pairs is the stable order of keys.
        items.sort_unstable();
    } else if items.len() < LONG || K::BITS <= 16 {
        by_digits::<K, 8>(items, scratch);
    } else {
        by_digits::<K, 11>(items, scratch);
    }
}

/// Digit by digit from the lowest, each pass stable. Digits that all keys share are skipped.
fn by_digits<K: Bits, const DIGIT: u32>(items: &mut Vec<Item<K>>, scratch: &mut Vec<Item<K>>) {
    let (size, mask) = (1usize << DIGIT, (1usize << DIGIT) - 1);
    let digits = K::BITS.div_ceil(DIGIT);
    let mut counts = vec![0u32; size * digits as usize];
    for &(key, _) in items.iter() {
        for (d, counts) in counts.chunks_exact_mut(size).enumerate() {
            counts[key.digit(d as u32 * DIGIT, mask)] += 1;
        }
    }
    scratch.resize(items.len(), Item::default());
    for (d, counts) in counts.chunks_exact_mut(size).enumerate() {
        let shift = d as u32 * DIGIT;
        if counts[items[0].0.digit(shift, mask)] as usize == items.len() {
            continue;
        }
        let mut start = 0;
        for count in counts.iter_mut() {
            let end = start + *count;
            *count = start;
            start = end;
        }
        for &item in items.iter() {
            let place = &mut counts[item.0.digit(shift, mask)];
            scratch[*place as usize] = item;
            *place += 1;
        }
        std::mem::swap(items, scratch);
    }
}
