//! Decompositions put together again give the matrix, and their factors are orthogonal or triangular.

use super::*;

/// Numbers without a pattern, the same every time.
fn noise(n: usize) -> Vec<f64> {
    let mut state = 12345u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..n).map(next).collect()
}

fn product(a: &[f64], b: &[f64], m: usize, k: usize, n: usize) -> Vec<f64> {
    let mut y = vec![0.0; m * n];
    for i in 0..m {
        for j in 0..n {
            y[i * n + j] = (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum();
        }
    }
    y
}

fn transposed(a: &[f64], m: usize, n: usize) -> Vec<f64> {
    let mut y = vec![0.0; m * n];
    transpose(a, (m, n), &mut y);
    y
}

fn near(a: &[f64], b: &[f64], bound: f64) {
    assert_eq!(a.len(), b.len());
    for (i, (x, y)) in a.iter().zip(b).enumerate() {
        assert!((x - y).abs() <= bound, "element {i}: {x} and {y}");
    }
}

/// The columns of an m by n matrix are orthonormal.
fn orthonormal(q: &[f64], m: usize, n: usize) {
    let mut one = vec![0.0; n * n];
    one.iter_mut().step_by(n + 1).for_each(|x| *x = 1.0);
    near(&product(&transposed(q, m, n), q, n, m, n), &one, 1e-13);
}

#[test]
fn lu_and_solutions() {
    for n in [1, 2, 5, 40] {
        let a = noise(n * n);
        let x = noise(n * 3);
        let mut b = product(&a, &x, n, n, 3);
        assert_eq!(lu::solve(&a, n, &mut b, 3), 0);
        near(&b, &x, 1e-9);
    }
    // 1 2; 2 4 has no inverse, and 0 1; 1 0 needs an exchange.
    assert_eq!(lu::det(&[1.0, 2.0, 2.0, 4.0], 2), (0.0, 0.0, f64::NEG_INFINITY));
    assert_eq!(lu::det(&[0.0, 1.0, 1.0, 0.0], 2), (-1.0, -1.0, 0.0));
    assert_eq!(lu::solve(&[1.0, 2.0, 2.0, 4.0], 2, &mut [1.0, 1.0], 1), 2);
}

#[test]
fn cholesky_of_a_gram_matrix() {
    let n = 12;
    let a = noise(n * n);
    let mut gram = product(&a, &transposed(&a, n, n), n, n, n);
    (0..n).for_each(|i| gram[i * n + i] += 1.0);
    let mut l = vec![0.0; n * n];
    assert_eq!(lu::cholesky(&gram, n, &mut l), 0);
    near(&product(&l, &transposed(&l, n, n), n, n, n), &gram, 1e-12);
    assert_eq!(lu::cholesky(&[1.0, 0.0, 0.0, -1.0], 2, &mut [0.0; 4]), 2);
}

#[test]
fn qr_of_tall_and_wide_matrices() {
    for (m, n) in [(1, 1), (7, 4), (4, 7), (5, 5), (30, 20)] {
        let a = noise(m * n);
        let (mut packed, mut tau) = (vec![0.0; m * n], vec![0.0; m.min(n)]);
        householder::factor(&a, (m, n), &mut packed, &mut tau);
        let mut q = vec![0.0; m * m];
        householder::product(&packed, (m, n), &tau, &mut q, m);
        orthonormal(&q, m, m);
        for i in 0..m {
            packed[i * n..][..i.min(n)].fill(0.0);
        }
        near(&product(&q, &packed, m, m, n), &a, 1e-13);
    }
}

#[test]
fn eigenvectors() {
    for n in [1, 2, 3, 10, 50] {
        let a = noise(n * n);
        let mut symmetric = a.clone();
        for i in 0..n {
            for j in 0..n {
                symmetric[i * n + j] = a[i * n + j] + a[j * n + i];
            }
        }
        let (mut values, mut vectors) = (vec![0.0; n], vec![0.0; n * n]);
        assert_eq!(eigen::eigh(&symmetric, n, &mut values, &mut vectors), 0);
        orthonormal(&vectors, n, n);
        assert!(values.is_sorted());
        let mut scaled = vectors.clone();
        scaled.iter_mut().enumerate().for_each(|(i, x)| *x *= values[i % n]);
        near(&product(&scaled, &transposed(&vectors, n, n), n, n, n), &symmetric, 1e-12);
    }
    assert_eq!(eigen::eigh(&[f64::NAN], 1, &mut [0.0], &mut [0.0]), 1);
}

#[test]
fn singular_vectors_also_of_matrices_without_full_rank() {
    for (m, n) in [(1, 1), (6, 3), (3, 6), (20, 20), (40, 10)] {
        for rank_one in [false, true] {
            let a = if rank_one { product(&noise(m), &noise(n), m, 1, n) } else { noise(m * n) };
            let k = m.min(n);
            let (mut u, mut s, mut vt) = (vec![0.0; m * m], vec![0.0; k], vec![0.0; n * n]);
            svd::svd(&a, (m, n), &mut u, &mut s, &mut vt);
            orthonormal(&u, m, m);
            orthonormal(&transposed(&vt, n, n), n, n);
            assert!(s.iter().rev().is_sorted() && s[k - 1] >= 0.0);
            let mut scaled = vec![0.0; m * n];
            for i in 0..m {
                for j in 0..k {
                    scaled[i * n + j] = u[i * m + j] * s[j];
                }
            }
            near(&product(&scaled, &vt, m, n, n), &a, 1e-12);
            if rank_one {
                assert!(s[1..].iter().all(|&s| s < 1e-14));
            }
        }
    }
}
