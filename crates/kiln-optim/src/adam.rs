//! [`Adam`] and [`AdamW`].

use kiln_autograd::kiln_ops::RawTensor;
use kiln_autograd::kiln_ops::optim::{AdamStep, Decay, adam};
use kiln_autograd::{Result, Tensor};

use crate::groups::{
    Batch, Groups, Options, Saved, State, count_tensor, negative, put_flag, put_number, zeros_like,
};
use crate::optimizer::{Optimizer, OptimizerState, OptionValue};

/// The options of a group of [`Adam`] or [`AdamW`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamOptions {
    /// The learning rate.
    pub lr: f64,
    /// How much stays of the running means of the gradient and of its square.
    pub betas: (f64, f64),
    /// Keeps the divisor from zero.
    pub eps: f64,
    /// The strength of the decay of weights.
    pub weight_decay: f64,
    /// Divides by the largest mean square so far (Reddi et al., "On the convergence of Adam and beyond", 2018).
    pub amsgrad: bool,
    /// Climbs and does not descend.
    pub maximize: bool,
    /// Weights decay apart from the gradient, which is what [`AdamW`] is.
    pub decoupled_weight_decay: bool,
}

/// The flag that PyTorch saves behind options that have no effect here.
const DECOUPLED: &str = "decoupled_weight_decay";

impl Options for AdamOptions {
    const NAME: &'static str = "Adam";
    const KEPT: &'static [(&'static str, Option<bool>)] =
        &[("foreach", None), ("capturable", Some(false)), ("differentiable", Some(false)), ("fused", None)];

    fn list(&self) -> Vec<(&'static str, OptionValue)> {
        vec![
            ("lr", self.lr.into()),
            ("betas", self.betas.into()),
            ("eps", self.eps.into()),
            ("weight_decay", self.weight_decay.into()),
            ("amsgrad", self.amsgrad.into()),
            ("maximize", self.maximize.into()),
            (DECOUPLED, self.decoupled_weight_decay.into()),
        ]
    }

    fn set(&mut self, name: &str, value: &OptionValue) -> Option<bool> {
        Some(match name {
            "lr" => put_number(&mut self.lr, value),
            "eps" => put_number(&mut self.eps, value),
            "weight_decay" => put_number(&mut self.weight_decay, value),
            "amsgrad" => put_flag(&mut self.amsgrad, value),
            "maximize" => put_flag(&mut self.maximize, value),
            DECOUPLED => put_flag(&mut self.decoupled_weight_decay, value),
            "betas" => match value {
                OptionValue::List(pair) => match pair.iter().map(OptionValue::number).collect::<Vec<_>>()[..]
                {
                    [Some(a), Some(b)] => {
                        self.betas = (a, b);
                        true
                    }
                    _ => false,
                },
                _ => false,
            },
            _ => return None,
        })
    }

    fn problem(&self) -> Option<String> {
        let beta = |i: usize, beta: f64| {
            (!(0.0..1.0).contains(&beta)).then(|| format!("Invalid beta parameter at index {i}: {beta}"))
        };
        negative("learning rate", self.lr)
            .or_else(|| negative("epsilon value", self.eps))
            .or_else(|| beta(0, self.betas.0))
            .or_else(|| beta(1, self.betas.1))
            .or_else(|| negative("weight_decay value", self.weight_decay))
    }
}

/// The running means of a parameter.
struct Moments {
    steps: u64,
    mean: RawTensor,
    square: RawTensor,
    /// With `amsgrad`.
    largest: Option<RawTensor>,
}

impl State for Moments {
    fn save(&self) -> Result<Vec<(&'static str, Tensor)>> {
        let tensor = |raw: &RawTensor| Tensor::from_raw(raw.clone());
        let mut out = vec![
            ("step", count_tensor(self.steps)?),
            ("exp_avg", tensor(&self.mean)),
            ("exp_avg_sq", tensor(&self.square)),
        ];
        out.extend(self.largest.as_ref().map(|t| ("max_exp_avg_sq", tensor(t))));
        Ok(out)
    }

    fn load(saved: &Saved<'_>) -> Result<Option<Moments>> {
        let (Some(mean), Some(square)) = (saved.tensor("exp_avg")?, saved.tensor("exp_avg_sq")?) else {
            return Ok(None);
        };
        let steps = saved.number("step")?.unwrap_or(0.0).max(0.0) as u64;
        Ok(Some(Moments { steps, mean, square, largest: saved.tensor("max_exp_avg_sq")? }))
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
            decay: match (self.weight_decay == 0.0, self.decoupled_weight_decay) {
                (true, _) => Decay::None,
                (false, false) => Decay::Gradient(self.weight_decay),
                (false, true) => Decay::Decoupled(1.0 - self.lr * self.weight_decay),
            },
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

macro_rules! adams {
    ($($(#[$doc:meta])* $name:ident { weight_decay: $decay:literal, decoupled: $decoupled:literal })*) => {$(
        $(#[$doc])*
        pub struct $name {
            groups: Groups<AdamOptions, Moments>,
        }

        impl $name {
            #[doc = concat!("The optimizer with PyTorch's other defaults: betas (0.9, 0.999), eps 1e-8, weight decay ", $decay, ". Its default learning rate is 1e-3.")]
            pub fn new(params: impl IntoIterator<Item = Tensor>, lr: f64) -> $name {
                let options = AdamOptions {
                    lr,
                    betas: (0.9, 0.999),
                    eps: 1e-8,
                    weight_decay: $decay,
                    amsgrad: false,
                    maximize: false,
                    decoupled_weight_decay: $decoupled,
                };
                $name { groups: Groups::new(params, options) }
            }

            /// How much stays of the running means of the gradient and of its square.
            #[must_use]
            pub fn betas(self, beta1: f64, beta2: f64) -> $name {
                self.with(|o| o.betas = (beta1, beta2))
            }

            /// Keeps the divisor from zero.
            #[must_use]
            pub fn eps(self, eps: f64) -> $name {
                self.with(|o| o.eps = eps)
            }

            /// The strength of the decay of weights.
            #[must_use]
            pub fn weight_decay(self, weight_decay: f64) -> $name {
                self.with(|o| o.weight_decay = weight_decay)
            }

            /// Divides by the largest mean square so far.
            #[must_use]
            pub fn amsgrad(self, amsgrad: bool) -> $name {
                self.with(|o| o.amsgrad = amsgrad)
            }

            /// Climbs and does not descend.
            #[must_use]
            pub fn maximize(self, maximize: bool) -> $name {
                self.with(|o| o.maximize = maximize)
            }

            fn with(mut self, change: impl Fn(&mut AdamOptions)) -> $name {
                self.groups.change(change);
                self
            }

            /// Adds a group of parameters with options that start from those set so far.
            #[must_use]
            pub fn group(
                mut self,
                params: impl IntoIterator<Item = Tensor>,
                change: impl FnOnce(&mut AdamOptions),
            ) -> $name {
                self.groups.add(params, change);
                self
            }

            /// Adds a group of parameters to an optimizer in use.
            pub fn add_param_group(
                &mut self,
                params: impl IntoIterator<Item = Tensor>,
                change: impl FnOnce(&mut AdamOptions),
            ) {
                self.groups.add(params, change);
            }
        }

        impl Optimizer for $name {
            fn step(&mut self) -> Result<()> {
                step_all(&mut self.groups)
            }

            fn parameters(&self) -> Vec<Tensor> {
                self.groups.parameters()
            }

            fn num_groups(&self) -> usize {
                self.groups.groups.len()
            }

            fn options(&self, group: usize) -> Vec<(String, OptionValue)> {
                self.groups.options(group)
            }

            fn set_option(&mut self, group: usize, name: &str, value: OptionValue) -> Result<()> {
                self.groups.set_option(group, name, value)
            }

            fn state_dict(&self) -> Result<OptimizerState> {
                self.groups.state_dict()
            }

            fn load_state_dict(&mut self, state: &OptimizerState) -> Result<()> {
                self.groups.load_state_dict(state)
            }

            fn check(&self) -> Result<()> {
                self.groups.check()
            }
        }
    )*};
}

adams! {
    /// Adam (Kingma and Ba, "Adam: a method for stochastic optimization", 2014): with running means `m` of the gradient and
    /// `v` of its square, both corrected for their start at zero, `w -= lr m / (sqrt(v) + eps)`.
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// use kiln_optim::{Adam, Optimizer};
    /// # fn main() -> kiln_autograd::Result<()> {
    /// let w = Tensor::from_vec(vec![1.0f32], [1])?.requires_grad_(true)?;
    /// let mut optimizer = Adam::new([w.clone()], 1e-3).betas(0.9, 0.99);
    /// w.square()?.sum()?.backward()?;
    /// optimizer.step()?;
    /// assert!((w.to_f64()? - 0.999).abs() < 1e-6);
    /// # Ok(())
    /// # }
    /// ```
    Adam { weight_decay: 0.0, decoupled: false }
    /// [`Adam`] whose weights decay apart from the gradient (Loshchilov and Hutter, "Decoupled weight decay
    /// regularization", 2017).
    AdamW { weight_decay: 0.01, decoupled: true }
}
