//! [`Tensor`]: n-dimensional arrays with define-by-run automatic differentiation.
//!
//! Operations on tensors that require a gradient leave a [`Node`] behind, which knows how to pass a gradient of the
//! result on to the operands. [`Tensor::backward`] walks these nodes.

mod arg;
mod engine;
mod function;
mod grad_mode;
mod hooks;
mod inplace;
mod node;
mod ops;
mod record;
mod tensor;

pub use arg::Arg;
pub use engine::{BackwardOptions, backward, grad};
pub use grad_mode::*;
pub use hooks::HookHandle;
pub use kiln_ops::{
    self, DType, Device, Dims, Element, Error, ErrorKind, Layout, PadMode, RawTensor,
    Reduction as ScatterReduction, Result, Scalar, SearchOptions, Shape, bf16, default_dtype, f16,
    set_default_dtype,
};
pub use node::Node;
pub use ops::join::{Indexing, Sections};
pub use ops::shape::Sizes;
pub use ops::softmax::{CrossEntropyOptions, Reduction};
pub use ops::sort::{Interpolation, Unique};
pub use record::{Recorder, Saved, record, record_joint};
pub use tensor::{RawGuard, Tensor};
