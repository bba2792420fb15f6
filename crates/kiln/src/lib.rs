//! Kiln: deep learning in Rust for people who know PyTorch.
//!
//! This crate joins the layers of the project and adds nothing else: [`Tensor`] with automatic differentiation,
//! [`nn`], [`optim`], [`data`], [`io`] and, with the feature `models`, networks whose weights are published, and,
//! with the feature `plot`, plots. Names, defaults,
//! shapes and random streams are PyTorch's; see `docs/from-pytorch.md` in the repository for the two side by side.
//!
//! ```
//! use kiln::prelude::*;
//!
//! # fn main() -> Result<()> {
//! manual_seed(0);
//! let model = sequential![Linear::new(2, 16), ReLU::new(), Linear::new(16, 1)];
//! let mut optimizer = SGD::new(model.parameters(), 0.1);
//! let x = Tensor::randn([64, 2]);
//! let y = x.sum_axes(&[1], true)?;
//! for _ in 0..100 {
//!     optimizer.zero_grad();
//!     let loss = MSELoss::new().forward(&model.forward(&x)?, &y)?;
//!     loss.backward()?;
//!     optimizer.step()?;
//! }
//! let loss = MSELoss::new().forward(&model.forward(&x)?, &y)?.to_f64()?;
//! assert!(loss < 0.05, "{loss}");
//! # Ok(())
//! # }
//! ```

mod files;
mod training;
#[cfg(feature = "models")]
mod weights;

pub use files::{Checkpoint, load, save};
pub use kiln_autograd::*;
pub use kiln_data as data;
pub use kiln_io as io;
#[cfg(feature = "models")]
pub use kiln_models as models;
pub use kiln_optim as optim;
#[cfg(feature = "plot")]
pub use kiln_plot as plot;
pub use training::{Restore, TrainingCheckpoint};
#[cfg(feature = "models")]
pub use weights::fetch_weights;

/// Layers, losses, initialisation and state dicts: what PyTorch keeps in `torch.nn`.
pub mod nn {
    /// The derive that finds the layers here.
    pub use kiln_derive::KilnModule as Module;
    pub use kiln_nn::*;
}

/// What a program that trains a network imports: `use kiln::prelude::*;`
pub mod prelude {
    pub use crate::files::Checkpoint;
    pub use crate::training::TrainingCheckpoint;
    pub use kiln_autograd::*;
    pub use kiln_data::mnist::Split;
    pub use kiln_data::progress::Progress;
    pub use kiln_data::vision::ImageClasses;
    pub use kiln_data::{DataLoader, Dataset, TensorDataset, random_split};
    pub use kiln_derive::KilnModule as Module;
    pub use kiln_io::Value;
    pub use kiln_nn::*;
    pub use kiln_optim::*;
}
