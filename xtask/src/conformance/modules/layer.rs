//! A layer of any type, as the replay handles it.

use kiln_autograd::{Result, Tensor};
use kiln_nn::{Forward, Module};

use super::call::Call;
use crate::conformance::args::{Answer, Out};

/// A layer and how it is called.
pub type Layer = Box<dyn Replayed>;

/// What the replay needs of a layer.
pub trait Replayed {
    /// For its parameters and buffers.
    fn module(&self) -> &dyn Module;

    /// Calls it with recorded arguments.
    fn call(&self, given: &Call<'_>) -> Answer<Out>;

    /// How many numbers it has learned; an error where that is not known yet.
    fn parameter_count(&self) -> Answer<usize> {
        Ok(self.module().num_parameters())
    }
}

struct With<M, F>(M, F);

impl<M: Module, F: Fn(&M, &Call<'_>) -> Answer<Out>> Replayed for With<M, F> {
    fn module(&self) -> &dyn Module {
        &self.0
    }

    fn call(&self, given: &Call<'_>) -> Answer<Out> {
        (self.1)(&self.0, given)
    }
}

/// A layer that is called by `call`.
pub fn with<M, O>(module: M, call: impl Fn(&M, &Call<'_>) -> Answer<O> + 'static) -> Answer<Layer>
where
    M: Module,
    O: Into<Out>,
{
    Ok(Box::new(With(module, move |m: &M, given: &Call<'_>| call(m, given).map(Into::into))))
}

/// A layer of one input.
pub fn unary<M: Forward>(module: M) -> Answer<Layer> {
    with(module, |m: &M, given| Ok(m.forward(&given.tensor(0, "input")?)?))
}

/// A layer or loss of two inputs, the second called `second`.
pub fn binary<M: Module>(
    module: M,
    second: &'static str,
    forward: fn(&M, &Tensor, &Tensor) -> Result<Tensor>,
) -> Answer<Layer> {
    with(module, move |m: &M, given| Ok(forward(m, &given.tensor(0, "input")?, &given.tensor(1, second)?)?))
}
