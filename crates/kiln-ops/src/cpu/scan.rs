//! Cumulative sums, products, extremes and log-sum-exps along an axis.
//!
//! Floats are accumulated in `f64`. A long row is cut into blocks of 65536 elements: each is accumulated from its own
//! start, and the result of all blocks before it joined to every element. So blocks can run in parallel, and give the
//! same bits as one after another.

use std::marker::PhantomData;

use kiln_storage::Element;

use super::arch::{Arch, Kernel, dispatch_single_to_avx2};
use super::pool::num_threads;
use super::real::{Computed, Float, Number};
use super::reduce::{ArgOp, Axis};
use super::split::{pieces, pieces2};

/// What is accumulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanOp {
    /// Sums.
    Sum,
    /// Products.
    Prod,
    /// The logarithms of the sums of the exponentials; of floats only.
    LogSumExp,
}

/// An accumulation: an associative operation with a neutral element.
trait Scan: 'static {
    type Acc: Number;
    const START: Self::Acc;
    fn join(a: Self::Acc, b: Self::Acc) -> Self::Acc;
}

struct Sums<S>(PhantomData<S>);
struct Products<S>(PhantomData<S>);
struct LogSums;

impl<S: Number> Scan for Sums<S> {
    type Acc = S;
    const START: S = S::ZERO;
    #[inline(always)]
    fn join(a: S, b: S) -> S {
        a.plus(b)
    }
}

impl<S: Number> Scan for Products<S> {
    type Acc = S;
    const START: S = S::ONE;
    #[inline(always)]
    fn join(a: S, b: S) -> S {
        a.times(b)
    }
}

impl Scan for LogSums {
    type Acc = f64;
    const START: f64 = f64::NEG_INFINITY;
    #[inline(always)]
    fn join(a: f64, b: f64) -> f64 {
        let (low, high) = if a < b { (a, b) } else { (b, a) };
        if a.is_nan() || b.is_nan() {
            return f64::NAN;
        }
        // Both infinite with the same sign: their difference would be NaN.
        if low == high && low.is_infinite() { low } else { high + libm::log1p(libm::exp(low - high)) }
    }
}

/// Accumulates floats along the axis.
pub fn scan_float<T: Float>(op: ScanOp, x: &[T], axis: Axis, y: &mut [T]) {
    match op {
        ScanOp::Sum => scan::<T, T, Sums<f64>>(x, axis, y),
        ScanOp::Prod => scan::<T, T, Products<f64>>(x, axis, y),
        ScanOp::LogSumExp => scan::<T, T, LogSums>(x, axis, y),
    }
}

/// Accumulates integers or booleans along the axis, in `i64` with wrapping.
///
/// # Panics
/// For [`ScanOp::LogSumExp`].
pub fn scan_int<T: Element>(op: ScanOp, x: &[T], axis: Axis, y: &mut [i64]) {
    match op {
        ScanOp::Sum => scan::<T, i64, Sums<i64>>(x, axis, y),
        ScanOp::Prod => scan::<T, i64, Products<i64>>(x, axis, y),
        ScanOp::LogSumExp => unreachable!("log-sum-exp of integers"),
    }
}

/// Elements of a row that are accumulated from their own start.
const BLOCK: usize = 65536;
/// Columns that are accumulated together.
const COLUMNS: usize = 256;
/// About as many elements are one task.
const GRAIN: usize = 16384;

fn scan<T: Element, O: Element, S: Scan>(x: &[T], axis: Axis, y: &mut [O]) {
    let Axis { outer, n, inner } = axis;
    if axis.is_empty() {
        return;
    }
    let size = n * inner;
    if inner == 1 && n > BLOCK && outer < num_threads() {
        for (x, y) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)) {
            parallel_row::<T, O, S>(x, y);
        }
        return;
    }
    let many = (GRAIN / size).max(1).min(outer);
    pieces(y, many * size, |i, y| {
        let x = &x[i * many * size..][..y.len()];
        for (x, y) in x.chunks_exact(size).zip(y.chunks_exact_mut(size)) {
            if inner == 1 {
                let mut before = S::START;
                for (x, y) in x.chunks(BLOCK).zip(y.chunks_mut(BLOCK)) {
                    before = S::join(before, block::<T, O, S>(x, before, y));
                }
            } else {
                dispatch_single_to_avx2::<T, _>(Columns::<T, O, S> { x, n, inner, y, scan: PhantomData });
            }
        }
    });
}

fn parallel_row<T: Element, O: Element, S: Scan>(x: &[T], y: &mut [O]) {
    let mut totals = vec![S::START; x.len().div_ceil(BLOCK)];
    pieces(&mut totals, 1, |i, total| {
        let x = &x[i * BLOCK..x.len().min((i + 1) * BLOCK)];
        total[0] = x.iter().fold(S::START, |sum, &x| S::join(sum, S::Acc::load(x)));
    });
    let mut before = S::START;
    for t in &mut totals {
        let total = *t;
        *t = before;
        before = S::join(before, total);
    }
    pieces(y, BLOCK, |i, y| {
        block::<T, O, S>(&x[i * BLOCK..][..y.len()], totals[i], y);
    });
}

/// One block; returns what it accumulates to alone.
fn block<T: Element, O: Element, S: Scan>(x: &[T], before: S::Acc, y: &mut [O]) -> S::Acc {
    let mut sum = S::START;
    for (&x, y) in x.iter().zip(y) {
        sum = S::join(sum, S::Acc::load(x));
        *y = S::join(before, sum).store();
    }
    sum
}

struct Columns<'a, T, O, S> {
    x: &'a [T],
    n: usize,
    inner: usize,
    y: &'a mut [O],
    scan: PhantomData<S>,
}

impl<T: Element, O: Element, S: Scan> Kernel for Columns<'_, T, O, S> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let Columns { x, n, inner, y, .. } = self;
        let mut sums = [S::START; COLUMNS];
        for first in (0..inner).step_by(COLUMNS) {
            let width = COLUMNS.min(inner - first);
            let sums = &mut sums[..width];
            sums.fill(S::START);
            for r in 0..n {
                let at = r * inner + first;
                let (x, y) = (&x[at..][..width], &mut y[at..][..width]);
                for c in 0..width {
                    sums[c] = S::join(sums[c], S::Acc::load(x[c]));
                    y[c] = sums[c].store();
                }
            }
        }
    }
}

/// The largest or smallest element so far and where it lies: of equals the last one, and NaN from the first one on.
pub fn scan_extreme<T: Computed>(op: ArgOp, x: &[T], axis: Axis, values: &mut [T], index: &mut [i64]) {
    let Axis { outer, n, inner } = axis;
    if axis.is_empty() {
        return;
    }
    let size = n * inner;
    let many = (GRAIN / size).max(1);
    let largest = op == ArgOp::Max;
    pieces2(values, many * size, index, many * size, outer.div_ceil(many), |i, values, index| {
        let x = &x[i * many * size..][..values.len()];
        let parts = x.chunks_exact(size).zip(values.chunks_exact_mut(size)).zip(index.chunks_exact_mut(size));
        for ((x, values), index) in parts {
            for c in 0..inner {
                let mut best = T::Acc::load(x[c]);
                let mut at = 0;
                for r in 0..n {
                    let v = T::Acc::load(x[r * inner + c]);
                    let reaches = if largest { v >= best } else { v <= best };
                    if v.is_nan() || reaches {
                        (best, at) = (v, r);
                    }
                    values[r * inner + c] = best.store();
                    index[r * inner + c] = at as i64;
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPES: [Axis; 6] = [
        Axis { outer: 3, n: 1, inner: 1 },
        Axis { outer: 5, n: 77, inner: 1 },
        Axis { outer: 1, n: 200_003, inner: 1 },
        Axis { outer: 2, n: 9, inner: 3 },
        Axis { outer: 2, n: 40, inner: 300 },
        Axis { outer: 0, n: 4, inner: 2 },
    ];

    fn noise(n: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 7919 + 13) % 1009) as f32 / 504.5 - 1.0).collect()
    }

    #[test]
    fn accumulations_agree_with_f64() {
        for a in SHAPES {
            let x = noise(a.len());
            for op in [ScanOp::Sum, ScanOp::Prod, ScanOp::LogSumExp] {
                let mut y = vec![0.0f32; a.len()];
                scan_float(op, &x, a, &mut y);
                for line in 0..a.results() {
                    let (mut sum, mut size) = (if op == ScanOp::Prod { 1.0 } else { 0.0f64 }, 0.0);
                    for r in 0..a.n {
                        let at = (line / a.inner * a.n + r) * a.inner + line % a.inner;
                        let v = x[at] as f64;
                        size += v.abs();
                        match op {
                            ScanOp::Sum => sum += v,
                            ScanOp::Prod => sum *= v,
                            ScanOp::LogSumExp => sum += v.exp(),
                        }
                        let want = if op == ScanOp::LogSumExp { sum.ln() } else { sum };
                        let off = (y[at] as f64 - want).abs();
                        assert!(
                            off <= 1e-6 * want.abs().max(1e-9 * size) + 1e-7,
                            "{op:?} {a:?} {r}: {} {want}",
                            y[at]
                        );
                    }
                }
            }
            let ints: Vec<i16> = x.iter().map(|v| (v * 3e4) as i16).collect();
            let mut y = vec![0; a.len()];
            scan_int(ScanOp::Sum, &ints, a, &mut y);
            for at in a.inner..a.len() {
                let first = at / a.inner % a.n == 0;
                assert_eq!(y[at], ints[at] as i64 + if first { 0 } else { y[at - a.inner] });
            }
        }
    }

    #[test]
    fn blocks_in_parallel_give_the_same_bits() {
        let x = noise(300_000);
        let (mut serial, mut parallel) = (vec![0.0f32; x.len()], vec![0.0f32; x.len()]);
        let mut before = 0.0;
        for (x, y) in x.chunks(BLOCK).zip(serial.chunks_mut(BLOCK)) {
            before += block::<f32, f32, Sums<f64>>(x, before, y);
        }
        parallel_row::<f32, f32, Sums<f64>>(&x, &mut parallel);
        assert_eq!(serial, parallel);
    }

    #[test]
    fn extremes_are_pytorchs() {
        let nan = f32::NAN;
        let run = |op, x: &[f32]| {
            let (mut v, mut i) = (vec![0.0; x.len()], vec![0; x.len()]);
            scan_extreme(op, x, Axis::all(x.len()), &mut v, &mut i);
            (v, i)
        };
        // torch.cummax(torch.tensor([1., 3., 2., 3., 5., 0.]), 0), torch.cummin of the same
        let x = [1.0, 3.0, 2.0, 3.0, 5.0, 0.0];
        assert_eq!(run(ArgOp::Max, &x), (vec![1.0, 3.0, 3.0, 3.0, 5.0, 5.0], vec![0, 1, 1, 3, 4, 4]));
        assert_eq!(run(ArgOp::Min, &x), (vec![1.0, 1.0, 1.0, 1.0, 1.0, 0.0], vec![0, 0, 0, 0, 0, 5]));
        // torch.cummax(torch.tensor([1., nan, 2., nan]), 0).indices
        let (v, i) = run(ArgOp::Max, &[1.0, nan, 2.0, nan]);
        assert_eq!(i, [0, 1, 1, 3]);
        assert!(v[1..].iter().all(|v| v.is_nan()));
        let (mut v, mut i) = ([0; 6], [0; 6]);
        scan_extreme(ArgOp::Max, &[1i32, 5, 3, 4, 3, 9], Axis { outer: 1, n: 3, inner: 2 }, &mut v, &mut i);
        assert_eq!((v, i), ([1, 5, 3, 5, 3, 9], [0, 0, 1, 0, 2, 2]));
    }
}
