//! Passes of the recurrent layers: the steps, each a product with the weights for the state and what follows it.

mod rows;

use kiln_storage::{Error, RawTensor, Result, with_dtype};

use super::arch::isa;
use super::gemm::{self, Packed};
use super::host::Host;
use super::math::Math;
use super::real::Real;
use crate::recurrent::{Cell, Pass};
use rows::{Gru, GruGrad, Lstm, LstmGrad, Relu, ReluGrad, Tanh, TanhGrad, Unprojected, over};

/// What comes with a pass; see [`crate::Op::RecurrentPass`].
#[derive(Clone, Copy)]
pub(super) struct With {
    pub(super) bias: bool,
    pub(super) projected: bool,
    pub(super) keep: bool,
}

fn not_implemented(op: &'static str, t: &RawTensor) -> Error {
    Error::dtype(op, format!("\"{op}\" is not implemented for {}", t.dtype()))
}

/// The matrix of weights from the state to `wide` sums, as the products of all steps read it.
fn packed<T: gemm::Real>(w: &[T], wide: usize, transposed: bool) -> Packed<T> {
    let state = w.len() / wide;
    match transposed {
        true => Packed::new(isa(), w, [state, wide], [1, state]),
        false => Packed::new(isa(), w, [wide, state], [state, 1]),
    }
}

/// See [`crate::Op::RecurrentPass`].
pub(super) fn pass(
    op: &'static str,
    pass: &Pass,
    with: With,
    ins: &[&RawTensor],
    outs: &[&RawTensor],
) -> Result<()> {
    let host = Host::lock(op, ins, outs)?;
    let wide = ins[0].shape()[0];
    with_dtype!(outs[0].dtype(), [F32, F64], T => {
        let mut from = ins.iter().map(|t| host.input::<T>(t));
        let w = packed(from.next().unwrap_or_default(), wide, true);
        let bias = if with.bias { from.next() } else { None };
        let n = wide / pass.cell.gates();
        let projection = if with.projected { from.next().map(|w| packed(w, w.len() / n, true)) } else { None };
        // SAFETY: each output is made into a slice once, and has memory of its own.
        let mut to = outs.iter().map(|t| unsafe { host.output::<T>(t) });
        let mut next = |wanted: bool| if wanted { to.next().unwrap_or_default() } else { Default::default() };
        let memory = Forward {
            gates: next(true),
            y: next(true),
            h: next(true),
            c: next(pass.cell == Cell::Lstm),
            before: next(with.keep),
            more: next(with.keep && pass.cell.keeps_more()),
        };
        forward(pass, n, &w, bias, projection.as_ref(), memory);
        Ok(())
    }, else => Err(not_implemented(op, outs[0])))
}

/// The outputs of a forward pass; those that are not there are empty.
struct Forward<'a, T> {
    gates: &'a mut [T],
    y: &'a mut [T],
    h: &'a mut [T],
    c: &'a mut [T],
    before: &'a mut [T],
    more: &'a mut [T],
}

fn forward<T: Real + Math + gemm::Real>(
    pass: &Pass,
    n: usize,
    w: &Packed<T>,
    bias: Option<&[T]>,
    projection: Option<&Packed<T>>,
    to: Forward<'_, T>,
) {
    let batch = pass.sizes.iter().copied().max().unwrap_or(0);
    let (wide, state) = (n * pass.cell.gates(), to.h.len() / batch.max(1));
    let room = |wanted: bool, width: usize| vec![T::ZERO; if wanted { batch * width } else { 0 }];
    // What the state contributes, where it must stay apart from the input's share; unprojected states.
    let mut sums = room(pass.cell == Cell::Gru, wide);
    let mut spare = room(pass.cell == Cell::Gru && to.more.is_empty(), n);
    let mut unprojected = room(projection.is_some(), n);
    for (start, rows) in pass.order() {
        let h = &mut to.h[..rows * state];
        let gates = &mut to.gates[start * wide..][..rows * wide];
        if !to.before.is_empty() {
            to.before[start * state..][..rows * state].copy_from_slice(h);
        }
        match pass.cell {
            Cell::Gru => {
                let sums = &mut sums[..rows * wide];
                w.product(h, sums, false, bias);
                let more = match to.more.is_empty() {
                    true => &mut spare[..rows * n],
                    false => &mut to.more[start * n..][..rows * n],
                };
                over::<T, Gru>(n, rows, [sums, &[], &[]], [gates, more, h]);
            }
            Cell::Lstm => {
                w.product(h, gates, true, bias);
                let c = &mut to.c[..rows * n];
                if !to.more.is_empty() {
                    to.more[start * n..][..rows * n].copy_from_slice(c);
                }
                match projection {
                    None => over::<T, Lstm>(n, rows, [&[], &[], &[]], [gates, c, h]),
                    Some(projection) => {
                        let full = &mut unprojected[..rows * n];
                        over::<T, Lstm>(n, rows, [&[], &[], &[]], [gates, c, full]);
                        projection.product(full, h, false, None);
                    }
                }
            }
            Cell::Tanh | Cell::Relu => {
                w.product(h, gates, true, bias);
                match pass.cell {
                    Cell::Tanh => over::<T, Tanh>(n, rows, [&[], &[], &[]], [&mut *gates, &mut [], &mut []]),
                    _ => over::<T, Relu>(n, rows, [&[], &[], &[]], [&mut *gates, &mut [], &mut []]),
                }
                h.copy_from_slice(gates);
            }
        }
        to.y[start * state..][..rows * state].copy_from_slice(h);
    }
}

/// See [`crate::Op::RecurrentPassGrad`].
pub(super) fn pass_grad(
    op: &'static str,
    pass: &Pass,
    projected: bool,
    by_steps: bool,
    ins: &[&RawTensor],
    outs: &[&RawTensor],
) -> Result<()> {
    let host = Host::lock(op, ins, outs)?;
    let wide = ins[2].shape()[0];
    with_dtype!(outs[0].dtype(), [F32, F64], T => {
        let mut from = ins.iter().map(|t| host.input::<T>(t));
        let mut next = |wanted: bool| if wanted { from.next().unwrap_or_default() } else { Default::default() };
        let (gates, before, w, more) = (next(true), next(true), next(true), next(pass.cell.keeps_more()));
        let projection = next(projected);
        let kept = Backward { gates, before, more, by_steps: next(by_steps) };
        let n = wide / pass.cell.gates();
        let projection = projected.then(|| packed(projection, projection.len() / n, false));
        // SAFETY: each output is made into a slice once, and has memory of its own.
        let mut to = outs.iter().map(|t| unsafe { host.output::<T>(t) });
        let mut next = |wanted: bool| if wanted { to.next().unwrap_or_default() } else { Default::default() };
        let memory = Gradients {
            by_input: next(true),
            gh: next(true),
            gc: next(pass.cell == Cell::Lstm),
            by_state: next(pass.cell == Cell::Gru),
            by_projected: next(projected),
            full: next(projected),
        };
        backward(pass, n, &packed(w, wide, false), projection.as_ref(), kept, memory);
        Ok(())
    }, else => Err(not_implemented(op, outs[0])))
}

/// The inputs of a backward pass; those that are not there are empty.
struct Backward<'a, T> {
    gates: &'a [T],
    before: &'a [T],
    more: &'a [T],
    by_steps: &'a [T],
}

/// The outputs of a backward pass; those that are not there are empty.
struct Gradients<'a, T> {
    by_input: &'a mut [T],
    gh: &'a mut [T],
    gc: &'a mut [T],
    by_state: &'a mut [T],
    by_projected: &'a mut [T],
    full: &'a mut [T],
}

fn backward<T: Real + Math + gemm::Real>(
    pass: &Pass,
    n: usize,
    w: &Packed<T>,
    projection: Option<&Packed<T>>,
    from: Backward<'_, T>,
    to: Gradients<'_, T>,
) {
    let batch = pass.sizes.iter().copied().max().unwrap_or(0);
    let (wide, state) = (n * pass.cell.gates(), to.gh.len() / batch.max(1));
    let mut unprojected = vec![T::ZERO; if projection.is_some() { batch * n } else { 0 }];
    for (start, rows) in pass.order().into_iter().rev() {
        let gh = &mut to.gh[..rows * state];
        if !from.by_steps.is_empty() {
            gh.iter_mut().zip(&from.by_steps[start * state..]).for_each(|(g, &by)| *g += by);
        }
        let gates = &from.gates[start * wide..][..rows * wide];
        let by = &mut to.by_input[start * wide..][..rows * wide];
        match pass.cell {
            Cell::Lstm => {
                let (before, gc) = (&from.more[start * n..][..rows * n], &mut to.gc[..rows * n]);
                match projection {
                    None => over::<T, LstmGrad>(n, rows, [gates, before, gh], [by, gc, &mut []]),
                    Some(projection) => {
                        to.by_projected[start * state..][..rows * state].copy_from_slice(gh);
                        let full = &mut to.full[start * n..][..rows * n];
                        over::<T, Unprojected>(n, rows, [gates, before, &[]], [full, &mut [], &mut []]);
                        let by_full = &mut unprojected[..rows * n];
                        projection.product(gh, by_full, false, None);
                        over::<T, LstmGrad>(n, rows, [gates, before, by_full], [by, gc, &mut []]);
                    }
                }
                w.product(&to.by_input[start * wide..][..rows * wide], gh, false, None);
            }
            Cell::Gru => {
                let more = &from.more[start * n..][..rows * n];
                let before = &from.before[start * n..][..rows * n];
                let by_state = &mut to.by_state[start * wide..][..rows * wide];
                over::<T, GruGrad>(n, rows, [gates, more, before], [by, &mut *by_state, &mut *gh]);
                w.product(by_state, gh, true, None);
            }
            Cell::Tanh | Cell::Relu => {
                match pass.cell {
                    Cell::Tanh => {
                        over::<T, TanhGrad>(n, rows, [gates, gh, &[]], [&mut *by, &mut [], &mut []])
                    }
                    _ => over::<T, ReluGrad>(n, rows, [gates, gh, &[]], [&mut *by, &mut [], &mut []]),
                }
                w.product(by, gh, false, None);
            }
        }
    }
}
