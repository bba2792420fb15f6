//! Pooling to a given size: [`AdaptiveAvgPool2d`], [`AdaptiveMaxPool2d`], [`FractionalMaxPool2d`] and their like; and
//! [`MaxUnpool2d`], the way back.

use kiln_autograd::{Error, Result, Tensor};

use crate::module::{Forward, Module};
use crate::parts::{Parts, Training};
use crate::pool::by_axes;
use crate::print::print_as_module;
use crate::size::{Extent, cut, tuple};

/// The size of the result of adaptive pooling: a number for all axes, or for each one a number or `None`, which keeps the
/// input's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputSize<const N: usize> {
    sizes: [Option<usize>; N],
    /// One number was given for all.
    same: bool,
}

impl<const N: usize> From<usize> for OutputSize<N> {
    fn from(n: usize) -> OutputSize<N> {
        OutputSize { sizes: [Some(n); N], same: true }
    }
}

impl<const N: usize> From<[usize; N]> for OutputSize<N> {
    fn from(sizes: [usize; N]) -> OutputSize<N> {
        OutputSize { sizes: sizes.map(Some), same: false }
    }
}

impl<const N: usize> From<[Option<usize>; N]> for OutputSize<N> {
    fn from(sizes: [Option<usize>; N]) -> OutputSize<N> {
        OutputSize { sizes, same: false }
    }
}

impl From<(usize, usize)> for OutputSize<2> {
    fn from((h, w): (usize, usize)) -> OutputSize<2> {
        OutputSize::from([h, w])
    }
}

impl From<(usize, usize, usize)> for OutputSize<3> {
    fn from((d, h, w): (usize, usize, usize)) -> OutputSize<3> {
        OutputSize::from([d, h, w])
    }
}

impl<const N: usize> OutputSize<N> {
    /// The sizes for this input.
    #[track_caller]
    fn of(&self, op: &'static str, input: &Tensor) -> Result<[usize; N]> {
        let own = input.dims();
        let Some(lead) = own.len().checked_sub(N) else {
            return Err(Error::shape(op, format!("expected {N} spatial sizes, got {own:?}")));
        };
        Ok(std::array::from_fn(|i| self.sizes[i].unwrap_or(own[lead + i])))
    }

    fn text(&self) -> String {
        match self.sizes.first() {
            Some(size) if self.same => Self::one(size),
            _ => tuple(&self.sizes.iter().map(Self::one).collect::<Vec<_>>()),
        }
    }

    fn one(size: &Option<usize>) -> String {
        size.map_or("None".to_owned(), |n| n.to_string())
    }
}

by_axes! {
    AdaptiveAvgPoolNd: AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d;
    AdaptiveMaxPoolNd: AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d;
    MaxUnpoolNd: MaxUnpool1d MaxUnpool2d MaxUnpool3d;
}

/// What both kinds of adaptive pooling have.
macro_rules! adaptive {
    ($($layer:ident)*) => {$(
        impl<const N: usize> $layer<N> {
            /// With a result of these sizes.
            pub fn new(output_size: impl Into<OutputSize<N>>) -> $layer<N> {
                $layer { output: output_size.into(), training: Training::default() }
            }
        }

        impl<const N: usize> Module for $layer<N> {
            fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
                parts.add("training", &self.training);
            }

            fn type_name(&self) -> &str {
                Self::OP
            }

            fn extra_repr(&self) -> String {
                format!("output_size={}", self.output.text())
            }
        }
    )*};
}
adaptive! { AdaptiveAvgPoolNd AdaptiveMaxPoolNd }

/// The means of windows that cover the input so that the result has the given sizes, whatever the input's. Used by the
/// names [`AdaptiveAvgPool1d`], [`AdaptiveAvgPool2d`] and [`AdaptiveAvgPool3d`].
///
/// Shapes: `[n, c, sizes..] -> [n, c, output sizes..]`, without `n` too.
///
/// ```
/// use kiln_nn::{AdaptiveAvgPool2d, Forward, Tensor};
/// let x = Tensor::from_vec((0..8).map(|i| i as f32).collect(), [1, 2, 2, 2])?;
/// assert_eq!(AdaptiveAvgPool2d::new(1).forward(&x)?.to_vec::<f32>()?, [1.5, 5.5]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
#[derive(Clone)]
pub struct AdaptiveAvgPoolNd<const N: usize> {
    output: OutputSize<N>,
    training: Training,
}

impl<const N: usize> Forward for AdaptiveAvgPoolNd<N> {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let sizes = self.output.of(Self::OP, input)?;
        match N {
            1 => input.adaptive_avg_pool1d(cut(sizes)),
            2 => input.adaptive_avg_pool2d(cut(sizes)),
            _ => input.adaptive_avg_pool3d(cut(sizes)),
        }
    }
}

/// The largest values of windows as those of [`AdaptiveAvgPoolNd`]. Used by the names [`AdaptiveMaxPool1d`],
/// [`AdaptiveMaxPool2d`] and [`AdaptiveMaxPool3d`].
#[derive(Clone)]
pub struct AdaptiveMaxPoolNd<const N: usize> {
    output: OutputSize<N>,
    training: Training,
}

impl<const N: usize> AdaptiveMaxPoolNd<N> {
    /// [`Forward::forward`], and the positions of the values in their planes (`return_indices=True`).
    ///
    /// # Errors
    /// As `forward`.
    #[track_caller]
    pub fn forward_with_indices(&self, input: &Tensor) -> Result<(Tensor, Tensor)> {
        let sizes = self.output.of(Self::OP, input)?;
        match N {
            1 => input.adaptive_max_pool1d(cut(sizes)),
            2 => input.adaptive_max_pool2d(cut(sizes)),
            _ => input.adaptive_max_pool3d(cut(sizes)),
        }
    }
}

impl<const N: usize> Forward for AdaptiveMaxPoolNd<N> {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        self.forward_with_indices(input).map(|(y, _)| y)
    }
}

/// Zeros, with the values of [`MaxPoolNd`](crate::MaxPoolNd) put back to where they came from. Used by the names
/// [`MaxUnpool1d`], [`MaxUnpool2d`] and [`MaxUnpool3d`].
///
/// Shapes: `[n, c, sizes..] -> [n, c, sizes..]`, where a size becomes `(size - 1) stride - 2 padding + kernel`; without
/// `n` too.
#[derive(Clone)]
pub struct MaxUnpoolNd<const N: usize> {
    kernel: Extent<N>,
    stride: Extent<N>,
    padding: Extent<N>,
    training: Training,
}

impl<const N: usize> MaxUnpoolNd<N> {
    /// For windows of this size, beside each other.
    pub fn new(kernel_size: impl Into<Extent<N>>) -> MaxUnpoolNd<N> {
        let kernel = kernel_size.into();
        MaxUnpoolNd { kernel, stride: kernel, padding: Extent::Same(0), training: Training::default() }
    }

    /// How far the window moved (its size by default).
    #[must_use]
    pub fn stride(self, stride: impl Into<Extent<N>>) -> MaxUnpoolNd<N> {
        MaxUnpoolNd { stride: stride.into(), ..self }
    }

    /// How far windows reached over the border.
    #[must_use]
    pub fn padding(self, padding: impl Into<Extent<N>>) -> MaxUnpoolNd<N> {
        MaxUnpoolNd { padding: padding.into(), ..self }
    }

    /// Puts back the values to the positions. Several sizes are pooled to the same one: `output_size` says which it was.
    ///
    /// # Errors
    /// Shapes, dtypes, positions or an output size that do not fit.
    #[track_caller]
    pub fn forward(&self, input: &Tensor, indices: &Tensor, output_size: Option<&[usize]>) -> Result<Tensor> {
        let [k, s, p] = [self.kernel, self.stride, self.padding].map(Extent::sizes);
        match N {
            1 => input.max_unpool1d(indices, cut(k), cut(s), cut(p), output_size),
            2 => input.max_unpool2d(indices, cut(k), cut(s), cut(p), output_size),
            _ => input.max_unpool3d(indices, cut(k), cut(s), cut(p), output_size),
        }
    }
}

impl<const N: usize> Module for MaxUnpoolNd<N> {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
    }

    fn type_name(&self) -> &str {
        Self::OP
    }

    fn extra_repr(&self) -> String {
        let [k, s, p] = [self.kernel, self.stride, self.padding].map(|e| tuple(&e.sizes()));
        format!("kernel_size={k}, stride={s}, padding={p}")
    }
}

/// The largest values of windows at random places, over `N` axes: Graham, "Fractional max-pooling" (2014). Used by the
/// names [`FractionalMaxPool2d`] and [`FractionalMaxPool3d`].
///
/// Shapes: `[n, c, sizes..] -> [n, c, output sizes..]`, without `n` too.
#[derive(Clone)]
pub struct FractionalMaxPoolNd<const N: usize> {
    kernel: Extent<N>,
    output: Output<N>,
    samples: Option<Tensor>,
    training: Training,
}

#[derive(Clone, Copy)]
enum Output<const N: usize> {
    Size([usize; N]),
    Ratio([f64; N]),
}

/// The layer for `[n, c, height, width]`: see [`FractionalMaxPoolNd`].
pub type FractionalMaxPool2d = FractionalMaxPoolNd<2>;
/// The layer for `[n, c, depth, height, width]`: see [`FractionalMaxPoolNd`].
pub type FractionalMaxPool3d = FractionalMaxPoolNd<3>;

impl<const N: usize> FractionalMaxPoolNd<N> {
    const OP: &str = ["FractionalMaxPool2d", "FractionalMaxPool3d"][N - 2];

    /// Windows of this size and a result of these sizes.
    pub fn with_size(
        kernel_size: impl Into<Extent<N>>,
        output_size: impl Into<Extent<N>>,
    ) -> FractionalMaxPoolNd<N> {
        let output = Output::Size(output_size.into().sizes());
        FractionalMaxPoolNd {
            kernel: kernel_size.into(),
            output,
            samples: None,
            training: Training::default(),
        }
    }

    /// Windows of this size and a result of these parts of the input's sizes, between 0 and 1.
    pub fn with_ratio(kernel_size: impl Into<Extent<N>>, output_ratio: [f64; N]) -> FractionalMaxPoolNd<N> {
        let output = Output::Ratio(output_ratio);
        FractionalMaxPoolNd {
            kernel: kernel_size.into(),
            output,
            samples: None,
            training: Training::default(),
        }
    }

    /// The numbers `[n, c, N]` by which the windows are placed, in place of numbers drawn from the default stream.
    #[must_use]
    pub fn random_samples(self, samples: Tensor) -> FractionalMaxPoolNd<N> {
        FractionalMaxPoolNd { samples: Some(samples), ..self }
    }

    /// [`Forward::forward`], and the positions of the values in their planes (`return_indices=True`).
    ///
    /// # Errors
    /// As `forward`.
    #[track_caller]
    pub fn forward_with_indices(&self, input: &Tensor) -> Result<(Tensor, Tensor)> {
        let dims = input.dims();
        let sizes = match self.output {
            Output::Size(sizes) => sizes,
            Output::Ratio(ratio) => {
                let lead = dims.len().checked_sub(N);
                let (Some(lead), true) = (lead, ratio.iter().all(|r| 0.0 < *r && *r < 1.0)) else {
                    return Err(Error::value(
                        Self::OP,
                        format!(
                            "output_ratio must be between 0 and 1 (got {ratio:?}), for {N} axes of {dims:?}"
                        ),
                    ));
                };
                std::array::from_fn(|i| (dims[lead + i] as f64 * ratio[i]) as usize)
            }
        };
        let (k, samples) = (self.kernel.sizes(), self.samples.as_ref());
        match N {
            2 => input.fractional_max_pool2d(cut(k), cut(sizes), samples),
            _ => input.fractional_max_pool3d(cut(k), cut(sizes), samples),
        }
    }
}

impl<const N: usize> Module for FractionalMaxPoolNd<N> {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
    }

    fn type_name(&self) -> &str {
        Self::OP
    }
}

impl<const N: usize> Forward for FractionalMaxPoolNd<N> {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        self.forward_with_indices(input).map(|(y, _)| y)
    }
}

print_as_module!(<N> FractionalMaxPoolNd);
