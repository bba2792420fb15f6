//! [`Value`]: what a checkpoint holds, as a tree.

use std::fmt;

use kiln_autograd::{DType, Error, Here, Result, Tensor};

use crate::bigint::{BigInt, Integer};
use crate::dict::{Dict, Key};

/// A Python value of the kinds that checkpoints are made of.
///
/// ```
/// use kiln_autograd::Tensor;
/// use kiln_io::Value;
/// let checkpoint = Value::dict([
///     ("epoch", 3.into()),
///     ("weight", Tensor::zeros([2, 2]).into()),
///     ("history", vec![0.5, 0.25].into()),
/// ]);
/// assert_eq!(checkpoint.get("epoch")?.to_i64()?, 3);
/// assert_eq!(checkpoint.get("history")?.items()?[1].to_f64()?, 0.25);
/// let error = checkpoint.get("loss").unwrap_err().to_string();
/// assert!(error.contains("'epoch', 'weight', 'history'"), "{error}");
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
#[derive(Clone)]
pub enum Value {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer of at most 64 bits.
    Int(i64),
    /// A larger integer.
    BigInt(BigInt),
    /// A float.
    Float(f64),
    /// A `str`.
    Str(String),
    /// `bytes` or a `bytearray`.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Value>),
    /// A tuple.
    Tuple(Vec<Value>),
    /// A set; in the order of the file.
    Set(Vec<Key>),
    /// A `dict`; also a `collections.Counter`.
    Dict(Dict),
    /// A `collections.OrderedDict`, as `state_dict()` gives.
    OrderedDict(Dict),
    /// A `torch.Size`.
    Size(Vec<usize>),
    /// A `torch.Tensor`.
    Tensor(Tensor),
    /// An `nn.Parameter`.
    Parameter(Tensor),
    /// A `torch.dtype`.
    DType(DType),
    /// A `torch.device`, as PyTorch writes it: `cpu`, `cuda:0`.
    Device(String),
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident -> $t:ty, $wanted:literal, $($pattern:pat => $value:expr),+) => {
        $(#[$doc])*
        ///
        /// # Errors
        /// It is something else.
        #[track_caller]
        pub fn $name(&self) -> Result<$t> {
            match self {
                $($pattern => Ok($value),)+
                other => Err(other.is_no($wanted)),
            }
        }
    };
}

impl Value {
    /// A dict of names and values, in order.
    pub fn dict<K: Into<Key>>(entries: impl IntoIterator<Item = (K, Value)>) -> Value {
        Value::Dict(entries.into_iter().collect())
    }

    /// An `OrderedDict` of named tensors: a state dict.
    pub fn state_dict<K: Into<Key>>(entries: impl IntoIterator<Item = (K, Tensor)>) -> Value {
        Value::OrderedDict(entries.into_iter().map(|(name, t)| (name, Value::Tensor(t))).collect())
    }

    /// Python's name of the type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::None => "NoneType",
            Value::Bool(_) => "bool",
            Value::Int(_) | Value::BigInt(_) => "int",
            Value::Float(_) => "float",
            Value::Str(_) => "str",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "list",
            Value::Tuple(_) => "tuple",
            Value::Set(_) => "set",
            Value::Dict(_) => "dict",
            Value::OrderedDict(_) => "OrderedDict",
            Value::Size(_) => "torch.Size",
            Value::Tensor(_) => "Tensor",
            Value::Parameter(_) => "Parameter",
            Value::DType(_) => "torch.dtype",
            Value::Device(_) => "torch.device",
        }
    }

    fn is_no(&self, wanted: &str) -> Error {
        Error::value("checkpoint", format!("expected {wanted}, found a value of type {}", self.type_name()))
    }

    number! {
        /// The truth value.
        to_bool -> bool, "a bool", Value::Bool(b) => *b
    }
    number! {
        /// The integer; a bool counts as one, as in Python.
        to_i64 -> i64, "an int of 64 bits", Value::Int(n) => *n, Value::Bool(b) => i64::from(*b)
    }
    number! {
        /// The number; integers are converted.
        to_f64 -> f64, "a number", Value::Float(x) => *x, Value::Int(n) => *n as f64, Value::Bool(b) => f64::from(*b)
    }
    number! {
        /// The text.
        to_str -> &str, "a str", Value::Str(s) => s
    }
    number! {
        /// The tensor or parameter: a handle to the same memory.
        to_tensor -> Tensor, "a tensor", Value::Tensor(t) | Value::Parameter(t) => t.clone()
    }
    number! {
        /// The content of a dict of either kind.
        to_dict -> &Dict, "a dict", Value::Dict(d) | Value::OrderedDict(d) => d
    }
    number! {
        /// The elements of a list or a tuple.
        items -> &[Value], "a list or a tuple", Value::List(v) | Value::Tuple(v) => v
    }

    /// Whether this is `None`.
    pub fn is_none(&self) -> bool {
        matches!(self, Value::None)
    }

    /// The entry of a dict (`checkpoint["epoch"]`).
    ///
    /// # Errors
    /// This is no dict, or it has no such entry; the message lists those that there are.
    #[track_caller]
    pub fn get(&self, key: impl Into<Key>) -> Result<&Value> {
        let (dict, key) = (self.to_dict().here()?, key.into());
        dict.get(&key)
            .ok_or_else(|| {
                Error::value("checkpoint", format!("there is no entry {key}; there are {}", dict.summary()))
            })
            .here()
    }

    /// The named tensors of a state dict, in order.
    ///
    /// # Errors
    /// This is no dict, or an entry is no tensor or has no name: a whole training checkpoint has its state dicts as entries,
    /// to be taken with [`Value::get`] first.
    #[track_caller]
    pub fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let dict = self.to_dict().here()?;
        let entries = dict.iter().map(|(key, value)| match (key, value) {
            (Key::Str(name), Value::Tensor(t) | Value::Parameter(t)) => Ok((name.clone(), t.clone())),
            _ => Err(Error::value(
                "state_dict",
                format!(
                    "the entry {key} is of type {}, no named tensor; the dict has {}: if one of them is the state dict, \
                     take it with get first",
                    value.type_name(),
                    dict.summary()
                ),
            )),
        });
        entries.collect::<Result<_>>().here()
    }
}

macro_rules! value_from {
    ($($t:ty, $v:ident => $value:expr;)*) => {
        $(impl From<$t> for Value {
            fn from($v: $t) -> Value {
                $value
            }
        })*
    };
}

value_from! {
    bool, b => Value::Bool(b);
    i32, n => Value::Int(n.into());
    u32, n => Value::Int(n.into());
    i64, n => Value::Int(n);
    u64, n => Integer::from(n).into();
    usize, n => Integer::from(n as u64).into();
    f32, x => Value::Float(x.into());
    f64, x => Value::Float(x);
    &str, s => Value::Str(s.to_owned());
    String, s => Value::Str(s);
    Tensor, t => Value::Tensor(t);
    &Tensor, t => Value::Tensor(t.clone());
    DType, d => Value::DType(d);
    Dict, d => Value::Dict(d);
    Integer, n => match n {
        Integer::Small(n) => Value::Int(n),
        Integer::Big(n) => Value::BigInt(n),
    };
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Value {
        Value::List(items.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(item: Option<T>) -> Value {
        item.map_or(Value::None, Into::into)
    }
}

impl<A: Into<Value>, B: Into<Value>> From<(A, B)> for Value {
    fn from((a, b): (A, B)) -> Value {
        Value::Tuple(vec![a.into(), b.into()])
    }
}

/// As Python would print it, but tensors by dtype and shape alone.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list(f: &mut fmt::Formatter<'_>, items: &[impl fmt::Display]) -> fmt::Result {
            for (i, item) in items.iter().enumerate() {
                let comma = if i > 0 { ", " } else { "" };
                write!(f, "{comma}{item}")?;
            }
            Ok(())
        }
        match self {
            Value::List(items) => {
                f.write_str("[")?;
                list(f, items)?;
                f.write_str("]")
            }
            Value::Tuple(items) => {
                f.write_str("(")?;
                list(f, items)?;
                f.write_str(if items.len() == 1 { ",)" } else { ")" })
            }
            Value::Set(items) if items.is_empty() => f.write_str("set()"),
            Value::Set(items) => {
                f.write_str("{")?;
                list(f, items)?;
                f.write_str("}")
            }
            Value::Dict(dict) => write!(f, "{{{dict}}}"),
            Value::OrderedDict(dict) => write!(f, "OrderedDict({{{dict}}})"),
            Value::Size(sizes) => write!(f, "torch.Size({sizes:?})"),
            Value::Tensor(t) => write!(f, "<Tensor {} {:?}>", t.dtype(), t.dims()),
            Value::Parameter(t) => write!(f, "<Parameter {} {:?}>", t.dtype(), t.dims()),
            Value::None => f.write_str("None"),
            Value::Bool(true) => f.write_str("True"),
            Value::Bool(false) => f.write_str("False"),
            Value::Int(n) => n.fmt(f),
            Value::BigInt(n) => n.fmt(f),
            Value::Float(x) => write!(f, "{x:?}"),
            Value::Str(s) => write!(f, "'{}'", s.escape_debug()),
            Value::Bytes(b) => write!(f, "b'{}'", b.escape_ascii()),
            Value::DType(d) => write!(f, "torch.{d}"),
            Value::Device(d) => write!(f, "device(type='{}')", d.escape_debug()),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
