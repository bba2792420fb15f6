//! [`weight_norm`]: length and direction of a weight, learned apart.

use kiln_autograd::{Error, Result, Tensor};

use crate::module::Module;
use crate::parts::{Parts, Training};

use super::parametrize::{Parametrization, Parametrized};

/// `g v / |v|` of the learned lengths `g` and directions `v`: Salimans and Kingma, "Weight normalization" (2016).
pub struct WeightNorm {
    dim: Option<usize>,
    training: Training,
}

impl WeightNorm {
    /// One length for each index of axis `dim`, or one for all.
    pub fn new(dim: impl Into<Option<usize>>) -> WeightNorm {
        WeightNorm { dim: dim.into(), training: Training::default() }
    }

    /// The lengths, with sizes of 1 in the place of the axes that they are taken over.
    #[track_caller]
    fn lengths(&self, v: &Tensor) -> Result<Tensor> {
        let Some(dim) = self.dim else { return v.vector_norm(2.0, &[], false) };
        let axes: Vec<i64> = (0..v.rank()).filter(|axis| *axis != dim).map(|axis| axis as i64).collect();
        // Without other axes every element is a length of its own; no axes would mean all.
        if axes.is_empty() { v.abs() } else { v.vector_norm(2.0, &axes, true) }
    }
}

impl Parametrization for WeightNorm {
    #[track_caller]
    fn compute(&self, originals: &[Tensor]) -> Result<Tensor> {
        let [g, v] = originals else {
            return Err(Error::value("weight_norm", "takes the lengths and the directions"));
        };
        v.mul(&g.div(&self.lengths(v)?)?)
    }

    #[track_caller]
    fn right_inverse(&self, value: &Tensor) -> Result<Vec<Tensor>> {
        Ok(vec![self.lengths(value)?, value.clone()])
    }

    /// As PyTorch saved them before it had parametrizations.
    fn former_names_of(&self, name: &str) -> Vec<(String, String)> {
        let pair =
            |old: &str, i: usize| (format!("{name}_{old}"), format!("parametrizations.{name}.original{i}"));
        vec![pair("g", 0), pair("v", 1)]
    }
}

impl Module for WeightNorm {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
    }

    fn type_name(&self) -> &str {
        "_WeightNorm"
    }
}

/// The layer with a weight of which length and direction are learned apart, one length for each output channel
/// (`torch.nn.utils.parametrizations.weight_norm`). [`Parametrized::remove`] gives the plain layer back. State dicts of the
/// former kind, with `weight_g` and `weight_v`, are loaded too.
///
/// ```
/// use kiln_nn::{Forward, Linear, Module, Tensor, utils};
/// let layer = utils::weight_norm(Linear::new(20, 40))?;
/// assert_eq!(layer.originals("weight")?[0].dims(), [40, 1]);
/// let names: Vec<String> = layer.state_dict().keys().map(str::to_owned).collect();
/// assert_eq!(names, ["bias", "parametrizations.weight.original0", "parametrizations.weight.original1"]);
/// layer.forward(&Tensor::ones([1, 20]))?.sum()?.backward()?;
/// let plain: Linear = layer.remove()?;
/// assert_eq!(plain.weight.dims(), [40, 20]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
///
/// # Errors
/// The layer has no parameter `weight` of its own.
#[track_caller]
pub fn weight_norm<L: Module>(layer: L) -> Result<Parametrized<L>> {
    weight_norm_with(layer, "weight", 0)
}

/// [`weight_norm`] of another parameter, with a length for each index of another axis or, for `None`, one for all.
///
/// # Errors
/// The layer has no such parameter of its own, or this has no such axis.
#[track_caller]
pub fn weight_norm_with<L: Module>(
    layer: L,
    name: &str,
    dim: impl Into<Option<usize>>,
) -> Result<Parametrized<L>> {
    let dim = dim.into();
    let rank = super::parametrize::own_parameter(&layer, name).map(Tensor::rank);
    if let (Some(dim), Some(rank)) = (dim, rank)
        && dim >= rank
    {
        let text = format!("Dimension out of range (expected to be in range of [0, {rank}) but got {dim})");
        return Err(Error::index("weight_norm", text));
    }
    Parametrized::new(layer).register(name, WeightNorm::new(dim))
}
