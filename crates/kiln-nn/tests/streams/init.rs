//! Initialisation against PyTorch: the recorded init functions and default parameters of layers.

use kiln_nn::init::{self, Fan, Nonlinearity};
use kiln_nn::kiln_autograd::kiln_ops::random::{default_generator, manual_seed};
use kiln_nn::{Conv2d, DType, Linear, Module, Result, Tensor, sequential};
use serde_json::Value;

use crate::recording::{Recording, deviation, numbers, open, seed};
use crate::turn;

fn number(kwargs: &Value, name: &str, default: f64) -> f64 {
    kwargs.get(name).map_or(default, |v| v.as_f64().expect("a number"))
}

/// `None`: a function that there is not.
fn initialise(t: &Tensor, function: &str, kwargs: &Value) -> Option<Result<()>> {
    let n = |name, default| number(kwargs, name, default);
    let fan = if kwargs["mode"] == "fan_out" { Fan::Out } else { Fan::In };
    let nonlinearity = match kwargs["nonlinearity"].as_str() {
        None | Some("leaky_relu") => Nonlinearity::LeakyRelu(n("a", 0.0)),
        Some("relu") => Nonlinearity::Relu,
        Some("tanh") => Nonlinearity::Tanh,
        Some("selu") => Nonlinearity::Selu,
        Some(other) => panic!("{other}"),
    };
    Some(match function {
        "uniform_" => init::uniform_(t, n("a", 0.0), n("b", 1.0)),
        "normal_" => init::normal_(t, n("mean", 0.0), n("std", 1.0)),
        "trunc_normal_" => init::trunc_normal_(t, n("mean", 0.0), n("std", 1.0), n("a", -2.0), n("b", 2.0)),
        "constant_" => init::constant_(t, n("val", 0.0)),
        "ones_" => init::ones_(t),
        "zeros_" => init::zeros_(t),
        "eye_" => init::eye_(t),
        "dirac_" => init::dirac_(t, n("groups", 1.0) as usize),
        "xavier_uniform_" => init::xavier_uniform_(t, n("gain", 1.0)),
        "xavier_normal_" => init::xavier_normal_(t, n("gain", 1.0)),
        "kaiming_uniform_" => init::kaiming_uniform_(t, fan, nonlinearity),
        "kaiming_normal_" => init::kaiming_normal_(t, fan, nonlinearity),
        "orthogonal_" => init::orthogonal_(t, n("gain", 1.0)),
        "sparse_" => init::sparse_(t, n("sparsity", 0.0), n("std", 0.01)),
        _ => return None,
    })
}

/// The next two integers below 2^24 of the stream show whether the right number of values was drawn.
fn probe() -> Vec<i64> {
    let mut values = [0i64; 2];
    default_generator().random_from_to(&mut values, 0, 1 << 24).unwrap();
    values.to_vec()
}

fn compare(recording: &Recording, case: &Value, key: &str, got: &Tensor, failures: &mut Vec<String>) {
    let want = recording.tensor(key);
    let off = deviation(got, &want, 1e-3);
    // Double precision normals go through functions of the C library that may differ in the last digits.
    let library = if want.dtype() == DType::F64 { 4.0 * f64::EPSILON } else { 0.0 };
    let allowed = if case["compare"] == "1e-5" { 1e-5 } else { library };
    if off.is_nan() || off > allowed {
        failures.push(format!("{key}: off by {off:e}"));
    }
}

#[test]
fn recorded_initialisation() {
    let Some(recording) = open("rng", "init") else { return };
    let _turn = turn();
    let (mut functions, mut layers, mut failures) = (0, 0, Vec::new());
    for case in recording.cases() {
        manual_seed(seed(&case["seed"]));
        if let Some(steps) = case["steps"].as_array() {
            let dims: Vec<usize> =
                steps[0]["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
            let dtype = if steps[0]["dtype"] == "float64" { DType::F64 } else { DType::F32 };
            let n = dims.iter().product();
            let t = Tensor::from_vec(vec![0f32; n], dims).unwrap().to_dtype(dtype).unwrap();
            let name = steps[0]["fn"].as_str().expect("an init function");
            let Some(result) = initialise(&t, name, &steps[0]["kwargs"]) else { continue };
            result.unwrap();
            compare(&recording, case, steps[0]["out"].as_str().unwrap(), &t, &mut failures);
            let probe = Tensor::from_vec(probe(), [2]).unwrap();
            compare(&recording, &Value::Null, steps[1]["out"].as_str().unwrap(), &probe, &mut failures);
            functions += 1;
        } else if let Some(name) = case["module"].as_str() {
            let size = |i: usize| case["args"][i].as_u64().unwrap() as usize;
            assert!(
                case["kwargs"].as_object().is_none_or(|k| k.keys().all(|k| k == "bias" || k == "groups"))
                    || !matches!(name, "Linear" | "Conv2d"),
                "{case}"
            );
            let kernel = |i: usize| match case["args"][i].as_array() {
                Some(pair) => [0, 1].map(|k| pair[k].as_u64().unwrap() as usize),
                None => [size(i); 2],
            };
            let bias = case["kwargs"]["bias"] != false;
            let state = match name {
                "Linear" => Linear::new(size(0), size(1)).bias(bias).state_dict(),
                "Conv2d" => {
                    let groups = case["kwargs"]["groups"].as_u64().unwrap_or(1) as usize;
                    Conv2d::new(size(0), size(1), kernel(2)).groups(groups).bias(bias).state_dict()
                }
                _ => continue,
            };
            for (name, key) in case["state"].as_object().unwrap() {
                compare(&recording, case, key.as_str().unwrap(), state.get(name).unwrap(), &mut failures);
            }
            let probe = Tensor::from_vec(probe(), [2]).unwrap();
            compare(&recording, case, case["probe"].as_str().unwrap(), &probe, &mut failures);
            layers += 1;
        } else if case["model"] == "lenet" {
            let net = sequential![
                Conv2d::new(1, 6, 5).padding(2),
                kiln_nn::Sigmoid,
                kiln_nn::AvgPool2d::new(2).stride(2),
                Conv2d::new(6, 16, 5),
                kiln_nn::Sigmoid,
                kiln_nn::AvgPool2d::new(2).stride(2),
                kiln_nn::Flatten::new(),
                Linear::new(400, 120),
                kiln_nn::Sigmoid,
                Linear::new(120, 84),
                kiln_nn::Sigmoid,
                Linear::new(84, 10)
            ];
            let state = net.state_dict();
            for (name, want) in case["summary"].as_object().unwrap() {
                let got = numbers(state.get(name).unwrap());
                for (value, want) in got.iter().zip(want["head"].as_array().unwrap()) {
                    assert_eq!(*value, want.as_f64().unwrap(), "{name}");
                }
                let (sum, want) = (got.iter().sum::<f64>(), want["sum"].as_f64().unwrap());
                assert!((sum - want).abs() <= 1e-5 * want.abs(), "{name}: {sum} for {want}");
            }
            layers += 1;
        }
    }
    eprintln!("{functions} init functions and {layers} layers or models replayed");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(functions >= 186 && layers >= 8, "{functions} and {layers}");
}

/// Values of PyTorch 2.15.0 that need no recording.
#[test]
fn first_parameters_are_pytorch_s() {
    let _turn = turn();
    manual_seed(0);
    let linear = Linear::new(3, 2);
    assert_eq!(linear.weight.to_vec::<f32>().unwrap(), LINEAR_WEIGHT);
    assert_eq!(linear.bias.as_ref().unwrap().to_vec::<f32>().unwrap(), LINEAR_BIAS);
    manual_seed(42);
    let conv = Conv2d::new(2, 1, 2).bias(false);
    assert_eq!(conv.weight.to_vec::<f32>().unwrap(), CONV_WEIGHT);
    init::xavier_normal_(&linear.weight, 1.0).unwrap();
    assert_eq!(linear.weight.to_vec::<f32>().unwrap(), XAVIER);
}

const LINEAR_WEIGHT: [f32; 6] = [-0.0043225177, 0.30971584, -0.47518533, -0.4248946, -0.22236897, 0.15482073];
const LINEAR_BIAS: [f32; 2] = [-0.011439145, 0.45777494];
const CONV_WEIGHT: [f32; 8] =
    [0.2703052, 0.2934521, -0.08282783, 0.32477814, -0.07746481, 0.07134378, -0.17212924, 0.20763578];
const XAVIER: [f32; 6] = [-0.71015674, -0.117844366, 1.3965892, -0.40350476, 0.29197767, 0.16908753];
