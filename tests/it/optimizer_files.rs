//! Every optimizer's state through files, to PyTorch and back. Runs when `KILN_TORCH_PYTHON` names a Python that has torch.

use std::process::Command;

use kiln::prelude::*;

use super::turn;

type Make = fn(Vec<Tensor>) -> Box<dyn Optimizer>;

/// Each optimizer as PyTorch writes it and as Kiln does.
const OPTIMIZERS: &[(&str, Make)] = &[
    ("SGD(p, 0.05)", |p| Box::new(SGD::new(p, 0.05))),
    ("SGD(p, 0.05, momentum=0.9, nesterov=True, weight_decay=0.01)", |p| {
        Box::new(SGD::new(p, 0.05).momentum(0.9).nesterov(true).weight_decay(0.01))
    }),
    ("Adam(p, 0.01)", |p| Box::new(Adam::new(p, 0.01))),
    ("Adam(p, 0.01, amsgrad=True, weight_decay=0.1)", |p| {
        Box::new(Adam::new(p, 0.01).amsgrad(true).weight_decay(0.1))
    }),
    ("AdamW(p, 0.01)", |p| Box::new(AdamW::new(p, 0.01))),
    ("Adamax(p, 0.01)", |p| Box::new(Adamax::new(p, 0.01))),
    ("NAdam(p, 0.01)", |p| Box::new(NAdam::new(p, 0.01))),
    ("RAdam(p, 0.01)", |p| Box::new(RAdam::new(p, 0.01))),
    ("Adagrad(p, 0.05)", |p| Box::new(Adagrad::new(p, 0.05))),
    ("Adadelta(p, 1.0)", |p| Box::new(Adadelta::new(p, 1.0))),
    ("RMSprop(p, 0.01, momentum=0.5, centered=True)", |p| {
        Box::new(RMSprop::new(p, 0.01).momentum(0.5).centered(true))
    }),
    ("Rprop(p, 0.01)", |p| Box::new(Rprop::new(p, 0.01))),
    ("ASGD(p, 0.05, t0=2)", |p| Box::new(ASGD::new(p, 0.05).t0(2.0))),
    ("Adafactor(p, 0.05)", |p| Box::new(Adafactor::new(p, 0.05))),
    ("Muon(p, 0.02)", |p| Box::new(Muon::new(p, 0.02))),
    ("LBFGS(p, 0.5, max_iter=3)", |p| Box::new(LBFGS::new(p, 0.5).max_iter(3))),
];

/// For each optimizer: goes on from Kiln's file for two steps, saves, and takes one more, which Kiln takes too.
const SCRIPT: &str = r#"
import sys, torch
from torch.optim import *
folder = sys.argv[1]
for number, text in enumerate(sys.argv[2:]):
    path = f"{folder}/{number}.pt"
    saved = torch.load(path, weights_only=True)
    p = [torch.nn.Parameter(t) for t in saved["weights"]]
    optimizer = eval(text)
    optimizer.load_state_dict(saved["optimizer"])
    step = 0
    def loss():
        optimizer.zero_grad()
        value = sum(((w - 0.25 * step) * torch.arange(1.0, w.numel() + 1).reshape(w.shape)).square().mean() for w in p)
        value.backward()
        return value
    for step in range(2, 4):
        optimizer.step(loss)
    saved = {"weights": [w.detach().clone() for w in p], "optimizer": optimizer.state_dict()}
    torch.save(saved, path, _use_new_zipfile_serialization=number % 2 == 0)
    step = 4
    optimizer.step(loss)
    torch.save([w.detach() for w in p], f"{folder}/{number}_last.pt")
"#;

fn step(weights: &[Tensor], optimizer: &mut dyn Optimizer, step: i64) -> Result<()> {
    let mut loss = || {
        weights.iter().for_each(Tensor::zero_grad);
        let mut all = Tensor::zeros(());
        for w in weights {
            let factors = Tensor::arange(1..w.numel() as i64 + 1).to_dtype(DType::F32)?.reshape(w.dims())?;
            all = all.add(&w.sub(0.25 * step as f64)?.mul(&factors)?.square()?.mean()?)?;
        }
        all.backward()?;
        Ok(all)
    };
    optimizer.step_with(&mut loss).map(|_| ())
}

fn weights(values: &[Tensor]) -> Result<Vec<Tensor>> {
    values.iter().map(|t| t.detach().copy()?.requires_grad_(true)).collect()
}

fn compare(what: &str, ours: &[Tensor], theirs: &[Tensor]) -> Result<()> {
    assert_eq!(ours.len(), theirs.len());
    for (a, b) in ours.iter().zip(theirs) {
        assert!(a.detach().allclose(b, 1e-4, 1e-5, false)?, "{what}: {a:?}, PyTorch has {b:?}");
    }
    Ok(())
}

fn list(value: &Value) -> Result<Vec<Tensor>> {
    match value {
        Value::List(items) => items.iter().map(Value::to_tensor).collect(),
        _ => Err(Error::value("test", "no list")),
    }
}

#[test]
fn every_optimizer_goes_to_pytorch_and_comes_back() -> Result<()> {
    let _turn = turn();
    let Ok(python) = std::env::var("KILN_TORCH_PYTHON") else {
        println!("skipped: KILN_TORCH_PYTHON names no Python with torch");
        return Ok(());
    };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: String| folder.path().join(name);
    manual_seed(0);
    let start = [Tensor::randn([3, 4]), Tensor::randn([2, 2])];
    let mut ours = Vec::new();
    for (number, (_, make)) in OPTIMIZERS.iter().enumerate() {
        let weights = weights(&start)?;
        let mut optimizer = make(weights.clone());
        for i in 0..2 {
            step(&weights, &mut *optimizer, i)?;
        }
        let values = weights.iter().map(|t| t.detach().into()).collect::<Vec<Value>>();
        let saved = Value::dict([
            ("weights", Value::List(values)),
            ("optimizer", optimizer.state_dict()?.to_checkpoint()?),
        ]);
        kiln::save(&saved, path(format!("{number}.pt")))?;
        for i in 2..4 {
            step(&weights, &mut *optimizer, i)?;
        }
        ours.push(weights);
    }
    let texts = OPTIMIZERS.iter().map(|(text, _)| *text);
    let output = Command::new(python).args(["-c", SCRIPT]).arg(folder.path()).args(texts).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (number, ((text, make), ours)) in OPTIMIZERS.iter().zip(&ours).enumerate() {
        let saved: Value = kiln::load(path(format!("{number}.pt")))?;
        let theirs = list(saved.get("weights")?)?;
        compare(text, ours, &theirs)?;
        let weights = weights(&theirs)?;
        let mut optimizer = make(weights.clone());
        optimizer.load_state_dict(&OptimizerState::from_checkpoint(saved.get("optimizer")?)?)?;
        step(&weights, &mut *optimizer, 4)?;
        let last: Value = kiln::load(path(format!("{number}_last.pt")))?;
        compare(&format!("{text}, one step on"), &weights, &list(&last)?)?;
    }
    Ok(())
}
