//! How operations pass tangents on.
//!
//! What an operation tells its backward pass, the map from the gradient of its result to those of its inputs, is linear and
//! made of tracked methods. So its derivative is its transpose, the map from tangents of the inputs to that of the result:
//! no operation needs a second formula.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::collect::Collect;
use crate::engine::{BackwardOptions, gradients_from};
use crate::node::{Derivative, Edge, InputFn, JointFn, Meta, OutputFn, sequence_now};
use crate::tangents::{self, below, depth, tangent};
use crate::{Error, Result, Tensor, autocast, enable_grad, is_grad_enabled};

/// The inputs of an operation that have tangents, while it is recorded.
#[derive(Default)]
pub(crate) struct Pending {
    inputs: Vec<(Tensor, Linear)>,
    /// The derivatives multiply elements by numbers, so that they are their own transposes.
    pub(crate) elementwise: bool,
    /// An input requires a gradient, so that the tangent is to have a history.
    recorded: bool,
}

enum Linear {
    Pass,
    Input(Arc<InputFn>),
    Output(Arc<OutputFn>),
}

impl Pending {
    /// For an operation that starts to be recorded.
    #[inline]
    pub(crate) fn start(is_float: bool) -> Option<Box<Pending>> {
        if tangents::is_active() && is_float { Some(Box::default()) } else { None }
    }

    /// Takes part in the derivative with respect to `t`, and gives it back for the backward pass, if the operation is
    /// `recorded`.
    pub(crate) fn add(&mut self, t: &Tensor, recorded: bool, derivative: Derivative) -> Derivative {
        self.recorded |= recorded;
        let (mine, theirs) = match derivative {
            Derivative::Pass => (Linear::Pass, Derivative::Pass),
            Derivative::Input(f) => {
                let shared = Arc::new(f);
                (Linear::Input(shared.clone()), Derivative::Input(Box::new(move |g: &Tensor| shared.of(g))))
            }
            Derivative::Output(f) => {
                let shared = Arc::new(f);
                (
                    Linear::Output(shared.clone()),
                    Derivative::Output(Box::new(move |g: &Tensor, y: &Tensor| shared.of(g, y))),
                )
            }
        };
        self.inputs.push((t.clone(), mine));
        theirs
    }

    /// Gives the result, which has its history, its tangents. Those of lower levels come first: derivatives at higher
    /// ones may read the result.
    pub(crate) fn attach(&self, result: &Tensor) {
        for depth in 1..=depth() {
            if let Some(tangent) = self.tangent(depth, result).transpose() {
                tangents::set(result, depth, tangent);
            }
        }
    }

    /// The same for `t`, which the operation has changed in place; `result` is the new value with the history of this
    /// operation.
    ///
    /// # Errors
    /// A tangent cannot be computed.
    pub(crate) fn attach_in_place(&self, t: &Tensor, result: &Tensor) -> Result<()> {
        for depth in 1..=depth() {
            let tangent = self.tangent(depth, result)?;
            if let Some(tangent) = &tangent {
                tangents::set(result, depth, Ok(tangent.clone()));
            }
            tangents::set_in_place(t, depth, tangent)?;
        }
        Ok(())
    }

    fn tangent(&self, depth: usize, result: &Tensor) -> Result<Option<Tensor>> {
        let mut sum: Option<Tensor> = None;
        for (t, linear) in &self.inputs {
            let Some(v) = tangent(t, depth)? else { continue };
            let _below = below(depth);
            let part = linear.forward(&v, result, self)?;
            sum = Some(match sum {
                None => part,
                Some(sum) => sum.add(&part)?,
            });
        }
        Ok(sum)
    }
}

impl Linear {
    fn forward(&self, v: &Tensor, result: &Tensor, pending: &Pending) -> Result<Tensor> {
        let meta = Meta::of(&result.raw());
        if let Linear::Pass = self {
            return fit(v, &meta);
        }
        let derivative = |g: &Tensor| match self {
            Linear::Pass => Ok(g.clone()),
            Linear::Input(f) => f.of(g),
            Linear::Output(f) => f.of(g, result),
        };
        if pending.elementwise {
            let _as_it_is = autocast::suspend();
            return derivative(&fit(v, &meta)?);
        }
        let record = is_grad_enabled() && (pending.recorded || v.requires_grad());
        let joint = |u: &[Option<Tensor>]| match &u[0] {
            Some(u) => Ok(vec![Some(derivative(u)?)]),
            None => Ok(vec![None]),
        };
        let found = transposed(&joint, &[meta], &[Some(v.clone())], record)?;
        found.into_iter().flatten().next().ok_or_else(|| Error::autograd("forward_ad", "no tangent"))
    }
}

/// A tangent in the dtype, on the device and, by broadcasting, in the shape that `meta` says: the transpose of what the
/// engine does to gradients.
fn fit(v: &Tensor, meta: &Meta) -> Result<Tensor> {
    let v = if v.dtype() == meta.dtype { v.clone() } else { v.to_dtype(meta.dtype)? };
    let v = if v.device() == meta.device { v } else { v.to_device(meta.device)? };
    if *v.raw().shape() == meta.shape {
        return Ok(v);
    }
    v.broadcast_to(meta.shape.clone())
}

/// The tangents of the results of an operation whose gradients `backward` computes, at one level: those of the inputs are
/// `vectors`. Only levels below are in sight.
fn transposed(
    backward: &dyn Fn(&[Option<Tensor>]) -> Result<Vec<Option<Tensor>>>,
    results: &[Meta],
    vectors: &[Option<Tensor>],
    record: bool,
) -> Result<Vec<Option<Tensor>>> {
    let _as_it_is = autocast::suspend();
    // The history of what the derivative has saved is older than this and is left alone.
    let floor = sequence_now();
    let leaf = |meta: &Meta| {
        if !meta.dtype.is_float() {
            return Ok(None);
        }
        let ones = kiln_ops::full(&meta.shape, 1.into(), meta.dtype, meta.device)?;
        Tensor::from_raw(ones).requires_grad_(true).map(Some)
    };
    let us = results.iter().map(leaf).all_ok()?;
    let gradients = enable_grad(|| backward(&us))?;
    let targets: Vec<Option<Edge>> = us.iter().map(|u| u.as_ref().and_then(Tensor::edge)).collect();
    let mut roots: SmallVec<[(Edge, Tensor); 1]> = SmallVec::new();
    let mut without: Vec<&Tensor> = Vec::new();
    for (g, v) in gradients.iter().zip(vectors) {
        let (Some(g), Some(v)) = (g, v) else { continue };
        let meta = Meta::of(&g.raw());
        match g.edge() {
            Some(edge) => roots.push((edge, fit(v, &meta)?)),
            None => without.push(g),
        }
    }
    let options = BackwardOptions { retain_graph: false, create_graph: record };
    let found = if roots.is_empty() {
        vec![None; us.len()]
    } else {
        gradients_from(roots, &targets, options, floor)?
    };
    // Where nothing leads from the gradients of the results to those of the inputs the derivative is either zero, or made
    // of what is not tracked.
    if found.iter().all(Option::is_none) {
        without.extend(gradients.iter().flatten());
    }
    for g in without {
        if !g.detach().eq(0)?.all()?.item()?.is_true() {
            return Err(Error::autograd("forward_ad", "this operation does not support forward mode"));
        }
    }
    let complete = |(found, u): (Option<Tensor>, &Option<Tensor>)| match (found, u) {
        (Some(t), _) => Ok(Some(t)),
        (None, Some(u)) => u.zeros_like().map(Some),
        (None, None) => Ok(None),
    };
    found.into_iter().zip(&us).map(complete).collect()
}

/// Gives the results of an operation with several their tangents. `direct` computes them from those of the inputs, where
/// there is a formula for it; otherwise they come from `backward`.
pub(crate) fn attach_joint(
    inputs: &[&Tensor],
    results: &[Tensor],
    backward: &JointFn,
    direct: impl Fn(&[Option<Tensor>]) -> Result<Option<Vec<Tensor>>>,
    set: impl Fn(&Tensor, usize, Result<Tensor>) -> Result<()>,
) -> Result<()> {
    let metas: Vec<Meta> = results.iter().map(|t| Meta::of(&t.raw())).collect();
    for depth in 1..=depth() {
        let tangents = || -> Result<Option<Vec<Option<Tensor>>>> {
            let vectors = inputs.iter().map(|t| tangent(t, depth)).all_ok()?;
            if vectors.iter().all(Option::is_none) {
                return Ok(None);
            }
            let _below = below(depth);
            if let Some(found) = direct(&vectors)? {
                return Ok(Some(found.into_iter().map(Some).collect()));
            }
            let needs: Vec<bool> = vectors.iter().map(Option::is_some).collect();
            let requires = |t: &Tensor| t.requires_grad();
            let record = is_grad_enabled()
                && (inputs.iter().any(|t| requires(t)) || vectors.iter().flatten().any(requires));
            transposed(&|u| backward(u, &needs), &metas, &vectors, record).map(Some)
        };
        match tangents() {
            Ok(None) => {}
            Ok(Some(found)) => {
                for (result, found) in results.iter().zip(found) {
                    if let Some(found) = found {
                        set(result, depth, Ok(found))?;
                    }
                }
            }
            Err(error) => {
                let why = error.to_string();
                for result in results.iter().filter(|t| t.dtype().is_float()) {
                    set(result, depth, Err(Error::autograd("forward_ad", why.clone())))?;
                }
            }
        }
    }
    Ok(())
}
