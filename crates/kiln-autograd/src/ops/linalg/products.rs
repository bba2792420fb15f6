//! Products of vectors and powers of their elements.

use kiln_ops::{DType, resolve_axis};

use crate::ops::compose::rounded_once;
use crate::{Error, Here, Result, Tensor};

impl Tensor {
    /// The cross product of vectors of three elements along `axis`, with broadcasting (`torch.linalg.cross`).
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32, 0.0, 0.0], [3])?;
    /// let y = Tensor::from_vec(vec![0.0f32, 1.0, 0.0], [3])?;
    /// assert_eq!(x.cross(&y, -1)?.to_vec::<f32>()?, [0.0, 0.0, 1.0]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Different ranks; an axis out of range, or of another size; shapes that do not broadcast.
    #[track_caller]
    pub fn cross(&self, other: &Tensor, axis: i64) -> Result<Tensor> {
        const OP: &str = "linalg.cross";
        if self.rank() != other.rank() {
            return Err(Error::shape(
                OP,
                format!(
                    "inputs must have the same number of dimensions, got {:?} and {:?}",
                    self.shape(),
                    other.shape()
                ),
            ));
        }
        let at = resolve_axis(OP, axis, self.rank()).here()?;
        let (a, b) = (self.shape()[at], other.shape()[at]);
        if a != 3 || b != 3 {
            return Err(Error::shape(
                OP,
                format!("inputs dimension {axis} must have length 3. Got {a} and {b}"),
            ));
        }
        let at = at as i64;
        let turn = |t: &Tensor, by: i64| t.roll(&[by], &[at]);
        rounded_once([self, other], &|[a, b]| {
            turn(a, -1)?.mul(&turn(b, 1)?)?.sub(&turn(a, 1)?.mul(&turn(b, -1)?)?)
        })
    }

    /// The powers 0, 1, .. `n - 1` of the elements of vectors along a new last axis; by default as many as the vectors
    /// have elements (`torch.linalg.vander`). Integers and truth values give int64.
    ///
    /// # Errors
    /// A 0-dim tensor without an `n`; an `n` below 2.
    #[track_caller]
    pub fn vander(&self, n: Option<usize>) -> Result<Tensor> {
        const OP: &str = "linalg.vander";
        let x = if self.rank() == 0 { self.unsqueeze(0)? } else { self.clone() };
        let n = match n {
            Some(n) => n,
            None => x.size(-1)?,
        };
        if n < 2 {
            return Err(Error::value(OP, format!("N must be greater than 1, got {n}")));
        }
        let x = if x.dtype().is_float() { x } else { x.to_dtype(DType::I64)? };
        let column = x.unsqueeze(-1)?;
        let sizes: Vec<usize> = x.dims().into_iter().chain([n - 1]).collect();
        Tensor::cat(&[&column.ones_like()?, &column.broadcast_to(sizes)?.cumprod(-1)?], -1)
    }

    /// The product of matrices in the order that takes the fewest multiplications; the first and the last may be vectors
    /// (`torch.linalg.multi_dot`).
    ///
    /// # Errors
    /// Fewer than two operands; other ranks; sizes or dtypes that do not fit.
    #[track_caller]
    pub fn multi_dot(tensors: &[&Tensor]) -> Result<Tensor> {
        const OP: &str = "linalg.multi_dot";
        let count = tensors.len();
        if count < 2 {
            return Err(Error::value(OP, format!("expected at least 2 tensors but got {count}")));
        }
        for (i, t) in tensors.iter().enumerate() {
            let ends = i == 0 || i + 1 == count;
            if t.rank() != 2 && !(ends && t.rank() == 1) {
                return Err(Error::shape(
                    OP,
                    format!("tensor {i} must be a matrix, got shape {:?}", t.shape()),
                ));
            }
        }
        // Vectors at the ends make every other order dearer than going from them.
        if tensors[0].rank() == 1 {
            return tensors[1..].iter().try_fold(tensors[0].clone(), |product, t| product.matmul(t)).here();
        }
        if tensors[count - 1].rank() == 1 {
            let (last, before) = tensors.split_last().expect("two or more");
            return before.iter().rev().try_fold((*last).clone(), |product, t| t.matmul(&product)).here();
        }
        let mut sizes = Vec::with_capacity(count + 1);
        for t in tensors {
            sizes.push(t.size(-2)? as f64);
        }
        sizes.push(tensors[count - 1].size(-1)? as f64);
        // cuts[i][j]: where the product of i..=j is cut (Cormen et al., "Introduction to Algorithms", 15.2).
        let (mut costs, mut cuts) = (vec![vec![0.0; count]; count], vec![vec![0; count]; count]);
        for length in 1..count {
            for i in 0..count - length {
                let j = i + length;
                costs[i][j] = f64::INFINITY;
                for cut in i..j {
                    let cost = costs[i][cut] + costs[cut + 1][j] + sizes[i] * sizes[cut + 1] * sizes[j + 1];
                    if cost < costs[i][j] {
                        (costs[i][j], cuts[i][j]) = (cost, cut);
                    }
                }
            }
        }
        chain(tensors, &cuts, 0, count - 1)
    }
}

#[track_caller]
fn chain(tensors: &[&Tensor], cuts: &[Vec<usize>], i: usize, j: usize) -> Result<Tensor> {
    if i == j {
        return Ok(tensors[i].clone());
    }
    let cut = cuts[i][j];
    chain(tensors, cuts, i, cut)?.matmul(&chain(tensors, cuts, cut + 1, j)?)
}
