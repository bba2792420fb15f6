//! Eigenvalues and vectors of symmetric matrices.

use kiln_ops::linalg as l;

use super::{check_info, mt};
use crate::grad_mode::is_tracked;
use crate::record::record_joint;
use crate::{Here, Result, Tensor, autocast};

impl Tensor {
    /// Ascending eigenvalues `[.., n]` and the eigenvectors, columns of `[.., n, n]`, of the symmetric matrices whose
    /// lower triangle this tensor has (`torch.linalg.eigh`). For `UPLO='U'` give it the transpose.
    ///
    /// The derivative of the vectors exists where eigenvalues differ, and then up to their signs.
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// let a = Tensor::from_vec(vec![2.0f32, 1.0, 1.0, 2.0], [2, 2])?;
    /// let (values, vectors) = a.eigh()?;
    /// assert_eq!(values.to_vec::<f32>()?, [1.0, 3.0]);
    /// assert!(a.matmul(&vectors)?.allclose(&vectors.mul(&values)?, 1e-5, 1e-5, false)?);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Matrices that are not square; elements that are not finite.
    #[track_caller]
    pub fn eigh(&self) -> Result<(Tensor, Tensor)> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.eigh();
        }
        const OP: &str = "linalg.eigh";
        let [w, v, info] = l::eigh(OP, &self.raw()).here()?;
        check_info(OP, &info, |_| {
            "The algorithm failed to converge because the input matrix has elements that are not finite, or repeated \
             eigenvalues that it is too ill-conditioned for"
                .into()
        })?;
        let mut both = record_joint("LinalgEighBackward0", vec![w.clone(), v.clone()], &[self], || {
            let (a, w, v) = (self.save(), Tensor::from_raw(w).save(), Tensor::from_raw(v).save());
            Box::new(move |grads, _| {
                let (w, v) = match is_tracked() {
                    true => a.get()?.eigh()?,
                    false => (w.get()?, v.get()?),
                };
                Ok(vec![gradient(&w, &v, grads[0].as_ref(), grads[1].as_ref())?])
            })
        });
        let v = both.pop().expect("two results");
        let w = both.pop().expect("two results");
        Ok((w, v))
    }

    /// The eigenvalues alone (`torch.linalg.eigvalsh`).
    ///
    /// # Errors
    /// As [`Tensor::eigh`].
    #[track_caller]
    pub fn eigvalsh(&self) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.eigvalsh();
        }
        Ok(self.eigh()?.0)
    }

    /// The symmetric positive definite square root of symmetric positive definite matrices, of which the lower triangle
    /// is read (`torch.linalg.matrix_sqrth`).
    ///
    /// # Errors
    /// As [`Tensor::eigh`].
    #[track_caller]
    pub fn matrix_sqrth(&self) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.matrix_sqrth();
        }
        let (w, v) = self.eigh()?;
        v.mul(&w.sqrt()?.unsqueeze(-2)?)?.matmul(&mt(&v)?)
    }
}

/// The symmetric part of V (diag(gw) + (V^T gv) / (w_j - w_i)) V^T.
fn gradient(w: &Tensor, v: &Tensor, gw: Option<&Tensor>, gv: Option<&Tensor>) -> Result<Option<Tensor>> {
    let t = mt(v)?;
    let diagonal = gw.map(|g| g.diag_embed(0, -2, -1)).transpose()?;
    let inner = match (diagonal, gv) {
        (None, None) => return Ok(None),
        (Some(d), None) => d,
        (diagonal, Some(gv)) => {
            let same = super::eye(w, w.size(-1)?).ne(0.0)?;
            let gaps = w.unsqueeze(-2)?.sub(&w.unsqueeze(-1)?)?.masked_fill(&same, 1.0)?;
            let turned = t.matmul(gv)?.masked_fill(&same, 0.0)?.div(&gaps)?;
            match diagonal {
                Some(d) => turned.add(&d)?,
                None => turned,
            }
        }
    };
    let g = v.matmul(&inner)?.matmul(&t)?;
    // The matrix counts as symmetric, and so does its gradient.
    Ok(Some(g.add(&mt(&g)?)?.mul(0.5)?))
}
