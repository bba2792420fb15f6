//! Recurrent layers over whole sequences: [`RNN`], [`LSTM`], [`GRU`].

mod settings;

use kiln_autograd::{Error, Here, RecurrentOptions, Result, Tensor};

use crate::draw::{self, Fault};
use crate::module::Module;
use crate::parts::{Parameter, Parts, Training};
use crate::print::{print_as_module, python_bool};
use crate::utils::rnn::PackedSequence;
use settings::Settings;

/// A pass over a sequence: the input, `N` first states, the weights and the settings give the results and the last states.
type Run<'a, const N: usize> =
    dyn Fn(&Tensor, [&Tensor; N], &[&Tensor], &RecurrentOptions<'_>) -> Result<(Tensor, [Tensor; N])> + 'a;

/// What the recurrent layers have in common.
struct Recurrent {
    settings: Settings,
    weights: Vec<(String, Parameter)>,
    training: Training,
    ticket: u64,
    fault: Fault,
}

impl Recurrent {
    fn new(settings: Settings, ticket: u64) -> Recurrent {
        let mut fault = Fault::default();
        let mut made = (Vec::new(), ticket);
        match settings.problem() {
            Some(problem) => fault.note(settings.op, problem),
            None => match draw::together(ticket, || settings.draw()) {
                Ok(drawn) => made = drawn,
                Err(e) => fault.note(settings.op, format!("cannot be made: {e}")),
            },
        }
        Recurrent { settings, weights: made.0, training: Training::default(), ticket: made.1, fault }
    }

    /// The layer with other settings; the parameters are drawn anew if `change` changes which there are.
    fn set(self, drawn: bool, change: impl FnOnce(&mut Settings)) -> Recurrent {
        let mut settings = self.settings.clone();
        change(&mut settings);
        if drawn || settings.problem().is_some() || self.fault.check().is_err() {
            return Recurrent::new(settings, self.ticket);
        }
        Recurrent { settings, ..self }
    }

    fn repr(&self) -> String {
        let s = &self.settings;
        let mut text = format!("{}, {}", s.input_size, s.hidden_size);
        if s.proj_size != 0 {
            text += &format!(", proj_size={}", s.proj_size);
        }
        if s.num_layers != 1 {
            text += &format!(", num_layers={}", s.num_layers);
        }
        if !s.bias {
            text += &format!(", bias={}", python_bool(false));
        }
        if s.batch_first {
            text += &format!(", batch_first={}", python_bool(true));
        }
        if s.dropout != 0.0 {
            text += &format!(", dropout={:?}", s.dropout);
        }
        if s.bidirectional {
            text += &format!(", bidirectional={}", python_bool(true));
        }
        text
    }

    fn options<'a>(&self, batch_sizes: Option<&'a [usize]>) -> RecurrentOptions<'a> {
        RecurrentOptions {
            bias: self.settings.bias,
            num_layers: self.settings.num_layers,
            dropout: self.settings.dropout,
            training: self.training.get(),
            bidirectional: self.settings.bidirectional,
            batch_first: self.settings.batch_first && batch_sizes.is_none(),
            batch_sizes,
        }
    }

    /// The states to start from for a batch of `batch` sequences: those given, in the order of the sequences, or zeros.
    /// The first state has the state's size, others (the cell) the hidden size.
    #[track_caller]
    fn first<const N: usize>(
        &self,
        input: &Tensor,
        batch: usize,
        given: Option<[&Tensor; N]>,
        order: Option<&Tensor>,
    ) -> Result<[Tensor; N]> {
        let s = &self.settings;
        let layers = s.num_layers * s.directions();
        let mut states = Vec::with_capacity(N);
        for i in 0..N {
            let size = if i == 0 { s.state_size() } else { s.hidden_size };
            let expected = [layers, batch, size];
            states.push(match given {
                None => input.new_zeros(expected),
                Some(given) if given[i].dims() == expected => match order {
                    Some(order) => given[i].index_select(1, order)?,
                    None => given[i].clone(),
                },
                Some(given) => {
                    return Err(Error::shape(
                        s.op,
                        format!("Expected hidden size {expected:?}, got {:?}", given[i].dims()),
                    ));
                }
            });
        }
        <[Tensor; N]>::try_from(states).map_err(|_| Error::value(s.op, "no states")).here()
    }

    /// Runs `layer` over a tensor: `[steps, batch, input_size]`, batch first if so set, or without the batch axis, with
    /// states to match. Gives the results and the last states.
    #[track_caller]
    fn over<const N: usize>(
        &self,
        input: &Tensor,
        given: Option<[&Tensor; N]>,
        layer: &Run<'_, N>,
    ) -> Result<(Tensor, [Tensor; N])> {
        self.fault.check()?;
        let s = &self.settings;
        let bad = |what: String| Err(Error::shape(s.op, what));
        let rank = input.rank();
        if rank != 2 && rank != 3 {
            return bad(format!("Expected input to be 2D or 3D, got {rank}D instead")).here();
        }
        self.check_features(input)?;
        let batched = rank == 3;
        if let Some(state) = given.iter().flatten().find(|h| h.rank() != rank) {
            let kind = if batched { "batched 3-D" } else { "unbatched 2-D" };
            return bad(format!(
                "For {kind} input, hx should also be {rank}-D but got {}-D tensor",
                state.rank()
            ))
            .here();
        }
        let axis = if s.batch_first { 0 } else { 1 };
        if batched {
            let batch = input.shape()[axis];
            let first = self.first(input, batch, given, None)?;
            return layer(input, first.each_ref(), &self.all_weights(), &self.options(None)).here();
        }
        let input = input.unsqueeze(axis as i64)?;
        let first = match given {
            None => self.first(&input, 1, None, None)?,
            Some(given) => {
                let states = given.iter().map(|h| h.unsqueeze(1)).collect::<Result<Vec<_>>>().here()?;
                let states: Vec<&Tensor> = states.iter().collect();
                self.first(&input, 1, <[&Tensor; N]>::try_from(states).ok(), None)?
            }
        };
        let (y, last) = layer(&input, first.each_ref(), &self.all_weights(), &self.options(None)).here()?;
        let mut squeezed = Vec::with_capacity(N);
        for state in &last {
            squeezed.push(state.squeeze_axis(1)?);
        }
        let last = <[Tensor; N]>::try_from(squeezed).map_err(|_| Error::value(s.op, "no states")).here()?;
        Ok((y.squeeze_axis(axis as i64)?, last))
    }

    /// Runs `layer` over packed sequences; states are in the order of the batch before it was sorted.
    #[track_caller]
    fn over_packed<const N: usize>(
        &self,
        input: &PackedSequence,
        given: Option<[&Tensor; N]>,
        layer: &Run<'_, N>,
    ) -> Result<(PackedSequence, [Tensor; N])> {
        self.fault.check()?;
        self.check_features(input.data())?;
        let first = self.first(input.data(), input.sizes()[0], given, input.sorted_indices())?;
        let options = self.options(Some(input.sizes()));
        let (y, mut last) = layer(input.data(), first.each_ref(), &self.all_weights(), &options).here()?;
        if let Some(order) = input.unsorted_indices() {
            for state in &mut last {
                *state = state.index_select(1, order)?;
            }
        }
        Ok((input.with_data(y), last))
    }

    #[track_caller]
    fn check_features(&self, input: &Tensor) -> Result<()> {
        let s = &self.settings;
        match input.dims().last() {
            Some(&size) if size == s.input_size => Ok(()),
            size => Err(Error::shape(
                s.op,
                format!(
                    "input.size(-1) must be equal to input_size. Expected {}, got {}",
                    s.input_size,
                    size.copied().unwrap_or(0)
                ),
            )),
        }
    }

    fn all_weights(&self) -> Vec<&Tensor> {
        self.weights.iter().map(|(_, w)| w.tensor()).collect()
    }
}

macro_rules! layers {
    ($($(#[$doc:meta])* $name:ident: $gates:literal;)*) => {$(
        $(#[$doc])*
        pub struct $name(Recurrent);

        impl $name {
            /// One layer with biases, forward, over `[steps, batch, input_size]`.
            pub fn new(input_size: usize, hidden_size: usize) -> $name {
                let settings = Settings {
                    op: stringify!($name),
                    gates: $gates,
                    input_size,
                    hidden_size,
                    num_layers: 1,
                    bias: true,
                    bidirectional: false,
                    proj_size: 0,
                    batch_first: false,
                    dropout: 0.0,
                    nonlinearity: Ok("tanh"),
                };
                $name(Recurrent::new(settings, 0))
            }

            /// How many layers stand on each other. The parameters are drawn anew, as if that had been said from the
            /// start.
            #[must_use]
            pub fn num_layers(self, num_layers: usize) -> $name {
                $name(self.0.set(true, |s| s.num_layers = num_layers))
            }

            /// Whether there are biases (there are by default). The parameters are drawn anew.
            #[must_use]
            pub fn bias(self, bias: bool) -> $name {
                let change = bias != self.0.settings.bias;
                $name(self.0.set(change, |s| s.bias = bias))
            }

            /// Whether each layer also runs from the last step to the first. The parameters are drawn anew.
            #[must_use]
            pub fn bidirectional(self, bidirectional: bool) -> $name {
                let change = bidirectional != self.0.settings.bidirectional;
                $name(self.0.set(change, |s| s.bidirectional = bidirectional))
            }

            /// Whether input and results are `[batch, steps, ..]`; states are not.
            #[must_use]
            pub fn batch_first(self, batch_first: bool) -> $name {
                $name(self.0.set(false, |s| s.batch_first = batch_first))
            }

            /// The probability with which an element of a layer's results, the last layer's aside, is dropped while
            /// training.
            #[must_use]
            pub fn dropout(self, dropout: f64) -> $name {
                $name(self.0.set(false, |s| s.dropout = dropout))
            }

            /// A parameter by its name: `weight_ih_l0`, `bias_hh_l1_reverse`.
            pub fn weight(&self, name: &str) -> Option<&Parameter> {
                self.0.weights.iter().find(|(n, _)| n == name).map(|(_, w)| w)
            }

            /// Whether the layer can work with its settings.
            ///
            /// # Errors
            /// It cannot.
            #[track_caller]
            pub fn check(&self) -> Result<()> {
                self.0.fault.check()
            }
        }

        impl Module for $name {
            fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
                parts.add("training", &self.0.training);
                for (name, weight) in &self.0.weights {
                    parts.add(name.clone(), weight);
                }
            }

            fn extra_repr(&self) -> String {
                self.0.repr()
            }
        }

        print_as_module!($name);
    )*};
}

layers! {
    /// The plain recurrence `h' = tanh(W_ih x + b_ih + W_hh h + b_hh)` (`torch.nn.RNN`), in one or more layers.
    ///
    /// Shapes: `[steps, batch, input_size]` gives `[steps, batch, directions * hidden_size]` and the last states
    /// `[layers * directions, batch, hidden_size]`; all without the batch axis: a single sequence.
    ///
    /// ```
    /// use kiln_nn::{RNN, Tensor};
    /// let rnn = RNN::new(10, 20).num_layers(2).nonlinearity("relu");
    /// let (y, h) = rnn.forward(&Tensor::ones([5, 3, 10]), None)?;
    /// assert_eq!((y.dims(), h.dims()), (vec![5, 3, 20], vec![2, 3, 20]));
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    RNN: 1;
    /// Long short-term memory (`torch.nn.LSTM`), in one or more layers. Hochreiter and Schmidhuber, "Long Short-Term
    /// Memory" (1997).
    ///
    /// Shapes: `[steps, batch, input_size]` gives `[steps, batch, directions * hidden_size]` and the last states and cells
    /// `[layers * directions, batch, hidden_size]`; all without the batch axis: a single sequence.
    ///
    /// ```
    /// use kiln_nn::{LSTM, Tensor};
    /// let lstm = LSTM::new(10, 20).num_layers(2).batch_first(true);
    /// let (y, (h, c)) = lstm.forward(&Tensor::ones([3, 5, 10]), None)?;
    /// assert_eq!((y.dims(), h.dims()), (vec![3, 5, 20], vec![2, 3, 20]));
    /// let (y, _) = lstm.forward(&Tensor::ones([3, 5, 10]), (&h, &c))?;
    /// assert_eq!(lstm.to_string(), "LSTM(10, 20, num_layers=2, batch_first=True)");
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    LSTM: 4;
    /// Gated recurrent units (`torch.nn.GRU`), in one or more layers. Cho et al., "Learning Phrase Representations using
    /// RNN Encoder-Decoder" (2014).
    ///
    /// Shapes: as [`RNN`].
    ///
    /// ```
    /// use kiln_nn::{GRU, Tensor};
    /// let gru = GRU::new(10, 20).bidirectional(true);
    /// let (y, h) = gru.forward(&Tensor::ones([5, 3, 10]), &Tensor::zeros([2, 3, 20]))?;
    /// assert_eq!((y.dims(), h.dims()), (vec![5, 3, 40], vec![2, 3, 20]));
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    GRU: 3;
}

impl RNN {
    /// The function, `"tanh"` (the default) or `"relu"`.
    #[must_use]
    pub fn nonlinearity(self, nonlinearity: &str) -> RNN {
        let function = match nonlinearity {
            "tanh" => Ok("tanh"),
            "relu" => Ok("relu"),
            other => Err(other.to_owned()),
        };
        RNN(self.0.set(false, |s| s.nonlinearity = function))
    }

    #[track_caller]
    fn run(
        &self,
        x: &Tensor,
        [h]: [&Tensor; 1],
        weights: &[&Tensor],
        options: &RecurrentOptions<'_>,
    ) -> Result<(Tensor, [Tensor; 1])> {
        let (y, h) = match self.0.settings.nonlinearity {
            Ok("relu") => x.rnn_relu(h, weights, options)?,
            _ => x.rnn_tanh(h, weights, options)?,
        };
        Ok((y, [h]))
    }
}

impl GRU {
    #[track_caller]
    fn run(
        &self,
        x: &Tensor,
        [h]: [&Tensor; 1],
        weights: &[&Tensor],
        options: &RecurrentOptions<'_>,
    ) -> Result<(Tensor, [Tensor; 1])> {
        x.gru(h, weights, options).map(|(y, h)| (y, [h]))
    }
}

macro_rules! one_state {
    ($($name:ident),*) => {$(
        impl $name {
            /// The results of the last layer at all steps, and the last states of all layers, from a state or from zeros.
            ///
            /// # Errors
            /// Sizes that do not fit, no steps.
            #[track_caller]
            pub fn forward<'a>(
                &self,
                input: &Tensor,
                state: impl Into<Option<&'a Tensor>>,
            ) -> Result<(Tensor, Tensor)> {
                let given = state.into().map(|h| [h]);
                let (y, [h]) = self.0.over(input, given, &|x, h, w, o| self.run(x, h, w, o))?;
                Ok((y, h))
            }

            /// `forward` of packed sequences, whose last states are those at each one's own end.
            ///
            /// # Errors
            /// Sizes that do not fit.
            #[track_caller]
            pub fn forward_packed<'a>(
                &self,
                input: &PackedSequence,
                state: impl Into<Option<&'a Tensor>>,
            ) -> Result<(PackedSequence, Tensor)> {
                let given = state.into().map(|h| [h]);
                let (y, [h]) = self.0.over_packed(input, given, &|x, h, w, o| self.run(x, h, w, o))?;
                Ok((y, h))
            }
        }
    )*};
}
one_state!(RNN, GRU);

impl LSTM {
    /// Projects the states to this many places by a further weight, `weight_hr_l0`; 0, the default, does not (Sak et al.,
    /// 2014). The parameters are drawn anew.
    #[must_use]
    pub fn proj_size(self, proj_size: usize) -> LSTM {
        LSTM(self.0.set(true, |s| s.proj_size = proj_size))
    }

    #[track_caller]
    fn run(
        x: &Tensor,
        [h, c]: [&Tensor; 2],
        weights: &[&Tensor],
        options: &RecurrentOptions<'_>,
    ) -> Result<(Tensor, [Tensor; 2])> {
        x.lstm((h, c), weights, options).map(|(y, h, c)| (y, [h, c]))
    }

    /// The results of the last layer at all steps, and the last states and cells of all layers, from a state and cell or
    /// from zeros.
    ///
    /// # Errors
    /// Sizes that do not fit, no steps.
    #[track_caller]
    pub fn forward<'a>(
        &self,
        input: &Tensor,
        state: impl Into<Option<(&'a Tensor, &'a Tensor)>>,
    ) -> Result<(Tensor, (Tensor, Tensor))> {
        let (y, [h, c]) = self.0.over(input, state.into().map(|(h, c)| [h, c]), &LSTM::run)?;
        Ok((y, (h, c)))
    }

    /// `forward` of packed sequences, whose last states are those at each one's own end.
    ///
    /// # Errors
    /// Sizes that do not fit.
    #[track_caller]
    pub fn forward_packed<'a>(
        &self,
        input: &PackedSequence,
        state: impl Into<Option<(&'a Tensor, &'a Tensor)>>,
    ) -> Result<(PackedSequence, (Tensor, Tensor))> {
        let (y, [h, c]) = self.0.over_packed(input, state.into().map(|(h, c)| [h, c]), &LSTM::run)?;
        Ok((y, (h, c)))
    }
}
