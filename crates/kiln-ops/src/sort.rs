//! Sorted order along an axis and what comes from it, and distinct elements.
//!
//! NaN is larger than any number, and equal elements keep their order.

use std::cmp::Ordering;

use kiln_storage::{DType, Device, Dims, Error, RawTensor, Result, Shape, with_dtype};

use crate::backend::{run, uninit};
use crate::copy::{contiguous, contiguous_copy, to_device};
use crate::cpu::sort::{self as kernels, SortKey};
use crate::elementwise::{BinaryOp, Operand, TestOp, binary, test, where_};
use crate::index::{at_least_1d, index_select};
use crate::op::Op;
use crate::reduce::{ArgOp, ReduceOp, extreme_along, reduce};
use crate::scatter::gather;

/// A tensor with the axis of interest last and contiguous.
struct Rows {
    x: RawTensor,
    axis: usize,
    /// Whether `x` was a single number.
    scalar: bool,
}

impl Rows {
    fn new(op: &'static str, x: &RawTensor, axis: i64) -> Result<Rows> {
        let axis = x.shape().axis(op, axis)?;
        let scalar = x.rank() == 0;
        let x = at_least_1d(x);
        if x.shape()[axis] > u32::MAX as usize {
            return Err(Error::shape(op, format!("an axis of {} elements is too long", x.shape()[axis])));
        }
        let last = x.rank() - 1;
        Ok(Rows { x: contiguous(&x.with_layout(x.layout().transpose(axis, last)))?, axis, scalar })
    }

    /// The length of a row.
    fn len(&self) -> usize {
        self.x.shape()[self.x.rank() - 1]
    }

    /// Runs a kernel that gives `len` elements for each row, and their places.
    fn run(&self, op: &'static str, kernel: &Op, len: usize) -> Result<(RawTensor, RawTensor)> {
        let last = self.x.rank() - 1;
        self.execute(op, kernel, &self.x.shape().with(last, len), |y| {
            if self.scalar && len == 1 {
                return y.with_layout(y.layout().select(0, 0));
            }
            y.with_layout(y.layout().transpose(self.axis, last))
        })
    }

    /// Runs a kernel that gives one element for each row, and its place.
    fn run_one(&self, op: &'static str, kernel: &Op, keepdim: bool) -> Result<(RawTensor, RawTensor)> {
        if self.len() == 0 {
            return Err(Error::index(op, "Expected reduction dim to have non-zero size."));
        }
        let last = self.x.rank() - 1;
        self.execute(op, kernel, &self.x.shape().without(last), |y| {
            if self.scalar {
                return y.clone();
            }
            // The last axis took the place of the one that was reduced.
            let layout = y.layout().unsqueeze(last).transpose(self.axis, last);
            y.with_layout(if keepdim { layout } else { layout.squeeze(|a| a == self.axis) })
        })
    }

    fn execute(
        &self,
        op: &'static str,
        kernel: &Op,
        shape: &Shape,
        finish: impl Fn(&RawTensor) -> RawTensor,
    ) -> Result<(RawTensor, RawTensor)> {
        let values = uninit(op, shape, self.x.dtype(), self.x.device())?;
        let places = uninit(op, shape, DType::I64, self.x.device())?;
        if values.numel() > 0 {
            run(op, kernel, &[&self.x], &[&values, &places])?;
        }
        Ok((finish(&values), finish(&places)))
    }
}

/// The elements along `axis` in order, stably, and where each was.
///
/// # Errors
/// An axis out of range, or of 2^32 elements and more.
pub fn sort(x: &RawTensor, axis: i64, descending: bool) -> Result<(RawTensor, RawTensor)> {
    const OP: &str = "sort";
    let rows = Rows::new(OP, x, axis)?;
    rows.run(OP, &Op::Sort { descending }, rows.len())
}

/// The `k` largest or smallest elements along `axis`, best first, and where each was.
///
/// # Errors
/// As [`sort`]; `k` larger than the axis.
pub fn top_k(x: &RawTensor, k: usize, axis: i64, largest: bool) -> Result<(RawTensor, RawTensor)> {
    const OP: &str = "topk";
    let rows = Rows::new(OP, x, axis)?;
    if k > rows.len() {
        return Err(Error::index(
            OP,
            format!("selected index k out of range: k is {k}, the axis has {} elements", rows.len()),
        ));
    }
    rows.run(OP, &Op::TopK { largest }, k)
}

/// The `k`-th smallest element along `axis`, counted from 1, and where it was.
///
/// # Errors
/// As [`sort`]; no such element.
pub fn kth_value(x: &RawTensor, k: usize, axis: i64, keepdim: bool) -> Result<(RawTensor, RawTensor)> {
    const OP: &str = "kthvalue";
    let rows = Rows::new(OP, x, axis)?;
    if k == 0 || k > rows.len() {
        return Err(Error::index(
            OP,
            format!(
                "selected number k out of range for dimension {axis}: k is {k}, the axis has {} elements",
                rows.len()
            ),
        ));
    }
    rows.run_one(OP, &Op::KthValue { k: k - 1 }, keepdim)
}

/// The lower median along `axis` and where it was; NaN if there is one.
///
/// # Errors
/// As [`sort`]; nothing to choose from.
pub fn median(x: &RawTensor, axis: i64, keepdim: bool) -> Result<(RawTensor, RawTensor)> {
    const OP: &str = "median";
    let rows = Rows::new(OP, x, axis)?;
    let (values, places) =
        rows.run_one(OP, &Op::KthValue { k: rows.len().saturating_sub(1) / 2 }, keepdim)?;
    if !x.dtype().is_float() || values.numel() == 0 {
        return Ok((values, places));
    }
    // The maximum of a row with NaN is its first NaN.
    let (largest, first) = extreme_along(ArgOp::Max, x, axis, keepdim)?;
    let nan = test(TestOp::IsNan, &largest)?;
    Ok((where_(&nan, &largest, &values)?, where_(&nan, &first, &places)?))
}

/// The lower median of the numbers along `axis`, without NaN, and where it was; NaN if there is no number.
///
/// # Errors
/// As [`median`].
pub fn nan_median(x: &RawTensor, axis: i64, keepdim: bool) -> Result<(RawTensor, RawTensor)> {
    if !x.dtype().is_float() {
        return median(x, axis, keepdim);
    }
    const OP: &str = "nanmedian";
    let at = x.shape().axis(OP, axis)?;
    let scalar = x.rank() == 0;
    let x = at_least_1d(x);
    if x.shape()[at] == 0 {
        return Err(Error::index(OP, "Expected reduction dim to have non-zero size."));
    }
    let axis = at as i64;
    let (values, places) = sort(&x, axis, false)?;
    // NaN comes last: the middle of what is before.
    let missing = reduce(ReduceOp::CountNonzero, &test(TestOp::IsNan, &x)?, &[axis], true)?;
    let last = binary(
        BinaryOp::Sub,
        &crate::scalar((x.shape()[at] as i64 - 1).into(), DType::I64, x.device())?,
        &missing,
    )?;
    let last = binary(BinaryOp::Maximum, &last, Operand::Scalar(0.into()))?;
    let middle = binary(BinaryOp::FloorDivide, &last, Operand::Scalar(2.into()))?;
    let finish = |t: RawTensor| {
        if scalar || !keepdim { t.with_layout(t.layout().squeeze(|a| a == at)) } else { t }
    };
    Ok((finish(gather(&values, axis, &middle)?), finish(gather(&places, axis, &middle)?)))
}

/// The most frequent element along `axis`, the smallest of several, and where it was last.
///
/// # Errors
/// As [`sort`]; nothing to choose from.
pub fn mode(x: &RawTensor, axis: i64, keepdim: bool) -> Result<(RawTensor, RawTensor)> {
    const OP: &str = "mode";
    Rows::new(OP, x, axis)?.run_one(OP, &Op::Mode, keepdim)
}

/// The distinct elements of a tensor, or its distinct slices along an axis.
#[derive(Clone)]
pub struct Unique {
    /// Each element or slice once.
    pub values: RawTensor,
    /// For every element or slice of the input, which of `values` it is: int64.
    pub inverse: RawTensor,
    /// How often each of `values` occurs: int64.
    pub counts: RawTensor,
}

/// The distinct elements of the flattened tensor, or slices along `axis`, in rising order. NaN differs from NaN.
///
/// # Errors
/// An axis out of range; 2^32 elements and more.
pub fn unique(x: &RawTensor, axis: Option<i64>) -> Result<Unique> {
    distinct("unique", x, axis, true)
}

/// The elements of the flattened tensor, or slices along `axis`, without those that equal the one before them.
///
/// # Errors
/// As [`unique`].
pub fn unique_consecutive(x: &RawTensor, axis: Option<i64>) -> Result<Unique> {
    distinct("unique_consecutive", x, axis, false)
}

fn distinct(op: &'static str, x: &RawTensor, axis: Option<i64>, sorted: bool) -> Result<Unique> {
    if x.numel() > u32::MAX as usize {
        return Err(Error::shape(op, format!("{} elements are too many", x.numel())));
    }
    let Some(axis) = axis else { return distinct_elements(op, x, sorted) };
    let at = x.shape().axis(op, axis)?;
    let slices = at_least_1d(x);
    let n = slices.shape()[at];
    if slices.numel() == 0 && n > 0 {
        return Err(Error::shape(
            op,
            format!("There are 0 sized dimensions in shape {:?}, and they aren't selected", x.shape()),
        ));
    }
    let host = to_device(&slices, Device::CPU)?;
    let order: Dims = std::iter::once(at).chain((0..host.rank()).filter(|&a| a != at)).collect();
    let rows = contiguous_copy(&host.with_layout(host.layout().permute(&order)))?;
    let (firsts, inverse, counts) =
        with_dtype!(x.dtype(), T => distinct_rows::<T>(&rows.to_vec()?, n, sorted));
    let on_device = |v: Vec<i64>| {
        let len = v.len();
        to_device(&RawTensor::from_vec(op, v, [len])?, x.device())
    };
    Ok(Unique {
        values: index_select(&slices, at as i64, &on_device(firsts)?)?,
        inverse: on_device(inverse)?,
        counts: on_device(counts)?,
    })
}

fn distinct_elements(op: &'static str, x: &RawTensor, sorted: bool) -> Result<Unique> {
    let host = to_device(x, Device::CPU)?;
    with_dtype!(x.dtype(), T => {
        let data = host.to_vec::<T>()?;
        let found = if sorted { kernels::unique(&data) } else { kernels::unique_consecutive(&data) };
        let n = [found.values.len()];
        Ok(Unique {
            values: to_device(&RawTensor::from_vec(op, found.values, n)?, x.device())?,
            inverse: to_device(&RawTensor::from_vec(op, found.inverse, x.shape().clone())?, x.device())?,
            counts: to_device(&RawTensor::from_vec(op, found.counts, n)?, x.device())?,
        })
    })
}

/// Of `n` rows: one of each kind, for every row its kind, and how many are of each kind.
fn distinct_rows<T: SortKey>(data: &[T], n: usize, sorted: bool) -> (Vec<i64>, Vec<i64>, Vec<i64>) {
    let width = data.len().checked_div(n).unwrap_or(0);
    let row = |i: usize| &data[i * width..][..width];
    let order = |a: usize, b: usize| row(a).iter().map(|v| v.key()).cmp(row(b).iter().map(|v| v.key()));
    // Compared as elements, so that NaN differs from NaN.
    kinds(n, sorted.then_some(&order), &|a, b| row(a) == row(b))
}

/// [`distinct_rows`] for rows that are known by `order` (`None`: they stay in their order) and `equal`: compiled once
/// for all dtypes.
fn kinds(
    n: usize,
    order: Option<&dyn Fn(usize, usize) -> Ordering>,
    equal: &dyn Fn(usize, usize) -> bool,
) -> (Vec<i64>, Vec<i64>, Vec<i64>) {
    let rows = match order {
        Some(order) => kernels::order(n, order),
        None => (0..n).collect(),
    };
    let (mut firsts, mut inverse, mut counts): (Vec<i64>, _, Vec<i64>) = (Vec::new(), vec![0; n], Vec::new());
    for i in rows {
        if firsts.last().is_none_or(|&first| !equal(first as usize, i)) {
            firsts.push(i as i64);
            counts.push(0);
        }
        if let Some(count) = counts.last_mut() {
            *count += 1;
        }
        inverse[i] = firsts.len() as i64 - 1;
    }
    (firsts, inverse, counts)
}
