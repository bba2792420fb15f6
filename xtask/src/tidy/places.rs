//! The rule that makes errors name the program's line: public functions that can fail hand their caller's line on.

use super::Finding;
use super::lexer::{self, Line};

/// Where the rule holds: the crates whose functions programs call.
const FOLDERS: &[&str] = &[
    "crates/kiln-autograd/src/",
    "crates/kiln-io/src/",
    "crates/kiln-models/src/",
    "crates/kiln-nn/src/",
    "crates/kiln-optim/src/",
];

/// Public functions that give a `Result` have `#[track_caller]`.
pub fn check(file: &str, text: &str) -> Vec<Finding> {
    if !FOLDERS.iter().any(|folder| file.starts_with(folder)) {
        return Vec::new();
    }
    let lines = lexer::lines(text);
    let untracked = |i: &usize| is_fallible(&lines[*i..]) && !is_tracked(&lines[..*i]);
    let starts = (0..lines.len()).filter(|i| lines[*i].code.trim_start().starts_with("pub fn "));
    let message = "a public function that can fail has `#[track_caller]`, and says `.here()` where it calls one that has \
                   not: its errors then name the line of the program";
    starts.filter(untracked).map(|i| Finding::new("track-caller", file, i + 1, message)).collect()
}

/// Whether the function that starts in the first line gives a `Result`.
fn is_fallible(lines: &[Line]) -> bool {
    let mut signature = String::new();
    for line in lines {
        signature.push_str(line.code.trim());
        signature.push(' ');
        if line.code.contains('{') || line.code.trim_end().ends_with(';') {
            break;
        }
    }
    // The last arrow outside of parentheses: arguments may be functions that give results.
    let mut depth = 0i32;
    let mut result = None;
    let signature = signature.split(" where ").next().unwrap_or_default();
    for (i, c) in signature.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            '>' if depth == 0 && signature[..i].ends_with('-') => result = Some(&signature[i + 1..]),
            _ => {}
        }
    }
    result.is_some_and(|result| result.trim_start().split("::").any(|part| part.starts_with("Result<")))
}

/// Whether one of the attributes right above is `#[track_caller]`.
fn is_tracked(above: &[Line]) -> bool {
    let beside = |line: &&Line| {
        let code = line.code.trim();
        code.starts_with("#[") || code.starts_with("$(#[") || code.is_empty() && !line.comment.is_empty()
    };
    above.iter().rev().take_while(beside).any(|line| line.code.contains("#[track_caller]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(text: &str) -> Vec<usize> {
        check("crates/kiln-nn/src/a.rs", text).iter().map(|f| f.line).collect()
    }

    #[test]
    fn functions_that_can_fail_hand_their_caller_on() {
        assert_eq!(lines_of("pub fn a() -> Result<()> {\n"), [1]);
        assert_eq!(lines_of("pub fn a(\n    x: i64,\n) -> crate::Result<()>\nwhere\n    T: B,\n{\n"), [1]);
        assert!(
            lines_of("/// A.\n#[track_caller]\n/// B.\n#[inline]\npub fn a() -> Result<()> {\n").is_empty()
        );
        assert_eq!(lines_of("#[track_caller]\nfn b() {}\npub fn a() -> Result<()> {\n"), [3]);
    }

    #[test]
    fn others_need_not() {
        let text = "pub fn a(f: impl Fn() -> Result<()>) {\npub fn a<F>(f: F) -> A\nwhere\n    F: Fn() -> Result<()>,\n{\npub fn b(f: fn() -> Result<()>) -> Tensor {\nfn c() -> Result<()> {\n\
                    pub(crate) fn d() -> Result<()> {\n// pub fn e() -> Result<()> {\n";
        assert!(lines_of(text).is_empty());
        assert!(check("crates/kiln-ops/src/a.rs", "pub fn a() -> Result<()> {\n").is_empty());
    }
}
