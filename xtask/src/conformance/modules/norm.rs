//! Normalisation.

use kiln_nn::{BatchNormNd, CrossMapLRN2d, GroupNorm, InstanceNormNd, LayerNorm, LocalResponseNorm, RMSNorm};

use super::call::Call;
use super::layer::{Layer, unary};
use crate::conformance::args::{Answer, Stop};
use crate::vectors::Arg;

macro_rules! settings {
    ($name:ident $layer:ident $affine:literal $tracked:literal) => {
        /// The settings of the layer; the arguments from `eps` on start at `at`.
        pub fn $name<const N: usize>(
            a: &Call<'_>,
            at: usize,
        ) -> Answer<impl Fn($layer<N>) -> $layer<N> + Send + Sync + 'static> {
            let eps = a.float_or(at, "eps", 1e-5)?;
            let momentum = match a.get(at + 1, "momentum") {
                Some(Arg::None) => None,
                _ => Some(a.float_or(at + 1, "momentum", 0.1)?),
            };
            let affine = a.bool_or(at + 2, "affine", $affine)?;
            let tracked = a.bool_or(at + 3, "track_running_stats", $tracked)?;
            let bias = a.bool_or(usize::MAX, "bias", true)?;
            Ok(move |layer: $layer<N>| {
                layer.eps(eps).momentum(momentum).affine(affine).bias(bias).track_running_stats(tracked)
            })
        }
    };
}
settings!(batch_settings BatchNormNd true true);
settings!(instance_settings InstanceNormNd false false);

fn batch<const N: usize>(a: &Call<'_>) -> Answer<Layer> {
    let layer = batch_settings(a, 1)?(BatchNormNd::<N>::new(a.size(0, "num_features")?));
    layer.check()?;
    unary(layer)
}

fn instance<const N: usize>(a: &Call<'_>) -> Answer<Layer> {
    let layer = instance_settings(a, 1)?(InstanceNormNd::<N>::new(a.size(0, "num_features")?));
    layer.check()?;
    unary(layer)
}

fn shape(a: &Call<'_>) -> Answer<Vec<usize>> {
    Ok(a.ints(0, "normalized_shape")?.into_iter().map(|n| n.max(0) as usize).collect())
}

/// The classes of this family.
pub fn build(name: &str, a: &Call<'_>) -> Answer<Layer> {
    match name {
        "BatchNorm1d" => batch::<1>(a),
        "BatchNorm2d" => batch::<2>(a),
        "BatchNorm3d" => batch::<3>(a),
        "InstanceNorm1d" => instance::<1>(a),
        "InstanceNorm2d" => instance::<2>(a),
        "InstanceNorm3d" => instance::<3>(a),
        "LayerNorm" => {
            let affine = a.bool_or(2, "elementwise_affine", true)?;
            let layer = LayerNorm::new(shape(a)?).eps(a.float_or(1, "eps", 1e-5)?);
            unary(layer.elementwise_affine(affine).bias(affine && a.bool_or(3, "bias", true)?))
        }
        "RMSNorm" => {
            let layer = RMSNorm::new(shape(a)?).eps(a.opt_float(1, "eps")?);
            unary(layer.elementwise_affine(a.bool_or(2, "elementwise_affine", true)?))
        }
        "GroupNorm" => {
            let (affine, bias) = (a.bool_or(3, "affine", true)?, a.bool_or(usize::MAX, "bias", true)?);
            let layer = GroupNorm::new(a.size(0, "num_groups")?, a.size(1, "num_channels")?);
            let layer = layer.eps(a.float_or(2, "eps", 1e-5)?).affine(affine).bias(bias);
            layer.check()?;
            unary(layer)
        }
        "LocalResponseNorm" => {
            let (alpha, beta) = (a.float_or(1, "alpha", 1e-4)?, a.float_or(2, "beta", 0.75)?);
            let layer = LocalResponseNorm::new(a.size(0, "size")?).alpha(alpha).beta(beta);
            unary(layer.k(a.float_or(3, "k", 1.0)?))
        }
        "CrossMapLRN2d" => {
            let (alpha, beta) = (a.float_or(1, "alpha", 1e-4)?, a.float_or(2, "beta", 0.75)?);
            let layer = CrossMapLRN2d::new(a.size(0, "size")?).alpha(alpha).beta(beta);
            unary(layer.k(a.float_or(3, "k", 1.0)?))
        }
        _ => Err(Stop::NoRow),
    }
}
