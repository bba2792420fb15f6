//! A critic that tells two normal distributions apart, kept to slopes of 1 by a gradient penalty: the norm of its
//! gradient with respect to its input is part of the loss, which is then differentiated with respect to the weights. The
//! best such critic's advantage is the Wasserstein distance, which for two distributions of one shape is how far they
//! are apart. Gulrajani et al. (2017), arXiv:1704.00028.
//!
//! `cargo run --release --example gradient_penalty`

use kiln::prelude::*;

/// How far the second distribution is moved, along each axis.
const SHIFT: [f64; 2] = [1.5, -2.0];

/// The norm of the critic's gradient at each sample, as a tensor with a history.
fn slopes(critic: &Sequential, x: &Tensor) -> Result<Tensor> {
    let x = x.detach().requires_grad_(true)?;
    let score = critic.forward(&x)?.sum()?;
    let options = BackwardOptions { create_graph: true, ..BackwardOptions::default() };
    let found = grad(&[&score], &[&x], &[], options, false)?.into_iter().next().flatten();
    found.ok_or_else(|| Error::value("slopes", "the score does not depend on x"))?.vector_norm(
        2.0,
        &[1],
        false,
    )
}

fn main() -> Result<()> {
    manual_seed(0);
    let critic =
        sequential![Linear::new(2, 32), SiLU::new(), Linear::new(32, 32), SiLU::new(), Linear::new(32, 1)];
    let mut optimizer = Adam::new(critic.parameters(), 1e-3).betas((0.5, 0.9));
    let shift = tensor![SHIFT[0], SHIFT[1]];
    // The heavier the penalty, the closer the slopes come to 1 and the advantage to the distance.
    let (batch, weight) = (128, 100.0);
    let samples = |n: usize| -> Result<(Tensor, Tensor)> {
        Ok((Tensor::randn([n, 2]), Tensor::randn([n, 2]).add(&shift)?))
    };
    let advantage = |a: &Tensor, b: &Tensor| critic.forward(b)?.mean()?.sub(&critic.forward(a)?.mean()?);

    for step in 1..=1500 {
        let (a, b) = samples(batch)?;
        // The penalty is asked for between the distributions.
        let between = a.lerp(&b, &Tensor::rand([batch, 1]))?;
        let penalty = (slopes(&critic, &between)? - 1.0).square()?.mean()?;
        let gain = advantage(&a, &b)?;
        let loss = weight * penalty - &gain;
        optimizer.zero_grad();
        loss.backward()?;
        optimizer.step()?;
        if step % 300 == 0 {
            println!("step {step}, advantage {:.4}", gain.to_f64()?);
        }
    }

    let (a, b) = samples(20_000)?;
    let found = no_grad(|| advantage(&a, &b))?.to_f64()?;
    let slope = slopes(&critic, &a.lerp(&b, 0.5)?)?.mean()?.to_f64()?;
    let distance = (SHIFT[0] * SHIFT[0] + SHIFT[1] * SHIFT[1]).sqrt();
    println!("the distributions are {distance} apart; mean slope {slope:.4}");
    println!("result: distance={found:.4} exact={distance} slope={slope:.4}");
    Ok(())
}
