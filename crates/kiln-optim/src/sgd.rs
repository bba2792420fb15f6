//! [`SGD`].

use kiln_autograd::kiln_ops::RawTensor;
use kiln_autograd::kiln_ops::optim::{SgdStep, sgd};
use kiln_autograd::{Result, Tensor};

use crate::groups::{Batch, Groups, Options, Saved, State, negative, put_flag, put_number, zeros_like};
use crate::optimizer::{Optimizer, OptimizerState, OptionValue};

/// The options of a group of [`SGD`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdOptions {
    /// The learning rate.
    pub lr: f64,
    /// How much of the last step is kept.
    pub momentum: f64,
    /// How much of the gradient the momentum does not take.
    pub dampening: f64,
    /// The strength of the L2 penalty.
    pub weight_decay: f64,
    /// Nesterov's momentum, which looks ahead.
    pub nesterov: bool,
    /// Climbs and does not descend.
    pub maximize: bool,
}

impl Options for SgdOptions {
    const NAME: &'static str = "SGD";
    const KEPT: &'static [(&'static str, Option<bool>)] =
        &[("foreach", None), ("differentiable", Some(false)), ("fused", None)];

    fn list(&self) -> Vec<(&'static str, OptionValue)> {
        vec![
            ("lr", self.lr.into()),
            ("momentum", self.momentum.into()),
            ("dampening", self.dampening.into()),
            ("weight_decay", self.weight_decay.into()),
            ("nesterov", self.nesterov.into()),
            ("maximize", self.maximize.into()),
        ]
    }

    fn set(&mut self, name: &str, value: &OptionValue) -> Option<bool> {
        Some(match name {
            "lr" => put_number(&mut self.lr, value),
            "momentum" => put_number(&mut self.momentum, value),
            "dampening" => put_number(&mut self.dampening, value),
            "weight_decay" => put_number(&mut self.weight_decay, value),
            "nesterov" => put_flag(&mut self.nesterov, value),
            "maximize" => put_flag(&mut self.maximize, value),
            _ => return None,
        })
    }

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
struct Momentum(RawTensor);

impl State for Momentum {
    fn save(&self) -> Result<Vec<(&'static str, Tensor)>> {
        Ok(vec![("momentum_buffer", Tensor::from_raw(self.0.clone()))])
    }

    fn load(saved: &Saved<'_>) -> Result<Option<Momentum>> {
        Ok(saved.tensor("momentum_buffer")?.map(Momentum))
    }
}

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
pub struct SGD {
    groups: Groups<SgdOptions, Momentum>,
}

impl SGD {
    /// Plain descent with a learning rate (1e-3 in PyTorch by default).
    pub fn new(params: impl IntoIterator<Item = Tensor>, lr: f64) -> SGD {
        let options = SgdOptions {
            lr,
            momentum: 0.0,
            dampening: 0.0,
            weight_decay: 0.0,
            nesterov: false,
            maximize: false,
        };
        SGD { groups: Groups::new(params, options) }
    }

    /// How much of the last step is kept.
    #[must_use]
    pub fn momentum(self, momentum: f64) -> SGD {
        self.with(|o| o.momentum = momentum)
    }

    /// How much of the gradient the momentum does not take.
    #[must_use]
    pub fn dampening(self, dampening: f64) -> SGD {
        self.with(|o| o.dampening = dampening)
    }

    /// The strength of the L2 penalty.
    #[must_use]
    pub fn weight_decay(self, weight_decay: f64) -> SGD {
        self.with(|o| o.weight_decay = weight_decay)
    }

    /// Nesterov's momentum.
    #[must_use]
    pub fn nesterov(self, nesterov: bool) -> SGD {
        self.with(|o| o.nesterov = nesterov)
    }

    /// Climbs and does not descend.
    #[must_use]
    pub fn maximize(self, maximize: bool) -> SGD {
        self.with(|o| o.maximize = maximize)
    }

    fn with(mut self, change: impl Fn(&mut SgdOptions)) -> SGD {
        self.groups.change(change);
        self
    }

    /// Adds a group of parameters with options that start from those set so far.
    #[must_use]
    pub fn group(
        mut self,
        params: impl IntoIterator<Item = Tensor>,
        change: impl FnOnce(&mut SgdOptions),
    ) -> SGD {
        self.groups.add(params, change);
        self
    }

    /// Adds a group of parameters to an optimizer in use.
    pub fn add_param_group(
        &mut self,
        params: impl IntoIterator<Item = Tensor>,
        change: impl FnOnce(&mut SgdOptions),
    ) {
        self.groups.add(params, change);
    }
}

impl Optimizer for SGD {
    fn step(&mut self) -> Result<()> {
        self.groups.ensure_checked()?;
        let mut plain = Batch::new(sgd::<0>);
        let mut moving = Batch::new(sgd::<1>);
        let mut fresh = Vec::new();
        for (i, group) in self.groups.groups.iter().enumerate() {
            let o = group.options;
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
            self.groups.groups[i].slots[k].state = Some(Momentum(buffer));
        }
        Ok(())
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
