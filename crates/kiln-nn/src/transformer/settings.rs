//! What the layers of a transformer have in common: settings, their builders, the function between the two linear layers.

use kiln_autograd::{Error, Result, Tensor};

use crate::parts::Parameter;
use crate::{LayerNorm, Linear};

/// The function between the two linear layers of a transformer's layer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Activation {
    Relu,
    Gelu,
    Function(fn(&Tensor) -> Result<Tensor>),
    /// A name that is none; the layer says so when it is used.
    Unknown,
}

impl Activation {
    pub(super) fn named(name: &str) -> Activation {
        match name {
            "relu" => Activation::Relu,
            "gelu" => Activation::Gelu,
            _ => Activation::Unknown,
        }
    }

    #[track_caller]
    pub(super) fn of(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Activation::Relu => x.relu(),
            Activation::Gelu => x.gelu(),
            Activation::Function(f) => f(x),
            Activation::Unknown => self.check().map(|()| x.clone()),
        }
    }

    /// Whether there is such a function.
    #[track_caller]
    pub(super) fn check(self) -> Result<()> {
        match self {
            Activation::Unknown => {
                Err(Error::value("transformer", "activation should be \"relu\" or \"gelu\""))
            }
            _ => Ok(()),
        }
    }
}

/// The settings of a layer, under PyTorch's names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) d_model: usize,
    pub(super) nhead: usize,
    pub(super) dim_feedforward: usize,
    pub(super) dropout: f64,
    pub(super) activation: Activation,
    pub(super) layer_norm_eps: f64,
    pub(super) batch_first: bool,
    pub(super) norm_first: bool,
    pub(super) bias: bool,
}

impl Settings {
    pub(super) fn new(d_model: usize, nhead: usize) -> Settings {
        Settings {
            d_model,
            nhead,
            dim_feedforward: 2048,
            dropout: 0.1,
            activation: Activation::Relu,
            layer_norm_eps: 1e-5,
            batch_first: false,
            norm_first: false,
            bias: true,
        }
    }

    pub(super) fn norm(&self) -> LayerNorm {
        LayerNorm::new([self.d_model]).eps(self.layer_norm_eps).bias(self.bias)
    }

    /// A layer norm of these settings with the parameters of another.
    pub(super) fn norm_like(&self, other: &LayerNorm) -> LayerNorm {
        let mut norm = self.norm();
        norm.weight.clone_from(&other.weight);
        norm.bias.clone_from(&other.bias);
        norm
    }
}

/// A linear layer with the values of another and memory of its own.
#[track_caller]
pub(super) fn twin_linear(linear: &Linear) -> Result<Linear> {
    Linear::from_parameters(linear.weight.twin()?, linear.bias.as_ref().map(Parameter::twin).transpose()?)
}

/// A layer norm with the values of another and memory of its own.
#[track_caller]
pub(super) fn twin_norm(settings: &Settings, norm: &LayerNorm) -> Result<LayerNorm> {
    let mut twin_norm = settings.norm();
    twin_norm.weight = norm.weight.as_ref().map(Parameter::twin).transpose()?;
    twin_norm.bias = norm.bias.as_ref().map(Parameter::twin).transpose()?;
    Ok(twin_norm)
}

/// The builders of everything with such settings: `make` draws a layer of settings anew, `apply` changes what is not drawn.
macro_rules! builders {
    ($name:ident) => {
        impl $name {
            fn set(self, drawn: bool, change: impl FnOnce(&mut Settings)) -> $name {
                let mut settings = self.settings;
                change(&mut settings);
                if drawn { self.again(settings) } else { self.apply(settings) }
            }

            /// How many places the vectors between the two linear layers have, 2048 by default. The parameters are drawn
            /// anew, as if that had been said from the start.
            #[must_use]
            pub fn dim_feedforward(self, dim_feedforward: usize) -> $name {
                let change = dim_feedforward != self.settings.dim_feedforward;
                self.set(change, |s| s.dim_feedforward = dim_feedforward)
            }

            /// The probability with which elements and attention weights are dropped while training, 0.1 by default.
            #[must_use]
            pub fn dropout(self, dropout: f64) -> $name {
                self.set(false, |s| s.dropout = dropout)
            }

            /// The function between the two linear layers, `"relu"` (the default) or `"gelu"`.
            #[must_use]
            pub fn activation(self, activation: &str) -> $name {
                self.set(false, |s| s.activation = Activation::named(activation))
            }

            /// Any function between the two linear layers.
            #[must_use]
            pub fn activation_fn(self, activation: fn(&Tensor) -> Result<Tensor>) -> $name {
                self.set(false, |s| s.activation = Activation::Function(activation))
            }

            /// What the layer norms add to the variance, 1e-5 by default.
            #[must_use]
            pub fn layer_norm_eps(self, layer_norm_eps: f64) -> $name {
                self.set(false, |s| s.layer_norm_eps = layer_norm_eps)
            }

            /// Whether the first axis is the batch, not the steps.
            #[must_use]
            pub fn batch_first(self, batch_first: bool) -> $name {
                self.set(false, |s| s.batch_first = batch_first)
            }

            /// Whether inputs are normalised before attention and linear layers, not results after them. Xiong et al., "On
            /// Layer Normalization in the Transformer Architecture" (2020).
            #[must_use]
            pub fn norm_first(self, norm_first: bool) -> $name {
                self.set(false, |s| s.norm_first = norm_first)
            }

            /// Whether linear layers and norms have biases (they have by default). The parameters are drawn anew.
            #[must_use]
            pub fn bias(self, bias: bool) -> $name {
                let change = bias != self.settings.bias;
                self.set(change, |s| s.bias = bias)
            }
        }
    };
}
pub(super) use builders;
