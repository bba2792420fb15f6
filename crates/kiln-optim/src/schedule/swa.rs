//! [`SWALR`].

use std::f64::consts::PI;

use kiln_autograd::{Error, Result};

use super::{PerGroup, Round, Schedule, per_group, schedule_options};
use crate::optimizer::Optimizer;
use crate::value::StateValue;

/// Takes the rates to a constant one, at which weights are averaged (Izmailov et al., "Averaging weights leads to wider
/// optima and better generalization", 2018; `torch.optim.swa_utils.SWALR`).
#[derive(Clone, Debug)]
pub struct SWALR {
    swa_lr: PerGroup,
    anneal_epochs: i64,
    strategy: String,
}

impl SWALR {
    /// The schedule with PyTorch's defaults: along a cosine in 10 rounds.
    pub fn new(swa_lr: impl Into<PerGroup>) -> SWALR {
        SWALR { swa_lr: swa_lr.into(), anneal_epochs: 10, strategy: "cos".to_owned() }
    }

    /// `"cos"` or `"linear"`.
    #[must_use]
    pub fn anneal_strategy(self, strategy: &str) -> SWALR {
        self.strategy(strategy.to_owned())
    }
}

schedule_options! {
    SWALR {
        /// After so many rounds the constant rate is reached.
        anneal_epochs: i64 as "anneal_epochs",
        /// [`SWALR::anneal_strategy`] with a text of one's own.
        strategy: String as "_anneal_strategy",
    }
}

impl Schedule for SWALR {
    const NAME: &'static str = "SWALR";

    fn problem(&self) -> Option<String> {
        if !["cos", "linear"].contains(&self.strategy.as_str()) {
            return Some(format!(
                "anneal_strategy must be one of 'cos' or 'linear', instead got {}",
                self.strategy
            ));
        }
        (self.anneal_epochs < 0)
            .then(|| format!("anneal_epochs must be equal or greater than 0, got {}", self.anneal_epochs))
    }

    fn prepare(&mut self, optimizer: &mut dyn Optimizer, _resumed: bool) -> Result<()> {
        let rates = per_group(Self::NAME, "swa_lr", &self.swa_lr.0, optimizer)?;
        rates
            .iter()
            .enumerate()
            .try_for_each(|(group, lr)| optimizer.set_option(group, "swa_lr", (*lr).into()))
    }

    fn rates(&mut self, round: &Round<'_>, optimizer: &mut dyn Optimizer) -> Result<Vec<f64>> {
        let step = match self.anneal_epochs {
            0 => (round.steps - 1).max(1),
            _ => round.steps - 1,
        };
        // How much of the constant rate is in the rate after so many steps.
        let part = |step: i64| {
            let t = (step as f64 / self.anneal_epochs.max(1) as f64).clamp(0.0, 1.0);
            if self.strategy == "cos" { (1.0 - libm::cos(PI * t)) / 2.0 } else { t }
        };
        let (before, now) = (part(step - 1), part(step));
        let lrs = round.lrs.iter().enumerate().map(|(group, lr)| {
            let target = optimizer.option(group, "swa_lr").and_then(|v| v.number()).ok_or_else(|| {
                Error::value(Self::NAME, format!("parameter group {group} has no swa_lr any more"))
            })?;
            // The rate that the present one was mixed from.
            let first = if before == 1.0 { target } else { (lr - before * target) / (1.0 - before) };
            Ok(target * now + first * (1.0 - now))
        });
        lrs.collect()
    }

    fn save(&self) -> Vec<(&'static str, StateValue)> {
        self.saved_options()
    }

    fn load(&mut self, state: &StateValue) -> Result<()> {
        self.load_options(state)
    }
}
