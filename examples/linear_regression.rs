//! Linear regression with a layer, a loss and an optimizer.
//!
//! `cargo run --release --example linear_regression`

use kiln::prelude::*;

fn main() -> Result<()> {
    manual_seed(0);
    let x = Tensor::randn([1000, 2]);
    let y = x.matmul(&tensor![[2.0], [-3.4]])?.add(4.2)?.add(&Tensor::randn([1000, 1]).mul(0.01)?)?;

    let model = Linear::new(2, 1);
    let loss_fn = MSELoss::new();
    let mut optimizer = SGD::new(model.parameters(), 0.03);

    let loader = DataLoader::new(TensorDataset::new((x.clone(), y.clone()))?, 10).shuffle(true);
    let mut loss = 0.0;
    for epoch in 1..=3 {
        for batch in &loader {
            let (x, y) = batch?;
            optimizer.zero_grad();
            loss_fn.forward(&model.forward(&x)?, &y)?.backward()?;
            optimizer.step()?;
        }
        loss = no_grad(|| loss_fn.forward(&model.forward(&x)?, &y)?.to_f64())?;
        println!("epoch {epoch}, loss {loss:.6}");
    }
    let state = model.state_dict();
    let values: Vec<f32> = state.iter().map(|(_, t)| t.to_vec::<f32>()).collect::<Result<Vec<_>>>()?.concat();
    println!("result: loss={loss:.6} w0={:.4} w1={:.4} b={:.4}", values[0], values[1], values[2]);
    Ok(())
}
