//! The host backend: kernels that run on the CPU.

pub mod arch;
pub mod math;
pub mod pool;
