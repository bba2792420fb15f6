//! Why some of PyTorch's calls, all of them wrong ones, cannot be made in Kiln: the only reasons there are.
//!
//! Such a case counts as unsupported. Everything else that is not there is a gap.

/// How the outcome of such a case begins.
const SAID: &str = "cannot be said in Rust: ";

/// The outcome of a case that cannot be made for `reason`.
pub fn outcome(reason: &str) -> String {
    format!("{SAID}{reason}")
}

/// Whether an outcome is one of [`outcome`].
pub fn is_inexpressible(text: &str) -> bool {
    text.starts_with(SAID)
}

/// A number, a string or another thing where the method's type asks for a tensor, or a tensor for a number: PyTorch's
/// `TypeError` is the compiler's.
pub const TYPE: &str = "the types of the arguments rule it out";
/// Sizes and counts are of type `usize`.
pub const NEGATIVE: &str = "a size or count cannot be negative";
/// PyTorch asks for a tensor, Kiln also takes a number.
pub const NUMBER: &str = "a number is welcome there";
/// `x.f()?.out(&y)` has made its result before it writes it: an operand that shares memory with `y`, or a dtype that only
/// PyTorch's way to write into `y` rules out, does no harm.
pub const OUT: &str = "a result is complete before it is written to another tensor";
