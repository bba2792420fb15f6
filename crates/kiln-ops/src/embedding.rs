//! Rows of a table by number, the gradient of that, and numbers as rows of ones and zeros.

use kiln_storage::{DType, Device, Error, RawTensor, Result, Scalar};

use crate::copy::{to_device, to_dtype};
use crate::create::{fill_, full};
use crate::elementwise::{FloatBinaryOp, float_binary};
use crate::index::{INTS, index_add_, index_select, plain_index, select_positions};
use crate::op::{Combine, Op};
use crate::rules::same_device;
use crate::scatter::scatter_;
use crate::search::bincount;
use crate::shape::reshape_to;

/// Row `indices[..]` of `weight` for each index: `[*]` and `[rows, width]` give `[*, width]`.
///
/// # Errors
/// A table that is not a matrix; indices that are not int32 or int64, or out of bounds; negative ones are.
pub fn embedding(weight: &RawTensor, indices: &RawTensor) -> Result<RawTensor> {
    const OP: &str = "embedding";
    same_device(OP, &[weight, indices])?;
    if weight.rank() != 2 {
        return Err(Error::shape(OP, format!("'weight' must be 2-D, got shape {:?}", weight.shape())));
    }
    select_positions(OP, weight, 0, &plain_index(OP, indices, INTS, None)?)
}

/// The gradient of [`embedding`] with respect to its table of `rows` rows: the rows of `grad`, summed by index in the
/// order of the indices. Row `padding` stays zero; with `scale_by_frequency`, each row of `grad` is divided by how often its
/// index occurs.
///
/// # Errors
/// A gradient whose leading axes are not those of the indices; indices as in [`embedding`].
pub fn embedding_grad(
    grad: &RawTensor,
    indices: &RawTensor,
    rows: usize,
    padding: Option<usize>,
    scale_by_frequency: bool,
) -> Result<RawTensor> {
    const OP: &str = "embedding_backward";
    same_device(OP, &[grad, indices])?;
    let n = indices.numel();
    let width = match grad.shape().split_last() {
        Some((&width, lead)) if lead == indices.shape().dims() => width,
        _ => {
            return Err(Error::shape(
                OP,
                format!(
                    "a gradient of shape {:?} does not fit indices of shape {:?}",
                    grad.shape(),
                    indices.shape()
                ),
            ));
        }
    };
    let indices = reshape_to(&plain_index(OP, indices, INTS, None)?, [n].into())?;
    let mut grad = reshape_to(grad, [n, width].into())?;
    let sum_in = if matches!(grad.dtype(), DType::F16 | DType::BF16) { DType::F32 } else { grad.dtype() };
    let dtype = grad.dtype();
    grad = to_dtype(&grad, sum_in)?;
    let out = full(&[rows, width].into(), Scalar::Int(0), sum_in, grad.device())?;
    if scale_by_frequency && n > 0 {
        // Checks the indices first: the counts need a place for each of them.
        crate::backend::run(
            OP,
            &Op::IndexPut { axes: [0].as_slice().into(), place: 0, wrap: false, combine: Combine::Add },
            &[&full(&[n, 0].into(), Scalar::Int(0), sum_in, grad.device())?, &indices],
            &[&full(&[rows, 0].into(), Scalar::Int(0), sum_in, grad.device())?],
        )?;
        let counts = index_select(&bincount(&indices, None, 0)?, 0, &indices)?;
        grad = float_binary(FloatBinaryOp::Div, &grad, &reshape_to(&counts, [n, 1].into())?)?;
    }
    index_add_(&out, 0, &indices, &grad, Scalar::Int(1))?;
    if let Some(row) = padding.filter(|&r| r < rows) {
        fill_(&out.with_layout(out.layout().select(0, row)), Scalar::Int(0))?;
    }
    to_dtype(&out, dtype)
}

/// A one at the place that each index names, on a new last axis of `classes` places (one more than the largest index if
/// `None`); zeros elsewhere.
///
/// # Errors
/// Indices that are not int64, negative, or not below `classes`; no classes and no indices.
pub fn one_hot(indices: &RawTensor, classes: Option<usize>) -> Result<RawTensor> {
    const OP: &str = "one_hot";
    if indices.dtype() != DType::I64 {
        return Err(Error::dtype(
            OP,
            format!("one_hot is only applicable to index tensor of type int64, got {}", indices.dtype()),
        ));
    }
    let values = to_device(indices, Device::CPU)?.to_vec::<i64>()?;
    let range = values.iter().min().zip(values.iter().max());
    let classes = match (range, classes) {
        (None, None) => {
            return Err(Error::value(OP, "Can not infer total number of classes from empty tensor."));
        }
        (Some((&low, _)), _) if low < 0 => {
            return Err(Error::value(OP, format!("Class values must be non-negative, got {low}.")));
        }
        (Some((_, &high)), Some(classes)) if high as u64 >= classes as u64 => {
            return Err(Error::value(
                OP,
                format!("Class values must be smaller than num_classes {classes}, got {high}."),
            ));
        }
        (Some((_, &high)), None) => (high as usize).saturating_add(1),
        (_, Some(classes)) => classes,
    };
    let shape = indices.shape().iter().copied().chain([classes]).collect();
    let out = full(&shape, Scalar::Int(0), DType::I64, indices.device())?;
    if out.numel() > 0 {
        let places = indices.with_layout(indices.layout().unsqueeze(indices.rank()));
        scatter_(&out, -1, &places, 1i64)?;
    }
    Ok(out)
}
