//! The steps of optimizers that scale each element by the size its gradients had.

use kiln_storage::Result;

use super::{Decay, Updated, update};
use crate::op::Op;

/// What all of these steps do to the gradient first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Direction {
    /// How weights decay.
    pub decay: Decay,
    /// Climbs: the gradient's sign is turned around.
    pub maximize: bool,
}

/// A step of one of these optimizers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AdaptiveStep {
    /// See [`adagrad`].
    Adagrad(AdagradStep),
    /// See [`adadelta`].
    Adadelta(AdadeltaStep),
    /// See [`rmsprop`].
    Rmsprop(RmspropStep),
    /// See [`adamax`].
    Adamax(AdamaxStep),
    /// See [`nadam`].
    Nadam(NadamStep),
    /// See [`radam`].
    Radam(RadamStep),
}

/// Adagrad: `s += g^2`, `param -= lr g / (sqrt(s) + eps)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdagradStep {
    /// What is done to the gradient first.
    pub direction: Direction,
    /// The learning rate of this step.
    pub lr: f64,
    /// Keeps the divisor from zero.
    pub eps: f64,
}

/// Adadelta: `v` is the running mean of `g^2`, `d = sqrt(u + eps) / sqrt(v + eps) g`, `u` the running mean of `d^2`,
/// `param -= lr d`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdadeltaStep {
    /// What is done to the gradient first.
    pub direction: Direction,
    /// The factor of the step.
    pub lr: f64,
    /// How much of both means stays.
    pub rho: f64,
    /// Keeps the roots from zero.
    pub eps: f64,
}

/// RMSprop: `v` is the running mean of `g^2` (if centered, less the square of the running mean of `g`),
/// `b = momentum b + g / (sqrt(v) + eps)`, `param -= lr b`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmspropStep {
    /// What is done to the gradient first.
    pub direction: Direction,
    /// The learning rate.
    pub lr: f64,
    /// How much of the means stays.
    pub alpha: f64,
    /// Keeps the divisor from zero.
    pub eps: f64,
    /// How much of the buffer stays; 0: there is no buffer.
    pub momentum: f64,
    /// Takes the variance in the place of the mean square.
    pub centered: bool,
}

/// Adamax: `m` is the running mean of `g`, `u = max(beta2 u, |g| + eps)`, `param -= step_size m / u`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamaxStep {
    /// What is done to the gradient first.
    pub direction: Direction,
    /// The learning rate divided by the correction of `m`.
    pub step_size: f64,
    /// How much of `m` stays.
    pub beta1: f64,
    /// How much of `u` stays.
    pub beta2: f64,
    /// Keeps the divisor from zero.
    pub eps: f64,
}

/// NAdam: with Adam's `m` and `v`, `param -= (along_grad g + along_mean m) / (sqrt(v / correction) + eps)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NadamStep {
    /// What is done to the gradient first.
    pub direction: Direction,
    /// The factor of the gradient.
    pub along_grad: f64,
    /// The factor of `m`.
    pub along_mean: f64,
    /// The correction of `v`, `1 - beta2^step`.
    pub correction: f64,
    /// How much of `m` stays.
    pub beta1: f64,
    /// How much of `v` stays.
    pub beta2: f64,
    /// Keeps the divisor from zero.
    pub eps: f64,
}

/// RAdam: with Adam's `m` and `v`, `param -= step_size m`, and where the variance of `v` is known well enough times
/// `scale / (sqrt(v) + eps)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RadamStep {
    /// What is done to the gradient first.
    pub direction: Direction,
    /// The learning rate.
    pub lr: f64,
    /// The correction of `m`, `1 - beta1^step`.
    pub correction: f64,
    /// The root of the correction of `v`, and the rectification; none in the first steps.
    pub scale: Option<(f64, f64)>,
    /// How much of `m` stays.
    pub beta1: f64,
    /// How much of `v` stays.
    pub beta2: f64,
    /// Keeps the divisor from zero.
    pub eps: f64,
}

/// One step of Adagrad, with the state `[s]`.
///
/// # Errors
/// As [`super::sgd`].
pub fn adagrad(step: &AdagradStep, updated: &[Updated<'_, 1>]) -> Result<()> {
    update("adagrad", &Op::AdaptiveStep(AdaptiveStep::Adagrad(*step)), updated)
}

/// One step of Adadelta, with the state `[v, u]`.
///
/// # Errors
/// As [`super::sgd`].
pub fn adadelta(step: &AdadeltaStep, updated: &[Updated<'_, 2>]) -> Result<()> {
    update("adadelta", &Op::AdaptiveStep(AdaptiveStep::Adadelta(*step)), updated)
}

/// One step of RMSprop, with the state `[v]` followed by the buffer if there is momentum and by the mean if it is
/// centered.
///
/// # Errors
/// As [`super::sgd`].
///
/// # Panics
/// There is another number of states than the step has.
pub fn rmsprop<const STATE: usize>(step: &RmspropStep, updated: &[Updated<'_, STATE>]) -> Result<()> {
    let states = 1 + usize::from(step.momentum != 0.0) + usize::from(step.centered);
    assert!(STATE == states, "RMSprop has {states} states, got {STATE}");
    update("rmsprop", &Op::AdaptiveStep(AdaptiveStep::Rmsprop(*step)), updated)
}

/// One step of Adamax, with the state `[m, u]`.
///
/// # Errors
/// As [`super::sgd`].
pub fn adamax(step: &AdamaxStep, updated: &[Updated<'_, 2>]) -> Result<()> {
    update("adamax", &Op::AdaptiveStep(AdaptiveStep::Adamax(*step)), updated)
}

/// One step of NAdam, with the state `[m, v]`.
///
/// # Errors
/// As [`super::sgd`].
pub fn nadam(step: &NadamStep, updated: &[Updated<'_, 2>]) -> Result<()> {
    update("nadam", &Op::AdaptiveStep(AdaptiveStep::Nadam(*step)), updated)
}

/// One step of RAdam, with the state `[m, v]`.
///
/// # Errors
/// As [`super::sgd`].
pub fn radam(step: &RadamStep, updated: &[Updated<'_, 2>]) -> Result<()> {
    update("radam", &Op::AdaptiveStep(AdaptiveStep::Radam(*step)), updated)
}
