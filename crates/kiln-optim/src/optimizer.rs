//! [`Optimizer`]: what all optimizers can do, and the form in which their state is saved.

use std::collections::BTreeMap;

use kiln_autograd::{Result, Tensor};

/// Changes parameters by their gradients.
///
/// Parameters are in groups, each with options of its own; groups and parameters are numbered from 0.
pub trait Optimizer: Send {
    /// Changes every parameter that has a gradient.
    ///
    /// # Errors
    /// The options make no sense, see [`Optimizer::check`]; a gradient does not fit its parameter.
    fn step(&mut self) -> Result<()>;

    /// All parameters, group by group.
    fn parameters(&self) -> Vec<Tensor>;

    /// How many groups there are.
    fn num_groups(&self) -> usize;

    /// The options of a group, under PyTorch's names; none for a group that there is not.
    fn options(&self, group: usize) -> Vec<(String, OptionValue)>;

    /// Sets one option of a group. A name that the optimizer does not know is kept and saved.
    ///
    /// # Errors
    /// There is no such group, or the value is of the wrong kind.
    fn set_option(&mut self, group: usize, name: &str, value: OptionValue) -> Result<()>;

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
    fn option(&self, group: usize, name: &str) -> Option<OptionValue> {
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
    fn set_lr(&mut self, group: usize, lr: f64) -> Result<()> {
        self.set_option(group, "lr", OptionValue::Float(lr))
    }
}

/// The value of an option.
#[derive(Clone, Debug, PartialEq)]
pub enum OptionValue {
    /// Not set.
    None,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
    /// Several values, as the two decays of Adam.
    List(Vec<OptionValue>),
}

impl OptionValue {
    /// The value as a number, if it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            OptionValue::Float(x) => Some(*x),
            OptionValue::Int(n) => Some(*n as f64),
            OptionValue::Bool(b) => Some(*b as u8 as f64),
            _ => None,
        }
    }

    /// The value as a truth value, if it is one.
    pub fn flag(&self) -> Option<bool> {
        match self {
            OptionValue::Bool(b) => Some(*b),
            _ => None,
        }
    }
}

impl From<f64> for OptionValue {
    fn from(x: f64) -> OptionValue {
        OptionValue::Float(x)
    }
}

impl From<bool> for OptionValue {
    fn from(b: bool) -> OptionValue {
        OptionValue::Bool(b)
    }
}

impl From<(f64, f64)> for OptionValue {
    fn from((a, b): (f64, f64)) -> OptionValue {
        OptionValue::List(vec![a.into(), b.into()])
    }
}

/// What an optimizer saves.
#[derive(Clone, Default)]
pub struct OptimizerState {
    /// By the number of the parameter: named tensors. Steps are counted in a tensor without axes, as PyTorch does.
    pub state: BTreeMap<usize, Vec<(String, Tensor)>>,
    /// The options of each group, and the numbers of its parameters.
    pub param_groups: Vec<GroupState>,
}

/// A group of parameters as it is saved.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupState {
    /// The options under PyTorch's names.
    pub options: Vec<(String, OptionValue)>,
    /// The numbers of the parameters.
    pub params: Vec<usize>,
}
