//! Random draws into tensors: the streams of [`crate::random`] for any layout, dtype and device.
//!
//! A contiguous tensor is filled in row-major order. Any other is filled in the order in which its elements lie in memory,
//! as PyTorch does: axes from the longest stride to the shortest. Devices other than the host get a copy of what the host
//! has drawn, so that a seed gives the same values everywhere.

use std::cmp::Ordering;

use kiln_storage::{DType, Device, Dims, Error, Layout, RawTensor, Result, Shape, with_dtype};

use crate::copy::{contiguous, copy_, to_device, to_dtype};
use crate::cpu::host::{with_input_output, with_output};
use crate::random::{Generator, RandomElement, RandomFloat, default_generator};
use crate::rules::{check_writable, expect_float, same_device};

/// What [`draw_`] fills a tensor with.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Distribution {
    /// Evenly from the half-open interval of two numbers.
    Uniform(f64, f64),
    /// Normal with a mean and a standard deviation.
    Normal(f64, f64),
    /// The exponential of a normal number with a mean and a standard deviation.
    LogNormal(f64, f64),
    /// Exponential with a rate.
    Exponential(f64),
    /// Cauchy with a median and a scale.
    Cauchy(f64, f64),
    /// Trials up to the first success of a probability.
    Geometric(f64),
    /// 1 with a probability, else 0.
    Bernoulli(f64),
    /// Integers from a bound up to but without another.
    Integers(i64, i64),
    /// Integers from a bound up to the largest of the dtype, for floats the largest up to which all are exact.
    IntegersFrom(i64),
    /// Integers from 0 up to the same largest one.
    AllIntegers,
    /// What dropout of a probability multiplies by: 0, or the inverse of the probability to stay.
    DropoutMask(f64),
}

impl Distribution {
    /// PyTorch's name of the in-place draw.
    pub fn name(self) -> &'static str {
        match self {
            Distribution::Uniform(..) => "uniform_",
            Distribution::Normal(..) => "normal_",
            Distribution::LogNormal(..) => "log_normal_",
            Distribution::Exponential(..) => "exponential_",
            Distribution::Cauchy(..) => "cauchy_",
            Distribution::Geometric(..) => "geometric_",
            Distribution::Bernoulli(..) => "bernoulli_",
            Distribution::Integers(..) | Distribution::IntegersFrom(..) | Distribution::AllIntegers => {
                "random_"
            }
            Distribution::DropoutMask(..) => "dropout",
        }
    }

    /// Whether only floating point tensors can be filled.
    fn is_continuous(self) -> bool {
        use Distribution::*;
        matches!(
            self,
            Uniform(..) | Normal(..) | LogNormal(..) | Exponential(..) | Cauchy(..) | DropoutMask(..)
        )
    }

    fn fill_float<T: RandomFloat>(self, g: &mut Generator, out: &mut [T], in_order: bool) -> Result<()> {
        match self {
            Distribution::Uniform(from, to) => g.uniform(out, from, to),
            Distribution::Normal(mean, std) if in_order => g.normal(out, mean, std),
            Distribution::Normal(mean, std) => g.normal_one_by_one(out, mean, std),
            Distribution::LogNormal(mean, std) => g.log_normal(out, mean, std),
            Distribution::Exponential(rate) => g.exponential(out, rate),
            Distribution::Cauchy(median, sigma) => g.cauchy(out, median, sigma),
            Distribution::DropoutMask(p) => g.dropout_mask(out, p),
            other => return other.fill_any(g, out),
        }?;
        Ok(())
    }

    fn fill_any<T: RandomElement>(self, g: &mut Generator, out: &mut [T]) -> Result<()> {
        match self {
            Distribution::Geometric(p) => g.geometric(out, p),
            Distribution::Bernoulli(p) => g.bernoulli_scalar(out, p),
            Distribution::Integers(from, to) => g.random_from_to(out, from, to),
            Distribution::IntegersFrom(from) => g.random_from(out, from),
            Distribution::AllIntegers => {
                g.random_full(out);
                Ok(())
            }
            other => return Err(needs_float(other.name(), T::NAME)),
        }?;
        Ok(())
    }
}

/// The stream to draw from. The default generator is locked only while values are drawn, and after the memory they go to,
/// so that a thread that holds memory may draw, too.
pub enum Source<'a> {
    /// [`default_generator`].
    Default,
    /// The caller's own.
    Own(&'a mut Generator),
}

impl<'a> From<&'a mut Generator> for Source<'a> {
    fn from(generator: &'a mut Generator) -> Source<'a> {
        Source::Own(generator)
    }
}

impl Source<'_> {
    fn with<R>(&mut self, f: impl FnOnce(&mut Generator) -> R) -> R {
        match self {
            Source::Default => f(&mut default_generator()),
            Source::Own(generator) => f(generator),
        }
    }
}

fn needs_float(op: &'static str, got: &str) -> Error {
    Error::dtype(op, format!("only floating point tensors can be filled, got {got}"))
}

/// Fills `x` with draws of `source`. When it fails for the arguments, nothing was drawn.
///
/// # Errors
/// Parameters outside of the distribution's domain, a dtype that it has no values in, or elements that share memory.
pub fn draw_(x: &RawTensor, distribution: Distribution, mut source: Source<'_>) -> Result<()> {
    let op = distribution.name();
    if distribution.is_continuous() && !x.dtype().is_float() {
        return Err(needs_float(op, x.dtype().name()));
    }
    fill(op, x, |out, in_order| {
        with_dtype!(out.dtype(), [F16, BF16, F32, F64], T => {
            with_output::<T, _>(op, out, |to| source.with(|g| distribution.fill_float(g, to, in_order)))
        }, else => with_dtype!(out.dtype(), [Bool, U8, I8, I16, I32, I64], T => {
            with_output::<T, _>(op, out, |to| source.with(|g| distribution.fill_any(g, to)))
        }, else => Err(Error::dtype(op, format!("not there for {}", out.dtype())))))
    })
}

/// Fills `x` with 1 with the probability in the same place of `p`, which broadcasts, else with 0.
///
/// # Errors
/// Probabilities that are not floating point, lie outside of `[0, 1]` or do not broadcast.
pub fn bernoulli_(x: &RawTensor, p: &RawTensor, mut source: Source<'_>) -> Result<()> {
    const OP: &str = "bernoulli_";
    same_device(OP, &[x, p])?;
    expect_float(OP, "the probabilities", p)?;
    let p = p.with_layout(p.layout().broadcast_to(OP, x.shape())?);
    // In the order in which the elements of `x` are filled.
    let axes = if x.is_contiguous() { (0..x.rank()).collect() } else { memory_order(x.layout()) };
    let p = contiguous(&to_device(&p.with_layout(p.layout().permute(&axes)), Device::CPU)?)?;
    let p = if p.storage().is_same(x.storage()) { crate::contiguous_copy(&p)? } else { p };
    fill(OP, x, |out, _| {
        with_dtype!(p.dtype(), [F16, BF16, F32, F64], P => with_dtype!(out.dtype(), T => {
            with_input_output::<P, T, _>(OP, &p, out, |p, to| Ok(source.with(|g| g.bernoulli_tensor(to, p))?))
        }), else => Err(needs_float(OP, p.dtype().name())))
    })
}

/// `count` categories for each row of `weights` (one or two axes), as int64.
///
/// # Errors
/// Weights that are not floating point or no distribution, or more samples than there are categories, without
/// replacement.
pub fn multinomial(
    weights: &RawTensor,
    count: usize,
    replacement: bool,
    mut source: Source<'_>,
) -> Result<RawTensor> {
    const OP: &str = "multinomial";
    expect_float(OP, "the weights", weights)?;
    let shape = weights.shape();
    let (rows, categories) = match *shape.dims() {
        [categories] => (1, categories),
        [rows, categories] => (rows, categories),
        _ => return Err(Error::shape(OP, format!("prob_dist must be 1 or 2 dim, got shape {shape:?}"))),
    };
    let device = weights.device();
    let weights = to_device(weights, Device::CPU)?;
    let drawn = with_dtype!(weights.dtype(), [F16, BF16, F32, F64], T => {
        let weights = weights.to_vec::<T>()?;
        source.with(|g| g.multinomial(&weights, [rows, categories], count, replacement))?
    }, else => return Err(needs_float(OP, weights.dtype().name())));
    let out = shape.with(shape.rank() - 1, count);
    to_device(&RawTensor::from_vec(OP, drawn, out)?, device)
}

/// The numbers below `n` in random order.
///
/// # Errors
/// `n` numbers do not fit into memory, or their largest not into `dtype`.
pub fn randperm(n: usize, dtype: DType, device: Device, mut source: Source<'_>) -> Result<RawTensor> {
    const OP: &str = "randperm";
    let largest = match dtype {
        DType::U8 => 1 << 8,
        DType::I8 => 1 << 7,
        DType::I16 => 1 << 15,
        DType::I32 => 1 << 31,
        DType::F16 => (1 << 11) + 1,
        DType::BF16 => (1 << 8) + 1,
        DType::F32 => (1 << 24) + 1,
        DType::Bool => return Err(Error::dtype(OP, "not there for bool")),
        _ => usize::MAX,
    };
    if n > largest {
        return Err(Error::value(OP, format!("n cannot be greater than {largest} for {dtype}, got {n}")));
    }
    let order = RawTensor::from_vec(OP, source.with(|g| g.randperm(n))?, [n])?;
    to_device(&to_dtype(&order, dtype)?, device)
}

/// A tensor with undefined content whose elements lie in memory in the order of `like`'s, without gaps: where PyTorch puts
/// the result of `rand_like` or `dropout`.
///
/// # Errors
/// The memory is not there.
pub fn uninit_like(op: &'static str, like: &RawTensor) -> Result<RawTensor> {
    let axes = memory_order(like.layout());
    let out = crate::backend::uninit(op, like.layout().permute(&axes).shape(), like.dtype(), like.device())?;
    Ok(out.with_layout(out.layout().permute(&inverse(&axes))))
}

/// Lets `draw` fill contiguous host memory for the elements of `x` in their order. It is told whether that is the
/// row-major order of a contiguous tensor.
fn fill(op: &'static str, x: &RawTensor, mut draw: impl FnMut(&RawTensor, bool) -> Result<()>) -> Result<()> {
    check_writable(op, x)?;
    let in_order = x.is_contiguous();
    if in_order && x.device().is_cpu() {
        draw(x, true)?;
        x.bump_version();
        return Ok(());
    }
    let axes: Dims = if in_order { (0..x.rank()).collect() } else { memory_order(x.layout()) };
    let drawn = RawTensor::uninit(op, x.layout().permute(&axes).shape().clone(), x.dtype())?;
    draw(&drawn, in_order)?;
    copy_(x, &drawn.with_layout(drawn.layout().permute(&inverse(&axes))))
}

/// The axes from the longest stride to the shortest. A stride of 0 says nothing about an axis: it stays beside its
/// neighbours (PyTorch's `infer_dense_strides`).
fn memory_order(layout: &Layout) -> Dims {
    let (strides, shape) = (layout.strides(), layout.shape());
    // From the shortest to the longest; axes are equal until something tells them apart, so a plain sort will not do.
    let mut axes: Dims = (0..layout.rank()).rev().collect();
    for i in 1..axes.len() {
        let mut at = i;
        for other in (0..i).rev() {
            let (a, b) = (axes[other], axes[at]);
            if strides[a] == 0 || strides[b] == 0 {
                continue;
            }
            match (strides[a], shape[a]).cmp(&(strides[b], shape[b])) {
                Ordering::Greater => {
                    axes.swap(other, at);
                    at = other;
                }
                Ordering::Less if strides[a] < strides[b] => break,
                _ => {}
            }
        }
    }
    axes.reverse();
    axes
}

fn inverse(axes: &[usize]) -> Dims {
    let mut out = Dims::from_elem(0, axes.len());
    for (to, &from) in axes.iter().enumerate() {
        out[from] = to;
    }
    out
}

/// A tensor of `shape` filled with draws.
///
/// # Errors
/// As [`draw_`]; the size overflows or the memory is not there.
pub fn draw(
    shape: &Shape,
    distribution: Distribution,
    dtype: DType,
    device: Device,
    source: Source<'_>,
) -> Result<RawTensor> {
    let op = distribution.name().trim_end_matches('_');
    let host = RawTensor::uninit(op, shape.clone(), dtype)?;
    draw_(&host, distribution, source)?;
    to_device(&host, device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strided_tensors_are_filled_in_memory_order() {
        let base = crate::full(&[4, 6].into(), 0.into(), DType::F32, Device::CPU).unwrap();
        let t = base.with_layout(base.layout().transpose(0, 1));
        draw_(&t, Distribution::Uniform(0.0, 1.0), (&mut Generator::new(0)).into()).unwrap();
        let mut expected = [0f32; 24];
        Generator::new(0).uniform(&mut expected, 0.0, 1.0).unwrap();
        assert_eq!(base.to_vec::<f32>().unwrap(), expected);
        assert!(base.version() > 0);
    }

    #[test]
    fn refused_draws_leave_the_stream_alone() {
        let x = crate::full(&[4].into(), 0.into(), DType::I64, Device::CPU).unwrap();
        let mut g = Generator::new(1);
        assert!(draw_(&x, Distribution::Normal(0.0, 1.0), (&mut g).into()).is_err());
        assert!(draw_(&x, Distribution::Bernoulli(1.5), (&mut g).into()).is_err());
        assert!(randperm(300, DType::U8, Device::CPU, (&mut g).into()).is_err());
        assert_eq!(g.next_u32(), Generator::new(1).next_u32());
    }
}
