//! Operators: values, dtypes, history and panics, as PyTorch has them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use kiln_autograd::*;

fn ints(t: Tensor) -> Vec<i64> {
    t.to_vec().unwrap()
}

#[test]
fn tensors_and_numbers_on_both_sides() {
    // Values, grad_fn and gradients of torch for x = [1, -2, 3].
    type Case = (fn(&Tensor) -> Tensor, [f32; 3], &'static str, [f32; 3]);
    let cases: [Case; 9] = [
        (|x| 1.0 - x, [0.0, 3.0, -2.0], "RsubBackward1", [-1.0, -1.0, -1.0]),
        (|x| 2.0 / x, [2.0, -1.0, 0.6666666865348816], "MulBackward0", [-2.0, -0.5, -0.222222238779068]),
        (|x| x % 2, [1.0, -0.0, 1.0], "RemainderBackward0", [1.0, 1.0, 1.0]),
        (|x| 3 * x, [3.0, -6.0, 9.0], "MulBackward0", [3.0, 3.0, 3.0]),
        (|x| 2 + x.clone(), [3.0, 0.0, 5.0], "AddBackward0", [1.0, 1.0, 1.0]),
        (|x| -x, [-1.0, 2.0, -3.0], "NegBackward0", [-1.0, -1.0, -1.0]),
        (|x| x / 2.0, [0.5, -1.0, 1.5], "DivBackward0", [0.5, 0.5, 0.5]),
        (|x| x - 1.0f32, [0.0, -3.0, 2.0], "SubBackward0", [1.0, 1.0, 1.0]),
        (|x| x * &tensor![1., 0., 2.] + x.clone(), [2.0, -2.0, 9.0], "AddBackward0", [2.0, 1.0, 3.0]),
    ];
    for (f, value, name, gradient) in cases {
        let x = tensor![1., -2., 3.].requires_grad_(true).unwrap();
        let y = f(&x);
        assert_eq!(y.to_vec::<f32>().unwrap(), value, "{name}");
        assert_eq!(y.grad_fn().unwrap().name(), name);
        y.sum().unwrap().backward().unwrap();
        assert_eq!(x.grad().unwrap().to_vec::<f32>().unwrap(), gradient, "{name}");
    }
}

#[test]
fn literals_need_no_types() {
    let x = tensor![1., 2.];
    // The method call after a number on the left compiles only if the number's type is known by then.
    assert_eq!((2.0 * &x).sum().unwrap().to_f64().unwrap(), 6.0);
    assert_eq!((2 * (1 - &x) / 4).dtype(), F32);
    assert_eq!((&tensor![1, 2, 5] * 2.5).to_vec::<f32>().unwrap(), [2.5, 5.0, 12.5]);
    assert_eq!((1 - tensor![1, 2]).dtype(), I64);
    assert_eq!((-7.5 % tensor![2., -2.]).to_vec::<f32>().unwrap(), [0.5, -1.5]);
}

#[test]
fn integers_and_bits() {
    let i = tensor![1, 2, 5];
    assert_eq!(ints(7 % &i), [0, 1, 2]);
    assert_eq!(ints(!&i), [-2, -3, -6]);
    assert_eq!(ints(&i & 3), [1, 2, 1]);
    assert_eq!(ints(&i | 8), [9, 10, 13]);
    assert_eq!(ints(&i ^ 1), [0, 3, 4]);
    assert_eq!(ints(&i << 2), [4, 8, 20]);
    assert_eq!(ints(&i >> 1), [0, 1, 2]);
    assert_eq!((!tensor![1u8, 200]).to_vec::<u8>().unwrap(), [254, 55]);
    let (a, b) = (tensor![true, true, false], tensor![true, false, false]);
    assert_eq!((&a & &b).to_vec::<bool>().unwrap(), [true, false, false]);
    assert_eq!((&a | &b).to_vec::<bool>().unwrap(), [true, true, false]);
    assert_eq!((!a ^ b).to_vec::<bool>().unwrap(), [true, false, true]);
}

#[test]
fn assignment_works_in_place() {
    let mut x = tensor![[1., 2.], [3., 4.]];
    let row = x.i(1).unwrap();
    x += 1.0;
    x *= tensor![1., 10.];
    x -= &tensor![[0.], [1.]];
    x /= 2.0;
    assert_eq!(row.to_vec::<f32>().unwrap(), [1.5, 24.5]);
    x %= 2.0;
    assert_eq!(x.to_vec::<f32>().unwrap(), [1.0, 1.0, 1.5, 0.5]);
    let mut m = tensor![6, 5];
    m &= 3;
    m |= 8;
    m ^= 1;
    assert_eq!(ints(m), [11, 8]);
}

#[test]
fn failures_panic_with_the_methods_text_where_they_happen() {
    let (a, b) = (Tensor::zeros([2, 3]), Tensor::zeros([4]));
    // Without the place: a panic has one of its own.
    let text = a.add(&b).unwrap_err().kind().to_string();
    let place = std::sync::Arc::new(std::sync::Mutex::new(None));
    let seen = place.clone();
    std::panic::set_hook(Box::new(move |info| {
        *seen.lock().unwrap() = info.location().map(|l| (l.file().to_owned(), l.line()));
    }));
    let line = line!() + 1;
    let panic = catch_unwind(AssertUnwindSafe(|| &a + &b)).map(|_| ()).unwrap_err();
    let _ = std::panic::take_hook();
    assert_eq!(*panic.downcast::<String>().unwrap(), text);
    assert_eq!(*place.lock().unwrap(), Some((file!().to_owned(), line)));
}
