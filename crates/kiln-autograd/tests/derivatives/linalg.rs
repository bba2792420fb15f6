//! Decompositions, solvers and functions of matrices.

use kiln_autograd::{F64, MatrixNorm, QrMode, Result, Tensor, Tolerance, Triangle, tensor};

use super::rows::{List, Row, rows};

/// A symmetric matrix whose eigenvalues are 1 at least, of any square one.
fn positive(x: &Tensor) -> Result<Tensor> {
    x.matmul(&x.transpose(-2, -1)?)?.add(&Tensor::eye_with(x.size(-1)?, x.size(-1)?, F64))
}

/// A matrix that is far from singular, of any square one with small elements: PyTorch's derivatives are of such as well.
fn regular(x: &Tensor) -> Result<Tensor> {
    x.add(&tensor!([[3.0, 0.0, 0.0], [0.0, -4.0, 0.0], [0.0, 0.0, 5.0]]; F64))
}

fn usual() -> Tolerance {
    Tolerance::default()
}

rows! {
    "cross" -2.0 to 2.0 [2, 3] [2, 3] => |x| x[0].cross(&x[1], -1);
    "vander" 0.5 to 2.0 [3] => |x| x[0].vander(Some(4));
    "multi_dot" -1.0 to 1.0 [2, 3] [3, 2] [2, 2] => |x| Tensor::multi_dot(&[&x[0], &x[1], &x[2]]);

    "solve" -1.0 to 1.0 [3, 3] [3, 2] => |x| regular(&x[0])?.solve(&x[1]);
    "solve" -1.0 to 1.0 [2, 3, 3] [2, 3] => |x| regular(&x[0])?.solve(&x[1]);
    "solve_ex" -1.0 to 1.0 [3, 3] [3, 2] => |x| regular(&x[0])?.solve_ex(&x[1]);
    "solve_triangular" 0.5 to 2.0 [3, 3] [3, 2] => |x| x[0].solve_triangular(&x[1], Triangle::lower());
    "solve_triangular" 0.5 to 2.0 [3, 3] [2, 3] => |x| {
        x[0].solve_triangular(&x[1], Triangle::upper().unit().right())
    };
    "triangular_solve" 0.5 to 2.0 [3, 2] [3, 3] => |x| x[0].triangular_solve(&x[1], Triangle::upper(), true);
    "inverse" -1.0 to 1.0 [3, 3] => |x| regular(&x[0])?.inverse();
    "inv_ex" -1.0 to 1.0 [3, 3] => |x| regular(&x[0])?.inv_ex();
    "det" -1.0 to 1.0 [2, 3, 3] => |x| regular(&x[0])?.det();
    "slogdet" -1.0 to 1.0 [3, 3] => |x| regular(&x[0])?.slogdet();
    "logdet" -1.0 to 1.0 [3, 3] => |x| positive(&x[0])?.logdet();
    "tensorinv" -1.0 to 1.0 [3, 3] => |x| regular(&x[0])?.reshape([3, 1, 3])?.tensorinv(2);
    "tensorsolve" -1.0 to 1.0 [3, 3] [3] => |x| regular(&x[0])?.reshape([3, 3, 1])?.tensorsolve(&x[1], &[]);

    "lu" -1.0 to 1.0 [3, 3] => |x| regular(&x[0])?.lu();
    "lu" -1.0 to 1.0 [4, 3] => |x| x[0].lu();
    "lu_factor" -1.0 to 1.0 [3, 3] => |x| regular(&x[0])?.lu_factor();
    "lu_factor_ex" -1.0 to 1.0 [3, 4] => |x| x[0].lu_factor_ex();
    "lu_unpack" -1.0 to 1.0 [3, 3] => |x| x[0].lu_unpack(&tensor!([3, 3, 3]; kiln_autograd::I32));
    "lu_solve" 0.5 to 2.0 [3, 2] [3, 3] => |x| x[0].lu_solve(&x[1], &tensor!([3, 3, 3]; kiln_autograd::I32));
    "lu_solve_transposed" 0.5 to 2.0 [3, 2] [3, 3] => |x| {
        x[0].lu_solve_transposed(&x[1], &tensor!([3, 3, 3]; kiln_autograd::I32))
    };

    "cholesky" -1.0 to 1.0 [3, 3] => |x| positive(&x[0])?.cholesky();
    "cholesky_ex" -1.0 to 1.0 [2, 2, 2] => |x| positive(&x[0])?.cholesky_ex();
    "cholesky_solve" 0.5 to 2.0 [3, 2] [3, 3] => |x| x[0].cholesky_solve(&x[1].tril(0)?, false);
    "cholesky_inverse" 0.5 to 2.0 [3, 3] => |x| x[0].triu(0)?.cholesky_inverse(true);

    "qr" -1.0 to 1.0 [3, 3] => |x| regular(&x[0])?.qr(QrMode::Reduced);
    "qr" -1.0 to 1.0 [4, 2] => |x| x[0].qr(QrMode::Reduced);
    "qr" -1.0 to 1.0 [2, 3] => |x| x[0].qr(QrMode::Reduced);
    "householder_product" 0.2 to 1.0 [3, 2] [2] => |x| x[0].householder_product(&x[1]);
    "ormqr" 0.2 to 1.0 [3, 2] [2] [3, 2] => |x| x[0].ormqr(&x[1], &x[2], false, true);

    // Vectors are known up to their signs, which the small steps of differences do not change.
    "eigh" -1.0 to 1.0 [3, 3] => |x| positive(&x[0])?.eigh();
    "eigvalsh" -1.0 to 1.0 [3, 3] => |x| positive(&x[0])?.eigvalsh();
    "svd" -1.0 to 1.0 [3, 3] => |x| regular(&x[0])?.svd(false);
    "svd" -1.0 to 1.0 [3, 2] => |x| x[0].svd(false);
    "svdvals" -1.0 to 1.0 [2, 3] => |x| x[0].svdvals();
    "pinv" -1.0 to 1.0 [3, 2] => |x| x[0].pinv(&usual());
    "pinv_hermitian" -1.0 to 1.0 [3, 3] => |x| positive(&x[0])?.pinv_hermitian(&usual());
    "lstsq" -1.0 to 1.0 [3, 2] [3, 1] => |x| x[0].lstsq(&x[1], None).map(|found| found.solution);
    "polar_decomposition" -1.0 to 1.0 [3, 3] => |x| regular(&x[0])?.polar_decomposition();

    "matrix_norm" -2.0 to 2.0 [3, 2] => |x| x[0].matrix_norm(MatrixNorm::Frobenius, [-2, -1], false);
    "matrix_norm" -2.0 to 2.0 [3, 2] => |x| x[0].matrix_norm(MatrixNorm::Nuclear, [-2, -1], false);
    "matrix_norm" -2.0 to 2.0 [3, 2] => |x| x[0].matrix_norm(2.0, [-2, -1], true);
    "matrix_norm" -2.0 to 2.0 [3, 2] => |x| x[0].matrix_norm(f64::INFINITY, [-2, -1], false);
    "cond" -1.0 to 1.0 [3, 3] => |x| regular(&x[0])?.cond(2.0);
    "cond" -1.0 to 1.0 [3, 3] => |x| regular(&x[0])?.cond(MatrixNorm::Frobenius);
    "matrix_exp" -1.0 to 1.0 [3, 3] => |x| x[0].matrix_exp();
    "matrix_sqrth" -1.0 to 1.0 [3, 3] => |x| positive(&x[0])?.matrix_sqrth();
}
