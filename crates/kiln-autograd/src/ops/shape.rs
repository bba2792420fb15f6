//! Views: other shapes over the same memory.

use kiln_ops::{Layout, RawTensor, Shape, Storage};
use smallvec::SmallVec;

use crate::node::{Backward, Derivative, Edge, Meta, Node};
use crate::{Error, Result, Tensor};

/// The history of a view of `base` at `layout`, as the base is now: PyTorch's `AsStridedBackward0`.
pub(crate) fn view_history(base: &Tensor, layout: &Layout) -> Option<Edge> {
    let edge = base.edge()?;
    let raw = base.raw();
    let meta = Meta { shape: layout.shape().clone(), dtype: raw.dtype(), device: raw.device() };
    let (base_layout, view) = (raw.layout().clone(), layout.clone());
    let derivative = Derivative::Input(Box::new(move |g: &Tensor| as_strided_backward(g, &base_layout, &view)));
    let node = Node::operation(
        "AsStridedBackward0",
        SmallVec::from_iter([Some(edge)]),
        SmallVec::from_buf([meta]),
        Backward::PerInput(SmallVec::from_iter([derivative]), None),
    );
    Some(Edge { node, output: 0 })
}

/// The gradient of a base from that of its view at `view`: the view's in its places, zero elsewhere.
fn as_strided_backward(g: &Tensor, base: &Layout, view: &Layout) -> Result<Tensor> {
    let zeros = dense(&g.zeros_like()?, base, Fill::Zero)?;
    let at_view = view_of_dense(&zeros, base, view)?;
    at_view.copy_(g)?;
    Ok(zeros)
}

enum Fill<'a> {
    Zero,
    From(&'a Tensor),
}

/// A new tensor with the layout of `base` (but starting at 0), of the dtype and device of `like`.
fn dense(like: &Tensor, base: &Layout, fill: Fill<'_>) -> Result<Tensor> {
    const OP: &str = "as_strided_backward";
    let span = base.span();
    let flat = kiln_ops::full(&Shape::new(&[span.len()]), 0.into(), like.dtype(), like.device())?;
    let layout = Layout::new(base.shape().clone(), base.strides(), 0)?;
    let out = Tensor::from_raw(RawTensor::new(OP, flat.storage().clone(), layout, flat.dtype())?);
    if let Fill::From(t) = fill {
        kiln_ops::copy_(&out.raw(), &t.raw())?;
    }
    Ok(out)
}

/// A copy of `t` with the layout of `base`.
pub(crate) fn dense_copy(t: &Tensor, base: &Layout) -> Result<Tensor> {
    dense(t, base, Fill::From(t))
}

/// The part of `dense`, which has the layout of `base`, that a view of the base at `view` covers.
pub(crate) fn view_of_dense(dense: &Tensor, base: &Layout, view: &Layout) -> Result<Tensor> {
    const OP: &str = "as_strided_backward";
    let offset = view.offset().checked_sub(base.offset()).ok_or_else(|| {
        Error::autograd(OP, "the view starts before its base; write through a view of the whole memory instead")
    })?;
    let raw = dense.raw();
    let layout = Layout::new(view.shape().clone(), view.strides(), offset)?;
    let storage: Storage = raw.storage().clone();
    Ok(Tensor::from_raw(RawTensor::new(OP, storage, layout, raw.dtype())?))
}
