//! Reductions and softmax over the elements where a mask holds.

use kiln_ops::{DType, Scalar};

use crate::ops::compose::in_single;
use crate::{Error, Result, Tensor};

/// A tensor of which only the elements where a mask holds count, made by [`Tensor::masked`] (`torch.masked`).
///
/// The others count as what changes nothing: 0 in a sum, 1 in a product, minus infinity for a maximum. A row in which no
/// element counts gives that number, or NaN where there is none (means, medians, variances).
///
/// Methods that take `axes` reduce over all of them when none is given.
///
/// ```
/// use kiln_autograd::Tensor;
/// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [2, 2])?;
/// let mask = Tensor::from_vec(vec![true, false, true, true], [2, 2])?;
/// assert_eq!(x.masked(&mask)?.sum(&[1], false)?.to_vec::<f32>()?, [1.0, 7.0]);
/// assert_eq!(x.masked(&mask)?.mean(&[1], false)?.to_vec::<f32>()?, [1.0, 3.5]);
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
#[derive(Clone)]
pub struct Masked {
    x: Tensor,
    /// Of the shape of `x`; absent where every element counts.
    mask: Option<Tensor>,
}

/// What counts for nothing in a function.
enum Nothing {
    Zero,
    One,
    /// The lowest value of the dtype.
    Lowest,
    /// The largest value of the dtype.
    Largest,
}

impl Nothing {
    #[track_caller]
    fn of(self, dtype: DType) -> Result<Scalar> {
        Ok(match self {
            Nothing::Zero => Scalar::Int(0),
            Nothing::One => Scalar::Int(1),
            Nothing::Lowest if dtype.is_float() => Scalar::Float(f64::NEG_INFINITY),
            Nothing::Largest if dtype.is_float() => Scalar::Float(f64::INFINITY),
            Nothing::Lowest => Scalar::Int(range(dtype)?.0),
            Nothing::Largest => Scalar::Int(range(dtype)?.1),
        })
    }
}

/// The smallest and the largest integer of a dtype.
#[track_caller]
fn range(dtype: DType) -> Result<(i64, i64)> {
    Ok(match dtype {
        DType::U8 => (0, i64::from(u8::MAX)),
        DType::I8 => (i64::from(i8::MIN), i64::from(i8::MAX)),
        DType::I16 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        DType::I32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        DType::I64 => (i64::MIN, i64::MAX),
        other => {
            return Err(Error::dtype("masked", format!("{other} has no extreme that counts for nothing")));
        }
    })
}

impl Tensor {
    /// This tensor with only the elements counting where `mask` holds, which broadcasts to it and has no more axes
    /// (`torch.masked`); all of them if it is `None`.
    ///
    /// # Errors
    /// A mask that is not bool or does not broadcast to this shape.
    #[track_caller]
    pub fn masked<'a>(&self, mask: impl Into<Option<&'a Tensor>>) -> Result<Masked> {
        let mask = match mask.into() {
            None => None,
            Some(mask) if mask.dtype() == DType::Bool => Some(mask.expand(self.shape())?),
            Some(mask) => {
                return Err(Error::dtype("masked", format!("expected a bool mask, got {}", mask.dtype())));
            }
        };
        Ok(Masked { x: self.clone(), mask })
    }
}

impl Masked {
    #[track_caller]
    fn filled(&self, with: Nothing) -> Result<Tensor> {
        match &self.mask {
            None => Ok(self.x.clone()),
            Some(mask) => self.x.masked_fill(&mask.logical_not()?, with.of(self.x.dtype())?),
        }
    }

    /// How many elements count.
    #[track_caller]
    fn count(&self, axes: &[i64], keepdim: bool) -> Result<Tensor> {
        match &self.mask {
            Some(mask) => mask.sum_axes(axes, keepdim),
            None => {
                let one = Tensor::full_with([0usize; 0], 1, (DType::I64, self.x.device()));
                one.expand(self.x.shape())?.sum_axes(axes, keepdim)
            }
        }
    }

    /// The same elements counting of another tensor of this shape.
    fn of(&self, x: Tensor) -> Masked {
        Masked { x, mask: self.mask.clone() }
    }

    /// Sums; of integers in int64 (`torch.masked.sum`).
    ///
    /// # Errors
    /// An axis out of range or named twice.
    #[track_caller]
    pub fn sum(&self, axes: &[i64], keepdim: bool) -> Result<Tensor> {
        self.filled(Nothing::Zero)?.sum_axes(axes, keepdim)
    }

    /// Products; of integers in int64 (`torch.masked.prod`).
    ///
    /// # Errors
    /// As [`Masked::sum`].
    #[track_caller]
    pub fn prod(&self, axes: &[i64], keepdim: bool) -> Result<Tensor> {
        let filled = self.filled(Nothing::One)?;
        let axes: Vec<i64> =
            if axes.is_empty() { (0..self.x.rank() as i64).collect() } else { axes.to_vec() };
        match (axes.is_empty(), self.x.dtype().is_float()) {
            // A tensor without axes is its own product, as PyTorch has it even the same tensor.
            (true, true) => Ok(filled),
            (true, false) => filled.to_dtype(DType::I64),
            _ => filled.prod_axes(&axes, keepdim),
        }
    }

    /// The largest elements (`torch.masked.amax`).
    ///
    /// # Errors
    /// As [`Masked::sum`]; truth values; nothing to choose from.
    #[track_caller]
    pub fn amax(&self, axes: &[i64], keepdim: bool) -> Result<Tensor> {
        self.filled(Nothing::Lowest)?.amax(axes, keepdim)
    }

    /// The smallest elements (`torch.masked.amin`).
    ///
    /// # Errors
    /// As [`Masked::amax`].
    #[track_caller]
    pub fn amin(&self, axes: &[i64], keepdim: bool) -> Result<Tensor> {
        self.filled(Nothing::Largest)?.amin(axes, keepdim)
    }

    /// Where the largest element is, of the flattened tensor if `axis` is `None` (`torch.masked.argmax`, which gives the
    /// place in the input's dtype; this is int64).
    ///
    /// # Errors
    /// As [`Masked::amax`].
    #[track_caller]
    pub fn argmax(&self, axis: impl Into<Option<i64>>, keepdim: bool) -> Result<Tensor> {
        self.filled(Nothing::Lowest)?.argmax(axis, keepdim)
    }

    /// Where the smallest element is, as [`Masked::argmax`] (`torch.masked.argmin`).
    ///
    /// # Errors
    /// As [`Masked::amax`].
    #[track_caller]
    pub fn argmin(&self, axis: impl Into<Option<i64>>, keepdim: bool) -> Result<Tensor> {
        self.filled(Nothing::Largest)?.argmin(axis, keepdim)
    }

    /// Sums of the elements up to each one along `axis` (`torch.masked.cumsum`).
    ///
    /// # Errors
    /// An axis out of range.
    #[track_caller]
    pub fn cumsum(&self, axis: i64) -> Result<Tensor> {
        self.filled(Nothing::Zero)?.cumsum(axis)
    }

    /// Products of the elements up to each one along `axis` (`torch.masked.cumprod`).
    ///
    /// # Errors
    /// An axis out of range.
    #[track_caller]
    pub fn cumprod(&self, axis: i64) -> Result<Tensor> {
        self.filled(Nothing::One)?.cumprod(axis)
    }

    /// Means, NaN where nothing counts (`torch.masked.mean`).
    ///
    /// # Errors
    /// As [`Masked::sum`]; integers.
    #[track_caller]
    pub fn mean(&self, axes: &[i64], keepdim: bool) -> Result<Tensor> {
        if !self.x.dtype().is_float() {
            let what =
                "mean(): Could not infer output dtype. Input dtype must be a floating point dtype. Got";
            return Err(Error::dtype("masked.mean", format!("{what}: {}", self.x.dtype())));
        }
        let count = self.count(axes, keepdim)?;
        in_single(&self.x, &|x| self.of(x.clone()).sum(axes, keepdim)?.div(&count))
    }

    /// Lower medians along `axis`, NaN where nothing counts (`torch.masked.median`).
    ///
    /// # Errors
    /// An axis out of range; integers of which none counts in a row.
    #[track_caller]
    pub fn median(&self, axis: i64, keepdim: bool) -> Result<Tensor> {
        let dtype = self.x.dtype();
        let x = if dtype.is_float() { self.x.clone() } else { self.x.to_dtype(DType::F32)? };
        let x = match &self.mask {
            None => x,
            Some(mask) => x.masked_fill(&mask.logical_not()?, f64::NAN)?,
        };
        let y = x.nanmedian_axis(axis, keepdim)?.0;
        if !dtype.is_float() && y.isnan()?.any()?.item()?.is_true() {
            let what = "masked median expects no fully masked out rows if dtype is not floating point";
            return Err(Error::value("masked.median", what));
        }
        y.to_dtype(dtype)
    }

    /// `ln(sum(e^x))`, without overflow (`torch.masked.logsumexp`).
    ///
    /// # Errors
    /// As [`Masked::sum`].
    #[track_caller]
    pub fn logsumexp(&self, axes: &[i64], keepdim: bool) -> Result<Tensor> {
        self.filled(Nothing::Lowest)?.logsumexp(axes, keepdim)
    }

    /// `p`-norms, see [`Tensor::vector_norm`] (`torch.masked.norm`).
    ///
    /// # Errors
    /// As [`Tensor::vector_norm`].
    #[track_caller]
    pub fn norm(&self, p: f64, axes: &[i64], keepdim: bool) -> Result<Tensor> {
        let nothing = if p == f64::NEG_INFINITY { Nothing::Largest } else { Nothing::Zero };
        self.filled(nothing)?.vector_norm(p, axes, keepdim)
    }

    /// The elements, 0 for those that do not count, divided by their norm along `axis` or by `eps` if that is larger
    /// (`torch.masked.normalize`).
    ///
    /// # Errors
    /// As [`Tensor::vector_norm`].
    #[track_caller]
    pub fn normalize(&self, p: f64, axis: i64, eps: f64) -> Result<Tensor> {
        let norm = self.norm(p, &[axis], true)?;
        self.filled(Nothing::Zero)?.div(&norm.clamp_min(eps)?)
    }

    /// Variances: squared distances from the mean, summed and divided by the number of elements that count less
    /// `correction` (`torch.masked.var`). Integers count as the default float dtype.
    ///
    /// # Errors
    /// As [`Masked::sum`].
    #[track_caller]
    pub fn var(&self, axes: &[i64], correction: f64, keepdim: bool) -> Result<Tensor> {
        let x = self.x.to_dtype(kiln_ops::to_float(self.x.dtype()))?;
        in_single(&x, &|x| {
            let kept = self.count(axes, true)?;
            let mean = self.of(x.clone()).sum(axes, true)?.div(&kept)?;
            let total = self.of(x.sub(&mean)?.square()?).sum(axes, keepdim)?;
            let count = kept.reshape(total.shape())?.to_dtype(x.dtype())?;
            if correction == 0.0 {
                total.div(&count)
            } else {
                total.div(&count.sub(correction)?.clamp_min(0.0)?)
            }
        })
    }

    /// Square roots of [`Masked::var`] (`torch.masked.std`).
    ///
    /// # Errors
    /// As [`Masked::sum`].
    #[track_caller]
    pub fn std(&self, axes: &[i64], correction: f64, keepdim: bool) -> Result<Tensor> {
        self.var(axes, correction, keepdim)?.sqrt()
    }

    /// Softmax along `axis`, 0 where an element does not count, NaN where none does (`torch.masked.softmax`).
    ///
    /// # Errors
    /// An axis out of range; integers.
    #[track_caller]
    pub fn softmax(&self, axis: i64) -> Result<Tensor> {
        self.filled(Nothing::Lowest)?.softmax(axis)
    }

    /// Logarithms of [`Masked::softmax`] (`torch.masked.log_softmax`).
    ///
    /// # Errors
    /// As [`Masked::softmax`].
    #[track_caller]
    pub fn log_softmax(&self, axis: i64) -> Result<Tensor> {
        self.filled(Nothing::Lowest)?.log_softmax(axis)
    }

    /// [`Masked::softmax`] of the negated elements (`torch.masked.softmin`).
    ///
    /// # Errors
    /// As [`Masked::softmax`].
    #[track_caller]
    pub fn softmin(&self, axis: i64) -> Result<Tensor> {
        self.filled(Nothing::Largest)?.softmin(axis)
    }

    /// `ln(e^self + e^other)` of what counts on each side (`torch.masked.logaddexp`).
    ///
    /// # Errors
    /// Shapes that do not broadcast; integers that do not count.
    #[track_caller]
    pub fn logaddexp(&self, other: &Masked) -> Result<Tensor> {
        self.filled(Nothing::Lowest)?.logaddexp(&other.filled(Nothing::Lowest)?)
    }
}
