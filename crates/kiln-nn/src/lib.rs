//! Layers, losses, initialisation and state dicts: what PyTorch keeps in `torch.nn`.
//!
//! A [`Module`] is a plain struct of layers with `#[derive(Module)]`; a [`Forward`] maps a tensor to a tensor. Layers are
//! made with builders, and nothing has to be finished: `Conv2d::new(3, 64, 7).stride(2).padding(3).bias(false)` is a
//! layer at every step. Constructors and builders do not fail; a layer with impossible settings says so, as an error,
//! when it is first used.
//!
//! Parameters are drawn at construction from the default stream, so that after `manual_seed` a network has the numbers
//! that PyTorch gives it.

// The derive names this crate by its name, also in here.
extern crate self as kiln_nn;

mod activation;
mod averaged;
mod containers;
mod conv;
mod draw;
mod dropout;
pub mod functional;
pub mod init;
mod linear;
mod loss;
mod module;
mod parts;
mod pool;
mod print;
mod size;
mod state_dict;
mod walk;

pub use activation::*;
pub use averaged::AveragedModel;
pub use containers::{Lambda, Sequential};
pub use conv::Conv2d;
pub use dropout::Dropout;
pub use kiln_autograd::{self, DType, Device, Error, ErrorKind, Result, Scalar, Shape, Tensor};
/// Derives [`trait@Module`] for a struct of layers; see there.
pub use kiln_derive::Module;
pub use linear::{Flatten, Identity, Linear, Unflatten};
pub use loss::*;
pub use module::{AsModule, Forward, Module};
pub use parts::{__derive, Buffer, Parameter, Part, PartRef, Parts, Training};
pub use pool::{AvgPool2d, MaxPool2d};
pub use print::fmt_module;
pub use size::{Padding, PaddingMode, Pair};
pub use state_dict::{IncompatibleKeys, StateDict};
