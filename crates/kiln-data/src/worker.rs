//! The random stream of the thread that makes samples: a worker's own, or the default one.

use std::cell::RefCell;

use kiln_autograd::kiln_ops::random::{Generator, default_generator};

thread_local! {
    /// Set in the workers of a loader.
    static OWN: RefCell<Option<Generator>> = const { RefCell::new(None) };
}

/// Gives this thread a stream of its own, from now on.
pub(crate) fn seed_worker(seed: u64) {
    OWN.set(Some(Generator::new(seed)));
}

/// Draws from this thread's stream.
pub(crate) fn with_generator<R>(draw: impl FnOnce(&mut Generator) -> R) -> R {
    OWN.with_borrow_mut(|own| match own {
        Some(generator) => draw(generator),
        None => draw(&mut default_generator()),
    })
}
