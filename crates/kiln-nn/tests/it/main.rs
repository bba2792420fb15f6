//! Modules as users see them: names, printing, state dicts, modes, errors; and the numbers against PyTorch's recordings.

mod init;
mod layers;
mod modules;
mod recording;
mod replay;
mod state;
