//! Activations with numbers of their own, fixed, learned or drawn.

use kiln_autograd::{Device, Error, Result, Tensor, default_dtype, kiln_ops};

use crate::draw::Fault;
use crate::module::{Forward, Module};
use crate::parts::{Parameter, Parts, Training};
use crate::print::{print_as_module, python_float};
use crate::without_settings;

/// Layers with numbers: a row is the documentation, the name, the tensor's method and the numbers with PyTorch's defaults.
macro_rules! activations {
    ($($(#[$doc:meta])* $name:ident: $method:ident($($number:ident $default:expr),+) $shown:literal;)*) => {$(
        $(#[$doc])*
        ///
        /// Shapes: `[*] -> [*]`.
        #[derive(Clone)]
        pub struct $name {
            $($number: f64,)+
            training: Training,
        }

        impl $name {
            /// With these numbers.
            pub fn new($($number: f64),+) -> $name {
                $name { $($number,)+ training: Training::default() }
            }
        }

        impl Default for $name {
            /// With PyTorch's numbers.
            fn default() -> $name {
                $name::new($($default),+)
            }
        }

        impl Module for $name {
            fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
                parts.add("training", &self.training);
            }

            fn extra_repr(&self) -> String {
                format!($shown, $($number = self.$number),+)
            }
        }

        impl Forward for $name {
            #[track_caller]
            fn forward(&self, input: &Tensor) -> Result<Tensor> {
                input.$method($(self.$number),+)
            }
        }

        print_as_module!($name);
    )*};
}

activations! {
    /// `x` where it is positive, else `negative_slope x`.
    LeakyReLU: leaky_relu(negative_slope 0.01) "negative_slope={negative_slope}";
    /// `x` where it is positive, else `alpha (e^x - 1)`: Clevert et al., "Fast and accurate deep network learning by
    /// exponential linear units" (2015).
    ELU: elu(alpha 1.0) "alpha={alpha:?}";
    /// `x` where it is positive, else `alpha (e^(x / alpha) - 1)`: Barron, "Continuously differentiable exponential linear
    /// units" (2017).
    CELU: celu(alpha 1.0) "alpha={alpha:?}";
    /// `min(max(x, min_val), max_val)`.
    Hardtanh: hardtanh(min_val -1.0, max_val 1.0) "min_val={min_val:?}, max_val={max_val:?}";
    /// `ln(1 + e^(beta x)) / beta`, and `x` itself where `beta x` is above the threshold.
    Softplus: softplus(beta 1.0, threshold 20.0) "beta={beta:?}, threshold={threshold:?}";
    /// `x` outside of `+-lambd`, 0 within.
    Hardshrink: hardshrink(lambd 0.5) "{lambd}";
    /// `x` moved towards 0 by `lambd`, 0 within.
    Softshrink: softshrink(lambd 0.5) "{lambd}";
}

/// `x` above the threshold, `value` elsewhere.
///
/// Shapes: `[*] -> [*]`.
#[derive(Clone)]
pub struct Threshold {
    threshold: f64,
    value: f64,
    training: Training,
}

impl Threshold {
    /// With this limit and this value.
    pub fn new(threshold: f64, value: f64) -> Threshold {
        Threshold { threshold, value, training: Training::default() }
    }
}

impl Module for Threshold {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
    }

    fn extra_repr(&self) -> String {
        format!("threshold={}, value={}", python_float(self.threshold), python_float(self.value))
    }
}

impl Forward for Threshold {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        input.threshold(self.threshold, self.value)
    }
}

/// The first half of an axis times the sigmoid of the second: Dauphin et al., "Language modeling with gated convolutional
/// networks" (2016).
///
/// Shapes: an even size along the axis becomes half of it.
#[derive(Clone)]
pub struct GLU {
    dim: i64,
    training: Training,
}

impl GLU {
    /// Along axis `dim`; negative axes count from the end.
    pub fn new(dim: i64) -> GLU {
        GLU { dim, training: Training::default() }
    }
}

impl Default for GLU {
    /// Along the last axis.
    fn default() -> GLU {
        GLU::new(-1)
    }
}

impl Module for GLU {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
    }

    fn extra_repr(&self) -> String {
        format!("dim={}", self.dim)
    }
}

impl Forward for GLU {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        input.glu(self.dim)
    }
}

/// [`LeakyReLU`] with learned slopes, one for all or one for each channel: He et al., "Delving deep into rectifiers" (2015).
///
/// Shapes: `[*] -> [*]`, channels at axis 1.
///
/// ```
/// use kiln_nn::{Forward, PReLU, Tensor};
/// let x = Tensor::from_vec(vec![-4.0f32, 2.0], [2])?;
/// assert_eq!(PReLU::new(1).forward(&x)?.to_vec::<f32>()?, [-1.0, 2.0]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub struct PReLU {
    /// `[num_parameters]`
    pub weight: Parameter,
    num_parameters: usize,
    training: Training,
    fault: Fault,
}

impl PReLU {
    /// With so many slopes, 1 or one for each channel, that start at 0.25.
    pub fn new(num_parameters: usize) -> PReLU {
        PReLU::with_init(num_parameters, 0.25)
    }

    /// With slopes that start at `init`.
    pub fn with_init(num_parameters: usize, init: f64) -> PReLU {
        let mut fault = Fault::default();
        let made = kiln_ops::full(&[num_parameters].into(), init.into(), default_dtype(), Device::CPU);
        let weight = made.and_then(|raw| Parameter::new(Tensor::from_raw(raw))).unwrap_or_else(|e| {
            fault.note("PReLU", format!("cannot be made with {num_parameters} parameters: {e}"));
            crate::draw::Drawn::none().weight
        });
        PReLU { weight, num_parameters, training: Training::default(), fault }
    }
}

impl Default for PReLU {
    fn default() -> PReLU {
        PReLU::new(1)
    }
}

impl Module for PReLU {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
        parts.add("weight", &self.weight);
    }

    fn extra_repr(&self) -> String {
        format!("num_parameters={}", self.num_parameters)
    }
}

impl Forward for PReLU {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        self.fault.check()?;
        input.prelu(&self.weight)
    }
}

/// [`LeakyReLU`] with slopes drawn uniformly while training, their mean while evaluating: Xu et al., "Empirical evaluation of
/// rectified activations in convolution network" (2015).
///
/// Shapes: `[*] -> [*]`.
pub struct RReLU {
    lower: f64,
    upper: f64,
    training: Training,
}

impl RReLU {
    /// With slopes from this range.
    pub fn new(lower: f64, upper: f64) -> RReLU {
        RReLU { lower, upper, training: Training::default() }
    }
}

impl Default for RReLU {
    /// With slopes from 1/8 to 1/3.
    fn default() -> RReLU {
        RReLU::new(1.0 / 8.0, 1.0 / 3.0)
    }
}

impl Module for RReLU {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
    }

    fn extra_repr(&self) -> String {
        format!("lower={}, upper={}", python_float(self.lower), python_float(self.upper))
    }
}

impl Forward for RReLU {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        input.rrelu(self.lower, self.upper, self.training.get())
    }
}

without_settings! {
    /// [`Softmax`](crate::Softmax) over the channels of images: `[n, c, h, w]` or `[c, h, w]`.
    Softmax2d
}

impl Module for Softmax2d {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
    }
}

impl Forward for Softmax2d {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        if !(3..=4).contains(&input.rank()) {
            return Err(Error::shape(
                "Softmax2d",
                format!("expected input to be 3D or 4D, got {}D instead", input.rank()),
            ));
        }
        input.softmax(-3)
    }
}

print_as_module!(Threshold, GLU, PReLU, RReLU, Softmax2d);
