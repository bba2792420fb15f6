//! [`Module`]: what layers and networks have in common, and [`Forward`] for those that map a tensor to a tensor.

use std::any::Any;

use kiln_autograd::{DType, Device, Result, Tensor};

use crate::hooks;
use crate::parts::Parts;
use crate::state_dict::{self, IncompatibleKeys, StateDict};
use crate::walk;

/// A layer or network: something with named parameters, buffers and modules inside.
///
/// Derive it on a struct. Fields that are modules, [`Parameter`](crate::Parameter)s, [`Buffer`](crate::Buffer)s or
/// [`Training`](crate::Training) flags, or a `Vec`, array, map, tuple, `Option`, `Box` or `Arc` of modules, are found by
/// their types; every other field is left alone, plain tensors too. The state dict has PyTorch's names.
///
/// ```
/// use kiln_nn::{Forward, Linear, Module, Result, Tensor};
///
/// #[derive(Module)]
/// struct Net {
///     hidden: Linear,
///     out: Linear,
///     scale: f64,
/// }
///
/// impl Forward for Net {
///     fn forward(&self, x: &Tensor) -> Result<Tensor> {
///         let h = self.hidden.forward(x)?.relu()?;
///         self.out.forward(&h)?.mul(self.scale)
///     }
/// }
///
/// let mut net = Net { hidden: Linear::new(4, 8), out: Linear::new(8, 2), scale: 0.5 };
/// net.out = Linear::new(8, 3);
/// assert_eq!(net.num_parameters(), 4 * 8 + 8 + 8 * 3 + 3);
/// let names: Vec<String> = net.named_parameters().into_iter().map(|(name, _)| name).collect();
/// assert_eq!(names, ["hidden.weight", "hidden.bias", "out.weight", "out.bias"]);
/// assert_eq!(net.forward(&Tensor::from_vec(vec![1.0f32; 20], [5, 4])?)?.dims(), [5, 3]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
///
/// The provided methods hand the module on as a trait object: they are compiled for every type of module, so their bodies
/// live elsewhere, once.
///
/// All methods take `&self`: parameters are handles, so that a module can be moved, frozen and trained while others
/// hold it. Modules are `Send` and `Sync`.
pub trait Module: AsModule + Any + Send + Sync {
    /// Lists what the module is made of, in the order of its names.
    fn parts<'a>(&'a self, parts: &mut Parts<'a>);

    /// The name that is printed, without generics.
    fn type_name(&self) -> &str {
        walk::short_name(std::any::type_name::<Self>())
    }

    /// What is printed between the parentheses: the settings.
    fn extra_repr(&self) -> String {
        String::new()
    }

    /// The module that this one only wraps, as a box does; it takes this one's place everywhere.
    #[doc(hidden)]
    fn inner(&self) -> Option<&dyn Module> {
        None
    }

    /// Other names under which this module's own tensors may have been saved, each with the name of today. When a state dict
    /// has all of them, they are taken.
    fn former_names(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// All learned tensors, each one once: what an optimizer is given.
    fn parameters(&self) -> Vec<Tensor> {
        walk::parameters(self.as_module())
    }

    /// All learned tensors with their dotted names. One that appears in two places is named by the first.
    fn named_parameters(&self) -> Vec<(String, Tensor)> {
        walk::named_parameters(self.as_module())
    }

    /// All buffers, each one once.
    fn buffers(&self) -> Vec<Tensor> {
        walk::buffers(self.as_module())
    }

    /// All buffers with their dotted names, those too that are not saved.
    fn named_buffers(&self) -> Vec<(String, Tensor)> {
        walk::named_buffers(self.as_module())
    }

    /// The modules directly inside, with their names.
    fn named_children(&self) -> Vec<(String, &dyn Module)> {
        walk::children(self.as_module())
    }

    /// This module (with the empty name) and all modules inside, at any depth, with their dotted names.
    fn named_modules(&self) -> Vec<(String, &dyn Module)> {
        walk::modules(self.as_module())
    }

    /// The module inside of a dotted name; the empty name is this one.
    fn get_submodule(&self, name: &str) -> Option<&dyn Module> {
        walk::submodule(self.as_module(), name)
    }

    /// The learned tensor of a dotted name.
    fn get_parameter(&self, name: &str) -> Option<Tensor> {
        walk::find(self.as_module(), name, false)
    }

    /// The buffer of a dotted name.
    fn get_buffer(&self, name: &str) -> Option<Tensor> {
        walk::find(self.as_module(), name, true)
    }

    /// How many numbers are learned.
    fn num_parameters(&self) -> usize {
        walk::num_parameters(self.as_module())
    }

    /// The parameters and the buffers that are saved, by their dotted names, in order. The tensors share the module's
    /// memory and have no history.
    fn state_dict(&self) -> StateDict {
        state_dict::collect(self.as_module())
    }

    /// Copies the values of a state dict into the parameters and buffers, all or none.
    ///
    /// # Errors
    /// Names are missing or unknown or shapes differ: the message lists all of them, with the nearest names. Nothing is
    /// changed then.
    #[track_caller]
    fn load_state_dict(&self, state: &StateDict) -> Result<()> {
        state_dict::load_all(self.as_module(), state)
    }

    /// [`Module::load_state_dict`] that passes over names that only one side has and says which they are
    /// (`strict=False`).
    ///
    /// # Errors
    /// Shapes differ.
    #[track_caller]
    fn load_state_dict_lenient(&self, state: &StateDict) -> Result<IncompatibleKeys> {
        state_dict::load(self.as_module(), state, false)
    }

    /// Makes this module and all inside train: dropout drops, batch norm updates its statistics.
    fn train(&self) {
        self.set_training(true);
    }

    /// Makes this module and all inside evaluate.
    fn eval(&self) {
        self.set_training(false);
    }

    /// [`Module::train`] or [`Module::eval`].
    fn set_training(&self, training: bool) {
        walk::set_training(self.as_module(), training);
    }

    /// Whether the module trains: what its own [`Training`](crate::Training) flag says, else the first one inside.
    /// All layers have one, so that a network needs none of its own.
    fn is_training(&self) -> bool {
        walk::is_training(self.as_module())
    }

    /// Makes all parameters learned or not: `requires_grad_(false)` freezes the module.
    ///
    /// # Errors
    /// A parameter was replaced by the result of a recorded operation.
    #[track_caller]
    fn requires_grad_(&self, requires_grad: bool) -> Result<()> {
        walk::requires_grad_(self.as_module(), requires_grad)
    }

    /// Forgets the gradients of all parameters.
    fn zero_grad(&self) {
        walk::zero_grad(self.as_module());
    }

    /// Moves parameters, their gradients and buffers to a device. Handles that others hold, as optimizers do, move too.
    ///
    /// # Errors
    /// The device is not there or has no room; what was moved until then stays there.
    #[track_caller]
    fn to_device(&self, device: Device) -> Result<()> {
        walk::to_device(self.as_module(), device)
    }

    /// Converts floating point parameters, their gradients and buffers to a dtype; integers stay.
    ///
    /// # Errors
    /// The dtype is not floating point; memory is not there.
    #[track_caller]
    fn to_dtype(&self, dtype: DType) -> Result<()> {
        walk::to_dtype(self.as_module(), dtype)
    }

    /// Calls `f` with every module inside and last with this one, to initialise for example.
    ///
    /// ```
    /// use kiln_nn::{Linear, Module, ReLU, init, sequential};
    /// let net = sequential![Linear::new(4, 8), ReLU, Linear::new(8, 2)];
    /// net.apply(|m| match m.downcast_ref::<Linear>() {
    ///     Some(linear) => init::xavier_uniform_(&linear.weight, 1.0),
    ///     None => Ok(()),
    /// })?;
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// What `f` fails with.
    #[track_caller]
    fn apply(&self, mut f: impl FnMut(&dyn Module) -> Result<()>) -> Result<()>
    where
        Self: Sized,
    {
        walk::apply(self.as_module(), &mut f)
    }
}

/// A module as a trait object, whatever its type; implemented for all.
pub trait AsModule {
    /// The module as a trait object.
    fn as_module(&self) -> &dyn Module;
}

impl<M: Module> AsModule for M {
    fn as_module(&self) -> &dyn Module {
        self
    }
}

impl dyn Module {
    /// Whether this is a module of type `M`.
    pub fn is<M: Module>(&self) -> bool {
        (self as &dyn Any).is::<M>()
    }

    /// The module as its own type, if that is `M`.
    pub fn downcast_ref<M: Module>(&self) -> Option<&M> {
        (self as &dyn Any).downcast_ref()
    }
}

/// A module that maps a tensor to a tensor, and so can stand in a [`Sequential`](crate::Sequential).
pub trait Forward: Module {
    /// The module's function.
    ///
    /// # Errors
    /// The input does not fit: the message says what would.
    fn forward(&self, input: &Tensor) -> Result<Tensor>;

    /// [`Forward::forward`] with the hooks of [`ModuleHooks`](crate::ModuleHooks): `module(input)` in PyTorch.
    ///
    /// # Errors
    /// As `forward`, and what hooks fail with.
    #[track_caller]
    fn call(&self, input: &Tensor) -> Result<Tensor> {
        hooks::call(self.as_module(), input, &|x| self.forward(x))
    }
}
