//! [`NAdam`].

use kiln_autograd::Result;
use kiln_autograd::kiln_ops::RawTensor;
use kiln_autograd::kiln_ops::optim::{Direction, NadamStep, nadam};

use crate::declare::optimizers;
use crate::fused::{self, decay};
use crate::groups::{
    Groups, Rules, Saved, State, negative, number_tensor, tensor_value, wrong_betas, zeros_like,
};
use crate::value::StateValue;

optimizers! {
    /// The options of a group of [`NAdam`].
    NadamOptions, lr = 2e-3, {
        /// How much stays of the running means of the gradient and of its square.
        betas: (f64, f64) = (0.9, 0.999),
        /// Keeps the divisor from zero.
        eps: f64 = 1e-8,
        /// The strength of the decay of weights.
        weight_decay: f64 = 0.0,
        /// How fast the momentum rises to its value.
        momentum_decay: f64 = 4e-3,
        /// Weights decay apart from the gradient.
        decoupled_weight_decay: bool = false,
        /// Climbs and does not descend.
        maximize: bool = false,
    }
    kept { foreach = None, capturable = Some(false), differentiable = Some(false) }
    state Moments, step step_all;

    /// NAdam, Adam with Nesterov's momentum (Dozat, "Incorporating Nesterov momentum into Adam", 2016).
    NAdam {}
}

impl Rules for NadamOptions {
    fn problem(&self) -> Option<String> {
        negative("learning rate", self.lr)
            .or_else(|| negative("epsilon value", self.eps))
            .or_else(|| wrong_betas(self.betas))
            .or_else(|| negative("weight_decay value", self.weight_decay))
            .or_else(|| negative("momentum_decay value", self.momentum_decay))
    }
}

/// The running means of a parameter, and the product of the momenta of all steps.
pub(crate) struct Moments {
    steps: u64,
    product: f32,
    mean: RawTensor,
    square: RawTensor,
}

impl State for Moments {
    type Options = NadamOptions;

    fn save(&self) -> Result<Vec<(&'static str, StateValue)>> {
        Ok(vec![
            ("step", number_tensor(self.steps as f64)?),
            ("mu_product", number_tensor(f64::from(self.product))?),
            ("exp_avg", tensor_value(&self.mean)),
            ("exp_avg_sq", tensor_value(&self.square)),
        ])
    }

    fn load(saved: &Saved<'_>) -> Result<Option<Moments>> {
        if saved.is_empty() {
            return Ok(None);
        }
        Ok(Some(Moments {
            steps: saved.steps()?,
            product: saved.number("mu_product")? as f32,
            mean: saved.needed("exp_avg")?,
            square: saved.needed("exp_avg_sq")?,
        }))
    }
}

fn step_all(groups: &mut Groups<NadamOptions, Moments>) -> Result<()> {
    fused::step_all(groups, nadam, |o, param, before| {
        let (steps, product, mean, square) = match before {
            Some(s) => (s.steps + 1, s.product, s.mean.clone(), s.square.clone()),
            None => (1, 1.0, zeros_like(param)?, zeros_like(param)?),
        };
        let (beta1, beta2) = o.betas;
        let momentum = |step: u64| {
            let fallen = libm::pow(0.96, step as f64 * o.momentum_decay);
            beta1 * (1.0 - 0.5 * fallen)
        };
        let (now, next) = (momentum(steps), momentum(steps + 1));
        // PyTorch keeps the product in single precision.
        let product = product * now as f32;
        let step = NadamStep {
            direction: Direction {
                decay: decay(o.weight_decay, o.decoupled_weight_decay.then_some(o.lr)),
                maximize: o.maximize,
            },
            along_grad: o.lr * (1.0 - now) / (1.0 - f64::from(product)),
            along_mean: o.lr * next / (1.0 - f64::from(product) * next),
            correction: 1.0 - libm::pow(beta2, steps as f64),
            beta1,
            beta2,
            eps: o.eps,
        };
        let tensors = [mean.clone(), square.clone()];
        Ok((Moments { steps, product, mean, square }, step, tensors))
    })
}
