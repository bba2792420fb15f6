//! The host backend: kernels that run on the CPU.

pub mod arch;
pub mod norm;
pub mod pool;
pub mod pool2d;
mod real;
pub mod reduce;
pub mod scan;
pub mod softmax;
pub mod sort;
mod split;
