//! The kernels of [`crate::optim::AdaptiveStep`]: what happens to one element, and the loop over all.

use kiln_storage::{RawTensor, Result, with_dtype};

use super::{Arch, Update, not_float, over};
use crate::cpu::real::{Float, Number, Real};
use crate::optim::{
    AdadeltaStep, AdagradStep, AdamaxStep, AdaptiveStep, Decay, Direction, NadamStep, RadamStep, RmspropStep,
};

/// See [`crate::Op::AdaptiveStep`].
pub(crate) fn adaptive(
    op: &'static str,
    step: &AdaptiveStep,
    ins: &[&RawTensor],
    outs: &[&RawTensor],
) -> Result<()> {
    with_dtype!(outs[0].dtype(), [F32, F64], T => {
        match *step {
            AdaptiveStep::Adagrad(step) => over::<T, 2, _>(op, ins, outs, Each(step)),
            AdaptiveStep::Adadelta(step) => over::<T, 3, _>(op, ins, outs, Each(step)),
            AdaptiveStep::Rmsprop(step) => match outs.len() / ins.len() {
                2 => over::<T, 2, _>(op, ins, outs, Each(step)),
                3 => over::<T, 3, _>(op, ins, outs, Each(step)),
                _ => over::<T, 4, _>(op, ins, outs, Each(step)),
            },
            AdaptiveStep::Adamax(step) => over::<T, 3, _>(op, ins, outs, Each(step)),
            AdaptiveStep::Nadam(step) => over::<T, 3, _>(op, ins, outs, Each(step)),
            AdaptiveStep::Radam(step) => over::<T, 3, _>(op, ins, outs, Each(step)),
        }
    }, else => Err(not_float(op, outs[0])))
}

/// A step as a function of one element: its gradient, and the parameter followed by its state.
trait PerElement<const N: usize>: Copy + Sync {
    fn element<R: Real>(self, grad: R, values: [R; N]) -> [R; N];
}

/// The loop over a [`PerElement`].
#[derive(Clone, Copy)]
struct Each<U>(U);

/// So many elements are worked on at a time, in memory of their own that the compiler knows to be apart.
const TILE: usize = 64;

impl<T: Float, const N: usize, U: PerElement<N>> Update<T, N> for Each<U> {
    #[inline(always)]
    fn apply<A: Arch>(self, grad: &[T], mut outs: [&mut [T]; N]) {
        let mut grads = [T::Acc::ZERO; TILE];
        let mut values = [[T::Acc::ZERO; TILE]; N];
        for start in (0..grad.len()).step_by(TILE) {
            let part = start..grad.len().min(start + TILE);
            let n = part.len();
            for (to, from) in grads.iter_mut().zip(&grad[part.clone()]) {
                *to = T::Acc::load(*from);
            }
            for (tile, out) in values.iter_mut().zip(&outs) {
                for (to, from) in tile.iter_mut().zip(&out[part.clone()]) {
                    *to = T::Acc::load(*from);
                }
            }
            for i in 0..n {
                let done = self.0.element(grads[i], std::array::from_fn(|k| values[k][i]));
                for k in 0..N {
                    values[k][i] = done[k];
                }
            }
            for (tile, out) in values.iter().zip(&mut outs) {
                for (from, to) in tile.iter().zip(&mut out[part.clone()]) {
                    *to = from.store();
                }
            }
        }
    }
}

impl Direction {
    /// The gradient and the parameter that the step starts from.
    #[inline(always)]
    fn apply<R: Real>(self, grad: R, param: R) -> (R, R) {
        let grad = if self.maximize { -grad } else { grad };
        match self.decay {
            Decay::None => (grad, param),
            Decay::Gradient(rate) => (grad + R::of(rate) * param, param),
            Decay::Decoupled(factor) => (grad, param * R::of(factor)),
        }
    }
}

/// `from + weight (to - from)`, from the nearer end, as PyTorch's lerp.
#[inline(always)]
fn lerp<R: Real>(from: R, to: R, weight: f64) -> R {
    let away = to - from;
    let weight_here = R::of(weight);
    if weight < 0.5 { from + weight_here * away } else { to - away * (R::of(1.0) - weight_here) }
}

/// The running mean of squares: `beta v + (1 - beta) x^2`.
#[inline(always)]
fn mean_square<R: Real>(mean: R, x: R, beta: f64) -> R {
    mean * R::of(beta) + R::of(1.0 - beta) * x * x
}

impl PerElement<2> for AdagradStep {
    #[inline(always)]
    fn element<R: Real>(self, grad: R, [param, sum]: [R; 2]) -> [R; 2] {
        let (g, p) = self.direction.apply(grad, param);
        let sum = sum + g * g;
        [p + R::of(-self.lr) * g / (sum.sqrt() + R::of(self.eps)), sum]
    }
}

impl PerElement<3> for AdadeltaStep {
    #[inline(always)]
    fn element<R: Real>(self, grad: R, [param, square, steps]: [R; 3]) -> [R; 3] {
        let (g, p) = self.direction.apply(grad, param);
        let eps = R::of(self.eps);
        let square = mean_square(square, g, self.rho);
        let delta = (steps + eps).sqrt() / (square + eps).sqrt() * g;
        [p + R::of(-self.lr) * delta, square, mean_square(steps, delta, self.rho)]
    }
}

impl RmspropStep {
    /// The divisor, and the mean for the centered form.
    #[inline(always)]
    fn divisor<R: Real>(self, g: R, square: R, mean: R) -> (R, R) {
        let eps = R::of(self.eps);
        if self.centered {
            let mean = lerp(mean, g, 1.0 - self.alpha);
            ((square - mean * mean).sqrt() + eps, mean)
        } else {
            (square.sqrt() + eps, mean)
        }
    }
}

impl PerElement<2> for RmspropStep {
    #[inline(always)]
    fn element<R: Real>(self, grad: R, [param, square]: [R; 2]) -> [R; 2] {
        let (g, p) = self.direction.apply(grad, param);
        let square = mean_square(square, g, self.alpha);
        let (divisor, _) = self.divisor(g, square, R::ZERO);
        [p + R::of(-self.lr) * g / divisor, square]
    }
}

/// The third value is the mean or the buffer.
impl PerElement<3> for RmspropStep {
    #[inline(always)]
    fn element<R: Real>(self, grad: R, [param, square, third]: [R; 3]) -> [R; 3] {
        let (g, p) = self.direction.apply(grad, param);
        let square = mean_square(square, g, self.alpha);
        let (divisor, mean) = self.divisor(g, square, third);
        if self.centered {
            return [p + R::of(-self.lr) * g / divisor, square, mean];
        }
        let buffer = third * R::of(self.momentum) + g / divisor;
        [p + R::of(-self.lr) * buffer, square, buffer]
    }
}

impl PerElement<4> for RmspropStep {
    #[inline(always)]
    fn element<R: Real>(self, grad: R, [param, square, buffer, mean]: [R; 4]) -> [R; 4] {
        let (g, p) = self.direction.apply(grad, param);
        let square = mean_square(square, g, self.alpha);
        let (divisor, mean) = self.divisor(g, square, mean);
        let buffer = buffer * R::of(self.momentum) + g / divisor;
        [p + R::of(-self.lr) * buffer, square, buffer, mean]
    }
}

impl PerElement<3> for AdamaxStep {
    #[inline(always)]
    fn element<R: Real>(self, grad: R, [param, mean, largest]: [R; 3]) -> [R; 3] {
        let (g, p) = self.direction.apply(grad, param);
        let mean = lerp(mean, g, 1.0 - self.beta1);
        let (before, now) = (largest * R::of(self.beta2), g.abs() + R::of(self.eps));
        // NaN wins, as in PyTorch's maximum.
        let largest = if before > now || before.is_nan() { before } else { now };
        [p + R::of(-self.step_size) * mean / largest, mean, largest]
    }
}

impl PerElement<3> for NadamStep {
    #[inline(always)]
    fn element<R: Real>(self, grad: R, [param, mean, square]: [R; 3]) -> [R; 3] {
        let (g, p) = self.direction.apply(grad, param);
        let mean = lerp(mean, g, 1.0 - self.beta1);
        let square = mean_square(square, g, self.beta2);
        let divisor = (square / R::of(self.correction)).sqrt() + R::of(self.eps);
        let p = p + R::of(-self.along_grad) * g / divisor;
        [p + R::of(-self.along_mean) * mean / divisor, mean, square]
    }
}

impl PerElement<3> for RadamStep {
    #[inline(always)]
    fn element<R: Real>(self, grad: R, [param, mean, square]: [R; 3]) -> [R; 3] {
        let (g, p) = self.direction.apply(grad, param);
        let mean = lerp(mean, g, 1.0 - self.beta1);
        let square = mean_square(square, g, self.beta2);
        let along = mean / R::of(self.correction) * R::of(self.lr);
        let along = match self.scale {
            None => along,
            Some((root, rectification)) => {
                along * (R::of(root) / (square.sqrt() + R::of(self.eps))) * R::of(rectification)
            }
        };
        [p - along, mean, square]
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::same_bits;
    use super::*;

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let direction = Direction { decay: Decay::Gradient(0.1), maximize: false };
        same_bits::<2>(Each(AdagradStep { direction, lr: 0.1, eps: 1e-8 }));
        let climb = Direction { decay: Decay::None, maximize: true };
        same_bits::<3>(Each(AdadeltaStep { direction: climb, lr: 0.5, rho: 0.9, eps: 1e-6 }));
        let rmsprop =
            RmspropStep { direction, lr: 0.1, alpha: 0.9, eps: 1e-3, momentum: 0.0, centered: false };
        same_bits::<2>(Each(rmsprop));
        same_bits::<3>(Each(RmspropStep { momentum: 0.5, ..rmsprop }));
        same_bits::<3>(Each(AdamaxStep { direction, step_size: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-8 }));
        let decoupled = Direction { decay: Decay::Decoupled(0.99), maximize: false };
        let nadam = NadamStep {
            direction: decoupled,
            along_grad: 0.1,
            along_mean: 0.2,
            correction: 0.5,
            beta1: 0.3,
            beta2: 0.99,
            eps: 1e-8,
        };
        same_bits::<3>(Each(nadam));
        let radam = RadamStep {
            direction,
            lr: 0.1,
            correction: 0.7,
            scale: Some((0.4, 0.6)),
            beta1: 0.9,
            beta2: 0.99,
            eps: 1e-8,
        };
        same_bits::<3>(Each(radam));
    }
}
