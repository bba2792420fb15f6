//! Images as networks want them: what `torchvision.transforms` does to tensors.
//!
//! An image is a tensor `[channels, height, width]`, u8 from 0 to 255 or floating point from 0 to 1; axes in front, as of a
//! batch, are kept. Every transform computes what torchvision computes for tensors (for pictures of PIL it may differ in the
//! last place), and the random ones draw the same numbers in the same order: a training loop in one thread sees
//! the same pictures after the same seed. Workers of a [`DataLoader`](crate::DataLoader) draw from streams of their own,
//! seeded as PyTorch seeds its workers'.
//!
//! ```
//! use kiln_autograd::{Tensor, manual_seed};
//! use kiln_data::transforms::{Compose, Normalize, RandomCrop, RandomHorizontalFlip, ToTensor, Transform};
//! manual_seed(0);
//! let augment = Compose::new()
//!     .then(RandomCrop::new(28).padding(4))
//!     .then(RandomHorizontalFlip::new(0.5))
//!     .then(ToTensor)
//!     .then(Normalize::new([0.5], [0.5]));
//! let image = Tensor::from_vec(vec![255u8; 784], [1, 28, 28])?;
//! assert_eq!(augment.apply(&image)?.dims(), [1, 28, 28]);
//! # Ok::<(), kiln_data::Error>(())
//! ```
//!
//! - [`functional`] has the functions without chance, as `torchvision.transforms.functional`.

mod affine;
mod color;
mod crop;
mod erasing;
pub mod functional;
mod hsv;
mod pad;
mod resample;
mod resize;
mod values;

pub use affine::{Affine, RandomAffine, RandomRotation};
pub use color::{ColorJitter, Grayscale, RandomGrayscale};
pub use crop::{
    CenterCrop, CropSize, RandomCrop, RandomHorizontalFlip, RandomResizedCrop, RandomVerticalFlip,
};
pub use erasing::{Erasure, RandomErasing};
pub use pad::{Borders, Pad, PaddingMode};
pub use resample::Interpolation;
pub use resize::{Resize, ResizeTo};
pub use values::{ConvertImageDtype, Normalize, ToTensor};

use kiln_autograd::{Error, Result, Tensor};

use crate::worker::with_generator;

/// A function of images. Every `Fn(&Tensor) -> Result<Tensor>` is one.
pub trait Transform: Send + Sync {
    /// The image, transformed.
    ///
    /// # Errors
    /// The image does not fit: its shape, its dtype, its size.
    fn apply(&self, image: &Tensor) -> Result<Tensor>;
}

impl<F: Fn(&Tensor) -> Result<Tensor> + Send + Sync> Transform for F {
    fn apply(&self, image: &Tensor) -> Result<Tensor> {
        self(image)
    }
}

impl Transform for Box<dyn Transform> {
    fn apply(&self, image: &Tensor) -> Result<Tensor> {
        (**self).apply(image)
    }
}

/// Transforms that run one after the other (`torchvision.transforms.Compose`).
#[derive(Default)]
pub struct Compose(Vec<Box<dyn Transform>>);

impl Compose {
    /// None yet: images stay as they are.
    pub fn new() -> Compose {
        Compose::default()
    }

    /// And then this one.
    #[must_use]
    pub fn then(mut self, transform: impl Transform + 'static) -> Compose {
        self.0.push(Box::new(transform));
        self
    }
}

impl Transform for Compose {
    fn apply(&self, image: &Tensor) -> Result<Tensor> {
        self.0.iter().try_fold(image.clone(), |image, transform| transform.apply(&image))
    }
}

/// A transform that runs with a probability (`torchvision.transforms.RandomApply`).
pub struct RandomApply<T> {
    transform: T,
    p: f64,
}

impl<T: Transform> RandomApply<T> {
    /// With probability `p`, 0.5 in torchvision by default.
    pub fn new(transform: T, p: f64) -> RandomApply<T> {
        RandomApply { transform, p }
    }
}

impl<T: Transform> Transform for RandomApply<T> {
    fn apply(&self, image: &Tensor) -> Result<Tensor> {
        // PyTorch asks the other way round here than in flips.
        if self.p < f64::from(unit()) { Ok(image.clone()) } else { self.transform.apply(image) }
    }
}

/// Channels, height and width of an image.
fn dimensions(op: &'static str, image: &Tensor) -> Result<[usize; 3]> {
    match image.dims()[..] {
        [.., c, h, w] => Ok([c, h, w]),
        ref dims => Err(Error::shape(
            op,
            format!("an image has the axes [.., channels, height, width], got {dims:?}"),
        )),
    }
}

/// The next number of `[0, 1)` (`torch.rand(1)`).
fn unit() -> f32 {
    let mut number = [0f32];
    // The bounds are fine.
    let _ = with_generator(|g| g.uniform(&mut number, 0.0, 1.0));
    number[0]
}

/// Whether something of probability `p` happens.
fn happens(p: f64) -> bool {
    // The comparison is in single precision, as the number is.
    unit() < p as f32
}

/// The next number of a range (`torch.empty(1).uniform_(from, to).item()`).
fn between(op: &'static str, from: f64, to: f64) -> Result<f64> {
    let mut number = [0f32];
    with_generator(|g| g.uniform(&mut number, from, to)).map_err(|e| Error::value(op, e.to_string()))?;
    Ok(f64::from(number[0]))
}

/// The next integer below `n` (`torch.randint(0, n, (1,))`).
fn below(op: &'static str, n: usize) -> Result<usize> {
    let mut number = [0i64];
    let n = i64::try_from(n).unwrap_or(i64::MAX);
    with_generator(|g| g.random_from_to(&mut number, 0, n)).map_err(|e| Error::value(op, e.to_string()))?;
    Ok(number[0] as usize)
}

/// A range of numbers in order.
fn in_order(op: &'static str, what: &str, (low, high): (f64, f64), within: (f64, f64)) -> Result<()> {
    if within.0 <= low && low <= high && high <= within.1 {
        return Ok(());
    }
    Err(Error::value(op, format!("{what} should be a range within {within:?}, but got ({low}, {high})")))
}
