//! The graph behind a tensor, for people: as a drawing, and as an answer to "why is there no gradient?".

use std::collections::HashMap;
use std::fmt::Write;

use kiln_ops::Shared;

use crate::node::Node;
use crate::{Tensor, is_grad_enabled};

impl Node {
    /// Whether this is where the gradient of the leaf `t` is accumulated: the node with which walks over
    /// [`Node::next_functions`] end.
    pub fn is_of_leaf(&self, t: &Tensor) -> bool {
        self.is_leaf() && t.edge().is_some_and(|edge| std::ptr::eq(Shared::as_ptr(&edge.node), self))
    }
}

/// The graph of a tensor in Graphviz's language: operations as boxes, leaves filled with their shapes, and an arrow from
/// each operand to what was made of it. Draw it with `dot -Tsvg`.
///
/// ```
/// use kiln_autograd::{Tensor, graph};
/// let x = Tensor::full([2], 1.0).requires_grad_(true)?;
/// let dot = graph::to_dot(&x.mul(2.0)?.sum()?);
/// assert!(dot.starts_with("digraph") && dot.contains("MulBackward0") && dot.contains("[2]"));
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
pub fn to_dot(t: &Tensor) -> String {
    let mut dot =
        String::from("digraph autograd {\n  rankdir=TB;\n  node [shape=box, fontname=monospace];\n");
    // Writing to a string does not fail.
    let _ = writeln!(dot, "  result [shape=ellipse, label=\"{:?} {}\"];", t.shape(), t.dtype());
    let Some(edge) = t.edge() else {
        dot.push_str("}\n");
        return dot;
    };
    let mut numbers: HashMap<*const Node, usize> = HashMap::new();
    let mut stack = vec![edge.node.clone()];
    let mut order: Vec<Shared<Node>> = Vec::new();
    while let Some(node) = stack.pop() {
        if numbers.contains_key(&Shared::as_ptr(&node)) {
            continue;
        }
        numbers.insert(Shared::as_ptr(&node), order.len());
        stack.extend(node.next_functions().into_iter().flatten().map(|(next, _)| next));
        order.push(node);
    }
    for (i, node) in order.iter().enumerate() {
        let _ = match node.is_leaf() {
            true => {
                let shape =
                    node.outputs.first().map(|m| format!("{:?} {}", m.shape, m.dtype)).unwrap_or_default();
                writeln!(dot, "  n{i} [style=filled, fillcolor=lightblue, label=\"leaf {shape}\"];")
            }
            false => writeln!(dot, "  n{i} [label=\"{}\"];", node.name()),
        };
    }
    let _ = writeln!(dot, "  n{} -> result;", numbers[&Shared::as_ptr(&edge.node)]);
    for (i, node) in order.iter().enumerate() {
        for (next, output) in node.next_functions().into_iter().flatten() {
            let label = if output > 0 { format!(" [label=\"{output}\"]") } else { String::new() };
            let _ = writeln!(dot, "  n{} -> n{i}{label};", numbers[&Shared::as_ptr(&next)]);
        }
    }
    dot.push_str("}\n");
    dot
}

/// Why a tensor has a gradient or none, and what to do about it.
///
/// ```
/// use kiln_autograd::{Tensor, explain_grad};
/// let x = Tensor::full([2], 1.0).requires_grad_(true)?;
/// let y = x.mul(2.0)?;
/// y.sum()?.backward()?;
/// assert!(x.grad().is_some() && explain_grad(&x).contains("has a gradient"));
/// assert!(y.grad().is_none() && explain_grad(&y).contains("not a leaf"));
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
pub fn explain_grad(t: &Tensor) -> String {
    let what = format!("the tensor of shape {:?} and dtype {}", t.shape(), t.dtype());
    if t.stored_grad().is_some() {
        return format!("{what} has a gradient: backward passes since it was last cleared have added to it");
    }
    if !t.dtype().is_float() {
        return format!(
            "{what} can have no gradient: only floating point tensors have one; convert it with to_dtype(F32)"
        );
    }
    if let Some(node) = t.grad_fn() {
        if t.retains_grad() {
            return format!(
                "{what} is a result of {} that retains its gradient, but no backward pass has come through it since \
                 retain_grad() was called: call backward() on something computed from it",
                node.name_and_place()
            );
        }
        return format!(
            "{what} is not a leaf but a result of {}, and gradients of results are not kept: call retain_grad() on it \
             before backward(), or read the gradients of the leaves it was computed from",
            node.name_and_place()
        );
    }
    if !t.requires_grad() {
        let mode = if is_grad_enabled() {
            ""
        } else {
            "; grad mode is off here (no_grad, inference_mode), so results computed now have no history either"
        };
        return format!(
            "{what} does not require a gradient: it was made without requires_grad_(true), detached, or computed from \
             tensors of which none requires a gradient, or under no_grad; call requires_grad_(true) before it is used\
             {mode}"
        );
    }
    format!(
        "{what} is a leaf that requires a gradient, but no backward pass has reached it: none was run since the gradient \
         was cleared, or what backward() was called on does not depend on it (by way of detach(), data(), no_grad, \
         integers, or because a copy made by to_dtype() or to_device() took its place as the leaf)"
    )
}
