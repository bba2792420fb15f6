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
        // Another content has its own tangent, or none.
        let w = Tensor::ones([3]);
        w.set_result(&s.mul(2.0)?)?;
        assert_eq!(tangent(&w), Some(vec![12., 32.]));
        w.set_data(&s.detach())?;
        assert_eq!(tangent(&w), None);
        // Rows written one after the other.
        let rows = Tensor::zeros([3, 2]);
        for i in 0..3 {
            rows.i(i)?.copy_(&s.mul(i as f64)?)?;
        }
        assert_eq!(tangent(&rows), Some(vec![0., 0., 6., 16., 12., 32.]));
        Ok(())
    })
}

/// A change in place and the function that computes the same.
type InPlace = (&'static str, fn(&Tensor, &Tensor) -> Result<()>, fn(&Tensor, &Tensor) -> Result<Tensor>);

#[test]
fn changes_in_place_have_the_tangents_of_what_they_compute() -> Result<()> {
    const CHANGES: &[InPlace] = &[
        ("add_", |x, y| x.add_(y), |x, y| x.add(y)),
        ("add_ itself", |x, _| x.add_(x), |x, _| x.mul(2.0)),
        ("mul_", |x, y| x.mul_(y), |x, y| x.mul(y)),
        ("mul_ itself", |x, _| x.mul_(x), |x, _| x.square()),
        ("div_", |x, y| x.div_(y), |x, y| x.div(y)),
        ("pow_", |x, y| x.pow_(y), |x, y| x.pow(y)),
        ("sigmoid_", |x, _| x.sigmoid_(), |x, _| x.sigmoid()),
        ("sqrt_", |x, _| x.sqrt_(), |x, _| x.sqrt()),
        ("log_", |x, _| x.log_(), |x, _| x.log()),
        ("relu_", |x, _| x.relu_(), |x, _| x.relu()),
        ("clamp_max_", |x, _| x.clamp_max_(1.0.into()), |x, _| x.clamp_max(1.0)),
        ("lerp_", |x, y| x.lerp_(y, 0.3.into()), |x, y| x.lerp(y, 0.3)),
        ("addcmul_", |x, y| x.addcmul_(y, y, 2.0.into()), |x, y| x.addcmul(y, y, 2.0)),
        ("cumsum_", |x, _| x.cumsum_(1), |x, _| x.cumsum(1)),
        ("tril_", |x, _| x.tril_(0), |x, _| x.tril(0)),
        ("masked_fill_", |x, _| x.masked_fill_(&x.gt(1.0)?, 3.0), |x, _| x.masked_fill(&x.gt(1.0)?, 3.0)),
        ("copy_", |x, y| x.copy_(y), |_, y| y.copy()),
        ("fill_", |x, _| x.fill_(2.0), |x, _| x.mul(0.0)?.add(2.0)),
        (
            "index_fill_",
            |x, _| x.index_fill_(0, &tensor![1i64], 2.0),
            |x, _| x.index_fill(0, &tensor![1i64], 2.0),
        ),
        (
            "index_add_",
            |x, y| x.index_add_(0, &tensor![1i64, 1], y),
            |x, y| x.index_add(0, &tensor![1i64, 1], y),
        ),
        (
            "index_copy_",
            |x, y| x.index_copy_(0, &tensor![1i64, 0], y),
            |x, y| x.index_copy(0, &tensor![1i64, 0], y),
        ),
        (
            "addmm_",
            |x, y| x.addmm_(&y.mm(&y.t()?)?, y, 1.0.into(), 1.0.into()),
            |x, y| y.mm(&y.t()?)?.mm(y)?.add(x),
        ),
        (
            "a column",
            |x, y| x.select(1, 0)?.mul_(&y.select(1, 2)?),
            |x, y| {
                let rest = x.narrow(1, 1, 2)?;
                Tensor::cat(&[&x.select(1, 0)?.mul(&y.select(1, 2)?)?.unsqueeze(1)?, &rest], 1)
            },
        ),
        ("the transpose", |x, y| x.t()?.mul_(&y.t()?), |x, y| x.mul(y)),
        ("a piece", |x, y| x.split(1, 0)?[1].copy_(&y.i(0)?), |x, y| Tensor::stack(&[&x.i(0)?, &y.i(0)?], 0)),
        ("t_", |x, _| x.t_(), |x, _| x.t()),
        ("unsqueeze_ and squeeze_", |x, _| x.unsqueeze_(0).and_then(|()| x.squeeze_()), |x, _| Ok(x.clone())),
    ];
    let (x, y) =
        (tensor!([[0.5, 1.5, 0.7], [1.2, 0.4, 2.5]]; F64), tensor!([[1.5, 0.3, 2.0], [0.8, 1.1, 0.6]]; F64));
    let (tx, ty) =
        (tensor!([[1., 2., -1.], [0.5, 3., 1.]]; F64), tensor!([[0.1, -2., 1.], [4., 0.2, 0.7]]; F64));
    let no = x.zeros_like()?;
    // With both tangents, and with one of them alone; in no_grad as well.
    for (tx, ty) in [(&tx, &ty), (&tx, &no), (&no, &ty)] {
        for (name, change, function) in CHANGES {
            let expected = func::jvp_many(|t| Ok(vec![function(&t[0], &t[1])?]), &[&x, &y], &[tx, ty])?;
            let changed = |plain: bool| {
                let f = |t: &[Tensor]| {
                    let x = if plain { x.copy()? } else { t[0].copy()? };
                    change(&x, &t[1])?;
                    Ok(vec![x])
                };
                func::jvp_many(f, &[&x, &y], &[tx, ty])
            };
            for found in [changed(false)?, no_grad(|| changed(false))?] {
                assert!(found.0[0].allclose(&expected.0[0], 1e-12, 1e-12, false)?, "{name}");
                assert!(found.1[0].allclose(&expected.1[0], 1e-12, 1e-12, false)?, "{name}: {}", found.1[0]);
            }
            // What had no tangent before gets one.
            let expected = func::jvp(|y| function(&x, y), &y, ty)?.1;
            assert!(
                changed(true)?.1[0].allclose(&expected, 1e-12, 1e-12, false)?,
                "{name} of a plain tensor"
            );
        }
    }
    Ok(())
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
