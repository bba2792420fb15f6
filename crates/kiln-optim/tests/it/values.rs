//! Values of PyTorch 2.15.0: four steps of every optimizer, some rates of every schedule.

use kiln_autograd::{Result, Tensor};
use kiln_optim::*;

fn start() -> Tensor {
    Tensor::from_vec(vec![0.5f64, -1.5], [2]).unwrap().requires_grad_(true).unwrap()
}

/// Four steps, of which the third goes back.
fn four_steps(w: &Tensor, optimizer: &mut dyn Optimizer) -> Vec<f64> {
    for t in 0..4 {
        let scale = if t == 2 { -0.5 } else { 1.0 };
        let grad = Tensor::from_vec(vec![0.3 * scale, -0.7 * scale], w.shape()).unwrap();
        w.set_grad(Some(grad)).unwrap();
        optimizer.step().unwrap();
    }
    w.to_vec().unwrap()
}

#[test]
fn steps_are_pytorch_s() {
    let p = || [start()];
    let optimizers: [(Box<dyn Optimizer>, [f64; 2]); 12] = [
        (
            Box::new(SGD::new(p(), 0.1).momentum(0.9).nesterov(true).weight_decay(0.1)),
            [0.20716783207349998, -0.7773765921785],
        ),
        (
            Box::new(Adam::new(p(), 0.1).amsgrad(true).weight_decay(0.1)),
            [0.16772911565501641, -1.1593134914772794],
        ),
        (Box::new(AdamW::new(p(), 0.1).maximize(true)), [0.8164109121860413, -1.8124169145444557]),
        (
            Box::new(Adadelta::new(p(), 1.0).rho(0.8).weight_decay(0.1)),
            [0.4938356591224346, -1.493693382992266],
        ),
        (
            Box::new(Adagrad::new(p(), 0.1).lr_decay(0.5).initial_accumulator_value(0.2).weight_decay(0.1)),
            [0.39389491886771666, -1.3540859417907203],
        ),
        (Box::new(Adamax::new(p(), 0.1).betas((0.8, 0.9))), [0.1978453163937384, -1.1978453106384113]),
        (
            Box::new(NAdam::new(p(), 0.1).momentum_decay(0.5).weight_decay(0.1).decoupled_weight_decay(true)),
            [0.2556243711030978, -1.2162203767513322],
        ),
        (
            Box::new(RAdam::new(p(), 0.1).betas((0.3, 0.7)).weight_decay(0.1)),
            [0.40342412124260746, -1.2614897419234148],
        ),
        (
            Box::new(RMSprop::new(p(), 0.1).centered(true).momentum(0.5).weight_decay(0.1)),
            [-1.7979378466525404, 1.490179040906752],
        ),
        (Box::new(Rprop::new(p(), 0.1).step_sizes((0.01, 0.11))), [0.235, -1.235]),
        (
            Box::new(ASGD::new(p(), 0.1).t0(1.0).lambd(0.5).weight_decay(0.1)),
            [0.3306100377390474, -1.035082774006314],
        ),
        (
            Box::new(Adafactor::new(p(), 0.1).weight_decay(0.1).d(1.2)),
            [0.22068297754774602, -1.1812789875477459],
        ),
    ];
    for (i, (mut optimizer, want)) in optimizers.into_iter().enumerate() {
        let w = optimizer.parameters().remove(0);
        let got = four_steps(&w, &mut *optimizer);
        // NAdam and ASGD keep numbers in single precision, as PyTorch does by default and did not for this table.
        let allowed = if i == 6 || i == 10 { 1e-7 } else { 1e-12 };
        let near = got.iter().zip(want).all(|(g, w)| (g - w).abs() < allowed);
        assert!(near, "optimizer {i}: {got:?} for {want:?}");
    }
}

#[test]
fn muon_takes_matrices_alone() {
    let w = Tensor::from_vec(vec![0.5f64, -1.5], [2, 1]).unwrap().requires_grad_(true).unwrap();
    let mut muon = Muon::new([w.clone()], 0.1).adjust_lr_fn(AdjustLr::SpectralUnclamped);
    let got = four_steps(&w, &mut muon);
    for (g, w) in got.iter().zip([0.33009994492955647, -1.0904318748356316]) {
        assert!((g - w).abs() < 1e-3, "{got:?}");
    }
    let error = Muon::new([start()], 0.1).check().unwrap_err().to_string();
    assert!(error.contains("2D"), "{error}");
}

/// The rates after so many rounds.
fn rate_after(schedule: impl FnOnce(&mut SGD) -> Result<Box<dyn Scheduler>>, rounds: usize) -> f64 {
    let mut sgd = SGD::new([start()], 0.1).momentum(0.9);
    let mut scheduler = schedule(&mut sgd).unwrap();
    for _ in 0..rounds {
        sgd.step().unwrap();
        scheduler.step(&mut sgd).unwrap();
    }
    sgd.lr(0)
}

#[test]
fn rates_are_pytorch_s() {
    macro_rules! on {
        ($schedule:expr) => {
            |sgd: &mut SGD| Ok($schedule.on(sgd)?.boxed())
        };
    }
    let rows = [
        (rate_after(on!(StepLR::new(3).gamma(0.5)), 7), 0.025),
        (rate_after(on!(MultiStepLR::new([2, 5, 5]).gamma(0.5)), 6), 0.0125),
        (rate_after(on!(ConstantLR::new().factor(0.25).total_iters(3)), 2), 0.025),
        (rate_after(on!(LinearLR::new().start_factor(0.5).total_iters(4)), 3), 0.0875),
        (rate_after(on!(ExponentialLR::new(0.9)), 3), 0.0729),
        (rate_after(on!(PolynomialLR::new().total_iters(8).power(2.0)), 4), 0.025),
        (rate_after(on!(CosineAnnealingLR::new(10).eta_min(0.01)), 5), 0.055),
        (rate_after(on!(CosineAnnealingWarmRestarts::new(4).t_mult(2)), 8), 0.05),
        (rate_after(on!(CyclicLR::new(0.01, 0.11).step_size_up(4).mode("triangular2")), 12), 0.06),
        (rate_after(on!(OneCycleLR::new(0.5).total_steps(11).anneal_strategy("linear")), 10), 2e-6),
        (rate_after(on!(LambdaLR::new(|epoch| 1.0 / (epoch + 1) as f64)), 3), 0.025),
        (rate_after(on!(MultiplicativeLR::new(|epoch| epoch as f64)), 3), 0.6),
        (rate_after(on!(SWALR::new(0.02).anneal_epochs(4).anneal_strategy("linear")), 2), 0.06),
    ];
    for (i, (got, want)) in rows.into_iter().enumerate() {
        assert!((got - want).abs() < 1e-12, "schedule {i}: {got} for {want}");
    }
}

#[test]
fn schedules_that_make_no_sense_are_refused_and_change_nothing() {
    let mut sgd = SGD::new([start()], 0.1);
    let refused = [
        StepLR::new(0).on(&mut sgd).map(|_| ()),
        StepLR::new(3).resume(&mut sgd, 2).map(|_| ()),
        ConstantLR::new().factor(1.5).on(&mut sgd).map(|_| ()),
        LinearLR::new().start_factor(0.0).on(&mut sgd).map(|_| ()),
        CosineAnnealingLR::new(0).on(&mut sgd).map(|_| ()),
        CosineAnnealingWarmRestarts::new(0).on(&mut sgd).map(|_| ()),
        CyclicLR::new(0.01, 0.1).mode("square").on(&mut sgd).map(|_| ()),
        CyclicLR::new([0.01, 0.1, 0.2], 0.1).on(&mut sgd).map(|_| ()),
        OneCycleLR::new(0.1).on(&mut sgd).map(|_| ()),
        OneCycleLR::new(0.1).epochs(i64::MAX).steps_per_epoch(2).on(&mut sgd).map(|_| ()),
        SWALR::new(0.1).anneal_strategy("exp").on(&mut sgd).map(|_| ()),
        ReduceLROnPlateau::new().mode("sum").on(&mut sgd).map(|_| ()),
        SequentialLR::new(&mut sgd, [], []).map(|_| ()),
    ];
    for (i, result) in refused.into_iter().enumerate() {
        assert!(result.is_err(), "{i}");
    }
    assert_eq!((sgd.lr(0), sgd.option(0, "initial_lr")), (0.1, None));
}

#[test]
fn states_that_do_not_fit_are_refused_whole() {
    let mut sgd = SGD::new([start()], 0.1);
    let mut scheduler = StepLR::new(3).on(&mut sgd).unwrap();
    let good = scheduler.state_dict();
    let StateValue::Dict(entries) = &good else { panic!("{good:?}") };
    for i in 0..entries.len() {
        let name = entries[i].0.text().unwrap();
        let mut broken = entries.clone();
        broken[i].1 = StateValue::Text("nonsense".to_owned());
        let result = scheduler.load_state_dict(&StateValue::Dict(broken));
        assert_eq!(result.is_ok(), name == "_is_initial" || name == "_get_lr_called_within_step", "{name}");
    }
    assert_eq!(scheduler.state_dict(), good);
    let mut adam = Adam::new([start()], 0.1);
    four_steps(&adam.parameters()[0], &mut adam);
    let saved = adam.state_dict().unwrap();
    let round_trip = OptimizerState::from_value(&saved.to_value()).unwrap();
    assert_eq!(round_trip.param_groups, saved.param_groups);
    let mut part = saved.clone();
    part.state.get_mut(&0).unwrap().retain(|(name, _)| name != "exp_avg");
    let error = adam.load_state_dict(&part).unwrap_err().to_string();
    assert!(error.contains("exp_avg"), "{error}");
    for wrong in [StateValue::None, StateValue::dict([("state", StateValue::None)])] {
        assert!(OptimizerState::from_value(&wrong).is_err());
    }
}

#[test]
fn a_closure_that_fails_leaves_parameters_as_they_were() {
    let w = start();
    let mut lbfgs = LBFGS::new([w.clone()], 1.0).line_search_fn("strong_wolfe");
    assert!(lbfgs.step().unwrap_err().to_string().contains("closure"));
    let mut calls = 0;
    let result = lbfgs.step_with(&mut || {
        calls += 1;
        if calls == 3 {
            return Err(kiln_autograd::Error::value("closure", "enough"));
        }
        w.zero_grad();
        let loss = w.square()?.square()?.sum()?;
        loss.backward()?;
        Ok(loss)
    });
    assert!(result.is_err() && calls == 3);
    assert_eq!(w.to_vec::<f64>().unwrap(), [0.5, -1.5]);
    assert!(lbfgs.state_dict().unwrap().state.is_empty());
}
