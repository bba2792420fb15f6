//! Statistics, integrals, slopes, distances.

use kiln_autograd::{Bins, CovWeights, HistogramOptions, Spacing, Tensor};

use crate::conformance::args::{Answer, Args, Out, Stop, missing};
use crate::vectors::Arg;

/// Bins by number or by their ends.
fn bins(a: &Args<'_>) -> Answer<Bins> {
    Ok(match a.get(1, "bins") {
        Some(Arg::Tensor(_)) => Bins::from(&a.tensor(1, "bins")?),
        _ => Bins::Count(a.size(1, "bins")?),
    })
}

/// The range, the weight and whether to give densities: of both histograms.
fn options(a: &Args<'_>) -> Answer<(Option<Vec<f64>>, Option<Tensor>, bool)> {
    let range = match a.named("range") {
        None | Some(Arg::None) => None,
        Some(Arg::List(ends)) => Some(floats(ends)?),
        Some(other) => return missing(format!("the range {other:?}")),
    };
    Ok((range, a.opt_tensor(usize::MAX, "weight")?, a.bool_or(usize::MAX, "density", false)?))
}

fn floats(list: &[Arg]) -> Answer<Vec<f64>> {
    list.iter()
        .map(|arg| match arg {
            Arg::Int(i) => Ok(*i as f64),
            Arg::Float(f) => Ok(*f),
            other => missing(format!("{other:?} among numbers")),
        })
        .collect()
}

fn gradient(a: &Args<'_>) -> Answer<Out> {
    let axes = a.opt_ints(usize::MAX, "dim")?.unwrap_or_default();
    let order = a.size_or(usize::MAX, "edge_order", 1)?;
    let x = a.x()?;
    Ok(match a.named("spacing") {
        None | Some(Arg::None) => x.gradient(Spacing::default(), &axes, order)?,
        Some(Arg::Tensors(_)) => {
            let list = a.tensors(usize::MAX, "spacing")?;
            let list: Vec<&Tensor> = list.iter().collect();
            x.gradient(Spacing::At(&list), &axes, order)?
        }
        Some(Arg::List(list)) => x.gradient(Spacing::EvenPerAxis(&floats(list)?), &axes, order)?,
        Some(_) => x.gradient(Spacing::Even(a.float_or(usize::MAX, "spacing", 1.0)?), &axes, order)?,
    }
    .into())
}

/// An integral: over coordinates, or with equal distances.
fn integral(a: &Args<'_>, name: &str) -> Answer<Out> {
    let (y, axis) = (a.tensor(0, "y")?, a.int_or(usize::MAX, "dim", -1)?);
    let all = name != "cumulative_trapezoid";
    Ok(match a.opt_tensor(1, "x")? {
        Some(x) if all => y.trapezoid(&x, axis)?,
        Some(x) => y.cumulative_trapezoid(&x, axis)?,
        None => {
            let dx = a.float_or(usize::MAX, "dx", 1.0)?;
            if all { y.trapezoid(dx, axis)? } else { y.cumulative_trapezoid(dx, axis)? }
        }
    }
    .into())
}

/// The operators of this family.
pub fn call(name: &str, a: &Args<'_>) -> Answer<Out> {
    Ok(match name {
        "cov" => {
            let (f, w) = (a.opt_tensor(usize::MAX, "fweights")?, a.opt_tensor(usize::MAX, "aweights")?);
            let weights = CovWeights { frequencies: f.as_ref(), importance: w.as_ref() };
            a.x()?.cov(a.int_or(usize::MAX, "correction", 1)?, weights)?.into()
        }
        "corrcoef" => a.x()?.corrcoef()?.into(),
        "histogram" => {
            let (range, weight, density) = options(a)?;
            let options = HistogramOptions { range: range.as_deref(), weight: weight.as_ref(), density };
            a.x()?.histogram(bins(a)?, options)?.into()
        }
        "histogramdd" => {
            let (range, weight, density) = options(a)?;
            let options = HistogramOptions { range: range.as_deref(), weight: weight.as_ref(), density };
            let x = a.x()?;
            let bins = match a.get(1, "bins") {
                Some(Arg::Tensors(_)) => a.tensors(1, "bins")?.iter().map(Bins::from).collect(),
                Some(Arg::Int(_)) => vec![bins(a)?; x.size(-1)?],
                _ => super::create::shape(&a.ints(1, "bins")?)?
                    .into_iter()
                    .map(Bins::Count)
                    .collect::<Vec<_>>(),
            };
            let (counts, ends) = x.histogramdd(&bins, options)?;
            Out::List(vec![counts.into(), ends.into()])
        }
        "isin" => {
            // Kiln needs no hint.
            let _ = a.bool_or(usize::MAX, "assume_unique", false)?;
            let invert = a.bool_or(usize::MAX, "invert", false)?;
            let x = a.value(0, "elements|element")?.to_tensor()?;
            x.isin(a.value(1, "test_elements|test_element")?.arg(), invert)?.into()
        }
        "trapezoid" | "trapz" | "cumulative_trapezoid" => integral(a, name)?,
        "gradient" => gradient(a)?,
        "cdist" => {
            // Kiln chooses how to compute it.
            let _ = a.get(3, "compute_mode");
            a.tensor(0, "x1")?.cdist(&a.tensor(1, "x2")?, a.float_or(2, "p", 2.0)?)?.into()
        }
        "cross" => {
            let x = a.x()?;
            let axis = match a.opt_int(2, "dim")? {
                Some(axis) => axis,
                // The first axis of three elements.
                None => x.dims().iter().position(|&n| n == 3).map_or(-1, |axis| axis as i64),
            };
            x.cross(&a.tensor(1, "other")?, axis)?.into()
        }
        _ => return Err(Stop::NoRow),
    })
}
