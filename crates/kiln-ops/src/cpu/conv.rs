//! Convolution in one, two and three dimensions, and its two gradients, as matrix products whose patches are never
//! written out: the product packs them from the images as it goes along.
//!
//! # What an element is
//!
//! An output of the forward pass is a product's element (see [`super::gemm`]) whose k runs over input channel, then the
//! kernel's depth, height and width; padding counts as zeros that are multiplied like any other number. An element of
//! the input gradient is one whose k runs over output channel and then those kernel positions that reach it, with
//! zeros beyond the edge of the output gradient. An element of the weight gradient sums over images and output positions
//! in order, in rounds of a fixed number of images, each of which is cut into the product's blocks.

mod float;
mod integer;
mod patches;
mod planes;
mod weight;

#[cfg(test)]
mod tests;

use super::arch::isa;
use super::gemm::GemmElement;
use half::{bf16, f16};

/// The sizes of a convolution over D spatial dimensions. Tensors are contiguous: the input is
/// `[batch, c_in, input..]`, the weight `[c_out, c_in / groups, kernel..]`, the output `[batch, c_out, output..]`.
///
/// `output` is stated, not derived: what windows beyond it would see is ignored, and windows that reach beyond the
/// padded input see zeros, which is how a transposed convolution with output padding comes out right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape<const D: usize> {
    /// Images.
    pub batch: usize,
    /// Channels of the input.
    pub c_in: usize,
    /// Channels of the output.
    pub c_out: usize,
    /// Groups of channels that do not see each other; divides both channel counts.
    pub groups: usize,
    /// Spatial size of the input.
    pub input: [usize; D],
    /// Spatial size of the kernel.
    pub kernel: [usize; D],
    /// Steps between windows, at least one.
    pub stride: [usize; D],
    /// Zeros on each side of the input.
    pub padding: [usize; D],
    /// Steps between the elements of a window, at least one.
    pub dilation: [usize; D],
    /// Spatial size of the output.
    pub output: [usize; D],
}

/// A [`ConvShape`] in three dimensions, the first of which may be of size one.
#[doc(hidden)]
pub type Shape3 = ConvShape<3>;

impl<const D: usize> ConvShape<D> {
    /// The same convolution in three dimensions.
    fn in_three(&self) -> Shape3 {
        const { assert!(D >= 1 && D <= 3) };
        let widen = |sizes: [usize; D], fill: usize| {
            let mut all = [fill; 3];
            all[3 - D..].copy_from_slice(&sizes);
            all
        };
        ConvShape {
            batch: self.batch,
            c_in: self.c_in,
            c_out: self.c_out,
            groups: self.groups,
            input: widen(self.input, 1),
            kernel: widen(self.kernel, 1),
            stride: widen(self.stride, 1),
            padding: widen(self.padding, 0),
            dilation: widen(self.dilation, 1),
            output: widen(self.output, 1),
        }
    }

    /// Elements of the input.
    fn input_len(&self) -> usize {
        self.batch * self.c_in * self.input.iter().product::<usize>()
    }

    /// Elements of the weight.
    fn weight_len(&self) -> usize {
        self.c_out * (self.c_in / self.groups) * self.kernel.iter().product::<usize>()
    }

    /// Elements of the output.
    fn output_len(&self) -> usize {
        self.batch * self.c_out * self.output.iter().product::<usize>()
    }

    fn check(&self, input: usize, weight: usize, output: usize) {
        assert!(
            self.groups > 0
                && self.c_in.is_multiple_of(self.groups)
                && self.c_out.is_multiple_of(self.groups)
        );
        assert!(self.stride.iter().chain(&self.dilation).all(|&s| s > 0), "stride and dilation start at one");
        assert_eq!(input, self.input_len(), "elements of the input");
        assert_eq!(weight, self.weight_len(), "elements of the weight");
        assert_eq!(output, self.output_len(), "elements of the output");
    }
}

impl Shape3 {
    /// Output positions of an image.
    fn positions(&self) -> usize {
        self.output.iter().product()
    }

    /// Elements of a window in one channel.
    fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Input and output channels of a group.
    fn group_channels(&self) -> (usize, usize) {
        (self.c_in / self.groups, self.c_out / self.groups)
    }
}

/// The types that convolutions are computed in: those of [`GemmElement`].
pub trait ConvElement: GemmElement {
    /// See [`conv_forward`].
    #[doc(hidden)]
    fn forward(shape: &Shape3, x: &[Self], w: &[Self], bias: Option<&[Self]>, y: &mut [Self]);
    /// See [`conv_backward_input`].
    #[doc(hidden)]
    fn backward_input(shape: &Shape3, gy: &[Self], w: &[Self], bias: Option<&[Self]>, gx: &mut [Self]);
    /// See [`conv_backward_weight`].
    #[doc(hidden)]
    fn backward_weight(shape: &Shape3, x: &[Self], gy: &[Self], gw: &mut [Self]);
}

macro_rules! conv_element {
    ($module:ident $weight:ident: $($t:ty)*) => {$(
        impl ConvElement for $t {
            fn forward(shape: &Shape3, x: &[$t], w: &[$t], bias: Option<&[$t]>, y: &mut [$t]) {
                $module::forward(isa(), shape, x, w, bias, y)
            }
            fn backward_input(shape: &Shape3, gy: &[$t], w: &[$t], bias: Option<&[$t]>, gx: &mut [$t]) {
                $module::backward_input(isa(), shape, gy, w, bias, gx)
            }
            fn backward_weight(shape: &Shape3, x: &[$t], gy: &[$t], gw: &mut [$t]) {
                $weight::backward_weight(isa(), shape, x, gy, gw)
            }
        }
    )*};
}
conv_element!(float weight: f32 f64 f16 bf16);
conv_element!(integer integer: i64);

/// Convolves `x` with `w`, adds the bias of each output channel, and writes the result to `y`.
///
/// # Panics
/// When a slice does not have the length that the shape says.
pub fn conv_forward<T: ConvElement, const D: usize>(
    shape: &ConvShape<D>,
    x: &[T],
    w: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
) {
    shape.check(x.len(), w.len(), y.len());
    assert!(bias.is_none_or(|bias| bias.len() == shape.c_out), "elements of the bias");
    T::forward(&shape.in_three(), x, w, bias, y);
}

/// Writes the gradient of the input to `gx`, from the gradient `gy` of the output.
///
/// This is also the forward pass of the transposed convolution, which goes from `gy` to `gx`.
///
/// # Panics
/// When a slice does not have the length that the shape says.
pub fn conv_backward_input<T: ConvElement, const D: usize>(
    shape: &ConvShape<D>,
    gy: &[T],
    w: &[T],
    gx: &mut [T],
) {
    shape.check(gx.len(), w.len(), gy.len());
    T::backward_input(&shape.in_three(), gy, w, None, gx);
}

/// The transposed convolution: like [`conv_backward_input`], from `x` (the shape's output) to `y` (its input), with a
/// bias for each channel of `y`.
///
/// # Panics
/// When a slice does not have the length that the shape says.
pub fn conv_transposed<T: ConvElement, const D: usize>(
    shape: &ConvShape<D>,
    x: &[T],
    w: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
) {
    shape.check(y.len(), w.len(), x.len());
    assert!(bias.is_none_or(|bias| bias.len() == shape.c_in), "elements of the bias");
    T::backward_input(&shape.in_three(), x, w, bias, y);
}

/// Writes the gradient of the weight to `gw`, from the input and the gradient of the output.
///
/// # Panics
/// When a slice does not have the length that the shape says.
pub fn conv_backward_weight<T: ConvElement, const D: usize>(
    shape: &ConvShape<D>,
    x: &[T],
    gy: &[T],
    gw: &mut [T],
) {
    shape.check(x.len(), gw.len(), gy.len());
    T::backward_weight(&shape.in_three(), x, gy, gw);
}
