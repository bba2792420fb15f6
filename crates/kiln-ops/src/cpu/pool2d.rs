//! Maximum and average pooling over one to three spatial axes, and the gradients.
//!
//! A plane is the spatial axes of one channel of one sample; planes are independent and run in parallel.

mod adaptive;
mod average;
mod max;
mod shape;

pub use adaptive::{adaptive_avg_pool, adaptive_avg_pool_backward, adaptive_max_pool};
pub use average::{AvgPool, avg_pool, avg_pool_backward};
pub use max::{max_pool, max_pool_backward};
pub use shape::{PoolOptions, PoolShape};

/// About as many elements are one task.
const GRAIN: usize = 16384;

/// How many planes of `elements` elements are one task.
fn planes_per_task(elements: usize) -> usize {
    (GRAIN / elements.max(1)).max(1)
}

/// `width` rounded up to whole vectors when `room` elements can be written, so that short rows need no scalar rest: what
/// is written too much is written again by the next row.
#[inline(always)]
fn padded(width: usize, room: usize) -> usize {
    let whole = width.next_multiple_of(if width <= 8 { 8 } else { 16 });
    if whole <= room { whole } else { width }
}

#[cfg(test)]
mod tests;
