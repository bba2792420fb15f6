//! [`Adafactor`].

use kiln_autograd::kiln_ops::RawTensor;
use kiln_autograd::{DType, Result, Shape, Tensor};

use crate::composed::{self, Update};
use crate::declare::optimizers;
use crate::groups::{Groups, Rules, Saved, State, number_tensor, tensor_value};
use crate::value::StateValue;

optimizers! {
    /// The options of a group of [`Adafactor`].
    AdafactorOptions, lr = 1e-2, {
        /// The power of the step's number that the running means take of the new: `step^beta2_decay`.
        beta2_decay: f64 = -0.8,
        /// Keeps the variance from zero (none: the dtype's machine epsilon), and the size of steps from vanishing.
        eps: (Option<f64>, f64) = (None, 1e-3),
        /// Updates whose root mean square is above this are scaled down to it.
        d: f64 = 1.0,
        /// The strength of the decay of weights, apart from the gradient.
        weight_decay: f64 = 0.0,
        /// Climbs and does not descend.
        maximize: bool = false,
    }
    kept { foreach = None }
    state Variance, step step_all;

    /// Adafactor (Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost", 2018): of the mean
    /// squares of a matrix it keeps but those of its rows and columns.
    Adafactor {}
}

impl Rules for AdafactorOptions {
    fn problem(&self) -> Option<String> {
        let small = |what: &str, value: f64, least: f64| {
            (!(least..=f64::INFINITY).contains(&value))
                .then(|| format!("{what} should be >= {least} but is: {value}"))
        };
        let rising = !(f64::NEG_INFINITY..=0.0).contains(&self.beta2_decay);
        small("Learning rate", self.lr, 0.0)
            .or_else(|| rising.then(|| format!("beta2_decay should be <= 0 but is: {}", self.beta2_decay)))
            .or_else(|| self.eps.0.and_then(|eps| small("epsilon1", eps, 0.0)))
            .or_else(|| small("epsilon2", self.eps.1, 0.0))
            .or_else(|| small("Clipping threshold d", self.d, 1.0))
            .or_else(|| small("weight_decay", self.weight_decay, 0.0))
    }
}

/// The running means of the squares of a gradient.
pub(crate) struct Variance {
    steps: u64,
    means: Means,
}

enum Means {
    /// Of the rows and the columns of the last two axes.
    Factors(RawTensor, RawTensor),
    /// Of the elements, where there are no two axes.
    Whole(RawTensor),
}

/// The shape of what an axis is averaged away of, counted from the end.
fn reduced(shape: &Shape, from_end: usize) -> Shape {
    let mut sizes = shape.to_vec();
    if let Some(i) = sizes.len().checked_sub(from_end) {
        sizes[i] = 1;
    }
    Shape::new(&sizes)
}

impl State for Variance {
    type Options = AdafactorOptions;

    fn save(&self) -> Result<Vec<(&'static str, StateValue)>> {
        let mut out = vec![("step", number_tensor(self.steps as f64)?)];
        match &self.means {
            Means::Factors(rows, columns) => {
                out.extend([("row_var", tensor_value(rows)), ("col_var", tensor_value(columns))]);
            }
            Means::Whole(all) => out.push(("variance", tensor_value(all))),
        }
        Ok(out)
    }

    fn load(saved: &Saved<'_>) -> Result<Option<Variance>> {
        if saved.is_empty() {
            return Ok(None);
        }
        let shape = saved.param().shape();
        let means = match shape.len() {
            0 | 1 => Means::Whole(saved.needed("variance")?),
            _ => Means::Factors(
                saved.needed_of("row_var", &reduced(&shape, 1))?,
                saved.needed_of("col_var", &reduced(&shape, 2))?,
            ),
        };
        Ok(Some(Variance { steps: saved.steps()?, means }))
    }
}

/// The mean of squares along an axis.
fn mean_square(grad: &Tensor, axis: i64) -> Result<Tensor> {
    grad.vector_norm(2.0, &[axis], true)?.square()?.div(grad.size(axis)? as f64)
}

/// The root of the mean of squares of all elements.
fn root_mean_square(t: &Tensor) -> Result<f64> {
    Ok(t.vector_norm(2.0, &[], false)?.to_f64()? / (t.numel() as f64).sqrt())
}

/// The distance from 1 to the next number.
fn machine_epsilon(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::EPSILON,
        DType::F16 => 2f64.powi(-10),
        DType::BF16 => 2f64.powi(-7),
        _ => f64::from(f32::EPSILON),
    }
}

fn step_all(groups: &mut Groups<AdafactorOptions, Variance>) -> Result<()> {
    composed::step_all(groups, |o, param, grad, before| {
        let grad = if o.maximize { grad.neg()? } else { grad };
        let steps = before.map_or(0, |s| s.steps) + 1;
        let eps = o.eps.0.unwrap_or_else(|| machine_epsilon(param.dtype()));
        let take = libm::pow(steps as f64, o.beta2_decay);
        let size = o.eps.1.max(root_mean_square(param)?) * o.lr.min(1.0 / (steps as f64).sqrt());
        let decayed = match o.weight_decay {
            0.0 => param.clone(),
            rate => param.mul(1.0 - o.lr * rate)?,
        };
        let (variance, means) = if grad.rank() > 1 {
            let (rows, columns) = (mean_square(&grad, -1)?, mean_square(&grad, -2)?);
            let (old_rows, old_columns) = match before.map(|s| &s.means) {
                Some(Means::Factors(r, c)) => (Tensor::from_raw(r.clone()), Tensor::from_raw(c.clone())),
                _ => (rows.zeros_like()?, columns.zeros_like()?),
            };
            let (rows, columns) = (old_rows.lerp(&rows, take)?, old_columns.lerp(&columns, take)?);
            let scale = rows.mean_axes(&[-2], true)?.clamp_min(eps)?;
            let variance = rows.matmul(&columns)?.div(&scale)?;
            (variance, Means::Factors(composed::own(&rows)?, composed::own(&columns)?))
        } else {
            let squares = grad.square()?;
            let old = match before.map(|s| &s.means) {
                Some(Means::Whole(v)) => Tensor::from_raw(v.clone()),
                _ => squares.zeros_like()?,
            };
            let all = old.lerp(&squares, take)?;
            let own = composed::own(&all)?;
            (all, Means::Whole(own))
        };
        let update = variance.clamp_min(eps * eps)?.rsqrt()?.mul(&grad)?;
        // f64::max passes over the NaN of an empty parameter.
        let divisor = (root_mean_square(&update)? / o.d).max(1.0);
        let moved = decayed.sub(&update.mul(size / divisor)?)?;
        Ok(Update { param: moved, state: Variance { steps, means } })
    })
}
