//! Networks and data: models as types of their own, data sets, loaders and how samples are joined.

mod loading;

use anyhow::{Context as _, Result, ensure};
use kiln::prelude::*;

use super::Replay;
use super::case::Case;
use crate::conformance::trajectories;

/// The cases of this topic.
pub const CASES: &[(&str, Replay)] = &[
    ("lenet-32", |c| Ok(lenet(c)?)),
    ("mlp-sum-loss", |c| Ok(sum_loss(c)?)),
    ("custom-layer", |c| Ok(custom_layer(c)?)),
    ("custom-dataset", |c| Ok(loading::custom_dataset(c)?)),
    ("loader-of-numbers", |c| Ok(loading::numbers(c)?)),
    ("collate-kinds", |c| Ok(loading::kinds(c)?)),
    ("lazy-items", |c| Ok(loading::lazy(c)?)),
    ("is-tensor-reshape-batch", |c| Ok(shapes(c)?)),
    ("training-framework", |c| Ok(framework(c)?)),
    ("worker-processes", |c| Ok(loading::workers(c)?)),
];

#[derive(Module)]
struct Lenet32 {
    conv1: Conv2d,
    conv2: Conv2d,
    fc1: Linear,
    fc2: Linear,
    fc3: Linear,
}

impl Lenet32 {
    fn new() -> Lenet32 {
        Lenet32 {
            conv1: Conv2d::new(1, 6, 5),
            conv2: Conv2d::new(6, 16, 5),
            fc1: Linear::new(400, 120),
            fc2: Linear::new(120, 84),
            fc3: Linear::new(84, 10),
        }
    }
}

impl Forward for Lenet32 {
    fn forward(&self, x: &Tensor) -> kiln::Result<Tensor> {
        let pool = |x: Tensor| x.relu()?.max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false);
        let x = pool(self.conv1.forward(x)?)?;
        let x = pool(self.conv2.forward(&x)?)?.flatten(1, -1)?;
        let x = self.fc1.forward(&x)?.relu()?;
        self.fc3.forward(&self.fc2.forward(&x)?.relu()?)
    }
}

fn lenet(case: &Case<'_>) -> Result<()> {
    case.seed()?;
    let net = Lenet32::new();
    let x = Tensor::randn([2, 1, 32, 32]);
    case.is("text", net.to_string())?;
    case.is("parameters", net.num_parameters())?;
    let out = net.forward(&x)?;
    out.sum()?.backward()?;
    case.is("output", out)?;
    for (name, parameter) in net.named_parameters() {
        case.is(&format!("grads/{name}"), parameter.grad())?;
    }
    Ok(())
}

fn sum_loss(case: &Case<'_>) -> Result<()> {
    case.seed()?;
    let model = sequential![Linear::new(10, 66), ReLU::new(), Linear::new(66, 5)];
    let (x, y) = (Tensor::randn([100, 10]), Tensor::randn([100, 5]));
    let loss_fn = MSELoss::new().reduction(Reduction::Sum);
    let mut optimizer = SGD::new(model.parameters(), 1e-3);
    let mut losses = Vec::new();
    for _ in 0..5 {
        let loss = loss_fn.forward(&model.forward(&x)?, &y)?;
        losses.push(loss.to_f64()?);
        optimizer.zero_grad();
        loss.backward()?;
        optimizer.step()?;
    }
    case.is_within("losses", losses, super::check::Slack::Relative(1e-3))?;
    case.is("text", model.to_string())
}

#[derive(Module)]
struct NetSigmoid {
    fc1: Linear,
    fc2: Linear,
}

impl Forward for NetSigmoid {
    fn forward(&self, x: &Tensor) -> kiln::Result<Tensor> {
        self.fc2.forward(&self.fc1.forward(x)?.sigmoid()?)
    }
}

fn custom_layer(case: &Case<'_>) -> Result<()> {
    case.seed()?;
    let net = NetSigmoid { fc1: Linear::new(10, 20), fc2: Linear::new(20, 5) };
    let out = net.forward(&Tensor::randn([1, 10]))?;
    case.is("text", out.to_string())?;
    case.is("output", out)?;
    case.is("model_text", net.to_string())
}

fn shapes(case: &Case<'_>) -> Result<()> {
    let n = case.int("n")?;
    let batch = Tensor::rand([n as usize, 1, 28, 28]);
    let pictures = batch.reshape([n, 28, 28])?;
    case.is("reshape", pictures.dims())?;
    case.is("squeeze", batch.squeeze()?.dims())?;
    case.is("squeeze_of_one", Tensor::rand([1, 1, 28, 28]).squeeze()?.dims())?;
    case.is("is_view", pictures.shares_storage(&batch))?;
    // What Python asks while it runs, Rust's types say before; a value of any type can be asked too.
    let values: [&dyn std::any::Any; 2] = [&pictures, &[1i64, 2, 3]];
    case.is("is_tensor", values.iter().map(|value| value.is::<Tensor>()).collect::<Vec<_>>())
}

fn framework(case: &Case<'_>) -> Result<()> {
    let vectors = case.vectors();
    let mut told = Vec::new();
    let tally = trajectories::replay(vectors, &mut told)?.total();
    ensure!(tally.total() > 0, "no training run under {}", vectors.display());
    let all = tally.passed == tally.total();
    case.criterion("criterion", all).with_context(|| String::from_utf8_lossy(&told).into_owned())
}
