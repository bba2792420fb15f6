//! [`Rprop`].

use kiln_autograd::kiln_ops::{self, RawTensor};
use kiln_autograd::{Result, Tensor};

use crate::composed::{self, Update};
use crate::declare::optimizers;
use crate::groups::{Groups, Rules, Saved, State, negative, number_tensor, tensor_value, zeros_like};
use crate::value::StateValue;

optimizers! {
    /// The options of a group of [`Rprop`].
    RpropOptions, lr = 1e-2, {
        /// By what the step of an element is multiplied when the sign of its gradient changed, and when it stayed.
        etas: (f64, f64) = (0.5, 1.2),
        /// The smallest and the largest step.
        step_sizes: (f64, f64) = (1e-6, 50.0),
        /// Climbs and does not descend.
        maximize: bool = false,
    }
    kept { foreach = None, differentiable = Some(false), capturable = Some(false) }
    state Steps, step step_all;

    /// Resilient backpropagation (Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning",
    /// 1993): each element has a step of its own, which grows while the gradient keeps its sign; of the gradient nothing
    /// but the sign counts. Meant for gradients of the whole data set.
    Rprop {}
}

impl Rules for RpropOptions {
    fn problem(&self) -> Option<String> {
        let (minus, plus) = self.etas;
        let wrong = !(0.0 < minus && minus < 1.0 && 1.0 < plus);
        negative("learning rate", self.lr)
            .or_else(|| wrong.then(|| format!("Invalid eta values: {minus}, {plus}")))
    }
}

/// The last gradient and the steps of a parameter's elements.
pub(crate) struct Steps {
    steps: u64,
    last: RawTensor,
    sizes: RawTensor,
}

impl State for Steps {
    type Options = RpropOptions;

    fn save(&self) -> Result<Vec<(&'static str, StateValue)>> {
        Ok(vec![
            ("step", number_tensor(self.steps as f64)?),
            ("prev", tensor_value(&self.last)),
            ("step_size", tensor_value(&self.sizes)),
        ])
    }

    fn load(saved: &Saved<'_>) -> Result<Option<Steps>> {
        if saved.is_empty() {
            return Ok(None);
        }
        Ok(Some(Steps {
            steps: saved.steps()?,
            last: saved.needed("prev")?,
            sizes: saved.needed("step_size")?,
        }))
    }
}

fn step_all(groups: &mut Groups<RpropOptions, Steps>) -> Result<()> {
    composed::step_all(groups, |o, param, grad, before| {
        let (steps, last, sizes) = match before {
            Some(s) => (s.steps, s.last.clone(), s.sizes.clone()),
            None => {
                let raw = param.raw();
                let sizes = kiln_ops::full(raw.shape(), o.lr.into(), raw.dtype(), raw.device())?;
                (0, zeros_like(&raw)?, sizes)
            }
        };
        let grad = if o.maximize { grad.neg()? } else { grad };
        let agreement = grad.mul(&Tensor::from_raw(last))?.sign()?;
        let changed = agreement.lt(0.0)?;
        let factor = agreement
            .masked_fill(&agreement.gt(0.0)?, o.etas.1)?
            .masked_fill(&changed, o.etas.0)?
            .masked_fill(&agreement.eq(0.0)?, 1.0)?;
        let (low, high) = o.step_sizes;
        let sizes = Tensor::from_raw(sizes).mul(&factor)?.clamp(low, high)?;
        // Where the sign changed there is no step, and none of the next counts as a change.
        let grad = grad.masked_fill(&changed, 0.0)?;
        let moved = param.addcmul(&grad.sign()?, &sizes, -1.0)?;
        let state = Steps { steps: steps + 1, last: composed::own(&grad)?, sizes: composed::own(&sizes)? };
        Ok(Update { param: moved, state })
    })
}
