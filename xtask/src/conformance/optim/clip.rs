//! Clipping of gradients, and averages of weights.

use anyhow::{Context, Result, ensure};
use kiln_autograd::{Tensor, no_grad};
use kiln_nn::{AveragedModel, Module, Parameter};
use kiln_optim::{clip_grad_norm_, clip_grad_value_};
use serde_json::Value as Json;

use super::super::recording::{Recording, Stop, expect_near, missing, number};

/// How far results may be off, of the largest magnitude.
const ALLOWED: f64 = 1e-5;

/// A model of one tensor.
#[derive(Module)]
struct Weights {
    weight: Parameter,
}

/// Replays a case.
pub fn case(file: &Recording, case: &Json) -> Result<(), Stop> {
    match case["kind"].as_str().unwrap_or("?") {
        "clip_grad_norm" | "clip_grad_value" => Ok(clip(file, case)?),
        "average-swa" | "average-ema" => Ok(average(file, case)?),
        other => missing(other),
    }
}

fn clip(file: &Recording, case: &Json) -> Result<()> {
    let tensors = |key: &str| -> Result<Vec<Tensor>> {
        let names = case[key].as_array().with_context(|| format!("no {key}"))?;
        names.iter().map(|name| file.tensor(name.as_str().context("no key of a tensor")?)).collect()
    };
    let option = |name: &str| number(&case["options"][name]);
    let mut params = Vec::new();
    for grad in tensors("grads")? {
        let p = grad.zeros_like()?.requires_grad_(true)?;
        p.set_grad(Some(grad))?;
        params.push(p);
    }
    if case["kind"] == "clip_grad_value" {
        clip_grad_value_(&params, option("clip_value").context("no clip_value")?)?;
    } else {
        let max = option("max_norm").context("no max_norm")?;
        let norm = clip_grad_norm_(&params, max, option("norm_type").unwrap_or(2.0))?;
        let want = number(&case["total_norm"]).context("no total_norm")?;
        ensure!((norm - want).abs() <= ALLOWED * want.abs(), "the norm is {norm}, not {want}");
    }
    for (i, (p, want)) in params.iter().zip(tensors("clipped")?).enumerate() {
        let grad = p.grad().context("the gradient is gone")?;
        expect_near(&grad, &want, ALLOWED, || format!("gradient {i}"))?;
    }
    Ok(())
}

fn average(file: &Recording, case: &Json) -> Result<()> {
    let stored = |key: &str| file.tensor(case[key].as_str().unwrap_or("?"));
    let (weights, averages) = (stored("weights")?, stored("averages")?);
    let weights_of = |values: Tensor| -> Result<Weights> { Ok(Weights { weight: Parameter::new(values)? }) };
    let model = weights_of(weights.select(0, 0)?.copy()?)?;
    let mut averaged = AveragedModel::new(weights_of(model.weight.zeros_like()?)?, &model)?;
    if let Some(decay) = number(&case["decay"]) {
        averaged = averaged.ema(decay)?;
    }
    for t in 0..weights.size(0)? as i64 {
        no_grad(|| model.weight.copy_(&weights.select(0, t)?))?;
        averaged.update_parameters(&model)?;
        let want = averages.select(0, t)?;
        expect_near(&averaged.module().weight.detach(), &want, ALLOWED, || format!("the average {t}"))?;
    }
    Ok(())
}
