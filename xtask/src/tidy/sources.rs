//! Rules about source files: module docs, size, words that have no place in finished code, `unsafe`.

use super::Finding;
use super::lexer;

/// Above this many lines a file is worth a look.
const WARN_LINES: usize = 500;
/// Above this many it needs an exception with a reason.
const MAX_LINES: usize = 600;

/// Macros that mark unfinished work.
const UNFINISHED: &[(&str, &str)] = &[
    ("todo!", "finish it, or return `Error::unsupported`"),
    ("unimplemented!", "finish it, or return `Error::unsupported`"),
    ("dbg!", "remove the debugging aid"),
];

/// Whether the length of this file is checked.
pub fn is_measured(file: &str) -> bool {
    [".rs", ".py", ".wgsl"].iter().any(|end| file.ends_with(end))
}

/// Files are short enough to have one subject.
pub fn size(file: &str, text: &str) -> Option<Finding> {
    let lines = text.lines().count();
    if lines <= WARN_LINES {
        return None;
    }
    let message = format!(
        "{lines} lines: split the file by subject (a warning from {WARN_LINES}, {MAX_LINES} at most)"
    );
    let mut finding = Finding::new("size", file, lines, message);
    finding.warning = lines <= MAX_LINES;
    Some(finding)
}

/// The rules for the text of a Rust file.
pub fn check(file: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !text.starts_with("//!") {
        let message = "the file must start with `//!` and say what it owns";
        findings.push(Finding::new("module-docs", file, 1, message));
    }
    for (i, line) in lexer::lines(text).iter().enumerate() {
        let mut found = |check, message: String| findings.push(Finding::new(check, file, i + 1, message));
        for (name, advice) in UNFINISHED {
            let word = name.trim_end_matches('!');
            if line.code.replace(' ', "").contains(name) && line.has_word(word) {
                found("unfinished", format!("`{name}` in the code: {advice}"));
            }
        }
        if line.comment.contains("FIXME") {
            found("unfinished", "a note to fix something: fix it, or open an issue".to_owned());
        }
        if line.code.replace(' ', "").contains("#[ignore") {
            found("unfinished", "an ignored test checks nothing: make it run, or remove it".to_owned());
        }
        if line.has_word("unsafe") {
            found(
                "unsafe",
                "`unsafe` outside the listed places: move the code there, or do without".to_owned(),
            );
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(text: &str) -> Vec<(&'static str, usize)> {
        check("a.rs", text).into_iter().map(|f| (f.check, f.line)).collect()
    }

    #[test]
    fn a_clean_file_has_no_findings() {
        assert_eq!(checks("//! Adds.\n\n/// Not unsafe, nothing to do!\npub fn add() {}\n"), []);
    }

    #[test]
    fn files_open_with_module_docs() {
        assert_eq!(checks("// Adds.\npub fn add() {}\n"), [("module-docs", 1)]);
        assert_eq!(checks(""), [("module-docs", 1)]);
    }

    #[test]
    fn unfinished_work_is_found_in_code_and_comments_alone() {
        let text = "//! Docs.\nfn a() { todo!() }\nfn b() { unimplemented! () }\nfn c() { dbg!(1); }\n\
                    // FIXME later\n#[ignore = \"slow\"]\nfn d() { print(\"todo! FIXME\"); }\n";
        assert_eq!(
            checks(text),
            [("unfinished", 2), ("unfinished", 3), ("unfinished", 4), ("unfinished", 5), ("unfinished", 6)]
        );
        assert_eq!(checks("//! Docs.\nfn a() { my_todo!() }\n"), []);
    }

    #[test]
    fn unsafe_code_is_found_by_word() {
        assert_eq!(
            checks("//! Docs.\n#![forbid(unsafe_code)]\nfn a() { unsafe { b() } }\n"),
            [("unsafe", 3)]
        );
    }

    #[test]
    fn long_files_warn_and_longer_ones_fail() {
        let lines = |n: usize| "x\n".repeat(n);
        assert_eq!(size("a.rs", &lines(500)), None);
        assert!(size("a.rs", &lines(501)).is_some_and(|f| f.warning));
        assert!(size("a.rs", &lines(601)).is_some_and(|f| !f.warning));
        assert!(is_measured("a.rs") && is_measured("s.wgsl") && !is_measured("Cargo.lock"));
    }
}
