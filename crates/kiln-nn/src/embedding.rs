//! [`Embedding`]: vectors by number.

use kiln_autograd::{Error, Result, Tensor, no_grad};

use crate::draw::{self, Fault, checked};
use crate::module::{Forward, Module};
use crate::parts::{Parameter, Parts, Training};
use crate::print::{print_as_module, python_bool};

/// A table of vectors, looked up by number (`torch.nn.Embedding`): weight `[num_embeddings, embedding_dim]`, drawn from the
/// standard normal distribution.
///
/// Shapes: int32 or int64 `[*] -> [*, embedding_dim]`.
///
/// ```
/// use kiln_nn::{Embedding, Forward, Tensor};
/// let layer = Embedding::new(10, 3).padding_idx(0);
/// let words = Tensor::from_vec(vec![1i64, 0, 9, 1], [2, 2])?;
/// let vectors = layer.forward(&words)?;
/// assert_eq!(vectors.dims(), [2, 2, 3]);
/// assert_eq!(vectors.select(0, 0)?.select(0, 1)?.to_vec::<f32>()?, [0.0; 3]);
/// assert_eq!(layer.to_string(), "Embedding(10, 3, padding_idx=0)");
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub struct Embedding {
    /// `[num_embeddings, embedding_dim]`
    pub weight: Parameter,
    num_embeddings: usize,
    embedding_dim: usize,
    padding_idx: Option<i64>,
    max_norm: Option<f64>,
    norm_type: f64,
    scale_grad_by_freq: bool,
    /// The vectors are given: a padding row is not set to zeros.
    pretrained: bool,
    training: Training,
    fault: Fault,
}

/// The table of an embedding, drawn.
pub(crate) fn table(op: &'static str, rows: usize, width: usize, fault: &mut Fault) -> Parameter {
    draw::normal(&[rows, width]).unwrap_or_else(|e| {
        fault.note(op, format!("cannot be made with {rows} embeddings of {width} places: {e}"));
        draw::nothing()
    })
}

/// Sets row `row` (negative: from the end) to zeros if `clear`; gives the row from the start, or notes that there is none.
pub(crate) fn pad(op: &'static str, weight: &Parameter, row: i64, clear: bool, fault: &mut Fault) -> i64 {
    let rows = weight.dims()[0] as i64;
    if row < -rows || row >= rows {
        fault.note(op, format!("Padding_idx must be within num_embeddings, got {row} for {rows} embeddings"));
        return row;
    }
    let row = row.rem_euclid(rows);
    if clear && let Err(e) = no_grad(|| weight.select(0, row)?.fill_(0.0)) {
        fault.note(op, format!("the row {row} cannot be padding: {e}"));
    }
    row
}

impl Embedding {
    /// A table of `num_embeddings` vectors.
    pub fn new(num_embeddings: usize, embedding_dim: usize) -> Embedding {
        let mut fault = Fault::default();
        let weight = table("Embedding", num_embeddings, embedding_dim, &mut fault);
        Embedding::of(weight, num_embeddings, embedding_dim, fault)
    }

    fn of(weight: Parameter, num_embeddings: usize, embedding_dim: usize, fault: Fault) -> Embedding {
        Embedding {
            weight,
            num_embeddings,
            embedding_dim,
            padding_idx: None,
            max_norm: None,
            norm_type: 2.0,
            scale_grad_by_freq: false,
            pretrained: false,
            training: Training::default(),
            fault,
        }
    }

    /// A layer with these vectors (`Embedding.from_pretrained`), which is not learned if `freeze`. A padding row that is
    /// said afterwards keeps its values.
    ///
    /// # Errors
    /// Not a matrix of floating point numbers.
    #[track_caller]
    pub fn from_pretrained(embeddings: &Tensor, freeze: bool) -> Result<Embedding> {
        let dims = embeddings.dims();
        let [rows, width] = dims[..] else {
            return Err(Error::shape(
                "Embedding",
                format!("Embeddings parameter is expected to be 2-dimensional, got shape {dims:?}"),
            ));
        };
        let weight = Parameter::new(embeddings.detach())?;
        weight.tensor().clone().requires_grad_(!freeze)?;
        Ok(Embedding { pretrained: true, ..Embedding::of(weight, rows, width, Fault::default()) })
    }

    /// The row (negative: from the end) that stands for nothing: it is set to zeros and gets no gradient.
    #[must_use]
    pub fn padding_idx(mut self, padding_idx: i64) -> Embedding {
        let clear = !self.pretrained;
        self.padding_idx = Some(pad("Embedding", &self.weight, padding_idx, clear, &mut self.fault));
        self
    }

    /// Scales vectors that are longer than this down to it, in the table, when they are looked up.
    #[must_use]
    pub fn max_norm(self, max_norm: f64) -> Embedding {
        Embedding { max_norm: Some(max_norm), ..self }
    }

    /// The `p` of the norm for [`Embedding::max_norm`], 2 by default.
    #[must_use]
    pub fn norm_type(self, norm_type: f64) -> Embedding {
        Embedding { norm_type, ..self }
    }

    /// Whether a vector's gradient is divided by how often it was looked up.
    #[must_use]
    pub fn scale_grad_by_freq(self, scale_grad_by_freq: bool) -> Embedding {
        Embedding { scale_grad_by_freq, ..self }
    }

    /// How many vectors there are.
    pub fn num_embeddings(&self) -> usize {
        self.num_embeddings
    }

    /// How many places each has.
    pub fn embedding_dim(&self) -> usize {
        self.embedding_dim
    }
}

/// The settings that both embedding layers print.
pub(crate) fn norms_repr(max_norm: Option<f64>, norm_type: f64, scale_grad_by_freq: bool) -> String {
    let mut text = String::new();
    if let Some(max_norm) = max_norm {
        text += &format!(", max_norm={max_norm:?}");
    }
    if norm_type != 2.0 {
        text += &format!(", norm_type={norm_type:?}");
    }
    if scale_grad_by_freq {
        text += &format!(", scale_grad_by_freq={}", python_bool(true));
    }
    text
}

impl Module for Embedding {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
        parts.add("weight", &self.weight);
    }

    fn extra_repr(&self) -> String {
        let padding = self.padding_idx.map_or(String::new(), |p| format!(", padding_idx={p}"));
        let norms = norms_repr(self.max_norm, self.norm_type, self.scale_grad_by_freq);
        format!("{}, {}{padding}{norms}", self.num_embeddings, self.embedding_dim)
    }
}

impl Forward for Embedding {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        self.fault.check()?;
        if let Some(max_norm) = self.max_norm {
            self.weight.embedding_renorm_(input, max_norm, self.norm_type)?;
        }
        self.weight.embedding(input, self.padding_idx, self.scale_grad_by_freq)
    }
}

checked!(Embedding);
print_as_module!(Embedding);
