//! Masks: filling, reading and writing where they are true, and where that is.

use kiln_ops::RawTensor;

use super::index::zeros;
use crate::arg::Arg;
use crate::record::{Recorder, record};
use crate::{Here, Result, Tensor, inplace};

impl Tensor {
    /// A copy with one value, a number or a 0-dim tensor, where `mask` holds; both broadcast (`torch.masked_fill`).
    ///
    /// # Errors
    /// `mask` is not bool; shapes that do not broadcast; a value with axes or beyond the dtype; different devices.
    #[track_caller]
    pub fn masked_fill<'a>(&self, mask: &Tensor, value: impl Into<Arg<'a>>) -> Result<Tensor> {
        self.fill_where(mask, value.into())
    }

    #[track_caller]
    fn fill_where(&self, mask: &Tensor, value: Arg<'_>) -> Result<Tensor> {
        let y = value.with(|v| kiln_ops::masked_fill(&self.raw(), &mask.raw(), v)).here()?;
        Ok(self.record_masked_fill(y, mask, value).done())
    }

    /// In-place form of [`Tensor::masked_fill`].
    ///
    /// # Errors
    /// As the out-of-place form; a leaf that requires grad; elements that share memory.
    #[track_caller]
    pub fn masked_fill_<'a>(&self, mask: &Tensor, value: impl Into<Arg<'a>>) -> Result<()> {
        self.fill_where_(mask, value.into())
    }

    #[track_caller]
    fn fill_where_(&self, mask: &Tensor, value: Arg<'_>) -> Result<()> {
        inplace::check("masked_fill_", self)?;
        value.with(|v| kiln_ops::masked_fill_(&self.raw(), &mask.raw(), v)).here()?;
        let y = self.raw().clone();
        self.record_masked_fill(y, mask, value).done_in_place(self)
    }

    fn record_masked_fill(&self, y: RawTensor, mask: &Tensor, value: Arg<'_>) -> Recorder {
        let name = if value.tensor().is_some() { "MaskedFillBackward1" } else { "MaskedFillBackward0" };
        let rec = record(name, y).input(self, || {
            let mask = mask.save();
            move |g: &Tensor| g.masked_fill(&mask.get()?, 0)
        });
        let Some(value) = value.tensor() else { return rec };
        rec.input(value, || {
            let mask = mask.save();
            move |g: &Tensor| g.masked_fill(&mask.get()?.logical_not()?, 0)?.sum()
        })
    }

    /// The elements where `mask` holds, in row-major order; both broadcast (`torch.masked_select`).
    ///
    /// # Errors
    /// `mask` is not bool; shapes that do not broadcast; different devices.
    #[track_caller]
    pub fn masked_select(&self, mask: &Tensor) -> Result<Tensor> {
        let y = kiln_ops::masked_select(&self.raw(), &mask.raw()).here()?;
        Ok(record("MaskedSelectBackward0", y)
            .input(self, || {
                let (shape, mask) = (self.shape(), mask.save());
                move |g: &Tensor| {
                    // masked_scatter broadcasts the zeros to the mask; the engine sums to this tensor's shape.
                    let zeros = zeros(&shape, g)?;
                    zeros.masked_scatter(&mask.get()?, g)
                }
            })
            .done())
    }

    /// A copy with the elements of `source`, in row-major order, where `mask` holds (`torch.masked_scatter`).
    ///
    /// # Errors
    /// `mask` is not bool or does not broadcast; a source of another dtype or with too few elements.
    #[track_caller]
    pub fn masked_scatter(&self, mask: &Tensor, source: &Tensor) -> Result<Tensor> {
        let y = kiln_ops::masked_scatter(&self.raw(), &mask.raw(), &source.raw()).here()?;
        Ok(self.record_masked_scatter(y, mask, source).done())
    }

    /// In-place form of [`Tensor::masked_scatter`].
    ///
    /// # Errors
    /// As the out-of-place form; a leaf that requires grad; elements that share memory.
    #[track_caller]
    pub fn masked_scatter_(&self, mask: &Tensor, source: &Tensor) -> Result<()> {
        inplace::check("masked_scatter_", self)?;
        kiln_ops::masked_scatter_(&self.raw(), &mask.raw(), &source.raw()).here()?;
        let y = self.raw().clone();
        self.record_masked_scatter(y, mask, source).done_in_place(self)
    }

    fn record_masked_scatter(&self, y: RawTensor, mask: &Tensor, source: &Tensor) -> Recorder {
        record("MaskedScatterBackward0", y)
            .input(self, || {
                let mask = mask.save();
                move |g: &Tensor| g.masked_fill(&mask.get()?, 0)
            })
            .input(source, || {
                let (mask, shape) = (mask.save(), source.shape());
                move |g: &Tensor| {
                    // The first elements of the source were written, the others were not.
                    let used = g.masked_select(&mask.get()?.expand(g.shape())?)?;
                    let unused = (shape.numel() - used.numel()) as i64;
                    used.pad(&[0, unused], kiln_ops::PadMode::Constant(0.into()))?.reshape(&shape)
                }
            })
    }

    /// The indices of the elements that are not zero, one row each: int64 of shape `[n, rank]` (`torch.nonzero`).
    ///
    /// # Errors
    /// Memory that is lent out or not there.
    #[track_caller]
    pub fn nonzero(&self) -> Result<Tensor> {
        Ok(Tensor::from_raw(kiln_ops::nonzero(&self.raw()).here()?))
    }

    /// The first `size` rows of [`Tensor::nonzero`]; where there are fewer, `fill` stands in the others
    /// (`torch.nonzero_static`).
    ///
    /// # Errors
    /// As [`Tensor::nonzero`].
    #[track_caller]
    pub fn nonzero_static(&self, size: usize, fill: i64) -> Result<Tensor> {
        let found = self.nonzero()?;
        let count = found.shape()[0];
        if count >= size {
            return found.narrow(0, 0, size as i64);
        }
        found.pad(&[0, 0, 0, (size - count) as i64], kiln_ops::PadMode::Constant(fill.into()))
    }

    /// [`Tensor::nonzero`] (`torch.argwhere`).
    ///
    /// # Errors
    /// As [`Tensor::nonzero`].
    #[track_caller]
    pub fn argwhere(&self) -> Result<Tensor> {
        self.nonzero()
    }

    /// [`Tensor::nonzero`] as one vector for each axis, as [`Tensor::index`] takes them (`torch.where(x)`,
    /// `nonzero(as_tuple=True)`). A 0-dim tensor counts as a vector of one element.
    ///
    /// # Errors
    /// As [`Tensor::nonzero`].
    #[track_caller]
    pub fn where_(&self) -> Result<Vec<Tensor>> {
        Ok(kiln_ops::nonzero_by_axis(&self.raw()).here()?.into_iter().map(Tensor::from_raw).collect())
    }
}
