//! Which dtype operands of different dtypes meet in: PyTorch's rules, and the default float dtype.

use std::sync::atomic::{AtomicU8, Ordering};

use kiln_storage::{DType, Error, Result};

use crate::elementwise::Operand;

static DEFAULT: AtomicU8 = AtomicU8::new(0);
const FLOATS: [DType; 4] = [DType::F32, DType::F64, DType::F16, DType::BF16];

/// The dtype of float literals and of results that need floating point: `F32` unless [`set_default_dtype`] changed it.
#[inline]
pub fn default_dtype() -> DType {
    FLOATS[DEFAULT.load(Ordering::Relaxed) as usize & 3]
}

/// Changes the default float dtype (`torch.set_default_dtype`).
///
/// # Errors
/// `dtype` is not floating point.
pub fn set_default_dtype(dtype: DType) -> Result<()> {
    let at = FLOATS.iter().position(|&f| f == dtype).ok_or_else(|| {
        Error::dtype("set_default_dtype", format!("only floating-point types are supported, got {dtype}"))
    })?;
    DEFAULT.store(at as u8, Ordering::Relaxed);
    Ok(())
}

/// `dtype` if it is floating point, else the default float dtype.
#[inline]
pub fn to_float(dtype: DType) -> DType {
    if dtype.is_float() { dtype } else { default_dtype() }
}

/// The dtype in which numbers of `dtype` are computed: halves in single precision, integers and truth values in `I64`,
/// whose results wrap to the same bits. Kernels exist for these only, since every instance costs compile time.
#[inline]
pub(crate) fn wide_dtype(dtype: DType) -> DType {
    match dtype {
        DType::F16 | DType::BF16 => DType::F32,
        DType::Bool | DType::U8 | DType::I8 | DType::I16 | DType::I32 => DType::I64,
        wide => wide,
    }
}

/// The dtype that operands have together (`torch.result_type`): tensors with axes decide; zero-dimensional tensors, and
/// after them numbers, count only when their class (bool, integer, float) is higher.
pub fn result_type(operands: &[Operand<'_>]) -> DType {
    let class = |d: DType| if d.is_float() { 2 } else { d.is_int() as u8 };
    // Per priority: tensors with axes, tensors without, numbers.
    let mut best: [Option<DType>; 3] = [None; 3];
    for o in operands {
        let (priority, dtype) = match o {
            Operand::Tensor(t) => ((t.rank() == 0) as usize, t.dtype()),
            Operand::Scalar(s) => (2, s.dtype(default_dtype())),
        };
        best[priority] = Some(best[priority].map_or(dtype, |d| d.promote(dtype)));
    }
    let mut out: Option<DType> = None;
    for dtype in best.into_iter().flatten() {
        out = Some(match out {
            Some(o) if class(o) >= class(dtype) => o,
            Some(o) => o.promote(dtype),
            None => dtype,
        });
    }
    out.unwrap_or_else(default_dtype)
}
