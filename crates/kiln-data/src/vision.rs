//! Data sets of small images: MNIST, Fashion-MNIST and the embedded digits.

use std::path::Path;

use kiln_autograd::{DType, Error, Here, Result, Tensor};

use crate::Dataset;
use crate::dataset::positions;
use crate::mnist::{MnistKind, Split};
use crate::{digits, mnist};

/// Gray images with classes. A sample is `(image, class)`: an f32 tensor `[1, height, width]` of values from 0 to 1, as
/// torchvision's `ToTensor` gives it, and the number of the class.
pub struct ImageClasses {
    /// u8 `[n, 1, height, width]`.
    images: Tensor,
    /// i64 `[n]`.
    labels: Tensor,
    numbers: Vec<i64>,
    /// The value that stands for 1.
    white: f64,
    classes: &'static [&'static str],
}

impl ImageClasses {
    fn new(
        images: Vec<u8>,
        [n, height, width]: [usize; 3],
        labels: &[u8],
        white: u8,
        classes: &'static [&'static str],
    ) -> Result<ImageClasses> {
        let numbers: Vec<i64> = labels.iter().map(|&l| l as i64).collect();
        Ok(ImageClasses {
            images: Tensor::from_vec(images, [n, 1, height, width])?,
            labels: Tensor::from_vec(numbers.clone(), [n])?,
            numbers,
            white: white as f64,
            classes,
        })
    }

    /// Fashion-MNIST: 28x28 pictures of ten kinds of clothes, 60,000 to train and 10,000 to test with.
    ///
    /// The files are looked for in `root`, in the folder that `KILN_DATA` names, and in the cache, and downloaded if
    /// they are nowhere.
    ///
    /// # Errors
    /// The files are not to be had, or are damaged.
    #[track_caller]
    pub fn fashion_mnist(split: Split, root: Option<&Path>) -> Result<ImageClasses> {
        ImageClasses::mnist_like(MnistKind::FashionMnist, split, root).here()
    }

    /// MNIST: 28x28 pictures of handwritten digits, 60,000 to train and 10,000 to test with; found as
    /// [`ImageClasses::fashion_mnist`] is.
    ///
    /// # Errors
    /// The files are not to be had, or are damaged.
    #[track_caller]
    pub fn mnist(split: Split, root: Option<&Path>) -> Result<ImageClasses> {
        ImageClasses::mnist_like(MnistKind::Mnist, split, root).here()
    }

    fn mnist_like(kind: MnistKind, split: Split, root: Option<&Path>) -> Result<ImageClasses> {
        let data = mnist::load(kind, split, root)?;
        ImageClasses::new(data.images, data.shape, &data.labels, 255, kind.classes())
    }

    /// The embedded handwritten digits of the UCI repository: 1797 pictures of 8x8 pixels; see [`digits`]. Every sixth one
    /// is to test with (299), the others to train with (1498); both sets have the same writers.
    ///
    /// # Errors
    /// None in practice: the data is part of the library.
    #[track_caller]
    pub fn digits(split: Split) -> Result<ImageClasses> {
        let all = digits::load();
        let size = digits::SIDE * digits::SIDE;
        let wanted = |i: &usize| (i % 6 == 5) == (split == Split::Test);
        let chosen: Vec<usize> = (0..digits::COUNT).filter(wanted).collect();
        let images = chosen.iter().flat_map(|&i| &all.pixels[i * size..(i + 1) * size]).copied().collect();
        let labels: Vec<u8> = chosen.iter().map(|&i| all.labels[i]).collect();
        let shape = [chosen.len(), digits::SIDE, digits::SIDE];
        ImageClasses::new(images, shape, &labels, digits::MAX_PIXEL, &mnist::MNIST_CLASSES).here()
    }

    /// All images as f32 `[n, 1, height, width]` and all classes as i64 `[n]`.
    ///
    /// # Errors
    /// Memory is short.
    #[track_caller]
    pub fn tensors(&self) -> Result<(Tensor, Tensor)> {
        Ok((self.scaled(&self.images).here()?, self.labels.copy()?))
    }

    /// The names of the classes.
    pub fn classes(&self) -> &'static [&'static str] {
        self.classes
    }

    /// The images as stored: u8 `[n, 1, height, width]`.
    pub fn images(&self) -> &Tensor {
        &self.images
    }

    /// The classes, i64 `[n]`.
    pub fn labels(&self) -> &Tensor {
        &self.labels
    }

    fn scaled(&self, pixels: &Tensor) -> Result<Tensor> {
        pixels.to_dtype(DType::F32)?.div(self.white)
    }
}

impl Dataset for ImageClasses {
    type Item = (Tensor, i64);

    fn len(&self) -> usize {
        self.numbers.len()
    }

    fn get(&self, index: usize) -> Result<(Tensor, i64)> {
        let label = *self.numbers.get(index).ok_or_else(|| {
            Error::index(
                "dataset",
                format!("index {index} is out of range for {} samples", self.numbers.len()),
            )
        })?;
        Ok((self.scaled(&self.images.select(0, index as i64)?)?, label))
    }

    fn get_batch(&self, indices: &[usize]) -> Result<(Tensor, Tensor)> {
        let at = positions(indices)?;
        Ok((self.scaled(&self.images.index_select(0, &at)?)?, self.labels.index_select(0, &at)?))
    }
}
