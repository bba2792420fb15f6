//! Images sampled at the places that a grid names, and the grids of affine maps. Jaderberg et al., "Spatial Transformer
//! Networks" (2015).

use kiln_ops::DType;

use crate::ops::compose::rounded_once;
use crate::{Error, Here, Result, Tensor, autocast};

/// How [`Tensor::grid_sample`] weighs the elements around a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GridMode {
    /// Linearly along each axis.
    #[default]
    Bilinear,
    /// The nearest element.
    Nearest,
    /// By cubic convolution along each axis.
    Bicubic,
}

/// What lies outside of the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GridPadding {
    /// Zeros.
    #[default]
    Zeros,
    /// The nearest element of the border.
    Border,
    /// The image, mirrored at its borders.
    Reflection,
}

const OP: &str = "grid_sample";

impl Tensor {
    /// The image's values at the places of `grid`, whose last axis has the coordinates, the last spatial axis first, from
    /// -1 at one border to 1 at the other (`torch.nn.functional.grid_sample`).
    ///
    /// Shapes: `[n, c, h, w]` and a grid `[n, a, b, 2]` give `[n, c, a, b]`; with one more spatial axis and coordinates
    /// `[n, a, b, d, 3]` the same.
    ///
    /// # Errors
    /// Shapes or dtypes that do not fit; an image without elements.
    #[track_caller]
    pub fn grid_sample(
        &self,
        grid: &Tensor,
        mode: GridMode,
        padding: GridPadding,
        align_corners: bool,
    ) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.grid_sample(&cast.of(grid)?, mode, padding, align_corners);
        }
        let rank = self.rank();
        let fits = (rank == 4 || rank == 5)
            && grid.rank() == rank
            && grid.shape()[0] == self.shape()[0]
            && grid.shape()[rank - 1] == rank - 2;
        if !fits {
            return Err(Error::shape(
                OP,
                format!(
                    "expected an image [n, c, sizes..] of two or three spatial axes and a grid [n, places.., axes], got \
                     {:?} and {:?}",
                    self.shape(),
                    grid.shape()
                ),
            ));
        }
        if self.dims()[2..].contains(&0) {
            return Err(Error::shape(
                OP,
                format!("expected input to have non-empty spatial dimensions, got {:?}", self.shape()),
            ));
        }
        if !self.dtype().is_float() || self.dtype() != grid.dtype() {
            return Err(Error::dtype(
                OP,
                format!(
                    "expected input and grid to have the same dtype, got {} and {}",
                    self.dtype(),
                    grid.dtype()
                ),
            ));
        }
        if mode == GridMode::Bicubic && rank == 5 {
            return rounded_once([self, grid], &|[x, grid]| sample(x, grid, mode, padding, align_corners));
        }
        // In half precision a place is known to a tenth of an element or so, and another rounding of it gives another
        // picture: as in PyTorch, each operation is rounded here.
        sample(self, grid, mode, padding, align_corners)
    }

    /// The grid of the affine maps `theta`, `[n, 2, 3]` or `[n, 3, 4]`, for images of `size`, `[n, c, sizes..]`
    /// (`torch.nn.functional.affine_grid`), for [`Tensor::grid_sample`]: `[n, sizes.., axes]`.
    ///
    /// # Errors
    /// Sizes that do not fit or are 0; integers.
    #[track_caller]
    pub fn affine_grid(&self, size: &[usize], align_corners: bool) -> Result<Tensor> {
        const OP: &str = "affine_grid";
        if !self.dtype().is_float() {
            return Err(Error::dtype(
                OP,
                format!("Expected theta to have floating point type, but got {}", self.dtype()),
            ));
        }
        let axes = size.len().saturating_sub(2);
        if !(2..=3).contains(&axes) || self.dims() != [size[0], axes, axes + 1] {
            return Err(Error::shape(
                OP,
                format!(
                    "Expected a batch of 2D affine matrices of shape Nx2x3 for size NxCxHxW, or Nx3x4 for NxCxDxHxW. Got \
                     {:?} and size {size:?}.",
                    self.shape()
                ),
            ));
        }
        if size.contains(&0) {
            return Err(Error::shape(OP, format!("Expected non-zero, positive output size. Got {size:?}")));
        }
        // The places' coordinates and a one, the last axis first.
        let places: Vec<usize> = size[2..].to_vec();
        let mut coordinates = Vec::with_capacity(axes + 1);
        for (axis, &n) in places.iter().enumerate().rev() {
            let step = |i: usize| match (align_corners, n) {
                (_, 1) => 0.0,
                (true, _) => -1.0 + 2.0 * i as f64 / (n as f64 - 1.0),
                (false, _) => (-1.0 + 2.0 * i as f64 / (n as f64 - 1.0)) * (n as f64 - 1.0) / n as f64,
            };
            let mut shape = vec![1i64; axes];
            shape[axis] = n as i64;
            let line = Tensor::from_vec((0..n).map(step).collect::<Vec<f64>>(), [n])?.reshape(&shape[..])?;
            coordinates.push(line.broadcast_to(&places[..])?);
        }
        coordinates.push(Tensor::ones_with(&places[..], DType::F64));
        let base = Tensor::stack(&coordinates.iter().collect::<Vec<_>>(), -1)?;
        let base =
            base.reshape([1, -1, axes as i64 + 1])?.to_dtype(self.dtype())?.to_device(self.device())?;
        let grid = base.expand([size[0] as i64, -1, -1])?.matmul(&self.transpose(1, 2)?)?;
        let shape: Vec<i64> = [size[0]].iter().chain(&places).chain([&axes]).map(|&n| n as i64).collect();
        grid.reshape(&shape[..])
    }
}

#[track_caller]
fn sample(x: &Tensor, grid: &Tensor, mode: GridMode, padding: GridPadding, corners: bool) -> Result<Tensor> {
    let sizes = x.dims()[2..].to_vec();
    // One coordinate of each axis of the image, in elements, first axis first.
    let mut places = Vec::with_capacity(sizes.len());
    for (axis, &n) in sizes.iter().enumerate() {
        let place = grid.select(-1, (sizes.len() - 1 - axis) as i64)?;
        let n = n as f64;
        // PyTorch's order of operations, one for each number of axes.
        let place = match (sizes.len(), corners) {
            (2, true) => place.add(1.0)?.mul((n - 1.0) / 2.0)?,
            (2, false) => place.add(1.0)?.mul(n / 2.0)?.sub(0.5)?,
            (_, true) => place.add(1.0)?.div(2.0)?.mul(n - 1.0)?,
            (_, false) => place.add(1.0)?.mul(n)?.sub(1.0)?.div(2.0)?,
        };
        // Cubic weights are of the place itself: only the elements are looked for inside.
        places.push(if mode == GridMode::Bicubic { place } else { inside(&place, n, padding, corners)? });
    }
    // For each axis the elements around each place, and their weights.
    let mut taps: Vec<Vec<(Tensor, Option<Tensor>)>> = Vec::with_capacity(sizes.len());
    for (place, &n) in places.iter().zip(&sizes) {
        taps.push(match mode {
            GridMode::Nearest => vec![(place.detach().round()?, None)],
            GridMode::Bilinear => {
                let first = place.detach().floor()?;
                let w = place.sub(&first)?;
                vec![(first.clone(), Some(w.rsub(1.0)?)), (first.add(1.0)?, Some(w))]
            }
            GridMode::Bicubic => {
                let first = place.detach().floor()?;
                let mut around = Vec::with_capacity(4);
                for (i, w) in cubic(&place.sub(&first)?)?.into_iter().enumerate() {
                    let at = first.add(i as f64 - 1.0)?;
                    around.push((inside(&at, n as f64, padding, corners)?.detach(), Some(w)));
                }
                around
            }
        });
    }
    let (n, c) = (x.shape()[0], x.shape()[1]);
    let count: usize = sizes.iter().product();
    let flat = x.reshape([n as i64, c as i64, count as i64])?;
    let outer: Vec<i64> = grid.dims()[1..grid.rank() - 1].iter().map(|&d| d as i64).collect();
    let many: i64 = outer.iter().product();
    let mut sum: Option<Tensor> = None;
    let mut combination = vec![0usize; sizes.len()];
    loop {
        let chosen: Vec<_> = combination.iter().zip(&taps).map(|(&i, taps)| &taps[i]).collect();
        let (index, seen) = position(&chosen, &sizes)?;
        let mut value =
            flat.gather(2, &index.reshape([n as i64, 1, many])?.expand([n as i64, c as i64, many])?)?;
        let mut weight = seen.to_dtype(x.dtype())?;
        for w in chosen.iter().filter_map(|(_, w)| w.as_ref()) {
            weight = weight.mul(w)?;
        }
        // What is not in the image counts for nothing, whatever the element is that was read in its place.
        let weight = weight.reshape([n as i64, 1, many])?;
        let hidden = seen.logical_not()?.reshape([n as i64, 1, many])?;
        value = value.masked_fill(&hidden, 0.0)?.mul(&weight)?;
        sum = Some(match sum {
            Some(sum) => sum.add(&value)?,
            None => value,
        });
        // The next combination of one tap for each axis.
        let Some(axis) = (0..sizes.len()).rev().find(|&a| combination[a] + 1 < taps[a].len()) else { break };
        combination[axis] += 1;
        combination[axis + 1..].fill(0);
    }
    let shape: Vec<i64> = [n as i64, c as i64].into_iter().chain(outer).collect();
    let sum = sum.ok_or_else(|| Error::shape(OP, "no spatial axes")).here()?;
    sum.reshape(&shape[..])
}

/// The positions in the flattened image of elements that may lie outside, and whether they lie inside.
#[track_caller]
fn position(chosen: &[&(Tensor, Option<Tensor>)], sizes: &[usize]) -> Result<(Tensor, Tensor)> {
    let mut found: Option<(Tensor, Tensor)> = None;
    for ((at, _), &n) in chosen.iter().zip(sizes) {
        // Comparisons are false for NaN, which lies nowhere.
        let seen = at.ge(0.0)?.logical_and(&at.lt(n as f64)?)?;
        let at = at.masked_fill(&seen.logical_not()?, 0.0)?.to_dtype(DType::I64)?;
        found = Some(match found {
            None => (at, seen),
            Some((index, all)) => (index.mul(n as i64)?.add(&at)?, all.logical_and(&seen)?),
        });
    }
    found.ok_or_else(|| Error::shape(OP, "no spatial axes")).here()
}

/// A place moved into the image by the padding's rule; with zeros it stays where it is.
#[track_caller]
fn inside(place: &Tensor, n: f64, padding: GridPadding, corners: bool) -> Result<Tensor> {
    match padding {
        GridPadding::Zeros => Ok(place.clone()),
        GridPadding::Border => clipped(place, n),
        GridPadding::Reflection => {
            let (low, span) = if corners { (0.0, n - 1.0) } else { (-0.5, n) };
            if span == 0.0 {
                return place.mul(0.0);
            }
            let away = place.sub(low)?.abs()?;
            // How many borders lie between, which only changes by steps.
            let flips = away.detach().div(span)?.floor()?;
            let rest = away.sub(&flips.mul(span)?)?;
            let odd = flips.remainder(2.0)?.eq(1.0)?;
            let mirrored = rest.rsub(span)?.where_self(&odd, &rest)?.add(low)?;
            clipped(&mirrored, n)
        }
    }
}

/// `place` in `0..=n - 1`; at the borders and outside nothing changes, so the derivative is 0 there. NaN becomes 0.
#[track_caller]
fn clipped(place: &Tensor, n: f64) -> Result<Tensor> {
    let last = n - 1.0;
    let inner = place.gt(0.0)?.logical_and(&place.lt(last)?)?;
    let edge = place.detach().ge(last)?.to_dtype(place.dtype())?.mul(last)?;
    place.where_self(&inner, &edge)
}

/// The weights of the four elements around a place `t` behind the second one: cubic convolution with a slope of -0.75.
#[track_caller]
fn cubic(t: &Tensor) -> Result<[Tensor; 4]> {
    const A: f64 = -0.75;
    let near = |x: &Tensor| x.mul(A + 2.0)?.sub(A + 3.0)?.mul(x)?.mul(x)?.add(1.0);
    let far = |x: &Tensor| x.mul(A)?.sub(5.0 * A)?.mul(x)?.add(8.0 * A)?.mul(x)?.sub(4.0 * A);
    Ok([far(&t.add(1.0)?).here()?, near(t).here()?, near(&t.rsub(1.0)?).here()?, far(&t.rsub(2.0)?).here()?])
}
