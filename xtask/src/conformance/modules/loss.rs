//! Losses, and layers of two inputs.

use kiln_nn::*;

use super::call::Call;
use super::layer::{Layer, binary, with};
use crate::conformance::args::{Answer, Out, Stop, missing};
use crate::conformance::table::losses::reduction;
use crate::vectors::Arg;

/// A loss of three tensors.
fn ternary<M: Module>(
    module: M,
    names: [&'static str; 3],
    forward: fn(&M, &Tensor, &Tensor, &Tensor) -> Result<Tensor>,
) -> Answer<Layer> {
    with(module, move |m: &M, given| {
        let [x, y, z] = [0, 1, 2].map(|i| given.tensor(i, names[i]));
        Ok(forward(m, &x?, &y?, &z?)?)
    })
}

type Distance = fn(&Tensor, &Tensor) -> Result<Tensor>;

/// The functions that the recordings use as distances.
fn distance(name: &str) -> Answer<Distance> {
    Ok(match name {
        "pairwise_distance" => |a, b| a.pairwise_distance(b, 2.0, 1e-6, false),
        "l1_distance" => |a, b| a.sub(b)?.abs()?.sum_axes(&[-1], false),
        "cosine_distance" => |a, b| a.cosine_similarity(b, 1, 1e-8)?.rsub(1.0),
        other => return missing(format!("the distance {other}")),
    })
}

const LAST: usize = usize::MAX;

/// The classes of this family. The reduction stands behind the two older options that it replaces.
pub fn build(name: &str, a: &Call<'_>) -> Answer<Layer> {
    let number = |position, names, absent| a.float_or(position, names, absent);
    let how = |position| reduction(a, position);
    macro_rules! weighted {
        ($loss:expr, $($weight:ident $position:expr),+) => {{
            let mut loss = $loss;
            $(if let Some(weight) = a.opt_tensor($position, stringify!($weight))? {
                loss = loss.$weight(weight);
            })+
            loss
        }};
    }
    macro_rules! pair {
        ($layer:ident, $loss:expr) => {
            binary($loss, "target", $layer::forward)
        };
    }
    match name {
        "MSELoss" => pair!(MSELoss, MSELoss::new().reduction(how(2)?)),
        "L1Loss" => pair!(L1Loss, L1Loss::new().reduction(how(2)?)),
        "SmoothL1Loss" => {
            pair!(SmoothL1Loss, SmoothL1Loss::new().reduction(how(2)?).beta(number(3, "beta", 1.0)?))
        }
        "HuberLoss" => pair!(HuberLoss, HuberLoss::new().reduction(how(0)?).delta(number(1, "delta", 1.0)?)),
        "BCELoss" => pair!(BCELoss, weighted!(BCELoss::new(), weight 0).reduction(how(3)?)),
        "BCEWithLogitsLoss" => {
            let loss = weighted!(BCEWithLogitsLoss::new(), weight 0, pos_weight 4);
            pair!(BCEWithLogitsLoss, loss.reduction(how(3)?))
        }
        "CrossEntropyLoss" => {
            let loss = weighted!(CrossEntropyLoss::new(), weight 0);
            let loss = loss.ignore_index(a.int_or(2, "ignore_index", -100)?).reduction(how(4)?);
            pair!(CrossEntropyLoss, loss.label_smoothing(number(5, "label_smoothing", 0.0)?))
        }
        "NLLLoss" => {
            let loss = weighted!(NLLLoss::new(), weight 0);
            pair!(NLLLoss, loss.ignore_index(a.int_or(2, "ignore_index", -100)?).reduction(how(4)?))
        }
        "KLDivLoss" => {
            let loss = KLDivLoss::new().log_target(a.bool_or(3, "log_target", false)?);
            pair!(
                KLDivLoss,
                match a.str_or(2, "reduction", "mean")? {
                    "batchmean" => loss.batch_mean(true),
                    _ => loss.reduction(how(2)?),
                }
            )
        }
        "PoissonNLLLoss" => {
            let loss = PoissonNLLLoss::new().log_input(a.bool_or(0, "log_input", true)?);
            let loss = loss.full(a.bool_or(1, "full", false)?).eps(number(3, "eps", 1e-8)?);
            pair!(PoissonNLLLoss, loss.reduction(how(5)?))
        }
        "GaussianNLLLoss" => {
            let loss = GaussianNLLLoss::new().full(a.bool_or(LAST, "full", false)?);
            let loss = loss.eps(number(LAST, "eps", 1e-6)?).reduction(how(LAST)?);
            ternary(loss, ["input", "target", "var"], GaussianNLLLoss::forward)
        }
        "SoftMarginLoss" => pair!(SoftMarginLoss, SoftMarginLoss::new().reduction(how(2)?)),
        "HingeEmbeddingLoss" => {
            let loss = HingeEmbeddingLoss::new().margin(number(0, "margin", 1.0)?);
            pair!(HingeEmbeddingLoss, loss.reduction(how(3)?))
        }
        "MarginRankingLoss" => {
            let loss = MarginRankingLoss::new().margin(number(0, "margin", 0.0)?).reduction(how(3)?);
            ternary(loss, ["input1", "input2", "target"], MarginRankingLoss::forward)
        }
        "CosineEmbeddingLoss" => {
            let loss = CosineEmbeddingLoss::new().margin(number(0, "margin", 0.0)?).reduction(how(3)?);
            ternary(loss, ["input1", "input2", "target"], CosineEmbeddingLoss::forward)
        }
        "TripletMarginLoss" => {
            let loss = TripletMarginLoss::new().margin(number(0, "margin", 1.0)?).p(number(1, "p", 2.0)?);
            let loss = loss.eps(number(2, "eps", 1e-6)?).swap(a.bool_or(3, "swap", false)?);
            ternary(loss.reduction(how(6)?), ["anchor", "positive", "negative"], TripletMarginLoss::forward)
        }
        "TripletMarginWithDistanceLoss" => {
            let distance = distance(a.str_or(LAST, "distance_function", "pairwise_distance")?)?;
            let loss = TripletMarginWithDistanceLoss::new(distance).margin(number(LAST, "margin", 1.0)?);
            let loss = loss.swap(a.bool_or(LAST, "swap", false)?).reduction(how(LAST)?);
            ternary(loss, ["anchor", "positive", "negative"], TripletMarginWithDistanceLoss::forward)
        }
        "MultiMarginLoss" => {
            let loss = MultiMarginLoss::new().p(number(0, "p", 1.0)?).margin(number(1, "margin", 1.0)?);
            pair!(MultiMarginLoss, weighted!(loss, weight 2).reduction(how(5)?))
        }
        "MultiLabelMarginLoss" => pair!(MultiLabelMarginLoss, MultiLabelMarginLoss::new().reduction(how(2)?)),
        "MultiLabelSoftMarginLoss" => {
            let loss = weighted!(MultiLabelSoftMarginLoss::new(), weight 0);
            pair!(MultiLabelSoftMarginLoss, loss.reduction(how(3)?))
        }
        "CTCLoss" => {
            let loss = CTCLoss::new().blank(a.size_or(0, "blank", 0)?).reduction(how(1)?);
            with(loss.zero_infinity(a.bool_or(2, "zero_infinity", false)?), |loss: &CTCLoss, given| {
                let lengths = |position, name| match given.get(position, name) {
                    Some(Arg::Tensor(_)) => given.tensor(position, name),
                    _ => {
                        let lengths = given.ints(position, name)?;
                        let n = lengths.len();
                        Ok(Tensor::from_vec(lengths, [n])?)
                    }
                };
                let (steps, labels) = (lengths(2, "input_lengths")?, lengths(3, "target_lengths")?);
                let (x, targets) = (given.tensor(0, "log_probs")?, given.tensor(1, "targets")?);
                Ok(loss.forward(&x, &targets, &steps, &labels)?)
            })
        }
        "LinearCrossEntropyLoss" => {
            if a.named("options").is_some_and(|o| *o != Arg::None) {
                return missing("a way of computing in chunks");
            }
            let positions: Vec<usize> = match a.named("out_features") {
                Some(Arg::List(items)) => {
                    items.iter().filter_map(Arg::int).map(|n| n.max(0) as usize).collect()
                }
                _ => Vec::new(),
            };
            let (features, classes) = (a.size(0, "in_features")?, a.size(1, "num_classes")?);
            let loss = LinearCrossEntropyLoss::with_positions(features, classes, positions);
            let options = CrossEntropyOptions {
                weight: None,
                ignore_index: a.int_or(LAST, "ignore_index", -100)?,
                reduction: how(LAST)?,
                label_smoothing: number(LAST, "label_smoothing", 0.0)?,
            };
            let loss = weighted!(loss.options(options).bias(a.bool_or(LAST, "bias", false)?), weight LAST);
            loss.check()?;
            pair!(LinearCrossEntropyLoss, loss)
        }
        "AdaptiveLogSoftmaxWithLoss" => {
            let cutoffs: Vec<usize> = a.ints(2, "cutoffs")?.into_iter().map(|n| n.max(0) as usize).collect();
            let (features, classes) = (a.size(0, "in_features")?, a.size(1, "n_classes")?);
            let (value, bias) = (number(3, "div_value", 4.0)?, a.bool_or(4, "head_bias", false)?);
            let layer = AdaptiveLogSoftmaxWithLoss::with(features, classes, &cutoffs, value, bias);
            layer.check()?;
            with(layer, |layer: &AdaptiveLogSoftmaxWithLoss, given| -> Answer<Out> {
                Ok(layer.forward(&given.tensor(0, "input_")?, &given.tensor(1, "target_")?)?.into())
            })
        }
        "Bilinear" => {
            let (in1, in2) = (a.size(0, "in1_features")?, a.size(1, "in2_features")?);
            let layer = Bilinear::new(in1, in2, a.size(2, "out_features")?).bias(a.bool_or(3, "bias", true)?);
            layer.check()?;
            with(layer, |layer: &Bilinear, given| {
                Ok(layer.forward(&given.tensor(0, "input1")?, &given.tensor(1, "input2")?)?)
            })
        }
        "CosineSimilarity" => {
            let layer = CosineSimilarity::new(a.int_or(0, "dim", 1)?).eps(number(1, "eps", 1e-8)?);
            with(layer, |layer: &CosineSimilarity, given| {
                Ok(layer.forward(&given.tensor(0, "x1")?, &given.tensor(1, "x2")?)?)
            })
        }
        "PairwiseDistance" => {
            let layer = PairwiseDistance::new(number(0, "p", 2.0)?).eps(number(1, "eps", 1e-6)?);
            let layer = layer.keepdim(a.bool_or(2, "keepdim", false)?);
            with(layer, |layer: &PairwiseDistance, given| {
                Ok(layer.forward(&given.tensor(0, "x1")?, &given.tensor(1, "x2")?)?)
            })
        }
        _ => Err(Stop::NoRow),
    }
}
