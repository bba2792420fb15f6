//! Hands contiguous operands as slices to the kernels that take slices: a function per family.

use kiln_storage::{DType, Error, RawTensor, Result, with_dtype};

use super::host::Host;
use super::reduce::{self, ArgOp, Axis, ReduceOp};

fn not_implemented(op: &'static str, dtype: DType) -> Error {
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
        ReduceOp::All | ReduceOp::Any => with_dtype!(x.dtype(), T => {
            // SAFETY: see above.
            reduce::reduce_bool::<T>(code, host.input(x), axis, unsafe { host.output(y) });
        }),
        ReduceOp::CountNonzero => with_dtype!(x.dtype(), T => {
            // SAFETY: see above.
            reduce::count_nonzero::<T>(host.input(x), axis, unsafe { host.output(y) });
        }),
        _ if x.dtype().is_float() => with_dtype!(x.dtype(), [F16, BF16, F32, F64], T => {
            // SAFETY: see above.
            reduce::reduce_float::<T>(code, host.input(x), axis, unsafe { host.output(y) });
        }, else => return Err(not_implemented(op, x.dtype()))),
        ReduceOp::Max | ReduceOp::Min if x.dtype() == DType::Bool => {
            // The largest truth value is "any", the smallest "all".
            let code = if code == ReduceOp::Max { ReduceOp::Any } else { ReduceOp::All };
            // SAFETY: see above.
            reduce::reduce_bool::<bool>(code, host.input(x), axis, unsafe { host.output(y) });
        }
        ReduceOp::Max | ReduceOp::Min => with_dtype!(x.dtype(), [U8, I8, I16, I32, I64], T => {
            // SAFETY: see above.
            reduce::reduce_extreme::<T>(code, host.input(x), axis, unsafe { host.output(y) });
        }, else => return Err(not_implemented(op, x.dtype()))),
        _ => with_dtype!(x.dtype(), [Bool, U8, I8, I16, I32, I64], T => {
            // SAFETY: see above.
            reduce::reduce_int::<T, i64>(code, host.input(x), axis, unsafe { host.output(y) });
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
    with_dtype!(x.dtype(), [U8, I8, I16, I32, I64, F16, BF16, F32, F64], T => {
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
