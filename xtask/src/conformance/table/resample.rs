//! Images sampled anew: other sizes, grids of places.

use kiln_autograd::{Alignment, Error, GridMode, GridPadding, InterpolateMode, Tensor};

use crate::conformance::args::{Answer, Args, Out, Stop, missing};
use crate::vectors::Arg;

/// `interpolate(input, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)`, and
/// `upsample_nearest(input, size, scale_factor)` and its like, which fix mode and corners.
fn interpolate(a: &Args<'_>, fixed: Option<(&'static str, bool)>) -> Answer<Tensor> {
    let x = a.x()?;
    let asked = match fixed {
        Some((mode, _)) => mode,
        None => a.str_or(3, "mode", "nearest")?,
    };
    let axes = x.rank().saturating_sub(2);
    let mode = match asked {
        "nearest" => InterpolateMode::Nearest,
        "nearest-exact" => InterpolateMode::NearestExact,
        "linear" | "bilinear" | "trilinear" => InterpolateMode::Linear,
        "bicubic" => InterpolateMode::Bicubic,
        "area" => InterpolateMode::Area,
        other => return Err(Error::value("interpolate", format!("no mode {other:?}")).into()),
    };
    let named = match asked {
        "linear" => 1,
        "bilinear" | "bicubic" => 2,
        "trilinear" => 3,
        _ => axes,
    };
    let _ = ["size", "scale_factor", "align_corners", "recompute_scale_factor"].map(|n| a.named(n));
    let _ = [1, 2, 4, 5].map(|i| a.get(i, ""));
    if named != axes {
        let what = format!("the mode is for {named} spatial axes, got shape {:?}", x.dims());
        return Err(Error::shape("interpolate", what).into());
    }
    let picks =
        matches!(mode, InterpolateMode::Nearest | InterpolateMode::NearestExact | InterpolateMode::Area);
    if picks && a.has("align_corners") && a.get(4, "align_corners") != Some(&Arg::None) {
        let what = "align_corners option can only be set with the interpolating modes";
        return Err(Error::value("interpolate", what).into());
    }
    let align_corners = match fixed {
        Some((_, corners)) => corners,
        None => a.bool_or(4, "align_corners", false)?,
    };
    let recompute = a.bool_or(5, "recompute_scale_factor", false)?;
    if a.bool_or(6, "antialias", false)? {
        return missing("interpolation against aliasing");
    }
    let scales = match a.get(2, "scale_factor") {
        None | Some(Arg::None) => None,
        Some(Arg::List(items)) => match items.iter().map(Arg::float).collect::<Option<Vec<f64>>>() {
            Some(scales) => Some(scales),
            None => return missing("scale factors that are no numbers"),
        },
        Some(_) => a.opt_float(2, "scale_factor")?.map(|s| vec![s; axes]),
    };
    let (sizes, scales) = match (a.opt_ints(1, "size")?, scales) {
        (Some(_), Some(_)) | (None, None) => {
            let what = "exactly one of size and scale_factor must be given";
            return Err(Error::value("interpolate", what).into());
        }
        (Some(sizes), None) => {
            let sizes =
                if a.get(1, "size").and_then(Arg::int).is_some() { vec![sizes[0]; axes] } else { sizes };
            (super::create::shape(&sizes)?, None)
        }
        (None, Some(scales)) => {
            if scales.len() != axes {
                let what = format!("{} scale factors for {axes} axes", scales.len());
                return Err(Error::shape("interpolate", what).into());
            }
            let sizes =
                x.dims()[2..].iter().zip(&scales).map(|(&n, s)| (n as f64 * s).floor() as usize).collect();
            // The sizes alone count when the factors are to be computed anew from them.
            (sizes, Some(scales).filter(|_| !recompute))
        }
    };
    Ok(x.interpolate(&sizes, mode, Alignment { align_corners, scales: scales.as_deref() })?)
}

fn grid_sample(a: &Args<'_>) -> Answer<Tensor> {
    let unknown = |what: &str, given: &str| -> Stop {
        Error::value("grid_sample", format!("no {what} {given:?}")).into()
    };
    let mode = match a.str_or(2, "mode", "bilinear")? {
        "bilinear" => GridMode::Bilinear,
        "nearest" => GridMode::Nearest,
        "bicubic" => GridMode::Bicubic,
        other => return Err(unknown("mode", other)),
    };
    let padding = match a.str_or(3, "padding_mode", "zeros")? {
        "zeros" => GridPadding::Zeros,
        "border" => GridPadding::Border,
        "reflection" => GridPadding::Reflection,
        other => return Err(unknown("padding mode", other)),
    };
    Ok(a.x()?.grid_sample(&a.tensor(1, "grid")?, mode, padding, a.bool_or(4, "align_corners", false)?)?)
}

/// The operators of this family.
pub fn call(name: &str, a: &Args<'_>) -> Answer<Out> {
    let Some(name) = name.strip_prefix("nn.functional.") else { return Err(Stop::NoRow) };
    Ok(match name {
        "interpolate" => interpolate(a, None)?,
        "upsample_nearest" => interpolate(a, Some(("nearest", false)))?,
        "upsample_bilinear" => interpolate(a, Some(("bilinear", true)))?,
        "grid_sample" => grid_sample(a)?,
        "affine_grid" => {
            let size = super::create::shape(&a.ints(1, "size")?)?;
            a.tensor(0, "theta")?.affine_grid(&size, a.bool_or(2, "align_corners", false)?)?
        }
        _ => return Err(Stop::NoRow),
    }
    .into())
}
