//! [`BatchNorm1d`] and its like, [`InstanceNorm1d`] and its like: normalisation with running statistics.

use std::sync::atomic::{AtomicBool, Ordering};

use kiln_autograd::{DType, Device, Error, Here, Result, Tensor, default_dtype, kiln_ops, no_grad};

use crate::draw::Fault;
use crate::module::{Forward, Module};
use crate::parts::{Buffer, Parameter, Parts, Training};
use crate::print::{print_as_module, python_bool, python_float};

/// What both kinds of layers have: one weight, bias, running mean and variance per channel, each of which may be absent.
struct Statistics {
    weight: Option<Parameter>,
    bias: Option<Parameter>,
    running_mean: Option<Buffer>,
    running_var: Option<Buffer>,
    num_batches_tracked: Option<Buffer>,
    features: usize,
    eps: f64,
    momentum: Option<f64>,
    /// The mean over all batches in the place of what `momentum` says, while [`update_bn`] runs.
    averaging: AtomicBool,
    training: Training,
    fault: Fault,
}

impl Statistics {
    fn new(op: &'static str, features: usize, affine: bool, tracked: bool) -> Statistics {
        let empty = Statistics {
            weight: None,
            bias: None,
            running_mean: None,
            running_var: None,
            num_batches_tracked: None,
            features,
            eps: 1e-5,
            momentum: Some(0.1),
            averaging: AtomicBool::new(false),
            training: Training::default(),
            fault: Fault::default(),
        };
        empty.affine(op, affine).bias(op, affine).tracked(op, tracked)
    }

    /// `value` for each channel; an impossible number of channels is remembered.
    fn filled(&mut self, op: &'static str, value: f64) -> Option<Tensor> {
        let made = kiln_ops::full(&[self.features].into(), value.into(), default_dtype(), Device::CPU);
        made.map(Tensor::from_raw)
            .map_err(|e| self.fault.note(op, format!("cannot be made with {} features: {e}", self.features)))
            .ok()
    }

    fn affine(mut self, op: &'static str, affine: bool) -> Statistics {
        self.weight = affine.then(|| self.filled(op, 1.0)).flatten().and_then(|t| Parameter::new(t).ok());
        self.bias(op, affine)
    }

    fn bias(mut self, op: &'static str, bias: bool) -> Statistics {
        let bias = bias && self.weight.is_some();
        self.bias = bias.then(|| self.filled(op, 0.0)).flatten().and_then(|t| Parameter::new(t).ok());
        self
    }

    fn tracked(mut self, op: &'static str, tracked: bool) -> Statistics {
        let zero = || kiln_ops::full(&().into(), 0.into(), DType::I64, Device::CPU).map(Tensor::from_raw);
        self.running_mean = tracked.then(|| self.filled(op, 0.0)).flatten().map(Buffer::new);
        self.running_var = tracked.then(|| self.filled(op, 1.0)).flatten().map(Buffer::new);
        self.num_batches_tracked = tracked.then(zero).and_then(Result::ok).map(Buffer::new);
        self
    }

    fn running(&self) -> Option<(&Tensor, &Tensor)> {
        Some((self.running_mean.as_ref()?.tensor(), self.running_var.as_ref()?.tensor()))
    }

    /// Back to no batch seen.
    #[track_caller]
    fn reset(&self) -> Result<()> {
        no_grad(|| {
            self.running_mean.as_ref().map_or(Ok(()), |mean| mean.fill_(0.0))?;
            self.running_var.as_ref().map_or(Ok(()), |var| var.fill_(1.0))?;
            self.num_batches_tracked.as_ref().map_or(Ok(()), |batches| batches.fill_(0))
        })
        .here()
    }

    fn list<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
        parts.add("weight", &self.weight);
        parts.add("bias", &self.bias);
        parts.add("running_mean", &self.running_mean);
        parts.add("running_var", &self.running_var);
        parts.add("num_batches_tracked", &self.num_batches_tracked);
    }

    fn extra_repr(&self) -> String {
        let momentum = self.momentum.map_or("None".to_owned(), python_float);
        format!(
            "{}, eps={}, momentum={momentum}, affine={}, bias={}, track_running_stats={}",
            self.features,
            python_float(self.eps),
            python_bool(self.weight.is_some()),
            python_bool(self.bias.is_some()),
            python_bool(self.running_mean.is_some())
        )
    }
}

/// Both kinds of layers have the same settings.
macro_rules! normalisations {
    ($($(#[$doc:meta])* $layer:ident [$one:ident $two:ident $three:ident] $affine:literal $tracked:literal;)*) => {$(
        #[doc = concat!("The layer for `[n, c]` or `[n, c, length]`: see [`", stringify!($layer), "`].")]
        pub type $one = $layer<1>;
        #[doc = concat!("The layer for `[n, c, height, width]`: see [`", stringify!($layer), "`].")]
        pub type $two = $layer<2>;
        #[doc = concat!("The layer for `[n, c, depth, height, width]`: see [`", stringify!($layer), "`].")]
        pub type $three = $layer<3>;

        $(#[$doc])*
        pub struct $layer<const N: usize>(Statistics);

        impl<const N: usize> $layer<N> {
            const OP: &str = [stringify!($one), stringify!($two), stringify!($three)][N - 1];

            /// A layer for so many channels.
            pub fn new(num_features: usize) -> $layer<N> {
                $layer(Statistics::new(Self::OP, num_features, $affine, $tracked))
            }

            /// What is added to the variance (1e-5 by default).
            #[must_use]
            pub fn eps(self, eps: f64) -> $layer<N> {
                $layer(Statistics { eps, ..self.0 })
            }

            /// How far the running statistics move towards those of each batch (0.1 by default); `None` makes them the
            /// mean over all batches.
            #[must_use]
            pub fn momentum(self, momentum: impl Into<Option<f64>>) -> $layer<N> {
                $layer(Statistics { momentum: momentum.into(), ..self.0 })
            }

            /// Whether there is a learned weight and bias for each channel.
            #[must_use]
            pub fn affine(self, affine: bool) -> $layer<N> {
                $layer(self.0.affine(Self::OP, affine))
            }

            /// Whether there is a bias where there is a weight.
            #[must_use]
            pub fn bias(self, bias: bool) -> $layer<N> {
                $layer(self.0.bias(Self::OP, bias))
            }

            /// Whether there are running statistics, by which batches are normalised while evaluating.
            #[must_use]
            pub fn track_running_stats(self, tracked: bool) -> $layer<N> {
                $layer(self.0.tracked(Self::OP, tracked))
            }

            /// What is added to the variance.
            pub fn epsilon(&self) -> f64 {
                self.0.eps
            }

            /// The learned factors `[c]`.
            pub fn weight(&self) -> Option<&Parameter> {
                self.0.weight.as_ref()
            }

            /// The learned summands `[c]`.
            pub fn bias_parameter(&self) -> Option<&Parameter> {
                self.0.bias.as_ref()
            }

            /// The running mean `[c]`.
            pub fn running_mean(&self) -> Option<&Buffer> {
                self.0.running_mean.as_ref()
            }

            /// The running variance `[c]`.
            pub fn running_var(&self) -> Option<&Buffer> {
                self.0.running_var.as_ref()
            }

            /// Forgets the batches that the running statistics have seen.
            ///
            /// # Errors
            /// The memory cannot be written.
            #[track_caller]
            pub fn reset_running_stats(&self) -> Result<()> {
                self.0.reset()
            }

            /// Whether the layer can work with its settings.
            ///
            /// # Errors
            /// It cannot.
            #[track_caller]
            pub fn check(&self) -> Result<()> {
                self.0.fault.check()
            }
        }

        impl<const N: usize> Module for $layer<N> {
            fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
                self.0.list(parts);
            }

            fn type_name(&self) -> &str {
                Self::OP
            }

            fn extra_repr(&self) -> String {
                self.0.extra_repr()
            }
        }

        print_as_module!(<N> $layer);
    )*};
}

normalisations! {
    /// Normalised over the batch and the positions of each channel, `(x - mean) / sqrt(var + eps) * weight + bias`: by the
    /// statistics of the batch while training, which also moves the running ones, and by the running ones while
    /// evaluating. Ioffe and Szegedy, "Batch normalization" (2015). Used by the names [`BatchNorm1d`], [`BatchNorm2d`] and
    /// [`BatchNorm3d`].
    ///
    /// ```
    /// use kiln_nn::{BatchNorm2d, Forward, Module, Tensor};
    /// let norm = BatchNorm2d::new(1);
    /// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [1, 1, 2, 2])?;
    /// assert!(norm.forward(&x)?.sum()?.to_f64()?.abs() < 1e-5);
    /// assert_eq!(norm.running_mean().unwrap().to_vec::<f32>()?, [0.25]);
    /// norm.eval();
    /// let names: Vec<String> = norm.state_dict().keys().map(str::to_owned).collect();
    /// assert_eq!(names, ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    BatchNormNd [BatchNorm1d BatchNorm2d BatchNorm3d] true true;
    /// Normalised over the positions of each channel of each element of the batch; without weights and running statistics
    /// unless they are asked for. Ulyanov et al., "Instance normalization" (2016). Used by the names [`InstanceNorm1d`],
    /// [`InstanceNorm2d`] and [`InstanceNorm3d`]; the input may lack the batch axis.
    InstanceNormNd [InstanceNorm1d InstanceNorm2d InstanceNorm3d] false false;
}

impl<const N: usize> Forward for BatchNormNd<N> {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let s = &self.0;
        s.fault.check()?;
        let rank = input.rank();
        if rank != N + 2 && !(N == 1 && rank == 2) {
            let expected = if N == 1 { "2D or 3D".to_owned() } else { format!("{}D", N + 2) };
            return Err(Error::shape(Self::OP, format!("expected {expected} input (got {rank}D input)")));
        }
        let training = s.training.get();
        let (weight, bias) = (s.weight.as_deref(), s.bias.as_deref());
        let tracked = s.num_batches_tracked.as_ref().filter(|_| training);
        let momentum = match (s.momentum.filter(|_| !s.averaging.load(Ordering::Relaxed)), tracked) {
            (Some(momentum), _) => momentum,
            // The mean over all batches, this one included.
            (None, Some(batches)) => 1.0 / (batches.to_f64()? + 1.0),
            (None, None) => 0.0,
        };
        let own = training || s.running_mean.is_none();
        let y = input.batch_norm(s.running(), weight, bias, own, momentum, s.eps)?;
        if let Some(batches) = tracked {
            no_grad(|| batches.add_(1)).here()?;
        }
        Ok(y)
    }
}

impl<const N: usize> Forward for InstanceNormNd<N> {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let s = &self.0;
        s.fault.check()?;
        let rank = input.rank();
        if rank != N + 1 && rank != N + 2 {
            return Err(Error::shape(
                Self::OP,
                format!("expected {}D or {}D input (got {rank}D input)", N + 1, N + 2),
            ));
        }
        let batch = if rank == N + 1 { input.unsqueeze(0)? } else { input.clone() };
        let channels = batch.size(1)?;
        if channels != s.features && (s.weight.is_some() || s.running_mean.is_some()) {
            return Err(Error::shape(
                Self::OP,
                format!(
                    "expected input's size at the channels' axis to match num_features ({}), but got: {channels}.",
                    s.features
                ),
            ));
        }
        let (weight, bias) = (s.weight.as_deref(), s.bias.as_deref());
        let own = s.training.get() || s.running_mean.is_none();
        let y = batch.instance_norm(s.running(), weight, bias, own, s.momentum.unwrap_or(0.0), s.eps)?;
        if rank == N + 1 { y.squeeze_axis(0) } else { Ok(y) }
    }
}

/// The running statistics of a batch norm of any number of axes.
fn statistics(module: &dyn Module) -> Option<&Statistics> {
    let one = module.downcast_ref::<BatchNorm1d>().map(|norm| &norm.0);
    let two = || module.downcast_ref::<BatchNorm2d>().map(|norm| &norm.0);
    one.or_else(two).or_else(|| module.downcast_ref::<BatchNorm3d>().map(|norm| &norm.0))
}

/// Makes the running statistics of all batch norms in `model` those of the given batches (`torch.optim.swa_utils.update_bn`):
/// for weights that no batch has passed through yet, as those of an [`AveragedModel`](crate::AveragedModel).
///
/// The model runs once over the inputs in its training mode, without gradients.
///
/// ```
/// use kiln_nn::{BatchNorm1d, Result, Tensor, update_bn};
/// let norm = BatchNorm1d::new(1);
/// let batches = [[1.0f32, 3.0], [5.0, 7.0]].map(|values| Tensor::from_vec(values.to_vec(), [2, 1]));
/// update_bn(batches, &norm)?;
/// assert_eq!(norm.running_mean().unwrap().to_vec::<f32>()?, [4.0]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
///
/// # Errors
/// What the batches and the model fail with. The statistics are then those of the batches before.
#[track_caller]
pub fn update_bn<E: From<Error>>(
    inputs: impl IntoIterator<Item = Result<Tensor, E>>,
    model: &dyn Forward,
) -> Result<(), E> {
    let module = model.as_module();
    let modules = module.named_modules();
    let norms: Vec<&Statistics> = modules.iter().filter_map(|(_, inside)| statistics(*inside)).collect();
    if norms.is_empty() {
        return Ok(());
    }
    norms.iter().try_for_each(|norm| norm.reset()).here()?;
    let was_training = module.is_training();
    module.train();
    norms.iter().for_each(|norm| norm.averaging.store(true, Ordering::Relaxed));
    let ran = inputs.into_iter().try_for_each(|input| {
        let input = input?;
        no_grad(|| model.call(&input))?;
        Ok(())
    });
    norms.iter().for_each(|norm| norm.averaging.store(false, Ordering::Relaxed));
    module.set_training(was_training);
    ran
}
