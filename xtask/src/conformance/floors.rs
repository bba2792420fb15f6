//! The floors: how many cases of each operator passed once, checked in, so that none of them fails again unnoticed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::vectors::Tally;

/// The shared vectors, beside the repository of who has them.
pub const SHARED: &str = "../shared/conformance";
/// The selection of vectors that comes with the repository.
pub const GOLDEN: &str = "tests/golden";
/// The parts with a floor.
const PARTS: &[&str] = &["ops", "modules", "optim", "schedulers", "rng", "files", "trajectories", "seeds"];

/// Passed cases by operator.
type Floor = BTreeMap<String, usize>;

fn path(root: &Path, part: &str) -> PathBuf {
    root.join("xtask/floors").join(format!("{part}.json"))
}

/// Writes the floor of a part: what passes now.
pub fn write(root: &Path, tally: &Tally) -> Result<()> {
    let floor: Floor =
        tally.by_op.iter().filter(|(_, c)| c.passed > 0).map(|(op, c)| (op.clone(), c.passed)).collect();
    let file = path(root, &tally.part);
    let text = serde_json::to_string_pretty(&floor)? + "\n";
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn read(root: &Path, part: &str) -> Result<Floor> {
    let file = path(root, part);
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no floor", file.display()))
}

/// The operators that pass fewer cases than their floor.
fn lost(floor: &Floor, tally: &Tally) -> Vec<String> {
    let now = |op: &String| tally.by_op.get(op).map_or(0, |c| c.passed);
    let fell = floor.iter().filter(|(op, before)| now(op) < **before);
    fell.map(|(op, before)| format!("{op}: {} passed, {before} before", now(op))).collect()
}

/// Replays the selection in the repository, all of which must pass, and the shared vectors, where they are, against
/// their floors.
pub fn step(root: &Path) -> Result<()> {
    for &part in PARTS {
        let golden = root.join(GOLDEN);
        if golden.join(part).exists() {
            let tally = super::run(part, &golden, &mut std::io::stdout())?;
            println!("{part}, {GOLDEN}: {}", tally.summary());
            if tally.total().passed < tally.total().total() {
                bail!("every case in {GOLDEN} must pass");
            }
        }
        let shared = root.join(SHARED);
        if !shared.join(part).exists() {
            println!("skipped: no {SHARED}/{part} beside the repository");
            continue;
        }
        // What has not passed yet is no news: only the score is printed.
        let tally = super::run(part, &shared, &mut std::io::sink())?;
        println!("{part}, {SHARED}: {}", tally.summary());
        let lost = lost(&read(root, part)?, &tally);
        if !lost.is_empty() {
            bail!("below the floor of {part}:\n  {}", lost.join("\n  "));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::Outcome;

    #[test]
    fn a_case_that_no_longer_passes_is_named() {
        let mut tally = Tally::new("ops");
        tally.add(Some("1"), "add", &Outcome::Passed);
        let floor = |n| Floor::from([("add".to_owned(), n)]);
        assert_eq!(lost(&floor(1), &tally), [""; 0]);
        assert_eq!(lost(&floor(2), &tally), ["add: 1 passed, 2 before"]);
        assert_eq!(lost(&floor(1), &Tally::new("ops")), ["add: 0 passed, 1 before"]);
    }
}
