//! `cargo xtask tidy`: the rules of the house that the compiler does not check.
//!
//! Each check is a function from texts to findings, so that its unit tests need no workspace. Exceptions are listed, one
//! line and one reason each, in `xtask/tidy-allow.txt`; an exception that nothing needs any more is a finding itself.

pub mod allow;
pub mod layers;
pub mod lexer;
pub mod manifests;
pub mod markdown;
pub mod modules;
pub mod places;
pub mod sources;

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::workspace;
use allow::Allowed;

/// The file with the exceptions.
pub const ALLOW_FILE: &str = "xtask/tidy-allow.txt";

/// What a check has to say about one line of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The name of the check, which is also the first word of an exception.
    pub check: &'static str,
    /// The file, relative to the root of the workspace.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What an exception must name: most often the file, for a dependency `from->to`.
    pub subject: String,
    /// What is wrong and what to do.
    pub message: String,
    /// A warning is printed and does not fail the run.
    pub warning: bool,
}

impl Finding {
    /// A finding about a file as a whole or a line of it, which an exception allows by naming the file.
    pub fn new(check: &'static str, file: &str, line: usize, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { check, file: file.to_owned(), line, subject: file.to_owned(), message, warning: false }
    }

    /// The same finding, allowed by an exception that names `subject`.
    pub fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = subject.into();
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.warning { "warning: " } else { "" };
        write!(f, "{}:{}: {kind}{} [{}]", self.file, self.line, self.message, self.check)
    }
}

/// `cargo xtask tidy`.
pub fn main(mut arguments: lexopt::Parser) -> Result<ExitCode> {
    if let Some(argument) = arguments.next()? {
        return Err(argument.unexpected().into());
    }
    Ok(if check(&workspace::root())? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints every finding and says whether the tree is tidy (warnings aside).
pub fn check(root: &Path) -> Result<bool> {
    let findings = findings(root)?;
    for finding in &findings {
        println!("{finding}");
    }
    let failures = findings.iter().filter(|f| !f.warning).count();
    println!("tidy: {failures} to fix, {} warnings", findings.len() - failures);
    Ok(failures == 0)
}

/// Runs all the checks on the tree at `root`.
pub fn findings(root: &Path) -> Result<Vec<Finding>> {
    let files = workspace::files(root)?;
    let metadata = workspace::metadata(root)?;
    let read =
        |file: &str| fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {file}"));
    let mut allowed = match files.contains(ALLOW_FILE) {
        true => Allowed::parse(&read(ALLOW_FILE)?),
        false => Allowed::default(),
    };
    let members = manifests::members(root, &metadata, &files)?;

    let mut findings = layers::check(&members);
    findings.extend(manifests::check(&read("Cargo.toml")?, &members, &files, &read)?);
    findings.extend(modules::check(&files, read)?);
    for file in &files {
        if sources::is_measured(file) {
            findings.extend(sources::size(file, &read(file)?));
        }
        if file.ends_with(".rs") {
            findings.extend(sources::check(file, &read(file)?));
            findings.extend(places::check(file, &read(file)?));
        }
        if file.ends_with(".md") {
            findings.extend(markdown::check(file, &read(file)?, &files));
        }
    }
    findings.retain(|finding| !allowed.allows(finding));
    findings.extend(allowed.findings());
    findings.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    Ok(findings)
}
