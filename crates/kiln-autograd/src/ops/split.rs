//! A tensor in pieces: views of it that together have one derivative.

use kiln_ops::RawTensor;

use crate::record::record_views;
use crate::{Here, Result, Tensor};

impl Tensor {
    /// Pieces of `size` elements of `axis`, the last one smaller if need be (`torch.split`).
    ///
    /// # Errors
    /// An axis out of range or a size of 0.
    #[track_caller]
    pub fn split(&self, size: i64, axis: i64) -> Result<Vec<Tensor>> {
        let parts = kiln_ops::split(&self.raw(), size, axis).here()?;
        self.pieces(parts, axis)
    }

    /// Pieces of the given sizes of `axis` (`torch.split`).
    ///
    /// # Errors
    /// An axis out of range, or sizes that do not sum to the axis's.
    #[track_caller]
    pub fn split_with_sizes(&self, sizes: &[i64], axis: i64) -> Result<Vec<Tensor>> {
        let parts = kiln_ops::split_with_sizes(&self.raw(), sizes, axis).here()?;
        self.pieces(parts, axis)
    }

    /// At most `chunks` pieces of `axis` (`torch.chunk`).
    ///
    /// # Errors
    /// An axis out of range or no chunks.
    #[track_caller]
    pub fn chunk(&self, chunks: i64, axis: i64) -> Result<Vec<Tensor>> {
        let parts = kiln_ops::chunk(&self.raw(), chunks, axis).here()?;
        self.pieces(parts, axis)
    }

    /// Neighbouring pieces of `axis` as views.
    #[track_caller]
    fn pieces(&self, parts: Vec<RawTensor>, axis: i64) -> Result<Vec<Tensor>> {
        let at = self.raw().shape().axis("split", axis).here()? as i64;
        let join = move |g: &[Tensor]| Tensor::cat(&g.iter().collect::<Vec<_>>(), at);
        Ok(record_views("SplitBackward0", parts, self, Box::new(join)))
    }

    /// The slices of `axis`, which disappears (`torch.unbind`).
    ///
    /// # Errors
    /// An axis out of range.
    #[track_caller]
    pub fn unbind(&self, axis: i64) -> Result<Vec<Tensor>> {
        let parts = kiln_ops::unbind(&self.raw(), axis).here()?;
        let join = move |g: &[Tensor]| Tensor::stack(&g.iter().collect::<Vec<_>>(), axis);
        Ok(record_views("UnbindBackward0", parts, self, Box::new(join)))
    }
}
