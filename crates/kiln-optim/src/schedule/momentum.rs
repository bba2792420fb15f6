//! The momentum that cyclic schedules move against the rate: that of SGD, or Adam's first beta.

use kiln_autograd::{Error, Result};

use crate::optimizer::Optimizer;
use crate::value::StateValue;

/// Whether the momentum is the first of `betas` (PyTorch's `use_beta1`).
pub(super) fn uses_beta1(name: &'static str, optimizer: &dyn Optimizer) -> Result<bool> {
    if optimizer.option(0, "betas").is_some() {
        return Ok(true);
    }
    if optimizer.option(0, "momentum").is_some() {
        return Ok(false);
    }
    Err(Error::value(name, "optimizer must support momentum or beta1 with `cycle_momentum` option enabled"))
}

/// Sets the momentum of a group.
pub(super) fn set(optimizer: &mut dyn Optimizer, group: usize, beta1: bool, value: f64) -> Result<()> {
    if !beta1 {
        return optimizer.set_option(group, "momentum", value.into());
    }
    let mut betas = match optimizer.option(group, "betas") {
        Some(StateValue::List(betas)) if !betas.is_empty() => betas,
        other => {
            let text = format!("parameter group {group} must have betas, it has {other:?}");
            return Err(Error::value("cycle_momentum", text));
        }
    };
    betas[0] = value.into();
    optimizer.set_option(group, "betas", betas.into())
}

/// Starts the momenta of all groups at their largest, and notes both bounds in the groups, where PyTorch has them.
pub(super) fn start(optimizer: &mut dyn Optimizer, beta1: bool, base: &[f64], max: &[f64]) -> Result<()> {
    for (group, (base, max)) in base.iter().zip(max).enumerate() {
        set(optimizer, group, beta1, *max)?;
        optimizer.set_option(group, "max_momentum", (*max).into())?;
        optimizer.set_option(group, "base_momentum", (*base).into())?;
    }
    Ok(())
}
