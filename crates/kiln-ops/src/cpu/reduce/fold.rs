//! The one loop behind every reduction: elements are mapped, then combined in an order that the shape alone fixes.
//!
//! A row (the reduced axis is the last one) is combined by [`block`]s of 4096 elements, each over 64 virtual lanes that
//! fold in a tree; the blocks' results fold in a tree as well. Columns (there are axes behind the reduced one) are
//! combined eight rows at a time by a tree, in blocks of 128 rows whose results fold in a tree. So the rounding error
//! grows with the logarithm of the size, and the order is the same for every instruction set and number of threads.

use kiln_storage::Element;

use super::Axis;
use crate::cpu::arch::{Arch, Kernel, Portable, dispatch};
use crate::cpu::split::{pieces, tiles};

/// A reduction as a map to a type of accumulation and an associative combination.
pub(crate) trait Fold: 'static {
    /// The elements.
    type In: Element;
    /// What they are mapped to and combined in.
    type Acc: Element;
    /// The neutral element of `join`.
    const START: Self::Acc;
    /// Whether the kernel is compiled for every instruction set, or (rarely used ones) for the portable one only.
    const HOT: bool = false;
    /// Whether `map` reads its second argument.
    const SHIFTED: bool = false;
    /// An element's contribution. `shift` is a value that belongs to the result, such as a mean.
    fn map<A: Arch>(x: Self::In, shift: Self::Acc) -> Self::Acc;
    /// The combination of two contributions.
    fn join(a: Self::Acc, b: Self::Acc) -> Self::Acc;
}

/// Elements of a row that one pass over the virtual lanes combines.
const BLOCK: usize = 4096;
/// Elements of a row that are one task.
const CHUNK: usize = 16 * BLOCK;
/// Rows that are combined into one intermediate row when columns are reduced.
const ROWS: usize = 128;
/// Columns that one task reduces.
const COLUMNS: usize = 2048;
/// About as many elements make a task worth handing to another thread.
pub(crate) const GRAIN: usize = 32768;

/// A fold's loops, behind pointers: what cuts work into tasks is compiled once for each pair of types, not for each fold.
struct Loops<I, A> {
    rows: fn(&[I], usize, &[A], &mut [A]),
    columns: fn(&[I], usize, usize, &[A], &mut [A]),
    /// [`join_blocks`].
    join: fn(&mut [A], usize),
    start: A,
    shifted: bool,
}

impl<I, A: Element> Loops<I, A> {
    /// The part of a possibly empty slice of shifts.
    fn shifts<'a>(&self, shift: &'a [A], first: usize, count: usize) -> &'a [A] {
        if self.shifted { &shift[first..first + count] } else { &[] }
    }
}

/// Reduces the middle axis of `x`; `out` has `outer * inner` elements. `shift` is empty or has as many.
pub(crate) fn fold<F: Fold>(x: &[F::In], axis: Axis, shift: &[F::Acc], out: &mut [F::Acc]) {
    let loops = Loops {
        rows: rows::<F>,
        columns: columns::<F>,
        join: join_blocks::<F>,
        start: F::START,
        shifted: F::SHIFTED,
    };
    run(&loops, x, axis, shift, out);
}

fn run<I: Element, A: Element>(loops: &Loops<I, A>, x: &[I], axis: Axis, shift: &[A], out: &mut [A]) {
    let Axis { outer, n, inner } = axis;
    debug_assert_eq!(x.len(), outer * n * inner);
    debug_assert_eq!(out.len(), outer * inner);
    if n == 0 || out.is_empty() {
        out.fill(loops.start);
    } else if inner == 1 {
        fold_rows(loops, x, n, shift, out);
    } else {
        fold_columns(loops, x, axis, shift, out);
    }
}

#[inline(always)]
fn start<F: Fold, K: Kernel>(kernel: K) -> K::Output {
    if const { F::HOT } { dispatch(kernel) } else { kernel.run::<Portable>() }
}

/// Combines the results of consecutive blocks, `width` elements each, into the first one: neighbours first, then
/// neighbouring pairs, and so on.
fn join_blocks<F: Fold>(blocks: &mut [F::Acc], width: usize) {
    let count = blocks.len() / width;
    let mut step = 1;
    while step < count {
        for i in (0..count - step).step_by(2 * step) {
            let (to, from) = blocks[i * width..].split_at_mut(step * width);
            for (a, &b) in to[..width].iter_mut().zip(&from[..width]) {
                *a = F::join(*a, b);
            }
        }
        step *= 2;
    }
}

struct Rows<'a, F: Fold> {
    x: &'a [F::In],
    n: usize,
    shift: &'a [F::Acc],
    out: &'a mut [F::Acc],
}

impl<F: Fold> Kernel for Rows<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let shift = self.shift.iter().copied().chain(std::iter::repeat(F::START));
        for ((row, out), shift) in self.x.chunks_exact(self.n).zip(self.out).zip(shift) {
            *out = row_chunk::<F, A>(row, shift);
        }
    }
}

/// A row of any length, for kernels that reduce rows within a larger task.
#[inline(always)]
pub(crate) fn whole_row<F: Fold, A: Arch>(row: &[F::In], shift: F::Acc) -> F::Acc {
    let mut result = F::START;
    for (i, chunk) in row.chunks(CHUNK).enumerate() {
        let part = row_chunk::<F, A>(chunk, shift);
        result = if i == 0 { part } else { F::join(result, part) };
    }
    result
}

/// A row of at most [`CHUNK`] elements.
#[inline(always)]
pub(crate) fn row_chunk<F: Fold, A: Arch>(row: &[F::In], shift: F::Acc) -> F::Acc {
    let mut results = [F::START; CHUNK / BLOCK];
    let mut count = 0;
    for b in row.chunks(BLOCK) {
        results[count] = block::<F, A>(b, shift);
        count += 1;
    }
    join_blocks::<F>(&mut results[..count], 1);
    results[0]
}

/// Out of line: there are many instances, and each is called from two places.
#[inline(never)]
fn rows<F: Fold>(x: &[F::In], n: usize, shift: &[F::Acc], out: &mut [F::Acc]) {
    start::<F, _>(Rows::<F> { x, n, shift, out });
}

fn fold_rows<I: Element, A: Element>(loops: &Loops<I, A>, x: &[I], n: usize, shift: &[A], out: &mut [A]) {
    if n <= CHUNK {
        let many = GRAIN.div_ceil(n);
        pieces(out, many, |i, out| {
            let at = i * many;
            (loops.rows)(&x[at * n..(at + out.len()) * n], n, loops.shifts(shift, at, out.len()), out);
        });
        return;
    }
    let chunks = n.div_ceil(CHUNK);
    let mut results = vec![loops.start; out.len() * chunks];
    pieces(&mut results, 1, |i, out| {
        let (row, chunk) = (i / chunks, i % chunks);
        let x = &x[row * n..(row + 1) * n];
        let x = &x[chunk * CHUNK..n.min((chunk + 1) * CHUNK)];
        (loops.rows)(x, x.len(), loops.shifts(shift, row, 1), out);
    });
    for (out, results) in out.iter_mut().zip(results.chunks_exact_mut(chunks)) {
        (loops.join)(results, 1);
        *out = results[0];
    }
}

/// At most [`BLOCK`] elements: as a matrix with 64 or 16 columns, whose rows are combined and then the columns.
#[inline(always)]
pub(crate) fn block<F: Fold, A: Arch>(x: &[F::In], shift: F::Acc) -> F::Acc {
    match x.len() {
        0..16 => short::<F, A>(x, shift),
        16..512 => lanes::<F, A, 16>(x, shift),
        _ => lanes::<F, A, 64>(x, shift),
    }
}

/// A few elements, over four lanes.
#[inline(always)]
fn short<F: Fold, A: Arch>(x: &[F::In], shift: F::Acc) -> F::Acc {
    let mut acc = [F::START; 4];
    let mut chunks = x.chunks_exact(4);
    for x in &mut chunks {
        for l in 0..4 {
            acc[l] = F::join(acc[l], F::map::<A>(x[l], shift));
        }
    }
    for &x in chunks.remainder() {
        acc[0] = F::join(acc[0], F::map::<A>(x, shift));
    }
    F::join(F::join(acc[0], acc[1]), F::join(acc[2], acc[3]))
}

/// The loops are written for the compiler's loop vectoriser: eight rows at a time, so that the lanes, which it keeps in
/// memory, are touched once for eight elements.
#[inline(always)]
fn lanes<F: Fold, A: Arch, const L: usize>(x: &[F::In], shift: F::Acc) -> F::Acc {
    let mut acc = [F::START; L];
    let mut groups = x.chunks_exact(8 * L);
    for x in &mut groups {
        for (l, acc) in acc.iter_mut().enumerate() {
            let v = |r: usize| F::map::<A>(x[r * L + l], shift);
            *acc = F::join(*acc, eight::<F>(v));
        }
    }
    let mut rows = groups.remainder().chunks_exact(L);
    for x in &mut rows {
        for (acc, &x) in acc.iter_mut().zip(x) {
            *acc = F::join(*acc, F::map::<A>(x, shift));
        }
    }
    for (acc, &x) in acc.iter_mut().zip(rows.remainder()) {
        *acc = F::join(*acc, F::map::<A>(x, shift));
    }
    let mut width = L / 2;
    while width > 0 {
        for l in 0..width {
            acc[l] = F::join(acc[l], acc[l + width]);
        }
        width /= 2;
    }
    acc[0]
}

/// Eight contributions, combined in a tree.
#[inline(always)]
fn eight<F: Fold>(v: impl Fn(usize) -> F::Acc) -> F::Acc {
    let a = F::join(F::join(v(0), v(1)), F::join(v(2), v(3)));
    let b = F::join(F::join(v(4), v(5)), F::join(v(6), v(7)));
    F::join(a, b)
}

/// Reduces `rows` rows of `out.len()` columns.
struct Columns<'a, F: Fold> {
    /// Starts at the first column of the first row.
    x: &'a [F::In],
    /// From one row to the next.
    stride: usize,
    rows: usize,
    shift: &'a [F::Acc],
    out: &'a mut [F::Acc],
}

impl<F: Fold> Kernel for Columns<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let Columns { x, stride, rows, shift, out } = self;
        let width = out.len();
        let shift = if F::SHIFTED { &shift[..width] } else { shift };
        let shift = |c: usize| if F::SHIFTED { shift[c] } else { F::START };
        let row = |r: usize| &x[r * stride..][..width];
        out.fill(F::START);
        let groups = rows / 8;
        for g in 0..groups {
            let x: [&[F::In]; 8] = std::array::from_fn(|r| row(8 * g + r));
            for (c, out) in out.iter_mut().enumerate() {
                *out = F::join(*out, eight::<F>(|r| F::map::<A>(x[r][c], shift(c))));
            }
        }
        for r in groups * 8..rows {
            let x = row(r);
            for (c, out) in out.iter_mut().enumerate() {
                *out = F::join(*out, F::map::<A>(x[c], shift(c)));
            }
        }
    }
}

#[inline(never)]
fn columns<F: Fold>(x: &[F::In], stride: usize, rows: usize, shift: &[F::Acc], out: &mut [F::Acc]) {
    start::<F, _>(Columns::<F> { x, stride, rows, shift, out });
}

fn fold_columns<I: Element, A: Element>(
    loops: &Loops<I, A>,
    x: &[I],
    axis: Axis,
    shift: &[A],
    out: &mut [A],
) {
    let Axis { n, inner, .. } = axis;
    let side = if inner < 32 { (64 / inner).min(n) } else { 1 };
    if side > 1 {
        let many = (GRAIN / (n * inner)).max(1);
        pieces(out, many * inner, |i, out| {
            for (o, out) in out.chunks_exact_mut(inner).enumerate() {
                let o = i * many + o;
                let x = &x[o * n * inner..(o + 1) * n * inner];
                fold_narrow(loops, x, n, side, loops.shifts(shift, o * inner, inner), out);
            }
        });
    } else {
        fold_wide(loops, x, axis, shift, out);
    }
}

fn fold_wide<I: Element, A: Element>(loops: &Loops<I, A>, x: &[I], axis: Axis, shift: &[A], out: &mut [A]) {
    let Axis { n, inner, .. } = axis;
    let blocks = n.div_ceil(ROWS);
    let each = |block: usize, first: usize, out: &mut [A]| {
        let (o, b) = (block / blocks, block % blocks);
        let x = &x[(o * n + b * ROWS) * inner + first..(o + 1) * n * inner];
        let shift = loops.shifts(shift, o * inner + first, out.len());
        (loops.columns)(x, inner, ROWS.min(n - b * ROWS), shift, out);
    };
    // A task is a part of an intermediate row, or several of them if they are short.
    let run = |out: &mut [A]| {
        if inner > COLUMNS {
            tiles(out, inner, COLUMNS, each);
        } else {
            let many = (GRAIN / (n.min(ROWS) * inner)).max(1);
            pieces(out, many * inner, |i, out| {
                for (r, out) in out.chunks_exact_mut(inner).enumerate() {
                    each(i * many + r, 0, out);
                }
            });
        }
    };
    if blocks == 1 {
        return run(out);
    }
    let mut results = vec![loops.start; axis.outer * blocks * inner];
    run(&mut results);
    for (out, results) in out.chunks_exact_mut(inner).zip(results.chunks_exact_mut(blocks * inner)) {
        (loops.join)(results, inner);
        out.copy_from_slice(&results[..inner]);
    }
}

/// The columns of one matrix with few of them: `side` rows are taken as one wide row, and its parts folded at the end.
fn fold_narrow<I: Element, A: Element>(
    loops: &Loops<I, A>,
    x: &[I],
    n: usize,
    side: usize,
    shift: &[A],
    out: &mut [A],
) {
    let inner = out.len();
    let wide = Axis { outer: 1, n: n / side, inner: side * inner };
    let repeated = if loops.shifted { shift.repeat(side) } else { Vec::new() };
    let mut parts = [loops.start; 64];
    let parts = &mut parts[..wide.inner];
    let (x, rest) = x.split_at(wide.n * wide.inner);
    fold_wide(loops, x, wide, &repeated, parts);
    (loops.join)(parts, inner);
    // The rows that are left over come last: as a second block behind the first one's result.
    let mut both = [loops.start; 64];
    let (first, second) = both[..2 * inner].split_at_mut(inner);
    first.copy_from_slice(&parts[..inner]);
    (loops.columns)(rest, inner, n % side, shift, second);
    (loops.join)(&mut both[..2 * inner], inner);
    out.copy_from_slice(&both[..inner]);
}
