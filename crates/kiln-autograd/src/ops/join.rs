//! Tensors put together from several, and cut into several.

use kiln_ops::{Device, Operand, Scalar, Shape};

use crate::collect::Collect;
use crate::record::record;
use crate::{Error, Here, Result, Tensor};

/// The order of the first two axes of [`Tensor::meshgrid`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indexing {
    /// Axis `i` of the grids is that of tensor `i`, as in a matrix.
    Ij,
    /// The first two axes exchanged, as in a picture.
    Xy,
}

/// Into how many parts an axis is cut, or at which positions: `3`, `[2, 5]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sections {
    /// Parts of nearly equal size.
    Count(i64),
    /// Cuts before these positions.
    At(Vec<i64>),
}

impl From<i64> for Sections {
    fn from(count: i64) -> Sections {
        Sections::Count(count)
    }
}

impl From<i32> for Sections {
    fn from(count: i32) -> Sections {
        Sections::Count(count.into())
    }
}

impl<const N: usize> From<[i64; N]> for Sections {
    fn from(at: [i64; N]) -> Sections {
        Sections::At(at.to_vec())
    }
}

impl From<&[i64]> for Sections {
    fn from(at: &[i64]) -> Sections {
        Sections::At(at.to_vec())
    }
}

/// Fails for an empty list.
#[track_caller]
fn not_empty(op: &'static str, tensors: &[&Tensor]) -> Result<()> {
    if tensors.is_empty() {
        return Err(Error::value(op, format!("{op} expects a non-empty TensorList")));
    }
    Ok(())
}

#[track_caller]
fn each(tensors: &[&Tensor], f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Vec<Tensor>> {
    tensors.iter().map(|t| f(t)).all_ok().here()
}

#[track_caller]
fn cat_all(tensors: &[Tensor], axis: i64) -> Result<Tensor> {
    Tensor::cat(&tensors.iter().collect::<Vec<_>>(), axis)
}

impl Tensor {
    /// Tensors one after the other along `axis`, in the dtype that they promote to (`torch.cat`). Empty one-dimensional
    /// tensors are skipped.
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// let (a, b) = (Tensor::full([2, 1], 1.0), Tensor::full([2, 2], 2.0));
    /// assert_eq!(Tensor::cat(&[&a, &b], 1)?.to_vec::<f32>()?, [1.0, 2.0, 2.0, 1.0, 2.0, 2.0]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// An empty list, 0-dim tensors, shapes that differ on other axes, different devices.
    #[track_caller]
    pub fn cat(tensors: &[&Tensor], axis: i64) -> Result<Tensor> {
        let raws: Vec<_> = tensors.iter().map(|t| t.raw()).collect();
        let y = kiln_ops::cat(&raws.iter().map(|r| &**r).collect::<Vec<_>>(), axis).here()?;
        drop(raws);
        let skipped = |shape: &Shape| shape.dims() == [0];
        let rank = y.rank();
        let at = y.shape().axis("cat", axis).unwrap_or(0);
        let mut start = 0;
        let mut rec = record("CatBackward0", y);
        for t in tensors {
            let shape = t.shape();
            if skipped(&shape) && rank != 1 {
                rec = rec.input(t, || |g: &Tensor| super::index::zeros(&Shape::new(&[0]), g));
                continue;
            }
            let (from, length) = (start, shape[at] as i64);
            start += length;
            rec = rec.input(t, || move |g: &Tensor| g.narrow(at as i64, from, length));
        }
        Ok(rec.done())
    }

    /// Tensors of one shape along a new axis (`torch.stack`).
    ///
    /// # Errors
    /// An empty list, shapes or devices that differ.
    #[track_caller]
    pub fn stack(tensors: &[&Tensor], axis: i64) -> Result<Tensor> {
        let raws: Vec<_> = tensors.iter().map(|t| t.raw()).collect();
        let y = kiln_ops::stack(&raws.iter().map(|r| &**r).collect::<Vec<_>>(), axis).here()?;
        drop(raws);
        let mut rec = record("StackBackward0", y);
        for (i, t) in tensors.iter().enumerate() {
            rec = rec.input(t, || move |g: &Tensor| g.select(axis, i as i64));
        }
        Ok(rec.done())
    }

    /// Tensors side by side: along axis 1, vectors along axis 0 (`torch.hstack`).
    ///
    /// # Errors
    /// As [`Tensor::cat`].
    #[track_caller]
    pub fn hstack(tensors: &[&Tensor]) -> Result<Tensor> {
        not_empty("hstack", tensors)?;
        let parts = each(tensors, Tensor::atleast_1d)?;
        cat_all(&parts, if parts[0].rank() == 1 { 0 } else { 1 })
    }

    /// Tensors below each other, vectors as rows (`torch.vstack`).
    ///
    /// # Errors
    /// As [`Tensor::cat`].
    #[track_caller]
    pub fn vstack(tensors: &[&Tensor]) -> Result<Tensor> {
        not_empty("vstack", tensors)?;
        cat_all(&each(tensors, Tensor::atleast_2d)?, 0)
    }

    /// Tensors behind each other, along axis 2 (`torch.dstack`).
    ///
    /// # Errors
    /// As [`Tensor::cat`].
    #[track_caller]
    pub fn dstack(tensors: &[&Tensor]) -> Result<Tensor> {
        not_empty("dstack", tensors)?;
        cat_all(&each(tensors, Tensor::atleast_3d)?, 2)
    }

    /// Tensors side by side, vectors as columns (`torch.column_stack`).
    ///
    /// # Errors
    /// As [`Tensor::cat`].
    #[track_caller]
    pub fn column_stack(tensors: &[&Tensor]) -> Result<Tensor> {
        not_empty("column_stack", tensors)?;
        let column = |t: &Tensor| if t.rank() <= 1 { t.reshape([t.numel(), 1]) } else { Ok(t.clone()) };
        cat_all(&each(tensors, column)?, 1)
    }

    /// At least one axis: a 0-dim tensor as a vector (`torch.atleast_1d`).
    ///
    /// # Errors
    /// None; a `Result` so that all views read the same.
    #[track_caller]
    pub fn atleast_1d(&self) -> Result<Tensor> {
        if self.rank() == 0 { self.reshape([1]) } else { Ok(self.clone()) }
    }

    /// At least two axes: a vector as a row (`torch.atleast_2d`).
    ///
    /// # Errors
    /// None; a `Result` so that all views read the same.
    #[track_caller]
    pub fn atleast_2d(&self) -> Result<Tensor> {
        match self.rank() {
            0 => self.reshape([1, 1]),
            1 => self.unsqueeze(0),
            _ => Ok(self.clone()),
        }
    }

    /// At least three axes: a vector as the only row, a matrix with one element for each place (`torch.atleast_3d`).
    ///
    /// # Errors
    /// None; a `Result` so that all views read the same.
    #[track_caller]
    pub fn atleast_3d(&self) -> Result<Tensor> {
        match self.rank() {
            0 => self.reshape([1, 1, 1]),
            1 => self.unsqueeze(0)?.unsqueeze(-1),
            2 => self.unsqueeze(-1),
            _ => Ok(self.clone()),
        }
    }

    /// Views of all tensors in the shape that they broadcast to (`torch.broadcast_tensors`).
    ///
    /// # Errors
    /// Shapes that do not broadcast.
    #[track_caller]
    pub fn broadcast_tensors(tensors: &[&Tensor]) -> Result<Vec<Tensor>> {
        let shape = tensors
            .iter()
            .try_fold(Shape::default(), |shape, t| {
                kiln_ops::broadcast_shapes("broadcast_tensors", &shape, &t.shape())
            })
            .here()?;
        each(tensors, |t| t.expand(&shape))
    }

    /// The matrices as blocks on the diagonal of one, zeros elsewhere; vectors count as rows (`torch.block_diag`).
    ///
    /// # Errors
    /// A tensor with more than two axes; different devices.
    #[track_caller]
    pub fn block_diag(tensors: &[&Tensor]) -> Result<Tensor> {
        const OP: &str = "block_diag";
        if let Some((i, t)) = tensors.iter().enumerate().find(|(_, t)| t.rank() > 2) {
            return Err(Error::shape(
                OP,
                format!(
                    "Input tensors must have 2 or fewer dimensions. Input {i} has {} dimensions",
                    t.rank()
                ),
            ));
        }
        let device = tensors.first().map_or(Device::CPU, |t| t.device());
        if let Some(t) = tensors.iter().find(|t| t.device() != device) {
            return Err(Error::device(
                OP,
                format!("input tensors must all be on the same device, got {device} and {}", t.device()),
            ));
        }
        let raws: Vec<_> = tensors.iter().map(|t| t.raw()).collect();
        let dtype = kiln_ops::result_type(&raws.iter().map(|r| Operand::from(&**r)).collect::<Vec<_>>());
        let blocks: Vec<[usize; 2]> = raws
            .iter()
            .map(|r| match r.shape().dims() {
                [rows, columns] => [*rows, *columns],
                rest => [1, rest.iter().product()],
            })
            .collect();
        let total = |side: usize| blocks.iter().map(|b| b[side]).sum::<usize>();
        // Without tensors PyTorch gives a row of nothing.
        let sizes = [if tensors.is_empty() { 1 } else { total(0) }, total(1)];
        let y = kiln_ops::full(&Shape::new(&sizes), Scalar::Int(0), dtype, device).here()?;
        let mut corners = Vec::with_capacity(blocks.len());
        let mut corner = [0i64; 2];
        for (raw, &[rows, columns]) in raws.iter().zip(&blocks) {
            let part = kiln_ops::narrow(&y, 0, corner[0], rows as i64).here()?;
            let part = kiln_ops::narrow(&part, 1, corner[1], columns as i64).here()?;
            kiln_ops::copy_(&part, &kiln_ops::reshape(raw, &[rows as i64, columns as i64]).here()?).here()?;
            corners.push(corner);
            corner = [corner[0] + rows as i64, corner[1] + columns as i64];
        }
        drop(raws);
        let mut rec = record("BlockDiagBackward0", y);
        for ((t, &[row, column]), &[rows, columns]) in tensors.iter().zip(&corners).zip(&blocks) {
            rec = rec.input(t, || {
                let shape = t.shape();
                move |g: &Tensor| {
                    g.narrow(0, row, rows as i64)?.narrow(1, column, columns as i64)?.reshape(&shape)
                }
            });
        }
        Ok(rec.done())
    }

    /// For each vector a grid of its values along its own axis, as views (`torch.meshgrid`).
    ///
    /// # Errors
    /// An empty list; tensors with more than one axis; different dtypes or devices.
    #[track_caller]
    pub fn meshgrid(tensors: &[&Tensor], indexing: Indexing) -> Result<Vec<Tensor>> {
        const OP: &str = "meshgrid";
        not_empty(OP, tensors)?;
        if let Some(t) = tensors.iter().find(|t| t.rank() > 1) {
            return Err(Error::shape(
                OP,
                format!("Expected 0D or 1D tensor in the tensor list but got shape {:?}", t.shape()),
            ));
        }
        let first = tensors[0];
        if tensors.iter().any(|t| t.dtype() != first.dtype()) {
            return Err(Error::dtype(OP, "torch.meshgrid expects all tensors to have the same dtype"));
        }
        if tensors.iter().any(|t| t.device() != first.device()) {
            return Err(Error::device(OP, "torch.meshgrid expects all tensors to have the same device"));
        }
        let n = tensors.len();
        let axis = |i: usize| match (indexing, i) {
            (Indexing::Xy, 0 | 1) if n > 1 => 1 - i,
            _ => i,
        };
        let mut shape = vec![1; n];
        tensors.iter().enumerate().for_each(|(i, t)| shape[axis(i)] = t.numel());
        let grid = |(i, t): (usize, &&Tensor)| {
            let mut own = vec![1; n];
            own[axis(i)] = t.numel();
            t.reshape(own)?.expand(shape.as_slice())
        };
        tensors.iter().enumerate().map(grid).all_ok().here()
    }

    /// All rows with one element of each vector, the last vector's changing fastest (`torch.cartesian_prod`); one vector
    /// stays as it is.
    ///
    /// # Errors
    /// As [`Tensor::meshgrid`]; a tensor that is not a vector.
    #[track_caller]
    pub fn cartesian_prod(tensors: &[&Tensor]) -> Result<Tensor> {
        const OP: &str = "cartesian_prod";
        not_empty(OP, tensors)?;
        tensors.iter().try_for_each(|t| vector(OP, t)).here()?;
        if let [only] = tensors {
            return Ok((*only).clone());
        }
        let columns: Vec<Tensor> =
            Tensor::meshgrid(tensors, Indexing::Ij)?.iter().map(|t| t.flatten(0, -1)).all_ok().here()?;
        Tensor::stack(&columns.iter().collect::<Vec<_>>(), 1)
    }

    /// All rows of `r` elements of this vector in their order, an element several times only with `with_replacement`
    /// (`torch.combinations`).
    ///
    /// # Errors
    /// Not a vector; more rows than fit into memory.
    #[track_caller]
    pub fn combinations(&self, r: usize, with_replacement: bool) -> Result<Tensor> {
        const OP: &str = "combinations";
        vector(OP, self)?;
        let n = self.numel();
        if r == 0 {
            return Ok(Tensor::from_raw(
                kiln_ops::full(&Shape::new(&[0]), 0.into(), self.dtype(), self.device()).here()?,
            ));
        }
        let positions = combinations_of(n, r, with_replacement)
            .ok_or_else(|| Error::shape(OP, format!("choosing {r} of {n} does not fit into memory")))
            .here()?;
        let rows = positions.len() / r;
        let positions = Tensor::from_vec(positions, [rows, r])?.to_device(self.device())?;
        self.index(&[Some(&positions)])
    }

    /// Views of parts of `axis`: so many of nearly equal size, or cut at positions (`torch.tensor_split`).
    ///
    /// # Errors
    /// A 0-dim tensor, an axis out of range, no parts.
    #[track_caller]
    pub fn tensor_split(&self, sections: impl Into<Sections>, axis: i64) -> Result<Vec<Tensor>> {
        match sections.into() {
            Sections::Count(count) => {
                let parts = kiln_ops::tensor_split(&self.raw(), count, axis).here()?;
                let at = self.raw().shape().axis("tensor_split", axis).here()?;
                let mut start = 0;
                let part = |raw: &kiln_ops::RawTensor| {
                    let length = raw.shape()[at] as i64;
                    start += length;
                    self.slice(axis, Some(start - length), Some(start), 1)
                };
                parts.iter().map(part).all_ok().here()
            }
            Sections::At(positions) => {
                kiln_ops::tensor_split_at(&self.raw(), &positions, axis).here()?;
                let starts = std::iter::once(None).chain(positions.iter().copied().map(Some));
                let ends = positions.iter().copied().map(Some).chain([None]);
                starts.zip(ends).map(|(start, end)| self.slice(axis, start, end, 1)).all_ok().here()
            }
        }
    }

    #[track_caller]
    fn split_evenly(
        &self,
        op: &'static str,
        least: usize,
        axis: usize,
        sections: Sections,
    ) -> Result<Vec<Tensor>> {
        let rank = self.rank();
        if rank < least {
            return Err(Error::shape(
                op,
                format!(
                    "torch.{op} requires a tensor with at least {least} dimension, but got a tensor with {rank} dimensions!"
                ),
            ));
        }
        if let Sections::Count(count) = sections {
            let n = self.shape()[axis];
            if count < 1 || n as i64 % count != 0 {
                return Err(Error::value(
                    op,
                    format!(
                        "torch.{op} attempted to split along dimension {axis}, but the size of the dimension {n} is not \
                         divisible by the split_size {count}!"
                    ),
                ));
            }
        }
        self.tensor_split(sections, axis as i64)
    }

    /// [`Tensor::tensor_split`] into columns: along axis 1, of a vector along axis 0 (`torch.hsplit`).
    ///
    /// # Errors
    /// A 0-dim tensor; a number of parts that does not divide the axis.
    #[track_caller]
    pub fn hsplit(&self, sections: impl Into<Sections>) -> Result<Vec<Tensor>> {
        self.split_evenly("hsplit", 1, usize::from(self.rank() > 1), sections.into())
    }

    /// [`Tensor::tensor_split`] into rows, along axis 0 (`torch.vsplit`).
    ///
    /// # Errors
    /// Less than two axes; a number of parts that does not divide the axis.
    #[track_caller]
    pub fn vsplit(&self, sections: impl Into<Sections>) -> Result<Vec<Tensor>> {
        self.split_evenly("vsplit", 2, 0, sections.into())
    }

    /// [`Tensor::tensor_split`] along axis 2 (`torch.dsplit`).
    ///
    /// # Errors
    /// Less than three axes; a number of parts that does not divide the axis.
    #[track_caller]
    pub fn dsplit(&self, sections: impl Into<Sections>) -> Result<Vec<Tensor>> {
        self.split_evenly("dsplit", 3, 2, sections.into())
    }
}

#[track_caller]
fn vector(op: &'static str, t: &Tensor) -> Result<()> {
    if t.rank() == 1 {
        return Ok(());
    }
    Err(Error::shape(op, format!("Expect a 1D vector, but got shape {:?}", t.shape())))
}

/// All ascending choices of `r` of `0..n`, one after the other; `None` if they do not fit into memory.
fn combinations_of(n: usize, r: usize, with_replacement: bool) -> Option<Vec<i64>> {
    let mut out: Vec<i64> = Vec::new();
    let choices = if with_replacement { n.checked_add(r)?.checked_sub(1)? } else { n };
    if n == 0 || choices < r {
        return Some(out);
    }
    // Binomial coefficients grow along the way, so that an overflow shows before long work.
    let mut count: u128 = 1;
    for i in 0..r.min(choices - r) {
        count = count.checked_mul((choices - i) as u128)? / (i as u128 + 1);
    }
    let len = usize::try_from(count).ok()?.checked_mul(r)?;
    out.try_reserve_exact(len).ok()?;
    let mut row: Vec<i64> = (0..r as i64).map(|i| if with_replacement { 0 } else { i }).collect();
    loop {
        out.extend_from_slice(&row);
        // The last place that can still move on; those after it start from there.
        let limit = |i: usize| if with_replacement { n - 1 } else { n - r + i } as i64;
        let Some(place) = (0..r).rev().find(|&i| row[i] < limit(i)) else { return Some(out) };
        let first = row[place] + 1;
        for (step, value) in row[place..].iter_mut().enumerate() {
            *value = if with_replacement { first } else { first + step as i64 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::combinations_of;

    #[test]
    fn too_many_combinations_are_refused_before_they_are_made() {
        assert_eq!(combinations_of(1000, 500, false), None);
        assert_eq!(combinations_of(usize::MAX, 2, true), None);
        assert_eq!(combinations_of(3, 4, false), Some(vec![]));
        assert_eq!(combinations_of(4, 3, false), Some(vec![0, 1, 2, 0, 1, 3, 0, 2, 3, 1, 2, 3]));
    }
}
