//! Where the operands of a product come from: matrices in place, matrices to be packed, and (in `conv`) image patches.

use super::micro::MAX_ROWS;
use super::simd::*;
use super::{Float, Real};
use crate::cpu::arch::Isa;

/// The length of the blocks that k is cut into. A constant of the results: changing it changes rounding everywhere.
pub(crate) const BLOCK: usize = 256;

/// Distance of the rows of a panel of A that is packed row by row; not a power of two, which would make all rows of the
/// panel compete for the same few lines of the cache.
pub(crate) const ROW_STEP: usize = BLOCK + 16;

/// Numbers in a packed panel of A: there is room for a vector behind the last number.
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
    /// Start and row offsets of the operand, if its rows are contiguous but not evenly spaced.
    fn offsets(&self) -> Option<(*const E, &[usize])> {
        None
    }
    /// The operand as [`super::Packed`] has it, and the distance of its blocks.
    fn packed(&self) -> Option<(*const E, usize)> {
        None
    }
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

    unsafe fn pack(&self, isa: Isa, row: usize, rows: usize, p: usize, k: usize, to: *mut T::Acc) {
        // SAFETY: the caller asks for rows and columns inside the matrix, and the panel has room for them, and for a vector
        // more behind the last one.
        unsafe {
            let from = self.at.offset(row as isize * self.row + p as isize * self.column);
            if self.panel_steps().0 == 1 && T::WIDE && self.column >= 0 {
                copy_rows(isa, from.cast(), self.column as usize, k, to, MAX_ROWS, rows, ROW_STEP - BLOCK);
            } else if self.panel_steps().0 == 1 {
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
            if T::WIDE && self.column == 1 && self.row >= 0 {
                copy_rows(isa, from.cast(), self.row as usize, k, to, width, columns, width);
            } else if self.column == 1 || self.row != 1 {
                for q in 0..k {
                    widen_strided(
                        from.offset(q as isize * self.row),
                        self.column,
                        to.add(q * width),
                        columns,
                    );
                }
            } else if T::WIDE {
                T::Acc::transpose(isa)(from.cast(), self.column, columns, k, to, width);
            } else {
                // A vector of columns at a time is widened into a strip that stays in the cache.
                let mut strip = [const { std::mem::MaybeUninit::<T::Acc>::uninit() }; 16 * ROW_STEP];
                let strip = strip.as_mut_ptr().cast::<T::Acc>();
                for j in (0..columns).step_by(16) {
                    let some = (columns - j).min(16);
                    for i in 0..some {
                        T::widen(from.offset((j + i) as isize * self.column), strip.add(i * ROW_STEP), k);
                    }
                    T::Acc::transpose(isa)(strip, ROW_STEP as isize, some, k, to.add(j), width);
                }
            }
        }
    }
}

/// [`CopyRuns`] for at most [`BLOCK`] places that are `step` apart.
unsafe fn copy_rows<E: Real>(
    isa: Isa,
    from: *const E,
    step: usize,
    count: usize,
    to: *mut E,
    to_step: usize,
    len: usize,
    room: usize,
) {
    let places: [usize; BLOCK] = std::array::from_fn(|q| q * step);
    assert!(count <= BLOCK, "panels are no longer than a block");
    // SAFETY: passed on to the caller.
    unsafe { E::copy_runs(isa)(from, places.as_ptr(), count, to, to_step, len, room) }
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
pub(crate) type Transpose<E> = unsafe fn(*const E, isize, usize, usize, *mut E, usize);

/// The body of every [`Transpose`]: squares of one vector by one vector.
#[inline(always)]
unsafe fn transpose<S: Simd>(
    from: *const S::E,
    step: isize,
    columns: usize,
    k: usize,
    to: *mut S::E,
    width: usize,
) {
    // SAFETY: squares lie inside both matrices but for lanes beyond the last column, which repeat it and are not stored.
    unsafe {
        let full_k = k - k % S::LANES;
        for j in (0..columns).step_by(S::LANES) {
            let p = from.offset(j as isize * step);
            let some = (columns - j).min(S::LANES);
            let mask = S::first(some);
            for q in (0..full_k).step_by(S::LANES) {
                if some == S::LANES {
                    let v = S::load_columns(p.add(q), |i| i as isize * step);
                    for (i, &v) in v.as_ref().iter().enumerate() {
                        S::store(to.add((q + i) * width + j), v);
                    }
                } else {
                    let v = S::load_columns(p.add(q), |i| i.min(some - 1) as isize * step);
                    for (i, &v) in v.as_ref().iter().enumerate() {
                        S::store_first(to.add((q + i) * width + j), v, mask);
                    }
                }
            }
            for q in full_k..k {
                for i in 0..some {
                    *to.add(q * width + j + i) = *p.offset(i as isize * step).add(q);
                }
            }
        }
    }
}

macro_rules! transpose_kernel {
    ($name:ident, $e:ty, $portable:ident, $avx2:ident, $avx512:ident) => {
        /// The transposition of an instruction set.
        pub(crate) fn $name(isa: Isa) -> Transpose<$e> {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f")]
                unsafe fn avx512(f: *const $e, step: isize, columns: usize, k: usize, to: *mut $e, width: usize) {
                    // SAFETY: passed on to the caller.
                    unsafe { transpose::<$avx512>(f, step, columns, k, to, width) }
                }
                #[target_feature(enable = "avx2,fma")]
                unsafe fn avx2(f: *const $e, step: isize, columns: usize, k: usize, to: *mut $e, width: usize) {
                    // SAFETY: passed on to the caller.
                    unsafe { transpose::<$avx2>(f, step, columns, k, to, width) }
                }
                match isa {
                    Isa::Avx512 => return avx512,
                    Isa::Avx2 => return avx2,
                    Isa::Portable => {}
                }
            }
            let _ = isa;
            transpose::<$portable>
        }
    };
}
transpose_kernel!(transpose_f32, f32, PortableF32, Avx2F32, Avx512F32);
transpose_kernel!(transpose_f64, f64, PortableF64, Avx2F64, Avx512F64);

/// Copies `len` numbers from each of `count` places, `base + offset`, to rows that are `step` apart:
/// `(base, offsets, count, to, step, len, room)`. In each row, `room` numbers may be overwritten.
pub(crate) type CopyRuns<E> = unsafe fn(*const E, *const usize, usize, *mut E, usize, usize, usize);

/// The body of every [`CopyRuns`].
#[inline(always)]
unsafe fn copy_runs<S: Simd>(
    base: *const S::E,
    offsets: *const usize,
    count: usize,
    to: *mut S::E,
    step: usize,
    len: usize,
    room: usize,
) {
    // SAFETY: the caller's places and rows are valid for `len` numbers each, rows for `room` of them.
    unsafe {
        if len < S::LANES {
            let mask = S::first(len);
            if room >= S::LANES {
                // Masked stores are slow.
                for q in 0..count {
                    S::store(to.add(q * step), S::load_first(base.add(*offsets.add(q)), mask));
                }
                return;
            }
            for q in 0..count {
                S::store_first(to.add(q * step), S::load_first(base.add(*offsets.add(q)), mask), mask);
            }
            return;
        }
        // The last vector may overlap the one before it, which writes the same numbers twice.
        let tail = len - S::LANES;
        if len <= 2 * S::LANES {
            for q in 0..count {
                let (from, to) = (base.add(*offsets.add(q)), to.add(q * step));
                let (first, last) = (S::load(from), S::load(from.add(tail)));
                S::store(to, first);
                S::store(to.add(tail), last);
            }
            return;
        }
        for q in 0..count {
            let (from, to) = (base.add(*offsets.add(q)), to.add(q * step));
            let last = S::load(from.add(tail));
            for at in (0..tail).step_by(S::LANES) {
                S::store(to.add(at), S::load(from.add(at)));
            }
            S::store(to.add(tail), last);
        }
    }
}

macro_rules! copy_runs_kernel {
    ($name:ident, $e:ty, $portable:ident, $avx2:ident, $avx512:ident) => {
        /// The run-copying kernel of an instruction set.
        pub(crate) fn $name(isa: Isa) -> CopyRuns<$e> {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f")]
                unsafe fn avx512(b: *const $e, o: *const usize, n: usize, to: *mut $e, step: usize, len: usize, room: usize) {
                    // SAFETY: passed on to the caller.
                    unsafe { copy_runs::<$avx512>(b, o, n, to, step, len, room) }
                }
                #[target_feature(enable = "avx2,fma")]
                unsafe fn avx2(b: *const $e, o: *const usize, n: usize, to: *mut $e, step: usize, len: usize, room: usize) {
                    // SAFETY: passed on to the caller.
                    unsafe { copy_runs::<$avx2>(b, o, n, to, step, len, room) }
                }
                match isa {
                    Isa::Avx512 => return avx512,
                    Isa::Avx2 => return avx2,
                    Isa::Portable => {}
                }
            }
            let _ = isa;
            copy_runs::<$portable>
        }
    };
}
copy_runs_kernel!(copy_runs_f32, f32, PortableF32, Avx2F32, Avx512F32);
copy_runs_kernel!(copy_runs_f64, f64, PortableF64, Avx2F64, Avx512F64);
