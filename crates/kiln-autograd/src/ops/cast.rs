//! Copies and conversions: of memory, dtype and device.

use kiln_ops::{DType, Device, Scalar};

use crate::arg::Arg;
use crate::options::Destination;
use crate::record::{Saved, record};
use crate::{Error, Here, Result, Tensor, inplace};

/// The order of a tensor's elements in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemoryFormat {
    /// Row-major.
    #[default]
    Contiguous,
    /// Images `[batch, channels, height, width]` with the channels of a pixel side by side.
    ChannelsLast,
    /// Volumes `[batch, channels, depth, height, width]` with the channels of a voxel side by side.
    ChannelsLast3d,
}

impl MemoryFormat {
    /// The number of axes that the format is for; none for all.
    fn rank(self) -> Option<usize> {
        match self {
            MemoryFormat::Contiguous => None,
            MemoryFormat::ChannelsLast => Some(4),
            MemoryFormat::ChannelsLast3d => Some(5),
        }
    }
}

impl Tensor {
    /// A copy in memory of its own, recorded (`torch.clone`; in Rust `clone()` copies the handle).
    ///
    /// # Errors
    /// The memory is not there or is lent out.
    #[track_caller]
    pub fn copy(&self) -> Result<Tensor> {
        let y = kiln_ops::contiguous_copy(&self.raw()).here()?;
        Ok(record("CloneBackward0", y).input_unchanged(self).done())
    }

    /// This tensor when it is contiguous, else a contiguous copy (`Tensor.contiguous`).
    ///
    /// # Errors
    /// As [`Tensor::copy`].
    #[track_caller]
    pub fn contiguous(&self) -> Result<Tensor> {
        if self.is_contiguous() { Ok(self.clone()) } else { self.copy() }
    }

    /// A copy whose elements lie in memory as `format` says (`torch.clone(memory_format)`).
    ///
    /// # Errors
    /// Another number of axes than the format is for.
    #[track_caller]
    pub fn copy_in(&self, format: MemoryFormat) -> Result<Tensor> {
        let Some(rank) = format.rank() else { return self.copy() };
        if self.rank() != rank {
            return Err(Error::shape(
                "memory_format",
                format!("required rank {rank} tensor to use {format:?}, got shape {:?}", self.shape()),
            ));
        }
        self.movedim(&[1], &[-1])?.copy()?.movedim(&[-1], &[1])
    }

    /// This tensor when its elements lie in memory as `format` says, else a copy that does
    /// (`Tensor.contiguous(memory_format)`).
    ///
    /// # Errors
    /// As [`Tensor::copy_in`].
    #[track_caller]
    pub fn contiguous_in(&self, format: MemoryFormat) -> Result<Tensor> {
        let lies_so = match format.rank() {
            None => self.is_contiguous(),
            Some(rank) => self.rank() == rank && self.movedim(&[1], &[-1])?.is_contiguous(),
        };
        if lies_so { Ok(self.clone()) } else { self.copy_in(format) }
    }

    /// The elements converted to `dtype`, lying in memory as `format` says; this tensor itself where both are so already
    /// (`Tensor.to(dtype, memory_format)`).
    ///
    /// # Errors
    /// As [`Tensor::copy_in`].
    #[track_caller]
    pub fn to_dtype_in(&self, dtype: DType, format: MemoryFormat) -> Result<Tensor> {
        let lies_so = match format.rank() {
            // All tensors whose channels do not come last.
            None => {
                !(matches!(self.rank(), 4 | 5)
                    && !self.is_contiguous()
                    && self.movedim(&[1], &[-1])?.is_contiguous())
            }
            Some(rank) => self.rank() == rank && self.movedim(&[1], &[-1])?.is_contiguous(),
        };
        match (dtype == self.dtype(), lies_so) {
            (true, true) => Ok(self.clone()),
            (true, false) => self.copy_in(format),
            (false, _) => self.to_dtype(dtype)?.contiguous_in(format),
        }
    }

    /// This tensor converted to a dtype, moved to a device, or both (`Tensor.to`); itself where nothing is to be done.
    ///
    /// ```
    /// use kiln_autograd::{Device, F64, best_device, tensor};
    /// # fn main() -> kiln_autograd::Result<()> {
    /// let x = tensor![1.0, 2.0].to(best_device())?;
    /// let back = (&x + &x).to((Device::CPU, F64))?;
    /// assert_eq!(back.to_vec::<f64>()?, [2.0, 4.0]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The device is not there, or the transfer fails.
    #[track_caller]
    pub fn to(&self, destination: impl Into<Destination>) -> Result<Tensor> {
        let Destination { dtype, device } = destination.into();
        let from = (self.dtype(), self.device());
        let (dtype, device) = (dtype.unwrap_or(from.0), device.unwrap_or(from.1));
        if (dtype, device) == from {
            return Ok(self.clone());
        }
        let raw = self.raw();
        // Converted on the host where one side is: other devices may not have all dtypes.
        let y = if raw.device().is_cpu() {
            kiln_ops::to_dtype(&raw, dtype).and_then(|y| kiln_ops::to_device(&y, device)).here()?
        } else {
            kiln_ops::to_device(&raw, device).and_then(|y| kiln_ops::to_dtype(&y, dtype)).here()?
        };
        Ok(record("ToCopyBackward0", y).input(self, || move |g: &Tensor| g.to(from)).done())
    }

    /// The elements converted to `dtype`; this tensor itself when it has that dtype (`Tensor.to(dtype)`).
    ///
    /// # Errors
    /// As [`Tensor::copy`].
    #[track_caller]
    pub fn to_dtype(&self, dtype: DType) -> Result<Tensor> {
        self.to(dtype)
    }

    /// The tensor on `device`; itself when it is there (`Tensor.to(device)`).
    ///
    /// # Errors
    /// The device is not there, or the transfer fails.
    #[track_caller]
    pub fn to_device(&self, device: Device) -> Result<Tensor> {
        self.to(device)
    }

    /// Writes the elements of `src`, broadcast and converted, into this tensor (`Tensor.copy_`).
    ///
    /// # Errors
    /// `src` does not broadcast to this shape; a leaf that requires grad; overlapping memory.
    #[track_caller]
    pub fn copy_(&self, src: &Tensor) -> Result<()> {
        inplace::check("copy_", self)?;
        kiln_ops::copy_(&self.raw(), &src.raw()).here()?;
        if !Tensor::any_requires_grad(&[self, src]) {
            return Ok(());
        }
        record("CopyBackwards", self.raw().clone())
            .input(self, || |g: &Tensor| g.zeros_like())
            .input_unchanged(src)
            .done_in_place(self)
    }

    /// Writes one value everywhere (`Tensor.fill_`).
    ///
    /// # Errors
    /// A leaf that requires grad; elements that share memory.
    #[track_caller]
    pub fn fill_(&self, value: impl Into<Scalar>) -> Result<()> {
        inplace::check("fill_", self)?;
        kiln_ops::fill_(&self.raw(), value.into()).here()?;
        if !Tensor::any_requires_grad(&[self]) {
            return Ok(());
        }
        record("FillBackward0", self.raw().clone())
            .input(self, || |g: &Tensor| g.zeros_like())
            .done_in_place(self)
    }

    /// Writes zeros everywhere (`Tensor.zero_`).
    ///
    /// # Errors
    /// As [`Tensor::fill_`].
    #[track_caller]
    pub fn zero_(&self) -> Result<()> {
        self.fill_(0)
    }

    /// Zeros of this tensor's shape, dtype and device (`torch.zeros_like`).
    ///
    /// # Errors
    /// The memory is not there.
    #[track_caller]
    pub fn zeros_like(&self) -> Result<Tensor> {
        self.full_like(0)
    }

    /// Ones of this tensor's shape, dtype and device (`torch.ones_like`).
    ///
    /// # Errors
    /// The memory is not there.
    #[track_caller]
    pub fn ones_like(&self) -> Result<Tensor> {
        self.full_like(1)
    }

    /// One value in this tensor's shape, dtype and device (`torch.full_like`).
    ///
    /// # Errors
    /// The memory is not there.
    #[track_caller]
    pub fn full_like(&self, value: impl Into<Scalar>) -> Result<Tensor> {
        let raw = self.raw();
        Ok(Tensor::from_raw(kiln_ops::full(raw.shape(), value.into(), raw.dtype(), raw.device()).here()?))
    }

    /// A zero-dimensional tensor of this tensor's dtype and device.
    #[track_caller]
    pub(crate) fn new_scalar(&self, value: Scalar) -> Result<Tensor> {
        Ok(Tensor::from_raw(kiln_ops::scalar(value, self.dtype(), self.device()).here()?))
    }

    /// A copy of the values with the history that this tensor has now: what an in-place operation's derivative reads.
    #[track_caller]
    pub(crate) fn snapshot(&self) -> Result<Tensor> {
        let raw = kiln_ops::contiguous_copy(&self.raw()).here()?;
        let copy = Tensor::with_source(raw, if self.needs_edge() { self.edge() } else { None }, None);
        crate::tangents::share(self, &copy);
        Ok(copy)
    }

    /// [`Tensor::snapshot`], saved, when this tensor takes part in differentiation.
    #[track_caller]
    pub(crate) fn save_copy_if_needed(&self) -> Result<Option<Saved>> {
        if Tensor::any_requires_grad(&[self]) { Ok(Some(self.snapshot()?.save())) } else { Ok(None) }
    }

    /// The operand as a tensor, a number in this tensor's kind.
    #[track_caller]
    pub(crate) fn arg_tensor(&self, arg: Arg<'_>) -> Result<Tensor> {
        match arg {
            Arg::Tensor(t) => Ok(t.clone()),
            Arg::Scalar(s) => self.new_scalar(s),
        }
    }
}
