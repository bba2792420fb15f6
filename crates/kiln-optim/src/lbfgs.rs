//! [`LBFGS`].

mod line_search;
mod memory;

use kiln_autograd::{DType, Error, Here, Result, Tensor, enable_grad, no_grad};

use crate::declare::delegate;
use crate::groups::{Groups, Options, Rules, negative};
use crate::value::{Field, StateValue};
use line_search::{Point, strong_wolfe};
use memory::Memory;

/// The options of [`LBFGS`].
#[derive(Clone, Debug, PartialEq)]
pub struct LbfgsOptions {
    /// The learning rate: the length of a step along the direction found, or where the line search starts.
    pub lr: f64,
    /// How many directions a step tries at most.
    pub max_iter: usize,
    /// How often a step calls the closure at most; none: 5/4 of `max_iter`.
    pub max_eval: Option<usize>,
    /// A gradient whose largest element is not above this ends a step.
    pub tolerance_grad: f64,
    /// Changes of the loss or of parameters below this end a step.
    pub tolerance_change: f64,
    /// So many changes of the gradient are remembered.
    pub history_size: usize,
    /// The line search: none, or `"strong_wolfe"`.
    pub line_search_fn: Option<String>,
    /// Climbs and does not descend.
    pub maximize: bool,
}

impl Default for LbfgsOptions {
    /// PyTorch's defaults.
    fn default() -> LbfgsOptions {
        LbfgsOptions {
            lr: 1.0,
            max_iter: 20,
            max_eval: None,
            tolerance_grad: 1e-7,
            tolerance_change: 1e-9,
            history_size: 100,
            line_search_fn: None,
            maximize: false,
        }
    }
}

impl LbfgsOptions {
    fn evaluations(&self) -> usize {
        self.max_eval.unwrap_or(self.max_iter.saturating_mul(5) / 4)
    }
}

impl Options for LbfgsOptions {
    fn list(&self) -> Vec<(&'static str, StateValue)> {
        vec![
            ("lr", self.lr.save()),
            ("max_iter", self.max_iter.save()),
            ("max_eval", self.evaluations().save()),
            ("tolerance_grad", self.tolerance_grad.save()),
            ("tolerance_change", self.tolerance_change.save()),
            ("history_size", self.history_size.save()),
            ("line_search_fn", self.line_search_fn.save()),
            ("maximize", self.maximize.save()),
        ]
    }

    fn without_effect(&self) -> &'static [(&'static str, Option<bool>)] {
        &[]
    }

    fn set(&mut self, name: &str, value: &StateValue) -> Option<bool> {
        fn put<T: Field>(to: &mut T, value: &StateValue) -> bool {
            T::load(value).map(|x| *to = x).is_some()
        }
        Some(match name {
            "lr" => put(&mut self.lr, value),
            "max_iter" => put(&mut self.max_iter, value),
            "max_eval" => usize::load(value).map(|n| self.max_eval = Some(n)).is_some(),
            "tolerance_grad" => put(&mut self.tolerance_grad, value),
            "tolerance_change" => put(&mut self.tolerance_change, value),
            "history_size" => put(&mut self.history_size, value),
            "line_search_fn" => put(&mut self.line_search_fn, value),
            "maximize" => put(&mut self.maximize, value),
            _ => return None,
        })
    }
}

impl Rules for LbfgsOptions {
    fn problem(&self) -> Option<String> {
        let search = self.line_search_fn.as_deref().is_some_and(|name| name != "strong_wolfe");
        negative("learning rate", self.lr)
            .or_else(|| search.then(|| "only 'strong_wolfe' is supported as line_search_fn".to_owned()))
    }
}

/// L-BFGS (Nocedal and Wright, "Numerical optimization", 2006, chapters 3 and 7): a quasi-Newton method that remembers
/// the last changes of parameters and gradient. All parameters are one vector, in one group; the whole data set should be
/// behind the closure of [`Optimizer::step_with`](crate::Optimizer::step_with), which a step calls several times.
///
/// ```
/// use kiln_autograd::Tensor;
/// use kiln_optim::{LBFGS, Optimizer};
/// # fn main() -> kiln_autograd::Result<()> {
/// // Rosenbrock's valley: the lowest point is (1, 1).
/// let w = Tensor::from_vec(vec![-1.2f64, 1.0], [2])?.requires_grad_(true)?;
/// let mut optimizer = LBFGS::new([w.clone()], 1.0).max_iter(50).line_search_fn("strong_wolfe");
/// optimizer.step_with(&mut || {
///     w.zero_grad();
///     let (x, y) = (w.select(0, 0)?, w.select(0, 1)?);
///     let loss = y.sub(&x.square()?)?.square()?.mul(100.0)?.add(&x.rsub(1.0)?.square()?)?;
///     loss.backward()?;
///     Ok(loss)
/// })?;
/// let w = w.to_vec::<f64>()?;
/// assert!((w[0] - 1.0).abs() < 1e-4 && (w[1] - 1.0).abs() < 1e-4);
/// # Ok(())
/// # }
/// ```
pub struct LBFGS {
    groups: Groups<LbfgsOptions, Memory>,
}

macro_rules! builders {
    ($($(#[$doc:meta])* $field:ident: $ty:ty => |$value:ident| $set:expr;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $field(mut self, $value: $ty) -> LBFGS {
            self.groups.change(&|o| o.$field = $set);
            self
        }
    )*};
}

impl LBFGS {
    /// The optimizer with PyTorch's defaults for all but the learning rate, which is 1 there.
    pub fn new(params: impl IntoIterator<Item = Tensor>, lr: f64) -> LBFGS {
        let options = LbfgsOptions { lr, ..LbfgsOptions::default() };
        LBFGS { groups: Groups::new("LBFGS", params.into_iter().collect(), options) }
    }

    builders! {
        /// How many directions a step tries at most; 20 by default.
        max_iter: usize => |n| n;
        /// How often a step calls the closure at most; 5/4 of `max_iter` by default.
        max_eval: usize => |n| Some(n);
        /// A gradient whose largest element is not above this ends a step; 1e-7 by default.
        tolerance_grad: f64 => |x| x;
        /// Changes of the loss or of parameters below this end a step; 1e-9 by default.
        tolerance_change: f64 => |x| x;
        /// So many changes of the gradient are remembered; 100 by default.
        history_size: usize => |n| n;
        /// The line search: `"strong_wolfe"`; there is none by default.
        line_search_fn: &str => |name| Some(name.to_owned());
        /// Climbs and does not descend.
        maximize: bool => |climb| climb;
    }
}

delegate! {
    LBFGS,
    |_groups| Err(Error::value("LBFGS", "needs a closure that evaluates the model again: call step_with")),
    #[track_caller]
    fn step_with(&mut self, closure: &mut dyn FnMut() -> Result<Tensor>) -> Result<Tensor> {
        self.groups.ensure_checked().here()?;
        let group = &mut self.groups.groups[0];
        let params: Vec<Tensor> = group.slots.iter().map(|slot| slot.param.clone()).collect();
        let before = no_grad(|| params.iter().map(|p| p.detach().copy()).collect::<Result<Vec<_>>>()).here()?;
        let mut memory = group.slots[0].state.clone().unwrap_or_default();
        let mut problem = Problem { params: &params, maximize: group.options.maximize, closure };
        match no_grad(|| problem.step(&group.options, &mut memory)) {
            Ok(loss) => {
                group.slots[0].state = Some(memory);
                Ok(loss)
            }
            Err(error) => {
                // As if there had been no step: a model between two steps of a search is of no use.
                no_grad(|| problem.set(&before)).here()?;
                Err(error).here()
            }
        }
    }
}

/// The largest magnitude.
fn largest(t: &Tensor) -> Result<f64> {
    if t.numel() == 0 {
        return Ok(0.0);
    }
    t.abs()?.max()?.to_f64()
}

/// The parameters as one vector, and the loss as a function of it.
pub(crate) struct Problem<'a> {
    params: &'a [Tensor],
    maximize: bool,
    closure: &'a mut dyn FnMut() -> Result<Tensor>,
}

impl Problem<'_> {
    /// The loss as the closure gives it, and to be made small.
    fn evaluate(&mut self) -> Result<(Tensor, f64)> {
        let loss = enable_grad(&mut *self.closure)?;
        let value = loss.detach().to_f64()?;
        Ok((loss, if self.maximize { -value } else { value }))
    }

    /// All gradients in one vector.
    fn gradient(&self) -> Result<Tensor> {
        let mut parts = Vec::new();
        for p in self.params {
            parts.push(match p.grad() {
                Some(grad) => grad.detach().reshape([-1])?,
                None => p.detach().zeros_like()?.reshape([-1])?,
            });
        }
        let flat = Tensor::cat(&parts.iter().collect::<Vec<_>>(), 0)?;
        if self.maximize { flat.neg() } else { Ok(flat) }
    }

    /// Moves the parameters by `t` along `direction`.
    fn add(&self, t: f64, direction: &Tensor) -> Result<()> {
        let mut at = 0;
        for p in self.params {
            let n = p.numel() as i64;
            let part = direction.narrow(0, at, n)?.reshape(p.shape())?.to_dtype(p.dtype())?;
            p.add_(&part.mul(t)?)?;
            at += n;
        }
        Ok(())
    }

    fn set(&self, values: &[Tensor]) -> Result<()> {
        self.params.iter().zip(values).try_for_each(|(p, value)| p.copy_(value))
    }

    /// The loss and its gradient `t` along `direction` from `start`, where the parameters are again afterwards.
    fn look(&mut self, start: &[Tensor], t: f64, direction: &Tensor) -> Result<(f64, Tensor)> {
        self.add(t, direction)?;
        let (_, loss) = self.evaluate()?;
        let gradient = self.gradient()?;
        self.set(start)?;
        Ok((loss, gradient))
    }

    /// One step: the loss at its start.
    fn step(&mut self, o: &LbfgsOptions, memory: &mut Memory) -> Result<Tensor> {
        let (first, mut loss) = self.evaluate()?;
        memory.evaluations += 1;
        let mut used = 1;
        let mut gradient = self.gradient()?;
        if largest(&gradient)? <= o.tolerance_grad {
            return Ok(first);
        }
        for tried in 1..=o.max_iter {
            memory.iterations += 1;
            let direction = memory.direction(&gradient, o.history_size)?;
            let loss_before = loss;
            let start = match memory.iterations {
                1 => o.lr * (1.0 / gradient.abs()?.sum()?.to_f64()?).min(1.0),
                _ => o.lr,
            };
            memory.remember(&direction, &gradient, start, loss);
            let slope = gradient.dot(&direction)?.to_f64()?;
            if slope > -o.tolerance_change {
                break;
            }
            let mut length = start;
            let mut optimal = false;
            let mut evaluations = 0;
            if o.line_search_fn.is_some() {
                let at = self.params.iter().map(|p| p.detach().copy()).collect::<Result<Vec<_>>>()?;
                let here = Point { t: 0.0, loss, gradient: gradient.clone(), slope };
                let limit = o.evaluations().saturating_sub(used);
                let found =
                    strong_wolfe(&mut |t| self.look(&at, t, &direction), here, start, &direction, limit)?;
                (length, loss, gradient, evaluations) =
                    (found.point.t, found.point.loss, found.point.gradient, found.evaluations);
                memory.length = length;
                self.add(length, &direction)?;
                optimal = largest(&gradient)? <= o.tolerance_grad;
            } else {
                self.add(length, &direction)?;
                // The loss after the last change would count for nothing.
                if tried != o.max_iter {
                    (_, loss) = self.evaluate()?;
                    gradient = self.gradient()?;
                    optimal = largest(&gradient)? <= o.tolerance_grad;
                    evaluations = 1;
                }
            }
            used += evaluations;
            memory.evaluations += evaluations as u64;
            let stuck = tried != o.max_iter
                && (largest(&direction.mul(length)?)? <= o.tolerance_change
                    || (loss - loss_before).abs() < o.tolerance_change);
            if used >= o.evaluations() || optimal || stuck {
                break;
            }
        }
        Ok(first)
    }
}

/// A number without axes in the dtype of the vectors.
fn scalar(number: f64, dtype: DType) -> Result<StateValue> {
    Ok(Tensor::from_vec(vec![number], kiln_autograd::Shape::default())?.to_dtype(dtype)?.into())
}
