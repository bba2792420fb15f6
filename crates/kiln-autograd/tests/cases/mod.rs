//! Checks of an operation against PyTorch's values and gradients, and of its second derivative against differences.

use kiln_autograd::*;

pub type Op<'a> = &'a dyn Fn(&Tensor, &Tensor) -> Result<Tensor>;

fn matrix(data: &[f64]) -> Tensor {
    Tensor::from_slice(data, [3, 4]).unwrap().requires_grad_(true).unwrap()
}

/// Twelve different numbers of both signs.
pub fn first() -> Vec<f64> {
    (0..12).map(|k| (f64::from(k * 7 % 12) - 5.0) * 0.5 + 0.25).collect()
}

/// Twelve different positive numbers, none of them in `first`.
pub fn second() -> Vec<f64> {
    (0..12).map(|k| f64::from(k * 5 % 12) * 0.25 + 0.5625).collect()
}

/// Tensors of `first` and `second`, 3 x 4.
pub fn inputs() -> (Tensor, Tensor) {
    (matrix(&first()), matrix(&second()))
}

/// A vector of int64.
pub fn i(data: &[i64]) -> Tensor {
    Tensor::from_slice(data, [data.len()]).unwrap()
}

/// A matrix of int64.
#[allow(dead_code)]
pub fn i2(shape: [usize; 2], data: &[i64]) -> Tensor {
    Tensor::from_slice(data, shape).unwrap()
}

/// A vector of float64.
#[allow(dead_code)]
pub fn f(data: &[f64]) -> Tensor {
    Tensor::from_slice(data, [data.len()]).unwrap()
}

#[track_caller]
pub fn near(what: &str, got: &[f64], want: &[f64], tolerance: f64) {
    let close = |a: f64, b: f64| a == b || (a - b).abs() <= tolerance * (1.0 + b.abs());
    let same = got.len() == want.len() && got.iter().zip(want).all(|(&a, &b)| close(a, b));
    assert!(same, "{what}: {got:?} is not {want:?}");
}

/// Weights for the elements of a result.
fn weights(like: &Tensor) -> Tensor {
    let data: Vec<f64> = (0..like.numel()).map(|k| (k % 5 + 1) as f64 * 0.5).collect();
    Tensor::from_vec(data, like.shape()).unwrap()
}

fn grad_of(t: &Tensor) -> Vec<f64> {
    t.grad().map_or(vec![], |g| g.to_vec().unwrap())
}

/// The operation's values, and both inputs' gradients of their weighted sum.
pub fn gradients(op: Op<'_>) -> (Tensor, Vec<f64>, Vec<f64>) {
    let (x, s) = inputs();
    let y = op(&x, &s).unwrap();
    y.mul(&weights(&y)).unwrap().sum().unwrap().backward().unwrap();
    (y, grad_of(&x), grad_of(&s))
}

/// As [`case_once`], and the derivatives of the gradients of the weighted sum of squares are differences of these.
#[track_caller]
pub fn case(
    node: &str,
    op: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
    shape: &[usize],
    values: &[f64],
    grad_x: &[f64],
    grad_s: &[f64],
) {
    case_once(node, &op, shape, values, grad_x, grad_s);
    second_derivatives(&op);
}

/// Values and gradients are PyTorch's, with its name of the node unless that is "None".
#[track_caller]
pub fn case_once(
    node: &str,
    op: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
    shape: &[usize],
    values: &[f64],
    grad_x: &[f64],
    grad_s: &[f64],
) {
    let (y, x, s) = gradients(&op);
    if node != "None" {
        assert_eq!(y.grad_fn().map(|n| n.name().to_string()), Some(node.to_string()));
    }
    assert_eq!(y.dims(), shape);
    near("values", &y.to_vec::<f64>().unwrap(), values, 1e-11);
    near("gradient", &x, grad_x, 1e-11);
    near("gradient of the second input", &s, grad_s, 1e-11);
}

/// The sum of all gradients of the weighted squares, each with a factor of its own, as a function of both inputs.
fn slope(op: Op<'_>, x: &Tensor, s: &Tensor) -> Option<Tensor> {
    let y = op(x, s).unwrap();
    let loss = y.mul(&y).unwrap().mul(&weights(&y)).unwrap().sum().unwrap();
    let options = BackwardOptions { create_graph: true, ..Default::default() };
    let grads = grad(&[&loss], &[x, s], &[], options, true).unwrap();
    grads.into_iter().flatten().enumerate().fold(None, |sum: Option<Tensor>, (k, g)| {
        let factors: Vec<f64> = (0..12).map(|i| f64::from((i * 3 + k as i32) % 7) - 2.5).collect();
        let term = g.mul(&Tensor::from_vec(factors, [3, 4]).unwrap()).unwrap().sum().unwrap();
        Some(match sum {
            None => term,
            Some(sum) => sum.add(&term).unwrap(),
        })
    })
}

#[track_caller]
pub fn second_derivatives(op: Op<'_>) {
    let (x, s) = inputs();
    let Some(total) = slope(op, &x, &s).filter(|t| t.requires_grad()) else { return };
    let grads = grad(&[&total], &[&x, &s], &[], BackwardOptions::default(), true).unwrap();
    let h = 1e-4;
    for (which, got) in grads.into_iter().enumerate() {
        let difference = |k: usize| {
            let at = |step: f64| {
                let mut data = [first(), second()];
                data[which][k] += step;
                slope(op, &matrix(&data[0]), &matrix(&data[1])).unwrap().to_f64().unwrap()
            };
            (at(h) - at(-h)) / (2.0 * h)
        };
        let want: Vec<f64> = (0..12).map(difference).collect();
        let got = got.map_or(vec![0.0; 12], |g| g.to_vec().unwrap());
        near("second derivative", &got, &want, 1e-5);
    }
}

/// The in-place form gives the values and gradients of the other one.
#[allow(dead_code)]
#[track_caller]
pub fn in_place(op: Op<'_>, change: impl Fn(&Tensor, &Tensor) -> Result<()>) {
    let changed = |x: &Tensor, s: &Tensor| {
        let y = x.mul(1.0)?;
        change(&y, s)?;
        Ok(y)
    };
    let ((want, wx, ws), (got, gx, gs)) = (gradients(op), gradients(&changed));
    let node = got.grad_fn().unwrap();
    assert!([want.grad_fn().unwrap().name(), "CopySlices"].contains(&node.name()), "{}", node.name());
    near("values", &got.to_vec::<f64>().unwrap(), &want.to_vec::<f64>().unwrap(), 0.0);
    near("gradient", &gx, &wx, 1e-12);
    near("gradient of the second input", &gs, &ws, 1e-12);
    second_derivatives(&changed);
    let (x, s) = inputs();
    fails(change(&x, &s), "a leaf Variable that requires grad");
}

#[allow(dead_code)]
#[track_caller]
pub fn fails<T>(result: Result<T>, text: &str) {
    match result {
        Ok(_) => panic!("no error, expected {text:?}"),
        Err(e) => assert!(e.to_string().contains(text), "{e} does not contain {text:?}"),
    }
}
