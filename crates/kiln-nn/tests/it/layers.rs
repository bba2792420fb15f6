//! Layers and losses against values and texts of PyTorch 2.15.

use kiln_nn::*;

fn t(values: &[f32], shape: impl Into<Shape>) -> Tensor {
    Tensor::from_vec(values.to_vec(), shape).unwrap()
}

fn near(got: &Tensor, want: &[f32]) {
    let got = got.to_vec::<f32>().unwrap();
    assert_eq!(got.len(), want.len());
    assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 2e-4), "{got:?}, expected {want:?}");
}

#[test]
fn layers_print_as_in_pytorch() {
    let texts = [
        (
            Conv1d::new(3, 4, 5).stride(2).padding(1).to_string(),
            "Conv1d(3, 4, kernel_size=(5,), stride=(2,), padding=(1,))",
        ),
        (
            Conv3d::new(1, 2, (1, 2, 3)).bias(false).to_string(),
            "Conv3d(1, 2, kernel_size=(1, 2, 3), stride=(1, 1, 1), bias=False)",
        ),
        (
            ConvTranspose2d::new(4, 2, 3).stride(2).padding(1).output_padding(1).groups(2).to_string(),
            "ConvTranspose2d(4, 2, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), output_padding=(1, 1), groups=2)",
        ),
        (
            BatchNorm1d::new(8).momentum(None).to_string(),
            "BatchNorm1d(8, eps=1e-05, momentum=None, affine=True, bias=True, track_running_stats=True)",
        ),
        (
            InstanceNorm2d::new(3).affine(true).to_string(),
            "InstanceNorm2d(3, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=False)",
        ),
        (GroupNorm::new(2, 4).to_string(), "GroupNorm(2, 4, eps=1e-05, affine=True, bias=True)"),
        (RMSNorm::new([2, 3]).to_string(), "RMSNorm((2, 3), eps=None, elementwise_affine=True)"),
        (LocalResponseNorm::new(2).to_string(), "LocalResponseNorm(2, alpha=0.0001, beta=0.75, k=1.0)"),
        (
            MaxPool1d::new(2).to_string(),
            "MaxPool1d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)",
        ),
        (AvgPool1d::new(3).to_string(), "AvgPool1d(kernel_size=(3,), stride=(3,), padding=(0,))"),
        (
            AvgPool3d::new((1, 2, 2)).to_string(),
            "AvgPool3d(kernel_size=(1, 2, 2), stride=(1, 2, 2), padding=0)",
        ),
        (
            LPPool2d::new(2.0, 3).to_string(),
            "LPPool2d(norm_type=2, kernel_size=3, stride=None, ceil_mode=False)",
        ),
        (AdaptiveAvgPool2d::new([None, Some(7)]).to_string(), "AdaptiveAvgPool2d(output_size=(None, 7))"),
        (AdaptiveAvgPool2d::new((5, 5)).to_string(), "AdaptiveAvgPool2d(output_size=(5, 5))"),
        (AdaptiveMaxPool2d::new(1).to_string(), "AdaptiveMaxPool2d(output_size=1)"),
        (MaxUnpool2d::new(2).to_string(), "MaxUnpool2d(kernel_size=(2, 2), stride=(2, 2), padding=(0, 0))"),
        (ReflectionPad1d::new(2).to_string(), "ReflectionPad1d((2, 2))"),
        (ConstantPad2d::new(1, 3.5).to_string(), "ConstantPad2d(padding=(1, 1, 1, 1), value=3.5)"),
        (Dropout2d::new(0.2).to_string(), "Dropout2d(p=0.2, inplace=False)"),
        (ELU::default().to_string(), "ELU(alpha=1.0)"),
        (Softplus::default().to_string(), "Softplus(beta=1.0, threshold=20.0)"),
        (Hardshrink::default().to_string(), "Hardshrink(0.5)"),
        (Threshold::new(0.1, 20.0).to_string(), "Threshold(threshold=0.1, value=20.0)"),
        (RReLU::default().to_string(), "RReLU(lower=0.125, upper=0.3333333333333333)"),
        (
            Fold::new((4, 5), 2).padding(1).to_string(),
            "Fold(output_size=(4, 5), kernel_size=2, dilation=1, padding=1, stride=1)",
        ),
        (
            Bilinear::new(2, 3, 4).to_string(),
            "Bilinear(in1_features=2, in2_features=3, out_features=4, bias=True)",
        ),
        (Upsample::scale([2.0]).to_string(), "Upsample(scale_factor=2.0, mode='nearest')"),
    ];
    for (got, want) in texts {
        assert_eq!(got, want);
    }
}

#[test]
fn a_transposed_convolution_spreads_its_input() {
    let conv = ConvTranspose1d::new(2, 1, 2).stride(2);
    no_grad_copy(&conv.weight, &[1.0, 2.0, 3.0, 4.0]);
    no_grad_copy(conv.bias.as_ref().unwrap(), &[0.5]);
    let x = t(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [1, 2, 3]);
    near(&conv.forward(&x).unwrap(), &[9.5, 12.5, 13.5, 18.5, 17.5, 24.5]);
    // Strides lose a remainder: the size says which it was.
    assert_eq!(conv.forward_sized(&x, &[7]).unwrap().dims(), [1, 1, 7]);
    assert!(conv.forward_sized(&x, &[8]).is_err());
}

fn no_grad_copy(parameter: &Parameter, values: &[f32]) {
    let source = t(values, parameter.shape());
    kiln_nn::kiln_autograd::no_grad(|| parameter.copy_(&source)).unwrap();
}

#[test]
fn batch_norm_without_momentum_keeps_the_mean_over_all_batches() {
    let norm = BatchNorm1d::new(2).momentum(None);
    let x = t(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [1, 2, 3]);
    norm.forward(&x).unwrap();
    norm.forward(&x.add(1.0).unwrap()).unwrap();
    near(norm.running_mean().unwrap(), &[1.5, 4.5]);
    near(norm.running_var().unwrap(), &[1.0, 1.0]);
    assert_eq!(norm.state_dict().get("num_batches_tracked").unwrap().to_vec::<i64>().unwrap(), [2]);
    // A refused input changes nothing.
    assert!(norm.forward(&t(&[1.0; 8], [2, 2, 2, 1])).is_err());
    assert!(norm.forward(&t(&[1.0, 2.0], [1, 2])).is_err());
    assert_eq!(norm.state_dict().get("num_batches_tracked").unwrap().to_vec::<i64>().unwrap(), [2]);
}

#[test]
fn ctc_loss_and_its_gradient() {
    let logits: Vec<f32> = (0..24).map(|i| (i as f32).sin()).collect();
    let log_probs = t(&logits, [4, 2, 3]).log_softmax(2).unwrap().detach().requires_grad_(true).unwrap();
    let ints = |v: &[i64], shape: &[usize]| Tensor::from_vec(v.to_vec(), shape).unwrap();
    let targets = ints(&[1, 2, 2, 2], &[2, 2]);
    let (steps, labels) = (ints(&[4, 3], &[2]), ints(&[2, 1], &[2]));
    let loss =
        CTCLoss::new().reduction(Reduction::Sum).forward(&log_probs, &targets, &steps, &labels).unwrap();
    near(&loss, &[2.9650]);
    loss.backward().unwrap();
    let gradient = log_probs.grad().unwrap().select(1, 1).unwrap();
    let want = [0.0412, 0.2341, -0.2753, 0.0368, 0.2361, -0.2729, -0.0847, 0.2460, -0.1613, 0.0, 0.0, 0.0];
    near(&gradient, &want);
    // Two equal labels need three steps: the second sequence is impossible.
    let (steps, labels) = (ints(&[4, 2], &[2]), ints(&[2, 2], &[2]));
    let loss = CTCLoss::new().zero_infinity(true).forward(&log_probs, &targets, &steps, &labels).unwrap();
    near(&loss, &[0.3445]);
    let outside = ints(&[1, 2, 3, 2], &[2, 2]);
    assert!(CTCLoss::new().forward(&log_probs, &outside, &steps, &labels).is_err());
}

#[test]
fn folding_counts_how_often_an_element_was_seen() {
    let x = t(&[1.0; 9], [1, 1, 3, 3]);
    let columns = Unfold::new(2).forward(&x).unwrap();
    assert_eq!(columns.dims(), [1, 4, 4]);
    let seen = Fold::new(3, 2).forward(&columns).unwrap();
    assert_eq!(seen.to_vec::<f32>().unwrap(), [1.0, 2.0, 1.0, 2.0, 4.0, 2.0, 1.0, 2.0, 1.0]);
}

#[test]
fn unpooling_puts_values_back() {
    let x = t(&[1.0, 5.0, 2.0, 3.0, 4.0, 0.0, 7.0, 6.0], [1, 2, 4]).unsqueeze(0).unwrap();
    let pool = MaxPool2d::new(2);
    let (y, at) = pool.forward_with_indices(&x).unwrap();
    let back = MaxUnpool2d::new(2).forward(&y, &at, None).unwrap();
    assert_eq!(back.to_vec::<f32>().unwrap(), [0.0, 5.0, 0.0, 0.0, 0.0, 0.0, 7.0, 0.0]);
    assert!(MaxUnpool2d::new(2).forward(&y, &at.add(8).unwrap(), None).is_err());
}
