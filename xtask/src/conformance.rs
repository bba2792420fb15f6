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
//! - [`bits`]: a hash over all that a replay computes;
//! - [`golden`]: a small selection for the repository;
//! - [`inexpressible`]: the calls that cannot be made in Rust;
//! - [`page`]: docs/ops.md, made of what passes.

pub mod args;
pub mod bits;
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
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use lexopt::prelude::*;

use self::bits::Bits;
use crate::vectors::{Case, Limits, OpFile, Outcome, Tally, run_ops};
use crate::workspace;

/// The parts of a folder of vectors, and whether they can be replayed yet.
const PARTS: &[(&str, Option<fn(&Path, &mut dyn std::io::Write) -> Result<Tally>>)] = &[
    ("ops", Some(ops)),
    ("modules", Some(|dir, out| modules::replay(dir, false, None, out))),
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

/// As [`ops`], with a line on standard error for every case that does not pass if `each`, and with the bits of every case.
fn ops_shown(dir: &Path, each: bool, bits: Option<Arc<Bits>>, out: &mut dyn std::io::Write) -> Result<Tally> {
    let call = move |file: &OpFile, case: &Case| {
        let outcome = match &bits {
            Some(bits) => bits.of(&file.op, &case.id, || replay::case(file, case)),
            None => replay::case(file, case),
        };
        if each {
            show(&file.op, &case.id, &outcome);
        }
        outcome
    };
    run_ops(dir, Limits::default(), call, out)
}

/// Tells standard error about a case that does not pass.
fn show(op: &str, id: &str, outcome: &Outcome) {
    match outcome {
        Outcome::Passed => {}
        Outcome::Failed(why) => eprintln!("{op} {id} failed: {why}"),
        Outcome::Unsupported(what) => eprintln!("{op} {id} unsupported: {what}"),
    }
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
        "usage: cargo xtask conformance --part PART [--dir DIR] [--device cpu|gpu] [--json FILE] [--update-floor] [--each] \
         [--hash]\n\n\
         PART: {} (to come: {})\n\
         DIR: a folder laid out like ../shared/conformance, the default\n\
         --each: a line on standard error for every case that does not pass\n\
         --hash (ops, modules): a SHA-256 over all outputs and gradients; with --each also one for every operator\n",
        names(|exists| exists),
        names(|exists| !exists)
    )
}

/// `cargo xtask conformance --part PART [--dir DIR] [--device cpu|gpu] [--json FILE] [--update-floor] [--each] [--hash]`.
pub fn main(mut arguments: lexopt::Parser) -> Result<ExitCode> {
    let root = workspace::root();
    let (mut part, mut json, mut update) = (None, None::<PathBuf>, false);
    let (mut each, mut bits) = (false, None);
    let mut dir = root.join(floors::SHARED);
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("part") => part = Some(arguments.value()?.string()?),
            Long("dir") => dir = arguments.value()?.into(),
            Long("json") => json = Some(arguments.value()?.into()),
            Long("update-floor") => update = true,
            Long("each") => each = true,
            Long("hash") => bits = Some(Arc::new(Bits::default())),
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
    let tally = match part.as_str() {
        "ops" => ops_shown(&dir, each, bits.clone(), out)?,
        "modules" => modules::replay(&dir, each, bits.clone(), out)?,
        other if bits.is_some() => bail!("--hash is for ops and modules, not for {other}"),
        other => run(other, &dir, out)?,
    };
    if let Some(file) = json {
        std::fs::write(&file, tally.to_json()?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    if update {
        floors::write(&root, &tally)?;
    }
    for line in bits.iter().flat_map(|bits| bits.lines(&part, each)) {
        println!("{line}");
    }
    println!("{}", tally.summary());
    Ok(ExitCode::SUCCESS)
}
