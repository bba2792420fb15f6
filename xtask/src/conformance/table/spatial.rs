//! Windows, unpooling, shuffled channels, and other functions of images; products of two inputs.

use kiln_autograd::{Result, Tensor};

use crate::conformance::args::{Answer, Args, Out, Stop};
use crate::vectors::Arg;

/// `fold` and `unfold` from `dilation` on.
fn windows(a: &Args<'_>, from: usize) -> Answer<[[usize; 2]; 3]> {
    Ok([
        a.sizes(from, "dilation", Some([1; 2]))?,
        a.sizes(from + 1, "padding", Some([0; 2]))?,
        a.sizes(from + 2, "stride", Some([1; 2]))?,
    ])
}

type Unpool<const N: usize> =
    fn(&Tensor, &Tensor, [usize; N], [usize; N], [usize; N], Option<&[usize]>) -> Result<Tensor>;

fn unpool<const N: usize>(a: &Args<'_>, method: Unpool<N>) -> Answer<Out> {
    let (x, indices) = (a.x()?, a.tensor(1, "indices")?);
    let kernel = a.sizes(2, "kernel_size", None)?;
    let stride = a.sizes(3, "stride", Some(kernel))?;
    let padding = a.sizes(4, "padding", Some([0; N]))?;
    let size = match a.opt_ints(5, "output_size")? {
        Some(sizes) => Some(super::create::shape(&sizes)?),
        None => None,
    };
    Ok(method(&x, &indices, kernel, stride, padding, size.as_deref())?.into())
}

type Fractional<const N: usize> =
    fn(&Tensor, [usize; N], [usize; N], Option<&Tensor>) -> Result<(Tensor, Tensor)>;

fn fractional<const N: usize>(a: &Args<'_>, method: Fractional<N>) -> Answer<Out> {
    let x = a.x()?;
    let kernel = a.sizes(1, "kernel_size", None)?;
    let ratio = match a.get(3, "output_ratio") {
        None | Some(Arg::None) => None,
        Some(Arg::List(items)) => items.iter().map(Arg::float).collect::<Option<Vec<f64>>>(),
        Some(_) => a.opt_float(3, "output_ratio")?.map(|r| vec![r; N]),
    };
    let output = match (a.get(2, "output_size"), ratio) {
        (None | Some(Arg::None), Some(ratio)) if ratio.len() == N && x.rank() >= N => {
            let sizes = x.dims();
            let sizes = &sizes[sizes.len() - N..];
            std::array::from_fn(|i| (sizes[i] as f64 * ratio[i]) as usize)
        }
        _ => a.sizes(2, "output_size", None)?,
    };
    let samples = a.opt_tensor(5, "_random_samples")?;
    let positions = a.bool_or(4, "return_indices", false)?;
    let (y, index) = method(&x, kernel, output, samples.as_ref())?;
    Ok(if positions { (y, index).into() } else { y.into() })
}

type PowerPool<const N: usize> = fn(&Tensor, f64, [usize; N], [usize; N], bool) -> Result<Tensor>;

fn power_pool<const N: usize>(a: &Args<'_>, method: PowerPool<N>) -> Answer<Out> {
    let (x, p) = (a.x()?, a.float_or(1, "norm_type", 2.0)?);
    let kernel = a.sizes(2, "kernel_size", None)?;
    let stride = a.sizes(3, "stride", Some(kernel))?;
    Ok(method(&x, p, kernel, stride, a.bool_or(4, "ceil_mode", false)?)?.into())
}

/// The operators of this family.
pub fn call(name: &str, a: &Args<'_>) -> Answer<Out> {
    let Some(name) = name.strip_prefix("nn.functional.") else { return Err(Stop::NoRow) };
    Ok(match name {
        "unfold" => {
            let kernel = a.sizes(1, "kernel_size", None)?;
            let [dilation, padding, stride] = windows(a, 2)?;
            a.x()?.im2col(kernel, dilation, padding, stride)?.into()
        }
        "fold" => {
            let (size, kernel) = (a.sizes(1, "output_size", None)?, a.sizes(2, "kernel_size", None)?);
            let [dilation, padding, stride] = windows(a, 3)?;
            a.x()?.col2im(size, kernel, dilation, padding, stride)?.into()
        }
        "max_unpool1d" => unpool(a, Tensor::max_unpool1d)?,
        "max_unpool2d" => unpool(a, Tensor::max_unpool2d)?,
        "max_unpool3d" => unpool(a, Tensor::max_unpool3d)?,
        "fractional_max_pool2d" => fractional(a, Tensor::fractional_max_pool2d)?,
        "fractional_max_pool3d" => fractional(a, Tensor::fractional_max_pool3d)?,
        "lp_pool1d" => power_pool(a, Tensor::lp_pool1d)?,
        "lp_pool2d" => power_pool(a, Tensor::lp_pool2d)?,
        "lp_pool3d" => power_pool(a, Tensor::lp_pool3d)?,
        "pixel_shuffle" => a.x()?.pixel_shuffle(a.size(1, "upscale_factor")?)?.into(),
        "pixel_unshuffle" => a.x()?.pixel_unshuffle(a.size(1, "downscale_factor")?)?.into(),
        "channel_shuffle" => a.x()?.channel_shuffle(a.size(1, "groups")?)?.into(),
        "local_response_norm" => {
            let (alpha, beta) = (a.float_or(2, "alpha", 1e-4)?, a.float_or(3, "beta", 0.75)?);
            a.x()?.local_response_norm(a.size(1, "size")?, alpha, beta, a.float_or(4, "k", 1.0)?)?.into()
        }
        "bilinear" => {
            let (x, y) = (a.tensor(0, "input1")?, a.tensor(1, "input2")?);
            x.bilinear(&y, &a.tensor(2, "weight")?, a.opt_tensor(3, "bias")?.as_ref())?.into()
        }
        "pdist" => a.x()?.pdist(a.float_or(1, "p", 2.0)?)?.into(),
        _ => return Err(Stop::NoRow),
    })
}
