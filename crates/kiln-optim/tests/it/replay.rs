//! Recorded runs of PyTorch: twelve steps, the saved state in the middle and at the end, and misuse.

use kiln_autograd::{DType, Tensor, no_grad};
use kiln_optim::{
    Adam, AdamOptions, AdamW, CosineAnnealingLR, ExponentialLR, GroupState, LambdaLR, Optimizer,
    OptimizerState, OptionValue, SGD, Scheduler, SgdOptions, StepLR, clip_grad_norm_, clip_grad_value_,
};
use serde_json::Value;

use crate::recording::{Recording, deviation, open};

fn option_value(value: &Value) -> OptionValue {
    match value {
        Value::Null => OptionValue::None,
        Value::Bool(b) => OptionValue::Bool(*b),
        Value::Number(n) => {
            n.as_i64().map_or_else(|| OptionValue::Float(n.as_f64().unwrap()), OptionValue::Int)
        }
        Value::String(text) => OptionValue::Text(text.clone()),
        Value::Array(values) => OptionValue::List(values.iter().map(option_value).collect()),
        Value::Object(_) => panic!("{value}"),
    }
}

/// An optimizer of the named kind with options under PyTorch's names; `None`: a kind that there is not.
fn build(kind: &str, groups: &[(Vec<Tensor>, &[&Value])]) -> Option<Box<dyn Optimizer>> {
    let (first, rest) = groups.split_first()?;
    let mut optimizer: Box<dyn Optimizer> = match kind {
        "SGD" => {
            let sgd = SGD::new(first.0.clone(), 1e-3);
            Box::new(rest.iter().fold(sgd, |o, g| o.group(g.0.clone(), |_: &mut SgdOptions| {})))
        }
        "Adam" => {
            let adam = Adam::new(first.0.clone(), 1e-3);
            Box::new(rest.iter().fold(adam, |o, g| o.group(g.0.clone(), |_: &mut AdamOptions| {})))
        }
        "AdamW" => {
            let adam = AdamW::new(first.0.clone(), 1e-3);
            Box::new(rest.iter().fold(adam, |o, g| o.group(g.0.clone(), |_: &mut AdamOptions| {})))
        }
        _ => return None,
    };
    for (i, (_, options)) in groups.iter().enumerate() {
        for (name, value) in options.iter().filter_map(|o| o.as_object()).flatten() {
            optimizer.set_option(i, name, option_value(value)).unwrap();
        }
    }
    Some(optimizer)
}

fn saved(recording: &Recording, value: &Value) -> OptimizerState {
    let state = value["state"].as_object().unwrap().iter().map(|(number, entries)| {
        let entries = entries.as_object().unwrap().iter().filter(|(_, v)| !v.is_null());
        let entries = entries.map(|(name, v)| (name.clone(), recording.tensor(v["t"].as_str().unwrap())));
        (number.parse().unwrap(), entries.collect())
    });
    let groups = value["param_groups"].as_array().unwrap().iter().map(|group| GroupState {
        options: group
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, _)| *name != "params")
            .map(|(name, value)| (name.clone(), option_value(value)))
            .collect(),
        params: group["params"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect(),
    });
    OptimizerState { state: state.collect(), param_groups: groups.collect() }
}

/// What differs between two saved states.
fn differences(got: &OptimizerState, want: &OptimizerState, allowed: f64) -> Vec<String> {
    let mut found = Vec::new();
    if got.state.keys().ne(want.state.keys()) {
        found.push(format!("state of {:?}, not {:?}", got.state.keys(), want.state.keys()));
        return found;
    }
    for (number, entries) in &want.state {
        for (name, tensor) in entries {
            match got.state[number].iter().find(|(n, _)| n == name) {
                Some((_, t)) if deviation(t, tensor, 1e-30) <= allowed => {}
                Some((_, t)) => {
                    found.push(format!("{number}.{name}: off by {:e}", deviation(t, tensor, 1e-30)))
                }
                None => found.push(format!("{number}.{name} is missing")),
            }
        }
        if got.state[number].len() != entries.len() {
            found.push(format!("{number}: {} entries", got.state[number].len()));
        }
    }
    for (a, b) in got.param_groups.iter().zip(&want.param_groups) {
        let value = |group: &GroupState, name: &str| {
            group.options.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone())
        };
        for (name, want) in &b.options {
            let got = value(a, name);
            let same = got.as_ref() == Some(want)
                || got.as_ref().and_then(OptionValue::number) == want.number() && want.number().is_some();
            if !same {
                found.push(format!("option {name}: {got:?} for {want:?}"));
            }
        }
        if a.params != b.params || a.options.len() != b.options.len() {
            found.push(format!("{a:?} for {b:?}"));
        }
    }
    found
}

struct Run<'a> {
    recording: &'a Recording,
    case: &'a Value,
    values: Vec<Tensor>,
    grads: Vec<Tensor>,
    allowed: f64,
}

impl Run<'_> {
    /// Parameters with the values before step `t`, and an optimizer over them.
    fn start(&self, kind: &str, t: i64) -> Option<(Vec<Tensor>, Box<dyn Optimizer>)> {
        let params: Vec<Tensor> = self
            .values
            .iter()
            .map(|v| v.select(0, t).unwrap().copy().unwrap().requires_grad_(true).unwrap())
            .collect();
        let options = &self.case["options"];
        let optimizer = match &self.case["second_group"] {
            Value::Null => build(kind, &[(params.clone(), &[options])]),
            second => {
                build(kind, &[(params[..1].to_vec(), &[options]), (params[1..].to_vec(), &[options, second])])
            }
        };
        Some((params, optimizer?))
    }

    fn steps(
        &self,
        params: &[Tensor],
        optimizer: &mut dyn Optimizer,
        from: i64,
        to: i64,
        found: &mut Vec<String>,
    ) {
        for t in from..to {
            for (i, p) in params.iter().enumerate() {
                let present = self.case["grad_present"][i][t as usize] == true;
                let grad = present.then(|| self.grads[i].select(0, t).unwrap().copy().unwrap());
                p.set_grad(grad).unwrap();
            }
            optimizer.step().unwrap();
            for (i, p) in params.iter().enumerate() {
                let off = deviation(&p.detach(), &self.values[i].select(0, t + 1).unwrap(), 1e-30);
                if off.is_nan() || off > self.allowed {
                    found.push(format!("{} step {t}, parameter {i}: off by {off:e}", self.case["id"]));
                }
            }
            let key = match t {
                5 => "state_after_6",
                11 => "state_after_12",
                _ => continue,
            };
            let want = saved(self.recording, &self.case[key]);
            let wrong = differences(&optimizer.state_dict().unwrap(), &want, self.allowed);
            found.extend(wrong.into_iter().map(|d| format!("{} {key}: {d}", self.case["id"])));
        }
    }
}

#[test]
fn recorded_runs() {
    for kind in ["SGD", "Adam", "AdamW"] {
        let Some(recording) = open("optim", kind) else { return };
        let mut found = Vec::new();
        for case in recording.cases() {
            let tensors = |name: &str| -> Vec<Tensor> {
                case[name].as_array().unwrap().iter().map(|k| recording.tensor(k.as_str().unwrap())).collect()
            };
            let allowed = if case["dtype"] == "float64" { 1e-9 } else { 1e-5 };
            let run = Run {
                recording: &recording,
                case,
                values: tensors("params"),
                grads: tensors("grads"),
                allowed,
            };
            let (params, mut optimizer) = run.start(kind, 0).unwrap();
            run.steps(&params, &mut *optimizer, 0, 12, &mut found);
            // The same from the state that PyTorch saved in the middle.
            let (params, mut optimizer) = run.start(kind, 6).unwrap();
            optimizer.load_state_dict(&saved(&recording, &case["state_after_6"])).unwrap();
            run.steps(&params, &mut *optimizer, 6, 12, &mut found);
        }
        eprintln!("{kind}: {} cases", recording.cases().len());
        assert!(found.is_empty(), "{kind}:\n{}", found.join("\n"));
        assert!(recording.cases().len() >= 8);
    }
}

#[test]
fn recorded_misuse_is_refused() {
    let Some(recording) = open("optim", "errors") else { return };
    let vector = || Tensor::from_vec(vec![1f32, 2.0], [2]).unwrap().requires_grad_(true).unwrap();
    let mut replayed = 0;
    for case in recording.cases() {
        let kind = case["optimizer"].as_str().unwrap();
        let options = [&case["options"]];
        let v = vector();
        let built = match case["params"].as_str().unwrap() {
            "one vector of 2" => build(kind, &[(vec![v], &options)]),
            "empty parameter list" => build(kind, &[(vec![], &options)]),
            "same parameter in two groups" => {
                build(kind, &[(vec![v.clone()], &options), (vec![v], &options)])
            }
            "loading a state with another number of groups" => {
                let Some(mut optimizer) = build(kind, &[(vec![v], &options)]) else { continue };
                let two = build(kind, &[(vec![vector()], &options), (vec![vector()], &options)]).unwrap();
                let error = optimizer.load_state_dict(&two.state_dict().unwrap()).unwrap_err().to_string();
                assert!(error.contains("different number of parameter groups"), "{error}");
                replayed += 1;
                continue;
            }
            other => panic!("{other}"),
        };
        let Some(mut optimizer) = built else { continue };
        let (check, step) = (optimizer.check(), optimizer.step());
        assert!(check.is_err() && step.is_err(), "{case}");
        replayed += 1;
    }
    assert!(replayed >= 8, "{replayed}");
}

#[test]
fn recorded_clipping() {
    let Some(recording) = open("optim", "clip") else { return };
    let mut replayed = 0;
    for case in recording.cases() {
        let kind = case["kind"].as_str().unwrap();
        if !kind.starts_with("clip") {
            continue;
        }
        let tensors = |name: &str| -> Vec<Tensor> {
            case[name].as_array().unwrap().iter().map(|k| recording.tensor(k.as_str().unwrap())).collect()
        };
        let params: Vec<Tensor> = tensors("grads")
            .into_iter()
            .map(|g| {
                let p = no_grad(|| g.zeros_like()).unwrap().requires_grad_(true).unwrap();
                p.set_grad(Some(g)).unwrap();
                p
            })
            .collect();
        let option =
            |name: &str, default: f64| case["options"].get(name).map_or(default, |v| v.as_f64().unwrap());
        if kind == "clip_grad_norm" {
            let norm = clip_grad_norm_(&params, option("max_norm", 1.0), option("norm_type", 2.0)).unwrap();
            let want = case["total_norm"].as_f64().unwrap();
            assert!((norm - want).abs() <= 1e-6 * want, "{norm} for {want}");
        } else {
            clip_grad_value_(&params, option("clip_value", 1.0)).unwrap();
        }
        for (p, want) in params.iter().zip(tensors("clipped")) {
            let off = deviation(&p.grad().unwrap(), &want, 1e-3);
            assert!(off <= 1e-5, "{}: {off:e}", case["id"]);
        }
        replayed += 1;
    }
    assert!(replayed >= 4);
}

/// The formulas of the recordings for [`LambdaLR`].
fn formula(text: &str) -> Option<Box<dyn Fn(u64) -> f64 + Send + Sync>> {
    match text {
        "0.95**epoch" => Some(Box::new(|e| 0.95f64.powi(e as i32))),
        "min(1,(epoch+1)/8)" => Some(Box::new(|e| ((e + 1) as f64 / 8.0).min(1.0))),
        "cosine warmup 5 of 40" => Some(Box::new(|e| {
            if e < 5 {
                (e + 1) as f64 / 5.0
            } else {
                (1.0 + (std::f64::consts::PI * (e as f64 - 5.0) / 35.0).cos()) / 2.0
            }
        })),
        _ => None,
    }
}

#[test]
fn recorded_schedules() {
    let mut replayed = 0;
    for kind in ["StepLR", "ExponentialLR", "CosineAnnealingLR", "LambdaLR"] {
        let Some(recording) = open("schedulers", kind) else { return };
        for case in recording.cases() {
            let id = case["id"].as_str().unwrap();
            let options = &case["options"];
            if id.contains("resumed") || options.get("last_epoch").is_some() {
                continue;
            }
            let param = || Tensor::from_vec(vec![0f32], [1]).unwrap().requires_grad_(true).unwrap();
            let mut optimizer = SGD::new([param()], 0.1).group([param()], |o| o.lr = 0.01);
            let n = |name: &str, default: f64| options.get(name).map_or(default, |v| v.as_f64().unwrap());
            let mut scheduler: Box<dyn Scheduler> = match kind {
                "StepLR" => Box::new(StepLR::new(&optimizer, n("step_size", 1.0) as u64, n("gamma", 0.1))),
                "ExponentialLR" => Box::new(ExponentialLR::new(&optimizer, n("gamma", 0.1))),
                "CosineAnnealingLR" => {
                    Box::new(CosineAnnealingLR::new(&optimizer, n("T_max", 1.0) as u64, n("eta_min", 0.0)))
                }
                _ => {
                    let text = options["lr_lambda"]
                        .get("fn")
                        .or(Some(&options["lr_lambda"]))
                        .and_then(Value::as_str);
                    match text.and_then(formula) {
                        Some(f) => Box::new(LambdaLR::new(&mut optimizer, f).unwrap()),
                        None => continue,
                    }
                }
            };
            for (t, want) in case["lr"].as_array().unwrap().iter().enumerate() {
                if t > 0 {
                    optimizer.step().unwrap();
                    scheduler.step(&mut optimizer).unwrap();
                }
                for group in 0..2 {
                    let (got, want) = (optimizer.lr(group), want[group].as_f64().unwrap());
                    assert!(
                        (got - want).abs() <= 1e-9 * want.abs().max(1e-12),
                        "{id} round {t}: {got} for {want}"
                    );
                }
            }
            replayed += 1;
        }
    }
    eprintln!("{replayed} schedules");
    assert!(replayed >= 6, "{replayed}");
}

#[test]
fn a_state_of_another_dtype_is_converted() {
    let p = Tensor::from_vec(vec![1f64], [1]).unwrap().requires_grad_(true).unwrap();
    let mut optimizer = Adam::new([p.clone()], 0.1);
    let mut state = optimizer.state_dict().unwrap();
    let one = |x: f32| Tensor::from_vec(vec![x], [1]).unwrap();
    let step = Tensor::from_vec(vec![3f32], kiln_autograd::Shape::default()).unwrap();
    let entries = vec![
        ("step".to_owned(), step),
        ("exp_avg".to_owned(), one(0.5)),
        ("exp_avg_sq".to_owned(), one(0.25)),
    ];
    state.state.insert(0, entries);
    optimizer.load_state_dict(&state).unwrap();
    let (_, mean) = optimizer.state_dict().unwrap().state[&0][1].clone();
    assert_eq!(mean.dtype(), DType::F64);
    let wrong = vec![("exp_avg".to_owned(), Tensor::from_vec(vec![0f32; 2], [2]).unwrap())];
    state.state.insert(0, wrong);
    assert!(optimizer.load_state_dict(&state).is_err());
    assert_eq!(optimizer.state_dict().unwrap().state[&0].len(), 3, "nothing was loaded");
}
