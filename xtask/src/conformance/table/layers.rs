//! Convolutions, pooling, normalisation.

use kiln_autograd::{CellWeights, Error, Tensor};

use crate::conformance::args::{Answer, Args, Out, Stop, inexpressible, missing};
use crate::conformance::inexpressible::TYPE;
use crate::vectors::Arg;

/// A convolution over `N` axes.
fn conv<const N: usize>(
    a: &Args<'_>,
    method: fn(
        &Tensor,
        &Tensor,
        Option<&Tensor>,
        [usize; N],
        [usize; N],
        [usize; N],
        usize,
    ) -> kiln_autograd::Result<Tensor>,
) -> Answer<Out> {
    let (x, weight, bias) = (a.x()?, a.tensor(1, "weight")?, a.opt_tensor(2, "bias")?);
    let stride = a.sizes(3, "stride", Some([1; N]))?;
    let padding = match a.get(4, "padding") {
        Some(Arg::Str(s)) if s == "valid" => [0; N],
        Some(Arg::Str(s)) if s == "same" => {
            if stride != [1; N] {
                let what = "padding='same' is not supported for strided convolutions";
                return Err(Error::value("conv", what).into());
            }
            let dilation: [usize; N] = a.sizes(5, "dilation", Some([1; N]))?;
            return Ok(x.conv_same(&weight, bias.as_ref(), &dilation, a.size_or(6, "groups", 1)?)?.into());
        }
        Some(Arg::Str(s)) => return missing(format!("the padding {s:?}")),
        _ => a.sizes(4, "padding", Some([0; N]))?,
    };
    let dilation = a.sizes(5, "dilation", Some([1; N]))?;
    Ok(method(&x, &weight, bias.as_ref(), stride, padding, dilation, a.size_or(6, "groups", 1)?)?.into())
}

/// A transposed convolution over `N` axes.
fn conv_transpose<const N: usize>(
    a: &Args<'_>,
    method: fn(
        &Tensor,
        &Tensor,
        Option<&Tensor>,
        [usize; N],
        [usize; N],
        [usize; N],
        usize,
        [usize; N],
    ) -> kiln_autograd::Result<Tensor>,
) -> Answer<Out> {
    let (x, weight, bias) = (a.x()?, a.tensor(1, "weight")?, a.opt_tensor(2, "bias")?);
    let stride = a.sizes(3, "stride", Some([1; N]))?;
    let padding = a.sizes(4, "padding", Some([0; N]))?;
    let extra = a.sizes(5, "output_padding", Some([0; N]))?;
    let groups = a.size_or(6, "groups", 1)?;
    let dilation = a.sizes(7, "dilation", Some([1; N]))?;
    Ok(method(&x, &weight, bias.as_ref(), stride, padding, extra, groups, dilation)?.into())
}

type MaxPool<const N: usize, R> =
    fn(&Tensor, [usize; N], [usize; N], [usize; N], [usize; N], bool) -> kiln_autograd::Result<R>;

/// Max pooling over `N` axes, with the positions of the elements if they are asked for.
fn max_pool<const N: usize>(
    a: &Args<'_>,
    plain: MaxPool<N, Tensor>,
    indexed: MaxPool<N, (Tensor, Tensor)>,
) -> Answer<Out> {
    let x = a.x()?;
    let kernel = a.sizes(1, "kernel_size", None)?;
    let stride = a.sizes(2, "stride", Some(kernel))?;
    let padding = a.sizes(3, "padding", Some([0; N]))?;
    let dilation = a.sizes(4, "dilation", Some([1; N]))?;
    let ceil = a.bool_or(5, "ceil_mode", false)?;
    Ok(match a.bool_or(6, "return_indices", false)? {
        true => indexed(&x, kernel, stride, padding, dilation, ceil)?.into(),
        false => plain(&x, kernel, stride, padding, dilation, ceil)?.into(),
    })
}

/// Average pooling over `N` axes.
fn avg_pool<const N: usize>(
    a: &Args<'_>,
    method: fn(
        &Tensor,
        [usize; N],
        [usize; N],
        [usize; N],
        bool,
        bool,
        Option<i64>,
    ) -> kiln_autograd::Result<Tensor>,
) -> Answer<Out> {
    let x = a.x()?;
    let kernel = a.sizes(1, "kernel_size", None)?;
    let stride = a.sizes(2, "stride", Some(kernel))?;
    let padding = a.sizes(3, "padding", Some([0; N]))?;
    let ceil = a.bool_or(4, "ceil_mode", false)?;
    let include = a.bool_or(5, "count_include_pad", true)?;
    let divisor = a.opt_int(6, "divisor_override")?;
    Ok(method(&x, kernel, stride, padding, ceil, include, divisor)?.into())
}

/// The output's sizes for an adaptive pooling; those that are absent stay.
fn adaptive<const N: usize>(a: &Args<'_>, x: &Tensor) -> Answer<[usize; N]> {
    let own = |i: usize| {
        let at = (x.rank() + i).checked_sub(N);
        at.and_then(|at| x.dims().get(at).copied()).unwrap_or(1)
    };
    match a.get(1, "output_size") {
        Some(Arg::List(items)) if items.len() == N && items.contains(&Arg::None) => {
            let mut sizes = [0; N];
            for (i, item) in items.iter().enumerate() {
                sizes[i] = match item {
                    Arg::None => own(i),
                    Arg::Int(n) if *n >= 0 => *n as usize,
                    other => return missing(format!("the size {other:?}")),
                };
            }
            Ok(sizes)
        }
        Some(Arg::None) => Ok(std::array::from_fn(own)),
        Some(Arg::List(items)) if items.is_empty() => inexpressible(TYPE),
        _ => a.sizes(1, "output_size", None),
    }
}

fn adaptive_max<const N: usize>(
    a: &Args<'_>,
    method: fn(&Tensor, [usize; N]) -> kiln_autograd::Result<(Tensor, Tensor)>,
) -> Answer<Out> {
    let x = a.x()?;
    let (y, index) = method(&x, adaptive(a, &x)?)?;
    Ok(if a.bool_or(2, "return_indices", false)? { (y, index).into() } else { y.into() })
}

fn adaptive_avg<const N: usize>(
    a: &Args<'_>,
    method: fn(&Tensor, [usize; N]) -> kiln_autograd::Result<Tensor>,
) -> Answer<Out> {
    let x = a.x()?;
    Ok(method(&x, adaptive(a, &x)?)?.into())
}

/// The weights of a recurrent cell.
struct Cell {
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Option<Tensor>,
    b_hh: Option<Tensor>,
}

impl Cell {
    fn of(a: &Args<'_>) -> Answer<Self> {
        Ok(Self {
            w_ih: a.tensor(2, "w_ih")?,
            w_hh: a.tensor(3, "w_hh")?,
            b_ih: a.opt_tensor(4, "b_ih")?,
            b_hh: a.opt_tensor(5, "b_hh")?,
        })
    }

    fn weights(&self) -> CellWeights<'_> {
        CellWeights { w_ih: &self.w_ih, w_hh: &self.w_hh, b_ih: self.b_ih.as_ref(), b_hh: self.b_hh.as_ref() }
    }
}

/// The operators of this family.
pub fn call(name: &str, a: &Args<'_>) -> Answer<Out> {
    match name {
        "lstm_cell" => {
            let (x, cell, state) = (a.x()?, Cell::of(a)?, a.tensors(1, "hx")?);
            let [h, c] = state.as_slice() else { return missing("a state of other than two tensors") };
            return Ok(x.lstm_cell(h, c, cell.weights())?.into());
        }
        "gru_cell" | "rnn_tanh_cell" | "rnn_relu_cell" => {
            let (x, cell, h) = (a.x()?, Cell::of(a)?, a.tensor(1, "hx")?);
            let step = match name {
                "gru_cell" => Tensor::gru_cell,
                "rnn_tanh_cell" => Tensor::rnn_tanh_cell,
                _ => Tensor::rnn_relu_cell,
            };
            return Ok(step(&x, &h, cell.weights())?.into());
        }
        _ => {}
    }
    let Some(name) = name.strip_prefix("nn.functional.") else { return Err(Stop::NoRow) };
    Ok(match name {
        "adaptive_max_pool1d" => adaptive_max(a, Tensor::adaptive_max_pool1d)?,
        "adaptive_max_pool2d" => adaptive_max(a, Tensor::adaptive_max_pool2d)?,
        "adaptive_max_pool3d" => adaptive_max(a, Tensor::adaptive_max_pool3d)?,
        "adaptive_avg_pool1d" => adaptive_avg(a, Tensor::adaptive_avg_pool1d)?,
        "adaptive_avg_pool2d" => adaptive_avg(a, Tensor::adaptive_avg_pool2d)?,
        "adaptive_avg_pool3d" => adaptive_avg(a, Tensor::adaptive_avg_pool3d)?,
        "conv1d" => conv(a, Tensor::conv1d)?,
        "conv2d" => conv(a, Tensor::conv2d)?,
        "conv3d" => conv(a, Tensor::conv3d)?,
        "conv_transpose1d" => conv_transpose(a, Tensor::conv_transpose1d)?,
        "conv_transpose2d" => conv_transpose(a, Tensor::conv_transpose2d)?,
        "conv_transpose3d" => conv_transpose(a, Tensor::conv_transpose3d)?,
        "max_pool1d" => max_pool(a, Tensor::max_pool1d, Tensor::max_pool1d_with_indices)?,
        "max_pool2d" => max_pool(a, Tensor::max_pool2d, Tensor::max_pool2d_with_indices)?,
        "max_pool3d" => max_pool(a, Tensor::max_pool3d, Tensor::max_pool3d_with_indices)?,
        "avg_pool1d" => avg_pool(a, Tensor::avg_pool1d)?,
        "avg_pool2d" => avg_pool(a, Tensor::avg_pool2d)?,
        "avg_pool3d" => avg_pool(a, Tensor::avg_pool3d)?,
        "batch_norm" => {
            let (mean, var) = (a.opt_tensor(1, "running_mean")?, a.opt_tensor(2, "running_var")?);
            let running = match (&mean, &var) {
                (Some(mean), Some(var)) => Some((mean, var)),
                (None, None) => None,
                _ => return missing("one of two running statistics"),
            };
            let (weight, bias) = (a.opt_tensor(3, "weight")?, a.opt_tensor(4, "bias")?);
            let training = a.bool_or(5, "training", false)?;
            let (momentum, eps) = (a.float_or(6, "momentum", 0.1)?, a.float_or(7, "eps", 1e-5)?);
            a.x()?.batch_norm(running, weight.as_ref(), bias.as_ref(), training, momentum, eps)?.into()
        }
        "instance_norm" => {
            let (mean, var) = (a.opt_tensor(1, "running_mean")?, a.opt_tensor(2, "running_var")?);
            let running = match (&mean, &var) {
                (Some(mean), Some(var)) => Some((mean, var)),
                (None, None) => None,
                _ => return missing("one of two running statistics"),
            };
            let (weight, bias) = (a.opt_tensor(3, "weight")?, a.opt_tensor(4, "bias")?);
            let own = a.bool_or(5, "use_input_stats", true)?;
            let (momentum, eps) = (a.float_or(6, "momentum", 0.1)?, a.float_or(7, "eps", 1e-5)?);
            a.x()?.instance_norm(running, weight.as_ref(), bias.as_ref(), own, momentum, eps)?.into()
        }
        "layer_norm" => {
            let shape = normalised(a)?;
            let (weight, bias) = (a.opt_tensor(2, "weight")?, a.opt_tensor(3, "bias")?);
            let eps = a.float_or(4, "eps", 1e-5)?;
            a.x()?.layer_norm(&shape, weight.as_ref(), bias.as_ref(), eps)?.into()
        }
        "rms_norm" => {
            let shape = normalised(a)?;
            let weight = a.opt_tensor(2, "weight")?;
            a.x()?.rms_norm(&shape, weight.as_ref(), a.opt_float(3, "eps")?)?.into()
        }
        "group_norm" => {
            let groups = a.size(1, "num_groups")?;
            let (weight, bias) = (a.opt_tensor(2, "weight")?, a.opt_tensor(3, "bias")?);
            let eps = a.float_or(4, "eps", 1e-5)?;
            a.x()?.group_norm(groups, weight.as_ref(), bias.as_ref(), eps)?.into()
        }
        "normalize" => {
            let (p, axes) = (a.float_or(1, "p", 2.0)?, a.opt_ints(2, "dim")?.unwrap_or_else(|| vec![1]));
            a.x()?.normalize(p, &axes, a.float_or(3, "eps", 1e-12)?)?.into()
        }
        _ => return Err(Stop::NoRow),
    })
}

/// The sizes over which a layer normalises.
fn normalised(a: &Args<'_>) -> Answer<Vec<usize>> {
    let sizes = a.ints(1, "normalized_shape")?;
    let unsigned = sizes.iter().map(|&s| usize::try_from(s)).collect::<Result<Vec<_>, _>>();
    unsigned.map_err(|_| Error::shape("normalized_shape", format!("negative sizes {sizes:?}")).into())
}
