//! Parts of images and their mirror images: [`CenterCrop`], [`RandomCrop`], [`RandomResizedCrop`] and flips.

use kiln_autograd::{Error, Result, Tensor};

use super::pad::{Borders, PaddingMode, pad};
use super::resample::Interpolation;
use super::resize::resize;
use super::{Transform, below, between, dimensions, functional, happens, in_order};

/// The height and width of a part: one number for both, or one for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CropSize([usize; 2]);

impl From<usize> for CropSize {
    fn from(n: usize) -> CropSize {
        CropSize([n, n])
    }
}

impl From<[usize; 2]> for CropSize {
    fn from(size: [usize; 2]) -> CropSize {
        CropSize(size)
    }
}

impl From<(usize, usize)> for CropSize {
    fn from((h, w): (usize, usize)) -> CropSize {
        CropSize([h, w])
    }
}

/// A part of an image; what lies outside of it is 0.
///
/// # Errors
/// The tensor is no image.
pub fn crop(image: &Tensor, top: i64, left: i64, height: usize, width: usize) -> Result<Tensor> {
    let [_, h, w] = dimensions("crop", image)?;
    let [h, w, height, width] = [h, w, height, width].map(|n| i64::try_from(n).unwrap_or(i64::MAX));
    let (bottom, right) = (top.saturating_add(height), left.saturating_add(width));
    if top >= 0 && left >= 0 && bottom <= h && right <= w {
        return image.narrow(-2, top, height)?.narrow(-1, left, width);
    }
    // Negative room cuts off.
    let cut = |n: i64| n.saturating_neg();
    image.constant_pad_nd(&[cut(left), right.saturating_sub(w), cut(top), bottom.saturating_sub(h)], 0)
}

/// The middle of an image; room of zeros comes around images that are smaller.
///
/// # Errors
/// The tensor is no image.
pub fn center_crop(image: &Tensor, size: impl Into<CropSize>) -> Result<Tensor> {
    let [_, h, w] = dimensions("center_crop", image)?;
    let CropSize([height, width]) = size.into();
    let missing = |want: usize, have: usize| {
        let n = i64::try_from(want.saturating_sub(have)).unwrap_or(i64::MAX);
        [n / 2, n - n / 2]
    };
    let ([top, bottom], [left, right]) = (missing(height, h), missing(width, w));
    let image = pad(image, [left, top, right, bottom], 0.0, PaddingMode::Constant)?;
    let start = |have: usize, want: usize| (have.saturating_sub(want) as f64 / 2.0).round_ties_even() as i64;
    crop(&image, start(h, height), start(w, width), height, width)
}

/// The middle of an image (`torchvision.transforms.CenterCrop`).
#[derive(Clone, Copy, Debug)]
pub struct CenterCrop(CropSize);

impl CenterCrop {
    /// Of this size: a number, or `[height, width]`.
    pub fn new(size: impl Into<CropSize>) -> CenterCrop {
        CenterCrop(size.into())
    }
}

impl Transform for CenterCrop {
    fn apply(&self, image: &Tensor) -> Result<Tensor> {
        center_crop(image, self.0)
    }
}

/// A part of an image at a random place (`torchvision.transforms.RandomCrop`).
#[derive(Clone, Copy, Debug)]
pub struct RandomCrop {
    size: CropSize,
    padding: Option<Borders>,
    pad_if_needed: bool,
    fill: f64,
    mode: PaddingMode,
}

impl RandomCrop {
    /// Of this size: a number, or `[height, width]`.
    pub fn new(size: impl Into<CropSize>) -> RandomCrop {
        let mode = PaddingMode::Constant;
        RandomCrop { size: size.into(), padding: None, pad_if_needed: false, fill: 0.0, mode }
    }

    /// Room around the image before: a number, `[left and right, top and bottom]`, or `[left, top, right, bottom]`.
    #[must_use]
    pub fn padding(self, padding: impl Into<Borders>) -> RandomCrop {
        RandomCrop { padding: Some(padding.into()), ..self }
    }

    /// Whether images that are too small get room on both sides, not an error.
    #[must_use]
    pub fn pad_if_needed(self, pad_if_needed: bool) -> RandomCrop {
        RandomCrop { pad_if_needed, ..self }
    }

    /// The value of the room, 0 by default.
    #[must_use]
    pub fn fill(self, fill: f64) -> RandomCrop {
        RandomCrop { fill, ..self }
    }

    /// What the room is filled with.
    #[must_use]
    pub fn padding_mode(self, mode: PaddingMode) -> RandomCrop {
        RandomCrop { mode, ..self }
    }
}

impl Transform for RandomCrop {
    fn apply(&self, image: &Tensor) -> Result<Tensor> {
        const OP: &str = "RandomCrop";
        let CropSize([height, width]) = self.size;
        let mut image = match self.padding {
            Some(borders) => pad(image, borders, self.fill, self.mode)?,
            None => image.clone(),
        };
        let [_, h, w] = dimensions(OP, &image)?;
        let missing = |want: usize, have: usize| i64::try_from(want.saturating_sub(have)).unwrap_or(i64::MAX);
        if self.pad_if_needed && w < width {
            image = pad(&image, [missing(width, w), 0], self.fill, self.mode)?;
        }
        if self.pad_if_needed && h < height {
            image = pad(&image, [0, missing(height, h)], self.fill, self.mode)?;
        }
        let [_, h, w] = dimensions(OP, &image)?;
        if h < height || w < width {
            let text = format!(
                "Required crop size {:?} is larger than input image size {:?}",
                (height, width),
                (h, w)
            );
            return Err(Error::value(OP, text));
        }
        if h == height && w == width {
            return Ok(image);
        }
        let (top, left) = (below(OP, h - height + 1)?, below(OP, w - width + 1)?);
        crop(&image, top as i64, left as i64, height, width)
    }
}

/// A random part of an image, of random size and shape, resized (`torchvision.transforms.RandomResizedCrop`): Szegedy et
/// al., "Going deeper with convolutions" (2015).
#[derive(Clone, Copy, Debug)]
pub struct RandomResizedCrop {
    size: CropSize,
    scale: (f64, f64),
    ratio: (f64, f64),
    interpolation: Interpolation,
    antialias: bool,
}

impl RandomResizedCrop {
    /// To this size: a number, or `[height, width]`. The part has 8 to 100 % of the area, and is at most a third wider than
    /// high, or higher than wide.
    pub fn new(size: impl Into<CropSize>) -> RandomResizedCrop {
        let ratio = (3.0 / 4.0, 4.0 / 3.0);
        let interpolation = Interpolation::Bilinear;
        RandomResizedCrop { size: size.into(), scale: (0.08, 1.0), ratio, interpolation, antialias: true }
    }

    /// The least and the greatest part of the area.
    #[must_use]
    pub fn scale(self, least: f64, greatest: f64) -> RandomResizedCrop {
        RandomResizedCrop { scale: (least, greatest), ..self }
    }

    /// The least and the greatest width of a part of height 1.
    #[must_use]
    pub fn ratio(self, least: f64, greatest: f64) -> RandomResizedCrop {
        RandomResizedCrop { ratio: (least, greatest), ..self }
    }

    /// How pixels between pixels are found, [`Interpolation::Bilinear`] by default.
    #[must_use]
    pub fn interpolation(self, interpolation: Interpolation) -> RandomResizedCrop {
        RandomResizedCrop { interpolation, ..self }
    }

    /// Whether smaller images are means of the pixels under theirs (they are by default).
    #[must_use]
    pub fn antialias(self, antialias: bool) -> RandomResizedCrop {
        RandomResizedCrop { antialias, ..self }
    }

    /// Top, left, height and width of the part.
    fn place(&self, h: usize, w: usize) -> Result<[usize; 4]> {
        const OP: &str = "RandomResizedCrop";
        let area = (h * w) as f64;
        for _ in 0..10 {
            let target = area * between(OP, self.scale.0, self.scale.1)?;
            let aspect = aspect(OP, self.ratio)?;
            let width = (target * aspect).sqrt().round_ties_even() as usize;
            let height = (target / aspect).sqrt().round_ties_even() as usize;
            if 0 < width && width <= w && 0 < height && height <= h {
                return Ok([below(OP, h - height + 1)?, below(OP, w - width + 1)?, height, width]);
            }
        }
        // The middle, of the shape that is allowed and nearest to the image's.
        let own = w as f64 / h as f64;
        let (height, width) = if own < self.ratio.0 {
            ((w as f64 / self.ratio.0).round_ties_even() as usize, w)
        } else if own > self.ratio.1 {
            (h, (h as f64 * self.ratio.1).round_ties_even() as usize)
        } else {
            (h, w)
        };
        Ok([h.saturating_sub(height) / 2, w.saturating_sub(width) / 2, height.min(h), width.min(w)])
    }
}

/// A random ratio, as likely to be large as its inverse.
pub(super) fn aspect(op: &'static str, (least, greatest): (f64, f64)) -> Result<f64> {
    // In single precision, as PyTorch has it.
    let logs = Tensor::from_vec(vec![least as f32, greatest as f32], [2])?.log()?.to_vec::<f32>()?;
    let drawn = between(op, f64::from(logs[0]), f64::from(logs[1]))? as f32;
    Ok(f64::from(Tensor::from_vec(vec![drawn], [1])?.exp()?.to_vec::<f32>()?[0]))
}

impl Transform for RandomResizedCrop {
    fn apply(&self, image: &Tensor) -> Result<Tensor> {
        const OP: &str = "RandomResizedCrop";
        in_order(OP, "scale", self.scale, (0.0, f64::MAX))?;
        in_order(OP, "ratio", self.ratio, (f64::MIN_POSITIVE, f64::MAX))?;
        let [_, h, w] = dimensions(OP, image)?;
        if h == 0 || w == 0 {
            return Err(Error::shape(OP, format!("the image is empty: {:?}", image.shape())));
        }
        let [top, left, height, width] = self.place(h, w)?;
        let part = crop(image, top as i64, left as i64, height, width)?;
        resize(&part, self.size.0, self.interpolation, self.antialias)
    }
}

/// Flips that happen with a probability.
macro_rules! flips {
    ($($(#[$doc:meta])* $name:ident: $flip:path;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name(f64);

        impl $name {
            /// With probability `p`, 0.5 in torchvision by default.
            pub fn new(p: f64) -> $name {
                $name(p)
            }
        }

        impl Default for $name {
            fn default() -> $name {
                $name(0.5)
            }
        }

        impl Transform for $name {
            fn apply(&self, image: &Tensor) -> Result<Tensor> {
                if happens(self.0) { $flip(image) } else { Ok(image.clone()) }
            }
        }
    )*};
}

flips! {
    /// Left becomes right with a probability (`torchvision.transforms.RandomHorizontalFlip`).
    RandomHorizontalFlip: functional::hflip;
    /// Up becomes down with a probability (`torchvision.transforms.RandomVerticalFlip`).
    RandomVerticalFlip: functional::vflip;
}
