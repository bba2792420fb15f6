//! The same bits for work that is large enough to be cut for threads. `cargo xtask ci` runs the tests here once for every
//! instruction set and several thread counts and compares the lines `hash NAME HEX` that they print.

use kiln::prelude::*;

use crate::determinism::hash;

/// The output for a random input, and the gradients of the sum of squares for the input and all parameters.
fn differentiated(model: &dyn Forward, shape: &[usize]) -> Vec<Tensor> {
    let x = Tensor::randn(shape).requires_grad_(true).unwrap();
    let y = model.forward(&x).unwrap();
    y.square().unwrap().mean().unwrap().backward().unwrap();
    let gradients = model.parameters().into_iter().map(|p| p.grad().unwrap());
    [y, x.grad().unwrap()].into_iter().chain(gradients).collect()
}

#[test]
fn layers() {
    let _turn = crate::turn();
    manual_seed(21);
    let layers: [(&str, Box<dyn Forward>, &[usize]); 12] = [
        ("conv1d", Box::new(Conv1d::new(24, 40, 5).padding(2)), &[8, 24, 300]),
        ("conv2d", Box::new(Conv2d::new(12, 20, 3).stride(2)), &[8, 12, 45, 47]),
        ("conv3d", Box::new(Conv3d::new(6, 10, 3)), &[2, 6, 13, 17, 19]),
        ("conv_depthwise", Box::new(Conv2d::new(16, 16, 3).groups(16)), &[4, 16, 33, 35]),
        ("conv_transpose2d", Box::new(ConvTranspose2d::new(12, 8, 4).stride(2).padding(1)), &[4, 12, 23, 29]),
        ("layer_norm", Box::new(LayerNorm::new(257)), &[311, 257]),
        ("batch_norm", Box::new(BatchNorm2d::new(18)), &[16, 18, 31, 33]),
        ("group_norm", Box::new(GroupNorm::new(3, 18)), &[16, 18, 31, 33]),
        ("max_pool2d", Box::new(MaxPool2d::new(3)), &[4, 16, 65, 67]),
        ("adaptive_avg_pool2d", Box::new(AdaptiveAvgPool2d::new(7)), &[4, 16, 65, 67]),
        ("linear", Box::new(Linear::new(301, 203)), &[259, 301]),
        (
            "encoder",
            Box::new(TransformerEncoderLayer::new(64, 4).dim_feedforward(128).dropout(0.1)),
            &[70, 6, 64],
        ),
    ];
    for (name, layer, shape) in layers {
        println!("hash {name} {}", hash(&differentiated(&*layer, shape)));
    }
}

#[test]
fn attention() {
    let _turn = crate::turn();
    manual_seed(22);
    for (name, is_causal) in [("attention", false), ("attention_causal", true)] {
        let [q, k, v] = std::array::from_fn(|_| Tensor::randn([2, 4, 300, 64]).requires_grad_(true).unwrap());
        let options = AttentionOptions { is_causal, ..Default::default() };
        let y = q.scaled_dot_product_attention(&k, &v, &options).unwrap();
        y.square().unwrap().mean().unwrap().backward().unwrap();
        let results = [y, q.grad().unwrap(), k.grad().unwrap(), v.grad().unwrap()];
        println!("hash {name} {}", hash(&results));
    }
}

/// Forty steps of sixteen sequences: the loss goes down over a few updates, and every parameter is hashed.
#[test]
fn recurrent() {
    let _turn = crate::turn();
    manual_seed(23);
    let (x, target) = (Tensor::randn([40, 16, 32]), Tensor::randn([40, 16, 64]));
    macro_rules! trained {
        ($($name:literal $layer:expr;)*) => {$(
            let layer = $layer;
            let mut optimizer = Adam::new(layer.parameters(), 1e-2);
            let mut losses = Vec::new();
            for _ in 0..4 {
                optimizer.zero_grad();
                let (y, _) = layer.forward(&x, None).unwrap();
                let loss = y.sub(&target).unwrap().square().unwrap().mean().unwrap();
                loss.backward().unwrap();
                optimizer.step().unwrap();
                losses.push(loss.to_f64().unwrap());
            }
            assert!(losses[3] < losses[0], "training goes downhill: {losses:?}");
            println!("hash {} {}", $name, hash(&layer.parameters()));
        )*};
    }
    trained! {
        "lstm" LSTM::new(32, 64);
        "gru" GRU::new(32, 64);
        "rnn" RNN::new(32, 32).bidirectional(true);
    }
}

#[test]
fn selection() {
    let _turn = crate::turn();
    manual_seed(24);
    let x = Tensor::randn([100_000]);
    let i = Tensor::randint(0, 5000, [100_000]).unwrap();
    let (sorted, places) = x.sort(0, false).unwrap();
    let (largest, at) = x.topk(1000, 0, true).unwrap();
    let unique = i.unique_with(None).unwrap();
    let sums = Tensor::zeros([5000]).scatter_add(0, &i, &x).unwrap();
    let rows = Tensor::randn([5000, 3]);
    let results = [
        ("sort", vec![sorted, places]),
        ("topk", vec![largest, at]),
        ("unique", vec![unique.values, unique.inverse, unique.counts]),
        ("cumsum", vec![x.cumsum(0).unwrap(), rows.cumsum(0).unwrap()]),
        ("logcumsumexp", vec![x.logcumsumexp(0).unwrap()]),
        ("scatter_add", vec![sums]),
        ("index_add", vec![Tensor::zeros([5000]).index_add(0, &i, &x).unwrap()]),
        ("logsumexp", vec![x.logsumexp(&[0], false).unwrap(), rows.logsumexp(&[0], false).unwrap()]),
    ];
    for (name, tensors) in results {
        println!("hash {name} {}", hash(&tensors));
    }
}

#[test]
fn optimizers() {
    let _turn = crate::turn();
    type Make = fn(Vec<Tensor>) -> Box<dyn Optimizer>;
    let all: [(&str, Make); 10] = [
        ("sgd", |p| Box::new(SGD::new(p, 0.1).momentum(0.9).nesterov(true))),
        ("adam", |p| Box::new(Adam::new(p, 1e-2).amsgrad(true))),
        ("adamw", |p| Box::new(AdamW::new(p, 1e-2))),
        ("nadam", |p| Box::new(NAdam::new(p, 1e-2))),
        ("radam", |p| Box::new(RAdam::new(p, 1e-2))),
        ("adamax", |p| Box::new(Adamax::new(p, 1e-2))),
        ("adagrad", |p| Box::new(Adagrad::new(p, 1e-2))),
        ("adadelta", |p| Box::new(Adadelta::new(p, 1.0))),
        ("rmsprop", |p| Box::new(RMSprop::new(p, 1e-2).momentum(0.5).centered(true))),
        ("muon", |p| Box::new(Muon::new(p, 1e-2))),
    ];
    for (name, make) in all {
        manual_seed(25);
        let parameter = Tensor::randn([250, 400]).requires_grad_(true).unwrap();
        let mut optimizer = make(vec![parameter.clone()]);
        for _ in 0..7 {
            optimizer.zero_grad();
            parameter
                .square()
                .unwrap()
                .mul(&parameter.sin().unwrap())
                .unwrap()
                .sum()
                .unwrap()
                .backward()
                .unwrap();
            optimizer.step().unwrap();
        }
        println!("hash optimizer_{name} {}", hash(&[parameter]));
    }
}

#[test]
fn linear_algebra() {
    let _turn = crate::turn();
    manual_seed(26);
    let (a, b) = (Tensor::randn([64, 64]), Tensor::randn([64, 5]));
    let symmetric = a.matmul(&a.t().unwrap()).unwrap();
    let (u, s, vt) = a.svd(false).unwrap();
    let (w, v) = symmetric.eigh().unwrap();
    let (q, r) = a.qr(QrMode::Reduced).unwrap();
    let results = [
        ("solve", vec![a.solve(&b).unwrap()]),
        ("svd", vec![u, s, vt]),
        ("eigh", vec![w, v]),
        ("qr", vec![q, r]),
        ("cholesky", vec![symmetric.add(&Tensor::eye(64)).unwrap().cholesky().unwrap()]),
        ("inverse", vec![a.inverse().unwrap()]),
        ("det", vec![a.det().unwrap()]),
    ];
    for (name, tensors) in results {
        println!("hash {name} {}", hash(&tensors));
    }
}

#[test]
fn rare_functions() {
    let _turn = crate::turn();
    manual_seed(27);
    let x = Tensor::randn([40_000]).mul(4.0).unwrap();
    let double = x.to_dtype(DType::F64).unwrap();
    type Function = fn(&Tensor) -> Result<Tensor>;
    let functions: [(&str, Function); 12] = [
        ("bessel_j0", Tensor::bessel_j0),
        ("bessel_y1", Tensor::bessel_y1),
        ("i0e", Tensor::i0e),
        ("modified_bessel_k0", Tensor::modified_bessel_k0),
        ("airy_ai", Tensor::airy_ai),
        ("lgamma", Tensor::lgamma),
        ("digamma", Tensor::digamma),
        ("erfcx", Tensor::erfcx),
        ("log_ndtr", Tensor::log_ndtr),
        ("exp_and_sin", |x| x.exp()?.add(&x.sin()?)),
        ("tanh_and_erf", |x| x.tanh()?.mul(&x.erf()?)),
        ("softmax", |x| x.softmax(0)),
    ];
    for (name, function) in functions {
        println!("hash special_{name} {}", hash(&[function(&x).unwrap(), function(&double).unwrap()]));
    }
}

#[test]
fn connectionist_temporal_classification() {
    let _turn = crate::turn();
    manual_seed(28);
    let x = Tensor::randn([120, 8, 30]).requires_grad_(true).unwrap();
    let targets = Tensor::randint(1, 30, [8, 40]).unwrap();
    let (steps, lengths) =
        (Tensor::from_vec(vec![120i64; 8], [8]).unwrap(), Tensor::from_vec(vec![40i64; 8], [8]).unwrap());
    let loss =
        x.log_softmax(2).unwrap().ctc_loss(&targets, &steps, &lengths, 0, Reduction::Mean, false).unwrap();
    loss.backward().unwrap();
    println!("hash ctc_loss {}", hash(&[loss, x.grad().unwrap()]));
    let image = Tensor::randn([2, 8, 60, 70]).requires_grad_(true).unwrap();
    let (y, at) = image.fractional_max_pool2d([3, 3], [20, 25], None).unwrap();
    y.square().unwrap().sum().unwrap().backward().unwrap();
    println!("hash fractional_max_pool2d {}", hash(&[y, at, image.grad().unwrap()]));
}
