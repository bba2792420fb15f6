//! Recurrent layers over sequences, attention, bags of embeddings, losses of sequences.

use kiln_autograd::{
    AttentionOptions, BagMode, EmbeddingBagOptions, F64, InProjection, MultiheadOptions, RecurrentOptions,
    Reduction, Result, Tensor, tensor,
};

use super::rows::{List, Row, rows};

fn weights(x: &[Tensor]) -> Vec<&Tensor> {
    x.iter().collect()
}

/// Rows 1 and 2, and row 1 twice with row 0.
fn bags(table: &Tensor, mode: BagMode, weights: Option<&Tensor>) -> Result<Tensor> {
    let options = EmbeddingBagOptions {
        offsets: Some(&tensor![0, 2]),
        mode,
        per_sample_weights: weights,
        ..EmbeddingBagOptions::default()
    };
    table.embedding_bag(&tensor![1, 2, 1, 0, 1], &options)
}

rows! {
    "lstm" -1.0 to 1.0 [2, 1, 2] [1, 1, 2] [1, 1, 2] [8, 2] [8, 2] [8] [8] => |x| {
        x[0].lstm((&x[1], &x[2]), &weights(&x[3..]), &RecurrentOptions::default())
    };
    "lstm" -1.0 to 1.0 [2, 1, 2] [2, 1, 1] [2, 1, 2] [8, 2] [8, 1] [1, 2] [8, 2] [8, 1] [1, 2] => |x| {
        let options = RecurrentOptions { bias: false, bidirectional: true, ..RecurrentOptions::default() };
        x[0].lstm((&x[1], &x[2]), &weights(&x[3..]), &options)
    };
    "gru" -1.0 to 1.0 [1, 2, 2] [1, 1, 2] [6, 2] [6, 2] [6] [6] => |x| {
        let options = RecurrentOptions { batch_first: true, ..RecurrentOptions::default() };
        x[0].gru(&x[1], &weights(&x[2..]), &options)
    };
    "rnn_tanh" -1.0 to 1.0 [2, 1, 2] [2, 1, 2] [2, 2] [2, 2] [2, 2] [2, 2] => |x| {
        let options = RecurrentOptions { bias: false, num_layers: 2, ..RecurrentOptions::default() };
        x[0].rnn_tanh(&x[1], &weights(&x[2..]), &options)
    };
    "rnn_relu" -1.0 to 1.0 [3, 2] [1, 2, 2] [2, 2] [2, 2] [2] [2] => |x| {
        let options = RecurrentOptions { batch_sizes: Some(&[2, 1]), ..RecurrentOptions::default() };
        x[0].rnn_relu(&x[1], &weights(&x[2..]), &options)
    };

    "scaled_dot_product_attention" -1.0 to 1.0 [1, 2, 2] [1, 3, 2] [1, 3, 2] => |x| {
        x[0].scaled_dot_product_attention(&x[1], &x[2], &AttentionOptions::default())
    };
    "scaled_dot_product_attention" -1.0 to 1.0 [1, 2, 2] [1, 2, 2] [1, 2, 2] => |x| {
        let options = AttentionOptions { is_causal: true, scale: Some(0.7), ..AttentionOptions::default() };
        x[0].scaled_dot_product_attention(&x[1], &x[2], &options)
    };
    "scaled_dot_product_attention" -1.0 to 1.0 [1, 2, 2] [1, 3, 2] [1, 3, 2] [2, 3] => |x| {
        let options = AttentionOptions { mask: Some(&x[3]), ..AttentionOptions::default() };
        x[0].scaled_dot_product_attention(&x[1], &x[2], &options)
    };
    "multi_head_attention" -1.0 to 1.0 [2, 1, 2] [2, 1, 2] [2, 1, 2] [6, 2] [6] [2, 2] [2] => |x| {
        let mut options = MultiheadOptions::new(2, InProjection::Packed(&x[3]), &x[5]);
        options.in_proj_bias = Some(&x[4]);
        options.out_proj_bias = Some(&x[6]);
        x[0].multi_head_attention(&x[1], &x[2], &options).map(|(y, weights)| (y, weights.expect("weights")))
    };

    "embedding_bag" -2.0 to 2.0 [3, 2] => |x| bags(&x[0], BagMode::Mean, None);
    "embedding_bag" -2.0 to 2.0 [3, 2] => |x| bags(&x[0], BagMode::Max, None);
    "embedding_bag" -2.0 to 2.0 [3, 2] [5] => |x| bags(&x[0], BagMode::Sum, Some(&x[1]));

    // The gradient is that of numbers that are normalised, as in PyTorch.
    "ctc_loss" -2.0 to 2.0 [4, 2, 3] => |x| {
        let (targets, steps, lengths) = (tensor![[1, 2], [2, 2]], tensor![4, 3], tensor![2, 1]);
        x[0].log_softmax(2)?.ctc_loss(&targets, &steps, &lengths, 0, Reduction::Mean, false)
    };
    "multi_margin_loss" -2.0 to 2.0 [2, 3] => |x| {
        x[0].multi_margin_loss(&tensor![2, 0], 2.0, 0.8, Some(&tensor!([0.5, 1.0, 2.0]; F64)), Reduction::Mean)
    };
    "multilabel_margin_loss" -2.0 to 2.0 [2, 3] => |x| {
        x[0].multilabel_margin_loss(&tensor![[2, 0, -1], [1, -1, 0]], Reduction::Sum)
    };
    "multilabel_soft_margin_loss" -2.0 to 2.0 [2, 3] => |x| {
        x[0].multilabel_soft_margin_loss(&tensor!([[1., 0., 1.], [0., 0., 1.]]; F64), None, Reduction::Mean)
    };
    "triplet_margin_with_distance_loss" -2.0 to 2.0 [2, 3] [2, 3] [2, 3] => |x| {
        let distance = |a: &Tensor, b: &Tensor| a.sub(b)?.square()?.sum_axes(&[1], false);
        x[0].triplet_margin_with_distance_loss(&x[1], &x[2], distance, 9.0, true, Reduction::Mean)
    };
    "linear_cross_entropy" -1.0 to 1.0 [2, 2] [3, 2] [3] => |x| {
        x[0].linear_cross_entropy(&x[1], &tensor![2, 0], Some(&x[2]), &kiln_autograd::CrossEntropyOptions::default())
    };
}
