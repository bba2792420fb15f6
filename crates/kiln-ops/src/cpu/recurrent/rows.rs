//! The elementwise part of a step of the recurrent layers, row by row: what follows the products.

use std::marker::PhantomData;
use std::sync::Mutex;

use crate::cpu::arch::{Arch, Kernel, dispatch};
use crate::cpu::math::Math;
use crate::cpu::pool::parallel_for;
use crate::cpu::real::Real;

/// So many elements of a gate are one task.
const GRAIN: usize = 1 << 12;

/// Elements that a derivative handles together, in memory of its own: the compiler sees that none of it is shared, which
/// it does not see of as many slices.
const TOGETHER: usize = 256;

/// One row of a step: `n` elements of each gate and state, gates of a row behind each other.
pub(super) trait Row<T, const I: usize, const O: usize>: Sync {
    fn row<A: Arch>(n: usize, ins: [&[T]; I], outs: [&mut [T]; O]);
}

/// Rows that one task works on.
struct Task<'a, T, const I: usize, const O: usize> {
    n: usize,
    ins: [&'a [T]; I],
    outs: [&'a mut [T]; O],
}

struct Run<'a, T, K, const I: usize, const O: usize>(Task<'a, T, I, O>, PhantomData<K>);

impl<T: Real, K: Row<T, I, O>, const I: usize, const O: usize> Kernel for Run<'_, T, K, I, O> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Task { n, ins, mut outs } = self.0;
        let rows = outs[O - 1].len() / n;
        let (wide, widths) = (ins.map(|x| x.len() / rows), outs.each_ref().map(|y| y.len() / rows));
        for row in 0..rows {
            let mut at = 0;
            let ins = ins.map(|x| {
                let w = wide[at];
                at += 1;
                &x[row * w..(row + 1) * w]
            });
            let mut at = 0;
            let outs = outs.each_mut().map(|y| {
                let w = widths[at];
                at += 1;
                &mut y[row * w..(row + 1) * w]
            });
            K::row::<A>(n, ins, outs);
        }
    }
}

/// Runs `K` over all rows; the last output has `n` elements in each.
pub(super) fn over<T: Real, K: Row<T, I, O>, const I: usize, const O: usize>(
    n: usize,
    ins: [&[T]; I],
    outs: [&mut [T]; O],
) {
    let rows = outs[O - 1].len() / n;
    let each = GRAIN.div_ceil(n);
    if rows <= each {
        if rows > 0 {
            dispatch(Run::<T, K, I, O>(Task { n, ins, outs }, PhantomData));
        }
        return;
    }
    let (wide, widths) = (ins.map(|x| x.len() / rows), outs.each_ref().map(|y| y.len() / rows));
    let (mut ins, mut outs) = (ins, outs);
    let mut tasks = Vec::with_capacity(rows.div_ceil(each));
    for start in (0..rows).step_by(each) {
        let count = each.min(rows - start);
        let mut at = 0;
        let own_ins = ins.each_mut().map(|x| {
            let (own, rest) = x.split_at(count * wide[at]);
            (*x, at) = (rest, at + 1);
            own
        });
        let mut at = 0;
        let own_outs = outs.each_mut().map(|y| {
            let (own, rest) = std::mem::take(y).split_at_mut(count * widths[at]);
            (*y, at) = (rest, at + 1);
            own
        });
        tasks.push(Mutex::new(Some(Task { n, ins: own_ins, outs: own_outs })));
    }
    parallel_for(tasks.len(), &|i| {
        let task = tasks[i].lock().map(|mut t| t.take());
        if let Ok(Some(task)) = task {
            dispatch(Run::<T, K, I, O>(task, PhantomData));
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

impl<T: Real + Math> Row<T, 0, 3> for Lstm {
    #[inline(always)]
    fn row<A: Arch>(n: usize, []: [&[T]; 0], [gates, c, h]: [&mut [T]; 3]) {
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

impl<T: Real + Math> Row<T, 3, 2> for LstmGrad {
    #[inline(always)]
    fn row<A: Arch>(n: usize, [gates, before, gh]: [&[T]; 3], [sum, gc]: [&mut [T]; 2]) {
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

impl<T: Real + Math> Row<T, 2, 1> for Unprojected {
    #[inline(always)]
    fn row<A: Arch>(n: usize, [gates, before]: [&[T]; 2], [h]: [&mut [T]; 1]) {
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

impl<T: Real + Math> Row<T, 1, 3> for Gru {
    #[inline(always)]
    fn row<A: Arch>(n: usize, [b]: [&[T]; 1], [gates, more, h]: [&mut [T]; 3]) {
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

impl<T: Real + Math> Row<T, 3, 3> for GruGrad {
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

impl<T: Real + Math> Row<T, 0, 1> for Tanh {
    #[inline(always)]
    fn row<A: Arch>(_: usize, []: [&[T]; 0], [y]: [&mut [T]; 1]) {
        y.iter_mut().for_each(|y| *y = Math::tanh::<A>(*y));
    }
}

/// From the state and its gradient: the gradient of the sums.
pub(super) struct TanhGrad;

impl<T: Real> Row<T, 2, 1> for TanhGrad {
    #[inline(always)]
    fn row<A: Arch>(_: usize, [y, g]: [&[T]; 2], [by]: [&mut [T]; 1]) {
        for ((by, &y), &g) in by.iter_mut().zip(y).zip(g) {
            *by = by_tanh(g, y);
        }
    }
}

/// The sums become the next state.
pub(super) struct Relu;

impl<T: Real + PartialOrd> Row<T, 0, 1> for Relu {
    #[inline(always)]
    fn row<A: Arch>(_: usize, []: [&[T]; 0], [y]: [&mut [T]; 1]) {
        y.iter_mut().for_each(|y| *y = if T::ZERO > *y { T::ZERO } else { *y });
    }
}

/// From the state and its gradient: the gradient of the sums.
pub(super) struct ReluGrad;

impl<T: Real + PartialOrd> Row<T, 2, 1> for ReluGrad {
    #[inline(always)]
    fn row<A: Arch>(_: usize, [y, g]: [&[T]; 2], [by]: [&mut [T]; 1]) {
        for ((by, &y), &g) in by.iter_mut().zip(y).zip(g) {
            *by = if y <= T::ZERO { T::ZERO } else { g };
        }
    }
}
