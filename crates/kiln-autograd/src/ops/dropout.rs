//! Dropout.

use crate::ops::compose::need_float;
use crate::{Error, Result, Tensor};

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
    pub fn channel_alpha_dropout(&self, p: f64, training: bool) -> Result<Tensor> {
        const OP: &str = "channel_alpha_dropout";
        if !training || p == 0.0 {
            return Ok(self.clone());
        }
        check(OP, self, p)?;
        self.alpha_masked(&self.channels(OP)?, p)
    }

    /// A tensor with one element for each channel of each element of the batch.
    fn channels(&self, op: &'static str) -> Result<Tensor> {
        if self.rank() < 2 {
            return Err(Error::shape(op, format!("expected at least 2 axes, got shape {:?}", self.shape())));
        }
        let sizes =
            self.dims().iter().enumerate().map(|(a, &n)| if a < 2 { n } else { 1 }).collect::<Vec<_>>();
        Ok(self.new_empty(sizes))
    }

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
