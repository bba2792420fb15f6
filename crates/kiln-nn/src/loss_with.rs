//! Losses with numbers or weights of their own, and those of more than two tensors.

use std::sync::Arc;

use kiln_autograd::{CrossEntropyOptions, Here, Reduction, Result, Tensor};

use crate::draw::Fault;
use crate::hooks::ModuleHooks;
use crate::linear::Linear;
use crate::module::Module;
use crate::parts::{Buffer, Parts, Training};
use crate::print::print_as_module;

/// Losses as layers: a row is the documentation, the name, numbers with PyTorch's defaults, weights that a user may give,
/// the tensors, and the loss.
macro_rules! losses {
    ($(
        $(#[$doc:meta])*
        $name:ident { $($(#[$about:meta])* $number:ident: $ty:ty = $default:expr),* } [$($(#[$told:meta])* $weight:ident),*]
        ($first:ident, $($input:ident),+) |$s:ident| $loss:expr;
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name {
            $($number: $ty,)*
            $($weight: Option<Buffer>,)*
            reduction: Reduction,
            training: Training,
        }

        impl $name {
            /// The loss with PyTorch's numbers, and the mean of all losses.
            pub fn new() -> $name {
                $name { $($number: $default,)* $($weight: None,)* reduction: Reduction::Mean, training: Training::default() }
            }

            $(
                $(#[$about])*
                #[must_use]
                pub fn $number(self, $number: $ty) -> $name {
                    $name { $number, ..self }
                }
            )*

            $(
                $(#[$told])*
                #[must_use]
                pub fn $weight(self, $weight: Tensor) -> $name {
                    $name { $weight: Some(Buffer::new($weight.detach())), ..self }
                }
            )*

            /// What becomes of all the losses.
            #[must_use]
            pub fn reduction(self, reduction: Reduction) -> $name {
                $name { reduction, ..self }
            }

            /// The loss.
            ///
            /// # Errors
            /// Shapes, dtypes or numbers that do not fit.
            #[track_caller]
            pub fn forward(&self, $first: &Tensor, $($input: &Tensor),+) -> Result<Tensor> {
                let $s = self;
                $loss
            }

            /// `forward` with the hooks of [`ModuleHooks`](crate::ModuleHooks), which see the first tensor.
            ///
            /// # Errors
            /// As `forward`, and what hooks fail with.
            #[track_caller]
            pub fn call(&self, $first: &Tensor, $($input: &Tensor),+) -> Result<Tensor> {
                self.call_hooked($first, |$first| self.forward($first, $($input),+))
            }
        }

        impl Default for $name {
            fn default() -> $name {
                $name::new()
            }
        }

        impl Module for $name {
            fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
                parts.add("training", &self.training);
                $(parts.add(stringify!($weight), &self.$weight);)*
            }
        }

        print_as_module!($name);
    )*};
}

losses! {
    /// Squares of small differences, absolute values of large ones: see [`Tensor::smooth_l1_loss`].
    SmoothL1Loss {
        /// Where small ends (1 by default).
        beta: f64 = 1.0
    } [] (input, target) |s| input.smooth_l1_loss(target, s.beta, s.reduction);
    /// As [`SmoothL1Loss`], scaled by `delta`: see [`Tensor::huber_loss`].
    HuberLoss {
        /// Where small ends (1 by default).
        delta: f64 = 1.0
    } [] (input, target) |s| input.huber_loss(target, s.delta, s.reduction);
    /// The cross entropy of probabilities: see [`Tensor::binary_cross_entropy`].
    ///
    /// ```
    /// use kiln_nn::{BCELoss, Tensor};
    /// let (p, y) = (Tensor::from_vec(vec![0.5f32], [1])?, Tensor::from_vec(vec![1.0f32], [1])?);
    /// assert!((BCELoss::new().forward(&p, &y)?.to_f64()? - 2f64.ln()).abs() < 1e-6);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    BCELoss {} [
        /// A factor for each element, or one that broadcasts.
        weight
    ] (input, target) |s| input.binary_cross_entropy(target, s.weight.as_deref(), s.reduction);
    /// The cross entropy of the sigmoid of logits: see [`Tensor::binary_cross_entropy_with_logits`].
    BCEWithLogitsLoss {} [
        /// A factor for each element, or one that broadcasts.
        weight,
        /// A factor for the positive term of each class.
        pos_weight
    ] (input, target) |s| {
        let (weight, positive) = (s.weight.as_deref(), s.pos_weight.as_deref());
        input.binary_cross_entropy_with_logits(target, weight, positive, s.reduction)
    };
    /// The negative log likelihood of counts: see [`Tensor::poisson_nll_loss`].
    PoissonNLLLoss {
        /// Whether the input is the logarithm of the rate (it is by default).
        log_input: bool = true,
        /// Whether Stirling's term is added.
        full: bool = false,
        /// What keeps the logarithm finite (1e-8 by default).
        eps: f64 = 1e-8
    } [] (input, target) |s| input.poisson_nll_loss(target, s.log_input, s.full, s.eps, s.reduction);
    /// The negative log likelihood under normal distributions: see [`Tensor::gaussian_nll_loss`].
    GaussianNLLLoss {
        /// Whether the constant term is added.
        full: bool = false,
        /// What variances count at least (1e-6 by default).
        eps: f64 = 1e-6
    } [] (input, target, var) |s| input.gaussian_nll_loss(target, var, s.full, s.eps, s.reduction);
    /// `ln(1 + e^(-target * input))`: see [`Tensor::soft_margin_loss`].
    SoftMarginLoss {} [] (input, target) |s| input.soft_margin_loss(target, s.reduction);
    /// The input itself, or how far it is below the margin: see [`Tensor::hinge_embedding_loss`].
    HingeEmbeddingLoss {
        /// How large the input is to be where the target is -1 (1 by default).
        margin: f64 = 1.0
    } [] (input, target) |s| input.hinge_embedding_loss(target, s.margin, s.reduction);
    /// How much one input lacks to be larger than the other: see [`Tensor::margin_ranking_loss`].
    MarginRankingLoss {
        /// By how much (0 by default).
        margin: f64 = 0.0
    } [] (input1, input2, target) |s| input1.margin_ranking_loss(input2, target, s.margin, s.reduction);
    /// How far the angle of two vectors is from what it should be: see [`Tensor::cosine_embedding_loss`].
    CosineEmbeddingLoss {
        /// What the cosine may be where the target is -1 (0 by default).
        margin: f64 = 0.0
    } [] (input1, input2, target) |s| input1.cosine_embedding_loss(input2, target, s.margin, s.reduction);
    /// How much nearer the sample of the same kind should be: see [`Tensor::triplet_margin_loss`].
    TripletMarginLoss {
        /// By how much (1 by default).
        margin: f64 = 1.0,
        /// The norm (2 by default).
        p: f64 = 2.0,
        /// What is added to differences (1e-6 by default).
        eps: f64 = 1e-6,
        /// Whether the nearer of the two distances to the negative sample counts.
        swap: bool = false
    } [] (anchor, positive, negative) |s| {
        anchor.triplet_margin_loss(positive, negative, s.margin, s.p, s.eps, s.swap, s.reduction)
    };
    /// The distance between the right class and all others: see [`Tensor::multi_margin_loss`].
    MultiMarginLoss {
        /// 1, the default, or 2.
        p: f64 = 1.0,
        /// How large the distance is to be (1 by default).
        margin: f64 = 1.0
    } [
        /// A factor for each class.
        weight
    ] (input, target) |s| input.multi_margin_loss(target, s.p, s.margin, s.weight.as_deref(), s.reduction);
    /// The distances between right and wrong classes: see [`Tensor::multilabel_margin_loss`].
    MultiLabelMarginLoss {} [] (input, target) |s| input.multilabel_margin_loss(target, s.reduction);
    /// Logistic losses of all classes: see [`Tensor::multilabel_soft_margin_loss`].
    MultiLabelSoftMarginLoss {} [
        /// A factor for each class.
        weight
    ] (input, target) |s| input.multilabel_soft_margin_loss(target, s.weight.as_deref(), s.reduction);
    /// The loss of label sequences without alignment: see [`Tensor::ctc_loss`].
    CTCLoss {
        /// The class that stands for nothing (0 by default).
        blank: usize = 0,
        /// Whether sequences too short for their targets count for nothing.
        zero_infinity: bool = false
    } [] (log_probs, targets, input_lengths, target_lengths) |s| {
        log_probs.ctc_loss(targets, input_lengths, target_lengths, s.blank, s.reduction, s.zero_infinity)
    };
    /// The divergence of Kullback and Leibler between log probabilities and probabilities: see [`Tensor::kl_div`].
    KLDivLoss {
        /// Whether the target holds logarithms too.
        log_target: bool = false,
        /// Divides the sum by the size of the first axis, as the definition of the divergence has it
        /// (`reduction='batchmean'`); `reduction` counts for nothing then.
        batch_mean: bool = false
    } [] (input, target) |s| match s.batch_mean {
        true => input.kl_div(target, s.log_target, Reduction::Sum)?.div(input.size(0)? as f64),
        false => input.kl_div(target, s.log_target, s.reduction),
    };
}

type Distance = dyn Fn(&Tensor, &Tensor) -> Result<Tensor> + Send + Sync;

/// [`TripletMarginLoss`] with any distance between two tensors: see [`Tensor::triplet_margin_with_distance_loss`].
#[derive(Clone)]
pub struct TripletMarginWithDistanceLoss {
    distance: Arc<Distance>,
    margin: f64,
    swap: bool,
    reduction: Reduction,
    training: Training,
}

impl TripletMarginWithDistanceLoss {
    /// The loss with this distance and the margin 1.
    pub fn new(
        distance: impl Fn(&Tensor, &Tensor) -> Result<Tensor> + Send + Sync + 'static,
    ) -> TripletMarginWithDistanceLoss {
        TripletMarginWithDistanceLoss {
            distance: Arc::new(distance),
            margin: 1.0,
            swap: false,
            reduction: Reduction::Mean,
            training: Training::default(),
        }
    }

    /// By how much the sample of the same kind should be nearer.
    #[must_use]
    pub fn margin(self, margin: f64) -> TripletMarginWithDistanceLoss {
        TripletMarginWithDistanceLoss { margin, ..self }
    }

    /// Whether the nearer of the two distances to the negative sample counts.
    #[must_use]
    pub fn swap(self, swap: bool) -> TripletMarginWithDistanceLoss {
        TripletMarginWithDistanceLoss { swap, ..self }
    }

    /// What becomes of all the losses.
    #[must_use]
    pub fn reduction(self, reduction: Reduction) -> TripletMarginWithDistanceLoss {
        TripletMarginWithDistanceLoss { reduction, ..self }
    }

    /// The loss.
    ///
    /// # Errors
    /// Shapes or a margin that do not fit; what the distance fails with.
    #[track_caller]
    pub fn forward(&self, anchor: &Tensor, positive: &Tensor, negative: &Tensor) -> Result<Tensor> {
        let distance = |a: &Tensor, b: &Tensor| (self.distance)(a, b);
        anchor.triplet_margin_with_distance_loss(
            positive,
            negative,
            distance,
            self.margin,
            self.swap,
            self.reduction,
        )
    }
}

impl Default for TripletMarginWithDistanceLoss {
    /// With the euclidean distance.
    fn default() -> TripletMarginWithDistanceLoss {
        TripletMarginWithDistanceLoss::new(|a, b| a.pairwise_distance(b, 2.0, 1e-6, false))
    }
}

impl Module for TripletMarginWithDistanceLoss {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
    }
}

/// The cross entropy of logits that a product inside makes (`torch.nn.LinearCrossEntropyLoss`).
///
/// Shapes: `[batch, in_features]`, targets as for [`CrossEntropyLoss`](crate::CrossEntropyLoss) with logits
/// `[batch, num_classes, out_features..]`.
pub struct LinearCrossEntropyLoss {
    linear: Linear,
    weight: Option<Buffer>,
    num_classes: usize,
    out_features: Vec<usize>,
    options: CrossEntropyOptions,
    training: Training,
    fault: Fault,
}

impl LinearCrossEntropyLoss {
    /// The loss with a product without bias.
    pub fn new(in_features: usize, num_classes: usize) -> LinearCrossEntropyLoss {
        LinearCrossEntropyLoss::with_positions(in_features, num_classes, [])
    }

    /// The loss with logits for each of `out_features` positions.
    pub fn with_positions(
        in_features: usize,
        num_classes: usize,
        out_features: impl Into<Vec<usize>>,
    ) -> LinearCrossEntropyLoss {
        let out_features = out_features.into();
        let outputs = out_features.iter().fold(num_classes, |n, size| n.saturating_mul(*size));
        LinearCrossEntropyLoss {
            linear: Linear::new(in_features, outputs).bias(false),
            weight: None,
            num_classes,
            out_features,
            options: CrossEntropyOptions::default(),
            training: Training::default(),
            fault: Fault::default(),
        }
    }

    /// Whether the product has a bias (it has none by default).
    #[must_use]
    pub fn bias(self, bias: bool) -> LinearCrossEntropyLoss {
        LinearCrossEntropyLoss { linear: self.linear.bias(bias), ..self }
    }

    /// A weight for each class.
    #[must_use]
    pub fn weight(mut self, weight: Tensor) -> LinearCrossEntropyLoss {
        if weight.dims() != [self.num_classes] {
            self.fault.note(
                "LinearCrossEntropyLoss",
                format!("expected weight shape to be ({},), got {:?}", self.num_classes, weight.shape()),
            );
        }
        self.weight = Some(Buffer::new(weight.detach()));
        self
    }

    /// What the class losses have besides: `ignore_index`, `reduction` and `label_smoothing`.
    #[must_use]
    pub fn options(mut self, options: CrossEntropyOptions) -> LinearCrossEntropyLoss {
        if !(0.0..=1.0).contains(&options.label_smoothing) {
            self.fault.note(
                "LinearCrossEntropyLoss",
                format!("expected label_smoothing to be in range [0, 1], got {}", options.label_smoothing),
            );
        }
        self.options = options;
        self
    }

    /// Whether the loss can work with its settings.
    ///
    /// # Errors
    /// It cannot.
    #[track_caller]
    pub fn check(&self) -> Result<()> {
        self.linear.check()?;
        self.fault.check()
    }

    /// The loss.
    ///
    /// # Errors
    /// Shapes or dtypes that do not fit, a class out of range.
    #[track_caller]
    pub fn forward(&self, input: &Tensor, target: &Tensor) -> Result<Tensor> {
        self.check()?;
        let logits: Vec<usize> = [self.num_classes].into_iter().chain(self.out_features.clone()).collect();
        let shape: Vec<usize> = logits.iter().copied().chain([self.linear.in_features()]).collect();
        let weight = self.linear.weight.reshape(shape.as_slice())?;
        let bias = self.linear.bias.as_ref().map(|b| b.reshape(logits.as_slice())).transpose().here()?;
        let class_weight = self.weight.as_ref().map(|w| w.tensor().clone());
        let options = CrossEntropyOptions { weight: class_weight, ..self.options.clone() };
        input.linear_cross_entropy(&weight, target, bias.as_ref(), &options)
    }
}

impl Module for LinearCrossEntropyLoss {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
        parts.add("weight", &self.weight);
        parts.add("linear", &self.linear);
    }
}

print_as_module!(TripletMarginWithDistanceLoss, LinearCrossEntropyLoss);
