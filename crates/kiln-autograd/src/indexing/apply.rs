//! Reading: the view that the basic parts pick, and the index tensors that are left for it.

use kiln_ops::{DType, Device};

use super::index::{Index, Indices, Slice};
use crate::birth::called_here;
use crate::record::record;
use crate::{Error, Here, Result, Tensor};

const OP: &str = "index";

/// A view, and for some of its axes tensors to index it with.
pub(super) struct Picked {
    pub(super) view: Tensor,
    pub(super) tensors: Vec<Option<Tensor>>,
}

impl Tensor {
    /// The part of the tensor that an index names, `x[index]`: a view for numbers, ranges, `NewAxis` and `Ellipsis`; a copy
    /// when there are masks or index tensors among them.
    ///
    /// ```
    /// use kiln_autograd::{Ellipsis, NewAxis, Tensor, s, tensor};
    /// let x = Tensor::arange(12).reshape([3, 4])?;
    /// assert_eq!(x.i((0, ..))?.to_vec::<i64>()?, [0, 1, 2, 3]);
    /// assert_eq!(x.i((.., -1))?.to_vec::<i64>()?, [3, 7, 11]);
    /// assert_eq!(x.i((1.., s![..; 2]))?.to_vec::<i64>()?, [4, 6, 8, 10]);
    /// assert_eq!(x.i((Ellipsis, NewAxis, 1..3))?.dims(), [3, 1, 2]);
    /// assert_eq!(x.i(&x.gt(8)?)?.to_vec::<i64>()?, [9, 10, 11]);
    /// assert_eq!(x.i(([0, 2], [1, 3]))?.to_vec::<i64>()?, [1, 11]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A position outside of its axis, more parts than axes, a step below 1, masks of another shape than their axes, index
    /// tensors that do not broadcast together.
    #[track_caller]
    pub fn i(&self, index: impl Indices) -> Result<Tensor> {
        let part = |picked: Picked| {
            if !picked.tensors.is_empty() {
                return picked.view.index(&references(&picked.tensors));
            }
            if !picked.view.is_same(self) {
                return Ok(picked.view);
            }
            // All of it is still a view of its own.
            let raw = self.raw().clone();
            Ok(record("AliasBackward0", raw).view_of(self).input_unchanged(self).done())
        };
        called_here(|| index.with(|parts| part(pick(self, parts)?))).here()
    }
}

/// Index tensors as [`Tensor::index`] takes them.
pub(super) fn references(tensors: &[Option<Tensor>]) -> Vec<Option<&Tensor>> {
    tensors.iter().map(Option::as_ref).collect()
}

/// Applies the basic parts one after the other.
#[track_caller]
pub(super) fn pick(x: &Tensor, parts: &[Index]) -> Result<Picked> {
    let rank = x.rank();
    let wanted: usize = parts.iter().map(Index::axes).sum();
    let is_ellipsis = |p: &&Index| matches!(p, Index::Ellipsis);
    if parts.iter().filter(is_ellipsis).count() > 1 {
        return Err(Error::index(OP, "an index can only have a single ellipsis ('...')"));
    }
    if wanted > rank {
        if rank == 0 {
            return Err(Error::index(
                OP,
                "invalid index of a 0-dim tensor. Use `tensor.item()` to convert it to a number",
            ));
        }
        return Err(Error::index(
            OP,
            format!(
                "too many indices for tensor of dimension {rank}: {wanted} axes are indexed, the shape is {:?}",
                x.raw().shape()
            ),
        ));
    }
    let mut picked = Picked { view: x.clone(), tensors: Vec::new() };
    // The axis of the view that the next part is for, and the axis of `x` it comes from.
    let (mut axis, mut original) = (0, 0);
    for part in parts {
        match part {
            Index::At(at) => picked.select(axis, original, *at)?,
            Index::Slice(slice) => {
                picked.slice(axis, original, *slice)?;
                axis += 1;
            }
            Index::NewAxis => {
                picked.view = picked.view.unsqueeze(axis as i64)?;
                axis += 1;
            }
            Index::Ellipsis => {
                axis += rank - wanted;
                original += rank - wanted;
            }
            Index::Bool(keep) => picked.switch(&mut axis, *keep)?,
            Index::Tensor(t) if t.rank() == 0 => match t.dtype() {
                DType::Bool | DType::U8 => {
                    let keep = t.item()?.is_true();
                    picked.switch(&mut axis, keep)?;
                }
                d if d.is_int() => {
                    let at = t.item()?.to_i64();
                    picked.select(axis, original, at)?;
                }
                d => return Err(not_an_index(d)),
            },
            Index::Tensor(t) => {
                if !matches!(t.dtype(), DType::Bool | DType::U8 | DType::I32 | DType::I64) {
                    return Err(not_an_index(t.dtype()));
                }
                check_mask(x, t, original, part.axes())?;
                picked.put(axis, t.clone());
                axis += part.axes();
            }
        }
        original += part.axes();
    }
    Ok(picked)
}

fn not_an_index(dtype: DType) -> Error {
    Error::index(OP, format!("tensors used as indices must be long, int, byte or bool tensors, got {dtype}"))
}

/// Fails unless a mask has the sizes of the axes it is for.
#[track_caller]
fn check_mask(x: &Tensor, t: &Tensor, first: usize, axes: usize) -> Result<()> {
    if !matches!(t.dtype(), DType::Bool | DType::U8) {
        return Ok(());
    }
    let (mask, shape) = (t.shape(), x.shape());
    match (0..axes).find(|&a| mask[a] != shape[first + a]) {
        None => Ok(()),
        Some(a) => Err(Error::index(
            OP,
            format!(
                "The shape of the mask {mask:?} at index {a} does not match the shape of the indexed tensor {shape:?} at \
                 index {}: {} is not {}",
                first + a,
                mask[a],
                shape[first + a]
            ),
        )),
    }
}

impl Picked {
    #[track_caller]
    fn select(&mut self, axis: usize, original: usize, at: i64) -> Result<()> {
        let size = self.view.raw().shape()[axis] as i64;
        if at < -size || at >= size {
            return Err(Error::index(
                OP,
                format!("index {at} is out of bounds for dimension {original} with size {size}"),
            ));
        }
        self.view = self.view.select(axis as i64, at)?;
        Ok(())
    }

    #[track_caller]
    fn slice(&mut self, axis: usize, original: usize, slice: Slice) -> Result<()> {
        if slice.step <= 0 {
            return Err(Error::value(
                OP,
                format!("step must be greater than zero, got {} for dimension {original}", slice.step),
            ));
        }
        let size = self.view.raw().shape()[axis] as i64;
        let whole = slice.step == 1
            && slice.start.is_none_or(|s| s == 0 || s <= -size)
            && slice.end.is_none_or(|e| e >= size);
        if !whole {
            self.view = self.view.slice(axis as i64, slice.start, slice.end, slice.step)?;
        }
        Ok(())
    }

    /// A new axis that keeps its one position or not.
    #[track_caller]
    fn switch(&mut self, axis: &mut usize, keep: bool) -> Result<()> {
        self.view = self.view.unsqueeze(*axis as i64)?;
        let positions = Tensor::from(vec![0i64; keep as usize]).to_device(self.device())?;
        self.put(*axis, positions);
        *axis += 1;
        Ok(())
    }

    fn device(&self) -> Device {
        self.view.device()
    }

    /// Indexes `axis` of the view with a tensor.
    fn put(&mut self, axis: usize, t: Tensor) {
        // A mask of several axes is one index, at the place of its first axis.
        let masked: usize =
            self.tensors.iter().flatten().map(|t| Index::from(t).axes().saturating_sub(1)).sum();
        self.tensors.resize(axis - masked, None);
        self.tensors.push(Some(t));
    }
}
