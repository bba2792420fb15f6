//! [`ASGD`].

use kiln_autograd::kiln_ops::RawTensor;
use kiln_autograd::{Result, Tensor};

use crate::composed::{self, Update};
use crate::declare::optimizers;
use crate::groups::{Groups, Rules, Saved, State, negative, number_tensor, tensor_value, zeros_like};
use crate::value::StateValue;

optimizers! {
    /// The options of a group of [`ASGD`].
    AsgdOptions, lr = 1e-2, {
        /// The strength of the decay of weights apart from the gradient.
        lambd: f64 = 1e-4,
        /// The power by which the learning rate falls.
        alpha: f64 = 0.75,
        /// After so many steps the averaging starts.
        t0: f64 = 1e6,
        /// The strength of the L2 penalty.
        weight_decay: f64 = 0.0,
        /// Climbs and does not descend.
        maximize: bool = false,
    }
    kept { foreach = None, differentiable = Some(false), capturable = Some(false) }
    state Average, step step_all;

    /// Averaged stochastic gradient descent (Polyak and Juditsky, "Acceleration of stochastic approximation by averaging",
    /// 1992): descent at a falling rate; the state `ax` is the mean of the parameter since step `t0`.
    ASGD {}
}

impl Rules for AsgdOptions {
    fn problem(&self) -> Option<String> {
        negative("learning rate", self.lr)
            .or_else(|| negative("lambd value", self.lambd))
            .or_else(|| negative("alpha value", self.alpha))
            .or_else(|| negative("weight_decay value", self.weight_decay))
    }
}

/// The mean of a parameter, and the rates of its next step, in single precision as PyTorch keeps them.
pub(crate) struct Average {
    steps: u64,
    eta: f32,
    mu: f32,
    mean: RawTensor,
}

impl State for Average {
    type Options = AsgdOptions;

    fn save(&self) -> Result<Vec<(&'static str, StateValue)>> {
        Ok(vec![
            ("step", number_tensor(self.steps as f64)?),
            ("eta", number_tensor(f64::from(self.eta))?),
            ("mu", number_tensor(f64::from(self.mu))?),
            ("ax", tensor_value(&self.mean)),
        ])
    }

    fn load(saved: &Saved<'_>) -> Result<Option<Average>> {
        if saved.is_empty() {
            return Ok(None);
        }
        Ok(Some(Average {
            steps: saved.steps()?,
            eta: saved.number("eta")? as f32,
            mu: saved.number("mu")? as f32,
            mean: saved.needed("ax")?,
        }))
    }
}

fn step_all(groups: &mut Groups<AsgdOptions, Average>) -> Result<()> {
    composed::step_all(groups, |o, param, grad, before| {
        let (steps, eta, mu, mean) = match before {
            Some(s) => (s.steps + 1, s.eta, s.mu, s.mean.clone()),
            None => (1, o.lr as f32, 1.0, zeros_like(&param.raw())?),
        };
        let mut grad = if o.maximize { grad.neg()? } else { grad };
        if o.weight_decay != 0.0 {
            grad = grad.add_scaled(param, o.weight_decay)?;
        }
        let eta = f64::from(eta);
        let moved = param.mul(1.0 - o.lambd * eta)?.sub(&grad.mul(eta)?)?;
        let mean = match mu {
            1.0 => moved.copy()?,
            _ => {
                let mean = Tensor::from_raw(mean);
                mean.add(&moved.sub(&mean)?.mul(f64::from(mu))?)?
            }
        };
        let step = steps as f64;
        let state = Average {
            steps,
            eta: (o.lr / libm::pow(1.0 + o.lambd * o.lr * step, o.alpha)) as f32,
            mu: (1.0 / (step - o.t0).max(1.0)) as f32,
            mean: composed::own(&mean)?,
        };
        Ok(Update { param: moved, state })
    })
}
