//! Modules made of modules: [`Sequential`], and lists, maps, tuples and boxes of modules.

use std::collections::{BTreeMap, HashMap};
use std::ops::Index;
use std::sync::Arc;

use kiln_autograd::{Error, Here, Result, Tensor};

use crate::module::{AsModule, Forward, Module};
use crate::parts::{Parts, Training};
use crate::print::print_as_module;

/// Layers that run one after the other; they are named `0`, `1`, ...
///
/// ```
/// use kiln_nn::{Conv2d, Flatten, Forward, Linear, Module, ReLU, Sequential, sequential};
/// let net = sequential![Flatten::new(), Linear::new(784, 10)];
/// let same = Sequential::new().add(Flatten::new()).add(Linear::new(784, 10));
/// assert_eq!(net.to_string(), same.to_string());
/// assert_eq!(
///     net.to_string(),
///     "Sequential(\n  (0): Flatten(start_dim=1, end_dim=-1)\n  (1): Linear(in_features=784, out_features=10, bias=True)\n)"
/// );
/// assert!(net.state_dict().get("1.weight").is_some());
/// ```
#[derive(Default)]
pub struct Sequential {
    layers: Vec<(String, Box<dyn Forward>)>,
    training: Training,
}

impl Sequential {
    /// A sequence without layers, which gives back its input.
    pub fn new() -> Sequential {
        Sequential::default()
    }

    /// Adds a layer at the end, named by its position.
    #[must_use]
    #[allow(clippy::should_implement_trait)] // `a + b` is no way to write a network.
    pub fn add(self, layer: impl Forward) -> Sequential {
        let name = self.layers.len().to_string();
        self.add_named(name, layer)
    }

    /// Adds a layer at the end under a name of its own, or replaces the layer of that name.
    #[must_use]
    pub fn add_named(mut self, name: impl Into<String>, layer: impl Forward) -> Sequential {
        let name = name.into();
        match self.layers.iter_mut().find(|(n, _)| *n == name) {
            Some((_, old)) => *old = Box::new(layer),
            None => self.layers.push((name, Box::new(layer))),
        }
        self
    }

    /// Adds a layer at the end, named by its position.
    pub fn push(&mut self, layer: impl Forward) {
        *self = std::mem::take(self).add(layer);
    }

    /// How many layers there are.
    pub fn len(&self) -> usize {
        self.layers.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// A layer by its position.
    pub fn get(&self, index: usize) -> Option<&dyn Forward> {
        self.layers.get(index).map(|(_, layer)| &**layer)
    }

    /// A layer by its position, to be replaced.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut Box<dyn Forward>> {
        self.layers.get_mut(index).map(|(_, layer)| layer)
    }

    /// The layers in order.
    pub fn iter(&self) -> impl Iterator<Item = &dyn Forward> {
        self.layers.iter().map(|(_, layer)| &**layer)
    }
}

impl Module for Sequential {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
        for (name, layer) in &self.layers {
            parts.add_module(name.clone(), layer.as_module());
        }
    }

    fn type_name(&self) -> &str {
        "Sequential"
    }
}

impl Forward for Sequential {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let Some(((first, layer), rest)) = self.layers.split_first() else { return Ok(input.clone()) };
        // Where a layer comes from in a list is not to be seen at the line that calls the list: the message tells.
        let inside = |name: &str, layer: &dyn Forward, error: Error| {
            error.followed_by(&format!(", in layer {name} ({})", layer.type_name()))
        };
        let mut x = layer.call(input).map_err(|e| inside(first, &**layer, e)).here()?;
        for (name, layer) in rest {
            x = layer.call(&x).map_err(|e| inside(name, &**layer, e)).here()?;
        }
        Ok(x)
    }
}

print_as_module!(Sequential);

impl Index<usize> for Sequential {
    type Output = dyn Forward;

    /// # Panics
    /// There is no such layer; [`Sequential::get`] says so without a panic.
    fn index(&self, index: usize) -> &(dyn Forward + 'static) {
        &*self.layers[index].1
    }
}

impl<F: Forward> FromIterator<F> for Sequential {
    fn from_iter<I: IntoIterator<Item = F>>(layers: I) -> Sequential {
        layers.into_iter().fold(Sequential::new(), Sequential::add)
    }
}

impl<F: Forward> Extend<F> for Sequential {
    fn extend<I: IntoIterator<Item = F>>(&mut self, layers: I) {
        layers.into_iter().for_each(|layer| self.push(layer));
    }
}

/// A [`Sequential`] of the given layers: `sequential![Linear::new(4, 8), ReLU, Linear::new(8, 2)]`.
#[macro_export]
macro_rules! sequential {
    ($($layer:expr),* $(,)?) => { $crate::Sequential::new()$(.add($layer))* };
}

/// A function as a layer, for what has no layer of its own.
///
/// ```
/// use kiln_nn::{Forward, Lambda, Tensor};
/// let image = Lambda::new(|x| x.view([-1, 1, 28, 28]));
/// assert_eq!(image.forward(&Tensor::from_vec(vec![1.0f32; 1568], [2, 784])?)?.dims(), [2, 1, 28, 28]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub struct Lambda<F> {
    function: F,
    training: Training,
}

impl<F: Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static> Lambda<F> {
    /// The layer that calls `function`.
    pub fn new(function: F) -> Lambda<F> {
        Lambda { function, training: Training::default() }
    }
}

impl<F: Send + Sync + 'static> Module for Lambda<F> {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
    }

    fn type_name(&self) -> &str {
        "Lambda"
    }
}

impl<F: Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static> Forward for Lambda<F> {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        (self.function)(input).here()
    }
}

impl<M: Module> Module for Vec<M> {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        for (i, module) in self.iter().enumerate() {
            parts.add(i.to_string(), module);
        }
    }

    fn type_name(&self) -> &str {
        "ModuleList"
    }
}

impl<M: Module, const N: usize> Module for [M; N] {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        for (i, module) in self.iter().enumerate() {
            parts.add(i.to_string(), module);
        }
    }

    fn type_name(&self) -> &str {
        "ModuleList"
    }
}

/// Modules by name, sorted, so that the order does not depend on a hash.
impl<M: Module> Module for BTreeMap<String, M> {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        for (name, module) in self {
            parts.add(name.clone(), module);
        }
    }

    fn type_name(&self) -> &str {
        "ModuleDict"
    }
}

/// As a `BTreeMap`: sorted by name.
impl<M: Module, S: Send + Sync + 'static> Module for HashMap<String, M, S> {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        let mut sorted: Vec<(&String, &M)> = self.iter().collect();
        sorted.sort_by_key(|(name, _)| *name);
        for (name, module) in sorted {
            parts.add(name.clone(), module);
        }
    }

    fn type_name(&self) -> &str {
        "ModuleDict"
    }
}

macro_rules! tuples {
    ($($($m:ident $i:tt),+;)*) => {$(
        impl<$($m: Module),+> Module for ($($m,)+) {
            fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
                $(parts.add(stringify!($i), &self.$i);)+
            }

            fn type_name(&self) -> &str {
                "ModuleList"
            }
        }
    )*};
}
tuples! {
    A 0, B 1;
    A 0, B 1, C 2;
    A 0, B 1, C 2, D 3;
    A 0, B 1, C 2, D 3, E 4;
    A 0, B 1, C 2, D 3, E 4, F 5;
}

macro_rules! wrappers {
    ($($wrapper:ident),*) => {$(
        impl<M: Module + ?Sized> Module for $wrapper<M> {
            fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
                (**self).parts(parts);
            }

            fn type_name(&self) -> &str {
                (**self).type_name()
            }

            fn extra_repr(&self) -> String {
                (**self).extra_repr()
            }

            fn former_names(&self) -> Vec<(String, String)> {
                (**self).former_names()
            }

            fn inner(&self) -> Option<&dyn Module> {
                let inner = (**self).as_module();
                Some(inner.inner().unwrap_or(inner))
            }
        }

        impl<F: Forward + ?Sized> Forward for $wrapper<F> {
            #[track_caller]
            fn forward(&self, input: &Tensor) -> Result<Tensor> {
                (**self).forward(input).here()
            }
        }
    )*};
}
wrappers!(Box, Arc);
