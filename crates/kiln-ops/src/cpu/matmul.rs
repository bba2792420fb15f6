//! The host's matrix product: operands of any strides handed to [`super::gemm`].

use kiln_storage::{Access, Element, RawTensor, Result, with_dtype};

use super::gemm::{Bias, Epilogue, GemmElement, gemm, gemm_batched};
use super::loops::SendPtr;

/// `y = a b`, or `y += a b`, with an optional bias for every column; see [`crate::Op::Matmul`].
pub(crate) fn matmul(op: &'static str, inputs: &[&RawTensor], y: &RawTensor, accumulate: bool) -> Result<()> {
    let _access = Access::new(op, inputs.iter().map(|t| t.storage()), [y.storage()])?;
    with_dtype!(y.dtype(), [I64, F16, BF16, F32, F64], T => product::<T>(inputs, y, accumulate),
        else => return Err(kiln_storage::Error::dtype(op, format!("\"{op}\" is not implemented for {}", y.dtype()))));
    Ok(())
}

fn product<T: Element + GemmElement>(inputs: &[&RawTensor], y: &RawTensor, accumulate: bool) {
    if y.numel() == 0 {
        return;
    }
    let (a, b) = (inputs[0], inputs[1]);
    let rank = y.rank();
    let (m, n, k) = (y.shape()[rank - 2], y.shape()[rank - 1], a.shape()[rank - 1]);
    let ptr = |t: &RawTensor| t.host_ptr().expect("host kernels get host tensors").cast::<T>();
    let stride = |t: &RawTensor, axis: usize| t.layout().strides()[axis] as isize;
    let bias = inputs.get(2).map(|b| Bias::Columns(ptr(b).cast_const(), stride(b, 0)));
    let epilogue = Epilogue { bias, relu: false };
    let (rs, cs) = (rank - 2, rank - 1);
    if rank == 2 {
        // SAFETY: the entry checked the sizes against the layouts, the layouts lie inside their storages, whose locks
        // the caller holds, and a result never shares memory with an operand.
        unsafe {
            gemm::<T>(
                m,
                n,
                k,
                ptr(a),
                stride(a, rs),
                stride(a, cs),
                ptr(b),
                stride(b, rs),
                stride(b, cs),
                ptr(y),
                stride(y, rs),
                stride(y, cs),
                accumulate,
                epilogue,
            )
        }
        return;
    }
    let batch_shape = &y.shape()[..rank - 2];
    let batch: usize = batch_shape.iter().product();
    let bases = (SendPtr(ptr(a).cast()), SendPtr(ptr(b).cast()), SendPtr(ptr(y).cast()));
    let item = |i: usize| {
        let at = |t: &RawTensor| {
            let (mut rest, mut position) = (i, 0);
            for axis in (0..batch_shape.len()).rev() {
                position += rest % batch_shape[axis] * t.layout().strides()[axis];
                rest /= batch_shape[axis];
            }
            position
        };
        (
            bases.0.get().cast::<T>().cast_const().wrapping_add(at(a)),
            bases.1.get().cast::<T>().cast_const().wrapping_add(at(b)),
            bases.2.get().cast::<T>().wrapping_add(at(y)),
        )
    };
    // SAFETY: as above; items of the result are disjoint.
    unsafe {
        gemm_batched::<T>(
            batch,
            &item,
            m,
            n,
            k,
            stride(a, rs),
            stride(a, cs),
            stride(b, rs),
            stride(b, cs),
            stride(y, rs),
            stride(y, cs),
            accumulate,
            epilogue,
        )
    }
}
