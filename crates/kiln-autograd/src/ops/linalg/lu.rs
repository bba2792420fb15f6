//! Triangles by Gaussian elimination, and solutions with them.

use kiln_ops::linalg as l;

use super::{broadcast_batches, mt, solve::Triangle};
use crate::record::record;
use crate::{Error, Here, Result, Tensor, autocast};

impl Tensor {
    /// L below the diagonal (whose ones are not stored) and U of `P A = L U`, and the row that each one was exchanged
    /// with, from 1, as int32 (`torch.linalg.lu_factor`).
    ///
    /// # Errors
    /// Not matrices; a matrix without a pivot in a column. [`Tensor::lu_factor_ex`] has no such check.
    #[track_caller]
    pub fn lu_factor(&self) -> Result<(Tensor, Tensor)> {
        let (lu, pivots, _) = self.lu_factor_ex()?;
        Ok((lu, pivots))
    }

    /// [`Tensor::lu_factor`], and per matrix the first column (from 1) without a pivot, or 0
    /// (`torch.linalg.lu_factor_ex`).
    ///
    /// # Errors
    /// Not matrices.
    #[track_caller]
    pub fn lu_factor_ex(&self) -> Result<(Tensor, Tensor, Tensor)> {
        let [lu, pivots, info] = l::lu("linalg.lu_factor", &self.raw()).here()?;
        let (pivots, info) = (Tensor::from_raw(pivots), Tensor::from_raw(info));
        if !Tensor::any_requires_grad(&[self]) {
            return Ok((Tensor::from_raw(lu), pivots, info));
        }
        // The derivative is that of the square part; the rest is solved from it.
        let (m, n) = (self.size(-2)?, self.size(-1)?);
        let k = m.min(n) as i64;
        let a = self.take_along_dim(&rows(&pivots, m, self.rank(), false)?, -2)?;
        let square = a.narrow(-2, 0, k)?.narrow(-1, 0, k)?;
        let packed = Tensor::from_raw(lu).narrow(-2, 0, k)?.narrow(-1, 0, k)?.copy()?.raw().clone();
        let packed = record("LinalgLuFactorExBackward0", packed)
            .input_from_output(&square, || {
                |g: &Tensor, packed: &Tensor| {
                    let (lower, upper) = (packed.tril(-1)?, packed.triu(0)?);
                    let l = lower.add(&super::eye(packed, packed.size(-1)?))?;
                    let below = mt(&l)?.matmul(&g.tril(-1)?)?.tril(-1)?;
                    let above = g.triu(0)?.matmul(&mt(&upper)?)?.triu(0)?;
                    let middle = mt(&l)?.solve_triangular(&below.add(&above)?, Triangle::upper().unit())?;
                    mt(&upper)?.solve_triangular(&middle, Triangle::lower().right())
                }
            })
            .done();
        let whole = if m > n {
            let rest = a.narrow(-2, k, m as i64 - k)?;
            Tensor::cat(&[&packed, &packed.solve_triangular(&rest, Triangle::upper().right())?], -2)?
        } else if n > m {
            let rest = a.narrow(-1, k, n as i64 - k)?;
            Tensor::cat(&[&packed, &packed.solve_triangular(&rest, Triangle::lower().unit())?], -1)?
        } else {
            packed
        };
        Ok((whole, pivots, info))
    }

    /// P, L and U of `A = P L U` (`torch.linalg.lu`).
    ///
    /// # Errors
    /// Not matrices.
    #[track_caller]
    pub fn lu(&self) -> Result<(Tensor, Tensor, Tensor)> {
        let (lu, pivots, _) = self.lu_factor_ex()?;
        lu.lu_unpack(&pivots)
    }

    /// P, L and U from what [`Tensor::lu_factor`] gives (`torch.lu_unpack`).
    ///
    /// # Errors
    /// Not matrices; pivots that are not int32, or name rows that are not there.
    #[track_caller]
    pub fn lu_unpack(&self, pivots: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
        l::check_matrices("lu_unpack", &self.raw()).here()?;
        let (m, n) = (self.size(-2)?, self.size(-1)?);
        let k = m.min(n) as i64;
        // Row i of P^T A is row order[i] of A.
        let order = rows(pivots, m, self.rank(), false)?;
        let columns = Tensor::arange_with(m as i64, kiln_ops::DType::I64);
        let p = mt(&order.eq(&columns)?)?.to_dtype(self.dtype())?;
        let lower = self.narrow(-1, 0, k)?.tril(-1)?;
        let lower = lower.add(&Tensor::eye_with(m, k as usize, self))?;
        Ok((p, lower, self.narrow(-2, 0, k)?.triu(0)?))
    }

    /// The x of `A x = self`, where `lu` and `pivots` are the factors of `A` (`torch.lu_solve`, with the operands in the
    /// order of `torch.Tensor.lu_solve`).
    ///
    /// # Errors
    /// Shapes or dtypes that do not fit.
    #[track_caller]
    pub fn lu_solve(&self, lu: &Tensor, pivots: &Tensor) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.lu_solve(&cast.of(lu)?, pivots);
        }
        let (b, lu) = broadcast_batches("lu_solve", self, lu)?;
        let order = rows(pivots, lu.size(-1)?, lu.rank(), false)?;
        let permuted = b.take_along_dim(&order, -2)?;
        lu.solve_triangular(&lu.solve_triangular(&permuted, Triangle::lower().unit())?, Triangle::upper())
    }

    /// The x of `A^T x = self`, as [`Tensor::lu_solve`] (`torch.linalg.lu_solve(adjoint=True)`).
    ///
    /// # Errors
    /// Shapes or dtypes that do not fit.
    #[track_caller]
    pub fn lu_solve_transposed(&self, lu: &Tensor, pivots: &Tensor) -> Result<Tensor> {
        let (b, lu) = broadcast_batches("lu_solve", self, lu)?;
        let t = mt(&lu)?;
        let y = t.solve_triangular(&b, Triangle::lower())?;
        let y = t.solve_triangular(&y, Triangle::upper().unit())?;
        y.take_along_dim(&rows(pivots, lu.size(-1)?, lu.rank(), true)?, -2)
    }
}

/// The rows in the order that exchanges leave them in, or the inverse of that order: `[.., m, 1]`, int64, with ones for
/// batch axes that the pivots do not have.
#[track_caller]
fn rows(pivots: &Tensor, m: usize, rank: usize, inverse: bool) -> Result<Tensor> {
    const OP: &str = "lu";
    let shape = pivots.shape();
    let Some((&k, batch)) = shape.split_last() else {
        return Err(Error::shape(OP, "pivots must have at least one dimension"));
    };
    if pivots.dtype() != kiln_ops::DType::I32 {
        return Err(Error::dtype(
            OP,
            format!("Expected pivots to have dtype of torch.int32, got {}", pivots.dtype()),
        ));
    }
    if k > m {
        return Err(Error::shape(OP, format!("{k} pivots are more than the {m} rows")));
    }
    let count: usize = batch.iter().product();
    let exchanges = pivots.to_device(kiln_ops::Device::CPU)?.to_vec::<i32>()?;
    let mut order = Vec::with_capacity(count * m);
    for matrix in 0..count {
        let mut rows: Vec<i64> = (0..m as i64).collect();
        for (i, &pivot) in exchanges[matrix * k..][..k].iter().enumerate() {
            match usize::try_from(pivot - 1) {
                Ok(other) if other < m => rows.swap(i, other),
                _ => return Err(Error::index(OP, format!("pivots must be between 1 and {m}, got {pivot}"))),
            }
        }
        if inverse {
            let mut back = vec![0; m];
            rows.iter().enumerate().for_each(|(i, &row)| back[row as usize] = i as i64);
            rows = back;
        }
        order.extend(rows);
    }
    let missing = rank.saturating_sub(shape.rank() + 1);
    let sizes: Vec<usize> =
        std::iter::repeat_n(1, missing).chain(batch.iter().copied()).chain([m, 1]).collect();
    Tensor::from_vec(order, sizes.as_slice())?.to_device(pivots.device())
}
