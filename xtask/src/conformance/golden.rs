//! `cargo xtask golden`: a small selection of vectors for the repository, so that a clone tests itself.
//!
//! For every operator the first passing cases of different kinds and dtypes are kept, small ones first, in files of the
//! same layout.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use lexopt::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use super::{floors, replay};
use crate::vectors::{Case, OpFile, Outcome, op_files};
use crate::workspace;

/// Cases of one operator, and bytes of one case.
const CASES: usize = 4;
const BYTES: usize = 4096;

/// `cargo xtask golden --from DIR`.
pub fn main(mut arguments: lexopt::Parser) -> Result<ExitCode> {
    let root = workspace::root();
    let mut from = None::<PathBuf>;
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("from") => from = Some(arguments.value()?.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    let Some(from) = from else { bail!("usage: cargo xtask golden --from DIR") };
    let to = root.join(floors::GOLDEN).join("ops");
    std::fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
    let (mut files, mut cases) = (0, 0);
    for path in op_files(&from)? {
        let count = select(&path, &to)?;
        files += usize::from(count > 0);
        cases += count;
    }
    println!("{cases} cases of {files} operators in {}", to.display());
    Ok(ExitCode::SUCCESS)
}

/// Copies the chosen cases of one file; returns how many.
fn select(path: &Path, to: &Path) -> Result<usize> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file = OpFile::parse(bytes.clone())?;
    let (_, header) = SafeTensors::read_metadata(&bytes)?;
    let stored = SafeTensors::deserialize(&bytes)?;
    let mut metadata = header.metadata().clone().context("a file without cases")?;
    let chosen = chosen(&file, &stored);
    if chosen.is_empty() {
        return Ok(0);
    }
    let all: Vec<serde_json::Value> = serde_json::from_str(metadata.get("cases").context("no cases")?)?;
    let kept: Vec<&serde_json::Value> =
        all.iter().filter(|c| c["id"].as_str().is_some_and(|id| chosen.contains(id))).collect();
    metadata.insert("cases".to_owned(), serde_json::to_string(&kept)?);
    let tensors: BTreeMap<String, TensorView<'_>> = stored
        .tensors()
        .into_iter()
        .filter(|(name, _)| name.split_once('/').is_some_and(|(id, _)| chosen.contains(id)))
        .collect();
    let name = path.file_name().context("a file without a name")?;
    // The metadata's order in the file is the hash map's: sorted here, so that the same selection gives the same bytes.
    let out = safetensors::serialize(tensors, Some(metadata))?;
    std::fs::write(to.join(name), out)?;
    Ok(chosen.len())
}

/// The cases to keep: passing, small, of as many kinds and dtypes as there is room for.
fn chosen(file: &OpFile, stored: &SafeTensors<'_>) -> BTreeSet<String> {
    let size = |case: &Case| -> usize {
        let mine = |name: &str| name.split_once('/').is_some_and(|(id, _)| id == case.id);
        stored.iter().filter(|(name, _)| mine(name)).map(|(_, t)| t.data().len()).sum()
    };
    let mut candidates: Vec<&Case> = file.cases.iter().collect();
    candidates.sort_by_key(|c| (c.raises.is_some(), c.grads.is_empty(), !c.gradgrad));
    let mut seen = BTreeSet::new();
    let mut kept = BTreeSet::new();
    for case in candidates {
        if kept.len() == CASES {
            break;
        }
        let class = (format!("{:?}", case.kind), case.dtype.name());
        if seen.contains(&class) || size(case) > BYTES {
            continue;
        }
        let outcome = std::panic::catch_unwind(|| replay::case(file, case));
        if matches!(outcome, Ok(Outcome::Passed)) {
            seen.insert(class);
            kept.insert(case.id.clone());
        }
    }
    kept
}
