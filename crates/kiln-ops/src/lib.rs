//! Every computation of Kiln that has no derivative: shape rules, CPU kernels and the `Backend` trait.
//!
//! Functions here check their arguments once, allocate the result and run an [`Op`] on the device of the operands; see
//! [`Backend`]. They take and give [`RawTensor`]s, tensors without history.

mod backend;
pub mod conv;
mod copy;
pub mod cpu;
mod create;
pub mod display;
pub mod elementwise;
pub mod matmul;
mod op;
pub mod pooling;
mod promotion;
pub mod random;
pub mod reduce;
mod rules;
mod shape;
mod slice;
pub mod softmax;

pub use backend::{Backend, Support, is_available, register};
pub use copy::{contiguous, contiguous_copy, copy_, to_device, to_dtype};
pub use create::{arange, fill_, full, scalar};
pub use elementwise::Operand;
pub use kiln_storage::*;
pub use op::Op;
pub use promotion::{default_dtype, result_type, set_default_dtype, to_float};
pub use shape::{
    broadcast_to, expand, flatten, movedim, permute, reshape, squeeze, squeeze_axes, swapaxes, t, transpose,
    unflatten, unsqueeze, view, view_as,
};
pub use slice::{
    as_strided, chunk, diagonal, narrow, select, slice, split, split_with_sizes, tensor_split,
    tensor_split_at, unbind, unfold,
};
