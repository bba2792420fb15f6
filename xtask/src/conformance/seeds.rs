//! The part `seeds`: what tutorials show, written again in Rust as a reader of the tutorial would write it.
//!
//! A topic is a file with a function per case; what must come out stands in the topic's JSON. Every entry of a case's
//! expectation has to be compared or judged by its function: one that was passed over fails the case.

mod autograd;
mod case;
mod check;
mod drawing_and_tools;
mod linear_regression;
mod networks_and_data;
mod pretrained;
mod printing;
mod softmax_regression;
mod tensors;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value as Json;

use self::case::Case;
use super::recording::Stop;
use crate::vectors::{Limits, Outcome, Runner, Tally};

/// A case written in Rust.
type Replay = fn(&Case<'_>) -> Result<(), Stop>;

/// The topics, in the order of the tutorials, with the cases written so far.
const TOPICS: &[(&str, &[(&str, Replay)])] = &[
    ("tensors", tensors::CASES),
    ("printing", printing::CASES),
    ("autograd", autograd::CASES),
    ("linear_regression", linear_regression::CASES),
    ("softmax_regression", softmax_regression::CASES),
    ("networks_and_data", networks_and_data::CASES),
    ("pretrained", pretrained::CASES),
    ("drawing_and_tools", drawing_and_tools::CASES),
];

/// Some cases train for thousands of steps.
const LIMITS: Limits = Limits { case: Duration::from_secs(300), hung: 3 };

/// Replays the part.
pub fn replay(dir: &Path, out: &mut dyn Write) -> Result<Tally> {
    let mut tally = Tally::new("seeds");
    let vectors: Arc<Path> = dir.into();
    let mut runner = Runner::new(LIMITS, |(cases, index, replay, vectors): &Job| {
        let Some(replay) = replay else { return Outcome::Unsupported("not written yet".to_owned()) };
        let case = Case::new(&cases[*index], vectors);
        match replay(&case).and_then(|()| Ok(case.finish()?)) {
            Ok(()) => Outcome::Passed,
            Err(Stop::Failed(error)) => Outcome::Failed(format!("{error:#}")),
            Err(Stop::Missing(what)) => Outcome::Unsupported(what),
        }
    });
    for (topic, written) in TOPICS {
        let cases = Arc::new(read(&dir.join("seeds").join(format!("{topic}.json")))?);
        for (index, case) in cases.iter().enumerate() {
            let id = case["id"].as_str().unwrap_or("?");
            let replay = written.iter().find(|(name, _)| *name == id).map(|(_, replay)| *replay);
            let name = format!("{topic}/{id}");
            let job = (Arc::clone(&cases), index, replay, Arc::clone(&vectors));
            let report = runner.run_group([(id.to_owned(), job)]);
            report.counts(|outcome| tally.add(None, &name, outcome));
            if let Some(line) = report.failure_line(&name) {
                writeln!(out, "{line}")?;
            }
        }
    }
    Ok(tally)
}

/// The cases of a topic, which one, the function for it, and the folder of all vectors.
type Job = (Arc<Vec<Json>>, usize, Option<Replay>, Arc<Path>);

fn read(path: &Path) -> Result<Vec<Json>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut json: Json = serde_json::from_slice(&bytes).context("the cases are not JSON")?;
    let Json::Array(cases) = json["cases"].take() else { bail!("{} has no cases", path.display()) };
    Ok(cases)
}
