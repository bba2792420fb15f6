//! `cargo xtask conformance`: recorded calls of PyTorch, replayed through Kiln and counted.
//!
//! - [`args`]: the arguments of a call, under PyTorch's names and with its defaults;
//! - [`tensors`]: Kiln's tensors from stored ones, and back;
//! - [`table`]: the operators, by family;
//! - [`replay`]: one case, checked in every respect;
//! - [`files`]: the part of files, good and bad;
//! - [`seeds`]: the part of what tutorials show;
//! - [`rng`], [`optim`], [`schedulers`], [`trajectories`]: the parts of random streams, optimizers, learning rates and whole
//!   training runs;
//! - [`modules`]: the part of layers and losses;
//! - [`recording`]: the files of these parts; [`net`]: models of layers by PyTorch's names;
//! - [`floors`]: what passed once must not fail again;
//! - [`golden`]: a small selection for the repository;
//! - [`inexpressible`]: the calls that cannot be made in Rust;
//! - [`page`]: docs/ops.md, made of what passes.

pub mod args;
pub mod files;
pub mod floors;
pub mod golden;
pub mod inexpressible;
pub mod modules;
pub mod net;
pub mod optim;
pub mod page;
pub mod recording;
pub mod replay;
pub mod rng;
pub mod schedulers;
pub mod seeds;
pub mod table;
pub mod tensors;
pub mod trajectories;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use lexopt::prelude::*;

use crate::vectors::{Case, Limits, OpFile, Outcome, Tally, run_ops};
use crate::workspace;

/// The parts of a folder of vectors, and whether they can be replayed yet.
const PARTS: &[(&str, Option<fn(&Path, &mut dyn std::io::Write) -> Result<Tally>>)] = &[
    ("ops", Some(ops)),
    ("modules", Some(|dir, out| modules::replay(dir, false, out))),
    ("optim", Some(optim::replay)),
    ("schedulers", Some(schedulers::replay)),
    ("rng", Some(rng::replay)),
    ("files", Some(files::replay)),
    ("seeds", Some(seeds::replay)),
    ("trajectories", Some(trajectories::replay)),
];

fn ops(dir: &Path, out: &mut dyn std::io::Write) -> Result<Tally> {
    run_ops(dir, Limits::default(), replay::case, out)
}

/// As [`ops`], with a line on standard error for every case that does not pass.
fn ops_each(dir: &Path, out: &mut dyn std::io::Write) -> Result<Tally> {
    let call = |file: &OpFile, case: &Case| {
        let outcome = replay::case(file, case);
        match &outcome {
            Outcome::Passed => {}
            Outcome::Failed(why) => eprintln!("{} {} failed: {why}", file.op, case.id),
            Outcome::Unsupported(what) => eprintln!("{} {} unsupported: {what}", file.op, case.id),
        }
        outcome
    };
    run_ops(dir, Limits::default(), call, out)
}

/// Replays a part of a folder: a line per failing operator to `out`, and the score.
pub fn run(part: &str, dir: &Path, out: &mut dyn std::io::Write) -> Result<Tally> {
    match PARTS.iter().find(|(name, _)| *name == part) {
        Some((_, Some(run))) => run(dir, out),
        Some((_, None)) => bail!("the part {part:?} does not exist yet"),
        None => bail!("no part named {part:?}; there are {}", names(|_| true)),
    }
}

fn names(wanted: impl Fn(bool) -> bool) -> String {
    let names: Vec<&str> =
        PARTS.iter().filter(|(_, run)| wanted(run.is_some())).map(|(name, _)| *name).collect();
    names.join(", ")
}

fn usage() -> String {
    format!(
        "usage: cargo xtask conformance --part PART [--dir DIR] [--device cpu|gpu] [--json FILE] [--update-floor] [--each]\n\n\
         PART: {} (to come: {})\n\
         DIR: a folder laid out like ../shared/conformance, the default\n\
         --each: a line on standard error for every case that does not pass\n",
        names(|exists| exists),
        names(|exists| !exists)
    )
}

/// `cargo xtask conformance --part PART [--dir DIR] [--device cpu|gpu] [--json FILE] [--update-floor]`.
pub fn main(mut arguments: lexopt::Parser) -> Result<ExitCode> {
    let root = workspace::root();
    let (mut part, mut json, mut update, mut each) = (None, None::<PathBuf>, false, false);
    let mut dir = root.join(floors::SHARED);
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("part") => part = Some(arguments.value()?.string()?),
            Long("dir") => dir = arguments.value()?.into(),
            Long("json") => json = Some(arguments.value()?.into()),
            Long("update-floor") => update = true,
            Long("each") => each = true,
            Long("device") => match arguments.value()?.string()?.as_str() {
                "cpu" => {}
                "gpu" => bail!("there is no GPU backend yet"),
                other => bail!("no device named {other:?}: cpu or gpu"),
            },
            Long("help") | Short('h') => {
                print!("{}", usage());
                return Ok(ExitCode::SUCCESS);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let Some(part) = part else { bail!("which part?\n\n{}", usage()) };
    let out = &mut std::io::stdout();
    let tally = match (each, part.as_str()) {
        (true, "ops") => ops_each(&dir, out)?,
        (true, "modules") => modules::replay(&dir, true, out)?,
        _ => run(&part, &dir, out)?,
    };
    if let Some(file) = json {
        std::fs::write(&file, tally.to_json()?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    if update {
        floors::write(&root, &tally)?;
    }
    println!("{}", tally.summary());
    Ok(ExitCode::SUCCESS)
}
