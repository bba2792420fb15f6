//! Resampling along one axis after the other, each new pixel a weighted mean of those that it covers.

use std::ops::{AddAssign, Mul};

use kiln_autograd::kiln_ops::Element;
use kiln_autograd::{DType, Error, Result, Tensor};

/// How the pixels of an image of another size are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interpolation {
    /// The pixel at the place, rounded down.
    Nearest,
    /// The pixel whose centre is nearest.
    NearestExact,
    /// Linearly between two pixels along each axis.
    #[default]
    Bilinear,
    /// By cubic convolution of four pixels along each axis.
    Bicubic,
}

/// A new pixel: the first of the old ones, and the weight of each.
struct Taps<T> {
    start: usize,
    weights: Vec<T>,
}

/// The hat function.
fn hat(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

/// Keys, "Cubic convolution interpolation for digital image processing" (1981), with a = -1/2.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// Room for so many elements, or an error in the place of an abort.
fn room<T>(factors: &[usize]) -> Result<Vec<T>> {
    let count = factors.iter().try_fold(1usize, |n, factor| n.checked_mul(*factor));
    let mut empty = Vec::new();
    match count.map(|n| empty.try_reserve_exact(n)) {
        Some(Ok(())) => Ok(empty),
        _ => Err(Error::value("resize", format!("there is no memory for {factors:?} elements"))),
    }
}

/// The filter is stretched where images become smaller, so that every old pixel counts.
fn taps<T>(from: usize, to: usize, bicubic: bool, round: impl Fn(f64) -> T) -> Result<Vec<Taps<T>>> {
    let scale = from as f64 / to as f64;
    let stretch = scale.max(1.0);
    let support = if bicubic { 2.0 } else { 1.0 } * stretch;
    let filter = if bicubic { cubic } else { hat };
    let mut all = room(&[to])?;
    all.extend((0..to).map(|i| {
        let centre = scale * (i as f64 + 0.5);
        let start = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(from);
        let weights: Vec<f64> = (start..end).map(|j| filter((j as f64 - centre + 0.5) / stretch)).collect();
        let total: f64 = weights.iter().sum();
        let weights = weights.iter().map(|w| round(if total == 0.0 { *w } else { w / total })).collect();
        Taps { start, weights }
    }));
    Ok(all)
}

/// `[outer, from, inner]` becomes `[outer, to, inner]`.
fn along<T>(data: &[T], from: usize, inner: usize, taps: &[Taps<T>]) -> Result<Vec<T>>
where
    T: Copy + Default + Mul<Output = T> + AddAssign,
{
    let outer = data.len().checked_div(from * inner).unwrap_or(0);
    let mut out = room(&[outer, taps.len(), inner])?;
    out.resize(outer * taps.len() * inner, T::default());
    if out.is_empty() {
        return Ok(out);
    }
    for (plane, out) in data.chunks_exact(from * inner).zip(out.chunks_exact_mut(taps.len() * inner)) {
        for (tap, row) in taps.iter().zip(out.chunks_exact_mut(inner)) {
            for (j, weight) in tap.weights.iter().enumerate() {
                let source = &plane[(tap.start + j) * inner..][..inner];
                for (sum, value) in row.iter_mut().zip(source) {
                    *sum += *value * *weight;
                }
            }
        }
    }
    Ok(out)
}

fn resampled<T>(image: &Tensor, size: [usize; 2], bicubic: bool, round: impl Fn(f64) -> T) -> Result<Tensor>
where
    T: Element + Copy + Default + Mul<Output = T> + AddAssign,
{
    let mut dims = image.dims();
    let rank = dims.len();
    let (h, w) = (dims[rank - 2], dims[rank - 1]);
    let mut data = image.detach().to_vec::<T>()?;
    if size[1] != w {
        data = along(&data, w, 1, &taps(w, size[1], bicubic, &round)?)?;
    }
    if size[0] != h {
        data = along(&data, h, size[1], &taps(h, size[0], bicubic, &round)?)?;
    }
    dims[rank - 2..].copy_from_slice(&size);
    Tensor::from_vec(data, dims)?.to_device(image.device())
}

/// A floating point image `[.., h, w]` in another size, of f64 in double precision, else in single.
pub(super) fn antialiased(image: &Tensor, size: [usize; 2], bicubic: bool) -> Result<Tensor> {
    if image.dtype() == DType::F64 {
        return resampled(image, size, bicubic, |x| x);
    }
    resampled(&image.to_dtype(DType::F32)?, size, bicubic, |x| x as f32)
}
