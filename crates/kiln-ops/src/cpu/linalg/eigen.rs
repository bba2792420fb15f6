//! Eigenvalues and vectors of symmetric matrices: Householder's reduction to three diagonals and the QL iteration with
//! implicit shifts (Martin, Reinsch and Wilkinson 1968; Bowdler, Martin, Reinsch and Wilkinson 1968, which EISPACK calls
//! tred2 and tql2).

use crate::cpu::sort::order;

/// Steps per eigenvalue after which the iteration has failed; three is usual.
const STEPS: usize = 60;

/// Ascending eigenvalues of the matrix whose lower triangle is given, and its vectors as columns. Gives 0, or 1 where
/// the iteration fails, which leaves NaN.
pub(super) fn eigh(a: &[f64], n: usize, values: &mut [f64], vectors: &mut [f64]) -> i32 {
    if n == 0 {
        return 0;
    }
    let lower = (0..n).flat_map(|i| &a[i * n..=i * n + i]);
    let largest =
        lower.fold(0.0, |largest, v: &f64| if v.is_finite() { f64::max(largest, v.abs()) } else { f64::NAN });
    if largest.is_nan() {
        values.fill(f64::NAN);
        vectors.fill(f64::NAN);
        return 1;
    }
    // Column j of the result is row j here: what the iteration turns lies together. Scaled against overflow.
    let scale = if largest > 0.0 { largest } else { 1.0 };
    let mut v = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            v[j * n + i] = a[i * n + j] / scale;
        }
    }
    let (mut d, mut e) = (vec![0.0; n], vec![0.0; n]);
    tridiagonal(&mut v, n, &mut d, &mut e);
    if !diagonal(&mut v, n, &mut d, &mut e) {
        values.fill(f64::NAN);
        vectors.fill(f64::NAN);
        return 1;
    }
    let order = order(n, &|i, j| d[i].total_cmp(&d[j]));
    for (to, &from) in order.iter().enumerate() {
        values[to] = d[from] * scale;
        for i in 0..n {
            vectors[i * n + to] = v[from * n + i];
        }
    }
    0
}

/// Reduces the matrix to the diagonal `d` and the one below it, `e[1..]`; `v` becomes the transformation. `v[j * n + i]`
/// is row i of column j.
fn tridiagonal(v: &mut [f64], n: usize, d: &mut [f64], e: &mut [f64]) {
    for j in 0..n {
        d[j] = v[j * n + n - 1];
    }
    for i in (1..n).rev() {
        let scale: f64 = d[..i].iter().map(|x| x.abs()).sum();
        let mut h = 0.0;
        if scale == 0.0 {
            e[i] = d[i - 1];
            for j in 0..i {
                d[j] = v[j * n + i - 1];
                v[j * n + i] = 0.0;
                v[i * n + j] = 0.0;
            }
        } else {
            // Householder's vector, in d.
            for x in &mut d[..i] {
                *x /= scale;
                h += *x * *x;
            }
            let f = d[i - 1];
            let g = if f > 0.0 { -f64::sqrt(h) } else { f64::sqrt(h) };
            e[i] = scale * g;
            h -= f * g;
            d[i - 1] = f - g;
            e[..i].fill(0.0);
            // The matrix times the vector, from its lower half.
            for j in 0..i {
                let f = d[j];
                v[i * n + j] = f;
                let mut g = e[j] + v[j * n + j] * f;
                let column = &v[j * n..][..i];
                for k in j + 1..i {
                    g += column[k] * d[k];
                    e[k] += column[k] * f;
                }
                e[j] = g;
            }
            let mut f = 0.0;
            for j in 0..i {
                e[j] /= h;
                f += e[j] * d[j];
            }
            let half = f / (h + h);
            for j in 0..i {
                e[j] -= half * d[j];
            }
            for j in 0..i {
                let (f, g) = (d[j], e[j]);
                let column = &mut v[j * n..][..i];
                for k in j..i {
                    column[k] -= f * e[k] + g * d[k];
                }
                d[j] = v[j * n + i - 1];
                v[j * n + i] = 0.0;
            }
        }
        d[i] = h;
    }
    // The product of the reflections.
    for i in 0..n - 1 {
        v[i * n + n - 1] = v[i * n + i];
        v[i * n + i] = 1.0;
        let h = d[i + 1];
        let (left, right) = v.split_at_mut((i + 1) * n);
        let next = &mut right[..=i];
        if h != 0.0 {
            for k in 0..=i {
                d[k] = next[k] / h;
            }
            for column in left.chunks_exact_mut(n) {
                let g = super::dot(next, &column[..=i]);
                super::add_scaled(&mut column[..=i], -g, &d[..=i]);
            }
        }
        next.fill(0.0);
    }
    for j in 0..n {
        d[j] = v[j * n + n - 1];
        v[j * n + n - 1] = 0.0;
    }
    v[n * n - 1] = 1.0;
    e[0] = 0.0;
}

/// Makes the off-diagonal vanish, turning the columns of `v`. Says whether it did.
fn diagonal(v: &mut [f64], n: usize, d: &mut [f64], e: &mut [f64]) -> bool {
    e.rotate_left(1);
    let (mut shift, mut largest) = (0.0, 0.0);
    for l in 0..n {
        largest = f64::max(largest, d[l].abs() + e[l].abs());
        let small = |x: f64| x.abs() <= f64::EPSILON * largest;
        // The last element of `e` is 0.
        let m = (l..n).find(|&m| small(e[m])).unwrap_or(n - 1);
        let mut steps = 0;
        while m > l && !small(e[l]) {
            if steps == STEPS {
                return false;
            }
            steps += 1;
            // The shift.
            let g = d[l];
            let p = (d[l + 1] - g) / (2.0 * e[l]);
            let r = libm::hypot(p, 1.0).copysign(p);
            d[l] = e[l] / (p + r);
            d[l + 1] = e[l] * (p + r);
            let second = d[l + 1];
            let h = g - d[l];
            d[l + 2..].iter_mut().for_each(|x| *x -= h);
            shift += h;
            // The QL step, from the bottom up.
            let mut p = d[m];
            let (mut c, mut c2, mut c3) = (1.0, 1.0, 1.0);
            let (mut s, mut s2) = (0.0, 0.0);
            let below = e[l + 1];
            for i in (l..m).rev() {
                (c3, c2, s2) = (c2, c, s);
                let g = c * e[i];
                let h = c * p;
                let r = libm::hypot(p, e[i]);
                e[i + 1] = s * r;
                s = e[i] / r;
                c = p / r;
                p = c * d[i] - s * g;
                d[i + 1] = h + s * (c * g + s * d[i]);
                rotate(v, n, i, c, s);
            }
            p = -s * s2 * c3 * below * e[l] / second;
            e[l] = s * p;
            d[l] = c * p;
        }
        d[l] += shift;
        e[l] = 0.0;
    }
    true
}

/// Turns columns i and i + 1.
fn rotate(v: &mut [f64], n: usize, i: usize, c: f64, s: f64) {
    let (left, right) = v.split_at_mut((i + 1) * n);
    for (x, y) in left[i * n..].iter_mut().zip(&mut right[..n]) {
        (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
    }
}
