//! The host's kernels on matrices of doubles: plain loops in a fixed order, so that the bits depend on nothing but the
//! operands.

mod eigen;
mod householder;
mod lu;
mod svd;

use kiln_storage::{Element, RawTensor, Result};

use super::host::Host;
use crate::linalg::LinalgOp;

/// The sizes of a matrix: rows and columns.
type Size = (usize, usize);

fn size(t: &RawTensor) -> Size {
    let rank = t.rank();
    (t.shape()[rank - 2], t.shape()[rank - 1])
}

/// The part of matrix `i` of a batch of `count`.
fn part<T>(x: &[T], i: usize, count: usize) -> &[T] {
    let each = x.len() / count;
    &x[i * each..][..each]
}

fn part_mut<T>(x: &mut [T], i: usize, count: usize) -> &mut [T] {
    let each = x.len() / count;
    &mut x[i * each..][..each]
}

/// `y[j][i] = x[i][j]` for an m by n matrix x.
fn transpose(x: &[f64], (m, n): Size, y: &mut [f64]) {
    for i in 0..m {
        for j in 0..n {
            y[j * m + i] = x[i * n + j];
        }
    }
}

/// The sum of products, in four interleaved chains that are added in order: the compiler can use vectors.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 4];
    let (a4, b4) = (a.chunks_exact(4), b.chunks_exact(4));
    let rest: f64 = a4.remainder().iter().zip(b4.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a4.zip(b4) {
        for i in 0..4 {
            sums[i] += x[i] * y[i];
        }
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

/// `y += factor * x`.
fn add_scaled(y: &mut [f64], factor: f64, x: &[f64]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += factor * x;
    }
}

/// See [`LinalgOp`] for the operands.
pub(crate) fn execute(
    op: &'static str,
    code: LinalgOp,
    ins: &[&RawTensor],
    outs: &[&RawTensor],
) -> Result<()> {
    let host = Host::lock(op, ins, outs)?;
    let a = host.input::<f64>(ins[0]);
    let shape = size(ins[0]);
    let count: usize = ins[0].shape()[..ins[0].rank() - 2].iter().product();
    if count == 0 {
        return Ok(());
    }
    let second = ins.get(1).map(|b| host.input::<f64>(b));
    // SAFETY (of `out`): entries give every output memory of its own, and below each is made into a slice once.
    #[allow(clippy::mut_from_ref)]
    fn out<'a, T: Element>(host: &'a Host<'_>, t: &RawTensor) -> &'a mut [T] {
        // SAFETY: see above.
        unsafe { host.output(t) }
    }
    match code {
        LinalgOp::Lu => {
            let (y, pivots, info) =
                (out::<f64>(&host, outs[0]), out::<i32>(&host, outs[1]), out::<i32>(&host, outs[2]));
            y.copy_from_slice(a);
            for (i, info) in info.iter_mut().enumerate() {
                *info = lu::lu(part_mut(y, i, count), shape, part_mut(pivots, i, count));
            }
        }
        LinalgOp::Det => {
            let (det, sign, log) =
                (out::<f64>(&host, outs[0]), out::<f64>(&host, outs[1]), out::<f64>(&host, outs[2]));
            for i in 0..count {
                (det[i], sign[i], log[i]) = lu::det(part(a, i, count), shape.0);
            }
        }
        LinalgOp::Solve => {
            let (x, info) = (out::<f64>(&host, outs[0]), out::<i32>(&host, outs[1]));
            x.copy_from_slice(second.expect("two operands"));
            let columns = size(ins[1]).1;
            for (i, info) in info.iter_mut().enumerate() {
                *info = lu::solve(part(a, i, count), shape.0, part_mut(x, i, count), columns);
            }
        }
        LinalgOp::SolveTriangular { upper, unit } => {
            let x = out::<f64>(&host, outs[0]);
            x.copy_from_slice(second.expect("two operands"));
            let columns = size(ins[1]).1;
            for i in 0..count {
                lu::triangular(part(a, i, count), shape.0, part_mut(x, i, count), columns, upper, unit);
            }
        }
        LinalgOp::Cholesky => {
            let (l, info) = (out::<f64>(&host, outs[0]), out::<i32>(&host, outs[1]));
            for (i, info) in info.iter_mut().enumerate() {
                *info = lu::cholesky(part(a, i, count), shape.0, part_mut(l, i, count));
            }
        }
        LinalgOp::Householder => {
            let (packed, tau) = (out::<f64>(&host, outs[0]), out::<f64>(&host, outs[1]));
            for i in 0..count {
                householder::factor(
                    part(a, i, count),
                    shape,
                    part_mut(packed, i, count),
                    part_mut(tau, i, count),
                );
            }
        }
        LinalgOp::Orthogonal => {
            let q = out::<f64>(&host, outs[0]);
            let tau = second.expect("two operands");
            for i in 0..count {
                householder::product(
                    part(a, i, count),
                    shape,
                    part(tau, i, count),
                    part_mut(q, i, count),
                    size(outs[0]).1,
                );
            }
        }
        LinalgOp::Eigh => {
            let (values, vectors, info) =
                (out::<f64>(&host, outs[0]), out::<f64>(&host, outs[1]), out::<i32>(&host, outs[2]));
            for (i, info) in info.iter_mut().enumerate() {
                *info = eigen::eigh(
                    part(a, i, count),
                    shape.0,
                    part_mut(values, i, count),
                    part_mut(vectors, i, count),
                );
            }
        }
        LinalgOp::Svd => {
            let (u, s, vt) =
                (out::<f64>(&host, outs[0]), out::<f64>(&host, outs[1]), out::<f64>(&host, outs[2]));
            for i in 0..count {
                svd::svd(
                    part(a, i, count),
                    shape,
                    part_mut(u, i, count),
                    part_mut(s, i, count),
                    part_mut(vt, i, count),
                );
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
