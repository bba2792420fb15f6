//! What a training script needs around the training: flags, gradients that are cleared, texts of layers, a clock.

use std::time::{Duration, Instant};

use anyhow::Result;
use kiln::prelude::*;

use super::Replay;
use super::autograd::grad_of;
use super::case::Case;

/// The cases of this topic.
pub const CASES: &[(&str, Replay)] = &[
    ("timing", |c| Ok(timing(c)?)),
    ("mode-flags", |c| Ok(mode_flags(c)?)),
    ("zero-grad", |c| Ok(zero_grad(c)?)),
    ("module-texts", |c| Ok(module_texts(c)?)),
];

fn timing(case: &Case<'_>) -> Result<()> {
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(2));
    let seconds = start.elapsed().as_secs_f64();
    case.criterion("criterion", seconds >= 0.002)
}

fn mode_flags(case: &Case<'_>) -> Result<()> {
    let net = sequential![Linear::new(2, 2), sequential![Dropout::new(0.5), BatchNorm1d::new(2)]];
    let flags = || net.named_modules().iter().map(|(_, module)| module.is_training()).collect::<Vec<_>>();
    net.eval();
    case.is("eval", flags())?;
    net.train();
    case.is("train", flags())
}

fn zero_grad(case: &Case<'_>) -> Result<()> {
    let parameters = [Tensor::ones(2).requires_grad_(true)?, Tensor::ones(2).requires_grad_(true)?];
    let mut optimizer = SGD::new(parameters.to_vec(), 0.1);
    let used = &parameters[0];
    (3 * used).sum()?.backward()?;
    case.is("grad", grad_of(used)?)?;
    // What has no gradient is passed over.
    optimizer.step()?;
    case.is("after_step", parameters.iter().map(Tensor::detach).collect::<Vec<_>>())?;
    grad_of(used)?.zero_()?;
    case.is("zeros", grad_of(used)?)?;
    optimizer.zero_grad();
    case.is("none", used.grad())
}

fn module_texts(case: &Case<'_>) -> Result<()> {
    let modules: Vec<Box<dyn std::fmt::Display>> = vec![
        Box::new(Linear::new(2, 1)),
        Box::new(Conv2d::new(1, 6, 5)),
        Box::new(MaxPool2d::new(2)),
        Box::new(BatchNorm2d::new(4)),
        Box::new(ReLU),
        Box::new(Sigmoid),
        Box::new(Flatten::new()),
        Box::new(LSTM::new(3, 4).num_layers(2).batch_first(true)),
        Box::new(Identity),
        Box::new(ConvTranspose2d::new(3, 2, 4).stride(2).padding(1)),
        Box::new(MultiheadAttention::new(8, 2)),
        Box::new(sequential![Linear::new(2, 2), sequential![ReLU, Linear::new(2, 1)]]),
        Box::new(GRU::new(2, 3)),
        Box::new(Unflatten::new(1, [2, 3])),
        Box::new(Upsample::scale([2.0])),
    ];
    case.is("texts", modules.iter().map(|module| module.to_string()).collect::<Vec<_>>())
}
