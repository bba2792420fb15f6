//! Narrow dtypes in kernels that exist for wide ones only.
//!
//! An instance of a kernel costs compile time in every program, and few programs sort 16-bit integers. So most families
//! are compiled for `f32`, `f64` and `i64`; operands of other dtypes are converted before and results after. Nothing is lost:
//! half precision is accumulated in single precision anyway and rounded once, and integers wrap to the same bits.

use kiln_storage::{DType, RawTensor, Result};

use super::{elementwise, execute_as_is};
use crate::copy::to_dtype;
use crate::op::Op;
use crate::promotion::wide_dtype;

/// Operands that are to be converted, and to what.
#[derive(Clone, Copy)]
pub(super) struct Wider {
    from: DType,
    to: DType,
    /// The first input and the first output alone: others of this dtype are places.
    first_only: bool,
}

/// What has to be converted before `kernel` can run.
pub(super) fn wider(kernel: &Op, ins: &[&RawTensor]) -> Option<Wider> {
    // The gradient of the class loss comes behind the targets.
    let values = if matches!(kernel, Op::NllLossGrad(..)) { ins.get(1) } else { ins.first() };
    let from = values?.dtype();
    let to = wide_dtype(from);
    if to == from {
        return None;
    }
    let (halves, integers) = match kernel {
        Op::Softmax { .. }
        | Op::SoftmaxGrad { .. }
        | Op::CrossEntropy(..)
        | Op::CrossEntropyGrad(..)
        | Op::NllLoss(..)
        | Op::NllLossGrad(..)
        | Op::RowNorm(..)
        | Op::RowNormGrad(..)
        | Op::GroupNorm(..)
        | Op::GroupNormGrad(..)
        | Op::BatchStats(..)
        | Op::BatchNorm(..)
        | Op::BatchNormGrad(..)
        | Op::MaxPool(..)
        | Op::MaxPoolGrad(..)
        | Op::AvgPool(..)
        | Op::AvgPoolGrad(..)
        | Op::AdaptiveMaxPool(..)
        | Op::AdaptiveAvgPool(..)
        | Op::AdaptiveAvgPoolGrad(..)
        | Op::Scan(..)
        | Op::ScanExtreme(..)
        | Op::Sort { .. }
        | Op::TopK { .. }
        | Op::KthValue { .. }
        | Op::Mode
        | Op::SearchSorted { .. }
        | Op::SgdStep(..)
        | Op::AdamStep(..)
        | Op::AdaptiveStep(..) => (true, true),
        // These convert half precision while they pack it.
        Op::Conv(..) | Op::ConvInput(..) | Op::ConvWeight(..) | Op::Matmul { .. } => (false, true),
        _ => (false, false),
    };
    let products =
        matches!(kernel, Op::Conv(..) | Op::ConvInput(..) | Op::ConvWeight(..) | Op::Matmul { .. });
    let alike = products || matches!(kernel, Op::SearchSorted { .. });
    let wanted = if from.is_float() { halves } else { integers };
    wanted.then_some(Wider { from, to, first_only: !from.is_float() && !alike })
}

/// Runs the kernel on converted operands and converts the results back.
pub(super) fn execute(
    op: &'static str,
    kernel: &Op,
    wider: Wider,
    ins: &[&RawTensor],
    outs: &[&RawTensor],
) -> Result<()> {
    let converted = |(i, t): (usize, &&RawTensor)| -> Result<RawTensor> {
        let wanted = t.dtype() == wider.from && (i == 0 || !wider.first_only);
        if wanted { to_dtype(t, wider.to) } else { Ok((*t).clone()) }
    };
    let inputs = ins.iter().enumerate().map(converted).collect::<Result<Vec<_>>>()?;
    // Kernels that update their output need its present content.
    let results = outs.iter().enumerate().map(converted).collect::<Result<Vec<_>>>()?;
    execute_as_is(op, kernel, &inputs.iter().collect::<Vec<_>>(), &results.iter().collect::<Vec<_>>())?;
    for (result, out) in results.iter().zip(outs) {
        if !result.storage().is_same(out.storage()) {
            elementwise::copy(op, result, out)?;
        }
    }
    Ok(())
}
