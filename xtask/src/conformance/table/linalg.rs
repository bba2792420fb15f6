//! Decompositions, solvers and norms.

use kiln_autograd::{MatrixNorm, QrMode, Tensor, Tolerance, Triangle};

use crate::conformance::args::{Answer, Args, Out, Stop, missing};
use crate::vectors::Arg;

/// By name only.
const NAMED: usize = usize::MAX;

fn three((a, b, c): (Tensor, Tensor, Tensor)) -> Out {
    vec![a, b, c].into()
}

fn transposed(x: &Tensor) -> Answer<Tensor> {
    Ok(x.transpose(-2, -1)?)
}

/// A triangle's transpose where the upper one is asked for.
fn lower_unless(upper: bool, x: Tensor) -> Answer<Tensor> {
    if upper { transposed(&x) } else { Ok(x) }
}

fn tolerance(a: &Args<'_>) -> Answer<Tolerance> {
    let mut tolerance = Tolerance::default();
    if let Some(value) = a.opt_value(NAMED, "atol")? {
        tolerance = tolerance.atol(value.arg())?;
    }
    if let Some(value) = a.opt_value(1, "rtol|rcond|tol")? {
        tolerance = tolerance.rtol(value.arg())?;
    }
    Ok(tolerance)
}

fn matrix_order(arg: &Arg) -> Answer<MatrixNorm> {
    match arg {
        Arg::Str(name) if name == "fro" => Ok(MatrixNorm::Frobenius),
        Arg::Str(name) if name == "nuc" => Ok(MatrixNorm::Nuclear),
        other => match other.float() {
            Some(p) => Ok(MatrixNorm::Order(p)),
            None => missing(format!("the norm {other:?}")),
        },
    }
}

fn pair(axes: &[i64]) -> Answer<[i64; 2]> {
    match axes {
        [row, column] => Ok([*row, *column]),
        _ => missing(format!("matrices in the axes {axes:?}")),
    }
}

fn converted(a: &Args<'_>) -> Answer<Tensor> {
    let x = a.x()?;
    Ok(match a.dtype(NAMED, "dtype")? {
        Some(dtype) => x.to_dtype(dtype)?,
        None => x,
    })
}

fn matrix_norm(a: &Args<'_>) -> Answer<Tensor> {
    let x = converted(a)?;
    let axes = a.opt_ints(2, "dim")?.unwrap_or(vec![-2, -1]);
    let keepdim = a.bool_or(3, "keepdim", false)?;
    let norm = match a.get(1, "ord") {
        None | Some(Arg::None) => MatrixNorm::Frobenius,
        Some(order) => matrix_order(order)?,
    };
    Ok(x.matrix_norm(norm, pair(&axes)?, keepdim)?)
}

/// A vector norm unless the order says otherwise or there are two axes.
fn norm(a: &Args<'_>) -> Answer<Tensor> {
    let x = converted(a)?;
    let order = a.get(1, "ord").filter(|o| **o != Arg::None);
    let axes = a.opt_ints(2, "dim")?;
    let keepdim = a.bool_or(3, "keepdim", false)?;
    let Some(order) = order else {
        return Ok(x.vector_norm(2.0, &axes.unwrap_or_default(), keepdim)?);
    };
    let named = matches!(order, Arg::Str(_));
    match axes {
        None if x.rank() == 2 || named => Ok(x.matrix_norm(matrix_order(order)?, [0, 1], keepdim)?),
        Some(axes) if axes.len() == 2 || named => {
            Ok(x.matrix_norm(matrix_order(order)?, pair(&axes)?, keepdim)?)
        }
        axes => match order.float() {
            Some(p) => Ok(x.vector_norm(p, &axes.unwrap_or_default(), keepdim)?),
            None => missing(format!("the norm {order:?}")),
        },
    }
}

fn lu_solve(a: &Args<'_>) -> Answer<Tensor> {
    let (lu, pivots, b) = (a.tensor(0, "LU")?, a.tensor(1, "pivots")?, a.tensor(2, "B")?);
    let (left, adjoint) = (a.bool_or(NAMED, "left", true)?, a.bool_or(NAMED, "adjoint", false)?);
    // x A = b is A^T x^T = b^T.
    let b = if left { b } else { transposed(&b)? };
    let x = if left == adjoint { b.lu_solve_transposed(&lu, &pivots)? } else { b.lu_solve(&lu, &pivots)? };
    if left { Ok(x) } else { transposed(&x) }
}

fn lstsq(a: &Args<'_>) -> Answer<Out> {
    let rcond = a.opt_float(NAMED, "rcond")?;
    let driver = a.str_or(NAMED, "driver", "gelsy")?;
    let (x, b) = (a.x()?, a.tensor(1, "B|b")?);
    let found = x.lstsq(&b, rcond)?;
    // Drivers differ in what they leave empty.
    let empty = |t: &Tensor| Tensor::zeros_with([0], t);
    let residuals = if driver == "gelsy" { empty(&found.residuals) } else { found.residuals };
    let rank = if driver == "gels" { empty(&found.rank) } else { found.rank };
    let values = if matches!(driver, "gelsd" | "gelss") {
        found.singular_values
    } else {
        empty(&found.singular_values)
    };
    Ok(vec![found.solution, residuals, rank, values].into())
}

fn triangle(upper: bool, unit: bool) -> Triangle {
    let triangle = if upper { Triangle::upper() } else { Triangle::lower() };
    if unit { triangle.unit() } else { triangle }
}

/// The operators of this family.
pub fn call(name: &str, a: &Args<'_>) -> Answer<Out> {
    Ok(match name {
        "linalg.cholesky" | "cholesky" => {
            let upper = a.bool_or(1, "upper", false)?;
            lower_unless(upper, a.x()?.cholesky()?)?.into()
        }
        "linalg.cholesky_ex" => {
            let upper = a.bool_or(NAMED, "upper", false)?;
            let (l, info) = a.x()?.cholesky_ex()?;
            (lower_unless(upper, l)?, info).into()
        }
        "cholesky_solve" => {
            let upper = a.bool_or(2, "upper", false)?;
            a.x()?.cholesky_solve(&a.tensor(1, "L|input2")?, upper)?.into()
        }
        "cholesky_inverse" => {
            let upper = a.bool_or(1, "upper", false)?;
            a.x()?.cholesky_inverse(upper)?.into()
        }
        "linalg.det" | "det" => a.x()?.det()?.into(),
        "linalg.slogdet" | "slogdet" => a.x()?.slogdet()?.into(),
        "logdet" => a.x()?.logdet()?.into(),
        "linalg.inv" | "inverse" => a.x()?.inverse()?.into(),
        "linalg.inv_ex" => a.x()?.inv_ex()?.into(),
        "linalg.solve" => {
            let (x, b) = (a.x()?, a.tensor(1, "B")?);
            if a.bool_or(NAMED, "left", true)? {
                x.solve(&b)?.into()
            } else {
                transposed(&transposed(&x)?.solve(&transposed(&b)?)?)?.into()
            }
        }
        "linalg.solve_ex" => a.x()?.solve_ex(&a.tensor(1, "B")?)?.into(),
        "linalg.solve_triangular" => {
            let upper = a.bool_or(NAMED, "upper", false)?;
            let mut side = triangle(upper, a.bool_or(NAMED, "unitriangular", false)?);
            if !a.bool_or(NAMED, "left", true)? {
                side = side.right();
            }
            a.x()?.solve_triangular(&a.tensor(1, "B")?, side)?.into()
        }
        "triangular_solve" => {
            let upper = a.bool_or(2, "upper", true)?;
            let transpose = a.bool_or(3, "transpose", false)?;
            let side = triangle(upper, a.bool_or(4, "unitriangular", false)?);
            a.x()?.triangular_solve(&a.tensor(1, "A")?, side, transpose)?.into()
        }
        "linalg.lu" => {
            if !a.bool_or(NAMED, "pivot", true)? {
                return missing("LU without exchanged rows");
            }
            three(a.x()?.lu()?)
        }
        "linalg.lu_factor" | "linalg.lu_factor_ex" | "lu" => {
            if !a.bool_or(if name == "lu" { 1 } else { NAMED }, "pivot", true)? {
                return missing("LU without exchanged rows");
            }
            let (lu, pivots, info) = a.x()?.lu_factor_ex()?;
            let with_info =
                name == "linalg.lu_factor_ex" || (name == "lu" && a.bool_or(2, "get_infos", false)?);
            if with_info { three((lu, pivots, info)) } else { (lu, pivots).into() }
        }
        "lu_unpack" => three(a.tensor(0, "LU_data")?.lu_unpack(&a.tensor(1, "LU_pivots")?)?),
        "linalg.lu_solve" => lu_solve(a)?.into(),
        "lu_solve" => a
            .tensor(0, "b|self|input")?
            .lu_solve(&a.tensor(1, "LU_data")?, &a.tensor(2, "LU_pivots")?)?
            .into(),
        "linalg.qr" | "qr" => {
            let mode = match a.str_or(1, "mode", "reduced")? {
                "reduced" => QrMode::Reduced,
                "complete" => QrMode::Complete,
                "r" => QrMode::R,
                other => return missing(format!("the QR mode {other:?}")),
            };
            a.x()?.qr(mode)?.into()
        }
        "geqrf" => a.x()?.geqrf()?.into(),
        "linalg.householder_product" | "orgqr" => {
            a.x()?.householder_product(&a.tensor(1, "tau|input2")?)?.into()
        }
        "ormqr" => {
            let (left, transpose) = (a.bool_or(3, "left", true)?, a.bool_or(4, "transpose", false)?);
            a.x()?.ormqr(&a.tensor(1, "tau")?, &a.tensor(2, "other|C")?, !left, transpose)?.into()
        }
        "linalg.eigh" => {
            let upper = a.str_or(1, "UPLO", "L")?.eq_ignore_ascii_case("u");
            lower_unless(upper, a.x()?)?.eigh()?.into()
        }
        "linalg.eigvalsh" => {
            let upper = a.str_or(1, "UPLO", "L")?.eq_ignore_ascii_case("u");
            lower_unless(upper, a.x()?)?.eigvalsh()?.into()
        }
        "linalg.matrix_sqrth" => a.x()?.matrix_sqrth()?.into(),
        "linalg.svd" => three(a.x()?.svd(a.bool_or(1, "full_matrices", true)?)?),
        "svd" => {
            let (u, s, vt) = a.x()?.svd(!a.bool_or(1, "some", true)?)?;
            three((u, s, transposed(&vt)?))
        }
        "linalg.svdvals" => a.x()?.svdvals()?.into(),
        "linalg.polar" => a.x()?.polar_decomposition()?.into(),
        "linalg.pinv" | "pinverse" => {
            let tolerance = tolerance(a)?;
            if a.bool_or(NAMED, "hermitian", false)? {
                a.x()?.pinv_hermitian(&tolerance)?.into()
            } else {
                a.x()?.pinv(&tolerance)?.into()
            }
        }
        "linalg.matrix_rank" => {
            let tolerance = tolerance(a)?;
            a.x()?.matrix_rank(&tolerance, a.bool_or(NAMED, "hermitian", false)?)?.into()
        }
        "linalg.lstsq" => lstsq(a)?,
        "linalg.matrix_norm" => matrix_norm(a)?.into(),
        "linalg.norm" => norm(a)?.into(),
        "norm" if matches!(a.get(1, "p"), Some(Arg::Str(s)) if s == "nuc") => {
            let x = a.x()?;
            let axes = a.opt_ints(2, "dim")?.unwrap_or(vec![0, 1]);
            x.matrix_norm(MatrixNorm::Nuclear, pair(&axes)?, a.bool_or(3, "keepdim", false)?)?.into()
        }
        "linalg.cond" => match a.get(1, "p") {
            None | Some(Arg::None) => a.x()?.cond(2.0)?.into(),
            Some(order) => a.x()?.cond(matrix_order(order)?)?.into(),
        },
        "matrix_exp" | "linalg.matrix_exp" => a.x()?.matrix_exp()?.into(),
        "linalg.tensorinv" => a.x()?.tensorinv(a.int_or(1, "ind", 2)?)?.into(),
        "linalg.tensorsolve" => {
            let axes = a.opt_ints(2, "dims")?.unwrap_or_default();
            a.x()?.tensorsolve(&a.tensor(1, "other|B")?, &axes)?.into()
        }
        "linalg.vander" => {
            let n = a.opt_int(NAMED, "N")?;
            match n.map(usize::try_from).transpose() {
                Ok(n) => a.tensor(0, "x|input|self")?.vander(n)?.into(),
                Err(_) => return missing("a negative number of powers"),
            }
        }
        "linalg.multi_dot" => {
            let list = a.tensors(0, "tensors")?;
            Tensor::multi_dot(&list.iter().collect::<Vec<_>>())?.into()
        }
        "linalg.cross" => {
            let axis = a.int_or(NAMED, "dim", -1)?;
            a.x()?.cross(&a.tensor(1, "other")?, axis)?.into()
        }
        "linalg.diagonal" => {
            let offset = a.int_or(NAMED, "offset", 0)?;
            let (first, second) = (a.int_or(NAMED, "dim1", -2)?, a.int_or(NAMED, "dim2", -1)?);
            a.tensor(0, "A|input|self")?.diagonal(offset, first, second)?.into()
        }
        _ => return Err(Stop::NoRow),
    })
}
