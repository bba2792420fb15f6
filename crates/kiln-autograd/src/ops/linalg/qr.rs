//! Orthogonal and triangular factors, by Householder's reflections.

use kiln_ops::linalg as l;

use super::{mt, solve::Triangle};
use crate::grad_mode::is_tracked;
use crate::record::record_joint;
use crate::{Error, Here, Result, Tensor, autocast};

/// Which factors [`Tensor::qr`] gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QrMode {
    /// Q `[m, k]` and R `[k, n]` with k the smaller of m and n.
    #[default]
    Reduced,
    /// Q `[m, m]` and R `[m, n]`.
    Complete,
    /// R alone, with an empty Q. It has no derivative.
    R,
}

impl Tensor {
    /// Q with orthonormal columns and the upper triangle R of `A = Q R` (`torch.linalg.qr`).
    ///
    /// ```
    /// use kiln_autograd::{QrMode, Tensor};
    /// let a = Tensor::from_vec(vec![3.0f32, 0.0, 4.0, 5.0], [2, 2])?;
    /// let (q, r) = a.qr(QrMode::Reduced)?;
    /// assert!(q.matmul(&r)?.allclose(&a, 1e-5, 1e-5, false)?);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Not matrices. A derivative of the complete Q of a tall matrix, or of R alone.
    #[track_caller]
    pub fn qr(&self, mode: QrMode) -> Result<(Tensor, Tensor)> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.qr(mode);
        }
        const OP: &str = "linalg.qr";
        l::check_matrices(OP, &self.raw()).here()?;
        let (m, n) = (self.size(-2)?, self.size(-1)?);
        if m < n && mode != QrMode::R && Tensor::any_requires_grad(&[self]) {
            // The square part determines Q, and with it the rest of R.
            let (q, r) = self.narrow(-1, 0, m as i64)?.qr(mode)?;
            let rest = mt(&q)?.matmul(&self.narrow(-1, m as i64, (n - m) as i64)?)?;
            return Ok((q, Tensor::cat(&[&r, &rest], -1)?));
        }
        let [q, r] = l::qr(OP, &self.raw(), mode == QrMode::Complete).here()?;
        if mode == QrMode::R {
            let empty = Tensor::zeros_with([0], self);
            return Ok((empty, Tensor::from_raw(r)));
        }
        let differentiable = mode == QrMode::Reduced || m <= n;
        let mut both = record_joint("LinalgQrBackward0", vec![q.clone(), r.clone()], &[self], || {
            let (a, q, r) = (self.save(), Tensor::from_raw(q).save(), Tensor::from_raw(r).save());
            Box::new(move |grads, _| {
                if !differentiable {
                    return Err(Error::autograd(
                        OP,
                        "the QR decomposition is not differentiable when mode='complete' and nrows > ncols",
                    ));
                }
                let (q, r) = match is_tracked() {
                    true => a.get()?.qr(QrMode::Reduced)?,
                    false => (q.get()?, r.get()?),
                };
                Ok(vec![gradient(&q, &r, grads[0].as_ref(), grads[1].as_ref())?])
            })
        });
        let r = both.pop().expect("two results");
        let q = both.pop().expect("two results");
        Ok((q, r))
    }

    /// R above Householder's vectors, and their factors tau, for [`Tensor::householder_product`] (`torch.geqrf`). It has
    /// no derivative.
    ///
    /// # Errors
    /// Not matrices.
    #[track_caller]
    pub fn geqrf(&self) -> Result<(Tensor, Tensor)> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.geqrf();
        }
        let [packed, tau] = l::householder("geqrf", &self.raw()).here()?;
        Ok((Tensor::from_raw(packed), Tensor::from_raw(tau)))
    }

    /// The first columns of the product of Householder's reflections `I - tau v v^T`, whose vectors lie below the
    /// diagonal of this matrix (`torch.linalg.householder_product`).
    ///
    /// Shapes: self `[.., m, n]` with m at least n, tau `[.., k]` with k at most n -> `[.., m, n]`.
    ///
    /// # Errors
    /// Shapes or dtypes that do not fit.
    #[track_caller]
    pub fn householder_product(&self, tau: &Tensor) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.householder_product(&cast.of(tau)?);
        }
        const OP: &str = "linalg.householder_product";
        l::check_matrices(OP, &self.raw()).here()?;
        let (m, n, k) = (self.size(-2)?, self.size(-1)?, if tau.rank() == 0 { 0 } else { tau.size(-1)? });
        if m < n || k > n || tau.rank() + 1 != self.rank() {
            return Err(Error::shape(
                OP,
                format!(
                    "expected [.., m, n] with m at least n and tau [.., k] with k at most n, got {:?} and {:?}",
                    self.shape(),
                    tau.shape()
                ),
            ));
        }
        let start = Tensor::eye_with(m, n, self).broadcast_to(self.shape())?;
        reflect(self, tau, &start, (0..k).rev())
    }

    /// `Q other`, with the Q of [`Tensor::householder_product`] as a square matrix; `Q^T` if `transpose`, and from the
    /// right if `right` (`torch.ormqr`).
    ///
    /// # Errors
    /// Shapes or dtypes that do not fit.
    #[track_caller]
    pub fn ormqr(&self, tau: &Tensor, other: &Tensor, right: bool, transpose: bool) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.ormqr(&cast.of(tau)?, &cast.of(other)?, right, transpose);
        }
        const OP: &str = "ormqr";
        for t in [self, other] {
            l::check_matrices(OP, &t.raw()).here()?;
        }
        if right {
            // C Q is the transpose of Q^T C^T.
            return mt(&self.ormqr(tau, &mt(other)?, false, !transpose)?);
        }
        let k = if tau.rank() == 0 { 0 } else { tau.size(-1)? };
        if k > self.size(-1)? || other.size(-2)? != self.size(-2)? || tau.rank() + 1 != self.rank() {
            return Err(Error::shape(
                OP,
                format!(
                    "shapes {:?}, {:?} and {:?} do not fit: tau has a factor per reflection, and other as many rows",
                    self.shape(),
                    tau.shape(),
                    other.shape()
                ),
            ));
        }
        match transpose {
            true => reflect(self, tau, other, 0..k),
            false => reflect(self, tau, other, (0..k).rev()),
        }
    }
}

/// Applies the reflections with these numbers, one after the other, from the left.
#[track_caller]
fn reflect(a: &Tensor, tau: &Tensor, start: &Tensor, order: impl Iterator<Item = usize>) -> Result<Tensor> {
    let vectors = a.tril(-1)?.add(&Tensor::eye_with(a.size(-2)?, a.size(-1)?, a))?;
    let mut y = start.clone();
    for i in order {
        let v = vectors.narrow(-1, i as i64, 1)?;
        let scaled = v.mul(&tau.narrow(-1, i as i64, 1)?.unsqueeze(-1)?)?;
        y = y.sub(&scaled.matmul(&mt(&v)?.matmul(&y)?)?)?;
    }
    Ok(y)
}

/// The gradient of a matrix that is not wide from those of its factors (Walter and Lehmann, "Algorithmic
/// differentiation of linear algebra functions", 2010).
fn gradient(q: &Tensor, r: &Tensor, gq: Option<&Tensor>, gr: Option<&Tensor>) -> Result<Option<Tensor>> {
    let inner = match (gq, gr) {
        (None, None) => return Ok(None),
        (Some(gq), None) => mt(q)?.matmul(gq)?.neg()?,
        (None, Some(gr)) => gr.matmul(&mt(r)?)?,
        (Some(gq), Some(gr)) => gr.matmul(&mt(r)?)?.sub(&mt(q)?.matmul(gq)?)?,
    };
    // The upper triangle, mirrored.
    let symmetric = inner.triu(0)?.add(&mt(&inner.triu(1)?)?)?;
    let mut g = q.matmul(&symmetric)?;
    if let Some(gq) = gq {
        g = g.add(gq)?;
    }
    Ok(Some(mt(r)?.solve_triangular(&g, Triangle::lower().right())?))
}
