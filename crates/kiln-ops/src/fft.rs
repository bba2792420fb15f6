//! Fourier transforms. Kiln has no complex dtype: a complex number is a last axis of two, real and imaginary part.

use kiln_storage::{DType, Error, RawTensor, Result};

use crate::backend::{run, uninit};
use crate::copy::{contiguous, to_dtype};
use crate::op::Op;

/// The transforms of the complex vectors in `[.., n, 2]`, without normalization: the sums of `x[j] e^(-2 pi i j k / n)`,
/// or with a positive exponent where `inverse`. Computed in double precision.
///
/// # Errors
/// Not floating point numbers; a last axis that is not two; vectors without an element.
pub fn fft(op: &'static str, x: &RawTensor, inverse: bool) -> Result<RawTensor> {
    let (rank, dtype) = (x.rank(), x.dtype());
    if rank < 2 || x.shape()[rank - 1] != 2 || x.shape()[rank - 2] == 0 {
        return Err(Error::shape(
            op,
            format!("expected complex numbers [.., n, 2] with n above 0, got shape {:?}", x.shape()),
        ));
    }
    if !dtype.is_float() {
        return Err(Error::dtype(op, format!("expected floating point numbers, got {dtype}")));
    }
    let x = contiguous(&to_dtype(x, DType::F64)?)?;
    let y = uninit(op, x.shape(), DType::F64, x.device())?;
    if y.numel() > 0 {
        run(op, &Op::Fft { inverse }, &[&x], &[&y])?;
    }
    to_dtype(&y, dtype)
}
