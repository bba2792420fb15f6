//! Normalisation against f64 references and PyTorch's numbers.

use super::*;
use crate::cpu::reduce::Axis;

fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64 ^ (seed << 32);
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(next).collect()
}

fn close(got: &[f32], want: &[f64], what: &str) {
    assert_eq!(got.len(), want.len());
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        assert!((g as f64 - w).abs() < 1e-5 * (1.0 + w.abs()), "{what} at {i}: {g} instead of {w}");
    }
}

/// The gradient of `sum(g * f(x))` for `x` by central differences.
fn numeric(x: &[f64], g: &[f32], f: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let value = |x: &[f64]| f(x).iter().zip(g).map(|(y, &g)| y * g as f64).sum::<f64>();
    let mut x = x.to_vec();
    (0..x.len())
        .map(|i| {
            let (at, h) = (x[i], 1e-5);
            x[i] = at + h;
            let up = value(&x);
            x[i] = at - h;
            let down = value(&x);
            x[i] = at;
            (up - down) / (2.0 * h)
        })
        .collect()
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&v| v as f64).collect()
}

const EPS: f64 = 1e-5;

/// Batch norm with the input's own statistics or with the given ones.
fn batch(x: &[f64], a: Axis, w: &[f64], b: &[f64], given: Option<(&[f64], &[f64])>) -> Vec<f64> {
    let channel = |i: usize| i / a.inner % a.n;
    let mut y = vec![0.0; x.len()];
    for c in 0..a.n {
        let of: Vec<usize> = (0..x.len()).filter(|&i| channel(i) == c).collect();
        let (mean, var) = given.map_or_else(
            || {
                let mean = of.iter().map(|&i| x[i]).sum::<f64>() / of.len() as f64;
                (mean, of.iter().map(|&i| (x[i] - mean).powi(2)).sum::<f64>() / of.len() as f64)
            },
            |(m, v)| (m[c], v[c]),
        );
        for i in of {
            y[i] = (x[i] - mean) / (var + EPS).sqrt() * w[c] + b[c];
        }
    }
    y
}

#[test]
fn batch_norm_and_its_gradients() {
    for a in [
        Axis { outer: 7, n: 5, inner: 1 },
        Axis { outer: 3, n: 4, inner: 9 },
        Axis { outer: 2, n: 2, inner: 70 },
    ] {
        let (x, g) = (noise(a.len(), 1), noise(a.len(), 2));
        let (w, b) = (noise(a.n, 3), noise(a.n, 4));
        let (mut mean, mut var) = (vec![0.0; a.n], vec![0.0; a.n]);
        batch_norm_stats(&x, a, &mut mean, &mut var);
        let given: (Vec<f64>, Vec<f64>) =
            (wide(&noise(a.n, 5)), noise(a.n, 6).iter().map(|v| v.abs() as f64 + 0.1).collect());
        for own in [true, false] {
            let norm = BatchNorm { axis: a, eps: EPS, own };
            let stats = if own { [&mean[..], &var] } else { [&given.0[..], &given.1] };
            let fixed = (!own).then_some((&given.0[..], &given.1[..]));
            let mut y = vec![0.0; x.len()];
            batch_norm_apply(&x, &norm, stats, Some(&w), Some(&b), &mut y);
            let (x64, w64, b64) = (wide(&x), wide(&w), wide(&b));
            close(&y, &batch(&x64, a, &w64, &b64, fixed), "y");
            let (mut gx, mut gw, mut gb) = (vec![0.0; x.len()], vec![0.0; a.n], vec![0.0; a.n]);
            let grads = BatchGrads { x: &mut gx, weight: &mut gw, bias: &mut gb };
            batch_norm_backward(&x, &g, &norm, stats, Some(&w), grads);
            close(&gx, &numeric(&x64, &g, |x| batch(x, a, &w64, &b64, fixed)), "gx");
            close(&gw, &numeric(&w64, &g, |w| batch(&x64, a, w, &b64, fixed)), "gw");
            close(&gb, &numeric(&b64, &g, |b| batch(&x64, a, &w64, b, fixed)), "gb");
        }
    }
}

fn rows(x: &[f64], n: usize, center: bool, w: &[f64], b: &[f64]) -> Vec<f64> {
    let mut y = Vec::new();
    for x in x.chunks(n) {
        let mean = if center { x.iter().sum::<f64>() / n as f64 } else { 0.0 };
        let var = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64;
        y.extend(x.iter().zip(w).zip(b).map(|((v, w), b)| (v - mean) / (var + EPS).sqrt() * w + b));
    }
    y
}

#[test]
fn row_norms_and_their_gradients() {
    for (count, n) in [(1, 1), (5, 7), (70, 3), (2, 130)] {
        for center in [true, false] {
            let norm = RowNorm { n, center, eps: EPS };
            let (x, g) = (noise(count * n, 1), noise(count * n, 2));
            let (w, b) = (noise(n, 3), noise(n, 4));
            let (x64, w64, b64) = (wide(&x), wide(&w), wide(&b));
            let (ones, zeros) = (vec![1.0; n], vec![0.0; n]);
            let (mut y, mut stats) = (vec![0.0; x.len()], vec![0.0; 2 * count]);
            row_norm(&x, norm, None, None, &mut y, &mut stats);
            close(&y, &rows(&x64, n, center, &ones, &zeros), "plain");
            let mut gx = vec![0.0; x.len()];
            row_norm_backward(&x, &g, norm, &stats, None, &mut gx, &mut [], &mut []);
            close(&gx, &numeric(&x64, &g, |x| rows(x, n, center, &ones, &zeros)), "plain gx");
            row_norm(&x, norm, Some(&w), Some(&b), &mut y, &mut stats);
            close(&y, &rows(&x64, n, center, &w64, &b64), "y");
            let (mut gw, mut gb) = (vec![0.0; n], vec![0.0; n]);
            row_norm_backward(&x, &g, norm, &stats, Some(&w), &mut gx, &mut gw, &mut gb);
            close(&gx, &numeric(&x64, &g, |x| rows(x, n, center, &w64, &b64)), "gx");
            close(&gw, &numeric(&w64, &g, |w| rows(&x64, n, center, w, &b64)), "gw");
            close(&gb, &numeric(&b64, &g, |b| rows(&x64, n, center, &w64, b)), "gb");
        }
    }
}

#[test]
fn row_norms_that_go_past_the_caches() {
    // Rows that begin with a line of memory, and rows that do not; both longer than what is computed at once.
    for n in [1040, 1025] {
        let count = 4200;
        let norm = RowNorm { n, center: true, eps: EPS };
        let (x, w, b) = (noise(count * n, 1), noise(n, 3), noise(n, 4));
        let (mut y, mut stats) = (vec![0.0; x.len()], vec![0.0; 2 * count]);
        row_norm(&x, norm, Some(&w), Some(&b), &mut y, &mut stats);
        close(&y, &rows(&wide(&x), n, true, &wide(&w), &wide(&b)), "y");
    }
}

/// Each row of `norm` normalised; weights and biases belong to channels.
fn groups(x: &[f64], norm: GroupNorm, w: &[f64], b: &[f64]) -> Vec<f64> {
    let GroupNorm { groups, channels, inner, .. } = norm;
    let (ones, zeros) = (vec![1.0; norm.row()], vec![0.0; norm.row()]);
    let unit = rows(x, norm.row(), true, &ones, &zeros);
    let channel = |i: usize| i / inner % (groups * channels);
    unit.iter().enumerate().map(|(i, v)| v * w[channel(i)] + b[channel(i)]).collect()
}

#[test]
fn group_norms_and_their_gradients() {
    for (batch, groups_, channels, inner) in
        [(1, 1, 1, 2), (3, 2, 3, 5), (2, 4, 1, 70), (70, 1, 2, 1), (1, 1, 2, 1100)]
    {
        let norm = GroupNorm { groups: groups_, channels, inner, eps: EPS };
        let (c, count) = (groups_ * channels, batch * groups_);
        let (x, g) = (noise(count * norm.row(), 1), noise(count * norm.row(), 2));
        let (w, b) = (noise(c, 3), noise(c, 4));
        let (x64, w64, b64) = (wide(&x), wide(&w), wide(&b));
        let (ones, zeros) = (vec![1.0; c], vec![0.0; c]);
        let (mut y, mut stats) = (vec![0.0; x.len()], vec![0.0; 2 * count]);
        group_norm(&x, norm, None, None, &mut y, &mut stats);
        close(&y, &groups(&x64, norm, &ones, &zeros), "plain");
        group_norm(&x, norm, Some(&w), Some(&b), &mut y, &mut stats);
        close(&y, &groups(&x64, norm, &w64, &b64), "y");
        let (mut gx, mut gw, mut gb) = (vec![0.0; x.len()], vec![0.0; c], vec![0.0; c]);
        group_norm_backward(&x, &g, norm, &stats, Some(&w), &mut gx, &mut gw, &mut gb);
        close(&gw, &numeric(&w64, &g, |w| groups(&x64, norm, w, &b64)), "gw");
        close(&gb, &numeric(&b64, &g, |b| groups(&x64, norm, &w64, b)), "gb");
        if x.len() <= 1000 {
            close(&gx, &numeric(&x64, &g, |x| groups(x, norm, &w64, &b64)), "gx");
            group_norm_backward(&x, &g, norm, &stats, None, &mut gx, &mut [], &mut []);
            close(&gx, &numeric(&x64, &g, |x| groups(x, norm, &ones, &zeros)), "plain gx");
        }
    }
}

#[test]
fn batch_statistics_of_long_rows_far_from_zero() {
    // Longer than what is summed at once, so that means and distances of parts are put together.
    let a = Axis { outer: 2, n: 2, inner: 40_000 };
    let x: Vec<f32> = noise(a.len(), 7)
        .iter()
        .zip(0..)
        .map(|(v, i)| v + if i < 50_000 { 1000.0 } else { -200.0 })
        .collect();
    let (mut mean, mut var) = (vec![0.0; 2], vec![0.0; 2]);
    batch_norm_stats(&x, a, &mut mean, &mut var);
    for c in 0..2 {
        let of: Vec<f64> = (0..x.len()).filter(|i| i / a.inner % 2 == c).map(|i| x[i] as f64).collect();
        let m = of.iter().sum::<f64>() / of.len() as f64;
        let v = of.iter().map(|x| (x - m).powi(2)).sum::<f64>() / of.len() as f64;
        assert!((mean[c] - m).abs() < 1e-10 * m.abs() && (var[c] - v).abs() < 1e-10 * v, "{mean:?} {var:?}");
    }
}
