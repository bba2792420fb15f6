//! Householder's reflections: `A = Q R` with Q a product of `I - tau v v^T`, in LAPACK's form: v starts with an unstored 1
//! and lies below the diagonal of R.

use super::{Size, add_scaled, dot, transpose};

/// The reflectors and R of an m by n matrix.
pub(super) fn factor(a: &[f64], (m, n): Size, packed: &mut [f64], tau: &mut [f64]) {
    // Columns one after the other: they are what the algorithm walks.
    let mut columns = vec![0.0; m * n];
    transpose(a, (m, n), &mut columns);
    for k in 0..m.min(n) {
        let (done, rest) = columns.split_at_mut((k + 1) * m);
        let x = &mut done[k * m + k..];
        tau[k] = reflector(x);
        if tau[k] == 0.0 {
            continue;
        }
        for column in rest.chunks_exact_mut(m) {
            reflect(&x[1..], tau[k], &mut column[k..]);
        }
    }
    transpose(&columns, (n, m), packed);
}

/// Makes of `x` the reflector that maps it to `beta e1`, with beta in its first place. Gives its factor.
fn reflector(x: &mut [f64]) -> f64 {
    let (alpha, rest) = x.split_first_mut().expect("a column of the matrix");
    let largest = rest.iter().fold(0.0, |largest, v| f64::max(largest, v.abs()));
    if largest == 0.0 {
        return 0.0;
    }
    // Scaled, so that squares neither overflow nor vanish.
    let scale = largest.max(alpha.abs());
    let square: f64 = rest.iter().map(|v| (v / scale) * (v / scale)).sum();
    let norm = scale * ((*alpha / scale) * (*alpha / scale) + square).sqrt();
    let beta = if *alpha > 0.0 { -norm } else { norm };
    let tau = (beta - *alpha) / beta;
    let divisor = *alpha - beta;
    rest.iter_mut().for_each(|v| *v /= divisor);
    *alpha = beta;
    tau
}

/// `x -= tau v (v . x)` for v = (1, tail).
fn reflect(tail: &[f64], tau: f64, x: &mut [f64]) {
    let (first, rest) = x.split_first_mut().expect("a column of the matrix");
    let factor = tau * (*first + dot(tail, rest));
    *first -= factor;
    add_scaled(rest, -factor, tail);
}

/// The first `wanted` columns of the product of the reflectors below the diagonal of an m by n matrix.
pub(super) fn product(packed: &[f64], (m, n): Size, tau: &[f64], q: &mut [f64], wanted: usize) {
    let mut vectors = vec![0.0; m * n];
    transpose(packed, (m, n), &mut vectors);
    let mut columns = vec![0.0; m * wanted];
    for (j, column) in columns.chunks_exact_mut(m.max(1)).enumerate() {
        column[j] = 1.0;
        // Later reflectors leave the first unit vectors alone.
        for k in (0..tau.len().min(j + 1)).rev() {
            reflect(&vectors[k * m + k + 1..][..m - k - 1], tau[k], &mut column[k..]);
        }
    }
    transpose(&columns, (wanted, m), q);
}
