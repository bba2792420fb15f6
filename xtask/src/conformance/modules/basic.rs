//! Layers without a family of their own: products, shapes, the layer that does nothing.

use kiln_nn::{Flatten, Identity, Linear, Unflatten};

use super::call::Call;
use super::layer::{Layer, unary};
use crate::conformance::args::{Answer, Stop};

/// The classes of this family.
pub fn build(name: &str, a: &Call<'_>) -> Answer<Layer> {
    match name {
        "Identity" => unary(Identity::new()),
        "Flatten" => {
            let (start, end) = (a.int_or(0, "start_dim", 1)?, a.int_or(1, "end_dim", -1)?);
            unary(Flatten::new().start_dim(start).end_dim(end))
        }
        "Unflatten" => unary(Unflatten::new(a.int(0, "dim")?, a.ints(1, "unflattened_size")?)),
        "Linear" => {
            let layer = Linear::new(a.size(0, "in_features")?, a.size(1, "out_features")?)
                .bias(a.bool_or(2, "bias", true)?);
            layer.check()?;
            unary(layer)
        }
        _ => Err(Stop::NoRow),
    }
}
