//! What can be wrong with the arguments of a draw.

use thiserror::Error;

/// A draw that could not be made. The stream is where it was before the call.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum RandomError {
    /// A parameter of a distribution lies outside of its domain.
    #[error("{op} expects {rule}, but found {found}")]
    Parameter {
        /// The draw, with PyTorch's name.
        op: &'static str,
        /// What the parameters must fulfil.
        rule: &'static str,
        /// The parameters that do not.
        found: String,
    },
    /// A bound that the element type cannot hold.
    #[error("{name} is out of bounds for {dtype}")]
    OutOfBounds {
        /// The bound.
        name: &'static str,
        /// The element type.
        dtype: &'static str,
    },
    /// Weights that define no distribution over categories.
    #[error("multinomial: {0}")]
    Weights(&'static str),
    /// Bytes that are not the saved state of a generator.
    #[error("set_state: {0}")]
    State(String),
    /// Arguments of a sampler or a split that contradict each other.
    #[error("{op}: {problem}")]
    Sampling {
        /// The function.
        op: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A result that does not fit into memory.
    #[error("{op}: {len} values do not fit into memory")]
    TooLarge {
        /// The draw.
        op: &'static str,
        /// Values asked for.
        len: usize,
    },
}

impl From<RandomError> for kiln_storage::Error {
    #[cold]
    #[track_caller]
    fn from(e: RandomError) -> Self {
        let text = e.to_string();
        let op = match &e {
            RandomError::Parameter { op, .. } => op,
            RandomError::Sampling { op, .. } | RandomError::TooLarge { op, .. } => op,
            RandomError::OutOfBounds { .. } => "random",
            RandomError::Weights(_) => "multinomial",
            RandomError::State(_) => "set_state",
        };
        // The text names the draw already; the error of the workspace names it once.
        let detail = text.strip_prefix(op).unwrap_or(&text).trim_start_matches([':', ' ']);
        kiln_storage::Error::value(op, detail)
    }
}

/// An empty vector with room for `len` values, or an error where `Vec` would abort.
pub(super) fn reserve<T>(op: &'static str, len: usize) -> super::Result<Vec<T>> {
    let mut values = Vec::new();
    match values.try_reserve_exact(len) {
        Ok(()) => Ok(values),
        Err(_) => Err(RandomError::TooLarge { op, len }),
    }
}
