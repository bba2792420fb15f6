//! Every computation of Kiln that has no derivative: shape rules, CPU kernels and the `Backend` trait.
//!
//! Functions here check their arguments once, allocate the result and run an [`Op`] on the device of the operands; see
//! [`Backend`]. They take and give [`RawTensor`]s, tensors without history.

mod advanced;
pub mod attention;
mod backend;
pub mod conv;
mod copy;
pub mod cpu;
mod create;
pub mod ctc;
pub mod display;
mod draw;
pub mod elementwise;
mod embedding;
#[cfg(feature = "fft")]
mod fft;
mod index;
mod join;
pub mod linalg;
mod mask;
pub mod matmul;
pub mod norm;
mod op;
pub mod optim;
mod pad;
pub mod pooling;
mod promotion;
pub mod random;
pub mod recurrent;
pub mod reduce;
mod rules;
mod scan;
mod scatter;
mod search;
mod sequence;
mod shape;
mod slice;
pub mod softmax;
mod sort;
pub mod special;

pub use advanced::{index, index_put, index_put_};
pub use backend::{Backend, Support, best_device, gpu, is_available, register};
pub use copy::{contiguous, contiguous_copy, copy_, to_device, to_dtype};
pub use create::{arange, fill_, full, scalar};
pub use draw::{Distribution, Source, bernoulli_, draw, draw_, multinomial, randperm, uninit_like};
pub use elementwise::Operand;
pub use embedding::{embedding, embedding_grad, one_hot};
#[cfg(feature = "fft")]
pub use fft::fft;
pub use index::{
    index_add, index_add_, index_copy, index_copy_, index_fill, index_fill_, index_reduce, index_reduce_,
    index_select, put, put_, take,
};
pub use join::{
    cat, flip, repeat, repeat_interleave, repeat_interleave_by, repeat_positions, roll, rot90, stack, tile,
    tril, tril_, triu, triu_,
};
pub use kiln_storage::*;
pub use mask::{
    masked_fill, masked_fill_, masked_scatter, masked_scatter_, masked_select, nonzero, nonzero_by_axis,
};
pub use op::{Combine, Op};
pub use pad::{PadMode, pad};
pub use promotion::{default_dtype, result_type, set_default_dtype, to_float};
pub use scan::{ScanOp, cumulative, cumulative_extreme};
pub use scatter::{
    Reduction, gather, scatter, scatter_, scatter_add, scatter_add_, scatter_reduce, scatter_reduce_,
    take_along_dim,
};
pub use search::{SearchOptions, bincount, bucketize, histc, searchsorted};
pub use sequence::{eye, linspace, logspace};
pub use shape::{
    broadcast_to, expand, flatten, movedim, permute, reshape, squeeze, squeeze_axes, swapaxes, t, transpose,
    unflatten, unsqueeze, view, view_as,
};
pub use slice::{
    as_strided, chunk, diagonal, narrow, select, slice, split, split_with_sizes, tensor_split,
    tensor_split_at, unbind, unfold,
};
pub use sort::{Unique, kth_value, median, mode, nan_median, sort, top_k, unique, unique_consecutive};
