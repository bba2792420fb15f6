//! Errors of the backward pass name the program's own lines.

use kiln_autograd::*;

/// `file:line` of the line that calls this, so many lines further down.
#[track_caller]
fn line(below: u32) -> String {
    let here = std::panic::Location::caller();
    format!("{}:{}:", here.file(), here.line() + below)
}

fn leaf() -> Tensor {
    Tensor::full([3], 2.0).requires_grad_(true).unwrap()
}

fn says(result: Result<()>, parts: &[&str]) {
    let error = result.unwrap_err().to_string();
    for part in parts {
        assert!(error.contains(part), "{error:?} does not contain {part:?}");
    }
}

#[test]
fn a_changed_tensor_names_who_saved_it_and_who_changed_it() {
    let x = leaf();
    let made = line(1);
    let y = x.exp().unwrap();
    let multiplied = line(1);
    let z = y.mul(&y).unwrap();
    let changed = line(1);
    y.add_(1.0).unwrap();
    let made = format!("made at {made}");
    let mut parts = vec!["It was saved by MulBackward0", &*multiplied, "version 0", &*made];
    // Release builds do not remember changes.
    if cfg!(debug_assertions) {
        parts.extend(["changed by add_", &*changed]);
    }
    says(z.sum().unwrap().backward(), &parts);
}

#[test]
fn a_result_that_was_changed_names_its_operation() {
    let y = leaf();
    let called = line(1);
    let y = y.sigmoid().unwrap();
    y.mul_(2.0).unwrap();
    says(y.sum().unwrap().backward(), &["SigmoidBackward0", &called]);
}

#[test]
fn operators_and_composed_functions_are_called_by_the_program_too() {
    let x = leaf();
    let called = line(1);
    let y = &x * &x;
    let loss = y.sum().unwrap();
    loss.backward().unwrap();
    says(loss.backward(), &["Trying to backward through the graph a second time (MulBackward0", &called]);

    let called = line(1);
    let y = x.smooth_l1_loss(&Tensor::zeros([3]), 1.0, Reduction::Mean).unwrap();
    y.backward().unwrap();
    says(y.backward(), &["second time", &called]);
}

#[test]
fn families_tell_their_lines() {
    type Make = fn(&Tensor) -> (Result<Tensor>, String);
    let families: &[Make] = &[
        |x| (x.view([3, 1]).and_then(|v| v.matmul(&v.t()?)), String::new()),
        |x| (x.softmax(0), line(0)),
        |x| (x.prod(), line(0)),
        |x| (x.cumprod(0), line(0)),
        |x| (x.mul(x), line(0)),
        |x| (x.pow(3), line(0)),
        |x| (x.logsumexp(&[0], false), line(0)),
        |x| (x.dot(x), line(0)),
        |x| (x.bessel_j0(), line(0)),
        |x| (x.i([2, 0, 1]).and_then(|y| y.exp()), String::new()),
        |x| (x.outer(x), line(0)),
        |x| (x.layer_norm(&[3], None, None, 1e-5), line(0)),
        |x| (x.cosine_similarity(&Tensor::ones([3]), 0, 1e-8), line(0)),
        |x| (x.dist(&Tensor::zeros([3]), 2.0), line(0)),
        |x| (x.mse_loss(&Tensor::zeros([3]), Reduction::Sum), line(0)),
        |x| (x.std(), line(0)),
        |x| (Ok(2.0 / x), line(0)),
        |x| (Ok(1 - &(x * x)), line(0)),
        |x| (x.view([1, 3]).unwrap().conv1d(&x.view([1, 1, 3]).unwrap(), None, [1], [0], [1], 1), line(0)),
    ];
    for (i, make) in families.iter().enumerate() {
        let (y, called) = make(&leaf());
        let y = y.unwrap().sum().unwrap();
        y.backward().unwrap();
        let error = y.backward().unwrap_err().to_string();
        assert!(error.contains("second time") && error.contains(&called), "family {i}: {error}");
    }
}

#[test]
fn lines_inside_of_kiln_are_not_the_programs() {
    // The second derivative's nodes are made by derivatives.
    let x = leaf();
    let y = x.exp().unwrap().mul(&x).unwrap().sum().unwrap();
    let options = BackwardOptions { create_graph: true, ..BackwardOptions::default() };
    let g = grad(&[&y], &[&x], &[], options, false).unwrap().remove(0).unwrap();
    let g = g.sum().unwrap();
    g.backward().unwrap();
    let error = g.backward().unwrap_err().to_string();
    assert!(!error.contains("src/ops"), "{error}");
}

/// Fails; the error names the line that calls this.
#[track_caller]
fn fails_here<T>(result: Result<T>) {
    let here = std::panic::Location::caller();
    let Err(error) = result else { panic!("no error at {here}") };
    let place = error.place().unwrap_or_else(|| panic!("no place at {here}: {error}"));
    assert_eq!((place.file(), place.line()), (here.file(), here.line()), "{error}");
    assert_eq!(error.to_string(), format!("{} (at {place})", error.kind()));
    // What a program prints that ends with the error.
    assert_eq!(format!("{error:?}"), error.to_string());
}

#[test]
fn operations_without_a_derivative_name_their_line() {
    let (x, y) = (Tensor::zeros([2, 3]), Tensor::zeros([4]));
    let n = Tensor::full([2], 7);
    fails_here(x.eq(&y));
    fails_here(x.isclose(&y, 0.0, 0.0, false));
    fails_here(x.logical_and(&y));
    fails_here(x.bitwise_and(&x));
    fails_here(x.bitwise_not());
    fails_here(x.gcd(&x));
    fails_here(x.argmax(5, false));
    fails_here(x.argsort(5, false));
    fails_here(x.all_axes(&[7], false));
    fails_here(x.bincount(None, 0));
    fails_here(x.bucketize(&x, SearchOptions::default()));
    fails_here(x.histc(3, 1.0, 0.0));
    fails_here(x.one_hot(3));
    fails_here(n.one_hot(3));
    fails_here(y.matrix_rank(&Tolerance::default(), false));
    fails_here(x.item());
    fails_here(x.to_vec::<i64>());
    fails_here(x.size(4));
    fails_here(x.i((0, 7)));
    fails_here(x.i(y.gt(0).unwrap()));
    fails_here(x.set((5, ..), 1.0));
    fails_here(x.as_slice::<i64>());
    fails_here(einsum("ij,jk->ik", &[&x, &x]));
    fails_here(Tensor::cat(&[&x, &y], 0));
    fails_here(Tensor::from_vec(vec![1.0f32; 3], [2]));
    fails_here(Tensor::new(vec![vec![1], vec![2, 3]]));
    fails_here(Tensor::arange_step(1, 2, 0));
    fails_here(Tensor::multinomial(&y.neg().unwrap(), 2, false));
    fails_here(windows::hann(-1, true, F32));
}

#[test]
fn changes_in_place_name_their_line() {
    let (x, y) = (Tensor::zeros([2, 3]), Tensor::zeros([4]));
    fails_here(x.add_(&y));
    fails_here(x.mul_(&y));
    fails_here(x.copy_(&y));
    fails_here(x.masked_fill_(&y.gt(0).unwrap(), 1.0));
    fails_here(x.index_add_(5, &y, &x));
    fails_here(x.unsqueeze_(9));
    fails_here(x.eq_(&y));
    fails_here(Tensor::full([2], 1).exp_());
    fails_here(Tensor::full([2], 1).uniform_(0.0, 1.0));
    fails_here(leaf().add_(1.0));
    fails_here(leaf().i(0).unwrap().fill_(1.0));
    fails_here(leaf().exp().unwrap().requires_grad_(false));
    fails_here(Tensor::full([2], 1).requires_grad_(true));
}

#[test]
fn errors_of_the_backward_pass_name_the_line_that_started_it() {
    let y = leaf().exp().unwrap();
    fails_here(y.backward());
    fails_here(y.backward_with(&Tensor::zeros([7])));
    fails_here(grad(&[&y.sum().unwrap()], &[&leaf()], &[], BackwardOptions::default(), false));
    fails_here(Tensor::zeros([1]).backward());
    fails_here(Tensor::zeros([1]).retain_grad());
    fails_here(Tensor::zeros([1]).register_hook(|_| Ok(None)));
    fails_here(func::vjp(|x| x.exp(), &Tensor::zeros([2]), &Tensor::zeros([3])));
    fails_here(func::jvp(|x| x.exp(), &Tensor::zeros([2]), &Tensor::zeros([3])));
    fails_here(func::gradient(|x| x.exp(), &Tensor::zeros([2])));
    fails_here(gradcheck(|x| Ok(vec![x[0].exp()?]), &[&leaf()], &GradcheckOptions::default()));
    // A derivative fails inside of the library: the gradient that a hook has made does not fit it.
    let z = leaf().exp().unwrap();
    z.register_hook(|_| Ok(Some(Tensor::zeros([5])))).unwrap();
    fails_here(z.sum().unwrap().backward());
}

#[test]
fn a_function_that_is_handed_on_has_no_line_of_its_own() {
    let error = [Tensor::zeros([2])].iter().map(Tensor::item).collect::<Result<Vec<_>>>().unwrap_err();
    assert!(error.place().is_none(), "{error}");
    let place = error.at(std::panic::Location::caller()).place().unwrap();
    assert_eq!(place.line(), line!() - 1);
}

#[test]
fn the_first_line_of_the_program_is_kept() {
    #[track_caller]
    fn again(result: Result<Tensor>) -> Result<Tensor> {
        result.here()
    }
    let (before, failed) = (line!(), Tensor::zeros([2]).view([3]));
    assert_eq!(again(failed).unwrap_err().place().unwrap().line(), before);
}

#[test]
fn a_result_without_a_gradient_tells_where_it_was_made() {
    let x = leaf();
    let called = line(1);
    let y = x.exp().unwrap();
    assert!(explain_grad(&y).contains(&called), "{}", explain_grad(&y));
}
