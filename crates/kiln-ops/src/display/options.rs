//! How much of a tensor is printed, and how precisely.

use std::sync::{PoisonError, RwLock};

/// How tensors are printed, PyTorch's `torch.set_printoptions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrintOptions {
    /// Digits after the decimal point.
    pub precision: usize,
    /// Tensors of more elements are summarised: long dimensions show only their ends.
    pub threshold: usize,
    /// Elements shown at each end of a summarised dimension.
    pub edgeitems: usize,
    /// Columns after which lines are broken.
    pub linewidth: usize,
    /// Scientific notation always or never; by default where the numbers call for it.
    pub sci_mode: Option<bool>,
}

const DEFAULT: PrintOptions =
    PrintOptions { precision: 4, threshold: 1000, edgeitems: 3, linewidth: 80, sci_mode: None };

impl PrintOptions {
    /// PyTorch's profile `short`: two digits, two elements at each end.
    pub fn short() -> Self {
        PrintOptions { precision: 2, edgeitems: 2, ..DEFAULT }
    }

    /// PyTorch's profile `full`: nothing is summarised.
    pub fn full() -> Self {
        PrintOptions { threshold: usize::MAX, ..DEFAULT }
    }
}

impl Default for PrintOptions {
    fn default() -> Self {
        DEFAULT
    }
}

static OPTIONS: RwLock<PrintOptions> = RwLock::new(DEFAULT);

/// The options in force.
pub fn printoptions() -> PrintOptions {
    OPTIONS.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Puts `options` in force, for all threads.
pub fn set_printoptions(options: PrintOptions) {
    *OPTIONS.write().unwrap_or_else(PoisonError::into_inner) = options;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_kept() {
        assert_eq!(printoptions(), PrintOptions::default());
        set_printoptions(PrintOptions { sci_mode: Some(true), ..PrintOptions::short() });
        assert_eq!((printoptions().precision, printoptions().sci_mode), (2, Some(true)));
        set_printoptions(PrintOptions::default());
    }
}
