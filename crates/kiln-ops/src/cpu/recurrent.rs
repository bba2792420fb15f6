//! The elementwise part of a step of the recurrent layers, row by row: what follows the products.

use std::sync::Mutex;

use kiln_storage::{Error, RawTensor, Result, with_dtype};

use super::arch::{Arch, Kernel, dispatch};
use super::host::Host;
use super::math::Math;
use super::pool::parallel_for;
use super::real::Real;
use crate::recurrent::Cell;

/// So many elements of a gate are one task.
const GRAIN: usize = 1 << 12;

/// One row of a step: `n` elements of each gate and state, gates of a row behind each other.
trait Row<T, const I: usize, const O: usize>: Sync {
    fn row<A: Arch>(n: usize, ins: [&[T]; I], outs: [&mut [T]; O]);
}

/// Rows that one task works on.
struct Task<'a, T, const I: usize, const O: usize> {
    n: usize,
    ins: [&'a [T]; I],
    outs: [&'a mut [T]; O],
}

struct Run<'a, T, K, const I: usize, const O: usize>(Task<'a, T, I, O>, std::marker::PhantomData<K>);

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
fn over<T: Real, K: Row<T, I, O>, const I: usize, const O: usize>(
    n: usize,
    ins: [&[T]; I],
    outs: [&mut [T]; O],
) {
    let rows = outs[O - 1].len() / n;
    let each = GRAIN.div_ceil(n);
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
            dispatch(Run::<T, K, I, O>(task, std::marker::PhantomData));
        }
    });
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

/// See [`crate::Op::RecurrentStep`].
struct Lstm;

impl<T: Real + Math> Row<T, 3, 3> for Lstm {
    #[inline(always)]
    fn row<A: Arch>(n: usize, [a, b, before]: [&[T]; 3], [gates, c, h]: [&mut [T]; 3]) {
        for ((y, &a), &b) in gates.iter_mut().zip(a).zip(b) {
            *y = a + b;
        }
        let (first, output) = gates.split_at_mut(3 * n);
        let (both, cell) = first.split_at_mut(2 * n);
        both.iter_mut().for_each(|y| *y = Math::sigmoid::<A>(*y));
        cell.iter_mut().for_each(|y| *y = Math::tanh::<A>(*y));
        output.iter_mut().for_each(|y| *y = Math::sigmoid::<A>(*y));
        let (input, forget) = (&both[..n], &both[n..2 * n]);
        // Lengths that the compiler knows: the loops are without checks.
        let (before, cell, output) = (&before[..n], &cell[..n], &output[..n]);
        let (c, h) = (&mut c[..n], &mut h[..n]);
        for i in 0..n {
            c[i] = forget[i] * before[i] + input[i] * cell[i];
        }
        for i in 0..n {
            h[i] = output[i] * Math::tanh::<A>(c[i]);
        }
    }
}

/// See [`crate::Op::RecurrentStepGrad`].
struct LstmGrad;

impl<T: Real + Math> Row<T, 5, 2> for LstmGrad {
    #[inline(always)]
    fn row<A: Arch>(n: usize, [gates, before, c, gh, gc]: [&[T]; 5], [sum, gc_before]: [&mut [T]; 2]) {
        let [input, forget, cell, output] = [0, 1, 2, 3].map(|k| &gates[k * n..][..n]);
        let (by_input, rest) = sum.split_at_mut(n);
        let (by_forget, rest) = rest.split_at_mut(n);
        let (by_cell, by_output) = rest.split_at_mut(n);
        let (by_output, gc_before) = (&mut by_output[..n], &mut gc_before[..n]);
        let [before, c, gh, gc] = [before, c, gh, gc].map(|x| &x[..n]);
        for i in 0..n {
            let tanh = Math::tanh::<A>(c[i]);
            let g = gc[i] + by_tanh(gh[i] * output[i], tanh);
            by_input[i] = by_sigmoid(g * cell[i], input[i]);
            by_forget[i] = by_sigmoid(g * before[i], forget[i]);
            by_cell[i] = by_tanh(g * input[i], cell[i]);
            by_output[i] = by_sigmoid(gh[i] * tanh, output[i]);
            gc_before[i] = g * forget[i];
        }
    }
}

/// See [`crate::Op::RecurrentStep`].
struct Gru;

impl<T: Real + Math> Row<T, 3, 2> for Gru {
    #[inline(always)]
    fn row<A: Arch>(n: usize, [a, b, before]: [&[T]; 3], [gates, h]: [&mut [T]; 2]) {
        let (both, rest) = gates.split_at_mut(2 * n);
        let (new, state) = rest.split_at_mut(n);
        for ((y, &a), &b) in both.iter_mut().zip(a).zip(b) {
            *y = Math::sigmoid::<A>(a + b);
        }
        state.copy_from_slice(&b[2 * n..]);
        let [reset, update] = [&both[..n], &both[n..2 * n]];
        let (a, before, state) = (&a[2 * n..][..n], &before[..n], &state[..n]);
        let (new, h) = (&mut new[..n], &mut h[..n]);
        for i in 0..n {
            new[i] = Math::tanh::<A>(a[i] + reset[i] * state[i]);
        }
        for i in 0..n {
            h[i] = (before[i] - new[i]) * update[i] + new[i];
        }
    }
}

/// See [`crate::Op::RecurrentStepGrad`].
struct GruGrad;

impl<T: Real + Math> Row<T, 3, 3> for GruGrad {
    #[inline(always)]
    fn row<A: Arch>(n: usize, [gates, before, g]: [&[T]; 3], [by_input, by_h, direct]: [&mut [T]; 3]) {
        let [reset, update, new, state] = [0, 1, 2, 3].map(|k| &gates[k * n..][..n]);
        let (by_reset, rest) = by_input.split_at_mut(n);
        let (by_update, by_new) = rest.split_at_mut(n);
        let (by_new, direct) = (&mut by_new[..n], &mut direct[..n]);
        let (before, g) = (&before[..n], &g[..n]);
        for i in 0..n {
            by_update[i] = by_sigmoid(g[i] * (before[i] - new[i]), update[i]);
            by_new[i] = by_tanh(g[i] * (T::ONE - update[i]), new[i]);
            by_reset[i] = by_sigmoid(by_new[i] * state[i], reset[i]);
            direct[i] = g[i] * update[i];
        }
        by_h[..n].copy_from_slice(by_reset);
        by_h[n..2 * n].copy_from_slice(by_update);
        for i in 0..n {
            by_h[2 * n + i] = by_new[i] * reset[i];
        }
    }
}

fn not_implemented(op: &'static str, t: &RawTensor) -> Error {
    Error::dtype(op, format!("\"{op}\" is not implemented for {}", t.dtype()))
}

/// See [`crate::Op::RecurrentStep`].
pub(crate) fn step(op: &'static str, cell: Cell, ins: &[&RawTensor], outs: &[&RawTensor]) -> Result<()> {
    let host = Host::lock(op, ins, outs)?;
    let n = ins[2].shape()[1];
    with_dtype!(ins[0].dtype(), [F32, F64], T => {
        let from = [0, 1, 2].map(|i| host.input::<T>(ins[i]));
        match cell {
            // SAFETY: each output is made into a slice once, and has memory of its own.
            Cell::Lstm => over::<T, Lstm, 3, 3>(n, from, [0, 1, 2].map(|i| unsafe { host.output(outs[i]) })),
            // SAFETY: as above.
            Cell::Gru => over::<T, Gru, 3, 2>(n, from, [0, 1].map(|i| unsafe { host.output(outs[i]) })),
        }
        Ok(())
    }, else => Err(not_implemented(op, ins[0])))
}

/// See [`crate::Op::RecurrentStepGrad`].
pub(crate) fn step_grad(op: &'static str, cell: Cell, ins: &[&RawTensor], outs: &[&RawTensor]) -> Result<()> {
    let host = Host::lock(op, ins, outs)?;
    let n = ins[1].shape()[1];
    with_dtype!(ins[0].dtype(), [F32, F64], T => {
        match cell {
            Cell::Lstm => {
                let from = [0, 1, 2, 3, 4].map(|i| host.input::<T>(ins[i]));
                // SAFETY: each output is made into a slice once, and has memory of its own.
                over::<T, LstmGrad, 5, 2>(n, from, [0, 1].map(|i| unsafe { host.output(outs[i]) }));
            }
            Cell::Gru => {
                let from = [0, 1, 2].map(|i| host.input::<T>(ins[i]));
                // SAFETY: as above.
                over::<T, GruGrad, 3, 3>(n, from, [0, 1, 2].map(|i| unsafe { host.output(outs[i]) }));
            }
        }
        Ok(())
    }, else => Err(not_implemented(op, ins[0])))
}
