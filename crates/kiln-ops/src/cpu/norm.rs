//! Normalisation: by the statistics of a channel over a batch, of a group of channels, and of a row.

mod batch;
mod group;
mod row;

use kiln_storage::{RawTensor, Result};

pub use batch::{BatchGrads, BatchNorm, batch_norm_apply, batch_norm_backward, batch_norm_stats};
pub use group::{GroupNorm, group_norm, group_norm_backward};
pub use row::{RowNorm, row_norm, row_norm_backward};

use super::families::float_family;
use super::host::Host;
use super::real::Computed;

/// The type that weights of rows of `T` have.
type Acc<T> = <T as Computed>::Acc;

// In the functions below each output is made into a slice once and has memory of its own.

/// See [`crate::Op::RowNorm`].
pub(crate) fn row(
    op: &'static str,
    norm: RowNorm,
    ins: &[&RawTensor],
    [y, stats]: [&RawTensor; 2],
) -> Result<()> {
    let host = Host::lock(op, ins, &[y, stats])?;
    float_family!(op, y.dtype(), T => {
        let [weight, bias] = [1, 2].map(|i| ins.get(i).map(|t| host.input::<Acc<T>>(t)));
        // SAFETY: see above.
        let (y, stats) = unsafe { (host.output::<T>(y), host.output(stats)) };
        row_norm::<T>(host.input(ins[0]), norm, weight, bias, y, stats);
        Ok(())
    })
}

/// See [`crate::Op::RowNormGrad`].
pub(crate) fn row_grad(
    op: &'static str,
    norm: RowNorm,
    ins: &[&RawTensor],
    [gx, gweight, gbias]: [&RawTensor; 3],
) -> Result<()> {
    let host = Host::lock(op, ins, &[gx, gweight, gbias])?;
    float_family!(op, gx.dtype(), T => {
        let weight = ins.get(3).map(|t| host.input::<Acc<T>>(t));
        let stats = host.input(ins[2]);
        // SAFETY: see above.
        let (gx, gweight, gbias) = unsafe { (host.output(gx), host.output(gweight), host.output(gbias)) };
        row_norm_backward::<T>(host.input(ins[0]), host.input(ins[1]), norm, stats, weight, gx, gweight, gbias);
        Ok(())
    })
}

/// See [`crate::Op::GroupNorm`].
pub(crate) fn group(
    op: &'static str,
    norm: GroupNorm,
    ins: &[&RawTensor],
    [y, stats]: [&RawTensor; 2],
) -> Result<()> {
    let host = Host::lock(op, ins, &[y, stats])?;
    float_family!(op, y.dtype(), T => {
        let [weight, bias] = [1, 2].map(|i| ins.get(i).map(|t| host.input::<T>(t)));
        // SAFETY: see above.
        let (y, stats) = unsafe { (host.output(y), host.output(stats)) };
        group_norm::<T>(host.input(ins[0]), norm, weight, bias, y, stats);
        Ok(())
    })
}

/// See [`crate::Op::GroupNormGrad`].
pub(crate) fn group_grad(
    op: &'static str,
    norm: GroupNorm,
    ins: &[&RawTensor],
    [gx, gweight, gbias]: [&RawTensor; 3],
) -> Result<()> {
    let host = Host::lock(op, ins, &[gx, gweight, gbias])?;
    float_family!(op, gx.dtype(), T => {
        let weight = ins.get(3).map(|t| host.input::<T>(t));
        let stats = host.input(ins[2]);
        // SAFETY: see above.
        let (gx, gweight, gbias) = unsafe { (host.output(gx), host.output(gweight), host.output(gbias)) };
        group_norm_backward::<T>(host.input(ins[0]), host.input(ins[1]), norm, stats, weight, gx, gweight, gbias);
        Ok(())
    })
}

/// See [`crate::Op::BatchStats`].
pub(crate) fn batch_stats(
    op: &'static str,
    axis: super::reduce::Axis,
    x: &RawTensor,
    [mean, var]: [&RawTensor; 2],
) -> Result<()> {
    let host = Host::lock(op, &[x], &[mean, var])?;
    float_family!(op, x.dtype(), T => {
        // SAFETY: see above.
        let (mean, var) = unsafe { (host.output(mean), host.output(var)) };
        batch_norm_stats::<T>(host.input(x), axis, mean, var);
        Ok(())
    })
}

/// See [`crate::Op::BatchNorm`].
pub(crate) fn batch(op: &'static str, norm: &BatchNorm, ins: &[&RawTensor], y: &RawTensor) -> Result<()> {
    let host = Host::lock(op, ins, &[y])?;
    float_family!(op, y.dtype(), T => {
        let [weight, bias] = [3, 4].map(|i| ins.get(i).map(|t| host.input::<Acc<T>>(t)));
        let stats = [host.input(ins[1]), host.input(ins[2])];
        // SAFETY: see above.
        batch_norm_apply::<T>(host.input(ins[0]), norm, stats, weight, bias, unsafe { host.output(y) });
        Ok(())
    })
}

/// See [`crate::Op::BatchNormGrad`].
pub(crate) fn batch_grad(
    op: &'static str,
    norm: &BatchNorm,
    ins: &[&RawTensor],
    [gx, gweight, gbias]: [&RawTensor; 3],
) -> Result<()> {
    let host = Host::lock(op, ins, &[gx, gweight, gbias])?;
    float_family!(op, gx.dtype(), T => {
        let weight = ins.get(4).map(|t| host.input::<Acc<T>>(t));
        let stats = [host.input(ins[2]), host.input(ins[3])];
        // SAFETY: see above.
        let grads = unsafe {
            BatchGrads { x: host.output(gx), weight: host.output(gweight), bias: host.output(gbias) }
        };
        batch_norm_backward::<T>(host.input(ins[0]), host.input(ins[1]), norm, stats, weight, grads);
        Ok(())
    })
}

#[cfg(test)]
mod tests;
