//! Schedules that multiply the rates: [`StepLR`], [`MultiStepLR`], [`ExponentialLR`].

use std::collections::BTreeMap;

use kiln_autograd::{Error, Result};

use super::{Round, Schedule, entry_of, schedule_options};
use crate::optimizer::Optimizer;
use crate::value::{StateValue, entry};

/// Multiplies the rates by `gamma` every `step_size` rounds.
#[derive(Clone, Debug)]
pub struct StepLR {
    step_size: i64,
    gamma: f64,
}

impl StepLR {
    /// The schedule with PyTorch's default of 0.1 for `gamma`.
    pub fn new(step_size: i64) -> StepLR {
        StepLR { step_size, gamma: 0.1 }
    }
}

schedule_options! {
    StepLR {
        /// After so many rounds the rates change.
        step_size: i64 as "step_size",
        /// By what they are multiplied.
        gamma: f64 as "gamma",
    }
}

impl Schedule for StepLR {
    const NAME: &'static str = "StepLR";

    fn problem(&self) -> Option<String> {
        (self.step_size < 1).then(|| format!("step_size must be at least 1, got {}", self.step_size))
    }

    fn rates(&mut self, round: &Round<'_>, _optimizer: &mut dyn Optimizer) -> Result<Vec<f64>> {
        let due = round.epoch != 0 && round.epoch % self.step_size == 0;
        Ok(round.times(if due { self.gamma } else { 1.0 }))
    }

    fn closed_form(&self, epoch: i64, base_lrs: &[f64]) -> Option<Vec<f64>> {
        let factor = libm::pow(self.gamma, (epoch / self.step_size) as f64);
        Some(base_lrs.iter().map(|lr| lr * factor).collect())
    }

    fn save(&self) -> Vec<(&'static str, StateValue)> {
        self.saved_options()
    }

    fn load(&mut self, state: &StateValue) -> Result<()> {
        self.load_options(state)
    }
}

/// Multiplies the rates by `gamma` in each of the rounds named.
///
/// ```
/// use kiln_autograd::Tensor;
/// use kiln_optim::{MultiStepLR, Optimizer, SGD, Schedule, Scheduler};
/// # fn main() -> kiln_autograd::Result<()> {
/// let w = Tensor::from_vec(vec![0.0f32], [1])?.requires_grad_(true)?;
/// let mut optimizer = SGD::new([w], 1.0);
/// let mut scheduler = MultiStepLR::new([30, 80]).on(&mut optimizer)?;
/// for _ in 0..100 {
///     optimizer.step()?;
///     scheduler.step(&mut optimizer)?;
/// }
/// assert!((optimizer.lr(0) - 0.01).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MultiStepLR {
    /// How often each round was named.
    milestones: BTreeMap<i64, i64>,
    gamma: f64,
}

impl MultiStepLR {
    /// The schedule with PyTorch's default of 0.1 for `gamma`; a round named twice counts twice.
    pub fn new(milestones: impl IntoIterator<Item = i64>) -> MultiStepLR {
        let mut counted = BTreeMap::new();
        for milestone in milestones {
            *counted.entry(milestone).or_insert(0) += 1;
        }
        MultiStepLR { milestones: counted, gamma: 0.1 }
    }

    /// By what the rates are multiplied.
    #[must_use]
    pub fn gamma(mut self, gamma: f64) -> MultiStepLR {
        self.gamma = gamma;
        self
    }
}

impl Schedule for MultiStepLR {
    const NAME: &'static str = "MultiStepLR";

    fn rates(&mut self, round: &Round<'_>, _optimizer: &mut dyn Optimizer) -> Result<Vec<f64>> {
        Ok(match self.milestones.get(&round.epoch) {
            Some(times) => round.times(libm::pow(self.gamma, *times as f64)),
            None => round.same(),
        })
    }

    fn closed_form(&self, epoch: i64, base_lrs: &[f64]) -> Option<Vec<f64>> {
        let passed: i64 = self.milestones.range(..=epoch).map(|(_, times)| times).sum();
        let factor = libm::pow(self.gamma, passed as f64);
        Some(base_lrs.iter().map(|lr| lr * factor).collect())
    }

    fn save(&self) -> Vec<(&'static str, StateValue)> {
        let milestones = self.milestones.iter().map(|(at, times)| ((*at).into(), (*times).into()));
        vec![("milestones", StateValue::Dict(milestones.collect())), ("gamma", self.gamma.into())]
    }

    fn load(&mut self, state: &StateValue) -> Result<()> {
        let StateValue::Dict(entries) = entry_of(state, "milestones")? else {
            return Err(Error::value("load_state_dict", "milestones must be a dictionary of rounds"));
        };
        // Formats whose keys are texts write the numbers as such.
        let round = |key: &StateValue| key.int().or_else(|| key.text()?.parse().ok());
        let mut milestones = BTreeMap::new();
        for (at, times) in entries {
            let (Some(at), Some(times)) = (round(at), times.int()) else {
                return Err(Error::value(
                    "load_state_dict",
                    "milestones must be numbers of rounds and how often each counts",
                ));
            };
            milestones.insert(at, times);
        }
        (self.gamma, self.milestones) = (entry(state, "gamma")?, milestones);
        Ok(())
    }
}

/// Multiplies the rates by `gamma` every round.
#[derive(Clone, Debug)]
pub struct ExponentialLR {
    gamma: f64,
}

impl ExponentialLR {
    /// The schedule.
    pub fn new(gamma: f64) -> ExponentialLR {
        ExponentialLR { gamma }
    }
}

schedule_options! {
    ExponentialLR {
        /// By what the rates are multiplied.
        gamma: f64 as "gamma",
    }
}

impl Schedule for ExponentialLR {
    const NAME: &'static str = "ExponentialLR";

    fn rates(&mut self, round: &Round<'_>, _optimizer: &mut dyn Optimizer) -> Result<Vec<f64>> {
        Ok(round.times(if round.initial { 1.0 } else { self.gamma }))
    }

    fn closed_form(&self, epoch: i64, base_lrs: &[f64]) -> Option<Vec<f64>> {
        let factor = libm::pow(self.gamma, epoch as f64);
        Some(base_lrs.iter().map(|lr| lr * factor).collect())
    }

    fn save(&self) -> Vec<(&'static str, StateValue)> {
        self.saved_options()
    }

    fn load(&mut self, state: &StateValue) -> Result<()> {
        self.load_options(state)
    }
}
