//! Average pooling.

use super::{PoolShape, padded, planes_per_task};
use crate::cpu::arch::{Arch, Kernel, dispatch_single};
use crate::cpu::real::{Float, Real};
use crate::cpu::split::pieces;

/// What a window's sum is divided by.
#[derive(Clone, Copy, Debug)]
pub struct AvgPool {
    /// Whether padding counts as elements of the window.
    pub count_include_pad: bool,
    /// A divisor for all windows instead of the number of their elements.
    pub divisor: Option<usize>,
}

impl Default for AvgPool {
    fn default() -> AvgPool {
        AvgPool { count_include_pad: true, divisor: None }
    }
}

impl AvgPool {
    /// How many elements the windows along an axis count.
    fn counts(self, shape: &PoolShape, axis: usize) -> Vec<usize> {
        let (n, p) = (shape.input[axis], shape.padding[axis]);
        let count = |o: usize| {
            let start = o * shape.stride[axis];
            // A window of the last row may reach beyond the padding, which never counts. In padded coordinates.
            let end = (start + shape.kernel[axis]).min(n + 2 * p);
            if self.count_include_pad { end - start } else { end.min(n + p) - start.max(p) }
        };
        (0..shape.output[axis]).map(count).collect()
    }

    /// The divisors of a row of windows: a function of its place and the column.
    fn divisors<R: Real>(self, shape: &PoolShape) -> impl Fn(usize, usize, &mut [R]) + Sync {
        let counts = [0, 1, 2].map(|axis| self.counts(shape, axis));
        move |d: usize, h: usize, out: &mut [R]| match self.divisor {
            Some(v) => out.fill(R::of(v as f64)),
            None => {
                let rows = counts[0][d] * counts[1][h];
                for (o, &c) in out.iter_mut().zip(&counts[2]) {
                    *o = R::of((rows * c) as f64);
                }
            }
        }
    }

    /// The factor of all windows of the 2 by 2 case.
    fn factor<R: Real>(self) -> R {
        R::ONE / R::of(self.divisor.unwrap_or(4) as f64)
    }

    /// Dividing by a power of two is multiplying; other divisors take the general loops.
    fn is_sweep(self, shape: &PoolShape) -> bool {
        shape.is_two_by_two() && self.divisor.is_none_or(usize::is_power_of_two)
    }
}

/// The mean of each window. The dilation is 1.
pub fn avg_pool<T: Float>(x: &[T], shape: &PoolShape, options: AvgPool, y: &mut [T]) {
    let (from, to) = (shape.input_plane(), shape.output_plane());
    let many = planes_per_task(from);
    let divisors = options.divisors::<T::Acc>(shape);
    T::read(x, |x| {
        T::written(y, |y| {
            pieces(y, many * to, |i, y| {
                let x = &x[i * many * from..][..y.len() / to * from];
                if options.is_sweep(shape) {
                    dispatch_single::<T, _>(TwoByTwo { x, shape, factor: options.factor(), y });
                } else {
                    dispatch_single::<T, _>(AnyWindow { x, shape, divisors: &divisors, y });
                }
            });
        });
    });
}

struct TwoByTwo<'a, R> {
    x: &'a [R],
    shape: &'a PoolShape,
    factor: R,
    y: &'a mut [R],
}

impl<R: Real> Kernel for TwoByTwo<'_, R> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let TwoByTwo { x, shape, factor, y } = self;
        let ([_, height, w], [_, rows, columns]) = (shape.input, shape.output);
        for row in 0..y.len() / columns {
            let (start, out) = ((row / rows * height + 2 * (row % rows)) * w, row * columns);
            let width = padded(columns, (y.len() - out).min((x.len() - start - w) / 2));
            let (r0, r1) = (&x[start..][..2 * width], &x[start + w..][..2 * width]);
            for (i, y) in y[out..][..width].iter_mut().enumerate() {
                *y = ((r0[2 * i] + r0[2 * i + 1]) + (r1[2 * i] + r1[2 * i + 1])) * factor;
            }
        }
    }
}

struct AnyWindow<'a, R, D> {
    x: &'a [R],
    shape: &'a PoolShape,
    divisors: &'a D,
    y: &'a mut [R],
}

impl<R: Real, D: Fn(usize, usize, &mut [R])> Kernel for AnyWindow<'_, R, D> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let AnyWindow { x, shape, divisors, y } = self;
        let ([_, height, w], [out_d, out_h, out_w]) = (shape.input, shape.output);
        let mut divisor = vec![R::ZERO; out_w];
        for (row, y) in y.chunks_exact_mut(out_w).enumerate() {
            let (p, od, oh) = (row / (out_d * out_h), row / out_h % out_d, row % out_h);
            let x = &x[p * shape.input_plane()..][..shape.input_plane()];
            y.fill(R::ZERO);
            for kd in 0..shape.kernel[0] {
                let Some(d) = shape.place(0, od, kd) else { continue };
                for kh in 0..shape.kernel[1] {
                    let Some(h) = shape.place(1, oh, kh) else { continue };
                    for kw in 0..shape.kernel[2] {
                        let (windows, first) = shape.columns(kw);
                        let x = &x[(d * height + h) * w + first..];
                        match shape.stride[2] {
                            1 => gather(x, 1, &mut y[windows]),
                            2 => gather(x, 2, &mut y[windows]),
                            s => gather(x, s, &mut y[windows]),
                        }
                    }
                }
            }
            divisors(od, oh, &mut divisor);
            for (y, &d) in y.iter_mut().zip(&divisor) {
                *y = *y / d;
            }
        }
    }
}

/// Adds every `stride`th element to its window's sum.
#[inline(always)]
fn gather<R: Real>(x: &[R], stride: usize, y: &mut [R]) {
    assert!(y.is_empty() || x.len() > (y.len() - 1) * stride);
    for (i, y) in y.iter_mut().enumerate() {
        // SAFETY: checked above for the last `i`.
        *y += unsafe { *x.get_unchecked(i * stride) };
    }
}

/// The gradient for the input of [`avg_pool`], from the gradient `g` for its result.
pub fn avg_pool_backward<T: Float>(g: &[T], shape: &PoolShape, options: AvgPool, gx: &mut [T]) {
    let (from, to) = (shape.input_plane(), shape.output_plane());
    let many = planes_per_task(from);
    let divisors = options.divisors::<T::Acc>(shape);
    let tiled = options.is_sweep(shape)
        && (shape.input[1], shape.input[2]) == (2 * shape.output[1], 2 * shape.output[2]);
    T::read(g, |g| {
        T::written(gx, |gx| {
            pieces(gx, many * from, |i, gx| {
                let g = &g[i * many * to..][..gx.len() / from * to];
                if tiled {
                    dispatch_single::<T, _>(TwoByTwoBackward { g, shape, factor: options.factor(), gx });
                } else {
                    dispatch_single::<T, _>(AnyWindowBackward { g, shape, divisors: &divisors, gx });
                }
            });
        });
    });
}

struct TwoByTwoBackward<'a, R> {
    g: &'a [R],
    shape: &'a PoolShape,
    factor: R,
    gx: &'a mut [R],
}

impl<R: Real> Kernel for TwoByTwoBackward<'_, R> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let TwoByTwoBackward { g, shape, factor, gx } = self;
        let (w, columns) = (shape.input[2], shape.output[2]);
        // Rows of the gradient and pairs of rows of the result follow each other without gaps.
        for row in 0..g.len() / columns {
            let from = row * columns;
            for start in [2 * row * w, (2 * row + 1) * w] {
                let width = padded(columns, (g.len() - from).min((gx.len() - start) / 2));
                let (g, gx) = (&g[from..][..width], &mut gx[start..][..2 * width]);
                for i in 0..width {
                    let v = g[i] * factor;
                    gx[2 * i] = v;
                    gx[2 * i + 1] = v;
                }
            }
        }
    }
}

struct AnyWindowBackward<'a, R, D> {
    g: &'a [R],
    shape: &'a PoolShape,
    divisors: &'a D,
    gx: &'a mut [R],
}

impl<R: Real, D: Fn(usize, usize, &mut [R])> Kernel for AnyWindowBackward<'_, R, D> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let AnyWindowBackward { g, shape, divisors, gx } = self;
        let ([_, height, w], [out_d, out_h, out_w]) = (shape.input, shape.output);
        let plane = shape.input_plane();
        gx.fill(R::ZERO);
        let mut share = vec![R::ZERO; out_w];
        for (row, g) in g.chunks_exact(out_w).enumerate() {
            let (p, od, oh) = (row / (out_d * out_h), row / out_h % out_d, row % out_h);
            let gx = &mut gx[p * plane..][..plane];
            divisors(od, oh, &mut share);
            for (s, &g) in share.iter_mut().zip(g) {
                *s = g / *s;
            }
            for kd in 0..shape.kernel[0] {
                let Some(d) = shape.place(0, od, kd) else { continue };
                for kh in 0..shape.kernel[1] {
                    let Some(h) = shape.place(1, oh, kh) else { continue };
                    for kw in 0..shape.kernel[2] {
                        let (windows, first) = shape.columns(kw);
                        let gx = &mut gx[(d * height + h) * w + first..];
                        match shape.stride[2] {
                            1 => scatter(&share[windows], 1, gx),
                            2 => scatter(&share[windows], 2, gx),
                            s => scatter(&share[windows], s, gx),
                        }
                    }
                }
            }
        }
    }
}

/// Adds each window's share to every `stride`th element.
#[inline(always)]
fn scatter<R: Real>(share: &[R], stride: usize, gx: &mut [R]) {
    assert!(share.is_empty() || gx.len() > (share.len() - 1) * stride);
    for (i, &s) in share.iter().enumerate() {
        // SAFETY: checked above for the last `i`.
        *unsafe { gx.get_unchecked_mut(i * stride) } += s;
    }
}
