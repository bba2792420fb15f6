//! `torch.masked`.

use kiln_autograd::{DType, Masked, Tensor};

use crate::conformance::args::{Answer, Args, Out, Stop};
use crate::vectors::Arg;

/// The tensor, in the dtype that is asked for, with its mask.
fn masked(a: &Args<'_>, dtype: Option<DType>) -> Answer<Masked> {
    let x = a.x()?;
    let x = dtype.map_or_else(|| Ok(x.clone()), |dtype| x.to_dtype(dtype))?;
    Ok(x.masked(a.opt_tensor(usize::MAX, "mask")?.as_ref())?)
}

fn correction(a: &Args<'_>) -> Answer<f64> {
    match a.get(2, "unbiased") {
        Some(Arg::Bool(unbiased)) => Ok(if *unbiased { 1.0 } else { 0.0 }),
        _ => a.float_or(usize::MAX, "correction", 1.0),
    }
}

/// The operators of this family.
pub fn call(name: &str, a: &Args<'_>) -> Answer<Out> {
    let Some(name) = name.strip_prefix("masked.") else { return Err(Stop::NoRow) };
    let dtype = a.dtype(usize::MAX, "dtype")?;
    let own = a.x()?.dtype();
    let keepdim = || a.bool_or(usize::MAX, "keepdim", false);
    let axes = |position| Ok::<_, Stop>(a.opt_ints(position, "dim")?.unwrap_or_default());
    let axis = |position| a.int(position, "dim");
    let x = || masked(a, dtype);
    let as_own = |t: Tensor| t.to_dtype(dtype.unwrap_or(own));
    Ok(match name {
        "sum" => x()?.sum(&axes(1)?, keepdim()?)?.into(),
        "prod" => x()?.prod(&axes(1)?, keepdim()?)?.into(),
        "amax" => x()?.amax(&axes(1)?, keepdim()?)?.into(),
        "amin" => x()?.amin(&axes(1)?, keepdim()?)?.into(),
        // PyTorch gives places in the dtype of the elements.
        "argmax" => as_own(x()?.argmax(a.opt_int(1, "dim")?, keepdim()?)?)?.into(),
        "argmin" => as_own(x()?.argmin(a.opt_int(1, "dim")?, keepdim()?)?)?.into(),
        "cumsum" => as_own(x()?.cumsum(axis(1)?)?)?.into(),
        "cumprod" => as_own(x()?.cumprod(axis(1)?)?)?.into(),
        "mean" => x()?.mean(&axes(1)?, keepdim()?)?.into(),
        "median" => x()?.median(a.int_or(1, "dim", -1)?, keepdim()?)?.into(),
        "logsumexp" => as_own(x()?.logsumexp(&axes(1)?, keepdim()?)?)?.into(),
        "norm" => x()?.norm(a.float_or(1, "ord", 2.0)?, &axes(2)?, keepdim()?)?.into(),
        "normalize" => {
            let eps = a.float_or(usize::MAX, "eps", 1e-12)?;
            x()?.normalize(a.float_or(1, "ord", 2.0)?, axis(2)?, eps)?.into()
        }
        "var" => x()?.var(&axes(1)?, correction(a)?, keepdim()?)?.into(),
        "std" => x()?.std(&axes(1)?, correction(a)?, keepdim()?)?.into(),
        "softmax" => x()?.softmax(axis(1)?)?.into(),
        "log_softmax" => x()?.log_softmax(axis(1)?)?.into(),
        "softmin" => x()?.softmin(axis(1)?)?.into(),
        "logaddexp" => {
            let x = a.x()?.masked(a.opt_tensor(usize::MAX, "input_mask")?.as_ref())?;
            let y = a.tensor(1, "other")?.masked(a.opt_tensor(usize::MAX, "other_mask")?.as_ref())?;
            x.logaddexp(&y)?.into()
        }
        _ => return Err(Stop::NoRow),
    })
}
