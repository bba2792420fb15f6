//! From the arena to a [`Value`].

use kiln_autograd::Tensor;
use kiln_autograd::kiln_ops::Storage;

use super::node::{Id, Node, Pickled};
use super::{MAX_DEPTH, UNFOLDING, UNFOLDING_FREE};
use crate::dict::{Dict, Key};
use crate::elements::tensor_over;
use crate::fault::{Outcome, wrong};
use crate::value::Value;

/// The tree of a pickle, whose used storages have been read.
pub(crate) fn to_value(pickled: &Pickled<'_>, storages: &[Option<Storage>]) -> Outcome<Value> {
    let allowance = pickled.length.saturating_mul(UNFOLDING).saturating_add(UNFOLDING_FREE);
    let made = vec![None; pickled.tensors.len()];
    Tree { pickled, storages, made, allowance }.value(pickled.root, 0)
}

struct Tree<'p, 'a> {
    pickled: &'p Pickled<'a>,
    storages: &'p [Option<Storage>],
    /// Tensors that occur twice are one tensor.
    made: Vec<Option<Tensor>>,
    /// What the tree may still grow by: an object that occurs in many places is there many times in the tree.
    allowance: usize,
}

impl Tree<'_, '_> {
    fn spend(&mut self, n: usize) -> Outcome<()> {
        match self.allowance.checked_sub(n) {
            Some(left) => {
                self.allowance = left;
                Ok(())
            }
            None => {
                wrong("the pickle's objects contain each other so often that they unfold without measure")
            }
        }
    }

    fn value(&mut self, id: Id, depth: usize) -> Outcome<Value> {
        if depth > MAX_DEPTH {
            return wrong(format!(
                "more than {MAX_DEPTH} containers inside each other, or one inside itself"
            ));
        }
        self.spend(1)?;
        let pickled = self.pickled;
        Ok(match &pickled.nodes[id as usize] {
            Node::None => Value::None,
            Node::Bool(b) => Value::Bool(*b),
            Node::Int(n) => Value::Int(*n),
            Node::BigInt(n) => {
                self.spend(n.to_le_bytes().len())?;
                Value::BigInt(n.as_ref().clone())
            }
            Node::Float(x) => Value::Float(*x),
            Node::Str(text) => {
                self.spend(text.len())?;
                Value::Str(text.to_string())
            }
            Node::Bytes(bytes) => {
                self.spend(bytes.len())?;
                Value::Bytes(bytes.to_vec())
            }
            Node::List(items) => Value::List(self.values(items, depth)?),
            Node::Tuple(items) => Value::Tuple(self.values(items, depth)?),
            Node::Set(items) => Value::Set(self.keys(items, depth)?),
            Node::Dict(items) => Value::Dict(self.dict(items, depth)?),
            Node::OrderedDict(items) => Value::OrderedDict(self.dict(items, depth)?),
            Node::Size(sizes) => {
                self.spend(sizes.len())?;
                Value::Size(sizes.clone())
            }
            Node::DType(dtype) => Value::DType(*dtype),
            Node::Device(name) => Value::Device(name.to_string()),
            Node::Tensor(number) => self.tensor(*number)?,
            node @ (Node::Global(_) | Node::Storage(_)) => {
                return wrong(format!("the pickle has {} as a value of its own", node.kind()));
            }
        })
    }

    fn values(&mut self, items: &[Id], depth: usize) -> Outcome<Vec<Value>> {
        items.iter().map(|&id| self.value(id, depth + 1)).collect()
    }

    fn key(&mut self, id: Id, depth: usize) -> Outcome<Key> {
        let key = self.value(id, depth + 1)?;
        Key::of(key).or_else(|kind| wrong(format!("a key or set element of type {kind}")))
    }

    fn keys(&mut self, items: &[Id], depth: usize) -> Outcome<Vec<Key>> {
        let mut seen = std::collections::HashSet::new();
        let mut keys = Vec::new();
        for &id in items {
            let key = self.key(id, depth)?;
            if seen.insert(key.clone()) {
                keys.push(key);
            }
        }
        Ok(keys)
    }

    fn dict(&mut self, items: &[(Id, Id)], depth: usize) -> Outcome<Dict> {
        let mut dict = Dict::new();
        for &(key, value) in items {
            dict.insert(self.key(key, depth)?, self.value(value, depth + 1)?);
        }
        Ok(dict)
    }

    fn tensor(&mut self, number: usize) -> Outcome<Value> {
        let spec = &self.pickled.tensors[number];
        let tensor = match &self.made[number] {
            Some(tensor) => tensor.clone(),
            None => {
                let Some(storage) = &self.storages[spec.storage] else {
                    return wrong("a tensor whose storage was not read");
                };
                let raw = tensor_over(storage, spec.dtype, &spec.shape, &spec.strides, spec.offset)?;
                let tensor = Tensor::from_raw(raw).requires_grad_(spec.requires_grad)?;
                self.made[number] = Some(tensor.clone());
                tensor
            }
        };
        Ok(if spec.parameter { Value::Parameter(tensor) } else { Value::Tensor(tensor) })
    }
}
