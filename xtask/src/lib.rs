//! The developer tool of the Kiln workspace, one module per command.
//!
//! - [`ci`]: the table of steps behind `cargo xtask ci`, the one command that decides whether a change is good;
//! - [`tidy`]: what the compiler does not check: layers, module docs, file sizes, paths named in Markdown;
//! - [`mod@bench`]: times Kiln's benchmark cases beside PyTorch's;
//! - [`conformance`]: replays conformance vectors through Kiln;
//! - [`vectors`]: reads conformance files, compares results with them and keeps the score;
//! - [`readme`] and [`workspace`]: what the others share.

pub mod bench;
pub mod ci;
pub mod conformance;
pub mod readme;
pub mod tidy;
pub mod vectors;
pub mod workspace;
