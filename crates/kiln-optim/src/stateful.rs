//! [`Stateful`]: what schedules and scalers have in common for whoever saves a training run.

use kiln_autograd::Result;

use crate::schedule::{PlateauScheduler, Scheduler};
use crate::value::StateValue;

/// Something whose state is a [`StateValue`]: every running schedule, whatever its steps ask for, and
/// [`GradScaler`](crate::GradScaler).
pub trait Stateful {
    /// The state, as `state_dict()` of the type gives it.
    fn to_state(&self) -> StateValue;

    /// Goes on from a saved state; all of it is loaded or nothing.
    ///
    /// # Errors
    /// Entries are missing or of the wrong kind.
    fn set_state(&mut self, state: &StateValue) -> Result<()>;
}

impl<S: Scheduler + ?Sized> Stateful for S {
    fn to_state(&self) -> StateValue {
        self.state_dict()
    }

    fn set_state(&mut self, state: &StateValue) -> Result<()> {
        self.load_state_dict(state)
    }
}

impl Stateful for PlateauScheduler {
    fn to_state(&self) -> StateValue {
        self.state_dict()
    }

    fn set_state(&mut self, state: &StateValue) -> Result<()> {
        self.load_state_dict(state)
    }
}
