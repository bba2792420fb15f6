//! Convolutions over one to three spatial axes, plain and transposed.

use kiln_ops::conv::{self as c, ConvGeometry, ConvOptions};

use crate::birth::called_here;
use crate::record::record;
use crate::{Error, Here, Result, Tensor, autocast};

/// The convolution itself, its gradient for the input and its gradient for the weight are each linear in both operands,
/// and each other's derivatives.
#[track_caller]
fn forward(x: &Tensor, w: &Tensor, bias: Option<&Tensor>, g: &ConvGeometry) -> Result<Tensor> {
    let y = c::conv("convolution", g, &x.raw(), &w.raw(), bias.map(|b| b.raw()).as_deref()).here()?;
    let rec = record("ConvolutionBackward0", y)
        .input(x, || {
            let (w, g) = (w.save(), g.clone());
            move |gy: &Tensor| input_gradient(gy, &w.get()?, None, &g)
        })
        .input(w, || {
            let (x, g) = (x.save(), g.clone());
            move |gy: &Tensor| weight_gradient(&x.get()?, gy, &g)
        });
    Ok(match bias {
        Some(b) => rec.input(b, || |gy: &Tensor| channel_sums(gy)),
        None => rec,
    }
    .done())
}

#[track_caller]
fn input_gradient(y: &Tensor, w: &Tensor, bias: Option<&Tensor>, g: &ConvGeometry) -> Result<Tensor> {
    let x =
        c::conv_input("conv_transpose", g, &y.raw(), &w.raw(), bias.map(|b| b.raw()).as_deref()).here()?;
    let rec = record("ConvolutionBackward0", x)
        .input(y, || {
            let (w, g) = (w.save(), g.clone());
            move |gx: &Tensor| forward(gx, &w.get()?, None, &g)
        })
        .input(w, || {
            let (y, g) = (y.save(), g.clone());
            move |gx: &Tensor| weight_gradient(gx, &y.get()?, &g)
        });
    Ok(match bias {
        Some(b) => rec.input(b, || |gx: &Tensor| channel_sums(gx)),
        None => rec,
    }
    .done())
}

#[track_caller]
fn weight_gradient(x: &Tensor, y: &Tensor, g: &ConvGeometry) -> Result<Tensor> {
    let w = c::conv_weight("convolution_backward", g, &x.raw(), &y.raw()).here()?;
    Ok(record("ConvolutionBackwardBackward0", w)
        .input(x, || {
            let (y, g) = (y.save(), g.clone());
            move |gw: &Tensor| input_gradient(&y.get()?, gw, None, &g)
        })
        .input(y, || {
            let (x, g) = (x.save(), g.clone());
            move |gw: &Tensor| forward(&x.get()?, gw, None, &g)
        })
        .done())
}

/// The sums over all axes but the channels': the gradient of a bias.
fn channel_sums(g: &Tensor) -> Result<Tensor> {
    let axes: Vec<i64> = (0..g.rank() as i64).filter(|&a| a != 1).collect();
    g.sum_axes(&axes, false)
}

/// Adds the batch axis that an unbatched input lacks.
#[track_caller]
fn batched(x: &Tensor, axes: usize, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    if x.rank() == axes + 1 {
        let x = x.unsqueeze(0)?;
        called_here(|| f(&x)).here()?.squeeze_axis(0)
    } else {
        called_here(|| f(x)).here()
    }
}

macro_rules! convolutions {
    ($($name:ident $transposed:ident $axes:literal $sizes:literal;)*) => {
        impl Tensor {
            $(
                #[doc = concat!("The convolution over ", $sizes, " spatial axes (`torch.nn.functional.", stringify!($name), "`).")]
                ///
                /// Shapes: input `[batch, c_in, sizes..]` or `[c_in, sizes..]`, weight `[c_out, c_in / groups, kernel..]`,
                /// bias `[c_out]`; each output size is `(n + 2 padding - dilation (kernel - 1) - 1) / stride + 1`.
                ///
                /// # Errors
                /// Ranks, channels or groups that do not fit, a kernel larger than the padded input, a stride or dilation
                /// of 0, different dtypes or devices.
                #[track_caller]
                pub fn $name(
                    &self,
                    weight: &Tensor,
                    bias: Option<&Tensor>,
                    stride: [usize; $axes],
                    padding: [usize; $axes],
                    dilation: [usize; $axes],
                    groups: usize,
                ) -> Result<Tensor> {
                    if let Some(cast) = autocast::lower() {
                        return cast.of(self)?.$name(&cast.of(weight)?, cast.opt(bias)?.as_ref(), stride, padding, dilation, groups);
                    }
                    let options = ConvOptions { stride: &stride, padding: &padding, dilation: &dilation, groups };
                    batched(self, $axes, |x| {
                        let g = ConvGeometry::forward(stringify!($name), $axes, &x.shape(), &weight.shape(), &options).here()?;
                        forward(x, weight, bias, &g)
                    })
                }

                #[doc = concat!("The transposed convolution over ", $sizes, " spatial axes (`torch.nn.functional.", stringify!($transposed), "`).")]
                ///
                /// Shapes: input `[batch, c_in, sizes..]` or `[c_in, sizes..]`, weight `[c_in, c_out / groups, kernel..]`,
                /// bias `[c_out]`; each output size is
                /// `(n - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1`.
                ///
                /// # Errors
                /// Ranks, channels or groups that do not fit, an output padding that is not below stride or dilation,
                /// different dtypes or devices.
                #[track_caller]
                pub fn $transposed(
                    &self,
                    weight: &Tensor,
                    bias: Option<&Tensor>,
                    stride: [usize; $axes],
                    padding: [usize; $axes],
                    output_padding: [usize; $axes],
                    groups: usize,
                    dilation: [usize; $axes],
                ) -> Result<Tensor> {
                    if let Some(cast) = autocast::lower() {
                        return cast.of(self)?.$transposed(
                            &cast.of(weight)?, cast.opt(bias)?.as_ref(), stride, padding, output_padding, groups, dilation,
                        );
                    }
                    let options = ConvOptions { stride: &stride, padding: &padding, dilation: &dilation, groups };
                    batched(self, $axes, |x| {
                        let g = ConvGeometry::transposed(
                            stringify!($transposed), $axes, &x.shape(), &weight.shape(), &options, &output_padding,
                        ).here()?;
                        input_gradient(x, weight, bias, &g)
                    })
                }
            )*
        }
    };
}

convolutions! {
    conv1d conv_transpose1d 1 "one";
    conv2d conv_transpose2d 2 "two";
    conv3d conv_transpose3d 3 "three";
}

impl Tensor {
    /// A convolution over one to three axes whose result has the input's sizes: the input is padded with zeros, one more
    /// behind than before where the number is odd (`padding='same'`).
    ///
    /// # Errors
    /// As the convolutions; another number of axes than the weight has, or one dilation for each.
    #[track_caller]
    pub fn conv_same(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        dilation: &[usize],
        groups: usize,
    ) -> Result<Tensor> {
        const OP: &str = "conv_same";
        let axes = dilation.len();
        if weight.rank() != axes + 2 || !(axes + 1..=axes + 2).contains(&self.rank()) {
            return Err(Error::shape(
                OP,
                format!(
                    "expected an input and a weight for {axes} axes, got {:?} and {:?}",
                    self.shape(),
                    weight.shape()
                ),
            ));
        }
        let room = |i: usize| dilation[i] * weight.shape()[i + 2].saturating_sub(1);
        let before: Vec<usize> = (0..axes).map(|i| room(i) / 2).collect();
        // What is missing behind, for the padding functions from the last axis on.
        let behind: Vec<i64> = (0..axes).rev().flat_map(|i| [0, (room(i) % 2) as i64]).collect();
        let x = if behind.iter().all(|&p| p == 0) { self.clone() } else { self.constant_pad_nd(&behind, 0)? };
        match (before.as_slice(), dilation) {
            (&[a], &[d]) => x.conv1d(weight, bias, [1], [a], [d], groups),
            (&[a, b], &[d, e]) => x.conv2d(weight, bias, [1; 2], [a, b], [d, e], groups),
            (&[a, b, c], &[d, e, f]) => x.conv3d(weight, bias, [1; 3], [a, b, c], [d, e, f], groups),
            _ => Err(Error::shape(OP, format!("one to three axes, got {axes}"))),
        }
    }
}
