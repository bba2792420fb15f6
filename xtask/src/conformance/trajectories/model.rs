//! The networks of the runs.

use anyhow::{Context, Result};
use kiln_autograd::Tensor;
use kiln_nn::init::{self, Fan, Nonlinearity};
use serde_json::{Value as Json, json};

use super::super::net::Net;
use super::super::recording::{Stop, missing};

/// A network: its layers, and what is done with them.
pub struct Model {
    net: Net,
    kind: Kind,
}

enum Kind {
    /// One layer after the other.
    Sequential,
    /// `x w + b`.
    Line,
    /// Embedding, recurrent layers, the last time step, linear.
    Recurrent,
    /// Two basic blocks after a convolution.
    Residual,
    /// Embedding plus positions, encoder, mean over positions, linear.
    Transformer,
}

/// A basic block and whether its branch around is a convolution.
const BLOCKS: [(&str, bool); 2] = [("layer1.0", false), ("layer1.1", true)];

impl Model {
    /// Builds the network, which draws its parameters from the default stream.
    pub fn build(case: &Json) -> Result<Self, Stop> {
        let (model, mut net) = (&case["model"], Net::default());
        let args = &model["args"];
        let kind = match model["kind"].as_str().unwrap_or("?") {
            "sequential" => {
                for (i, layer) in model["layers"].as_array().context("no layers")?.iter().enumerate() {
                    let class = layer[0].as_str().context("a layer without a name")?;
                    net.add(&i.to_string(), class, &layer[1], &layer[2])?;
                }
                Kind::Sequential
            }
            "line from scratch" => {
                net.add_tensor("w", Tensor::normal(0.0, 0.01, [2, 1])?)?;
                net.add_tensor("b", Tensor::zeros([1]))?;
                Kind::Line
            }
            "recurrent classifier" => {
                let rnn = args["kind"].as_str().context("no kind")?;
                net.add("embedding", "Embedding", &json!([args["vocab"], args["emb"]]), &json!({}))?;
                let options =
                    json!({"num_layers": args["layers"], "bidirectional": args["bi"], "batch_first": true});
                net.add("rnn", rnn, &json!([args["emb"], args["hid"]]), &options)?;
                let hidden = args["hid"].as_u64().context("no hid")?;
                let width = if args["bi"] == true { 2 * hidden } else { hidden };
                net.add("head", "Linear", &json!([width, args["classes"]]), &json!({}))?;
                Kind::Recurrent
            }
            "tiny residual" => {
                residual(&mut net, args["width"].as_u64().context("no width")?)?;
                Kind::Residual
            }
            "transformer classifier" => {
                transformer(&mut net, args)?;
                Kind::Transformer
            }
            other => return missing(format!("the model {other}")),
        };
        Ok(Self { net, kind })
    }

    /// The layers.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// Draws parameters anew as the recording says: `default`, or a function for weights.
    pub fn initialise(&self, text: &str) -> Result<(), Stop> {
        // The line's two tensors are drawn when they are made.
        if text == "default" || matches!(self.kind, Kind::Line) {
            return Ok(());
        }
        let parameters = self.net.parameters();
        let weights = || parameters.iter().filter(|(name, t)| name.ends_with("weight") && t.rank() > 1);
        let biases = || parameters.iter().filter(|(name, _)| name.ends_with("bias"));
        let (function, rest) = match text.strip_suffix(" for every convolution and linear weight") {
            Some(function) => (function, ""),
            None => {
                let text = text.strip_prefix("weight ").with_context(|| format!("what is {text:?}?"))?;
                let end = text.find(')').with_context(|| format!("what is {text:?}?"))? + 1;
                (&text[..end], text[end..].trim_start_matches(", "))
            }
        };
        for (_, weight) in weights() {
            match function {
                "xavier_uniform" => init::xavier_uniform_(weight, 1.0)?,
                "xavier_normal" => init::xavier_normal_(weight, 1.0)?,
                "kaiming_uniform" => init::kaiming_uniform_(weight, Fan::In, Nonlinearity::LeakyRelu(0.0))?,
                "kaiming_normal" => init::kaiming_normal_(weight, Fan::In, Nonlinearity::LeakyRelu(0.0))?,
                other => {
                    let numbers = other.strip_prefix("normal(").and_then(|t| t.strip_suffix(')'));
                    let pair = numbers.and_then(|t| t.split_once(", "));
                    let Some((mean, std)) = pair else { return missing(format!("the start {other:?}")) };
                    let read = |t: &str| t.parse::<f64>().with_context(|| format!("{t} is no number"));
                    init::normal_(weight, read(mean)?, read(std)?)?;
                }
            }
        }
        for (_, bias) in biases() {
            match rest {
                "" => {}
                "bias one" => init::ones_(bias)?,
                "bias zero" => init::zeros_(bias)?,
                other => return missing(format!("the start {other:?}")),
            }
        }
        Ok(())
    }

    /// The network's output.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, Stop> {
        let net = &self.net;
        Ok(match self.kind {
            Kind::Sequential => net.names().try_fold(x.clone(), |x, name| net.call(name, &x))?,
            Kind::Line => x.matmul(net.tensor("w")?)?.add(net.tensor("b")?)?,
            Kind::Recurrent => {
                let steps = net.call("rnn", &net.call("embedding", x)?)?;
                net.call("head", &steps.select(1, -1)?)?
            }
            Kind::Residual => {
                let mut x = net.call("bn1", &net.call("conv1", x)?)?.relu()?;
                for (block, branch) in BLOCKS {
                    let part = |name: &str, x: &Tensor| net.call(&format!("{block}.{name}"), x);
                    let y = part("bn1", &part("conv1", &x)?)?.relu()?;
                    let y = part("bn2", &part("conv2", &y)?)?;
                    let around = match branch {
                        true => part("downsample.1", &part("downsample.0", &x)?)?,
                        false => x,
                    };
                    x = y.add(&around)?.relu()?;
                }
                net.call("fc", &x.mean_axes(&[2, 3], false)?)?
            }
            Kind::Transformer => {
                let x = net.call("embedding", x)?.add(net.tensor("position")?)?;
                net.call("head", &net.call("encoder", &x)?.mean_axes(&[1], false)?)?
            }
        })
    }
}

fn residual(net: &mut Net, width: u64) -> Result<(), Stop> {
    let conv = |net: &mut Net, name: &str, from: u64, to: u64, kernel: u64, stride: u64| {
        let options = json!({"stride": stride, "padding": kernel / 2, "bias": false});
        net.add(name, "Conv2d", &json!([from, to, kernel]), &options)
    };
    let norm =
        |net: &mut Net, name: &str, width: u64| net.add(name, "BatchNorm2d", &json!([width]), &json!({}));
    conv(net, "conv1", 3, width, 3, 1)?;
    norm(net, "bn1", width)?;
    for (block, branch) in BLOCKS {
        let (to, stride) = if branch { (2 * width, 2) } else { (width, 1) };
        conv(net, &format!("{block}.conv1"), width, to, 3, stride)?;
        norm(net, &format!("{block}.bn1"), to)?;
        conv(net, &format!("{block}.conv2"), to, to, 3, 1)?;
        norm(net, &format!("{block}.bn2"), to)?;
        if branch {
            conv(net, &format!("{block}.downsample.0"), width, to, 1, stride)?;
            norm(net, &format!("{block}.downsample.1"), to)?;
        }
    }
    net.add("fc", "Linear", &json!([2 * width, 4]), &json!({}))
}

fn transformer(net: &mut Net, args: &Json) -> Result<(), Stop> {
    let d = args["d"].as_u64().context("no d")? as usize;
    let length = args["length"].as_u64().context("no length")? as usize;
    net.add("embedding", "Embedding", &json!([args["vocab"], d]), &json!({}))?;
    net.add_tensor("position", Tensor::randn([length, d]).mul(0.02)?)?;
    let layer = json!({
        "module": "TransformerEncoderLayer",
        "args": [d, args["heads"]],
        "kwargs": {
            "dim_feedforward": args["ff"], "dropout": args["dropout"], "activation": args["act"],
            "batch_first": true, "norm_first": args["norm_first"],
        },
    });
    let norm = json!({"module": "LayerNorm", "args": [[d]], "kwargs": {}});
    net.add("encoder", "TransformerEncoder", &json!([layer, args["layers"]]), &json!({"norm": norm}))?;
    net.add("head", "Linear", &json!([d, args["classes"]]), &json!({}))
}
