//! Anomaly mode: which operation, written where, a NaN in a gradient comes from.

use std::backtrace::Backtrace;
use std::cell::Cell;
use std::sync::Arc;

use crate::node::Node;
use crate::{Error, Result, Tensor};

thread_local! {
    static ENABLED: Cell<bool> = const { Cell::new(false) };
}

/// Restores the mode of its thread when dropped.
#[must_use = "the mode ends when the guard is dropped"]
pub struct AnomalyGuard {
    before: bool,
    /// The mode belongs to a thread, and so does the guard.
    _not_send: std::marker::PhantomData<*const ()>,
}

impl Drop for AnomalyGuard {
    fn drop(&mut self) {
        ENABLED.set(self.before);
    }
}

/// Until the guard is dropped, operations on this thread remember where they were called, and a backward pass fails at
/// the first derivative that is NaN, with the name of the operation and the line of the program that called it
/// (`with torch.autograd.detect_anomaly():`).
///
/// For finding mistakes: every operation costs a walk of the stack. Lines are known where the program was built with
/// line tables, as debug builds are (`debug = "line-tables-only"` in a release profile); else the function is named.
///
/// ```
/// use kiln_autograd::{detect_anomaly, tensor};
/// let _guard = detect_anomaly();
/// let x = tensor![0., 1.].requires_grad_(true)?;
/// let error = x.sqrt()?.mul(0.)?.sum()?.backward().unwrap_err();
/// assert!(error.to_string().contains("SqrtBackward0"), "{error}");
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
pub fn detect_anomaly() -> AnomalyGuard {
    set_detect_anomaly(true)
}

/// Switches anomaly mode of this thread on or off until the guard is dropped (`torch.autograd.set_detect_anomaly`).
pub fn set_detect_anomaly(enabled: bool) -> AnomalyGuard {
    AnomalyGuard { before: ENABLED.replace(enabled), _not_send: std::marker::PhantomData }
}

/// Whether this thread is in anomaly mode.
#[inline]
pub fn is_anomaly_enabled() -> bool {
    ENABLED.get()
}

/// The call, outside of these libraries, that the present operation comes from.
#[inline(never)]
pub(crate) fn birth() -> Arc<str> {
    calling_line(&Backtrace::force_capture().to_string()).into()
}

/// The name of [`birth`] in a stack: its frame tells where this crate's sources lie.
const BIRTH: &str = "kiln_autograd::anomaly::birth";

/// Crates whose frames are not the program's: Kiln's own, and what Rust's library puts between them.
const INSIDE: &[&str] = &[
    "kiln_storage",
    "kiln_ops",
    "kiln_autograd",
    "kiln_nn",
    "kiln_optim",
    "kiln_data",
    "std",
    "core",
    "alloc",
];

/// The first frame of a printed stack that is the program's: `path:line:column (function)`.
fn calling_line(stack: &str) -> String {
    let frames = frames(stack);
    let source = |function: &str| frames.iter().find(|(f, _)| *f == function).and_then(|(_, at)| *at);
    let here = source(BIRTH).and_then(|at| at.rsplit_once("anomaly.rs")).map_or("", |(folder, _)| folder);
    let is_inside = |(function, at): &&(&str, Option<&str>)| {
        // Methods of types print as `<path::Type as ..>::method`.
        let path = function.trim_start_matches(['<', '&', '[']);
        let path = path.split('<').next().unwrap_or(path);
        if let Some((name, _)) = path.split_once("::") {
            return INSIDE.contains(&name);
        }
        // Functions that were compiled into others have lost the path, but not the file.
        let siblings = INSIDE.iter().map(|name| here.replace("kiln-autograd", &name.replace('_', "-")));
        at.is_some_and(|at| {
            at.starts_with("/rustc/")
                || !here.is_empty() && siblings.clone().any(|folder| at.starts_with(&folder))
        })
    };
    match frames.iter().find(|frame| !is_inside(frame)) {
        Some((function, Some(at))) => format!("{at} ({function})"),
        Some((function, None)) => (*function).to_owned(),
        None => "an unknown place".to_owned(),
    }
}

/// The functions of a printed stack, innermost first, with their places where these are known.
fn frames(stack: &str) -> Vec<(&str, Option<&str>)> {
    let mut found: Vec<(&str, Option<&str>)> = Vec::new();
    for line in stack.lines().map(str::trim) {
        if let (Some(at), Some(last)) = (line.strip_prefix("at "), found.last_mut()) {
            last.1 = Some(at);
        } else if let Some((number, function)) = line.split_once(": ")
            && !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit())
        {
            found.push((function, None));
        }
    }
    found
}

/// Fails when a gradient that a node has computed for one of its inputs is NaN.
#[track_caller]
pub(crate) fn check(node: &Node, input: usize, gradient: &Tensor) -> Result<()> {
    let raw = gradient.raw().clone();
    let nan = match raw.dtype().is_float() {
        true => Tensor::from_raw(raw).isnan()?.any()?.item()?.to::<bool>(),
        false => false,
    };
    if !nan {
        return Ok(());
    }
    Err(Error::autograd(
        "backward",
        format!(
            "Function '{}' returned nan values in its {input}th output (anomaly mode). The operation was called at {}",
            node.name(),
            node.called_at().as_deref().unwrap_or("a place that was not noted, as anomaly mode was off")
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_frame_of_the_program_is_told() {
        let stack = "   0: std::backtrace::Backtrace::create\n             at /rustc/1/library/std/src/backtrace.rs:331:13\n   \
                     1: kiln_autograd::anomaly::birth\n             at /k/kiln-autograd-1/src/anomaly.rs:60:18\n   \
                     2: {closure#0}\n             at /k/kiln-autograd-1/src/node.rs:60:18\n   \
                     2: get_or_insert_with<alloc::sync::Arc>\n             at /rustc/1/library/core/src/option.rs:1:1\n   \
                     3: <kiln_nn::linear::Linear as kiln_nn::module::Forward>::forward\n             at ./src/linear.rs:9:9\n   \
                     4: forward\n             at /k/kiln-nn-1/src/linear.rs:9:9\n   \
                     5: <&kiln_autograd::tensor::Tensor as core::ops::arith::Add>::add\n   \
                     6: my_model::Net::forward\n             at ./src/main.rs:12:20\n   7: std::rt::lang_start\n";
        assert_eq!(calling_line(stack), "./src/main.rs:12:20 (my_model::Net::forward)");
        assert_eq!(calling_line(&stack.replace("my_model::Net::", "")), "./src/main.rs:12:20 (forward)");
        assert_eq!(calling_line("   0: core::f\n   1: app::g\n"), "app::g");
        assert_eq!(calling_line(""), "an unknown place");
    }
}
