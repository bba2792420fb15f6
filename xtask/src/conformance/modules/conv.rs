//! Convolutions, and the lazy layers.

use kiln_autograd::{Error, Tensor};
use kiln_nn::{
    BatchNormNd, ConvNd, ConvTransposeNd, Extent, Forward, InstanceNormNd, Lazy, LazyLinear, Module, Padding,
    PaddingMode,
};

use super::call::Call;
use super::layer::{Layer, Replayed, unary, with};
use crate::conformance::args::{Answer, Out, Stop};
use crate::vectors::Arg;

fn padding_mode(a: &Call<'_>, position: usize) -> Answer<PaddingMode> {
    Ok(a.str_or(position, "padding_mode", "zeros")?.parse()?)
}

fn padding<const N: usize>(a: &Call<'_>, position: usize) -> Answer<Padding<N>> {
    match a.get(position, "padding") {
        Some(Arg::Str(word)) => Ok(Padding::from(word.as_str())),
        _ => Ok(Padding::Size(Extent::Each(a.sizes(position, "padding", Some([0; N]))?))),
    }
}

/// The settings of a convolution; the arguments from the stride on start at `at`.
fn settings<const N: usize>(
    a: &Call<'_>,
    at: usize,
) -> Answer<impl Fn(ConvNd<N>) -> ConvNd<N> + Send + Sync + 'static> {
    let stride = a.sizes(at, "stride", Some([1; N]))?;
    let padding = padding::<N>(a, at + 1)?;
    let dilation = a.sizes(at + 2, "dilation", Some([1; N]))?;
    let (groups, bias) = (a.size_or(at + 3, "groups", 1)?, a.bool_or(at + 4, "bias", true)?);
    let mode = padding_mode(a, at + 5)?;
    Ok(move |conv: ConvNd<N>| {
        conv.stride(stride)
            .padding(padding.clone())
            .dilation(dilation)
            .groups(groups)
            .bias(bias)
            .padding_mode(mode)
    })
}

fn conv<const N: usize>(a: &Call<'_>) -> Answer<Layer> {
    let kernel: [usize; N] = a.sizes(2, "kernel_size", None)?;
    let (inputs, outputs) = (a.size(0, "in_channels")?, a.size(1, "out_channels")?);
    let layer = settings(a, 3)?(ConvNd::new(inputs, outputs, kernel));
    layer.check()?;
    unary(layer)
}

/// The settings of a transposed convolution.
fn transposed_settings<const N: usize>(
    a: &Call<'_>,
    at: usize,
) -> Answer<impl Fn(ConvTransposeNd<N>) -> ConvTransposeNd<N> + Send + Sync + 'static> {
    let stride = a.sizes(at, "stride", Some([1; N]))?;
    let padding = a.sizes(at + 1, "padding", Some([0; N]))?;
    let more = a.sizes(at + 2, "output_padding", Some([0; N]))?;
    let (groups, bias) = (a.size_or(at + 3, "groups", 1)?, a.bool_or(at + 4, "bias", true)?);
    let dilation = a.sizes(at + 5, "dilation", Some([1; N]))?;
    if padding_mode(a, at + 6)? != PaddingMode::Zeros {
        let what = "Only \"zeros\" padding mode is supported for transposed convolutions";
        return Err(Error::value("ConvTranspose", what).into());
    }
    Ok(move |conv: ConvTransposeNd<N>| {
        conv.stride(stride).padding(padding).output_padding(more).groups(groups).bias(bias).dilation(dilation)
    })
}

fn transposed<const N: usize>(a: &Call<'_>) -> Answer<Layer> {
    let kernel: [usize; N] = a.sizes(2, "kernel_size", None)?;
    let (inputs, outputs) = (a.size(0, "in_channels")?, a.size(1, "out_channels")?);
    let layer = transposed_settings(a, 3)?(ConvTransposeNd::new(inputs, outputs, kernel));
    layer.check()?;
    with(layer, |layer: &ConvTransposeNd<N>, given| {
        let input: Tensor = given.tensor(0, "input")?;
        Ok(match given.opt_ints(1, "output_size")? {
            None => layer.forward(&input)?,
            Some(sizes) => {
                let sizes: Vec<usize> = sizes.iter().map(|&n| n.max(0) as usize).collect();
                layer.forward_sized(&input, &sizes)?
            }
        })
    })
}

/// A layer whose parameters may not be there yet.
struct LazyLayer<L>(Lazy<L>);

impl<L: Forward> Replayed for LazyLayer<L> {
    fn module(&self) -> &dyn Module {
        &self.0
    }

    fn call(&self, given: &Call<'_>) -> Answer<Out> {
        Ok(self.0.forward(&given.tensor(0, "input")?)?.into())
    }

    fn parameter_count(&self) -> Answer<usize> {
        Ok(self.0.layer()?.num_parameters())
    }
}

fn lazy<L: Forward>(layer: Lazy<L>) -> Answer<Layer> {
    Ok(Box::new(LazyLayer(layer)))
}

fn lazy_conv<const N: usize>(a: &Call<'_>) -> Answer<Layer> {
    let kernel: [usize; N] = a.sizes(1, "kernel_size", None)?;
    lazy(Lazy::<ConvNd<N>>::new(a.size(0, "out_channels")?, kernel).with(settings(a, 2)?))
}

fn lazy_transposed<const N: usize>(a: &Call<'_>) -> Answer<Layer> {
    let kernel: [usize; N] = a.sizes(1, "kernel_size", None)?;
    lazy(Lazy::<ConvTransposeNd<N>>::new(a.size(0, "out_channels")?, kernel).with(transposed_settings(a, 2)?))
}

fn lazy_batch_norm<const N: usize>(a: &Call<'_>) -> Answer<Layer> {
    lazy(Lazy::<BatchNormNd<N>>::new().with(super::norm::batch_settings(a, 0)?))
}

fn lazy_instance_norm<const N: usize>(a: &Call<'_>) -> Answer<Layer> {
    lazy(Lazy::<InstanceNormNd<N>>::new().with(super::norm::instance_settings(a, 0)?))
}

/// The classes of this family.
pub fn build(name: &str, a: &Call<'_>) -> Answer<Layer> {
    match name {
        "Conv1d" => conv::<1>(a),
        "Conv2d" => conv::<2>(a),
        "Conv3d" => conv::<3>(a),
        "ConvTranspose1d" => transposed::<1>(a),
        "ConvTranspose2d" => transposed::<2>(a),
        "ConvTranspose3d" => transposed::<3>(a),
        "LazyConv1d" => lazy_conv::<1>(a),
        "LazyConv2d" => lazy_conv::<2>(a),
        "LazyConv3d" => lazy_conv::<3>(a),
        "LazyConvTranspose1d" => lazy_transposed::<1>(a),
        "LazyConvTranspose2d" => lazy_transposed::<2>(a),
        "LazyConvTranspose3d" => lazy_transposed::<3>(a),
        "LazyBatchNorm1d" => lazy_batch_norm::<1>(a),
        "LazyBatchNorm2d" => lazy_batch_norm::<2>(a),
        "LazyBatchNorm3d" => lazy_batch_norm::<3>(a),
        "LazyInstanceNorm1d" => lazy_instance_norm::<1>(a),
        "LazyInstanceNorm2d" => lazy_instance_norm::<2>(a),
        "LazyInstanceNorm3d" => lazy_instance_norm::<3>(a),
        "LazyLinear" => {
            let bias = a.bool_or(1, "bias", true)?;
            lazy(LazyLinear::new(a.size(0, "out_features")?).with(move |layer| layer.bias(bias)))
        }
        _ => Err(Stop::NoRow),
    }
}
