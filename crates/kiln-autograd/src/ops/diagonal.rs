//! Triangles and diagonals.

use kiln_ops::reduce::{ReduceOp, reduce};
use kiln_ops::{RawTensor, Shape};

use crate::record::record;
use crate::{Error, Here, Result, Tensor, autocast, inplace};

impl Tensor {
    /// The lower triangle of the last two axes, up to `diagonal` places above the main diagonal; zeros elsewhere
    /// (`torch.tril`).
    ///
    /// # Errors
    /// Less than two axes.
    #[track_caller]
    pub fn tril(&self, diagonal: i64) -> Result<Tensor> {
        let y = kiln_ops::tril(&self.raw(), diagonal).here()?;
        Ok(record("TrilBackward0", y).input(self, || move |g: &Tensor| g.tril(diagonal)).done())
    }

    /// In-place form of [`Tensor::tril`].
    ///
    /// # Errors
    /// As the out-of-place form; a leaf that requires grad; elements that share memory.
    #[track_caller]
    pub fn tril_(&self, diagonal: i64) -> Result<()> {
        inplace::check("tril_", self)?;
        kiln_ops::tril_(&self.raw(), diagonal).here()?;
        let y = self.raw().clone();
        record("TrilBackward0", y).input(self, || move |g: &Tensor| g.tril(diagonal)).done_in_place(self)
    }

    /// The upper triangle of the last two axes, from `diagonal` places above the main diagonal on; zeros elsewhere
    /// (`torch.triu`).
    ///
    /// # Errors
    /// Less than two axes.
    #[track_caller]
    pub fn triu(&self, diagonal: i64) -> Result<Tensor> {
        let y = kiln_ops::triu(&self.raw(), diagonal).here()?;
        Ok(record("TriuBackward0", y).input(self, || move |g: &Tensor| g.triu(diagonal)).done())
    }

    /// In-place form of [`Tensor::triu`].
    ///
    /// # Errors
    /// As the out-of-place form; a leaf that requires grad; elements that share memory.
    #[track_caller]
    pub fn triu_(&self, diagonal: i64) -> Result<()> {
        inplace::check("triu_", self)?;
        kiln_ops::triu_(&self.raw(), diagonal).here()?;
        let y = self.raw().clone();
        record("TriuBackward0", y).input(self, || move |g: &Tensor| g.triu(diagonal)).done_in_place(self)
    }

    /// The rows and the columns of the elements that [`Tensor::tril`] keeps of a matrix, in row-major order: int64 of
    /// shape `[2, n]` (`torch.tril_indices`).
    ///
    /// # Errors
    /// More elements than fit into memory.
    #[track_caller]
    pub fn tril_indices(rows: usize, columns: usize, offset: i64) -> Result<Tensor> {
        triangle_indices("tril_indices", rows, columns, offset, false)
    }

    /// The rows and the columns of the elements that [`Tensor::triu`] keeps of a matrix, in row-major order: int64 of
    /// shape `[2, n]` (`torch.triu_indices`).
    ///
    /// # Errors
    /// More elements than fit into memory.
    #[track_caller]
    pub fn triu_indices(rows: usize, columns: usize, offset: i64) -> Result<Tensor> {
        triangle_indices("triu_indices", rows, columns, offset, true)
    }

    /// A vector as the diagonal `offset` of a matrix of zeros, or a copy of that diagonal of a matrix (`torch.diag`).
    ///
    /// # Errors
    /// Neither a vector nor a matrix.
    #[track_caller]
    pub fn diag(&self, offset: i64) -> Result<Tensor> {
        match self.rank() {
            1 => self.diag_embed(offset, 0, 1),
            2 => self.diagonal(offset, 0, 1)?.copy(),
            rank => Err(Error::shape("diag", format!("Supports 1D or 2D tensors. Got {rank}D"))),
        }
    }

    /// The last axis as the diagonal `offset` of planes of zeros, whose axes are `a` and `b` of the result
    /// (`torch.diag_embed`).
    ///
    /// # Errors
    /// A 0-dim tensor, an axis out of range, the same axis twice.
    #[track_caller]
    pub fn diag_embed(&self, offset: i64, a: i64, b: i64) -> Result<Tensor> {
        const OP: &str = "diag_embed";
        let shape = self.shape();
        let rank = shape.rank() + 1;
        let (first, second) =
            (kiln_ops::resolve_axis(OP, a, rank).here()?, kiln_ops::resolve_axis(OP, b, rank).here()?);
        if first == second {
            return Err(Error::value(
                OP,
                format!("diagonal dimensions cannot be identical {first}, {second}"),
            ));
        }
        let Some((&n, others)) = shape.split_last() else {
            return Err(Error::index(OP, "a 0-dimensional tensor has no axis to become a diagonal"));
        };
        let side = usize::try_from(offset.unsigned_abs()).ok().and_then(|o| o.checked_add(n));
        let side = side.ok_or_else(|| Error::shape(OP, "the number of elements overflows")).here()?;
        let mut dims = others.to_vec();
        dims.insert(first.min(second), side);
        dims.insert(first.max(second), side);
        let y = kiln_ops::full(&Shape::new(&dims), 0.into(), self.dtype(), self.device()).here()?;
        kiln_ops::copy_(&kiln_ops::diagonal(&y, offset, a, b).here()?, &self.raw()).here()?;
        Ok(record("DiagEmbedBackward0", y).input(self, || move |g: &Tensor| g.diagonal(offset, a, b)).done())
    }

    /// The elements, flattened, as the diagonal `offset` of a matrix of zeros (`torch.diagflat`).
    ///
    /// # Errors
    /// Memory that is not there.
    #[track_caller]
    pub fn diagflat(&self, offset: i64) -> Result<Tensor> {
        self.reshape([-1])?.diag_embed(offset, 0, 1)
    }

    /// The sum of the main diagonal of a matrix (`torch.trace`).
    ///
    /// # Errors
    /// Not a matrix.
    #[track_caller]
    pub fn trace(&self) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.trace();
        }
        const OP: &str = "trace";
        if self.rank() != 2 {
            return Err(Error::shape(
                OP,
                format!("expected a matrix, but got tensor with dim {}", self.rank()),
            ));
        }
        let diagonal: RawTensor = kiln_ops::diagonal(&self.raw(), 0, 0, 1).here()?;
        let y = reduce(ReduceOp::Sum, &diagonal, &[], false).here()?;
        Ok(record("TraceBackward0", y)
            .input(self, || {
                let shape = self.shape();
                move |g: &Tensor| {
                    let zeros = super::index::zeros(&shape, g)?;
                    zeros.diagonal_scatter(&g.expand([shape[0].min(shape[1])])?, 0, 0, 1)
                }
            })
            .done())
    }
}

/// How many elements of a matrix lie at most `offset` places above its main diagonal.
fn count_below(rows: usize, columns: usize, offset: i64) -> i128 {
    let (rows, columns, offset) = (rows as i128, columns as i128, i128::from(offset));
    // Row r has min(r + offset + 1, columns) of them: first rows with none, then growing ones, then full ones.
    let first = (-offset).clamp(0, rows);
    let full = (columns - offset - 1).clamp(first, rows);
    let growing = full - first;
    growing * (first + offset + 1) + growing * (growing - 1) / 2 + (rows - full) * columns
}

#[track_caller]
fn triangle_indices(
    op: &'static str,
    rows: usize,
    columns: usize,
    offset: i64,
    upper: bool,
) -> Result<Tensor> {
    // Sizes beyond what a tensor can have would overflow below.
    let total = Shape::new(&[rows, columns]).checked_numel(op).here()? as i128;
    let n = match (total, upper) {
        (0, _) => 0,
        (_, false) => count_below(rows, columns, offset),
        (_, true) => total - count_below(rows, columns, offset.saturating_sub(1)),
    };
    let mut out: Vec<i64> = Vec::new();
    usize::try_from(n)
        .ok()
        .and_then(|n| n.checked_mul(2))
        .and_then(|n| out.try_reserve_exact(n).ok())
        .ok_or_else(|| Error::shape(op, "the result does not fit into memory"))
        .here()?;
    let n = n as usize;
    if n > 0 {
        // Only rows with elements, which are no more than there are elements.
        let offset = i128::from(offset);
        let with_elements = if upper {
            0..(columns as i128 - offset).clamp(0, rows as i128) as i64
        } else {
            (-offset).clamp(0, rows as i128) as i64..rows as i64
        };
        let row = |r: i64| {
            let clamp = |at: i128| at.clamp(0, columns as i128) as i64;
            let at = i128::from(r) + offset;
            if upper { clamp(at)..columns as i64 } else { 0..clamp(at + 1) }
        };
        with_elements.clone().for_each(|r| out.extend(row(r).map(|_| r)));
        with_elements.for_each(|r| out.extend(row(r)));
    }
    Tensor::from_vec(out, [2, n])
}

#[cfg(test)]
mod tests {
    use super::count_below;

    #[test]
    fn triangles_are_counted_as_they_are_walked() {
        for (rows, columns) in [(1, 1), (3, 5), (5, 3), (4, 4)] {
            for offset in -7..8i64 {
                let walked = (0..rows as i64)
                    .flat_map(|r| (0..columns as i64).map(move |c| (r, c)))
                    .filter(|(r, c)| c - r <= offset)
                    .count();
                assert_eq!(count_below(rows, columns, offset), walked as i128, "{rows} {columns} {offset}");
            }
        }
    }
}
