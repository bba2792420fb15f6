//! Recurrent layers, attention, transformers and embeddings: first parameters against PyTorch's recordings, packed
//! sequences, second derivatives, printing, misuse.

use kiln_nn::kiln_autograd::kiln_ops::random::{default_generator, manual_seed};
use kiln_nn::kiln_autograd::{BackwardOptions, grad};
use kiln_nn::utils::rnn::*;
use kiln_nn::{
    BagMode, DType, Embedding, EmbeddingBag, Forward, GRU, GRUCell, LSTM, LSTMCell, Module,
    MultiheadAttention, MultiheadCall, RNN, RNNCell, Tensor, Transformer, TransformerDecoderLayer,
    TransformerEncoder, TransformerEncoderLayer,
};
use serde_json::Value;

use crate::recording::{deviation, numbers, open, seed};
use crate::turn;

/// A layer of a class, as the recordings make it.
fn build(class: &str, case: &Value) -> Option<Box<dyn Module>> {
    let size = |i: usize| case["args"][i].as_u64().expect("a size") as usize;
    let kwargs = |name: &str| case["kwargs"][name].as_u64().map(|n| n as usize);
    Some(match class {
        "Embedding" => match case["kwargs"]["padding_idx"].as_i64() {
            Some(row) => Box::new(Embedding::new(size(0), size(1)).padding_idx(row)),
            None => Box::new(Embedding::new(size(0), size(1))),
        },
        "EmbeddingBag" => Box::new(EmbeddingBag::new(size(0), size(1))),
        "RNN" => Box::new(RNN::new(size(0), size(1))),
        "GRU" => Box::new(GRU::new(size(0), size(1)).num_layers(kwargs("num_layers").unwrap_or(1))),
        "LSTM" => Box::new(
            LSTM::new(size(0), size(1))
                .num_layers(kwargs("num_layers").unwrap_or(1))
                .proj_size(kwargs("proj_size").unwrap_or(0))
                .bidirectional(case["kwargs"]["bidirectional"] == true),
        ),
        "LSTMCell" => Box::new(LSTMCell::new(size(0), size(1))),
        "GRUCell" => Box::new(GRUCell::new(size(0), size(1))),
        "RNNCell" => Box::new(RNNCell::new(size(0), size(1))),
        "MultiheadAttention" => {
            let layer = MultiheadAttention::new(size(0), size(1));
            let (kdim, vdim) = (kwargs("kdim").unwrap_or(size(0)), kwargs("vdim").unwrap_or(size(0)));
            Box::new(layer.kdim(kdim).vdim(vdim))
        }
        "TransformerEncoderLayer" => Box::new(
            TransformerEncoderLayer::new(size(0), size(1)).dim_feedforward(kwargs("dim_feedforward")?),
        ),
        "TransformerDecoderLayer" => Box::new(
            TransformerDecoderLayer::new(size(0), size(1)).dim_feedforward(kwargs("dim_feedforward")?),
        ),
        "Transformer" => Box::new(
            Transformer::new(size(0), size(1))
                .num_encoder_layers(size(2))
                .num_decoder_layers(size(3))
                .dim_feedforward(size(4)),
        ),
        _ => return None,
    })
}

#[test]
fn recorded_first_parameters() {
    let Some(recording) = open("rng", "init") else { return };
    let _turn = turn();
    let mut layers = 0;
    for case in recording.cases() {
        let Some(class) = case["module"].as_str() else { continue };
        manual_seed(seed(&case["seed"]));
        let Some(layer) = build(class, case) else { continue };
        let mut probe = [0i64; 2];
        default_generator().random_from_to(&mut probe, 0, 1 << 24).unwrap();
        let state = layer.state_dict();
        let recorded = case["state"].as_object().unwrap();
        assert_eq!(state.keys().collect::<Vec<_>>().len(), recorded.len(), "{class}");
        for (name, key) in recorded {
            let got = state.get(name).unwrap_or_else(|| panic!("{class} has no {name}"));
            let off = deviation(got, &recording.tensor(key.as_str().unwrap()), 1e-3);
            let allowed = if case["compare"] == "1e-5" { 1e-5 } else { 0.0 };
            assert!(off <= allowed, "{class} {name}: off by {off:e}");
        }
        let want = recording.tensor(case["probe"].as_str().unwrap());
        assert_eq!(want.to_vec::<i64>().unwrap(), probe, "{class} {}", case["id"]);
        layers += 1;
    }
    eprintln!("{layers} layers replayed");
    assert!(layers >= 30, "{layers}");
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
