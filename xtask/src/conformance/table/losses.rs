//! Losses.

use kiln_autograd::{CrossEntropyOptions, Error, Reduction, Tensor};

use crate::conformance::args::{Answer, Args, Out, Stop};

/// `reduction`, or what the two older options mean together.
pub fn reduction(a: &Args<'_>, position: usize) -> Answer<Reduction> {
    for name in ["size_average", "reduce"] {
        let _ = a.named(name).filter(|v| **v != crate::vectors::Arg::None);
    }
    match a.str_or(position, "reduction", "mean")? {
        "none" => Ok(Reduction::None),
        "mean" => Ok(Reduction::Mean),
        "sum" => Ok(Reduction::Sum),
        other => Err(Error::value("loss", format!("{other} is not a valid value for reduction")).into()),
    }
}

const LAST: usize = usize::MAX;

fn class_options(a: &Args<'_>) -> Answer<CrossEntropyOptions> {
    Ok(CrossEntropyOptions {
        weight: a.opt_tensor(2, "weight")?,
        ignore_index: a.int_or(LAST, "ignore_index", -100)?,
        reduction: reduction(a, LAST)?,
        label_smoothing: a.float_or(LAST, "label_smoothing", 0.0)?,
    })
}

/// The operators of this family.
pub fn call(name: &str, a: &Args<'_>) -> Answer<Out> {
    let Some(name) = name.strip_prefix("nn.functional.") else { return Err(Stop::NoRow) };
    let target = || a.tensor(1, "target");
    let margin = |position, absent| a.float_or(position, "margin", absent);
    let loss: Tensor = match name {
        "cross_entropy" => a.x()?.cross_entropy(&target()?, &class_options(a)?)?,
        "nll_loss" => a.x()?.nll_loss(&target()?, &class_options(a)?)?,
        "mse_loss" => a.x()?.mse_loss(&target()?, reduction(a, LAST)?)?,
        "l1_loss" => a.x()?.l1_loss(&target()?, reduction(a, LAST)?)?,
        "smooth_l1_loss" => {
            a.x()?.smooth_l1_loss(&target()?, a.float_or(LAST, "beta", 1.0)?, reduction(a, LAST)?)?
        }
        "huber_loss" => {
            a.x()?.huber_loss(&target()?, a.float_or(LAST, "delta", 1.0)?, reduction(a, LAST)?)?
        }
        "binary_cross_entropy" => {
            let weight = a.opt_tensor(2, "weight")?;
            a.x()?.binary_cross_entropy(&target()?, weight.as_ref(), reduction(a, LAST)?)?
        }
        "binary_cross_entropy_with_logits" => {
            let (weight, positive) = (a.opt_tensor(2, "weight")?, a.opt_tensor(LAST, "pos_weight")?);
            let (x, t) = (a.x()?, target()?);
            x.binary_cross_entropy_with_logits(&t, weight.as_ref(), positive.as_ref(), reduction(a, LAST)?)?
        }
        "kl_div" => {
            let log = a.bool_or(LAST, "log_target", false)?;
            let (x, t) = (a.x()?, target()?);
            match a.str_or(LAST, "reduction", "mean")? {
                // The sum over everything, for each element of the batch.
                "batchmean" => x.kl_div(&t, log, Reduction::Sum)?.div(x.size(0)?)?,
                _ => x.kl_div(&t, log, reduction(a, LAST)?)?,
            }
        }
        "poisson_nll_loss" => {
            let (log, full) = (a.bool_or(LAST, "log_input", true)?, a.bool_or(LAST, "full", false)?);
            a.x()?.poisson_nll_loss(
                &target()?,
                log,
                full,
                a.float_or(LAST, "eps", 1e-8)?,
                reduction(a, LAST)?,
            )?
        }
        "gaussian_nll_loss" => {
            let (var, full) = (a.tensor(2, "var")?, a.bool_or(LAST, "full", false)?);
            a.x()?.gaussian_nll_loss(
                &target()?,
                &var,
                full,
                a.float_or(LAST, "eps", 1e-6)?,
                reduction(a, LAST)?,
            )?
        }
        "soft_margin_loss" => a.x()?.soft_margin_loss(&target()?, reduction(a, LAST)?)?,
        "hinge_embedding_loss" => {
            a.x()?.hinge_embedding_loss(&target()?, margin(LAST, 1.0)?, reduction(a, LAST)?)?
        }
        "margin_ranking_loss" => {
            let (x, y) = (a.tensor(0, "input1")?, a.tensor(1, "input2")?);
            x.margin_ranking_loss(&y, &a.tensor(2, "target")?, margin(LAST, 0.0)?, reduction(a, LAST)?)?
        }
        "cosine_embedding_loss" => {
            let (x, y) = (a.tensor(0, "input1")?, a.tensor(1, "input2")?);
            x.cosine_embedding_loss(&y, &a.tensor(2, "target")?, margin(LAST, 0.0)?, reduction(a, LAST)?)?
        }
        "triplet_margin_loss" => {
            let x = a.tensor(0, "anchor")?;
            let (near, far) = (a.tensor(1, "positive")?, a.tensor(2, "negative")?);
            let (p, eps) = (a.float_or(LAST, "p", 2.0)?, a.float_or(LAST, "eps", 1e-6)?);
            let swap = a.bool_or(LAST, "swap", false)?;
            x.triplet_margin_loss(&near, &far, margin(LAST, 1.0)?, p, eps, swap, reduction(a, LAST)?)?
        }
        "triplet_margin_with_distance_loss" => {
            let x = a.tensor(0, "anchor")?;
            let (near, far) = (a.tensor(1, "positive")?, a.tensor(2, "negative")?);
            let distance = |x: &Tensor, y: &Tensor| x.pairwise_distance(y, 2.0, 1e-6, false);
            let swap = a.bool_or(LAST, "swap", false)?;
            let margin = margin(LAST, 1.0)?;
            x.triplet_margin_with_distance_loss(&near, &far, distance, margin, swap, reduction(a, LAST)?)?
        }
        "multi_margin_loss" => {
            let (p, weight) = (a.float_or(2, "p", 1.0)?, a.opt_tensor(4, "weight")?);
            a.x()?.multi_margin_loss(&target()?, p, margin(3, 1.0)?, weight.as_ref(), reduction(a, LAST)?)?
        }
        "multilabel_margin_loss" => a.x()?.multilabel_margin_loss(&target()?, reduction(a, LAST)?)?,
        "multilabel_soft_margin_loss" => {
            let weight = a.opt_tensor(2, "weight")?;
            a.x()?.multilabel_soft_margin_loss(&target()?, weight.as_ref(), reduction(a, LAST)?)?
        }
        "ctc_loss" => {
            let x = a.tensor(0, "log_probs")?;
            let lengths = |position, name| match a.get(position, name) {
                Some(crate::vectors::Arg::Tensor(_)) => a.tensor(position, name),
                _ => {
                    let lengths = a.ints(position, name)?;
                    let n = lengths.len();
                    Ok(Tensor::from_vec(lengths, [n])?)
                }
            };
            let (steps, labels) = (lengths(2, "input_lengths")?, lengths(3, "target_lengths")?);
            let (targets, blank) = (a.tensor(1, "targets")?, a.size_or(4, "blank", 0)?);
            let zero = a.bool_or(6, "zero_infinity", false)?;
            x.ctc_loss(&targets, &steps, &labels, blank, reduction(a, 5)?, zero)?
        }
        "linear_cross_entropy" => {
            let (weight, bias) = (a.tensor(1, "linear_weight")?, a.opt_tensor(LAST, "linear_bias")?);
            let options = CrossEntropyOptions {
                weight: a.opt_tensor(LAST, "weight")?,
                ignore_index: a.int_or(LAST, "ignore_index", -100)?,
                reduction: reduction(a, LAST)?,
                label_smoothing: a.float_or(LAST, "label_smoothing", 0.0)?,
            };
            a.x()?.linear_cross_entropy(&weight, &a.tensor(2, "target")?, bias.as_ref(), &options)?
        }
        "cosine_similarity" => {
            let (x, y) = (a.tensor(0, "x1")?, a.tensor(1, "x2")?);
            x.cosine_similarity(&y, a.int_or(2, "dim", 1)?, a.float_or(3, "eps", 1e-8)?)?
        }
        "pairwise_distance" => {
            let (x, y) = (a.tensor(0, "x1")?, a.tensor(1, "x2")?);
            let (p, eps) = (a.float_or(2, "p", 2.0)?, a.float_or(3, "eps", 1e-6)?);
            x.pairwise_distance(&y, p, eps, a.bool_or(4, "keepdim", false)?)?
        }
        _ => return Err(Stop::NoRow),
    };
    Ok(loss.into())
}
