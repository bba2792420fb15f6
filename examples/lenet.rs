//! LeNet with ReLU and max pooling on Fashion-MNIST.
//!
//! `cargo run --release --example lenet`; `KILN_DATA` may name a folder that has the data set already.

use kiln::prelude::*;

mod support;

#[derive(Module)]
struct LeNet {
    conv1: Conv2d,
    conv2: Conv2d,
    pool: MaxPool2d,
    fc1: Linear,
    fc2: Linear,
    fc3: Linear,
}

impl LeNet {
    fn new() -> LeNet {
        LeNet {
            conv1: Conv2d::new(1, 6, 5),
            conv2: Conv2d::new(6, 16, 5),
            pool: MaxPool2d::new(2),
            fc1: Linear::new(256, 120),
            fc2: Linear::new(120, 84),
            fc3: Linear::new(84, 10),
        }
    }
}

impl Forward for LeNet {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.pool.forward(&self.conv1.forward(x)?.relu()?)?;
        let x = self.pool.forward(&self.conv2.forward(&x)?.relu()?)?.flatten(1, -1)?;
        let x = self.fc1.forward(&x)?.relu()?;
        let x = self.fc2.forward(&x)?.relu()?;
        self.fc3.forward(&x)
    }
}

fn main() -> Result<()> {
    manual_seed(0);
    let train = DataLoader::new(ImageClasses::fashion_mnist(Split::Train, None)?, 64).shuffle(true);
    let test = DataLoader::new(ImageClasses::fashion_mnist(Split::Test, None)?, 1000);

    let model = LeNet::new();
    println!("{model}");
    let mut optimizer = SGD::new(model.parameters(), 0.01).momentum(0.9);
    for epoch in 1..=10 {
        let loss = support::train_epoch(&model, &train, &mut optimizer, &format!("epoch {epoch:2}"))?;
        let (accuracy, test_loss) = support::evaluate(&model, &test)?;
        println!("epoch {epoch:2}  loss {loss:.4}  test loss {test_loss:.4}  test accuracy {accuracy:.4}");
    }
    let (accuracy, loss) = support::evaluate(&model, &test)?;
    println!(
        "result: accuracy={accuracy:.4} loss={loss:.4} weights=sha256:{}",
        support::weights_hash(&model)?
    );
    Ok(())
}
