//! Printed tensors against PyTorch: `data/display.json`, written by `data/display.py`.

use half::{bf16, f16};
use kiln_ops::display::{PrintOptions, TensorText, Values};
use serde_json::Value;

fn float(value: &Value) -> f64 {
    match value.as_str() {
        Some("nan") => f64::NAN,
        Some("inf") => f64::INFINITY,
        Some("-inf") => f64::NEG_INFINITY,
        _ => value.as_f64().expect("a number"),
    }
}

/// The value after rounding to `dtype`.
fn rounded(value: f64, dtype: &str) -> f64 {
    match dtype {
        "float64" => value,
        "float32" => f64::from(value as f32),
        "float16" => f16::from_f32(value as f32).to_f64(),
        "bfloat16" => bf16::from_f32(value as f32).to_f64(),
        other => panic!("{other} is not floating-point"),
    }
}

fn options(value: &Value) -> PrintOptions {
    let mut options = PrintOptions::default();
    for (name, value) in value.as_object().into_iter().flatten() {
        let count = || value.as_u64().expect("a count") as usize;
        match name.as_str() {
            "precision" => options.precision = count(),
            "threshold" => options.threshold = count(),
            "edgeitems" => options.edgeitems = count(),
            "linewidth" => options.linewidth = count(),
            "sci_mode" => options.sci_mode = value.as_bool(),
            other => panic!("unknown option {other}"),
        }
    }
    options
}

fn printed(case: &Value) -> String {
    let shape: Vec<usize> =
        case["shape"].as_array().unwrap().iter().map(|size| size.as_u64().unwrap() as usize).collect();
    let dtype = case["dtype"].as_str().unwrap();
    let given = &case["values"];
    let pattern = case["pattern"].as_array().map(|parts| {
        let part = |i: usize| parts[i].as_i64().expect("an integer");
        (part(0), part(1), part(2), parts[3].as_f64().expect("a scale"))
    });
    let integer = |i: usize| match pattern {
        Some((mul, modulus, sub, _)) => i as i64 * mul % modulus - sub,
        None => given[i].as_i64().expect("an integer"),
    };
    let number = |i: usize| match pattern {
        Some((.., scale)) => rounded(integer(i) as f64 * scale, dtype),
        None => float(&given[i]),
    };
    let truth = |i: usize| match pattern {
        Some(_) => integer(i) != 0,
        None => given[i].as_bool().expect("a truth value"),
    };
    let values = match dtype {
        "bool" => Values::Bool(&truth),
        name if name.contains("float") => Values::Float(&number),
        _ => Values::Int(&integer),
    };
    let text = TensorText {
        dtype,
        default_dtype: case["default_dtype"].as_str().unwrap_or("float32"),
        device: case["device"].as_str(),
        grad_fn: case["grad_fn"].as_str(),
        requires_grad: case["requires_grad"] == true,
        ..TensorText::new(&shape, values)
    };
    text.format(&options(&case["options"]))
}

#[test]
fn text_is_pytorchs() {
    let data: Value = serde_json::from_str(include_str!("data/display.json")).expect("JSON");
    let cases = data["cases"].as_array().expect("cases");
    assert!(cases.len() > 300);
    let mut wrong = 0;
    for case in cases {
        let (got, want) = (printed(case), case["expected"].as_str().unwrap());
        if got != want {
            wrong += 1;
            let (shape, dtype, options) = (&case["shape"], &case["dtype"], &case["options"]);
            eprintln!("{shape} {dtype} {options}\nKiln:\n{got}\nPyTorch:\n{want}\n");
        }
    }
    assert_eq!(wrong, 0, "of {} texts", cases.len());
}

/// `torch.manual_seed(0); print(torch.randn(2, 9))`: the stream and the text together.
#[test]
fn a_random_matrix() {
    let mut values = [0f32; 18];
    kiln_ops::random::Generator::new(0).normal(&mut values, 0.0, 1.0).unwrap();
    let text =
        TensorText::new(&[2, 9], Values::Float(&|i| values[i].into())).format(&PrintOptions::default());
    let want = "\
tensor([[-1.1258, -1.1524,  0.5667,  0.7935,  0.5988, -1.5551, -0.3414,  1.8530,
          0.4681],
        [-0.1577, -0.1734,  0.1835,  1.3894,  1.5863,  0.9463, -0.8437,  0.9318,
          1.2590]])";
    assert_eq!(text, want);
}
