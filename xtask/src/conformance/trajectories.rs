//! The part `trajectories`: whole training runs, from given tensors and from seeds alone.

mod data;
mod model;

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use kiln_autograd::{CrossEntropyOptions, DType, Reduction, Tensor, manual_seed, no_grad};
use kiln_optim::clip_grad_norm_;
use serde_json::Value as Json;

use self::data::Data;
use self::model::Model;
use super::optim::build;
use super::recording::{self, Recording, Stop, expect_near, number, numbers, seed};
use super::schedulers;
use crate::vectors::Tally;

/// Replays the part. Every file is two cases: one for each way.
pub fn replay(dir: &Path, out: &mut dyn Write) -> Result<Tally> {
    let names = recording::names(dir, "trajectories")?;
    let files = names.iter().map(|name| {
        let mut file = Recording::read(&dir.join("trajectories"), name)?;
        let recorded = file.cases.pop().with_context(|| format!("{name} is empty"))?;
        for way in ["given", "seeds"] {
            let mut case = recorded.clone();
            (case["way"], case["id"]) = (way.into(), format!("{name} from {way}").into());
            file.cases.push(case);
        }
        Ok(file)
    });
    recording::replay_all("trajectories", files, case, out)
}

/// How far the norms of gradients may be off, which the description leaves open.
const NORMS: f64 = 1e-3;

fn case(file: &Recording, case: &Json) -> Result<(), Stop> {
    let from_seeds = case["way"] == "seeds";
    let start = seed(&case["seed"])?;
    let data = if from_seeds { Data::draw(file, case)? } else { Data::given(file, case)? };
    manual_seed(start);
    let model = Model::build(case)?;
    let initial = |name: &str| file.tensor(&format!("init.{name}"));
    if from_seeds {
        model.initialise(case["init"].as_str().unwrap_or("default"))?;
        for (name, value) in model.net().state() {
            let want = initial(&name)?;
            expect_near(&value.detach(), &want, 1e-6, || format!("the first {name}"))?;
        }
    } else {
        model.net().load(initial)?;
    }
    Run { case, data, model }.train(start)
}

/// A model about to be trained.
struct Run<'a> {
    case: &'a Json,
    data: Data,
    model: Model,
}

impl Run<'_> {
    fn loss(&self, output: &Tensor, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        Ok(match self.case["loss"].as_str().unwrap_or("?") {
            "squared" => output.sub(y)?.square()?.div(2.0)?.mean()?,
            "mse" => output.mse_loss(y, Reduction::Mean)?,
            "mse_input" => output.mse_loss(x, Reduction::Mean)?,
            "cross_entropy" => output.cross_entropy(y, &CrossEntropyOptions::default())?,
            other => bail!("no loss named {other}"),
        })
    }

    fn train(&self, start: u64) -> Result<(), Stop> {
        let case = self.case;
        let params: Vec<Tensor> = self.model.net().parameters().into_iter().map(|(_, t)| t).collect();
        let kind = case["optimizer"][0].as_str().context("no optimizer")?;
        let mut optimizer = build::optimizer(kind, &[(params.clone(), vec![&case["optimizer"][1]])])?;
        let mut scheduler = match case["scheduler"][0].as_str() {
            Some(name) => Some(schedulers::start(name, &case["scheduler"][1], &mut *optimizer)?),
            None => None,
        };
        let noise = number(&case["noise"]["losses"]).unwrap_or(0.0);
        let wanted = numbers(&case["losses"])?;
        let norms = match &case["grad_norms_before_clipping"] {
            Json::Null => None,
            norms => Some(numbers(norms)?),
        };
        manual_seed(start);
        for (t, rows) in self.data.batches.iter().enumerate() {
            let (x, y) = self.data.rows(rows)?;
            let loss = self.loss(&self.model.forward(&x)?, &x, &y)?;
            near(loss.to_f64()?, wanted[t], noise, || format!("the loss of step {}", t + 1))?;
            optimizer.zero_grad();
            loss.backward()?;
            if let Some(most) = number(&case["clip_grad_norm"]) {
                let norm = clip_grad_norm_(&params, most, 2.0)?;
                if let Some(want) = norms.as_ref().and_then(|n| n.get(t)) {
                    let off = (norm - want).abs() / want.abs().max(1e-3);
                    let slack = NORMS.max(20.0 * noise);
                    check(off <= slack, || format!("the norm of step {} is {norm}, not {want}", t + 1))?;
                }
            }
            optimizer.step()?;
            if let Some(scheduler) = &mut scheduler {
                scheduler.step(&mut *optimizer, 0.0)?;
            }
        }
        check(self.data.batches.len() == wanted.len(), || "another number of steps".to_owned())?;
        self.evaluate()?;
        self.compare_final()?;
        Ok(())
    }

    /// Loss and accuracy over all of the data.
    fn evaluate(&self) -> Result<(), Stop> {
        let case = self.case;
        self.model.net().set_training(false);
        let output = no_grad(|| self.model.forward(&self.data.x))?;
        let loss = no_grad(|| self.loss(&output, &self.data.x, &self.data.y))?.to_f64()?;
        let noise = number(&case["noise"]["eval_loss"]).unwrap_or(0.0);
        near(loss, number(&case["eval_loss"]).context("no eval_loss")?, noise, || {
            "the last loss".to_owned()
        })?;
        if let Some(want) = number(&case["eval_accuracy"]) {
            let right = output.argmax(1, false)?.eq(&self.data.y)?.to_dtype(DType::F64)?;
            let (got, n) = (right.mean()?.to_f64()?, right.numel() as f64);
            check((got - want).abs() <= 2.0 / n + 1e-9, || format!("the accuracy is {got}, not {want}"))?;
        }
        Ok(())
    }

    /// Sums and first elements of everything that was learned.
    fn compare_final(&self) -> Result<()> {
        let state = self.model.net().state();
        for (name, want) in self.case["final"].as_object().context("no final state")? {
            let got = state.get(name).with_context(|| format!("no {name}"))?;
            if want["compare"] == false {
                continue;
            }
            let allowed = (20.0 * number(&want["noise"]).unwrap_or(0.0)).max(1e-3);
            let values: Vec<f64> = no_grad(|| got.detach().to_dtype(DType::F64))?.to_vec()?;
            let size = number(&want["abs_sum"]).context("no abs_sum")?.max(1e-30);
            for (key, sum) in
                [("sum", values.iter().sum::<f64>()), ("abs_sum", values.iter().map(|x| x.abs()).sum())]
            {
                let want = number(&want[key]).with_context(|| format!("no {key}"))?;
                ensure!((sum - want).abs() <= allowed * size, "{name}: the {key} is {sum}, not {want}");
            }
            let head = numbers(&want["head"])?;
            let first = &values[..head.len().min(values.len())];
            let off = recording::deviation(first, &head, 1e-30);
            ensure!(off <= allowed, "{name} starts with {first:?}, not {head:?}");
        }
        Ok(())
    }
}

fn check(right: bool, what: impl FnOnce() -> String) -> Result<()> {
    ensure!(right, "{}", what());
    Ok(())
}

/// Compares a loss.
fn near(got: f64, want: f64, noise: f64, what: impl FnOnce() -> String) -> Result<()> {
    let allowed = (20.0 * noise).max(1e-4);
    let off = (got - want).abs() / want.abs().max(1e-3);
    ensure!(off <= allowed, "{} is {got}, not {want} ({off:e} off, {allowed:e} allowed)", what());
    Ok(())
}
