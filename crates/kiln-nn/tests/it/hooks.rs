//! Hooks run where PyTorch runs them, with what PyTorch gives them.

use std::sync::{Arc, Mutex};

use kiln_nn::*;

fn ones(shape: impl Into<Shape>) -> Tensor {
    Tensor::full(shape, 1.0)
}

fn layer() -> Linear {
    let weight = Tensor::from_vec(vec![1f32, 2.0, 3.0, 4.0], [2, 2]).unwrap();
    Linear::from_parameters(Parameter::new(weight).unwrap(), None).unwrap()
}

#[test]
fn forward_hooks_see_and_replace() {
    let layer = layer();
    let before = layer.register_forward_pre_hook(|_, x| x.mul(2.0).map(Some)).unwrap();
    let after = layer.register_forward_hook(|module, _, y| {
        assert_eq!(module.type_name(), "Linear");
        y.add(1.0).map(Some)
    });
    let after = after.unwrap();
    assert_eq!(layer.call(&ones([1, 2])).unwrap().to_vec::<f32>().unwrap(), [7.0, 15.0]);
    assert_eq!(layer.forward(&ones([1, 2])).unwrap().to_vec::<f32>().unwrap(), [3.0, 7.0]);
    before.remove();
    assert_eq!(layer.call(&ones([1, 2])).unwrap().to_vec::<f32>().unwrap(), [4.0, 8.0]);
    after.remove();
    after.remove();
    assert_eq!(layer.call(&ones([1, 2])).unwrap().to_vec::<f32>().unwrap(), [3.0, 7.0]);
}

#[test]
fn a_backward_hook_gets_both_gradients() {
    let layer = layer();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let to = Arc::clone(&seen);
    let hook = move |input: Option<&Tensor>, output: &Tensor| {
        to.lock().unwrap().push((input.map(|g| g.to_vec::<f32>().unwrap()), output.to_vec::<f32>().unwrap()));
        input.map(|g| g.mul(10.0)).transpose()
    };
    layer.register_full_backward_hook(hook).unwrap();
    let x = ones([1, 2]).requires_grad_(true).unwrap();
    layer.call(&x).unwrap().sum().unwrap().backward().unwrap();
    assert_eq!(x.grad().unwrap().to_vec::<f32>().unwrap(), [40.0, 60.0]);
    layer.call(&ones([1, 2])).unwrap().sum().unwrap().backward().unwrap();
    assert_eq!(*seen.lock().unwrap(), [(Some(vec![4.0, 6.0]), vec![1.0, 1.0]), (None, vec![1.0, 1.0])]);
}

#[test]
fn hooks_reach_layers_by_name_and_errors_come_through() {
    let net = sequential![layer(), ReLU, layer()];
    for (name, module) in net.named_modules() {
        if name == "2" {
            let refuse = |_: &dyn Module, _: &Tensor| Err(Error::value("hook", "not today"));
            module.register_forward_pre_hook(refuse).unwrap();
        }
    }
    assert!(net.call(&ones([1, 2])).unwrap_err().to_string().contains("not today"));
    // A struct without layers, parameters and flags has nothing to keep hooks in, and says so.
    #[derive(Module)]
    struct Bare {}
    let error = (Bare {}).register_forward_hook(|_, _, _| Ok(None)).err().unwrap();
    assert!(error.to_string().contains("Bare"), "{error}");
}

#[test]
fn layers_without_parameters_are_modules_like_others() {
    let layers: Vec<Box<dyn Forward>> = vec![
        Box::new(ReLU),
        Box::new(GELU::tanh()),
        Box::new(Softmax::new(1)),
        Box::new(LeakyReLU::default()),
        Box::new(GLU::default()),
        Box::new(Identity),
        Box::new(Flatten::new()),
        Box::new(Unflatten::new(1, [2, 2])),
        Box::new(MaxPool1d::new(2)),
        Box::new(AdaptiveAvgPool1d::new(1)),
        Box::new(ZeroPad1d::new(1)),
        Box::new(LocalResponseNorm::new(2)),
        Box::new(Upsample::scale([2.0])),
        Box::new(UpsamplingNearest2d::scale([2.0])),
        Box::new(ChannelShuffle::new(2)),
        Box::new(Lambda::new(|x| x.neg())),
    ];
    for layer in &layers {
        let name = layer.type_name();
        assert!(layer.is_training(), "{name}");
        layer.eval();
        assert!(!layer.is_training(), "{name}");
        assert!(layer.register_forward_hook(|_, _, _| Ok(None)).is_ok(), "{name}");
    }
    let net = sequential![ReLU, ReLU];
    let handle = net[1].as_module().register_forward_hook(|_, _, y| y.add(1.0).map(Some)).unwrap();
    assert_eq!(net.call(&ones([1])).unwrap().to_vec::<f32>().unwrap(), [2.0]);
    handle.remove();
    assert_eq!(net.call(&ones([1])).unwrap().to_vec::<f32>().unwrap(), [1.0]);

    let loss = MSELoss::new();
    loss.eval();
    assert!(!loss.is_training() && !loss.clone().is_training());
    loss.register_forward_pre_hook(|_, x| x.add(2.0).map(Some)).unwrap();
    assert_eq!(loss.call(&ones([2]), &ones([2])).unwrap().to_f64().unwrap(), 4.0);
    assert_eq!(loss.forward(&ones([2]), &ones([2])).unwrap().to_f64().unwrap(), 0.0);
}

#[test]
fn a_summary_counts_and_leaves_the_network_as_it_was() {
    let net = sequential![Linear::new(4, 8), Dropout::new(0.5), Linear::new(8, 2)];
    net[1].eval();
    let table = summary(&net, &ones([3, 4])).unwrap();
    let row = |start: &str| table.lines().find(|l| l.trim_start().starts_with(start)).unwrap().to_owned();
    assert!(row("0 (Linear)").contains("[3, 8]") && row("0 (Linear)").ends_with("40"), "{table}");
    assert!(row("2 (Linear)").contains("[3, 2]") && row("2 (Linear)").ends_with("18"), "{table}");
    assert!(table.contains("Total params: 58"), "{table}");
    assert!(net[0].is_training() && !net[1].is_training());
}
