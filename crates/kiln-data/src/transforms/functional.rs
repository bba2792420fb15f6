//! The functions behind the transforms, without chance: what `torchvision.transforms.functional` computes for tensors
//! `[.., channels, height, width]`.

use kiln_autograd::{DType, Result, Tensor};

pub use super::affine::{affine, rotate};
pub use super::color::{adjust_brightness, adjust_contrast, adjust_hue, adjust_saturation, rgb_to_grayscale};
pub use super::crop::{center_crop, crop};
pub use super::erasing::erase;
pub use super::pad::pad;
pub use super::resize::resize;

use super::values;

/// The image in another dtype, with values scaled to its range.
///
/// # Errors
/// The dtype cannot hold the values: bool, or integers that are too wide for the digits of a floating point image.
pub fn convert_image_dtype(image: &Tensor, dtype: DType) -> Result<Tensor> {
    values::convert(image, dtype)
}

/// `(x - mean) / std` for each channel; one number stands for all channels.
///
/// # Errors
/// The image is not of a floating point dtype, the numbers do not fit its channels, or a `std` is 0.
pub fn normalize(image: &Tensor, mean: &[f64], std: &[f64]) -> Result<Tensor> {
    values::normalized(image, mean, std)
}

/// Left becomes right.
///
/// # Errors
/// The tensor is no image.
pub fn hflip(image: &Tensor) -> Result<Tensor> {
    super::dimensions("hflip", image)?;
    image.flip(&[-1])
}

/// Up becomes down.
///
/// # Errors
/// The tensor is no image.
pub fn vflip(image: &Tensor) -> Result<Tensor> {
    super::dimensions("vflip", image)?;
    image.flip(&[-2])
}
