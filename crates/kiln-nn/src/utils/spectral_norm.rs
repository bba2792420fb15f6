//! [`spectral_norm`]: a weight whose largest singular value is 1.

use kiln_autograd::{Error, Here, Result, Tensor, no_grad};

use crate::draw;
use crate::module::{Forward, Module};
use crate::parts::{Buffer, Parts, Training};

use super::parametrize::{Parametrized, own_parameter};

/// Settings of [`spectral_norm_with`]; the defaults are PyTorch's.
#[derive(Clone, Debug)]
pub struct SpectralNormOptions {
    /// Which parameter.
    pub name: String,
    /// How often the singular vectors are improved in each pass while training.
    pub n_power_iterations: usize,
    /// The least length that vectors are divided by.
    pub eps: f64,
    /// The axis that stays when the weight is seen as a matrix: by default 1 for transposed convolutions, else 0.
    pub dim: Option<usize>,
}

impl Default for SpectralNormOptions {
    fn default() -> SpectralNormOptions {
        SpectralNormOptions { name: "weight".to_owned(), n_power_iterations: 1, eps: 1e-12, dim: None }
    }
}

/// A weight divided by its largest singular value, which the power method follows while training: Miyato et al., "Spectral
/// normalization for generative adversarial networks" (2018).
pub struct SpectralNorm {
    u: Option<Buffer>,
    v: Option<Buffer>,
    dim: usize,
    iterations: usize,
    eps: f64,
    training: Training,
}

/// Steps of the power method at the start.
const FIRST_ITERATIONS: usize = 15;

impl SpectralNorm {
    /// For a weight of these numbers. Singular vectors start from normal numbers of the default stream.
    ///
    /// # Errors
    /// The weight has no axis `dim`, or there are no iterations.
    #[track_caller]
    pub fn new(weight: &Tensor, dim: usize, n_power_iterations: usize, eps: f64) -> Result<SpectralNorm> {
        const OP: &str = "spectral_norm";
        let rank = weight.rank();
        if dim >= rank {
            let text =
                format!("Dimension out of range (expected to be in range of [0, {rank}) but got {dim})");
            return Err(Error::index(OP, text));
        }
        if n_power_iterations == 0 {
            let text = "Expected n_power_iterations to be positive, but got n_power_iterations=0";
            return Err(Error::value(OP, text));
        }
        let training = Training::default();
        let mut norm = SpectralNorm { u: None, v: None, dim, iterations: n_power_iterations, eps, training };
        if rank > 1 {
            let matrix = norm.matrix(&weight.detach())?;
            let (u, v) = (first(&matrix, 0, eps)?, first(&matrix, 1, eps)?);
            norm.improve(&matrix, &u, &v, FIRST_ITERATIONS)?;
            (norm.u, norm.v) = (Some(u), Some(v));
        }
        Ok(norm)
    }

    /// The weight with `dim` as its first axis and all others as the second.
    #[track_caller]
    fn matrix(&self, weight: &Tensor) -> Result<Tensor> {
        let front = weight.movedim(&[self.dim as i64], &[0])?;
        front.flatten(1, -1)
    }

    /// Brings the vectors nearer to the first singular ones, in place.
    #[track_caller]
    fn improve(&self, matrix: &Tensor, u: &Tensor, v: &Tensor, steps: usize) -> Result<()> {
        no_grad(|| {
            for _ in 0..steps {
                u.copy_(&matrix.mv(v)?.normalize(2.0, &[0], self.eps)?)?;
                v.copy_(&matrix.t()?.mv(u)?.normalize(2.0, &[0], self.eps)?)?;
            }
            Ok(())
        })
        .here()
    }
}

/// A first vector of length 1 for an axis of the matrix.
#[track_caller]
fn first(matrix: &Tensor, axis: i64, eps: f64) -> Result<Buffer> {
    let drawn = draw::zeros(&[matrix.size(axis)?].into(), matrix.dtype())?;
    no_grad(|| {
        drawn.normal_(0.0, 1.0)?;
        Ok(Buffer::new(drawn.normalize(2.0, &[0], eps)?.to_device(matrix.device())?))
    })
    .here()
}

impl Module for SpectralNorm {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
        parts.add("_u", &self.u);
        parts.add("_v", &self.v);
    }

    fn type_name(&self) -> &str {
        "_SpectralNorm"
    }
}

impl Forward for SpectralNorm {
    #[track_caller]
    fn forward(&self, weight: &Tensor) -> Result<Tensor> {
        let (Some(u), Some(v)) = (&self.u, &self.v) else {
            return weight.normalize(2.0, &[0], self.eps);
        };
        let matrix = self.matrix(weight)?;
        if self.training.get() {
            self.improve(&matrix.detach(), u, v, self.iterations)?;
        }
        // The next pass changes the vectors; this one's derivative needs them as they are.
        let (u, v) = no_grad(|| Ok::<_, Error>((u.copy()?, v.copy()?))).here()?;
        weight.div(&u.dot(&matrix.mv(&v)?)?)
    }
}

/// The layer with its weight divided by the weight's largest singular value
/// (`torch.nn.utils.parametrizations.spectral_norm`). [`Parametrized::remove`] gives the plain layer back.
///
/// ```
/// use kiln_nn::{Linear, Module, utils};
/// let layer = utils::spectral_norm(Linear::new(20, 40))?;
/// let names: Vec<String> = layer.state_dict().keys().skip(1).map(str::to_owned).collect();
/// let expected = ["original", "0._u", "0._v"].map(|name| format!("parametrizations.weight.{name}"));
/// assert_eq!(names, expected);
/// for _ in 0..100 {
///     layer.layer()?; // Each pass improves the singular vectors.
/// }
/// let largest = layer.get("weight")?.svdvals()?.to_vec::<f32>()?[0];
/// assert!((largest - 1.0).abs() < 1e-3, "{largest}");
/// # Ok::<(), kiln_nn::Error>(())
/// ```
///
/// # Errors
/// The layer has no parameter `weight` of its own.
#[track_caller]
pub fn spectral_norm<L: Module>(layer: L) -> Result<Parametrized<L>> {
    spectral_norm_with(layer, &SpectralNormOptions::default())
}

/// [`spectral_norm`] with settings.
///
/// # Errors
/// The layer has no such parameter of its own, or this has no such axis; there are no iterations.
#[track_caller]
pub fn spectral_norm_with<L: Module>(layer: L, options: &SpectralNormOptions) -> Result<Parametrized<L>> {
    let Some(weight) = own_parameter(&layer, &options.name).cloned() else {
        let text = format!("{} has no parameter {} of its own", layer.type_name(), options.name);
        return Err(Error::value("spectral_norm", text));
    };
    let transposed = layer.type_name().starts_with("ConvTranspose");
    let dim = options.dim.unwrap_or(usize::from(transposed));
    let norm = SpectralNorm::new(&weight, dim, options.n_power_iterations, options.eps)?;
    Parametrized::new(layer).register(&options.name, norm)
}
