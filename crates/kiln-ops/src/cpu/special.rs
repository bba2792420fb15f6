//! The host's special functions: series, continued fractions, recurrences and quadratures in double precision, made of
//! correctly rounded operations and the `libm` crate, and the loop that applies them.

mod bessel;
mod gamma;
mod normal;
mod phase;
mod polynomial;

use kiln_storage::{DType, RawTensor, Result};

pub(crate) use self::bessel::*;
pub(crate) use self::gamma::*;
pub(crate) use self::normal::*;
pub(crate) use self::phase::*;
pub(crate) use self::polynomial::*;
use super::loops::{Cost, body, elementwise};
pub(crate) use super::math::{digamma, erfinv, lgamma, zeta};

/// `y[i] = f(x[i])`, in double precision.
pub(crate) fn unary(op: &'static str, f: fn(f64) -> f64, x: &RawTensor, y: &RawTensor) -> Result<()> {
    let body = body(|[x], y, n| {
        let (x, y) = (x.cast::<f64>(), y.cast::<f64>());
        for i in 0..n {
            // SAFETY: `Body` promises `n` valid elements behind both pointers.
            unsafe { y.add(i).write(f(*x.add(i))) };
        }
    });
    elementwise(op, [x], [DType::F64], y, DType::F64, Cost::Dear, &body)
}

/// `y[i] = f(a[i], b[i])`, in double precision.
pub(crate) fn binary(
    op: &'static str,
    f: fn(f64, f64) -> f64,
    [a, b]: [&RawTensor; 2],
    y: &RawTensor,
) -> Result<()> {
    let body = body(|[a, b], y, n| {
        let (a, b, y) = (a.cast::<f64>(), b.cast::<f64>(), y.cast::<f64>());
        for i in 0..n {
            // SAFETY: `Body` promises `n` valid elements behind the pointers.
            unsafe { y.add(i).write(f(*a.add(i), *b.add(i))) };
        }
    });
    elementwise(op, [a, b], [DType::F64; 2], y, DType::F64, Cost::Dear, &body)
}
