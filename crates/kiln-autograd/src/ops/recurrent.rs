//! One step of the recurrent layers.

use crate::{Error, Here, Result, Tensor};

/// The weights and biases of a recurrent cell: `[gates * hidden, input]` and `[gates * hidden, hidden]`, gates one below the
/// other, biases `[gates * hidden]`.
#[derive(Clone, Copy)]
pub struct CellWeights<'a> {
    /// For the input.
    pub w_ih: &'a Tensor,
    /// For the hidden state.
    pub w_hh: &'a Tensor,
    /// For the input.
    pub b_ih: Option<&'a Tensor>,
    /// For the hidden state.
    pub b_hh: Option<&'a Tensor>,
}

/// Sums that both sides contribute to the gates.
#[track_caller]
fn gates(op: &'static str, x: &Tensor, h: &Tensor, w: &CellWeights<'_>, count: usize) -> Result<[Tensor; 2]> {
    let bad = |what: String| Err(Error::shape(op, what));
    if x.rank() != h.rank() || !(1..=2).contains(&x.rank()) {
        return bad(format!(
            "expected input and state of one or two axes, got {:?} and {:?}",
            x.shape(),
            h.shape()
        ))
        .here();
    }
    if w.w_ih.rank() != 2 || w.w_hh.rank() != 2 {
        return bad(format!(
            "expected matrices of weights, got {:?} and {:?}",
            w.w_ih.shape(),
            w.w_hh.shape()
        ))
        .here();
    }
    let hidden = h.size(-1)?;
    if x.size(-1)? != w.w_ih.shape()[1] {
        return bad(format!(
            "input has inconsistent input_size: got {:?}, expected {}",
            x.shape(),
            w.w_ih.shape()[1]
        ))
        .here();
    }
    if x.rank() == 2 && x.shape()[0] != h.shape()[0] {
        return bad(format!(
            "Input batch size {} doesn't match hidden batch size {}",
            x.shape()[0],
            h.shape()[0]
        ))
        .here();
    }
    if hidden != w.w_hh.shape()[1]
        || w.w_hh.shape()[0] != count * hidden
        || w.w_ih.shape()[0] != count * hidden
    {
        return bad(format!(
            "hidden has inconsistent hidden_size: state {:?}, weights {:?} and {:?}",
            h.shape(),
            w.w_ih.shape(),
            w.w_hh.shape()
        ))
        .here();
    }
    Ok([x.linear(w.w_ih, w.b_ih)?, h.linear(w.w_hh, w.b_hh)?])
}

impl Tensor {
    /// The next state and cell of an LSTM whose state and cell are `h` and `c` (`torch.lstm_cell`).
    ///
    /// # Errors
    /// Sizes that do not fit.
    #[track_caller]
    pub fn lstm_cell(&self, h: &Tensor, c: &Tensor, weights: CellWeights<'_>) -> Result<(Tensor, Tensor)> {
        let [a, b] = gates("lstm_cell", self, h, &weights, 4)?;
        if c.shape() != h.shape() {
            return Err(Error::shape(
                "lstm_cell",
                format!("state and cell must have one shape, got {:?} and {:?}", h.shape(), c.shape()),
            ));
        }
        let parts = a.add(&b)?.chunk(4, -1)?;
        let [input, forget, cell, output] = &parts[..] else {
            return Err(Error::shape("lstm_cell", "the gates do not divide"));
        };
        let c = forget.sigmoid()?.mul(c)?.add(&input.sigmoid()?.mul(&cell.tanh()?)?)?;
        Ok((output.sigmoid()?.mul(&c.tanh()?)?, c))
    }

    /// The next state of a GRU whose state is `h` (`torch.gru_cell`).
    ///
    /// # Errors
    /// Sizes that do not fit.
    #[track_caller]
    pub fn gru_cell(&self, h: &Tensor, weights: CellWeights<'_>) -> Result<Tensor> {
        let [a, b] = gates("gru_cell", self, h, &weights, 3)?;
        let (a, b) = (a.chunk(3, -1)?, b.chunk(3, -1)?);
        let reset = a[0].add(&b[0])?.sigmoid()?;
        let update = a[1].add(&b[1])?.sigmoid()?;
        let new = a[2].add(&reset.mul(&b[2])?)?.tanh()?;
        h.sub(&new)?.mul(&update)?.add(&new)
    }

    /// The next state of a plain recurrent layer whose state is `h`, by tanh (`torch.rnn_tanh_cell`).
    ///
    /// # Errors
    /// Sizes that do not fit.
    #[track_caller]
    pub fn rnn_tanh_cell(&self, h: &Tensor, weights: CellWeights<'_>) -> Result<Tensor> {
        let [a, b] = gates("rnn_tanh_cell", self, h, &weights, 1)?;
        a.add(&b)?.tanh()
    }

    /// The next state of a plain recurrent layer whose state is `h`, by relu (`torch.rnn_relu_cell`).
    ///
    /// # Errors
    /// Sizes that do not fit.
    #[track_caller]
    pub fn rnn_relu_cell(&self, h: &Tensor, weights: CellWeights<'_>) -> Result<Tensor> {
        let [a, b] = gates("rnn_relu_cell", self, h, &weights, 1)?;
        a.add(&b)?.relu()
    }
}
