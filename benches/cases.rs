//! Kiln's column of `cargo xtask bench`: the cases of the race with PyTorch, each doing exactly the work that its name
//! stands for.

mod harness;

use std::time::Duration;

use harness::{Bench, Plan};
use kiln::prelude::*;

fn main() {
    let b = Bench::from_env();
    overhead(&b);
    elementwise(&b);
    reductions(&b);
    indexing(&b);
    products(&b);
    convolutions(&b);
    pooling(&b);
    normalisation(&b);
    training(&b);
    networks(&b);
    loading(&b);
}

/// An operation without history on random operands.
macro_rules! cases {
    ($b:expr; $($name:literal: [$($arg:ident = $make:expr),*] $op:expr;)*) => {
        $($b.case($name, || -> Result<_> {
            $(let $arg = $make;)*
            Ok(move || no_grad(|| $op))
        });)*
    };
}

fn overhead(b: &Bench) {
    cases! { b; "op_add_1": [x = Tensor::randn([1]), y = Tensor::randn([1])] x.add(&y); }
    b.case("chain10_fwd_bwd_1", || -> Result<_> {
        let x = Tensor::randn([1]).requires_grad_(true)?;
        let (c, d) = (tensor!([1.01]), tensor!([0.5]));
        Ok(move || -> Result<()> {
            let mut y = x.clone();
            for _ in 0..5 {
                y = y.mul(&c)?.add(&d)?;
            }
            x.zero_grad();
            y.backward()
        })
    });
}

fn elementwise(b: &Bench) {
    const N: usize = 10_000_000;
    cases! { b;
        "add_1e7": [x = Tensor::randn([N]), y = Tensor::randn([N])] x.add(&y);
        "add_1e7_inplace": [x = Tensor::randn([N]), y = Tensor::randn([N])] x.add_(&y);
        "add_1e7_out": [x = Tensor::randn([N]), y = Tensor::randn([N]), z = Tensor::zeros([N])] x.add_out(&y, &z);
        "add_1e5": [x = Tensor::randn([100_000]), y = Tensor::randn([100_000])] x.add(&y);
        "exp_1e7": [x = Tensor::randn([N])] x.exp();
        "relu_1e7": [x = Tensor::randn([N])] x.relu();
        "gelu_1e6": [x = Tensor::randn([1_000_000])] x.gelu();
        "transpose_contig_4096x4096": [x = Tensor::randn([4096, 4096])] x.t()?.contiguous();
        "strided_add_2048x2048_T": [x = Tensor::randn([2048, 2048]), y = Tensor::randn([2048, 2048])] x.add(&y.t()?);
    }
}

fn reductions(b: &Bench) {
    const N: usize = 10_000_000;
    cases! { b;
        "sum_1e7": [x = Tensor::randn([N])] x.sum();
        "sum_axis0_4096x4096": [x = Tensor::randn([4096, 4096])] x.sum_axes(&[0], false);
        "softmax_4096x1000": [x = Tensor::randn([4096, 1000])] x.softmax(-1);
        "argmax_4096x1000": [x = Tensor::randn([4096, 1000])] x.argmax(-1, false);
        "cumsum_1e7": [x = Tensor::randn([N])] x.cumsum(-1);
        "cumsum_2048x2048": [x = Tensor::randn([2048, 2048])] x.cumsum(-1);
        "layernorm_4096x1024": [x = Tensor::randn([4096, 1024]), w = Tensor::randn([1024]), c = Tensor::randn([1024])]
            x.layer_norm(&[1024], Some(&w), Some(&c), 1e-5);
    }
}

fn indexing(b: &Bench) {
    const N: usize = 1_000_000;
    cases! { b;
        "index_select_1e6": [x = Tensor::randn([N]), at = Tensor::randint(0, N as i64, [N])?] x.index_select(0, &at);
        "topk_sort_1e6": [x = Tensor::randn([N])] x.sort(-1, false);
    }
}

fn products(b: &Bench) {
    for n in [64, 128, 256, 512, 1024, 2048] {
        b.case(&format!("matmul_{n}"), || -> Result<_> {
            let (x, y) = (Tensor::randn([n, n]), Tensor::randn([n, n]));
            Ok(move || no_grad(|| x.matmul(&y)))
        });
    }
    cases! { b;
        "bmm_32x128x64x128": [x = Tensor::randn([32, 128, 64]), y = Tensor::randn([32, 64, 128])] x.bmm(&y);
        "mv_4096": [x = Tensor::randn([4096, 4096]), y = Tensor::randn([4096])] x.mv(&y);
    }
}

fn convolutions(b: &Bench) {
    for (name, x, w, stride, padding) in [
        ("conv_lenet1_b64", [64, 1, 28, 28], [6, 1, 5, 5], 1, 0),
        ("conv_3x3_64_56_b8", [8, 64, 56, 56], [64, 64, 3, 3], 1, 1),
        ("conv_3x3_512_7_b8", [8, 512, 7, 7], [512, 512, 3, 3], 1, 1),
        ("conv_1x1_256_14_b8", [8, 256, 14, 14], [256, 256, 1, 1], 1, 0),
        ("conv7x7s2_3_224_b8", [8, 3, 224, 224], [64, 3, 7, 7], 2, 3),
    ] {
        let conv = move |x: &Tensor, w: &Tensor| x.conv2d(w, None, [stride; 2], [padding; 2], [1, 1], 1);
        b.case(name, || -> Result<_> {
            let (x, w) = (Tensor::randn(x), Tensor::randn(w).mul(0.05)?);
            Ok(move || no_grad(|| conv(&x, &w)))
        });
        b.case(&format!("{name}_fwdbwd"), || -> Result<_> {
            let x = Tensor::randn(x).requires_grad_(true)?;
            let w = Tensor::randn(w).mul(0.05)?.requires_grad_(true)?;
            Ok(move || -> Result<()> {
                x.zero_grad();
                w.zero_grad();
                conv(&x, &w)?.sum()?.backward()
            })
        });
    }
}

fn pooling(b: &Bench) {
    let pool = |x: &Tensor| x.max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false);
    b.case("maxpool_2x2_b64x64x56x56", || -> Result<_> {
        let x = Tensor::randn([64, 64, 56, 56]);
        Ok(move || no_grad(|| pool(&x)))
    });
    b.case("maxpool_2x2_b64x64x56x56_fwdbwd", || -> Result<_> {
        let x = Tensor::randn([64, 64, 56, 56]).requires_grad_(true)?;
        Ok(move || -> Result<()> {
            x.zero_grad();
            pool(&x)?.sum()?.backward()
        })
    });
}

fn normalisation(b: &Bench) {
    b.case("batchnorm_b64x64x56x56_train", || -> Result<_> {
        let (x, layer) = (Tensor::randn([64, 64, 56, 56]), BatchNorm2d::new(64));
        Ok(move || no_grad(|| layer.forward(&x)))
    });
    b.case("batchnorm_b64x64x56x56_train_fwdbwd", || -> Result<_> {
        let x = Tensor::randn([64, 64, 56, 56]).requires_grad_(true)?;
        let layer = BatchNorm2d::new(64);
        Ok(move || -> Result<()> {
            x.zero_grad();
            layer.zero_grad();
            layer.forward(&x)?.sum()?.backward()
        })
    });
}

/// One training step: clear the gradients, forward, loss, backward, update.
fn step(
    model: &impl Forward,
    optimizer: &mut impl Optimizer,
    loss: impl Fn(&Tensor) -> Result<Tensor>,
    x: &Tensor,
) -> Result<()> {
    optimizer.zero_grad();
    loss(&model.forward(x)?)?.backward()?;
    optimizer.step()
}

fn training(b: &Bench) {
    for (name, rows, inputs) in [("linreg_b10", 10, 2), ("linreg_1e5", 100_000, 1)] {
        b.case(name, || -> Result<_> {
            let model = Linear::new(inputs, 1);
            let mut optimizer = SGD::new(model.parameters(), 0.03);
            let (x, y) = (Tensor::randn([rows, inputs]), Tensor::randn([rows, 1]));
            let loss_fn = MSELoss::new();
            Ok(move || step(&model, &mut optimizer, |out| loss_fn.forward(out, &y), &x))
        });
    }
    b.case("softmaxreg_b256", || -> Result<_> {
        let model = sequential![Flatten::new(), Linear::new(784, 10)];
        let mut optimizer = SGD::new(model.parameters(), 0.1);
        let (x, y) = (Tensor::rand([256, 1, 28, 28]), Tensor::randint(0, 10, [256])?);
        let loss_fn = CrossEntropyLoss::new();
        Ok(move || step(&model, &mut optimizer, |out| loss_fn.forward(out, &y), &x))
    });
    b.case("mlp_b128_adam", || -> Result<_> {
        let model = sequential![
            Flatten::new(),
            Linear::new(784, 512),
            ReLU::new(),
            Linear::new(512, 512),
            ReLU::new(),
            Linear::new(512, 10)
        ];
        let mut optimizer = Adam::new(model.parameters(), 1e-3);
        let (x, y) = (Tensor::rand([128, 1, 28, 28]), Tensor::randint(0, 10, [128])?);
        let loss_fn = CrossEntropyLoss::new();
        Ok(move || step(&model, &mut optimizer, |out| loss_fn.forward(out, &y), &x))
    });
    b.case("lenet_b64_sgd", || -> Result<_> {
        let model = sequential![
            Conv2d::new(1, 6, 5),
            ReLU::new(),
            MaxPool2d::new(2),
            Conv2d::new(6, 16, 5),
            ReLU::new(),
            MaxPool2d::new(2),
            Flatten::new(),
            Linear::new(256, 120),
            ReLU::new(),
            Linear::new(120, 84),
            ReLU::new(),
            Linear::new(84, 10)
        ];
        let mut optimizer = SGD::new(model.parameters(), 0.05);
        let (x, y) = (Tensor::rand([64, 1, 28, 28]), Tensor::randint(0, 10, [64])?);
        let loss_fn = CrossEntropyLoss::new();
        Ok(move || step(&model, &mut optimizer, |out| loss_fn.forward(out, &y), &x))
    });
}

/// Networks of several million parameters.
fn networks(b: &Bench) {
    b.case("resnet18_b8_64px_sgd", || -> Result<_> {
        let model = kiln::models::resnet18(1000)?;
        let mut optimizer = SGD::new(model.parameters(), 0.01);
        let (x, y) = (Tensor::randn([8, 3, 64, 64]), Tensor::randint(0, 1000, [8])?);
        let loss_fn = CrossEntropyLoss::new();
        Ok(move || step(&model, &mut optimizer, |out| loss_fn.forward(out, &y), &x))
    });
    b.case("resnet18_infer_b1_224px", || -> Result<_> {
        let model = kiln::models::resnet18(1000)?;
        model.eval();
        let x = Tensor::randn([1, 3, 224, 224]);
        Ok(move || inference_mode(|| model.forward(&x)))
    });
    b.case("lstm_b32_s64_h256", || -> Result<_> {
        let (model, x) = (LSTM::new(128, 256).batch_first(true), Tensor::randn([32, 64, 128]));
        Ok(move || -> Result<()> {
            model.zero_grad();
            let (out, _) = model.forward(&x, None)?;
            out.sum()?.backward()
        })
    });
    b.case("gru_b32_s64_h256", || -> Result<_> {
        let (model, x) = (GRU::new(128, 256).batch_first(true), Tensor::randn([32, 64, 128]));
        Ok(move || -> Result<()> {
            model.zero_grad();
            let (out, _) = model.forward(&x, None)?;
            out.sum()?.backward()
        })
    });
    let heads = || Tensor::randn([8, 8, 1024, 64]);
    b.case("attention_b8_h8_s1024_d64", || -> Result<_> {
        let [q, k, v] = [heads(), heads(), heads()];
        Ok(move || q.scaled_dot_product_attention(&k, &v, &AttentionOptions::default()))
    });
    b.case("attention_b8_h8_s1024_d64_fwdbwd", || -> Result<_> {
        let operands = (0..3).map(|_| heads().requires_grad_(true)).collect::<Result<Vec<_>>>()?;
        Ok(move || -> Result<()> {
            operands.iter().for_each(Tensor::zero_grad);
            let (q, k, v) = (&operands[0], &operands[1], &operands[2]);
            q.scaled_dot_product_attention(k, v, &AttentionOptions::default())?.sum()?.backward()
        })
    });
    b.case("transformer_b8_s128_d256_l4_h8_adamw", || -> Result<_> {
        let layer = TransformerEncoderLayer::new(256, 8)
            .dim_feedforward(1024)
            .dropout(0.0)
            .activation("gelu")
            .batch_first(true)
            .norm_first(true);
        let (encoder, head) =
            (TransformerEncoder::new(layer, 4).norm(LayerNorm::new([256])), Linear::new(256, 10));
        let parameters = encoder.parameters().into_iter().chain(head.parameters());
        let mut optimizer = AdamW::new(parameters, 1e-3);
        let (x, y) = (Tensor::randn([8, 128, 256]), Tensor::randint(0, 10, [8])?);
        let loss_fn = CrossEntropyLoss::new();
        Ok(move || -> Result<()> {
            optimizer.zero_grad();
            let out = head.forward(&encoder.forward(&x)?.mean_axes(&[1], false)?)?;
            loss_fn.forward(&out, &y)?.backward()?;
            optimizer.step()
        })
    });
}

/// 60,000 images one by one: u8 to f32 / 255, then collated, as a user's own data set does it.
struct PerItem {
    images: Vec<u8>,
    labels: Vec<i64>,
}

impl Dataset for PerItem {
    type Item = (Tensor, i64);

    fn len(&self) -> usize {
        self.labels.len()
    }

    fn get(&self, index: usize) -> Result<(Tensor, i64)> {
        let image = &self.images[index * 784..(index + 1) * 784];
        let image = Tensor::from_slice(image, [1, 28, 28])?.to_dtype(DType::F32)?;
        image.div_(255.0)?;
        Ok((image, self.labels[index]))
    }
}

fn loading(b: &Bench) {
    let plan = Plan { metric: "us_per_epoch", target: Duration::from_millis(300), min_samples: 2 };
    for workers in [0, 4] {
        for suffix in ["", "_tensor"] {
            b.case_with(&format!("dataloader_60000x784_b256_w{workers}{suffix}"), plan, || -> Result<_> {
                let images = Tensor::randint(0, 256, [60_000 * 784])?.to_dtype(DType::U8)?.to_vec()?;
                let labels = Tensor::randint(0, 10, [60_000])?.to_vec()?;
                let loader =
                    DataLoader::new(PerItem { images, labels }, 256).shuffle(true).num_workers(workers);
                Ok(move || loader.iter().map(|batch| batch.map(|(x, _)| x.numel())).sum::<Result<usize>>())
            });
        }
    }
}
