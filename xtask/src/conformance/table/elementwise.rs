//! Functions of one tensor, element by element, activations included.

use kiln_autograd::{Result, Tensor};

use crate::conformance::args::{Answer, Args, Out, Stop, inexpressible};
use crate::conformance::inexpressible::TYPE;

/// Rows without further arguments: the operator, the method, its in-place form.
macro_rules! plain {
    ({ $($name:literal $method:ident $method_:ident;)* } { $($only:literal $only_method:ident;)* }) => {
        fn plain(name: &str, x: &Tensor) -> Option<Result<Tensor>> {
            Some(match name {
                $($name => x.$method(),)*
                $($only => x.$only_method(),)*
                _ => return None,
            })
        }

        fn plain_in_place(name: &str, x: &Tensor) -> Option<Result<()>> {
            Some(match name.strip_suffix('_')? {
                $($name => x.$method_(),)*
                _ => return None,
            })
        }
    };
}

plain! {
    {
    "abs" abs abs_;
    "acos" acos acos_;
    "acosh" acosh acosh_;
    "asin" asin asin_;
    "asinh" asinh asinh_;
    "atan" atan atan_;
    "atanh" atanh atanh_;
    "bitwise_not" bitwise_not bitwise_not_;
    "ceil" ceil ceil_;
    "cos" cos cos_;
    "cosh" cosh cosh_;
    "deg2rad" deg2rad deg2rad_;
    "digamma" digamma digamma_;
    "erf" erf erf_;
    "erfc" erfc erfc_;
    "erfinv" erfinv erfinv_;
    "exp" exp exp_;
    "exp2" exp2 exp2_;
    "expm1" expm1 expm1_;
    "floor" floor floor_;
    "frac" frac frac_;
    "lgamma" lgamma lgamma_;
    "log" log log_;
    "log10" log10 log10_;
    "log1p" log1p log1p_;
    "log2" log2 log2_;
    "logical_not" logical_not logical_not_;
    "neg" neg neg_;
    "rad2deg" rad2deg rad2deg_;
    "reciprocal" reciprocal reciprocal_;
    "rsqrt" rsqrt rsqrt_;
    "sgn" sgn sgn_;
    "sigmoid" sigmoid sigmoid_;
    "sign" sign sign_;
    "sin" sin sin_;
    "sinc" sinc sinc_;
    "sinh" sinh sinh_;
    "sqrt" sqrt sqrt_;
    "square" square square_;
    "tan" tan tan_;
    "tanh" tanh tanh_;
    "trunc" trunc trunc_;
    }
    {
    "isfinite" isfinite;
    "isinf" isinf;
    "isnan" isnan;
    "isneginf" isneginf;
    "isposinf" isposinf;
    "isreal" isreal;
    "positive" positive;
    "signbit" signbit;
    "nn.functional.logsigmoid" log_sigmoid;
    "nn.functional.softsign" softsign;
    "nn.functional.tanhshrink" tanhshrink;
    }
}

/// The operators of this family.
pub fn call(name: &str, a: &Args<'_>) -> Answer<Out> {
    if let Some(function) = name.strip_prefix("nn.functional.")
        && let Some(result) = activation(function, a)?
    {
        return Ok(result.into());
    }
    let x = || a.x();
    Ok(match name {
        "round" => x()?.round_decimals(a.int_or(usize::MAX, "decimals", 0)?)?.into(),
        "logit" | "special.logit" => x()?.logit(a.opt_float(1, "eps")?)?.into(),
        "nan_to_num" => {
            let nan = a.opt_float(1, "nan")?;
            x()?.nan_to_num(nan, a.opt_float(2, "posinf")?, a.opt_float(3, "neginf")?)?.into()
        }
        "frexp" => x()?.frexp()?.into(),
        "angle" => x()?.angle()?.into(),
        "mvlgamma" => x()?.mvlgamma(a.int(1, "p")?)?.into(),
        "polygamma" => {
            let n = a.int(0, "n")?;
            a.tensor(1, "input|self")?.polygamma(n)?.into()
        }
        _ => {
            let name = name.strip_prefix("special.").unwrap_or(name);
            if plain_name(name) {
                let x = a.x()?;
                match plain(name, &x) {
                    Some(result) => result?.into(),
                    None => return Err(Stop::NoRow),
                }
            } else {
                return Err(Stop::NoRow);
            }
        }
    })
}

/// Whether [`plain`] has the operator: asked before its argument, so that other families keep theirs.
fn plain_name(name: &str) -> bool {
    Tensor::scalar(0.0).is_ok_and(|x| plain(name, &x).is_some())
}

fn activation(function: &str, a: &Args<'_>) -> Answer<Option<Tensor>> {
    let x = || a.x();
    // `inplace=False` is the form that is called.
    let _ = a.named("inplace");
    Ok(Some(match function {
        "relu" => x()?.relu()?,
        "relu6" => x()?.relu6()?,
        "silu" => x()?.silu()?,
        "selu" => x()?.selu()?,
        "mish" => x()?.mish()?,
        "hardsigmoid" => x()?.hardsigmoid()?,
        "hardswish" => x()?.hardswish()?,
        "gelu" => match a.str_or(1, "approximate", "none")? {
            "none" => x()?.gelu()?,
            "tanh" => x()?.gelu_tanh()?,
            _ => return inexpressible(TYPE),
        },
        "elu" => x()?.elu(a.float_or(1, "alpha", 1.0)?)?,
        "celu" => x()?.celu(a.float_or(1, "alpha", 1.0)?)?,
        "leaky_relu" => x()?.leaky_relu(a.float_or(1, "negative_slope", 0.01)?)?,
        "prelu" => x()?.prelu(&a.tensor(1, "weight")?)?,
        "hardtanh" => {
            let low = a.float_or(1, "min_val", -1.0)?;
            x()?.hardtanh(low, a.float_or(2, "max_val", 1.0)?)?
        }
        "softplus" => {
            let beta = a.float_or(1, "beta", 1.0)?;
            x()?.softplus(beta, a.float_or(2, "threshold", 20.0)?)?
        }
        "hardshrink" => x()?.hardshrink(a.float_or(1, "lambd", 0.5)?)?,
        "softshrink" => x()?.softshrink(a.float_or(1, "lambd", 0.5)?)?,
        "threshold" => {
            let limit = a.float_or(1, "threshold", 0.0)?;
            x()?.threshold(limit, a.float_or(2, "value", 0.0)?)?
        }
        "rrelu" => {
            let (lower, upper) = (a.float_or(1, "lower", 0.125)?, a.float_or(2, "upper", 1.0 / 3.0)?);
            x()?.rrelu(lower, upper, a.bool_or(3, "training", false)?)?
        }
        "glu" => x()?.glu(a.int_or(1, "dim", -1)?)?,
        _ => return Ok(None),
    }))
}

/// The in-place forms.
pub fn in_place(name: &str, a: &Args<'_>) -> Answer<()> {
    let x = || a.x();
    match name {
        "round_" => x()?.round_decimals_(a.int_or(usize::MAX, "decimals", 0)?)?,
        "logit_" => x()?.logit_(a.opt_float(1, "eps")?)?,
        "nan_to_num_" => {
            let nan = a.opt_float(1, "nan")?;
            x()?.nan_to_num_(nan, a.opt_float(2, "posinf")?, a.opt_float(3, "neginf")?)?;
        }
        "relu_" => x()?.relu_()?,
        "relu6_" => x()?.relu6_()?,
        "silu_" => x()?.silu_()?,
        "selu_" => x()?.selu_()?,
        "mish_" => x()?.mish_()?,
        "hardsigmoid_" => x()?.hardsigmoid_()?,
        "hardswish_" => x()?.hardswish_()?,
        "elu_" => x()?.elu_(a.float_or(1, "alpha", 1.0)?)?,
        "celu_" => x()?.celu_(a.float_or(1, "alpha", 1.0)?)?,
        "rrelu_" => {
            let (lower, upper) = (a.float_or(1, "lower", 0.125)?, a.float_or(2, "upper", 1.0 / 3.0)?);
            x()?.rrelu_(lower, upper, a.bool_or(3, "training", false)?)?;
        }
        "mvlgamma_" => x()?.mvlgamma_(a.int(1, "p")?)?,
        "polygamma_" => {
            let n = a.int(0, "n")?;
            a.tensor(1, "input|self")?.polygamma_(n)?;
        }
        "leaky_relu_" => x()?.leaky_relu_(a.float_or(1, "negative_slope", 0.01)?)?,
        "hardtanh_" => {
            let low = a.float_or(1, "min_val", -1.0)?;
            x()?.hardtanh_(low, a.float_or(2, "max_val", 1.0)?)?;
        }
        "threshold_" => {
            let limit = a.float_or(1, "threshold", 0.0)?;
            x()?.threshold_(limit, a.float_or(2, "value", 0.0)?)?;
        }
        _ => {
            let known = Tensor::scalar(0.0).is_ok_and(|x| plain_in_place(name, &x).is_some());
            if !known {
                return Err(Stop::NoRow);
            }
            match plain_in_place(name, &x()?) {
                Some(result) => result?,
                None => return Err(Stop::NoRow),
            }
        }
    }
    Ok(())
}
