//! Every Rust file is part of a crate: one that no `mod` names is never compiled, and its tests never run.

use std::collections::BTreeSet;

use anyhow::Result;

use super::{Finding, lexer};

/// Where Cargo itself looks for the first file of a crate.
const ROOTS: &[&str] = &["lib.rs", "main.rs", "build.rs"];
const ROOT_FOLDERS: &[&str] = &["tests", "examples", "benches", "bin"];

/// Finds the files that nothing includes.
pub fn check(files: &BTreeSet<String>, read: impl Fn(&str) -> Result<String>) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.ends_with(".rs")) {
        let Some((name, folder)) = module(file) else { continue };
        let mut named = false;
        for parent in files.iter().filter(|parent| may_declare(parent, folder)) {
            named |= declares(&read(parent)?, name);
        }
        if !named {
            let message = format!("no `mod {name};` includes this file: it is never compiled");
            findings.push(Finding::new("modules", file, 1, message));
        }
    }
    Ok(findings)
}

/// The name of the module that a file is, and the folder whose module declares it; `None` for the first file of a crate.
fn module(file: &str) -> Option<(&str, &str)> {
    let (folder, base) = file.rsplit_once('/')?;
    if ROOTS.contains(&base) || ROOT_FOLDERS.contains(&last(folder)) {
        return None;
    }
    Some(match base {
        "mod.rs" => (last(folder), folder.rsplit_once('/').map_or("", |(above, _)| above)),
        _ => (base.trim_end_matches(".rs"), folder),
    })
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Whether modules of `folder` may be declared in `file`: the folder's own module, or any crate that begins there.
fn may_declare(file: &str, folder: &str) -> bool {
    let Some((place, base)) = file.rsplit_once('/') else { return false };
    let own = place == folder
        && (base == "mod.rs" || ROOTS.contains(&base) || ROOT_FOLDERS.contains(&last(folder)));
    own || file.strip_suffix(".rs") == Some(folder)
}

/// Whether a text has `mod name;`.
fn declares(text: &str, name: &str) -> bool {
    let declaration = format!("mod {name};");
    lexer::lines(text).iter().any(|line| {
        let code = line.code.trim_end();
        code.strip_suffix(&declaration)
            .is_some_and(|before| before.is_empty() || before.ends_with([' ', '\t']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let names = files.iter().map(|(name, _)| (*name).to_owned()).collect();
        let text = |wanted: &str| {
            Ok(files.iter().find(|(name, _)| *name == wanted).map_or("", |(_, text)| *text).to_owned())
        };
        check(&names, text).expect("texts").into_iter().map(|finding| finding.file).collect()
    }

    #[test]
    fn files_that_a_module_names_are_in() {
        let tree = [
            ("crates/a/src/lib.rs", "pub mod b;\n    mod c;\n"),
            ("crates/a/src/b.rs", "pub(crate) mod inner;\n"),
            ("crates/a/src/b/inner.rs", ""),
            ("crates/a/src/c/mod.rs", ""),
            ("crates/a/tests/one.rs", "mod two;\n"),
            ("crates/a/tests/one/two.rs", ""),
            ("tests/it/main.rs", "mod x;\n"),
            ("tests/it/x.rs", ""),
            ("examples/e.rs", "mod support;\n"),
            ("examples/support/mod.rs", ""),
        ];
        assert_eq!(found(&tree), [""; 0]);
    }

    #[test]
    fn a_file_that_nothing_names_is_found() {
        let tree = [
            ("tests/it/main.rs", "mod x; // mod lost;\nmod not_lost;\n"),
            ("tests/it/x.rs", ""),
            ("tests/it/not_lost.rs", ""),
            ("tests/it/lost.rs", ""),
        ];
        assert_eq!(found(&tree), ["tests/it/lost.rs"]);
    }
}
