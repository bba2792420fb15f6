//! The vectors that the micro-kernels of the matrix product are written over.
//!
//! One generic kernel body serves every instruction set: [`Simd`] names a vector of [`Simd::LANES`] numbers and the few
//! operations the kernel needs. A lane never meets another lane, so the width changes how many outputs are computed at
//! once and never how one of them is rounded.

use crate::cpu::arch::{Arch, Portable};

/// A vector type of one instruction set.
///
/// # Safety
/// Every method may only run on a machine that has the instruction set, inlined into a function that enables it.
/// Pointers must be valid for [`Simd::LANES`] numbers, or for the first `n` of them where a mask of `n` lanes is given.
pub(crate) unsafe trait Simd: Copy {
    /// The element type.
    type E: Copy + Send + Sync + 'static;
    /// The vector.
    type V: Copy;
    /// A mask that selects the first lanes.
    type M: Copy;
    /// An array of [`Simd::LANES`] vectors.
    type Columns: AsRef<[Self::V]>;
    /// Numbers in a vector.
    const LANES: usize;

    unsafe fn zero() -> Self::V;
    /// All lanes set to `*p`.
    unsafe fn splat(p: *const Self::E) -> Self::V;
    unsafe fn load(p: *const Self::E) -> Self::V;
    unsafe fn store(p: *mut Self::E, v: Self::V);
    /// The mask of the first `n` lanes, `n <= LANES`.
    unsafe fn first(n: usize) -> Self::M;
    /// The selected lanes from memory, zero in the others; memory of unselected lanes is not touched.
    unsafe fn load_first(p: *const Self::E, m: Self::M) -> Self::V;
    unsafe fn store_first(p: *mut Self::E, v: Self::V, m: Self::M);
    /// [`Simd::LANES`] numbers from each of [`Simd::LANES`] rows, transposed: lane `i` of vector `q` is
    /// `*p.offset(row(i) + q)`.
    unsafe fn load_columns(p: *const Self::E, row: impl Fn(usize) -> isize) -> Self::Columns;
    /// `a * b + c`, rounded once.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// `0 > x ? 0 : x`, so NaN stays NaN.
    unsafe fn relu(v: Self::V) -> Self::V;
    /// Fetches the line of `p` for writing.
    unsafe fn prefetch(p: *const Self::E);
}

macro_rules! portable {
    ($name:ident, $e:ty, $lanes:literal, $fma:ident) => {
        /// Plain arrays, for the baseline of any target.
        #[derive(Clone, Copy)]
        pub(crate) struct $name;

        // SAFETY: plain Rust; pointers are valid by the contract of the trait.
        unsafe impl Simd for $name {
            type E = $e;
            type V = [$e; $lanes];
            type M = usize;
            type Columns = [Self::V; $lanes];
            const LANES: usize = $lanes;

            #[inline(always)]
            unsafe fn zero() -> Self::V {
                [0.0; $lanes]
            }
            #[inline(always)]
            unsafe fn splat(p: *const $e) -> Self::V {
                // SAFETY: the caller's pointer is valid for one number.
                [unsafe { *p }; $lanes]
            }
            #[inline(always)]
            unsafe fn load(p: *const $e) -> Self::V {
                // SAFETY: the caller's pointer is valid for LANES numbers.
                unsafe { p.cast::<Self::V>().read_unaligned() }
            }
            #[inline(always)]
            unsafe fn store(p: *mut $e, v: Self::V) {
                // SAFETY: as in `load`.
                unsafe { p.cast::<Self::V>().write_unaligned(v) }
            }
            #[inline(always)]
            unsafe fn first(n: usize) -> usize {
                n
            }
            #[inline(always)]
            unsafe fn load_first(p: *const $e, n: usize) -> Self::V {
                let mut v = [0.0; $lanes];
                // SAFETY: the caller's pointer is valid for `n <= LANES` numbers.
                unsafe { std::ptr::copy_nonoverlapping(p, v.as_mut_ptr(), n) };
                v
            }
            #[inline(always)]
            unsafe fn store_first(p: *mut $e, v: Self::V, n: usize) {
                // SAFETY: as in `load_first`.
                unsafe { std::ptr::copy_nonoverlapping(v.as_ptr(), p, n) };
            }
            #[inline(always)]
            unsafe fn load_columns(p: *const $e, row: impl Fn(usize) -> isize) -> Self::Columns {
                // SAFETY: the caller's rows are valid for LANES numbers each.
                std::array::from_fn(|q| std::array::from_fn(|i| unsafe { *p.offset(row(i)).add(q) }))
            }
            #[inline(always)]
            unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
                let mut v = c;
                for l in 0..$lanes {
                    v[l] = Portable::$fma(a[l], b[l], c[l]);
                }
                v
            }
            #[inline(always)]
            unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
                let mut v = a;
                for l in 0..$lanes {
                    v[l] += b[l];
                }
                v
            }
            #[inline(always)]
            unsafe fn relu(v: Self::V) -> Self::V {
                v.map(|x| if 0.0 > x { 0.0 } else { x })
            }
            #[inline(always)]
            unsafe fn prefetch(_: *const $e) {}
        }
    };
}
portable!(PortableF32, f32, 8, fma32);
portable!(PortableF64, f64, 4, fma64);

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2F32, Avx2F64, Avx512F32, Avx512F64};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Simd;
    use std::arch::x86_64::*;

    // Transposing loads: first the small squares inside quarters of 16 bytes, then the quarters among the vectors.

    /// `load_columns` of [`Avx512F32`].
    #[inline(always)]
    unsafe fn columns512_f32(p: *const f32, row: impl Fn(usize) -> isize) -> [__m512; 16] {
        // SAFETY: the caller vouches for the rows and the instruction set.
        unsafe {
            // Rows 4g to 4g + 3 at columns q, 4 + q, 8 + q and 12 + q.
            let mut squares = [[_mm512_setzero_ps(); 4]; 4];
            for (g, square) in squares.iter_mut().enumerate() {
                let r: [__m512; 4] = std::array::from_fn(|i| _mm512_loadu_ps(p.offset(row(4 * g + i))));
                let a = _mm512_castps_pd(_mm512_unpacklo_ps(r[0], r[1]));
                let b = _mm512_castps_pd(_mm512_unpackhi_ps(r[0], r[1]));
                let c = _mm512_castps_pd(_mm512_unpacklo_ps(r[2], r[3]));
                let d = _mm512_castps_pd(_mm512_unpackhi_ps(r[2], r[3]));
                *square = [
                    _mm512_castpd_ps(_mm512_unpacklo_pd(a, c)),
                    _mm512_castpd_ps(_mm512_unpackhi_pd(a, c)),
                    _mm512_castpd_ps(_mm512_unpacklo_pd(b, d)),
                    _mm512_castpd_ps(_mm512_unpackhi_pd(b, d)),
                ];
            }
            let mut v = [_mm512_setzero_ps(); 16];
            for q in 0..4 {
                let low = _mm512_shuffle_f32x4::<0x44>(squares[0][q], squares[1][q]);
                let high = _mm512_shuffle_f32x4::<0xEE>(squares[0][q], squares[1][q]);
                let low2 = _mm512_shuffle_f32x4::<0x44>(squares[2][q], squares[3][q]);
                let high2 = _mm512_shuffle_f32x4::<0xEE>(squares[2][q], squares[3][q]);
                v[q] = _mm512_shuffle_f32x4::<0x88>(low, low2);
                v[4 + q] = _mm512_shuffle_f32x4::<0xDD>(low, low2);
                v[8 + q] = _mm512_shuffle_f32x4::<0x88>(high, high2);
                v[12 + q] = _mm512_shuffle_f32x4::<0xDD>(high, high2);
            }
            v
        }
    }

    /// `load_columns` of [`Avx512F64`].
    #[inline(always)]
    unsafe fn columns512_f64(p: *const f64, row: impl Fn(usize) -> isize) -> [__m512d; 8] {
        // SAFETY: the caller vouches for the rows and the instruction set.
        unsafe {
            let mut squares = [[_mm512_setzero_pd(); 2]; 4];
            for (g, square) in squares.iter_mut().enumerate() {
                let r0 = _mm512_loadu_pd(p.offset(row(2 * g)));
                let r1 = _mm512_loadu_pd(p.offset(row(2 * g + 1)));
                *square = [_mm512_unpacklo_pd(r0, r1), _mm512_unpackhi_pd(r0, r1)];
            }
            let mut v = [_mm512_setzero_pd(); 8];
            for q in 0..2 {
                let low = _mm512_shuffle_f64x2::<0x44>(squares[0][q], squares[1][q]);
                let high = _mm512_shuffle_f64x2::<0xEE>(squares[0][q], squares[1][q]);
                let low2 = _mm512_shuffle_f64x2::<0x44>(squares[2][q], squares[3][q]);
                let high2 = _mm512_shuffle_f64x2::<0xEE>(squares[2][q], squares[3][q]);
                v[q] = _mm512_shuffle_f64x2::<0x88>(low, low2);
                v[2 + q] = _mm512_shuffle_f64x2::<0xDD>(low, low2);
                v[4 + q] = _mm512_shuffle_f64x2::<0x88>(high, high2);
                v[6 + q] = _mm512_shuffle_f64x2::<0xDD>(high, high2);
            }
            v
        }
    }

    /// `load_columns` of [`Avx2F32`].
    #[inline(always)]
    unsafe fn columns256_f32(p: *const f32, row: impl Fn(usize) -> isize) -> [__m256; 8] {
        // SAFETY: the caller vouches for the rows and the instruction set.
        unsafe {
            let mut squares = [[_mm256_setzero_ps(); 4]; 2];
            for (g, square) in squares.iter_mut().enumerate() {
                let r: [__m256; 4] = std::array::from_fn(|i| _mm256_loadu_ps(p.offset(row(4 * g + i))));
                let (a, b) = (_mm256_unpacklo_ps(r[0], r[1]), _mm256_unpackhi_ps(r[0], r[1]));
                let (c, d) = (_mm256_unpacklo_ps(r[2], r[3]), _mm256_unpackhi_ps(r[2], r[3]));
                *square = [
                    _mm256_shuffle_ps::<0x44>(a, c),
                    _mm256_shuffle_ps::<0xEE>(a, c),
                    _mm256_shuffle_ps::<0x44>(b, d),
                    _mm256_shuffle_ps::<0xEE>(b, d),
                ];
            }
            let mut v = [_mm256_setzero_ps(); 8];
            for q in 0..4 {
                v[q] = _mm256_permute2f128_ps::<0x20>(squares[0][q], squares[1][q]);
                v[4 + q] = _mm256_permute2f128_ps::<0x31>(squares[0][q], squares[1][q]);
            }
            v
        }
    }

    /// `load_columns` of [`Avx2F64`].
    #[inline(always)]
    unsafe fn columns256_f64(p: *const f64, row: impl Fn(usize) -> isize) -> [__m256d; 4] {
        // SAFETY: the caller vouches for the rows and the instruction set.
        unsafe {
            let r: [__m256d; 4] = std::array::from_fn(|i| _mm256_loadu_pd(p.offset(row(i))));
            let (a, b) = (_mm256_unpacklo_pd(r[0], r[1]), _mm256_unpackhi_pd(r[0], r[1]));
            let (c, d) = (_mm256_unpacklo_pd(r[2], r[3]), _mm256_unpackhi_pd(r[2], r[3]));
            [
                _mm256_permute2f128_pd::<0x20>(a, c),
                _mm256_permute2f128_pd::<0x20>(b, d),
                _mm256_permute2f128_pd::<0x31>(a, c),
                _mm256_permute2f128_pd::<0x31>(b, d),
            ]
        }
    }

    macro_rules! avx512 {
        ($name:ident, $e:ty, $v:ty, $m:ty, $lanes:literal, $zero:ident, $set1:ident, $load:ident, $store:ident,
         $maskz_load:ident, $mask_store:ident, $fma:ident, $add:ident, $max:ident, $columns:ident) => {
            /// AVX-512: 64-byte vectors and mask registers.
            #[derive(Clone, Copy)]
            pub(crate) struct $name;

            // SAFETY: the methods run intrinsics of AVX-512F, which the caller enables by the contract of the trait.
            unsafe impl Simd for $name {
                type E = $e;
                type V = $v;
                type M = $m;
                type Columns = [$v; $lanes];
                const LANES: usize = $lanes;

                #[inline(always)]
                unsafe fn zero() -> $v {
                    // SAFETY: see the impl; the same holds for all methods below.
                    unsafe { $zero() }
                }
                #[inline(always)]
                unsafe fn splat(p: *const $e) -> $v {
                    // SAFETY: see the impl.
                    unsafe { $set1(*p) }
                }
                #[inline(always)]
                unsafe fn load(p: *const $e) -> $v {
                    // SAFETY: see the impl.
                    unsafe { $load(p) }
                }
                #[inline(always)]
                unsafe fn store(p: *mut $e, v: $v) {
                    // SAFETY: see the impl.
                    unsafe { $store(p, v) }
                }
                #[inline(always)]
                unsafe fn first(n: usize) -> $m {
                    ((1u32 << n) - 1) as $m
                }
                #[inline(always)]
                unsafe fn load_first(p: *const $e, m: $m) -> $v {
                    // SAFETY: see the impl.
                    unsafe { $maskz_load(m, p) }
                }
                #[inline(always)]
                unsafe fn store_first(p: *mut $e, v: $v, m: $m) {
                    // SAFETY: see the impl.
                    unsafe { $mask_store(p, m, v) }
                }
                #[inline(always)]
                unsafe fn load_columns(p: *const $e, row: impl Fn(usize) -> isize) -> [$v; $lanes] {
                    // SAFETY: see the impl.
                    unsafe { $columns(p, row) }
                }
                #[inline(always)]
                unsafe fn fma(a: $v, b: $v, c: $v) -> $v {
                    // SAFETY: see the impl.
                    unsafe { $fma(a, b, c) }
                }
                #[inline(always)]
                unsafe fn add(a: $v, b: $v) -> $v {
                    // SAFETY: see the impl.
                    unsafe { $add(a, b) }
                }
                #[inline(always)]
                unsafe fn relu(v: $v) -> $v {
                    // SAFETY: see the impl. The instruction returns its second operand when one of them is NaN.
                    unsafe { $max($zero(), v) }
                }
                #[inline(always)]
                unsafe fn prefetch(p: *const $e) {
                    // SAFETY: prefetching is allowed for any address.
                    unsafe { _mm_prefetch::<{ _MM_HINT_T0 }>(p.cast()) }
                }
            }
        };
    }
    avx512!(
        Avx512F32,
        f32,
        __m512,
        __mmask16,
        16,
        _mm512_setzero_ps,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_maskz_loadu_ps,
        _mm512_mask_storeu_ps,
        _mm512_fmadd_ps,
        _mm512_add_ps,
        _mm512_max_ps,
        columns512_f32
    );
    avx512!(
        Avx512F64,
        f64,
        __m512d,
        __mmask8,
        8,
        _mm512_setzero_pd,
        _mm512_set1_pd,
        _mm512_loadu_pd,
        _mm512_storeu_pd,
        _mm512_maskz_loadu_pd,
        _mm512_mask_storeu_pd,
        _mm512_fmadd_pd,
        _mm512_add_pd,
        _mm512_max_pd,
        columns512_f64
    );

    /// A window of this array that starts `n` lanes before its middle is the mask of the first `n` lanes.
    static LANES32: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    static LANES64: [i64; 8] = [-1, -1, -1, -1, 0, 0, 0, 0];

    macro_rules! avx2 {
        ($name:ident, $e:ty, $v:ty, $lanes:literal, $window:ident, $zero:ident, $set1:ident, $load:ident, $store:ident,
         $mask_load:ident, $mask_store:ident, $fma:ident, $add:ident, $max:ident, $columns:ident) => {
            /// AVX2 with FMA: 32-byte vectors.
            #[derive(Clone, Copy)]
            pub(crate) struct $name;

            // SAFETY: the methods run intrinsics of AVX2 and FMA, which the caller enables by the contract of the trait.
            unsafe impl Simd for $name {
                type E = $e;
                type V = $v;
                type M = __m256i;
                type Columns = [$v; $lanes];
                const LANES: usize = $lanes;

                #[inline(always)]
                unsafe fn zero() -> $v {
                    // SAFETY: see the impl; the same holds for all methods below.
                    unsafe { $zero() }
                }
                #[inline(always)]
                unsafe fn splat(p: *const $e) -> $v {
                    // SAFETY: see the impl.
                    unsafe { $set1(*p) }
                }
                #[inline(always)]
                unsafe fn load(p: *const $e) -> $v {
                    // SAFETY: see the impl.
                    unsafe { $load(p) }
                }
                #[inline(always)]
                unsafe fn store(p: *mut $e, v: $v) {
                    // SAFETY: see the impl.
                    unsafe { $store(p, v) }
                }
                #[inline(always)]
                unsafe fn first(n: usize) -> __m256i {
                    // SAFETY: see the impl; `n <= LANES` keeps the window inside the array.
                    unsafe { _mm256_loadu_si256($window.as_ptr().add($lanes - n).cast()) }
                }
                #[inline(always)]
                unsafe fn load_first(p: *const $e, m: __m256i) -> $v {
                    // SAFETY: see the impl.
                    unsafe { $mask_load(p, m) }
                }
                #[inline(always)]
                unsafe fn store_first(p: *mut $e, v: $v, m: __m256i) {
                    // SAFETY: see the impl.
                    unsafe { $mask_store(p, m, v) }
                }
                #[inline(always)]
                unsafe fn load_columns(p: *const $e, row: impl Fn(usize) -> isize) -> [$v; $lanes] {
                    // SAFETY: see the impl.
                    unsafe { $columns(p, row) }
                }
                #[inline(always)]
                unsafe fn fma(a: $v, b: $v, c: $v) -> $v {
                    // SAFETY: see the impl.
                    unsafe { $fma(a, b, c) }
                }
                #[inline(always)]
                unsafe fn add(a: $v, b: $v) -> $v {
                    // SAFETY: see the impl.
                    unsafe { $add(a, b) }
                }
                #[inline(always)]
                unsafe fn relu(v: $v) -> $v {
                    // SAFETY: see the impl. The instruction returns its second operand when one of them is NaN.
                    unsafe { $max($zero(), v) }
                }
                #[inline(always)]
                unsafe fn prefetch(p: *const $e) {
                    // SAFETY: prefetching is allowed for any address.
                    unsafe { _mm_prefetch::<{ _MM_HINT_T0 }>(p.cast()) }
                }
            }
        };
    }
    avx2!(
        Avx2F32,
        f32,
        __m256,
        8,
        LANES32,
        _mm256_setzero_ps,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_maskload_ps,
        _mm256_maskstore_ps,
        _mm256_fmadd_ps,
        _mm256_add_ps,
        _mm256_max_ps,
        columns256_f32
    );
    avx2!(
        Avx2F64,
        f64,
        __m256d,
        4,
        LANES64,
        _mm256_setzero_pd,
        _mm256_set1_pd,
        _mm256_loadu_pd,
        _mm256_storeu_pd,
        _mm256_maskload_pd,
        _mm256_maskstore_pd,
        _mm256_fmadd_pd,
        _mm256_add_pd,
        _mm256_max_pd,
        columns256_f64
    );
}
