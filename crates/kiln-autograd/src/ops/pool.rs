//! Max and average pooling.

use std::sync::Arc;

use kiln_ops::pooling::{self as p, AvgPool, PoolOptions, PoolShape};
use kiln_ops::{DType, Shape};

use crate::record::record;
use crate::{Here, Result, Tensor, autocast};

macro_rules! pooling {
    ($($max:ident $max_indices:ident $avg:ident $axes:literal $sizes:literal $max_node:literal $avg_node:literal;)*) => {
        impl Tensor {
            $(
                #[doc = concat!("The largest element of every window over ", $sizes, " spatial axes (`torch.nn.functional.", stringify!($max), "`).")]
                ///
                /// Shapes: `[batch, channels, sizes..]` or `[channels, sizes..]`; an output size is
                /// `(n + 2 padding - dilation (kernel - 1) - 1) / stride + 1`, rounded down, or up with `ceil_mode`.
                ///
                /// # Errors
                /// Another rank, padding above half of the kernel, or a result without elements.
                #[track_caller]
                pub fn $max(
                    &self,
                    kernel: [usize; $axes],
                    stride: [usize; $axes],
                    padding: [usize; $axes],
                    dilation: [usize; $axes],
                    ceil_mode: bool,
                ) -> Result<Tensor> {
                    if $axes == 3
                        && let Some(cast) = autocast::full()
                    {
                        return cast.of(self)?.$max(kernel, stride, padding, dilation, ceil_mode);
                    }
                    let options = PoolOptions { kernel: &kernel, stride: &stride, padding: &padding, dilation: &dilation, ceil_mode };
                    // Positions are only computed when somebody will ask for them.
                    max_pool(self, stringify!($max), $max_node, $axes, &options, Tensor::any_requires_grad(&[self])).map(|(y, _)| y).here()
                }

                #[doc = concat!("[`Tensor::", stringify!($max), "`] and the positions of the elements in their planes, as int64.")]
                ///
                /// # Errors
                #[doc = concat!("As [`Tensor::", stringify!($max), "`].")]
                #[track_caller]
                pub fn $max_indices(
                    &self,
                    kernel: [usize; $axes],
                    stride: [usize; $axes],
                    padding: [usize; $axes],
                    dilation: [usize; $axes],
                    ceil_mode: bool,
                ) -> Result<(Tensor, Tensor)> {
                    if $axes == 3
                        && let Some(cast) = autocast::full()
                    {
                        return cast.of(self)?.$max_indices(kernel, stride, padding, dilation, ceil_mode);
                    }
                    let options = PoolOptions { kernel: &kernel, stride: &stride, padding: &padding, dilation: &dilation, ceil_mode };
                    let (y, index) = max_pool(self, stringify!($max), $max_node, $axes, &options, true)?;
                    let index = index.ok_or_else(|| crate::Error::value(stringify!($max), "positions were not computed")).here()?;
                    Ok((y, index.to_dtype(DType::I64)?))
                }

                #[doc = concat!("The mean of every window over ", $sizes, " spatial axes (`torch.nn.functional.", stringify!($avg), "`).")]
                ///
                /// Shapes: as for max pooling, without dilation.
                ///
                /// # Errors
                /// Another rank, padding above half of the kernel, a divisor of 0, or a result without elements.
                #[track_caller]
                pub fn $avg(
                    &self,
                    kernel: [usize; $axes],
                    stride: [usize; $axes],
                    padding: [usize; $axes],
                    ceil_mode: bool,
                    count_include_pad: bool,
                    divisor_override: Option<i64>,
                ) -> Result<Tensor> {
                    if $axes == 3
                        && let Some(cast) = autocast::full()
                    {
                        return cast.of(self)?.$avg(kernel, stride, padding, ceil_mode, count_include_pad, divisor_override);
                    }
                    let options = PoolOptions { kernel: &kernel, stride: &stride, padding: &padding, dilation: &[1; $axes], ceil_mode };
                    let divisor = divisor_override.map(|d| d.unsigned_abs() as usize);
                    let average = AvgPool { count_include_pad, divisor };
                    let y = match self.dtype() {
                        // Integers are divided as integers are.
                        DType::I64 => {
                            let x = self.to_dtype(DType::F64)?;
                            let y = avg_pool(&x, stringify!($avg), $avg_node, $axes, &options, average)?;
                            y.trunc()?.to_dtype(DType::I64)?
                        }
                        _ => avg_pool(self, stringify!($avg), $avg_node, $axes, &options, average)?,
                    };
                    if divisor_override.is_some_and(|d| d < 0) { y.neg() } else { Ok(y) }
                }
            )*
        }
    };
}

pooling! {
    max_pool1d max_pool1d_with_indices avg_pool1d 1 "one" "MaxPool1DWithIndicesBackward0" "AvgPool1DBackward0";
    max_pool2d max_pool2d_with_indices avg_pool2d 2 "two" "MaxPool2DWithIndicesBackward0" "AvgPool2DBackward0";
    max_pool3d max_pool3d_with_indices avg_pool3d 3 "three" "MaxPool3DWithIndicesBackward0" "AvgPool3DBackward0";
}

#[track_caller]
fn max_pool(
    x: &Tensor,
    op: &'static str,
    node: &'static str,
    axes: usize,
    options: &PoolOptions<'_>,
    positions: bool,
) -> Result<(Tensor, Option<Tensor>)> {
    let (shape, out) = p::pool_geometry(op, &x.raw(), axes, options).here()?;
    let (y, index) = p::max_pool(op, &x.raw(), &shape, &out, positions).here()?;
    let rec = match &index {
        None => record(node, y),
        Some(index) => record(node, y).input(x, || {
            let (index, x_shape) = (Tensor::from_raw(index.clone()), x.shape());
            move |g: &Tensor| {
                let gx = p::max_pool_backward("max_pool_backward", &g.raw(), &index.raw(), &shape, &x_shape)?;
                // The gradient only moves elements, so its own gradient picks them at the same places.
                let rec = record("MaxPoolBackwardBackward0", gx).input(g, || {
                    let (index, planes) = (index.clone(), shape.planes as i64);
                    move |gg: &Tensor| {
                        let at = index.to_dtype(DType::I64)?.reshape([planes, -1])?;
                        gg.reshape([planes, -1])?.gather(1, &at)?.reshape(index.shape())
                    }
                });
                Ok(rec.done())
            }
        }),
    };
    Ok((rec.done(), index.map(Tensor::from_raw)))
}

#[track_caller]
fn avg_pool(
    x: &Tensor,
    op: &'static str,
    node: &'static str,
    axes: usize,
    options: &PoolOptions<'_>,
    average: AvgPool,
) -> Result<Tensor> {
    let (shape, out) = p::pool_geometry(op, &x.raw(), axes, options).here()?;
    Arc::new(Averages { node, shape, average, out, of: x.shape() }).apply(x)
}

/// An average over windows: a linear map whose derivative is its transpose, and that one's the map again.
struct Averages {
    node: &'static str,
    shape: PoolShape,
    average: AvgPool,
    out: Shape,
    of: Shape,
}

impl Averages {
    #[track_caller]
    fn apply(self: &Arc<Self>, x: &Tensor) -> Result<Tensor> {
        let y = p::avg_pool("avg_pool", &x.raw(), &self.shape, self.average, &self.out).here()?;
        let derivative = || {
            let this = self.clone();
            move |g: &Tensor| this.transposed(g)
        };
        Ok(record(self.node, y).input(x, derivative).done())
    }

    #[track_caller]
    fn transposed(self: &Arc<Self>, g: &Tensor) -> Result<Tensor> {
        let gx = p::avg_pool_backward("avg_pool_backward", &g.raw(), &self.shape, self.average, &self.of)
            .here()?;
        let derivative = || {
            let this = self.clone();
            move |gg: &Tensor| this.apply(gg)
        };
        Ok(record("AvgPoolBackwardBackward0", gx).input(g, derivative).done())
    }
}

macro_rules! adaptive {
    ($($max:ident $avg:ident $axes:literal $max_node:literal $avg_node:literal;)*) => {
        impl Tensor {
            $(
                #[doc = concat!("The largest element of each of so many windows, which cover the plane, and the positions of these \
                    elements, as int64 (`torch.nn.functional.", stringify!($max), "`).")]
                ///
                /// # Errors
                /// Another rank, an axis of size 0, truth values.
                #[track_caller]
                pub fn $max(&self, sizes: [usize; $axes]) -> Result<(Tensor, Tensor)> {
                    if $axes == 3
                        && let Some(cast) = autocast::full()
                    {
                        return cast.of(self)?.$max(sizes);
                    }
                    adaptive_max(self, stringify!($max), $max_node, &sizes)
                }

                #[doc = concat!("The mean of each of so many windows, which cover the plane (`torch.nn.functional.", stringify!($avg), "`).")]
                ///
                /// # Errors
                /// Another rank, an axis of size 0, integers.
                #[track_caller]
                pub fn $avg(&self, sizes: [usize; $axes]) -> Result<Tensor> {
                    if $axes == 3
                        && let Some(cast) = autocast::full()
                    {
                        return cast.of(self)?.$avg(sizes);
                    }
                    adaptive_avg(self, stringify!($avg), $avg_node, &sizes)
                }
            )*
        }
    };
}

adaptive! {
    adaptive_max_pool1d adaptive_avg_pool1d 1 "AdaptiveMaxPool2DBackward0" "AdaptiveAvgPool2DBackward0";
    adaptive_max_pool2d adaptive_avg_pool2d 2 "AdaptiveMaxPool2DBackward0" "AdaptiveAvgPool2DBackward0";
    adaptive_max_pool3d adaptive_avg_pool3d 3 "AdaptiveMaxPool3DBackward0" "AdaptiveAvgPool3DBackward0";
}

#[track_caller]
fn adaptive_max(
    x: &Tensor,
    op: &'static str,
    node: &'static str,
    sizes: &[usize],
) -> Result<(Tensor, Tensor)> {
    let (shape, out) = p::adaptive_geometry(op, &x.raw(), sizes).here()?;
    let (y, index) = p::adaptive_max_pool(op, &x.raw(), shape.as_ref(), &out).here()?;
    let index = Tensor::from_raw(index).to_dtype(DType::I64)?;
    let axes = sizes.len();
    let y = record(node, y)
        .input(x, || {
            let (index, x_shape) = (index.clone(), x.shape());
            move |g: &Tensor| {
                let planes: usize = x_shape[..x_shape.rank() - axes].iter().product();
                let rows = |t: &Tensor| t.reshape([planes as i64, (t.numel() / planes.max(1)) as i64]);
                let plane = x_shape.numel() / planes.max(1);
                let zeros = Tensor::from_raw(kiln_ops::full(
                    &kiln_ops::Shape::new(&[planes, plane]),
                    0.into(),
                    g.dtype(),
                    g.device(),
                )?);
                zeros.scatter_add(1, &rows(&index)?, &rows(g)?)?.reshape(&x_shape)
            }
        })
        .done();
    Ok((y, index))
}

#[track_caller]
fn adaptive_avg(x: &Tensor, op: &'static str, node: &'static str, sizes: &[usize]) -> Result<Tensor> {
    let (shape, out) = p::adaptive_geometry(op, &x.raw(), sizes).here()?;
    Arc::new(AdaptiveAverages { op, node, shape, out, of: x.shape() }).apply(x)
}

/// As [`Averages`], for windows of different sizes.
struct AdaptiveAverages {
    op: &'static str,
    node: &'static str,
    shape: Option<PoolShape>,
    out: Shape,
    of: Shape,
}

impl AdaptiveAverages {
    #[track_caller]
    fn apply(self: &Arc<Self>, x: &Tensor) -> Result<Tensor> {
        let y = p::adaptive_avg_pool(self.op, &x.raw(), self.shape.as_ref(), &self.out).here()?;
        let derivative = || {
            let this = self.clone();
            move |g: &Tensor| this.transposed(g)
        };
        Ok(record(self.node, y).input(x, derivative).done())
    }

    #[track_caller]
    fn transposed(self: &Arc<Self>, g: &Tensor) -> Result<Tensor> {
        let op = "adaptive_avg_pool_backward";
        let gx = p::adaptive_avg_pool_backward(op, &g.raw(), self.shape.as_ref(), &self.of).here()?;
        let derivative = || {
            let this = self.clone();
            move |gg: &Tensor| this.apply(gg)
        };
        Ok(record("AdaptiveAvgPoolBackwardBackward0", gx).input(g, derivative).done())
    }
}

macro_rules! power_pooling {
    ($($name:ident $avg:ident $axes:literal $sizes:literal;)*) => {
        impl Tensor {
            $(
                #[doc = concat!("The root of the sum of the powers of every window over ", $sizes,
                    " spatial axes: `(sum x^p)^(1/p)` (`torch.nn.functional.", stringify!($name), "`).")]
                ///
                /// Shapes: as for average pooling. A negative sum gives 0 before the root is taken.
                ///
                /// # Errors
                #[doc = concat!("As [`Tensor::", stringify!($avg), "`].")]
                #[track_caller]
                pub fn $name(
                    &self,
                    p: f64,
                    kernel: [usize; $axes],
                    stride: [usize; $axes],
                    ceil_mode: bool,
                ) -> Result<Tensor> {
                    let mean = self.pow(p)?.$avg(kernel, stride, [0; $axes], ceil_mode, true, None)?;
                    let count: f64 = kernel.iter().map(|&k| k as f64).product();
                    mean.sign()?.mul(&mean.abs()?.relu()?)?.mul(count)?.pow(1.0 / p)
                }
            )*
        }
    };
}
power_pooling! {
    lp_pool1d avg_pool1d 1 "one";
    lp_pool2d avg_pool2d 2 "two";
    lp_pool3d avg_pool3d 3 "three";
}
