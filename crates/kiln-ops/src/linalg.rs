//! Decompositions of matrices and what is solved with them.
//!
//! All of them are computed in double precision, whatever the dtype: one set of kernels serves `f32` and `f64`, and the
//! results of `f32` are right but for the last rounding. Matrices are the last two axes, the others are batches.

use kiln_storage::{DType, Error, RawTensor, Result, Shape};

use crate::backend::{run, uninit};
use crate::copy::{contiguous, to_dtype};
use crate::op::Op;
use crate::rules::same_device;

/// A kernel on matrices of `f64`; operands are contiguous, their last two axes (one for vectors) are the matrix and the
/// others equal batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinalgOp {
    /// inputs `[a]`, outputs `[lu, pivots, info]`, the last two int32: rows exchanged so that the largest element leads
    Lu,
    /// inputs `[a]`, outputs `[det, sign, log]` without the matrix axes
    Det,
    /// inputs `[a, b]`, outputs `[x, info]` with `a x = b`
    Solve,
    /// inputs `[a, b]`, outputs `[x]` with `a x = b` for the triangle of `a`
    SolveTriangular {
        /// The triangle above the diagonal.
        upper: bool,
        /// Ones on the diagonal, whatever is there.
        unit: bool,
    },
    /// inputs `[a]`, outputs `[l, info]`; reads the lower triangle
    Cholesky,
    /// inputs `[a]`, outputs `[packed, tau]`: Householder's reflectors below R
    Householder,
    /// inputs `[packed, tau]`, outputs `[q]` with as many columns as are wanted
    Orthogonal,
    /// inputs `[a]`, outputs `[values, vectors, info]`; reads the lower triangle, values ascend
    Eigh,
    /// inputs `[a]`, outputs `[u, s, vt]`, u and vt thin or square; s descends
    Svd,
}

/// The sizes of a batch of matrices.
fn sizes(x: &RawTensor) -> (Shape, usize, usize) {
    let rank = x.rank();
    (Shape::new(&x.shape()[..rank - 2]), x.shape()[rank - 2], x.shape()[rank - 1])
}

fn with(batch: &Shape, last: &[usize]) -> Shape {
    batch.iter().chain(last).copied().collect()
}

/// Matrices as kernels take them.
fn prepare(op: &'static str, x: &RawTensor) -> Result<RawTensor> {
    check_matrices(op, x)?;
    contiguous(&to_dtype(x, DType::F64)?)
}

/// Refuses what is not a batch of matrices of single or double precision.
///
/// # Errors
/// Fewer than two axes; another dtype.
pub fn check_matrices(op: &'static str, x: &RawTensor) -> Result<()> {
    if x.rank() < 2 {
        return Err(Error::shape(
            op,
            format!("The input tensor A must have at least 2 dimensions, got shape {:?}", x.shape()),
        ));
    }
    check_dtype(op, x)
}

fn check_dtype(op: &'static str, x: &RawTensor) -> Result<()> {
    match x.dtype() {
        DType::F32 | DType::F64 => Ok(()),
        DType::F16 | DType::BF16 => {
            Err(Error::dtype(op, format!("Low precision dtypes not supported. Got {}", x.dtype())))
        }
        other => Err(Error::dtype(op, format!("Expected a floating point tensor as input. Got {other}"))),
    }
}

/// Refuses matrices that are not square.
///
/// # Errors
/// As [`check_matrices`]; rows and columns differ.
pub fn check_square(op: &'static str, x: &RawTensor) -> Result<()> {
    check_matrices(op, x)?;
    let (_, m, n) = sizes(x);
    if m != n {
        return Err(Error::shape(
            op,
            format!("A must be batches of square matrices, but they are {m} by {n} matrices"),
        ));
    }
    Ok(())
}

/// The common dtype, device and batch of two operands of an equation.
fn check_pair(op: &'static str, a: &RawTensor, b: &RawTensor) -> Result<()> {
    same_device(op, &[a, b])?;
    check_matrices(op, b)?;
    let ((batch, _, n), (other, rows, _)) = (sizes(a), sizes(b));
    if a.dtype() != b.dtype() {
        return Err(Error::dtype(
            op,
            format!("Expected A and B to have the same dtype, but found {} and {}", a.dtype(), b.dtype()),
        ));
    }
    if batch != other || rows != n {
        return Err(Error::shape(
            op,
            format!(
                "Incompatible shapes of A and B for the equation AX = B ({:?} and {:?})",
                a.shape(),
                b.shape()
            ),
        ));
    }
    Ok(())
}

/// Runs a kernel and converts its results.
fn compute<const N: usize>(
    op: &'static str,
    code: LinalgOp,
    inputs: &[&RawTensor],
    outputs: [(Shape, DType); N],
    dtype: DType,
) -> Result<[RawTensor; N]> {
    let device = inputs[0].device();
    let mut made = Vec::with_capacity(N);
    for (shape, dtype) in &outputs {
        made.push(uninit(op, shape, *dtype, device)?);
    }
    run(op, &Op::Linalg(code), inputs, &made.iter().collect::<Vec<_>>())?;
    let cast = |t: &RawTensor| if t.dtype() == DType::F64 { to_dtype(t, dtype) } else { Ok(t.clone()) };
    let made = made.iter().map(cast).collect::<Result<Vec<_>>>()?;
    Ok(made.try_into().unwrap_or_else(|_| unreachable!("as many results as outputs")))
}

/// Triangles L and U of `P A = L U` in one matrix, the row that each one was exchanged with (counted from 1, as LAPACK
/// does), and per matrix the first column (from 1) without a pivot, or 0.
///
/// # Errors
/// Not matrices of single or double precision.
pub fn lu(op: &'static str, a: &RawTensor) -> Result<[RawTensor; 3]> {
    let x = prepare(op, a)?;
    let (batch, m, n) = sizes(&x);
    let outputs =
        [(x.shape().clone(), DType::F64), (with(&batch, &[m.min(n)]), DType::I32), (batch, DType::I32)];
    compute(op, LinalgOp::Lu, &[&x], outputs, a.dtype())
}

/// Determinants, their signs, and the logarithms of their absolute values.
///
/// # Errors
/// Not square matrices of single or double precision.
pub fn det(op: &'static str, a: &RawTensor) -> Result<[RawTensor; 3]> {
    check_square(op, a)?;
    let x = prepare(op, a)?;
    let batch = sizes(&x).0;
    compute(op, LinalgOp::Det, &[&x], std::array::from_fn(|_| (batch.clone(), DType::F64)), a.dtype())
}

/// The solutions x of `a x = b`, and per matrix the first column (from 1) without a pivot, or 0.
///
/// # Errors
/// Not square matrices of single or double precision; shapes, batches included, that do not fit.
pub fn solve(op: &'static str, a: &RawTensor, b: &RawTensor) -> Result<[RawTensor; 2]> {
    check_square(op, a)?;
    check_pair(op, a, b)?;
    let (x, y) = (prepare(op, a)?, prepare(op, b)?);
    let outputs = [(y.shape().clone(), DType::F64), (sizes(&x).0, DType::I32)];
    compute(op, LinalgOp::Solve, &[&x, &y], outputs, a.dtype())
}

/// The solutions x of `a x = b` for a triangle of `a`, with ones on its diagonal where `unit`.
///
/// # Errors
/// As [`solve`].
pub fn solve_triangular(
    op: &'static str,
    a: &RawTensor,
    b: &RawTensor,
    upper: bool,
    unit: bool,
) -> Result<RawTensor> {
    check_square(op, a)?;
    check_pair(op, a, b)?;
    let (x, y) = (prepare(op, a)?, prepare(op, b)?);
    let outputs = [(y.shape().clone(), DType::F64)];
    let [x] = compute(op, LinalgOp::SolveTriangular { upper, unit }, &[&x, &y], outputs, a.dtype())?;
    Ok(x)
}

/// The lower triangle L of `A = L L^T` from the lower triangle of `a`, and per matrix the order (from 1) of the leading
/// minor that is not positive, or 0.
///
/// # Errors
/// Not square matrices of single or double precision.
pub fn cholesky(op: &'static str, a: &RawTensor) -> Result<[RawTensor; 2]> {
    check_square(op, a)?;
    let x = prepare(op, a)?;
    let outputs = [(x.shape().clone(), DType::F64), (sizes(&x).0, DType::I32)];
    compute(op, LinalgOp::Cholesky, &[&x], outputs, a.dtype())
}

/// R above Householder's vectors, and their factors (LAPACK's `geqrf`).
///
/// # Errors
/// Not matrices of single or double precision.
pub fn householder(op: &'static str, a: &RawTensor) -> Result<[RawTensor; 2]> {
    let x = prepare(op, a)?;
    let (batch, m, n) = sizes(&x);
    let outputs = [(x.shape().clone(), DType::F64), (with(&batch, &[m.min(n)]), DType::F64)];
    compute(op, LinalgOp::Householder, &[&x], outputs, a.dtype())
}

/// The first `columns` columns of Q, and R with as many rows, of `A = Q R`.
///
/// # Errors
/// Not matrices of single or double precision.
pub fn qr(op: &'static str, a: &RawTensor, complete: bool) -> Result<[RawTensor; 2]> {
    let x = prepare(op, a)?;
    let (batch, m, n) = sizes(&x);
    let k = if complete { m } else { m.min(n) };
    let outputs = [(x.shape().clone(), DType::F64), (with(&batch, &[m.min(n)]), DType::F64)];
    let [packed, tau] = compute(op, LinalgOp::Householder, &[&x], outputs, DType::F64)?;
    let outputs = [(with(&batch, &[m, k]), DType::F64)];
    let [q] = compute(op, LinalgOp::Orthogonal, &[&packed, &tau], outputs, a.dtype())?;
    let r = crate::triu(&crate::narrow(&packed, -2, 0, k as i64)?, 0)?;
    Ok([q, to_dtype(&r, a.dtype())?])
}

/// Ascending eigenvalues and their vectors, the columns of a matrix, of the symmetric matrices whose lower triangle `a`
/// has; per matrix 1 if the iteration did not converge.
///
/// # Errors
/// Not square matrices of single or double precision.
pub fn eigh(op: &'static str, a: &RawTensor) -> Result<[RawTensor; 3]> {
    check_square(op, a)?;
    let x = prepare(op, a)?;
    let (batch, n, _) = sizes(&x);
    let outputs = [(with(&batch, &[n]), DType::F64), (x.shape().clone(), DType::F64), (batch, DType::I32)];
    compute(op, LinalgOp::Eigh, &[&x], outputs, a.dtype())
}

/// `U`, descending `S` and `V^T` of `A = U S V^T`, square where `full`, else thin.
///
/// # Errors
/// Not matrices of single or double precision.
pub fn svd(op: &'static str, a: &RawTensor, full: bool) -> Result<[RawTensor; 3]> {
    let x = prepare(op, a)?;
    let (batch, m, n) = sizes(&x);
    let k = m.min(n);
    let (left, right) = if full { (m, n) } else { (k, k) };
    let outputs = [
        (with(&batch, &[m, left]), DType::F64),
        (with(&batch, &[k]), DType::F64),
        (with(&batch, &[right, n]), DType::F64),
    ];
    compute(op, LinalgOp::Svd, &[&x], outputs, a.dtype())
}
