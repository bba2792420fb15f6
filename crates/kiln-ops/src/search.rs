//! Where values lie among sorted ones, and how many lie where.

use kiln_storage::{DType, Device, Element, Error, RawTensor, Result, with_dtype};

use crate::backend::{run, uninit};
use crate::copy::{contiguous, to_device, to_dtype};
use crate::op::Op;
use crate::promotion::result_type;
use crate::rules::same_device;
use crate::scatter::gather;

/// Options of [`searchsorted`] and [`bucketize`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchOptions {
    /// The place behind equal elements, not before them.
    pub right: bool,
    /// A result of dtype int32, not int64.
    pub out_int32: bool,
}

/// For each value the place in the last axis of `sorted` before which it could be inserted. `sorted` is a vector, or has a
/// row for each row of the values. With `sorter`, an order of `sorted` that sorts it.
///
/// # Errors
/// Leading axes that differ, truth values, a sorter of another shape or dtype than int64 or with an index out of bounds.
pub fn searchsorted(
    sorted: &RawTensor,
    values: &RawTensor,
    sorter: Option<&RawTensor>,
    options: SearchOptions,
) -> Result<RawTensor> {
    search("searchsorted", sorted, values, sorter, options)
}

/// [`searchsorted`] in one vector of boundaries, the values first.
///
/// # Errors
/// Boundaries that are not a vector; truth values.
pub fn bucketize(values: &RawTensor, boundaries: &RawTensor, options: SearchOptions) -> Result<RawTensor> {
    const OP: &str = "bucketize";
    if boundaries.rank() != 1 {
        return Err(Error::shape(
            OP,
            format!("boundaries tensor must be 1 dimension, but got dim({})", boundaries.rank()),
        ));
    }
    search(OP, boundaries, values, None, options)
}

fn search(
    op: &'static str,
    sorted: &RawTensor,
    values: &RawTensor,
    sorter: Option<&RawTensor>,
    options: SearchOptions,
) -> Result<RawTensor> {
    let device = same_device(op, &[sorted, values])?;
    let rows_fit = sorted.rank() == values.rank()
        && sorted.rank() > 0
        && sorted.shape()[..sorted.rank() - 1] == values.shape()[..values.rank() - 1];
    if sorted.rank() != 1 && !rows_fit {
        return Err(Error::shape(
            op,
            format!(
                "boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor and input value \
                 tensor must match, but we got boundaries tensor {:?} and input value tensor {:?}",
                sorted.shape(),
                values.shape()
            ),
        ));
    }
    let ordered;
    let sorted = match sorter {
        None => sorted,
        Some(sorter) => {
            if sorter.shape() != sorted.shape() {
                return Err(Error::shape(
                    op,
                    format!(
                        "boundary and sorter must have the same size, but got boundary tensor {:?} and got sorter tensor \
                         {:?}",
                        sorted.shape(),
                        sorter.shape()
                    ),
                ));
            }
            if sorter.dtype() != DType::I64 {
                return Err(Error::dtype(
                    op,
                    format!("sorter must be a tensor of int64 dtype but got dtype {}", sorter.dtype()),
                ));
            }
            ordered = gather(sorted, -1, sorter)?;
            &ordered
        }
    };
    let dtype = result_type(&[sorted.into(), values.into()]);
    if dtype == DType::Bool {
        return Err(Error::dtype(op, format!("\"{op}\" is not implemented for bool")));
    }
    let sorted = contiguous(&to_dtype(sorted, dtype)?)?;
    let values = contiguous(&to_dtype(values, dtype)?)?;
    let out = uninit(op, values.shape(), DType::I64, device)?;
    run(op, &Op::SearchSorted { right: options.right }, &[&sorted, &values], &[&out])?;
    to_dtype(&out, if options.out_int32 { DType::I32 } else { DType::I64 })
}

/// How often each of `0, 1, ..` occurs in a vector of integers, or the sum of the weights at its places, in order. At
/// least `min_length` counts. Weights of dtype float32 give float32, others float64.
///
/// # Errors
/// An input that is not a vector of non-negative integers; weights of another length.
pub fn bincount(x: &RawTensor, weights: Option<&RawTensor>, min_length: usize) -> Result<RawTensor> {
    const OP: &str = "bincount";
    if !x.dtype().is_int() {
        return Err(Error::dtype(OP, format!("\"{OP}\" is not implemented for {}", x.dtype())));
    }
    let values = to_device(&to_dtype(x, DType::I64)?, Device::CPU)?.to_vec::<i64>()?;
    if let Some(bad) = values.iter().find(|v| **v < 0) {
        return Err(Error::value(OP, format!("only supports 1-d non-negative integral inputs, got {bad}")));
    }
    if x.rank() != 1 && !(values.is_empty() && x.rank() == 0) {
        return Err(Error::shape(
            OP,
            format!("only supports 1-d non-negative integral inputs, got shape {:?}", x.shape()),
        ));
    }
    if let Some(w) = weights.filter(|w| w.shape() != x.shape()) {
        return Err(Error::shape(
            OP,
            format!(
                "weights should be 1-d and have the same length as input, got {:?} and {:?}",
                w.shape(),
                x.shape()
            ),
        ));
    }
    let n = values.iter().max().map_or(0, |&m| (m as usize).saturating_add(1)).max(min_length);
    let out = match weights.filter(|_| !values.is_empty()) {
        None => {
            let mut counts = zeros::<i64>(OP, n)?;
            values.iter().for_each(|&v| counts[v as usize] += 1);
            RawTensor::from_vec(OP, counts, [n])?
        }
        Some(w) if w.dtype() == DType::F32 => {
            let mut sums = zeros::<f32>(OP, n)?;
            let w = to_device(w, Device::CPU)?.to_vec::<f32>()?;
            values.iter().zip(w).for_each(|(&v, w)| sums[v as usize] += w);
            RawTensor::from_vec(OP, sums, [n])?
        }
        Some(w) => {
            let mut sums = zeros::<f64>(OP, n)?;
            let w = to_device(&to_dtype(w, DType::F64)?, Device::CPU)?.to_vec::<f64>()?;
            values.iter().zip(w).for_each(|(&v, w)| sums[v as usize] += w);
            RawTensor::from_vec(OP, sums, [n])?
        }
    };
    to_device(&out, x.device())
}

/// A vector of zeros, or an error where memory for it is not there.
fn zeros<T: Element>(op: &'static str, n: usize) -> Result<Vec<T>> {
    let mut out = Vec::new();
    out.try_reserve_exact(n).map_err(|_| Error::value(op, format!("{n} counts do not fit into memory")))?;
    out.resize(n, T::default());
    Ok(out)
}

/// How many elements lie in each of `bins` equal parts of `low..=high` (of the range of the data if both are equal).
/// Elements outside and NaN count nowhere.
///
/// # Errors
/// Integers, no bins, `high` below `low`, a range that is not finite.
pub fn histc(x: &RawTensor, bins: usize, low: f64, high: f64) -> Result<RawTensor> {
    const OP: &str = "histc";
    if bins == 0 {
        return Err(Error::value(OP, "bins must be > 0, but got 0"));
    }
    let host = to_device(x, Device::CPU)?;
    let counts = with_dtype!(x.dtype(), [F16, BF16, F32, F64], T => {
        histogram::<T>(OP, &host.to_vec::<T>()?, bins, T::from_f64(low), T::from_f64(high))?
    }, else => return Err(Error::dtype(OP, format!("\"{OP}\" is not implemented for {}", x.dtype()))));
    to_device(&to_dtype(&RawTensor::from_vec(OP, counts, [bins])?, x.dtype())?, x.device())
}

fn histogram<T: Element>(op: &'static str, data: &[T], bins: usize, low: T, high: T) -> Result<Vec<i64>> {
    let mut counts = zeros::<i64>(op, bins)?;
    // Every step is rounded to the dtype: where an element near an edge falls depends on it.
    let round = |v: f64| T::from_f64(v).to_f64();
    let (mut low, mut high) = (low.to_f64(), high.to_f64());
    if low == high && !data.is_empty() {
        let fold = |f: fn(f64, f64) -> f64| {
            data.iter()
                .map(|v| v.to_f64())
                .reduce(|a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { f(a, b) })
        };
        low = fold(f64::min).unwrap_or(low);
        high = fold(f64::max).unwrap_or(high);
    }
    if low == high {
        (low, high) = (round(low - 1.0), round(high + 1.0));
    }
    if !(low.is_finite() && high.is_finite()) {
        return Err(Error::value(op, format!("range of [{low}, {high}] is not finite")));
    }
    if high < low {
        return Err(Error::value(op, format!("max must be larger than min, got {low} and {high}")));
    }
    let span = round(high - low);
    let scale = round(bins as f64);
    for v in data.iter().map(|v| v.to_f64()) {
        if v >= low && v <= high {
            let place = round(round(round(v - low) * scale) / span) as usize;
            // The last part includes its upper end.
            counts[place.min(bins - 1)] += 1;
        }
    }
    Ok(counts)
}
