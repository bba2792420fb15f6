//! Models put together from layers by their names in PyTorch.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, ensure};
use kiln_autograd::{Tensor, no_grad};
use serde_json::{Value as Json, json};

use super::args::{self, Answer, Out};
use super::modules::call::Decoded;
use super::modules::layer::Layer;
use super::recording::{Stop, missing};

/// Layers with names, and tensors that are learned beside them.
#[derive(Default)]
pub struct Net {
    layers: Vec<(String, Layer)>,
    own: Vec<(String, Tensor)>,
}

/// What a table of layers answered, as the end of a case.
fn ended<T>(answer: Answer<T>, what: &str) -> Result<T, Stop> {
    answer.map_err(|stop| match stop {
        args::Stop::Refused(error) => Stop::Failed(anyhow!(error).context(what.to_owned())),
        args::Stop::Missing(why) => Stop::Missing(why),
        args::Stop::Inexpressible(why) => Stop::Missing(why.to_owned()),
        args::Stop::NoRow => Stop::Missing(format!("the layer {what}")),
    })
}

impl Net {
    /// Builds a layer of PyTorch's class `class`, which draws its parameters from the default stream.
    pub fn add(&mut self, name: &str, class: &str, args: &Json, kwargs: &Json) -> Result<(), Stop> {
        let setup =
            Decoded::new(args, kwargs, &mut |key, _| Err(anyhow!("a layer made of the tensor {key}")))?;
        let layer = ended(setup.with(|call| super::modules::build(class, call)), class)?;
        self.layers.push((name.to_owned(), layer));
        Ok(())
    }

    /// Adds a learned tensor.
    pub fn add_tensor(&mut self, name: &str, values: Tensor) -> Result<()> {
        self.own.push((name.to_owned(), values.requires_grad_(true)?));
        Ok(())
    }

    /// A learned tensor that was added.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        let found = self.own.iter().find(|(n, _)| n == name);
        found.map(|(_, t)| t).with_context(|| format!("no tensor {name}"))
    }

    /// The names of the layers, in the order in which they were built.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.layers.iter().map(|(name, _)| name.as_str())
    }

    /// What a layer makes of an input; of several results the first.
    pub fn call(&self, name: &str, input: &Tensor) -> Result<Tensor, Stop> {
        let (_, layer) =
            self.layers.iter().find(|(n, _)| n == name).with_context(|| format!("no layer {name}"))?;
        let given = Decoded::new(&json!([{"t": "input"}]), &Json::Null, &mut |_, _| Ok(input.clone()))?;
        let mut out = ended(given.with(|call| layer.call(call)), name)?;
        loop {
            out = match out {
                Out::Tensor(t) => return Ok(t),
                Out::List(mut parts) if !parts.is_empty() => parts.remove(0),
                _ => return missing(format!("the result of {name}")),
            };
        }
    }

    /// All learned tensors with their names.
    pub fn parameters(&self) -> Vec<(String, Tensor)> {
        let layers = self.layers.iter().flat_map(|(name, layer)| {
            let parts = layer.module().named_parameters();
            parts.into_iter().map(move |(part, t)| (format!("{name}.{part}"), t))
        });
        self.own.iter().cloned().chain(layers).collect()
    }

    /// All learned tensors and buffers with their names.
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        let layers = self.layers.iter().flat_map(|(name, layer)| {
            let state = layer.module().state_dict();
            let parts: Vec<_> = state.iter().map(|(part, t)| (format!("{name}.{part}"), t.clone())).collect();
            parts
        });
        self.own.iter().cloned().chain(layers).collect()
    }

    /// Sets all of the state; `values` gives what a name has.
    pub fn load(&self, values: impl Fn(&str) -> Result<Tensor>) -> Result<()> {
        for (name, tensor) in self.state() {
            let value = values(&name)?;
            ensure!(value.dims() == tensor.dims(), "{name} is {:?}, not {:?}", tensor.dims(), value.dims());
            no_grad(|| tensor.copy_(&value))?;
        }
        Ok(())
    }

    /// Makes all layers train or evaluate.
    pub fn set_training(&self, training: bool) {
        self.layers.iter().for_each(|(_, layer)| layer.module().set_training(training));
    }
}
