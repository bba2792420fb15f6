//! Pooling over windows: [`MaxPool2d`], [`AvgPool2d`], [`LPPool2d`] and their forms for one and three axes.

use kiln_autograd::{Error, Result, Tensor};

use crate::module::{Forward, Module};
use crate::parts::{Parts, Training};
use crate::print::{print_as_module, python_bool};
use crate::size::{Extent, cut, tuple};

/// The names of a layer for one, two and three axes.
macro_rules! by_axes {
    ($($layer:ident: $one:ident $two:ident $three:ident;)*) => {$(
        #[doc = concat!("The layer for `[n, c, length]`: see [`", stringify!($layer), "`].")]
        pub type $one = $layer<1>;
        #[doc = concat!("The layer for `[n, c, height, width]`: see [`", stringify!($layer), "`].")]
        pub type $two = $layer<2>;
        #[doc = concat!("The layer for `[n, c, depth, height, width]`: see [`", stringify!($layer), "`].")]
        pub type $three = $layer<3>;

        impl<const N: usize> $layer<N> {
            const OP: &str = [stringify!($one), stringify!($two), stringify!($three)][N - 1];
        }

        print_as_module!(<N> $layer);
    )*};
}
pub(crate) use by_axes;

by_axes! {
    MaxPoolNd: MaxPool1d MaxPool2d MaxPool3d;
    AvgPoolNd: AvgPool1d AvgPool2d AvgPool3d;
    LPPoolNd: LPPool1d LPPool2d LPPool3d;
}

/// The largest value of each window over `N` axes. Used by the names [`MaxPool1d`], [`MaxPool2d`] and [`MaxPool3d`].
///
/// Shapes: `[n, c, sizes..] -> [n, c, sizes..]`, where a size becomes
/// `(size + 2 padding - dilation (kernel - 1) - 1) / stride + 1`, rounded down, or up with `ceil_mode`; without `n` too.
///
/// ```
/// use kiln_nn::{Forward, MaxPool2d, Tensor};
/// let x = Tensor::from_vec((0..16).map(|i| i as f32).collect(), [1, 1, 4, 4])?;
/// assert_eq!(MaxPool2d::new(2).forward(&x)?.to_vec::<f32>()?, [5.0, 7.0, 13.0, 15.0]);
/// let (_, positions) = MaxPool2d::new(2).forward_with_indices(&x)?;
/// assert_eq!(positions.to_vec::<i64>()?, [5, 7, 13, 15]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
#[derive(Clone)]
pub struct MaxPoolNd<const N: usize> {
    kernel: Extent<N>,
    stride: Extent<N>,
    padding: Extent<N>,
    dilation: Extent<N>,
    ceil_mode: bool,
    training: Training,
}

impl<const N: usize> MaxPoolNd<N> {
    /// Windows of this size, beside each other.
    pub fn new(kernel_size: impl Into<Extent<N>>) -> MaxPoolNd<N> {
        let kernel = kernel_size.into();
        MaxPoolNd {
            kernel,
            stride: kernel,
            padding: Extent::Same(0),
            dilation: Extent::Same(1),
            ceil_mode: false,
            training: Training::default(),
        }
    }

    /// How far the window moves (its size by default).
    #[must_use]
    pub fn stride(self, stride: impl Into<Extent<N>>) -> MaxPoolNd<N> {
        MaxPoolNd { stride: stride.into(), ..self }
    }

    /// How far windows reach over the border, at most half of their size.
    #[must_use]
    pub fn padding(self, padding: impl Into<Extent<N>>) -> MaxPoolNd<N> {
        MaxPoolNd { padding: padding.into(), ..self }
    }

    /// The distance between the points of a window.
    #[must_use]
    pub fn dilation(self, dilation: impl Into<Extent<N>>) -> MaxPoolNd<N> {
        MaxPoolNd { dilation: dilation.into(), ..self }
    }

    /// Whether a window may lie partly behind the end.
    #[must_use]
    pub fn ceil_mode(self, ceil_mode: bool) -> MaxPoolNd<N> {
        MaxPoolNd { ceil_mode, ..self }
    }

    /// [`Forward::forward`], and the positions of the values in their planes (`return_indices=True`), as
    /// [`MaxUnpoolNd`](crate::MaxUnpoolNd) takes them.
    ///
    /// # Errors
    /// As `forward`.
    #[track_caller]
    pub fn forward_with_indices(&self, input: &Tensor) -> Result<(Tensor, Tensor)> {
        let [k, s, p, d] = [self.kernel, self.stride, self.padding, self.dilation].map(Extent::sizes);
        match N {
            1 => input.max_pool1d_with_indices(cut(k), cut(s), cut(p), cut(d), self.ceil_mode),
            2 => input.max_pool2d_with_indices(cut(k), cut(s), cut(p), cut(d), self.ceil_mode),
            _ => input.max_pool3d_with_indices(cut(k), cut(s), cut(p), cut(d), self.ceil_mode),
        }
    }
}

impl<const N: usize> Module for MaxPoolNd<N> {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
    }

    fn type_name(&self) -> &str {
        Self::OP
    }

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

impl<const N: usize> Forward for MaxPoolNd<N> {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let [k, s, p, d] = [self.kernel, self.stride, self.padding, self.dilation].map(Extent::sizes);
        match N {
            1 => input.max_pool1d(cut(k), cut(s), cut(p), cut(d), self.ceil_mode),
            2 => input.max_pool2d(cut(k), cut(s), cut(p), cut(d), self.ceil_mode),
            _ => input.max_pool3d(cut(k), cut(s), cut(p), cut(d), self.ceil_mode),
        }
    }
}

/// The mean of each window over `N` axes. Used by the names [`AvgPool1d`], [`AvgPool2d`] and [`AvgPool3d`].
///
/// Shapes: as [`MaxPoolNd`], without dilation.
#[derive(Clone)]
pub struct AvgPoolNd<const N: usize> {
    kernel: Extent<N>,
    stride: Extent<N>,
    padding: Extent<N>,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: Option<usize>,
    training: Training,
}

impl<const N: usize> AvgPoolNd<N> {
    /// Windows of this size, beside each other.
    pub fn new(kernel_size: impl Into<Extent<N>>) -> AvgPoolNd<N> {
        let kernel = kernel_size.into();
        AvgPoolNd {
            kernel,
            stride: kernel,
            padding: Extent::Same(0),
            ceil_mode: false,
            count_include_pad: true,
            divisor_override: None,
            training: Training::default(),
        }
    }

    /// How far the window moves (its size by default).
    #[must_use]
    pub fn stride(self, stride: impl Into<Extent<N>>) -> AvgPoolNd<N> {
        AvgPoolNd { stride: stride.into(), ..self }
    }

    /// Zeros around the input, at most half of the window's size.
    #[must_use]
    pub fn padding(self, padding: impl Into<Extent<N>>) -> AvgPoolNd<N> {
        AvgPoolNd { padding: padding.into(), ..self }
    }

    /// Whether a window may lie partly behind the end.
    #[must_use]
    pub fn ceil_mode(self, ceil_mode: bool) -> AvgPoolNd<N> {
        AvgPoolNd { ceil_mode, ..self }
    }

    /// Whether the zeros of the padding count as elements of the mean (they do by default).
    #[must_use]
    pub fn count_include_pad(self, count_include_pad: bool) -> AvgPoolNd<N> {
        AvgPoolNd { count_include_pad, ..self }
    }

    /// Divides sums by this number and not by the size of the window.
    #[must_use]
    pub fn divisor_override(self, divisor: usize) -> AvgPoolNd<N> {
        AvgPoolNd { divisor_override: Some(divisor), ..self }
    }
}

impl<const N: usize> Module for AvgPoolNd<N> {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
    }

    fn type_name(&self) -> &str {
        Self::OP
    }

    fn extra_repr(&self) -> String {
        let sizes = [self.kernel, self.stride, self.padding];
        // PyTorch makes tuples of one axis's sizes here, and nowhere else.
        let [kernel, stride, padding] = sizes.map(|e| if N == 1 { tuple(&e.sizes()) } else { e.to_string() });
        format!("kernel_size={kernel}, stride={stride}, padding={padding}")
    }
}

impl<const N: usize> Forward for AvgPoolNd<N> {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let [k, s, p] = [self.kernel, self.stride, self.padding].map(Extent::sizes);
        let (ceil, include) = (self.ceil_mode, self.count_include_pad);
        let divisor = self.divisor_override.map(|d| i64::try_from(d).unwrap_or(i64::MAX));
        match N {
            1 if divisor.is_some() => {
                Err(Error::value(Self::OP, "there is no divisor_override for one axis; scale the result"))
            }
            1 => input.avg_pool1d(cut(k), cut(s), cut(p), ceil, include, None),
            2 => input.avg_pool2d(cut(k), cut(s), cut(p), ceil, include, divisor),
            _ => input.avg_pool3d(cut(k), cut(s), cut(p), ceil, include, divisor),
        }
    }
}

/// `(sum x^p)^(1/p)` over each window over `N` axes. Used by the names [`LPPool1d`], [`LPPool2d`] and [`LPPool3d`].
///
/// Shapes: as [`AvgPoolNd`], without padding.
#[derive(Clone)]
pub struct LPPoolNd<const N: usize> {
    p: f64,
    kernel: Extent<N>,
    stride: Option<Extent<N>>,
    ceil_mode: bool,
    training: Training,
}

impl<const N: usize> LPPoolNd<N> {
    /// The `norm_type`-norm of windows of this size, beside each other.
    pub fn new(norm_type: f64, kernel_size: impl Into<Extent<N>>) -> LPPoolNd<N> {
        LPPoolNd {
            p: norm_type,
            kernel: kernel_size.into(),
            stride: None,
            ceil_mode: false,
            training: Training::default(),
        }
    }

    /// How far the window moves (its size by default).
    #[must_use]
    pub fn stride(self, stride: impl Into<Extent<N>>) -> LPPoolNd<N> {
        LPPoolNd { stride: Some(stride.into()), ..self }
    }

    /// Whether a window may lie partly behind the end.
    #[must_use]
    pub fn ceil_mode(self, ceil_mode: bool) -> LPPoolNd<N> {
        LPPoolNd { ceil_mode, ..self }
    }
}

impl<const N: usize> Module for LPPoolNd<N> {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
    }

    fn type_name(&self) -> &str {
        Self::OP
    }

    fn extra_repr(&self) -> String {
        format!(
            "norm_type={}, kernel_size={}, stride={}, ceil_mode={}",
            self.p,
            self.kernel,
            self.stride.map_or("None".to_owned(), |s| s.to_string()),
            python_bool(self.ceil_mode)
        )
    }
}

impl<const N: usize> Forward for LPPoolNd<N> {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let [k, s] = [self.kernel, self.stride.unwrap_or(self.kernel)].map(Extent::sizes);
        match N {
            1 => input.lp_pool1d(self.p, cut(k), cut(s), self.ceil_mode),
            2 => input.lp_pool2d(self.p, cut(k), cut(s), self.ceil_mode),
            _ => input.lp_pool3d(self.p, cut(k), cut(s), self.ceil_mode),
        }
    }
}
