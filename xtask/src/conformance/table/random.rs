//! Random numbers. Which numbers come is the part `rng`; here only dtype and shape count.

use kiln_autograd::{Error, Tensor, TensorOptions};

use super::create::{Options, shape};
use crate::conformance::args::{Answer, Args, Out, Stop, Value, missing};

fn options(a: &Args<'_>) -> Answer<TensorOptions> {
    Ok(Options::of(a)?.tensor())
}

fn like(x: &Tensor, options: TensorOptions, a: &Args<'_>) -> Answer<TensorOptions> {
    Ok(if a.has("dtype") { options } else { options.dtype(x.dtype()) })
}

/// `p` and `training` of a dropout, where training is what its function has by default.
fn dropout(a: &Args<'_>, training: bool) -> Answer<(f64, bool)> {
    let _ = a.bool_or(3, "inplace", false)?;
    let p = a.float_or(1, "p", 0.5)?;
    if !(0.0..=1.0).contains(&p) {
        let what = format!("dropout probability has to be between 0 and 1, but got {p}");
        return Err(Error::value("dropout", what).into());
    }
    Ok((p, a.bool_or(2, "training", training)?))
}

/// The operators of this family.
pub fn call(name: &str, a: &Args<'_>) -> Answer<Out> {
    Ok(match name {
        "rand" | "randn" => {
            let (options, shape) = (options(a)?, shape(&a.ints_from(0, "size")?)?);
            match name {
                "rand" => Tensor::rand_with(shape, options).into(),
                _ => Tensor::randn_with(shape, options).into(),
            }
        }
        "rand_like" | "randn_like" => {
            let x = a.x()?;
            let options = like(&x, options(a)?, a)?;
            match name {
                "rand_like" => Tensor::rand_with(x.dims(), options).into(),
                _ => Tensor::randn_with(x.dims(), options).into(),
            }
        }
        "randint" => {
            let options = options(a)?;
            let (low, high, size) = match a.get(1, "") {
                Some(crate::vectors::Arg::Int(high)) => (a.int(0, "low")?, *high, a.ints(2, "size")?),
                _ => (0, a.int(0, "high")?, a.ints(1, "size")?),
            };
            Tensor::randint_with(low, high, shape(&size)?, options)?.into()
        }
        "randint_like" => {
            let x = a.x()?;
            let options = like(&x, options(a)?, a)?;
            let (low, high) = match a.count() {
                0..=2 if !a.has("low") => (0, a.int(1, "high")?),
                _ => (a.int(1, "low")?, a.int(2, "high")?),
            };
            Tensor::randint_with(low, high, x.dims(), options)?.into()
        }
        "randperm" => Tensor::randperm_with(a.size(0, "n")?, options(a)?).into(),
        "normal" => match (a.value(0, "mean")?, a.value(1, "std")?) {
            (Value::Number(mean), Value::Number(std)) => {
                let (options, shape) = (options(a)?, shape(&a.ints(2, "size")?)?);
                Tensor::normal_with(mean.to_f64(), std.to_f64(), shape, options)?.into()
            }
            (mean, std) => Tensor::normal_of(mean.arg(), std.arg())?.into(),
        },
        "bernoulli" => match a.opt_float(1, "p")? {
            None => a.x()?.bernoulli()?.into(),
            Some(p) => {
                let y = a.x()?.empty_like()?;
                y.bernoulli_(p)?;
                y.into()
            }
        },
        "multinomial" => {
            let count = a.size(1, "num_samples")?;
            a.x()?.multinomial(count, a.bool_or(2, "replacement", false)?)?.into()
        }
        "nn.functional.dropout" => {
            let (p, training) = dropout(a, true)?;
            a.x()?.dropout(p, training)?.into()
        }
        "nn.functional.dropout2d" | "nn.functional.dropout3d" => {
            let (p, training) = dropout(a, true)?;
            a.x()?.channel_dropout(p, training)?.into()
        }
        "nn.functional.alpha_dropout" => {
            let (p, training) = dropout(a, false)?;
            a.x()?.alpha_dropout(p, training)?.into()
        }
        "nn.functional.feature_alpha_dropout" => {
            let (p, training) = dropout(a, false)?;
            a.x()?.channel_alpha_dropout(p, training)?.into()
        }
        _ => return Err(Stop::NoRow),
    })
}

/// The in-place forms.
pub fn in_place(name: &str, a: &Args<'_>) -> Answer<()> {
    let (first, second) =
        (|name, absent| a.float_or(1, name, absent), |name, absent| a.float_or(2, name, absent));
    match name {
        "dropout_" => {
            let (p, training) = dropout(a, true)?;
            a.x()?.dropout_(p, training)?;
        }
        "dropout2d_" | "dropout3d_" => {
            let (p, training) = dropout(a, true)?;
            a.x()?.channel_dropout_(p, training)?;
        }
        "alpha_dropout_" => {
            let (p, training) = dropout(a, false)?;
            a.x()?.alpha_dropout_(p, training)?;
        }
        "feature_alpha_dropout_" => {
            let (p, training) = dropout(a, false)?;
            a.x()?.channel_alpha_dropout_(p, training)?;
        }
        "uniform_" => a.x()?.uniform_(first("from", 0.0)?, second("to", 1.0)?)?,
        "normal_" => a.x()?.normal_(first("mean", 0.0)?, second("std", 1.0)?)?,
        "log_normal_" => a.x()?.log_normal_(first("mean", 1.0)?, second("std", 2.0)?)?,
        "cauchy_" => a.x()?.cauchy_(first("median", 0.0)?, second("sigma", 1.0)?)?,
        "exponential_" => a.x()?.exponential_(first("lambd", 1.0)?)?,
        "geometric_" => match a.opt_float(1, "p")? {
            Some(p) => a.x()?.geometric_(p)?,
            None => return missing("p"),
        },
        "bernoulli_" => match a.opt_value(1, "p")? {
            Some(p) => a.x()?.bernoulli_(p.arg())?,
            None => a.x()?.bernoulli_(0.5)?,
        },
        _ => return Err(Stop::NoRow),
    }
    Ok(())
}
