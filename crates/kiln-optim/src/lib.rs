//! Optimizers, learning rate schedules, gradient clipping and scaling: what PyTorch keeps in `torch.optim`.
//!
//! An optimizer holds handles of the parameters and changes them in place. Constructors and builders do not fail;
//! options that make no sense are an error of the first [`Optimizer::step`], or of [`Optimizer::check`].
//!
//! ```
//! use kiln_autograd::{Result, Tensor};
//! use kiln_optim::{Optimizer, SGD};
//!
//! fn main() -> Result<()> {
//!     let w = Tensor::from_vec(vec![4.0f32], [1])?.requires_grad_(true)?;
//!     let mut optimizer = SGD::new([w.clone()], 0.1).momentum(0.5);
//!     for _ in 0..100 {
//!         optimizer.zero_grad();
//!         w.square()?.sum()?.backward()?;
//!         optimizer.step()?;
//!     }
//!     assert!(w.to_f64()?.abs() < 1e-6);
//!     Ok(())
//! }
//! ```

mod adadelta;
mod adafactor;
mod adagrad;
mod adam;
mod adamax;
mod any_groups;
mod asgd;
mod clip;
mod composed;
mod declare;
mod fused;
mod grad_scaler;
mod groups;
mod lbfgs;
mod muon;
mod nadam;
mod optimizer;
mod radam;
mod rmsprop;
mod rprop;
pub mod schedule;
mod sgd;
mod stateful;
mod value;

pub use adadelta::{Adadelta, AdadeltaOptions};
pub use adafactor::{Adafactor, AdafactorOptions};
pub use adagrad::{Adagrad, AdagradOptions};
pub use adam::{Adam, AdamOptions, AdamW};
pub use adamax::{Adamax, AdamaxOptions};
pub use asgd::{ASGD, AsgdOptions};
pub use clip::{clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm, grad_norm};
pub use grad_scaler::GradScaler;
pub use lbfgs::{LBFGS, LbfgsOptions};
pub use muon::{AdjustLr, Muon, MuonOptions};
pub use nadam::{NAdam, NadamOptions};
pub use optimizer::{GroupState, Optimizer, OptimizerState};
pub use radam::{RAdam, RadamOptions};
pub use rmsprop::{RMSprop, RmspropOptions};
pub use rprop::{Rprop, RpropOptions};
pub use schedule::*;
pub use sgd::{SGD, SgdOptions};
pub use stateful::Stateful;
pub use value::StateValue;
