//! Products of matrices and what is built on them.

use kiln_autograd::{Scalar, Tensor, einsum};

use crate::conformance::args::{Answer, Args, Out, Stop, missing};
use crate::vectors::Arg;

/// `beta` and `alpha` of the forms that add a product.
fn factors(a: &Args<'_>) -> Answer<(Scalar, Scalar)> {
    Ok((a.number_or(usize::MAX, "beta", 1)?, a.number_or(usize::MAX, "alpha", 1)?))
}

fn left(a: &Args<'_>) -> Answer<Tensor> {
    a.tensor(1, "mat1|batch1|mat|vec1")
}

fn right(a: &Args<'_>) -> Answer<Tensor> {
    a.tensor(2, "mat2|batch2|vec|vec2")
}

fn tensordot(a: &Args<'_>) -> Answer<Tensor> {
    let (x, y) = (a.tensor(0, "a")?, a.tensor(1, "b")?);
    let (rank, dims) = (x.rank() as i64, a.get(2, "dims"));
    match dims {
        None => Ok(x.tensordot(&y, &[rank - 2, rank - 1], &[0, 1])?),
        Some(Arg::Int(n)) => {
            let first: Vec<i64> = (rank - n..rank).collect();
            let second: Vec<i64> = (0..*n).collect();
            Ok(x.tensordot(&y, &first, &second)?)
        }
        Some(Arg::List(lists)) => match lists.iter().map(Arg::ints).collect::<Option<Vec<_>>>() {
            Some(lists) if lists.len() == 2 => Ok(x.tensordot(&y, &lists[0], &lists[1])?),
            _ => missing("dims that are not two lists"),
        },
        Some(other) => missing(format!("dims {other:?}")),
    }
}

/// The operators of this family.
pub fn call(name: &str, a: &Args<'_>) -> Answer<Out> {
    let other = |names: &str| a.tensor(1, names);
    Ok(match name {
        "matmul" | "linalg.matmul" => a.x()?.matmul(&other("other|tensor2")?)?.into(),
        "Tensor.__rmatmul__" => other("other")?.matmul(&a.x()?)?.into(),
        "mm" => a.x()?.mm(&other("mat2")?)?.into(),
        "bmm" => a.x()?.bmm(&other("mat2")?)?.into(),
        "mv" => a.x()?.mv(&other("vec")?)?.into(),
        "dot" => a.x()?.dot(&other("tensor|other")?)?.into(),
        "vdot" => a.x()?.vdot(&other("other")?)?.into(),
        "inner" => a.x()?.inner(&other("other")?)?.into(),
        "outer" | "ger" => a.x()?.outer(&other("vec2")?)?.into(),
        "kron" => a.x()?.kron(&other("other")?)?.into(),
        "addmm" => {
            let (beta, alpha) = factors(a)?;
            a.x()?.addmm(&left(a)?, &right(a)?, beta, alpha)?.into()
        }
        "addmv" => {
            let (beta, alpha) = factors(a)?;
            a.x()?.addmv(&left(a)?, &right(a)?, beta, alpha)?.into()
        }
        "addr" => {
            let (beta, alpha) = factors(a)?;
            a.x()?.addr(&left(a)?, &right(a)?, beta, alpha)?.into()
        }
        "addbmm" => {
            let (beta, alpha) = factors(a)?;
            a.x()?.addbmm(&left(a)?, &right(a)?, beta, alpha)?.into()
        }
        "baddbmm" => {
            let (beta, alpha) = factors(a)?;
            a.x()?.baddbmm(&left(a)?, &right(a)?, beta, alpha)?.into()
        }
        "einsum" => {
            let formula = a.str_or(0, "equation", "")?;
            let list = a.tensors_from(1, "operands")?;
            einsum(formula, &list.iter().collect::<Vec<_>>())?.into()
        }
        "tensordot" => tensordot(a)?.into(),
        "linalg.vecdot" => {
            let axis = a.int_or(usize::MAX, "dim", -1)?;
            a.x()?.vecdot(&other("other|y")?, axis)?.into()
        }
        "linalg.matrix_power" | "matrix_power" => a.x()?.matrix_power(a.int(1, "n")?)?.into(),
        "nn.functional.linear" => {
            let bias = a.opt_tensor(2, "bias")?;
            a.x()?.linear(&a.tensor(1, "weight")?, bias.as_ref())?.into()
        }
        _ => return Err(Stop::NoRow),
    })
}

/// The in-place forms.
pub fn in_place(name: &str, a: &Args<'_>) -> Answer<()> {
    type Form = fn(&Tensor, &Tensor, &Tensor, Scalar, Scalar) -> kiln_autograd::Result<()>;
    let form: Form = match name {
        "addmm_" => Tensor::addmm_,
        "addmv_" => Tensor::addmv_,
        "addr_" => Tensor::addr_,
        "addbmm_" => Tensor::addbmm_,
        "baddbmm_" => Tensor::baddbmm_,
        "renorm_" => {
            let (p, axis) = (a.float_or(1, "p", 2.0)?, a.int(2, "dim")?);
            let Some(maxnorm) = a.opt_float(3, "maxnorm")? else { return missing("maxnorm") };
            return Ok(a.x()?.renorm_(p, axis, maxnorm)?);
        }
        _ => return Err(Stop::NoRow),
    };
    let (beta, alpha) = factors(a)?;
    Ok(form(&a.x()?, &left(a)?, &right(a)?, beta, alpha)?)
}
