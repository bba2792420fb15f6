//! Reading and writing with an index for each element, and writing into views of copies.

use std::sync::Arc;

use kiln_ops::Reduction as Reduce;
use kiln_ops::{DType, RawTensor, Shape};

use super::index::zeros;
use crate::arg::Arg;
use crate::record::{Recorder, record};
use crate::{Error, Here, Result, Tensor, grad_mode, inplace};

impl Tensor {
    /// Elements along `axis` at the positions in `index`, which has this tensor's rank (`torch.gather`).
    ///
    /// # Errors
    /// An axis or index out of range; an index tensor of another rank or larger on another axis.
    #[track_caller]
    pub fn gather(&self, axis: i64, index: &Tensor) -> Result<Tensor> {
        let y = kiln_ops::gather(&self.raw(), axis, &index.raw()).here()?;
        Ok(record("GatherBackward0", y)
            .input(self, || {
                let (shape, index) = (self.shape(), index.save());
                move |g: &Tensor| {
                    let zeros = zeros(&shape, g)?;
                    // Nothing was picked, whatever the index would have been.
                    if g.numel() == 0 {
                        return Ok(zeros);
                    }
                    zeros.scatter_add(axis, &index.get()?, g)
                }
            })
            .done())
    }

    /// [`Tensor::gather`] with both tensors broadcast on the other axes; negative positions count from the end. Without
    /// an axis, positions of the flattened tensor (`torch.take_along_dim`).
    ///
    /// # Errors
    /// As [`Tensor::gather`]; an index that is not int64; shapes that do not broadcast.
    #[track_caller]
    pub fn take_along_dim(&self, index: &Tensor, axis: impl Into<Option<i64>>) -> Result<Tensor> {
        let Some(axis) = axis.into() else {
            return self.flatten(0, -1)?.take_along_dim(&index.flatten(0, -1)?, 0);
        };
        let y = kiln_ops::take_along_dim(&self.raw(), &index.raw(), Some(axis)).here()?;
        Ok(record("GatherBackward0", y)
            .input(self, || {
                let (shape, index) = (self.shape(), index.save());
                move |g: &Tensor| {
                    if shape.rank() == 0 {
                        return Ok(g.clone());
                    }
                    let at = shape.axis("take_along_dim", axis)?;
                    let index = index.get()?;
                    let index = index.add(&index.lt(0)?.to_dtype(DType::I64)?.mul(shape[at])?)?;
                    // What was broadcast, the engine sums.
                    let zeros = zeros(&g.shape().with(at, shape[at]), g)?;
                    zeros.scatter_add(axis, &index.expand(g.shape().with(at, index.shape()[at]))?, g)
                }
            })
            .done())
    }

    /// A copy with the elements of `source`, a tensor at least as large as the index or a number, written along `axis`
    /// at the positions in `index` (`torch.scatter`).
    ///
    /// # Errors
    /// As [`Tensor::gather`]; a source of another dtype, or smaller than the index.
    #[track_caller]
    pub fn scatter<'a>(&self, axis: i64, index: &Tensor, source: impl Into<Arg<'a>>) -> Result<Tensor> {
        let source = source.into();
        let y = source.with(|s| kiln_ops::scatter(&self.raw(), axis, &index.raw(), s)).here()?;
        Ok(self.record_scatter(y, axis, index, source).done())
    }

    /// In-place form of [`Tensor::scatter`].
    ///
    /// # Errors
    /// As the out-of-place form; a leaf that requires grad; elements that share memory.
    #[track_caller]
    pub fn scatter_<'a>(&self, axis: i64, index: &Tensor, source: impl Into<Arg<'a>>) -> Result<()> {
        let source = source.into();
        inplace::check("scatter_", self)?;
        source.with(|s| kiln_ops::scatter_(&self.raw(), axis, &index.raw(), s)).here()?;
        let y = self.raw().clone();
        self.record_scatter(y, axis, index, source).done_in_place(self)
    }

    fn record_scatter(&self, y: RawTensor, axis: i64, index: &Tensor, source: Arg<'_>) -> Recorder {
        let name = if source.tensor().is_some() { "ScatterBackward0" } else { "ScatterBackward1" };
        let rec = record(name, y).input(self, || {
            let index = index.save();
            move |g: &Tensor| g.scatter(axis, &index.get()?, 0)
        });
        let Some(source) = source.tensor() else { return rec };
        rec.input(source, || {
            let (index, shape) = (index.save(), source.shape());
            move |g: &Tensor| corner(&g.gather(axis, &index.get()?)?, &shape)
        })
    }

    /// A copy with the elements of `source` added along `axis` at the positions in `index` (`torch.scatter_add`).
    ///
    /// # Errors
    /// An axis or index out of range; shapes or dtypes that do not fit.
    #[track_caller]
    pub fn scatter_add(&self, axis: i64, index: &Tensor, source: &Tensor) -> Result<Tensor> {
        let y = kiln_ops::scatter_add(&self.raw(), axis, &index.raw(), &*source.raw()).here()?;
        Ok(self.record_scatter_add(y, axis, index, source).done())
    }

    /// In-place form of [`Tensor::scatter_add`].
    ///
    /// # Errors
    /// As the out-of-place form; a leaf that requires grad; elements that share memory.
    #[track_caller]
    pub fn scatter_add_(&self, axis: i64, index: &Tensor, source: &Tensor) -> Result<()> {
        inplace::check("scatter_add_", self)?;
        kiln_ops::scatter_add_(&self.raw(), axis, &index.raw(), &*source.raw()).here()?;
        let y = self.raw().clone();
        self.record_scatter_add(y, axis, index, source).done_in_place(self)
    }

    fn record_scatter_add(&self, y: RawTensor, axis: i64, index: &Tensor, source: &Tensor) -> Recorder {
        record("ScatterAddBackward0", y).input_unchanged(self).input(source, || {
            let (index, shape) = (index.save(), source.shape());
            move |g: &Tensor| corner(&g.gather(axis, &index.get()?)?, &shape)
        })
    }

    /// A copy with the elements of `source` combined by `reduce` into the positions in `index` along `axis`; without
    /// `include_self` the old elements of these positions do not count (`torch.scatter_reduce`).
    ///
    /// # Errors
    /// As [`Tensor::scatter`]; the mean of truth values.
    #[track_caller]
    pub fn scatter_reduce(
        &self,
        axis: i64,
        index: &Tensor,
        source: &Tensor,
        reduce: Reduce,
        include_self: bool,
    ) -> Result<Tensor> {
        let y =
            kiln_ops::scatter_reduce(&self.raw(), axis, &index.raw(), &*source.raw(), reduce, include_self)
                .here()?;
        let rule = Reducing { places: Places::Elements(axis), reduce, include_self };
        Ok(rule.record("ScatterReduceBackward0", y, self, self, index, source, source).done())
    }

    /// In-place form of [`Tensor::scatter_reduce`].
    ///
    /// # Errors
    /// As the out-of-place form; a leaf that requires grad; elements that share memory.
    #[track_caller]
    pub fn scatter_reduce_(
        &self,
        axis: i64,
        index: &Tensor,
        source: &Tensor,
        reduce: Reduce,
        include_self: bool,
    ) -> Result<()> {
        inplace::check("scatter_reduce_", self)?;
        let (before, read) = operands_before(self, source)?;
        kiln_ops::scatter_reduce_(&self.raw(), axis, &index.raw(), &*source.raw(), reduce, include_self)
            .here()?;
        let rule = Reducing { places: Places::Elements(axis), reduce, include_self };
        let y = self.raw().clone();
        rule.record("ScatterReduceBackward0", y, self, &before, index, source, &read).done_in_place(self)
    }

    /// A copy with `src` in the place of [`Tensor::select`]`(axis, index)` (`torch.select_scatter`).
    ///
    /// # Errors
    /// An axis or index out of range; a source of another shape than that place.
    #[track_caller]
    pub fn select_scatter(&self, src: &Tensor, axis: i64, index: i64) -> Result<Tensor> {
        self.place("select_scatter", "SelectScatterBackward0", src, Arc::new(move |t| t.select(axis, index)))
    }

    /// A copy with `src` in the place of [`Tensor::slice`]`(axis, start, end, step)` (`torch.slice_scatter`).
    ///
    /// # Errors
    /// An axis out of range, a step below 1; a source of another shape than that place.
    #[track_caller]
    pub fn slice_scatter(
        &self,
        src: &Tensor,
        axis: i64,
        start: Option<i64>,
        end: Option<i64>,
        step: i64,
    ) -> Result<Tensor> {
        let part = move |t: &Tensor| t.slice(axis, start, end, step);
        self.place("slice_scatter", "SliceScatterBackward0", src, Arc::new(part))
    }

    /// A copy with `src` in the place of [`Tensor::diagonal`]`(offset, a, b)` (`torch.diagonal_scatter`).
    ///
    /// # Errors
    /// An axis out of range, or the same axis twice; a source of another shape than that place.
    #[track_caller]
    pub fn diagonal_scatter(&self, src: &Tensor, offset: i64, a: i64, b: i64) -> Result<Tensor> {
        let part = move |t: &Tensor| t.diagonal(offset, a, b);
        self.place("diagonal_scatter", "DiagonalScatterBackward0", src, Arc::new(part))
    }

    /// A copy with `src` in the place of the view that `part` makes.
    #[track_caller]
    fn place(
        &self,
        op: &'static str,
        name: &'static str,
        src: &Tensor,
        part: Arc<dyn Fn(&Tensor) -> Result<Tensor> + Send + Sync>,
    ) -> Result<Tensor> {
        let y = kiln_ops::contiguous_copy(&self.raw()).here()?;
        let at = part(&Tensor::from_raw(y.clone())).here()?;
        if at.shape() != src.shape() {
            return Err(Error::shape(
                op,
                format!(
                    "expected src to have a size equal to the slice of self. src size = {:?}, slice size = {:?}",
                    src.shape(),
                    at.shape()
                ),
            ));
        }
        kiln_ops::copy_(&at.raw(), &src.raw()).here()?;
        Ok(record(name, y)
            .input(self, || {
                let part = part.clone();
                move |g: &Tensor| {
                    let zero = part(&g.detach())?.zeros_like()?;
                    g.place(op, name, &zero, part.clone())
                }
            })
            .input(src, || move |g: &Tensor| part(g))
            .done())
    }
}

/// What a reduction's derivatives read when it happens in place: both operands as they were before.
#[track_caller]
pub(super) fn operands_before(x: &Tensor, source: &Tensor) -> Result<(Tensor, Tensor)> {
    if !Tensor::any_requires_grad(&[x, source]) {
        return Ok((x.clone(), source.clone()));
    }
    let read = if source.shares_storage(x) { source.snapshot()? } else { source.clone() };
    Ok((x.snapshot()?, read))
}

/// What an index names along an axis.
#[derive(Clone, Copy)]
pub(super) enum Places {
    /// An element for each element of the source: gather and scatter.
    Elements(i64),
    /// A slice for each slice of the source.
    Slices(i64),
}

impl Places {
    /// The places of `t`, in the shape of the source.
    fn pick(self, t: &Tensor, index: &Tensor, source: &Shape) -> Result<Tensor> {
        match self {
            Places::Elements(axis) => t.gather(axis, index),
            Places::Slices(axis) => t.index_select(axis, index)?.reshape(source),
        }
    }

    fn add(self, t: &Tensor, index: &Tensor, source: &Tensor) -> Result<Tensor> {
        match self {
            Places::Elements(axis) => t.scatter_add(axis, index, source),
            Places::Slices(axis) => t.index_add(axis, index, source),
        }
    }

    /// `t` with zeros in the places.
    fn clear(self, t: &Tensor, index: &Tensor) -> Result<Tensor> {
        match self {
            Places::Elements(axis) => t.scatter(axis, index, 0),
            // An index of dtype int32 is no index for index_fill.
            Places::Slices(axis) => t.index_fill(axis, &index.to_dtype(DType::I64)?, 0),
        }
    }

    /// The part of a source that the index covers.
    fn covered(self, source: &Tensor, index: &Tensor) -> Result<Tensor> {
        match self {
            Places::Elements(_) if source.shape() != index.shape() && source.rank() == index.rank() => (0
                ..index.rank())
                .try_fold(source.clone(), |t, a| t.narrow(a as i64, 0, index.shape()[a] as i64)),
            _ => Ok(source.clone()),
        }
    }
}

/// A reduction into places of a tensor.
#[derive(Clone, Copy)]
pub(super) struct Reducing {
    pub places: Places,
    pub reduce: Reduce,
    pub include_self: bool,
}

impl Reducing {
    /// Records the reduction of `source` into `x`. `before` and `read` are their values for the derivatives.
    #[allow(clippy::too_many_arguments)]
    pub fn record(
        self,
        name: &'static str,
        y: RawTensor,
        x: &Tensor,
        before: &Tensor,
        index: &Tensor,
        source: &Tensor,
        read: &Tensor,
    ) -> Recorder {
        record(name, y)
            .input_from_output(x, || {
                let (x, index, source) = (before.save(), index.save(), read.save());
                move |g: &Tensor, y: &Tensor| {
                    let index = index.get()?;
                    let source = self.places.covered(&source.get()?, &index)?;
                    self.grad_self(g, y, &x.get()?, &index, &source)
                }
            })
            .input_from_output(source, || {
                let (x, index, source) = (before.save(), index.save(), read.save());
                move |g: &Tensor, y: &Tensor| {
                    let (index, source) = (index.get()?, source.get()?);
                    let covered = self.places.covered(&source, &index)?;
                    corner(&self.grad_source(g, y, &x.get()?, &index, &covered)?, &source.shape())
                }
            })
    }

    fn apply(self, x: &Tensor, index: &Tensor, source: &Tensor) -> Result<Tensor> {
        match self.places {
            Places::Elements(axis) => x.scatter_reduce(axis, index, source, self.reduce, self.include_self),
            Places::Slices(axis) => x.index_reduce(axis, index, source, self.reduce, self.include_self),
        }
    }

    fn pick(self, t: &Tensor, index: &Tensor, source: &Tensor) -> Result<Tensor> {
        self.places.pick(t, index, &source.shape())
    }

    /// How many elements went into each element of a mean.
    fn counts(self, g: &Tensor, index: &Tensor, source: &Tensor) -> Result<Tensor> {
        let own = g.detach().full_like(i32::from(self.include_self))?;
        self.places.add(&own, index, &source.detach().ones_like()?)?.maximum(1.0)
    }

    /// The gradient divided among the elements that are the extreme.
    fn shared(self, g: &Tensor, y: &Tensor, x: &Tensor, index: &Tensor, source: &Tensor) -> Result<Tensor> {
        let own = x.eq(y)?.to_dtype(x.dtype())?;
        let hits = source.eq(&self.pick(y, index, source)?)?.to_dtype(x.dtype())?;
        g.div(&self.places.add(&own, index, &hits)?)
    }

    fn grad_self(
        self,
        g: &Tensor,
        y: &Tensor,
        x: &Tensor,
        index: &Tensor,
        source: &Tensor,
    ) -> Result<Tensor> {
        let grad = match self.reduce {
            Reduce::Sum => g.clone(),
            Reduce::Mean => g.div(&self.counts(g, index, source)?)?,
            Reduce::Prod => {
                // The product of the others, also where the element itself is zero.
                let ones = x.masked_fill(&x.eq(0)?, 1)?;
                g.mul(&self.apply(&ones, index, source)?)?.div(&ones)?
            }
            Reduce::Amax | Reduce::Amin => {
                x.eq(y)?.to_dtype(g.dtype())?.mul(&self.shared(g, y, x, index, source)?)?
            }
        };
        if self.include_self { Ok(grad) } else { self.places.clear(&grad, index) }
    }

    fn grad_source(
        self,
        g: &Tensor,
        y: &Tensor,
        x: &Tensor,
        index: &Tensor,
        source: &Tensor,
    ) -> Result<Tensor> {
        match self.reduce {
            Reduce::Sum => self.pick(g, index, source),
            Reduce::Mean => {
                let counts = self.counts(g, index, source)?;
                self.pick(g, index, source)?.div(&self.pick(&counts, index, source)?)
            }
            Reduce::Prod => {
                let zero = source.eq(0)?;
                let counts = self.places.add(&x.detach().zeros_like()?, index, &zero.to_dtype(x.dtype())?)?;
                let counts = self.pick(&counts, index, source)?;
                // The slope of a zero is the product of the others: with it alone replaced by 1. Of several zeros in one
                // place none has a slope.
                let single = zero.logical_and(&counts.eq(1)?)?;
                let without = self.apply(x, index, &source.masked_fill(&single, 1)?)?;
                let at_single = self.pick(&g.mul(&without)?, index, source)?;
                let plain = self.pick(&g.mul(y)?, index, source)?.div(&source.masked_fill(&zero, 1)?)?;
                let grad = at_single.where_self(&single, &plain)?;
                if grad_mode::is_tracked() && counts.gt(1)?.any()?.item()?.is_true() {
                    return Ok(once_differentiable(&grad));
                }
                Ok(grad)
            }
            Reduce::Amax | Reduce::Amin => {
                let shared = self.shared(g, y, x, index, source)?;
                let hits = source.eq(&self.pick(y, index, source)?)?.to_dtype(g.dtype())?;
                hits.mul(&self.pick(&shared, index, source)?)
            }
        }
    }
}

/// `t`, whose own derivative would be wrong and is an error instead.
fn once_differentiable(t: &Tensor) -> Tensor {
    record("DelayedErrorBackward0", t.raw().clone())
        .input(t, || {
            |_: &Tensor| {
                Err(Error::autograd(
                    "scatter_reduce",
                    "double backward of prod is not supported for a source with more than one zero for the same place",
                ))
            }
        })
        .done()
}

/// `t` in the first corner of zeros of `shape`: the gradient of a source of which an index covers a part.
fn corner(t: &Tensor, shape: &Shape) -> Result<Tensor> {
    if t.shape() == *shape {
        return Ok(t.clone());
    }
    if t.rank() != shape.rank() {
        return t.reshape(shape);
    }
    let out = zeros(shape, t)?;
    let mut part = out.clone();
    for (axis, &size) in t.shape().iter().enumerate() {
        part = part.narrow(axis as i64, 0, size as i64)?;
    }
    part.copy_(t)?;
    Ok(out)
}
