//! Attention over long sequences, block by block: the scores of all queries never exist at once, neither in the forward pass
//! nor, computed anew, in the backward pass. Rabe and Staats, "Self-attention Does Not Need O(n^2) Memory" (2021).

use crate::grad_mode::{is_tracked, no_grad};
use crate::ops::attention::{AttentionOptions, whole};
use crate::record::{Saved, record_joint};
use crate::{Error, Here, Result, Tensor, func};

/// How many queries make a block. Constant, so that results depend on nothing but the operands.
const BLOCK: usize = 128;

/// From how many queries on attention goes block by block.
const LONG: usize = 2 * BLOCK;

/// Whether attention with these options goes block by block.
pub(super) fn suits(query: &Tensor, options: &AttentionOptions<'_>) -> bool {
    query.shape()[query.rank() - 2] >= LONG
        && options.dropout == 0.0
        && options.mask.is_none_or(|m| !Tensor::any_requires_grad(&[m]))
}

/// What one block sees: its queries, the first keys, its part of the mask.
struct Block {
    start: i64,
    rows: i64,
    keys: i64,
}

fn blocks(queries: usize, keys: usize, is_causal: bool) -> impl Iterator<Item = Block> {
    (0..queries).step_by(BLOCK).map(move |start| {
        let rows = BLOCK.min(queries - start);
        // Later keys are seen by none of these queries.
        let keys = if is_causal { keys.min(start + rows) } else { keys };
        Block { start: start as i64, rows: rows as i64, keys: keys as i64 }
    })
}

impl Block {
    #[track_caller]
    fn rows_of(&self, t: &Tensor) -> Result<Tensor> {
        t.narrow(-2, self.start, self.rows)
    }

    #[track_caller]
    fn keys_of(&self, t: &Tensor) -> Result<Tensor> {
        t.narrow(-2, 0, self.keys)
    }

    /// The weights of the keys for each query of the block.
    #[track_caller]
    fn weights(
        &self,
        query: &Tensor,
        key: &Tensor,
        mask: Option<&Tensor>,
        causal: bool,
        scale: f64,
    ) -> Result<Tensor> {
        let scores = self.rows_of(query)?.mul(scale)?.matmul(&self.keys_of(key)?.transpose(-2, -1)?)?;
        if causal {
            let ones =
                Tensor::ones_with([self.rows as usize, self.keys as usize], (crate::BOOL, query.device()));
            scores.masked_fill_(&ones.triu(self.start + 1)?, f64::NEG_INFINITY)?;
            return scores.softmax(-1);
        }
        let Some(mask) = mask else { return scores.softmax(-1) };
        let part = match mask.rank() >= 2 && mask.size(-2)? > 1 {
            true => self.rows_of(mask)?,
            false => mask.clone(),
        };
        let (scores, blind) = crate::ops::attention::masked(scores, &part)?;
        match blind {
            Some(blind) => scores.softmax(-1)?.masked_fill(&blind, 0.0),
            None => scores.softmax(-1),
        }
    }
}

/// Attention of operands of one dtype, whose heads are as many, block by block.
#[track_caller]
pub(super) fn tiled(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    mask: Option<&Tensor>,
    causal: bool,
    scale: f64,
) -> Result<Tensor> {
    let (l, s) = (query.size(-2)?, key.size(-2)?);
    let y = no_grad(|| {
        let mut parts = Vec::new();
        for block in blocks(l, s, causal) {
            let weights = block.weights(query, key, mask, causal, scale)?;
            parts.push(weights.matmul(&block.keys_of(value)?)?);
        }
        Tensor::cat(&parts.iter().collect::<Vec<_>>(), -2)
    })
    .here()?;
    let inputs = [query, key, value];
    let raw = y.raw().clone();
    let mut outputs =
        record_joint("ScaledDotProductFlashAttentionForCpuBackward0", vec![raw], &inputs, || {
            let saved = inputs.map(Tensor::save);
            let mask = mask.map(Tensor::save);
            Box::new(move |g, wants| {
                let [query, key, value] = [saved[0].get()?, saved[1].get()?, saved[2].get()?];
                let mask = mask.as_ref().map(Saved::get).transpose()?;
                let Some(g) = &g[0] else { return Ok(vec![None; 3]) };
                if is_tracked() {
                    // To be differentiated again: the form in one piece.
                    return func::tracked_gradients(
                        &[query, key, value],
                        wants,
                        &[Some(g.clone())],
                        |inputs| {
                            let y =
                                whole(&inputs[0], &inputs[1], &inputs[2], mask.as_ref(), causal, scale, 0.0)?;
                            Ok(vec![y])
                        },
                    );
                }
                let [gq, gk, gv] = backward(&query, &key, &value, mask.as_ref(), causal, scale, g)?;
                Ok(vec![Some(gq), Some(gk), Some(gv)])
            })
        });
    outputs.pop().ok_or_else(|| Error::value("scaled_dot_product_attention", "no result")).here()
}

/// The gradients; batch axes that were broadcast are for the engine to sum.
fn backward(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    mask: Option<&Tensor>,
    causal: bool,
    scale: f64,
    g: &Tensor,
) -> Result<[Tensor; 3]> {
    let mut by_query = Vec::new();
    let mut sums: Option<[Tensor; 2]> = None;
    // The last block first: it sees all keys, so its shares are the sums that the others are added to.
    let all: Vec<Block> = blocks(query.size(-2)?, key.size(-2)?, causal).collect();
    for block in all.iter().rev() {
        let (q, k, v) = (block.rows_of(query)?, block.keys_of(key)?, block.keys_of(value)?);
        let g = block.rows_of(g)?;
        let weights = block.weights(query, key, mask, causal, scale)?;
        let by_value = weights.transpose(-2, -1)?.matmul(&g)?;
        let by_weights = g.matmul(&v.transpose(-2, -1)?)?;
        let inner = by_weights.mul(&weights)?.sum_axes(&[-1], true)?;
        let by_scores = by_weights.sub(&inner)?.mul(&weights)?;
        by_query.push(by_scores.matmul(&k)?.mul(scale)?);
        let by_key = by_scores.transpose(-2, -1)?.matmul(&q)?.mul(scale)?;
        match &sums {
            None => sums = Some([by_key, by_value]),
            Some([keys, values]) => {
                block.keys_of(keys)?.add_(&by_key)?;
                block.keys_of(values)?.add_(&by_value)?;
            }
        }
    }
    by_query.reverse();
    let [by_key, by_value] =
        sums.ok_or_else(|| Error::shape("scaled_dot_product_attention", "no queries"))?;
    // Keys that no query sees: causal attention of fewer queries than keys.
    let padded = |t: Tensor| -> Result<Tensor> {
        let missing = key.size(-2)? - t.size(-2)?;
        if missing == 0 { Ok(t) } else { t.constant_pad_nd(&[0, 0, 0, missing as i64], 0.0) }
    };
    Ok([Tensor::cat(&by_query.iter().collect::<Vec<_>>(), -2)?, padded(by_key)?, padded(by_value)?])
}
