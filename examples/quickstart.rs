//! A small convolutional network learns to read handwritten digits: the embedded data set, no network needed.
//!
//! `cargo run --release --example quickstart`

use kiln::prelude::*;

mod support;

#[derive(Module)]
struct Net {
    conv1: Conv2d,
    conv2: Conv2d,
    dropout: Dropout,
    fc1: Linear,
    fc2: Linear,
}

impl Net {
    fn new() -> Net {
        Net {
            conv1: Conv2d::new(1, 16, 3).padding(1),
            conv2: Conv2d::new(16, 32, 3).padding(1),
            dropout: Dropout::new(0.25),
            fc1: Linear::new(32 * 4 * 4, 64),
            fc2: Linear::new(64, 10),
        }
    }
}

impl Forward for Net {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.conv1.forward(x)?.relu()?;
        let x = self.conv2.forward(&x)?.relu()?;
        let x = x.max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?.flatten(1, -1)?;
        let x = self.fc1.forward(&self.dropout.forward(&x)?)?.relu()?;
        self.fc2.forward(&x)
    }
}

fn main() -> Result<()> {
    manual_seed(0);
    let train = DataLoader::new(ImageClasses::digits(Split::Train)?, 32).shuffle(true);
    let test = DataLoader::new(ImageClasses::digits(Split::Test)?, 256);

    let model = Net::new();
    println!("{model}");
    let mut optimizer = Adam::new(model.parameters(), 2e-3);

    for epoch in 1..=15 {
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
