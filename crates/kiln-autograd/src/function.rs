//! [`Function`]: operations with a derivative of the user's own.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use kiln_ops::Shared;
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::collect::Collect;
use crate::inplace;
use crate::node::{Backward, Edge, JointFn, Meta, Node, SavedResult};
use crate::record::{Saved, result_of};
use crate::transpose::attach_joint;
use crate::{Error, Here, Result, Tensor, enable_grad, no_grad, tangents};

/// An operation of `IN` tensors with `OUT` results whose derivative is written by hand (`torch.autograd.Function`).
///
/// Settings that are no tensors are fields of the type. [`Function::forward`] is not recorded, whatever it does;
/// [`Function::backward`] is when a graph of the backward pass is asked for, so that made of `Tensor`'s methods it can be
/// differentiated again. The node is named after the type: `MyReLUBackward`.
///
/// ```
/// use kiln_autograd::{Context, Function, Result, Tensor, tensor};
///
/// struct MyReLU;
///
/// impl Function<1, 1> for MyReLU {
///     fn forward(&self, context: &mut Context, [x]: [&Tensor; 1]) -> Result<[Tensor; 1]> {
///         context.save_for_backward(&[x]);
///         Ok([x.clamp_min(0)?])
///     }
///
///     fn backward(&self, context: &Context, [grad]: [&Tensor; 1]) -> Result<[Option<Tensor>; 1]> {
///         let [x] = context.saved()?;
///         Ok([Some(grad.masked_fill(&x.lt(0)?, 0)?)])
///     }
/// }
///
/// let x = tensor![1., -1., 2.].requires_grad_(true)?;
/// let [y] = MyReLU.apply([&x])?;
/// assert_eq!(y.to_string(), "tensor([1., 0., 2.], grad_fn=<MyReLUBackward>)");
/// y.sum()?.backward()?;
/// assert_eq!(x.grad().unwrap().to_vec::<f32>()?, [1., 0., 1.]);
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
pub trait Function<const IN: usize, const OUT: usize>: Send + Sync + Sized + 'static {
    /// Computes the results and tells the context what the derivative needs. A result that shares memory with an input,
    /// and was not marked dirty, is copied.
    ///
    /// # Errors
    /// What the computation fails with.
    fn forward(&self, context: &mut Context, inputs: [&Tensor; IN]) -> Result<[Tensor; OUT]>;

    /// The gradients of the inputs from those of the results; a result that nothing depends on has a gradient of zeros.
    /// `None` where there is no gradient, or where [`Context::needs_input_grad`] says that none is needed.
    ///
    /// # Errors
    /// What the computation fails with.
    fn backward(&self, context: &Context, gradients: [&Tensor; OUT]) -> Result<[Option<Tensor>; IN]>;

    /// The tangents of the results from those of the inputs (`None` where an input has none), for forward mode
    /// (`Function.jvp`). By default `None`: they are computed by the transpose of [`Function::backward`], which then has to
    /// be made of `Tensor`'s methods.
    ///
    /// # Errors
    /// What the computation fails with.
    fn jvp(&self, _context: &Context, _tangents: [Option<&Tensor>; IN]) -> Result<Option<[Tensor; OUT]>> {
        Ok(None)
    }

    /// The node's name: by default the type's, with `Backward` at the end.
    fn name(&self) -> &'static str {
        node_name(std::any::type_name::<Self>())
    }

    /// Computes and records the function.
    ///
    /// # Errors
    /// What [`Function::forward`] fails with; a tensor that was marked dirty is not among the results.
    #[track_caller]
    fn apply(self, inputs: [&Tensor; IN]) -> Result<[Tensor; OUT]> {
        let name = self.name();
        let recording = Tensor::any_recorded(&inputs);
        let tracked = Tensor::any_requires_grad(&inputs);
        // Before the forward pass, which may change inputs in place.
        let edges: SmallVec<[Option<Edge>; 2]> = match recording {
            true => inputs.iter().map(|t| if t.needs_edge() { t.edge() } else { None }).collect(),
            false => SmallVec::new(),
        };
        let mut context = Context {
            name,
            recording: tracked,
            needs: inputs
                .iter()
                .enumerate()
                .map(|(i, _)| edges.get(i).is_some_and(Option::is_some))
                .collect(),
            to_save: Vec::new(),
            dirty: Vec::new(),
            constant: Vec::new(),
            kept: Arc::default(),
            node: None,
        };
        let outputs = {
            // The operations inside are not seen by either mode.
            let _unseen = tangents::below(1);
            no_grad(|| self.forward(&mut context, inputs)).here()?
        };
        let Context { to_save, dirty, constant, .. } = context;
        if let Some(lost) = dirty.iter().find(|t| !outputs.iter().any(|o| o.is_same(t))) {
            return Err(Error::autograd(
                name,
                format!(
                    "an input of shape {:?} was marked dirty and is not among the results: return it, so that its new \
                     history can be recorded",
                    lost.shape()
                ),
            ));
        }
        let dirty_views = dirty.iter().filter(|t| t.base().is_some()).count();
        if recording && dirty_views > 0 && OUT > 1 {
            return Err(Error::autograd(
                name,
                "a view that is changed in place must be the only result: copy it, or split the function",
            ));
        }
        if !tracked {
            return Ok(outputs);
        }
        let metas: SmallVec<[Meta; 1]> = outputs.iter().map(|t| Meta::of(&t.raw())).collect();
        let kept: Arc<[KeptTensor]> = keep(&to_save, &outputs, &dirty).into();
        let this = Arc::new(self);
        let backward = {
            let (this, kept, metas) = (Arc::clone(&this), Arc::clone(&kept), metas.clone());
            move |node: Option<&Shared<Node>>, gradients: &[Option<Tensor>], needs: &[bool]| {
                let context = Context::of_backward(name, needs, &kept, node);
                let zeros = |(i, g): (usize, &Option<Tensor>)| match g {
                    Some(g) => Ok(g.clone()),
                    None => {
                        let m = &metas[i];
                        kiln_ops::full(&m.shape, 0.0.into(), m.dtype, m.device).map(Tensor::from_raw)
                    }
                };
                let gradients = gradients.iter().enumerate().map(zeros).all_ok()?;
                let references: Vec<&Tensor> = gradients.iter().collect();
                let references: [&Tensor; OUT] = references.try_into().map_err(|_| {
                    Error::autograd(name, format!("{} gradients for {OUT} results", gradients.len()))
                })?;
                Ok(this.backward(&context, references)?.into())
            }
        };
        let backward = Arc::new(backward);
        let saves = !kept.is_empty();
        let place = std::panic::Location::caller();
        let node = recording.then(|| {
            let backward = Arc::clone(&backward);
            let backward = Backward::OfNode(Box::new(move |node, g, needs| backward(Some(node), g, needs)));
            Node::joint(name, place, edges, metas, backward, saves)
        });
        let mut results = Vec::with_capacity(OUT);
        for (i, output) in outputs.into_iter().enumerate() {
            let source = node.as_ref().map(|node| Edge { node: node.clone(), output: i as u32 });
            results.push(finish(output, source, &inputs, &dirty, &constant)?);
        }
        if tangents::is_active() {
            let backward: JointFn = {
                let (backward, node) = (Arc::clone(&backward), node.clone());
                Box::new(move |g, needs| backward(node.as_ref(), g, needs))
            };
            let is_in = |list: &[Tensor], t: &Tensor| list.iter().any(|other| other.is_same(t));
            let direct = |vectors: &[Option<Tensor>]| {
                let needs: Vec<bool> = vectors.iter().map(Option::is_some).collect();
                let context = Context::of_backward(name, &needs, &kept, node.as_ref());
                let vectors: Vec<Option<&Tensor>> = vectors.iter().map(Option::as_ref).collect();
                let vectors: [Option<&Tensor>; IN] =
                    vectors.try_into().map_err(|_| Error::autograd(name, "lost a tangent"))?;
                Ok(this.jvp(&context, vectors)?.map(Vec::from))
            };
            let set = |t: &Tensor, depth: usize, tangent: Result<Tensor>| {
                if is_in(&dirty, t) {
                    return tangents::set_in_place(t, depth, Some(tangent?));
                }
                if !is_in(&constant, t) {
                    tangents::set(t, depth, tangent);
                }
                Ok(())
            };
            attach_joint(&inputs, &results, &backward, direct, set).here()?;
            share_tangents(&kept, &results);
        }
        results.try_into().map_err(|_| Error::autograd(name, "lost a result")).here()
    }
}

/// A result with its history.
#[track_caller]
fn finish(
    t: Tensor,
    source: Option<Edge>,
    inputs: &[&Tensor],
    dirty: &[Tensor],
    constant: &[Tensor],
) -> Result<Tensor> {
    let is_in = |list: &[Tensor]| list.iter().any(|other| other.is_same(&t));
    if is_in(constant) || !t.dtype().is_float() {
        return Ok(if is_in(dirty) { t } else { t.detach() });
    }
    if is_in(dirty) {
        match (source, t.base()) {
            (None, _) => {}
            (Some(source), Some(base)) => inplace::rebase_view(&t, &base, source)?,
            (source, None) => t.set_source(source),
        }
        return Ok(t);
    }
    // A view of an input would have its history made anew from the input's after a change in place, and lose this one.
    let shared = inputs.iter().any(|input| input.shares_storage(&t));
    let raw = if shared { kiln_ops::contiguous_copy(&t.raw()).here()? } else { t.raw().clone() };
    Ok(Tensor::with_source(raw, source, None))
}

/// What a [`Function`] keeps between its two passes.
///
/// Use [`Context::save_for_backward`] for tensors, never fields of one's own: changes in place would go unnoticed, and a
/// result kept that way would keep itself alive.
pub struct Context {
    name: &'static str,
    recording: bool,
    needs: SmallVec<[bool; 4]>,
    to_save: Vec<Tensor>,
    dirty: Vec<Tensor>,
    constant: Vec<Tensor>,
    kept: Arc<[KeptTensor]>,
    /// In the backward pass: the node that the saved results belong to.
    node: Option<Shared<Node>>,
}

enum KeptTensor {
    /// An input, or something that was computed on the way.
    Other(Saved),
    /// A result, and which.
    Output(Box<SavedResult>, u32),
}

/// Notes the tangents of the saved results, which are computed after them.
fn share_tangents(kept: &[KeptTensor], results: &[Tensor]) {
    for kept in kept {
        if let KeptTensor::Output(saved, i) = kept
            && let Some(result) = results.get(*i as usize)
        {
            // Nobody has set them before: the node is new.
            let _ = saved.tangents.set(tangents::slots_of(result));
        }
    }
}

fn keep(to_save: &[Tensor], outputs: &[Tensor], dirty: &[Tensor]) -> Vec<KeptTensor> {
    let one = |t: &Tensor| match outputs.iter().position(|o| o.is_same(t)) {
        // An input that is returned unchanged is still the input.
        Some(i) if !t.requires_grad() && !tangents::is_dual(t) || dirty.iter().any(|d| d.is_same(t)) => {
            let raw = t.raw().clone();
            let version = raw.version();
            KeptTensor::Output(Box::new(SavedResult { raw, version, tangents: OnceLock::new() }), i as u32)
        }
        _ => KeptTensor::Other(t.save()),
    };
    to_save.iter().map(one).collect()
}

impl Context {
    fn of_backward(
        name: &'static str,
        needs: &[bool],
        kept: &Arc<[KeptTensor]>,
        node: Option<&Shared<Node>>,
    ) -> Context {
        Context {
            name,
            recording: false,
            needs: SmallVec::from_slice(needs),
            to_save: Vec::new(),
            dirty: Vec::new(),
            constant: Vec::new(),
            kept: Arc::clone(kept),
            node: node.cloned(),
        }
    }

    /// Keeps inputs, results or what was computed on the way for [`Function::backward`]; a later call replaces what an
    /// earlier one kept (`ctx.save_for_backward`).
    pub fn save_for_backward(&mut self, tensors: &[&Tensor]) {
        if self.recording {
            self.to_save = tensors.iter().map(|t| (*t).clone()).collect();
        }
    }

    /// The kept tensors, in order (`ctx.saved_tensors`): `let [x, y] = context.saved()?;`.
    ///
    /// # Errors
    /// One of them was changed in place since; another number of tensors was kept.
    #[track_caller]
    pub fn saved<const N: usize>(&self) -> Result<[Tensor; N]> {
        let saved = self.saved_tensors()?;
        let count = saved.len();
        saved
            .try_into()
            .map_err(|_| {
                Error::autograd(
                    self.name,
                    format!("{count} tensors were saved for the backward pass, {N} are asked for"),
                )
            })
            .here()
    }

    /// [`Context::saved`], for a number of tensors that only the run decides.
    ///
    /// # Errors
    /// One of them was changed in place since.
    #[track_caller]
    pub fn saved_tensors(&self) -> Result<Vec<Tensor>> {
        let get = |kept: &KeptTensor| match kept {
            KeptTensor::Other(saved) => saved.get(),
            KeptTensor::Output(saved, output) => {
                result_of(saved, self.node.clone().map(|node| Edge { node, output: *output }))
            }
        };
        self.kept.iter().map(get).all_ok().here()
    }

    /// Whether input `i` takes part in differentiation; in [`Function::backward`], whether its gradient will be used
    /// (`ctx.needs_input_grad[i]`).
    pub fn needs_input_grad(&self, i: usize) -> bool {
        self.needs.get(i).copied().unwrap_or(false)
    }

    /// Says that [`Function::forward`] is about to change an input in place; it must then be among the results
    /// (`ctx.mark_dirty`).
    ///
    /// # Errors
    /// The input is a leaf that requires a gradient, or a view of one: nothing may change it.
    #[track_caller]
    pub fn mark_dirty(&mut self, t: &Tensor) -> Result<()> {
        if self.recording {
            enable_grad(|| inplace::check(self.name, t)).here()?;
        }
        self.dirty.push(t.clone());
        Ok(())
    }

    /// Says that a result has no derivative (`ctx.mark_non_differentiable`). Results that are not floating point have none
    /// anyway.
    pub fn mark_non_differentiable(&mut self, t: &Tensor) {
        self.constant.push(t.clone());
    }
}

/// The name of a type without path and generics, with `Backward` at its end. Made once for each type.
fn node_name(type_name: &'static str) -> &'static str {
    static NAMES: OnceLock<Mutex<HashMap<&'static str, &'static str>>> = OnceLock::new();
    let mut names = NAMES.get_or_init(Mutex::default).lock();
    names.entry(type_name).or_insert_with(|| {
        let plain = type_name.split('<').next().unwrap_or(type_name);
        let short = plain.rsplit("::").next().unwrap_or(plain);
        // Nodes have static names, as those of all operations are; a program has only so many types.
        String::leak(format!("{short}Backward"))
    })
}
