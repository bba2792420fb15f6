//! Covariances, histograms, and membership.

use kiln_ops::{DType, SearchOptions, Shape};

use crate::arg::Arg;
use crate::{Error, Here, Result, Tensor};

/// What a variable's observations are weighed by in [`Tensor::cov`].
#[derive(Clone, Copy, Default)]
pub struct CovWeights<'a> {
    /// How often each observation occurred: integers.
    pub frequencies: Option<&'a Tensor>,
    /// How much each observation counts: floats.
    pub importance: Option<&'a Tensor>,
}

impl CovWeights<'_> {
    /// A vector of non-negative weights, one for each observation.
    #[track_caller]
    fn check(op: &'static str, name: &str, w: &Tensor, observations: usize) -> Result<()> {
        if w.rank() > 1 {
            let what = format!("expected {name} to have one or fewer dimensions, got shape {:?}", w.shape());
            return Err(Error::shape(op, what));
        }
        if w.numel() != observations {
            let what = format!(
                "expected {name} to have the same numel as there are observations in the input but got {} != {observations}",
                w.numel()
            );
            return Err(Error::shape(op, what));
        }
        if observations > 0 && w.lt(0)?.any()?.item()?.is_true() {
            return Err(Error::value(op, format!("{name} cannot be negative")));
        }
        Ok(())
    }

    /// The products of both kinds.
    #[track_caller]
    fn joined(&self, op: &'static str, observations: usize) -> Result<Option<Tensor>> {
        if let Some(f) = self.frequencies {
            if !f.dtype().is_int() {
                return Err(Error::dtype(
                    op,
                    format!("expected fweights to have integral dtype, got {}", f.dtype()),
                ));
            }
            Self::check(op, "fweights", f, observations)?;
        }
        if let Some(a) = self.importance {
            if !a.dtype().is_float() {
                let what = format!("expected aweights to have floating point dtype, got {}", a.dtype());
                return Err(Error::dtype(op, what));
            }
            Self::check(op, "aweights", a, observations)?;
        }
        match (self.frequencies, self.importance) {
            (Some(f), Some(a)) => f.mul(a).map(Some),
            (f, a) => Ok(f.or(a).cloned()),
        }
    }
}

/// Where the bins of a histogram end.
#[derive(Clone)]
pub enum Bins {
    /// So many bins of equal width.
    Count(usize),
    /// The ends of the bins, rising: one more than there are bins.
    Edges(Tensor),
}

impl From<usize> for Bins {
    fn from(count: usize) -> Bins {
        Bins::Count(count)
    }
}

impl From<&Tensor> for Bins {
    fn from(edges: &Tensor) -> Bins {
        Bins::Edges(edges.clone())
    }
}

/// What else there is to say about a histogram: [`Tensor::histogram`], [`Tensor::histogramdd`].
#[derive(Clone, Copy, Default)]
pub struct HistogramOptions<'a> {
    /// The ends of the outermost bins, two numbers for each axis; those of the data when absent.
    pub range: Option<&'a [f64]>,
    /// What each point counts, 1 when absent.
    pub weight: Option<&'a Tensor>,
    /// Whether to divide by the total and by the volume of the bins.
    pub density: bool,
}

impl Tensor {
    /// The covariances of variables, the rows of this matrix, whose observations are the columns; a vector is one variable
    /// (`torch.cov`). Sums are divided by the number of observations less `correction`.
    ///
    /// ```
    /// use kiln_autograd::{CovWeights, Tensor};
    /// let x = Tensor::from_vec(vec![0.0f32, 1.0, 2.0, 2.0, 1.0, 0.0], [2, 3])?;
    /// assert_eq!(x.cov(1, CovWeights::default())?.to_vec::<f32>()?, [1.0, -1.0, -1.0, 1.0]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// More than two axes; truth values; weights of another number than there are observations, below 0, or with the sum
    /// 0.
    #[track_caller]
    pub fn cov(&self, correction: i64, weights: CovWeights<'_>) -> Result<Tensor> {
        const OP: &str = "cov";
        if self.rank() > 2 {
            let what = format!(
                "cov(): expected input to have two or fewer dimensions but got an input with {} dimensions",
                self.rank()
            );
            return Err(Error::shape(OP, what));
        }
        if self.dtype() == DType::Bool {
            return Err(Error::dtype(OP, "cov(): bool dtype is not supported for input"));
        }
        let x = if self.rank() < 2 { self.reshape([1, self.numel() as i64])? } else { self.clone() };
        let observations = x.shape()[1];
        let w = weights.joined(OP, observations)?;
        let weighed = |x: &Tensor| w.as_ref().map_or_else(|| Ok(x.clone()), |w| x.mul(w));
        let total = match &w {
            Some(w) => w.sum()?,
            None => Tensor::full_with([0usize; 0], observations as i64, (DType::I64, x.device())),
        };
        if w.is_some() && total.to_f64()? == 0.0 {
            return Err(Error::value(OP, "cov(): weights sum to zero, can't be normalized"));
        }
        let mean = weighed(&x).here()?.sum_axes(&[1], true)?.div(&total)?;
        let divisor = match (&w, weights.importance) {
            (Some(w), Some(a)) if correction != 0 => {
                total.sub(&w.mul(a)?.sum()?.mul(correction)?.div(&total)?)?
            }
            _ => total.sub(correction)?,
        };
        // Too few observations: PyTorch warns and divides by 0.
        let divisor = divisor.clamp_min(0)?;
        let x = x.sub(&mean)?;
        let y = weighed(&x).here()?;
        let dtype = x.joint_dtype(Arg::Tensor(&y));
        x.to_dtype(dtype)?.mm(&y.to_dtype(dtype)?.t()?)?.div(&divisor)?.squeeze()
    }

    /// The correlations of variables, the rows of this matrix: covariances divided by both standard deviations
    /// (`torch.corrcoef`).
    ///
    /// # Errors
    /// More than two axes; truth values.
    #[track_caller]
    pub fn corrcoef(&self) -> Result<Tensor> {
        if self.rank() > 2 {
            let what =
                format!("expected input to have two or fewer dimensions, got shape {:?}", self.shape());
            return Err(Error::shape("corrcoef", what));
        }
        let c = self.cov(1, CovWeights::default())?;
        if c.rank() == 0 {
            return c.div(&c);
        }
        let spread = c.diagonal(0, 0, 1)?.sqrt()?;
        c.div(&spread.unsqueeze(1)?)?.div(&spread.unsqueeze(0)?)?.clamp(-1.0, 1.0)
    }

    /// How many elements lie in each bin, and the ends of the bins (`torch.histogram`). A bin holds its lower end, the
    /// last one its upper end too; what lies outside, and NaN, counts nowhere.
    ///
    /// ```
    /// use kiln_autograd::{HistogramOptions, Tensor};
    /// let x = Tensor::from_vec(vec![1.0f32, 5.0, 2.0, 9.0], [4])?;
    /// let options = HistogramOptions { range: Some(&[1.0, 7.0]), ..Default::default() };
    /// let (counts, edges) = x.histogram(3, options)?;
    /// assert_eq!(counts.to_vec::<f32>()?, [2.0, 0.0, 1.0]);
    /// assert_eq!(edges.to_vec::<f32>()?, [1.0, 3.0, 5.0, 7.0]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Another dtype than float32 and float64, also of edges and weights; no bins; edges that are not a vector; a range
    /// that falls or is not finite; weights of another shape.
    #[track_caller]
    pub fn histogram(
        &self,
        bins: impl Into<Bins>,
        options: HistogramOptions<'_>,
    ) -> Result<(Tensor, Tensor)> {
        if let Some(w) = options.weight.filter(|w| w.shape() != self.shape()) {
            let what = format!("weights of shape {:?} for elements of shape {:?}", w.shape(), self.shape());
            return Err(Error::shape("histogram", what));
        }
        let weight = options.weight.map(|w| w.reshape([-1])).transpose().here()?;
        let options = HistogramOptions { weight: weight.as_ref(), ..options };
        let points = self.reshape([self.numel() as i64, 1])?;
        let (counts, mut edges) = points.binned("histogram", &[bins.into()], options)?;
        edges
            .pop()
            .map(|edges| (counts, edges))
            .ok_or_else(|| Error::value("histogram", "there are no bins"))
            .here()
    }

    /// How many points lie in each box of a grid, and the ends of the bins of each axis (`torch.histogramdd`): the last axis
    /// holds the coordinates of a point.
    ///
    /// # Errors
    /// As [`Tensor::histogram`]; another number of `bins` than there are coordinates.
    #[track_caller]
    pub fn histogramdd(&self, bins: &[Bins], options: HistogramOptions<'_>) -> Result<(Tensor, Vec<Tensor>)> {
        const OP: &str = "histogramdd";
        if self.rank() < 2 {
            return Err(Error::shape(OP, "input tensor should have at least 2 dimensions"));
        }
        let axes = self.size(-1)?;
        if bins.len() != axes {
            return Err(Error::value(
                OP,
                "The size of bins must be equal to the innermost dimension of the input.",
            ));
        }
        let lead = &self.dims()[..self.rank() - 1];
        if let Some(w) = options.weight.filter(|w| w.dims() != lead) {
            let what = format!("weights of shape {:?} for points of shape {lead:?}", w.shape());
            return Err(Error::shape(OP, what));
        }
        let weight = options.weight.map(|w| w.reshape([-1])).transpose().here()?;
        let options = HistogramOptions { weight: weight.as_ref(), ..options };
        let points: usize = lead.iter().product();
        self.reshape([points, axes])?.binned(OP, bins, options)
    }

    /// The histogram of the rows of a matrix.
    #[track_caller]
    fn binned(
        &self,
        op: &'static str,
        bins: &[Bins],
        options: HistogramOptions<'_>,
    ) -> Result<(Tensor, Vec<Tensor>)> {
        let dtype = self.dtype();
        if !matches!(dtype, DType::F32 | DType::F64) {
            return Err(Error::dtype(op, format!("\"histogramdd\" not implemented for {dtype}")));
        }
        if let Some(w) = options.weight.filter(|w| w.dtype() != dtype) {
            let what = format!("input and weight should have the same dtype, got {dtype} and {}", w.dtype());
            return Err(Error::dtype(op, what));
        }
        if options.range.is_some_and(|r| r.len() != 2 * bins.len()) {
            return Err(Error::value(
                op,
                format!("a range of {} axes takes twice as many numbers", bins.len()),
            ));
        }
        let x = self.detach();
        let mut edges = Vec::with_capacity(bins.len());
        let device = x.device();
        let mut place = Tensor::full_with([x.shape()[0]], 0, (DType::I64, device));
        let mut inside = Tensor::full_with([x.shape()[0]], true, device);
        let mut sizes = Vec::with_capacity(bins.len());
        for (axis, bins) in bins.iter().enumerate() {
            let column = x.select(1, axis as i64)?.contiguous()?;
            let range = options.range.map(|r| [r[2 * axis], r[2 * axis + 1]]);
            let ends = bins.edges(op, axis, &column, range)?;
            let count = ends.numel() - 1;
            let found = ends.searchsorted(&column, None, SearchOptions { right: true, out_int32: false })?;
            let last = ends.select(0, -1)?;
            let within = column.ge(&ends.select(0, 0)?)?.logical_and(&column.le(&last)?)?;
            inside = inside.logical_and(&within)?;
            // The upper end of the last bin belongs to it.
            place = place.mul(count as i64)?.add(&found.sub(1)?.clamp(0, count as i64 - 1)?)?;
            sizes.push(count);
            edges.push(ends);
        }
        let total = Shape::new(&[Shape::new(&sizes).checked_numel(op).here()?]);
        let weight = match options.weight {
            Some(w) => w.detach().masked_select(&inside)?,
            None => inside.masked_select(&inside)?.to_dtype(dtype)?,
        };
        let zeros = Tensor::from_raw(kiln_ops::full(&total, 0.into(), dtype, device).here()?);
        let mut counts =
            zeros.index_add(0, &place.masked_select(&inside)?, &weight)?.reshape(sizes.as_slice())?;
        if options.density {
            counts = counts.div(&counts.sum()?)?;
            for (axis, ends) in edges.iter().enumerate() {
                let mut shape = vec![1i64; sizes.len()];
                shape[axis] = -1;
                counts = counts.div(&ends.diff(1, 0, None, None)?.reshape(shape.as_slice())?)?;
            }
        }
        Ok((counts, edges))
    }

    /// Which elements are among those of `test` (`torch.isin`); which are not, with `invert`. NaN is not among them.
    ///
    /// # Errors
    /// Truth values.
    #[track_caller]
    pub fn isin<'a>(&self, test: impl Into<Arg<'a>>, invert: bool) -> Result<Tensor> {
        const OP: &str = "isin";
        let test = test.into();
        let dtype = self.joint_dtype(test);
        let test = self.to_operand(test, dtype)?;
        if [self.dtype(), test.dtype()].contains(&DType::Bool) {
            return Err(Error::dtype(OP, "Unsupported input type encountered for isin(): bool"));
        }
        let (x, test) = (self.detach().to_dtype(dtype)?, test.detach().to_dtype(dtype)?);
        if test.numel() == 0 {
            return Ok(Tensor::full_with(x.shape(), invert, x.device()));
        }
        let sorted = test.reshape([-1])?.sort(0, false)?.0;
        let at = sorted.searchsorted(&x.contiguous()?, None, SearchOptions::default())?;
        let at = at.clamp(0, sorted.numel() as i64 - 1)?;
        let found = sorted.take(&at)?.eq(&x)?;
        if invert { found.logical_not() } else { Ok(found) }
    }
}

impl Bins {
    /// The ends of the bins for the coordinates `x`.
    #[track_caller]
    fn edges(&self, op: &'static str, axis: usize, x: &Tensor, range: Option<[f64; 2]>) -> Result<Tensor> {
        let count = match self {
            Bins::Edges(edges) => {
                if edges.rank() != 1 || edges.numel() == 0 {
                    let what = format!(
                        "bins tensor should be a vector of at least 1 element, got shape {:?} for dimension {axis}",
                        edges.shape()
                    );
                    return Err(Error::shape(op, what));
                }
                if edges.dtype() != x.dtype() {
                    let what = format!(
                        "bins and input should have the same dtype, got {} and {}",
                        edges.dtype(),
                        x.dtype()
                    );
                    return Err(Error::dtype(op, what));
                }
                if edges.numel() > 1 {
                    return edges.detach().contiguous();
                }
                0
            }
            Bins::Count(count) => *count,
        };
        if count == 0 {
            return Err(Error::value(op, format!("bins must be > 0, but got 0 for dimension {axis}")));
        }
        let [low, high] = match range {
            Some(range) => range,
            None if x.numel() == 0 => [0.0, 1.0],
            None => [x.amin(&[], false)?.to_f64()?, x.amax(&[], false)?.to_f64()?],
        };
        if !low.is_finite() || !high.is_finite() {
            return Err(Error::value(op, format!("dimension {axis}'s range [{low}, {high}] is not finite")));
        }
        if low > high {
            let what =
                format!("min should not exceed max, but got min {low} max {high} for dimension {axis}");
            return Err(Error::value(op, what));
        }
        let half = if low == high { 0.5 } else { 0.0 };
        let room = count
            .checked_add(1)
            .ok_or_else(|| Error::value(op, format!("{count} bins are too many")))
            .here()?;
        Ok(Tensor::from_raw(kiln_ops::linspace(low - half, high + half, room, x.dtype(), x.device()).here()?))
    }
}
