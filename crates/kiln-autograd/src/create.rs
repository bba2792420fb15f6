//! Tensors of given values: zeros, ones, ranges, the identity.
//!
//! Constructors that take only sizes and numbers give a tensor, not a `Result`: they panic, at the caller's line, when the
//! size overflows or the memory is not there, and for options that make no sense (a gradient for integers, a device that
//! was not opened).

use std::ops::{Range, RangeInclusive, RangeTo};

use kiln_ops::{DType, RawTensor, Scalar, Shape};

use crate::{Here, Result, Tensor, TensorOptions};

/// The tensor that a constructor has made, with the gradient that its options ask for.
#[track_caller]
pub(crate) fn finish(raw: Result<RawTensor>, options: TensorOptions) -> Tensor {
    match try_finish(raw, options) {
        Ok(t) => t,
        Err(error) => panic!("{}", error.kind()),
    }
}

/// As [`finish`], for constructors that check arguments.
#[track_caller]
pub(crate) fn try_finish(raw: Result<RawTensor>, options: TensorOptions) -> Result<Tensor> {
    Tensor::from_raw(raw.here()?).requires_grad_(options.requires_grad)
}

/// Constructors of a shape: the plain one and the one with options.
macro_rules! of_one_value {
    ($($(#[$doc:meta])* $name:ident $with:ident $new:ident: $value:expr;)*) => {
        impl Tensor {
            $(
                $(#[$doc])*
                ///
                /// # Panics
                /// The size overflows or the memory is not there.
                #[track_caller]
                pub fn $name(shape: impl Into<Shape>) -> Tensor {
                    Tensor::$with(shape, TensorOptions::new())
                }

                #[doc = concat!("[`Tensor::", stringify!($name), "`] with a dtype, a device or [`TensorOptions`].")]
                ///
                /// # Panics
                /// As the plain form; the options make no sense.
                #[track_caller]
                pub fn $with(shape: impl Into<Shape>, options: impl Into<TensorOptions>) -> Tensor {
                    let options = options.into();
                    finish(kiln_ops::full(&shape.into(), $value, options.float(), options.device), options)
                }

                #[doc = concat!("[`Tensor::", stringify!($name), "`] with this tensor's dtype and device (`Tensor.", stringify!($new), "`).")]
                ///
                /// # Panics
                /// The size overflows or the memory is not there.
                #[track_caller]
                pub fn $new(&self, shape: impl Into<Shape>) -> Tensor {
                    Tensor::$with(shape, self)
                }
            )*
        }
    };
}

of_one_value! {
    /// Zeros in the default float dtype (`torch.zeros`).
    ///
    /// ```
    /// use kiln_autograd::{I64, Tensor};
    /// assert_eq!(Tensor::zeros([2, 3]).to_vec::<f32>()?, [0.0; 6]);
    /// assert_eq!(Tensor::zeros_with([3, 5], I64).dtype(), I64);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    zeros zeros_with new_zeros: Scalar::Int(0);
    /// Ones in the default float dtype (`torch.ones`).
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// assert_eq!(Tensor::ones(3).to_vec::<f32>()?, [1.0; 3]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ones ones_with new_ones: Scalar::Int(1);
    /// A tensor to be written before it is read (`torch.empty`). Rust lets nobody read memory that was never written, so
    /// it holds zeros; do not rely on them.
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// assert_eq!(Tensor::empty([0, 3]).numel(), 0);
    /// ```
    empty empty_with new_empty: Scalar::Int(0);
}

impl Tensor {
    /// A tensor of one value, in the value's own dtype: int64, bool or the default float dtype (`torch.full`).
    ///
    /// ```
    /// use kiln_autograd::{I64, Tensor};
    /// assert_eq!(Tensor::full([2], 0.5).to_vec::<f32>()?, [0.5, 0.5]);
    /// assert_eq!(Tensor::full([2], 7).dtype(), I64);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Panics
    /// The size overflows or the memory is not there.
    #[track_caller]
    pub fn full(shape: impl Into<Shape>, value: impl Into<Scalar>) -> Tensor {
        Tensor::full_with(shape, value, TensorOptions::new())
    }

    /// [`Tensor::full`] with a dtype, a device or [`TensorOptions`].
    ///
    /// # Panics
    /// As the plain form; the options make no sense.
    #[track_caller]
    pub fn full_with(
        shape: impl Into<Shape>,
        value: impl Into<Scalar>,
        options: impl Into<TensorOptions>,
    ) -> Tensor {
        let (value, options) = (value.into(), options.into());
        let dtype = options.dtype.unwrap_or_else(|| value.dtype(kiln_ops::default_dtype()));
        finish(kiln_ops::full(&shape.into(), value, dtype, options.device), options)
    }

    /// [`Tensor::full`] with this tensor's dtype and device (`Tensor.new_full`).
    ///
    /// # Panics
    /// The size overflows or the memory is not there.
    #[track_caller]
    pub fn new_full(&self, shape: impl Into<Shape>, value: impl Into<Scalar>) -> Tensor {
        Tensor::full_with(shape, value, self)
    }

    /// A tensor like this one, to be written before it is read (`torch.empty_like`).
    ///
    /// # Errors
    /// The memory is not there.
    #[track_caller]
    pub fn empty_like(&self) -> Result<Tensor> {
        self.zeros_like()
    }

    /// The identity matrix of `n` rows (`torch.eye`).
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// assert_eq!(Tensor::eye(2).to_vec::<f32>()?, [1.0, 0.0, 0.0, 1.0]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Panics
    /// The size overflows or the memory is not there.
    #[track_caller]
    pub fn eye(n: usize) -> Tensor {
        Tensor::eye_with(n, n, TensorOptions::new())
    }

    /// Ones on the diagonal of a matrix of any shape (`torch.eye(n, m)`).
    ///
    /// # Panics
    /// The size overflows or the memory is not there.
    #[track_caller]
    pub fn eye_rect(rows: usize, columns: usize) -> Tensor {
        Tensor::eye_with(rows, columns, TensorOptions::new())
    }

    /// [`Tensor::eye_rect`] with a dtype, a device or [`TensorOptions`].
    ///
    /// # Panics
    /// As the plain form; the options make no sense.
    #[track_caller]
    pub fn eye_with(rows: usize, columns: usize, options: impl Into<TensorOptions>) -> Tensor {
        let options = options.into();
        finish(kiln_ops::eye(rows, columns, options.float(), options.device), options)
    }

    /// The numbers of a range, one apart: int64 for integers, the default float dtype for floats (`torch.arange`).
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// assert_eq!(Tensor::arange(3).to_vec::<i64>()?, [0, 1, 2]);
    /// assert_eq!(Tensor::arange(2..=5).to_vec::<i64>()?, [2, 3, 4, 5]);
    /// assert_eq!(Tensor::arange(0.5..3.0).to_vec::<f32>()?, [0.5, 1.5, 2.5]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Panics
    /// The memory is not there, or the bounds are not finite.
    #[track_caller]
    pub fn arange(range: impl Into<Bounds>) -> Tensor {
        Tensor::arange_with(range, TensorOptions::new())
    }

    /// [`Tensor::arange`] with a dtype, a device or [`TensorOptions`].
    ///
    /// # Panics
    /// As the plain form; the options make no sense.
    #[track_caller]
    pub fn arange_with(range: impl Into<Bounds>, options: impl Into<TensorOptions>) -> Tensor {
        let (bounds, options) = (range.into(), options.into());
        // A range of Rust whose end lies before its start is empty; `torch.arange` refuses it.
        let empty = bounds.end.to_f64() < bounds.start.to_f64();
        let end = if empty { bounds.start } else { bounds.end };
        let dtype = options.dtype.unwrap_or_else(|| sequence_dtype(&[bounds.start, bounds.end]));
        finish(kiln_ops::arange(bounds.start, end, Scalar::Int(1), dtype, options.device), options)
    }

    /// `start, start + step, ...` up to but without `end`: int64 if all are integers, else the default float dtype
    /// (`torch.arange(start, end, step)`).
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// assert_eq!(Tensor::arange_step(10, 0, -3)?.to_vec::<i64>()?, [10, 7, 4, 1]);
    /// assert_eq!(Tensor::arange_step(1, 2.5, 0.5)?.to_vec::<f32>()?, [1.0, 1.5, 2.0]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A step of 0 or away from `end`, or numbers that are not finite.
    #[track_caller]
    pub fn arange_step(
        start: impl Into<Scalar>,
        end: impl Into<Scalar>,
        step: impl Into<Scalar>,
    ) -> Result<Tensor> {
        Tensor::arange_step_with(start, end, step, TensorOptions::new())
    }

    /// [`Tensor::arange_step`] with a dtype, a device or [`TensorOptions`].
    ///
    /// # Errors
    /// As the plain form; the options make no sense.
    #[track_caller]
    pub fn arange_step_with(
        start: impl Into<Scalar>,
        end: impl Into<Scalar>,
        step: impl Into<Scalar>,
        options: impl Into<TensorOptions>,
    ) -> Result<Tensor> {
        let (start, end, step, options) = (start.into(), end.into(), step.into(), options.into());
        let dtype = options.dtype.unwrap_or_else(|| sequence_dtype(&[start, end, step]));
        try_finish(kiln_ops::arange(start, end, step, dtype, options.device), options)
    }

    /// `steps` evenly spaced numbers from `start` to `end`, both included (`torch.linspace`).
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// assert_eq!(Tensor::linspace(3, 10, 5).to_vec::<f32>()?, [3.0, 4.75, 6.5, 8.25, 10.0]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Panics
    /// The memory is not there.
    #[track_caller]
    pub fn linspace(start: impl Into<Scalar>, end: impl Into<Scalar>, steps: usize) -> Tensor {
        Tensor::linspace_with(start, end, steps, TensorOptions::new())
    }

    /// [`Tensor::linspace`] with a dtype, a device or [`TensorOptions`].
    ///
    /// # Panics
    /// As the plain form; the options make no sense.
    #[track_caller]
    pub fn linspace_with(
        start: impl Into<Scalar>,
        end: impl Into<Scalar>,
        steps: usize,
        options: impl Into<TensorOptions>,
    ) -> Tensor {
        let (start, end, options) = (start.into().to_f64(), end.into().to_f64(), options.into());
        finish(kiln_ops::linspace(start, end, steps, options.float(), options.device), options)
    }

    /// `base` to the power of `steps` evenly spaced numbers from `start` to `end` (`torch.logspace`, whose `base` is 10
    /// when it is left out).
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// assert_eq!(Tensor::logspace(0, 3, 4, 2).to_vec::<f32>()?, [1.0, 2.0, 4.0, 8.0]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Panics
    /// The memory is not there.
    #[track_caller]
    pub fn logspace(
        start: impl Into<Scalar>,
        end: impl Into<Scalar>,
        steps: usize,
        base: impl Into<Scalar>,
    ) -> Tensor {
        Tensor::logspace_with(start, end, steps, base, TensorOptions::new())
    }

    /// [`Tensor::logspace`] with a dtype, a device or [`TensorOptions`].
    ///
    /// # Panics
    /// As the plain form; the options make no sense.
    #[track_caller]
    pub fn logspace_with(
        start: impl Into<Scalar>,
        end: impl Into<Scalar>,
        steps: usize,
        base: impl Into<Scalar>,
        options: impl Into<TensorOptions>,
    ) -> Tensor {
        let (start, end, base) = (start.into().to_f64(), end.into().to_f64(), base.into().to_f64());
        let options = options.into();
        finish(kiln_ops::logspace(start, end, steps, base, options.float(), options.device), options)
    }
}

/// int64 for integers alone, else the default float dtype.
fn sequence_dtype(numbers: &[Scalar]) -> DType {
    if numbers.iter().any(|n| matches!(n, Scalar::Float(_))) { kiln_ops::default_dtype() } else { DType::I64 }
}

/// Where [`Tensor::arange`] starts and ends: a range of integers or floats, or the number to end before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    start: Scalar,
    end: Scalar,
}

macro_rules! bounds_from {
    ($($t:ty)*) => {$(
        impl From<Range<$t>> for Bounds {
            fn from(r: Range<$t>) -> Bounds {
                Bounds { start: r.start.into(), end: r.end.into() }
            }
        }
        impl From<RangeTo<$t>> for Bounds {
            fn from(r: RangeTo<$t>) -> Bounds {
                Bounds::from(r.end)
            }
        }
        impl From<$t> for Bounds {
            fn from(end: $t) -> Bounds {
                // From 0 of the end's own kind, so that a float end gives floats.
                let start = <$t>::default();
                Bounds { start: start.into(), end: end.into() }
            }
        }
    )*};
}
bounds_from!(i32 i64 usize f32 f64);

macro_rules! bounds_from_inclusive {
    ($($t:ty)*) => {$(
        impl From<RangeInclusive<$t>> for Bounds {
            fn from(r: RangeInclusive<$t>) -> Bounds {
                Bounds { start: (*r.start()).into(), end: Scalar::Int((*r.end() as i64).saturating_add(1)) }
            }
        }
    )*};
}
bounds_from_inclusive!(i32 i64 usize);
