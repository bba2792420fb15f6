//! Products with a single row: a row times a matrix, and a row times a column. Both read the matrix once, so what
//! counts is reading it in the order in which it lies in memory.

use super::job::Job;
use super::pack::{BLOCK, ROW_STEP, Strided, widen_strided};
use super::scratch::Scratch;
use super::simd::*;
use super::{Float, Real};
use crate::cpu::arch::{Arch, Avx2, Isa, Portable};
use crate::cpu::pool;
use std::sync::atomic::{Ordering, compiler_fence};

/// Adds `x[p] * b[p][j]` for `p` in `0..k` to the running sum of every column `j` in `0..n`: `(x, k, b, b_step, sum, n)`,
/// where `b_step` is the distance of the rows or columns of `b`, whichever are contiguous.
pub(crate) type Axpy<E> = unsafe fn(*const E, usize, *const E, isize, *mut E, usize);

/// Sums of products of blocks of k that follow each other: `(x, x_step, y, y_step, k, chains, sums)`, where `chains` (8, 4,
/// 2 or 1) blocks of `k` steps run side by side and each leaves one sum.
pub(crate) type Dot<E> = unsafe fn(*const E, isize, *const E, isize, usize, usize, *mut E);

/// Columns that a task keeps running sums of when the rows of the matrix are contiguous.
const CHUNK: usize = 1024;
/// Columns that are read side by side when the columns are contiguous.
const STRIP: usize = 32;
/// Rows that are widened at a time.
const ROWS: usize = 8;
/// Blocks of k whose chains run side by side in a dot product, to hide the latency of the multiply-add.
const CHAINS: usize = 8;
/// Numbers read by one call below which threads do not help.
const SMALL: usize = 1 << 16;

/// Computes jobs of one row whose matrix has contiguous rows or columns. Returns whether it did.
///
/// # Safety
/// As for [`super::engine::run`]; `a` and `b` are the operands of the job.
pub(crate) unsafe fn product<T: Float>(
    isa: Isa,
    job: &Job<'_, T>,
    a: &Strided<T>,
    b: &Strided<T>,
    serial: bool,
) -> bool {
    if job.n == 1 && job.k > 0 {
        // SAFETY: passed on to the caller.
        unsafe { dot(isa, job, a, b, serial) };
        return true;
    }
    // Below these sizes the general product has less to prepare.
    let (run, step) = if b.column == 1 && job.n >= 128 && job.k >= 16 {
        (CHUNK, CHUNK)
    } else if b.row == 1 && job.k >= 16 {
        (256, STRIP)
    } else {
        return false;
    };
    let shared = Shared { job, a, b, isa };
    let task = |i: usize| {
        let end = ((i + 1) * run).min(job.n);
        for first in (i * run..end).step_by(step) {
            // SAFETY: the columns lie inside B and C.
            unsafe { shared.chunk(first, step.min(end - first)) };
        }
    };
    let tasks = job.n.div_ceil(run);
    if serial || tasks == 1 || job.n * job.k < SMALL {
        (0..tasks).for_each(task);
    } else {
        pool::parallel_for(tasks, &task);
    }
    true
}

struct Shared<'a, T: Float> {
    job: &'a Job<'a, T>,
    a: &'a Strided<T>,
    b: &'a Strided<T>,
    isa: Isa,
}

// SAFETY: tasks write disjoint columns of C and only read the rest.
unsafe impl<T: Float> Sync for Shared<'_, T> {}

impl<T: Float> Shared<'_, T> {
    /// Computes columns `first..first + n`.
    unsafe fn chunk(&self, first: usize, n: usize) {
        let Shared { job, a, b, isa } = *self;
        // Running sums of a block, sums of all blocks, the widened row, and what is widened of the matrix.
        const WIDE: usize = if STRIP * ROW_STEP > ROWS * CHUNK { STRIP * ROW_STEP } else { ROWS * CHUNK };
        let buffer = Scratch::new::<T::Acc>(2 * CHUNK + BLOCK + if T::WIDE { 0 } else { WIDE });
        let run: *mut T::Acc = buffer.ptr();
        // SAFETY: columns lie inside B and C; the buffer has the parts named above.
        unsafe {
            let (total, x, wide) = (run.add(CHUNK), run.add(2 * CHUNK), run.add(2 * CHUNK + BLOCK));
            let by_rows = b.column == 1;
            let kernel = if by_rows { T::Acc::axpy(isa) } else { T::Acc::dots(isa) };
            let c = job.c.offset(first as isize * job.c_column);
            if job.accumulate {
                widen_strided(c, job.c_column, total, n);
            }
            for (block, p) in (0..job.k.max(1)).step_by(BLOCK).enumerate() {
                let k = BLOCK.min(job.k - p);
                widen_strided(a.at.offset(p as isize * a.column), a.column, x, k);
                std::ptr::write_bytes(run, 0, n);
                let from = b.at.offset(p as isize * b.row + first as isize * b.column);
                if T::WIDE {
                    kernel(x, k, from.cast(), if by_rows { b.row } else { b.column }, run, n);
                } else if by_rows {
                    for q in (0..k).step_by(ROWS) {
                        let rows = ROWS.min(k - q);
                        for i in 0..rows {
                            T::widen(from.offset((q + i) as isize * b.row), wide.add(i * CHUNK), n);
                        }
                        kernel(x.add(q), rows, wide, CHUNK as isize, run, n);
                    }
                } else {
                    for j in 0..n {
                        T::widen(from.offset(j as isize * b.column), wide.add(j * ROW_STEP), k);
                    }
                    kernel(x, k, wide, ROW_STEP as isize, run, n);
                }
                let (run, total) =
                    (std::slice::from_raw_parts(run, n), std::slice::from_raw_parts_mut(total, n));
                if block == 0 && !job.accumulate {
                    total.copy_from_slice(run);
                } else {
                    total.iter_mut().zip(run).for_each(|(t, &r)| *t = *t + r);
                }
            }
            let total = std::slice::from_raw_parts_mut(total, n);
            job.finish(0, first, total);
            if job.c_column == 1 {
                T::narrow(total.as_ptr(), c, n);
            } else {
                for (j, &t) in total.iter().enumerate() {
                    *c.offset(j as isize * job.c_column) = T::narrow_one(t);
                }
            }
        }
    }
}

/// One row times one column: the blocks are independent chains, so several run at once, on several threads.
unsafe fn dot<T: Float>(isa: Isa, job: &Job<'_, T>, a: &Strided<T>, b: &Strided<T>, serial: bool) {
    let (full, blocks) = (job.k / BLOCK, job.k.div_ceil(BLOCK));
    let sums = Scratch::new::<T::Acc>(blocks);
    let kernel = T::Acc::dot(isa);
    let out = Out(sums.ptr::<T::Acc>());
    let several = |block: usize, chains: usize, k: usize| {
        let out = &out;
        let p = block * BLOCK;
        // SAFETY: the blocks lie inside the operands; every call writes its own sums.
        unsafe {
            let (x, y) = (a.at.offset(p as isize * a.column), b.at.offset(p as isize * b.row));
            if T::WIDE {
                kernel(x.cast(), a.column, y.cast(), b.row, k, chains, out.0.add(block));
            } else {
                let wide = Scratch::new::<T::Acc>(2 * CHAINS * BLOCK);
                let (wide_x, wide_y) = (wide.ptr::<T::Acc>(), wide.ptr::<T::Acc>().add(CHAINS * BLOCK));
                widen_strided(x, a.column, wide_x, chains * k);
                widen_strided(y, b.row, wide_y, chains * k);
                kernel(wide_x, 1, wide_y, 1, k, chains, out.0.add(block));
            }
        }
    };
    // Full blocks by the group, what is left of them in smaller groups, then the last, shorter block.
    let groups = full / CHAINS;
    let task = |group: usize| {
        if group < groups {
            return several(group * CHAINS, CHAINS, BLOCK);
        }
        let mut block = groups * CHAINS;
        for chains in [4, 2, 1] {
            if full - block >= chains {
                several(block, chains, BLOCK);
                block += chains;
            }
        }
        if full < blocks {
            several(full, 1, job.k - full * BLOCK);
        }
    };
    if serial || job.k < SMALL {
        (0..=groups).for_each(task);
    } else {
        pool::parallel_for(groups + 1, &task);
    }
    // SAFETY: all sums are written; C has one element.
    unsafe {
        let mut total = *out.0;
        if job.accumulate {
            total = (*job.c).widen_one() + total;
        }
        for block in 1..blocks {
            total = total + *out.0.add(block);
        }
        job.finish(0, 0, std::slice::from_mut(&mut total));
        *job.c = T::narrow_one(total);
    }
}

struct Out<E>(*mut E);
// SAFETY: tasks write disjoint elements.
unsafe impl<E> Sync for Out<E> {}

/// The body of [`Axpy`]: a vector of sums stays in a register for eight rows of the matrix.
#[inline(always)]
unsafe fn axpy<S: Simd>(x: *const S::E, k: usize, b: *const S::E, b_row: isize, sum: *mut S::E, n: usize) {
    // SAFETY: the caller's pointers are valid for `k` rows and `n` columns.
    unsafe {
        let full = n - n % S::LANES;
        let mask = S::first(n - full);
        let mut q = 0;
        while q < k {
            let rows = if k - q >= 8 { 8 } else { 1 };
            let (x, b) = (x.add(q), b.offset(q as isize * b_row));
            if rows == 8 {
                let s: [S::V; 8] = std::array::from_fn(|i| S::splat(x.add(i)));
                for j in (0..full).step_by(S::LANES) {
                    let mut v = S::load(sum.add(j));
                    for (i, &s) in s.iter().enumerate() {
                        v = S::fma(s, S::load(b.offset(i as isize * b_row).add(j)), v);
                    }
                    S::store(sum.add(j), v);
                }
                if full < n {
                    let mut v = S::load_first(sum.add(full), mask);
                    for (i, &s) in s.iter().enumerate() {
                        v = S::fma(s, S::load_first(b.offset(i as isize * b_row).add(full), mask), v);
                    }
                    S::store_first(sum.add(full), v, mask);
                }
            } else {
                let s = S::splat(x);
                for j in (0..full).step_by(S::LANES) {
                    S::store(sum.add(j), S::fma(s, S::load(b.add(j)), S::load(sum.add(j))));
                }
                if full < n {
                    let v = S::fma(s, S::load_first(b.add(full), mask), S::load_first(sum.add(full), mask));
                    S::store_first(sum.add(full), v, mask);
                }
            }
            q += rows;
        }
    }
}

/// The body of [`Axpy`] for contiguous columns, `step` apart: they are transposed on their way
/// to the multiply-add, and several vectors of them run side by side to hide its latency.
#[inline(always)]
unsafe fn dots<S: Simd>(x: *const S::E, k: usize, b: *const S::E, step: isize, sum: *mut S::E, n: usize) {
    // SAFETY: the caller's pointers are valid for `k` steps of `n` columns.
    unsafe {
        let mut j = 0;
        while n - j >= 2 * S::LANES {
            columns::<S, 2>(x, k, b.offset(j as isize * step), step, sum.add(j), S::LANES);
            j += 2 * S::LANES;
        }
        while j < n {
            let some = S::LANES.min(n - j);
            columns::<S, 1>(x, k, b.offset(j as isize * step), step, sum.add(j), some);
            j += some;
        }
    }
}

/// N vectors of columns, of which the last has `some`.
#[inline(always)]
unsafe fn columns<S: Simd, const N: usize>(
    x: *const S::E,
    k: usize,
    b: *const S::E,
    step: isize,
    sum: *mut S::E,
    some: usize,
) {
    // SAFETY: the caller's pointers are valid for `k` steps; lanes beyond `some` repeat the last column.
    unsafe {
        let mask = S::first(some);
        let full = some == S::LANES;
        let group = |g: usize| b.offset((g * S::LANES) as isize * step);
        let mut acc: [S::V; N] = std::array::from_fn(|g| S::load_first(sum.add(g * S::LANES), mask));
        let mut q = 0;
        while q + S::LANES <= k {
            for (g, acc) in acc.iter_mut().enumerate() {
                // Keeps the compiler from mixing the groups, whose transpositions would not fit the registers together.
                compiler_fence(Ordering::SeqCst);
                let v = if full {
                    S::load_columns(group(g).add(q), |i| i as isize * step)
                } else {
                    S::load_columns(group(g).add(q), |i| i.min(some - 1) as isize * step)
                };
                for (i, &v) in v.as_ref().iter().enumerate() {
                    *acc = S::fma(S::splat(x.add(q + i)), v, *acc);
                }
            }
            q += S::LANES;
        }
        while q < k {
            for (g, acc) in acc.iter_mut().enumerate() {
                let mut lanes = [*x; 16];
                for (i, lane) in lanes.iter_mut().enumerate().take(some) {
                    *lane = *group(g).offset(i as isize * step).add(q);
                }
                *acc = S::fma(S::splat(x.add(q)), S::load(lanes.as_ptr()), *acc);
            }
            q += 1;
        }
        for (g, &acc) in acc.iter().enumerate() {
            S::store_first(sum.add(g * S::LANES), acc, mask);
        }
    }
}

/// The body of [`Dot`].
#[inline(always)]
unsafe fn chains<E: Copy + Default, const N: usize>(
    x: *const E,
    x_step: isize,
    y: *const E,
    y_step: isize,
    k: usize,
    out: *mut E,
    fma: impl Fn(E, E, E) -> E,
) {
    let mut sums = [E::default(); N];
    // SAFETY: the caller's pointers are valid for N blocks of `k` steps.
    unsafe {
        for q in 0..k {
            for (i, sum) in sums.iter_mut().enumerate() {
                let at = (i * k + q) as isize;
                *sum = fma(*x.offset(at * x_step), *y.offset(at * y_step), *sum);
            }
        }
        out.cast::<[E; N]>().write(sums);
    }
}

macro_rules! kernels {
    ($axpy:ident, $dots:ident, $dot:ident, $e:ty, $fma:ident, $portable:ident, $avx2:ident, $avx512:ident) => {
        #[doc = concat!("The kernel of an instruction set for `", stringify!($e), "`.")]
        pub(crate) fn $axpy(isa: Isa) -> Axpy<$e> {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f")]
                unsafe fn avx512(x: *const $e, k: usize, b: *const $e, b_row: isize, sum: *mut $e, n: usize) {
                    // SAFETY: passed on to the caller.
                    unsafe { axpy::<$avx512>(x, k, b, b_row, sum, n) }
                }
                #[target_feature(enable = "avx2,fma")]
                unsafe fn avx2(x: *const $e, k: usize, b: *const $e, b_row: isize, sum: *mut $e, n: usize) {
                    // SAFETY: passed on to the caller.
                    unsafe { axpy::<$avx2>(x, k, b, b_row, sum, n) }
                }
                match isa {
                    Isa::Avx512 => return avx512,
                    Isa::Avx2 => return avx2,
                    Isa::Portable => {}
                }
            }
            let _ = isa;
            axpy::<$portable>
        }

        #[doc = concat!("The kernel of an instruction set for `", stringify!($e), "`.")]
        pub(crate) fn $dots(isa: Isa) -> Axpy<$e> {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f")]
                unsafe fn avx512(x: *const $e, k: usize, b: *const $e, b_row: isize, sum: *mut $e, n: usize) {
                    // SAFETY: passed on to the caller.
                    unsafe { dots::<$avx512>(x, k, b, b_row, sum, n) }
                }
                #[target_feature(enable = "avx2,fma")]
                unsafe fn avx2(x: *const $e, k: usize, b: *const $e, b_row: isize, sum: *mut $e, n: usize) {
                    // SAFETY: passed on to the caller.
                    unsafe { dots::<$avx2>(x, k, b, b_row, sum, n) }
                }
                match isa {
                    Isa::Avx512 => return avx512,
                    Isa::Avx2 => return avx2,
                    Isa::Portable => {}
                }
            }
            let _ = isa;
            dots::<$portable>
        }

        #[doc = concat!("The kernel of an instruction set for `", stringify!($e), "`.")]
        pub(crate) fn $dot(isa: Isa) -> Dot<$e> {
            #[inline(always)]
            unsafe fn body<A: Arch>(
                x: *const $e,
                x_step: isize,
                y: *const $e,
                y_step: isize,
                k: usize,
                count: usize,
                out: *mut $e,
            ) {
                // SAFETY: passed on to the caller.
                unsafe {
                    match count {
                        8 => chains::<$e, 8>(x, x_step, y, y_step, k, out, A::$fma),
                        4 => chains::<$e, 4>(x, x_step, y, y_step, k, out, A::$fma),
                        2 => chains::<$e, 2>(x, x_step, y, y_step, k, out, A::$fma),
                        _ => chains::<$e, 1>(x, x_step, y, y_step, k, out, A::$fma),
                    }
                }
            }
            #[cfg(target_arch = "x86_64")]
            if isa >= Isa::Avx2 {
                #[target_feature(enable = "avx2,fma")]
                unsafe fn avx2(
                    x: *const $e,
                    x_step: isize,
                    y: *const $e,
                    y_step: isize,
                    k: usize,
                    count: usize,
                    out: *mut $e,
                ) {
                    // SAFETY: passed on to the caller.
                    unsafe { body::<Avx2>(x, x_step, y, y_step, k, count, out) }
                }
                return avx2;
            }
            let _ = isa;
            body::<Portable>
        }
    };
}
kernels!(axpy_f32, dots_f32, dot_f32, f32, fma32, PortableF32, Avx2F32, Avx512F32);
kernels!(axpy_f64, dots_f64, dot_f64, f64, fma64, PortableF64, Avx2F64, Avx512F64);
