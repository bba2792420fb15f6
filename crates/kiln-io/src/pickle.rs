//! Pickle, the object format inside checkpoints, by a restricted interpreter.
//!
//! A pickle is a program for a stack machine that may call any Python function by name. This one calls none: the names
//! that rebuild tensors and containers have a meaning of their own here ([`globals`]), every other name is refused before
//! anything is done with it.
//!
//! Reading has two steps. The machine runs the program into an arena of nodes; containers hold numbers of nodes, so that
//! shared and even cyclic structures cost no more than their opcodes. Then the storages that tensors need are read, and
//! [`tree`] makes a [`Value`](crate::Value) of the arena, with bounds on depth and on what sharing may unfold to.

mod globals;
mod machine;
mod node;
mod rebuild;
mod tree;
mod write;

pub(crate) use machine::run;
pub(crate) use node::{Pickled, StorageSpec};
pub(crate) use tree::to_value;
pub(crate) use write::{Pickler, StorageRef};

/// Containers inside containers. Sensible files have a handful; values are walked by recursion, on any thread's stack.
const MAX_DEPTH: usize = 128;
/// Nodes of one pickle: a state dict has about ten per tensor.
const MAX_NODES: usize = 1 << 24;
/// What copies and shared structures may add up to, for each byte of the pickle.
const UNFOLDING: usize = 16;
/// The same for tiny pickles.
const UNFOLDING_FREE: usize = 1 << 16;
/// Bytes of a pickle, which holds everything but the elements of tensors.
pub(crate) const MAX_PICKLE: u64 = 1 << 30;
