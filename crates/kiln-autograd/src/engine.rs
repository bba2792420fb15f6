//! The backward pass.
//!
//! Every node has a number above those of the nodes its edges lead to. So the pass always takes the waiting node with
//! the largest number: all gradients that it will ever get have then arrived. Nothing is counted beforehand.

use std::collections::{BTreeMap, HashMap, HashSet};

use kiln_ops::Shared;
use smallvec::SmallVec;

use crate::anomaly::{self, is_anomaly_enabled};
use crate::collect::Collect;
use crate::hooks::{run_accumulation_hooks, run_hooks};
use crate::node::{Backward, Derivative, Edge, Node, SavedResult};
use crate::record::{SAVED, result_of};
use crate::waiting::{Grads, Waiting};
use crate::{Error, ErrorKind, Here, Result, Tensor, autocast, grad_mode, tangents};

/// What a backward pass keeps and where gradients go.
#[derive(Clone, Copy, Debug, Default)]
pub struct BackwardOptions {
    /// Keep what the derivatives saved, so that the graph can be used again.
    pub retain_graph: bool,
    /// Record the backward pass itself, for higher derivatives; implies `retain_graph`.
    pub create_graph: bool,
}

struct Pass<'a> {
    waiting: Waiting,
    options: BackwardOptions,
    /// With wanted inputs: the nodes on a way to one of them, and where their gradients are caught.
    wanted: Option<Wanted<'a>>,
}

struct Wanted<'a> {
    on_the_way: HashSet<u64>,
    /// By node number and output: which of the wanted inputs.
    catch: HashMap<(u64, u32), SmallVec<[usize; 1]>>,
    caught: &'a mut [Option<Tensor>],
    /// Nodes made before this are only places where gradients are caught.
    floor: u64,
}

impl Tensor {
    /// Computes the gradient of this one-element tensor with respect to the leaves it depends on and adds it to
    /// their [`Tensor::grad`].
    ///
    /// # Errors
    /// The tensor has more than one element or no history; the graph was released by an earlier pass; a value that a
    /// derivative needs was changed in place; a derivative or hook fails.
    #[track_caller]
    pub fn backward(&self) -> Result<()> {
        backward(&[self], &[None], BackwardOptions::default(), None)
    }

    /// [`Tensor::backward`] that keeps the graph for another pass (`backward(retain_graph=True)`).
    ///
    /// # Errors
    /// As [`Tensor::backward`].
    #[track_caller]
    pub fn backward_retain_graph(&self) -> Result<()> {
        backward(&[self], &[None], BackwardOptions { retain_graph: true, create_graph: false }, None)
    }

    /// [`Tensor::backward`] of a tensor of any shape, from the gradient that something else has with respect to it
    /// (`backward(gradient)`).
    ///
    /// # Errors
    /// As [`Tensor::backward`]; also a gradient of another shape.
    #[track_caller]
    pub fn backward_with(&self, gradient: &Tensor) -> Result<()> {
        backward(&[self], &[Some(gradient)], BackwardOptions::default(), None)
    }
}

/// Adds the gradients of `tensors` with respect to leaves to the leaves' [`Tensor::grad`] (`torch.autograd.backward`).
/// `gradients[i]` may be `None` when `tensors[i]` has one element. With `inputs`, only those get a gradient.
///
/// # Errors
/// As [`Tensor::backward`].
#[track_caller]
pub fn backward(
    tensors: &[&Tensor],
    gradients: &[Option<&Tensor>],
    options: BackwardOptions,
    inputs: Option<&[&Tensor]>,
) -> Result<()> {
    match inputs {
        None => run("backward", tensors, gradients, options, None).map(|_| ()).here(),
        Some(inputs) => {
            let grads = run("backward", tensors, gradients, options, Some(inputs)).here()?;
            for (input, grad) in inputs.iter().zip(grads) {
                if let Some(grad) = grad {
                    accumulate(&mut input.grad_slot().lock(), grad, options.create_graph).here()?;
                }
            }
            Ok(())
        }
    }
}

/// The gradients of `outputs` with respect to `inputs`, without touching any [`Tensor::grad`] (`torch.autograd.grad`).
/// An input that the outputs do not depend on gives `None` when `allow_unused` is set.
///
/// # Errors
/// As [`Tensor::backward`]; also an input that is unused without `allow_unused` or does not require a gradient.
#[track_caller]
pub fn grad(
    outputs: &[&Tensor],
    inputs: &[&Tensor],
    grad_outputs: &[Option<&Tensor>],
    options: BackwardOptions,
    allow_unused: bool,
) -> Result<Vec<Option<Tensor>>> {
    let none = vec![None; outputs.len()];
    let gradients = if grad_outputs.is_empty() { &none[..] } else { grad_outputs };
    let grads = run("grad", outputs, gradients, options, Some(inputs)).here()?;
    if !allow_unused && let Some(i) = grads.iter().position(Option::is_none) {
        return Err(Error::autograd(
            "grad",
            format!(
                "One of the differentiated Tensors (input {i}) appears to not have been used in the graph. Set \
                     allow_unused=True if this is the desired behavior"
            ),
        ));
    }
    Ok(grads)
}

fn run(
    op: &'static str,
    tensors: &[&Tensor],
    gradients: &[Option<&Tensor>],
    options: BackwardOptions,
    inputs: Option<&[&Tensor]>,
) -> Result<Vec<Option<Tensor>>> {
    if tensors.len() != gradients.len() {
        return Err(Error::autograd(
            op,
            format!("got {} tensors and {} gradients", tensors.len(), gradients.len()),
        ));
    }
    let mut roots: SmallVec<[(Edge, Tensor); 1]> = SmallVec::new();
    for (t, g) in tensors.iter().zip(gradients) {
        let edge = t.edge().ok_or_else(|| {
            Error::autograd(
                op,
                "element 0 of tensors does not require grad and does not have a grad_fn: nothing it was computed from \
                 requires a gradient, or it was computed under no_grad",
            )
        })?;
        let gradient = match g {
            Some(g) => {
                if g.shape() != t.shape() {
                    return Err(Error::shape(
                        op,
                        format!(
                            "Mismatch in shape: grad_output has a shape of {:?} and the output has a shape of {:?}",
                            g.shape(),
                            t.shape()
                        ),
                    ));
                }
                (*g).clone()
            }
            None => ones_like_scalar(op, t)?,
        };
        roots.push((edge, gradient));
    }
    // Derivatives compute in the dtypes of their operations.
    let _as_it_is = autocast::suspend();
    let targets = match inputs {
        None => None,
        Some(inputs) => {
            let edge = |(i, t): (usize, &&Tensor)| match t.edge() {
                Some(edge) => Ok(Some(edge)),
                None => Err(Error::autograd(
                    op,
                    format!("One of the differentiated Tensors (input {i}) does not require grad"),
                )),
            };
            Some(inputs.iter().enumerate().map(edge).all_ok()?)
        }
    };
    walk(roots, targets.as_deref(), options, 0)
}

/// The gradients at `targets` of the nodes that `roots` name, given their own; nodes made before `floor` are left alone.
pub(crate) fn gradients_from(
    roots: SmallVec<[(Edge, Tensor); 1]>,
    targets: &[Option<Edge>],
    options: BackwardOptions,
    floor: u64,
) -> Result<Vec<Option<Tensor>>> {
    walk(roots, Some(targets), options, floor)
}

/// The pass itself: to all leaves, or to the targets alone.
fn walk(
    roots: SmallVec<[(Edge, Tensor); 1]>,
    targets: Option<&[Option<Edge>]>,
    options: BackwardOptions,
    floor: u64,
) -> Result<Vec<Option<Tensor>>> {
    let mut caught: Vec<Option<Tensor>> = vec![None; targets.map_or(0, <[_]>::len)];
    let wanted = targets.map(|targets| {
        let mut catch: HashMap<(u64, u32), SmallVec<[usize; 1]>> = HashMap::new();
        for (i, edge) in targets.iter().enumerate() {
            if let Some(edge) = edge {
                catch.entry((edge.node.sequence, edge.output)).or_default().push(i);
            }
        }
        let on_the_way = nodes_towards(roots.iter().map(|(e, _)| &e.node), &catch, floor);
        Wanted { on_the_way, catch, caught: &mut caught, floor }
    });
    let _mode = grad_mode::set_grad_enabled(options.create_graph);
    let mut pass = Pass { waiting: Waiting::default(), options, wanted };
    for (edge, gradient) in roots {
        pass.deliver(&edge, gradient)?;
    }
    while let Some((node, grads)) = pass.waiting.pop_last() {
        pass.visit(&node, grads)?;
    }
    Ok(caught)
}

fn ones_like_scalar(op: &'static str, t: &Tensor) -> Result<Tensor> {
    let raw = t.raw();
    if raw.numel() != 1 {
        return Err(Error::autograd(
            op,
            format!(
                "grad can be implicitly created only for scalar outputs, this tensor has shape {:?}; use backward_with",
                raw.shape()
            ),
        ));
    }
    let one = kiln_ops::full(raw.shape(), 1.0.into(), raw.dtype(), raw.device())?;
    Ok(Tensor::from_raw(one))
}

/// The numbers of all nodes from which an edge path leads to a wanted one.
fn nodes_towards<'a>(
    roots: impl Iterator<Item = &'a Shared<Node>>,
    catch: &HashMap<(u64, u32), SmallVec<[usize; 1]>>,
    floor: u64,
) -> HashSet<u64> {
    let targets: HashSet<u64> = catch.keys().map(|(sequence, _)| *sequence).collect();
    // Children have smaller numbers, so walking all reachable nodes from the smallest up meets children first.
    let mut reachable: BTreeMap<u64, Shared<Node>> = BTreeMap::new();
    let mut stack: Vec<Shared<Node>> = roots.cloned().collect();
    while let Some(node) = stack.pop() {
        if reachable.contains_key(&node.sequence) {
            continue;
        }
        if node.age() >= floor {
            stack.extend(node.edges.iter().flatten().map(|e| e.node.clone()));
        }
        reachable.insert(node.sequence, node);
    }
    let mut towards = HashSet::new();
    for (sequence, node) in &reachable {
        let leads = node.edges.iter().flatten().any(|e| towards.contains(&e.node.sequence));
        if leads || targets.contains(sequence) {
            towards.insert(*sequence);
        }
    }
    towards
}

impl Pass<'_> {
    /// Adds a gradient to those that wait at the end of `edge`, brought to the shape and dtype of what it belongs to.
    fn deliver(&mut self, edge: &Edge, gradient: Tensor) -> Result<()> {
        if let Some(w) = &self.wanted
            && !w.on_the_way.contains(&edge.node.sequence)
        {
            return Ok(());
        }
        let gradient = fit(edge, gradient)?;
        let slot = &mut self.waiting.grads_of(&edge.node)[edge.output as usize];
        *slot = Some(match slot.take() {
            None => gradient,
            Some(before) => before.add(&gradient)?,
        });
        Ok(())
    }

    fn visit(&mut self, node: &Shared<Node>, mut grads: Grads) -> Result<()> {
        // Older nodes belong to the pass around this one, which runs their hooks.
        let outside = self.wanted.as_ref().is_some_and(|w| node.age() < w.floor);
        if !outside {
            run_hooks(node, &mut grads)?;
        }
        if let Some(w) = &mut self.wanted {
            for (output, grad) in grads.iter().enumerate() {
                for &i in w.catch.get(&(node.sequence, output as u32)).into_iter().flatten() {
                    w.caught[i] = grad.clone();
                }
            }
            if node.is_leaf() || outside {
                return Ok(());
            }
            // The way may end here: then the node is only a place where a gradient is caught.
            if !node.edges.iter().flatten().any(|e| w.on_the_way.contains(&e.node.sequence)) {
                return Ok(());
            }
        }
        if let Some(slot) = &node.grad {
            if let Some(grad) = grads.into_iter().flatten().next() {
                accumulate(&mut slot.lock(), grad, self.options.create_graph)?;
                run_accumulation_hooks(node)?;
            }
            return Ok(());
        }
        if node.passes && !is_anomaly_enabled() {
            return self.pass_on(node, grads);
        }
        self.derive(node, &grads)
    }

    /// Sends the gradient of a node on as it is: all that the node's derivatives do.
    fn pass_on(&mut self, node: &Node, grads: Grads) -> Result<()> {
        let Some(grad) = grads.into_iter().flatten().next() else { return Ok(()) };
        let mut last = None;
        for edge in node.edges.iter().flatten() {
            if self.needs(edge)
                && let Some(before) = last.replace(edge)
            {
                self.deliver(before, grad.clone())?;
            }
        }
        if let Some(last) = last {
            self.deliver(last, grad)?;
        }
        Ok(())
    }

    /// Calls the node's derivatives and sends the results on.
    fn derive(&mut self, node: &Shared<Node>, grads: &Grads) -> Result<()> {
        let keep = self.options.retain_graph || self.options.create_graph;
        // The functions are taken out while they run, so that other threads and hooks never wait for them.
        let backward = std::mem::replace(&mut *node.backward.lock(), Backward::Released);
        let result = match &backward {
            Backward::Released => {
                return Err(Error::autograd(
                    "backward",
                    format!(
                        "Trying to backward through the graph a second time ({}): saved intermediate values of the graph \
                         are freed when you call backward() or grad(). Specify retain_graph=True if you need to backward \
                         through the graph a second time",
                        node.name_and_place()
                    ),
                ));
            }
            Backward::Leaf => Ok(()),
            Backward::PerInput(derivatives, saved) => {
                self.derive_each(node, derivatives, saved.as_deref(), grads)
            }
            Backward::Joint(function) => self.derive_jointly(node, |needs| function(grads, needs)),
            Backward::OfNode(function) => self.derive_jointly(node, |needs| function(node, grads, needs)),
        };
        // Derivatives that hold nothing can be called again, as in PyTorch.
        if keep || !node.saves || result.is_err() {
            *node.backward.lock() = backward;
        } else {
            drop(backward);
        }
        result.map_err(|error| asked_by(node, error))
    }

    fn needs(&self, edge: &Edge) -> bool {
        self.wanted.as_ref().is_none_or(|w| w.on_the_way.contains(&edge.node.sequence))
    }

    fn derive_each(
        &mut self,
        node: &Shared<Node>,
        derivatives: &[Derivative],
        saved: Option<&SavedResult>,
        grads: &Grads,
    ) -> Result<()> {
        let Some(grad) = &grads[0] else { return Ok(()) };
        let result = saved_result(node, saved)?;
        let anomaly = is_anomaly_enabled();
        for (i, (edge, derivative)) in node.edges.iter().zip(derivatives).enumerate() {
            let Some(edge) = edge else { continue };
            if self.needs(edge) {
                let gradient = apply(node, derivative, grad, result.as_ref())?;
                if anomaly {
                    anomaly::check(node, i, &gradient)?;
                }
                self.deliver(edge, gradient)?;
            }
        }
        Ok(())
    }

    fn derive_jointly(
        &mut self,
        node: &Shared<Node>,
        function: impl FnOnce(&[bool]) -> Result<Vec<Option<Tensor>>>,
    ) -> Result<()> {
        let needs: SmallVec<[bool; 4]> =
            node.edges.iter().map(|e| e.as_ref().is_some_and(|e| self.needs(e))).collect();
        let gradients = function(&needs)?;
        if gradients.len() != node.edges.len() {
            return Err(Error::autograd(
                "backward",
                format!(
                    "{} returned an incorrect number of gradients (expected {}, got {})",
                    node.name_and_place(),
                    node.edges.len(),
                    gradients.len()
                ),
            ));
        }
        for (i, ((edge, gradient), need)) in node.edges.iter().zip(gradients).zip(needs).enumerate() {
            if let (Some(edge), Some(gradient), true) = (edge, gradient, need) {
                if is_anomaly_enabled() {
                    anomaly::check(node, i, &gradient)?;
                }
                self.deliver(edge, gradient)?;
            }
        }
        Ok(())
    }
}

/// The error of a saved tensor that was changed, with the operation that has saved it.
#[cold]
fn asked_by(node: &Node, error: Error) -> Error {
    match error.kind() {
        ErrorKind::Autograd { op, detail } if op == SAVED => {
            let hint = match node.called_at() {
                Some(_) => "",
                None => "; detect_anomaly() tells where that was called",
            };
            Error::autograd("backward", format!("{detail}. It was saved by {}{hint}", node.name_and_place()))
        }
        _ => error,
    }
}

fn saved_result(node: &Shared<Node>, saved: Option<&SavedResult>) -> Result<Option<Tensor>> {
    saved.map(|saved| result_of(saved, Some(Edge { node: node.clone(), output: 0 }))).transpose()
}

#[inline]
fn apply(node: &Node, derivative: &Derivative, grad: &Tensor, result: Option<&Tensor>) -> Result<Tensor> {
    match (derivative, result) {
        (Derivative::Pass, _) => Ok(grad.clone()),
        (Derivative::Input(f), _) => f.of(grad),
        (Derivative::Output(f), Some(y)) => f.of(grad, y),
        (Derivative::Output(_), None) => {
            Err(Error::autograd("backward", format!("{} lost its result", node.name)))
        }
    }
}

/// The gradients that a node passes on for one gradient of its only output, per edge; the engine is not involved.
pub(crate) fn call_node(node: &Shared<Node>, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
    let backward = node.backward.lock();
    match &*backward {
        Backward::PerInput(derivatives, saved) => {
            let result = saved_result(node, saved.as_deref())?;
            derivatives.iter().map(|d| apply(node, d, grad, result.as_ref()).map(Some)).collect()
        }
        Backward::Joint(function) => function(&[Some(grad.clone())], &needed(node)),
        Backward::OfNode(function) => function(node, &[Some(grad.clone())], &needed(node)),
        Backward::Leaf | Backward::Released => {
            Err(Error::autograd("backward", format!("{} cannot be called twice", node.name)))
        }
    }
}

/// Which gradients a node can pass on.
fn needed(node: &Node) -> SmallVec<[bool; 4]> {
    node.edges.iter().map(Option::is_some).collect()
}

/// Undoes broadcasting and promotion.
#[inline]
fn fit(edge: &Edge, mut gradient: Tensor) -> Result<Tensor> {
    let meta = &edge.node.outputs[edge.output as usize];
    let (same_shape, same_dtype, same_device) = gradient.with_own_raw(|raw| {
        (raw.shape() == &meta.shape, raw.dtype() == meta.dtype, raw.device() == meta.device)
    });
    let gradient = if same_shape { gradient } else { gradient.sum_to_size(meta.shape.clone())? };
    let gradient = if same_dtype { gradient } else { gradient.to_dtype(meta.dtype)? };
    if same_device { Ok(gradient) } else { gradient.to_device(meta.device) }
}

/// Adds a gradient to a leaf's. The first one is taken over when nobody else can see its memory.
fn accumulate(slot: &mut Option<Tensor>, grad: Tensor, create_graph: bool) -> Result<()> {
    let sum = match slot.take() {
        // With its history, or its tangent in forward mode.
        None if create_graph || tangents::is_dual(&grad) => grad,
        None => {
            let raw = grad.raw();
            let alone = raw.storage().sharers() == 1 && raw.is_contiguous();
            let own = if alone { raw.clone() } else { kiln_ops::contiguous_copy(&raw)? };
            drop(raw);
            Tensor::from_raw(own)
        }
        Some(before) if create_graph => before.add(&grad)?,
        Some(before) => {
            // In place, as PyTorch does: whoever holds the gradient sees it grow.
            before.add_(&grad)?;
            before
        }
    };
    *slot = Some(sum);
    Ok(())
}
