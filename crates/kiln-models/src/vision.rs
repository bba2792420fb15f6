//! How networks on images start.

use kiln_nn::init::{self, Fan, Nonlinearity};
use kiln_nn::{BatchNorm2d, Conv2d, Linear, Module, Result, Sequential, sequential};

/// Which layers of a network keep the parameters that they were made with.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Draw {
    /// Convolutions are drawn anew.
    Convolutions,
    /// Linear layers too, narrowly around zero.
    ConvolutionsAndLinear,
}

/// Draws the parameters again, layer after layer in the order of the names, as networks on images do after He et al.,
/// "Delving deep into rectifiers" (2015): convolutions by the number of their outputs, biases zero.
#[track_caller]
pub(crate) fn draw(model: &dyn Module, what: Draw) -> Result<()> {
    for (_, module) in model.named_modules() {
        if let Some(conv) = module.downcast_ref::<Conv2d>() {
            init::kaiming_normal_(&conv.weight, Fan::Out, Nonlinearity::Relu)?;
            conv.bias.as_deref().map_or(Ok(()), init::zeros_)?;
        } else if let (Some(linear), Draw::ConvolutionsAndLinear) = (module.downcast_ref::<Linear>(), what) {
            init::normal_(&linear.weight, 0.0, 0.01)?;
            linear.bias.as_deref().map_or(Ok(()), init::zeros_)?;
        }
    }
    Ok(())
}

/// A convolution that keeps the size (but for its stride), its normalisation and what follows: torchvision's
/// `Conv2dNormActivation`.
pub(crate) struct ConvNorm {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// The size of the kernel, odd.
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    /// Every channel by itself, which takes as many outputs as inputs.
    pub(crate) depthwise: bool,
}

impl ConvNorm {
    /// A 1x1 convolution.
    pub(crate) fn pointwise(inputs: usize, outputs: usize) -> ConvNorm {
        ConvNorm { inputs, outputs, kernel: 1, stride: 1, depthwise: false }
    }

    /// The layers `0` and `1`, the normalisation as `norm` makes it.
    pub(crate) fn layers(&self, norm: fn(usize) -> BatchNorm2d) -> Sequential {
        let groups = if self.depthwise { self.inputs } else { 1 };
        let conv = Conv2d::new(self.inputs, self.outputs, self.kernel);
        let conv = conv.stride(self.stride).padding((self.kernel - 1) / 2).groups(groups).bias(false);
        sequential![conv, norm(self.outputs)]
    }
}

/// `channels` brought to a multiple of 8, which no more than a tenth is lost by.
pub(crate) fn multiple_of_8(channels: f64) -> usize {
    let rounded = (((channels + 4.0) as usize) / 8 * 8).max(8);
    if (rounded as f64) < 0.9 * channels { rounded + 8 } else { rounded }
}
