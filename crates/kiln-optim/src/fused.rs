//! Updates of many parameters at a time by one kernel.

use kiln_autograd::kiln_ops::optim::Decay;
use kiln_autograd::kiln_ops::{self, RawTensor};
use kiln_autograd::{DType, Result};

use crate::groups::{Groups, Rules, State};

/// How weights decay: through the gradient, or apart from it at a learning rate.
pub(crate) fn decay(weight_decay: f64, decoupled: Option<f64>) -> Decay {
    match (weight_decay == 0.0, decoupled) {
        (true, _) => Decay::None,
        (false, None) => Decay::Gradient(weight_decay),
        (false, Some(lr)) => Decay::Decoupled(1.0 - lr * weight_decay),
    }
}

/// At most as many parameters go into one call: enough to share a parallel section, few enough to be checked in no time.
const BATCH: usize = 32;

/// Parameters that wait for one call of a kernel with the same numbers.
pub(crate) struct Batch<K, const STATE: usize> {
    key: Option<(K, DType)>,
    waiting: Vec<(RawTensor, RawTensor, [RawTensor; STATE])>,
    run: fn(&K, &[kiln_ops::optim::Updated<'_, STATE>]) -> Result<()>,
}

impl<K: PartialEq + Copy, const STATE: usize> Batch<K, STATE> {
    pub(crate) fn new(run: fn(&K, &[kiln_ops::optim::Updated<'_, STATE>]) -> Result<()>) -> Batch<K, STATE> {
        Batch { key: None, waiting: Vec::new(), run }
    }

    /// Adds a parameter; what waits with other numbers, or too much of it, is done first.
    pub(crate) fn add(
        &mut self,
        step: K,
        param: RawTensor,
        grad: RawTensor,
        state: [RawTensor; STATE],
    ) -> Result<()> {
        let key = Some((step, param.dtype()));
        let alike = self.waiting.first().is_none_or(|(p, ..)| p.device() == param.device());
        if self.key != key || !alike || self.waiting.len() == BATCH {
            self.finish()?;
            self.key = key;
        }
        self.waiting.push((param, grad, state));
        Ok(())
    }

    /// Does what waits.
    pub(crate) fn finish(&mut self) -> Result<()> {
        let Some((step, _)) = self.key.take() else { return Ok(()) };
        let waiting = std::mem::take(&mut self.waiting);
        let updated: Vec<_> = waiting
            .iter()
            .map(|(param, grad, state)| kiln_ops::optim::Updated { param, grad, state: state.each_ref() })
            .collect();
        (self.run)(&step, &updated)
    }
}

/// A step in which every parameter gets a new state: `next` gives it from the options, the parameter and the state before,
/// with the numbers of the kernel `run` and the tensors that it changes.
pub(crate) fn step_all<O, S, K, const STATE: usize>(
    groups: &mut Groups<O, S>,
    run: fn(&K, &[kiln_ops::optim::Updated<'_, STATE>]) -> Result<()>,
    next: impl Fn(&O, &RawTensor, Option<&S>) -> Result<(S, K, [RawTensor; STATE])>,
) -> Result<()>
where
    O: Rules,
    S: State<Options = O>,
    K: PartialEq + Copy,
{
    groups.ensure_checked()?;
    let mut batch = Batch::new(run);
    let mut stepped = Vec::new();
    for (i, group) in groups.groups.iter().enumerate() {
        for (k, slot) in group.slots.iter().enumerate() {
            let Some(grad) = slot.param.grad() else { continue };
            let param = slot.param.raw().clone();
            let (state, step, tensors) = next(&group.options, &param, slot.state.as_ref())?;
            batch.add(step, param, grad.raw().clone(), tensors)?;
            stepped.push((i, k, state));
        }
    }
    batch.finish()?;
    // Only now: what no step has filled must not count as a state.
    for (i, k, state) in stepped {
        groups.groups[i].slots[k].state = Some(state);
    }
    Ok(())
}
