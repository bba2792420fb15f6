//! Paths named in Markdown exist: in links, and in backticks where they look like paths of this repository.

use std::collections::BTreeSet;

use super::Finding;

/// A word in backticks with one of these endings is taken for a file of the repository.
const SOURCE_ENDINGS: &[&str] = &[".rs", ".md", ".toml", ".wgsl", ".yml", ".py"];

/// Checks one Markdown file against the files of the repository.
pub fn check(file: &str, text: &str, files: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut fenced = false;
    for (i, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for word in backticked(line) {
            if let Some(path) = missing_word(word, files) {
                let message = format!("`{path}` names no file of the repository: correct it");
                findings.push(Finding::new("path", file, i + 1, message).about(path));
            }
        }
        for target in links(line) {
            if let Some(path) = missing_link(file, target, files) {
                let message = format!("the link leads to `{path}`, which does not exist: correct it");
                findings.push(Finding::new("path", file, i + 1, message).about(path));
            }
        }
    }
    findings
}

/// The contents of the code spans of a line.
fn backticked(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The targets of the `[text](target)` links of a line, outside code spans.
fn links(line: &str) -> Vec<&str> {
    let mut targets = Vec::new();
    for text in line.split('`').step_by(2) {
        for part in text.split("](").skip(1) {
            if let Some(end) = part.find(')') {
                targets.push(part[..end].split_whitespace().next().unwrap_or(""));
            }
        }
    }
    targets
}

/// The path that a code span names and that does not exist.
fn missing_word(word: &str, files: &BTreeSet<String>) -> Option<String> {
    let outside = ["../", "/", "~", "$", "-", "http:", "https:"].iter().any(|start| word.starts_with(start));
    if outside
        || word.contains(|c: char| c.is_whitespace() || "<>()=\"'|;$".contains(c))
        || word.contains("::")
    {
        return None;
    }
    expand(word).into_iter().find(|path| {
        // `file.rs:12` names a line.
        let path = path.split(':').next().unwrap_or("").trim_start_matches("./").trim_end_matches('/');
        let top = path.split('/').next().unwrap_or("");
        let is_folder = |folder: &str| files.iter().any(|f| f.starts_with(&format!("{folder}/")));
        if path.contains('/') && is_folder(top) {
            return !matches_exactly(path, files);
        }
        if SOURCE_ENDINGS.iter().any(|end| path.ends_with(end) && path.len() > end.len()) {
            let tail = format!("/{path}");
            return !path.contains('*') && !files.iter().any(|f| f == path || f.ends_with(&tail));
        }
        false
    })
}

/// The target of a relative link, when it does not exist.
fn missing_link(file: &str, target: &str, files: &BTreeSet<String>) -> Option<String> {
    let path = target.split(['#', '?']).next().unwrap_or("");
    if path.is_empty() || target.contains(':') || target.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            // A link that leaves the repository cannot be checked from inside it.
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    let path = parts.join("/");
    (!path.is_empty() && !matches_exactly(&path, files)).then_some(path)
}

/// Whether `path` is a file or a folder; `*` stands for anything inside one part.
fn matches_exactly(path: &str, files: &BTreeSet<String>) -> bool {
    let wanted: Vec<&str> = path.split('/').collect();
    files.iter().any(|file| {
        let parts: Vec<&str> = file.split('/').collect();
        parts.len() >= wanted.len() && wanted.iter().zip(&parts).all(|(w, p)| matches_part(w, p))
    })
}

fn matches_part(pattern: &str, part: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == part,
        Some((start, end)) => {
            part.starts_with(start) && part.len() >= start.len() + end.len() && part.ends_with(end)
        }
    }
}

/// `a/{b,c}.rs` as `a/b.rs` and `a/c.rs`.
fn expand(word: &str) -> Vec<String> {
    let braces = word.find('{').and_then(|open| word[open..].find('}').map(|close| (open, open + close)));
    match braces {
        None => vec![word.to_owned()],
        Some((open, close)) => {
            let (start, end) = (&word[..open], &word[close + 1..]);
            word[open + 1..close]
                .split(',')
                .flat_map(|m| expand(&format!("{start}{}{end}", m.trim())))
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subjects(file: &str, text: &str) -> Vec<String> {
        let files =
            ["README.md", "docs/a.md", "docs/sub/b.md", "crates/x/src/lib.rs", "crates/x/src/cpu/gemm.rs"];
        let files = files.into_iter().map(str::to_owned).collect();
        check(file, text, &files).into_iter().map(|f| f.subject).collect()
    }

    #[test]
    fn code_spans_that_name_files_are_checked() {
        let none: [&str; 0] = [];
        assert_eq!(
            subjects("README.md", "`crates/x/src/lib.rs:12` `crates/x` `docs/` `cpu/gemm.rs` `lib.rs`"),
            none
        );
        assert_eq!(subjects("README.md", "`crates/*/src/lib.rs` and `docs/{a,sub/b}.md`"), none);
        assert_eq!(subjects("README.md", "`crates/y/src` `gone.rs`"), ["crates/y/src", "gone.rs"]);
        assert_eq!(
            subjects("README.md", "`docs/{a,c}.md` `crates/*/nothing`"),
            ["docs/c.md", "crates/*/nothing"]
        );
    }

    #[test]
    fn other_code_spans_are_left_alone() {
        let none: [&str; 0] = [];
        let text = "`a / b` `f32/f64` `../shared/data` `/tmp/x.rs` `kiln::docs/x` `x.rs()` `model.pth` `.rs`";
        assert_eq!(subjects("README.md", text), none);
        assert_eq!(subjects("README.md", "```sh\ncat `gone.rs`\n```\n"), none);
    }

    #[test]
    fn relative_links_are_resolved_from_their_file() {
        let none: [&str; 0] = [];
        assert_eq!(
            subjects("docs/a.md", "[b](sub/b.md#part) [r](../README.md) [o](../../x) [w](https://x.y/z)"),
            none
        );
        assert_eq!(subjects("docs/a.md", "[b](b.md) [same](#part) [t](sub \"title\")"), ["docs/b.md"]);
    }
}
