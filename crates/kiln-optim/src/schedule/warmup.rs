//! Schedules of a first phase, after which the rates stay: [`ConstantLR`], [`LinearLR`], [`PolynomialLR`].

use kiln_autograd::Result;

use super::{Round, Schedule, schedule_options};
use crate::optimizer::Optimizer;
use crate::value::StateValue;

/// Rates times `factor` until round `total_iters`, and then whole.
#[derive(Clone, Debug)]
pub struct ConstantLR {
    factor: f64,
    total_iters: i64,
}

impl ConstantLR {
    /// The schedule with PyTorch's defaults: a third for 5 rounds.
    #[allow(clippy::new_without_default, reason = "a schedule reads like PyTorch's, with a constructor")]
    pub fn new() -> ConstantLR {
        ConstantLR { factor: 1.0 / 3.0, total_iters: 5 }
    }
}

schedule_options! {
    ConstantLR {
        /// The factor of the first phase, between 0 and 1.
        factor: f64 as "factor",
        /// The length of the first phase.
        total_iters: i64 as "total_iters",
    }
}

impl Schedule for ConstantLR {
    const NAME: &'static str = "ConstantLR";

    fn problem(&self) -> Option<String> {
        let wrong = !(self.factor > 0.0 && self.factor <= 1.0);
        // A rate of 0 could not be made whole again.
        wrong.then(|| {
            format!(
                "Constant multiplicative factor expected to be between 0 and 1, and not 0, got {}",
                self.factor
            )
        })
    }

    fn rates(&mut self, round: &Round<'_>, _optimizer: &mut dyn Optimizer) -> Result<Vec<f64>> {
        Ok(match round.epoch {
            0 => round.times(self.factor),
            epoch if epoch == self.total_iters => round.times(1.0 / self.factor),
            _ => round.same(),
        })
    }

    fn closed_form(&self, epoch: i64, base_lrs: &[f64]) -> Option<Vec<f64>> {
        let factor = if epoch >= self.total_iters { 1.0 } else { self.factor };
        Some(base_lrs.iter().map(|lr| lr * factor).collect())
    }

    fn save(&self) -> Vec<(&'static str, StateValue)> {
        self.saved_options()
    }

    fn load(&mut self, state: &StateValue) -> Result<()> {
        self.load_options(state)
    }
}

/// Rates times a factor that goes in a straight line from `start_factor` to `end_factor` in `total_iters` rounds.
///
/// ```
/// use kiln_autograd::Tensor;
/// use kiln_optim::{LinearLR, Optimizer, SGD, Schedule, Scheduler};
/// # fn main() -> kiln_autograd::Result<()> {
/// let w = Tensor::from_vec(vec![0.0f32], [1])?.requires_grad_(true)?;
/// let mut optimizer = SGD::new([w], 0.8);
/// let mut scheduler = LinearLR::new().start_factor(0.5).total_iters(4).on(&mut optimizer)?;
/// assert_eq!(optimizer.lr(0), 0.4);
/// for _ in 0..4 {
///     optimizer.step()?;
///     scheduler.step(&mut optimizer)?;
/// }
/// assert!((optimizer.lr(0) - 0.8).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct LinearLR {
    start_factor: f64,
    end_factor: f64,
    total_iters: i64,
}

impl LinearLR {
    /// The schedule with PyTorch's defaults: from a third to the whole in 5 rounds.
    #[allow(clippy::new_without_default, reason = "a schedule reads like PyTorch's, with a constructor")]
    pub fn new() -> LinearLR {
        LinearLR { start_factor: 1.0 / 3.0, end_factor: 1.0, total_iters: 5 }
    }
}

schedule_options! {
    LinearLR {
        /// The first factor, above 0 and at most 1.
        start_factor: f64 as "start_factor",
        /// The last factor, between 0 and 1.
        end_factor: f64 as "end_factor",
        /// After so many rounds the last factor is reached.
        total_iters: i64 as "total_iters",
    }
}

impl Schedule for LinearLR {
    const NAME: &'static str = "LinearLR";

    fn problem(&self) -> Option<String> {
        if !(self.start_factor > 0.0 && self.start_factor <= 1.0) {
            let text =
                "Starting multiplicative factor expected to be greater than 0 and less or equal to 1, got";
            return Some(format!("{text} {}", self.start_factor));
        }
        (!(0.0..=1.0).contains(&self.end_factor)).then(|| {
            format!("Ending multiplicative factor expected to be between 0 and 1, got {}", self.end_factor)
        })
    }

    fn rates(&mut self, round: &Round<'_>, _optimizer: &mut dyn Optimizer) -> Result<Vec<f64>> {
        if round.epoch == 0 {
            return Ok(round.times(self.start_factor));
        }
        if round.initial || round.epoch > self.total_iters {
            return Ok(round.same());
        }
        let rise = self.end_factor - self.start_factor;
        let before = self.total_iters as f64 * self.start_factor + (round.epoch - 1) as f64 * rise;
        Ok(round.times(1.0 + rise / before))
    }

    fn closed_form(&self, epoch: i64, base_lrs: &[f64]) -> Option<Vec<f64>> {
        let part = match self.total_iters {
            ..=0 => 1.0,
            total => epoch.min(total) as f64 / total as f64,
        };
        let factor = self.start_factor + (self.end_factor - self.start_factor) * part;
        Some(base_lrs.iter().map(|lr| lr * factor).collect())
    }

    fn save(&self) -> Vec<(&'static str, StateValue)> {
        self.saved_options()
    }

    fn load(&mut self, state: &StateValue) -> Result<()> {
        self.load_options(state)
    }
}

/// Lets the rates fall to zero in `total_iters` rounds, as a power of what is left of them.
#[derive(Clone, Debug)]
pub struct PolynomialLR {
    total_iters: i64,
    power: f64,
}

impl PolynomialLR {
    /// The schedule with PyTorch's defaults: in a straight line in 5 rounds.
    #[allow(clippy::new_without_default, reason = "a schedule reads like PyTorch's, with a constructor")]
    pub fn new() -> PolynomialLR {
        PolynomialLR { total_iters: 5, power: 1.0 }
    }
}

schedule_options! {
    PolynomialLR {
        /// After so many rounds the rates are zero.
        total_iters: i64 as "total_iters",
        /// The power.
        power: f64 as "power",
    }
}

impl Schedule for PolynomialLR {
    const NAME: &'static str = "PolynomialLR";

    fn rates(&mut self, round: &Round<'_>, _optimizer: &mut dyn Optimizer) -> Result<Vec<f64>> {
        if round.initial || round.epoch > self.total_iters {
            return Ok(round.same());
        }
        let left = |epoch: i64| 1.0 - epoch as f64 / self.total_iters as f64;
        Ok(round.times(libm::pow(left(round.epoch) / left(round.epoch - 1), self.power)))
    }

    fn closed_form(&self, epoch: i64, base_lrs: &[f64]) -> Option<Vec<f64>> {
        let part = match self.total_iters {
            ..=0 => 1.0,
            total => epoch.min(total) as f64 / total as f64,
        };
        let factor = libm::pow(1.0 - part, self.power);
        Some(base_lrs.iter().map(|lr| lr * factor).collect())
    }

    fn save(&self) -> Vec<(&'static str, StateValue)> {
        self.saved_options()
    }

    fn load(&mut self, state: &StateValue) -> Result<()> {
        self.load_options(state)
    }
}
