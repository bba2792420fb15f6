//! [`Tensor`]: n-dimensional arrays with define-by-run automatic differentiation.
//!
//! Operations on tensors that require a gradient leave a [`Node`] behind, which knows how to pass a gradient of the
//! result on to the operands. [`Tensor::backward`] walks these nodes.
//!
//! Methods that check arguments return [`Result`]; operators (`&x * 2.0`) and constructors of a shape (`Tensor::zeros`)
//! panic with the same text at the caller's line.

mod anomaly;
mod arg;
mod autocast;
mod birth;
mod checkpoint;
mod collect;
mod create;
mod display;
mod engine;
pub mod forward_ad;
pub mod func;
mod function;
mod grad_mode;
mod gradcheck;
pub mod graph;
mod hooks;
mod indexing;
mod inplace;
mod interop;
mod macros;
mod node;
mod operators;
mod ops;
mod options;
mod random;
mod record;
mod tangents;
mod tensor;
mod transpose;
mod waiting;

pub use anomaly::{AnomalyGuard, detect_anomaly, is_anomaly_enabled, set_detect_anomaly};
pub use arg::Arg;
pub use autocast::{
    Autocast, AutocastGuard, autocast, autocast_guard, get_autocast_dtype, is_autocast_enabled,
};
pub use checkpoint::checkpoint;
pub use create::Bounds;
pub use engine::{BackwardOptions, backward, grad};
pub use function::{Context, Function};
pub use grad_mode::*;
pub use gradcheck::{GradcheckOptions, gradcheck, gradgradcheck};
pub use graph::explain_grad;
pub use hooks::HookHandle;
pub use indexing::{Ellipsis, Index, Indices, NewAxis, Slice};
#[cfg(feature = "ndarray")]
pub use interop::{ArrayGuard, ArrayGuardMut, ndarray};
pub use interop::{SliceMut, SliceRef};
pub use kiln_ops::display::{PrintOptions, printoptions, set_printoptions};
pub use kiln_ops::{
    self, DType, Device, Dims, Element, Error, ErrorKind, Here, Layout, PadMode, Place, RawTensor,
    Reduction as ScatterReduction, Result, Scalar, SearchOptions, Shape, best_device, bf16, default_dtype,
    f16, gpu, is_available, set_default_dtype,
};
#[doc(hidden)]
pub use macros::literal;
pub use macros::{Data, Number};
pub use node::Node;
pub use operators::Right;
pub use ops::attention::AttentionOptions;
pub use ops::calculus::Spacing;
pub use ops::cast::MemoryFormat;
pub use ops::einsum::einsum;
pub use ops::embedding_bag::{BagMode, EmbeddingBagOptions};
#[cfg(feature = "fft")]
pub use ops::fft;
pub use ops::grid::{GridMode, GridPadding};
pub use ops::join::{Indexing, Sections};
pub use ops::linalg::{Lstsq, MatrixNorm, QrMode, Tolerance, Triangle};
pub use ops::masked::Masked;
pub use ops::multihead::{InProjection, MultiheadOptions};
pub use ops::recurrent::CellWeights;
pub use ops::recurrent_layer::RecurrentOptions;
pub use ops::resize::{Alignment, InterpolateMode};
pub use ops::shape::Sizes;
pub use ops::softmax::{CrossEntropyOptions, Reduction};
pub use ops::sort::{Interpolation, Unique};
pub use ops::statistics::{Bins, CovWeights, HistogramOptions};
pub use ops::windows;
pub use options::*;
pub use random::*;
pub use record::{Recorder, Saved, record, record_joint};
pub use tensor::{RawGuard, Tensor};
