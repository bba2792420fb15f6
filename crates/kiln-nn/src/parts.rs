//! What modules are made of: [`Parameter`], [`Buffer`], [`Training`] and other modules, listed by name in [`Parts`].

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use kiln_autograd::{Result, Tensor};

use crate::Module;
use crate::hooks::Hooks;

/// A tensor that is learned: it requires a gradient and counts among [`Module::parameters`].
///
/// It is a handle like any tensor: clones are the same parameter, so an optimizer that holds one changes the layer's.
/// Two modules that share a clone have tied weights.
///
/// ```
/// use kiln_nn::{Parameter, Tensor};
/// let w = Parameter::new(Tensor::from_vec(vec![0.5f32; 2], [2])?)?;
/// w.mul(3.0)?.sum()?.backward()?;
/// assert_eq!(w.grad().unwrap().to_vec::<f32>()?, [3.0, 3.0]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
#[derive(Clone)]
pub struct Parameter(Tensor);

impl Parameter {
    /// A parameter that starts from the values of `tensor`, in the same memory. A result of recorded operations is
    /// detached from its history.
    ///
    /// # Errors
    /// The dtype is not floating point.
    #[track_caller]
    pub fn new(tensor: Tensor) -> Result<Parameter> {
        let leaf = if tensor.is_leaf() { tensor } else { tensor.detach() };
        Ok(Parameter(leaf.requires_grad_(true)?))
    }

    /// A parameter with the same values and memory of its own.
    #[track_caller]
    pub(crate) fn twin(&self) -> Result<Parameter> {
        let twin = Parameter::new(self.0.detach().copy()?)?;
        twin.0.clone().requires_grad_(self.0.requires_grad())?;
        Ok(twin)
    }

    /// The parameter as a tensor.
    pub fn tensor(&self) -> &Tensor {
        &self.0
    }
}

impl Deref for Parameter {
    type Target = Tensor;

    fn deref(&self) -> &Tensor {
        &self.0
    }
}

/// `Parameter containing:`, and the tensor on the next line.
impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parameter containing:\n")?;
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The same text as [`fmt::Display`].
impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A tensor that belongs to a module's state and is not learned, as running statistics are.
#[derive(Clone)]
pub struct Buffer {
    tensor: Tensor,
    persistent: bool,
}

impl Buffer {
    /// A buffer with the content of `tensor`, in the same memory, that is saved with the state dict.
    pub fn new(tensor: Tensor) -> Buffer {
        Buffer { tensor, persistent: true }
    }

    /// Keeps the buffer out of the state dict (`register_buffer(persistent=False)`).
    pub fn transient(self) -> Buffer {
        Buffer { persistent: false, ..self }
    }

    /// Whether the buffer is saved with the state dict.
    pub fn is_persistent(&self) -> bool {
        self.persistent
    }

    /// The buffer as a tensor.
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }
}

impl Deref for Buffer {
    type Target = Tensor;

    fn deref(&self) -> &Tensor {
        &self.tensor
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({:?}, {})", self.shape(), self.dtype())
    }
}

/// Whether a module is being trained or evaluated, for layers that behave differently; [`Module::train`] and
/// [`Module::eval`] set every one in a module. The hooks of [`ModuleHooks`](crate::ModuleHooks) live here too.
///
/// ```
/// use kiln_nn::{Dropout, Module, Training};
/// #[derive(Module)]
/// struct Noisy {
///     drop: Dropout,
///     training: Training,
/// }
/// let net = Noisy { drop: Dropout::new(0.5), training: Training::default() };
/// net.eval();
/// assert!(!net.training.get() && !net.drop.is_training());
/// ```
#[derive(Default)]
pub struct Training {
    evaluating: AtomicBool,
    hooks: OnceLock<Arc<Hooks>>,
}

impl Training {
    /// Training, and without hooks.
    pub const fn new() -> Training {
        Training { evaluating: AtomicBool::new(false), hooks: OnceLock::new() }
    }

    /// Whether it is training.
    pub fn get(&self) -> bool {
        !self.evaluating.load(Ordering::Relaxed)
    }

    /// Says whether it is.
    pub fn set(&self, training: bool) {
        self.evaluating.store(!training, Ordering::Relaxed);
    }

    /// The module's hooks.
    pub(crate) fn hooks(&self) -> &Arc<Hooks> {
        self.hooks.get_or_init(Arc::default)
    }

    /// The module's hooks, where there have been some.
    pub(crate) fn hooks_if_any(&self) -> Option<&Hooks> {
        self.hooks.get().map(|hooks| &**hooks)
    }
}

/// The clone has the same mode, and no hooks.
impl Clone for Training {
    fn clone(&self) -> Training {
        let clone = Training::default();
        clone.set(self.get());
        clone
    }
}

impl fmt::Debug for Training {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Training({})", self.get())
    }
}

/// One part of a module.
#[derive(Clone, Copy)]
pub enum PartRef<'a> {
    /// A learned tensor.
    Parameter(&'a Parameter),
    /// A tensor that is kept but not learned.
    Buffer(&'a Buffer),
    /// The training flag.
    Training(&'a Training),
    /// A module inside.
    Module(&'a dyn Module),
}

/// The parts of a module by name, in order; [`Module::parts`] fills it.
#[derive(Default)]
pub struct Parts<'a>(Vec<(Cow<'static, str>, PartRef<'a>)>);

impl<'a> Parts<'a> {
    /// Lists a parameter, buffer, training flag or module; `None` lists nothing.
    pub fn add<P: Part>(&mut self, name: impl Into<Cow<'static, str>>, part: &'a P) {
        part.list(name.into(), self);
    }

    /// Lists a module whose type is not known.
    pub fn add_module(&mut self, name: impl Into<Cow<'static, str>>, mut module: &'a dyn Module) {
        while let Some(inner) = module.inner() {
            module = inner;
        }
        self.0.push((name.into(), PartRef::Module(module)));
    }

    /// Lists the parts of `module` as this one's own, without the parameters that `hidden` names.
    pub(crate) fn add_own_of(&mut self, module: &'a dyn Module, hidden: impl Fn(&str) -> bool) {
        let before = self.0.len();
        module.parts(self);
        let own = self.0.split_off(before);
        let shown = own.into_iter().filter(|(name, p)| !(matches!(p, PartRef::Parameter(_)) && hidden(name)));
        self.0.extend(shown);
    }

    /// The parts so far.
    pub fn iter(&self) -> impl Iterator<Item = (&str, PartRef<'a>)> {
        self.0.iter().map(|(name, part)| (&**name, *part))
    }
}

/// What can be a field of a module: a [`Parameter`], [`Buffer`] or [`Training`], any [`Module`], an `Option` of
/// these, and a `Vec` of parameters.
pub trait Part {
    /// Lists this part, or nothing.
    fn list<'a>(&'a self, name: Cow<'static, str>, parts: &mut Parts<'a>);
}

impl Part for Parameter {
    fn list<'a>(&'a self, name: Cow<'static, str>, parts: &mut Parts<'a>) {
        parts.0.push((name, PartRef::Parameter(self)));
    }
}

impl Part for Buffer {
    fn list<'a>(&'a self, name: Cow<'static, str>, parts: &mut Parts<'a>) {
        parts.0.push((name, PartRef::Buffer(self)));
    }
}

impl Part for Training {
    fn list<'a>(&'a self, name: Cow<'static, str>, parts: &mut Parts<'a>) {
        parts.0.push((name, PartRef::Training(self)));
    }
}

impl<P: Part> Part for Option<P> {
    fn list<'a>(&'a self, name: Cow<'static, str>, parts: &mut Parts<'a>) {
        if let Some(part) = self {
            part.list(name, parts);
        }
    }
}

impl Part for Vec<Parameter> {
    fn list<'a>(&'a self, name: Cow<'static, str>, parts: &mut Parts<'a>) {
        for (i, parameter) in self.iter().enumerate() {
            parts.add(format!("{name}.{i}"), parameter);
        }
    }
}

impl<M: Module> Part for M {
    fn list<'a>(&'a self, name: Cow<'static, str>, parts: &mut Parts<'a>) {
        parts.add_module(name, self);
    }
}

/// How the derive finds out which fields are parts. Method lookup tries `Probe<T>` before `&Probe<T>`, so
/// [`ListPart`](__derive::ListPart) is taken where `T` is a [`Part`] and [`ListNothing`](__derive::ListNothing)
/// elsewhere.
#[doc(hidden)]
pub mod __derive {
    use super::{Part, Parts};

    pub struct Probe<'a, T>(pub &'a T);

    pub trait ListPart<'a> {
        fn list_field(&self, name: &'static str, parts: &mut Parts<'a>);
    }

    impl<'a, T: Part> ListPart<'a> for Probe<'a, T> {
        fn list_field(&self, name: &'static str, parts: &mut Parts<'a>) {
            parts.add(name, self.0);
        }
    }

    pub trait ListNothing {
        fn list_field(&self, name: &'static str, parts: &mut Parts<'_>);
    }

    impl<T> ListNothing for &Probe<'_, T> {
        fn list_field(&self, _name: &'static str, _parts: &mut Parts<'_>) {}
    }
}
