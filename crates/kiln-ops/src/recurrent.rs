//! One direction of one recurrent layer over a whole sequence, and its derivative: the weights are brought into the
//! product's order once for all steps, and what follows the product in a step is one pass over memory.
//!
//! A sequence is a matrix of rows, step after step; `sizes` says how many rows each step has. Row `i` of a step continues
//! row `i` of the step before. float32 and float64.

use kiln_storage::{DType, Error, RawTensor, Result, Shape};

use crate::backend::{run, uninit};
use crate::copy::{contiguous, contiguous_copy};
use crate::create::full;
use crate::op::Op;
use crate::rules::same_device;

/// What happens in a step. The gates of a row lie behind each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Gates: input, forget, cell, output.
    Lstm,
    /// Gates: reset, update, new.
    Gru,
    /// The hyperbolic tangent of the sum.
    Tanh,
    /// The positive part of the sum.
    Relu,
}

impl Cell {
    /// How many blocks of `hidden` rows the weights have.
    pub fn gates(self) -> usize {
        match self {
            Cell::Lstm => 4,
            Cell::Gru => 3,
            Cell::Tanh | Cell::Relu => 1,
        }
    }

    /// Whether the backward pass needs a matrix beside gates and states: the cells before each step of an LSTM, what the
    /// state contributes to the new state of a GRU.
    pub(crate) fn keeps_more(self) -> bool {
        matches!(self, Cell::Lstm | Cell::Gru)
    }
}

/// The steps of a pass and their direction.
#[derive(Clone, Debug)]
pub struct Pass {
    /// What happens in each.
    pub cell: Cell,
    /// How many rows each step has.
    pub sizes: Vec<usize>,
    /// From the last step to the first.
    pub reverse: bool,
}

impl Pass {
    /// First row and number of rows of the steps, in the order in which they run.
    pub fn order(&self) -> Vec<(usize, usize)> {
        let mut start = 0;
        let place = |&rows: &usize| {
            start += rows;
            (start - rows, rows)
        };
        let mut order: Vec<(usize, usize)> = self.sizes.iter().map(place).collect();
        if self.reverse {
            order.reverse();
        }
        order
    }
}

/// The weights that act on the state.
#[derive(Clone, Copy)]
pub struct StateWeights<'a> {
    /// `[gates * hidden, state]`
    pub w_hh: &'a RawTensor,
    /// `[gates * hidden]`
    pub b_hh: Option<&'a RawTensor>,
    /// `[state, hidden]`: projects the state of an LSTM.
    pub w_hr: Option<&'a RawTensor>,
}

/// What the backward pass needs of a forward pass.
pub struct Kept {
    /// The activated gates, `[rows, gates * hidden]`.
    pub gates: RawTensor,
    /// The state before each step, `[rows, state]`.
    pub before: RawTensor,
    more: Option<RawTensor>,
}

/// The results of [`pass_backward`].
pub struct PassGradients {
    /// For what the input contributes to the gates, `[rows, gates * hidden]`.
    pub by_input: RawTensor,
    /// For what the state contributes to them, where that is not the same.
    pub by_state: Option<RawTensor>,
    /// For the first state and, of an LSTM, the first cell.
    pub first: Vec<RawTensor>,
    /// For the projected states, `[rows, state]`, and what was projected, `[rows, hidden]`.
    pub projection: Option<[RawTensor; 2]>,
}

/// Rows, batch, hidden and state of a pass.
struct Sizes {
    rows: usize,
    batch: usize,
    hidden: usize,
    state: usize,
}

fn checked(op: &'static str, pass: &Pass, w: &StateWeights<'_>, gates: &RawTensor) -> Result<Sizes> {
    let mut all = vec![gates, w.w_hh];
    all.extend(w.b_hh);
    all.extend(w.w_hr);
    same_device(op, &all)?;
    let dtype = gates.dtype();
    if !matches!(dtype, DType::F32 | DType::F64) {
        return Err(Error::dtype(op, format!("\"{op}\" is not implemented for {dtype}")));
    }
    if let Some(t) = all.iter().find(|t| t.dtype() != dtype) {
        return Err(Error::dtype(op, format!("expected weights of {dtype}, got {}", t.dtype())));
    }
    let blocks = pass.cell.gates();
    let (wide, state) = match *w.w_hh.shape().dims() {
        [wide, state] if wide % blocks == 0 => (wide, state),
        _ => {
            return Err(Error::shape(
                op,
                format!("expected weights of shape [{blocks} * hidden, state], got {:?}", w.w_hh.shape()),
            ));
        }
    };
    let hidden = wide / blocks;
    let projected = w.w_hr.is_some_and(|p| pass.cell != Cell::Lstm || p.shape() != &[state, hidden]);
    if projected
        || (w.w_hr.is_none() && state != hidden)
        || w.b_hh.is_some_and(|b| b.shape() != &[wide])
        || pass.sizes.is_empty()
        || gates.shape() != &[pass.sizes.iter().fold(0, |sum: usize, &n| sum.saturating_add(n)), wide]
    {
        return Err(Error::shape(
            op,
            format!(
                "gates {:?}, weights {:?}, bias {:?} and projection {:?} do not fit steps of {:?} rows",
                gates.shape(),
                w.w_hh.shape(),
                w.b_hh.map(|b| b.shape().clone()),
                w.w_hr.map(|p| p.shape().clone()),
                pass.sizes
            ),
        ));
    }
    let batch = pass.sizes.iter().copied().max().unwrap_or(0);
    Ok(Sizes { rows: gates.shape()[0], batch, hidden, state })
}

/// Copies of states, `[batch, state]` and for an LSTM `[batch, hidden]`, that a kernel may change; zeros for missing ones.
fn own_states(
    op: &'static str,
    pass: &Pass,
    sizes: &Sizes,
    like: &RawTensor,
    states: &[Option<&RawTensor>],
) -> Result<Vec<RawTensor>> {
    let widths = [sizes.state, sizes.hidden];
    let count = if pass.cell == Cell::Lstm { 2 } else { 1 };
    if states.len() != count {
        return Err(Error::value(op, format!("expected {count} states, got {}", states.len())));
    }
    let own = |(t, width): (&Option<&RawTensor>, usize)| {
        let shape = Shape::from([sizes.batch, width]);
        match t {
            None => full(&shape, 0.0f32.into(), like.dtype(), like.device()),
            Some(t) if t.shape() == &shape && t.dtype() == like.dtype() && t.device() == like.device() => {
                contiguous_copy(t)
            }
            Some(t) => Err(Error::shape(
                op,
                format!(
                    "expected a state {:?} of {}, got {:?} of {}",
                    shape,
                    like.dtype(),
                    t.shape(),
                    t.dtype()
                ),
            )),
        }
    };
    states.iter().zip(widths).map(own).collect()
}

/// The states of all steps, `[rows, state]`, and the last state and cell, from what the input contributes to the gates,
/// `[rows, gates * hidden]`, whose memory is used for the results if nobody shares it; `states` are the first state and,
/// for an LSTM, the first cell. With `keep`, also what [`pass_backward`] needs.
///
/// # Errors
/// Shapes, dtypes or devices that do not fit.
pub fn pass(
    pass: &Pass,
    gates: RawTensor,
    states: &[&RawTensor],
    w: StateWeights<'_>,
    keep: bool,
) -> Result<(Vec<RawTensor>, Option<Kept>)> {
    const OP: &str = "recurrent";
    let sizes = checked(OP, pass, &w, &gates)?;
    let shared = gates.storage().sharers() > 1 || !gates.is_contiguous();
    let gates = if shared { contiguous_copy(&gates)? } else { gates };
    let new = |width: usize| uninit(OP, &Shape::from([sizes.rows, width]), gates.dtype(), gates.device());
    let last = own_states(OP, pass, &sizes, &gates, &states.iter().map(|s| Some(*s)).collect::<Vec<_>>())?;
    let mut results = vec![new(sizes.state)?];
    results.extend(last);
    let kept = match keep {
        true => Some(Kept {
            gates: gates.clone(),
            before: new(sizes.state)?,
            more: if pass.cell.keeps_more() { Some(new(sizes.hidden)?) } else { None },
        }),
        false => None,
    };
    if sizes.rows * sizes.hidden > 0 {
        let optional = [w.b_hh, w.w_hr].into_iter().flatten();
        let ins = [w.w_hh].into_iter().chain(optional).map(contiguous).collect::<Result<Vec<_>>>()?;
        let mut outs = vec![&gates];
        outs.extend(&results);
        if let Some(kept) = &kept {
            outs.push(&kept.before);
            outs.extend(&kept.more);
        }
        let kernel = Op::RecurrentPass {
            pass: pass.clone(),
            bias: w.b_hh.is_some(),
            projected: w.w_hr.is_some(),
            keep,
        };
        run(OP, &kernel, &ins.iter().collect::<Vec<_>>(), &outs)?;
    }
    Ok((results, kept))
}

/// The gradients of [`pass`] from those of its results, in its order: backpropagation through time. Those for the weights
/// are products of what comes with what was kept.
///
/// # Errors
/// As [`pass`].
pub fn pass_backward(
    pass: &Pass,
    kept: &Kept,
    w: StateWeights<'_>,
    by_results: &[Option<&RawTensor>],
) -> Result<PassGradients> {
    const OP: &str = "recurrent_backward";
    let gates = &kept.gates;
    let sizes = checked(OP, pass, &w, gates)?;
    let Some((by_steps, by_last)) = by_results.split_first() else {
        return Err(Error::value(OP, "expected gradients of the results"));
    };
    let by_rows = Shape::from([sizes.rows, sizes.state]);
    if let Some(g) = by_steps.filter(|g| g.shape() != &by_rows || g.dtype() != gates.dtype()) {
        return Err(Error::shape(
            OP,
            format!("expected a gradient {by_rows:?}, got {:?} of {}", g.shape(), g.dtype()),
        ));
    }
    let new = |width: usize| uninit(OP, &Shape::from([sizes.rows, width]), gates.dtype(), gates.device());
    let wide = sizes.hidden * pass.cell.gates();
    let result = PassGradients {
        by_input: new(wide)?,
        by_state: if pass.cell == Cell::Gru { Some(new(wide)?) } else { None },
        first: own_states(OP, pass, &sizes, gates, by_last)?,
        projection: match w.w_hr {
            Some(_) => Some([new(sizes.state)?, new(sizes.hidden)?]),
            None => None,
        },
    };
    if sizes.rows * sizes.hidden > 0 {
        let mut ins = vec![gates.clone(), kept.before.clone(), contiguous(w.w_hh)?];
        ins.extend(kept.more.clone());
        for t in [w.w_hr, *by_steps].into_iter().flatten() {
            ins.push(contiguous(t)?);
        }
        let mut outs = vec![&result.by_input];
        outs.extend(&result.first);
        outs.extend(&result.by_state);
        outs.extend(result.projection.iter().flatten());
        let kernel = Op::RecurrentPassGrad {
            pass: pass.clone(),
            projected: w.w_hr.is_some(),
            by_steps: by_steps.is_some(),
        };
        run(OP, &kernel, &ins.iter().collect::<Vec<_>>(), &outs)?;
    }
    Ok(result)
}
