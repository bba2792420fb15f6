//! What goes with training: modes, clearing gradients, clocks, and the texts of layers.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use kiln::prelude::*;

use super::Replay;
use super::case::Case;

/// The cases of this topic that need no picture.
pub const CASES: &[(&str, Replay)] = &[
    ("timing", |c| Ok(timing(c)?)),
    ("mode-flags", |c| Ok(mode_flags(c)?)),
    ("zero-grad", |c| Ok(zero_grad(c)?)),
    ("module-texts", |c| Ok(module_texts(c)?)),
];

fn timing(case: &Case<'_>) -> Result<()> {
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(2));
    let first = start.elapsed();
    let second = start.elapsed();
    let printed: f64 = format!("{:.4}", first.as_secs_f64()).parse()?;
    case.criterion("criterion", first >= Duration::from_millis(2) && second >= first && printed >= 0.002)
}

fn mode_flags(case: &Case<'_>) -> Result<()> {
    // Layers that neither learn nor behave differently have no flag; these have one or hold one.
    let inner = sequential![Linear::new(2, 2), Dropout::new(0.5)];
    let net = sequential![inner, BatchNorm1d::new(2)];
    let flags = || -> kiln::Result<Vec<bool>> {
        let mut flags = Vec::new();
        net.apply(|module| {
            flags.push(module.is_training());
            Ok(())
        })?;
        Ok(flags)
    };
    net.eval();
    case.is("eval", flags()?)?;
    net.train();
    case.is("train", flags()?)
}

fn zero_grad(case: &Case<'_>) -> Result<()> {
    let used = Tensor::ones(2).requires_grad_(true)?;
    let unused = Tensor::ones(2).requires_grad_(true)?;
    let mut optimizer = SGD::new(vec![used.clone(), unused.clone()], 0.1);
    (3 * &used).sum()?.backward()?;
    let grad = used.grad().context("a gradient")?;
    case.is("grad", grad.copy()?)?;
    optimizer.step()?;
    case.is("after_step", vec![used.detach(), unused.detach()])?;
    grad.zero_()?;
    case.is("zeros", used.grad())?;
    optimizer.zero_grad();
    case.is("none", used.grad())
}

fn module_texts(case: &Case<'_>) -> Result<()> {
    let texts = vec![
        Linear::new(2, 1).to_string(),
        Conv2d::new(1, 6, 5).to_string(),
        MaxPool2d::new(2).to_string(),
        BatchNorm2d::new(4).to_string(),
        ReLU::new().to_string(),
        Sigmoid::new().to_string(),
        Flatten::new().to_string(),
        LSTM::new(3, 4).num_layers(2).batch_first(true).to_string(),
        Identity::new().to_string(),
        ConvTranspose2d::new(3, 2, 4).stride(2).padding(1).to_string(),
        MultiheadAttention::new(8, 2).to_string(),
        sequential![Linear::new(2, 2), sequential![ReLU::new(), Linear::new(2, 1)]].to_string(),
        GRU::new(2, 3).to_string(),
        Unflatten::new(1, [2, 3]).to_string(),
        Upsample::scale([2.0]).to_string(),
    ];
    case.is("texts", texts)
}
