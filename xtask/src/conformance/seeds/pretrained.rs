//! A residual network: drawn from a seed, with weights from a file, and fine-tuned.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use kiln::models::{ResNet, ResNetOptions, resnet18, weights};
use kiln::prelude::*;

use super::Replay;
use super::autograd::grad_of;
use super::case::Case;
use super::check::Slack;
use super::printing::size_text;
use crate::conformance::recording::Stop;

/// The cases of this topic.
pub const CASES: &[(&str, Replay)] = &[
    ("resnet18-seeded", |c| Ok(seeded(c)?)),
    ("resnet18-weights", from_file),
    ("freeze-and-replace", |c| Ok(freeze_and_replace(c)?)),
];

/// The parameters by their names.
fn parameters(net: &impl Module) -> BTreeMap<String, Tensor> {
    net.named_parameters().into_iter().collect()
}

fn seeded(case: &Case<'_>) -> Result<()> {
    case.seed()?;
    let net = resnet18(1000)?;
    case.is("parameters", net.num_parameters())?;
    case.is("entries", net.state_dict().len())?;
    let (data, labels) = (Tensor::rand([1, 3, 64, 64]), Tensor::rand([1, 1000]));
    let prediction = net.forward(&data)?;
    case.is("shape_text", size_text(&prediction))?;
    case.is("prediction", &prediction)?;
    let loss = (&prediction - &labels).sum()?;
    case.is("loss", &loss)?;
    loss.backward()?;
    let running_mean = net.bn1.running_mean().context("running statistics")?.tensor();
    case.is("running_mean_after", running_mean)?;
    let named = parameters(&net);
    for name in case.expected("grads")?.as_object().context("gradients by name")?.keys() {
        let grad = grad_of(named.get(name).context("a parameter")?)?.to_dtype(F64)?;
        let abs_sum = grad.abs()?.sum()?.to_f64()?;
        let slack = Slack::Absolute(1e-3 * abs_sum);
        case.is_within(&format!("grads/{name}/sum"), grad.sum()?.to_f64()?, slack)?;
        case.is_within(&format!("grads/{name}/abs_sum"), abs_sum, slack)?;
    }
    let before = net.fc.weight.detach().copy()?;
    SGD::new(net.parameters(), 1e-2).momentum(0.9).step()?;
    case.is("fc_step", net.fc.weight.detach().sub(&before)?)?;
    net.eval();
    case.is("eval_after_step", no_grad(|| net.forward(&data))?)
}

fn from_file(case: &Case<'_>) -> Result<(), Stop> {
    let names = case.file("files/checkpoints/resnet18_names.json")?;
    let small = case.file("files/checkpoints/resnet_small.pth")?;
    let reference = case.file("files/checkpoints/resnet_small.reference.safetensors")?;
    let good = has_names(&names)? && reproduces(&small, &reference)?;
    case.criterion("criterion", good)?;
    // The file itself is checked against this when there is one.
    Ok(case.criterion("not_measured_here", weights::RESNET18.sha256.starts_with("f37072fd"))?)
}

/// Whether the full network has exactly these names and shapes, in this order.
fn has_names(path: &Path) -> Result<bool> {
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path)?)?;
    let wanted: BTreeMap<String, Vec<usize>> = serde_json::from_value(json["names"].clone())?;
    let own: BTreeMap<String, Vec<usize>> =
        resnet18(1000)?.state_dict().iter().map(|(name, t)| (name.to_owned(), t.dims().to_vec())).collect();
    Ok(own == wanted)
}

/// Whether the narrow network, loaded from its file, gives the recorded outputs and the recorded step of fine-tuning.
fn reproduces(weights: &Path, reference: &Path) -> Result<bool> {
    let reference: StateDict = kiln::io::load_safetensors(reference)?.into_iter().collect();
    let recorded = |name: &str| reference.get(name).with_context(|| format!("no recorded {name}"));
    let close = |got: &Tensor, name: &str| {
        Ok::<_, anyhow::Error>(got.allclose(recorded(name)?, 1e-4, 1e-5, false)?)
    };
    let mut net = ResNetOptions::basic([2, 2, 2, 2]).widths([4, 5, 6, 8]).num_classes(10).build()?;
    net.load_state_dict(&kiln::load(weights)?)?;
    net.eval();
    let input = recorded("input")?;
    let mut good = close(&net.forward(input)?, "output_eval")?;

    let before = replace_head(&mut net, 3)?;
    let head: StateDict = [("weight", "new_fc.weight"), ("bias", "new_fc.bias")]
        .into_iter()
        .map(|(name, stored)| Ok((name.to_owned(), recorded(stored)?.clone())))
        .collect::<Result<_>>()?;
    net.fc.load_state_dict(&head)?;
    net.train();
    let mut optimizer = SGD::new(net.parameters(), 0.01).momentum(0.9);
    let output = net.forward(input)?;
    let loss = CrossEntropyLoss::new().forward(&output, &tensor![2, 0])?;
    loss.backward()?;
    optimizer.step()?;
    good &= close(&output, "output_train")? && close(&loss, "loss")?;
    let named = parameters(&net);
    for name in ["fc.weight", "fc.bias"] {
        let parameter = named.get(name).context("a parameter")?;
        good &= close(&grad_of(parameter)?, &format!("{name}.grad"))?;
        good &= close(&parameter.detach(), &format!("{name}.after"))?;
    }
    for name in ["bn1.running_mean", "bn1.running_var"] {
        good &= close(net.state_dict().get(name).context("a buffer")?, &format!("{name}.after"))?;
    }
    for (name, old) in before.iter().filter(|(name, _)| !name.starts_with("fc.")) {
        let parameter = named.get(name).context("a parameter")?;
        good &= parameter.grad().is_none() && parameter.detach().equal(old)?;
    }
    Ok(good)
}

/// Freezes the network and gives it a fresh last layer for so many classes; copies of the parameters come back.
fn replace_head(net: &mut ResNet, classes: usize) -> Result<BTreeMap<String, Tensor>> {
    net.requires_grad_(false)?;
    net.fc = Linear::new(net.fc.in_features(), classes);
    parameters(net).into_iter().map(|(name, t)| Ok((name, t.detach().copy()?))).collect()
}

fn freeze_and_replace(case: &Case<'_>) -> Result<()> {
    case.seed()?;
    let mut net = resnet18(1000)?;
    let before = replace_head(&mut net, case.int("classes")? as usize)?;
    let data = Tensor::rand([2, 3, 64, 64]);
    net.eval();
    let mut optimizer = SGD::new(net.parameters(), 1e-2).momentum(0.9);
    let loss = CrossEntropyLoss::new().forward(&net.forward(&data)?, &tensor![3, 1])?;
    case.is("loss", &loss)?;
    loss.backward()?;
    case.is("fc_grad", grad_of(&net.fc.weight)?)?;
    optimizer.step()?;
    let named = net.named_parameters();
    let names = |keep: &dyn Fn(&str, &Tensor) -> Result<bool>| -> Result<Vec<String>> {
        let mut kept = Vec::new();
        for (name, t) in &named {
            if keep(name, t)? {
                kept.push(name.clone());
            }
        }
        Ok(kept)
    };
    case.is("with_gradient", names(&|_, t| Ok(t.grad().is_some()))?)?;
    case.is("changed", names(&|name, t| Ok(!t.detach().equal(&before[name])?))?)?;
    case.is("tracked", names(&|_, t| Ok(t.requires_grad()))?)?;
    case.is("fc_weight_after", net.fc.weight.detach())?;
    let state = optimizer.state_dict()?;
    case.is("optimizer_entries", state.param_groups.iter().map(|group| group.params.len()).sum::<usize>())?;
    case.is("state_entries", state.state.len())
}
