//! [`AdaptiveLogSoftmaxWithLoss`].

use kiln_autograd::{DType, Device, Error, Here, Result, Tensor, kiln_ops};

use crate::containers::Sequential;
use crate::draw::{Fault, checked};
use crate::linear::Linear;
use crate::module::{Forward, Module};
use crate::parts::Parts;
use crate::print::print_as_module;

const OP: &str = "AdaptiveLogSoftmaxWithLoss";

/// A log-softmax over very many classes, sorted by how frequent they are: the rare ones lie in clusters, whose logits are
/// only computed where a target lies there. Grave et al., "Efficient softmax approximation for GPUs" (2016).
///
/// Shapes: `[n, in_features]` and classes `[n]`, or without `n`.
pub struct AdaptiveLogSoftmaxWithLoss {
    head: Linear,
    tail: Vec<Sequential>,
    /// The end of each cluster, the number of classes last.
    cutoffs: Vec<usize>,
    fault: Fault,
}

impl AdaptiveLogSoftmaxWithLoss {
    /// A layer whose clusters start at the `cutoffs`, with PyTorch's numbers: each cluster has a quarter of the features of
    /// the one before, and the head has no bias.
    pub fn new(in_features: usize, n_classes: usize, cutoffs: &[usize]) -> AdaptiveLogSoftmaxWithLoss {
        AdaptiveLogSoftmaxWithLoss::with(in_features, n_classes, cutoffs, 4.0, false)
    }

    /// A layer whose clusters have `1 / div_value` of the features of the one before.
    pub fn with(
        in_features: usize,
        n_classes: usize,
        cutoffs: &[usize],
        div_value: f64,
        head_bias: bool,
    ) -> AdaptiveLogSoftmaxWithLoss {
        let mut fault = Fault::default();
        let rising = cutoffs.windows(2).all(|w| w[0] < w[1]);
        let inside = cutoffs.iter().all(|c| (1..n_classes).contains(c));
        if cutoffs.is_empty() || !rising || !inside {
            fault.note(
                OP,
                format!(
                    "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each \
                     value is between 1 and n_classes-1, got {cutoffs:?} for {n_classes} classes"
                ),
            );
            let (head, cutoffs) = (Linear::new(0, 0).bias(false), Vec::new());
            return AdaptiveLogSoftmaxWithLoss { head, tail: Vec::new(), cutoffs, fault };
        }
        let cutoffs: Vec<usize> = cutoffs.iter().copied().chain([n_classes]).collect();
        let head = Linear::new(in_features, cutoffs[0] + cutoffs.len() - 1).bias(head_bias);
        let tail = cutoffs.windows(2).enumerate().map(|(i, ends)| {
            let features = (in_features as f64 / power(div_value, i + 1)).floor() as usize;
            let project = Linear::new(in_features, features).bias(false);
            Sequential::new().add(project).add(Linear::new(features, ends[1] - ends[0]).bias(false))
        });
        let tail = tail.collect();
        AdaptiveLogSoftmaxWithLoss { head, tail, cutoffs, fault }
    }

    /// The log probability of each target, and the negative of their mean: the loss.
    ///
    /// # Errors
    /// Shapes that do not fit, a class out of range.
    #[track_caller]
    pub fn forward(&self, input: &Tensor, target: &Tensor) -> Result<(Tensor, Tensor)> {
        self.check()?;
        let (x, y) = (input.dims(), target.dims());
        let fits = match (x.len(), y.len()) {
            (2, 1) => x[0] == y[0],
            (1, 0) => true,
            _ => false,
        };
        if !fits {
            return Err(Error::shape(
                OP,
                format!(
                    "expected inputs [n, features] and classes [n], or both without n, got {x:?} and {y:?}"
                ),
            ));
        }
        let input = if y.is_empty() { input.unsqueeze(0)? } else { input.clone() };
        let classes = target.reshape([-1])?.to_dtype(DType::I64)?.to_vec::<i64>()?;
        let last = self.cutoffs[self.cutoffs.len() - 1];
        if let Some(class) = classes.iter().find(|c| !(0..last as i64).contains(*c)) {
            return Err(Error::index(
                OP,
                format!("Target values should be in [0, {}], but {class} was found", last - 1),
            ));
        }
        let on_device = |values: Vec<i64>| -> Result<Tensor> {
            let n = values.len();
            Tensor::from_vec(values, [n])?.to_device(input.device())
        };
        let zeros = kiln_ops::full(&[classes.len()].into(), 0.into(), input.dtype(), Device::CPU).here()?;
        let mut output = Tensor::from_raw(zeros).to_device(input.device())?;
        let mut in_head = classes.clone();
        for (i, ends) in self.cutoffs.windows(2).enumerate() {
            let inside = ends[0] as i64..ends[1] as i64;
            let rows: Vec<i64> =
                (0..classes.len()).filter(|&r| inside.contains(&classes[r])).map(|r| r as i64).collect();
            if rows.is_empty() {
                continue;
            }
            let within = rows.iter().map(|&r| classes[r as usize] - inside.start).collect();
            rows.iter().for_each(|&r| in_head[r as usize] = (self.cutoffs[0] + i) as i64);
            let rows = on_device(rows).here()?;
            let logits = self.tail[i].forward(&input.index_select(0, &rows)?)?;
            let local = logits.log_softmax(1)?.gather(1, &on_device(within).here()?.unsqueeze(1)?)?;
            output = output.index_add(0, &rows, &local.squeeze_axis(1)?)?;
        }
        let head = self.head.forward(&input)?.log_softmax(1)?;
        let output =
            output.add(&head.gather(1, &on_device(in_head).here()?.unsqueeze(1)?)?.squeeze_axis(1)?)?;
        let loss = output.neg()?.mean()?;
        Ok((if y.is_empty() { output.squeeze_axis(0)? } else { output }, loss))
    }

    /// The log probabilities of all classes: `[n, in_features] -> [n, classes]`.
    ///
    /// # Errors
    /// Another shape.
    #[track_caller]
    pub fn log_prob(&self, input: &Tensor) -> Result<Tensor> {
        self.check()?;
        let head = self.head.forward(input)?.log_softmax(1)?;
        let short = self.cutoffs[0] as i64;
        let mut parts = vec![head.narrow(1, 0, short)?];
        for (i, tail) in self.tail.iter().enumerate() {
            let cluster = head.narrow(1, short + i as i64, 1)?;
            parts.push(tail.forward(input)?.log_softmax(1)?.add(&cluster)?);
        }
        Tensor::cat(&parts.iter().collect::<Vec<_>>(), 1)
    }

    /// The most likely class of each input: `[n, in_features] -> [n]`.
    ///
    /// # Errors
    /// Another shape.
    #[track_caller]
    pub fn predict(&self, input: &Tensor) -> Result<Tensor> {
        self.log_prob(input)?.max_axis(1, false).map(|(_, classes)| classes)
    }
}

/// A power by multiplication, in one order.
fn power(base: f64, exponent: usize) -> f64 {
    (0..exponent).fold(1.0, |power, _| power * base)
}

impl Module for AdaptiveLogSoftmaxWithLoss {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("head", &self.head);
        parts.add("tail", &self.tail);
    }
}

checked!(AdaptiveLogSoftmaxWithLoss);
print_as_module!(AdaptiveLogSoftmaxWithLoss);
