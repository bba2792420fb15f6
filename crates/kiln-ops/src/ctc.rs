//! The connectionist temporal classification loss: Graves et al., "Connectionist temporal classification: labelling
//! unsegmented sequence data with recurrent neural networks" (2006).
//!
//! The labels of a sequence, with blanks between and around them, are the states of a chain. `alpha[t][s]` is the
//! logarithm of the probability of all ways to be in state `s` at step `t`, `beta[t][s]` that of all ways from there to
//! the end. Everything is computed in doubles.

use kiln_storage::{DType, Error, RawTensor, Result};

use crate::copy::{to_device, to_dtype};
use crate::cpu::split::pieces2;
use crate::rules::expect_float;

const OP: &str = "ctc_loss";
const NEVER: f64 = f64::NEG_INFINITY;

/// The loss of each sequence, and its gradient for the logarithms of the probabilities.
pub struct Ctc {
    /// `[batch]`
    pub losses: RawTensor,
    /// `[steps, batch, classes]`, when it was asked for.
    pub gradient: Option<RawTensor>,
}

/// The sizes of a batch and the class that stands for nothing.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    classes: usize,
    blank: usize,
}

fn add_logs(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if low == NEVER { high } else { high + libm::log1p(libm::exp(low - high)) }
}

/// One sequence: its log probabilities (a row of `classes` per step, `stride` apart) and the states of its chain.
struct Sequence<'a> {
    log_probs: &'a [f64],
    stride: usize,
    steps: usize,
    states: Vec<usize>,
    blank: usize,
}

impl Sequence<'_> {
    fn log_prob(&self, t: usize, s: usize) -> f64 {
        self.log_probs[t * self.stride + self.states[s]]
    }

    /// Whether a label may follow the label before the last blank: only another one.
    fn may_skip(&self, s: usize) -> bool {
        s >= 2 && self.states[s] != self.blank && self.states[s] != self.states[s - 2]
    }

    fn alphas(&self) -> Vec<f64> {
        let n = self.states.len();
        let mut alpha = vec![NEVER; self.steps * n];
        for t in 0..self.steps {
            for s in 0..n {
                let ways = match t {
                    0 if s < 2 => 0.0,
                    0 => NEVER,
                    _ => {
                        let before = &alpha[(t - 1) * n..t * n];
                        let mut sum = before[s];
                        if s >= 1 {
                            sum = add_logs(sum, before[s - 1]);
                        }
                        if self.may_skip(s) {
                            sum = add_logs(sum, before[s - 2]);
                        }
                        sum
                    }
                };
                alpha[t * n + s] = ways + self.log_prob(t, s);
            }
        }
        alpha
    }

    fn betas(&self) -> Vec<f64> {
        let n = self.states.len();
        let mut beta = vec![NEVER; self.steps * n];
        for t in (0..self.steps).rev() {
            for s in 0..n {
                let ways = if t + 1 == self.steps {
                    if s + 2 >= n { 0.0 } else { NEVER }
                } else {
                    let after = &beta[(t + 1) * n..(t + 2) * n];
                    let mut sum = after[s];
                    if s + 1 < n {
                        sum = add_logs(sum, after[s + 1]);
                    }
                    if s + 2 < n && self.may_skip(s + 2) {
                        sum = add_logs(sum, after[s + 2]);
                    }
                    sum
                };
                beta[t * n + s] = ways + self.log_prob(t, s);
            }
        }
        beta
    }

    fn loss(&self, alpha: &[f64]) -> f64 {
        let n = self.states.len();
        match self.steps {
            // No steps fit no labels and nothing else.
            0 if n == 1 => 0.0,
            0 => f64::INFINITY,
            steps => {
                let last = &alpha[(steps - 1) * n..];
                let end = if n > 1 { add_logs(last[n - 1], last[n - 2]) } else { last[0] };
                -end
            }
        }
    }

    /// The gradient, which takes for granted that the probabilities of a step sum to 1.
    fn gradient(&self, alpha: &[f64], loss: f64, out: &mut [f64], classes: usize) {
        let (n, beta) = (self.states.len(), self.betas());
        for t in 0..self.steps {
            let row = &mut out[t * classes..(t + 1) * classes];
            row.fill(NEVER);
            for (s, &class) in self.states.iter().enumerate() {
                row[class] = add_logs(row[class], alpha[t * n + s] + beta[t * n + s]);
            }
            for (class, g) in row.iter_mut().enumerate() {
                let log_prob = self.log_probs[t * self.stride + class];
                *g = libm::exp(log_prob) - libm::exp(*g + loss - log_prob);
            }
        }
    }
}

/// The targets of each sequence, checked.
fn targets_of(targets: &RawTensor, lengths: &[usize], sizes: Sizes) -> Result<Vec<Vec<usize>>> {
    let values = to_dtype(targets, DType::I64)?.to_vec::<i64>()?;
    let total: usize = lengths.iter().fold(0, |sum, n| sum.saturating_add(*n));
    let (row, room) = match *targets.shape().dims() {
        [all] if all >= total => (None, usize::MAX),
        [rows, columns] if rows == sizes.batch => (Some(columns), columns),
        _ => {
            return Err(Error::shape(
                OP,
                format!(
                    "expected targets of shape [{total}] or [{}, longest], got {:?}",
                    sizes.batch,
                    targets.shape()
                ),
            ));
        }
    };
    if let Some(length) = lengths.iter().find(|l| **l > room) {
        return Err(Error::value(
            OP,
            format!("Expected target_lengths to have value at most {room}, but got value {length}"),
        ));
    }
    let mut at = 0;
    let mut all = Vec::with_capacity(lengths.len());
    for (i, &length) in lengths.iter().enumerate() {
        let start = row.map_or(at, |row| i * row);
        at += length;
        let labels = values[start..start + length].iter().map(|&label| match usize::try_from(label) {
            Ok(label) if label < sizes.classes => Ok(label),
            _ => {
                Err(Error::index(OP, format!("target {label} is out of range for {} classes", sizes.classes)))
            }
        });
        all.push(labels.collect::<Result<Vec<usize>>>()?);
    }
    Ok(all)
}

fn lengths_of(what: &str, lengths: &RawTensor, sizes: Sizes) -> Result<Vec<usize>> {
    if lengths.numel() != sizes.batch || lengths.dtype().is_float() {
        return Err(Error::value(
            OP,
            format!(
                "{what} must be {} integers, got shape {:?} and dtype {}",
                sizes.batch,
                lengths.shape(),
                lengths.dtype()
            ),
        ));
    }
    let values = to_dtype(lengths, DType::I64)?.to_vec::<i64>()?;
    let bad = |n: &i64| Error::value(OP, format!("{what} must not be negative, got {n}"));
    values.iter().map(|n| usize::try_from(*n).map_err(|_| bad(n))).collect()
}

/// The negative logarithm of the probability that `[steps, batch, classes]` independent choices spell the targets
/// `[batch, longest]`, or all of them one after the other, when repetitions merge and then blanks go. Sequences that
/// cannot be spelled have an infinite loss, or none at all with `zero_infinity`.
///
/// # Errors
/// Log probabilities of another rank or dtype, lengths or targets that do not fit.
pub fn ctc_loss(
    log_probs: &RawTensor,
    targets: &RawTensor,
    input_lengths: &RawTensor,
    target_lengths: &RawTensor,
    blank: usize,
    zero_infinity: bool,
    with_gradient: bool,
) -> Result<Ctc> {
    expect_float(OP, "log_probs", log_probs)?;
    let &[steps, batch, classes] = log_probs.shape().dims() else {
        return Err(Error::shape(
            OP,
            format!("expected log_probs [steps, batch, classes], got {:?}", log_probs.shape()),
        ));
    };
    if blank >= classes {
        return Err(Error::value(
            OP,
            format!("blank must be in label range, got {blank} of {classes} classes"),
        ));
    }
    if targets.dtype().is_float() || targets.dtype() == DType::Bool {
        return Err(Error::dtype(OP, format!("targets must be integers, got {}", targets.dtype())));
    }
    let sizes = Sizes { batch, classes, blank };
    let inputs = lengths_of("input_lengths", input_lengths, sizes)?;
    if let Some(length) = inputs.iter().find(|l| **l > steps) {
        return Err(Error::value(
            OP,
            format!("Expected input_lengths to have value at most {steps}, but got value {length}"),
        ));
    }
    let labels = targets_of(targets, &lengths_of("target_lengths", target_lengths, sizes)?, sizes)?;
    let log_prob_values = to_dtype(log_probs, DType::F64)?.to_vec::<f64>()?;
    let mut losses = vec![0.0f64; batch];
    let piece = if with_gradient { steps * classes } else { 0 };
    let mut gradient = vec![0.0f64; batch * piece];
    let one = |i: usize, loss: &mut f64, gradient: &mut [f64]| {
        let mut states = vec![sizes.blank; 2 * labels[i].len() + 1];
        labels[i].iter().enumerate().for_each(|(j, &label)| states[2 * j + 1] = label);
        let sequence = Sequence {
            log_probs: log_prob_values.get(i * classes..).unwrap_or(&[]),
            stride: batch * classes,
            steps: inputs[i],
            states,
            blank: sizes.blank,
        };
        let alpha = sequence.alphas();
        *loss = sequence.loss(&alpha);
        let dropped = zero_infinity && *loss == f64::INFINITY;
        if dropped {
            *loss = 0.0;
        } else if with_gradient {
            sequence.gradient(&alpha, *loss, gradient, classes);
        }
    };
    pieces2(&mut losses, 1, &mut gradient, piece, batch, |i, loss, gradient| one(i, &mut loss[0], gradient));
    let finish = |values: Vec<f64>, shape: &[usize]| {
        let t = to_dtype(&RawTensor::from_vec(OP, values, shape)?, log_probs.dtype())?;
        to_device(&t, log_probs.device())
    };
    let gradient = match with_gradient {
        true => Some(crate::transpose(&finish(gradient, &[batch, steps, classes])?, 0, 1)?),
        false => None,
    };
    Ok(Ctc { losses: finish(losses, &[batch])?, gradient })
}
