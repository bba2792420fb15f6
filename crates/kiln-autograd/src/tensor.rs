//! [`Tensor`]: a handle to memory seen through a layout, with history where it is needed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kiln_ops::{DType, Device, Element, RawTensor, Scalar, Shape, Shared};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use crate::node::{Edge, Meta, Node, Slot};
use crate::record::{Saved, note_save};
use crate::tangents::{self, Slot as TangentSlot, Slots};
use crate::{Error, Here, Result, grad_mode};

/// An n-dimensional array with history: a cheap handle that clones share.
///
/// ```
/// use kiln_autograd::Tensor;
/// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0], [3])?.requires_grad_(true)?;
/// let y = x.mul(&x)?.sum()?;
/// y.backward()?;
/// assert_eq!(x.grad().unwrap().to_vec::<f32>()?, [2.0, 4.0, 6.0]);
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
#[derive(Clone)]
pub struct Tensor(Shared<Inner>);

struct Inner {
    raw: RwLock<RawTensor>,
    /// The tensor that owns the memory, for views whose changes must show in its history.
    base: Option<Tensor>,
    requires_grad: AtomicBool,
    history: Mutex<History>,
}

/// Where a tensor comes from and where its gradient is kept.
#[derive(Default)]
struct History {
    /// The node that made this tensor and which of its outputs it is; for leaves that require grad, the leaf's node.
    source: Option<Edge>,
    /// A leaf's gradient, or a retained one.
    grad: Option<Slot>,
    /// For views: the version of the base for which `source` is right.
    version: u64,
    /// The tangents of forward mode, while a level of it is open.
    tangents: Option<Box<Slots>>,
}

/// The elements' metadata, borrowed from a tensor while the guard lives.
pub type RawGuard<'a> = RwLockReadGuard<'a, RawTensor>;

impl Tensor {
    /// A tensor without history.
    #[inline]
    pub fn from_raw(raw: RawTensor) -> Tensor {
        Tensor::with_source(raw, None, None)
    }

    #[inline]
    pub(crate) fn with_source(raw: RawTensor, source: Option<Edge>, base: Option<Tensor>) -> Tensor {
        let version = if base.is_some() { raw.version() } else { 0 };
        Tensor(Shared::new_with(|| Inner {
            raw: RwLock::new(raw),
            base,
            requires_grad: AtomicBool::new(source.is_some()),
            history: Mutex::new(History { source, grad: None, version, tangents: None }),
        }))
    }

    /// Makes a tensor that nobody else has seen yet a view of `base`'s memory.
    pub(crate) fn set_base(&mut self, base: Tensor) {
        if let Some(inner) = Shared::get_mut(&mut self.0) {
            inner.history.get_mut().version = inner.raw.get_mut().version();
            inner.base = Some(base);
        }
    }

    /// Gives a tensor that nobody else has seen yet, a new result, its history.
    #[inline]
    pub(crate) fn set_first_source(&mut self, source: Edge) {
        match Shared::get_mut(&mut self.0) {
            Some(inner) if inner.base.is_none() => {
                inner.history.get_mut().source = Some(source);
                *inner.requires_grad.get_mut() = true;
            }
            _ => self.set_source(Some(source)),
        }
    }

    /// What `f` makes of the tensor without its history; costs no lock when nobody else has seen the tensor yet.
    #[inline]
    pub(crate) fn with_own_raw<R>(&mut self, f: impl FnOnce(&RawTensor) -> R) -> R {
        if let Some(inner) = Shared::get_mut(&mut self.0) {
            return f(inner.raw.get_mut());
        }
        f(&self.raw())
    }

    /// The tensor without its history, borrowed.
    #[inline]
    pub fn raw(&self) -> RawGuard<'_> {
        // Recursive: the same thread may hold the guard already when both operands are one tensor.
        self.0.raw.read_recursive()
    }

    /// Puts another view of memory behind the handle (`t_`, `squeeze_`, ...).
    pub(crate) fn replace_raw(&self, raw: RawTensor) {
        *self.0.raw.write() = raw;
    }

    /// The tensor whose memory this one is a view of (`Tensor._base`).
    pub fn base(&self) -> Option<Tensor> {
        self.0.base.clone()
    }

    /// Whether both handles are the same tensor.
    #[inline]
    pub fn is_same(&self, other: &Tensor) -> bool {
        Shared::ptr_eq(&self.0, &other.0)
    }

    /// A number that tells this tensor from every other living one.
    pub fn id(&self) -> usize {
        Shared::as_ptr(&self.0) as usize
    }

    // ---- metadata -------------------------------------------------------------------------------------------------

    /// The sizes, outermost axis first.
    pub fn shape(&self) -> Shape {
        self.raw().shape().clone()
    }

    /// The sizes as a vector.
    pub fn dims(&self) -> Vec<usize> {
        self.raw().shape().to_vec()
    }

    /// The size of one axis; negative axes count from the end.
    ///
    /// # Errors
    /// There is no such axis.
    #[track_caller]
    pub fn size(&self, axis: i64) -> Result<usize> {
        let raw = self.raw();
        if raw.rank() == 0 {
            return Err(Error::index("size", format!("a 0-dimensional tensor has no axis {axis}")));
        }
        Ok(raw.shape()[raw.shape().axis("size", axis).here()?])
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.raw().rank()
    }

    /// The number of elements.
    pub fn numel(&self) -> usize {
        self.raw().numel()
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.raw().dtype()
    }

    /// Where the memory lives.
    pub fn device(&self) -> Device {
        self.raw().device()
    }

    /// The distance, in elements, between neighbours along each axis.
    pub fn strides(&self) -> Vec<usize> {
        self.raw().layout().strides().to_vec()
    }

    /// Where the first element lies in the storage, in elements.
    pub fn storage_offset(&self) -> usize {
        self.raw().layout().offset()
    }

    /// Whether the elements lie in row-major order without gaps.
    pub fn is_contiguous(&self) -> bool {
        self.raw().is_contiguous()
    }

    /// Whether both look at the same memory.
    pub fn shares_storage(&self, other: &Tensor) -> bool {
        self.raw().storage().is_same(other.raw().storage())
    }

    /// How often the content was changed in place, through this tensor or its views.
    pub fn version(&self) -> u64 {
        self.raw().version()
    }

    // ---- values ---------------------------------------------------------------------------------------------------

    /// A tensor that takes over a vector as its row-major elements.
    ///
    /// # Errors
    /// The vector's length is not the number of elements of `shape`.
    #[track_caller]
    pub fn from_vec<T: Element>(data: Vec<T>, shape: impl Into<Shape>) -> Result<Tensor> {
        Ok(Tensor::from_raw(RawTensor::from_vec("from_vec", data, shape.into()).here()?))
    }

    /// A tensor with a copy of a slice's elements.
    ///
    /// # Errors
    /// The slice's length is not the number of elements of `shape`.
    #[track_caller]
    pub fn from_slice<T: Element>(data: &[T], shape: impl Into<Shape>) -> Result<Tensor> {
        Tensor::from_vec(data.to_vec(), shape)
    }

    /// A zero-dimensional tensor.
    ///
    /// # Errors
    /// The memory is not there.
    #[track_caller]
    pub fn scalar(value: impl Into<Scalar>) -> Result<Tensor> {
        let value = value.into();
        let dtype = value.dtype(kiln_ops::default_dtype());
        Ok(Tensor::from_raw(kiln_ops::scalar(value, dtype, Device::CPU).here()?))
    }

    /// The elements in row-major order.
    ///
    /// # Errors
    /// `T` is not the tensor's element type, or its memory is lent out.
    #[track_caller]
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        let raw = self.raw();
        let values = match raw.device().is_cpu() {
            true => raw.to_vec(),
            false => kiln_ops::to_device(&raw, Device::CPU).and_then(|host| host.to_vec()),
        };
        values.here()
    }

    /// The value of a tensor with one element.
    ///
    /// # Errors
    /// The tensor has more elements or none.
    #[track_caller]
    pub fn item(&self) -> Result<Scalar> {
        let raw = self.raw();
        if raw.numel() != 1 {
            return Err(Error::shape(
                "item",
                format!("a Tensor with {} elements cannot be converted to Scalar", raw.numel()),
            ));
        }
        let dtype = raw.dtype();
        drop(raw);
        Ok(match dtype {
            DType::F32 => self.to_vec::<f32>()?[0].into(),
            DType::F64 => self.to_vec::<f64>()?[0].into(),
            DType::I64 => self.to_vec::<i64>()?[0].into(),
            // The rarer ones through those that hold all their values: reading is compiled for each dtype.
            DType::Bool => Scalar::Bool(self.detach().to_dtype(DType::I64)?.to_vec::<i64>()?[0] != 0),
            _ if dtype.is_float() => self.detach().to_dtype(DType::F64)?.to_vec::<f64>()?[0].into(),
            _ => self.detach().to_dtype(DType::I64)?.to_vec::<i64>()?[0].into(),
        })
    }

    /// The value of a tensor with one element, as a float.
    ///
    /// # Errors
    /// As [`Tensor::item`].
    #[track_caller]
    pub fn to_f64(&self) -> Result<f64> {
        Ok(self.item()?.to_f64())
    }

    // ---- history --------------------------------------------------------------------------------------------------

    /// Whether gradients flow through this tensor: a leaf that asked for one, or a result of such.
    #[inline]
    pub fn requires_grad(&self) -> bool {
        self.0.requires_grad.load(Ordering::Acquire)
    }

    /// Asks for a gradient (or no longer) and gives the tensor back, so that calls can be chained.
    ///
    /// # Errors
    /// The dtype is not floating point, or the tensor is a result: only leaves can be switched off.
    #[track_caller]
    pub fn requires_grad_(self, requires: bool) -> Result<Tensor> {
        const OP: &str = "requires_grad_";
        let (dtype, meta) = {
            let raw = self.raw();
            (raw.dtype(), Meta::of(&raw))
        };
        if requires && !dtype.is_float() {
            return Err(Error::autograd(
                OP,
                format!("only Tensors of floating point dtype can require gradients, this one is {dtype}"),
            ));
        }
        let mut history = self.0.history.lock();
        let is_result = history.source.as_ref().is_some_and(|e| !e.node.is_leaf());
        if is_result {
            if requires {
                drop(history);
                return Ok(self);
            }
            return Err(Error::autograd(
                OP,
                "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in \
                 a subgraph that doesn't require differentiation use var_no_grad = var.detach()",
            ));
        }
        if requires && history.source.is_none() {
            let slot = history.grad.get_or_insert_with(Slot::default).clone();
            history.source = Some(Edge { node: Node::leaf(meta, slot), output: 0 });
        } else if !requires {
            history.source = None;
        }
        drop(history);
        self.0.requires_grad.store(requires, Ordering::Release);
        Ok(self)
    }

    /// Whether the tensor was made by the user and not by a recorded operation.
    pub fn is_leaf(&self) -> bool {
        self.edge().is_none_or(|e| e.node.is_leaf())
    }

    /// The node that made this tensor; `None` for leaves. Prints as PyTorch's name, `<MulBackward0>`.
    pub fn grad_fn(&self) -> Option<Shared<Node>> {
        self.edge().filter(|e| !e.node.is_leaf()).map(|e| e.node)
    }

    /// Which output of [`Tensor::grad_fn`] this is.
    pub fn output_nr(&self) -> usize {
        self.edge().map_or(0, |e| e.output as usize)
    }

    /// Where this tensor's gradient goes. For a view whose base was changed in place since, the history is first made
    /// anew from the base's.
    pub(crate) fn edge(&self) -> Option<Edge> {
        if let Some(base) = &self.0.base {
            let (now, layout) = {
                let raw = self.raw();
                (raw.version(), raw.layout().clone())
            };
            let stale = self.0.history.lock().version != now;
            if stale && base.requires_grad() {
                // A view of the base as it is now; in-place operations have given the base its new history.
                let fresh = crate::ops::shape::view_history(base, &layout);
                let mut history = self.0.history.lock();
                history.source = fresh;
                history.version = now;
                drop(history);
                self.0.requires_grad.store(true, Ordering::Release);
            }
        }
        self.0.history.lock().source.clone()
    }

    /// Gives the tensor a new source after an in-place operation.
    pub(crate) fn set_source(&self, source: Option<Edge>) {
        let version = if self.0.base.is_some() { self.version() } else { 0 };
        let requires = source.is_some();
        let mut history = self.0.history.lock();
        history.source = source;
        history.version = version;
        drop(history);
        self.0.requires_grad.store(requires, Ordering::Release);
    }

    /// Makes a view's history stale: it comes from its base anew when it is next asked for.
    pub(crate) fn forget_source(&self) {
        self.0.history.lock().version = u64::MAX;
    }

    /// The gradient that backward passes have accumulated, if any. [`explain_grad`](crate::explain_grad) tells why there
    /// is none; for a result of an operation, whose gradient is not kept, standard error says so (once).
    pub fn grad(&self) -> Option<Tensor> {
        let grad = self.stored_grad();
        if grad.is_none() && self.requires_grad() && !self.is_leaf() && !self.retains_grad() {
            static SAID: std::sync::Once = std::sync::Once::new();
            SAID.call_once(|| {
                eprintln!(
                    "kiln: the gradient of a Tensor that is not a leaf Tensor is being accessed. It won't be kept during \
                     backward(); if you want it, call retain_grad() on the tensor before (said once)"
                );
            });
        }
        grad
    }

    /// [`Tensor::grad`] without a remark.
    pub(crate) fn stored_grad(&self) -> Option<Tensor> {
        let slot = self.0.history.lock().grad.clone()?;

        slot.lock().clone()
    }

    /// Sets or clears the gradient (`x.grad = g`).
    ///
    /// # Errors
    /// The gradient's shape, dtype or device is not the tensor's.
    #[track_caller]
    pub fn set_grad(&self, grad: Option<Tensor>) -> Result<()> {
        if let Some(g) = &grad {
            let (a, b) = (self.raw(), g.raw());
            if a.shape() != b.shape() || a.dtype() != b.dtype() || a.device() != b.device() {
                return Err(Error::autograd(
                    "set_grad",
                    format!(
                        "the gradient must be like the tensor: {:?} {} on {} was expected, got {:?} {} on {}",
                        a.shape(),
                        a.dtype(),
                        a.device(),
                        b.shape(),
                        b.dtype(),
                        b.device()
                    ),
                ));
            }
        }
        let slot = self.grad_slot();
        *slot.lock() = grad;
        Ok(())
    }

    /// Forgets the gradient, so that the next backward pass starts from none (`x.grad = None`).
    pub fn zero_grad(&self) {
        let slot = self.0.history.lock().grad.clone();
        if let Some(slot) = slot {
            *slot.lock() = None;
        }
    }

    pub(crate) fn grad_slot(&self) -> Slot {
        self.0.history.lock().grad.get_or_insert_with(Slot::default).clone()
    }

    /// The same memory without history. Changes in place show in both and are noticed by the checks of saved tensors.
    pub fn detach(&self) -> Tensor {
        Tensor::from_raw(self.raw().clone())
    }

    /// Puts the content of `source` behind this handle, and so behind every clone of it: it then looks at that memory, in
    /// that dtype and on that device (`x.data = source`). The gradient is forgotten; graphs recorded before lead to the
    /// old leaf.
    ///
    /// # Errors
    /// This tensor is a view or a result of a recorded operation, or it requires a gradient and the new dtype is not
    /// floating point.
    #[track_caller]
    pub fn set_data(&self, source: &Tensor) -> Result<()> {
        const OP: &str = "set_data";
        if self.0.base.is_some() || !self.is_leaf() {
            return Err(Error::autograd(OP, "only a leaf that is no view can be given other data"));
        }
        let raw = source.raw().clone();
        if self.requires_grad() && !raw.dtype().is_float() {
            return Err(Error::autograd(
                OP,
                format!(
                    "only Tensors of floating point dtype can require gradients, the new data is {}",
                    raw.dtype()
                ),
            ));
        }
        let mut history = self.0.history.lock();
        if history.source.is_some() {
            let slot = Slot::default();
            history.grad = Some(slot.clone());
            history.source = Some(Edge { node: Node::leaf(Meta::of(&raw), slot), output: 0 });
        } else {
            history.grad = None;
        }
        let tangents = history.tangents.take();
        drop(history);
        drop(tangents);
        self.replace_raw(raw);
        Ok(())
    }

    /// Makes this handle, and so every clone of it, the tensor that `result` is now: its memory and its history. Graphs that
    /// were recorded with the old content keep it. Unlike a change in place this takes nothing from them, so that a weight
    /// that is computed from others can be computed again before each pass.
    ///
    /// # Errors
    /// This tensor is a view.
    #[track_caller]
    pub fn set_result(&self, result: &Tensor) -> Result<()> {
        if self.0.base.is_some() {
            return Err(Error::autograd("set_result", "a view cannot be given another content"));
        }
        let (raw, source, slots) = (result.raw().clone(), result.edge(), tangents::slots_of(result));
        let old = {
            let mut history = self.0.history.lock();
            (history.grad.take(), history.tangents.take())
        };
        drop(old);
        self.set_source(source);
        self.replace_raw(raw);
        slots.into_iter().for_each(|slot| self.add_tangent_slot(slot));
        Ok(())
    }

    /// The same memory without history and without those checks: changes made through the result are not counted.
    pub fn data(&self) -> Tensor {
        Tensor::from_raw(self.raw().with_own_version())
    }

    /// Remembers the tensor for a derivative, with its version.
    pub fn save(&self) -> Saved {
        let raw = self.raw().clone();
        let source = if self.requires_grad() { self.edge() } else { None };
        note_save();
        let saved = Saved::new(raw, source);
        if tangents::is_active() {
            saved.share_tangents(self);
        }
        saved
    }

    /// Whether an operation on these tensors takes part in differentiation: it is to be recorded, or passes tangents on.
    #[inline]
    pub(crate) fn any_requires_grad(tensors: &[&Tensor]) -> bool {
        Tensor::any_recorded(tensors) || tangents::is_active() && tensors.iter().any(|t| tangents::is_dual(t))
    }

    /// Whether an operation on these tensors is to be recorded.
    #[inline]
    pub(crate) fn any_recorded(tensors: &[&Tensor]) -> bool {
        tensors.iter().any(|t| t.needs_edge()) && grad_mode::is_grad_enabled()
    }

    /// The place of this tensor's tangent at a level, if it has one of its own.
    pub(crate) fn tangent_slot(&self, level: u64) -> Option<Arc<TangentSlot>> {
        let history = self.0.history.lock();
        history.tangents.as_ref()?.iter().find(|s| s.level() == level).cloned()
    }

    /// Puts a tangent in the place of that of the same level; those of closed levels are forgotten.
    pub(crate) fn add_tangent_slot(&self, slot: Arc<TangentSlot>) {
        let mut history = self.0.history.lock();
        let slots = history.tangents.get_or_insert_default();
        let before = std::mem::take(&mut **slots);
        slots.push(slot.clone());
        slots.extend(before.iter().filter(|s| s.level() != slot.level() && s.is_filled()).cloned());
        drop(history);
        // What dies with the old tangents does so outside of the lock.
        drop(before);
    }

    /// Whether a gradient may flow to this tensor, a view's base included.
    #[inline]
    pub(crate) fn needs_edge(&self) -> bool {
        self.requires_grad() || self.0.base.as_ref().is_some_and(|b| b.requires_grad())
    }
}
