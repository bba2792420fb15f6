//! [`GradScaler`]: a loss is scaled up so that its gradients do not vanish in float16. Micikevicius et al., "Mixed Precision
//! Training" (2018).

use kiln_autograd::{DType, Error, Here, Result, Tensor, no_grad};

use crate::optimizer::Optimizer;
use crate::stateful::Stateful;
use crate::value::{StateValue, entry};

/// Scales losses, takes the scale out of the gradients again, leaves out steps whose gradients are not finite, and finds the
/// scale that fits (`torch.amp.GradScaler`). Bfloat16 has the range of f32 and does without.
///
/// ```
/// use kiln_autograd::{Autocast, DType, Reduction, Tensor};
/// use kiln_optim::{GradScaler, Optimizer, SGD};
/// # fn main() -> kiln_autograd::Result<()> {
/// let (x, y) = (Tensor::ones([4, 2]), Tensor::zeros([4, 1]));
/// let w = Tensor::ones([1, 2]).requires_grad_(true)?;
/// let mut optimizer = SGD::new([w.clone()], 0.1);
/// let mut scaler = GradScaler::new();
/// for _ in 0..20 {
///     optimizer.zero_grad();
///     let half = Autocast::new().dtype(DType::F16)?;
///     let loss = half.run(|| x.linear(&w, None)?.mse_loss(&y, Reduction::Mean))?;
///     scaler.scale(&loss)?.backward()?;
///     scaler.unscale_(&optimizer)?; // only needed to clip gradients
///     scaler.step(&mut optimizer)?;
///     scaler.update()?;
/// }
/// assert!(w.to_vec::<f32>()?[0].abs() < 0.01);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct GradScaler {
    enabled: bool,
    scale: f32,
    growth_factor: f64,
    backoff_factor: f64,
    growth_interval: i64,
    growth_tracker: i64,
    /// Whether something was scaled.
    used: bool,
    /// What was done since the last update, by an optimizer's first parameter.
    rounds: Vec<(Tensor, Round)>,
}

/// What happened to an optimizer since the last update.
#[derive(Clone, Copy, Debug)]
struct Round {
    found_inf: bool,
    stepped: bool,
}

const OP: &str = "GradScaler";

fn wrong<T>(what: impl Into<String>) -> Result<T> {
    Err(Error::value(OP, what.into()))
}

impl Default for GradScaler {
    fn default() -> GradScaler {
        GradScaler::new()
    }
}

impl GradScaler {
    /// PyTorch's defaults: starts at 65536, doubles after 2000 steps without an infinite gradient, halves after one with.
    pub fn new() -> GradScaler {
        GradScaler {
            enabled: true,
            scale: 65536.0,
            growth_factor: 2.0,
            backoff_factor: 0.5,
            growth_interval: 2000,
            growth_tracker: 0,
            used: false,
            rounds: Vec::new(),
        }
    }

    /// The scale to start with (65536).
    #[must_use]
    pub fn init_scale(self, scale: f64) -> GradScaler {
        GradScaler { scale: scale as f32, ..self }
    }

    /// What the scale is multiplied by when all went well for long (2); above 1.
    #[must_use]
    pub fn growth_factor(self, growth_factor: f64) -> GradScaler {
        GradScaler { growth_factor, ..self }
    }

    /// What the scale is multiplied by when a gradient was not finite (0.5); below 1.
    #[must_use]
    pub fn backoff_factor(self, backoff_factor: f64) -> GradScaler {
        GradScaler { backoff_factor, ..self }
    }

    /// How many steps in a row must go well for the scale to grow (2000).
    #[must_use]
    pub fn growth_interval(self, growth_interval: i64) -> GradScaler {
        GradScaler { growth_interval, ..self }
    }

    /// Switched off, it steps and does nothing else: one program for both.
    #[must_use]
    pub fn enabled(self, enabled: bool) -> GradScaler {
        GradScaler { enabled, ..self }
    }

    /// Whether it does anything.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// The scale; 1 when switched off.
    pub fn get_scale(&self) -> f64 {
        if self.enabled { f64::from(self.scale) } else { 1.0 }
    }

    fn check(&self) -> Result<()> {
        if self.growth_factor.is_nan() || self.growth_factor <= 1.0 {
            return wrong("The growth factor must be > 1.0.");
        }
        if self.backoff_factor.is_nan() || self.backoff_factor >= 1.0 {
            return wrong("The backoff factor must be < 1.0.");
        }
        Ok(())
    }

    /// The loss times the scale: call `backward` on the result.
    ///
    /// # Errors
    /// A growth factor that is not above 1, a backoff factor that is not below.
    #[track_caller]
    pub fn scale(&mut self, loss: &Tensor) -> Result<Tensor> {
        if !self.enabled {
            return Ok(loss.clone());
        }
        self.check().here()?;
        self.used = true;
        // A tensor, so that a loss in float16 does not overflow: two tensors without axes give f32.
        let scale = Tensor::from_vec(vec![self.scale], ())?.to_device(loss.device())?;
        loss.mul(&scale)
    }

    fn first(optimizer: &dyn Optimizer) -> Result<Tensor> {
        optimizer.parameters().into_iter().next().map_or_else(|| wrong("the optimizer has no parameters"), Ok)
    }

    fn round(&mut self, first: &Tensor) -> Option<&mut Round> {
        self.rounds.iter_mut().find(|(t, _)| t.is_same(first)).map(|(_, round)| round)
    }

    fn check_used(&self, what: &str) -> Result<()> {
        if self.used {
            return Ok(());
        }
        wrong(format!(
            "Attempted {what} but _scale is None. This may indicate your script did not use scaler.scale(loss or outputs) \
             earlier in the iteration."
        ))
    }

    /// Divides the gradients of an optimizer's parameters by the scale, in place: for whoever wants to clip them or look at
    /// them before the step.
    ///
    /// # Errors
    /// Called twice or behind the step; nothing was scaled; gradients in float16, which the parameters should not be in.
    #[track_caller]
    pub fn unscale_(&mut self, optimizer: &dyn Optimizer) -> Result<()> {
        if !self.enabled {
            return Ok(());
        }
        self.check_used("unscale_").here()?;
        let first = GradScaler::first(optimizer).here()?;
        match self.round(&first) {
            Some(Round { stepped: true, .. }) => return wrong("unscale_() is being called after step()."),
            Some(_) => {
                return wrong(
                    "unscale_() has already been called on this optimizer since the last update().",
                );
            }
            None => {}
        }
        let gradients: Vec<Tensor> = optimizer.parameters().iter().filter_map(Tensor::grad).collect();
        if gradients.is_empty() {
            return wrong("No inf checks were recorded for this optimizer.");
        }
        if gradients.iter().any(|g| g.dtype() == DType::F16) {
            return wrong("Attempting to unscale FP16 gradients.");
        }
        let inverse = (1.0 / f64::from(self.scale)) as f32;
        let found_inf = no_grad(|| {
            let mut found_inf = false;
            for g in &gradients {
                found_inf |= !g.isfinite()?.all()?.item()?.is_true();
                g.mul_(f64::from(inverse))?;
            }
            Ok::<_, Error>(found_inf)
        })
        .here()?;
        self.rounds.push((first, Round { found_inf, stepped: false }));
        Ok(())
    }

    /// Takes the scale out of the gradients, unless that was done, and makes the optimizer's step if all of them are finite.
    /// Says whether it was made.
    ///
    /// # Errors
    /// Called twice without an update between; nothing was scaled; no parameter has a gradient; the optimizer's step fails.
    #[track_caller]
    pub fn step(&mut self, optimizer: &mut dyn Optimizer) -> Result<bool> {
        if !self.enabled {
            return optimizer.step().map(|()| true);
        }
        self.check_used("step").here()?;
        let first = GradScaler::first(optimizer).here()?;
        if self.round(&first).is_none() {
            self.unscale_(optimizer).here()?;
        }
        let Some(round) = self.round(&first) else {
            return wrong("No inf checks were recorded for this optimizer.");
        };
        if round.stepped {
            return wrong("step() has already been called since the last update().");
        }
        if !round.found_inf {
            optimizer.step().here()?;
        }
        round.stepped = true;
        Ok(!round.found_inf)
    }

    /// Ends a round: the scale shrinks if a gradient of any optimizer was not finite, and grows if there was none for long.
    ///
    /// # Errors
    /// Nothing was scaled, or no optimizer was stepped or unscaled.
    #[track_caller]
    pub fn update(&mut self) -> Result<()> {
        if !self.enabled {
            return Ok(());
        }
        self.check_used("update").here()?;
        if self.rounds.is_empty() {
            return wrong("No inf checks were recorded prior to update.");
        }
        let found_inf = self.rounds.iter().any(|(_, round)| round.found_inf);
        self.rounds.clear();
        if found_inf {
            self.scale = (f64::from(self.scale) * self.backoff_factor) as f32;
            self.growth_tracker = 0;
            return Ok(());
        }
        self.growth_tracker += 1;
        if self.growth_tracker == self.growth_interval {
            let grown = (f64::from(self.scale) * self.growth_factor) as f32;
            if grown.is_finite() {
                self.scale = grown;
            }
            self.growth_tracker = 0;
        }
        Ok(())
    }

    /// Ends a round with a scale of the caller's (`scaler.update(new_scale)`).
    ///
    /// # Errors
    /// Nothing was scaled yet.
    #[track_caller]
    pub fn update_to(&mut self, scale: f64) -> Result<()> {
        if !self.enabled {
            return Ok(());
        }
        self.check_used("update").here()?;
        self.scale = scale as f32;
        self.rounds.clear();
        Ok(())
    }

    /// The state under PyTorch's names; empty when switched off.
    pub fn state_dict(&self) -> StateValue {
        if !self.enabled {
            return StateValue::dict([]);
        }
        StateValue::dict([
            ("scale", self.get_scale().into()),
            ("growth_factor", self.growth_factor.into()),
            ("backoff_factor", self.backoff_factor.into()),
            ("growth_interval", self.growth_interval.into()),
            ("_growth_tracker", self.growth_tracker.into()),
        ])
    }

    /// Goes on from a saved state, PyTorch's too; all of it is loaded or nothing. Switched off, it loads nothing.
    ///
    /// # Errors
    /// Entries are missing or of the wrong kind.
    #[track_caller]
    pub fn load_state_dict(&mut self, state: &StateValue) -> Result<()> {
        if !self.enabled {
            return Ok(());
        }
        if matches!(state, StateValue::Dict(entries) if entries.is_empty()) {
            return wrong(
                "The source state dict is empty, possibly because it was saved from a disabled instance of GradScaler.",
            );
        }
        let loaded = GradScaler {
            enabled: true,
            scale: entry::<f64>(state, "scale").here()? as f32,
            growth_factor: entry(state, "growth_factor").here()?,
            backoff_factor: entry(state, "backoff_factor").here()?,
            growth_interval: entry(state, "growth_interval").here()?,
            growth_tracker: entry(state, "_growth_tracker").here()?,
            used: self.used,
            rounds: Vec::new(),
        };
        loaded.check().here()?;
        *self = loaded;
        Ok(())
    }
}

impl Stateful for GradScaler {
    fn to_state(&self) -> StateValue {
        self.state_dict()
    }

    fn set_state(&mut self, state: &StateValue) -> Result<()> {
        self.load_state_dict(state)
    }
}
