//! Maximum pooling.

use kiln_storage::Element;

use super::{PoolShape, padded, planes_per_task};
use crate::cpu::arch::{Arch, Kernel, dispatch_single};
use crate::cpu::real::{Computed, Number};
use crate::cpu::split::{pieces, pieces2};

/// The largest element of each window and, unless `index` is empty, where in its input plane it lies (`I` is `i32` or
/// `i64`). NaN counts as larger than any number; of equals the first one is taken.
pub fn max_pool<T: Computed, I: Element>(x: &[T], shape: &PoolShape, y: &mut [T], index: &mut [I]) {
    let (from, to) = (shape.input_plane(), shape.output_plane());
    let many = planes_per_task(from);
    let count = shape.planes.div_ceil(many);
    let piece = many * to;
    pieces2(y, piece, index, if index.is_empty() { 0 } else { piece }, count, |i, y, index| {
        let planes = y.len() / to;
        let x = &x[i * many * from..][..planes * from];
        if shape.is_two_by_two() && index.is_empty() {
            dispatch_single::<T, _>(TwoByTwo::<T, I, false> { x, shape, y, index });
        } else if shape.is_two_by_two() {
            dispatch_single::<T, _>(TwoByTwo::<T, I, true> { x, shape, y, index });
        } else {
            dispatch_single::<T, _>(AnyWindow { x, shape, y, index });
        }
    });
}

struct TwoByTwo<'a, T, I, const INDEX: bool> {
    x: &'a [T],
    shape: &'a PoolShape,
    y: &'a mut [T],
    index: &'a mut [I],
}

impl<T: Computed, I: Element, const INDEX: bool> Kernel for TwoByTwo<'_, T, I, INDEX> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let TwoByTwo { x, shape, y, index } = self;
        let ([depth, height, w], [_, rows, columns]) = (shape.input, shape.output);
        // Where a row of windows starts in its plane, and in `x`.
        for (row, out) in (0..y.len() / columns).map(|row| (row, row * columns)) {
            let (slice, r) = (row / rows, row % rows);
            let start = (slice * height + 2 * r) * w;
            let base = (slice % depth * height + 2 * r) * w;
            let room = (y.len() - out).min((x.len() - start - w) / 2);
            let width = padded(columns, room);
            let (r0, r1) = (&x[start..][..2 * width], &x[start + w..][..2 * width]);
            let y = &mut y[out..][..width];
            if INDEX {
                let index = &mut index[out..][..width];
                for i in 0..width {
                    let v = [r0[2 * i], r0[2 * i + 1], r1[2 * i], r1[2 * i + 1]];
                    let (mut best, mut at) = (T::Acc::load(v[0]), 0u32);
                    for (v, k) in v[1..].iter().zip([1, w as u32, w as u32 + 1]) {
                        let v = T::Acc::load(*v);
                        let better = (v > best) | v.is_nan();
                        best = if better { v } else { best };
                        at = if better { k } else { at };
                    }
                    y[i] = best.store();
                    index[i] = I::from_i64((base as u32 + 2 * i as u32 + at) as i64);
                }
            } else {
                for i in 0..width {
                    let v = [r0[2 * i], r0[2 * i + 1], r1[2 * i], r1[2 * i + 1]].map(T::Acc::load);
                    let later = |a: T::Acc, b: T::Acc| if (b > a) | b.is_nan() { b } else { a };
                    y[i] = later(later(v[0], v[1]), later(v[2], v[3])).store();
                }
            }
        }
    }
}

struct AnyWindow<'a, T, I> {
    x: &'a [T],
    shape: &'a PoolShape,
    y: &'a mut [T],
    index: &'a mut [I],
}

impl<T: Computed, I: Element> Kernel for AnyWindow<'_, T, I> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let AnyWindow { x, shape, y, index } = self;
        let ([_, height, w], [out_d, out_h, out_w]) = (shape.input, shape.output);
        let plane = shape.input_plane();
        let mut best = vec![T::Acc::LOWEST; out_w];
        // Nothing is better than a place that does not exist, so that windows of -inf get a place too.
        let mut at = vec![u32::MAX; out_w];
        for row in 0..y.len() / out_w {
            let (p, od, oh) = (row / (out_d * out_h), row / out_h % out_d, row % out_h);
            let x = &x[p * plane..(p + 1) * plane];
            best.fill(T::Acc::LOWEST);
            at.fill(u32::MAX);
            for kd in 0..shape.kernel[0] {
                let Some(d) = shape.place(0, od, kd) else { continue };
                for kh in 0..shape.kernel[1] {
                    let Some(h) = shape.place(1, oh, kh) else { continue };
                    let start = (d * height + h) * w;
                    for kw in 0..shape.kernel[2] {
                        let (windows, first) = shape.columns(kw);
                        let (best, at) = (&mut best[windows.clone()], &mut at[windows]);
                        let (x, place) = (&x[start + first..], (start + first) as u32);
                        match shape.stride[2] {
                            1 => take::<T>(x, 1, place, best, at),
                            2 => take::<T>(x, 2, place, best, at),
                            s => take::<T>(x, s, place, best, at),
                        }
                    }
                }
            }
            for (y, b) in y[row * out_w..][..out_w].iter_mut().zip(&best) {
                *y = b.store();
            }
            if !index.is_empty() {
                for (i, &at) in index[row * out_w..][..out_w].iter_mut().zip(&at) {
                    *i = I::from_i64(at as i64);
                }
            }
        }
    }
}

/// Takes every `stride`th element into its window's maximum.
#[inline(always)]
fn take<T: Computed>(x: &[T], stride: usize, place: u32, best: &mut [T::Acc], at: &mut [u32]) {
    let count = best.len();
    assert!(at.len() == count && (count == 0 || x.len() > (count - 1) * stride));
    for i in 0..count {
        // SAFETY: checked above for the last `i`.
        let v = T::Acc::load(unsafe { *x.get_unchecked(i * stride) });
        let better = (v > best[i]) | v.is_nan() | (at[i] == u32::MAX);
        best[i] = if better { v } else { best[i] };
        at[i] = if better { place + (i * stride) as u32 } else { at[i] };
    }
}

/// The gradient for the input of [`max_pool`] (or of an adaptive one), from the gradient `g` for its values and the
/// places `index` that it took. Where the windows of `shape` are 2
/// by 2 side by side, the gradient is written in one sweep.
pub fn max_pool_backward<T: Computed, I: Element>(g: &[T], index: &[I], shape: &PoolShape, gx: &mut [T]) {
    let (from, to) = (shape.input_plane(), shape.output_plane());
    let many = planes_per_task(from);
    let tiled = shape.is_two_by_two()
        && (shape.input[1], shape.input[2]) == (2 * shape.output[1], 2 * shape.output[2]);
    T::read(g, |g| {
        T::written(gx, |gx| {
            pieces(gx, many * from, |i, gx| {
                let planes = gx.len() / from;
                let (g, index) = (&g[i * many * to..][..planes * to], &index[i * many * to..][..planes * to]);
                if tiled {
                    dispatch_single::<T, _>(TwoByTwoBackward { g, index, shape, gx });
                    return;
                }
                gx.fill(T::Acc::ZERO);
                for ((gx, g), index) in
                    gx.chunks_exact_mut(from).zip(g.chunks_exact(to)).zip(index.chunks_exact(to))
                {
                    for (&g, at) in g.iter().zip(index) {
                        let place = &mut gx[at.to_i64() as usize];
                        *place = place.plus(g);
                    }
                }
            });
        });
    });
}

struct TwoByTwoBackward<'a, R, I> {
    g: &'a [R],
    index: &'a [I],
    shape: &'a PoolShape,
    gx: &'a mut [R],
}

impl<R: Number, I: Element> Kernel for TwoByTwoBackward<'_, R, I> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let TwoByTwoBackward { g, index, shape, gx } = self;
        let ([depth, height, w], [_, rows, columns]) = (shape.input, shape.output);
        for (row, from) in (0..g.len() / columns).map(|row| (row, row * columns)) {
            let (slice, r) = (row / rows, row % rows);
            // The upper row first: what it writes beyond its end belongs to the lower one.
            for lower in 0..2 {
                let start = (slice * height + 2 * r + lower) * w;
                let base = ((slice % depth * height + 2 * r + lower) * w) as u32;
                let width = padded(columns, (g.len() - from).min((gx.len() - start) / 2));
                let (g, index) = (&g[from..][..width], &index[from..][..width]);
                let gx = &mut gx[start..][..2 * width];
                // Distances to the window's left element of this row; narrow numbers first, so that the loop behind
                // works on one width only.
                let mut distance = [0u32; 256];
                for first in (0..width).step_by(256) {
                    let count = 256.min(width - first);
                    let distance = &mut distance[..count];
                    for (i, d) in distance.iter_mut().enumerate() {
                        let at = index[first + i].to_i64() as u32;
                        *d = at.wrapping_sub(base).wrapping_sub(2 * (first + i) as u32);
                    }
                    let (g, gx) = (&g[first..][..count], &mut gx[2 * first..][..2 * count]);
                    for (gx, (&g, &d)) in gx.chunks_exact_mut(2).zip(g.iter().zip(&*distance)) {
                        let pair = [if d == 0 { g } else { R::ZERO }, if d == 1 { g } else { R::ZERO }];
                        gx[0] = pair[0];
                        gx[1] = pair[1];
                    }
                }
            }
        }
    }
}
