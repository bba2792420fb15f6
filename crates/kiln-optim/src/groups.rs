//! Groups of parameters with options and state: what all optimizers are made of.

use std::collections::{BTreeMap, HashSet};

use kiln_autograd::kiln_ops::{self, RawTensor};
use kiln_autograd::{DType, Error, Result, Shape, Tensor, no_grad};

use crate::optimizer::{GroupState, OptimizerState, OptionValue};

/// The options of one kind of optimizer.
pub(crate) trait Options: Clone + Send {
    /// The optimizer's name in messages.
    const NAME: &'static str;
    /// Options that PyTorch saves and that have no effect here.
    const KEPT: &'static [(&'static str, Option<bool>)];

    /// The options under PyTorch's names, in its order.
    fn list(&self) -> Vec<(&'static str, OptionValue)>;

    /// Sets an option: `Some(false)` when the value is of the wrong kind, `None` when there is no such option.
    fn set(&mut self, name: &str, value: &OptionValue) -> Option<bool>;

    /// What is wrong with the values.
    fn problem(&self) -> Option<String>;
}

/// Writes a number into an option; `false` when the value is none.
pub(crate) fn put_number(to: &mut f64, value: &OptionValue) -> bool {
    value.number().map(|x| *to = x).is_some()
}

/// Writes a truth value into an option; `false` when the value is none.
pub(crate) fn put_flag(to: &mut bool, value: &OptionValue) -> bool {
    value.flag().map(|b| *to = b).is_some()
}

/// The message for a number that has to be at least 0 and is not.
pub(crate) fn negative(what: &str, value: f64) -> Option<String> {
    (!(0.0..=f64::INFINITY).contains(&value)).then(|| format!("Invalid {what}: {value}"))
}

/// What is remembered for one parameter.
pub(crate) trait State: Send + Sized {
    /// The content under PyTorch's names.
    fn save(&self) -> Result<Vec<(&'static str, Tensor)>>;
    /// The state from its named content, of which `take` gives tensors like the parameter and `number` numbers.
    fn load(saved: &Saved<'_>) -> Result<Option<Self>>;
}

/// The saved state of one parameter.
pub(crate) struct Saved<'a> {
    param: &'a Tensor,
    entries: &'a [(String, Tensor)],
}

impl Saved<'_> {
    fn get(&self, name: &str) -> Option<&Tensor> {
        self.entries.iter().find(|(n, _)| n == name).map(|(_, t)| t)
    }

    /// A copy of a saved tensor, in the parameter's dtype and on its device.
    pub(crate) fn tensor(&self, name: &str) -> Result<Option<RawTensor>> {
        let Some(saved) = self.get(name) else { return Ok(None) };
        if saved.shape() != self.param.shape() {
            return Err(Error::shape(
                "load_state_dict",
                format!(
                    "the state {name} has shape {:?}, its parameter {:?}",
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

    /// A saved number.
    pub(crate) fn number(&self, name: &str) -> Result<Option<f64>> {
        self.get(name).map(|t| t.detach().to_f64()).transpose()
    }
}

/// A number as PyTorch saves step counts.
pub(crate) fn count_tensor(steps: u64) -> Result<Tensor> {
    Tensor::from_vec(vec![steps as f32], Shape::default())
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
    kept: Vec<(String, OptionValue)>,
}

/// The groups of one optimizer.
pub(crate) struct Groups<O, S> {
    pub(crate) defaults: O,
    pub(crate) groups: Vec<Group<O, S>>,
    /// Whether the parameters have been found to be leaves that are there once.
    checked: bool,
}

impl<O: Options, S: State> Groups<O, S> {
    pub(crate) fn new(params: impl IntoIterator<Item = Tensor>, options: O) -> Groups<O, S> {
        let mut groups = Groups { defaults: options, groups: Vec::new(), checked: false };
        groups.add(params, |_| {});
        groups
    }

    pub(crate) fn add(&mut self, params: impl IntoIterator<Item = Tensor>, change: impl FnOnce(&mut O)) {
        let mut options = self.defaults.clone();
        change(&mut options);
        let kept = O::KEPT
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.map_or(OptionValue::None, OptionValue::Bool)))
            .collect();
        let slots = params.into_iter().map(|param| Slot { param, state: None }).collect();
        self.groups.push(Group { slots, options, kept });
        self.checked = false;
    }

    /// Changes the options of all groups and of those to come.
    pub(crate) fn change(&mut self, change: impl Fn(&mut O)) {
        change(&mut self.defaults);
        self.groups.iter_mut().for_each(|g| change(&mut g.options));
    }

    pub(crate) fn parameters(&self) -> Vec<Tensor> {
        self.groups.iter().flat_map(|g| g.slots.iter().map(|s| s.param.clone())).collect()
    }

    pub(crate) fn check(&self) -> Result<()> {
        for (i, group) in self.groups.iter().enumerate() {
            if let Some(problem) = group.options.problem() {
                return Err(Error::value(O::NAME, format!("{problem} (group {i})")));
            }
        }
        if self.checked {
            return Ok(());
        }
        let mut seen = HashSet::new();
        for (i, group) in self.groups.iter().enumerate() {
            if group.slots.is_empty() {
                return Err(Error::value(
                    O::NAME,
                    format!("optimizer got an empty parameter list (group {i})"),
                ));
            }
            for (k, slot) in group.slots.iter().enumerate() {
                if !slot.param.is_leaf() {
                    return Err(Error::value(
                        O::NAME,
                        format!("can't optimize a non-leaf Tensor (group {i}, {k})"),
                    ));
                }
                if !slot.param.dtype().is_float() {
                    let dtype = slot.param.dtype();
                    return Err(Error::dtype(
                        O::NAME,
                        format!("parameters are floating point, got {dtype} (group {i}, {k})"),
                    ));
                }
                if !seen.insert(slot.param.id()) {
                    return Err(Error::value(
                        O::NAME,
                        format!(
                            "some parameters appear in more than one parameter group, or twice in one (group {i}, {k})"
                        ),
                    ));
                }
            }
        }
        Ok(())
    }

    /// [`Groups::check`], whose costly half is done once.
    pub(crate) fn ensure_checked(&mut self) -> Result<()> {
        self.check()?;
        self.checked = true;
        Ok(())
    }

    pub(crate) fn options(&self, group: usize) -> Vec<(String, OptionValue)> {
        self.groups.get(group).map_or(Vec::new(), Group::list)
    }

    pub(crate) fn set_option(&mut self, group: usize, name: &str, value: OptionValue) -> Result<()> {
        let n = self.groups.len();
        let Some(group) = self.groups.get_mut(group) else {
            return Err(Error::index(O::NAME, format!("there is no parameter group {group}, only {n}")));
        };
        group.set(name, value)
    }

    pub(crate) fn state_dict(&self) -> Result<OptimizerState> {
        let mut out = OptimizerState::default();
        let mut number = 0;
        for group in &self.groups {
            let mut params = Vec::new();
            for slot in &group.slots {
                if let Some(state) = &slot.state {
                    let entries = state.save()?.into_iter().map(|(name, t)| (name.to_owned(), t)).collect();
                    out.state.insert(number, entries);
                }
                params.push(number);
                number += 1;
            }
            out.param_groups.push(GroupState { options: group.list(), params });
        }
        Ok(out)
    }

    pub(crate) fn load_state_dict(&mut self, saved: &OptimizerState) -> Result<()> {
        const OP: &str = "load_state_dict";
        if saved.param_groups.len() != self.groups.len() {
            return Err(Error::value(
                OP,
                format!(
                    "loaded state dict has a different number of parameter groups: {} for {}",
                    saved.param_groups.len(),
                    self.groups.len()
                ),
            ));
        }
        let empty: BTreeMap<usize, Vec<(String, Tensor)>> = BTreeMap::new();
        let states = if saved.state.is_empty() { &empty } else { &saved.state };
        let mut loaded = Vec::new();
        for (i, (group, from)) in self.groups.iter().zip(&saved.param_groups).enumerate() {
            if from.params.len() != group.slots.len() {
                return Err(Error::value(
                    OP,
                    format!(
                        "loaded state dict contains a parameter group that doesn't match the size of optimizer's group: \
                         {} parameters for {} in group {i}",
                        from.params.len(),
                        group.slots.len()
                    ),
                ));
            }
            let mut fresh =
                Group { slots: Vec::new(), options: group.options.clone(), kept: group.kept.clone() };
            for (name, value) in &from.options {
                fresh.set(name, value.clone())?;
            }
            for (slot, number) in group.slots.iter().zip(&from.params) {
                let state = match states.get(number) {
                    None => None,
                    Some(entries) => S::load(&Saved { param: &slot.param, entries })?,
                };
                fresh.slots.push(Slot { param: slot.param.clone(), state });
            }
            loaded.push(fresh);
        }
        self.groups = loaded;
        Ok(())
    }
}

impl<O: Options, S> Group<O, S> {
    fn list(&self) -> Vec<(String, OptionValue)> {
        let own = self.options.list().into_iter().map(|(name, value)| (name.to_owned(), value));
        own.chain(self.kept.iter().cloned()).collect()
    }

    fn set(&mut self, name: &str, value: OptionValue) -> Result<()> {
        match self.options.set(name, &value) {
            Some(true) => {}
            Some(false) => {
                return Err(Error::value(O::NAME, format!("the option {name} cannot be {value:?}")));
            }
            None => match self.kept.iter_mut().find(|(n, _)| n == name) {
                Some((_, kept)) => *kept = value,
                None => self.kept.push((name.to_owned(), value)),
            },
        }
        Ok(())
    }
}

/// At most as many parameters go into one call: enough to share a parallel section, few enough to be checked in no time.
const BATCH: usize = 32;

/// Parameters that wait for one call of a kernel with the same numbers.
pub(crate) struct Batch<K, const STATE: usize> {
    key: Option<(K, DType)>,
    waiting: Vec<(RawTensor, RawTensor, [RawTensor; STATE])>,
    run: fn(&K, &[kiln_ops::optim::Updated<'_, STATE>]) -> Result<()>,
}

impl<K: PartialEq + Copy, const STATE: usize> Batch<K, STATE> {
    pub(crate) fn new(run: fn(&K, &[kiln_ops::optim::Updated<'_, STATE>]) -> Result<()>) -> Batch<K, STATE> {
        Batch { key: None, waiting: Vec::new(), run }
    }

    /// Adds a parameter; what waits with other numbers, or too much of it, is done first.
    pub(crate) fn add(
        &mut self,
        step: K,
        param: RawTensor,
        grad: RawTensor,
        state: [RawTensor; STATE],
    ) -> Result<()> {
        let key = Some((step, param.dtype()));
        let alike = self.waiting.first().is_none_or(|(p, ..)| p.device() == param.device());
        if self.key != key || !alike || self.waiting.len() == BATCH {
            self.finish()?;
            self.key = key;
        }
        self.waiting.push((param, grad, state));
        Ok(())
    }

    /// Does what waits.
    pub(crate) fn finish(&mut self) -> Result<()> {
        let Some((step, _)) = self.key.take() else { return Ok(()) };
        let waiting = std::mem::take(&mut self.waiting);
        let updated: Vec<_> = waiting
            .iter()
            .map(|(param, grad, state)| kiln_ops::optim::Updated { param, grad, state: state.each_ref() })
            .collect();
        (self.run)(&step, &updated)
    }
}
