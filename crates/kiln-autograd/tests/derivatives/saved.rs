//! What graphs keep alive, held against the tensors that PyTorch's nodes show as `_saved_*`.

use kiln_autograd::{BackwardOptions, Result, Tensor, backward};

use super::rows::Row;

/// Methods whose derivative needs neither the operands nor the result.
pub const NOTHING: &[&str] = &[
    "add",
    "add_scaled",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "alpha_dropout",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "block_diag",
    "cartesian_prod",
    "cat",
    "ceil",
    "channel_dropout",
    "channel_shuffle",
    "chunk",
    "col2im",
    "column_stack",
    "combinations",
    "constant_pad_nd",
    "copy",
    "cumsum",
    "cumulative_trapezoid",
    "deg2rad",
    "diag",
    "diag_embed",
    "diagflat",
    "diagonal",
    "diagonal_scatter",
    "diff",
    "dropout",
    "dstack",
    "embedding",
    "expand",
    "expand_as",
    "flatten",
    "flip",
    "fliplr",
    "flipud",
    "floor",
    "floor_divide",
    "frac",
    "frexp",
    "gradient",
    "hsplit",
    "hstack",
    "im2col",
    "index",
    "index_add",
    "index_copy",
    "index_fill",
    "index_put",
    "index_select",
    "interpolate",
    "kthvalue",
    "masked_fill",
    "masked_scatter",
    "masked_select",
    "max_axis",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool2d",
    "mean",
    "mean_axes",
    "median_axis",
    "meshgrid",
    "min_axis",
    "mode",
    "movedim",
    "msort",
    "narrow",
    "neg",
    "pad",
    "permute",
    "pixel_shuffle",
    "pixel_unshuffle",
    "put",
    "rad2deg",
    "repeat",
    "repeat_interleave",
    "reshape",
    "roll",
    "rot90",
    "round",
    "rsub",
    "rsub_scaled",
    "scatter",
    "scatter_add",
    "select",
    "select_scatter",
    "sign",
    "slice",
    "slice_scatter",
    "sort",
    "split",
    "split_with_sizes",
    "squeeze",
    "stack",
    "sub",
    "sub_scaled",
    "sum",
    "sum_axes",
    "sum_to_size",
    "swapaxes",
    "t",
    "take",
    "take_along_dim",
    "tensor_split",
    "tile",
    "topk",
    "trace",
    "transpose",
    "trapezoid",
    "tril",
    "triu",
    "trunc",
    "trunc_divide",
    "unbind",
    "unflatten",
    "unfold",
    "unsqueeze",
    "view",
    "vsplit",
    "vstack",
    "where_self",
];

/// Methods whose derivative needs the result and no operand.
pub const RESULT: &[&str] = &[
    "exp",
    "exp2",
    "expm1",
    "gumbel_softmax",
    "inverse",
    "inv_ex",
    "log_softmax",
    "lu",
    "lu_factor",
    "lu_factor_ex",
    "ndtri",
    "reciprocal",
    "relu",
    "rsqrt",
    "sigmoid",
    "softmax",
    "softmin",
    "sqrt",
    "tan",
    "tanh",
];

/// Operands that nothing but the row's graph can hold: results of an operation that holds nothing.
fn operands(row: &Row) -> Result<Vec<Tensor>> {
    row.inputs().iter().map(|t| t.copy()).collect()
}

fn sharers(tensors: &[Tensor]) -> Vec<usize> {
    tensors.iter().map(|t| t.raw().storage().sharers()).collect()
}

/// What of a row's memory outlives its need.
pub fn kept(row: &Row) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let own = operands(row)?;
    let alone = sharers(&own);
    let results = (row.f)(&own)?;
    let (needs_operands, needs_result) = match row.name {
        name if NOTHING.contains(&name) => (false, false),
        name if RESULT.contains(&name) => (false, true),
        _ => (true, true),
    };
    for (i, (t, before)) in own.iter().zip(&alone).enumerate() {
        let views = results.iter().filter(|y| y.shares_storage(t)).count();
        if !needs_operands && t.raw().storage().sharers() > before + views {
            wrong.push(format!("{}: holds operand {i}", row.name));
        }
    }
    for (i, y) in results.iter().enumerate().filter(|(_, y)| y.dtype().is_float() && y.base().is_none()) {
        let names = results.iter().filter(|other| other.shares_storage(y)).count();
        if !needs_result && y.raw().storage().sharers() > names && !own.iter().any(|t| t.shares_storage(y)) {
            wrong.push(format!("{}: holds result {i}", row.name));
        }
    }
    // A backward pass releases everything, and so does dropping the results.
    let outputs: Vec<&Tensor> = results.iter().filter(|y| y.requires_grad()).collect();
    let ones = outputs.iter().map(|y| y.detach().ones_like()).collect::<Result<Vec<_>>>()?;
    let ones: Vec<Option<&Tensor>> = ones.iter().map(Some).collect();
    backward(&outputs, &ones, BackwardOptions::default(), None)?;
    let views: Vec<usize> =
        own.iter().map(|t| results.iter().filter(|y| y.shares_storage(t)).count()).collect();
    if sharers(&own).iter().zip(&alone).zip(&views).any(|((now, before), views)| *now > before + views) {
        wrong.push(format!("{}: holds operands after a backward pass", row.name));
    }
    drop(results);
    let other = (row.f)(&own)?;
    drop(other);
    if sharers(&own) != alone {
        wrong.push(format!("{}: holds operands after its results have died", row.name));
    }
    Ok(wrong)
}
