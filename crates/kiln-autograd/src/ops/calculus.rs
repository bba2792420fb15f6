//! Integrals and slopes of sampled functions.

use kiln_ops::DType;

use crate::arg::Arg;
use crate::collect::Collect;
use crate::{Error, Here, Result, Tensor};

/// Where the samples of a function were taken: [`Tensor::gradient`].
#[derive(Clone, Copy)]
pub enum Spacing<'a> {
    /// At equal distances of this length along every axis.
    Even(f64),
    /// At equal distances, one length for each axis.
    EvenPerAxis(&'a [f64]),
    /// At these coordinates, a vector for each axis.
    At(&'a [&'a Tensor]),
}

impl Default for Spacing<'_> {
    fn default() -> Self {
        Spacing::Even(1.0)
    }
}

impl From<f64> for Spacing<'_> {
    fn from(length: f64) -> Self {
        Spacing::Even(length)
    }
}

#[track_caller]
fn not_bool(op: &'static str, tensors: &[&Tensor]) -> Result<()> {
    if tensors.iter().any(|t| t.dtype() == DType::Bool) {
        return Err(Error::dtype(op, format!("{op}: received a bool input, but bool is not supported")));
    }
    Ok(())
}

impl Tensor {
    /// The neighbours along an axis, `x[..n - 1]` and `x[1..]`.
    #[track_caller]
    fn neighbours(&self, axis: i64) -> Result<[Tensor; 2]> {
        Ok([self.slice(axis, None, Some(-1), 1)?, self.slice(axis, Some(1), None, 1)?])
    }

    /// The distances between samples along `axis` of `self`, from coordinates that are a vector or have its axes.
    #[track_caller]
    fn distances(&self, op: &'static str, x: &Tensor, axis: usize) -> Result<Tensor> {
        let rank = self.rank();
        let mut sizes: Vec<i64> = vec![1; rank.saturating_sub(x.rank())];
        sizes.extend(x.dims().iter().map(|&n| n as i64));
        if x.rank() == 1 {
            if x.numel() != self.shape()[axis] {
                return Err(Error::shape(
                    op,
                    format!("{op}: There must be one `x` value for each sample point"),
                ));
            }
            sizes = vec![1; rank];
            sizes[axis] = -1;
        }
        // Counted from the end, so that coordinates may have more axes than the samples.
        let axis = axis as i64 - rank as i64;
        let [before, after] = x.reshape(sizes.as_slice())?.neighbours(axis)?;
        after.sub(&before)
    }

    /// The integral along `axis` of the function whose samples these are, by the trapezoidal rule (`torch.trapezoid`):
    /// `spacing` is the distance of the samples, or a tensor of their coordinates, a vector or one that broadcasts to this
    /// one. No samples have the integral 0.
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// let y = Tensor::from_vec(vec![1.0f32, 5.0, 10.0], [3])?;
    /// assert_eq!(y.trapezoid(1.0, -1)?.to_f64()?, 10.5);
    /// let x = Tensor::from_vec(vec![1.0f32, 3.0, 6.0], [3])?;
    /// assert_eq!(y.trapezoid(&x, -1)?.to_f64()?, 28.5);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// An axis out of range; truth values; another number of coordinates than of samples.
    #[track_caller]
    pub fn trapezoid<'a>(&self, spacing: impl Into<Arg<'a>>, axis: i64) -> Result<Tensor> {
        const OP: &str = "trapezoid";
        let at = self.axis_of_samples(OP, axis)?;
        not_bool(OP, &[self])?;
        let axis = at as i64;
        if self.shape()[at] == 0 {
            return Ok(Tensor::full_with(self.shape().without(at), 0, self));
        }
        match spacing.into() {
            Arg::Tensor(x) => {
                not_bool(OP, &[x])?;
                let [before, after] = self.neighbours(axis)?;
                let areas = before.add(&after)?.mul(&self.distances(OP, x, at)?)?;
                // Coordinates with more axes come first.
                areas.sum_axes(&[axis - self.rank() as i64], false)?.div(2.0)
            }
            Arg::Scalar(dx) => {
                let ends = self.select(axis, 0)?.add(&self.select(axis, -1)?)?.mul(0.5)?;
                self.sum_axes(&[axis], false)?.sub(&ends)?.mul(dx.to_f64())
            }
        }
    }

    /// The integrals from the first sample up to each other one, see [`Tensor::trapezoid`]
    /// (`torch.cumulative_trapezoid`).
    ///
    /// # Errors
    /// As [`Tensor::trapezoid`].
    #[track_caller]
    pub fn cumulative_trapezoid<'a>(&self, spacing: impl Into<Arg<'a>>, axis: i64) -> Result<Tensor> {
        const OP: &str = "cumulative_trapezoid";
        let at = self.axis_of_samples(OP, axis)?;
        not_bool(OP, &[self])?;
        let axis = at as i64 - self.rank() as i64;
        let [before, after] = self.neighbours(axis)?;
        let sums = before.add(&after)?;
        match spacing.into() {
            Arg::Tensor(x) => {
                not_bool(OP, &[x])?;
                sums.mul(&self.distances(OP, x, at)?)?.cumsum(axis)?.div(2.0)
            }
            Arg::Scalar(dx) => sums.mul(dx.to_f64() / 2.0)?.cumsum(axis),
        }
    }

    #[track_caller]
    fn axis_of_samples(&self, op: &'static str, axis: i64) -> Result<usize> {
        if self.rank() == 0 {
            return Err(Error::shape(
                op,
                format!("Dimension specified as {axis} but tensor has no dimensions"),
            ));
        }
        self.shape().axis(op, axis).here()
    }

    /// The slopes of the function whose samples these are, one tensor for each of `axes` (none given: all), by central
    /// differences; at the borders by differences of order `edge_order`, 1 or 2 (`torch.gradient`).
    ///
    /// ```
    /// use kiln_autograd::{Spacing, Tensor};
    /// let squares = Tensor::from_vec(vec![0.0f32, 1.0, 4.0, 9.0], [4])?;
    /// let slopes = squares.gradient(Spacing::Even(1.0), &[], 1)?;
    /// assert_eq!(slopes[0].to_vec::<f32>()?, [1.0, 2.0, 4.0, 5.0]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// An axis out of range (a number has none), named twice, or with fewer than `edge_order + 1` samples; another number of spacings than of
    /// axes; coordinates that are not a vector of as many numbers as there are samples; another `edge_order`.
    #[track_caller]
    pub fn gradient(&self, spacing: Spacing<'_>, axes: &[i64], edge_order: usize) -> Result<Vec<Tensor>> {
        const OP: &str = "gradient";
        let wrong = |what: String| Err(Error::value(OP, what));
        if !(1..=2).contains(&edge_order) {
            return wrong(format!(
                "torch.gradient only supports edge_order=1 and edge_order=2, got {edge_order}"
            ))
            .here();
        }
        let resolved = kiln_ops::reduce::resolve_axes(OP, axes, self.rank()).here()?;
        if let (0, [axis, ..]) = (self.rank(), axes) {
            return Err(Error::index(
                OP,
                format!("Dimension specified as {axis} but tensor has no dimensions"),
            ));
        }
        // In the order in which they were named.
        let named: Vec<usize> = match axes.is_empty() {
            true => resolved.to_vec(),
            false => axes.iter().map(|&a| self.shape().axis(OP, a)).all_ok().here()?,
        };
        if let Some(axis) = named.iter().find(|&&a| self.shape()[a] < edge_order + 1) {
            return wrong(format!(
                "torch.gradient expected each dimension size to be at least edge_order+1, got {:?} and axis {axis}",
                self.shape()
            )).here();
        }
        let given = match spacing {
            Spacing::Even(_) => named.len(),
            Spacing::EvenPerAxis(lengths) => lengths.len(),
            Spacing::At(coordinates) => coordinates.len(),
        };
        if given != named.len() {
            return wrong(format!("expected a spacing for each of {} axes, got {given}", named.len())).here();
        }
        named
            .iter()
            .enumerate()
            .map(|(i, &axis)| match spacing {
                Spacing::Even(length) => self.slope_even(axis as i64, length, edge_order),
                Spacing::EvenPerAxis(lengths) => self.slope_even(axis as i64, lengths[i], edge_order),
                Spacing::At(coordinates) => self.slope_at(axis, coordinates[i], edge_order),
            })
            .all_ok()
            .here()
    }

    /// The sum of `weights` times the samples from `start` on along `axis`.
    #[track_caller]
    fn stencil(&self, axis: i64, start: i64, length: i64, weights: &[f64]) -> Result<Tensor> {
        let term = |i: usize| self.narrow(axis, start + i as i64, length)?.mul(weights[i]);
        (1..weights.len()).try_fold(term(0).here()?, |sum, i| sum.add(&term(i)?)).here()
    }

    #[track_caller]
    fn slope_even(&self, axis: i64, dx: f64, edge_order: usize) -> Result<Tensor> {
        let n = self.size(axis)? as i64;
        let (first, last): (&[f64], &[f64]) = match edge_order {
            1 => (&[-1.0, 1.0], &[-1.0, 1.0]),
            _ => (&[-1.5, 2.0, -0.5], &[0.5, -2.0, 1.5]),
        };
        let head = self.stencil(axis, 0, 1, first)?.div(dx)?;
        let tail = self.stencil(axis, n - last.len() as i64, 1, last)?.div(dx)?;
        let middle =
            self.narrow(axis, 2.min(n), (n - 2).max(0))?.sub(&self.narrow(axis, 0, (n - 2).max(0))?)?;
        Tensor::cat(&[&head, &middle.div(dx)?.div(2.0)?, &tail], axis)
    }

    #[track_caller]
    fn slope_at(&self, axis: usize, x: &Tensor, edge_order: usize) -> Result<Tensor> {
        let n = self.shape()[axis] as i64;
        if x.rank() != 1 || x.numel() as i64 != n {
            let what = format!(
                "torch.gradient expected coordinates to be a vector of {n} numbers along axis {axis}, got shape {:?}",
                x.shape()
            );
            return Err(Error::shape("gradient", what));
        }
        let [before, after] = x.neighbours(0)?;
        let steps = after.sub(&before)?;
        let mut shape = vec![1i64; self.rank()];
        shape[axis] = -1;
        let axis = axis as i64;
        // A parabola through three samples has these slopes at the left one, the middle one and the right one.
        let parabola = |h: &Tensor, k: &Tensor, at: usize, from: i64, length: i64| -> Result<Tensor> {
            let both = h.add(k)?;
            let weights = match at {
                0 => [
                    h.mul(2.0)?.add(k)?.neg()?.div(h)?.div(&both)?,
                    both.div(&h.mul(k)?)?,
                    h.neg()?.div(&k.mul(&both)?)?,
                ],
                1 => [k.neg()?.div(&h.mul(&both)?)?, k.sub(h)?.div(&h.mul(k)?)?, h.div(&k.mul(&both)?)?],
                _ => [
                    k.div(&h.mul(&both)?)?,
                    both.neg()?.div(&h.mul(k)?)?,
                    k.mul(2.0)?.add(h)?.div(&k.mul(&both)?)?,
                ],
            };
            let term = |i: i64| {
                weights[i as usize].reshape(shape.as_slice())?.mul(&self.narrow(axis, from + i, length)?)
            };
            term(0)?.add(&term(1)?)?.add(&term(2)?)
        };
        let line = |at: i64| -> Result<Tensor> {
            let rise = self.narrow(axis, at + 1, 1)?.sub(&self.narrow(axis, at, 1)?)?;
            rise.div(&steps.narrow(0, at, 1)?.reshape(shape.as_slice())?)
        };
        let pair = |at: i64, length: i64| -> Result<[Tensor; 2]> {
            Ok([steps.narrow(0, at, length)?, steps.narrow(0, at + 1, length)?])
        };
        let (head, tail) = match edge_order {
            1 => (line(0).here()?, line(n - 2).here()?),
            _ => {
                let ([h, k], [u, v]) = (pair(0, 1).here()?, pair(n - 3, 1).here()?);
                (parabola(&h, &k, 0, 0, 1).here()?, parabola(&u, &v, 2, n - 3, 1).here()?)
            }
        };
        if n < 3 {
            return Tensor::cat(&[&head, &tail], axis);
        }
        let [h, k] = pair(0, n - 2).here()?;
        Tensor::cat(&[&head, &parabola(&h, &k, 1, 0, n - 2).here()?, &tail], axis)
    }
}
