//! Adam and its form with decoupled weight decay.

use kiln_autograd::kiln_ops::optim::{AdamStep, Decay, Updated, adam};
use kiln_autograd::{Error, Result, Tensor};

use crate::{Optimizer, at_least};

/// A parameter's running means, its steps so far, and the largest second mean where that is asked for.
#[derive(Clone)]
struct Moments {
    steps: i32,
    m: Tensor,
    v: Tensor,
    largest: Option<Tensor>,
}

/// The settings of both forms.
#[derive(Clone, Copy)]
struct Settings {
    lr: f64,
    betas: (f64, f64),
    eps: f64,
    weight_decay: f64,
    amsgrad: bool,
    maximize: bool,
    decoupled: bool,
}

macro_rules! adam_like {
    ($(#[$doc:meta])* $name:ident, $text:literal, $decay:literal, $decoupled:literal) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name {
            parameters: Vec<Tensor>,
            state: Vec<Option<Moments>>,
            settings: Settings,
        }

        impl $name {
            /// The optimizer with a learning rate (PyTorch's default is 0.001) and PyTorch's other defaults.
            pub fn new(parameters: Vec<Tensor>, lr: f64) -> $name {
                let settings = Settings {
                    lr,
                    betas: (0.9, 0.999),
                    eps: 1e-8,
                    weight_decay: $decay,
                    amsgrad: false,
                    maximize: false,
                    decoupled: $decoupled,
                };
                $name { state: vec![None; parameters.len()], parameters, settings }
            }

            /// How much of the running means of the gradient and of its square stays.
            pub fn betas(mut self, first: f64, second: f64) -> $name {
                self.settings.betas = (first, second);
                self
            }

            /// Keeps the divisor from zero.
            pub fn eps(mut self, eps: f64) -> $name {
                self.settings.eps = eps;
                self
            }

            /// How strongly parameters are pulled to zero.
            pub fn weight_decay(mut self, weight_decay: f64) -> $name {
                self.settings.weight_decay = weight_decay;
                self
            }

            /// Divides by the largest second mean so far.
            pub fn amsgrad(mut self, amsgrad: bool) -> $name {
                self.settings.amsgrad = amsgrad;
                self
            }

            /// Climbs instead of descending.
            pub fn maximize(mut self, maximize: bool) -> $name {
                self.settings.maximize = maximize;
                self
            }
        }

        impl Optimizer for $name {
            fn step(&mut self) -> Result<()> {
                step($text, &self.settings, &self.parameters, &mut self.state)
            }

            fn parameters(&self) -> &[Tensor] {
                &self.parameters
            }

            fn lr(&self) -> f64 {
                self.settings.lr
            }

            fn set_lr(&mut self, lr: f64) {
                self.settings.lr = lr;
            }
        }
    };
}

adam_like! {
    /// Adam (Kingma and Ba, 2015; `torch.optim.Adam`): steps along the running mean of the gradient, divided by the root of
    /// that of its square. Weight decay goes through the gradient.
    Adam, "Adam", 0.0, false
}
adam_like! {
    /// Adam with decoupled weight decay (Loshchilov and Hutter, 2019; `torch.optim.AdamW`), 0.01 unless set.
    AdamW, "AdamW", 0.01, true
}

fn step(op: &'static str, s: &Settings, parameters: &[Tensor], state: &mut [Option<Moments>]) -> Result<()> {
    at_least(op, "learning rate", s.lr, 0.0)?;
    at_least(op, "epsilon", s.eps, 0.0)?;
    at_least(op, "weight_decay", s.weight_decay, 0.0)?;
    for (i, beta) in [s.betas.0, s.betas.1].into_iter().enumerate() {
        if !(0.0..1.0).contains(&beta) {
            return Err(Error::value(op, format!("Invalid beta parameter at index {i}: {beta}")));
        }
    }
    // Parameters that have taken the same number of steps are updated together: the corrections are theirs.
    let mut groups: Vec<(i32, Vec<(&Tensor, Tensor, Moments)>)> = Vec::new();
    for (p, slot) in parameters.iter().zip(state) {
        let Some(g) = p.grad() else { continue };
        if slot.is_none() {
            let zeros = || p.detach().zeros_like();
            let largest = s.amsgrad.then(zeros).transpose()?;
            *slot = Some(Moments { steps: 0, m: zeros()?, v: zeros()?, largest });
        }
        let Some(moments) = slot else { continue };
        moments.steps += 1;
        let member = (p, g, moments.clone());
        match groups.iter_mut().find(|(steps, _)| *steps == moments.steps) {
            Some((_, members)) => members.push(member),
            None => groups.push((moments.steps, vec![member])),
        }
    }
    for (steps, members) in &groups {
        let (beta1, beta2) = s.betas;
        let decay = match (s.weight_decay, s.decoupled) {
            (0.0, _) => Decay::None,
            (w, false) => Decay::Gradient(w),
            (w, true) => Decay::Decoupled(1.0 - s.lr * w),
        };
        let step = AdamStep {
            step_size: s.lr / (1.0 - libm::pow(beta1, *steps as f64)),
            root: (1.0 - libm::pow(beta2, *steps as f64)).sqrt(),
            beta1,
            beta2,
            eps: s.eps,
            decay,
            maximize: s.maximize,
        };
        let raws: Vec<_> = members.iter().map(|(p, g, m)| (p.raw(), g.raw(), m.m.raw(), m.v.raw())).collect();
        if s.amsgrad {
            let largest: Vec<_> =
                members.iter().filter_map(|(_, _, m)| Some(m.largest.as_ref()?.raw())).collect();
            let updated: Vec<_> = raws
                .iter()
                .zip(&largest)
                .map(|((p, g, m, v), l)| Updated { param: p, grad: g, state: [&**m, &**v, &**l] })
                .collect();
            adam(&step, &updated)?;
        } else {
            let updated: Vec<_> =
                raws.iter().map(|(p, g, m, v)| Updated { param: p, grad: g, state: [&**m, &**v] }).collect();
            adam(&step, &updated)?;
        }
    }
    Ok(())
}
