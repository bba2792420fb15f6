//! The exponential of matrices.

use kiln_ops::{DType, linalg as l};

use super::mt;
use crate::record::record;
use crate::{Here, Result, Tensor, autocast, no_grad};

/// Terms of the power series: the rest is below 1e-22 for matrices of norm 1/2.
const TERMS: i32 = 18;

impl Tensor {
    /// The sum of `A^k / k!` over all k from 0 on, for square matrices (`torch.matrix_exp`, `torch.linalg.matrix_exp`).
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// let a = Tensor::from_vec(vec![0.0f32, 2.0, 0.0, 0.0], [2, 2])?;
    /// assert_eq!(a.matrix_exp()?.to_vec::<f32>()?, [1.0, 2.0, 0.0, 1.0]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Matrices that are not square.
    #[track_caller]
    pub fn matrix_exp(&self) -> Result<Tensor> {
        let _as_it_is = autocast::suspend();
        l::check_square("linalg.matrix_exp", &self.raw()).here()?;
        let y = no_grad(|| series(&self.detach())).here()?.raw().clone();
        Ok(record("LinalgMatrixExpBackward0", y)
            .input(self, || {
                let a = self.save();
                move |g: &Tensor| {
                    // The upper right block of exp([[A^T, g], [0, A^T]]) (Mathias, "A chain rule for matrix functions",
                    // 1996).
                    let t = mt(&a.get()?)?;
                    let n = t.size(-1)? as i64;
                    let upper = Tensor::cat(&[&t, g], -1)?;
                    let lower = Tensor::cat(&[&t.zeros_like()?, &t], -1)?;
                    let whole = Tensor::cat(&[&upper, &lower], -2)?.matrix_exp()?;
                    whole.narrow(-2, 0, n)?.narrow(-1, n, n)
                }
            })
            .done())
    }
}

/// The power series of the matrix over a power of two, squared as often.
#[track_caller]
fn series(a: &Tensor) -> Result<Tensor> {
    let n = a.size(-1)?;
    if a.numel() == 0 {
        return a.copy();
    }
    let x = a.to_dtype(DType::F64)?;
    let norm = x.abs()?.sum_axes(&[-1], true)?.amax(&[-2], true)?;
    // Norms that are not finite give what is not finite, after no squaring at all.
    let fine = norm.isfinite()?;
    let doublings =
        norm.log2()?.ceil()?.add(1.0)?.clamp(0.0, 1100.0)?.masked_fill(&fine.logical_not()?, 0.0)?;
    let x = x.div(&doublings.exp2()?)?;
    let one = super::eye(&x, n);
    let mut y = one.broadcast_to(x.shape())?;
    for k in (1..=TERMS).rev() {
        y = x.matmul(&y)?.div(f64::from(k))?.add(&one)?;
    }
    let most = doublings.amax(&[], false)?.to_f64()? as usize;
    for step in 0..most {
        y = y.matmul(&y)?.where_self(&doublings.gt(step as f64)?, &y)?;
    }
    y.to_dtype(a.dtype())
}
