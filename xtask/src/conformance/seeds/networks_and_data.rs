//! Networks as structs, data sets of one's own and how samples become batches.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use kiln::data::{Collate, shared_generator};
use kiln::prelude::*;

use super::Replay;
use super::autograd::grad_of;
use super::case::Case;
use super::check::Slack;

/// The cases of this topic.
pub const CASES: &[(&str, Replay)] = &[
    ("lenet-32", |c| Ok(lenet(c)?)),
    ("mlp-sum-loss", |c| Ok(mlp(c)?)),
    ("custom-layer", |c| Ok(custom_layer(c)?)),
    ("custom-dataset", |c| Ok(custom_dataset(c)?)),
    ("loader-of-numbers", |c| Ok(loader_of_numbers(c)?)),
    ("collate-kinds", |c| Ok(collate_kinds(c)?)),
    ("lazy-items", |c| Ok(lazy_items(c)?)),
    ("is-tensor-reshape-batch", |c| Ok(reshape_batch(c)?)),
    ("training-framework", |c| Ok(training_framework(c)?)),
    ("worker-processes", |c| Ok(workers(c)?)),
];

#[derive(Module)]
struct Lenet32 {
    conv1: Conv2d,
    conv2: Conv2d,
    fc1: Linear,
    fc2: Linear,
    fc3: Linear,
}

impl Lenet32 {
    fn new() -> Self {
        Self {
            conv1: Conv2d::new(1, 6, 5),
            conv2: Conv2d::new(6, 16, 5),
            fc1: Linear::new(400, 120),
            fc2: Linear::new(120, 84),
            fc3: Linear::new(84, 10),
        }
    }
}

impl Forward for Lenet32 {
    fn forward(&self, x: &Tensor) -> kiln::Result<Tensor> {
        let pool = MaxPool2d::new(2);
        let x = pool.forward(&self.conv1.forward(x)?.relu()?)?;
        let x = pool.forward(&self.conv2.forward(&x)?.relu()?)?.flatten(1, -1)?;
        let x = self.fc1.forward(&x)?.relu()?;
        let x = self.fc2.forward(&x)?.relu()?;
        self.fc3.forward(&x)
    }
}

fn lenet(case: &Case<'_>) -> Result<()> {
    case.seed()?;
    let net = Lenet32::new();
    case.is("text", net.to_string())?;
    case.is("parameters", net.num_parameters())?;
    let output = net.forward(&Tensor::randn([2, 1, 32, 32]))?;
    case.is("output", &output)?;
    output.sum()?.backward()?;
    for (name, parameter) in net.named_parameters() {
        case.is(&format!("grads/{name}"), grad_of(&parameter)?)?;
    }
    Ok(())
}

fn mlp(case: &Case<'_>) -> Result<()> {
    case.seed()?;
    let net = sequential![Linear::new(10, 66), ReLU, Linear::new(66, 5)];
    case.is("text", net.to_string())?;
    let (x, y) = (Tensor::randn([100, 10]), Tensor::randn([100, 5]));
    let loss_fn = MSELoss::new().reduction(Reduction::Sum);
    let mut optimizer = SGD::new(net.parameters(), 1e-3);
    let mut losses = Vec::new();
    for _ in 0..5 {
        let loss = loss_fn.forward(&net.forward(&x)?, &y)?;
        losses.push(loss.to_f64()?);
        optimizer.zero_grad();
        loss.backward()?;
        optimizer.step()?;
    }
    case.is_within("losses", losses, Slack::Relative(1e-3))
}

#[derive(Module)]
struct NetSigmoid {
    fc1: Linear,
    fc2: Linear,
}

impl Forward for NetSigmoid {
    fn forward(&self, x: &Tensor) -> kiln::Result<Tensor> {
        self.fc2.forward(&self.fc1.forward(x)?.sigmoid()?)
    }
}

fn custom_layer(case: &Case<'_>) -> Result<()> {
    case.seed()?;
    let net = NetSigmoid { fc1: Linear::new(10, 20), fc2: Linear::new(20, 5) };
    case.is("model_text", net.to_string())?;
    let output = net.forward(&Tensor::randn([1, 10]))?;
    case.is("output", &output)?;
    case.is("text", output.to_string())
}

/// The numbers below a bound.
struct Numbers(usize);

impl Dataset for Numbers {
    type Item = i64;

    fn len(&self) -> usize {
        self.0
    }

    fn get(&self, index: usize) -> kiln::Result<i64> {
        if index >= self.0 {
            return Err(Error::index(
                "dataset",
                format!("range object index out of range: {index} of {}", self.0),
            ));
        }
        Ok(index as i64)
    }
}

fn items(dataset: &impl Dataset<Item = i64>) -> Result<Vec<i64>> {
    (0..dataset.len()).map(|i| Ok(dataset.get(i)?)).collect()
}

fn custom_dataset(case: &Case<'_>) -> Result<()> {
    let n = case.int("n")? as usize;
    let square = || Numbers(n).map(|x| Ok(x * x));
    case.is("square", items(&square())?)?;
    case.is("cube", items(&Numbers(n).map(|x| Ok(x * x * x)))?)?;
    case.is("composed", items(&square().map(|x| Ok(x + 1)))?)?;
    case.is("past_the_end", square().get(n))
}

fn loader_of_numbers(case: &Case<'_>) -> Result<()> {
    let cubes = Numbers(50).map(|x| Ok(x * x * x));
    let loader =
        DataLoader::new(cubes, 4).shuffle(true).generator(shared_generator(case.int("seed")? as u64));
    case.is("count", loader.len())?;
    let batches: Vec<Tensor> = loader.iter().collect::<kiln::Result<_>>()?;
    // PyTorch aligns the numbers; the recorded texts have each run of spaces as one.
    let text = |batch: &Tensor| batch.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    case.is("texts", batches.iter().take(2).map(text).collect::<Vec<_>>())?;
    case.is("last_size", batches.last().context("a batch")?.dims())?;
    case.is("batches", batches)
}

/// What Python would keep in a dictionary: a struct says how its samples are joined.
struct Labelled {
    x: f64,
    y: String,
}

impl Collate for Labelled {
    type Batch = (Tensor, Vec<String>);

    fn collate(items: Vec<Self>) -> kiln::Result<Self::Batch> {
        Collate::collate(items.into_iter().map(|item| (item.x, item.y)).collect())
    }
}

fn collate_kinds(case: &Case<'_>) -> Result<()> {
    case.is("ints", i64::collate(vec![1, 2, 3])?)?;
    case.is("floats", f64::collate(vec![1.5, 2.5])?)?;
    case.is("bools", bool::collate(vec![true, false])?)?;
    let pairs = vec![(Tensor::ones(2), 0i64), (Tensor::zeros(2), 1)];
    let (tensors, numbers) = Collate::collate(pairs)?;
    case.is("pairs", vec![tensors, numbers])?;
    let rows = [(1.0, "a"), (2.0, "b")].map(|(x, y)| Labelled { x, y: y.to_owned() });
    let (x, y) = Collate::collate(rows.into())?;
    case.is("dicts/x", x)?;
    case.is("dicts/y", y)?;
    case.is("unequal", Tensor::collate(vec![Tensor::ones(2), Tensor::ones(3)]))
}

/// A table of files, each of which is an item.
struct Files {
    paths: Vec<PathBuf>,
    opened: Arc<AtomicUsize>,
}

impl Dataset for Files {
    type Item = String;

    fn len(&self) -> usize {
        self.paths.len()
    }

    fn get(&self, index: usize) -> kiln::Result<String> {
        let path = &self.paths[index];
        self.opened.fetch_add(1, Ordering::Relaxed);
        std::fs::read_to_string(path).map_err(|e| Error::io(path, e))
    }
}

fn lazy_items(case: &Case<'_>) -> Result<()> {
    // Files that are surely there, and one that is not.
    let manifest = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    let absent = manifest.with_file_name("absent.txt");
    let opened = Arc::new(AtomicUsize::new(0));
    let files = Files { paths: vec![manifest, absent.clone()], opened: Arc::clone(&opened) };
    let loader = DataLoader::new(files, 1);
    let untouched = opened.load(Ordering::Relaxed) == 0 && loader.len() == 2;
    let text = loader.dataset().get(0)?;
    let alone = opened.load(Ordering::Relaxed) == 1 && text.contains("[package]");
    let named = match loader.dataset().get(1) {
        Err(error) => error.to_string().contains(&absent.display().to_string()),
        Ok(_) => false,
    };
    case.criterion("criterion", untouched && alone && named)
}

fn reshape_batch(case: &Case<'_>) -> Result<()> {
    let batch = Tensor::randn([case.int("n")? as usize, 1, 28, 28]);
    let images = batch.reshape([-1, 28, 28])?;
    case.is("reshape", images.dims())?;
    case.is("is_view", images.shares_storage(&batch))?;
    case.is("squeeze", batch.squeeze()?.dims())?;
    case.is("squeeze_of_one", Tensor::randn([1, 1, 28, 28]).squeeze()?.dims())?;
    // What is a tensor is known before the program runs; a value of unknown type can be asked.
    let values: [&dyn std::any::Any; 2] = [&batch, &vec![1, 2]];
    case.is("is_tensor", values.iter().map(|value| value.is::<Tensor>()).collect::<Vec<_>>())
}

/// The runs themselves are the part `trajectories`; here, that the pieces of such a framework go together.
fn training_framework(case: &Case<'_>) -> Result<()> {
    let x = Tensor::linspace(-1, 1, 64).view([64, 1])?;
    let y = 2 * &x + 1;
    let loader = DataLoader::new(TensorDataset::new((x.clone(), y.clone()))?, 16).shuffle(true);
    let net = sequential![Linear::new(1, 1)];
    let mut optimizer = SGD::new(net.parameters(), 0.1);
    for _ in 0..50 {
        for batch in &loader {
            let (x, y) = batch?;
            optimizer.zero_grad();
            MSELoss::new().forward(&net.forward(&x)?, &y)?.backward()?;
            optimizer.step()?;
        }
    }
    let loss = no_grad(|| MSELoss::new().forward(&net.forward(&x)?, &y)?.to_f64())?;
    case.criterion("criterion", loss < 1e-6)
}

/// Ten items, of which the sixth fails; it counts the copies of itself that are in use.
struct Failing {
    _in_use: Arc<()>,
}

impl Dataset for Failing {
    type Item = i64;

    fn len(&self) -> usize {
        10
    }

    fn get(&self, index: usize) -> kiln::Result<i64> {
        if index == 5 { Err(Error::value("dataset", "item 5 is broken")) } else { Ok(index as i64) }
    }
}

fn workers(case: &Case<'_>) -> Result<()> {
    let users = Arc::new(());
    let loader = DataLoader::new(Failing { _in_use: Arc::clone(&users) }, 1).num_workers(2);
    let mut results: Vec<kiln::Result<Tensor>> = loader.iter().collect();
    let last = results.pop().context("no batch")?;
    let told = last.is_err_and(|error| error.to_string().contains("item 5 is broken"));
    let ends = told && results.len() == 5 && results.iter().all(|batch| batch.is_ok());
    for batch in loader.iter().take(2) {
        batch?;
    }
    // The workers hold the data set: when the loader is gone, nobody does.
    drop(loader);
    ensure!(Arc::strong_count(&users) == 1, "a worker still holds the data set");
    case.criterion("criterion", ends)
}
