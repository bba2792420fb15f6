//! The kernels of [`crate::optim`]: one pass over all parameters, cut across them, so that many small ones are a few tasks
//! and a large one is many.

pub(crate) mod adaptive;

use kiln_storage::{Access, DType, Element, Error, RawTensor, Result, with_dtype};

use super::arch::{Arch, Kernel, dispatch_single};
use super::pool::parallel_for;
use super::real::{Float, Number, Real};
use crate::optim::{AdamStep, Decay, SgdStep};

/// So many elements are one task: some hundred kilobytes of memory traffic.
const GRAIN: usize = 1 << 15;

/// See [`crate::Op::SgdStep`].
pub(crate) fn sgd(op: &'static str, step: &SgdStep, ins: &[&RawTensor], outs: &[&RawTensor]) -> Result<()> {
    with_dtype!(outs[0].dtype(), [F32, F64], T => {
        if outs.len() == ins.len() {
            over::<T, 1, _>(op, ins, outs, *step)
        } else {
            over::<T, 2, _>(op, ins, outs, *step)
        }
    }, else => Err(not_float(op, outs[0])))
}

/// See [`crate::Op::AdamStep`].
pub(crate) fn adam(op: &'static str, step: &AdamStep, ins: &[&RawTensor], outs: &[&RawTensor]) -> Result<()> {
    with_dtype!(outs[0].dtype(), [F32, F64], T => {
        if outs.len() == 3 * ins.len() {
            over::<T, 3, _>(op, ins, outs, *step)
        } else {
            over::<T, 4, _>(op, ins, outs, *step)
        }
    }, else => Err(not_float(op, outs[0])))
}

fn not_float(op: &'static str, t: &RawTensor) -> Error {
    Error::dtype(op, format!("\"{op}\" is not implemented for {}", t.dtype()))
}

/// The arithmetic of one update on a piece of a parameter: its gradient, and the parameter followed by its state.
trait Update<T, const N: usize>: Copy + Sync {
    fn apply<A: Arch>(self, grad: &[T], outs: [&mut [T]; N]);
}

/// The operands' memory: gradients, and the outputs of each kind in blocks of as many.
struct Operands {
    grads: Vec<*mut u8>,
    outs: Vec<*mut u8>,
}

// SAFETY: the memory is locked by the `Access` in `pieces` for as long as the tasks run, and `pieces` gives every element
// to one task.
unsafe impl Sync for Operands {}

impl Operands {
    fn new(dtype: DType, ins: &[&RawTensor], outs: &[&RawTensor]) -> Operands {
        let start = |t: &&RawTensor| {
            assert!(t.dtype() == dtype && t.is_contiguous(), "a kernel got {} {:?}", t.dtype(), t.layout());
            t.host_ptr().expect("host kernels get host tensors")
        };
        Operands { grads: ins.iter().map(start).collect(), outs: outs.iter().map(start).collect() }
    }
}

/// A part of one parameter: which one, its first element and how many.
struct Part {
    parameter: usize,
    from: usize,
    len: usize,
}

/// Cuts all parameters, laid end to end, into tasks, and calls `work` for each part of a parameter in each; compiled once
/// for all updates.
fn pieces(
    op: &'static str,
    dtype: DType,
    ins: &[&RawTensor],
    outs: &[&RawTensor],
    work: &(dyn Fn(&Operands, Part) + Sync),
) -> Result<()> {
    let _access = Access::new(op, ins.iter().map(|t| t.storage()), outs.iter().map(|t| t.storage()))?;
    let operands = &Operands::new(dtype, ins, outs);
    // Where each parameter ends.
    let mut total = 0;
    let ends: Vec<usize> = ins
        .iter()
        .map(|t| {
            total += t.numel();
            total
        })
        .collect();
    parallel_for(total.div_ceil(GRAIN), &|task| {
        let (mut at, end) = (task * GRAIN, total.min((task + 1) * GRAIN));
        let mut i = ends.partition_point(|&e| e <= at);
        while at < end {
            let stop = end.min(ends[i]);
            if at < stop {
                work(operands, Part { parameter: i, from: at + ins[i].numel() - ends[i], len: stop - at });
            }
            (at, i) = (stop, i + 1);
        }
    });
    Ok(())
}

fn over<T: Element, const N: usize, U: Update<T, N>>(
    op: &'static str,
    ins: &[&RawTensor],
    outs: &[&RawTensor],
    update: U,
) -> Result<()> {
    pieces(op, T::DTYPE, ins, outs, &|operands, Part { parameter, from, len }| {
        let grad = operands.grads[parameter].cast::<T>();
        // SAFETY: `from + len` is at most the tensor's size; parts cover disjoint ranges of the whole, outputs do not
        // share memory with each other or with gradients (the entry saw to it), and the access is held.
        let grad = unsafe { std::slice::from_raw_parts(grad.add(from), len) };
        let parts = std::array::from_fn(|k| {
            let out = operands.outs[k * operands.grads.len() + parameter].cast::<T>();
            // SAFETY: as above.
            unsafe { std::slice::from_raw_parts_mut(out.add(from), len) }
        });
        dispatch_single::<T, _>(Piece { grad, parts, update });
    })
}

struct Piece<'a, T, const N: usize, U> {
    grad: &'a [T],
    parts: [&'a mut [T]; N],
    update: U,
}

impl<T: Element, const N: usize, U: Update<T, N>> Kernel for Piece<'_, T, N, U> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        self.update.apply::<A>(self.grad, self.parts);
    }
}

/// -1 or 1.
#[inline(always)]
fn sign<R: Real>(maximize: bool) -> R {
    R::of(if maximize { -1.0 } else { 1.0 })
}

impl<T: Float> Update<T, 1> for SgdStep {
    #[inline(always)]
    fn apply<A: Arch>(self, grad: &[T], [param]: [&mut [T]; 1]) {
        let sign = sign::<T::Acc>(self.maximize);
        let (decay, lr) = (<T::Acc as Real>::of(self.weight_decay), <T::Acc as Real>::of(-self.lr));
        // Two loops, because adding 0 * param is not the same for infinite parameters.
        if self.weight_decay == 0.0 {
            for (p, g) in param.iter_mut().zip(grad) {
                let (g, old) = (T::Acc::load(*g) * sign, T::Acc::load(*p));
                *p = (old + lr * g).store();
            }
        } else {
            for (p, g) in param.iter_mut().zip(grad) {
                let (g, old) = (T::Acc::load(*g) * sign, T::Acc::load(*p));
                *p = (old + lr * (g + decay * old)).store();
            }
        }
    }
}

/// What of an SGD step with momentum decides on the loop.
#[derive(Clone, Copy)]
struct SgdForm {
    decay: bool,
    first: bool,
    nesterov: bool,
}

impl SgdStep {
    #[inline(always)]
    fn with_momentum<T: Float>(self, form: SgdForm, grad: &[T], param: &mut [T], buffer: &mut [T]) {
        let sign = sign::<T::Acc>(self.maximize);
        let of = <T::Acc as Real>::of;
        let (decay, lr) = (of(self.weight_decay), of(-self.lr));
        let (momentum, take) = (of(self.momentum), of(1.0 - self.dampening));
        for ((p, b), g) in param.iter_mut().zip(buffer).zip(grad) {
            let (mut g, old) = (T::Acc::load(*g) * sign, T::Acc::load(*p));
            if form.decay {
                g += decay * old;
            }
            let held = if form.first { g } else { T::Acc::load(*b) * momentum + take * g };
            let along = if form.nesterov { g + momentum * held } else { held };
            *b = held.store();
            *p = (old + lr * along).store();
        }
    }
}

impl<T: Float> Update<T, 2> for SgdStep {
    #[inline(always)]
    fn apply<A: Arch>(self, grad: &[T], [param, buffer]: [&mut [T]; 2]) {
        // The forms of long trainings have loops of their own, without decisions inside.
        let form = SgdForm { decay: self.weight_decay != 0.0, first: self.first, nesterov: self.nesterov };
        match form {
            SgdForm { decay: false, first: false, nesterov: false } => {
                let form = SgdForm { decay: false, first: false, nesterov: false };
                self.with_momentum(form, grad, param, buffer);
            }
            SgdForm { decay: true, first: false, nesterov: false } => {
                let form = SgdForm { decay: true, first: false, nesterov: false };
                self.with_momentum(form, grad, param, buffer);
            }
            SgdForm { first: false, nesterov: true, .. } => {
                let form = SgdForm { first: false, nesterov: true, ..form };
                self.with_momentum(form, grad, param, buffer);
            }
            _ => self.with_momentum(form, grad, param, buffer),
        }
    }
}

/// What of an Adam step decides on the loop.
#[derive(Clone, Copy, PartialEq)]
enum AdamForm {
    Plain,
    Gradient,
    Decoupled,
}

impl AdamStep {
    #[inline(always)]
    fn pass<T: Float, const LARGEST: bool>(
        self,
        form: AdamForm,
        grad: &[T],
        param: &mut [T],
        mean: &mut [T],
        square: &mut [T],
        largest: &mut [T],
    ) {
        let of = <T::Acc as Real>::of;
        let sign = sign::<T::Acc>(self.maximize);
        let decay = match self.decay {
            Decay::None => of(0.0),
            Decay::Gradient(rate) => of(rate),
            Decay::Decoupled(factor) => of(factor),
        };
        let (take1, beta2, take2) = (of(1.0 - self.beta1), of(self.beta2), of(1.0 - self.beta2));
        // Interpolates from the nearer end, as PyTorch's lerp does.
        let near_start = 1.0 - self.beta1 < 0.5;
        let rest1 = of(1.0) - take1;
        let (root, eps, step) = (of(self.root), of(self.eps), of(-self.step_size));
        let n = grad.len();
        // Equal lengths, said once, spare the loops their bounds checks.
        let (param, mean, square) = (&mut param[..n], &mut mean[..n], &mut square[..n]);
        let largest = if LARGEST { &mut largest[..n] } else { largest };
        for i in 0..n {
            let (mut g, mut p) = (T::Acc::load(grad[i]) * sign, T::Acc::load(param[i]));
            match form {
                AdamForm::Plain => {}
                AdamForm::Gradient => g += decay * p,
                AdamForm::Decoupled => p = p * decay,
            }
            let m = T::Acc::load(mean[i]);
            let away = g - m;
            let m = if near_start { m + take1 * away } else { g - away * rest1 };
            let v = T::Acc::load(square[i]) * beta2 + take2 * g * g;
            mean[i] = m.store();
            square[i] = v.store();
            let mut under = v;
            if LARGEST {
                let before = T::Acc::load(largest[i]);
                // NaN wins, as in PyTorch's maximum.
                if before > v || before.is_nan() {
                    under = before;
                }
                largest[i] = under.store();
            }
            let divisor = under.sqrt() / root + eps;
            param[i] = (p + step * m / divisor).store();
        }
    }

    #[inline(always)]
    fn choose<T: Float, const LARGEST: bool>(
        self,
        grad: &[T],
        param: &mut [T],
        mean: &mut [T],
        square: &mut [T],
        largest: &mut [T],
    ) {
        match self.decay {
            Decay::None => self.pass::<T, LARGEST>(AdamForm::Plain, grad, param, mean, square, largest),
            Decay::Gradient(_) => {
                self.pass::<T, LARGEST>(AdamForm::Gradient, grad, param, mean, square, largest)
            }
            Decay::Decoupled(_) => {
                self.pass::<T, LARGEST>(AdamForm::Decoupled, grad, param, mean, square, largest)
            }
        }
    }
}

impl<T: Float> Update<T, 3> for AdamStep {
    #[inline(always)]
    fn apply<A: Arch>(self, grad: &[T], [param, mean, square]: [&mut [T]; 3]) {
        self.choose::<T, false>(grad, param, mean, square, &mut []);
    }
}

impl<T: Float> Update<T, 4> for AdamStep {
    #[inline(always)]
    fn apply<A: Arch>(self, grad: &[T], [param, mean, square, largest]: [&mut [T]; 4]) {
        self.choose::<T, true>(grad, param, mean, square, largest);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cpu::arch::Portable;

    fn values(n: usize, seed: u64) -> Vec<f32> {
        let mut generator = crate::random::Generator::new(seed);
        let mut out = vec![0f32; n];
        generator.uniform(&mut out, -2.0, 2.0).expect("a range in order");
        out
    }

    /// The same piece on the instruction set in use and on plain instructions.
    pub(super) fn same_bits<const N: usize>(update: impl Update<f32, N>) {
        for n in [1, 7, 16, 1003] {
            let grad = values(n, 1);
            let mut fast: [Vec<f32>; N] = std::array::from_fn(|k| values(n, 2 + k as u64));
            // Means of squares are not negative.
            fast.iter_mut().skip(2).flatten().for_each(|x| *x = x.abs());
            let mut plain = fast.clone();
            dispatch_single::<f32, _>(Piece {
                grad: &grad,
                parts: fast.each_mut().map(|v| &mut v[..]),
                update,
            });
            let piece = Piece { grad: &grad, parts: plain.each_mut().map(|v| &mut v[..]), update };
            piece.run::<Portable>();
            let bits =
                |parts: &[Vec<f32>; N]| -> Vec<u32> { parts.iter().flatten().map(|x| x.to_bits()).collect() };
            assert_eq!(bits(&fast), bits(&plain));
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let sgd = SgdStep {
            lr: 0.1,
            momentum: 0.9,
            dampening: 0.05,
            weight_decay: 0.01,
            nesterov: false,
            maximize: false,
            first: false,
        };
        same_bits::<1>(sgd);
        same_bits::<2>(sgd);
        same_bits::<2>(SgdStep { nesterov: true, weight_decay: 0.0, maximize: true, ..sgd });
        let adam = AdamStep {
            step_size: 0.01,
            root: 0.3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            decay: Decay::None,
            maximize: false,
        };
        for decay in [Decay::None, Decay::Gradient(0.1), Decay::Decoupled(0.99)] {
            same_bits::<3>(AdamStep { decay, ..adam });
            same_bits::<4>(AdamStep { decay, beta1: 0.3, ..adam });
        }
    }
}
