//! Data for training: the files it comes in, where they are found and how they are fetched.
//!
//! - [`idx`] reads the IDX format of MNIST, plain or gzip.
//! - [`mnist`] finds, fetches and checks the MNIST and Fashion-MNIST files.
//! - [`digits`] is a small real data set inside the library: it needs no file and no network.
//! - [`download`] fetches a file from mirrors into a cache folder, with resume and checksums.
//!
//! Two environment variables say where data lives: `KILN_DATA` names a folder with data sets that are
//! already there, `KILN_CACHE` the folder that downloads go to.

pub mod digits;
pub mod download;
mod error;
pub mod idx;
pub mod mnist;

pub use error::{DataError, MirrorFailure, Result};
