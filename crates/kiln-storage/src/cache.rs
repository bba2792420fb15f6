//! Host memory: 64-byte aligned blocks in size classes, kept for the next tensor when they are freed.
//!
//! A fresh block from the operating system costs a page fault for every 4 KiB that is touched, which is more than most
//! memory-bound operations cost; reusing blocks removes that. Small blocks live in lists of the thread that freed
//! them, larger ones in lists shared by all threads, up to [`set_cache_limit`].

use std::alloc::{Layout as AllocLayout, alloc, dealloc};
use std::cell::RefCell;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::{Error, Result};

const ALIGN: usize = 64;
/// Blocks up to this size are cached per thread.
const SMALL: usize = 32 << 10;
/// Bytes a thread keeps in one small class.
const SMALL_KEEP: usize = 64 << 10;
const DEFAULT_LIMIT: usize = 2 << 30;

static LIMIT: AtomicUsize = AtomicUsize::new(DEFAULT_LIMIT);
static CACHED: AtomicUsize = AtomicUsize::new(0);
static LARGE: Mutex<[Vec<Block>; CLASSES]> = Mutex::new([const { Vec::new() }; CLASSES]);

/// Four classes per power of two, from 64 bytes up.
const CLASSES: usize = 4 * 44;

thread_local! {
    static FREE: RefCell<ThreadCache> = const { RefCell::new(ThreadCache([const { Vec::new() }; SMALL_CLASSES])) };
}
const SMALL_CLASSES: usize = class_of(SMALL) + 1;

struct ThreadCache([Vec<Block>; SMALL_CLASSES]);

impl Drop for ThreadCache {
    fn drop(&mut self) {
        self.0.iter_mut().flat_map(|list| list.drain(..)).for_each(Block::free);
    }
}

/// The size class that holds `bytes`: sizes `(4 + s) / 4 * 2^e`, at most a quarter above what is asked for.
const fn class_of(bytes: usize) -> usize {
    if bytes <= ALIGN {
        return 0;
    }
    let b = bytes - 1;
    let exponent = usize::BITS as usize - 1 - b.leading_zeros() as usize;
    let quarter = (b >> (exponent - 2)) & 3;
    (exponent - 6) * 4 + quarter + 1
}

const fn class_size(class: usize) -> usize {
    if class == 0 {
        return ALIGN;
    }
    let (exponent, quarter) = ((class - 1) / 4 + 6, (class - 1) % 4);
    let size = (5 + quarter) << (exponent - 2);
    (size + ALIGN - 1) & !(ALIGN - 1)
}

/// A block of uninitialised host memory, returned to the cache when dropped through [`HostBlock`].
struct Block {
    ptr: NonNull<u8>,
    class: usize,
}

// SAFETY: a block is plain memory that its holder owns.
unsafe impl Send for Block {}

impl Block {
    fn layout(class: usize) -> AllocLayout {
        AllocLayout::from_size_align(class_size(class), ALIGN).expect("class sizes are far below isize::MAX")
    }

    fn fresh(class: usize) -> Option<Block> {
        // SAFETY: every class has a size of at least 64 bytes.
        NonNull::new(unsafe { alloc(Block::layout(class)) }).map(|ptr| Block { ptr, class })
    }

    fn free(self) {
        // SAFETY: `fresh` allocated the block with this layout, and consuming `self` ends its use.
        unsafe { dealloc(self.ptr.as_ptr(), Block::layout(self.class)) }
    }
}

/// Owned, 64-byte aligned host memory; its content is uninitialised at first.
pub(crate) struct HostBlock(Option<Block>);

impl HostBlock {
    /// At least `bytes` bytes.
    pub(crate) fn new(bytes: usize) -> Result<HostBlock> {
        let out_of_memory =
            || Error::value("allocate", format!("{bytes} bytes of host memory could not be allocated"));
        if bytes > 1 << 46 {
            return Err(out_of_memory());
        }
        let class = class_of(bytes);
        let cached = if class < SMALL_CLASSES {
            FREE.try_with(|f| f.borrow_mut().0[class].pop()).ok().flatten()
        } else {
            let block = LARGE.lock()[class].pop();
            if block.is_some() {
                CACHED.fetch_sub(class_size(class), Ordering::Relaxed);
            }
            block
        };
        let block = cached.or_else(|| Block::fresh(class)).or_else(|| {
            // Memory is short: what the cache holds may be what is missing.
            empty_cache();
            Block::fresh(class)
        });
        block.map(|b| HostBlock(Some(b))).ok_or_else(out_of_memory)
    }

    pub(crate) fn ptr(&self) -> *mut u8 {
        self.0.as_ref().map_or(std::ptr::null_mut(), |b| b.ptr.as_ptr())
    }
}

impl Drop for HostBlock {
    fn drop(&mut self) {
        let Some(block) = self.0.take() else { return };
        let (class, size) = (block.class, class_size(block.class));
        if class < SMALL_CLASSES {
            let mut block = Some(block);
            // The thread's list may be gone already when a thread-local tensor dies at the end of its thread.
            let _ = FREE.try_with(|f| {
                let list = &mut f.borrow_mut().0[class];
                if list.len() * size < SMALL_KEEP {
                    list.extend(block.take());
                }
            });
            if let Some(block) = block {
                block.free();
            }
        } else if CACHED.fetch_add(size, Ordering::Relaxed) + size <= LIMIT.load(Ordering::Relaxed) {
            LARGE.lock()[class].push(block);
        } else {
            CACHED.fetch_sub(size, Ordering::Relaxed);
            block.free();
        }
    }
}

/// Gives the freed blocks that the cache keeps back to the operating system (those above 32 KiB of all threads, and
/// the smaller ones of this thread).
pub fn empty_cache() {
    let blocks: Vec<Block> = LARGE.lock().iter_mut().flat_map(std::mem::take).collect();
    for block in blocks {
        CACHED.fetch_sub(class_size(block.class), Ordering::Relaxed);
        block.free();
    }
    let _ = FREE.try_with(|f| f.borrow_mut().0.iter_mut().flat_map(|l| l.drain(..)).for_each(Block::free));
}

/// Sets how many bytes of freed large blocks may be kept (2 GiB at the start); 0 turns the cache off.
pub fn set_cache_limit(bytes: usize) {
    LIMIT.store(bytes, Ordering::Relaxed);
    if CACHED.load(Ordering::Relaxed) > bytes {
        empty_cache();
    }
}

/// The bytes of freed large blocks that the cache keeps at this moment.
pub fn cached_bytes() -> usize {
    CACHED.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_hold_what_they_promise() {
        for bytes in (1..100_000).chain((17..40).flat_map(|e| [(1 << e) - 1, 1 << e, (1 << e) + 1])) {
            let class = class_of(bytes);
            let size = class_size(class);
            assert!(size >= bytes, "{bytes} in class {class} of {size}");
            assert!(size <= bytes + bytes / 4 + 127, "{bytes} wastes too much in {size}");
        }
        assert!(class_of(1 << 46) < CLASSES);
    }

    #[test]
    fn blocks_are_reused_and_aligned() {
        for bytes in [100, 5_000_000] {
            let first = HostBlock::new(bytes).unwrap();
            let ptr = first.ptr();
            assert_eq!(ptr as usize % ALIGN, 0);
            drop(first);
            assert_eq!(HostBlock::new(bytes).unwrap().ptr(), ptr);
        }
    }
}
