//! The methods of [`Tensor`](crate::Tensor) with their derivatives, by family.

mod cast;
mod elementwise;
mod index;
mod matmul;
mod reduce;
pub(crate) mod shape;
