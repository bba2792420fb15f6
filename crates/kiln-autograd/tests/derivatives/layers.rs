//! Convolutions, pooling, normalisation, recurrent cells, losses.

use kiln_autograd::{CellWeights, CrossEntropyOptions, Reduction, Tensor, tensor};

use super::rows::{List, Row, rows};

fn cell<'a>(x: &'a [Tensor]) -> CellWeights<'a> {
    let [w_ih, w_hh, b_ih, b_hh] = x else { panic!("two weights and two biases") };
    CellWeights { w_ih, w_hh, b_ih: Some(b_ih), b_hh: Some(b_hh) }
}

fn classes() -> Tensor {
    tensor![2, 0]
}

fn signs() -> Tensor {
    tensor!([1., -1.]; kiln_autograd::F64)
}

rows! {
    "conv1d" -2.0 to 2.0 [2, 2, 5] [4, 1, 3] [4] => |x| x[0].conv1d(&x[1], Some(&x[2]), [2], [1], [1], 2);
    "conv2d" -2.0 to 2.0 [1, 2, 4, 4] [2, 2, 3, 2] [2] => |x| {
        x[0].conv2d(&x[1], Some(&x[2]), [1, 2], [1, 0], [1, 1], 1)
    };
    "conv3d" -1.0 to 1.0 [1, 1, 2, 3, 2] [1, 1, 2, 2, 1] => |x| {
        x[0].conv3d(&x[1], None, [1, 1, 1], [0, 1, 0], [1, 1, 1], 1)
    };
    "conv_transpose1d" -2.0 to 2.0 [1, 2, 3] [2, 1, 3] [1] => |x| {
        x[0].conv_transpose1d(&x[1], Some(&x[2]), [2], [1], [1], 1, [1])
    };
    "conv_transpose2d" -2.0 to 2.0 [1, 1, 2, 3] [1, 2, 2, 2] [2] => |x| {
        x[0].conv_transpose2d(&x[1], Some(&x[2]), [1, 2], [0, 0], [0, 0], 1, [1, 1])
    };
    "conv_transpose3d" -1.0 to 1.0 [1, 1, 2, 2, 1] [1, 1, 1, 2, 2] => |x| {
        x[0].conv_transpose3d(&x[1], None, [1, 1, 1], [0, 0, 0], [0, 0, 0], 1, [1, 1, 1])
    };
    "conv_same" -2.0 to 2.0 [1, 2, 5] [1, 2, 3] [1] => |x| x[0].conv_same(&x[1], Some(&x[2]), &[1], 1);

    "max_pool1d" -2.0 to 2.0 [1, 2, 6] => |x| x[0].max_pool1d([2], [2], [0], [1], false);
    "max_pool2d" -2.0 to 2.0 [1, 1, 4, 4] => |x| x[0].max_pool2d([2, 2], [1, 2], [1, 0], [1, 1], false);
    "max_pool3d" -2.0 to 2.0 [1, 1, 2, 4, 2] => |x| {
        x[0].max_pool3d([2, 2, 2], [1, 2, 1], [0, 0, 0], [1, 1, 1], false)
    };
    "max_pool1d_with_indices" -2.0 to 2.0 [1, 2, 6] => |x| {
        x[0].max_pool1d_with_indices([3], [2], [1], [1], false)
    };
    "max_pool2d_with_indices" -2.0 to 2.0 [1, 1, 4, 4] => |x| {
        x[0].max_pool2d_with_indices([2, 2], [2, 2], [0, 0], [1, 1], false)
    };
    "max_pool3d_with_indices" -2.0 to 2.0 [1, 1, 2, 2, 4] => |x| {
        x[0].max_pool3d_with_indices([2, 2, 2], [2, 2, 2], [0, 0, 0], [1, 1, 1], false)
    };
    "avg_pool1d" -2.0 to 2.0 [1, 2, 6] => |x| x[0].avg_pool1d([3], [2], [1], false, true, None);
    "avg_pool2d" -2.0 to 2.0 [1, 1, 4, 4] => |x| x[0].avg_pool2d([2, 2], [2, 1], [1, 1], false, false, None);
    "avg_pool3d" -2.0 to 2.0 [1, 1, 2, 3, 2] => |x| {
        x[0].avg_pool3d([2, 2, 2], [1, 1, 1], [0, 0, 0], false, true, Some(5))
    };
    "adaptive_max_pool1d" -2.0 to 2.0 [1, 2, 5] => |x| x[0].adaptive_max_pool1d([2]);
    "adaptive_max_pool2d" -2.0 to 2.0 [1, 1, 4, 3] => |x| x[0].adaptive_max_pool2d([2, 2]);
    "adaptive_max_pool3d" -2.0 to 2.0 [1, 1, 2, 3, 2] => |x| x[0].adaptive_max_pool3d([1, 2, 2]);
    "adaptive_avg_pool1d" -2.0 to 2.0 [1, 2, 5] => |x| x[0].adaptive_avg_pool1d([2]);
    "adaptive_avg_pool2d" -2.0 to 2.0 [1, 1, 4, 3] => |x| x[0].adaptive_avg_pool2d([2, 2]);
    "adaptive_avg_pool3d" -2.0 to 2.0 [1, 1, 2, 3, 2] => |x| x[0].adaptive_avg_pool3d([1, 2, 2]);

    "layer_norm" -2.0 to 2.0 [2, 3] [3] [3] => |x| x[0].layer_norm(&[3], Some(&x[1]), Some(&x[2]), 1e-5);
    "rms_norm" -2.0 to 2.0 [2, 3] [3] => |x| x[0].rms_norm(&[3], Some(&x[1]), Some(1e-5));
    "batch_norm" -2.0 to 2.0 [4, 2] [2] [2] => |x| {
        x[0].batch_norm(None, Some(&x[1]), Some(&x[2]), true, 0.1, 1e-5)
    };
    "instance_norm" -2.0 to 2.0 [2, 2, 3] [2] [2] => |x| {
        x[0].instance_norm(None, Some(&x[1]), Some(&x[2]), true, 0.1, 1e-5)
    };
    "group_norm" -2.0 to 2.0 [2, 4, 2] [4] [4] => |x| x[0].group_norm(2, Some(&x[1]), Some(&x[2]), 1e-5);
    "softmax" -2.0 to 2.0 [2, 3] => |x| x[0].softmax(1);
    "log_softmax" -2.0 to 2.0 [2, 3] => |x| x[0].log_softmax(1);

    "lstm_cell" -1.0 to 1.0 [2, 3] [2, 2] [2, 2] [8, 3] [8, 2] [8] [8] => |x| {
        x[0].lstm_cell(&x[1], &x[2], cell(&x[3..]))
    };
    "gru_cell" -1.0 to 1.0 [2, 3] [2, 2] [6, 3] [6, 2] [6] [6] => |x| x[0].gru_cell(&x[1], cell(&x[2..]));
    "rnn_tanh_cell" -1.0 to 1.0 [2, 3] [2, 2] [2, 3] [2, 2] [2] [2] => |x| {
        x[0].rnn_tanh_cell(&x[1], cell(&x[2..]))
    };
    "rnn_relu_cell" -1.0 to 1.0 [2, 3] [2, 2] [2, 3] [2, 2] [2] [2] => |x| {
        x[0].rnn_relu_cell(&x[1], cell(&x[2..]))
    };

    "cross_entropy" -2.0 to 2.0 [2, 3] => |x| x[0].cross_entropy(&classes(), &CrossEntropyOptions::default());
    "cross_entropy" -2.0 to 2.0 [2, 3] => |x| {
        let options = CrossEntropyOptions { label_smoothing: 0.2, ..CrossEntropyOptions::default() };
        x[0].cross_entropy(&classes(), &options)
    };
    "nll_loss" -2.0 to -0.2 [2, 3] => |x| x[0].nll_loss(&classes(), &CrossEntropyOptions::default());
    "mse_loss" -2.0 to 2.0 [2, 3] [2, 3] => |x| x[0].mse_loss(&x[1], Reduction::Mean);
    "l1_loss" -2.0 to 2.0 [2, 3] [2, 3] => |x| x[0].l1_loss(&x[1], Reduction::Sum);
    "smooth_l1_loss" -2.0 to 2.0 [2, 3] [2, 3] => |x| x[0].smooth_l1_loss(&x[1], 0.7, Reduction::Mean);
    "huber_loss" -2.0 to 2.0 [2, 3] [2, 3] => |x| x[0].huber_loss(&x[1], 0.7, Reduction::None);
    "binary_cross_entropy" 0.2 to 0.8 [4] [4] => |x| x[0].binary_cross_entropy(&x[1], None, Reduction::Mean);
    "binary_cross_entropy_with_logits" -2.0 to 2.0 [4] [4] => |x| {
        x[0].binary_cross_entropy_with_logits(&x[1], None, None, Reduction::Mean)
    };
    "kl_div" 0.2 to 0.8 [2, 3] [2, 3] => |x| x[0].kl_div(&x[1], false, Reduction::Mean);
    "poisson_nll_loss" -1.0 to 1.0 [4] => |x| {
        x[0].poisson_nll_loss(&tensor!([1., 2., 0., 3.]; kiln_autograd::F64), true, false, 1e-8, Reduction::Mean)
    };
    "soft_margin_loss" -2.0 to 2.0 [2] => |x| x[0].soft_margin_loss(&signs(), Reduction::Mean);
    "hinge_embedding_loss" -2.0 to 0.9 [2] => |x| x[0].hinge_embedding_loss(&signs(), 1.0, Reduction::Mean);
    "margin_ranking_loss" -2.0 to 2.0 [2] [2] => |x| {
        x[0].margin_ranking_loss(&x[1], &signs(), 0.3, Reduction::Sum)
    };
    "gaussian_nll_loss" 0.5 to 2.0 [3] [3] [3] => |x| {
        x[0].gaussian_nll_loss(&x[1], &x[2], false, 1e-6, Reduction::Mean)
    };
    "cosine_embedding_loss" -2.0 to 2.0 [2, 3] [2, 3] => |x| {
        x[0].cosine_embedding_loss(&x[1], &signs(), -0.9, Reduction::Sum)
    };
    "triplet_margin_loss" -2.0 to 2.0 [2, 3] [2, 3] [2, 3] => |x| {
        x[0].triplet_margin_loss(&x[1], &x[2], 3.0, 2.0, 1e-6, false, Reduction::Mean)
    };
}
