//! Linear regression with nothing but tensors and their gradients: data, model, loss and update by hand.
//!
//! `cargo run --release --example linear_regression_scratch`

use kiln::prelude::*;

fn main() -> Result<()> {
    manual_seed(0);
    let true_w = tensor![2.0, -3.4];
    let true_b = 4.2;
    let x = Tensor::randn([1000, 2]);
    let y = x.matmul(&true_w)?.add(true_b)?.add(&Tensor::randn([1000]).mul(0.01)?)?;

    let w = Tensor::randn([2]).mul(0.01)?.requires_grad_(true)?;
    let b = Tensor::zeros([]).requires_grad_(true)?;

    let loader = DataLoader::new(TensorDataset::new((x.clone(), y.clone()))?, 10).shuffle(true);
    let learning_rate = 0.03;
    let mut loss = 0.0;
    for epoch in 1..=3 {
        for batch in &loader {
            let (x, y) = batch?;
            let error = x.matmul(&w)?.add(&b)?.sub(&y)?;
            let loss = error.square()?.div(2.0)?.mean()?;
            loss.backward()?;
            no_grad(|| {
                for p in [&w, &b] {
                    if let Some(g) = p.grad() {
                        p.sub_(&g.mul(learning_rate)?)?;
                    }
                    p.zero_grad();
                }
                Ok::<_, Error>(())
            })?;
        }
        loss = no_grad(|| x.matmul(&w)?.add(&b)?.sub(&y)?.square()?.div(2.0)?.mean()?.to_f64())?;
        println!("epoch {epoch}, loss {loss:.6}");
    }
    println!("w = {w}\nb = {b}");
    let w = w.detach().to_vec::<f32>()?;
    println!("result: loss={loss:.6} w0={:.4} w1={:.4} b={:.4}", w[0], w[1], b.detach().to_f64()?);
    Ok(())
}
