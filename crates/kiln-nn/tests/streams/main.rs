//! Layers with the default random stream: initialisation, builders, dropout, misuse. Tests take turns, because all of them draw from one stream.

mod init;
mod layers;
mod parametrize;
mod sequences;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Waits for the other tests to be done with the stream.
fn turn() -> MutexGuard<'static, ()> {
    static STREAM: Mutex<()> = Mutex::new(());
    STREAM.lock().unwrap_or_else(PoisonError::into_inner)
}
