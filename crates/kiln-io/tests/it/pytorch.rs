//! Files between Kiln and PyTorch, both ways. Runs when `KILN_TORCH_PYTHON` names a Python that has torch and numpy.

use std::path::Path;
use std::process::Command;

use kiln_autograd::{Tensor, get_rng_state, manual_seed, set_rng_state};
use kiln_io::{
    Container, Value, load, load_npy, load_npz, load_safetensors, save, save_as, save_npy, save_npz,
    save_safetensors, to_bytes,
};

use crate::common::{every_dtype, every_kind};

/// Reads what Kiln wrote, compares, and writes the same objects.
const SCRIPT: &str = include_str!("pytorch.py");

#[test]
fn files_go_to_pytorch_and_come_back() {
    let Ok(python) = std::env::var("KILN_TORCH_PYTHON") else {
        println!("skipped: KILN_TORCH_PYTHON names no Python with torch");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let value = every_kind().unwrap();
    save_as(&value, at("kiln.pt"), Container::Zip).unwrap();
    save_as(&value, at("kiln_legacy.pt"), Container::Legacy).unwrap();
    let tensors: Vec<(String, Tensor)> =
        every_dtype().unwrap().into_iter().filter(|(name, _)| name != "bfloat16").collect();
    let pairs = || tensors.iter().map(|(name, t)| (name.as_str(), t));
    save_npz(pairs(), at("kiln.npz")).unwrap();
    for (name, t) in pairs() {
        save_npy(t, at(&format!("kiln_{name}.npy"))).unwrap();
    }
    let every = every_dtype().unwrap();
    let named = every.iter().map(|(name, t)| (name.as_str(), t));
    save_safetensors(named, &Default::default(), at("kiln.safetensors")).unwrap();
    manual_seed(7);
    let _: Tensor = Tensor::randn(3);
    let state = get_rng_state();
    let next = Tensor::rand(4);
    save(&Value::dict([("state", state.into()), ("next", (&next).into())]), at("kiln_random.pt")).unwrap();
    run(&python, folder.path());
    let random = load(at("torch_random.pt")).unwrap();
    set_rng_state(&random.get("state").unwrap().to_tensor().unwrap()).unwrap();
    let want = random.get("next").unwrap().to_tensor().unwrap();
    assert_eq!(bits(&Tensor::randn(20)), bits(&want));

    for name in ["torch.pt", "torch_legacy.pt"] {
        let loaded = load(at(name)).unwrap();
        // PyTorch gives the elements of a set in an order of its own; all else prints as what was saved.
        let text = |value: &Value| value.to_string().replace("{'b', 1}", "{1, 'b'}");
        assert_eq!(text(&loaded), text(&value), "{name}");
        for (key, want) in value.get("ordered").unwrap().tensors().unwrap() {
            let got = loaded.get("ordered").unwrap().get(key.as_str()).unwrap().to_tensor().unwrap();
            assert_eq!(bits(&got), bits(&want), "{name}: {key}");
        }
        let tensor = |name: &str| loaded.get(name).unwrap().to_tensor().unwrap();
        assert!(
            ["transposed", "row", "expanded"].iter().all(|name| tensor("base").shares_storage(&tensor(name)))
        );
        assert_eq!(tensor("expanded").strides(), [6, 0]);
        assert!(tensor("tied").is_same(&tensor("parameter")));
        assert!(tensor("leaf").requires_grad() && !tensor("frozen").requires_grad());
    }
    if at("torch.safetensors").exists() {
        let loaded = load_safetensors(at("torch.safetensors")).unwrap();
        assert_eq!(loaded.len(), every.len());
        for (name, want) in &every {
            let got = loaded.iter().find(|(own, _)| own == name).map(|(_, t)| bits(t));
            assert_eq!(got, Some(bits(want)), "{name}");
        }
    }
    assert_eq!(load(at("counter.pt")).unwrap().to_string(), "{'milestones': {30: 2, 80: 1}}");
    for ((name, got), (_, want)) in load_npz(at("torch.npz")).unwrap().iter().zip(&tensors) {
        assert_eq!(bits(got), bits(want), "{name}");
        assert_eq!(bits(&load_npy(at(&format!("torch_{name}.npy"))).unwrap()), bits(want), "{name}");
    }
}

/// A tensor's file without the names in it: dtype, shape and the bits of the elements.
fn bits(tensor: &Tensor) -> Vec<u8> {
    to_bytes(&tensor.copy().unwrap().into(), Container::Legacy).unwrap()
}

fn run(python: &str, folder: &Path) {
    let output = Command::new(python).args(["-c", SCRIPT]).arg(folder).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stdout));
}
