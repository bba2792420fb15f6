//! Networks in bfloat16 and float16 throughout: every layer's result and derivatives beside PyTorch's.

use kiln::prelude::*;

/// One line for each layer and dtype, made by PyTorch on a CPU with the layers, weights and inputs below: the first eight
/// elements of the result, of the input's gradient and of the first parameter's gradient.
const THEIRS: &str = include_str!("data/half_layers.txt");

/// Numbers that both halves hold exactly.
fn pattern(
    shape: &[usize],
    (step, offset, modulus, middle, over): (i64, i64, i64, i64, f64),
) -> Result<Tensor> {
    let n: usize = shape.iter().product();
    let values = (0..n as i64).map(|i| ((i * step + offset) % modulus - middle) as f64 / over);
    Tensor::from_vec(values.collect::<Vec<f64>>(), shape)
}

pub(super) fn input(shape: &[usize], dtype: DType, k: i64) -> Result<Tensor> {
    pattern(shape, (37, k * 13, 101, 50, 64.0))?.to_dtype(dtype)
}

pub(super) fn fill(model: &(impl Module + ?Sized), dtype: DType) -> Result<()> {
    for (k, p) in model.parameters().iter().enumerate() {
        no_grad(|| p.copy_(&pattern(&p.dims(), (29, k as i64 * 7, 61, 30, 128.0))?))?;
    }
    model.to_dtype(dtype)
}

type Net = Box<dyn Fn(&Tensor) -> Result<Tensor>>;

/// A function of the input, its parameters, and the input's shape.
struct Case(Net, Vec<Tensor>, &'static [usize]);

fn layer(
    model: impl Module + 'static,
    dtype: DType,
    shape: &'static [usize],
    forward: fn(&dyn Module, &Tensor) -> Result<Tensor>,
) -> Result<Case> {
    fill(&model, dtype)?;
    let parameters = model.parameters();
    Ok(Case(Box::new(move |x| forward(&model, x)), parameters, shape))
}

fn plain<M: Forward + 'static>(model: M, dtype: DType, shape: &'static [usize]) -> Result<Case> {
    layer(model, dtype, shape, |m, x| m.downcast_ref::<M>().expect("the same module").forward(x))
}

fn loss(f: impl Fn(&Tensor) -> Result<Tensor> + 'static) -> Result<Case> {
    Ok(Case(Box::new(f), Vec::new(), &[4, 6]))
}

fn case(name: &str, dtype: DType) -> Result<Case> {
    const FLAT: &[usize] = &[4, 6];
    const IMAGE: &[usize] = &[2, 3, 4, 4];
    const STEPS: &[usize] = &[3, 2, 5];
    const WORDS: &[usize] = &[3, 2, 8];
    let classes = || tensor![1i64, 0, 3, 2];
    let other = move || input(&[4, 6], dtype, 3);
    let mean = Reduction::Mean;
    match name {
        "linear" => plain(Linear::new(6, 5), dtype, FLAT),
        "conv1d" => plain(Conv1d::new(3, 4, 3).padding(1), dtype, &[2, 3, 8]),
        "conv2d" => plain(Conv2d::new(3, 4, 3).stride(2).padding(1), dtype, &[2, 3, 6, 6]),
        "conv_transpose2d" => plain(ConvTranspose2d::new(3, 2, 3).stride(2), dtype, IMAGE),
        "layer_norm" => plain(LayerNorm::new(6), dtype, FLAT),
        "rms_norm" => plain(RMSNorm::new(6).eps(1e-5), dtype, FLAT),
        "batch_norm2d" => plain(BatchNorm2d::new(3), dtype, IMAGE),
        "group_norm" => plain(GroupNorm::new(2, 4), dtype, &[2, 4, 3, 3]),
        "instance_norm2d" => plain(InstanceNorm2d::new(3).affine(true), dtype, IMAGE),
        "prelu" => plain(PReLU::new(1), dtype, FLAT),
        "gelu" => plain(GELU::new(), dtype, FLAT),
        "silu" => plain(SiLU::new(), dtype, FLAT),
        "softmax" => plain(Softmax::new(-1), dtype, FLAT),
        "log_softmax" => plain(LogSoftmax::new(-1), dtype, FLAT),
        "max_pool2d" => plain(MaxPool2d::new(2), dtype, IMAGE),
        "avg_pool2d" => plain(AvgPool2d::new(2), dtype, IMAGE),
        "adaptive_avg_pool2d" => plain(AdaptiveAvgPool2d::new(1), dtype, IMAGE),
        "lstm" => layer(LSTM::new(5, 4).num_layers(2), dtype, STEPS, |m, x| {
            Ok(m.downcast_ref::<LSTM>().expect("the same module").forward(x, None)?.0)
        }),
        "gru" => layer(GRU::new(5, 4), dtype, STEPS, |m, x| {
            Ok(m.downcast_ref::<GRU>().expect("the same module").forward(x, None)?.0)
        }),
        "rnn" => layer(RNN::new(5, 4), dtype, STEPS, |m, x| {
            Ok(m.downcast_ref::<RNN>().expect("the same module").forward(x, None)?.0)
        }),
        "multihead_attention" => layer(MultiheadAttention::new(8, 2), dtype, WORDS, |m, x| {
            Ok(m.downcast_ref::<MultiheadAttention>().expect("the same module").forward(x, x, x)?.0)
        }),
        "transformer_encoder_layer" => {
            plain(TransformerEncoderLayer::new(8, 2).dim_feedforward(16).dropout(0.0), dtype, WORDS)
        }
        "cross_entropy" => loss(move |x| x.cross_entropy(&classes(), &CrossEntropyOptions::default())),
        "cross_entropy_smooth" => loss(move |x| {
            let options = CrossEntropyOptions { label_smoothing: 0.1, ..CrossEntropyOptions::default() };
            x.cross_entropy(&classes(), &options)
        }),
        "nll_loss" => loss(move |x| x.nll_loss(&classes(), &CrossEntropyOptions::default())),
        "mse_loss" => loss(move |x| x.mse_loss(&other()?, mean)),
        "l1_loss" => loss(move |x| x.l1_loss(&other()?, mean)),
        "smooth_l1_loss" => loss(move |x| x.smooth_l1_loss(&other()?, 1.0, mean)),
        "huber_loss" => loss(move |x| x.huber_loss(&other()?, 1.0, mean)),
        "bce_with_logits" => {
            loss(move |x| x.binary_cross_entropy_with_logits(&other()?.abs()?, None, None, mean))
        }
        "kl_div" => loss(move |x| x.kl_div(&other()?.abs()?, false, Reduction::Sum)?.div(4.0)),
        "attention" => loss(move |x| {
            let (k, v) = (input(&[1, 5, 6], dtype, 3)?, input(&[1, 5, 6], dtype, 4)?);
            let y = x.unsqueeze(0)?.scaled_dot_product_attention(&k, &v, &AttentionOptions::default())?;
            weighted(&y)
        }),
        other => Err(Error::value("case", format!("unknown layer {other}"))),
    }
}

/// A number that all elements take part in with different weights.
fn weighted(y: &Tensor) -> Result<Tensor> {
    if y.rank() == 0 {
        return Ok(y.clone());
    }
    let weights = pattern(&y.dims(), (7, 0, 11, 5, 4.0))?.to_dtype(DType::F32)?;
    y.to_dtype(DType::F32)?.mul(&weights)?.sum()
}

fn numbers(text: &str) -> Vec<f64> {
    text.split_whitespace().map(|word| word.parse().expect("a number")).collect()
}

#[test]
fn layers_and_losses_in_halves_give_pytorchs_values() -> Result<()> {
    let _turn = crate::turn();
    let mut wrong = Vec::new();
    for line in THEIRS.lines() {
        let (head, rest) = line.split_once('|').expect("a name and values");
        let (name, dtype) = head.trim().split_once(' ').expect("a name and a dtype");
        let (dtype, ulp) = match dtype {
            "bfloat16" => (DType::BF16, 1.0 / 256.0),
            _ => (DType::F16, 1.0 / 2048.0),
        };
        let Case(net, parameters, shape) = case(name, dtype)?;
        let x = input(shape, dtype, 0)?.requires_grad_(true)?;
        let y = net(&x)?;
        weighted(&y)?.backward()?;
        let gradients = [x.grad(), parameters.first().and_then(Tensor::grad)];
        let [x_grad, p_grad] = gradients;
        for (what, ours, theirs) in ["result", "input's gradient", "parameter's gradient"]
            .into_iter()
            .zip([Some(y), x_grad, p_grad])
            .zip(rest.split('|'))
            .map(|((what, ours), theirs)| (what, ours, numbers(theirs)))
        {
            let Some(ours) = ours.filter(|_| !theirs.is_empty()) else { continue };
            // The result of a loss is a half too.
            assert_eq!(
                ours.dtype(),
                if name == "attention" && what == "result" { DType::F32 } else { dtype }
            );
            let ours = ours.to_dtype(DType::F64)?.flatten(0, -1)?.to_vec::<f64>()?;
            let size = theirs.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            let off = theirs.iter().zip(&ours).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            // Both round every step to a half; a few such steps lie between input and result.
            if off.is_nan() || off > 6.0 * ulp * size {
                wrong.push(format!("{name} {dtype}: the {what} is {ours:?}, PyTorch has {theirs:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
