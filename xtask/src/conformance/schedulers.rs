//! The part `schedulers`: forty rounds of every learning rate schedule, its saved state, and options that must be refused.

mod build;
pub mod formula;

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use kiln_autograd::Tensor;
use kiln_optim::{Adam, Optimizer, SGD, StateValue};
use serde_json::Value as Json;

use super::optim::build::value;
use super::recording::{self, Recording, Stop, missing, number, numbers};
use crate::vectors::Tally;
pub use build::{Running, start};

/// How far a rate may be off, of its size.
const ALLOWED: f64 = 1e-9;
/// The round whose saved state is recorded.
const SAVED: usize = 15;

/// Replays the part.
pub fn replay(dir: &Path, out: &mut dyn Write) -> Result<Tally> {
    let files = recording::names(dir, "schedulers")?;
    recording::replay("schedulers", dir, &files, case, out)
}

fn case(file: &Recording, case: &Json) -> Result<(), Stop> {
    if file.name == "errors" {
        return refused(case);
    }
    let (mut optimizer, mut scheduler) = begin(case)?;
    let rounds = case["lr"].as_array().context("no rates")?.len();
    compare(&*optimizer, case, 0)?;
    let mut middle = None;
    for t in 1..rounds {
        step(&mut *optimizer, &mut scheduler, case, t)?;
        compare(&*optimizer, case, t)?;
        let last = scheduler.get_last_lr();
        let rates: Vec<f64> = (0..optimizer.num_groups()).map(|g| optimizer.lr(g)).collect();
        if last != rates {
            return Err(anyhow::anyhow!("the last rates are {last:?} after {t} rounds, not {rates:?}").into());
        }
        if t == SAVED {
            same("", &scheduler.state_dict(), &value(&case["state_after_15"]))?;
            middle = Some(optimizer.state_dict()?);
        }
    }
    // From the recorded state, with new ones that have gone another way.
    let Some(middle) = middle else { return Ok(()) };
    let (mut optimizer, mut scheduler) = begin(case)?;
    step(&mut *optimizer, &mut scheduler, case, 1)?;
    optimizer.load_state_dict(&middle)?;
    scheduler.load_state_dict(&value(&case["state_after_15"]))?;
    for t in SAVED + 1..rounds {
        step(&mut *optimizer, &mut scheduler, case, t)?;
        compare(&*optimizer, case, t).context("from the saved state")?;
    }
    Ok(())
}

/// The optimizer of a case with two groups, and its schedule.
fn begin(case: &Json) -> Result<(Box<dyn Optimizer>, Running), Stop> {
    let param = || -> Result<Tensor> { Ok(Tensor::zeros([1]).requires_grad_(true)?) };
    let mut optimizer: Box<dyn Optimizer> = match case["optimizer"].as_str() {
        Some("Adam") => Box::new(Adam::new([param()?], 0.1).group([param()?], |o| o.lr = 0.01)),
        None | Some("SGD") => {
            Box::new(SGD::new([param()?], 0.1).momentum(0.9).group([param()?], |o| o.lr = 0.01))
        }
        Some(other) => return missing(format!("the optimizer {other}")),
    };
    // A resumed schedule finds the first rates in the groups; where it must fail, it does not.
    if case["options"].get("last_epoch").is_some() && !case["lr"].is_null() {
        for group in 0..2 {
            let lr = optimizer.lr(group);
            optimizer.set_option(group, "initial_lr", lr.into())?;
        }
    }
    let name = case["scheduler"].as_str().context("no scheduler")?;
    let scheduler = start(name, &case["options"], &mut *optimizer)?;
    Ok((optimizer, scheduler))
}

/// A round: a step of the optimizer, then one of the schedule.
fn step(optimizer: &mut dyn Optimizer, scheduler: &mut Running, case: &Json, t: usize) -> Result<()> {
    optimizer.step()?;
    let metric = case["metrics"].get(t - 1).and_then(number);
    scheduler.step(optimizer, metric.unwrap_or(1.0))
}

fn near(got: f64, want: f64) -> bool {
    got == want || (got - want).abs() <= ALLOWED * want.abs() || got.is_nan() && want.is_nan()
}

/// Compares rates and momenta after `t` rounds.
fn compare(optimizer: &dyn Optimizer, case: &Json, t: usize) -> Result<()> {
    let momentum = |group: usize| match optimizer.option(group, "betas") {
        Some(betas) => betas.numbers().and_then(|b| b.first().copied()),
        None => optimizer.option(group, "momentum").and_then(|v| v.number()),
    };
    let groups = 0..optimizer.num_groups();
    let want = numbers(&case["lr"][t])?;
    for (group, want) in groups.clone().zip(want) {
        let got = optimizer.lr(group);
        ensure!(near(got, want), "the rate of group {group} is {got:?} after {t} rounds, not {want:?}");
    }
    if case["momentum"].is_array() {
        for (group, want) in groups.zip(numbers(&case["momentum"][t])?) {
            let got = momentum(group).context("no momentum")?;
            ensure!(
                near(got, want),
                "the momentum of group {group} is {got:?} after {t} rounds, not {want:?}"
            );
        }
    }
    Ok(())
}

/// Fails when a saved value is not as expected.
fn same(place: &str, got: &StateValue, want: &StateValue) -> Result<()> {
    match (got, want) {
        (StateValue::Dict(own), StateValue::Dict(entries)) => {
            // Keys that are numbers are texts in the recording.
            let name =
                |key: &StateValue| key.text().map_or_else(|| format!("{:?}", key.int()), str::to_owned);
            let texts = |entries: &[(StateValue, StateValue)]| {
                let key = |k: &StateValue| {
                    k.text().and_then(|t| t.parse::<i64>().ok()).map(|n| format!("{:?}", Some(n)))
                };
                let mut keys: Vec<String> =
                    entries.iter().map(|(k, _)| key(k).unwrap_or_else(|| name(k))).collect();
                keys.sort();
                keys
            };
            let (a, b) = (texts(own), texts(entries));
            ensure!(a == b, "{place}: has {a:?}, not {b:?}");
            for (key, want) in entries {
                let Some(key) = key.text() else { bail!("{place}: {key:?} is no name") };
                let by_number =
                    || own.iter().find(|(k, _)| k.int().map(|n| n.to_string()).as_deref() == Some(key));
                let found = got.get(key).or_else(|| by_number().map(|(_, value)| value));
                same(&format!("{place}.{key}"), found.unwrap_or(&StateValue::None), want)?;
            }
        }
        (StateValue::List(a), StateValue::List(b)) => {
            ensure!(a.len() == b.len(), "{place} has {} values, not {}", a.len(), b.len());
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                same(&format!("{place}.{i}"), a, b)?;
            }
        }
        (StateValue::Bool(a), StateValue::Bool(b)) => ensure!(a == b, "{place} is {a}"),
        (a, b) => {
            let alike = match (a.number(), b.number()) {
                (Some(a), Some(b)) => near(a, b),
                _ => a == b,
            };
            ensure!(alike, "{place} is {a:?}, not {b:?}");
        }
    }
    Ok(())
}

/// Options that must be refused when the schedule starts or within six steps.
fn refused(case: &Json) -> Result<(), Stop> {
    let refused = |result: Result<(), Stop>| match result {
        Err(Stop::Failed(_)) => Ok(true),
        Err(missing) => Err(missing),
        Ok(()) => Ok(false),
    };
    let mut started = None;
    if refused(begin(case).map(|both| started = Some(both)))? {
        return Ok(());
    }
    let Some((mut optimizer, mut scheduler)) = started else { return Ok(()) };
    for t in 1..=6 {
        if refused(step(&mut *optimizer, &mut scheduler, case, t).map_err(Stop::from))? {
            return Ok(());
        }
    }
    Err(anyhow::anyhow!("was not refused").into())
}
