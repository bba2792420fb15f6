//! Checkpoints: a part of a computation whose values are computed again when the backward pass comes to it.

use std::collections::HashSet;

use kiln_ops::Shared;
use smallvec::SmallVec;

use crate::collect::Collect;
use crate::engine::{BackwardOptions, gradients_from};
use crate::node::{Backward, Edge, Meta, Node, sequence_now};
use crate::record::Saved;
use crate::{
    Error, Here, Result, Tensor, autocast, enable_grad, fork_rng, get_rng_state, is_grad_enabled,
    set_rng_state, tangents,
};

/// The results of `f`, without keeping what its derivatives will need: the backward pass calls `f` once more
/// (`torch.utils.checkpoint.checkpoint`).
///
/// Trades time for memory: of a network cut into such parts, only the values between the parts live until the backward
/// pass, and one part's inside at a time. Gradients also reach the tensors that `f` captures, such as parameters. `f` must
/// compute the same both times; draws from the default random stream are the same.
///
/// ```
/// use kiln_autograd::{checkpoint, tensor};
/// let w = tensor![2., 3.].requires_grad_(true)?;
/// let x = tensor![1., 10.].requires_grad_(true)?;
/// let v = w.clone();
/// let y = checkpoint(move |x| x[0].mul(&v)?.square(), &[&x])?;
/// y.sum()?.backward()?;
/// assert_eq!(x.grad().unwrap().to_vec::<f32>()?, [8., 180.]);
/// assert_eq!(w.grad().unwrap().to_vec::<f32>()?, [4., 600.]);
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
///
/// # Errors
/// What `f` fails with. The backward pass fails when `f` then gives another shape or uses other tensors.
#[track_caller]
pub fn checkpoint(
    f: impl Fn(&[Tensor]) -> Result<Tensor> + Send + Sync + 'static,
    inputs: &[&Tensor],
) -> Result<Tensor> {
    // In forward mode tangents pass through the values themselves, which are then kept.
    if !is_grad_enabled() || tangents::is_active() {
        return f(&inputs.iter().map(|t| (*t).clone()).collect::<Vec<_>>()).here();
    }
    let state = get_rng_state();
    // Recorded, only to learn where gradients will go; the record is dropped right away.
    let start = sequence_now();
    let own = stand_ins(inputs.iter().copied(), false)?;
    let precision = autocast::mode();
    let y = {
        let _same_twice = autocast::again(precision);
        f(&own).here()?
    };
    let Some(root) = y.edge() else { return Ok(y) };
    let used = frontier(&root, start, &own);
    let mut edges: SmallVec<[Option<Edge>; 2]> = inputs.iter().map(|t| t.edge()).collect();
    edges.extend(used.iter().cloned().map(Some));
    let raw = y.raw().clone();
    drop((own, root, y));
    let saved: Vec<Saved> = inputs.iter().map(|t| t.save()).collect();
    let shape = raw.shape().clone();
    let backward = move |gradients: &[Option<Tensor>], needs: &[bool]| {
        let Some(gradient) = &gradients[0] else { return Ok(vec![None; needs.len()]) };
        let create_graph = is_grad_enabled();
        let inputs = saved.iter().map(Saved::get).all_ok()?;
        let (own, y) = fork_rng(|| {
            let _same_twice = autocast::again(precision);
            set_rng_state(&state)?;
            enable_grad(|| {
                let own = stand_ins(inputs.iter(), create_graph)?;
                let y = f(&own)?;
                Ok::<_, Error>((own, y))
            })
        })?;
        let root = match y.edge() {
            Some(root) if y.shape() == shape => root,
            _ => return Err(different(format!("the shape {shape:?}"), format!("{:?}", y.shape()))),
        };
        let again = frontier(&root, start, &own);
        let same = |(a, b): (&Edge, &Edge)| Shared::ptr_eq(&a.node, &b.node) && a.output == b.output;
        if again.len() != used.len() || !again.iter().zip(&used).all(same) {
            let tensors = |n: usize| format!("{n} tensors that require a gradient besides its inputs");
            return Err(different(tensors(used.len()), format!("{} or others", again.len())));
        }
        let own = own.iter().map(|t| if t.requires_grad() { t.edge() } else { None });
        let targets: Vec<Option<Edge>> = own.chain(again.into_iter().map(Some)).collect();
        // Kept: the graph is dropped in a moment, and where it was joined to others these may still be needed.
        let options = BackwardOptions { retain_graph: true, create_graph };
        gradients_from(SmallVec::from_iter([(root, gradient.clone())]), &targets, options, start)
    };
    let node = Node::joint(
        "CheckpointBackward",
        std::panic::Location::caller(),
        edges,
        SmallVec::from_buf([Meta::of(&raw)]),
        Backward::Joint(Box::new(backward)),
        true,
    );
    Ok(Tensor::with_source(raw, Some(Edge { node, output: 0 }), None))
}

fn different(first: String, then: String) -> Error {
    Error::autograd(
        "checkpoint",
        format!(
            "the function must compute the same in both passes: {first} in the forward pass, {then} in the backward pass"
        ),
    )
}

/// What the function gets in place of its inputs: leaves, or, for derivatives of derivatives, views of the inputs.
#[track_caller]
fn stand_ins<'a>(inputs: impl Iterator<Item = &'a Tensor>, nested: bool) -> Result<Vec<Tensor>> {
    let one = |t: &Tensor| match t.edge() {
        None => Ok(t.clone()),
        Some(_) if nested => t.i(..),
        Some(_) => t.detach().requires_grad_(true),
    };
    inputs.map(one).all_ok().here()
}

/// Where gradients leave what was recorded since `start`, other than to the stand-ins: captured tensors, in the order in
/// which a walk from the result meets them.
fn frontier(root: &Edge, start: u64, own: &[Tensor]) -> Vec<Edge> {
    let own: HashSet<*const Node> =
        own.iter().filter_map(Tensor::edge).map(|e| Shared::as_ptr(&e.node)).collect();
    let (mut seen, mut found) = (HashSet::new(), Vec::new());
    let mut stack = vec![root.clone()];
    while let Some(edge) = stack.pop() {
        let at = Shared::as_ptr(&edge.node);
        if own.contains(&at) {
            continue;
        }
        if edge.node.age() < start {
            if seen.insert((at, edge.output)) {
                found.push(edge);
            }
        } else if seen.insert((at, u32::MAX)) {
            stack.extend(edge.node.edges.iter().flatten().cloned());
        }
    }
    found
}
