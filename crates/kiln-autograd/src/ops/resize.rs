//! Images of another size: each output element is a weighted sum of a few input elements along each axis.

use kiln_ops::DType;

use crate::ops::compose::in_single;
use crate::{Error, Result, Tensor, autocast};

/// How [`Tensor::interpolate`] weighs the elements around a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InterpolateMode {
    /// The element at the place, rounded down.
    #[default]
    Nearest,
    /// The element whose centre is nearest.
    NearestExact,
    /// Linearly between two elements along each of one to three axes (`linear`, `bilinear`, `trilinear`).
    Linear,
    /// By cubic convolution of four elements along each of two axes.
    Bicubic,
    /// The mean of all elements under the new one.
    Area,
}

/// How the places of the output lie over the input.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Alignment<'a> {
    /// The centres of the outermost elements lie on each other, not the outer borders.
    pub align_corners: bool,
    /// The factors between the sizes, where the sizes themselves do not say it exactly.
    pub scales: Option<&'a [f64]>,
}

const OP: &str = "interpolate";

impl Tensor {
    /// `[batch, channels, sizes..]` resampled to other sizes (`torch.nn.functional.interpolate`).
    ///
    /// # Errors
    /// Other than one to three spatial axes, or more or fewer than the mode is for; axes of size 0; a mode that computes on
    /// integers.
    #[track_caller]
    pub fn interpolate(
        &self,
        sizes: &[usize],
        mode: InterpolateMode,
        alignment: Alignment<'_>,
    ) -> Result<Tensor> {
        let rank = self.rank();
        if !(3..=5).contains(&rank) || sizes.len() != rank - 2 {
            return Err(Error::shape(
                OP,
                format!("expected [batch, channels, {} sizes..], got shape {:?}", sizes.len(), self.shape()),
            ));
        }
        if mode == InterpolateMode::Bicubic && rank != 4 {
            return Err(Error::shape(
                OP,
                format!("bicubic is for two spatial axes, got shape {:?}", self.shape()),
            ));
        }
        if mode == InterpolateMode::Area {
            return self.area(sizes);
        }
        let input = &self.dims()[2..];
        if input.contains(&0) || sizes.contains(&0) || self.shape()[1] == 0 {
            return Err(Error::shape(
                OP,
                format!(
                    "Input and output sizes should be greater than 0, but got {:?} and {sizes:?}",
                    self.shape()
                ),
            ));
        }
        let picks = matches!(mode, InterpolateMode::Nearest | InterpolateMode::NearestExact);
        if !picks && !self.dtype().is_float() && self.dtype() != DType::U8 {
            return Err(Error::dtype(OP, format!("{mode:?} is not implemented for {}", self.dtype())));
        }
        let along = |x: &Tensor| {
            let mut x = x.clone();
            for (i, (&n, &m)) in input.iter().zip(sizes).enumerate() {
                let scale = alignment.scales.and_then(|s| s.get(i)).copied().filter(|s| *s > 0.0);
                let axis = i as i64 + 2;
                x = match picks {
                    true => x.picked(axis, n, m, scale, mode)?,
                    false => x.weighed(axis, n, m, scale, mode, alignment.align_corners)?,
                };
            }
            Ok(x)
        };
        match self.dtype() {
            _ if picks => in_single(self, &along),
            // Bytes are rounded after each axis, the last one first.
            DType::U8 => {
                let mut x = self.to_dtype(DType::F32)?;
                for (i, (&n, &m)) in input.iter().zip(sizes).enumerate().rev() {
                    let scale = alignment.scales.and_then(|s| s.get(i)).copied().filter(|s| *s > 0.0);
                    let axis = i as i64 + 2;
                    x = match sizes.len() {
                        2 if n == m => x,
                        2 => x.weighed_bytes(axis, n, m, scale, mode, alignment.align_corners)?,
                        _ => {
                            x.weighed(axis, n, m, scale, mode, alignment.align_corners)?.add(0.5)?.floor()?
                        }
                    };
                    x = x.clamp(0.0, 255.0)?;
                }
                x.to_dtype(DType::U8)
            }
            _ => in_single(self, &along),
        }
    }

    #[track_caller]
    fn area(&self, sizes: &[usize]) -> Result<Tensor> {
        match *sizes {
            [a] => self.adaptive_avg_pool1d([a]),
            [a, b] => self.adaptive_avg_pool2d([a, b]),
            [a, b, c] => self.adaptive_avg_pool3d([a, b, c]),
            _ => Err(Error::shape(OP, format!("area is for one to three axes, got {sizes:?}"))),
        }
    }

    /// One element for each place.
    #[track_caller]
    fn picked(
        &self,
        axis: i64,
        n: usize,
        m: usize,
        scale: Option<f64>,
        mode: InterpolateMode,
    ) -> Result<Tensor> {
        // The step in single precision, as in PyTorch: which element is nearest depends on its rounding.
        let step = scale.map_or(n as f32 / m as f32, |s| (1.0 / s) as f32);
        let half = if mode == InterpolateMode::NearestExact { 0.5 } else { 0.0 };
        let place = |o: usize| (((o as f32 + half) * step).floor() as usize).min(n - 1) as i64;
        let places =
            Tensor::from_vec((0..m).map(place).collect::<Vec<i64>>(), [m])?.to_device(self.device())?;
        self.index_select(axis, &places)
    }

    /// A weighted sum for each place: a product with a matrix of weights.
    #[track_caller]
    fn weighed(
        &self,
        axis: i64,
        n: usize,
        m: usize,
        scale: Option<f64>,
        mode: InterpolateMode,
        align_corners: bool,
    ) -> Result<Tensor> {
        // The arithmetic of places in the precision of the elements, as PyTorch does it.
        let single = self.dtype() == DType::F32;
        let round = move |v: f64| if single { f64::from(v as f32) } else { v };
        let (weights, _) = weights(n, m, scale, mode, align_corners, round);
        self.times(axis, &Tensor::from_vec(weights, [m, n])?)
    }

    /// [`Tensor::weighed`] of images of bytes, here in single precision, as PyTorch computes it: with weights rounded to
    /// 16 bits, and sums rounded to bytes.
    #[track_caller]
    fn weighed_bytes(
        &self,
        axis: i64,
        n: usize,
        m: usize,
        scale: Option<f64>,
        mode: InterpolateMode,
        align_corners: bool,
    ) -> Result<Tensor> {
        let (mut weights, largest) = weights(n, m, scale, mode, align_corners, |v| v);
        // As many bits behind the point as leave the largest weight below 2^15.
        let fits = |bits: i32| (0.5 + largest * f64::from(1 << bits)).trunc() < f64::from(1 << 15);
        let bits = (1..=22).take_while(|&bits| fits(bits)).last().unwrap_or(0);
        let one = f64::from(1 << bits);
        // Halves go away from zero.
        weights.iter_mut().for_each(|w| *w = (*w * one + 0.5f64.copysign(*w)).trunc());
        // Every sum is an integer that double precision holds.
        let sums = self.to_dtype(DType::F64)?.times(axis, &Tensor::from_vec(weights, [m, n])?)?;
        sums.add(one / 2.0)?.div(one)?.floor()?.to_dtype(self.dtype())
    }

    /// The product of every row along `axis` with a matrix.
    #[track_caller]
    fn times(&self, axis: i64, weights: &Tensor) -> Result<Tensor> {
        let _as_it_is = autocast::suspend();
        let weights = weights.to_dtype(self.dtype())?.to_device(self.device())?;
        self.movedim(&[axis], &[-1])?.matmul(&weights.t()?)?.movedim(&[-1], &[axis])
    }
}

/// The weights `[m, n]` of `n` elements for each of `m` places, and the largest number that one of them was while it was
/// summed up. `round` keeps the arithmetic of places in the precision it is made in.
fn weights(
    n: usize,
    m: usize,
    scale: Option<f64>,
    mode: InterpolateMode,
    align_corners: bool,
    round: impl Fn(f64) -> f64,
) -> (Vec<f64>, f64) {
    let step = match (align_corners, scale) {
        (true, _) if m > 1 => round((n as f64 - 1.0) / (m as f64 - 1.0)),
        (true, _) => 0.0,
        (false, Some(s)) => round(1.0 / s),
        (false, None) => round(n as f64 / m as f64),
    };
    let (mut weights, mut largest) = (vec![0.0f64; n * m], 0.0f64);
    for o in 0..m {
        let place = match align_corners {
            true => round(step * o as f64),
            false => round(step * (o as f64 + 0.5) - 0.5),
        };
        let mut add = |at: i64, w: f64| {
            let weight = &mut weights[o * n + at.clamp(0, n as i64 - 1) as usize];
            *weight += w;
            largest = largest.max(*weight);
        };
        if mode == InterpolateMode::Bicubic {
            let first = place.floor();
            for (k, w) in cubic(place - first).into_iter().enumerate() {
                add(first as i64 - 1 + k as i64, w);
            }
        } else {
            let place = place.max(0.0);
            let first = (place as usize).min(n - 1);
            let w = (place - first as f64).clamp(0.0, 1.0);
            add(first as i64, 1.0 - w);
            add(first as i64 + 1, w);
        }
    }
    (weights, largest)
}

/// The weights of the four elements around a place `t` behind the second one: cubic convolution with a slope of -0.75.
fn cubic(t: f64) -> [f64; 4] {
    const A: f64 = -0.75;
    let near = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)]
}
