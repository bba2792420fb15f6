//! Reductions over one axis of a contiguous tensor: sums, products, extremes, norms, variances, and where extremes lie.

mod arg;
mod fold;
mod ops;

use kiln_storage::{DType, Element};

pub use arg::{ArgOp, arg_reduce, arg_reduce_values};
pub(crate) use fold::{fold, row_chunk, whole_row};
pub(crate) use ops::*;

pub use super::real::{Computed, Float, Number, Real};

/// A contiguous tensor seen as `[outer, n, inner]`, with the axis of `n` elements the one worked on. Neighbouring axes
/// that are reduced together count as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// The product of the sizes before the axis.
    pub outer: usize,
    /// The size of the axis.
    pub n: usize,
    /// The product of the sizes behind the axis.
    pub inner: usize,
}

impl Axis {
    /// All `n` elements as one row.
    pub fn all(n: usize) -> Axis {
        Axis { outer: 1, n, inner: 1 }
    }

    /// The axis number `axis` of a tensor of this shape.
    pub fn of(shape: &[usize], axis: usize) -> Axis {
        Axis {
            outer: shape[..axis].iter().product(),
            n: shape[axis],
            inner: shape[axis + 1..].iter().product(),
        }
    }

    /// How many elements the tensor has.
    pub fn len(self) -> usize {
        self.outer * self.n * self.inner
    }

    /// Whether the tensor has no elements.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// How many results a reduction of the axis has.
    pub fn results(self) -> usize {
        self.outer * self.inner
    }
}

/// What a reduction computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ReduceOp {
    /// The sum.
    Sum,
    /// The sum of what is not NaN.
    NanSum,
    /// The sum divided by the number of elements.
    Mean,
    /// The product.
    Prod,
    /// The largest element; NaN if there is one.
    Max,
    /// The smallest element; NaN if there is one.
    Min,
    /// The logarithm of the sum of the exponentials.
    LogSumExp,
    /// The sum of the absolute values.
    Norm1,
    /// The square root of the sum of the squares.
    Norm2,
    /// The largest absolute value.
    NormMax,
    /// The sum of the squares.
    SumSquares,
    /// The variance: squared distances to the mean over `n - correction`.
    Var {
        /// 1 for the estimate from a sample, 0 for a whole population.
        correction: f64,
    },
    /// The square root of the variance.
    Std {
        /// As for the variance.
        correction: f64,
    },
    /// Whether no element is zero.
    All,
    /// Whether an element is not zero.
    Any,
    /// How many elements are not zero.
    CountNonzero,
}

impl ReduceOp {
    /// The dtype of the result for elements of `dtype`, and so which of the functions here takes both: the dtype itself
    /// for floats ([`reduce_float`]) and for extremes ([`reduce_extreme`]), `I64` for sums and products of the others
    /// ([`reduce_int`]) and for counts ([`count_true`]), `Bool` for `All` and `Any` ([`reduce_bool`]). `None`: the
    /// reduction is not defined for this dtype.
    pub fn output(self, dtype: DType) -> Option<DType> {
        match self {
            ReduceOp::All | ReduceOp::Any => Some(DType::Bool),
            ReduceOp::CountNonzero => Some(DType::I64),
            ReduceOp::Max | ReduceOp::Min => Some(dtype),
            _ if dtype.is_float() => Some(dtype),
            ReduceOp::Sum | ReduceOp::NanSum | ReduceOp::Prod => Some(DType::I64),
            _ => None,
        }
    }
}

/// A reduction of floats to their own dtype. Half precision is accumulated in `f32` and rounded once; variances of `f32`
/// are accumulated in `f64`.
///
/// # Panics
/// For the ops whose results are of another type.
pub fn reduce_float<T: Float>(op: ReduceOp, x: &[T], axis: Axis, out: &mut [T]) {
    if let ReduceOp::Var { correction } | ReduceOp::Std { correction } = op {
        return var_mean(x, axis, correction, matches!(op, ReduceOp::Std { .. }), out, None);
    }
    T::written(out, |out| {
        match op {
            ReduceOp::Sum | ReduceOp::Mean => fold::<Sum<T, T::Acc>>(x, axis, &[], out),
            ReduceOp::NanSum => fold::<NanSum<T>>(x, axis, &[], out),
            ReduceOp::Prod => fold::<Prod<T, T::Acc>>(x, axis, &[], out),
            ReduceOp::Max => fold::<Max<T>>(x, axis, &[], out),
            ReduceOp::Min => fold::<Min<T>>(x, axis, &[], out),
            ReduceOp::Norm1 => fold::<SumAbs<T>>(x, axis, &[], out),
            ReduceOp::NormMax => fold::<MaxAbs<T>>(x, axis, &[], out),
            ReduceOp::Norm2 | ReduceOp::SumSquares => fold::<SumSquares<T>>(x, axis, &[], out),
            ReduceOp::LogSumExp => log_sum_exp(x, axis, out),
            _ => unreachable!("{op:?} of floats is no float"),
        }
        match op {
            ReduceOp::Mean => {
                let n = T::Acc::of(axis.n as f64);
                out.iter_mut().for_each(|v| *v = *v / n);
            }
            ReduceOp::Norm2 => out.iter_mut().for_each(|v| *v = v.sqrt()),
            _ => {}
        }
    });
}

fn log_sum_exp<T: Float>(x: &[T], axis: Axis, out: &mut [T::Acc]) {
    let mut max = vec![T::Acc::ZERO; out.len()];
    fold::<Max<T>>(x, axis, &[], &mut max);
    // Subtracting an infinite maximum would give NaN where the result is infinite.
    max.iter_mut().filter(|m| m.abs() == T::Acc::HIGHEST).for_each(|m| *m = T::Acc::ZERO);
    fold::<SumExp<T>>(x, axis, &max, out);
    for (o, m) in out.iter_mut().zip(max) {
        *o = ops::ln(*o) + m;
    }
}

/// The variance, or with `root` the standard deviation, and if wanted the mean. Two passes: the mean, then the squared
/// distances to it.
pub fn var_mean<T: Float>(
    x: &[T],
    axis: Axis,
    correction: f64,
    root: bool,
    var: &mut [T],
    mean: Option<&mut [T]>,
) {
    let mut means = vec![0.0; axis.results()];
    fold::<Sum<T, f64>>(x, axis, &[], &mut means);
    means.iter_mut().for_each(|m| *m /= axis.n as f64);
    let mut squares = vec![0.0; axis.results()];
    fold::<Distances<T>>(x, axis, &means, &mut squares);
    let divisor = (axis.n as f64 - correction).max(0.0);
    for (v, s) in var.iter_mut().zip(squares) {
        let value = s / divisor;
        *v = T::from_f64(if root { value.sqrt() } else { value });
    }
    if let Some(mean) = mean {
        for (m, v) in mean.iter_mut().zip(means) {
            *m = T::from_f64(v);
        }
    }
}

/// The sum or product of integers, in `i64` with wrapping.
///
/// # Panics
/// For other ops.
pub fn reduce_int<T: Element>(op: ReduceOp, x: &[T], axis: Axis, out: &mut [i64]) {
    match op {
        ReduceOp::Sum | ReduceOp::NanSum => fold::<Sum<T, i64>>(x, axis, &[], out),
        ReduceOp::Prod => fold::<Prod<T, i64>>(x, axis, &[], out),
        _ => unreachable!("{op:?} is not a reduction to integers"),
    }
}

/// The largest or smallest element. The axis is not empty.
///
/// # Panics
/// For other ops.
pub fn reduce_extreme<T: Computed>(op: ReduceOp, x: &[T], axis: Axis, out: &mut [T]) {
    T::written(out, |out| match op {
        ReduceOp::Max => fold::<Max<T>>(x, axis, &[], out),
        ReduceOp::Min => fold::<Min<T>>(x, axis, &[], out),
        _ => unreachable!("{op:?} is not an extreme"),
    });
}

/// Whether all or any elements are true; the largest of truth values is "any", the smallest "all".
///
/// # Panics
/// For other ops.
pub fn reduce_bool(op: ReduceOp, x: &[bool], axis: Axis, out: &mut [bool]) {
    match op {
        ReduceOp::All | ReduceOp::Min => fold::<All>(x, axis, &[], out),
        ReduceOp::Any | ReduceOp::Max => fold::<Any>(x, axis, &[], out),
        _ => unreachable!("{op:?} is not a reduction to a boolean"),
    }
}

/// How many elements are true.
pub fn count_true(x: &[bool], axis: Axis, out: &mut [i64]) {
    fold::<CountTrue>(x, axis, &[], out);
}

#[cfg(test)]
mod tests;
