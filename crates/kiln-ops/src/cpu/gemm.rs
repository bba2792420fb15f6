//! The matrix product: packed and blocked, for any strides, with the same bits on every machine.
//!
//! # What an element is
//!
//! For floats the rounding of every element of C is part of the contract. k is cut into blocks of one constant length.
//! Within a block an element is one chain of fused multiply-adds in the order of k, starting from zero. Blocks are added
//! in order: to nothing, or to what C held when accumulating. After the last block come the column bias, the row bias
//! and relu. `f16` and `bf16` are widened to `f32`, summed like `f32`, and rounded once at the end. Integers wrap.
//!
//! Shapes, strides, instruction sets and thread counts choose between kernels, packing and tilings, none of which can
//! be seen in the result.

mod engine;
mod integer;
mod job;
mod micro;
mod pack;
mod packed;
mod scratch;
mod simd;
mod split;
mod vector;

#[cfg(test)]
mod tests;

pub(crate) use engine::{FEW_ROWS, fan_out, run};
pub(crate) use job::{Columns, Job};
pub(crate) use pack::{Left, ROW_STEP, Right, Strided, widen_strided};
pub(crate) use packed::Packed;
pub(crate) use scratch::Scratch;
#[cfg(test)]
pub(crate) use {micro::MAX_ROWS, pack::BLOCK};

use crate::cpu::arch::{Isa, isa};
use crate::cpu::pool;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// Numbers added to every row or every column of C.
pub enum Bias<T> {
    /// Element `i`, at `i` steps from the pointer, is added to row `i` (a convolution's bias).
    Rows(*const T, isize),
    /// Element `j`, at `j` steps from the pointer, is added to column `j` (a linear layer's bias).
    Columns(*const T, isize),
}

impl<T> Clone for Bias<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Bias<T> {}

/// What is applied to an element of C once its sum is complete: first the bias, then relu.
pub struct Epilogue<T> {
    /// The bias, if any.
    pub bias: Option<Bias<T>>,
    /// Whether negative numbers become zero.
    pub relu: bool,
}

impl<T> Epilogue<T> {
    /// The plain product.
    pub const NONE: Epilogue<T> = Epilogue { bias: None, relu: false };
}

impl<T> Clone for Epilogue<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Epilogue<T> {}

impl<T> Default for Epilogue<T> {
    fn default() -> Self {
        Epilogue::NONE
    }
}

/// A product in terms of pointers and strides. Not for use outside this module; public because a trait names it.
#[doc(hidden)]
pub struct Problem<T> {
    m: usize,
    n: usize,
    k: usize,
    a: *const T,
    a_row: isize,
    a_column: isize,
    b: *const T,
    b_row: isize,
    b_column: isize,
    c: *mut T,
    c_row: isize,
    c_column: isize,
    accumulate: bool,
    epilogue: Epilogue<T>,
}

impl<T> Clone for Problem<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Problem<T> {}

// SAFETY: the caller of the product vouches for the pointers on every thread until the call returns.
unsafe impl<T: Sync> Sync for Problem<T> {}

impl<T> Problem<T> {
    /// The same product with all matrices transposed.
    fn transposed(self) -> Self {
        let bias = self.epilogue.bias.map(|bias| match bias {
            Bias::Rows(p, step) => Bias::Columns(p, step),
            Bias::Columns(p, step) => Bias::Rows(p, step),
        });
        Problem {
            m: self.n,
            n: self.m,
            k: self.k,
            a: self.b,
            a_row: self.b_column,
            a_column: self.b_row,
            b: self.a,
            b_row: self.a_column,
            b_column: self.a_row,
            c: self.c,
            c_row: self.c_column,
            c_column: self.c_row,
            accumulate: self.accumulate,
            epilogue: Epilogue { bias, relu: self.epilogue.relu },
        }
    }

    /// Strides of dimensions of length one say nothing; this makes them the most convenient ones, and turns the
    /// product so that C has contiguous rows if its rows or columns are contiguous at all.
    fn normalised(mut self) -> Self {
        if self.n == 1 && self.m > 1 {
            // A column is a row of the transposed product.
            self = self.transposed();
        }
        if self.n == 1 {
            (self.c_column, self.b_column) = (1, 1);
        }
        if self.m == 1 {
            (self.c_row, self.a_row) = (1, 1);
        }
        if self.k == 1 {
            (self.a_column, self.b_row) = (1, 1);
        }
        if self.c_column != 1 && self.c_row == 1 { self.transposed() } else { self }
    }
}

/// The types whose matrices can be multiplied: `f32`, `f64`, `f16`, `bf16` and the integers of the framework.
pub trait GemmElement: Copy + Send + Sync + 'static {
    /// Computes a product with the kernels of `isa`, on the calling thread alone when `serial`.
    ///
    /// # Safety
    /// As for [`gemm`], and the machine has `isa`.
    #[doc(hidden)]
    unsafe fn product(isa: Isa, problem: &Problem<Self>, serial: bool);
}

/// `C = A B`, or `C += A B` when `accumulate`, then the epilogue. A is m by k, B is k by n, C is m by n; each has the
/// distance of neighbouring rows and of neighbouring columns in elements. Strides are arbitrary, zero and negative ones
/// included, but C's elements must not share memory. With `k = 0` the product is zero.
///
/// # Safety
/// All elements that the sizes and strides reach must be valid for reading (and those of C for writing), C initialised
/// if `accumulate`, bias pointers valid for m rows or n columns. C must not overlap A, B or the bias, and no other thread
/// may write the operands or touch C during the call.
pub unsafe fn gemm<T: GemmElement>(
    m: usize,
    n: usize,
    k: usize,
    a: *const T,
    rsa: isize,
    csa: isize,
    b: *const T,
    rsb: isize,
    csb: isize,
    c: *mut T,
    rsc: isize,
    csc: isize,
    accumulate: bool,
    epilogue: Epilogue<T>,
) {
    let problem = Problem {
        m,
        n,
        k,
        a,
        a_row: rsa,
        a_column: csa,
        b,
        b_row: rsb,
        b_column: csb,
        c,
        c_row: rsc,
        c_column: csc,
        accumulate,
        epilogue,
    };
    // SAFETY: passed on to the caller; `isa` only names what the machine has.
    unsafe { T::product(isa(), &problem, false) }
}

/// [`gemm`] for `batch` products of one shape, whose operands start where `item` says: it maps the number of a product
/// to the starts of its A, B and C. The epilogue is the same for all.
///
/// # Safety
/// As for [`gemm`], for every item; the C of different items must not overlap.
pub unsafe fn gemm_batched<T: GemmElement>(
    batch: usize,
    item: &(dyn Fn(usize) -> (*const T, *const T, *mut T) + Sync),
    m: usize,
    n: usize,
    k: usize,
    rsa: isize,
    csa: isize,
    rsb: isize,
    csb: isize,
    rsc: isize,
    csc: isize,
    accumulate: bool,
    epilogue: Epilogue<T>,
) {
    let shape = Problem {
        m,
        n,
        k,
        a: std::ptr::null(),
        a_row: rsa,
        a_column: csa,
        b: std::ptr::null(),
        b_row: rsb,
        b_column: csb,
        c: std::ptr::null_mut(),
        c_row: rsc,
        c_column: csc,
        accumulate,
        epilogue,
    };
    let isa = isa();
    let one = |i: usize, serial: bool| {
        let (shape, (a, b, c)) = (&shape, item(i));
        // SAFETY: passed on to the caller; `isa` only names what the machine has.
        unsafe { T::product(isa, &Problem { a, b, c, ..*shape }, serial) }
    };
    // Large products keep all threads busy by themselves; small ones are dealt out whole, several at a time.
    let work = m.saturating_mul(n).saturating_mul(k.max(1));
    if batch < 2 || (batch < 8 && work > 1 << 21) {
        (0..batch).for_each(|i| one(i, false));
        return;
    }
    let run = ((1 << 17) / work.max(1)).clamp(1, batch);
    let tasks = batch.div_ceil(run);
    let task = |t: usize| (t * run..((t + 1) * run).min(batch)).for_each(|i| one(i, true));
    if tasks == 1 {
        task(0);
    } else {
        pool::parallel_for(tasks, &task);
    }
}

/// The two types that sums are kept in.
pub(crate) trait Real:
    Float<Acc = Self> + Default + PartialOrd + std::ops::Add<Output = Self>
{
    /// The micro-kernels of an instruction set.
    fn kernels(isa: Isa) -> &'static micro::Kernels<Self>;
    /// The kernel for a row times a matrix with contiguous rows.
    fn axpy(isa: Isa) -> vector::Axpy<Self>;
    /// The kernel for a row times a matrix with contiguous columns.
    fn dots(isa: Isa) -> vector::Axpy<Self>;
    /// The transposing copy.
    fn transpose(isa: Isa) -> pack::Transpose<Self>;
    /// The kernel that packs patches of images.
    fn copy_runs(isa: Isa) -> pack::CopyRuns<Self>;
    /// The kernel for a row times a column.
    fn dot(isa: Isa) -> vector::Dot<Self>;
}

/// A floating point type: how it is widened to the type that sums are kept in, and rounded from it.
pub(crate) trait Float: GemmElement {
    /// The type of sums.
    type Acc: Real;
    /// Whether this is already the type of sums.
    const WIDE: bool;

    fn widen_one(self) -> Self::Acc;
    fn narrow_one(x: Self::Acc) -> Self;
    /// Widens `n` contiguous numbers.
    unsafe fn widen(from: *const Self, to: *mut Self::Acc, n: usize);
    /// Rounds `n` contiguous numbers.
    unsafe fn narrow(from: *const Self::Acc, to: *mut Self, n: usize);
}

macro_rules! wide {
    ($t:ty, $kernels:ident, $axpy:ident, $dots:ident, $transpose:ident, $copy_runs:ident, $dot:ident) => {
        impl Real for $t {
            #[inline(always)]
            fn kernels(isa: Isa) -> &'static micro::Kernels<$t> {
                micro::$kernels(isa)
            }
            #[inline(always)]
            fn axpy(isa: Isa) -> vector::Axpy<$t> {
                vector::$axpy(isa)
            }
            #[inline(always)]
            fn dots(isa: Isa) -> vector::Axpy<$t> {
                vector::$dots(isa)
            }
            #[inline(always)]
            fn transpose(isa: Isa) -> pack::Transpose<$t> {
                pack::$transpose(isa)
            }
            #[inline(always)]
            fn copy_runs(isa: Isa) -> pack::CopyRuns<$t> {
                pack::$copy_runs(isa)
            }
            #[inline(always)]
            fn dot(isa: Isa) -> vector::Dot<$t> {
                vector::$dot(isa)
            }
        }

        impl Float for $t {
            type Acc = $t;
            const WIDE: bool = true;

            #[inline(always)]
            fn widen_one(self) -> $t {
                self
            }
            #[inline(always)]
            fn narrow_one(x: $t) -> $t {
                x
            }
            #[inline(always)]
            unsafe fn widen(from: *const $t, to: *mut $t, n: usize) {
                // SAFETY: the caller's pointers are valid for `n` numbers and do not overlap.
                unsafe { std::ptr::copy_nonoverlapping(from, to, n) }
            }
            #[inline(always)]
            unsafe fn narrow(from: *const $t, to: *mut $t, n: usize) {
                // SAFETY: as for `widen`.
                unsafe { std::ptr::copy_nonoverlapping(from, to, n) }
            }
        }
    };
}
wide!(f32, kernels_f32, axpy_f32, dots_f32, transpose_f32, copy_runs_f32, dot_f32);
wide!(f64, kernels_f64, axpy_f64, dots_f64, transpose_f64, copy_runs_f64, dot_f64);

macro_rules! half_precision {
    ($t:ty) => {
        impl Float for $t {
            type Acc = f32;
            const WIDE: bool = false;

            #[inline(always)]
            fn widen_one(self) -> f32 {
                self.to_f32()
            }
            #[inline(always)]
            fn narrow_one(x: f32) -> $t {
                <$t>::from_f32(x)
            }
            #[inline(always)]
            unsafe fn widen(from: *const $t, to: *mut f32, n: usize) {
                // SAFETY: the caller's pointers are valid for `n` numbers; any bits are an f32.
                unsafe {
                    std::slice::from_raw_parts(from, n)
                        .convert_to_f32_slice(std::slice::from_raw_parts_mut(to, n))
                }
            }
            #[inline(always)]
            unsafe fn narrow(from: *const f32, to: *mut $t, n: usize) {
                // SAFETY: as for `widen`.
                unsafe {
                    std::slice::from_raw_parts_mut(to, n)
                        .convert_from_f32_slice(std::slice::from_raw_parts(from, n))
                }
            }
        }
    };
}
half_precision!(f16);
half_precision!(bf16);

macro_rules! float_product {
    ($($t:ty)*) => {$(
        impl GemmElement for $t {
            #[inline]
            unsafe fn product(isa: Isa, problem: &Problem<$t>, serial: bool) {
                // SAFETY: passed on to the caller.
                unsafe { product(isa, problem.normalised(), serial) }
            }
        }
    )*};
}
float_product!(f32 f64 f16 bf16);

impl GemmElement for i64 {
    unsafe fn product(_: Isa, problem: &Problem<i64>, serial: bool) {
        // SAFETY: passed on to the caller.
        unsafe { integer::product(&problem.normalised(), serial) }
    }
}

/// The bias of an epilogue as the kernels want it: in the type of sums, a column bias contiguous.
pub(crate) struct WideBias<A> {
    pub rows: *const A,
    pub rows_step: isize,
    pub columns: *const A,
    _own: Scratch,
}

/// See [`WideBias`].
///
/// # Safety
/// The bias is valid for `m` rows or `n` columns.
pub(crate) unsafe fn wide_bias<T: Float>(bias: Option<Bias<T>>, m: usize, n: usize) -> WideBias<T::Acc> {
    let null = std::ptr::null();
    let copy = |p: *const T, step: isize, len: usize| {
        let own = Scratch::new::<T::Acc>(len);
        // SAFETY: the caller's bias has `len` numbers, and the copy has room for them.
        unsafe { pack::widen_strided(p, step, own.ptr(), len) };
        own
    };
    match bias {
        None => WideBias { rows: null, rows_step: 0, columns: null, _own: Scratch::none() },
        Some(Bias::Rows(p, step)) if T::WIDE => {
            WideBias { rows: p.cast(), rows_step: step, columns: null, _own: Scratch::none() }
        }
        Some(Bias::Columns(p, step)) if T::WIDE && (step == 1 || n == 1) => {
            WideBias { rows: null, rows_step: 0, columns: p.cast(), _own: Scratch::none() }
        }
        Some(Bias::Rows(p, step)) => {
            let own = copy(p, step, m);
            WideBias { rows: own.ptr(), rows_step: 1, columns: null, _own: own }
        }
        Some(Bias::Columns(p, step)) => {
            let own = copy(p, step, n);
            WideBias { rows: null, rows_step: 0, columns: own.ptr(), _own: own }
        }
    }
}

/// The product of floats: picks between the paths for vectors, for tiny matrices and for the rest.
unsafe fn product<T: Float>(isa: Isa, p: Problem<T>, serial: bool) {
    if p.m == 0 || p.n == 0 {
        return;
    }
    // SAFETY: passed on to the caller.
    unsafe {
        let bias = wide_bias(p.epilogue.bias, p.m, p.n);
        let a = Strided { at: p.a, row: p.a_row, column: p.a_column };
        let b = Strided { at: p.b, row: p.b_row, column: p.b_column };
        let job = Job {
            m: p.m,
            n: p.n,
            k: p.k,
            first: 0,
            a: &a,
            b: &b,
            c: p.c,
            c_row: p.c_row,
            c_column: p.c_column,
            columns: None,
            accumulate: p.accumulate,
            row_bias: bias.rows,
            row_bias_step: bias.rows_step,
            column_bias: bias.columns,
            relu: p.epilogue.relu,
        };
        if p.m == 1 && vector::product(isa, &job, &a, &b, serial) {
            return;
        }
        run(isa, &job, serial);
    }
}
