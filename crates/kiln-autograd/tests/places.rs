//! Errors of the backward pass name the program's own lines.

use kiln_autograd::*;

/// `file:line` of the line that calls this, so many lines further down.
#[track_caller]
fn line(below: u32) -> String {
    let here = std::panic::Location::caller();
    format!("{}:{}:", here.file(), here.line() + below)
}

fn leaf() -> Tensor {
    Tensor::full([3], 2.0).requires_grad_(true).unwrap()
}

fn says(result: Result<()>, parts: &[&str]) {
    let error = result.unwrap_err().to_string();
    for part in parts {
        assert!(error.contains(part), "{error:?} does not contain {part:?}");
    }
}

#[test]
fn a_changed_tensor_names_who_saved_it_and_who_changed_it() {
    let x = leaf();
    let y = x.exp().unwrap();
    let multiplied = line(1);
    let z = y.mul(&y).unwrap();
    let changed = line(1);
    y.add_(1.0).unwrap();
    let mut parts = vec!["It was saved by MulBackward0", &*multiplied, "version 0"];
    // Release builds do not remember changes.
    if cfg!(debug_assertions) {
        parts.extend(["changed by add_", &*changed]);
    }
    says(z.sum().unwrap().backward(), &parts);
}

#[test]
fn a_result_that_was_changed_names_its_operation() {
    let y = leaf();
    let called = line(1);
    let y = y.sigmoid().unwrap();
    y.mul_(2.0).unwrap();
    says(y.sum().unwrap().backward(), &["SigmoidBackward0", &called]);
}

#[test]
fn operators_and_composed_functions_are_called_by_the_program_too() {
    let x = leaf();
    let called = line(1);
    let y = &x * &x;
    let loss = y.sum().unwrap();
    loss.backward().unwrap();
    says(loss.backward(), &["Trying to backward through the graph a second time (MulBackward0", &called]);

    let called = line(1);
    let y = x.smooth_l1_loss(&Tensor::zeros([3]), 1.0, Reduction::Mean).unwrap();
    y.backward().unwrap();
    says(y.backward(), &["second time", &called]);
}

#[test]
fn families_tell_their_lines() {
    type Make = fn(&Tensor) -> (Result<Tensor>, String);
    let families: &[Make] = &[
        |x| (x.view([3, 1]).and_then(|v| v.matmul(&v.t()?)), String::new()),
        |x| (x.softmax(0), line(0)),
        |x| (x.prod(), line(0)),
        |x| (x.cumprod(0), line(0)),
        |x| (x.mul(x), line(0)),
        |x| (x.pow(3), line(0)),
        |x| (x.logsumexp(&[0], false), line(0)),
        |x| (x.dot(x), line(0)),
        |x| (x.bessel_j0(), line(0)),
        |x| (x.i([2, 0, 1]).and_then(|y| y.exp()), String::new()),
        |x| (x.outer(x), line(0)),
        |x| (x.layer_norm(&[3], None, None, 1e-5), line(0)),
        |x| (x.cosine_similarity(&Tensor::ones([3]), 0, 1e-8), line(0)),
        |x| (x.dist(&Tensor::zeros([3]), 2.0), line(0)),
        |x| (x.mse_loss(&Tensor::zeros([3]), Reduction::Sum), line(0)),
        |x| (x.std(), line(0)),
        |x| (Ok(2.0 / x), line(0)),
        |x| (Ok(1 - &(x * x)), line(0)),
        |x| (x.view([1, 3]).unwrap().conv1d(&x.view([1, 1, 3]).unwrap(), None, [1], [0], [1], 1), line(0)),
    ];
    for (i, make) in families.iter().enumerate() {
        let (y, called) = make(&leaf());
        let y = y.unwrap().sum().unwrap();
        y.backward().unwrap();
        let error = y.backward().unwrap_err().to_string();
        assert!(error.contains("second time") && error.contains(&called), "family {i}: {error}");
    }
}

#[test]
fn lines_inside_of_kiln_are_not_the_programs() {
    // The second derivative's nodes are made by derivatives.
    let x = leaf();
    let y = x.exp().unwrap().mul(&x).unwrap().sum().unwrap();
    let options = BackwardOptions { create_graph: true, ..BackwardOptions::default() };
    let g = grad(&[&y], &[&x], &[], options, false).unwrap().remove(0).unwrap();
    let g = g.sum().unwrap();
    g.backward().unwrap();
    let error = g.backward().unwrap_err().to_string();
    assert!(!error.contains("src/ops"), "{error}");
}

#[test]
fn a_result_without_a_gradient_tells_where_it_was_made() {
    let x = leaf();
    let called = line(1);
    let y = x.exp().unwrap();
    assert!(explain_grad(&y).contains(&called), "{}", explain_grad(&y));
}
