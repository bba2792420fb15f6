//! Keeping gradients from growing too large.

use kiln_autograd::{Error, Result, Tensor, no_grad};

/// The norm of all gradients of `parameters` as one vector; 2 gives the Euclidean norm, infinity the largest magnitude.
///
/// # Errors
/// The norm of a gradient cannot be computed.
pub fn grad_norm(parameters: &[Tensor], norm_type: f64) -> Result<f64> {
    let mut norms = Vec::new();
    for grad in parameters.iter().filter_map(Tensor::grad) {
        norms.push(no_grad(|| grad.detach().vector_norm(norm_type, &[], false)?.to_f64())?);
    }
    if norms.is_empty() {
        return Ok(0.0);
    }
    let n = norms.len();
    no_grad(|| Tensor::from_vec(norms, [n])?.vector_norm(norm_type, &[], false)?.to_f64())
}

/// Scales all gradients down by one factor when their norm together is above `max_norm`, and gives the norm that they
/// had (`torch.nn.utils.clip_grad_norm_`).
///
/// ```
/// use kiln_autograd::Tensor;
/// use kiln_optim::clip_grad_norm_;
/// # fn main() -> kiln_autograd::Result<()> {
/// let w = Tensor::from_vec(vec![3.0f32, 4.0], [2])?.requires_grad_(true)?;
/// w.square()?.mul(0.5)?.sum()?.backward()?;
/// assert_eq!(clip_grad_norm_(&[w.clone()], 1.0, 2.0)?, 5.0);
/// assert!((w.grad().unwrap().to_vec::<f32>()?[0] - 0.6).abs() < 1e-5);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `max_norm` is negative or not a number; a gradient shares memory with itself.
pub fn clip_grad_norm_(parameters: &[Tensor], max_norm: f64, norm_type: f64) -> Result<f64> {
    if !(0.0..=f64::INFINITY).contains(&max_norm) {
        return Err(Error::value("clip_grad_norm_", format!("max_norm must be at least 0, got {max_norm}")));
    }
    let norm = grad_norm(parameters, norm_type)?;
    // PyTorch's guard against a norm of zero.
    let factor = max_norm / (norm + 1e-6);
    if factor < 1.0 || factor.is_nan() {
        for grad in parameters.iter().filter_map(Tensor::grad) {
            no_grad(|| grad.mul_(factor))?;
        }
    }
    Ok(norm)
}

/// Limits every element of every gradient to `+-clip_value` (`torch.nn.utils.clip_grad_value_`).
///
/// # Errors
/// `clip_value` is negative or not a number; a gradient shares memory with itself.
pub fn clip_grad_value_(parameters: &[Tensor], clip_value: f64) -> Result<()> {
    if !(0.0..=f64::INFINITY).contains(&clip_value) {
        return Err(Error::value(
            "clip_grad_value_",
            format!("clip_value must be at least 0, got {clip_value}"),
        ));
    }
    for grad in parameters.iter().filter_map(Tensor::grad) {
        no_grad(|| grad.copy_(&grad.clamp(-clip_value, clip_value)?))?;
    }
    Ok(())
}
