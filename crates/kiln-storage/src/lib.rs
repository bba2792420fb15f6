//! Memory, dtypes, shapes, strides, devices and errors: what every tensor of Kiln stands on. Nothing here computes.
//!
//! A [`Storage`] is reference-counted memory on one [`Device`]; a [`Layout`] says how a tensor's elements lie in it; a
//! [`RawTensor`] is both, with a [`DType`]. Views share storages and are made by layouts alone.

mod cache;
mod device;
mod dims;
mod dtype;
mod error;
mod layout;
mod lend;
#[cfg(feature = "ndarray")]
mod lend_ndarray;
mod place;
mod raw;
mod shape;
mod shared;
mod storage;

pub use cache::{cached_bytes, empty_cache, set_cache_limit};
pub use device::{Device, DeviceKind};
pub use dims::Dims;
pub use dtype::{DType, Element, Scalar};
pub use error::{Error, ErrorKind, OpName, Result};
pub use half::{bf16, f16};
pub use layout::Layout;
pub use lend::{SliceMut, SliceRef};
#[cfg(feature = "ndarray")]
pub use lend_ndarray::{ArrayGuard, ArrayGuardMut, from_ndarray};
#[cfg(feature = "ndarray")]
pub use ndarray;
pub use place::{Here, Place, is_of_program};
pub use raw::RawTensor;
pub use shape::{Shape, broadcast_shapes, resolve_axis};
pub use shared::Shared;
pub use storage::{Access, DeviceMemory, Storage};
