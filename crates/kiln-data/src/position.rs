//! Where a loader stands in its data: what an interrupted training run needs to go on with the next batch.

use std::sync::{Mutex, MutexGuard, PoisonError};

use kiln_autograd::{Error, Generator, Result, Tensor, fork_rng, get_rng_state, set_rng_state};

use crate::sampler::{IndexIter, SharedGenerator, lock};

const OP: &str = "DataLoader.load_state_dict";

/// The position of a [`DataLoader`](crate::DataLoader), from [`DataLoader::state_dict`](crate::DataLoader::state_dict).
///
/// The order of an epoch is not saved but the random states it was drawn from: it is drawn again, and as many samples as
/// were taken are passed over without being read.
#[derive(Clone, Debug)]
pub struct LoaderState {
    /// How many batches of the running epoch were taken; none between epochs.
    pub taken: Option<usize>,
    /// The size of the batches.
    pub batch_size: usize,
    /// The number of samples of an epoch.
    pub samples: usize,
    /// The state of the default generator when the running epoch began.
    pub rng_state: Option<Tensor>,
    /// The states of the generators of the loader and its sampler: when the running epoch began, or now between epochs.
    pub generators: Vec<Tensor>,
}

/// What of a loader decides whether a saved position fits.
pub(crate) struct Course {
    pub(crate) batch_size: usize,
    pub(crate) samples: usize,
    /// The generators that are not the default one.
    pub(crate) generators: Vec<SharedGenerator>,
}

impl Course {
    fn states(&self) -> Vec<Tensor> {
        self.generators.iter().map(|g| Tensor::from(lock(g).get_state())).collect()
    }

    fn between_epochs(&self) -> LoaderState {
        LoaderState {
            taken: None,
            batch_size: self.batch_size,
            samples: self.samples,
            rng_state: None,
            generators: self.states(),
        }
    }

    fn set_states(&self, states: &[Generator]) {
        for (generator, state) in self.generators.iter().zip(states) {
            *lock(generator) = state.clone();
        }
    }

    /// The generators of a saved position, if it is one of this loader.
    fn check(&self, state: &LoaderState) -> Result<Vec<Generator>> {
        let LoaderState { taken, batch_size, samples, rng_state, generators } = state;
        let most = self.samples.div_ceil(self.batch_size);
        if let Some(taken) = taken {
            let wrong = |what: String| Err(Error::value(OP, what));
            if (*batch_size, *samples) != (self.batch_size, self.samples) {
                return wrong(format!(
                    "the saved epoch has batches of {batch_size} from {samples} samples, this loader has batches of {} from \
                     {}; a running epoch can only be continued with the same ones",
                    self.batch_size, self.samples
                ));
            }
            if *taken > most {
                return wrong(format!("{taken} batches were taken of an epoch that has {most}"));
            }
            let Some(rng_state) = rng_state else {
                return wrong("a running epoch without the random state it began with".to_owned());
            };
            generator_from(rng_state)?;
        }
        if generators.len() != self.generators.len() {
            return Err(Error::value(
                OP,
                format!(
                    "the saved loader has {} generators of its own, this one has {}",
                    generators.len(),
                    self.generators.len()
                ),
            ));
        }
        generators.iter().map(generator_from).collect()
    }
}

fn generator_from(state: &Tensor) -> Result<Generator> {
    let mut generator = Generator::new(0);
    generator.set_state(&state.to_vec::<u8>()?)?;
    Ok(generator)
}

/// The position that a loader and the iterators of its epochs share.
#[derive(Default)]
pub(crate) struct Position(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Tells the epochs apart: only the last one that was begun moves the position.
    epoch: u64,
    /// The epoch that runs, or the one to be continued.
    running: Option<LoaderState>,
    /// Whether the next epoch continues `running`.
    resume: bool,
}

impl Position {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn save(&self, course: &Course) -> LoaderState {
        self.inner().running.clone().unwrap_or_else(|| course.between_epochs())
    }

    pub(crate) fn load(&self, course: &Course, state: &LoaderState) -> Result<()> {
        let generators = course.check(state)?;
        course.set_states(&generators);
        let mut inner = self.inner();
        // Iterators that are still about belong to the past.
        inner.epoch += 1;
        inner.resume = state.taken.is_some();
        inner.running = inner.resume.then(|| state.clone());
        Ok(())
    }

    /// Begins an epoch, or goes on with the one that was loaded: its number, its samples' order, and how many batches
    /// were taken already.
    pub(crate) fn begin(&self, course: &Course, draw: impl FnOnce() -> IndexIter) -> (u64, IndexIter, usize) {
        let (epoch, resumed) = {
            let mut inner = self.inner();
            inner.epoch += 1;
            let resumed = std::mem::take(&mut inner.resume).then(|| inner.running.clone()).flatten();
            (inner.epoch, resumed)
        };
        let Some(state) = resumed else {
            let state =
                LoaderState { taken: Some(0), rng_state: Some(get_rng_state()), ..course.between_epochs() };
            self.inner().running = Some(state);
            return (epoch, draw(), 0);
        };
        let taken = state.taken.unwrap_or(0);
        let order = fork_rng(|| again(course, &state, taken, draw));
        (epoch, order.unwrap_or_else(|e| Box::new(std::iter::once(Err(e)))), taken)
    }

    /// A batch of an epoch was taken.
    pub(crate) fn took(&self, epoch: u64) {
        let mut inner = self.inner();
        if inner.epoch == epoch
            && let Some(LoaderState { taken: Some(taken), .. }) = &mut inner.running
        {
            *taken += 1;
        }
    }

    /// An epoch has come to its end.
    pub(crate) fn ended(&self, epoch: u64) {
        let mut inner = self.inner();
        if inner.epoch == epoch {
            inner.running = None;
        }
    }

    /// Forgets the running epoch.
    pub(crate) fn forget(&self) {
        let mut inner = self.inner();
        *inner = Inner { epoch: inner.epoch + 1, ..Inner::default() };
    }
}

/// The order of a saved epoch, drawn again from where it began, behind the samples that were taken. Where none was taken
/// nothing is drawn here, since samplers draw when the first sample is asked for.
fn again(
    course: &Course,
    state: &LoaderState,
    taken: usize,
    draw: impl FnOnce() -> IndexIter,
) -> Result<IndexIter> {
    course.set_states(&course.check(state)?);
    if let Some(rng_state) = &state.rng_state {
        set_rng_state(rng_state)?;
    }
    let mut order = draw();
    for sample in order.by_ref().take(taken.saturating_mul(course.batch_size)) {
        sample?;
    }
    Ok(order)
}
