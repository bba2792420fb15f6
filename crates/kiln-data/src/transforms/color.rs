//! Brightness, contrast and colours: [`ColorJitter`], [`Grayscale`], [`RandomGrayscale`].

use kiln_autograd::{DType, Error, Result, Tensor, no_grad};

use crate::worker::with_generator;

use super::hsv::{hsv_to_rgb, rgb_to_hsv};
use super::values::{convert, white};
use super::{Transform, between, dimensions, happens, in_order};

/// Refuses images that are neither gray nor of three colours.
fn channels(op: &'static str, image: &Tensor) -> Result<usize> {
    match dimensions(op, image)? {
        [n @ (1 | 3), ..] => Ok(n),
        [n, ..] => Err(Error::shape(
            op,
            format!("Input image tensor permitted channel values are 1 or 3, but found {n}"),
        )),
    }
}

fn not_negative(op: &'static str, factor: f64) -> Result<()> {
    if factor >= 0.0 {
        return Ok(());
    }
    Err(Error::value(op, format!("the factor ({factor}) is not non-negative.")))
}

/// `ratio a + (1 - ratio) b`, within the range of the image's dtype.
fn blend(image: &Tensor, other: &Tensor, ratio: f64) -> Result<Tensor> {
    let dtype = image.dtype();
    no_grad(|| {
        let mixed = image.mul(ratio)?.add(&other.mul(1.0 - ratio)?)?;
        mixed.clamp(0.0, white(dtype))?.to_dtype(dtype)
    })
}

/// The brightness of colours, as one channel or as three equal ones.
///
/// # Errors
/// Neither one nor three channels, there or wanted.
pub fn rgb_to_grayscale(image: &Tensor, num_output_channels: usize) -> Result<Tensor> {
    const OP: &str = "rgb_to_grayscale";
    if !matches!(num_output_channels, 1 | 3) {
        return Err(Error::value(OP, "num_output_channels should be either 1 or 3"));
    }
    let gray = if channels(OP, image)? == 3 {
        no_grad(|| {
            let part = |i: i64, weight: f64| image.narrow(-3, i, 1)?.mul(weight);
            part(0, 0.2989)?.add(&part(1, 0.587)?)?.add(&part(2, 0.114)?)?.to_dtype(image.dtype())
        })?
    } else {
        image.copy()?
    };
    if num_output_channels == 1 {
        return Ok(gray);
    }
    let mut dims = gray.dims();
    let rank = dims.len();
    dims[rank - 3] = 3;
    gray.expand(dims)
}

/// The image times a factor, within the range of its dtype.
///
/// # Errors
/// Neither one nor three channels, or a negative factor.
pub fn adjust_brightness(image: &Tensor, factor: f64) -> Result<Tensor> {
    channels("adjust_brightness", image)?;
    not_negative("adjust_brightness", factor)?;
    blend(image, &image.zeros_like()?, factor)
}

/// The image's distance from its mean brightness times a factor.
///
/// # Errors
/// Neither one nor three channels, or a negative factor.
pub fn adjust_contrast(image: &Tensor, factor: f64) -> Result<Tensor> {
    const OP: &str = "adjust_contrast";
    not_negative(OP, factor)?;
    let gray = if channels(OP, image)? == 3 { rgb_to_grayscale(image, 1)? } else { image.clone() };
    let float = if image.dtype().is_float() { gray } else { gray.to_dtype(DType::F32)? };
    blend(image, &no_grad(|| float.mean_axes(&[-3, -2, -1], true))?, factor)
}

/// The colours' distance from gray times a factor.
///
/// # Errors
/// Neither one nor three channels, or a negative factor.
pub fn adjust_saturation(image: &Tensor, factor: f64) -> Result<Tensor> {
    const OP: &str = "adjust_saturation";
    not_negative(OP, factor)?;
    if channels(OP, image)? == 1 {
        return Ok(image.clone());
    }
    blend(image, &rgb_to_grayscale(image, 1)?, factor)
}

/// The colours turned by a part of the circle from -0.5 to 0.5.
///
/// # Errors
/// Neither one nor three channels, or another part.
pub fn adjust_hue(image: &Tensor, hue: f64) -> Result<Tensor> {
    const OP: &str = "adjust_hue";
    if !(-0.5..=0.5).contains(&hue) {
        return Err(Error::value(OP, format!("hue_factor ({hue}) is not in [-0.5, 0.5].")));
    }
    if channels(OP, image)? == 1 {
        return Ok(image.clone());
    }
    no_grad(|| {
        let [h, s, v] = rgb_to_hsv(&convert(image, DType::F32)?)?;
        convert(&hsv_to_rgb(&[h.add(hue)?.remainder(1.0)?, s, v])?, image.dtype())
    })
}

/// Brightness, contrast, saturation and hue changed at random, in random order (`torchvision.transforms.ColorJitter`).
///
/// ```
/// use kiln_autograd::Tensor;
/// use kiln_data::transforms::{ColorJitter, Transform};
/// let jitter = ColorJitter::new().brightness(0.2).contrast(0.2).saturation(0.2).hue(0.1);
/// let image = Tensor::full([3, 8, 8], 0.5);
/// assert_eq!(jitter.apply(&image)?.dims(), [3, 8, 8]);
/// # Ok::<(), kiln_data::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ColorJitter {
    brightness: Option<(f64, f64)>,
    contrast: Option<(f64, f64)>,
    saturation: Option<(f64, f64)>,
    hue: Option<(f64, f64)>,
}

/// The settings of which a number `x` stands for factors from `1 - x`, at least 0, to `1 + x`.
macro_rules! factors {
    ($($name:ident $range:ident: $what:literal;)*) => {$(
        #[doc = concat!("Changes ", $what, " by factors from `1 - x`, but at least 0, to `1 + x`.")]
        #[must_use]
        pub fn $name(self, x: f64) -> ColorJitter {
            self.$range((1.0 - x).max(0.0), 1.0 + x)
        }

        #[doc = concat!("Changes ", $what, " by factors of this range.")]
        #[must_use]
        pub fn $range(self, least: f64, greatest: f64) -> ColorJitter {
            let range = Some((least, greatest)).filter(|range| *range != (1.0, 1.0));
            ColorJitter { $name: range, ..self }
        }
    )*};
}

impl ColorJitter {
    /// Nothing is changed yet.
    pub fn new() -> ColorJitter {
        ColorJitter::default()
    }

    factors! {
        brightness brightness_range: "the brightness";
        contrast contrast_range: "the contrast";
        saturation saturation_range: "the saturation";
    }

    /// Turns the hue by up to this part of the circle, at most 0.5, either way.
    #[must_use]
    pub fn hue(self, x: f64) -> ColorJitter {
        self.hue_range(-x, x)
    }

    /// Turns the hue by a part of the circle of this range, within -0.5 and 0.5.
    #[must_use]
    pub fn hue_range(self, least: f64, greatest: f64) -> ColorJitter {
        let range = Some((least, greatest)).filter(|range| *range != (0.0, 0.0));
        ColorJitter { hue: range, ..self }
    }
}

impl Transform for ColorJitter {
    fn apply(&self, image: &Tensor) -> Result<Tensor> {
        const OP: &str = "ColorJitter";
        let factor = (0.0, f64::MAX);
        let ranges = [
            (self.brightness, "brightness", factor),
            (self.contrast, "contrast", factor),
            (self.saturation, "saturation", factor),
            (self.hue, "hue", (-0.5, 0.5)),
        ];
        for (range, what, within) in ranges {
            range.map_or(Ok(()), |range| in_order(OP, what, range, within))?;
        }
        let order = with_generator(|g| g.randperm(4)).map_err(|e| Error::value(OP, e.to_string()))?;
        let mut drawn = [None; 4];
        for (drawn, (range, ..)) in drawn.iter_mut().zip(ranges) {
            *drawn = range.map(|(least, greatest)| between(OP, least, greatest)).transpose()?;
        }
        let adjust = [adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue];
        order.into_iter().try_fold(image.clone(), |image, which| match drawn[which as usize] {
            Some(factor) => adjust[which as usize](&image, factor),
            None => Ok(image),
        })
    }
}

/// Images without colours (`torchvision.transforms.Grayscale`).
#[derive(Clone, Copy, Debug)]
pub struct Grayscale(usize);

impl Grayscale {
    /// With 1 channel (torchvision's default) or 3 equal ones.
    pub fn new(num_output_channels: usize) -> Grayscale {
        Grayscale(num_output_channels)
    }
}

impl Default for Grayscale {
    fn default() -> Grayscale {
        Grayscale(1)
    }
}

impl Transform for Grayscale {
    fn apply(&self, image: &Tensor) -> Result<Tensor> {
        rgb_to_grayscale(image, self.0)
    }
}

/// Images lose their colours with a probability; the number of channels stays (`torchvision.transforms.RandomGrayscale`).
#[derive(Clone, Copy, Debug)]
pub struct RandomGrayscale(f64);

impl RandomGrayscale {
    /// With probability `p`, 0.1 in torchvision by default.
    pub fn new(p: f64) -> RandomGrayscale {
        RandomGrayscale(p)
    }
}

impl Default for RandomGrayscale {
    fn default() -> RandomGrayscale {
        RandomGrayscale(0.1)
    }
}

impl Transform for RandomGrayscale {
    fn apply(&self, image: &Tensor) -> Result<Tensor> {
        let [channels, ..] = dimensions("RandomGrayscale", image)?;
        if happens(self.0) { rgb_to_grayscale(image, channels) } else { Ok(image.clone()) }
    }
}
