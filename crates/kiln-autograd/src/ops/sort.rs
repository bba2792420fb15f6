//! Sorted order, what comes from it, and distinct elements.

use kiln_ops::{DType, RawTensor};

use crate::arg::Arg;
use crate::record::record;
use crate::{Error, Here, Result, Tensor, autocast};

/// What [`Tensor::quantile`] gives between two elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interpolation {
    /// A weighted mean of both.
    #[default]
    Linear,
    /// The lower one.
    Lower,
    /// The higher one.
    Higher,
    /// The one that is nearer; the one with the even place in the middle.
    Nearest,
    /// The mean of both.
    Midpoint,
}

/// What [`Tensor::unique_with`] gives.
#[derive(Clone)]
pub struct Unique {
    /// Each element or slice once.
    pub values: Tensor,
    /// For every element or slice of the input, which of `values` it is (`return_inverse`).
    pub inverse: Tensor,
    /// How often each of `values` occurs (`return_counts`).
    pub counts: Tensor,
}

impl Tensor {
    /// Records that `values` are the elements of this tensor at `places` along `axis`.
    pub(super) fn selection(
        &self,
        name: &'static str,
        values: RawTensor,
        places: RawTensor,
        axis: i64,
        keepdim: bool,
    ) -> (Tensor, Tensor) {
        let places = Tensor::from_raw(places);
        let values = record(name, values)
            .input(self, || {
                let (shape, places) = (self.shape(), places.save());
                move |g: &Tensor| {
                    if shape.rank() == 0 {
                        return g.reshape(&shape);
                    }
                    let axis = shape.axis("backward", axis)? as i64;
                    let zeros = super::index::zeros(&shape, g)?;
                    let places = places.get()?;
                    if keepdim {
                        return zeros.scatter_add(axis, &places, g);
                    }
                    zeros.scatter_add(axis, &places.unsqueeze(axis)?, &g.unsqueeze(axis)?)
                }
            })
            .done();
        (values, places)
    }

    /// The elements along `axis` in order and where each was; equal ones keep their order, NaN comes last
    /// (`torch.sort(stable=True)`).
    ///
    /// # Errors
    /// An axis out of range.
    #[track_caller]
    pub fn sort(&self, axis: i64, descending: bool) -> Result<(Tensor, Tensor)> {
        let (values, places) = kiln_ops::sort(&self.raw(), axis, descending).here()?;
        Ok(self.selection("SortBackward0", values, places, axis, true))
    }

    /// [`Tensor::sort`] along the first axis, the values only (`torch.msort`).
    ///
    /// # Errors
    /// None beside those of [`Tensor::sort`].
    #[track_caller]
    pub fn msort(&self) -> Result<Tensor> {
        Ok(self.sort(0, false)?.0)
    }

    /// The places of [`Tensor::sort`] (`torch.argsort`).
    ///
    /// # Errors
    /// As [`Tensor::sort`].
    #[track_caller]
    pub fn argsort(&self, axis: i64, descending: bool) -> Result<Tensor> {
        Ok(Tensor::from_raw(kiln_ops::sort(&self.raw(), axis, descending).here()?.1))
    }

    /// The `k` largest (or smallest) elements along `axis`, best first, and where each was (`torch.topk`).
    ///
    /// # Errors
    /// An axis out of range; `k` larger than the axis.
    #[track_caller]
    pub fn topk(&self, k: usize, axis: i64, largest: bool) -> Result<(Tensor, Tensor)> {
        let (values, places) = kiln_ops::top_k(&self.raw(), k, axis, largest).here()?;
        Ok(self.selection("TopkBackward0", values, places, axis, true))
    }

    /// The `k`-th smallest element along `axis`, counted from 1, and where it was (`torch.kthvalue`).
    ///
    /// # Errors
    /// An axis out of range; no such element.
    #[track_caller]
    pub fn kthvalue(&self, k: usize, axis: i64, keepdim: bool) -> Result<(Tensor, Tensor)> {
        let (values, places) = kiln_ops::kth_value(&self.raw(), k, axis, keepdim).here()?;
        Ok(self.selection("KthvalueBackward0", values, places, axis, keepdim))
    }

    /// The lower median along `axis` and where it was; NaN if there is one (`torch.median(dim)`).
    ///
    /// # Errors
    /// An axis out of range; nothing to choose from.
    #[track_caller]
    pub fn median_axis(&self, axis: i64, keepdim: bool) -> Result<(Tensor, Tensor)> {
        let (values, places) = kiln_ops::median(&self.raw(), axis, keepdim).here()?;
        Ok(self.selection("MedianBackward1", values, places, axis, keepdim))
    }

    /// The lower median along `axis` of what is not NaN, and where it was (`torch.nanmedian(dim)`).
    ///
    /// # Errors
    /// An axis out of range; nothing to choose from.
    #[track_caller]
    pub fn nanmedian_axis(&self, axis: i64, keepdim: bool) -> Result<(Tensor, Tensor)> {
        let (values, places) = kiln_ops::nan_median(&self.raw(), axis, keepdim).here()?;
        Ok(self.selection("NanmedianBackward1", values, places, axis, keepdim))
    }

    /// The lower median of all elements, NaN if there is one; equal elements share the gradient (`torch.median`).
    ///
    /// # Errors
    /// An empty tensor of integers.
    #[track_caller]
    pub fn median(&self) -> Result<Tensor> {
        self.median_of_all("MedianBackward0", kiln_ops::median)
    }

    /// The lower median of all elements that are not NaN (`torch.nanmedian`).
    ///
    /// # Errors
    /// An empty tensor of integers.
    #[track_caller]
    pub fn nanmedian(&self) -> Result<Tensor> {
        self.median_of_all("NanmedianBackward0", kiln_ops::nan_median)
    }

    #[track_caller]
    fn median_of_all(
        &self,
        name: &'static str,
        median: fn(&RawTensor, i64, bool) -> Result<(RawTensor, RawTensor)>,
    ) -> Result<Tensor> {
        let y = if self.numel() == 0 && self.dtype().is_float() {
            kiln_ops::scalar(f64::NAN.into(), self.dtype(), self.device()).here()?
        } else {
            median(&kiln_ops::reshape(&self.raw(), &[-1]).here()?, 0, false).here()?.0
        };
        Ok(record(name, y)
            .input_from_output(self, || {
                let x = self.save();
                move |g: &Tensor, y: &Tensor| {
                    let x = x.get()?.detach();
                    let y = y.detach();
                    let hit = x.eq(&y)?.logical_or(&x.isnan()?.logical_and(&y.isnan()?)?)?;
                    let hit = hit.to_dtype(g.dtype())?;
                    hit.mul(&g.div(&hit.sum()?)?)
                }
            })
            .done())
    }

    /// The most frequent element along `axis`, the smallest of several, and where it was last (`torch.mode`).
    ///
    /// # Errors
    /// An axis out of range; nothing to choose from.
    #[track_caller]
    pub fn mode(&self, axis: i64, keepdim: bool) -> Result<(Tensor, Tensor)> {
        let (values, places) = kiln_ops::mode(&self.raw(), axis, keepdim).here()?;
        Ok(self.selection("ModeBackward0", values, places, axis, keepdim))
    }

    /// The distinct elements in rising order (`torch.unique`).
    ///
    /// # Errors
    /// 2^32 elements and more.
    #[track_caller]
    pub fn unique(&self) -> Result<Tensor> {
        Ok(self.unique_with(None)?.values)
    }

    /// The distinct elements, or slices along `axis`, in rising order, with the way back and counts
    /// (`torch.unique(return_inverse, return_counts, dim)`).
    ///
    /// # Errors
    /// An axis out of range; slices without elements; 2^32 elements and more.
    #[track_caller]
    pub fn unique_with(&self, axis: impl Into<Option<i64>>) -> Result<Unique> {
        let axis = axis.into();
        let found = kiln_ops::unique(&self.raw(), axis).here()?;
        Ok(self.distinct(if axis.is_some() { "UniqueDimBackward0" } else { "Unique2Backward0" }, found))
    }

    /// The elements without those that equal the one before them (`torch.unique_consecutive`).
    ///
    /// # Errors
    /// 2^32 elements and more.
    #[track_caller]
    pub fn unique_consecutive(&self) -> Result<Tensor> {
        Ok(self.unique_consecutive_with(None)?.values)
    }

    /// The elements, or slices along `axis`, without those that equal the one before them, with the way back and counts
    /// (`torch.unique_consecutive(return_inverse, return_counts, dim)`).
    ///
    /// # Errors
    /// As [`Tensor::unique_with`].
    #[track_caller]
    pub fn unique_consecutive_with(&self, axis: impl Into<Option<i64>>) -> Result<Unique> {
        let axis = axis.into();
        let found = kiln_ops::unique_consecutive(&self.raw(), axis).here()?;
        let name =
            if axis.is_some() { "UniqueDimConsecutiveBackward0" } else { "UniqueConsecutiveBackward0" };
        Ok(self.distinct(name, found))
    }

    fn distinct(&self, name: &'static str, found: kiln_ops::Unique) -> Unique {
        // As in PyTorch there is no derivative, and asking for it is an error rather than zeros.
        let values = record(name, found.values)
            .input(self, || {
                move |_: &Tensor| {
                    let text =
                        "the derivative for unique elements is not implemented; use unique on a detach()";
                    Err(Error::autograd("unique", text))
                }
            })
            .done();
        Unique { values, inverse: Tensor::from_raw(found.inverse), counts: Tensor::from_raw(found.counts) }
    }

    /// The elements below which the fractions `q` (a number, a 0-dim tensor or a vector of this tensor's dtype) of the
    /// elements along `axis` lie, of the flattened tensor if `None`; NaN if there is one (`torch.quantile`). The results
    /// of a vector lie along a new first axis.
    ///
    /// ```
    /// use kiln_autograd::{Interpolation, Tensor};
    /// let x = Tensor::from_vec(vec![4.0f32, 1.0, 3.0, 2.0], [4])?;
    /// assert_eq!(x.quantile(0.5, None, false, Interpolation::Linear)?.to_f64()?, 2.5);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Another dtype than float32 and float64; no elements; a fraction that is not within 0 and 1; fractions with more
    /// than one axis or of another dtype.
    #[track_caller]
    pub fn quantile<'a>(
        &self,
        q: impl Into<Arg<'a>>,
        axis: impl Into<Option<i64>>,
        keepdim: bool,
        interpolation: Interpolation,
    ) -> Result<Tensor> {
        self.quantile_of("quantile", q.into(), axis.into(), keepdim, interpolation, false)
    }

    /// [`Tensor::quantile`] of the elements that are not NaN; NaN where there are none (`torch.nanquantile`).
    ///
    /// # Errors
    /// As [`Tensor::quantile`].
    #[track_caller]
    pub fn nanquantile<'a>(
        &self,
        q: impl Into<Arg<'a>>,
        axis: impl Into<Option<i64>>,
        keepdim: bool,
        interpolation: Interpolation,
    ) -> Result<Tensor> {
        self.quantile_of("nanquantile", q.into(), axis.into(), keepdim, interpolation, true)
    }

    #[track_caller]
    fn quantile_of(
        &self,
        op: &'static str,
        q: Arg<'_>,
        axis: Option<i64>,
        keepdim: bool,
        interpolation: Interpolation,
        skip_nan: bool,
    ) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            let x = cast.of(self)?;
            return match q {
                Arg::Tensor(q) => {
                    let q = cast.of(q)?;
                    x.quantile_of(op, Arg::Tensor(&q), axis, keepdim, interpolation, skip_nan)
                }
                q => x.quantile_of(op, q, axis, keepdim, interpolation, skip_nan),
            };
        }
        if !matches!(self.dtype(), DType::F32 | DType::F64) {
            return Err(Error::dtype(
                op,
                format!("input tensor must be either float or double dtype, got {}", self.dtype()),
            ));
        }
        if self.numel() == 0 {
            return Err(Error::shape(op, "input tensor must be non-empty"));
        }
        let q = self.arg_tensor(q)?;
        if q.rank() > 1 {
            return Err(Error::shape(
                op,
                format!("q must be a scalar or 1D tensor, got shape {:?}", q.shape()),
            ));
        }
        if q.dtype() != self.dtype() {
            return Err(Error::dtype(
                op,
                format!(
                    "q tensor must be same dtype as the input tensor, got {} and {}",
                    q.dtype(),
                    self.dtype()
                ),
            ));
        }
        if !q.ge(0.0)?.logical_and(&q.le(1.0)?)?.all()?.item()?.is_true() {
            return Err(Error::value(op, "q values must be in the range [0, 1]"));
        }
        let (at, rows) = match axis {
            None => (None, self.reshape([-1])?),
            Some(axis) => {
                let at = self.shape().axis(op, axis).here()?;
                (Some(at), self.atleast_1d()?.movedim(&[at as i64], &[-1])?)
            }
        };
        let sorted = rows.sort(-1, false)?.0;
        let n = rows.size(-1)?;
        let nan = sorted.detach().isnan()?;
        let ranks = match skip_nan {
            true => {
                let last = nan.logical_not()?.sum_axes(&[-1], true)?.sub(1)?.clamp_min(0)?;
                q.atleast_1d()?.mul(&last.to_dtype(q.dtype())?)?
            }
            // NaN is at the end of its row and answers for all of it.
            false => {
                let whole = nan.any_axes(&[-1], true)?.logical_not()?;
                q.atleast_1d()?.mul(n - 1)?.where_self(&whole, (n - 1) as f64)?
            }
        };
        let ranks = match interpolation {
            Interpolation::Linear => ranks,
            Interpolation::Lower => ranks.floor()?,
            Interpolation::Higher => ranks.ceil()?,
            Interpolation::Nearest => ranks.round()?,
            Interpolation::Midpoint => ranks.floor()?.add(&ranks.ceil()?)?.mul(0.5)?,
        };
        let place = |t: Tensor| t.detach().to_dtype(DType::I64);
        let low = sorted.take_along_dim(&place(ranks.floor()?).here()?, -1)?;
        let y = match interpolation {
            Interpolation::Linear | Interpolation::Midpoint => {
                let high = sorted.take_along_dim(&place(ranks.ceil()?).here()?, -1)?;
                low.lerp(&high, &ranks.sub(&ranks.floor()?)?)?
            }
            _ => low,
        };
        // The fractions are along the last axis; they go to the front or, if there was only one number, away.
        let rank = self.rank() as i64;
        let y = if q.rank() == 0 { y.squeeze_axis(-1)? } else { y.movedim(&[-1], &[0])? };
        match (keepdim, at) {
            (false, _) if rank == 0 && at.is_some() && q.rank() == 0 => y.reshape([1i64; 0]),
            (false, _) => Ok(y),
            (true, Some(at)) if rank > 0 => y.unsqueeze((at + q.rank()) as i64),
            (true, _) => {
                let lead: Vec<usize> = q.dims();
                y.reshape(lead.into_iter().chain((0..rank).map(|_| 1)).collect::<Vec<usize>>())
            }
        }
    }
}
