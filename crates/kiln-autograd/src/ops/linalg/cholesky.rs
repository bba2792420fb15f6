//! Cholesky's triangle of positive matrices, and what is solved with it.

use kiln_ops::linalg as l;

use super::{broadcast_batches, check_info, mt, solve::Triangle};
use crate::record::record;
use crate::{Here, Result, Tensor, autocast, no_grad};

impl Tensor {
    /// The lower triangle L of `A = L L^T` for symmetric positive definite matrices, of which the lower triangle is
    /// read (`torch.linalg.cholesky`). Its transpose is `upper=True`.
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// let a = Tensor::from_vec(vec![4.0f32, 2.0, 2.0, 10.0], [2, 2])?;
    /// assert_eq!(a.cholesky()?.to_vec::<f32>()?, [2.0, 0.0, 1.0, 3.0]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Matrices that are not square or not positive definite.
    #[track_caller]
    pub fn cholesky(&self) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.cholesky();
        }
        let (l, info) = self.cholesky_ex()?;
        check_info("linalg.cholesky", &info.raw(), |order| {
            format!(
                "The factorization could not be completed because the input is not positive-definite (the leading minor \
                 of order {order} is not positive-definite)."
            )
        })?;
        Ok(l)
    }

    /// [`Tensor::cholesky`] without the check: the triangle, and per matrix the order of the leading minor that is not
    /// positive definite, or 0 (`torch.linalg.cholesky_ex`).
    ///
    /// # Errors
    /// Matrices that are not square.
    #[track_caller]
    pub fn cholesky_ex(&self) -> Result<(Tensor, Tensor)> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.cholesky_ex();
        }
        let [l, info] = l::cholesky("linalg.cholesky", &self.raw()).here()?;
        let l = record("LinalgCholeskyExBackward0", l)
            .input_from_output(self, || {
                |g: &Tensor, l: &Tensor| {
                    // Half of L^-T (P + P^T less its diagonal) L^-1 with P the lower triangle of L^T g.
                    let t = mt(l)?;
                    let phi = t.matmul(g)?;
                    let symmetric = phi.tril(0)?.add(&mt(&phi.tril(-1)?)?)?;
                    let half = t.solve_triangular(&symmetric, Triangle::upper())?;
                    l.solve_triangular(&half, Triangle::lower().right())?.mul(0.5)
                }
            })
            .done();
        Ok((l, Tensor::from_raw(info)))
    }

    /// The x of `A x = self` where `factor` is the triangle of `A`: [`Tensor::cholesky`]'s, or its transpose if `upper`
    /// (`torch.cholesky_solve`).
    ///
    /// # Errors
    /// Shapes or dtypes that do not fit.
    #[track_caller]
    pub fn cholesky_solve(&self, factor: &Tensor, upper: bool) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.cholesky_solve(&cast.of(factor)?, upper);
        }
        let (b, factor) = broadcast_batches("cholesky_solve", self, factor)?;
        let x = no_grad(|| {
            let lower = if upper { mt(&factor)? } else { factor.clone() };
            let half = lower.solve_triangular(&b, Triangle::lower())?;
            mt(&lower)?.solve_triangular(&half, Triangle::upper())
        })
        .here()?;
        let raw = x.raw().clone();
        Ok(record("CholeskySolveBackward0", raw)
            .input(&b, || {
                let factor = factor.save();
                move |g: &Tensor| g.cholesky_solve(&factor.get()?, upper)
            })
            .input_from_output(&factor, || {
                let factor = factor.save();
                move |g: &Tensor, x: &Tensor| {
                    let factor = factor.get()?;
                    let half = g.cholesky_solve(&factor, upper)?.matmul(&mt(x)?)?;
                    factor_gradient(&factor, &half.add(&mt(&half)?)?, upper)
                }
            })
            .done())
    }

    /// The inverse of the matrix whose triangle this is (`torch.cholesky_inverse`).
    ///
    /// # Errors
    /// Matrices that are not square.
    #[track_caller]
    pub fn cholesky_inverse(&self, upper: bool) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.cholesky_inverse(upper);
        }
        l::check_square("cholesky_inverse", &self.raw()).here()?;
        let unit = super::eye(self, self.size(-1)?).broadcast_to(self.shape())?;
        let y = no_grad(|| unit.cholesky_solve(self, upper)).here()?;
        let raw = y.raw().clone();
        Ok(record("CholeskyInverseBackward0", raw)
            .input_from_output(self, || {
                let factor = self.save();
                move |g: &Tensor, y: &Tensor| {
                    let inner = y.matmul(&g.add(&mt(g)?)?)?.matmul(y)?;
                    factor_gradient(&factor.get()?, &inner, upper)
                }
            })
            .done())
    }
}

/// The gradient of a factor from the negative of the matrix's: `A = L L^T` or `U^T U`.
fn factor_gradient(factor: &Tensor, inner: &Tensor, upper: bool) -> Result<Tensor> {
    if upper { factor.matmul(inner)?.neg() } else { inner.matmul(factor)?.neg() }
}
