//! The part `rng`: draws of PyTorch's CPU streams, repeated from the same seeds.
//!
//! Values must have the same bits. Only float64 values that PyTorch got from functions of its C library may be two units
//! in the last place off, and the results of whole layers as much as the description of the part says.

mod sampler;
mod step;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use kiln_autograd::kiln_ops::random::{Generator, default_generator};
use kiln_autograd::{Tensor, get_rng_state, manual_seed, set_rng_state};
use safetensors::SafeTensors;
use serde_json::Value as Json;

use super::tensors::from_stored;
use crate::vectors::{DType, Limits, Outcome, Runner, Stored, Tally};

/// The files of the part.
const FILES: &[&str] = &["draws", "mixed", "state", "init", "sampler"];

/// A file of recordings: its cases and its tensors.
pub struct Recording {
    name: String,
    cases: Vec<Json>,
    bytes: Vec<u8>,
}

impl Recording {
    fn read(folder: &Path, name: &str) -> Result<Self> {
        let read = |end: &str| {
            let path = folder.join(format!("{name}.{end}"));
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let mut json: Json = serde_json::from_slice(&read("json")?).context("the cases are not JSON")?;
        let Json::Array(cases) = json["cases"].take() else { bail!("{name}.json has no cases") };
        // Recordings of plain numbers have no tensors.
        let bytes = if folder.join(format!("{name}.safetensors")).exists() {
            read("safetensors")?
        } else {
            Vec::new()
        };
        Ok(Self { name: name.to_owned(), cases, bytes })
    }

    /// Calls `use_it` with a stored tensor.
    fn stored<R>(&self, key: &str, use_it: impl FnOnce(&Stored<'_>) -> Result<R>) -> Result<R> {
        let file = SafeTensors::deserialize(&self.bytes)?;
        let view = file.tensor(key).with_context(|| format!("no tensor {key}"))?;
        use_it(&Stored {
            dtype: DType::from_file(view.dtype())?,
            shape: view.shape().to_vec(),
            bytes: view.data(),
        })
    }

    /// A stored tensor.
    pub fn tensor(&self, key: &str) -> Result<Tensor> {
        self.stored(key, from_stored)
    }
}

/// The stream that a case draws from.
pub enum Stream {
    /// The process's own.
    Default,
    /// One of the case's.
    Own(Box<Generator>),
}

impl Stream {
    /// Calls `draw` with the generator.
    pub fn with<R>(&mut self, draw: impl FnOnce(&mut Generator) -> R) -> R {
        match self {
            Self::Default => draw(&mut default_generator()),
            Self::Own(generator) => draw(generator),
        }
    }
}

/// A seed: an integer that may be negative or lie beyond `i64`, then written as a string.
fn seed(value: &Json) -> Result<u64> {
    let number = value.as_u64().or(value.as_i64().map(|s| s as u64));
    number.or_else(|| value.as_str()?.parse().ok()).with_context(|| format!("{value} is no seed"))
}

/// How a case ends that does not pass.
#[derive(Debug)]
pub enum Stop {
    /// Otherwise than PyTorch.
    Failed(anyhow::Error),
    /// Kiln has no such thing.
    Missing(String),
}

impl<E: Into<anyhow::Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Says that Kiln has no such thing.
pub fn missing<T>(what: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Missing(what.into()))
}

/// Replays the part.
pub fn replay(dir: &Path, out: &mut dyn Write) -> Result<Tally> {
    let mut tally = Tally::new("rng");
    let mut runner = Runner::new(Limits::default(), |(file, index): &(Arc<Recording>, usize)| {
        match case(file, &file.cases[*index]) {
            Ok(()) => Outcome::Passed,
            Err(Stop::Failed(error)) => Outcome::Failed(format!("{error:#}")),
            Err(Stop::Missing(what)) => Outcome::Unsupported(what),
        }
    });
    for name in FILES {
        let file = Arc::new(Recording::read(&dir.join("rng"), name)?);
        let id = |case: &Json| case["id"].as_str().unwrap_or("?").to_owned();
        let jobs = file.cases.iter().enumerate().map(|(i, case)| (id(case), (Arc::clone(&file), i)));
        let report = runner.run_group(jobs);
        report.counts(|outcome| tally.add(None, name, outcome));
        if let Some(line) = report.failure_line(name) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(tally)
}

fn case(file: &Recording, case: &Json) -> Result<(), Stop> {
    if file.name == "sampler" {
        return sampler::case(case);
    }
    let Some(steps) = case["steps"].as_array() else { return missing("layers and models") };
    let start = seed(&case["seed"])?;
    let mut stream = match case["generator"].as_str() {
        Some("explicit") => Stream::Own(Box::new(Generator::new(start))),
        _ => {
            manual_seed(start);
            Stream::Default
        }
    };
    for step in steps {
        step::replay(&mut stream, step, file)?;
    }
    if file.name == "state" {
        state(file, case)?;
    }
    Ok(())
}

/// The saved state of the default stream, and what follows from it.
fn state(file: &Recording, case: &Json) -> Result<(), Stop> {
    let text = |key: &str| case[key].as_str().with_context(|| format!("no {key}"));
    let want = file.tensor(text("state")?)?;
    let got = get_rng_state();
    ensure_same(got.equal(&want)?, "the saved state")?;
    ensure_same(kiln_autograd::initial_seed() == seed(&case["initial_seed"])?, "the initial seed")?;
    // PyTorch restored the state before each of the two draws.
    for (key, normal) in [("next_randn", true), ("next_rand", false)] {
        set_rng_state(&want)?;
        let want = file.tensor(text(key)?)?;
        let got = if normal { Tensor::randn(want.dims()) } else { Tensor::rand(want.dims()) };
        step::compare(&got, &want, step::Slack::Exact).context(key.to_owned())?;
    }
    Ok(())
}

fn ensure_same(same: bool, what: &str) -> Result<()> {
    ensure!(same, "{what} differs");
    Ok(())
}
