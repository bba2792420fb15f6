//! The methods of [`Tensor`](crate::Tensor) with their derivatives, by family.

mod cast;
mod conv;
mod diagonal;
mod elementwise;
mod embedding;
mod index;
pub(crate) mod join;
mod mask;
mod matmul;
mod pool;
mod reduce;
mod repeat;
mod scan;
mod scatter;
pub(crate) mod shape;
pub(crate) mod softmax;
pub(crate) mod sort;
