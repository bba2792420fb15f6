//! [`Muon`].

use kiln_autograd::kiln_ops::RawTensor;
use kiln_autograd::{DType, Result, Tensor};

use crate::composed::{self, Update};
use crate::declare::optimizers;
use crate::groups::{Groups, Rules, Saved, State, tensor_value};
use crate::value::{Field, StateValue};

optimizers! {
    /// The options of a group of [`Muon`].
    MuonOptions, lr = 1e-3, {
        /// The strength of the decay of weights, apart from the gradient.
        weight_decay: f64 = 0.1,
        /// How much stays of the running mean of the gradient.
        momentum: f64 = 0.95,
        /// Nesterov's momentum, which looks ahead.
        nesterov: bool = true,
        /// The coefficients of `a x + b x^3 + c x^5`, which drives all singular values towards 1.
        ns_coefficients: (f64, f64, f64) = (3.4445, -4.775, 2.0315),
        /// Keeps the norm that is divided by from zero.
        eps: f64 = 1e-7,
        /// How often the polynomial is applied.
        ns_steps: usize = 5,
        /// How the rate follows the shape of a matrix.
        adjust_lr_fn: AdjustLr = AdjustLr::Default,
    }
    kept {}
    state Momentum, step step_all;

    /// Muon (Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024): steps along the momentum
    /// made orthogonal by a Newton-Schulz iteration in `bfloat16`. For the matrices of hidden layers; other parameters go
    /// into an optimizer of their own.
    Muon {}
}

/// How the rate of [`Muon`] follows the shape of a matrix with so many rows (outputs) and columns (inputs).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AdjustLr {
    /// As nothing was said: [`AdjustLr::Original`].
    #[default]
    Default,
    /// Times `sqrt(max(1, rows / columns))`.
    Original,
    /// Times `0.2 sqrt(max(rows, columns))`: steps as large as AdamW's, whose rates can be taken over.
    MatchRmsAdamw,
    /// Times `sqrt(rows / columns)`.
    SpectralUnclamped,
}

/// The names that PyTorch has for them.
const ADJUSTMENTS: [(AdjustLr, &str); 3] = [
    (AdjustLr::Original, "original"),
    (AdjustLr::MatchRmsAdamw, "match_rms_adamw"),
    (AdjustLr::SpectralUnclamped, "spectral_unclamped"),
];

impl Field for AdjustLr {
    fn save(&self) -> StateValue {
        ADJUSTMENTS.iter().find(|(a, _)| a == self).map(|(_, name)| *name).into()
    }

    fn load(value: &StateValue) -> Option<AdjustLr> {
        if *value == StateValue::None {
            return Some(AdjustLr::Default);
        }
        ADJUSTMENTS.iter().find(|(_, name)| value.text() == Some(name)).map(|(a, _)| *a)
    }
}

impl Rules for MuonOptions {
    fn problem(&self) -> Option<String> {
        let small = |what: &str, value: f64| {
            (!(0.0..=f64::INFINITY).contains(&value))
                .then(|| format!("{what} should be >= 0 but is: {value}"))
        };
        let many = self.ns_steps >= 100;
        small("Learning rate", self.lr)
            .or_else(|| small("momentum", self.momentum))
            .or_else(|| small("weight decay", self.weight_decay))
            .or_else(|| {
                many.then(|| "Number of steps must be less than 100 for computational efficiency".to_owned())
            })
    }

    fn refuses(&self, param: &Tensor) -> Option<String> {
        (param.rank() != 2).then(|| {
            format!(
                "Muon only supports 2D parameters whereas we found a parameter with size: {:?}",
                param.dims()
            )
        })
    }
}

impl MuonOptions {
    fn adjusted_lr(&self, rows: f64, columns: f64) -> f64 {
        self.lr
            * match self.adjust_lr_fn {
                AdjustLr::MatchRmsAdamw => 0.2 * rows.max(columns).sqrt(),
                AdjustLr::SpectralUnclamped => (rows / columns).sqrt(),
                AdjustLr::Default | AdjustLr::Original => (rows / columns).max(1.0).sqrt(),
            }
    }

    /// A matrix with nearly the singular vectors of `m` and singular values near 1, in `bfloat16`.
    fn orthogonal(&self, m: &Tensor) -> Result<Tensor> {
        let (a, b, c) = self.ns_coefficients;
        let tall = m.size(0)? > m.size(1)?;
        let mut x = m.to_dtype(DType::BF16)?;
        if tall {
            x = x.t()?;
        }
        x = x.div(&x.vector_norm(2.0, &[], false)?.clamp_min(self.eps)?)?;
        for _ in 0..self.ns_steps {
            let gram = x.matmul(&x.t()?)?;
            let update = gram.addmm(&gram, &gram, b, c)?;
            x = x.addmm(&update, &x, a, 1.0)?;
        }
        if tall { x.t() } else { Ok(x) }
    }
}

/// The momentum of a parameter.
pub(crate) struct Momentum(RawTensor);

impl State for Momentum {
    type Options = MuonOptions;

    fn save(&self) -> Result<Vec<(&'static str, StateValue)>> {
        Ok(vec![("momentum_buffer", tensor_value(&self.0))])
    }

    fn load(saved: &Saved<'_>) -> Result<Option<Momentum>> {
        Ok(saved.tensor("momentum_buffer")?.map(Momentum))
    }
}

fn step_all(groups: &mut Groups<MuonOptions, Momentum>) -> Result<()> {
    composed::step_all(groups, |o, param, grad, before| {
        let buffer = match before {
            Some(state) => Tensor::from_raw(state.0.clone()),
            None => grad.zeros_like()?,
        };
        let buffer = buffer.lerp(&grad, 1.0 - o.momentum)?;
        let along = if o.nesterov { grad.lerp(&buffer, o.momentum)? } else { buffer.clone() };
        let along = o.orthogonal(&along)?.to_dtype(param.dtype())?;
        let lr = o.adjusted_lr(param.size(0)? as f64, param.size(1)? as f64);
        let moved = param.mul(1.0 - o.lr * o.weight_decay)?.sub(&along.mul(lr)?)?;
        Ok(Update { param: moved, state: Momentum(composed::own(&buffer)?) })
    })
}
