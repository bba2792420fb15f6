//! [`OneCycleLR`].

use std::f64::consts::PI;

use kiln_autograd::{Error, Result};

use super::{PerGroup, Round, Schedule, entry_of, momentum, per_group};
use crate::optimizer::Optimizer;
use crate::value::{Field, StateValue, entry};

/// Lets the rates rise from a small one to `max_lr` and fall to a much smaller one, in one cycle over the whole training
/// (Smith and Topin, "Super-convergence", 2017), and the momentum go against them. A round is a batch here.
///
/// ```
/// use kiln_autograd::Tensor;
/// use kiln_optim::{OneCycleLR, Optimizer, SGD, Schedule, Scheduler};
/// # fn main() -> kiln_autograd::Result<()> {
/// let w = Tensor::from_vec(vec![0.0f32], [1])?.requires_grad_(true)?;
/// let mut optimizer = SGD::new([w], 0.1).momentum(0.9);
/// let mut scheduler = OneCycleLR::new(0.5).epochs(10).steps_per_epoch(10).on(&mut optimizer)?;
/// assert!((optimizer.lr(0) - 0.02).abs() < 1e-12);
/// for _ in 0..29 {
///     optimizer.step()?;
///     scheduler.step(&mut optimizer)?;
/// }
/// assert!((optimizer.lr(0) - 0.5).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct OneCycleLR {
    max_lr: PerGroup,
    total_steps: Option<i64>,
    epochs: Option<i64>,
    steps_per_epoch: Option<i64>,
    pct_start: f64,
    anneal_strategy: String,
    cycle_momentum: bool,
    base_momentum: PerGroup,
    max_momentum: PerGroup,
    div_factor: f64,
    final_div_factor: f64,
    three_phase: bool,
    phases: Vec<Phase>,
    use_beta1: bool,
}

/// From one rate and momentum to others, by the names of the groups' options.
#[derive(Clone, Debug)]
struct Phase {
    end: f64,
    lr: [String; 2],
    momentum: [String; 2],
}

impl Phase {
    fn new(end: f64, lr: [&str; 2], momentum: [&str; 2]) -> Phase {
        Phase { end, lr: lr.map(str::to_owned), momentum: momentum.map(str::to_owned) }
    }
}

macro_rules! builders {
    ($($(#[$doc:meta])* $field:ident: $ty:ty => |$value:ident| $set:expr;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $field(mut self, $value: $ty) -> OneCycleLR {
            self.$field = $set;
            self
        }
    )*};
}

impl OneCycleLR {
    /// The schedule with PyTorch's other defaults. The number of rounds must be set, with
    /// [`OneCycleLR::total_steps`] or with [`OneCycleLR::epochs`] and [`OneCycleLR::steps_per_epoch`].
    pub fn new(max_lr: impl Into<PerGroup>) -> OneCycleLR {
        OneCycleLR {
            max_lr: max_lr.into(),
            total_steps: None,
            epochs: None,
            steps_per_epoch: None,
            pct_start: 0.3,
            anneal_strategy: "cos".to_owned(),
            cycle_momentum: true,
            base_momentum: 0.85.into(),
            max_momentum: 0.95.into(),
            div_factor: 25.0,
            final_div_factor: 1e4,
            three_phase: false,
            phases: Vec::new(),
            use_beta1: false,
        }
    }

    builders! {
        /// The number of rounds.
        total_steps: i64 => |n| Some(n);
        /// The number of epochs, with [`OneCycleLR::steps_per_epoch`].
        epochs: i64 => |n| Some(n);
        /// The number of rounds of an epoch.
        steps_per_epoch: i64 => |n| Some(n);
        /// The part of the rounds in which the rates rise; 0.3 by default.
        pct_start: f64 => |part| part;
        /// `"cos"` (the default) or `"linear"`.
        anneal_strategy: &str => |name| name.to_owned();
        /// Whether the momentum goes against the rate; it does by default.
        cycle_momentum: bool => |cycle| cycle;
        /// The least momentum, at the highest rate; 0.85 by default.
        base_momentum: impl Into<PerGroup> => |value| value.into();
        /// The largest momentum; 0.95 by default.
        max_momentum: impl Into<PerGroup> => |value| value.into();
        /// The first rate is `max_lr / div_factor`; 25 by default.
        div_factor: f64 => |factor| factor;
        /// The last rate is the first one divided by this; 10000 by default.
        final_div_factor: f64 => |factor| factor;
        /// Falls to the first rate as fast as it rose, and then to the last one.
        three_phase: bool => |three| three;
    }

    fn steps(&self) -> std::result::Result<i64, String> {
        let positive = |what: &str, n: i64| {
            if n > 0 { Ok(n) } else { Err(format!("Expected positive integer {what}, but got {n}")) }
        };
        match (self.total_steps, self.epochs, self.steps_per_epoch) {
            (Some(total), ..) => positive("total_steps", total),
            (None, Some(epochs), Some(steps)) => {
                let total = positive("epochs", epochs)?.checked_mul(positive("steps_per_epoch", steps)?);
                total.ok_or_else(|| format!("{epochs} epochs of {steps} steps are too many"))
            }
            _ => Err("You must define either total_steps OR (epochs AND steps_per_epoch)".to_owned()),
        }
    }

    fn anneal(&self, start: f64, end: f64, part: f64) -> f64 {
        match self.anneal_strategy.as_str() {
            "linear" => (end - start) * part + start,
            _ => end + (start - end) / 2.0 * (libm::cos(PI * part) + 1.0),
        }
    }

    /// The phase of a round, and the part of it that has passed.
    fn place(&self, epoch: f64) -> Option<(&Phase, f64)> {
        let mut start = 0.0;
        for (i, phase) in self.phases.iter().enumerate() {
            if epoch <= phase.end || i + 1 == self.phases.len() {
                return Some((phase, (epoch - start) / (phase.end - start)));
            }
            start = phase.end;
        }
        None
    }
}

impl Schedule for OneCycleLR {
    const NAME: &'static str = "OneCycleLR";

    fn problem(&self) -> Option<String> {
        if let Err(problem) = self.steps() {
            return Some(problem);
        }
        if !(0.0..=1.0).contains(&self.pct_start) {
            return Some(format!("Expected float between 0 and 1 pct_start, but got {}", self.pct_start));
        }
        let known = ["cos", "linear"].contains(&self.anneal_strategy.as_str());
        (!known).then(|| {
            format!("anneal_strategy must be one of 'cos' or 'linear', instead got {}", self.anneal_strategy)
        })
    }

    fn prepare(&mut self, optimizer: &mut dyn Optimizer, resumed: bool) -> Result<()> {
        let total = self.steps().map_err(|problem| Error::value(Self::NAME, problem))?;
        self.total_steps = Some(total);
        let up = self.pct_start * total as f64 - 1.0;
        let last = (total - 1) as f64;
        let (low, high) = ("base_momentum", "max_momentum");
        self.phases = vec![Phase::new(up, ["initial_lr", "max_lr"], [high, low])];
        if self.three_phase {
            let down = 2.0 * self.pct_start * total as f64 - 2.0;
            self.phases.push(Phase::new(down, ["max_lr", "initial_lr"], [low, high]));
            self.phases.push(Phase::new(last, ["initial_lr", "min_lr"], [high, high]));
        } else {
            self.phases.push(Phase::new(last, ["max_lr", "min_lr"], [low, high]));
        }
        if let Some((_, part)) = self.place(0.0)
            && !part.is_finite()
        {
            return Err(Error::value(Self::NAME, format!("a phase of {total} rounds has no length")));
        }
        let max_lrs = per_group(Self::NAME, "max_lr", &self.max_lr.0, optimizer)?;
        let momenta = if self.cycle_momentum {
            self.use_beta1 = momentum::uses_beta1(Self::NAME, optimizer)?;
            let base = per_group(Self::NAME, "base_momentum", &self.base_momentum.0, optimizer)?;
            Some((base, per_group(Self::NAME, "max_momentum", &self.max_momentum.0, optimizer)?))
        } else {
            None
        };
        if resumed {
            return Ok(());
        }
        for (group, max) in max_lrs.iter().enumerate() {
            let first = max / self.div_factor;
            optimizer.set_option(group, "initial_lr", first.into())?;
            optimizer.set_option(group, "max_lr", (*max).into())?;
            optimizer.set_option(group, "min_lr", (first / self.final_div_factor).into())?;
        }
        match momenta {
            Some((base, max)) => momentum::start(optimizer, self.use_beta1, &base, &max),
            None => Ok(()),
        }
    }

    fn rates(&mut self, round: &Round<'_>, optimizer: &mut dyn Optimizer) -> Result<Vec<f64>> {
        let total = self.total_steps.unwrap_or(0);
        let Some((phase, part)) = self.place(round.epoch as f64).filter(|_| round.epoch <= total) else {
            let text = format!(
                "Tried to step {} times. The specified number of total steps is {total}",
                round.epoch
            );
            return Err(Error::value(Self::NAME, text));
        };
        let between = |group: usize, names: &[String; 2]| -> Result<f64> {
            let value = |name: &String| {
                let found = optimizer.option(group, name).and_then(|v| v.number());
                let missing =
                    || format!("parameter group {group} has no {name}; resume with the optimizer's state");
                found.ok_or_else(|| Error::value(Self::NAME, missing()))
            };
            Ok(self.anneal(value(&names[0])?, value(&names[1])?, part))
        };
        let groups = 0..round.lrs.len();
        let lrs = groups.clone().map(|g| between(g, &phase.lr)).collect::<Result<Vec<f64>>>()?;
        if self.cycle_momentum {
            let momenta = groups.map(|g| between(g, &phase.momentum)).collect::<Result<Vec<f64>>>()?;
            for (group, value) in momenta.into_iter().enumerate() {
                momentum::set(optimizer, group, self.use_beta1, value)?;
            }
        }
        Ok(lrs)
    }

    fn save(&self) -> Vec<(&'static str, StateValue)> {
        let phases = self.phases.iter().map(|phase| {
            StateValue::dict([
                ("end_step", phase.end.into()),
                ("start_lr", phase.lr[0].save()),
                ("end_lr", phase.lr[1].save()),
                ("start_momentum", phase.momentum[0].save()),
                ("end_momentum", phase.momentum[1].save()),
            ])
        });
        let mut out = vec![
            ("total_steps", self.total_steps.save()),
            ("_schedule_phases", StateValue::List(phases.collect())),
            ("_anneal_func_type", self.anneal_strategy.save()),
            ("cycle_momentum", self.cycle_momentum.into()),
        ];
        if self.cycle_momentum {
            out.push(("use_beta1", self.use_beta1.into()));
        }
        out
    }

    fn load(&mut self, state: &StateValue) -> Result<()> {
        let mut loaded = self.clone();
        loaded.total_steps = Some(entry(state, "total_steps")?);
        loaded.anneal_strategy = entry(state, "_anneal_func_type")?;
        loaded.cycle_momentum = entry(state, "cycle_momentum")?;
        if loaded.cycle_momentum {
            loaded.use_beta1 = entry(state, "use_beta1")?;
        }
        let wrong = || Error::value("load_state_dict", "_schedule_phases must be a list of phases");
        let phases =
            entry_of(state, "_schedule_phases")?.list().filter(|p| !p.is_empty()).ok_or_else(wrong)?;
        loaded.phases = Vec::new();
        for phase in phases {
            let pair = |a: &str, b: &str| -> Result<[String; 2]> { Ok([entry(phase, a)?, entry(phase, b)?]) };
            loaded.phases.push(Phase {
                end: entry(phase, "end_step")?,
                lr: pair("start_lr", "end_lr")?,
                momentum: pair("start_momentum", "end_momentum")?,
            });
        }
        if let Some(problem) = loaded.problem() {
            return Err(Error::value("load_state_dict", problem));
        }
        *self = loaded;
        Ok(())
    }
}
