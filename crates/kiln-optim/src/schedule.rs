//! Learning rate schedules: they change the rates of an optimizer's groups from round to round, most often from epoch to
//! epoch.
//!
//! A schedule does not hold the optimizer: it is given to [`Scheduler::step`]. The rates that the groups have when the
//! schedule is made are those it starts from.

use kiln_autograd::Result;

use crate::optimizer::Optimizer;

/// Changes learning rates.
pub trait Scheduler: Send {
    /// Goes on to the next round and sets the optimizer's rates; call it after the optimizer's step.
    ///
    /// # Errors
    /// The optimizer has fewer groups than the one that the schedule was made for.
    fn step(&mut self, optimizer: &mut dyn Optimizer) -> Result<()>;

    /// How many rounds there have been.
    fn last_epoch(&self) -> u64;

    /// The rates that were set last, by group.
    fn last_lr(&self) -> &[f64];
}

/// The rounds and rates of a schedule.
#[derive(Clone, Debug)]
struct Rates {
    base: Vec<f64>,
    last: Vec<f64>,
    epoch: u64,
}

impl Rates {
    fn of(optimizer: &dyn Optimizer) -> Rates {
        let base: Vec<f64> = (0..optimizer.num_groups()).map(|g| optimizer.lr(g)).collect();
        Rates { last: base.clone(), base, epoch: 0 }
    }

    /// Goes on to the next round: `rule` gives a group's rate from the round, its first rate and its present one, which
    /// others may have changed.
    fn next(&mut self, optimizer: &mut dyn Optimizer, rule: impl Fn(u64, f64, f64) -> f64) -> Result<()> {
        let epoch = self.epoch + 1;
        for group in 0..self.base.len() {
            let lr = rule(epoch, self.base[group], optimizer.lr(group));
            optimizer.set_lr(group, lr)?;
            self.last[group] = lr;
        }
        self.epoch = epoch;
        Ok(())
    }
}

macro_rules! rates_of_schedules {
    ($($schedule:ty: |$self:ident, $epoch:ident, $base:ident, $lr:ident| $rule:expr;)*) => {$(
        impl Scheduler for $schedule {
            fn step(&mut self, optimizer: &mut dyn Optimizer) -> Result<()> {
                let mut rates = self.rates.clone();
                let $self = &*self;
                rates.next(optimizer, |$epoch, $base, $lr| $rule)?;
                self.rates = rates;
                Ok(())
            }

            fn last_epoch(&self) -> u64 {
                self.rates.epoch
            }

            fn last_lr(&self) -> &[f64] {
                &self.rates.last
            }
        }
    )*};
}

/// Multiplies the rates by `gamma` every `step_size` rounds.
///
/// ```
/// use kiln_autograd::Tensor;
/// use kiln_optim::{Optimizer, SGD, Scheduler, StepLR};
/// # fn main() -> kiln_autograd::Result<()> {
/// let w = Tensor::from_vec(vec![0.0f32], [1])?.requires_grad_(true)?;
/// let mut optimizer = SGD::new([w], 0.1);
/// let mut scheduler = StepLR::new(&optimizer, 2, 0.5);
/// for _ in 0..4 {
///     optimizer.step()?;
///     scheduler.step(&mut optimizer)?;
/// }
/// assert_eq!(optimizer.lr(0), 0.025);
/// # Ok(())
/// # }
/// ```
pub struct StepLR {
    rates: Rates,
    step_size: u64,
    gamma: f64,
}

impl StepLR {
    /// The schedule; 0.1 is PyTorch's default for `gamma`, and a `step_size` of 0 never changes the rates.
    pub fn new(optimizer: &dyn Optimizer, step_size: u64, gamma: f64) -> StepLR {
        StepLR { rates: Rates::of(optimizer), step_size, gamma }
    }
}

/// Multiplies the rates by `gamma` every round.
pub struct ExponentialLR {
    rates: Rates,
    gamma: f64,
}

impl ExponentialLR {
    /// The schedule.
    pub fn new(optimizer: &dyn Optimizer, gamma: f64) -> ExponentialLR {
        ExponentialLR { rates: Rates::of(optimizer), gamma }
    }
}

/// Lets the rates fall to `eta_min` in `t_max` rounds along half a cosine, and rise again in as many (Loshchilov and
/// Hutter, "SGDR: stochastic gradient descent with warm restarts", 2016).
pub struct CosineAnnealingLR {
    rates: Rates,
    t_max: u64,
    eta_min: f64,
}

impl CosineAnnealingLR {
    /// The schedule; 0 is PyTorch's default for `eta_min`.
    pub fn new(optimizer: &dyn Optimizer, t_max: u64, eta_min: f64) -> CosineAnnealingLR {
        CosineAnnealingLR { rates: Rates::of(optimizer), t_max: t_max.max(1), eta_min }
    }

    /// The next rate from the present one, so that changes by others last.
    fn next(&self, epoch: u64, base: f64, lr: f64) -> f64 {
        let cosine = |epoch: u64| libm::cos(std::f64::consts::PI * epoch as f64 / self.t_max as f64);
        // At the turning point nothing is left to scale: the climb starts with a step of its own.
        if (epoch as i128 - 1 - self.t_max as i128) % (2 * self.t_max as i128) == 0 {
            return lr + (base - self.eta_min) * (1.0 - cosine(1)) / 2.0;
        }
        (1.0 + cosine(epoch)) / (1.0 + cosine(epoch - 1)) * (lr - self.eta_min) + self.eta_min
    }
}

/// Sets the rates to the first ones times a function of the round.
pub struct LambdaLR {
    rates: Rates,
    factor: Box<dyn Fn(u64) -> f64 + Send + Sync>,
}

impl LambdaLR {
    /// The schedule. The rates are set for round 0 at once.
    ///
    /// # Errors
    /// A rate cannot be set.
    pub fn new(
        optimizer: &mut dyn Optimizer,
        factor: impl Fn(u64) -> f64 + Send + Sync + 'static,
    ) -> Result<LambdaLR> {
        let mut rates = Rates::of(optimizer);
        for group in 0..rates.base.len() {
            rates.last[group] = rates.base[group] * factor(0);
            optimizer.set_lr(group, rates.last[group])?;
        }
        Ok(LambdaLR { rates, factor: Box::new(factor) })
    }
}

rates_of_schedules! {
    StepLR: |s, epoch, _base, lr| if s.step_size > 0 && epoch % s.step_size == 0 { lr * s.gamma } else { lr };
    ExponentialLR: |s, _epoch, _base, lr| lr * s.gamma;
    CosineAnnealingLR: |s, epoch, base, lr| s.next(epoch, base, lr);
    LambdaLR: |s, epoch, base, _lr| base * (s.factor)(epoch);
}
