//! Modules as users see them: names, printing, state dicts, modes.

mod hooks;
mod layers;
mod modules;
mod places;
mod state;
