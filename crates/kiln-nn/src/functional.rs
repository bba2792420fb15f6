//! Layers and losses as functions: what PyTorch keeps in `torch.nn.functional` and what is not a method of a tensor.
//!
//! Functions with PyTorch's name and arguments that are a method (`x.relu()`, `x.softmax(1)`, `x.linear(..)`,
//! `x.conv2d(..)`) are not repeated here, but for those that a tutorial writes with fewer arguments.

pub use kiln_autograd::{CrossEntropyOptions, Reduction};

use kiln_autograd::kiln_ops::random::default_generator;
use kiln_autograd::{Result, Tensor, no_grad, record};

use crate::draw::{Law, drawn_like};
use crate::size::Pair;

/// Zeros elements with probability `p` and divides the others by `1 - p`, when `training`; else gives back its input.
///
/// # Errors
/// `p` is not between 0 and 1.
pub fn dropout(input: &Tensor, p: f64, training: bool) -> Result<Tensor> {
    if !(0.0..=1.0).contains(&p) {
        return Err(kiln_autograd::Error::value(
            "dropout",
            format!("dropout probability has to be between 0 and 1, but got {p}"),
        ));
    }
    if !training || p == 0.0 || input.numel() == 0 {
        return Ok(input.clone());
    }
    let mask = drawn_like(input, Law::Dropout(p), &mut default_generator())?;
    input.mul(&mask)
}

/// The largest of each window; windows do not overlap.
///
/// # Errors
/// As [`Tensor::max_pool2d`].
pub fn max_pool2d(input: &Tensor, kernel_size: impl Into<Pair>) -> Result<Tensor> {
    let kernel = kernel_size.into().sizes();
    input.max_pool2d(kernel, kernel, [0, 0], [1, 1], false)
}

/// The mean of each window; windows do not overlap.
///
/// # Errors
/// As [`Tensor::avg_pool2d`].
pub fn avg_pool2d(input: &Tensor, kernel_size: impl Into<Pair>) -> Result<Tensor> {
    let kernel = kernel_size.into().sizes();
    input.avg_pool2d(kernel, kernel, [0, 0], false, true, None)
}

/// The mean cross entropy between logits and classes or probabilities; see [`Tensor::cross_entropy`] for options.
///
/// # Errors
/// As [`Tensor::cross_entropy`].
pub fn cross_entropy(input: &Tensor, target: &Tensor) -> Result<Tensor> {
    input.cross_entropy(target, &CrossEntropyOptions::default())
}

/// The mean negative log likelihood of classes under log probabilities; see [`Tensor::nll_loss`] for options.
///
/// # Errors
/// As [`Tensor::nll_loss`].
pub fn nll_loss(input: &Tensor, target: &Tensor) -> Result<Tensor> {
    input.nll_loss(target, &CrossEntropyOptions::default())
}

/// `x` where it is positive, else `negative_slope x`.
///
/// # Errors
/// Memory that is lent out or not there.
pub fn leaky_relu(input: &Tensor, negative_slope: f64) -> Result<Tensor> {
    input.where_self(&input.gt(0.0)?, &input.mul(negative_slope)?)
}

/// The squared differences, reduced.
///
/// # Errors
/// Shapes that do not broadcast, different devices.
pub fn mse_loss(input: &Tensor, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
    let y = no_grad(|| reduce(&difference("mse_loss", input, target)?.square()?, reduction))?;
    let slope =
        move |d: Tensor, n: usize| d.mul(if reduction == Reduction::Mean { 2.0 / n as f64 } else { 2.0 });
    Ok(record_difference("MseLossBackward0", y, input, target, slope))
}

/// The absolute differences, reduced. The derivative where both are equal is 0.
///
/// # Errors
/// Shapes that do not broadcast, different devices.
pub fn l1_loss(input: &Tensor, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
    let y = no_grad(|| reduce(&difference("l1_loss", input, target)?.abs()?, reduction))?;
    let slope = move |d: Tensor, n: usize| {
        let sign = d.sign()?;
        if reduction == Reduction::Mean { sign.mul(1.0 / n as f64) } else { Ok(sign) }
    };
    Ok(record_difference("L1LossBackward0", y, input, target, slope))
}

/// Applies a reduction to what each element loses.
fn reduce(losses: &Tensor, reduction: Reduction) -> Result<Tensor> {
    match reduction {
        Reduction::None => Ok(losses.clone()),
        Reduction::Mean => losses.mean(),
        Reduction::Sum => losses.sum(),
    }
}

fn difference(op: &'static str, input: &Tensor, target: &Tensor) -> Result<Tensor> {
    let (a, b) = (input.shape(), target.shape());
    if a != b {
        // Most often a forgotten squeeze: [n, 1] against [n] gives n x n differences, and no error.
        static SAID: std::sync::Once = std::sync::Once::new();
        SAID.call_once(|| {
            eprintln!(
                "kiln: {op}: Using a target size {b:?} that is different to the input size {a:?}. This will likely lead to \
                 incorrect results due to broadcasting. Please ensure they have the same size. (said once)"
            );
        });
    }
    input.sub(target)
}

/// Records `y` as a function of the difference of its operands: `slope` is its derivative, from the difference and how
/// many there are. One node and one saved pair, where the composition would make three nodes.
fn record_difference(
    name: &'static str,
    y: Tensor,
    input: &Tensor,
    target: &Tensor,
    slope: impl Fn(Tensor, usize) -> Result<Tensor> + Clone + Send + Sync + 'static,
) -> Tensor {
    let gradient = |sign: f64| {
        let (a, b, slope) = (input.save(), target.save(), slope.clone());
        move |g: &Tensor| {
            let d = a.get()?.sub(&b.get()?)?;
            let n = d.numel();
            let slope = slope(d, n)?;
            g.mul(&if sign < 0.0 { slope.neg()? } else { slope })
        }
    };
    let raw = y.raw().clone();
    record(name, raw).input(input, || gradient(1.0)).input(target, || gradient(-1.0)).done()
}
