//! Systems of equations, inverses and determinants.

use kiln_ops::linalg as l;

use super::{broadcast_batches, check_info, mt};
use crate::record::record;
use crate::{Error, Here, Result, Tensor, autocast};

/// Which triangle [`Tensor::solve_triangular`] reads, and on which side it stands.
///
/// ```
/// use kiln_autograd::{Tensor, Triangle};
/// let a = Tensor::from_vec(vec![2.0f32, 0.0, 1.0, 4.0], [2, 2])?;
/// let b = Tensor::from_vec(vec![2.0f32, 9.0], [2, 1])?;
/// assert_eq!(a.solve_triangular(&b, Triangle::lower())?.to_vec::<f32>()?, [1.0, 2.0]);
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Triangle {
    upper: bool,
    unit: bool,
    right: bool,
}

impl Triangle {
    /// The triangle below the diagonal, with it.
    pub fn lower() -> Triangle {
        Triangle { upper: false, unit: false, right: false }
    }

    /// The triangle above the diagonal, with it.
    pub fn upper() -> Triangle {
        Triangle { upper: true, ..Triangle::lower() }
    }

    /// With ones on the diagonal, whatever is there (`unitriangular`).
    pub fn unit(self) -> Triangle {
        Triangle { unit: true, ..self }
    }

    /// On the right of the unknown: `x a = b` (`left=False`).
    pub fn right(self) -> Triangle {
        Triangle { right: true, ..self }
    }

    /// The other triangle.
    fn transposed(self) -> Triangle {
        Triangle { upper: !self.upper, ..self }
    }
}

#[track_caller]
fn singular(op: &'static str, info: &kiln_ops::RawTensor) -> Result<()> {
    check_info(op, info, |_| "The solver failed because the input matrix is singular.".into())
}

impl Tensor {
    /// The x of `self x = b` for square matrices (`torch.linalg.solve`).
    ///
    /// Shapes: self `[.., n, n]`, b `[.., n, k]` or a batch of vectors `[.., n]`; batches broadcast.
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// let a = Tensor::from_vec(vec![3.0f32, 1.0, 1.0, 2.0], [2, 2])?;
    /// let b = Tensor::from_vec(vec![9.0f32, 8.0], [2])?;
    /// assert_eq!(a.solve(&b)?.to_vec::<f32>()?, [2.0, 3.0]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Matrices that are not square or singular; shapes or dtypes that do not fit.
    #[track_caller]
    pub fn solve(&self, b: &Tensor) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.solve(&cast.of(b)?);
        }
        let (x, info) = self.solve_ex(b)?;
        singular("linalg.solve", &info.raw())?;
        Ok(x)
    }

    /// [`Tensor::solve`] without the check: the solution, and per matrix the first column (from 1) without a pivot, or 0
    /// (`torch.linalg.solve_ex`).
    ///
    /// # Errors
    /// Matrices that are not square; shapes or dtypes that do not fit.
    #[track_caller]
    pub fn solve_ex(&self, b: &Tensor) -> Result<(Tensor, Tensor)> {
        const OP: &str = "linalg.solve";
        l::check_square(OP, &self.raw()).here()?;
        let (shape, other) = (self.shape(), b.shape());
        if other.rank() == 1 || other.dims() == &shape[..shape.rank() - 1] {
            let (x, info) = self.solve_ex(&b.unsqueeze(-1)?)?;
            return Ok((x.squeeze_axis(-1)?, info));
        }
        let (a, b) = broadcast_batches(OP, self, b)?;
        let [x, info] = l::solve(OP, &a.raw(), &b.raw()).here()?;
        let x = record("LinalgSolveExBackward0", x)
            .input_from_output(&a, || {
                let a = a.save();
                move |g: &Tensor, x: &Tensor| mt(&a.get()?)?.solve_ex(g)?.0.matmul(&mt(x)?)?.neg()
            })
            .input(&b, || {
                let a = a.save();
                move |g: &Tensor| Ok(mt(&a.get()?)?.solve_ex(g)?.0)
            })
            .done();
        Ok((x, Tensor::from_raw(info)))
    }

    /// The x of `self x = b`, or of `x self = b`, for a triangle of `self`; the other one is not read
    /// (`torch.linalg.solve_triangular`). Zeros on the diagonal give infinities.
    ///
    /// # Errors
    /// Matrices that are not square; shapes or dtypes that do not fit.
    #[track_caller]
    pub fn solve_triangular(&self, b: &Tensor, triangle: Triangle) -> Result<Tensor> {
        const OP: &str = "linalg.solve_triangular";
        if triangle.right {
            let left = Triangle { right: false, ..triangle.transposed() };
            return mt(&mt(self)?.solve_triangular(&mt(b)?, left)?);
        }
        let (a, b) = broadcast_batches(OP, self, b)?;
        let x = l::solve_triangular(OP, &a.raw(), &b.raw(), triangle.upper, triangle.unit).here()?;
        Ok(record("LinalgSolveTriangularBackward0", x)
            .input_from_output(&a, || {
                let a = a.save();
                move |g: &Tensor, x: &Tensor| {
                    let gb = mt(&a.get()?)?.solve_triangular(g, triangle.transposed())?;
                    let ga = gb.matmul(&mt(x)?)?.neg()?;
                    let offset = i64::from(triangle.unit);
                    if triangle.upper { ga.triu(offset) } else { ga.tril(-offset) }
                }
            })
            .input(&b, || {
                let a = a.save();
                move |g: &Tensor| mt(&a.get()?)?.solve_triangular(g, triangle.transposed())
            })
            .done())
    }

    /// The inverse of square matrices (`torch.linalg.inv`, `torch.inverse`).
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// let a = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 5.0], [2, 2])?;
    /// assert!(a.inverse()?.allclose(&Tensor::from_vec(vec![-5.0f32, 2.0, 3.0, -1.0], [2, 2])?, 1e-5, 1e-5, false)?);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Matrices that are not square or singular.
    #[track_caller]
    pub fn inverse(&self) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.inverse();
        }
        let (y, info) = self.inv_ex()?;
        check_info("linalg.inv", &info.raw(), |i| {
            format!(
                "The diagonal element {i} is zero, the inversion could not be completed because the input matrix is singular."
            )
        })?;
        Ok(y)
    }

    /// [`Tensor::inverse`] without the check: the inverse, and per matrix the first column (from 1) without a pivot, or
    /// 0 (`torch.linalg.inv_ex`).
    ///
    /// # Errors
    /// Matrices that are not square.
    #[track_caller]
    pub fn inv_ex(&self) -> Result<(Tensor, Tensor)> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.inv_ex();
        }
        const OP: &str = "linalg.inv";
        l::check_square(OP, &self.raw()).here()?;
        let unit = super::eye(self, self.size(-1)?).broadcast_to(self.shape())?;
        let [y, info] = l::solve(OP, &self.raw(), &unit.raw()).here()?;
        let y = record("LinalgInvExBackward0", y)
            .input_from_output(self, || {
                |g: &Tensor, y: &Tensor| {
                    let t = mt(y)?;
                    t.matmul(g)?.matmul(&t)?.neg()
                }
            })
            .done();
        Ok((y, Tensor::from_raw(info)))
    }

    /// Determinants of square matrices (`torch.linalg.det`).
    ///
    /// # Errors
    /// Matrices that are not square.
    #[track_caller]
    pub fn det(&self) -> Result<Tensor> {
        let [det, ..] = l::det("linalg.det", &self.raw()).here()?;
        Ok(record("LinalgDetBackward0", det)
            .input_from_output(self, || {
                let a = self.save();
                move |g: &Tensor, det: &Tensor| {
                    let a = a.get()?;
                    if det.eq(0.0)?.any()?.to_f64()? != 0.0 {
                        return cofactors(&a)?.mul(&per_matrix(g)?);
                    }
                    mt(&a.inv_ex()?.0)?.mul(&per_matrix(&g.mul(det)?)?)
                }
            })
            .done())
    }

    /// The signs of determinants, and the logarithms of their absolute values (`torch.linalg.slogdet`).
    ///
    /// # Errors
    /// Matrices that are not square.
    #[track_caller]
    pub fn slogdet(&self) -> Result<(Tensor, Tensor)> {
        let [_, sign, log] = l::det("linalg.slogdet", &self.raw()).here()?;
        let log = record("LinalgSlogdetBackward0", log)
            .input(self, || {
                let a = self.save();
                move |g: &Tensor| mt(&a.get()?.inv_ex()?.0)?.mul(&per_matrix(g)?)
            })
            .done();
        Ok((Tensor::from_raw(sign), log))
    }

    /// The logarithms of determinants, NaN where these are negative (`torch.logdet`).
    ///
    /// # Errors
    /// Matrices that are not square.
    #[track_caller]
    pub fn logdet(&self) -> Result<Tensor> {
        let (sign, log) = self.slogdet()?;
        log.masked_fill(&sign.lt(0.0)?, f64::NAN)
    }

    /// The x of `A x = self` for a triangle of `A`, and a copy of `A` (`torch.triangular_solve`).
    ///
    /// # Errors
    /// As [`Tensor::solve_triangular`].
    #[track_caller]
    pub fn triangular_solve(
        &self,
        a: &Tensor,
        triangle: Triangle,
        transpose: bool,
    ) -> Result<(Tensor, Tensor)> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.triangular_solve(&cast.of(a)?, triangle, transpose);
        }
        let (b, a) = broadcast_batches("triangular_solve", self, a)?;
        let x = match transpose {
            true => mt(&a)?.solve_triangular(&b, triangle.transposed())?,
            false => a.solve_triangular(&b, triangle)?,
        };
        Ok((x, a.copy()?))
    }

    /// The inverse of the operator that this tensor is as a map from its axes from `ind` on to those before
    /// (`torch.linalg.tensorinv`).
    ///
    /// # Errors
    /// An `ind` that is not positive; sizes whose products differ; a singular operator.
    #[track_caller]
    pub fn tensorinv(&self, ind: i64) -> Result<Tensor> {
        const OP: &str = "linalg.tensorinv";
        let shape = self.shape();
        let at = match usize::try_from(ind) {
            Ok(at) if at > 0 && at <= shape.rank() => at,
            _ => {
                return Err(Error::value(
                    OP,
                    format!("Expected a strictly positive integer for 'ind', got {ind}"),
                ));
            }
        };
        let (rows, columns): (usize, usize) = (shape[..at].iter().product(), shape[at..].iter().product());
        if rows != columns {
            return Err(Error::shape(
                OP,
                format!(
                    "Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but got {columns} != {rows}"
                ),
            ));
        }
        let sizes: Vec<usize> = shape[at..].iter().chain(&shape[..at]).copied().collect();
        self.reshape([rows, columns])?.inverse()?.reshape(sizes)
    }

    /// The x with `tensordot(self, x) = b`; `axes` of this tensor are moved to its end first
    /// (`torch.linalg.tensorsolve`).
    ///
    /// # Errors
    /// Sizes whose products differ; a singular operator; an axis out of range.
    #[track_caller]
    pub fn tensorsolve(&self, b: &Tensor, axes: &[i64]) -> Result<Tensor> {
        const OP: &str = "linalg.tensorsolve";
        let ends: Vec<i64> = (0..axes.len()).map(|i| (self.rank() - axes.len() + i) as i64).collect();
        let a = if axes.is_empty() { self.clone() } else { self.movedim(axes, &ends)? };
        let shape = a.shape();
        if b.rank() > shape.rank() {
            return Err(Error::shape(OP, format!("got shapes {shape:?} and {:?}", b.shape())));
        }
        let sizes = shape[b.rank()..].to_vec();
        let (columns, rows): (usize, usize) = (sizes.iter().product(), b.numel());
        if rows * columns != a.numel() || rows != columns {
            return Err(Error::shape(
                OP,
                format!(
                    "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == prod(self.shape[:other.ndim]), but got {columns} != {rows}"
                ),
            ));
        }
        a.reshape([rows, columns])?.solve(&b.reshape([rows])?)?.reshape(sizes)
    }
}

/// A number per matrix, to be multiplied with its elements.
#[track_caller]
fn per_matrix(g: &Tensor) -> Result<Tensor> {
    g.unsqueeze(-1)?.unsqueeze(-1)
}

/// The derivative of a determinant also where it is 0: with `A = U S V^T`, U diag(products of the other singular values)
/// V^T times the signs of the factors' determinants.
fn cofactors(a: &Tensor) -> Result<Tensor> {
    let (u, s, vt) = a.svd(false)?;
    let n = s.size(-1)?;
    let diagonal = super::eye(&s, n).ne(0.0)?;
    let table: Vec<usize> = s.dims().iter().copied().chain([n]).collect();
    let others =
        s.unsqueeze(-2)?.broadcast_to(table)?.masked_fill(&diagonal, 1.0)?.prod_axes(&[-1], false)?;
    let sign = u.detach().det()?.mul(&vt.detach().det()?)?;
    u.mul(&others.unsqueeze(-2)?)?.matmul(&vt)?.mul(&per_matrix(&sign)?)
}
