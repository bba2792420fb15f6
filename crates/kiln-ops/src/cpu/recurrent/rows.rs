//! The elementwise part of a step of the recurrent layers, row by row: what follows the products.

use std::marker::PhantomData;
use std::sync::Mutex;

use crate::cpu::arch::{Arch, Kernel, dispatch_single};
use crate::cpu::math::Math;
use crate::cpu::pool::parallel_for;
use crate::cpu::real::Real;

/// So many elements of a gate are one task.
const GRAIN: usize = 1 << 12;

/// Elements that a derivative handles together, in memory of its own: the compiler sees that none of it is shared, which
/// it does not see of as many slices.
const TOGETHER: usize = 256;

/// One row of a step: `n` elements of each gate and state, gates of a row behind each other. Operands that a kind of rows
/// does not have are empty.
pub(super) trait Row<T> {
    fn row<A: Arch>(n: usize, ins: [&[T]; 3], outs: [&mut [T]; 3]);
}

/// Rows that are worked on one after the other.
struct Task<'a, T> {
    n: usize,
    rows: usize,
    ins: [&'a [T]; 3],
    outs: [&'a mut [T]; 3],
}

impl<'a, T> Task<'a, T> {
    /// The first `count` rows, and the others.
    fn split(self, count: usize) -> (Task<'a, T>, Task<'a, T>) {
        let Task { n, rows, ins: [a, b, c], outs: [x, y, z] } = self;
        let at = |len: usize| len / rows * count;
        let ((a, a2), (b, b2), (c, c2)) =
            (a.split_at(at(a.len())), b.split_at(at(b.len())), c.split_at(at(c.len())));
        let (x_at, y_at, z_at) = (at(x.len()), at(y.len()), at(z.len()));
        let ((x, x2), (y, y2), (z, z2)) = (x.split_at_mut(x_at), y.split_at_mut(y_at), z.split_at_mut(z_at));
        (
            Task { n, rows: count, ins: [a, b, c], outs: [x, y, z] },
            Task { n, rows: rows - count, ins: [a2, b2, c2], outs: [x2, y2, z2] },
        )
    }
}

struct Run<'a, T, K>(Task<'a, T>, PhantomData<K>);

impl<T: Real, K: Row<T>> Kernel for Run<'_, T, K> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Task { n, rows, ins: [a, b, c], outs: [x, y, z] } = self.0;
        let [of_a, of_b, of_c] = [a.len() / rows, b.len() / rows, c.len() / rows];
        let [of_x, of_y, of_z] = [x.len() / rows, y.len() / rows, z.len() / rows];
        for row in 0..rows {
            let ins = [&a[row * of_a..][..of_a], &b[row * of_b..][..of_b], &c[row * of_c..][..of_c]];
            let outs =
                [&mut x[row * of_x..][..of_x], &mut y[row * of_y..][..of_y], &mut z[row * of_z..][..of_z]];
            K::row::<A>(n, ins, outs);
        }
    }
}

/// Runs `K` over `rows` rows.
pub(super) fn over<T: Real, K: Row<T>>(n: usize, rows: usize, ins: [&[T]; 3], outs: [&mut [T]; 3]) {
    if rows > 0 {
        in_tasks(Task { n, rows, ins, outs }, run::<T, K>);
    }
}

fn run<T: Real, K: Row<T>>(task: Task<'_, T>) {
    dispatch_single::<T, _>(Run::<T, K>(task, PhantomData));
}

/// Cuts the rows into tasks; compiled once for all kinds of rows.
fn in_tasks<T: Real>(all: Task<'_, T>, run: fn(Task<'_, T>)) {
    let each = GRAIN.div_ceil(all.n);
    if all.rows <= each {
        return run(all);
    }
    let mut tasks = Vec::with_capacity(all.rows.div_ceil(each));
    let mut left = all;
    while left.rows > each {
        let (now, later) = left.split(each);
        tasks.push(Mutex::new(Some(now)));
        left = later;
    }
    tasks.push(Mutex::new(Some(left)));
    parallel_for(tasks.len(), &|i| {
        let task = tasks[i].lock().map(|mut t| t.take());
        if let Ok(Some(task)) = task {
            run(task);
        }
    });
}

/// A few elements in memory of their own; zeros behind the last.
#[inline(always)]
fn few<T: Real>(from: &[T]) -> [T; TOGETHER] {
    let mut own = [T::ZERO; TOGETHER];
    own[..from.len()].copy_from_slice(from);
    own
}

/// `g` times the slope of the logistic function where its value is `y`.
#[inline(always)]
fn by_sigmoid<T: Real>(g: T, y: T) -> T {
    g * (y * (T::ONE - y))
}

/// `g` times the slope of tanh where its value is `y`.
#[inline(always)]
fn by_tanh<T: Real>(g: T, y: T) -> T {
    g * (T::ONE - y * y)
}

/// The sums of the gates become the gates, the cell the next cell, and the last output the next state.
pub(super) struct Lstm;

impl<T: Real + Math> Row<T> for Lstm {
    #[inline(always)]
    fn row<A: Arch>(n: usize, _: [&[T]; 3], [gates, c, h]: [&mut [T]; 3]) {
        let (first, output) = gates.split_at_mut(3 * n);
        let (both, cell) = first.split_at_mut(2 * n);
        both.iter_mut().for_each(|y| *y = Math::sigmoid::<A>(*y));
        cell.iter_mut().for_each(|y| *y = Math::tanh::<A>(*y));
        output.iter_mut().for_each(|y| *y = Math::sigmoid::<A>(*y));
        let (input, forget) = (&both[..n], &both[n..2 * n]);
        // Lengths that the compiler knows: the loops are without checks.
        let (cell, output) = (&cell[..n], &output[..n]);
        let (c, h) = (&mut c[..n], &mut h[..n]);
        for i in 0..n {
            c[i] = forget[i] * c[i] + input[i] * cell[i];
        }
        for i in 0..n {
            h[i] = output[i] * Math::tanh::<A>(c[i]);
        }
    }
}

/// From gates, cell before and the gradient of the state: the gradient of the sums; that of the cell after becomes that of
/// the cell before.
pub(super) struct LstmGrad;

impl<T: Real + Math> Row<T> for LstmGrad {
    #[inline(always)]
    fn row<A: Arch>(n: usize, [gates, before, gh]: [&[T]; 3], [sum, gc, _]: [&mut [T]; 3]) {
        for start in (0..n).step_by(TOGETHER) {
            let end = n.min(start + TOGETHER);
            let len = (end - start).min(TOGETHER);
            let gate = |k: usize| k * n + start..k * n + end;
            let [input, forget, cell, output] = [0, 1, 2, 3].map(|k| few(&gates[gate(k)]));
            let (before, gh, mut by_c) =
                (few(&before[start..end]), few(&gh[start..end]), few(&gc[start..end]));
            let mut by = [[T::ZERO; TOGETHER]; 4];
            for i in 0..len {
                let tanh = Math::tanh::<A>(forget[i] * before[i] + input[i] * cell[i]);
                let g = by_c[i] + by_tanh(gh[i] * output[i], tanh);
                by[0][i] = by_sigmoid(g * cell[i], input[i]);
                by[1][i] = by_sigmoid(g * before[i], forget[i]);
                by[2][i] = by_tanh(g * input[i], cell[i]);
                by[3][i] = by_sigmoid(gh[i] * tanh, output[i]);
                by_c[i] = g * forget[i];
            }
            for (k, by) in by.iter().enumerate() {
                sum[gate(k)].copy_from_slice(&by[..len]);
            }
            gc[start..end].copy_from_slice(&by_c[..len]);
        }
    }
}

/// From gates and cell before: the state before its projection.
pub(super) struct Unprojected;

impl<T: Real + Math> Row<T> for Unprojected {
    #[inline(always)]
    fn row<A: Arch>(n: usize, [gates, before, _]: [&[T]; 3], [h, _, _]: [&mut [T]; 3]) {
        let [input, forget, cell, output] = [0, 1, 2, 3].map(|k| &gates[k * n..][..n]);
        let (before, h) = (&before[..n], &mut h[..n]);
        for i in 0..n {
            h[i] = forget[i] * before[i] + input[i] * cell[i];
        }
        for i in 0..n {
            h[i] = output[i] * Math::tanh::<A>(h[i]);
        }
    }
}

/// With what the state contributes: the sums from the input become the gates, the middle output what the state contributes
/// to the new state, and the state the next one.
pub(super) struct Gru;

impl<T: Real + Math> Row<T> for Gru {
    #[inline(always)]
    fn row<A: Arch>(n: usize, [b, _, _]: [&[T]; 3], [gates, more, h]: [&mut [T]; 3]) {
        let (both, new) = gates.split_at_mut(2 * n);
        for (y, &b) in both.iter_mut().zip(b) {
            *y = Math::sigmoid::<A>(*y + b);
        }
        more.copy_from_slice(&b[2 * n..]);
        let [reset, update] = [&both[..n], &both[n..2 * n]];
        let (new, h, b) = (&mut new[..n], &mut h[..n], &b[2 * n..][..n]);
        for i in 0..n {
            new[i] = Math::tanh::<A>(new[i] + reset[i] * b[i]);
        }
        for i in 0..n {
            h[i] = (h[i] - new[i]) * update[i] + new[i];
        }
    }
}

/// From gates, what the state contributed and the state before: the gradients of both sides' sums; that of the state after
/// becomes that of the state before where it goes on directly.
pub(super) struct GruGrad;

impl<T: Real + Math> Row<T> for GruGrad {
    #[inline(always)]
    fn row<A: Arch>(n: usize, [gates, more, before]: [&[T]; 3], [by_input, by_state, gh]: [&mut [T]; 3]) {
        for start in (0..n).step_by(TOGETHER) {
            let end = n.min(start + TOGETHER);
            let len = (end - start).min(TOGETHER);
            let gate = |k: usize| k * n + start..k * n + end;
            let [reset, update, new] = [0, 1, 2].map(|k| few(&gates[gate(k)]));
            let (more, before, mut g) =
                (few(&more[start..end]), few(&before[start..end]), few(&gh[start..end]));
            let mut by = [[T::ZERO; TOGETHER]; 4];
            for i in 0..len {
                let by_new = by_tanh(g[i] * (T::ONE - update[i]), new[i]);
                by[0][i] = by_sigmoid(by_new * more[i], reset[i]);
                by[1][i] = by_sigmoid(g[i] * (before[i] - new[i]), update[i]);
                by[2][i] = by_new;
                by[3][i] = by_new * reset[i];
                g[i] = g[i] * update[i];
            }
            for k in 0..2 {
                by_input[gate(k)].copy_from_slice(&by[k][..len]);
                by_state[gate(k)].copy_from_slice(&by[k][..len]);
            }
            by_input[gate(2)].copy_from_slice(&by[2][..len]);
            by_state[gate(2)].copy_from_slice(&by[3][..len]);
            gh[start..end].copy_from_slice(&g[..len]);
        }
    }
}

/// The sums become the next state.
pub(super) struct Tanh;

impl<T: Real + Math> Row<T> for Tanh {
    #[inline(always)]
    fn row<A: Arch>(_: usize, _: [&[T]; 3], [y, _, _]: [&mut [T]; 3]) {
        y.iter_mut().for_each(|y| *y = Math::tanh::<A>(*y));
    }
}

/// From the state and its gradient: the gradient of the sums.
pub(super) struct TanhGrad;

impl<T: Real> Row<T> for TanhGrad {
    #[inline(always)]
    fn row<A: Arch>(_: usize, [y, g, _]: [&[T]; 3], [by, _, _]: [&mut [T]; 3]) {
        for ((by, &y), &g) in by.iter_mut().zip(y).zip(g) {
            *by = by_tanh(g, y);
        }
    }
}

/// The sums become the next state.
pub(super) struct Relu;

impl<T: Real + PartialOrd> Row<T> for Relu {
    #[inline(always)]
    fn row<A: Arch>(_: usize, _: [&[T]; 3], [y, _, _]: [&mut [T]; 3]) {
        y.iter_mut().for_each(|y| *y = if T::ZERO > *y { T::ZERO } else { *y });
    }
}

/// From the state and its gradient: the gradient of the sums.
pub(super) struct ReluGrad;

impl<T: Real + PartialOrd> Row<T> for ReluGrad {
    #[inline(always)]
    fn row<A: Arch>(_: usize, [y, g, _]: [&[T]; 3], [by, _, _]: [&mut [T]; 3]) {
        for ((by, &y), &g) in by.iter_mut().zip(y).zip(g) {
            *by = if y <= T::ZERO { T::ZERO } else { g };
        }
    }
}
