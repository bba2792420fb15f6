//! Files: PyTorch's checkpoints, safetensors, and NumPy's arrays.
//!
//! - [`load`] and [`save`] are `torch.load` and `torch.save`: a [`Value`] is what a checkpoint holds.
//! - [`load_tensors`] and [`save_tensors`] take named tensors from and to any of the formats, by the file's extension.
//! - `load_safetensors`, `save_safetensors`, and `SafetensorsFile`, which reads tensors one by one (feature `safetensors`).
//! - [`load_npy`], [`save_npy`], [`load_npz`], [`save_npz`]: `numpy.load` and `numpy.save`.
//!
//! Files are hostile until read. Nothing in one is executed, lengths are checked before memory is asked for, and whatever
//! is wrong gives an error that names the file. Writing replaces a file as a whole or not at all.

mod atomic;
mod bigint;
mod dict;
mod elements;
mod fault;
mod named;
mod npy;
mod pickle;
#[cfg(feature = "safetensors")]
mod safetensors_file;
mod torch_file;
mod value;
mod zip;

pub use bigint::BigInt;
pub use dict::{Dict, Key};
pub use kiln_autograd;
pub use named::{load_tensors, save_tensors};
pub use npy::{NpyArray, load_npy, load_npz, read_npy, save_npy, save_npz};
#[cfg(feature = "safetensors")]
pub use safetensors_file::{SafetensorsFile, load_safetensors, save_safetensors};
pub use torch_file::{Container, load, load_from, save, save_as, to_bytes};
pub use value::Value;
