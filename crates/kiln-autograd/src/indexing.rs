//! `x.i(index)`, `x.set(index, value)` and `x.i_add_(index, value)`: Python's `x[index]`.
//!
//! An index is one part or a tuple of parts, one for each axis from the first on:
//!
//! | PyTorch | here |
//! | --- | --- |
//! | `x[0]`, `x[-1]` | `x.i(0)?`, `x.i(-1)?` |
//! | `x[:, 1:3]`, `x[:-1]` | `x.i((.., 1..3))?`, `x.i(..-1)?` |
//! | `x[::2]`, `x[1::2]` | `x.i(s![..; 2])?`, `x.i(s![1..; 2])?` |
//! | `x[..., 0]`, `x[:, None]` | `x.i((Ellipsis, 0))?`, `x.i((.., NewAxis))?` |
//! | `x[mask]`, `x[idx]`, `x[[0, 2]]` | `x.i(&mask)?`, `x.i(&idx)?`, `x.i([0, 2])?` |
//! | `x[:, 1] = 0`, `x[mask] = y` | `x.set((.., 1), 0)?`, `x.set(&mask, &y)?` |
//! | `x[idx] += y` | `x.i_add_(&idx, &y)?` (repeated indices add up) |
//!
//! Numbers, ranges, `NewAxis` and `Ellipsis` give views; masks and index tensors copy. When index tensors stand side by
//! side, the axes of the result that come from them stand in their place, else in front.

mod apply;
mod index;
mod put;

pub use index::{Ellipsis, Index, Indices, NewAxis, Slice};
