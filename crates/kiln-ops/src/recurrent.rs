//! The elementwise part of a step of the recurrent layers, in one pass, and its derivative.
//!
//! The products come before: `a` is what the input contributes to the gates, `b` what the state does, `[rows, gates * n]`
//! each, gates of a row behind each other. float32 and float64.

use kiln_storage::{DType, Error, RawTensor, Result, Shape};

use crate::backend::{run, uninit};
use crate::copy::contiguous;
use crate::op::Op;
use crate::rules::same_device;

/// Which layer a step is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Gates: input, forget, cell, output.
    Lstm,
    /// Gates: reset, update, new, and then what the state contributes to new.
    Gru,
}

/// Checks that the operands are matrices of one dtype with `widths` times `n` columns, and gives them contiguous.
fn checked<const N: usize>(
    op: &'static str,
    operands: [&RawTensor; N],
    widths: [usize; N],
    [rows, n]: [usize; 2],
) -> Result<Vec<RawTensor>> {
    same_device(op, &operands)?;
    let dtype = operands[0].dtype();
    if !matches!(dtype, DType::F32 | DType::F64) {
        return Err(Error::dtype(op, format!("\"{op}\" is not implemented for {dtype}")));
    }
    for (t, width) in operands.iter().zip(widths) {
        if t.dtype() != dtype || t.shape().dims() != [rows, width.saturating_mul(n)] {
            return Err(Error::shape(
                op,
                format!(
                    "expected {dtype} of shape [{rows}, {width} * {n}], got {} {:?}",
                    t.dtype(),
                    t.shape()
                ),
            ));
        }
    }
    operands.iter().map(|t| contiguous(t)).collect()
}

/// Runs a kernel for results of `widths` times `n` columns.
fn results<const N: usize>(
    op: &'static str,
    kernel: &Op,
    ins: &[RawTensor],
    widths: [usize; N],
    [rows, n]: [usize; 2],
) -> Result<[RawTensor; N]> {
    let mut outs = Vec::with_capacity(N);
    for width in widths {
        outs.push(uninit(op, &Shape::from([rows, width * n]), ins[0].dtype(), ins[0].device())?);
    }
    if rows * n > 0 {
        run(op, kernel, &ins.iter().collect::<Vec<_>>(), &outs.iter().collect::<Vec<_>>())?;
    }
    <[RawTensor; N]>::try_from(outs).map_err(|_| Error::value(op, "results are missing"))
}

fn size(op: &'static str, state: &RawTensor) -> Result<[usize; 2]> {
    match *state.shape().dims() {
        [rows, n] => Ok([rows, n]),
        _ => Err(Error::shape(op, format!("expected a state of two axes, got {:?}", state.shape()))),
    }
}

/// A step of an LSTM from the cell `c`: the gates, the next cell, the next state.
///
/// # Errors
/// Shapes or dtypes that do not fit.
pub fn lstm_step(a: &RawTensor, b: &RawTensor, c: &RawTensor) -> Result<[RawTensor; 3]> {
    const OP: &str = "lstm_step";
    let size = size(OP, c)?;
    let ins = checked(OP, [a, b, c], [4, 4, 1], size)?;
    results(OP, &Op::RecurrentStep(Cell::Lstm), &ins, [4, 1, 1], size)
}

/// From the gradients of the state and cell after a step of an LSTM: those of what both sides contribute to the gates, and
/// of the cell before.
///
/// # Errors
/// Shapes or dtypes that do not fit.
pub fn lstm_step_backward(
    gates: &RawTensor,
    [before, after]: [&RawTensor; 2],
    gh: &RawTensor,
    gc: &RawTensor,
) -> Result<[RawTensor; 2]> {
    const OP: &str = "lstm_step_backward";
    let size = size(OP, before)?;
    let ins = checked(OP, [gates, before, after, gh, gc], [4, 1, 1, 1, 1], size)?;
    results(OP, &Op::RecurrentStepGrad(Cell::Lstm), &ins, [4, 1], size)
}

/// A step of a GRU from the state `h`: the gates, the next state.
///
/// # Errors
/// Shapes or dtypes that do not fit.
pub fn gru_step(a: &RawTensor, b: &RawTensor, h: &RawTensor) -> Result<[RawTensor; 2]> {
    const OP: &str = "gru_step";
    let size = size(OP, h)?;
    let ins = checked(OP, [a, b, h], [3, 3, 1], size)?;
    results(OP, &Op::RecurrentStep(Cell::Gru), &ins, [4, 1], size)
}

/// From the gradient of the state after a step of a GRU: those of what the input and the state contribute to the gates, and
/// of the state before where it goes on directly.
///
/// # Errors
/// Shapes or dtypes that do not fit.
pub fn gru_step_backward(gates: &RawTensor, h: &RawTensor, g: &RawTensor) -> Result<[RawTensor; 3]> {
    const OP: &str = "gru_step_backward";
    let size = size(OP, h)?;
    let ins = checked(OP, [gates, h, g], [4, 1, 1], size)?;
    results(OP, &Op::RecurrentStepGrad(Cell::Gru), &ins, [3, 3, 1], size)
}
