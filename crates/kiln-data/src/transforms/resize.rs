//! [`Resize`]: images of another size.

use kiln_autograd::{Alignment, DType, Error, InterpolateMode, Result, Tensor, no_grad};

use super::resample::{Interpolation, antialiased};
use super::{Transform, dimensions};

/// The size of an image: its shorter side, or height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResizeTo {
    /// The shorter side; the other keeps the image's shape.
    Shorter(usize),
    /// Height and width.
    Exactly([usize; 2]),
}

impl From<usize> for ResizeTo {
    fn from(n: usize) -> ResizeTo {
        ResizeTo::Shorter(n)
    }
}

impl From<[usize; 2]> for ResizeTo {
    fn from(size: [usize; 2]) -> ResizeTo {
        ResizeTo::Exactly(size)
    }
}

impl From<(usize, usize)> for ResizeTo {
    fn from((h, w): (usize, usize)) -> ResizeTo {
        ResizeTo::Exactly([h, w])
    }
}

/// Images of another size (`torchvision.transforms.Resize`).
///
/// Pixels of images that become smaller are weighted means of all that they cover, as torchvision's are for tensors and
/// PIL's; integers are computed in f32 and rounded.
///
/// ```
/// use kiln_autograd::Tensor;
/// use kiln_data::transforms::{Resize, Transform};
/// let image = Tensor::from_vec(vec![0u8; 3 * 40 * 60], [3, 40, 60])?;
/// assert_eq!(Resize::new(20).apply(&image)?.dims(), [3, 20, 30]);
/// assert_eq!(Resize::new([32, 32]).apply(&image)?.dims(), [3, 32, 32]);
/// # Ok::<(), kiln_data::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Resize {
    size: ResizeTo,
    max_size: Option<usize>,
    interpolation: Interpolation,
    antialias: bool,
}

impl Resize {
    /// To this shorter side, or to `[height, width]`, bilinearly.
    pub fn new(size: impl Into<ResizeTo>) -> Resize {
        Resize { size: size.into(), max_size: None, interpolation: Interpolation::Bilinear, antialias: true }
    }

    /// How long the longer side may be where the shorter one is given.
    #[must_use]
    pub fn max_size(self, max_size: usize) -> Resize {
        Resize { max_size: Some(max_size), ..self }
    }

    /// How pixels between pixels are found, [`Interpolation::Bilinear`] by default.
    #[must_use]
    pub fn interpolation(self, interpolation: Interpolation) -> Resize {
        Resize { interpolation, ..self }
    }

    /// Whether smaller images are means of the pixels under theirs (they are by default).
    #[must_use]
    pub fn antialias(self, antialias: bool) -> Resize {
        Resize { antialias, ..self }
    }

    fn target(&self, h: usize, w: usize) -> Result<[usize; 2]> {
        let ResizeTo::Shorter(wanted) = self.size else {
            let ResizeTo::Exactly(size) = self.size else { unreachable!("there are two forms") };
            return Ok(size);
        };
        let (short, long) = (h.min(w), h.max(w));
        if short == 0 {
            return Err(Error::shape("resize", format!("an image of {h} by {w} pixels cannot be resized")));
        }
        let scaled = |n: usize, by: usize, of: usize| (n as u128 * by as u128 / of as u128) as usize;
        let mut sides = [wanted, scaled(wanted, long, short)];
        if let Some(most) = self.max_size {
            if most <= wanted {
                let text = format!(
                    "max_size = {most} must be strictly greater than the requested size for the smaller edge size = {wanted}"
                );
                return Err(Error::value("resize", text));
            }
            if sides[1] > most {
                sides = [scaled(most, sides[0], sides[1]), most];
            }
        }
        Ok(if w <= h { [sides[1], sides[0]] } else { sides })
    }
}

impl Transform for Resize {
    fn apply(&self, image: &Tensor) -> Result<Tensor> {
        let [_, h, w] = dimensions("resize", image)?;
        resize(image, self.target(h, w)?, self.interpolation, self.antialias)
    }
}

/// The image in another size `[height, width]`: see [`Resize`].
///
/// # Errors
/// The tensor is no image or has no pixels; a size of 0.
pub fn resize(
    image: &Tensor,
    size: [usize; 2],
    interpolation: Interpolation,
    antialias: bool,
) -> Result<Tensor> {
    let [channels, h, w] = dimensions("resize", image)?;
    if [h, w] == size {
        return Ok(image.clone());
    }
    if [h, w].contains(&0) || size.contains(&0) {
        let text =
            format!("Input and output sizes should be greater than 0, but got {:?} and {size:?}", [h, w]);
        return Err(Error::shape("resize", text));
    }
    no_grad(|| {
        let dtype = image.dtype();
        let float = if dtype.is_float() { image.clone() } else { image.to_dtype(DType::F32)? };
        let smooth = matches!(interpolation, Interpolation::Bilinear | Interpolation::Bicubic);
        let bicubic = interpolation == Interpolation::Bicubic;
        let mut resized = if smooth && antialias {
            antialiased(&float, size, bicubic)?
        } else {
            let mode = match interpolation {
                Interpolation::Nearest => InterpolateMode::Nearest,
                Interpolation::NearestExact => InterpolateMode::NearestExact,
                Interpolation::Bilinear => InterpolateMode::Linear,
                Interpolation::Bicubic => InterpolateMode::Bicubic,
            };
            let mut dims = image.dims();
            let rank = dims.len();
            let batch = dims[..rank - 3].iter().product::<usize>();
            let y = float.reshape([batch, channels, h, w])?.interpolate(&size, mode, Alignment::default())?;
            dims[rank - 2..].copy_from_slice(&size);
            y.reshape(dims)?
        };
        if dtype.is_float() {
            return resized.to_dtype(dtype);
        }
        if bicubic && dtype == DType::U8 {
            resized = resized.clamp(0.0, 255.0)?;
        }
        resized.round()?.to_dtype(dtype)
    })
}
