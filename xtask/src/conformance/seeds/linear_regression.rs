//! Linear regression: data, loaders, layers, losses and training, by hand and with what `nn` and `optim` have.

mod training;

use anyhow::{Context as _, Result};
use kiln::prelude::*;

use super::Replay;
use super::case::Case;
use super::printing::size_text;

/// The cases of this topic.
pub const CASES: &[(&str, Replay)] = &[
    ("synthetic-data", |c| Ok(synthetic(c)?)),
    ("tensor-dataset-loader", |c| Ok(loader(c)?)),
    ("sequential-linear", |c| Ok(sequential(c)?)),
    ("overwrite-parameters", |c| Ok(overwrite(c)?)),
    ("manual-forward-equals", |c| Ok(by_hand(c)?)),
    ("mse-by-hand", |c| Ok(mse(c)?)),
    ("train-concise", |c| Ok(training::concise(c)?)),
    ("index-iterator", |c| Ok(index_iterator(c)?)),
    ("scratch-parameters", |c| Ok(scratch_parameters(c)?)),
    ("scratch-pieces", |c| Ok(scratch_pieces(c)?)),
    ("train-scratch", |c| Ok(training::scratch(c)?)),
    ("five-point-line", |c| Ok(training::five_points(c)?)),
    ("module-subclass", |c| Ok(subclass(c)?)),
    ("full-batch-line", |c| Ok(training::full_batch(c)?)),
    ("full-batch-line-long", |c| Ok(training::full_batch_long(c)?)),
];

/// `y = Xw + b + noise` for 1000 rows, from the default stream.
pub fn synthetic_data(w: &Tensor, b: f64) -> kiln::Result<(Tensor, Tensor)> {
    let features = Tensor::normal(0.0, 1.0, [1000, 2])?;
    let labels = features.matmul(w)? + b;
    let labels = &labels + Tensor::normal(0.0, 0.01, labels.shape())?;
    Ok((features, labels.reshape([-1, 1])?))
}

fn synthetic(case: &Case<'_>) -> Result<()> {
    case.seed()?;
    let (features, labels) = synthetic_data(&tensor![2., -3.4], 4.2)?;
    case.is("features", &features)?;
    case.is("labels", &labels)?;
    let first = vec![features.i(0)?, labels.i(0)?];
    let mut texts: Vec<String> = first.iter().map(Tensor::to_string).collect();
    texts.extend([size_text(&features), size_text(&labels)]);
    case.is("first", first)?;
    case.is("texts", texts)
}

fn loader(case: &Case<'_>) -> Result<()> {
    manual_seed(case.int("data_seed")? as u64);
    let (features, labels) = synthetic_data(&tensor![2., -3.4], 4.2)?;
    let dataset = TensorDataset::new((features, labels))?;
    case.is("len_dataset", dataset.len())?;
    let (x, y) = dataset.get(0)?;
    case.is("item0_types", vec![x.dims(), y.dims()])?;
    let loader = DataLoader::new(dataset, 10).shuffle(true);
    case.is("len_loader", loader.len())?;
    case.seed()?;
    let (x, y) = loader.iter().next().context("no batch")??;
    case.is("X", x)?;
    case.is("y", y)
}

fn sequential(case: &Case<'_>) -> Result<()> {
    case.seed()?;
    let net = sequential![Linear::new(2, 1)];
    case.is("text", net.to_string())?;
    let names: Vec<String> = net.named_parameters().into_iter().map(|(name, _)| name).collect();
    case.is("names", names)?;
    let layer =
        net.get(0).context("a layer")?.as_module().downcast_ref::<Linear>().context("a linear layer")?;
    case.is("weight", layer.weight.tensor())?;
    case.is("weight_text", layer.weight.to_string())?;
    case.is("bias", layer.bias.as_ref().map(|b| b.tensor()))?;
    case.is("item_text", layer.to_string())
}

fn overwrite(case: &Case<'_>) -> Result<()> {
    case.seed()?;
    let layer = Linear::new(2, 1);
    let bias = layer.bias.as_ref().context("a bias")?;
    let memory = layer.weight.data();
    layer.weight.data().normal_(0.0, 0.01)?;
    bias.data().fill_(1)?;
    case.is("weight", layer.weight.tensor())?;
    case.is("bias", bias.tensor())?;
    case.is("returns_itself", layer.weight.shares_storage(&memory))?;
    case.is("still_requires_grad", layer.weight.requires_grad() && bias.requires_grad())
}

fn by_hand(case: &Case<'_>) -> Result<()> {
    case.seed()?;
    let forms = |layer: &Linear, x: &Tensor| -> Result<(Tensor, Tensor)> {
        let bias = layer.bias.as_ref().context("a bias")?;
        Ok((layer.forward(x)?, x.matmul(&layer.weight.t()?)?.add(bias.tensor())?))
    };
    let layer = Linear::new(2, 1);
    let (out, hand) = forms(&layer, &Tensor::randn([10, 2]))?;
    case.is("out", &out)?;
    case.is("allclose", out.allclose(&hand, 1e-5, 1e-8, false)?)?;
    case.is("bitwise_2_to_1", out.equal(&hand)?)?;
    let (out, hand) = forms(&Linear::new(784, 10), &Tensor::randn([10, 784]))?;
    // PyTorch's bits happen to agree; what is required is that the numbers do.
    case.criterion("bitwise_784_to_10", out.allclose(&hand, 1e-5, 1e-8, false)?)
}

fn mse(case: &Case<'_>) -> Result<()> {
    let (p, y) = (case.tensor("p")?, case.tensor("y")?);
    case.is("by_hand", (&p - &y).pow(2)?.mean()?)?;
    case.is("layer", MSELoss::new().forward(&p, &y)?)?;
    case.is("sum", MSELoss::new().reduction(Reduction::Sum).forward(&p, &y)?)?;
    case.is("text", MSELoss::new().to_string())
}

fn index_iterator(case: &Case<'_>) -> Result<()> {
    let features = Tensor::arange(20.0).view([10, 2])?;
    let order = case.ints("order")?;
    let batches = order.chunks(case.int("batch_size")? as usize);
    let batches = batches.map(|batch| features.i(batch.to_vec())).collect::<kiln::Result<Vec<_>>>()?;
    case.is("batches", batches)
}

fn scratch_parameters(case: &Case<'_>) -> Result<()> {
    case.seed()?;
    let w = Tensor::normal(0.0, 0.01, [2, 1])?.requires_grad_(true)?;
    let b = Tensor::zeros(1).requires_grad_(true)?;
    case.is("w", w.detach())?;
    case.is("b", b.detach())?;
    case.is("leaves", w.is_leaf() && b.is_leaf() && w.requires_grad() && b.requires_grad())
}

fn scratch_pieces(case: &Case<'_>) -> Result<()> {
    let (x, y) = (case.tensor("X")?, case.tensor("y")?);
    let w = case.tensor("w")?.requires_grad_(true)?;
    let b = Tensor::zeros(1).requires_grad_(true)?;
    let loss = training::squared_loss(&(x.mm(&w)? + &b), &y)?;
    case.is("loss", &loss)?;
    loss.sum()?.backward()?;
    let grads = |parameters: &[&Tensor]| -> Result<Vec<Tensor>> {
        parameters.iter().map(|p| p.grad().context("a gradient")?.copy().map_err(Into::into)).collect()
    };
    case.is("grads", grads(&[&w, &b])?)?;
    training::sgd(&[&w, &b], 0.03, 3)?;
    case.is("after", vec![w.detach(), b.detach()])?;
    for p in [&w, &b] {
        p.grad().context("a gradient")?.zero_()?;
    }
    case.is("cleared", grads(&[&w, &b])?)
}

#[derive(Module)]
struct LR {
    linear: Linear,
}

impl Forward for LR {
    fn forward(&self, x: &Tensor) -> kiln::Result<Tensor> {
        self.linear.forward(x)
    }
}

fn subclass(case: &Case<'_>) -> Result<()> {
    case.seed()?;
    let model = LR { linear: Linear::new(1, 1) };
    case.is("text", model.to_string())?;
    let names: Vec<String> = model.named_parameters().into_iter().map(|(name, _)| name).collect();
    case.is("names", names)?;
    case.is("out", model.forward(&tensor![[2.], [-1.]])?)?;
    let bias = model.linear.bias.as_ref().context("a bias")?;
    case.is("parameters_text", format!("{:?}", [&model.linear.weight, bias]))?;
    case.is("is_module", model.as_module().is::<LR>())
}
