//! Data for training: data sets, loaders that cut them into batches, the files they come in and how those are fetched.
//!
//! - [`Dataset`] is a list of samples, [`DataLoader`] walks one in shuffled batches, with worker threads if wanted.
//! - [`vision`] has MNIST, Fashion-MNIST and the digits as data sets.
//! - [`transforms`] crops, flips, resizes and colours images as torchvision does.
//! - With the feature `image`, `images` reads PNG and JPEG files and `ImageFolder` is a data set of them.
//! - [`progress`] shows how far a loop over batches is.
//! - [`idx`] reads the IDX format of MNIST, plain or gzip.
//! - [`mnist`] finds, fetches and checks the MNIST and Fashion-MNIST files.
//! - [`digits`] is a small real data set inside the library: it needs no file and no network.
//! - [`download`] fetches a file from mirrors into a cache folder, with resume and checksums.
//!
//! Two environment variables say where data lives: `KILN_DATA` names a folder with data sets that are
//! already there, `KILN_CACHE` the folder that downloads go to.

mod collate;
mod dataset;
pub mod digits;
pub mod download;
mod error;
pub mod idx;
#[cfg(feature = "image")]
mod image_folder;
#[cfg(feature = "image")]
pub mod images;
mod loader;
pub mod mnist;
mod position;
pub mod progress;
mod sampler;
pub mod transforms;
pub mod vision;
mod worker;

pub use collate::Collate;
pub use dataset::{
    ConcatDataset, Dataset, MapDataset, Subset, TensorDataset, TensorRows, random_split,
    random_split_fractions,
};
pub use error::{DataError, MirrorFailure};
#[cfg(feature = "image")]
pub use image_folder::ImageFolder;
pub use kiln_autograd;
pub use kiln_autograd::{Error, Result};
pub use loader::{DataLoader, LoaderIter};
pub use position::LoaderState;
pub use sampler::{
    IndexIter, RandomSampler, Sampler, SequentialSampler, SharedGenerator, SubsetRandomSampler,
    WeightedRandomSampler, shared_generator,
};
