//! The graph behind a result: nodes, hooks, its release, and functions of one's own.

use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use kiln::prelude::*;

use super::super::case::Case;
use super::grad_of;

pub fn walk(case: &Case<'_>) -> Result<()> {
    let x = Tensor::randn([2, 2]).requires_grad_(true)?;
    let y = ((&x + 1).pow(2)? + 1).pow(2)?.mean()?;
    let mut node = y.grad_fn().context("no node")?;
    let mut names = vec![node.name()];
    while let Some((next, _)) = node.next_functions().into_iter().flatten().next() {
        names.push(next.name());
        node = next;
    }
    let last = names.pop().context("no nodes")?;
    case.is("names", names)?;
    // PyTorch prints the name with its namespace.
    case.is("last", format!("torch::autograd::{last}"))?;
    case.is("leaf_grad_fn", x.grad_fn().map(|node| node.name()))?;
    case.is("last_node_holds_the_leaf", node.is_of_leaf(&x))
}

pub fn non_leaf(case: &Case<'_>) -> Result<()> {
    let x = case.tensor("x")?.requires_grad_(true)?;
    let y = x.pow(2)?;
    y.sum()?.backward()?;
    case.is("x_grad", grad_of(&x)?.copy()?)?;
    case.is("y_grad_plain", y.grad())?;
    let told = kiln::explain_grad(&y);
    case.criterion("warned", told.contains("not a leaf") && told.contains("retain_grad"))?;
    let y = x.pow(2)?;
    y.retain_grad()?;
    y.sum()?.backward()?;
    case.is("y_grad_retained", y.grad())
}

pub fn hooks(case: &Case<'_>) -> Result<()> {
    let x = case.tensor("x")?.requires_grad_(true)?;
    let seen: Arc<Mutex<Vec<(&str, Tensor)>>> = Arc::default();
    let save = |name: &'static str| {
        let seen = Arc::clone(&seen);
        move |grad: &Tensor| {
            seen.lock().expect("no hook panics").push((name, grad.clone()));
            Ok(None)
        }
    };
    let y = x.pow(2)?;
    let z = y.sum()?;
    y.register_hook(save("y"))?;
    z.register_hook(save("z"))?;
    z.backward()?;
    case.is("x_grad", grad_of(&x)?.copy()?)?;
    for (name, grad) in seen.lock().expect("no hook panics").drain(..) {
        case.is(&format!("seen/{name}"), grad)?;
    }

    x.zero_grad();
    let y = x.pow(2)?;
    y.register_hook(|grad| Ok(Some(2 * grad)))?;
    y.sum()?.backward()?;
    case.is("x_grad_with_doubling_hook", x.grad())?;

    let y = x.pow(2)?;
    let handle = y.register_hook(save("y"))?;
    handle.remove();
    y.sum()?.backward()?;
    let after: Vec<Tensor> = seen.lock().expect("no hook panics").drain(..).map(|(_, grad)| grad).collect();
    case.is("seen_after_remove", after)?;
    case.is("hook_on_untracked", Tensor::ones(2).register_hook(save("x")))
}

pub fn leaf_hook(case: &Case<'_>) -> Result<()> {
    let x = Tensor::ones(2).requires_grad_(true)?;
    x.register_hook(|grad| Ok(Some(10 * grad)))?;
    (3 * &x).sum()?.backward()?;
    case.is("grad", x.grad())
}

pub fn freed(case: &Case<'_>) -> Result<()> {
    let a = Tensor::new(case.rows("a")?)?.requires_grad_(true)?;
    let b = a.pow(2)?;
    let c = b.sum()?;
    c.backward()?;
    case.is("grad_once", grad_of(&a)?.copy()?)?;
    case.is("second_time", c.backward())?;

    a.zero_grad();
    let b = a.pow(2)?;
    let (c, d) = (b.sum()?, b.mean()?);
    c.backward_retain_graph()?;
    c.backward()?;
    case.is("grad_twice_with_retain", grad_of(&a)?.copy()?)?;
    case.is("third_time", c.backward())?;
    case.is("other_root", d.backward())?;

    let sum = a.sum()?;
    let twice = sum.backward().and_then(|()| sum.backward());
    case.is("sum_twice_is_fine", twice)
}

pub fn dynamic(case: &Case<'_>) -> Result<()> {
    case.seed()?;
    let linear = Linear::new(5, 5);
    for _ in 0..10 {
        let x = Tensor::randn(5);
        linear.forward(&x)?.sum()?.backward()?;
    }
    let bias = linear.bias.as_ref().context("a bias")?;
    case.is("weight", linear.weight.tensor())?;
    case.is("weight_grad", linear.weight.grad())?;
    case.is("bias_grad", bias.grad())
}

struct MyReLU;

impl Function<1, 1> for MyReLU {
    fn forward(&self, context: &mut Context, [x]: [&Tensor; 1]) -> kiln::Result<[Tensor; 1]> {
        context.save_for_backward(&[x]);
        Ok([x.clamp_min(0)?])
    }

    fn backward(&self, context: &Context, [grad]: [&Tensor; 1]) -> kiln::Result<[Option<Tensor>; 1]> {
        let [x] = context.saved()?;
        let grad = grad.copy()?;
        grad.set(&x.lt(0)?, 0)?;
        Ok([Some(grad)])
    }
}

pub fn custom(case: &Case<'_>) -> Result<()> {
    let a = Tensor::new(case.numbers("a")?)?.requires_grad_(true)?;
    let [b] = MyReLU.apply([&a])?;
    case.is("b", &b)?;
    case.is("text", b.to_string())?;
    case.is("node_name", b.grad_fn().map(|node| node.name()))?;
    b.sum()?.backward()?;
    case.is("grad", a.grad())
}

pub fn names(case: &Case<'_>) -> Result<()> {
    let w = tensor![1., 2.].requires_grad_(true)?;
    let forms = [
        ("tensor - w", tensor![2., -3.5] - &w),
        ("4.2 - w", 4.2 - &w),
        ("w + 1", &w + 1),
        ("w * 2", &w * 2),
        ("2 / w", 2 / &w),
        ("w[0]", w.i(0)?),
        ("w.reshape(2,1)", w.reshape([2, 1])?),
        ("w.sum()", w.sum()?),
        ("w.mean()", w.mean()?),
        ("w @ w", w.matmul(&w)?),
        ("torch.dot(w,w)", w.dot(&w)?),
        ("w.norm()", w.vector_norm(2.0, &[], false)?),
        ("w.sigmoid()", w.sigmoid()?),
        ("w.t()", w.reshape([1, 2])?.t()?),
        ("torch.matmul(eye, w)", Tensor::eye(2).matmul(&w)?),
        ("w.clone()", w.copy()?),
        ("torch.cat", Tensor::cat(&[&w, &w], 0)?),
        ("w.max()", w.max()?),
        ("log_softmax", w.log_softmax(0)?),
        ("linear", w.reshape([1, 2])?.linear(&Tensor::ones([1, 2]), Some(&Tensor::zeros(1)))?),
    ];
    let got: Vec<Vec<String>> =
        forms.iter().map(|(name, t)| vec![(*name).to_owned(), t.to_string()]).collect();
    case.is("texts", got)
}
