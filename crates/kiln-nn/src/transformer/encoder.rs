//! [`TransformerEncoderLayer`] and [`TransformerEncoder`].

use kiln_autograd::{Here, Result, Tensor};

use super::settings::{Activation, Settings, builders, twin_linear, twin_norm};
use crate::draw::{self, Fault};
use crate::module::{Forward, Module};
use crate::parts::{Parts, Training};
use crate::print::print_as_module;
use crate::{Dropout, LayerNorm, Linear, MultiheadAttention, MultiheadCall};

/// What a call of an encoder may have besides the input; the default is nothing.
#[derive(Clone, Copy, Default)]
pub struct EncoderCall<'a> {
    /// `[steps, steps]` or `[batch * heads, steps, steps]`: true where a step does not see another, or what is added.
    pub mask: Option<&'a Tensor>,
    /// `[batch, steps]`: true where a step counts for nothing, or what is added.
    pub src_key_padding_mask: Option<&'a Tensor>,
    /// Says that `mask` is the causal mask.
    pub is_causal: bool,
}

/// Attention of a sequence to itself, and two linear layers at each step, each with a shortcut and a layer norm
/// (`torch.nn.TransformerEncoderLayer`).
///
/// Shapes: `[steps, batch, d_model]`, `[batch, steps, d_model]` with `batch_first`, or `[steps, d_model]`; the same out.
///
/// ```
/// use kiln_nn::{Forward, Tensor, TransformerEncoderLayer};
/// let layer = TransformerEncoderLayer::new(16, 4).dim_feedforward(32).batch_first(true);
/// assert_eq!(layer.forward(&Tensor::ones([2, 5, 16]))?.dims(), [2, 5, 16]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub struct TransformerEncoderLayer {
    /// The attention.
    pub self_attn: MultiheadAttention,
    /// From `d_model` to `dim_feedforward`.
    pub linear1: Linear,
    /// Between the linear layers.
    pub dropout: Dropout,
    /// Back to `d_model`.
    pub linear2: Linear,
    /// Before or after the attention.
    pub norm1: LayerNorm,
    /// Before or after the linear layers.
    pub norm2: LayerNorm,
    /// After the attention.
    pub dropout1: Dropout,
    /// After the linear layers.
    pub dropout2: Dropout,
    pub(super) settings: Settings,
    training: Training,
    ticket: u64,
}

impl TransformerEncoderLayer {
    /// A layer with PyTorch's settings: 2048 places between the linear layers, dropout 0.1, relu, norms after.
    pub fn new(d_model: usize, nhead: usize) -> TransformerEncoderLayer {
        TransformerEncoderLayer::make(Settings::new(d_model, nhead), 0)
    }

    pub(super) fn make(s: Settings, ticket: u64) -> TransformerEncoderLayer {
        let (layer, ticket) = draw::around(ticket, || TransformerEncoderLayer {
            self_attn: MultiheadAttention::new(s.d_model, s.nhead).bias(s.bias),
            linear1: Linear::new(s.d_model, s.dim_feedforward).bias(s.bias),
            dropout: Dropout::default(),
            linear2: Linear::new(s.dim_feedforward, s.d_model).bias(s.bias),
            norm1: s.norm(),
            norm2: s.norm(),
            dropout1: Dropout::default(),
            dropout2: Dropout::default(),
            settings: s,
            training: Training::default(),
            ticket: 0,
        });
        TransformerEncoderLayer { ticket, ..layer }.apply(s)
    }

    fn again(self, settings: Settings) -> TransformerEncoderLayer {
        TransformerEncoderLayer::make(settings, self.ticket)
    }

    pub(super) fn apply(self, s: Settings) -> TransformerEncoderLayer {
        TransformerEncoderLayer {
            self_attn: self.self_attn.dropout(s.dropout).batch_first(s.batch_first),
            dropout: Dropout::new(s.dropout),
            norm1: s.norm_like(&self.norm1),
            norm2: s.norm_like(&self.norm2),
            dropout1: Dropout::new(s.dropout),
            dropout2: Dropout::new(s.dropout),
            settings: s,
            ..self
        }
    }

    /// A layer with the same values and memory of its own.
    #[track_caller]
    fn twin(&self) -> Result<TransformerEncoderLayer> {
        let s = self.settings;
        Ok(TransformerEncoderLayer {
            self_attn: self.self_attn.twin()?,
            linear1: twin_linear(&self.linear1)?,
            dropout: Dropout::new(s.dropout),
            linear2: twin_linear(&self.linear2)?,
            norm1: twin_norm(&s, &self.norm1)?,
            norm2: twin_norm(&s, &self.norm2)?,
            dropout1: Dropout::new(s.dropout),
            dropout2: Dropout::new(s.dropout),
            settings: s,
            training: self.training.clone(),
            ticket: 0,
        })
    }

    /// Whether the layer can work with its settings.
    ///
    /// # Errors
    /// It cannot.
    #[track_caller]
    pub fn check(&self) -> Result<()> {
        self.self_attn.check()?;
        self.linear1.check()?;
        self.linear2.check()?;
        self.dropout.check()?;
        self.settings.activation.check()
    }

    /// The layer with masks.
    ///
    /// # Errors
    /// Shapes or dtypes that do not fit.
    #[track_caller]
    pub fn forward_with(&self, src: &Tensor, call: &EncoderCall<'_>) -> Result<Tensor> {
        let s = &self.settings;
        let attend = |x: &Tensor| -> Result<Tensor> {
            let call = MultiheadCall {
                key_padding_mask: call.src_key_padding_mask,
                attn_mask: call.mask,
                is_causal: call.is_causal,
                need_weights: false,
                ..MultiheadCall::default()
            };
            self.dropout1.forward(&self.self_attn.forward_with(x, x, x, &call)?.0)
        };
        let feed = |x: &Tensor| -> Result<Tensor> {
            let x = s.activation.of(&self.linear1.forward(x)?)?;
            self.dropout2.forward(&self.linear2.forward(&self.dropout.forward(&x)?)?)
        };
        if s.norm_first {
            let x = src.add(&attend(&self.norm1.forward(src)?).here()?)?;
            x.add(&feed(&self.norm2.forward(&x)?).here()?)
        } else {
            let x = self.norm1.forward(&src.add(&attend(src).here()?)?)?;
            self.norm2.forward(&x.add(&feed(&x).here()?)?)
        }
    }
}

builders!(TransformerEncoderLayer);

impl Module for TransformerEncoderLayer {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
        parts.add("self_attn", &self.self_attn);
        parts.add("linear1", &self.linear1);
        parts.add("dropout", &self.dropout);
        parts.add("linear2", &self.linear2);
        parts.add("norm1", &self.norm1);
        parts.add("norm2", &self.norm2);
        parts.add("dropout1", &self.dropout1);
        parts.add("dropout2", &self.dropout2);
    }
}

impl Forward for TransformerEncoderLayer {
    #[track_caller]
    fn forward(&self, src: &Tensor) -> Result<Tensor> {
        self.forward_with(src, &EncoderCall::default())
    }
}

/// Layers on each other (`torch.nn.TransformerEncoder`), all with the values of the first to begin with, and a norm at the
/// end if there is one.
///
/// ```
/// use kiln_nn::{Forward, LayerNorm, Tensor, TransformerEncoder, TransformerEncoderLayer};
/// let layer = TransformerEncoderLayer::new(16, 4).dim_feedforward(32);
/// let encoder = TransformerEncoder::new(layer, 2).norm(LayerNorm::new([16]));
/// assert_eq!(encoder.forward(&Tensor::ones([5, 2, 16]))?.dims(), [5, 2, 16]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub struct TransformerEncoder {
    /// The layers.
    pub layers: Vec<TransformerEncoderLayer>,
    /// What comes after them.
    pub norm: Option<LayerNorm>,
    training: Training,
    fault: Fault,
}

impl TransformerEncoder {
    /// `num_layers` layers like this one, without a norm.
    pub fn new(encoder_layer: TransformerEncoderLayer, num_layers: usize) -> TransformerEncoder {
        let mut fault = Fault::default();
        let mut layers = Vec::new();
        for _ in 1..num_layers {
            match encoder_layer.twin() {
                Ok(twin) => layers.push(twin),
                Err(e) => fault.note("TransformerEncoder", format!("a layer cannot be copied: {e}")),
            }
        }
        if num_layers > 0 {
            layers.insert(0, encoder_layer);
        }
        TransformerEncoder { layers, norm: None, training: Training::default(), fault }
    }

    /// A norm after the layers.
    #[must_use]
    pub fn norm(self, norm: LayerNorm) -> TransformerEncoder {
        TransformerEncoder { norm: Some(norm), ..self }
    }

    /// Whether the layers can work with their settings.
    ///
    /// # Errors
    /// They cannot.
    #[track_caller]
    pub fn check(&self) -> Result<()> {
        self.fault.check()?;
        self.layers.iter().try_for_each(TransformerEncoderLayer::check)
    }

    /// The layers in turn, with masks.
    ///
    /// # Errors
    /// Shapes or dtypes that do not fit.
    #[track_caller]
    pub fn forward_with(&self, src: &Tensor, call: &EncoderCall<'_>) -> Result<Tensor> {
        self.fault.check()?;
        let mut x = src.clone();
        for layer in &self.layers {
            x = layer.forward_with(&x, call)?;
        }
        self.norm.as_ref().map_or(Ok(x.clone()), |norm| norm.forward(&x)).here()
    }
}

impl Module for TransformerEncoder {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
        parts.add("layers", &self.layers);
        parts.add("norm", &self.norm);
    }
}

impl Forward for TransformerEncoder {
    #[track_caller]
    fn forward(&self, src: &Tensor) -> Result<Tensor> {
        self.forward_with(src, &EncoderCall::default())
    }
}

print_as_module!(TransformerEncoderLayer, TransformerEncoder);
