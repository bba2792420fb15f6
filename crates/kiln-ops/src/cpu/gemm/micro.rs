//! The micro-kernels: a few rows times one or two vectors of columns, accumulated in registers over one block of k.

use super::simd::*;
use crate::cpu::arch::Isa;

/// One tile of C and the operands it is computed from.
///
/// Row `i` of A is read at `a + i * a_row + p * a_col`, the vectors of B at `b + p * b_row`, or at `b + b_offsets[p]` when
/// there are offsets, for `p` in `0..k`.
pub(crate) struct Tile<E> {
    pub k: usize,
    pub a: *const E,
    pub a_row: isize,
    pub a_col: isize,
    pub b: *const E,
    pub b_row: isize,
    /// Null, or the places of the rows of B.
    pub b_offsets: *const usize,
    /// How far ahead of `b` memory is fetched.
    pub ahead: isize,
    pub c: *mut E,
    pub c_row: isize,
    /// Columns of the last vector that exist.
    pub last: usize,
    /// Whether C holds the sum of earlier blocks.
    pub add: bool,
    /// Applied after the sum when this block is the last one.
    pub row_bias: *const E,
    pub row_bias_step: isize,
    pub column_bias: *const E,
    pub relu: bool,
}

/// A compiled micro-kernel.
pub(crate) type Kernel<E> = unsafe fn(&Tile<E>);

/// Rows of the tallest micro-kernel of any instruction set.
pub(crate) const MAX_ROWS: usize = 14;

/// The micro-kernels of one instruction set and element type.
pub(crate) struct Kernels<E: 'static> {
    /// Rows of the tallest kernel.
    pub rows: usize,
    /// Numbers in a vector; the widest kernel has two of them.
    pub lanes: usize,
    /// Indexed by rows - 1, vectors - 1, whether the last vector is incomplete, and whether B has offsets.
    table: &'static [[[[Kernel<E>; 2]; 2]; 2]],
}

impl<E> Kernels<E> {
    /// Columns of the widest kernel.
    #[inline(always)]
    pub(crate) fn columns(&self) -> usize {
        2 * self.lanes
    }

    /// The kernel for `rows` by `columns`, with offsets for B or without, and how many columns its last vector has.
    #[inline(always)]
    pub(crate) fn select(&self, rows: usize, columns: usize, offsets: bool) -> (Kernel<E>, usize) {
        let wide = (columns > self.lanes) as usize;
        let last = columns - wide * self.lanes;
        (self.table[rows - 1][wide][(last != self.lanes) as usize][offsets as usize], last)
    }
}

/// The body of every micro-kernel. Each element of the tile is `fma` after `fma` in the order of k, starting from zero;
/// only then is the sum of earlier blocks added, and after the last block bias and relu applied.
#[inline(always)]
unsafe fn tile<S: Simd, const ROWS: usize, const VECTORS: usize, const PART: bool, const OFFSETS: bool>(
    t: &Tile<S::E>,
) {
    // SAFETY: the caller vouches for the instruction set and that the tile's pointers and strides stay inside A, B and C.
    unsafe {
        let mask = S::first(if PART { t.last } else { S::LANES });
        let mut acc = [[S::zero(); VECTORS]; ROWS];
        for i in 0..ROWS {
            S::prefetch(t.c.wrapping_offset(i as isize * t.c_row));
        }
        // Rows are addressed from every fourth one, which keeps both the registers for pointers and the chain of
        // additions between them short.
        let mut fours: [*const S::E; 4] = [
            t.a,
            t.a.wrapping_offset(4 * t.a_row),
            t.a.wrapping_offset(8 * t.a_row),
            t.a.wrapping_offset(12 * t.a_row),
        ];
        let row3 = 3 * t.a_row;
        let mut b = t.b;
        for p in 0..t.k {
            if OFFSETS {
                b = t.b.add(*t.b_offsets.add(p));
            }
            let mut y = [S::zero(); VECTORS];
            for (v, y) in y.iter_mut().enumerate() {
                let p = b.add(v * S::LANES);
                if !OFFSETS {
                    S::prefetch(p.wrapping_offset(t.ahead));
                }
                *y = if PART && v == VECTORS - 1 { S::load_first(p, mask) } else { S::load(p) };
            }
            for i in 0..ROWS {
                let at = fours[i / 4];
                let x = S::splat(match i % 4 {
                    0 => at,
                    1 => at.offset(t.a_row),
                    2 => at.offset(2 * t.a_row),
                    _ => at.offset(row3),
                });
                for v in 0..VECTORS {
                    acc[i][v] = S::fma(x, y[v], acc[i][v]);
                }
            }
            for at in &mut fours {
                *at = at.wrapping_offset(t.a_col);
            }
            if !OFFSETS {
                b = b.wrapping_offset(t.b_row);
            }
        }
        // One short loop for each step: the compiler unrolls them all, which is what keeps `acc` in registers.
        macro_rules! each {
            (|$i:ident, $v:ident, $part:ident| $body:expr) => {
                for $i in 0..ROWS {
                    for $v in 0..VECTORS {
                        let $part = PART && $v == VECTORS - 1;
                        $body
                    }
                }
            };
        }
        if t.add {
            each!(|i, v, part| {
                let c = t.c.offset(i as isize * t.c_row).add(v * S::LANES);
                acc[i][v] = S::add(if part { S::load_first(c, mask) } else { S::load(c) }, acc[i][v]);
            });
        }
        if !t.column_bias.is_null() {
            each!(|i, v, part| {
                let bias = t.column_bias.add(v * S::LANES);
                acc[i][v] = S::add(acc[i][v], if part { S::load_first(bias, mask) } else { S::load(bias) });
            });
        }
        if !t.row_bias.is_null() {
            each!(|i, v, _part| {
                acc[i][v] = S::add(acc[i][v], S::splat(t.row_bias.offset(i as isize * t.row_bias_step)));
            });
        }
        if t.relu {
            each!(|i, v, _part| acc[i][v] = S::relu(acc[i][v]));
        }
        each!(|i, v, part| {
            let c = t.c.offset(i as isize * t.c_row).add(v * S::LANES);
            if part {
                S::store_first(c, acc[i][v], mask);
            } else {
                S::store(c, acc[i][v]);
            }
        });
    }
}

/// The body compiled for one instruction set, and the table of all its tile sizes. Only the highest tile has a body of its
/// own for whole vectors; lower ones, which stand at the edge of a matrix, take those through the one for parts: half the
/// bodies, and half the time to compile them.
macro_rules! kernels {
    ($module:ident, $simd:ident, $e:ty, $max:literal: $($rows:literal)*, $(#[$features:meta])*) => {
        mod $module {
            use super::*;
            $(#[$features])*
            unsafe fn run<const ROWS: usize, const VECTORS: usize, const PART: bool, const OFFSETS: bool>(t: &Tile<$e>) {
                // SAFETY: passed on to the caller.
                unsafe { tile::<$simd, ROWS, VECTORS, PART, OFFSETS>(t) }
            }
            pub(super) static KERNELS: Kernels<$e> = Kernels {
                rows: $max,
                lanes: $simd::LANES,
                table: &[$([
                    [
                        [run::<$rows, 1, { $rows != $max }, false>, run::<$rows, 1, { $rows != $max }, true>],
                        [run::<$rows, 1, true, false>, run::<$rows, 1, true, true>],
                    ],
                    [
                        [run::<$rows, 2, { $rows != $max }, false>, run::<$rows, 2, { $rows != $max }, true>],
                        [run::<$rows, 2, true, false>, run::<$rows, 2, true, true>],
                    ],
                ]),*],
            };
        }
    };
}
// Where fma is in the baseline. x86-64 without it computes each one in many steps: larger tiles would gain nothing.
#[cfg(not(target_arch = "x86_64"))]
kernels!(portable_f32, PortableF32, f32, 6: 1 2 3 4 5 6,);
#[cfg(not(target_arch = "x86_64"))]
kernels!(portable_f64, PortableF64, f64, 6: 1 2 3 4 5 6,);
#[cfg(target_arch = "x86_64")]
kernels!(portable_f32, PortableF32, f32, 2: 1 2,);
#[cfg(target_arch = "x86_64")]
kernels!(portable_f64, PortableF64, f64, 2: 1 2,);
#[cfg(target_arch = "x86_64")]
kernels!(avx2_f32, Avx2F32, f32, 6: 1 2 3 4 5 6, #[target_feature(enable = "avx2,fma")]);
#[cfg(target_arch = "x86_64")]
kernels!(avx2_f64, Avx2F64, f64, 6: 1 2 3 4 5 6, #[target_feature(enable = "avx2,fma")]);
#[cfg(target_arch = "x86_64")]
kernels!(avx512_f32, Avx512F32, f32, 14: 1 2 3 4 5 6 7 8 9 10 11 12 13 14, #[target_feature(enable = "avx512f")]);
#[cfg(target_arch = "x86_64")]
kernels!(avx512_f64, Avx512F64, f64, 8: 1 2 3 4 5 6 7 8, #[target_feature(enable = "avx512f")]);

/// The micro-kernels of an instruction set for `f32`.
#[inline(always)]
pub(crate) fn kernels_f32(isa: Isa) -> &'static Kernels<f32> {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => &avx512_f32::KERNELS,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => &avx2_f32::KERNELS,
        _ => &portable_f32::KERNELS,
    }
}

/// The micro-kernels of an instruction set for `f64`.
#[inline(always)]
pub(crate) fn kernels_f64(isa: Isa) -> &'static Kernels<f64> {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => &avx512_f64::KERNELS,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => &avx2_f64::KERNELS,
        _ => &portable_f64::KERNELS,
    }
}
