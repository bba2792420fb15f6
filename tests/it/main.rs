//! The whole of Kiln through its one API: behaviour that spans layers. One binary, so that there is one link.

mod backend;
mod bad_input;
mod checkpoint;
mod determinism;
mod determinism_large;
mod half;
mod loader;
mod mixed;
mod optimizer_files;
mod places;
mod resume;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The default random stream belongs to the process, and tests run in threads: whoever draws from it, loaders and new
/// layers included, takes turns.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
