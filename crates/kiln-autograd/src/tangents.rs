//! Tangents: the derivatives that forward mode carries along with values, and the levels that own them.
//!
//! A tensor has at most one tangent per level. Levels belong to a thread and lie on top of each other: the tangents of one
//! level are computed with only the levels below it in sight, so that derivatives of derivatives never mix. When a level is
//! closed its tangents are gone, whoever still holds their tensors.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use kiln_ops::Layout;
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::{Error, Result, Tensor, is_inference_mode_enabled};

/// The place of one tangent, shared by the handles that are the same value: a tensor and what is saved of it.
pub(crate) struct Slot {
    level: u64,
    value: Mutex<Option<Value>>,
}

struct Value {
    /// The tangent, or why there is none: operations that cannot fail any more leave their error here.
    tangent: std::result::Result<Tensor, Arc<str>>,
    /// Nobody but this slot has seen the tangent, which may then be written to.
    own: bool,
}

pub(crate) type Slots = SmallVec<[Arc<Slot>; 1]>;

/// One run of forward mode.
struct Level {
    id: u64,
    slots: RefCell<Vec<Weak<Slot>>>,
}

thread_local! {
    /// How many levels operations see. Less than there are while a tangent is computed.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static LEVELS: RefCell<Vec<Level>> = const { RefCell::new(Vec::new()) };
}

/// Whether operations on this thread carry tangents.
#[inline]
pub(crate) fn is_active() -> bool {
    DEPTH.get() != 0 && !is_inference_mode_enabled()
}

/// How many levels operations see.
pub(crate) fn depth() -> usize {
    if is_active() { DEPTH.get() } else { 0 }
}

/// How many levels are open, in sight or not.
pub(crate) fn levels() -> usize {
    LEVELS.with_borrow(Vec::len)
}

/// An open level; dropping it closes it.
pub(crate) struct OpenLevel {
    id: u64,
    /// A level belongs to a thread, and so does this.
    _not_send: std::marker::PhantomData<*const ()>,
}

impl OpenLevel {
    /// Opens a level above those that are open.
    pub(crate) fn new() -> OpenLevel {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let depth = LEVELS.with_borrow_mut(|levels| {
            levels.push(Level { id, slots: RefCell::default() });
            levels.len()
        });
        DEPTH.set(depth);
        OpenLevel { id, _not_send: std::marker::PhantomData }
    }

    /// Where the level lies, counted from 1.
    pub(crate) fn depth(&self) -> usize {
        LEVELS.with_borrow(|levels| levels.iter().position(|l| l.id == self.id).map_or(0, |i| i + 1))
    }
}

impl Drop for OpenLevel {
    fn drop(&mut self) {
        let closed = LEVELS.with_borrow_mut(|levels| {
            let at = levels.iter().position(|l| l.id == self.id)?;
            DEPTH.set(DEPTH.get().min(levels.len() - 1));
            Some(levels.remove(at))
        });
        // Outside of the borrow: what dies with the tangents may ask for levels.
        for slot in closed.iter().flat_map(|l| l.slots.take()) {
            drop(slot.upgrade().and_then(|slot| slot.value.lock().take()));
        }
    }
}

/// Lets operations see only the levels below `depth` until the guard is dropped.
pub(crate) fn below(depth: usize) -> Below {
    Below(DEPTH.replace(depth.saturating_sub(1)))
}

pub(crate) struct Below(usize);

impl Drop for Below {
    fn drop(&mut self) {
        DEPTH.set(levels().min(self.0));
    }
}

fn id_of(depth: usize) -> Option<u64> {
    LEVELS.with_borrow(|levels| levels.get(depth.wrapping_sub(1)).map(|l| l.id))
}

/// A new slot of the level at `depth`, which empties it at its end.
fn slot_with(depth: usize, value: Value) -> Option<Arc<Slot>> {
    LEVELS.with_borrow(|levels| {
        let level = levels.get(depth.wrapping_sub(1))?;
        let slot = Arc::new(Slot { level: level.id, value: Mutex::new(Some(value)) });
        let mut slots = level.slots.borrow_mut();
        // Those whose tensors have died are forgotten each time their number could have doubled.
        if slots.len() == slots.capacity() {
            slots.retain(|s| s.strong_count() > 0);
            let room = slots.len().max(32);
            slots.reserve(room);
        }
        slots.push(Arc::downgrade(&slot));
        Some(slot)
    })
}

fn read(slot: &Slot) -> Result<Option<Tensor>> {
    match &mut *slot.value.lock() {
        None => Ok(None),
        Some(value) => match &value.tangent {
            Ok(t) => {
                value.own = false;
                Ok(Some(t.clone()))
            }
            Err(why) => Err(Error::autograd("forward_ad", why.to_string())),
        },
    }
}

/// The tangent of `t` at a level, counted from 1. That of a view is a view of its base's tangent.
///
/// # Errors
/// The operation that made `t` could not derive it.
pub(crate) fn tangent(t: &Tensor, depth: usize) -> Result<Option<Tensor>> {
    let Some(id) = id_of(depth) else { return Ok(None) };
    if let Some(slot) = t.tangent_slot(id) {
        return read(&slot);
    }
    let Some(base) = t.base() else { return Ok(None) };
    let Some(slot) = base.tangent_slot(id) else { return Ok(None) };
    if base.dtype() != t.dtype() {
        return Ok(None);
    }
    let whole = laid_out(&base, &slot, depth)?;
    let seen = match whole {
        Some(whole) => see(&whole, &base, t, depth)?,
        None => return Ok(None),
    };
    if let Some(value) = &mut *slot.value.lock() {
        value.own = false;
    }
    Ok(Some(seen))
}

/// Whether `t` has a tangent at any level that operations see.
pub(crate) fn is_dual(t: &Tensor) -> bool {
    let own = |t: &Tensor| (1..=depth()).filter_map(id_of).any(|id| t.tangent_slot(id).is_some());
    own(t) || t.base().is_some_and(|base| own(&base))
}

/// The tangent of a base with the strides of the base, so that views of the one are views of the other.
fn laid_out(base: &Tensor, slot: &Slot, depth: usize) -> Result<Option<Tensor>> {
    let whole = match &*slot.value.lock() {
        None => return Ok(None),
        Some(Value { tangent: Err(why), .. }) => return Err(Error::autograd("forward_ad", why.to_string())),
        Some(Value { tangent: Ok(t), .. }) => t.clone(),
    };
    let layout = base.raw().layout().clone();
    let same = whole.raw().layout().strides() == layout.strides() && whole.raw().shape() == layout.shape();
    if same {
        return Ok(Some(whole));
    }
    let dense = dense(&whole, &layout, depth)?;
    *slot.value.lock() = Some(Value { tangent: Ok(dense.clone()), own: true });
    Ok(Some(dense))
}

fn dense(t: &Tensor, layout: &Layout, depth: usize) -> Result<Tensor> {
    let _below = below(depth);
    crate::ops::shape::dense_copy(t, layout)
}

/// The part of a base's tangent where a view of the base lies.
fn see(whole: &Tensor, base: &Tensor, view: &Tensor, depth: usize) -> Result<Tensor> {
    let (layout, start) = (view.raw().layout().clone(), base.storage_offset());
    let offset = (layout.offset() + whole.storage_offset()).checked_sub(start).ok_or_else(|| {
        Error::autograd("forward_ad", "a view that starts before its base has no tangent; copy it first")
    })?;
    let sizes: Vec<i64> = layout.shape().iter().map(|&n| n as i64).collect();
    let strides: Vec<i64> = layout.strides().iter().map(|&n| n as i64).collect();
    let _below = below(depth);
    whole.as_strided(&sizes, &strides, Some(offset as i64))
}

/// Gives `t` its tangent at a level.
pub(crate) fn set(t: &Tensor, depth: usize, tangent: Result<Tensor>) {
    let tangent = tangent.map_err(|error| error.to_string().into());
    if let Some(slot) = slot_with(depth, Value { tangent, own: false }) {
        t.add_tangent_slot(slot);
    }
}

/// Gives `t` a tangent after a change in place; `None` where the new values depend on nothing that has one. Other views
/// of the memory see it.
///
/// # Errors
/// The tangent of a view's base cannot be written.
pub(crate) fn set_in_place(t: &Tensor, depth: usize, new: Option<Tensor>) -> Result<()> {
    let Some(id) = id_of(depth) else { return Ok(()) };
    let base = t.base().filter(|_| t.tangent_slot(id).is_none());
    let slot = match &base {
        None => t.tangent_slot(id),
        Some(base) => base.tangent_slot(id),
    };
    if new.is_none() && slot.is_none() {
        return Ok(());
    }
    let _below = below(depth);
    let new = match new {
        Some(new) => new,
        None => t.zeros_like()?,
    };
    let Some(base) = base else {
        // A slot of its own: what was saved of the old values keeps their tangent.
        set(t, depth, Ok(new));
        return Ok(());
    };
    let layout = base.raw().layout().clone();
    let (whole, own) = match &slot {
        None => (base.zeros_like()?, false),
        Some(slot) => {
            let own = slot.value.lock().as_ref().is_some_and(|v| v.own);
            match laid_out(&base, slot, depth)? {
                Some(whole) => (whole, own),
                None => (base.zeros_like()?, false),
            }
        }
    };
    let written = if own && !whole.requires_grad() && !new.requires_grad() && !is_dual(&new) {
        whole
    } else {
        crate::ops::shape::dense_copy(&whole, &layout)?
    };
    see(&written, &base, t, depth)?.copy_(&new)?;
    if let Some(slot) = slot_with(depth, Value { tangent: Ok(written), own: true }) {
        base.add_tangent_slot(slot);
    }
    Ok(())
}

/// The slots of `t` at all levels that operations see, for another handle of the same values.
pub(crate) fn slots_of(t: &Tensor) -> Slots {
    let of_level = |depth: usize| {
        let own = t.tangent_slot(id_of(depth)?);
        if let Some(slot) = own {
            // Changes in place must no longer show in it.
            if let Some(value) = &mut *slot.value.lock() {
                value.own = false;
            }
            return Some(slot);
        }
        let tangent = tangent(t, depth).transpose()?.map_err(|error| error.to_string().into());
        slot_with(depth, Value { tangent, own: false })
    };
    (1..=depth()).filter_map(of_level).collect()
}

/// The same memory without history, but with its tangents.
pub(crate) fn detach(t: &Tensor) -> Tensor {
    let alias = t.detach();
    share(t, &alias);
    alias
}

/// Gives `to` the tangents of `from`.
pub(crate) fn share(from: &Tensor, to: &Tensor) {
    if is_active() {
        slots_of(from).into_iter().for_each(|slot| to.add_tangent_slot(slot));
    }
}

impl Slot {
    pub(crate) fn level(&self) -> u64 {
        self.level
    }

    /// Whether its level is still open.
    pub(crate) fn is_filled(&self) -> bool {
        self.value.lock().is_some()
    }
}
