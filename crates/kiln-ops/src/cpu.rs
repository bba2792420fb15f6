//! The host backend: one line per kernel family.

pub mod arch;
mod attention;
pub mod conv;
mod convert;
mod elementwise;
mod families;
#[cfg(feature = "fft")]
mod fft;
mod gather;
pub mod gemm;
pub(crate) mod host;
mod index;
mod join;
mod linalg;
pub(crate) mod loops;
mod mask;
pub mod math;
mod matmul;
pub mod norm;
pub(crate) mod num;
mod optim;
pub mod pool;
pub mod pool2d;
mod real;
mod recurrent;
pub mod reduce;
pub mod scan;
mod search;
pub mod softmax;
pub mod sort;
pub(crate) mod special;
pub(crate) mod split;
pub(crate) mod stream;
pub(crate) mod transpose;
pub(crate) mod walk;
mod widen;

use kiln_storage::{RawTensor, Result};

use crate::op::Op;
use index::Plan;

/// Executes a kernel on host tensors; see [`Op`] for the operands of each.
pub(crate) fn execute(op: &'static str, kernel: &Op, ins: &[&RawTensor], outs: &[&RawTensor]) -> Result<()> {
    match widen::wider(kernel, ins) {
        Some(wider) => widen::execute(op, kernel, wider, ins, outs),
        None => execute_as_is(op, kernel, ins, outs),
    }
}

/// [`execute`] for operands of the dtypes that the kernel exists for.
fn execute_as_is(op: &'static str, kernel: &Op, ins: &[&RawTensor], outs: &[&RawTensor]) -> Result<()> {
    match *kernel {
        Op::Float(code, compute) => elementwise::float(op, code, compute, ins[0], outs[0]),
        Op::Num(code, compute) => elementwise::num(op, code, compute, ins[0], outs[0]),
        Op::Test(code, compute) => elementwise::test(op, code, compute, ins[0], outs[0]),
        Op::Binary(code, compute) => elementwise::binary(op, code, compute, [ins[0], ins[1]], outs[0]),
        Op::FloatBinary(code, compute) => {
            elementwise::float_binary(op, code, compute, [ins[0], ins[1]], outs[0])
        }
        Op::IntBinary(code, compute) => elementwise::int(op, code, compute, [ins[0], ins[1]], outs[0]),
        Op::Compare(code, compute) => elementwise::compare(op, code, compute, [ins[0], ins[1]], outs[0]),
        Op::Ternary(code, compute) => {
            elementwise::ternary(op, code, compute, [ins[0], ins[1], ins[2]], outs[0])
        }
        Op::Where => elementwise::where_(op, [ins[0], ins[1], ins[2]], outs[0]),
        Op::Copy => elementwise::copy(op, ins[0], outs[0]),
        Op::Fill(value) => elementwise::fill(op, value, outs[0]),
        Op::Reduce(code, axis) => families::reduce(op, code, axis, ins[0], outs[0]),
        Op::ArgReduce(code, axis) => families::arg_reduce(op, code, axis, ins[0], outs),
        Op::Softmax { axis, log } => families::softmax(op, axis, log, ins[0], outs[0]),
        Op::SoftmaxGrad { axis, log } => families::softmax_grad(op, axis, log, [ins[0], ins[1]], outs[0]),
        Op::CrossEntropy(axis, options) => {
            families::cross_entropy(op, axis, options, ins, [outs[0], outs[1]])
        }
        Op::CrossEntropyGrad(axis, options) => families::cross_entropy_grad(op, axis, options, ins, outs[0]),
        Op::NllLoss(axis, options) => families::nll_loss(op, axis, options, ins, outs[0]),
        Op::NllLossGrad(axis, options) => families::nll_loss_grad(op, axis, options, ins, outs[0]),
        Op::RowNorm(norm) => norm::row(op, norm, ins, [outs[0], outs[1]]),
        Op::RowNormGrad(norm) => norm::row_grad(op, norm, ins, [outs[0], outs[1], outs[2]]),
        Op::GroupNorm(norm) => norm::group(op, norm, ins, [outs[0], outs[1]]),
        Op::GroupNormGrad(norm) => norm::group_grad(op, norm, ins, [outs[0], outs[1], outs[2]]),
        Op::BatchStats(axis) => norm::batch_stats(op, axis, ins[0], [outs[0], outs[1]]),
        Op::BatchNorm(ref norm) => norm::batch(op, norm, ins, outs[0]),
        Op::BatchNormGrad(ref norm) => norm::batch_grad(op, norm, ins, [outs[0], outs[1], outs[2]]),
        Op::MaxPool(ref shape) => families::max_pool(op, shape, ins[0], outs),
        Op::MaxPoolGrad(ref shape) => families::max_pool_grad(op, shape, [ins[0], ins[1]], outs[0]),
        Op::AvgPool(ref shape, options) => families::avg_pool(op, shape, options, ins[0], outs[0]),
        Op::AvgPoolGrad(ref shape, options) => families::avg_pool_grad(op, shape, options, ins[0], outs[0]),
        Op::AdaptiveMaxPool(ref shape) => families::adaptive_max_pool(op, shape, ins[0], [outs[0], outs[1]]),
        Op::AdaptiveAvgPool(ref shape) => families::adaptive_avg_pool(op, shape, ins[0], outs[0]),
        Op::AdaptiveAvgPoolGrad(ref shape) => families::adaptive_avg_pool_grad(op, shape, ins[0], outs[0]),
        Op::Conv(ref shape) => families::conv(op, shape, ins, outs[0]),
        Op::ConvInput(ref shape) => families::conv_input(op, shape, ins, outs[0]),
        Op::ConvWeight(ref shape) => families::conv_weight(op, shape, [ins[0], ins[1]], outs[0]),
        Op::Attention(ref a) => attention::attention(op, a, ins, outs[0]),
        Op::AttentionGrad(ref a) => attention::attention_grad(op, a, ins, outs),
        Op::SgdStep(ref step) => optim::sgd(op, step, ins, outs),
        Op::AdamStep(ref step) => optim::adam(op, step, ins, outs),
        Op::RecurrentPass { ref pass, bias, projected, keep } => {
            recurrent::pass(op, pass, recurrent::With { bias, projected, keep }, ins, outs)
        }
        Op::RecurrentPassGrad { ref pass, projected, by_steps } => {
            recurrent::pass_grad(op, pass, projected, by_steps, ins, outs)
        }
        Op::AdaptiveStep(ref step) => optim::adaptive::adaptive(op, step, ins, outs),
        Op::Flip { ref axes } => join::flip(op, axes, ins[0], outs[0]),
        Op::Triangle { upper, diagonal } => join::triangle(op, upper, diagonal, ins[0], outs[0]),
        Op::Index { ref axes, place, wrap } => index::get(op, Plan { axes, place, wrap }, ins, outs[0]),
        Op::IndexPut { ref axes, place, wrap, combine } => {
            index::put(op, Plan { axes, place, wrap }, combine, ins, outs[0])
        }
        Op::Gather { axis, wrap } => gather::gather(op, axis, wrap, [ins[0], ins[1]], outs[0]),
        Op::Scatter { axis, combine } => gather::scatter(op, axis, combine, [ins[0], ins[1]], outs[0]),
        Op::CountTrue => mask::count(op, ins[0], outs[0]),
        Op::Nonzero => mask::nonzero(op, ins[0], outs[0]),
        Op::MaskedSelect => mask::select(op, [ins[0], ins[1]], outs[0]),
        Op::MaskedScatter => mask::scatter(op, [ins[0], ins[1]], outs[0]),
        Op::SearchSorted { right } => search::search_sorted(op, right, [ins[0], ins[1]], outs[0]),
        Op::Sort { descending } => families::sort(op, descending, ins[0], [outs[0], outs[1]]),
        Op::TopK { largest } => families::top_k(op, largest, ins[0], [outs[0], outs[1]]),
        Op::KthValue { k } => families::kth_value(op, k, ins[0], [outs[0], outs[1]]),
        Op::Mode => families::mode(op, ins[0], [outs[0], outs[1]]),
        Op::Scan(code, axis) => families::scan(op, code, axis, ins[0], outs[0]),
        Op::ScanExtreme(code, axis) => families::scan_extreme(op, code, axis, ins[0], [outs[0], outs[1]]),
        Op::Special(code) => special::unary(op, code.function_for(outs[0].dtype()), ins[0], outs[0]),
        Op::SpecialBinary(code) => special::binary(op, code.function(), [ins[0], ins[1]], outs[0]),
        Op::Linalg(code) => linalg::execute(op, code, ins, outs),
        #[cfg(feature = "fft")]
        Op::Fft { inverse } => fft::fft(op, inverse, ins[0], outs[0]),
        Op::Matmul { accumulate } => matmul::matmul(op, ins, outs[0], accumulate),
    }
}
