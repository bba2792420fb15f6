//! One direction of one recurrent layer over a whole sequence: one node, whose backward pass multiplies the weights'
//! gradients for all steps at once.
//!
//! A sequence is a matrix of rows, step after step; `sizes` says how many rows each step has. Row `i` of a step continues
//! row `i` of the step before, and sequences that have ended are the last rows. This is the layout of a packed sequence; a
//! padded one is the case where all sizes are equal.

use kiln_ops::DType;
use kiln_ops::recurrent::{self as r, Cell, Kept, Pass, StateWeights};

use crate::autocast::is_autocast_enabled;
use crate::collect::Collect;
use crate::grad_mode::{is_tracked, no_grad};
use crate::record::record_joint;
use crate::{CellWeights, Here, Result, Tensor, func};

/// The weights of one direction of one layer; `w_hr` projects the state of an LSTM to fewer places.
#[derive(Clone, Copy)]
pub(crate) struct PassWeights<'a> {
    pub(crate) cell: CellWeights<'a>,
    pub(crate) w_hr: Option<&'a Tensor>,
}

impl PassWeights<'_> {
    /// Calls `f` with those that act on the state.
    fn on_state<R>(&self, f: impl FnOnce(StateWeights<'_>) -> R) -> R {
        let w_hh = self.cell.w_hh.raw().clone();
        let [b_hh, w_hr] = [self.cell.b_hh, self.w_hr].map(|t| t.map(|t| t.raw().clone()));
        f(StateWeights { w_hh: &w_hh, b_hh: b_hh.as_ref(), w_hr: w_hr.as_ref() })
    }
}

/// The results of all steps, the last state and, for an LSTM, the last cell.
#[track_caller]
pub(crate) fn run(pass: Pass, x: &Tensor, state: &[&Tensor], w: PassWeights<'_>) -> Result<Vec<Tensor>> {
    let optional = [w.cell.b_ih, w.cell.b_hh, w.w_hr];
    let mut inputs = vec![x, w.cell.w_ih, w.cell.w_hh];
    inputs.extend(state);
    inputs.extend(optional.into_iter().flatten());
    // Half precision rounds after each operation, as in PyTorch. In a region of mixed precision each operation decides about
    // its dtype.
    let single = inputs.iter().all(|t| t.dtype() == x.dtype());
    if !single || !matches!(x.dtype(), DType::F32 | DType::F64) || is_autocast_enabled() {
        return steps(&pass, x, state, w);
    }
    let keep = Tensor::any_requires_grad(&inputs);
    let gates = no_grad(|| x.linear(w.cell.w_ih, w.cell.b_ih)).here()?.raw().clone();
    let raw: Vec<_> = state.iter().map(|s| s.raw().clone()).collect();
    let (outputs, kept) =
        w.on_state(|w| r::pass(&pass, gates, &raw.iter().collect::<Vec<_>>(), w, keep)).here()?;
    let Some(kept) = kept else { return Ok(outputs.into_iter().map(Tensor::from_raw).collect()) };
    let name = match pass.cell {
        Cell::Lstm => "LstmBackward0",
        Cell::Gru => "GruBackward0",
        Cell::Tanh => "RnnTanhBackward0",
        Cell::Relu => "RnnReluBackward0",
    };
    Ok(record_joint(name, outputs, &inputs, || {
        let saved: Vec<_> = inputs.iter().map(|t| t.save()).collect();
        let states = state.len();
        let present = optional.map(|t| t.is_some());
        Box::new(move |g, wants| {
            let inputs = saved.iter().map(|s| s.get()).all_ok()?;
            // To be differentiated again, the steps are run anew.
            if is_tracked() {
                return func::tracked_gradients(&inputs, wants, g, |inputs| {
                    let (x, state, w) = named(inputs, states, present);
                    steps(&pass, x, &state, w)
                });
            }
            let (x, _, w) = named(&inputs, states, present);
            backward(&pass, x, w, &kept, g, wants)
        })
    }))
}

/// The results by tracked operations: the specification.
#[track_caller]
fn steps(pass: &Pass, x: &Tensor, state: &[&Tensor], w: PassWeights<'_>) -> Result<Vec<Tensor>> {
    let order = pass.order();
    let all = x.linear(w.cell.w_ih, w.cell.b_ih)?;
    let mut results: Vec<Tensor> = Vec::with_capacity(order.len());
    let first = order.first().map_or(0, |s| s.1);
    let mut now = state.iter().map(|s| s.narrow(0, 0, first as i64)).all_ok().here()?;
    let mut ended: Vec<Vec<Tensor>> = Vec::new();
    for (start, rows) in order {
        let before = now[0].shape()[0];
        if rows < before {
            let tail = |s: &Tensor| s.narrow(0, rows as i64, (before - rows) as i64);
            ended.push(now.iter().map(tail).all_ok().here()?);
            now = now.iter().map(|s| s.narrow(0, 0, rows as i64)).all_ok().here()?;
        } else if rows > before {
            let more = |(s, first): (&Tensor, &&Tensor)| {
                Tensor::cat(&[s, &first.narrow(0, before as i64, (rows - before) as i64)?], 0)
            };
            now = now.iter().zip(state).map(more).all_ok().here()?;
        }
        now = step(pass.cell, &all.narrow(0, start as i64, rows as i64)?, &now, w)?;
        results.push(now[0].clone());
    }
    // Sequences end from the last row to the first.
    for tail in ended.iter().rev() {
        now = now.iter().zip(tail).map(|(s, t)| Tensor::cat(&[s, t], 0)).all_ok().here()?;
    }
    if pass.reverse {
        results.reverse();
    }
    let mut outputs = vec![Tensor::cat(&results.iter().collect::<Vec<_>>(), 0)?];
    outputs.extend(now);
    Ok(outputs)
}

/// The next state; `a` is what the input contributes to the gates.
#[track_caller]
fn step(cell: Cell, a: &Tensor, state: &[Tensor], w: PassWeights<'_>) -> Result<Vec<Tensor>> {
    let h = &state[0];
    let b = h.linear(w.cell.w_hh, w.cell.b_hh)?;
    match cell {
        Cell::Lstm => {
            let parts = a.add(&b)?.chunk(4, -1)?;
            let (input, forget) = (parts[0].sigmoid()?, parts[1].sigmoid()?);
            let (cell, output) = (parts[2].tanh()?, parts[3].sigmoid()?);
            let c = forget.mul(&state[1])?.add(&input.mul(&cell)?)?;
            let full = output.mul(&c.tanh()?)?;
            let h = w.w_hr.map_or(Ok(full.clone()), |w| full.linear(w, None)).here()?;
            Ok(vec![h, c])
        }
        Cell::Gru => {
            let (a, b) = (a.chunk(3, -1)?, b.chunk(3, -1)?);
            let reset = a[0].add(&b[0])?.sigmoid()?;
            let update = a[1].add(&b[1])?.sigmoid()?;
            let new = a[2].add(&reset.mul(&b[2])?)?.tanh()?;
            Ok(vec![h.sub(&new)?.mul(&update)?.add(&new)?])
        }
        Cell::Tanh => Ok(vec![a.add(&b)?.tanh()?]),
        Cell::Relu => Ok(vec![a.add(&b)?.relu()?]),
    }
}

/// The inputs of a pass by their names: the sequence, the states and the weights, of which the optional ones are there as
/// `present` says.
fn named(inputs: &[Tensor], states: usize, present: [bool; 3]) -> (&Tensor, Vec<&Tensor>, PassWeights<'_>) {
    let mut rest = inputs[3 + states..].iter();
    let [b_ih, b_hh, w_hr] = present.map(|p| if p { rest.next() } else { None });
    let cell = CellWeights { w_ih: &inputs[1], w_hh: &inputs[2], b_ih, b_hh };
    (&inputs[0], inputs[3..3 + states].iter().collect(), PassWeights { cell, w_hr })
}

/// The gradients of the inputs in the order of [`run`]'s list.
#[track_caller]
fn backward(
    pass: &Pass,
    x: &Tensor,
    w: PassWeights<'_>,
    kept: &Kept,
    g: &[Option<Tensor>],
    wants: &[bool],
) -> Result<Vec<Option<Tensor>>> {
    let by: Vec<_> = g.iter().map(|g| g.as_ref().map(|g| g.raw().clone())).collect();
    let by: Vec<_> = by.iter().map(|g| g.as_ref()).collect();
    let found = w.on_state(|w| r::pass_backward(pass, kept, w, &by)).here()?;
    let by_input = Tensor::from_raw(found.by_input);
    let by_state = found.by_state.map(Tensor::from_raw);
    let same = by_state.is_none();
    let by_state = by_state.unwrap_or_else(|| by_input.clone());
    let before = Tensor::from_raw(kept.before.clone());
    let mut wanted = wants.iter();
    let mut ask = |make: &dyn Fn() -> Result<Tensor>| match wanted.next() {
        Some(true) => make().map(Some),
        _ => Ok(None),
    };
    let mut all = vec![
        ask(&|| by_input.matmul(w.cell.w_ih))?,
        ask(&|| by_input.t()?.matmul(x))?,
        ask(&|| by_state.t()?.matmul(&before))?,
    ];
    for first in found.first {
        all.push(ask(&|| Ok(Tensor::from_raw(first.clone())))?);
    }
    let mut by_bias = None;
    if w.cell.b_ih.is_some() {
        by_bias = ask(&|| by_input.sum_axes(&[0], false))?;
        all.push(by_bias.clone());
    }
    if w.cell.b_hh.is_some() {
        all.push(ask(&|| match &by_bias {
            Some(by_bias) if same => by_bias.copy(),
            _ => by_state.sum_axes(&[0], false),
        })?);
    }
    if let Some([by_projected, full]) = found.projection.map(|p| p.map(Tensor::from_raw)) {
        all.push(ask(&|| by_projected.t()?.matmul(&full))?);
    }
    Ok(all)
}
