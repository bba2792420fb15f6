//! Optimizers: they hold the parameters of a model and change them in place along their gradients.

mod adam;
mod sgd;

pub use adam::{Adam, AdamW};
pub use kiln_autograd::{Error, Result, Tensor};
pub use sgd::SGD;

/// What all optimizers have in common.
pub trait Optimizer {
    /// Changes every parameter that has a gradient by one step.
    ///
    /// # Errors
    /// Settings that make no sense; a gradient that does not fit its parameter.
    fn step(&mut self) -> Result<()>;

    /// The parameters.
    fn parameters(&self) -> &[Tensor];

    /// The learning rate.
    fn lr(&self) -> f64;

    /// Changes the learning rate, as schedules do.
    fn set_lr(&mut self, lr: f64);

    /// Forgets all gradients.
    fn zero_grad(&self) {
        self.parameters().iter().for_each(Tensor::zero_grad);
    }
}

/// Refuses a setting below its least value, or one that is no number.
fn at_least(op: &'static str, name: &str, value: f64, least: f64) -> Result<()> {
    if value >= least {
        return Ok(());
    }
    Err(Error::value(op, format!("Invalid {name} value: {value}; it must be at least {least}")))
}
