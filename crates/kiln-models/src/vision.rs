//! How networks on images start.

use kiln_nn::init::{self, Fan, Nonlinearity};
use kiln_nn::{Conv2d, Linear, Module, Result};

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
