//! Tensors from literals: [`tensor!`](crate::tensor) and the nested data it takes.

use kiln_ops::{DType, Error, RawTensor, Shape, bf16, default_dtype, f16};

use crate::create::try_finish;
use crate::{Result, Tensor, TensorOptions};

/// A tensor from a literal, `torch.tensor`.
///
/// One expression is the value: a number gives a 0-dimensional tensor, an array, slice or vector (of arrays ...) one with
/// an axis per level. Several expressions, or one with a comma after it, are a list of values. As in Python, the dtype of
/// integers is int64 and that of floats the default one, float32, unless numbers have a type that says otherwise
/// (`1u8`, `half::f16`); another dtype, a device or [`TensorOptions`] follow after a semicolon.
///
/// ```
/// use kiln_autograd::{BOOL, F32, F64, I64, tensor};
/// let m = tensor![[1., 2.], [3., 4.]];
/// assert_eq!((m.dims(), m.dtype()), (vec![2, 2], F32));
/// assert_eq!(tensor!([[1., 2.]]).dims(), [1, 2]);
/// assert_eq!(tensor![1, 2, 3].dtype(), I64);
/// assert_eq!(tensor![true, false].dtype(), BOOL);
/// assert_eq!(tensor!(2.5).rank(), 0);
/// assert_eq!(tensor![2.5,].dims(), [1]);
/// assert_eq!(tensor!([1, 2]; F64).to_vec::<f64>()?, [1.0, 2.0]);
/// assert_eq!(tensor![].dims(), [0]);
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
///
/// # Panics
/// Vectors of different lengths beside each other: use [`Tensor::new`] for data whose shape the program does not know.
#[macro_export]
macro_rules! tensor {
    () => { $crate::Tensor::zeros(0) };
    ($value:expr) => { $crate::literal($value, $crate::TensorOptions::new()) };
    ($value:expr; $options:expr) => { $crate::literal($value, $options) };
    ($($value:expr),+ ; $options:expr) => { $crate::literal([$($value),+], $options) };
    ($($value:expr),+ $(,)?) => { $crate::literal([$($value),+], $crate::TensorOptions::new()) };
}

/// What [`tensor!`](crate::tensor) calls.
#[doc(hidden)]
#[track_caller]
pub fn literal(data: impl Data, options: impl Into<TensorOptions>) -> Tensor {
    match Tensor::new_with(data, options) {
        Ok(t) => t,
        Err(error) => panic!("{}", error.kind()),
    }
}

impl Tensor {
    /// A tensor from numbers, arrays, slices or vectors, nested to any depth (`torch.tensor`).
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// let rows = vec![vec![1.0, 2.0], vec![3.0, 4.0]];
    /// assert_eq!(Tensor::new(&rows)?.dims(), [2, 2]);
    /// assert!(Tensor::new(vec![vec![1], vec![2, 3]]).is_err());
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Vectors of different lengths beside each other.
    #[track_caller]
    pub fn new(data: impl Data) -> Result<Tensor> {
        Tensor::new_with(data, TensorOptions::new())
    }

    /// [`Tensor::new`] with a dtype, a device or [`TensorOptions`].
    ///
    /// # Errors
    /// As the plain form; the options make no sense.
    #[track_caller]
    pub fn new_with(data: impl Data, options: impl Into<TensorOptions>) -> Result<Tensor> {
        let options = options.into();
        let make = || {
            let mut sizes = Vec::new();
            data.sizes(&mut sizes);
            let mut numbers = Vec::new();
            data.collect(&sizes, 0, &mut numbers)?;
            let raw = Number::into_raw(numbers, &sizes, options.dtype)?;
            kiln_ops::to_device(&raw, options.device)
        };
        try_finish(make(), options)
    }
}

/// Numbers, or arrays, slices and vectors of such data.
pub trait Data {
    /// The numbers at the bottom.
    type Number: Number;
    /// The number of axes.
    const RANK: usize;
    /// Writes the sizes of the axes, taken from the first element of each level.
    fn sizes(&self, out: &mut Vec<usize>);
    /// Appends the numbers in row-major order; `sizes[axis]` is the size of this level.
    ///
    /// # Errors
    /// A level has another length than `sizes` says.
    fn collect(&self, sizes: &[usize], axis: usize, out: &mut Vec<Self::Number>) -> Result<()>;
}

/// A number that [`Data`] is made of.
pub trait Number: Copy {
    /// A host tensor of the numbers with the wanted dtype or the one that Python would give them.
    ///
    /// # Errors
    /// The memory is not there.
    fn into_raw(numbers: Vec<Self>, sizes: &[usize], dtype: Option<DType>) -> Result<RawTensor>;
}

const OP: &str = "tensor";

macro_rules! numbers {
    ($($t:ty => $dtype:expr, $as:ty;)*) => {$(
        impl Number for $t {
            fn into_raw(numbers: Vec<$t>, sizes: &[usize], dtype: Option<DType>) -> Result<RawTensor> {
                let numbers: Vec<$as> = numbers.into_iter().map(|n| n as $as).collect();
                kiln_ops::to_dtype(&RawTensor::from_vec(OP, numbers, Shape::new(sizes))?, dtype.unwrap_or_else(|| $dtype))
            }
        }
        number_as_data!($t);
    )*};
}

macro_rules! number_as_data {
    ($t:ty) => {
        impl Data for $t {
            type Number = $t;
            const RANK: usize = 0;
            fn sizes(&self, _: &mut Vec<usize>) {}
            fn collect(&self, _: &[usize], _: usize, out: &mut Vec<$t>) -> Result<()> {
                out.push(*self);
                Ok(())
            }
        }
    };
}

numbers! {
    bool => DType::Bool, bool;
    u8 => DType::U8, u8;
    i8 => DType::I8, i8;
    i16 => DType::I16, i16;
    i32 => DType::I64, i64;
    i64 => DType::I64, i64;
    u32 => DType::I64, i64;
    usize => DType::I64, i64;
    f16 => DType::F16, f16;
    bf16 => DType::BF16, bf16;
    f32 => DType::F32, f32;
    f64 => default_dtype(), f64;
}

/// What arrays, slices and vectors have in common.
macro_rules! list_as_data {
    ($([$($generics:tt)*] $t:ty;)*) => {$(
        impl<D: Data, $($generics)*> Data for $t {
            type Number = D::Number;
            const RANK: usize = D::RANK + 1;
            fn sizes(&self, out: &mut Vec<usize>) {
                out.push(self.len());
                match self.first() {
                    Some(first) => first.sizes(out),
                    None => out.extend(std::iter::repeat_n(0, D::RANK)),
                }
            }
            fn collect(&self, sizes: &[usize], axis: usize, out: &mut Vec<D::Number>) -> Result<()> {
                if self.len() != sizes[axis] {
                    return Err(Error::value(
                        OP,
                        format!("expected sequence of length {} at dim {} (got {})", sizes[axis], axis, self.len()),
                    ));
                }
                self.iter().try_for_each(|d| d.collect(sizes, axis + 1, out))
            }
        }
    )*};
}

list_as_data! {
    [const N: usize] [D; N];
    [] [D];
    [] Vec<D>;
}

impl<D: Data + ?Sized> Data for &D {
    type Number = D::Number;
    const RANK: usize = D::RANK;
    fn sizes(&self, out: &mut Vec<usize>) {
        (**self).sizes(out);
    }
    fn collect(&self, sizes: &[usize], axis: usize, out: &mut Vec<D::Number>) -> Result<()> {
        (**self).collect(sizes, axis, out)
    }
}
