//! Softmax regression: pictures of clothes, loaders, losses, accuracy and training.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use kiln::prelude::*;

use super::Replay;
use super::case::Case;
use super::check::Slack;
use crate::conformance::recording::Stop;

/// The cases of this topic.
pub const CASES: &[(&str, Replay)] = &[
    ("fashion-dataset", fashion_dataset),
    ("to-tensor", |c| Ok(to_tensor(c)?)),
    ("label-names", |c| Ok(label_names(c)?)),
    ("loader-batches", |c| Ok(loader_batches(c)?)),
    ("worker-timing", worker_timing),
    ("flatten-linear-model", |c| Ok(flatten_linear(c)?)),
    ("init-normal", |c| Ok(init_normal(c)?)),
    ("softmax-by-hand", |c| Ok(softmax_by_hand(c)?)),
    ("cross-entropy-by-hand", |c| Ok(cross_entropy_by_hand(c)?)),
    ("accuracy", |c| Ok(accuracy_steps(c)?)),
    ("accumulator", |c| Ok(accumulator(c)?)),
    ("train-synthetic", |c| Ok(train_synthetic(c)?)),
    ("train-fashion", train_fashion),
];

fn fashion(case: &Case<'_>, split: Split) -> Result<ImageClasses, Stop> {
    Ok(ImageClasses::fashion_mnist(split, Some(&case.data("fashion-mnist")?))?)
}

fn fashion_dataset(case: &Case<'_>) -> Result<(), Stop> {
    for (name, split) in [("train", Split::Train), ("t10k", Split::Test)] {
        let set = fashion(case, split)?;
        let at = |key: &str| format!("{name}/{key}");
        let index = case.expected(&at("index"))?.as_u64().context("an index")? as usize;
        case.is(&at("index"), index)?;
        case.is(&at("count"), set.len())?;
        let (image, label) = set.get(index)?;
        case.is(&at("shape"), image.dims())?;
        case.is(&at("label"), label)?;
        case.is(&at("sum"), image.to_dtype(F64)?.sum()?)?;
        case.is(&at("min"), image.min()?)?;
        case.is(&at("max"), image.max()?)?;
        case.is(&at("labels_head"), set.labels().i(..10)?)?;
        case.is(&at("class_counts"), set.labels().bincount(None, 10)?)?;
        case.is(&at("mean_pixel"), set.images().to_dtype(F64)?.mean()?.div(255.0)?)?;
    }
    Ok(())
}

fn to_tensor(case: &Case<'_>) -> Result<()> {
    let bytes = |path: &str| -> Result<Tensor> {
        let rows = case.rows(path)?;
        Ok(Tensor::new_with(rows, U8)?)
    };
    case.is("grey", bytes("grey")?.unsqueeze(0)?.to_dtype(F32)?.div(255)?)?;
    let rows = case.json("colour")?.as_array().context("rows of pixels")?.len();
    let rows = (0..rows).map(|row| bytes(&format!("colour/{row}"))).collect::<Result<Vec<_>>>()?;
    let picture = Tensor::stack(&rows.iter().collect::<Vec<_>>(), 0)?;
    case.is("colour", picture.permute(&[2, 0, 1])?.to_dtype(F32)?.div(255)?.contiguous()?)
}

fn label_names(case: &Case<'_>) -> Result<()> {
    let names = [
        "t-shirt",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ];
    let labels = Tensor::new(case.ints("labels")?)?;
    let named: Vec<&str> = labels.to_vec::<i64>()?.into_iter().map(|label| names[label as usize]).collect();
    case.is("names", named)
}

/// Pictures that are all one number, and the number.
struct Numbered(usize);

impl Dataset for Numbered {
    type Item = (Tensor, i64);

    fn len(&self) -> usize {
        self.0
    }

    fn get(&self, index: usize) -> kiln::Result<(Tensor, i64)> {
        Ok((Tensor::full([1, 2, 2], index as f64), index as i64))
    }
}

fn loader_batches(case: &Case<'_>) -> Result<()> {
    let mut batches = Vec::new();
    for pair in case.json("sizes")?.as_array().context("pairs")? {
        let size = |i: usize| pair[i].as_u64().map(|n| n as usize).context("a size");
        let (count, batch) = (size(0)?, size(1)?);
        let loader = DataLoader::new(Numbered(count), batch);
        let last = count - (loader.len() - 1) * batch;
        batches.push(vec![loader.len(), last]);
    }
    case.is("batches", batches)?;
    let (x, y) = DataLoader::new(Numbered(50), 4).iter().next().context("no batch")??;
    case.is("sample_batch", vec![x, y])?;
    let order = |workers: usize| -> Result<Vec<Vec<i64>>> {
        let loader = DataLoader::new(Numbered(10), 4).shuffle(true).num_workers(workers);
        let loader = loader.generator(kiln::data::shared_generator(3));
        loader.iter().map(|batch| Ok(batch?.1.to_vec::<i64>()?)).collect()
    };
    let orders = [order(0)?, order(2)?, order(4)?];
    case.is("order_with_0_2_4_workers_equal", orders.iter().all(|o| *o == orders[0]))?;
    let [order, ..] = orders;
    case.is("order", order)
}

/// Pictures that take a while to make.
struct Slow;

impl Dataset for Slow {
    type Item = (Tensor, i64);

    fn len(&self) -> usize {
        32
    }

    fn get(&self, index: usize) -> kiln::Result<(Tensor, i64)> {
        std::thread::sleep(Duration::from_millis(2));
        Numbered(32).get(index)
    }
}

fn worker_timing(case: &Case<'_>) -> Result<(), Stop> {
    let train = fashion(case, Split::Train)?;
    let (images, labels) = (train.images().clone(), train.labels().clone());
    let batches = |workers: usize| -> Result<Vec<Tensor>> {
        let set = TensorDataset::new((images.clone(), labels.clone()))?;
        let loader = DataLoader::new(set, 256).num_workers(workers);
        loader.iter().map(|batch| Ok(batch?.1)).collect()
    };
    let (alone, four) = (batches(0)?, batches(4)?);
    let mut same = alone.len() == 235 && four.len() == 235;
    for (a, b) in alone.iter().zip(&four) {
        same &= a.equal(b)?;
    }
    // Items that wait cost no core, so this holds on a busy machine too: four wait at the same time.
    let time = |workers: usize| -> Result<Duration> {
        let start = Instant::now();
        for batch in &DataLoader::new(Slow, 4).num_workers(workers) {
            batch?;
        }
        Ok(start.elapsed())
    };
    Ok(case.criterion("criterion", same && time(4)? <= time(0)?)?)
}

fn flatten_linear(case: &Case<'_>) -> Result<()> {
    let net = sequential![Flatten::new(), Linear::new(784, case.int("out")? as usize)];
    case.is("text", net.to_string())?;
    case.is("len", net.len())?;
    case.is("is_linear", net.iter().map(|layer| layer.as_module().is::<Linear>()).collect::<Vec<_>>())?;
    case.is("names", net.named_parameters().into_iter().map(|(name, _)| name).collect::<Vec<_>>())?;
    case.is("out_shape", net.forward(&Tensor::zeros([3, 1, 28, 28]))?.dims())
}

fn init_normal(case: &Case<'_>) -> Result<()> {
    // On the layer itself, and for every linear layer of a model.
    case.seed()?;
    let layer = Linear::new(784, 10);
    let memory = layer.weight.data();
    init::normal_(&layer.weight, 0.0, 0.01)?;
    case.is("weight", layer.weight.tensor())?;
    let bias = layer.bias.as_ref().context("a bias")?;
    case.is("bias", bias.tensor())?;
    case.is("returns_itself", layer.weight.shares_storage(&memory))?;

    case.seed()?;
    let net = sequential![Flatten::new(), Linear::new(784, 10)];
    net.apply(|module| match module.downcast_ref::<Linear>() {
        Some(linear) => init::normal_(&linear.weight, 0.0, 0.01),
        None => Ok(()),
    })?;
    let parameters = net.parameters();
    case.is("forms_equal", parameters[0].equal(&layer.weight)? && parameters[1].equal(bias)?)
}

fn softmax(x: &Tensor) -> kiln::Result<Tensor> {
    let exp = x.exp()?;
    exp.div(&exp.sum_axes(&[1], true)?)
}

fn softmax_by_hand(case: &Case<'_>) -> Result<()> {
    case.seed()?;
    let x = Tensor::normal(0.0, 1.0, [2, 5])?;
    let exp = x.exp()?;
    let prob = softmax(&x)?;
    let sums = prob.sum_axes(&[1], false)?;
    case.is("X", &x)?;
    case.is("partition", exp.sum_axes(&[1], true)?)?;
    case.is("exp", exp)?;
    case.is("prob", &prob)?;
    case.is("row_sums_text", sums.to_string())?;
    case.is("row_sums", sums)?;
    case.is("layer", x.softmax(1)?)
}

fn cross_entropy_by_hand(case: &Case<'_>) -> Result<()> {
    let logits = case.tensor("logits")?.requires_grad_(true)?;
    let labels = Tensor::new(case.ints("y")?)?;
    let rows = labels.numel();
    let by_hand = softmax(&logits)?.i((Tensor::arange(rows as i64), labels.clone()))?.log()?.neg()?;
    case.is("by_hand", by_hand)?;
    let loss = |reduction| CrossEntropyLoss::new().reduction(reduction).forward(&logits, &labels);
    case.is("none", loss(Reduction::None)?)?;
    case.is("sum", loss(Reduction::Sum)?)?;
    let mean = loss(Reduction::Mean)?;
    case.is("mean", &mean)?;
    mean.backward()?;
    let grad = logits.grad().context("a gradient")?;
    let one_hot = labels.one_hot(logits.size(1)?)?.to_dtype(F32)?;
    let expected = (logits.detach().softmax(1)? - one_hot) / rows;
    case.is("gradient_is_softmax_minus_onehot_over_n", grad.allclose(&expected, 1e-5, 1e-7, false)?)?;
    case.is("text", CrossEntropyLoss::new().to_string())
}

/// How many rows have their largest score at the label.
fn accuracy(scores: &Tensor, labels: &Tensor) -> kiln::Result<f64> {
    scores.argmax(1, false)?.eq(labels)?.to_dtype(F32)?.sum()?.to_f64()
}

fn accuracy_steps(case: &Case<'_>) -> Result<()> {
    let p = case.tensor("p")?;
    let y = Tensor::new(case.ints("y")?)?;
    let best = p.argmax(1, false)?;
    case.is("cmp_text", best.eq(&y)?.to_string())?;
    case.is("texts", vec![best.to_string(), y.to_string()])?;
    case.is("argmax", best)?;
    case.is("correct", accuracy(&p, &y)?)
}

/// Running sums, as the tutorials keep them.
struct Accumulator<const N: usize>([f64; N]);

impl<const N: usize> Accumulator<N> {
    fn new() -> Self {
        Self([0.0; N])
    }

    fn add(&mut self, values: [f64; N]) {
        self.0.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
}

fn accumulator(case: &Case<'_>) -> Result<()> {
    let mut sums = Accumulator::<3>::new();
    for row in case.rows("rows")? {
        sums.add([row[0], row[1], row[2]]);
    }
    case.is("sums", sums.0.to_vec())
}

/// One epoch: mean loss and accuracy over the samples.
fn train_epoch(
    net: &Sequential,
    batches: impl Iterator<Item = kiln::Result<(Tensor, Tensor)>>,
    optimizer: &mut SGD,
) -> Result<[f64; 2]> {
    let loss = CrossEntropyLoss::new();
    let mut sums = Accumulator::<3>::new();
    for batch in batches {
        let (x, y) = batch?;
        let scores = net.forward(&x)?;
        let l = loss.forward(&scores, &y)?;
        optimizer.zero_grad();
        l.backward()?;
        optimizer.step()?;
        let n = y.numel() as f64;
        sums.add([l.to_f64()? * n, accuracy(&scores, &y)?, n]);
    }
    let [loss, correct, n] = sums.0;
    Ok([loss / n, correct / n])
}

/// Flatten and one linear layer, its weight drawn again.
fn model() -> Result<Sequential> {
    let layer = Linear::new(784, 10);
    init::normal_(&layer.weight, 0.0, 0.01)?;
    Ok(sequential![Flatten::new(), layer])
}

fn train_synthetic(case: &Case<'_>) -> Result<()> {
    case.seed()?;
    // Half a prototype of the class, half noise.
    let prototypes = Tensor::rand([10, 1, 28, 28]);
    let labels = Tensor::arange(200).remainder(10)?;
    let images = 0.5 * prototypes.i(&labels)? + 0.5 * Tensor::rand([200, 1, 28, 28]);
    let net = model()?;
    let mut optimizer = SGD::new(net.parameters(), 0.1);
    let loader = DataLoader::new(TensorDataset::new((images, labels))?, 50);
    let epochs = (0..5).map(|_| train_epoch(&net, loader.iter(), &mut optimizer).map(|e| e.to_vec()));
    case.is("loss_and_accuracy_per_epoch", epochs.collect::<Result<Vec<_>>>()?)
}

fn train_fashion(case: &Case<'_>) -> Result<(), Stop> {
    let train = DataLoader::new(fashion(case, Split::Train)?, 256).shuffle(true);
    let test = DataLoader::new(fashion(case, Split::Test)?, 256);
    case.seed()?;
    let net = model()?;
    let mut optimizer = SGD::new(net.parameters(), 0.1);
    let mut epochs = Vec::new();
    for _ in 0..10 {
        let [loss, train_accuracy] = train_epoch(&net, train.iter(), &mut optimizer)?;
        let mut sums = Accumulator::<2>::new();
        for batch in &test {
            let (x, y) = batch?;
            sums.add([no_grad(|| accuracy(&net.forward(&x)?, &y))?, y.numel() as f64]);
        }
        epochs.push(vec![loss, train_accuracy, sums.0[0] / sums.0[1]]);
    }
    let last = epochs[9].clone();
    let good = last[0] < 0.5 && (0.7..=1.0).contains(&last[1]) && (0.7..=1.0).contains(&last[2]);
    case.criterion("criterion", good && last[1] > 0.7 && last[2] > 0.7)?;
    case.is_within("train_loss_train_accuracy_test_accuracy", epochs, Slack::Absolute(0.02))?;
    Ok(())
}
