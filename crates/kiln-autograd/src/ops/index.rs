//! Picking and placing slices along an axis, elements of the flattened tensor, and elements by index tensors.

use kiln_ops::{Reduction as Reduce, Scalar};

use super::scatter::{Places, Reducing};
use crate::arg::Arg;
use crate::collect::Collect;
use crate::record::{Recorder, Saved, record};
use crate::{Here, RawTensor, Result, Shape, Tensor, inplace, is_autocast_enabled};

impl Tensor {
    /// Slices of `axis` at the positions in `index`, a vector of integers (`torch.index_select`).
    ///
    /// # Errors
    /// An axis or index out of range; an index tensor that is not a vector of integers.
    #[track_caller]
    pub fn index_select(&self, axis: i64, index: &Tensor) -> Result<Tensor> {
        let y = kiln_ops::index_select(&self.raw(), axis, &index.raw()).here()?;
        Ok(record("IndexSelectBackward0", y)
            .input(self, || {
                let (shape, index) = (self.shape(), index.save());
                move |g: &Tensor| {
                    let zeros = zeros(&shape, g)?;
                    zeros.index_add(axis, &index.get()?, g)
                }
            })
            .done())
    }

    /// A copy with the slices of `source` along `axis` added at the positions in `index` (`torch.index_add`).
    ///
    /// # Errors
    /// An axis or index out of range; shapes or dtypes that do not fit.
    #[track_caller]
    pub fn index_add(&self, axis: i64, index: &Tensor, source: &Tensor) -> Result<Tensor> {
        self.index_add_scaled(axis, index, source, 1)
    }

    /// [`Tensor::index_add`] of `alpha` times the source (`torch.index_add(alpha=)`).
    ///
    /// # Errors
    /// As [`Tensor::index_add`].
    #[track_caller]
    pub fn index_add_scaled(
        &self,
        axis: i64,
        index: &Tensor,
        source: &Tensor,
        alpha: impl Into<Scalar>,
    ) -> Result<Tensor> {
        let alpha = alpha.into();
        let y = kiln_ops::index_add(&self.raw(), axis, &index.raw(), &source.raw(), alpha).here()?;
        Ok(self.record_index_add(y, axis, index, source, alpha).done())
    }

    /// In-place form of [`Tensor::index_add`].
    ///
    /// # Errors
    /// As the out-of-place form; a leaf that requires grad; elements that share memory.
    #[track_caller]
    pub fn index_add_(&self, axis: i64, index: &Tensor, source: &Tensor) -> Result<()> {
        self.index_add_scaled_(axis, index, source, 1)
    }

    /// In-place form of [`Tensor::index_add_scaled`].
    ///
    /// # Errors
    /// As the out-of-place form; a leaf that requires grad; elements that share memory.
    #[track_caller]
    pub fn index_add_scaled_(
        &self,
        axis: i64,
        index: &Tensor,
        source: &Tensor,
        alpha: impl Into<Scalar>,
    ) -> Result<()> {
        let alpha = alpha.into();
        inplace::check("index_add_", self)?;
        kiln_ops::index_add_(&self.raw(), axis, &index.raw(), &source.raw(), alpha).here()?;
        let y = self.raw().clone();
        self.record_index_add(y, axis, index, source, alpha).done_in_place(self)
    }

    fn record_index_add(
        &self,
        y: RawTensor,
        axis: i64,
        index: &Tensor,
        source: &Tensor,
        alpha: Scalar,
    ) -> Recorder {
        record("IndexAddBackward0", y).input_unchanged(self).input(source, || {
            let (index, shape) = (index.save(), source.shape());
            move |g: &Tensor| {
                let picked = g.index_select(axis, &index.get()?)?.reshape(&shape)?;
                if alpha.to_f64() == 1.0 { Ok(picked) } else { picked.mul(alpha) }
            }
        })
    }

    /// A copy with the slices of `source` at the positions in `index` along `axis` (`torch.index_copy`).
    ///
    /// # Errors
    /// An axis or index out of range; shapes or dtypes that do not fit; an index that is not int64.
    #[track_caller]
    pub fn index_copy(&self, axis: i64, index: &Tensor, source: &Tensor) -> Result<Tensor> {
        // On PyTorch's list of operations in the widest dtype of their operands.
        if is_autocast_enabled() && self.dtype() != source.dtype() {
            let dtype = self.dtype().promote(source.dtype());
            return self.to_dtype(dtype)?.index_copy(axis, index, &source.to_dtype(dtype)?);
        }
        let y = kiln_ops::index_copy(&self.raw(), axis, &index.raw(), &source.raw()).here()?;
        Ok(self.record_index_copy(y, axis, index, source).done())
    }

    /// In-place form of [`Tensor::index_copy`].
    ///
    /// # Errors
    /// As the out-of-place form; a leaf that requires grad; elements that share memory.
    #[track_caller]
    pub fn index_copy_(&self, axis: i64, index: &Tensor, source: &Tensor) -> Result<()> {
        inplace::check("index_copy_", self)?;
        kiln_ops::index_copy_(&self.raw(), axis, &index.raw(), &source.raw()).here()?;
        let y = self.raw().clone();
        self.record_index_copy(y, axis, index, source).done_in_place(self)
    }

    fn record_index_copy(&self, y: RawTensor, axis: i64, index: &Tensor, source: &Tensor) -> Recorder {
        record("IndexCopyBackward0", y)
            .input(self, || {
                let index = index.save();
                move |g: &Tensor| g.index_fill(axis, &index.get()?, 0)
            })
            .input(source, || {
                let (index, shape) = (index.save(), source.shape());
                move |g: &Tensor| g.index_select(axis, &index.get()?)?.reshape(&shape)
            })
    }

    /// A copy with one value, a number or a 0-dim tensor, at the positions in `index` along `axis`
    /// (`torch.index_fill`).
    ///
    /// # Errors
    /// An axis or index out of range; an index that is not a vector of int64; a value that does not fit the dtype.
    #[track_caller]
    pub fn index_fill<'a>(&self, axis: i64, index: &Tensor, value: impl Into<Arg<'a>>) -> Result<Tensor> {
        let value = value.into();
        let y = value.with(|v| kiln_ops::index_fill(&self.raw(), axis, &index.raw(), v)).here()?;
        Ok(self.record_index_fill(y, axis, index, value).done())
    }

    /// In-place form of [`Tensor::index_fill`].
    ///
    /// # Errors
    /// As the out-of-place form; a leaf that requires grad; elements that share memory.
    #[track_caller]
    pub fn index_fill_<'a>(&self, axis: i64, index: &Tensor, value: impl Into<Arg<'a>>) -> Result<()> {
        let value = value.into();
        inplace::check("index_fill_", self)?;
        value.with(|v| kiln_ops::index_fill_(&self.raw(), axis, &index.raw(), v)).here()?;
        let y = self.raw().clone();
        self.record_index_fill(y, axis, index, value).done_in_place(self)
    }

    fn record_index_fill(&self, y: RawTensor, axis: i64, index: &Tensor, value: Arg<'_>) -> Recorder {
        let name = if value.tensor().is_some() { "IndexFillBackward1" } else { "IndexFillBackward0" };
        let rec = record(name, y).input(self, || {
            let index = index.save();
            move |g: &Tensor| g.index_fill(axis, &index.get()?, 0)
        });
        let Some(value) = value.tensor() else { return rec };
        rec.input(value, || {
            let index = index.save();
            move |g: &Tensor| {
                // A position that the index names several times holds the value once.
                let untouched = g.detach().ones_like()?.index_fill(axis, &index.get()?, 0)?.ne(0)?;
                g.masked_fill(&untouched, 0)?.sum()
            }
        })
    }

    /// A copy with the slices of `source` combined by `reduce` into the positions in `index` along `axis`; without
    /// `include_self` the old elements of these positions do not count (`torch.index_reduce`).
    ///
    /// # Errors
    /// An axis or index out of range; shapes or dtypes that do not fit; a sum, for which there is
    /// [`Tensor::index_add`].
    #[track_caller]
    pub fn index_reduce(
        &self,
        axis: i64,
        index: &Tensor,
        source: &Tensor,
        reduce: Reduce,
        include_self: bool,
    ) -> Result<Tensor> {
        let y = kiln_ops::index_reduce(&self.raw(), axis, &index.raw(), &source.raw(), reduce, include_self)
            .here()?;
        let rule = Reducing { places: Places::Slices(axis), reduce, include_self };
        Ok(rule.record("IndexReduceBackward0", y, self, self, index, source, source).done())
    }

    /// In-place form of [`Tensor::index_reduce`].
    ///
    /// # Errors
    /// As the out-of-place form; a leaf that requires grad; elements that share memory.
    #[track_caller]
    pub fn index_reduce_(
        &self,
        axis: i64,
        index: &Tensor,
        source: &Tensor,
        reduce: Reduce,
        include_self: bool,
    ) -> Result<()> {
        inplace::check("index_reduce_", self)?;
        let (before, read) = super::scatter::operands_before(self, source)?;
        kiln_ops::index_reduce_(&self.raw(), axis, &index.raw(), &source.raw(), reduce, include_self)
            .here()?;
        let rule = Reducing { places: Places::Slices(axis), reduce, include_self };
        let y = self.raw().clone();
        rule.record("IndexReduceBackward0", y, self, &before, index, source, &read).done_in_place(self)
    }

    /// Elements of the flattened tensor, in the shape of `index` (`torch.take`). Negative positions count from the end.
    ///
    /// # Errors
    /// An index out of range or not int64.
    #[track_caller]
    pub fn take(&self, index: &Tensor) -> Result<Tensor> {
        let y = kiln_ops::take(&self.raw(), &index.raw()).here()?;
        Ok(record("TakeBackward0", y)
            .input(self, || {
                let (shape, index) = (self.shape(), index.save());
                move |g: &Tensor| {
                    let zeros = zeros(&shape, g)?;
                    zeros.put(&index.get()?, g, true)
                }
            })
            .done())
    }

    /// A copy with the elements of `source` at positions of the flattened tensor, or added there (`torch.put`).
    ///
    /// # Errors
    /// An index out of range or not int64; a source of another dtype or number of elements.
    #[track_caller]
    pub fn put(&self, index: &Tensor, source: &Tensor, accumulate: bool) -> Result<Tensor> {
        let y = kiln_ops::put(&self.raw(), &index.raw(), &source.raw(), accumulate).here()?;
        Ok(self.record_put(y, index, source, accumulate).done())
    }

    /// In-place form of [`Tensor::put`].
    ///
    /// # Errors
    /// As the out-of-place form; a leaf that requires grad; elements that share memory.
    #[track_caller]
    pub fn put_(&self, index: &Tensor, source: &Tensor, accumulate: bool) -> Result<()> {
        inplace::check("put_", self)?;
        kiln_ops::put_(&self.raw(), &index.raw(), &source.raw(), accumulate).here()?;
        let y = self.raw().clone();
        self.record_put(y, index, source, accumulate).done_in_place(self)
    }

    fn record_put(&self, y: RawTensor, index: &Tensor, source: &Tensor, accumulate: bool) -> Recorder {
        record("PutBackward0", y)
            .input(self, || {
                let index = index.save();
                move |g: &Tensor| {
                    if accumulate {
                        return Ok(g.clone());
                    }
                    let index = index.get()?;
                    let zeros = zeros(&index.shape(), g)?;
                    g.put(&index, &zeros, false)
                }
            })
            .input(source, || {
                let (index, shape) = (index.save(), source.shape());
                move |g: &Tensor| g.take(&index.get()?)?.reshape(&shape)
            })
    }

    /// The elements at index tensors, one for each of the first axes; `None` takes all of an axis (`x[i, :, mask]`).
    ///
    /// Integers may be negative and broadcast together; a bool or uint8 mask stands for the indices of its true elements
    /// on as many axes as it has. The result's axes go to the place of the indexed ones if these are neighbours, else
    /// to the front.
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// let x = Tensor::from_vec((0..6).collect::<Vec<i64>>(), [2, 3])?;
    /// let last = Tensor::from_slice(&[-1i64, 0], [2])?;
    /// assert_eq!(x.index(&[None, Some(&last)])?.to_vec::<i64>()?, [2, 0, 5, 3]);
    /// assert_eq!(x.index(&[Some(&x.gt(3)?)])?.to_vec::<i64>()?, [4, 5]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// No index tensor or too many; shapes that do not broadcast; masks of another shape than the axes they are for;
    /// other dtypes; integers out of range.
    #[track_caller]
    pub fn index(&self, indices: &[Option<&Tensor>]) -> Result<Tensor> {
        let y = kiln_ops::index(&self.raw(), &raw_indices(indices)).here()?;
        Ok(record("IndexBackward0", y)
            .input(self, || {
                let (shape, indices) = (self.shape(), SavedIndices::new(indices));
                move |g: &Tensor| {
                    let zeros = zeros(&shape, g)?;
                    indices.with(|i| zeros.index_put(i, g, true))
                }
            })
            .done())
    }

    /// A copy with `values`, broadcast, at the elements that [`Tensor::index`] gives, or added there
    /// (`torch.index_put`).
    ///
    /// # Errors
    /// As [`Tensor::index`]; values of another dtype or of a shape that does not broadcast.
    #[track_caller]
    pub fn index_put(
        &self,
        indices: &[Option<&Tensor>],
        values: &Tensor,
        accumulate: bool,
    ) -> Result<Tensor> {
        let y = kiln_ops::index_put(&self.raw(), &raw_indices(indices), &values.raw(), accumulate).here()?;
        Ok(self.record_index_put(y, indices, values, accumulate).done())
    }

    /// In-place form of [`Tensor::index_put`] (`x[i, j] = values`).
    ///
    /// # Errors
    /// As the out-of-place form; a leaf that requires grad; elements that share memory.
    #[track_caller]
    pub fn index_put_(&self, indices: &[Option<&Tensor>], values: &Tensor, accumulate: bool) -> Result<()> {
        inplace::check("index_put_", self)?;
        kiln_ops::index_put_(&self.raw(), &raw_indices(indices), &values.raw(), accumulate).here()?;
        let y = self.raw().clone();
        self.record_index_put(y, indices, values, accumulate).done_in_place(self)
    }

    fn record_index_put(
        &self,
        y: RawTensor,
        indices: &[Option<&Tensor>],
        values: &Tensor,
        accumulate: bool,
    ) -> Recorder {
        record("IndexPutBackward0", y)
            .input(self, || {
                let indices = SavedIndices::new(indices);
                move |g: &Tensor| {
                    if accumulate {
                        return Ok(g.clone());
                    }
                    let zero = g.new_scalar(0.into())?;
                    indices.with(|i| g.index_put(i, &zero, false))
                }
            })
            .input(values, || {
                // The engine sums the gradient to the shape of the values.
                let indices = SavedIndices::new(indices);
                move |g: &Tensor| indices.with(|i| g.index(i))
            })
    }
}

fn raw_indices(indices: &[Option<&Tensor>]) -> Vec<Option<RawTensor>> {
    indices.iter().map(|i| i.map(|t| t.raw().clone())).collect()
}

/// Index tensors remembered for a derivative.
struct SavedIndices(Vec<Option<Saved>>);

impl SavedIndices {
    fn new(indices: &[Option<&Tensor>]) -> SavedIndices {
        SavedIndices(indices.iter().map(|i| i.map(Tensor::save)).collect())
    }

    #[track_caller]
    fn with(&self, f: impl FnOnce(&[Option<&Tensor>]) -> Result<Tensor>) -> Result<Tensor> {
        let tensors: Vec<Option<Tensor>> =
            self.0.iter().map(|i| i.as_ref().map(Saved::get).transpose()).all_ok().here()?;
        f(&tensors.iter().map(Option::as_ref).collect::<Vec<_>>()).here()
    }
}

/// Zeros of `shape`, of the dtype and device of `like`.
#[track_caller]
pub(super) fn zeros(shape: &Shape, like: &Tensor) -> Result<Tensor> {
    Ok(Tensor::from_raw(kiln_ops::full(shape, 0.into(), like.dtype(), like.device()).here()?))
}
