//! The values of pixels: [`ToTensor`], [`ConvertImageDtype`], [`Normalize`].

use kiln_autograd::{DType, Error, Result, Tensor, no_grad};

use super::{Transform, functional};

/// u8 images become f32 from 0 to 1, others stay (`torchvision.transforms.ToTensor`). Images have the channels first here
/// from the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct ToTensor;

impl Transform for ToTensor {
    fn apply(&self, image: &Tensor) -> Result<Tensor> {
        if image.dtype() == DType::U8 { convert(image, DType::F32) } else { Ok(image.clone()) }
    }
}

/// Images of a dtype, with values scaled to its range: the whole range of integers, 0 to 1 of floating point numbers
/// (`torchvision.transforms.ConvertImageDtype`).
#[derive(Clone, Copy, Debug)]
pub struct ConvertImageDtype(pub DType);

impl Transform for ConvertImageDtype {
    fn apply(&self, image: &Tensor) -> Result<Tensor> {
        functional::convert_image_dtype(image, self.0)
    }
}

/// The value that stands for white.
pub(super) fn white(dtype: DType) -> f64 {
    match dtype {
        DType::U8 => f64::from(u8::MAX),
        DType::I8 => f64::from(i8::MAX),
        DType::I16 => f64::from(i16::MAX),
        DType::I32 => f64::from(i32::MAX),
        DType::I64 => i64::MAX as f64,
        _ => 1.0,
    }
}

pub(super) fn convert(image: &Tensor, dtype: DType) -> Result<Tensor> {
    let from = image.dtype();
    if from == dtype {
        return Ok(image.clone());
    }
    let unsafe_cast = Err(Error::dtype(
        "convert_image_dtype",
        format!("the cast from {from} to {dtype} cannot be performed safely"),
    ));
    no_grad(|| match (from.is_float(), dtype.is_float()) {
        (_, _) if from == DType::Bool || dtype == DType::Bool => unsafe_cast,
        (true, true) => image.to_dtype(dtype),
        (false, true) => image.to_dtype(dtype)?.div(white(from)),
        (true, false) => {
            let wide = matches!(dtype, DType::I32 | DType::I64);
            if (from == DType::F32 && wide) || (from == DType::F64 && dtype == DType::I64) {
                return unsafe_cast;
            }
            // A little less than the number of values, so that 1 becomes the largest of them.
            image.mul(white(dtype) + 1.0 - 1e-3)?.to_dtype(dtype)
        }
        (false, false) => {
            // Both are powers of two.
            let (a, b) = (bits(from), bits(dtype));
            if a > b {
                image.floor_divide(1i64 << (a - b))?.to_dtype(dtype)
            } else {
                image.to_dtype(dtype)?.mul(1i64 << (b - a))
            }
        }
    })
}

/// How many bits an integer's magnitude has.
fn bits(dtype: DType) -> u32 {
    match dtype {
        DType::I8 => 7,
        DType::I16 => 15,
        DType::I32 => 31,
        DType::I64 => 63,
        _ => 8,
    }
}

/// `(x - mean) / std` for each channel (`torchvision.transforms.Normalize`).
///
/// ```
/// use kiln_autograd::Tensor;
/// use kiln_data::transforms::{Normalize, Transform};
/// let image = Tensor::from_vec(vec![0.0f32, 0.5, 1.0], [3, 1, 1])?;
/// let normal = Normalize::new([0.5, 0.5, 0.5], [0.25, 0.5, 0.25]).apply(&image)?;
/// assert_eq!(normal.to_vec::<f32>()?, [-2.0, 0.0, 2.0]);
/// # Ok::<(), kiln_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Normalize {
    mean: Vec<f64>,
    std: Vec<f64>,
}

impl Normalize {
    /// With one number for each channel, or one for all.
    pub fn new(mean: impl Into<Vec<f64>>, std: impl Into<Vec<f64>>) -> Normalize {
        Normalize { mean: mean.into(), std: std.into() }
    }
}

impl Transform for Normalize {
    fn apply(&self, image: &Tensor) -> Result<Tensor> {
        functional::normalize(image, &self.mean, &self.std)
    }
}

pub(super) fn normalized(image: &Tensor, mean: &[f64], std: &[f64]) -> Result<Tensor> {
    const OP: &str = "normalize";
    let [channels, ..] = super::dimensions(OP, image)?;
    if !image.dtype().is_float() {
        let text = format!("Input tensor should be a float tensor. Got {}.", image.dtype());
        return Err(Error::dtype(OP, text));
    }
    let column = |what: &str, values: &[f64]| {
        if values.len() != 1 && values.len() != channels {
            let text = format!("{} numbers as {what} of {channels} channels", values.len());
            return Err(Error::shape(OP, text));
        }
        Tensor::from_vec(values.to_vec(), [values.len(), 1, 1])?
            .to_dtype(image.dtype())?
            .to_device(image.device())
    };
    let (mean, std) = (column("mean", mean)?, column("std", std)?);
    if std.to_dtype(DType::F64)?.to_vec::<f64>()?.contains(&0.0) {
        let text = format!(
            "std evaluated to zero after conversion to {}, leading to division by zero.",
            image.dtype()
        );
        return Err(Error::value(OP, text));
    }
    image.sub(&mean)?.div(&std)
}
