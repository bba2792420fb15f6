//! Recurrent layers and cells.

use kiln_autograd::Tensor;
use kiln_nn::utils::rnn::PackedSequence;
use kiln_nn::{GRU, GRUCell, LSTM, LSTMCell, RNN, RNNCell};

use super::call::Call;
use super::layer::{Layer, with};
use crate::conformance::args::{Answer, Out, Stop, missing};

/// The packed sequence that the call has for its input, if it is one.
fn packed(given: &Call<'_>) -> Answer<Option<PackedSequence>> {
    Ok(match given.packed(0, "input")? {
        Some((data, sizes)) => Some(PackedSequence::new(data, &sizes, None)?),
        None => None,
    })
}

fn out(packed: PackedSequence) -> Out {
    Out::List(vec![packed.data().clone().into(), packed.batch_sizes().clone().into()])
}

/// State and cell, if they are given.
fn pair(given: &Call<'_>) -> Answer<Option<[Tensor; 2]>> {
    if given.get(1, "hx").is_none() {
        return Ok(None);
    }
    match <[Tensor; 2]>::try_from(given.tensors(1, "hx")?) {
        Ok(pair) => Ok(Some(pair)),
        Err(_) => missing("a state of other than two tensors"),
    }
}

macro_rules! layer {
    // The position of `bias`.
    ($layer:ident, $a:expr, $bias:literal) => {
        $layer::new($a.size(0, "input_size")?, $a.size(1, "hidden_size")?)
            .num_layers($a.size_or(2, "num_layers", 1)?)
            .bias($a.bool_or($bias, "bias", true)?)
            .batch_first($a.bool_or($bias + 1, "batch_first", false)?)
            .dropout($a.float_or($bias + 2, "dropout", 0.0)?)
            .bidirectional($a.bool_or($bias + 3, "bidirectional", false)?)
    };
}

macro_rules! one_state {
    ($layer:expr, $type:ident) => {
        with($layer, |m: &$type, given: &Call<'_>| {
            let h = given.opt_tensor(1, "hx")?;
            Ok(match packed(given)? {
                Some(packed) => {
                    let (y, h) = m.forward_packed(&packed, h.as_ref())?;
                    Out::List(vec![out(y), h.into()])
                }
                None => m.forward(&given.tensor(0, "input")?, h.as_ref())?.into(),
            })
        })
    };
}

/// The classes of this family.
pub fn build(name: &str, a: &Call<'_>) -> Answer<Layer> {
    match name {
        "RNN" => {
            let layer = layer!(RNN, a, 4).nonlinearity(a.str_or(3, "nonlinearity", "tanh")?);
            layer.check()?;
            one_state!(layer, RNN)
        }
        "GRU" => {
            let layer = layer!(GRU, a, 3);
            layer.check()?;
            one_state!(layer, GRU)
        }
        "LSTM" => {
            let layer = layer!(LSTM, a, 3).proj_size(a.size_or(7, "proj_size", 0)?);
            layer.check()?;
            with(layer, |m: &LSTM, given| {
                let state = pair(given)?;
                let state = state.as_ref().map(|[h, c]| (h, c));
                Ok(match packed(given)? {
                    Some(packed) => {
                        let (y, last) = m.forward_packed(&packed, state)?;
                        Out::List(vec![out(y), last.into()])
                    }
                    None => {
                        let (y, last) = m.forward(&given.tensor(0, "input")?, state)?;
                        Out::List(vec![y.into(), last.into()])
                    }
                })
            })
        }
        "RNNCell" => {
            let cell = RNNCell::new(a.size(0, "input_size")?, a.size(1, "hidden_size")?)
                .bias(a.bool_or(2, "bias", true)?)
                .nonlinearity(a.str_or(3, "nonlinearity", "tanh")?);
            cell.check()?;
            with(cell, |m: &RNNCell, given| {
                Ok(m.forward(&given.tensor(0, "input")?, given.opt_tensor(1, "hx")?.as_ref())?)
            })
        }
        "GRUCell" => {
            let cell = GRUCell::new(a.size(0, "input_size")?, a.size(1, "hidden_size")?)
                .bias(a.bool_or(2, "bias", true)?);
            cell.check()?;
            with(cell, |m: &GRUCell, given| {
                Ok(m.forward(&given.tensor(0, "input")?, given.opt_tensor(1, "hx")?.as_ref())?)
            })
        }
        "LSTMCell" => {
            let cell = LSTMCell::new(a.size(0, "input_size")?, a.size(1, "hidden_size")?)
                .bias(a.bool_or(2, "bias", true)?);
            cell.check()?;
            with(cell, |m: &LSTMCell, given| {
                let state = pair(given)?;
                Ok(m.forward(&given.tensor(0, "input")?, state.as_ref().map(|[h, c]| (h, c)))?)
            })
        }
        _ => Err(Stop::NoRow),
    }
}
