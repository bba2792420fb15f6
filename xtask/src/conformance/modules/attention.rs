//! Attention and transformers.

use kiln_autograd::Tensor;
use kiln_nn::{
    DecoderCall, EncoderCall, LayerNorm, MultiheadAttention, MultiheadCall, Transformer, TransformerCall,
    TransformerDecoder, TransformerDecoderLayer, TransformerEncoder, TransformerEncoderLayer,
};

use super::call::Call;
use super::layer::{Layer, with};
use crate::conformance::args::{Answer, Out, Stop, missing};
use crate::vectors::Arg;

fn multihead(a: &Call<'_>) -> Answer<MultiheadAttention> {
    let mut layer = MultiheadAttention::new(a.size(0, "embed_dim")?, a.size(1, "num_heads")?)
        .dropout(a.float_or(2, "dropout", 0.0)?)
        .bias(a.bool_or(3, "bias", true)?)
        .add_bias_kv(a.bool_or(4, "add_bias_kv", false)?)
        .add_zero_attn(a.bool_or(5, "add_zero_attn", false)?)
        .batch_first(a.bool_or(8, "batch_first", false)?);
    if a.opt_int(6, "kdim")?.is_some() {
        layer = layer.kdim(a.size(6, "kdim")?);
    }
    if a.opt_int(7, "vdim")?.is_some() {
        layer = layer.vdim(a.size(7, "vdim")?);
    }
    layer.check()?;
    Ok(layer)
}

/// The settings of a transformer's layers, of which `dim_feedforward` stands at `$first`.
macro_rules! settings {
    ($layer:expr, $a:expr, $first:literal) => {
        $layer
            .dim_feedforward($a.size_or($first, "dim_feedforward", 2048)?)
            .dropout($a.float_or($first + 1, "dropout", 0.1)?)
            .activation($a.str_or($first + 2, "activation", "relu")?)
    };
}

/// The settings after those, up to whether there are biases.
macro_rules! more_settings {
    ($layer:expr, $a:expr, $first:literal) => {
        $layer
            .layer_norm_eps($a.float_or($first, "layer_norm_eps", 1e-5)?)
            .batch_first($a.bool_or($first + 1, "batch_first", false)?)
            .norm_first($a.bool_or($first + 2, "norm_first", false)?)
            .bias($a.bool_or($first + 3, "bias", true)?)
    };
}

fn encoder_layer(a: &Call<'_>) -> Answer<TransformerEncoderLayer> {
    let layer = TransformerEncoderLayer::new(a.size(0, "d_model")?, a.size(1, "nhead")?);
    let layer = more_settings!(settings!(layer, a, 2), a, 5);
    layer.check()?;
    Ok(layer)
}

fn decoder_layer(a: &Call<'_>) -> Answer<TransformerDecoderLayer> {
    let layer = TransformerDecoderLayer::new(a.size(0, "d_model")?, a.size(1, "nhead")?);
    let layer = more_settings!(settings!(layer, a, 2), a, 5);
    layer.check()?;
    Ok(layer)
}

/// The nested layer at `position`, which `build` makes.
fn nested<T>(
    a: &Call<'_>,
    position: usize,
    name: &str,
    build: fn(&Call<'_>) -> Answer<T>,
) -> Answer<Option<T>> {
    a.nested(position, name).map(|(_, setup)| setup.with(build)).transpose()
}

fn norm(a: &Call<'_>) -> Answer<LayerNorm> {
    let shape = a.ints(0, "normalized_shape")?;
    let shape: Vec<usize> = shape.into_iter().map(|n| n as usize).collect();
    let layer = LayerNorm::new(&shape[..])
        .eps(a.float_or(1, "eps", 1e-5)?)
        .elementwise_affine(a.bool_or(2, "elementwise_affine", true)?)
        .bias(a.bool_or(3, "bias", true)?);
    layer.check()?;
    Ok(layer)
}

fn encoder(given: &Call<'_>, mask: &str) -> Answer<(Tensor, [Option<Tensor>; 2], bool)> {
    let masks = [given.opt_tensor(1, mask)?, given.opt_tensor(2, "src_key_padding_mask")?];
    Ok((given.tensor(0, "src")?, masks, hint(given, 3, "is_causal")?))
}

/// A hint, which may be absent or None.
fn hint(given: &Call<'_>, position: usize, name: &str) -> Answer<bool> {
    match given.get(position, name) {
        Some(Arg::None) => Ok(false),
        _ => given.bool_or(position, name, false),
    }
}

/// Target, memory and the call of a decoder or one of its layers.
fn decode(
    given: &Call<'_>,
    run: impl FnOnce(&Tensor, &Tensor, &DecoderCall<'_>) -> kiln_autograd::Result<Tensor>,
) -> Answer<Tensor> {
    let (tgt_mask, memory_mask) = (given.opt_tensor(2, "tgt_mask")?, given.opt_tensor(3, "memory_mask")?);
    let tgt_padding = given.opt_tensor(4, "tgt_key_padding_mask")?;
    let memory_padding = given.opt_tensor(5, "memory_key_padding_mask")?;
    let call = DecoderCall {
        tgt_mask: tgt_mask.as_ref(),
        memory_mask: memory_mask.as_ref(),
        tgt_key_padding_mask: tgt_padding.as_ref(),
        memory_key_padding_mask: memory_padding.as_ref(),
        tgt_is_causal: hint(given, 6, "tgt_is_causal")?,
        memory_is_causal: hint(given, 7, "memory_is_causal")?,
    };
    Ok(run(&given.tensor(0, "tgt")?, &given.tensor(1, "memory")?, &call)?)
}

fn transform(m: &Transformer, given: &Call<'_>) -> Answer<Tensor> {
    let masks = [
        given.opt_tensor(2, "src_mask")?,
        given.opt_tensor(3, "tgt_mask")?,
        given.opt_tensor(4, "memory_mask")?,
        given.opt_tensor(5, "src_key_padding_mask")?,
        given.opt_tensor(6, "tgt_key_padding_mask")?,
        given.opt_tensor(7, "memory_key_padding_mask")?,
    ];
    let [src_mask, tgt_mask, memory_mask, src_padding, tgt_padding, memory_padding] = masks.each_ref();
    let call = TransformerCall {
        src_mask: src_mask.as_ref(),
        tgt_mask: tgt_mask.as_ref(),
        memory_mask: memory_mask.as_ref(),
        src_key_padding_mask: src_padding.as_ref(),
        tgt_key_padding_mask: tgt_padding.as_ref(),
        memory_key_padding_mask: memory_padding.as_ref(),
        src_is_causal: hint(given, 8, "src_is_causal")?,
        tgt_is_causal: hint(given, 9, "tgt_is_causal")?,
        memory_is_causal: hint(given, 10, "memory_is_causal")?,
    };
    Ok(m.forward_with(&given.tensor(0, "src")?, &given.tensor(1, "tgt")?, &call)?)
}

/// The classes of this family.
pub fn build(name: &str, a: &Call<'_>) -> Answer<Layer> {
    match name {
        "MultiheadAttention" => with(multihead(a)?, |m: &MultiheadAttention, given| {
            let (q, k, v) = (given.tensor(0, "query")?, given.tensor(1, "key")?, given.tensor(2, "value")?);
            let (padding, mask) =
                (given.opt_tensor(3, "key_padding_mask")?, given.opt_tensor(5, "attn_mask")?);
            let call = MultiheadCall {
                key_padding_mask: padding.as_ref(),
                need_weights: given.bool_or(4, "need_weights", true)?,
                attn_mask: mask.as_ref(),
                average_attn_weights: given.bool_or(6, "average_attn_weights", true)?,
                is_causal: given.bool_or(7, "is_causal", false)?,
            };
            let (y, weights) = m.forward_with(&q, &k, &v, &call)?;
            Ok(Out::List(vec![y.into(), weights.map_or(Out::Plain(Arg::None), Out::Tensor)]))
        }),
        "TransformerEncoderLayer" => with(encoder_layer(a)?, |m: &TransformerEncoderLayer, given| {
            let (src, masks, is_causal) = encoder(given, "src_mask")?;
            let [mask, src_key_padding_mask] = masks.each_ref().map(Option::as_ref);
            Ok(m.forward_with(&src, &EncoderCall { mask, src_key_padding_mask, is_causal })?)
        }),
        "TransformerEncoder" => {
            let Some(layer) = nested(a, 0, "encoder_layer", encoder_layer)? else {
                return missing("an encoder without a layer");
            };
            let mut encoders = TransformerEncoder::new(layer, a.size(1, "num_layers")?);
            if let Some(norm) = nested(a, 2, "norm", norm)? {
                encoders = encoders.norm(norm);
            }
            // How padding is stored while nothing is learned; the result is the same.
            a.bool_or(3, "enable_nested_tensor", true)?;
            a.bool_or(4, "mask_check", true)?;
            with(encoders, |m: &TransformerEncoder, given| {
                let (src, masks, is_causal) = encoder(given, "mask")?;
                let [mask, src_key_padding_mask] = masks.each_ref().map(Option::as_ref);
                Ok(m.forward_with(&src, &EncoderCall { mask, src_key_padding_mask, is_causal })?)
            })
        }
        "TransformerDecoderLayer" => with(decoder_layer(a)?, |m: &TransformerDecoderLayer, given| {
            decode(given, |tgt, memory, call| m.forward_with(tgt, memory, call))
        }),
        "TransformerDecoder" => {
            let Some(layer) = nested(a, 0, "decoder_layer", decoder_layer)? else {
                return missing("a decoder without a layer");
            };
            let mut decoders = TransformerDecoder::new(layer, a.size(1, "num_layers")?);
            if let Some(norm) = nested(a, 2, "norm", norm)? {
                decoders = decoders.norm(norm);
            }
            with(decoders, |m: &TransformerDecoder, given| {
                decode(given, |tgt, memory, call| m.forward_with(tgt, memory, call))
            })
        }
        "Transformer" => {
            let model = Transformer::new(a.size_or(0, "d_model", 512)?, a.size_or(1, "nhead", 8)?)
                .num_encoder_layers(a.size_or(2, "num_encoder_layers", 6)?)
                .num_decoder_layers(a.size_or(3, "num_decoder_layers", 6)?);
            let model = settings!(model, a, 4);
            if a.nested(7, "custom_encoder").is_some() || a.nested(8, "custom_decoder").is_some() {
                return missing("transformers of other parts");
            }
            let model = more_settings!(model, a, 9);
            model.check()?;
            with(model, transform)
        }
        _ => Err(Stop::NoRow),
    }
}
