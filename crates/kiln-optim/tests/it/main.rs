//! Optimizers, clipping and schedules: against PyTorch's recordings, and what must be refused.

mod behaviour;
mod recording;
mod replay;
