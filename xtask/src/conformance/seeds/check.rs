//! What a case got against what it should get.

use anyhow::{Context, Result, bail, ensure};
use kiln::prelude::*;
use serde_json::Value as Json;

/// How far numbers may be off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Slack {
    /// Relative to the largest magnitude, which counts as [`SMALLEST`] at least.
    Relative(f64),
    /// By this much.
    Absolute(f64),
}

/// Errors are never measured against less.
const SMALLEST: f64 = 1e-3;
/// What cases allow that do not say it.
const DEFAULT: f64 = 1e-6;
/// Sums of thousands of elements in f64, which may be taken in any order.
const SUMS: f64 = 1e-12;

impl Slack {
    /// What the entry `compare` says: a relative error, or that numbers are exact. Where it says more, in words, the
    /// case's function passes what it means.
    pub fn parse(compare: Option<&str>) -> Self {
        match compare {
            Some(text) if text.starts_with("exact") => Self::Relative(0.0),
            Some(text) => Self::Relative(text.parse().unwrap_or(DEFAULT)),
            None => Self::Relative(DEFAULT),
        }
    }

    fn allows(self, error: f64, magnitude: f64) -> bool {
        match self {
            Self::Relative(slack) => error <= slack * magnitude.max(SMALLEST),
            Self::Absolute(slack) => error <= slack,
        }
    }
}

/// What came out.
pub enum Got {
    /// Nothing: no gradient, no node.
    None,
    /// A truth value.
    Bool(bool),
    /// A number.
    Number(f64),
    /// What printing gave.
    Text(String),
    /// A tensor.
    Tensor(Tensor),
    /// Several.
    List(Vec<Got>),
    /// The message of an error, or that there was none.
    Error(Option<String>),
}

macro_rules! got_from {
    ($($t:ty => |$value:ident| $got:expr;)*) => {
        $(impl From<$t> for Got {
            fn from($value: $t) -> Self {
                $got
            }
        })*
    };
}

got_from! {
    bool => |b| Self::Bool(b);
    f64 => |x| Self::Number(x);
    f32 => |x| Self::Number(f64::from(x));
    i64 => |n| Self::Number(n as f64);
    usize => |n| Self::Number(n as f64);
    &str => |text| Self::Text(text.to_owned());
    String => |text| Self::Text(text);
    Tensor => |t| Self::Tensor(t);
    &Tensor => |t| Self::Tensor(t.clone());
}

impl<T: Into<Got>> From<Option<T>> for Got {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}

impl<T: Into<Got>> From<Vec<T>> for Got {
    fn from(list: Vec<T>) -> Self {
        Self::List(list.into_iter().map(Into::into).collect())
    }
}

impl<T> From<kiln::Result<T>> for Got {
    fn from(result: kiln::Result<T>) -> Self {
        Self::Error(result.err().map(|error| error.to_string()))
    }
}

/// Compares; the error says what differs.
pub fn compare(got: &Got, want: &Json, slack: Slack) -> Result<()> {
    match (got, want) {
        (Got::None, Json::Null) => Ok(()),
        (Got::Bool(g), Json::Bool(w)) if g == w => Ok(()),
        (Got::Text(g), Json::String(w)) => {
            ensure!(g == w, "text {g:?}, expected {w:?}");
            Ok(())
        }
        (Got::Number(g), Json::Number(w)) => number(*g, w.as_f64().context("a number")?, slack),
        (Got::List(g), Json::Array(w)) => {
            ensure!(g.len() == w.len(), "{} items, expected {}", g.len(), w.len());
            let mut pairs = g.iter().zip(w).enumerate();
            pairs.try_for_each(|(i, (g, w))| compare(g, w, slack).with_context(|| format!("item {i}")))
        }
        (Got::Error(message), Json::Object(want)) if want.contains_key("error") => {
            error(message.as_deref(), want)
        }
        (Got::Tensor(t), Json::Object(_)) => tensor(t, want, slack),
        // A tensor of one axis, or a number, told by its values alone.
        (Got::Tensor(t), Json::Array(w)) => {
            ensure!(t.dims() == [w.len()], "shape {:?}, expected [{}]", t.shape(), w.len());
            let w: Option<Vec<f64>> = w.iter().map(value).collect();
            numbers(&values(t)?, &w.context("no list of numbers")?, slack)
        }
        (Got::Tensor(t), Json::Number(w)) => {
            number(t.detach().to_f64()?, w.as_f64().context("a number")?, slack)
        }
        _ => bail!("{}, expected {want}", describe(got)),
    }
}

fn describe(got: &Got) -> String {
    match got {
        Got::None => "nothing".to_owned(),
        Got::Bool(b) => b.to_string(),
        Got::Number(x) => x.to_string(),
        Got::Text(text) => format!("{text:?}"),
        Got::Tensor(t) => t.to_string(),
        Got::List(list) => format!("{} items", list.len()),
        Got::Error(message) => format!("the error {message:?}"),
    }
}

/// The kind is the project's own, and the wording is free but for what stands under `mentions`.
fn error(message: Option<&str>, want: &serde_json::Map<String, Json>) -> Result<()> {
    match (message, &want["error"]) {
        (None, Json::Null) => Ok(()),
        (Some(message), Json::Null) => bail!("the error {message:?}, expected none"),
        (None, kind) => bail!("no error, expected {kind}"),
        (Some(message), _) => {
            let mentions = want.get("mentions").and_then(Json::as_array).into_iter().flatten();
            for mentioned in mentions.filter_map(Json::as_str) {
                ensure!(message.contains(mentioned), "{message:?} does not mention {mentioned:?}");
            }
            Ok(())
        }
    }
}

fn value(json: &Json) -> Option<f64> {
    json.as_f64().or_else(|| json.as_bool().map(f64::from))
}

fn values(t: &Tensor) -> Result<Vec<f64>> {
    Ok(t.detach().to_dtype(F64)?.to_vec::<f64>()?)
}

fn number(got: f64, want: f64, slack: Slack) -> Result<()> {
    numbers(&[got], &[want], slack)
}

/// The largest error, against the largest magnitude.
fn numbers(got: &[f64], want: &[f64], slack: Slack) -> Result<()> {
    ensure!(got.len() == want.len(), "{} values, expected {}", got.len(), want.len());
    let magnitude = want.iter().fold(0.0, |m: f64, w| m.max(w.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let same = g == w || (g.is_nan() && w.is_nan());
        ensure!(same || slack.allows((g - w).abs(), magnitude), "element {i} is {g:?}, expected {w:?}");
    }
    Ok(())
}

fn tensor(t: &Tensor, want: &Json, slack: Slack) -> Result<()> {
    let dtype = want["dtype"].as_str().context("no tensor is expected")?;
    ensure!(t.dtype().name() == dtype, "dtype {}, expected {dtype}", t.dtype());
    let shape: Vec<usize> = serde_json::from_value(want["shape"].clone())?;
    ensure!(t.dims() == shape, "shape {:?}, expected {shape:?}", t.dims());
    let got = values(t)?;
    let list = |key: &str| -> Result<Vec<f64>> {
        let list = want[key].as_array().with_context(|| format!("no {key}"))?;
        list.iter().map(|v| value(v).context("no number")).collect()
    };
    let slack = if t.dtype().is_float() { slack } else { Slack::Relative(0.0) };
    if want.get("values").is_some() {
        return numbers(&got, &list("values")?, slack);
    }
    // A summary.
    let head = list("head")?;
    ensure!(got.len() >= head.len(), "{} values, expected {} and more", got.len(), head.len());
    numbers(&got[..head.len()], &head, slack).context("head")?;
    let single = |key: &str| want[key].as_f64().with_context(|| format!("no {key}"));
    let abs_sum = single("abs_sum")?;
    let (sum, abs) = got.iter().fold((0.0, 0.0), |(s, a), v| (s + v, a + v.abs()));
    for (key, got) in [("sum", sum), ("abs_sum", abs)] {
        let want = single(key)?;
        let error = (got - want).abs();
        let close = error <= SUMS * abs_sum || slack.allows(error, abs_sum);
        ensure!(close, "{key} is {got}, expected {want}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn agrees(got: impl Into<Got>, want: &Json, slack: f64) -> bool {
        compare(&got.into(), want, Slack::Relative(slack)).is_ok()
    }

    #[test]
    fn numbers_are_measured_against_the_largest() {
        let want = json!({"dtype": "float32", "shape": [2], "values": [0.0, 1000.0]});
        assert!(agrees(tensor![0.5, 1000.0], &want, 1e-3));
        assert!(!agrees(tensor![0.5, 1000.0], &want, 1e-4));
        assert!(!agrees(tensor!([0.0, 1000.0]; F64), &want, 1e-3));
        assert!(!agrees(tensor!([[0.0, 1000.0]]), &want, 1e-3));
        assert!(agrees(1e-6, &json!(0.0), 1e-2) && !agrees(1e-4, &json!(0.0), 1e-2));
        let want = json!({"dtype": "float32", "shape": [3], "sum": 1.0, "abs_sum": 5.0, "head": [2.0]});
        assert!(agrees(tensor![2.0, -2.0, 1.0], &want, 0.0));
        assert!(!agrees(tensor![2.0, -1.0, 1.0], &want, 0.0));
        assert_eq!(Slack::parse(Some("exact text")), Slack::Relative(0.0));
        assert_eq!(Slack::parse(Some("1e-4")), Slack::Relative(1e-4));
    }

    #[test]
    fn errors_must_be_there_and_mention_what_is_asked() {
        let error = || Err::<(), _>(kiln::Error::value("op", "is at version 1"));
        let want = json!({"error": "RuntimeError", "message_begins": "x", "mentions": ["version 1"]});
        assert!(agrees(error(), &want, 0.0));
        assert!(!agrees(Ok(()), &want, 0.0));
        assert!(!agrees(error(), &json!({"error": "E", "mentions": ["version 2"]}), 0.0));
        assert!(
            agrees(Ok(()), &json!({"error": null}), 0.0) && !agrees(error(), &json!({"error": null}), 0.0)
        );
        assert!(!agrees("a", &json!("b"), 1.0) && !agrees(true, &json!(1), 1.0));
    }
}
