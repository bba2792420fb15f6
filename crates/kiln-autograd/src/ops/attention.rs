//! Scaled dot product attention. Vaswani et al., "Attention Is All You Need" (2017).

use kiln_ops::DType;

use crate::ops::attention_at_once;
use crate::{Error, Here, Result, Tensor, autocast};

/// The options of [`Tensor::scaled_dot_product_attention`]; the default is PyTorch's: every query sees every key.
#[derive(Clone, Copy, Default)]
pub struct AttentionOptions<'a> {
    /// Broadcasts to `[.., queries, keys]`: true where a query sees a key, or what is added to the scores.
    pub mask: Option<&'a Tensor>,
    /// The probability with which a weight is dropped.
    pub dropout: f64,
    /// Query `i` sees the keys up to `i`.
    pub is_causal: bool,
    /// What scores are multiplied by, `1 / sqrt(width)` if `None`.
    pub scale: Option<f64>,
    /// Groups of query heads share a head of keys and values: axis -3 is repeated for them.
    pub enable_gqa: bool,
}

const OP: &str = "scaled_dot_product_attention";

impl Tensor {
    /// `softmax(Q K^T scale + mask) V`, where this tensor is `Q`
    /// (`torch.nn.functional.scaled_dot_product_attention`). A query that sees no key gets zeros.
    ///
    /// Shapes: queries `[.., l, e]`, keys `[.., s, e]`, values `[.., s, v]` give `[.., l, v]`.
    ///
    /// ```
    /// use kiln_autograd::{AttentionOptions, Tensor};
    /// let (q, k) = (Tensor::zeros([1, 2, 4]), Tensor::ones([1, 2, 4]));
    /// let v = Tensor::from_vec(vec![1.0f32, 3.0], [1, 2, 1])?;
    /// let causal = AttentionOptions { is_causal: true, ..AttentionOptions::default() };
    /// assert_eq!(q.scaled_dot_product_attention(&k, &v, &causal)?.to_vec::<f32>()?, [1.0, 2.0]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Shapes or dtypes that do not fit; a mask that is neither bool nor of the queries' dtype, or that comes with
    /// `is_causal`; a dropout outside of 0..=1.
    #[track_caller]
    pub fn scaled_dot_product_attention(
        &self,
        key: &Tensor,
        value: &Tensor,
        options: &AttentionOptions<'_>,
    ) -> Result<Tensor> {
        if let Some(cast) = autocast::lower() {
            let mask = cast.opt(options.mask)?;
            let options = AttentionOptions { mask: mask.as_ref(), ..*options };
            return cast.of(self)?.scaled_dot_product_attention(&cast.of(key)?, &cast.of(value)?, &options);
        }
        check(self, key, value, options)?;
        let half = matches!(self.dtype(), DType::F16 | DType::BF16);
        let wide = |t: &Tensor| if half { t.to_dtype(DType::F32) } else { Ok(t.clone()) };
        let (query, mut key, mut value) = (wide(self).here()?, wide(key).here()?, wide(value).here()?);
        if options.enable_gqa {
            key = shared_by_group("key", &query, &key)?;
            value = shared_by_group("value", &query, &value)?;
        }
        let scale = options.scale.unwrap_or_else(|| 1.0 / (self.shape()[self.rank() - 1] as f64).sqrt());
        let mask = match options.mask {
            Some(mask) if mask.dtype().is_float() => Some(wide(mask).here()?),
            mask => mask.cloned(),
        };
        let y = if attention_at_once::suits(options) {
            attention_at_once::at_once(&query, &key, &value, mask.as_ref(), options.is_causal, scale)?
        } else {
            whole(&query, &key, &value, mask.as_ref(), options.is_causal, scale, options.dropout)?
        };
        if half { y.to_dtype(self.dtype()) } else { Ok(y) }
    }
}

/// The scores under a mask, and which queries see no key, if there are such: their scores are zeros, so that softmax and its
/// derivative stay free of NaN.
#[track_caller]
fn masked(scores: Tensor, mask: &Tensor) -> Result<(Tensor, Option<Tensor>)> {
    let scores = match mask.dtype() {
        DType::Bool => scores.masked_fill(&mask.logical_not()?, f64::NEG_INFINITY)?,
        _ => scores.add(mask)?,
    };
    let blind = scores.detach().eq(f64::NEG_INFINITY)?.all_axes(&[-1], true)?;
    if blind.any()?.to_f64()? == 0.0 {
        return Ok((scores, None));
    }
    Ok((scores.masked_fill(&blind, 0.0)?, Some(blind)))
}

/// Attention in one piece: the specification.
#[track_caller]
pub(super) fn whole(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    mask: Option<&Tensor>,
    is_causal: bool,
    scale: f64,
    dropout: f64,
) -> Result<Tensor> {
    let mut scores = query.mul(scale)?.matmul(&key.transpose(-2, -1)?)?;
    let mut blind = None;
    if is_causal {
        let (l, s) = (scores.size(-2)?, scores.size(-1)?);
        let later = Tensor::ones_with([l, s], (DType::Bool, query.device())).triu(1)?;
        scores = scores.masked_fill(&later, f64::NEG_INFINITY)?;
    } else if let Some(mask) = mask {
        (scores, blind) = masked(scores, mask)?;
    }
    let mut weights = scores.softmax(-1)?;
    if let Some(blind) = blind {
        weights = weights.masked_fill(&blind, 0.0)?;
    }
    weights.dropout(dropout, true)?.matmul(value)
}

#[track_caller]
fn check(query: &Tensor, key: &Tensor, value: &Tensor, options: &AttentionOptions<'_>) -> Result<()> {
    let all = [query, key, value];
    if all.iter().any(|t| t.rank() < 2) {
        return Err(Error::shape(
            OP,
            format!("query, key and value need at least 2 dimensions, got {:?}", all.map(|t| t.dims())),
        ));
    }
    if !query.dtype().is_float() || all.iter().any(|t| t.dtype() != query.dtype()) {
        return Err(Error::dtype(
            OP,
            format!(
                "Expected query, key, and value to have the same floating point dtype, but got {:?}",
                all.map(|t| t.dtype())
            ),
        ));
    }
    if !(0.0..=1.0).contains(&options.dropout) {
        return Err(Error::value(
            OP,
            format!("dropout probability has to be between 0 and 1, but got {}", options.dropout),
        ));
    }
    if let Some(mask) = options.mask {
        if options.is_causal {
            return Err(Error::value(OP, "Explicit attn_mask should not be set when is_causal=True"));
        }
        if mask.dtype() != DType::Bool && mask.dtype() != query.dtype() {
            return Err(Error::dtype(
                OP,
                format!(
                    "Expected attn_mask dtype to be bool or to match query dtype, but got {} and {}",
                    mask.dtype(),
                    query.dtype()
                ),
            ));
        }
    }
    Ok(())
}

/// Heads repeated for the groups of query heads that share them.
#[track_caller]
fn shared_by_group(name: &str, query: &Tensor, heads: &Tensor) -> Result<Tensor> {
    if query.rank() < 3 || heads.rank() < 3 {
        return Err(Error::shape(
            OP,
            format!("groups of heads need an axis of heads, got {:?} and {:?}", query.shape(), heads.shape()),
        ));
    }
    let (all, own) = (query.size(-3)?, heads.size(-3)?);
    if own == 0 || all % own != 0 {
        return Err(Error::shape(
            OP,
            format!(
                "Number of heads in {name} must divide the number of heads in query, got {own} and {all}"
            ),
        ));
    }
    if own == all { Ok(heads.clone()) } else { heads.repeat_interleave((all / own) as i64, -3) }
}
