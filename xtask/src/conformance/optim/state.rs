//! Saved states of optimizers: from a recording, and how two of them differ.

use anyhow::{Context, Result, ensure};
use kiln_autograd::Tensor;
use kiln_optim::{GroupState, OptimizerState, StateValue};
use serde_json::Value as Json;

use super::super::recording::{Recording, tensor_deviation};
use super::build::value;

/// An entry of a parameter's state, in which an object names a tensor.
fn entry(file: &Recording, json: &Json) -> Result<StateValue> {
    Ok(match json {
        Json::Object(_) => {
            let key = json["t"].as_str().with_context(|| format!("{json} names no tensor"))?;
            StateValue::Tensor(file.tensor(key)?)
        }
        Json::Array(values) => {
            StateValue::List(values.iter().map(|v| entry(file, v)).collect::<Result<_>>()?)
        }
        plain => value(plain),
    })
}

/// A recorded state.
pub fn read(file: &Recording, json: &Json) -> Result<OptimizerState> {
    let mut out = OptimizerState::default();
    for (number, entries) in json["state"].as_object().context("no state")? {
        let entries = entries.as_object().context("no entries of a parameter")?;
        let entries = entries.iter().map(|(name, json)| Ok((name.clone(), entry(file, json)?)));
        out.state.insert(number.parse()?, entries.collect::<Result<_>>()?);
    }
    for group in json["param_groups"].as_array().context("no param_groups")? {
        let entries = group.as_object().context("no options")?;
        let options = entries.iter().filter(|(name, _)| *name != "params");
        let params = group["params"].as_array().context("no params")?.iter();
        out.param_groups.push(GroupState {
            options: options.map(|(name, json)| (name.clone(), value(json))).collect(),
            params: params
                .map(|n| n.as_u64().map(|n| n as usize))
                .collect::<Option<_>>()
                .context("no numbers")?,
        });
    }
    Ok(out)
}

/// Whether two values are the same but for rounding. Integers may stand for numbers, as `0` for `0.0`.
fn agree(got: &StateValue, want: &StateValue, allowed: f64) -> Result<bool> {
    let numbers = |a: f64, b: f64| a == b || (a - b).abs() <= allowed * b.abs();
    Ok(match (got, want) {
        (StateValue::Tensor(a), StateValue::Tensor(b)) => tensor_deviation(a, b, 1e-30)? <= allowed,
        (StateValue::List(a), StateValue::List(b)) => {
            let mut same = a.len() == b.len();
            for (a, b) in a.iter().zip(b) {
                same &= agree(a, b, allowed)?;
            }
            same
        }
        (StateValue::Bool(a), StateValue::Bool(b)) => a == b,
        (StateValue::Bool(_), _) | (_, StateValue::Bool(_)) => false,
        (StateValue::Tensor(_), _) | (_, StateValue::Tensor(_)) => false,
        (a, b) => match (a.number(), b.number()) {
            (Some(a), Some(b)) => numbers(a, b),
            _ => a == b,
        },
    })
}

/// Names, in order to compare them.
fn names(entries: &[(String, StateValue)]) -> Vec<&str> {
    // What is not set is as good as absent.
    let set = entries.iter().filter(|(_, value)| *value != StateValue::None);
    let mut names: Vec<&str> = set.map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names
}

fn find<'a>(entries: &'a [(String, StateValue)], name: &str) -> &'a StateValue {
    entries.iter().find(|(n, _)| n == name).map_or(&StateValue::None, |(_, value)| value)
}

/// A short form of a value for messages.
fn brief(value: &StateValue) -> String {
    let shape = |t: &Tensor| format!("a tensor {:?} {}", t.dims(), t.dtype());
    match value {
        StateValue::Tensor(t) => t.to_f64().map_or_else(|_| shape(t), |x| format!("tensor({x})")),
        other => format!("{other:?}"),
    }
}

/// Fails when a state is not as expected.
pub fn same(got: &OptimizerState, want: &OptimizerState, allowed: f64) -> Result<()> {
    ensure!(got.state.keys().eq(want.state.keys()), "state of the wrong parameters: {:?}", got.state.keys());
    for (number, entries) in &want.state {
        let own = &got.state[number];
        ensure!(
            names(own) == names(entries),
            "parameter {number} has {:?}, not {:?}",
            names(own),
            names(entries)
        );
        for (name, want) in entries {
            let got = find(own, name);
            ensure!(agree(got, want, allowed)?, "{number}.{name} is {}, not {}", brief(got), brief(want));
        }
    }
    ensure!(got.param_groups.len() == want.param_groups.len(), "{} groups", got.param_groups.len());
    for (i, (own, want)) in got.param_groups.iter().zip(&want.param_groups).enumerate() {
        ensure!(own.params == want.params, "group {i} has parameters {:?}", own.params);
        let mut keys: [Vec<&String>; 2] =
            [own, want].map(|g| g.options.iter().map(|(name, _)| name).collect());
        keys.iter_mut().for_each(|k| k.sort_unstable());
        ensure!(keys[0] == keys[1], "group {i} has the options {:?}, not {:?}", keys[0], keys[1]);
        for (name, want) in &want.options {
            let got = find(&own.options, name);
            ensure!(agree(got, want, 0.0)?, "option {name} is {got:?}, not {want:?}");
        }
    }
    Ok(())
}
