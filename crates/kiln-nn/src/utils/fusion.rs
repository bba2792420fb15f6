//! Batch normalisation taken into the layer before it, for evaluating.

use kiln_autograd::{Error, Here, Result, Tensor, no_grad};

use crate::batch_norm::BatchNormNd;
use crate::conv::ConvNd;
use crate::linear::Linear;
use crate::module::Module;
use crate::parts::Parameter;

/// The factor and the summand of each channel that a batch norm comes down to while evaluating.
#[track_caller]
fn scale_and_shift<const N: usize>(op: &'static str, norm: &BatchNormNd<N>) -> Result<(Tensor, Tensor)> {
    if norm.is_training() {
        return Err(Error::value(op, "Fusion only for eval! Call eval() on both layers first"));
    }
    let (Some(mean), Some(var)) = (norm.running_mean(), norm.running_var()) else {
        return Err(Error::value(op, "the normalisation has no running statistics to take over"));
    };
    let mut scale = var.add(norm.epsilon())?.rsqrt()?;
    if let Some(weight) = norm.weight() {
        scale = weight.mul(&scale)?;
    }
    let shift = mean.mul(&scale)?.neg()?;
    let shift = norm.bias_parameter().map_or(Ok(shift.clone()), |bias| bias.add(&shift)).here()?;
    Ok((scale, shift))
}

/// Weight and bias with the factors and summands of the outputs.
#[track_caller]
fn fused(
    weight: &Tensor,
    bias: Option<&Tensor>,
    (scale, shift): (Tensor, Tensor),
) -> Result<(Parameter, Parameter)> {
    let mut shape = vec![1; weight.rank()];
    shape[0] = scale.numel();
    let dtype = weight.dtype();
    let w = weight.mul(&scale.reshape(shape)?)?.to_dtype(dtype)?;
    let b = match bias {
        Some(bias) => bias.mul(&scale)?.add(&shift)?.to_dtype(bias.dtype())?,
        None => shift.to_dtype(dtype)?,
    };
    Ok((Parameter::new(w)?, Parameter::new(b)?))
}

/// One convolution that gives what `conv` and then `norm` give while evaluating (`torch.nn.utils.fuse_conv_bn_eval`).
///
/// ```
/// use kiln_nn::{BatchNorm2d, Conv2d, Forward, Module, Tensor, utils};
/// let (conv, norm) = (Conv2d::new(3, 8, 3).bias(false), BatchNorm2d::new(8));
/// conv.eval();
/// norm.eval();
/// let x = Tensor::ones([1, 3, 5, 5]);
/// let expected = norm.forward(&conv.forward(&x)?)?;
/// let fused = utils::fuse_conv_bn_eval(conv, &norm)?;
/// assert!(fused.forward(&x)?.allclose(&expected, 1e-5, 1e-5, false)?);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
///
/// # Errors
/// A layer trains, the normalisation has no running statistics, or the numbers of channels differ.
#[track_caller]
pub fn fuse_conv_bn_eval<const N: usize>(mut conv: ConvNd<N>, norm: &BatchNormNd<N>) -> Result<ConvNd<N>> {
    const OP: &str = "fuse_conv_bn_eval";
    if conv.is_training() {
        return Err(Error::value(OP, "Fusion only for eval! Call eval() on both layers first"));
    }
    let (weight, bias) =
        no_grad(|| fused(&conv.weight, conv.bias.as_deref(), scale_and_shift(OP, norm)?)).here()?;
    (conv.weight, conv.bias) = (weight, Some(bias));
    Ok(conv)
}

/// One linear layer that gives what `linear` and then `norm` give while evaluating (`torch.nn.utils.fuse_linear_bn_eval`).
///
/// # Errors
/// As [`fuse_conv_bn_eval`].
#[track_caller]
pub fn fuse_linear_bn_eval<const N: usize>(mut linear: Linear, norm: &BatchNormNd<N>) -> Result<Linear> {
    const OP: &str = "fuse_linear_bn_eval";
    if linear.is_training() {
        return Err(Error::value(OP, "Fusion only for eval! Call eval() on both layers first"));
    }
    let (weight, bias) =
        no_grad(|| fused(&linear.weight, linear.bias.as_deref(), scale_and_shift(OP, norm)?)).here()?;
    (linear.weight, linear.bias) = (weight, Some(bias));
    Ok(linear)
}
