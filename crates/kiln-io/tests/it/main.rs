//! The crate's tests, in one program.

mod atomic;
mod checkpoints;
mod common;
mod mutation;
mod pytorch;
mod tensors;
