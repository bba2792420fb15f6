//! Where the operands of a product come from: matrices in place, matrices to be packed, and (in `conv`) image patches.

use super::Float;
use super::micro::MAX_ROWS;
use crate::cpu::arch::Isa;

/// The length of the blocks that k is cut into. A constant of the results: changing it changes rounding everywhere.
pub(crate) const BLOCK: usize = 256;

/// Distance of the rows of a panel of A that is packed row by row; not a power of two, which would make all rows of the
/// panel compete for the same few lines of the cache.
pub(crate) const ROW_STEP: usize = BLOCK + 16;

/// Numbers in a packed panel of A.
pub(crate) const LEFT_PANEL: usize = MAX_ROWS * ROW_STEP;

/// The left operand: its rows are broadcast one number at a time, so any strides will do in place.
pub(crate) trait Left<E>: Sync {
    /// Start, row step and column step of the operand, if the kernels can read it where it is.
    fn in_place(&self) -> Option<(*const E, isize, isize)>;
    /// Row step and column step of the panels that `pack` writes.
    fn panel_steps(&self) -> (isize, isize);
    /// Writes rows `row..row + rows` of columns `p..p + k` as a panel of at most [`LEFT_PANEL`] numbers.
    unsafe fn pack(&self, isa: Isa, row: usize, rows: usize, p: usize, k: usize, to: *mut E);
}

/// The right operand: its rows are read a vector at a time.
pub(crate) trait Right<E>: Sync {
    /// Start and row step of the operand, if its rows are contiguous where they are.
    fn in_place(&self) -> Option<(*const E, isize)>;
    /// Writes columns `column..column + columns` of rows `p..p + k` to a panel whose rows are `width` numbers apart.
    unsafe fn pack(
        &self,
        isa: Isa,
        column: usize,
        columns: usize,
        p: usize,
        k: usize,
        to: *mut E,
        width: usize,
    );
}

/// A matrix with any strides.
pub(crate) struct Strided<T> {
    pub at: *const T,
    pub row: isize,
    pub column: isize,
}

// SAFETY: the operand is only read, and the caller of the product guarantees that nothing writes it meanwhile.
unsafe impl<T: Sync> Sync for Strided<T> {}

impl<T: Float> Left<T::Acc> for Strided<T> {
    fn in_place(&self) -> Option<(*const T::Acc, isize, isize)> {
        T::WIDE.then_some((self.at.cast(), self.row, self.column))
    }

    fn panel_steps(&self) -> (isize, isize) {
        if self.row == 1 && self.column != 1 { (1, MAX_ROWS as isize) } else { (ROW_STEP as isize, 1) }
    }

    unsafe fn pack(&self, _: Isa, row: usize, rows: usize, p: usize, k: usize, to: *mut T::Acc) {
        // SAFETY: the caller asks for rows and columns inside the matrix, and the panel has room for them.
        unsafe {
            let from = self.at.offset(row as isize * self.row + p as isize * self.column);
            if self.panel_steps().0 == 1 {
                for q in 0..k {
                    T::widen(from.offset(q as isize * self.column), to.add(q * MAX_ROWS), rows);
                }
            } else {
                for i in 0..rows {
                    widen_strided(from.offset(i as isize * self.row), self.column, to.add(i * ROW_STEP), k);
                }
            }
        }
    }
}

impl<T: Float> Right<T::Acc> for Strided<T> {
    fn in_place(&self) -> Option<(*const T::Acc, isize)> {
        (T::WIDE && self.column == 1).then_some((self.at.cast(), self.row))
    }

    unsafe fn pack(
        &self,
        isa: Isa,
        column: usize,
        columns: usize,
        p: usize,
        k: usize,
        to: *mut T::Acc,
        width: usize,
    ) {
        // SAFETY: the caller asks for rows and columns inside the matrix, and the panel has room for them.
        unsafe {
            let from = self.at.offset(p as isize * self.row + column as isize * self.column);
            if self.column == 1 || self.row != 1 {
                for q in 0..k {
                    widen_strided(
                        from.offset(q as isize * self.row),
                        self.column,
                        to.add(q * width),
                        columns,
                    );
                }
            } else if T::WIDE {
                transpose::<T::Acc>(isa, from.cast(), self.column, columns, k, to, width);
            } else {
                // Eight columns at a time are widened into a strip that stays in the cache.
                let mut strip = [const { std::mem::MaybeUninit::<T::Acc>::uninit() }; 8 * ROW_STEP];
                let strip = strip.as_mut_ptr().cast::<T::Acc>();
                for j in (0..columns).step_by(8) {
                    let some = (columns - j).min(8);
                    for i in 0..some {
                        T::widen(from.offset((j + i) as isize * self.column), strip.add(i * ROW_STEP), k);
                    }
                    transpose::<T::Acc>(isa, strip, ROW_STEP as isize, some, k, to.add(j), width);
                }
            }
        }
    }
}

/// Widens `n` numbers that are `step` apart.
#[inline(always)]
pub(crate) unsafe fn widen_strided<T: Float>(from: *const T, step: isize, to: *mut T::Acc, n: usize) {
    // SAFETY: the caller's pointers are valid for `n` numbers at their steps.
    unsafe {
        if step == 1 {
            T::widen(from, to, n);
        } else {
            for i in 0..n {
                *to.add(i) = (*from.offset(i as isize * step)).widen_one();
            }
        }
    }
}

/// `to[q * width + j] = from[j * step + q]` for `j < columns` and `q < k`.
pub(crate) unsafe fn transpose<E: Copy + 'static>(
    isa: Isa,
    from: *const E,
    step: isize,
    columns: usize,
    k: usize,
    to: *mut E,
    width: usize,
) {
    #[cfg(target_arch = "x86_64")]
    if isa >= Isa::Avx2 {
        // SAFETY: passed on to the caller; the instruction set was detected.
        unsafe {
            match size_of::<E>() {
                4 => return x86::transpose32(from.cast(), step, columns, k, to.cast(), width),
                8 => return x86::transpose64(from.cast(), step, columns, k, to.cast(), width),
                _ => {}
            }
        }
    }
    let _ = isa;
    // Columns in fours: four streams to read, rows of four to write.
    for j in (0..columns).step_by(4) {
        let some = (columns - j).min(4);
        for q in 0..k {
            for i in j..j + some {
                // SAFETY: inside both matrices by the loop bounds.
                unsafe { *to.add(q * width + i) = *from.offset(i as isize * step + q as isize) };
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    /// The part of a transposition that full blocks of the vector unit leave over.
    #[inline(always)]
    unsafe fn rest<E: Copy>(
        from: *const E,
        step: isize,
        columns: std::ops::Range<usize>,
        k: std::ops::Range<usize>,
        to: *mut E,
        width: usize,
    ) {
        for j in columns {
            for q in k.clone() {
                // SAFETY: inside both matrices by the caller's ranges.
                unsafe { *to.add(q * width + j) = *from.offset(j as isize * step + q as isize) };
            }
        }
    }

    /// Blocks of 8 by 8.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn transpose32(
        from: *const f32,
        step: isize,
        columns: usize,
        k: usize,
        to: *mut f32,
        width: usize,
    ) {
        let (full, full_k) = (columns & !7, k & !7);
        // SAFETY: full blocks lie inside both matrices; the rest is done one by one.
        unsafe {
            for j in (0..full).step_by(8) {
                for q in (0..full_k).step_by(8) {
                    let p = from.offset(j as isize * step + q as isize);
                    // Halves of two rows four apart share a register, so that no shuffle crosses its middle later.
                    let pair = |i: isize, half: usize| {
                        let low = _mm_loadu_ps(p.offset(i * step).add(half));
                        _mm256_insertf128_ps::<1>(
                            _mm256_castps128_ps256(low),
                            _mm_loadu_ps(p.offset((i + 4) * step).add(half)),
                        )
                    };
                    for half in [0, 4] {
                        let (r0, r1, r2, r3) = (pair(0, half), pair(1, half), pair(2, half), pair(3, half));
                        let (a, b) = (_mm256_unpacklo_ps(r0, r1), _mm256_unpackhi_ps(r0, r1));
                        let (c, d) = (_mm256_unpacklo_ps(r2, r3), _mm256_unpackhi_ps(r2, r3));
                        let t = to.add((q + half) * width + j);
                        _mm256_storeu_ps(t, _mm256_shuffle_ps::<0x44>(a, c));
                        _mm256_storeu_ps(t.add(width), _mm256_shuffle_ps::<0xEE>(a, c));
                        _mm256_storeu_ps(t.add(2 * width), _mm256_shuffle_ps::<0x44>(b, d));
                        _mm256_storeu_ps(t.add(3 * width), _mm256_shuffle_ps::<0xEE>(b, d));
                    }
                }
            }
            rest(from, step, 0..full, full_k..k, to, width);
            rest(from, step, full..columns, 0..k, to, width);
        }
    }

    /// Blocks of 4 by 4.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn transpose64(
        from: *const f64,
        step: isize,
        columns: usize,
        k: usize,
        to: *mut f64,
        width: usize,
    ) {
        let (full, full_k) = (columns & !3, k & !3);
        // SAFETY: full blocks lie inside both matrices; the rest is done one by one.
        unsafe {
            for j in (0..full).step_by(4) {
                for q in (0..full_k).step_by(4) {
                    let p = from.offset(j as isize * step + q as isize);
                    for half in [0, 2] {
                        let pair = |i: isize| {
                            let low = _mm_loadu_pd(p.offset(i * step).add(half));
                            let high = _mm_loadu_pd(p.offset((i + 2) * step).add(half));
                            _mm256_insertf128_pd::<1>(_mm256_castpd128_pd256(low), high)
                        };
                        let (r0, r1) = (pair(0), pair(1));
                        let t = to.add((q + half) * width + j);
                        _mm256_storeu_pd(t, _mm256_unpacklo_pd(r0, r1));
                        _mm256_storeu_pd(t.add(width), _mm256_unpackhi_pd(r0, r1));
                    }
                }
            }
            rest(from, step, 0..full, full_k..k, to, width);
            rest(from, step, full..columns, 0..k, to, width);
        }
    }
}
