//! Layers that move or resample pixels: [`Upsample`], [`PixelShuffle`], [`ChannelShuffle`], [`Unfold`], [`Fold`].

use kiln_autograd::{Alignment, Error, InterpolateMode, Result, Tensor};

use crate::module::{Forward, Module};
use crate::parts::{Parts, Training};
use crate::print::{print_as_module, python_float};
use crate::size::{Pair, tuple};

/// Images of another size (`torch.nn.functional.interpolate` as a layer).
///
/// Shapes: `[n, c, sizes..] -> [n, c, new sizes..]`, one to three sizes.
///
/// ```
/// use kiln_nn::{Forward, Tensor, Upsample};
/// let x = Tensor::from_vec(vec![1.0f32, 2.0], [1, 1, 2])?;
/// assert_eq!(Upsample::scale([2.0]).forward(&x)?.to_vec::<f32>()?, [1.0, 1.0, 2.0, 2.0]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
#[derive(Clone)]
pub struct Upsample {
    size: Option<Vec<usize>>,
    scale: Option<Vec<f64>>,
    mode: InterpolateMode,
    align_corners: bool,
    recompute: bool,
    training: Training,
}

impl Upsample {
    /// To these sizes, or this one for all axes, by the nearest element.
    pub fn size(size: impl Into<Vec<usize>>) -> Upsample {
        Upsample {
            size: Some(size.into()),
            scale: None,
            mode: InterpolateMode::Nearest,
            align_corners: false,
            recompute: false,
            training: Training::default(),
        }
    }

    /// By these factors, or this one for all axes, by the nearest element.
    pub fn scale(scale_factor: impl Into<Vec<f64>>) -> Upsample {
        Upsample { size: None, scale: Some(scale_factor.into()), ..Upsample::size([]) }
    }

    /// How elements in between are computed.
    #[must_use]
    pub fn mode(self, mode: InterpolateMode) -> Upsample {
        Upsample { mode, ..self }
    }

    /// Whether the centres of the outermost elements lie on each other, not the outer borders.
    #[must_use]
    pub fn align_corners(self, align_corners: bool) -> Upsample {
        Upsample { align_corners, ..self }
    }

    /// Whether the factor that counts is computed from the sizes.
    #[must_use]
    pub fn recompute_scale_factor(self, recompute: bool) -> Upsample {
        Upsample { recompute, ..self }
    }
}

impl Upsample {
    /// The size or the factors, as they are printed.
    fn target(&self) -> String {
        match (&self.size, &self.scale) {
            (Some(size), _) => format!("size={}", listed(size, usize::to_string)),
            (None, scale) => {
                format!("scale_factor={}", listed(scale.as_deref().unwrap_or(&[]), |s| python_float(*s)))
            }
        }
    }
}

impl Module for Upsample {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
    }

    fn extra_repr(&self) -> String {
        let mode = match (self.mode, self.size.as_ref().map(Vec::len).or(self.scale.as_ref().map(Vec::len))) {
            (InterpolateMode::Nearest, _) => "nearest",
            (InterpolateMode::NearestExact, _) => "nearest-exact",
            (InterpolateMode::Linear, Some(2)) => "bilinear",
            (InterpolateMode::Linear, Some(3)) => "trilinear",
            (InterpolateMode::Linear, _) => "linear",
            (InterpolateMode::Bicubic, _) => "bicubic",
            (InterpolateMode::Area, _) => "area",
        };
        format!("{}, mode='{mode}'", self.target())
    }
}

/// [`Upsample`] of one mode under a name of its own.
macro_rules! upsamplings {
    ($($(#[$doc:meta])* $name:ident $mode:ident $align:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(Upsample);

        impl $name {
            /// To this height and width, or this size for both.
            pub fn size(size: impl Into<Vec<usize>>) -> $name {
                $name(Upsample::size(size).mode(InterpolateMode::$mode).align_corners($align))
            }

            /// By these factors, one for both axes or one for each.
            pub fn scale(scale_factor: impl Into<Vec<f64>>) -> $name {
                $name(Upsample::scale(scale_factor).mode(InterpolateMode::$mode).align_corners($align))
            }
        }

        impl Module for $name {
            fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
                self.0.parts(parts);
            }

            fn extra_repr(&self) -> String {
                let mode = if $align { "bilinear" } else { "nearest" };
                format!("{}, mode='{mode}'", self.0.target())
            }
        }

        impl Forward for $name {
            #[track_caller]
            fn forward(&self, input: &Tensor) -> Result<Tensor> {
                if input.rank() != 4 {
                    let text = format!("expected an input [n, c, height, width], got {:?}", input.shape());
                    return Err(Error::shape(stringify!($name), text));
                }
                self.0.forward(input)
            }
        }

        print_as_module!($name);
    )*};
}

upsamplings! {
    /// Images resampled by their nearest pixels (`torch.nn.UpsamplingNearest2d`); [`Upsample`] is the layer for all modes.
    ///
    /// Shapes: `[n, c, height, width]` -> the same with the new sizes.
    UpsamplingNearest2d Nearest false;
    /// Images resampled between their pixels, with the corners on each other (`torch.nn.UpsamplingBilinear2d`); [`Upsample`]
    /// is the layer for all modes.
    ///
    /// Shapes: `[n, c, height, width]` -> the same with the new sizes.
    ///
    /// ```
    /// use kiln_nn::{Forward, Tensor, UpsamplingBilinear2d};
    /// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [1, 1, 2, 2])?;
    /// let y = UpsamplingBilinear2d::size([3, 3]).forward(&x)?;
    /// assert_eq!(y.to_vec::<f32>()?, [1.0, 1.5, 2.0, 2.0, 2.5, 3.0, 3.0, 3.5, 4.0]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    UpsamplingBilinear2d Linear true;
}

/// One number alone, or several as a tuple.
fn listed<T>(values: &[T], text: impl Fn(&T) -> String) -> String {
    match values {
        [one] => text(one),
        values => tuple(&values.iter().map(text).collect::<Vec<_>>()),
    }
}

/// One value for each of `axes`.
#[track_caller]
fn each<T: Copy>(values: &[T], axes: usize) -> Result<Vec<T>> {
    match values {
        [one] => Ok(vec![*one; axes]),
        values if values.len() == axes => Ok(values.to_vec()),
        values => Err(Error::shape("Upsample", format!("{} sizes or factors for {axes} axes", values.len()))),
    }
}

impl Forward for Upsample {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let dims = input.dims();
        let axes = dims.len().saturating_sub(2);
        let (sizes, scales) = match (&self.size, &self.scale) {
            (Some(size), _) => (each(size, axes)?, None),
            (None, scale) => {
                let scales = each(scale.as_deref().unwrap_or(&[]), axes)?;
                let scaled = dims.iter().skip(2).zip(&scales).map(|(&n, s)| (n as f64 * s).floor() as usize);
                (scaled.collect(), Some(scales).filter(|_| !self.recompute))
            }
        };
        let alignment = Alignment { align_corners: self.align_corners, scales: scales.as_deref() };
        input.interpolate(&sizes, self.mode, alignment)
    }
}

/// Layers of one factor.
macro_rules! factors {
    ($($(#[$doc:meta])* $name:ident $setting:ident: $method:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name {
            $setting: usize,
            training: Training,
        }

        impl $name {
            /// With this number.
            pub fn new($setting: usize) -> $name {
                $name { $setting, training: Training::default() }
            }
        }

        impl Module for $name {
            fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
                parts.add("training", &self.training);
            }

            fn extra_repr(&self) -> String {
                format!("{}={}", stringify!($setting), self.$setting)
            }
        }

        impl Forward for $name {
            #[track_caller]
            fn forward(&self, input: &Tensor) -> Result<Tensor> {
                input.$method(self.$setting)
            }
        }

        print_as_module!($name);
    )*};
}

factors! {
    /// Channels become pixels: see [`Tensor::pixel_shuffle`].
    PixelShuffle upscale_factor: pixel_shuffle;
    /// Pixels become channels: see [`Tensor::pixel_unshuffle`].
    PixelUnshuffle downscale_factor: pixel_unshuffle;
    /// Channels dealt out over groups: see [`Tensor::channel_shuffle`].
    ChannelShuffle groups: channel_shuffle;
}

/// Layers of windows.
macro_rules! windows {
    ($($(#[$doc:meta])* $name:ident($($output:ident)?);)*) => {$(
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name {
            $($output: Pair,)?
            kernel: Pair,
            dilation: Pair,
            padding: Pair,
            stride: Pair,
            training: Training,
        }

        impl $name {
            /// Windows of this size that move by one element, without padding.
            pub fn new($($output: impl Into<Pair>,)? kernel_size: impl Into<Pair>) -> $name {
                $name {
                    $($output: $output.into(),)?
                    kernel: kernel_size.into(),
                    dilation: Pair::Same(1),
                    padding: Pair::Same(0),
                    stride: Pair::Same(1),
                    training: Training::default(),
                }
            }

            /// The distance between the points of a window.
            #[must_use]
            pub fn dilation(self, dilation: impl Into<Pair>) -> $name {
                $name { dilation: dilation.into(), ..self }
            }

            /// Zeros around the image.
            #[must_use]
            pub fn padding(self, padding: impl Into<Pair>) -> $name {
                $name { padding: padding.into(), ..self }
            }

            /// How far the window moves.
            #[must_use]
            pub fn stride(self, stride: impl Into<Pair>) -> $name {
                $name { stride: stride.into(), ..self }
            }
        }

        impl Module for $name {
            fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
                parts.add("training", &self.training);
            }

            fn extra_repr(&self) -> String {
                let output: &[String] = &[$(format!("{}={}, ", stringify!($output), self.$output))?];
                format!(
                    "{}kernel_size={}, dilation={}, padding={}, stride={}",
                    output.concat(),
                    self.kernel,
                    self.dilation,
                    self.padding,
                    self.stride
                )
            }
        }

        print_as_module!($name);
    )*};
}

windows! {
    /// The windows of an image as columns: `[n, c, h, w] -> [n, c * kernel elements, windows]`, see [`Tensor::im2col`].
    Unfold();
    /// Windows added to an image: `[n, c * kernel elements, windows] -> [n, c, h, w]`, see [`Tensor::col2im`].
    Fold(output_size);
}

impl Forward for Unfold {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let [k, d, p, s] = [self.kernel, self.dilation, self.padding, self.stride].map(Pair::sizes);
        input.im2col(k, d, p, s)
    }
}

impl Forward for Fold {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let [k, d, p, s] = [self.kernel, self.dilation, self.padding, self.stride].map(Pair::sizes);
        input.col2im(self.output_size.sizes(), k, d, p, s)
    }
}

print_as_module!(Upsample);
