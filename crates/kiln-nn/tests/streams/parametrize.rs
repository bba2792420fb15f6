//! Computed parameters against values of PyTorch 2.15: two passes of a seeded layer, then one backward pass.

use kiln_autograd::manual_seed;
use kiln_nn::utils::parametrize::Parametrized;
use kiln_nn::utils::{self, OrthogonalMap};
use kiln_nn::*;

use crate::turn;

fn near(got: &Tensor, want: &[f32]) {
    let got = got.to_vec::<f32>().unwrap();
    assert_eq!(got.len(), want.len(), "{got:?}");
    let close = |(g, w): (&f32, &f32)| (g - w).abs() < 2e-5 * w.abs().max(1.0);
    assert!(got.iter().zip(want).all(close), "{got:?}, expected {want:?}");
}

fn seeded() -> Linear {
    manual_seed(0);
    Linear::new(3, 2)
}

/// The output, and the gradients of the bias and of the tensors behind the weight.
fn passes(layer: &Parametrized<Linear>, y: &[f32], gradients: &[&[f32]]) {
    let x = Tensor::from_vec(vec![1.0f32, -2.0, 3.0, 0.5, 1.0, -1.0], [2, 3]).unwrap();
    let first = layer.forward(&x).unwrap();
    // The second pass takes nothing from the first one's graph.
    let second = layer.forward(&x.mul(2.0).unwrap()).unwrap();
    let loss = first.square().unwrap().sum().unwrap() + second.sum().unwrap();
    loss.backward().unwrap();
    near(&first, y);
    let parameters = layer.parameters();
    assert_eq!(parameters.len(), gradients.len());
    for (parameter, want) in parameters.iter().zip(gradients) {
        near(&parameter.grad().unwrap(), want);
    }
}

#[test]
fn lengths_and_directions_apart() {
    let _turn = turn();
    let y = [-2.0607495, 0.9420804, 0.7713009, -0.131862];
    let bias: &[f32] = &[-0.5788975, 3.6204367];
    let by_row = [-0.2545362, 0.9312425, 0.6092829, 6.1867485, -5.2813253, 9.393_53];
    passes(&utils::weight_norm(seeded()).unwrap(), &y, &[bias, &[12.5533113, 1.7012988], &by_row]);
    let all = [-0.2902971, 3.4936156, -3.3220701, 10.6404076, -2.9504991, 7.77073];
    let layer = utils::weight_norm_with(seeded(), "weight", None).unwrap();
    assert_eq!(layer.originals("weight").unwrap()[0].rank(), 0);
    passes(&layer, &y, &[bias, &[10.5145664], &all]);
    let by_column = [-0.3985026, -0.2094781, 1.9700212, 0.004054, -0.2917614, 6.0465074];
    let layer = utils::weight_norm_with(seeded(), "weight", 1).unwrap();
    passes(&layer, &y, &[bias, &[-4.7484903, 9.8423634, 12.4916182], &by_column]);
    assert!(utils::weight_norm_with(seeded(), "weight", 2).is_err());
    assert!(utils::weight_norm_with(seeded(), "wait", 0).is_err());
}

#[test]
fn largest_singular_value_of_one() {
    let _turn = turn();
    let layer = utils::spectral_norm(seeded()).unwrap();
    let weight = [-12.9020958, 5.2639198, -8.4224472, 15.201004, -0.3744373, 4.4390049];
    let y = [-3.1276371, 1.194214, 1.1788018, -0.438832];
    passes(&layer, &y, &[&[-1.8976707, 3.5107641], &weight]);
    let buffers = layer.buffers();
    near(&buffers[0], &[0.7856073, -0.6187254]);
    near(&buffers[1], &[0.3945937, 0.5792003, -0.7133182]);
    // Evaluating improves nothing.
    layer.eval();
    let before = buffers[0].to_vec::<f32>().unwrap();
    layer.forward(&Tensor::ones([1, 3])).unwrap();
    assert_eq!(before, buffers[0].to_vec::<f32>().unwrap());

    manual_seed(0);
    let layer = utils::spectral_norm(ConvTranspose1d::new(2, 3, 2)).unwrap();
    assert_eq!(layer.buffers()[0].dims(), [3]);
    let want = [
        -0.0063862, 0.4575853, -0.7020559, -0.6277545, -0.3285359, 0.2287377, -0.0169006, 0.6763331,
        -0.0756985, 0.225714, -0.2577871, -0.1676699,
    ];
    near(&layer.get("weight").unwrap(), &want);
}

#[test]
fn orthogonal_rows() {
    let _turn = turn();
    let y = [-3.6243119, -0.4795294, 1.368508, -0.1064925];
    let bias: &[f32] = &[-2.5116081, 0.8279562];
    let exponential = [0.0, 3.5414157, -2.1581626, 0.0, 0.0, -0.022867];
    for (map, weight) in [
        (OrthogonalMap::Householder, [0.0, 7.0828323, -4.3163252, 0.0, 0.0, -0.0457339]),
        (OrthogonalMap::MatrixExp, exponential),
        (OrthogonalMap::Cayley, exponential),
    ] {
        let layer = utils::orthogonal_with(seeded(), "weight", map, true).unwrap();
        passes(&layer, &y, &[bias, &weight]);
        let base = [
            -0.0076205, -0.9727077, 0.2319082, 0.5460198, -0.1983372, -0.8139562, -0.8377376, -0.1204237,
            -0.5326291,
        ];
        near(&layer.buffers()[0], &base);
    }
    let layer = utils::orthogonal_with(seeded(), "weight", OrthogonalMap::Householder, false).unwrap();
    passes(&layer, &y, &[bias, &[0.0, 1.0727396, -4.0461216, 0.0, 0.0, -0.0394578]]);
    assert!(utils::orthogonal_with(seeded(), "weight", OrthogonalMap::Cayley, false).is_err());
    assert!(utils::orthogonal_with(seeded(), "bias", None, true).is_err());
}

#[test]
fn print_and_names_are_those_of_pytorch() {
    let _turn = turn();
    let layer = utils::weight_norm(seeded()).unwrap();
    assert_eq!(
        layer.to_string(),
        "ParametrizedLinear(\n  in_features=3, out_features=2, bias=True\n  (parametrizations): ModuleDict(\n    (weight): \
         ParametrizationList(\n      (0): _WeightNorm()\n    )\n  )\n)"
    );
    let names: Vec<String> = layer.named_modules().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["", "parametrizations", "parametrizations.weight", "parametrizations.weight.0"]);
    let other = utils::weight_norm(Linear::new(3, 2)).unwrap();
    other.load_state_dict(&layer.state_dict()).unwrap();
    let x = Tensor::ones([1, 3]);
    assert_eq!(
        other.forward(&x).unwrap().to_vec::<f32>().unwrap(),
        layer.forward(&x).unwrap().to_vec::<f32>().unwrap()
    );
}

/// As PyTorch's `_weight_norm_compat_hook`: inside of a network too.
#[test]
fn former_names_are_loaded() {
    let _turn = turn();
    let net = sequential![ReLU, utils::weight_norm(seeded()).unwrap()];
    let mut old = StateDict::new();
    old.insert("1.weight_g", Tensor::full([2, 1], 3.0));
    old.insert("1.weight_v", Tensor::ones([2, 3]));
    old.insert("1.bias", Tensor::zeros([2]));
    net.load_state_dict(&old).unwrap();
    near(&net.forward(&Tensor::ones([1, 3])).unwrap(), &[3.0 * 3f32.sqrt(); 2]);
    let _ = old.remove("1.weight_v");
    let error = net.load_state_dict(&old).unwrap_err().to_string();
    assert!(error.contains("1.weight_g") && error.contains("original1"), "{error}");
}

#[test]
fn layers_of_other_calls() {
    let _turn = turn();
    manual_seed(0);
    let lstm = utils::weight_norm_with(LSTM::new(2, 2), "weight_hh_l0", 0).unwrap();
    let names: Vec<String> = lstm.state_dict().keys().map(str::to_owned).collect();
    let behind = ["original0", "original1"].map(|n| format!("parametrizations.weight_hh_l0.{n}"));
    assert_eq!(names[..3], ["weight_ih_l0", "bias_ih_l0", "bias_hh_l0"]);
    assert_eq!(names[3..], behind);
    let (y, _) = lstm.layer().unwrap().forward(&Tensor::ones([2, 1, 2]), None).unwrap();
    near(&y, &[-0.1270087, -0.0096705, -0.1723692, -0.0203788]);
    y.sum().unwrap().backward().unwrap();
    let g = lstm.originals("weight_hh_l0").unwrap()[0].grad().unwrap();
    near(&g, &[0.0044519, -0.0016422, 0.0015896, -0.0000516, 0.0095927, -0.0074852, -0.0121472, -0.0003297]);
}

#[test]
fn removing_gives_the_plain_layer() {
    let _turn = turn();
    let layer = utils::weight_norm(seeded()).unwrap();
    let x = Tensor::ones([1, 3]);
    layer.set("weight", &Tensor::full([2, 3], 2.0)).unwrap();
    assert!(layer.set("weight", &Tensor::ones([3])).is_err());
    assert!(utils::weight_norm(seeded()).unwrap().remove_to_original().is_err());
    let before = layer.forward(&x).unwrap().to_vec::<f32>().unwrap();
    let plain = layer.remove().unwrap();
    assert_eq!(plain.forward(&x).unwrap().to_vec::<f32>().unwrap(), before);
    near(&plain.weight, &[2.0; 6]);
    assert!(plain.weight.is_leaf() && plain.weight.requires_grad());
    plain.forward(&x).unwrap().sum().unwrap().backward().unwrap();
    near(&plain.weight.grad().unwrap(), &[1.0; 6]);

    let halved = Parametrized::new(plain).register("weight", Lambda::new(|w| w.mul(0.5))).unwrap();
    near(&halved.get("weight").unwrap(), &[1.0; 6]);
    let plain = halved.remove_to_original().unwrap();
    near(&plain.weight, &[2.0; 6]);
    assert!(plain.weight.is_leaf() && plain.weight.requires_grad());
    let other = Parametrized::new(plain).register("weight", Lambda::new(|w| w.sum()));
    assert!(other.is_err_and(|e| e.to_string().contains("may not change the shape")));
}

#[test]
fn statistics_of_all_batches() {
    let _turn = turn();
    manual_seed(0);
    let net = sequential![Conv1d::new(1, 2, 2), BatchNorm1d::new(2), Flatten::new()];
    let x = Tensor::arange(6).reshape([2, 1, 3]).unwrap();
    let squares = Tensor::arange(8).square().unwrap().reshape([2, 1, 4]).unwrap();
    net.eval();
    update_bn([x.to_dtype(DType::F32), squares.to_dtype(DType::F32)], &net).unwrap();
    assert!(!net.is_training());
    let buffers = net.buffers();
    near(&buffers[0], &[4.1748395, -10.5271511]);
    near(&buffers[1], &[26.3945446, 174.0413666]);
    assert_eq!(buffers[2].to_vec::<i64>().unwrap(), [2]);
    let failing = [Ok(x), Err(Error::value("test", "no more"))];
    assert!(update_bn(failing, &net).is_err() && !net.is_training());
}
