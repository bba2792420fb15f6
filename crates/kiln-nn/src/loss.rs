//! Losses: how far a prediction is from what it should be.

use kiln_autograd::{CrossEntropyOptions, Result, Tensor};

pub use kiln_autograd::Reduction;

use crate::functional;
use crate::hooks::ModuleHooks;
use crate::module::Module;
use crate::parts::{Buffer, Parts, Training};
use crate::print::print_as_module;

/// Losses of two tensors: a row is the documentation, the name and the function with the reduction.
macro_rules! losses {
    ($($(#[$doc:meta])* $name:ident: $function:path;)*) => {$(
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name {
            reduction: Reduction,
            training: Training,
        }

        impl $name {
            /// The loss with the mean over all elements.
            pub fn new() -> $name {
                $name { reduction: Reduction::Mean, training: Training::default() }
            }

            /// What becomes of the elements' losses.
            #[must_use]
            pub fn reduction(self, reduction: Reduction) -> $name {
                $name { reduction, ..self }
            }

            /// The loss of `input` against `target`.
            ///
            /// # Errors
            /// Shapes that do not broadcast, different devices.
            #[track_caller]
            pub fn forward(&self, input: &Tensor, target: &Tensor) -> Result<Tensor> {
                $function(input, target, self.reduction)
            }

            /// `forward` with the hooks of [`ModuleHooks`](crate::ModuleHooks), which see the first tensor.
            ///
            /// # Errors
            /// As `forward`, and what hooks fail with.
            #[track_caller]
            pub fn call(&self, input: &Tensor, target: &Tensor) -> Result<Tensor> {
                self.call_hooked(input, |input| self.forward(input, target))
            }
        }

        impl Default for $name {
            fn default() -> $name {
                $name::new()
            }
        }

        impl Module for $name {
            fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
                parts.add("training", &self.training);
            }
        }

        print_as_module!($name);
    )*};
}

losses! {
    /// The mean of `(input - target)^2`.
    ///
    /// ```
    /// use kiln_nn::{MSELoss, Tensor};
    /// let (x, y) = (Tensor::from_vec(vec![1.0f32, 3.0], [2])?, Tensor::from_vec(vec![0.0f32, 0.0], [2])?);
    /// assert_eq!(MSELoss::new().forward(&x, &y)?.to_f64()?, 5.0);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    MSELoss: functional::mse_loss;
    /// The mean of `|input - target|`.
    L1Loss: functional::l1_loss;
}

/// The cross entropy of logits and classes (int64) or probabilities (of the logits' shape).
///
/// Shapes: logits `[classes]` or `[batch, classes, positions..]`, classes the same without the class axis; the result is
/// a number, or of the targets' shape without reduction.
///
/// ```
/// use kiln_nn::{CrossEntropyLoss, Reduction, Tensor};
/// let logits = Tensor::from_vec(vec![0.0f32; 6], [2, 3])?.requires_grad_(true)?;
/// let classes = Tensor::from_vec(vec![0i64, 2], [2])?;
/// let loss = CrossEntropyLoss::new().forward(&logits, &classes)?;
/// assert!((loss.to_f64()? - 3f64.ln()).abs() < 1e-6);
/// loss.backward()?;
/// let each = CrossEntropyLoss::new().label_smoothing(0.1).reduction(Reduction::None).forward(&logits, &classes)?;
/// assert_eq!(each.dims(), [2]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct CrossEntropyLoss {
    weight: Option<Buffer>,
    options: CrossEntropyOptions,
    training: Training,
}

/// The negative log likelihood of classes (int64) under log probabilities, as [`LogSoftmax`](crate::LogSoftmax) gives
/// them. Shapes as for [`CrossEntropyLoss`].
#[derive(Clone, Default)]
pub struct NLLLoss {
    weight: Option<Buffer>,
    options: CrossEntropyOptions,
    training: Training,
}

macro_rules! class_losses {
    ($($name:ident $method:ident;)*) => {$(
        impl $name {
            /// The loss with the mean over all positions.
            pub fn new() -> $name {
                $name::default()
            }

            /// A weight for each class.
            #[must_use]
            pub fn weight(mut self, weight: Tensor) -> $name {
                self.weight = Some(Buffer::new(weight.detach()));
                self
            }

            /// Positions with this target count for nothing (-100 by default).
            #[must_use]
            pub fn ignore_index(mut self, ignore_index: i64) -> $name {
                self.options.ignore_index = ignore_index;
                self
            }

            /// What becomes of the positions' losses.
            #[must_use]
            pub fn reduction(mut self, reduction: Reduction) -> $name {
                self.options.reduction = reduction;
                self
            }

            /// The loss of `input` against `target`.
            ///
            /// # Errors
            /// Shapes or dtypes that do not fit, a class that is not below the number of classes, different devices.
            #[track_caller]
            pub fn forward(&self, input: &Tensor, target: &Tensor) -> Result<Tensor> {
                match &self.weight {
                    None => input.$method(target, &self.options),
                    Some(weight) => {
                        // The buffer is what state dicts load and devices move.
                        let weight = Some(weight.tensor().clone());
                        input.$method(target, &CrossEntropyOptions { weight, ..self.options.clone() })
                    }
                }
            }

            /// `forward` with the hooks of [`ModuleHooks`](crate::ModuleHooks), which see the first tensor.
            ///
            /// # Errors
            /// As `forward`, and what hooks fail with.
            #[track_caller]
            pub fn call(&self, input: &Tensor, target: &Tensor) -> Result<Tensor> {
                self.call_hooked(input, |input| self.forward(input, target))
            }
        }

        impl Module for $name {
            fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
                parts.add("training", &self.training);
                parts.add("weight", &self.weight);
            }
        }

        print_as_module!($name);
    )*};
}
class_losses! {
    CrossEntropyLoss cross_entropy;
    NLLLoss nll_loss;
}

impl CrossEntropyLoss {
    /// How much of the target's probability is spread over all classes.
    #[must_use]
    pub fn label_smoothing(mut self, label_smoothing: f64) -> CrossEntropyLoss {
        self.options.label_smoothing = label_smoothing;
        self
    }
}
