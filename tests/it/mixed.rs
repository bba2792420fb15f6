//! Mixed precision: which operations change dtypes in a region of autocast, the values PyTorch gets, and training.

use kiln::prelude::*;

use super::half::{fill, input};
use super::turn;

fn zeros(shape: &[usize], dtype: DType) -> Tensor {
    Tensor::zeros_with(shape, dtype)
}

/// The dtypes that results have on PyTorch's CPU in `torch.autocast("cpu", dtype=torch.bfloat16)`.
#[test]
fn results_have_pytorchs_dtypes() -> Result<()> {
    use DType::{BF16, F16, F32, F64, I64};
    let _turn = turn();
    let (a, b) = (zeros(&[4, 4], F32), zeros(&[4, 4], BF16));
    let (v, batch) = (zeros(&[4], F32), zeros(&[2, 4, 4], F32));
    let image = zeros(&[1, 4, 6, 6], F32);
    let volume = zeros(&[1, 1, 4, 4, 4], BF16);
    let classes = Tensor::zeros_with([4], I64);
    let double = zeros(&[4, 4], F64);
    let unit = Tensor::eye(4).to_dtype(BF16)?;
    let (mean, ce) = (Reduction::Mean, CrossEntropyOptions::default());
    let attention = AttentionOptions::default();
    let _region = autocast_guard();
    assert!(is_autocast_enabled());
    let results = [
        ("matmul", a.matmul(&a)?, BF16),
        ("matmul by a vector", a.matmul(&v)?, BF16),
        ("matmul of vectors", v.matmul(&v)?, BF16),
        ("matmul of two dtypes", b.matmul(&a)?, BF16),
        ("matmul of the other half", a.to_dtype(F16)?.matmul(&a)?, BF16),
        ("matmul in double", double.matmul(&double)?, F64),
        ("matmul of integers", Tensor::ones_with([2, 2], I64).matmul(&Tensor::ones_with([2, 2], I64))?, I64),
        ("mm", a.mm(&a)?, BF16),
        ("bmm", batch.bmm(&batch)?, BF16),
        ("mv", a.mv(&v)?, F32),
        ("dot", v.dot(&v)?, F32),
        ("outer", v.outer(&v)?, F32),
        ("inner", a.inner(&a)?, BF16),
        ("tensordot", a.tensordot(&a, &[1], &[0])?, BF16),
        ("vecdot", a.vecdot(&a, -1)?, BF16),
        ("einsum", einsum("ij,jk->ik", &[&a, &a])?, BF16),
        ("addmm", a.addmm(&a, &a, 1.0, 1.0)?, BF16),
        ("baddbmm", batch.baddbmm(&batch, &batch, 1.0, 1.0)?, BF16),
        ("addbmm", a.addbmm(&batch, &batch, 1.0, 1.0)?, BF16),
        ("addmv", v.addmv(&a, &v, 1.0, 1.0)?, F32),
        ("addr", a.addr(&v, &v, 1.0, 1.0)?, F32),
        ("bilinear", a.bilinear(&a, &zeros(&[3, 4, 4], F32), None)?, F32),
        ("matrix_power", a.matrix_power(3)?, BF16),
        ("linear", a.linear(&a, Some(&v))?, BF16),
        ("conv2d", image.conv2d(&zeros(&[2, 4, 3, 3], F32), None, [1; 2], [0; 2], [1; 2], 1)?, BF16),
        (
            "conv_transpose2d",
            image.conv_transpose2d(&zeros(&[4, 2, 3, 3], F32), None, [1; 2], [0; 2], [0; 2], 1, [1; 2])?,
            BF16,
        ),
        ("prelu", a.prelu(&zeros(&[1], F32))?, BF16),
        ("attention", batch.scaled_dot_product_attention(&batch, &batch, &attention)?, BF16),
        ("softmax", b.softmax(1)?, BF16),
        ("log_softmax", b.log_softmax(1)?, BF16),
        ("sum", b.sum()?, BF16),
        ("layer_norm", b.layer_norm(&[4], Some(&v), Some(&v), 1e-5)?, BF16),
        ("group_norm", b.group_norm(2, Some(&v), Some(&v), 1e-5)?, BF16),
        ("batch_norm", b.batch_norm(Some((&v, &v)), Some(&v), Some(&v), true, 0.1, 1e-5)?, BF16),
        ("interpolation", image.to_dtype(BF16)?.avg_pool2d([2; 2], [2; 2], [0; 2], false, true, None)?, BF16),
        ("cross_entropy", b.cross_entropy(&classes, &ce)?, F32),
        ("nll_loss", b.nll_loss(&classes, &ce)?, F32),
        ("mse_loss of two dtypes", b.mse_loss(&a, mean)?, F32),
        ("l1_loss", b.l1_loss(&b, mean)?, F32),
        ("smooth_l1_loss", b.smooth_l1_loss(&b, 1.0, mean)?, F32),
        ("huber_loss", b.huber_loss(&b, 1.0, mean)?, F32),
        ("binary_cross_entropy", b.binary_cross_entropy(&b, None, mean)?, F32),
        ("with logits", b.binary_cross_entropy_with_logits(&b, None, None, mean)?, F32),
        ("kl_div", b.kl_div(&b, false, mean)?, F32),
        ("gaussian_nll_loss", b.gaussian_nll_loss(&b, &b, false, 1e-6, mean)?, BF16),
        ("multilabel_soft_margin_loss", b.multilabel_soft_margin_loss(&b, None, mean)?, BF16),
        ("cdist", b.cdist(&b, 2.0)?, F32),
        ("prod", b.prod()?, F32),
        ("quantile", b.quantile(0.5, None, false, Interpolation::Linear)?, F32),
        ("trace", b.trace()?, F32),
        ("max_pool3d", volume.max_pool3d([2; 3], [2; 3], [0; 3], [1; 3], false)?, F32),
        ("avg_pool3d", volume.avg_pool3d([2; 3], [2; 3], [0; 3], false, true, None)?, F32),
        ("reflection_pad", batch.to_dtype(BF16)?.pad(&[1, 1], PadMode::Reflect)?, F32),
        ("cat", Tensor::cat(&[&a, &b], 0)?, F32),
        ("cat of one dtype", Tensor::cat(&[&b, &b], 0)?, BF16),
        ("index_copy", a.index_copy(0, &tensor![0i64], &b.narrow(0, 0, 1)?)?, F32),
        ("inverse", unit.inverse()?, F32),
        ("svdvals", unit.svdvals()?, F32),
        ("solve", unit.solve(&a)?, F32),
        ("pow", b.pow(2.0)?, BF16),
        ("add", a.add(&b)?, F32),
    ];
    for (name, y, dtype) in results {
        assert_eq!(y.dtype(), dtype, "{name}");
    }
    // What PyTorch refuses here too.
    assert!(b.mv(&v).is_err() && double.matmul(&a).is_err());
    Ok(())
}

#[test]
fn layers_have_pytorchs_dtypes() -> Result<()> {
    use DType::{BF16, F32};
    let _turn = turn();
    let (x, half) = (zeros(&[2, 4, 4], F32), zeros(&[2, 4, 4], BF16));
    let _region = autocast_guard();
    let lstm = LSTM::new(4, 4).num_layers(2).bidirectional(true);
    let (y, (h, c)) = lstm.forward(&x, None)?;
    assert_eq!([y.dtype(), h.dtype(), c.dtype()], [BF16; 3]);
    for (x, want) in [(&x, F32), (&half, BF16)] {
        let (y, h) = GRU::new(4, 4).forward(x, None)?;
        assert_eq!([y.dtype(), h.dtype()], [want; 2]);
    }
    let (y, h) = RNN::new(4, 4).forward(&x, None)?;
    assert_eq!([y.dtype(), h.dtype()], [BF16; 2]);
    let (h, c) = LSTMCell::new(4, 4).forward(&x.select(0, 0)?, None)?;
    assert_eq!([h.dtype(), c.dtype()], [F32; 2]);
    assert_eq!(GRUCell::new(4, 4).forward(&x.select(0, 0)?, None)?.dtype(), F32);
    assert_eq!(RNNCell::new(4, 4).forward(&x.select(0, 0)?, None)?.dtype(), BF16);
    let attention = MultiheadAttention::new(4, 2);
    let (y, weights) = attention.forward(&x, &x, &x)?;
    assert_eq!([y.dtype(), weights.dtype()], [BF16; 2]);
    let mask = Tensor::zeros([2, 2]);
    let call = MultiheadCall { attn_mask: Some(&mask), ..MultiheadCall::default() };
    let (y, weights) = attention.forward_with(&x, &x, &x, &call)?;
    assert_eq!([Some(y.dtype()), weights.map(|w| w.dtype())], [Some(BF16); 2]);
    assert_eq!(TransformerEncoderLayer::new(4, 2).dim_feedforward(8).forward(&x)?.dtype(), F32);
    Ok(())
}

#[test]
fn regions_nest_and_belong_to_their_thread() -> Result<()> {
    let a = Tensor::ones([2, 2]);
    let dtype = || a.matmul(&a).map(|y| y.dtype());
    assert_eq!((dtype()?, is_autocast_enabled()), (DType::F32, false));
    {
        let _outer = Autocast::new().dtype(DType::F16)?.guard();
        assert_eq!((dtype()?, get_autocast_dtype()), (DType::F16, DType::F16));
        assert_eq!(Autocast::new().enabled(false).run(dtype)?, DType::F32);
        assert_eq!(autocast(dtype)?, DType::BF16);
        assert_eq!(dtype()?, DType::F16);
        assert_eq!(std::thread::scope(|s| s.spawn(dtype).join().unwrap())?, DType::F32);
    }
    assert_eq!((dtype()?, is_autocast_enabled()), (DType::F32, false));
    let panicked = std::panic::catch_unwind(|| autocast(|| panic!("inside")));
    assert!(panicked.is_err() && !is_autocast_enabled());
    assert!(Autocast::new().dtype(DType::F64).unwrap_err().to_string().contains("bfloat16"));
    Ok(())
}

#[test]
fn a_weight_is_converted_once_and_anew_when_it_has_changed() -> Result<()> {
    let x = tensor!([[1., 2.]]);
    let w = tensor!([[3., 4.]]).requires_grad_(true)?;
    let forward = || x.linear(&w, None)?.sum()?.to_dtype(DType::F32);
    let _region = autocast_guard();
    // Not recorded first: the conversion is then no one's history.
    assert_eq!(no_grad(forward)?.to_f64()?, 11.0);
    let (first, second) = (forward()?, forward()?);
    assert_eq!(first.to_f64()?, 11.0);
    no_grad(|| w.mul_(2.0))?;
    assert_eq!(forward()?.to_f64()?, 22.0);
    // Twice through one conversion; gradients add up in the weight's dtype.
    first.backward()?;
    second.backward()?;
    let grad = w.grad().unwrap();
    assert_eq!((grad.dtype(), grad.to_vec::<f32>()?), (DType::F32, vec![2.0, 4.0]));
    w.zero_grad();
    Autocast::new().cache_enabled(false).run(forward)?.backward()?;
    assert_eq!(w.grad().unwrap().to_vec::<f32>()?, [1.0, 2.0]);
    Ok(())
}

/// A convolution, normalisations and linear layers on the input of 4 images; the numbers are PyTorch's.
#[test]
fn results_and_gradients_are_pytorchs() -> Result<()> {
    let _turn = turn();
    for (dtype, ulp, loss_theirs, y_theirs, gradients) in [
        (
            DType::BF16,
            1.0 / 256.0,
            1.396171,
            [-0.231445, -0.004669, 0.1875, 0.138672, -0.227539, -0.000435],
            [
                [0.006165, -0.010376, 0.005127, 3.5e-05, -0.000187, -0.002609],
                [-0.000368, -0.001137, -0.001099, 0.000847, -0.00119, -0.001244],
                [-0.008606, 0.002182, -0.004181, -0.00824, 0.000103, 0.006439],
            ],
        ),
        (
            DType::F16,
            1.0 / 2048.0,
            1.396392,
            [-0.231689, -0.004585, 0.1875, 0.13855, -0.228027, -0.000407],
            [
                [0.006142, -0.010345, 0.005157, 1.7e-05, -0.000135, -0.002638],
                [-0.000371, -0.001146, -0.001089, 0.00085, -0.001199, -0.001234],
                [-0.008621, 0.002117, -0.004189, -0.008003, 0.00012, 0.006489],
            ],
        ),
    ] {
        let model = sequential![
            Conv2d::new(1, 4, 3).padding(1),
            BatchNorm2d::new(4),
            ReLU::new(),
            MaxPool2d::new(2),
            Flatten::new(),
            Linear::new(36, 16),
            LayerNorm::new(16),
            GELU::new(),
            Linear::new(16, 4)
        ];
        fill(&model, DType::F32)?;
        let x = input(&[4, 1, 6, 6], DType::F32, 0)?;
        let region = Autocast::new().dtype(dtype)?.guard();
        let y = model.forward(&x)?;
        let loss = CrossEntropyLoss::new().forward(&y, &tensor![1i64, 0, 3, 2])?;
        drop(region);
        loss.backward()?;
        assert_eq!((y.dtype(), loss.dtype()), (dtype, DType::F32));
        assert!((loss.to_f64()? - loss_theirs).abs() < 2.0 * ulp, "{loss:?}");
        let parameters = model.parameters();
        let weights = [0, 4, 8].map(|i| parameters[i].grad());
        let all = [Some(y)].into_iter().chain(weights).zip([y_theirs].into_iter().chain(gradients));
        for (i, (ours, theirs)) in all.enumerate() {
            let ours = ours.expect("a gradient");
            assert!(i == 0 || ours.dtype() == DType::F32);
            let ours = ours.to_dtype(DType::F64)?.flatten(0, -1)?.to_vec::<f64>()?;
            let size = theirs.iter().fold(0.0f64, |m, v: &f64| m.max(v.abs()));
            for (a, b) in ours.iter().zip(theirs) {
                assert!((a - b).abs() < 12.0 * ulp * size, "{dtype} {i}: {a} for {b}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_checkpointed_part_computes_the_same_again() -> Result<()> {
    let x = input(&[4, 6], DType::F32, 0)?;
    let w = input(&[6, 6], DType::F32, 1)?.requires_grad_(true)?;
    let v = input(&[6, 6], DType::F32, 2)?.requires_grad_(true)?;
    let gradients = |saving: bool| -> Result<Vec<Vec<f32>>> {
        let (inner, x) = (w.clone(), x.clone());
        let part = move |h: &[Tensor]| h[0].linear(&inner, None)?.tanh()?.linear(&inner, None);
        let loss = autocast(|| {
            // The weights are kept converted from here on.
            let h = x.linear(&w, None)?.linear(&v, None)?;
            let h = if saving { checkpoint(part, &[&h])? } else { part(&[h])? };
            h.mse_loss(&x, Reduction::Mean)
        })?;
        loss.backward()?;
        let all = [&w, &v].map(|t| t.grad().expect("a gradient").to_vec::<f32>());
        [&w, &v].into_iter().for_each(Tensor::zero_grad);
        all.into_iter().collect()
    };
    let (plain, saved) = (gradients(false)?, gradients(true)?);
    for (a, b) in plain.iter().flatten().zip(saved.iter().flatten()) {
        // Two conversions of one weight round its gradient twice.
        assert!((a - b).abs() <= a.abs() / 64.0 + 1e-4, "{a} {b}");
    }
    Ok(())
}

/// Trains a small network on the embedded digits and gives the share of test pictures that it reads, and the last loss.
fn trained(precision: Autocast, mut scaler: GradScaler) -> Result<(f64, f64)> {
    manual_seed(3);
    let train = DataLoader::new(ImageClasses::digits(Split::Train)?, 64).shuffle(true);
    let (x, y) = DataLoader::new(ImageClasses::digits(Split::Test)?, 299).iter().next().expect("a batch")?;
    let model = sequential![
        Conv2d::new(1, 8, 3).padding(1),
        BatchNorm2d::new(8),
        ReLU::new(),
        MaxPool2d::new(2),
        Flatten::new(),
        Linear::new(128, 32),
        ReLU::new(),
        Linear::new(32, 10)
    ];
    let mut optimizer = Adam::new(model.parameters(), 3e-3);
    let mut last = 0.0;
    for _ in 0..5 {
        for batch in &train {
            let (x, y) = batch?;
            optimizer.zero_grad();
            let loss = precision.run(|| CrossEntropyLoss::new().forward(&model.forward(&x)?, &y))?;
            scaler.scale(&loss)?.backward()?;
            scaler.step(&mut optimizer)?;
            scaler.update()?;
            last = loss.to_f64()?;
        }
    }
    assert!(model.parameters().iter().all(|p| p.dtype() == DType::F32));
    model.eval();
    let right = no_grad(|| precision.run(|| model.forward(&x))?.argmax(1, false)?.eq(&y)?.sum()?.to_f64())?;
    Ok((right / 299.0, last))
}

#[test]
fn digits_are_learned_as_well_as_in_f32() -> Result<()> {
    let _turn = turn();
    let off = || GradScaler::new().enabled(false);
    let (full, loss) = trained(Autocast::new().enabled(false), off())?;
    assert!(full > 0.94, "{full}");
    let half = Autocast::new().dtype(DType::F16)?;
    for (precision, scaler) in [(Autocast::new(), off()), (half, GradScaler::new())] {
        let (accuracy, other) = trained(precision, scaler)?;
        assert!(accuracy > full - 0.02, "{precision:?}: {accuracy}, in f32 {full}");
        assert!(other != loss && (other - loss).abs() < 0.1, "{precision:?}: loss {other}, in f32 {loss}");
    }
    Ok(())
}
