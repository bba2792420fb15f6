//! Optimizers from recorded options.

use anyhow::{Context, Result, bail};
use kiln_autograd::Tensor;
use kiln_optim::{
    ASGD, Adadelta, Adafactor, Adagrad, Adam, AdamW, Adamax, LBFGS, Muon, NAdam, Optimizer, RAdam, RMSprop,
    Rprop, SGD, StateValue,
};
use serde_json::Value as Json;

use super::super::recording::{Stop, missing, number};

/// A value without tensors; numbers that JSON cannot write are strings.
pub fn value(json: &Json) -> StateValue {
    match json {
        Json::Null => StateValue::None,
        Json::Bool(b) => StateValue::Bool(*b),
        Json::Number(n) => {
            n.as_i64().map_or_else(|| StateValue::Float(n.as_f64().unwrap_or(f64::NAN)), StateValue::Int)
        }
        Json::String(text) => number(json).map_or_else(|| StateValue::Text(text.clone()), StateValue::Float),
        Json::Array(values) => StateValue::List(values.iter().map(value).collect()),
        Json::Object(entries) => {
            StateValue::dict(entries.iter().map(|(name, entry)| (name.as_str(), value(entry))))
        }
    }
}

/// An optimizer of the named kind over groups, each with its options, later ones over earlier ones.
pub fn optimizer(kind: &str, groups: &[(Vec<Tensor>, Vec<&Json>)]) -> Result<Box<dyn Optimizer>, Stop> {
    let (first, rest) = groups.split_first().context("no groups")?;
    let params = first.0.clone();
    // PyTorch's default learning rates; a recorded option replaces them.
    macro_rules! kinds {
        ($($name:ident: $lr:literal),*) => {
            match kind {
                $(stringify!($name) => {
                    let mut optimizer = $name::new(params, $lr);
                    for group in rest {
                        optimizer.add_param_group(group.0.clone(), |_| {});
                    }
                    Box::new(optimizer) as Box<dyn Optimizer>
                })*
                "LBFGS" if rest.is_empty() => Box::new(LBFGS::new(params, 1.0)),
                other => return missing(format!("the optimizer {other}")),
            }
        };
    }
    let mut optimizer = kinds!(
        ASGD: 1e-2, Adadelta: 1.0, Adafactor: 1e-2, Adagrad: 1e-2, Adam: 1e-3, AdamW: 1e-3, Adamax: 2e-3, Muon: 1e-3,
        NAdam: 2e-3, RAdam: 1e-3, RMSprop: 1e-2, Rprop: 1e-2, SGD: 1e-3
    );
    for (i, (_, options)) in groups.iter().enumerate() {
        for (name, json) in options.iter().filter_map(|o| o.as_object()).flatten() {
            known(&*optimizer, i, name)?;
            optimizer.set_option(i, name, value(json))?;
        }
    }
    Ok(optimizer)
}

/// A name that is no option would be kept and not obeyed.
fn known(optimizer: &dyn Optimizer, group: usize, name: &str) -> Result<()> {
    if optimizer.option(group, name).is_none() {
        bail!("there is no option {name}");
    }
    Ok(())
}
