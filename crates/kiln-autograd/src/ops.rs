//! The methods of [`Tensor`](crate::Tensor) with their derivatives, by family.

mod activation;
mod cast;
pub(crate) mod compose;
mod conv;
mod diagonal;
pub(crate) mod einsum;
mod elementwise;
mod embedding;
mod in_place;
mod index;
pub(crate) mod join;
mod linalg;
mod loss;
mod mask;
mod matmul;
mod norm;
mod pool;
mod reduce;
mod repeat;
mod scatter;
pub(crate) mod shape;
pub(crate) mod softmax;
