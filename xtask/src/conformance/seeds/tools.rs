//! What goes with training: plots, modes, clearing gradients, clocks, and the texts of layers.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use kiln::plot::{Animator, Color, Colormap, Figure, show_images};
use kiln::prelude::*;

use super::Replay;
use super::case::Case;

/// The cases of this topic.
pub const CASES: &[(&str, Replay)] = &[
    ("scatter", |c| Ok(scatter(c)?)),
    ("line-over-scatter", |c| Ok(line_over_scatter(c)?)),
    ("show-images", |c| Ok(images(c)?)),
    ("animator", |c| Ok(animator(c)?)),
    ("timing", |c| Ok(timing(c)?)),
    ("mode-flags", |c| Ok(mode_flags(c)?)),
    ("zero-grad", |c| Ok(zero_grad(c)?)),
    ("module-texts", |c| Ok(module_texts(c)?)),
];

/// How often a piece of text occurs in a picture.
fn count(svg: &str, piece: &str) -> usize {
    svg.matches(piece).count()
}

fn scatter(case: &Case<'_>) -> Result<()> {
    let x = Tensor::arange_with(0..20, F32);
    let mut figure = Figure::new();
    figure.scatter(&x, &x.square()?)?.size(1);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("scatter.png");
    figure.savefig(&path)?;
    let saved = std::fs::read(&path)?.starts_with(b"\x89PNG");
    let all = count(&figure.to_svg()?, "<circle");
    let mut empty = Figure::new();
    empty.scatter([0.0; 0], [0.0; 0])?;
    let none = count(&empty.to_svg()?, "<circle");
    let mut broken = Figure::new();
    broken.scatter([1.0, f64::NAN, 3.0], [1.0, 2.0, f64::INFINITY])?;
    let one = count(&broken.to_svg()?, "<circle");
    case.criterion("criterion", saved && (all, none, one) == (20, 0, 1))
}

fn line_over_scatter(case: &Case<'_>) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("frame.svg");
    let x = Tensor::linspace(-1.0, 1.0, 50);
    for step in 1..=3 {
        let loss = 1.0 / f64::from(step);
        let mut figure = Figure::new();
        figure.scatter(&x, &x.square()?)?;
        figure.plot(&x, &x.mul(loss)?)?.color(Color::RED);
        figure.text(0.0, 0.0, format!("Loss={loss:.4}"));
        figure.savefig(&path)?;
    }
    let last = std::fs::read_to_string(&path)?;
    let whole = count(&last, "<circle") == 50 && last.contains("#FF0000");
    case.criterion("criterion", whole && last.contains("Loss=0.3333") && count(&last, "Loss=") == 1)
}

fn images(case: &Case<'_>) -> Result<()> {
    let titles: Vec<String> = (0..10).map(|i| format!("title {i}")).collect();
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    let ten = Tensor::rand([10, 28, 28]).unbind(0)?;
    let grid = show_images(&ten, 2, 5, &titles, Colormap::Gray)?.to_svg()?;
    let eight = Tensor::rand([8, 1, 28, 28]).squeeze()?.unbind(0)?;
    let row = show_images(&eight, 1, 8, &titles[..8], Colormap::Gray)?.to_svg()?;
    let fewer = show_images(&ten[..3], 2, 5, &titles[..3], Colormap::Gray)?.to_svg()?;
    let in_order = |svg: &str, n: usize| {
        let places: Vec<Option<usize>> = titles.iter().map(|t| svg.find(t)).collect();
        places[..n].iter().all(Option::is_some)
            && places[..n].is_sorted()
            && places[n..].iter().all(Option::is_none)
    };
    case.criterion("criterion", in_order(&grid, 10) && in_order(&row, 8) && in_order(&fewer, 3))
}

fn animator(case: &Case<'_>) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("live.svg");
    let names = ["train loss", "train acc", "test acc"];
    let mut animator = Animator::new(&names).path(&path);
    animator.axes().xlabel("epoch").xlim(1.0, 10.0)?.ylim(0.3, 0.9)?;
    let mut frames = Vec::new();
    for epoch in 1..=10 {
        let e = f64::from(epoch);
        animator.add(e, &[Some(0.9 - 0.05 * e), Some(0.5 + 0.03 * e), Some(0.5 + 0.02 * e)])?;
        frames.push(std::fs::read_to_string(&path)?);
    }
    let files = std::fs::read_dir(folder.path())?.count();
    let last = frames.pop().context("a frame")?;
    // Each of the three lines of the last frame goes through ten points, its sample in the legend through two.
    let corners = |line: &str| {
        line.split("points=\"").nth(1).map(|p| p.split('"').next().unwrap_or("").split_whitespace().count())
    };
    let lines: Vec<usize> = last.split("<polyline").filter_map(corners).collect();
    let long = lines.iter().filter(|&&n| n == 10).count();
    let named = names.iter().all(|n| last.contains(n));
    case.criterion("criterion", files == 1 && named && long == 3 && !frames.contains(&last))
}

fn timing(case: &Case<'_>) -> Result<()> {
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(2));
    let first = start.elapsed();
    let second = start.elapsed();
    let printed: f64 = format!("{:.4}", first.as_secs_f64()).parse()?;
    case.criterion("criterion", first >= Duration::from_millis(2) && second >= first && printed >= 0.002)
}

fn mode_flags(case: &Case<'_>) -> Result<()> {
    // Layers that neither learn nor behave differently have no flag; these have one or hold one.
    let inner = sequential![Linear::new(2, 2), Dropout::new(0.5)];
    let net = sequential![inner, BatchNorm1d::new(2)];
    let flags = || -> kiln::Result<Vec<bool>> {
        let mut flags = Vec::new();
        net.apply(|module| {
            flags.push(module.is_training());
            Ok(())
        })?;
        Ok(flags)
    };
    net.eval();
    case.is("eval", flags()?)?;
    net.train();
    case.is("train", flags()?)
}

fn zero_grad(case: &Case<'_>) -> Result<()> {
    let used = Tensor::ones(2).requires_grad_(true)?;
    let unused = Tensor::ones(2).requires_grad_(true)?;
    let mut optimizer = SGD::new(vec![used.clone(), unused.clone()], 0.1);
    (3 * &used).sum()?.backward()?;
    let grad = used.grad().context("a gradient")?;
    case.is("grad", grad.copy()?)?;
    optimizer.step()?;
    case.is("after_step", vec![used.detach(), unused.detach()])?;
    grad.zero_()?;
    case.is("zeros", used.grad())?;
    optimizer.zero_grad();
    case.is("none", used.grad())
}

fn module_texts(case: &Case<'_>) -> Result<()> {
    let texts = vec![
        Linear::new(2, 1).to_string(),
        Conv2d::new(1, 6, 5).to_string(),
        MaxPool2d::new(2).to_string(),
        BatchNorm2d::new(4).to_string(),
        ReLU::new().to_string(),
        Sigmoid::new().to_string(),
        Flatten::new().to_string(),
        LSTM::new(3, 4).num_layers(2).batch_first(true).to_string(),
        Identity::new().to_string(),
        ConvTranspose2d::new(3, 2, 4).stride(2).padding(1).to_string(),
        MultiheadAttention::new(8, 2).to_string(),
        sequential![Linear::new(2, 2), sequential![ReLU::new(), Linear::new(2, 1)]].to_string(),
        GRU::new(2, 3).to_string(),
        Unflatten::new(1, [2, 3]).to_string(),
        Upsample::scale([2.0]).to_string(),
    ];
    case.is("texts", texts)
}
