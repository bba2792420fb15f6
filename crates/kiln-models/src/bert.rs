//! Devlin et al., "BERT: pre-training of deep bidirectional transformers for language understanding" (2018), named as
//! transformers names it.

use kiln_nn::kiln_autograd::{AttentionOptions, DType, no_grad};
use kiln_nn::{
    Dropout, Embedding, Error, Forward, GELU, Here, LayerNorm, Linear, Module, Parts, Result, StateDict,
    Tanh, Tensor, Training,
};

use crate::text;

const OP: &str = "BertModel";

/// The settings of [`BertModel`], with transformers' names; the default is `bert-base-uncased`, of 109 million parameters.
#[derive(Clone, Debug)]
pub struct BertConfig {
    /// How many tokens there are.
    pub vocab_size: usize,
    /// The width of a token's vector.
    pub hidden_size: usize,
    /// How many layers there are.
    pub num_hidden_layers: usize,
    /// How many heads share the width in attention.
    pub num_attention_heads: usize,
    /// The width inside the layers' perceptrons.
    pub intermediate_size: usize,
    /// The probability with which outputs of a layer's parts are dropped.
    pub hidden_dropout_prob: f64,
    /// The probability with which attention weights are dropped.
    pub attention_probs_dropout_prob: f64,
    /// The length of the longest text.
    pub max_position_embeddings: usize,
    /// How many kinds of sentences there are.
    pub type_vocab_size: usize,
    /// The deviation of fresh weights.
    pub initializer_range: f64,
    /// What layer norms add to the variance.
    pub layer_norm_eps: f64,
    /// The token that fills up texts; its vector is zero and is not learned.
    pub pad_token_id: usize,
}

impl Default for BertConfig {
    fn default() -> BertConfig {
        BertConfig {
            vocab_size: 30522,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            initializer_range: 0.02,
            layer_norm_eps: 1e-12,
            pad_token_id: 0,
        }
    }
}

#[derive(Module)]
#[allow(non_snake_case)] // The name in the state dict.
struct Embeddings {
    word_embeddings: Embedding,
    position_embeddings: Embedding,
    token_type_embeddings: Embedding,
    LayerNorm: LayerNorm,
    dropout: Dropout,
    positions: usize,
}

impl Embeddings {
    fn new(config: &BertConfig) -> Embeddings {
        let width = config.hidden_size;
        let words = Embedding::new(config.vocab_size, width).padding_idx(config.pad_token_id as i64);
        Embeddings {
            word_embeddings: words,
            position_embeddings: Embedding::new(config.max_position_embeddings, width),
            token_type_embeddings: Embedding::new(config.type_vocab_size, width),
            LayerNorm: norm(config),
            dropout: Dropout::new(config.hidden_dropout_prob),
            positions: config.max_position_embeddings,
        }
    }

    #[track_caller]
    fn forward(&self, input: &BertInput<'_>) -> Result<Tensor> {
        let [_, length] = text::check_ids(OP, input.input_ids, self.positions)?;
        let types = match input.token_type_ids {
            Some(types) => types.clone(),
            None => input.input_ids.zeros_like()?,
        };
        let positions = Tensor::arange(length as i64).to_device(input.input_ids.device())?;
        let x = self.word_embeddings.forward(input.input_ids)?;
        let x = x.add(&self.token_type_embeddings.forward(&types)?)?;
        let x = x.add(&self.position_embeddings.forward(&positions)?)?;
        self.dropout.forward(&self.LayerNorm.forward(&x)?)
    }
}

fn norm(config: &BertConfig) -> LayerNorm {
    LayerNorm::new([config.hidden_size]).eps(config.layer_norm_eps)
}

#[derive(Module)]
struct SelfAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    training: Training,
    dropout: f64,
    heads: usize,
}

impl SelfAttention {
    fn new(config: &BertConfig) -> SelfAttention {
        let linear = || Linear::new(config.hidden_size, config.hidden_size);
        SelfAttention {
            query: linear(),
            key: linear(),
            value: linear(),
            training: Training::default(),
            dropout: config.attention_probs_dropout_prob,
            heads: config.num_attention_heads,
        }
    }

    #[track_caller]
    fn forward(&self, x: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let (query, key, value) = (self.query.forward(x)?, self.key.forward(x)?, self.value.forward(x)?);
        let dropout = if self.training.get() { self.dropout } else { 0.0 };
        let options = AttentionOptions { mask, dropout, ..AttentionOptions::default() };
        text::attend(&query, &key, &value, self.heads, &options)
    }
}

/// What ends both halves of a layer: a linear layer, added to what went into the half, normalised.
#[derive(Module)]
#[allow(non_snake_case)] // The name in the state dict.
struct Output {
    dense: Linear,
    LayerNorm: LayerNorm,
    dropout: Dropout,
}

impl Output {
    fn new(inputs: usize, config: &BertConfig) -> Output {
        Output {
            dense: Linear::new(inputs, config.hidden_size),
            LayerNorm: norm(config),
            dropout: Dropout::new(config.hidden_dropout_prob),
        }
    }

    #[track_caller]
    fn forward(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        self.LayerNorm.forward(&self.dropout.forward(&self.dense.forward(x)?)?.add(residual)?)
    }
}

/// Named `self` and `output` in the state dict, which is why the derive cannot list its parts.
struct Attention {
    inner: SelfAttention,
    output: Output,
}

impl Module for Attention {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("self", &self.inner);
        parts.add("output", &self.output);
    }
}

#[derive(Module)]
struct Intermediate {
    dense: Linear,
    intermediate_act_fn: GELU,
}

#[derive(Module)]
struct Layer {
    attention: Attention,
    intermediate: Intermediate,
    output: Output,
}

impl Layer {
    fn new(config: &BertConfig) -> Layer {
        let (width, inside) = (config.hidden_size, config.intermediate_size);
        Layer {
            attention: Attention { inner: SelfAttention::new(config), output: Output::new(width, config) },
            intermediate: Intermediate {
                dense: Linear::new(width, inside),
                intermediate_act_fn: GELU::new(),
            },
            output: Output::new(inside, config),
        }
    }

    #[track_caller]
    fn forward(&self, x: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let x = self.attention.output.forward(&self.attention.inner.forward(x, mask)?, x)?;
        let Intermediate { dense, intermediate_act_fn } = &self.intermediate;
        self.output.forward(&intermediate_act_fn.forward(&dense.forward(&x)?)?, &x)
    }
}

#[derive(Module)]
struct Encoder {
    layer: Vec<Layer>,
}

#[derive(Module)]
struct Pooler {
    dense: Linear,
    activation: Tanh,
}

/// What [`BertModel::encode`] reads.
#[derive(Clone, Copy)]
pub struct BertInput<'a> {
    /// The tokens, int64 `[n, length]`.
    pub input_ids: &'a Tensor,
    /// `[n, length]`: not zero for tokens, zero for what fills up; all are tokens if `None`.
    pub attention_mask: Option<&'a Tensor>,
    /// `[n, length]`: to which sentence a token belongs; all to the first if `None`.
    pub token_type_ids: Option<&'a Tensor>,
}

impl<'a> BertInput<'a> {
    /// Tokens of one sentence each, nothing filled up.
    pub fn new(input_ids: &'a Tensor) -> BertInput<'a> {
        BertInput { input_ids, attention_mask: None, token_type_ids: None }
    }
}

/// What [`BertModel::encode`] gives.
pub struct BertOutput {
    /// `[n, length, hidden_size]`: a vector for each token.
    pub last_hidden_state: Tensor,
    /// `[n, hidden_size]`: a vector for each text, from its first token.
    pub pooler_output: Tensor,
}

/// An encoder of texts (`transformers.BertModel`); [`Forward::forward`] gives the tokens' vectors alone.
///
/// Shapes: int64 tokens `[n, length] -> [n, length, hidden_size]`.
///
/// ```
/// use kiln_models::kiln_nn::Tensor;
/// use kiln_models::{BertConfig, BertInput, BertModel};
/// let config = BertConfig {
///     vocab_size: 20,
///     hidden_size: 12,
///     num_hidden_layers: 2,
///     num_attention_heads: 3,
///     intermediate_size: 24,
///     ..Default::default()
/// };
/// let net = BertModel::new(&config)?;
/// let text = Tensor::from_vec(vec![3i64, 1, 4, 0], [1, 4])?;
/// let mask = Tensor::from_vec(vec![1i64, 1, 1, 0], [1, 4])?;
/// let output = net.encode(&BertInput { attention_mask: Some(&mask), ..BertInput::new(&text) })?;
/// assert_eq!(output.last_hidden_state.dims(), [1, 4, 12]);
/// assert_eq!(output.pooler_output.dims(), [1, 12]);
/// # Ok::<(), kiln_models::kiln_nn::Error>(())
/// ```
#[derive(Module)]
pub struct BertModel {
    embeddings: Embeddings,
    encoder: Encoder,
    pooler: Pooler,
}

impl BertModel {
    /// A network with fresh parameters: after `manual_seed` transformers' own.
    ///
    /// # Errors
    /// The heads cannot share the width, or the padding is no token.
    #[track_caller]
    pub fn new(config: &BertConfig) -> Result<BertModel> {
        let (width, pad, words) = (config.hidden_size, config.pad_token_id, config.vocab_size);
        text::check_heads(OP, width, config.num_attention_heads)?;
        if pad >= words {
            return Err(Error::value(OP, format!("pad_token_id {pad} must be below vocab_size {words}")));
        }
        let net = BertModel {
            embeddings: Embeddings::new(config),
            encoder: Encoder { layer: (0..config.num_hidden_layers).map(|_| Layer::new(config)).collect() },
            pooler: Pooler { dense: Linear::new(width, width), activation: Tanh },
        };
        net.apply(|module| text::draw(module, config.initializer_range))?;
        no_grad(|| net.embeddings.word_embeddings.weight.select(0, pad as i64)?.fill_(0.0)).here()?;
        Ok(net)
    }

    /// The vectors of tokens and of whole texts.
    ///
    /// # Errors
    /// Tokens that are no integers of the vocabulary, texts longer than the positions, a mask or types of another shape.
    #[track_caller]
    pub fn encode(&self, input: &BertInput<'_>) -> Result<BertOutput> {
        let mut x = self.embeddings.forward(input)?;
        let mask = match input.attention_mask {
            Some(mask) if mask.dims() != input.input_ids.dims() => {
                let (got, wanted) = (mask.shape(), input.input_ids.shape());
                return Err(Error::shape(
                    OP,
                    format!("the attention mask has shape {got:?}, the tokens {wanted:?}"),
                ));
            }
            // Every query of every head sees the same keys.
            Some(mask) => Some(mask.to_dtype(DType::Bool)?.unsqueeze(1)?.unsqueeze(1)?),
            None => None,
        };
        for layer in &self.encoder.layer {
            x = layer.forward(&x, mask.as_ref())?;
        }
        let Pooler { dense, activation } = &self.pooler;
        let pooler_output = activation.forward(&dense.forward(&x.select(1, 0)?)?)?;
        Ok(BertOutput { last_hidden_state: x, pooler_output })
    }

    /// Loads weights as they are published: those of networks with heads too, whose heads are passed over, and the old
    /// names of layer norms.
    ///
    /// # Errors
    /// Names are missing or unknown or shapes differ: nothing is changed then.
    #[track_caller]
    pub fn load_pretrained(&self, state: &StateDict) -> Result<()> {
        self.load_state_dict(&text::renamed(state, |name| {
            let name = name.strip_prefix("bert.").unwrap_or(name);
            let other = ["cls.", "classifier.", "qa_outputs.", "embeddings.position_ids"];
            if other.iter().any(|start| name.starts_with(start)) {
                return None;
            }
            Some(match name.rsplit_once('.') {
                Some((layer, "gamma")) => format!("{layer}.weight"),
                Some((layer, "beta")) => format!("{layer}.bias"),
                _ => name.to_owned(),
            })
        }))
    }
}

impl Forward for BertModel {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        Ok(self.encode(&BertInput::new(input))?.last_hidden_state)
    }
}
