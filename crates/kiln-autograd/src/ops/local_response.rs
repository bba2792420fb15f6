//! Normalisation by the channels near by: Krizhevsky et al., "ImageNet classification with deep convolutional neural
//! networks" (2012).

use crate::ops::compose::{in_single, need_float};
use crate::record::record;
use crate::{Error, Here, Result, Tensor, no_grad};

/// The sums over `size` channels, from `before` before each to those behind, divided by `divisor`.
#[track_caller]
fn channel_sums(x: &Tensor, before: usize, size: usize, divisor: usize) -> Result<Tensor> {
    let dims = x.dims();
    let rest: usize = dims[2..].iter().product();
    x.reshape([dims[0], 1, dims[1], rest])?
        .constant_pad_nd(&[0, 0, before as i64, (size - 1 - before) as i64], 0)?
        .avg_pool2d([size, 1], [1, 1], [0, 0], false, true, Some(divisor as i64))?
        .reshape(dims.as_slice())
}

#[track_caller]
fn check_size(op: &'static str, size: usize) -> Result<()> {
    // Sizes become lengths of padding.
    if size == 0 || size > u32::MAX as usize {
        return Err(Error::value(op, format!("size must be positive and not huge, got {size}")));
    }
    Ok(())
}

impl Tensor {
    /// Divided by `(k + alpha mean(x^2))^beta`, the mean over `size` channels around each, zeros beyond the first and the
    /// last (`torch.nn.functional.local_response_norm`).
    ///
    /// Shapes: `[batch, channels, sizes..]`, at least one size.
    ///
    /// # Errors
    /// Fewer than three axes, a size of 0.
    #[track_caller]
    pub fn local_response_norm(&self, size: usize, alpha: f64, beta: f64, k: f64) -> Result<Tensor> {
        const OP: &str = "local_response_norm";
        if self.rank() < 3 {
            return Err(Error::shape(
                OP,
                format!("Expected 3D or higher dimensionality input (got {} dimensions)", self.rank()),
            ));
        }
        check_size(OP, size)?;
        if self.numel() == 0 {
            return Ok(self.clone());
        }
        in_single(self, &|x| {
            let means = channel_sums(&x.square()?, size / 2, size, size)?;
            x.div(&means.mul(alpha)?.add(k)?.pow(beta)?)
        })
    }

    /// The older form of [`Tensor::local_response_norm`] (`torch.nn.CrossMapLRN2d`): as many channels before as behind,
    /// `(size - 1) / 2`, whose sum is divided by `size`.
    ///
    /// Shapes: `[batch, channels, height, width]`.
    ///
    /// Values and gradient follow PyTorch, where neither is quite what the formula says: the first channel counts in all
    /// sums behind the reach of its window, and the gradient's windows lie off centre. Prefer
    /// [`Tensor::local_response_norm`] for new networks.
    ///
    /// # Errors
    /// Not four axes, a size of 0, integers. The gradient has no derivative.
    #[track_caller]
    pub fn cross_map_lrn2d(&self, size: usize, alpha: f64, beta: f64, k: f64) -> Result<Tensor> {
        const OP: &str = "cross_map_lrn2d";
        if self.rank() != 4 {
            return Err(Error::shape(
                OP,
                format!("CrossMapLRN2d: Expected input to be 4D, got {}D instead.", self.rank()),
            ));
        }
        need_float(OP, &[self])?;
        check_size(OP, size)?;
        if self.numel() == 0 {
            return Ok(self.clone());
        }
        let half = (size - 1) / 2;
        let x = self.detach();
        let scale = no_grad(|| {
            let square = x.square()?;
            let channels = x.size(1)?;
            let kept: Vec<f32> = (0..channels).map(|c| if c > half { 1.0 } else { 0.0 }).collect();
            let kept =
                Tensor::from_vec(kept, [channels, 1, 1])?.to_device(x.device())?.to_dtype(x.dtype())?;
            channel_sums(&square, half, 2 * half + 1, 1)?
                .add(&square.narrow(1, 0, 1)?.mul(&kept)?)?
                .mul(alpha / size as f64)?
                .add(k)
        })
        .here()?;
        let y = no_grad(|| x.mul(&scale.pow(-beta)?)).here()?;
        let raw = y.raw().clone();
        Ok(record("CrossMapLRN2dBackward", raw)
            .input_from_output(self, || {
                let x = self.save();
                move |g: &Tensor, y: &Tensor| {
                    if Tensor::any_requires_grad(&[g, y]) {
                        return Err(Error::autograd(OP, "the gradient of cross_map_lrn2d has no derivative"));
                    }
                    let ratio = g.mul(y)?.div(&scale)?;
                    let before = size.div_ceil(2).min(size - 1);
                    let sums = channel_sums(&ratio, before, size, 1)?;
                    let near = x.get()?.mul(&sums)?.mul(2.0 * alpha * beta / size as f64)?;
                    g.mul(&scale.pow(-beta)?)?.sub(&near)
                }
            })
            .done())
    }
}
