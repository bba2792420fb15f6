//! [`ReduceLROnPlateau`].

use kiln_autograd::{Error, Here, Result};

use super::{PerGroup, per_group, rates};
use crate::optimizer::Optimizer;
use crate::value::{Field, StateValue, entry};

/// Lowers the rates when a measure has stopped getting better. [`ReduceLROnPlateau::on`] starts it; as its steps take the
/// measure, it is no [`Scheduler`](crate::Scheduler).
///
/// ```
/// use kiln_autograd::Tensor;
/// use kiln_optim::{Optimizer, ReduceLROnPlateau, SGD};
/// # fn main() -> kiln_autograd::Result<()> {
/// let w = Tensor::from_vec(vec![0.0f32], [1])?.requires_grad_(true)?;
/// let mut optimizer = SGD::new([w], 0.1);
/// let mut scheduler = ReduceLROnPlateau::new().mode("min").patience(1).on(&mut optimizer)?;
/// for validation_loss in [1.0, 0.5, 0.5, 0.5] {
///     scheduler.step(&mut optimizer, validation_loss)?;
/// }
/// assert!((optimizer.lr(0) - 0.01).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ReduceLROnPlateau {
    mode: String,
    factor: f64,
    patience: i64,
    threshold: f64,
    threshold_mode: String,
    cooldown: i64,
    /// One number for all groups, also those to come, or one for each.
    default_min_lr: Option<f64>,
    min_lrs: Vec<f64>,
    eps: f64,
}

impl ReduceLROnPlateau {
    /// The schedule with PyTorch's defaults: a tenth of the rates after more than 10 rounds without a measure lower by a
    /// ten-thousandth.
    #[allow(clippy::new_without_default, reason = "a schedule reads like PyTorch's, with a constructor")]
    pub fn new() -> ReduceLROnPlateau {
        ReduceLROnPlateau {
            mode: "min".to_owned(),
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            threshold_mode: "rel".to_owned(),
            cooldown: 0,
            default_min_lr: Some(0.0),
            min_lrs: Vec::new(),
            eps: 1e-8,
        }
    }

    /// Whether the measure should get lower (`"min"`) or higher (`"max"`).
    #[must_use]
    pub fn mode(mut self, mode: &str) -> ReduceLROnPlateau {
        self.mode = mode.to_owned();
        self
    }

    /// By what the rates are multiplied; below 1.
    #[must_use]
    pub fn factor(mut self, factor: f64) -> ReduceLROnPlateau {
        self.factor = factor;
        self
    }

    /// So many rounds may pass without a better measure.
    #[must_use]
    pub fn patience(mut self, rounds: i64) -> ReduceLROnPlateau {
        self.patience = rounds;
        self
    }

    /// By how much a measure must be better.
    #[must_use]
    pub fn threshold(mut self, threshold: f64) -> ReduceLROnPlateau {
        self.threshold = threshold;
        self
    }

    /// Whether the threshold is a part of the best measure (`"rel"`) or a difference (`"abs"`).
    #[must_use]
    pub fn threshold_mode(mut self, mode: &str) -> ReduceLROnPlateau {
        self.threshold_mode = mode.to_owned();
        self
    }

    /// After the rates were lowered, so many rounds do not count.
    #[must_use]
    pub fn cooldown(mut self, rounds: i64) -> ReduceLROnPlateau {
        self.cooldown = rounds;
        self
    }

    /// The rates are not lowered below this, for all groups or each.
    #[must_use]
    pub fn min_lr(mut self, min_lr: impl Into<PerGroup>) -> ReduceLROnPlateau {
        match min_lr.into().0[..] {
            [one] => (self.default_min_lr, self.min_lrs) = (Some(one), Vec::new()),
            ref each => (self.default_min_lr, self.min_lrs) = (None, each.to_vec()),
        }
        self
    }

    /// Changes of a rate that are not above this are not made.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> ReduceLROnPlateau {
        self.eps = eps;
        self
    }

    fn problem(&self) -> Option<String> {
        if self.factor >= 1.0 || self.factor.is_nan() {
            return Some(format!("Factor should be < 1.0, got {}", self.factor));
        }
        if !["min", "max"].contains(&self.mode.as_str()) {
            return Some(format!("mode {} is unknown! There are min and max", self.mode));
        }
        let known = ["rel", "abs"].contains(&self.threshold_mode.as_str());
        (!known).then(|| format!("threshold mode {} is unknown! There are rel and abs", self.threshold_mode))
    }

    /// Starts the schedule on an optimizer.
    ///
    /// # Errors
    /// Options make no sense or do not go with the optimizer.
    #[track_caller]
    pub fn on(mut self, optimizer: &mut dyn Optimizer) -> Result<PlateauScheduler> {
        const NAME: &str = "ReduceLROnPlateau";
        if let Some(problem) = self.problem() {
            return Err(Error::value(NAME, problem));
        }
        self.min_lrs = match self.default_min_lr {
            Some(one) => vec![one; optimizer.num_groups()],
            None => per_group(NAME, "min_lrs", &self.min_lrs, optimizer).here()?,
        };
        let best = self.worst();
        let last_lr = rates(optimizer);
        Ok(PlateauScheduler { options: self, best, bad: 0, cooling: 0, last_epoch: 0, last_lr })
    }

    /// What every measure is better than.
    fn worst(&self) -> f64 {
        if self.mode == "min" { f64::INFINITY } else { f64::NEG_INFINITY }
    }

    fn is_better(&self, measure: f64, best: f64) -> bool {
        match (self.mode.as_str(), self.threshold_mode.as_str()) {
            ("min", "rel") => measure < best * (1.0 - self.threshold),
            ("min", _) => measure < best - self.threshold,
            (_, "rel") => measure > best * (self.threshold + 1.0),
            _ => measure > best + self.threshold,
        }
    }
}

/// A running [`ReduceLROnPlateau`].
#[derive(Clone, Debug)]
pub struct PlateauScheduler {
    options: ReduceLROnPlateau,
    best: f64,
    /// Rounds since the best measure.
    bad: i64,
    /// Rounds that do not count any more.
    cooling: i64,
    last_epoch: i64,
    last_lr: Vec<f64>,
}

impl PlateauScheduler {
    /// Takes the measure of a round, a loss or an accuracy, and lowers the rates if it is time. NaN is no better than
    /// anything.
    ///
    /// # Errors
    /// Groups were added to the optimizer, and there are lowest rates only for those before.
    #[track_caller]
    pub fn step(&mut self, optimizer: &mut dyn Optimizer, measure: f64) -> Result<()> {
        let mut next = self.clone();
        next.last_epoch = self.last_epoch.saturating_add(1);
        if self.options.is_better(measure, self.best) {
            (next.best, next.bad) = (measure, 0);
        } else {
            next.bad += 1;
        }
        if self.cooling > 0 {
            (next.cooling, next.bad) = (self.cooling - 1, 0);
        }
        if next.bad > self.options.patience {
            next.reduce(optimizer).here()?;
            (next.cooling, next.bad) = (self.options.cooldown, 0);
        }
        next.last_lr = rates(optimizer);
        *self = next;
        Ok(())
    }

    fn reduce(&mut self, optimizer: &mut dyn Optimizer) -> Result<()> {
        let groups = optimizer.num_groups();
        let o = &mut self.options;
        if o.min_lrs.len() != groups {
            let Some(one) = o.default_min_lr else {
                return Err(Error::value(
                    "ReduceLROnPlateau",
                    format!(
                        "The number of param groups in the `optimizer` ({groups}) differs from when \
                         `ReduceLROnPlateau` was initialized ({}), usually due to a new param group being added",
                        o.min_lrs.len()
                    ),
                ));
            };
            o.min_lrs = vec![one; groups];
        }
        for (group, least) in o.min_lrs.iter().enumerate() {
            let old = optimizer.lr(group);
            let new = (old * o.factor).max(*least);
            if old - new > o.eps {
                optimizer.set_lr(group, new)?;
            }
        }
        Ok(())
    }

    /// The number of measures so far.
    pub fn last_epoch(&self) -> i64 {
        self.last_epoch
    }

    /// The rates after the last step, by group.
    pub fn get_last_lr(&self) -> &[f64] {
        &self.last_lr
    }

    /// The best measure so far.
    pub fn best(&self) -> f64 {
        self.best
    }

    /// The state under PyTorch's names.
    pub fn state_dict(&self) -> StateValue {
        let o = &self.options;
        StateValue::dict([
            ("factor", o.factor.into()),
            ("default_min_lr", o.default_min_lr.into()),
            ("min_lrs", o.min_lrs[..].into()),
            ("patience", o.patience.into()),
            ("cooldown", o.cooldown.into()),
            ("eps", o.eps.into()),
            ("last_epoch", self.last_epoch.into()),
            ("_last_lr", self.last_lr[..].into()),
            ("mode_worse", o.worst().into()),
            ("mode", o.mode.save()),
            ("threshold", o.threshold.into()),
            ("threshold_mode", o.threshold_mode.save()),
            ("best", self.best.into()),
            ("cooldown_counter", self.cooling.into()),
            ("num_bad_epochs", self.bad.into()),
        ])
    }

    /// Goes on from a saved state; all of it is loaded or nothing.
    ///
    /// # Errors
    /// Entries are missing or of the wrong kind.
    #[track_caller]
    pub fn load_state_dict(&mut self, state: &StateValue) -> Result<()> {
        let numbers = |name: &str| -> Result<Vec<f64>> {
            let wrong = || Error::value("load_state_dict", format!("{name:?} must be a list of numbers"));
            super::entry_of(state, name)?.numbers().ok_or_else(wrong)
        };
        let options = ReduceLROnPlateau {
            mode: entry(state, "mode").here()?,
            factor: entry(state, "factor").here()?,
            patience: entry(state, "patience").here()?,
            threshold: entry(state, "threshold").here()?,
            threshold_mode: entry(state, "threshold_mode").here()?,
            cooldown: entry(state, "cooldown").here()?,
            default_min_lr: entry(state, "default_min_lr").here()?,
            min_lrs: numbers("min_lrs").here()?,
            eps: entry(state, "eps").here()?,
        };
        if let Some(problem) = options.problem() {
            return Err(Error::value("load_state_dict", problem));
        }
        *self = PlateauScheduler {
            options,
            best: entry(state, "best").here()?,
            bad: entry(state, "num_bad_epochs").here()?,
            cooling: entry(state, "cooldown_counter").here()?,
            last_epoch: entry(state, "last_epoch").here()?,
            last_lr: numbers("_last_lr").here()?,
        };
        Ok(())
    }
}
