//! Layers and losses as functions: what PyTorch keeps in `torch.nn.functional` and what is not a method of a tensor.
//!
//! Functions with PyTorch's name and arguments that are a method (`x.relu()`, `x.softmax(1)`, `x.linear(..)`,
//! `x.conv2d(..)`) are not repeated here, but for those that a tutorial writes with fewer arguments.

use std::sync::Once;

pub use kiln_autograd::{CrossEntropyOptions, Reduction};

use kiln_autograd::{Result, Tensor};

use crate::size::Pair;

/// Zeros elements with probability `p` and divides the others by `1 - p`, when `training`; else gives back its input.
///
/// # Errors
/// `p` is not between 0 and 1.
#[track_caller]
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
    input.mul(&input.dropout_mask(p)?)
}

/// A convolution over sequences with the steps first: input `[steps, n, in]`, weight `[kernel, in, out]`, bias `[out]`,
/// `pad` zeros on both ends (`torch.conv_tbc`).
///
/// ```
/// use kiln_nn::{Tensor, functional};
/// let (x, w, b) = (Tensor::ones([5, 2, 3]), Tensor::ones([2, 3, 4]), Tensor::zeros([4]));
/// assert_eq!(functional::conv_tbc(&x, &w, &b, 1)?.dims(), [6, 2, 4]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
///
/// # Errors
/// Shapes that do not fit.
#[track_caller]
pub fn conv_tbc(input: &Tensor, weight: &Tensor, bias: &Tensor, pad: usize) -> Result<Tensor> {
    if input.rank() != 3 || weight.rank() != 3 {
        let text = format!(
            "expects an input [steps, n, in] and a weight [kernel, in, out], got {:?} and {:?}",
            input.shape(),
            weight.shape()
        );
        return Err(kiln_autograd::Error::shape("conv_tbc", text));
    }
    let (x, w) = (input.permute(&[1, 2, 0])?, weight.permute(&[2, 1, 0])?);
    x.conv1d(&w, Some(bias), [1], [pad], [1], 1)?.permute(&[2, 0, 1])
}

/// Zeros whole channels, `[n, c, length]` or `[c, length]`, with probability `p`, when `training`.
///
/// # Errors
/// `p` is not between 0 and 1, or another rank.
#[track_caller]
pub fn dropout1d(input: &Tensor, p: f64, training: bool) -> Result<Tensor> {
    crate::dropout::channels("dropout1d", input, 1, p, training)
}

/// Zeros whole channels, `[n, c, height, width]`, with probability `p`, when `training`.
///
/// # Errors
/// As [`dropout1d`].
#[track_caller]
pub fn dropout2d(input: &Tensor, p: f64, training: bool) -> Result<Tensor> {
    crate::dropout::channels("dropout2d", input, 2, p, training)
}

/// Zeros whole channels, `[n, c, depth, height, width]` or without `n`, with probability `p`, when `training`.
///
/// # Errors
/// As [`dropout1d`].
#[track_caller]
pub fn dropout3d(input: &Tensor, p: f64, training: bool) -> Result<Tensor> {
    crate::dropout::channels("dropout3d", input, 3, p, training)
}

/// The largest of each window; windows do not overlap.
///
/// # Errors
/// As [`Tensor::max_pool2d`].
#[track_caller]
pub fn max_pool2d(input: &Tensor, kernel_size: impl Into<Pair>) -> Result<Tensor> {
    let kernel = kernel_size.into().sizes();
    input.max_pool2d(kernel, kernel, [0, 0], [1, 1], false)
}

/// The mean of each window; windows do not overlap.
///
/// # Errors
/// As [`Tensor::avg_pool2d`].
#[track_caller]
pub fn avg_pool2d(input: &Tensor, kernel_size: impl Into<Pair>) -> Result<Tensor> {
    let kernel = kernel_size.into().sizes();
    input.avg_pool2d(kernel, kernel, [0, 0], false, true, None)
}

/// The mean cross entropy between logits and classes or probabilities; see [`Tensor::cross_entropy`] for options.
///
/// # Errors
/// As [`Tensor::cross_entropy`].
#[track_caller]
pub fn cross_entropy(input: &Tensor, target: &Tensor) -> Result<Tensor> {
    input.cross_entropy(target, &CrossEntropyOptions::default())
}

/// The mean negative log likelihood of classes under log probabilities; see [`Tensor::nll_loss`] for options.
///
/// # Errors
/// As [`Tensor::nll_loss`].
#[track_caller]
pub fn nll_loss(input: &Tensor, target: &Tensor) -> Result<Tensor> {
    input.nll_loss(target, &CrossEntropyOptions::default())
}

/// The squared differences, reduced.
///
/// # Errors
/// Shapes that do not broadcast, different devices.
#[track_caller]
pub fn mse_loss(input: &Tensor, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
    warn_of_broadcasting("mse_loss", input, target);
    input.mse_loss(target, reduction)
}

/// The absolute differences, reduced. The derivative where both are equal is 0.
///
/// # Errors
/// Shapes that do not broadcast, different devices.
#[track_caller]
pub fn l1_loss(input: &Tensor, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
    warn_of_broadcasting("l1_loss", input, target);
    input.l1_loss(target, reduction)
}

/// Most often a forgotten squeeze: `[n, 1]` against `[n]` gives n x n differences, and no error.
fn warn_of_broadcasting(op: &str, input: &Tensor, target: &Tensor) {
    static SAID: Once = Once::new();
    let (a, b) = (input.shape(), target.shape());
    if a != b {
        SAID.call_once(|| {
            eprintln!(
                "kiln: {op}: Using a target size {b:?} that is different to the input size {a:?}. This will likely lead to \
                 incorrect results due to broadcasting. Please ensure they have the same size. (said once)"
            );
        });
    }
}
