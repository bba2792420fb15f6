//! Hands contiguous operands as slices to the kernels that take slices: a function per family.

use kiln_storage::{DType, Error, RawTensor, Result, with_dtype};

use super::conv::{ConvShape, conv_backward_weight, conv_forward, conv_transposed};
use super::host::Host;
use super::pool2d::{self, AvgPool, PoolShape};
use super::reduce::{self, ArgOp, Axis, Computed, ReduceOp};
use super::scan::{self, ScanOp};
use super::softmax::{self as sm, CrossEntropy};
use super::sort;
use crate::softmax::ClassLoss;

pub(super) fn not_implemented(op: &'static str, dtype: DType) -> Error {
    Error::dtype(op, format!("\"{op}\" is not implemented for {dtype}"))
}

/// See [`crate::Op::Reduce`].
pub(crate) fn reduce(
    op: &'static str,
    code: ReduceOp,
    axis: Axis,
    x: &RawTensor,
    y: &RawTensor,
) -> Result<()> {
    let host = Host::lock(op, &[x], &[y])?;
    // SAFETY (of every `output` below): one output, made into a slice once, in memory of its own.
    match code {
        // SAFETY: see above.
        ReduceOp::CountNonzero if x.dtype() == DType::Bool => unsafe {
            reduce::count_true(host.input(x), axis, host.output(y))
        },
        // SAFETY: see above.
        ReduceOp::All | ReduceOp::Any | ReduceOp::Max | ReduceOp::Min if x.dtype() == DType::Bool => unsafe {
            reduce::reduce_bool(code, host.input(x), axis, host.output(y))
        },
        _ if x.dtype().is_float() => with_dtype!(x.dtype(), [F32, F64], T => {
            // SAFETY: see above.
            reduce::reduce_float::<T>(code, host.input(x), axis, unsafe { host.output(y) });
        }, else => return Err(not_implemented(op, x.dtype()))),
        ReduceOp::Max | ReduceOp::Min => with_dtype!(x.dtype(), [I64], T => {
            // SAFETY: see above.
            reduce::reduce_extreme::<T>(code, host.input(x), axis, unsafe { host.output(y) });
        }, else => return Err(not_implemented(op, x.dtype()))),
        _ => with_dtype!(x.dtype(), [I64], T => {
            // SAFETY: see above.
            reduce::reduce_int::<T>(code, host.input(x), axis, unsafe { host.output(y) });
        }, else => return Err(not_implemented(op, x.dtype()))),
    }
    Ok(())
}

/// See [`crate::Op::ArgReduce`].
pub(crate) fn arg_reduce(
    op: &'static str,
    code: ArgOp,
    axis: Axis,
    x: &RawTensor,
    outs: &[&RawTensor],
) -> Result<()> {
    let host = Host::lock(op, &[x], outs)?;
    with_dtype!(x.dtype(), [I64, F32, F64], T => {
        // SAFETY: each output is made into a slice once, in memory of its own.
        let index = unsafe { host.output(outs[0]) };
        match outs.get(1) {
            // SAFETY: as above.
            Some(values) => reduce::arg_reduce_values::<T>(code, host.input(x), axis, unsafe { host.output(values) }, index),
            None => reduce::arg_reduce::<T>(code, host.input(x), axis, index),
        }
    }, else => return Err(not_implemented(op, x.dtype())));
    Ok(())
}

/// Binds `T` to the float type of `dtype`; the family is not defined for other dtypes.
macro_rules! float_family {
    ($op:expr, $dtype:expr, $t:ident => $body:expr) => {
        kiln_storage::with_dtype!($dtype, [F32, F64], $t => $body,
            else => Err($crate::cpu::families::not_implemented($op, $dtype)))
    };
}
pub(super) use float_family;

// In the functions below each output is made into a slice once and has memory of its own.

/// See [`crate::Op::Softmax`].
pub(crate) fn softmax(op: &'static str, axis: Axis, log: bool, x: &RawTensor, y: &RawTensor) -> Result<()> {
    let host = Host::lock(op, &[x], &[y])?;
    float_family!(op, x.dtype(), T => {
        // SAFETY: see above.
        sm::softmax::<T>(host.input(x), axis, log, unsafe { host.output(y) });
        Ok(())
    })
}

/// See [`crate::Op::SoftmaxGrad`].
pub(crate) fn softmax_grad(
    op: &'static str,
    axis: Axis,
    log: bool,
    [y, g]: [&RawTensor; 2],
    gx: &RawTensor,
) -> Result<()> {
    let host = Host::lock(op, &[y, g], &[gx])?;
    float_family!(op, y.dtype(), T => {
        // SAFETY: see above.
        sm::softmax_backward::<T>(host.input(y), host.input(g), axis, log, unsafe { host.output(gx) });
        Ok(())
    })
}

fn class_options<'a, T: kiln_storage::Element>(
    host: &'a Host<'_>,
    options: &ClassLoss,
    weight: Option<&RawTensor>,
) -> CrossEntropy<'a, T> {
    CrossEntropy {
        weight: weight.map(|w| host.input::<T>(w)),
        ignore_index: options.ignore_index,
        label_smoothing: options.label_smoothing,
        reduction: options.reduction,
    }
}

/// See [`crate::Op::CrossEntropy`].
pub(crate) fn cross_entropy(
    op: &'static str,
    axis: Axis,
    options: ClassLoss,
    ins: &[&RawTensor],
    [y, stats]: [&RawTensor; 2],
) -> Result<()> {
    let host = Host::lock(op, ins, &[y, stats])?;
    let (x, target, weight) = (ins[0], ins[1], ins.get(2).copied());
    float_family!(op, x.dtype(), T => {
        let options = class_options::<T>(&host, &options, weight);
        // SAFETY: see above.
        let (y, stats) = unsafe { (host.output(y), host.output::<<T as Computed>::Acc>(stats)) };
        sm::cross_entropy::<T>(host.input(x), host.input(target), axis, &options, y, stats)
    })
}

/// See [`crate::Op::CrossEntropyGrad`].
pub(crate) fn cross_entropy_grad(
    op: &'static str,
    axis: Axis,
    options: ClassLoss,
    ins: &[&RawTensor],
    gx: &RawTensor,
) -> Result<()> {
    let host = Host::lock(op, ins, &[gx])?;
    let (x, target, stats, g, weight) = (ins[0], ins[1], ins[2], ins[3], ins.get(4).copied());
    float_family!(op, x.dtype(), T => {
        let options = class_options::<T>(&host, &options, weight);
        let stats = host.input::<<T as Computed>::Acc>(stats);
        // SAFETY: see above.
        let gx = unsafe { host.output(gx) };
        sm::cross_entropy_backward::<T>(host.input(x), host.input(target), axis, &options, stats, host.input(g), gx)
    })
}

/// See [`crate::Op::NllLoss`].
pub(crate) fn nll_loss(
    op: &'static str,
    axis: Axis,
    options: ClassLoss,
    ins: &[&RawTensor],
    y: &RawTensor,
) -> Result<()> {
    let host = Host::lock(op, ins, &[y])?;
    float_family!(op, y.dtype(), T => {
        let options = class_options::<T>(&host, &options, ins.get(2).copied());
        // SAFETY: see above.
        sm::nll_loss::<T>(host.input(ins[0]), host.input(ins[1]), axis, &options, unsafe { host.output(y) })
    })
}

/// See [`crate::Op::NllLossGrad`].
pub(crate) fn nll_loss_grad(
    op: &'static str,
    axis: Axis,
    options: ClassLoss,
    ins: &[&RawTensor],
    gx: &RawTensor,
) -> Result<()> {
    let host = Host::lock(op, ins, &[gx])?;
    float_family!(op, gx.dtype(), T => {
        let options = class_options::<T>(&host, &options, ins.get(2).copied());
        // SAFETY: see above.
        let gx = unsafe { host.output(gx) };
        sm::nll_loss_backward::<T>(host.input(ins[0]), axis, &options, host.input(ins[1]), gx)
    })
}

/// See [`crate::Op::MaxPool`].
pub(crate) fn max_pool(
    op: &'static str,
    shape: &PoolShape,
    x: &RawTensor,
    outs: &[&RawTensor],
) -> Result<()> {
    let host = Host::lock(op, &[x], outs)?;
    with_dtype!(x.dtype(), [I64, F32, F64], T => {
        // SAFETY: see above.
        let y = unsafe { host.output(outs[0]) };
        let index: &mut [i32] = match outs.get(1) {
            // SAFETY: see above.
            Some(index) => unsafe { host.output(index) },
            None => &mut [],
        };
        pool2d::max_pool::<T, i32>(host.input(x), shape, y, index);
        Ok(())
    }, else => Err(not_implemented(op, x.dtype())))
}

/// See [`crate::Op::MaxPoolGrad`].
pub(crate) fn max_pool_grad(
    op: &'static str,
    shape: &PoolShape,
    [g, index]: [&RawTensor; 2],
    gx: &RawTensor,
) -> Result<()> {
    let host = Host::lock(op, &[g, index], &[gx])?;
    float_family!(op, g.dtype(), T => {
        // SAFETY: see above.
        let gx = unsafe { host.output(gx) };
        pool2d::max_pool_backward::<T, i32>(host.input(g), host.input(index), shape, gx);
        Ok(())
    })
}

/// See [`crate::Op::AvgPool`].
pub(crate) fn avg_pool(
    op: &'static str,
    shape: &PoolShape,
    options: AvgPool,
    x: &RawTensor,
    y: &RawTensor,
) -> Result<()> {
    let host = Host::lock(op, &[x], &[y])?;
    float_family!(op, x.dtype(), T => {
        // SAFETY: see above.
        pool2d::avg_pool::<T>(host.input(x), shape, options, unsafe { host.output(y) });
        Ok(())
    })
}

/// See [`crate::Op::AvgPoolGrad`].
pub(crate) fn avg_pool_grad(
    op: &'static str,
    shape: &PoolShape,
    options: AvgPool,
    g: &RawTensor,
    gx: &RawTensor,
) -> Result<()> {
    let host = Host::lock(op, &[g], &[gx])?;
    float_family!(op, g.dtype(), T => {
        // SAFETY: see above.
        pool2d::avg_pool_backward::<T>(host.input(g), shape, options, unsafe { host.output(gx) });
        Ok(())
    })
}

/// See [`crate::Op::AdaptiveMaxPool`].
pub(crate) fn adaptive_max_pool(
    op: &'static str,
    shape: &PoolShape,
    x: &RawTensor,
    [y, index]: [&RawTensor; 2],
) -> Result<()> {
    let host = Host::lock(op, &[x], &[y, index])?;
    with_dtype!(x.dtype(), [I64, F32, F64], T => {
        // SAFETY: see above.
        let (y, index) = unsafe { (host.output(y), host.output(index)) };
        pool2d::adaptive_max_pool::<T, i32>(host.input(x), shape, y, index);
        Ok(())
    }, else => Err(not_implemented(op, x.dtype())))
}

/// See [`crate::Op::AdaptiveAvgPool`].
pub(crate) fn adaptive_avg_pool(
    op: &'static str,
    shape: &PoolShape,
    x: &RawTensor,
    y: &RawTensor,
) -> Result<()> {
    let host = Host::lock(op, &[x], &[y])?;
    float_family!(op, x.dtype(), T => {
        // SAFETY: see above.
        pool2d::adaptive_avg_pool::<T>(host.input(x), shape, unsafe { host.output(y) });
        Ok(())
    })
}

/// See [`crate::Op::AdaptiveAvgPoolGrad`].
pub(crate) fn adaptive_avg_pool_grad(
    op: &'static str,
    shape: &PoolShape,
    g: &RawTensor,
    gx: &RawTensor,
) -> Result<()> {
    let host = Host::lock(op, &[g], &[gx])?;
    float_family!(op, g.dtype(), T => {
        // SAFETY: see above.
        pool2d::adaptive_avg_pool_backward::<T>(host.input(g), shape, unsafe { host.output(gx) });
        Ok(())
    })
}

/// See [`crate::Op::Conv`].
pub(crate) fn conv(op: &'static str, shape: &ConvShape<3>, ins: &[&RawTensor], y: &RawTensor) -> Result<()> {
    let host = Host::lock(op, ins, &[y])?;
    with_dtype!(y.dtype(), [I64, F16, BF16, F32, F64], T => {
        let bias = ins.get(2).map(|b| host.input::<T>(b));
        // SAFETY: see above.
        conv_forward::<T, 3>(shape, host.input(ins[0]), host.input(ins[1]), bias, unsafe { host.output(y) });
        Ok(())
    }, else => Err(not_implemented(op, y.dtype())))
}

/// See [`crate::Op::ConvInput`].
pub(crate) fn conv_input(
    op: &'static str,
    shape: &ConvShape<3>,
    ins: &[&RawTensor],
    x: &RawTensor,
) -> Result<()> {
    let host = Host::lock(op, ins, &[x])?;
    with_dtype!(x.dtype(), [I64, F16, BF16, F32, F64], T => {
        let bias = ins.get(2).map(|b| host.input::<T>(b));
        // SAFETY: see above.
        conv_transposed::<T, 3>(shape, host.input(ins[0]), host.input(ins[1]), bias, unsafe { host.output(x) });
        Ok(())
    }, else => Err(not_implemented(op, x.dtype())))
}

/// See [`crate::Op::ConvWeight`].
pub(crate) fn conv_weight(
    op: &'static str,
    shape: &ConvShape<3>,
    [x, y]: [&RawTensor; 2],
    w: &RawTensor,
) -> Result<()> {
    let host = Host::lock(op, &[x, y], &[w])?;
    with_dtype!(w.dtype(), [I64, F16, BF16, F32, F64], T => {
        // SAFETY: see above.
        conv_backward_weight::<T, 3>(shape, host.input(x), host.input(y), unsafe { host.output(w) });
        Ok(())
    }, else => Err(not_implemented(op, w.dtype())))
}

/// Binds `T` to the type of `dtype`, and the two outputs to slices of `T` and of places.
macro_rules! with_places {
    ($op:expr, $x:expr, $outs:expr, |$t:ident, $in:ident, $values:ident, $index:ident| $body:expr) => {{
        let host = Host::lock($op, &[$x], &$outs)?;
        with_dtype!($x.dtype(), [I64, F32, F64], $t => {
            let $in = host.input::<$t>($x);
            // SAFETY: each output is made into a slice once and has memory of its own.
            let ($values, $index) = unsafe { (host.output::<$t>($outs[0]), host.output::<i64>($outs[1])) };
            $body;
            Ok(())
        }, else => Err(not_implemented($op, $x.dtype())))
    }};
}

/// The length of the rows along the last axis.
fn row_len(x: &RawTensor) -> usize {
    x.shape().last().copied().unwrap_or(1)
}

/// See [`crate::Op::Sort`].
pub(crate) fn sort(op: &'static str, descending: bool, x: &RawTensor, outs: [&RawTensor; 2]) -> Result<()> {
    with_places!(op, x, outs, |T, x_, v, i| sort::sort::<T>(x_, row_len(x), descending, v, i))
}

/// See [`crate::Op::TopK`].
pub(crate) fn top_k(op: &'static str, largest: bool, x: &RawTensor, outs: [&RawTensor; 2]) -> Result<()> {
    let k = row_len(outs[0]);
    with_places!(op, x, outs, |T, x_, v, i| sort::top_k::<T>(x_, row_len(x), k, largest, v, i))
}

/// See [`crate::Op::KthValue`].
pub(crate) fn kth_value(op: &'static str, k: usize, x: &RawTensor, outs: [&RawTensor; 2]) -> Result<()> {
    with_places!(op, x, outs, |T, x_, v, i| sort::kth_value::<T>(x_, row_len(x), k, v, i))
}

/// See [`crate::Op::Mode`].
pub(crate) fn mode(op: &'static str, x: &RawTensor, outs: [&RawTensor; 2]) -> Result<()> {
    with_places!(op, x, outs, |T, x_, v, i| sort::mode::<T>(x_, row_len(x), v, i))
}

/// See [`crate::Op::ScanExtreme`].
pub(crate) fn scan_extreme(
    op: &'static str,
    code: ArgOp,
    axis: Axis,
    x: &RawTensor,
    outs: [&RawTensor; 2],
) -> Result<()> {
    with_places!(op, x, outs, |T, x_, v, i| scan::scan_extreme::<T>(code, x_, axis, v, i))
}

/// See [`crate::Op::Scan`].
pub(crate) fn scan(op: &'static str, code: ScanOp, axis: Axis, x: &RawTensor, y: &RawTensor) -> Result<()> {
    let host = Host::lock(op, &[x], &[y])?;
    with_dtype!(x.dtype(), [F32, F64], T => {
        // SAFETY: one output, made into a slice once, in memory of its own.
        scan::scan_float::<T>(code, host.input(x), axis, unsafe { host.output(y) });
    }, else => match x.dtype() {
        // SAFETY: as above.
        DType::I64 => scan::scan_int::<i64>(code, host.input(x), axis, unsafe { host.output(y) }),
        other => return Err(not_implemented(op, other)),
    });
    Ok(())
}
