//! Operations with a derivative of one's own, and the checks of derivatives.

use std::sync::Arc;

use kiln_autograd::{
    Context, F64, Function, GradcheckOptions, Result, Tensor, backward, gradcheck, gradgradcheck, tensor,
};

/// `x^3`, whose derivative reads the input.
struct Cube;

impl Function<1, 1> for Cube {
    fn forward(&self, context: &mut Context, [x]: [&Tensor; 1]) -> Result<[Tensor; 1]> {
        context.save_for_backward(&[x]);
        Ok([x.pow(3)?])
    }

    fn backward(&self, context: &Context, [g]: [&Tensor; 1]) -> Result<[Option<Tensor>; 1]> {
        let [x] = context.saved()?;
        Ok([Some(g.mul(&x.square()?.mul(3)?)?)])
    }
}

/// `e^x`, whose derivative reads the result.
struct Exp;

impl Function<1, 1> for Exp {
    fn forward(&self, context: &mut Context, [x]: [&Tensor; 1]) -> Result<[Tensor; 1]> {
        let y = x.exp()?;
        context.save_for_backward(&[&y]);
        Ok([y])
    }

    fn backward(&self, context: &Context, [g]: [&Tensor; 1]) -> Result<[Option<Tensor>; 1]> {
        let [y] = context.saved()?;
        Ok([Some(g.mul(&y)?)])
    }
}

/// `(a b, a + b, a > b)`: two inputs, two results with derivatives and one without.
struct Both;

impl Function<2, 3> for Both {
    fn forward(&self, context: &mut Context, [a, b]: [&Tensor; 2]) -> Result<[Tensor; 3]> {
        context.save_for_backward(&[a, b]);
        let larger = a.gt(b)?.to_dtype(a.dtype())?;
        context.mark_non_differentiable(&larger);
        Ok([a.mul(b)?, a.add(b)?, larger])
    }

    fn backward(&self, context: &Context, [product, sum, _]: [&Tensor; 3]) -> Result<[Option<Tensor>; 2]> {
        let [a, b] = context.saved()?;
        let wanted = |i: usize, other: &Tensor| {
            context.needs_input_grad(i).then(|| product.mul(other)?.add(sum)).transpose()
        };
        Ok([wanted(0, &b)?, wanted(1, &a)?])
    }
}

/// Doubles its input in place.
struct DoubleInPlace {
    returns: bool,
}

impl Function<1, 1> for DoubleInPlace {
    fn forward(&self, context: &mut Context, [x]: [&Tensor; 1]) -> Result<[Tensor; 1]> {
        context.mark_dirty(x)?;
        x.mul_(2)?;
        Ok([if self.returns { x.clone() } else { x.copy()? }])
    }

    fn backward(&self, _: &Context, [g]: [&Tensor; 1]) -> Result<[Option<Tensor>; 1]> {
        Ok([Some(g.mul(2)?)])
    }
}

/// Passes its input on and turns the gradient around.
struct Reverse;

impl Function<1, 1> for Reverse {
    fn forward(&self, _: &mut Context, [x]: [&Tensor; 1]) -> Result<[Tensor; 1]> {
        Ok([x.clone()])
    }

    fn backward(&self, _: &Context, [g]: [&Tensor; 1]) -> Result<[Option<Tensor>; 1]> {
        Ok([Some(g.neg()?)])
    }
}

fn leaf(values: &[f64]) -> Tensor {
    Tensor::from_vec(values.to_vec(), values.len()).and_then(|t| t.requires_grad_(true)).expect("numbers")
}

fn grad(t: &Tensor) -> Vec<f64> {
    t.grad().expect("a gradient").to_vec().expect("float64")
}

#[test]
fn derivatives_by_hand_agree_with_differences_to_the_second_order() -> Result<()> {
    let options = GradcheckOptions::default();
    let x = leaf(&[0.5, -1.25, 2.0]);
    let y = leaf(&[1.5, 0.25, -0.75]);
    let cube = |x: &[Tensor]| Ok(Cube.apply([&x[0]])?.to_vec());
    let exp = |x: &[Tensor]| Ok(Exp.apply([&x[0]])?.to_vec());
    let both = |x: &[Tensor]| Ok(Both.apply([&x[0], &x[1]])?[..2].to_vec());
    assert!(gradcheck(cube, &[&x], &options)? && gradgradcheck(cube, &[&x], None, &options)?);
    assert!(gradcheck(exp, &[&x], &options)? && gradgradcheck(exp, &[&x], None, &options)?);
    assert!(gradcheck(both, &[&x, &y], &options)? && gradgradcheck(both, &[&x, &y], None, &options)?);
    Ok(())
}

#[test]
fn unused_results_and_inputs_without_gradient() -> Result<()> {
    let (a, b) = (leaf(&[2., 3.]), tensor!([5., 1.]; F64));
    let [product, sum, larger] = Both.apply([&a, &b])?;
    assert_eq!(product.grad_fn().map(|n| n.name()), Some("BothBackward"));
    assert!(sum.requires_grad() && !larger.requires_grad());
    assert_eq!((product.output_nr(), sum.output_nr()), (0, 1));
    // Nothing depends on the product: its gradient is zeros.
    sum.sum()?.backward()?;
    assert_eq!(grad(&a), [1., 1.]);
    assert!(b.grad().is_none());
    // Nothing to record: plain results.
    let [y] = Cube.apply([&b])?;
    assert!(!y.requires_grad());
    Ok(())
}

#[test]
fn changes_in_place_are_recorded() -> Result<()> {
    let x = leaf(&[1., 2., 3., 4.]);
    // Of a result.
    let y = x.mul(1)?;
    let [z] = DoubleInPlace { returns: true }.apply([&y])?;
    assert!(z.is_same(&y));
    y.mul(&x)?.sum()?.backward()?;
    // y = 2x, so the sum is 2x^2.
    assert_eq!(grad(&x), [4., 8., 12., 16.]);
    // Of a view: its base sees it.
    x.zero_grad();
    let y = x.mul(1)?;
    let part = y.narrow(0, 1, 2)?;
    let [_] = DoubleInPlace { returns: true }.apply([&part])?;
    y.sum()?.backward()?;
    assert_eq!(grad(&x), [1., 2., 2., 1.]);
    Ok(())
}

#[test]
fn what_may_not_be_changed_is_refused_before_it_is() -> Result<()> {
    let x = leaf(&[1., 2.]);
    let error = DoubleInPlace { returns: true }.apply([&x]).expect_err("a leaf");
    assert!(error.to_string().contains("leaf Variable"), "{error}");
    assert_eq!(x.to_vec::<f64>()?, [1., 2.]);
    let error = DoubleInPlace { returns: false }.apply([&x.mul(1)?]).expect_err("not returned");
    assert!(error.to_string().contains("dirty"), "{error}");
    Ok(())
}

#[test]
fn an_input_that_is_passed_on_has_the_function_as_its_history() -> Result<()> {
    let x = leaf(&[1., 2.]);
    let [y] = Reverse.apply([&x])?;
    assert_eq!(y.to_vec::<f64>()?, [1., 2.]);
    y.mul(3)?.sum()?.backward()?;
    assert_eq!(grad(&x), [-3., -3.]);
    // A change of it in place is not one of the input.
    let [y] = Reverse.apply([&x])?;
    y.mul_(5)?;
    assert_eq!(x.to_vec::<f64>()?, [1., 2.]);
    x.zero_grad();
    y.sum()?.backward()?;
    assert_eq!(grad(&x), [-5., -5.]);
    Ok(())
}

/// `x^2 y` with the product formed by changes in place, through a view and without.
fn in_place(x: &[Tensor]) -> Result<Vec<Tensor>> {
    let z = x[0].mul(&x[0])?;
    z.narrow(0, 1, 2)?.mul_(&x[1])?;
    z.select(0, 0)?.mul_(&x[1].i(0)?)?;
    z.set(0, z.i(0)?.copy()?.square()?)?;
    z.add_(&x[0])?;
    Ok(vec![z])
}

#[test]
fn changes_through_views_have_second_and_third_derivatives() -> Result<()> {
    let (x, y) = (leaf(&[0.5, -1.0, 1.5]), leaf(&[2.0, -0.5]));
    let options = GradcheckOptions::default();
    assert!(gradcheck(in_place, &[&x, &y], &options)? && gradgradcheck(in_place, &[&x, &y], None, &options)?);
    let gradient = |x: &[Tensor]| {
        let y = x[1].clone();
        let g = kiln_autograd::func::gradient(|x| in_place(&[x.clone(), y.clone()])?[0].sin()?.sum(), &x[0])?;
        Ok(vec![g])
    };
    assert!(gradgradcheck(gradient, &[&x, &y.detach()], None, &options)?);
    Ok(())
}

/// [`Exp`] whose node can be seen to die.
struct Witnessed(#[expect(dead_code, reason = "it only has to live")] Arc<()>);

impl Function<1, 1> for Witnessed {
    fn forward(&self, context: &mut Context, inputs: [&Tensor; 1]) -> Result<[Tensor; 1]> {
        Exp.forward(context, inputs)
    }
    fn backward(&self, context: &Context, gradients: [&Tensor; 1]) -> Result<[Option<Tensor>; 1]> {
        Exp.backward(context, gradients)
    }
}

#[test]
fn saved_tensors_are_guarded_and_released() -> Result<()> {
    let x = leaf(&[1., 2.]);
    let h = x.mul(1)?;
    let [y] = Cube.apply([&h])?;
    h.add_(1)?;
    let error = y.sum()?.backward().expect_err("changed");
    assert!(error.to_string().contains("modified by an inplace operation"), "{error}");
    let [y] = Exp.apply([&x])?;
    y.sum()?.backward()?;
    let error = y.sum()?.backward().expect_err("released");
    assert!(error.to_string().contains("second time"), "{error}");
    // A saved result does not keep itself alive.
    let witness = Arc::new(());
    let [y] = Witnessed(witness.clone()).apply([&x])?;
    assert_eq!(Arc::strong_count(&witness), 2);
    drop(y);
    assert_eq!(Arc::strong_count(&witness), 1);
    Ok(())
}

#[test]
fn wrong_derivatives_are_found() -> Result<()> {
    struct Wrong;
    impl Function<1, 1> for Wrong {
        fn forward(&self, context: &mut Context, [x]: [&Tensor; 1]) -> Result<[Tensor; 1]> {
            context.save_for_backward(&[x]);
            Ok([x.square()?])
        }
        fn backward(&self, context: &Context, [g]: [&Tensor; 1]) -> Result<[Option<Tensor>; 1]> {
            let [x] = context.saved()?;
            // The first derivative is right, the second is lost.
            Ok([Some(g.mul(&x.detach().mul(2)?)?)])
        }
    }
    let x = leaf(&[0.5, -1.0]);
    let options = GradcheckOptions::default();
    let f = |x: &[Tensor]| Ok(Wrong.apply([&x[0]])?.to_vec());
    assert!(gradcheck(f, &[&x], &options)?);
    let error = gradgradcheck(f, &[&x], None, &options).expect_err("no second derivative");
    assert!(error.to_string().contains("Jacobian mismatch for output 0 with respect to input 0"), "{error}");
    assert!(!gradgradcheck(f, &[&x], None, &GradcheckOptions { raise_exception: false, ..options })?);
    let single = x.to_dtype(kiln_autograd::F32)?.detach().requires_grad_(true)?;
    assert!(gradcheck(f, &[&single], &options).is_err());
    assert!(gradcheck(f, &[&x.detach()], &options).is_err());
    Ok(())
}

#[test]
fn backward_can_be_told_where_to_stop() -> Result<()> {
    let (a, b) = (leaf(&[2.]), leaf(&[3.]));
    let y = a.mul(&b)?.sum()?;
    backward(&[&y], &[None], Default::default(), Some(&[&a]))?;
    assert_eq!(grad(&a), [3.]);
    assert!(b.grad().is_none());
    Ok(())
}
