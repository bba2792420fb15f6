//! [`Transformer`] and what it is made of. Vaswani et al., "Attention Is All You Need" (2017).

mod decoder;
mod encoder;
mod settings;

pub use decoder::{DecoderCall, TransformerDecoder, TransformerDecoderLayer};
pub use encoder::{EncoderCall, TransformerEncoder, TransformerEncoderLayer};

use kiln_autograd::{Error, Here, Result, Tensor};

use self::settings::{Activation, Settings, builders};
use crate::draw;
use crate::init;
use crate::module::Module;
use crate::parts::{Parts, Training};
use crate::print::print_as_module;

/// What a call of a [`Transformer`] may have besides source and target; the default is nothing. Masks as in [`EncoderCall`]
/// and [`DecoderCall`].
#[derive(Clone, Copy, Default)]
pub struct TransformerCall<'a> {
    /// Which step of the source sees which.
    pub src_mask: Option<&'a Tensor>,
    /// Which step of the target sees which.
    pub tgt_mask: Option<&'a Tensor>,
    /// Which step of the target sees which of the encoder's result.
    pub memory_mask: Option<&'a Tensor>,
    /// Which steps of the source count for nothing.
    pub src_key_padding_mask: Option<&'a Tensor>,
    /// Which steps of the target count for nothing.
    pub tgt_key_padding_mask: Option<&'a Tensor>,
    /// Which steps of the encoder's result count for nothing.
    pub memory_key_padding_mask: Option<&'a Tensor>,
    /// Says that `src_mask` is the causal mask.
    pub src_is_causal: bool,
    /// Says that `tgt_mask` is the causal mask.
    pub tgt_is_causal: bool,
    /// Says that `memory_mask` is the causal mask.
    pub memory_is_causal: bool,
}

/// An encoder of a source and a decoder of a target that attends to its result (`torch.nn.Transformer`).
///
/// Shapes: source `[s, batch, d_model]` and target `[t, batch, d_model]`, with the batch first if so set, or both without it;
/// the target's out.
///
/// ```
/// use kiln_nn::{Tensor, Transformer, TransformerCall};
/// let model = Transformer::new(16, 4).num_encoder_layers(1).num_decoder_layers(1).dim_feedforward(32);
/// let mask = Transformer::generate_square_subsequent_mask(5);
/// let call = TransformerCall { tgt_mask: Some(&mask), ..TransformerCall::default() };
/// let (src, tgt) = (Tensor::ones([7, 2, 16]), Tensor::ones([5, 2, 16]));
/// assert_eq!(model.forward_with(&src, &tgt, &call)?.dims(), [5, 2, 16]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub struct Transformer {
    /// The encoder.
    pub encoder: TransformerEncoder,
    /// The decoder.
    pub decoder: TransformerDecoder,
    counts: [usize; 2],
    settings: Settings,
    training: Training,
    ticket: u64,
}

impl Transformer {
    /// A model with PyTorch's settings (512 places, 8 heads in its defaults): 6 layers on either side. Builders that change
    /// which parameters there are draw them anew; say the sizes first for large models.
    pub fn new(d_model: usize, nhead: usize) -> Transformer {
        Transformer::make(Settings::new(d_model, nhead), [6, 6], 0)
    }

    fn make(s: Settings, counts: [usize; 2], ticket: u64) -> Transformer {
        let (model, ticket) = draw::around(ticket, || {
            let encoder =
                TransformerEncoder::new(TransformerEncoderLayer::make(s, 0), counts[0]).norm(s.norm());
            let decoder =
                TransformerDecoder::new(TransformerDecoderLayer::make(s, 0), counts[1]).norm(s.norm());
            let model = Transformer {
                encoder,
                decoder,
                counts,
                settings: s,
                training: Training::default(),
                ticket: 0,
            };
            for parameter in model.parameters().iter().filter(|p| p.rank() > 1 && p.numel() > 0) {
                // A matrix of floating point numbers can always be filled.
                let _ = init::xavier_uniform_(parameter, 1.0);
            }
            model
        });
        Transformer { ticket, ..model }
    }

    fn again(self, settings: Settings) -> Transformer {
        Transformer::make(settings, self.counts, self.ticket)
    }

    fn apply(mut self, s: Settings) -> Transformer {
        self.encoder.layers = self.encoder.layers.into_iter().map(|l| l.apply(s)).collect();
        self.decoder.layers = self.decoder.layers.into_iter().map(|l| l.apply(s)).collect();
        self.encoder.norm = self.encoder.norm.map(|n| s.norm_like(&n));
        self.decoder.norm = self.decoder.norm.map(|n| s.norm_like(&n));
        Transformer { settings: s, ..self }
    }

    /// How many layers encode, 6 by default. The parameters are drawn anew.
    #[must_use]
    pub fn num_encoder_layers(self, num_encoder_layers: usize) -> Transformer {
        let counts = [num_encoder_layers, self.counts[1]];
        Transformer::make(self.settings, counts, self.ticket)
    }

    /// How many layers decode, 6 by default. The parameters are drawn anew.
    #[must_use]
    pub fn num_decoder_layers(self, num_decoder_layers: usize) -> Transformer {
        let counts = [self.counts[0], num_decoder_layers];
        Transformer::make(self.settings, counts, self.ticket)
    }

    /// The mask that lets each of `size` steps see itself and the steps before it: 0 there, else minus infinity.
    pub fn generate_square_subsequent_mask(size: usize) -> Tensor {
        let mut rows = vec![0f32; size.saturating_mul(size)];
        for (i, row) in rows.chunks_mut(size.max(1)).enumerate() {
            row[i + 1..].fill(f32::NEG_INFINITY);
        }
        Tensor::from_vec(rows, [size, size]).expect("as many numbers as the shape has")
    }

    /// Whether the model can work with its settings.
    ///
    /// # Errors
    /// It cannot.
    #[track_caller]
    pub fn check(&self) -> Result<()> {
        self.encoder.check()?;
        self.decoder.check()
    }

    /// The model without masks.
    ///
    /// # Errors
    /// As [`Transformer::forward_with`].
    #[track_caller]
    pub fn forward(&self, src: &Tensor, tgt: &Tensor) -> Result<Tensor> {
        self.forward_with(src, tgt, &TransformerCall::default())
    }

    /// The model with masks.
    ///
    /// # Errors
    /// Shapes or dtypes that do not fit.
    #[track_caller]
    pub fn forward_with(&self, src: &Tensor, tgt: &Tensor, call: &TransformerCall<'_>) -> Result<Tensor> {
        let bad = |what: &str| {
            Err(Error::shape("Transformer", format!("{what}, got {:?} and {:?}", src.shape(), tgt.shape())))
        };
        if src.rank() != tgt.rank() || !(2..=3).contains(&src.rank()) {
            return bad("src and tgt must both have 2 or 3 dimensions").here();
        }
        let batch = if self.settings.batch_first { 0 } else { 1 };
        if src.rank() == 3 && src.shape()[batch] != tgt.shape()[batch] {
            return bad("the batch number of src and tgt must be equal").here();
        }
        if src.size(-1)? != self.settings.d_model || tgt.size(-1)? != self.settings.d_model {
            return bad("the feature number of src and tgt must be equal to d_model").here();
        }
        let encoding = EncoderCall {
            mask: call.src_mask,
            src_key_padding_mask: call.src_key_padding_mask,
            is_causal: call.src_is_causal,
        };
        let decoding = DecoderCall {
            tgt_mask: call.tgt_mask,
            memory_mask: call.memory_mask,
            tgt_key_padding_mask: call.tgt_key_padding_mask,
            memory_key_padding_mask: call.memory_key_padding_mask,
            tgt_is_causal: call.tgt_is_causal,
            memory_is_causal: call.memory_is_causal,
        };
        let memory = self.encoder.forward_with(src, &encoding)?;
        self.decoder.forward_with(tgt, &memory, &decoding)
    }
}

builders!(Transformer);

impl Module for Transformer {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
        parts.add("encoder", &self.encoder);
        parts.add("decoder", &self.decoder);
    }
}

print_as_module!(Transformer);
