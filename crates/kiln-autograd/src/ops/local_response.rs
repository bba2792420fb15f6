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
        self.near_channels(OP, size, [size / 2, size.saturating_sub(1) / 2], size, [alpha, beta, k])
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
        self.near_channels(OP, 2 * half + size.min(1), [half, half], size, [alpha, beta, k])
    }

    fn near_channels(
        &self,
        op: &'static str,
        window: usize,
        [before, behind]: [usize; 2],
        divisor: usize,
        [alpha, beta, k]: [f64; 3],
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
            x.div(&sums.mul(alpha)?.add(k)?.pow(beta)?)
        })
    }
}
