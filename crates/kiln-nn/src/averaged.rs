//! [`AveragedModel`]: the mean of a model's weights over its training.

use kiln_autograd::{Error, Here, Result, Shape, Tensor, no_grad};

use crate::{Buffer, Forward, Module, Parts};

/// How weights are averaged.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Average {
    /// All states count alike.
    Equal,
    /// The mean forgets: this much of it stays.
    Exponential(f64),
}

/// A model whose weights are the mean of those that another one had: equally weighted (stochastic weight averaging,
/// Izmailov et al., "Averaging weights leads to wider optima and better generalization", 2018) or exponentially
/// (`torch.optim.swa_utils.AveragedModel`).
///
/// The module inside is one more of the same kind; it takes over the values of the model that is averaged.
///
/// ```
/// use kiln_nn::{AveragedModel, Linear, Module, Tensor, init};
/// # fn main() -> kiln_nn::Result<()> {
/// let model = Linear::new(2, 1).bias(false);
/// let averaged = AveragedModel::new(Linear::new(2, 1).bias(false), &model)?.ema(0.9)?;
/// for value in [1.0, 2.0] {
///     // Here an epoch of training.
///     init::constant_(&model.weight, value)?;
///     averaged.update_parameters(&model)?;
/// }
/// assert_eq!(averaged.module().weight.to_vec::<f32>()?, [1.1, 1.1]);
/// let names: Vec<String> = averaged.state_dict().keys().map(str::to_owned).collect();
/// assert_eq!(names, ["n_averaged", "module.weight"]);
/// # Ok(())
/// # }
/// ```
pub struct AveragedModel<M> {
    n_averaged: Buffer,
    module: M,
    average: Average,
    use_buffers: bool,
}

impl<M: Module> AveragedModel<M> {
    /// An average of no states yet, with the values of `model`.
    ///
    /// # Errors
    /// `module` is not of the kind of `model`, names or shapes differ; or it has the same parameters, as a clone has.
    #[track_caller]
    pub fn new(module: M, model: &dyn Module) -> Result<AveragedModel<M>> {
        let shared = |own: &Tensor| model.parameters().iter().any(|other| own.shares_storage(other));
        if module.parameters().iter().any(shared) {
            let text = "the two modules share parameters; build the first anew, a clone is the same module";
            return Err(Error::value("AveragedModel", text));
        }
        module.load_state_dict(&model.state_dict())?;
        let n_averaged = Buffer::new(Tensor::from_vec(vec![0i64], Shape::default())?);
        Ok(AveragedModel { n_averaged, module, average: Average::Equal, use_buffers: false })
    }

    /// Averages exponentially: `mean = decay mean + (1 - decay) weights`; PyTorch's default is 0.999.
    ///
    /// # Errors
    /// `decay` is not in `[0, 1]`.
    #[track_caller]
    pub fn ema(mut self, decay: f64) -> Result<AveragedModel<M>> {
        if !(0.0..=1.0).contains(&decay) {
            let text =
                format!("Invalid decay value {decay} provided. Please provide a value in [0,1] range.");
            return Err(Error::value("AveragedModel", text));
        }
        self.average = Average::Exponential(decay);
        Ok(self)
    }

    /// Averages buffers too, as running statistics, in the place of copying them.
    #[must_use]
    pub fn use_buffers(mut self, use_buffers: bool) -> AveragedModel<M> {
        self.use_buffers = use_buffers;
        self
    }

    /// The model with the mean weights.
    pub fn module(&self) -> &M {
        &self.module
    }

    /// How many states there were.
    ///
    /// # Errors
    /// The memory cannot be read.
    #[track_caller]
    pub fn n_averaged(&self) -> Result<i64> {
        Ok(self.n_averaged.tensor().to_vec::<i64>()?.first().copied().unwrap_or(0))
    }

    /// Takes in the present weights of `model`. The first time they are copied.
    ///
    /// # Errors
    /// `model` is of another kind: the number of its tensors or a shape differs. Nothing is changed then.
    #[track_caller]
    pub fn update_parameters(&self, model: &dyn Module) -> Result<()> {
        let seen = self.n_averaged()?;
        let mut pairs = paired(self.module.parameters(), model.parameters())?;
        let buffers = paired(self.module.buffers(), model.buffers())?;
        let mut copied = Vec::new();
        if self.use_buffers {
            pairs.extend(buffers);
        } else {
            copied = buffers;
        }
        no_grad(|| {
            for (mean, now) in &pairs {
                let now = now.detach().to_device(mean.device())?;
                match (seen, self.average) {
                    (0, _) => mean.copy_(&now)?,
                    (n, Average::Equal) => approach(mean, &now, 1.0 / (n as f64 + 1.0))?,
                    (_, Average::Exponential(decay)) => approach(mean, &now, 1.0 - decay)?,
                }
            }
            for (own, now) in &copied {
                own.copy_(&now.detach().to_device(own.device())?)?;
            }
            self.n_averaged.tensor().add_(1)
        })
        .here()
    }
}

/// Moves a mean towards a value by a part of the distance.
#[track_caller]
fn approach(mean: &Tensor, now: &Tensor, part: f64) -> Result<()> {
    if mean.dtype().is_float() {
        return mean.copy_(&mean.lerp(&now.to_dtype(mean.dtype())?, part)?);
    }
    // Counters: the mean is cut to an integer.
    let moved = mean.mul(1.0 - part)?.add(&now.mul(part)?)?;
    mean.copy_(&moved.to_dtype(mean.dtype())?)
}

/// The tensors of two models side by side.
#[track_caller]
fn paired(own: Vec<Tensor>, others: Vec<Tensor>) -> Result<Vec<(Tensor, Tensor)>> {
    let alike = own.len() == others.len() && own.iter().zip(&others).all(|(a, b)| a.shape() == b.shape());
    if !alike {
        return Err(Error::shape(
            "AveragedModel",
            "the model is of another kind than the one that is averaged",
        ));
    }
    Ok(own.into_iter().zip(others).collect())
}

impl<M: Module> Module for AveragedModel<M> {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("n_averaged", &self.n_averaged);
        parts.add("module", &self.module);
    }
}

impl<M: Forward> Forward for AveragedModel<M> {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        self.module.forward(input)
    }
}
