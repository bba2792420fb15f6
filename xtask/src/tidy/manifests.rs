//! The members of the workspace as Cargo sees them, and the rule that no dependency is listed in vain.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Finding;
use super::lexer;

/// One package of the workspace.
#[derive(Clone, Debug, Default)]
pub struct Member {
    /// The package's name.
    pub name: String,
    /// Its manifest, relative to the root.
    pub manifest: String,
    /// The manifest's text.
    pub text: String,
    /// What it depends on.
    pub dependencies: Vec<Dependency>,
    /// Its Rust files, relative to the root.
    pub sources: Vec<String>,
}

/// A dependency that a manifest declares.
#[derive(Clone, Debug)]
pub struct Dependency {
    /// The package that is depended on.
    pub package: String,
    /// The name that the sources use for it, as the manifest writes it.
    pub name: String,
    /// For tests, examples and benchmarks alone.
    pub dev: bool,
}

impl Member {
    /// The line of the manifest that declares a dependency.
    pub fn line_of(&self, dependency: &str) -> usize {
        declared_at(&self.text, dependency)
    }
}

fn declared_at(manifest: &str, dependency: &str) -> usize {
    let declares = |line: &str| {
        let key = line.split(['.', '=', ' ']).next().unwrap_or("").trim_matches('"');
        key == dependency || line.trim_end().ends_with(&format!("dependencies.{dependency}]"))
    };
    manifest.lines().position(declares).map_or(1, |i| i + 1)
}

/// The members that `cargo metadata` lists, with their manifests and sources.
pub fn members(root: &Path, metadata: &Value, files: &BTreeSet<String>) -> Result<Vec<Member>> {
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let root = metadata["workspace_root"].as_str().map_or(root, Path::new);
    let relative = |path: &Value| -> Option<String> {
        let path = Path::new(path.as_str()?).strip_prefix(root).ok()?;
        Some(path.to_str()?.replace('\\', "/"))
    };
    packages
        .iter()
        .map(|package| {
            let manifest = relative(&package["manifest_path"]).context("a manifest outside the workspace")?;
            let text = std::fs::read_to_string(root.join(&manifest)).with_context(|| manifest.clone())?;
            let mut sources = BTreeSet::new();
            for target in package["targets"].as_array().into_iter().flatten() {
                let Some(path) = relative(&target["src_path"]) else { continue };
                let folder = path.rfind('/').map_or("", |slash| &path[..=slash]);
                // A build script lies beside the manifest: its folder is everything, so it counts alone.
                if folder.is_empty() || path.ends_with("build.rs") {
                    sources.insert(path);
                } else {
                    let inside = files.iter().filter(|f| f.starts_with(folder) && f.ends_with(".rs"));
                    sources.extend(inside.cloned());
                }
            }
            let dependencies = package["dependencies"].as_array().into_iter().flatten();
            let dependencies = dependencies.filter_map(|d| {
                let package = d["name"].as_str()?.to_owned();
                let name = d["rename"].as_str().unwrap_or(&package).to_owned();
                Some(Dependency { package, name, dev: d["kind"].as_str() == Some("dev") })
            });
            Ok(Member {
                name: package["name"].as_str().context("a package without a name")?.to_owned(),
                manifest,
                text,
                dependencies: dependencies.collect(),
                sources: sources.into_iter().collect(),
            })
        })
        .collect()
}

/// The dependencies of the `[workspace.dependencies]` table, with their lines.
fn shared(manifest: &str) -> Vec<(String, usize)> {
    let mut inside = false;
    let mut found = Vec::new();
    for (i, line) in manifest.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            inside = line == "[workspace.dependencies]";
            if let Some(name) = line.strip_prefix("[workspace.dependencies.") {
                found.push((name.trim_end_matches(']').to_owned(), i + 1));
            }
        } else if let Some((name, _)) = line.split_once('=').filter(|_| inside && !line.starts_with('#')) {
            let name = name.trim().split('.').next().unwrap_or("").trim_matches('"');
            found.push((name.to_owned(), i + 1));
        }
    }
    found
}

/// Every shared dependency has a member that uses it, and every member names its dependencies in its sources.
pub fn check(
    workspace_manifest: &str,
    members: &[Member],
    files: &BTreeSet<String>,
    read: &dyn Fn(&str) -> Result<String>,
) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (name, line) in shared(workspace_manifest) {
        if !members.iter().any(|m| m.dependencies.iter().any(|d| d.name == name)) {
            let message = format!("no member depends on `{name}`: remove it from the workspace");
            findings.push(Finding::new("dependency", "Cargo.toml", line, message).about(name));
        }
    }
    for member in members {
        let mut words = BTreeSet::new();
        for source in member.sources.iter().filter(|s| files.contains(*s)) {
            identifiers(&read(source)?, &mut words);
        }
        let names: BTreeSet<&str> = member.dependencies.iter().map(|d| d.name.as_str()).collect();
        for name in names {
            // The library of a package is named like it, with `_` for `-`; a few leave the `-` out.
            if !words.contains(&name.replace('-', "_")) && !words.contains(&name.replace('-', "")) {
                let message = format!("`{}` never names `{name}`: remove the dependency", member.name);
                let finding = Finding::new("dependency", &member.manifest, member.line_of(name), message);
                findings.push(finding.about(format!("{}->{name}", member.name)));
            }
        }
    }
    Ok(findings)
}

/// The identifiers of a source file: of its code, and of the code in its doc comments.
fn identifiers(text: &str, words: &mut BTreeSet<String>) {
    for line in lexer::lines(text) {
        for part in [&line.code, &line.comment] {
            let split = part.split(|c: char| !(c.is_alphanumeric() || c == '_'));
            words.extend(split.filter(|w| !w.is_empty()).map(str::to_owned));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "[workspace]\nmembers = []\n\n[workspace.dependencies]\n# why\nhalf = \"2\"\nserde-json = { version = \"1\" }\n\n[workspace.dependencies.rare]\nversion = \"1\"\n\n[profile.dev]\ndebug = 1\n";

    fn member(text: &str, dependencies: &[&str]) -> Member {
        let dependency =
            |n: &&str| Dependency { package: (*n).to_owned(), name: (*n).to_owned(), dev: false };
        Member {
            name: "x".to_owned(),
            manifest: "crates/x/Cargo.toml".to_owned(),
            text: text.to_owned(),
            dependencies: dependencies.iter().map(dependency).collect(),
            sources: vec!["crates/x/src/lib.rs".to_owned()],
        }
    }

    fn findings(member: Member, source: &str) -> Vec<(String, usize)> {
        let files = BTreeSet::from(["crates/x/src/lib.rs".to_owned()]);
        let found = check(ROOT, &[member], &files, &|_| Ok(source.to_owned())).expect("no file is missing");
        found.into_iter().map(|f| (f.subject, f.line)).collect()
    }

    #[test]
    fn shared_dependencies_that_no_member_uses_are_found() {
        assert_eq!(shared(ROOT).len(), 3);
        let found = findings(member("", &["half"]), "use half::f16;");
        assert_eq!(found, [("serde-json".to_owned(), 7), ("rare".to_owned(), 9)]);
    }

    #[test]
    fn dependencies_that_no_source_names_are_found_with_their_line() {
        let text = "[package]\nname = \"x\"\n\n[dependencies]\nhalf.workspace = true\nserde-json = \"1\"\n[dependencies.rare]\n";
        let all = ["half", "serde-json", "rare"];
        assert_eq!(findings(member(text, &all), "use serde_json as j; use rare::A; half::f16"), []);
        let found = findings(member(text, &all), "use half::f16; // rarely\nlet s = \"serde_json\";");
        assert_eq!(found, [("x->rare".to_owned(), 7), ("x->serde-json".to_owned(), 6)]);
    }
}
