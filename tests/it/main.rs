//! The whole of Kiln through its one API: behaviour that spans layers. One binary, so that there is one link.

mod backend;
mod bad_input;
mod determinism;
mod loader;
