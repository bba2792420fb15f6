//! Tensors as arrays of the `ndarray` crate over the same memory, and arrays as tensors.

use std::ops::{Deref, DerefMut};

use ndarray::{Array, ArrayRef, ArrayView, ArrayViewMut, Dimension, IxDyn, ShapeBuilder};

use crate::lend::{Lease, host_elements};
use crate::{Dims, Element, Error, Layout, RawTensor, Result, Shape, Storage};

/// Takes over an array's memory when its strides can be a tensor's, that is when none is negative; else the elements are
/// copied.
///
/// # Errors
/// The number of elements overflows.
pub fn from_ndarray<T: Element, D: Dimension>(op: &'static str, array: Array<T, D>) -> Result<RawTensor> {
    let shape = Shape::new(array.shape());
    let strides: Option<Dims> = array.strides().iter().map(|&s| usize::try_from(s).ok()).collect();
    match strides {
        Some(strides) => {
            let (data, offset) = array.into_raw_vec_and_offset();
            let layout = Layout::new(shape, &strides, offset.unwrap_or(0))?;
            RawTensor::new(op, Storage::from_vec(data), layout, T::DTYPE)
        }
        None => RawTensor::from_vec(op, array.iter().copied().collect(), shape),
    }
}

/// A host tensor seen as an array for reading; derefs to [`ndarray::ArrayRef`]. Changes of the tensor wait for the guard.
pub struct ArrayGuard<T: Element> {
    /// Its lifetime is the lease's, which is why it never leaves the guard other than as a reference.
    view: ArrayView<'static, T, IxDyn>,
    _lease: Lease,
}

impl<T: Element> ArrayGuard<T> {
    /// Lends a tensor of any strides.
    ///
    /// # Errors
    /// `T` is not the tensor's element type, the tensor is not on the host, or its memory is lent out for writing.
    pub fn new(op: &'static str, raw: &RawTensor) -> Result<ArrayGuard<T>> {
        let base = host_elements::<T>(op, raw)?;
        let lease = Lease::new(op, raw.storage(), false)?;
        let layout = raw.layout();
        let shape = IxDyn(layout.shape()).strides(IxDyn(layout.strides()));
        // SAFETY: all positions of the layout lie inside the storage (checked when the RawTensor was made) and hold
        // initialised, aligned values of `T`; strides are not negative and their products fit into isize for the same
        // reason. The lease, which lives as long as the view and owns a handle to the storage, keeps the memory alive and
        // writers out; `deref` hands out references that cannot outlive the guard.
        let view = unsafe { ArrayView::from_shape_ptr(shape, start(base, layout)) };
        Ok(ArrayGuard { view, _lease: lease })
    }
}

impl<T: Element> Deref for ArrayGuard<T> {
    type Target = ArrayRef<T, IxDyn>;

    fn deref(&self) -> &ArrayRef<T, IxDyn> {
        &self.view
    }
}

/// A host tensor seen as an array for reading and writing; derefs to [`ndarray::ArrayRef`].
pub struct ArrayGuardMut<T: Element> {
    /// As in [`ArrayGuard`].
    view: ArrayViewMut<'static, T, IxDyn>,
    _lease: Lease,
}

impl<T: Element> ArrayGuardMut<T> {
    /// Lends a tensor of any strides for writing and counts the change.
    ///
    /// # Errors
    /// `T` is not the tensor's element type, the tensor is not on the host, elements share memory, or the memory is lent
    /// out.
    pub fn new(op: &'static str, raw: &RawTensor) -> Result<ArrayGuardMut<T>> {
        let base = host_elements::<T>(op, raw)?;
        let layout = raw.layout();
        if layout.overlaps_itself() {
            return Err(Error::value(
                op,
                format!(
                    "several elements of shape {:?} with strides {:?} are one place in memory; copy() it first",
                    layout.shape(),
                    layout.strides()
                ),
            ));
        }
        let lease = Lease::new(op, raw.storage(), true)?;
        raw.bump_version();
        let shape = IxDyn(layout.shape()).strides(IxDyn(layout.strides()));
        // SAFETY: as in `ArrayGuard::new`; the lease is exclusive, and no two elements of the layout are one place
        // (checked above), so references to different elements do not overlap.
        let view = unsafe { ArrayViewMut::from_shape_ptr(shape, start(base, layout)) };
        Ok(ArrayGuardMut { view, _lease: lease })
    }
}

impl<T: Element> Deref for ArrayGuardMut<T> {
    type Target = ArrayRef<T, IxDyn>;

    fn deref(&self) -> &ArrayRef<T, IxDyn> {
        &self.view
    }
}

impl<T: Element> DerefMut for ArrayGuardMut<T> {
    fn deref_mut(&mut self) -> &mut ArrayRef<T, IxDyn> {
        &mut self.view
    }
}

/// The first element; some aligned address for an empty layout, whose offset may lie past the end.
fn start<T>(base: *mut T, layout: &Layout) -> *mut T {
    if layout.numel() == 0 { std::ptr::dangling_mut() } else { base.wrapping_add(layout.offset()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array, s};

    #[test]
    fn arrays_move_in_with_their_strides() {
        let a = array![[1.0f32, 2.0, 3.0], [4.0, 5.0, 6.0]];
        let ptr = a.as_ptr();
        let t = from_ndarray("from_ndarray", a.reversed_axes()).unwrap();
        assert_eq!(t.storage().host_ptr().unwrap().cast::<f32>().cast_const(), ptr);
        assert_eq!(t.to_vec::<f32>().unwrap(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        let mut back = array![1i64, 2, 3];
        back.invert_axis(ndarray::Axis(0));
        assert_eq!(from_ndarray("from_ndarray", back).unwrap().to_vec::<i64>().unwrap(), [3, 2, 1]);
        let part = Array2::<u8>::from_shape_fn((4, 4), |(i, j)| (4 * i + j) as u8).slice_move(s![1.., ..;2]);
        assert_eq!(
            from_ndarray("from_ndarray", part).unwrap().to_vec::<u8>().unwrap(),
            [4, 6, 8, 10, 12, 14]
        );
    }

    #[test]
    fn views_share_memory_both_ways() {
        let t = RawTensor::from_vec("test", (0..6).map(|i| i as f64).collect(), [2, 3]).unwrap();
        let column = t.with_layout(t.layout().select(1, 1));
        let mut view = ArrayGuardMut::<f64>::new("as_ndarray_mut", &column).unwrap();
        *view *= 10.0;
        assert!(ArrayGuard::<f64>::new("as_ndarray", &t).is_err());
        drop(view);
        let view = ArrayGuard::<f64>::new("as_ndarray", &t).unwrap();
        assert_eq!(view.as_slice().unwrap(), [0.0, 10.0, 2.0, 3.0, 40.0, 5.0]);
        let row = t.with_layout(Layout::new([3, 2].into(), &[0, 1], 0).unwrap());
        assert!(ArrayGuardMut::<f64>::new("as_ndarray_mut", &row).is_err());
        assert_eq!(ArrayGuard::<f64>::new("as_ndarray", &row).unwrap().sum(), 30.0);
    }
}
