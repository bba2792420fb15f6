//! One recorded draw.

use anyhow::{Context, Result, ensure};
use kiln_autograd::{DType, Element, Shape, Tensor, TensorOptions, kiln_ops};
use serde_json::Value as Json;

use super::super::recording::{Recording, Stop, missing};
use super::Stream;

/// How far float64 values may be off: two units in the last place, of what.
#[derive(Clone, Copy)]
pub enum Slack {
    /// Of nothing: the bits must be the same.
    Exact,
    /// Of the value.
    Relative,
    /// Of a number of this size, which was added to another and may have cancelled.
    Absolute(f64),
    /// By this much, whatever the dtype: results of several roundings.
    Near(f64),
}

/// Compares a result with the recorded one.
pub fn compare(got: &Tensor, want: &Tensor, slack: Slack) -> Result<()> {
    ensure!(got.dtype() == want.dtype(), "dtype {}, expected {}", got.dtype(), want.dtype());
    ensure!(got.dims() == want.dims(), "shape {:?}, expected {:?}", got.dims(), want.dims());
    kiln_ops::with_dtype!(want.dtype(), T => {
        for (i, (got, want)) in got.to_vec::<T>()?.iter().zip(want.to_vec::<T>()?).enumerate() {
            let (a, b) = (Element::to_f64(*got), Element::to_f64(want));
            let room = match slack {
                Slack::Near(room) => room,
                _ if T::DTYPE != DType::F64 => 0.0,
                Slack::Exact => 0.0,
                Slack::Relative => 2.0 * f64::EPSILON * b.abs(),
                Slack::Absolute(size) => 2.0 * f64::EPSILON * size,
            };
            let same = *got == want && a.is_sign_negative() == b.is_sign_negative();
            ensure!(same || (a - b).abs() <= room, "element {i} is {a:?}, expected {b:?}");
        }
        Ok(())
    })
}

/// The arguments of a step.
struct Step<'a> {
    json: &'a Json,
    file: &'a Recording,
}

impl Step<'_> {
    fn op(&self) -> &str {
        self.json["op"].as_str().unwrap_or("?")
    }

    fn number(&self, key: &str) -> Result<f64> {
        self.json[key].as_f64().with_context(|| format!("{}: no number {key}", self.op()))
    }

    fn integer(&self, key: &str) -> Result<i64> {
        self.json[key].as_i64().with_context(|| format!("{}: no integer {key}", self.op()))
    }

    fn tensor(&self, key: &str) -> Result<Tensor> {
        let name = self.json[key].as_str().with_context(|| format!("{}: no tensor {key}", self.op()))?;
        self.file.tensor(name)
    }

    fn is_tensor(&self, key: &str) -> bool {
        self.json[key].is_string()
    }

    fn shape(&self) -> Result<Shape> {
        let sizes = self.json["shape"].as_array().context("no shape")?;
        let sizes = sizes.iter().map(|s| s.as_u64().map(|s| s as usize)).collect::<Option<Vec<_>>>();
        Ok(Shape::new(&sizes.context("sizes that are no integers")?))
    }

    fn dtype(&self) -> Result<DType> {
        let name = self.json["dtype"].as_str().context("no dtype")?;
        DType::from_name(name).with_context(|| format!("no dtype named {name}"))
    }

    /// A tensor to fill, of the step's shape and dtype.
    fn empty(&self) -> Result<Tensor> {
        Ok(Tensor::empty_with(self.shape()?, self.dtype()?))
    }

    /// The options of a creating draw.
    fn options(&self) -> Result<TensorOptions> {
        Ok(TensorOptions::new().dtype(self.dtype()?))
    }
}

/// Carries out a step and compares its result.
pub fn replay(stream: &mut Stream, json: &Json, case: &Json, file: &Recording) -> Result<(), Stop> {
    let step = Step { json, file };
    if step.op() == "init" {
        let t = step.empty()?;
        super::init::fill(&t, json)?;
        let want = step.tensor("out")?;
        super::init::compare_filled(&t, &want, case).with_context(|| format!("{}", json["fn"]))?;
        return Ok(());
    }
    let (got, slack) = draw(stream, &step)?;
    if let Some(out) = json["out"].as_str() {
        compare(&got, &file.tensor(out)?, slack).with_context(|| step.op().to_owned())?;
    }
    Ok(())
}

/// Draws of in-place forms, which a tensor of the step's shape takes.
fn filled(
    stream: &mut Stream,
    step: &Step<'_>,
    fill: impl FnOnce(&Tensor, &mut kiln_autograd::Generator) -> kiln_autograd::Result<()>,
) -> Result<Tensor> {
    let t = step.empty()?;
    stream.with(|g| fill(&t, g))?;
    Ok(t)
}

fn draw(stream: &mut Stream, step: &Step<'_>) -> Result<(Tensor, Slack), Stop> {
    let number = |key: &str| step.number(key);
    Ok(match step.op() {
        "rand" => {
            let (shape, options) = (step.shape()?, step.options()?);
            (stream.with(|g| Tensor::rand_generator(shape, options, g)), Slack::Exact)
        }
        "randn" => {
            let (shape, options) = (step.shape()?, step.options()?);
            (stream.with(|g| Tensor::randn_generator(shape, options, g)), Slack::Relative)
        }
        "randint" => {
            let (low, high, shape, options) =
                (step.integer("low")?, step.integer("high")?, step.shape()?, step.options()?);
            (stream.with(|g| Tensor::randint_generator(low, high, shape, options, g))?, Slack::Exact)
        }
        "randperm" => {
            let (n, options) = (step.integer("n")?, step.options()?);
            (stream.with(|g| Tensor::randperm_generator(n as usize, options, g)), Slack::Exact)
        }
        "uniform_" => {
            let (from, to) = (number("from")?, number("to")?);
            (filled(stream, step, |t, g| t.uniform_generator_(from, to, g))?, Slack::Exact)
        }
        "normal_" => {
            let (mean, std) = (number("mean")?, number("std")?);
            let slack = Slack::Absolute(4.0 * std + mean.abs());
            (filled(stream, step, |t, g| t.normal_generator_(mean, std, g))?, slack)
        }
        "normal_transposed_" => {
            let (mean, std) = (number("mean")?, number("std")?);
            let slack = Slack::Absolute(4.0 * std + mean.abs());
            let shape = step.shape()?;
            let turned: Vec<usize> = shape.iter().rev().copied().collect();
            let t = Tensor::empty_with(turned, step.dtype()?).t()?;
            stream.with(|g| t.normal_generator_(mean, std, g))?;
            (t, slack)
        }
        "log_normal_" => {
            let (mean, std) = (number("mean")?, number("std")?);
            (filled(stream, step, |t, g| t.log_normal_generator_(mean, std, g))?, Slack::Relative)
        }
        "exponential_" => {
            let rate = number("lambd")?;
            (filled(stream, step, |t, g| t.exponential_generator_(rate, g))?, Slack::Relative)
        }
        "cauchy_" => {
            let (median, sigma) = (number("median")?, number("sigma")?);
            (filled(stream, step, |t, g| t.cauchy_generator_(median, sigma, g))?, Slack::Relative)
        }
        "geometric_" => {
            let p = number("p")?;
            (filled(stream, step, |t, g| t.geometric_generator_(p, g))?, Slack::Exact)
        }
        "bernoulli_" => {
            let p = number("p")?;
            (filled(stream, step, |t, g| t.bernoulli_generator_(p, g))?, Slack::Exact)
        }
        "random_" => (filled(stream, step, |t, g| t.random_generator_(.., g))?, Slack::Exact),
        "random_to_" => {
            let to = step.integer("to")?;
            (filled(stream, step, |t, g| t.random_generator_(0..to, g))?, Slack::Exact)
        }
        "random_from_to_" => {
            let (from, to) = (step.integer("from")?, step.integer("to")?);
            (filled(stream, step, |t, g| t.random_generator_(from..to, g))?, Slack::Exact)
        }
        "bernoulli" => {
            let p = step.tensor("p")?;
            (stream.with(|g| p.bernoulli_generator(g))?, Slack::Exact)
        }
        "multinomial" => {
            let (weights, count) = (step.tensor("weights")?, step.integer("num_samples")? as usize);
            let replacement = step.json["replacement"] == true;
            (stream.with(|g| weights.multinomial_generator(count, replacement, g))?, Slack::Exact)
        }
        op => match stream {
            Stream::Own(_) => return missing(format!("{op} with a generator")),
            Stream::Default => by_default(op, step)?,
        },
    })
}

/// Draws that only the default stream gives.
fn by_default(op: &str, step: &Step<'_>) -> Result<(Tensor, Slack), Stop> {
    let input = || step.tensor("input");
    let number = |key: &str| step.number(key);
    Ok(match op {
        "rand_like" => (input()?.rand_like()?, Slack::Exact),
        "randn_like" => (input()?.randn_like()?, Slack::Relative),
        "randint_like" => (input()?.randint_like(step.integer("low")?, step.integer("high")?)?, Slack::Exact),
        "normal_mean_tensor" | "normal_std_tensor" | "normal_tensors" => {
            let t = match (step.is_tensor("mean"), step.is_tensor("std")) {
                (true, true) => Tensor::normal_of(&step.tensor("mean")?, &step.tensor("std")?)?,
                (true, false) => Tensor::normal_of(&step.tensor("mean")?, number("std")?)?,
                (false, _) => Tensor::normal_of(number("mean")?, &step.tensor("std")?)?,
            };
            (t, Slack::Absolute(8.0))
        }
        "dropout" => (input()?.dropout(number("p")?, true)?, Slack::Exact),
        "dropout1d" | "dropout2d" | "dropout3d" => {
            (input()?.channel_dropout(number("p")?, true)?, Slack::Exact)
        }
        "alpha_dropout" => (input()?.alpha_dropout(number("p")?, true)?, Slack::Near(4e-7)),
        "feature_alpha_dropout" => (input()?.channel_alpha_dropout(number("p")?, true)?, Slack::Near(4e-7)),
        "rrelu" => (input()?.rrelu(number("lower")?, number("upper")?, true)?, Slack::Exact),
        "gumbel_softmax" => {
            let hard = step.json["hard"] == true;
            (input()?.gumbel_softmax(number("tau")?, hard, -1)?, Slack::Near(1e-6))
        }
        other => return missing(format!("the draw {other}")),
    })
}
