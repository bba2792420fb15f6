//! Products of integers, which wrap around: any order of summation gives the same result.

use super::{Bias, Problem};
use crate::cpu::arch::{Arch, Kernel, dispatch};
use crate::cpu::pool;

/// The wrapping arithmetic of an integer type.
pub(crate) trait Integer: Copy + Default + PartialOrd + Send + Sync {
    fn add(self, other: Self) -> Self;
    fn multiply_add(self, x: Self, y: Self) -> Self;
}

macro_rules! integer {
    ($($t:ty)*) => {$(
        impl Integer for $t {
            #[inline(always)]
            fn add(self, other: $t) -> $t {
                self.wrapping_add(other)
            }
            #[inline(always)]
            fn multiply_add(self, x: $t, y: $t) -> $t {
                self.wrapping_add(x.wrapping_mul(y))
            }
        }
    )*};
}
integer!(u8 i8 i16 i32 i64);

/// Columns whose sums stay in the first-level cache while all of k passes by.
const CHUNK: usize = 512;
/// Rows of a task.
const ROWS: usize = 16;

/// Computes the product.
///
/// # Safety
/// As for [`super::gemm`].
pub(super) unsafe fn product<T: Integer>(p: &Problem<T>, serial: bool) {
    let (down, across) = (p.m.div_ceil(ROWS), p.n.div_ceil(CHUNK));
    let task = |i: usize| {
        let (row, column) = (i % down * ROWS, i / down * CHUNK);
        let (rows, columns) = (ROWS.min(p.m - row), CHUNK.min(p.n - column));
        dispatch(Tile { p, row, rows, column, columns })
    };
    let tasks = down * across;
    if serial || tasks < 2 || p.m * p.n * p.k < 1 << 16 {
        (0..tasks).for_each(task);
    } else {
        pool::parallel_for(tasks, &task);
    }
}

/// One tile of C.
struct Tile<'a, T> {
    p: &'a Problem<T>,
    row: usize,
    rows: usize,
    column: usize,
    columns: usize,
}

impl<T: Integer> Kernel for Tile<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Tile { p, row, rows, column, columns } = self;
        let mut sums = [T::default(); CHUNK];
        let sums = &mut sums[..columns];
        for i in row..row + rows {
            sums.fill(T::default());
            // SAFETY: the tile lies inside C, and its rows and columns inside A and B.
            unsafe {
                let a = p.a.offset(i as isize * p.a_row);
                for q in 0..p.k {
                    let x = *a.offset(q as isize * p.a_column);
                    let b = p.b.offset(q as isize * p.b_row + column as isize * p.b_column);
                    if p.b_column == 1 {
                        let b = std::slice::from_raw_parts(b, columns);
                        sums.iter_mut().zip(b).for_each(|(s, &y)| *s = s.multiply_add(x, y));
                    } else {
                        for (j, s) in sums.iter_mut().enumerate() {
                            *s = s.multiply_add(x, *b.offset(j as isize * p.b_column));
                        }
                    }
                }
                for (j, &s) in sums.iter().enumerate() {
                    let j = column + j;
                    let c = p.c.offset(i as isize * p.c_row + j as isize * p.c_column);
                    let mut s = if p.accumulate { (*c).add(s) } else { s };
                    match p.epilogue.bias {
                        Some(Bias::Rows(b, step)) => s = s.add(*b.offset(i as isize * step)),
                        Some(Bias::Columns(b, step)) => s = s.add(*b.offset(j as isize * step)),
                        None => {}
                    }
                    *c = if p.epilogue.relu && T::default() > s { T::default() } else { s };
                }
            }
        }
    }
}
