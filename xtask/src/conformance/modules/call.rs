//! The arguments of a constructor or of a call, as the file encodes them.

use std::collections::BTreeMap;
use std::ops::Deref;

use anyhow::{Context, Result, bail};
use kiln_autograd::Tensor;
use serde_json::Value as Json;

use crate::conformance::args::{Answer, Args, Stop, missing};
use crate::vectors::{Arg, DType};

/// Decoded arguments.
#[derive(Default)]
pub struct Decoded {
    args: Vec<Arg>,
    kwargs: BTreeMap<String, Arg>,
    /// The tensors, by the numbers by which `args` and `kwargs` name them.
    tensors: Vec<(usize, Tensor)>,
    /// Where each tensor stands: `args.0`, `args.1.0`, `kwargs.weight`, `args.0.data`.
    paths: Vec<String>,
    /// Layers to be built, by position or name.
    nested: BTreeMap<String, (String, Decoded)>,
}

impl Decoded {
    /// Decodes an array of arguments and an object of named ones; `tensor` gives the tensor of a key, from the key and
    /// the path.
    pub fn new(
        args: &Json,
        kwargs: &Json,
        tensor: &mut dyn FnMut(&str, &str) -> Result<Tensor>,
    ) -> Result<Self> {
        let mut decoded = Self::default();
        for (i, value) in args.as_array().into_iter().flatten().enumerate() {
            let arg = decoded.decode(&format!("args.{i}"), &i.to_string(), value, tensor)?;
            decoded.args.push(arg);
        }
        for (name, value) in kwargs.as_object().into_iter().flatten() {
            let arg = decoded.decode(&format!("kwargs.{name}"), name, value, tensor)?;
            decoded.kwargs.insert(name.clone(), arg);
        }
        Ok(decoded)
    }

    /// The tensors and where each stands.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.paths.iter().zip(&self.tensors).map(|(path, (_, tensor))| (path.as_str(), tensor))
    }

    fn store(&mut self, path: String, tensor: Tensor) -> usize {
        let k = self.tensors.len();
        self.tensors.push((k, tensor));
        self.paths.push(path);
        k
    }

    fn decode(
        &mut self,
        path: &str,
        place: &str,
        value: &Json,
        tensor: &mut dyn FnMut(&str, &str) -> Result<Tensor>,
    ) -> Result<Arg> {
        Ok(match value {
            Json::Array(items) => {
                let mut list = Vec::new();
                for (i, item) in items.iter().enumerate() {
                    list.push(self.decode(&format!("{path}.{i}"), place, item, tensor)?);
                }
                let tensors: Option<Vec<_>> = list
                    .iter()
                    .map(|arg| match arg {
                        Arg::Tensor(k) => Some(Some(*k)),
                        Arg::None => Some(None),
                        _ => None,
                    })
                    .collect();
                match tensors {
                    Some(tensors) if tensors.iter().any(Option::is_some) => Arg::Tensors(tensors),
                    _ => Arg::List(list),
                }
            }
            Json::Object(object) => {
                let text = |key: &str| object.get(key).and_then(Json::as_str);
                if let Some(key) = text("t") {
                    Arg::Tensor(self.store(path.to_owned(), tensor(key, path)?))
                } else if let Some(name) = text("fn") {
                    Arg::Str(name.to_owned())
                } else if let Some(name) = text("dtype") {
                    Arg::DType(DType::from_name(name)?)
                } else if let Some(name) = text("module") {
                    let nested = Self::new(&value["args"], &value["kwargs"], tensor)?;
                    self.nested.insert(place.to_owned(), (name.to_owned(), nested));
                    Arg::Str(name.to_owned())
                } else if let Some(packed) = object.get("packed_sequence") {
                    // Read by `Call::packed`.
                    let mut part = |name: &str| -> Result<Option<usize>> {
                        let key = packed[name]["t"].as_str().context("a packed sequence without tensors")?;
                        let path = format!("{path}.{name}");
                        let tensor = tensor(key, &path)?;
                        Ok(Some(self.store(path, tensor)))
                    };
                    Arg::Tensors(vec![part("data")?, part("batch_sizes")?])
                } else {
                    bail!("cannot decode {value}")
                }
            }
            plain => Arg::try_from(plain.clone())?,
        })
    }

    /// Calls `f` with the arguments, all of which it must ask for.
    pub fn with<T>(&self, f: impl FnOnce(&Call<'_>) -> Answer<T>) -> Answer<T> {
        let args = Args::of(&self.args, &self.kwargs, &self.tensors);
        let call = Call { args, decoded: self };
        let result = f(&call);
        let unused = call.unused();
        match result {
            Ok(_) | Err(Stop::Refused(_)) if !unused.is_empty() => {
                missing(format!("the arguments {unused:?}"))
            }
            result => result,
        }
    }
}

/// The arguments of one constructor or call: [`Args`], and what only layers take.
pub struct Call<'a> {
    args: Args<'a>,
    decoded: &'a Decoded,
}

impl<'a> Deref for Call<'a> {
    type Target = Args<'a>;

    fn deref(&self) -> &Args<'a> {
        &self.args
    }
}

impl<'a> Call<'a> {
    /// The packed sequence at `position`: its data and batch sizes. None when there is none or a tensor.
    pub fn packed(&self, position: usize, names: &str) -> Answer<Option<(Tensor, Tensor)>> {
        let data = format!("args.{position}.data");
        if !self.decoded.paths.contains(&data) {
            return Ok(None);
        }
        match <[Tensor; 2]>::try_from(self.tensors(position, names)?) {
            Ok([data, sizes]) => Ok(Some((data, sizes))),
            Err(_) => missing("a packed sequence of other parts"),
        }
    }

    /// The layer to be built that stands at `position` or is called `name`: its class and its arguments, whose
    /// [`Decoded::with`] builds it.
    pub fn nested(&self, position: usize, name: &str) -> Option<(&'a str, &'a Decoded)> {
        self.get(position, name);
        let by_position = self.decoded.nested.get(&position.to_string());
        let (class, decoded) = by_position.or_else(|| self.decoded.nested.get(name))?;
        Some((class, decoded))
    }
}
