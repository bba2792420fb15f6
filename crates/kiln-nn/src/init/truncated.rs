//! Normal numbers within bounds.

use kiln_autograd::kiln_ops::random::{Generator, default_generator};
use kiln_autograd::{Error, Here, Result, Tensor, no_grad};

/// Above this share of the normal's mass within the bounds, drawing again what falls outside is cheaper.
const ENOUGH_MASS: f64 = 0.3;

/// No fill takes as many rounds, unless the bounds hold next to nothing.
const MOST_ROUNDS: usize = 100_000;

/// Normal numbers of which those outside of `[low, high]` are drawn again.
///
/// # Errors
/// `std` is not positive, the bounds are not in order, or the dtype is not floating point.
#[track_caller]
pub fn trunc_normal_(t: &Tensor, mean: f64, std: f64, low: f64, high: f64) -> Result<()> {
    let fine = [mean, std, low, high].iter().all(|x| x.is_finite()) && std > 0.0 && low < high;
    if !fine {
        return Err(Error::value(
            "trunc_normal_",
            format!("expects std > 0 and a < b, all finite; got mean={mean}, std={std}, a={low}, b={high}"),
        ));
    }
    if t.numel() == 0 {
        return Ok(());
    }
    let below = |x: f64| (1.0 + libm::erf((x - mean) / std / std::f64::consts::SQRT_2)) / 2.0;
    let values = no_grad(|| {
        let mut generator = default_generator();
        if below(high) - below(low) > ENOUGH_MASS {
            by_redrawing(t, mean, std, low, high, &mut generator)
        } else {
            by_density(t, mean, std, low, high, &mut generator)
        }
    })
    .here()?;
    no_grad(|| t.copy_(&values)).here()
}

fn gave_up() -> Error {
    Error::value("trunc_normal_", "the interval holds next to none of the distribution")
}

/// Normal numbers in a tensor like `t`.
#[track_caller]
fn normal(t: &Tensor, mean: f64, std: f64, generator: &mut Generator) -> Result<Tensor> {
    let values = t.empty_like()?;
    values.normal_generator_(mean, std, generator)?;
    Ok(values)
}

/// Uniform numbers in a tensor like `t`.
#[track_caller]
fn uniform(t: &Tensor, low: f64, high: f64, generator: &mut Generator) -> Result<Tensor> {
    let values = t.empty_like()?;
    values.uniform_generator_(low, high, generator)?;
    Ok(values)
}

#[track_caller]
fn by_redrawing(
    t: &Tensor,
    mean: f64,
    std: f64,
    low: f64,
    high: f64,
    generator: &mut Generator,
) -> Result<Tensor> {
    // The bounds rounded as the values are.
    let bound = |x: f64| t.detach().full_like(x)?.flatten(0, -1)?.narrow(0, 0, 1)?.to_f64();
    let (low, high) = (bound(low).here()?, bound(high).here()?);
    let mut values = normal(t, mean, std, generator)?;
    for _ in 0..MOST_ROUNDS {
        let outside = values.lt(low)?.logical_or(&values.gt(high)?)?;
        if !outside.any()?.item()?.is_true() {
            return Ok(values);
        }
        values = normal(t, mean, std, generator)?.where_self(&outside, &values)?;
    }
    Err(gave_up())
}

/// Uniform proposals, each accepted with the ratio of its density to the largest one within the bounds.
#[track_caller]
fn by_density(
    t: &Tensor,
    mean: f64,
    std: f64,
    low: f64,
    high: f64,
    generator: &mut Generator,
) -> Result<Tensor> {
    let peak = -0.5 * ((mean.clamp(low, high) - mean) / std).powi(2);
    let mut values = uniform(t, low, high, generator)?;
    let mut candidates = values.clone();
    let mut pending: Option<Tensor> = None;
    for _ in 0..MOST_ROUNDS {
        let score = candidates.sub(mean)?.div(std)?.square()?.mul(-0.5)?.sub(peak)?;
        let refused = uniform(t, 0.0, 1.0, generator)?.log()?.gt(&score)?;
        let still = match &pending {
            None => refused,
            Some(before) => before.logical_and(&refused)?,
        };
        if !still.any()?.item()?.is_true() {
            return Ok(values);
        }
        candidates = uniform(t, low, high, generator)?;
        values = candidates.where_self(&still, &values)?;
        pending = Some(still);
    }
    Err(gave_up())
}
