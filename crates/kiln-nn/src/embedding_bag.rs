//! [`EmbeddingBag`]: sums, means or maxima of vectors by number.

pub use kiln_autograd::BagMode;
use kiln_autograd::{EmbeddingBagOptions, Result, Tensor};

use crate::draw::{Fault, checked};
use crate::embedding::{norms_repr, pad, table};
use crate::module::{Forward, Module};
use crate::parts::{Parameter, Parts, Training};
use crate::print::print_as_module;

/// The sum, mean or maximum of the vectors of each bag of numbers (`torch.nn.EmbeddingBag`), without all the vectors beside
/// each other: weight `[num_embeddings, embedding_dim]`, drawn from the standard normal distribution.
///
/// Shapes: `[bags, n] -> [bags, embedding_dim]`, or [`EmbeddingBag::forward_bags`] with bags of any length.
///
/// ```
/// use kiln_nn::{BagMode, EmbeddingBag, Tensor};
/// let layer = EmbeddingBag::new(10, 3).mode(BagMode::Sum);
/// let words = Tensor::from_vec(vec![1i64, 2, 4, 5, 4, 3, 2, 9], [8])?;
/// let offsets = Tensor::from_vec(vec![0i64, 4], [2])?;
/// assert_eq!(layer.forward_bags(&words, Some(&offsets), None)?.dims(), [2, 3]);
/// assert_eq!(layer.to_string(), "EmbeddingBag(10, 3, mode='sum')");
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub struct EmbeddingBag {
    /// `[num_embeddings, embedding_dim]`
    pub weight: Parameter,
    num_embeddings: usize,
    embedding_dim: usize,
    mode: BagMode,
    include_last_offset: bool,
    padding_idx: Option<i64>,
    max_norm: Option<f64>,
    norm_type: f64,
    scale_grad_by_freq: bool,
    training: Training,
    fault: Fault,
}

impl EmbeddingBag {
    /// A table of `num_embeddings` vectors; bags give their mean.
    pub fn new(num_embeddings: usize, embedding_dim: usize) -> EmbeddingBag {
        let mut fault = Fault::default();
        EmbeddingBag {
            weight: table("EmbeddingBag", num_embeddings, embedding_dim, &mut fault),
            num_embeddings,
            embedding_dim,
            mode: BagMode::Mean,
            include_last_offset: false,
            padding_idx: None,
            max_norm: None,
            norm_type: 2.0,
            scale_grad_by_freq: false,
            training: Training::default(),
            fault,
        }
    }

    /// What becomes of the vectors of a bag.
    #[must_use]
    pub fn mode(self, mode: BagMode) -> EmbeddingBag {
        EmbeddingBag { mode, ..self }
    }

    /// Whether the last offset is the end of the last bag.
    #[must_use]
    pub fn include_last_offset(self, include_last_offset: bool) -> EmbeddingBag {
        EmbeddingBag { include_last_offset, ..self }
    }

    /// The row (negative: from the end) that counts for nothing in a bag: it is set to zeros and gets no gradient.
    #[must_use]
    pub fn padding_idx(mut self, padding_idx: i64) -> EmbeddingBag {
        self.padding_idx = Some(pad("EmbeddingBag", &self.weight, padding_idx, true, &mut self.fault));
        self
    }

    /// Scales vectors that are longer than this down to it, in the table, when they are looked up.
    #[must_use]
    pub fn max_norm(self, max_norm: f64) -> EmbeddingBag {
        EmbeddingBag { max_norm: Some(max_norm), ..self }
    }

    /// The `p` of the norm for [`EmbeddingBag::max_norm`], 2 by default.
    #[must_use]
    pub fn norm_type(self, norm_type: f64) -> EmbeddingBag {
        EmbeddingBag { norm_type, ..self }
    }

    /// Whether a vector's gradient is divided by how often it was looked up.
    #[must_use]
    pub fn scale_grad_by_freq(self, scale_grad_by_freq: bool) -> EmbeddingBag {
        EmbeddingBag { scale_grad_by_freq, ..self }
    }

    /// The bags of a vector of numbers, which start at `offsets`, or of a matrix of numbers without offsets; each vector
    /// of a sum times its weight, if there are weights in the numbers' shape.
    ///
    /// # Errors
    /// As [`Tensor::embedding_bag`].
    #[track_caller]
    pub fn forward_bags(
        &self,
        input: &Tensor,
        offsets: Option<&Tensor>,
        per_sample_weights: Option<&Tensor>,
    ) -> Result<Tensor> {
        self.fault.check()?;
        let options = EmbeddingBagOptions {
            offsets,
            mode: self.mode,
            per_sample_weights,
            include_last_offset: self.include_last_offset,
            padding_idx: self.padding_idx,
            scale_grad_by_freq: self.scale_grad_by_freq,
        };
        if let Some(max_norm) = self.max_norm {
            self.weight.embedding_renorm_(input, max_norm, self.norm_type)?;
        }
        self.weight.embedding_bag(input, &options)
    }
}

impl Module for EmbeddingBag {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
        parts.add("weight", &self.weight);
    }

    fn extra_repr(&self) -> String {
        let norms = norms_repr(self.max_norm, self.norm_type, self.scale_grad_by_freq);
        let mode = format!("{:?}", self.mode).to_lowercase();
        let padding = self.padding_idx.map_or(String::new(), |p| format!(", padding_idx={p}"));
        format!("{}, {}{norms}, mode='{mode}'{padding}", self.num_embeddings, self.embedding_dim)
    }
}

impl Forward for EmbeddingBag {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        self.forward_bags(input, None, None)
    }
}

checked!(EmbeddingBag);
print_as_module!(EmbeddingBag);
