//! Blocks of a matrix moved with rows and columns exchanged, through registers.

/// Rows and columns of a block that is moved at once.
pub(crate) const SIDE: usize = 64;

/// Moves a block of elements of 4 or 8 bytes: `to[r * SIDE + c] = from[c * stride + r]` for `r < rows`, `c < columns`, both
/// at most [`SIDE`].
///
/// # Safety
/// All these elements are valid, those of `to` for writing, and the two ranges do not overlap.
pub(crate) unsafe fn block(
    size: usize,
    from: *const u8,
    stride: usize,
    [rows, columns]: [usize; 2],
    to: *mut u8,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match size {
            4 => tiles::<u32, 4>(from.cast(), stride, [rows, columns], to.cast()),
            _ => tiles::<u64, 2>(from.cast(), stride, [rows, columns], to.cast()),
        }
    }
}

/// An element that `N` by `N` of are transposed in registers of 16 bytes.
trait Tile<const N: usize>: Copy {
    /// Moves such a square; `from_row` and `to_row` lead from row to row.
    ///
    /// # Safety
    /// The squares are valid, and the second one is for writing.
    unsafe fn square(from: *const Self, from_row: usize, to: *mut Self, to_row: usize);
}

/// [`block`] for one type of elements.
///
/// # Safety
/// As [`block`].
#[inline(always)]
unsafe fn tiles<T: Tile<N>, const N: usize>(
    from: *const T,
    stride: usize,
    [rows, columns]: [usize; 2],
    to: *mut T,
) {
    let (whole_rows, whole_columns) = (rows / N * N, columns / N * N);
    // SAFETY: squares and elements inside of the block.
    unsafe {
        // A few columns of the source at a time, from end to end: each line of it is read once, even where all the columns
        // lie in the same set of the cache.
        for c in (0..whole_columns).step_by(N) {
            for r in (0..whole_rows).step_by(N) {
                T::square(from.add(c * stride + r), stride, to.add(r * SIDE + c), SIDE);
            }
        }
        for c in 0..columns {
            let first = if c < whole_columns { whole_rows } else { 0 };
            for r in first..rows {
                to.add(r * SIDE + c).write_unaligned(from.add(c * stride + r).read_unaligned());
            }
        }
    }
}

/// One element after the other.
///
/// # Safety
/// As [`Tile::square`].
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
unsafe fn each<T: Copy, const N: usize>(from: *const T, from_row: usize, to: *mut T, to_row: usize) {
    for c in 0..N {
        for r in 0..N {
            // SAFETY: the caller's promise.
            unsafe { to.add(r * to_row + c).write_unaligned(from.add(c * from_row + r).read_unaligned()) }
        }
    }
}

impl Tile<4> for u32 {
    #[inline(always)]
    unsafe fn square(from: *const u32, from_row: usize, to: *mut u32, to_row: usize) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller's promise; SSE2 is part of the x86-64 baseline.
        unsafe {
            use std::arch::x86_64::*;
            let row = |i: usize| _mm_loadu_si128(from.add(i * from_row).cast());
            let (a, b, c, d) = (row(0), row(1), row(2), row(3));
            let (ab, cd) = (_mm_unpacklo_epi32(a, b), _mm_unpacklo_epi32(c, d));
            let (ab_high, cd_high) = (_mm_unpackhi_epi32(a, b), _mm_unpackhi_epi32(c, d));
            let put = |i: usize, v: __m128i| _mm_storeu_si128(to.add(i * to_row).cast(), v);
            put(0, _mm_unpacklo_epi64(ab, cd));
            put(1, _mm_unpackhi_epi64(ab, cd));
            put(2, _mm_unpacklo_epi64(ab_high, cd_high));
            put(3, _mm_unpackhi_epi64(ab_high, cd_high));
        }
        #[cfg(not(target_arch = "x86_64"))]
        // SAFETY: the caller's promise.
        unsafe {
            each::<u32, 4>(from, from_row, to, to_row)
        }
    }
}

impl Tile<2> for u64 {
    #[inline(always)]
    unsafe fn square(from: *const u64, from_row: usize, to: *mut u64, to_row: usize) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller's promise; SSE2 is part of the x86-64 baseline.
        unsafe {
            use std::arch::x86_64::*;
            let (a, b) = (_mm_loadu_si128(from.cast()), _mm_loadu_si128(from.add(from_row).cast()));
            _mm_storeu_si128(to.cast(), _mm_unpacklo_epi64(a, b));
            _mm_storeu_si128(to.add(to_row).cast(), _mm_unpackhi_epi64(a, b));
        }
        #[cfg(not(target_arch = "x86_64"))]
        // SAFETY: the caller's promise.
        unsafe {
            each::<u64, 2>(from, from_row, to, to_row)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_any_size_are_transposed() {
        for (rows, columns) in [(1, 1), (4, 4), (5, 7), (64, 64), (63, 62), (2, 64)] {
            let stride = rows + 3;
            let source: Vec<u64> = (0..(columns * stride) as u64).map(|i| i << 33 | i).collect();
            let narrow: Vec<u32> = source.iter().map(|&v| v as u32).collect();
            let (mut wide_out, mut narrow_out) = (vec![0u64; SIDE * SIDE], vec![0u32; SIDE * SIDE]);
            // SAFETY: the source has `columns` rows of `stride` elements, the results have a whole block.
            unsafe {
                block(8, source.as_ptr().cast(), stride, [rows, columns], wide_out.as_mut_ptr().cast());
                block(4, narrow.as_ptr().cast(), stride, [rows, columns], narrow_out.as_mut_ptr().cast());
            }
            for r in 0..SIDE {
                for c in 0..SIDE {
                    let inside = r < rows && c < columns;
                    let want = if inside { source[c * stride + r] } else { 0 };
                    assert_eq!(wide_out[r * SIDE + c], want, "{rows}x{columns} at {r}, {c}");
                    assert_eq!(narrow_out[r * SIDE + c], want as u32, "{rows}x{columns} at {r}, {c}");
                }
            }
        }
    }
}
