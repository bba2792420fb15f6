//! Forward mode: levels, duals, in-place changes and views, with PyTorch's rules; and Hessians times vectors.

use kiln_autograd::forward_ad::{dual_level, dual_level_guard, make_dual, unpack_dual};
use kiln_autograd::{
    BackwardOptions, Context, F64, Function, I64, Result, Tensor, checkpoint, func, grad, inference_mode,
    no_grad, tensor,
};

fn numbers(t: &Tensor) -> Vec<f64> {
    t.detach().to_dtype(F64).and_then(|t| t.to_vec()).expect("numbers")
}

/// The tangent's numbers.
fn tangent(t: &Tensor) -> Option<Vec<f64>> {
    unpack_dual(t).expect("a dual").1.map(|t| numbers(&t))
}

#[test]
fn duals_live_as_long_as_their_level() -> Result<()> {
    let (x, v) = (tensor![1., 2., 3.], tensor![1., 10., 100.]);
    let refused = |r: Result<Tensor>, text: &str| {
        let error = r.expect_err("an error").to_string();
        assert!(error.contains(text), "{error}");
    };
    refused(make_dual(&x, &v), "no level exists, make sure to enter_dual_level() first");
    assert_eq!(unpack_dual(&x)?.1.map(|t| t.dims()), None);
    let y = dual_level(|| {
        let dual = make_dual(&x, &v)?;
        assert!(dual.shares_storage(&x));
        let y = dual.mul(3.0)?;
        assert_eq!(tangent(&y), Some(vec![3., 30., 300.]));
        assert_eq!(tangent(&no_grad(|| dual.mul(2.0))?), Some(vec![2., 20., 200.]));
        assert_eq!(tangent(&inference_mode(|| dual.mul(2.0))?), None);
        assert_eq!(tangent(&dual.detach()), None);
        assert_eq!(tangent(&dual.gt(2)?), None);
        assert_eq!(tangent(&dual.floor()?), Some(vec![0.; 3]));
        assert_eq!(tangent(&x.mul(2.0)?), None);
        let primal = unpack_dual(&y)?.0;
        assert_eq!((numbers(&primal), tangent(&primal)), (vec![3., 6., 9.], None));
        refused(
            make_dual(&x, &tensor![1., 2.]),
            "Tensor is of size [3] while the given forward gradient is of size [2]",
        );
        refused(make_dual(&tensor![1, 2, 3], &v), "Expected primal to be floating point");
        refused(make_dual(&x, &v.to_dtype(I64)?), "Expected tangent to be floating point");
        refused(make_dual(&dual, &v), "already has a forward gradient at the same level 0");
        let nested = dual_level_guard().err().map(|e| e.to_string()).unwrap_or_default();
        assert!(nested.contains("Nested forward mode AD is not supported"), "{nested}");
        // Another thread has levels of its own.
        std::thread::scope(|s| s.spawn(|| assert_eq!(tangent(&dual), None)).join()).expect("the thread");
        Ok(y)
    })?;
    assert_eq!(tangent(&y), None);
    dual_level(|| {
        assert_eq!(tangent(&y), None);
        assert_eq!(tangent(&make_dual(&y, &v)?.sum()?), Some(vec![111.]));
        Ok(())
    })
}

#[test]
fn tangents_die_with_their_tensors_and_their_level() -> Result<()> {
    let (x, v) = (tensor![1., 2., 3.], tensor![1., 1., 1.]);
    let sharers = |t: &Tensor| t.raw().storage().sharers();
    let guard = dual_level_guard()?;
    let dual = make_dual(&x, &v)?;
    let y = dual.add(1.0)?;
    assert_eq!(tangent(&y), Some(vec![1.; 3]));
    drop(guard);
    // Nobody holds the tangent any more, although the tensors that had it live.
    let before = sharers(&v);
    drop((dual, y));
    assert_eq!(sharers(&v), before);
    Ok(())
}

#[test]
fn changes_in_place_change_tangents_through_views() -> Result<()> {
    dual_level(|| {
        let dual = make_dual(&tensor![1., 2., 3.].copy()?, &tensor![1., 1., 1.])?;
        let first = dual.i(0)?;
        dual.mul_(3.0)?;
        assert_eq!((tangent(&first), tangent(&dual)), (Some(vec![3.]), Some(vec![3.; 3])));
        first.mul_(2.0)?;
        assert_eq!((tangent(&first), tangent(&dual)), (Some(vec![6.]), Some(vec![6., 3., 3.])));
        // A part of a tensor without tangent becomes dual.
        let z = Tensor::zeros([4]);
        z.narrow(0, 1, 3)?.copy_(&dual)?;
        assert_eq!(tangent(&z), Some(vec![0., 6., 3., 3.]));
        // Through a transposed view of a transposed tangent.
        let m = make_dual(&Tensor::ones([2, 3]), &Tensor::ones([3, 2]).t()?)?;
        m.t()?.i(1)?.mul_(5.0)?;
        assert_eq!(tangent(&m), Some(vec![1., 5., 1., 1., 5., 1.]));
        z.zero_()?;
        assert_eq!(tangent(&z), Some(vec![0.; 4]));
        // exp_ reads its result, square_ what was there before.
        let e = make_dual(&tensor!([0.5, 1.5]; F64), &tensor!([1., 2.]; F64))?;
        e.exp_()?;
        assert_eq!(tangent(&e), Some(vec![0.5f64.exp(), 2. * 1.5f64.exp()]));
        let s = make_dual(&tensor![3., 4.], &tensor![1., 2.])?;
        s.square_()?;
        assert_eq!(tangent(&s), Some(vec![6., 16.]));
        // Rows written one after the other.
        let rows = Tensor::zeros([3, 2]);
        for i in 0..3 {
            rows.i(i)?.copy_(&s.mul(i as f64)?)?;
        }
        assert_eq!(tangent(&rows), Some(vec![0., 0., 6., 16., 12., 32.]));
        Ok(())
    })
}

/// A cubic function of three numbers: `x0^2 x1 + x2^3`.
fn f(x: &Tensor) -> Result<Tensor> {
    let [a, b, c] = [x.i(0)?, x.i(1)?, x.i(2)?];
    a.square()?.mul(&b)?.add(&c.pow(3)?)
}

/// At (1, 2, 3).
const HESSIAN: [[f64; 3]; 3] = [[4., 2., 0.], [2., 0., 0.], [0., 0., 18.]];

#[test]
fn both_modes_compose() -> Result<()> {
    let (x, v) = (tensor!([1., 2., 3.]; F64), tensor!([1., 10., 100.]; F64));
    let product: Vec<f64> = HESSIAN.iter().map(|row| row[0] + 10. * row[1] + 100. * row[2]).collect();
    // Forward over reverse.
    let w = x.copy()?.requires_grad_(true)?;
    dual_level(|| {
        let dual = make_dual(&w, &v)?;
        let g = grad(&[&f(&dual)?], &[&dual], &[], BackwardOptions::default(), false)?;
        assert_eq!(tangent(g[0].as_ref().expect("a gradient")), Some(product.clone()));
        // backward() keeps the tangent in the gradient as well.
        let leaf = tangent_of_leaf(&x, &v)?;
        f(&leaf)?.backward()?;
        assert_eq!(tangent(&leaf.grad().expect("a gradient")), Some(product.clone()));
        Ok(())
    })?;
    // Reverse over forward.
    let slope = func::jvp(f, &w, &v)?.1;
    assert_eq!(numbers(&slope), [4. + 10. + 2700.]);
    slope.backward()?;
    assert_eq!(numbers(&w.grad().expect("a gradient")), product);
    // Forward over forward, and the perturbations do not mix: d/dx (x d/dy (x + y)) = 1.
    let twice = func::jvp(|x| Ok(func::jvp(f, x, &v)?.1), &x, &v)?;
    assert_eq!(numbers(&twice.1), [product[0] + 10. * product[1] + 100. * product[2]]);
    let one = tensor!([1.]; F64);
    let nested = func::jvp(|x| x.mul(&func::jvp(|y| x.add(y), &one, &one)?.1), &one, &one)?;
    assert_eq!(numbers(&nested.1), [1.]);
    // Three deep: the third derivative of x^4 at 2.
    let d = |g: &dyn Fn(&Tensor) -> Result<Tensor>, x: &Tensor| Ok(func::jvp(g, x, &x.ones_like()?)?.1);
    let third = d(&|x| d(&|x| d(&|x| x.pow(4), x), x), &tensor!([2.]; F64))?;
    assert_eq!(numbers(&third), [48.]);
    let h = func::jacfwd(|x| func::gradient(f, x), &x)?;
    assert_eq!((h.dims(), numbers(&h)), (vec![3, 3], HESSIAN.concat()));
    let h = func::jacfwd(|x| func::jacfwd(f, x), &x)?;
    assert_eq!((h.dims(), numbers(&h)), (vec![3, 3], HESSIAN.concat()));
    let h = func::jacrev(|x| func::jacfwd(f, x), &x.copy()?)?;
    assert_eq!(numbers(&h), HESSIAN.concat());
    Ok(())
}

/// A leaf with a tangent.
fn tangent_of_leaf(x: &Tensor, v: &Tensor) -> Result<Tensor> {
    make_dual(x, v)?.requires_grad_(true)
}

#[test]
fn checkpoints_carry_tangents() -> Result<()> {
    let (x, v) = (tensor!([1., 2., 3.]; F64).requires_grad_(true)?, tensor!([1., 10., 100.]; F64));
    let slope = func::jvp(|x| checkpoint(|x| f(&x[0]), &[x]), &x, &v)?.1;
    assert_eq!(numbers(&slope), [2714.]);
    Ok(())
}

/// `x^2 y`, which saves what it likes; with a formula for forward mode of its own, or not.
struct Cube {
    own: bool,
}

impl Function<2, 2> for Cube {
    fn forward(&self, context: &mut Context, [x, y]: [&Tensor; 2]) -> Result<[Tensor; 2]> {
        let e = y.exp()?;
        context.save_for_backward(&[x, y, &e]);
        Ok([x.square()?.mul(y)?, e])
    }

    fn backward(&self, context: &Context, [g, ge]: [&Tensor; 2]) -> Result<[Option<Tensor>; 2]> {
        let [x, y, e] = context.saved()?;
        let gx = g.mul(&x)?.mul(&y)?.mul(2.0)?;
        Ok([Some(gx), Some(g.mul(&x.square()?)?.add(&ge.mul(&e)?)?)])
    }

    fn jvp(&self, context: &Context, [tx, ty]: [Option<&Tensor>; 2]) -> Result<Option<[Tensor; 2]>> {
        if !self.own {
            return Ok(None);
        }
        let [x, y, e] = context.saved()?;
        let zero = x.zeros_like()?;
        let (tx, ty) = (tx.unwrap_or(&zero), ty.unwrap_or(&zero));
        let first = x.mul(&y)?.mul(2.0)?.mul(tx)?.add(&x.square()?.mul(ty)?)?;
        // Ten times too much, to tell it from the transpose.
        Ok(Some([first.mul(10.0)?, e.mul(ty)?.mul(10.0)?]))
    }
}

#[test]
fn functions_of_the_user_carry_tangents() -> Result<()> {
    let (x, y) = (tensor!([3.]; F64), tensor!([2.]; F64));
    let one = tensor!([1.]; F64);
    let e = 2f64.exp();
    for (own, factor) in [(false, 1.0), (true, 10.0)] {
        let f = |t: &[Tensor]| Ok(Vec::from(Cube { own }.apply([&t[0], &t[1]])?));
        let (values, slopes) = func::jvp_many(f, &[&x, &y], &[&one, &one])?;
        assert_eq!([numbers(&values[0]), numbers(&values[1])], [vec![18.], vec![e]]);
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12 * b.abs(), "{a} {b}");
        near(slopes[0].to_f64()?, factor * (12. + 9.));
        near(slopes[1].to_f64()?, factor * e);
        let slopes = func::jvp_many(f, &[&x, &y], &[&one, &one.zeros_like()?])?.1;
        near(slopes[0].to_f64()?, factor * 12.);
        // Forward over reverse: what the function saved of its inputs and results has tangents.
        let gradient = |y: &Tensor| {
            let [a, b] = Cube { own: false }.apply([&x, y])?;
            a.add(&b)?.sum()
        };
        near(func::hvp(gradient, &y, &one)?.1.to_f64()?, e);
    }
    Ok(())
}

#[test]
fn operations_without_the_mode_say_so() -> Result<()> {
    let x = Tensor::ones([1, 4, 2, 2]);
    dual_level(|| {
        let y = make_dual(&x, &x)?.cross_map_lrn2d(3, 1e-4, 0.75, 1.0)?.mul(2.0)?;
        let error = unpack_dual(&y).map(drop).expect_err("no forward mode").to_string();
        assert!(error.contains("cross_map_lrn2d"), "{error}");
        Ok(())
    })
}
