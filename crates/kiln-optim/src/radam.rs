//! [`RAdam`].

use kiln_autograd::Result;
use kiln_autograd::kiln_ops::optim::{Direction, RadamStep, radam};

use crate::declare::{counted_state, optimizers};
use crate::fused::{self, decay};
use crate::groups::{Groups, Rules, negative, wrong_betas};

optimizers! {
    /// The options of a group of [`RAdam`].
    RadamOptions, lr = 1e-3, {
        /// How much stays of the running means of the gradient and of its square.
        betas: (f64, f64) = (0.9, 0.999),
        /// Keeps the divisor from zero.
        eps: f64 = 1e-8,
        /// The strength of the decay of weights.
        weight_decay: f64 = 0.0,
        /// Weights decay apart from the gradient.
        decoupled_weight_decay: bool = false,
        /// Climbs and does not descend.
        maximize: bool = false,
    }
    kept { foreach = None, capturable = Some(false), differentiable = Some(false) }
    state Moments, step step_all;

    /// RAdam, Adam whose step is rectified while the variance of its divisor is not yet known (Liu et al., "On the
    /// variance of the adaptive learning rate and beyond", 2019).
    RAdam {}
}

impl Rules for RadamOptions {
    fn problem(&self) -> Option<String> {
        negative("learning rate", self.lr)
            .or_else(|| negative("epsilon value", self.eps))
            .or_else(|| wrong_betas(self.betas))
            .or_else(|| negative("weight_decay value", self.weight_decay))
    }
}

counted_state!(RadamOptions, Moments { mean: "exp_avg", square: "exp_avg_sq" });

/// The root of the correction of the mean square and the rectification after so many steps; none while the variance is
/// not tractable (the paper's section 4.2).
fn scale(beta2: f64, steps: u64) -> Option<(f64, f64)> {
    let power = libm::pow(beta2, steps as f64);
    let longest = 2.0 / (1.0 - beta2) - 1.0;
    let length = longest - 2.0 * steps as f64 * power / (1.0 - power);
    let rectification =
        (length - 4.0) * (length - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * length);
    (length > 5.0).then(|| ((1.0 - power).sqrt(), rectification.sqrt()))
}

fn step_all(groups: &mut Groups<RadamOptions, Moments>) -> Result<()> {
    fused::step_all(groups, radam, |o, param, before| {
        let state = Moments::next(before, param)?;
        let (beta1, beta2) = o.betas;
        let step = RadamStep {
            direction: Direction {
                decay: decay(o.weight_decay, o.decoupled_weight_decay.then_some(o.lr)),
                maximize: o.maximize,
            },
            lr: o.lr,
            correction: 1.0 - libm::pow(beta1, state.steps as f64),
            scale: scale(beta2, state.steps),
            beta1,
            beta2,
            eps: o.eps,
        };
        let tensors = [state.mean.clone(), state.square.clone()];
        Ok((state, step, tensors))
    })
}
