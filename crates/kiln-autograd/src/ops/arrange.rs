//! In-place forms of views: another view of the memory behind the same handle.

use crate::tangents::{self, Slots};
use crate::{Here, Result, Tensor, inplace};

impl Tensor {
    /// Puts a view of this tensor in its place.
    #[track_caller]
    fn rearrange(&self, op: &'static str, view: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<()> {
        inplace::check(op, self)?;
        let view = view(self).here()?;
        let source = view.edge();
        // The tangent of a view is found where it lies, a tensor's own one turns with it.
        let turned = if self.base().is_none() { tangents::slots_of(&view) } else { Slots::new() };
        self.replace_raw(view.raw().clone());
        turned.into_iter().for_each(|slot| self.add_tangent_slot(slot));
        if source.is_some() {
            self.set_source(source);
        }
        Ok(())
    }

    /// In-place form of [`Tensor::t`].
    ///
    /// # Errors
    /// As the out-of-place form; a leaf that requires grad.
    #[track_caller]
    pub fn t_(&self) -> Result<()> {
        self.rearrange("t_", Tensor::t)
    }

    /// In-place form of [`Tensor::transpose`].
    ///
    /// # Errors
    /// As the out-of-place form; a leaf that requires grad.
    #[track_caller]
    pub fn transpose_(&self, a: i64, b: i64) -> Result<()> {
        self.rearrange("transpose_", |x| x.transpose(a, b))
    }

    /// In-place form of [`Tensor::unsqueeze`].
    ///
    /// # Errors
    /// As the out-of-place form; a leaf that requires grad.
    #[track_caller]
    pub fn unsqueeze_(&self, axis: i64) -> Result<()> {
        self.rearrange("unsqueeze_", |x| x.unsqueeze(axis))
    }

    /// In-place form of [`Tensor::squeeze`].
    ///
    /// # Errors
    /// A leaf that requires grad.
    #[track_caller]
    pub fn squeeze_(&self) -> Result<()> {
        self.rearrange("squeeze_", Tensor::squeeze)
    }

    /// In-place form of [`Tensor::squeeze_axes`].
    ///
    /// # Errors
    /// As the out-of-place form; a leaf that requires grad.
    #[track_caller]
    pub fn squeeze_axes_(&self, axes: &[i64]) -> Result<()> {
        self.rearrange("squeeze_", |x| x.squeeze_axes(axes))
    }

    /// In-place form of [`Tensor::as_strided`].
    ///
    /// # Errors
    /// As the out-of-place form; a leaf that requires grad.
    #[track_caller]
    pub fn as_strided_(&self, size: &[i64], stride: &[i64], offset: Option<i64>) -> Result<()> {
        self.rearrange("as_strided_", |x| x.as_strided(size, stride, offset))
    }
}
