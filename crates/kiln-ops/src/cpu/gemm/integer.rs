//! Products of 64-bit integers, which wrap around: any order of summation gives the same result.

use super::{Bias, Problem};
use crate::cpu::arch::{Arch, Kernel, dispatch};
use crate::cpu::pool;

/// Columns whose sums stay in the first-level cache while all of k passes by.
const CHUNK: usize = 512;
/// Rows of a task.
const ROWS: usize = 16;

/// Computes the product.
///
/// # Safety
/// As for [`super::gemm`].
pub(super) unsafe fn product(p: &Problem<i64>, serial: bool) {
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
struct Tile<'a> {
    p: &'a Problem<i64>,
    row: usize,
    rows: usize,
    column: usize,
    columns: usize,
}

impl Kernel for Tile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Tile { p, row, rows, column, columns } = self;
        let mut sums = [0i64; CHUNK];
        let sums = &mut sums[..columns];
        for i in row..row + rows {
            sums.fill(0);
            // SAFETY: the tile lies inside C, and its rows and columns inside A and B.
            unsafe {
                let a = p.a.offset(i as isize * p.a_row);
                for q in 0..p.k {
                    let x = *a.offset(q as isize * p.a_column);
                    let b = p.b.offset(q as isize * p.b_row + column as isize * p.b_column);
                    if p.b_column == 1 {
                        let b = std::slice::from_raw_parts(b, columns);
                        sums.iter_mut().zip(b).for_each(|(s, &y)| *s = s.wrapping_add(x.wrapping_mul(y)));
                    } else {
                        for (j, s) in sums.iter_mut().enumerate() {
                            *s = s.wrapping_add(x.wrapping_mul(*b.offset(j as isize * p.b_column)));
                        }
                    }
                }
                for (j, &s) in sums.iter().enumerate() {
                    let j = column + j;
                    let c = p.c.offset(i as isize * p.c_row + j as isize * p.c_column);
                    let mut s = if p.accumulate { (*c).wrapping_add(s) } else { s };
                    match p.epilogue.bias {
                        Some(Bias::Rows(b, step)) => s = s.wrapping_add(*b.offset(i as isize * step)),
                        Some(Bias::Columns(b, step)) => s = s.wrapping_add(*b.offset(j as isize * step)),
                        None => {}
                    }
                    *c = if p.epilogue.relu { s.max(0) } else { s };
                }
            }
        }
    }
}
