//! Recurrent layers, attention, transformers and embeddings: first parameters, packed sequences, mixed precision, second
//! derivatives, printing, misuse.

use kiln_nn::kiln_autograd::kiln_ops::random::manual_seed;
use kiln_nn::kiln_autograd::{BackwardOptions, autocast, grad};
use kiln_nn::utils::rnn::*;
use kiln_nn::{
    BagMode, DType, Embedding, EmbeddingBag, Forward, GRU, GRUCell, LSTM, Module, MultiheadAttention,
    MultiheadCall, RNN, RNNCell, Tensor, Transformer, TransformerEncoder, TransformerEncoderLayer,
};

use crate::turn;

/// All elements as numbers.
fn numbers(t: &Tensor) -> Vec<f64> {
    t.detach().to_dtype(DType::F64).unwrap().to_vec().unwrap()
}

fn near(got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    let scale = want.iter().fold(1e-3f64, |m, x| m.max(x.abs()));
    for (g, w) in got.iter().zip(want) {
        assert!((g - w).abs() <= 1e-5 * scale, "{got:?}, expected {want:?}");
    }
}

/// Values of PyTorch 2.15.0: `manual_seed(1)`, `LSTM(2, 3, num_layers=2, bidirectional=True)`, lengths 2, 4, 1.
#[test]
fn packed_sequences_of_any_order() {
    let _turn = turn();
    manual_seed(1);
    let lstm = LSTM::new(2, 3).bidirectional(true).num_layers(2);
    let x = Tensor::linspace(-1.0, 1.0, 24).reshape([4, 3, 2]).unwrap().requires_grad_(true).unwrap();
    let packed = pack_padded_sequence(&x, &[2, 4, 1], false, false).unwrap();
    assert_eq!(packed.batch_sizes().to_vec::<i64>().unwrap(), [3, 2, 1, 1]);
    assert_eq!(packed.sorted_indices().unwrap().to_vec::<i64>().unwrap(), [1, 0, 2]);
    let (y, (h, c)) = lstm.forward_packed(&packed, None).unwrap();
    let (out, lengths) = pad_packed_sequence(&y, false, -7.0, Some(5)).unwrap();
    assert_eq!(lengths.to_vec::<i64>().unwrap(), [2, 4, 1]);
    assert_eq!(out.dims(), [5, 3, 6]);
    near(&[out.sum().unwrap().to_f64().unwrap()], &[-337.89544677734375]);
    let last = out.select(0, 3).unwrap().select(0, 1).unwrap();
    near(
        &numbers(&last),
        &[
            0.08712925016880035,
            -0.020453091710805893,
            -0.2995111346244812,
            0.009413046762347221,
            -0.009453019127249718,
            -0.06450673192739487,
        ],
    );
    near(
        &numbers(&c.select(0, 0).unwrap()),
        &[
            -0.3562926650047302,
            0.27182257175445557,
            -0.7023272514343262,
            -0.5639873743057251,
            0.19910280406475067,
            -0.8091747760772705,
            -0.2347865253686905,
            0.23643603920936584,
            -0.47758710384368896,
        ],
    );
    out.sum().unwrap().add(&h.mul(&h).unwrap().sum().unwrap()).unwrap().backward().unwrap();
    near(
        &numbers(&x.grad().unwrap().select(0, 1).unwrap()),
        &[-0.027003154158592224, 0.010018838569521904, 0.00794538389891386, 0.05072209984064102, 0.0, 0.0],
    );
    let bias = lstm.weight("bias_hh_l0").unwrap().grad().unwrap();
    near(
        &numbers(&bias)[..4],
        &[0.18968668580055237, 0.04316350817680359, 0.10394546389579773, 0.09168683737516403],
    );
    let reverse = lstm.weight("weight_hh_l1_reverse").unwrap().grad().unwrap();
    near(&[reverse.abs().unwrap().sum().unwrap().to_f64().unwrap()], &[0.42658358812332153]);
}

/// Values of PyTorch 2.15.0: `manual_seed(2)`, `GRU(2, 2).double()`, the gradient of a gradient's squares.
#[test]
fn recurrent_layers_can_be_differentiated_twice() {
    let _turn = turn();
    manual_seed(2);
    let gru = GRU::new(2, 2);
    gru.to_dtype(DType::F64).unwrap();
    let line: Vec<f64> = (0..6).map(|i| -1.0 + 0.4 * i as f64).collect();
    let x = Tensor::from_vec(line, [3, 1, 2]).unwrap().requires_grad_(true).unwrap();
    let (y, _) = gru.forward(&x, None).unwrap();
    let loss = y.mul(&y).unwrap().sum().unwrap();
    let options = BackwardOptions { create_graph: true, retain_graph: true };
    let gx = grad(&[&loss], &[&x], &[], options, false).unwrap().remove(0).unwrap();
    gx.mul(&gx).unwrap().sum().unwrap().backward().unwrap();
    near(
        &numbers(&x.grad().unwrap()),
        &[
            -0.09115431532843518,
            0.20853718624512538,
            -0.047203256847481376,
            0.06026405773159173,
            -0.01039684817430079,
            0.03154912437348855,
        ],
    );
    near(
        &numbers(&gru.weight("weight_hh_l0").unwrap().grad().unwrap())[..4],
        &[0.007141939916305767, 0.006054155695542789, -0.02176478070708545, -0.005019981496610745],
    );
}

#[test]
fn sequences_pack_and_unpack() {
    let sequences = [vec![1f32], vec![2.0, 3.0, 4.0], vec![5.0, 6.0]]
        .map(|v| Tensor::from_vec(v.clone(), [v.len()]).unwrap());
    let packed = pack_sequence(&sequences, false).unwrap();
    assert_eq!(packed.data().to_vec::<f32>().unwrap(), [2.0, 5.0, 1.0, 3.0, 6.0, 4.0]);
    let back = unpack_sequence(&packed).unwrap();
    for (a, b) in sequences.iter().zip(&back) {
        assert_eq!(a.to_vec::<f32>().unwrap(), b.to_vec::<f32>().unwrap());
    }
    assert_eq!(
        pad_sequence(&sequences, false, 9.0).unwrap().to_vec::<f32>().unwrap(),
        [1.0, 2.0, 5.0, 9.0, 3.0, 6.0, 9.0, 4.0, 9.0]
    );
    let refused = [
        pack_sequence(&sequences, true).map(|_| ()),
        pack_padded_sequence(&Tensor::ones([2, 2]), &[2], false, true).map(|_| ()),
        pack_padded_sequence(&Tensor::ones([2, 2]), &[2, 0], false, true).map(|_| ()),
        pack_padded_sequence(&Tensor::ones([2, 2]), &[3, 1], false, true).map(|_| ()),
        pad_packed_sequence(&packed, false, 0.0, Some(2)).map(|_| ()),
        pad_sequence(&[], false, 0.0).map(|_| ()),
        PackedSequence::new(Tensor::ones([3]), &Tensor::from_vec(vec![1i64, 2], [2]).unwrap(), None)
            .map(|_| ()),
        PackedSequence::new(Tensor::ones([3]), &Tensor::from_vec(vec![2i64, 2], [2]).unwrap(), None)
            .map(|_| ()),
    ];
    for (i, result) in refused.into_iter().enumerate() {
        assert!(result.is_err(), "{i}");
    }
}

#[test]
fn layers_print_as_in_pytorch() {
    let _turn = turn();
    let lines = [
        (
            LSTM::new(3, 4).num_layers(2).dropout(0.5).bidirectional(true).bias(false).to_string(),
            "LSTM(3, 4, num_layers=2, bias=False, dropout=0.5, bidirectional=True)",
        ),
        (GRU::new(3, 4).batch_first(true).to_string(), "GRU(3, 4, batch_first=True)"),
        (LSTM::new(3, 4).proj_size(2).to_string(), "LSTM(3, 4, proj_size=2)"),
        (GRUCell::new(3, 4).bias(false).to_string(), "GRUCell(3, 4, bias=False)"),
        (RNNCell::new(3, 4).nonlinearity("relu").to_string(), "RNNCell(3, 4, nonlinearity=relu)"),
        (
            Embedding::new(5, 3).padding_idx(-1).max_norm(1.0).to_string(),
            "Embedding(5, 3, padding_idx=4, max_norm=1.0)",
        ),
        (
            EmbeddingBag::new(5, 3).mode(BagMode::Max).padding_idx(1).to_string(),
            "EmbeddingBag(5, 3, mode='max', padding_idx=1)",
        ),
    ];
    for (got, want) in lines {
        assert_eq!(got, want);
    }
    assert_eq!(
        TransformerEncoderLayer::new(8, 2).dim_feedforward(16).to_string(),
        "TransformerEncoderLayer(
  (self_attn): MultiheadAttention(
    (out_proj): NonDynamicallyQuantizableLinear(in_features=8, out_features=8, bias=True)
  )
  (linear1): Linear(in_features=8, out_features=16, bias=True)
  (dropout): Dropout(p=0.1, inplace=False)
  (linear2): Linear(in_features=16, out_features=8, bias=True)
  (norm1): LayerNorm((8,), eps=1e-05, elementwise_affine=True, bias=True)
  (norm2): LayerNorm((8,), eps=1e-05, elementwise_affine=True, bias=True)
  (dropout1): Dropout(p=0.1, inplace=False)
  (dropout2): Dropout(p=0.1, inplace=False)
)"
    );
}

#[test]
fn misuse_of_sequence_layers_is_an_error() {
    let _turn = turn();
    let x = Tensor::ones([5, 2, 3]);
    let words = Tensor::from_vec(vec![0i64, 7], [2]).unwrap();
    let causal = MultiheadCall { is_causal: true, ..MultiheadCall::default() };
    let cases = [
        (RNN::new(3, 4).nonlinearity("gelu").forward(&x, None).err(), "gelu"),
        (LSTM::new(3, 4).proj_size(4).forward(&x, None).err(), "proj_size"),
        (GRU::new(3, 0).forward(&x, None).err(), "hidden_size"),
        (GRU::new(3, 4).num_layers(0).forward(&x, None).err(), "num_layers"),
        (GRU::new(3, 4).dropout(1.5).forward(&x, None).err(), "dropout"),
        (GRU::new(4, 4).forward(&x, None).err(), "Expected 4, got 3"),
        (GRU::new(3, 4).forward(&x, &Tensor::ones([1, 3, 4])).err(), "Expected hidden size"),
        (GRU::new(3, 4).forward(&Tensor::ones([0, 2, 3]), None).err(), "sequence length"),
        (GRU::new(3, usize::MAX / 2).forward(&x, None).err(), "cannot be made"),
        (GRUCell::new(3, 4).forward(&Tensor::ones([2, 3]), &Tensor::ones([3, 4])).err(), "batch"),
        (Embedding::new(5, 3).forward(&words).err(), "index"),
        (Embedding::new(5, 3).padding_idx(7).forward(&words).err(), "Padding_idx"),
        (EmbeddingBag::new(5, 3).forward(&words).err(), "offsets"),
        (MultiheadAttention::new(8, 3).forward(&x, &x, &x).err(), "divisible"),
        (MultiheadAttention::new(8, 2).forward(&x, &x, &x).err(), "embedding dimension"),
        (MultiheadAttention::new(3, 1).forward_with(&x, &x, &x, &causal).err(), "is_causal"),
        (TransformerEncoderLayer::new(3, 1).activation("elu").forward(&x).err(), "activation"),
    ];
    for (error, part) in cases {
        let error = error.unwrap_or_else(|| panic!("{part}: no error")).to_string();
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
}

#[test]
fn copied_layers_start_alike_and_learn_apart() {
    let _turn = turn();
    let encoder = TransformerEncoder::new(TransformerEncoderLayer::new(4, 2).dim_feedforward(8), 2);
    let [a, b] = [0, 1].map(|i| encoder.layers[i].linear1.weight.clone());
    assert_eq!(a.to_vec::<f32>().unwrap(), b.to_vec::<f32>().unwrap());
    assert!(!a.shares_storage(&b));
    assert_eq!(encoder.parameters().len(), 24);
    // What was set on the way stays set.
    let layer = GRU::new(3, 4).batch_first(true).num_layers(2);
    assert_eq!(layer.forward(&Tensor::ones([7, 5, 3]), None).unwrap().1.dims(), [2, 7, 4]);
}

/// Values of PyTorch 2.15.0: `manual_seed(0)`, `Transformer(16, 4, 2, 1, 32)`, each parameter's sum and what the stream gives
/// then.
#[test]
fn a_transformer_starts_as_in_pytorch() {
    let _turn = turn();
    manual_seed(0);
    let model = Transformer::new(16, 4).num_encoder_layers(2).num_decoder_layers(1).dim_feedforward(32);
    let next = Tensor::rand([2]);
    let sums: Vec<f64> = model.parameters().iter().map(|p| numbers(p).iter().sum()).collect();
    let weights =
        [4.290708, 0.0, -0.444101, 0.0, 4.67673, -1.398132, 2.86322, 0.377134, 16.0, 0.0, 16.0, 0.0];
    near(&sums[..12], &weights);
    let decoder =
        [-7.374782, 0.0, -2.500637, 0.0, 6.627279, 0.0, 4.922133, 0.0, -2.144962, -1.04945, 7.68571];
    near(&sums[26..37], &decoder);
    assert_eq!(format!("{next:?}"), "tensor([0.8883, 0.7127])");
}

/// Values of PyTorch 2.15.0 in a region of bfloat16: `manual_seed(3)`, a layer, three steps of two sequences, of which the
/// first may have ended; the last results, and the first gradients of the recurrent weight.
#[test]
fn states_of_mixed_precision() {
    let _turn = turn();
    let x = Tensor::linspace(-1.0, 1.0, 24).reshape([3, 2, 4]).unwrap();
    let packed = pack_padded_sequence(&x, &[2, 3], false, false).unwrap();
    let check = |y: &Tensor, last: &Tensor, weight: &Tensor, results: &[f64], gradients: &[f64]| {
        let loss = y.to_dtype(DType::F32).unwrap().square().unwrap().sum().unwrap() + last.sum().unwrap();
        loss.backward().unwrap();
        let y = numbers(y);
        near_half(&y[y.len() - results.len()..], results);
        near_half(&numbers(&weight.grad().unwrap())[..gradients.len()], gradients);
    };
    manual_seed(3);
    let gru = GRU::new(4, 3);
    let (y, h) = autocast(|| gru.forward(&x, None)).unwrap();
    assert_eq!([y.dtype(), h.dtype()], [DType::F32; 2]);
    let results = [0.060906, 0.398563, 0.03932, -0.20407, 0.206946, -0.21166];
    let gradients = [0.015991, 0.034424, 0.018066, 0.086914, 0.189453, 0.097656];
    check(&y, &h, gru.weight("weight_hh_l0").unwrap(), &results, &gradients);

    manual_seed(3);
    let gru = GRU::new(4, 2).bidirectional(true).num_layers(2);
    let (y, h) = autocast(|| gru.forward_packed(&packed, None)).unwrap();
    let results = [0.313721, 0.024422, 0.371102, 0.459423, 0.315533, -0.120117];
    let gradients = [-0.004211, -0.000397, -0.002884, 0.000553, -0.031738, 0.001312];
    check(y.data(), &h, gru.weight("weight_hh_l0").unwrap(), &results, &gradients);

    manual_seed(3);
    let lstm = LSTM::new(4, 3);
    let (y, (h, c)) = autocast(|| lstm.forward_packed(&packed, None)).unwrap();
    assert_eq!([y.data().dtype(), h.dtype(), c.dtype()], [DType::F32; 3]);
    near_half(&numbers(&c), &[0.210358, 0.30854, 0.078571, -0.142529, -0.189941, -0.784073]);
    let results = [0.138476, 0.144881, 0.033998, -0.052536, -0.07185, -0.258433];
    let gradients = [0.004456, -0.005615, 0.01123, 0.042236, 0.010132, 0.031738];
    check(y.data(), &c, lstm.weight("weight_hh_l0").unwrap(), &results, &gradients);

    manual_seed(3);
    let lstm = LSTM::new(4, 3).proj_size(2);
    let (y, (h, c)) = autocast(|| lstm.forward(&x, None)).unwrap();
    assert_eq!([y.dtype(), h.dtype(), c.dtype()], [DType::BF16, DType::BF16, DType::F32]);
    near_half(&numbers(&c), &[-0.058001, 0.339763, -0.799868, -0.122626, 0.207839, -1.075943]);
    let results = [0.070312, -0.056641, 0.086426, -0.060303, 0.083496, -0.068848];
    let gradients = [-0.007233, 0.011597, -0.013123, -0.011536, -0.001953, 0.027344];
    check(&y, &c, lstm.weight("weight_hh_l0").unwrap(), &results, &gradients);
}

/// As near as two orders of rounding to bfloat16 leave them.
fn near_half(got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    let close = |(g, w): (&f64, &f64)| (g - w).abs() <= 0.004 * largest;
    assert!(got.iter().zip(want).all(close), "{got:?}, expected {want:?}");
}
