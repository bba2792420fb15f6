//! Normalisation without running statistics: [`LayerNorm`], [`RMSNorm`], [`GroupNorm`], [`LocalResponseNorm`] and
//! [`CrossMapLRN2d`].

use kiln_autograd::{Device, Error, Result, Shape, Tensor, default_dtype, kiln_ops};

use crate::draw::{Fault, checked};
use crate::module::{Forward, Module};
use crate::parts::{Parameter, Parts, Training};
use crate::print::{print_as_module, python_bool, python_float};
use crate::size::tuple;

/// A parameter with one value everywhere; an impossible shape is remembered.
fn filled(op: &'static str, shape: &Shape, value: f64, fault: &mut Fault) -> Option<Parameter> {
    kiln_ops::full(shape, value.into(), default_dtype(), Device::CPU)
        .and_then(|raw| Parameter::new(Tensor::from_raw(raw)))
        .map_err(|e| fault.note(op, format!("cannot be made for the shape {shape:?}: {e}")))
        .ok()
}

/// Normalised over the last axes, `(x - mean) / sqrt(var + eps) * weight + bias`: Ba et al., "Layer normalization" (2016).
///
/// Shapes: `[.., normalized_shape..] -> [.., normalized_shape..]`.
///
/// ```
/// use kiln_nn::{Forward, LayerNorm, Tensor};
/// let norm = LayerNorm::new(2);
/// let y = norm.forward(&Tensor::from_vec(vec![1.0f32, 3.0], [1, 2])?)?.to_vec::<f32>()?;
/// assert!((y[0] + 1.0).abs() < 1e-4 && (y[1] - 1.0).abs() < 1e-4);
/// assert_eq!(norm.to_string(), "LayerNorm((2,), eps=1e-05, elementwise_affine=True, bias=True)");
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub struct LayerNorm {
    /// Of the normalised shape.
    pub weight: Option<Parameter>,
    /// Of the normalised shape.
    pub bias: Option<Parameter>,
    shape: Shape,
    eps: f64,
    training: Training,
    fault: Fault,
}

impl LayerNorm {
    /// A layer that normalises over these last sizes, with a weight and a bias.
    pub fn new(normalized_shape: impl Into<Shape>) -> LayerNorm {
        let layer = LayerNorm {
            weight: None,
            bias: None,
            shape: normalized_shape.into(),
            eps: 1e-5,
            training: Training::default(),
            fault: Fault::default(),
        };
        layer.elementwise_affine(true)
    }

    /// What is added to the variance (1e-5 by default).
    #[must_use]
    pub fn eps(self, eps: f64) -> LayerNorm {
        LayerNorm { eps, ..self }
    }

    /// Whether there is a learned weight and bias for each element.
    #[must_use]
    pub fn elementwise_affine(mut self, affine: bool) -> LayerNorm {
        self.weight = affine.then(|| filled("LayerNorm", &self.shape, 1.0, &mut self.fault)).flatten();
        self.bias(affine)
    }

    /// Whether there is a bias where there is a weight.
    #[must_use]
    pub fn bias(mut self, bias: bool) -> LayerNorm {
        let bias = bias && self.weight.is_some();
        self.bias = bias.then(|| filled("LayerNorm", &self.shape, 0.0, &mut self.fault)).flatten();
        self
    }
}

impl Module for LayerNorm {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
        parts.add("weight", &self.weight);
        parts.add("bias", &self.bias);
    }

    fn extra_repr(&self) -> String {
        format!(
            "{}, eps={}, elementwise_affine={}, bias={}",
            tuple(self.shape.dims()),
            python_float(self.eps),
            python_bool(self.weight.is_some()),
            python_bool(self.bias.is_some())
        )
    }
}

impl Forward for LayerNorm {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        self.fault.check()?;
        input.layer_norm(self.shape.dims(), self.weight.as_deref(), self.bias.as_deref(), self.eps)
    }
}

/// Divided by the root of the mean square over the last axes, `x / sqrt(mean(x^2) + eps) * weight`: Zhang and Sennrich,
/// "Root mean square layer normalization" (2019).
///
/// Shapes: as [`LayerNorm`].
pub struct RMSNorm {
    /// Of the normalised shape.
    pub weight: Option<Parameter>,
    shape: Shape,
    eps: Option<f64>,
    training: Training,
    fault: Fault,
}

impl RMSNorm {
    /// A layer that normalises over these last sizes, with a weight.
    pub fn new(normalized_shape: impl Into<Shape>) -> RMSNorm {
        let layer = RMSNorm {
            weight: None,
            shape: normalized_shape.into(),
            eps: None,
            training: Training::default(),
            fault: Fault::default(),
        };
        layer.elementwise_affine(true)
    }

    /// What is added to the mean square; by default the distance from 1 to the next number of the input's dtype.
    #[must_use]
    pub fn eps(self, eps: impl Into<Option<f64>>) -> RMSNorm {
        RMSNorm { eps: eps.into(), ..self }
    }

    /// Whether there is a learned weight for each element.
    #[must_use]
    pub fn elementwise_affine(mut self, affine: bool) -> RMSNorm {
        self.weight = affine.then(|| filled("RMSNorm", &self.shape, 1.0, &mut self.fault)).flatten();
        self
    }
}

impl Module for RMSNorm {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
        parts.add("weight", &self.weight);
    }

    fn extra_repr(&self) -> String {
        format!(
            "{}, eps={}, elementwise_affine={}",
            tuple(self.shape.dims()),
            self.eps.map_or("None".to_owned(), python_float),
            python_bool(self.weight.is_some())
        )
    }
}

impl Forward for RMSNorm {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        self.fault.check()?;
        input.rms_norm(self.shape.dims(), self.weight.as_deref(), self.eps)
    }
}

/// Normalised over groups of channels and all positions: Wu and He, "Group normalization" (2018).
///
/// Shapes: `[n, channels, sizes..] -> [n, channels, sizes..]`.
pub struct GroupNorm {
    /// `[channels]`
    pub weight: Option<Parameter>,
    /// `[channels]`
    pub bias: Option<Parameter>,
    groups: usize,
    channels: usize,
    eps: f64,
    training: Training,
    fault: Fault,
}

impl GroupNorm {
    /// A layer for so many channels in so many groups, with a weight and a bias.
    pub fn new(num_groups: usize, num_channels: usize) -> GroupNorm {
        let mut fault = Fault::default();
        if num_groups == 0 || !num_channels.is_multiple_of(num_groups) {
            fault.note(
                "GroupNorm",
                format!("num_channels ({num_channels}) must be divisible by num_groups ({num_groups})"),
            );
        }
        let layer = GroupNorm {
            weight: None,
            bias: None,
            groups: num_groups,
            channels: num_channels,
            eps: 1e-5,
            training: Training::default(),
            fault,
        };
        layer.affine(true)
    }

    /// What is added to the variance (1e-5 by default).
    #[must_use]
    pub fn eps(self, eps: f64) -> GroupNorm {
        GroupNorm { eps, ..self }
    }

    /// Whether there is a learned weight and bias for each channel.
    #[must_use]
    pub fn affine(mut self, affine: bool) -> GroupNorm {
        let shape = Shape::from(self.channels);
        self.weight = affine.then(|| filled("GroupNorm", &shape, 1.0, &mut self.fault)).flatten();
        self.bias(affine)
    }

    /// Whether there is a bias where there is a weight.
    #[must_use]
    pub fn bias(mut self, bias: bool) -> GroupNorm {
        let (shape, bias) = (Shape::from(self.channels), bias && self.weight.is_some());
        self.bias = bias.then(|| filled("GroupNorm", &shape, 0.0, &mut self.fault)).flatten();
        self
    }
}

impl Module for GroupNorm {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
        parts.add("weight", &self.weight);
        parts.add("bias", &self.bias);
    }

    fn extra_repr(&self) -> String {
        format!(
            "{}, {}, eps={}, affine={}, bias={}",
            self.groups,
            self.channels,
            python_float(self.eps),
            python_bool(self.weight.is_some()),
            python_bool(self.bias.is_some())
        )
    }
}

impl Forward for GroupNorm {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        self.fault.check()?;
        if input.rank() >= 2 && input.size(1)? != self.channels && self.weight.is_some() {
            return Err(Error::shape(
                "GroupNorm",
                format!("expected {} channels, got an input of shape {:?}", self.channels, input.shape()),
            ));
        }
        input.group_norm(self.groups, self.weight.as_deref(), self.bias.as_deref(), self.eps)
    }
}

/// Layers with the numbers of a local response.
macro_rules! local_responses {
    ($($(#[$doc:meta])* $name:ident: $method:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name {
            size: usize,
            alpha: f64,
            beta: f64,
            k: f64,
            training: Training,
        }

        impl $name {
            /// Over so many channels, with PyTorch's numbers: alpha 1e-4, beta 0.75, k 1.
            pub fn new(size: usize) -> $name {
                $name { size, alpha: 1e-4, beta: 0.75, k: 1.0, training: Training::default() }
            }

            /// The factor of the mean square.
            #[must_use]
            pub fn alpha(self, alpha: f64) -> $name {
                $name { alpha, ..self }
            }

            /// The exponent.
            #[must_use]
            pub fn beta(self, beta: f64) -> $name {
                $name { beta, ..self }
            }

            /// The summand.
            #[must_use]
            pub fn k(self, k: f64) -> $name {
                $name { k, ..self }
            }
        }

        impl Module for $name {
            fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
                parts.add("training", &self.training);
            }

            fn extra_repr(&self) -> String {
                let [alpha, beta, k] = [self.alpha, self.beta, self.k].map(python_float);
                format!("{}, alpha={alpha}, beta={beta}, k={k}", self.size)
            }
        }

        impl Forward for $name {
            #[track_caller]
            fn forward(&self, input: &Tensor) -> Result<Tensor> {
                input.$method(self.size, self.alpha, self.beta, self.k)
            }
        }

        print_as_module!($name);
    )*};
}

local_responses! {
    /// Divided by a power of the mean square over the channels near by: see [`Tensor::local_response_norm`].
    LocalResponseNorm: local_response_norm;
    /// The form of [`LocalResponseNorm`] for `[n, c, height, width]` with as many channels before as behind: see
    /// [`Tensor::cross_map_lrn2d`].
    CrossMapLRN2d: cross_map_lrn2d;
}

checked!(LayerNorm, RMSNorm, GroupNorm);
print_as_module!(LayerNorm, RMSNorm, GroupNorm);
