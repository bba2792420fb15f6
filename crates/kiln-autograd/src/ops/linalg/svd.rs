//! Singular values, and what is made of them: pseudoinverses, ranks, least squares.

use kiln_ops::{DType, linalg as l};

use super::{broadcast_batches, mt};
use crate::arg::Arg;
use crate::grad_mode::is_tracked;
use crate::record::{record, record_joint};
use crate::{Error, Here, Result, Tensor, autocast, no_grad};

/// Below which singular values count as 0: the larger of `atol` and `rtol` times the largest one. Absent, `atol` is 0,
/// and `rtol` the machine epsilon times the larger size of the matrix, or 0 where an `atol` is given.
#[derive(Clone, Default)]
pub struct Tolerance {
    atol: Option<Tensor>,
    rtol: Option<Tensor>,
}

#[track_caller]
fn bound(value: Arg<'_>) -> Result<Option<Tensor>> {
    Ok(Some(match value {
        Arg::Tensor(t) => t.detach().to_dtype(DType::F64)?,
        Arg::Scalar(s) => Tensor::scalar(s)?.to_dtype(DType::F64)?,
    }))
}

impl Tolerance {
    /// With an absolute bound: a number, or a tensor that broadcasts against the batch.
    ///
    /// # Errors
    /// Memory that is not there.
    #[track_caller]
    pub fn atol<'a>(self, value: impl Into<Arg<'a>>) -> Result<Tolerance> {
        Ok(Tolerance { atol: bound(value.into())?, ..self })
    }

    /// With a bound relative to the largest singular value.
    ///
    /// # Errors
    /// Memory that is not there.
    #[track_caller]
    pub fn rtol<'a>(self, value: impl Into<Arg<'a>>) -> Result<Tolerance> {
        Ok(Tolerance { rtol: bound(value.into())?, ..self })
    }

    /// The bound for matrices of this shape and dtype whose largest singular value is `largest`, as doubles `[.., 1]`.
    #[track_caller]
    fn of(&self, a: &Tensor, largest: &Tensor) -> Result<Tensor> {
        let epsilon = if a.dtype() == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
        let default = epsilon * a.size(-1)?.max(a.size(-2)?) as f64;
        let zero = Tensor::scalar(0.0)?.to_dtype(DType::F64)?;
        let atol = self.atol.clone().unwrap_or(zero.clone());
        let rtol = match (&self.rtol, &self.atol) {
            (Some(rtol), _) => rtol.clone(),
            (None, None) => zero.add(default)?,
            (None, Some(atol)) => zero.where_self(&atol.gt(0.0)?, default)?,
        };
        atol.unsqueeze(-1)?.maximum(&rtol.unsqueeze(-1)?.mul(largest)?)
    }
}

/// What [`Tensor::lstsq`] gives.
#[derive(Clone)]
pub struct Lstsq {
    /// The x for which `|A x - b|` is least and, of several, x shortest.
    pub solution: Tensor,
    /// The sums of squares of `A x - b` per column, if all matrices are tall and of full rank; else empty.
    pub residuals: Tensor,
    /// How many singular values count, int64.
    pub rank: Tensor,
    /// All singular values.
    pub singular_values: Tensor,
}

impl Tensor {
    /// `U`, descending `S` and `V^T` of `A = U diag(S) V^T`: U and V square where `full`, else with as many columns as
    /// there are singular values (`torch.linalg.svd`).
    ///
    /// The derivative of U and V exists where singular values differ, and then up to signs.
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// let a = Tensor::from_vec(vec![3.0f32, 0.0, 0.0, 4.0, 0.0, 0.0], [3, 2])?;
    /// let (u, s, vt) = a.svd(false)?;
    /// assert_eq!(s.to_vec::<f32>()?, [4.0, 3.0]);
    /// assert!(u.mul(&s)?.matmul(&vt)?.allclose(&a, 1e-5, 1e-5, false)?);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Not matrices.
    #[track_caller]
    pub fn svd(&self, full: bool) -> Result<(Tensor, Tensor, Tensor)> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.svd(full);
        }
        const OP: &str = "linalg.svd";
        let [u, s, vt] = l::svd(OP, &self.raw(), full).here()?;
        let parts = vec![u.clone(), s.clone(), vt.clone()];
        let mut parts = record_joint("LinalgSvdBackward0", parts, &[self], || {
            let a = self.save();
            let (u, s, vt) =
                (Tensor::from_raw(u).save(), Tensor::from_raw(s).save(), Tensor::from_raw(vt).save());
            Box::new(move |grads, _| {
                let factors = match is_tracked() {
                    true => a.get()?.svd(full)?,
                    false => (u.get()?, s.get()?, vt.get()?),
                };
                Ok(vec![gradient(&factors, [grads[0].as_ref(), grads[1].as_ref(), grads[2].as_ref()])?])
            })
        });
        let vt = parts.pop().expect("three results");
        let s = parts.pop().expect("three results");
        let u = parts.pop().expect("three results");
        Ok((u, s, vt))
    }

    /// The singular values alone, descending (`torch.linalg.svdvals`).
    ///
    /// # Errors
    /// Not matrices.
    #[track_caller]
    pub fn svdvals(&self) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.svdvals();
        }
        Ok(self.svd(false)?.1)
    }

    /// The pseudoinverse (Moore and Penrose's): of the matrices' singular values those above the tolerance are inverted
    /// (`torch.linalg.pinv`).
    ///
    /// # Errors
    /// Not matrices; tolerances that do not broadcast.
    #[track_caller]
    pub fn pinv(&self, tolerance: &Tolerance) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.pinv(tolerance);
        }
        l::check_matrices("linalg.pinv", &self.raw()).here()?;
        let y = no_grad(|| {
            let (u, s, vt) = self.detach().to_dtype(DType::F64)?.svd(false)?;
            if s.numel() == 0 {
                return mt(self)?.zeros_like();
            }
            let small = s.le(&tolerance.of(self, &s.narrow(-1, 0, 1)?)?)?;
            let inverse = s.reciprocal()?.masked_fill(&small, 0.0)?;
            mt(&vt)?.mul(&inverse.unsqueeze(-2)?)?.matmul(&mt(&u)?)
        })
        .here()?;
        let y = y.to_dtype(self.dtype())?.raw().clone();
        self.pseudoinverse(y)
    }

    /// [`Tensor::pinv`] of symmetric matrices, of which the lower triangle is read (`hermitian=True`).
    ///
    /// # Errors
    /// Matrices that are not square; tolerances that do not broadcast.
    #[track_caller]
    pub fn pinv_hermitian(&self, tolerance: &Tolerance) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.pinv_hermitian(tolerance);
        }
        l::check_square("linalg.pinv", &self.raw()).here()?;
        let y = no_grad(|| {
            let (w, v) = self.detach().to_dtype(DType::F64)?.eigh()?;
            if w.numel() == 0 {
                return self.zeros_like();
            }
            let size = w.abs()?;
            let small = size.le(&tolerance.of(self, &size.amax(&[-1], true)?)?)?;
            let inverse = w.reciprocal()?.masked_fill(&small, 0.0)?;
            v.mul(&inverse.unsqueeze(-2)?)?.matmul(&mt(&v)?)
        })
        .here()?;
        let y = y.to_dtype(self.dtype())?.raw().clone();
        self.pseudoinverse(y)
    }

    /// Records `y` as the pseudoinverse (Golub and Pereyra, "The differentiation of pseudo-inverses", 1973).
    #[track_caller]
    fn pseudoinverse(&self, y: kiln_ops::RawTensor) -> Result<Tensor> {
        let tall = self.size(-2)? > self.size(-1)?;
        Ok(record("LinalgPinvBackward0", y)
            .input_from_output(self, || {
                let a = self.save();
                move |g: &Tensor, y: &Tensor| {
                    let (a, g, t) = (a.get()?, mt(g)?, mt(y)?);
                    if tall {
                        let k = y.matmul(&g)?;
                        let tk = t.matmul(&k)?;
                        let first = mt(&k.matmul(y)?)?.neg()?;
                        let second = g.sub(&a.matmul(&k)?)?.matmul(y)?.matmul(&t)?;
                        return first.add(&second)?.add(&tk)?.sub(&tk.matmul(y)?.matmul(&a)?);
                    }
                    let k = g.matmul(y)?;
                    let kt = k.matmul(&t)?;
                    let first = mt(&y.matmul(&k)?)?.neg()?.add(&kt)?;
                    let second = a.matmul(y)?.matmul(&kt)?;
                    let third = t.matmul(y)?.matmul(&g.sub(&k.matmul(&a)?)?)?;
                    first.sub(&second)?.add(&third)
                }
            })
            .done())
    }

    /// How many singular values, or eigenvalues of symmetric matrices if `hermitian`, are above the tolerance, int64
    /// (`torch.linalg.matrix_rank`).
    ///
    /// # Errors
    /// Not matrices; tolerances that do not broadcast.
    #[track_caller]
    pub fn matrix_rank(&self, tolerance: &Tolerance, hermitian: bool) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.matrix_rank(tolerance, hermitian);
        }
        let a = self.detach();
        let x = a.to_dtype(DType::F64)?;
        l::check_matrices("linalg.matrix_rank", &self.raw()).here()?;
        let s = if hermitian { x.eigvalsh()?.abs()? } else { x.svdvals()? };
        if s.size(-1)? == 0 {
            return s.sum_axes(&[-1], false)?.to_dtype(DType::I64);
        }
        let limit = tolerance.of(&a, &s.amax(&[-1], true)?)?;
        s.gt(&limit)?.to_dtype(DType::I64)?.sum_axes(&[-1], false)
    }

    /// Solutions of `self x = b` in the sense of least squares; singular values up to `rcond` times the largest count
    /// as 0, by default the machine epsilon times the larger size (`torch.linalg.lstsq`).
    ///
    /// Shapes: self `[.., m, n]`, b `[.., m, k]`, or `[.., m]` for as many batches.
    ///
    /// # Errors
    /// Shapes or dtypes that do not fit.
    #[track_caller]
    pub fn lstsq(&self, b: &Tensor, rcond: Option<f64>) -> Result<Lstsq> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.lstsq(&cast.of(b)?, rcond);
        }
        const OP: &str = "linalg.lstsq";
        l::check_matrices(OP, &self.raw()).here()?;
        let shape = self.shape();
        if b.rank() + 1 == shape.rank() && b.shape().dims() == &shape[..shape.rank() - 1] {
            let found = self.lstsq(&b.unsqueeze(-1)?, rcond)?;
            return Ok(Lstsq { solution: found.solution.squeeze_axis(-1)?, ..found });
        }
        let (a, b) = broadcast_batches(OP, self, b)?;
        let (m, n) = (a.size(-2)?, a.size(-1)?);
        if b.size(-2)? != m {
            return Err(Error::shape(
                OP,
                format!(
                    "input.size(-2) should match other.size(-2), got {:?} and {:?}",
                    a.shape(),
                    b.shape()
                ),
            ));
        }
        let tolerance = match rcond {
            Some(rcond) => Tolerance::default().rtol(rcond)?,
            None => Tolerance::default(),
        };
        let solution = a.pinv(&tolerance)?.matmul(&b)?;
        let rank = a.matrix_rank(&tolerance, false)?;
        let full = rank.ge(n as i64)?.all()?.to_f64()? != 0.0;
        let residuals = if m > n && full {
            b.sub(&a.matmul(&solution)?)?.square()?.sum_axes(&[-2], false)?
        } else {
            Tensor::zeros_with([0], self)
        };
        Ok(Lstsq { solution, residuals, rank, singular_values: a.detach().svdvals()? })
    }

    /// U with orthonormal columns and the symmetric H of `A = U H`, for matrices that are not wide
    /// (`torch.linalg.polar`).
    ///
    /// # Errors
    /// Wide matrices.
    #[track_caller]
    pub fn polar_decomposition(&self) -> Result<(Tensor, Tensor)> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.polar_decomposition();
        }
        const OP: &str = "linalg.polar";
        l::check_matrices(OP, &self.raw()).here()?;
        let (m, n) = (self.size(-2)?, self.size(-1)?);
        if m < n {
            return Err(Error::shape(
                OP,
                format!("expected matrices with at least as many rows as columns, got {m} by {n}"),
            ));
        }
        let [u, s, vt] = l::svd(OP, &self.raw(), false).here()?.map(Tensor::from_raw);
        let raw = u.matmul(&vt)?.raw().clone();
        let orthogonal = record("LinalgPolarBackward0", raw)
            .input_from_output(self, || {
                let (a, s, vt) = (self.save(), s.save(), vt.save());
                move |g: &Tensor, q: &Tensor| {
                    // H = Q^T A; dQ = Q W + (I - Q Q^T) dA H^-1 with the antisymmetric W of W H + H W = Q^T dA - dA^T Q.
                    let tracked = is_tracked();
                    let h = mt(q)?.matmul(&a.get()?)?;
                    let (w, v) = if tracked {
                        h.add(&mt(&h)?)?.mul(0.5)?.eigh()?
                    } else {
                        (s.get()?, mt(&vt.get()?)?)
                    };
                    let t = mt(&v)?;
                    let inner = mt(q)?.matmul(g)?;
                    let sums = w.unsqueeze(-1)?.add(&w.unsqueeze(-2)?)?;
                    let skew = t.matmul(&inner.sub(&mt(&inner)?)?)?.matmul(&v)?.div(&sums)?;
                    let turned = q.matmul(&v.matmul(&skew)?.matmul(&t)?)?;
                    let outside = g.sub(&q.matmul(&inner)?)?;
                    let scaled = outside.matmul(&v)?.div(&w.unsqueeze(-2)?)?.matmul(&t)?;
                    turned.add(&scaled)
                }
            })
            .done();
        let h = mt(&orthogonal)?.matmul(self)?;
        Ok((orthogonal, h.add(&mt(&h)?)?.mul(0.5)?))
    }
}

/// The gradient of a matrix from those of its factors (Giles, "Collected matrix derivative results for forward and
/// reverse mode algorithmic differentiation", 2008).
fn gradient((u, s, vt): &(Tensor, Tensor, Tensor), grads: [Option<&Tensor>; 3]) -> Result<Option<Tensor>> {
    let [gu, gs, gvt] = grads;
    let k = s.size(-1)? as i64;
    let (m, n) = (u.size(-2)? as i64, vt.size(-1)? as i64);
    // Columns beyond the singular values are any basis of the rest: no derivative comes from them.
    let (u, vt) = (u.narrow(-1, 0, k)?, vt.narrow(-2, 0, k)?);
    let gu = gu.map(|g| g.narrow(-1, 0, k)).transpose()?;
    let gvt = gvt.map(|g| g.narrow(-2, 0, k)).transpose()?;
    let diagonal = gs.map(|g| g.diag_embed(0, -2, -1)).transpose()?;
    if gu.is_none() && gvt.is_none() {
        return match diagonal {
            None => Ok(None),
            Some(d) => Ok(Some(u.matmul(&d)?.matmul(&vt)?)),
        };
    }
    let skew = |x: Tensor| x.sub(&mt(&x)?);
    let same = super::eye(s, k as usize).ne(0.0)?;
    let squares = s.mul(s)?;
    let gaps = squares.unsqueeze(-2)?.sub(&squares.unsqueeze(-1)?)?.masked_fill(&same, 1.0)?;
    let mut inner = diagonal;
    let mut add = |x: Tensor| -> Result<()> {
        inner = Some(match inner.take() {
            Some(sum) => sum.add(&x)?,
            None => x,
        });
        Ok(())
    };
    if let Some(gu) = &gu {
        add(skew(mt(&u)?.matmul(gu)?)?.div(&gaps)?.mul(&s.unsqueeze(-2)?)?)?;
    }
    if let Some(gvt) = &gvt {
        add(skew(vt.matmul(&mt(gvt)?)?)?.div(&gaps)?.mul(&s.unsqueeze(-1)?)?)?;
    }
    let inner = inner.expect("a gradient came");
    match (&gu, &gvt) {
        (Some(gu), _) if m > k => {
            let outside = gu.sub(&u.matmul(&mt(&u)?.matmul(gu)?)?)?.div(&s.unsqueeze(-2)?)?;
            Ok(Some(u.matmul(&inner)?.add(&outside)?.matmul(&vt)?))
        }
        (_, Some(gvt)) if n > k => {
            let outside = gvt.sub(&gvt.matmul(&mt(&vt)?)?.matmul(&vt)?)?.div(&s.unsqueeze(-1)?)?;
            Ok(Some(u.matmul(&inner.matmul(&vt)?.add(&outside)?)?))
        }
        _ => Ok(Some(u.matmul(&inner)?.matmul(&vt)?)),
    }
}
