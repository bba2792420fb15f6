//! The methods of [`Tensor`](crate::Tensor) with their derivatives, by family.

mod activation;
pub(crate) mod arrange;
mod cast;
pub(crate) mod compose;
mod conv;
pub(crate) mod einsum;
mod elementwise;
mod in_place;
mod index;
mod linalg;
mod loss;
mod matmul;
mod norm;
mod pool;
mod reduce;
pub(crate) mod shape;
pub(crate) mod softmax;
