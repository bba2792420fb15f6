//! [`save`] and [`load`]: the layers' state to and from PyTorch's checkpoints.
//!
//! `kiln-io` knows values, not state dicts; here the two meet.

use std::path::Path;

use kiln_autograd::{Error, Here, Result, Tensor};
use kiln_io::{Dict, Key, Value};
use kiln_nn::StateDict;
use kiln_optim::{OptimizerState, StateValue};

/// What can be an entry of a checkpoint, or a whole one.
pub trait Checkpoint: Sized {
    /// As PyTorch would save it. Tensors share memory with what they came from.
    ///
    /// # Errors
    /// The memory is not there.
    fn to_checkpoint(&self) -> Result<Value>;

    /// From what a checkpoint holds, PyTorch's or Kiln's.
    ///
    /// # Errors
    /// It is something else.
    fn from_checkpoint(value: &Value) -> Result<Self>;
}

/// Writes a state dict, a tensor or a checkpoint of several entries to a `.pt` or `.pth` file (`torch.save`), which
/// `torch.load` reads. A crash in the middle leaves the file that was there before.
///
/// ```
/// use kiln::prelude::*;
/// # fn main() -> Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("checkpoint.pt");
/// let model = sequential![Linear::new(2, 8), ReLU::new(), Linear::new(8, 1)];
/// let mut optimizer = Adam::new(model.parameters(), 1e-3);
/// let checkpoint = Value::dict([
///     ("epoch", 5.into()),
///     ("model", model.state_dict().to_checkpoint()?),
///     ("optimizer", optimizer.state_dict()?.to_checkpoint()?),
/// ]);
/// kiln::save(&checkpoint, &path)?;
///
/// let checkpoint: Value = kiln::load(&path)?;
/// model.load_state_dict(&StateDict::from_checkpoint(checkpoint.get("model")?)?)?;
/// optimizer.load_state_dict(&OptimizerState::from_checkpoint(checkpoint.get("optimizer")?)?)?;
/// assert_eq!(checkpoint.get("epoch")?.to_i64()?, 5);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The file cannot be written.
#[track_caller]
pub fn save<T: Checkpoint>(state: &T, path: impl AsRef<Path>) -> Result<()> {
    kiln_io::save(&state.to_checkpoint().here()?, path).here()
}

/// Reads a `.pt` or `.pth` file of PyTorch or Kiln (`torch.load(path, map_location="cpu", weights_only=True)`). Nothing in
/// it is executed.
///
/// ```
/// use kiln::prelude::*;
/// # fn main() -> Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("net.pth");
/// let (a, b) = (Linear::new(2, 3), Linear::new(2, 3));
/// kiln::save(&a.state_dict(), &path)?;
/// b.load_state_dict(&kiln::load(&path)?)?;
/// assert_eq!(a.weight.to_vec::<f32>()?, b.weight.to_vec::<f32>()?);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The file cannot be read, is damaged or holds something else.
#[track_caller]
pub fn load<T: Checkpoint>(path: impl AsRef<Path>) -> Result<T> {
    T::from_checkpoint(&kiln_io::load(path).here()?).here()
}

impl Checkpoint for Value {
    fn to_checkpoint(&self) -> Result<Value> {
        Ok(self.clone())
    }

    fn from_checkpoint(value: &Value) -> Result<Value> {
        Ok(value.clone())
    }
}

impl Checkpoint for Tensor {
    fn to_checkpoint(&self) -> Result<Value> {
        Ok(self.into())
    }

    fn from_checkpoint(value: &Value) -> Result<Tensor> {
        value.to_tensor()
    }
}

impl Checkpoint for StateDict {
    fn to_checkpoint(&self) -> Result<Value> {
        Ok(Value::state_dict(self.iter().map(|(name, tensor)| (name, tensor.clone()))))
    }

    fn from_checkpoint(value: &Value) -> Result<StateDict> {
        Ok(value.tensors()?.into_iter().collect())
    }
}

impl Checkpoint for StateValue {
    fn to_checkpoint(&self) -> Result<Value> {
        Ok(match self {
            StateValue::None => Value::None,
            StateValue::Bool(b) => (*b).into(),
            StateValue::Int(n) => (*n).into(),
            StateValue::Float(x) => (*x).into(),
            StateValue::Text(s) => s.as_str().into(),
            StateValue::Tensor(t) => t.into(),
            StateValue::List(items) => {
                Value::List(items.iter().map(Self::to_checkpoint).collect::<Result<_>>()?)
            }
            StateValue::Dict(entries) => {
                let mut dict = Dict::new();
                for (key, value) in entries {
                    let key = match key {
                        StateValue::Text(s) => Key::Str(s.clone()),
                        StateValue::Int(n) => Key::Int(*n),
                        StateValue::Float(x) => Key::Float(x.to_bits()),
                        StateValue::Bool(b) => Key::Bool(*b),
                        other => {
                            return Err(Error::value("save", format!("the key {other:?} of a saved state")));
                        }
                    };
                    dict.insert(key, value.to_checkpoint()?);
                }
                dict.into()
            }
        })
    }

    fn from_checkpoint(value: &Value) -> Result<StateValue> {
        Ok(match value {
            Value::None => StateValue::None,
            Value::Bool(b) => StateValue::Bool(*b),
            Value::Int(n) => StateValue::Int(*n),
            Value::Float(x) => StateValue::Float(*x),
            Value::Str(s) => StateValue::Text(s.clone()),
            Value::Tensor(t) | Value::Parameter(t) => StateValue::Tensor(t.clone()),
            Value::List(items) | Value::Tuple(items) => {
                StateValue::List(items.iter().map(Self::from_checkpoint).collect::<Result<_>>()?)
            }
            Value::Dict(dict) | Value::OrderedDict(dict) => {
                let entry = |(key, value): (&Key, &Value)| {
                    Ok((Self::from_checkpoint(&key.clone().into())?, Self::from_checkpoint(value)?))
                };
                StateValue::Dict(dict.iter().map(entry).collect::<Result<_>>()?)
            }
            other => {
                let kind = other.type_name();
                return Err(Error::value(
                    "load_state_dict",
                    format!("a saved state with a value of type {kind}"),
                ));
            }
        })
    }
}

impl Checkpoint for OptimizerState {
    fn to_checkpoint(&self) -> Result<Value> {
        let mut state = Dict::new();
        for (number, entries) in &self.state {
            let entries = entries.iter().map(|(name, value)| Ok((name.as_str(), value.to_checkpoint()?)));
            state.insert(*number as i64, Value::dict(entries.collect::<Result<Vec<_>>>()?));
        }
        let mut groups = Vec::new();
        for group in &self.param_groups {
            let mut options = Dict::new();
            for (name, value) in &group.options {
                // Options of several numbers are tuples in PyTorch.
                let value = match value.to_checkpoint()? {
                    Value::List(items) => Value::Tuple(items),
                    value => value,
                };
                options.insert(name, value);
            }
            options.insert("params", group.params.clone());
            groups.push(options);
        }
        Ok(Value::dict([("state", state.into()), ("param_groups", groups.into())]))
    }

    fn from_checkpoint(value: &Value) -> Result<OptimizerState> {
        // Whoever hands in a whole checkpoint is told what it has.
        value.get("state").and_then(|_| value.get("param_groups"))?;
        OptimizerState::from_value(&StateValue::from_checkpoint(value)?)
    }
}
