//! Modules as users see them: names, printing, state dicts, modes.

mod modules;
mod state;
