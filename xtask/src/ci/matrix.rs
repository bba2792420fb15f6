//! One set of tests under many settings: the proof that results do not depend on the machine.
//!
//! The instruction set and the number of threads are read once per process, so each setting is a run of its own. A test
//! takes part by having `determinism` in its path and by printing lines `hash NAME HEX`; the lines of all the runs must
//! be the same. Settings that this machine cannot run are skipped with a notice.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::conformance::floors::{GOLDEN, SHARED};
use crate::workspace;

/// The tests and the settings.
pub struct Matrix {
    /// The arguments for Cargo.
    pub arguments: &'static [&'static str],
    /// The parts of the vectors whose bits are compared as well.
    pub parts: &'static [&'static str],
    /// The values of `KILN_ISA`.
    pub isas: &'static [&'static str],
    /// The values of `KILN_NUM_THREADS`.
    pub threads: &'static [&'static str],
    /// How many hashes each run must print at least: tests that silently go missing fail the step.
    pub floor: usize,
}

/// The runs of `cargo xtask ci`. Raise the floor with every test that prints a hash.
pub const DETERMINISM: Matrix = Matrix {
    arguments: &["test", "--workspace", "--lib", "--tests", "--quiet", "--", "determinism", "--nocapture"],
    parts: &["ops", "modules"],
    isas: &["portable", "avx2", "avx512"],
    threads: &["1", "2", "4"],
    floor: 500,
};

impl Matrix {
    /// The tests, and this very program for each part of the vectors that is there.
    fn commands(&self, root: &Path) -> Result<Vec<Command>> {
        let mut tests = workspace::cargo(root);
        tests.args(self.arguments);
        let mut commands = vec![tests];
        for dir in [GOLDEN, SHARED] {
            for part in self.parts.iter().filter(|part| root.join(dir).join(part).exists()) {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["conformance", "--part", part, "--dir"]).arg(root.join(dir));
                command.args(["--hash", "--each"]).current_dir(root);
                commands.push(command);
            }
        }
        Ok(commands)
    }

    /// Runs every setting and compares the hashes.
    pub fn run(&self, root: &Path) -> Result<()> {
        let mut first: Option<(String, BTreeSet<String>)> = None;
        let mut settings = 0;
        for isa in self.isas {
            if !runs_here(isa) {
                println!("skipped: KILN_ISA={isa}, which this machine cannot run");
                continue;
            }
            for threads in self.threads {
                let mut text = String::new();
                for mut command in self.commands(root)? {
                    command.env("KILN_ISA", isa).env("KILN_NUM_THREADS", threads);
                    println!("$ {}", workspace::shown(&command));
                    let output = command.output()?;
                    let out = String::from_utf8_lossy(&output.stdout);
                    if !output.status.success() {
                        print!("{out}{}", String::from_utf8_lossy(&output.stderr));
                        bail!("failed with KILN_ISA={isa} KILN_NUM_THREADS={threads}");
                    }
                    text.push_str(&out);
                }
                let name = format!("KILN_ISA={isa} KILN_NUM_THREADS={threads}");
                let hashes = hashes(&text);
                settings += 1;
                match &first {
                    None => first = Some((name, hashes)),
                    Some((other, expected)) => same(other, expected, &name, &hashes)?,
                }
            }
        }
        let count = first.map_or(0, |(_, hashes)| hashes.len());
        println!("{count} hashes, the same under {settings} settings");
        if count < self.floor {
            bail!("expected at least {} hashes", self.floor);
        }
        Ok(())
    }
}

/// Whether this machine has the instruction set that `KILN_ISA` names.
fn runs_here(isa: &str) -> bool {
    match isa {
        #[cfg(target_arch = "x86_64")]
        "avx2" => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
        #[cfg(target_arch = "x86_64")]
        "avx512" => {
            is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
        }
        other => other == "portable",
    }
}

/// The hash lines of a test run. The test harness may have put the test's name or its progress dots before them.
fn hashes(output: &str) -> BTreeSet<String> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|w| w.trim_start_matches('.') == "hash")?;
        Some(format!("{} {}", words.get(at + 1)?, words.get(at + 2)?))
    };
    output.lines().filter_map(line).collect()
}

fn same(a: &str, expected: &BTreeSet<String>, b: &str, found: &BTreeSet<String>) -> Result<()> {
    let differ: Vec<&str> = expected.symmetric_difference(found).map(String::as_str).collect();
    if !differ.is_empty() {
        bail!("{a} and {b} differ in:\n  {}", differ.join("\n  "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_lines_are_found_wherever_the_test_harness_leaves_them() {
        let text = "\nrunning 3 tests\ntest it::determinism ... hash lenet abc\nhash gemm 12\n..hash sum 7\nok\nrehash x y\nhash\n";
        assert_eq!(hashes(text), ["gemm 12", "lenet abc", "sum 7"].map(str::to_owned).into());
    }

    #[test]
    fn a_missing_or_different_hash_is_named() {
        let set = |lines: &[&str]| lines.iter().map(|l| (*l).to_owned()).collect::<BTreeSet<_>>();
        assert!(same("a", &set(&["x 1", "y 2"]), "b", &set(&["y 2", "x 1"])).is_ok());
        let error = same("a", &set(&["x 1", "y 2"]), "b", &set(&["x 1", "y 3"])).expect_err("y differs");
        assert!(error.to_string().contains("y 2") && error.to_string().contains("y 3"));
        assert!(same("a", &set(&["x 1"]), "b", &set(&[])).is_err());
    }

    #[test]
    fn the_portable_path_runs_everywhere_and_unknown_ones_nowhere() {
        assert!(runs_here("portable"));
        assert!(!runs_here("quantum"));
    }
}
