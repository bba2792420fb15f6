//! Attention, which goes by blocks of queries, against its definition row by row.

use kiln_autograd::{AttentionOptions, BackwardOptions, F64, Result, Tensor, grad};

/// The weight of each key for one query, from scores in double precision; zeros if it sees none.
fn weights(scores: &[f64]) -> Vec<f64> {
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if top == f64::NEG_INFINITY {
        return vec![0.0; scores.len()];
    }
    let e: Vec<f64> = scores.iter().map(|s| (s - top).exp()).collect();
    let sum: f64 = e.iter().sum();
    e.iter().map(|e| e / sum).collect()
}

/// A sequence `[rows, width]` of numbers without order, between -1 and 1.
fn sequence(rows: usize, width: usize, salt: usize) -> Vec<f64> {
    (0..rows * width).map(|i| ((i * 7919 + salt * 104729) % 2003) as f64 / 1001.5 - 1.0).collect()
}

struct Case {
    l: usize,
    s: usize,
    causal: bool,
    /// Which query sees which key.
    sees: fn(usize, usize) -> bool,
}

const E: usize = 4;
const V: usize = 3;

/// The result, and the gradients of the sum of result times `g`, by the definition.
fn defined(case: &Case, q: &[f64], k: &[f64], v: &[f64], g: &[f64]) -> [Vec<f64>; 4] {
    let (l, s, scale) = (case.l, case.s, 1.0 / (E as f64).sqrt());
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut y = vec![0.0; l * V];
    let (mut gq, mut gk, mut gv) = (vec![0.0; l * E], vec![0.0; s * E], vec![0.0; s * V]);
    for i in 0..l {
        let qi = &q[i * E..(i + 1) * E];
        let scores: Vec<f64> = (0..s)
            .map(|j| match (case.sees)(i, j) {
                true => dot(qi, &k[j * E..(j + 1) * E]) * scale,
                false => f64::NEG_INFINITY,
            })
            .collect();
        let w = weights(&scores);
        let gi = &g[i * V..(i + 1) * V];
        let by_weight: Vec<f64> = (0..s).map(|j| dot(gi, &v[j * V..(j + 1) * V])).collect();
        let mean = dot(&w, &by_weight);
        for j in 0..s {
            for c in 0..V {
                y[i * V + c] += w[j] * v[j * V + c];
                gv[j * V + c] += w[j] * gi[c];
            }
            let by_score = w[j] * (by_weight[j] - mean) * scale;
            for c in 0..E {
                gq[i * E + c] += by_score * k[j * E + c];
                gk[j * E + c] += by_score * qi[c];
            }
        }
    }
    [y, gq, gk, gv]
}

fn near(got: &Tensor, want: &[f64]) {
    let got = got.to_vec::<f64>().unwrap();
    assert_eq!(got.len(), want.len());
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() < 1e-12, "element {i} is {g}, expected {w}");
    }
}

fn leaf(values: &[f64], rows: usize, width: usize) -> Result<Tensor> {
    Tensor::from_vec(values.to_vec(), [1, 1, rows, width])?.requires_grad_(true)
}

#[test]
fn long_sequences_follow_the_definition() -> Result<()> {
    let all = |_: usize, _: usize| true;
    let cases = [
        Case { l: 300, s: 5, causal: false, sees: all },
        Case { l: 259, s: 300, causal: true, sees: |i, j| j <= i },
        Case { l: 300, s: 200, causal: true, sees: |i, j| j <= i },
        Case { l: 300, s: 7, causal: false, sees: |i, j| i % 5 != 0 && (i + j) % 3 != 0 },
    ];
    for case in &cases {
        let (l, s) = (case.l, case.s);
        let (q, k, v, g) = (sequence(l, E, 1), sequence(s, E, 2), sequence(s, V, 3), sequence(l, V, 4));
        let [y, gq, gk, gv] = defined(case, &q, &k, &v, &g);
        let (q, k, v) = (leaf(&q, l, E)?, leaf(&k, s, E)?, leaf(&v, s, V)?);
        let seen: Vec<bool> = (0..l * s).map(|i| (case.sees)(i / s, i % s)).collect();
        let mask = Tensor::from_vec(seen, [l, s])?;
        let added =
            mask.logical_not()?.to_dtype(F64)?.masked_fill(&mask.logical_not()?, f64::NEG_INFINITY)?;
        let masks = if case.causal { vec![None] } else { vec![Some(&mask), Some(&added)] };
        for mask in masks {
            let options = AttentionOptions { mask, is_causal: case.causal, ..AttentionOptions::default() };
            let got = q.scaled_dot_product_attention(&k, &v, &options)?;
            near(&got, &y);
            let upstream = Tensor::from_vec(g.clone(), [1, 1, l, V])?;
            for create_graph in [false, true] {
                let how = BackwardOptions { retain_graph: true, create_graph };
                let found = grad(&[&got], &[&q, &k, &v], &[Some(&upstream)], how, false)?;
                for (found, want) in found.iter().zip([&gq, &gk, &gv]) {
                    near(&found.as_ref().expect("a gradient").detach(), want);
                }
            }
        }
    }
    Ok(())
}

#[test]
fn long_sequences_share_keys_among_heads() -> Result<()> {
    // Keys of one sequence for two of queries: the gradient is the sum of both.
    let q = Tensor::from_vec(sequence(600, E, 1), [2, 1, 300, E])?.requires_grad_(true)?;
    let k = Tensor::from_vec(sequence(9, E, 2), [1, 1, 9, E])?.requires_grad_(true)?;
    let v = Tensor::from_vec(sequence(9, V, 3), [1, 1, 9, V])?.requires_grad_(true)?;
    let options = AttentionOptions::default();
    q.scaled_dot_product_attention(&k, &v, &options)?.sum()?.backward()?;
    let both = k.grad().expect("a gradient");
    let case = Case { l: 300, s: 9, causal: false, sees: |_, _| true };
    let mut want = vec![0.0; 9 * E];
    for half in 0..2 {
        let own = sequence(600, E, 1)[half * 300 * E..(half + 1) * 300 * E].to_vec();
        let [_, _, gk, _] = defined(&case, &own, &sequence(9, E, 2), &sequence(9, V, 3), &vec![1.0; 300 * V]);
        want.iter_mut().zip(gk).for_each(|(w, g)| *w += g);
    }
    assert_eq!(both.dims(), [1, 1, 9, E]);
    near(&both, &want);
    Ok(())
}

#[test]
fn each_sequence_of_a_batch_has_its_own_mask() -> Result<()> {
    const L: usize = 70;
    const S: usize = 6;
    let sees: [fn(usize, usize) -> bool; 2] = [|_, j| j < 4, |_, j| j != 2];
    let (q, k, v) = (sequence(4 * L, E, 1), sequence(4 * S, E, 2), sequence(4 * S, V, 3));
    let of = |t: &[f64], rows, width| Tensor::from_vec(t.to_vec(), [2, 2, rows, width])?.requires_grad_(true);
    let (tq, tk, tv) = (of(&q, L, E)?, of(&k, S, E)?, of(&v, S, V)?);
    let seen: Vec<bool> = (0..2 * S).map(|i| sees[i / S](0, i % S)).collect();
    let mask = Tensor::from_vec(seen, [2, 1, 1, S])?;
    let options = AttentionOptions { mask: Some(&mask), ..AttentionOptions::default() };
    let y = tq.scaled_dot_product_attention(&tk, &tv, &options)?;
    y.sum()?.backward()?;
    let mut want: [Vec<f64>; 4] = Default::default();
    for head in 0..4 {
        let case = Case { l: L, s: S, causal: false, sees: sees[head / 2] };
        let own = |t: &[f64], len: usize| t[head * len..(head + 1) * len].to_vec();
        let found = defined(&case, &own(&q, L * E), &own(&k, S * E), &own(&v, S * V), &vec![1.0; L * V]);
        want.iter_mut().zip(found).for_each(|(want, found)| want.extend(found));
    }
    let gradients = [&tq, &tk, &tv].map(|t| t.grad().expect("a gradient"));
    near(&y.detach(), &want[0]);
    gradients.iter().zip(&want[1..]).for_each(|(got, want)| near(got, want));
    Ok(())
}

#[test]
fn without_keys_or_width_there_is_still_a_result() -> Result<()> {
    let options = AttentionOptions { scale: Some(1.0), ..AttentionOptions::default() };
    // No key to look at gives zeros, scores without terms give the mean of the values.
    for (s, e, want) in [(0, 2, vec![0.0; 3]), (2, 0, vec![2.0; 3])] {
        let (q, k) = (Tensor::ones([3, e]).requires_grad_(true)?, Tensor::ones([s, e]));
        let v = Tensor::arange_step(1.0f32, 1.0 + 2.0 * s as f32, 2.0f32)?.reshape([s as i64, 1])?;
        let y = q.scaled_dot_product_attention(&k, &v, &options)?;
        assert_eq!(y.detach().to_dtype(F64)?.to_vec::<f64>()?, want);
        y.sum()?.backward()?;
        assert_eq!(q.grad().expect("a gradient").dims(), [3, e]);
    }
    Ok(())
}
