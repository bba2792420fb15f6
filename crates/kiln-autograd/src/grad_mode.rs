//! Whether operations are recorded: a mode of each thread, switched by closures and guards.

use std::cell::Cell;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Mode {
    grad: bool,
    inference: bool,
}

thread_local! {
    static MODE: Cell<Mode> = const { Cell::new(Mode { grad: true, inference: false }) };
}

/// Whether operations on this thread are recorded for differentiation.
#[inline]
pub fn is_grad_enabled() -> bool {
    MODE.get().grad
}

/// Whether this thread is inside [`inference_mode`].
#[inline]
pub fn is_inference_mode_enabled() -> bool {
    MODE.get().inference
}

/// Whether what is computed now may be differentiated, in reverse or forward mode: derivatives then take their way through
/// tracked operations.
#[inline]
pub(crate) fn is_tracked() -> bool {
    is_grad_enabled() || crate::tangents::is_active()
}

/// Restores the mode of its thread when dropped, also when a panic unwinds.
#[must_use = "the mode ends when the guard is dropped"]
pub struct GradModeGuard {
    before: Mode,
    /// The mode belongs to a thread, and so does the guard.
    _not_send: std::marker::PhantomData<*const ()>,
}

impl Drop for GradModeGuard {
    fn drop(&mut self) {
        MODE.set(self.before);
    }
}

fn switch(to: Mode) -> GradModeGuard {
    GradModeGuard { before: MODE.replace(to), _not_send: std::marker::PhantomData }
}

/// Switches recording on or off until the guard is dropped (`torch.set_grad_enabled`).
pub fn set_grad_enabled(enabled: bool) -> GradModeGuard {
    switch(Mode { grad: enabled, ..MODE.get() })
}

/// Switches recording off until the guard is dropped.
///
/// ```
/// use kiln_autograd::{Tensor, no_grad_guard};
/// let x = Tensor::full([2], 1.0).requires_grad_(true).unwrap();
/// let guard = no_grad_guard();
/// assert!(!x.mul(2.0).unwrap().requires_grad());
/// drop(guard);
/// assert!(x.mul(2.0).unwrap().requires_grad());
/// ```
pub fn no_grad_guard() -> GradModeGuard {
    set_grad_enabled(false)
}

/// Switches recording on until the guard is dropped.
pub fn enable_grad_guard() -> GradModeGuard {
    set_grad_enabled(true)
}

/// Switches recording off until the guard is dropped, and marks the thread as doing inference.
pub fn inference_mode_guard() -> GradModeGuard {
    switch(Mode { grad: false, inference: true })
}

/// Runs `f` without recording (`with torch.no_grad():`).
///
/// ```
/// use kiln_autograd::{Tensor, no_grad};
/// let w = Tensor::full([2], 1.0).requires_grad_(true).unwrap();
/// no_grad(|| w.sub_(0.1)).unwrap();
/// assert!(w.is_leaf());
/// ```
pub fn no_grad<R>(f: impl FnOnce() -> R) -> R {
    let _guard = no_grad_guard();
    f()
}

/// Runs `f` with recording on (`with torch.enable_grad():`).
pub fn enable_grad<R>(f: impl FnOnce() -> R) -> R {
    let _guard = enable_grad_guard();
    f()
}

/// Runs `f` without recording, for inference (`with torch.inference_mode():`).
pub fn inference_mode<R>(f: impl FnOnce() -> R) -> R {
    let _guard = inference_mode_guard();
    f()
}
