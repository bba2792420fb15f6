//! The kernels that backends execute: op codes with checked parameters.

use kiln_storage::{DType, Scalar};

use crate::cpu::reduce::{ArgOp, Axis, ReduceOp};
use crate::elementwise::{BinaryOp, CompareOp, FloatBinaryOp, FloatOp, IntOp, NumOp, TernaryOp, TestOp};

/// A kernel with its parameters. Each variant says which operands [`crate::Backend::execute`] gets with it.
///
/// Elementwise kernels get inputs broadcast to the output's shape (strides may be 0). The dtype beside an op code is
/// the one to compute in; inputs are converted to it, and the result to the output's dtype.
#[derive(Clone, Debug, PartialEq)]
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
}
