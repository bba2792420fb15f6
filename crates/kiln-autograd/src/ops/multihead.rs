//! Attention with several heads: projections, heads side by side, and the projection back.

use kiln_ops::DType;

use crate::{AttentionOptions, Error, Here, Result, Tensor};

/// The weights that make queries, keys and values of `embed` places.
#[derive(Clone, Copy)]
pub enum InProjection<'a> {
    /// One below the other, `[3 * embed, embed]`.
    Packed(&'a Tensor),
    /// Each its own: `[embed, embed]`, `[embed, kdim]`, `[embed, vdim]`.
    Separate([&'a Tensor; 3]),
}

/// The arguments of [`Tensor::multi_head_attention`] besides queries, keys and values, under PyTorch's names.
#[derive(Clone, Copy)]
pub struct MultiheadOptions<'a> {
    /// How many heads share the places of a query.
    pub num_heads: usize,
    /// The first weights.
    pub in_proj: InProjection<'a>,
    /// Their biases one below the other, `[3 * embed]`.
    pub in_proj_bias: Option<&'a Tensor>,
    /// The last weight, `[embed, embed]`.
    pub out_proj_weight: &'a Tensor,
    /// Its bias, `[embed]`.
    pub out_proj_bias: Option<&'a Tensor>,
    /// A key and a value that are added to every sequence, `[1, 1, embed]` each.
    pub bias_kv: Option<[&'a Tensor; 2]>,
    /// Adds a key and a value of zeros to every sequence.
    pub add_zero_attn: bool,
    /// The probability with which a weight is dropped while `training`.
    pub dropout: f64,
    /// Whether to drop.
    pub training: bool,
    /// `[batch, keys]`: true where a key counts for nothing, or what is added to its scores.
    pub key_padding_mask: Option<&'a Tensor>,
    /// `[queries, keys]` or `[batch * heads, queries, keys]`: true where a query does not see a key, or what is added.
    pub attn_mask: Option<&'a Tensor>,
    /// Says that `attn_mask` is the causal mask.
    pub is_causal: bool,
    /// Whether to give back the weights too.
    pub need_weights: bool,
    /// Whether these are the mean over the heads.
    pub average_attn_weights: bool,
}

impl<'a> MultiheadOptions<'a> {
    /// The options with these weights and PyTorch's defaults: no biases, no dropout, no masks, mean weights.
    pub fn new(num_heads: usize, in_proj: InProjection<'a>, out_proj_weight: &'a Tensor) -> Self {
        MultiheadOptions {
            num_heads,
            in_proj,
            in_proj_bias: None,
            out_proj_weight,
            out_proj_bias: None,
            bias_kv: None,
            add_zero_attn: false,
            dropout: 0.0,
            training: true,
            key_padding_mask: None,
            attn_mask: None,
            is_causal: false,
            need_weights: true,
            average_attn_weights: true,
        }
    }
}

const OP: &str = "multi_head_attention_forward";

#[track_caller]
fn bad<T>(what: String) -> Result<T> {
    Err(Error::shape(OP, what))
}

/// `condition`, or an error that says `what`.
#[track_caller]
fn ensure(condition: bool, what: impl FnOnce() -> String) -> Result<()> {
    if condition { Ok(()) } else { bad(what()) }
}

impl Tensor {
    /// Attention of these queries by several heads (`torch.nn.functional.multi_head_attention_forward`): the result and,
    /// if asked for, the weights.
    ///
    /// Shapes: queries `[l, batch, embed]`, keys `[s, batch, kdim]` and values `[s, batch, vdim]` give `[l, batch,
    /// embed]` and weights `[batch, l, s]`, or `[batch, heads, l, s]` without their mean. All without the batch axis: a
    /// single sequence.
    ///
    /// # Errors
    /// Shapes or dtypes that do not fit, heads that do not divide the places, `is_causal` without a mask.
    #[track_caller]
    pub fn multi_head_attention(
        &self,
        key: &Tensor,
        value: &Tensor,
        options: &MultiheadOptions<'_>,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let batched = batched(self, key, value, options)?;
        if batched {
            return attend(self, key, value, options);
        }
        let one = |t: &Tensor| t.unsqueeze(1);
        let query = one(self).here()?;
        // One tensor in several places stays one: it is projected once.
        let key = if key.is_same(self) { query.clone() } else { one(key).here()? };
        let value = if value.is_same(self) { query.clone() } else { one(value).here()? };
        let padding = options.key_padding_mask.map(|m| m.unsqueeze(0)).transpose().here()?;
        let options = MultiheadOptions { key_padding_mask: padding.as_ref(), ..*options };
        let (y, weights) = attend(&query, &key, &value, &options)?;
        Ok((y.squeeze_axis(1)?, weights.map(|w| w.squeeze_axis(0)).transpose().here()?))
    }
}

/// Checks the ranks; whether there is a batch axis.
#[track_caller]
fn batched(query: &Tensor, key: &Tensor, value: &Tensor, o: &MultiheadOptions<'_>) -> Result<bool> {
    let rank = query.rank();
    ensure(rank == 2 || rank == 3, || {
        format!("query should be unbatched 2D or batched 3D tensor but received {rank}-D query tensor")
    })?;
    ensure(key.rank() == rank && value.rank() == rank, || {
        format!(
            "For a {rank}-D query, expected key and value to be {rank}-D but found {}-D and {}-D tensors",
            key.rank(),
            value.rank()
        )
    })?;
    if let Some(m) = o.key_padding_mask {
        ensure(m.rank() == rank - 1, || {
            format!(
                "For a {rank}-D query, expected key_padding_mask to be {}-D but found {}-D",
                rank - 1,
                m.rank()
            )
        })?;
    }
    if let Some(m) = o.attn_mask {
        ensure(m.rank() == 2 || m.rank() == 3, || {
            format!("expected attn_mask to be 2-D or 3-D but found {}-D", m.rank())
        })?;
    }
    Ok(rank == 3)
}

/// A mask as what is added to the scores.
#[track_caller]
fn additive(name: &str, mask: &Tensor, dtype: DType) -> Result<Tensor> {
    match mask.dtype() {
        DType::Bool => {
            Tensor::zeros_with(mask.shape(), (dtype, mask.device())).masked_fill(mask, f64::NEG_INFINITY)
        }
        d if d.is_float() => mask.to_dtype(dtype),
        other => Err(Error::dtype(
            OP,
            format!("only bool and floating types of {name} are supported, got {other}"),
        )),
    }
}

/// Queries, keys and values, projected.
#[track_caller]
fn projected(query: &Tensor, key: &Tensor, value: &Tensor, o: &MultiheadOptions<'_>) -> Result<[Tensor; 3]> {
    let embed = query.size(-1)?;
    let biases = match o.in_proj_bias {
        Some(b) => {
            ensure(b.dims() == [3 * embed], || {
                format!("expected in_proj_bias of shape [{}], got {:?}", 3 * embed, b.shape())
            })?;
            b.chunk(3, 0)?.into_iter().map(Some).collect()
        }
        None => vec![None, None, None],
    };
    let separate = match o.in_proj {
        InProjection::Packed(w) => {
            ensure(w.dims() == [3 * embed, embed], || {
                format!("expected in_proj_weight of shape [{}, {embed}], got {:?}", 3 * embed, w.shape())
            })?;
            ensure(key.size(-1)? == embed && value.size(-1)? == embed, || {
                format!(
                    "keys and values need {embed} places as the queries, got {:?} and {:?}",
                    key.shape(),
                    value.shape()
                )
            })?;
            if query.is_same(key) && key.is_same(value) {
                let all = query.linear(w, o.in_proj_bias)?.chunk(3, -1)?;
                return <[Tensor; 3]>::try_from(all).or_else(|_| bad("no places".to_owned()));
            }
            w.chunk(3, 0)?
        }
        InProjection::Separate(w) => w.map(Tensor::clone).to_vec(),
    };
    let project = |i: usize, t: &Tensor| {
        let w = &separate[i];
        ensure(w.rank() == 2 && w.shape()[0] == embed && w.size(1)? == t.size(-1)?, || {
            format!("a projection of shape {:?} does not fit {:?} and {embed} places", w.shape(), t.shape())
        })?;
        t.linear(w, biases[i].as_ref())
    };
    ensure(separate.len() == 3, || "no places".to_owned())?;
    Ok([project(0, query).here()?, project(1, key).here()?, project(2, value).here()?])
}

/// [`Tensor::multi_head_attention`] with a batch axis.
#[track_caller]
fn attend(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    o: &MultiheadOptions<'_>,
) -> Result<(Tensor, Option<Tensor>)> {
    let (l, batch, embed) = (query.shape()[0], query.shape()[1], query.shape()[2]);
    let (mut s, heads) = (key.shape()[0], o.num_heads);
    ensure(heads > 0 && embed % heads == 0, || {
        format!("embed_dim {embed} not divisible by num_heads {heads}")
    })?;
    ensure(key.dims()[..2] == value.dims()[..2] && key.shape()[1] == batch, || {
        format!(
            "key shape {:?} does not match value shape {:?} or the queries' {batch} sequences",
            key.shape(),
            value.shape()
        )
    })?;
    if o.is_causal && o.attn_mask.is_none() {
        return Err(Error::value(OP, "Need attn_mask if specifying the is_causal hint."));
    }
    let width = embed / heads;
    if let Some(m) = o.key_padding_mask {
        ensure(m.dims() == [batch, s], || {
            format!("key_padding_mask should have shape [{batch}, {s}], but got {:?}", m.shape())
        })?;
    }
    if let Some(m) = o.attn_mask {
        let dims = m.dims();
        ensure(dims == [l, s] || dims == [batch * heads, l, s], || {
            format!(
                "The shape of the attn_mask is {dims:?}, but should be [{l}, {s}] or [{}, {l}, {s}]",
                batch * heads
            )
        })?;
    }
    // With the hint alone there is no need for the mask; everything else adds it up.
    let plain_causal = o.is_causal && o.key_padding_mask.is_none() && !o.need_weights;
    let mut mask = match o.attn_mask.filter(|_| !plain_causal) {
        None => None,
        Some(m) => {
            let m = additive("attn_mask", m, query.dtype())?;
            Some(if m.rank() == 2 { m.unsqueeze(0)? } else { m })
        }
    };
    let mut padding =
        o.key_padding_mask.map(|m| additive("key_padding_mask", m, query.dtype())).transpose().here()?;
    let [q, mut k, mut v] = projected(query, key, value, o)?;
    let mut more = |k: &mut Tensor, v: &mut Tensor, pair: [&Tensor; 2], axis: i64| -> Result<()> {
        *k = Tensor::cat(&[k, pair[0]], axis)?;
        *v = Tensor::cat(&[v, pair[1]], axis)?;
        s += 1;
        for mask in [&mut mask, &mut padding].into_iter().flatten() {
            *mask = mask.constant_pad_nd(&[0, 1], 0.0)?;
        }
        Ok(())
    };
    if let Some([bias_k, bias_v]) = o.bias_kv {
        let sizes = [1, batch as i64, embed as i64];
        let pair = [bias_k.expand(sizes)?, bias_v.expand(sizes)?];
        more(&mut k, &mut v, pair.each_ref(), 0).here()?;
    }
    let side_by_side =
        |t: &Tensor| t.reshape([t.shape()[0] as i64, (batch * heads) as i64, width as i64])?.transpose(0, 1);
    let q = side_by_side(&q).here()?;
    let (mut k, mut v) = (side_by_side(&k).here()?, side_by_side(&v).here()?);
    if o.add_zero_attn {
        let zeros = k.new_zeros([batch * heads, 1, width]);
        more(&mut k, &mut v, [&zeros, &zeros], 1).here()?;
    }
    if let Some(padding) = padding {
        let sizes = [batch as i64, heads as i64, 1, s as i64];
        let padding = padding.reshape([batch as i64, 1, 1, s as i64])?.expand(sizes)?;
        let padding = padding.reshape([(batch * heads) as i64, 1, s as i64])?;
        mask = Some(match mask {
            Some(mask) => mask.add(&padding)?,
            None => padding,
        });
    }
    let dropout = if o.training { o.dropout } else { 0.0 };
    let back = |y: &Tensor| {
        let y = y.transpose(0, 1)?.reshape([(l * batch) as i64, embed as i64])?;
        y.linear(o.out_proj_weight, o.out_proj_bias)?.reshape([l as i64, batch as i64, -1])
    };
    if o.need_weights {
        let mut scores = q.mul((1.0 / width as f64).sqrt())?.bmm(&k.transpose(-2, -1)?)?;
        if let Some(mask) = &mask {
            scores = scores.add(&mask.to_dtype(scores.dtype())?)?;
        }
        let weights = scores.softmax(-1)?.dropout(dropout, true)?;
        let y = back(&weights.bmm(&v)?).here()?;
        let weights = weights.reshape([batch as i64, heads as i64, l as i64, s as i64])?;
        let weights = if o.average_attn_weights { weights.mean_axes(&[1], false)? } else { weights };
        return Ok((y, Some(weights)));
    }
    let apart = |t: &Tensor| t.reshape([batch as i64, heads as i64, t.shape()[1] as i64, width as i64]);
    let mask = match mask {
        Some(m) if m.shape()[0] == 1 => Some(m.unsqueeze(0)?),
        Some(m) => Some(m.reshape([batch as i64, heads as i64, -1, s as i64])?),
        None => None,
    };
    let options = AttentionOptions {
        mask: mask.as_ref(),
        dropout,
        is_causal: plain_causal,
        ..AttentionOptions::default()
    };
    let y =
        apart(&q).here()?.scaled_dot_product_attention(&apart(&k).here()?, &apart(&v).here()?, &options)?;
    Ok((back(&y.reshape([(batch * heads) as i64, l as i64, width as i64])?).here()?, None))
}
