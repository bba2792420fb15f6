//! Host memory lent to the user: guards that hold a tensor's memory locked and show its elements.
//!
//! A guard owns a handle to the memory, so it outlives the tensor it came from. While it lives, other threads that want
//! the memory wait, and operations of its own thread fail instead of waiting for themselves.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use crate::{Access, Element, Error, Layout, RawTensor, Result, Storage};

/// One storage, locked until dropped. It stays on the thread that locked it: the thread's list of lent storages and the
/// lock itself must be given back there.
pub(crate) struct Lease {
    storage: Storage,
    write: bool,
    _not_send: PhantomData<*const ()>,
}

impl Lease {
    pub(crate) fn new(op: &'static str, storage: &Storage, write: bool) -> Result<Lease> {
        let access = if write { Access::new(op, [], [storage])? } else { Access::new(op, [storage], [])? };
        access.lend().keep();
        Ok(Lease { storage: storage.clone(), write, _not_send: PhantomData })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // SAFETY: `new` kept a lent access to this storage in this mode, on this thread, since a lease is not `Send`; a
        // lease is dropped once. The storage is the same one: `self.storage` shares it.
        drop(unsafe { Access::resume(&self.storage, self.write) });
    }
}

/// Checks that `raw` is a host tensor of `T` and gives the address of its storage.
pub(crate) fn host_elements<T: Element>(op: &'static str, raw: &RawTensor) -> Result<*mut T> {
    if raw.dtype() != T::DTYPE {
        return Err(Error::dtype(
            op,
            format!("the tensor holds {}, not {}; convert it with to_dtype first", raw.dtype(), T::DTYPE),
        ));
    }
    raw.storage()
        .host_ptr()
        .map(|p| p.cast())
        .ok_or_else(|| Error::device(op, format!("the tensor is on {}; copy it to cpu first", raw.device())))
}

/// Shared access to a host tensor's elements; derefs to a slice if they lie in row-major order without gaps.
///
/// ```
/// use kiln_storage::{RawTensor, SliceRef};
/// let x = RawTensor::from_vec("doc", vec![1.0f32, 2.0], [2])?;
/// let slice = SliceRef::<f32>::contiguous("as_slice", &x)?;
/// assert_eq!(*slice, [1.0, 2.0]);
/// # Ok::<(), kiln_storage::Error>(())
/// ```
pub struct SliceRef<T: Element> {
    base: *const T,
    layout: Layout,
    _lease: Lease,
}

impl<T: Element> SliceRef<T> {
    /// Lends a tensor with any strides; elements are read with [`SliceRef::get`].
    ///
    /// # Errors
    /// `T` is not the tensor's element type, the tensor is not on the host, or its memory is lent out for writing.
    pub fn strided(op: &'static str, raw: &RawTensor) -> Result<SliceRef<T>> {
        let base = host_elements::<T>(op, raw)?;
        let lease = Lease::new(op, raw.storage(), false)?;
        Ok(SliceRef { base, layout: raw.layout().clone(), _lease: lease })
    }

    /// Lends a contiguous tensor.
    ///
    /// # Errors
    /// As [`SliceRef::strided`]; the tensor is not contiguous.
    pub fn contiguous(op: &'static str, raw: &RawTensor) -> Result<SliceRef<T>> {
        check_contiguous(op, raw)?;
        SliceRef::strided(op, raw)
    }

    /// The element at a position of the tensor in row-major order.
    ///
    /// # Panics
    /// There is no such element.
    #[inline]
    pub fn get(&self, index: usize) -> T {
        let position = position(&self.layout, index);
        // SAFETY: `position` lies inside the layout, which lies inside the storage (checked when the RawTensor was made);
        // the lease keeps the storage alive and writers out.
        unsafe { *self.base.add(position) }
    }
}

impl<T: Element> Deref for SliceRef<T> {
    type Target = [T];

    /// # Panics
    /// The guard was made by [`SliceRef::strided`] from a tensor that is not contiguous.
    fn deref(&self) -> &[T] {
        assert!(self.layout.is_contiguous(), "the elements of a strided tensor are no slice");
        if self.layout.numel() == 0 {
            return &[];
        }
        // SAFETY: the elements from the offset on are contiguous, inside the storage, initialised values of `T` and
        // aligned for it; the lease keeps the storage alive and writers out while `self` is borrowed.
        unsafe { std::slice::from_raw_parts(self.base.add(self.layout.offset()), self.layout.numel()) }
    }
}

/// Exclusive access to a contiguous host tensor's elements; derefs to a mutable slice.
pub struct SliceMut<T: Element> {
    start: *mut T,
    len: usize,
    _lease: Lease,
}

impl<T: Element> SliceMut<T> {
    /// Lends a contiguous tensor for writing and counts the change.
    ///
    /// # Errors
    /// `T` is not the tensor's element type, the tensor is not contiguous or not on the host, or its memory is lent out.
    pub fn contiguous(op: &'static str, raw: &RawTensor) -> Result<SliceMut<T>> {
        check_contiguous(op, raw)?;
        let base = host_elements::<T>(op, raw)?;
        let lease = Lease::new(op, raw.storage(), true)?;
        raw.bump_version();
        Ok(SliceMut { start: base.wrapping_add(raw.layout().offset()), len: raw.numel(), _lease: lease })
    }
}

impl<T: Element> Deref for SliceMut<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        if self.len == 0 {
            return &[];
        }
        // SAFETY: `start..start + len` lies inside the storage, is initialised and aligned; the lease keeps the storage
        // alive and everybody else out.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl<T: Element> DerefMut for SliceMut<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        if self.len == 0 {
            return &mut [];
        }
        // SAFETY: as above; the lease is exclusive and `self` is borrowed mutably, so there is no other reference.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

fn check_contiguous(op: &'static str, raw: &RawTensor) -> Result<()> {
    if raw.is_contiguous() {
        return Ok(());
    }
    Err(Error::shape(
        op,
        format!(
            "shape {:?} with strides {:?} is not contiguous; take contiguous() first",
            raw.shape(),
            raw.layout().strides()
        ),
    ))
}

/// Where the element at a row-major index lies.
fn position(layout: &Layout, index: usize) -> usize {
    assert!(index < layout.numel(), "element {index} of a tensor with {}", layout.numel());
    let mut rest = index;
    let mut position = layout.offset();
    for (&size, &stride) in layout.shape().iter().zip(layout.strides()).rev() {
        position += rest % size * stride;
        rest /= size;
    }
    position
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lent_slice_is_exclusive_on_its_own_thread() {
        let x = RawTensor::from_vec("test", vec![1i64, 2, 3], [3]).unwrap();
        let a = SliceRef::<i64>::contiguous("as_slice", &x).unwrap();
        let b = SliceRef::<i64>::contiguous("as_slice", &x).unwrap();
        assert_eq!(a[..], b[..]);
        assert!(SliceMut::<i64>::contiguous("as_slice_mut", &x).is_err());
        drop((a, b));
        let mut m = SliceMut::<i64>::contiguous("as_slice_mut", &x).unwrap();
        m[1] = 7;
        assert!(SliceRef::<i64>::contiguous("as_slice", &x).is_err());
        drop(m);
        assert_eq!(x.to_vec::<i64>().unwrap(), [1, 7, 3]);
        assert_eq!(x.version(), 1);
    }

    #[test]
    fn a_guard_outlives_its_tensor() {
        let x = RawTensor::from_vec("test", vec![0.5f64; 100], [100]).unwrap();
        let guard = SliceRef::<f64>::contiguous("as_slice", &x).unwrap();
        drop(x);
        assert_eq!(guard.iter().sum::<f64>(), 50.0);
    }

    #[test]
    fn strided_elements_are_found() {
        let x = RawTensor::from_vec("test", (0..6).collect::<Vec<i32>>(), [2, 3]).unwrap();
        let t = x.with_layout(x.layout().transpose(0, 1));
        let guard = SliceRef::<i32>::strided("display", &t).unwrap();
        assert_eq!((0..6).map(|i| guard.get(i)).collect::<Vec<_>>(), [0, 3, 1, 4, 2, 5]);
        assert!(SliceRef::<i32>::contiguous("as_slice", &t).is_err());
        assert!(SliceRef::<f32>::strided("display", &t).is_err());
    }
}
