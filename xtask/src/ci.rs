//! `cargo xtask ci`: every check that a change must pass, as one table of steps.
//!
//! The steps run in order, each under a headline and with its time; the first failure ends the run. Cheap checks come
//! first. All of them call Cargo for the whole workspace, with the same profile and the same features, so that the
//! crates are built once and every later step finds them ready: an option such as `-p` would change how features are
//! unified and build much of the tree again.

pub mod matrix;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use lexopt::prelude::*;

use crate::{conformance, readme, tidy, workspace};
use matrix::Matrix;

/// One line of the table.
pub struct Step {
    /// The word that names the step on the command line.
    pub name: &'static str,
    /// What it shows, for the headline.
    pub title: &'static str,
    /// What it does.
    pub action: Action,
}

/// What a step does.
pub enum Action {
    /// Calls Cargo with arguments and variables.
    Cargo(&'static [&'static str], &'static [(&'static str, &'static str)]),
    /// Runs the same tests under several settings and compares the hashes that they print.
    Matrix(&'static Matrix),
    /// Calls a function with the root of the workspace.
    Call(fn(&Path) -> Result<()>),
}

/// All the steps, in the order in which they run.
pub const STEPS: &[Step] = &[
    Step { name: "fmt", title: "formatting", action: Action::Cargo(&["fmt", "--all", "--check"], &[]) },
    Step { name: "tidy", title: "layers, files, paths, dependencies", action: Action::Call(tidy_step) },
    Step {
        name: "clippy",
        title: "lints",
        action: Action::Cargo(
            &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"],
            &[],
        ),
    },
    Step {
        name: "docs",
        title: "documentation without warnings",
        action: Action::Cargo(
            &["doc", "--workspace", "--no-deps", "--quiet"],
            &[("RUSTDOCFLAGS", "-D warnings")],
        ),
    },
    Step {
        name: "test",
        title: "tests and doctests",
        action: Action::Cargo(&["test", "--workspace", "--quiet"], &[]),
    },
    Step {
        name: "portable",
        title: "unit tests on the portable path, with another number of threads",
        action: Action::Cargo(
            &["test", "--workspace", "--lib", "--quiet"],
            &[("KILN_ISA", "portable"), ("KILN_NUM_THREADS", "3")],
        ),
    },
    Step {
        name: "determinism",
        title: "the same bits on every instruction set and number of threads",
        action: Action::Matrix(&matrix::DETERMINISM),
    },
    Step {
        name: "conformance",
        title: "recorded calls of PyTorch, none of which may fail again",
        action: Action::Call(conformance::floors::step),
    },
    Step {
        name: "ops-table",
        title: "docs/ops.md shows what passes",
        action: Action::Call(conformance::page::step),
    },
    Step { name: "readme", title: "the README's commands", action: Action::Call(readme::run) },
];

fn tidy_step(root: &Path) -> Result<()> {
    if !tidy::check(root)? {
        bail!("the tree is not tidy");
    }
    Ok(())
}

/// `cargo xtask ci [STEP..] [--list]`.
pub fn main(mut arguments: lexopt::Parser) -> Result<ExitCode> {
    let mut wanted = Vec::new();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("list") => {
                for step in STEPS {
                    println!("{:12} {}", step.name, step.title);
                }
                return Ok(ExitCode::SUCCESS);
            }
            Value(name) => wanted.push(name.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let root = workspace::root();
    run(STEPS, &wanted, &root)
}

/// Runs the steps that `wanted` names, all of them when it names none.
fn run(steps: &[Step], wanted: &[String], root: &Path) -> Result<ExitCode> {
    if let Some(unknown) = wanted.iter().find(|w| steps.iter().all(|s| s.name != w.as_str())) {
        bail!("no step named `{unknown}`; `cargo xtask ci --list` lists them");
    }
    let chosen: Vec<&Step> =
        steps.iter().filter(|s| wanted.is_empty() || wanted.iter().any(|w| w == s.name)).collect();
    let mut times: Vec<(&str, Duration)> = Vec::new();
    for (i, step) in chosen.iter().enumerate() {
        println!("\n=== [{}/{}] {}: {}", i + 1, chosen.len(), step.name, step.title);
        let start = Instant::now();
        let result = match &step.action {
            Action::Cargo(arguments, variables) => {
                let mut command = workspace::cargo(root);
                command.args(*arguments).envs(variables.iter().copied());
                println!("$ {}", workspace::shown(&command));
                workspace::run(&mut command)
            }
            Action::Matrix(matrix) => matrix.run(root),
            Action::Call(function) => function(root),
        };
        let time = start.elapsed();
        if let Err(error) = result {
            println!("=== {} FAILED after {:.1} s: {error:#}", step.name, time.as_secs_f64());
            println!("    again, alone: cargo xtask ci {}", step.name);
            return Ok(ExitCode::FAILURE);
        }
        println!("=== {} ok, {:.1} s", step.name, time.as_secs_f64());
        times.push((step.name, time));
    }
    let total: Duration = times.iter().map(|(_, time)| *time).sum();
    let each: Vec<String> = times.iter().map(|(name, t)| format!("{name} {:.1}", t.as_secs_f64())).collect();
    println!("\nall {} steps passed in {:.1} s ({})", times.len(), total.as_secs_f64(), each.join(", "));
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    static CALLS: AtomicUsize = AtomicUsize::new(0);

    fn good(_: &Path) -> Result<()> {
        CALLS.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn bad(_: &Path) -> Result<()> {
        bail!("as it should")
    }

    #[test]
    fn the_first_failure_ends_the_run_and_steps_can_be_chosen() {
        let step = |name, action| Step { name, title: "", action };
        let steps = [
            step("one", Action::Call(good)),
            step("two", Action::Call(bad)),
            step("three", Action::Call(good)),
        ];
        let root = Path::new(".");
        let names = |n: &[&str]| n.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let code = |r: Result<ExitCode>| format!("{:?}", r.expect("the steps are known"));
        assert_eq!(code(run(&steps, &[], root)), format!("{:?}", ExitCode::FAILURE));
        assert_eq!(CALLS.load(Ordering::SeqCst), 1);
        assert_eq!(code(run(&steps, &names(&["three", "one"]), root)), format!("{:?}", ExitCode::SUCCESS));
        assert_eq!(CALLS.load(Ordering::SeqCst), 3);
        assert!(run(&steps, &names(&["four"]), root).is_err());
    }

    #[test]
    fn step_names_are_unique() {
        for (i, step) in STEPS.iter().enumerate() {
            assert!(STEPS[..i].iter().all(|s| s.name != step.name), "{}", step.name);
        }
    }
}
