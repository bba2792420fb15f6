//! [`RandomErasing`]: a random rectangle is painted over.

use kiln_autograd::{DType, Error, Result, Tensor, no_grad};

use crate::worker::with_generator;

use super::crop::aspect;
use super::{Transform, below, between, dimensions, happens, in_order};

/// What a rectangle is painted with.
#[derive(Clone, Debug, PartialEq)]
pub enum Erasure {
    /// One number for all channels, or one for each.
    Value(Vec<f64>),
    /// Normal numbers.
    Random,
}

impl From<f64> for Erasure {
    fn from(value: f64) -> Erasure {
        Erasure::Value(vec![value])
    }
}

impl From<Vec<f64>> for Erasure {
    fn from(values: Vec<f64>) -> Erasure {
        Erasure::Value(values)
    }
}

impl<const N: usize> From<[f64; N]> for Erasure {
    fn from(values: [f64; N]) -> Erasure {
        Erasure::Value(values.to_vec())
    }
}

/// A random rectangle is painted over with a probability (`torchvision.transforms.RandomErasing`): Zhong et al., "Random
/// erasing data augmentation" (2017).
#[derive(Clone, Debug)]
pub struct RandomErasing {
    p: f64,
    scale: (f64, f64),
    ratio: (f64, f64),
    value: Erasure,
}

impl RandomErasing {
    /// With probability `p`, 0.5 in torchvision by default: 2 to 33 % of the area, zeros.
    pub fn new(p: f64) -> RandomErasing {
        RandomErasing { p, scale: (0.02, 0.33), ratio: (0.3, 3.3), value: Erasure::from(0.0) }
    }

    /// The least and the greatest part of the area.
    #[must_use]
    pub fn scale(self, least: f64, greatest: f64) -> RandomErasing {
        RandomErasing { scale: (least, greatest), ..self }
    }

    /// The least and the greatest height of a rectangle of width 1.
    #[must_use]
    pub fn ratio(self, least: f64, greatest: f64) -> RandomErasing {
        RandomErasing { ratio: (least, greatest), ..self }
    }

    /// What the rectangle is painted with: a number, one for each channel, or [`Erasure::Random`].
    #[must_use]
    pub fn value(self, value: impl Into<Erasure>) -> RandomErasing {
        RandomErasing { value: value.into(), ..self }
    }

    /// The paint `[c or 1, h, w]`.
    fn paint(&self, channels: usize, h: usize, w: usize) -> Result<Tensor> {
        const OP: &str = "RandomErasing";
        match &self.value {
            Erasure::Value(values) => {
                let numbers = values.iter().map(|v| *v as f32).collect::<Vec<f32>>();
                Tensor::from_vec(numbers, [values.len(), 1, 1])?.expand([values.len(), h, w])
            }
            Erasure::Random => {
                let mut numbers = vec![0f32; channels * h * w];
                let drawn = with_generator(|g| g.normal(&mut numbers, 0.0, 1.0));
                drawn.map_err(|e| Error::value(OP, e.to_string()))?;
                Tensor::from_vec(numbers, [channels, h, w])
            }
        }
    }
}

impl Transform for RandomErasing {
    fn apply(&self, image: &Tensor) -> Result<Tensor> {
        const OP: &str = "RandomErasing";
        in_order(OP, "scale", self.scale, (0.0, 1.0))?;
        in_order(OP, "ratio", self.ratio, (f64::MIN_POSITIVE, f64::MAX))?;
        let [channels, h, w] = dimensions(OP, image)?;
        if let Erasure::Value(values) = &self.value
            && values.len() != 1
            && values.len() != channels
        {
            let text = format!(
                "If value is a sequence, it should have either a single value or {channels} (number of input channels)"
            );
            return Err(Error::value(OP, text));
        }
        if !happens(self.p) {
            return Ok(image.clone());
        }
        let area = (h * w) as f64;
        for _ in 0..10 {
            let target = area * between(OP, self.scale.0, self.scale.1)?;
            let aspect = aspect(OP, self.ratio)?;
            let height = (target * aspect).sqrt().round_ties_even() as usize;
            let width = (target / aspect).sqrt().round_ties_even() as usize;
            if height < h && width < w {
                let paint = self.paint(channels, height, width)?;
                let (top, left) = (below(OP, h - height + 1)?, below(OP, w - width + 1)?);
                return erase(image, top, left, &paint);
            }
        }
        Ok(image.clone())
    }
}

/// The image with `paint`, `[channels or 1, height, width]`, over the pixels from `top` and `left` on.
///
/// # Errors
/// The paint does not lie within the image, or has other channels.
pub fn erase(image: &Tensor, top: usize, left: usize, paint: &Tensor) -> Result<Tensor> {
    const OP: &str = "erase";
    dimensions(OP, image)?;
    let [_, height, width] = dimensions(OP, paint)?;
    let paint = match image.dtype() {
        // Negative numbers have no meaning in bytes: PyTorch's conversion wraps, and so does this one.
        DType::U8 => paint.to_dtype(DType::I64)?.to_dtype(DType::U8)?,
        dtype => paint.to_dtype(dtype)?,
    };
    no_grad(|| {
        let painted = image.detach().copy()?;
        let place = painted.narrow(-2, top as i64, height as i64)?.narrow(-1, left as i64, width as i64)?;
        place.copy_(&paint.to_device(image.device())?.expand(place.shape())?)?;
        Ok(painted)
    })
}
