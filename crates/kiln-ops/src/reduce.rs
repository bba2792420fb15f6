//! Reductions over any set of axes: rules and entries.

use kiln_storage::{DType, Dims, Error, RawTensor, Result, Shape};

use crate::backend::{run, uninit};
use crate::copy::{contiguous, contiguous_copy, to_dtype};
pub use crate::cpu::reduce::{ArgOp, Axis, ReduceOp};
use crate::op::Op;
use crate::promotion::wide_dtype;

/// The axes to reduce, resolved, without repetition, in rising order. None given means all.
///
/// # Errors
/// An axis out of range or named twice.
pub fn resolve_axes(op: &'static str, axes: &[i64], rank: usize) -> Result<Dims> {
    if rank > 64 {
        return Err(Error::shape(op, format!("only tensors with up to 64 dims are supported, got {rank}")));
    }
    if axes.is_empty() {
        return Ok((0..rank).collect());
    }
    let mut out = Dims::new();
    for &axis in axes {
        let axis = kiln_storage::resolve_axis(op, axis, rank)?;
        if out.contains(&axis) {
            return Err(Error::index(
                op,
                format!("dim {axis} appears multiple times in the list of dims {axes:?}"),
            ));
        }
        // A zero-dimensional tensor has no axes, but PyTorch lets axis 0 name it.
        if rank > 0 {
            out.push(axis);
        }
    }
    out.sort_unstable();
    Ok(out)
}

/// A tensor brought to the form `[outer, n, inner]` that kernels reduce, and how the result is laid out.
struct Canonical {
    x: RawTensor,
    axis: Axis,
    /// The axes that stay, in the order in which the kernel writes them.
    kept: Dims,
}

/// Finds an order of the axes in which `x` is contiguous and the reduced ones are neighbours; copies where there is
/// none.
fn canonical(x: &RawTensor, axes: &[usize]) -> Result<Canonical> {
    let rank = x.rank();
    let is_reduced = |a: usize| axes.contains(&a);
    // In memory order.
    let mut order: Dims = (0..rank).collect();
    order.sort_by_key(&|a| usize::MAX - x.layout().strides()[a]);
    for order in [(0..rank).collect(), order] {
        let layout = x.layout().permute(&order);
        let first = order.iter().position(|&a| is_reduced(a)).unwrap_or(rank);
        let neighbours = order[first..].iter().take(axes.len()).all(|&a| is_reduced(a));
        if layout.is_contiguous() && neighbours {
            let sizes = |r: std::ops::Range<usize>| order[r].iter().map(|&a| x.shape()[a]).product::<usize>();
            let axis = Axis {
                outer: sizes(0..first),
                n: sizes(first..first + axes.len()),
                inner: sizes(first + axes.len()..rank),
            };
            let kept = order.iter().copied().filter(|&a| !is_reduced(a)).collect();
            return Ok(Canonical { x: x.with_layout(layout), axis, kept });
        }
    }
    let kept: Dims = (0..rank).filter(|&a| !is_reduced(a)).collect();
    let order: Dims = kept.iter().chain(axes).copied().collect();
    let moved = contiguous_copy(&x.with_layout(x.layout().permute(&order)))?;
    let sizes = |axes: &[usize]| axes.iter().map(|&a| x.shape()[a]).product::<usize>();
    let axis = Axis { outer: sizes(&kept), n: sizes(axes), inner: 1 };
    Ok(Canonical { x: moved, axis, kept })
}

impl Canonical {
    /// The result's shape as the kernel writes it.
    fn shape(&self, x: &RawTensor) -> Shape {
        self.kept.iter().map(|&a| x.shape()[a]).collect()
    }

    /// The kernel's result with its axes in `x`'s order, and the reduced ones kept with size 1 if wanted.
    fn finish(&self, y: RawTensor, axes: &[usize], keepdim: bool) -> RawTensor {
        let mut order: Dims = (0..self.kept.len()).collect();
        order.sort_by_key(&|i| self.kept[i]);
        let mut layout = if order.is_sorted() { y.layout().clone() } else { y.layout().permute(&order) };
        if keepdim {
            for &axis in axes {
                layout = layout.unsqueeze(axis);
            }
        }
        y.with_layout(layout)
    }
}

fn empty_axis(op: &'static str, x: &RawTensor) -> Error {
    Error::shape(
        op,
        format!(
            "{op} of an axis of size 0 (shape {:?}) has no identity; give it at least one element",
            x.shape()
        ),
    )
}

/// The dtype that elements are converted to before a kernel reduces them: kernels exist for a few dtypes only, because
/// each instance of the loops costs compile time. Half precision is so accumulated in single precision and rounded once;
/// truth values are enough for questions and counts.
fn kernel_dtype(op: ReduceOp, dtype: DType) -> DType {
    match op {
        ReduceOp::All | ReduceOp::Any | ReduceOp::CountNonzero => DType::Bool,
        ReduceOp::Max | ReduceOp::Min if dtype == DType::Bool => dtype,
        _ => wide_dtype(dtype),
    }
}

fn name(op: ReduceOp) -> &'static str {
    match op {
        ReduceOp::Sum => "sum",
        ReduceOp::NanSum => "nansum",
        ReduceOp::Mean => "mean",
        ReduceOp::Prod => "prod",
        ReduceOp::Max => "amax",
        ReduceOp::Min => "amin",
        ReduceOp::LogSumExp => "logsumexp",
        ReduceOp::Norm1 | ReduceOp::Norm2 | ReduceOp::NormMax | ReduceOp::SumSquares => "norm",
        ReduceOp::Var { .. } => "var",
        ReduceOp::Std { .. } => "std",
        ReduceOp::All => "all",
        ReduceOp::Any => "any",
        ReduceOp::CountNonzero => "count_nonzero",
    }
}

/// Reduces `axes` (none given: all) of `x`. Floats keep their dtype; sums and products of integers are `I64`.
///
/// # Errors
/// An axis out of range or named twice; a dtype the reduction is not defined for; an extreme of nothing.
pub fn reduce(op: ReduceOp, x: &RawTensor, axes: &[i64], keepdim: bool) -> Result<RawTensor> {
    let text = name(op);
    let dtype = op.output(x.dtype()).ok_or_else(|| {
        Error::dtype(
            text,
            format!(
                "could not infer output dtype. Input dtype must be a floating point dtype. Got: {}",
                x.dtype()
            ),
        )
    })?;
    let resolved = resolve_axes(text, axes, x.rank())?;
    let kernel = kernel_dtype(op, x.dtype());
    if kernel != x.dtype() {
        let y = reduce(op, &to_dtype(x, kernel)?, axes, keepdim)?;
        return to_dtype(&y, dtype);
    }
    let axes = resolved;
    if let Some(y) = in_stages(op, x, &axes, keepdim)? {
        return Ok(y);
    }
    let c = canonical(x, &axes)?;
    if matches!(op, ReduceOp::Max | ReduceOp::Min | ReduceOp::NormMax)
        && c.axis.n == 0
        && c.axis.results() > 0
    {
        return Err(empty_axis(text, x));
    }
    let y = uninit(text, &c.shape(x), dtype, x.device())?;
    if y.numel() > 0 {
        run(text, &Op::Reduce(op, c.axis), &[&c.x], &[&y])?;
    }
    Ok(c.finish(y, &axes, keepdim))
}

/// Reduces axes that are not neighbours group by group, innermost first, which spares the copy that would bring them
/// together. For reductions of reductions only.
fn in_stages(op: ReduceOp, x: &RawTensor, axes: &[usize], keepdim: bool) -> Result<Option<RawTensor>> {
    let staged = matches!(
        op,
        ReduceOp::Sum | ReduceOp::Prod | ReduceOp::Max | ReduceOp::Min | ReduceOp::All | ReduceOp::Any
    );
    let last_group = axes.windows(2).rposition(|w| w[0] + 1 != w[1]).map(|i| i + 1);
    let (Some(split), true, true) = (last_group, staged, x.is_contiguous()) else {
        return Ok(None);
    };
    let signed = |axes: &[usize]| axes.iter().map(|&a| a as i64).collect::<Vec<_>>();
    let inner = reduce(op, x, &signed(&axes[split..]), true)?;
    let y = reduce(op, &inner, &signed(&axes[..split]), true)?;
    if keepdim {
        return Ok(Some(y));
    }
    Ok(Some(y.with_layout(y.layout().squeeze(|a| axes.contains(&a)))))
}

/// The position of the largest or smallest element along `axis` (`None`: in the flattened tensor); the first of equal
/// ones.
///
/// # Errors
/// An axis out of range, or nothing to choose from.
pub fn arg_reduce(op: ArgOp, x: &RawTensor, axis: Option<i64>, keepdim: bool) -> Result<RawTensor> {
    let text = if op == ArgOp::Max { "argmax" } else { "argmin" };
    if x.dtype() == DType::Bool {
        return Err(Error::dtype(text, format!("\"{text}\" is not implemented for bool")));
    }
    let axes = resolve_axes(text, axis.as_slice(), x.rank())?;
    let kernel = wide_dtype(x.dtype());
    if kernel != x.dtype() {
        return arg_reduce(op, &to_dtype(x, kernel)?, axis, keepdim);
    }
    // Positions count in row-major order of the given axes, so the tensor is not walked in memory order here.
    let x = contiguous(x)?;
    let c = canonical(&x, &axes)?;
    if c.axis.n == 0 && c.axis.results() > 0 {
        return Err(empty_axis(text, &x));
    }
    let y = uninit(text, &c.shape(&x), DType::I64, x.device())?;
    if y.numel() > 0 {
        run(text, &Op::ArgReduce(op, c.axis), &[&c.x], &[&y])?;
    }
    Ok(c.finish(y, &axes, keepdim))
}

/// The largest or smallest elements along `axis` and their positions.
///
/// # Errors
/// An axis out of range, or nothing to choose from.
pub fn extreme_along(op: ArgOp, x: &RawTensor, axis: i64, keepdim: bool) -> Result<(RawTensor, RawTensor)> {
    let text = if op == ArgOp::Max { "max" } else { "min" };
    let axes = resolve_axes(text, &[axis], x.rank())?;
    let c = canonical(x, &axes)?;
    if c.axis.n == 0 && c.axis.results() > 0 {
        return Err(empty_axis(text, x));
    }
    let source = to_dtype(&c.x, wide_dtype(x.dtype()))?;
    let values = uninit(text, &c.shape(x), source.dtype(), x.device())?;
    let indices = uninit(text, &c.shape(x), DType::I64, x.device())?;
    if values.numel() > 0 {
        run(text, &Op::ArgReduce(op, c.axis), &[&source], &[&indices, &values])?;
    }
    let values = to_dtype(&values, x.dtype())?;
    Ok((c.finish(values, &axes, keepdim), c.finish(indices, &axes, keepdim)))
}

/// Sums axes away until `x` has `shape`: what undoes broadcasting.
///
/// # Errors
/// `x` is not what broadcasting `shape` gives.
pub fn sum_to_size(x: &RawTensor, shape: &Shape) -> Result<RawTensor> {
    const OP: &str = "sum_to_size";
    if x.shape() == shape {
        return Ok(x.clone());
    }
    let lead = x.rank().checked_sub(shape.rank());
    let fits = lead.is_some_and(|lead| shape.iter().zip(&x.shape()[lead..]).all(|(s, d)| s == d || *s == 1));
    let Some(lead) = lead.filter(|_| fits) else {
        return Err(Error::shape(OP, format!("size {shape:?} is not expandable to size {:?}", x.shape())));
    };
    let axes: Vec<i64> = (0..x.rank())
        .filter(|&a| a < lead || (shape[a - lead] == 1 && x.shape()[a] != 1))
        .map(|a| a as i64)
        .collect();
    let y = if axes.is_empty() { x.clone() } else { reduce(ReduceOp::Sum, x, &axes, true)? };
    Ok(y.with_layout(y.layout().squeeze(|a| a < lead)))
}
