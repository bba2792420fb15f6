//! Buffers for packed panels: aligned to a cache line, kept per thread, so that a product allocates only when it is
//! larger than every one before it on its thread.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::ptr::NonNull;

/// Larger blocks are given back to the allocator at once.
const KEEP_BYTES: usize = 32 << 20;
const ALIGN: usize = 64;

thread_local! {
    static FREE: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
}

struct Block {
    at: NonNull<u8>,
    bytes: usize,
}

impl Block {
    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes, ALIGN).expect("a packing buffer is far smaller than the address space")
    }

    fn new(bytes: usize) -> Block {
        let layout = Block::layout(bytes);
        // SAFETY: callers ask for at least one line, so the layout is not empty.
        let at = unsafe { alloc(layout) };
        Block { at: NonNull::new(at).unwrap_or_else(|| handle_alloc_error(layout)), bytes }
    }

    /// The smallest kept block that is large enough. If there is none, the largest one goes back to the allocator: the new
    /// one takes its place, so that there are never more blocks than were in use at once.
    fn take(free: &mut Vec<Block>, bytes: usize) -> Option<Block> {
        let fits = (0..free.len()).filter(|&i| free[i].bytes >= bytes).min_by_key(|&i| free[i].bytes);
        match fits.or_else(|| (0..free.len()).max_by_key(|&i| free[i].bytes)) {
            Some(i) => Some(free.swap_remove(i)).filter(|block| block.bytes >= bytes),
            None => None,
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout.
        unsafe { dealloc(self.at.as_ptr(), Block::layout(self.bytes)) }
    }
}

/// Uninitialised memory that goes back to the thread's stock when dropped.
pub(crate) struct Scratch(Option<Block>);

impl Scratch {
    /// Room for `len` elements.
    pub(crate) fn new<E>(len: usize) -> Scratch {
        let bytes = (len * size_of::<E>()).next_multiple_of(4096).max(4096);
        let kept = FREE.try_with(|free| Block::take(&mut free.borrow_mut(), bytes)).ok().flatten();
        Scratch(Some(kept.unwrap_or_else(|| Block::new(bytes))))
    }

    /// No memory, for paths that turn out to need none.
    pub(crate) fn none() -> Scratch {
        Scratch(None)
    }

    /// The start of the memory; null when there is none.
    pub(crate) fn ptr<E>(&self) -> *mut E {
        self.0.as_ref().map_or(std::ptr::null_mut(), |block| block.at.as_ptr().cast())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let Some(block) = self.0.take().filter(|block| block.bytes <= KEEP_BYTES) else { return };
        // During the thread's destruction the stock is gone and the block is freed instead.
        let _ = FREE.try_with(|free| free.borrow_mut().push(block));
    }
}
