//! Optimizers, clipping and schedules: what they do beside arithmetic, values of PyTorch, and what must be refused.

mod behaviour;
mod scaler;
mod values;
