//! Values in and out without a copy: vectors, slices, numbers and arrays of the `ndarray` crate.

#[cfg(feature = "ndarray")]
pub use kiln_ops::{ArrayGuard, ArrayGuardMut, ndarray};
use kiln_ops::{Element, Scalar, Shape};
pub use kiln_ops::{SliceMut, SliceRef};

use crate::{Error, Here, Result, Tensor, inplace};

impl Tensor {
    /// The elements of a contiguous host tensor, without a copy. While the guard lives, nobody changes them: operations
    /// of other threads wait, those of this one fail.
    ///
    /// ```
    /// use kiln_autograd::tensor;
    /// let x = tensor![1., 2., 3.];
    /// assert_eq!(x.as_slice::<f32>()?.iter().sum::<f32>(), 6.0);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// `T` is not the element type, the tensor is not contiguous or not on the host, or its memory is lent out for
    /// writing.
    #[track_caller]
    pub fn as_slice<T: Element>(&self) -> Result<SliceRef<T>> {
        SliceRef::contiguous("as_slice", &self.raw()).here()
    }

    /// The elements of a contiguous host tensor, to be changed without a copy. While the guard lives, operations of other
    /// threads on this memory wait, those of this thread fail. The change counts as an in-place operation.
    ///
    /// ```
    /// use kiln_autograd::tensor;
    /// let x = tensor![1., 2., 3.];
    /// x.as_slice_mut::<f32>()?[0] = 10.0;
    /// assert_eq!(x.to_vec::<f32>()?, [10.0, 2.0, 3.0]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::as_slice`]; the tensor requires grad and grad is enabled, since no history can be kept of the change.
    #[track_caller]
    pub fn as_slice_mut<T: Element>(&self) -> Result<SliceMut<T>> {
        const OP: &str = "as_slice_mut";
        check_untracked(OP, self)?;
        SliceMut::contiguous(OP, &self.raw()).here()
    }
}

/// Refuses to change outside of the history what has one.
#[track_caller]
fn check_untracked(op: &'static str, t: &Tensor) -> Result<()> {
    inplace::check(op, t)?;
    if Tensor::any_requires_grad(&[t]) {
        return Err(Error::autograd(
            op,
            "the tensor has a history, which a change from outside would make wrong; take detach() or do it under \
             no_grad",
        ));
    }
    Ok(())
}

#[cfg(feature = "ndarray")]
impl Tensor {
    /// Takes over an array's memory; only an array with a negative stride is copied.
    ///
    /// ```
    /// use kiln_autograd::{Tensor, ndarray::array};
    /// let t = Tensor::from_ndarray(array![[1., 2.], [3., 4.]])?;
    /// assert_eq!(t.dims(), [2, 2]);
    /// assert_eq!(t.to_vec::<f64>()?, [1., 2., 3., 4.]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// The number of elements overflows.
    #[track_caller]
    pub fn from_ndarray<T: Element, D: ndarray::Dimension>(array: ndarray::Array<T, D>) -> Result<Tensor> {
        Ok(Tensor::from_raw(kiln_ops::from_ndarray("from_ndarray", array).here()?))
    }

    /// A host tensor as an array over the same memory, for reading. While the guard lives, nobody changes it.
    ///
    /// ```
    /// use kiln_autograd::tensor;
    /// let x = tensor![[1., 2.], [3., 4.]];
    /// let a = x.as_ndarray::<f32>()?;
    /// assert_eq!(a[[1, 0]], 3.0);
    /// assert_eq!(a.sum(), 10.0);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// `T` is not the element type, the tensor is not on the host, or its memory is lent out for writing.
    #[track_caller]
    pub fn as_ndarray<T: Element>(&self) -> Result<ArrayGuard<T>> {
        ArrayGuard::new("as_ndarray", &self.raw()).here()
    }

    /// A host tensor as an array over the same memory, for reading and writing: what changes in one changes in the other.
    ///
    /// ```
    /// use kiln_autograd::tensor;
    /// let x = tensor![[1., 2.], [3., 4.]];
    /// *x.as_ndarray_mut::<f32>()? += 1.0;
    /// assert_eq!(x.to_vec::<f32>()?, [2., 3., 4., 5.]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::as_ndarray`]; elements that share memory; the tensor requires grad and grad is enabled, since no
    /// history can be kept of the change.
    #[track_caller]
    pub fn as_ndarray_mut<T: Element>(&self) -> Result<ArrayGuardMut<T>> {
        const OP: &str = "as_ndarray_mut";
        check_untracked(OP, self)?;
        ArrayGuardMut::new(OP, &self.raw()).here()
    }
}

#[cfg(feature = "ndarray")]
impl<T: Element, D: ndarray::Dimension> TryFrom<ndarray::Array<T, D>> for Tensor {
    type Error = Error;
    #[track_caller]
    fn try_from(array: ndarray::Array<T, D>) -> Result<Tensor> {
        Tensor::from_ndarray(array)
    }
}

/// A vector's memory as a tensor of one axis.
impl<T: Element> From<Vec<T>> for Tensor {
    #[track_caller]
    fn from(data: Vec<T>) -> Tensor {
        let shape = Shape::from(data.len());
        match Tensor::from_vec(data, shape) {
            Ok(t) => t,
            Err(error) => panic!("{}", error.kind()),
        }
    }
}

/// A copy of a slice as a tensor of one axis.
impl<T: Element> From<&[T]> for Tensor {
    fn from(data: &[T]) -> Tensor {
        Tensor::from(data.to_vec())
    }
}

macro_rules! numbers {
    ($($t:ty)*) => {$(
        /// The value of a tensor with one element, converted.
        impl TryFrom<&Tensor> for $t {
            type Error = Error;
            #[track_caller]
            fn try_from(t: &Tensor) -> Result<$t> {
                Ok(t.item()?.to())
            }
        }
        /// The value of a tensor with one element, converted.
        impl TryFrom<Tensor> for $t {
            type Error = Error;
            #[track_caller]
            fn try_from(t: Tensor) -> Result<$t> {
                Ok(t.item()?.to())
            }
        }
    )*};
}
numbers!(bool u8 i8 i16 i32 i64 f32 f64);

/// A 0-dimensional tensor.
impl From<Scalar> for Tensor {
    #[track_caller]
    fn from(value: Scalar) -> Tensor {
        match Tensor::scalar(value) {
            Ok(t) => t,
            Err(error) => panic!("{}", error.kind()),
        }
    }
}
