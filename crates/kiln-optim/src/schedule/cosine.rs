//! Schedules along a cosine: [`CosineAnnealingLR`], [`CosineAnnealingWarmRestarts`] (Loshchilov and Hutter, "SGDR:
//! stochastic gradient descent with warm restarts", 2016).

use std::f64::consts::PI;

use kiln_autograd::{Error, Here, Result};

use super::{LRScheduler, Round, Schedule, schedule_options};
use crate::optimizer::Optimizer;
use crate::value::{StateValue, entry};

/// Lets the rates fall to `eta_min` in `t_max` rounds along half a cosine, and rise again in as many.
#[derive(Clone, Debug)]
pub struct CosineAnnealingLR {
    t_max: i64,
    eta_min: f64,
}

impl CosineAnnealingLR {
    /// The schedule with PyTorch's default of 0 for `eta_min`.
    pub fn new(t_max: i64) -> CosineAnnealingLR {
        CosineAnnealingLR { t_max, eta_min: 0.0 }
    }
}

schedule_options! {
    CosineAnnealingLR {
        /// The length of the way down.
        t_max: i64 as "T_max",
        /// The lowest rate.
        eta_min: f64 as "eta_min",
    }
}

/// The rate after a part of the way down, 0 to 1.
fn cosine(base: f64, lowest: f64, part: f64) -> f64 {
    lowest + (base - lowest) * (1.0 + libm::cos(PI * part)) / 2.0
}

impl Schedule for CosineAnnealingLR {
    const NAME: &'static str = "CosineAnnealingLR";

    fn problem(&self) -> Option<String> {
        (self.t_max < 1).then(|| format!("T_max must be at least 1, got {}", self.t_max))
    }

    fn rates(&mut self, round: &Round<'_>, _optimizer: &mut dyn Optimizer) -> Result<Vec<f64>> {
        let (length, lowest) = (self.t_max as f64, self.eta_min);
        if round.initial {
            return Ok(round.same());
        }
        if round.steps == 1 && round.epoch > 0 {
            return Ok(self.at(round.epoch, round.base_lrs));
        }
        let turn = |epoch: i64| 1.0 + libm::cos(PI * epoch as f64 / length);
        // At the turning point nothing is left to scale: the climb starts with a step of its own.
        if (i128::from(round.epoch) - 1 - i128::from(self.t_max)) % (2 * i128::from(self.t_max)) == 0 {
            let step = |base: f64| (base - lowest) * (1.0 - libm::cos(PI / length)) / 2.0;
            return Ok(round.lrs.iter().zip(round.base_lrs).map(|(lr, base)| lr + step(*base)).collect());
        }
        // From the present rate, so that changes by others last.
        let factor = turn(round.epoch) / turn(round.epoch - 1);
        Ok(round.lrs.iter().map(|lr| factor * (lr - lowest) + lowest).collect())
    }

    fn closed_form(&self, epoch: i64, base_lrs: &[f64]) -> Option<Vec<f64>> {
        Some(self.at(epoch, base_lrs))
    }

    fn save(&self) -> Vec<(&'static str, StateValue)> {
        self.saved_options()
    }

    fn load(&mut self, state: &StateValue) -> Result<()> {
        self.load_options(state)
    }
}

impl CosineAnnealingLR {
    fn at(&self, epoch: i64, base_lrs: &[f64]) -> Vec<f64> {
        let part = epoch as f64 / self.t_max as f64;
        base_lrs.iter().map(|base| cosine(*base, self.eta_min, part)).collect()
    }
}

/// Lets the rates fall along half a cosine and starts again at the top: first after `t_0` rounds, each time after `t_mult`
/// times as many as before.
#[derive(Clone, Debug)]
pub struct CosineAnnealingWarmRestarts {
    t_0: i64,
    t_mult: i64,
    eta_min: f64,
    /// The length of the present way down, and what of it is done.
    t_i: f64,
    t_cur: f64,
}

impl CosineAnnealingWarmRestarts {
    /// The schedule with PyTorch's defaults: 1 for `t_mult`, 0 for `eta_min`.
    pub fn new(t_0: i64) -> CosineAnnealingWarmRestarts {
        CosineAnnealingWarmRestarts { t_0, t_mult: 1, eta_min: 0.0, t_i: t_0 as f64, t_cur: -1.0 }
    }

    /// How much longer each way down is than the one before.
    #[must_use]
    pub fn t_mult(mut self, t_mult: i64) -> CosineAnnealingWarmRestarts {
        self.t_mult = t_mult;
        self
    }

    /// The lowest rate.
    #[must_use]
    pub fn eta_min(mut self, eta_min: f64) -> CosineAnnealingWarmRestarts {
        self.eta_min = eta_min;
        self
    }

    /// Goes to a point in time.
    fn place(&mut self, epoch: f64) {
        let first = self.t_0 as f64;
        (self.t_cur, self.t_i) = (epoch, first);
        if epoch < first {
            return;
        }
        if self.t_mult == 1 {
            self.t_cur = epoch % first;
            return;
        }
        let times = self.t_mult as f64;
        // The restarts before `epoch`, from the sum of a geometric series.
        let n = (libm::log(epoch / first * (times - 1.0) + 1.0) / libm::log(times)).floor();
        let factor = libm::pow(times, n);
        self.t_cur = epoch - first * (factor - 1.0) / (times - 1.0);
        self.t_i = first * factor;
    }

    /// Goes on by a round.
    fn advance(&mut self) {
        self.t_cur += 1.0;
        if self.t_cur >= self.t_i {
            self.t_cur %= self.t_i;
            self.t_i *= self.t_mult as f64;
        }
    }

    fn present(&self, base_lrs: &[f64]) -> Vec<f64> {
        base_lrs.iter().map(|base| cosine(*base, self.eta_min, self.t_cur / self.t_i)).collect()
    }
}

impl Schedule for CosineAnnealingWarmRestarts {
    const NAME: &'static str = "CosineAnnealingWarmRestarts";

    fn problem(&self) -> Option<String> {
        if self.t_0 < 1 {
            return Some(format!("Expected positive integer T_0, but got {}", self.t_0));
        }
        (self.t_mult < 1).then(|| format!("Expected integer T_mult >= 1, but got {}", self.t_mult))
    }

    fn rates(&mut self, round: &Round<'_>, _optimizer: &mut dyn Optimizer) -> Result<Vec<f64>> {
        match round.epoch {
            0 => self.place(0.0),
            epoch if round.initial => {
                // Resumed: PyTorch goes on from `last_epoch` inside the first way down.
                self.t_cur = (epoch - 1) as f64;
                self.advance();
            }
            _ => self.advance(),
        }
        Ok(self.present(round.base_lrs))
    }

    fn counts_steps(&self) -> bool {
        false
    }

    fn save(&self) -> Vec<(&'static str, StateValue)> {
        // Whole numbers are integers in PyTorch's state.
        let number = |x: f64| if x.trunc() == x { StateValue::Int(x as i64) } else { x.into() };
        vec![
            ("T_0", self.t_0.into()),
            ("T_i", number(self.t_i)),
            ("T_mult", self.t_mult.into()),
            ("eta_min", self.eta_min.into()),
            ("T_cur", number(self.t_cur)),
        ]
    }

    fn load(&mut self, state: &StateValue) -> Result<()> {
        let loaded = CosineAnnealingWarmRestarts {
            t_0: entry(state, "T_0")?,
            t_mult: entry(state, "T_mult")?,
            eta_min: entry(state, "eta_min")?,
            t_i: entry(state, "T_i")?,
            t_cur: entry(state, "T_cur")?,
        };
        if let Some(problem) = loaded.problem() {
            return Err(Error::value("load_state_dict", problem));
        }
        *self = loaded;
        Ok(())
    }
}

impl LRScheduler<CosineAnnealingWarmRestarts> {
    /// Goes to a point in time, between rounds too: after batch `i` of `n`, `step_at(&mut optimizer, epoch + i / n)`
    /// (PyTorch's `step(epoch)`).
    ///
    /// # Errors
    /// `epoch` is negative or no number; the optimizer has another number of groups.
    #[track_caller]
    pub fn step_at(&mut self, optimizer: &mut dyn Optimizer, epoch: f64) -> Result<()> {
        if !(0.0..9e15).contains(&epoch) {
            let name = CosineAnnealingWarmRestarts::NAME;
            return Err(Error::value(name, format!("Expected non-negative epoch, but got {epoch}")));
        }
        super::same_groups(CosineAnnealingWarmRestarts::NAME, optimizer, self.base_lrs.len()).here()?;
        self.rule.place(epoch);
        let rates = self.rule.present(&self.base_lrs);
        for (group, lr) in rates.iter().enumerate() {
            optimizer.set_lr(group, *lr).here()?;
        }
        (self.last_epoch, self.last_lr) = (epoch.floor() as i64, rates);
        Ok(())
    }
}
