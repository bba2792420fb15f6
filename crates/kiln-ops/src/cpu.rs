//! The host backend: kernels that run on the CPU.

pub mod arch;
pub mod conv;
pub mod gemm;
pub mod pool;
