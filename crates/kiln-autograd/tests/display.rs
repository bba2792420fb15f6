//! Printed tensors, against what PyTorch prints.

use kiln_autograd::*;

#[test]
fn tensors_print_as_pytorch_prints_them() -> Result<()> {
    manual_seed(1);
    let x = Tensor::ones(2).requires_grad_(true)?;
    let cases = [
        (tensor![1.0, 2.0], "tensor([1., 2.])"),
        (tensor![0.1, -2.5, 100.0], "tensor([  0.1000,  -2.5000, 100.0000])"),
        (tensor![1e-5, 1.0], "tensor([1.0000e-05, 1.0000e+00])"),
        (tensor![1e8, 1.0], "tensor([1.0000e+08, 1.0000e+00])"),
        (tensor![1000000.0,], "tensor([1000000.])"),
        (tensor![12345.678, 0.001], "tensor([1.2346e+04, 1.0000e-03])"),
        (tensor![1.0, f64::NAN, f64::INFINITY, -f64::INFINITY], "tensor([1., nan, inf, -inf])"),
        (tensor![1.5, f64::NAN], "tensor([1.5000,    nan])"),
        (tensor![], "tensor([])"),
        (Tensor::empty([0, 3]), "tensor([], size=(0, 3))"),
        (Tensor::empty_with(0, I64), "tensor([], dtype=torch.int64)"),
        (tensor!(7), "tensor(7)"),
        (tensor!(-0.5619), "tensor(-0.5619)"),
        (tensor!(1e-10), "tensor(1.0000e-10)"),
        (tensor!(-115075.4375), "tensor(-115075.4375)"),
        (tensor!(204800.), "tensor(204800.)"),
        (tensor!(true), "tensor(True)"),
        (tensor![true, false], "tensor([ True, False])"),
        (tensor![1, -20, 300], "tensor([  1, -20, 300])"),
        (tensor!([1, 2]; I32), "tensor([1, 2], dtype=torch.int32)"),
        (tensor!([1, 200]; U8), "tensor([  1, 200], dtype=torch.uint8)"),
        (tensor!([1.0, 2.5]; F64), "tensor([1.0000, 2.5000], dtype=torch.float64)"),
        (tensor!([1.0, 2.5]; F16), "tensor([1.0000, 2.5000], dtype=torch.float16)"),
        (tensor!([1.0, 2.5]; BF16), "tensor([1.0000, 2.5000], dtype=torch.bfloat16)"),
        (
            Tensor::randn([2, 3]),
            "tensor([[ 0.6614,  0.2669,  0.0617],\n        [ 0.6213, -0.4519, -0.1661]])",
        ),
        (
            Tensor::randn([2, 2, 2]),
            "tensor([[[-1.5228,  0.3817],\n         [-1.0276, -0.5631]],\n\n        [[-0.8923, -0.0583],\n         [-0.1955, -0.9656]]])",
        ),
        (
            Tensor::randn([3, 12]),
            "tensor([[ 0.1394, -1.5785, -0.3206, -0.2993,  1.8793, -0.0721,  0.1578, -0.7735,\n         -0.0561,  0.9107, -1.3924,  2.6891],\n        [-0.1110,  0.2927, -0.1578, -0.0288,  0.0981, -1.2150,  0.7312,  1.1718,\n         -0.0255, -1.0233, -0.5962, -1.0055],\n        [-0.2106, -0.0075,  1.6734,  0.0103, -0.7040, -0.1853, -0.9962, -0.8313,\n         -0.4610, -0.5601,  0.3956, -0.9823]])",
        ),
        (
            Tensor::arange(1500).reshape([30, 50])?,
            "tensor([[   0,    1,    2,  ...,   47,   48,   49],\n        [  50,   51,   52,  ...,   97,   98,   99],\n        [ 100,  101,  102,  ...,  147,  148,  149],\n        ...,\n        [1350, 1351, 1352,  ..., 1397, 1398, 1399],\n        [1400, 1401, 1402,  ..., 1447, 1448, 1449],\n        [1450, 1451, 1452,  ..., 1497, 1498, 1499]])",
        ),
        (Tensor::arange(1001.), "tensor([   0.,    1.,    2.,  ...,  998.,  999., 1000.])"),
        (
            Tensor::zeros([20, 60]),
            "tensor([[0., 0., 0.,  ..., 0., 0., 0.],\n        [0., 0., 0.,  ..., 0., 0., 0.],\n        [0., 0., 0.,  ..., 0., 0., 0.],\n        ...,\n        [0., 0., 0.,  ..., 0., 0., 0.],\n        [0., 0., 0.,  ..., 0., 0., 0.],\n        [0., 0., 0.,  ..., 0., 0., 0.]])",
        ),
        (
            Tensor::arange(24).reshape([2, 3, 4])?,
            "tensor([[[ 0,  1,  2,  3],\n         [ 4,  5,  6,  7],\n         [ 8,  9, 10, 11]],\n\n        [[12, 13, 14, 15],\n         [16, 17, 18, 19],\n         [20, 21, 22, 23]]])",
        ),
        (
            Tensor::arange(60),
            "tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17,\n        18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35,\n        36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53,\n        54, 55, 56, 57, 58, 59])",
        ),
        (x.clone(), "tensor([1., 1.], requires_grad=True)"),
        (4 * &x, "tensor([4., 4.], grad_fn=<MulBackward0>)"),
        (x.sum()?, "tensor(2., grad_fn=<SumBackward0>)"),
        ((&x - 1).mean()?, "tensor(0., grad_fn=<MeanBackward0>)"),
        (x.i(0)?, "tensor(1., grad_fn=<SelectBackward0>)"),
        (x.view([1, 2])?, "tensor([[1., 1.]], grad_fn=<ViewBackward0>)"),
        (1 - &x, "tensor([0., 0.], grad_fn=<RsubBackward1>)"),
        (x.matmul(&x)?, "tensor(2., grad_fn=<DotBackward0>)"),
        (-&x, "tensor([-1., -1.], grad_fn=<NegBackward0>)"),
        (&x / 2, "tensor([0.5000, 0.5000], grad_fn=<DivBackward0>)"),
        (x.pow(2)?, "tensor([1., 1.], grad_fn=<PowBackward0>)"),
        (x.exp()?, "tensor([2.7183, 2.7183], grad_fn=<ExpBackward0>)"),
        (x.relu()?, "tensor([1., 1.], grad_fn=<ReluBackward0>)"),
        (x.detach(), "tensor([1., 1.])"),
        (
            tensor!([1.]; TensorOptions::new().dtype(F64).requires_grad(true)),
            "tensor([1.], dtype=torch.float64, requires_grad=True)",
        ),
    ];
    for (t, want) in cases {
        assert_eq!(t.to_string(), want);
        assert_eq!(format!("{t:?}"), want);
    }
    Ok(())
}

#[test]
fn strided_tensors_print_their_own_elements() -> Result<()> {
    let x = Tensor::arange(6).reshape([2, 3])?;
    assert_eq!(x.t()?.to_string(), "tensor([[0, 3],\n        [1, 4],\n        [2, 5]])");
    assert_eq!(x.i((.., s![..; 2]))?.to_string(), "tensor([[0, 2],\n        [3, 5]])");
    assert_eq!(tensor!(1).expand([2, 2])?.to_string(), "tensor([[1, 1],\n        [1, 1]])");
    Ok(())
}

#[test]
fn formats_take_a_precision() {
    // f"{x:.2f}" of 0-dimensional tensors; digits of the others.
    assert_eq!(format!("{:.2}", tensor!(3.14159)), "3.14");
    assert_eq!(format!("{:6.1}|", tensor!(2.55)), "   2.5|");
    assert_eq!(format!("{:.1}", tensor![1.25, 2.0]), "tensor([1.2, 2.0])");
}

#[test]
fn lent_memory_is_named_instead_of_waited_for() -> Result<()> {
    let x = tensor![1., 2.];
    let guard = x.as_slice_mut::<f32>()?;
    let text = x.to_string();
    assert!(text.contains("lent out") && text.contains("size=[2]"), "{text}");
    drop(guard);
    assert_eq!(x.to_string(), "tensor([1., 2.])");
    Ok(())
}
