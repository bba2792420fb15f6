//! The methods of [`Tensor`](crate::Tensor) with their derivatives, by family.

mod cast;
mod conv;
mod elementwise;
mod index;
mod matmul;
mod pool;
mod reduce;
pub(crate) mod shape;
pub(crate) mod softmax;
