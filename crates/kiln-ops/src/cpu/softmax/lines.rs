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
    /// many columns there are, at most [`COLUMNS`].
    fn columns<A: Arch>(&self, line: usize, x: [&[R]; 2], size: [usize; 3], y: &mut [R], stats: &mut [R]);
}

/// Rows shorter than this are transposed.
const SHORT: usize = 32;
/// Columns that are worked on together, and short rows that are transposed together.
pub(super) const COLUMNS: usize = 32;
/// So many short rows are computed for one: a vector of the widest registers.
const STEP: usize = 16;
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
        many = many.next_multiple_of(COLUMNS);
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
        if inner == 1 && n >= SHORT {
            for o in first..last {
                let [x, g] = inputs;
                let (y, stats) = (part_mut(y, (o - first) * n, n), part_mut(stats, 2 * (o - first), 2));
                op.row::<A>(o, [part(x, o * n, n), part(g, o * n, n)], y, stats);
            }
            return;
        }
        let mut tiles = [[R::ZERO; SHORT * COLUMNS]; 3];
        let [tile_x, tile_g, tile_y] = &mut tiles;
        // Both kinds of columns come to the one call: this body is compiled often.
        let across = if inner == 1 { 1 } else { inner.div_ceil(COLUMNS) };
        let along = if inner == 1 { COLUMNS } else { 1 };
        for i in 0..(last - first).div_ceil(along) * across {
            let o = first + i / across * along;
            let [x, g] = inputs;
            let (line, lines, x, size, to) = if inner == 1 {
                let rows = COLUMNS.min(last - o);
                transpose(part(x, o * n, rows * n), n, tile_x);
                transpose(part(g, o * n, rows * n), n, tile_g);
                // What fewer rows leave in the last columns is worked on, but not written out.
                let size = [n, COLUMNS, rows.next_multiple_of(STEP)];
                (o, rows, [&tile_x[..], &tile_g[..]], size, &mut tile_y[..])
            } else {
                let c = i % across * COLUMNS;
                let width = COLUMNS.min(inner - c);
                let (from, len) = (o * n * inner + c, n * inner - c);
                let to = part_mut(y, from - first * n * inner, len);
                (o * inner + c, width, [part(x, from, len), part(g, from, len)], [n, inner, width], to)
            };
            op.columns::<A>(line, x, size, to, part_mut(stats, 2 * (line - first * inner), 2 * lines));
            if inner == 1 {
                for (r, y) in part_mut(y, (o - first) * n, lines * n).chunks_exact_mut(n).enumerate() {
                    for (j, y) in y.iter_mut().enumerate() {
                        *y = tile_y[j * COLUMNS + r];
                    }
                }
            }
        }
    }
}

/// Rows of `n` elements become columns of a tile.
#[inline(always)]
fn transpose<R: Copy>(x: &[R], n: usize, tile: &mut [R]) {
    for (r, x) in x.chunks_exact(n).enumerate() {
        for (j, &x) in x.iter().enumerate() {
            tile[j * COLUMNS + r] = x;
        }
    }
}
