//! The activations in `f64`, in the forms that do not cancel.

use std::f64::consts::FRAC_1_SQRT_2;

/// `e^-|x|`.
fn exp_neg_abs(x: f64) -> f64 {
    libm::exp(-x.abs())
}

pub(super) fn sigmoid(x: f64) -> f64 {
    let z = exp_neg_abs(x);
    (if x < 0.0 { z } else { 1.0 }) / (1.0 + z)
}

pub(super) fn log_sigmoid(x: f64) -> f64 {
    (if x < 0.0 { x } else { 0.0 }) - libm::log1p(exp_neg_abs(x))
}

pub(super) fn softplus(x: f64) -> f64 {
    (if x > 0.0 { x } else { 0.0 }) + libm::log1p(exp_neg_abs(x))
}

pub(super) fn silu(x: f64) -> f64 {
    x * sigmoid(x)
}

pub(super) fn mish(x: f64) -> f64 {
    x * libm::tanh(softplus(x))
}

pub(super) fn gelu(x: f64) -> f64 {
    // NaN at -infinity, as in PyTorch, though the limit is 0.
    0.5 * x * libm::erfc(-x * FRAC_1_SQRT_2)
}

pub(super) fn gelu_tanh(x: f64) -> f64 {
    // 0.5 (1 + tanh(v)) = sigmoid(2v), and 2 sqrt(2 / pi) is this.
    const C: f64 = 1.595_769_121_605_730_7;
    x * sigmoid(C * (x + 0.044_715 * x * x * x))
}
