//! Recorded initialisation: init functions, and the parameters that new layers and whole models have.

use anyhow::{Context, Result, ensure};
use kiln_autograd::kiln_ops::random::default_generator;
use kiln_autograd::{DType, Tensor, manual_seed};
use kiln_nn::init::{self, Fan, Nonlinearity};
use serde_json::{Value as Json, json};

use super::super::net::Net;
use super::super::recording::{Recording, Stop, missing, number, seed, tensor_deviation};
use super::step::{Slack, compare};

/// Fills a tensor by the function of a step.
pub fn fill(t: &Tensor, step: &Json) -> Result<(), Stop> {
    let kwargs = &step["kwargs"];
    let n = |name: &str, default: f64| kwargs.get(name).and_then(number).unwrap_or(default);
    let fan = if kwargs["mode"] == "fan_out" { Fan::Out } else { Fan::In };
    let nonlinearity = match kwargs["nonlinearity"].as_str() {
        None | Some("leaky_relu") => Nonlinearity::LeakyRelu(n("a", 0.0)),
        Some("relu") => Nonlinearity::Relu,
        Some("tanh") => Nonlinearity::Tanh,
        Some("sigmoid") => Nonlinearity::Sigmoid,
        Some("selu") => Nonlinearity::Selu,
        Some(name) if name == "linear" || name.starts_with("conv") => Nonlinearity::Linear,
        Some(other) => return missing(format!("the nonlinearity {other}")),
    };
    let result = match step["fn"].as_str().unwrap_or("?") {
        "uniform_" => init::uniform_(t, n("a", 0.0), n("b", 1.0)),
        "normal_" => init::normal_(t, n("mean", 0.0), n("std", 1.0)),
        "trunc_normal_" => init::trunc_normal_(t, n("mean", 0.0), n("std", 1.0), n("a", -2.0), n("b", 2.0)),
        "constant_" => init::constant_(t, n("val", 0.0)),
        "ones_" => init::ones_(t),
        "zeros_" => init::zeros_(t),
        "eye_" => init::eye_(t),
        "dirac_" => init::dirac_(t, n("groups", 1.0) as usize),
        "xavier_uniform_" => init::xavier_uniform_(t, n("gain", 1.0)),
        "xavier_normal_" => init::xavier_normal_(t, n("gain", 1.0)),
        "kaiming_uniform_" => init::kaiming_uniform_(t, fan, nonlinearity),
        "kaiming_normal_" => init::kaiming_normal_(t, fan, nonlinearity),
        "orthogonal_" => init::orthogonal_(t, n("gain", 1.0)),
        "sparse_" => init::sparse_(t, n("sparsity", 0.0), n("std", 0.01)),
        other => return missing(format!("the init function {other}")),
    };
    Ok(result?)
}

/// Compares what a function filled. Double precision normals go through functions of the C library.
pub fn compare_filled(got: &Tensor, want: &Tensor, case: &Json) -> Result<()> {
    let near = |allowed: f64| -> Result<()> {
        let off = tensor_deviation(got, want, 1e-30)?;
        ensure!(off <= allowed, "off by {off:e}");
        Ok(())
    };
    match case["compare"].as_str() {
        Some("1e-5") => near(1e-5),
        _ if want.dtype() == DType::F64 => near(4.0 * f64::EPSILON),
        _ => compare(got, want, Slack::Exact),
    }
}

/// A new layer, and what the stream gives next.
pub fn layer(file: &Recording, case: &Json) -> Result<(), Stop> {
    let class = case["module"].as_str().context("no class")?;
    manual_seed(seed(&case["seed"])?);
    let mut net = Net::default();
    net.add("layer", class, &case["args"], &case["kwargs"])?;
    let mut next = vec![0i64; 2];
    default_generator().random_from_to(&mut next, 0, 1 << 24)?;
    let state = net.state();
    let recorded = case["state"].as_object().context("no state")?;
    if state.len() != recorded.len() {
        let names: Vec<&String> = state.keys().collect();
        return Err(anyhow::anyhow!("the layer has {names:?}, not {} tensors", recorded.len()).into());
    }
    for (name, key) in recorded {
        let got = state.get(&format!("layer.{name}")).with_context(|| format!("no {name}"))?;
        let want = file.tensor(key.as_str().context("no key")?)?;
        compare_filled(&got.detach(), &want, case).with_context(|| name.clone())?;
    }
    let probe = file.tensor(case["probe"].as_str().context("no probe")?)?;
    compare(&Tensor::from_vec(next, [2])?, &probe, Slack::Exact).context("the stream afterwards")?;
    Ok(())
}

/// A whole model: sums and first elements of its state.
pub fn model(case: &Json) -> Result<(), Stop> {
    manual_seed(seed(&case["seed"])?);
    let net = match case["model"].as_str().unwrap_or("?") {
        "lenet" => lenet()?,
        "resnet18" => resnet18()?,
        other => return missing(format!("the model {other}")),
    };
    let state = net.state();
    for (name, want) in case["summary"].as_object().context("no summary")? {
        let got = state.get(name).with_context(|| format!("no {name}"))?;
        let values: Vec<f64> = got.detach().to_dtype(DType::F64)?.to_vec()?;
        for (value, want) in values.iter().zip(want["head"].as_array().context("no head")?) {
            if Some(*value) != number(want) {
                return Err(anyhow::anyhow!("{name} starts with {value:?}, not {want}").into());
            }
        }
        let sums = [("sum", values.iter().sum::<f64>()), ("abs_sum", values.iter().map(|x| x.abs()).sum())];
        for (key, sum) in sums {
            let (want, size) = (number(&want[key]), number(&want["abs_sum"]));
            let near = want.zip(size).is_some_and(|(w, size)| (sum - w).abs() <= 1e-5 * size.max(1e-30));
            if !near {
                return Err(anyhow::anyhow!("{name}: the {key} is {sum}, not {want:?}").into());
            }
        }
    }
    Ok(())
}

fn lenet() -> Result<Net, Stop> {
    let mut net = Net::default();
    net.add("0", "Conv2d", &json!([1, 6, 5]), &json!({"padding": 2}))?;
    net.add("3", "Conv2d", &json!([6, 16, 5]), &json!({}))?;
    net.add("7", "Linear", &json!([400, 120]), &json!({}))?;
    net.add("9", "Linear", &json!([120, 84]), &json!({}))?;
    net.add("11", "Linear", &json!([84, 10]), &json!({}))?;
    Ok(net)
}

/// The parameters of torchvision's model: built in the order of its constructor, then convolutions drawn anew.
fn resnet18() -> Result<Net, Stop> {
    let mut net = Net::default();
    let conv = |net: &mut Net, name: &str, from: usize, to: usize, kernel: usize| {
        net.add(name, "Conv2d", &json!([from, to, kernel]), &json!({"bias": false}))
    };
    let norm =
        |net: &mut Net, name: &str, width: usize| net.add(name, "BatchNorm2d", &json!([width]), &json!({}));
    let mut drawn = vec!["conv1".to_owned()];
    conv(&mut net, "conv1", 3, 64, 7)?;
    norm(&mut net, "bn1", 64)?;
    let mut from = 64;
    for (i, width) in [64, 128, 256, 512].into_iter().enumerate() {
        let stage = format!("layer{}", i + 1);
        let changes = from != width;
        if changes {
            conv(&mut net, &format!("{stage}.0.downsample.0"), from, width, 1)?;
            norm(&mut net, &format!("{stage}.0.downsample.1"), width)?;
        }
        for block in 0..2 {
            let name = format!("{stage}.{block}");
            conv(&mut net, &format!("{name}.conv1"), from, width, 3)?;
            norm(&mut net, &format!("{name}.bn1"), width)?;
            conv(&mut net, &format!("{name}.conv2"), width, width, 3)?;
            norm(&mut net, &format!("{name}.bn2"), width)?;
            drawn.extend([format!("{name}.conv1"), format!("{name}.conv2")]);
            if changes && block == 0 {
                drawn.push(format!("{name}.downsample.0"));
            }
            from = width;
        }
    }
    net.add("fc", "Linear", &json!([512, 1000]), &json!({}))?;
    let state = net.state();
    for name in drawn {
        let weight = state.get(&format!("{name}.weight")).with_context(|| format!("no {name}"))?;
        init::kaiming_normal_(weight, Fan::Out, Nonlinearity::Relu)?;
    }
    Ok(net)
}
