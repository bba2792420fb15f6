//! A network learns the solution of a differential equation from the equation alone: y'' = -y with y(0) = 0 and
//! y'(0) = 1, which is the sine. The loss is the residual of the equation, so that derivatives with respect to the
//! input are themselves differentiated with respect to the weights. Raissi et al. (2019), arXiv:1711.10561.
//!
//! `cargo run --release --example physics_informed`

use std::f64::consts::PI;

use kiln::plot::Figure;
use kiln::prelude::*;

/// dy/dx of each sample, as a tensor with a history.
fn slope(y: &Tensor, x: &Tensor) -> Result<Tensor> {
    let options = BackwardOptions { create_graph: true, ..BackwardOptions::default() };
    let found = grad(&[&y.sum()?], &[x], &[], options, false)?.into_iter().next().flatten();
    found.ok_or_else(|| Error::value("slope", "y does not depend on x"))
}

fn main() -> Result<()> {
    manual_seed(0);
    let net =
        sequential![Linear::new(1, 32), Tanh::new(), Linear::new(32, 32), Tanh::new(), Linear::new(32, 1)];
    // The initial values hold whatever the network says: y = x + x^2 net(x).
    let solution = |x: &Tensor| -> Result<Tensor> { Ok(x + x.square()? * net.forward(x)?) };

    let steps = 1500;
    let mut optimizer = Adam::new(net.parameters(), 3e-3);
    let mut scheduler = CosineAnnealingLR::new(steps).on(&mut optimizer)?;
    let x = Tensor::linspace(0.0, PI, 64).view([-1, 1])?.requires_grad_(true)?;
    let mut last = 0.0;
    for step in 1..=steps {
        let y = solution(&x)?;
        let curvature = slope(&slope(&y, &x)?, &x)?;
        let loss = (curvature + y).square()?.mean()?;
        optimizer.zero_grad();
        loss.backward()?;
        optimizer.step()?;
        scheduler.step(&mut optimizer)?;
        last = loss.to_f64()?;
        if step % 300 == 0 {
            println!("step {step}, mean squared residual {last:.2e}");
        }
    }

    // Between the points of training.
    let x = Tensor::linspace(0.0, PI, 501).view([-1, 1])?.requires_grad_(true)?;
    let y = solution(&x)?;
    let slope_at_pi = slope(&y, &x)?.i((-1, 0))?.to_f64()?;
    let (x, y) = (x.detach(), y.detach());
    let sine = x.sin()?;
    let error = (&y - &sine).abs()?.max()?.to_f64()?;
    let mut figure = Figure::new();
    figure.plot(&x, &sine)?.label("sin(x)").size(5);
    figure.plot(&x, &y)?.label("network").dashed();
    figure.title("Solution of y'' = -y").xlabel("x").ylabel("y").legend().grid();
    let path = std::env::temp_dir().join("kiln_physics_informed.svg");
    figure.savefig(&path)?;
    println!("plot: {}", path.display());
    println!("largest error against the sine {error:.2e}; y'(pi) = {slope_at_pi:.4}, which should be -1");
    println!("result: max_error={error:.6} slope_at_pi={slope_at_pi:.4} residual={last:.3e}");
    Ok(())
}
