//! [`Dict`]: Python's dict, which keeps the order of its entries, and [`Key`], what can be a key.

use std::collections::HashMap;
use std::fmt;

use kiln_autograd::DType;

use crate::bigint::BigInt;
use crate::value::Value;

/// What can be a key of a [`Dict`] or an element of a set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// `None`.
    None,
    /// A truth value.
    Bool(bool),
    /// An integer of at most 64 bits.
    Int(i64),
    /// A larger integer.
    BigInt(BigInt),
    /// A float, by its bits.
    Float(u64),
    /// A text.
    Str(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A tuple.
    Tuple(Vec<Key>),
    /// A `torch.Size`.
    Size(Vec<usize>),
    /// A dtype.
    DType(DType),
    /// A device.
    Device(String),
}

impl Key {
    /// The key that a value is; none for lists, sets, dicts and tensors.
    pub(crate) fn of(value: Value) -> Result<Key, &'static str> {
        Ok(match value {
            Value::None => Key::None,
            Value::Bool(b) => Key::Bool(b),
            Value::Int(n) => Key::Int(n),
            Value::BigInt(n) => Key::BigInt(n),
            Value::Float(x) => Key::Float(x.to_bits()),
            Value::Str(s) => Key::Str(s),
            Value::Bytes(b) => Key::Bytes(b),
            Value::Tuple(items) => Key::Tuple(items.into_iter().map(Key::of).collect::<Result<_, _>>()?),
            Value::Size(sizes) => Key::Size(sizes),
            Value::DType(d) => Key::DType(d),
            Value::Device(d) => Key::Device(d),
            other => return Err(other.type_name()),
        })
    }
}

impl From<Key> for Value {
    fn from(key: Key) -> Value {
        match key {
            Key::None => Value::None,
            Key::Bool(b) => Value::Bool(b),
            Key::Int(n) => Value::Int(n),
            Key::BigInt(n) => Value::BigInt(n),
            Key::Float(bits) => Value::Float(f64::from_bits(bits)),
            Key::Str(s) => Value::Str(s),
            Key::Bytes(b) => Value::Bytes(b),
            Key::Tuple(items) => Value::Tuple(items.into_iter().map(Value::from).collect()),
            Key::Size(sizes) => Value::Size(sizes),
            Key::DType(d) => Value::DType(d),
            Key::Device(d) => Value::Device(d),
        }
    }
}

macro_rules! key_from {
    ($($t:ty, $v:ident => $key:expr;)*) => {
        $(impl From<$t> for Key {
            fn from($v: $t) -> Key {
                $key
            }
        })*
    };
}

key_from! {
    &str, s => Key::Str(s.to_owned());
    &String, s => Key::Str(s.clone());
    String, s => Key::Str(s);
    i32, n => Key::Int(n.into());
    i64, n => Key::Int(n);
    bool, b => Key::Bool(b);
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Value::from(self.clone()), f)
    }
}

/// Entries in the order in which they were put in.
///
/// ```
/// use kiln_io::Dict;
/// let mut dict = Dict::new();
/// dict.insert("b", 1);
/// dict.insert("a", 2);
/// dict.insert("b", 3);
/// assert_eq!(dict.to_string(), "'b': 3, 'a': 2");
/// ```
#[derive(Clone, Default)]
pub struct Dict {
    entries: Vec<(Key, Value)>,
    places: HashMap<Key, usize>,
}

impl Dict {
    /// An empty one.
    pub fn new() -> Dict {
        Dict::default()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds an entry at the end, or replaces the value of that key, which is returned.
    pub fn insert(&mut self, key: impl Into<Key>, value: impl Into<Value>) -> Option<Value> {
        let (key, value) = (key.into(), value.into());
        if let Some(&place) = self.places.get(&key) {
            return Some(std::mem::replace(&mut self.entries[place].1, value));
        }
        self.places.insert(key.clone(), self.entries.len());
        self.entries.push((key, value));
        None
    }

    /// The value of a key.
    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.places.get(key).map(|&place| &self.entries[place].1)
    }

    /// The entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Value)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    /// The keys for an error message: the first few.
    pub fn summary(&self) -> String {
        let shown: Vec<String> = self.entries.iter().take(12).map(|(key, _)| short(key)).collect();
        match self.len() {
            0 => "no entries".to_owned(),
            n if n > shown.len() => format!("{} and {} more", shown.join(", "), n - shown.len()),
            _ => shown.join(", "),
        }
    }
}

/// A key for a message: files may have keys of megabytes.
fn short(key: &Key) -> String {
    match key {
        Key::Str(text) if text.chars().nth(60).is_some() => {
            format!("'{}...'", text.chars().take(57).collect::<String>().escape_debug())
        }
        Key::Bytes(_) | Key::Tuple(_) => Value::from(key.clone()).type_name().to_owned(),
        key => key.to_string(),
    }
}

impl<K: Into<Key>> FromIterator<(K, Value)> for Dict {
    fn from_iter<I: IntoIterator<Item = (K, Value)>>(entries: I) -> Dict {
        let mut dict = Dict::new();
        for (key, value) in entries {
            dict.insert(key, value);
        }
        dict
    }
}

impl IntoIterator for Dict {
    type Item = (Key, Value);
    type IntoIter = std::vec::IntoIter<(Key, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

/// The entries without braces.
impl fmt::Display for Dict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (key, value)) in self.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{key}: {value}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Dict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}
