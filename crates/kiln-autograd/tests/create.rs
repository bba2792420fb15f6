//! Constructors and literals, against PyTorch's values.

use kiln_autograd::*;

fn f32s(t: &Tensor) -> Vec<f32> {
    t.to_vec().unwrap()
}

#[test]
fn dtypes_follow_the_literals_and_the_options() {
    assert_eq!(tensor![1, 2].dtype(), I64);
    assert_eq!(tensor![1., 2.].dtype(), F32);
    assert_eq!(tensor![true].dtype(), BOOL);
    assert_eq!(tensor![1u8, 2].dtype(), U8);
    assert_eq!(tensor!(f16::ONE).dtype(), F16);
    assert_eq!(tensor!([1, 0]; BOOL).to_vec::<bool>().unwrap(), [true, false]);
    assert_eq!(tensor![1, 0; F64].to_vec::<f64>().unwrap(), [1.0, 0.0]);
    assert_eq!(Tensor::full([2], true).dtype(), BOOL);
    assert_eq!(Tensor::full_with([2], 3, F16).dtype(), F16);
    assert_eq!(Tensor::arange(3).dtype(), I64);
    assert_eq!(Tensor::arange(3.0).dtype(), F32);
    let like = Tensor::zeros_with([1], F64);
    assert_eq!(like.new_ones([2, 2]).dtype(), F64);
    assert_eq!(Tensor::zeros_with(3, &like).dtype(), F64);
    assert!(tensor!([1.]; TensorOptions::new().requires_grad(true)).requires_grad());
}

#[test]
fn nested_literals_have_an_axis_per_level() {
    assert_eq!(tensor![[1., 2.], [3., 4.], [5., 6.]].dims(), [3, 2]);
    assert_eq!(tensor!([[[1], [2]]]).dims(), [1, 2, 1]);
    assert_eq!(tensor!(3.5).dims(), [0usize; 0]);
    assert_eq!(Tensor::new(&[[0.5; 3]; 2][..]).unwrap().dims(), [2, 3]);
    assert_eq!(Tensor::new(Vec::<Vec<f32>>::new()).unwrap().dims(), [0, 0]);
    let ragged = Tensor::new(vec![vec![1, 2], vec![3]]).unwrap_err().to_string();
    assert!(ragged.contains("expected sequence of length 2 at dim 1 (got 1)"), "{ragged}");
}

#[test]
fn sequences_are_pytorchs() {
    // torch.linspace(-3, 7, 23), some of it, and in double precision.
    let x = f32s(&Tensor::linspace(-3, 7, 23));
    let picked = [0, 5, 11, 12, 20, 22].map(|i| x[i]);
    assert_eq!(picked, [-3.0, -0.72727263, 1.9999999, 2.4545453, 6.090909, 7.0]);
    let x = Tensor::linspace_with(0, 1, 7, F64).to_vec::<f64>().unwrap();
    assert_eq!(x[3..], [0.5, 0.6666666666666667, 0.8333333333333334, 1.0]);
    let ints = |t: Tensor| t.to_vec::<i64>().unwrap();
    assert_eq!(ints(Tensor::linspace_with(0, 10, 4, I64)), [0, 3, 6, 10]);
    assert_eq!(ints(Tensor::linspace_with(-5, 5, 4, I32).to_dtype(I64).unwrap()), [-5, -1, 1, 5]);
    assert_eq!(f32s(&Tensor::linspace(2, 9, 1)), [2.0]);
    assert_eq!(Tensor::linspace(2, 9, 0).numel(), 0);
    assert_eq!(f32s(&Tensor::logspace(-1, 1, 3, 10)), [0.1, 1.0, 10.0]);
    assert_eq!(ints(Tensor::logspace_with(0, 3, 4, 10, I64)), [1, 10, 100, 1000]);
    let x = Tensor::arange_step(0, 1, 0.1).unwrap();
    assert_eq!(f32s(&x), [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]);
    assert_eq!(Tensor::arange_step(0, 0.7, 0.1).unwrap().numel(), 7);
    assert_eq!(ints(Tensor::arange(2..5)), [2, 3, 4]);
    let (start, end) = (5, 2);
    assert_eq!(ints(Tensor::arange(start..end)), [0i64; 0]);
    for (start, end, step, says) in [
        (0, 5, 0, "step must be nonzero"),
        (0, 5, -1, "upper bound and lower bound inconsistent with step sign"),
    ] {
        let error = Tensor::arange_step(start, end, step).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn identities() {
    assert_eq!(f32s(&Tensor::eye_rect(2, 3)), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    assert_eq!(Tensor::eye_with(3, 3, I64).to_vec::<i64>().unwrap(), [1, 0, 0, 0, 1, 0, 0, 0, 1]);
}

#[test]
fn absurd_sizes_and_options_panic_with_a_reason() {
    let panics = |f: fn() -> Tensor| {
        let panic = std::panic::catch_unwind(f).map(|_| ()).unwrap_err();
        *panic.downcast::<String>().unwrap()
    };
    assert!(panics(|| Tensor::zeros([usize::MAX, 8])).contains("overflows"));
    assert!(panics(|| Tensor::ones([1 << 58])).contains("could not be allocated"));
    let grad = TensorOptions::new().dtype(I64).requires_grad(true);
    let text = std::panic::catch_unwind(move || Tensor::zeros_with(2, grad)).map(|_| ()).unwrap_err();
    assert!(text.downcast::<String>().unwrap().contains("floating point"));
    assert!(panics(|| Tensor::zeros_with(2, Device::gpu(7))).contains("gpu:7"));
}
