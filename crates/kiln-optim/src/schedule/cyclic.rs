//! [`CyclicLR`].

use std::fmt;
use std::sync::Arc;

use kiln_autograd::{Error, Result};

use super::{PerGroup, Round, Schedule, momentum, per_group};
use crate::optimizer::Optimizer;
use crate::value::{Field, StateValue, entry};

/// Lets the rates go up and down between two bounds (Smith, "Cyclical learning rates for training neural networks", 2015),
/// and the momentum down and up.
///
/// ```
/// use kiln_autograd::Tensor;
/// use kiln_optim::{CyclicLR, Optimizer, SGD, Schedule, Scheduler};
/// # fn main() -> kiln_autograd::Result<()> {
/// let w = Tensor::from_vec(vec![0.0f32], [1])?.requires_grad_(true)?;
/// let mut optimizer = SGD::new([w], 0.1).momentum(0.9);
/// let mut scheduler = CyclicLR::new(0.01, 0.11).step_size_up(4).on(&mut optimizer)?;
/// for _ in 0..2 {
///     optimizer.step()?;
///     scheduler.step(&mut optimizer)?;
/// }
/// assert!((optimizer.lr(0) - 0.06).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CyclicLR {
    base_lr: PerGroup,
    max_lr: PerGroup,
    step_size_up: i64,
    step_size_down: Option<i64>,
    mode: String,
    gamma: f64,
    scale_fn: Option<Arc<dyn Fn(f64) -> f64 + Send + Sync>>,
    scale_mode: String,
    cycle_momentum: bool,
    base_momentum: PerGroup,
    max_momentum: PerGroup,
    /// The length of a cycle, and the part of it that goes up.
    total_size: f64,
    step_ratio: f64,
    use_beta1: bool,
}

impl fmt::Debug for CyclicLR {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.save()).finish()
    }
}

impl CyclicLR {
    /// The schedule between `base_lr` and `max_lr`, with PyTorch's defaults: 2000 rounds up and as many down, in
    /// triangles, the momentum between 0.8 and 0.9.
    pub fn new(base_lr: impl Into<PerGroup>, max_lr: impl Into<PerGroup>) -> CyclicLR {
        CyclicLR {
            base_lr: base_lr.into(),
            max_lr: max_lr.into(),
            step_size_up: 2000,
            step_size_down: None,
            mode: "triangular".to_owned(),
            gamma: 1.0,
            scale_fn: None,
            scale_mode: "cycle".to_owned(),
            cycle_momentum: true,
            base_momentum: 0.8.into(),
            max_momentum: 0.9.into(),
            total_size: 4000.0,
            step_ratio: 0.5,
            use_beta1: false,
        }
    }

    /// How many rounds the rates go up.
    #[must_use]
    pub fn step_size_up(mut self, rounds: i64) -> CyclicLR {
        self.step_size_up = rounds;
        self
    }

    /// How many rounds they go down; as many by default.
    #[must_use]
    pub fn step_size_down(mut self, rounds: i64) -> CyclicLR {
        self.step_size_down = Some(rounds);
        self
    }

    /// `"triangular"`, `"triangular2"` (each cycle half as high as the one before) or `"exp_range"` (lower by `gamma`
    /// each round).
    #[must_use]
    pub fn mode(mut self, mode: &str) -> CyclicLR {
        self.mode = mode.to_owned();
        self
    }

    /// The factor of `"exp_range"`.
    #[must_use]
    pub fn gamma(mut self, gamma: f64) -> CyclicLR {
        self.gamma = gamma;
        self
    }

    /// The height of a cycle by a function, in the place of `mode`.
    #[must_use]
    pub fn scale_fn(mut self, scale_fn: impl Fn(f64) -> f64 + Send + Sync + 'static) -> CyclicLR {
        self.scale_fn = Some(Arc::new(scale_fn));
        self
    }

    /// What that function is given: the number of the `"cycle"`, from 1, or of the round (`"iterations"`).
    #[must_use]
    pub fn scale_mode(mut self, scale_mode: &str) -> CyclicLR {
        self.scale_mode = scale_mode.to_owned();
        self
    }

    /// Whether the momentum goes against the rate.
    #[must_use]
    pub fn cycle_momentum(mut self, cycle_momentum: bool) -> CyclicLR {
        self.cycle_momentum = cycle_momentum;
        self
    }

    /// The least momentum, at the highest rate.
    #[must_use]
    pub fn base_momentum(mut self, momentum: impl Into<PerGroup>) -> CyclicLR {
        self.base_momentum = momentum.into();
        self
    }

    /// The largest momentum, at the lowest rate.
    #[must_use]
    pub fn max_momentum(mut self, momentum: impl Into<PerGroup>) -> CyclicLR {
        self.max_momentum = momentum.into();
        self
    }

    /// The modes that need no function fix what it would be given.
    fn settle(&mut self) {
        if self.scale_fn.is_none() {
            self.scale_mode = if self.mode == "exp_range" { "iterations" } else { "cycle" }.to_owned();
        }
    }

    fn scale(&self, cycle: f64, epoch: f64) -> f64 {
        let x = if self.scale_mode == "cycle" { cycle } else { epoch };
        match (&self.scale_fn, self.mode.as_str()) {
            (Some(f), _) => f(x),
            (None, "triangular2") => 1.0 / libm::pow(2.0, x - 1.0),
            (None, "exp_range") => libm::pow(self.gamma, x),
            (None, _) => 1.0,
        }
    }
}

impl Schedule for CyclicLR {
    const NAME: &'static str = "CyclicLR";

    fn problem(&self) -> Option<String> {
        let known = ["triangular", "triangular2", "exp_range"].contains(&self.mode.as_str());
        if !known && self.scale_fn.is_none() {
            return Some(format!("mode is invalid and scale_fn is None, got mode {:?}", self.mode));
        }
        if !["cycle", "iterations"].contains(&self.scale_mode.as_str()) {
            return Some(format!(
                "scale_mode must be \"cycle\" or \"iterations\", got {:?}",
                self.scale_mode
            ));
        }
        let (up, down) = (self.step_size_up, self.step_size_down);
        (up < 1 || down.is_some_and(|n| n < 0)).then(|| {
            format!("step_size_up must be at least 1 and step_size_down at least 0, got {up} and {down:?}")
        })
    }

    fn prepare(&mut self, optimizer: &mut dyn Optimizer, resumed: bool) -> Result<()> {
        let spread = |what: &str, values: &PerGroup, optimizer: &dyn Optimizer| {
            per_group(Self::NAME, what, &values.0, optimizer).map(PerGroup)
        };
        self.base_lr = spread("base_lr", &self.base_lr, optimizer)?;
        self.max_lr = spread("max_lr", &self.max_lr, optimizer)?;
        let up = self.step_size_up as f64;
        self.total_size = up + self.step_size_down.map_or(up, |n| n as f64);
        self.step_ratio = up / self.total_size;
        self.settle();
        if self.cycle_momentum {
            self.use_beta1 = momentum::uses_beta1(Self::NAME, optimizer)?;
            self.base_momentum = spread("base_momentum", &self.base_momentum, optimizer)?;
            self.max_momentum = spread("max_momentum", &self.max_momentum, optimizer)?;
        }
        if resumed {
            return Ok(());
        }
        for (group, lr) in self.base_lr.0.iter().enumerate() {
            optimizer.set_lr(group, *lr)?;
        }
        if self.cycle_momentum {
            momentum::start(optimizer, self.use_beta1, &self.base_momentum.0, &self.max_momentum.0)?;
        }
        Ok(())
    }

    fn base_lrs(&self, _initial: Vec<f64>) -> Vec<f64> {
        self.base_lr.0.clone()
    }

    fn rates(&mut self, round: &Round<'_>, optimizer: &mut dyn Optimizer) -> Result<Vec<f64>> {
        let time = round.epoch as f64 / self.total_size;
        let cycle = (1.0 + time).floor();
        let x = 1.0 + time - cycle;
        let ratio = self.step_ratio;
        let height = if x <= ratio { x / ratio } else { (x - 1.0) / (ratio - 1.0) };
        let scale = self.scale(cycle, round.epoch as f64);
        if self.cycle_momentum {
            let bounds = self.base_momentum.0.iter().zip(&self.max_momentum.0);
            for (group, (base, max)) in bounds.enumerate() {
                let value = max - (max - base) * height * scale;
                momentum::set(optimizer, group, self.use_beta1, value)?;
            }
        }
        let bounds = round.base_lrs.iter().zip(&self.max_lr.0);
        Ok(bounds.map(|(base, max)| base + (max - base) * height * scale).collect())
    }

    fn save(&self) -> Vec<(&'static str, StateValue)> {
        let mut out = vec![
            ("max_lrs", self.max_lr.0[..].into()),
            ("total_size", self.total_size.into()),
            ("step_ratio", self.step_ratio.into()),
            ("mode", self.mode.save()),
            ("gamma", self.gamma.into()),
            ("scale_mode", self.scale_mode.save()),
            ("cycle_momentum", self.cycle_momentum.into()),
            ("_scale_fn_custom", StateValue::None),
        ];
        if self.cycle_momentum {
            out.extend([
                ("use_beta1", self.use_beta1.into()),
                ("base_momentums", self.base_momentum.0[..].into()),
                ("max_momentums", self.max_momentum.0[..].into()),
            ]);
        }
        out
    }

    fn load(&mut self, state: &StateValue) -> Result<()> {
        let mut loaded = self.clone();
        let groups = self.base_lr.0.len();
        let numbers = |name: &str| -> Result<PerGroup> {
            let found = super::entry_of(state, name)?.numbers().filter(|n| n.len() == groups);
            let wrong = || format!("{name} must have a number for each of {groups} groups");
            found.map(PerGroup).ok_or_else(|| Error::value("load_state_dict", wrong()))
        };
        loaded.max_lr = numbers("max_lrs")?;
        loaded.total_size = entry(state, "total_size")?;
        loaded.step_ratio = entry(state, "step_ratio")?;
        loaded.mode = entry(state, "mode")?;
        loaded.gamma = entry(state, "gamma")?;
        loaded.scale_mode = entry(state, "scale_mode")?;
        loaded.cycle_momentum = entry(state, "cycle_momentum")?;
        if loaded.cycle_momentum {
            loaded.use_beta1 = entry(state, "use_beta1")?;
            loaded.base_momentum = numbers("base_momentums")?;
            loaded.max_momentum = numbers("max_momentums")?;
        }
        loaded.settle();
        let size = loaded.total_size > 0.0 && loaded.step_ratio > 0.0 && loaded.step_ratio <= 1.0;
        let sizes = || "total_size and step_ratio must be above 0, and the ratio at most 1".to_owned();
        if let Some(problem) = loaded.problem().or_else(|| (!size).then(sizes)) {
            return Err(Error::value("load_state_dict", problem));
        }
        *self = loaded;
        Ok(())
    }
}
