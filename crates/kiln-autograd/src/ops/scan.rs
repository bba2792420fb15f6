//! Accumulations along an axis, and differences.

use kiln_ops::reduce::ArgOp;
use kiln_ops::{DType, ScanOp, cumulative, cumulative_extreme};

use crate::collect::Collect;
use crate::record::record;
use crate::{Error, Here, Result, Tensor, grad_mode};

impl Tensor {
    /// Sums of the elements up to each one along `axis`; integers sum to int64 (`torch.cumsum`).
    ///
    /// # Errors
    /// An axis out of range.
    #[track_caller]
    pub fn cumsum(&self, axis: i64) -> Result<Tensor> {
        let y = cumulative(ScanOp::Sum, &self.raw(), axis).here()?;
        Ok(record("CumsumBackward0", y).input(self, || move |g: &Tensor| g.cumsum_reversed(axis)).done())
    }

    /// Sums of the elements from each one on.
    #[track_caller]
    fn cumsum_reversed(&self, axis: i64) -> Result<Tensor> {
        self.flip(&[axis])?.cumsum(axis)?.flip(&[axis])
    }

    /// Products of the elements up to each one along `axis`; of integers in int64 (`torch.cumprod`).
    ///
    /// # Errors
    /// An axis out of range.
    #[track_caller]
    pub fn cumprod(&self, axis: i64) -> Result<Tensor> {
        let y = cumulative(ScanOp::Prod, &self.raw(), axis).here()?;
        Ok(record("CumprodBackward0", y)
            .input_from_output(self, || {
                let x = self.save();
                move |g: &Tensor, y: &Tensor| cumprod_backward(g, &x.get()?, y, axis)
            })
            .done())
    }

    /// `ln(sum(e^x))` of the elements up to each one along `axis`, without overflow (`torch.logcumsumexp`).
    ///
    /// # Errors
    /// An axis out of range; the dtype is not floating point.
    #[track_caller]
    pub fn logcumsumexp(&self, axis: i64) -> Result<Tensor> {
        let y = cumulative(ScanOp::LogSumExp, &self.raw(), axis).here()?;
        Ok(record("LogcumsumexpBackward0", y)
            .input_from_output(self, || {
                let x = self.save();
                move |g: &Tensor, y: &Tensor| {
                    let (x, dtype) = (x.get()?, g.dtype());
                    // Half precision has too few digits for differences of logarithms.
                    let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
                    let (x, y, g) = (&x.to_dtype(wide)?, &y.to_dtype(wide)?, &g.to_dtype(wide)?);
                    // sum(g * e^(x - y)) from each element on, in logarithms, apart for the two signs of g.
                    let rising = log_backward(g, y, axis)?.add(x)?.exp()?;
                    let falling = log_backward(&g.neg()?, y, axis)?.add(x)?.exp()?;
                    rising.sub(&falling)?.to_dtype(dtype)
                }
            })
            .done())
    }

    #[track_caller]
    fn cumulative_extreme(&self, code: ArgOp, name: &'static str, axis: i64) -> Result<(Tensor, Tensor)> {
        let (values, places) = cumulative_extreme(code, &self.raw(), axis).here()?;
        Ok(self.selection(name, values, places, axis, true))
    }

    /// The largest elements up to each one along `axis`, and where they are (`torch.cummax`).
    ///
    /// # Errors
    /// An axis out of range.
    #[track_caller]
    pub fn cummax(&self, axis: i64) -> Result<(Tensor, Tensor)> {
        self.cumulative_extreme(ArgOp::Max, "CummaxBackward0", axis)
    }

    /// The smallest elements up to each one along `axis`, and where they are (`torch.cummin`).
    ///
    /// # Errors
    /// An axis out of range.
    #[track_caller]
    pub fn cummin(&self, axis: i64) -> Result<(Tensor, Tensor)> {
        self.cumulative_extreme(ArgOp::Min, "CumminBackward0", axis)
    }

    /// Differences of neighbours along `axis`, `n` times, with `prepend` and `append` joined to the ends before
    /// (`torch.diff`).
    ///
    /// # Errors
    /// A 0-dim tensor; an axis out of range; ends that do not fit.
    #[track_caller]
    pub fn diff(
        &self,
        n: usize,
        axis: i64,
        prepend: Option<&Tensor>,
        append: Option<&Tensor>,
    ) -> Result<Tensor> {
        const OP: &str = "diff";
        if self.rank() == 0 {
            return Err(Error::shape(OP, "expects input to be at least one-dimensional"));
        }
        let at = self.shape().axis(OP, axis).here()?;
        if n == 0 {
            return Ok(self.clone());
        }
        let parts: Vec<&Tensor> = prepend.into_iter().chain([self]).chain(append).collect();
        let mut x = if parts.len() == 1 { self.clone() } else { Tensor::cat(&parts, axis)? };
        // Each time there is one element less, until there is none.
        for _ in 0..n.min(x.shape()[at]) {
            let (after, before) = (x.slice(axis, Some(1), None, 1)?, x.slice(axis, None, Some(-1), 1)?);
            x = if x.dtype() == DType::Bool { after.logical_xor(&before)? } else { after.sub(&before)? };
        }
        Ok(x)
    }
}

/// The logarithm of the sum of `g * e^-y` from each element on, for the positive elements of `g`.
fn log_backward(g: &Tensor, y: &Tensor, axis: i64) -> Result<Tensor> {
    // The lowest number and not minus infinity, of which differences in further derivatives would be NaN.
    let nothing = match g.dtype() {
        DType::F64 => f64::MIN,
        _ => f64::from(f32::MIN),
    };
    let absent = g.gt(0)?.logical_not()?;
    let logs = g.masked_fill(&absent, 1)?.log()?.masked_fill(&absent, nothing)?;
    logs.sub(y)?.flip(&[axis])?.logcumsumexp(axis)?.flip(&[axis])
}

fn cumprod_backward(g: &Tensor, x: &Tensor, y: &Tensor, axis: i64) -> Result<Tensor> {
    if x.rank() == 0 || x.numel() == 0 {
        return Ok(g.clone());
    }
    let zero = x.eq(0)?;
    if !zero.any()?.item()?.is_true() {
        return g.mul(y)?.cumsum_reversed(axis)?.div(x);
    }
    if grad_mode::is_tracked() {
        return cumprod_backward_by_element(g, x, axis);
    }
    // Before the first zero as without; at it, the products without it, which the second zero ends; behind it nothing.
    let zeros_so_far = zero.cumsum(axis)?;
    let first = zero.logical_and(&zeros_so_far.eq(1)?)?;
    let without = x.masked_fill(&first, 1)?.cumprod(axis)?;
    let at_first = g.mul(&without)?.cumsum_reversed(axis)?.masked_fill(&first.logical_not()?, 0)?;
    let before = g.mul(y)?.cumsum_reversed(axis)?.div(&x.masked_fill(&zero, 1)?)?;
    at_first.add(&before.masked_fill(&zeros_so_far.gt(0)?, 0)?)
}

/// The gradient, element by element, by a formula that also has the right derivatives at zeros.
fn cumprod_backward_by_element(g: &Tensor, x: &Tensor, axis: i64) -> Result<Tensor> {
    let n = x.size(axis)? as i64;
    let slopes = (0..n)
        .map(|k| {
            let at = Tensor::from_vec(vec![k], [1])?.to_device(x.device())?;
            let others = x.index_fill(axis, &at, 1)?.cumprod(axis)?.narrow(axis, k, n - k)?;
            g.narrow(axis, k, n - k)?.mul(&others)?.sum_axes(&[axis], true)
        })
        .all_ok()?;
    Tensor::cat(&slopes.iter().collect::<Vec<_>>(), axis)
}
