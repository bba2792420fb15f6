//! Checks that many entries share.

use kiln_storage::{DType, Device, Error, RawTensor, Result, Shape};

/// The one device of all operands.
///
/// # Errors
/// Two of them live on different devices.
#[inline]
pub(crate) fn same_device(op: &'static str, tensors: &[&RawTensor]) -> Result<Device> {
    let device = tensors[0].device();
    for t in &tensors[1..] {
        if t.device() != device {
            return Err(mixed_devices(op, device, t.device()));
        }
    }
    Ok(device)
}

#[cold]
pub(crate) fn mixed_devices(op: &'static str, a: Device, b: Device) -> Error {
    Error::device(
        op,
        format!(
            "Expected all tensors to be on the same device, but found at least two devices, {a} and {b}; move one with \
             to_device"
        ),
    )
}

/// Fails unless `t` is of dtype `want`.
///
/// # Errors
/// It is not.
pub(crate) fn expect_dtype(op: &'static str, what: &str, t: &RawTensor, want: DType) -> Result<()> {
    if t.dtype() == want {
        return Ok(());
    }
    Err(Error::dtype(op, format!("{what} must be of dtype {want}, got {}", t.dtype())))
}

/// Fails unless `t` holds floating point numbers.
///
/// # Errors
/// It does not.
pub(crate) fn expect_float(op: &'static str, what: &str, t: &RawTensor) -> Result<()> {
    if t.dtype().is_float() {
        return Ok(());
    }
    Err(Error::dtype(op, format!("{what} must be floating point, got {}", t.dtype())))
}

/// Fails unless a result of `dtype` and `shape` may be written in place into `out`.
///
/// # Errors
/// The dtype cannot be cast, the shape differs, or elements of `out` share memory.
pub(crate) fn check_in_place(op: &'static str, out: &RawTensor, dtype: DType, shape: &Shape) -> Result<()> {
    if !dtype.can_cast(out.dtype()) {
        return Err(Error::dtype(
            op,
            format!("result type {dtype} can't be cast to the desired output type {}", out.dtype()),
        ));
    }
    if out.shape() != shape {
        return Err(Error::shape(
            op,
            format!("output with shape {:?} doesn't match the broadcast shape {shape:?}", out.shape()),
        ));
    }
    check_writable(op, out)
}

/// Fails when an axis of `out` repeats its elements (a stride of 0). Other layouts that overlap themselves are written
/// element by element: see [`crate::backend::run`].
///
/// # Errors
/// As said.
#[inline]
pub(crate) fn check_writable(op: &'static str, out: &RawTensor) -> Result<()> {
    let layout = out.layout();
    let repeats = layout.strides().iter().zip(layout.shape().iter()).any(|(s, n)| *s == 0 && *n > 1);
    if repeats && layout.numel() > 0 {
        return Err(Error::value(
            op,
            format!(
                "unsupported operation: more than one element of the written-to tensor (shape {:?}, strides {:?}) \
                 refers to a single memory location; clone() it first",
                out.shape(),
                out.layout().strides()
            ),
        ));
    }
    Ok(())
}

/// Fails when `input` and the written-to `out` share memory without being the same elements in the same order.
///
/// # Errors
/// As said.
#[inline]
pub(crate) fn check_no_partial_overlap(op: &'static str, out: &RawTensor, input: &RawTensor) -> Result<()> {
    if !out.storage().is_same(input.storage())
        || (out.layout() == input.layout() && out.dtype() == input.dtype())
    {
        return Ok(());
    }
    let (a, b) = (out.layout().span(), input.layout().span());
    let disjoint = a.end <= b.start || b.end <= a.start || interleaved(out, input);
    if disjoint {
        return Ok(());
    }
    Err(Error::value(
        op,
        "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single memory \
         location; clone() the input first",
    ))
}

/// Whether two views of one base never meet because they take different residues of a common step, as `x[0::2]` and
/// `x[1::2]` or two columns of a matrix do.
fn interleaved(a: &RawTensor, b: &RawTensor) -> bool {
    let step = |t: &RawTensor| {
        let l = t.layout();
        l.strides().iter().zip(l.shape().iter()).filter(|(_, n)| **n > 1).map(|(s, _)| *s).min()
    };
    let (la, lb) = (a.layout(), b.layout());
    let stride = step(a).into_iter().chain(step(b)).min().unwrap_or(1);
    if stride < 2 {
        return false;
    }
    let multiple = |t: &RawTensor| {
        let l = t.layout();
        l.strides().iter().zip(l.shape().iter()).all(|(s, n)| *n <= 1 || s % stride == 0)
    };
    multiple(a) && multiple(b) && la.offset() % stride != lb.offset() % stride
}
