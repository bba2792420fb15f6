//! A recorded call, typed.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use super::compare::{Compare, Tolerance};
use super::file::DType;

/// Where a case comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// From PyTorch's operator database.
    Sample,
    /// From the database's references.
    Reference,
    /// Hand-made: special values, empty and 0-dim tensors.
    Edge,
    /// Hand-made: mixed dtypes.
    Promotion,
    /// With strided inputs.
    Strided,
    /// A call that must be refused, from the database.
    Error,
    /// A call that must be refused, hand-made.
    EdgeError,
}

/// One recorded call.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// Unique within the operator.
    pub id: String,
    /// Where the case comes from.
    pub kind: Kind,
    /// The dtype that the case is about.
    pub dtype: DType,
    /// Positional arguments.
    pub args: Vec<Arg>,
    /// Named arguments.
    pub kwargs: BTreeMap<String, Arg>,
    /// The input tensors.
    pub inputs: Vec<Shaped>,
    /// The number of output tensors.
    pub outputs: usize,
    /// What each output looks like; empty for an error case.
    #[serde(default)]
    pub out_info: Vec<OutInfo>,
    /// The structure of the result; none for an error case.
    #[serde(default)]
    pub result: Option<Structure>,
    /// For the outputs.
    #[serde(default)]
    pub tol: Tolerance,
    /// For the gradients.
    #[serde(default)]
    pub grad_tol: Tolerance,
    /// Inputs with a stored gradient.
    #[serde(default)]
    pub grads: Vec<usize>,
    /// Inputs that require a gradient and get none, or zeros.
    #[serde(default)]
    pub grad_none: Vec<usize>,
    /// Second-order gradients are stored.
    #[serde(default)]
    pub gradgrad: bool,
    /// Per output, how to compare it; empty when all are plain: see [`compare`](Self::compare).
    #[serde(default)]
    pub compare: Vec<Option<Compare>>,
    /// Inputs that the call itself changes.
    #[serde(default)]
    pub mutates: Vec<usize>,
    /// The method on `args[0]` gives the same result.
    #[serde(default)]
    pub method_variant: bool,
    /// The in-place form on `args[0]` gives the same result.
    #[serde(default)]
    pub inplace_variant: bool,
    /// The exception with which the in-place form refuses these arguments.
    #[serde(default)]
    pub inplace_raises: Option<String>,
    /// Only structure, dtype and shape are checked.
    #[serde(default)]
    pub nondeterministic: bool,
    /// The exception that the call raises.
    #[serde(default)]
    pub raises: Option<String>,
    /// Its text.
    #[serde(default)]
    pub message: Option<String>,
}

impl Case {
    /// The description of input `k`.
    pub fn input(&self, k: usize) -> Result<&Shaped> {
        self.inputs.iter().find(|i| i.k == k).with_context(|| format!("{} has no input {k}", self.id))
    }

    /// How output `j` is compared.
    pub fn compare(&self, j: usize) -> Compare {
        self.compare.get(j).copied().flatten().unwrap_or_default()
    }

    /// An argument by its position or its name, as Python would bind it.
    pub fn arg(&self, position: usize, name: &str) -> Option<&Arg> {
        self.args.get(position).or_else(|| self.kwargs.get(name))
    }

    /// Whether an output is complex: an implementation without complex numbers skips the case.
    pub fn is_complex(&self) -> bool {
        self.out_info.iter().any(|o| o.dtype.is_complex())
    }
}

/// An input tensor.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Shaped {
    /// Its number.
    #[serde(rename = "ref")]
    pub k: usize,
    /// Element type.
    pub dtype: DType,
    /// Shape.
    pub shape: Vec<usize>,
    /// Whether it is a leaf that requires a gradient.
    pub requires_grad: bool,
    /// How it lies in what is stored, when it is strided.
    #[serde(default)]
    pub view: Option<View>,
}

/// A strided view of a contiguous base, in elements.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct View {
    /// Shape of the base.
    pub base_shape: Vec<usize>,
    /// Shape of the view.
    pub size: Vec<usize>,
    /// Steps in the base; 0 and overlap are possible.
    pub stride: Vec<usize>,
    /// The first element.
    pub offset: usize,
}

/// What an output looks like.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct OutInfo {
    /// Element type.
    pub dtype: DType,
    /// Shape.
    pub shape: Vec<usize>,
    /// The input whose memory the output shares.
    #[serde(default)]
    pub view_of: Option<usize>,
    /// Its strides in that memory.
    #[serde(default)]
    pub stride: Vec<usize>,
    /// Its first element in that memory.
    #[serde(default)]
    pub offset: usize,
}

/// The structure of a result.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Value")]
pub enum Structure {
    /// Output tensor `j`.
    Tensor(usize),
    /// A tuple or list.
    List(Vec<Structure>),
    /// A value that is itself the result.
    Plain(Arg),
}

/// An argument, or a plain value of a result.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Value")]
pub enum Arg {
    /// Absent, `None`.
    None,
    /// A bool.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// A string.
    Str(String),
    /// A list or tuple.
    List(Vec<Arg>),
    /// Input tensor `k`.
    Tensor(usize),
    /// A list of input tensors, some absent.
    Tensors(Vec<Option<usize>>),
    /// A dtype.
    DType(DType),
    /// A memory format, such as `channels_last`.
    MemoryFormat(String),
    /// A layout, `strided`.
    Layout(String),
    /// A device, `cpu`.
    Device(String),
    /// An index expression, one item per position.
    Index(Vec<Index>),
}

impl Arg {
    /// An integer.
    pub fn int(&self) -> Option<i64> {
        if let Self::Int(i) = self { Some(*i) } else { None }
    }

    /// A bool.
    pub fn bool(&self) -> Option<bool> {
        if let Self::Bool(b) = self { Some(*b) } else { None }
    }

    /// A float, or an integer as one.
    pub fn float(&self) -> Option<f64> {
        match self {
            Self::Float(f) => Some(*f),
            Self::Int(i) => Some(*i as f64),
            _ => None,
        }
    }

    /// A string.
    pub fn str(&self) -> Option<&str> {
        if let Self::Str(s) = self { Some(s) } else { None }
    }

    /// A list of integers, or one integer alone.
    pub fn ints(&self) -> Option<Vec<i64>> {
        match self {
            Self::Int(i) => Some(vec![*i]),
            Self::List(items) => items.iter().map(Arg::int).collect(),
            _ => None,
        }
    }
}

/// One position of an index expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Index {
    /// An element.
    Int(i64),
    /// A bool, which adds an axis of length 1 or 0.
    Bool(bool),
    /// A range with a step, each part absent or given.
    Slice(Option<i64>, Option<i64>, Option<i64>),
    /// As many full ranges as are missing.
    Ellipsis,
    /// A new axis of length 1.
    NewAxis,
    /// Integers or a mask: input tensor `k`.
    Tensor(usize),
    /// Integers or bools, nested.
    List(Vec<Index>),
}

/// The only key of an object and its value.
fn tagged(value: &Value) -> Result<(&str, &Value)> {
    let object = value.as_object().filter(|o| o.len() == 1);
    let (key, value) =
        object.and_then(|o| o.iter().next()).with_context(|| format!("cannot decode {value}"))?;
    Ok((key, value))
}

fn number(value: &Value) -> Result<usize> {
    let number = value.as_u64().and_then(|n| usize::try_from(n).ok());
    number.with_context(|| format!("{value} is no tensor's number"))
}

fn text(value: &Value) -> Result<String> {
    Ok(value.as_str().with_context(|| format!("{value} is not a string"))?.to_owned())
}

fn items(value: &Value) -> Result<&Vec<Value>> {
    value.as_array().with_context(|| format!("{value} is not a list"))
}

impl TryFrom<Value> for Arg {
    type Error = anyhow::Error;

    fn try_from(value: Value) -> Result<Self> {
        Arg::decode(&value)
    }
}

impl Arg {
    fn decode(value: &Value) -> Result<Self> {
        Ok(match value {
            Value::Null => Self::None,
            Value::Bool(b) => Self::Bool(*b),
            Value::String(s) => Self::Str(s.clone()),
            Value::Array(list) => Self::List(list.iter().map(Self::decode).collect::<Result<_>>()?),
            Value::Number(n) => match (n.as_i64(), n.as_f64()) {
                (Some(i), _) => Self::Int(i),
                (None, Some(f)) if n.is_f64() => Self::Float(f),
                _ => bail!("{n} does not fit 64 bits"),
            },
            Value::Object(_) => match tagged(value)? {
                ("tensor", k) => Self::Tensor(number(k)?),
                ("tensors", list) => {
                    let one = |v: &Value| if v.is_null() { Ok(None) } else { number(v).map(Some) };
                    Self::Tensors(items(list)?.iter().map(one).collect::<Result<_>>()?)
                }
                ("float", name) => Self::Float(match name.as_str() {
                    Some("nan") => f64::NAN,
                    Some("inf") => f64::INFINITY,
                    Some("-inf") => f64::NEG_INFINITY,
                    _ => bail!("no float named {name}"),
                }),
                ("dtype", name) => Self::DType(DType::from_name(&text(name)?)?),
                ("memory_format", name) => Self::MemoryFormat(text(name)?),
                ("layout", name) => Self::Layout(text(name)?),
                ("device", name) => Self::Device(text(name)?),
                ("index", list) => {
                    Self::Index(items(list)?.iter().map(Index::decode).collect::<Result<_>>()?)
                }
                (key, _) => bail!("no argument is encoded as {key:?}"),
            },
        })
    }
}

impl Index {
    fn decode(value: &Value) -> Result<Self> {
        Ok(match value {
            Value::Bool(b) => Self::Bool(*b),
            Value::Number(n) => Self::Int(n.as_i64().with_context(|| format!("{n} is no index"))?),
            Value::Array(list) => Self::List(list.iter().map(Self::decode).collect::<Result<_>>()?),
            other => match tagged(other)? {
                ("slice", parts) => {
                    let part = |v: &Value| match v {
                        Value::Null => Ok(None),
                        v => v.as_i64().map(Some).with_context(|| format!("{v} is no bound of a slice")),
                    };
                    match items(parts)?.as_slice() {
                        [start, stop, step] => Self::Slice(part(start)?, part(stop)?, part(step)?),
                        _ => bail!("a slice has three parts: {parts}"),
                    }
                }
                ("ellipsis", _) => Self::Ellipsis,
                ("newaxis", _) => Self::NewAxis,
                ("tensor", k) => Self::Tensor(number(k)?),
                (key, _) => bail!("no index is encoded as {key:?}"),
            },
        })
    }
}

impl TryFrom<Value> for Structure {
    type Error = anyhow::Error;

    fn try_from(value: Value) -> Result<Self> {
        Structure::decode(&value)
    }
}

impl Structure {
    fn decode(value: &Value) -> Result<Self> {
        Ok(match value {
            Value::Array(list) => Self::List(list.iter().map(Self::decode).collect::<Result<_>>()?),
            other => match Arg::decode(other)? {
                Arg::Tensor(j) => Self::Tensor(j),
                plain => Self::Plain(plain),
            },
        })
    }
}

impl TryFrom<String> for DType {
    type Error = anyhow::Error;

    fn try_from(name: String) -> Result<Self> {
        Self::from_name(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arg(json: &str) -> Result<Arg, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn arguments_keep_their_types() {
        let rows = [
            ("1", Arg::Int(1)),
            ("-9223372036854775808", Arg::Int(i64::MIN)),
            ("1.0", Arg::Float(1.0)),
            ("1e3", Arg::Float(1000.0)),
            ("0.1", Arg::Float(0.1)),
            ("true", Arg::Bool(true)),
            ("null", Arg::None),
            ("\"mean\"", Arg::Str("mean".to_owned())),
            ("[1, [2.5]]", Arg::List(vec![Arg::Int(1), Arg::List(vec![Arg::Float(2.5)])])),
            (r#"{"tensor": 3}"#, Arg::Tensor(3)),
            (r#"{"tensors": [0, null]}"#, Arg::Tensors(vec![Some(0), None])),
            (r#"{"float": "-inf"}"#, Arg::Float(f64::NEG_INFINITY)),
            (r#"{"dtype": "bfloat16"}"#, Arg::DType(DType::Bfloat16)),
            (r#"{"memory_format": "channels_last"}"#, Arg::MemoryFormat("channels_last".to_owned())),
        ];
        for (json, expected) in rows {
            assert_eq!(arg(json).expect(json), expected, "{json}");
        }
        assert!(matches!(arg(r#"{"float": "nan"}"#), Ok(Arg::Float(f)) if f.is_nan()));
    }

    #[test]
    fn index_expressions_are_decoded() {
        let json = r#"{"index": [0, true, {"slice": [null, 3, -1]}, {"ellipsis": true}, {"newaxis": true},
                       {"tensor": 1}, [[0, 1], [true]]]}"#;
        let list = Index::List(vec![
            Index::List(vec![Index::Int(0), Index::Int(1)]),
            Index::List(vec![Index::Bool(true)]),
        ]);
        let expected = vec![
            Index::Int(0),
            Index::Bool(true),
            Index::Slice(None, Some(3), Some(-1)),
            Index::Ellipsis,
            Index::NewAxis,
            Index::Tensor(1),
            list,
        ];
        assert_eq!(arg(json).expect("a good expression"), Arg::Index(expected));
    }

    #[test]
    fn what_the_format_does_not_have_is_an_error() {
        let bad = [
            "18446744073709551615",
            "{}",
            r#"{"tensor": -1}"#,
            r#"{"tensor": 0, "x": 1}"#,
            r#"{"tensors": 1}"#,
            r#"{"float": "big"}"#,
            r#"{"dtype": "float8"}"#,
            r#"{"index": [{"slice": [1]}]}"#,
            r#"{"index": [1.5]}"#,
            r#"{"what": 1}"#,
        ];
        for json in bad {
            assert!(arg(json).is_err(), "{json}");
        }
    }

    #[test]
    fn results_are_trees_of_tensors_and_plain_values() {
        let read = |json: &str| serde_json::from_str::<Structure>(json).expect(json);
        assert_eq!(read(r#"{"tensor": 0}"#), Structure::Tensor(0));
        assert_eq!(
            read(r#"[{"tensor": 1}, [2, true]]"#),
            Structure::List(vec![
                Structure::Tensor(1),
                Structure::List(vec![Structure::Plain(Arg::Int(2)), Structure::Plain(Arg::Bool(true))]),
            ])
        );
        assert_eq!(read("-8.5"), Structure::Plain(Arg::Float(-8.5)));
    }

    #[test]
    fn arguments_are_found_by_position_or_name() {
        let json = r#"{"id": "x", "kind": "edge-error", "dtype": "float32", "args": [1], "kwargs": {"dim": [0, 1]},
                       "inputs": [], "outputs": 0, "raises": "IndexError"}"#;
        let case: Case = serde_json::from_str(json).expect("a case");
        assert_eq!(case.kind, Kind::EdgeError);
        assert_eq!(case.arg(0, "n").and_then(Arg::int), Some(1));
        assert_eq!(case.arg(1, "dim").and_then(Arg::ints), Some(vec![0, 1]));
        assert_eq!(case.arg(2, "keepdim"), None);
        assert_eq!(case.compare(0), Compare::Close);
    }
}
