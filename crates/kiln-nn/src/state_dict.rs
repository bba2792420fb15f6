//! [`StateDict`]: names to tensors, collected from a module and loaded into one.

use std::collections::{HashMap, HashSet};
use std::fmt;

use kiln_autograd::{Error, Here, Result, Tensor, no_grad};

use crate::module::Module;
use crate::parts::PartRef;
use crate::walk;

/// Tensors by name, in order: the content of a checkpoint.
///
/// ```
/// use kiln_nn::{Linear, Module};
/// let (a, b) = (Linear::new(2, 3), Linear::new(2, 3));
/// b.load_state_dict(&a.state_dict())?;
/// assert_eq!(a.state_dict().keys().collect::<Vec<_>>(), ["weight", "bias"]);
/// assert_eq!(a.weight.to_vec::<f32>()?, b.weight.to_vec::<f32>()?);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct StateDict {
    entries: Vec<(String, Tensor)>,
    places: HashMap<String, usize>,
}

impl StateDict {
    /// An empty one.
    pub fn new() -> StateDict {
        StateDict::default()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The tensor of a name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.places.get(name).map(|&i| &self.entries[i].1)
    }

    /// Adds a tensor at the end, or replaces the one of that name, which is returned.
    pub fn insert(&mut self, name: impl Into<String>, tensor: Tensor) -> Option<Tensor> {
        let name = name.into();
        if let Some(&i) = self.places.get(&name) {
            return Some(std::mem::replace(&mut self.entries[i].1, tensor));
        }
        self.places.insert(name.clone(), self.entries.len());
        self.entries.push((name, tensor));
        None
    }

    /// Takes a tensor out; the others keep their order.
    pub fn remove(&mut self, name: &str) -> Option<Tensor> {
        let i = self.places.remove(name)?;
        let (_, tensor) = self.entries.remove(i);
        self.places.values_mut().filter(|place| **place > i).for_each(|place| *place -= 1);
        Some(tensor)
    }

    /// The names, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(name, _)| name.as_str())
    }

    /// The names and tensors, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.entries.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// A copy of all tensors in memory of their own, which later training does not change.
    ///
    /// # Errors
    /// The memory is not there.
    #[track_caller]
    pub fn deep_copy(&self) -> Result<StateDict> {
        self.iter()
            .map(|(name, tensor)| Ok((name.to_owned(), no_grad(|| tensor.copy())?)))
            .collect::<Result<_>>()
            .here()
    }
}

impl FromIterator<(String, Tensor)> for StateDict {
    fn from_iter<I: IntoIterator<Item = (String, Tensor)>>(entries: I) -> StateDict {
        let mut state = StateDict::new();
        for (name, tensor) in entries {
            state.insert(name, tensor);
        }
        state
    }
}

impl IntoIterator for StateDict {
    type Item = (String, Tensor);
    type IntoIter = std::vec::IntoIter<(String, Tensor)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl fmt::Debug for StateDict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shapes = self.iter().map(|(name, tensor)| (name, tensor.shape()));
        f.debug_map().entries(shapes).finish()
    }
}

/// Names that only one side has, from [`Module::load_state_dict_lenient`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IncompatibleKeys {
    /// Names of the module that the state dict does not have.
    pub missing: Vec<String>,
    /// Names of the state dict that the module does not have.
    pub unexpected: Vec<String>,
}

/// What belongs to the module's saved state.
fn saved(module: &dyn Module) -> Vec<(String, Tensor)> {
    let mut found = Vec::new();
    walk::parts(module, &mut |name, part| match part {
        PartRef::Parameter(p) => found.push((name.to_owned(), p.tensor().clone())),
        PartRef::Buffer(b) if b.is_persistent() => found.push((name.to_owned(), b.tensor().clone())),
        _ => {}
    });
    found
}

/// See [`Module::state_dict`].
#[inline(never)]
pub(crate) fn collect(module: &dyn Module) -> StateDict {
    saved(module).into_iter().map(|(name, tensor)| (name, tensor.detach())).collect()
}

/// The state dict with tensors of former names under the names of today; `None` if there are no such.
fn renamed(module: &dyn Module, state: &StateDict) -> Option<StateDict> {
    let mut renamed: Option<StateDict> = None;
    for (prefix, inside) in walk::modules(module) {
        let join = |name: &String| walk::join(&prefix, name);
        let names: Vec<(String, String)> =
            inside.former_names().iter().map(|(old, new)| (join(old), join(new))).collect();
        if names.is_empty() || names.iter().any(|(old, _)| state.get(old).is_none()) {
            continue;
        }
        let state = renamed.get_or_insert_with(|| state.clone());
        for (old, new) in names {
            if let Some(tensor) = state.remove(&old) {
                state.insert(new, tensor);
            }
        }
    }
    renamed
}

/// See [`Module::load_state_dict`].
#[inline(never)]
#[track_caller]
pub(crate) fn load_all(module: &dyn Module, state: &StateDict) -> Result<()> {
    load(module, state, true).map(|_| ())
}

/// See [`Module::load_state_dict_lenient`].
#[track_caller]
pub(crate) fn load(module: &dyn Module, state: &StateDict, strict: bool) -> Result<IncompatibleKeys> {
    let renamed = renamed(module, state);
    let state = renamed.as_ref().unwrap_or(state);
    let own = saved(module);
    let names: HashSet<&str> = own.iter().map(|(name, _)| name.as_str()).collect();
    let missing: Vec<String> =
        own.iter().filter(|(name, _)| state.get(name).is_none()).map(|(name, _)| name.clone()).collect();
    let unexpected: Vec<String> =
        state.keys().filter(|name| !names.contains(name)).map(str::to_owned).collect();
    let pairs: Vec<(&str, &Tensor, &Tensor)> =
        own.iter().filter_map(|(name, to)| state.get(name).map(|from| (name.as_str(), to, from))).collect();

    let mut problems = Vec::new();
    if strict && !missing.is_empty() {
        problems.push(format!("Missing key(s) in state_dict: {}.", quoted(&missing, &unexpected)));
    }
    if strict && !unexpected.is_empty() {
        problems.push(format!("Unexpected key(s) in state_dict: {}.", quoted(&unexpected, &missing)));
    }
    for (name, to, from) in &pairs {
        if to.shape() != from.shape() {
            problems.push(format!(
                "size mismatch for {name}: copying a param with shape {:?} from checkpoint, the shape in current model \
                 is {:?}.",
                from.shape(),
                to.shape()
            ));
        }
    }
    if !problems.is_empty() {
        let name = module.inner().unwrap_or(module).type_name();
        return Err(Error::value(
            "load_state_dict",
            format!("Error(s) in loading state_dict for {name}:\n\t{}", problems.join("\n\t")),
        ));
    }
    // Everything that can fail by what the state dict holds comes before the first change.
    let converted = pairs
        .iter()
        .map(|(_, to, from)| from.detach().to_dtype(to.dtype())?.to_device(to.device()))
        .collect::<Result<Vec<Tensor>>>()
        .here()?;
    no_grad(|| pairs.iter().zip(&converted).try_for_each(|((_, to, _), from)| to.copy_(from))).here()?;
    Ok(IncompatibleKeys { missing, unexpected })
}

/// At most as many names are written out; the rest is counted.
const LISTED: usize = 40;

/// Names in quotes, each with the nearest of `others`, if one is near.
fn quoted(names: &[String], others: &[String]) -> String {
    let mut listed: Vec<String> = names
        .iter()
        .take(LISTED)
        .map(|name| match nearest(name, others) {
            Some(other) => format!("\"{name}\" (nearest: \"{other}\")"),
            None => format!("\"{name}\""),
        })
        .collect();
    if names.len() > LISTED {
        listed.push(format!("and {} more", names.len() - LISTED));
    }
    listed.join(", ")
}

/// The name that takes the fewest changes, when these are fewer than half of its letters.
fn nearest<'a>(name: &str, others: &'a [String]) -> Option<&'a str> {
    let ending = |other: &&String| {
        other.strip_suffix(name).or(name.strip_suffix(other.as_str())).is_some_and(|rest| rest.ends_with('.'))
    };
    // A prefix that one side has, as a wrapper adds it, is the commonest reason.
    if let Some(other) = others.iter().find(ending) {
        return Some(other);
    }
    // Names come from files: what a comparison may cost is bounded.
    let short = |name: &str| name.len() <= 256;
    let (distance, other) = others
        .iter()
        .take(1000)
        .filter(|other| short(name) && short(other))
        .map(|other| (edit_distance(name, other), other))
        .min_by_key(|(d, _)| *d)?;
    (2 * distance < name.len().max(other.len())).then_some(other.as_str())
}

/// How many letters have to be put in, taken out or exchanged (Levenshtein).
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let exchanged = diagonal + (x != *y) as usize;
            diagonal = row[j + 1];
            row[j + 1] = exchanged.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
