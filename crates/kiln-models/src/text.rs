//! What the networks on text share: how they start, attention over heads, and the names of published weights.

use kiln_nn::kiln_autograd::AttentionOptions;
use kiln_nn::{Embedding, Error, Here, Linear, Module, Result, StateDict, Tensor, init};

/// Draws the parameters of a linear layer or an embedding again: normal, and biases zero.
#[track_caller]
pub(crate) fn draw(module: &dyn Module, std: f64) -> Result<()> {
    if let Some(linear) = module.downcast_ref::<Linear>() {
        init::normal_(&linear.weight, 0.0, std)?;
        linear.bias.as_deref().map_or(Ok(()), init::zeros_)?;
    } else if let Some(embedding) = module.downcast_ref::<Embedding>() {
        init::normal_(&embedding.weight, 0.0, std)?;
    }
    Ok(())
}

/// Refuses a width that the heads cannot share.
#[track_caller]
pub(crate) fn check_heads(op: &'static str, width: usize, heads: usize) -> Result<()> {
    if heads == 0 || width == 0 || !width.is_multiple_of(heads) {
        return Err(Error::value(
            op,
            format!("a width of {width} cannot be shared by {heads} attention heads"),
        ));
    }
    Ok(())
}

/// The number of texts and their length, if they fit.
#[track_caller]
pub(crate) fn check_ids(op: &'static str, ids: &Tensor, positions: usize) -> Result<[usize; 2]> {
    match ids.dims()[..] {
        [n, length] if length <= positions => Ok([n, length]),
        [_, length] => Err(Error::value(
            op,
            format!("texts of {length} tokens are longer than the {positions} positions of the model"),
        )),
        _ => Err(Error::shape(op, format!("expects tokens [n, length], got shape {:?}", ids.shape()))),
    }
}

/// Attention of several heads: queries, keys and values `[n, length, width]` give `[n, length, width]`.
#[track_caller]
pub(crate) fn attend(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    heads: usize,
    options: &AttentionOptions<'_>,
) -> Result<Tensor> {
    let split = |t: &Tensor| {
        let (n, length, width) = (t.size(0)?, t.size(1)?, t.size(2)?);
        t.reshape([n, length, heads, width / heads])?.transpose(1, 2)
    };
    let joined = split(query).here()?.scaled_dot_product_attention(
        &split(key).here()?,
        &split(value).here()?,
        options,
    )?;
    joined.transpose(1, 2)?.flatten(2, 3)
}

/// A state dict with every entry under the name that `rename` has for it, without those that it has none for.
pub(crate) fn renamed(state: &StateDict, rename: impl Fn(&str) -> Option<String>) -> StateDict {
    state.iter().filter_map(|(name, tensor)| Some((rename(name)?, tensor.clone()))).collect()
}
