//! All parameters as one vector and back.

use kiln_autograd::{Error, Here, Result, Tensor, no_grad};

/// All parameters one behind the other, `[n]` (`torch.nn.utils.parameters_to_vector`). Gradients flow through it.
///
/// ```
/// use kiln_nn::{Linear, Module, init, utils};
/// let layer = Linear::new(2, 1);
/// init::ones_(&layer.weight)?;
/// init::zeros_(layer.bias.as_ref().unwrap())?;
/// let all = utils::parameters_to_vector(&layer.parameters())?;
/// assert_eq!(all.to_vec::<f32>()?, [1.0, 1.0, 0.0]);
/// utils::vector_to_parameters(&all.mul(2.0)?, &layer.parameters())?;
/// assert_eq!(layer.weight.to_vec::<f32>()?, [2.0, 2.0]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
///
/// # Errors
/// There are none, or they are on different devices.
#[track_caller]
pub fn parameters_to_vector(parameters: &[Tensor]) -> Result<Tensor> {
    let flat = parameters.iter().map(|p| p.reshape([p.numel()])).collect::<Result<Vec<Tensor>>>().here()?;
    Tensor::cat(&flat.iter().collect::<Vec<_>>(), 0)
}

/// Copies a vector's numbers into the parameters, one behind the other (`torch.nn.utils.vector_to_parameters`). Numbers
/// that are left over are passed by, as in PyTorch.
///
/// # Errors
/// The vector has another rank than 1, or fewer numbers than the parameters. Nothing is changed then.
#[track_caller]
pub fn vector_to_parameters(vector: &Tensor, parameters: &[Tensor]) -> Result<()> {
    const OP: &str = "vector_to_parameters";
    let needed = parameters.iter().fold(0usize, |n, p| n.saturating_add(p.numel()));
    if vector.rank() != 1 || vector.numel() < needed {
        let shape = vector.shape();
        return Err(Error::shape(
            OP,
            format!("expected a vector of {needed} numbers, got the shape {shape:?}"),
        ));
    }
    let vector = vector.detach();
    let mut at = 0;
    let mut parts = Vec::new();
    for parameter in parameters {
        let n = parameter.numel();
        let part = vector.narrow(0, at as i64, n as i64)?.reshape(parameter.shape())?;
        parts.push(part.to_dtype(parameter.dtype())?.to_device(parameter.device())?);
        at += n;
    }
    no_grad(|| parameters.iter().zip(&parts).try_for_each(|(parameter, part)| parameter.copy_(part))).here()
}
