//! `cargo xtask bench`: Kiln's benchmark cases, beside PyTorch's where a Python with torch is at hand.
//!
//! The two programs are called in turns, case by case and round by round, so that whatever else the machine does falls
//! on both alike. With one thread the CPU times are compared, with two or more the wall times: absolute figures mean
//! little on a shared machine, ratios hold.

pub mod table;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use lexopt::prelude::*;
use serde_json::{Value as Json, json};

use crate::workspace;
use table::Table;

/// The variable that names a Python with torch.
const PYTHON: &str = "KILN_TORCH_PYTHON";

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub struct Options {
    /// Names of cases, a trailing `*` matching any ending; all the cases when empty.
    pub cases: Vec<String>,
    /// Threads for both sides.
    pub threads: usize,
    /// PyTorch must be there.
    pub vs_torch: bool,
    /// How often each case is timed; the best round counts.
    pub rounds: usize,
    /// Print the table as Markdown.
    pub markdown: bool,
    /// A file for every figure.
    pub json: Option<PathBuf>,
}

impl Options {
    /// Reads the command line.
    pub fn parse(mut arguments: lexopt::Parser) -> Result<Self> {
        let mut options =
            Self { cases: Vec::new(), threads: 1, vs_torch: false, rounds: 2, markdown: false, json: None };
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("threads") => options.threads = arguments.value()?.parse()?,
                Long("rounds") => options.rounds = arguments.value()?.parse()?,
                Long("vs-torch") => options.vs_torch = true,
                Long("markdown") => options.markdown = true,
                Long("json") => options.json = Some(arguments.value()?.into()),
                Value(name) => options.cases.push(name.string()?),
                other => return Err(other.unexpected().into()),
            }
        }
        if options.threads == 0 || options.rounds == 0 {
            bail!("--threads and --rounds count from 1");
        }
        Ok(options)
    }
}

/// `cargo xtask bench [CASE..] [--threads N] [--vs-torch] [--rounds N] [--markdown] [--json FILE]`.
pub fn main(arguments: lexopt::Parser) -> Result<ExitCode> {
    let options = Options::parse(arguments)?;
    let root = workspace::root();
    let kiln = Kiln { program: build(&root)?, threads: options.threads };
    let cases = kiln.list(&options.cases)?;
    if cases.is_empty() {
        bail!("no case matches {:?}", options.cases);
    }
    let mut torch = Torch::find(&root, &options)?;
    let mut table = Table::new(options.threads, torch.is_some());
    let mut lines = Vec::new();
    for case in &cases {
        for round in 1..=options.rounds {
            let mut answers = kiln.time(case, round)?;
            if let Some(torch) = &mut torch {
                answers.extend(torch.time(case, round)?);
            }
            for line in answers {
                table.add(&line);
                lines.push(line);
            }
        }
        // The rows of a long run appear as they come; the table follows in one piece.
        eprintln!("{}", table.row(case));
    }
    print!("{}", if options.markdown { table.markdown() } else { table.plain() });
    if let Some(file) = options.json {
        let all = json!({ "threads": options.threads, "rows": table.json(), "lines": lines });
        let text = serde_json::to_string_pretty(&all)?;
        std::fs::write(&file, text + "\n").with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds benches/cases.rs and returns the program.
fn build(root: &Path) -> Result<PathBuf> {
    let arguments = ["bench", "--bench", "cases", "--no-run", "--message-format", "json-render-diagnostics"];
    let output = workspace::cargo(root).args(arguments).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("benches/cases.rs does not build");
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    program_of(&messages, "cases").context("cargo names no program for the benchmark `cases`")
}

/// The executable of a target among Cargo's messages.
fn program_of(messages: &str, target: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok());
    messages
        .filter(|m| m["target"]["name"] == target && m["target"]["kind"][0] == "bench")
        .find_map(|m| m["executable"].as_str().map(PathBuf::from))
}

/// The benchmark program of this workspace, started anew for each case.
struct Kiln {
    program: PathBuf,
    threads: usize,
}

impl Kiln {
    fn output(&self, arguments: &[String], round: usize) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("KILN_NUM_THREADS", self.threads.to_string());
        command.env("RAYON_NUM_THREADS", self.threads.to_string());
        command.env("BENCH_PEER", "kiln").env("BENCH_ROUND", round.to_string());
        let output = command.stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            bail!("`{}` failed: {}", workspace::shown(&command), output.status);
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    fn list(&self, patterns: &[String]) -> Result<Vec<String>> {
        let mut arguments = vec!["--list".to_owned()];
        arguments.extend_from_slice(patterns);
        Ok(self.output(&arguments, 0)?.lines().map(str::to_owned).collect())
    }

    fn time(&self, case: &str, round: usize) -> Result<Vec<Json>> {
        let text = self.output(&[case.to_owned()], round)?;
        text.lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}")))
            .collect()
    }
}

/// A Python that answers one case at a time: importing torch takes longer than most cases.
struct Torch {
    process: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Torch {
    /// Starts the Python that the variable names; with `--vs-torch`, `python3` when it names none.
    fn find(root: &Path, options: &Options) -> Result<Option<Self>> {
        let named = std::env::var_os(PYTHON).filter(|v| !v.is_empty());
        let python = match (named, options.vs_torch) {
            (Some(python), _) => python,
            (None, true) => "python3".into(),
            (None, false) => return Ok(None),
        };
        let probe = Command::new(&python).args(["-c", "import torch"]).stderr(Stdio::null()).status();
        if !probe.is_ok_and(|status| status.success()) {
            let what = format!("{} cannot import torch (set {PYTHON})", python.display());
            if options.vs_torch {
                bail!("{what}");
            }
            eprintln!("no PyTorch column: {what}");
            return Ok(None);
        }
        let threads = options.threads.to_string();
        let mut process = Command::new(&python)
            .arg(root.join("benches/torch_column.py"))
            .args(["--serve", "--threads", &threads])
            .env("OMP_NUM_THREADS", &threads)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", python.display()))?;
        let questions = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().context("no pipe from Python")?);
        Ok(Some(Self { process, questions, answers }))
    }

    fn time(&mut self, case: &str, round: usize) -> Result<Vec<Json>> {
        let questions = self.questions.as_mut().context("the pipe to Python is closed")?;
        writeln!(questions, "{case}")?;
        questions.flush()?;
        let mut found = Vec::new();
        loop {
            let mut line = String::new();
            if self.answers.read_line(&mut line)? == 0 {
                bail!("benches/torch_column.py ended during `{case}`");
            }
            if line.trim().is_empty() {
                return Ok(found);
            }
            let mut answer: Json =
                serde_json::from_str(&line).with_context(|| format!("not JSON: {line}"))?;
            answer["round"] = round.into();
            found.push(answer);
        }
    }
}

impl Drop for Torch {
    fn drop(&mut self) {
        // The end of its input ends the program. Nothing can be done about a failure at this point.
        self.questions = None;
        let _ = self.process.wait();
    }
}

#[cfg(test)]
#[path = "../../benches/harness.rs"]
pub mod harness;
#[cfg(test)]
mod harness_tests;

#[cfg(test)]
mod tests {
    use super::*;

    fn options(words: &[&str]) -> Result<Options> {
        Options::parse(lexopt::Parser::from_args(words))
    }

    #[test]
    fn the_command_line_is_read() {
        let read = options(&["add_*", "--threads", "2", "--vs-torch", "mv_4096", "--json", "x.json"]);
        let read = read.expect("a good command line");
        assert_eq!(read.cases, ["add_*", "mv_4096"]);
        assert_eq!((read.threads, read.vs_torch, read.markdown), (2, true, false));
        assert_eq!(read.json, Some(PathBuf::from("x.json")));
        for bad in [&["--threads", "0"][..], &["--threads"], &["--fast"]] {
            assert!(options(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_program_is_found_among_cargos_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"cases"},"executable":null}"#,
            "\nnot json\n",
            r#"{"reason":"compiler-artifact","target":{"kind":["bench"],"name":"cases"},"executable":"/t/cases-1"}"#,
        );
        assert_eq!(program_of(messages, "cases"), Some(PathBuf::from("/t/cases-1")));
        assert_eq!(program_of(messages, "other"), None);
    }
}
