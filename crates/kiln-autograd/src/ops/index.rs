//! Picking and placing elements by index tensors.

use crate::record::record;
use crate::{Result, Tensor};

impl Tensor {
    /// Slices of `axis` at the positions in `index`, a vector of int64 (`torch.index_select`).
    ///
    /// # Errors
    /// An axis or index out of range; an index tensor that is not a vector of integers.
    pub fn index_select(&self, axis: i64, index: &Tensor) -> Result<Tensor> {
        let y = kiln_ops::index_select(&self.raw(), axis, &index.raw())?;
        Ok(record("IndexSelectBackward0", y)
            .input(self, || {
                let (shape, index) = (self.shape(), index.save());
                move |g: &Tensor| zeros(&shape, g)?.index_add(axis, &index.get()?, g)
            })
            .done())
    }

    /// A copy with the slices of `source` along `axis` added at the positions in `index` (`torch.index_add`).
    ///
    /// # Errors
    /// An axis or index out of range; shapes or dtypes that do not fit.
    pub fn index_add(&self, axis: i64, index: &Tensor, source: &Tensor) -> Result<Tensor> {
        let y = kiln_ops::index_add(&self.raw(), axis, &index.raw(), &source.raw(), 1.into())?;
        Ok(record("IndexAddBackward0", y)
            .input(self, || |g: &Tensor| Ok(g.clone()))
            .input(source, || {
                let (index, shape) = (index.save(), source.shape());
                move |g: &Tensor| g.index_select(axis, &index.get()?)?.reshape(&shape)
            })
            .done())
    }

    /// Elements along `axis` at the positions in `index`, which has this tensor's rank (`torch.gather`).
    ///
    /// # Errors
    /// An axis or index out of range; an index tensor of another rank or larger on another axis.
    pub fn gather(&self, axis: i64, index: &Tensor) -> Result<Tensor> {
        let y = kiln_ops::gather(&self.raw(), axis, &index.raw())?;
        Ok(record("GatherBackward0", y)
            .input(self, || {
                let (shape, index) = (self.shape(), index.save());
                move |g: &Tensor| zeros(&shape, g)?.scatter_add(axis, &index.get()?, g)
            })
            .done())
    }

    /// A copy with the elements of `source` added along `axis` at the positions in `index` (`torch.scatter_add`).
    ///
    /// # Errors
    /// An axis or index out of range; shapes or dtypes that do not fit.
    pub fn scatter_add(&self, axis: i64, index: &Tensor, source: &Tensor) -> Result<Tensor> {
        let y = kiln_ops::scatter_add(&self.raw(), axis, &index.raw(), &*source.raw())?;
        Ok(record("ScatterAddBackward0", y)
            .input(self, || |g: &Tensor| Ok(g.clone()))
            .input(source, || {
                let (index, shape) = (index.save(), source.shape());
                move |g: &Tensor| {
                    let at = index.get()?;
                    let picked = g.gather(axis, &at)?;
                    // The index may cover only the first elements of the source.
                    if picked.shape() == shape { Ok(picked) } else { corner(&picked, &shape) }
                }
            })
            .done())
    }
}

/// Zeros of `shape`, of the gradient's dtype and device.
fn zeros(shape: &crate::Shape, g: &Tensor) -> Result<Tensor> {
    Ok(Tensor::from_raw(kiln_ops::full(shape, 0.into(), g.dtype(), g.device())?))
}

/// `t` in the first corner of zeros of `shape`.
fn corner(t: &Tensor, shape: &crate::Shape) -> Result<Tensor> {
    let out = zeros(shape, t)?;
    let mut part = out.clone();
    for (axis, &size) in t.shape().iter().enumerate() {
        part = part.narrow(axis as i64, 0, size as i64)?;
    }
    part.copy_(t)?;
    Ok(out)
}
