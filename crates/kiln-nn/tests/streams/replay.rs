//! Layers and losses against PyTorch's recordings: results, gradients of inputs and parameters, and misuse.

use kiln_nn::kiln_autograd::kiln_ops::random::manual_seed;
use kiln_nn::{
    AvgPool2d, Conv2d, CrossEntropyLoss, Dropout, Flatten, Forward, GELU, Identity, L1Loss, LeakyReLU,
    Linear, LogSigmoid, LogSoftmax, MSELoss, MaxPool2d, Module, NLLLoss, Padding, PaddingMode, Pair, ReLU,
    Reduction, Result, SiLU, Sigmoid, Softmax, StateDict, Tanh, Tensor, Unflatten,
};
use serde_json::Value;

use crate::recording::{Recording, deviation, numbers, open, seed};
use crate::turn;

/// A layer of one tensor or a loss of two.
enum Built {
    Layer(Box<dyn Forward>),
    Mse(MSELoss),
    L1(L1Loss),
    CrossEntropy(CrossEntropyLoss),
    Nll(NLLLoss),
}

impl Built {
    fn module(&self) -> &dyn Module {
        match self {
            Built::Layer(layer) => (**layer).as_module(),
            Built::Mse(loss) => loss,
            Built::L1(loss) => loss,
            Built::CrossEntropy(loss) => loss,
            Built::Nll(loss) => loss,
        }
    }

    fn call(&self, inputs: &[Tensor]) -> Result<Tensor> {
        match self {
            Built::Layer(layer) => layer.forward(&inputs[0]),
            Built::Mse(loss) => loss.forward(&inputs[0], &inputs[1]),
            Built::L1(loss) => loss.forward(&inputs[0], &inputs[1]),
            Built::CrossEntropy(loss) => loss.forward(&inputs[0], &inputs[1]),
            Built::Nll(loss) => loss.forward(&inputs[0], &inputs[1]),
        }
    }
}

/// A constructor's arguments, by position or name.
struct Args<'a>(&'a Value);

impl<'a> Args<'a> {
    fn get(&self, position: usize, name: &str) -> Option<&'a Value> {
        let by_position = self.0["args"].get(position);
        by_position.or_else(|| self.0["kwargs"].get(name)).filter(|v| !v.is_null())
    }

    fn size(&self, position: usize, name: &str) -> Option<usize> {
        self.get(position, name).map(|v| v.as_u64().expect("a size") as usize)
    }

    fn int(&self, position: usize, name: &str) -> Option<i64> {
        self.get(position, name).map(|v| v.as_i64().expect("an integer"))
    }

    fn float(&self, position: usize, name: &str) -> Option<f64> {
        self.get(position, name).map(|v| v.as_f64().expect("a number"))
    }

    fn flag(&self, position: usize, name: &str) -> Option<bool> {
        self.get(position, name).map(|v| v.as_bool().expect("a truth value"))
    }

    fn pair(&self, position: usize, name: &str) -> Option<Pair> {
        self.get(position, name).map(|v| {
            let n = |v: &Value| v.as_u64().expect("a size") as usize;
            match v.as_array() {
                Some(sizes) if sizes.len() == 2 => Pair::Each([n(&sizes[0]), n(&sizes[1])]),
                Some(sizes) => Pair::Same(n(&sizes[0])),
                None => Pair::Same(n(v)),
            }
        })
    }

    /// `None`: a word that there is no reduction for, which cannot be written here.
    fn reduction(&self) -> Option<Reduction> {
        match self.0["kwargs"]["reduction"].as_str() {
            None | Some("mean") => Some(Reduction::Mean),
            Some("sum") => Some(Reduction::Sum),
            Some("none") => Some(Reduction::None),
            Some(_) => None,
        }
    }
}

/// `None`: something that there is not yet.
fn build(case: &Value, recording: &Recording) -> Option<Built> {
    let a = Args(case);
    let layer = |l: Box<dyn Forward>| Some(Built::Layer(l));
    let class_weight = || case["kwargs"]["weight"]["t"].as_str().map(|key| recording.tensor(key));
    match case["module"].as_str()? {
        "Linear" => layer(Box::new(
            Linear::new(a.size(0, "")?, a.size(1, "")?).bias(a.flag(2, "bias").unwrap_or(true)),
        )),
        "Conv2d" => {
            let mode = match a.get(8, "padding_mode").and_then(Value::as_str) {
                None | Some("zeros") => PaddingMode::Zeros,
                Some("reflect") => PaddingMode::Reflect,
                Some("circular") => PaddingMode::Circular,
                Some("replicate") => PaddingMode::Replicate,
                // A mode that there is not cannot be written here.
                Some(_) => return None,
            };
            let padding = match a.get(4, "padding") {
                Some(Value::String(word)) => Padding::from(word.as_str()),
                _ => Padding::from(a.pair(4, "padding").unwrap_or(Pair::Same(0))),
            };
            let conv = Conv2d::new(a.size(0, "")?, a.size(1, "")?, a.pair(2, "kernel_size")?)
                .stride(a.pair(3, "stride").unwrap_or(Pair::Same(1)))
                .padding(padding)
                .dilation(a.pair(5, "dilation").unwrap_or(Pair::Same(1)))
                .padding_mode(mode)
                .groups(a.size(6, "groups").unwrap_or(1))
                .bias(a.flag(7, "bias").unwrap_or(true));
            layer(Box::new(conv))
        }
        "MaxPool2d" => {
            if a.flag(4, "return_indices") == Some(true) {
                return None;
            }
            let kernel = a.pair(0, "kernel_size")?;
            let pool = MaxPool2d::new(kernel)
                .stride(a.pair(1, "stride").unwrap_or(kernel))
                .padding(a.pair(2, "padding").unwrap_or(Pair::Same(0)))
                .dilation(a.pair(3, "dilation").unwrap_or(Pair::Same(1)))
                .ceil_mode(a.flag(5, "ceil_mode").unwrap_or(false));
            layer(Box::new(pool))
        }
        "AvgPool2d" => {
            let kernel = a.pair(0, "kernel_size")?;
            let pool = AvgPool2d::new(kernel)
                .stride(a.pair(1, "stride").unwrap_or(kernel))
                .padding(a.pair(2, "padding").unwrap_or(Pair::Same(0)))
                .ceil_mode(a.flag(3, "ceil_mode").unwrap_or(false))
                .count_include_pad(a.flag(4, "count_include_pad").unwrap_or(true));
            let divisor = a.size(5, "divisor_override");
            layer(Box::new(divisor.map_or(pool, |n| pool.divisor_override(n))))
        }
        "Flatten" => layer(Box::new(
            Flatten::new()
                .start_dim(a.int(0, "start_dim").unwrap_or(1))
                .end_dim(a.int(1, "end_dim").unwrap_or(-1)),
        )),
        "Unflatten" => {
            let sizes = a.get(1, "unflattened_size")?.as_array()?;
            let sizes: Vec<i64> = sizes.iter().map(|n| n.as_i64().expect("a size")).collect();
            layer(Box::new(Unflatten::new(a.int(0, "dim")?, sizes)))
        }
        "ReLU" => layer(Box::new(ReLU)),
        "Sigmoid" => layer(Box::new(Sigmoid)),
        "Tanh" => layer(Box::new(Tanh)),
        "SiLU" => layer(Box::new(SiLU)),
        "ReLU6" => layer(Box::new(kiln_nn::ReLU6)),
        "SELU" => layer(Box::new(kiln_nn::SELU)),
        "Mish" => layer(Box::new(kiln_nn::Mish)),
        "Softsign" => layer(Box::new(kiln_nn::Softsign)),
        "Tanhshrink" => layer(Box::new(kiln_nn::Tanhshrink)),
        "Hardsigmoid" => layer(Box::new(kiln_nn::Hardsigmoid)),
        "Hardswish" => layer(Box::new(kiln_nn::Hardswish)),
        "LogSigmoid" => layer(Box::new(LogSigmoid)),
        "Identity" => layer(Box::new(Identity)),
        "GELU" => {
            let approximate = a.get(0, "approximate").and_then(Value::as_str);
            layer(Box::new(if approximate == Some("tanh") { GELU::tanh() } else { GELU::new() }))
        }
        "LeakyReLU" => layer(Box::new(LeakyReLU::new(a.float(0, "negative_slope").unwrap_or(0.01)))),
        "Softmax" => layer(Box::new(Softmax::new(a.int(0, "dim")?))),
        "LogSoftmax" => layer(Box::new(LogSoftmax::new(a.int(0, "dim")?))),
        "Dropout" => layer(Box::new(Dropout::new(a.float(0, "p").unwrap_or(0.5)))),
        "MSELoss" => Some(Built::Mse(MSELoss::new().reduction(a.reduction()?))),
        "L1Loss" => Some(Built::L1(L1Loss::new().reduction(a.reduction()?))),
        "CrossEntropyLoss" => {
            let loss = CrossEntropyLoss::new()
                .reduction(a.reduction()?)
                .label_smoothing(a.float(9, "label_smoothing").unwrap_or(0.0))
                .ignore_index(a.int(9, "ignore_index").unwrap_or(-100));
            Some(Built::CrossEntropy(class_weight().into_iter().fold(loss, CrossEntropyLoss::weight)))
        }
        "NLLLoss" => {
            let loss = NLLLoss::new()
                .reduction(a.reduction()?)
                .ignore_index(a.int(9, "ignore_index").unwrap_or(-100));
            Some(Built::Nll(class_weight().into_iter().fold(loss, NLLLoss::weight)))
        }
        _ => None,
    }
}

/// The tensors of the call, the path of each, and whether a gradient is wanted.
fn inputs(case: &Value, recording: &Recording) -> Option<Vec<(String, Tensor)>> {
    let mut found = Vec::new();
    for (i, value) in case["forward"]["args"].as_array()?.iter().enumerate() {
        found.push((format!("args.{i}"), recording.tensor(value["t"].as_str()?)));
    }
    for name in ["input", "target"] {
        if let Some(value) = case["forward"]["kwargs"].get(name) {
            found.push((format!("kwargs.{name}"), recording.tensor(value["t"].as_str()?)));
        }
    }
    found
        .into_iter()
        .map(|(path, t)| match case["grad_inputs"].get(&path) {
            Some(_) => Some((path, t.requires_grad_(true).expect("a float input"))),
            None => Some((path, t)),
        })
        .collect()
}

fn replay(case: &Value, recording: &Recording) -> Option<Vec<String>> {
    let built = build(case, recording)?;
    let inputs = inputs(case, recording)?;
    let state: StateDict = case["state"]
        .as_object()?
        .iter()
        .map(|(name, key)| (name.clone(), recording.tensor(key.as_str().expect("a key"))))
        .collect();
    built.module().load_state_dict(&state).unwrap();
    built.module().set_training(case["training"] == true);
    manual_seed(seed(&case["seed"]));
    let tensors: Vec<Tensor> = inputs.iter().map(|(_, t)| t.clone()).collect();
    let output = built.call(&tensors).unwrap_or_else(|e| panic!("{}: {e}", case["id"]));

    let mut failures = Vec::new();
    let allowed = |part: &str| (10.0 * case["f64_dev"][part].as_f64().unwrap_or(0.0)).max(1e-5);
    let mut compare = |what: &str, got: &Tensor, key: &str, allowed: f64| {
        let off = deviation(got, &recording.tensor(key), 1e-3);
        if off.is_nan() || off > allowed {
            failures.push(format!(
                "{} {} {what}: off by {off:e}, {allowed:e} allowed",
                case["module"], case["id"]
            ));
        }
    };
    compare("output", &output, case["output"]["t"].as_str()?, allowed("output"));
    let Some(cotangent) = case["cotangent"]["out"].as_str() else { return Some(failures) };
    if output.requires_grad() {
        output.mul(&recording.tensor(cotangent)).unwrap().sum().unwrap().backward().unwrap();
    }
    for (path, t) in &inputs {
        if let Some(key) = case["grad_inputs"][path].as_str() {
            let zeros = Tensor::from_vec(vec![0f32; t.numel()], t.shape()).unwrap();
            compare(path, &t.grad().unwrap_or(zeros), key, allowed("grads"));
        }
    }
    for (name, t) in built.module().named_parameters() {
        if let Some(key) = case["grad_params"][&name].as_str() {
            compare(&name, &t.grad().expect("a gradient"), key, allowed("grads"));
        }
    }
    Some(failures)
}

#[test]
fn recorded_layers_and_losses() {
    let _turn = turn();
    // Layer, and how many of its cases there must be at least.
    let layers = [
        ("Linear", 6),
        ("Conv2d", 12),
        ("MaxPool2d", 6),
        ("AvgPool2d", 8),
        ("Flatten", 2),
        ("Unflatten", 2),
        ("Identity", 1),
        ("ReLU", 3),
        ("Sigmoid", 3),
        ("Tanh", 3),
        ("SiLU", 3),
        ("LogSigmoid", 3),
        ("ReLU6", 3),
        ("SELU", 3),
        ("Mish", 3),
        ("Softsign", 3),
        ("Tanhshrink", 3),
        ("Hardsigmoid", 1),
        ("Hardswish", 2),
        ("GELU", 4),
        ("LeakyReLU", 5),
        ("Softmax", 4),
        ("LogSoftmax", 4),
        ("Dropout", 4),
        ("MSELoss", 6),
        ("L1Loss", 5),
        ("CrossEntropyLoss", 25),
        ("NLLLoss", 16),
    ];
    let mut failures = Vec::new();
    for (name, at_least) in layers {
        let Some(recording) = open("modules", name) else { return };
        let mut replayed = 0;
        for case in recording.cases() {
            if let Some(found) = replay(case, &recording) {
                replayed += 1;
                failures.extend(found);
            }
        }
        if replayed < at_least {
            failures.push(format!("{name}: {replayed} cases replayed of {}", recording.cases().len()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn recorded_misuse_gives_errors() {
    let Some(recording) = open("modules", "errors") else { return };
    let _turn = turn();
    let mut replayed = 0;
    for case in recording.cases() {
        let Some(built) = build(case, &recording) else { continue };
        if !case["access"].is_null() {
            continue;
        }
        let args =
            case["forward"].as_array().map(|a| a.iter().map(|v| v["t"].as_str()).collect::<Option<Vec<_>>>());
        let result = match args {
            // Building alone must fail: here, using what was built.
            None => built.call(&[Tensor::from_vec(vec![1f32; 4 * 64], [1, 4, 8, 8]).unwrap()]),
            Some(Some(keys)) => built.call(&keys.iter().map(|k| recording.tensor(k)).collect::<Vec<_>>()),
            Some(None) => continue,
        };
        assert!(result.is_err(), "{}: {:?}", case, result.map(|t| numbers(&t)));
        replayed += 1;
    }
    eprintln!("{replayed} misuses");
    assert!(replayed >= 12, "{replayed}");
}
