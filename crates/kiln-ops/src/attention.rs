//! Scaled dot product attention in one kernel, and its derivative. float32 and float64.

use kiln_storage::{DType, Error, RawTensor, Result, Scalar, Shape, broadcast_shapes};

use crate::backend::{run, uninit};
use crate::copy::contiguous;
use crate::create::fill_;
use crate::op::Op;
use crate::rules::same_device;

/// How scores are made.
#[derive(Clone, Copy, Debug)]
pub struct Attention {
    /// Query `i` sees the keys up to `i`.
    pub causal: bool,
    /// What the products of queries and keys are multiplied by.
    pub scale: f64,
}

/// Operands with the same leading axes, contiguous, and those axes.
struct Operands {
    all: Vec<RawTensor>,
    mask: Option<RawTensor>,
    batch: Shape,
}

fn last(t: &RawTensor, from_end: usize) -> usize {
    t.shape()[t.rank() - from_end]
}

/// Checks queries, keys, values and perhaps gradients of the result.
fn checked(op: &'static str, all: &[&RawTensor], mask: Option<&RawTensor>) -> Result<Operands> {
    let mut everything = all.to_vec();
    everything.extend(mask);
    same_device(op, &everything)?;
    let dtype = all[0].dtype();
    if !matches!(dtype, DType::F32 | DType::F64) || everything.iter().any(|t| t.dtype() != dtype) {
        return Err(Error::dtype(
            op,
            format!(
                "expected operands of float32 or of float64, got {:?}",
                everything.iter().map(|t| t.dtype()).collect::<Vec<_>>()
            ),
        ));
    }
    let fits = all.iter().all(|t| t.rank() >= 2)
        && last(all[0], 1) == last(all[1], 1)
        && last(all[1], 2) == last(all[2], 2)
        && all.get(3).is_none_or(|g| last(g, 2) == last(all[0], 2) && last(g, 1) == last(all[2], 1));
    if !fits {
        return Err(Error::shape(
            op,
            format!(
                "queries [.., l, e], keys [.., s, e] and values [.., s, v] do not fit: {:?}",
                all.iter().map(|t| t.shape().clone()).collect::<Vec<_>>()
            ),
        ));
    }
    let leading = |t: &RawTensor| Shape::new(&t.shape()[..t.rank() - 2]);
    let mut batch = Shape::new(&[]);
    for t in all {
        batch = broadcast_shapes(op, &batch, &leading(t))?;
    }
    let spread = |t: &RawTensor, sizes: [usize; 2]| -> Result<RawTensor> {
        let shape: Shape = batch.iter().copied().chain(sizes).collect();
        Ok(t.with_layout(t.layout().broadcast_to(op, &shape)?))
    };
    let contiguous = |t: &&RawTensor| contiguous(&spread(t, [last(t, 2), last(t, 1)])?);
    let mask = mask.map(|m| spread(m, [last(all[0], 2), last(all[1], 2)])).transpose()?;
    Ok(Operands { all: all.iter().map(contiguous).collect::<Result<_>>()?, mask, batch })
}

impl Operands {
    /// A tensor with the leading axes.
    fn uninit(&self, op: &'static str, sizes: [usize; 2]) -> Result<RawTensor> {
        let shape: Shape = self.batch.iter().copied().chain(sizes).collect();
        uninit(op, &shape, self.all[0].dtype(), self.all[0].device())
    }

    /// Runs a kernel, unless there is nothing to compute: then the results are zeros.
    fn run(&self, op: &'static str, kernel: &Op, outs: &[&RawTensor]) -> Result<()> {
        if last(&self.all[0], 2) == 0 || self.all[2].numel() == 0 {
            return outs.iter().try_for_each(|t| fill_(t, Scalar::from(0.0f32)));
        }
        let ins: Vec<&RawTensor> = self.all.iter().chain(&self.mask).collect();
        run(op, kernel, &ins, outs)
    }
}

/// `softmax(q k^T scale + mask) v` for queries `[.., l, e]`, keys `[.., s, e]` and values `[.., s, v]`, whose leading axes
/// broadcast: `[.., l, v]`. A query all of whose scores the mask makes minus infinity gets zeros.
///
/// # Errors
/// Shapes, dtypes or devices that do not fit.
pub fn attention(
    a: &Attention,
    q: &RawTensor,
    k: &RawTensor,
    v: &RawTensor,
    mask: Option<&RawTensor>,
) -> Result<RawTensor> {
    const OP: &str = "scaled_dot_product_attention";
    let operands = checked(OP, &[q, k, v], mask)?;
    let y = operands.uninit(OP, [last(q, 2), last(v, 1)])?;
    operands.run(OP, &Op::Attention(*a), &[&y])?;
    Ok(y)
}

/// The gradients of [`attention`] for queries, keys and values from that of its result, with all leading axes.
///
/// # Errors
/// As [`attention`].
pub fn attention_backward(
    a: &Attention,
    [q, k, v]: [&RawTensor; 3],
    mask: Option<&RawTensor>,
    g: &RawTensor,
) -> Result<[RawTensor; 3]> {
    const OP: &str = "scaled_dot_product_attention_backward";
    let operands = checked(OP, &[q, k, v, g], mask)?;
    let [gq, gk, gv] = [q, k, v].map(|t| operands.uninit(OP, [last(t, 2), last(t, 1)]));
    let all = [gq?, gk?, gv?];
    operands.run(OP, &Op::AttentionGrad(*a), &all.each_ref())?;
    Ok(all)
}
