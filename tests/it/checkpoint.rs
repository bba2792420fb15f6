//! Checkpoints: state dicts and optimizers through files, Kiln's own and PyTorch's.

use std::path::Path;
use std::process::Command;

use kiln::prelude::*;

use super::turn;

fn model() -> Sequential {
    sequential![Linear::new(3, 8), ReLU::new(), Linear::new(8, 2)]
}

fn train(model: &Sequential, optimizer: &mut dyn Optimizer, steps: i64) -> Result<()> {
    for i in 0..steps {
        let x = Tensor::arange(0..12).to_dtype(DType::F32)?.reshape([4, 3])?.mul(0.1)?.add(i as f64)?;
        optimizer.zero_grad();
        model.forward(&x)?.square()?.mean()?.backward()?;
        optimizer.step()?;
    }
    Ok(())
}

fn values(model: &Sequential) -> Vec<f32> {
    model.parameters().iter().flat_map(|p| p.to_vec::<f32>().unwrap()).collect()
}

#[test]
fn training_goes_on_from_a_file_bit_for_bit() -> Result<()> {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.pt");
    manual_seed(1);
    let straight = model();
    let mut optimizer = Adam::new(straight.parameters(), 0.01);
    train(&straight, &mut optimizer, 3)?;
    let checkpoint = Value::dict([
        ("model", straight.state_dict().to_checkpoint()?),
        ("optimizer", optimizer.state_dict()?.to_checkpoint()?),
        ("random", get_rng_state().into()),
    ]);
    kiln::save(&checkpoint, &path)?;
    let next = Tensor::rand(3).to_vec::<f32>()?;
    train(&straight, &mut optimizer, 3)?;

    manual_seed(2);
    let resumed = model();
    let mut optimizer = Adam::new(resumed.parameters(), 0.5);
    let checkpoint: Value = kiln::load(&path)?;
    resumed.load_state_dict(&StateDict::from_checkpoint(checkpoint.get("model")?)?)?;
    optimizer.load_state_dict(&OptimizerState::from_checkpoint(checkpoint.get("optimizer")?)?)?;
    set_rng_state(&checkpoint.get("random")?.to_tensor()?)?;
    assert_eq!(Tensor::rand(3).to_vec::<f32>()?, next);
    train(&resumed, &mut optimizer, 3)?;
    assert_eq!(values(&resumed), values(&straight));
    Ok(())
}

#[test]
fn a_checkpoint_of_something_else_is_explained() -> Result<()> {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.pt");
    kiln::save(&Value::dict([("model", model().state_dict().to_checkpoint()?)]), &path)?;
    let error = kiln::load::<StateDict>(&path).unwrap_err().to_string();
    assert!(error.contains("'model' is of type OrderedDict"), "{error}");
    let error = kiln::load::<OptimizerState>(&path).err().unwrap().to_string();
    assert!(error.contains("no entry 'state'; there are 'model'"), "{error}");
    Ok(())
}

/// Goes on from Kiln's checkpoint in PyTorch and saves the model.
const SCRIPT: &str = r#"
import sys, torch
checkpoint = torch.load(sys.argv[1], weights_only=True)
model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
model.load_state_dict(checkpoint["model"])
optimizer = torch.optim.Adam(model.parameters(), lr=0.5)
optimizer.load_state_dict(checkpoint["optimizer"])
for i in range(3):
    x = torch.arange(12.0).reshape(4, 3) * 0.1 + i
    optimizer.zero_grad()
    model(x).square().mean().backward()
    optimizer.step()
torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, sys.argv[1])
"#;

#[test]
fn pytorch_goes_on_from_kilns_file() -> Result<()> {
    let _turn = turn();
    let Ok(python) = std::env::var("KILN_TORCH_PYTHON") else {
        println!("skipped: KILN_TORCH_PYTHON names no Python with torch");
        return Ok(());
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.pt");
    manual_seed(1);
    let model = model();
    let mut optimizer = Adam::new(model.parameters(), 0.01);
    train(&model, &mut optimizer, 3)?;
    let checkpoint = Value::dict([
        ("model", model.state_dict().to_checkpoint()?),
        ("optimizer", optimizer.state_dict()?.to_checkpoint()?),
    ]);
    kiln::save(&checkpoint, &path)?;
    let output = Command::new(python).args(["-c", SCRIPT]).arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    train(&model, &mut optimizer, 3)?;
    let checkpoint: Value = kiln::load(&path)?;
    let theirs = StateDict::from_checkpoint(checkpoint.get("model")?)?;
    for ((name, ours), (_, theirs)) in model.state_dict().iter().zip(theirs.iter()) {
        let off = ours.sub(theirs)?.abs()?.max()?.to_f64()?;
        assert!(off < 1e-6, "{name}: {off}");
    }
    optimizer.load_state_dict(&OptimizerState::from_checkpoint(checkpoint.get("optimizer")?)?)
}

/// Parameters of the shapes in the specimens, whose fourth layer is a batch normalisation without running statistics here.
fn parameters() -> Result<Vec<Tensor>> {
    let shapes: [&[usize]; 6] = [&[4, 3], &[4], &[4], &[4], &[2, 4], &[2]];
    shapes.iter().map(|shape| Tensor::zeros(*shape).requires_grad_(true)).collect()
}

#[test]
fn optimizers_go_on_from_pytorchs_files() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance/files/checkpoints");
    if !folder.is_dir() {
        println!("skipped: {} is absent", folder.display());
        return Ok(());
    }
    for ending in ["", "_legacy"] {
        let mut adam = Adam::new(parameters()?, 0.5);
        let mut sgd = SGD::new(parameters()?, 0.5);
        let optimizers: [(&str, &mut dyn Optimizer, f64); 2] =
            [("optimizer_adam", &mut adam, 0.01), ("optimizer_sgd", &mut sgd, 0.1)];
        for (name, optimizer, lr) in optimizers {
            let path = folder.join(format!("{name}{ending}.pt"));
            let value: Value = kiln::load(&path)?;
            optimizer.load_state_dict(&OptimizerState::from_checkpoint(&value)?)?;
            assert_eq!(optimizer.lr(0), lr);
            // What is saved again holds what PyTorch saved.
            let again = optimizer.state_dict()?.to_checkpoint()?;
            let states = value.get("state")?.to_dict()?;
            assert_eq!(states.len(), 6);
            for (number, entries) in states.iter() {
                for (entry, want) in entries.to_dict()?.iter() {
                    let got = again.get("state")?.get(number.clone())?.get(entry.clone())?.to_tensor()?;
                    assert!(got.equal(&want.to_tensor()?)?, "{name} {number} {entry}");
                }
            }
            let (want, got) = (value.get("param_groups")?.items()?, again.get("param_groups")?.items()?);
            for (option, want) in want[0].to_dict()?.iter() {
                let got = got[0].get(option.clone())?;
                let same = got.to_string() == want.to_string() || got.to_f64()? == want.to_f64()?;
                assert!(same, "{name}: {option} is {got}, was {want}");
            }
        }
    }
    Ok(())
}
