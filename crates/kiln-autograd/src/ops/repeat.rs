//! Tensors repeated, mirrored, rolled and padded.

use kiln_ops::{DType, PadMode, Scalar, Shape};

use crate::record::record;
use crate::{Error, Here, Result, Tensor, autocast};

impl Tensor {
    /// The whole tensor `repeats[i]` times along axis `i`; more repeats than axes add axes in front (`Tensor.repeat`).
    ///
    /// # Errors
    /// Fewer repeats than axes, or negative ones.
    #[track_caller]
    pub fn repeat(&self, repeats: &[i64]) -> Result<Tensor> {
        let y = kiln_ops::repeat(&self.raw(), repeats).here()?;
        Ok(record("RepeatBackward0", y)
            .input(self, || {
                let (shape, repeats) = (self.shape(), repeats.to_vec());
                move |g: &Tensor| repeat_backward(g, &shape, &repeats)
            })
            .done())
    }

    /// [`Tensor::repeat`] that takes missing repeats, counted from the last axis, as 1 (`torch.tile`).
    ///
    /// # Errors
    /// Negative repeats.
    #[track_caller]
    pub fn tile(&self, repeats: &[i64]) -> Result<Tensor> {
        let missing = self.rank().saturating_sub(repeats.len());
        let all: Vec<i64> = std::iter::repeat_n(1, missing).chain(repeats.iter().copied()).collect();
        self.repeat(&all)
    }

    /// Every position of `axis` (of the flattened tensor if `None`) `repeats` times in a row
    /// (`torch.repeat_interleave`).
    ///
    /// # Errors
    /// Negative repeats; an axis out of range.
    #[track_caller]
    pub fn repeat_interleave(&self, repeats: i64, axis: impl Into<Option<i64>>) -> Result<Tensor> {
        let axis = axis.into();
        let y = kiln_ops::repeat_interleave(&self.raw(), repeats, axis).here()?;
        Ok(record("ViewBackward0", y)
            .input(self, || {
                let shape = self.shape();
                move |g: &Tensor| {
                    let at = match axis {
                        Some(axis) if shape.rank() > 0 => shape.axis("repeat_interleave", axis)?,
                        _ => 0,
                    };
                    // Each position and, after it, its repetitions.
                    let mut sizes = g.dims();
                    sizes[at] = if axis.is_some() && shape.rank() > 0 { shape[at] } else { shape.numel() };
                    sizes.insert(at + 1, repeats as usize);
                    g.reshape(sizes)?.sum_axes(&[at as i64 + 1], false)?.reshape(&shape)
                }
            })
            .done())
    }

    /// Position `i` of `axis` (of the flattened tensor if `None`) `repeats[i]` times in a row
    /// (`torch.repeat_interleave`).
    ///
    /// # Errors
    /// Repeats that are negative, not int32 or int64, not one-dimensional, or not as many as positions.
    #[track_caller]
    pub fn repeat_interleave_by(&self, repeats: &Tensor, axis: impl Into<Option<i64>>) -> Result<Tensor> {
        let Some(axis) = axis.into() else {
            return self.flatten(0, -1)?.repeat_interleave_by(repeats, 0);
        };
        let x = self.atleast_1d()?;
        let at = x.shape().axis("repeat_interleave", axis).here()?;
        // The positions, repeated: an index into the axis.
        let positions =
            kiln_ops::arange(0.into(), (x.shape()[at] as i64).into(), 1.into(), DType::I64, x.device())
                .here()?;
        let index = kiln_ops::repeat_interleave_by(&positions, &repeats.raw(), Some(0)).here()?;
        x.index_select(axis, &Tensor::from_raw(index))
    }

    /// The order along the given axes reversed, as a copy (`torch.flip`).
    ///
    /// # Errors
    /// An axis out of range or named twice.
    #[track_caller]
    pub fn flip(&self, axes: &[i64]) -> Result<Tensor> {
        let y = kiln_ops::flip(&self.raw(), axes).here()?;
        Ok(record("FlipBackward0", y)
            .input(self, || {
                let axes = axes.to_vec();
                move |g: &Tensor| g.flip(&axes)
            })
            .done())
    }

    /// Columns in reversed order (`torch.fliplr`).
    ///
    /// # Errors
    /// Less than two axes.
    #[track_caller]
    pub fn fliplr(&self) -> Result<Tensor> {
        if self.rank() < 2 {
            return Err(Error::shape("fliplr", "Input must be >= 2-d."));
        }
        self.flip(&[1])
    }

    /// Rows in reversed order (`torch.flipud`).
    ///
    /// # Errors
    /// No axis.
    #[track_caller]
    pub fn flipud(&self) -> Result<Tensor> {
        if self.rank() < 1 {
            return Err(Error::shape("flipud", "Input must be >= 1-d."));
        }
        self.flip(&[0])
    }

    /// Elements moved on by `shifts[i]` places along `axes[i]`, those past the end to the front; without axes, along the
    /// flattened tensor (`torch.roll`).
    ///
    /// # Errors
    /// Lists of different length; an axis out of range.
    #[track_caller]
    pub fn roll(&self, shifts: &[i64], axes: &[i64]) -> Result<Tensor> {
        let y = kiln_ops::roll(&self.raw(), shifts, axes).here()?;
        Ok(record("RollBackward0", y)
            .input(self, || {
                let back: Vec<i64> = shifts.iter().map(|s| s.wrapping_neg()).collect();
                let axes = axes.to_vec();
                move |g: &Tensor| g.roll(&back, &axes)
            })
            .done())
    }

    /// The plane of two axes turned by `times` right angles, from the first axis towards the second (`torch.rot90`).
    ///
    /// # Errors
    /// Axes out of range, the same, or not two.
    #[track_caller]
    pub fn rot90(&self, times: i64, axes: &[i64]) -> Result<Tensor> {
        let y = kiln_ops::rot90(&self.raw(), times, axes).here()?;
        Ok(record("Rot90Backward0", y)
            .input(self, || {
                let (back, axes) = (-times.rem_euclid(4), axes.to_vec());
                move |g: &Tensor| g.rot90(back, &axes)
            })
            .done())
    }

    /// A copy with room around it (`torch.nn.functional.pad`): `padding` lists, from the last axis on, how many positions
    /// come before and after; negative numbers take positions away.
    ///
    /// ```
    /// use kiln_autograd::{PadMode, Tensor};
    /// let x = Tensor::from_vec(vec![1i64, 2, 3], [1, 3])?;
    /// assert_eq!(x.pad(&[1, 2], PadMode::Reflect)?.to_vec::<i64>()?, [2, 1, 2, 3, 2, 1]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A list of odd length or for more axes than there are; sizes that become negative. Except for constants: axes
    /// other than the last one to three of a tensor with one or two axes more; reflections of the whole axis or more;
    /// more than one turn around.
    #[track_caller]
    pub fn pad(&self, padding: &[i64], mode: PadMode) -> Result<Tensor> {
        if matches!(mode, PadMode::Reflect | PadMode::Replicate)
            && let Some(cast) = autocast::full()
        {
            return cast.of(self)?.pad(padding, mode);
        }
        let y = kiln_ops::pad(&self.raw(), padding, mode).here()?;
        let axes = padding.len() / 2;
        let name = match (mode, axes) {
            (PadMode::Constant(_), _) => "ConstantPadNdBackward0",
            (PadMode::Reflect, 1) => "ReflectionPad1DBackward0",
            (PadMode::Reflect, 2) => "ReflectionPad2DBackward0",
            (PadMode::Reflect, _) => "ReflectionPad3DBackward0",
            (PadMode::Replicate, 1) => "ReplicationPad1DBackward0",
            (PadMode::Replicate, 2) => "ReplicationPad2DBackward0",
            (PadMode::Replicate, _) => "ReplicationPad3DBackward0",
            (PadMode::Circular, _) => "CircularPadBackward0",
        };
        Ok(record(name, y)
            .input(self, || {
                let (shape, padding) = (self.shape(), padding.to_vec());
                move |g: &Tensor| match mode {
                    PadMode::Constant(_) => {
                        let back: Vec<i64> = padding.iter().map(|p| -p).collect();
                        g.constant_pad_nd(&back, 0)
                    }
                    _ => fold_padding(g, &shape, &padding, mode),
                }
            })
            .done())
    }

    /// [`Tensor::pad`] with one value (`torch.constant_pad_nd`).
    ///
    /// # Errors
    /// As [`Tensor::pad`].
    #[track_caller]
    pub fn constant_pad_nd(&self, padding: &[i64], value: impl Into<Scalar>) -> Result<Tensor> {
        self.pad(padding, PadMode::Constant(value.into()))
    }

    /// The Kronecker product: a copy of `other` for each element, scaled by it (`torch.kron`).
    ///
    /// # Errors
    /// Different devices; sizes that overflow.
    #[track_caller]
    pub fn kron(&self, other: &Tensor) -> Result<Tensor> {
        let (a, b) = (self.dims(), other.dims());
        let rank = a.len().max(b.len());
        let size = |dims: &[usize], axis: usize| (axis + dims.len()).checked_sub(rank).map_or(1, |i| dims[i]);
        let pairs = |first: &[usize], second: &[usize]| -> Vec<usize> {
            (0..rank).flat_map(|i| [size(first, i), size(second, i)]).collect()
        };
        let sizes: Option<Vec<usize>> = (0..rank).map(|i| size(&a, i).checked_mul(size(&b, i))).collect();
        let sizes = sizes.ok_or_else(|| Error::shape("kron", "the number of elements overflows")).here()?;
        self.reshape(pairs(&a, &[]))?.mul(&other.reshape(pairs(&[], &b))?)?.reshape(sizes)
    }
}

/// The sum of what was repeated.
fn repeat_backward(g: &Tensor, shape: &Shape, repeats: &[i64]) -> Result<Tensor> {
    let lead = repeats.len() - shape.rank();
    let (mut sizes, mut summed) = (Vec::new(), Vec::new());
    for (i, &r) in repeats.iter().enumerate() {
        if r != 1 {
            summed.push(sizes.len() as i64);
            sizes.push(r as usize);
        }
        if let Some(axis) = i.checked_sub(lead) {
            sizes.push(shape[axis]);
        }
    }
    let g = g.reshape(sizes)?;
    // No axes would mean all of them.
    if summed.is_empty() { g.reshape(shape) } else { g.sum_axes(&summed, false)?.reshape(shape) }
}

/// The gradient of elements that stand in several places of a padded tensor: the sum over these.
fn fold_padding(g: &Tensor, shape: &Shape, padding: &[i64], mode: PadMode) -> Result<Tensor> {
    let mut g = g.clone();
    for (i, pair) in padding.chunks_exact(2).enumerate() {
        let axis = shape.rank() - 1 - i;
        if pair == [0, 0] {
            continue;
        }
        // Which position each one shows: the positions themselves, padded.
        let positions =
            kiln_ops::arange(0.into(), (shape[axis] as i64).into(), 1.into(), DType::I64, g.device())?;
        let shown = kiln_ops::pad(&kiln_ops::unsqueeze(&positions, 0)?, pair, mode)?;
        let shown = Tensor::from_raw(kiln_ops::reshape(&shown, &[-1])?);
        g = super::index::zeros(&g.shape().with(axis, shape[axis]), &g)?.index_add(
            axis as i64,
            &shown,
            &g,
        )?;
    }
    Ok(g)
}
