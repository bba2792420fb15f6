//! What the names of the allow list do when a pickle calls them.

use std::borrow::Cow;

use kiln_autograd::DType;

use super::globals::Global;
use super::machine::Machine;
use super::node::{Id, Node, StorageView, TensorSpec};
use crate::fault::{Outcome, unsupported, wrong};

impl<'a> Machine<'a> {
    /// Calls a function or class.
    pub(super) fn call(&mut self, callee: Global, args: &[Id]) -> Outcome<Id> {
        let node = match (callee, args) {
            (Global::OrderedDict, []) => Node::OrderedDict(Vec::new()),
            (Global::OrderedDict, [items]) => Node::OrderedDict(self.pairs(*items)?),
            (Global::Counter, []) => Node::Dict(Vec::new()),
            (Global::Counter, [items]) => Node::Dict(self.pairs(*items)?),
            (Global::Set, []) => Node::Set(Vec::new()),
            (Global::Set, [items]) => match self.node(*items) {
                Node::List(items) | Node::Tuple(items) => {
                    let items = items.clone();
                    self.spend(items.len())?;
                    Node::Set(items)
                }
                other => return wrong(format!("a set of {}", other.kind())),
            },
            (Global::Bytes | Global::ByteArray, []) => Node::Bytes(Cow::Borrowed(&[])),
            (Global::ByteArray, [bytes]) => match self.node(*bytes) {
                Node::Bytes(bytes) => {
                    let bytes = bytes.clone();
                    self.spend(bytes.len())?;
                    Node::Bytes(bytes)
                }
                other => return wrong(format!("a bytearray of {}", other.kind())),
            },
            (Global::ByteArray | Global::Encode, [text, encoding]) => self.encoded(*text, *encoding)?,
            (Global::Size, [sizes]) => Node::Size(self.sizes(*sizes)?),
            (Global::Device, [name]) => match self.node(*name) {
                Node::Str(name) => {
                    let name: Box<str> = name.as_ref().into();
                    self.device(name)?
                }
                other => return wrong(format!("a device of {}", other.kind())),
            },
            (Global::Device, [name, index]) => match (self.node(*name), self.node(*index)) {
                (Node::Str(name), Node::Int(index)) => {
                    let name = format!("{name}:{index}").into();
                    self.device(name)?
                }
                _ => return wrong("a device whose name or number is none"),
            },
            (Global::RebuildTensor, [storage, offset, size, stride]) => {
                self.tensor([*storage, *offset, *size, *stride], false, None)?
            }
            (Global::RebuildTensorV2, [storage, offset, size, stride, requires_grad, _hooks, rest @ ..])
                if rest.len() <= 1 =>
            {
                self.no_metadata(rest)?;
                let requires_grad = self.flag(*requires_grad)?;
                self.tensor([*storage, *offset, *size, *stride], requires_grad, None)?
            }
            (
                Global::RebuildTensorV3,
                [storage, offset, size, stride, requires_grad, _hooks, dtype, rest @ ..],
            ) if rest.len() <= 1 => {
                self.no_metadata(rest)?;
                let requires_grad = self.flag(*requires_grad)?;
                let Node::DType(dtype) = *self.node(*dtype) else {
                    return wrong("a tensor whose dtype is none");
                };
                self.tensor([*storage, *offset, *size, *stride], requires_grad, Some(dtype))?
            }
            (Global::RebuildParameter, [data, requires_grad, _])
            | (Global::RebuildParameterWithState, [data, requires_grad, _, _])
            | (Global::Parameter, [data, requires_grad]) => {
                let requires_grad = self.flag(*requires_grad)?;
                self.parameter(*data, requires_grad)?
            }
            (Global::Parameter, [data]) => self.parameter(*data, true)?,
            (Global::RebuildFromType, [function, class, args, _state]) => {
                let (Node::Global(function), Node::Global(class), Node::Tuple(args)) =
                    (self.node(*function), self.node(*class), self.node(*args))
                else {
                    return wrong("a tensor of a class that is none");
                };
                let (function, class, args) = (*function, *class, args.clone());
                self.spend(args.len())?;
                if !matches!(class, Global::Tensor | Global::Parameter) || !function.rebuilds_a_tensor() {
                    return wrong(format!("a {class:?} made by {function:?}"));
                }
                // Functions that rebuild tensors call nothing in turn: this goes no deeper.
                return self.call(function, &args);
            }
            _ => return wrong(format!("a call of {callee:?} with {} arguments", args.len())),
        };
        self.add(node)
    }

    /// The storage that a persistent id names.
    pub(super) fn storage(&mut self, id: Id) -> Outcome<Node<'a>> {
        let Node::Tuple(parts) = self.node(id) else {
            return wrong(format!("a persistent id that is {}, not a tuple", self.node(id).kind()));
        };
        let (tag, class, key, count, view) = match parts.as_slice() {
            // The location is where the storage was; here it goes to the host.
            [tag, class, key, _location, count] => (*tag, *class, *key, *count, None),
            [tag, class, key, _location, count, view] => (*tag, *class, *key, *count, Some(*view)),
            other => return wrong(format!("a persistent id of {} parts", other.len())),
        };
        if !matches!(self.node(tag), Node::Str(tag) if tag == "storage") {
            return wrong("a persistent id of something that is no storage");
        }
        let (&Node::Global(Global::Storage(dtype)), Node::Str(key)) = (self.node(class), self.node(key))
        else {
            return wrong("a storage whose class or key is none");
        };
        let key = key.clone();
        let count = self.count(count)?;
        let storage = self.place(&key, dtype, count)?;
        let part = match view.map(|view| self.node(view)) {
            None | Some(Node::None) => None,
            Some(Node::Tuple(parts)) if parts.len() == 3 => {
                let (first, length) = (parts[1], parts[2]);
                let (first, length) = (self.count(first)?, self.count(length)?);
                if first.checked_add(length).is_none_or(|end| end > count) {
                    return wrong(format!("{length} elements from {first} on of a storage of {count}"));
                }
                Some((first, length))
            }
            Some(other) => return wrong(format!("a view of a storage that is {}", other.kind())),
        };
        self.views.push(StorageView { storage, part });
        Ok(Node::Storage(self.views.len() - 1))
    }

    fn tensor(
        &mut self,
        [storage, offset, size, stride]: [Id; 4],
        requires_grad: bool,
        dtype: Option<DType>,
    ) -> Outcome<Node<'a>> {
        let Node::Storage(view) = *self.node(storage) else {
            return wrong(format!("a tensor whose storage is {}", self.node(storage).kind()));
        };
        let StorageView { storage, part } = self.views[view];
        let offset = self.count(offset)?;
        let (shape, strides) = (self.sizes(size)?, self.sizes(stride)?);
        let spec = &mut self.storages[storage];
        let dtype = match (spec.dtype, dtype) {
            (Some(known), Some(asked)) if known != asked => {
                return unsupported(format!("one storage seen as {known} and as {asked}"));
            }
            (Some(dtype), _) | (None, Some(dtype)) => dtype,
            (None, None) => return wrong("a tensor without a dtype"),
        };
        spec.dtype = Some(dtype);
        spec.used = true;
        let Some(offset) = offset.checked_add(part.map_or(0, |(first, _)| first)) else {
            return wrong("a tensor that begins past its storage");
        };
        let spec = TensorSpec { storage, dtype, offset, shape, strides, requires_grad, parameter: false };
        self.tensors.push(spec);
        Ok(Node::Tensor(self.tensors.len() - 1))
    }

    fn parameter(&mut self, data: Id, requires_grad: bool) -> Outcome<Node<'a>> {
        let Node::Tensor(tensor) = *self.node(data) else {
            return wrong(format!("a parameter whose data is {}", self.node(data).kind()));
        };
        let spec = self.tensors[tensor].clone();
        self.spend(2 * spec.shape.len())?;
        self.tensors.push(TensorSpec { requires_grad, parameter: true, ..spec });
        Ok(Node::Tensor(self.tensors.len() - 1))
    }

    /// The flags of views that PyTorch negates or conjugates on the fly: without them, or none set.
    fn no_metadata(&self, rest: &[Id]) -> Outcome<()> {
        match rest.first().map(|&id| self.node(id)) {
            None | Some(Node::None) => Ok(()),
            Some(Node::Dict(items) | Node::OrderedDict(items)) if items.is_empty() => Ok(()),
            Some(_) => unsupported("a tensor that is conjugated or negated on the fly"),
        }
    }

    fn flag(&self, id: Id) -> Outcome<bool> {
        match self.node(id) {
            Node::Bool(flag) => Ok(*flag),
            Node::Int(n @ 0..=1) => Ok(*n == 1),
            other => wrong(format!("requires_grad that is {}", other.kind())),
        }
    }

    /// An integer that counts something.
    fn count(&self, id: Id) -> Outcome<usize> {
        match self.node(id) {
            Node::Int(n) => {
                usize::try_from(*n).or_else(|_| wrong(format!("a size, stride or position of {n}")))
            }
            other => wrong(format!("a size, stride or position that is {}", other.kind())),
        }
    }

    fn sizes(&mut self, id: Id) -> Outcome<Vec<usize>> {
        let sizes = match self.node(id) {
            Node::Tuple(items) => items.iter().map(|&id| self.count(id)).collect::<Outcome<Vec<usize>>>()?,
            Node::Size(sizes) => sizes.clone(),
            other => return wrong(format!("sizes or strides that are {}", other.kind())),
        };
        self.spend(sizes.len())?;
        Ok(sizes)
    }

    fn pairs(&mut self, id: Id) -> Outcome<Vec<(Id, Id)>> {
        let items = match self.node(id) {
            Node::List(items) | Node::Tuple(items) => items,
            Node::Dict(items) | Node::OrderedDict(items) => {
                let items = items.clone();
                self.spend(items.len())?;
                return Ok(items);
            }
            other => return wrong(format!("a dict of {}", other.kind())),
        };
        let pair = |&id: &Id| match self.node(id) {
            Node::List(pair) | Node::Tuple(pair) if pair.len() == 2 => Ok((pair[0], pair[1])),
            other => wrong(format!("a dict entry that is {}", other.kind())),
        };
        let pairs = items.iter().map(pair).collect::<Outcome<Vec<(Id, Id)>>>()?;
        self.spend(pairs.len())?;
        Ok(pairs)
    }

    /// Bytes as protocol 2 writes them: a text whose characters are the bytes.
    fn encoded(&mut self, text: Id, encoding: Id) -> Outcome<Node<'a>> {
        let (Node::Str(text), Node::Str(encoding)) = (self.node(text), self.node(encoding)) else {
            return wrong("bytes of something that is no text");
        };
        if !matches!(encoding.as_ref(), "latin1" | "latin-1") {
            return wrong("bytes in an encoding that is not latin1");
        }
        let length = text.len();
        let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
        self.spend(length)?;
        match bytes {
            Some(bytes) => Ok(Node::Bytes(Cow::Owned(bytes))),
            None => wrong("bytes with a character beyond latin1"),
        }
    }

    fn device(&mut self, name: Box<str>) -> Outcome<Node<'a>> {
        self.spend(name.len())?;
        let (kind, index) = name.split_once(':').map_or((&*name, None), |(kind, index)| (kind, Some(index)));
        let named = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        if !named || index.is_some_and(|index| index.parse::<u16>().is_err()) {
            return wrong(format!("a device named {:?}", name.chars().take(40).collect::<String>()));
        }
        Ok(Node::Device(name))
    }
}

impl Global {
    fn rebuilds_a_tensor(self) -> bool {
        use Global::*;
        matches!(
            self,
            RebuildTensor | RebuildTensorV2 | RebuildTensorV3 | RebuildParameter | RebuildParameterWithState
        )
    }
}
