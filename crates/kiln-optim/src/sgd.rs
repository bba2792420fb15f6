//! Stochastic gradient descent.

use kiln_autograd::kiln_ops::optim::{SgdStep, Updated, sgd};
use kiln_autograd::{Error, Result, Tensor};

use crate::{Optimizer, at_least};

/// Stochastic gradient descent with optional momentum (`torch.optim.SGD`): `g = grad + weight_decay p`,
/// `b = momentum b + (1 - dampening) g` (at first `b = g`), `p -= lr b`, or with Nesterov's form `p -= lr (g + momentum b)`.
///
/// ```
/// use kiln_autograd::Tensor;
/// use kiln_optim::{Optimizer, SGD};
/// let w = Tensor::ones([2]).requires_grad_(true)?;
/// let mut optimizer = SGD::new(vec![w.clone()], 0.5);
/// w.square()?.sum()?.backward()?;
/// optimizer.step()?;
/// assert_eq!(w.detach().to_vec::<f32>()?, [0.0, 0.0]);
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
#[derive(Clone)]
pub struct SGD {
    parameters: Vec<Tensor>,
    buffers: Vec<Option<Tensor>>,
    step: SgdStep,
}

impl SGD {
    /// Plain descent with a learning rate.
    pub fn new(parameters: Vec<Tensor>, lr: f64) -> SGD {
        let step = SgdStep {
            lr,
            momentum: 0.0,
            dampening: 0.0,
            weight_decay: 0.0,
            nesterov: false,
            maximize: false,
            first: false,
        };
        SGD { buffers: vec![None; parameters.len()], parameters, step }
    }

    /// How much of the last step's direction stays.
    pub fn momentum(mut self, momentum: f64) -> SGD {
        self.step.momentum = momentum;
        self
    }

    /// How much of a gradient the direction does not take.
    pub fn dampening(mut self, dampening: f64) -> SGD {
        self.step.dampening = dampening;
        self
    }

    /// The strength of the L2 penalty.
    pub fn weight_decay(mut self, weight_decay: f64) -> SGD {
        self.step.weight_decay = weight_decay;
        self
    }

    /// Looks ahead along the momentum.
    pub fn nesterov(mut self, nesterov: bool) -> SGD {
        self.step.nesterov = nesterov;
        self
    }

    /// Climbs instead of descending.
    pub fn maximize(mut self, maximize: bool) -> SGD {
        self.step.maximize = maximize;
        self
    }

    fn check(&self) -> Result<()> {
        let s = &self.step;
        at_least("SGD", "learning rate", s.lr, 0.0)?;
        at_least("SGD", "momentum", s.momentum, 0.0)?;
        at_least("SGD", "weight_decay", s.weight_decay, 0.0)?;
        if s.nesterov && (s.momentum <= 0.0 || s.dampening != 0.0) {
            return Err(Error::value("SGD", "Nesterov momentum requires a momentum and zero dampening"));
        }
        Ok(())
    }
}

impl Optimizer for SGD {
    fn step(&mut self) -> Result<()> {
        self.check()?;
        let grads: Vec<Option<Tensor>> = self.parameters.iter().map(Tensor::grad).collect();
        if self.step.momentum == 0.0 {
            let raws: Vec<_> = self
                .parameters
                .iter()
                .zip(&grads)
                .filter_map(|(p, g)| Some((p.raw(), g.as_ref()?.raw())))
                .collect();
            let updated: Vec<_> =
                raws.iter().map(|(p, g)| Updated { param: p, grad: g, state: [] }).collect();
            return sgd(&self.step, &updated);
        }
        // A parameter's first gradient starts its buffer; the others go on with theirs.
        let mut rounds: [Vec<(Tensor, Tensor, Tensor)>; 2] = [Vec::new(), Vec::new()];
        for ((p, g), buffer) in self.parameters.iter().zip(grads).zip(&mut self.buffers) {
            let Some(g) = g else { continue };
            let goes_on = buffer.is_some();
            let state = match buffer {
                Some(b) => b.clone(),
                None => buffer.insert(p.detach().zeros_like()?).clone(),
            };
            rounds[goes_on as usize].push((p.clone(), g, state));
        }
        for (goes_on, round) in rounds.iter().enumerate() {
            let raws: Vec<_> = round.iter().map(|(p, g, b)| (p.raw(), g.raw(), b.raw())).collect();
            let updated: Vec<_> =
                raws.iter().map(|(p, g, b)| Updated { param: p, grad: g, state: [&**b] }).collect();
            sgd(&SgdStep { first: goes_on == 0, ..self.step }, &updated)?;
        }
        Ok(())
    }

    fn parameters(&self) -> &[Tensor] {
        &self.parameters
    }

    fn lr(&self) -> f64 {
        self.step.lr
    }

    fn set_lr(&mut self, lr: f64) {
        self.step.lr = lr;
    }
}
