//! [`MaxPool2d`] and [`AvgPool2d`].

use kiln_autograd::{Result, Tensor};

use crate::module::{Forward, Module};
use crate::parts::Parts;
use crate::print::{print_as_module, python_bool};
use crate::size::Pair;

/// The largest value of each window.
///
/// Shapes: `[n, c, h, w] -> [n, c, h', w']` with `h' = (h + 2 padding - dilation (kernel - 1) - 1) / stride + 1`, rounded
/// down, or up with `ceil_mode`; without `n` too.
///
/// ```
/// use kiln_nn::{Forward, MaxPool2d, Tensor};
/// let x = Tensor::from_vec((0..16).map(|i| i as f32).collect(), [1, 1, 4, 4])?;
/// assert_eq!(MaxPool2d::new(2).forward(&x)?.to_vec::<f32>()?, [5.0, 7.0, 13.0, 15.0]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct MaxPool2d {
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    ceil_mode: bool,
}

impl MaxPool2d {
    /// Windows of this size, beside each other.
    pub fn new(kernel_size: impl Into<Pair>) -> MaxPool2d {
        let kernel = kernel_size.into();
        MaxPool2d {
            kernel,
            stride: kernel,
            padding: Pair::Same(0),
            dilation: Pair::Same(1),
            ceil_mode: false,
        }
    }

    /// How far the window moves (its size by default).
    #[must_use]
    pub fn stride(self, stride: impl Into<Pair>) -> MaxPool2d {
        MaxPool2d { stride: stride.into(), ..self }
    }

    /// How far windows reach over the border, at most half of their size.
    #[must_use]
    pub fn padding(self, padding: impl Into<Pair>) -> MaxPool2d {
        MaxPool2d { padding: padding.into(), ..self }
    }

    /// The distance between the points of a window.
    #[must_use]
    pub fn dilation(self, dilation: impl Into<Pair>) -> MaxPool2d {
        MaxPool2d { dilation: dilation.into(), ..self }
    }

    /// Whether a window may lie partly behind the end.
    #[must_use]
    pub fn ceil_mode(self, ceil_mode: bool) -> MaxPool2d {
        MaxPool2d { ceil_mode, ..self }
    }
}

impl Module for MaxPool2d {
    fn parts<'a>(&'a self, _parts: &mut Parts<'a>) {}

    fn extra_repr(&self) -> String {
        format!(
            "kernel_size={}, stride={}, padding={}, dilation={}, ceil_mode={}",
            self.kernel,
            self.stride,
            self.padding,
            self.dilation,
            python_bool(self.ceil_mode)
        )
    }
}

impl Forward for MaxPool2d {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        input.max_pool2d(
            self.kernel.sizes(),
            self.stride.sizes(),
            self.padding.sizes(),
            self.dilation.sizes(),
            self.ceil_mode,
        )
    }
}

/// The mean of each window.
///
/// Shapes: as [`MaxPool2d`], without dilation.
#[derive(Clone, Copy)]
pub struct AvgPool2d {
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: Option<usize>,
}

impl AvgPool2d {
    /// Windows of this size, beside each other.
    pub fn new(kernel_size: impl Into<Pair>) -> AvgPool2d {
        let kernel = kernel_size.into();
        AvgPool2d {
            kernel,
            stride: kernel,
            padding: Pair::Same(0),
            ceil_mode: false,
            count_include_pad: true,
            divisor_override: None,
        }
    }

    /// How far the window moves (its size by default).
    #[must_use]
    pub fn stride(self, stride: impl Into<Pair>) -> AvgPool2d {
        AvgPool2d { stride: stride.into(), ..self }
    }

    /// Zeros around the input, at most half of the window's size.
    #[must_use]
    pub fn padding(self, padding: impl Into<Pair>) -> AvgPool2d {
        AvgPool2d { padding: padding.into(), ..self }
    }

    /// Whether a window may lie partly behind the end.
    #[must_use]
    pub fn ceil_mode(self, ceil_mode: bool) -> AvgPool2d {
        AvgPool2d { ceil_mode, ..self }
    }

    /// Whether the zeros of the padding count as elements of the mean (they do by default).
    #[must_use]
    pub fn count_include_pad(self, count_include_pad: bool) -> AvgPool2d {
        AvgPool2d { count_include_pad, ..self }
    }

    /// Divides sums by this number and not by the size of the window.
    #[must_use]
    pub fn divisor_override(self, divisor: usize) -> AvgPool2d {
        AvgPool2d { divisor_override: Some(divisor), ..self }
    }
}

impl Module for AvgPool2d {
    fn parts<'a>(&'a self, _parts: &mut Parts<'a>) {}

    fn extra_repr(&self) -> String {
        format!("kernel_size={}, stride={}, padding={}", self.kernel, self.stride, self.padding)
    }
}

impl Forward for AvgPool2d {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        input.avg_pool2d(
            self.kernel.sizes(),
            self.stride.sizes(),
            self.padding.sizes(),
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override.map(|d| d as i64),
        )
    }
}

print_as_module!(MaxPool2d, AvgPool2d);
