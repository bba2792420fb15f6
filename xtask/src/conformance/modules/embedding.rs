//! Vectors by number, one by one and in bags.

use kiln_autograd::Error;
use kiln_nn::{BagMode, Embedding, EmbeddingBag};

use super::call::Call;
use super::layer::{Layer, unary, with};
use crate::conformance::args::{Answer, Stop, missing};

/// The classes of this family.
pub fn build(name: &str, a: &Call<'_>) -> Answer<Layer> {
    if name != "Embedding" && name != "EmbeddingBag" {
        return Err(Stop::NoRow);
    }
    let sizes = (a.size(0, "num_embeddings")?, a.size(1, "embedding_dim")?);
    if name == "Embedding" {
        let mut layer = Embedding::new(sizes.0, sizes.1);
        if let Some(row) = a.opt_int(2, "padding_idx")? {
            layer = layer.padding_idx(row);
        }
        if let Some(norm) = a.opt_float(3, "max_norm")? {
            layer = layer.max_norm(norm);
        }
        layer = layer.norm_type(a.float_or(4, "norm_type", 2.0)?);
        layer = layer.scale_grad_by_freq(a.bool_or(5, "scale_grad_by_freq", false)?);
        if a.bool_or(6, "sparse", false)? {
            return missing("sparse gradients");
        }
        layer.check()?;
        return unary(layer);
    }
    let mut layer = EmbeddingBag::new(sizes.0, sizes.1);
    if let Some(norm) = a.opt_float(2, "max_norm")? {
        layer = layer.max_norm(norm);
    }
    layer = layer.norm_type(a.float_or(3, "norm_type", 2.0)?);
    layer = layer.scale_grad_by_freq(a.bool_or(4, "scale_grad_by_freq", false)?);
    layer = match a.str_or(5, "mode", "mean")? {
        "sum" => layer.mode(BagMode::Sum),
        "mean" => layer.mode(BagMode::Mean),
        "max" => layer.mode(BagMode::Max),
        other => return Err(Error::value("EmbeddingBag", format!("no mode {other:?}")).into()),
    };
    if a.bool_or(6, "sparse", false)? {
        return missing("sparse gradients");
    }
    layer = layer.include_last_offset(a.bool_or(8, "include_last_offset", false)?);
    if let Some(row) = a.opt_int(9, "padding_idx")? {
        layer = layer.padding_idx(row);
    }
    layer.check()?;
    with(layer, |m: &EmbeddingBag, given| {
        let (offsets, weights) =
            (given.opt_tensor(1, "offsets")?, given.opt_tensor(2, "per_sample_weights")?);
        Ok(m.forward_bags(&given.tensor(0, "input")?, offsets.as_ref(), weights.as_ref())?)
    })
}
