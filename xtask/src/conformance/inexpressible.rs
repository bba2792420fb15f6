//! Why some of PyTorch's calls, all of them wrong ones, cannot be made in Kiln: the only reasons there are.
//!
//! Such a case counts as unsupported. Everything else that is not there is a gap.

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
