//! [`TransformerDecoderLayer`] and [`TransformerDecoder`].

use kiln_autograd::{Here, Result, Tensor};

use super::settings::{Activation, Settings, builders, twin_linear, twin_norm};
use crate::draw::{self, Fault};
use crate::module::{Forward, Module};
use crate::parts::{Parts, Training};
use crate::print::print_as_module;
use crate::{Dropout, LayerNorm, Linear, MultiheadAttention, MultiheadCall};

/// What a call of a decoder may have besides target and memory; the default is nothing. Masks as in
/// [`EncoderCall`](crate::EncoderCall).
#[derive(Clone, Copy, Default)]
pub struct DecoderCall<'a> {
    /// Which step of the target sees which.
    pub tgt_mask: Option<&'a Tensor>,
    /// Which step of the target sees which of the memory.
    pub memory_mask: Option<&'a Tensor>,
    /// Which steps of the target count for nothing.
    pub tgt_key_padding_mask: Option<&'a Tensor>,
    /// Which steps of the memory count for nothing.
    pub memory_key_padding_mask: Option<&'a Tensor>,
    /// Says that `tgt_mask` is the causal mask.
    pub tgt_is_causal: bool,
    /// Says that `memory_mask` is the causal mask.
    pub memory_is_causal: bool,
}

/// Attention of a sequence to itself, then to a memory, and two linear layers at each step, each with a shortcut and a layer
/// norm (`torch.nn.TransformerDecoderLayer`).
///
/// Shapes: target `[l, batch, d_model]` and memory `[s, batch, d_model]`, with the batch first if so set, or both without
/// it; the target's out.
///
/// ```
/// use kiln_nn::{Tensor, TransformerDecoderLayer};
/// let layer = TransformerDecoderLayer::new(16, 4).dim_feedforward(32);
/// assert_eq!(layer.forward(&Tensor::ones([5, 2, 16]), &Tensor::ones([7, 2, 16]))?.dims(), [5, 2, 16]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub struct TransformerDecoderLayer {
    /// The attention to the target.
    pub self_attn: MultiheadAttention,
    /// The attention to the memory.
    pub multihead_attn: MultiheadAttention,
    /// From `d_model` to `dim_feedforward`.
    pub linear1: Linear,
    /// Between the linear layers.
    pub dropout: Dropout,
    /// Back to `d_model`.
    pub linear2: Linear,
    /// Before or after the attention to the target.
    pub norm1: LayerNorm,
    /// Before or after the attention to the memory.
    pub norm2: LayerNorm,
    /// Before or after the linear layers.
    pub norm3: LayerNorm,
    /// After the attention to the target.
    pub dropout1: Dropout,
    /// After the attention to the memory.
    pub dropout2: Dropout,
    /// After the linear layers.
    pub dropout3: Dropout,
    pub(super) settings: Settings,
    training: Training,
    ticket: u64,
}

impl TransformerDecoderLayer {
    /// A layer with PyTorch's settings: 2048 places between the linear layers, dropout 0.1, relu, norms after.
    pub fn new(d_model: usize, nhead: usize) -> TransformerDecoderLayer {
        TransformerDecoderLayer::make(Settings::new(d_model, nhead), 0)
    }

    pub(super) fn make(s: Settings, ticket: u64) -> TransformerDecoderLayer {
        let (layer, ticket) = draw::around(ticket, || TransformerDecoderLayer {
            self_attn: MultiheadAttention::new(s.d_model, s.nhead).bias(s.bias),
            multihead_attn: MultiheadAttention::new(s.d_model, s.nhead).bias(s.bias),
            linear1: Linear::new(s.d_model, s.dim_feedforward).bias(s.bias),
            dropout: Dropout::default(),
            linear2: Linear::new(s.dim_feedforward, s.d_model).bias(s.bias),
            norm1: s.norm(),
            norm2: s.norm(),
            norm3: s.norm(),
            dropout1: Dropout::default(),
            dropout2: Dropout::default(),
            dropout3: Dropout::default(),
            settings: s,
            training: Training::default(),
            ticket: 0,
        });
        TransformerDecoderLayer { ticket, ..layer }.apply(s)
    }

    fn again(self, settings: Settings) -> TransformerDecoderLayer {
        TransformerDecoderLayer::make(settings, self.ticket)
    }

    pub(super) fn apply(self, s: Settings) -> TransformerDecoderLayer {
        TransformerDecoderLayer {
            self_attn: self.self_attn.dropout(s.dropout).batch_first(s.batch_first),
            multihead_attn: self.multihead_attn.dropout(s.dropout).batch_first(s.batch_first),
            dropout: Dropout::new(s.dropout),
            norm1: s.norm_like(&self.norm1),
            norm2: s.norm_like(&self.norm2),
            norm3: s.norm_like(&self.norm3),
            dropout1: Dropout::new(s.dropout),
            dropout2: Dropout::new(s.dropout),
            dropout3: Dropout::new(s.dropout),
            settings: s,
            ..self
        }
    }

    /// A layer with the same values and memory of its own.
    #[track_caller]
    fn twin(&self) -> Result<TransformerDecoderLayer> {
        let s = self.settings;
        Ok(TransformerDecoderLayer {
            self_attn: self.self_attn.twin()?,
            multihead_attn: self.multihead_attn.twin()?,
            linear1: twin_linear(&self.linear1)?,
            dropout: Dropout::new(s.dropout),
            linear2: twin_linear(&self.linear2)?,
            norm1: twin_norm(&s, &self.norm1)?,
            norm2: twin_norm(&s, &self.norm2)?,
            norm3: twin_norm(&s, &self.norm3)?,
            dropout1: Dropout::new(s.dropout),
            dropout2: Dropout::new(s.dropout),
            dropout3: Dropout::new(s.dropout),
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
        self.multihead_attn.check()?;
        self.linear1.check()?;
        self.linear2.check()?;
        self.dropout.check()?;
        self.settings.activation.check()
    }

    /// The layer without masks.
    ///
    /// # Errors
    /// As [`TransformerDecoderLayer::forward_with`].
    #[track_caller]
    pub fn forward(&self, tgt: &Tensor, memory: &Tensor) -> Result<Tensor> {
        self.forward_with(tgt, memory, &DecoderCall::default())
    }

    /// The layer with masks.
    ///
    /// # Errors
    /// Shapes or dtypes that do not fit.
    #[track_caller]
    pub fn forward_with(&self, tgt: &Tensor, memory: &Tensor, call: &DecoderCall<'_>) -> Result<Tensor> {
        let s = &self.settings;
        let attend = |x: &Tensor| -> Result<Tensor> {
            let call = MultiheadCall {
                key_padding_mask: call.tgt_key_padding_mask,
                attn_mask: call.tgt_mask,
                is_causal: call.tgt_is_causal,
                need_weights: false,
                ..MultiheadCall::default()
            };
            self.dropout1.forward(&self.self_attn.forward_with(x, x, x, &call)?.0)
        };
        let remember = |x: &Tensor| -> Result<Tensor> {
            let call = MultiheadCall {
                key_padding_mask: call.memory_key_padding_mask,
                attn_mask: call.memory_mask,
                is_causal: call.memory_is_causal,
                need_weights: false,
                ..MultiheadCall::default()
            };
            self.dropout2.forward(&self.multihead_attn.forward_with(x, memory, memory, &call)?.0)
        };
        let feed = |x: &Tensor| -> Result<Tensor> {
            let x = s.activation.of(&self.linear1.forward(x)?)?;
            self.dropout3.forward(&self.linear2.forward(&self.dropout.forward(&x)?)?)
        };
        if s.norm_first {
            let x = tgt.add(&attend(&self.norm1.forward(tgt)?).here()?)?;
            let x = x.add(&remember(&self.norm2.forward(&x)?).here()?)?;
            x.add(&feed(&self.norm3.forward(&x)?).here()?)
        } else {
            let x = self.norm1.forward(&tgt.add(&attend(tgt).here()?)?)?;
            let x = self.norm2.forward(&x.add(&remember(&x).here()?)?)?;
            self.norm3.forward(&x.add(&feed(&x).here()?)?)
        }
    }
}

builders!(TransformerDecoderLayer);

impl Module for TransformerDecoderLayer {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
        parts.add("self_attn", &self.self_attn);
        parts.add("multihead_attn", &self.multihead_attn);
        parts.add("linear1", &self.linear1);
        parts.add("dropout", &self.dropout);
        parts.add("linear2", &self.linear2);
        parts.add("norm1", &self.norm1);
        parts.add("norm2", &self.norm2);
        parts.add("norm3", &self.norm3);
        parts.add("dropout1", &self.dropout1);
        parts.add("dropout2", &self.dropout2);
        parts.add("dropout3", &self.dropout3);
    }
}

/// Layers on each other (`torch.nn.TransformerDecoder`), all with the values of the first to begin with, and a norm at the
/// end if there is one.
///
/// ```
/// use kiln_nn::{Tensor, TransformerDecoder, TransformerDecoderLayer};
/// let decoder = TransformerDecoder::new(TransformerDecoderLayer::new(16, 4).dim_feedforward(32), 2);
/// assert_eq!(decoder.forward(&Tensor::ones([5, 2, 16]), &Tensor::ones([7, 2, 16]))?.dims(), [5, 2, 16]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub struct TransformerDecoder {
    /// The layers.
    pub layers: Vec<TransformerDecoderLayer>,
    /// What comes after them.
    pub norm: Option<LayerNorm>,
    training: Training,
    fault: Fault,
}

impl TransformerDecoder {
    /// `num_layers` layers like this one, without a norm.
    pub fn new(decoder_layer: TransformerDecoderLayer, num_layers: usize) -> TransformerDecoder {
        let mut fault = Fault::default();
        let mut layers = Vec::new();
        for _ in 1..num_layers {
            match decoder_layer.twin() {
                Ok(twin) => layers.push(twin),
                Err(e) => fault.note("TransformerDecoder", format!("a layer cannot be copied: {e}")),
            }
        }
        if num_layers > 0 {
            layers.insert(0, decoder_layer);
        }
        TransformerDecoder { layers, norm: None, training: Training::default(), fault }
    }

    /// A norm after the layers.
    #[must_use]
    pub fn norm(self, norm: LayerNorm) -> TransformerDecoder {
        TransformerDecoder { norm: Some(norm), ..self }
    }

    /// Whether the layers can work with their settings.
    ///
    /// # Errors
    /// They cannot.
    #[track_caller]
    pub fn check(&self) -> Result<()> {
        self.fault.check()?;
        self.layers.iter().try_for_each(TransformerDecoderLayer::check)
    }

    /// The layers in turn, without masks.
    ///
    /// # Errors
    /// As [`TransformerDecoder::forward_with`].
    #[track_caller]
    pub fn forward(&self, tgt: &Tensor, memory: &Tensor) -> Result<Tensor> {
        self.forward_with(tgt, memory, &DecoderCall::default())
    }

    /// The layers in turn, with masks.
    ///
    /// # Errors
    /// Shapes or dtypes that do not fit.
    #[track_caller]
    pub fn forward_with(&self, tgt: &Tensor, memory: &Tensor, call: &DecoderCall<'_>) -> Result<Tensor> {
        self.fault.check()?;
        let mut x = tgt.clone();
        for layer in &self.layers {
            x = layer.forward_with(&x, memory, call)?;
        }
        self.norm.as_ref().map_or(Ok(x.clone()), |norm| norm.forward(&x)).here()
    }
}

impl Module for TransformerDecoder {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
        parts.add("layers", &self.layers);
        parts.add("norm", &self.norm);
    }
}

print_as_module!(TransformerDecoderLayer, TransformerDecoder);
