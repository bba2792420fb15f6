//! Singular values by Jacobi's rotations from one side (Hestenes 1958): pairs of columns are turned until all are
//! orthogonal. Small singular values come out with as many digits as large ones (Demmel and Veselic 1992).

use super::{Size, dot, transpose};
use crate::cpu::sort::order;

/// Sweeps over all pairs after which the columns are taken as they are; under ten are usual.
const SWEEPS: usize = 60;

/// `A = U S V^T` of an m by n matrix; whether U and V are thin shows in the sizes of `u` and `vt`.
pub(super) fn svd(a: &[f64], (m, n): Size, u: &mut [f64], s: &mut [f64], vt: &mut [f64]) {
    let k = m.min(n);
    if k == 0 {
        // Nothing to turn: any orthogonal matrix serves.
        identity(u, m);
        identity(vt, n);
        return;
    }
    let (left, right) = (u.len() / m, vt.len() / n);
    if !a.iter().all(|x| x.is_finite()) {
        u.fill(f64::NAN);
        s.fill(f64::NAN);
        vt.fill(f64::NAN);
        return;
    }
    // The k shorter vectors of length `long`, as rows: A's columns, or its rows where these are fewer.
    let long = m.max(n);
    let mut x = vec![0.0; m * n];
    if m >= n {
        transpose(a, (m, n), &mut x);
    } else {
        x.copy_from_slice(a);
    }
    let mut turns = vec![0.0; k * k];
    identity(&mut turns, k);
    let scale = normalize(&mut x);
    orthogonalize(&mut x, long, &mut turns, k);
    let norms: Vec<f64> = x.chunks_exact(long).map(|row| dot(row, row).sqrt()).collect();
    let order = order(k, &|i, j| norms[j].total_cmp(&norms[i]));
    let (wide, narrow) = if m >= n { (left, right) } else { (right, left) };
    let mut long_basis = vec![0.0; wide * long];
    let mut short_basis = vec![0.0; narrow * k];
    for (to, &from) in order.iter().enumerate() {
        s[to] = norms[from] * scale;
        short_basis[to * k..][..k].copy_from_slice(&turns[from * k..][..k]);
        if norms[from] > f64::MIN_POSITIVE {
            for (y, x) in long_basis[to * long..][..long].iter_mut().zip(&x[from * long..]) {
                *y = x / norms[from];
            }
        } else {
            complete(&mut long_basis, long, to);
        }
    }
    for row in k..wide {
        complete(&mut long_basis, long, row);
    }
    if m >= n {
        transpose(&long_basis, (left, m), u);
        vt.copy_from_slice(&short_basis);
    } else {
        transpose(&short_basis, (left, m), u);
        vt.copy_from_slice(&long_basis);
    }
}

/// A square matrix with ones on its diagonal.
fn identity(x: &mut [f64], n: usize) {
    x.fill(0.0);
    x.iter_mut().step_by(n + 1).for_each(|x| *x = 1.0);
}

/// Divides by the power of two that keeps squares from overflow and underflow, and gives it.
fn normalize(x: &mut [f64]) -> f64 {
    let largest = x.iter().fold(0.0, |largest, v| f64::max(largest, v.abs()));
    if largest == 0.0 {
        return 1.0;
    }
    let scale = libm::ldexp(1.0, libm::ilogb(largest).clamp(-1000, 1000));
    x.iter_mut().for_each(|x| *x /= scale);
    scale
}

/// Turns pairs of the rows of `x` until they are orthogonal, and those of `turns` with them.
fn orthogonalize(x: &mut [f64], long: usize, turns: &mut [f64], k: usize) {
    let tolerance = f64::EPSILON * (long as f64).sqrt();
    for _ in 0..SWEEPS {
        let mut quiet = true;
        for p in 0..k {
            for q in p + 1..k {
                let (left, right) = x.split_at_mut(q * long);
                let (a, b) = (&mut left[p * long..][..long], &mut right[..long]);
                let (alpha, beta, gamma) = (dot(a, a), dot(b, b), dot(a, b));
                if gamma == 0.0 || gamma.abs() <= tolerance * alpha.sqrt() * beta.sqrt() {
                    continue;
                }
                quiet = false;
                let zeta = (beta - alpha) / (2.0 * gamma);
                let t = f64::copysign(1.0, zeta) / (zeta.abs() + libm::hypot(zeta, 1.0));
                let c = 1.0 / (1.0 + t * t).sqrt();
                let s = c * t;
                turn(a, b, c, s);
                let (left, right) = turns.split_at_mut(q * k);
                turn(&mut left[p * k..][..k], &mut right[..k], c, s);
            }
        }
        if quiet {
            return;
        }
    }
}

fn turn(a: &mut [f64], b: &mut [f64], c: f64, s: f64) {
    for (a, b) in a.iter_mut().zip(b) {
        (*a, *b) = (c * *a - s * *b, s * *a + c * *b);
    }
}

/// Fills row `at` of the basis with a unit vector that is orthogonal to the rows before.
fn complete(basis: &mut [f64], long: usize, at: usize) {
    let (before, rest) = basis.split_at_mut(at * long);
    let new = &mut rest[..long];
    // The axis that is furthest from what the rows span.
    let mut covered = vec![0.0; long];
    for row in before.chunks_exact(long) {
        for (sum, x) in covered.iter_mut().zip(row) {
            *sum += x * x;
        }
    }
    let axis = (1..long).fold(0, |best, i| if covered[i] < covered[best] { i } else { best });
    new.fill(0.0);
    new[axis] = 1.0;
    // Twice is enough (Kahan; Parlett, "The Symmetric Eigenvalue Problem", 6.9).
    for _ in 0..2 {
        for row in before.chunks_exact(long) {
            let factor = dot(row, new);
            super::add_scaled(new, -factor, row);
        }
    }
    let norm = dot(new, new).sqrt();
    new.iter_mut().for_each(|x| *x /= norm);
}
