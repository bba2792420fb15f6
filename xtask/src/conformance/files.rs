//! The part `files`: checkpoints, safetensors, arrays of NumPy and IDX files, good ones and bad ones.
//!
//! Beside a specimen lies what must come of it: its exact content, or an error. What loads from a checkpoint is also saved
//! in both containers and must come back the same.

mod content;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use kiln_autograd::Tensor;
use kiln_data::idx::{IdxArray, IdxData};
use kiln_data::mnist::{self, MnistKind, Split};
use kiln_io::{Container, Value};
use serde_json::Value as Json;

use crate::vectors::{Limits, Outcome, Runner, Tally};

/// The folders of the part; good specimens and bad ones.
const FOLDERS: &[&str] =
    &["checkpoints", "checkpoints_bad", "safetensors", "safetensors_bad", "npy", "npy_bad", "idx", "idx_bad"];

/// Replays the part: a case per specimen, counted by folder.
pub fn replay(dir: &Path, out: &mut dyn Write) -> Result<Tally> {
    let mut tally = Tally::new("files");
    let mut runner = Runner::new(Limits::default(), |(folder, path, wanted): &(&str, PathBuf, Json)| {
        Outcome::from_result(case(folder, path, wanted))
    });
    for folder in FOLDERS {
        // A selection need not have all of them.
        if !dir.join("files").join(folder).is_dir() {
            continue;
        }
        let mut jobs = Vec::new();
        for (path, wanted) in specimens(&dir.join("files").join(folder))? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            jobs.push((name, (*folder, path, wanted)));
        }
        let report = runner.run_group(jobs);
        report.counts(|outcome| tally.add(None, folder, outcome));
        if let Some(line) = report.failure_line(folder) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(tally)
}

/// The specimens of a folder, with what is expected of them.
fn specimens(folder: &Path) -> Result<Vec<(PathBuf, Json)>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let wanted: Json = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
        // A list of names lies there too; it belongs to no file.
        if wanted["result"].is_string() {
            found.push((path.with_extension(""), wanted));
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    ensure!(!found.is_empty(), "no specimens in {}", folder.display());
    Ok(found)
}

/// What a specimen became.
enum Loaded {
    Checkpoint(Value),
    Safetensors(Vec<(String, Tensor)>, Json),
    Arrays(Vec<(String, String, Tensor)>),
    Array(String, Tensor),
    Folder,
}

fn case(folder: &str, path: &Path, wanted: &Json) -> Result<()> {
    let expected = wanted["result"].as_str().unwrap_or_default();
    let loaded = load(folder, path);
    match expected {
        "loads" => check(path, loaded?, wanted),
        "loads or clean error" | "clean error or load" => match loaded {
            Ok(loaded) if wanted["content"].is_null() => match loaded {
                Loaded::Folder => bail!("a folder without expectations"),
                _ => Ok(()),
            },
            Ok(loaded) => check(path, loaded, wanted),
            Err(error) => clean(path, &error),
        },
        _ if expected.starts_with("clean error") => match loaded {
            Ok(_) => bail!("loaded, where an error is due"),
            Err(error) => clean(path, &error),
        },
        other => bail!("the expectation {other:?} is unknown"),
    }
}

/// An error that says something, about this file.
fn clean(path: &Path, error: &anyhow::Error) -> Result<()> {
    let text = format!("{error:#}");
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    ensure!(text.contains(&*name), "the error does not name the file: {text}");
    ensure!(
        text.len() > name.len() + 10 && text.len() < 10_000,
        "the error says nothing, or too much: {text}"
    );
    Ok(())
}

fn load(folder: &str, path: &Path) -> Result<Loaded> {
    let stem = folder.strip_suffix("_bad").unwrap_or(folder);
    Ok(match stem {
        "checkpoints" => Loaded::Checkpoint(kiln_io::load(path)?),
        "safetensors" => {
            let file = kiln_io::SafetensorsFile::open(path)?;
            let notes = serde_json::to_value(file.metadata())?;
            Loaded::Safetensors(kiln_io::load_safetensors(path)?, notes)
        }
        "npy" if path.extension().is_some_and(|e| e == "npz") => {
            let named = |(name, t): (String, Tensor)| (name, t.dtype().name().to_owned(), t);
            Loaded::Arrays(kiln_io::load_npz(path)?.into_iter().map(named).collect())
        }
        "npy" => {
            let file = std::fs::File::open(path)?;
            let array = kiln_io::read_npy(file, &path.to_string_lossy())?;
            Loaded::Array(array.dtype.to_owned(), array.tensor)
        }
        "idx" if path.is_dir() => Loaded::Folder,
        "idx" => {
            let IdxArray { dims, data } = IdxArray::open(path)?;
            let name = data.type_name().to_owned();
            let tensor = match data {
                IdxData::U8(v) => Tensor::from_vec(v, dims)?,
                IdxData::I8(v) => Tensor::from_vec(v, dims)?,
                IdxData::I16(v) => Tensor::from_vec(v, dims)?,
                IdxData::I32(v) => Tensor::from_vec(v, dims)?,
                IdxData::F32(v) => Tensor::from_vec(v, dims)?,
                IdxData::F64(v) => Tensor::from_vec(v, dims)?,
            };
            Loaded::Array(name, tensor)
        }
        other => bail!("nothing reads the folder {other:?}"),
    })
}

fn check(path: &Path, loaded: Loaded, wanted: &Json) -> Result<()> {
    let content = &wanted["content"];
    match loaded {
        Loaded::Checkpoint(value) => {
            content::value(&value, content)?;
            for container in [Container::Zip, Container::Legacy] {
                let bytes = kiln_io::to_bytes(&value, container)?;
                let again = kiln_io::load_from(std::io::Cursor::new(bytes), "saved again")?;
                content::value(&again, content).with_context(|| format!("saved again, {container:?}"))?;
            }
            Ok(())
        }
        Loaded::Safetensors(tensors, notes) => {
            let wanted_notes = if wanted["metadata"].is_null() {
                &Json::Object(Default::default())
            } else {
                &wanted["metadata"]
            };
            ensure!(notes == *wanted_notes, "metadata {notes}, not {wanted_notes}");
            let content = content.as_object().context("no content")?;
            ensure!(tensors.len() == content.len(), "{} tensors, not {}", tensors.len(), content.len());
            tensors.iter().try_for_each(|(name, tensor)| {
                let wanted = content.get(name).with_context(|| format!("there should be no {name:?}"))?;
                content::elements(tensor, wanted).with_context(|| format!("the tensor {name:?}"))
            })
        }
        Loaded::Arrays(arrays) => {
            let content = content.as_object().context("no content")?;
            ensure!(arrays.len() == content.len(), "{} arrays, not {}", arrays.len(), content.len());
            arrays.iter().try_for_each(|(name, dtype, tensor)| {
                let wanted = content.get(name).with_context(|| format!("there should be no {name:?}"))?;
                content::array(dtype, tensor, wanted).with_context(|| format!("the array {name:?}"))
            })
        }
        Loaded::Array(dtype, tensor) => content::array(&dtype, &tensor, content),
        Loaded::Folder => data_folder(path, content),
    }
}

/// A folder laid out as Fashion-MNIST, whose name it has, so that the folder above is the one with data sets.
fn data_folder(path: &Path, content: &Json) -> Result<()> {
    let root = path.parent().context("a folder without a parent")?;
    for (split, name) in [(Split::Train, "train"), (Split::Test, "t10k")] {
        let (data, wanted) = (mnist::load(MnistKind::FashionMnist, split, Some(root))?, &content[name]);
        let sum = |pixels: &[u8]| pixels.iter().map(|&p| u64::from(p)).sum::<u64>();
        let json = |bytes: &[u8]| Json::from(bytes.to_vec());
        ensure!(wanted["count"] == data.shape[0], "{name}: {} images", data.shape[0]);
        ensure!(wanted["labels"] == json(&data.labels), "{name}: other labels");
        ensure!(wanted["pixel_sum"] == sum(&data.images), "{name}: other pixels");
        ensure!(wanted["first_image_first_row"] == json(&data.images[..28]), "{name}: another first row");
        let last = data.images.rchunks(28 * 28).next().context("no image")?;
        ensure!(wanted["last_image_sum"] == sum(last), "{name}: another last image");
    }
    Ok(())
}
