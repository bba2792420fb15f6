//! Sorting, selection, distinct elements, accumulation.

use kiln_autograd::{Error, Interpolation, Tensor, Unique};

use crate::conformance::args::{Answer, Args, Out, Stop, missing};

/// The axis and the direction of a sort; Kiln's sorts are all stable.
fn order(a: &Args<'_>) -> Answer<(i64, bool)> {
    let _ = a.named("stable");
    // sort(stable, dim, descending) has its flag by name only.
    Ok((a.int_or(1, "dim", -1)?, a.bool_or(2, "descending", false)?))
}

fn distinct(found: Unique, inverse: bool, counts: bool) -> Out {
    let mut out = vec![Out::from(found.values)];
    if inverse {
        out.push(found.inverse.into());
    }
    if counts {
        out.push(found.counts.into());
    }
    if out.len() == 1 { out.remove(0) } else { Out::List(out) }
}

fn quantile(a: &Args<'_>, skip_nan: bool) -> Answer<Tensor> {
    let interpolation = match a.str_or(usize::MAX, "interpolation", "linear")? {
        "linear" => Interpolation::Linear,
        "lower" => Interpolation::Lower,
        "higher" => Interpolation::Higher,
        "nearest" => Interpolation::Nearest,
        "midpoint" => Interpolation::Midpoint,
        other => return Err(Error::value("quantile", format!("no interpolation {other:?}")).into()),
    };
    let (x, q) = (a.x()?, a.value(1, "q")?);
    let (axis, keepdim) = (a.opt_int(2, "dim")?, a.bool_or(3, "keepdim", false)?);
    Ok(match skip_nan {
        true => x.nanquantile(q.arg(), axis, keepdim, interpolation)?,
        false => x.quantile(q.arg(), axis, keepdim, interpolation)?,
    })
}

/// The operators of this family.
pub fn call(name: &str, a: &Args<'_>) -> Answer<Out> {
    let keepdim = |position| a.bool_or(position, "keepdim", false);
    let cast = |x: Tensor| -> Answer<Tensor> {
        Ok(match a.dtype(usize::MAX, "dtype")? {
            Some(dtype) => x.to_dtype(dtype)?,
            None => x,
        })
    };
    Ok(match name {
        "sort" => {
            let (axis, descending) = order(a)?;
            a.x()?.sort(axis, descending)?.into()
        }
        "argsort" => {
            let (axis, descending) = order(a)?;
            a.x()?.argsort(axis, descending)?.into()
        }
        "msort" => a.x()?.msort()?.into(),
        "topk" => {
            let (k, axis) = (a.size(1, "k")?, a.int_or(2, "dim", -1)?);
            let largest = a.bool_or(3, "largest", true)?;
            // Kiln's are always in order.
            let _ = a.bool_or(4, "sorted", true)?;
            a.x()?.topk(k, axis, largest)?.into()
        }
        "kthvalue" => {
            let (k, axis) = (a.size(1, "k")?, a.int_or(2, "dim", -1)?);
            a.x()?.kthvalue(k, axis, keepdim(3)?)?.into()
        }
        "median" | "nanmedian" => match (a.opt_int(1, "dim")?, name) {
            (None, "median") => a.x()?.median()?.into(),
            (None, _) => a.x()?.nanmedian()?.into(),
            (Some(axis), "median") => a.x()?.median_axis(axis, keepdim(2)?)?.into(),
            (Some(axis), _) => a.x()?.nanmedian_axis(axis, keepdim(2)?)?.into(),
        },
        "mode" => a.x()?.mode(a.int_or(1, "dim", -1)?, keepdim(2)?)?.into(),
        "unique" => {
            // Kiln's are always in order.
            let _ = a.bool_or(1, "sorted", true)?;
            let (inverse, counts) =
                (a.bool_or(2, "return_inverse", false)?, a.bool_or(3, "return_counts", false)?);
            let found = a.x()?.unique_with(a.opt_int(4, "dim")?)?;
            distinct(found, inverse, counts)
        }
        "unique_consecutive" => {
            let (inverse, counts) =
                (a.bool_or(1, "return_inverse", false)?, a.bool_or(2, "return_counts", false)?);
            let found = a.x()?.unique_consecutive_with(a.opt_int(3, "dim")?)?;
            distinct(found, inverse, counts)
        }
        "quantile" => quantile(a, false)?.into(),
        "nanquantile" => quantile(a, true)?.into(),
        "cumsum" => cast(cast(a.x()?)?.cumsum(a.int(1, "dim")?)?)?.into(),
        "cumprod" => cast(cast(a.x()?)?.cumprod(a.int(1, "dim")?)?)?.into(),
        "logcumsumexp" => a.x()?.logcumsumexp(a.int(1, "dim")?)?.into(),
        "cummax" => a.x()?.cummax(a.int(1, "dim")?)?.into(),
        "cummin" => a.x()?.cummin(a.int(1, "dim")?)?.into(),
        "diff" => {
            let (n, axis) = (a.size_or(1, "n", 1)?, a.int_or(2, "dim", -1)?);
            let (before, after) = (a.opt_tensor(3, "prepend")?, a.opt_tensor(4, "append")?);
            a.x()?.diff(n, axis, before.as_ref(), after.as_ref())?.into()
        }
        _ => return Err(Stop::NoRow),
    })
}

/// The in-place forms.
pub fn in_place(name: &str, a: &Args<'_>) -> Answer<()> {
    match name {
        "cumsum_" | "cumprod_" => {
            let (x, axis) = (a.x()?, a.int(1, "dim")?);
            if a.dtype(usize::MAX, "dtype")?.is_some_and(|dtype| dtype != x.dtype()) {
                return missing(format!("{name} in another dtype"));
            }
            if name == "cumsum_" { x.cumsum_(axis)? } else { x.cumprod_(axis)? }
        }
        _ => return Err(Stop::NoRow),
    }
    Ok(())
}
