//! The methods of [`Tensor`](crate::Tensor) with their derivatives, by family.

mod activation;
mod cast;
pub(crate) mod compose;
mod conv;
mod diagonal;
mod elementwise;
mod embedding;
mod index;
pub(crate) mod join;
mod mask;
pub(crate) mod einsum;
mod in_place;
mod linalg;
mod loss;
mod matmul;
mod norm;
mod pool;
mod reduce;
mod repeat;
mod scatter;
pub(crate) mod shape;
pub(crate) mod softmax;
