//! Layers with impossible settings or inputs fail with a message, and the default stream under builders.

use kiln_nn::kiln_autograd::kiln_ops::random::{default_generator, manual_seed};
use kiln_nn::{
    AdaptiveLogSoftmaxWithLoss, Bilinear, Conv2d, ConvTranspose2d, CrossEntropyLoss, Dropout, Forward,
    L1Loss, LazyLinear, Linear, MSELoss, Module, Parameter, Reduction, Tensor, functional as F,
};

use crate::turn;

fn ones<const N: usize>(shape: [usize; N]) -> Tensor {
    Tensor::from_vec(vec![1f32; shape.iter().product()], shape).unwrap()
}

#[test]
fn misuse_is_an_error_when_the_layer_is_used() {
    let _turn = turn();
    let image = ones([1, 4, 8, 8]);
    let cases = [
        (Conv2d::new(4, 3, 3).groups(2).forward(&image), "divisible by groups"),
        (Conv2d::new(4, 4, 3).groups(0).forward(&image), "divisible by groups"),
        (Conv2d::new(4, 4, 0).forward(&image), "kernel_size"),
        (Conv2d::new(4, 4, 3).stride(0).forward(&image), "stride"),
        (Conv2d::new(4, 4, 3).dilation(0).forward(&image), "dilation"),
        (Conv2d::new(4, 4, 3).padding("reflect").forward(&image), "padding"),
        (Conv2d::new(4, 4, 3).stride(2).padding("same").forward(&image), "same"),
        (Conv2d::new(3, 4, 3).forward(&image), "channels"),
        (Linear::new(3, 4).forward(&ones([2, 5])), "linear"),
        (Linear::new(usize::MAX, 4).forward(&image), "features"),
        (Linear::new(1 << 40, 1 << 20).forward(&image), "features"),
        (Dropout::new(1.5).forward(&image), "between 0 and 1"),
        (F::dropout(&image, f64::NAN, true), "between 0 and 1"),
        (CrossEntropyLoss::new().forward(&ones([2, 3]), &Tensor::from_vec(vec![0i64, 3], [2]).unwrap()), "3"),
    ];
    for (result, part) in cases {
        let error = result.expect_err(part).to_string();
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
    assert!(Conv2d::new(4, 3, 3).groups(2).check().is_err() && Linear::new(2, 2).check().is_ok());
    let w = Parameter::new(ones([2, 3])).unwrap();
    assert!(Linear::from_parameters(w.clone(), Some(Parameter::new(ones([3])).unwrap())).is_err());
    assert_eq!(
        Linear::from_parameters(w, None).unwrap().forward(&ones([3])).unwrap().to_vec::<f32>().unwrap(),
        [3.0; 2]
    );
    assert!(Parameter::new(Tensor::from_vec(vec![1i64], [1]).unwrap()).is_err());
}

#[test]
fn what_a_builder_leaves_out_stays_in_the_stream() {
    let _turn = turn();
    // PyTorch: manual_seed(0); Linear(3, 2, bias=False) takes six words, then rand(1).
    manual_seed(0);
    let layer = Linear::new(3, 2).bias(false);
    let next = default_generator().unit32();
    manual_seed(0);
    let (drawn, six) = {
        let mut generator = default_generator();
        let six: Vec<f32> = (0..6).map(|_| generator.unit32()).collect();
        (generator.unit32(), six)
    };
    assert_eq!(next, drawn);
    let bound = 1.0 / 3f32.sqrt();
    for (w, unit) in layer.weight.to_vec::<f32>().unwrap().iter().zip(six) {
        assert!((w - (2.0 * bound * unit - bound)).abs() < 1e-6);
    }
    // Groups: the weight of the grouped layer starts where the ungrouped one did.
    manual_seed(0);
    let grouped = Conv2d::new(6, 2, 1).groups(2).bias(false);
    assert_eq!(grouped.weight.to_vec::<f32>().unwrap(), layer.weight.to_vec::<f32>().unwrap());
    assert_eq!(default_generator().unit32(), drawn);
    // Once somebody else has drawn, the stream only goes on.
    manual_seed(0);
    let with_bias = Linear::new(3, 2);
    let other = default_generator().unit32();
    let _ = with_bias.bias(false);
    assert_ne!(default_generator().unit32(), other);
}

#[test]
fn dropout_keeps_the_mean_and_the_gradient_follows_the_mask() {
    let _turn = turn();
    manual_seed(1);
    let x = ones([100, 100]).requires_grad_(true).unwrap();
    let y = Dropout::new(0.3).forward(&x).unwrap();
    let values = y.to_vec::<f32>().unwrap();
    assert!(values.iter().all(|v| *v == 0.0 || (v - 1.0 / 0.7).abs() < 1e-6));
    let mean: f32 = values.iter().sum::<f32>() / 1e4;
    assert!((mean - 1.0).abs() < 0.03, "{mean}");
    y.sum().unwrap().backward().unwrap();
    assert_eq!(x.grad().unwrap().to_vec::<f32>().unwrap(), values);
    let all = F::dropout(&x, 1.0, true).unwrap();
    assert!(all.to_vec::<f32>().unwrap().iter().all(|v| *v == 0.0));
}

#[test]
fn losses_of_differences_have_both_derivatives() {
    let _turn = turn();
    let x = Tensor::from_vec(vec![1f64, -2.0, 0.5], [3]).unwrap().requires_grad_(true).unwrap();
    let t = Tensor::from_vec(vec![0f64, 1.0, 0.5], [3]).unwrap().requires_grad_(true).unwrap();
    let loss = MSELoss::new().forward(&x, &t).unwrap();
    assert_eq!(loss.to_f64().unwrap(), 10.0 / 3.0);
    assert_eq!(loss.grad_fn().unwrap().name(), "MseLossBackward0");
    loss.backward().unwrap();
    assert_eq!(x.grad().unwrap().to_vec::<f64>().unwrap(), [2.0 / 3.0, -2.0, 0.0]);
    assert_eq!(t.grad().unwrap().to_vec::<f64>().unwrap(), [-2.0 / 3.0, 2.0, -0.0]);
    x.zero_grad();
    L1Loss::new().reduction(Reduction::Sum).forward(&x, &t).unwrap().backward().unwrap();
    assert_eq!(x.grad().unwrap().to_vec::<f64>().unwrap(), [1.0, -1.0, 0.0]);
}

#[test]
fn a_layer_of_one_dtype_refuses_another() {
    let _turn = turn();
    let layer = Linear::new(2, 2);
    layer.to_dtype(kiln_nn::DType::F64).unwrap();
    let error = layer.forward(&ones([1, 2])).expect_err("mixed dtypes").to_string();
    assert!(error.contains("float"), "{error}");
}

#[test]
fn a_lazy_layer_has_the_numbers_of_the_layer_it_becomes() {
    let _turn = turn();
    let x = ones([3, 4]);
    manual_seed(5);
    let plain = Linear::new(4, 2).bias(false);
    let lazy = LazyLinear::new(2).with(|l| l.bias(false));
    lazy.eval();
    manual_seed(5);
    lazy.forward(&x).unwrap();
    let (a, b) = (lazy.state_dict(), plain.state_dict());
    assert_eq!(a.keys().collect::<Vec<_>>(), ["weight"]);
    assert_eq!(
        a.get("weight").unwrap().to_vec::<f32>().unwrap(),
        b.get("weight").unwrap().to_vec::<f32>().unwrap()
    );
    assert!(!lazy.is_training());
    assert_eq!(lazy.to_string(), plain.to_string());
}

#[test]
fn first_parameters_are_those_of_pytorch() {
    let _turn = turn();
    let values = |t: &Tensor| t.to_vec::<f32>().unwrap();
    let next = || Tensor::rand([1]).to_vec::<f32>().unwrap()[0];
    manual_seed(3);
    let bilinear = Bilinear::new(2, 2, 1);
    let first = (values(&bilinear.weight), values(bilinear.bias.as_ref().unwrap()), next());
    manual_seed(3);
    let _ = Bilinear::new(2, 2, 1).bias(false);
    let second = next();
    manual_seed(3);
    let conv = ConvTranspose2d::new(4, 2, 1).groups(2).bias(false);
    let third = (values(&conv.weight), next());
    manual_seed(3);
    let _ = AdaptiveLogSoftmaxWithLoss::new(4, 6, &[2, 4]);
    let got = (first, second, third, next());
    let want = (
        (vec![-0.701_077_2, -0.557_809_2, -0.302_864_46, -0.668_986_86], vec![-0.040_143_356], 0.060_116_29),
        0.471_614_36,
        (vec![-0.991_472_96, -0.788_861_3, -0.428_315_04, -0.946_090_34], 0.471_614_36),
        0.949_305,
    );
    assert_eq!(got, want);
}
