//! Helpers around modules: what PyTorch keeps in `torch.nn.utils`.

mod fusion;
mod orthogonal;
pub mod parametrize;
pub mod rnn;
mod spectral_norm;
mod vector;
mod weight_norm;

pub use fusion::{fuse_conv_bn_eval, fuse_linear_bn_eval};
pub use orthogonal::{Orthogonal, OrthogonalMap, orthogonal, orthogonal_with};
pub use spectral_norm::{SpectralNorm, SpectralNormOptions, spectral_norm, spectral_norm_with};
pub use vector::{parameters_to_vector, vector_to_parameters};
pub use weight_norm::{WeightNorm, weight_norm, weight_norm_with};
