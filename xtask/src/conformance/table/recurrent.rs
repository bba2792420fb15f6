//! Whole recurrent layers, attention, bags of embeddings.

use kiln_autograd::{
    AttentionOptions, BagMode, EmbeddingBagOptions, Error, InProjection, MultiheadOptions, RecurrentOptions,
    Tensor,
};

use crate::conformance::args::{Answer, Args, Out, Stop, missing};

/// The layer's options, and the weights.
fn layer<'a>(a: &Args<'_>) -> Answer<(RecurrentOptions<'a>, Vec<Tensor>)> {
    let options = RecurrentOptions {
        bias: a.bool_or(3, "has_biases", true)?,
        num_layers: a.size(4, "num_layers")?,
        dropout: a.float_or(5, "dropout", 0.0)?,
        training: a.bool_or(6, "train", false)?,
        bidirectional: a.bool_or(7, "bidirectional", false)?,
        batch_first: a.bool_or(8, "batch_first", false)?,
        batch_sizes: None,
    };
    Ok((options, a.tensors(2, "params")?))
}

fn embedding_bag(a: &Args<'_>) -> Answer<Out> {
    let (indices, table) = (a.tensor(0, "input")?, a.tensor(1, "weight")?);
    let offsets = a.opt_tensor(2, "offsets")?;
    let (max_norm, norm_type) = (a.opt_float(3, "max_norm")?, a.float_or(4, "norm_type", 2.0)?);
    let scale_grad_by_freq = a.bool_or(5, "scale_grad_by_freq", false)?;
    let mode = match a.str_or(6, "mode", "mean")? {
        "sum" => BagMode::Sum,
        "mean" => BagMode::Mean,
        "max" => BagMode::Max,
        other => {
            return Err(Error::value(
                "embedding_bag",
                format!("mode has to be one of sum, mean or max, got {other}"),
            )
            .into());
        }
    };
    if a.bool_or(7, "sparse", false)? {
        return missing("sparse gradients");
    }
    let weights = a.opt_tensor(8, "per_sample_weights")?;
    let options = EmbeddingBagOptions {
        offsets: offsets.as_ref(),
        mode,
        per_sample_weights: weights.as_ref(),
        include_last_offset: a.bool_or(9, "include_last_offset", false)?,
        padding_idx: a.opt_int(10, "padding_idx")?,
        scale_grad_by_freq,
    };
    if let Some(max_norm) = max_norm {
        table.embedding_renorm_(&indices, max_norm, norm_type)?;
    }
    Ok(table.embedding_bag(&indices, &options)?.into())
}

fn multi_head(a: &Args<'_>) -> Answer<Out> {
    let (query, key, value) = (a.tensor(0, "query")?, a.tensor(1, "key")?, a.tensor(2, "value")?);
    let embed = a.size(3, "embed_dim_to_check")?;
    if query.size(-1)? != embed {
        let what = format!("was expecting embedding dimension of {embed}, but got {:?}", query.dims());
        return Err(Error::shape("multi_head_attention_forward", what).into());
    }
    let packed = a.opt_tensor(5, "in_proj_weight")?;
    let (in_bias, bias_k, bias_v) =
        (a.opt_tensor(6, "in_proj_bias")?, a.opt_tensor(7, "bias_k")?, a.opt_tensor(8, "bias_v")?);
    let (out_weight, out_bias) = (a.tensor(11, "out_proj_weight")?, a.opt_tensor(12, "out_proj_bias")?);
    let own = [
        a.opt_tensor(18, "q_proj_weight")?,
        a.opt_tensor(19, "k_proj_weight")?,
        a.opt_tensor(20, "v_proj_weight")?,
    ];
    let in_proj = match (a.bool_or(17, "use_separate_proj_weight", false)?, &packed, &own) {
        (false, Some(w), _) => InProjection::Packed(w),
        (true, _, [Some(q), Some(k), Some(v)]) => InProjection::Separate([q, k, v]),
        _ => return missing("projections without weights"),
    };
    if a.opt_tensor(21, "static_k")?.is_some() || a.opt_tensor(22, "static_v")?.is_some() {
        return missing("keys and values that are projected already");
    }
    let (padding, mask) = (a.opt_tensor(14, "key_padding_mask")?, a.opt_tensor(16, "attn_mask")?);
    let options = MultiheadOptions {
        in_proj_bias: in_bias.as_ref(),
        out_proj_bias: out_bias.as_ref(),
        bias_kv: bias_k.as_ref().zip(bias_v.as_ref()).map(|(k, v)| [k, v]),
        add_zero_attn: a.bool_or(9, "add_zero_attn", false)?,
        dropout: a.float_or(10, "dropout_p", 0.0)?,
        training: a.bool_or(13, "training", true)?,
        key_padding_mask: padding.as_ref(),
        attn_mask: mask.as_ref(),
        need_weights: a.bool_or(15, "need_weights", true)?,
        average_attn_weights: a.bool_or(23, "average_attn_weights", true)?,
        is_causal: a.bool_or(24, "is_causal", false)?,
        ..MultiheadOptions::new(a.size(4, "num_heads")?, in_proj, &out_weight)
    };
    let (y, weights) = query.multi_head_attention(&key, &value, &options)?;
    let weights = weights.map_or(Out::Plain(crate::vectors::Arg::None), Out::Tensor);
    Ok(Out::List(vec![y.into(), weights]))
}

/// The operators of this family.
pub fn call(name: &str, a: &Args<'_>) -> Answer<Out> {
    Ok(match name {
        "lstm" => {
            let (options, weights) = layer(a)?;
            let state = a.tensors(1, "hx")?;
            let [h, c] = state.as_slice() else { return missing("a state of other than two tensors") };
            let weights: Vec<&Tensor> = weights.iter().collect();
            let (y, h, c) = a.x()?.lstm((h, c), &weights, &options)?;
            Out::List(vec![y.into(), h.into(), c.into()])
        }
        "gru" | "rnn_tanh" | "rnn_relu" => {
            let (options, weights) = layer(a)?;
            let weights: Vec<&Tensor> = weights.iter().collect();
            let run = match name {
                "gru" => Tensor::gru,
                "rnn_tanh" => Tensor::rnn_tanh,
                _ => Tensor::rnn_relu,
            };
            run(&a.x()?, &a.tensor(1, "hx")?, &weights, &options)?.into()
        }
        "nn.functional.embedding_bag" => embedding_bag(a)?,
        "nn.functional.multi_head_attention_forward" => multi_head(a)?,
        "nn.functional.scaled_dot_product_attention" => {
            let (q, k, v) = (a.tensor(0, "query")?, a.tensor(1, "key")?, a.tensor(2, "value")?);
            let mask = a.opt_tensor(3, "attn_mask")?;
            let options = AttentionOptions {
                mask: mask.as_ref(),
                dropout: a.float_or(4, "dropout_p", 0.0)?,
                is_causal: a.bool_or(5, "is_causal", false)?,
                scale: a.opt_float(6, "scale")?,
                enable_gqa: a.bool_or(7, "enable_gqa", false)?,
            };
            q.scaled_dot_product_attention(&k, &v, &options)?.into()
        }
        _ => return Err(Stop::NoRow),
    })
}
