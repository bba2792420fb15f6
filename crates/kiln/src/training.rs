//! [`TrainingCheckpoint`]: everything that a training run needs to go on as if it had never been interrupted.

use std::path::Path;

use kiln_autograd::{Error, Here, Result, Tensor, get_rng_state, set_rng_state};
use kiln_data::{DataLoader, Dataset, LoaderState};
use kiln_io::{Dict, Key, Value};
use kiln_nn::{Module, StateDict};
use kiln_optim::{GradScaler, Optimizer, OptimizerState, StateValue, Stateful};

use crate::files::{self, Checkpoint};

/// Under this name is the state of the default random stream.
const RNG_STATE: &str = "rng_state";

/// A training run in a file: named parts of it, values of the user's, and the state of the default random stream, which
/// is taken along by itself (`torch.save({"model": model.state_dict(), ...}, path)`).
///
/// Saved between two steps, anywhere in an epoch, and restored into parts made by the same program, training goes on bit
/// for bit as it would have without the interruption: whatever the number of threads and of a loader's workers.
/// Gradients are not saved. The file is PyTorch's: `torch.load` reads it, and each entry is what the part's
/// `state_dict()` is there.
///
/// ```
/// use kiln::prelude::*;
/// # fn main() -> Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("run.pt");
/// manual_seed(0);
/// let model = sequential![Linear::new(2, 8), ReLU::new(), Dropout::new(0.5), Linear::new(8, 1)];
/// let mut optimizer = Adam::new(model.parameters(), 1e-2);
/// let mut scheduler = StepLR::new(10).on(&mut optimizer)?;
/// let loader = DataLoader::new(TensorDataset::new(Tensor::randn([64, 2]))?, 8).shuffle(true);
/// let mut epoch = 0;
///
/// if let Some(saved) = TrainingCheckpoint::load_if_exists(&path)? {
///     epoch = saved.get("epoch")?.to_i64()?;
///     saved
///         .restore()
///         .model("model", &model)
///         .optimizer("optimizer", &mut optimizer)
///         .scheduler("scheduler", &mut scheduler)
///         .loader("loader", &loader)
///         .done()?;
/// }
/// while epoch < 2 {
///     for x in &loader {
///         optimizer.zero_grad();
///         model.forward(&x?)?.square()?.mean()?.backward()?;
///         optimizer.step()?;
///         TrainingCheckpoint::new()
///             .model("model", &model)
///             .optimizer("optimizer", &optimizer)
///             .scheduler("scheduler", &scheduler)
///             .loader("loader", &loader)
///             .value("epoch", epoch)
///             .save(&path)?;
///     }
///     scheduler.step(&mut optimizer)?;
///     epoch += 1;
/// }
/// # assert_eq!(TrainingCheckpoint::load(&path)?.get("epoch")?.to_i64()?, 1);
/// # Ok(())
/// # }
/// ```
#[must_use = "it is written by save"]
pub struct TrainingCheckpoint {
    entries: Dict,
    /// The first thing that went wrong; it is reported once, at the end of the chain.
    failed: Option<Error>,
}

impl Default for TrainingCheckpoint {
    fn default() -> TrainingCheckpoint {
        TrainingCheckpoint::new()
    }
}

impl TrainingCheckpoint {
    /// A checkpoint with the state of the default random stream, to which parts are added by name.
    pub fn new() -> TrainingCheckpoint {
        let mut entries = Dict::new();
        entries.insert(RNG_STATE, get_rng_state());
        TrainingCheckpoint { entries, failed: None }
    }

    fn add(mut self, name: &str, value: Result<Value>) -> TrainingCheckpoint {
        let value = value.and_then(|value| match self.entries.get(&Key::from(name)) {
            None => Ok(value),
            Some(_) => Err(Error::value("TrainingCheckpoint", format!("there are two entries {name:?}"))),
        });
        match value {
            Ok(value) => {
                self.entries.insert(name, value);
            }
            Err(e) => {
                self.failed.get_or_insert(e);
            }
        }
        self
    }

    /// Parameters and buffers (`model.state_dict()`).
    pub fn model(self, name: &str, model: &(impl Module + ?Sized)) -> TrainingCheckpoint {
        self.add(name, model.state_dict().to_checkpoint())
    }

    /// Moments, steps and options (`optimizer.state_dict()`).
    pub fn optimizer(self, name: &str, optimizer: &(impl Optimizer + ?Sized)) -> TrainingCheckpoint {
        let state = optimizer.state_dict().and_then(|state| state.to_checkpoint());
        self.add(name, state)
    }

    /// A schedule of any kind (`scheduler.state_dict()`).
    pub fn scheduler(self, name: &str, scheduler: &(impl Stateful + ?Sized)) -> TrainingCheckpoint {
        self.add(name, scheduler.to_state().to_checkpoint())
    }

    /// A scaler of mixed precision (`scaler.state_dict()`).
    pub fn scaler(self, name: &str, scaler: &GradScaler) -> TrainingCheckpoint {
        self.scheduler(name, scaler)
    }

    /// Where a loader stands in its data: [`DataLoader::state_dict`].
    pub fn loader<D: Dataset>(self, name: &str, loader: &DataLoader<D>) -> TrainingCheckpoint {
        self.add(name, loader.state_dict().to_checkpoint())
    }

    /// A value of the user's: counters, the best accuracy so far, a history, tensors.
    pub fn value(self, name: &str, value: impl Into<Value>) -> TrainingCheckpoint {
        self.add(name, Ok(value.into()))
    }

    /// Writes the file as a whole: a crash in the middle leaves the one that was there before.
    ///
    /// # Errors
    /// The file cannot be written; a part has no state to save; two entries have one name, or an entry is named
    /// `rng_state`.
    #[track_caller]
    pub fn save(self, path: impl AsRef<Path>) -> Result<()> {
        match self.failed {
            Some(e) => Err(e).here(),
            None => files::save(&Value::Dict(self.entries), path),
        }
    }

    /// Reads a file that [`TrainingCheckpoint::save`] or PyTorch wrote.
    ///
    /// # Errors
    /// The file cannot be read, is damaged or holds no dict.
    #[track_caller]
    pub fn load(path: impl AsRef<Path>) -> Result<TrainingCheckpoint> {
        let value: Value = files::load(path).here()?;
        Ok(TrainingCheckpoint { entries: value.to_dict().here()?.clone(), failed: None })
    }

    /// [`TrainingCheckpoint::load`], or nothing where there is no file yet: what a run that may be its own continuation
    /// starts with.
    ///
    /// # Errors
    /// As [`TrainingCheckpoint::load`].
    #[track_caller]
    pub fn load_if_exists(path: impl AsRef<Path>) -> Result<Option<TrainingCheckpoint>> {
        let path = path.as_ref();
        if path.exists() { TrainingCheckpoint::load(path).map(Some) } else { Ok(None) }
    }

    /// An entry (`checkpoint["epoch"]`).
    ///
    /// # Errors
    /// There is none of this name; the message lists those that there are.
    #[track_caller]
    pub fn get(&self, name: &str) -> Result<&Value> {
        self.entries
            .get(&Key::from(name))
            .ok_or_else(|| {
                let there = self.entries.summary();
                Error::value("TrainingCheckpoint", format!("there is no entry {name:?}; there are {there}"))
            })
            .here()
    }

    /// Starts to put saved parts into a program's.
    pub fn restore(&self) -> Restore<'_> {
        Restore { saved: self, parts: Vec::new(), last: Vec::new() }
    }
}

/// Puts saved parts into a program's, all or none; made by [`TrainingCheckpoint::restore`].
#[must_use = "nothing is restored before done()"]
pub struct Restore<'a> {
    saved: &'a TrainingCheckpoint,
    parts: Vec<(String, Box<dyn Part + 'a>)>,
    /// The models: they are the only parts that must be copied to be put back.
    last: Vec<(String, Box<dyn Part + 'a>)>,
}

/// A part of a program that is about to be overwritten.
trait Part {
    /// Its state, to put it back.
    fn now(&self) -> Result<Value>;
    /// Loads all of a state or nothing.
    fn set(&mut self, value: &Value) -> Result<()>;
}

struct Model<'a, M: ?Sized>(&'a M);

impl<M: Module + ?Sized> Part for Model<'_, M> {
    fn now(&self) -> Result<Value> {
        self.0.state_dict().deep_copy()?.to_checkpoint()
    }

    fn set(&mut self, value: &Value) -> Result<()> {
        self.0.load_state_dict(&StateDict::from_checkpoint(value)?)
    }
}

struct Optimized<'a, O: ?Sized>(&'a mut O);

impl<O: Optimizer + ?Sized> Part for Optimized<'_, O> {
    fn now(&self) -> Result<Value> {
        self.0.state_dict()?.to_checkpoint()
    }

    fn set(&mut self, value: &Value) -> Result<()> {
        self.0.load_state_dict(&OptimizerState::from_checkpoint(value)?)
    }
}

struct Scheduled<'a, S: ?Sized>(&'a mut S);

impl<S: Stateful + ?Sized> Part for Scheduled<'_, S> {
    fn now(&self) -> Result<Value> {
        self.0.to_state().to_checkpoint()
    }

    fn set(&mut self, value: &Value) -> Result<()> {
        self.0.set_state(&StateValue::from_checkpoint(value)?)
    }
}

struct Loaded<'a, D: Dataset>(&'a DataLoader<D>);

impl<D: Dataset> Part for Loaded<'_, D> {
    fn now(&self) -> Result<Value> {
        self.0.state_dict().to_checkpoint()
    }

    fn set(&mut self, value: &Value) -> Result<()> {
        self.0.load_state_dict(&LoaderState::from_checkpoint(value)?)
    }
}

/// The default random stream; a file of PyTorch need not have it.
struct Random;

impl Part for Random {
    fn now(&self) -> Result<Value> {
        Ok(get_rng_state().into())
    }

    fn set(&mut self, value: &Value) -> Result<()> {
        set_rng_state(&value.to_tensor()?)
    }
}

impl<'a> Restore<'a> {
    fn add(mut self, name: &str, part: impl Part + 'a) -> Restore<'a> {
        self.parts.push((name.to_owned(), Box::new(part)));
        self
    }

    /// Into the parameters and buffers of a model.
    pub fn model(mut self, name: &str, model: &'a (impl Module + ?Sized)) -> Restore<'a> {
        self.last.push((name.to_owned(), Box::new(Model(model))));
        self
    }

    /// Into an optimizer.
    pub fn optimizer(self, name: &str, optimizer: &'a mut (impl Optimizer + ?Sized)) -> Restore<'a> {
        self.add(name, Optimized(optimizer))
    }

    /// Into a schedule. The rates it has set are part of the optimizer's state.
    pub fn scheduler(self, name: &str, scheduler: &'a mut (impl Stateful + ?Sized)) -> Restore<'a> {
        self.add(name, Scheduled(scheduler))
    }

    /// Into a scaler of mixed precision.
    pub fn scaler(self, name: &str, scaler: &'a mut GradScaler) -> Restore<'a> {
        self.scheduler(name, scaler)
    }

    /// Into a loader, whose next epoch goes on where the saved one stood.
    pub fn loader<D: Dataset>(self, name: &str, loader: &'a DataLoader<D>) -> Restore<'a> {
        self.add(name, Loaded(loader))
    }

    /// Restores the named parts, and the default random stream if the file has one.
    ///
    /// # Errors
    /// An entry is missing or does not fit its part. All parts are then as they were before.
    #[track_caller]
    pub fn done(mut self) -> Result<()> {
        if self.saved.entries.get(&Key::from(RNG_STATE)).is_some() {
            self = self.add(RNG_STATE, Random);
        }
        self.parts.append(&mut self.last);
        let saved = self.saved;
        let values: Vec<&Value> =
            self.parts.iter().map(|(name, _)| saved.get(name)).collect::<Result<_>>().here()?;
        let mut before: Vec<Value> = Vec::new();
        for (i, value) in values.iter().enumerate() {
            let last = i + 1 == values.len();
            let (name, part) = &mut self.parts[i];
            // Behind the last one nothing can fail.
            let kept = if last { Ok(()) } else { part.now().map(|now| before.push(now)) };
            let Err(e) = kept.and_then(|()| part.set(value)) else { continue };
            let e =
                Error::value("TrainingCheckpoint", format!("the entry {name:?} does not fit: {}", e.kind()));
            for ((_, part), value) in self.parts[..i].iter_mut().zip(&before) {
                part.set(value).here()?;
            }
            return Err(e);
        }
        Ok(())
    }
}

impl Checkpoint for LoaderState {
    fn to_checkpoint(&self) -> Result<Value> {
        Ok(Value::dict([
            ("taken", self.taken.into()),
            ("batch_size", self.batch_size.into()),
            ("samples", self.samples.into()),
            (RNG_STATE, self.rng_state.clone().into()),
            ("generators", self.generators.clone().into()),
        ]))
    }

    fn from_checkpoint(value: &Value) -> Result<LoaderState> {
        let count = |value: &Value| {
            let n = value.to_i64()?;
            usize::try_from(n).map_err(|_| Error::value("LoaderState", format!("a count of {n}")))
        };
        let some = |name: &str| value.get(name).map(|value| (!value.is_none()).then_some(value));
        Ok(LoaderState {
            taken: some("taken")?.map(count).transpose()?,
            batch_size: count(value.get("batch_size")?)?,
            samples: count(value.get("samples")?)?,
            rng_state: some(RNG_STATE)?.map(Value::to_tensor).transpose()?,
            generators: value
                .get("generators")?
                .items()?
                .iter()
                .map(Value::to_tensor)
                .collect::<Result<Vec<Tensor>>>()?,
        })
    }
}
