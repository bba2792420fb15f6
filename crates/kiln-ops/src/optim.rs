//! The updates of optimizers: one pass over each parameter, its gradient and its state, for many parameters at a time.
//!
//! All numbers are rounded after every operation and nothing is fused, so that results are those of PyTorch's plain loop
//! over tensor operations to the last digit or nearly so.

mod adaptive;

pub use adaptive::*;

use kiln_storage::{Error, RawTensor, Result};
use smallvec::SmallVec;

use crate::backend::run;
use crate::copy::{contiguous, contiguous_copy, copy_};
use crate::op::Op;
use crate::rules::{check_writable, expect_float, same_device};

/// Stochastic gradient descent: `g = grad + weight_decay param`, `b = momentum b + (1 - dampening) g`, `param -= lr b`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdStep {
    /// The learning rate.
    pub lr: f64,
    /// How much of the buffer stays; without momentum there is no buffer.
    pub momentum: f64,
    /// How much of the gradient the buffer does not take.
    pub dampening: f64,
    /// The strength of the L2 penalty.
    pub weight_decay: f64,
    /// Looks ahead: steps along `g + momentum b`.
    pub nesterov: bool,
    /// Climbs: the gradient's sign is turned around.
    pub maximize: bool,
    /// The buffer's content counts for nothing: it becomes the gradient.
    pub first: bool,
}

/// Adam: `m` and `v` are running means of the gradient and its square, `param -= step_size m / (sqrt(v) / root + eps)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// The learning rate divided by the correction of `m`, `1 - beta1^step`.
    pub step_size: f64,
    /// The root of the correction of `v`, `sqrt(1 - beta2^step)`.
    pub root: f64,
    /// How much of `m` stays.
    pub beta1: f64,
    /// How much of `v` stays.
    pub beta2: f64,
    /// Keeps the divisor from zero.
    pub eps: f64,
    /// The strength of the L2 penalty; `Decay::Decoupled` holds a factor.
    pub decay: Decay,
    /// Climbs: the gradient's sign is turned around.
    pub maximize: bool,
}

/// How weights decay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decay {
    /// Not at all.
    None,
    /// Through the gradient: `g = grad + rate param`.
    Gradient(f64),
    /// Apart from it: `param` is first multiplied by this factor, `1 - lr rate`.
    Decoupled(f64),
}

/// A parameter with its gradient and its state, which are like it.
pub struct Updated<'a, const STATE: usize> {
    /// The parameter, changed in place.
    pub param: &'a RawTensor,
    /// Its gradient.
    pub grad: &'a RawTensor,
    /// What the optimizer remembers, contiguous, changed in place.
    pub state: [&'a RawTensor; STATE],
}

/// One step of SGD without momentum (no state) or with it (`[buffer]`).
///
/// # Errors
/// A gradient or state is not like its parameter; a dtype that is not floating point; parameters that share memory or are
/// not all of one dtype and device.
pub fn sgd<const STATE: usize>(step: &SgdStep, updated: &[Updated<'_, STATE>]) -> Result<()> {
    const { assert!(STATE <= 1) };
    update("sgd", &Op::SgdStep(*step), updated)
}

/// One step of Adam, with the state `[m, v]`, or `[m, v, largest v]` for the form that divides by the largest `v` so far.
///
/// # Errors
/// As [`sgd`].
pub fn adam<const STATE: usize>(step: &AdamStep, updated: &[Updated<'_, STATE>]) -> Result<()> {
    const { assert!(STATE == 2 || STATE == 3) };
    update("adam", &Op::AdamStep(*step), updated)
}

fn update<const STATE: usize>(op: &'static str, kernel: &Op, updated: &[Updated<'_, STATE>]) -> Result<()> {
    let all: SmallVec<[Row<'_>; 16]> =
        updated.iter().map(|u| Row { param: u.param, grad: u.grad, state: &u.state }).collect();
    update_all(op, kernel, &all, STATE)
}

/// [`Updated`] with any number of states.
struct Row<'a> {
    param: &'a RawTensor,
    grad: &'a RawTensor,
    state: &'a [&'a RawTensor],
}

/// [`update`] where each parameter has `states` states.
fn update_all(op: &'static str, kernel: &Op, updated: &[Row<'_>], states: usize) -> Result<()> {
    let Some(first) = updated.first() else { return Ok(()) };
    for u in updated {
        check(op, first.param, u)?;
    }
    // Kernels take contiguous memory. Parameters that are views with gaps are rare: they go through a copy.
    let params = updated.iter().map(|u| contiguous(u.param)).collect::<Result<Vec<RawTensor>>>()?;
    let mut grads = updated.iter().map(|u| contiguous(u.grad)).collect::<Result<Vec<RawTensor>>>()?;
    let states = (0..states).flat_map(|k| updated.iter().map(move |u| u.state[k]));
    let outputs: SmallVec<[&RawTensor; 16]> = params.iter().chain(states).collect();
    separate(op, &outputs, &mut grads)?;
    let inputs: SmallVec<[&RawTensor; 16]> = grads.iter().collect();
    run(op, kernel, &inputs, &outputs)?;
    for (u, done) in updated.iter().zip(&params) {
        if u.param.is_contiguous() {
            u.param.bump_version();
        } else {
            copy_(u.param, done)?;
        }
        u.state.iter().for_each(|s| s.bump_version());
    }
    Ok(())
}

fn check(op: &'static str, first: &RawTensor, u: &Row<'_>) -> Result<()> {
    expect_float(op, "a parameter", u.param)?;
    check_writable(op, u.param)?;
    same_device(op, &[first, u.param, u.grad])?;
    let alike = |t: &RawTensor| t.shape() == u.param.shape() && t.dtype() == first.dtype();
    if !alike(u.param) || !alike(u.grad) {
        return Err(Error::shape(
            op,
            format!(
                "a gradient must be like its parameter: {:?} {} came for {:?} {} (and all parameters of a step are of one \
                 dtype, {})",
                u.grad.shape(),
                u.grad.dtype(),
                u.param.shape(),
                u.param.dtype(),
                first.dtype()
            ),
        ));
    }
    for state in u.state {
        same_device(op, &[first, state])?;
        if !alike(state) || !state.is_contiguous() {
            return Err(Error::shape(
                op,
                format!(
                    "the state must be like the parameter, {:?} {}, and contiguous; got {:?} {} with strides {:?}",
                    u.param.shape(),
                    u.param.dtype(),
                    state.shape(),
                    state.dtype(),
                    state.layout().strides()
                ),
            ));
        }
    }
    Ok(())
}

/// Fails when two outputs share memory; gives gradients that share memory with an output memory of their own.
fn separate(op: &'static str, outputs: &[&RawTensor], grads: &mut [RawTensor]) -> Result<()> {
    // In bytes: views of one memory may have different dtypes.
    let place = |t: &RawTensor| {
        let (span, size) = (t.layout().span(), t.dtype().size());
        (t.storage().id(), span.start * size, span.end * size)
    };
    let mut written: SmallVec<[(usize, usize, usize); 16]> = outputs.iter().map(|t| place(t)).collect();
    written.retain(|(_, start, end)| start < end);
    written.sort_unstable();
    if written.windows(2).any(|w| w[0].0 == w[1].0 && w[1].1 < w[0].2) {
        return Err(Error::value(
            op,
            "parameters or states share memory; an optimizer takes each parameter once",
        ));
    }
    for grad in grads {
        let (id, start, end) = place(grad);
        let at = written.partition_point(|&(w, from, _)| (w, from) < (id, end));
        if at > 0 && written[at - 1].0 == id && written[at - 1].2 > start {
            *grad = contiguous_copy(grad)?;
        }
    }
    Ok(())
}
