//! Learning to learn: weights from which one step of gradient descent on ten points of a sine wave, never seen before,
//! already fits it. The loss after the step is differentiated through the step itself, whose gradient is differentiated
//! in turn. Finn et al. (2017), arXiv:1703.03400.
//!
//! `cargo run --release --example maml`

use std::f64::consts::PI;

use kiln::plot::Figure;
use kiln::prelude::*;

/// The step size of the adaptation.
const INNER_RATE: f64 = 0.1;

/// Points of a task.
const SHOTS: usize = 10;

/// A sine wave.
struct Wave {
    amplitude: f64,
    phase: f64,
}

impl Wave {
    fn random() -> Result<Wave> {
        let uniform = || Tensor::rand([]).to_f64();
        Ok(Wave { amplitude: 0.1 + 4.9 * uniform()?, phase: PI * uniform()? })
    }

    fn at(&self, x: &Tensor) -> Result<Tensor> {
        x.add(self.phase)?.sin()?.mul(self.amplitude)
    }
}

/// Points between -5 and 5.
fn points() -> Result<Tensor> {
    Tensor::rand([SHOTS, 1]).mul(10.0)?.sub(5.0)
}

/// The network as a function of its weights and biases.
fn network(p: &[Tensor], x: &Tensor) -> Result<Tensor> {
    let h = x.linear(&p[0], Some(&p[1]))?.tanh()?;
    h.linear(&p[2], Some(&p[3]))?.tanh()?.linear(&p[4], Some(&p[5]))
}

fn loss(p: &[Tensor], x: &Tensor, wave: &Wave) -> Result<Tensor> {
    network(p, x)?.sub(&wave.at(x)?)?.square()?.mean()
}

/// The parameters after a step of gradient descent on some points, as functions of those before.
fn adapt(p: &[Tensor], x: &Tensor, wave: &Wave) -> Result<Vec<Tensor>> {
    let options = BackwardOptions { create_graph: true, ..BackwardOptions::default() };
    let inputs: Vec<&Tensor> = p.iter().collect();
    let gradients = grad(&[&loss(p, x, wave)?], &inputs, &[], options, false)?;
    p.iter().zip(gradients.into_iter().flatten()).map(|(p, g)| p.sub(&g.mul(INNER_RATE)?)).collect()
}

/// The gradient through the step is PyTorch's: at the first weights that both draw from seed 0, for one wave, the loss
/// before and after the step and the norms of the second-order gradient. Left out of the step's own derivative, the
/// last norm would be 0.2958.
fn check(p: &[Tensor]) -> Result<()> {
    const LOSSES: [f64; 2] = [2.0729825, 2.0035386];
    const NORMS: [f64; 6] = [0.2661795, 0.0956704, 0.7935749, 0.0873577, 0.7239863, 0.1848940];
    let wave = Wave { amplitude: 2.0, phase: 0.5 };
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-4 * b, "{a} instead of PyTorch's {b}");
    let here = Tensor::linspace(-5.0, 5.0, SHOTS).view([-1, 1])?;
    let there = Tensor::linspace(-4.5, 4.5, SHOTS).view([-1, 1])?;
    near(loss(p, &here, &wave)?.to_f64()?, LOSSES[0]);
    let after = loss(&adapt(p, &here, &wave)?, &there, &wave)?;
    near(after.to_f64()?, LOSSES[1]);
    let inputs: Vec<&Tensor> = p.iter().collect();
    let found = grad(&[&after], &inputs, &[], BackwardOptions::default(), false)?;
    for (g, norm) in found.iter().flatten().zip(NORMS) {
        near(g.square()?.sum()?.sqrt()?.to_f64()?, norm);
    }
    Ok(())
}

/// The mean losses on waves never seen before, before and after the step.
fn measure(p: &[Tensor], waves: usize) -> Result<[f64; 2]> {
    let mut sums = [0.0; 2];
    for _ in 0..waves {
        let (wave, x) = (Wave::random()?, Tensor::linspace(-5.0, 5.0, 100).view([-1, 1])?);
        sums[0] += loss(p, &x, &wave)?.to_f64()?;
        sums[1] += loss(&adapt(p, &points()?, &wave)?, &x, &wave)?.to_f64()?;
    }
    Ok(sums.map(|sum| sum / waves as f64))
}

fn main() -> Result<()> {
    manual_seed(0);
    let start =
        sequential![Linear::new(1, 40), Tanh::new(), Linear::new(40, 40), Tanh::new(), Linear::new(40, 1)];
    let p = start.parameters();
    check(&p)?;
    println!("the gradient through a step of gradient descent is PyTorch's");
    let untrained = measure(&p, 100)?;

    let (steps, tasks) = (1500, 4);
    let mut optimizer = Adam::new(start.parameters(), 2e-3);
    let mut recent = 0.0;
    for step in 1..=steps {
        let mut total = Tensor::zeros([]);
        for _ in 0..tasks {
            let wave = Wave::random()?;
            let adapted = adapt(&p, &points()?, &wave)?;
            total = total.add(&loss(&adapted, &points()?, &wave)?)?;
        }
        let mean = total.div(tasks as f64)?;
        optimizer.zero_grad();
        mean.backward()?;
        optimizer.step()?;
        recent += mean.to_f64()? / 300.0;
        if step % 300 == 0 {
            println!("step {step}, mean loss after adaptation {recent:.4}");
            recent = 0.0;
        }
    }

    let [before, after] = measure(&p, 200)?;
    println!(
        "untrained: {:.3} before, {:.3} after a step; trained: {before:.3}, {after:.3}",
        untrained[0], untrained[1]
    );
    let (wave, x, seen) = (Wave { amplitude: 3.0, phase: 1.0 }, Tensor::linspace(-5.0, 5.0, 200), points()?);
    let column = x.view([-1, 1])?;
    let mut figure = Figure::new();
    figure.plot(&x, wave.at(&x)?)?.label("the wave");
    figure.scatter(&seen, wave.at(&seen)?)?.label("points seen").size(4);
    figure.plot(&x, network(&p, &column)?)?.label("before").dashed();
    figure.plot(&x, network(&adapt(&p, &seen, &wave)?, &column)?)?.label("after one step");
    figure.title("Adapting to a wave").xlabel("x").ylabel("y").legend().grid();
    let path = std::env::temp_dir().join("kiln_maml.svg");
    figure.savefig(&path)?;
    println!("plot: {}", path.display());
    println!("result: before={before:.4} after={after:.4} untrained_after={:.4}", untrained[1]);
    Ok(())
}
