//! Copies past the caches, for results that are far larger than them, and into them ahead of time.

/// Results of at least this many bytes are written past the caches.
pub(crate) const STREAM_BYTES: usize = 16 << 20;

/// Copies `bytes` bytes with non-temporal stores where the destination is 64-byte aligned; plainly elsewhere.
///
/// # Safety
/// Both ranges are valid and do not overlap. [`fence`] must follow before another thread reads the destination.
#[inline]
pub(crate) unsafe fn copy(from: *const u8, to: *mut u8, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::*;
        // SSE2 is part of the x86-64 baseline; four 16-byte stores fill one write-combining line.
        if (to as usize).is_multiple_of(64) {
            let lines = bytes / 64;
            // SAFETY: the caller promises the ranges; the destination is aligned.
            unsafe {
                for i in 0..lines {
                    let (src, dst) = (from.add(i * 64).cast::<__m128i>(), to.add(i * 64).cast::<__m128i>());
                    let a = _mm_loadu_si128(src);
                    let b = _mm_loadu_si128(src.add(1));
                    let c = _mm_loadu_si128(src.add(2));
                    let d = _mm_loadu_si128(src.add(3));
                    _mm_stream_si128(dst, a);
                    _mm_stream_si128(dst.add(1), b);
                    _mm_stream_si128(dst.add(2), c);
                    _mm_stream_si128(dst.add(3), d);
                }
                let done = lines * 64;
                std::ptr::copy_nonoverlapping(from.add(done), to.add(done), bytes - done);
            }
            return;
        }
    }
    // SAFETY: the caller promises the ranges.
    unsafe { std::ptr::copy_nonoverlapping(from, to, bytes) }
}

/// Makes the streamed stores of this thread visible to those that synchronise with it.
#[inline]
pub(crate) fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE2 is part of the x86-64 baseline.
    unsafe {
        std::arch::x86_64::_mm_sfence()
    }
}

/// [`copy`] of a slice; [`fence`] must follow here too.
#[inline(always)]
pub(crate) fn write<T: Copy>(from: &[T], to: &mut [T]) {
    assert_eq!(from.len(), to.len());
    // SAFETY: both ranges are valid and of this length, and the second one is borrowed for writing.
    unsafe { copy(from.as_ptr().cast(), to.as_mut_ptr().cast(), size_of_val(from)) }
}

/// Bytes that [`prefetch`] asks for at most: a part of the nearest cache.
const AHEAD: usize = 16 << 10;

/// Asks for the memory of `x`, as far as it fits the nearest cache, without waiting for it.
#[inline(always)]
pub(crate) fn prefetch<T>(x: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..size_of_val(x).min(AHEAD)).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: SSE is part of the x86-64 baseline, and a prefetch reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(x.as_ptr().cast::<i8>().wrapping_add(line)) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (x, AHEAD);
}
