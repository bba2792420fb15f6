//! The lines of the program that operations were called at and tensors changed at, for errors.

use std::cell::Cell;
use std::panic::Location;

pub(crate) use kiln_ops::Place;
use kiln_ops::is_of_program;

/// A place as `path:line:column`, if it is the program's: operations inside of derivatives and layers are called by
/// Kiln itself.
pub(crate) fn outside(place: Place) -> Option<String> {
    is_of_program(place).then(|| place.to_string())
}

thread_local! {
    /// The call of the program that the operations recorded now are parts of.
    static OUTER: Cell<Option<Place>> = const { Cell::new(None) };
}

/// Calls `f`, whose operations count as called where this function's caller was: `#[track_caller]` does not reach into
/// closures.
#[track_caller]
pub(crate) fn called_here<T>(f: impl FnOnce() -> T) -> T {
    /// Puts back what was there, also when `f` panics.
    struct Restore(Option<Place>);
    impl Drop for Restore {
        fn drop(&mut self) {
            OUTER.set(self.0);
        }
    }
    let before = OUTER.get();
    let _restore = Restore(before);
    OUTER.set(Some(before.unwrap_or(Location::caller())));
    f()
}

/// The place of an operation that was called at `place`.
#[inline]
pub(crate) fn of_operation(place: Place) -> Place {
    OUTER.get().unwrap_or(place)
}

/// Notes that the memory of a tensor is about to be changed in place, in debug builds only: every change would pay.
#[cfg(debug_assertions)]
pub(crate) use changes::{last_change, note_change};

#[cfg(debug_assertions)]
mod changes {
    use std::cell::RefCell;

    use super::Place;
    use crate::Tensor;

    /// How many changes a thread remembers.
    const REMEMBERED: usize = 64;

    struct Change {
        memory: usize,
        /// The version that the change ended.
        version: u64,
        op: &'static str,
        place: Place,
    }

    thread_local! {
        static CHANGES: RefCell<(Vec<Change>, usize)> = const { RefCell::new((Vec::new(), 0)) };
    }

    pub(crate) fn note_change(op: &'static str, t: &Tensor, place: Place) {
        let raw = t.raw();
        let change = Change { memory: raw.storage().id(), version: raw.version(), op, place };
        CHANGES.with_borrow_mut(|(changes, next)| {
            if changes.len() < REMEMBERED {
                changes.push(change);
            } else {
                changes[*next] = change;
            }
            *next = (*next + 1) % REMEMBERED;
        });
    }

    /// What changed the memory of `t` last since it was at version `since`, and where, if this thread did it and still
    /// knows.
    pub(crate) fn last_change(t: &Tensor, since: u64) -> Option<(&'static str, Place)> {
        let (memory, now) = (t.raw().storage().id(), t.version());
        CHANGES.with_borrow(|(changes, _)| {
            let its = |c: &&Change| c.memory == memory && (since..now).contains(&c.version);
            changes.iter().filter(its).max_by_key(|c| c.version).map(|c| (c.op, c.place))
        })
    }
}
