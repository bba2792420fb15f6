//! The host backend: kernels that run on the CPU.

pub mod arch;
pub mod pool;
mod real;
pub mod reduce;
mod split;
