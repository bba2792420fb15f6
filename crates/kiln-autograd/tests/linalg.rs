//! Decompositions and solvers: known values, derivatives against differences, and what they refuse.

use kiln_autograd::{BackwardOptions, MatrixNorm, QrMode, Result, Tensor, Tolerance, Triangle, grad};

fn matrix(rows: &[&[f64]]) -> Tensor {
    let data: Vec<f64> = rows.concat();
    Tensor::from_vec(data, [rows.len(), rows[0].len()]).expect("as many numbers as places")
}

fn well_conditioned() -> Tensor {
    matrix(&[&[4.0, 1.0, -0.5], &[0.3, 3.0, 0.8], &[-1.0, 0.2, 5.0]])
}

fn message<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => panic!("there was no error"),
        Err(error) => error.to_string(),
    }
}

/// The gradient of the weighted sum of `f(x)` against central differences.
fn check(name: &str, x: &Tensor, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<()> {
    let weighted = |x: &Tensor| -> Result<Tensor> {
        let y = f(x)?;
        let weights = Tensor::arange_with(y.numel() as i64, y.dtype()).mul(0.37)?.sin()?.add(0.2)?;
        y.reshape([-1])?.mul(&weights)?.sum()
    };
    let values = x.to_vec::<f64>()?;
    let leaf = x.copy()?.requires_grad_(true)?;
    weighted(&leaf)?.backward()?;
    let slopes = leaf.grad().expect("a gradient").to_vec::<f64>()?;
    let step = 1e-6;
    for i in 0..values.len() {
        let at = |shift: f64| -> Result<f64> {
            let mut moved = values.clone();
            moved[i] += shift;
            weighted(&Tensor::from_vec(moved, x.shape())?)?.to_f64()
        };
        let want = (at(step)? - at(-step)?) / (2.0 * step);
        assert!(
            (slopes[i] - want).abs() < 1e-6 * want.abs().max(1.0),
            "{name}, element {i}: {} {want}",
            slopes[i]
        );
    }
    Ok(())
}

#[test]
fn derivatives_are_the_slopes() -> Result<()> {
    let a = well_conditioned();
    let b = matrix(&[&[1.0, 2.0], &[0.5, -1.0], &[3.0, 0.1]]);
    let tall = matrix(&[&[2.0, 0.1], &[0.4, 1.5], &[-0.7, 0.9]]);
    check("solve", &a, |a| a.solve(&b))?;
    check("solve, right side", &b, |b| a.solve(b))?;
    check("inverse", &a, Tensor::inverse)?;
    check("det", &a, Tensor::det)?;
    check("logdet", &a, Tensor::logdet)?;
    check("triangular", &a, |a| a.solve_triangular(&b, Triangle::upper()))?;
    check("lu", &a, |a| Ok(a.lu_factor()?.0))?;
    check("lu, tall", &tall, |a| Ok(a.lu_factor()?.0))?;
    check("lu, wide", &tall.t()?, |a| Ok(a.lu_factor()?.0))?;
    check("cholesky", &a, |a| a.matmul(&a.t()?)?.cholesky())?;
    check("q", &tall, |a| Ok(a.qr(QrMode::Reduced)?.0))?;
    check("r, wide", &tall.t()?, |a| Ok(a.qr(QrMode::Reduced)?.1))?;
    check("eigenvalues", &a, |a| a.add(&a.t()?)?.eigvalsh())?;
    check("eigenvectors", &a, |a| a.add(&a.t()?)?.eigh()?.1.abs())?;
    check("singular values", &tall, Tensor::svdvals)?;
    check("u", &tall, |a| a.svd(false)?.0.abs())?;
    check("v, wide", &tall.t()?, |a| a.svd(false)?.2.abs())?;
    check("pinv", &tall, |a| a.pinv(&Tolerance::default()))?;
    check("polar", &tall, |a| Ok(a.polar_decomposition()?.0))?;
    check("matrix_exp", &a, |a| a.mul(0.3)?.matrix_exp())?;
    check("nuclear norm", &tall, |a| a.matrix_norm(MatrixNorm::Nuclear, [-2, -1], false))?;
    check("lstsq", &tall, |a| Ok(a.lstsq(&b, None)?.solution))
}

#[test]
fn second_derivatives_too() -> Result<()> {
    // The gradient of the gradient's square, against differences of the gradient.
    let a = matrix(&[&[2.0, 0.1], &[0.4, 1.5], &[-0.7, 0.9]]);
    let slope = |x: &Tensor, f: &dyn Fn(&Tensor) -> Result<Tensor>| -> Result<Tensor> {
        let x = if x.requires_grad() { x.clone() } else { x.copy()?.requires_grad_(true)? };
        let y = f(&x)?.square()?.sum()?;
        let options = BackwardOptions { create_graph: true, ..BackwardOptions::default() };
        let g = grad(&[&y], &[&x], &[], options, false)?;
        g.into_iter().next().flatten().expect("a gradient").square()?.sum()
    };
    let f = |x: &Tensor| -> Result<Tensor> { x.svd(false)?.0.abs() };
    check("svd", &a, |x| slope(x, &f))?;
    check("pinv", &a, |x| slope(x, &|x: &Tensor| x.pinv(&Tolerance::default())))
}

#[test]
fn singular_and_misshapen_matrices_are_refused() {
    let singular = matrix(&[&[1.0, 2.0], &[2.0, 4.0]]);
    let wide = matrix(&[&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]]);
    assert!(message(singular.solve(&singular)).contains("the input matrix is singular"));
    assert!(message(singular.inverse()).contains("The diagonal element 2 is zero"));
    assert!(
        message(wide.det()).contains("A must be batches of square matrices, but they are 2 by 3 matrices")
    );
    let negative = matrix(&[&[1.0, 0.0], &[0.0, -1.0]]);
    assert!(message(negative.cholesky()).contains("the leading minor of order 2 is not positive-definite"));
    let half = singular.to_dtype(kiln_autograd::F16).expect("a conversion");
    assert!(message(half.det()).contains("Low precision dtypes not supported"));
    assert!(message(wide.solve(&wide)).contains("square"));
    let pivots = Tensor::from_vec(vec![7i32, 2], [2]).expect("two numbers");
    assert!(message(singular.lu_unpack(&pivots)).contains("pivots must be between 1 and 2"));
}

#[test]
fn ranks_and_conditions() -> Result<()> {
    let singular = matrix(&[&[1.0, 2.0], &[2.0, 4.0]]);
    assert_eq!(singular.matrix_rank(&Tolerance::default(), false)?.to_vec::<i64>()?, [1]);
    assert_eq!(singular.det()?.to_f64()?, 0.0);
    assert_eq!(singular.cond(1.0)?.to_f64()?, f64::INFINITY);
    // torch.linalg.cond(torch.tensor([[1., 2.], [3., 4.]]), 1) is 21.
    let cond = matrix(&[&[1.0, 2.0], &[3.0, 4.0]]).cond(1.0)?.to_f64()?;
    assert!((cond - 21.0).abs() < 1e-12, "{cond}");
    Ok(())
}
