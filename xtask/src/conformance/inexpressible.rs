//! Why some of PyTorch's calls cannot be made in Kiln, nearly all of them wrong ones, or are not to be compared: the only
//! reasons there are.
//!
//! Such a case counts as unsupported. Everything else that is not there is a gap.

/// How the outcome of such a case begins.
const SAID: &str = "ruled out: ";

/// The outcome of a case that cannot be made for `reason`.
pub fn outcome(reason: &str) -> String {
    format!("{SAID}{reason}")
}

/// Whether an outcome is one of [`outcome`] for a call that is wrong in PyTorch too: nothing that anybody would miss.
pub fn is_wrong_call(text: &str) -> bool {
    text.strip_prefix(SAID).is_some_and(|reason| ![COMPLEX, OVERFLOW].contains(&reason))
}

/// There is no complex dtype.
pub const COMPLEX: &str = "there is no complex dtype";
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
/// Something overflows on PyTorch's way to a result that is itself of ordinary size, and the infinity or NaN that comes of
/// it is all that it gives; Kiln gives the result.
pub const OVERFLOW: &str = "PyTorch's way to this result overflows";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_wrong_calls_are_no_loss() {
        assert!(is_wrong_call(&outcome(TYPE)));
        assert!(!is_wrong_call(&outcome(COMPLEX)));
        assert!(!is_wrong_call("the operator"));
    }
}
