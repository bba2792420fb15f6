//! Views: other shapes over the same memory.

use kiln_ops::{Layout, RawTensor, Shape, Storage};
use smallvec::SmallVec;

use crate::node::{Backward, Edge, Meta, Node};
use crate::record::record;
use crate::{Error, Here, Result, Tensor};

/// Sizes as users write them: `[2, 3]`, `[-1, 10]`, a `Shape`, a slice. -1 stands for "what is left".
pub struct Sizes(pub(super) SmallVec<[i64; 6]>);

macro_rules! sizes_from {
    ($($t:ty),*) => {$(
        impl<const N: usize> From<[$t; N]> for Sizes {
            fn from(sizes: [$t; N]) -> Sizes {
                Sizes(sizes.iter().map(|&s| s as i64).collect())
            }
        }
        impl From<&[$t]> for Sizes {
            fn from(sizes: &[$t]) -> Sizes {
                Sizes(sizes.iter().map(|&s| s as i64).collect())
            }
        }
    )*};
}
sizes_from!(i64, i32, usize);

impl From<Shape> for Sizes {
    fn from(shape: Shape) -> Sizes {
        Sizes::from(shape.dims())
    }
}

impl From<&Shape> for Sizes {
    fn from(shape: &Shape) -> Sizes {
        Sizes::from(shape.dims())
    }
}

impl From<Vec<usize>> for Sizes {
    fn from(sizes: Vec<usize>) -> Sizes {
        Sizes::from(sizes.as_slice())
    }
}

impl From<i64> for Sizes {
    fn from(size: i64) -> Sizes {
        Sizes::from([size])
    }
}

/// The inverse of a permutation.
fn inverse(axes: &[usize]) -> Vec<i64> {
    let mut out = vec![0i64; axes.len()];
    for (to, &from) in axes.iter().enumerate() {
        out[from] = to as i64;
    }
    out
}

impl Tensor {
    /// Records a view; its derivative undoes the view.
    #[inline]
    #[track_caller]
    fn viewed<F>(&self, name: &'static str, raw: RawTensor, derivative: impl FnOnce() -> F) -> Tensor
    where
        F: Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static,
    {
        record(name, raw).view_of(self).input(self, derivative).done()
    }

    /// A view whose derivative puts the gradient into zeros of this tensor's shape, where the view lies.
    #[track_caller]
    fn part(
        &self,
        name: &'static str,
        raw: RawTensor,
        part: impl Fn(&RawTensor) -> Result<RawTensor> + Send + Sync + 'static,
    ) -> Tensor {
        self.viewed(name, raw, || {
            let shape = self.shape();
            move |g: &Tensor| put(g, &shape, &part)
        })
    }

    /// The same elements under another shape, without a copy (`Tensor.view`). One size may be -1.
    ///
    /// # Errors
    /// The number of elements differs, or the strides do not allow it: use [`Tensor::reshape`] then.
    #[track_caller]
    pub fn view(&self, sizes: impl Into<Sizes>) -> Result<Tensor> {
        self.reshape_with(kiln_ops::view, &sizes.into())
    }

    /// The same elements under another shape: a view where strides allow it, else a copy (`torch.reshape`).
    ///
    /// # Errors
    /// The number of elements differs.
    #[track_caller]
    pub fn reshape(&self, sizes: impl Into<Sizes>) -> Result<Tensor> {
        self.reshape_with(kiln_ops::reshape, &sizes.into())
    }

    #[inline(never)]
    #[track_caller]
    fn reshape_with(
        &self,
        reshape: fn(&RawTensor, &[i64]) -> Result<RawTensor>,
        sizes: &Sizes,
    ) -> Result<Tensor> {
        let y = reshape(&self.raw(), &sizes.0).here()?;
        Ok(self.reshaped("ViewBackward0", y))
    }

    /// A view or copy with the same elements in the same order.
    #[track_caller]
    fn reshaped(&self, name: &'static str, y: RawTensor) -> Tensor {
        let derivative = || {
            let shape = self.shape();
            move |g: &Tensor| g.reshape(&shape)
        };
        if y.storage().is_same(self.raw().storage()) {
            self.viewed(name, y, derivative)
        } else {
            record("UnsafeViewBackward0", y).input(self, derivative).done()
        }
    }

    /// [`Tensor::view`] with the shape of `other` (`Tensor.view_as`).
    ///
    /// # Errors
    /// As [`Tensor::view`].
    #[track_caller]
    pub fn view_as(&self, other: &Tensor) -> Result<Tensor> {
        self.view(other.shape())
    }

    /// [`Tensor::reshape`] with the shape of `other` (`Tensor.reshape_as`).
    ///
    /// # Errors
    /// As [`Tensor::reshape`].
    #[track_caller]
    pub fn reshape_as(&self, other: &Tensor) -> Result<Tensor> {
        self.reshape(other.shape())
    }

    /// Axes `start` to `end`, both included, as one (`torch.flatten`).
    ///
    /// # Errors
    /// An axis out of range, or `start` after `end`.
    #[track_caller]
    pub fn flatten(&self, start: i64, end: i64) -> Result<Tensor> {
        let y = kiln_ops::flatten(&self.raw(), start, end).here()?;
        if y.shape() == self.raw().shape() {
            return Ok(self.clone());
        }
        Ok(self.reshaped("ViewBackward0", y))
    }

    /// `axis` split into several (`torch.unflatten`).
    ///
    /// # Errors
    /// An axis out of range, or sizes whose product is not the axis's.
    #[track_caller]
    pub fn unflatten(&self, axis: i64, sizes: impl Into<Sizes>) -> Result<Tensor> {
        self.unflatten_to(axis, &sizes.into())
    }

    #[track_caller]
    fn unflatten_to(&self, axis: i64, sizes: &Sizes) -> Result<Tensor> {
        let y = kiln_ops::unflatten(&self.raw(), axis, &sizes.0).here()?;
        Ok(self.reshaped("ViewBackward0", y))
    }

    /// Axes in another order (`torch.permute`).
    ///
    /// # Errors
    /// `axes` is not a permutation of this tensor's axes.
    #[track_caller]
    pub fn permute(&self, axes: &[i64]) -> Result<Tensor> {
        let y = kiln_ops::permute(&self.raw(), axes).here()?;
        let rank = self.rank();
        Ok(self.viewed("PermuteBackward0", y, || {
            let order: Vec<usize> =
                axes.iter().map(|&a| if a < 0 { a + rank as i64 } else { a } as usize).collect();
            let back = inverse(&order);
            move |g: &Tensor| g.permute(&back)
        }))
    }

    /// Axes `a` and `b` exchanged (`torch.transpose`).
    ///
    /// # Errors
    /// An axis out of range.
    #[track_caller]
    pub fn transpose(&self, a: i64, b: i64) -> Result<Tensor> {
        let y = kiln_ops::transpose(&self.raw(), a, b).here()?;
        Ok(self.viewed("TransposeBackward0", y, || move |g: &Tensor| g.transpose(a, b)))
    }

    /// [`Tensor::transpose`] (`torch.swapaxes`).
    ///
    /// # Errors
    /// An axis out of range.
    #[track_caller]
    pub fn swapaxes(&self, a: i64, b: i64) -> Result<Tensor> {
        self.transpose(a, b)
    }

    /// The transposed matrix (`torch.t`); vectors and numbers stay as they are.
    ///
    /// # Errors
    /// More than two axes.
    #[track_caller]
    pub fn t(&self) -> Result<Tensor> {
        let y = kiln_ops::t(&self.raw()).here()?;
        Ok(self.viewed("TBackward0", y, || |g: &Tensor| g.t()))
    }

    /// Axes moved to other places, the others keeping their order (`torch.movedim`).
    ///
    /// # Errors
    /// An axis out of range or named twice.
    #[track_caller]
    pub fn movedim(&self, source: &[i64], destination: &[i64]) -> Result<Tensor> {
        let y = kiln_ops::movedim(&self.raw(), source, destination).here()?;
        Ok(self.viewed("PermuteBackward0", y, || {
            let (source, destination) = (source.to_vec(), destination.to_vec());
            move |g: &Tensor| g.movedim(&destination, &source)
        }))
    }

    /// Axes of size 1, and new outer axes, repeated to `sizes` without a copy; -1 keeps a size (`Tensor.expand`).
    ///
    /// # Errors
    /// A size that differs on an axis that is not of size 1.
    #[track_caller]
    pub fn expand(&self, sizes: impl Into<Sizes>) -> Result<Tensor> {
        self.expand_to(&sizes.into())
    }

    #[track_caller]
    fn expand_to(&self, sizes: &Sizes) -> Result<Tensor> {
        let y = kiln_ops::expand(&self.raw(), &sizes.0).here()?;
        // The engine sums the gradient to this tensor's shape.
        Ok(self.viewed("ExpandBackward0", y, || |g: &Tensor| Ok(g.clone())))
    }

    /// [`Tensor::expand`] to the shape of `other` (`Tensor.expand_as`).
    ///
    /// # Errors
    /// As [`Tensor::expand`].
    #[track_caller]
    pub fn expand_as(&self, other: &Tensor) -> Result<Tensor> {
        self.expand(other.shape())
    }

    /// [`Tensor::expand`] to a whole shape (`torch.broadcast_to`).
    ///
    /// # Errors
    /// As [`Tensor::expand`].
    #[track_caller]
    pub fn broadcast_to(&self, shape: impl Into<Shape>) -> Result<Tensor> {
        self.expand(shape.into())
    }

    /// A new axis of size 1 at `axis` (`torch.unsqueeze`).
    ///
    /// # Errors
    /// An axis out of range.
    #[track_caller]
    pub fn unsqueeze(&self, axis: i64) -> Result<Tensor> {
        let y = kiln_ops::unsqueeze(&self.raw(), axis).here()?;
        Ok(self.viewed("UnsqueezeBackward0", y, || {
            let shape = self.shape();
            move |g: &Tensor| g.reshape(&shape)
        }))
    }

    /// Without the axes of size 1 (`torch.squeeze`).
    ///
    /// # Errors
    /// None; a `Result` so that all views read the same.
    #[track_caller]
    pub fn squeeze(&self) -> Result<Tensor> {
        let y = kiln_ops::squeeze(&self.raw());
        Ok(self.squeezed("SqueezeBackward0", y))
    }

    /// Without `axis` if it is of size 1 (`torch.squeeze(dim)`).
    ///
    /// # Errors
    /// An axis out of range.
    #[track_caller]
    pub fn squeeze_axis(&self, axis: i64) -> Result<Tensor> {
        self.squeeze_axes(&[axis])
    }

    /// Without those of `axes` that are of size 1 (`torch.squeeze(dim)`).
    ///
    /// # Errors
    /// An axis out of range or named twice.
    #[track_caller]
    pub fn squeeze_axes(&self, axes: &[i64]) -> Result<Tensor> {
        let y = kiln_ops::squeeze_axes(&self.raw(), axes).here()?;
        Ok(self.squeezed("SqueezeBackward1", y))
    }

    fn squeezed(&self, name: &'static str, y: RawTensor) -> Tensor {
        self.viewed(name, y, || {
            let shape = self.shape();
            move |g: &Tensor| g.reshape(&shape)
        })
    }

    /// `length` elements of `axis` from `start` on, without a copy (`torch.narrow`).
    ///
    /// # Errors
    /// An axis or range out of bounds.
    #[track_caller]
    pub fn narrow(&self, axis: i64, start: i64, length: i64) -> Result<Tensor> {
        let y = kiln_ops::narrow(&self.raw(), axis, start, length).here()?;
        Ok(self.part("SliceBackward0", y, move |z| kiln_ops::narrow(z, axis, start, length)))
    }

    /// Every `step`-th element of `axis` from `start` to before `end`, with Python's rules for negative and missing
    /// bounds (`x[start:end:step]`).
    ///
    /// # Errors
    /// An axis out of range or a step below 1.
    #[track_caller]
    pub fn slice(&self, axis: i64, start: Option<i64>, end: Option<i64>, step: i64) -> Result<Tensor> {
        let y = kiln_ops::slice(&self.raw(), axis, start, end, step).here()?;
        Ok(self.part("SliceBackward0", y, move |z| kiln_ops::slice(z, axis, start, end, step)))
    }

    /// Index `index` of `axis`, which disappears (`torch.select`).
    ///
    /// # Errors
    /// An axis or index out of range.
    #[track_caller]
    pub fn select(&self, axis: i64, index: i64) -> Result<Tensor> {
        let y = kiln_ops::select(&self.raw(), axis, index).here()?;
        Ok(self.part("SelectBackward0", y, move |z| kiln_ops::select(z, axis, index)))
    }

    /// The diagonal `offset` of the planes of axes `a` and `b`, as the last axis (`torch.diagonal`).
    ///
    /// # Errors
    /// An axis out of range, or the same axis twice.
    #[track_caller]
    pub fn diagonal(&self, offset: i64, a: i64, b: i64) -> Result<Tensor> {
        let y = kiln_ops::diagonal(&self.raw(), offset, a, b).here()?;
        Ok(self.part("DiagonalBackward0", y, move |z| kiln_ops::diagonal(z, offset, a, b)))
    }

    /// Windows of `size` elements of `axis`, `step` apart; the window becomes the last axis (`Tensor.unfold`).
    ///
    /// # Errors
    /// An axis out of range, a step of 0, or a window longer than the axis.
    #[track_caller]
    pub fn unfold(&self, axis: i64, size: i64, step: i64) -> Result<Tensor> {
        let y = kiln_ops::unfold(&self.raw(), axis, size, step).here()?;
        Ok(self.viewed("UnfoldBackward0", y, || {
            // The windows of a dense tensor: this one's own elements may share memory, its gradient's do not.
            let base = Layout::contiguous(self.shape());
            let at = axis.rem_euclid(self.rank().max(1) as i64) as usize;
            let windows = base.unfold(at, size as usize, step as usize);
            move |g: &Tensor| as_strided_backward(g, &base, &windows)
        }))
    }

    /// Any layout over this tensor's memory (`torch.as_strided`).
    ///
    /// # Errors
    /// The layout reaches past the memory.
    #[track_caller]
    pub fn as_strided(&self, size: &[i64], stride: &[i64], offset: Option<i64>) -> Result<Tensor> {
        let y = kiln_ops::as_strided(&self.raw(), size, stride, offset).here()?;
        let layout = y.layout().clone();
        Ok(self.strided("AsStridedBackward0", y, layout))
    }

    fn strided(&self, name: &'static str, y: RawTensor, view: Layout) -> Tensor {
        self.viewed(name, y, || {
            let base = self.raw().layout().clone();
            move |g: &Tensor| as_strided_backward(g, &base, &view)
        })
    }
}

/// Zeros of `shape` with `g` where `part` picks a view.
fn put(g: &Tensor, shape: &Shape, part: &dyn Fn(&RawTensor) -> Result<RawTensor>) -> Result<Tensor> {
    let zeros = kiln_ops::full(shape, 0.into(), g.dtype(), g.device())?;
    let zeros = Tensor::from_raw(zeros);
    let at = Tensor::with_source(part(&zeros.raw())?, None, Some(zeros.clone()));
    at.copy_(g)?;
    Ok(zeros)
}

/// The history of a view of `base` at `layout`, as the base is now: PyTorch's `AsStridedBackward0`.
pub(crate) fn view_history(base: &Tensor, layout: &Layout) -> Option<Edge> {
    let edge = base.edge()?;
    let raw = base.raw();
    let meta = Meta { shape: layout.shape().clone(), dtype: raw.dtype(), device: raw.device() };
    let (base_layout, view) = (raw.layout().clone(), layout.clone());
    let place = edge.node.place;
    let node = Node::joint(
        "AsStridedBackward0",
        place,
        SmallVec::from_iter([Some(edge)]),
        SmallVec::from_buf([meta]),
        Backward::Joint(Box::new(move |grads, _| {
            let Some(g) = &grads[0] else { return Ok(vec![None]) };
            Ok(vec![Some(as_strided_backward(g, &base_layout, &view)?)])
        })),
        false,
    );
    Some(Edge { node, output: 0 })
}

/// The gradient of a base from that of its view at `view`: the view's in its places, zero elsewhere.
fn as_strided_backward(g: &Tensor, base: &Layout, view: &Layout) -> Result<Tensor> {
    // Elements that the view shows several times collect the gradient of each showing.
    let span = base.span();
    let flat = Tensor::from_raw(kiln_ops::full(&Shape::new(&[span.len()]), 0.into(), g.dtype(), g.device())?);
    let mut positions = Vec::with_capacity(view.numel());
    view.for_each_position(|p| positions.push(p.wrapping_sub(span.start) as i64));
    let n = positions.len();
    let mut g = g.reshape([n])?;
    // What the view shows of the memory outside of its base does not belong to the base.
    let within = |p: i64| usize::try_from(p).is_ok_and(|p| p < span.len());
    if !positions.iter().all(|&p| within(p)) {
        let kept: Vec<i64> = (0..n as i64).filter(|&i| within(positions[i as usize])).collect();
        g = g.index_select(0, &Tensor::from_slice(&kept, [kept.len()])?.to_device(g.device())?)?;
        positions.retain(|&p| within(p));
    }
    let positions = Tensor::from_slice(&positions, [positions.len()])?.to_device(g.device())?;
    let flat = flat.index_add(0, &positions, &g)?;
    let layout = Layout::new(base.shape().clone(), base.strides(), 0)?;
    let sizes: Vec<i64> = layout.shape().iter().map(|&s| s as i64).collect();
    let strides: Vec<i64> = layout.strides().iter().map(|&s| s as i64).collect();
    flat.as_strided(&sizes, &strides, Some(0))
}

/// A copy of `t` with the layout of `base` (but starting at 0).
#[track_caller]
pub(crate) fn dense_copy(t: &Tensor, base: &Layout) -> Result<Tensor> {
    let flat = kiln_ops::full(&Shape::new(&[base.span().len()]), 0.into(), t.dtype(), t.device()).here()?;
    let layout = Layout::new(base.shape().clone(), base.strides(), 0).here()?;
    let out = RawTensor::new("as_strided_backward", flat.storage().clone(), layout, flat.dtype()).here()?;
    kiln_ops::copy_(&out, &t.raw()).here()?;
    Ok(record("CloneBackward0", out).input(t, || |g: &Tensor| Ok(g.clone())).done())
}

/// The part of `dense`, which has the layout of `base`, that a view of the base at `view` covers.
#[track_caller]
pub(crate) fn view_of_dense(dense: &Tensor, base: &Layout, view: &Layout) -> Result<Tensor> {
    const OP: &str = "as_strided_backward";
    let offset = view
        .offset()
        .checked_sub(base.offset())
        .ok_or_else(|| {
            Error::autograd(
                OP,
                "the view starts before its base; write through a view of the whole memory instead",
            )
        })
        .here()?;
    let raw = dense.raw();
    let layout = Layout::new(view.shape().clone(), view.strides(), offset).here()?;
    let storage: Storage = raw.storage().clone();
    let part = RawTensor::new(OP, storage, layout.clone(), raw.dtype()).here()?;
    drop(raw);
    let recorded = Tensor::any_requires_grad(&[dense]);
    let source = if recorded { view_history(dense, &layout) } else { None };
    Ok(Tensor::with_source(part, source, Some(dense.clone())))
}
