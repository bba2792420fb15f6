//! Sums of products: matrices with addends, outer and inner products, contractions by a formula. Below: decompositions
//! and what is solved with them.

mod cholesky;
mod eigen;
mod functions;
mod lu;
mod norm;
mod products;
mod qr;
mod solve;
mod svd;

pub use norm::MatrixNorm;
pub use qr::QrMode;
pub use solve::Triangle;
pub use svd::{Lstsq, Tolerance};

use kiln_ops::{Scalar, Shape};

use crate::arg::Arg;
use crate::collect::Collect;
use crate::ops::compose::rounded_once;
use crate::{Error, Here, Result, Tensor, autocast};

impl Tensor {
    /// `beta * self + alpha * product(a, b)`, rounded once; with a `beta` of 0 this tensor's values do not matter.
    #[track_caller]
    fn add_product(
        &self,
        op: &'static str,
        rank: usize,
        operands: [&Tensor; 2],
        product: fn(&Tensor, &Tensor) -> Result<Tensor>,
        beta: Scalar,
        alpha: Scalar,
    ) -> Result<Tensor> {
        let [a, b] = operands;
        if self.dtype() != a.dtype() || self.dtype() != b.dtype() {
            return Err(Error::dtype(
                op,
                format!(
                    "expected operands of one dtype, got {}, {} and {}",
                    self.dtype(),
                    a.dtype(),
                    b.dtype()
                ),
            ));
        }
        // Factors take the dtype of the result, as an element would.
        let factor = |s: Scalar| match self.dtype() {
            kiln_ops::DType::Bool => Scalar::Bool(s.is_true()),
            d if d.is_int() => Scalar::Int(s.to_i64()),
            _ => s,
        };
        let (beta, alpha) = (factor(beta), factor(alpha));
        rounded_once([self, a, b], &|[x, a, b]| {
            let product = product(a, b)?;
            if x.rank() > rank {
                return Err(Error::shape(
                    op,
                    format!("{:?} cannot be expanded to the product's {:?}", x.shape(), product.shape()),
                ));
            }
            let addend = x.expand(product.shape())?;
            let product = if alpha.to_f64() == 1.0 { product } else { product.mul(alpha)? };
            match beta.to_f64() {
                0.0 => product.add(&addend.masked_fill(&addend.isfinite()?.logical_not()?, 0)?.mul(beta)?),
                1.0 => addend.add(&product),
                _ => addend.mul(beta)?.add(&product),
            }
        })
    }

    /// [`Tensor::add_product`] of matrices, in the lower precision of autocast where that is on.
    #[track_caller]
    fn add_lower(
        &self,
        op: &'static str,
        rank: usize,
        [a, b]: [&Tensor; 2],
        product: fn(&Tensor, &Tensor) -> Result<Tensor>,
        beta: Scalar,
        alpha: Scalar,
    ) -> Result<Tensor> {
        if let Some(cast) = autocast::lower() {
            let operands = [&cast.of(a)?, &cast.of(b)?];
            return cast.of(self)?.add_product(op, rank, operands, product, beta, alpha);
        }
        self.add_product(op, rank, [a, b], product, beta, alpha)
    }

    /// `beta * self + alpha * (a b)` of matrices (`torch.addmm`).
    ///
    /// # Errors
    /// Shapes or dtypes that do not fit.
    #[track_caller]
    pub fn addmm(
        &self,
        a: &Tensor,
        b: &Tensor,
        beta: impl Into<Scalar>,
        alpha: impl Into<Scalar>,
    ) -> Result<Tensor> {
        self.add_lower("addmm", 2, [a, b], Tensor::mm, beta.into(), alpha.into())
    }

    /// `beta * self + alpha * (a x)` of a matrix and a vector (`torch.addmv`).
    ///
    /// # Errors
    /// Shapes or dtypes that do not fit.
    #[track_caller]
    pub fn addmv(
        &self,
        a: &Tensor,
        x: &Tensor,
        beta: impl Into<Scalar>,
        alpha: impl Into<Scalar>,
    ) -> Result<Tensor> {
        self.add_product("addmv", 1, [a, x], Tensor::mv, beta.into(), alpha.into())
    }

    /// `beta * self + alpha * (a b^T)` of vectors (`torch.addr`).
    ///
    /// # Errors
    /// Shapes or dtypes that do not fit.
    #[track_caller]
    pub fn addr(
        &self,
        a: &Tensor,
        b: &Tensor,
        beta: impl Into<Scalar>,
        alpha: impl Into<Scalar>,
    ) -> Result<Tensor> {
        let dtype = self.joint_dtype(Arg::Tensor(a)).promote(b.dtype());
        let operands = [&a.to_dtype(dtype)?, &b.to_dtype(dtype)?];
        self.to_dtype(dtype)?.add_product("addr", 2, operands, Tensor::outer, beta.into(), alpha.into())
    }

    /// `beta * self + alpha * sum(a[i] b[i])` of batches of matrices (`torch.addbmm`).
    ///
    /// # Errors
    /// Shapes or dtypes that do not fit.
    #[track_caller]
    pub fn addbmm(
        &self,
        a: &Tensor,
        b: &Tensor,
        beta: impl Into<Scalar>,
        alpha: impl Into<Scalar>,
    ) -> Result<Tensor> {
        let product = |a: &Tensor, b: &Tensor| a.bmm(b)?.sum_axes(&[0], false)?.to_dtype(a.dtype());
        self.add_lower("addbmm", 2, [a, b], product, beta.into(), alpha.into())
    }

    /// `beta * self + alpha * (a b)` of batches of matrices (`torch.baddbmm`).
    ///
    /// # Errors
    /// Shapes or dtypes that do not fit.
    #[track_caller]
    pub fn baddbmm(
        &self,
        a: &Tensor,
        b: &Tensor,
        beta: impl Into<Scalar>,
        alpha: impl Into<Scalar>,
    ) -> Result<Tensor> {
        self.add_lower("baddbmm", 3, [a, b], Tensor::bmm, beta.into(), alpha.into())
    }

    /// All products of two vectors' elements (`torch.outer`).
    ///
    /// # Errors
    /// Operands that are not vectors.
    #[track_caller]
    pub fn outer(&self, other: &Tensor) -> Result<Tensor> {
        if let Some(t) = [self, other].into_iter().find(|t| t.rank() != 1) {
            return Err(Error::shape("outer", format!("expected vectors, got shape {:?}", t.shape())));
        }
        self.unsqueeze(1)?.mul(other)
    }

    /// Sums of products over the last axes (`torch.inner`).
    ///
    /// # Errors
    /// Last sizes or dtypes that differ.
    #[track_caller]
    pub fn inner(&self, other: &Tensor) -> Result<Tensor> {
        if self.rank() == 0 || other.rank() == 0 {
            return self.mul(other);
        }
        if self.size(-1)? != other.size(-1)? {
            return Err(Error::shape(
                "inner",
                format!(
                    "the size of tensors must match at the last dimension but got {:?} and {:?}",
                    self.shape(),
                    other.shape()
                ),
            ));
        }
        self.tensordot(other, &[self.rank() as i64 - 1], &[other.rank() as i64 - 1])
    }

    /// Sums of products of vectors (`torch.vdot`; the same as [`Tensor::dot`] for real numbers).
    ///
    /// # Errors
    /// As [`Tensor::dot`].
    #[track_caller]
    pub fn vdot(&self, other: &Tensor) -> Result<Tensor> {
        self.dot(other)
    }

    /// Sums of products over `axes` of this tensor with `others` of the other, pair by pair; the axes left come in
    /// order, this tensor's first (`torch.tensordot`).
    ///
    /// # Errors
    /// Different numbers of axes, sizes or dtypes that differ.
    #[track_caller]
    pub fn tensordot(&self, other: &Tensor, axes: &[i64], others: &[i64]) -> Result<Tensor> {
        const OP: &str = "tensordot";
        if axes.len() != others.len() {
            return Err(Error::value(
                OP,
                format!("both axes lists should have same length: {axes:?}, {others:?}"),
            ));
        }
        if self.dtype() != other.dtype() {
            return Err(Error::dtype(
                OP,
                format!("both inputs should have same dtype, got {} and {}", self.dtype(), other.dtype()),
            ));
        }
        let resolve =
            |t: &Tensor, axes: &[i64]| axes.iter().map(|&a| kiln_ops::resolve_axis(OP, a, t.rank())).all_ok();
        let (left, right) = (resolve(self, axes).here()?, resolve(other, others).here()?);
        let unique = |axes: &[usize]| (1..axes.len()).all(|i| !axes[..i].contains(&axes[i]));
        if !unique(&left) || !unique(&right) {
            return Err(Error::value(OP, format!("an axis appears twice in {axes:?} or {others:?}")));
        }
        // An axis of size 1 meets one of any size: the other side is summed.
        let (mut a, mut b) = (self.clone(), other.clone());
        for (&i, &j) in left.iter().zip(&right) {
            match (a.shape()[i], b.shape()[j]) {
                (n, m) if n == m => {}
                (1, _) => b = b.sum_axes(&[j as i64], true)?.to_dtype(other.dtype())?,
                (_, 1) => a = a.sum_axes(&[i as i64], true)?.to_dtype(self.dtype())?,
                _ => {
                    return Err(Error::shape(
                        OP,
                        format!(
                            "contracted dimensions need to match, but the first has shape {:?} and the second {:?}",
                            self.shape(),
                            other.shape()
                        ),
                    ));
                }
            }
        }
        let free = |rank: usize, used: &[usize]| (0..rank).filter(|a| !used.contains(a)).collect::<Vec<_>>();
        let (free_a, free_b) = (free(a.rank(), &left), free(b.rank(), &right));
        let count = |t: &Tensor, axes: &[usize]| axes.iter().map(|&i| t.shape()[i]).product::<usize>() as i64;
        let order = |first: &[usize], second: &[usize]| {
            first.iter().chain(second).map(|&i| i as i64).collect::<Vec<_>>()
        };
        let k = count(&a, &left);
        let rows = a.permute(&order(&free_a, &left))?.reshape([count(&a, &free_a), k])?;
        let columns = b.permute(&order(&right, &free_b))?.reshape([k, count(&b, &free_b)])?;
        let mut sizes: Vec<usize> = free_a.iter().map(|&i| a.shape()[i]).collect();
        sizes.extend(free_b.iter().map(|&i| b.shape()[i]));
        rows.matmul(&columns)?.reshape(sizes.as_slice())
    }

    /// Sums of products of vectors along `axis`, with broadcasting (`torch.linalg.vecdot`).
    ///
    /// # Errors
    /// Shapes that do not broadcast; an axis out of range.
    #[track_caller]
    pub fn vecdot(&self, other: &Tensor, axis: i64) -> Result<Tensor> {
        if let Some(cast) = autocast::lower() {
            return cast.of(self)?.vecdot(&cast.of(other)?, axis);
        }
        let product = self.mul(other)?;
        let dtype = product.dtype();
        product.sum_axes(&[axis], false)?.to_dtype(dtype)
    }

    /// The product of a matrix with itself, `n` times; of its inverse for negative powers (`torch.linalg.matrix_power`).
    ///
    /// # Errors
    /// Matrices that are not square; a negative power of a singular matrix.
    #[track_caller]
    pub fn matrix_power(&self, n: i64) -> Result<Tensor> {
        const OP: &str = "matrix_power";
        let rank = self.rank();
        if rank < 2 || self.size(-1)? != self.size(-2)? {
            return Err(Error::shape(
                OP,
                format!("A must be batches of square matrices, got {:?}", self.shape()),
            ));
        }
        let mut rest = n.unsigned_abs();
        let (mut square, mut out) = (if n < 0 { self.inverse()? } else { self.clone() }, None::<Tensor>);
        while rest > 0 {
            if rest & 1 == 1 {
                out = Some(match out {
                    None => square.clone(),
                    Some(out) => out.matmul(&square)?,
                });
            }
            rest >>= 1;
            if rest > 0 {
                square = square.matmul(&square)?;
            }
        }
        match out {
            Some(out) => Ok(out),
            None => {
                let zeros = self.zeros_like()?;
                zeros.diagonal(0, -2, -1)?.fill_(1)?;
                Ok(zeros)
            }
        }
    }
}

/// The matrices transposed: the last two axes exchanged.
#[track_caller]
fn mt(x: &Tensor) -> Result<Tensor> {
    x.transpose(-2, -1)
}

/// Ones on the diagonals of matrices of `n` columns and as many rows, in the dtype and on the device of `like`.
fn eye(like: &Tensor, n: usize) -> Tensor {
    Tensor::eye_with(n, n, like)
}

/// Batch axes of two operands made equal, the matrix axes left alone.
#[track_caller]
fn broadcast_batches(op: &'static str, a: &Tensor, b: &Tensor) -> Result<(Tensor, Tensor)> {
    let (sa, sb) = (a.shape(), b.shape());
    let (ra, rb) = (sa.rank(), sb.rank());
    if ra < 2 || rb < 2 {
        return Err(Error::shape(
            op,
            format!("expected matrices with at least 2 dimensions, got {sa:?} and {sb:?}"),
        ));
    }
    if sa[..ra - 2] == sb[..rb - 2] {
        return Ok((a.clone(), b.clone()));
    }
    let batch =
        kiln_ops::broadcast_shapes(op, &Shape::new(&sa[..ra - 2]), &Shape::new(&sb[..rb - 2])).here()?;
    let whole = |last: &[usize]| -> Shape { batch.iter().chain(last).copied().collect() };
    Ok((a.broadcast_to(whole(&sa[ra - 2..]))?, b.broadcast_to(whole(&sb[rb - 2..]))?))
}

/// Fails with `message` for the first matrix of a batch whose status, which the message gets, is not 0.
#[track_caller]
fn check_info(op: &'static str, info: &kiln_ops::RawTensor, message: impl Fn(i32) -> String) -> Result<()> {
    let host = kiln_ops::to_device(info, kiln_ops::Device::CPU).here()?;
    let status = host.to_vec::<i32>().here()?;
    match status.iter().position(|&i| i != 0) {
        None => Ok(()),
        Some(at) if status.len() == 1 => Err(Error::value(op, message(status[at]))),
        Some(at) => Err(Error::value(op, format!("(Batch element {at}): {}", message(status[at])))),
    }
}
