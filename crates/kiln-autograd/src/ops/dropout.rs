//! Dropout and other functions that draw random numbers.

use kiln_ops::DType;

use crate::ops::compose::need_float;
use crate::{Error, Result, Tensor};

#[track_caller]
fn check(op: &'static str, x: &Tensor, p: f64) -> Result<()> {
    if (0.0..=1.0).contains(&p) {
        return need_float(op, &[x]);
    }
    Err(Error::value(op, format!("dropout probability has to be between 0 and 1, but got {p}")))
}

impl Tensor {
    /// Elements with probability `p` replaced by 0 and the others scaled by `1 / (1 - p)`, if `training`
    /// (`torch.nn.functional.dropout`).
    ///
    /// # Errors
    /// A `p` outside of 0..=1; integers.
    #[track_caller]
    pub fn dropout(&self, p: f64, training: bool) -> Result<Tensor> {
        if !training || p == 0.0 {
            return Ok(self.clone());
        }
        check("dropout", self, p)?;
        self.mul(&self.dropout_mask(p)?)
    }

    /// [`Tensor::dropout`] of whole channels, axis 1 (`torch.nn.functional.dropout2d` and its like).
    ///
    /// # Errors
    /// Fewer than two axes; a `p` outside of 0..=1; integers.
    #[track_caller]
    pub fn channel_dropout(&self, p: f64, training: bool) -> Result<Tensor> {
        const OP: &str = "channel_dropout";
        if !training || p == 0.0 {
            return Ok(self.clone());
        }
        check(OP, self, p)?;
        self.mul(&self.channels(OP)?.dropout_mask(p)?)
    }

    /// [`Tensor::dropout`] that keeps the mean and variance of [`Tensor::selu`]'s results
    /// (`torch.nn.functional.alpha_dropout`).
    ///
    /// # Errors
    /// A `p` outside of 0..=1; integers.
    #[track_caller]
    pub fn alpha_dropout(&self, p: f64, training: bool) -> Result<Tensor> {
        if !training || p == 0.0 {
            return Ok(self.clone());
        }
        check("alpha_dropout", self, p)?;
        self.alpha_masked(self, p)
    }

    /// [`Tensor::alpha_dropout`] of whole channels, axis 1 (`torch.nn.functional.feature_alpha_dropout`).
    ///
    /// # Errors
    /// As [`Tensor::channel_dropout`].
    #[track_caller]
    pub fn channel_alpha_dropout(&self, p: f64, training: bool) -> Result<Tensor> {
        const OP: &str = "channel_alpha_dropout";
        if !training || p == 0.0 {
            return Ok(self.clone());
        }
        check(OP, self, p)?;
        self.alpha_masked(&self.channels(OP)?, p)
    }

    /// A tensor with one element for each channel of each element of the batch.
    #[track_caller]
    fn channels(&self, op: &'static str) -> Result<Tensor> {
        if self.rank() < 2 {
            return Err(Error::shape(op, format!("expected at least 2 axes, got shape {:?}", self.shape())));
        }
        let sizes =
            self.dims().iter().enumerate().map(|(a, &n)| if a < 2 { n } else { 1 }).collect::<Vec<_>>();
        Ok(self.new_empty(sizes))
    }

    #[track_caller]
    fn alpha_masked(&self, like: &Tensor, p: f64) -> Result<Tensor> {
        if p == 1.0 {
            return self.mul(0.0);
        }
        const A: f64 = 1.758_099_340_847_376_6;
        let scale = 1.0 / ((A * A * p + 1.0) * (1.0 - p)).sqrt();
        let mask = like.empty_like()?;
        mask.bernoulli_(1.0 - p)?;
        let shift = mask.sub(1.0)?.mul(A * scale)?.add(A * scale * p)?;
        self.mul(&mask.mul(scale)?)?.add(&shift)
    }
}

impl Tensor {
    /// [`Tensor::leaky_relu`] whose slopes are drawn from `lower..upper` while `training`, else their mean
    /// (`torch.nn.functional.rrelu`).
    ///
    /// # Errors
    /// `lower` above `upper`; integers.
    #[track_caller]
    pub fn rrelu(&self, lower: f64, upper: f64, training: bool) -> Result<Tensor> {
        const OP: &str = "rrelu";
        need_float(OP, &[self])?;
        if lower > upper || lower.is_nan() || upper.is_nan() {
            return Err(Error::value(
                OP,
                format!(
                    "Lower bound should be less than or equal to the upper bound, got {lower} and {upper}"
                ),
            ));
        }
        if !training {
            return self.leaky_relu((lower + upper) / 2.0);
        }
        fn slopes<T: crate::Element + kiln_ops::random::RandomFloat>(
            x: &Tensor,
            lower: f64,
            upper: f64,
        ) -> Result<Tensor> {
            let x_values = x.to_vec::<T>()?;
            let mut out = vec![T::default(); x_values.len()];
            kiln_ops::random::default_generator().rrelu_slopes(&x_values, &mut out, lower, upper)?;
            Tensor::from_vec(out, x.shape())?.to_device(x.device())
        }
        let slopes = match self.dtype() {
            DType::F64 => slopes::<f64>(self, lower, upper)?,
            DType::F16 => slopes::<kiln_ops::f16>(self, lower, upper)?,
            DType::BF16 => slopes::<kiln_ops::bf16>(self, lower, upper)?,
            _ => slopes::<f32>(self, lower, upper)?,
        };
        self.mul(&slopes)
    }

    /// A sample of categories with these unnormalised log probabilities along `axis`, soft by the temperature `tau` or,
    /// with `hard`, one-hot with the gradient of the soft one (`torch.nn.functional.gumbel_softmax`).
    ///
    /// # Errors
    /// Integers; an axis out of range.
    #[track_caller]
    pub fn gumbel_softmax(&self, tau: f64, hard: bool, axis: i64) -> Result<Tensor> {
        need_float("gumbel_softmax", &[self])?;
        let noise = self.empty_like()?;
        noise.exponential_(1.0)?;
        let soft = self.sub(&noise.log()?)?.div(tau)?.softmax(axis)?;
        if !hard {
            return Ok(soft);
        }
        let place = soft.detach().argmax(axis, true)?;
        let one_hot = soft.zeros_like()?.scatter(axis, &place, 1.0)?;
        one_hot.sub(&soft.detach())?.add(&soft)
    }
}
