//! The part `optim`: twelve steps of every optimizer, its saved state in the middle and at the end, clipping and averages
//! of weights, and options that must be refused.

pub mod build;
mod clip;
mod closure;
mod state;

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use kiln_autograd::Tensor;
use kiln_optim::{Optimizer, OptimizerState};
use serde_json::Value as Json;

use super::recording::{self, Recording, Stop, expect_near, missing};
use crate::vectors::Tally;

/// Replays the part.
pub fn replay(dir: &Path, out: &mut dyn Write) -> Result<Tally> {
    recording::replay("optim", dir, &recording::names(dir, "optim")?, case, out)
}

fn case(file: &Recording, case: &Json) -> Result<(), Stop> {
    match file.name.as_str() {
        "errors" => refused(case),
        "clip" => clip::case(file, case),
        _ if case["objective"].is_string() => closure::case(file, case),
        _ => Run::read(file, case)?.replay(),
    }
}

/// How far a tensor of a case may be off, as the description of the part says.
fn allowed(case: &Json) -> f64 {
    let double = case["dtype"] == "float64";
    match (case["optimizer"].as_str(), double) {
        (Some("Muon"), _) => 1e-3,
        (Some("ASGD"), true) => 1e-7,
        (Some("LBFGS"), true) => 1e-6,
        (Some("LBFGS"), false) => 1e-4,
        (_, true) => 1e-9,
        (_, false) => 1e-5,
    }
}

/// A case of given gradients.
struct Run<'a> {
    file: &'a Recording,
    case: &'a Json,
    kind: &'a str,
    /// The values before the first step and after each, and the gradients, by parameter.
    values: Vec<Tensor>,
    grads: Vec<Tensor>,
}

impl<'a> Run<'a> {
    fn read(file: &'a Recording, case: &'a Json) -> Result<Self> {
        let tensors = |key: &str| -> Result<Vec<Tensor>> {
            let names = case[key].as_array().with_context(|| format!("no {key}"))?;
            names.iter().map(|name| file.tensor(name.as_str().context("no key of a tensor")?)).collect()
        };
        let kind = case["optimizer"].as_str().context("no optimizer")?;
        Ok(Self { file, case, kind, values: tensors("params")?, grads: tensors("grads")? })
    }

    /// Parameters with the values before step `t`, and an optimizer over them.
    fn start(&self, t: i64) -> Result<(Vec<Tensor>, Box<dyn Optimizer>), Stop> {
        let mut params = Vec::new();
        for values in &self.values {
            params.push(values.select(0, t)?.copy()?.requires_grad_(true)?);
        }
        let options = &self.case["options"];
        let groups = match &self.case["second_group"] {
            Json::Null => vec![(params.clone(), vec![options])],
            second => {
                let rest = params.get(1..).context("a second group without parameters")?;
                vec![(params[..1].to_vec(), vec![options]), (rest.to_vec(), vec![options, second])]
            }
        };
        let optimizer = build::optimizer(self.kind, &groups)?;
        optimizer.check()?;
        Ok((params, optimizer))
    }

    fn steps(
        &self,
        params: &[Tensor],
        optimizer: &mut dyn Optimizer,
        steps: std::ops::Range<i64>,
    ) -> Result<()> {
        for t in steps {
            for (i, p) in params.iter().enumerate() {
                let present = self.case["grad_present"][i][t as usize] != false;
                let grad = if present { Some(self.grads[i].select(0, t)?.copy()?) } else { None };
                p.set_grad(grad)?;
            }
            optimizer.step()?;
            for (i, p) in params.iter().enumerate() {
                let want = self.values[i].select(0, t + 1)?;
                expect_near(&p.detach(), &want, allowed(self.case), || {
                    format!("parameter {i} after step {}", t + 1)
                })?;
            }
        }
        Ok(())
    }

    fn compare(&self, optimizer: &dyn Optimizer, key: &str) -> Result<()> {
        let want = state::read(self.file, &self.case[key])?;
        state::same(&optimizer.state_dict()?, &want, allowed(self.case)).with_context(|| key.to_owned())
    }

    fn replay(&self) -> Result<(), Stop> {
        let (params, mut optimizer) = self.start(0)?;
        self.steps(&params, &mut *optimizer, 0..6)?;
        self.compare(&*optimizer, "state_after_6")?;
        let own = optimizer.state_dict()?.to_value();
        // The state of a run that goes on must not change the saved one.
        let own = OptimizerState::from_value(&own)?;
        let (other_params, mut other) = self.start(6)?;
        other.load_state_dict(&own)?;
        self.steps(&params, &mut *optimizer, 6..12)?;
        self.compare(&*optimizer, "state_after_12")?;
        // From the recorded state, in an optimizer that had another one.
        let saved = state::read(self.file, &self.case["state_after_6"])?;
        other.load_state_dict(&saved)?;
        self.steps(&other_params, &mut *other, 6..12).context("from the state in the middle")?;
        self.compare(&*other, "state_after_12").context("from the state in the middle")?;
        Ok(())
    }
}

/// Options or parameters that must be refused.
fn refused(case: &Json) -> Result<(), Stop> {
    let kind = case["optimizer"].as_str().context("no optimizer")?;
    let vector = || -> Result<Tensor> { Ok(Tensor::from_vec(vec![1f32; 2], [2])?.requires_grad_(true)?) };
    let options = || vec![&case["options"]];
    let built = |groups: &[(Vec<Tensor>, Vec<&Json>)]| -> Result<Box<dyn Optimizer>, Stop> {
        let optimizer = build::optimizer(kind, groups)?;
        optimizer.check()?;
        Ok(optimizer)
    };
    let result = match case["params"].as_str().unwrap_or("?") {
        "one vector of 2" => built(&[(vec![vector()?], options())]).map(|_| ()),
        "empty parameter list" => built(&[(Vec::new(), options())]).map(|_| ()),
        "same parameter in two groups" => {
            let p = vector()?;
            built(&[(vec![p.clone()], options()), (vec![p], options())]).map(|_| ())
        }
        "loading a state with another number of groups" => {
            let two = built(&[(vec![vector()?], options()), (vec![vector()?], options())])?;
            let mut one = built(&[(vec![vector()?], options())])?;
            one.load_state_dict(&two.state_dict()?).map_err(Stop::from)
        }
        other => return missing(format!("the parameters {other:?}")),
    };
    match result {
        Err(Stop::Failed(_)) => Ok(()),
        Err(missing) => Err(missing),
        Ok(()) => Err(Stop::Failed(anyhow::anyhow!("was not refused"))),
    }
}
