//! The cross entropy of logits that a product makes.

use crate::ops::softmax::CrossEntropyOptions;
use crate::{Error, Here, Result, Tensor};

impl Tensor {
    /// The cross entropy between the logits `self W^T + b` and `target` (`torch.nn.functional.linear_cross_entropy`).
    ///
    /// Shapes: `[features]` or `[batch, features]`, weight `[classes, positions.., features]`, bias
    /// `[classes, positions..]`; the logits are `[batch, classes, positions..]`.
    ///
    /// # Errors
    /// Shapes that do not fit, and as [`Tensor::cross_entropy`].
    #[track_caller]
    pub fn linear_cross_entropy(
        &self,
        weight: &Tensor,
        target: &Tensor,
        bias: Option<&Tensor>,
        options: &CrossEntropyOptions,
    ) -> Result<Tensor> {
        const OP: &str = "linear_cross_entropy";
        let (own, dims) = (self.dims(), weight.dims());
        let Some((&features, logits)) = dims.split_last().filter(|(_, logits)| !logits.is_empty()) else {
            return Err(Error::shape(
                OP,
                format!("expected a weight [classes, positions.., features], got {dims:?}"),
            ));
        };
        if !(1..=2).contains(&own.len()) {
            return Err(Error::shape(
                OP,
                format!("expected an input [batch, features] or [features], got {own:?}"),
            ));
        }
        if own.last() != Some(&features) {
            return Err(Error::shape(
                OP,
                format!(
                    "expected equal input and linear_weight last dimensions (in_features), got {:?} and {features}, \
                     respectively",
                    own.last()
                ),
            ));
        }
        if let Some(bias) = bias.filter(|b| b.dims() != logits) {
            return Err(Error::shape(
                OP,
                format!("expected a bias of shape {logits:?}, got {:?}", bias.shape()),
            ));
        }
        if own.len() == 1 && logits.len() > 1 {
            return Err(Error::shape(
                OP,
                format!("positions in the weight {dims:?} require a batched input, got unbatched {own:?}"),
            ));
        }
        let outputs: usize = logits.iter().product();
        let bias = bias.map(|b| b.reshape([outputs])).transpose().here()?;
        let shape: Vec<usize> = own[..own.len() - 1].iter().chain(logits).copied().collect();
        self.linear(&weight.reshape([outputs, features])?, bias.as_ref())?
            .reshape(shape.as_slice())?
            .cross_entropy(target, options)
    }
}
