//! Schedules from recorded options.

use anyhow::{Context, Result, anyhow};
use kiln_optim::schedule::{PerGroup, PlateauScheduler};
use kiln_optim::{
    ChainedScheduler, ConstantLR, CosineAnnealingLR, CosineAnnealingWarmRestarts, CyclicLR, ExponentialLR,
    LambdaLR, LinearLR, MultiStepLR, MultiplicativeLR, OneCycleLR, Optimizer, PolynomialLR,
    ReduceLROnPlateau, SWALR, Schedule, Scheduler, SequentialLR, StateValue, StepLR,
};
use serde_json::Value as Json;

use super::super::recording::{Stop, missing, number, numbers};
use super::formula::Formula;

/// A running schedule of any kind.
pub enum Running {
    /// One whose steps take nothing.
    Rounds(Box<dyn Scheduler>),
    /// One whose steps take a measure.
    Plateau(PlateauScheduler),
}

impl Running {
    /// A step; the measure is for the one kind that takes it.
    pub fn step(&mut self, optimizer: &mut dyn Optimizer, measure: f64) -> Result<()> {
        let result = match self {
            Self::Rounds(scheduler) => scheduler.step(optimizer),
            Self::Plateau(scheduler) => scheduler.step(optimizer, measure),
        };
        result.map_err(Into::into)
    }

    /// The rates that were set last.
    pub fn get_last_lr(&self) -> &[f64] {
        match self {
            Self::Rounds(scheduler) => scheduler.get_last_lr(),
            Self::Plateau(scheduler) => scheduler.get_last_lr(),
        }
    }

    /// What is saved.
    pub fn state_dict(&self) -> StateValue {
        match self {
            Self::Rounds(scheduler) => scheduler.state_dict(),
            Self::Plateau(scheduler) => scheduler.state_dict(),
        }
    }

    /// Goes on from what was saved.
    pub fn load_state_dict(&mut self, state: &StateValue) -> Result<()> {
        let result = match self {
            Self::Rounds(scheduler) => scheduler.load_state_dict(state),
            Self::Plateau(scheduler) => scheduler.load_state_dict(state),
        };
        result.map_err(Into::into)
    }
}

/// The recorded options of a schedule.
struct Options<'a>(&'a Json);

impl<'a> Options<'a> {
    fn get(&self, name: &str) -> Option<&'a Json> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn optional<T>(&self, name: &str, read: impl Fn(&Json) -> Option<T>) -> Result<Option<T>> {
        let found =
            self.get(name).map(|value| read(value).with_context(|| format!("{name} cannot be {value}")));
        found.transpose()
    }

    fn float(&self, name: &str) -> Result<Option<f64>> {
        self.optional(name, number)
    }

    fn int(&self, name: &str) -> Result<Option<i64>> {
        self.optional(name, Json::as_i64)
    }

    fn flag(&self, name: &str) -> Result<Option<bool>> {
        self.optional(name, Json::as_bool)
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name).and_then(Json::as_str)
    }

    fn rates(&self, name: &str) -> Result<Option<PerGroup>> {
        let read = |v: &Json| match v.is_array() {
            true => numbers(v).ok().map(PerGroup::from),
            false => number(v).map(PerGroup::from),
        };
        self.optional(name, read)
    }

    fn formulas(&self, name: &str) -> Result<Vec<Formula>> {
        let parse = |v: &Json| Formula::parse(v.as_str().with_context(|| format!("{v} is no formula"))?);
        match self.get(name).with_context(|| format!("no {name}"))? {
            Json::Array(several) => several.iter().map(parse).collect(),
            one => Ok(vec![parse(one)?]),
        }
    }
}

fn needed<T>(found: Option<T>, name: &str) -> Result<T> {
    found.with_context(|| format!("no {name}"))
}

/// Sets a builder's option where it is recorded.
macro_rules! with {
    ($rule:expr; $($set:ident = $value:expr),* $(,)?) => {{
        let mut rule = $rule;
        $(if let Some(value) = $value {
            rule = rule.$set(value);
        })*
        rule
    }};
}

/// Starts a schedule as its rule says, or resumes it.
fn run<S: Schedule + 'static>(
    rule: S,
    o: &Options<'_>,
    optimizer: &mut dyn Optimizer,
) -> Result<Running, Stop> {
    let scheduler = match o.int("last_epoch")? {
        None => rule.on(optimizer)?,
        Some(last) => rule.resume(optimizer, last)?,
    };
    Ok(Running::Rounds(scheduler.boxed()))
}

/// A function for all groups, or one for each.
macro_rules! by_formula {
    ($name:ident, $o:expr) => {{
        let mut formulas = $o.formulas("lr_lambda")?;
        let function = |f: Formula| move |epoch: i64| f.at(epoch as f64);
        match formulas.len() {
            1 => $name::new(function(formulas.remove(0))),
            _ => $name::per_group(
                formulas.into_iter().map(|f| Box::new(function(f)) as Box<dyn Fn(i64) -> f64 + Send + Sync>),
            ),
        }
    }};
}

/// A schedule by its name in PyTorch, started on an optimizer.
pub fn start(name: &str, options: &Json, optimizer: &mut dyn Optimizer) -> Result<Running, Stop> {
    let o = &Options(options);
    match name {
        "StepLR" => {
            let rule = StepLR::new(needed(o.int("step_size")?, "step_size")?);
            run(with!(rule; gamma = o.float("gamma")?), o, optimizer)
        }
        "MultiStepLR" => {
            let milestones = needed(o.get("milestones").and_then(Json::as_array), "milestones")?;
            let rule = MultiStepLR::new(milestones.iter().filter_map(Json::as_i64));
            run(with!(rule; gamma = o.float("gamma")?), o, optimizer)
        }
        "ExponentialLR" => run(ExponentialLR::new(needed(o.float("gamma")?, "gamma")?), o, optimizer),
        "ConstantLR" => {
            let rule =
                with!(ConstantLR::new(); factor = o.float("factor")?, total_iters = o.int("total_iters")?);
            run(rule, o, optimizer)
        }
        "LinearLR" => {
            let rule = with!(LinearLR::new(); start_factor = o.float("start_factor")?,
                end_factor = o.float("end_factor")?, total_iters = o.int("total_iters")?);
            run(rule, o, optimizer)
        }
        "PolynomialLR" => {
            let rule =
                with!(PolynomialLR::new(); total_iters = o.int("total_iters")?, power = o.float("power")?);
            run(rule, o, optimizer)
        }
        "LambdaLR" => run(by_formula!(LambdaLR, o), o, optimizer),
        "MultiplicativeLR" => run(by_formula!(MultiplicativeLR, o), o, optimizer),
        "CosineAnnealingLR" => {
            let rule = CosineAnnealingLR::new(needed(o.int("T_max")?, "T_max")?);
            run(with!(rule; eta_min = o.float("eta_min")?), o, optimizer)
        }
        "CosineAnnealingWarmRestarts" => {
            let rule = CosineAnnealingWarmRestarts::new(needed(o.int("T_0")?, "T_0")?);
            run(with!(rule; t_mult = o.int("T_mult")?, eta_min = o.float("eta_min")?), o, optimizer)
        }
        "CyclicLR" => {
            let (base, max) =
                (needed(o.rates("base_lr")?, "base_lr")?, needed(o.rates("max_lr")?, "max_lr")?);
            let rule = with!(CyclicLR::new(base, max);
                step_size_up = o.int("step_size_up")?, step_size_down = o.int("step_size_down")?,
                mode = o.text("mode"), gamma = o.float("gamma")?, scale_mode = o.text("scale_mode"),
                cycle_momentum = o.flag("cycle_momentum")?, base_momentum = o.rates("base_momentum")?,
                max_momentum = o.rates("max_momentum")?);
            let scale = o.text("scale_fn").map(Formula::parse).transpose()?;
            run(with!(rule; scale_fn = scale.map(|f| move |x: f64| f.at(x))), o, optimizer)
        }
        "OneCycleLR" => {
            let rule = with!(OneCycleLR::new(needed(o.rates("max_lr")?, "max_lr")?);
                total_steps = o.int("total_steps")?, epochs = o.int("epochs")?,
                steps_per_epoch = o.int("steps_per_epoch")?, pct_start = o.float("pct_start")?,
                anneal_strategy = o.text("anneal_strategy"), cycle_momentum = o.flag("cycle_momentum")?,
                base_momentum = o.rates("base_momentum")?, max_momentum = o.rates("max_momentum")?,
                div_factor = o.float("div_factor")?, final_div_factor = o.float("final_div_factor")?,
                three_phase = o.flag("three_phase")?);
            run(rule, o, optimizer)
        }
        "SWALR" => {
            let rule = with!(SWALR::new(needed(o.rates("swa_lr")?, "swa_lr")?);
                anneal_epochs = o.int("anneal_epochs")?, anneal_strategy = o.text("anneal_strategy"));
            run(rule, o, optimizer)
        }
        "ReduceLROnPlateau" => {
            let rule = with!(ReduceLROnPlateau::new(); mode = o.text("mode"), factor = o.float("factor")?,
                patience = o.int("patience")?, threshold = o.float("threshold")?,
                threshold_mode = o.text("threshold_mode"), cooldown = o.int("cooldown")?,
                min_lr = o.rates("min_lr")?, eps = o.float("eps")?);
            Ok(Running::Plateau(rule.on(optimizer)?))
        }
        "SequentialLR" => {
            let inner = inner(o, optimizer)?;
            let milestones = needed(o.get("milestones").and_then(Json::as_array), "milestones")?;
            let all = SequentialLR::new(optimizer, inner, milestones.iter().filter_map(Json::as_i64))?;
            Ok(Running::Rounds(all.boxed()))
        }
        "ChainedScheduler" => {
            let inner = inner(o, optimizer)?;
            Ok(Running::Rounds(ChainedScheduler::new(inner, optimizer)?.boxed()))
        }
        other => missing(format!("the schedule {other}")),
    }
}

/// The schedules that others are made of, started in order.
fn inner(o: &Options<'_>, optimizer: &mut dyn Optimizer) -> Result<Vec<Box<dyn Scheduler>>, Stop> {
    let mut all = Vec::new();
    for pair in needed(o.get("schedulers").and_then(Json::as_array), "schedulers")? {
        let name = pair[0].as_str().context("a schedule without a name")?;
        match start(name, &pair[1], optimizer)? {
            Running::Rounds(scheduler) => all.push(scheduler),
            // What takes a measure cannot be put among others: the types refuse it.
            Running::Plateau(_) => return Err(anyhow!("{name} takes a measure").into()),
        }
    }
    Ok(all)
}
