//! State dicts: round trips and what does not fit.

use kiln_nn::{Conv2d, DType, Linear, Module, ReLU, StateDict, Tensor, sequential};

#[derive(Module)]
struct Small {
    conv: Conv2d,
    fc: Linear,
}

fn small(classes: usize) -> Small {
    Small { conv: Conv2d::new(1, 2, 3), fc: Linear::new(8, classes) }
}

fn values(m: &dyn Module) -> Vec<Vec<f32>> {
    m.state_dict().iter().map(|(_, t)| t.to_vec::<f32>().unwrap()).collect()
}

#[test]
fn a_state_dict_goes_round() {
    let (a, b) = (small(3), small(3));
    assert_ne!(values(&a), values(&b));
    let held = b.parameters();
    b.load_state_dict(&a.state_dict()).unwrap();
    assert_eq!(values(&a), values(&b));
    assert!(
        held[0].requires_grad() && held[0].equal(&a.conv.weight).unwrap(),
        "the parameters stay the same tensors"
    );
    let keys: Vec<String> = a.state_dict().keys().map(str::to_owned).collect();
    assert_eq!(keys, ["conv.weight", "conv.bias", "fc.weight", "fc.bias"]);
}

#[test]
fn a_deep_copy_does_not_follow_training() {
    let net = Linear::new(2, 2);
    let (live, copy) = (net.state_dict(), net.state_dict().deep_copy().unwrap());
    kiln_nn::init::zeros_(&net.weight).unwrap();
    assert_eq!(live.get("weight").unwrap().to_vec::<f32>().unwrap(), [0.0; 4]);
    assert_ne!(copy.get("weight").unwrap().to_vec::<f32>().unwrap(), [0.0; 4]);
    assert!(!live.get("weight").unwrap().requires_grad());
}

#[test]
fn all_differences_are_named_and_nothing_is_loaded() {
    let net = small(3);
    let before = values(&net);
    let mut state: StateDict =
        small(5).state_dict().into_iter().map(|(n, t)| (n.replace("conv.", "conv1."), t)).collect();
    state.insert("optimizer", Tensor::from_vec(vec![0f32], [1]).unwrap());
    let error = net.load_state_dict(&state).unwrap_err().to_string();
    for part in [
        "Error(s) in loading state_dict for Small",
        "Missing key(s) in state_dict: \"conv.weight\" (nearest: \"conv1.weight\"), \"conv.bias\" (nearest: \"conv1.bias\").",
        "Unexpected key(s) in state_dict: \"conv1.weight\" (nearest: \"conv.weight\")",
        "\"optimizer\".",
        "size mismatch for fc.weight: copying a param with shape [5, 8] from checkpoint, the shape in current model is \
         [3, 8].",
        "size mismatch for fc.bias",
    ] {
        assert!(error.contains(part), "{part} is not in:\n{error}");
    }
    assert_eq!(values(&net), before);
    assert!(net.load_state_dict_lenient(&state).is_err(), "shapes have to fit even then");
    assert_eq!(values(&net), before);
}

#[test]
fn lenient_loading_says_what_was_left() {
    let net = small(3);
    let mut state = small(3).state_dict();
    let fc = state.remove("fc.weight").unwrap();
    state.insert("fc.wait", fc);
    let keys = net.load_state_dict_lenient(&state).unwrap();
    assert_eq!((keys.missing, keys.unexpected), (vec!["fc.weight".to_owned()], vec!["fc.wait".to_owned()]));
    assert!(net.conv.weight.equal(state.get("conv.weight").unwrap()).unwrap());
    assert_eq!(state.get("fc.bias").unwrap().dims(), [3], "removal keeps the other names right");
}

#[test]
fn a_wrapper_s_prefix_is_recognised() {
    let state: StateDict =
        small(3).state_dict().into_iter().map(|(n, t)| (format!("module.{n}"), t)).collect();
    let error = small(3).load_state_dict(&state).unwrap_err().to_string();
    assert!(error.contains("\"conv.weight\" (nearest: \"module.conv.weight\")"), "{error}");
}

#[test]
fn values_are_converted_to_the_module_s_dtype() {
    let net = sequential![Linear::new(2, 1), ReLU];
    let state: StateDict = [
        ("0.weight".to_owned(), Tensor::from_vec(vec![1i64, 2], [1, 2]).unwrap()),
        ("0.bias".to_owned(), Tensor::from_vec(vec![0.5f64], [1]).unwrap()),
    ]
    .into_iter()
    .collect();
    net.load_state_dict(&state).unwrap();
    assert_eq!(net.parameters()[0].to_vec::<f32>().unwrap(), [1.0, 2.0]);
    assert_eq!(net.parameters()[1].dtype(), DType::F32);
}
