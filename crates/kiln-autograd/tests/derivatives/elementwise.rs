//! Functions of each element.

use kiln_autograd::{Arg, Result, Tensor, fork_rng, manual_seed, tensor};

use super::rows::{List, Row, rows};

/// Draws that are the same at every call. Rows run one after the other, and no other test here draws.
fn drawn(f: impl FnOnce() -> Result<Tensor>) -> Result<Tensor> {
    fork_rng(|| {
        manual_seed(5);
        f()
    })
}

rows! {
    "exp" -1.0 to 1.0 [2, 3] => |x| x[0].exp();
    "exp2" -1.0 to 1.0 [5] => |x| x[0].exp2();
    "expm1" -1.0 to 1.0 [5] => |x| x[0].expm1();
    "log" 0.3 to 3.0 [5] => |x| x[0].log();
    "log2" 0.3 to 3.0 [5] => |x| x[0].log2();
    "log10" 0.3 to 3.0 [5] => |x| x[0].log10();
    "log1p" -0.5 to 3.0 [5] => |x| x[0].log1p();
    "sqrt" 0.3 to 3.0 [5] => |x| x[0].sqrt();
    "rsqrt" 0.3 to 3.0 [5] => |x| x[0].rsqrt();
    "reciprocal" 0.3 to 3.0 [5] => |x| x[0].reciprocal();
    "sin" -3.0 to 3.0 [5] => |x| x[0].sin();
    "cos" -3.0 to 3.0 [5] => |x| x[0].cos();
    "tan" -1.2 to 1.2 [5] => |x| x[0].tan();
    "asin" -0.8 to 0.8 [5] => |x| x[0].asin();
    "acos" -0.8 to 0.8 [5] => |x| x[0].acos();
    "atan" -2.0 to 2.0 [5] => |x| x[0].atan();
    "sinh" -2.0 to 2.0 [5] => |x| x[0].sinh();
    "cosh" -2.0 to 2.0 [5] => |x| x[0].cosh();
    "tanh" -2.0 to 2.0 [5] => |x| x[0].tanh();
    "asinh" -2.0 to 2.0 [5] => |x| x[0].asinh();
    "acosh" 1.2 to 3.0 [5] => |x| x[0].acosh();
    "atanh" -0.8 to 0.8 [5] => |x| x[0].atanh();
    "sigmoid" -3.0 to 3.0 [5] => |x| x[0].sigmoid();
    "log_sigmoid" -3.0 to 3.0 [5] => |x| x[0].log_sigmoid();
    "silu" -3.0 to 3.0 [5] => |x| x[0].silu();
    "erf" -2.0 to 2.0 [5] => |x| x[0].erf();
    "erfc" -2.0 to 2.0 [5] => |x| x[0].erfc();
    "erfinv" -0.8 to 0.8 [5] => |x| x[0].erfinv();
    "lgamma" 0.5 to 3.0 [5] => |x| x[0].lgamma();
    "digamma" 0.5 to 3.0 [5] => |x| x[0].digamma();
    "polygamma" 0.8 to 3.0 [5] => |x| x[0].polygamma(1);
    "gelu" -2.0 to 2.0 [5] => |x| x[0].gelu();
    "gelu_tanh" -2.0 to 2.0 [5] => |x| x[0].gelu_tanh();
    "floor" -2.3 to 2.4 [5] => |x| x[0].floor();
    "ceil" -2.3 to 2.4 [5] => |x| x[0].ceil();
    "round" -2.3 to 2.4 [5] => |x| x[0].round();
    "round_decimals" -2.3 to 2.4 [5] => |x| x[0].round_decimals(1);
    "trunc" -2.3 to 2.4 [5] => |x| x[0].trunc();
    "frac" -2.3 to 2.4 [5] => |x| x[0].frac();
    "neg" -2.0 to 2.0 [5] => |x| x[0].neg();
    "positive" -2.0 to 2.0 [5] => |x| x[0].positive();
    "abs" -2.0 to 2.0 [5] => |x| x[0].abs();
    "sign" -2.0 to 2.0 [5] => |x| x[0].sign();
    "sgn" -2.0 to 2.0 [5] => |x| x[0].sgn();
    "relu" -2.0 to 2.0 [5] => |x| x[0].relu();
    "square" -2.0 to 2.0 [5] => |x| x[0].square();
    "deg2rad" -2.0 to 2.0 [5] => |x| x[0].deg2rad();
    "rad2deg" -2.0 to 2.0 [5] => |x| x[0].rad2deg();
    "sinc" -2.0 to 2.0 [5] => |x| x[0].sinc();
    "logit" 0.2 to 0.8 [5] => |x| x[0].logit(None);
    "nan_to_num" -2.0 to 2.0 [5] => |x| x[0].nan_to_num(None, None, None);

    "add" -2.0 to 2.0 [2, 3] [3] => |x| x[0].add(&x[1]);
    "sub" -2.0 to 2.0 [2, 3] [2, 1] => |x| x[0].sub(&x[1]);
    "mul" -2.0 to 2.0 [2, 3] [3] => |x| x[0].mul(&x[1]);
    "div" 0.5 to 2.0 [2, 3] [3] => |x| x[0].div(&x[1]);
    "pow" 0.5 to 2.0 [2, 3] [3] => |x| x[0].pow(&x[1]);
    "pow" -2.0 to 2.0 [4] => |x| x[0].pow(3);
    "float_power" 0.5 to 2.0 [2, 3] [3] => |x| x[0].float_power(&x[1]);
    "maximum" -2.0 to 2.0 [2, 3] [3] => |x| x[0].maximum(&x[1]);
    "minimum" -2.0 to 2.0 [2, 3] [3] => |x| x[0].minimum(&x[1]);
    "fmax" -2.0 to 2.0 [2, 3] [3] => |x| x[0].fmax(&x[1]);
    "fmin" -2.0 to 2.0 [2, 3] [3] => |x| x[0].fmin(&x[1]);
    "remainder" 0.7 to 3.0 [5] [5] => |x| x[0].remainder(&x[1]);
    "fmod" 0.7 to 3.0 [5] [5] => |x| x[0].fmod(&x[1]);
    "floor_divide" 0.7 to 3.0 [5] [5] => |x| x[0].floor_divide(&x[1]);
    "trunc_divide" 0.7 to 3.0 [5] [5] => |x| x[0].trunc_divide(&x[1]);
    "atan2" 0.5 to 2.0 [2, 3] [3] => |x| x[0].atan2(&x[1]);
    "hypot" 0.5 to 2.0 [2, 3] [3] => |x| x[0].hypot(&x[1]);
    "copysign" 0.5 to 2.0 [2, 3] [3] => |x| x[0].copysign(&x[1]);
    "xlogy" 0.5 to 2.0 [2, 3] [3] => |x| x[0].xlogy(&x[1]);
    "logaddexp" -2.0 to 2.0 [2, 3] [3] => |x| x[0].logaddexp(&x[1]);
    "logaddexp2" -2.0 to 2.0 [2, 3] [3] => |x| x[0].logaddexp2(&x[1]);
    "ldexp" -1.0 to 1.0 [3] [3] => |x| x[0].ldexp(&x[1]);

    "rsub" -2.0 to 2.0 [3] [3] => |x| x[0].rsub(&x[1]);
    "rsub_scaled" -2.0 to 2.0 [3] [3] => |x| x[0].rsub_scaled(&x[1], 0.5);
    "add_scaled" -2.0 to 2.0 [2, 3] [3] => |x| x[0].add_scaled(&x[1], 0.5);
    "sub_scaled" -2.0 to 2.0 [2, 3] [3] => |x| x[0].sub_scaled(&x[1], 0.5);
    "rpow" -2.0 to 2.0 [3] => |x| x[0].rpow(2.0);
    "rdiv" 0.5 to 2.0 [3] => |x| x[0].rdiv(2.0);
    "addcmul" -2.0 to 2.0 [2, 3] [3] [2, 1] => |x| x[0].addcmul(&x[1], &x[2], 0.5);
    "addcdiv" 0.5 to 2.0 [2, 3] [3] [2, 1] => |x| x[0].addcdiv(&x[1], &x[2], 0.5);
    "lerp" -2.0 to 2.0 [3] [3] => |x| x[0].lerp(&x[1], 0.3);
    "lerp" 0.1 to 0.45 [3] [3] [3] => |x| x[0].lerp(&x[1], &x[2]);
    "where_self" -2.0 to 2.0 [2, 3] [3] => |x| x[0].where_self(&tensor![true, false, true], &x[1]);
    "clamp" -2.0 to 2.0 [7] => |x| x[0].clamp(-0.9, 0.8);
    "clamp_min" -2.0 to 2.0 [7] => |x| x[0].clamp_min(0.1);
    "clamp_max" -2.0 to 2.0 [7] => |x| x[0].clamp_max(0.1);
    "clamp_range" -2.0 to 2.0 [7] => |x| x[0].clamp_range(Some(Arg::from(-0.9)), Some(Arg::from(0.8)));

    "leaky_relu" -2.0 to 2.0 [7] => |x| x[0].leaky_relu(0.1);
    "prelu" -2.0 to 2.0 [2, 3] [3] => |x| x[0].prelu(&x[1]);
    "elu" -2.0 to 2.0 [7] => |x| x[0].elu(0.7);
    "celu" -2.0 to 2.0 [7] => |x| x[0].celu(0.7);
    "selu" -2.0 to 2.0 [7] => |x| x[0].selu();
    "hardtanh" -2.0 to 2.0 [7] => |x| x[0].hardtanh(-0.9, 0.8);
    "relu6" -3.0 to 9.0 [7] => |x| x[0].relu6();
    "softplus" -2.0 to 2.0 [7] => |x| x[0].softplus(1.3, 20.0);
    "softsign" -2.0 to 2.0 [7] => |x| x[0].softsign();
    "tanhshrink" -2.0 to 2.0 [7] => |x| x[0].tanhshrink();
    "hardshrink" -2.0 to 2.0 [7] => |x| x[0].hardshrink(0.5);
    "softshrink" -2.0 to 2.0 [7] => |x| x[0].softshrink(0.5);
    "hardsigmoid" -4.0 to 4.0 [7] => |x| x[0].hardsigmoid();
    "hardswish" -4.0 to 4.0 [7] => |x| x[0].hardswish();
    "mish" -2.0 to 2.0 [7] => |x| x[0].mish();
    "threshold" -2.0 to 2.0 [7] => |x| x[0].threshold(0.1, 3.0);
    "glu" -2.0 to 2.0 [2, 4] => |x| x[0].glu(-1);
    "softmin" -2.0 to 2.0 [2, 4] => |x| x[0].softmin(1);

    "dropout" -2.0 to 2.0 [9] => |x| drawn(|| x[0].dropout(0.4, true));
    "channel_dropout" -2.0 to 2.0 [2, 4, 3] => |x| drawn(|| x[0].channel_dropout(0.4, true));
    "alpha_dropout" -2.0 to 2.0 [9] => |x| drawn(|| x[0].alpha_dropout(0.4, true));
    "channel_alpha_dropout" -2.0 to 2.0 [2, 4, 3] => |x| drawn(|| x[0].channel_alpha_dropout(0.4, true));
    "rrelu" -2.0 to 2.0 [9] => |x| drawn(|| x[0].rrelu(0.1, 0.4, true));
    "gumbel_softmax" -2.0 to 2.0 [2, 4] => |x| drawn(|| x[0].gumbel_softmax(0.8, false, -1));
}
