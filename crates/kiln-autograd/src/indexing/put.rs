//! Writing: assignment to what an index names.

use super::apply::{Picked, pick, references};
use super::index::Indices;
use crate::birth::called_here;
use crate::{Arg, Here, Result, Tensor};

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
    #[track_caller]
    pub fn set(&self, index: impl Indices, value: impl crate::Right) -> Result<()> {
        called_here(|| index.with(|parts| write(self, pick(self, parts)?, value.arg()))).here()
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
    #[track_caller]
    pub fn i_add_(&self, index: impl Indices, value: impl crate::Right) -> Result<()> {
        let add = |picked: Picked| {
            if picked.tensors.is_empty() {
                return picked.view.add_(value.arg());
            }
            let value = picked.view.arg_tensor(value.arg())?;
            picked.view.index_put_(&references(&picked.tensors), &value, true)
        };
        called_here(|| index.with(|parts| add(pick(self, parts)?))).here()
    }
}

#[track_caller]
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
    view.index_put_(&references(&tensors), &value, false)
}

/// Assignment forgives axes of size 1 in front that the target does not have.
#[track_caller]
fn without_leading_ones(t: &Tensor, rank: usize) -> Result<Tensor> {
    let shape = t.shape();
    let extra = shape.rank().saturating_sub(rank);
    let ones = shape.iter().take_while(|&&n| n == 1).count().min(extra);
    if ones == 0 { Ok(t.clone()) } else { t.reshape(&shape[ones..]) }
}
