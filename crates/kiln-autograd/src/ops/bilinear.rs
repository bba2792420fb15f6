//! Products of two inputs with a weight between them, and distances between all rows.

use crate::{Error, Here, Result, Tensor, autocast};

impl Tensor {
    /// `x1 A x2 + b` for every output (`torch.nn.functional.bilinear`).
    ///
    /// Shapes: `[.., in1]`, `other` `[.., in2]`, weight `[out, in1, in2]`, bias `[out]` `-> [.., out]`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    #[track_caller]
    pub fn bilinear(&self, other: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let _as_it_is = autocast::suspend();
        const OP: &str = "bilinear";
        let (x, y) = (self.dims(), other.dims());
        let &[out, left, right] = weight.dims().as_slice() else {
            return Err(Error::shape(
                OP,
                format!("expected a weight [out, in1, in2], got {:?}", weight.shape()),
            ));
        };
        let leads = (x.split_last(), y.split_last());
        let (Some((a, lead)), Some((b, other_lead))) = leads else {
            return Err(Error::shape(OP, "the operands need at least one axis"));
        };
        if lead != other_lead || *a != left || *b != right {
            return Err(Error::shape(
                OP,
                format!("inputs {x:?} and {y:?} do not fit the weight {:?}", weight.shape()),
            ));
        }
        if let Some(bias) = bias.filter(|bias| bias.dims() != [out]) {
            return Err(Error::shape(OP, format!("expected a bias [{out}], got {:?}", bias.shape())));
        }
        let rows: usize = lead.iter().product();
        let weight = weight.permute(&[1, 0, 2])?.reshape([left, out * right])?;
        let mixed = self.reshape([rows, left])?.matmul(&weight)?.reshape([rows, out, right])?;
        let product = mixed.mul(&other.reshape([rows, 1, right])?)?;
        // Sums of integers would be wider.
        let y = product.sum_axes(&[2], false)?.to_dtype(product.dtype())?;
        let y = match bias {
            Some(bias) => y.add(bias)?,
            None => y,
        };
        let shape: Vec<usize> = lead.iter().copied().chain([out]).collect();
        y.reshape(shape.as_slice())
    }

    /// The `p`-norms of the differences of all pairs of rows, the first row's pairs first (`torch.nn.functional.pdist`).
    ///
    /// Shapes: `[n, m] -> [n (n - 1) / 2]`.
    ///
    /// # Errors
    /// Not two axes, a negative `p`, integers.
    #[track_caller]
    pub fn pdist(&self, p: f64) -> Result<Tensor> {
        const OP: &str = "pdist";
        crate::ops::compose::need_float(OP, &[self])?;
        let &[rows, _] = self.dims().as_slice() else {
            return Err(Error::shape(OP, format!("pdist only supports 2D tensors, got: {:?}", self.shape())));
        };
        if p < 0.0 || p.is_nan() {
            return Err(Error::value(OP, format!("pdist only supports non-negative p values, got {p}")));
        }
        let pairs = || (0..rows as i64).flat_map(|i| (i + 1..rows as i64).map(move |j| (i, j)));
        let (first, second): (Vec<i64>, Vec<i64>) = pairs().unzip();
        let pick = |rows: Vec<i64>| {
            let n = rows.len();
            self.index_select(0, &Tensor::from_vec(rows, [n])?.to_device(self.device())?)
        };
        let difference = pick(first).here()?.sub(&pick(second).here()?)?;
        if difference.numel() == 0 {
            return difference.sum_axes(&[1], false);
        }
        difference.vector_norm(p, &[1], false)
    }
}
