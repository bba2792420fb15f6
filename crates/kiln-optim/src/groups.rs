//! Groups of parameters with options and state: what all optimizers are made of.

use kiln_autograd::kiln_ops::{self, RawTensor};
use kiln_autograd::{Error, Result, Shape, Tensor, no_grad};

use crate::any_groups::{self as any, AnyGroup, AnyGroups};
use crate::optimizer::OptimizerState;
use crate::value::StateValue;

/// The options of one kind of optimizer, which [`optimizers!`](crate::declare) writes down.
pub(crate) trait Options: Send {
    /// The options under PyTorch's names.
    fn list(&self) -> Vec<(&'static str, StateValue)>;

    /// Options that PyTorch saves and that have no effect here.
    fn without_effect(&self) -> &'static [(&'static str, Option<bool>)];

    /// Sets an option: `Some(false)` when the value is of the wrong kind, `None` when there is no such option.
    fn set(&mut self, name: &str, value: &StateValue) -> Option<bool>;
}

/// What options and parameters must be like.
pub(crate) trait Rules: Options {
    /// What is wrong with the values.
    fn problem(&self) -> Option<String>;

    /// What is wrong with a parameter.
    fn refuses(&self, _param: &Tensor) -> Option<String> {
        None
    }
}

/// The message for a number that has to be at least 0 and is not.
pub(crate) fn negative(what: &str, value: f64) -> Option<String> {
    (!(0.0..=f64::INFINITY).contains(&value)).then(|| format!("Invalid {what}: {value}"))
}

/// The message for a running mean's factor that is not in `[0, 1)`.
pub(crate) fn wrong_betas(betas: (f64, f64)) -> Option<String> {
    let wrong = |i: usize, beta: f64| {
        (!(0.0..1.0).contains(&beta)).then(|| format!("Invalid beta parameter at index {i}: {beta}"))
    };
    wrong(0, betas.0).or_else(|| wrong(1, betas.1))
}

/// What is remembered for one parameter.
pub(crate) trait State: Send + Sized {
    /// The options that go with it.
    type Options;

    /// The content under PyTorch's names.
    fn save(&self) -> Result<Vec<(&'static str, StateValue)>>;

    /// The state from its named content.
    fn load(saved: &Saved<'_>) -> Result<Option<Self>>;

    /// The state of a parameter that has had no step, where PyTorch has one from the beginning.
    fn fresh(_options: &Self::Options, _param: &RawTensor) -> Result<Option<Self>> {
        Ok(None)
    }
}

/// The saved state of one parameter.
pub(crate) struct Saved<'a> {
    param: &'a Tensor,
    entries: &'a [(String, StateValue)],
}

impl Saved<'_> {
    /// An entry; none when it is absent or not set.
    pub(crate) fn get(&self, name: &str) -> Option<&StateValue> {
        let found = self.entries.iter().find(|(n, _)| n == name).map(|(_, value)| value);
        found.filter(|value| **value != StateValue::None)
    }

    /// Whether nothing was saved.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn missing<T>(&self, name: &str) -> Result<T> {
        let names: Vec<&str> = self.entries.iter().map(|(n, _)| n.as_str()).collect();
        Err(Error::value(
            "load_state_dict",
            format!("the state of a parameter has no {name}, only {names:?}"),
        ))
    }

    /// A copy of a saved tensor like the parameter, in its dtype and on its device.
    pub(crate) fn tensor(&self, name: &str) -> Result<Option<RawTensor>> {
        self.tensor_of(name, &self.param.shape())
    }

    /// [`Saved::tensor`] that has to be there.
    pub(crate) fn needed(&self, name: &str) -> Result<RawTensor> {
        self.needed_of(name, &self.param.shape())
    }

    /// A copy of a saved tensor of a shape of its own.
    pub(crate) fn tensor_of(&self, name: &str, shape: &Shape) -> Result<Option<RawTensor>> {
        let Some(saved) = self.get(name) else { return Ok(None) };
        let StateValue::Tensor(saved) = saved else {
            return Err(Error::value(
                "load_state_dict",
                format!("the state {name} must be a tensor, got {saved:?}"),
            ));
        };
        if saved.shape() != *shape {
            return Err(Error::shape(
                "load_state_dict",
                format!(
                    "the state {name} has shape {:?}, {shape:?} goes with its parameter {:?}",
                    saved.shape(),
                    self.param.shape()
                ),
            ));
        }
        let like = self.param;
        let copy = no_grad(|| saved.detach().to_dtype(like.dtype())?.to_device(like.device())?.copy())?;
        let raw = kiln_ops::contiguous(&copy.raw())?;
        Ok(Some(raw))
    }

    /// [`Saved::tensor_of`] that has to be there.
    pub(crate) fn needed_of(&self, name: &str, shape: &Shape) -> Result<RawTensor> {
        self.tensor_of(name, shape)?.map_or_else(|| self.missing(name), Ok)
    }

    /// A saved number, which has to be there.
    pub(crate) fn number(&self, name: &str) -> Result<f64> {
        let Some(value) = self.get(name) else { return self.missing(name) };
        let wrong =
            || Error::value("load_state_dict", format!("the state {name} must be a number, got {value:?}"));
        value.number().ok_or_else(wrong)
    }

    /// The number of steps.
    pub(crate) fn steps(&self) -> Result<u64> {
        Ok(self.number("step")?.max(0.0) as u64)
    }

    pub(crate) fn param(&self) -> &Tensor {
        self.param
    }
}

/// A number as PyTorch saves step counts and the like: single precision, without axes.
pub(crate) fn number_tensor(number: f64) -> Result<StateValue> {
    Ok(Tensor::from_vec(vec![number as f32], Shape::default())?.into())
}

/// A tensor of the state.
pub(crate) fn tensor_value(raw: &RawTensor) -> StateValue {
    Tensor::from_raw(raw.clone()).into()
}

/// Zeros like a parameter, contiguous.
pub(crate) fn zeros_like(param: &RawTensor) -> Result<RawTensor> {
    kiln_ops::full(param.shape(), 0.into(), param.dtype(), param.device())
}

pub(crate) struct Slot<S> {
    pub(crate) param: Tensor,
    pub(crate) state: Option<S>,
}

pub(crate) struct Group<O, S> {
    pub(crate) slots: Vec<Slot<S>>,
    pub(crate) options: O,
    kept: Kept,
}

/// Options that have no effect here, under their names.
pub(crate) type Kept = Vec<(String, StateValue)>;

/// The groups of one optimizer.
pub(crate) struct Groups<O, S> {
    /// The optimizer's name in messages.
    name: &'static str,
    pub(crate) defaults: O,
    pub(crate) groups: Vec<Group<O, S>>,
    /// Whether the parameters have been found to be leaves that are there once.
    checked: bool,
}

impl<O: Rules, S: State<Options = O>> Groups<O, S> {
    /// The groups for what is done with those of any optimizer in the same way.
    pub(crate) fn any(&self) -> &dyn AnyGroups {
        self
    }

    /// [`AnyGroups::check`], whose costly half is done once.
    pub(crate) fn ensure_checked(&mut self) -> Result<()> {
        self.any().check()?;
        self.checked = true;
        Ok(())
    }
}

impl<O: Rules + Clone, S: State<Options = O>> Groups<O, S> {
    pub(crate) fn new(name: &'static str, params: Vec<Tensor>, options: O) -> Groups<O, S> {
        let mut groups = Groups { name, defaults: options, groups: Vec::new(), checked: false };
        groups.add(params, |_| {});
        groups
    }

    pub(crate) fn add(&mut self, params: Vec<Tensor>, change: impl FnOnce(&mut O)) {
        let mut options = self.defaults.clone();
        change(&mut options);
        let kept = any::kept(&options);
        let slots = params.into_iter().map(|param| Slot { param, state: None }).collect();
        self.groups.push(Group { slots, options, kept });
        self.checked = false;
    }

    /// Changes the options of all groups and of those to come.
    pub(crate) fn change(&mut self, change: &dyn Fn(&mut O)) {
        change(&mut self.defaults);
        self.groups.iter_mut().for_each(|g| change(&mut g.options));
    }

    pub(crate) fn set_option(&mut self, group: usize, name: &str, value: StateValue) -> Result<()> {
        let n = self.groups.len();
        let Some(group) = self.groups.get_mut(group) else {
            return Err(any::no_group(self.name, group, n));
        };
        any::set(group, self.name, name, value)
    }

    pub(crate) fn load_state_dict(&mut self, saved: &OptimizerState) -> Result<()> {
        self.any().check_sizes(saved)?;
        let mut loaded: Vec<Group<O, S>> = self.groups.iter().map(Group::unused).collect();
        for (group, from) in loaded.iter_mut().zip(&saved.param_groups) {
            any::load(group, self.name, from, saved)?;
        }
        self.groups = loaded;
        Ok(())
    }
}

impl<O: Clone, S> Group<O, S> {
    /// The group without what is remembered.
    fn unused(&self) -> Group<O, S> {
        let slots = self.slots.iter().map(|slot| Slot { param: slot.param.clone(), state: None }).collect();
        Group { slots, options: self.options.clone(), kept: self.kept.clone() }
    }
}

impl<O: Rules, S: State<Options = O>> AnyGroups for Groups<O, S> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn checked(&self) -> bool {
        self.checked
    }

    fn len(&self) -> usize {
        self.groups.len()
    }

    fn group(&self, i: usize) -> Option<&dyn AnyGroup> {
        self.groups.get(i).map(|group| group as &dyn AnyGroup)
    }
}

impl<O: Rules, S: State<Options = O>> AnyGroup for Group<O, S> {
    fn options(&self) -> &dyn Rules {
        &self.options
    }

    fn kept(&self) -> &Kept {
        &self.kept
    }

    fn changeable(&mut self) -> (&mut dyn Options, &mut Kept) {
        (&mut self.options, &mut self.kept)
    }

    fn len(&self) -> usize {
        self.slots.len()
    }

    fn param(&self, k: usize) -> &Tensor {
        &self.slots[k].param
    }

    fn save(&self, k: usize) -> Result<Option<Vec<(&'static str, StateValue)>>> {
        let slot = &self.slots[k];
        match &slot.state {
            Some(state) => state.save().map(Some),
            None => S::fresh(&self.options, &slot.param.raw())?.map(|fresh| fresh.save()).transpose(),
        }
    }

    fn load(&mut self, k: usize, entries: &[(String, StateValue)]) -> Result<()> {
        let slot = &mut self.slots[k];
        slot.state = S::load(&Saved { param: &slot.param, entries })?;
        Ok(())
    }
}
