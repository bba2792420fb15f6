//! Gradient scaling: PyTorch's course of scales and weights, and what must be refused.

use kiln_autograd::{DType, Result, Tensor, tensor};
use kiln_optim::{Adam, GradScaler, Optimizer, SGD, StateValue, clip_grad_norm_};

#[test]
fn scales_and_weights_take_pytorchs_course() -> Result<()> {
    // w = nn.Parameter(tensor([1., 2.])); SGD([w], lr=0.1); GradScaler("cpu", init_scale=8., growth_interval=2,
    // growth_factor=4., backoff_factor=0.25); the loss is (w * tensor([factor, 1.])).square().sum()
    let w = tensor![1., 2.].requires_grad_(true)?;
    let mut optimizer = SGD::new([w.clone()], 0.1);
    let mut scaler =
        GradScaler::new().init_scale(8.0).growth_interval(2).growth_factor(4.0).backoff_factor(0.25);
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    for (factor, weights, scale, tracker) in [
        (1.0, [0.800000011920929, 1.600000023841858], 8.0, 1),
        (1.0, [0.6399999856948853, 1.2799999713897705], 32.0, 0),
        (inf, [0.6399999856948853, 1.2799999713897705], 8.0, 0),
        (1.0, [0.5119999647140503, 1.0239999294281006], 8.0, 1),
        (1.0, [0.4095999598503113, 0.8191999197006226], 32.0, 0),
        (1.0, [0.32767996191978455, 0.6553599238395691], 32.0, 1),
        (nan, [0.32767996191978455, 0.6553599238395691], 8.0, 0),
        (1.0, [0.26214396953582764, 0.5242879390716553], 8.0, 1),
    ] {
        optimizer.zero_grad();
        let loss = w.mul(&tensor![factor, 1.])?.square()?.sum()?;
        scaler.scale(&loss)?.backward()?;
        assert_eq!(scaler.step(&mut optimizer)?, factor.is_finite());
        scaler.update()?;
        assert_eq!(w.to_vec::<f32>()?, weights.map(|w: f64| w as f32));
        assert_eq!(scaler.get_scale(), scale);
        let want = StateValue::dict([
            ("scale", scale.into()),
            ("growth_factor", 4.0.into()),
            ("backoff_factor", 0.25.into()),
            ("growth_interval", 2i64.into()),
            ("_growth_tracker", tracker.into()),
        ]);
        assert_eq!(scaler.state_dict(), want);
    }
    let mut other = GradScaler::new();
    other.load_state_dict(&scaler.state_dict())?;
    assert_eq!(other.state_dict(), scaler.state_dict());
    assert!(other.load_state_dict(&StateValue::dict([])).is_err());
    Ok(())
}

#[test]
fn gradients_can_be_clipped_between() -> Result<()> {
    let w = tensor![3., 4.].requires_grad_(true)?;
    let mut optimizer = SGD::new([w.clone()], 1.0);
    let mut scaler = GradScaler::new();
    scaler.scale(&w.square()?.mul(0.5)?.sum()?)?.backward()?;
    assert_eq!(w.grad().unwrap().to_vec::<f32>()?, [3.0 * 65536.0, 4.0 * 65536.0]);
    scaler.unscale_(&optimizer)?;
    assert_eq!(w.grad().unwrap().to_vec::<f32>()?, [3.0, 4.0]);
    assert_eq!(clip_grad_norm_(std::slice::from_ref(&w), 2.5, 2.0)?, 5.0);
    // Not divided twice.
    assert!(scaler.step(&mut optimizer)?);
    assert!((w.to_vec::<f32>()?[0] - 1.5).abs() < 1e-5);
    scaler.update()
}

#[test]
fn one_bad_optimizer_shrinks_the_scale_for_all() -> Result<()> {
    let (v, w) = (tensor![1.].requires_grad_(true)?, tensor![1.].requires_grad_(true)?);
    let (mut a, mut b) = (SGD::new([v.clone()], 0.1), Adam::new([w.clone()], 0.1));
    let mut scaler = GradScaler::new().init_scale(4.0);
    scaler.scale(&v.add(&w.mul(f64::INFINITY)?)?.sum()?)?.backward()?;
    assert_eq!((scaler.step(&mut a)?, scaler.step(&mut b)?), (true, false));
    scaler.update()?;
    assert_eq!((scaler.get_scale(), w.to_f64()?), (2.0, 1.0));
    scaler.update_to(16.0)?;
    assert_eq!(scaler.get_scale(), 16.0);
    Ok(())
}

#[test]
fn wrong_orders_and_dtypes_are_refused() -> Result<()> {
    let w = tensor![1.].requires_grad_(true)?;
    let mut optimizer = SGD::new([w.clone()], 0.1);
    let mut scaler = GradScaler::new();
    let text = |r: Result<()>| r.unwrap_err().to_string();
    assert!(text(scaler.step(&mut optimizer).map(drop)).contains("_scale is None"));
    assert!(text(scaler.update()).contains("_scale is None"));
    let loss = scaler.scale(&w.sum()?)?;
    assert!(text(scaler.step(&mut optimizer).map(drop)).contains("No inf checks were recorded"));
    loss.backward()?;
    scaler.unscale_(&optimizer)?;
    assert!(text(scaler.unscale_(&optimizer)).contains("already been called on this optimizer"));
    scaler.step(&mut optimizer)?;
    assert!(text(scaler.step(&mut optimizer).map(drop)).contains("step() has already been called"));
    assert!(text(scaler.unscale_(&optimizer)).contains("after step()"));
    scaler.update()?;
    assert!(text(scaler.update()).contains("prior to update"));

    let half = tensor![1.].to_dtype(DType::F16)?.requires_grad_(true)?;
    let halves = SGD::new([half.clone()], 0.1);
    scaler.scale(&half.sum()?.to_dtype(DType::F32)?)?.backward()?;
    assert!(text(scaler.unscale_(&halves)).contains("Attempting to unscale FP16 gradients."));
    assert!(text(GradScaler::new().growth_factor(1.0).scale(&w).map(drop)).contains("> 1.0"));

    // A loss in float16 is scaled in f32.
    let scaled = scaler.scale(&Tensor::full_with((), 3.0, DType::F16))?;
    assert_eq!((scaled.dtype(), scaled.to_f64()?), (DType::F32, 3.0 * 65536.0));

    let mut off = GradScaler::new().enabled(false);
    assert_eq!((off.get_scale(), off.scale(&w)?.to_f64()?), (1.0, w.to_f64()?));
    assert_eq!(off.state_dict(), StateValue::dict([]));
    assert!(off.step(&mut optimizer)?);
    off.update()
}
