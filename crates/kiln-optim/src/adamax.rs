//! [`Adamax`].

use kiln_autograd::Result;
use kiln_autograd::kiln_ops::optim::{AdamaxStep, Direction, adamax};

use crate::declare::{counted_state, optimizers};
use crate::fused::{self, decay};
use crate::groups::{Groups, Rules, negative, wrong_betas};

optimizers! {
    /// The options of a group of [`Adamax`].
    AdamaxOptions, lr = 2e-3, {
        /// How much stays of the running mean of the gradient, and of its largest magnitude.
        betas: (f64, f64) = (0.9, 0.999),
        /// Keeps the divisor from zero.
        eps: f64 = 1e-8,
        /// The strength of the L2 penalty.
        weight_decay: f64 = 0.0,
        /// Climbs and does not descend.
        maximize: bool = false,
    }
    kept { foreach = None, differentiable = Some(false), capturable = Some(false) }
    state Moments, step step_all;

    /// Adamax (Kingma and Ba, "Adam: a method for stochastic optimization", 2014), Adam with the largest magnitude in the
    /// place of the root of the mean square: `u = max(beta2 u, |g| + eps)`, `w -= lr m / ((1 - beta1^step) u)`.
    Adamax {}
}

impl Rules for AdamaxOptions {
    fn problem(&self) -> Option<String> {
        negative("learning rate", self.lr)
            .or_else(|| negative("epsilon value", self.eps))
            .or_else(|| wrong_betas(self.betas))
            .or_else(|| negative("weight_decay value", self.weight_decay))
    }
}

counted_state!(AdamaxOptions, Moments { mean: "exp_avg", largest: "exp_inf" });

fn step_all(groups: &mut Groups<AdamaxOptions, Moments>) -> Result<()> {
    fused::step_all(groups, adamax, |o, param, before| {
        let state = Moments::next(before, param)?;
        let (beta1, beta2) = o.betas;
        let step = AdamaxStep {
            direction: Direction { decay: decay(o.weight_decay, None), maximize: o.maximize },
            step_size: o.lr / (1.0 - libm::pow(beta1, state.steps as f64)),
            beta1,
            beta2,
            eps: o.eps,
        };
        let tensors = [state.mean.clone(), state.largest.clone()];
        Ok((state, step, tensors))
    })
}
