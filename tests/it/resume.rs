//! Training that is interrupted and goes on from a file ends with the bits of a run that was not.

use std::path::Path;
use std::process::Command;

use kiln::data::{LoaderState, RandomSampler, SubsetRandomSampler, WeightedRandomSampler, shared_generator};
use kiln::prelude::*;

use super::turn;

const EPOCHS: i64 = 3;
/// 240 pictures in batches of 48: five steps an epoch.
const PICTURES: usize = 240;
const STEPS: i64 = 5;

/// Everything that has a state: dropout, batch normalisation, moments, rates and momenta, shuffled batches.
struct Run {
    model: Sequential,
    optimizer: Adam,
    scheduler: LRScheduler<OneCycleLR>,
    plateau: PlateauScheduler,
    scaler: GradScaler,
    loader: DataLoader<kiln::data::Subset<ImageClasses>>,
    epoch: i64,
    losses: Vec<f64>,
}

impl Run {
    fn new(seed: u64, workers: usize) -> Result<Run> {
        manual_seed(seed);
        let pictures: Vec<usize> = (0..PICTURES).collect();
        let pictures = kiln::data::Subset::new(ImageClasses::digits(Split::Train)?.into(), pictures)?;
        let model = sequential![
            Conv2d::new(1, 6, 3),
            BatchNorm2d::new(6),
            ReLU::new(),
            MaxPool2d::new(2),
            Flatten::new(),
            Dropout::new(0.3),
            Linear::new(54, 10)
        ];
        let mut optimizer = Adam::new(model.parameters(), 1e-3);
        Ok(Run {
            scheduler: OneCycleLR::new(1e-2).total_steps(EPOCHS * STEPS).on(&mut optimizer)?,
            plateau: ReduceLROnPlateau::new().patience(0).on(&mut optimizer)?,
            scaler: GradScaler::new().init_scale(16.0).growth_interval(4),
            model,
            optimizer,
            loader: DataLoader::new(pictures, 48).shuffle(true).num_workers(workers),
            epoch: 0,
            losses: Vec::new(),
        })
    }

    fn save(&self, path: &Path) -> Result<()> {
        TrainingCheckpoint::new()
            .model("model", &self.model)
            .optimizer("optimizer", &self.optimizer)
            .scheduler("scheduler", &self.scheduler)
            .scheduler("plateau", &self.plateau)
            .scaler("scaler", &self.scaler)
            .loader("loader", &self.loader)
            .value("epoch", self.epoch)
            .value("losses", self.losses.clone())
            .save(path)
    }

    fn restore(&mut self, path: &Path) -> Result<()> {
        let saved = TrainingCheckpoint::load(path)?;
        saved
            .restore()
            .model("model", &self.model)
            .optimizer("optimizer", &mut self.optimizer)
            .scheduler("scheduler", &mut self.scheduler)
            .scheduler("plateau", &mut self.plateau)
            .scaler("scaler", &mut self.scaler)
            .loader("loader", &self.loader)
            .done()?;
        self.epoch = saved.get("epoch")?.to_i64()?;
        self.losses = saved.get("losses")?.items()?.iter().map(Value::to_f64).collect::<Result<_>>()?;
        Ok(())
    }

    /// Trains up to the end, or until so many steps have been made in all: then it saves, inside of the loop as a run does
    /// that does not know of its end.
    fn train(&mut self, until: Option<(usize, &Path)>) -> Result<()> {
        let loss_fn = CrossEntropyLoss::new();
        while self.epoch < EPOCHS {
            for batch in &self.loader {
                let (x, y) = batch?;
                self.optimizer.zero_grad();
                let loss = loss_fn.forward(&self.model.forward(&x)?, &y)?;
                self.scaler.scale(&loss)?.backward()?;
                self.scaler.step(&mut self.optimizer)?;
                self.scaler.update()?;
                self.scheduler.step(&mut self.optimizer)?;
                self.losses.push(loss.to_f64()?);
                if let Some((steps, path)) = until
                    && self.losses.len() == steps
                {
                    return self.save(path);
                }
            }
            self.plateau.step(&mut self.optimizer, self.losses.iter().sum())?;
            self.epoch += 1;
        }
        Ok(())
    }

    fn bits(&self) -> Vec<u8> {
        let tensors = self.model.state_dict();
        let weights =
            tensors.iter().flat_map(|(_, t)| t.to_dtype(DType::F64).unwrap().to_vec::<f64>().unwrap());
        let rates = [self.optimizer.lr(0), self.scaler.get_scale()];
        let all = weights.chain(rates).chain(self.losses.iter().copied());
        all.flat_map(f64::to_le_bytes).chain(get_rng_state().to_vec::<u8>().unwrap()).collect()
    }
}

#[test]
fn interrupted_training_ends_with_the_same_bits() -> Result<()> {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.pt");
    let mut straight = Run::new(1, 0)?;
    straight.train(None)?;
    assert_eq!(straight.losses.len() as i64, EPOCHS * STEPS);
    // In the middle of an epoch, behind its first and behind its last batch; with workers before or after.
    for (steps, workers) in [(1, (0, 0)), (3, (0, 2)), (5, (2, 0)), (9, (2, 2)), (12, (2, 0)), (15, (0, 2))] {
        let mut first = Run::new(1, workers.0)?;
        first.train(Some((steps, &path)))?;
        drop(first);
        let mut second = Run::new(77, workers.1)?;
        second.restore(&path)?;
        assert_eq!(second.losses.len(), steps);
        second.train(None)?;
        assert!(second.bits() == straight.bits(), "interrupted behind step {steps}, workers {workers:?}");
    }
    // Several times, and between two epochs.
    let mut run = Run::new(1, 2)?;
    for steps in [2, 4, 6, 7] {
        run.train(Some((steps, &path)))?;
        run = Run::new(steps as u64, steps % 3)?;
        run.restore(&path)?;
    }
    run.train(Some((10, &path)))?;
    run = Run::new(5, 0)?;
    run.restore(&path)?;
    assert_eq!(run.loader.iter().count(), 0, "the epoch had come to its end");
    run.plateau.step(&mut run.optimizer, run.losses.iter().sum())?;
    run.epoch += 1;
    run.save(&path)?;
    run = Run::new(6, 2)?;
    run.restore(&path)?;
    run.train(None)?;
    assert!(run.bits() == straight.bits(), "interrupted many times");
    Ok(())
}

fn numbers(n: i64) -> Result<TensorDataset<Tensor>> {
    TensorDataset::new(Tensor::arange(0..n))
}

fn rest(epoch: kiln::data::LoaderIter<TensorDataset<Tensor>>) -> Result<Vec<Vec<i64>>> {
    epoch.map(|batch| batch?.to_vec::<i64>()).collect()
}

#[test]
fn a_loader_goes_on_with_the_next_batch_for_every_sampler() -> Result<()> {
    let _turn = turn();
    type Make = fn(usize) -> Result<DataLoader<TensorDataset<Tensor>>>;
    let loaders: [Make; 6] = [
        |workers| Ok(DataLoader::new(numbers(70)?, 4).num_workers(workers)),
        |workers| Ok(DataLoader::new(numbers(70)?, 4).shuffle(true).drop_last(true).num_workers(workers)),
        |workers| {
            let loader = DataLoader::new(numbers(70)?, 4).num_workers(workers);
            Ok(loader.shuffle(true).generator(shared_generator(4)))
        },
        // Drawn block by block, so that workers are ahead in the generator's stream.
        |workers| {
            let sampler = RandomSampler::new(70).replacement(true).generator(shared_generator(9));
            Ok(DataLoader::new(numbers(70)?, 4).sampler(sampler).num_workers(workers))
        },
        |workers| {
            let sampler = SubsetRandomSampler::new(&(0..40).collect::<Vec<_>>(), None);
            Ok(DataLoader::new(numbers(70)?, 4).sampler(sampler).num_workers(workers))
        },
        |workers| {
            let generator = shared_generator(3);
            let sampler = WeightedRandomSampler::new(&[1.0; 70], 70, true, Some(generator.clone()));
            Ok(DataLoader::new(numbers(70)?, 4).sampler(sampler).generator(generator).num_workers(workers))
        },
    ];
    for (kind, make) in loaders.into_iter().enumerate() {
        for (taken, before, after) in [(0, 0, 0), (1, 2, 0), (7, 0, 3), (9, 2, 2)] {
            manual_seed(8);
            let loader = make(before)?;
            // Not the first epoch, so that a generator of its own has moved.
            rest(loader.iter())?;
            let mut epoch = loader.iter();
            for _ in 0..taken {
                epoch.next().unwrap()?;
            }
            let (saved, random) = (loader.state_dict().to_checkpoint()?, get_rng_state());
            let want = (rest(epoch)?, rest(loader.iter())?, get_rng_state().to_vec::<u8>()?);

            manual_seed(99);
            let resumed = make(after)?;
            resumed.load_state_dict(&LoaderState::from_checkpoint(&saved)?)?;
            set_rng_state(&random)?;
            // A position that was not made use of yet can be saved again.
            assert_eq!(resumed.state_dict().taken, Some(taken));
            let epoch = resumed.iter();
            assert_eq!(epoch.size_hint().1, Some(loader.len() - taken));
            let got = (rest(epoch)?, rest(resumed.iter())?, get_rng_state().to_vec::<u8>()?);
            assert!(got == want, "loader {kind}, {taken} batches taken, {before} and {after} workers");
            assert_eq!(resumed.state_dict().taken, None);
        }
    }
    Ok(())
}

#[test]
fn an_epoch_left_on_purpose_is_not_continued() -> Result<()> {
    let _turn = turn();
    let loader = DataLoader::new(numbers(12)?, 3);
    assert_eq!(loader.iter().take(2).count(), 2);
    assert_eq!(loader.state_dict().taken, Some(2));
    loader.end_epoch();
    let state = loader.state_dict();
    assert_eq!(state.taken, None);
    loader.load_state_dict(&state)?;
    assert_eq!(loader.iter().count(), 4);
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() -> Result<()> {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.pt");
    let mut run = Run::new(1, 0)?;
    run.train(Some((3, &path)))?;

    // Another model: the optimizer, the schedules and the loader come first, and are put back.
    let mut other = Run::new(2, 0)?;
    other.model = sequential![Linear::new(54, 10)];
    let before = (other.bits(), other.loader.state_dict().taken, other.optimizer.state_dict()?.state.len());
    let error = other.restore(&path).unwrap_err().to_string();
    assert!(error.contains("\"model\" does not fit") && error.contains("0.weight"), "{error}");
    let after = (other.bits(), other.loader.state_dict().taken, other.optimizer.state_dict()?.state.len());
    assert!(after == before);

    let saved = TrainingCheckpoint::load(&path)?;
    let error = saved.restore().model("net", &run.model).done().unwrap_err().to_string();
    assert!(error.contains("no entry \"net\"") && error.contains("'model'"), "{error}");
    let twice = TrainingCheckpoint::new().value("step", 1i64).value("step", 2i64);
    assert!(twice.save(&path).unwrap_err().to_string().contains("two entries \"step\""));
    assert_eq!(TrainingCheckpoint::load(&path)?.get("epoch")?.to_i64()?, 0, "the file is as it was");
    assert!(TrainingCheckpoint::load_if_exists(folder.path().join("none.pt"))?.is_none());

    let state = run.loader.state_dict();
    for (wrong, why) in [
        (LoaderState { batch_size: 7, ..state.clone() }, "batches of 7"),
        (LoaderState { taken: Some(6), ..state.clone() }, "6 batches were taken"),
        (LoaderState { rng_state: None, ..state.clone() }, "without the random state"),
        (LoaderState { rng_state: Some(Tensor::from(vec![1u8, 2])), ..state.clone() }, "5056"),
        (LoaderState { generators: vec![get_rng_state()], ..state.clone() }, "1 generators"),
    ] {
        let error = run.loader.load_state_dict(&wrong).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    assert_eq!(run.loader.state_dict().taken, Some(3));
    Ok(())
}

/// Reads Kiln's file as PyTorch does by default, puts all of it into PyTorch's own objects and draws a number.
const SCRIPT: &str = r#"
import sys, torch
from torch import nn
saved = torch.load(sys.argv[1], weights_only=True)
model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.3),
                      nn.Linear(54, 10))
model.load_state_dict(saved["model"])
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, 15)
plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
optimizer.load_state_dict(saved["optimizer"])
scheduler.load_state_dict(saved["scheduler"])
plateau.load_state_dict(saved["plateau"])
scaler = torch.amp.GradScaler("cpu")
scaler.load_state_dict(saved["scaler"])
torch.set_rng_state(saved["rng_state"])
optimizer.step()
scheduler.step()
print(scheduler.last_epoch, saved["loader"]["taken"], saved["epoch"], scaler.get_scale(), torch.rand(1).item())
"#;

#[test]
fn pytorch_reads_a_training_checkpoint() -> Result<()> {
    let _turn = turn();
    let Ok(python) = std::env::var("KILN_TORCH_PYTHON") else {
        println!("skipped: KILN_TORCH_PYTHON names no Python with torch");
        return Ok(());
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.pt");
    let mut run = Run::new(1, 2)?;
    run.train(Some((8, &path)))?;
    let output = Command::new(python).args(["-c", SCRIPT]).arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let next = Tensor::rand(1).to_vec::<f32>()?[0] as f64;
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), format!("9 3 1 64.0 {next:?}"));
    Ok(())
}
