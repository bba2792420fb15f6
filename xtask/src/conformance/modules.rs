//! The part `modules`: layers and losses of PyTorch, built with the same arguments, loaded with the same parameters and
//! called with the same inputs.
//!
//! - [`call`]: the arguments of a constructor or of a call, as the file encodes them;
//! - [`layer`]: a layer of any type, as the replay handles it;
//! - `replay`: one case, checked in every respect;
//! - the families: PyTorch's classes as layers of Kiln, one file each.

pub mod call;
pub mod layer;
mod replay;

mod activation;
mod attention;
mod basic;
mod conv;
mod embedding;
mod loss;
mod norm;
mod pool;
mod recurrent;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use self::call::Call;
use self::layer::Layer;
use self::replay::File;
use super::args::{Answer, Stop};
use super::bits::Bits;
use super::show;
use crate::vectors::{Limits, Runner, Tally};

/// Builds the layer of PyTorch's class `name`; [`Stop::NoRow`] when the class is of another family.
type Family = fn(&str, &Call<'_>) -> Answer<Layer>;

/// The families of classes.
const FAMILIES: &[Family] = &[
    basic::build,
    conv::build,
    norm::build,
    pool::build,
    activation::build,
    loss::build,
    recurrent::build,
    attention::build,
    embedding::build,
];

/// Builds a layer, whatever its family.
pub fn build(name: &str, setup: &Call<'_>) -> Answer<Layer> {
    for family in FAMILIES {
        match family(name, setup) {
            Err(Stop::NoRow) => {}
            answer => return answer,
        }
    }
    Err(Stop::NoRow)
}

/// Replays the part; with `each`, a line on standard error for every case that does not pass; with `bits`, the hash of
/// every case.
pub fn replay(dir: &Path, each: bool, bits: Option<Arc<Bits>>, out: &mut dyn Write) -> Result<Tally> {
    let folder = dir.join("modules");
    let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut paths = entries.map(|e| Ok(e?.path())).collect::<Result<Vec<_>>>()?;
    paths.retain(|p| p.extension().is_some_and(|e| e == "json"));
    paths.sort();
    if paths.is_empty() {
        bail!("no .json file in {}", folder.display());
    }
    let mut tally = Tally::new("modules");
    let call = move |(file, index): &(Arc<File>, usize)| match &bits {
        Some(bits) => bits.of(&file.name, &file.id(*index), || replay::case(file, *index)),
        None => replay::case(file, *index),
    };
    let mut runner = Runner::new(Limits::default(), call);
    for path in paths {
        let file = Arc::new(File::read(&path)?);
        let jobs = (0..file.len()).map(|i| (file.id(i), (Arc::clone(&file), i)));
        let report = runner.run_group(jobs);
        report.counts(|outcome| tally.add(None, &file.name, outcome));
        for (id, outcome) in report.cases.iter().filter(|_| each) {
            show(&file.name, id, outcome);
        }
        if let Some(line) = report.failure_line(&file.name) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(tally)
}
