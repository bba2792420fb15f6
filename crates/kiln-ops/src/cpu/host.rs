//! Contiguous host tensors as slices, for kernels that take slices.

use kiln_storage::{Access, Element, RawTensor, Result};

/// The operands of one kernel call, locked for its duration.
pub(crate) struct Host<'a> {
    _access: Access<'a>,
}

impl<'a> Host<'a> {
    /// Locks `inputs` for reading and `outputs` for writing.
    ///
    /// # Errors
    /// The memory of one is lent out by this thread.
    pub(crate) fn lock(
        op: &'static str,
        inputs: &[&'a RawTensor],
        outputs: &[&'a RawTensor],
    ) -> Result<Host<'a>> {
        let access =
            Access::new(op, inputs.iter().map(|t| t.storage()), outputs.iter().map(|t| t.storage()))?;
        Ok(Host { _access: access })
    }

    /// The elements of an input that was locked and is not an output.
    ///
    /// # Panics
    /// The tensor is not a contiguous host tensor of `T`: a bug of the entry that checked it.
    pub(crate) fn input<T: Element>(&self, t: &RawTensor) -> &[T] {
        let ptr = start::<T>(t);
        // SAFETY: `start` checked dtype and layout; the access keeps writers of other threads out, and entries never
        // give a kernel an input that shares memory with an output other than as agreed with the kernel.
        unsafe { std::slice::from_raw_parts(ptr, t.numel()) }
    }

    /// The elements of an output that was locked.
    ///
    /// # Safety
    /// The slices made of one output, and of inputs that share its memory, must not be alive together.
    ///
    /// # Panics
    /// As [`Host::input`].
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn output<T: Element>(&self, t: &RawTensor) -> &mut [T] {
        let ptr = start::<T>(t);
        // SAFETY: as for inputs; exclusiveness within the thread is the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(ptr, t.numel()) }
    }
}

/// Calls `f` with the elements of one contiguous host tensor, to be written.
///
/// # Errors
/// The memory is lent out, or `f` fails.
pub(crate) fn with_output<T: Element, R>(
    op: &'static str,
    out: &RawTensor,
    f: impl FnOnce(&mut [T]) -> Result<R>,
) -> Result<R> {
    let host = Host::lock(op, &[], &[out])?;
    // SAFETY: the only slice of the only operand.
    f(unsafe { host.output(out) })
}

/// Calls `f` with the elements of two contiguous host tensors, the first to be read, the second to be written.
///
/// # Errors
/// The memory is lent out, or `f` fails.
///
/// # Panics
/// The tensors share memory.
pub(crate) fn with_input_output<I: Element, T: Element, R>(
    op: &'static str,
    input: &RawTensor,
    out: &RawTensor,
    f: impl FnOnce(&[I], &mut [T]) -> Result<R>,
) -> Result<R> {
    assert!(!input.storage().is_same(out.storage()), "{op}: the input is read while the output is written");
    let host = Host::lock(op, &[input], &[out])?;
    // SAFETY: the only slice of the output, which shares no memory with the input.
    f(host.input(input), unsafe { host.output(out) })
}

fn start<T: Element>(t: &RawTensor) -> *mut T {
    assert!(t.dtype() == T::DTYPE && t.is_contiguous(), "a kernel got {} {:?}", t.dtype(), t.layout());
    if t.numel() == 0 {
        return std::ptr::dangling_mut();
    }
    t.host_ptr().expect("host kernels get host tensors").cast()
}

/// Writes one number into a tensor of one element that the caller has just made and shares with nobody.
///
/// # Panics
/// The tensor is not a contiguous host tensor of one element.
#[inline]
pub(crate) fn write_scalar(t: &RawTensor, value: kiln_storage::Scalar) {
    assert!(t.numel() == 1 && t.storage().sharers() == 1, "a fresh tensor of one element");
    // SAFETY: `start` checks dtype and layout, which lies inside the storage, and nobody else holds the storage.
    kiln_storage::with_dtype!(t.dtype(), T => unsafe { start::<T>(t).write(value.to()) });
}
