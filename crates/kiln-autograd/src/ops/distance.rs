//! Distances between points.

use kiln_ops::Shape;

use crate::collect::Collect;
use crate::ops::compose::need_float;
use crate::{Error, Here, Result, Tensor, autocast};

impl Tensor {
    /// The `p`-distances between the rows of this matrix and those of `other`: `[.., p, m]` and `[.., r, m]` give
    /// `[.., p, r]`; leading axes broadcast (`torch.cdist`). Where a distance is 0, so is the gradient.
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// let a = Tensor::from_vec(vec![0.0f32, 0.0, 3.0, 4.0], [2, 2])?;
    /// assert_eq!(a.cdist(&a, 2.0)?.to_vec::<f32>()?, [0.0, 5.0, 5.0, 0.0]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Integers; fewer than two axes; rows of different lengths; a negative `p`.
    #[track_caller]
    pub fn cdist(&self, other: &Tensor, p: f64) -> Result<Tensor> {
        if let Some(cast) = autocast::full() {
            return cast.of(self)?.cdist(&cast.of(other)?, p);
        }
        const OP: &str = "cdist";
        need_float(OP, &[self, other])?;
        let wrong = |what: String| Err(Error::shape(OP, what));
        if self.rank() < 2 || other.rank() < 2 {
            return wrong(format!(
                "cdist only supports at least 2D tensors, got {:?} and {:?}",
                self.shape(),
                other.shape()
            ))
            .here();
        }
        let (m, columns) = (self.size(-1)?, other.size(-1)?);
        if m != columns {
            return wrong(format!("X1 and X2 must have the same number of columns. X1: {m} X2: {columns}"))
                .here();
        }
        if p.is_nan() || p < 0.0 {
            return Err(Error::value(OP, format!("cdist only supports non-negative p values, got {p}")));
        }
        let (rows, others) = (self.size(-2)?, other.size(-2)?);
        // Many distances of length 2 come from a matrix product, as in PyTorch.
        if p == 2.0 && (rows > 25 || others > 25) {
            return self.euclidean(other);
        }
        let far = other.unsqueeze(-3)?;
        if m == 0 {
            return self.unsqueeze(-2)?.sub(&far)?.sum_axes(&[-1], false);
        }
        // The differences of some rows at a time, so that there are not too many at once.
        const AT_ONCE: usize = 1 << 24;
        let batch = |t: &Tensor| Shape::new(&t.dims()[..t.rank() - 2]);
        let batches = kiln_ops::broadcast_shapes(OP, &batch(self), &batch(other)).here()?.numel();
        let each = batches.saturating_mul(others).saturating_mul(m).max(1);
        let step = (AT_ONCE / each).clamp(1, rows.max(1));
        let pieces = (0..rows.max(1))
            .step_by(step)
            .map(|start| {
                let some = self.narrow(-2, start as i64, step.min(rows - start) as i64)?;
                some.unsqueeze(-2)?.sub(&far)?.vector_norm(p, &[-1], false)
            })
            .all_ok()
            .here()?;
        if let [one] = &pieces[..] {
            Ok(one.clone())
        } else {
            Tensor::cat(&pieces.iter().collect::<Vec<_>>(), -2)
        }
    }

    /// Lengths of differences as `sqrt(|a|^2 - 2 a b + |b|^2)`, all from one product.
    #[track_caller]
    fn euclidean(&self, other: &Tensor) -> Result<Tensor> {
        let squares = |t: &Tensor| t.square()?.sum_axes(&[-1], true);
        let (a, b) = (squares(self).here()?, squares(other).here()?);
        let left = Tensor::cat(&[&self.mul(-2.0)?, &a, &a.ones_like()?], -1)?;
        let right = Tensor::cat(&[other, &b.ones_like()?, &b], -1)?;
        let square = left.matmul(&right.transpose(-2, -1)?)?.clamp_min(0.0)?;
        // The length 0 has the slope 0 and not the root's.
        let zero = square.detach().eq(0.0)?;
        square.masked_fill(&zero, 1.0)?.sqrt()?.masked_fill(&zero, 0.0)
    }
}
