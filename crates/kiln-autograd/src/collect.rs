//! Collecting results.

use crate::Result;

/// `collect` for results. What std's is made of is compiled anew for each iterator; this is one loop.
pub(crate) trait Collect<T>: Iterator<Item = Result<T>> + Sized {
    /// All values, or the first error.
    fn all_ok(self) -> Result<Vec<T>> {
        let mut values = Vec::with_capacity(self.size_hint().0);
        for value in self {
            values.push(value?);
        }
        Ok(values)
    }
}

impl<T, I: Iterator<Item = Result<T>>> Collect<T> for I {}
