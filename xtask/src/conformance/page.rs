//! `cargo xtask ops-table`: the page docs/ops.md, made of what passes when PyTorch's recorded calls are replayed.
//!
//! The page is never written by hand, so it cannot promise what is not there. CI makes it anew where the shared vectors
//! are and compares.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use lexopt::prelude::*;

use super::inexpressible::is_wrong_call;
use super::{floors, replay};
use crate::vectors::{Case, DType, Limits, OpFile, Outcome, run_ops};
use crate::workspace;

/// The page, relative to the root of the workspace.
const PAGE: &str = "docs/ops.md";

/// The dtypes of the vectors under the names that Kiln's users write.
const DTYPES: &[(DType, &str)] = &[
    (DType::Bool, "bool"),
    (DType::Uint8, "u8"),
    (DType::Int8, "i8"),
    (DType::Int16, "i16"),
    (DType::Int32, "i32"),
    (DType::Int64, "i64"),
    (DType::Float16, "f16"),
    (DType::Bfloat16, "bf16"),
    (DType::Float32, "f32"),
    (DType::Float64, "f64"),
];

/// What the replay shows of one operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shown {
    tier: u32,
    dtypes: Vec<DType>,
    once: bool,
    twice: bool,
    in_place: bool,
    passed: usize,
    total: usize,
    /// Wrong calls that cannot be made in Rust.
    ruled_out: usize,
}

impl Shown {
    fn add(&mut self, case: &Case, outcome: &Outcome) {
        self.total += 1;
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Unsupported(why) if is_wrong_call(why) => {
                self.ruled_out += 1;
                return;
            }
            _ => return,
        }
        if case.raises.is_some() {
            return;
        }
        if !self.dtypes.contains(&case.dtype) {
            self.dtypes.push(case.dtype);
        }
        self.once |= !case.grads.is_empty();
        self.twice |= case.gradgrad;
        self.in_place |= case.inplace_variant;
    }

    fn row(&self, op: &str) -> String {
        let dtypes: Vec<&str> =
            DTYPES.iter().filter(|(d, _)| self.dtypes.contains(d)).map(|(_, name)| *name).collect();
        let derivative = match (self.once, self.twice) {
            (_, true) => "twice",
            (true, false) => "once",
            (false, false) => "",
        };
        let in_place = if self.in_place { "yes" } else { "" };
        let mut cases = format!("{} of {}", self.passed, self.total - self.ruled_out);
        if self.ruled_out > 0 {
            let _ = write!(cases, ", {} ruled out", self.ruled_out);
        }
        format!("| `{op}` | {} | {derivative} | {in_place} | {cases} |", dtypes.join(" "))
    }
}

const HEAD: &str = "\
# Operators

What Kiln has of PyTorch, by the names of PyTorch's operator database (`torch.` is left out). This page is made by
`cargo xtask ops-table`, which replays recorded calls of PyTorch 2.15: it shows what passed, not what is intended.

- *dtypes*: those of the calls that gave PyTorch's result. The calls cover a sample of dtypes, so others may work too.
- *derivative*: whether first derivatives, or also second ones, were compared with PyTorch's.
- *in place*: whether the form with `_` at the end was compared too.
- *cases*: the calls that passed, of how many. \"Ruled out\" are wrong calls that Rust's types do not let one make: a number
  where a tensor must be, a negative size.

Everything runs on the CPU. A tensor on another device is computed there by what the device's backend has a kernel for;
the rest runs on the host with copies of the operands, and says so once.
";

/// What is special about each tier.
const TIERS: &[(u32, &str)] = &[
    (1, "Tier 1: what tutorials call"),
    (2, "Tier 2: what common models and training scripts add"),
    (3, "Tier 3: the rest"),
];

fn page(shown: &BTreeMap<String, Shown>) -> String {
    let mut text = HEAD.to_owned();
    for (tier, title) in TIERS {
        let rows: Vec<_> = shown.iter().filter(|(_, s)| s.tier == *tier).collect();
        let complete = rows.iter().filter(|(_, s)| s.passed + s.ruled_out == s.total).count();
        let _ = write!(
            text,
            "\n## {title}\n\n{complete} of {} operators pass every call.\n\n\
             | operator | dtypes | derivative | in place | cases |\n| --- | --- | --- | --- | --- |\n",
            rows.len()
        );
        for (op, shown) in rows {
            let _ = writeln!(text, "{}", shown.row(op));
        }
    }
    text
}

/// Replays the shared vectors.
fn made(dir: &Path) -> Result<String> {
    let shown: Arc<Mutex<BTreeMap<String, Shown>>> = Arc::default();
    let seen = Arc::clone(&shown);
    let call = move |file: &OpFile, case: &Case| {
        let outcome = replay::case(file, case);
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let of_op = seen.entry(file.op.clone()).or_default();
        of_op.tier = file.tier;
        of_op.add(case, &outcome);
        outcome
    };
    run_ops(dir, Limits::default(), call, &mut std::io::sink())?;
    let shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(page(&shown))
}

/// Whether the page is what the shared vectors give now, where they are.
pub fn step(root: &Path) -> Result<()> {
    let shared = root.join(floors::SHARED);
    if !shared.join("ops").exists() {
        println!("skipped: no {}/ops beside the repository", floors::SHARED);
        return Ok(());
    }
    let now = std::fs::read_to_string(root.join(PAGE)).with_context(|| format!("cannot read {PAGE}"))?;
    if now != made(&shared)? {
        bail!("{PAGE} is not what the vectors give; run `cargo xtask ops-table`");
    }
    println!("{PAGE} is fresh");
    Ok(())
}

/// `cargo xtask ops-table [--dir DIR]`.
pub fn main(mut arguments: lexopt::Parser) -> Result<ExitCode> {
    let root = workspace::root();
    let mut dir = root.join(floors::SHARED);
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("dir") => dir = arguments.value()?.into(),
            other => return Err(other.unexpected().into()),
        }
    }
    let text = made(&dir)?;
    std::fs::write(root.join(PAGE), text).with_context(|| format!("cannot write {PAGE}"))?;
    println!("wrote {PAGE}");
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_passed() {
        let shown = Shown {
            tier: 1,
            dtypes: vec![DType::Float32, DType::Bool],
            once: true,
            twice: true,
            in_place: true,
            passed: 5,
            total: 7,
            ruled_out: 1,
        };
        assert_eq!(shown.row("add"), "| `add` | bool f32 | twice | yes | 5 of 6, 1 ruled out |");
        let page = page(&BTreeMap::from([("add".to_owned(), shown)]));
        assert!(page.contains("0 of 1 operators pass every call."), "{page}");
    }
}
