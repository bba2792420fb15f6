//! Functions of one sample mapped over the samples of a batch.

use super::{gradients, number, only, single};
use crate::collect::Collect;
use crate::engine::BackwardOptions;
use crate::{Error, Here, Result, Tensor, enable_grad, no_grad};

/// `f` of each slice of `x` along `in_axis`, the results stacked along `out_axis` (`torch.func.vmap`).
///
/// The slices do not have the axis. They are taken one after the other, in order, on this thread: a loop that is
/// written as a function of one sample. So whatever `f` does is allowed, also what depends on values, and random
/// numbers are drawn sample by sample, as a loop would (PyTorch's `randomness="different"`, with other numbers). It
/// nests, and it is differentiable in both modes.
///
/// ```
/// use kiln_autograd::{func, tensor};
/// let x = tensor!([[1., 2.], [3., 4.], [5., 6.]]);
/// let y = func::vmap(|row| row.dot(row), &x, 0, 0)?;
/// assert_eq!(y.to_vec::<f32>()?, [5., 25., 61.]);
/// // The Jacobian of every sample.
/// let j = func::vmap(|x| func::jacobian(|x| x.square(), x), &x, 0, 0)?;
/// assert_eq!(j.dims(), [3, 2, 2]);
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
///
/// # Errors
/// What `f` fails with; an axis out of range; no slices; results of different shapes.
#[track_caller]
pub fn vmap(
    f: impl Fn(&Tensor) -> Result<Tensor>,
    x: &Tensor,
    in_axis: i64,
    out_axis: i64,
) -> Result<Tensor> {
    only(vmap_many(single(f), &[x], &[Some(in_axis)], &[out_axis])?)
}

/// [`vmap`] of a function of several tensors with several results. An input with axis `None` is the same for all
/// samples.
///
/// ```
/// use kiln_autograd::{func, tensor};
/// let (x, w) = (tensor!([[1., 2.], [3., 4.]]), tensor![10., 100.]);
/// let dots = func::vmap_many(|t| Ok(vec![t[0].dot(&t[1])?]), &[&x, &w], &[Some(1), None], &[0])?;
/// assert_eq!(dots[0].to_vec::<f32>()?, [310., 420.]);
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
///
/// # Errors
/// As [`vmap`]; no input with an axis; different numbers of samples; other numbers of axes than of inputs or results.
#[track_caller]
pub fn vmap_many(
    f: impl Fn(&[Tensor]) -> Result<Vec<Tensor>>,
    inputs: &[&Tensor],
    in_axes: &[Option<i64>],
    out_axes: &[i64],
) -> Result<Vec<Tensor>> {
    const OP: &str = "vmap";
    if in_axes.len() != inputs.len() {
        return Err(Error::value(
            OP,
            format!("in_axes says {} axes for {} inputs", in_axes.len(), inputs.len()),
        ));
    }
    let mut sizes = Vec::new();
    for (t, axis) in inputs.iter().zip(in_axes) {
        if let Some(axis) = axis {
            sizes.push(t.size(*axis)?);
        }
    }
    let samples = match sizes.as_slice() {
        [] => {
            return Err(Error::value(
                OP,
                "got no input to map over: give the axis of at least one input in in_axes",
            ));
        }
        [first, rest @ ..] if rest.iter().all(|n| n == first) => *first,
        _ => {
            return Err(Error::shape(
                OP,
                format!(
                    "Expected all tensors to have the same size in the mapped dimension, got sizes {sizes:?} for the \
                     mapped dimension"
                ),
            ));
        }
    };
    if samples == 0 {
        return Err(Error::shape(OP, "there are no samples, and so no results whose shapes were known"));
    }
    let mut each: Vec<Vec<Tensor>> = vec![Vec::with_capacity(samples); out_axes.len()];
    for i in 0..samples {
        let sample = inputs.iter().zip(in_axes).map(|(t, axis)| match axis {
            Some(axis) => t.select(*axis, i as i64),
            None => Ok((*t).clone()),
        });
        let results = f(&sample.all_ok()?).here()?;
        if results.len() != out_axes.len() {
            return Err(Error::value(
                OP,
                format!("out_axes says {} axes for {} results", out_axes.len(), results.len()),
            ));
        }
        each.iter_mut().zip(results).for_each(|(list, y)| list.push(y));
    }
    let stack = |(list, axis): (&Vec<Tensor>, &i64)| Tensor::stack(&list.iter().collect::<Vec<_>>(), *axis);
    each.iter().zip(out_axes).map(stack).all_ok().here()
}

/// The gradient of every sample's own loss with respect to the parameters: for each parameter a tensor with the samples
/// as its first axis. `loss` is called with one sample at a time, as a batch of one.
///
/// ```
/// use kiln_autograd::{Tensor, func, tensor};
/// let w = tensor![1., 1.].requires_grad_(true)?;
/// let x = tensor![[1., 2.], [3., 4.], [5., 6.]];
/// let grads = func::per_sample_gradients(|x| x[0].mv(&w)?.sum(), &[&x], &[&w])?;
/// assert_eq!(grads[0].to_vec::<f32>()?, x.to_vec::<f32>()?);
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
///
/// # Errors
/// What `loss` fails with; its result has more elements than one; the batch is empty or its tensors have different
/// numbers of samples; a parameter does not require a gradient.
#[track_caller]
pub fn per_sample_gradients(
    loss: impl Fn(&[Tensor]) -> Result<Tensor>,
    batch: &[&Tensor],
    parameters: &[&Tensor],
) -> Result<Vec<Tensor>> {
    const OP: &str = "per_sample_gradients";
    let counts: Vec<usize> = batch.iter().map(|t| t.size(0)).all_ok().here()?;
    let samples = match counts.as_slice() {
        [first, rest @ ..] if *first > 0 && rest.iter().all(|n| n == first) => *first,
        _ => return Err(Error::shape(OP, format!("a batch with {counts:?} samples"))),
    };
    let room = |p: &&Tensor| {
        let sizes: Vec<usize> = std::iter::once(samples).chain(p.dims()).collect();
        Tensor::empty_with(sizes.as_slice(), *p)
    };
    let all: Vec<Tensor> = parameters.iter().map(room).collect();
    for i in 0..samples {
        let sample = batch.iter().map(|t| t.narrow(0, i as i64, 1)).all_ok().here()?;
        let y = number(OP, enable_grad(|| loss(&sample)).here()?)?;
        let one = y.detach().ones_like()?;
        let found = gradients(&[&y], parameters, &[&one], BackwardOptions::default())?;
        // Each goes to its place at once, while it is in the cache, and its memory serves the next sample.
        for (all, g) in all.iter().zip(found) {
            no_grad(|| all.select(0, i as i64)?.copy_(&g))?;
        }
    }
    Ok(all)
}
