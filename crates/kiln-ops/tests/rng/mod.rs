//! Reading recordings of random draws, and replaying their steps.

pub mod recording;
pub mod step;
