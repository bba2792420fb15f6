//! The crate's tests, in one program.

mod common;
mod digits;
#[cfg(feature = "download")]
mod download;
mod idx;
mod idx_conformance;
#[cfg(feature = "image")]
mod images;
mod mnist;
mod transforms;
