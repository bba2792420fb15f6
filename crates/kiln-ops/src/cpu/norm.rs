//! Normalisation: by the statistics of a channel over a batch, and by those of a row.

mod batch;
mod row;

pub use batch::{BatchGrads, batch_norm_apply, batch_norm_backward, batch_norm_stats};
pub use row::{RowNorm, row_norm, row_norm_backward};

#[cfg(test)]
mod tests;
