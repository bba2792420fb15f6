//! [`MultiheadAttention`]. Vaswani et al., "Attention Is All You Need" (2017).

use std::ops::Deref;

use kiln_autograd::{Error, Here, InProjection, MultiheadOptions, Result, Tensor};

use crate::draw::{self, Fault, checked};
use crate::init;
use crate::linear::Linear;
use crate::module::{Forward, Module};
use crate::parts::{Parameter, Parts, Training};
use crate::print::print_as_module;

/// What a call of [`MultiheadAttention`] may have besides queries, keys and values; the default is PyTorch's: no masks, and
/// the weights' mean over the heads.
#[derive(Clone, Copy)]
pub struct MultiheadCall<'a> {
    /// `[batch, keys]`: true where a key counts for nothing, or what is added to its scores.
    pub key_padding_mask: Option<&'a Tensor>,
    /// Whether to give back the weights too.
    pub need_weights: bool,
    /// `[queries, keys]` or `[batch * heads, queries, keys]`: true where a query does not see a key, or what is added.
    pub attn_mask: Option<&'a Tensor>,
    /// Whether the weights that are given back are the mean over the heads.
    pub average_attn_weights: bool,
    /// Says that `attn_mask` is the causal mask.
    pub is_causal: bool,
}

impl Default for MultiheadCall<'_> {
    fn default() -> Self {
        MultiheadCall {
            key_padding_mask: None,
            need_weights: true,
            attn_mask: None,
            average_attn_weights: true,
            is_causal: false,
        }
    }
}

/// The last layer of [`MultiheadAttention`]: a [`Linear`] under the name by which PyTorch prints it.
pub struct NonDynamicallyQuantizableLinear(Linear);

impl Deref for NonDynamicallyQuantizableLinear {
    type Target = Linear;

    fn deref(&self) -> &Linear {
        &self.0
    }
}

impl Module for NonDynamicallyQuantizableLinear {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        self.0.parts(parts);
    }

    fn extra_repr(&self) -> String {
        self.0.extra_repr()
    }
}

/// Attention by several heads (`torch.nn.MultiheadAttention`): queries, keys and values are projected, each head attends
/// with its share of the places, and the results side by side are projected again.
///
/// Shapes: queries `[l, batch, embed_dim]`, keys `[s, batch, kdim]` and values `[s, batch, vdim]` give `[l, batch,
/// embed_dim]` and weights `[batch, l, s]`; with `batch_first` the batch axis comes first; without it: a single sequence.
///
/// ```
/// use kiln_nn::{MultiheadAttention, Tensor};
/// let attention = MultiheadAttention::new(8, 2).batch_first(true);
/// let x = Tensor::ones([3, 5, 8]);
/// let (y, weights) = attention.forward(&x, &x, &x)?;
/// assert_eq!((y.dims(), weights.dims()), (vec![3, 5, 8], vec![3, 5, 5]));
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub struct MultiheadAttention {
    /// The projections one below the other, `[3 * embed_dim, embed_dim]`, unless keys or values have sizes of their own.
    pub in_proj_weight: Option<Parameter>,
    /// `[embed_dim, embed_dim]`
    pub q_proj_weight: Option<Parameter>,
    /// `[embed_dim, kdim]`
    pub k_proj_weight: Option<Parameter>,
    /// `[embed_dim, vdim]`
    pub v_proj_weight: Option<Parameter>,
    /// `[3 * embed_dim]`
    pub in_proj_bias: Option<Parameter>,
    /// From the heads' results to the layer's.
    pub out_proj: NonDynamicallyQuantizableLinear,
    /// A key that is added to every sequence, `[1, 1, embed_dim]`.
    pub bias_k: Option<Parameter>,
    /// Its value.
    pub bias_v: Option<Parameter>,
    settings: Settings,
    training: Training,
    ticket: u64,
    fault: Fault,
}

#[derive(Clone, Copy)]
struct Settings {
    embed_dim: usize,
    num_heads: usize,
    dropout: f64,
    bias: bool,
    add_bias_kv: bool,
    add_zero_attn: bool,
    kdim: usize,
    vdim: usize,
    batch_first: bool,
}

const OP: &str = "MultiheadAttention";

impl MultiheadAttention {
    /// Attention with biases, without dropout, over `[steps, batch, embed_dim]`.
    pub fn new(embed_dim: usize, num_heads: usize) -> MultiheadAttention {
        let settings = Settings {
            embed_dim,
            num_heads,
            dropout: 0.0,
            bias: true,
            add_bias_kv: false,
            add_zero_attn: false,
            kdim: embed_dim,
            vdim: embed_dim,
            batch_first: false,
        };
        MultiheadAttention::make(settings, 0)
    }

    fn make(s: Settings, ticket: u64) -> MultiheadAttention {
        let mut fault = Fault::default();
        if s.embed_dim == 0 || s.num_heads == 0 {
            fault.note(
                OP,
                format!(
                    "embed_dim and num_heads must be greater than 0, got embed_dim={} and num_heads={} instead",
                    s.embed_dim, s.num_heads
                ),
            );
        } else if !s.embed_dim.is_multiple_of(s.num_heads) {
            fault.note(
                OP,
                format!("embed_dim {} must be divisible by num_heads {}", s.embed_dim, s.num_heads),
            );
        }
        if !(0.0..=1.0).contains(&s.dropout) {
            fault.note(OP, format!("dropout probability has to be between 0 and 1, but got {}", s.dropout));
        }
        if fault.check().is_ok() {
            match draw::together(ticket, || MultiheadAttention::drawn(s)) {
                Ok((made, ticket)) => return MultiheadAttention { ticket, ..made },
                Err(e) => fault.note(OP, format!("cannot be made for {} places: {e}", s.embed_dim)),
            }
        }
        MultiheadAttention {
            in_proj_weight: None,
            q_proj_weight: None,
            k_proj_weight: None,
            v_proj_weight: None,
            in_proj_bias: None,
            out_proj: NonDynamicallyQuantizableLinear(Linear::new(0, 0)),
            bias_k: None,
            bias_v: None,
            settings: s,
            training: Training::default(),
            ticket,
            fault,
        }
    }

    /// Draws the parameters in PyTorch's order: the last layer's come first.
    #[track_caller]
    fn drawn(s: Settings) -> Result<MultiheadAttention> {
        let embed = s.embed_dim;
        // The bias of the last layer is drawn before it is set to zeros.
        let out_proj = Linear::new(embed, embed).bias(s.bias);
        out_proj.check()?;
        let drawn = |rows: usize, columns: usize| -> Result<Option<Parameter>> {
            let w = draw::empty(&[rows, columns])?;
            init::xavier_uniform_(&w, 1.0)?;
            Ok(Some(w))
        };
        let (mut in_proj_weight, mut own) = (None, [None, None, None]);
        if s.kdim == embed && s.vdim == embed {
            in_proj_weight = drawn(3 * embed, embed)?;
        } else {
            own = [drawn(embed, embed)?, drawn(embed, s.kdim)?, drawn(embed, s.vdim)?];
        }
        let [q_proj_weight, k_proj_weight, v_proj_weight] = own;
        let mut in_proj_bias = None;
        if let Some(bias) = &out_proj.bias {
            in_proj_bias = Some(draw::empty(&[3 * embed])?);
            init::zeros_(bias)?;
        }
        let pair = || -> Result<Option<Parameter>> {
            if !s.add_bias_kv {
                return Ok(None);
            }
            let b = draw::empty(&[1, 1, embed])?;
            init::xavier_normal_(&b, 1.0)?;
            Ok(Some(b))
        };
        Ok(MultiheadAttention {
            in_proj_weight,
            q_proj_weight,
            k_proj_weight,
            v_proj_weight,
            in_proj_bias,
            out_proj: NonDynamicallyQuantizableLinear(out_proj),
            bias_k: pair()?,
            bias_v: pair()?,
            settings: s,
            training: Training::default(),
            ticket: 0,
            fault: Fault::default(),
        })
    }

    /// Attention with the same values and memory of its own.
    #[track_caller]
    pub(crate) fn twin(&self) -> Result<MultiheadAttention> {
        let twin = |p: &Option<Parameter>| p.as_ref().map(Parameter::twin).transpose();
        let out_proj = Linear::from_parameters(self.out_proj.weight.twin()?, twin(&self.out_proj.bias)?)?;
        Ok(MultiheadAttention {
            in_proj_weight: twin(&self.in_proj_weight)?,
            q_proj_weight: twin(&self.q_proj_weight)?,
            k_proj_weight: twin(&self.k_proj_weight)?,
            v_proj_weight: twin(&self.v_proj_weight)?,
            in_proj_bias: twin(&self.in_proj_bias)?,
            out_proj: NonDynamicallyQuantizableLinear(out_proj),
            bias_k: twin(&self.bias_k)?,
            bias_v: twin(&self.bias_v)?,
            settings: self.settings,
            training: self.training.clone(),
            ticket: 0,
            fault: self.fault.clone(),
        })
    }

    /// The same with other settings, drawn anew.
    fn again(self, change: impl FnOnce(&mut Settings)) -> MultiheadAttention {
        let mut settings = self.settings;
        change(&mut settings);
        MultiheadAttention::make(settings, self.ticket)
    }

    /// The probability with which a weight is dropped while training.
    #[must_use]
    pub fn dropout(mut self, dropout: f64) -> MultiheadAttention {
        self.settings.dropout = dropout;
        if !(0.0..=1.0).contains(&dropout) {
            self.fault.note(OP, format!("dropout probability has to be between 0 and 1, but got {dropout}"));
        }
        self
    }

    /// Whether there are biases (there are by default). The parameters are drawn anew, as if that had been said from the
    /// start.
    #[must_use]
    pub fn bias(self, bias: bool) -> MultiheadAttention {
        if bias == self.settings.bias { self } else { self.again(|s| s.bias = bias) }
    }

    /// Whether a learned key and value are added to every sequence. The parameters are drawn anew.
    #[must_use]
    pub fn add_bias_kv(self, add_bias_kv: bool) -> MultiheadAttention {
        if add_bias_kv == self.settings.add_bias_kv {
            self
        } else {
            self.again(|s| s.add_bias_kv = add_bias_kv)
        }
    }

    /// Whether a key and a value of zeros are added to every sequence.
    #[must_use]
    pub fn add_zero_attn(mut self, add_zero_attn: bool) -> MultiheadAttention {
        self.settings.add_zero_attn = add_zero_attn;
        self
    }

    /// How many places keys have, `embed_dim` by default. The parameters are drawn anew.
    #[must_use]
    pub fn kdim(self, kdim: usize) -> MultiheadAttention {
        if kdim == self.settings.kdim { self } else { self.again(|s| s.kdim = kdim) }
    }

    /// How many places values have, `embed_dim` by default. The parameters are drawn anew.
    #[must_use]
    pub fn vdim(self, vdim: usize) -> MultiheadAttention {
        if vdim == self.settings.vdim { self } else { self.again(|s| s.vdim = vdim) }
    }

    /// Whether the first axis is the batch.
    #[must_use]
    pub fn batch_first(mut self, batch_first: bool) -> MultiheadAttention {
        self.settings.batch_first = batch_first;
        self
    }

    /// How many heads there are.
    pub fn num_heads(&self) -> usize {
        self.settings.num_heads
    }

    /// The result without masks, and the weights.
    ///
    /// # Errors
    /// As [`MultiheadAttention::forward_with`].
    #[track_caller]
    pub fn forward(&self, query: &Tensor, key: &Tensor, value: &Tensor) -> Result<(Tensor, Tensor)> {
        let (y, weights) = self.forward_with(query, key, value, &MultiheadCall::default())?;
        Ok((y, weights.ok_or_else(|| Error::value(OP, "no weights")).here()?))
    }

    /// The result and, if asked for, the weights.
    ///
    /// # Errors
    /// Shapes or dtypes that do not fit; `is_causal` without a mask.
    #[track_caller]
    pub fn forward_with(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        call: &MultiheadCall<'_>,
    ) -> Result<(Tensor, Option<Tensor>)> {
        self.fault.check()?;
        let s = &self.settings;
        if query.dims().last() != Some(&s.embed_dim) {
            return Err(Error::shape(
                OP,
                format!("was expecting embedding dimension of {}, but got {:?}", s.embed_dim, query.dims()),
            ));
        }
        let in_proj =
            match (&self.in_proj_weight, &self.q_proj_weight, &self.k_proj_weight, &self.v_proj_weight) {
                (Some(w), ..) => InProjection::Packed(w),
                (_, Some(q), Some(k), Some(v)) => InProjection::Separate([q, k, v]),
                _ => return Err(Error::value(OP, "has no projections")),
            };
        let options = MultiheadOptions {
            in_proj_bias: self.in_proj_bias.as_deref(),
            out_proj_bias: self.out_proj.bias.as_deref(),
            bias_kv: self.bias_k.as_deref().zip(self.bias_v.as_deref()).map(|(k, v)| [k, v]),
            add_zero_attn: s.add_zero_attn,
            dropout: s.dropout,
            training: self.training.get(),
            key_padding_mask: call.key_padding_mask,
            attn_mask: call.attn_mask,
            is_causal: call.is_causal,
            need_weights: call.need_weights,
            average_attn_weights: call.average_attn_weights,
            ..MultiheadOptions::new(s.num_heads, in_proj, &self.out_proj.weight)
        };
        if !s.batch_first || query.rank() != 3 || key.rank() != 3 || value.rank() != 3 {
            return query.multi_head_attention(key, value, &options);
        }
        // One tensor in several places stays one: it is projected once.
        let q = query.transpose(0, 1)?;
        let k = if key.is_same(query) { q.clone() } else { key.transpose(0, 1)? };
        let v = if value.is_same(key) { k.clone() } else { value.transpose(0, 1)? };
        let (y, weights) = q.multi_head_attention(&k, &v, &options)?;
        Ok((y.transpose(0, 1)?, weights))
    }
}

impl Module for MultiheadAttention {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
        parts.add("in_proj_weight", &self.in_proj_weight);
        parts.add("q_proj_weight", &self.q_proj_weight);
        parts.add("k_proj_weight", &self.k_proj_weight);
        parts.add("v_proj_weight", &self.v_proj_weight);
        parts.add("in_proj_bias", &self.in_proj_bias);
        parts.add("bias_k", &self.bias_k);
        parts.add("bias_v", &self.bias_v);
        parts.add("out_proj", &self.out_proj);
    }
}

impl Forward for NonDynamicallyQuantizableLinear {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        self.0.forward(input)
    }
}

checked!(MultiheadAttention);
print_as_module!(MultiheadAttention);
