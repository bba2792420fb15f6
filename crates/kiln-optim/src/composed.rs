//! Updates that are made of tensor operations, parameter by parameter: the rarely used optimizers.

use kiln_autograd::kiln_ops::{self, RawTensor};
use kiln_autograd::{Result, Tensor, no_grad};

use crate::groups::{Groups, Rules, State};

/// A parameter's new values and what is remembered.
pub(crate) struct Update<S> {
    pub(crate) param: Tensor,
    pub(crate) state: S,
}

/// A contiguous tensor of the state.
pub(crate) fn own(t: &Tensor) -> Result<RawTensor> {
    kiln_ops::contiguous(&t.raw())
}

/// A step in which `next` gives each parameter's update from the options, the parameter, its gradient and its state.
/// Nothing is changed until all updates are there.
pub(crate) fn step_all<O, S>(
    groups: &mut Groups<O, S>,
    next: impl Fn(&O, &Tensor, Tensor, Option<&S>) -> Result<Update<S>>,
) -> Result<()>
where
    O: Rules,
    S: State<Options = O>,
{
    groups.ensure_checked()?;
    no_grad(|| {
        let mut updates = Vec::new();
        for (i, group) in groups.groups.iter().enumerate() {
            for (k, slot) in group.slots.iter().enumerate() {
                let Some(grad) = slot.param.grad() else { continue };
                let update = next(&group.options, &slot.param.detach(), grad.detach(), slot.state.as_ref())?;
                updates.push((i, k, update));
            }
        }
        for (i, k, update) in updates {
            let slot = &mut groups.groups[i].slots[k];
            slot.param.copy_(&update.param)?;
            slot.state = Some(update.state);
        }
        Ok(())
    })
}
