//! Derivatives of functions as functions: `torch.autograd.functional` and `torch.func`.
//!
//! What comes out is itself differentiable when an input requires a gradient, so these functions nest; otherwise it has
//! no history. Derivatives of derivatives need operations whose derivatives can be differentiated, as those of this
//! library can. A result that does not depend on an input has a derivative of zeros.

mod mapping;

pub use mapping::{per_sample_gradients, vmap, vmap_many};

use crate::collect::Collect;
use crate::engine::{BackwardOptions, grad};
use crate::tangents::{self, OpenLevel};
use crate::{Error, Here, Result, Tensor, enable_grad, forward_ad, is_grad_enabled};

/// The inputs of a derivative, ready to be differentiated with respect to.
struct Point {
    inputs: Vec<Tensor>,
    options: BackwardOptions,
}

impl Point {
    /// `recording`: whether the caller records, before anything was switched on for the derivative's sake.
    fn new(inputs: &[&Tensor], recording: bool) -> Result<Point> {
        let nested = recording && inputs.iter().any(|t| t.requires_grad());
        let own = |t: &&Tensor| match nested && t.requires_grad() {
            // A view, so that other uses of the same tensor do not count.
            true => t.i(..),
            // With its tangents, so that forward mode can differentiate what is differentiated here.
            false => tangents::detach(t).requires_grad_(true),
        };
        let inputs = inputs.iter().map(own).all_ok()?;
        Ok(Point { inputs, options: BackwardOptions { retain_graph: true, create_graph: nested } })
    }

    fn references(&self) -> Vec<&Tensor> {
        self.inputs.iter().collect()
    }

    /// Values with the history that the caller may see.
    fn finish(&self, t: Tensor) -> Tensor {
        if self.options.create_graph { t } else { tangents::detach(&t) }
    }
}

/// The gradients, with zeros for inputs that do not matter.
#[track_caller]
fn gradients(
    outputs: &[&Tensor],
    inputs: &[&Tensor],
    grad_outputs: &[&Tensor],
    options: BackwardOptions,
) -> Result<Vec<Tensor>> {
    // Results that depend on nothing have no history to walk.
    let pairs = outputs.iter().zip(grad_outputs).filter(|(y, _)| y.requires_grad());
    let (outputs, grad_outputs): (Vec<&Tensor>, Vec<Option<&Tensor>>) =
        pairs.map(|(y, g)| (*y, Some(*g))).unzip();
    if outputs.is_empty() {
        return inputs.iter().map(|x| x.zeros_like()).all_ok().here();
    }
    let found = grad(&outputs, inputs, &grad_outputs, options, true)?;
    found.into_iter().zip(inputs).map(|(g, x)| g.map_or_else(|| x.zeros_like(), Ok)).all_ok().here()
}

#[track_caller]
fn check_shapes(op: &'static str, of: &str, vectors: &[&Tensor], like: &[Tensor]) -> Result<()> {
    let shapes = |list: &mut dyn Iterator<Item = Vec<usize>>| list.collect::<Vec<_>>();
    let (got, want) =
        (shapes(&mut vectors.iter().map(|t| t.dims())), shapes(&mut like.iter().map(Tensor::dims)));
    if got == want {
        return Ok(());
    }
    Err(Error::shape(op, format!("v must have the shapes of the {of}: expected {want:?}, got {got:?}")))
}

/// The gradients of the inputs of `f` from those of its results, all by tracked operations: for derivatives that compute
/// themselves by fused kernels otherwise. `wants` says which are needed.
pub(crate) fn tracked_gradients(
    inputs: &[Tensor],
    wants: &[bool],
    gradients: &[Option<Tensor>],
    f: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>>,
) -> Result<Vec<Option<Tensor>>> {
    let recording = is_grad_enabled();
    enable_grad(|| {
        // Names of their own, so that only the paths through `f` count.
        let name = |(t, want): (&Tensor, &bool)| match (want, t.requires_grad()) {
            (true, false) => tangents::detach(t).requires_grad_(true),
            _ => t.view_as(t),
        };
        let own = inputs.iter().zip(wants).map(name).all_ok()?;
        let outputs = f(&own)?;
        let pairs = outputs.iter().zip(gradients).filter(|(y, g)| g.is_some() && y.requires_grad());
        let (of, by): (Vec<&Tensor>, Vec<Option<&Tensor>>) = pairs.map(|(y, g)| (y, g.as_ref())).unzip();
        let wanted: Vec<&Tensor> = own.iter().zip(wants).filter(|(_, w)| **w).map(|(t, _)| t).collect();
        let options = BackwardOptions { create_graph: true, retain_graph: true };
        let mut found = grad(&of, &wanted, &by, options, true)?.into_iter();
        let finish = |t: Tensor| if recording { t } else { tangents::detach(&t) };
        Ok(wants.iter().map(|w| if *w { found.next().flatten().map(finish) } else { None }).collect())
    })
}

/// One input and one result of functions that take and give several.
fn single(f: impl Fn(&Tensor) -> Result<Tensor>) -> impl Fn(&[Tensor]) -> Result<Vec<Tensor>> {
    move |x: &[Tensor]| Ok(vec![f(&x[0])?])
}

#[track_caller]
fn only(mut list: Vec<Tensor>) -> Result<Tensor> {
    list.pop().ok_or_else(|| Error::autograd("func", "a function without results")).here()
}

/// The value of `f` at `x`, and `v` times its Jacobian (`torch.autograd.functional.vjp`).
///
/// ```
/// use kiln_autograd::{func, tensor};
/// let (y, vjp) = func::vjp(|x| x.square(), &tensor![1., 2., 3.], &tensor![1., 10., 100.])?;
/// assert_eq!(y.to_vec::<f32>()?, [1., 4., 9.]);
/// assert_eq!(vjp.to_vec::<f32>()?, [2., 40., 600.]);
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
///
/// # Errors
/// What `f` fails with; `v` does not have the result's shape; `x` is not floating point.
#[track_caller]
pub fn vjp(f: impl Fn(&Tensor) -> Result<Tensor>, x: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
    let (y, g) = vjp_many(single(f), &[x], &[v])?;
    Ok((only(y)?, only(g)?))
}

/// [`vjp`] of a function of several tensors with several results: the values, and a product for each input.
///
/// # Errors
/// As [`vjp`].
#[track_caller]
pub fn vjp_many(
    f: impl Fn(&[Tensor]) -> Result<Vec<Tensor>>,
    inputs: &[&Tensor],
    v: &[&Tensor],
) -> Result<(Vec<Tensor>, Vec<Tensor>)> {
    let recording = is_grad_enabled();
    enable_grad(|| {
        let point = Point::new(inputs, recording)?;
        let outputs = f(&point.inputs)?;
        check_shapes("vjp", "results", v, &outputs)?;
        let outputs_ref: Vec<&Tensor> = outputs.iter().collect();
        let products = gradients(&outputs_ref, &point.references(), v, point.options)?;
        Ok((
            outputs.into_iter().map(|t| point.finish(t)).collect(),
            products.into_iter().map(|t| point.finish(t)).collect(),
        ))
    })
    .here()
}

/// The value of `f` at `x`, and its Jacobian times `v`: the derivative in the direction `v` (`torch.func.jvp`).
///
/// Computed in [forward mode](crate::forward_ad), together with the value.
///
/// ```
/// use kiln_autograd::{func, tensor};
/// let (y, jvp) = func::jvp(|x| x.prod(), &tensor![1., 2., 3.], &tensor![1., 0., 1.])?;
/// assert_eq!((y.to_f64()?, jvp.to_f64()?), (6.0, 6.0 + 2.0));
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
///
/// # Errors
/// What `f` fails with; `v` does not have the shape of `x`; `x` is not floating point; an operation without forward mode.
#[track_caller]
pub fn jvp(f: impl Fn(&Tensor) -> Result<Tensor>, x: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
    let (y, g) = jvp_many(single(f), &[x], &[v])?;
    Ok((only(y)?, only(g)?))
}

/// [`jvp`] of a function of several tensors with several results: the values, and the derivative of each.
///
/// # Errors
/// As [`jvp`].
#[track_caller]
pub fn jvp_many(
    f: impl Fn(&[Tensor]) -> Result<Vec<Tensor>>,
    inputs: &[&Tensor],
    v: &[&Tensor],
) -> Result<(Vec<Tensor>, Vec<Tensor>)> {
    const OP: &str = "jvp";
    let own: Vec<Tensor> = inputs.iter().map(|t| (*t).clone()).collect();
    check_shapes(OP, "inputs", v, &own)?;
    let nested = is_grad_enabled() && inputs.iter().chain(v).any(|t| t.requires_grad());
    let level = OpenLevel::new();
    let duals = inputs.iter().zip(v).map(|(x, v)| forward_ad::dual(OP, x, v, &level)).all_ok().here()?;
    let finish = |t: Tensor| if nested { t } else { tangents::detach(&t) };
    let (mut values, mut derivatives) = (Vec::new(), Vec::new());
    for y in f(&duals).here()? {
        let (y, tangent) = forward_ad::parts(&y, &level)?;
        derivatives.push(match tangent {
            Some(tangent) => finish(tangent),
            None => y.zeros_like()?,
        });
        values.push(finish(y));
    }
    Ok((values, derivatives))
}

/// The Jacobian of `f` at `x` in forward mode, of the result's shape followed by the shape of `x` (`torch.func.jacfwd`):
/// a call of `f` for each element of `x`. [`jacobian`] is cheaper where the result has fewer elements.
///
/// ```
/// use kiln_autograd::{func, tensor};
/// let j = func::jacfwd(|x| x.square(), &tensor![1., 2.])?;
/// assert_eq!(j.to_vec::<f32>()?, [2., 0., 0., 4.]);
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
///
/// # Errors
/// As [`jvp`].
#[track_caller]
pub fn jacfwd(f: impl Fn(&Tensor) -> Result<Tensor>, x: &Tensor) -> Result<Tensor> {
    let n = x.numel();
    let mut columns = Vec::with_capacity(n);
    for i in 0..n {
        let one = x.detach().zeros_like()?.reshape([-1])?;
        one.select(0, i as i64)?.fill_(1.0)?;
        columns.push(jvp(&f, x, &one.view_as(x)?)?.1);
    }
    let shape = match columns.first() {
        Some(column) => column.dims(),
        None => f(x).here()?.dims(),
    };
    let sizes: Vec<usize> = shape.into_iter().chain(x.dims()).collect();
    if columns.is_empty() {
        return Ok(Tensor::zeros_with(sizes.as_slice(), x));
    }
    Tensor::stack(&columns.iter().collect::<Vec<_>>(), -1)?.reshape(sizes.as_slice())
}

/// [`jacobian`] under the name it has in `torch.func`: a backward pass for each element of the result.
///
/// # Errors
/// As [`jacobian`].
#[track_caller]
pub fn jacrev(f: impl Fn(&Tensor) -> Result<Tensor>, x: &Tensor) -> Result<Tensor> {
    jacobian(f, x)
}

/// The Jacobian of `f` at `x`, of the result's shape followed by the shape of `x` (`torch.autograd.functional.jacobian`).
///
/// ```
/// use kiln_autograd::{func, tensor};
/// let j = func::jacobian(|x| x.square(), &tensor![1., 2.])?;
/// assert_eq!(j.to_vec::<f32>()?, [2., 0., 0., 4.]);
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
///
/// # Errors
/// What `f` fails with; `x` is not floating point.
#[track_caller]
pub fn jacobian(f: impl Fn(&Tensor) -> Result<Tensor>, x: &Tensor) -> Result<Tensor> {
    only(only_list(jacobian_many(single(f), &[x])?)?)
}

#[track_caller]
fn only_list(mut list: Vec<Vec<Tensor>>) -> Result<Vec<Tensor>> {
    list.pop().ok_or_else(|| Error::autograd("func", "a function without results")).here()
}

/// [`jacobian`] of a function of several tensors with several results: `[result][input]`.
///
/// # Errors
/// As [`jacobian`].
#[track_caller]
pub fn jacobian_many(
    f: impl Fn(&[Tensor]) -> Result<Vec<Tensor>>,
    inputs: &[&Tensor],
) -> Result<Vec<Vec<Tensor>>> {
    let recording = is_grad_enabled();
    enable_grad(|| {
        let point = Point::new(inputs, recording)?;
        let outputs = f(&point.inputs)?;
        outputs.iter().map(|y| rows(y, &point)).all_ok()
    })
    .here()
}

/// The Jacobian of one result with respect to every input: a backward pass for each of its elements.
fn rows(y: &Tensor, point: &Point) -> Result<Vec<Tensor>> {
    let (n, shape) = (y.numel(), y.dims());
    let mut columns: Vec<Vec<Tensor>> = vec![Vec::with_capacity(n); point.inputs.len()];
    for i in 0..n {
        let one = y.detach().zeros_like()?.reshape([-1])?;
        one.select(0, i as i64)?.fill_(1.0)?;
        let pulled = gradients(&[y], &point.references(), &[&one.reshape(shape.as_slice())?], point.options)?;
        columns.iter_mut().zip(pulled).for_each(|(column, g)| column.push(g));
    }
    let stack = |(column, x): (Vec<Tensor>, &Tensor)| {
        let sizes: Vec<usize> = shape.iter().copied().chain(x.dims()).collect();
        if column.is_empty() {
            return Ok(Tensor::zeros_with(sizes.as_slice(), x));
        }
        let stacked = Tensor::stack(&column.iter().collect::<Vec<_>>(), 0)?;
        Ok(point.finish(stacked.reshape(sizes.as_slice())?))
    };
    columns.into_iter().zip(&point.inputs).map(stack).collect()
}

/// The gradient of a function with one number as its result (`torch.func.grad`).
///
/// ```
/// use kiln_autograd::{func, tensor};
/// let second = func::gradient(|x| func::gradient(|x| x.pow(3)?.sum(), x)?.sum(), &tensor![2., 3.])?;
/// assert_eq!(second.to_vec::<f32>()?, [12., 18.]);
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
///
/// # Errors
/// What `f` fails with; its result has more elements than one; `x` is not floating point.
#[track_caller]
pub fn gradient(f: impl Fn(&Tensor) -> Result<Tensor>, x: &Tensor) -> Result<Tensor> {
    let recording = is_grad_enabled();
    enable_grad(|| {
        let point = Point::new(&[x], recording)?;
        let y = number("gradient", f(&point.inputs[0])?)?;
        let one = y.detach().ones_like()?;
        Ok(point.finish(only(gradients(&[&y], &point.references(), &[&one], point.options)?)?))
    })
    .here()
}

#[track_caller]
fn number(op: &'static str, y: Tensor) -> Result<Tensor> {
    match y.numel() {
        1 => Ok(y),
        _ => Err(Error::shape(
            op,
            format!("the function must give one number, its result has shape {:?}", y.shape()),
        )),
    }
}

/// The second derivatives of a function with one number as its result, of the shape of `x` twice
/// (`torch.autograd.functional.hessian`).
///
/// ```
/// use kiln_autograd::{func, tensor};
/// let h = func::hessian(|x| x.pow(3)?.sum(), &tensor![1., 2.])?;
/// assert_eq!(h.to_vec::<f32>()?, [6., 0., 0., 12.]);
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
///
/// # Errors
/// As [`gradient`].
#[track_caller]
pub fn hessian(f: impl Fn(&Tensor) -> Result<Tensor>, x: &Tensor) -> Result<Tensor> {
    // The inner gradient sees an input that requires one, and so stays differentiable.
    jacobian(|x| gradient(&f, x), x)
}

/// The value of `f` at `x`, and the Hessian times `v` (`torch.autograd.functional.hvp`).
///
/// # Errors
/// As [`gradient`]; `v` does not have the shape of `x`.
#[track_caller]
pub fn hvp(f: impl Fn(&Tensor) -> Result<Tensor>, x: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
    let (_, product) = jvp(|x| gradient(&f, x), x, v)?;
    Ok((value(&f, x)?, product))
}

/// The value of `f` at `x`, and `v` times the Hessian (`torch.autograd.functional.vhp`): the same as [`hvp`] where second
/// derivatives are continuous, and cheaper.
///
/// # Errors
/// As [`gradient`]; `v` does not have the shape of `x`.
#[track_caller]
pub fn vhp(f: impl Fn(&Tensor) -> Result<Tensor>, x: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
    let (_, product) = vjp(|x| gradient(&f, x), x, v)?;
    Ok((value(&f, x)?, product))
}

#[track_caller]
fn value(f: impl Fn(&Tensor) -> Result<Tensor>, x: &Tensor) -> Result<Tensor> {
    let y = f(x).here()?;
    Ok(if is_grad_enabled() && x.requires_grad() { y } else { tangents::detach(&y) })
}
