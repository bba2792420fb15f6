//! Optimizers that call a closure: whole minimisations of three functions.

use anyhow::{Context, Result, bail, ensure};
use kiln_autograd::Tensor;
use serde_json::Value as Json;

use super::super::recording::{Recording, Stop, deviation, expect_near, numbers};
use super::{allowed, build, state};

/// The function to be made small.
enum Objective {
    Rosenbrock,
    Quadratic { a: Tensor, b: Tensor },
    Logistic { x: Tensor, y: Tensor },
}

impl Objective {
    fn read(file: &Recording, case: &Json) -> Result<Self> {
        let aux = |name: &str| -> Result<Tensor> {
            file.tensor(case["aux"][name].as_str().with_context(|| format!("no {name}"))?)
        };
        Ok(match case["objective"].as_str().unwrap_or("?") {
            "rosenbrock" => Self::Rosenbrock,
            "quadratic" => Self::Quadratic { a: aux("A")?, b: aux("b")? },
            "logistic" => Self::Logistic { x: aux("X")?, y: aux("y")? },
            other => bail!("no objective named {other}"),
        })
    }

    fn value(&self, x: &Tensor) -> kiln_autograd::Result<Tensor> {
        match self {
            Self::Rosenbrock => {
                let n = x.numel() as i64 - 1;
                let (low, high) = (x.narrow(0, 0, n)?, x.narrow(0, 1, n)?);
                let valley = high.sub(&low.square()?)?.square()?.mul(100.0)?;
                valley.add(&low.rsub(1.0)?.square()?)?.sum()
            }
            Self::Quadratic { a, b } => x.dot(&a.mv(x)?)?.div(2.0)?.sub(&b.dot(x)?),
            Self::Logistic { x: rows, y } => {
                let margin = rows.mv(x)?.mul(y)?.neg()?;
                margin.softplus(1.0, 20.0)?.mean()?.add(&x.dot(x)?.mul(0.01)?)
            }
        }
    }
}

/// Replays a case.
pub fn case(file: &Recording, case: &Json) -> Result<(), Stop> {
    let objective = Objective::read(file, case)?;
    let values = file.tensor(case["params"].as_str().context("no params")?)?;
    let x = values.select(0, 0)?.copy()?.requires_grad_(true)?;
    let kind = case["optimizer"].as_str().context("no optimizer")?;
    let mut optimizer = build::optimizer(kind, &[(vec![x.clone()], vec![&case["options"]])])?;
    let mut losses = Vec::new();
    let counts = case["func_evals_and_iterations"].as_array().context("no counts")?;
    for (t, count) in counts.iter().enumerate() {
        let loss = optimizer.step_with(&mut || {
            x.zero_grad();
            let loss = objective.value(&x)?;
            loss.backward()?;
            Ok(loss)
        })?;
        losses.push(loss.to_f64()?);
        let saved = optimizer.state_dict()?.to_value();
        let entries = saved.get("state").context("no state")?;
        let kiln_optim::StateValue::Dict(entries) = entries else {
            return Err(anyhow::anyhow!("no state").into());
        };
        let entries = &entries.first().context("no state of the first parameter")?.1;
        for (i, name) in ["func_evals", "n_iter"].iter().enumerate() {
            let (got, want) = (entries.get(name).and_then(|v| v.int()), count[i].as_i64());
            if got != want {
                return Err(anyhow::anyhow!("{name} is {got:?} after step {}, not {want:?}", t + 1).into());
            }
        }
        let want = values.select(0, t as i64 + 1)?;
        expect_near(&x.detach(), &want, allowed(case), || format!("parameters after step {}", t + 1))?;
    }
    let off = deviation(&losses, &numbers(&case["losses"])?, 1e-30);
    shape(file, case, &*optimizer)?;
    match off <= allowed(case) {
        true => Ok(()),
        false => Err(anyhow::anyhow!("losses are off by {off:e}").into()),
    }
}

/// The names and kinds of what is saved. Its vectors are the differences of nearly equal ones: they are not compared.
fn shape(file: &Recording, case: &Json, optimizer: &dyn kiln_optim::Optimizer) -> Result<()> {
    let (got, want) = (optimizer.state_dict()?, state::read(file, &case["state_after_12"])?);
    let names = |s: &kiln_optim::OptimizerState| {
        let mut names: Vec<String> = s.state.values().flatten().map(|(name, _)| name.clone()).collect();
        names.extend(s.param_groups.iter().flat_map(|g| g.options.iter().map(|(name, _)| name.clone())));
        names.sort();
        names
    };
    ensure!(names(&got) == names(&want), "{:?} is saved, not {:?}", names(&got), names(&want));
    // The recorded state must be understood, and come out again as it was.
    let x = Tensor::zeros_with([want_length(&want)?], dtype(case)).requires_grad_(true)?;
    let mut other = match build::optimizer("LBFGS", &[(vec![x], vec![])]) {
        Ok(other) => other,
        Err(_) => bail!("no LBFGS"),
    };
    other.load_state_dict(&want)?;
    state::same(&other.state_dict()?, &want, 0.0).context("the state that was loaded")
}

fn dtype(case: &Json) -> kiln_autograd::DType {
    if case["dtype"] == "float64" { kiln_autograd::DType::F64 } else { kiln_autograd::DType::F32 }
}

/// The length of the parameter that a state belongs to.
fn want_length(state: &kiln_optim::OptimizerState) -> Result<usize> {
    let mut entries = state.state.values().flatten();
    let gradient = entries.find(|(name, _)| name == "prev_flat_grad").map(|(_, value)| value);
    match gradient {
        Some(kiln_optim::StateValue::Tensor(t)) => Ok(t.numel()),
        other => bail!("no gradient, but {other:?}"),
    }
}
