//! Writing: assignment to what an index names.

use super::apply::{Picked, pick, raw_indices};
use super::index::Indices;
use crate::record::{Saved, record};
use crate::{Arg, Result, Tensor, inplace};

impl Tensor {
    /// Writes a number or a tensor, which broadcasts, to the part of this tensor that an index names: `x[index] = value`.
    ///
    /// ```
    /// use kiln_autograd::{Tensor, tensor};
    /// let x = Tensor::zeros([2, 3]);
    /// x.set((.., 1), 5.0)?;
    /// x.set((0, 1..), tensor![7., 8.])?;
    /// x.set(&x.eq(0.0)?, -1.0)?;
    /// assert_eq!(x.to_vec::<f32>()?, [-1., 7., 8., -1., 5., -1.]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::i`]; a value that does not broadcast; a leaf that requires grad; for masks and index tensors, a value of
    /// another dtype.
    pub fn set(&self, index: impl Indices, value: impl crate::Right) -> Result<()> {
        index.with(|parts| value.with(|value| write(self, pick(self, parts)?, value)))
    }

    /// Adds a number or a tensor, which broadcasts, to the part of this tensor that an index names: `x[index] += value`.
    /// Positions that an index tensor names several times get every value, as with `index_put_(accumulate=True)`.
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// let counts = Tensor::zeros(3);
    /// counts.i_add_([0, 2, 2], 1.0)?;
    /// assert_eq!(counts.to_vec::<f32>()?, [1.0, 0.0, 2.0]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::set`].
    pub fn i_add_(&self, index: impl Indices, value: impl crate::Right) -> Result<()> {
        index.with(|parts| {
            value.with(|value| {
                let picked = pick(self, parts)?;
                if picked.tensors.is_empty() {
                    return picked.view.add_(value);
                }
                let value = picked.view.arg_tensor(value)?;
                picked.view.index_put_(&picked.tensors, &value, true)
            })
        })
    }

    /// A copy with `values`, broadcast, at index tensors, or added there (`Tensor.index_put`). Without adding, of several
    /// values for one element the last one stays.
    ///
    /// # Errors
    /// As [`Tensor::index`]; values of another dtype or that do not broadcast.
    pub fn index_put(&self, indices: &[Option<Tensor>], values: &Tensor, accumulate: bool) -> Result<Tensor> {
        let y = kiln_ops::index_put(&self.raw(), &raw_indices(indices), &values.raw(), accumulate)?;
        Ok(derivatives(record("IndexPutBackward0", y), self, indices, values, accumulate).done())
    }

    /// In-place form of [`Tensor::index_put`].
    ///
    /// # Errors
    /// As [`Tensor::index_put`]; a leaf that requires grad; elements that share memory.
    pub fn index_put_(&self, indices: &[Option<Tensor>], values: &Tensor, accumulate: bool) -> Result<()> {
        inplace::check("index_put_", self)?;
        kiln_ops::index_put_(&self.raw(), &raw_indices(indices), &values.raw(), accumulate)?;
        if !Tensor::any_requires_grad(&[self, values]) {
            return Ok(());
        }
        let rec = record("IndexPutBackward0", self.raw().clone());
        derivatives(rec, self, indices, values, accumulate).done_in_place(self)
    }
}

fn write(x: &Tensor, picked: Picked, value: Arg<'_>) -> Result<()> {
    let Picked { view, tensors } = picked;
    // For the check, the whole tensor is a part of itself.
    debug_assert!(view.shares_storage(x));
    if tensors.is_empty() {
        return match value {
            Arg::Scalar(number) => view.fill_(number),
            Arg::Tensor(t) => view.copy_(&without_leading_ones(t, view.rank())?),
        };
    }
    let value = match value {
        Arg::Scalar(number) => view.new_scalar(number)?,
        // A number that is a tensor may come from another device, as numbers do.
        Arg::Tensor(t) if t.rank() == 0 => t.to_device(view.device())?,
        Arg::Tensor(t) => t.clone(),
    };
    view.index_put_(&tensors, &value, false)
}

/// Assignment forgives axes of size 1 in front that the target does not have.
fn without_leading_ones(t: &Tensor, rank: usize) -> Result<Tensor> {
    let shape = t.shape();
    let extra = shape.rank().saturating_sub(rank);
    let ones = shape.iter().take_while(|&&n| n == 1).count().min(extra);
    if ones == 0 { Ok(t.clone()) } else { t.reshape(&shape[ones..]) }
}

/// The derivatives of writing `values` into `x`.
fn derivatives(
    rec: crate::Recorder,
    x: &Tensor,
    indices: &[Option<Tensor>],
    values: &Tensor,
    accumulate: bool,
) -> crate::Recorder {
    rec.input(x, || {
        let saved = save(indices);
        move |g: &Tensor| {
            if accumulate {
                return Ok(g.clone());
            }
            // What was overwritten has no gradient.
            g.index_put(&saved.get()?, &g.new_scalar(0.into())?, false)
        }
    })
    .input(values, || {
        let saved = save(indices);
        move |g: &Tensor| g.index(&saved.get()?)
    })
}

/// Index tensors as a derivative reads them.
pub(super) struct SavedIndices(Vec<Option<Saved>>);

pub(super) fn save(indices: &[Option<Tensor>]) -> SavedIndices {
    SavedIndices(indices.iter().map(|i| i.as_ref().map(Tensor::save)).collect())
}

impl SavedIndices {
    pub(super) fn get(&self) -> Result<Vec<Option<Tensor>>> {
        self.0.iter().map(|i| i.as_ref().map(Saved::get).transpose()).collect()
    }
}
