//! One step of the recurrent layers: [`RNNCell`], [`LSTMCell`], [`GRUCell`].

use kiln_autograd::{CellWeights, Error, Result, Tensor};

use crate::draw::{self, Fault};
use crate::module::Module;
use crate::parts::{Parameter, Parts, Training};
use crate::print::{print_as_module, python_bool};

/// The parameters of a cell, all uniform in `+-1/sqrt(hidden_size)`.
fn parameters(
    op: &'static str,
    gates: usize,
    [input, hidden]: [usize; 2],
    bias: bool,
    ticket: u64,
    fault: &mut Fault,
) -> ([Parameter; 2], [Option<Parameter>; 2], u64) {
    let bound = if hidden > 0 { 1.0 / (hidden as f64).sqrt() } else { 0.0 };
    let rows = gates.saturating_mul(hidden);
    let made = draw::together(ticket, || {
        let weights = [draw::within(&[rows, input], bound)?, draw::within(&[rows, hidden], bound)?];
        let biases = match bias {
            true => [Some(draw::within(&[rows], bound)?), Some(draw::within(&[rows], bound)?)],
            false => [None, None],
        };
        Ok((weights, biases))
    });
    match made {
        Ok(((weights, biases), ticket)) => (weights, biases, ticket),
        Err(e) => {
            fault.note(op, format!("cannot be made for {input} inputs and {hidden} places: {e}"));
            ([draw::nothing(), draw::nothing()], [None, None], 0)
        }
    }
}

/// A state, or zeros for an input.
#[track_caller]
fn state_or_zeros(input: &Tensor, state: Option<&Tensor>, hidden: usize) -> Result<Tensor> {
    match state {
        Some(state) => Ok(state.clone()),
        None => {
            let mut shape = input.dims();
            let Some(last) = shape.last_mut() else {
                return Err(Error::shape("cell", "Expected input to be 1D or 2D, got 0D instead"));
            };
            *last = hidden;
            Ok(input.new_zeros(shape))
        }
    }
}

macro_rules! cells {
    ($($(#[$doc:meta])* $name:ident: $gates:literal;)*) => {$(
        $(#[$doc])*
        pub struct $name {
            /// `[gates * hidden_size, input_size]`
            pub weight_ih: Parameter,
            /// `[gates * hidden_size, hidden_size]`
            pub weight_hh: Parameter,
            /// `[gates * hidden_size]`
            pub bias_ih: Option<Parameter>,
            /// `[gates * hidden_size]`
            pub bias_hh: Option<Parameter>,
            input_size: usize,
            hidden_size: usize,
            nonlinearity: &'static str,
            training: Training,
            ticket: u64,
            fault: Fault,
        }

        impl $name {
            /// A cell with biases.
            pub fn new(input_size: usize, hidden_size: usize) -> $name {
                $name::make(input_size, hidden_size, true, 0)
            }

            fn make(input_size: usize, hidden_size: usize, bias: bool, ticket: u64) -> $name {
                let mut fault = Fault::default();
                let sizes = [input_size, hidden_size];
                let ([weight_ih, weight_hh], [bias_ih, bias_hh], ticket) =
                    parameters(stringify!($name), $gates, sizes, bias, ticket, &mut fault);
                $name {
                    weight_ih,
                    weight_hh,
                    bias_ih,
                    bias_hh,
                    input_size,
                    hidden_size,
                    nonlinearity: "tanh",
                    training: Training::default(),
                    ticket,
                    fault,
                }
            }

            /// Whether there are biases (there are by default). The parameters are drawn anew, as if that had been said
            /// from the start.
            #[must_use]
            pub fn bias(self, bias: bool) -> $name {
                if bias == self.bias_ih.is_some() {
                    return self;
                }
                let made = $name::make(self.input_size, self.hidden_size, bias, self.ticket);
                $name { nonlinearity: self.nonlinearity, ..made }
            }

            /// Whether the layer can work with its settings.
            ///
            /// # Errors
            /// It cannot.
            #[track_caller]
            pub fn check(&self) -> Result<()> {
                self.fault.check()
            }

            fn weights(&self) -> CellWeights<'_> {
                CellWeights {
                    w_ih: &self.weight_ih,
                    w_hh: &self.weight_hh,
                    b_ih: self.bias_ih.as_deref(),
                    b_hh: self.bias_hh.as_deref(),
                }
            }
        }

        impl Module for $name {
            fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
                parts.add("training", &self.training);
                parts.add("weight_ih", &self.weight_ih);
                parts.add("weight_hh", &self.weight_hh);
                parts.add("bias_ih", &self.bias_ih);
                parts.add("bias_hh", &self.bias_hh);
            }

            fn extra_repr(&self) -> String {
                let bias = if self.bias_ih.is_some() { "" } else { &format!(", bias={}", python_bool(false)) };
                let function = match self.nonlinearity {
                    "tanh" => "",
                    other => &format!(", nonlinearity={other}"),
                };
                format!("{}, {}{bias}{function}", self.input_size, self.hidden_size)
            }
        }

        print_as_module!($name);
    )*};
}

cells! {
    /// One step of an [`RNN`](crate::RNN) (`torch.nn.RNNCell`): `h' = tanh(W_ih x + b_ih + W_hh h + b_hh)`.
    ///
    /// ```
    /// use kiln_nn::{RNNCell, Tensor};
    /// let cell = RNNCell::new(10, 20).nonlinearity("relu");
    /// let mut h = cell.forward(&Tensor::ones([3, 10]), None)?;
    /// h = cell.forward(&Tensor::ones([3, 10]), &h)?;
    /// assert_eq!(h.dims(), [3, 20]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    RNNCell: 1;
    /// One step of an [`LSTM`](crate::LSTM) (`torch.nn.LSTMCell`), for input, forget, cell and output gates.
    ///
    /// ```
    /// use kiln_nn::{LSTMCell, Tensor};
    /// let cell = LSTMCell::new(10, 20);
    /// let (h, c) = cell.forward(&Tensor::ones([3, 10]), None)?;
    /// let (h, c) = cell.forward(&Tensor::ones([3, 10]), (&h, &c))?;
    /// assert_eq!((h.dims(), c.dims()), (vec![3, 20], vec![3, 20]));
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    LSTMCell: 4;
    /// One step of a [`GRU`](crate::GRU) (`torch.nn.GRUCell`), for reset, update and new gates.
    ///
    /// ```
    /// use kiln_nn::{GRUCell, Tensor};
    /// let cell = GRUCell::new(10, 20);
    /// assert_eq!(cell.forward(&Tensor::ones([10]), None)?.dims(), [20]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    GRUCell: 3;
}

impl RNNCell {
    /// The function, `"tanh"` (the default) or `"relu"`.
    #[must_use]
    pub fn nonlinearity(mut self, nonlinearity: &str) -> RNNCell {
        match nonlinearity {
            "tanh" => self.nonlinearity = "tanh",
            "relu" => self.nonlinearity = "relu",
            other => self.fault.note("RNNCell", format!("Unknown nonlinearity: {other}; it is tanh or relu")),
        }
        self
    }

    /// The next state, from a state or from zeros: `[batch, input_size]` gives `[batch, hidden_size]`, and both without the
    /// first axis.
    ///
    /// # Errors
    /// Sizes that do not fit.
    #[track_caller]
    pub fn forward<'a>(&self, input: &Tensor, state: impl Into<Option<&'a Tensor>>) -> Result<Tensor> {
        self.fault.check()?;
        let h = state_or_zeros(input, state.into(), self.hidden_size)?;
        match self.nonlinearity {
            "relu" => input.rnn_relu_cell(&h, self.weights()),
            _ => input.rnn_tanh_cell(&h, self.weights()),
        }
    }
}

impl GRUCell {
    /// The next state, from a state or from zeros: `[batch, input_size]` gives `[batch, hidden_size]`, and both without the
    /// first axis.
    ///
    /// # Errors
    /// Sizes that do not fit.
    #[track_caller]
    pub fn forward<'a>(&self, input: &Tensor, state: impl Into<Option<&'a Tensor>>) -> Result<Tensor> {
        self.fault.check()?;
        input.gru_cell(&state_or_zeros(input, state.into(), self.hidden_size)?, self.weights())
    }
}

impl LSTMCell {
    /// The next state and cell, from these or from zeros: `[batch, input_size]` gives `[batch, hidden_size]`, and both
    /// without the first axis.
    ///
    /// # Errors
    /// Sizes that do not fit.
    #[track_caller]
    pub fn forward<'a>(
        &self,
        input: &Tensor,
        state: impl Into<Option<(&'a Tensor, &'a Tensor)>>,
    ) -> Result<(Tensor, Tensor)> {
        self.fault.check()?;
        let (h, c) = state.into().unzip();
        let h = state_or_zeros(input, h, self.hidden_size)?;
        let c = state_or_zeros(input, c, self.hidden_size)?;
        input.lstm_cell(&h, &c, self.weights())
    }
}
