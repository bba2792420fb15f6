//! One direction of one recurrent layer over a whole sequence: one node, whose backward pass multiplies the weights'
//! gradients for all steps at once.
//!
//! A sequence is a matrix of rows, step after step; `sizes` says how many rows each step has. They never grow: row `i` of
//! a step continues row `i` of the step before, and sequences that have ended are the last rows. This is the layout of a
//! packed sequence; a padded one is the case where all sizes are equal.

use kiln_ops::DType;

use crate::autocast::is_autocast_enabled;
use crate::grad_mode::{is_tracked, no_grad};
use crate::record::record_joint;
use crate::{CellWeights, Error, Here, Result, Tensor, func};

/// What happens in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recurrence {
    Lstm,
    Gru,
    Tanh,
    Relu,
}

impl Recurrence {
    /// How many blocks of `hidden` rows the weights have.
    pub(crate) fn gates(self) -> usize {
        match self {
            Recurrence::Lstm => 4,
            Recurrence::Gru => 3,
            Recurrence::Tanh | Recurrence::Relu => 1,
        }
    }
}

/// The weights of one direction of one layer; `w_hr` projects the state of an LSTM to fewer places.
#[derive(Clone, Copy)]
pub(crate) struct PassWeights<'a> {
    pub(crate) cell: CellWeights<'a>,
    pub(crate) w_hr: Option<&'a Tensor>,
}

/// One pass: the steps and their direction.
#[derive(Clone)]
pub(crate) struct Pass {
    pub(crate) kind: Recurrence,
    pub(crate) sizes: Vec<usize>,
    pub(crate) reverse: bool,
}

/// What the backward pass needs of a step: the state before it and the activated gates.
struct Step {
    /// The rows' position in the sequence, and how many there are.
    start: usize,
    rows: usize,
    h: Tensor,
    /// The cell before and after, for LSTMs.
    c: Option<[Tensor; 2]>,
    /// LSTM: input, forget, cell, output. GRU: reset, update, new, and what the state contributes to new; one by one or,
    /// from one kernel, side by side. Else the result.
    gates: Vec<Tensor>,
}

impl Step {
    /// Of an LSTM.
    #[track_caller]
    fn output_gate(&self) -> Result<Tensor> {
        match &self.gates[..] {
            [all] => all.chunk(4, 1)?.pop().ok_or_else(no_steps),
            gates => gates.last().cloned().ok_or_else(no_steps),
        }
    }
}

impl Pass {
    /// The positions of the steps in the order in which they run.
    fn order(&self) -> Vec<(usize, usize)> {
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

    /// The results of all steps, the last state and, for an LSTM, the last cell.
    #[track_caller]
    pub(crate) fn run(&self, x: &Tensor, state: &[&Tensor], w: PassWeights<'_>) -> Result<Vec<Tensor>> {
        let optional = [w.cell.b_ih, w.cell.b_hh, w.w_hr];
        let mut inputs = vec![x, w.cell.w_ih, w.cell.w_hh];
        inputs.extend(state);
        inputs.extend(optional.into_iter().flatten());
        // In a region of mixed precision each operation decides about its dtype, and records itself.
        if is_autocast_enabled() || !Tensor::any_requires_grad(&inputs) {
            return self.steps(x, state, w, None);
        }
        let mut steps = Vec::with_capacity(self.sizes.len());
        let outputs = no_grad(|| self.steps(x, state, w, Some(&mut steps))).here()?;
        let outputs = outputs.into_iter().map(|t| t.raw().clone()).collect();
        let name = match self.kind {
            Recurrence::Lstm => "LstmBackward0",
            Recurrence::Gru => "GruBackward0",
            Recurrence::Tanh => "RnnTanhBackward0",
            Recurrence::Relu => "RnnReluBackward0",
        };
        Ok(record_joint(name, outputs, &inputs, || {
            let pass = self.clone();
            let saved: Vec<_> = inputs.iter().map(|t| t.save()).collect();
            let states = state.len();
            let present = optional.map(|t| t.is_some());
            Box::new(move |g, wants| {
                let inputs = saved.iter().map(|s| s.get()).collect::<Result<Vec<_>>>()?;
                // To be differentiated again, the steps are run anew.
                if is_tracked() {
                    return func::tracked_gradients(&inputs, wants, g, |inputs| {
                        let (x, state, w) = named(inputs, states, present);
                        pass.steps(x, &state, w, None)
                    });
                }
                let (x, _, w) = named(&inputs, states, present);
                pass.backward(x, w, &steps, g, states, wants[0])
            })
        }))
    }

    /// Runs the steps; `kept` receives what a backward pass needs.
    #[track_caller]
    fn steps(
        &self,
        x: &Tensor,
        state: &[&Tensor],
        w: PassWeights<'_>,
        mut kept: Option<&mut Vec<Step>>,
    ) -> Result<Vec<Tensor>> {
        let order = self.order();
        let all = x.linear(w.cell.w_ih, w.cell.b_ih)?;
        let mut results: Vec<Tensor> = Vec::with_capacity(order.len());
        let first = order.first().map_or(0, |s| s.1);
        let mut now =
            state.iter().map(|s| s.narrow(0, 0, first as i64)).collect::<Result<Vec<_>>>().here()?;
        let mut ended: Vec<Vec<Tensor>> = Vec::new();
        for (start, rows) in order {
            let before = now[0].shape()[0];
            if rows < before {
                let tail = |s: &Tensor| s.narrow(0, rows as i64, (before - rows) as i64);
                ended.push(now.iter().map(tail).collect::<Result<_>>().here()?);
                now = now.iter().map(|s| s.narrow(0, 0, rows as i64)).collect::<Result<_>>().here()?;
            } else if rows > before {
                let more = |(s, first): (&Tensor, &&Tensor)| {
                    Tensor::cat(&[s, &first.narrow(0, before as i64, (rows - before) as i64)?], 0)
                };
                now = now.iter().zip(state).map(more).collect::<Result<_>>().here()?;
            }
            let gates = all.narrow(0, start as i64, rows as i64)?;
            let (next, step) = self.step(&gates, &now, w)?;
            if let Some(kept) = kept.as_deref_mut() {
                let c = now.get(1).zip(next.get(1)).map(|(a, b)| [a.clone(), b.clone()]);
                kept.push(Step { start, rows, h: now[0].clone(), c, gates: step });
            }
            results.push(next[0].clone());
            now = next;
        }
        // Sequences end from the last row to the first.
        for tail in ended.iter().rev() {
            now = now.iter().zip(tail).map(|(s, t)| Tensor::cat(&[s, t], 0)).collect::<Result<_>>().here()?;
        }
        if self.reverse {
            results.reverse();
        }
        let mut outputs = vec![joined(&results)?];
        outputs.extend(now);
        Ok(outputs)
    }

    /// The next state, and the activated gates; `a` is what the input contributes to the gates.
    #[track_caller]
    fn step(&self, a: &Tensor, state: &[Tensor], w: PassWeights<'_>) -> Result<(Vec<Tensor>, Vec<Tensor>)> {
        let h = &state[0];
        let b = h.linear(w.cell.w_hh, w.cell.b_hh)?;
        if let Some(done) = self.step_at_once(a, &b, state, w)? {
            return Ok(done);
        }
        match self.kind {
            Recurrence::Lstm => {
                let parts = a.add(&b)?.chunk(4, -1)?;
                let (input, forget) = (parts[0].sigmoid()?, parts[1].sigmoid()?);
                let (cell, output) = (parts[2].tanh()?, parts[3].sigmoid()?);
                let c = forget.mul(&state[1])?.add(&input.mul(&cell)?)?;
                let full = output.mul(&c.tanh()?)?;
                let h = w.w_hr.map_or(Ok(full.clone()), |w| full.linear(w, None)).here()?;
                Ok((vec![h, c], vec![input, forget, cell, output]))
            }
            Recurrence::Gru => {
                let (a, b) = (a.chunk(3, -1)?, b.chunk(3, -1)?);
                let reset = a[0].add(&b[0])?.sigmoid()?;
                let update = a[1].add(&b[1])?.sigmoid()?;
                let new = a[2].add(&reset.mul(&b[2])?)?.tanh()?;
                let h = h.sub(&new)?.mul(&update)?.add(&new)?;
                Ok((vec![h], vec![reset, update, new, b[2].clone()]))
            }
            Recurrence::Tanh | Recurrence::Relu => {
                let sum = a.add(&b)?;
                let h = if self.kind == Recurrence::Tanh { sum.tanh()? } else { sum.relu()? };
                Ok((vec![h.clone()], vec![h]))
            }
        }
    }

    /// [`Pass::step`] by one kernel, where there is one and nothing is recorded.
    #[track_caller]
    fn step_at_once(
        &self,
        a: &Tensor,
        b: &Tensor,
        state: &[Tensor],
        w: PassWeights<'_>,
    ) -> Result<Option<(Vec<Tensor>, Vec<Tensor>)>> {
        let single = a.dtype() == b.dtype() && state.iter().all(|s| s.dtype() == a.dtype());
        if !single || !matches!(a.dtype(), DType::F32 | DType::F64) || Tensor::any_requires_grad(&[a, b]) {
            return Ok(None);
        }
        let of = |t: &Tensor| t.raw().clone();
        match self.kind {
            Recurrence::Lstm => {
                let [gates, c, h] = kiln_ops::recurrent::lstm_step(&of(a), &of(b), &of(&state[1])).here()?;
                let h = Tensor::from_raw(h);
                let h = w.w_hr.map_or(Ok(h.clone()), |w| h.linear(w, None)).here()?;
                Ok(Some((vec![h, Tensor::from_raw(c)], vec![Tensor::from_raw(gates)])))
            }
            Recurrence::Gru => {
                let [gates, h] = kiln_ops::recurrent::gru_step(&of(a), &of(b), &of(&state[0])).here()?;
                Ok(Some((vec![Tensor::from_raw(h)], vec![Tensor::from_raw(gates)])))
            }
            Recurrence::Tanh | Recurrence::Relu => Ok(None),
        }
    }

    /// The gradients of the inputs in the order of [`Pass::run`]'s list: backpropagation through time.
    #[track_caller]
    fn backward(
        &self,
        x: &Tensor,
        w: PassWeights<'_>,
        steps: &[Step],
        g: &[Option<Tensor>],
        states: usize,
        wants_x: bool,
    ) -> Result<Vec<Option<Tensor>>> {
        let Some(last) = steps.last() else { return Err(no_steps()) };
        let batch = self.sizes[0] as i64;
        let zeros = |like: &Tensor| Ok::<_, Error>(like.new_zeros([batch as usize, like.size(-1)?]));
        let mut likes = vec![&steps[0].h];
        likes.extend(steps[0].c.as_ref().map(|c| &c[0]));
        // The gradients of the last states, for all rows.
        let ends = likes
            .iter()
            .enumerate()
            .map(|(i, like)| g[i + 1].clone().map_or_else(|| zeros(like), Ok))
            .collect::<Result<Vec<_>>>()?;
        let mut now = ends.iter().map(|t| t.narrow(0, 0, last.rows as i64)).collect::<Result<Vec<_>>>()?;
        let mut firsts: Vec<Vec<Tensor>> = Vec::new();
        let (mut sums, mut by_state, mut projections) = (Vec::new(), Vec::new(), Vec::new());
        for step in steps.iter().rev() {
            let (before, rows) = (now[0].shape()[0], step.rows);
            if rows > before {
                // Sequences whose last step this is.
                let more = |(t, end): (&Tensor, &Tensor)| {
                    Tensor::cat(&[t, &end.narrow(0, before as i64, (rows - before) as i64)?], 0)
                };
                now = now.iter().zip(&ends).map(more).collect::<Result<_>>()?;
            } else if rows < before {
                // Sequences whose first step was the one before in this walk.
                let tail = |t: &Tensor| t.narrow(0, rows as i64, (before - rows) as i64);
                firsts.push(now.iter().map(tail).collect::<Result<_>>()?);
                now = now.iter().map(|t| t.narrow(0, 0, rows as i64)).collect::<Result<_>>()?;
            }
            if let Some(g) = &g[0] {
                now[0] = now[0].add(&g.narrow(0, step.start as i64, rows as i64)?)?;
            }
            let mut gh = now[0].clone();
            if let (Some(w_hr), Some([_, c])) = (w.w_hr, &step.c) {
                projections.push(gh.t()?.matmul(&step.output_gate()?.mul(&c.tanh()?)?)?);
                gh = gh.matmul(w_hr)?;
            }
            let (by_input, by_h, rest) = self.step_backward(step, &gh, now.get(1))?;
            let through = by_h.matmul(w.cell.w_hh)?;
            now = match (self.kind, rest) {
                (Recurrence::Lstm, Some(c)) => vec![through, c],
                (_, Some(direct)) => vec![through.add(&direct)?],
                (_, None) => vec![through],
            };
            sums.push((step.start, by_input));
            by_state.push((step.start, by_h, step.h.clone()));
        }
        for tail in firsts.iter().rev() {
            now = now.iter().zip(tail).map(|(t, f)| Tensor::cat(&[t, f], 0)).collect::<Result<_>>()?;
        }
        // Rows in the order of the sequence, whichever way it was walked.
        sums.sort_by_key(|s| s.0);
        by_state.sort_by_key(|s| s.0);
        let by_input = joined(&sums.into_iter().map(|s| s.1).collect::<Vec<_>>())?;
        let by_h = joined(&by_state.iter().map(|s| s.1.clone()).collect::<Vec<_>>())?;
        let h = joined(&by_state.into_iter().map(|s| s.2).collect::<Vec<_>>())?;
        let mut found = vec![
            if wants_x { Some(by_input.matmul(w.cell.w_ih)?) } else { None },
            Some(by_input.t()?.matmul(x)?),
            Some(by_h.t()?.matmul(&h)?),
        ];
        found.extend(now.into_iter().take(states).map(Some));
        if w.cell.b_ih.is_some() {
            found.push(Some(by_input.sum_axes(&[0], false)?));
        }
        if w.cell.b_hh.is_some() {
            found.push(Some(by_h.sum_axes(&[0], false)?));
        }
        if w.w_hr.is_some() {
            let mut parts = projections.into_iter();
            let first = parts.next().ok_or_else(no_steps)?;
            found.push(Some(parts.try_fold(first, |sum, p| sum.add(&p))?));
        }
        Ok(found)
    }

    /// From the gradients of a step's result (and cell): those of what input and state contribute to the gates, and of
    /// the cell (LSTM) or of the state where it goes on directly (GRU).
    #[track_caller]
    fn step_backward(
        &self,
        step: &Step,
        g: &Tensor,
        gc: Option<&Tensor>,
    ) -> Result<(Tensor, Tensor, Option<Tensor>)> {
        let slope_of_sigmoid = |g: &Tensor, y: &Tensor| g.mul(&y.mul(&y.rsub(1.0)?)?);
        let slope_of_tanh = |g: &Tensor, y: &Tensor| g.mul(&y.mul(y)?.rsub(1.0)?);
        let gates = &step.gates;
        let of = |t: &Tensor| t.raw().clone();
        match (self.kind, &gates[..], &step.c, gc) {
            (Recurrence::Lstm, [gates], Some([before, c]), Some(gc)) => {
                let [sum, gc] = kiln_ops::recurrent::lstm_step_backward(
                    &of(gates),
                    [&of(before), &of(c)],
                    &of(g),
                    &of(gc),
                )
                .here()?;
                let sum = Tensor::from_raw(sum);
                return Ok((sum.clone(), sum, Some(Tensor::from_raw(gc))));
            }
            (Recurrence::Gru, [gates], ..) => {
                let parts =
                    kiln_ops::recurrent::gru_step_backward(&of(gates), &of(&step.h), &of(g)).here()?;
                let [by_input, by_h, direct] = parts.map(Tensor::from_raw);
                return Ok((by_input, by_h, Some(direct)));
            }
            _ => {}
        }
        match (self.kind, &step.c, gc) {
            (Recurrence::Lstm, Some([before, c]), Some(gc)) => {
                let [input, forget, cell, output] = &gates[..] else { return Err(no_steps()) };
                let tanh = c.tanh()?;
                let gc = gc.add(&slope_of_tanh(&g.mul(output)?, &tanh)?)?;
                let parts = [
                    slope_of_sigmoid(&gc.mul(cell)?, input)?,
                    slope_of_sigmoid(&gc.mul(before)?, forget)?,
                    slope_of_tanh(&gc.mul(input)?, cell)?,
                    slope_of_sigmoid(&g.mul(&tanh)?, output)?,
                ];
                let sum = Tensor::cat(&parts.each_ref(), 1)?;
                Ok((sum.clone(), sum, Some(gc.mul(forget)?)))
            }
            (Recurrence::Gru, ..) => {
                let [reset, update, new, state] = &gates[..] else { return Err(no_steps()) };
                let by_update = slope_of_sigmoid(&g.mul(&step.h.sub(new)?)?, update)?;
                let by_new = slope_of_tanh(&g.mul(&update.rsub(1.0)?)?, new)?;
                let by_reset = slope_of_sigmoid(&by_new.mul(state)?, reset)?;
                let by_input = Tensor::cat(&[&by_reset, &by_update, &by_new], 1)?;
                let by_h = Tensor::cat(&[&by_reset, &by_update, &by_new.mul(reset)?], 1)?;
                Ok((by_input, by_h, Some(g.mul(update)?)))
            }
            (Recurrence::Relu, ..) => {
                let sum = g.masked_fill(&gates[0].le(0.0)?, 0.0)?;
                Ok((sum.clone(), sum, None))
            }
            _ => {
                let sum = slope_of_tanh(g, &gates[0])?;
                Ok((sum.clone(), sum, None))
            }
        }
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

/// Steps one below the other.
#[track_caller]
fn joined(steps: &[Tensor]) -> Result<Tensor> {
    match steps {
        [] => Err(no_steps()),
        // A copy: what is handed out may be changed in place, what the backward pass reads may not.
        [one] => one.copy(),
        steps => Tensor::cat(&steps.iter().collect::<Vec<_>>(), 0),
    }
}

fn no_steps() -> Error {
    Error::shape("recurrent", "Expected sequence length to be larger than 0 in RNN")
}
