//! Rows of a table by number, classes as rows of zeros and a one, places among sorted values, and counts.

use kiln_ops::{DType, SearchOptions, Shape};

use crate::collect::Collect;
use crate::record::record;
use crate::{Error, Here, Result, Saved, Tensor};

impl Tensor {
    /// The row of this table that each index names: `[rows, width]` and indices `[*]` give `[*, width]`
    /// (`torch.embedding`).
    ///
    /// The row `padding_idx` (negative: from the end) gets no gradient. With `scale_grad_by_freq` the gradient of a row
    /// is divided by how often its index occurs.
    ///
    /// # Errors
    /// A table that is not a matrix; indices that are not int32 or int64, negative or not below the number of rows; a
    /// padding row that is not there.
    #[track_caller]
    pub fn embedding(
        &self,
        indices: &Tensor,
        padding_idx: impl Into<Option<i64>>,
        scale_grad_by_freq: bool,
    ) -> Result<Tensor> {
        let y = kiln_ops::embedding(&self.raw(), &indices.raw()).here()?;
        let rows = self.shape()[0];
        let padding = match padding_idx.into() {
            None => None,
            Some(p) if p >= -(rows as i64) && p < rows as i64 => Some(p.rem_euclid(rows as i64) as usize),
            Some(p) => {
                return Err(Error::index(
                    "embedding",
                    format!("padding_idx must be within num_embeddings, got {p} for a table of {rows} rows"),
                ));
            }
        };
        Ok(record("EmbeddingBackward0", y)
            .input(self, || {
                let rule = TableGrad { indices: indices.save(), rows, padding, scale: scale_grad_by_freq };
                move |g: &Tensor| rule.gather(g)
            })
            .done())
    }

    /// Scales the rows of this table that the indices name down to a `norm_type`-norm of at most `max_norm`, in place and
    /// unrecorded (`torch.embedding_renorm_`): what an embedding with `max_norm` does before it looks rows up.
    ///
    /// # Errors
    /// As [`Tensor::embedding`]; a norm that is not positive.
    #[track_caller]
    pub fn embedding_renorm_(&self, indices: &Tensor, max_norm: f64, norm_type: f64) -> Result<()> {
        crate::no_grad(|| {
            // Checks the indices before anything is changed.
            self.embedding(indices, None, false)?;
            if indices.numel() == 0 {
                return Ok(());
            }
            let rows = indices.to_dtype(DType::I64)?.flatten(0, -1)?.unique()?;
            let scaled = self.index_select(0, &rows)?.renorm(norm_type, 0, max_norm)?;
            self.index_copy_(0, &rows, &scaled)
        })
        .here()
    }

    /// A one at the place that each index names, on a new last axis of `classes` places (one more than the largest
    /// index if `None`); zeros elsewhere (`torch.nn.functional.one_hot`).
    ///
    /// # Errors
    /// Indices that are not int64, negative, or not below `classes`; no classes and no indices.
    #[track_caller]
    pub fn one_hot(&self, classes: impl Into<Option<usize>>) -> Result<Tensor> {
        Ok(Tensor::from_raw(kiln_ops::one_hot(&self.raw(), classes.into()).here()?))
    }

    /// For each element the place among sorted `boundaries` before which it could be inserted (`torch.bucketize`).
    ///
    /// # Errors
    /// Boundaries that are not a vector; truth values.
    #[track_caller]
    pub fn bucketize(&self, boundaries: &Tensor, options: SearchOptions) -> Result<Tensor> {
        Ok(Tensor::from_raw(kiln_ops::bucketize(&self.raw(), &boundaries.raw(), options).here()?))
    }

    /// For each element of `values` the place in the last axis of this sorted tensor, a vector or a row for each row of
    /// the values, before which it could be inserted (`torch.searchsorted`). With `sorter`, an order that sorts this
    /// tensor.
    ///
    /// # Errors
    /// Leading axes that differ; truth values; a sorter of another shape or dtype than int64 or with an index out of
    /// range.
    #[track_caller]
    pub fn searchsorted(
        &self,
        values: &Tensor,
        sorter: Option<&Tensor>,
        options: SearchOptions,
    ) -> Result<Tensor> {
        let sorter = sorter.map(|s| s.raw().clone());
        let y = kiln_ops::searchsorted(&self.raw(), &values.raw(), sorter.as_ref(), options).here()?;
        Ok(Tensor::from_raw(y))
    }

    /// How often each of `0, 1, ..` occurs in this vector, or the sum of the weights at its places; at least
    /// `min_length` counts (`torch.bincount`).
    ///
    /// # Errors
    /// Not a vector of non-negative integers; weights of another length.
    #[track_caller]
    pub fn bincount(&self, weights: Option<&Tensor>, min_length: usize) -> Result<Tensor> {
        let weights = weights.map(|w| w.raw().clone());
        Ok(Tensor::from_raw(kiln_ops::bincount(&self.raw(), weights.as_ref(), min_length).here()?))
    }

    /// How many elements lie in each of `bins` equal parts of `min..=max`, or of the data's own range if both are equal
    /// (`torch.histc`).
    ///
    /// # Errors
    /// Integers; no bins; `max` below `min`; a range that is not finite.
    #[track_caller]
    pub fn histc(&self, bins: usize, min: f64, max: f64) -> Result<Tensor> {
        Ok(Tensor::from_raw(kiln_ops::histc(&self.raw(), bins, min, max).here()?))
    }

    /// Positions of a flattened tensor of `shape` as an index for each axis (`torch.unravel_index`). Positions past the
    /// end start again.
    ///
    /// # Errors
    /// Positions that are not integers.
    #[track_caller]
    pub fn unravel_index(&self, shape: impl Into<Shape>) -> Result<Vec<Tensor>> {
        let shape = shape.into();
        if !self.dtype().is_int() {
            return Err(Error::dtype(
                "unravel_index",
                format!("expected 'indices' to be integer dtype, but got {}", self.dtype()),
            ));
        }
        if shape.numel() == 0 && self.numel() > 0 {
            return Err(Error::index(
                "unravel_index",
                format!("there is no position in a tensor of shape {shape:?}"),
            ));
        }
        let strides = shape.contiguous_strides();
        let positions = self.to_dtype(DType::I64)?;
        shape
            .iter()
            .zip(&strides)
            .map(|(&size, &stride)| positions.floor_divide(stride.max(1))?.remainder(size.max(1)))
            .all_ok()
            .here()
    }
}

/// The gradient of an embedding: a linear map from the result's to the table's.
struct TableGrad {
    indices: Saved,
    rows: usize,
    padding: Option<usize>,
    scale: bool,
}

impl TableGrad {
    /// The rows of `g` summed by index.
    #[track_caller]
    fn gather(&self, g: &Tensor) -> Result<Tensor> {
        let indices = self.indices.get()?;
        let y =
            kiln_ops::embedding_grad(&g.raw(), &indices.raw(), self.rows, self.padding, self.scale).here()?;
        Ok(record("EmbeddingDenseBackward0", y)
            .input(g, || {
                let rule = TableGrad { indices: indices.save(), ..*self };
                move |gg: &Tensor| rule.spread(gg)
            })
            .done())
    }

    /// The transposed map: the row of each index, none for the padding, scaled as the gradients were.
    #[track_caller]
    fn spread(&self, gg: &Tensor) -> Result<Tensor> {
        let indices = self.indices.get()?;
        let mut y = gg.embedding(&indices, None, false)?;
        if self.scale {
            let flat = indices.flatten(0, -1)?;
            let counts = flat.bincount(None, 0)?.index_select(0, &flat)?;
            y = y.div(&counts.to_dtype(y.dtype())?.reshape(indices.shape())?.unsqueeze(-1)?)?;
        }
        match self.padding {
            Some(row) => y.masked_fill(&indices.eq(row)?.unsqueeze(-1)?, 0),
            None => Ok(y),
        }
    }
}
