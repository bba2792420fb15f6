//! Gaussian elimination: LU with exchanged rows, determinants, solutions, and Cholesky's form for positive matrices.

use super::{Size, add_scaled, dot};

/// Replaces `a` by L (below the diagonal, whose ones are not stored) and U; `pivots` gets the row that each one was
/// exchanged with, from 1. Gives the first column (from 1) without a pivot, or 0.
pub(super) fn lu(a: &mut [f64], (m, n): Size, pivots: &mut [i32]) -> i32 {
    let mut info = 0;
    for j in 0..m.min(n) {
        let mut best = j;
        for i in j + 1..m {
            if a[i * n + j].abs() > a[best * n + j].abs() {
                best = i;
            }
        }
        pivots[j] = best as i32 + 1;
        if a[best * n + j] == 0.0 {
            if info == 0 {
                info = j as i32 + 1;
            }
            continue;
        }
        if best != j {
            let (upper, lower) = a.split_at_mut(best * n);
            upper[j * n..][..n].swap_with_slice(&mut lower[..n]);
        }
        let (upper, lower) = a.split_at_mut((j + 1) * n);
        let pivot = &upper[j * n..];
        for row in lower.chunks_exact_mut(n) {
            let factor = row[j] / pivot[j];
            row[j] = factor;
            if factor != 0.0 {
                add_scaled(&mut row[j + 1..], -factor, &pivot[j + 1..]);
            }
        }
    }
    info
}

/// The determinant, its sign, and the logarithm of its absolute value.
pub(super) fn det(a: &[f64], n: usize) -> (f64, f64, f64) {
    let (mut a, mut pivots) = (a.to_vec(), vec![0; n]);
    lu(&mut a, (n, n), &mut pivots);
    let (mut det, mut sign, mut log) = (1.0, 1.0, 0.0);
    for i in 0..n {
        let pivot = a[i * n + i];
        let exchanged = if pivots[i] as usize == i + 1 { 1.0 } else { -1.0 };
        det *= pivot * exchanged;
        sign *= exchanged * if pivot == 0.0 { 0.0 } else { f64::signum(pivot) };
        log += libm::log(pivot.abs());
    }
    (det, sign, log)
}

/// Replaces `b`, of `columns` columns, by the solution of `a x = b`. Gives what [`lu`] does.
pub(super) fn solve(a: &[f64], n: usize, b: &mut [f64], columns: usize) -> i32 {
    let (mut a, mut pivots) = (a.to_vec(), vec![0; n]);
    let info = lu(&mut a, (n, n), &mut pivots);
    if columns == 0 {
        return info;
    }
    for (i, &pivot) in pivots.iter().enumerate() {
        let other = pivot as usize - 1;
        if other != i {
            let (upper, lower) = b.split_at_mut(other * columns);
            upper[i * columns..][..columns].swap_with_slice(&mut lower[..columns]);
        }
    }
    triangular(&a, n, b, columns, false, true);
    triangular(&a, n, b, columns, true, false);
    info
}

/// Replaces `b` by the solution of `a x = b` for a triangle of `a`.
pub(super) fn triangular(a: &[f64], n: usize, b: &mut [f64], columns: usize, upper: bool, unit: bool) {
    if columns == 0 {
        return;
    }
    for step in 0..n {
        let i = if upper { n - 1 - step } else { step };
        let row = &a[i * n..][..n];
        let (before, rest) = b.split_at_mut(i * columns);
        let (x, after) = rest.split_at_mut(columns);
        let (known, first) = if upper { (&*after, i + 1) } else { (&*before, 0) };
        for (j, solved) in known.chunks_exact(columns).enumerate() {
            add_scaled(x, -row[first + j], solved);
        }
        if !unit {
            x.iter_mut().for_each(|x| *x /= row[i]);
        }
    }
}

/// L with `a = L L^T`, from the lower triangle of `a`. Gives the order of the leading minor that is not positive, or 0.
pub(super) fn cholesky(a: &[f64], n: usize, l: &mut [f64]) -> i32 {
    l.fill(0.0);
    for i in 0..n {
        let (above, row) = l.split_at_mut(i * n);
        for j in 0..i {
            let other = &above[j * n..][..=j];
            row[j] = (a[i * n + j] - dot(&row[..j], &other[..j])) / other[j];
        }
        let square = a[i * n + i] - dot(&row[..i], &row[..i]);
        if square.is_nan() || square <= 0.0 {
            return i as i32 + 1;
        }
        row[i] = square.sqrt();
    }
    0
}
