//! Scaled dot product attention and its derivative, some queries at a time: what is kept of the weights at once is
//! those of a few queries of each thread, in memory that stays in the cache. Rabe and Staats, "Self-attention Does Not Need
//! O(n^2) Memory" (2021).

use kiln_storage::{Error, RawTensor, Result, with_dtype};

use super::arch::isa;
use super::gemm::{self, Epilogue, Packed, gemm};
use super::host::Host;
use super::loops::SendPtr;
use super::pool::parallel_for;
use super::real::Real;
use super::reduce::Axis;
use super::softmax::{softmax, softmax_backward};
use crate::attention::Attention;

/// How many queries are handled together. A constant of the results: the gradients of keys and values are added up over
/// blocks of queries.
const BLOCK: usize = 64;
/// From how many heads on a thread has a head to itself.
const MANY: usize = 4;

fn not_implemented(op: &'static str, t: &RawTensor) -> Error {
    Error::dtype(op, format!("\"{op}\" is not implemented for {}", t.dtype()))
}

/// Numbers added to the scores, of any layout.
struct Mask<'a> {
    start: SendPtr,
    t: &'a RawTensor,
}

impl Mask<'_> {
    /// Adds those for some queries of one head to the scores; a query all of whose scores are minus infinity sees no key,
    /// and `blind` is told its row.
    fn add<T: Real + PartialOrd>(
        &self,
        head: usize,
        first: usize,
        keys: usize,
        scores: &mut [T],
        mut blind: impl FnMut(usize),
    ) {
        let (shape, strides) = (self.t.shape(), self.t.layout().strides());
        let rank = shape.rank();
        let (mut rest, mut at) = (head, 0);
        for axis in (0..rank - 2).rev() {
            at += rest % shape[axis] * strides[axis];
            rest /= shape[axis];
        }
        let start = self.start.get().cast::<T>().cast_const();
        for (row, scores) in scores.chunks_exact_mut(keys).enumerate() {
            let from = at + (first + row) * strides[rank - 2];
            let mut seen = false;
            for (j, x) in scores.iter_mut().enumerate() {
                // SAFETY: head, query and key lie inside the mask, whose storage the caller has locked.
                *x += unsafe { *start.add(from + j * strides[rank - 1]) };
                seen |= *x != T::LOWEST;
            }
            if !seen {
                blind(row);
            }
        }
    }
}

/// The sizes of one head: queries, keys, their width, the width of values.
#[derive(Clone, Copy)]
struct Head {
    l: usize,
    s: usize,
    e: usize,
    v: usize,
    causal: bool,
    scale: f64,
}

impl Head {
    fn new(a: &Attention, q: &RawTensor, v: &RawTensor) -> (usize, Head) {
        let rank = q.rank();
        let (l, e) = (q.shape()[rank - 2], q.shape()[rank - 1]);
        let (s, width) = (v.shape()[rank - 2], v.shape()[rank - 1]);
        let heads = q.shape()[..rank - 2].iter().product();
        (heads, Head { l, s, e, v: width, causal: a.causal, scale: a.scale })
    }

    /// The blocks of queries: the first one, how many, and how many keys they see at most.
    fn blocks(self) -> impl Iterator<Item = (usize, usize, usize)> {
        (0..self.l).step_by(BLOCK).map(move |start| {
            let rows = BLOCK.min(self.l - start);
            (start, rows, if self.causal { self.s.min(start + rows) } else { self.s })
        })
    }
}

/// What a head needs on the way, for one block of queries.
struct Room<T> {
    queries: Vec<T>,
    scores: Vec<T>,
    weights: Vec<T>,
}

impl<T: Real + PartialOrd + gemm::Real> Room<T> {
    fn new(h: Head) -> Room<T> {
        let new = |width: usize| vec![T::ZERO; BLOCK.min(h.l) * width];
        Room { queries: new(h.e), scores: new(h.s), weights: new(h.s) }
    }

    /// The scaled queries of a block, and the weights of `seen` keys for each of them.
    fn weigh(
        &mut self,
        h: Head,
        (start, rows, seen): (usize, usize, usize),
        q: &[T],
        keys: &Packed<T>,
        mask: Option<(&Mask<'_>, usize)>,
    ) {
        let queries = &mut self.queries[..rows * h.e];
        let scale = T::of(h.scale);
        queries.iter_mut().zip(&q[start * h.e..]).for_each(|(to, &x)| *to = x * scale);
        let (scores, weights) = (&mut self.scores[..rows * seen], &mut self.weights[..rows * seen]);
        keys.part([h.e, seen], queries, scores, false, None);
        if h.causal {
            for (row, scores) in scores.chunks_exact_mut(seen).enumerate() {
                scores[seen.min(start + row + 1)..].fill(T::LOWEST);
            }
        }
        let mut blind = [false; BLOCK];
        if let Some((mask, head)) = mask {
            mask.add(head, start, seen, scores, |row| blind[row] = true);
        }
        softmax(scores, Axis { outer: rows, n: seen, inner: 1 }, false, weights);
        for (weights, _) in weights.chunks_exact_mut(seen).zip(blind).filter(|(_, blind)| *blind) {
            weights.fill(T::ZERO);
        }
    }
}

/// Calls `task` for each head: side by side if there are many of them.
fn for_heads<F: Fn(usize) + Sync>(heads: usize, task: &F) {
    if heads < MANY { (0..heads).for_each(task) } else { parallel_for(heads, task) }
}

/// Memory that heads write their own parts of.
struct Parts<T>(*mut T);
// SAFETY: heads write disjoint parts.
unsafe impl<T> Sync for Parts<T> {}

impl<T> Parts<T> {
    fn new(t: &mut [T]) -> Parts<T> {
        Parts(t.as_mut_ptr())
    }

    /// The part of a head.
    ///
    /// # Safety
    /// The part lies inside the memory, and is asked for once.
    #[allow(clippy::mut_from_ref)]
    unsafe fn of(&self, head: usize, len: usize) -> &mut [T] {
        // SAFETY: passed on to the caller.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(head * len), len) }
    }
}

fn mask_of<'a>(t: Option<&'a &RawTensor>) -> Option<Mask<'a>> {
    t.map(|t| Mask { start: SendPtr(t.host_ptr().expect("host kernels get host tensors")), t })
}

/// See [`crate::Op::Attention`].
pub(super) fn attention(op: &'static str, a: &Attention, ins: &[&RawTensor], y: &RawTensor) -> Result<()> {
    let host = Host::lock(op, ins, &[y])?;
    with_dtype!(y.dtype(), [F32, F64], T => {
        let [q, k, v] = [0, 1, 2].map(|i| host.input::<T>(ins[i]));
        let (heads, h) = Head::new(a, ins[0], ins[2]);
        // SAFETY: the only slice of the output, which has memory of its own.
        forward(heads, h, [q, k, v], mask_of(ins.get(3)), unsafe { host.output(y) });
        Ok(())
    }, else => Err(not_implemented(op, y)))
}

fn forward<T: Real + PartialOrd + gemm::Real>(
    heads: usize,
    h: Head,
    [q, k, v]: [&[T]; 3],
    mask: Option<Mask<'_>>,
    y: &mut [T],
) {
    let y = Parts::new(y);
    for_heads(heads, &|head| {
        let q = &q[head * h.l * h.e..][..h.l * h.e];
        let keys = Packed::new(isa(), &k[head * h.s * h.e..][..h.s * h.e], [h.e, h.s], [1, h.e]);
        let values = Packed::new(isa(), &v[head * h.s * h.v..][..h.s * h.v], [h.s, h.v], [h.v, 1]);
        // SAFETY: each head has its own part of the result.
        let y = unsafe { y.of(head, h.l * h.v) };
        let mut room = Room::new(h);
        for (start, rows, seen) in h.blocks() {
            room.weigh(h, (start, rows, seen), q, &keys, mask.as_ref().map(|mask| (mask, head)));
            let y = &mut y[start * h.v..][..rows * h.v];
            values.part([seen, h.v], &room.weights[..rows * seen], y, false, None);
        }
    });
}

/// See [`crate::Op::AttentionGrad`].
pub(super) fn attention_grad(
    op: &'static str,
    a: &Attention,
    ins: &[&RawTensor],
    outs: &[&RawTensor],
) -> Result<()> {
    let host = Host::lock(op, ins, outs)?;
    with_dtype!(outs[0].dtype(), [F32, F64], T => {
        let from = [0, 1, 2, 3].map(|i| host.input::<T>(ins[i]));
        // SAFETY: each output is made into a slice once, and has memory of its own.
        let to = [0, 1, 2].map(|i| unsafe { host.output::<T>(outs[i]) });
        let (heads, h) = Head::new(a, ins[0], ins[2]);
        backward(heads, h, from, mask_of(ins.get(4)), to);
        Ok(())
    }, else => Err(not_implemented(op, outs[0])))
}

/// `to += left^T right`, where `left` has `rows` rows of `m` and `right` as many of `n` numbers.
fn add_transposed<T: gemm::Real>([rows, m, n]: [usize; 3], left: &[T], right: &[T], to: &mut [T]) {
    assert!(left.len() == rows * m && right.len() == rows * n && to.len() == m * n, "sizes of the product");
    let (rsa, rsb) = (m as isize, n as isize);
    // SAFETY: the slices have the sizes that are stated, and the result is borrowed for writing.
    unsafe {
        let (a, b, c) = (left.as_ptr(), right.as_ptr(), to.as_mut_ptr());
        gemm(m, n, rows, a, 1, rsa, b, rsb, 1, c, rsb, 1, true, Epilogue::NONE);
    }
}

fn backward<T: Real + PartialOrd + gemm::Real>(
    heads: usize,
    h: Head,
    [q, k, v, g]: [&[T]; 4],
    mask: Option<Mask<'_>>,
    to: [&mut [T]; 3],
) {
    let to = to.map(Parts::new);
    for_heads(heads, &|head| {
        let of = |t: &'_ [T], len: usize| head * len..(head * len + len).min(t.len());
        let (q, k) = (&q[of(q, h.l * h.e)], &k[of(k, h.s * h.e)]);
        let (v, g) = (&v[of(v, h.s * h.v)], &g[of(g, h.l * h.v)]);
        let transposed_keys = Packed::new(isa(), k, [h.e, h.s], [1, h.e]);
        let by_keys = Packed::new(isa(), k, [h.s, h.e], [h.e, 1]);
        let by_values = Packed::new(isa(), v, [h.v, h.s], [1, h.v]);
        // SAFETY: each head has its own part of each result.
        let [gq, gk, gv] =
            unsafe { [to[0].of(head, h.l * h.e), to[1].of(head, h.s * h.e), to[2].of(head, h.s * h.v)] };
        gk.fill(T::ZERO);
        gv.fill(T::ZERO);
        let mut room = Room::new(h);
        let mut by_weights = vec![T::ZERO; room.weights.len()];
        for (start, rows, seen) in h.blocks() {
            room.weigh(h, (start, rows, seen), q, &transposed_keys, mask.as_ref().map(|mask| (mask, head)));
            let (weights, g) = (&room.weights[..rows * seen], &g[start * h.v..][..rows * h.v]);
            let (by_weights, by_scores) = (&mut by_weights[..rows * seen], &mut room.scores[..rows * seen]);
            add_transposed([rows, seen, h.v], weights, g, &mut gv[..seen * h.v]);
            by_values.part([h.v, seen], g, by_weights, false, None);
            softmax_backward(weights, by_weights, Axis { outer: rows, n: seen, inner: 1 }, false, by_scores);
            let gq = &mut gq[start * h.e..][..rows * h.e];
            by_keys.part([seen, h.e], by_scores, gq, false, None);
            let scale = T::of(h.scale);
            gq.iter_mut().for_each(|g| *g = *g * scale);
            // The queries are scaled already.
            add_transposed([rows, seen, h.e], by_scores, &room.queries[..rows * h.e], &mut gk[..seen * h.e]);
        }
    });
}
