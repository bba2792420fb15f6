//! Learning rate schedules: they change the rates of an optimizer's groups from round to round, most often from epoch to
//! epoch.
//!
//! A [`Schedule`] is a rule, built with its options; [`Schedule::on`] starts it on an optimizer, which sets the rates of
//! the first round, and gives the running [`LRScheduler`]. That one does not hold the optimizer: it is handed to
//! [`Scheduler::step`].
//!
//! ```
//! use kiln_autograd::Tensor;
//! use kiln_optim::{Optimizer, SGD, Schedule, Scheduler, StepLR};
//! # fn main() -> kiln_autograd::Result<()> {
//! let w = Tensor::from_vec(vec![0.0f32], [1])?.requires_grad_(true)?;
//! let mut optimizer = SGD::new([w], 0.1);
//! let mut scheduler = StepLR::new(2).gamma(0.5).on(&mut optimizer)?;
//! for _ in 0..4 {
//!     optimizer.step()?;
//!     scheduler.step(&mut optimizer)?;
//! }
//! assert_eq!((optimizer.lr(0), scheduler.get_last_lr()), (0.025, &[0.025][..]));
//! # Ok(())
//! # }
//! ```

mod compose;
mod cosine;
mod cyclic;
mod lambda;
mod momentum;
mod one_cycle;
mod plateau;
mod stepwise;
mod swa;
mod warmup;

use kiln_autograd::{Error, Here, Result};

use crate::optimizer::Optimizer;
use crate::value::{StateValue, entry};

pub use compose::{ChainedScheduler, SequentialLR};
pub use cosine::{CosineAnnealingLR, CosineAnnealingWarmRestarts};
pub use cyclic::CyclicLR;
pub use lambda::{LambdaLR, MultiplicativeLR};
pub use one_cycle::OneCycleLR;
pub use plateau::{PlateauScheduler, ReduceLROnPlateau};
pub use stepwise::{ExponentialLR, MultiStepLR, StepLR};
pub use swa::SWALR;
pub use warmup::{ConstantLR, LinearLR, PolynomialLR};

/// A running schedule.
pub trait Scheduler: Send {
    /// Goes on to the next round and sets the optimizer's rates; call it after the optimizer's step.
    ///
    /// # Errors
    /// The optimizer has another number of groups than when the schedule was started, or the schedule has come to its end.
    fn step(&mut self, optimizer: &mut dyn Optimizer) -> Result<()>;

    /// The number of the round; 0 is the first.
    fn last_epoch(&self) -> i64;

    /// The rates that were set last, by group.
    fn get_last_lr(&self) -> &[f64];

    /// The state under PyTorch's names; functions are left out.
    fn state_dict(&self) -> StateValue;

    /// Goes on from a saved state, PyTorch's too; all of it is loaded or nothing. The optimizer's rates are in the
    /// optimizer's own state.
    ///
    /// # Errors
    /// Entries are missing or of the wrong kind.
    fn load_state_dict(&mut self, state: &StateValue) -> Result<()>;

    /// Sets the rates of the first round again, as when the schedule was started.
    ///
    /// # Errors
    /// As [`Scheduler::step`].
    fn initial_step(&mut self, optimizer: &mut dyn Optimizer) -> Result<()>;

    /// Goes one round back without setting rates: the next step repeats the present round.
    fn undo(&mut self);

    /// Sets the rates of round 0, counted from now on.
    ///
    /// # Errors
    /// As [`Scheduler::step`].
    fn restart(&mut self, optimizer: &mut dyn Optimizer) -> Result<()>;

    /// The schedule behind a pointer, as [`SequentialLR`] and [`ChainedScheduler`] take them.
    fn boxed(self) -> Box<dyn Scheduler>
    where
        Self: Sized + 'static,
    {
        Box::new(self)
    }
}

/// What a schedule's rule is asked about: a round.
#[derive(Clone, Copy, Debug)]
pub struct Round<'a> {
    /// The number of the round.
    pub epoch: i64,
    /// Whether the schedule is just being started.
    pub initial: bool,
    /// How many steps there were, with the one at the start and this one.
    pub steps: i64,
    /// The rates that the schedule started from, by group.
    pub base_lrs: &'a [f64],
    /// The present rates, which others may have changed.
    pub lrs: &'a [f64],
}

impl Round<'_> {
    /// The present rates times a factor.
    pub(crate) fn times(&self, factor: f64) -> Vec<f64> {
        self.lrs.iter().map(|lr| lr * factor).collect()
    }

    /// The present rates.
    pub(crate) fn same(&self) -> Vec<f64> {
        self.lrs.to_vec()
    }
}

/// The rule of a schedule; implement it for one of your own.
pub trait Schedule: Send + Sized {
    /// The name in messages.
    const NAME: &'static str;

    /// What is wrong with the options.
    fn problem(&self) -> Option<String> {
        None
    }

    /// Prepares the optimizer's groups, before the first rates are set; `resumed` when the schedule goes on from a later
    /// round.
    ///
    /// # Errors
    /// The schedule does not go with the optimizer.
    fn prepare(&mut self, _optimizer: &mut dyn Optimizer, _resumed: bool) -> Result<()> {
        Ok(())
    }

    /// The rates that the schedule starts from; those of the groups' `initial_lr` unless the schedule has its own.
    fn base_lrs(&self, initial: Vec<f64>) -> Vec<f64> {
        initial
    }

    /// The rates of a round, by group. Other options of the groups are changed in place.
    ///
    /// # Errors
    /// The schedule has come to its end.
    fn rates(&mut self, round: &Round<'_>, optimizer: &mut dyn Optimizer) -> Result<Vec<f64>>;

    /// The rates of a round from its number alone, where there is such a formula.
    fn closed_form(&self, _epoch: i64, _base_lrs: &[f64]) -> Option<Vec<f64>> {
        None
    }

    /// Whether steps are counted; PyTorch's warm restarts do not.
    fn counts_steps(&self) -> bool {
        true
    }

    /// The options and the state of its own, under PyTorch's names.
    fn save(&self) -> Vec<(&'static str, StateValue)>;

    /// Sets them.
    ///
    /// # Errors
    /// Entries are missing or of the wrong kind.
    fn load(&mut self, state: &StateValue) -> Result<()>;

    /// Starts the schedule on an optimizer: sets the rates of the first round.
    ///
    /// # Errors
    /// Options make no sense or do not go with the optimizer.
    fn on(self, optimizer: &mut dyn Optimizer) -> Result<LRScheduler<Self>> {
        LRScheduler::start(self, optimizer, -1)
    }

    /// Starts the schedule in the round after `last_epoch`, on an optimizer whose groups have the option `initial_lr`,
    /// as after [`Optimizer::load_state_dict`] (PyTorch's argument `last_epoch`).
    ///
    /// # Errors
    /// As [`Schedule::on`]; a group has no `initial_lr`.
    #[track_caller]
    fn resume(self, optimizer: &mut dyn Optimizer, last_epoch: i64) -> Result<LRScheduler<Self>> {
        LRScheduler::start(self, optimizer, last_epoch).here()
    }
}

/// A schedule that runs on an optimizer (`torch.optim.lr_scheduler.LRScheduler`).
#[derive(Clone, Debug)]
pub struct LRScheduler<S> {
    rule: S,
    base_lrs: Vec<f64>,
    last_epoch: i64,
    steps: i64,
    last_lr: Vec<f64>,
}

/// The present rates of an optimizer's groups.
pub(crate) fn rates(optimizer: &dyn Optimizer) -> Vec<f64> {
    (0..optimizer.num_groups()).map(|group| optimizer.lr(group)).collect()
}

/// Fails when an optimizer has another number of groups than a schedule.
pub(crate) fn same_groups(name: &'static str, optimizer: &dyn Optimizer, groups: usize) -> Result<()> {
    let now = optimizer.num_groups();
    if now == groups {
        return Ok(());
    }
    Err(Error::value(
        name,
        format!(
            "the schedule was started on an optimizer with {groups} parameter groups, this one has {now}"
        ),
    ))
}

/// An option of a schedule for each group: one value for all of them or a value for each.
pub(crate) fn per_group(
    name: &'static str,
    what: &str,
    values: &[f64],
    optimizer: &dyn Optimizer,
) -> Result<Vec<f64>> {
    let groups = optimizer.num_groups();
    match values {
        [one] => Ok(vec![*one; groups]),
        values if values.len() == groups => Ok(values.to_vec()),
        values => Err(Error::value(
            name,
            format!(
                "{what} must have the same length as optimizer.param_groups. {what} has {} values, param_groups has \
                 {groups}.",
                values.len()
            ),
        )),
    }
}

/// One number for all groups, or one for each: from a number, an array or a vector.
#[derive(Clone, Debug, PartialEq)]
pub struct PerGroup(pub(crate) Vec<f64>);

impl From<f64> for PerGroup {
    fn from(value: f64) -> PerGroup {
        PerGroup(vec![value])
    }
}

impl<const N: usize> From<[f64; N]> for PerGroup {
    fn from(values: [f64; N]) -> PerGroup {
        PerGroup(values.to_vec())
    }
}

impl From<Vec<f64>> for PerGroup {
    fn from(values: Vec<f64>) -> PerGroup {
        PerGroup(values)
    }
}

impl<S: Schedule> LRScheduler<S> {
    fn start(mut rule: S, optimizer: &mut dyn Optimizer, last_epoch: i64) -> Result<LRScheduler<S>> {
        if let Some(problem) = rule.problem() {
            return Err(Error::value(S::NAME, problem));
        }
        if last_epoch < -1 {
            return Err(Error::value(S::NAME, format!("last_epoch must be at least -1, got {last_epoch}")));
        }
        let resumed = last_epoch != -1;
        let groups = optimizer.num_groups();
        let initial = |optimizer: &dyn Optimizer, group| {
            optimizer.option(group, "initial_lr").and_then(|value| value.number())
        };
        if resumed && let Some(group) = (0..groups).find(|&group| initial(optimizer, group).is_none()) {
            return Err(Error::value(
                S::NAME,
                format!(
                    "param 'initial_lr' is not specified in param_groups[{group}] when resuming a schedule with \
                     last_epoch >= 0: load the optimizer's state first"
                ),
            ));
        }
        rule.prepare(optimizer, resumed)?;
        let mut base_lrs = Vec::new();
        for group in 0..groups {
            let lr = match initial(optimizer, group) {
                Some(lr) => lr,
                None => {
                    let lr = optimizer.lr(group);
                    optimizer.set_option(group, "initial_lr", lr.into())?;
                    lr
                }
            };
            base_lrs.push(lr);
        }
        let base_lrs = rule.base_lrs(base_lrs);
        let mut scheduler = LRScheduler { rule, base_lrs, last_epoch, steps: 0, last_lr: rates(optimizer) };
        scheduler.initial_step(optimizer)?;
        Ok(scheduler)
    }

    /// The rule, with its options.
    pub fn schedule(&self) -> &S {
        &self.rule
    }

    /// Sets the rates of a round, and then the counters.
    fn set(
        &mut self,
        optimizer: &mut dyn Optimizer,
        epoch: i64,
        steps: i64,
        initial: bool,
        closed: bool,
    ) -> Result<()> {
        same_groups(S::NAME, optimizer, self.base_lrs.len())?;
        let lrs = rates(optimizer);
        let round = Round { epoch, initial, steps, base_lrs: &self.base_lrs, lrs: &lrs };
        let formula = if closed { self.rule.closed_form(epoch, &self.base_lrs) } else { None };
        let values = match formula {
            Some(values) => values,
            None => self.rule.rates(&round, optimizer)?,
        };
        for (group, lr) in values.iter().enumerate() {
            optimizer.set_lr(group, *lr)?;
        }
        (self.last_epoch, self.last_lr) = (epoch, values);
        if self.rule.counts_steps() {
            self.steps = steps;
        }
        Ok(())
    }
}

impl<S: Schedule> Scheduler for LRScheduler<S> {
    #[track_caller]
    fn step(&mut self, optimizer: &mut dyn Optimizer) -> Result<()> {
        let (epoch, steps) = (self.last_epoch.saturating_add(1), self.steps.saturating_add(1));
        self.set(optimizer, epoch, steps, false, false).here()
    }

    fn last_epoch(&self) -> i64 {
        self.last_epoch
    }

    fn get_last_lr(&self) -> &[f64] {
        &self.last_lr
    }

    fn state_dict(&self) -> StateValue {
        let common = [
            ("base_lrs", self.base_lrs[..].into()),
            ("last_epoch", self.last_epoch.into()),
            ("_step_count", self.steps.into()),
            ("_is_initial", false.into()),
            ("_get_lr_called_within_step", false.into()),
            ("_last_lr", self.last_lr[..].into()),
        ];
        StateValue::dict(self.rule.save().into_iter().chain(common))
    }

    #[track_caller]
    fn load_state_dict(&mut self, state: &StateValue) -> Result<()> {
        // The rule is last, so that nothing fails after it.
        let numbers = |name: &str| -> Result<Vec<f64>> {
            let found = entry_of(state, name)?.numbers().filter(|n| n.len() == self.base_lrs.len());
            found.ok_or_else(|| {
                let groups = self.base_lrs.len();
                Error::value(
                    "load_state_dict",
                    format!("{name:?} must have a number for each of {groups} groups"),
                )
            })
        };
        let (base_lrs, last_lr) = (numbers("base_lrs").here()?, numbers("_last_lr").here()?);
        let (last_epoch, steps) =
            (entry::<i64>(state, "last_epoch").here()?, entry::<i64>(state, "_step_count").here()?);
        self.rule.load(state).here()?;
        (self.base_lrs, self.last_lr, self.last_epoch, self.steps) = (base_lrs, last_lr, last_epoch, steps);
        Ok(())
    }

    fn initial_step(&mut self, optimizer: &mut dyn Optimizer) -> Result<()> {
        let epoch = self.last_epoch.saturating_add(1);
        self.set(optimizer, epoch, 1, true, false)
    }

    fn undo(&mut self) {
        self.last_epoch = self.last_epoch.saturating_sub(1);
    }

    fn restart(&mut self, optimizer: &mut dyn Optimizer) -> Result<()> {
        self.set(optimizer, 0, self.steps, false, true)
    }
}

/// An entry of a saved dictionary, as it is.
pub(crate) fn entry_of<'a>(state: &'a StateValue, name: &str) -> Result<&'a StateValue> {
    state.get(name).ok_or_else(|| Error::value("load_state_dict", format!("the state has no entry {name:?}")))
}

/// The options of a schedule, as builders and in the saved state. A rule's `load` makes a copy with the saved options,
/// sees that they make sense, and only then takes it over.
macro_rules! schedule_options {
    ($name:ident { $($(#[$doc:meta])* $field:ident: $ty:ty as $key:literal,)* }) => {
        impl $name {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $field(mut self, $field: $ty) -> $name {
                    self.$field = $field;
                    self
                }
            )*

            fn saved_options(&self) -> Vec<(&'static str, $crate::value::StateValue)> {
                vec![$(($key, $crate::value::Field::save(&self.$field)),)*]
            }

            fn load_options(&mut self, state: &$crate::value::StateValue) -> kiln_autograd::Result<()> {
                let mut loaded = self.clone();
                $(loaded.$field = $crate::value::entry(state, $key)?;)*
                if let Some(problem) = $crate::schedule::Schedule::problem(&loaded) {
                    return Err(kiln_autograd::Error::value("load_state_dict", problem));
                }
                *self = loaded;
                Ok(())
            }
        }
    };
}
pub(crate) use schedule_options;
