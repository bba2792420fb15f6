//! Data sets of one's own, and loaders over them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, bail, ensure};
use kiln::data::{Collate, shared_generator};
use kiln::prelude::*;

use super::super::case::Case;

/// The numbers from 0 on.
struct Range(i64);

impl Dataset for Range {
    type Item = i64;

    fn len(&self) -> usize {
        self.0 as usize
    }

    fn get(&self, index: usize) -> kiln::Result<i64> {
        let number = index as i64;
        if number >= self.0 {
            return Err(Error::index("range", format!("index {index} out of range")));
        }
        Ok(number)
    }
}

fn square(x: i64) -> kiln::Result<i64> {
    Ok(x * x)
}

fn cube(x: i64) -> kiln::Result<i64> {
    Ok(x * x * x)
}

pub fn custom_dataset(case: &Case<'_>) -> Result<()> {
    fn items(set: &impl Dataset<Item = i64>) -> kiln::Result<Vec<i64>> {
        (0..set.len()).map(|i| set.get(i)).collect()
    }
    let n = case.int("n")?;
    case.is("square", items(&Range(n).map(square))?)?;
    case.is("cube", items(&Range(n).map(cube))?)?;
    case.is("composed", items(&Range(n).map(square).map(|x| Ok(x + 1)))?)?;
    case.is("past_the_end", Range(n).map(square).get(n as usize))
}

pub fn numbers(case: &Case<'_>) -> Result<()> {
    let loader = DataLoader::new(Range(50).map(cube), 4).shuffle(true);
    let loader = loader.generator(shared_generator(case.int("seed")? as u64));
    let batches = loader.iter().collect::<kiln::Result<Vec<_>>>()?;
    case.is("count", batches.len())?;
    case.is("last_size", batches.last().context("a batch")?.dims())?;
    // The stored texts have lost the spaces that line numbers up.
    let runs = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ").replace("[ ", "[");
    case.is("texts", batches[..2].iter().map(|b| runs(b.to_string())).collect::<Vec<_>>())?;
    case.is("batches", batches)
}

/// What a Python program would put into a dict.
struct Record {
    x: f64,
    y: String,
}

/// A batch of records.
struct Records {
    x: Tensor,
    y: Vec<String>,
}

impl Collate for Record {
    type Batch = Records;

    fn collate(items: Vec<Record>) -> kiln::Result<Records> {
        let (x, y) = Collate::collate(items.into_iter().map(|r| (r.x, r.y)).collect::<Vec<_>>())?;
        Ok(Records { x, y })
    }
}

pub fn kinds(case: &Case<'_>) -> Result<()> {
    case.is("ints", i64::collate(vec![1, 2, 3])?)?;
    case.is("floats", f64::collate(vec![1.5, 2.5])?)?;
    case.is("bools", bool::collate(vec![true, false])?)?;
    let (x, y) = Collate::collate(vec![(Tensor::ones(2), 0i64), (Tensor::zeros(2), 1)])?;
    case.is("pairs", vec![x, y])?;
    let record = |x: f64, y: &str| Record { x, y: y.to_owned() };
    let records = Record::collate(vec![record(1.0, "a"), record(2.0, "b")])?;
    case.is("dicts/x", records.x)?;
    case.is("dicts/y", records.y)?;
    case.is("unequal", Tensor::collate(vec![Tensor::ones(2), Tensor::ones(3)]))
}

/// Numbers in files, which are opened when they are asked for.
struct Files {
    paths: Vec<PathBuf>,
    opened: Mutex<Vec<usize>>,
}

impl Dataset for Files {
    type Item = i64;

    fn len(&self) -> usize {
        self.paths.len()
    }

    fn get(&self, index: usize) -> kiln::Result<i64> {
        let path = &self.paths[index];
        if let Ok(mut opened) = self.opened.lock() {
            opened.push(index);
        }
        let wrong = |why: String| Error::value("files", format!("{}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
        text.trim().parse().map_err(|e: std::num::ParseIntError| wrong(e.to_string()))
    }
}

pub fn lazy(case: &Case<'_>) -> Result<()> {
    // Every run has a folder of its own.
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let name = format!("kiln-lazy-items-{}-{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder)?;
    let paths: Vec<PathBuf> = (0..4).map(|i| folder.join(format!("item{i}.txt"))).collect();
    for (i, path) in paths.iter().enumerate().take(3) {
        std::fs::write(path, (10 * i).to_string())?;
    }
    let set = Files { paths, opened: Mutex::default() };
    let opened = || set.opened.lock().map(|opened| opened.clone()).unwrap_or_default();
    let nothing_yet = opened().is_empty() && set.len() == 4;
    let only_that = set.get(2)? == 20 && opened() == [2];
    let missing = set.get(3).err().is_some_and(|error| error.to_string().contains("item3.txt"));
    std::fs::remove_dir_all(&folder)?;
    case.criterion("criterion", nothing_yet && only_that && missing)
}

/// Numbers of which one cannot be read.
struct Failing(Arc<Vec<i64>>);

impl Dataset for Failing {
    type Item = i64;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, index: usize) -> kiln::Result<i64> {
        match index {
            5 => Err(Error::value("failing", "item 5 cannot be read")),
            _ => Ok(self.0[index]),
        }
    }
}

pub fn workers(case: &Case<'_>) -> Result<()> {
    let numbers = Arc::new((0..40).collect::<Vec<i64>>());
    // As long as a worker is there, it holds the data set.
    let watch = Arc::downgrade(&numbers);
    let loader = DataLoader::new(Failing(numbers), 2).num_workers(2);
    let results: Vec<_> = loader.iter().collect();
    // Items 0 to 3, then the batch with item 5, which ends the epoch.
    ensure!(results.len() == 3, "{} results", results.len());
    let Some(Err(error)) = results.last() else { bail!("no error") };
    let told = error.to_string().contains("item 5 cannot be read");
    // Left early: the iterator is dropped after one batch, the workers with it.
    let first = loader.iter().next().context("a batch")??;
    drop(loader);
    let gone = watch.upgrade().is_none();
    case.criterion("criterion", told && first.to_vec::<i64>()? == [0, 1] && gone)
}
