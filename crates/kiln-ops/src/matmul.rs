//! The matrix product: rules, batching and entries.

use kiln_storage::{DType, Error, Layout, RawTensor, Result, Shape, broadcast_shapes};

use crate::backend::{run, uninit};
use crate::op::Op;
use crate::rules::same_device;

fn same_dtype(op: &'static str, a: &RawTensor, b: &RawTensor) -> Result<()> {
    if a.dtype() == b.dtype() {
        return Ok(());
    }
    Err(Error::dtype(
        op,
        format!(
            "expected both operands to have the same dtype, but got {} and {}; convert one with to_dtype",
            a.dtype(),
            b.dtype()
        ),
    ))
}

fn no_bool(op: &'static str, a: &RawTensor) -> Result<()> {
    if a.dtype() == DType::Bool {
        return Err(Error::dtype(op, format!("\"{op}\" is not implemented for bool")));
    }
    Ok(())
}

fn check(op: &'static str, a: &RawTensor, b: &RawTensor) -> Result<()> {
    same_device(op, &[a, b])?;
    same_dtype(op, a, b)?;
    no_bool(op, a)
}

/// `[batch.., m, k] x [batch.., k, n]` with equal or broadcast batch axes, for operands of at least two axes.
fn product(op: &'static str, a: &RawTensor, b: &RawTensor) -> Result<RawTensor> {
    let (ra, rb) = (a.rank(), b.rank());
    let (m, k) = (a.shape()[ra - 2], a.shape()[ra - 1]);
    let (k2, n) = (b.shape()[rb - 2], b.shape()[rb - 1]);
    if k != k2 {
        return Err(inner_sizes(op, a, b, k, k2));
    }
    let batch = broadcast_shapes(op, &Shape::new(&a.shape()[..ra - 2]), &Shape::new(&b.shape()[..rb - 2]))?;
    let full =
        |rows: usize, columns: usize| -> Shape { batch.iter().copied().chain([rows, columns]).collect() };
    // Batches that share one matrix on the right are one tall matrix on the left.
    if rb == 2 && ra > 2 && a.is_contiguous() && a.numel() > 0 {
        let tall = a.with_layout(
            a.layout()
                .view(&Shape::new(&[a.numel() / k.max(1), k]))
                .expect("contiguous tensors can be viewed freely"),
        );
        let y = product(op, &tall, b)?;
        let layout = y.layout().view(&full(m, n)).expect("contiguous tensors can be viewed freely");
        return Ok(y.with_layout(layout));
    }
    let out = uninit(op, &full(m, n), a.dtype(), a.device())?;
    let a = a.with_layout(a.layout().broadcast_to(op, &full(m, k))?);
    let b = b.with_layout(b.layout().broadcast_to(op, &full(k, n))?);
    run(op, &Op::Matmul { accumulate: false }, &[&a, &b], &[&out])?;
    Ok(out)
}

fn inner_sizes(op: &'static str, a: &RawTensor, b: &RawTensor, k: usize, k2: usize) -> Error {
    Error::shape(
        op,
        format!(
            "shapes {:?} and {:?} cannot be multiplied: the last axis of the left ({k}) must equal the {} axis of the \
             right ({k2})",
            a.shape(),
            b.shape(),
            if b.rank() == 1 { "only" } else { "second to last" }
        ),
    )
}

/// The matrix product by PyTorch's `matmul` rules: vectors are rows on the left and columns on the right, leading axes
/// are batches and broadcast.
///
/// # Errors
/// A zero-dimensional operand, inner sizes that differ, batch axes that do not broadcast, different dtypes or devices.
pub fn matmul(a: &RawTensor, b: &RawTensor) -> Result<RawTensor> {
    const OP: &str = "matmul";
    if a.rank() == 0 || b.rank() == 0 {
        return Err(Error::shape(
            OP,
            format!(
                "both arguments to matmul need to be at least 1D, but they are {}D and {}D",
                a.rank(),
                b.rank()
            ),
        ));
    }
    check(OP, a, b)?;
    let (ka, kb) = (a.shape()[a.rank() - 1], b.shape()[b.rank().saturating_sub(2)]);
    if ka != kb {
        return Err(inner_sizes(OP, a, b, ka, kb));
    }
    let wide_a = if a.rank() == 1 { a.with_layout(a.layout().unsqueeze(0)) } else { a.clone() };
    let wide_b = if b.rank() == 1 { b.with_layout(b.layout().unsqueeze(1)) } else { b.clone() };
    let y = product(OP, &wide_a, &wide_b)?;
    let rank = y.rank();
    let drop_row = a.rank() == 1;
    let drop_column = b.rank() == 1;
    Ok(y.with_layout(y.layout().squeeze(|i| (drop_row && i == rank - 2) || (drop_column && i == rank - 1))))
}

fn expect_rank(op: &'static str, what: &str, t: &RawTensor, rank: usize) -> Result<()> {
    if t.rank() == rank {
        return Ok(());
    }
    Err(Error::shape(op, format!("{what} must be {rank}-D, got shape {:?}", t.shape())))
}

/// `[m, k] x [k, n]` (`torch.mm`).
///
/// # Errors
/// As [`matmul`]; operands that are not matrices.
pub fn mm(a: &RawTensor, b: &RawTensor) -> Result<RawTensor> {
    expect_rank("mm", "the left operand", a, 2)?;
    expect_rank("mm", "the right operand", b, 2)?;
    check("mm", a, b)?;
    product("mm", a, b)
}

/// `[batch, m, k] x [batch, k, n]` (`torch.bmm`).
///
/// # Errors
/// As [`matmul`]; operands that are not batches of matrices of one size.
pub fn bmm(a: &RawTensor, b: &RawTensor) -> Result<RawTensor> {
    const OP: &str = "bmm";
    expect_rank(OP, "the left operand", a, 3)?;
    expect_rank(OP, "the right operand", b, 3)?;
    check(OP, a, b)?;
    if a.shape()[0] != b.shape()[0] {
        return Err(Error::shape(
            OP,
            format!(
                "the batches of {:?} and {:?} differ ({} and {})",
                a.shape(),
                b.shape(),
                a.shape()[0],
                b.shape()[0]
            ),
        ));
    }
    product(OP, a, b)
}

/// `[m, k] x [k]` (`torch.mv`).
///
/// # Errors
/// As [`matmul`]; operands that are not a matrix and a vector.
pub fn mv(a: &RawTensor, b: &RawTensor) -> Result<RawTensor> {
    expect_rank("mv", "the matrix", a, 2)?;
    expect_rank("mv", "the vector", b, 1)?;
    matmul(a, b)
}

/// The sum of the products of two vectors of one length (`torch.dot`).
///
/// # Errors
/// As [`matmul`]; operands that are not vectors.
pub fn dot(a: &RawTensor, b: &RawTensor) -> Result<RawTensor> {
    expect_rank("dot", "the left operand", a, 1)?;
    expect_rank("dot", "the right operand", b, 1)?;
    matmul(a, b)
}

/// `x W^T + bias`: the product of a linear layer, with the bias added in the product's last step.
///
/// Shapes: x `[.., in]`, weight `[out, in]`, bias `[out]` -> `[.., out]` (`torch.nn.functional.linear`).
///
/// # Errors
/// Sizes that do not fit, different dtypes or devices.
pub fn linear(x: &RawTensor, weight: &RawTensor, bias: Option<&RawTensor>) -> Result<RawTensor> {
    const OP: &str = "linear";
    if x.rank() == 0 || weight.rank() != 2 || bias.is_some_and(|b| b.rank() != 1) {
        return Err(Error::shape(
            OP,
            format!(
                "expected x [.., in], weight [out, in] and bias [out], got {:?}, {:?} and {:?}",
                x.shape(),
                weight.shape(),
                bias.map(|b| b.shape().clone())
            ),
        ));
    }
    let (out, k) = (weight.shape()[0], weight.shape()[1]);
    if x.shape()[x.rank() - 1] != k {
        return Err(Error::shape(
            OP,
            format!(
                "the last axis of x {:?} must be the {k} input features of weight {:?}",
                x.shape(),
                weight.shape()
            ),
        ));
    }
    check(OP, x, weight)?;
    if let Some(b) = bias {
        check(OP, x, b)?;
        if b.shape()[0] != out {
            return Err(Error::shape(
                OP,
                format!("bias {:?} must have the {out} output features of weight", b.shape()),
            ));
        }
    }
    let shape: Shape = x.shape()[..x.rank() - 1].iter().copied().chain([out]).collect();
    let rows: usize = x.shape()[..x.rank() - 1].iter().product();
    let x = if x.rank() == 2 { x.clone() } else { crate::copy::contiguous(x)? };
    let x = x.with_layout(
        x.layout().view(&Shape::new(&[rows, k])).unwrap_or_else(|| Layout::contiguous([rows, k].into())),
    );
    let y = uninit(OP, &Shape::new(&[rows, out]), x.dtype(), x.device())?;
    let transposed = weight.with_layout(weight.layout().transpose(0, 1));
    match bias {
        Some(b) => run(OP, &Op::Matmul { accumulate: false }, &[&x, &transposed, b], &[&y])?,
        None => run(OP, &Op::Matmul { accumulate: false }, &[&x, &transposed], &[&y])?,
    }
    let layout = y.layout().view(&shape).expect("contiguous tensors can be viewed freely");
    Ok(y.with_layout(layout))
}
