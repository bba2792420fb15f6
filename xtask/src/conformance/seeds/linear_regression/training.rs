//! Lines fitted to data, in the ways of the tutorials.

use anyhow::{Context as _, Result};
use kiln::prelude::*;

use super::super::case::Case;
use super::super::check::Slack;
use super::synthetic_data;

/// Losses of a training run, where a case says so.
const LOSSES: Slack = Slack::Absolute(1e-6);

pub fn squared_loss(y_hat: &Tensor, y: &Tensor) -> kiln::Result<Tensor> {
    (y_hat - y.view(y_hat.shape())?).pow(2)?.div(2)
}

pub fn sgd(parameters: &[&Tensor], lr: f64, batch_size: usize) -> Result<()> {
    for p in parameters {
        let grad = p.grad().context("a gradient")?;
        p.data().sub_(&(lr * grad / batch_size))?;
    }
    Ok(())
}

pub fn concise(case: &Case<'_>) -> Result<()> {
    case.seed()?;
    let (true_w, true_b) = (tensor![2., -3.4], 4.2);
    let (features, labels) = synthetic_data(&true_w, true_b)?;
    let loader = DataLoader::new(TensorDataset::new((features.clone(), labels.clone()))?, 10).shuffle(true);
    let layer = Linear::new(2, 1);
    let bias = layer.bias.clone().context("a bias")?;
    layer.weight.data().normal_(0.0, 0.01)?;
    bias.data().fill_(1)?;
    let weight = layer.weight.clone();
    let net = sequential![layer];
    let loss = MSELoss::new();
    let mut trainer = SGD::new(net.parameters(), 0.03);
    let (mut losses, mut lines) = (Vec::new(), Vec::new());
    for epoch in 1..=3 {
        for batch in &loader {
            let (x, y) = batch?;
            let l = loss.forward(&net.forward(&x)?, &y)?;
            trainer.zero_grad();
            l.backward()?;
            trainer.step()?;
        }
        let l = loss.forward(&net.forward(&features)?, &labels)?;
        lines.push(format!("epoch {epoch}, loss {l:.6}"));
        losses.push(l.to_f64()?);
    }
    let parameters = Slack::Relative(1e-4);
    let weight_error = true_w - weight.data().reshape(2)?;
    let bias_error = true_b - bias.data();
    let small = |t: &Tensor| Ok::<bool, kiln::Error>(t.abs()?.max()?.to_f64()? < 0.01);
    let good = losses[2] < 2e-4 && small(&weight_error)? && small(&bias_error)?;
    case.criterion("criterion", good)?;
    case.is_within("losses", losses, LOSSES)?;
    case.is("lines", lines)?;
    case.is_within("weight", weight.tensor(), parameters)?;
    case.is_within("bias", bias.tensor(), parameters)?;
    // An error is the difference of two numbers of the size of the parameters.
    case.is_within("weight_error", weight_error, Slack::Absolute(1e-4 * 3.4))?;
    case.is_within("bias_error", bias_error, Slack::Absolute(1e-4 * 4.2))
}

pub fn scratch(case: &Case<'_>) -> Result<()> {
    case.seed()?;
    let (true_w, true_b) = (tensor![2., -3.4], 4.2);
    let (features, labels) = synthetic_data(&true_w, true_b)?;
    let w = Tensor::normal(0.0, 0.01, [2, 1])?.requires_grad_(true)?;
    let b = Tensor::zeros(1).requires_grad_(true)?;
    let net = |x: &Tensor| Ok::<_, kiln::Error>(x.mm(&w)? + &b);
    let (lr, batch_size) = (0.03, 3);
    let (mut losses, mut lines) = (Vec::new(), Vec::new());
    for epoch in 1..=10 {
        let order = Tensor::randperm(1000).to_vec::<i64>()?;
        for indices in order.chunks(batch_size) {
            let (x, y) = (features.i(indices.to_vec())?, labels.i(indices.to_vec())?);
            squared_loss(&net(&x)?, &y)?.sum()?.backward()?;
            sgd(&[&w, &b], lr, batch_size)?;
            [&w, &b].into_iter().for_each(Tensor::zero_grad);
        }
        let l = no_grad(|| squared_loss(&net(&features)?, &labels)?.mean())?;
        lines.push(format!("epoch {epoch}, loss {l:.6}"));
        losses.push(l.to_f64()?);
    }
    case.criterion("criterion", losses.iter().all(|l| *l < 1e-4))?;
    case.is_within("losses", losses, LOSSES)?;
    case.is("lines", lines)?;
    case.is("w", w.detach())?;
    case.is("b", b.detach())?;
    // How the printed errors end: the power of ten, and the node that made them.
    let ends = |path: &str, text: String| -> Result<()> {
        let want = case.expected(path)?.as_str().context("a text")?;
        case.criterion(path, text.ends_with(want))
    };
    ends("weight_error_text_ends", (&true_w - w.reshape(2)?).to_string())?;
    ends("bias_error_text_ends", (true_b - &b).to_string())
}

pub fn five_points(case: &Case<'_>) -> Result<()> {
    let x = Tensor::new(case.numbers("x")?)?;
    let y = Tensor::new(case.numbers("y")?)?;
    case.seed()?;
    let columns = Tensor::stack(&[&x, &Tensor::ones(5)], 1)?;
    let w = Tensor::rand(2).requires_grad_(true)?;
    let mut last = 0.0;
    for epoch in 0..10_000 {
        let loss = (&y - columns.mv(&w)?).pow(2)?.sum()?;
        loss.backward()?;
        w.data().sub_(&(1e-4 * w.grad().context("a gradient")?))?;
        w.grad().context("a gradient")?.zero_()?;
        last = loss.to_f64()?;
        let path = format!("loss_at_epoch/{epoch}");
        if case.expected(&path).is_ok() {
            case.is(&path, last)?;
        }
    }
    case.is("final_loss", last)?;
    case.is("weights", w.detach())?;
    case.is("weights_text", w.data().to_string())
}

/// The line through 100,000 points, all in one batch: the loss of each step, and the layer.
fn fit(case: &Case<'_>, lr: f64, steps: usize) -> Result<(Vec<f64>, Linear)> {
    case.seed()?;
    let x = Tensor::linspace(-3, 3, 100_000).view([-1, 1])?;
    let y = &x + 1.2 * Tensor::rand(x.shape());
    let model = Linear::new(1, 1);
    let criterion = MSELoss::new();
    let mut optimizer = SGD::new(model.parameters(), lr);
    let mut losses = Vec::new();
    for _ in 0..steps {
        let loss = criterion.forward(&model.forward(&x)?, &y)?;
        optimizer.zero_grad();
        loss.backward()?;
        optimizer.step()?;
        losses.push(loss.to_f64()?);
    }
    Ok((losses, model))
}

pub fn full_batch(case: &Case<'_>) -> Result<()> {
    let (losses, model) = fit(case, 1e-4, 200)?;
    let every_20: Vec<f64> = losses.iter().step_by(20).copied().collect();
    case.is("losses_every_20", every_20)?;
    case.is("last", losses[losses.len() - 1])?;
    case.is("weight", model.weight.tensor())?;
    case.is("bias", model.bias.as_ref().map(|b| b.tensor()))
}

pub fn full_batch_long(case: &Case<'_>) -> Result<()> {
    let (losses, model) = fit(case, 1e-4, 10_000)?;
    case.is("loss", losses[losses.len() - 1])?;
    case.is("weight", model.weight.tensor())?;
    case.is("bias", model.bias.as_ref().map(|b| b.tensor()))
}
