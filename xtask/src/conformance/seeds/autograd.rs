//! Gradients as tutorials introduce them.

mod graph;
mod inplace;

use anyhow::{Context, Result};
use kiln::prelude::*;

use super::Replay;
use super::case::Case;

/// The cases of this topic.
pub const CASES: &[(&str, Replay)] = &[
    ("grad-none-first", |c| Ok(none_first(c)?)),
    ("dot-backward", |c| Ok(dot_backward(c)?)),
    ("grad-accumulates", |c| Ok(accumulates(c)?)),
    ("alias-not-detached", |c| Ok(alias(c)?)),
    ("detach-constant", |c| Ok(detach_constant(c)?)),
    ("backward-through-kept-part", |c| Ok(kept_part(c)?)),
    ("control-flow", |c| Ok(control_flow(c)?)),
    ("gradient-argument", |c| Ok(gradient_argument(c)?)),
    ("vector-jacobian", |c| Ok(vector_jacobian(c)?)),
    ("requires-grad-propagates", |c| Ok(propagates(c)?)),
    ("set-flag", |c| Ok(set_flag(c)?)),
    ("norm-backward", |c| Ok(norm_backward(c)?)),
    ("walk-graph", |c| Ok(graph::walk(c)?)),
    ("cubic", |c| Ok(cubic(c)?)),
    ("non-scalar-backward-error", |c| Ok(non_scalar(c)?)),
    ("scalar-vs-vector-backward", |c| Ok(scalar_and_vector(c)?)),
    ("non-leaf-grad", |c| Ok(graph::non_leaf(c)?)),
    ("hooks", |c| Ok(graph::hooks(c)?)),
    ("leaf-hook", |c| Ok(graph::leaf_hook(c)?)),
    ("graph-freed", |c| Ok(graph::freed(c)?)),
    ("dynamic-graph", |c| Ok(graph::dynamic(c)?)),
    ("detach-shares", |c| Ok(inplace::detach_shares(c)?)),
    ("no-grad", |c| Ok(without_grad(c)?)),
    ("data-attribute", |c| Ok(inplace::data_attribute(c)?)),
    ("detach-change-caught", |c| Ok(inplace::detached_change(c)?)),
    ("data-change-not-caught", |c| Ok(inplace::data_change(c)?)),
    ("inplace-on-leaf", |c| Ok(inplace::on_leaf(c)?)),
    ("inplace-version-check", |c| Ok(inplace::versions(c)?)),
    ("custom-function", |c| Ok(graph::custom(c)?)),
    ("freeze-part", |c| Ok(freeze_part(c)?)),
    ("rsub-names", |c| Ok(graph::names(c)?)),
];

/// The gradient that a backward pass has left.
pub fn grad_of(x: &Tensor) -> Result<Tensor> {
    x.grad().context("there is no gradient")
}

fn none_first(case: &Case<'_>) -> Result<()> {
    let x = Tensor::arange(4.0);
    case.is("text_before", x.to_string())?;
    let x = x.requires_grad_(true)?;
    let y = Tensor::zeros_with(4, TensorOptions::new().requires_grad(true));
    case.is("text", x.to_string())?;
    case.is("grad", x.grad())?;
    case.is("requires_grad", x.requires_grad() && y.requires_grad())?;
    case.is("is_leaf", x.is_leaf() && y.is_leaf())?;
    case.is("of_ints", Tensor::arange(4).requires_grad_(true))
}

fn dot_backward(case: &Case<'_>) -> Result<()> {
    let x = case.tensor("x")?.requires_grad_(true)?;
    let y = 2 * x.dot(&x)?;
    case.is("text", y.to_string())?;
    y.backward()?;
    case.is("grad", x.grad())?;
    case.is("grad_text", grad_of(&x)?.to_string())
}

fn accumulates(case: &Case<'_>) -> Result<()> {
    let x = Tensor::arange(4.0).requires_grad_(true)?;
    (2 * x.dot(&x)?).backward()?;
    x.sum()?.backward()?;
    case.is("accumulated", grad_of(&x)?.copy()?)?;
    grad_of(&x)?.zero_()?;
    x.sum()?.backward()?;
    case.is("after_clearing", x.grad())?;
    case.is("text", grad_of(&x)?.to_string())?;
    let leaf = tensor!(3.0).requires_grad_(true)?;
    leaf.backward()?;
    case.is("leaf_backward_once", grad_of(&leaf)?.to_f64()?)?;
    leaf.backward()?;
    case.is("leaf_backward_twice", grad_of(&leaf)?.to_f64()?)
}

fn alias(case: &Case<'_>) -> Result<()> {
    let x = case.tensor("x")?.requires_grad_(true)?;
    let y = &x * &x;
    let u = y.clone();
    let z = &u * &x;
    z.sum()?.backward()?;
    case.is("u_text", u.to_string())?;
    case.is("grad", x.grad())?;
    case.is("equal", grad_of(&x)?.equal(&(3 * x.detach().square()?))?)
}

fn detach_constant(case: &Case<'_>) -> Result<()> {
    let x = case.tensor("x")?.requires_grad_(true)?;
    let y = &x * &x;
    let u = y.detach();
    let z = &u * &x;
    z.sum()?.backward()?;
    let grad = grad_of(&x)?;
    for (name, t) in [("x", &x), ("y", &y), ("u", &u), ("z", &z), ("x.grad", &grad)] {
        case.is(&format!("texts/{name}"), t.to_string())?;
    }
    case.is("u_grad", u.grad())?;
    case.is("grad", &grad)?;
    case.is("equal", grad.equal(&u)?)
}

fn kept_part(case: &Case<'_>) -> Result<()> {
    let x = case.tensor("x")?.requires_grad_(true)?;
    let y = &x * &x;
    let z = &y.detach() * &x;
    z.sum()?.backward()?;
    x.zero_grad();
    y.sum()?.backward()?;
    case.is("grad", x.grad())?;
    case.is("equal", grad_of(&x)?.equal(&(2 * x.detach()))?)
}

fn control_flow(case: &Case<'_>) -> Result<()> {
    fn f(a: &Tensor) -> kiln::Result<Tensor> {
        let mut b = a * 2;
        while b.vector_norm(2.0, &[], false)?.to_f64()? < 1000.0 {
            b = 2 * b;
        }
        if b.sum()?.to_f64()? > 0.0 { Ok(b) } else { Ok(100 * b) }
    }
    for (i, x) in [-0.5619, 0.3, 1.0, -7.25].into_iter().enumerate() {
        let at = |name: &str| format!("runs/{i}/{name}");
        case.is(&at("x"), x)?;
        let a = tensor!(x).requires_grad_(true)?;
        let y = f(&a)?;
        y.backward()?;
        case.is(&at("y"), &y)?;
        case.is(&at("grad"), grad_of(&a)?.to_f64()?)?;
        case.is(&at("equal"), grad_of(&a)?.equal(&(&y / &a).detach())?)?;
        case.is(&at("text"), y.to_string())?;
    }
    case.seed()?;
    let a = Tensor::randn([]).requires_grad_(true)?;
    let y = f(&a)?;
    y.backward()?;
    case.is("random/x", &a)?;
    case.is("random/y", &y)?;
    case.is("random/grad", grad_of(&a)?.to_f64()?)
}

fn gradient_argument(case: &Case<'_>) -> Result<()> {
    let a = tensor![2., 3.].requires_grad_(true)?;
    let b = tensor![6., 4.].requires_grad_(true)?;
    let q = |a: &Tensor, b: &Tensor| Ok::<_, kiln::Error>(3 * a.pow(3)? - b.pow(2)?);
    let result = q(&a, &b)?;
    case.is("Q_text", result.to_string())?;
    result.backward_with(&tensor![1., 1.])?;
    case.is("a_grad", a.grad())?;
    case.is("b_grad", b.grad())?;
    let expected_a = 9 * a.detach().pow(2)?;
    let expected_b = -2 * b.detach();
    let checks = vec![expected_a.eq(&grad_of(&a)?)?.to_string(), expected_b.eq(&grad_of(&b)?)?.to_string()];
    case.is("checks", checks)?;
    let (by_gradient, c) = (grad_of(&a)?, a.detach().requires_grad_(true)?);
    q(&c, &b)?.sum()?.backward()?;
    case.is("sum_gives_same", grad_of(&c)?.equal(&by_gradient)?)?;
    case.is("wrong_shape", q(&a, &b)?.backward_with(&tensor![1., 1., 1.]))
}

fn vector_jacobian(case: &Case<'_>) -> Result<()> {
    let x = Tensor::new(case.numbers("x")?)?.requires_grad_(true)?;
    let v = Tensor::new(case.numbers("v")?)?;
    x.pow(2)?.backward_with(&v)?;
    case.is("vjp", x.grad())?;
    let w = Tensor::new(case.rows("W")?)?;
    let jacobian = kiln::func::jacobian(|x| w.mv(&x.pow(2)?), &x)?;
    case.is("jacobian_of_W_x_squared", jacobian)
}

fn propagates(case: &Case<'_>) -> Result<()> {
    let (x, y) = (Tensor::rand([5, 5]), Tensor::rand([5, 5]));
    let z = Tensor::rand([5, 5]).requires_grad_(true)?;
    case.is("x+y", (&x + &y).requires_grad())?;
    case.is("x+z", (&x + &z).requires_grad())?;
    let a = Tensor::ones([2, 2]);
    case.is("a+1", (&a + 1).requires_grad())?;
    let c = Tensor::ones([2, 2]).requires_grad_(true)?;
    let sum = &c + &a;
    case.is("c+a", sum.requires_grad())?;
    case.is("clearing_the_flag_of_a_result", sum.requires_grad_(false))?;
    let by_option = Tensor::ones_with([2, 2], TensorOptions::new().requires_grad(true));
    case.is("print", vec![c.to_string(), by_option.to_string()])
}

fn set_flag(case: &Case<'_>) -> Result<()> {
    let x = Tensor::ones(2);
    case.is("before", x.requires_grad())?;
    let x = x.requires_grad_(true)?;
    case.is("text", x.to_string())?;
    case.is("grad", x.grad())?;
    case.is("grad_fn", x.grad_fn().map(|node| node.name()))
}

fn norm_backward(case: &Case<'_>) -> Result<()> {
    let x = case.tensor("x")?.requires_grad_(true)?;
    let z = 4 * &x;
    let y = z.vector_norm(2.0, &[], false)?;
    y.backward()?;
    case.is("z_text", z.to_string())?;
    case.is("y_text", y.to_string())?;
    case.is("y", &y)?;
    case.is("grad", x.grad())?;
    case.is("grad_text", grad_of(&x)?.to_string())?;
    case.is("nonleaf_grads", vec![z.grad(), y.grad()])?;
    // What PyTorch warns of is told to whoever asks.
    let why = kiln::explain_grad(&z);
    case.is("warns", why.contains("not a leaf"))?;
    case.criterion("warning", why.contains("retain_grad"))
}

fn cubic(case: &Case<'_>) -> Result<()> {
    let a = tensor!(case.number("a")?).requires_grad_(true)?;
    let b = a.pow(3)?;
    let c = 2 * &b;
    let d = &c + 6;
    case.is("d", &d)?;
    d.backward()?;
    case.is("grad", grad_of(&a)?.to_f64()?)?;
    case.is("text", grad_of(&a)?.to_string())
}

fn non_scalar(case: &Case<'_>) -> Result<()> {
    let x = Tensor::ones(2).requires_grad_(true)?;
    case.is("without", x.pow(2)?.backward())?;
    x.pow(2)?.backward_with(&Tensor::ones(2))?;
    case.is("grad_with_ones", x.grad())
}

fn scalar_and_vector(case: &Case<'_>) -> Result<()> {
    let x = Tensor::ones(2).requires_grad_(true)?;
    x.pow(2)?.sum()?.backward()?;
    case.is("from_scalar", x.grad())?;
    x.zero_grad();
    x.pow(2)?.backward_with(&Tensor::ones(2))?;
    case.is("from_vector", x.grad())
}

fn without_grad(case: &Case<'_>) -> Result<()> {
    let x = Tensor::ones(2).requires_grad_(true)?;
    case.is("inside", no_grad(|| (&x + 1).requires_grad()))?;
    case.is("outside", (&x + 1).requires_grad())?;
    let broken = std::panic::catch_unwind(|| no_grad(|| &Tensor::ones(2) + &Tensor::ones(3)));
    case.is("enabled_after_error", broken.is_err() && is_grad_enabled())?;
    case.is("nested_enable", no_grad(|| enable_grad(|| (&x + 1).requires_grad())))
}

fn freeze_part(case: &Case<'_>) -> Result<()> {
    let (x, y) = (Tensor::randn([5, 5]), Tensor::randn([5, 5]));
    let z = &x + &y;
    case.is("before", z.requires_grad())?;
    case.is("backward_untracked", z.sum()?.backward())?;
    let a = Tensor::randn([5, 5]).requires_grad_(true)?;
    case.is("after", (z + &a).requires_grad())
}
