//! Recording changes in place.

use kiln_ops::{Layout, Shared};
use smallvec::SmallVec;

#[cfg(debug_assertions)]
use crate::birth;
use crate::node::{Backward, Edge, Meta, Node};
use crate::{Error, Result, Tensor, grad_mode};

/// Refuses what would lose gradients: changing a leaf that requires one, or a view of such.
///
/// It comes before every change in place, which is noted in debug builds.
#[track_caller]
pub(crate) fn check(op: &'static str, t: &Tensor) -> Result<()> {
    #[cfg(debug_assertions)]
    birth::note_change(op, t, birth::of_operation(std::panic::Location::caller()));
    if !grad_mode::is_grad_enabled() {
        return Ok(());
    }
    let requires_leaf = |t: &Tensor| t.requires_grad() && t.is_leaf();
    if requires_leaf(t) {
        return Err(Error::autograd(
            op,
            "a leaf Variable that requires grad is being used in an in-place operation; do it under no_grad, or on \
             detach() or data()",
        ));
    }
    if t.base().is_some_and(|b| requires_leaf(&b)) {
        return Err(Error::autograd(
            op,
            "a view of a leaf Variable that requires grad is being used in an in-place operation; do it under \
             no_grad, or on detach() or data()",
        ));
    }
    Ok(())
}

/// Gives a view and its base the history of an operation that has changed the view in place. `source` is the
/// operation's node: its edges lead to what the view was computed from before.
#[track_caller]
pub(crate) fn rebase_view(view: &Tensor, base: &Tensor, source: Edge) -> Result<()> {
    let (layout, base_layout) = (view.raw().layout().clone(), base.raw().layout().clone());
    let meta = Meta::of(&base.raw());
    let inner = source.node;
    let saves = inner.saves;
    // The operation's own edges, but what flowed to the old view goes to the old base instead.
    let mut edges: SmallVec<[Option<Edge>; 2]> = SmallVec::new();
    edges.push(base.edge());
    edges.extend(inner.edges.iter().cloned());
    let node = Node::joint(
        "CopySlices",
        inner.place,
        edges,
        SmallVec::from_buf([meta]),
        Backward::Joint(Box::new(move |grads, needs| {
            copy_slices(&inner, &layout, &base_layout, grads, needs)
        })),
        saves,
    );
    base.set_source(Some(Edge { node, output: 0 }));
    // The view's own history is made anew from the base's when it is next asked for.
    view.forget_source();
    Ok(())
}

/// The gradient of a base of which one view was changed by the operation `inner`: where the view lies it passes
/// through the operation, elsewhere it passes by.
fn copy_slices(
    inner: &Shared<Node>,
    view: &Layout,
    base: &Layout,
    grads: &[Option<Tensor>],
    needs: &[bool],
) -> Result<Vec<Option<Tensor>>> {
    let mut out: Vec<Option<Tensor>> = vec![None; needs.len()];
    let Some(grad) = &grads[0] else { return Ok(out) };
    // A copy with the base's own layout, so that the view's layout picks the right elements.
    let passing = crate::ops::shape::dense_copy(grad, base)?;
    let at_view = crate::ops::shape::view_of_dense(&passing, base, view)?;
    let incoming = at_view.copy()?;
    let derived = crate::engine::call_node(inner, &incoming)?;
    out[1..].clone_from_slice(&derived);
    if needs[0] {
        at_view.fill_(0.0)?;
        out[0] = Some(passing);
    }
    Ok(out)
}
