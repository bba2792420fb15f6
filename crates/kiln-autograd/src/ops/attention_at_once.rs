//! Attention as one node: by a kernel that never holds all scores at once, neither in the forward pass nor, computed anew,
//! in the backward pass.

use kiln_ops::attention::{Attention, attention, attention_backward};

use crate::grad_mode::{is_tracked, no_grad};
use crate::ops::attention::{AttentionOptions, whole};
use crate::record::{Saved, record_joint};
use crate::{BOOL, Error, Here, Result, Tensor, func};

/// Whether the kernel has what these options ask for.
pub(super) fn suits(options: &AttentionOptions<'_>) -> bool {
    options.dropout == 0.0 && options.mask.is_none_or(|m| !Tensor::any_requires_grad(&[m]))
}

/// Attention of operands of one dtype, whose heads are as many.
#[track_caller]
pub(super) fn at_once(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    mask: Option<&Tensor>,
    causal: bool,
    scale: f64,
) -> Result<Tensor> {
    // What is added to the scores; PyTorch turns masks of bools into numbers, too.
    let added = match mask {
        Some(mask) if mask.dtype() == BOOL => Some(
            no_grad(|| {
                let zeros = Tensor::zeros_with(mask.dims(), (query.dtype(), query.device()));
                zeros.masked_fill(&mask.logical_not()?, f64::NEG_INFINITY)
            })
            .here()?,
        ),
        mask => mask.cloned(),
    };
    let a = Attention { causal, scale };
    let inputs = [query, key, value];
    let of = |t: &Tensor| t.raw().clone();
    let added = added.as_ref();
    let raw = attention(&a, &of(query), &of(key), &of(value), added.map(of).as_ref()).here()?;
    let mut outputs =
        record_joint("ScaledDotProductFlashAttentionForCpuBackward0", vec![raw], &inputs, || {
            let saved = inputs.map(Tensor::save);
            let mask = added.map(Tensor::save);
            Box::new(move |g, wants| {
                let [query, key, value] = [saved[0].get()?, saved[1].get()?, saved[2].get()?];
                let mask = mask.as_ref().map(Saved::get).transpose()?;
                let Some(g) = &g[0] else { return Ok(vec![None; 3]) };
                if is_tracked() {
                    // To be differentiated again: the form in one piece.
                    let inputs = [query, key, value];
                    return func::tracked_gradients(&inputs, wants, &[Some(g.clone())], |inputs| {
                        let [q, k, v] = [0, 1, 2].map(|i| &inputs[i]);
                        Ok(vec![whole(q, k, v, mask.as_ref(), causal, scale, 0.0)?])
                    });
                }
                let [q, k, v] = [&query, &key, &value].map(of);
                let found =
                    attention_backward(&a, [&q, &k, &v], mask.as_ref().map(of).as_ref(), &of(g)).here()?;
                Ok(found.map(|t| Some(Tensor::from_raw(t))).into())
            })
        });
    outputs.pop().ok_or_else(|| Error::value("scaled_dot_product_attention", "no result")).here()
}
