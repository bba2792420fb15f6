//! [`Optimizer`]: what all optimizers can do, and the form in which their state is saved.

use std::collections::BTreeMap;

use kiln_autograd::{Error, Here, Result, Tensor, enable_grad};

use crate::value::StateValue;

/// Changes parameters by their gradients.
///
/// Parameters are in groups, each with options of its own; groups and parameters are numbered from 0.
pub trait Optimizer: Send {
    /// Changes every parameter that has a gradient.
    ///
    /// # Errors
    /// The options make no sense, see [`Optimizer::check`]; a gradient does not fit its parameter; the optimizer needs a
    /// closure, as [`LBFGS`](crate::LBFGS) does.
    fn step(&mut self) -> Result<()>;

    /// Calls a closure that clears the gradients, computes the loss, runs backward and returns the loss, then steps, and
    /// gives the loss (`optimizer.step(closure)`). Optimizers that search along a line call it several times; what they
    /// give is the loss of the first call.
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// use kiln_optim::{LBFGS, Optimizer};
    /// # fn main() -> kiln_autograd::Result<()> {
    /// let w = Tensor::from_vec(vec![3.0f64, -2.0], [2])?.requires_grad_(true)?;
    /// let mut optimizer = LBFGS::new([w.clone()], 1.0).line_search_fn("strong_wolfe");
    /// let loss = optimizer.step_with(&mut || {
    ///     w.zero_grad();
    ///     let loss = w.square()?.sum()?;
    ///     loss.backward()?;
    ///     Ok(loss)
    /// })?;
    /// assert_eq!(loss.to_f64()?, 13.0);
    /// assert!(w.square()?.sum()?.to_f64()? < 1e-12);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of the closure and of [`Optimizer::step`].
    #[track_caller]
    fn step_with(&mut self, closure: &mut dyn FnMut() -> Result<Tensor>) -> Result<Tensor> {
        let loss = enable_grad(closure).here()?;
        self.step().here()?;
        Ok(loss)
    }

    /// All parameters, group by group.
    fn parameters(&self) -> Vec<Tensor>;

    /// How many groups there are.
    fn num_groups(&self) -> usize;

    /// The options of a group, under PyTorch's names; none for a group that there is not.
    fn options(&self, group: usize) -> Vec<(String, StateValue)>;

    /// Sets one option of a group. A name that the optimizer does not know is kept and saved.
    ///
    /// # Errors
    /// There is no such group, or the value is of the wrong kind.
    fn set_option(&mut self, group: usize, name: &str, value: StateValue) -> Result<()>;

    /// The state and the options, as PyTorch saves them. Tensors share memory with the optimizer's.
    ///
    /// # Errors
    /// The memory is not there.
    fn state_dict(&self) -> Result<OptimizerState>;

    /// Goes on from a saved state, PyTorch's too; all of it is loaded or nothing.
    ///
    /// # Errors
    /// Groups, their sizes, shapes or kinds of values differ.
    fn load_state_dict(&mut self, state: &OptimizerState) -> Result<()>;

    /// Whether the options make sense.
    ///
    /// # Errors
    /// They do not; there are no parameters, one is there twice or is no leaf.
    fn check(&self) -> Result<()>;

    /// Forgets the gradients of all parameters.
    fn zero_grad(&self) {
        self.parameters().iter().for_each(Tensor::zero_grad);
    }

    /// One option of a group.
    fn option(&self, group: usize, name: &str) -> Option<StateValue> {
        self.options(group).into_iter().find(|(n, _)| n == name).map(|(_, value)| value)
    }

    /// The learning rate of a group; NaN for a group that there is not.
    fn lr(&self, group: usize) -> f64 {
        self.option(group, "lr").and_then(|v| v.number()).unwrap_or(f64::NAN)
    }

    /// Sets the learning rate of a group.
    ///
    /// # Errors
    /// There is no such group.
    #[track_caller]
    fn set_lr(&mut self, group: usize, lr: f64) -> Result<()> {
        self.set_option(group, "lr", StateValue::Float(lr)).here()
    }
}

/// What an optimizer saves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OptimizerState {
    /// By the number of the parameter: named values. Steps are counted in a tensor without axes, as PyTorch does.
    pub state: BTreeMap<usize, Vec<(String, StateValue)>>,
    /// The options of each group, and the numbers of its parameters.
    pub param_groups: Vec<GroupState>,
}

/// A group of parameters as it is saved.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupState {
    /// The options under PyTorch's names.
    pub options: Vec<(String, StateValue)>,
    /// The numbers of the parameters.
    pub params: Vec<usize>,
}

impl OptimizerState {
    /// The state as the nested dictionary that PyTorch writes into files: `state` by the numbers of the parameters, and
    /// `param_groups`, whose options stand beside `params`.
    pub fn to_value(&self) -> StateValue {
        let named = |entries: &[(String, StateValue)]| -> Vec<(StateValue, StateValue)> {
            entries.iter().map(|(name, value)| (name.as_str().into(), value.clone())).collect()
        };
        let number = |n: &usize| StateValue::Int(*n as i64);
        let state = self.state.iter().map(|(n, entries)| (number(n), StateValue::Dict(named(entries))));
        let groups = self.param_groups.iter().map(|group| {
            let mut entries = named(&group.options);
            let params: Vec<StateValue> = group.params.iter().map(number).collect();
            entries.push(("params".into(), params.into()));
            StateValue::Dict(entries)
        });
        StateValue::dict([
            ("state", StateValue::Dict(state.collect())),
            ("param_groups", StateValue::List(groups.collect())),
        ])
    }

    /// The state from [`OptimizerState::to_value`]'s form.
    ///
    /// # Errors
    /// The value is no such dictionary.
    #[track_caller]
    pub fn from_value(value: &StateValue) -> Result<OptimizerState> {
        let wrong = |what: &str| Error::value("load_state_dict", format!("an optimizer's state has {what}"));
        let named = |entries: &[(StateValue, StateValue)]| -> Result<Vec<(String, StateValue)>> {
            let named = entries.iter().map(|(key, value)| Some((key.text()?.to_owned(), value.clone())));
            named.collect::<Option<_>>().ok_or_else(|| wrong("texts as keys of its entries"))
        };
        let number = |key: &StateValue| {
            let n = key.int().and_then(|n| usize::try_from(n).ok());
            n.ok_or_else(|| wrong("numbers for its parameters"))
        };
        let (Some(StateValue::Dict(state)), Some(StateValue::List(groups))) =
            (value.get("state"), value.get("param_groups"))
        else {
            let found: Vec<&str> = match value {
                StateValue::Dict(entries) => entries.iter().filter_map(|(key, _)| key.text()).collect(),
                _ => Vec::new(),
            };
            return Err(wrong(&format!("the entries 'state' and 'param_groups'; found were {found:?}")));
        };
        let mut out = OptimizerState::default();
        for (key, entries) in state {
            let StateValue::Dict(entries) = entries else { return Err(wrong("a dictionary per parameter")) };
            out.state.insert(number(key).here()?, named(entries).here()?);
        }
        for group in groups {
            let (StateValue::Dict(entries), Some(params)) = (group, group.get("params")) else {
                return Err(wrong("params in every group"));
            };
            let params = params.list().ok_or_else(|| wrong("a list of params in every group")).here()?;
            let mut options = named(entries).here()?;
            options.retain(|(name, _)| name != "params");
            out.param_groups.push(GroupState {
                options,
                params: params.iter().map(number).collect::<Result<_>>().here()?,
            });
        }
        Ok(out)
    }
}
