//! Products of matrices and vectors.

use kiln_ops::matmul as m;

use crate::record::record;
use crate::{Here, Result, Tensor, autocast};

impl Tensor {
    /// The matrix product by PyTorch's rules: vectors are rows on the left and columns on the right, leading axes are
    /// batches and broadcast (`torch.matmul`).
    ///
    /// Shapes: `[m, k] x [k, n] -> [m, n]`, `[b.., m, k] x [b.., k, n] -> [b.., m, n]`, `[k] x [k] -> []`.
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// let a = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// let b = Tensor::from_vec(vec![1.0f32, 1.0], [2])?;
    /// assert_eq!(a.matmul(&b)?.to_vec::<f32>()?, [3.0, 7.0]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A zero-dimensional operand, inner sizes that differ, batch axes that do not broadcast, different dtypes or
    /// devices.
    #[track_caller]
    pub fn matmul(&self, other: &Tensor) -> Result<Tensor> {
        if let Some(cast) = autocast::lower() {
            return cast.of(self)?.matmul(&cast.of(other)?);
        }
        let y = m::matmul(&self.raw(), &other.raw()).here()?;
        let (ra, rb) = (self.rank(), other.rank());
        let name = match (ra, rb) {
            (1, 1) => "DotBackward0",
            (2, 1) => "MvBackward0",
            (2, 2) => "MmBackward0",
            (3, 3) => "BmmBackward0",
            _ => "UnsafeViewBackward0",
        };
        Ok(record(name, y)
            .input(self, || {
                let b = other.save();
                move |g: &Tensor| left_gradient(g, &b.get()?, ra)
            })
            .input(other, || {
                let a = self.save();
                move |g: &Tensor| right_gradient(g, &a.get()?, rb)
            })
            .done())
    }

    /// `[m, k] x [k, n] -> [m, n]` (`torch.mm`).
    ///
    /// # Errors
    /// As [`Tensor::matmul`]; operands that are not matrices.
    #[track_caller]
    pub fn mm(&self, other: &Tensor) -> Result<Tensor> {
        checked("mm", self, other, 2, 2)?;
        self.matmul(other)
    }

    /// `[b, m, k] x [b, k, n] -> [b, m, n]` (`torch.bmm`).
    ///
    /// # Errors
    /// As [`Tensor::matmul`]; operands that are not batches of matrices of one size.
    #[track_caller]
    pub fn bmm(&self, other: &Tensor) -> Result<Tensor> {
        checked("bmm", self, other, 3, 3)?;
        if self.shape()[0] != other.shape()[0] {
            return Err(crate::Error::shape(
                "bmm",
                format!("the batches of {:?} and {:?} differ", self.shape(), other.shape()),
            ));
        }
        self.matmul(other)
    }

    /// `[m, k] x [k] -> [m]` (`torch.mv`).
    ///
    /// # Errors
    /// As [`Tensor::matmul`]; operands that are not a matrix and a vector.
    #[track_caller]
    pub fn mv(&self, other: &Tensor) -> Result<Tensor> {
        // PyTorch lists neither this nor its kin for the lower precision.
        let _as_it_is = autocast::suspend();
        checked("mv", self, other, 2, 1)?;
        self.matmul(other)
    }

    /// The sum of the products of two vectors (`torch.dot`).
    ///
    /// # Errors
    /// As [`Tensor::matmul`]; operands that are not vectors.
    #[track_caller]
    pub fn dot(&self, other: &Tensor) -> Result<Tensor> {
        // PyTorch lists neither this nor its kin for the lower precision.
        let _as_it_is = autocast::suspend();
        checked("dot", self, other, 1, 1)?;
        self.matmul(other)
    }

    /// `x W^T + bias`, one kernel (`torch.nn.functional.linear`).
    ///
    /// Shapes: x `[.., in]`, weight `[out, in]`, bias `[out]` -> `[.., out]`; a weight `[in]` gives `[..]`.
    ///
    /// # Errors
    /// Sizes that do not fit, different dtypes or devices.
    #[track_caller]
    pub fn linear(&self, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        if let Some(cast) = autocast::lower() {
            return cast.of(self)?.linear(&cast.of(weight)?, cast.opt(bias)?.as_ref());
        }
        if weight.rank() == 1 {
            let y = self.matmul(weight)?;
            return bias.map_or(Ok(y.clone()), |b| y.add(b)).here();
        }
        let y = m::linear(&self.raw(), &weight.raw(), bias.map(|b| b.raw()).as_deref()).here()?;
        let rec = record("AddmmBackward0", y)
            .input(self, || {
                let w = weight.save();
                move |g: &Tensor| g.matmul(&w.get()?)
            })
            .input(weight, || {
                let x = self.save();
                move |g: &Tensor| {
                    let (g, x) = (g.flatten_rows()?, x.get()?.flatten_rows()?);
                    g.t()?.matmul(&x)
                }
            });
        Ok(match bias {
            Some(b) => rec.input_unchanged(b),
            None => rec,
        }
        .done())
    }

    /// All axes but the last one as one.
    #[track_caller]
    fn flatten_rows(&self) -> Result<Tensor> {
        let shape = self.shape();
        if shape.rank() == 2 {
            return Ok(self.clone());
        }
        let last = shape[shape.rank() - 1];
        let rows: usize = shape[..shape.rank() - 1].iter().product();
        self.reshape([rows as i64, last as i64])
    }
}

#[track_caller]
fn checked(op: &'static str, a: &Tensor, b: &Tensor, ra: usize, rb: usize) -> Result<()> {
    if a.rank() == ra && b.rank() == rb {
        return Ok(());
    }
    Err(crate::Error::shape(
        op,
        format!("expects operands of {ra} and {rb} axes, got shapes {:?} and {:?}", a.shape(), b.shape()),
    ))
}

/// The gradient of `a` in `a b`, where `a` has `rank` axes; the engine sums batch axes that were broadcast.
fn left_gradient(g: &Tensor, b: &Tensor, rank: usize) -> Result<Tensor> {
    match (rank, b.rank()) {
        (1, 1) => g.mul(b),
        // A row times matrices: g is [b.., n], b is [b.., k, n].
        (1, _) => b.matmul(&g.unsqueeze(-1)?)?.squeeze_axis(-1),
        // Matrices times a column: g is [b.., m].
        (_, 1) => g.unsqueeze(-1)?.mul(b),
        _ => g.matmul(&b.transpose(-2, -1)?),
    }
}

/// The gradient of `b` in `a b`, where `b` has `rank` axes.
fn right_gradient(g: &Tensor, a: &Tensor, rank: usize) -> Result<Tensor> {
    match (a.rank(), rank) {
        (1, 1) => g.mul(a),
        (1, _) => a.unsqueeze(-1)?.mul(&g.unsqueeze(-2)?),
        (_, 1) => a.transpose(-2, -1)?.matmul(&g.unsqueeze(-1)?)?.squeeze_axis(-1),
        // One matrix for all batches: one product over all rows instead of a sum over batches.
        (_, 2) => a.flatten_rows()?.t()?.matmul(&g.flatten_rows()?),
        _ => a.transpose(-2, -1)?.matmul(g),
    }
}
