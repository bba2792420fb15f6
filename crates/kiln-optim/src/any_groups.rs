//! Groups of parameters as code sees them that is the same for all optimizers: it is compiled once, not for each of them.

use std::collections::HashSet;

use kiln_autograd::{Error, Result, Tensor};

use crate::groups::{Kept, Options, Rules};
use crate::optimizer::{GroupState, OptimizerState};
use crate::value::StateValue;

/// The groups of an optimizer, whatever its options and state are.
pub(crate) trait AnyGroups {
    /// The optimizer's name in messages.
    fn name(&self) -> &'static str;

    /// Whether the parameters have been found to be leaves that are there once.
    fn checked(&self) -> bool;

    /// How many groups there are.
    fn len(&self) -> usize;

    fn group(&self, i: usize) -> Option<&dyn AnyGroup>;
}

/// One group.
pub(crate) trait AnyGroup {
    fn options(&self) -> &dyn Rules;

    /// The options without effect.
    fn kept(&self) -> &Kept;

    /// The options, to be changed, and those without effect.
    fn changeable(&mut self) -> (&mut dyn Options, &mut Kept);

    /// How many parameters there are.
    fn len(&self) -> usize;

    fn param(&self, k: usize) -> &Tensor;

    /// What is remembered for a parameter, or would be from the beginning, under PyTorch's names.
    fn save(&self, k: usize) -> Result<Option<Vec<(&'static str, StateValue)>>>;

    /// Takes over what was saved for a parameter.
    fn load(&mut self, k: usize, entries: &[(String, StateValue)]) -> Result<()>;
}

/// The options without effect of a new group.
pub(crate) fn kept(options: &dyn Options) -> Kept {
    let value = |value: Option<bool>| value.map_or(StateValue::None, StateValue::Bool);
    options.without_effect().iter().map(|(name, flag)| ((*name).to_owned(), value(*flag))).collect()
}

/// Sets an option, or keeps it when the optimizer does not know it.
pub(crate) fn set(
    group: &mut dyn AnyGroup,
    optimizer: &'static str,
    name: &str,
    value: StateValue,
) -> Result<()> {
    let (options, kept) = group.changeable();
    match options.set(name, &value) {
        Some(true) => {}
        Some(false) => {
            return Err(Error::value(optimizer, format!("the option {name} cannot be {value:?}")));
        }
        None => match kept.iter_mut().find(|(n, _)| n == name) {
            Some((_, kept)) => *kept = value,
            None => kept.push((name.to_owned(), value)),
        },
    }
    Ok(())
}

/// Makes a group what was saved; its size is that of the saved one.
pub(crate) fn load(
    group: &mut dyn AnyGroup,
    optimizer: &'static str,
    from: &GroupState,
    saved: &OptimizerState,
) -> Result<()> {
    for (name, value) in &from.options {
        set(group, optimizer, name, value.clone())?;
    }
    for (k, number) in from.params.iter().enumerate() {
        if let Some(entries) = saved.state.get(number) {
            group.load(k, entries)?;
        }
    }
    Ok(())
}

/// The error for a group that there is not.
pub(crate) fn no_group(optimizer: &'static str, group: usize, n: usize) -> Error {
    Error::index(optimizer, format!("there is no parameter group {group}, only {n}"))
}

/// The options of a group under PyTorch's names.
fn list(group: &dyn AnyGroup) -> Vec<(String, StateValue)> {
    let own = group.options().list().into_iter().map(|(name, value)| (name.to_owned(), value));
    own.chain(group.kept().iter().cloned()).collect()
}

impl dyn AnyGroups + '_ {
    fn groups(&self) -> impl Iterator<Item = &dyn AnyGroup> {
        (0..self.len()).filter_map(|i| self.group(i))
    }

    /// All parameters, group by group.
    pub(crate) fn parameters(&self) -> Vec<Tensor> {
        self.groups().flat_map(|group| (0..group.len()).map(|k| group.param(k).clone())).collect()
    }

    /// The options of a group; none for a group that there is not.
    pub(crate) fn options(&self, group: usize) -> Vec<(String, StateValue)> {
        self.group(group).map_or(Vec::new(), list)
    }

    /// Whether options and parameters are what they must be.
    pub(crate) fn check(&self) -> Result<()> {
        for (i, group) in self.groups().enumerate() {
            if let Some(problem) = group.options().problem() {
                return Err(Error::value(self.name(), format!("{problem} (group {i})")));
            }
        }
        if self.checked() { Ok(()) } else { self.check_params() }
    }

    fn check_params(&self) -> Result<()> {
        let mut seen = HashSet::new();
        for (i, group) in self.groups().enumerate() {
            if group.len() == 0 {
                return Err(Error::value(
                    self.name(),
                    format!("optimizer got an empty parameter list (group {i})"),
                ));
            }
            for k in 0..group.len() {
                let param = group.param(k);
                if !param.is_leaf() {
                    return Err(Error::value(
                        self.name(),
                        format!("can't optimize a non-leaf Tensor (group {i}, {k})"),
                    ));
                }
                if !param.dtype().is_float() {
                    let dtype = param.dtype();
                    return Err(Error::dtype(
                        self.name(),
                        format!("parameters are floating point, got {dtype} (group {i}, {k})"),
                    ));
                }
                if let Some(problem) = group.options().refuses(param) {
                    return Err(Error::value(self.name(), format!("{problem} (group {i}, {k})")));
                }
                if !seen.insert(param.id()) {
                    return Err(Error::value(
                        self.name(),
                        format!(
                            "some parameters appear in more than one parameter group, or twice in one (group {i}, {k})"
                        ),
                    ));
                }
            }
        }
        Ok(())
    }

    /// The options and what is remembered, as PyTorch saves them.
    pub(crate) fn state_dict(&self) -> Result<OptimizerState> {
        let mut out = OptimizerState::default();
        let mut number = 0;
        for group in self.groups() {
            let mut params = Vec::new();
            for k in 0..group.len() {
                if let Some(entries) = group.save(k)? {
                    let entries = entries.into_iter().map(|(name, t)| (name.to_owned(), t)).collect();
                    out.state.insert(number, entries);
                }
                params.push(number);
                number += 1;
            }
            out.param_groups.push(GroupState { options: list(group), params });
        }
        Ok(out)
    }

    /// Whether a saved state has as many groups, and these as many parameters.
    pub(crate) fn check_sizes(&self, saved: &OptimizerState) -> Result<()> {
        const OP: &str = "load_state_dict";
        if saved.param_groups.len() != self.len() {
            return Err(Error::value(
                OP,
                format!(
                    "loaded state dict has a different number of parameter groups: {} for {}",
                    saved.param_groups.len(),
                    self.len()
                ),
            ));
        }
        for (i, (group, from)) in self.groups().zip(&saved.param_groups).enumerate() {
            if from.params.len() != group.len() {
                return Err(Error::value(
                    OP,
                    format!(
                        "loaded state dict contains a parameter group that doesn't match the size of optimizer's group: \
                         {} parameters for {} in group {i}",
                        from.params.len(),
                        group.len()
                    ),
                ));
            }
        }
        Ok(())
    }
}
