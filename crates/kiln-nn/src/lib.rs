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
mod activation_with;
mod adaptive;
mod adaptive_softmax;
mod attention;
mod averaged;
mod batch_norm;
mod cells;
mod containers;
mod conv;
mod conv_transpose;
mod dict;
mod draw;
mod dropout;
mod embedding;
mod embedding_bag;
pub mod functional;
mod hooks;
mod image;
pub mod init;
mod lazy;
mod linear;
mod loss;
mod loss_with;
mod module;
mod norm;
mod pad;
mod pairs;
mod parts;
mod pool;
mod print;
mod recurrent;
mod size;
mod state_dict;
mod summary;
mod transformer;
pub mod utils;
mod walk;

pub use activation::*;
pub use activation_with::*;
pub use adaptive::*;
pub use adaptive_softmax::AdaptiveLogSoftmaxWithLoss;
pub use attention::{MultiheadAttention, MultiheadCall, NonDynamicallyQuantizableLinear};
pub use averaged::AveragedModel;
pub use batch_norm::*;
pub use cells::{GRUCell, LSTMCell, RNNCell};
pub use containers::{Lambda, Sequential};
pub use conv::{Conv1d, Conv2d, Conv3d, ConvNd};
pub use conv_transpose::{ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, ConvTransposeNd};
pub use dict::{ModuleDict, ParameterDict};
pub use dropout::*;
pub use embedding::Embedding;
pub use embedding_bag::{BagMode, EmbeddingBag};
pub use hooks::{ModuleHookHandle, ModuleHooks};
pub use image::*;
pub use kiln_autograd::{
    self, CrossEntropyOptions, DType, Device, Error, ErrorKind, Here, Result, Scalar, Shape, Tensor,
};
/// Derives [`trait@Module`] for a struct of layers; see there.
pub use kiln_derive::Module;
pub use lazy::*;
pub use linear::{Flatten, Identity, Linear, Unflatten};
pub use loss::*;
pub use loss_with::*;
pub use module::{AsModule, Forward, Module};
pub use norm::*;
pub use pad::*;
pub use pairs::*;
pub use parts::{__derive, Buffer, Parameter, Part, PartRef, Parts, Training};
pub use pool::*;
pub use print::fmt_module;
pub use recurrent::{GRU, LSTM, RNN};
pub use size::{Extent, Padding, PaddingMode, Pair};
pub use state_dict::{IncompatibleKeys, StateDict};
pub use summary::summary;
pub use transformer::{
    DecoderCall, EncoderCall, Transformer, TransformerCall, TransformerDecoder, TransformerDecoderLayer,
    TransformerEncoder, TransformerEncoderLayer,
};
