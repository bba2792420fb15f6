//! The kernels that backends execute: op codes with checked parameters.

use kiln_storage::{DType, Scalar};

use crate::cpu::conv::ConvShape;
use crate::cpu::pool2d::{AvgPool, PoolShape};
use crate::cpu::reduce::{ArgOp, Axis, ReduceOp};
use crate::elementwise::{BinaryOp, CompareOp, FloatBinaryOp, FloatOp, IntOp, NumOp, TernaryOp, TestOp};
use crate::softmax::ClassLoss;

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
    /// inputs `[x]`, outputs `[y]` or `[y, positions]` (int32, within the plane), contiguous
    MaxPool(PoolShape),
    /// inputs `[g, positions]`, outputs `[gx]`, contiguous
    MaxPoolGrad(PoolShape),
    /// inputs `[x]`, outputs `[y]`, contiguous
    AvgPool(PoolShape, AvgPool),
    /// inputs `[g]`, outputs `[gx]`, contiguous
    AvgPoolGrad(PoolShape, AvgPool),
    /// inputs `[x, w]` or `[x, w, bias]`, outputs `[y]`, contiguous
    Conv(ConvShape<3>),
    /// inputs `[y, w]` or `[y, w, bias]`, outputs `[x]`, contiguous: the transposed convolution
    ConvInput(ConvShape<3>),
    /// inputs `[x, y]`, outputs `[w]`, contiguous
    ConvWeight(ConvShape<3>),
}
