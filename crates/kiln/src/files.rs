//! [`save`] and [`load`]: the layers' state to and from PyTorch's checkpoints.
//!
//! `kiln-io` knows values, not state dicts; here the two meet.

use std::path::Path;

use kiln_autograd::{Error, Result, Shape, Tensor};
use kiln_io::{Dict, Key, Value};
use kiln_nn::StateDict;
use kiln_optim::{GroupState, OptimizerState, OptionValue};

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
pub fn save<T: Checkpoint>(state: &T, path: impl AsRef<Path>) -> Result<()> {
    kiln_io::save(&state.to_checkpoint()?, path)
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
pub fn load<T: Checkpoint>(path: impl AsRef<Path>) -> Result<T> {
    T::from_checkpoint(&kiln_io::load(path)?)
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

impl Checkpoint for OptimizerState {
    fn to_checkpoint(&self) -> Result<Value> {
        let number = |n: &usize| Value::from(*n);
        let mut state = Dict::new();
        for (n, entries) in &self.state {
            let entries = entries.iter().map(|(name, tensor)| (name.as_str(), tensor.into()));
            state.insert(*n as i64, Value::dict(entries));
        }
        let groups = self.param_groups.iter().map(|group| {
            let options = group.options.iter().map(|(name, value)| (name.as_str(), option_to_value(value)));
            let params = Value::List(group.params.iter().map(number).collect());
            Value::dict(options.chain([("params", params)]))
        });
        Ok(Value::dict([("state", state.into()), ("param_groups", Value::List(groups.collect()))]))
    }

    fn from_checkpoint(value: &Value) -> Result<OptimizerState> {
        let wrong =
            |what: String| Error::value("load_state_dict", format!("an optimizer's state with {what}"));
        let number = |key: Value| match key {
            Value::Int(n) => usize::try_from(n).map_err(|_| wrong(format!("parameter {n}"))),
            other => Err(wrong(format!("parameters numbered by {}", other.type_name()))),
        };
        let text = |key: &Key| match key {
            Key::Str(name) => Ok(name.clone()),
            other => Err(wrong(format!("an entry named {other}"))),
        };
        let mut out = OptimizerState::default();
        for (n, entries) in value.get("state")?.to_dict()?.iter() {
            let mut named = Vec::new();
            for (name, value) in entries.to_dict()?.iter() {
                match value {
                    // A buffer that is not there yet.
                    Value::None => {}
                    // Steps were plain numbers before PyTorch 1.12.
                    Value::Int(_) | Value::Float(_) => {
                        named.push((
                            text(name)?,
                            Tensor::from_vec(vec![value.to_f64()? as f32], Shape::default())?,
                        ));
                    }
                    other => named.push((text(name)?, other.to_tensor()?)),
                }
            }
            out.state.insert(number(n.clone().into())?, named);
        }
        for group in value.get("param_groups")?.items()? {
            let mut saved = GroupState::default();
            for (name, value) in group.to_dict()?.iter() {
                match text(name)?.as_str() {
                    "params" => {
                        let params = value.items()?.iter().cloned().map(number);
                        saved.params = params.collect::<Result<_>>()?;
                    }
                    name => saved.options.push((name.to_owned(), value_to_option(value)?)),
                }
            }
            out.param_groups.push(saved);
        }
        Ok(out)
    }
}

/// Options of several numbers are tuples in PyTorch.
fn option_to_value(option: &OptionValue) -> Value {
    match option {
        OptionValue::None => Value::None,
        OptionValue::Bool(b) => (*b).into(),
        OptionValue::Int(n) => (*n).into(),
        OptionValue::Float(x) => (*x).into(),
        OptionValue::Text(s) => s.as_str().into(),
        OptionValue::List(items) => Value::Tuple(items.iter().map(option_to_value).collect()),
    }
}

fn value_to_option(value: &Value) -> Result<OptionValue> {
    Ok(match value {
        Value::None => OptionValue::None,
        Value::Bool(b) => OptionValue::Bool(*b),
        Value::Int(n) => OptionValue::Int(*n),
        Value::Float(x) => OptionValue::Float(*x),
        Value::Str(s) => OptionValue::Text(s.clone()),
        Value::Tuple(items) | Value::List(items) => {
            OptionValue::List(items.iter().map(value_to_option).collect::<Result<_>>()?)
        }
        // A learning rate that was a tensor.
        other => OptionValue::Float(other.to_tensor()?.to_f64()?),
    })
}
