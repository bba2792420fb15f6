//! The shape rule of pooling.

use kiln_storage::{Error, Result};

/// Window sizes of a pooling, one number for each of the one to three spatial axes.
#[derive(Clone, Copy, Debug)]
pub struct PoolOptions<'a> {
    /// The window.
    pub kernel: &'a [usize],
    /// From one window to the next.
    pub stride: &'a [usize],
    /// Elements added on both sides.
    pub padding: &'a [usize],
    /// Distance between a window's elements.
    pub dilation: &'a [usize],
    /// Whether a last window may reach beyond the padded input.
    pub ceil_mode: bool,
}

/// A pooling whose sizes fit together. Fewer than three spatial axes have leading axes of size 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolShape {
    /// How many planes: the product of batch size and channels.
    pub planes: usize,
    /// The spatial sizes of the input.
    pub input: [usize; 3],
    /// The spatial sizes of the result.
    pub output: [usize; 3],
    /// The window.
    pub kernel: [usize; 3],
    /// From one window to the next.
    pub stride: [usize; 3],
    /// Elements added on both sides.
    pub padding: [usize; 3],
    /// Distance between a window's elements.
    pub dilation: [usize; 3],
}

impl PoolShape {
    /// Checks the options against the spatial sizes `input`, and computes the sizes of the result.
    ///
    /// # Errors
    /// Numbers of axes that differ, a window, stride or dilation of zero, padding above half of the window, sizes that
    /// overflow, or a result without elements.
    pub fn infer(
        op: &'static str,
        planes: usize,
        input: &[usize],
        options: &PoolOptions<'_>,
    ) -> Result<PoolShape> {
        let rank = input.len();
        let PoolOptions { kernel, stride, padding, dilation, ceil_mode } = *options;
        if !(1..=3).contains(&rank) {
            return Err(Error::shape(op, format!("{rank} spatial axes; pooling takes 1 to 3")));
        }
        for (name, list) in
            [("kernel_size", kernel), ("stride", stride), ("padding", padding), ("dilation", dilation)]
        {
            if list.len() != rank {
                return Err(Error::shape(
                    op,
                    format!("{name} {list:?} is for {} axes, the input has {rank}", list.len()),
                ));
            }
            if name != "padding" && list.contains(&0) {
                return Err(Error::value(
                    op,
                    format!("{name} should be greater than zero, but got {list:?}"),
                ));
            }
        }
        let mut shape = PoolShape {
            planes,
            input: [1; 3],
            output: [1; 3],
            kernel: [1; 3],
            stride: [1; 3],
            padding: [0; 3],
            dilation: [1; 3],
        };
        for i in 0..rank {
            let (n, k, s, p, d) = (input[i], kernel[i], stride[i], padding[i], dilation[i]);
            // Windows and strides far beyond any tensor would overflow below.
            if [n, k, s, p, d].into_iter().any(|v| v > i32::MAX as usize) {
                return Err(Error::value(op, format!("sizes above {} are not supported", i32::MAX)));
            }
            let span = (k - 1) * d + 1;
            if p > span / 2 {
                return Err(Error::value(
                    op,
                    format!(
                        "pad should be at most half of effective kernel size, but got pad={p}, kernel_size={k} and dilation={d}"
                    ),
                ));
            }
            let out = if n + 2 * p < span {
                0
            } else {
                let room = n + 2 * p - span;
                let out = if ceil_mode { room.div_ceil(s) } else { room / s } + 1;
                // The last window must start inside of the input or its left padding.
                if ceil_mode && (out - 1) * s >= n + p { out - 1 } else { out }
            };
            if n == 0 || out == 0 {
                return Err(Error::shape(
                    op,
                    format!(
                        "input size {input:?} with kernel_size {kernel:?}, padding {padding:?} and dilation {dilation:?} has an output size of 0: Output size is too small"
                    ),
                ));
            }
            let at = 3 - rank + i;
            (shape.input[at], shape.output[at], shape.kernel[at]) = (n, out, k);
            (shape.stride[at], shape.padding[at], shape.dilation[at]) = (s, p, d);
        }
        Ok(shape)
    }

    /// Elements of an input plane.
    pub fn input_plane(&self) -> usize {
        self.input.iter().product()
    }

    /// Elements of a plane of the result.
    pub fn output_plane(&self) -> usize {
        self.output.iter().product()
    }

    /// Whether windows are 2 by 2 in two axes, side by side without padding: the case that has loops of its own.
    pub(super) fn is_two_by_two(&self) -> bool {
        self.kernel == [1, 2, 2]
            && self.stride[1..] == [2, 2]
            && self.padding == [0; 3]
            && self.dilation[1..] == [1, 1]
            && self.output[0] == self.input[0]
            && 2 * self.output[1] <= self.input[1]
            && 2 * self.output[2] <= self.input[2]
    }

    /// The place of element `k` of window `o` along an axis, if it is in the input.
    #[inline(always)]
    pub(super) fn place(&self, axis: usize, o: usize, k: usize) -> Option<usize> {
        let at = (o * self.stride[axis] + k * self.dilation[axis]).checked_sub(self.padding[axis])?;
        (at < self.input[axis]).then_some(at)
    }

    /// The windows of the last axis whose element `k` is in the input, and where that element of the first of them is.
    #[inline(always)]
    pub(super) fn columns(&self, k: usize) -> (std::ops::Range<usize>, usize) {
        let (s, p, n) = (self.stride[2], self.padding[2], self.input[2]);
        let from = k * self.dilation[2];
        let first = p.saturating_sub(from).div_ceil(s);
        let last = if n + p > from { (n + p - from - 1) / s + 1 } else { 0 };
        let last = last.min(self.output[2]);
        if first >= last { (0..0, 0) } else { (first..last, first * s + from - p) }
    }
}
