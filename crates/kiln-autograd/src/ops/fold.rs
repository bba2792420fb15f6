//! Images as columns of their windows, and back.

use crate::ops::index::zeros;
use crate::{Error, Here, Result, Tensor};

/// How many windows there are along both axes.
#[track_caller]
fn windows(
    op: &'static str,
    size: [usize; 2],
    kernel: [usize; 2],
    dilation: [usize; 2],
    padding: [usize; 2],
    stride: [usize; 2],
) -> Result<[usize; 2]> {
    for (what, values) in [("kernel size", kernel), ("dilation", dilation), ("stride", stride)] {
        if values.contains(&0) {
            return Err(Error::value(op, format!("{what} should be greater than zero, but got {values:?}")));
        }
    }
    let mut counts = [0; 2];
    for i in 0..2 {
        let padded = size[i].saturating_add(padding[i].saturating_mul(2));
        let span = span(kernel[i], dilation[i]);
        let Some(room) = padded.checked_sub(span).filter(|_| padded <= i64::MAX as usize) else {
            return Err(Error::shape(
                op,
                format!(
                    "no window of kernel {kernel:?} with dilation {dilation:?} fits into the size {size:?} with padding \
                     {padding:?}"
                ),
            ));
        };
        counts[i] = room / stride[i] + 1;
    }
    Ok(counts)
}

/// How far a window reaches.
fn span(kernel: usize, dilation: usize) -> usize {
    dilation.saturating_mul(kernel - 1).saturating_add(1)
}

impl Tensor {
    /// The windows of an image as columns (`torch.nn.functional.unfold`):
    /// `[batch, channels, height, width] -> [batch, channels * kernel elements, windows]`, without `batch` too.
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// let x = Tensor::from_vec((0..9).map(|i| i as f32).collect(), [1, 3, 3])?;
    /// let y = x.im2col([2, 2], [1, 1], [0, 0], [1, 1])?;
    /// assert_eq!(y.dims(), [4, 4]);
    /// assert_eq!(y.select(0, 0)?.to_vec::<f32>()?, [0.0, 1.0, 3.0, 4.0]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Another rank, a kernel, dilation or stride of 0, or no window that fits.
    #[track_caller]
    pub fn im2col(
        &self,
        kernel: [usize; 2],
        dilation: [usize; 2],
        padding: [usize; 2],
        stride: [usize; 2],
    ) -> Result<Tensor> {
        const OP: &str = "im2col";
        let dims = self.dims();
        let [n, c, h, w] = match *dims {
            [c, h, w] if c * h * w > 0 => [1, c, h, w],
            [n, c, h, w] if c * h * w > 0 => [n, c, h, w],
            _ => {
                return Err(Error::shape(
                    OP,
                    format!(
                        "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions, \
                         but got: {dims:?}"
                    ),
                ));
            }
        };
        let [rows, columns] = windows(OP, [h, w], kernel, dilation, padding, stride)?;
        let [top, left] = padding.map(|p| p as i64);
        let x = self.reshape([n, c, h, w])?.constant_pad_nd(&[left, left, top, top], 0)?;
        let step = |i: usize| stride[i].min(i64::MAX as usize) as i64;
        let y = x
            .unfold(2, span(kernel[0], dilation[0]) as i64, step(0))?
            .unfold(3, span(kernel[1], dilation[1]) as i64, step(1))?
            .slice(4, None, None, dilation[0].min(i64::MAX as usize) as i64)?
            .slice(5, None, None, dilation[1].min(i64::MAX as usize) as i64)?
            .permute(&[0, 1, 4, 5, 2, 3])?
            .reshape([n, c * kernel[0] * kernel[1], rows * columns])?;
        if dims.len() == 3 { y.squeeze_axis(0) } else { Ok(y) }
    }

    /// The sum of windows, each put back to its place (`torch.nn.functional.fold`); elements that several windows hold
    /// are added: `[batch, channels * kernel elements, windows] -> [batch, channels, output_size..]`, without `batch` too.
    ///
    /// # Errors
    /// Another rank, a kernel, dilation or stride of 0, or another number of windows or rows than fit.
    #[track_caller]
    pub fn col2im(
        &self,
        output_size: [usize; 2],
        kernel: [usize; 2],
        dilation: [usize; 2],
        padding: [usize; 2],
        stride: [usize; 2],
    ) -> Result<Tensor> {
        const OP: &str = "col2im";
        let dims = self.dims();
        let [n, rows, count] = match *dims {
            [rows, count] if rows * count > 0 => [1, rows, count],
            [n, rows, count] if rows * count > 0 => [n, rows, count],
            _ => {
                return Err(Error::shape(
                    OP,
                    format!(
                        "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero \
                         dimensions for input, but got: {dims:?}"
                    ),
                ));
            }
        };
        let [down, across] = windows(OP, output_size, kernel, dilation, padding, stride)?;
        let elements = kernel[0].saturating_mul(kernel[1]);
        if !rows.is_multiple_of(elements) {
            return Err(Error::shape(
                OP,
                format!(
                    "Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got \
                     input.size(1)={rows} and kernel_size={kernel:?}."
                ),
            ));
        }
        if down.checked_mul(across) != Some(count) {
            return Err(Error::shape(
                OP,
                format!(
                    "Given output_size={output_size:?}, kernel_size={kernel:?}, dilation={dilation:?}, \
                     padding={padding:?}, stride={stride:?}, expected size of input's dimension 2 to match the \
                     calculated number of sliding blocks {down} * {across}, but got input.size(2)={count}."
                ),
            ));
        }
        let channels = rows / elements;
        let height = output_size[0] + 2 * padding[0];
        let width = output_size[1] + 2 * padding[1];
        let mut places = Vec::with_capacity(elements * count);
        for (i, j) in (0..kernel[0]).flat_map(|i| (0..kernel[1]).map(move |j| (i, j))) {
            for (a, b) in (0..down).flat_map(|a| (0..across).map(move |b| (a, b))) {
                let (y, x) = (a * stride[0] + i * dilation[0], b * stride[1] + j * dilation[1]);
                places.push((y * width + x) as i64);
            }
        }
        let places = Tensor::from_vec(places, [elements * count])?.to_device(self.device())?;
        let plane = height
            .checked_mul(width)
            .filter(|n| *n <= i64::MAX as usize)
            .ok_or_else(|| {
                Error::shape(
                    OP,
                    format!("an output of {height} by {width} elements does not fit into memory"),
                )
            })
            .here()?;
        let padded = zeros(&[n * channels, plane].into(), self)?
            .index_add(1, &places, &self.reshape([n * channels, elements * count])?)?
            .reshape([n, channels, height, width])?;
        let y = padded
            .narrow(2, padding[0] as i64, output_size[0] as i64)?
            .narrow(3, padding[1] as i64, output_size[1] as i64)?
            .contiguous()?;
        if dims.len() == 2 { y.squeeze_axis(0) } else { Ok(y) }
    }
}
