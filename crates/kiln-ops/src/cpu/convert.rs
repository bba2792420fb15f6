//! Copies of elements between dtypes and strides.

use kiln_storage::{DType, Element, with_dtype};

/// Copies `n` elements between dtypes and strides, with PyTorch's conversions.
///
/// # Safety
/// Both ranges are valid and, unless they are the same elements, do not overlap.
pub(crate) unsafe fn convert(
    from_dtype: DType,
    from: *const u8,
    from_stride: usize,
    to_dtype: DType,
    to: *mut u8,
    to_stride: usize,
    n: usize,
) {
    if from_dtype == to_dtype {
        // SAFETY: the caller's promise.
        unsafe { move_elements(from_dtype, from, from_stride, to, to_stride, n) };
        return;
    }
    with_dtype!(from_dtype, S => with_dtype!(to_dtype, D => {
        let (from, to) = (from.cast::<S>(), to.cast::<D>());
        if from_stride == 1 && to_stride == 1 {
            for i in 0..n {
                // SAFETY: the caller's promise.
                unsafe { to.add(i).write(cast::<S, D>(*from.add(i))) };
            }
        } else {
            for i in 0..n {
                // SAFETY: the caller's promise.
                unsafe { to.add(i * to_stride).write(cast::<S, D>(*from.add(i * from_stride))) };
            }
        }
    }))
}

/// One element converted as PyTorch converts it.
#[inline(always)]
fn cast<S: Element, D: Element>(v: S) -> D {
    if S::DTYPE.is_float() {
        if S::DTYPE.size() <= 4 && D::DTYPE.is_float() {
            D::from_f32(v.to_f32())
        } else {
            D::from_f64(v.to_f64())
        }
    } else {
        D::from_i64(v.to_i64())
    }
}

/// # Safety
/// As [`convert`].
unsafe fn move_elements(
    dtype: DType,
    from: *const u8,
    from_stride: usize,
    to: *mut u8,
    to_stride: usize,
    n: usize,
) {
    // SAFETY: the caller's promise; equal sizes move as plain words.
    unsafe {
        match dtype.size() {
            1 => move_words::<u8>(from, from_stride, to, to_stride, n),
            2 => move_words::<u16>(from, from_stride, to, to_stride, n),
            4 => move_words::<u32>(from, from_stride, to, to_stride, n),
            _ => move_words::<u64>(from, from_stride, to, to_stride, n),
        }
    }
}

/// # Safety
/// As [`convert`].
unsafe fn move_words<W: Copy>(from: *const u8, from_stride: usize, to: *mut u8, to_stride: usize, n: usize) {
    let (from, to) = (from.cast::<W>(), to.cast::<W>());
    // SAFETY: the caller's promise.
    unsafe {
        if from_stride == 1 && to_stride == 1 {
            std::ptr::copy(from, to, n);
        } else {
            for i in 0..n {
                to.add(i * to_stride).write_unaligned(from.add(i * from_stride).read_unaligned());
            }
        }
    }
}
