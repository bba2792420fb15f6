//! [`Shared`]: reference counting whose memory is recycled.
//!
//! A tensor is made and dropped at every operation, and its parts come in a handful of sizes. Each thread keeps the
//! blocks that it freed in lists, one for every 64 bytes of size, so that most new values take a block with two loads
//! and a store; a general allocator takes several times that, and far more once the values of a whole graph are freed
//! in one go.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

/// A value with shared ownership, as [`std::sync::Arc`] without weak references. Cloning is a count; the value is dropped
/// with its last owner.
pub struct Shared<T> {
    counted: NonNull<Counted<T>>,
    _owns: PhantomData<Counted<T>>,
}

#[repr(C)]
struct Counted<T> {
    owners: AtomicUsize,
    value: T,
}

// SAFETY: as for `Arc`: owners on several threads see the same value, and any of them may be the one to drop it.
unsafe impl<T: Send + Sync> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// The first owner of `value`.
    #[inline(always)]
    pub fn new(value: T) -> Shared<T> {
        Shared::new_with(|| value)
    }

    /// The first owner of what `make` makes. The memory is there before the value, so that the compiler can build large
    /// values in their place instead of copying them there.
    #[inline(always)]
    pub fn new_with(make: impl FnOnce() -> T) -> Shared<T> {
        // Gives the memory back if `make` panics.
        let block = Block::<Counted<T>>(block_for());
        let counted = block.0;
        // SAFETY: the block is new, and large and aligned enough for the value.
        unsafe { counted.write(Counted { owners: AtomicUsize::new(1), value: make() }) };
        std::mem::forget(block);
        Shared { counted, _owns: PhantomData }
    }

    #[inline]
    fn counted(&self) -> &Counted<T> {
        // SAFETY: the block holds a value as long as it has an owner, and this is one.
        unsafe { self.counted.as_ref() }
    }

    /// Whether both own the same value.
    #[inline]
    pub fn ptr_eq(this: &Shared<T>, other: &Shared<T>) -> bool {
        this.counted == other.counted
    }

    /// An address that identifies the value while it lives.
    #[inline]
    pub fn as_ptr(this: &Shared<T>) -> *const T {
        &raw const this.counted().value
    }

    /// The number of owners.
    #[inline]
    pub fn owners(this: &Shared<T>) -> usize {
        this.counted().owners.load(Ordering::Acquire)
    }

    /// The value, when it has no other owner.
    #[inline]
    pub fn get_mut(this: &mut Shared<T>) -> Option<&mut T> {
        if Shared::owners(this) != 1 {
            return None;
        }
        // SAFETY: this is the only owner, borrowed exclusively; the acquiring load above has seen all that other owners
        // did before they let go.
        Some(unsafe { &mut this.counted.as_mut().value })
    }

    #[inline(never)]
    fn drop_value(&mut self) {
        let block = Block::<Counted<T>>(self.counted);
        // SAFETY: the last owner has gone, so nobody else can reach the value; `block` outlives it, also when a
        // destructor panics.
        unsafe { std::ptr::drop_in_place(block.0.as_ptr()) };
    }
}

impl<T> Clone for Shared<T> {
    #[inline]
    fn clone(&self) -> Shared<T> {
        let before = self.counted().owners.fetch_add(1, Ordering::Relaxed);
        // Only clones that are forgotten can get here; one more lap and the value would be dropped while in use.
        if before > isize::MAX as usize {
            std::process::abort();
        }
        Shared { counted: self.counted, _owns: PhantomData }
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.counted().value
    }
}

impl<T> Drop for Shared<T> {
    #[inline]
    fn drop(&mut self) {
        if self.counted().owners.fetch_sub(1, Ordering::Release) == 1 {
            // What other owners did to the value happens before it is dropped.
            fence(Ordering::Acquire);
            self.drop_value();
        }
    }
}

/// Memory of one value that is no longer in it; goes back to the thread's lists.
struct Block<T>(NonNull<T>);

impl<T> Drop for Block<T> {
    #[inline]
    fn drop(&mut self) {
        let class = class_of::<T>();
        let block = self.0.cast::<Free>();
        // The lists are gone when a thread-local tensor dies at the end of its thread.
        let kept = LISTS.try_with(|lists| lists.keep(class, block)).unwrap_or(false);
        if !kept {
            // SAFETY: `block_for` got it from the allocator with this layout.
            unsafe { dealloc(block.as_ptr().cast(), layout_of(class)) };
        }
    }
}

/// The step between the sizes of two lists.
const STEP: usize = 64;
/// Alignment of all blocks.
const ALIGN: usize = 16;
/// Values up to `STEP * LISTED` bytes are recycled.
const LISTED: usize = 10;
/// Blocks that a list keeps: enough for the graph of a large network.
const KEEP: usize = 512;

/// A block in a list.
struct Free {
    next: Option<NonNull<Free>>,
}

struct List {
    first: Cell<Option<NonNull<Free>>>,
    len: Cell<usize>,
}

/// The free blocks of one thread; list `i` holds blocks of `STEP * (i + 1)` bytes.
struct Lists([List; LISTED]);

thread_local! {
    static LISTS: Lists = const {
        Lists([const { List { first: Cell::new(None), len: Cell::new(0) } }; LISTED])
    };
}

const fn class_of<T>() -> usize {
    assert!(align_of::<T>() <= ALIGN && size_of::<T>() > 0);
    (size_of::<T>() - 1) / STEP
}

fn layout_of(class: usize) -> Layout {
    Layout::from_size_align(STEP * (class + 1), ALIGN).expect("the size of a value is far below isize::MAX")
}

/// Uninitialised memory for a value.
#[inline]
fn block_for<T>() -> NonNull<T> {
    let class = const { class_of::<T>() };
    match LISTS.try_with(|lists| lists.take(class)).ok().flatten() {
        Some(block) => block.cast(),
        None => fresh(class).cast(),
    }
}

#[cold]
fn fresh(class: usize) -> NonNull<u8> {
    let layout = layout_of(class);
    // SAFETY: the layout's size is not zero.
    NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}

impl Lists {
    #[inline]
    fn take(&self, class: usize) -> Option<NonNull<Free>> {
        let list = self.0.get(class)?;
        let block = list.first.get()?;
        // SAFETY: a block in a list is free memory in which `keep` has written a `Free`, and only this thread reaches it.
        list.first.set(unsafe { block.read() }.next);
        list.len.set(list.len.get() - 1);
        Some(block)
    }

    #[inline]
    fn keep(&self, class: usize, block: NonNull<Free>) -> bool {
        let Some(list) = self.0.get(class).filter(|list| list.len.get() < KEEP) else { return false };
        // SAFETY: the block is free, at least `STEP` bytes long and aligned to 16.
        unsafe { block.write(Free { next: list.first.get() }) };
        list.first.set(Some(block));
        list.len.set(list.len.get() + 1);
        true
    }
}

impl Drop for Lists {
    fn drop(&mut self) {
        for class in 0..LISTED {
            while let Some(block) = self.take(class) {
                // SAFETY: `fresh` got it from the allocator with this layout.
                unsafe { dealloc(block.as_ptr().cast(), layout_of(class)) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_last_owner_drops_the_value_once() {
        let witness = Arc::new(());
        let mut first = Shared::new((witness.clone(), [7u64; 20]));
        assert!(Shared::get_mut(&mut first).is_some());
        let second = first.clone();
        assert!(Shared::ptr_eq(&first, &second) && Shared::owners(&first) == 2);
        assert!(Shared::get_mut(&mut first).is_none());
        drop(first);
        assert_eq!((Arc::strong_count(&witness), second.1), (2, [7; 20]));
        drop(second);
        assert_eq!(Arc::strong_count(&witness), 1);
    }

    #[test]
    fn freed_memory_is_used_again_by_values_of_its_class() {
        let first = Shared::new([1u8; 90]);
        let at = Shared::as_ptr(&first) as usize;
        drop(first);
        let second = Shared::new([2u8; 80]);
        assert_eq!(Shared::as_ptr(&second) as usize, at);
        // The one beside it is not the same memory.
        let third = Shared::new([3u8; 80]);
        assert!((Shared::as_ptr(&third) as usize).abs_diff(at) >= 88);
        assert_eq!((*second, *third), ([2; 80], [3; 80]));
    }

    #[test]
    fn values_larger_than_the_lists_and_values_of_other_threads_are_freed_too() {
        let large = Shared::new([5u64; 1000]);
        let small = Shared::new(AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let (large, small) = (large.clone(), small.clone());
                scope.spawn(move || {
                    for i in 0..1000 {
                        let local = Shared::new(i);
                        small.fetch_add(large[i] as usize + *local, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!((Shared::owners(&large), Shared::owners(&small)), (1, 1));
        assert_eq!(small.load(Ordering::Relaxed), 4 * (5000 + 999 * 1000 / 2));
    }

    #[test]
    fn a_list_keeps_only_so_many() {
        let many: Vec<Shared<[u8; 32]>> = (0..KEEP + 10).map(|i| Shared::new([i as u8; 32])).collect();
        drop(many);
        LISTS.with(|lists| assert!(lists.0.iter().all(|list| list.len.get() <= KEEP)));
    }
}
