//! [`ModuleDict`] and [`ParameterDict`]: modules and parameters by name, in the order in which they came.

use std::ops::Index;

use crate::module::{Forward, Module};
use crate::parts::{Parameter, Parts, Training};

/// Values by name in the order of their first insertion.
struct Ordered<V>(Vec<(String, V)>);

impl<V> Ordered<V> {
    fn get(&self, name: &str) -> Option<&V> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    fn get_mut(&mut self, name: &str) -> Option<&mut V> {
        self.0.iter_mut().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    fn insert(&mut self, name: String, value: V) -> Option<V> {
        if let Some(known) = self.get_mut(&name) {
            return Some(std::mem::replace(known, value));
        }
        self.0.push((name, value));
        None
    }

    fn remove(&mut self, name: &str) -> Option<V> {
        let at = self.0.iter().position(|(own, _)| own == name)?;
        Some(self.0.remove(at).1)
    }
}

/// What both dictionaries have.
macro_rules! dictionaries {
    ($name:ident[$($generic:ident)?] of $value:ty: $what:literal) => {
        impl$(<$generic>)? $name$(<$generic>)? {
            /// An empty one.
            pub fn new() -> Self {
                $name { entries: Ordered(Vec::new()), training: Training::default() }
            }

            #[doc = concat!("How many ", $what, "s there are.")]
            pub fn len(&self) -> usize {
                self.entries.0.len()
            }

            /// Whether there is none.
            pub fn is_empty(&self) -> bool {
                self.entries.0.is_empty()
            }

            #[doc = concat!("Adds a ", $what, " at the end, or replaces the one of that name, which is given back.")]
            pub fn insert(&mut self, name: impl Into<String>, value: $value) -> Option<$value> {
                self.entries.insert(name.into(), value)
            }

            #[doc = concat!("The ", $what, " of a name.")]
            pub fn get(&self, name: &str) -> Option<&$value> {
                self.entries.get(name)
            }

            #[doc = concat!("The ", $what, " of a name, to be replaced.")]
            pub fn get_mut(&mut self, name: &str) -> Option<&mut $value> {
                self.entries.get_mut(name)
            }

            #[doc = concat!("Takes the ", $what, " of a name out; the others keep their order.")]
            pub fn remove(&mut self, name: &str) -> Option<$value> {
                self.entries.remove(name)
            }

            /// Whether there is this name.
            pub fn contains_key(&self, name: &str) -> bool {
                self.get(name).is_some()
            }

            /// The names, in order.
            pub fn keys(&self) -> impl Iterator<Item = &str> {
                self.entries.0.iter().map(|(name, _)| name.as_str())
            }

            #[doc = concat!("The ", $what, "s, in order.")]
            pub fn values(&self) -> impl Iterator<Item = &$value> {
                self.entries.0.iter().map(|(_, value)| value)
            }

            #[doc = concat!("The names and ", $what, "s, in order.")]
            pub fn iter(&self) -> impl Iterator<Item = (&str, &$value)> {
                self.entries.0.iter().map(|(name, value)| (name.as_str(), value))
            }
        }

        impl$(<$generic>)? Default for $name$(<$generic>)? {
            fn default() -> Self {
                $name::new()
            }
        }

        impl<K: Into<String>, $($generic)?> FromIterator<(K, $value)> for $name$(<$generic>)? {
            fn from_iter<I: IntoIterator<Item = (K, $value)>>(entries: I) -> Self {
                let mut dict = $name::new();
                dict.extend(entries);
                dict
            }
        }

        impl<K: Into<String>, $($generic)?> Extend<(K, $value)> for $name$(<$generic>)? {
            fn extend<I: IntoIterator<Item = (K, $value)>>(&mut self, entries: I) {
                for (name, value) in entries {
                    self.insert(name, value);
                }
            }
        }

        impl<K: Into<String>, $($generic,)? const N: usize> From<[(K, $value); N]> for $name$(<$generic>)? {
            fn from(entries: [(K, $value); N]) -> Self {
                entries.into_iter().collect()
            }
        }

        impl$(<$generic>)? Index<&str> for $name$(<$generic>)? {
            type Output = $value;

            /// # Panics
            /// There is no such name; `get` says so without a panic.
            #[track_caller]
            fn index(&self, name: &str) -> &$value {
                match self.get(name) {
                    Some(value) => value,
                    None => panic!("{} has no {} named {name:?}", stringify!($name), $what),
                }
            }
        }
    };
}

/// Modules by name, in the order in which they were added (`torch.nn.ModuleDict`): of one type, or boxed ones of any.
///
/// ```
/// use kiln_nn::{Forward, LeakyReLU, Module, ModuleDict, PReLU, Tensor};
/// let mut activations: ModuleDict = ModuleDict::new();
/// activations.insert("prelu", Box::new(PReLU::new(1)));
/// activations.insert("lrelu", Box::new(LeakyReLU::default()));
/// assert_eq!(activations.keys().collect::<Vec<_>>(), ["prelu", "lrelu"]);
/// assert!(activations.state_dict().get("prelu.weight").is_some());
/// assert_eq!(activations["lrelu"].forward(&Tensor::ones([2]))?.dims(), [2]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub struct ModuleDict<M = Box<dyn Forward>> {
    entries: Ordered<M>,
    training: Training,
}

dictionaries!(ModuleDict[M] of M: "module");

impl<M: Module> Module for ModuleDict<M> {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
        for (name, module) in self.iter() {
            parts.add(name.to_owned(), module);
        }
    }

    fn type_name(&self) -> &str {
        "ModuleDict"
    }
}

impl<M: Module> std::fmt::Display for ModuleDict<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        crate::print::fmt_module(self, f)
    }
}

impl<M: Module> std::fmt::Debug for ModuleDict<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        crate::print::fmt_module(self, f)
    }
}

/// Parameters by name, in the order in which they were added (`torch.nn.ParameterDict`). A list of parameters
/// (`torch.nn.ParameterList`) is a `Vec<Parameter>`.
///
/// ```
/// use kiln_nn::{Module, Parameter, ParameterDict, Tensor};
/// let mut params = ParameterDict::new();
/// params.insert("right", Parameter::new(Tensor::ones([5, 10]))?);
/// params.insert("left", Parameter::new(Tensor::ones([5]))?);
/// let names: Vec<String> = params.named_parameters().into_iter().map(|(name, _)| name).collect();
/// assert_eq!(names, ["right", "left"]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub struct ParameterDict {
    entries: Ordered<Parameter>,
    training: Training,
}

dictionaries!(ParameterDict[] of Parameter: "parameter");

impl Module for ParameterDict {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
        for (name, parameter) in self.iter() {
            parts.add(name.to_owned(), parameter);
        }
    }

    fn extra_repr(&self) -> String {
        let line = |(name, p): (&str, &Parameter)| {
            let sizes: Vec<String> = p.dims().iter().map(usize::to_string).collect();
            format!("({name}): Parameter containing: [{} of size {}]", p.dtype(), sizes.join("x"))
        };
        self.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

crate::print::print_as_module!(ParameterDict);
