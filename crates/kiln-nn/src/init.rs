//! Initialisers: fill a tensor in place, unrecorded, with PyTorch's numbers after `manual_seed`.
//!
//! Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010), is the source
//! of the xavier forms, He et al., "Delving deep into rectifiers" (2015), of the kaiming forms.
//!
//! ```
//! use kiln_nn::{Linear, init};
//! let layer = Linear::new(300, 100);
//! init::kaiming_normal_(&layer.weight, init::Fan::Out, init::Nonlinearity::Relu)?;
//! init::zeros_(layer.bias.as_ref().unwrap())?;
//! # Ok::<(), kiln_nn::Error>(())
//! ```

mod patterns;
mod truncated;

pub use patterns::{dirac_, eye_, orthogonal_, sparse_};
pub use truncated::trunc_normal_;

use kiln_autograd::{Error, Here, Result, Scalar, Tensor, no_grad};

/// Numbers uniform in `[from, to)`.
///
/// # Errors
/// The dtype is not floating point, or `from > to`.
#[track_caller]
pub fn uniform_(t: &Tensor, from: f64, to: f64) -> Result<()> {
    no_grad(|| t.uniform_(from, to)).here()
}

/// Normal numbers.
///
/// # Errors
/// The dtype is not floating point, or `std` is negative.
#[track_caller]
pub fn normal_(t: &Tensor, mean: f64, std: f64) -> Result<()> {
    no_grad(|| t.normal_(mean, std)).here()
}

/// One number everywhere.
///
/// # Errors
/// Elements that share memory.
#[track_caller]
pub fn constant_(t: &Tensor, value: impl Into<Scalar>) -> Result<()> {
    no_grad(|| t.fill_(value)).here()
}

/// Ones.
///
/// # Errors
/// As [`constant_`].
#[track_caller]
pub fn ones_(t: &Tensor) -> Result<()> {
    constant_(t, 1.0)
}

/// Zeros.
///
/// # Errors
/// As [`constant_`].
#[track_caller]
pub fn zeros_(t: &Tensor) -> Result<()> {
    constant_(t, 0.0)
}

/// The function that follows a layer, for [`calculate_gain`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Nonlinearity {
    /// None: also for convolutions.
    Linear,
    /// The logistic function.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `max(x, 0)`.
    Relu,
    /// With this slope below 0.
    LeakyRelu(f64),
    /// The self-normalising linear unit.
    Selu,
}

/// The factor by which weights are larger so that a layer with this function after it keeps the variance.
pub fn calculate_gain(nonlinearity: Nonlinearity) -> f64 {
    match nonlinearity {
        Nonlinearity::Linear | Nonlinearity::Sigmoid => 1.0,
        Nonlinearity::Tanh => 5.0 / 3.0,
        Nonlinearity::Relu => 2f64.sqrt(),
        Nonlinearity::LeakyRelu(slope) => (2.0 / (1.0 + slope * slope)).sqrt(),
        Nonlinearity::Selu => 0.75,
    }
}

/// Which side of a layer keeps its variance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fan {
    /// The number of inputs of a unit: the forward pass keeps its variance.
    In,
    /// The number of units that an input reaches: the backward pass does.
    Out,
}

/// The numbers of inputs and of outputs of a weight `[out, in, kernel..]`.
///
/// # Errors
/// The tensor has fewer than two axes.
#[track_caller]
pub fn calculate_fans(t: &Tensor) -> Result<(usize, usize)> {
    let dims = t.dims();
    let [outputs, inputs, kernel @ ..] = &dims[..] else {
        return Err(Error::shape(
            "init",
            format!(
                "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got shape {dims:?}"
            ),
        ));
    };
    let field: usize = kernel.iter().product();
    Ok((inputs * field, outputs * field))
}

#[track_caller]
fn xavier_std(t: &Tensor, gain: f64) -> Result<f64> {
    let (inputs, outputs) = calculate_fans(t)?;
    Ok(gain * (2.0 / (inputs + outputs) as f64).sqrt())
}

#[track_caller]
fn kaiming_std(t: &Tensor, fan: Fan, nonlinearity: Nonlinearity) -> Result<f64> {
    let (inputs, outputs) = calculate_fans(t)?;
    let fan = if fan == Fan::In { inputs } else { outputs };
    Ok(calculate_gain(nonlinearity) / (fan as f64).sqrt())
}

/// Uniform in `+-gain sqrt(6 / (fan_in + fan_out))`; the gain is 1 in PyTorch by default.
///
/// # Errors
/// The tensor has fewer than two axes or is not floating point.
#[track_caller]
pub fn xavier_uniform_(t: &Tensor, gain: f64) -> Result<()> {
    let bound = 3f64.sqrt() * xavier_std(t, gain)?;
    uniform_(t, -bound, bound)
}

/// Normal with standard deviation `gain sqrt(2 / (fan_in + fan_out))`.
///
/// # Errors
/// As [`xavier_uniform_`].
#[track_caller]
pub fn xavier_normal_(t: &Tensor, gain: f64) -> Result<()> {
    normal_(t, 0.0, xavier_std(t, gain)?)
}

/// Uniform in `+-gain sqrt(3 / fan)`. PyTorch's default is `Fan::In` with `LeakyRelu(0.0)`.
///
/// # Errors
/// As [`xavier_uniform_`].
#[track_caller]
pub fn kaiming_uniform_(t: &Tensor, fan: Fan, nonlinearity: Nonlinearity) -> Result<()> {
    if t.numel() == 0 {
        return Ok(());
    }
    let bound = 3f64.sqrt() * kaiming_std(t, fan, nonlinearity)?;
    uniform_(t, -bound, bound)
}

/// Normal with standard deviation `gain / sqrt(fan)`.
///
/// # Errors
/// As [`xavier_uniform_`].
#[track_caller]
pub fn kaiming_normal_(t: &Tensor, fan: Fan, nonlinearity: Nonlinearity) -> Result<()> {
    if t.numel() == 0 {
        return Ok(());
    }
    normal_(t, 0.0, kaiming_std(t, fan, nonlinearity)?)
}
