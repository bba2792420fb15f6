//! The command line of the developer tool: which command, then its own options.

use std::process::ExitCode;

use anyhow::Result;
use lexopt::prelude::*;
use xtask::{bench, ci, conformance, tidy};

const USAGE: &str = "\
usage: cargo xtask COMMAND [OPTIONS]

  ci [STEP..] [--list]     every check, in order, stopping at the first failure
  tidy                     layers, module docs, file sizes, paths named in Markdown, dependencies
  bench [CASE..] [--threads 1|2] [--vs-torch] [--rounds N] [--markdown] [--json FILE]
                           time the cases of benches/cases.rs (CASE may end in `*`), beside PyTorch
                           when KILN_TORCH_PYTHON names a Python that has torch
  conformance --part PART [--dir DIR] [--device cpu|gpu] [--json FILE] [--update-floor]
                           replay recorded calls of PyTorch and count; `conformance --help` lists the parts
  golden --from DIR        choose the vectors in tests/golden anew
  ops-table [--dir DIR]    write docs/ops.md: every operator with what passes of PyTorch's recorded calls
";

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let mut arguments = lexopt::Parser::from_env();
    match arguments.next()? {
        Some(Value(command)) => match command.string()?.as_str() {
            "ci" => ci::main(arguments),
            "tidy" => tidy::main(arguments),
            "bench" => bench::main(arguments),
            "conformance" => conformance::main(arguments),
            "golden" => conformance::golden::main(arguments),
            "ops-table" => conformance::page::main(arguments),

            other => anyhow::bail!("no command named `{other}`\n\n{USAGE}"),
        },
        None | Some(Long("help") | Short('h')) => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        Some(other) => Err(other.unexpected().into()),
    }
}
