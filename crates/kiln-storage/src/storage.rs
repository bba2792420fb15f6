//! Shared memory on one device: the bytes that tensors and their views look at.

use std::any::Any;
use std::cell::{RefCell, UnsafeCell};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RawRwLock;
use parking_lot::lock_api::{RawRwLock as _, RawRwLockRecursive as _};
use smallvec::SmallVec;

use crate::cache::HostBlock;
use crate::{Device, Error, Result, Shared};

/// Memory of a device other than the host; its backend knows what is inside.
pub trait DeviceMemory: Any + Send + Sync {
    /// For the backend to get its own type back.
    fn as_any(&self) -> &dyn Any;
}

/// Reference-counted memory on one device, with a version counter, behind a lock. Cloning shares it.
#[derive(Clone)]
pub struct Storage(Shared<Inner>);

struct Inner {
    lock: RawRwLock,
    version: AtomicU64,
    device: Device,
    bytes: usize,
    memory: Memory,
}

/// Small contents live beside the counters: one allocation less for every scalar.
const INLINE: usize = 32;

enum Memory {
    Inline(UnsafeCell<InlineBytes>),
    Block(HostBlock),
    /// Memory of a `Vec`, an ndarray, a mapped file: `owner` keeps it alive.
    Foreign {
        ptr: *mut u8,
        _owner: Box<dyn Any + Send + Sync>,
    },
    Device(Box<dyn DeviceMemory>),
}

#[repr(align(16))]
struct InlineBytes(#[allow(dead_code)] [u8; INLINE]);

// SAFETY: the raw memory is only touched by holders of the lock (`Access`) or by the single owner of a new storage.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Storage {
    fn from_memory(device: Device, bytes: usize, memory: Memory) -> Storage {
        Storage(Shared::new_with(|| Inner {
            lock: RawRwLock::INIT,
            version: AtomicU64::new(0),
            device,
            bytes,
            memory,
        }))
    }

    /// Host memory of `bytes` bytes with undefined content: every byte must be written before it is read.
    ///
    /// # Errors
    /// The memory is not there.
    #[inline]
    pub fn uninit(bytes: usize) -> Result<Storage> {
        let memory = if bytes <= INLINE {
            Memory::Inline(UnsafeCell::new(InlineBytes([0; INLINE])))
        } else {
            Memory::Block(HostBlock::new(bytes)?)
        };
        Ok(Storage::from_memory(Device::CPU, bytes, memory))
    }

    /// Takes over the memory of a vector without copying it.
    pub fn from_vec<T: crate::Element>(mut v: Vec<T>) -> Storage {
        let bytes = std::mem::size_of_val(v.as_slice());
        let ptr = v.as_mut_ptr().cast::<u8>();
        // The heap block that `ptr` points to does not move when the vector's three words do.
        Storage::from_memory(Device::CPU, bytes, Memory::Foreign { ptr, _owner: Box::new(v) })
    }

    /// Host memory that `owner` keeps alive.
    ///
    /// # Safety
    /// `ptr` must be valid for reads and writes of `bytes` bytes, initialised and suitably aligned for the elements
    /// that will be seen in it, for as long as `owner` lives, and nobody else may access it while a tensor can.
    pub unsafe fn from_foreign(ptr: *mut u8, bytes: usize, owner: Box<dyn Any + Send + Sync>) -> Storage {
        Storage::from_memory(Device::CPU, bytes, Memory::Foreign { ptr, _owner: owner })
    }

    /// Memory that a backend has allocated on its device.
    pub fn from_device(device: Device, bytes: usize, memory: Box<dyn DeviceMemory>) -> Storage {
        Storage::from_memory(device, bytes, Memory::Device(memory))
    }

    /// Where the memory lives.
    #[inline]
    pub fn device(&self) -> Device {
        self.0.device
    }

    /// Its size in bytes.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.0.bytes
    }

    /// How many times the content was changed in place.
    #[inline]
    pub fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }

    /// Counts one change in place.
    #[inline]
    pub fn bump_version(&self) {
        self.0.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether both are the same memory.
    #[inline]
    pub fn is_same(&self, other: &Storage) -> bool {
        Shared::ptr_eq(&self.0, &other.0)
    }

    /// The number of tensors that share the memory.
    pub fn sharers(&self) -> usize {
        Shared::owners(&self.0)
    }

    /// An address that identifies the storage while it lives.
    #[inline]
    pub fn id(&self) -> usize {
        Shared::as_ptr(&self.0) as usize
    }

    /// The address of the first byte of host memory, `None` on other devices. Using it needs an [`Access`] on this
    /// storage.
    #[inline]
    pub fn host_ptr(&self) -> Option<*mut u8> {
        match &self.0.memory {
            Memory::Inline(cell) => Some(cell.get().cast()),
            Memory::Block(block) => Some(block.ptr()),
            Memory::Foreign { ptr, .. } => Some(*ptr),
            Memory::Device(_) => None,
        }
    }

    /// The backend's own memory, `None` on the host.
    pub fn device_memory(&self) -> Option<&dyn DeviceMemory> {
        match &self.0.memory {
            Memory::Device(m) => Some(&**m),
            _ => None,
        }
    }
}

thread_local! {
    /// Storages that guards handed to the user by this thread hold, with the number of guards.
    static LENT: RefCell<SmallVec<[usize; 4]>> = const { RefCell::new(SmallVec::new_const()) };
}

/// So many locks are held without an allocation.
const FEW: usize = 4;

/// Locked storages, each with whether it is written. A list of its own, because every operation makes one.
struct Held<'a> {
    few: [Option<&'a Storage>; FEW],
    /// How many of `few` are there.
    len: usize,
    /// Bit `i`: whether `few[i]` is written.
    written: u8,
    more: Vec<(&'a Storage, bool)>,
}

impl<'a> Held<'a> {
    #[inline]
    fn new() -> Held<'a> {
        Held { few: [None; FEW], len: 0, written: 0, more: Vec::new() }
    }

    #[inline]
    fn push(&mut self, storage: &'a Storage, write: bool) {
        if self.len < FEW {
            self.few[self.len] = Some(storage);
            self.written |= u8::from(write) << self.len;
            self.len += 1;
        } else {
            self.more.push((storage, write));
        }
    }

    #[inline]
    fn contains(&self, storage: &Storage) -> bool {
        self.few[..self.len].iter().flatten().any(|held| held.is_same(storage))
            || self.more.iter().any(|(held, _)| held.is_same(storage))
    }

    #[inline]
    fn for_each(&self, mut visit: impl FnMut(&'a Storage, bool)) {
        for (i, storage) in self.few.iter().enumerate() {
            let Some(storage) = storage else { break };
            visit(storage, self.written >> i & 1 == 1);
        }
        for &(storage, write) in &self.more {
            visit(storage, write);
        }
    }
}

/// The right to touch the memory of some storages, until it is dropped: shared for what is read, exclusive for what is
/// written. A storage that is both counts as written.
pub struct Access<'a> {
    /// All of them are locked.
    held: Held<'a>,
    lent: bool,
}

impl<'a> Access<'a> {
    /// Waits for the locks of `reads` and `writes`.
    ///
    /// # Errors
    /// This thread itself holds one of them through a guard that it lent out: waiting would never end.
    #[inline]
    pub fn new(
        op: &'static str,
        reads: impl IntoIterator<Item = &'a Storage, IntoIter: Clone>,
        writes: impl IntoIterator<Item = &'a Storage, IntoIter: Clone>,
    ) -> Result<Access<'a>> {
        let (reads, writes) = (reads.into_iter(), writes.into_iter());
        let mut access = Access { held: Held::new(), lent: false };
        // Written ones come first, so one that is also read is held already, for writing.
        let mut all = true;
        for storage in writes.clone() {
            all = all && access.try_hold(storage, true);
        }
        for storage in reads.clone() {
            all = all && access.try_hold(storage, false);
        }
        if all {
            return Ok(access);
        }
        // Nothing is held while waiting for something else but in an order that all callers share.
        drop(access);
        let mut wanted = Vec::new();
        for storage in writes {
            wanted.push((storage, true));
        }
        for storage in reads {
            wanted.push((storage, false));
        }
        Access::wait(op, wanted)
    }

    /// Takes the lock of a storage that is not held yet, if it is free.
    #[inline(always)]
    fn try_hold(&mut self, storage: &'a Storage, write: bool) -> bool {
        if self.held.contains(storage) {
            return true;
        }
        let lock = &storage.0.lock;
        let got = if write { lock.try_lock_exclusive() } else { lock.try_lock_shared_recursive() };
        if got {
            self.held.push(storage, write);
        }
        got
    }

    #[cold]
    fn wait(op: &'static str, mut wanted: Vec<(&'a Storage, bool)>) -> Result<Access<'a>> {
        wanted.sort_by_key(|(storage, write)| (storage.id(), !write));
        wanted.dedup_by_key(|(storage, _)| storage.id());
        let mut access = Access { held: Held::new(), lent: false };
        for (storage, write) in wanted {
            if !access.try_hold(storage, write) {
                // `access` holds what it has so far and releases it on the way out.
                wait_for(op, storage, write)?;
                access.held.push(storage, write);
            }
        }
        Ok(access)
    }

    /// Marks this access as one that the user keeps, so that an operation of the same thread that would wait for it
    /// fails instead.
    pub fn lend(mut self) -> Access<'a> {
        LENT.with(|l| self.held.for_each(|s, _| l.borrow_mut().push(s.id())));
        self.lent = true;
        self
    }

    /// Keeps the locks past the end of this value, for an owner that gives them back through [`Access::resume`].
    pub(crate) fn keep(self) {
        std::mem::forget(self);
    }

    /// The access to one storage that was kept; dropping it gives the lock back.
    ///
    /// # Safety
    /// This thread has made a lent access to this storage alone, in this mode, and kept it; it is resumed once.
    pub(crate) unsafe fn resume(storage: &'a Storage, write: bool) -> Access<'a> {
        let mut held = Held::new();
        held.push(storage, write);
        Access { held, lent: true }
    }
}

#[cold]
fn wait_for(op: &'static str, storage: &Storage, write: bool) -> Result<()> {
    if LENT.with(|l| l.borrow().contains(&storage.id())) {
        return Err(Error::borrowed(
            op,
            "the memory of an operand is lent out by a guard of this thread (as_slice, as_ndarray or their _mut \
             forms); drop the guard first",
        ));
    }
    if write {
        storage.0.lock.lock_exclusive();
    } else {
        storage.0.lock.lock_shared_recursive();
    }
    Ok(())
}

#[cold]
fn no_longer_lent(storage: &Storage) {
    LENT.with(|l| {
        let mut l = l.borrow_mut();
        if let Some(at) = l.iter().position(|&id| id == storage.id()) {
            l.swap_remove(at);
        }
    });
}

impl Drop for Access<'_> {
    #[inline]
    fn drop(&mut self) {
        self.held.for_each(|storage, write| {
            if self.lent {
                no_longer_lent(storage);
            }
            // SAFETY: `new` or `wait` took the lock in this mode and this access gives it back once.
            unsafe {
                if write {
                    storage.0.lock.unlock_exclusive();
                } else {
                    storage.0.lock.unlock_shared();
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lent_storage_is_refused_to_its_own_thread() {
        let s = Storage::from_vec(vec![1.0f32; 8]);
        let guard = Access::new("as_slice_mut", [], [&s]).unwrap().lend();
        let error = Access::new("add", [&s], []).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with("add: ") && error.contains("lent out"), "{error}");
        drop(guard);
        assert!(Access::new("add", [&s], [&s]).is_ok());
    }

    #[test]
    fn opposite_orders_do_not_deadlock() {
        let (a, b) = (Storage::uninit(8).unwrap(), Storage::uninit(8).unwrap());
        std::thread::scope(|scope| {
            for (x, y) in [(&a, &b), (&b, &a)] {
                scope.spawn(move || {
                    for _ in 0..10_000 {
                        let _access = Access::new("copy_", [x], [y]).unwrap();
                    }
                });
            }
        });
    }

    #[test]
    fn vectors_move_in_without_a_copy() {
        let v = vec![1i64, 2, 3];
        let ptr = v.as_ptr() as *mut u8;
        assert_eq!(Storage::from_vec(v).host_ptr(), Some(ptr));
    }
}
