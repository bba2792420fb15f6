//! Batch normalisation: `x` is seen as `[samples, channels, inner]`, and every channel has its own mean and variance.

use std::ops::Range;

use crate::cpu::arch::{Arch, Kernel, dispatch_single};
use crate::cpu::real::{Float, Number, Real};
use crate::cpu::reduce::{Axis, Distances, Sum, fold, row_chunk};
use crate::cpu::split::{pieces, pieces2};

/// What a channel is normalised by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    /// The axis of the channels.
    pub axis: Axis,
    /// Added to the variance.
    pub eps: f64,
    /// Whether mean and variance are the input's own, so that its gradient passes through them.
    pub own: bool,
}

impl BatchNorm {
    /// The means and the inverse deviations.
    fn shift_and_scale<R: Real>(&self, mean: &[f64], var: &[f64]) -> (Vec<R>, Vec<R>) {
        let scale = |v: &f64| R::of(1.0 / (v + self.eps).sqrt());
        (mean.iter().map(|&m| R::of(m)).collect(), var.iter().map(scale).collect())
    }
}

/// Elements of a row whose sum and squared distances are taken in one go, while they are in a near cache; and about as many
/// are one task.
const PART: usize = 16384;

/// The mean and the biased variance of every channel; `axis.n` is the number of channels.
pub fn batch_norm_stats<T: Float>(x: &[T], axis: Axis, mean: &mut [f64], var: &mut [f64]) {
    let Axis { outer, n, inner } = axis;
    let count = (outer * inner) as f64;
    if inner == 1 {
        let columns = Axis { outer: 1, n: outer, inner: n };
        fold::<Sum<T, f64>>(x, columns, &[], mean);
        mean.iter_mut().for_each(|m| *m /= count);
        fold::<Distances<T>>(x, columns, mean, var);
        var.iter_mut().for_each(|v| *v /= count);
        return;
    }
    // Each part's sum and squared distances to its own mean, so that the memory is read once; then the distances of these
    // means to the whole one. Chan, Golub and LeVeque, "Algorithms for computing the sample variance" (1983).
    let cuts = inner.div_ceil(PART);
    let parts = outer * n * cuts;
    let (mut sums, mut squares) = (vec![0.0; parts], vec![0.0; parts]);
    let many = (PART / inner).max(1);
    pieces2(&mut sums, many, &mut squares, many, parts.div_ceil(many), |i, sums, squares| {
        dispatch_single::<T, _>(Parts { x, inner, first: i * many, sums, squares });
    });
    let columns = Axis { outer: 1, n: outer, inner: n * cuts };
    let mut of_cuts = vec![0.0; n * cuts];
    let total = |of_cuts: &[f64], out: &mut [f64]| {
        for (out, of_cuts) in out.iter_mut().zip(of_cuts.chunks_exact(cuts)) {
            *out = of_cuts.iter().sum::<f64>() / count;
        }
    };
    fold::<Sum<f64, f64>>(&sums, columns, &[], &mut of_cuts);
    total(&of_cuts, mean);
    for (p, (square, sum)) in squares.iter_mut().zip(&sums).enumerate() {
        let len = part_of_row(inner, p).len() as f64;
        let distance = sum / len - mean[p / cuts % n];
        *square += len * distance * distance;
    }
    fold::<Sum<f64, f64>>(&squares, columns, &[], &mut of_cuts);
    total(&of_cuts, var);
}

/// Where part number `p` lies, when rows of `inner` elements are cut into parts.
#[inline(always)]
fn part_of_row(inner: usize, p: usize) -> Range<usize> {
    let cuts = inner.div_ceil(PART);
    let (row, start) = (p / cuts, p % cuts * PART);
    row * inner + start..row * inner + inner.min(start + PART)
}

struct Parts<'a, T> {
    x: &'a [T],
    inner: usize,
    /// The number of the first part.
    first: usize,
    sums: &'a mut [f64],
    squares: &'a mut [f64],
}

impl<T: Float> Kernel for Parts<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        for (p, (sum, square)) in self.sums.iter_mut().zip(self.squares).enumerate() {
            let x = &self.x[part_of_row(self.inner, self.first + p)];
            *sum = row_chunk::<Sum<T, f64>, A>(x, 0.0);
            *square = row_chunk::<Distances<T>, A>(x, *sum / x.len() as f64);
        }
    }
}

/// `y = (x - mean) / sqrt(var + eps) * weight + bias`, one of each for every channel. Missing weights are 1, missing biases
/// 0.
pub fn batch_norm_apply<T: Float>(
    x: &[T],
    norm: &BatchNorm,
    [mean, var]: [&[f64]; 2],
    weight: Option<&[T::Acc]>,
    bias: Option<&[T::Acc]>,
    y: &mut [T],
) {
    let Axis { n, inner, .. } = norm.axis;
    let (mean, invstd) = &norm.shift_and_scale::<T::Acc>(mean, var);
    let one = T::Acc::ONE;
    let scale: Vec<T::Acc> = (0..n).map(|c| invstd[c] * weight.map_or(one, |w| w[c])).collect();
    let bias: Vec<T::Acc> = (0..n).map(|c| bias.map_or(T::Acc::ZERO, |b| b[c])).collect();
    let rows = (PART / inner).max(1).next_multiple_of(if inner == 1 { n.max(1) } else { 1 });
    pieces(y, rows * inner, |i, y| {
        let x = &x[i * rows * inner..][..y.len()];
        dispatch_single::<T, _>(Apply {
            x,
            channel: i * rows % n,
            inner,
            mean,
            scale: &scale,
            bias: &bias,
            y,
        });
    });
}

struct Apply<'a, T: Float> {
    x: &'a [T],
    /// The channel of the first row.
    channel: usize,
    inner: usize,
    mean: &'a [T::Acc],
    scale: &'a [T::Acc],
    bias: &'a [T::Acc],
    y: &'a mut [T],
}

impl<T: Float> Kernel for Apply<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let Apply { x, channel, inner, mean, scale, bias, y } = self;
        let n = mean.len();
        if inner == 1 {
            for (x, y) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)) {
                for c in 0..n {
                    y[c] = ((T::Acc::load(x[c]) - mean[c]) * scale[c] + bias[c]).store();
                }
            }
            return;
        }
        for (r, (x, y)) in x.chunks_exact(inner).zip(y.chunks_exact_mut(inner)).enumerate() {
            let c = (channel + r) % n;
            let (mean, scale, bias) = (mean[c], scale[c], bias[c]);
            for (y, &x) in y.iter_mut().zip(x) {
                *y = ((T::Acc::load(x) - mean) * scale + bias).store();
            }
        }
    }
}

/// The gradients of batch normalisation; slices that are empty are not wanted.
pub struct BatchGrads<'a, T: Float> {
    /// For the input.
    pub x: &'a mut [T],
    /// For the weight.
    pub weight: &'a mut [T::Acc],
    /// For the bias.
    pub bias: &'a mut [T::Acc],
}

/// The gradients from the gradient `g` for the result, the input and the statistics that it was normalised with.
pub fn batch_norm_backward<T: Float>(
    x: &[T],
    g: &[T],
    norm: &BatchNorm,
    [mean, var]: [&[f64]; 2],
    weight: Option<&[T::Acc]>,
    grads: BatchGrads<'_, T>,
) {
    let Axis { outer, n, inner } = norm.axis;
    let (mean, invstd) = &norm.shift_and_scale::<T::Acc>(mean, var);
    // For each channel the sums of g and of g * (x - mean).
    let (mut sum, mut dot) = (vec![T::Acc::ZERO; n], vec![T::Acc::ZERO; n]);
    if inner == 1 {
        // One product per element, then columns as in any reduction.
        let mut products = vec![T::Acc::ZERO; x.len()];
        let rows = (PART / n).max(1) * n;
        pieces(&mut products, rows, |i, p| {
            let part = i * rows..i * rows + p.len();
            dispatch_single::<T, _>(Products { x: &x[part.clone()], g: &g[part], mean, out: p });
        });
        let columns = Axis { outer: 1, n: outer, inner: n };
        fold::<Sum<T, T::Acc>>(g, columns, &[], &mut sum);
        fold::<Sum<T::Acc, T::Acc>>(&products, columns, &[], &mut dot);
    } else {
        let (mut sums, mut dots) = (vec![T::Acc::ZERO; outer * n], vec![T::Acc::ZERO; outer * n]);
        let rows = (PART / inner).max(1);
        let count = (outer * n).div_ceil(rows);
        pieces2(&mut sums, rows, &mut dots, rows, count, |i, sums, dots| {
            let part = i * rows * inner..(i * rows + sums.len()) * inner;
            let (x, g) = (&x[part.clone()], &g[part]);
            dispatch_single::<T, _>(RowSums { x, g, first: i * rows, inner, mean, sums, dots });
        });
        let columns = Axis { outer: 1, n: outer, inner: n };
        fold::<Sum<T::Acc, T::Acc>>(&sums, columns, &[], &mut sum);
        fold::<Sum<T::Acc, T::Acc>>(&dots, columns, &[], &mut dot);
    }
    for (gw, c) in grads.weight.iter_mut().zip(0..) {
        *gw = dot[c] * invstd[c];
    }
    for (gb, &s) in grads.bias.iter_mut().zip(&sum) {
        *gb = s;
    }
    if grads.x.is_empty() {
        return;
    }
    // gx = scale * (g - shift - (x - mean) * slope)
    let count = T::Acc::of((outer * inner) as f64);
    let zero = T::Acc::ZERO;
    let scale: Vec<T::Acc> = (0..n).map(|c| invstd[c] * weight.map_or(T::Acc::ONE, |w| w[c])).collect();
    let shift: Vec<T::Acc> = (0..n).map(|c| if norm.own { sum[c] / count } else { zero }).collect();
    let slope: Vec<T::Acc> =
        (0..n).map(|c| if norm.own { dot[c] / count * invstd[c] * invstd[c] } else { zero }).collect();
    let rows = (PART / inner).max(1).next_multiple_of(if inner == 1 { n.max(1) } else { 1 });
    pieces(grads.x, rows * inner, |i, gx| {
        let part = i * rows * inner..i * rows * inner + gx.len();
        let (x, g) = (&x[part.clone()], &g[part]);
        let channel = i * rows % n;
        dispatch_single::<T, _>(Gradient {
            x,
            g,
            channel,
            inner,
            mean,
            scale: &scale,
            shift: &shift,
            slope: &slope,
            gx,
        });
    });
}

struct Products<'a, T: Float> {
    x: &'a [T],
    g: &'a [T],
    mean: &'a [T::Acc],
    out: &'a mut [T::Acc],
}

impl<T: Float> Kernel for Products<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let n = self.mean.len();
        for ((x, g), out) in
            self.x.chunks_exact(n).zip(self.g.chunks_exact(n)).zip(self.out.chunks_exact_mut(n))
        {
            for c in 0..n {
                out[c] = T::Acc::load(g[c]) * (T::Acc::load(x[c]) - self.mean[c]);
            }
        }
    }
}

struct RowSums<'a, T: Float> {
    x: &'a [T],
    g: &'a [T],
    /// The number of the first row.
    first: usize,
    inner: usize,
    mean: &'a [T::Acc],
    sums: &'a mut [T::Acc],
    dots: &'a mut [T::Acc],
}

impl<T: Float> Kernel for RowSums<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let RowSums { x, g, first, inner, mean, sums, dots } = self;
        for (r, (x, g)) in x.chunks_exact(inner).zip(g.chunks_exact(inner)).enumerate() {
            (sums[r], dots[r]) = sum_and_dot::<T, A>(x, g, mean[(first + r) % mean.len()]);
        }
    }
}

/// The sums of `g` and of `g * (x - mean)`.
#[inline(always)]
pub(super) fn sum_and_dot<T: Float, A: Arch>(x: &[T], g: &[T], mean: T::Acc) -> (T::Acc, T::Acc) {
    let mut products = [T::Acc::ZERO; 1024];
    let (mut sum, mut dot) = (T::Acc::ZERO, T::Acc::ZERO);
    for (x, g) in x.chunks(1024).zip(g.chunks(1024)) {
        let products = &mut products[..x.len()];
        for ((p, &x), &g) in products.iter_mut().zip(x).zip(g) {
            *p = T::Acc::load(g) * (T::Acc::load(x) - mean);
        }
        sum += row_chunk::<Sum<T, T::Acc>, A>(g, T::Acc::ZERO);
        dot += row_chunk::<Sum<T::Acc, T::Acc>, A>(products, T::Acc::ZERO);
    }
    (sum, dot)
}

struct Gradient<'a, T: Float> {
    x: &'a [T],
    g: &'a [T],
    /// The channel of the first row.
    channel: usize,
    inner: usize,
    mean: &'a [T::Acc],
    scale: &'a [T::Acc],
    shift: &'a [T::Acc],
    slope: &'a [T::Acc],
    gx: &'a mut [T],
}

impl<T: Float> Kernel for Gradient<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let Gradient { x, g, channel, inner, mean, scale, shift, slope, gx } = self;
        let n = mean.len();
        let one = |x: T, g: T, m: T::Acc, scale: T::Acc, shift: T::Acc, slope: T::Acc| {
            (scale * (T::Acc::load(g) - shift - (T::Acc::load(x) - m) * slope)).store()
        };
        if inner == 1 {
            for ((x, g), gx) in x.chunks_exact(n).zip(g.chunks_exact(n)).zip(gx.chunks_exact_mut(n)) {
                for c in 0..n {
                    gx[c] = one(x[c], g[c], mean[c], scale[c], shift[c], slope[c]);
                }
            }
            return;
        }
        let rows = x.chunks_exact(inner).zip(g.chunks_exact(inner)).zip(gx.chunks_exact_mut(inner));
        for (r, ((x, g), gx)) in rows.enumerate() {
            let c = (channel + r) % n;
            let (m, scale, shift, slope) = (mean[c], scale[c], shift[c], slope[c]);
            for ((gx, &x), &g) in gx.iter_mut().zip(x).zip(g) {
                *gx = one(x, g, m, scale, shift, slope);
            }
        }
    }
}
