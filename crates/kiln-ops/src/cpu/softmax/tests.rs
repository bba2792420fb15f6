//! Softmax and class losses against f64 references and PyTorch's numbers.

use kiln_storage::bf16;

use super::*;

fn noise(n: usize, scale: f32) -> Vec<f32> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 40) as f32 / (1 << 23) as f32 - 1.0) * scale
    };
    (0..n).map(next).collect()
}

/// Short rows in whole and broken tiles, longer rows, columns in one and several blocks.
const SHAPES: [Axis; 10] = [
    Axis { outer: 3, n: 1, inner: 1 },
    Axis { outer: 37, n: 10, inner: 1 },
    Axis { outer: 16, n: 31, inner: 1 },
    Axis { outer: 5, n: 33, inner: 1 },
    Axis { outer: 9, n: 1000, inner: 1 },
    Axis { outer: 2, n: 70_001, inner: 1 },
    Axis { outer: 3, n: 5, inner: 7 },
    Axis { outer: 2, n: 70, inner: 300 },
    Axis { outer: 0, n: 5, inner: 7 },
    Axis { outer: 2, n: 5, inner: 0 },
];

fn at(a: Axis, line: usize, j: usize) -> usize {
    (line / a.inner * a.n + j) * a.inner + line % a.inner
}

fn log_softmax64(x: &[f64], a: Axis) -> Vec<f64> {
    let mut y = vec![0.0; x.len()];
    for line in 0..a.results() {
        let max = (0..a.n).map(|j| x[at(a, line, j)]).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = (0..a.n).map(|j| (x[at(a, line, j)] - max).exp()).sum();
        for j in 0..a.n {
            y[at(a, line, j)] = x[at(a, line, j)] - max - sum.ln();
        }
    }
    y
}

fn close<T: Float>(got: &[T], want: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), want.len());
    for (i, (g, &w)) in got.iter().zip(want).enumerate() {
        let g = g.to_f64();
        assert!((g - w).abs() <= tolerance * (1e-2 + w.abs()), "{what} at {i}: {g} instead of {w}");
    }
}

fn check<T: Float>(tolerance: f64) {
    for a in SHAPES {
        let x: Vec<T> = noise(a.len(), 6.0).into_iter().map(T::from_f32).collect();
        let g: Vec<T> = noise(a.len() + 1, 1.0)[1..].iter().map(|&v| T::from_f32(v)).collect();
        let x64: Vec<f64> = x.iter().map(|v| v.to_f64()).collect();
        let logs = log_softmax64(&x64, a);
        for log in [false, true] {
            let want: Vec<f64> = logs.iter().map(|&v| if log { v } else { v.exp() }).collect();
            let mut y = vec![T::default(); a.len()];
            softmax(&x, a, log, &mut y);
            close(&y, &want, tolerance, &format!("softmax, log {log}, {a:?}"));
            let mut gx = vec![T::default(); a.len()];
            softmax_backward(&y, &g, a, log, &mut gx);
            // From the rounded result that the kernel sees.
            let (y, g): (Vec<f64>, Vec<f64>) =
                y.iter().zip(&g).map(|(y, g)| (y.to_f64(), g.to_f64())).unzip();
            let mut want = vec![0.0; a.len()];
            for line in 0..a.results() {
                let of = |v: &[f64], j| v[at(a, line, j)];
                let sum: f64 = (0..a.n).map(|j| if log { of(&g, j) } else { of(&g, j) * of(&y, j) }).sum();
                for j in 0..a.n {
                    let (y, g) = (of(&y, j), of(&g, j));
                    want[at(a, line, j)] = if log { g - y.exp() * sum } else { (g - sum) * y };
                }
            }
            let loose = 20.0;
            close(&gx, &want, loose * tolerance, &format!("softmax_backward, log {log}, {a:?}"));
        }
    }
}

#[test]
fn softmax_and_gradients_agree_with_f64() {
    check::<f32>(3e-6);
    check::<f64>(1e-13);
    check::<bf16>(1e-2);
}

#[test]
fn softmax_of_infinities_is_pytorchs() {
    let inf = f32::INFINITY;
    let run = |x: [f32; 2]| {
        let mut y = [0.0; 2];
        softmax(&x, Axis::all(2), false, &mut y);
        y
    };
    assert_eq!(run([-inf, 1.0]), [0.0, 1.0]);
    assert!(run([-inf, -inf]).iter().all(|v| v.is_nan()));
    assert!(run([inf, 1.0]).iter().any(|v| v.is_nan()));
}

/// The loss and its gradient for the logits by the definition.
fn reference(x: &[f64], t: &[i64], a: Axis, o: &CrossEntropy<'_, f32>, g: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let w = |c: usize| o.weight.map_or(1.0, |w| w[c] as f64);
    let logs = log_softmax64(x, a);
    let eps = o.label_smoothing;
    let kept = |l: usize| t[l] != o.ignore_index;
    let total: f64 = (0..t.len()).filter(|&l| kept(l)).map(|l| w(t[l] as usize)).sum();
    let q = |l: usize, c: usize| {
        let hit = if t[l] as usize == c { (1.0 - eps) * w(c) } else { 0.0 };
        hit + eps / a.n as f64 * w(c)
    };
    let losses: Vec<f64> = (0..t.len())
        .map(|l| if kept(l) { (0..a.n).map(|c| -q(l, c) * logs[at(a, l, c)]).sum() } else { 0.0 })
        .collect();
    let scale = |l: usize| match o.reduction {
        Reduction::None => g[l],
        Reduction::Sum => g[0],
        Reduction::Mean => g[0] / total,
    };
    let mut gx = vec![0.0; x.len()];
    for l in (0..t.len()).filter(|&l| kept(l)) {
        let all: f64 = (0..a.n).map(|c| q(l, c)).sum();
        for c in 0..a.n {
            gx[at(a, l, c)] = scale(l) * (all * logs[at(a, l, c)].exp() - q(l, c));
        }
    }
    let out = match o.reduction {
        Reduction::None => losses,
        Reduction::Sum => vec![losses.iter().sum()],
        Reduction::Mean => vec![losses.iter().sum::<f64>() / total],
    };
    (out, gx)
}

#[test]
fn cross_entropy_agrees_with_its_definition() {
    for a in SHAPES.into_iter().filter(|a| !a.is_empty() && a.n < 2000) {
        let x = noise(a.len(), 5.0);
        let x64: Vec<f64> = x.iter().map(|&v| v as f64).collect();
        let mut t: Vec<i64> = (0..a.results()).map(|l| (l * 7 % a.n) as i64).collect();
        let weight: Vec<f32> = noise(a.n, 0.5).iter().map(|v| v + 1.0).collect();
        for (ignore, smoothing, weighted) in
            [(false, 0.0, false), (true, 0.0, true), (true, 0.1, false), (false, 0.2, true)]
        {
            if ignore {
                t[0] = -100;
            }
            for reduction in [Reduction::None, Reduction::Mean, Reduction::Sum] {
                let o = CrossEntropy {
                    weight: weighted.then_some(&weight[..]),
                    label_smoothing: smoothing,
                    reduction,
                    ..CrossEntropy::default()
                };
                let count = if reduction == Reduction::None { t.len() } else { 1 };
                if t.iter().all(|&t| t == -100) {
                    continue;
                }
                let g = noise(count, 1.0);
                let g64: Vec<f64> = g.iter().map(|&v| v as f64).collect();
                let (want, want_gx) = reference(&x64, &t, a, &o, &g64);
                let what = format!("{a:?} {smoothing} {weighted} {reduction:?}");
                let (mut out, mut stats) = (vec![0.0; count], vec![0.0; 2 * t.len()]);
                cross_entropy(&x, &t, a, &o, &mut out, &mut stats).unwrap();
                close(&out, &want, 1e-5, &what);
                let mut gx = vec![7.0; a.len()];
                cross_entropy_backward(&x, &t, a, &o, &stats, &g, &mut gx).unwrap();
                close(&gx, &want_gx, 1e-4, &what);
                if smoothing == 0.0 {
                    let mut logs = vec![0.0; a.len()];
                    softmax(&x, a, true, &mut logs);
                    nll_loss(&logs, &t, a, &o, &mut out).unwrap();
                    close(&out, &want, 1e-5, &what);
                    let mut glog = vec![7.0; a.len()];
                    nll_loss_backward(&t, a, &o, &g, &mut glog).unwrap();
                    softmax_backward(&logs, &glog, a, true, &mut gx);
                    close(&gx, &want_gx, 1e-4, &what);
                }
            }
        }
    }
}

#[test]
fn a_target_that_is_no_class_is_named_and_nothing_written() {
    let a = Axis { outer: 2, n: 3, inner: 1 };
    let (mut out, mut stats) = ([7.0f32], [7.0f32; 4]);
    for bad in [3, -1] {
        let e = cross_entropy(&[0.0; 6], &[0, bad], a, &CrossEntropy::default(), &mut out, &mut stats)
            .unwrap_err();
        assert!(
            e.to_string().contains(&format!("Target {bad} is out of bounds: there are 3 classes")),
            "{e}"
        );
        assert!(nll_loss(&[0.0f32; 6], &[0, bad], a, &CrossEntropy::default(), &mut out).is_err());
    }
    assert_eq!((out, stats), ([7.0], [7.0; 4]));
    cross_entropy(&[0.0; 6], &[-100, -100], a, &CrossEntropy::default(), &mut out, &mut stats).unwrap();
    assert!(out[0].is_nan());
}
