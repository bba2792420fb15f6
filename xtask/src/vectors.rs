//! Conformance vectors: recorded calls of PyTorch's operators, read, replayed and compared.
//!
//! - [`file`](mod@file): one `.safetensors` file of the `ops` part: its cases and their tensors, as bytes;
//! - [`case`]: a case, typed: arguments, inputs, what the result must look like;
//! - [`compare`]: the rules by which values agree;
//! - [`check`]: a whole result against a case, by these rules;
//! - [`runner`]: calls every case on a thread of its own, so that a panic or a hang is a failed case and no more;
//! - [`tally`]: the score, as text and as JSON, and the checked-in floor below which it must not fall.
//!
//! Nothing here knows Kiln: what calls it is a closure `Fn(&OpFile, &Case) -> Outcome`, given to [`run_ops`].

pub mod case;
pub mod check;
pub mod compare;
pub mod file;
pub mod runner;
pub mod tally;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};

pub use case::{Arg, Case, Index, Shaped};
pub use check::{Got, Returned};
pub use compare::{Compare, Tolerance, Values};
pub use file::{DType, OpFile, Stored};
pub use runner::{Limits, Outcome, Runner};
pub use tally::{Counts, Tally};

/// The vector files of the `ops` part of a folder, in order.
pub fn op_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let folder = dir.join("ops");
    let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut paths = entries.map(|e| Ok(e?.path())).collect::<Result<Vec<_>>>()?;
    paths.retain(|p| p.extension().is_some_and(|e| e == "safetensors"));
    paths.sort();
    if paths.is_empty() {
        bail!("no .safetensors file in {}", folder.display());
    }
    Ok(paths)
}

/// Replays every case of the `ops` part of `dir` with `call`, writes a line per failing operator to `out`, and returns
/// the score.
pub fn run_ops<F>(dir: &Path, limits: Limits, call: F, out: &mut dyn Write) -> Result<Tally>
where
    F: Fn(&OpFile, &Case) -> Outcome + Send + Sync + 'static,
{
    let mut tally = Tally::new("ops");
    let mut runner =
        Runner::new(limits, move |(file, index): &(Arc<OpFile>, usize)| call(file, &file.cases[*index]));
    for path in op_files(dir)? {
        let file = Arc::new(OpFile::read(&path)?);
        let (op, tier) = (file.op.clone(), file.tier.to_string());
        let jobs = file.cases.iter().enumerate().map(|(i, case)| (case.id.clone(), (Arc::clone(&file), i)));
        let report = runner.run_group(jobs);
        report.counts(|outcome| tally.add(Some(&tier), &op, outcome));
        if let Some(line) = report.failure_line(&op) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_folder_is_replayed_with_any_implementation() {
        let dir = std::env::temp_dir().join(format!("kiln-xtask-vectors-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("ops")).expect("a temporary folder");
        let file = file::tests::neg_file();
        std::fs::write(dir.join("ops/neg.safetensors"), file).expect("a temporary file");

        // Negates what float32 cases give it, breaks on others.
        let neg = |file: &OpFile, case: &Case| {
            let result = (|| {
                let input = file.input(case, 0)?;
                let Values::Float(values) = input.values else { bail!("not floats") };
                let values = Values::Float(values.iter().map(|v| -v).collect());
                let got = Returned::Tensor(Got { dtype: input.dtype, shape: input.shape, values });
                check::result(file, case, &got)
            })();
            assert_ne!(case.dtype, DType::Int64, "as a broken kernel would");
            Outcome::from_result(result)
        };
        let limits = Limits { case: Duration::from_secs(20), ..Limits::default() };
        let mut out = Vec::new();
        let tally = run_ops(&dir, limits, neg, &mut out).expect("a readable folder");
        std::fs::remove_dir_all(&dir).expect("the folder is still there");
        assert_eq!(tally.summary(), "passed 1, failed 1, unsupported 0 of 2");
        let out = String::from_utf8(out).expect("text");
        assert!(out.starts_with("neg: 1 of 2 failed; int64-sample-00: panicked"), "{out}");
    }

    #[test]
    fn a_folder_without_vectors_is_an_error() {
        assert!(op_files(Path::new("/nonexistent")).is_err());
    }

    /// Every shared vector file is read, and agrees with itself: a reply made of the stored outputs passes.
    #[test]
    fn the_shared_vectors_agree_with_themselves() {
        let dir = crate::workspace::root().join("../shared/conformance");
        if !dir.join("ops").exists() {
            eprintln!("skipped: no ../shared/conformance beside the repository");
            return;
        }
        let echo = |file: &OpFile, case: &Case| {
            if case.raises.is_some() {
                return Outcome::Passed;
            }
            if case.is_complex() {
                return Outcome::Unsupported("complex numbers".to_owned());
            }
            let reply = check::replay::echo(file, case);
            Outcome::from_result(reply.and_then(|reply| {
                check::result(file, case, &reply)?;
                check::replay::gradients(file, case)
            }))
        };
        let mut out = Vec::new();
        let tally = run_ops(&dir, Limits::default(), echo, &mut out).expect("readable vectors");
        assert_eq!(tally.total().failed, 0, "{}", String::from_utf8_lossy(&out));
        assert!(tally.total().passed > 10_000);
    }
}
