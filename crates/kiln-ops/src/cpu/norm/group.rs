//! Group normalisation: a row is what a group of channels has in one sample. It is normalised by its own mean and
//! deviation and then scaled and shifted channel by channel. Instance norm is the case of one channel in each group.

use super::batch::sum_and_dot;
use crate::cpu::arch::{Arch, Kernel, dispatch_single};
use crate::cpu::real::Real;
use crate::cpu::reduce::{Axis, SquaresFrom, Sum, fold, whole_row};
use crate::cpu::split::pieces2;

/// The shape `[batch, groups, channels, inner]` that the input is seen in, and what rows are normalised by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupNorm {
    /// Groups of a sample.
    pub groups: usize,
    /// Channels of a group.
    pub channels: usize,
    /// Elements of a channel.
    pub inner: usize,
    /// Added to the variance.
    pub eps: f64,
}

impl GroupNorm {
    /// The elements of a row.
    pub fn row(&self) -> usize {
        self.channels * self.inner
    }

    /// How many rows are one task.
    fn rows(&self) -> usize {
        (16384 / self.row()).max(1)
    }

    /// The number of the first channel of a row.
    #[inline(always)]
    fn first_channel(&self, row: usize) -> usize {
        row % self.groups * self.channels
    }
}

/// Normalises the rows of `x`, then multiplies by `weight` and adds `bias`, one of each for every channel. `stats` takes
/// mean and inverse deviation of each row, which [`group_norm_backward`] needs.
pub fn group_norm<R: Real>(
    x: &[R],
    norm: GroupNorm,
    weight: Option<&[R]>,
    bias: Option<&[R]>,
    y: &mut [R],
    stats: &mut [R],
) {
    let (n, rows) = (norm.row(), norm.rows());
    let count = (stats.len() / 2).div_ceil(rows);
    pieces2(y, rows * n, stats, 2 * rows, count, |i, y, stats| {
        let x = &x[i * rows * n..][..y.len()];
        dispatch_single::<R, _>(Forward { x, norm, first: i * rows, weight, bias, y, stats });
    });
}

struct Forward<'a, R> {
    x: &'a [R],
    norm: GroupNorm,
    /// The number of the first row.
    first: usize,
    weight: Option<&'a [R]>,
    bias: Option<&'a [R]>,
    y: &'a mut [R],
    stats: &'a mut [R],
}

impl<R: Real> Kernel for Forward<'_, R> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let Forward { x, norm, first, weight, bias, y, stats } = self;
        let (n, inner) = (norm.row(), norm.inner);
        let (count, eps) = (R::of(n as f64), R::of(norm.eps));
        let rows = x.chunks_exact(n).zip(y.chunks_exact_mut(n)).zip(stats.chunks_exact_mut(2));
        for (r, ((x, y), stats)) in rows.enumerate() {
            let mean = whole_row::<Sum<R, R>, A>(x, R::ZERO) / count;
            let scale = R::ONE / (whole_row::<SquaresFrom<R>, A>(x, mean) / count + eps).sqrt();
            (stats[0], stats[1]) = (mean, scale);
            let channels = x.chunks_exact(inner).zip(y.chunks_exact_mut(inner));
            for (c, (x, y)) in (norm.first_channel(first + r)..).zip(channels) {
                let scale = weight.map_or(scale, |w| scale * w[c]);
                let bias = bias.map_or(R::ZERO, |b| b[c]);
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = (x - mean) * scale + bias;
                }
            }
        }
    }
}

/// The gradients of [`group_norm`], from the gradient `g` for its result and its `stats`. `gx`, `gweight` and `gbias` are
/// written unless they are empty.
pub fn group_norm_backward<R: Real>(
    x: &[R],
    g: &[R],
    norm: GroupNorm,
    stats: &[R],
    weight: Option<&[R]>,
    gx: &mut [R],
    gweight: &mut [R],
    gbias: &mut [R],
) {
    let (n, rows) = (norm.row(), norm.rows());
    let count = stats.len() / 2;
    // For each row its channels' parts of the gradient for the weight, then those of the gradient for the bias.
    let piece = 2 * norm.channels;
    let mut parts = vec![R::ZERO; count * piece];
    pieces2(gx, rows * n, &mut parts, rows * piece, count.div_ceil(rows), |i, gx, parts| {
        let first = i * rows;
        let of = first * n..x.len().min((first + rows) * n);
        let (x, g, stats) = (&x[of.clone()], &g[of], &stats[2 * first..]);
        dispatch_single::<R, _>(Backward { x, g, norm, first, stats, weight, gx, parts });
    });
    let samples = Axis { outer: 1, n: count / norm.groups, inner: norm.groups * piece };
    let mut sums = vec![R::ZERO; samples.inner];
    fold::<Sum<R, R>>(&parts, samples, &[], &mut sums);
    for (out, at) in [(gweight, 0), (gbias, norm.channels)] {
        for (out, sums) in out.chunks_exact_mut(norm.channels).zip(sums.chunks_exact(piece)) {
            out.copy_from_slice(&sums[at..][..norm.channels]);
        }
    }
}

struct Backward<'a, R> {
    x: &'a [R],
    g: &'a [R],
    norm: GroupNorm,
    /// The number of the first row.
    first: usize,
    stats: &'a [R],
    weight: Option<&'a [R]>,
    gx: &'a mut [R],
    parts: &'a mut [R],
}

impl<R: Real> Kernel for Backward<'_, R> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let Backward { x, g, norm, first, stats, weight, gx, parts } = self;
        let GroupNorm { channels, inner, .. } = norm;
        let n = norm.row();
        let count = R::of(n as f64);
        for (r, (x, g)) in x.chunks_exact(n).zip(g.chunks_exact(n)).enumerate() {
            let (mean, scale) = (stats[2 * r], stats[2 * r + 1]);
            let own = norm.first_channel(first + r);
            let weight = |c: usize| weight.map_or(R::ONE, |w| w[own + c]);
            let (by_weight, by_bias) = parts[2 * r * channels..][..2 * channels].split_at_mut(channels);
            // The sums over the row of w g and of w g (x - mean).
            let (mut sum, mut dot) = (R::ZERO, R::ZERO);
            for (c, (x, g)) in x.chunks_exact(inner).zip(g.chunks_exact(inner)).enumerate() {
                let (of_g, of_product) = sum_and_dot::<R, A>(x, g, mean);
                (by_weight[c], by_bias[c]) = (of_product * scale, of_g);
                sum += weight(c) * of_g;
                dot += weight(c) * of_product;
            }
            if gx.is_empty() {
                continue;
            }
            // gx = scale (w g - mean(w g) - h mean(w g h)) with h = (x - mean) scale
            let (shift, slope) = (scale * (sum / count), scale * scale * scale * (dot / count));
            let gx = &mut gx[r * n..][..n];
            let parts = x.chunks_exact(inner).zip(g.chunks_exact(inner)).zip(gx.chunks_exact_mut(inner));
            for (c, ((x, g), gx)) in parts.enumerate() {
                let scale = scale * weight(c);
                for ((gx, &x), &g) in gx.iter_mut().zip(x).zip(g) {
                    *gx = scale * g - shift - (x - mean) * slope;
                }
            }
        }
    }
}
