//! Channels that become pixels, pixels that become channels, channels in another order.

use crate::{Error, Result, Tensor};

impl Tensor {
    /// `[.., channels r^2, height, width] -> [.., channels, height r, width r]` (`torch.nn.functional.pixel_shuffle`):
    /// Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel convolutional neural
    /// network" (2016).
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [1, 4, 1, 1])?;
    /// assert_eq!(x.pixel_shuffle(2)?.dims(), [1, 1, 2, 2]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fewer than three axes, a factor of 0, channels that the square of the factor does not divide.
    #[track_caller]
    pub fn pixel_shuffle(&self, factor: usize) -> Result<Tensor> {
        const OP: &str = "pixel_shuffle";
        let (lead, [channels, h, w]) = self.image(OP, factor)?;
        let square = factor.saturating_mul(factor);
        if !channels.is_multiple_of(square) {
            return Err(Error::shape(
                OP,
                format!(
                    "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of \
                     upscale_factor, but input.size(-3)={channels} is not divisible by {square}"
                ),
            ));
        }
        let rank = lead.len() as i64;
        let apart: Vec<usize> =
            lead.iter().copied().chain([channels / square, factor, factor, h, w]).collect();
        let axes: Vec<i64> = (0..rank).chain([0, 3, 1, 4, 2].map(|a| rank + a)).collect();
        let joined: Vec<usize> =
            lead.iter().copied().chain([channels / square, h * factor, w * factor]).collect();
        self.reshape(apart.as_slice())?.permute(&axes)?.reshape(joined.as_slice())
    }

    /// The inverse of [`Tensor::pixel_shuffle`] (`torch.nn.functional.pixel_unshuffle`).
    ///
    /// # Errors
    /// Fewer than three axes, a factor of 0, sizes that the factor does not divide.
    #[track_caller]
    pub fn pixel_unshuffle(&self, factor: usize) -> Result<Tensor> {
        const OP: &str = "pixel_unshuffle";
        let (lead, [channels, h, w]) = self.image(OP, factor)?;
        for (name, axis, size) in [("height", -2, h), ("width", -1, w)] {
            if !size.is_multiple_of(factor) {
                return Err(Error::shape(
                    OP,
                    format!(
                        "pixel_unshuffle expects {name} to be divisible by downscale_factor, but \
                         input.size({axis})={size} is not divisible by {factor}"
                    ),
                ));
            }
        }
        let rank = lead.len() as i64;
        let (h, w) = (h / factor, w / factor);
        let apart: Vec<usize> = lead.iter().copied().chain([channels, h, factor, w, factor]).collect();
        let axes: Vec<i64> = (0..rank).chain([0, 2, 4, 1, 3].map(|a| rank + a)).collect();
        let joined: Vec<usize> = lead.iter().copied().chain([channels * factor * factor, h, w]).collect();
        self.reshape(apart.as_slice())?.permute(&axes)?.reshape(joined.as_slice())
    }

    /// The channels, axis 1, dealt out: those of the first place in every group first
    /// (`torch.nn.functional.channel_shuffle`). Zhang et al., "ShuffleNet" (2018).
    ///
    /// # Errors
    /// Fewer than three axes, groups that do not divide the channels.
    #[track_caller]
    pub fn channel_shuffle(&self, groups: usize) -> Result<Tensor> {
        const OP: &str = "channel_shuffle";
        let dims = self.dims();
        if dims.len() < 3 {
            return Err(Error::shape(
                OP,
                format!("channel_shuffle expects input with > 2 dims, but got input with sizes {dims:?}"),
            ));
        }
        if groups == 0 || !dims[1].is_multiple_of(groups) {
            return Err(Error::value(
                OP,
                format!(
                    "Number of channels must be divisible by groups. Got {} channels and {groups} groups.",
                    dims[1]
                ),
            ));
        }
        let rest: usize = dims[2..].iter().product();
        self.reshape([dims[0], groups, dims[1] / groups, rest])?.transpose(1, 2)?.reshape(dims.as_slice())
    }

    /// The leading sizes, and channels, height and width.
    #[track_caller]
    fn image(&self, op: &'static str, factor: usize) -> Result<(Vec<usize>, [usize; 3])> {
        if factor == 0 {
            return Err(Error::value(op, "expects a positive factor, but got 0"));
        }
        match self.dims().split_last_chunk::<3>() {
            Some((lead, image)) => Ok((lead.to_vec(), *image)),
            None => Err(Error::shape(
                op,
                format!("expects input to have at least 3 dimensions, but got shape {:?}", self.shape()),
            )),
        }
    }
}
