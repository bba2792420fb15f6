//! Layers of two inputs: [`Bilinear`], [`CosineSimilarity`], [`PairwiseDistance`].

use kiln_autograd::{Result, Tensor};

use crate::draw::{self, Drawn, Fault, checked};
use crate::module::Module;
use crate::parts::{Parameter, Parts, Training};
use crate::print::{print_as_module, python_bool};

/// `y = x1 A x2 + b` for every output: weight `[out, in1, in2]`, bias `[out]`, both drawn uniformly from
/// `+-1/sqrt(in1_features)`.
///
/// Shapes: `[.., in1]` and `[.., in2] -> [.., out]`.
pub struct Bilinear {
    /// `[out_features, in1_features, in2_features]`
    pub weight: Parameter,
    /// `[out_features]`
    pub bias: Option<Parameter>,
    training: Training,
    sizes: [usize; 3],
    ticket: u64,
    fault: Fault,
}

impl Bilinear {
    /// A layer with a bias.
    pub fn new(in1_features: usize, in2_features: usize, out_features: usize) -> Bilinear {
        let mut fault = Fault::default();
        let sizes = [out_features, in1_features, in2_features];
        if in1_features == 0 {
            fault.note("Bilinear", "in1_features must be > 0, but got 0".to_owned());
        }
        let Drawn { weight, bias, ticket } = draw::uniform(&sizes, in1_features, out_features)
            .unwrap_or_else(|e| {
                fault.note("Bilinear", format!("cannot be made with a weight of shape {sizes:?}: {e}"));
                Drawn::none()
            });
        Bilinear { weight, bias, training: Training::default(), sizes, ticket, fault }
    }

    /// Whether there is a bias (there is by default).
    #[must_use]
    pub fn bias(mut self, bias: bool) -> Bilinear {
        if !bias && self.bias.take().is_some() {
            draw::forget_bias(self.ticket);
        } else if bias && self.bias.is_none() {
            let [out, in1, in2] = self.sizes;
            self.bias = Bilinear::new(in1, in2, out).bias;
        }
        self
    }

    /// The layer's function.
    ///
    /// # Errors
    /// Shapes that do not fit.
    #[track_caller]
    pub fn forward(&self, input1: &Tensor, input2: &Tensor) -> Result<Tensor> {
        self.fault.check()?;
        input1.bilinear(input2, &self.weight, self.bias.as_deref())
    }
}

impl Module for Bilinear {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
        parts.add("weight", &self.weight);
        parts.add("bias", &self.bias);
    }

    fn extra_repr(&self) -> String {
        let [out, in1, in2] = self.sizes;
        let bias = python_bool(self.bias.is_some());
        format!("in1_features={in1}, in2_features={in2}, out_features={out}, bias={bias}")
    }
}

/// The cosine of the angle between vectors along an axis: see [`Tensor::cosine_similarity`].
#[derive(Clone)]
pub struct CosineSimilarity {
    dim: i64,
    eps: f64,
    training: Training,
}

impl CosineSimilarity {
    /// Along axis `dim`, 1 in PyTorch by default.
    pub fn new(dim: i64) -> CosineSimilarity {
        CosineSimilarity { dim, eps: 1e-8, training: Training::default() }
    }

    /// What lengths count at least (1e-8 by default).
    #[must_use]
    pub fn eps(self, eps: f64) -> CosineSimilarity {
        CosineSimilarity { eps, ..self }
    }

    /// The layer's function.
    ///
    /// # Errors
    /// Shapes that do not broadcast, an axis out of range.
    #[track_caller]
    pub fn forward(&self, x1: &Tensor, x2: &Tensor) -> Result<Tensor> {
        x1.cosine_similarity(x2, self.dim, self.eps)
    }
}

impl Default for CosineSimilarity {
    fn default() -> CosineSimilarity {
        CosineSimilarity::new(1)
    }
}

impl Module for CosineSimilarity {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
    }
}

/// The `p`-norm of differences over the last axis: see [`Tensor::pairwise_distance`].
#[derive(Clone)]
pub struct PairwiseDistance {
    p: f64,
    eps: f64,
    keepdim: bool,
    training: Training,
}

impl PairwiseDistance {
    /// Of the norm `p`, 2 in PyTorch by default.
    pub fn new(p: f64) -> PairwiseDistance {
        PairwiseDistance { p, eps: 1e-6, keepdim: false, training: Training::default() }
    }

    /// What is added to the differences (1e-6 by default).
    #[must_use]
    pub fn eps(self, eps: f64) -> PairwiseDistance {
        PairwiseDistance { eps, ..self }
    }

    /// Whether the axis stays, of size 1.
    #[must_use]
    pub fn keepdim(self, keepdim: bool) -> PairwiseDistance {
        PairwiseDistance { keepdim, ..self }
    }

    /// The layer's function.
    ///
    /// # Errors
    /// Shapes that do not broadcast.
    #[track_caller]
    pub fn forward(&self, x1: &Tensor, x2: &Tensor) -> Result<Tensor> {
        x1.pairwise_distance(x2, self.p, self.eps, self.keepdim)
    }
}

impl Default for PairwiseDistance {
    fn default() -> PairwiseDistance {
        PairwiseDistance::new(2.0)
    }
}

impl Module for PairwiseDistance {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
    }
}

checked!(Bilinear);
print_as_module!(Bilinear, CosineSimilarity, PairwiseDistance);
