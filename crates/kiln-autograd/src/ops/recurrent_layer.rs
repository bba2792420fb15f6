//! Recurrent layers as functions: several layers, one or both directions, over whole sequences.

use kiln_ops::recurrent::{Cell, Pass};

use crate::collect::Collect;
use crate::ops::recurrent_pass::{PassWeights, run};
use crate::{CellWeights, Error, Here, Result, Tensor, autocast};

/// What [`Tensor::lstm`], [`Tensor::gru`], [`Tensor::rnn_tanh`] and [`Tensor::rnn_relu`] have in common; the default is one
/// layer with biases, forward, over steps that are the first axis.
#[derive(Clone, Copy, Debug)]
pub struct RecurrentOptions<'a> {
    /// Whether each layer has biases.
    pub bias: bool,
    /// How many layers stand on each other.
    pub num_layers: usize,
    /// The probability with which an element of a layer's result, the last layer's aside, is dropped while training.
    pub dropout: f64,
    /// Whether to drop.
    pub training: bool,
    /// Whether each layer also runs from the last step to the first.
    pub bidirectional: bool,
    /// The input is `[batch, steps, features]`, not `[steps, batch, features]`.
    pub batch_first: bool,
    /// For a packed input `[rows, features]`: how many rows each step has. They never grow.
    pub batch_sizes: Option<&'a [usize]>,
}

impl Default for RecurrentOptions<'_> {
    fn default() -> Self {
        RecurrentOptions {
            bias: true,
            num_layers: 1,
            dropout: 0.0,
            training: false,
            bidirectional: false,
            batch_first: false,
            batch_sizes: None,
        }
    }
}

impl Tensor {
    /// Long short-term memory over a sequence (`torch.lstm`), from the states and cells `(h, c)` of all layers and
    /// directions, `[layers * directions, batch, hidden]`: the results of all steps, the last states, the last cells.
    ///
    /// `weights` has for each layer and direction `w_ih`, `w_hh`, then `b_ih`, `b_hh` if there are biases, then `w_hr`
    /// if the state is projected. Hochreiter and Schmidhuber (1997); the projection is of Sak et al. (2014).
    ///
    /// Shapes: `[steps, batch, in]` gives `[steps, batch, directions * hidden]`.
    ///
    /// ```
    /// use kiln_autograd::{RecurrentOptions, Tensor};
    /// let x = Tensor::full([5, 2, 3], 0.5);
    /// let [h, c] = [Tensor::zeros([1, 2, 4]), Tensor::zeros([1, 2, 4])];
    /// let (w_ih, w_hh) = (Tensor::full([16, 3], 0.1), Tensor::full([16, 4], 0.1));
    /// let options = RecurrentOptions { bias: false, ..RecurrentOptions::default() };
    /// let (y, h, c) = x.lstm((&h, &c), &[&w_ih, &w_hh], &options)?;
    /// assert_eq!((y.dims(), h.dims(), c.dims()), (vec![5, 2, 4], vec![1, 2, 4], vec![1, 2, 4]));
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Sizes that do not fit; no steps; weights that are too many or too few; a dropout outside of 0..=1.
    #[track_caller]
    pub fn lstm(
        &self,
        (h, c): (&Tensor, &Tensor),
        weights: &[&Tensor],
        options: &RecurrentOptions<'_>,
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let mut all = layers("lstm", Cell::Lstm, self, &[h, c], weights, options)?;
        match (all.pop(), all.pop(), all.pop()) {
            (Some(c), Some(h), Some(y)) => Ok((y, h, c)),
            _ => Err(Error::value("lstm", "a pass without results")),
        }
    }

    /// Gated recurrent units over a sequence (`torch.gru`): the results of all steps and the last states. Arguments as
    /// for [`Tensor::lstm`]. Cho et al. (2014).
    ///
    /// # Errors
    /// As [`Tensor::lstm`].
    #[track_caller]
    pub fn gru(
        &self,
        h: &Tensor,
        weights: &[&Tensor],
        options: &RecurrentOptions<'_>,
    ) -> Result<(Tensor, Tensor)> {
        pair(layers("gru", Cell::Gru, self, &[h], weights, options)?)
    }

    /// The plain recurrence `h' = tanh(W_ih x + b_ih + W_hh h + b_hh)` over a sequence (`torch.rnn_tanh`): the results of
    /// all steps and the last states. Arguments as for [`Tensor::lstm`].
    ///
    /// # Errors
    /// As [`Tensor::lstm`].
    #[track_caller]
    pub fn rnn_tanh(
        &self,
        h: &Tensor,
        weights: &[&Tensor],
        options: &RecurrentOptions<'_>,
    ) -> Result<(Tensor, Tensor)> {
        pair(layers("rnn_tanh", Cell::Tanh, self, &[h], weights, options)?)
    }

    /// [`Tensor::rnn_tanh`] with relu in the place of tanh (`torch.rnn_relu`).
    ///
    /// # Errors
    /// As [`Tensor::lstm`].
    #[track_caller]
    pub fn rnn_relu(
        &self,
        h: &Tensor,
        weights: &[&Tensor],
        options: &RecurrentOptions<'_>,
    ) -> Result<(Tensor, Tensor)> {
        pair(layers("rnn_relu", Cell::Relu, self, &[h], weights, options)?)
    }
}

#[track_caller]
fn pair(mut all: Vec<Tensor>) -> Result<(Tensor, Tensor)> {
    match (all.pop(), all.pop()) {
        (Some(h), Some(y)) => Ok((y, h)),
        _ => Err(Error::value("recurrent", "a pass without results")),
    }
}

/// The weights of each layer and direction.
#[track_caller]
fn grouped<'a>(
    op: &'static str,
    cell: Cell,
    weights: &[&'a Tensor],
    options: &RecurrentOptions<'_>,
) -> Result<Vec<PassWeights<'a>>> {
    let directions = if options.bidirectional { 2 } else { 1 };
    let passes = options.num_layers.saturating_mul(directions);
    let plain = if options.bias { 4 } else { 2 };
    let each = weights.len().checked_div(passes).unwrap_or(0);
    let projected = cell == Cell::Lstm && each == plain + 1;
    if passes == 0 || !weights.len().is_multiple_of(passes) || (each != plain && !projected) {
        return Err(Error::value(
            op,
            format!(
                "expected {plain} weights for each of {} layers in {directions} directions, got {} weights",
                options.num_layers,
                weights.len()
            ),
        ));
    }
    let group = |w: &[&'a Tensor]| PassWeights {
        cell: CellWeights {
            w_ih: w[0],
            w_hh: w[1],
            b_ih: options.bias.then(|| w[2]),
            b_hh: options.bias.then(|| w[3]),
        },
        w_hr: projected.then(|| w[plain]),
    };
    Ok(weights.chunks(each).map(group).collect())
}

/// Whether the weights of a pass fit an input of `features` and states of `state` places each.
#[track_caller]
fn check(op: &'static str, cell: Cell, features: usize, state: &[usize], w: &PassWeights<'_>) -> Result<()> {
    let bad = |what: String| Err(Error::shape(op, what));
    // The state, and the cell of an LSTM, which is not projected.
    let hidden = *state.last().unwrap_or(&0);
    let rows = hidden.saturating_mul(cell.gates());
    let (w_ih, w_hh) = (w.cell.w_ih.dims(), w.cell.w_hh.dims());
    if w_ih.len() == 2 && w_ih[1] != features {
        return bad(format!(
            "input.size(-1) must be equal to input_size. Expected {}, got {features}",
            w_ih[1]
        ))
        .here();
    }
    if w_ih != [rows, features] || w_hh != [rows, state[0]] {
        return bad(format!(
            "weights of shapes {w_ih:?} and {w_hh:?} do not fit {features} features and a hidden state of {state:?}"
        )).here();
    }
    for bias in [w.cell.b_ih, w.cell.b_hh].into_iter().flatten() {
        if bias.dims() != [rows] {
            return bad(format!("expected a bias of shape [{rows}], got {:?}", bias.shape())).here();
        }
    }
    match w.w_hr {
        Some(p) if p.dims() != [state[0], hidden] => {
            bad(format!("expected a projection of shape {:?}, got {:?}", [state[0], hidden], p.shape()))
                .here()
        }
        None if state[0] != hidden => {
            bad(format!("state and cell have {state:?} places, which takes a projection")).here()
        }
        _ => Ok(()),
    }
}

/// The results of the last layer and, for each kind of state, the last ones of all layers and directions.
#[track_caller]
fn layers(
    op: &'static str,
    cell: Cell,
    x: &Tensor,
    state: &[&Tensor],
    weights: &[&Tensor],
    options: &RecurrentOptions<'_>,
) -> Result<Vec<Tensor>> {
    let passes = grouped(op, cell, weights, options)?;
    // In regions of mixed precision PyTorch computes these step by step: products are in the lower precision, and what
    // lasts from step to step stays in its own dtype.
    let projected = passes.first().is_some_and(|w| w.w_hr.is_some());
    let stepwise = cell == Cell::Gru || (cell == Cell::Lstm && (options.batch_sizes.is_some() || projected));
    if !stepwise && let Some(cast) = autocast::lower() {
        let x = cast.of(x)?;
        let of_all = |t: &[&Tensor]| t.iter().map(|t| cast.of(t)).all_ok();
        let (first, own) = (of_all(state).here()?, of_all(weights).here()?);
        let (first, own): (Vec<_>, Vec<_>) = (first.iter().collect(), own.iter().collect());
        return layers(op, cell, &x, &first, &own, options);
    }
    let bad = |what: String| Err(Error::shape(op, what));
    if !(0.0..=1.0).contains(&options.dropout) {
        return Err(Error::value(
            op,
            format!("dropout probability has to be between 0 and 1, but got {}", options.dropout),
        ));
    }
    let (mut rows, sizes, padded) = match options.batch_sizes {
        Some(sizes) => {
            let sum = sizes.iter().try_fold(0usize, |sum, &n| sum.checked_add(n));
            if x.rank() != 2 || sum != Some(x.shape()[0]) || sizes.is_sorted_by(|a, b| a >= b).eq(&false) {
                return bad(format!(
                    "a packed input is a matrix whose rows are cut into batch sizes that never grow, got shape {:?} and \
                     {} sizes",
                    x.shape(),
                    sizes.len()
                )).here();
            }
            (x.clone(), sizes.to_vec(), None)
        }
        None => {
            if x.rank() != 3 {
                return bad(format!("input must have 3 dimensions, got {}", x.rank())).here();
            }
            let x = if options.batch_first { x.transpose(0, 1)? } else { x.clone() };
            let (steps, batch) = (x.shape()[0], x.shape()[1]);
            let flat = x.reshape([(steps * batch) as i64, x.shape()[2] as i64])?;
            (flat, vec![batch; steps], Some([steps as i64, batch as i64]))
        }
    };
    let Some(&batch) = sizes.first().filter(|&&n| n > 0) else {
        return bad(format!(
            "Expected sequence length to be larger than 0 in RNN, got input {:?}",
            x.shape()
        ))
        .here();
    };
    for s in state {
        if s.rank() != 3 || s.shape()[0] != passes.len() || s.shape()[1] != batch {
            return bad(format!(
                "Expected hidden size ({}, {batch}, hidden), got {:?}",
                passes.len(),
                s.shape()
            ))
            .here();
        }
    }
    let places = state.iter().map(|s| s.size(-1)).all_ok().here()?;
    let directions = if options.bidirectional { 2 } else { 1 };
    let mut ends: Vec<Vec<Tensor>> = vec![Vec::new(); state.len()];
    for (layer, group) in passes.chunks(directions).enumerate() {
        let mut results = Vec::with_capacity(directions);
        for (direction, w) in group.iter().enumerate() {
            check(op, cell, rows.size(-1)?, &places, w)?;
            let at = (layer * directions + direction) as i64;
            let first = state.iter().map(|s| s.select(0, at)).all_ok().here()?;
            let pass = Pass { cell, sizes: sizes.clone(), reverse: direction == 1 };
            let mut outputs = run(pass, &rows, &first.iter().collect::<Vec<_>>(), *w)?.into_iter();
            results.extend(outputs.next());
            ends.iter_mut().zip(outputs).for_each(|(ends, end)| ends.push(end));
        }
        rows = match &results[..] {
            [one] => one.clone(),
            both => Tensor::cat(&both.iter().collect::<Vec<_>>(), -1)?,
        };
        if layer + 1 < options.num_layers {
            rows = rows.dropout(options.dropout, options.training)?;
        }
    }
    let y = match padded {
        None => rows,
        Some([steps, batch]) => {
            let y = rows.reshape([steps, batch, rows.size(-1)? as i64])?;
            if options.batch_first { y.transpose(0, 1)? } else { y }
        }
    };
    let mut all = vec![y];
    for ends in &ends {
        all.push(Tensor::stack(&ends.iter().collect::<Vec<_>>(), 0)?);
    }
    Ok(all)
}
