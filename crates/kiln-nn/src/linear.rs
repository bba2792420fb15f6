//! [`Linear`], and the layers that only change shapes: [`Flatten`], [`Unflatten`], [`Identity`](struct@Identity).

use kiln_autograd::{Result, Tensor};

use crate::draw::{self, Drawn, Fault, checked};
use crate::module::{Forward, Module};
use crate::parts::{Parameter, Parts, Training};
use crate::print::{print_as_module, python_bool};
use crate::without_settings;

/// `y = x W^T + b`: weight `[out_features, in_features]`, bias `[out_features]`, both drawn uniformly from
/// `+-1/sqrt(in_features)`.
///
/// Shapes: `[.., in_features] -> [.., out_features]`.
///
/// ```
/// use kiln_nn::{Forward, Linear, Tensor};
/// let layer = Linear::new(20, 30);
/// assert_eq!(layer.forward(&Tensor::from_vec(vec![1.0f32; 2560], [128, 20])?)?.dims(), [128, 30]);
/// assert_eq!(layer.to_string(), "Linear(in_features=20, out_features=30, bias=True)");
/// assert!(Linear::new(20, 30).bias(false).bias.is_none());
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub struct Linear {
    /// `[out_features, in_features]`
    pub weight: Parameter,
    /// `[out_features]`
    pub bias: Option<Parameter>,
    in_features: usize,
    out_features: usize,
    training: Training,
    ticket: u64,
    fault: Fault,
}

impl Linear {
    /// A layer with a bias.
    pub fn new(in_features: usize, out_features: usize) -> Linear {
        let mut fault = Fault::default();
        let drawn = draw::affine("Linear", &[out_features, in_features], out_features).unwrap_or_else(|e| {
            fault
                .note("Linear", format!("cannot be made with {in_features} by {out_features} features: {e}"));
            Drawn::none()
        });
        let Drawn { weight, bias, ticket } = drawn;
        Linear { weight, bias, in_features, out_features, training: Training::default(), ticket, fault }
    }

    /// Whether there is a bias (there is by default). Leaving it out leaves its numbers in the default stream, when
    /// said in the expression that makes the layer.
    #[must_use]
    pub fn bias(mut self, bias: bool) -> Linear {
        if !bias && self.bias.take().is_some() {
            draw::forget_bias(self.ticket);
        } else if bias && self.bias.is_none() {
            let layer = Linear::new(self.in_features, self.out_features);
            self.bias = layer.bias;
        }
        self
    }

    /// A layer with the given parameters.
    ///
    /// # Errors
    /// The weight is not a matrix, or the bias does not fit it.
    #[track_caller]
    pub fn from_parameters(weight: Parameter, bias: Option<Parameter>) -> Result<Linear> {
        let (w, b) = (weight.dims(), bias.as_ref().map(|b| b.dims()));
        if w.len() != 2 || b.as_ref().is_some_and(|b| b[..] != w[..1]) {
            return Err(kiln_autograd::Error::shape(
                "Linear",
                format!("expects a weight [out, in] and a bias [out], got {w:?} and {b:?}"),
            ));
        }
        Ok(Linear {
            in_features: w[1],
            out_features: w[0],
            weight,
            bias,
            training: Training::default(),
            ticket: 0,
            fault: Fault::default(),
        })
    }

    /// The size of the last axis of the input.
    pub fn in_features(&self) -> usize {
        self.in_features
    }

    /// The size of the last axis of the output.
    pub fn out_features(&self) -> usize {
        self.out_features
    }
}

impl Module for Linear {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
        parts.add("weight", &self.weight);
        parts.add("bias", &self.bias);
    }

    fn type_name(&self) -> &str {
        "Linear"
    }

    fn extra_repr(&self) -> String {
        let bias = python_bool(self.bias.is_some());
        format!("in_features={}, out_features={}, bias={bias}", self.in_features, self.out_features)
    }
}

impl Forward for Linear {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        self.fault.check()?;
        input.linear(&self.weight, self.bias.as_deref())
    }
}

/// Joins a range of axes into one, all but the first by default.
///
/// ```
/// use kiln_nn::{Flatten, Forward, Tensor};
/// assert_eq!(Flatten::new().forward(&Tensor::from_vec(vec![1.0f32; 800], [32, 1, 5, 5])?)?.dims(), [32, 25]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub struct Flatten {
    start_dim: i64,
    end_dim: i64,
    training: Training,
}

impl Flatten {
    /// Joins the axes from 1 to the last.
    pub fn new() -> Flatten {
        Flatten { start_dim: 1, end_dim: -1, training: Training::default() }
    }

    /// The first axis to join.
    #[must_use]
    pub fn start_dim(self, start_dim: i64) -> Flatten {
        Flatten { start_dim, ..self }
    }

    /// The last axis to join.
    #[must_use]
    pub fn end_dim(self, end_dim: i64) -> Flatten {
        Flatten { end_dim, ..self }
    }
}

impl Default for Flatten {
    fn default() -> Flatten {
        Flatten::new()
    }
}

impl Module for Flatten {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
    }

    fn extra_repr(&self) -> String {
        format!("start_dim={}, end_dim={}", self.start_dim, self.end_dim)
    }
}

impl Forward for Flatten {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        input.flatten(self.start_dim, self.end_dim)
    }
}

/// Splits one axis into several; one of the sizes may be -1.
///
/// ```
/// use kiln_nn::{Forward, Tensor, Unflatten};
/// assert_eq!(Unflatten::new(1, [2, 5, 5]).forward(&Tensor::from_vec(vec![1.0f32; 1600], [32, 50])?)?.dims(), [32, 2, 5, 5]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub struct Unflatten {
    dim: i64,
    sizes: Vec<i64>,
    training: Training,
}

impl Unflatten {
    /// Splits axis `dim` into `sizes`.
    pub fn new(dim: i64, sizes: impl Into<Vec<i64>>) -> Unflatten {
        Unflatten { dim, sizes: sizes.into(), training: Training::default() }
    }
}

impl Module for Unflatten {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
    }

    fn extra_repr(&self) -> String {
        let sizes: Vec<String> = self.sizes.iter().map(i64::to_string).collect();
        let comma = if sizes.len() == 1 { "," } else { "" };
        format!("dim={}, unflattened_size=({}{comma})", self.dim, sizes.join(", "))
    }
}

impl Forward for Unflatten {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        input.unflatten(self.dim, &self.sizes[..])
    }
}

without_settings! {
    /// Gives back its input: takes the place of a layer that is to do nothing.
    Identity
}

impl Module for Identity {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
    }
}

impl Forward for Identity {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        Ok(input.clone())
    }
}

checked!(Linear);
print_as_module!(Linear, Flatten, Unflatten, Identity);
