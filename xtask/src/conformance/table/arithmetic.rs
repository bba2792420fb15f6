//! Functions of two or three operands, element by element, with broadcasting and promotion.

use kiln_autograd::{Arg, Error, Result, Scalar, Tensor};

use crate::conformance::args::{Answer, Args, Out, Stop, Value, inexpressible};
use crate::conformance::inexpressible;

/// Rows of two operands: the operator, the method, its in-place form (both taking a tensor or a number).
macro_rules! binary {
    ($($name:literal $method:ident $method_:ident;)*) => {
        fn binary(name: &str) -> Option<fn(&Tensor, Arg<'_>) -> Result<Tensor>> {
            Some(match name {
                $($name => |x, o| x.$method(o),)*
                _ => return None,
            })
        }

        fn binary_in_place(name: &str) -> Option<fn(&Tensor, Arg<'_>) -> Result<()>> {
            Some(match name.strip_suffix('_')? {
                $($name => |x, o| x.$method_(o),)*
                _ => return None,
            })
        }
    };
}

binary! {
    "mul" mul mul_;
    "pow" pow pow_;
    "maximum" maximum maximum_;
    "minimum" minimum minimum_;
    "fmax" fmax fmax_;
    "fmin" fmin fmin_;
    "remainder" remainder remainder_;
    "fmod" fmod fmod_;
    "floor_divide" floor_divide floor_divide_;
    "true_divide" div div_;
    "atan2" atan2 atan2_;
    "hypot" hypot hypot_;
    "copysign" copysign copysign_;
    "xlogy" xlogy xlogy_;
    "float_power" float_power float_power_;
    "eq" eq eq_;
    "ne" ne ne_;
    "lt" lt lt_;
    "le" le le_;
    "gt" gt gt_;
    "ge" ge ge_;
    "logical_and" logical_and logical_and_;
    "logical_or" logical_or logical_or_;
    "logical_xor" logical_xor logical_xor_;
    "bitwise_and" bitwise_and bitwise_and_;
    "bitwise_or" bitwise_or bitwise_or_;
    "bitwise_xor" bitwise_xor bitwise_xor_;
    "bitwise_left_shift" bitwise_left_shift bitwise_left_shift_;
    "bitwise_right_shift" bitwise_right_shift bitwise_right_shift_;
    "gcd" gcd gcd_;
    "lcm" lcm lcm_;
    "clamp_min" clamp_min clamp_min_;
    "clamp_max" clamp_max clamp_max_;
}

/// Operators that take tensors only.
const TENSORS: &[&str] = &[
    "maximum",
    "minimum",
    "fmax",
    "fmin",
    "atan2",
    "hypot",
    "gcd",
    "lcm",
    "logical_and",
    "logical_or",
    "logical_xor",
];

/// Operators that take a number before a tensor.
const NUMBER_FIRST: &[&str] = &[
    "mul",
    "pow",
    "remainder",
    "floor_divide",
    "true_divide",
    "float_power",
    "xlogy",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "bitwise_left_shift",
    "bitwise_right_shift",
];

/// The first operand, where a number may stand for it: as a tensor without axes, which counts in promotion only by its
/// class, as a number does.
fn first(a: &Args<'_>) -> Answer<Tensor> {
    a.value(0, "input|self")?.to_tensor()
}

/// Two operands of which the first may be a number: then Kiln has a method for the number on the left, or the number
/// becomes a tensor without axes of the result's dtype.
fn two(name: &str, left: &Value, right: &Value) -> Answer<Tensor> {
    let Some(method) = binary(name) else { return Err(Stop::NoRow) };
    if matches!(left, Value::Number(_)) && !NUMBER_FIRST.contains(&name) {
        return inexpressible(inexpressible::TYPE);
    }
    if TENSORS.contains(&name) && matches!(right, Value::Number(_)) {
        return inexpressible(inexpressible::NUMBER);
    }
    match (left, right) {
        (Value::Tensor(x), right) => Ok(method(x, right.arg())?),
        (Value::Number(s), Value::Tensor(y)) => match name {
            "pow" => Ok(y.rpow(*s)?),
            "true_divide" => Ok(y.rdiv(*s)?),
            "mul" => Ok(y.mul(*s)?),
            _ => {
                let dtype = kiln_autograd::kiln_ops::result_type(&[(*s).into(), (&*y.raw()).into()]);
                let x = Tensor::from_raw(kiln_autograd::kiln_ops::scalar(*s, dtype, y.device())?);
                Ok(method(&x, right.arg())?)
            }
        },
        (Value::Number(_), Value::Number(_)) if !matches!(name, "mul" | "true_divide" | "floor_divide") => {
            inexpressible(inexpressible::TYPE)
        }
        (Value::Number(s), Value::Number(_)) => Ok(method(&Tensor::scalar(*s)?, right.arg())?),
    }
}

fn divided(x: &Tensor, other: Arg<'_>, mode: &str) -> Answer<Tensor> {
    Ok(match mode {
        "" => x.div(other)?,
        "floor" => x.floor_divide(other)?,
        "trunc" => x.trunc_divide(other)?,
        other => return Err(Error::value("div", format!("no rounding mode {other:?}")).into()),
    })
}

/// The operators of this family.
pub fn call(name: &str, a: &Args<'_>) -> Answer<Out> {
    let alpha = || a.number_or(usize::MAX, "alpha", 1);
    let name = name.strip_prefix("special.").unwrap_or(name);
    Ok(match name {
        "add" => first(a)?.add_scaled(a.value(1, "other")?.arg(), alpha()?)?.into(),
        "Tensor.__radd__" => a.x()?.add_scaled(a.value(1, "other")?.arg(), alpha()?)?.into(),
        "sub" => first(a)?.sub_scaled(a.value(1, "other")?.arg(), alpha()?)?.into(),
        "rsub" | "Tensor.__rsub__" => a.x()?.rsub_scaled(a.value(1, "other")?.arg(), alpha()?)?.into(),
        "div" | "divide" => {
            let x = first(a)?;
            let other = a.value(1, "other")?;
            divided(&x, other.arg(), a.str_or(usize::MAX, "rounding_mode", "")?)?.into()
        }
        "Tensor.__rmul__" => a.x()?.mul(a.value(1, "other")?.arg())?.into(),
        "Tensor.__rdiv__" => match a.value(1, "other")? {
            Value::Number(s) => a.x()?.rdiv(s)?.into(),
            Value::Tensor(t) => t.div(&a.x()?)?.into(),
        },
        "Tensor.__rpow__" => two("pow", &a.value(1, "other")?, &a.value(0, "self")?)?.into(),
        "Tensor.__rmod__" => two("remainder", &a.value(1, "other")?, &a.value(0, "self")?)?.into(),
        "Tensor.__rand__" => a.x()?.bitwise_and(a.value(1, "other")?.arg())?.into(),
        "Tensor.__ror__" => a.x()?.bitwise_or(a.value(1, "other")?.arg())?.into(),
        "Tensor.__rxor__" => a.x()?.bitwise_xor(a.value(1, "other")?.arg())?.into(),
        "addcmul" => {
            let (x, y) = (a.tensor(1, "tensor1")?, a.tensor(2, "tensor2")?);
            a.x()?.addcmul(&x, &y, a.number_or(usize::MAX, "value", 1)?)?.into()
        }
        "addcdiv" => {
            let (x, y) = (a.tensor(1, "tensor1")?, a.tensor(2, "tensor2")?);
            a.x()?.addcdiv(&x, &y, a.number_or(usize::MAX, "value", 1)?)?.into()
        }
        "lerp" => a.x()?.lerp(&a.tensor(1, "end")?, a.value(2, "weight")?.arg())?.into(),
        "clamp" => {
            let (min, max) = (a.opt_value(1, "min")?, a.opt_value(2, "max")?);
            a.x()?.clamp_range(min.as_ref().map(Value::arg), max.as_ref().map(Value::arg))?.into()
        }
        "where" if a.total() == 3 => {
            let condition = a.tensor(0, "condition")?;
            match (a.value(1, "input|self")?, a.value(2, "other")?) {
                (Value::Tensor(x), other) => x.where_self(&condition, other.arg())?.into(),
                (Value::Number(s), Value::Tensor(y)) => {
                    // The number goes where the condition does not hold, of the negated condition.
                    y.where_self(&condition.logical_not()?, s)?.into()
                }
                (Value::Number(s), Value::Number(t)) => Tensor::scalar(s)?.where_self(&condition, t)?.into(),
            }
        }
        "heaviside" => a.x()?.heaviside(&a.tensor(1, "values")?)?.into(),
        "logaddexp" => a.x()?.logaddexp(&a.tensor(1, "other")?)?.into(),
        "logaddexp2" => a.x()?.logaddexp2(&a.tensor(1, "other")?)?.into(),
        "ldexp" => a.x()?.ldexp(&a.tensor(1, "other")?)?.into(),
        "nextafter" => a.x()?.nextafter(&a.tensor(1, "other")?)?.into(),
        "max" | "min"
            if a.count() > 1 && matches!(a.get(1, "other"), Some(crate::vectors::Arg::Tensor(_))) =>
        {
            let (x, y) = (a.x()?, a.tensor(1, "other")?);
            if name == "max" { x.maximum(&y)?.into() } else { x.minimum(&y)?.into() }
        }
        "isclose" => {
            let (rtol, atol) = (a.float_or(2, "rtol", 1e-5)?, a.float_or(3, "atol", 1e-8)?);
            a.x()?.isclose(&a.tensor(1, "other")?, rtol, atol, a.bool_or(4, "equal_nan", false)?)?.into()
        }
        "allclose" => {
            let (rtol, atol) = (a.float_or(2, "rtol", 1e-5)?, a.float_or(3, "atol", 1e-8)?);
            a.x()?.allclose(&a.tensor(1, "other")?, rtol, atol, a.bool_or(4, "equal_nan", false)?)?.into()
        }
        "equal" => a.x()?.equal(&a.tensor(1, "other")?)?.into(),
        _ if binary(name).is_some() => {
            two(name, &a.value(0, "input|self")?, &a.value(1, "other|exponent|min|max")?)?.into()
        }
        _ => return Err(Stop::NoRow),
    })
}

/// The in-place forms.
pub fn in_place(name: &str, a: &Args<'_>) -> Answer<()> {
    let alpha = || a.number_or(usize::MAX, "alpha", 1);
    let value = || a.number_or(usize::MAX, "value", 1);
    match name {
        "add_" => match alpha()? {
            Scalar::Int(1) => a.x()?.add_(a.value(1, "other")?.arg())?,
            alpha => a.x()?.add_scaled_(a.value(1, "other")?.arg(), alpha)?,
        },
        "sub_" => match alpha()? {
            Scalar::Int(1) => a.x()?.sub_(a.value(1, "other")?.arg())?,
            alpha => a.x()?.sub_scaled_(a.value(1, "other")?.arg(), alpha)?,
        },
        "div_" | "divide_" => {
            let other = a.value(1, "other")?;
            match a.str_or(usize::MAX, "rounding_mode", "")? {
                "" => a.x()?.div_(other.arg())?,
                "floor" => a.x()?.floor_divide_(other.arg())?,
                "trunc" => a.x()?.trunc_divide_(other.arg())?,
                other => return Err(Error::value("div", format!("no rounding mode {other:?}")).into()),
            }
        }
        "addcmul_" => a.x()?.addcmul_(&a.tensor(1, "tensor1")?, &a.tensor(2, "tensor2")?, value()?)?,
        "addcdiv_" => a.x()?.addcdiv_(&a.tensor(1, "tensor1")?, &a.tensor(2, "tensor2")?, value()?)?,
        "lerp_" => a.x()?.lerp_(&a.tensor(1, "end")?, a.value(2, "weight")?.arg())?,
        "clamp_" => {
            let (min, max) = (a.opt_value(1, "min")?, a.opt_value(2, "max")?);
            a.x()?.clamp_range_(min.as_ref().map(Value::arg), max.as_ref().map(Value::arg))?;
        }
        "heaviside_" => a.x()?.heaviside_(&a.tensor(1, "values")?)?,
        "ldexp_" => a.x()?.ldexp_(&a.tensor(1, "other")?)?,
        "nextafter_" => a.x()?.nextafter_(&a.tensor(1, "other")?)?,
        _ => match binary_in_place(name) {
            Some(method) => method(&a.x()?, a.value(1, "other|exponent|min|max")?.arg())?,
            None => return Err(Stop::NoRow),
        },
    }
    Ok(())
}
