//! Schedules made of others: [`SequentialLR`], [`ChainedScheduler`].

use kiln_autograd::{Error, Here, Result};

use super::{Scheduler, rates};
use crate::optimizer::Optimizer;
use crate::value::{StateValue, entry};

/// One schedule after the other.
///
/// ```
/// use kiln_autograd::Tensor;
/// use kiln_optim::{ConstantLR, ExponentialLR, Optimizer, SGD, Schedule, Scheduler, SequentialLR};
/// # fn main() -> kiln_autograd::Result<()> {
/// let w = Tensor::from_vec(vec![0.0f32], [1])?.requires_grad_(true)?;
/// let mut optimizer = SGD::new([w], 1.0);
/// let first = ConstantLR::new().factor(0.1).total_iters(20).on(&mut optimizer)?;
/// let second = ExponentialLR::new(0.9).on(&mut optimizer)?;
/// let mut scheduler = SequentialLR::new(&mut optimizer, [first.boxed(), second.boxed()], [20])?;
/// for _ in 0..21 {
///     optimizer.step()?;
///     scheduler.step(&mut optimizer)?;
/// }
/// assert!((optimizer.lr(0) - 0.9).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
pub struct SequentialLR {
    schedulers: Vec<Box<dyn Scheduler>>,
    /// The rounds from which the second, third, ... are in charge.
    milestones: Vec<i64>,
    last_epoch: i64,
    last_lr: Vec<f64>,
}

impl SequentialLR {
    /// Takes schedules that were started on `optimizer`, and starts again with the first.
    ///
    /// # Errors
    /// There is no schedule, or there are not as many milestones as changes from one to the next.
    #[track_caller]
    pub fn new(
        optimizer: &mut dyn Optimizer,
        schedulers: impl IntoIterator<Item = Box<dyn Scheduler>>,
        milestones: impl IntoIterator<Item = i64>,
    ) -> Result<SequentialLR> {
        let schedulers: Vec<_> = schedulers.into_iter().collect();
        let milestones: Vec<i64> = milestones.into_iter().collect();
        if schedulers.is_empty() {
            return Err(Error::value(
                "SequentialLR",
                "SequentialLR expects at least one scheduler, but got no scheduler.",
            ));
        }
        if milestones.len() + 1 != schedulers.len() {
            return Err(Error::value(
                "SequentialLR",
                format!(
                    "Sequential Schedulers expects number of schedulers provided to be one more than the number of \
                     milestone points, but got number of schedulers {} and the number of milestones to be equal to {}",
                    schedulers.len(),
                    milestones.len()
                ),
            ));
        }
        let mut all = SequentialLR { schedulers, milestones, last_epoch: 0, last_lr: Vec::new() };
        for group in 0..optimizer.num_groups() {
            let initial = optimizer.option(group, "initial_lr").and_then(|v| v.number());
            let missing = || format!("parameter group {group} has no initial_lr: start the schedules first");
            let initial = initial.ok_or_else(|| Error::value("SequentialLR", missing())).here()?;
            optimizer.set_lr(group, initial).here()?;
        }
        all.undo();
        all.begin(optimizer).here()?;
        Ok(all)
    }

    /// The schedule that is in charge of a round.
    fn turn(&self, epoch: i64) -> usize {
        self.milestones.partition_point(|&milestone| milestone <= epoch)
    }

    /// The first schedule sets its first rates.
    fn begin(&mut self, optimizer: &mut dyn Optimizer) -> Result<()> {
        let first = self.turn(0);
        self.schedulers[first].initial_step(optimizer)?;
        self.last_epoch = 0;
        self.last_lr = self.schedulers[first].get_last_lr().to_vec();
        Ok(())
    }
}

/// The states of several schedules.
fn states(schedulers: &[Box<dyn Scheduler>]) -> StateValue {
    StateValue::List(schedulers.iter().map(|s| s.state_dict()).collect())
}

/// Loads the states of several schedules, all or none.
fn load_all(schedulers: &mut [Box<dyn Scheduler>], state: &StateValue) -> Result<()> {
    let saved = super::entry_of(state, "_schedulers")?;
    let saved = saved.list().filter(|list| list.len() == schedulers.len()).ok_or_else(|| {
        let n = schedulers.len();
        Error::value("load_state_dict", format!("_schedulers must be a list of {n} states"))
    })?;
    let before: Vec<StateValue> = schedulers.iter().map(|s| s.state_dict()).collect();
    for (i, state) in saved.iter().enumerate() {
        if let Err(error) = schedulers[i].load_state_dict(state) {
            for (scheduler, state) in schedulers.iter_mut().zip(&before).take(i) {
                scheduler.load_state_dict(state)?;
            }
            return Err(error);
        }
    }
    Ok(())
}

/// A list of numbers of a saved state.
fn numbers(state: &StateValue, name: &str) -> Result<Vec<f64>> {
    let wrong = || Error::value("load_state_dict", format!("{name:?} must be a list of numbers"));
    super::entry_of(state, name)?.numbers().ok_or_else(wrong)
}

impl Scheduler for SequentialLR {
    #[track_caller]
    fn step(&mut self, optimizer: &mut dyn Optimizer) -> Result<()> {
        let epoch = self.last_epoch.saturating_add(1);
        let turn = self.turn(epoch);
        let scheduler = &mut self.schedulers[turn];
        if turn > 0 && self.milestones[turn - 1] == epoch {
            scheduler.restart(optimizer).here()?;
        } else {
            scheduler.step(optimizer).here()?;
        }
        self.last_epoch = epoch;
        self.last_lr = scheduler.get_last_lr().to_vec();
        Ok(())
    }

    fn last_epoch(&self) -> i64 {
        self.last_epoch
    }

    fn get_last_lr(&self) -> &[f64] {
        &self.last_lr
    }

    fn state_dict(&self) -> StateValue {
        let milestones: Vec<StateValue> = self.milestones.iter().map(|&m| m.into()).collect();
        StateValue::dict([
            ("_milestones", milestones.into()),
            ("last_epoch", self.last_epoch.into()),
            ("_last_lr", self.last_lr[..].into()),
            ("_schedulers", states(&self.schedulers)),
        ])
    }

    #[track_caller]
    fn load_state_dict(&mut self, state: &StateValue) -> Result<()> {
        let milestones = super::entry_of(state, "_milestones").here()?.list();
        let milestones: Option<Vec<i64>> =
            milestones.and_then(|list| list.iter().map(StateValue::int).collect());
        let n = self.milestones.len();
        let wrong = || Error::value("load_state_dict", format!("_milestones must be {n} numbers of rounds"));
        let milestones = milestones.filter(|m| m.len() == n).ok_or_else(wrong).here()?;
        let (last_epoch, last_lr) = (entry(state, "last_epoch").here()?, numbers(state, "_last_lr").here()?);
        load_all(&mut self.schedulers, state).here()?;
        (self.milestones, self.last_epoch, self.last_lr) = (milestones, last_epoch, last_lr);
        Ok(())
    }

    fn initial_step(&mut self, optimizer: &mut dyn Optimizer) -> Result<()> {
        self.begin(optimizer)
    }

    fn undo(&mut self) {
        self.schedulers.iter_mut().for_each(|s| s.undo());
    }

    fn restart(&mut self, optimizer: &mut dyn Optimizer) -> Result<()> {
        self.begin(optimizer)
    }
}

/// Several schedules at once: each changes the rates that the one before left.
pub struct ChainedScheduler {
    schedulers: Vec<Box<dyn Scheduler>>,
    last_lr: Vec<f64>,
}

impl ChainedScheduler {
    /// Takes schedules that were started on `optimizer`.
    ///
    /// # Errors
    /// There is no schedule.
    #[track_caller]
    pub fn new(
        schedulers: impl IntoIterator<Item = Box<dyn Scheduler>>,
        optimizer: &dyn Optimizer,
    ) -> Result<ChainedScheduler> {
        let schedulers: Vec<_> = schedulers.into_iter().collect();
        if schedulers.is_empty() {
            return Err(Error::value(
                "ChainedScheduler",
                "ChainedScheduler expects at least one scheduler to be chained, but got no scheduler.",
            ));
        }
        Ok(ChainedScheduler { schedulers, last_lr: rates(optimizer) })
    }

    fn each(
        &mut self,
        optimizer: &mut dyn Optimizer,
        act: impl Fn(&mut dyn Scheduler, &mut dyn Optimizer) -> Result<()>,
    ) -> Result<()> {
        self.schedulers.iter_mut().try_for_each(|s| act(s.as_mut(), optimizer))?;
        self.last_lr = rates(optimizer);
        Ok(())
    }
}

impl Scheduler for ChainedScheduler {
    #[track_caller]
    fn step(&mut self, optimizer: &mut dyn Optimizer) -> Result<()> {
        self.each(optimizer, |s, o| s.step(o)).here()
    }

    fn last_epoch(&self) -> i64 {
        self.schedulers.last().map_or(0, |s| s.last_epoch())
    }

    fn get_last_lr(&self) -> &[f64] {
        &self.last_lr
    }

    fn state_dict(&self) -> StateValue {
        StateValue::dict([("_last_lr", self.last_lr[..].into()), ("_schedulers", states(&self.schedulers))])
    }

    #[track_caller]
    fn load_state_dict(&mut self, state: &StateValue) -> Result<()> {
        let last_lr = numbers(state, "_last_lr").here()?;
        load_all(&mut self.schedulers, state).here()?;
        self.last_lr = last_lr;
        Ok(())
    }

    fn initial_step(&mut self, optimizer: &mut dyn Optimizer) -> Result<()> {
        self.each(optimizer, |s, o| s.initial_step(o))
    }

    fn undo(&mut self) {
        self.schedulers.iter_mut().for_each(|s| s.undo());
    }

    fn restart(&mut self, optimizer: &mut dyn Optimizer) -> Result<()> {
        self.each(optimizer, |s, o| s.restart(o))
    }
}
