//! One case: its inputs as tensors, and its expectations, which are ticked off as they are compared.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use kiln::prelude::*;
use serde_json::Value as Json;

use super::check::{self, Got, Slack};
use crate::conformance::recording::{Stop, missing};

/// A case of a topic.
pub struct Case<'a> {
    json: &'a Json,
    vectors: &'a Path,
    slack: Slack,
    /// The entries of the expectation that were compared, as paths with slashes.
    seen: RefCell<BTreeSet<String>>,
}

impl<'a> Case<'a> {
    /// A case as its topic's file has it; `vectors` is the folder of all vectors.
    pub fn new(json: &'a Json, vectors: &'a Path) -> Self {
        let slack = Slack::parse(json["compare"].as_str());
        Self { json, vectors, slack, seen: RefCell::default() }
    }

    /// The folder of the vectors, for a case that another part covers.
    pub fn vectors(&self) -> &'a Path {
        self.vectors
    }

    /// The folder of a data set, where one lies beside the vectors.
    pub fn data(&self, name: &str) -> Result<PathBuf, Stop> {
        let shared = self.vectors.parent();
        match shared.map(|shared| shared.join("data").join(name)).filter(|folder| folder.exists()) {
            Some(folder) => Ok(folder),
            None => missing(format!("the data set {name}, which is not beside the vectors")),
        }
    }

    /// A file among the vectors of other parts.
    pub fn file(&self, path: &str) -> Result<PathBuf, Stop> {
        let file = self.vectors.join(path);
        if file.exists() {
            Ok(file)
        } else {
            missing(format!("the file {path}, which is not among the vectors"))
        }
    }

    /// The entry of the inputs at a path.
    pub fn json(&self, path: &str) -> Result<&'a Json> {
        let found = self.json["inputs"].pointer(&format!("/{path}"));
        found.with_context(|| format!("no input {path}"))
    }

    /// An integer among the inputs.
    pub fn int(&self, path: &str) -> Result<i64> {
        self.json(path)?.as_i64().with_context(|| format!("{path} is no integer"))
    }

    /// A number among the inputs.
    pub fn number(&self, path: &str) -> Result<f64> {
        self.json(path)?.as_f64().with_context(|| format!("{path} is no number"))
    }

    /// A list of numbers among the inputs.
    pub fn numbers(&self, path: &str) -> Result<Vec<f64>> {
        let list = self.json(path)?.as_array().with_context(|| format!("{path} is no list"))?;
        list.iter().map(|n| n.as_f64().with_context(|| format!("{n} is no number"))).collect()
    }

    /// A list of integers among the inputs.
    pub fn ints(&self, path: &str) -> Result<Vec<i64>> {
        let list = self.json(path)?.as_array().with_context(|| format!("{path} is no list"))?;
        list.iter().map(|n| n.as_i64().with_context(|| format!("{n} is no integer"))).collect()
    }

    /// Rows of numbers among the inputs, as `torch.tensor` would get them.
    pub fn rows(&self, path: &str) -> Result<Vec<Vec<f64>>> {
        let rows = self.json(path)?.as_array().with_context(|| format!("{path} is no list"))?.len();
        (0..rows).map(|row| self.numbers(&format!("{path}/{row}"))).collect()
    }

    /// A described tensor among the inputs.
    pub fn tensor(&self, path: &str) -> Result<Tensor> {
        let json = self.json(path)?;
        let dtype = json["dtype"].as_str().with_context(|| format!("{path} is no tensor"))?;
        let dtype = DType::from_name(dtype).with_context(|| format!("no dtype {dtype}"))?;
        let shape: Vec<usize> = serde_json::from_value(json["shape"].clone())?;
        let values: Vec<f64> = serde_json::from_value(json["values"].clone())?;
        Ok(Tensor::from_vec(values, &shape[..])?.to_dtype(dtype)?)
    }

    /// Seeds the default stream with the case's seed.
    pub fn seed(&self) -> Result<()> {
        manual_seed(self.int("seed")? as u64);
        Ok(())
    }

    /// What is expected at a path.
    pub fn expected(&self, path: &str) -> Result<&'a Json> {
        let found = self.json["expected"].pointer(&format!("/{path}"));
        found.with_context(|| format!("nothing is expected under {path}"))
    }

    /// Compares a value with the expectation at a path, within what the case allows.
    pub fn is(&self, path: &str, got: impl Into<Got>) -> Result<()> {
        self.is_within(path, got, self.slack)
    }

    /// Compares a value with the expectation at a path.
    pub fn is_within(&self, path: &str, got: impl Into<Got>, slack: Slack) -> Result<()> {
        let want = self.expected(path)?;
        self.seen.borrow_mut().insert(path.to_owned());
        check::compare(&got.into(), want, slack).with_context(|| path.to_owned())
    }

    /// A criterion in words, judged by the caller.
    pub fn criterion(&self, path: &str, holds: bool) -> Result<()> {
        let words = self.expected(path)?;
        self.seen.borrow_mut().insert(path.to_owned());
        ensure!(holds, "{path}: not so: {words}");
        Ok(())
    }

    /// An entry that tells of the expectation, or one for a machine of another kind: nothing to compare.
    pub fn remark(&self, path: &str) -> Result<()> {
        self.expected(path)?;
        self.seen.borrow_mut().insert(path.to_owned());
        Ok(())
    }

    /// Whether everything that is expected was compared.
    pub fn finish(&self) -> Result<()> {
        let mut forgotten = Vec::new();
        self.collect_unseen("", &self.json["expected"], &mut forgotten);
        if !forgotten.is_empty() {
            bail!("never compared: {}", forgotten.join(", "));
        }
        Ok(())
    }

    fn collect_unseen(&self, path: &str, json: &Json, forgotten: &mut Vec<String>) {
        let seen = self.seen.borrow();
        if seen.contains(path) {
            return;
        }
        let inside = format!("{path}/");
        let partly = path.is_empty() || seen.iter().any(|s| s.starts_with(&inside));
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        match json {
            Json::Object(map) if partly => {
                map.iter().for_each(|(name, value)| self.collect_unseen(&below(name), value, forgotten));
            }
            Json::Array(list) if partly => {
                let each = list.iter().enumerate();
                each.for_each(|(i, value)| self.collect_unseen(&below(&i.to_string()), value, forgotten));
            }
            _ => forgotten.push(path.to_owned()),
        }
    }
}
