//! What L-BFGS remembers, and the direction that follows from it.

use kiln_autograd::{DType, Error, Result, Tensor};

use super::{LbfgsOptions, scalar};
use crate::groups::{Saved, State};
use crate::value::StateValue;

/// The changes of the last iterations. Vectors are never changed in place, so that a copy of the memory is cheap.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    pub(super) evaluations: u64,
    pub(super) iterations: u64,
    /// The length of the last step.
    pub(super) length: f64,
    last: Option<Last>,
    /// The changes, oldest first.
    changes: Vec<Change>,
    /// The factors of the last recursion, which PyTorch saves.
    factors: Vec<Option<f64>>,
    /// The curvature that the recursion starts from.
    diagonal: f64,
}

/// The last iteration.
#[derive(Clone)]
struct Last {
    direction: Tensor,
    gradient: Tensor,
    loss: f64,
}

/// A change of the gradient, of the parameters, and one over their product.
#[derive(Clone)]
struct Change {
    gradient: Tensor,
    params: Tensor,
    ro: f64,
}

/// A number as it is in the dtype of the vectors.
fn rounded(x: f64, dtype: DType) -> f64 {
    if dtype == DType::F64 { x } else { f64::from(x as f32) }
}

impl Memory {
    /// Takes in what changed since the last iteration, and gives the direction of the next (Nocedal and Wright, algorithm
    /// 7.4).
    pub(super) fn direction(&mut self, gradient: &Tensor, history: usize) -> Result<Tensor> {
        let Some(last) = &self.last else {
            (self.diagonal, self.changes) = (1.0, Vec::new());
            return gradient.neg();
        };
        let dtype = gradient.dtype();
        let change = gradient.sub(&last.gradient)?;
        let moved = last.direction.mul(self.length)?;
        let product = change.dot(&moved)?.to_f64()?;
        if product > 1e-10 {
            // A memory that was loaded may be longer than the options now say.
            let surplus = (self.changes.len() + 1).saturating_sub(history.max(1));
            self.changes.drain(..surplus.min(self.changes.len()));
            let ro = rounded(1.0 / product, dtype);
            self.diagonal = rounded(product / change.dot(&change)?.to_f64()?, dtype);
            self.changes.push(Change { gradient: change, params: moved, ro });
        }
        if self.factors.len() < history {
            self.factors.resize(history, None);
        }
        let mut along = gradient.neg()?;
        let mut factors = vec![0.0; self.changes.len()];
        for (factor, change) in factors.iter_mut().zip(&self.changes).rev() {
            *factor = rounded(change.params.dot(&along)?.to_f64()? * change.ro, dtype);
            along = along.sub(&change.gradient.mul(*factor)?)?;
        }
        along = along.mul(self.diagonal)?;
        for (factor, change) in factors.iter().zip(&self.changes) {
            let back = rounded(change.gradient.dot(&along)?.to_f64()? * change.ro, dtype);
            along = along.add(&change.params.mul(factor - back)?)?;
        }
        for (kept, factor) in self.factors.iter_mut().zip(factors) {
            *kept = Some(factor);
        }
        Ok(along)
    }

    /// Remembers an iteration before its step.
    pub(super) fn remember(&mut self, direction: &Tensor, gradient: &Tensor, length: f64, loss: f64) {
        self.length = length;
        self.last = Some(Last { direction: direction.clone(), gradient: gradient.clone(), loss });
    }
}

impl State for Memory {
    type Options = LbfgsOptions;

    fn save(&self) -> Result<Vec<(&'static str, StateValue)>> {
        let mut out = vec![
            ("func_evals", StateValue::Int(self.evaluations as i64)),
            ("n_iter", StateValue::Int(self.iterations as i64)),
        ];
        let Some(last) = &self.last else { return Ok(out) };
        let dtype = last.gradient.dtype();
        let numbers = |numbers: &mut dyn Iterator<Item = Option<f64>>| -> Result<StateValue> {
            let values = numbers.map(|n| n.map_or(Ok(StateValue::None), |n| scalar(n, dtype)));
            Ok(values.collect::<Result<Vec<_>>>()?.into())
        };
        if !self.factors.is_empty() {
            out.push(("al", numbers(&mut self.factors.iter().copied())?));
        }
        let vectors = |part: fn(&Change) -> &Tensor| -> StateValue {
            self.changes.iter().map(|c| part(c).clone().into()).collect::<Vec<_>>().into()
        };
        out.extend([
            ("d", last.direction.clone().into()),
            ("t", self.length.into()),
            ("old_dirs", vectors(|c| &c.gradient)),
            ("old_stps", vectors(|c| &c.params)),
            ("ro", numbers(&mut self.changes.iter().map(|c| Some(c.ro)))?),
            ("H_diag", scalar(self.diagonal, dtype)?),
            ("prev_flat_grad", last.gradient.clone().into()),
            ("prev_loss", last.loss.into()),
        ]);
        Ok(out)
    }

    fn load(saved: &Saved<'_>) -> Result<Option<Memory>> {
        if saved.is_empty() {
            return Ok(None);
        }
        let wrong = |what: String| Error::value("load_state_dict", format!("the state of LBFGS has {what}"));
        let vector = |name: &str, value: &StateValue| match value {
            StateValue::Tensor(t) if t.rank() == 1 && t.dtype().is_float() => t.detach().copy(),
            other => Err(wrong(format!("no vector {name}, but {other:?}"))),
        };
        let list = |name: &str| match saved.get(name) {
            None => Ok(Vec::new()),
            Some(StateValue::List(values)) => Ok(values.clone()),
            Some(other) => Err(wrong(format!("no list {name}, but {other:?}"))),
        };
        let mut memory = Memory {
            evaluations: saved.number("func_evals")?.max(0.0) as u64,
            iterations: saved.number("n_iter")?.max(0.0) as u64,
            factors: list("al")?.iter().map(StateValue::number).collect(),
            ..Memory::default()
        };
        let (Some(direction), Some(gradient)) = (saved.get("d"), saved.get("prev_flat_grad")) else {
            // A step that ended where it began.
            return Ok(Some(memory));
        };
        let last = Last {
            direction: vector("d", direction)?,
            gradient: vector("prev_flat_grad", gradient)?,
            loss: saved.number("prev_loss")?,
        };
        let (gradients, params, ros) = (list("old_dirs")?, list("old_stps")?, list("ro")?);
        if gradients.len() != params.len() || gradients.len() != ros.len() {
            return Err(wrong("old_dirs, old_stps and ro of different lengths".to_owned()));
        }
        for ((g, p), ro) in gradients.iter().zip(&params).zip(&ros) {
            let ro = ro.number().ok_or_else(|| wrong(format!("{ro:?} for a number in ro")))?;
            memory.changes.push(Change {
                gradient: vector("old_dirs", g)?,
                params: vector("old_stps", p)?,
                ro,
            });
        }
        let n = last.gradient.numel();
        let vectors = memory.changes.iter().flat_map(|c| [&c.gradient, &c.params]);
        if vectors.chain([&last.direction]).any(|t| t.numel() != n) {
            return Err(wrong("vectors of different lengths".to_owned()));
        }
        memory.length = saved.number("t")?;
        memory.diagonal = saved.number("H_diag")?;
        memory.last = Some(last);
        Ok(Some(memory))
    }
}
