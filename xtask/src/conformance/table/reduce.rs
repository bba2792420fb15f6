//! Reductions, norms, softmax.

use kiln_autograd::{Error, Tensor};

use crate::conformance::args::{Answer, Args, Out, Stop, missing};
use crate::vectors::Arg;

/// The axes of a reduction: none given means all.
fn axes(a: &Args<'_>) -> Answer<Vec<i64>> {
    Ok(a.opt_ints(1, "dim|axis")?.unwrap_or_default())
}

/// The correction of a variance: `correction`, or `unbiased` by name or in the place of the axes.
struct Spread {
    axes: Vec<i64>,
    correction: f64,
    keepdim: bool,
}

fn spread(a: &Args<'_>) -> Answer<Spread> {
    let correction = |unbiased: bool| if unbiased { 1.0 } else { 0.0 };
    // The older forms: var(x, unbiased) and var(x, dim, unbiased, keepdim).
    if let Some(Arg::Bool(unbiased)) = a.get(1, "dim|axis") {
        return Ok(Spread { axes: Vec::new(), correction: correction(*unbiased), keepdim: false });
    }
    let axes = axes(a)?;
    let (given, keepdim) = match a.count() > 2 {
        true => (Some(a.bool_or(2, "unbiased", true)?), a.bool_or(3, "keepdim", false)?),
        false => {
            let unbiased = a.has("unbiased").then(|| a.bool_or(usize::MAX, "unbiased", true)).transpose()?;
            (unbiased, a.bool_or(usize::MAX, "keepdim", false)?)
        }
    };
    let correction = match given {
        Some(unbiased) => correction(unbiased),
        None => a.float_or(usize::MAX, "correction", 1.0)?,
    };
    Ok(Spread { axes, correction, keepdim })
}

/// The order of a norm.
fn order(a: &Args<'_>, position: usize, name: &str, absent: f64) -> Answer<f64> {
    match a.get(position, name) {
        Some(Arg::Str(s)) if s == "fro" => Ok(2.0),
        Some(Arg::Str(s)) => missing(format!("the norm {s:?}")),
        Some(Arg::None) | None => Ok(absent),
        Some(_) => a.float_or(position, name, absent),
    }
}

fn softmax(
    a: &Args<'_>,
    which: fn(&Tensor, i64) -> kiln_autograd::Result<Tensor>,
    functional: bool,
) -> Answer<Out> {
    let mut x = a.x()?;
    let axis = a.int(1, "dim")?;
    // The functional form has a place for a warning's stack level before the dtype.
    let place = if functional { 3 } else { 2 };
    if functional {
        let _ = a.get(2, "_stacklevel");
    }
    if let Some(dtype) = a.dtype(place, "dtype")? {
        x = x.to_dtype(dtype)?;
    }
    Ok(which(&x, axis)?.into())
}

/// The operators of this family.
pub fn call(name: &str, a: &Args<'_>) -> Answer<Out> {
    let keepdim = |position| a.bool_or(position, "keepdim", false);
    // Input in the dtype of the result, where one is asked for.
    let cast = |x: Tensor| -> Answer<Tensor> {
        Ok(match a.dtype(usize::MAX, "dtype")? {
            Some(dtype) => x.to_dtype(dtype)?,
            None => x,
        })
    };
    // And the result: sums of integers are int64 unless told otherwise.
    let result = |y: Tensor| cast(y);
    Ok(match name {
        "sum" => result(cast(a.x()?)?.sum_axes(&axes(a)?, keepdim(2)?)?)?.into(),
        "mean" => cast(a.x()?)?.mean_axes(&axes(a)?, keepdim(2)?)?.into(),
        "nansum" => {
            let x = cast(a.x()?)?;
            result(x.nansum(&axes(a)?, keepdim(2)?)?)?.into()
        }
        "nanmean" => cast(a.x()?)?.nanmean(&axes(a)?, keepdim(2)?)?.into(),
        "prod" => {
            let x = cast(a.x()?)?;
            match a.opt_int(1, "dim|axis")? {
                Some(axis) => result(x.prod_axes(&[axis], keepdim(2)?)?)?.into(),
                None => result(x.prod()?)?.into(),
            }
        }
        "amax" => a.x()?.amax(&axes(a)?, keepdim(2)?)?.into(),
        "amin" => a.x()?.amin(&axes(a)?, keepdim(2)?)?.into(),
        "aminmax" => {
            let (x, keep) = (a.x()?, keepdim(usize::MAX)?);
            let axes: Vec<i64> = a.opt_int(usize::MAX, "dim")?.into_iter().collect();
            (x.amin(&axes, keep)?, x.amax(&axes, keep)?).into()
        }
        "max" | "min" => {
            let x = a.x()?;
            match a.opt_int(1, "dim|axis")? {
                None if name == "max" => x.max()?.into(),
                None => x.min()?.into(),
                Some(axis) if name == "max" => x.max_axis(axis, keepdim(2)?)?.into(),
                Some(axis) => x.min_axis(axis, keepdim(2)?)?.into(),
            }
        }
        "argmax" => a.x()?.argmax(a.opt_int(1, "dim|axis")?, keepdim(2)?)?.into(),
        "argmin" => a.x()?.argmin(a.opt_int(1, "dim|axis")?, keepdim(2)?)?.into(),
        "all" => a.x()?.all_axes(&axes(a)?, keepdim(2)?)?.into(),
        "any" => a.x()?.any_axes(&axes(a)?, keepdim(2)?)?.into(),
        "count_nonzero" => a.x()?.count_nonzero(&axes(a)?)?.into(),
        "logsumexp" => a.x()?.logsumexp(&axes(a)?, keepdim(2)?)?.into(),
        "var" => {
            let s = spread(a)?;
            a.x()?.var_axes(&s.axes, s.correction, s.keepdim)?.into()
        }
        "std" => {
            let s = spread(a)?;
            a.x()?.std_axes(&s.axes, s.correction, s.keepdim)?.into()
        }
        "var_mean" => {
            let s = spread(a)?;
            a.x()?.var_mean(&s.axes, s.correction, s.keepdim)?.into()
        }
        "std_mean" => {
            let s = spread(a)?;
            a.x()?.std_mean(&s.axes, s.correction, s.keepdim)?.into()
        }
        "norm" if !matches!(a.get(1, "p"), Some(Arg::Str(s)) if s == "nuc") => {
            let p = order(a, 1, "p", 2.0)?;
            let axes = a.opt_ints(2, "dim")?.unwrap_or_default();
            let keep = a.bool_or(3, "keepdim", false)?;
            cast(a.x()?)?.vector_norm(p, &axes, keep)?.into()
        }
        "linalg.vector_norm" => {
            let p = a.float_or(1, "ord", 2.0)?;
            let axes = a.opt_ints(2, "dim")?.unwrap_or_default();
            let keep = a.bool_or(3, "keepdim", false)?;
            cast(a.x()?)?.vector_norm(p, &axes, keep)?.into()
        }
        "dist" => a.x()?.dist(&a.tensor(1, "other")?, a.float_or(2, "p", 2.0)?)?.into(),
        "renorm" => {
            let (p, axis) = (a.float_or(1, "p", 2.0)?, a.int(2, "dim")?);
            let Some(maxnorm) = a.opt_float(3, "maxnorm")? else { return missing("maxnorm") };
            a.x()?.renorm(p, axis, maxnorm)?.into()
        }
        "trace" => a.x()?.trace()?.into(),
        "Tensor.sum_to_size" => {
            let sizes = a.ints_from(1, "size")?;
            let sizes: Vec<usize> =
                sizes.iter().map(|&s| usize::try_from(s)).collect::<Result<_, _>>().map_err(|_| {
                    Stop::from(Error::shape("sum_to_size", format!("sizes cannot be negative: {sizes:?}")))
                })?;
            a.x()?.sum_to_size(sizes.as_slice())?.into()
        }
        "softmax" => softmax(a, Tensor::softmax, false)?,
        "log_softmax" => softmax(a, Tensor::log_softmax, false)?,
        "nn.functional.softmax" => softmax(a, Tensor::softmax, true)?,
        "nn.functional.log_softmax" => softmax(a, Tensor::log_softmax, true)?,
        "nn.functional.softmin" => {
            // Negated in its own dtype, then converted.
            let _ = a.get(2, "_stacklevel");
            let (x, axis) = (a.x()?, a.int(1, "dim")?);
            match a.dtype(3, "dtype")? {
                Some(dtype) => x.neg()?.to_dtype(dtype)?.softmax(axis)?.into(),
                None => x.softmin(axis)?.into(),
            }
        }
        _ => return Err(Stop::NoRow),
    })
}
