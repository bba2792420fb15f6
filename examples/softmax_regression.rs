//! Softmax regression on Fashion-MNIST: one linear layer.
//!
//! `cargo run --release --example softmax_regression`; `KILN_DATA` may name a folder that has the data set already.

use kiln::prelude::*;

mod support;

fn main() -> Result<()> {
    manual_seed(0);
    let train = DataLoader::new(ImageClasses::fashion_mnist(Split::Train, None)?, 256).shuffle(true);
    let test = DataLoader::new(ImageClasses::fashion_mnist(Split::Test, None)?, 1000);

    let model = sequential![Flatten::new(), Linear::new(784, 10)];
    let mut optimizer = SGD::new(model.parameters(), 0.1);
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
