//! Recordings: a JSON file of cases beside a safetensors file of tensors, and the run over the files of a part.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use kiln_autograd::{DType, Tensor, no_grad};
use safetensors::SafeTensors;
use serde_json::Value as Json;

use super::tensors::from_stored;
use crate::vectors::{self, Limits, Outcome, Runner, Stored, Tally};

/// A file of recordings: its cases and its tensors.
pub struct Recording {
    /// The file's name, without its end.
    pub name: String,
    /// Its cases; the whole file where it is one case.
    pub cases: Vec<Json>,
    bytes: Vec<u8>,
}

impl Recording {
    /// Reads a file of a folder.
    pub fn read(folder: &Path, name: &str) -> Result<Self> {
        let read = |end: &str| {
            let path = folder.join(format!("{name}.{end}"));
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let mut json: Json = serde_json::from_slice(&read("json")?).context("the cases are not JSON")?;
        let cases = match json["cases"].take() {
            Json::Array(cases) => cases,
            Json::Null if json.is_object() => vec![json],
            _ => bail!("{name}.json has no cases"),
        };
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
            dtype: vectors::DType::from_file(view.dtype())?,
            shape: view.shape().to_vec(),
            bytes: view.data(),
        })
    }

    /// A stored tensor.
    pub fn tensor(&self, key: &str) -> Result<Tensor> {
        self.stored(key, from_stored)
    }
}

/// A seed: an integer that may be negative or lie beyond `i64`, then written as a string.
pub fn seed(value: &Json) -> Result<u64> {
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

/// The names of the recordings of a part, in order.
pub fn names(dir: &Path, part: &str) -> Result<Vec<String>> {
    let folder = dir.join(part);
    let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let paths = entries.map(|e| Ok(e?.path())).collect::<Result<Vec<_>>>()?;
    let json = paths.iter().filter(|path| path.extension().is_some_and(|end| end == "json"));
    let mut names: Vec<String> =
        json.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    ensure!(!names.is_empty(), "no recording in {}", folder.display());
    Ok(names)
}

/// Replays the files of a part case by case: a line per file with failures to `out`, and the score by file.
pub fn replay(
    part: &str,
    dir: &Path,
    files: &[String],
    case: impl Fn(&Recording, &Json) -> Result<(), Stop> + Send + Sync + 'static,
    out: &mut dyn Write,
) -> Result<Tally> {
    let read = |name: &String| Recording::read(&dir.join(part), name);
    replay_all(part, files.iter().map(read), case, out)
}

/// [`replay`] of files that were read, one at a time.
pub fn replay_all(
    part: &str,
    files: impl Iterator<Item = Result<Recording>>,
    case: impl Fn(&Recording, &Json) -> Result<(), Stop> + Send + Sync + 'static,
    out: &mut dyn Write,
) -> Result<Tally> {
    let mut tally = Tally::new(part);
    let mut runner =
        Runner::new(Limits::default(), move |(file, index): &(Arc<Recording>, usize)| {
            match case(file, &file.cases[*index]) {
                Ok(()) => Outcome::Passed,
                Err(Stop::Failed(error)) => Outcome::Failed(format!("{error:#}")),
                Err(Stop::Missing(what)) => Outcome::Unsupported(what),
            }
        });
    for file in files {
        let file = Arc::new(file?);
        let id = |case: &Json| case["id"].as_str().unwrap_or("?").to_owned();
        let jobs = file.cases.iter().enumerate().map(|(i, case)| (id(case), (Arc::clone(&file), i)));
        let report = runner.run_group(jobs);
        report.counts(|outcome| tally.add(None, &file.name, outcome));
        if let Some(line) = report.failure_line(&file.name) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(tally)
}

/// A number; those that JSON cannot write are strings.
pub fn number(value: &Json) -> Option<f64> {
    match value.as_str() {
        Some("nan") => Some(f64::NAN),
        Some("inf") => Some(f64::INFINITY),
        Some("-inf") => Some(f64::NEG_INFINITY),
        Some(_) => None,
        None => value.as_f64(),
    }
}

/// A list of numbers.
pub fn numbers(value: &Json) -> Result<Vec<f64>> {
    let list = value.as_array().context("no list of numbers")?;
    list.iter().map(|v| number(v).with_context(|| format!("{v} is no number"))).collect()
}

/// The largest error over the largest finite magnitude (at least `least`) of what is expected; infinite where lengths or
/// what is not finite differ.
pub fn deviation(got: &[f64], want: &[f64], least: f64) -> f64 {
    if got.len() != want.len() {
        return f64::INFINITY;
    }
    let scale = want.iter().filter(|x| x.is_finite()).fold(least, |m, x| m.max(x.abs()));
    let errors = got.iter().zip(want).map(|(g, w)| match (g.is_finite(), w.is_finite()) {
        (true, true) => (g - w).abs() / scale,
        _ if g == w || g.is_nan() && w.is_nan() => 0.0,
        _ => f64::INFINITY,
    });
    errors.fold(0.0, f64::max)
}

/// [`deviation`] of tensors, whose dtypes and shapes must be the same.
pub fn tensor_deviation(got: &Tensor, want: &Tensor, least: f64) -> Result<f64> {
    if got.dims() != want.dims() || got.dtype() != want.dtype() {
        return Ok(f64::INFINITY);
    }
    let values =
        |t: &Tensor| -> Result<Vec<f64>> { Ok(no_grad(|| t.detach().to_dtype(DType::F64))?.to_vec()?) };
    Ok(deviation(&values(got)?, &values(want)?, least))
}

/// Fails when a tensor is further off than `allowed` of the largest magnitude.
pub fn expect_near(got: &Tensor, want: &Tensor, allowed: f64, what: impl FnOnce() -> String) -> Result<()> {
    let off = tensor_deviation(got, want, 1e-30)?;
    ensure!(off <= allowed, "{}: off by {off:e}, {allowed:e} allowed", what());
    Ok(())
}
