//! The gradients of a backward pass that wait for their node's turn.

use std::collections::BTreeMap;

use kiln_ops::Shared;
use smallvec::{SmallVec, smallvec};

use crate::Tensor;
use crate::node::Node;

/// The gradients of a node's outputs, as far as they have arrived.
pub(crate) type Grads = SmallVec<[Option<Tensor>; 1]>;

/// So many nodes are kept in a short sorted list; what comes while it is full waits in a tree.
const FEW: usize = 16;

struct Entry {
    sequence: u64,
    node: Shared<Node>,
    grads: Grads,
}

impl Entry {
    fn new(node: &Shared<Node>) -> Entry {
        let grads = match node.outputs.len() {
            1 => Grads::from_buf([None]),
            several => smallvec![None; several],
        };
        Entry { sequence: node.sequence, node: node.clone(), grads }
    }
}

/// Nodes with waiting gradients, in the order of their numbers. In most graphs a handful wait at any time, for which a
/// list is several times faster than a tree.
#[derive(Default)]
pub(crate) struct Waiting {
    few: SmallVec<[Entry; 4]>,
    many: BTreeMap<u64, Entry>,
}

impl Waiting {
    /// The gradients that wait for `node`.
    pub(crate) fn grads_of(&mut self, node: &Shared<Node>) -> &mut Grads {
        let sequence = node.sequence;
        // From the end: new gradients mostly go to the nodes recorded last.
        let at = self
            .few
            .iter()
            .rposition(|e| e.sequence <= sequence)
            .map_or(0, |i| if self.few[i].sequence == sequence { i } else { i + 1 });
        if self.few.get(at).is_some_and(|e| e.sequence == sequence) {
            return &mut self.few[at].grads;
        }
        if self.few.len() == FEW || self.many.contains_key(&sequence) {
            return &mut self.many.entry(sequence).or_insert_with(|| Entry::new(node)).grads;
        }
        // Mostly it is the last; then nothing has to be moved.
        if at == self.few.len() {
            self.few.push(Entry::new(node));
        } else {
            self.few.insert(at, Entry::new(node));
        }
        &mut self.few[at].grads
    }

    /// Takes out the node with the largest number.
    pub(crate) fn pop_last(&mut self) -> Option<(Shared<Node>, Grads)> {
        let in_tree = self.many.last_key_value().map(|(sequence, _)| *sequence);
        let entry = match (self.few.last(), in_tree) {
            (Some(last), in_tree) if in_tree.is_none_or(|s| s < last.sequence) => self.few.pop(),
            _ => self.many.pop_last().map(|(_, entry)| entry),
        }?;
        Some((entry.node, entry.grads))
    }
}

#[cfg(test)]
mod tests {
    use kiln_ops::{DType, Device, Shape};

    use super::*;
    use crate::node::Meta;

    #[test]
    fn nodes_come_out_in_falling_order_each_once() {
        let meta = || Meta { shape: Shape::new(&[]), dtype: DType::F32, device: Device::CPU };
        let nodes: Vec<Shared<Node>> = (0..100).map(|_| Node::leaf(meta(), Default::default())).collect();
        let mut waiting = Waiting::default();
        // A fixed permutation, every node asked for twice, and some taken out in between.
        let mut order: Vec<u64> = Vec::new();
        for round in 0..2 {
            for i in 0..100 {
                let node = &nodes[i * 37 % 100];
                assert_eq!(waiting.grads_of(node).len(), 1);
            }
            let taken = if round == 0 { 30 } else { 100 };
            order.extend((0..taken).map_while(|_| waiting.pop_last()).map(|(node, _)| node.sequence));
        }
        let mut expected: Vec<u64> = nodes.iter().map(|n| n.sequence).rev().collect();
        let first: Vec<u64> = expected[..30].to_vec();
        expected.splice(0..0, first);
        assert_eq!(order, expected);
        assert!(waiting.pop_last().is_none());
    }
}
