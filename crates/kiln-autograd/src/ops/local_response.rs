//! Normalisation by the channels near by: Krizhevsky et al., "ImageNet classification with deep convolutional neural
//! networks" (2012).

use crate::ops::compose::in_single;
use crate::{Error, Result, Tensor};

impl Tensor {
    /// Divided by `(k + alpha mean(x^2))^beta`, the mean over `size` channels around each, zeros beyond the first and the
    /// last (`torch.nn.functional.local_response_norm`).
    ///
    /// Shapes: `[batch, channels, sizes..]`, at least one size.
    ///
    /// # Errors
    /// Fewer than three axes, a size of 0.
    pub fn local_response_norm(&self, size: usize, alpha: f64, beta: f64, k: f64) -> Result<Tensor> {
        const OP: &str = "local_response_norm";
        if self.rank() < 3 {
            return Err(Error::shape(
                OP,
                format!("Expected 3D or higher dimensionality input (got {} dimensions)", self.rank()),
            ));
        }
        self.near_channels(OP, size, [size / 2, size.saturating_sub(1) / 2], size, [alpha, beta, k], None)
    }

    /// As [`Tensor::local_response_norm`] with as many channels before as behind, `(size - 1) / 2`, whose sum is divided
    /// by `size` (`torch.nn.CrossMapLRN2d`).
    ///
    /// # Errors
    /// Not four axes, a size of 0.
    pub fn cross_map_lrn2d(&self, size: usize, alpha: f64, beta: f64, k: f64) -> Result<Tensor> {
        const OP: &str = "cross_map_lrn2d";
        if self.rank() != 4 {
            return Err(Error::shape(
                OP,
                format!("CrossMapLRN2d: Expected input to be 4D, got {}D instead.", self.rank()),
            ));
        }
        let half = size.saturating_sub(1) / 2;
        // PyTorch's running sum never lets go of the first channel: behind the reach of its window it still counts in the
        // values, though not in the gradient.
        let first = self.detach().narrow(1, 0, self.size(1)?.min(1) as i64)?.square()?;
        let kept: Vec<f32> = (0..self.size(1)?).map(|c| if c > half { 1.0 } else { 0.0 }).collect();
        let kept = Tensor::from_vec(kept, [self.size(1)?, 1, 1])?
            .to_device(self.device())?
            .to_dtype(first.dtype())?;
        let extra = if self.numel() == 0 { None } else { Some(first.mul(&kept)?) };
        self.near_channels(OP, 2 * half + size.min(1), [half, half], size, [alpha, beta, k], extra.as_ref())
    }

    fn near_channels(
        &self,
        op: &'static str,
        window: usize,
        [before, behind]: [usize; 2],
        divisor: usize,
        [alpha, beta, k]: [f64; 3],
        extra: Option<&Tensor>,
    ) -> Result<Tensor> {
        if window == 0 || window > i64::MAX as usize {
            return Err(Error::value(op, format!("size must be positive and not huge, got {window}")));
        }
        if self.numel() == 0 {
            return Ok(self.clone());
        }
        let dims = self.dims();
        let rest: usize = dims[2..].iter().product();
        in_single(self, |x| {
            let sums = x
                .square()?
                .reshape([dims[0], 1, dims[1], rest])?
                .constant_pad_nd(&[0, 0, before as i64, behind as i64], 0)?
                .avg_pool2d([window, 1], [1, 1], [0, 0], false, true, Some(divisor as i64))?
                .reshape(dims.as_slice())?;
            let sums = match extra {
                Some(extra) => sums.add(&extra.to_dtype(sums.dtype())?.div(divisor as f64)?)?,
                None => sums,
            };
            x.div(&sums.mul(alpha)?.add(k)?.pow(beta)?)
        })
    }
}
