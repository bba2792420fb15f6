//! The same seed gives the same bits. `cargo xtask ci` runs the tests here once for every instruction set and several
//! thread counts and compares the lines `hash NAME HEX` that they print.

use kiln::prelude::*;
use sha2::{Digest, Sha256};

/// Pictures of ten classes: a prototype per class under noise, as u8 / 255.
fn pictures(n: usize) -> Result<(Tensor, Tensor)> {
    let prototypes = Tensor::rand([10, 1, 28, 28]);
    let y = Tensor::randint(0, 10, [n])?;
    let noise = Tensor::rand([n, 1, 28, 28]);
    let x = prototypes.index_select(0, &y)?.mul(0.45)?.add(&noise.mul(0.55)?)?;
    Ok((x.mul(255.0)?.floor()?.div(255.0)?, y))
}

/// SHA-256 over the elements, which conversion to double precision leaves as they are.
pub(crate) fn hash(tensors: &[Tensor]) -> String {
    let mut hasher = Sha256::new();
    for t in tensors {
        for v in t.detach().to_dtype(DType::F64).and_then(|t| t.to_vec::<f64>()).expect("numbers") {
            hasher.update(v.to_le_bytes());
        }
    }
    hasher.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

/// Two epochs of LeNet with everything a first network uses: convolutions, pooling, linear layers, dropout, cross entropy,
/// shuffled batches, SGD with momentum, then a few steps of Adam.
#[test]
fn trained_lenet() {
    let _turn = crate::turn();
    manual_seed(7);
    let (x, y) = pictures(1024).unwrap();
    let model = sequential![
        Conv2d::new(1, 6, 5),
        ReLU::new(),
        MaxPool2d::new(2),
        Conv2d::new(6, 16, 5),
        Tanh::new(),
        AvgPool2d::new(2),
        Flatten::new(),
        Linear::new(256, 120),
        ReLU::new(),
        Dropout::new(0.2),
        Linear::new(120, 84),
        ReLU::new(),
        Linear::new(84, 10)
    ];
    let loader = DataLoader::new(TensorDataset::new((x, y)).unwrap(), 64).shuffle(true).num_workers(2);
    let loss_fn = CrossEntropyLoss::new();
    let mut losses = Vec::new();
    let mut train = |optimizer: &mut dyn Optimizer| {
        for batch in &loader {
            let (x, y) = batch.unwrap();
            optimizer.zero_grad();
            let loss = loss_fn.forward(&model.forward(&x).unwrap(), &y).unwrap();
            loss.backward().unwrap();
            optimizer.step().unwrap();
            losses.push(loss.to_f64().unwrap());
        }
    };
    train(&mut SGD::new(model.parameters(), 0.05).momentum(0.9).weight_decay(1e-4));
    train(&mut Adam::new(model.parameters(), 3e-3));
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let (first, last) = (mean(&losses[..4]), mean(&losses[losses.len() - 4..]));
    assert!(last < first, "training goes downhill: {first} to {last}");
    println!("hash trained_lenet {}", hash(&model.parameters()));
}

/// Elementwise mathematics, reductions and products of awkward sizes.
#[test]
fn operations() {
    let _turn = crate::turn();
    manual_seed(11);
    let x = Tensor::randn([257, 131]);
    let y = Tensor::randn([131, 259]);
    let mut results = vec![x.matmul(&y).unwrap(), x.t().unwrap().matmul(&x).unwrap()];
    let functions: [fn(&Tensor) -> Result<Tensor>; 14] = [
        Tensor::exp,
        Tensor::sin,
        Tensor::cos,
        Tensor::tanh,
        Tensor::sigmoid,
        Tensor::erf,
        Tensor::gelu,
        Tensor::silu,
        Tensor::expm1,
        Tensor::sum,
        Tensor::mean,
        Tensor::var,
        |x| x.abs()?.add(0.5)?.log(),
        |x| x.abs()?.pow(1.7),
    ];
    results.extend(functions.iter().map(|f| f(&x).unwrap()));
    for axis in [0, 1] {
        results.push(x.softmax(axis).unwrap());
        results.push(x.log_softmax(axis).unwrap());
        results.push(x.sum_axes(&[axis], false).unwrap());
    }
    println!("hash operations {}", hash(&results));
}

/// Some steps in bfloat16 and in float16, with what only mixed precision uses: conversions, products of halves, scaled
/// gradients.
#[test]
fn trained_in_mixed_precision() {
    let _turn = crate::turn();
    for (dtype, name) in [(DType::BF16, "bf16"), (DType::F16, "f16")] {
        manual_seed(5);
        let (x, y) = pictures(96).unwrap();
        let model = sequential![
            Conv2d::new(1, 6, 5),
            BatchNorm2d::new(6),
            ReLU::new(),
            MaxPool2d::new(2),
            Flatten::new(),
            Linear::new(864, 40),
            LayerNorm::new(40),
            GELU::new(),
            Linear::new(40, 10)
        ];
        let mut optimizer = Adam::new(model.parameters(), 3e-3);
        let mut scaler = GradScaler::new();
        let half = Autocast::new().dtype(dtype).unwrap();
        for _ in 0..6 {
            optimizer.zero_grad();
            let loss = half.run(|| CrossEntropyLoss::new().forward(&model.forward(&x)?, &y)).unwrap();
            scaler.scale(&loss).unwrap().backward().unwrap();
            scaler.step(&mut optimizer).unwrap();
            scaler.update().unwrap();
        }
        println!("hash trained_in_mixed_precision_{name} {}", hash(&model.parameters()));
    }
}
