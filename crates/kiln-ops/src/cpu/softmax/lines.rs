//! Runs an operation on every line of a tensor: on whole rows, on columns side by side, or on short rows transposed in
//! a small buffer, so that there is always something to vectorise.

use crate::cpu::arch::{Arch, Kernel, dispatch_single};
use crate::cpu::real::Real;
use crate::cpu::reduce::Axis;
use crate::cpu::split::pieces2;

/// What is done with a line. The two methods compute the same, each in its own fixed order.
pub(super) trait LineOp<R: Real>: Sync {
    /// The operands, in the shape of the whole tensor; the second one may be missing (empty).
    fn inputs(&self) -> [&[R]; 2];
    /// The line number `line`: `y` is its result, `stats` the two numbers that are kept of it. Both may be empty.
    fn row<A: Arch>(&self, line: usize, x: [&[R]; 2], y: &mut [R], stats: &mut [R]);
    /// The lines from `line` on, which are columns of a matrix; `size` is its rows, the distance between them and how
    /// many columns there are, at most `W`.
    fn columns<A: Arch, const W: usize>(
        &self,
        line: usize,
        x: [&[R]; 2],
        size: [usize; 3],
        y: &mut [R],
        stats: &mut [R],
    );
}

/// Rows shorter than this are transposed.
const SHORT: usize = 32;
/// Rows that are transposed together.
const TILE: usize = 16;
/// Columns that are worked on together.
const COLUMNS: usize = 256;
/// About as many elements are one task.
const GRAIN: usize = 8192;

/// Runs `op` on all lines. `y` is empty or as long as the tensor, `stats` is empty or has two elements for each line.
pub(super) fn for_lines<R: Real, O: LineOp<R>>(op: &O, axis: Axis, y: &mut [R], stats: &mut [R]) {
    if axis.is_empty() {
        return;
    }
    let size = axis.n * axis.inner;
    let mut many = GRAIN.div_ceil(size);
    if axis.inner == 1 {
        many = many.next_multiple_of(TILE);
    }
    let count = axis.outer.div_ceil(many);
    pieces2(y, many * size, stats, 2 * many * axis.inner, count, |i, y, stats| {
        let first = i * many;
        dispatch_single::<R, _>(Lines { op, axis, first, last: axis.outer.min(first + many), y, stats });
    });
}

struct Lines<'a, R, O> {
    op: &'a O,
    axis: Axis,
    /// The lines' first index of the outer axis, and the one behind the last.
    first: usize,
    last: usize,
    y: &'a mut [R],
    stats: &'a mut [R],
}

/// A part of a slice that may be empty as a whole.
#[inline(always)]
fn part<T>(x: &[T], first: usize, len: usize) -> &[T] {
    if x.is_empty() { x } else { &x[first..first + len] }
}

#[inline(always)]
fn part_mut<T>(x: &mut [T], first: usize, len: usize) -> &mut [T] {
    if x.is_empty() { x } else { &mut x[first..first + len] }
}

impl<R: Real, O: LineOp<R>> Kernel for Lines<'_, R, O> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let Lines { op, axis: Axis { n, inner, .. }, first, last, y, stats } = self;
        let inputs = op.inputs();
        if inner > 1 {
            for o in first..last {
                let x = inputs.map(|x| part(x, o * n * inner, n * inner));
                let y = part_mut(y, (o - first) * n * inner, n * inner);
                for c in (0..inner).step_by(COLUMNS) {
                    let width = COLUMNS.min(inner - c);
                    let stats = part_mut(stats, 2 * ((o - first) * inner + c), 2 * width);
                    let x = x.map(|x| if x.is_empty() { x } else { &x[c..] });
                    let y = if y.is_empty() { &mut [][..] } else { &mut y[c..] };
                    op.columns::<A, COLUMNS>(o * inner + c, x, [n, inner, width], y, stats);
                }
            }
        } else if n >= SHORT {
            for o in first..last {
                let x = inputs.map(|x| part(x, o * n, n));
                let (y, stats) = (part_mut(y, (o - first) * n, n), part_mut(stats, 2 * (o - first), 2));
                op.row::<A>(o, x, y, stats);
            }
        } else {
            let mut tiles = [[R::ZERO; SHORT * TILE]; 3];
            for o in (first..last).step_by(TILE) {
                let rows = TILE.min(last - o);
                let [tile_x, tile_g, tile_y] = &mut tiles;
                for (x, tile) in inputs.into_iter().zip([&mut *tile_x, &mut *tile_g]) {
                    // What a tile of fewer rows leaves in the other columns is worked on, but not written out.
                    for (r, x) in part(x, o * n, rows * n).chunks_exact(n).enumerate() {
                        for (j, &x) in x.iter().enumerate() {
                            tile[j * TILE + r] = x;
                        }
                    }
                }
                let stats = part_mut(stats, 2 * (o - first), 2 * rows);
                let x = [&tile_x[..n * TILE], &tile_g[..n * TILE]];
                op.columns::<A, TILE>(o, x, [n, TILE, TILE], &mut tile_y[..n * TILE], stats);
                for (r, y) in part_mut(y, (o - first) * n, rows * n).chunks_exact_mut(n).enumerate() {
                    for (j, y) in y.iter_mut().enumerate() {
                        *y = tile_y[j * TILE + r];
                    }
                }
            }
        }
    }
}
