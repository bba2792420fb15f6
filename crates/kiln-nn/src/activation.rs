//! Activations without numbers of their own: functions of each element, and the softmax family.

use kiln_autograd::{Result, Tensor};

use crate::module::{Forward, Module};
use crate::parts::{Parts, Training};
use crate::print::print_as_module;

/// A layer type without settings. Its name alone, as a value, is the layer too.
macro_rules! without_settings {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Default)]
        pub struct $name {
            training: $crate::Training,
        }

        impl $name {
            /// The layer.
            pub const fn new() -> $name {
                $name { training: $crate::Training::new() }
            }
        }

        /// The layer: each use of the name is another one.
        #[allow(non_upper_case_globals)] // `sequential![Linear::new(4, 8), ReLU]`
        #[allow(clippy::declare_interior_mutable_const)] // A new layer each time is what is meant.
        pub const $name: $name = $name::new();
    };
}
pub(crate) use without_settings;

/// Layers without settings: a row is the documentation, the name and the tensor's method.
macro_rules! activations {
    ($($(#[$doc:meta])* $name:ident: $method:ident;)*) => {$(
        without_settings! {
            $(#[$doc])*
            ///
            /// Shapes: `[*] -> [*]`.
            $name
        }

        impl Module for $name {
            fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
                parts.add("training", &self.training);
            }
        }

        impl Forward for $name {
            #[track_caller]
            fn forward(&self, input: &Tensor) -> Result<Tensor> {
                input.$method()
            }
        }

        print_as_module!($name);
    )*};
}

activations! {
    /// `max(x, 0)`.
    ///
    /// ```
    /// use kiln_nn::{Forward, ReLU, Tensor};
    /// let x = Tensor::from_vec(vec![-1.0f32, 2.0], [2])?;
    /// assert_eq!(ReLU.forward(&x)?.to_vec::<f32>()?, [0.0, 2.0]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    ReLU: relu;
    /// `1 / (1 + e^-x)`.
    Sigmoid: sigmoid;
    /// Hyperbolic tangent.
    Tanh: tanh;
    /// `x sigmoid(x)`, also called swish.
    SiLU: silu;
    /// `ln(sigmoid(x))`, without overflow.
    LogSigmoid: log_sigmoid;
    /// `min(max(x, 0), 6)`.
    ReLU6: relu6;
    /// The self-normalising linear unit (Klambauer et al., "Self-normalizing neural networks", 2017).
    SELU: selu;
    /// `x tanh(ln(1 + e^x))` (Misra, "Mish: a self regularized non-monotonic activation function", 2019).
    Mish: mish;
    /// `x / (1 + |x|)`.
    Softsign: softsign;
    /// `x - tanh(x)`.
    Tanhshrink: tanhshrink;
    /// `relu6(x + 3) / 6`.
    Hardsigmoid: hardsigmoid;
    /// `x relu6(x + 3) / 6` (Howard et al., "Searching for MobileNetV3", 2019).
    Hardswish: hardswish;
}

/// `x P(N <= x)` for a standard normal `N`: Hendrycks and Gimpel, "Gaussian error linear units" (2016).
///
/// Shapes: `[*] -> [*]`.
#[derive(Clone, Default)]
pub struct GELU {
    tanh: bool,
    training: Training,
}

impl GELU {
    /// The exact form.
    pub fn new() -> GELU {
        GELU::default()
    }

    /// The approximation with tanh (`approximate='tanh'`).
    pub fn tanh() -> GELU {
        GELU { tanh: true, training: Training::default() }
    }
}

impl Module for GELU {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
    }

    fn extra_repr(&self) -> String {
        format!("approximate='{}'", if self.tanh { "tanh" } else { "none" })
    }
}

impl Forward for GELU {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        if self.tanh { input.gelu_tanh() } else { input.gelu() }
    }
}

/// Layers along one axis.
macro_rules! softmaxes {
    ($($(#[$doc:meta])* $name:ident: $method:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// Shapes: `[*] -> [*]`.
        #[derive(Clone)]
        pub struct $name {
            dim: i64,
            training: Training,
        }

        impl $name {
            /// Along axis `dim`; negative axes count from the end.
            pub fn new(dim: i64) -> $name {
                $name { dim, training: Training::default() }
            }
        }

        impl Module for $name {
            fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
                parts.add("training", &self.training);
            }

            fn extra_repr(&self) -> String {
                format!("dim={}", self.dim)
            }
        }

        impl Forward for $name {
            #[track_caller]
            fn forward(&self, input: &Tensor) -> Result<Tensor> {
                input.$method(self.dim)
            }
        }

        print_as_module!($name);
    )*};
}

softmaxes! {
    /// `e^x / sum(e^x)`.
    Softmax: softmax;
    /// `ln(softmax(x))`.
    LogSoftmax: log_softmax;
    /// `softmax(-x)`.
    Softmin: softmin;
}

print_as_module!(GELU);
