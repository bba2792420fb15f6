//! Norms of matrices and condition numbers.

use kiln_ops::resolve_axis;

use crate::ops::compose::in_single;
use crate::{Error, Here, Result, Tensor, autocast};

/// A norm of matrices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MatrixNorm {
    /// The length of the matrix as a vector.
    Frobenius,
    /// The sum of the singular values.
    Nuclear,
    /// 1 and -1: the largest and smallest sum of magnitudes of a column; infinities: of a row; 2 and -2: the largest and
    /// smallest singular value.
    Order(f64),
}

impl From<f64> for MatrixNorm {
    fn from(order: f64) -> MatrixNorm {
        MatrixNorm::Order(order)
    }
}

impl Tensor {
    /// A norm of the matrices in two axes (`torch.linalg.matrix_norm`).
    ///
    /// # Errors
    /// An order that is not a matrix norm; axes out of range or equal; half precision where singular values are needed.
    #[track_caller]
    pub fn matrix_norm(&self, norm: impl Into<MatrixNorm>, axes: [i64; 2], keepdim: bool) -> Result<Tensor> {
        const OP: &str = "linalg.matrix_norm";
        let norm = norm.into();
        let rank = self.rank();
        if rank < 2 {
            return Err(Error::shape(
                OP,
                format!("The input tensor A must have at least 2 dimensions, got shape {:?}", self.shape()),
            ));
        }
        if !self.dtype().is_float() {
            return Err(Error::dtype(
                OP,
                format!("Expected a floating point tensor as input. Got {}", self.dtype()),
            ));
        }
        let (row, column) =
            (resolve_axis(OP, axes[0], rank).here()?, resolve_axis(OP, axes[1], rank).here()?);
        if row == column {
            return Err(Error::value(OP, format!("dims must be different, got {axes:?}")));
        }
        let singular = |x: &Tensor| {
            let s = x.movedim(&[row as i64, column as i64], &[-2, -1])?.svdvals()?;
            Ok::<_, Error>(s)
        };
        let sums = |x: &Tensor, axis: usize| x.abs()?.sum_axes(&[axis as i64], true);
        let y = match norm {
            MatrixNorm::Frobenius => return self.vector_norm(2.0, &axes, keepdim),
            MatrixNorm::Nuclear => singular(self).here()?.sum_axes(&[-1], false)?,
            MatrixNorm::Order(2.0) => singular(self).here()?.amax(&[-1], false)?,
            MatrixNorm::Order(-2.0) => singular(self).here()?.amin(&[-1], false)?,
            MatrixNorm::Order(p @ (1.0 | -1.0 | f64::INFINITY | f64::NEG_INFINITY)) => {
                let (along, across) = if p.abs() == 1.0 { (row, column) } else { (column, row) };
                return in_single(self, &|x| {
                    let sums = sums(x, along)?;
                    let both = [along as i64, across as i64];
                    if p > 0.0 { sums.amax(&both, keepdim) } else { sums.amin(&both, keepdim) }
                });
            }
            MatrixNorm::Order(p) => {
                return Err(Error::value(
                    OP,
                    format!("Order {p} not supported. Use 'fro', 'nuc', 1, -1, 2, -2, inf or -inf"),
                ));
            }
        };
        match keepdim {
            false => Ok(y),
            true => y.unsqueeze(row.min(column) as i64)?.unsqueeze(row.max(column) as i64),
        }
    }

    /// The condition number: the largest singular value over the smallest, or a norm times that of the inverse
    /// (`torch.linalg.cond`).
    ///
    /// # Errors
    /// As [`Tensor::matrix_norm`]; other norms than 2 and -2 of matrices that are not square.
    #[track_caller]
    pub fn cond(&self, norm: impl Into<MatrixNorm>) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.cond(norm);
        }
        match norm.into() {
            MatrixNorm::Order(p) if p.abs() == 2.0 => {
                let s = self.svdvals()?;
                let (most, least) = (s.amax(&[-1], false)?, s.amin(&[-1], false)?);
                if p > 0.0 { most.div(&least) } else { least.div(&most) }
            }
            norm => {
                // A singular matrix has an infinite condition.
                let (inverse, info) = self.inv_ex()?;
                let product = self.matrix_norm(norm, [-2, -1], false)?.mul(&inverse.matrix_norm(
                    norm,
                    [-2, -1],
                    false,
                )?)?;
                product.masked_fill(&info.ne(0)?, f64::INFINITY)
            }
        }
    }
}
