//! [`SGD`].

use kiln_autograd::Result;
use kiln_autograd::kiln_ops::RawTensor;
use kiln_autograd::kiln_ops::optim::{SgdStep, sgd};

use crate::declare::optimizers;
use crate::fused::Batch;
use crate::groups::{Groups, Rules, Saved, State, negative, tensor_value, zeros_like};
use crate::value::StateValue;

optimizers! {
    /// The options of a group of [`SGD`].
    SgdOptions, lr = 1e-3, {
        /// How much of the last step is kept.
        momentum: f64 = 0.0,
        /// How much of the gradient the momentum does not take.
        dampening: f64 = 0.0,
        /// The strength of the L2 penalty.
        weight_decay: f64 = 0.0,
        /// Nesterov's momentum, which looks ahead.
        nesterov: bool = false,
        /// Climbs and does not descend.
        maximize: bool = false,
    }
    kept { foreach = None, differentiable = Some(false), fused = None }
    state Momentum, step step_all;

    /// Stochastic gradient descent, with momentum (Sutskever et al., "On the importance of initialization and momentum in
    /// deep learning", 2013) if asked for:
    /// `g = grad + weight_decay w`, `b = momentum b + (1 - dampening) g` (the first time `b = g`), `w -= lr b`.
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// use kiln_optim::{Optimizer, SGD};
    /// # fn main() -> kiln_autograd::Result<()> {
    /// let weight = Tensor::from_vec(vec![1.0f32; 4], [2, 2])?.requires_grad_(true)?;
    /// let bias = Tensor::from_vec(vec![0.0f32; 2], [2])?.requires_grad_(true)?;
    /// let mut optimizer =
    ///     SGD::new([weight], 0.1).momentum(0.9).weight_decay(1e-4).group([bias], |o| o.weight_decay = 0.0);
    /// optimizer.set_lr(0, 0.01)?;
    /// assert_eq!((optimizer.lr(0), optimizer.lr(1)), (0.01, 0.1));
    /// # Ok(())
    /// # }
    /// ```
    SGD {}
}

impl Rules for SgdOptions {
    fn problem(&self) -> Option<String> {
        let nesterov = self.nesterov && (self.momentum <= 0.0 || self.dampening != 0.0);
        negative("learning rate", self.lr)
            .or_else(|| negative("momentum value", self.momentum))
            .or_else(|| negative("weight_decay value", self.weight_decay))
            .or_else(|| {
                nesterov.then(|| "Nesterov momentum requires a momentum and zero dampening".to_owned())
            })
    }
}

/// The momentum of a parameter.
pub(crate) struct Momentum(RawTensor);

impl State for Momentum {
    type Options = SgdOptions;

    fn save(&self) -> Result<Vec<(&'static str, StateValue)>> {
        Ok(vec![("momentum_buffer", tensor_value(&self.0))])
    }

    fn load(saved: &Saved<'_>) -> Result<Option<Momentum>> {
        Ok(saved.tensor("momentum_buffer")?.map(Momentum))
    }
}

fn step_all(groups: &mut Groups<SgdOptions, Momentum>) -> Result<()> {
    groups.ensure_checked()?;
    let mut plain = Batch::new(sgd::<0>);
    let mut moving = Batch::new(sgd::<1>);
    let mut fresh = Vec::new();
    for (i, group) in groups.groups.iter().enumerate() {
        let o = &group.options;
        let step = SgdStep {
            lr: o.lr,
            momentum: o.momentum,
            dampening: o.dampening,
            weight_decay: o.weight_decay,
            nesterov: o.nesterov,
            maximize: o.maximize,
            first: false,
        };
        for (k, slot) in group.slots.iter().enumerate() {
            let Some(grad) = slot.param.grad() else { continue };
            let (param, grad) = (slot.param.raw().clone(), grad.raw().clone());
            if o.momentum == 0.0 {
                plain.add(step, param, grad, [])?;
                continue;
            }
            let first = slot.state.is_none();
            let buffer = match &slot.state {
                Some(state) => state.0.clone(),
                None => {
                    let buffer = zeros_like(&param)?;
                    fresh.push((i, k, buffer.clone()));
                    buffer
                }
            };
            moving.add(SgdStep { first, ..step }, param, grad, [buffer])?;
        }
    }
    plain.finish()?;
    moving.finish()?;
    // Only now: a buffer that no step has filled would count as a momentum of zero.
    for (i, k, buffer) in fresh {
        groups.groups[i].slots[k].state = Some(Momentum(buffer));
    }
    Ok(())
}
