//! The arena that the machine works on.

use std::borrow::Cow;

use kiln_autograd::DType;

use super::globals::Global;
use crate::bigint::BigInt;

/// The number of a node.
pub(crate) type Id = u32;

/// A Python object.
pub(crate) enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    BigInt(Box<BigInt>),
    Float(f64),
    Str(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Set(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    OrderedDict(Vec<(Id, Id)>),
    Size(Vec<usize>),
    DType(DType),
    Device(Box<str>),
    /// A function or class of the allow list.
    Global(Global),
    /// A number among the machine's views of storages.
    Storage(usize),
    /// A number in [`Pickled::tensors`].
    Tensor(usize),
}

impl Node<'_> {
    /// For messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Node::None => "None",
            Node::Bool(_) => "a bool",
            Node::Int(_) | Node::BigInt(_) => "an int",
            Node::Float(_) => "a float",
            Node::Str(_) => "a str",
            Node::Bytes(_) => "bytes",
            Node::List(_) => "a list",
            Node::Tuple(_) => "a tuple",
            Node::Set(_) => "a set",
            Node::Dict(_) => "a dict",
            Node::OrderedDict(_) => "an OrderedDict",
            Node::Size(_) => "a torch.Size",
            Node::DType(_) => "a dtype",
            Node::Device(_) => "a device",
            Node::Global(_) => "a function or class",
            Node::Storage(_) => "a storage",
            Node::Tensor(_) => "a tensor",
        }
    }
}

/// A storage that tensors of the pickle lie in.
pub(crate) struct StorageSpec {
    /// Its name in the file.
    pub(crate) key: String,
    /// None for an untyped storage that no tensor has given a type yet.
    pub(crate) dtype: Option<DType>,
    /// Its elements; bytes for an untyped one.
    pub(crate) count: usize,
    /// Whether the file calls it untyped, so that `count` is in bytes.
    pub(crate) untyped: bool,
    /// Whether a tensor lies in it.
    pub(crate) used: bool,
}

/// A storage, or a part of one, as PyTorch had them before 0.4.
#[derive(Clone, Copy)]
pub(crate) struct StorageView {
    pub(crate) storage: usize,
    /// The first element and the number of elements; none means all.
    pub(crate) part: Option<(usize, usize)>,
}

/// A tensor as the file describes it.
#[derive(Clone)]
pub(crate) struct TensorSpec {
    pub(crate) storage: usize,
    pub(crate) dtype: DType,
    pub(crate) offset: usize,
    pub(crate) shape: Vec<usize>,
    pub(crate) strides: Vec<usize>,
    pub(crate) requires_grad: bool,
    pub(crate) parameter: bool,
}

/// What a program left behind.
pub(crate) struct Pickled<'a> {
    pub(crate) nodes: Vec<Node<'a>>,
    pub(crate) root: Id,
    pub(crate) storages: Vec<StorageSpec>,
    pub(crate) tensors: Vec<TensorSpec>,
    /// Bytes of the program.
    pub(crate) length: usize,
}
