//! The kernels that backends execute: op codes with checked parameters.

use kiln_storage::{DType, Dims, Scalar};

use crate::attention::Attention;
use crate::cpu::conv::ConvShape;
use crate::cpu::norm::{BatchNorm, GroupNorm, RowNorm};
use crate::cpu::pool2d::{AvgPool, PoolShape};
use crate::cpu::reduce::{ArgOp, Axis, ReduceOp};
use crate::cpu::scan::ScanOp;
use crate::elementwise::{BinaryOp, CompareOp, FloatBinaryOp, FloatOp, IntOp, NumOp, TernaryOp, TestOp};
use crate::linalg::LinalgOp;
use crate::optim::{AdamStep, AdaptiveStep, SgdStep};
use crate::recurrent::Pass;
use crate::softmax::ClassLoss;
use crate::special::{SpecialBinaryOp, SpecialOp};

/// A kernel with its parameters. Each variant says which operands [`crate::Backend::execute`] gets with it.
///
/// Elementwise kernels get inputs broadcast to the output's shape (strides may be 0). The dtype beside an op code is
/// the one to compute in; inputs are converted to it, and the result to the output's dtype.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Op {
    /// inputs `[x]`, outputs `[y]`
    Float(FloatOp, DType),
    /// inputs `[x]`, outputs `[y]`
    Num(NumOp, DType),
    /// inputs `[x]`, outputs `[y]`
    Test(TestOp, DType),
    /// inputs `[a, b]`, outputs `[y]`
    Binary(BinaryOp, DType),
    /// inputs `[a, b]`, outputs `[y]`
    FloatBinary(FloatBinaryOp, DType),
    /// inputs `[a, b]`, outputs `[y]`
    IntBinary(IntOp, DType),
    /// inputs `[a, b]`, outputs `[y]`
    Compare(CompareOp, DType),
    /// inputs `[a, b, c]`, outputs `[y]`
    Ternary(TernaryOp, DType),
    /// inputs `[x]`, outputs `[y]`: computed in double precision
    Special(SpecialOp),
    /// inputs `[a, b]`, outputs `[y]`: computed in double precision
    SpecialBinary(SpecialBinaryOp),
    /// inputs `[condition, a, b]`, outputs `[y]`
    Where,
    /// inputs `[x]`, outputs `[y]`: any layouts, dtypes may differ
    Copy,
    /// inputs `[]`, outputs `[y]`
    Fill(Scalar),
    /// inputs `[a, b]` or `[a, b, bias]`, outputs `[y]`: `[batch.., m, k] x [batch.., k, n]`, all of one rank, batch axes
    /// equal (strides may be 0), any layouts; the bias `[n]` is added to every row
    Matmul {
        /// Add to what `y` holds.
        accumulate: bool,
    },
    /// see [`LinalgOp`]; contiguous
    Linalg(LinalgOp),
    /// inputs `[x]`, outputs `[y]`, contiguous `[.., n, 2]` of doubles: Fourier transforms of complex numbers, not
    /// normalized
    #[cfg(feature = "fft")]
    Fft {
        /// With a positive exponent.
        inverse: bool,
    },
    /// inputs `[x]` contiguous, outputs `[y]` contiguous with an element per result
    Reduce(ReduceOp, Axis),
    /// inputs `[x]` contiguous, outputs `[positions]` or `[positions, values]`, contiguous
    ArgReduce(ArgOp, Axis),
    /// inputs `[x]`, outputs `[y]`, contiguous
    Softmax {
        /// The axis.
        axis: Axis,
        /// The logarithm of it.
        log: bool,
    },
    /// inputs `[y, g]`, outputs `[gx]`, contiguous
    SoftmaxGrad {
        /// The axis.
        axis: Axis,
        /// For the logarithm.
        log: bool,
    },
    /// inputs `[logits, target]` or `[logits, target, weight]`, outputs `[loss, stats]`, contiguous; stats are two
    /// numbers per position for the gradient, in the backend's own terms
    CrossEntropy(Axis, ClassLoss),
    /// inputs `[logits, target, stats, g]` or `[.., weight]`, outputs `[gx]`, contiguous
    CrossEntropyGrad(Axis, ClassLoss),
    /// inputs `[x, target]` or `[x, target, weight]`, outputs `[loss]`, contiguous
    NllLoss(Axis, ClassLoss),
    /// inputs `[target, g]` or `[target, g, weight]`, outputs `[gx]`, contiguous
    NllLossGrad(Axis, ClassLoss),
    /// inputs `[x]`, `[x, weight]` or `[x, weight, bias]`, outputs `[y, stats]`, contiguous. Weights and biases are of dtype
    /// float32, for float64 of that; stats are two numbers of it for each row, for the gradient, in the backend's own terms
    RowNorm(RowNorm),
    /// inputs `[x, g, stats]` or `[x, g, stats, weight]`, outputs `[gx, gweight, gbias]`, contiguous; dtypes as for
    /// [`Op::RowNorm`]. Outputs without elements are not wanted.
    RowNormGrad(RowNorm),
    /// as [`Op::RowNorm`], with a weight and a bias for each channel
    GroupNorm(GroupNorm),
    /// as [`Op::RowNormGrad`], with a weight and a bias for each channel
    GroupNormGrad(GroupNorm),
    /// inputs `[x]`, outputs `[mean, var]`, contiguous: mean and biased variance of each channel, float64
    BatchStats(Axis),
    /// inputs `[x, mean, var]`, and maybe weight, and maybe bias, outputs `[y]`, contiguous: dtypes as for [`Op::RowNorm`] and
    /// [`Op::BatchStats`]
    BatchNorm(BatchNorm),
    /// inputs `[x, g, mean, var]` or `[x, g, mean, var, weight]`, outputs `[gx, gweight, gbias]`, contiguous; dtypes as for
    /// [`Op::BatchNorm`]. Outputs without elements are not wanted.
    BatchNormGrad(BatchNorm),
    /// inputs `[x]`, outputs `[y]` or `[y, positions]` (int32, within the plane), contiguous
    MaxPool(PoolShape),
    /// inputs `[g, positions]`, outputs `[gx]`, contiguous
    MaxPoolGrad(PoolShape),
    /// inputs `[x]`, outputs `[y]`, contiguous
    AvgPool(PoolShape, AvgPool),
    /// inputs `[g]`, outputs `[gx]`, contiguous
    AvgPoolGrad(PoolShape, AvgPool),
    /// inputs `[x]`, outputs `[y, positions]` (int32, within the plane), contiguous: windows by the output's sizes
    AdaptiveMaxPool(PoolShape),
    /// inputs `[x]`, outputs `[y]`, contiguous: windows by the output's sizes
    AdaptiveAvgPool(PoolShape),
    /// inputs `[g]`, outputs `[gx]`, contiguous
    AdaptiveAvgPoolGrad(PoolShape),
    /// inputs `[x, w]` or `[x, w, bias]`, outputs `[y]`, contiguous
    Conv(ConvShape<3>),
    /// inputs `[y, w]` or `[y, w, bias]`, outputs `[x]`, contiguous: the transposed convolution
    ConvInput(ConvShape<3>),
    /// inputs `[x, y]`, outputs `[w]`, contiguous
    ConvWeight(ConvShape<3>),
    /// see [`crate::attention::attention`]; contiguous but for the mask, float32 or float64, with the same leading axes: inputs
    /// `[q, k, v]` and perhaps `[mask]`, outputs `[y]`
    Attention(Attention),
    /// inputs `[q, k, v, g]` and perhaps `[mask]`, outputs `[gq, gk, gv]`, as for [`Op::Attention`]
    AttentionGrad(Attention),
    /// inputs `[x]`, outputs `[y]` of the same shape and dtype: `x` with the order along `axes` reversed
    Flip {
        /// Different axes.
        axes: Dims,
    },
    /// inputs `[x]`, outputs `[y]` of the same shape and dtype, maybe `x` itself: zeros outside of a triangle of the last
    /// two axes
    Triangle {
        /// Keep what is above the diagonal, not what is below.
        upper: bool,
        /// Places above the main diagonal.
        diagonal: i64,
    },
    /// inputs `[x, index..]`, outputs `[y]` contiguous: `y[a, p, b] = x[a, index_0[p], .., index_k[p], b]` with `p` an
    /// index of the indices' common shape. Indices are contiguous int64; `x` has any layout. An index outside of its
    /// axis is an error.
    Index {
        /// The axis of `x` that each index is for, ascending.
        axes: Dims,
        /// How many of `x`'s other axes come before `p`.
        place: usize,
        /// Whether negative indices count from the end.
        wrap: bool,
    },
    /// inputs `[values, index..]`, outputs `[x]` with its content: `values[a, p, b]` goes to the element of `x` that
    /// [`Op::Index`] reads, in the order of `p`. `values` has any layout and the dtype of `x`; an error leaves `x` as it was.
    IndexPut {
        /// As for [`Op::Index`].
        axes: Dims,
        /// As for [`Op::Index`].
        place: usize,
        /// As for [`Op::Index`].
        wrap: bool,
        /// What becomes of the old element.
        combine: Combine,
    },
    /// inputs `[x, index]`, outputs `[y]`: `y[i, j, k] = x[i, index[i, j, k], k]` for `axis` the second of three. Any
    /// layouts; the index is int64.
    Gather {
        /// The axis of `x` that the index is for.
        axis: usize,
        /// Whether negative indices count from the end.
        wrap: bool,
    },
    /// inputs `[source, index]`, outputs `[x]` with its content: `source[i, j, k]` goes to `x[i, index[i, j, k], k]`, in
    /// order along `axis`. Any layouts; an error leaves `x` as it was.
    Scatter {
        /// The axis of `x` that the index is for.
        axis: usize,
        /// What becomes of the old element.
        combine: Combine,
    },
    /// inputs `[mask]` contiguous, outputs `[n]` of dtype int64 and one element: how many are true
    CountTrue,
    /// inputs `[mask]` contiguous, outputs `[y]` contiguous int64 of `[count, rank]`: the indices of what is true
    Nonzero,
    /// inputs `[x, mask]` of one shape, the mask contiguous, outputs `[y]` contiguous with an element per true one
    MaskedSelect,
    /// inputs `[source, mask]` contiguous, outputs `[x]` with its content, of the mask's shape: where the mask is true, the
    /// next element of the source. The source has enough elements.
    MaskedScatter,
    /// inputs `[sorted, values]` contiguous of one dtype, outputs `[y]` contiguous int64: for each value the place in its
    /// row of `sorted` (the only one, or the one of the same number) before which it could be inserted
    SearchSorted {
        /// Behind equal elements, not before them.
        right: bool,
    },
    /// inputs `[grad..]`, outputs `[param..]` or `[param.., buffer..]` with their content, as many of each; contiguous, of
    /// one dtype, and in memory that no two of them share
    SgdStep(SgdStep),
    /// inputs `[grad..]`, outputs `[param.., mean.., square..]` and perhaps `[largest..]`, as for [`Op::SgdStep`]
    AdamStep(AdamStep),
    /// see [`crate::recurrent::pass`]; contiguous, float32 or float64: inputs `[w_hh]`, with `[b_hh]` and `[w_hr]` if there,
    /// outputs `[gates, y, h]`, then `[c]` of an LSTM; with `keep` also `[h before]`, then `[c before]` of an LSTM or what
    /// the state contributes to the new state of a GRU. The gates come with what the input contributes to them, `h` and
    /// `c` with the first states.
    RecurrentPass {
        /// The steps.
        pass: Pass,
        /// With a bias for what the state contributes.
        bias: bool,
        /// With a projection of the state.
        projected: bool,
        /// For a backward pass.
        keep: bool,
    },
    /// see [`crate::recurrent::pass_backward`]; contiguous, float32 or float64: inputs `[gates, h before, w_hh]`, `[c before]`
    /// of an LSTM or what a GRU kept, then `[w_hr]` and `[grad of y]` if there; outputs `[grad of the gates, grad of h]`, then
    /// `[grad of c]` of an LSTM or `[grad of what the state contributes]` of a GRU, and with a projection `[grad of the
    /// projected, projected]`. The gradients of `h` and `c` come with those for the last states.
    RecurrentPassGrad {
        /// The steps.
        pass: Pass,
        /// With a projection of the state.
        projected: bool,
        /// With gradients for the states of all steps.
        by_steps: bool,
    },
    /// inputs `[grad..]`, outputs `[param..]` and the states of each kind, as for [`Op::SgdStep`]
    AdaptiveStep(AdaptiveStep),
    /// inputs `[x]`, outputs `[values, places]`, contiguous: each row of the last axis sorted, stably
    Sort {
        /// Largest first.
        descending: bool,
    },
    /// inputs `[x]`, outputs `[values, places]`, contiguous: the best of each row of the last axis, best first, as many
    /// as the outputs' last axis has places
    TopK {
        /// The largest, not the smallest.
        largest: bool,
    },
    /// inputs `[x]`, outputs `[values, places]`, contiguous, without the last axis: the element of each row that would be
    /// at place `k` if it were sorted
    KthValue {
        /// Counted from 0.
        k: usize,
    },
    /// inputs `[x]`, outputs `[values, places]`, contiguous, without the last axis: the most frequent element of each row
    Mode,
    /// inputs `[x]`, outputs `[y]`, contiguous: accumulations along the axis; integers give int64
    Scan(ScanOp, Axis),
    /// inputs `[x]`, outputs `[values, places]`, contiguous: the extremes so far along the axis
    ScanExtreme(ArgOp, Axis),
}

/// What happens to an element that a new one is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// The new one takes its place; of several, the last.
    Replace,
    /// Their sum.
    Add,
    /// Their product.
    Multiply,
    /// The larger one, NaN if either is.
    Max,
    /// The smaller one, NaN if either is.
    Min,
}
