//! [`Adagrad`].

use kiln_autograd::Result;
use kiln_autograd::kiln_ops::optim::{AdagradStep, Direction, adagrad};
use kiln_autograd::kiln_ops::{self, RawTensor};

use crate::declare::optimizers;
use crate::fused::{self, decay};
use crate::groups::{Groups, Rules, Saved, State, negative, number_tensor, tensor_value};
use crate::value::StateValue;

optimizers! {
    /// The options of a group of [`Adagrad`].
    AdagradOptions, lr = 1e-2, {
        /// How fast the learning rate falls: it is `lr / (1 + lr_decay (step - 1))`.
        lr_decay: f64 = 0.0,
        /// The strength of the L2 penalty.
        weight_decay: f64 = 0.0,
        /// What the sums of squares start from.
        initial_accumulator_value: f64 = 0.0,
        /// Keeps the divisor from zero.
        eps: f64 = 1e-10,
        /// Climbs and does not descend.
        maximize: bool = false,
    }
    kept { foreach = None, differentiable = Some(false), fused = None }
    state Sum, step step_all;

    /// Adagrad (Duchi et al., "Adaptive subgradient methods for online learning and stochastic optimization", 2011): with
    /// the sum `s` of the squares of all gradients, `w -= lr g / (sqrt(s) + eps)`.
    Adagrad {}
}

impl Rules for AdagradOptions {
    fn problem(&self) -> Option<String> {
        negative("learning rate", self.lr)
            .or_else(|| negative("lr_decay value", self.lr_decay))
            .or_else(|| negative("weight_decay value", self.weight_decay))
            .or_else(|| negative("initial_accumulator_value value", self.initial_accumulator_value))
            .or_else(|| negative("epsilon value", self.eps))
    }
}

/// The sum of squares of a parameter.
pub(crate) struct Sum {
    steps: u64,
    sum: RawTensor,
}

impl State for Sum {
    type Options = AdagradOptions;

    fn save(&self) -> Result<Vec<(&'static str, StateValue)>> {
        Ok(vec![("step", number_tensor(self.steps as f64)?), ("sum", tensor_value(&self.sum))])
    }

    fn load(saved: &Saved<'_>) -> Result<Option<Sum>> {
        if saved.is_empty() {
            return Ok(None);
        }
        Ok(Some(Sum { steps: saved.steps()?, sum: saved.needed("sum")? }))
    }

    fn fresh(options: &AdagradOptions, param: &RawTensor) -> Result<Option<Sum>> {
        Sum::start(options, param).map(Some)
    }
}

impl Sum {
    /// Before the first step.
    fn start(options: &AdagradOptions, param: &RawTensor) -> Result<Sum> {
        let value = options.initial_accumulator_value.into();
        let sum = kiln_ops::full(param.shape(), value, param.dtype(), param.device())?;
        Ok(Sum { steps: 0, sum })
    }
}

fn step_all(groups: &mut Groups<AdagradOptions, Sum>) -> Result<()> {
    fused::step_all(groups, adagrad, |o, param, before| {
        let (steps, sum) = match before {
            Some(s) => (s.steps, s.sum.clone()),
            None => (0, Sum::start(o, param)?.sum),
        };
        let step = AdagradStep {
            direction: Direction { decay: decay(o.weight_decay, None), maximize: o.maximize },
            lr: o.lr / (1.0 + steps as f64 * o.lr_decay),
            eps: o.eps,
        };
        Ok((Sum { steps: steps + 1, sum: sum.clone() }, step, [sum]))
    })
}
