//! Cross entropy of logits and class indices, fused with the logarithm of softmax, and the negative log likelihood of
//! log probabilities.

use kiln_storage::{Error, Result};

use super::lines::{LineOp, for_lines};
use super::{column_max, column_sum};
use crate::cpu::arch::Arch;
use crate::cpu::real::{Float, Number, Real};
use crate::cpu::reduce::{Axis, Max, Sum, SumExp, SumShifted, fold, whole_row};

/// How the losses of the positions become the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// One loss for each position.
    None,
    /// Their sum over the sum of the weights of their classes.
    Mean,
    /// Their sum.
    Sum,
}

/// The options of a loss with class indices as targets.
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropy<'a, T> {
    /// A weight for each class.
    pub weight: Option<&'a [T]>,
    /// Positions with this target count for nothing.
    pub ignore_index: i64,
    /// How much of the target's probability is spread over all classes.
    pub label_smoothing: f64,
    /// What becomes of the positions' losses.
    pub reduction: Reduction,
}

impl<T> Default for CrossEntropy<'_, T> {
    fn default() -> Self {
        CrossEntropy { weight: None, ignore_index: -100, label_smoothing: 0.0, reduction: Reduction::Mean }
    }
}

/// The options with weights in the type of calculation, and the targets.
struct Loss<'a, R> {
    targets: &'a [i64],
    classes: usize,
    weight: Option<&'a [R]>,
    ignore_index: i64,
    smoothing: R,
    reduction: Reduction,
}

impl<'a, R: Real> Loss<'a, R> {
    fn new<T: Float>(
        op: &'static str,
        options: &CrossEntropy<'_, T>,
        weight: Option<&'a [R]>,
        targets: &'a [i64],
        axis: Axis,
    ) -> Result<Loss<'a, R>> {
        let classes = axis.n;
        for (position, &t) in targets.iter().enumerate() {
            if t != options.ignore_index && (t < 0 || t as usize >= classes) {
                return Err(Error::index(
                    op,
                    format!(
                        "Target {t} is out of bounds: there are {classes} classes (target number {position})"
                    ),
                ));
            }
        }
        let (ignore_index, reduction) = (options.ignore_index, options.reduction);
        let smoothing = R::of(options.label_smoothing);
        Ok(Loss { targets, classes, weight, ignore_index, smoothing, reduction })
    }

    /// The target at a position, unless it is ignored.
    #[inline(always)]
    fn target(&self, position: usize) -> Option<usize> {
        let t = self.targets[position];
        // Checked by `new`: all others are classes.
        (t != self.ignore_index).then_some(t as usize)
    }

    #[inline(always)]
    fn weight(&self, class: usize) -> R {
        self.weight.map_or(R::ONE, |w| w[class])
    }

    /// The sum of all classes' weights.
    fn all_weights(&self) -> R {
        self.weight.map_or(R::of(self.classes as f64), |w| total(w))
    }

    /// The sum of the weights of the targets.
    fn total_weight(&self) -> R {
        let weights = (0..self.targets.len()).map(|p| self.target(p).map_or(R::ZERO, |t| self.weight(t)));
        total(&weights.collect::<Vec<_>>())
    }

    /// Turns the positions' losses into the result.
    fn reduce(&self, losses: &mut [R], out: &mut [R]) {
        match self.reduction {
            Reduction::None => out.copy_from_slice(losses),
            Reduction::Sum => out[0] = total(losses),
            Reduction::Mean => out[0] = total(losses) / self.total_weight(),
        }
    }

    /// The gradients for the positions' losses from those for the result.
    fn spread(&self, g: &[R]) -> Vec<R> {
        let scale = match self.reduction {
            Reduction::None => return g.to_vec(),
            Reduction::Sum => g[0],
            Reduction::Mean => g[0] / self.total_weight(),
        };
        vec![scale; self.targets.len()]
    }
}

fn total<R: Real>(x: &[R]) -> R {
    let mut sum = [R::ZERO];
    fold::<Sum<R, R>>(x, Axis::all(x.len()), &[], &mut sum);
    sum[0]
}

/// Runs `f` with the class weights in the type of calculation.
fn with_weight<T: Float, O>(weight: Option<&[T]>, f: impl FnOnce(Option<&[T::Acc]>) -> O) -> O {
    match weight {
        Some(w) => T::read(w, |w| f(Some(w))),
        None => f(None),
    }
}

/// The cross entropy of `logits`, whose axis are the classes, and `targets`, one for each line.
///
/// `out` has one element or, without reduction, one for each target. `stats` takes two numbers for each target, which
/// [`cross_entropy_backward`] needs.
///
/// # Errors
/// A target that is no class; nothing has been written then.
pub fn cross_entropy<T: Float>(
    logits: &[T],
    targets: &[i64],
    axis: Axis,
    options: &CrossEntropy<'_, T>,
    out: &mut [T],
    stats: &mut [T::Acc],
) -> Result<()> {
    with_weight(options.weight, |weight| {
        let loss = Loss::new("cross_entropy", options, weight, targets, axis)?;
        T::read(logits, |x| T::written(out, |out| forward(x, &loss, axis, out, stats)));
        Ok(())
    })
}

fn forward<R: Real>(x: &[R], loss: &Loss<'_, R>, axis: Axis, out: &mut [R], stats: &mut [R]) {
    for_lines(&LogSums { x }, axis, &mut [], stats);
    let mut losses = vec![R::ZERO; loss.targets.len()];
    let eps = loss.smoothing;
    let smooth = if eps == R::ZERO { Vec::new() } else { smoothed(x, loss, axis, stats) };
    for (position, l) in losses.iter_mut().enumerate() {
        let Some(t) = loss.target(position) else { continue };
        let (max, log_sum) = (stats[2 * position], stats[2 * position + 1]);
        let x = x[element(axis, position, t)];
        let nll = -(((x - max) - log_sum) * loss.weight(t));
        *l = match smooth.get(position) {
            Some(&s) => (R::ONE - eps) * nll + eps / R::of(axis.n as f64) * s,
            None => nll,
        };
    }
    loss.reduce(&mut losses, out);
}

/// For each position the sum over the classes of weight times negative log probability.
fn smoothed<R: Real>(x: &[R], loss: &Loss<'_, R>, axis: Axis, stats: &[R]) -> Vec<R> {
    let max: Vec<R> = stats.iter().step_by(2).copied().collect();
    let mut sums = vec![R::ZERO; loss.targets.len()];
    match loss.weight {
        None => fold::<SumShifted<R>>(x, axis, &max, &mut sums),
        Some(weight) => {
            let weighted: Vec<R> = (0..x.len())
                .map(|i| {
                    let (rest, c) = (i / axis.inner, i % axis.inner);
                    (x[i] - max[rest / axis.n * axis.inner + c]) * weight[rest % axis.n]
                })
                .collect();
            fold::<Sum<R, R>>(&weighted, axis, &[], &mut sums);
        }
    }
    let all = loss.all_weights();
    sums.iter().enumerate().map(|(p, &s)| stats[2 * p + 1] * all - s).collect()
}

/// The gradient for the logits, from the gradient `g` for the result of [`cross_entropy`] and its `stats`.
///
/// # Errors
/// As for [`cross_entropy`].
pub fn cross_entropy_backward<T: Float>(
    logits: &[T],
    targets: &[i64],
    axis: Axis,
    options: &CrossEntropy<'_, T>,
    stats: &[T::Acc],
    g: &[T],
    gx: &mut [T],
) -> Result<()> {
    with_weight(options.weight, |weight| {
        let loss = Loss::new("cross_entropy", options, weight, targets, axis)?;
        let g = T::read(g, |g| loss.spread(g));
        let all = loss.all_weights();
        T::read(logits, |x| {
            T::written(gx, |gx| for_lines(&Gradient { x, loss: &loss, stats, g: &g, all }, axis, gx, &mut []))
        });
        Ok(())
    })
}

/// The largest logit of each line, and the logarithm of the sum of `e^(logit - largest)`.
struct LogSums<'a, R> {
    x: &'a [R],
}

impl<R: Real> LineOp<R> for LogSums<'_, R> {
    fn inputs(&self) -> [&[R]; 2] {
        [self.x, &[]]
    }

    #[inline(always)]
    fn row<A: Arch>(&self, _line: usize, [x, _]: [&[R]; 2], _y: &mut [R], stats: &mut [R]) {
        let max = whole_row::<Max<R>, A>(x, R::LOWEST);
        stats[0] = max;
        stats[1] = whole_row::<SumExp<R>, A>(x, max).ln::<A>();
    }

    #[inline(always)]
    fn columns<A: Arch, const W: usize>(
        &self,
        _line: usize,
        [x, _]: [&[R]; 2],
        [n, stride, width]: [usize; 3],
        _y: &mut [R],
        stats: &mut [R],
    ) {
        let max = column_max::<R, W>(x, [n, stride, width]);
        let sum = column_sum::<R, W>([n, stride, width], |r, c| (x[r * stride + c] - max[c]).exp::<A>());
        let mut log = [R::ZERO; W];
        for c in 0..width {
            log[c] = sum[c].ln::<A>();
        }
        for (c, stats) in stats.chunks_exact_mut(2).enumerate() {
            stats[0] = max[c];
            stats[1] = log[c];
        }
    }
}

struct Gradient<'a, R> {
    x: &'a [R],
    loss: &'a Loss<'a, R>,
    stats: &'a [R],
    g: &'a [R],
    all: R,
}

impl<R: Real> Gradient<'_, R> {
    /// The factors of a line: of the probabilities, of the class weights, and what the target's gradient has less.
    #[inline(always)]
    fn factors(&self, line: usize) -> Option<(usize, R, R, R)> {
        let t = self.loss.target(line)?;
        let eps = self.loss.smoothing;
        let target = self.g[line] * (R::ONE - eps) * self.loss.weight(t);
        let spread = self.g[line] * eps / R::of(self.loss.classes as f64);
        Some((t, target + spread * self.all, spread, target))
    }
}

impl<R: Real> LineOp<R> for Gradient<'_, R> {
    fn inputs(&self) -> [&[R]; 2] {
        [self.x, &[]]
    }

    #[inline(always)]
    fn row<A: Arch>(&self, line: usize, [x, _]: [&[R]; 2], gx: &mut [R], _stats: &mut [R]) {
        let Some((t, of_p, of_w, of_target)) = self.factors(line) else { return gx.fill(R::ZERO) };
        let (max, log_sum) = (self.stats[2 * line], self.stats[2 * line + 1]);
        for (gx, &x) in gx.iter_mut().zip(x) {
            *gx = of_p * ((x - max) - log_sum).exp::<A>();
        }
        if of_w != R::ZERO {
            for (c, gx) in gx.iter_mut().enumerate() {
                *gx = *gx - of_w * self.loss.weight(c);
            }
        }
        gx[t] = gx[t] - of_target;
    }

    #[inline(always)]
    fn columns<A: Arch, const W: usize>(
        &self,
        line: usize,
        [x, _]: [&[R]; 2],
        [n, stride, width]: [usize; 3],
        gx: &mut [R],
        _stats: &mut [R],
    ) {
        let (mut max, mut log_sum) = ([R::ZERO; W], [R::ZERO; W]);
        let (mut of_p, mut of_w) = ([R::ZERO; W], [R::ZERO; W]);
        // A tile of short rows may be wider than there are lines.
        let lines = width.min(self.loss.targets.len() - line);
        for c in 0..lines {
            max[c] = self.stats[2 * (line + c)];
            log_sum[c] = self.stats[2 * (line + c) + 1];
            (_, of_p[c], of_w[c], _) = self.factors(line + c).unwrap_or((0, R::ZERO, R::ZERO, R::ZERO));
        }
        for r in 0..n {
            let (x, gx) = (&x[r * stride..][..width], &mut gx[r * stride..][..width]);
            let weight = self.loss.weight(r);
            for c in 0..width {
                gx[c] = of_p[c] * ((x[c] - max[c]) - log_sum[c]).exp::<A>() - of_w[c] * weight;
            }
        }
        for c in 0..lines {
            match self.factors(line + c) {
                Some((t, _, _, of_target)) => gx[t * stride + c] = gx[t * stride + c] - of_target,
                // Zero times an infinite logit would have been NaN.
                None => (0..n).for_each(|r| gx[r * stride + c] = R::ZERO),
            }
        }
    }
}

/// The negative log likelihood: minus the weighted log probability of the target, read from `x`, whose axis are the
/// classes. `label_smoothing` is not used.
///
/// # Errors
/// A target that is no class; nothing has been written then.
pub fn nll_loss<T: Float>(
    x: &[T],
    targets: &[i64],
    axis: Axis,
    options: &CrossEntropy<'_, T>,
    out: &mut [T],
) -> Result<()> {
    with_weight(options.weight, |weight| {
        let loss = Loss::new("nll_loss", options, weight, targets, axis)?;
        let mut losses: Vec<T::Acc> = (0..targets.len())
            .map(|p| match loss.target(p) {
                Some(t) => -(T::Acc::load(x[element(axis, p, t)]) * loss.weight(t)),
                None => T::Acc::ZERO,
            })
            .collect();
        T::written(out, |out| loss.reduce(&mut losses, out));
        Ok(())
    })
}

/// The gradient for the log probabilities, from the gradient `g` for the result of [`nll_loss`].
///
/// # Errors
/// As for [`nll_loss`].
pub fn nll_loss_backward<T: Float>(
    targets: &[i64],
    axis: Axis,
    options: &CrossEntropy<'_, T>,
    g: &[T],
    gx: &mut [T],
) -> Result<()> {
    with_weight(options.weight, |weight| {
        let loss = Loss::new("nll_loss", options, weight, targets, axis)?;
        let g = T::read(g, |g| loss.spread(g));
        gx.fill(T::default());
        for (p, g) in g.into_iter().enumerate() {
            if let Some(t) = loss.target(p) {
                gx[element(axis, p, t)] = (-(g * loss.weight(t))).store();
            }
        }
        Ok(())
    })
}

/// Where class `t` of line `line` is.
#[inline(always)]
fn element(axis: Axis, line: usize, t: usize) -> usize {
    (line / axis.inner * axis.n + t) * axis.inner + line % axis.inner
}
