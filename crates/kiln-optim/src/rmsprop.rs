//! [`RMSprop`].

use kiln_autograd::Result;
use kiln_autograd::kiln_ops::RawTensor;
use kiln_autograd::kiln_ops::optim::{Direction, RmspropStep, rmsprop};

use crate::declare::optimizers;
use crate::fused::{Batch, decay};
use crate::groups::{Groups, Rules, Saved, State, negative, number_tensor, tensor_value, zeros_like};
use crate::value::StateValue;

optimizers! {
    /// The options of a group of [`RMSprop`].
    RmspropOptions, lr = 1e-2, {
        /// How much stays of the running means.
        alpha: f64 = 0.99,
        /// Keeps the divisor from zero.
        eps: f64 = 1e-8,
        /// The strength of the L2 penalty.
        weight_decay: f64 = 0.0,
        /// How much of the last step is kept.
        momentum: f64 = 0.0,
        /// Divides by the deviation, not by the root of the mean square.
        centered: bool = false,
        /// Climbs and does not descend.
        maximize: bool = false,
    }
    kept { capturable = Some(false), foreach = None, differentiable = Some(false) }
    state Means, step step_all;

    /// RMSprop (Tieleman and Hinton, lecture 6.5 of "Neural networks for machine learning", 2012; centered: Graves,
    /// "Generating sequences with recurrent neural networks", 2013): with the running mean `v` of the square of the
    /// gradient, `w -= lr g / (sqrt(v) + eps)`.
    RMSprop {}
}

impl Rules for RmspropOptions {
    fn problem(&self) -> Option<String> {
        negative("learning rate", self.lr)
            .or_else(|| negative("epsilon value", self.eps))
            .or_else(|| negative("momentum value", self.momentum))
            .or_else(|| negative("weight_decay value", self.weight_decay))
            .or_else(|| negative("alpha value", self.alpha))
    }
}

/// The running means of a parameter.
pub(crate) struct Means {
    steps: u64,
    square: RawTensor,
    /// With momentum.
    buffer: Option<RawTensor>,
    /// If centered.
    mean: Option<RawTensor>,
}

impl State for Means {
    type Options = RmspropOptions;

    fn save(&self) -> Result<Vec<(&'static str, StateValue)>> {
        let mut out =
            vec![("step", number_tensor(self.steps as f64)?), ("square_avg", tensor_value(&self.square))];
        out.extend(self.buffer.as_ref().map(|t| ("momentum_buffer", tensor_value(t))));
        out.extend(self.mean.as_ref().map(|t| ("grad_avg", tensor_value(t))));
        Ok(out)
    }

    fn load(saved: &Saved<'_>) -> Result<Option<Means>> {
        if saved.is_empty() {
            return Ok(None);
        }
        Ok(Some(Means {
            steps: saved.steps()?,
            square: saved.needed("square_avg")?,
            buffer: saved.tensor("momentum_buffer")?,
            mean: saved.tensor("grad_avg")?,
        }))
    }
}

impl Means {
    /// The state after one more step with these options, from zeros at first.
    fn next(before: Option<&Means>, o: &RmspropOptions, param: &RawTensor) -> Result<Means> {
        let or_zeros = |found: Option<&RawTensor>| found.cloned().map_or_else(|| zeros_like(param), Ok);
        // What the options do not use now stays as it is.
        let if_used = |found: Option<&RawTensor>, used: bool| match used {
            true => or_zeros(found).map(Some),
            false => Ok(found.cloned()),
        };
        Ok(Means {
            steps: before.map_or(0, |s| s.steps) + 1,
            square: or_zeros(before.map(|s| &s.square))?,
            buffer: if_used(before.and_then(|s| s.buffer.as_ref()), o.momentum > 0.0)?,
            mean: if_used(before.and_then(|s| s.mean.as_ref()), o.centered)?,
        })
    }
}

fn step_all(groups: &mut Groups<RmspropOptions, Means>) -> Result<()> {
    groups.ensure_checked()?;
    let mut one = Batch::new(rmsprop::<1>);
    let mut two = Batch::new(rmsprop::<2>);
    let mut three = Batch::new(rmsprop::<3>);
    let mut stepped = Vec::new();
    for (i, group) in groups.groups.iter().enumerate() {
        let o = &group.options;
        let step = RmspropStep {
            direction: Direction { decay: decay(o.weight_decay, None), maximize: o.maximize },
            lr: o.lr,
            alpha: o.alpha,
            eps: o.eps,
            momentum: o.momentum,
            centered: o.centered,
        };
        for (k, slot) in group.slots.iter().enumerate() {
            let Some(grad) = slot.param.grad() else { continue };
            let (param, grad) = (slot.param.raw().clone(), grad.raw().clone());
            let state = Means::next(slot.state.as_ref(), o, &param)?;
            let square = state.square.clone();
            let buffer = state.buffer.clone().filter(|_| o.momentum > 0.0);
            let mean = state.mean.clone().filter(|_| o.centered);
            match (buffer, mean) {
                (None, None) => one.add(step, param, grad, [square])?,
                (Some(only), None) | (None, Some(only)) => two.add(step, param, grad, [square, only])?,
                (Some(buffer), Some(mean)) => three.add(step, param, grad, [square, buffer, mean])?,
            }
            stepped.push((i, k, state));
        }
    }
    one.finish()?;
    two.finish()?;
    three.finish()?;
    for (i, k, state) in stepped {
        groups.groups[i].slots[k].state = Some(state);
    }
    Ok(())
}
