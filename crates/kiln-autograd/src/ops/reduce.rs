//! Reductions and their derivatives.

use kiln_ops::reduce::{ArgOp, ReduceOp, arg_reduce, extreme_along, reduce, sum_to_size};
use kiln_ops::{DType, Shape};

use crate::record::record;
use crate::{Error, Here, Result, Tensor, autocast};

/// The number of elements that one result of a reduction over `axes` (none: all) is made of.
fn reduced_numel(shape: &Shape, axes: &[usize]) -> usize {
    axes.iter().map(|&a| shape[a]).product()
}

impl Tensor {
    /// `self` with the axes that a reduction dropped put back with size 1.
    #[track_caller]
    fn restore_axes(&self, axes: &[usize], keepdim: bool) -> Result<Tensor> {
        if keepdim {
            return Ok(self.clone());
        }
        axes.iter().try_fold(self.clone(), |t, &a| t.unsqueeze(a as i64)).here()
    }

    #[track_caller]
    fn resolve(&self, op: &'static str, axes: &[i64]) -> Result<Vec<usize>> {
        Ok(kiln_ops::reduce::resolve_axes(op, axes, self.rank()).here()?.to_vec())
    }

    /// The sum of all elements; integers sum to int64 (`torch.sum`).
    ///
    /// # Errors
    /// Memory that is lent out or not there.
    #[track_caller]
    pub fn sum(&self) -> Result<Tensor> {
        self.sum_axes(&[], false)
    }

    /// Sums over `axes` (none given: all), which stay with size 1 if `keepdim` (`torch.sum(dim, keepdim)`).
    ///
    /// # Errors
    /// An axis out of range or named twice.
    #[track_caller]
    pub fn sum_axes(&self, axes: &[i64], keepdim: bool) -> Result<Tensor> {
        let y = reduce(ReduceOp::Sum, &self.raw(), axes, keepdim).here()?;
        let resolved = self.resolve("sum", axes)?;
        let name = if axes.is_empty() { "SumBackward0" } else { "SumBackward1" };
        Ok(record(name, y)
            .input(self, || {
                let shape = self.shape();
                move |g: &Tensor| g.restore_axes(&resolved, keepdim)?.expand(shape.clone())
            })
            .done())
    }

    /// Sums over `axes` (none given: all) in which NaN counts as 0 (`torch.nansum`).
    ///
    /// # Errors
    /// An axis out of range or named twice.
    #[track_caller]
    pub fn nansum(&self, axes: &[i64], keepdim: bool) -> Result<Tensor> {
        if !self.dtype().is_float() {
            return self.sum_axes(axes, keepdim);
        }
        self.masked_fill(&self.isnan()?, 0.0)?.sum_axes(axes, keepdim)
    }

    /// Means over `axes` (none given: all) of the elements that are not NaN (`torch.nanmean`).
    ///
    /// # Errors
    /// An axis out of range or named twice; the dtype is not floating point.
    #[track_caller]
    pub fn nanmean(&self, axes: &[i64], keepdim: bool) -> Result<Tensor> {
        if !self.dtype().is_float() {
            return Err(Error::dtype(
                "nanmean",
                format!("expected input to have floating point dtype but got {}", self.dtype()),
            ));
        }
        let count = self.isnan()?.logical_not()?.sum_axes(axes, keepdim)?;
        self.nansum(axes, keepdim)?.div(&count)
    }

    /// The mean of all elements (`torch.mean`).
    ///
    /// # Errors
    /// The dtype is not floating point.
    #[track_caller]
    pub fn mean(&self) -> Result<Tensor> {
        self.mean_axes(&[], false)
    }

    /// Means over `axes` (none given: all), which stay with size 1 if `keepdim` (`torch.mean(dim, keepdim)`).
    ///
    /// # Errors
    /// An axis out of range or named twice; the dtype is not floating point.
    #[track_caller]
    pub fn mean_axes(&self, axes: &[i64], keepdim: bool) -> Result<Tensor> {
        let y = reduce(ReduceOp::Mean, &self.raw(), axes, keepdim).here()?;
        let resolved = self.resolve("mean", axes)?;
        let name = if axes.is_empty() { "MeanBackward0" } else { "MeanBackward1" };
        Ok(record(name, y)
            .input(self, || {
                let shape = self.shape();
                let n = reduced_numel(&shape, &resolved) as f64;
                move |g: &Tensor| g.div(n)?.restore_axes(&resolved, keepdim)?.expand(shape.clone())
            })
            .done())
    }

    /// Products over `axes` (none given: all) (`torch.prod`).
    ///
    /// # Errors
    /// An axis out of range or named twice.
    #[track_caller]
    pub fn prod_axes(&self, axes: &[i64], keepdim: bool) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.prod_axes(axes, keepdim);
        }
        let y = reduce(ReduceOp::Prod, &self.raw(), axes, keepdim).here()?;
        let resolved = self.resolve("prod", axes)?;
        Ok(record("ProdBackward0", y)
            .input_from_output(self, || {
                let x = self.save();
                let axes = axes.to_vec();
                move |g: &Tensor, y: &Tensor| {
                    let x = x.get()?;
                    let zeros = x.eq(0.0)?;
                    let g = g.restore_axes(&resolved, keepdim)?;
                    // Without zeros each slope is the product over the element; with one zero, only that element has a
                    // slope: the product of the others; with more, none has.
                    let count = zeros.to_dtype(x.dtype())?.sum_axes(&axes, true)?;
                    let others = x.masked_fill(&zeros, 1.0)?.prod_axes(&axes, true)?;
                    let plain = y.restore_axes(&resolved, keepdim)?.div(&x)?;
                    let at_zero = others.expand(x.shape())?.masked_fill(&count.ne(1.0)?, 0.0)?;
                    at_zero.where_self(&zeros, &plain.masked_fill(&count.ne(0.0)?, 0.0)?)?.mul(&g)
                }
            })
            .done())
    }

    /// The product of all elements (`torch.prod`).
    ///
    /// # Errors
    /// Memory that is lent out or not there.
    #[track_caller]
    pub fn prod(&self) -> Result<Tensor> {
        self.prod_axes(&[], false)
    }

    #[track_caller]
    fn extreme_axes(&self, op: ReduceOp, name: &'static str, axes: &[i64], keepdim: bool) -> Result<Tensor> {
        let y = reduce(op, &self.raw(), axes, keepdim).here()?;
        let resolved = self.resolve("amax", axes)?;
        Ok(record(name, y)
            .input_from_output(self, || {
                let x = self.save();
                let axes: Vec<i64> = resolved.iter().map(|&a| a as i64).collect();
                move |g: &Tensor, y: &Tensor| {
                    // Equal extremes share the gradient.
                    let hit = x.get()?.eq(&y.restore_axes(&resolved, keepdim)?)?.to_dtype(g.dtype())?;
                    let count = hit.sum_axes(&axes, true)?;
                    hit.div(&count)?.mul(&g.restore_axes(&resolved, keepdim)?)
                }
            })
            .done())
    }

    /// The largest elements over `axes` (none given: all); equal ones share the gradient (`torch.amax`).
    ///
    /// # Errors
    /// An axis out of range or named twice; nothing to choose from.
    #[track_caller]
    pub fn amax(&self, axes: &[i64], keepdim: bool) -> Result<Tensor> {
        self.extreme_axes(ReduceOp::Max, "AmaxBackward0", axes, keepdim)
    }

    /// The smallest elements over `axes` (none given: all); equal ones share the gradient (`torch.amin`).
    ///
    /// # Errors
    /// An axis out of range or named twice; nothing to choose from.
    #[track_caller]
    pub fn amin(&self, axes: &[i64], keepdim: bool) -> Result<Tensor> {
        self.extreme_axes(ReduceOp::Min, "AminBackward0", axes, keepdim)
    }

    /// The largest element (`torch.max`).
    ///
    /// # Errors
    /// The tensor is empty.
    #[track_caller]
    pub fn max(&self) -> Result<Tensor> {
        self.extreme_axes(ReduceOp::Max, "MaxBackward1", &[], false)
    }

    /// The smallest element (`torch.min`).
    ///
    /// # Errors
    /// The tensor is empty.
    #[track_caller]
    pub fn min(&self) -> Result<Tensor> {
        self.extreme_axes(ReduceOp::Min, "MinBackward1", &[], false)
    }

    /// The position of the largest element along `axis`, or in the flattened tensor (`torch.argmax`); the first of equal
    /// ones.
    ///
    /// # Errors
    /// An axis out of range; nothing to choose from.
    #[track_caller]
    pub fn argmax(&self, axis: impl Into<Option<i64>>, keepdim: bool) -> Result<Tensor> {
        Ok(Tensor::from_raw(arg_reduce(ArgOp::Max, &self.raw(), axis.into(), keepdim).here()?))
    }

    /// The position of the smallest element along `axis`, or in the flattened tensor (`torch.argmin`).
    ///
    /// # Errors
    /// An axis out of range; nothing to choose from.
    #[track_caller]
    pub fn argmin(&self, axis: impl Into<Option<i64>>, keepdim: bool) -> Result<Tensor> {
        Ok(Tensor::from_raw(arg_reduce(ArgOp::Min, &self.raw(), axis.into(), keepdim).here()?))
    }

    #[track_caller]
    fn extreme_with_index(
        &self,
        op: ArgOp,
        name: &'static str,
        axis: i64,
        keepdim: bool,
    ) -> Result<(Tensor, Tensor)> {
        let (values, indices) = extreme_along(op, &self.raw(), axis, keepdim).here()?;
        let indices = Tensor::from_raw(indices);
        let values = record(name, values)
            .input(self, || {
                let (shape, at) = (self.shape(), indices.clone());
                move |g: &Tensor| {
                    let axis = if shape.rank() == 0 {
                        return Ok(g.clone());
                    } else {
                        shape.axis("max", axis)? as i64
                    };
                    let (g, at) = if keepdim {
                        (g.clone(), at.clone())
                    } else {
                        (g.unsqueeze(axis)?, at.unsqueeze(axis)?)
                    };
                    let zeros = Tensor::from_raw(kiln_ops::full(&shape, 0.into(), g.dtype(), g.device())?);
                    zeros.scatter_add(axis, &at, &g)
                }
            })
            .done();
        Ok((values, indices))
    }

    /// The largest elements along `axis` and their positions (`torch.max(dim)`).
    ///
    /// # Errors
    /// An axis out of range; nothing to choose from.
    #[track_caller]
    pub fn max_axis(&self, axis: i64, keepdim: bool) -> Result<(Tensor, Tensor)> {
        self.extreme_with_index(ArgOp::Max, "MaxBackward0", axis, keepdim)
    }

    /// The smallest elements along `axis` and their positions (`torch.min(dim)`).
    ///
    /// # Errors
    /// An axis out of range; nothing to choose from.
    #[track_caller]
    pub fn min_axis(&self, axis: i64, keepdim: bool) -> Result<(Tensor, Tensor)> {
        self.extreme_with_index(ArgOp::Min, "MinBackward0", axis, keepdim)
    }

    /// Variances over `axes` (none given: all), with `n - correction` as the divisor (`torch.var`).
    ///
    /// # Errors
    /// An axis out of range or named twice; the dtype is not floating point.
    #[track_caller]
    pub fn var_axes(&self, axes: &[i64], correction: f64, keepdim: bool) -> Result<Tensor> {
        let y = reduce(ReduceOp::Var { correction }, &self.raw(), axes, keepdim).here()?;
        let resolved = self.resolve("var", axes)?;
        Ok(record("VarBackward0", y)
            .input(self, || {
                let x = self.save();
                move |g: &Tensor| {
                    let x = x.get()?;
                    let axes: Vec<i64> = resolved.iter().map(|&a| a as i64).collect();
                    let degrees = (reduced_numel(&x.shape(), &resolved) as f64 - correction).max(0.0);
                    let centred = x.sub(&x.mean_axes(&axes, true)?)?;
                    centred.mul(2.0 / degrees)?.mul(&g.restore_axes(&resolved, keepdim)?)
                }
            })
            .done())
    }

    /// Standard deviations over `axes` (none given: all), with `n - correction` as the divisor (`torch.std`).
    ///
    /// # Errors
    /// As [`Tensor::var_axes`].
    #[track_caller]
    pub fn std_axes(&self, axes: &[i64], correction: f64, keepdim: bool) -> Result<Tensor> {
        let y = reduce(ReduceOp::Std { correction }, &self.raw(), axes, keepdim).here()?;
        let resolved = self.resolve("std", axes)?;
        Ok(record("StdBackward0", y)
            .input_from_output(self, || {
                let x = self.save();
                move |g: &Tensor, y: &Tensor| {
                    let x = x.get()?;
                    let axes: Vec<i64> = resolved.iter().map(|&a| a as i64).collect();
                    let degrees = (reduced_numel(&x.shape(), &resolved) as f64 - correction).max(0.0);
                    let centred = x.sub(&x.mean_axes(&axes, true)?)?;
                    let slope = g.div(&y.mul(degrees)?)?.masked_fill(&y.eq(0.0)?, 0.0)?;
                    centred.mul(&slope.restore_axes(&resolved, keepdim)?)
                }
            })
            .done())
    }

    /// The variance of all elements, with `n - 1` as the divisor (`torch.var`).
    ///
    /// # Errors
    /// The dtype is not floating point.
    #[track_caller]
    pub fn var(&self) -> Result<Tensor> {
        self.var_axes(&[], 1.0, false)
    }

    /// The standard deviation of all elements, with `n - 1` as the divisor (`torch.std`).
    ///
    /// # Errors
    /// The dtype is not floating point.
    #[track_caller]
    pub fn std(&self) -> Result<Tensor> {
        self.std_axes(&[], 1.0, false)
    }

    /// `ln(sum(e^x))` over `axes`, without overflow (`torch.logsumexp`).
    ///
    /// # Errors
    /// An axis out of range or named twice; the dtype is not floating point.
    #[track_caller]
    pub fn logsumexp(&self, axes: &[i64], keepdim: bool) -> Result<Tensor> {
        let x = self.to_dtype(kiln_ops::to_float(self.dtype()))?;
        let y = reduce(ReduceOp::LogSumExp, &x.raw(), axes, keepdim).here()?;
        let resolved = x.resolve("logsumexp", axes)?;
        Ok(record("LogsumexpBackward0", y)
            .input_from_output(&x, || {
                let x = x.save();
                move |g: &Tensor, y: &Tensor| {
                    let share = x.get()?.sub(&y.restore_axes(&resolved, keepdim)?)?.exp()?;
                    share.mul(&g.restore_axes(&resolved, keepdim)?)
                }
            })
            .done())
    }

    /// Whether all elements are not zero (`torch.all`).
    ///
    /// # Errors
    /// Memory that is lent out or not there.
    #[track_caller]
    pub fn all(&self) -> Result<Tensor> {
        self.all_axes(&[], false)
    }

    /// Whether all elements over `axes` are not zero (`torch.all(dim)`).
    ///
    /// # Errors
    /// An axis out of range or named twice.
    #[track_caller]
    pub fn all_axes(&self, axes: &[i64], keepdim: bool) -> Result<Tensor> {
        self.truth(ReduceOp::All, axes, keepdim)
    }

    /// Whether any element is not zero (`torch.any`).
    ///
    /// # Errors
    /// Memory that is lent out or not there.
    #[track_caller]
    pub fn any(&self) -> Result<Tensor> {
        self.any_axes(&[], false)
    }

    /// Whether any element over `axes` is not zero (`torch.any(dim)`).
    ///
    /// # Errors
    /// An axis out of range or named twice.
    #[track_caller]
    pub fn any_axes(&self, axes: &[i64], keepdim: bool) -> Result<Tensor> {
        self.truth(ReduceOp::Any, axes, keepdim)
    }

    #[track_caller]
    fn truth(&self, op: ReduceOp, axes: &[i64], keepdim: bool) -> Result<Tensor> {
        let y = reduce(op, &self.raw(), axes, keepdim).here()?;
        // PyTorch keeps uint8 here, for masks from before there was a bool dtype.
        let dtype = if self.dtype() == DType::U8 { DType::U8 } else { DType::Bool };
        Ok(Tensor::from_raw(kiln_ops::to_dtype(&y, dtype).here()?))
    }

    /// How many elements over `axes` (none given: all) are not zero (`torch.count_nonzero`).
    ///
    /// # Errors
    /// An axis out of range or named twice.
    #[track_caller]
    pub fn count_nonzero(&self, axes: &[i64]) -> Result<Tensor> {
        Ok(Tensor::from_raw(reduce(ReduceOp::CountNonzero, &self.raw(), axes, false).here()?))
    }

    /// Sums axes away until the tensor has `shape`: what undoes broadcasting (`Tensor.sum_to_size`).
    ///
    /// # Errors
    /// This tensor is not what broadcasting `shape` gives.
    #[track_caller]
    pub fn sum_to_size(&self, shape: impl Into<Shape>) -> Result<Tensor> {
        let shape = shape.into();
        if shape.rank() == 0 {
            return self.sum();
        }
        let y = sum_to_size(&self.raw(), &shape).here()?;
        let from = self.shape();
        Ok(record("SumBackward1", y).input(self, || move |g: &Tensor| g.expand(from.clone())).done())
    }

    /// Whether both tensors have the same shape and equal elements (`torch.equal`).
    ///
    /// # Errors
    /// Different devices.
    #[track_caller]
    pub fn equal(&self, other: &Tensor) -> Result<bool> {
        if self.shape() != other.shape() {
            return Ok(false);
        }
        Ok(self.eq(other)?.all()?.item()?.is_true())
    }
}
