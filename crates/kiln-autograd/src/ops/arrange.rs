//! Arrangements of axes that are composed of views, and views put in the place of the tensor itself.

use crate::{Error, Result, Tensor, inplace};

/// Coordinates of a grid: every vector spread along an axis of its own (`torch.meshgrid`). With `xy` for `indexing`, the
/// first two axes change places.
///
/// # Errors
/// No tensors; tensors with more than one axis or of different dtypes; another `indexing`.
pub fn meshgrid(tensors: &[&Tensor], indexing: &str) -> Result<Vec<Tensor>> {
    const OP: &str = "meshgrid";
    let Some(first) = tensors.first() else {
        return Err(Error::value(OP, "expects a non-empty list of tensors"));
    };
    if let Some(t) = tensors.iter().find(|t| t.rank() > 1) {
        return Err(Error::shape(OP, format!("Expected 0D or 1D tensor but got shape {:?}", t.shape())));
    }
    if let Some(t) = tensors.iter().find(|t| t.dtype() != first.dtype()) {
        return Err(Error::dtype(
            OP,
            format!("expects all tensors to have the same dtype, got {} and {}", first.dtype(), t.dtype()),
        ));
    }
    let swap = match indexing {
        "ij" => false,
        "xy" => tensors.len() > 1,
        other => return Err(Error::value(OP, format!("indexing must be one of \"xy\" or \"ij\", but was {other:?}"))),
    };
    let sizes: Vec<usize> = tensors.iter().map(|t| t.numel()).collect();
    let spread = |axis: usize, t: &Tensor| {
        let mut own = vec![1usize; sizes.len()];
        own[axis] = sizes[axis];
        let grid = t.reshape(own.as_slice())?.expand(sizes.as_slice())?;
        if swap { grid.transpose(0, 1) } else { Ok(grid) }
    };
    tensors.iter().enumerate().map(|(axis, t)| spread(axis, t)).collect()
}

impl Tensor {
    /// With at least `rank` axes, at most 3, new ones as `torch.atleast_1d`, `atleast_2d` and `atleast_3d` add them.
    ///
    /// # Errors
    /// More than 3 axes are asked for.
    pub fn at_least(&self, rank: usize) -> Result<Tensor> {
        match (rank, self.rank()) {
            (0..=3, own) if own >= rank => Ok(self.clone()),
            (1..=3, 0) => self.reshape(vec![1usize; rank]),
            (2, 1) => self.unsqueeze(0),
            (3, 1) => self.unsqueeze(0)?.unsqueeze(-1),
            (3, 2) => self.unsqueeze(-1),
            _ => Err(Error::value("at_least", format!("at most 3 axes can be asked for, got {rank}"))),
        }
    }

    /// Puts a view of this tensor in its place.
    fn rearrange(&self, op: &'static str, view: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<()> {
        inplace::check(op, self)?;
        let view = view(self)?;
        let source = view.edge();
        self.replace_raw(view.raw().clone());
        if source.is_some() {
            self.set_source(source);
        }
        Ok(())
    }

    /// In-place form of [`Tensor::t`].
    ///
    /// # Errors
    /// As the out-of-place form; a leaf that requires grad.
    pub fn t_(&self) -> Result<()> {
        self.rearrange("t_", Tensor::t)
    }

    /// In-place form of [`Tensor::transpose`].
    ///
    /// # Errors
    /// As the out-of-place form; a leaf that requires grad.
    pub fn transpose_(&self, a: i64, b: i64) -> Result<()> {
        self.rearrange("transpose_", |x| x.transpose(a, b))
    }

    /// In-place form of [`Tensor::unsqueeze`].
    ///
    /// # Errors
    /// As the out-of-place form; a leaf that requires grad.
    pub fn unsqueeze_(&self, axis: i64) -> Result<()> {
        self.rearrange("unsqueeze_", |x| x.unsqueeze(axis))
    }

    /// In-place form of [`Tensor::squeeze`].
    ///
    /// # Errors
    /// A leaf that requires grad.
    pub fn squeeze_(&self) -> Result<()> {
        self.rearrange("squeeze_", Tensor::squeeze)
    }

    /// In-place form of [`Tensor::squeeze_axes`].
    ///
    /// # Errors
    /// As the out-of-place form; a leaf that requires grad.
    pub fn squeeze_axes_(&self, axes: &[i64]) -> Result<()> {
        self.rearrange("squeeze_", |x| x.squeeze_axes(axes))
    }

    /// In-place form of [`Tensor::as_strided`].
    ///
    /// # Errors
    /// As the out-of-place form; a leaf that requires grad.
    pub fn as_strided_(&self, size: &[i64], stride: &[i64], offset: Option<i64>) -> Result<()> {
        self.rearrange("as_strided_", |x| x.as_strided(size, stride, offset))
    }
}
