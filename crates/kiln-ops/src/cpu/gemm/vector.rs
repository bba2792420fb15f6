//! Products with a single row: a row times a matrix, and a row times a column. Both read the matrix once, so what
//! counts is reading it in the order in which it lies in memory.

use super::engine::Job;
use super::pack::{BLOCK, Strided, widen_strided};
use super::scratch::Scratch;
use super::simd::*;
use super::{Float, Real};
use crate::cpu::arch::{Arch, Avx2, Isa, Portable};
use crate::cpu::pool;

/// Adds `x[p] * b[p][j]` for `p` in `0..k` to the running sum of every column `j` in `0..n`: `(x, k, b, b_row, sum, n)`.
pub(crate) type Axpy<E> = unsafe fn(*const E, usize, *const E, isize, *mut E, usize);

/// Sums of products of blocks of k that follow each other: `(x, x_step, y, y_step, k, chains, sums)`, where `chains` (8, 4,
/// 2 or 1) blocks of `k` steps run side by side and each leaves one sum.
pub(crate) type Dot<E> = unsafe fn(*const E, isize, *const E, isize, usize, usize, *mut E);

/// Columns that a task keeps running sums of.
const CHUNK: usize = 1024;
/// Blocks of k whose chains run side by side in a dot product, to hide the latency of the multiply-add.
const CHAINS: usize = 8;
/// Numbers read by one call below which threads do not help.
const SMALL: usize = 1 << 16;

/// Computes jobs of one row whose matrix has contiguous rows, or a single column. Returns whether it did.
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
    // SAFETY: passed on to the caller.
    unsafe {
        if job.n == 1 && job.k > BLOCK {
            dot(isa, job, a, b, serial);
            return true;
        }
        if b.column == 1 && job.n >= 128 {
            let tasks = job.n.div_ceil(CHUNK);
            let shared = Shared(job, a, b);
            let task = |i: usize| shared.chunk(isa, i * CHUNK, CHUNK.min(job.n - i * CHUNK));
            if serial || tasks == 1 || job.n * job.k < SMALL {
                (0..tasks).for_each(task);
            } else {
                pool::parallel_for(tasks, &task);
            }
            return true;
        }
    }
    false
}

struct Shared<'a, T: Float>(&'a Job<'a, T>, &'a Strided<T>, &'a Strided<T>);

// SAFETY: tasks write disjoint columns of C and only read the rest.
unsafe impl<T: Float> Sync for Shared<'_, T> {}

impl<T: Float> Shared<'_, T> {
    /// Computes columns `first..first + n`.
    unsafe fn chunk(&self, isa: Isa, first: usize, n: usize) {
        let Shared(job, a, b) = self;
        // Running sums of a block, sums of all blocks, the widened row, and widened rows of the matrix where needed.
        const ROWS: usize = 8;
        let buffer = Scratch::new::<T::Acc>(2 * CHUNK + BLOCK + if T::WIDE { 0 } else { ROWS * CHUNK });
        let run: *mut T::Acc = buffer.ptr();
        // SAFETY: columns lie inside B and C; the buffer has the parts named above.
        unsafe {
            let (total, x, wide) = (run.add(CHUNK), run.add(2 * CHUNK), run.add(2 * CHUNK + BLOCK));
            let kernels = T::Acc::axpy(isa);
            let c = job.c.offset(first as isize * job.c_column);
            if job.accumulate {
                widen_strided(c, job.c_column, total, n);
            }
            for (block, p) in (0..job.k.max(1)).step_by(BLOCK).enumerate() {
                let k = BLOCK.min(job.k - p);
                widen_strided(a.at.offset(p as isize * a.column), a.column, x, k);
                std::ptr::write_bytes(run, 0, n);
                let from = b.at.offset(p as isize * b.row).add(first);
                if T::WIDE {
                    kernels(x, k, from.cast(), b.row, run, n);
                } else {
                    for q in (0..k).step_by(ROWS) {
                        let rows = ROWS.min(k - q);
                        for i in 0..rows {
                            T::widen(from.offset((q + i) as isize * b.row), wide.add(i * CHUNK), n);
                        }
                        kernels(x.add(q), rows, wide, CHUNK as isize, run, n);
                    }
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
            for (j, t) in total.iter_mut().enumerate() {
                *t = finish(job, first + j, *t);
            }
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

/// Bias and relu for column `j` of the only row.
#[inline(always)]
unsafe fn finish<T: Float>(job: &Job<'_, T>, j: usize, mut x: T::Acc) -> T::Acc {
    // SAFETY: the biases are valid for the columns and the row of C.
    unsafe {
        if !job.column_bias.is_null() {
            x = x + *job.column_bias.add(j);
        }
        if !job.row_bias.is_null() {
            x = x + *job.row_bias;
        }
    }
    if job.relu && T::Acc::default() > x { T::Acc::default() } else { x }
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
        *job.c = T::narrow_one(finish(job, 0, total));
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
    ($axpy:ident, $dot:ident, $e:ty, $fma:ident, $portable:ident, $avx2:ident, $avx512:ident) => {
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
kernels!(axpy_f32, dot_f32, f32, fma32, PortableF32, Avx2F32, Avx512F32);
kernels!(axpy_f64, dot_f64, f64, fma64, PortableF64, Avx2F64, Avx512F64);
