//! The part `rng`: draws of PyTorch's CPU streams, repeated from the same seeds.
//!
//! Values must have the same bits. Only float64 values that PyTorch got from functions of its C library may be two units
//! in the last place off, and the results of whole layers as much as the description of the part says.

mod init;
mod sampler;
mod step;

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use kiln_autograd::kiln_ops::random::{Generator, default_generator};
use kiln_autograd::{Tensor, get_rng_state, manual_seed, set_rng_state};
use serde_json::Value as Json;

use super::recording::{self, Recording, Stop, seed};
use crate::vectors::Tally;

/// The files of the part.
const FILES: &[&str] = &["draws", "mixed", "state", "init", "sampler"];

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

/// Replays the part.
pub fn replay(dir: &Path, out: &mut dyn Write) -> Result<Tally> {
    let files: Vec<String> = FILES.iter().map(|name| (*name).to_owned()).collect();
    recording::replay("rng", dir, &files, case, out)
}

fn case(file: &Recording, case: &Json) -> Result<(), Stop> {
    if file.name == "sampler" {
        return sampler::case(case);
    }
    let Some(steps) = case["steps"].as_array() else {
        return if case["module"].is_string() { init::layer(file, case) } else { init::model(case) };
    };
    let start = seed(&case["seed"])?;
    let mut stream = match case["generator"].as_str() {
        Some("explicit") => Stream::Own(Box::new(Generator::new(start))),
        _ => {
            manual_seed(start);
            Stream::Default
        }
    };
    for step in steps {
        step::replay(&mut stream, step, case, file)?;
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
