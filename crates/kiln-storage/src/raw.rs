//! A storage seen through a layout: a tensor without history.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Access, DType, Device, Element, Error, Layout, Result, Shape, Storage};

/// A storage, how elements lie in it, and what they are. Cloning shares the memory.
#[derive(Clone)]
pub struct RawTensor {
    storage: Storage,
    /// A counter of its own for tensors whose changes must not be seen by the storage's other views (`data`).
    version: Option<Arc<AtomicU64>>,
    layout: Layout,
    dtype: DType,
}

impl RawTensor {
    /// A tensor over `storage`.
    ///
    /// # Errors
    /// The layout reaches past the end of the storage.
    pub fn new(op: &'static str, storage: Storage, layout: Layout, dtype: DType) -> Result<RawTensor> {
        let room = storage.bytes() / dtype.size();
        match layout.extent() {
            Some(extent) if extent <= room => Ok(RawTensor { storage, version: None, layout, dtype }),
            _ => Err(Error::shape(
                op,
                format!(
                    "shape {:?} with strides {:?} and offset {} reaches past the end of a storage of {room} elements",
                    layout.shape(),
                    layout.strides(),
                    layout.offset()
                ),
            )),
        }
    }

    /// A contiguous host tensor whose elements are undefined: the caller writes all of them before any is read.
    ///
    /// # Errors
    /// The size overflows or the memory is not there.
    #[inline(always)]
    pub fn uninit(op: &'static str, shape: Shape, dtype: DType) -> Result<RawTensor> {
        let (layout, numel) = Layout::contiguous_checked(op, shape)?;
        let storage = Storage::uninit(numel * dtype.size())?;
        Ok(RawTensor { storage, version: None, layout, dtype })
    }

    /// Takes over a vector as the row-major elements of a host tensor.
    ///
    /// # Errors
    /// The vector's length is not the number of elements of `shape`.
    pub fn from_vec<T: Element>(
        op: &'static str,
        data: Vec<T>,
        shape: impl Into<Shape>,
    ) -> Result<RawTensor> {
        let shape = shape.into();
        if shape.checked_numel(op)? != data.len() {
            return Err(Error::shape(
                op,
                format!("{} elements do not fill shape {shape:?}, which has {}", data.len(), shape.numel()),
            ));
        }
        let storage = Storage::from_vec(data);
        Ok(RawTensor { storage, version: None, layout: Layout::contiguous(shape), dtype: T::DTYPE })
    }

    /// The memory.
    #[inline]
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// How elements lie in the memory.
    #[inline]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The element type.
    #[inline]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where the memory lives.
    #[inline]
    pub fn device(&self) -> Device {
        self.storage.device()
    }

    /// The sizes.
    #[inline]
    pub fn shape(&self) -> &Shape {
        self.layout.shape()
    }

    /// The number of axes.
    #[inline]
    pub fn rank(&self) -> usize {
        self.layout.rank()
    }

    /// The number of elements.
    #[inline]
    pub fn numel(&self) -> usize {
        self.layout.numel()
    }

    /// Whether the elements lie in row-major order without gaps.
    #[inline]
    pub fn is_contiguous(&self) -> bool {
        self.layout.is_contiguous()
    }

    /// The same memory under another layout derived from this one by a view operation.
    ///
    /// # Panics
    /// In debug builds, when the layout reaches past the storage.
    #[inline]
    pub fn with_layout(&self, layout: Layout) -> RawTensor {
        debug_assert!(layout.extent().is_some_and(|e| e * self.dtype.size() <= self.storage.bytes()));
        RawTensor { storage: self.storage.clone(), version: self.version.clone(), layout, dtype: self.dtype }
    }

    /// The same memory with a version counter of its own: changes made through the result are not counted by this one.
    pub fn with_own_version(&self) -> RawTensor {
        RawTensor { version: Some(Arc::new(AtomicU64::new(0))), ..self.clone() }
    }

    /// The number of changes in place that this tensor, its views and its base have seen.
    #[inline]
    pub fn version(&self) -> u64 {
        match &self.version {
            Some(own) => own.load(Ordering::Acquire),
            None => self.storage.version(),
        }
    }

    /// Counts one change in place.
    #[inline]
    pub fn bump_version(&self) {
        match &self.version {
            Some(own) => {
                own.fetch_add(1, Ordering::AcqRel);
            }
            None => self.storage.bump_version(),
        }
    }

    /// The address of the first element in host memory; `None` on other devices.
    #[inline]
    pub fn host_ptr(&self) -> Option<*mut u8> {
        // Wrapping: an empty view may point past the end, and is not followed then.
        self.storage.host_ptr().map(|p| p.wrapping_add(self.layout.offset() * self.dtype.size()))
    }

    /// The elements in row-major order, copied from host memory.
    ///
    /// # Errors
    /// `T` is not the tensor's element type, the tensor is not on the host, or its memory is lent out.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        const OP: &str = "to_vec";
        let from = self.readable(OP, T::DTYPE)?;
        let _access = Access::new(OP, [&self.storage], [])?;
        let mut out: Vec<T> = Vec::with_capacity(self.numel());
        // SAFETY: the elements lie in the storage and are initialised values of T, the access keeps writers out, and the
        // vector has room for all of them.
        unsafe {
            self.copy_elements(from, out.as_mut_ptr().cast());
            out.set_len(self.numel());
        }
        Ok(out)
    }

    /// The start of the storage in host memory, for one who reads elements of `dtype`.
    fn readable(&self, op: &'static str, dtype: DType) -> Result<*const u8> {
        if dtype != self.dtype {
            return Err(Error::dtype(
                op,
                format!("the tensor holds {}, not {dtype}; convert it with to_dtype first", self.dtype),
            ));
        }
        self.storage.host_ptr().map(|start| start.cast_const()).ok_or_else(|| {
            Error::device(op, format!("the tensor is on {}; copy it to cpu first", self.device()))
        })
    }

    /// Copies the elements to `to` in row-major order, as what counts alone here: so many bytes each.
    ///
    /// # Safety
    /// `from` is the start of the storage in host memory, which nobody writes to meanwhile; `to` has room for all elements.
    unsafe fn copy_elements(&self, from: *const u8, to: *mut u8) {
        let size = self.dtype.size();
        // SAFETY: the layout lies inside the storage (checked at construction), and the caller's promise.
        unsafe {
            if self.is_contiguous() {
                std::ptr::copy_nonoverlapping(
                    from.wrapping_add(self.layout.offset() * size),
                    to,
                    self.numel() * size,
                );
                return;
            }
            match size {
                1 => self.copy_words::<u8>(from, to),
                2 => self.copy_words::<u16>(from, to),
                4 => self.copy_words::<u32>(from, to),
                _ => self.copy_words::<u64>(from, to),
            }
        }
    }

    /// # Safety
    /// As [`RawTensor::copy_elements`], for elements of the size of `W`.
    unsafe fn copy_words<W: Copy>(&self, from: *const u8, to: *mut u8) {
        let (from, mut to) = (from.cast::<W>(), to.cast::<W>());
        self.layout.for_each_position(|p| {
            // SAFETY: the caller's promise.
            unsafe {
                to.write_unaligned(from.add(p).read_unaligned());
                to = to.add(1);
            }
        });
    }
}
