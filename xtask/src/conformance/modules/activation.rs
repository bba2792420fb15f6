//! Activations, softmax, dropout.

use kiln_autograd::Error;
use kiln_nn::*;

use super::call::Call;
use super::layer::{Layer, unary, with};
use crate::conformance::args::{Answer, Stop};

/// A layer along one axis. Where none is given, PyTorch takes the first for tensors of 0, 1 and 3 axes, else the second.
fn along<M: Forward>(a: &Call<'_>, make: fn(i64) -> M) -> Answer<Layer> {
    match a.opt_int(0, "dim")? {
        Some(dim) => unary(make(dim)),
        None => with(make(0), move |_: &M, given| {
            let input = given.tensor(0, "input")?;
            Ok(make(if matches!(input.rank(), 0 | 1 | 3) { 0 } else { 1 }).forward(&input)?)
        }),
    }
}

/// The classes of this family.
pub fn build(name: &str, a: &Call<'_>) -> Answer<Layer> {
    // Layers that work in place give the same result.
    let _ = a.named("inplace");
    let number = |position, names, absent| a.float_or(position, names, absent);
    let p = || a.float_or(0, "p", 0.5);
    macro_rules! dropout {
        ($layer:ident) => {{
            let layer = $layer::new(p()?);
            layer.check()?;
            unary(layer)
        }};
    }
    match name {
        "ReLU" => unary(ReLU),
        "Sigmoid" => unary(Sigmoid),
        "Tanh" => unary(Tanh),
        "SiLU" => unary(SiLU),
        "LogSigmoid" => unary(LogSigmoid),
        "ReLU6" => unary(ReLU6),
        "SELU" => unary(SELU),
        "Mish" => unary(Mish),
        "Softsign" => unary(Softsign),
        "Tanhshrink" => unary(Tanhshrink),
        "Hardsigmoid" => unary(Hardsigmoid),
        "Hardswish" => unary(Hardswish),
        "Softmax2d" => unary(Softmax2d),
        "GELU" => match a.str_or(0, "approximate", "none")? {
            "none" => unary(GELU::new()),
            "tanh" => unary(GELU::tanh()),
            other => Err(Error::value(
                "GELU",
                format!("approximate argument must be either none or tanh, got {other}"),
            )
            .into()),
        },
        "LeakyReLU" => unary(LeakyReLU::new(number(0, "negative_slope", 0.01)?)),
        "ELU" => unary(ELU::new(number(0, "alpha", 1.0)?)),
        "CELU" => unary(CELU::new(number(0, "alpha", 1.0)?)),
        "Hardtanh" => unary(Hardtanh::new(number(0, "min_val", -1.0)?, number(1, "max_val", 1.0)?)),
        "Softplus" => unary(Softplus::new(number(0, "beta", 1.0)?, number(1, "threshold", 20.0)?)),
        "Hardshrink" => unary(Hardshrink::new(number(0, "lambd", 0.5)?)),
        "Softshrink" => unary(Softshrink::new(number(0, "lambd", 0.5)?)),
        "Threshold" => unary(Threshold::new(number(0, "threshold", 0.0)?, number(1, "value", 0.0)?)),
        "GLU" => unary(GLU::new(a.int_or(0, "dim", -1)?)),
        "PReLU" => unary(PReLU::with_init(a.size_or(0, "num_parameters", 1)?, number(1, "init", 0.25)?)),
        "RReLU" => unary(RReLU::new(number(0, "lower", 1.0 / 8.0)?, number(1, "upper", 1.0 / 3.0)?)),
        "Softmax" => along(a, Softmax::new),
        "LogSoftmax" => along(a, LogSoftmax::new),
        "Softmin" => along(a, Softmin::new),
        "Dropout" => dropout!(Dropout),
        "Dropout1d" => dropout!(Dropout1d),
        "Dropout2d" => dropout!(Dropout2d),
        "Dropout3d" => dropout!(Dropout3d),
        "AlphaDropout" => dropout!(AlphaDropout),
        "FeatureAlphaDropout" => dropout!(FeatureAlphaDropout),
        _ => Err(Stop::NoRow),
    }
}
