//! Functions that run before and after a module, or when gradients pass it: [`ModuleHooks`]. The module keeps its type.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use kiln_autograd::{Error, Here, Result, Tensor, record};

use crate::module::Module;
use crate::walk;

type Pre = Arc<dyn Fn(&dyn Module, &Tensor) -> Result<Option<Tensor>> + Send + Sync>;
type Post = Arc<dyn Fn(&dyn Module, &Tensor, &Tensor) -> Result<Option<Tensor>> + Send + Sync>;
type Backward = Arc<dyn Fn(Option<&Tensor>, &Tensor) -> Result<Option<Tensor>> + Send + Sync>;

#[derive(Clone, Default)]
struct Lists {
    pre: Vec<(u64, Pre)>,
    post: Vec<(u64, Post)>,
    backward: Vec<(u64, Backward)>,
}

/// The hooks of one module; they live beside its training flag.
#[derive(Default)]
pub(crate) struct Hooks(Mutex<Lists>);

impl Hooks {
    fn lists(&self) -> MutexGuard<'_, Lists> {
        // Lists of functions are whole whatever thread has panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes its hook on demand. Dropping the handle leaves the hook in place.
pub struct ModuleHookHandle {
    hooks: Weak<Hooks>,
    id: u64,
}

impl ModuleHookHandle {
    /// Removes the hook; the second time nothing happens.
    pub fn remove(&self) {
        let Some(hooks) = self.hooks.upgrade() else { return };
        let mut lists = hooks.lists();
        lists.pre.retain(|(id, _)| *id != self.id);
        lists.post.retain(|(id, _)| *id != self.id);
        lists.backward.retain(|(id, _)| *id != self.id);
    }
}

/// Whether any module has ever had a hook: calls do not look for hooks before.
static ANY: AtomicBool = AtomicBool::new(false);

#[track_caller]
fn add(op: &'static str, module: &dyn Module, put: impl FnOnce(&mut Lists, u64)) -> Result<ModuleHookHandle> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let Some(training) = walk::own_training(module) else {
        return Err(Error::value(
            op,
            format!(
                "{} has no place for hooks: hook the layer before or behind it, or give your struct a field of type \
                 Training",
                module.type_name()
            ),
        ));
    };
    let hooks = training.hooks();
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    put(&mut hooks.lists(), id);
    ANY.store(true, Ordering::Relaxed);
    Ok(ModuleHookHandle { hooks: Arc::downgrade(hooks), id })
}

/// Hooks for every module that has a [`Training`](crate::Training) field, as all layers and losses have, whatever its type.
///
/// As in PyTorch, where hooks run in `module(x)` and not in `module.forward(x)`, they run in
/// [`Forward::call`](crate::Forward::call), by which a [`Sequential`](crate::Sequential) runs its layers, in the `call` of
/// losses, and in [`ModuleHooks::call_hooked`].
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use kiln_nn::{Forward, Linear, ModuleHooks, ReLU, Tensor, sequential};
/// let net = sequential![Linear::new(4, 8), ReLU, Linear::new(8, 2)];
/// let seen = Arc::new(Mutex::new(Vec::new()));
/// let to = Arc::clone(&seen);
/// let handle = net[0].as_module().register_forward_hook(move |_, _, output| {
///     to.lock().unwrap().push(output.dims());
///     Ok(None)
/// })?;
/// net.call(&Tensor::from_vec(vec![1.0f32; 12], [3, 4])?)?;
/// handle.remove();
/// net.call(&Tensor::from_vec(vec![1.0f32; 12], [3, 4])?)?;
/// assert_eq!(*seen.lock().unwrap(), [[3, 8]]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub trait ModuleHooks: Module {
    /// Calls `hook` with the module and every input before the module runs; what it returns, if anything, is the input.
    ///
    /// # Errors
    /// The module has no [`Training`](crate::Training) field.
    #[track_caller]
    fn register_forward_pre_hook(
        &self,
        hook: impl Fn(&dyn Module, &Tensor) -> Result<Option<Tensor>> + Send + Sync + 'static,
    ) -> Result<ModuleHookHandle> {
        add("register_forward_pre_hook", self.as_module(), |l, id| l.pre.push((id, Arc::new(hook))))
    }

    /// Calls `hook` with the module, its input and its output; what it returns, if anything, is the output.
    ///
    /// # Errors
    /// The module has no [`Training`](crate::Training) field.
    #[track_caller]
    fn register_forward_hook(
        &self,
        hook: impl Fn(&dyn Module, &Tensor, &Tensor) -> Result<Option<Tensor>> + Send + Sync + 'static,
    ) -> Result<ModuleHookHandle> {
        add("register_forward_hook", self.as_module(), |l, id| l.post.push((id, Arc::new(hook))))
    }

    /// Calls `hook` with the gradients of the module's input and output when both are there; what it returns, if anything,
    /// is the input's gradient from there on. For an input that requires no gradient, the first is `None`, and what the
    /// hook returns counts for nothing.
    ///
    /// # Errors
    /// The module has no [`Training`](crate::Training) field.
    #[track_caller]
    fn register_full_backward_hook(
        &self,
        hook: impl Fn(Option<&Tensor>, &Tensor) -> Result<Option<Tensor>> + Send + Sync + 'static,
    ) -> Result<ModuleHookHandle> {
        add("register_full_backward_hook", self.as_module(), |l, id| l.backward.push((id, Arc::new(hook))))
    }

    /// Runs `forward` with this module's hooks, for modules that [`Forward`](crate::Forward) does not cover because they
    /// take more than one tensor; hooks see the one that is given here.
    ///
    /// # Errors
    /// What `forward` and the hooks fail with.
    #[track_caller]
    fn call_hooked(&self, input: &Tensor, forward: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        call(self.as_module(), input, &forward)
    }
}

impl<M: Module + ?Sized> ModuleHooks for M {}

/// Runs a module with its hooks.
#[track_caller]
pub(crate) fn call(
    module: &dyn Module,
    input: &Tensor,
    forward: &dyn Fn(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    if !ANY.load(Ordering::Relaxed) {
        return forward(input).here();
    }
    let Some(hooks) = walk::own_training(module).and_then(|t| t.hooks_if_any()) else {
        return forward(input).here();
    };
    // Hooks may add and remove hooks: what is there now runs.
    let lists = hooks.lists().clone();
    let mut x = input.clone();
    for (_, hook) in &lists.pre {
        x = hook(module, &x).here()?.unwrap_or(x);
    }
    let watched = !lists.backward.is_empty();
    let x = if watched && x.requires_grad() { marked("BackwardHookFunctionBackward", &x) } else { x };
    let mut y = forward(&x).here()?;
    for (_, hook) in &lists.post {
        y = hook(module, &x, &y).here()?.unwrap_or(y);
    }
    if !watched || !y.requires_grad() {
        return Ok(y);
    }
    // A node of its own, so that other uses of the output do not call the hooks.
    let y = marked("BackwardHookFunctionBackward", &y);
    let passed: Arc<Mutex<Option<Tensor>>> = Arc::default();
    let backward = lists.backward;
    if x.requires_grad() {
        let late = Arc::clone(&passed);
        y.register_hook(move |g| {
            *late.lock().unwrap_or_else(PoisonError::into_inner) = Some(g.clone());
            Ok(None)
        })?;
        x.register_hook(move |g| {
            let Some(gy) = passed.lock().unwrap_or_else(PoisonError::into_inner).take() else {
                return Ok(None);
            };
            let mut gx = g.clone();
            for (_, hook) in &backward {
                gx = hook(Some(&gx), &gy)?.unwrap_or(gx);
            }
            Ok(Some(gx))
        })?;
    } else {
        y.register_hook(move |g| {
            backward.iter().try_for_each(|(_, hook)| hook(None, g).map(|_| ()))?;
            Ok(None)
        })?;
    }
    Ok(y)
}

/// The same tensor with a node of its own.
fn marked(name: &'static str, t: &Tensor) -> Tensor {
    let raw = t.raw().clone();
    record(name, raw).input(t, || |g: &Tensor| Ok(g.clone())).done()
}
