//! Detached tensors, and changes in place.

use anyhow::Result;
use kiln::prelude::*;

use super::super::case::Case;
use super::grad_of;

pub fn detach_shares(case: &Case<'_>) -> Result<()> {
    let x = Tensor::randn(5);
    let y = Tensor::randn(5).requires_grad_(true)?;
    let out = &x + &y;
    case.is("out_grad_fn", out.grad_fn().map(|node| node.name()))?;
    case.is("out_requires_grad", out.requires_grad())?;
    let a = out.detach();
    case.is("a_grad_fn", a.grad_fn().map(|node| node.name()))?;
    case.is("a_requires_grad", a.requires_grad())?;
    a.set(0, case.number("value")?)?;
    case.is("out0_text", out.i(0)?.to_string())?;
    case.is("shares", a.shares_storage(&out))
}

pub fn data_attribute(case: &Case<'_>) -> Result<()> {
    let x = Tensor::full(5, case.number("fill")?).requires_grad_(true)?;
    let y = x.pow(2)?.sum()?;
    x.set_data(&x.data().pow(2)?)?;
    case.is("grad", x.grad())?;
    case.is("y", &y)?;
    case.is("x", x.detach())?;
    case.is("is_leaf", x.is_leaf())?;
    case.is("data_requires_grad", x.data().requires_grad())
}

pub fn detached_change(case: &Case<'_>) -> Result<()> {
    let a = tensor![1., 2., 3.].requires_grad_(true)?;
    let out = a.sigmoid()?;
    out.detach().zero_()?;
    case.is("out_text", out.to_string())?;
    case.is("result", out.sum()?.backward())
}

pub fn data_change(case: &Case<'_>) -> Result<()> {
    let a = tensor![1., 2., 3.].requires_grad_(true)?;
    let out = a.sigmoid()?;
    out.data().zero_()?;
    out.sum()?.backward()?;
    case.is("grad", a.grad())?;
    case.is("grad_text", grad_of(&a)?.to_string())
}

pub fn on_leaf(case: &Case<'_>) -> Result<()> {
    let w = tensor![1., 2.].requires_grad_(true)?;
    let g = tensor![5., 5.];
    case.is("outside", w.sub_(&(0.1 * &g)))?;
    no_grad(|| w.sub_(&(0.1 * &g)))?;
    case.is("inside", w.detach().copy()?)?;
    w.data().sub_(&(0.05 * &g))?;
    case.is("through_data", w.detach())?;
    case.is("still_leaf", w.is_leaf() && w.requires_grad())
}

pub fn versions(case: &Case<'_>) -> Result<()> {
    let x = tensor![1., 2.].requires_grad_(true)?;
    let y = x.pow(2)?;
    let z = y.pow(2)?;
    y.add_(1)?;
    case.is("square", z.sum()?.backward())?;

    let y = x.exp()?;
    let z = y.sum()?;
    y.add_(1)?;
    case.is("exp", z.backward())?;

    // y = 2x, then y + 1, then its square: the derivative reads the changed value.
    let x = tensor![1., 2.].requires_grad_(true)?;
    let y = 2 * &x;
    y.add_(1)?;
    y.pow(2)?.sum()?.backward()?;
    case.is("changed_before_use", x.grad())
}
