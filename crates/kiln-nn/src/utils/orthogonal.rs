//! [`orthogonal`]: a weight with orthogonal columns, or rows if it is wide.

use kiln_autograd::{DType, Error, Here, Result, Tensor, no_grad};

use crate::draw;
use crate::module::Module;
use crate::parts::{Buffer, Parts, Training};

use super::parametrize::{Parametrization, Parametrized, own_parameter};

/// How a matrix becomes an orthogonal one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrthogonalMap {
    /// `e^A` of the skew-symmetric `A = X - X^T`.
    MatrixExp,
    /// `(I + A/2) (I - A/2)^-1`.
    Cayley,
    /// A product of Householder's reflections.
    Householder,
}

/// A matrix, or a batch of them, with orthogonal columns, or rows if it is wide: Lezcano-Casado, "Trivializations for
/// gradient-based optimization on manifolds" (2019).
pub struct Orthogonal {
    map: OrthogonalMap,
    /// What the result is multiplied by, so that the first weight is near to what it was.
    base: Option<Buffer>,
    training: Training,
}

impl Orthogonal {
    /// For weights of this tensor's shape. With `use_trivialization` the weight starts from the orthogonal matrix near to it;
    /// without, only [`OrthogonalMap::Householder`] can.
    ///
    /// # Errors
    /// No matrices.
    #[track_caller]
    pub fn new(weight: &Tensor, map: OrthogonalMap, use_trivialization: bool) -> Result<Orthogonal> {
        if weight.rank() < 2 {
            let text = format!(
                "Expected a matrix or batch of matrices. Got a tensor of {} dimensions.",
                weight.rank()
            );
            return Err(Error::shape("orthogonal", text));
        }
        let base = use_trivialization.then(|| {
            let mut dims = weight.dims();
            let n = weight.size(-2)?.max(weight.size(-1)?);
            let rank = dims.len();
            dims[rank - 2..].fill(n);
            draw::zeros(&dims.into(), weight.dtype())?.to_device(weight.device()).map(Buffer::new)
        });
        Ok(Orthogonal { map, base: base.transpose()?, training: Training::default() })
    }

    /// An orthogonal matrix from a tall one, without the base.
    #[track_caller]
    fn mapped(&self, x: &Tensor) -> Result<Tensor> {
        let (n, k) = (x.size(-2)?, x.size(-1)?);
        if self.map == OrthogonalMap::Householder {
            let a = x.tril(-1)?;
            let squares = a.mul(&a)?.sum_axes(&[-2], false)?;
            let tau = squares.add(1.0)?.reciprocal()?.mul(2.0)?;
            // Ones and minus ones, which are not learned.
            let signs = x.detach().diagonal(0, -2, -1)?.to_dtype(DType::I32)?.to_dtype(x.dtype())?;
            return a.householder_product(&tau)?.mul(&signs.unsqueeze(-2)?);
        }
        let mut lower = x.tril(0)?;
        if n != k {
            let mut dims = x.dims();
            dims[x.rank() - 1] = n - k;
            let zeros = draw::zeros(&dims.into(), x.dtype())?.to_device(x.device())?;
            lower = Tensor::cat(&[&lower, &zeros], -1)?;
        }
        let skew = lower.sub(&lower.transpose(-2, -1)?)?;
        let q = if self.map == OrthogonalMap::MatrixExp {
            skew.matrix_exp()?
        } else {
            let half = skew.mul(0.5)?;
            let identity = Tensor::eye(n).to_dtype(x.dtype())?.to_device(x.device())?;
            identity.sub(&half)?.solve(&identity.add(&half)?)?
        };
        if n == k { Ok(q) } else { q.narrow(-1, 0, k as i64) }
    }
}

/// The orthogonal factor of a tall matrix, whose triangular one has no negative diagonal.
#[track_caller]
fn made_orthogonal(a: &Tensor) -> Result<Tensor> {
    let (x, tau) = a.geqrf()?;
    let signs = x.diagonal(0, -2, -1)?.sgn()?.unsqueeze(-2)?;
    x.householder_product(&tau)?.mul(&signs)
}

#[track_caller]
fn is_orthogonal(q: &Tensor) -> Result<bool> {
    let (n, k) = (q.size(-2)?, q.size(-1)?);
    let identity = Tensor::eye(k).to_dtype(q.dtype())?.to_device(q.device())?;
    let epsilon = if q.dtype() == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
    let product = q.transpose(-2, -1)?.matmul(q)?;
    product.allclose(&identity.expand(product.shape())?, 1e-5, 10.0 * n as f64 * epsilon, false)
}

/// The tall form of a matrix, and whether that is the transposed one.
#[track_caller]
fn tall(x: &Tensor) -> Result<(Tensor, bool)> {
    let wide = x.size(-2)? < x.size(-1)?;
    Ok((if wide { x.transpose(-2, -1)? } else { x.clone() }, wide))
}

impl Parametrization for Orthogonal {
    #[track_caller]
    fn compute(&self, originals: &[Tensor]) -> Result<Tensor> {
        let [x] = originals else { return Err(Error::value("orthogonal", "takes one tensor")) };
        let (x, wide) = tall(x)?;
        let mut q = self.mapped(&x)?;
        if let Some(base) = &self.base {
            q = base.matmul(&q)?;
        }
        if wide { q.transpose(-2, -1) } else { Ok(q) }
    }

    #[track_caller]
    fn right_inverse(&self, value: &Tensor) -> Result<Vec<Tensor>> {
        let (q, wide) = tall(value)?;
        let (n, k) = (q.size(-2)?, q.size(-1)?);
        let Some(base) = &self.base else {
            if self.map != OrthogonalMap::Householder {
                let text = "It is not possible to assign to the matrix exponential or the Cayley parametrizations when \
                            use_trivialization=False.";
                return Err(Error::value("orthogonal", text));
            }
            let (a, tau) = q.geqrf()?;
            let diagonal = a.diagonal(0, -2, -1)?;
            // A tau of exactly zero is a reflection that was not used.
            let used = tau.ne(0.0)?.to_dtype(a.dtype())?.mul(2.0)?.sub(1.0)?;
            let a = a.diagonal_scatter(&diagonal.sign()?.mul(&used)?, 0, -2, -1)?;
            return Ok(vec![if wide { a.transpose(-2, -1)? } else { a }]);
        };
        let first = if n != k {
            let mut dims = q.dims();
            dims[q.rank() - 1] = n - k;
            let more = draw::zeros(&dims.into(), q.dtype())?;
            more.normal_(0.0, 1.0)?;
            made_orthogonal(&Tensor::cat(&[&q, &more.to_device(q.device())?], -1)?)?
        } else if is_orthogonal(&q)? {
            q
        } else {
            made_orthogonal(&q)?
        };
        no_grad(|| base.copy_(&first)).here()?;
        // With X = -I every reflection turns its own axis round, and the diagonal turns it back.
        let eye = Tensor::eye_rect(value.size(-2)?, value.size(-1)?).neg()?;
        let eye = eye.to_dtype(value.dtype())?.to_device(value.device())?;
        Ok(vec![eye.expand(value.shape())?])
    }
}

impl Module for Orthogonal {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
        parts.add("base", &self.base);
    }

    fn type_name(&self) -> &str {
        "_Orthogonal"
    }
}

/// The layer with a weight whose columns, or rows if it is wide, stay orthogonal
/// (`torch.nn.utils.parametrizations.orthogonal`): by [`OrthogonalMap::MatrixExp`] for square weights, else by
/// [`OrthogonalMap::Householder`].
///
/// ```
/// use kiln_nn::{Linear, Tensor, utils};
/// let layer = utils::orthogonal(Linear::new(20, 40))?;
/// let q = layer.get("weight")?;
/// assert!(q.t()?.matmul(&q)?.allclose(&Tensor::eye(20), 1e-5, 1e-5, false)?);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
///
/// # Errors
/// The layer has no matrix `weight` of its own.
#[track_caller]
pub fn orthogonal<L: Module>(layer: L) -> Result<Parametrized<L>> {
    orthogonal_with(layer, "weight", None, true)
}

/// [`orthogonal`] of another parameter, by this map, with or without a base near to the first weight.
///
/// # Errors
/// The layer has no such matrix of its own.
#[track_caller]
pub fn orthogonal_with<L: Module>(
    layer: L,
    name: &str,
    map: impl Into<Option<OrthogonalMap>>,
    use_trivialization: bool,
) -> Result<Parametrized<L>> {
    let Some(weight) = own_parameter(&layer, name).cloned() else {
        let text = format!("{} has no parameter {name} of its own", layer.type_name());
        return Err(Error::value("orthogonal", text));
    };
    let square = weight.rank() >= 2 && weight.size(-2)? == weight.size(-1)?;
    let usual = if square { OrthogonalMap::MatrixExp } else { OrthogonalMap::Householder };
    let made = Orthogonal::new(&weight, map.into().unwrap_or(usual), use_trivialization)?;
    Parametrized::new(layer).register(name, made)
}
