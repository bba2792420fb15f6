//! [`StateValue`]: what optimizers and schedules save, in a form that any file format can hold.

use kiln_autograd::{Error, Result, Tensor};

/// A value of a saved state: what PyTorch puts into the dictionaries of its `state_dict()`s.
///
/// ```
/// use kiln_optim::StateValue;
/// let saved = StateValue::dict([("gamma", 0.1.into()), ("milestones", vec![StateValue::from(30)].into())]);
/// assert_eq!(saved.get("gamma").and_then(StateValue::number), Some(0.1));
/// ```
#[derive(Clone, Debug)]
pub enum StateValue {
    /// Not set.
    None,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
    /// A tensor.
    Tensor(Tensor),
    /// Several values, as the two decays of Adam.
    List(Vec<StateValue>),
    /// Keys, most often texts, with their values, in order.
    Dict(Vec<(StateValue, StateValue)>),
}

impl StateValue {
    /// A dictionary with texts as keys.
    pub fn dict<'a>(entries: impl IntoIterator<Item = (&'a str, StateValue)>) -> StateValue {
        StateValue::Dict(entries.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    /// The value under a text of a dictionary; none if this is no dictionary.
    pub fn get(&self, name: &str) -> Option<&StateValue> {
        let StateValue::Dict(entries) = self else { return None };
        entries.iter().find(|(key, _)| key.text() == Some(name)).map(|(_, value)| value)
    }

    /// The value as a number, if it is one; so are truth values and tensors of one element.
    pub fn number(&self) -> Option<f64> {
        match self {
            StateValue::Float(x) => Some(*x),
            StateValue::Int(n) => Some(*n as f64),
            StateValue::Bool(b) => Some(*b as u8 as f64),
            StateValue::Tensor(t) if t.numel() == 1 => t.detach().to_f64().ok(),
            _ => None,
        }
    }

    /// The value as an integer, if it is one or a number without a fraction.
    pub fn int(&self) -> Option<i64> {
        match self {
            StateValue::Int(n) => Some(*n),
            StateValue::Bool(_) => None,
            other => other.number().filter(|x| x.trunc() == *x && x.abs() < 2f64.powi(63)).map(|x| x as i64),
        }
    }

    /// The value as a truth value, if it is one.
    pub fn flag(&self) -> Option<bool> {
        match self {
            StateValue::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// The value as a text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            StateValue::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The values of a list; none if this is no list.
    pub fn list(&self) -> Option<&[StateValue]> {
        match self {
            StateValue::List(values) => Some(values),
            _ => None,
        }
    }

    /// The numbers of a list of numbers.
    pub fn numbers(&self) -> Option<Vec<f64>> {
        self.list()?.iter().map(StateValue::number).collect()
    }
}

/// Equal kinds with equal content; tensors are equal when they are handles of the same one.
impl PartialEq for StateValue {
    fn eq(&self, other: &StateValue) -> bool {
        use StateValue as V;
        match (self, other) {
            (V::None, V::None) => true,
            (V::Bool(a), V::Bool(b)) => a == b,
            (V::Int(a), V::Int(b)) => a == b,
            (V::Float(a), V::Float(b)) => a == b,
            (V::Text(a), V::Text(b)) => a == b,
            (V::Tensor(a), V::Tensor(b)) => a.is_same(b),
            (V::List(a), V::List(b)) => a == b,
            (V::Dict(a), V::Dict(b)) => a == b,
            _ => false,
        }
    }
}

macro_rules! from {
    ($($from:ty: |$x:ident| $value:expr;)*) => {$(
        impl From<$from> for StateValue {
            fn from($x: $from) -> StateValue {
                $value
            }
        }
    )*};
}
from! {
    f64: |x| StateValue::Float(x);
    i64: |n| StateValue::Int(n);
    bool: |b| StateValue::Bool(b);
    &str: |text| StateValue::Text(text.to_owned());
    String: |text| StateValue::Text(text);
    Tensor: |t| StateValue::Tensor(t);
    Vec<StateValue>: |values| StateValue::List(values);
    &[f64]: |values| StateValue::List(values.iter().map(|x| (*x).into()).collect());
    (f64, f64): |pair| StateValue::List(vec![pair.0.into(), pair.1.into()]);
}

impl<T: Into<StateValue>> From<Option<T>> for StateValue {
    fn from(value: Option<T>) -> StateValue {
        value.map_or(StateValue::None, Into::into)
    }
}

/// The type of an option: to a saved value and back.
pub(crate) trait Field: Clone {
    fn save(&self) -> StateValue;
    /// None: the value is of the wrong kind.
    fn load(value: &StateValue) -> Option<Self>;
}

macro_rules! fields {
    ($($ty:ty: |$x:ident| $save:expr, |$value:ident| $load:expr;)*) => {$(
        impl Field for $ty {
            fn save(&self) -> StateValue {
                let $x = self;
                $save
            }
            fn load($value: &StateValue) -> Option<$ty> {
                $load
            }
        }
    )*};
}
fields! {
    f64: |x| (*x).into(), |value| value.number();
    i64: |n| (*n).into(), |value| value.int();
    bool: |b| (*b).into(), |value| value.flag();
    usize: |n| StateValue::Int(*n as i64), |value| value.int().and_then(|n| n.try_into().ok());
    String: |text| text.as_str().into(), |value| value.text().map(str::to_owned);
    (f64, f64): |pair| (*pair).into(), |value| match value.numbers()?[..] {
        [a, b] => Some((a, b)),
        _ => None,
    };
    (f64, f64, f64): |x| [x.0, x.1, x.2][..].into(), |value| match value.numbers()?[..] {
        [a, b, c] => Some((a, b, c)),
        _ => None,
    };
    (Option<f64>, f64): |x| vec![x.0.into(), x.1.into()].into(), |value| match value.list()? {
        [a, b] => Some((Option::<f64>::load(a)?, b.number()?)),
        _ => None,
    };
}

impl<T: Field + Into<StateValue>> Field for Option<T> {
    fn save(&self) -> StateValue {
        self.as_ref().map_or(StateValue::None, T::save)
    }

    fn load(value: &StateValue) -> Option<Option<T>> {
        match value {
            StateValue::None => Some(None),
            other => T::load(other).map(Some),
        }
    }
}

/// Reads an entry of a saved dictionary.
pub(crate) fn entry<T: Field>(state: &StateValue, name: &str) -> Result<T> {
    let Some(value) = state.get(name) else {
        return Err(Error::value("load_state_dict", format!("the state has no entry {name:?}")));
    };
    T::load(value).ok_or_else(|| {
        Error::value("load_state_dict", format!("the entry {name:?} of the state cannot be {value:?}"))
    })
}
