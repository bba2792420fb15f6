//! From a result to a node: how operations tell the engine their derivatives.

use std::cell::Cell;
use std::panic::Location;
use std::sync::{Arc, OnceLock};

use kiln_ops::{RawTensor, Shared};
use smallvec::SmallVec;

use crate::birth::Place;
use crate::collect::Collect;
use crate::node::{Backward, Derivative, Edge, JointFn, Meta, Node, SavedResult};
use crate::transpose::{Pending, attach_joint};
use crate::{Error, Here, Result, Tensor, grad_mode, tangents};

/// A tensor remembered for a derivative. It is a snapshot: operations that change the tensor in place later do not
/// change the history seen here, and their change of the values is an error when the derivative asks for them.
pub struct Saved {
    /// A handle of its own, never the operand's: later operations in place give that one a history that leads to the
    /// node which holds this.
    tensor: Tensor,
    version: u64,
}

impl Saved {
    #[inline]
    pub(crate) fn new(raw: RawTensor, source: Option<Edge>) -> Saved {
        let version = raw.version();
        Saved { tensor: Tensor::with_source(raw, source, None), version }
    }

    /// Takes over the tangents of `t`, which is what was saved.
    #[cold]
    pub(crate) fn share_tangents(&self, t: &Tensor) {
        tangents::share(t, &self.tensor);
    }

    /// The tensor.
    ///
    /// # Errors
    /// It was changed in place since it was saved.
    #[track_caller]
    pub fn get(&self) -> Result<Tensor> {
        self.borrow().cloned().here()
    }

    /// [`Saved::get`] without a handle of its own.
    ///
    /// # Errors
    /// As [`Saved::get`].
    #[inline]
    pub(crate) fn borrow(&self) -> Result<&Tensor> {
        check_version(&self.tensor, self.version)?;
        Ok(&self.tensor)
    }
}

/// The operation in the errors of saved tensors that were changed; the engine adds whose derivative asked for them.
pub(crate) const SAVED: &str = "saved tensor";

#[inline]
fn check_version(t: &Tensor, saved: u64) -> Result<()> {
    let now = t.version();
    if now == saved { Ok(()) } else { Err(changed(t, saved, now)) }
}

#[cold]
fn changed(t: &Tensor, saved: u64, now: u64) -> Error {
    let origin = match t.grad_fn() {
        Some(node) => format!(", which is output {} of {},", t.output_nr(), node.name()),
        None => String::new(),
    };
    let made = t.grad_fn().and_then(|node| node.called_at()).map(|place| format!("made at {place}"));
    let story: Vec<String> = made.into_iter().chain(last_change(t, saved)).collect();
    let story = if story.is_empty() { String::new() } else { format!(" ({})", story.join("; ")) };
    Error::autograd(
        SAVED,
        format!(
            "one of the variables needed for gradient computation has been modified by an inplace operation: a tensor \
             of shape {:?} and dtype {}{origin} is at version {now}; expected version {saved} instead{story}. Change a clone() \
             of it, or change it after backward()",
            t.shape(),
            t.dtype()
        ),
    )
}

/// The operation that changed a tensor after it was saved, in debug builds, as a part of an error.
#[cold]
fn last_change(t: &Tensor, saved: u64) -> Option<String> {
    #[cfg(debug_assertions)]
    let change = crate::birth::last_change(t, saved);
    #[cfg(not(debug_assertions))]
    let change: Option<(&str, Place)> = {
        let _ = (t, saved);
        None
    };
    let (op, place) = change?;
    Some(match crate::birth::outside(place) {
        Some(place) => format!("changed by {op} at {place}"),
        None => format!("changed by {op}"),
    })
}

thread_local! {
    /// How many tensors this thread has saved for derivatives.
    static SAVES: Cell<u64> = const { Cell::new(0) };
}

/// Notes that a tensor is saved for a derivative.
#[inline]
pub(crate) fn note_save() {
    SAVES.set(SAVES.get().wrapping_add(1));
}

/// Collects the derivatives of one result; made by [`record`].
///
/// Small, because it is passed on by value: the result stands in its tensor and the derivatives in their node from the
/// start.
#[must_use = "the result comes from done()"]
pub struct Recorder {
    name: &'static str,
    place: Place,
    result: Tensor,
    node: Option<Shared<Node>>,
    enabled: bool,
    needs_result: bool,
    /// Of the input whose derivative is being made: where its gradient goes, and how many tensors had been saved before.
    edge: Option<Edge>,
    saves: u64,
    /// In forward mode: the inputs with tangents.
    forward: Option<Box<Pending>>,
}

/// Starts the record of an operation: `name` is PyTorch's name of the node, `raw` the result.
///
/// Each [`Recorder::input`] gets a function that makes the derivative; it is only called when the input takes part in
/// differentiation, so what the derivative needs is saved there and nowhere else. Derivatives are written with tracked
/// methods, so that they can be differentiated again.
///
/// The node remembers the line that called this function, or, in a method that is `#[track_caller]`, the line that called
/// the method: errors of the backward pass name it.
///
/// ```
/// use kiln_autograd::{Result, Tensor, record};
/// fn double(x: &Tensor) -> Result<Tensor> {
///     let y = kiln_ops::elementwise::binary(kiln_ops::elementwise::BinaryOp::Mul, &*x.raw(), 2.0)?;
///     Ok(record("DoubleBackward0", y).input(x, || |g: &Tensor| g.mul(2.0)).done())
/// }
/// let x = Tensor::full([3], 1.0).requires_grad_(true)?;
/// double(&x)?.sum()?.backward()?;
/// assert_eq!(x.grad().unwrap().to_vec::<f32>()?, [2.0; 3]);
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
#[track_caller]
pub fn record(name: &'static str, raw: RawTensor) -> Recorder {
    let is_float = raw.dtype().is_float();
    let enabled = is_float && grad_mode::is_grad_enabled();
    let (place, result) = (Location::caller(), Tensor::from_raw(raw));
    Recorder {
        name,
        place,
        result,
        node: None,
        enabled,
        needs_result: false,
        edge: None,
        saves: 0,
        forward: Pending::start(is_float),
    }
}

impl Recorder {
    /// An input and, made on demand, the function from the result's gradient to the input's. The engine sums the
    /// gradient to the input's shape where the operation broadcast it, and converts it to the input's dtype.
    #[inline]
    pub fn input<F>(mut self, t: &Tensor, derivative: impl FnOnce() -> F) -> Recorder
    where
        F: Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static,
    {
        if self.records() && self.wants(t) {
            self.push(t, Derivative::Input(Box::new(derivative())));
        }
        self
    }

    /// As [`Recorder::input`], for a derivative that reads the result: a function of the result's gradient and the
    /// result.
    #[inline]
    pub fn input_from_output<F>(mut self, t: &Tensor, derivative: impl FnOnce() -> F) -> Recorder
    where
        F: Fn(&Tensor, &Tensor) -> Result<Tensor> + Send + Sync + 'static,
    {
        if self.records() && self.wants(t) {
            self.push(t, Derivative::Output(Box::new(derivative())));
        }
        self
    }

    /// An input whose gradient is the result's, as it is (for one that was broadcast or promoted, the engine undoes that).
    #[inline]
    pub fn input_unchanged(self, t: &Tensor) -> Recorder {
        self.input_with(t, || Derivative::Pass)
    }

    /// As [`Recorder::input`], for a derivative of any kind.
    #[inline]
    pub(crate) fn input_with(mut self, t: &Tensor, derivative: impl FnOnce() -> Derivative) -> Recorder {
        if self.records() && self.wants(t) {
            self.push(t, derivative());
        }
        self
    }

    /// Says that the derivatives of this operation multiply elements by numbers, broadcast as the operation does: then
    /// forward mode calls them as they are, where it has to transpose others.
    #[inline]
    pub(crate) fn elementwise(mut self) -> Recorder {
        if let Some(forward) = &mut self.forward {
            forward.elementwise = true;
        }
        self
    }

    /// Whether any input's derivative may be needed.
    #[inline]
    fn records(&self) -> bool {
        self.enabled || self.forward.is_some()
    }

    /// Whether the derivative with respect to an input is needed: for its gradient, or to pass its tangent on.
    /// [`Recorder::push`] takes it.
    #[inline(never)]
    fn wants(&mut self, t: &Tensor) -> bool {
        self.edge = if self.enabled && t.needs_edge() { t.edge() } else { None };
        self.saves = SAVES.get();
        self.edge.is_some() || self.forward.is_some() && tangents::is_dual(t)
    }

    fn push(&mut self, t: &Tensor, derivative: Derivative) {
        let edge = self.edge.take();
        let saves = match &derivative {
            Derivative::Pass => false,
            Derivative::Input(_) => SAVES.get() != self.saves,
            Derivative::Output(_) => true,
        };
        self.needs_result |= edge.is_some() && matches!(derivative, Derivative::Output(_));
        let derivative = match &mut self.forward {
            None => derivative,
            Some(forward) => forward.add(t, edge.is_some(), derivative),
        };
        let Some(edge) = edge else { return };
        let (name, place, result) = (self.name, self.place, &mut self.result);
        let node =
            self.node.get_or_insert_with(|| Node::operation(name, place, result.with_own_raw(Meta::of)));
        // The node is nobody else's until it is finished.
        let Some(node) = Shared::get_mut(node) else { return };
        node.edges.push(Some(edge));
        node.saves |= saves;
        node.passes &= matches!(derivative, Derivative::Pass);
        if let Backward::PerInput(derivatives, _) = node.backward.get_mut() {
            derivatives.push(derivative);
        }
    }

    /// Marks the result as a view of `t`'s memory.
    #[inline]
    pub(crate) fn view_of(mut self, t: &Tensor) -> Recorder {
        self.result.set_base(t.base().unwrap_or_else(|| t.clone()));
        self
    }

    /// The node, when an input takes part in differentiation.
    fn finish(&mut self) -> Option<Edge> {
        let mut node = self.node.take()?;
        let unshared = Shared::get_mut(&mut node)?;
        // Only now: asking an input for its edge may have made nodes, which come before this one.
        unshared.number();
        if self.needs_result
            && let Backward::PerInput(_, saved) = unshared.backward.get_mut()
        {
            let raw = self.result.with_own_raw(RawTensor::clone);
            let version = raw.version();
            *saved = Some(Box::new(SavedResult { raw, version, tangents: OnceLock::new() }));
        }
        Some(Edge { node, output: 0 })
    }

    /// The result, with its history.
    pub fn done(mut self) -> Tensor {
        let source = self.finish();
        match self.forward.take() {
            None => source.into_iter().for_each(|source| self.result.set_first_source(source)),
            Some(forward) => {
                self.result.set_source(source.clone());
                self.attach(&forward, source.as_ref());
            }
        }
        self.result
    }

    /// Gives the result its tangents, also where it is saved for the backward pass.
    #[cold]
    fn attach(&self, forward: &Pending, source: Option<&Edge>) {
        let laid_out = |base: Tensor| !base.raw().layout().overlaps_itself();
        // A view's tangent is a view of its base's and is made when it is asked for.
        if !self.result.base().is_some_and(laid_out) {
            forward.attach(&self.result);
        }
        self.save_tangents(source);
    }

    fn save_tangents(&self, source: Option<&Edge>) {
        if let Some(source) = source
            && let Backward::PerInput(_, Some(saved)) = &*source.node.backward.lock()
        {
            // Nobody has set them before: the node is new.
            let _ = saved.tangents.set(tangents::slots_of(&self.result));
        }
    }

    /// Makes this the history of `t`, which the operation has changed in place. For a view, the base gets the history
    /// too: its gradient passes through the operation where the view lies, and past it elsewhere.
    ///
    /// # Errors
    /// Recording the change of a view's base fails.
    #[track_caller]
    pub(crate) fn done_in_place(mut self, t: &Tensor) -> Result<()> {
        let source = self.finish();
        if let Some(forward) = self.forward.take() {
            self.result.set_source(source.clone());
            forward.attach_in_place(t, &self.result).here()?;
            self.save_tangents(source.as_ref());
        }
        match (source, t.base()) {
            (None, _) => Ok(()),
            (Some(source), None) => {
                t.set_source(Some(source));
                Ok(())
            }
            (Some(source), Some(base)) => crate::inplace::rebase_view(t, &base, source),
        }
    }
}

/// Records an operation whose derivatives share work or that has several results: `backward` gets the gradients of the
/// outputs (`None` where none came) and which inputs need one, and gives the gradients of the inputs.
#[track_caller]
pub fn record_joint(
    name: &'static str,
    outputs: Vec<RawTensor>,
    inputs: &[&Tensor],
    backward: impl FnOnce() -> JointFn,
) -> Vec<Tensor> {
    if !Tensor::any_requires_grad(inputs) {
        return outputs.into_iter().map(Tensor::from_raw).collect();
    }
    let before = SAVES.get();
    let backward = backward();
    join(name, outputs, inputs, backward, SAVES.get() != before)
}

/// [`record_joint`] for inputs that take part in differentiation.
#[track_caller]
fn join(
    name: &'static str,
    outputs: Vec<RawTensor>,
    inputs: &[&Tensor],
    mut backward: JointFn,
    saves: bool,
) -> Vec<Tensor> {
    let mut shared = None;
    if tangents::is_active() {
        let both = Arc::new(backward);
        shared = Some(both.clone());
        backward = Box::new(move |g, needs| both(g, needs));
    }
    // Not in the closure, whose caller is this function.
    let place = Location::caller();
    let node = Tensor::any_recorded(inputs).then(|| {
        let edges = inputs.iter().map(|t| t.edge()).collect();
        let metas = outputs.iter().map(Meta::of).collect();
        Node::joint(name, place, edges, metas, Backward::Joint(backward), saves)
    });
    let with_history = |(i, raw): (usize, RawTensor)| {
        let node = node.as_ref().filter(|_| raw.dtype().is_float());
        let source = node.map(|node| Edge { node: node.clone(), output: i as u32 });
        Tensor::with_source(raw, source, None)
    };
    let results: Vec<Tensor> = outputs.into_iter().enumerate().map(with_history).collect();
    if let Some(backward) = shared {
        share_tangents(inputs, &results, &backward);
    }
    results
}

/// Records views of `t` that one operation gives: their gradients, zeros where none came, become that of `t` together.
/// One by one each would fill a tensor of the size of `t`.
#[track_caller]
pub(crate) fn record_views(
    name: &'static str,
    views: Vec<RawTensor>,
    t: &Tensor,
    join: Box<dyn Fn(&[Tensor]) -> Result<Tensor> + Send + Sync>,
) -> Vec<Tensor> {
    let (place, base) = (Location::caller(), t.base().unwrap_or_else(|| t.clone()));
    let metas: SmallVec<[Meta; 1]> = views.iter().map(Meta::of).collect();
    let of = metas.clone();
    let backward: JointFn = Box::new(move |gradients, _| {
        let complete = |(g, meta): (&Option<Tensor>, &Meta)| match g {
            Some(g) => Ok(g.clone()),
            None => kiln_ops::full(&meta.shape, 0.into(), meta.dtype, meta.device).map(Tensor::from_raw),
        };
        let gradients = gradients.iter().zip(&of).map(complete).all_ok()?;
        Ok(vec![Some(join(&gradients)?)])
    });
    let (mut backward, mut shared) = (backward, None);
    // Only where views cannot have the tangent of their base.
    if tangents::is_active() && base.raw().layout().overlaps_itself() {
        let both = Arc::new(backward);
        shared = Some(both.clone());
        backward = Box::new(move |g, needs| both(g, needs));
    }
    let edge = if Tensor::any_recorded(&[t]) && t.dtype().is_float() { t.edge() } else { None };
    let node = edge.map(|edge| {
        let edges = SmallVec::from_iter([Some(edge)]);
        Node::joint(name, place, edges, metas, Backward::Joint(backward), false)
    });
    let view = |(i, raw): (usize, RawTensor)| {
        let source = node.as_ref().map(|node| Edge { node: node.clone(), output: i as u32 });
        Tensor::with_source(raw, source, Some(base.clone()))
    };
    let results: Vec<Tensor> = views.into_iter().enumerate().map(view).collect();
    if let Some(backward) = shared {
        share_tangents(&[t], &results, &backward);
    }
    results
}

/// Gives results their tangents.
fn share_tangents(inputs: &[&Tensor], results: &[Tensor], backward: &JointFn) {
    let set = |t: &Tensor, depth: usize, tangent: Result<Tensor>| {
        tangents::set(t, depth, tangent);
        Ok(())
    };
    // It cannot fail: what goes wrong is left in the tangents.
    let _ = attach_joint(inputs, results, backward, |_| Ok(None), set);
}

pub(crate) fn result_of(saved: &SavedResult, source: Option<Edge>) -> Result<Tensor> {
    let t = Tensor::with_source(saved.raw.clone(), source, None);
    check_version(&t, saved.version)?;
    saved.tangents.get().into_iter().flatten().for_each(|slot| t.add_tangent_slot(slot.clone()));
    Ok(t)
}
