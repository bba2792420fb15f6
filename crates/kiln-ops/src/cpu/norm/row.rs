//! Normalisation of rows: layer norm subtracts the mean and divides by the deviation, RMS norm divides by the root of
//! the mean square. Group and instance norm are layer norm of other rows, without weights.

use crate::cpu::arch::{Arch, Kernel, dispatch};
use crate::cpu::real::{Float, Number, Real};
use crate::cpu::reduce::{Axis, Sum, SumSquares, fold, row_chunk};
use crate::cpu::split::{pieces, pieces2};

/// What a row is normalised by.
#[derive(Clone, Copy, Debug)]
pub struct RowNorm {
    /// Whether the mean is subtracted (layer norm) or not (RMS norm).
    pub center: bool,
    /// Added to the variance or mean square.
    pub eps: f64,
}

/// Normalises the rows of `n` elements of `x`, then multiplies by `weight` and adds `bias`, one of each for every
/// column. `stats` takes mean and inverse deviation of each row, which [`row_norm_backward`] needs.
pub fn row_norm<T: Float>(
    x: &[T],
    n: usize,
    options: RowNorm,
    weight: Option<&[T::Acc]>,
    bias: Option<&[T::Acc]>,
    y: &mut [T],
    stats: &mut [T::Acc],
) {
    if x.is_empty() {
        return;
    }
    let rows = (16384 / n).max(1);
    let count = (x.len() / n).div_ceil(rows);
    let eps = T::Acc::of(options.eps);
    T::read(x, |x| {
        T::written(y, |y| {
            pieces2(y, rows * n, stats, 2 * rows, count, |i, y, stats| {
                let x = &x[i * rows * n..][..y.len()];
                dispatch(Forward { x, n, center: options.center, eps, weight, bias, y, stats });
            });
        });
    });
}

struct Forward<'a, R> {
    x: &'a [R],
    n: usize,
    center: bool,
    eps: R,
    weight: Option<&'a [R]>,
    bias: Option<&'a [R]>,
    y: &'a mut [R],
    stats: &'a mut [R],
}

/// The sum of a row of any length.
#[inline(always)]
fn row_sum<R: Real, A: Arch>(x: &[R]) -> R {
    x.chunks(65536).fold(R::ZERO, |sum, x| sum + row_chunk::<Sum<R, R>, A>(x, R::ZERO))
}

/// The sum of the squares of a row of any length.
#[inline(always)]
fn row_squares<R: Real, A: Arch>(x: &[R]) -> R {
    x.chunks(65536).fold(R::ZERO, |sum, x| sum + row_chunk::<SumSquares<R>, A>(x, R::ZERO))
}

impl<R: Real> Kernel for Forward<'_, R> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let Forward { x, n, center, eps, weight, bias, y, stats } = self;
        let count = R::of(n as f64);
        for ((x, y), stats) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)).zip(stats.chunks_exact_mut(2)) {
            let mean = if center { row_sum::<R, A>(x) / count } else { R::ZERO };
            for (y, &x) in y.iter_mut().zip(x) {
                *y = x - mean;
            }
            let scale = R::ONE / (row_squares::<R, A>(y) / count + eps).sqrt();
            (stats[0], stats[1]) = (mean, scale);
            match (weight, bias) {
                (Some(w), Some(b)) => {
                    for ((y, &w), &b) in y.iter_mut().zip(w).zip(b) {
                        *y = *y * scale * w + b;
                    }
                }
                (Some(w), None) => {
                    for (y, &w) in y.iter_mut().zip(w) {
                        *y = *y * scale * w;
                    }
                }
                (None, bias) => {
                    for y in y.iter_mut() {
                        *y = *y * scale;
                    }
                    for (y, &b) in y.iter_mut().zip(bias.unwrap_or(&[])) {
                        *y += b;
                    }
                }
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
    n: usize,
    options: RowNorm,
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
    let center = options.center;
    T::read(x, |x| {
        T::read(g, |g| {
            let rows = (16384 / n).max(1);
            T::written(gx, |gx| {
                pieces(gx, rows * n, |i, gx| {
                    let part = i * rows * n..i * rows * n + gx.len();
                    let stats = &stats[2 * i * rows..];
                    dispatch(Backward { x: &x[part.clone()], g: &g[part], n, center, stats, weight, gx });
                });
            });
            if !gweight.is_empty() {
                let blocks = (x.len() / n).div_ceil(BLOCK);
                let mut parts = vec![T::Acc::ZERO; blocks * n];
                pieces(&mut parts, n, |i, out| {
                    let part = i * BLOCK * n..x.len().min((i + 1) * BLOCK * n);
                    dispatch(Weights {
                        x: &x[part.clone()],
                        g: &g[part],
                        stats: &stats[2 * i * BLOCK..],
                        out,
                    });
                });
                let columns = Axis { outer: 1, n: blocks, inner: n };
                fold::<Sum<T::Acc, T::Acc>>(&parts, columns, &[], gweight);
            }
            if !gbias.is_empty() {
                let columns = Axis { outer: 1, n: x.len() / n, inner: n };
                fold::<Sum<T::Acc, T::Acc>>(g, columns, &[], gbias);
            }
        })
    });
}

struct Backward<'a, R> {
    x: &'a [R],
    g: &'a [R],
    n: usize,
    center: bool,
    stats: &'a [R],
    weight: Option<&'a [R]>,
    gx: &'a mut [R],
}

impl<R: Real> Kernel for Backward<'_, R> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let Backward { x, g, n, center, stats, weight, gx } = self;
        let count = R::of(n as f64);
        // For a row with normalised elements h and gradients w g for them:
        // gx = scale (w g - mean(w g) - h mean(w g h)), the first mean only if the row was centred.
        let mut products = vec![R::ZERO; n];
        let rows = x.chunks_exact(n).zip(g.chunks_exact(n)).zip(gx.chunks_exact_mut(n));
        for (((x, g), gx), stats) in rows.zip(stats.chunks_exact(2)) {
            let (mean, scale) = (stats[0], stats[1]);
            match weight {
                Some(w) => {
                    for ((gx, &g), &w) in gx.iter_mut().zip(g).zip(w) {
                        *gx = g * w;
                    }
                }
                None => gx.copy_from_slice(g),
            }
            for ((p, &wg), &x) in products.iter_mut().zip(gx.iter()).zip(x) {
                *p = wg * ((x - mean) * scale);
            }
            let dot = row_sum::<R, A>(&products) / count;
            let shift = if center { row_sum::<R, A>(gx) / count } else { R::ZERO };
            for (gx, &x) in gx.iter_mut().zip(x) {
                *gx = scale * (*gx - shift - (x - mean) * scale * dot);
            }
        }
    }
}

/// A block's part of the gradient for the weight: the sum over its rows of g times the normalised element.
struct Weights<'a, R> {
    x: &'a [R],
    g: &'a [R],
    stats: &'a [R],
    out: &'a mut [R],
}

impl<R: Real> Kernel for Weights<'_, R> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let Weights { x, g, stats, out } = self;
        let n = out.len();
        out.fill(R::ZERO);
        for ((x, g), stats) in x.chunks_exact(n).zip(g.chunks_exact(n)).zip(stats.chunks_exact(2)) {
            let (mean, scale) = (stats[0], stats[1]);
            for ((out, &x), &g) in out.iter_mut().zip(x).zip(g) {
                *out += g * ((x - mean) * scale);
            }
        }
    }
}
