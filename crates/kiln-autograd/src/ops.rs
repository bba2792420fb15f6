//! The methods of [`Tensor`](crate::Tensor) with their derivatives, by family.

mod activation;
mod arrange;
pub(crate) mod cast;
mod compare;
pub(crate) mod compose;
mod conv;
mod diagonal;
mod dropout;
pub(crate) mod einsum;
mod elementwise;
mod embedding;
#[cfg(feature = "fft")]
pub mod fft;
mod in_place;
mod index;
pub(crate) mod join;
pub(crate) mod linalg;
mod loss;
mod mask;
mod matmul;
mod norm;
mod pool;
pub(crate) mod recurrent;
mod reduce;
mod repeat;
pub(crate) mod resize;
mod scan;
mod scatter;
pub(crate) mod shape;
pub(crate) mod softmax;
pub(crate) mod sort;
mod special;
mod special_functions;
mod special_polynomials;
pub mod windows;
