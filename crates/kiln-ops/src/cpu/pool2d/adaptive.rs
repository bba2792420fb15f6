//! Pooling to a given size: window `o` of `n` elements into `m` reaches from `floor(o n / m)` to `ceil((o + 1) n / m)`.

use std::ops::Range;

use kiln_storage::Element;

use super::{AvgPool, PoolShape, avg_pool, avg_pool_backward, max_pool, planes_per_task};
use crate::cpu::real::{Computed, Float, Number, Real};
use crate::cpu::reduce::{Axis, ReduceOp, reduce_float};
use crate::cpu::split::{pieces, pieces2};

impl PoolShape {
    /// A pooling from `input` to `output`, neither of which has a zero. Where every size is a multiple of the other, the
    /// windows are those of a pooling with equal windows; else `kernel` and `stride` mean nothing.
    pub fn adaptive(planes: usize, input: [usize; 3], output: [usize; 3]) -> PoolShape {
        let kernel = std::array::from_fn(|i| input[i] / output[i]);
        PoolShape { planes, input, output, kernel, stride: kernel, padding: [0; 3], dilation: [1; 3] }
    }

    fn is_even(&self) -> bool {
        (0..3).all(|i| self.input[i].is_multiple_of(self.output[i]))
    }

    fn window(&self, axis: usize, o: usize) -> Range<usize> {
        let (n, m) = (self.input[axis], self.output[axis]);
        o * n / m..((o + 1) * n).div_ceil(m)
    }

    /// Calls `each` with the places of every window of a plane, row by row.
    fn windows(&self, mut each: impl FnMut(usize, [Range<usize>; 3])) {
        let [d, h, w] = self.output;
        for o in 0..d * h * w {
            each(o, [self.window(0, o / (h * w)), self.window(1, o / w % h), self.window(2, o % w)]);
        }
    }

    /// The places of the rows of a window.
    fn rows(&self, [d, h, w]: [Range<usize>; 3]) -> impl Iterator<Item = Range<usize>> + use<> {
        let [_, height, width] = self.input;
        d.flat_map(move |d| {
            let (h, w) = (h.clone(), w.clone());
            h.map(move |h| {
                let start = (d * height + h) * width;
                start + w.start..start + w.end
            })
        })
    }
}

/// The mean of each window.
pub fn adaptive_avg_pool<T: Float>(x: &[T], shape: &PoolShape, y: &mut [T]) {
    let (from, to) = (shape.input_plane(), shape.output_plane());
    if to == 1 {
        let axis = Axis { outer: shape.planes, n: from, inner: 1 };
        return reduce_float(ReduceOp::Mean, x, axis, y);
    }
    if shape.is_even() {
        return avg_pool(x, shape, AvgPool::default(), y);
    }
    let many = planes_per_task(from);
    pieces(y, many * to, |i, y| {
        for (p, y) in y.chunks_exact_mut(to).enumerate() {
            let x = &x[(i * many + p) * from..][..from];
            shape.windows(|o, window| {
                let count = window.iter().map(|r| r.len()).product::<usize>();
                let mut sum = T::Acc::ZERO;
                for row in shape.rows(window) {
                    for &v in &x[row] {
                        sum += T::Acc::load(v);
                    }
                }
                y[o] = (sum / T::Acc::of(count as f64)).store();
            });
        }
    });
}

/// The gradient for the input of [`adaptive_avg_pool`].
pub fn adaptive_avg_pool_backward<T: Float>(g: &[T], shape: &PoolShape, gx: &mut [T]) {
    if shape.is_even() {
        return avg_pool_backward(g, shape, AvgPool::default(), gx);
    }
    let (from, to) = (shape.input_plane(), shape.output_plane());
    let many = planes_per_task(from);
    T::written(gx, |gx| {
        pieces(gx, many * from, |i, gx| {
            gx.fill(T::Acc::ZERO);
            for (p, gx) in gx.chunks_exact_mut(from).enumerate() {
                let g = &g[(i * many + p) * to..][..to];
                shape.windows(|o, window| {
                    let count = window.iter().map(|r| r.len()).product::<usize>();
                    let share = T::Acc::load(g[o]) / T::Acc::of(count as f64);
                    for row in shape.rows(window) {
                        for gx in &mut gx[row] {
                            *gx += share;
                        }
                    }
                });
            }
        });
    });
}

/// The largest element of each window, and unless `index` is empty where it lies in its input plane. The gradient is
/// that of any maximum pooling, [`max_pool_backward`](super::max_pool_backward).
pub fn adaptive_max_pool<T: Computed, I: Element>(x: &[T], shape: &PoolShape, y: &mut [T], index: &mut [I]) {
    if shape.is_even() {
        return max_pool(x, shape, y, index);
    }
    let (from, to) = (shape.input_plane(), shape.output_plane());
    let many = planes_per_task(from);
    let (piece, count) = (many * to, shape.planes.div_ceil(many));
    pieces2(y, piece, index, if index.is_empty() { 0 } else { piece }, count, |i, y, index| {
        for (p, y) in y.chunks_exact_mut(to).enumerate() {
            let x = &x[(i * many + p) * from..][..from];
            shape.windows(|o, window| {
                let mut best: Option<(T::Acc, usize)> = None;
                for row in shape.rows(window) {
                    for at in row {
                        let v = T::Acc::load(x[at]);
                        if best.is_none_or(|(b, _)| v > b || v.is_nan()) {
                            best = Some((v, at));
                        }
                    }
                }
                if let Some((v, at)) = best {
                    y[o] = v.store();
                    if let Some(index) = index.get_mut(p * to + o) {
                        *index = I::from_i64(at as i64);
                    }
                }
            });
        }
    });
}
