//! Softmax and its logarithm, the losses made from them, and their derivatives.
//!
//! A line is the elements along the axis; every line is worked on while it is in the nearest cache.

mod cross_entropy;
mod lines;

pub use cross_entropy::{CrossEntropy, Reduction, cross_entropy, cross_entropy_backward};
pub use cross_entropy::{nll_loss, nll_loss_backward};

use self::lines::{LineOp, for_lines};
use super::arch::Arch;
use super::real::{Float, Real};
use super::reduce::{Axis, Max, Sum, larger, whole_row};

/// `e^x` over the sum of `e^x` along the axis or, with `log`, the logarithm of that.
pub fn softmax<T: Float>(x: &[T], axis: Axis, log: bool, y: &mut [T]) {
    T::read(x, |x| T::written(y, |y| for_lines(&Forward { x, log }, axis, y, &mut [])));
}

/// The gradient for the input of [`softmax`], from its result `y` and the gradient `g` for that.
pub fn softmax_backward<T: Float>(y: &[T], g: &[T], axis: Axis, log: bool, gx: &mut [T]) {
    T::read(y, |y| {
        T::read(g, |g| T::written(gx, |gx| for_lines(&Backward { y, g, log }, axis, gx, &mut [])))
    });
}

struct Forward<'a, R> {
    x: &'a [R],
    log: bool,
}

impl<R: Real> LineOp<R> for Forward<'_, R> {
    fn inputs(&self) -> [&[R]; 2] {
        [self.x, &[]]
    }

    #[inline(always)]
    fn row<A: Arch>(&self, _line: usize, [x, _]: [&[R]; 2], y: &mut [R], _stats: &mut [R]) {
        let max = whole_row::<Max<R>, A>(x, R::LOWEST);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = (x - max).exp::<A>();
        }
        let sum = whole_row::<Sum<R, R>, A>(y, R::ZERO);
        if self.log {
            let log_sum = sum.ln::<A>();
            for (y, &x) in y.iter_mut().zip(x) {
                *y = (x - max) - log_sum;
            }
        } else {
            let scale = R::ONE / sum;
            for y in y {
                *y = *y * scale;
            }
        }
    }

    #[inline(always)]
    fn columns<A: Arch, const W: usize>(
        &self,
        _line: usize,
        [x, _]: [&[R]; 2],
        [n, stride, width]: [usize; 3],
        y: &mut [R],
        _stats: &mut [R],
    ) {
        let max = column_max::<R, W>(x, [n, stride, width]);
        let sum = column_sum::<R, W>([n, stride, width], |r, c| {
            let e = (x[r * stride + c] - max[c]).exp::<A>();
            y[r * stride + c] = e;
            e
        });
        let last: [R; W] = std::array::from_fn(|c| if self.log { sum[c].ln::<A>() } else { R::ONE / sum[c] });
        for r in 0..n {
            let (x, y) = (&x[r * stride..][..width], &mut y[r * stride..][..width]);
            for c in 0..width {
                y[c] = if self.log { (x[c] - max[c]) - last[c] } else { y[c] * last[c] };
            }
        }
    }
}

/// The largest element of each of `width` columns. `size` is rows, stride, width.
#[inline(always)]
fn column_max<R: Real, const W: usize>(x: &[R], [n, stride, width]: [usize; 3]) -> [R; W] {
    let mut max = [R::LOWEST; W];
    for r in 0..n {
        let x = &x[r * stride..][..width];
        for c in 0..width {
            max[c] = larger(max[c], x[c]);
        }
    }
    max
}

/// The sum over each column of a function of row and column, in blocks of 32 rows.
#[inline(always)]
fn column_sum<R: Real, const W: usize>(
    [n, _, width]: [usize; 3],
    mut term: impl FnMut(usize, usize) -> R,
) -> [R; W] {
    let mut sum = [R::ZERO; W];
    for first in (0..n).step_by(32) {
        let mut part = [R::ZERO; W];
        for r in first..n.min(first + 32) {
            for (c, part) in part[..width].iter_mut().enumerate() {
                *part += term(r, c);
            }
        }
        for c in 0..width {
            sum[c] += part[c];
        }
    }
    sum
}

struct Backward<'a, R> {
    y: &'a [R],
    g: &'a [R],
    log: bool,
}

impl<R: Real> LineOp<R> for Backward<'_, R> {
    fn inputs(&self) -> [&[R]; 2] {
        [self.y, self.g]
    }

    #[inline(always)]
    fn row<A: Arch>(&self, _line: usize, [y, g]: [&[R]; 2], gx: &mut [R], _stats: &mut [R]) {
        if self.log {
            let sum = whole_row::<Sum<R, R>, A>(g, R::ZERO);
            for ((gx, &y), &g) in gx.iter_mut().zip(y).zip(g) {
                *gx = g - y.exp::<A>() * sum;
            }
        } else {
            for ((gx, &y), &g) in gx.iter_mut().zip(y).zip(g) {
                *gx = g * y;
            }
            let sum = whole_row::<Sum<R, R>, A>(gx, R::ZERO);
            for ((gx, &y), &g) in gx.iter_mut().zip(y).zip(g) {
                *gx = (g - sum) * y;
            }
        }
    }

    #[inline(always)]
    fn columns<A: Arch, const W: usize>(
        &self,
        _line: usize,
        [y, g]: [&[R]; 2],
        [n, stride, width]: [usize; 3],
        gx: &mut [R],
        _stats: &mut [R],
    ) {
        let sum = column_sum::<R, W>([n, stride, width], |r, c| {
            let g = g[r * stride + c];
            if self.log { g } else { g * y[r * stride + c] }
        });
        for r in 0..n {
            let (y, g) = (&y[r * stride..][..width], &g[r * stride..][..width]);
            let gx = &mut gx[r * stride..][..width];
            for c in 0..width {
                gx[c] = if self.log { g[c] - y[c].exp::<A>() * sum[c] } else { (g[c] - sum[c]) * y[c] };
            }
        }
    }
}

#[cfg(test)]
mod tests;
