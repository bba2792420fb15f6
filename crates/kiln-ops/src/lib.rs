//! Every computation of Kiln that has no derivative: shape rules, CPU kernels and the `Backend` trait.

pub mod cpu;
pub mod display;
pub mod random;
