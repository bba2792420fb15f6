//! [`Adadelta`].

use kiln_autograd::Result;
use kiln_autograd::kiln_ops::optim::{AdadeltaStep, Direction, adadelta};

use crate::declare::{counted_state, optimizers};
use crate::fused::{self, decay};
use crate::groups::{Groups, Rules, negative};

optimizers! {
    /// The options of a group of [`Adadelta`].
    AdadeltaOptions, lr = 1.0, {
        /// How much stays of the running means of the squares of gradients and steps.
        rho: f64 = 0.9,
        /// Keeps the roots from zero.
        eps: f64 = 1e-6,
        /// The strength of the L2 penalty.
        weight_decay: f64 = 0.0,
        /// Climbs and does not descend.
        maximize: bool = false,
    }
    kept { capturable = Some(false), foreach = None, differentiable = Some(false) }
    state Means, step step_all;

    /// Adadelta (Zeiler, "Adadelta: an adaptive learning rate method", 2012): with running means `v` of the squares of
    /// gradients and `u` of the squares of steps, `d = sqrt(u + eps) / sqrt(v + eps) g`, `w -= lr d`.
    Adadelta {}
}

impl Rules for AdadeltaOptions {
    fn problem(&self) -> Option<String> {
        negative("learning rate", self.lr)
            .or_else(|| {
                (!(0.0..=1.0).contains(&self.rho)).then(|| format!("Invalid rho value: {}", self.rho))
            })
            .or_else(|| negative("epsilon value", self.eps))
            .or_else(|| negative("weight_decay value", self.weight_decay))
    }
}

counted_state!(AdadeltaOptions, Means { square: "square_avg", delta: "acc_delta" });

fn step_all(groups: &mut Groups<AdadeltaOptions, Means>) -> Result<()> {
    fused::step_all(groups, adadelta, |o, param, before| {
        let state = Means::next(before, param)?;
        let step = AdadeltaStep {
            direction: Direction { decay: decay(o.weight_decay, None), maximize: o.maximize },
            lr: o.lr,
            rho: o.rho,
            eps: o.eps,
        };
        let tensors = [state.square.clone(), state.delta.clone()];
        Ok((state, step, tensors))
    })
}
