//! What optimizers do besides arithmetic: skipping, sharing, views, many parameters, versions.

use kiln_autograd::{Tensor, no_grad};
use kiln_optim::{Adam, Optimizer, SGD};

fn param(values: Vec<f32>) -> Tensor {
    let n = values.len();
    Tensor::from_vec(values, [n]).unwrap().requires_grad_(true).unwrap()
}

fn set_grad(p: &Tensor, value: f32) {
    let grad = Tensor::from_vec(vec![value; p.numel()], p.shape()).unwrap();
    p.set_grad(Some(grad)).unwrap();
}

#[test]
fn many_parameters_of_all_sizes_are_updated_alike() {
    // More than one batch, empty ones between, and one that is cut into several tasks.
    let sizes: Vec<usize> = (0..70).map(|i| if i == 40 { 100_003 } else { i * 7 % 50 }).collect();
    let params: Vec<Tensor> =
        sizes.iter().map(|&n| param((0..n).map(|i| i as f32 / 8.0).collect())).collect();
    let mut optimizer = SGD::new(params.clone(), 0.5).momentum(0.5);
    for step in 1..=2 {
        params.iter().for_each(|p| set_grad(p, 1.0));
        optimizer.step().unwrap();
        // b = 1, then 1.5.
        let moved = if step == 1 { 0.5 } else { 0.5 + 0.75 };
        for p in &params {
            let values = p.to_vec::<f32>().unwrap();
            assert!(values.iter().enumerate().all(|(i, v)| *v == i as f32 / 8.0 - moved));
        }
    }
}

#[test]
fn a_parameter_without_a_gradient_stays_and_does_not_age() {
    let (a, b) = (param(vec![1.0]), param(vec![1.0]));
    let mut optimizer = Adam::new([a.clone(), b.clone()], 0.1);
    for _ in 0..3 {
        set_grad(&a, 1.0);
        optimizer.step().unwrap();
    }
    assert_eq!(b.to_vec::<f32>().unwrap(), [1.0]);
    assert!(!optimizer.state_dict().unwrap().state.contains_key(&1));
    optimizer.zero_grad();
    assert!(a.grad().is_none());
    let before = a.to_vec::<f32>().unwrap();
    optimizer.step().unwrap();
    assert_eq!(a.to_vec::<f32>().unwrap(), before);
}

#[test]
fn a_step_counts_as_a_change_in_place() {
    let w = param(vec![2.0]);
    let loss = w.square().unwrap().sum().unwrap();
    set_grad(&w, 1.0);
    SGD::new([w.clone()], 0.1).step().unwrap();
    assert!(w.is_leaf() && w.requires_grad());
    let error = loss.backward().unwrap_err().to_string();
    assert!(error.contains("modified by an inplace operation"), "{error}");
}

#[test]
fn gradients_that_share_memory_and_parameters_with_gaps_work() {
    let w = param(vec![3.0, 4.0]);
    w.set_grad(Some(w.detach())).unwrap();
    SGD::new([w.clone()], 0.5).momentum(0.9).step().unwrap();
    assert_eq!(w.to_vec::<f32>().unwrap(), [1.5, 2.0]);

    let base = Tensor::from_vec((0..6).map(|i| i as f32).collect(), [2, 3]).unwrap();
    let t = base.t().unwrap().requires_grad_(true).unwrap();
    t.set_grad(Some(t.detach())).unwrap();
    let mut adam = Adam::new([t.clone()], 1.0);
    adam.step().unwrap();
    let (moved, old) = (base.to_vec::<f32>().unwrap(), [0f32, 1.0, 2.0, 3.0, 4.0, 5.0]);
    for (m, o) in moved.iter().zip(old) {
        let want = if o == 0.0 { 0.0 } else { o - 1.0 };
        assert!((m - want).abs() < 1e-6, "{m} for {want}");
    }
}

#[test]
fn views_of_one_memory_are_parameters_of_their_own_unless_they_overlap() {
    let flat = Tensor::from_vec(vec![1f32; 6], [6]).unwrap();
    let part = |from, n| flat.detach().narrow(0, from, n).unwrap().requires_grad_(true).unwrap();
    let (a, b) = (part(0, 3), part(3, 3));
    set_grad(&a, 1.0);
    set_grad(&b, 2.0);
    SGD::new([a, b], 1.0).step().unwrap();
    assert_eq!(flat.to_vec::<f32>().unwrap(), [0.0, 0.0, 0.0, -1.0, -1.0, -1.0]);
    let (a, b) = (part(0, 4), part(3, 3));
    set_grad(&a, 1.0);
    set_grad(&b, 1.0);
    let error = SGD::new([a, b], 1.0).step().unwrap_err().to_string();
    assert!(error.contains("share memory"), "{error}");
    assert_eq!(flat.to_vec::<f32>().unwrap(), [0.0, 0.0, 0.0, -1.0, -1.0, -1.0], "nothing was changed");
}

#[test]
fn parameters_must_be_leaves() {
    let w = param(vec![1.0]);
    let error = SGD::new([w.mul(2.0).unwrap()], 0.1).step().unwrap_err().to_string();
    assert!(error.contains("non-leaf"), "{error}");
    let twice = Adam::new([w.clone(), w], 0.1).check().unwrap_err().to_string();
    assert!(twice.contains("more than one"), "{twice}");
    let mut sgd = SGD::new([param(vec![0.0])], 0.1);
    assert!(sgd.set_lr(1, 0.1).is_err() && sgd.lr(1).is_nan());
    assert!(sgd.set_option(0, "nesterov", 1.0.into()).is_err());
}

#[test]
fn half_precision_parameters_are_calculated_in_single_and_rounded_once() {
    let w = no_grad(|| param(vec![1.0; 20]).to_dtype(kiln_autograd::DType::BF16)).unwrap();
    let w = w.detach().requires_grad_(true).unwrap();
    w.set_grad(Some(no_grad(|| w.detach().copy()).unwrap())).unwrap();
    SGD::new([w.clone()], 0.3).weight_decay(0.1).step().unwrap();
    let want = kiln_autograd::bf16::from_f32(1.0 - 0.3 * (1.0 + 0.1 * 1.0));
    assert_eq!(w.to_vec::<kiln_autograd::bf16>().unwrap(), vec![want; 20]);
}

#[test]
fn infinite_parameters_without_decay_do_not_become_nan() {
    let w = param(vec![f32::INFINITY, 1.0]);
    set_grad(&w, 1.0);
    SGD::new([w.clone()], 0.5).step().unwrap();
    SGD::new([w.clone()], 0.5).momentum(0.9).step().unwrap();
    assert_eq!(w.to_vec::<f32>().unwrap(), [f32::INFINITY, 0.0]);
}
