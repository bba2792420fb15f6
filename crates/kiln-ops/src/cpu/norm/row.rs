//! Normalisation of rows: layer norm subtracts the mean and divides by the deviation, RMS norm divides by the root of
//! the mean square.

use crate::cpu::arch::{Arch, Kernel, dispatch_single};
use crate::cpu::real::{Float, Number, Real};
use crate::cpu::reduce::{Axis, SquaresFrom, Sum, fold, whole_row};
use crate::cpu::split::pieces2;
use crate::cpu::stream;

/// What a row is normalised by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowNorm {
    /// The elements of a row.
    pub n: usize,
    /// Whether the mean is subtracted (layer norm) or not (RMS norm).
    pub center: bool,
    /// Added to the variance or mean square.
    pub eps: f64,
}

/// Normalises the rows of `x`, then multiplies by `weight` and adds `bias`, one of each for every
/// column. `stats` takes mean and inverse deviation of each row, which [`row_norm_backward`] needs.
pub fn row_norm<T: Float>(
    x: &[T],
    norm: RowNorm,
    weight: Option<&[T::Acc]>,
    bias: Option<&[T::Acc]>,
    y: &mut [T],
    stats: &mut [T::Acc],
) {
    if x.is_empty() {
        return;
    }
    let RowNorm { n, center, eps } = norm;
    let rows = (16384 / n).max(1);
    let count = (x.len() / n).div_ceil(rows);
    let eps = T::Acc::of(eps);
    let streams = size_of_val(x) >= stream::STREAM_BYTES;
    T::read(x, |x| {
        T::written(y, |y| {
            pieces2(y, rows * n, stats, 2 * rows, count, |i, y, stats| {
                let x = &x[i * rows * n..][..y.len()];
                dispatch_single::<T, _>(Forward { x, n, center, eps, weight, bias, y, stats, streams });
            });
        });
    });
}

/// Elements of a row that are computed at once.
const STEP: usize = 1024;

struct Forward<'a, R> {
    x: &'a [R],
    n: usize,
    center: bool,
    eps: R,
    weight: Option<&'a [R]>,
    bias: Option<&'a [R]>,
    y: &'a mut [R],
    stats: &'a mut [R],
    /// Whether `y` is written past the caches.
    streams: bool,
}

impl<'a, R: Real> Kernel for Forward<'a, R> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let Forward { x, n, center, eps, weight, bias, y, stats, streams } = self;
        let count = R::of(n as f64);
        let mut buffer = [R::ZERO; STEP];
        let rows = x.chunks_exact(n).zip(y.chunks_exact_mut(n)).zip(stats.chunks_exact_mut(2));
        for (r, ((row, y), stats)) in rows.enumerate() {
            let mean = if center { whole_row::<Sum<R, R>, A>(row, R::ZERO) / count } else { R::ZERO };
            // The next row comes while this one is worked on.
            stream::prefetch(&x[(r + 1) * n..]);
            let scale = R::ONE / (whole_row::<SquaresFrom<R>, A>(row, mean) / count + eps).sqrt();
            (stats[0], stats[1]) = (mean, scale);
            for (i, (x, y)) in row.chunks(STEP).zip(y.chunks_mut(STEP)).enumerate() {
                let part = |t: &'a [R]| &t[i * STEP..][..x.len()];
                let (weight, bias) = (weight.map(part), bias.map(part));
                if streams {
                    let buffer = &mut buffer[..x.len()];
                    apply(x, [mean, scale], weight, bias, buffer);
                    stream::write(buffer, y);
                } else {
                    apply(x, [mean, scale], weight, bias, y);
                }
            }
        }
        if streams {
            stream::fence();
        }
    }
}

/// `(x - mean) * scale * weight + bias` with what is there.
#[inline(always)]
fn apply<R: Real>(x: &[R], [mean, scale]: [R; 2], weight: Option<&[R]>, bias: Option<&[R]>, y: &mut [R]) {
    match (weight, bias) {
        (Some(w), Some(b)) => {
            for (((y, &x), &w), &b) in y.iter_mut().zip(x).zip(w).zip(b) {
                *y = (x - mean) * scale * w + b;
            }
        }
        (Some(w), None) => {
            for ((y, &x), &w) in y.iter_mut().zip(x).zip(w) {
                *y = (x - mean) * scale * w;
            }
        }
        (None, bias) => {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = (x - mean) * scale;
            }
            for (y, &b) in y.iter_mut().zip(bias.unwrap_or(&[])) {
                *y += b;
            }
        }
    }
}

/// Rows whose parts of the gradients for weight and bias are added before the blocks' are.
const BLOCK: usize = 64;

/// The gradients of [`row_norm`], from the gradient `g` for its result and its `stats`. `gx`, `gweight` and `gbias` are
/// written unless they are empty.
pub fn row_norm_backward<T: Float>(
    x: &[T],
    g: &[T],
    norm: RowNorm,
    stats: &[T::Acc],
    weight: Option<&[T::Acc]>,
    gx: &mut [T],
    gweight: &mut [T::Acc],
    gbias: &mut [T::Acc],
) {
    if x.is_empty() {
        gweight.fill(T::Acc::ZERO);
        gbias.fill(T::Acc::ZERO);
        return;
    }
    let RowNorm { n, center, .. } = norm;
    let blocks = (x.len() / n).div_ceil(BLOCK);
    let wanted = !(gweight.is_empty() && gbias.is_empty());
    // For each block its part of the gradient for the weight, then that for the bias.
    let mut parts = vec![T::Acc::ZERO; if wanted { 2 * blocks * n } else { 0 }];
    T::read(x, |x| {
        T::read(g, |g| {
            T::written(gx, |gx| {
                let piece = if wanted { 2 * n } else { 0 };
                pieces2(gx, BLOCK * n, &mut parts, piece, blocks, |i, gx, parts| {
                    let rows = i * BLOCK * n..x.len().min((i + 1) * BLOCK * n);
                    let stats = &stats[2 * i * BLOCK..];
                    dispatch_single::<T, _>(Backward {
                        x: &x[rows.clone()],
                        g: &g[rows],
                        n,
                        center,
                        stats,
                        weight,
                        gx,
                        parts,
                    });
                });
            });
        })
    });
    if wanted {
        let mut sums = vec![T::Acc::ZERO; 2 * n];
        let columns = Axis { outer: 1, n: blocks, inner: 2 * n };
        fold::<Sum<T::Acc, T::Acc>>(&parts, columns, &[], &mut sums);
        gweight.iter_mut().zip(&sums[..n]).for_each(|(to, &v)| *to = v);
        gbias.iter_mut().zip(&sums[n..]).for_each(|(to, &v)| *to = v);
    }
}

/// The rows of a block.
struct Backward<'a, R> {
    x: &'a [R],
    g: &'a [R],
    n: usize,
    center: bool,
    stats: &'a [R],
    weight: Option<&'a [R]>,
    gx: &'a mut [R],
    parts: &'a mut [R],
}

impl<R: Real> Kernel for Backward<'_, R> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let Backward { x, g, n, center, stats, weight, gx, parts } = self;
        let count = R::of(n as f64);
        // For a row with normalised elements h and gradients w g for them:
        // gx = scale (w g - mean(w g) - h mean(w g h)), the first mean only if the row was centred.
        let ones = if weight.is_none() { vec![R::ONE; n] } else { Vec::new() };
        let weight = &weight.unwrap_or(&ones)[..n];
        let (mut direct, mut products) = (vec![R::ZERO; n], vec![R::ZERO; n]);
        let (direct, products) = (&mut direct[..n], &mut products[..n]);
        for (r, (x, g)) in x.chunks_exact(n).zip(g.chunks_exact(n)).enumerate() {
            let (mean, scale) = (stats[2 * r], stats[2 * r + 1]);
            if parts.is_empty() {
                for i in 0..n {
                    direct[i] = g[i] * weight[i];
                    products[i] = direct[i] * ((x[i] - mean) * scale);
                }
            } else {
                let (gw, gb) = parts.split_at_mut(n);
                let gb = &mut gb[..n];
                for i in 0..n {
                    let h = (x[i] - mean) * scale;
                    gw[i] += g[i] * h;
                    gb[i] += g[i];
                    direct[i] = g[i] * weight[i];
                    products[i] = direct[i] * h;
                }
            }
            if gx.is_empty() {
                continue;
            }
            let dot = whole_row::<Sum<R, R>, A>(products, R::ZERO) / count;
            let shift = if center { whole_row::<Sum<R, R>, A>(direct, R::ZERO) / count } else { R::ZERO };
            for ((gx, &x), &d) in gx[r * n..][..n].iter_mut().zip(x).zip(&*direct) {
                *gx = scale * (d - shift - (x - mean) * scale * dot);
            }
        }
    }
}
