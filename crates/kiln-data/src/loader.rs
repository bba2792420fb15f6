//! [`DataLoader`]: a data set in batches, in the order of a sampler, made by worker threads if wanted.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use kiln_autograd::kiln_ops::random::default_generator;
use kiln_autograd::kiln_ops::random::sampling::draw_seed;
use kiln_autograd::{Error, Here, Result};

use crate::position::{Course, LoaderState, Position};
use crate::sampler::{IndexIter, RandomSampler, Sampler, SequentialSampler, SharedGenerator, lock};
use crate::worker::seed_worker;
use crate::{Collate, Dataset};

type Batch<D> = <<D as Dataset>::Item as Collate>::Batch;

/// Walks a data set in batches (`torch.utils.data.DataLoader`).
///
/// Batches come in the same order whatever the number of workers, and the shuffled order is PyTorch's for the same
/// seed.
///
/// ```
/// use kiln_autograd::Tensor;
/// use kiln_data::{DataLoader, TensorDataset};
/// let x = Tensor::from_vec((0..10).collect::<Vec<i64>>(), [10])?;
/// let loader = DataLoader::new(TensorDataset::new(x)?, 4).shuffle(true).num_workers(2);
/// let sizes: Vec<usize> = loader.iter().map(|b| b.map(|b| b.numel())).collect::<Result<_, _>>()?;
/// assert_eq!(sizes, [4, 4, 2]);
/// # Ok::<(), kiln_data::Error>(())
/// ```
pub struct DataLoader<D: Dataset> {
    dataset: Arc<D>,
    batch_size: usize,
    shuffle: bool,
    drop_last: bool,
    num_workers: usize,
    prefetch: usize,
    generator: Option<SharedGenerator>,
    sampler: Option<Arc<dyn Sampler>>,
    position: Arc<Position>,
}

impl<D: Dataset> DataLoader<D> {
    /// Batches of `batch_size` samples (at least 1) in order, made by the calling thread.
    pub fn new(dataset: D, batch_size: usize) -> DataLoader<D> {
        DataLoader {
            dataset: Arc::new(dataset),
            batch_size: batch_size.max(1),
            shuffle: false,
            drop_last: false,
            num_workers: 0,
            prefetch: 2,
            generator: None,
            sampler: None,
            position: Arc::default(),
        }
    }

    /// Walks the samples in a new random order every epoch.
    pub fn shuffle(mut self, shuffle: bool) -> Self {
        self.shuffle = shuffle;
        self
    }

    /// Leaves out a last batch that is not full.
    pub fn drop_last(mut self, drop_last: bool) -> Self {
        self.drop_last = drop_last;
        self
    }

    /// Makes batches on this many threads, ahead of the loop that uses them.
    pub fn num_workers(mut self, num_workers: usize) -> Self {
        self.num_workers = num_workers;
        self
    }

    /// How many batches each worker may be ahead (2).
    pub fn prefetch_factor(mut self, batches: usize) -> Self {
        self.prefetch = batches.max(1);
        self
    }

    /// Draws the order from `generator` instead of the default random stream.
    pub fn generator(mut self, generator: SharedGenerator) -> Self {
        self.generator = Some(generator);
        self
    }

    /// Walks the samples in the order of `sampler` (`shuffle` has no effect then).
    pub fn sampler(mut self, sampler: impl Sampler + 'static) -> Self {
        self.sampler = Some(Arc::new(sampler));
        self
    }

    /// The data set.
    pub fn dataset(&self) -> &D {
        &self.dataset
    }

    /// The number of batches of an epoch.
    pub fn len(&self) -> usize {
        let samples = self.samples();
        if self.drop_last { samples / self.batch_size } else { samples.div_ceil(self.batch_size) }
    }

    /// Whether an epoch has no batches.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many samples an epoch draws.
    fn samples(&self) -> usize {
        self.sampler.as_ref().map_or(self.dataset.len(), |s| s.len())
    }

    /// Where the loader stands: in the middle of the epoch that was begun last, or between epochs if that one has come to
    /// its end. It does not depend on the number of workers, nor on how far they are ahead.
    ///
    /// An epoch that was left early (`break`, `take`) counts as one to go on with; see [`DataLoader::end_epoch`]. A
    /// generator of the loader's own is taken to be drawn from by nobody else.
    ///
    /// ```
    /// use kiln_autograd::{Tensor, manual_seed};
    /// use kiln_data::{DataLoader, TensorDataset};
    /// let numbers = || TensorDataset::new(Tensor::arange(0..10));
    /// manual_seed(0);
    /// let loader = DataLoader::new(numbers()?, 2).shuffle(true);
    /// let mut epoch = loader.iter();
    /// let _taken = (epoch.next(), epoch.next());
    /// let state = loader.state_dict();
    /// let next = epoch.next().unwrap()?.to_vec::<i64>()?;
    ///
    /// let resumed = DataLoader::new(numbers()?, 2).shuffle(true).num_workers(2);
    /// resumed.load_state_dict(&state)?;
    /// let mut epoch = resumed.iter();
    /// assert_eq!(epoch.next().unwrap()?.to_vec::<i64>()?, next);
    /// assert_eq!(epoch.count(), 2);
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    pub fn state_dict(&self) -> LoaderState {
        self.position.save(&self.course())
    }

    /// Goes on from a saved position: the next epoch that is begun starts with the next batch of the saved one. The
    /// default random stream is left alone, it is part of what a training run saves.
    ///
    /// # Errors
    /// The position is one of another loader: other batches, another number of samples or of generators. Nothing is
    /// changed then.
    #[track_caller]
    pub fn load_state_dict(&self, state: &LoaderState) -> Result<()> {
        self.position.load(&self.course(), state).here()
    }

    /// Gives up the epoch that was begun last, so that a position saved from now on is at the start of the next one. Only
    /// needed where epochs are left early on purpose.
    pub fn end_epoch(&self) {
        self.position.forget();
    }

    fn course(&self) -> Course {
        let own = self.sampler.as_ref().and_then(|s| s.generator());
        let mut generators: Vec<SharedGenerator> = self.generator.iter().cloned().chain(own).collect();
        generators.dedup_by(|a, b| Arc::ptr_eq(a, b));
        Course { batch_size: self.batch_size, samples: self.samples(), generators }
    }

    /// Starts an epoch. An item is an error when a sample cannot be made or the samples do not go together; the epoch
    /// ends there.
    pub fn iter(&self) -> LoaderIter<D> {
        let mut seed = 0;
        let (epoch, order, taken) = self.position.begin(&self.course(), || {
            seed = self.draw_seed();
            self.order()
        });
        let batches = Batches { order, size: self.batch_size, drop_last: self.drop_last };
        let source = match self.num_workers {
            0 => Source::Here(self.dataset.clone(), batches),
            _ => Source::Workers(Workers::start(self, batches, seed)),
        };
        let left = self.len().saturating_sub(taken);
        LoaderIter { source, left, position: self.position.clone(), epoch }
    }

    /// The seed of the workers' streams. PyTorch draws it with or without workers; the stream stays in step.
    fn draw_seed(&self) -> u64 {
        match &self.generator {
            Some(g) => draw_seed(&mut lock(g)),
            None => draw_seed(&mut default_generator()),
        }
    }

    /// The order of a new epoch.
    fn order(&self) -> IndexIter {
        match &self.sampler {
            Some(sampler) => sampler.iter(),
            None if self.shuffle => {
                let mut sampler = RandomSampler::new(self.dataset.len());
                if let Some(g) = &self.generator {
                    sampler = sampler.generator(g.clone());
                }
                sampler.iter()
            }
            None => SequentialSampler(self.dataset.len()).iter(),
        }
    }
}

impl<D: Dataset> IntoIterator for &DataLoader<D> {
    type Item = Result<Batch<D>>;
    type IntoIter = LoaderIter<D>;

    fn into_iter(self) -> LoaderIter<D> {
        self.iter()
    }
}

/// Sample numbers, a batch at a time.
struct Batches {
    order: IndexIter,
    size: usize,
    drop_last: bool,
}

impl Batches {
    fn next(&mut self) -> Option<Result<Vec<usize>>> {
        let mut batch = Vec::with_capacity(self.size);
        while batch.len() < self.size {
            match self.order.next() {
                Some(Ok(i)) => batch.push(i),
                Some(Err(e)) => return Some(Err(e)),
                None => break,
            }
        }
        let short = batch.len() < self.size;
        let left_out = batch.is_empty() || (short && self.drop_last);
        (!left_out).then_some(Ok(batch))
    }
}

/// The batches of one epoch; made by [`DataLoader::iter`]. Dropping it ends its workers.
pub struct LoaderIter<D: Dataset> {
    source: Source<D>,
    left: usize,
    position: Arc<Position>,
    /// Which of the loader's epochs this is.
    epoch: u64,
}

enum Source<D: Dataset> {
    Here(Arc<D>, Batches),
    Workers(Workers<D>),
    Ended,
}

impl<D: Dataset> Iterator for LoaderIter<D> {
    type Item = Result<Batch<D>>;

    fn next(&mut self) -> Option<Result<Batch<D>>> {
        let item = match &mut self.source {
            Source::Here(dataset, batches) => {
                batches.next().map(|indices| indices.and_then(|i| dataset.get_batch(&i)))
            }
            Source::Workers(workers) => workers.next(),
            Source::Ended => None,
        };
        self.left = self.left.saturating_sub(1);
        match &item {
            Some(Ok(_)) => self.position.took(self.epoch),
            None => self.position.ended(self.epoch),
            // The batch is still to be taken.
            Some(Err(_)) => {}
        }
        if !matches!(item, Some(Ok(_))) {
            self.source = Source::Ended;
            self.left = 0;
        }
        item
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}

/// Threads that make batches: number `i` makes batches `i`, `i + n`, ..., so that taking from them in turn gives all in
/// order. Each may be a few batches ahead.
struct Workers<D: Dataset> {
    batches: Batches,
    prefetch: usize,
    workers: Vec<Worker<D>>,
    /// Batches handed out to workers and batches taken back.
    sent: usize,
    taken: usize,
    /// Why no more batches are handed out, if not because all are.
    failed: Option<Error>,
    exhausted: bool,
}

struct Worker<D: Dataset> {
    tasks: Option<SyncSender<Vec<usize>>>,
    results: Receiver<Result<Batch<D>>>,
    thread: Option<JoinHandle<()>>,
}

impl<D: Dataset> Workers<D> {
    fn start(loader: &DataLoader<D>, batches: Batches, seed: u64) -> Workers<D> {
        let count = loader.num_workers.min(loader.len().max(1));
        let workers = (0..count)
            .filter_map(|i| {
                let (tasks, task_queue) = sync_channel::<Vec<usize>>(loader.prefetch);
                let (results_queue, results) = sync_channel(loader.prefetch);
                let dataset = loader.dataset.clone();
                let thread = std::thread::Builder::new().name(format!("kiln-data-{i}")).spawn(move || {
                    seed_worker(seed.wrapping_add(i as u64));
                    for indices in task_queue {
                        // A panic in a data set's code ends the epoch with an error, not the process.
                        let batch = catch_unwind(AssertUnwindSafe(|| dataset.get_batch(&indices)))
                            .unwrap_or_else(|panic| Err(panicked(&*panic)));
                        if results_queue.send(batch).is_err() {
                            return;
                        }
                    }
                });
                // Fewer threads than asked for only make the epoch slower.
                Some(Worker { tasks: Some(tasks), results, thread: Some(thread.ok()?) })
            })
            .collect::<Vec<_>>();
        let failed =
            workers.is_empty().then(|| Error::value("DataLoader", "no worker thread could be started"));
        Workers { batches, prefetch: loader.prefetch, workers, sent: 0, taken: 0, failed, exhausted: false }
    }

    fn next(&mut self) -> Option<Result<Batch<D>>> {
        while !self.exhausted
            && self.failed.is_none()
            && self.sent - self.taken < self.prefetch * self.workers.len()
        {
            match self.batches.next() {
                None => self.exhausted = true,
                Some(Err(e)) => self.failed = Some(e),
                Some(Ok(indices)) => {
                    let worker = self.sent % self.workers.len();
                    if let Some(tasks) = &self.workers[worker].tasks {
                        // A worker only ends when its queue does.
                        let _ = tasks.send(indices);
                    }
                    self.sent += 1;
                }
            }
        }
        if self.taken == self.sent {
            return self.failed.take().map(Err);
        }
        let worker = self.taken % self.workers.len();
        self.taken += 1;
        Some(self.workers[worker].results.recv().unwrap_or_else(|_| {
            Err(Error::value("DataLoader", format!("worker {worker} ended without an answer")))
        }))
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    Error::value("DataLoader", format!("a worker panicked while it made a batch: {text}"))
}

impl<D: Dataset> Drop for Workers<D> {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            worker.tasks = None;
        }
        for worker in &mut self.workers {
            // Results that nobody will take must not keep the thread waiting.
            while worker.results.recv().is_ok() {}
            if let Some(thread) = worker.thread.take() {
                let _ = thread.join();
            }
        }
    }
}
