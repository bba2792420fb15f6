//! Radford et al., "Language models are unsupervised multitask learners" (2019), named as transformers names it.

use kiln_nn::kiln_autograd::{AttentionOptions, no_grad};
use kiln_nn::{
    Dropout, Embedding, Forward, GELU, Here, LayerNorm, Linear, Module, Parameter, Result, StateDict, Tensor,
    Training, init,
};

use crate::text;

const OP: &str = "GPT2";

/// The settings of [`GPT2Model`] and [`GPT2LMHeadModel`], with transformers' names; the default is the smallest published
/// network, of 124 million parameters.
///
/// ```
/// use kiln_models::GPT2Config;
/// let medium = GPT2Config { n_embd: 1024, n_layer: 24, n_head: 16, ..GPT2Config::default() };
/// # let _ = medium;
/// ```
#[derive(Clone, Debug)]
pub struct GPT2Config {
    /// How many tokens there are.
    pub vocab_size: usize,
    /// The length of the longest text.
    pub n_positions: usize,
    /// The width of a token's vector.
    pub n_embd: usize,
    /// How many blocks there are.
    pub n_layer: usize,
    /// How many heads share the width in attention.
    pub n_head: usize,
    /// The width inside the blocks' perceptrons, `4 n_embd` if `None`.
    pub n_inner: Option<usize>,
    /// The probability with which outputs of a block's parts are dropped.
    pub resid_pdrop: f64,
    /// The probability with which embedded tokens are dropped.
    pub embd_pdrop: f64,
    /// The probability with which attention weights are dropped.
    pub attn_pdrop: f64,
    /// What layer norms add to the variance.
    pub layer_norm_epsilon: f64,
    /// The deviation of fresh weights.
    pub initializer_range: f64,
}

impl Default for GPT2Config {
    fn default() -> GPT2Config {
        GPT2Config {
            vocab_size: 50257,
            n_positions: 1024,
            n_embd: 768,
            n_layer: 12,
            n_head: 12,
            n_inner: None,
            resid_pdrop: 0.1,
            embd_pdrop: 0.1,
            attn_pdrop: 0.1,
            layer_norm_epsilon: 1e-5,
            initializer_range: 0.02,
        }
    }
}

/// A linear layer whose weight is `[inputs, outputs]`, as in the first published network; it is called a convolution there.
#[derive(Module)]
struct Conv1D {
    weight: Parameter,
    bias: Parameter,
}

impl Conv1D {
    #[track_caller]
    fn new(inputs: usize, outputs: usize) -> Result<Conv1D> {
        let weight = Parameter::new(Tensor::zeros([inputs, outputs]))?;
        init::normal_(&weight, 0.0, 0.02)?;
        Ok(Conv1D { weight, bias: Parameter::new(Tensor::zeros([outputs]))? })
    }
}

impl Forward for Conv1D {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        input.linear(&self.weight.t()?, Some(&self.bias))
    }
}

#[derive(Module)]
struct Attention {
    c_attn: Conv1D,
    c_proj: Conv1D,
    resid_dropout: Dropout,
    training: Training,
    attn_pdrop: f64,
    heads: usize,
}

impl Attention {
    #[track_caller]
    fn new(config: &GPT2Config) -> Result<Attention> {
        Ok(Attention {
            c_attn: Conv1D::new(config.n_embd, 3 * config.n_embd)?,
            c_proj: Conv1D::new(config.n_embd, config.n_embd)?,
            resid_dropout: Dropout::new(config.resid_pdrop),
            training: Training::default(),
            attn_pdrop: config.attn_pdrop,
            heads: config.n_head,
        })
    }
}

impl Forward for Attention {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let all = self.c_attn.forward(input)?.chunk(3, 2)?;
        let dropout = if self.training.get() { self.attn_pdrop } else { 0.0 };
        let options = AttentionOptions { dropout, is_causal: true, ..AttentionOptions::default() };
        let x = text::attend(&all[0], &all[1], &all[2], self.heads, &options)?;
        self.resid_dropout.forward(&self.c_proj.forward(&x)?)
    }
}

#[derive(Module)]
struct Mlp {
    c_fc: Conv1D,
    c_proj: Conv1D,
    act: GELU,
    dropout: Dropout,
}

impl Mlp {
    #[track_caller]
    fn new(config: &GPT2Config) -> Result<Mlp> {
        let inner = config.n_inner.unwrap_or(4 * config.n_embd);
        Ok(Mlp {
            c_fc: Conv1D::new(config.n_embd, inner)?,
            c_proj: Conv1D::new(inner, config.n_embd)?,
            act: GELU::tanh(),
            dropout: Dropout::new(config.resid_pdrop),
        })
    }
}

impl Forward for Mlp {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let x = self.act.forward(&self.c_fc.forward(input)?)?;
        self.dropout.forward(&self.c_proj.forward(&x)?)
    }
}

#[derive(Module)]
struct Block {
    ln_1: LayerNorm,
    attn: Attention,
    ln_2: LayerNorm,
    mlp: Mlp,
}

impl Forward for Block {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let x = self.attn.forward(&self.ln_1.forward(input)?)?.add(input)?;
        self.mlp.forward(&self.ln_2.forward(&x)?)?.add(&x)
    }
}

/// The decoder without a head (`transformers.GPT2Model`).
///
/// Shapes: int64 tokens `[n, length] -> [n, length, n_embd]`.
#[derive(Module)]
pub struct GPT2Model {
    /// The tokens' vectors.
    pub wte: Embedding,
    /// The positions' vectors.
    pub wpe: Embedding,
    drop: Dropout,
    h: Vec<Block>,
    ln_f: LayerNorm,
    positions: usize,
}

impl GPT2Model {
    /// A network with fresh parameters: after `manual_seed` transformers' own.
    ///
    /// # Errors
    /// The heads cannot share the width.
    #[track_caller]
    pub fn new(config: &GPT2Config) -> Result<GPT2Model> {
        text::check_heads(OP, config.n_embd, config.n_head)?;
        let norm = || LayerNorm::new([config.n_embd]).eps(config.layer_norm_epsilon);
        let block = |_| -> Result<Block> {
            Ok(Block { ln_1: norm(), attn: Attention::new(config)?, ln_2: norm(), mlp: Mlp::new(config)? })
        };
        let net = GPT2Model {
            wte: Embedding::new(config.vocab_size, config.n_embd),
            wpe: Embedding::new(config.n_positions, config.n_embd),
            drop: Dropout::new(config.embd_pdrop),
            h: (0..config.n_layer).map(block).collect::<Result<_>>().here()?,
            ln_f: norm(),
            positions: config.n_positions,
        };
        let std = config.initializer_range;
        // What is added to the stream of vectors is scaled by how many times that happens.
        let residual = std / ((2 * config.n_layer) as f64).sqrt();
        net.apply(|module| {
            if let Some(layer) = module.downcast_ref::<Conv1D>() {
                init::normal_(&layer.weight, 0.0, std)?;
                init::zeros_(&layer.bias)
            } else if let Some(attention) = module.downcast_ref::<Attention>() {
                init::normal_(&attention.c_proj.weight, 0.0, residual)
            } else if let Some(mlp) = module.downcast_ref::<Mlp>() {
                init::normal_(&mlp.c_proj.weight, 0.0, residual)
            } else {
                text::draw(module, std)
            }
        })?;
        Ok(net)
    }

    /// Loads weights as they are published, which are this network's or [`GPT2LMHeadModel`]'s and may hold the masks that
    /// older programs kept.
    ///
    /// # Errors
    /// Names are missing or unknown or shapes differ: nothing is changed then.
    #[track_caller]
    pub fn load_pretrained(&self, state: &StateDict) -> Result<()> {
        self.load_state_dict(&text::renamed(state, |name| {
            let name = name.strip_prefix("transformer.").unwrap_or(name);
            (!is_mask(name) && name != "lm_head.weight").then(|| name.to_owned())
        }))
    }
}

/// Whether an entry is a buffer that old checkpoints have.
fn is_mask(name: &str) -> bool {
    name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias")
}

impl Forward for GPT2Model {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let [_, length] = text::check_ids(OP, input, self.positions)?;
        let positions = Tensor::arange(length as i64).to_device(input.device())?;
        let x = self.wte.forward(input)?.add(&self.wpe.forward(&positions)?)?;
        let x = self.h.iter().try_fold(self.drop.forward(&x)?, |x, block| block.forward(&x)).here()?;
        self.ln_f.forward(&x)
    }
}

/// The decoder that scores the next token (`transformers.GPT2LMHeadModel`); the scores' weight is the tokens' vectors.
///
/// Shapes: int64 tokens `[n, length] -> [n, length, vocab_size]`.
///
/// ```
/// use kiln_models::kiln_nn::{Forward, Module, Tensor};
/// use kiln_models::{GPT2Config, GPT2LMHeadModel};
/// let config = GPT2Config { vocab_size: 20, n_positions: 8, n_embd: 12, n_layer: 2, n_head: 3, ..Default::default() };
/// let net = GPT2LMHeadModel::new(&config)?;
/// let text = Tensor::from_vec(vec![3i64, 1, 4], [1, 3])?;
/// assert_eq!(net.forward(&text)?.dims(), [1, 3, 20]);
/// net.eval();
/// assert_eq!(net.generate(&text, 4)?.dims(), [1, 7]);
/// # Ok::<(), kiln_models::kiln_nn::Error>(())
/// ```
#[derive(Module)]
pub struct GPT2LMHeadModel {
    /// The decoder.
    pub transformer: GPT2Model,
    /// From vectors to scores.
    pub lm_head: Linear,
}

impl GPT2LMHeadModel {
    /// A network with fresh parameters: after `manual_seed` transformers' own.
    ///
    /// # Errors
    /// As [`GPT2Model::new`].
    #[track_caller]
    pub fn new(config: &GPT2Config) -> Result<GPT2LMHeadModel> {
        let transformer = GPT2Model::new(config)?;
        // transformers draws a head twice before it ties it to the embedding; so the stream goes on from the same place.
        text::draw(&Linear::new(config.n_embd, config.vocab_size).bias(false), config.initializer_range)?;
        let lm_head = Linear::from_parameters(transformer.wte.weight.clone(), None)?;
        Ok(GPT2LMHeadModel { transformer, lm_head })
    }

    /// Loads weights as they are published: as [`GPT2Model::load_pretrained`], with or without the head.
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn load_pretrained(&self, state: &StateDict) -> Result<()> {
        self.transformer.load_pretrained(state)
    }

    /// Continues texts `[n, length]` by the likeliest token, `count` times: `[n, length + count]`. Of texts longer than
    /// the model's positions only the end is seen. Nothing is recorded; call [`Module::eval`] before.
    ///
    /// # Errors
    /// Tokens that are no integers of the vocabulary, or texts without tokens.
    #[track_caller]
    pub fn generate(&self, input: &Tensor, count: usize) -> Result<Tensor> {
        no_grad(|| {
            let mut all = input.clone();
            for _ in 0..count {
                let length = all.size(1)?;
                let seen = length.min(self.transformer.positions);
                let x = self.transformer.forward(&all.narrow(1, (length - seen) as i64, seen as i64)?)?;
                let scores = self.lm_head.forward(&x.select(1, -1)?)?;
                all = Tensor::cat(&[&all, &scores.argmax(-1, true)?], 1)?;
            }
            Ok(all)
        })
        .here()
    }
}

impl Forward for GPT2LMHeadModel {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        self.lm_head.forward(&self.transformer.forward(input)?)
    }
}
