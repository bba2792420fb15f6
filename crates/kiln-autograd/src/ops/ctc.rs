//! The loss of label sequences without alignment.

use kiln_ops::ctc;

use crate::ops::loss::reduced;
use crate::ops::softmax::Reduction;
use crate::record::record;
use crate::{Error, Here, Result, Tensor, autocast};

impl Tensor {
    /// The connectionist temporal classification loss (`torch.nn.functional.ctc_loss`): the negative logarithm of the
    /// probability that the steps spell the target, when equal neighbours merge and then blanks go. The mean is that over
    /// the batch of the losses divided by the lengths of their targets. With `zero_infinity`, sequences too short for their
    /// targets count for nothing.
    ///
    /// Shapes: log probabilities, as [`Tensor::log_softmax`] gives them, `[steps, batch, classes]` or `[steps, classes]`;
    /// targets `[batch, longest]` or all of them one after the other; lengths `[batch]`, or a number without `batch`.
    ///
    /// ```
    /// use kiln_autograd::{Reduction, Tensor};
    /// // Two steps, a blank and a letter, all as likely: three of the four ways spell the letter.
    /// let log_probs = Tensor::full([2, 1, 2], 0.5f64.ln());
    /// let (target, steps, length) =
    ///     (Tensor::from_vec(vec![1i64], [1, 1])?, Tensor::from_vec(vec![2i64], [1])?, Tensor::from_vec(vec![1i64], [1])?);
    /// let loss = log_probs.ctc_loss(&target, &steps, &length, 0, Reduction::Sum, false)?;
    /// assert!((loss.to_f64()? + 0.75f64.ln()).abs() < 1e-6);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Shapes, lengths or dtypes that do not fit, a blank or target that is no class. The gradient has no derivative.
    #[track_caller]
    pub fn ctc_loss(
        &self,
        targets: &Tensor,
        input_lengths: &Tensor,
        target_lengths: &Tensor,
        blank: usize,
        reduction: Reduction,
        zero_infinity: bool,
    ) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            let x = cast.of(self)?;
            return x.ctc_loss(targets, input_lengths, target_lengths, blank, reduction, zero_infinity);
        }
        let one = self.rank() == 2;
        let log_probs = if one { self.unsqueeze(1)? } else { self.clone() };
        let wanted = Tensor::any_requires_grad(&[self]);
        let ctc::Ctc { losses, gradient } = ctc::ctc_loss(
            &log_probs.raw(),
            &targets.raw(),
            &input_lengths.raw(),
            &target_lengths.raw(),
            blank,
            zero_infinity,
            wanted,
        )
        .here()?;
        let rec = record("CtcLossBackward0", losses);
        let losses = match gradient {
            None => rec,
            Some(gradient) => {
                let gradient = Tensor::from_raw(gradient);
                rec.input(&log_probs, || {
                    let log_probs = log_probs.save();
                    move |g: &Tensor| {
                        let scaled = g.detach().unsqueeze(0)?.unsqueeze(-1)?.mul(&gradient)?;
                        let raw = scaled.raw().clone();
                        let gradient = gradient.clone();
                        Ok(record("CtcLossBackwardBackward0", raw)
                            .input(g, || move |gg: &Tensor| gg.mul(&gradient)?.sum_axes(&[0, 2], false))
                            .input(&log_probs.get()?, || {
                                |_: &Tensor| {
                                    Err(Error::autograd(
                                        "ctc_loss",
                                        "the gradient of ctc_loss has no derivative",
                                    ))
                                }
                            })
                            .done())
                    }
                })
            }
        }
        .done();
        let losses = match reduction {
            Reduction::Mean => {
                let lengths = target_lengths.reshape([-1])?.clamp_min(1)?;
                losses.div(&lengths.to_dtype(losses.dtype())?)?
            }
            _ => losses,
        };
        let losses = if one && reduction == Reduction::None { losses.squeeze_axis(0)? } else { losses };
        reduced(losses, reduction)
    }
}
