//! [`Adam`] and [`AdamW`].

use kiln_autograd::Result;
use kiln_autograd::kiln_ops::RawTensor;
use kiln_autograd::kiln_ops::optim::{AdamStep, adam};

use crate::declare::optimizers;
use crate::fused::{Batch, decay};
use crate::groups::{
    Groups, Rules, Saved, State, negative, number_tensor, tensor_value, wrong_betas, zeros_like,
};
use crate::value::StateValue;

optimizers! {
    /// The options of a group of [`Adam`] or [`AdamW`].
    AdamOptions, lr = 1e-3, {
        /// How much stays of the running means of the gradient and of its square.
        betas: (f64, f64) = (0.9, 0.999),
        /// Keeps the divisor from zero.
        eps: f64 = 1e-8,
        /// The strength of the decay of weights.
        weight_decay: f64 = 0.0,
        /// Divides by the largest mean square so far (Reddi et al., "On the convergence of Adam and beyond", 2018).
        amsgrad: bool = false,
        /// Climbs and does not descend.
        maximize: bool = false,
        /// Weights decay apart from the gradient, which is what [`AdamW`] is.
        decoupled_weight_decay: bool = false,
    }
    kept { foreach = None, capturable = Some(false), differentiable = Some(false), fused = None }
    state Moments, step step_all;

    /// Adam (Kingma and Ba, "Adam: a method for stochastic optimization", 2014): with running means `m` of the gradient and
    /// `v` of its square, both corrected for their start at zero, `w -= lr m / (sqrt(v) + eps)`.
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// use kiln_optim::{Adam, Optimizer};
    /// # fn main() -> kiln_autograd::Result<()> {
    /// let w = Tensor::from_vec(vec![1.0f32], [1])?.requires_grad_(true)?;
    /// let mut optimizer = Adam::new([w.clone()], 1e-3).betas((0.9, 0.99));
    /// w.square()?.sum()?.backward()?;
    /// optimizer.step()?;
    /// assert!((w.to_f64()? - 0.999).abs() < 1e-6);
    /// # Ok(())
    /// # }
    /// ```
    Adam {}

    /// [`Adam`] whose weights decay apart from the gradient (Loshchilov and Hutter, "Decoupled weight decay
    /// regularization", 2017).
    AdamW { weight_decay: 0.01, decoupled_weight_decay: true }
}

impl Rules for AdamOptions {
    fn problem(&self) -> Option<String> {
        negative("learning rate", self.lr)
            .or_else(|| negative("epsilon value", self.eps))
            .or_else(|| wrong_betas(self.betas))
            .or_else(|| negative("weight_decay value", self.weight_decay))
    }
}

/// The running means of a parameter.
pub(crate) struct Moments {
    steps: u64,
    mean: RawTensor,
    square: RawTensor,
    /// With `amsgrad`.
    largest: Option<RawTensor>,
}

impl State for Moments {
    type Options = AdamOptions;

    fn save(&self) -> Result<Vec<(&'static str, StateValue)>> {
        let mut out = vec![
            ("step", number_tensor(self.steps as f64)?),
            ("exp_avg", tensor_value(&self.mean)),
            ("exp_avg_sq", tensor_value(&self.square)),
        ];
        out.extend(self.largest.as_ref().map(|t| ("max_exp_avg_sq", tensor_value(t))));
        Ok(out)
    }

    fn load(saved: &Saved<'_>) -> Result<Option<Moments>> {
        if saved.is_empty() {
            return Ok(None);
        }
        Ok(Some(Moments {
            steps: saved.steps()?,
            mean: saved.needed("exp_avg")?,
            square: saved.needed("exp_avg_sq")?,
            largest: saved.tensor("max_exp_avg_sq")?,
        }))
    }
}

impl AdamOptions {
    /// The numbers of step `steps`, from 1.
    fn step(&self, steps: u64) -> AdamStep {
        let (beta1, beta2) = self.betas;
        let correction = |beta: f64| 1.0 - libm::pow(beta, steps as f64);
        AdamStep {
            step_size: self.lr / correction(beta1),
            root: correction(beta2).sqrt(),
            beta1,
            beta2,
            eps: self.eps,
            decay: decay(self.weight_decay, self.decoupled_weight_decay.then_some(self.lr)),
            maximize: self.maximize,
        }
    }
}

fn step_all(groups: &mut Groups<AdamOptions, Moments>) -> Result<()> {
    groups.ensure_checked()?;
    let mut plain = Batch::new(adam::<2>);
    let mut largest = Batch::new(adam::<3>);
    let mut stepped = Vec::new();
    for (i, group) in groups.groups.iter().enumerate() {
        // Most parameters have seen as many steps as their neighbours.
        let mut last: Option<(u64, AdamStep)> = None;
        for (k, slot) in group.slots.iter().enumerate() {
            let Some(grad) = slot.param.grad() else { continue };
            let (param, grad) = (slot.param.raw().clone(), grad.raw().clone());
            let (steps, mean, square, before) = match &slot.state {
                Some(s) => (s.steps + 1, s.mean.clone(), s.square.clone(), s.largest.clone()),
                None => (1, zeros_like(&param)?, zeros_like(&param)?, None),
            };
            let step = match last {
                Some((n, step)) if n == steps => step,
                _ => group.options.step(steps),
            };
            last = Some((steps, step));
            let top = match before {
                None if group.options.amsgrad => Some(zeros_like(&param)?),
                before => before,
            };
            match &top {
                Some(top) if group.options.amsgrad => {
                    largest.add(step, param, grad, [mean.clone(), square.clone(), top.clone()])?;
                }
                _ => plain.add(step, param, grad, [mean.clone(), square.clone()])?,
            }
            stepped.push((i, k, Moments { steps, mean, square, largest: top }));
        }
    }
    plain.finish()?;
    largest.finish()?;
    for (i, k, moments) in stepped {
        groups.groups[i].slots[k].state = Some(moments);
    }
    Ok(())
}
