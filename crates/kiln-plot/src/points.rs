//! Numbers to draw, from whatever holds them.

use kiln_autograd::{DType, Result, Tensor};

/// A list of numbers: a tensor (of any shape, in row-major order), a slice or a vector.
pub trait Points {
    /// The numbers.
    ///
    /// # Errors
    /// A tensor whose values cannot be read.
    fn points(&self) -> Result<Vec<f64>>;
}

impl Points for Tensor {
    fn points(&self) -> Result<Vec<f64>> {
        self.detach().to_dtype(DType::F64)?.to_vec()
    }
}

macro_rules! of_numbers {
    ($($t:ty),*) => {$(
        impl Points for [$t] {
            fn points(&self) -> Result<Vec<f64>> {
                Ok(self.iter().map(|&v| v as f64).collect())
            }
        }

        impl Points for Vec<$t> {
            fn points(&self) -> Result<Vec<f64>> {
                self.as_slice().points()
            }
        }

        impl<const N: usize> Points for [$t; N] {
            fn points(&self) -> Result<Vec<f64>> {
                self.as_slice().points()
            }
        }
    )*};
}
of_numbers!(f64, f32, i64, i32, usize);

impl<P: Points + ?Sized> Points for &P {
    fn points(&self) -> Result<Vec<f64>> {
        (**self).points()
    }
}
