//! Derivatives as functions, against formulas.

use kiln_autograd::{F64, Result, Tensor, func, no_grad, tensor};

fn numbers(t: &Tensor) -> Vec<f64> {
    t.detach().to_dtype(F64).and_then(|t| t.to_vec()).expect("numbers")
}

fn x() -> Tensor {
    tensor!([1., 2., 3.]; F64)
}

/// `x0^2 x1 + x2^3`; its gradient is `(2 x0 x1, x0^2, 3 x2^2)`.
fn f(x: &Tensor) -> Result<Tensor> {
    let [a, b, c] = [x.i(0)?, x.i(1)?, x.i(2)?];
    a.square()?.mul(&b)?.add(&c.pow(3)?)
}

/// At (1, 2, 3).
const HESSIAN: [[f64; 3]; 3] = [[4., 2., 0.], [2., 0., 0.], [0., 0., 18.]];

#[test]
fn first_derivatives() -> Result<()> {
    let x = x();
    assert_eq!(numbers(&func::gradient(f, &x)?), [4., 1., 27.]);
    // The Jacobian of (x0 x1, x2^2), row by row.
    let g = |x: &Tensor| Tensor::stack(&[&x.i(0)?.mul(&x.i(1)?)?, &x.i(2)?.square()?], 0);
    let j = func::jacobian(g, &x)?;
    assert_eq!((j.dims(), numbers(&j)), (vec![2, 3], vec![2., 1., 0., 0., 0., 6.]));
    let (y, vjp) = func::vjp(g, &x, &tensor!([1., 10.]; F64))?;
    assert_eq!((numbers(&y), numbers(&vjp)), (vec![2., 9.], vec![2., 1., 60.]));
    let (y, jvp) = func::jvp(g, &x, &tensor!([1., 10., 100.]; F64))?;
    assert_eq!((numbers(&y), numbers(&jvp)), (vec![2., 9.], vec![12., 600.]));
    assert!([y, jvp, vjp, j].iter().all(|t| !t.requires_grad()));
    assert!(x.grad().is_none() && !x.requires_grad());
    Ok(())
}

#[test]
fn second_derivatives() -> Result<()> {
    let (x, v) = (x(), tensor!([1., 10., 100.]; F64));
    let h = func::hessian(f, &x)?;
    assert_eq!((h.dims(), numbers(&h)), (vec![3, 3], HESSIAN.concat()));
    let product: Vec<f64> = HESSIAN.iter().map(|row| row[0] + 10. * row[1] + 100. * row[2]).collect();
    for (y, hv) in [func::hvp(f, &x, &v)?, func::vhp(f, &x, &v)?] {
        assert_eq!((numbers(&y), numbers(&hv)), (vec![29.], product.clone()));
    }
    // Third derivatives: of x^3 only d3/dx2^3 = 6 and d3/dx0^2 dx1 = 2 remain.
    let third = func::jacobian(|x| func::hessian(f, x), &x)?;
    assert_eq!(third.dims(), [3, 3, 3]);
    assert_eq!(numbers(&third.i((0, 0))?), [0., 2., 0.]);
    assert_eq!(numbers(&third.i((2, 2))?), [0., 0., 6.]);
    Ok(())
}

#[test]
fn results_are_differentiable_where_an_input_is() -> Result<()> {
    let x = x().requires_grad_(true)?;
    let g = func::gradient(f, &x)?;
    g.sum()?.backward()?;
    let columns: Vec<f64> = (0..3).map(|j| HESSIAN.iter().map(|row| row[j]).sum()).collect();
    assert_eq!(numbers(&x.grad().expect("a gradient")), columns);
    assert!(!no_grad(|| func::gradient(f, &x))?.requires_grad());
    Ok(())
}

#[test]
fn several_inputs_and_results() -> Result<()> {
    let (a, b) = (tensor!([1., 2.]; F64), tensor!([3., 4.]; F64));
    let f = |x: &[Tensor]| Ok(vec![x[0].mul(&x[1])?.sum()?, x[1].mul(2)?]);
    let j = func::jacobian_many(f, &[&a, &b])?;
    assert_eq!(numbers(&j[0][0]), [3., 4.]);
    assert_eq!(numbers(&j[0][1]), [1., 2.]);
    assert_eq!((j[1][0].dims(), numbers(&j[1][0])), (vec![2, 2], vec![0.; 4]));
    assert_eq!(numbers(&j[1][1]), [2., 0., 0., 2.]);
    let (_, products) = func::vjp_many(f, &[&a, &b], &[&tensor!(10.0; F64), &a])?;
    assert_eq!(numbers(&products[0]), [30., 40.]);
    assert_eq!(numbers(&products[1]), [10. + 2., 20. + 4.]);
    let (_, tangents) = func::jvp_many(f, &[&a, &b], &[&b, &a])?;
    assert_eq!(numbers(&tangents[0]), [3. * 3. + 4. * 4. + 1. + 4.]);
    assert_eq!(numbers(&tangents[1]), [2., 4.]);
    Ok(())
}

#[test]
fn functions_that_do_not_depend_on_their_input_and_empty_ones() -> Result<()> {
    let x = x();
    let constant = |_: &Tensor| Ok(tensor!([1., 2.]; F64));
    assert_eq!(numbers(&func::jacobian(constant, &x)?), [0.; 6]);
    assert_eq!(numbers(&func::jvp(constant, &x, &x)?.1), [0., 0.]);
    assert_eq!(numbers(&func::hessian(|x| x.sum(), &x)?), [0.; 9]);
    let nothing = func::jacobian(|x| x.narrow(0, 0, 0), &x)?;
    assert_eq!(nothing.dims(), [0, 3]);
    Ok(())
}

#[test]
fn misuse_is_told() -> Result<()> {
    let x = x();
    let shape = func::vjp(f, &x, &x).expect_err("a vector for a number");
    assert!(shape.to_string().contains("expected [[]], got [[3]]"), "{shape}");
    assert!(func::jvp(f, &x, &tensor!(1.0; F64)).is_err());
    assert!(func::gradient(|x| x.square(), &x).is_err());
    assert!(func::gradient(|x| x.sum(), &tensor![1, 2]).is_err());
    assert!(func::per_sample_gradients(|_| Ok(tensor!(1.0)), &[], &[]).is_err());
    Ok(())
}

#[test]
fn gradients_of_each_sample_add_up_to_those_of_the_batch() -> Result<()> {
    let w = tensor!([0.5, -1., 2.]; F64).requires_grad_(true)?;
    let (x, y) = (tensor!([[1., 2., 3.], [4., 5., 6.]]; F64), tensor!([1., -1.]; F64));
    let loss = |x: &Tensor, y: &Tensor| x.mv(&w)?.sub(y)?.square()?.sum();
    let each = func::per_sample_gradients(|batch| loss(&batch[0], &batch[1]), &[&x, &y], &[&w])?;
    // 2 (x w - y) x: the errors are 4.5 - 1 and 9 + 1.
    assert_eq!(numbers(&each[0]), [7., 14., 21., 80., 100., 120.]);
    loss(&x, &y)?.backward()?;
    assert_eq!(numbers(&each[0].sum_axes(&[0], false)?), numbers(&w.grad().expect("a gradient")));
    Ok(())
}

#[test]
fn functions_of_a_sample_map_over_batches() -> Result<()> {
    let x = Tensor::arange_with(0..6, F64).reshape([2, 3])?.requires_grad_(true)?;
    // Columns in, results as columns: x^2 of each.
    let y = func::vmap(|c| c.square(), &x, -1, 1)?;
    assert_eq!((y.dims(), numbers(&y)), (vec![2, 3], vec![0., 1., 4., 9., 16., 25.]));
    y.sum()?.backward()?;
    assert_eq!(numbers(&x.grad().expect("a gradient")), [0., 2., 4., 6., 8., 10.]);
    // Nested: the outer product of every row with itself.
    let outer = func::vmap(|r| func::vmap(|a| r.mul(a), r, 0, 0), &x, 0, 0)?;
    assert_eq!((outer.dims(), numbers(&outer.i((0, 2))?)), (vec![2, 3, 3], vec![0., 2., 4.]));
    // Several inputs, one of them shared, and several results on axes of their own.
    let w = tensor!([1., 10., 100.]; F64);
    let found = func::vmap_many(
        |t| Ok(vec![t[0].mul(&t[1])?, t[0].dot(&t[1])?]),
        &[&x, &w],
        &[Some(0), None],
        &[1, 0],
    )?;
    assert_eq!((found[0].dims(), numbers(&found[1])), (vec![3, 2], vec![210., 543.]));
    assert_eq!(numbers(&found[0]), [0., 3., 10., 40., 200., 500.]);
    // Forward mode passes through.
    let slope = func::jvp(|x| func::vmap(|r| r.prod(), x, 0, 0), &x.detach(), &x.detach())?.1;
    assert_eq!(numbers(&slope), [0., 3. * 60.]);
    let wrong = [
        func::vmap_many(|t| Ok(t.to_vec()), &[&x], &[None], &[0]).map(drop),
        func::vmap_many(|t| Ok(t.to_vec()), &[&x, &w], &[Some(0), Some(0)], &[0, 0]).map(drop),
        func::vmap_many(|t| Ok(t.to_vec()), &[&x], &[Some(0)], &[]).map(drop),
        func::vmap(|r| Ok(r.clone()), &x, 2, 0).map(drop),
        func::vmap(|r| Ok(r.clone()), &Tensor::zeros([0, 2]), 0, 0).map(drop),
    ];
    assert!(wrong.iter().all(|r| r.is_err()));
    Ok(())
}
