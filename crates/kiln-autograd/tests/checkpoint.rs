//! Checkpoints give the gradients of the plain computation, wherever these go.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_autograd::{
    BackwardOptions, F64, GradcheckOptions, Result, Tensor, checkpoint, func, grad, gradcheck, gradgradcheck,
    manual_seed, no_grad, tensor,
};

/// Tests take turns: a checkpoint puts the default stream back to where it was for as long as it computes again.
fn turn() -> MutexGuard<'static, ()> {
    static STREAM: Mutex<()> = Mutex::new(());
    STREAM.lock().unwrap_or_else(PoisonError::into_inner)
}

fn leaf(values: &[f64]) -> Tensor {
    Tensor::from_vec(values.to_vec(), values.len()).and_then(|t| t.requires_grad_(true)).expect("numbers")
}

fn numbers(t: &Tensor) -> Vec<f64> {
    t.detach().to_vec().expect("float64")
}

fn grad_of(t: &Tensor) -> Vec<f64> {
    numbers(&t.grad().expect("a gradient"))
}

#[test]
fn gradients_agree_with_differences_to_the_second_order() -> Result<()> {
    let _turn = turn();
    let (x, y) = (leaf(&[0.5, -1.0]), leaf(&[2.0, 0.25]));
    let options = GradcheckOptions::default();
    let f = |x: &[Tensor]| {
        let inside = |x: &[Tensor]| x[0].square()?.mul(&x[1])?.sin();
        Ok(vec![checkpoint(inside, &[&x[0], &x[1]])?.mul(&x[0])?])
    };
    assert!(gradcheck(f, &[&x, &y], &options)? && gradgradcheck(f, &[&x, &y], None, &options)?);
    assert!(gradcheck(f, &[&x, &y.detach()], &options)?);
    Ok(())
}

#[test]
fn captured_tensors_get_their_gradients_once() -> Result<()> {
    let _turn = turn();
    // `h` and `k` are captured, `k` was computed from `h`, and all are used outside as well.
    let run = |kept: bool| -> Result<Vec<Vec<f64>>> {
        let (w, x) = (leaf(&[2., 3.]), leaf(&[1., -1.]));
        let h = w.mul(&w)?;
        let k = h.exp()?;
        let seen = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&seen);
        w.register_hook(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(None)
        })?;
        let inside = {
            let (h, k, w) = (h.clone(), k.clone(), w.clone());
            move |x: &[Tensor]| x[0].mul(&h)?.add(&k)?.mul(&w)?.add(&k.sin()?)
        };
        let y = if kept { checkpoint(inside, &[&x])? } else { inside(std::slice::from_ref(&x))? };
        let z = y.mul(&k)?.add(&h)?.sum()?;
        z.backward()?;
        assert_eq!(seen.load(Ordering::Relaxed), 1, "hooks run once");
        Ok(vec![numbers(&z.reshape(1)?), grad_of(&w), grad_of(&x)])
    };
    let (plain, kept) = (run(false)?, run(true)?);
    for (a, b) in plain.iter().flatten().zip(kept.iter().flatten()) {
        assert!((a - b).abs() <= 1e-12 * a.abs(), "{a} {b}");
    }
    Ok(())
}

#[test]
fn parameters_alone_are_enough() -> Result<()> {
    let _turn = turn();
    let w = leaf(&[2., 3.]);
    let x = tensor!([5., 7.]; F64);
    let v = w.clone();
    let y = checkpoint(move |x| x[0].mul(&v)?.square(), &[&x])?;
    let found = grad(&[&y.sum()?], &[&w], &[], BackwardOptions::default(), false)?;
    // 2 w x^2
    assert_eq!(numbers(found[0].as_ref().expect("a gradient")), [100., 294.]);
    assert!(w.grad().is_none());
    // Nothing that requires a gradient: nothing is recorded.
    assert!(!checkpoint(|x| x[0].square(), &[&x])?.requires_grad());
    let v = w.clone();
    assert!(!no_grad(|| checkpoint(move |x| x[0].mul(&v), &[&x]))?.requires_grad());
    Ok(())
}

#[test]
fn draws_are_repeated_and_the_stream_goes_on() -> Result<()> {
    let _turn = turn();
    let run = |kept: bool| -> Result<(Vec<f64>, Vec<f64>)> {
        manual_seed(3);
        let x = leaf(&[1.; 16]);
        let inside = |x: &[Tensor]| x[0].dropout(0.5, true)?.square();
        let y = if kept { checkpoint(inside, &[&x])? } else { inside(std::slice::from_ref(&x))? };
        y.sum()?.backward()?;
        Ok((grad_of(&x), Tensor::rand(2).to_dtype(F64)?.to_vec()?))
    };
    assert_eq!(run(true)?, run(false)?);
    Ok(())
}

#[test]
fn the_inside_is_not_kept() -> Result<()> {
    let _turn = turn();
    let x = leaf(&[1., 2.]);
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let y = checkpoint(
        move |x| {
            count.fetch_add(1, Ordering::Relaxed);
            x[0].exp()?.exp()
        },
        &[&x],
    )?;
    let node = y.grad_fn().expect("a node");
    assert_eq!((node.name(), node.next_functions().len()), ("CheckpointBackward", 1));
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    let y = y.sum()?;
    y.backward()?;
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    assert!(y.backward().is_err(), "the checkpoint is released");
    Ok(())
}

#[test]
fn functions_that_change_are_refused() -> Result<()> {
    let _turn = turn();
    let x = leaf(&[1., 2.]);
    let calls = AtomicUsize::new(0);
    let other = leaf(&[1., 2.]);
    let y = checkpoint(
        move |x| match calls.fetch_add(1, Ordering::Relaxed) {
            0 => x[0].square(),
            _ => x[0].mul(&other),
        },
        &[&x],
    )?;
    let error = y.sum()?.backward().expect_err("another computation");
    assert!(error.to_string().contains("the same in both passes"), "{error}");
    // An input that was changed since is noticed.
    let h = x.mul(1)?;
    let y = checkpoint(|x| x[0].square(), &[&h])?;
    h.add_(1)?;
    assert!(y.sum()?.backward().is_err());
    Ok(())
}

#[test]
fn derivatives_of_derivatives() -> Result<()> {
    let _turn = turn();
    let x = tensor!([1., 2.]; F64);
    let hessian = func::hessian(|x| checkpoint(|x| x[0].pow(3)?.sum(), &[x]), &x)?;
    assert_eq!(numbers(&hessian), [6., 0., 0., 12.]);
    Ok(())
}
