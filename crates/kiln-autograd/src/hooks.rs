//! Functions that observe or replace gradients on their way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use kiln_ops::Shared;
use parking_lot::Mutex;

use crate::node::{Extras, Node};
use crate::waiting::Grads;
use crate::{Error, Here, Result, Tensor};

/// A hook: may return a gradient to replace the one it was given.
pub(crate) type Hook = Arc<dyn Fn(&Tensor) -> Result<Option<Tensor>> + Send + Sync>;

/// Removes its hook on demand. Dropping the handle leaves the hook in place.
pub struct HookHandle {
    extras: Weak<Mutex<Extras>>,
    id: u64,
}

impl HookHandle {
    /// Removes the hook; the second time nothing happens.
    pub fn remove(&self) {
        let Some(extras) = self.extras.upgrade() else { return };
        let mut extras = extras.lock();
        extras.hooks.retain(|(_, id, _)| *id != self.id);
        extras.after_accumulation.retain(|(id, _)| *id != self.id);
    }
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Shows the gradients of a node's outputs to their hooks, and keeps those that are to be retained.
pub(crate) fn run_hooks(node: &Shared<Node>, grads: &mut Grads) -> Result<()> {
    let (hooks, retained) = {
        let Some(extras) = node.extras.get() else { return Ok(()) };
        let extras = extras.lock();
        (extras.hooks.clone(), extras.retained.clone())
    };
    for (output, _, hook) in hooks {
        let slot = &mut grads[output as usize];
        if let Some(grad) = slot
            && let Some(new) = hook(grad)?
        {
            if new.shape() != grad.shape() {
                return Err(Error::autograd(
                    "backward",
                    format!(
                        "a hook has changed the size of a gradient from {:?} to {:?}",
                        grad.shape(),
                        new.shape()
                    ),
                ));
            }
            *slot = Some(new);
        }
    }
    for (output, slot) in retained {
        if let Some(grad) = &grads[output as usize] {
            *slot.lock() = Some(grad.clone());
        }
    }
    Ok(())
}

/// Shows a leaf's gradient, as it is now, to those who asked for it.
pub(crate) fn run_accumulation_hooks(node: &Shared<Node>) -> Result<()> {
    let Some(extras) = node.extras.get() else { return Ok(()) };
    let hooks = extras.lock().after_accumulation.clone();
    let grad = node.grad.as_ref().and_then(|slot| slot.lock().clone());
    if let Some(grad) = grad {
        for (_, hook) in hooks {
            hook(&grad)?;
        }
    }
    Ok(())
}

impl Tensor {
    /// Calls `hook` with every gradient that reaches this tensor; what it returns, if anything, goes on in its place.
    ///
    /// # Errors
    /// The tensor does not require a gradient.
    #[track_caller]
    pub fn register_hook(
        &self,
        hook: impl Fn(&Tensor) -> Result<Option<Tensor>> + Send + Sync + 'static,
    ) -> Result<HookHandle> {
        let edge = self
            .edge()
            .ok_or_else(|| {
                Error::autograd(
                    "register_hook",
                    "cannot register a hook on a tensor that doesn't require gradient",
                )
            })
            .here()?;
        let id = next_id();
        let extras = edge.node.extras.get_or_init();
        extras.lock().hooks.push((edge.output, id, Arc::new(hook)));
        Ok(HookHandle { extras: Arc::downgrade(extras), id })
    }

    /// Calls `hook` with this leaf after a backward pass has added to its gradient.
    ///
    /// # Errors
    /// The tensor is not a leaf that requires a gradient.
    #[track_caller]
    pub fn register_post_accumulate_grad_hook(
        &self,
        hook: impl Fn(&Tensor) -> Result<()> + Send + Sync + 'static,
    ) -> Result<HookHandle> {
        let edge = self
            .edge()
            .filter(|e| e.node.is_leaf())
            .ok_or_else(|| {
                Error::autograd(
                    "register_post_accumulate_grad_hook",
                    "post accumulate grad hooks cannot be registered on non-leaf tensors",
                )
            })
            .here()?;
        let id = next_id();
        let hook: Hook = Arc::new(move |g| hook(g).map(|()| None));
        let extras = edge.node.extras.get_or_init();
        extras.lock().after_accumulation.push((id, hook));
        Ok(HookHandle { extras: Arc::downgrade(extras), id })
    }

    /// Keeps the gradient of this non-leaf tensor in [`Tensor::grad`]; does nothing for leaves.
    ///
    /// # Errors
    /// The tensor does not require a gradient.
    #[track_caller]
    pub fn retain_grad(&self) -> Result<()> {
        let edge = self
            .edge()
            .ok_or_else(|| {
                Error::autograd("retain_grad", "can't retain_grad on Tensor that has requires_grad=False")
            })
            .here()?;
        if edge.node.is_leaf() {
            return Ok(());
        }
        let slot = self.grad_slot();
        let retained = &mut edge.node.extras.get_or_init().lock().retained;
        if !retained.iter().any(|(_, s)| Arc::ptr_eq(s, &slot)) {
            retained.push((edge.output, slot));
        }
        Ok(())
    }

    /// Whether [`Tensor::retain_grad`] was called on this non-leaf tensor.
    pub fn retains_grad(&self) -> bool {
        let Some(edge) = self.edge().filter(|e| !e.node.is_leaf()) else { return false };
        let slot = self.grad_slot();
        let retains =
            |extras: &Mutex<Extras>| extras.lock().retained.iter().any(|(_, s)| Arc::ptr_eq(s, &slot));
        edge.node.extras.get().is_some_and(retains)
    }
}
