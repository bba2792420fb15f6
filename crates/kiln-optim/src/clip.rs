//! Keeping gradients from growing too large.

use kiln_autograd::{Error, Here, Result, Tensor, no_grad};

/// The norm of all tensors as one vector (`torch.nn.utils.get_total_norm`); 2 gives the Euclidean norm, infinity the
/// largest magnitude.
///
/// # Errors
/// The norm of a tensor cannot be computed.
#[track_caller]
pub fn get_total_norm(tensors: &[Tensor], norm_type: f64) -> Result<f64> {
    if tensors.is_empty() {
        return Ok(0.0);
    }
    no_grad(|| {
        let norm = |t: &Tensor| t.detach().vector_norm(norm_type, &[], false)?.to_f64();
        let norms = tensors.iter().map(norm).collect::<Result<Vec<f64>>>()?;
        Tensor::from_vec(norms, [tensors.len()])?.vector_norm(norm_type, &[], false)?.to_f64()
    })
    .here()
}

/// [`get_total_norm`] of the gradients of `parameters`.
///
/// # Errors
/// The norm of a gradient cannot be computed.
#[track_caller]
pub fn grad_norm(parameters: &[Tensor], norm_type: f64) -> Result<f64> {
    get_total_norm(&gradients(parameters), norm_type).here()
}

fn gradients(parameters: &[Tensor]) -> Vec<Tensor> {
    parameters.iter().filter_map(Tensor::grad).collect()
}

/// Scales all gradients down by one factor when `total_norm`, which may come from elsewhere, is above `max_norm`
/// (`torch.nn.utils.clip_grads_with_norm_`).
///
/// # Errors
/// `max_norm` is negative or not a number; a gradient shares memory with itself.
#[track_caller]
pub fn clip_grads_with_norm_(parameters: &[Tensor], max_norm: f64, total_norm: f64) -> Result<()> {
    if !(0.0..=f64::INFINITY).contains(&max_norm) {
        return Err(Error::value("clip_grad_norm_", format!("max_norm must be at least 0, got {max_norm}")));
    }
    // PyTorch's guard against a norm of zero.
    let factor = max_norm / (total_norm + 1e-6);
    if factor < 1.0 || factor.is_nan() {
        gradients(parameters).iter().try_for_each(|grad| no_grad(|| grad.mul_(factor))).here()?;
    }
    Ok(())
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
#[track_caller]
pub fn clip_grad_norm_(parameters: &[Tensor], max_norm: f64, norm_type: f64) -> Result<f64> {
    let norm = grad_norm(parameters, norm_type).here()?;
    clip_grads_with_norm_(parameters, max_norm, norm).here()?;
    Ok(norm)
}

/// Limits every element of every gradient to `+-clip_value` (`torch.nn.utils.clip_grad_value_`).
///
/// # Errors
/// `clip_value` is negative or not a number; a gradient shares memory with itself.
#[track_caller]
pub fn clip_grad_value_(parameters: &[Tensor], clip_value: f64) -> Result<()> {
    if !(0.0..=f64::INFINITY).contains(&clip_value) {
        return Err(Error::value(
            "clip_grad_value_",
            format!("clip_value must be at least 0, got {clip_value}"),
        ));
    }
    let clipped = |grad: &Tensor| no_grad(|| grad.copy_(&grad.clamp(-clip_value, clip_value)?));
    gradients(parameters).iter().try_for_each(clipped).here()
}
