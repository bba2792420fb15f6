//! The README's commands are run, so that they stay true.
//!
//! A fenced block whose info string is exactly `sh` holds commands for the reader's shell. The lines that start with
//! `cargo` and work on this repository are run from its root; `cargo add` and the like, which work on the reader's own
//! project, are not. A block marked otherwise (`sh no_run`, `console`) is left alone.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::workspace;

/// What Cargo is asked to do in the commands that are run.
const RUN: &[&str] = &["run", "test", "build", "bench", "doc", "xtask"];
/// This very command, which would call itself without end.
const ITSELF: &str = "cargo xtask ci";

/// The Cargo commands of a Markdown text that can be run here, in order, each once.
pub fn commands(markdown: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut fence: Option<bool> = None;
    for line in markdown.lines().map(str::trim) {
        if let Some(info) = line.strip_prefix("```") {
            fence = match fence {
                None => Some(info.trim() == "sh"),
                Some(_) => None,
            };
            continue;
        }
        let line = line.strip_prefix("$ ").unwrap_or(line);
        let line = line.split(" #").next().unwrap_or("").trim();
        let task = line.strip_prefix("cargo ").and_then(|rest| rest.split_whitespace().next());
        if fence == Some(true)
            && task.is_some_and(|task| RUN.contains(&task))
            && !line.starts_with(ITSELF)
            && !commands.iter().any(|c| c == line)
        {
            commands.push(line.to_owned());
        }
    }
    commands
}

/// Runs the commands of README.md; without a README there is nothing to keep true.
pub fn run(root: &Path) -> Result<()> {
    let path = root.join("README.md");
    if !path.exists() {
        println!("no README.md yet");
        return Ok(());
    }
    for command in commands(&std::fs::read_to_string(path)?) {
        println!("$ {command}");
        workspace::run(Command::new("sh").arg("-c").arg(&command).current_dir(root))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_commands_of_shell_blocks_are_found() {
        let text = "# Title\n\n    cargo run --indented\n\n```sh\n$ cargo run --release --example quickstart   # a minute\n\
                    cargo xtask ci\ngit clone x\ncargo add kiln\n```\n\n```rust\ncargo build\n```\n```\ncargo build\n```\n\
                    ```sh no_run\ncargo build\n```\n```sh\ncargo xtask tidy\ncargo xtask tidy\n```\n";
        assert_eq!(commands(text), ["cargo run --release --example quickstart", "cargo xtask tidy"]);
    }
}
