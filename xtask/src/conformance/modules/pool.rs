//! Pooling, unpooling, padding, and other layers of windows and pixels.

use kiln_autograd::{Error, InterpolateMode};
use kiln_nn::{
    AdaptiveAvgPoolNd, AdaptiveMaxPoolNd, AvgPoolNd, ChannelShuffle, CircularPadNd, ConstantPadNd, Fold,
    Forward, FractionalMaxPoolNd, LPPoolNd, MaxPoolNd, MaxUnpoolNd, OutputSize, PixelShuffle, PixelUnshuffle,
    ReflectionPadNd, ReplicationPadNd, Sides, Unfold, Upsample, ZeroPadNd,
};

use super::call::Call;
use super::layer::{Layer, unary, with};
use crate::conformance::args::{Answer, Out, Stop, missing};
use crate::vectors::Arg;

fn max<const N: usize>(a: &Call<'_>) -> Answer<Layer> {
    let kernel: [usize; N] = a.sizes(0, "kernel_size", None)?;
    let layer = MaxPoolNd::<N>::new(kernel)
        .stride(a.sizes(1, "stride", Some(kernel))?)
        .padding(a.sizes(2, "padding", Some([0; N]))?)
        .dilation(a.sizes(3, "dilation", Some([1; N]))?)
        .ceil_mode(a.bool_or(5, "ceil_mode", false)?);
    let indices = a.bool_or(4, "return_indices", false)?;
    with(layer, move |layer: &MaxPoolNd<N>, given| -> Answer<Out> {
        let input = given.tensor(0, "input")?;
        Ok(if indices { layer.forward_with_indices(&input)?.into() } else { layer.forward(&input)?.into() })
    })
}

fn avg<const N: usize>(a: &Call<'_>) -> Answer<Layer> {
    let kernel: [usize; N] = a.sizes(0, "kernel_size", None)?;
    let layer = AvgPoolNd::<N>::new(kernel)
        .stride(a.sizes(1, "stride", Some(kernel))?)
        .padding(a.sizes(2, "padding", Some([0; N]))?)
        .ceil_mode(a.bool_or(3, "ceil_mode", false)?)
        .count_include_pad(a.bool_or(4, "count_include_pad", true)?);
    unary(match a.opt_int(5, "divisor_override")? {
        None => layer,
        Some(_) => layer.divisor_override(a.size(5, "divisor_override")?),
    })
}

fn power<const N: usize>(a: &Call<'_>) -> Answer<Layer> {
    let kernel: [usize; N] = a.sizes(1, "kernel_size", None)?;
    let layer = LPPoolNd::<N>::new(a.float_or(0, "norm_type", 2.0)?, kernel);
    let layer = layer.stride(a.sizes(2, "stride", Some(kernel))?);
    unary(layer.ceil_mode(a.bool_or(3, "ceil_mode", false)?))
}

fn output_size<const N: usize>(a: &Call<'_>) -> Answer<OutputSize<N>> {
    let one = |arg: &Arg| match arg {
        Arg::None => Ok(None),
        Arg::Int(n) if *n >= 0 => Ok(Some(*n as usize)),
        other => missing(format!("the size {other:?}")),
    };
    match a.get(0, "output_size") {
        Some(Arg::List(items)) => {
            let sizes = items.iter().map(one).collect::<Answer<Vec<_>>>()?;
            match <[Option<usize>; N]>::try_from(sizes) {
                Ok(sizes) => Ok(sizes.into()),
                Err(sizes) => missing(format!("{} sizes for {N} axes", sizes.len())),
            }
        }
        Some(arg) => Ok(one(arg)?.map_or([None; N].into(), OutputSize::from)),
        None => missing("no output size"),
    }
}

fn adaptive_max<const N: usize>(a: &Call<'_>) -> Answer<Layer> {
    let indices = a.bool_or(1, "return_indices", false)?;
    let layer = AdaptiveMaxPoolNd::<N>::new(output_size(a)?);
    with(layer, move |layer: &AdaptiveMaxPoolNd<N>, given| -> Answer<Out> {
        let input = given.tensor(0, "input")?;
        Ok(if indices { layer.forward_with_indices(&input)?.into() } else { layer.forward(&input)?.into() })
    })
}

fn fractional<const N: usize>(a: &Call<'_>) -> Answer<Layer> {
    let kernel: [usize; N] = a.sizes(0, "kernel_size", None)?;
    let ratio = match a.get(2, "output_ratio") {
        None | Some(Arg::None) => None,
        Some(Arg::List(items)) => items.iter().map(Arg::float).collect::<Option<Vec<f64>>>(),
        Some(_) => a.opt_float(2, "output_ratio")?.map(|r| vec![r; N]),
    };
    let ratio = ratio.map(<[f64; N]>::try_from);
    let layer = match (a.get(1, "output_size"), ratio) {
        (None | Some(Arg::None), Some(Ok(ratio))) => FractionalMaxPoolNd::<N>::with_ratio(kernel, ratio),
        (Some(_), None) => FractionalMaxPoolNd::<N>::with_size(kernel, a.sizes::<N>(1, "output_size", None)?),
        _ => {
            return Err(
                Error::value("FractionalMaxPool", "exactly one of output_size and output_ratio").into()
            );
        }
    };
    let layer = match a.opt_tensor(4, "_random_samples")? {
        Some(samples) => layer.random_samples(samples),
        None => layer,
    };
    let indices = a.bool_or(3, "return_indices", false)?;
    with(layer, move |layer: &FractionalMaxPoolNd<N>, given| -> Answer<Out> {
        let input = given.tensor(0, "input")?;
        Ok(if indices { layer.forward_with_indices(&input)?.into() } else { layer.forward(&input)?.into() })
    })
}

fn unpool<const N: usize>(a: &Call<'_>) -> Answer<Layer> {
    let kernel: [usize; N] = a.sizes(0, "kernel_size", None)?;
    let layer = MaxUnpoolNd::<N>::new(kernel).stride(a.sizes(1, "stride", Some(kernel))?).padding(a.sizes(
        2,
        "padding",
        Some([0; N]),
    )?);
    with(layer, |layer: &MaxUnpoolNd<N>, given| {
        let (input, indices) = (given.tensor(0, "input")?, given.tensor(1, "indices")?);
        let sizes: Option<Vec<usize>> = given
            .opt_ints(2, "output_size")?
            .map(|sizes| sizes.into_iter().map(|n| n.max(0) as usize).collect());
        Ok(layer.forward(&input, &indices, sizes.as_deref())?)
    })
}

fn sides(a: &Call<'_>) -> Answer<Sides> {
    Ok(a.ints(0, "padding")?.into())
}

fn pad<const N: usize>(kind: &str, a: &Call<'_>) -> Answer<Layer> {
    match kind {
        "ZeroPad" => unary(ZeroPadNd::<N>::new(sides(a)?)),
        "ReflectionPad" => unary(ReflectionPadNd::<N>::new(sides(a)?)),
        "ReplicationPad" => unary(ReplicationPadNd::<N>::new(sides(a)?)),
        "CircularPad" => unary(CircularPadNd::<N>::new(sides(a)?)),
        "ConstantPad" => unary(ConstantPadNd::<N>::new(sides(a)?, a.number(1, "value")?.to_f64())),
        _ => Err(Stop::NoRow),
    }
}

/// The layers that resample, all of which are [`Upsample`].
fn upsample(a: &Call<'_>, fixed: Option<(&str, bool)>) -> Answer<Layer> {
    let mode = match fixed {
        Some((mode, _)) => mode,
        None => a.str_or(2, "mode", "nearest")?,
    };
    let mode = match mode {
        "nearest" => InterpolateMode::Nearest,
        "nearest-exact" => InterpolateMode::NearestExact,
        "linear" | "bilinear" | "trilinear" => InterpolateMode::Linear,
        "bicubic" => InterpolateMode::Bicubic,
        "area" => InterpolateMode::Area,
        other => return Err(Error::value("Upsample", format!("no mode {other:?}")).into()),
    };
    let align = match fixed {
        Some((_, align)) => align,
        None => a.bool_or(3, "align_corners", false)?,
    };
    let scales = match a.get(1, "scale_factor") {
        None | Some(Arg::None) => None,
        Some(Arg::List(items)) => items.iter().map(Arg::float).collect::<Option<Vec<f64>>>(),
        Some(_) => a.opt_float(1, "scale_factor")?.map(|s| vec![s]),
    };
    let sizes = a.opt_ints(0, "size")?.map(|s| s.into_iter().map(|n| n.max(0) as usize).collect::<Vec<_>>());
    let layer = match (sizes, scales) {
        (Some(sizes), None) => Upsample::size(sizes),
        (None, Some(scales)) => Upsample::scale(scales),
        // The constructors take one or the other.
        _ => {
            return Err(Error::value("Upsample", "exactly one of size and scale_factor must be given").into());
        }
    };
    let recompute = fixed.is_none() && a.bool_or(4, "recompute_scale_factor", false)?;
    unary(layer.mode(mode).align_corners(align).recompute_scale_factor(recompute))
}

/// The classes of this family.
pub fn build(name: &str, a: &Call<'_>) -> Answer<Layer> {
    for (axes, ending) in ["Pad1d", "Pad2d", "Pad3d"].into_iter().enumerate() {
        if let Some(kind) = name.strip_suffix(ending) {
            let kind = format!("{kind}Pad");
            return [pad::<1>, pad::<2>, pad::<3>][axes](&kind, a);
        }
    }
    match name {
        "MaxPool1d" => max::<1>(a),
        "MaxPool2d" => max::<2>(a),
        "MaxPool3d" => max::<3>(a),
        "AvgPool1d" => avg::<1>(a),
        "AvgPool2d" => avg::<2>(a),
        "AvgPool3d" => avg::<3>(a),
        "LPPool1d" => power::<1>(a),
        "LPPool2d" => power::<2>(a),
        "LPPool3d" => power::<3>(a),
        "AdaptiveAvgPool1d" => unary(AdaptiveAvgPoolNd::<1>::new(output_size(a)?)),
        "AdaptiveAvgPool2d" => unary(AdaptiveAvgPoolNd::<2>::new(output_size(a)?)),
        "AdaptiveAvgPool3d" => unary(AdaptiveAvgPoolNd::<3>::new(output_size(a)?)),
        "AdaptiveMaxPool1d" => adaptive_max::<1>(a),
        "AdaptiveMaxPool2d" => adaptive_max::<2>(a),
        "AdaptiveMaxPool3d" => adaptive_max::<3>(a),
        "FractionalMaxPool2d" => fractional::<2>(a),
        "FractionalMaxPool3d" => fractional::<3>(a),
        "MaxUnpool1d" => unpool::<1>(a),
        "MaxUnpool2d" => unpool::<2>(a),
        "MaxUnpool3d" => unpool::<3>(a),
        "Upsample" => upsample(a, None),
        "UpsamplingNearest2d" => upsample(a, Some(("nearest", false))),
        "UpsamplingBilinear2d" => upsample(a, Some(("bilinear", true))),
        "PixelShuffle" => unary(PixelShuffle::new(a.size(0, "upscale_factor")?)),
        "PixelUnshuffle" => unary(PixelUnshuffle::new(a.size(0, "downscale_factor")?)),
        "ChannelShuffle" => unary(ChannelShuffle::new(a.size(0, "groups")?)),
        "Unfold" => unary(
            Unfold::new(a.sizes::<2>(0, "kernel_size", None)?)
                .dilation(a.sizes(1, "dilation", Some([1; 2]))?)
                .padding(a.sizes(2, "padding", Some([0; 2]))?)
                .stride(a.sizes(3, "stride", Some([1; 2]))?),
        ),
        "Fold" => unary(
            Fold::new(a.sizes::<2>(0, "output_size", None)?, a.sizes::<2>(1, "kernel_size", None)?)
                .dilation(a.sizes(2, "dilation", Some([1; 2]))?)
                .padding(a.sizes(3, "padding", Some([0; 2]))?)
                .stride(a.sizes(4, "stride", Some([1; 2]))?),
        ),
        _ => Err(Stop::NoRow),
    }
}
