//! Where the extremes lie: the first of equal elements, and NaN before any number.

use std::marker::PhantomData;

use super::Axis;
use super::fold::{Fold, GRAIN, block};
use super::ops::{Max, Min};
use crate::cpu::arch::{Arch, Kernel, dispatch_single};
use crate::cpu::real::{Computed, Number};
use crate::cpu::split::pieces2;

/// Which extreme is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgOp {
    /// The largest element.
    Max,
    /// The smallest element.
    Min,
}

/// The index of the extreme along a non-empty axis.
pub fn arg_reduce<T: Computed>(op: ArgOp, x: &[T], axis: Axis, index: &mut [i64]) {
    start(op, x, axis, &mut [], index);
}

/// The extreme along a non-empty axis, and its index.
pub fn arg_reduce_values<T: Computed>(op: ArgOp, x: &[T], axis: Axis, values: &mut [T], index: &mut [i64]) {
    start(op, x, axis, values, index);
}

/// Elements of a row that are searched by one task.
const CHUNK: usize = 65536;
/// Columns that are searched together: the best ones and their indices stay in the nearest cache.
const COLUMNS: usize = 512;

fn start<T: Computed>(op: ArgOp, x: &[T], axis: Axis, values: &mut [T], index: &mut [i64]) {
    match op {
        ArgOp::Max => search::<T, Max<T>>(x, axis, values, index),
        ArgOp::Min => search::<T, Min<T>>(x, axis, values, index),
    }
}

/// Whether `F` would replace `b` by `a`, which comes later.
#[inline(always)]
fn replaces<F: Fold<Acc: Number>>(a: F::Acc, b: F::Acc) -> bool {
    // Of equals `join` keeps the second one.
    let differs = (a < b) | (a > b) | (a.is_nan() & !b.is_nan());
    let joined = F::join(a, b);
    differs & ((joined == a) | a.is_nan())
}

#[inline(never)]
fn search_rows<T: Computed, F: Fold<In = T, Acc = T::Acc>>(
    x: &[T],
    n: usize,
    values: &mut [T],
    index: &mut [i64],
) {
    dispatch_single::<T, _>(RowSearch::<T, F> { x, n, values, index, fold: PhantomData });
}

fn search<T: Computed, F: Fold<In = T, Acc = T::Acc>>(
    x: &[T],
    axis: Axis,
    values: &mut [T],
    index: &mut [i64],
) {
    let Axis { outer, n, inner } = axis;
    let wanted = !values.is_empty();
    if inner > 1 {
        let many = (GRAIN / (n * inner)).max(1);
        let count = outer.div_ceil(many);
        let step = many * inner;
        return pieces2(values, if wanted { step } else { 0 }, index, step, count, |i, values, index| {
            let x = &x[i * many * n * inner..][..index.len() * n];
            dispatch_single::<T, _>(ColumnSearch::<T, F> { x, n, inner, values, index, fold: PhantomData });
        });
    }
    if n <= CHUNK {
        let rows = GRAIN.div_ceil(n);
        let count = outer.div_ceil(rows);
        return pieces2(values, if wanted { rows } else { 0 }, index, rows, count, |i, values, index| {
            let x = &x[i * rows * n..][..index.len() * n];
            search_rows::<T, F>(x, n, values, index);
        });
    }
    for row in 0..outer {
        let x = &x[row * n..(row + 1) * n];
        let chunks = n.div_ceil(CHUNK);
        let (mut best, mut at) = (vec![T::default(); chunks], vec![0; chunks]);
        pieces2(&mut best, 1, &mut at, 1, chunks, |i, values, index| {
            let x = &x[i * CHUNK..n.min((i + 1) * CHUNK)];
            search_rows::<T, F>(x, x.len(), values, index);
        });
        let mut first = 0;
        for i in 1..chunks {
            if replaces::<F>(T::Acc::load(best[i]), T::Acc::load(best[first])) {
                first = i;
            }
        }
        index[row] = (first * CHUNK) as i64 + at[first];
        if wanted {
            values[row] = best[first];
        }
    }
}

struct RowSearch<'a, T, F> {
    x: &'a [T],
    n: usize,
    values: &'a mut [T],
    index: &'a mut [i64],
    fold: PhantomData<F>,
}

impl<T: Computed, F: Fold<In = T, Acc = T::Acc>> Kernel for RowSearch<'_, T, F> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        for (r, (row, index)) in self.x.chunks_exact(self.n).zip(self.index).enumerate() {
            // The extreme itself is found by comparing whole vectors; then the row, which is in the cache by now, is
            // read again up to the first element that equals it.
            let best = block::<F, A>(row, F::START);
            let at = position::<T>(row, best);
            *index = at as i64;
            if let Some(value) = self.values.get_mut(r) {
                *value = row[at];
            }
        }
    }
}

/// The first element that equals `value`, or is NaN if that is.
#[inline(always)]
fn position<T: Computed>(row: &[T], value: T::Acc) -> usize {
    let nan = value.is_nan();
    let hit = |&v: &T| {
        let v = T::Acc::load(v);
        (v == value) | (nan & v.is_nan())
    };
    const STEP: usize = 64;
    let mut chunks = row.chunks_exact(STEP);
    let mut at = 0;
    for chunk in &mut chunks {
        let mut any = false;
        for v in chunk {
            any |= hit(v);
        }
        if any {
            break;
        }
        at += STEP;
    }
    at + row[at..].iter().position(hit).unwrap_or(0)
}

struct ColumnSearch<'a, T, F> {
    x: &'a [T],
    n: usize,
    inner: usize,
    values: &'a mut [T],
    index: &'a mut [i64],
    fold: PhantomData<F>,
}

impl<T: Computed, F: Fold<In = T, Acc = T::Acc>> Kernel for ColumnSearch<'_, T, F> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let ColumnSearch { x, n, inner, values, index, .. } = self;
        let mut best = [T::Acc::ZERO; COLUMNS];
        let mut at = [0u32; COLUMNS];
        for (o, index) in index.chunks_exact_mut(inner).enumerate() {
            let x = &x[o * n * inner..][..n * inner];
            for first in (0..inner).step_by(COLUMNS) {
                let width = COLUMNS.min(inner - first);
                let (best, at) = (&mut best[..width], &mut at[..width]);
                for (b, &v) in best.iter_mut().zip(&x[first..]) {
                    *b = T::Acc::load(v);
                }
                at.fill(0);
                for r in 1..n {
                    let row = &x[r * inner + first..][..width];
                    for c in 0..width {
                        let v = T::Acc::load(row[c]);
                        let better = replaces::<F>(v, best[c]);
                        best[c] = if better { v } else { best[c] };
                        at[c] = if better { r as u32 } else { at[c] };
                    }
                }
                for c in 0..width {
                    index[first + c] = at[c] as i64;
                    if let Some(value) = values.get_mut(o * inner + first + c) {
                        *value = x[at[c] as usize * inner + first + c];
                    }
                }
            }
        }
    }
}
