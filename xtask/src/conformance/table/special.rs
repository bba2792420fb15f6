//! Special functions.

use kiln_autograd::{Arg as Operand, Result, Tensor};

use crate::conformance::args::{Answer, Args, Out, Stop, Value, inexpressible};
use crate::conformance::inexpressible::TYPE;

/// Functions of one number: the operator without its module, the method.
const UNARY: &[(&str, fn(&Tensor) -> Result<Tensor>)] = &[
    ("airy_ai", Tensor::airy_ai),
    ("bessel_j0", Tensor::bessel_j0),
    ("bessel_j1", Tensor::bessel_j1),
    ("bessel_y0", Tensor::bessel_y0),
    ("bessel_y1", Tensor::bessel_y1),
    ("entr", Tensor::entr),
    ("erfcx", Tensor::erfcx),
    ("i0", Tensor::i0),
    ("i0e", Tensor::i0e),
    ("i1", Tensor::i1),
    ("i1e", Tensor::i1e),
    ("log_ndtr", Tensor::log_ndtr),
    ("modified_bessel_i0", Tensor::i0),
    ("modified_bessel_i1", Tensor::i1),
    ("modified_bessel_k0", Tensor::modified_bessel_k0),
    ("modified_bessel_k1", Tensor::modified_bessel_k1),
    ("ndtr", Tensor::ndtr),
    ("ndtri", Tensor::ndtri),
    ("scaled_modified_bessel_k0", Tensor::scaled_modified_bessel_k0),
    ("scaled_modified_bessel_k1", Tensor::scaled_modified_bessel_k1),
    ("spherical_bessel_j0", Tensor::spherical_bessel_j0),
];

/// Polynomials: the operator without its module, the method.
const POLYNOMIALS: &[(&str, fn(&Tensor, Operand<'_>) -> Result<Tensor>)] = &[
    ("chebyshev_polynomial_t", |x, n| x.chebyshev_polynomial_t(n)),
    ("chebyshev_polynomial_u", |x, n| x.chebyshev_polynomial_u(n)),
    ("chebyshev_polynomial_v", |x, n| x.chebyshev_polynomial_v(n)),
    ("chebyshev_polynomial_w", |x, n| x.chebyshev_polynomial_w(n)),
    ("hermite_polynomial_h", |x, n| x.hermite_polynomial_h(n)),
    ("hermite_polynomial_he", |x, n| x.hermite_polynomial_he(n)),
    ("laguerre_polynomial_l", |x, n| x.laguerre_polynomial_l(n)),
    ("legendre_polynomial_p", |x, n| x.legendre_polynomial_p(n)),
    ("shifted_chebyshev_polynomial_t", |x, n| x.shifted_chebyshev_polynomial_t(n)),
    ("shifted_chebyshev_polynomial_u", |x, n| x.shifted_chebyshev_polynomial_u(n)),
    ("shifted_chebyshev_polynomial_v", |x, n| x.shifted_chebyshev_polynomial_v(n)),
    ("shifted_chebyshev_polynomial_w", |x, n| x.shifted_chebyshev_polynomial_w(n)),
    ("xlog1py", |x, y| x.xlog1py(y)),
    ("zeta", |s, q| s.zeta(q)),
];

/// Finds the row of a function that `torch.special` has, or `torch` itself where `plain`.
fn find<T: Copy>(rows: &[(&str, T)], name: &str) -> Option<T> {
    let short = name.strip_prefix("special.").or_else(|| (name == "i0").then_some(name))?;
    rows.iter().find(|(row, _)| *row == short).map(|(_, f)| *f)
}

/// The operators of this family.
pub fn call(name: &str, a: &Args<'_>) -> Answer<Out> {
    if let Some(function) = find(UNARY, name) {
        return Ok(function(&a.x()?)?.into());
    }
    if let Some(function) = find(POLYNOMIALS, name) {
        let (x, y) = (a.value(0, "x|input|self")?, a.value(1, "n|other")?);
        // A number on the left is a tensor of no axes, which gives way in promotion as a number does.
        return Ok(match x {
            Value::Tensor(x) => function(&x, y.arg())?,
            Value::Number(_) if matches!(y, Value::Number(_)) => return inexpressible(TYPE),
            number => function(&number.to_tensor()?, y.arg())?,
        }
        .into());
    }
    Ok(match name {
        "igamma" | "special.gammainc" => a.x()?.igamma(&a.tensor(1, "other")?)?.into(),
        "igammac" | "special.gammaincc" => a.x()?.igammac(&a.tensor(1, "other")?)?.into(),
        "special.polygamma" => {
            let n = a.int(0, "n")?;
            a.tensor(1, "input|self")?.polygamma(n)?.into()
        }
        _ => return Err(Stop::NoRow),
    })
}

/// The in-place forms.
pub fn in_place(name: &str, a: &Args<'_>) -> Answer<()> {
    match name {
        "i0_" => a.x()?.i0_()?,
        "igamma_" => a.x()?.igamma_(&a.tensor(1, "other")?)?,
        "igammac_" => a.x()?.igammac_(&a.tensor(1, "other")?)?,
        _ => return Err(Stop::NoRow),
    }
    Ok(())
}
