//! The layering: each Kiln crate stands on exactly one other, the layer right below it.

use std::collections::BTreeSet;

use super::Finding;
use super::manifests::Member;

/// A crate, the crate right below it, and helpers that it may use beside it.
///
/// This table is the architecture; a new crate is a new row.
const LAYERS: &[(&str, Option<&str>, &[&str])] = &[
    ("kiln-storage", None, &[]),
    ("kiln-ops", Some("kiln-storage"), &[]),
    ("kiln-autograd", Some("kiln-ops"), &[]),
    ("kiln-wgpu", Some("kiln-ops"), &[]),
    ("kiln-nn", Some("kiln-autograd"), &["kiln-derive"]),
    ("kiln-optim", Some("kiln-autograd"), &[]),
    ("kiln-data", Some("kiln-autograd"), &[]),
    ("kiln-io", Some("kiln-autograd"), &[]),
    ("kiln-plot", Some("kiln-autograd"), &[]),
    ("kiln-models", Some("kiln-nn"), &[]),
    // A proc-macro: it writes paths into the user's code and needs none of the crates itself.
    ("kiln-derive", None, &[]),
];

/// The packages that join the layers and may see all of them.
const FREE: &[&str] = &["kiln", "xtask"];

/// Checks the Kiln dependencies of every member.
pub fn check(members: &[Member]) -> Vec<Finding> {
    let names: BTreeSet<&str> = members.iter().map(|m| m.name.as_str()).collect();
    let mut findings = Vec::new();
    for member in members.iter().filter(|m| !FREE.contains(&m.name.as_str())) {
        let Some((_, below, beside)) = LAYERS.iter().find(|(name, ..)| *name == member.name) else {
            let message =
                format!("`{}` has no place in the layers: add it to xtask/src/tidy/layers.rs", member.name);
            findings.push(Finding::new("layer", &member.manifest, 1, message));
            continue;
        };
        let expected = below.unwrap_or("none");
        let mut stands = false;
        for dependency in member.dependencies.iter().filter(|d| names.contains(d.package.as_str())) {
            let package = dependency.package.as_str();
            let allowed = Some(package) == *below || beside.contains(&package);
            stands |= Some(package) == *below && !dependency.dev;
            if allowed {
                continue;
            }
            let line = member.line_of(&dependency.name);
            let (check, advice) = match dependency.dev {
                true => ("dev-dependency", "list it with a reason, or move the test up"),
                false => ("layer", "use what the layer below re-exports"),
            };
            let message = format!(
                "`{}` must not see `{package}` (its one layer below: {expected}): {advice}",
                member.name
            );
            let finding = Finding::new(check, &member.manifest, line, message);
            findings.push(finding.about(format!("{}->{package}", member.name)));
        }
        if below.is_some() && !stands {
            let message = format!("`{}` must depend on `{expected}`, the layer right below it", member.name);
            findings.push(Finding::new("layer", &member.manifest, 1, message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::manifests::Dependency;
    use super::*;

    fn member(name: &str, dependencies: &[(&str, bool)]) -> Member {
        let dependency = |(name, dev): &(&str, bool)| Dependency {
            package: (*name).to_owned(),
            name: (*name).to_owned(),
            dev: *dev,
        };
        let lines: String = dependencies.iter().map(|(n, _)| format!("{n}.workspace = true\n")).collect();
        Member {
            name: name.to_owned(),
            manifest: format!("crates/{name}/Cargo.toml"),
            text: format!("[dependencies]\n{lines}"),
            dependencies: dependencies.iter().map(dependency).collect(),
            sources: Vec::new(),
        }
    }

    fn stack() -> Vec<Member> {
        vec![
            member("kiln-storage", &[("half", false)]),
            member("kiln-ops", &[("kiln-storage", false)]),
            member("kiln-autograd", &[("kiln-ops", false)]),
            member("kiln-derive", &[]),
            member("kiln-nn", &[("kiln-autograd", false), ("kiln-derive", false)]),
            member("kiln-optim", &[("kiln-autograd", false)]),
            member("kiln", &[("kiln-nn", false), ("kiln-optim", false)]),
            member("xtask", &[("kiln", false), ("kiln-storage", true)]),
        ]
    }

    fn findings(members: &[Member]) -> Vec<(&'static str, String, usize)> {
        check(members).into_iter().map(|f| (f.check, f.subject, f.line)).collect()
    }

    #[test]
    fn the_architecture_passes() {
        assert_eq!(findings(&stack()), []);
    }

    #[test]
    fn a_second_layer_is_found_with_its_line() {
        let mut members = stack();
        members[2] = member("kiln-autograd", &[("kiln-ops", false), ("kiln-storage", false)]);
        assert_eq!(findings(&members), [("layer", "kiln-autograd->kiln-storage".to_owned(), 3)]);
    }

    #[test]
    fn a_missing_layer_and_a_sideways_one_are_found() {
        let mut members = stack();
        members[5] = member("kiln-optim", &[("kiln-nn", false)]);
        let found = findings(&members);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], ("layer", "kiln-optim->kiln-nn".to_owned(), 2));
    }

    #[test]
    fn dev_dependencies_need_an_exception_and_do_not_count_as_the_layer() {
        let mut members = stack();
        members[5] = member("kiln-optim", &[("kiln-autograd", false), ("kiln-nn", true)]);
        assert_eq!(findings(&members), [("dev-dependency", "kiln-optim->kiln-nn".to_owned(), 3)]);
        members[5] = member("kiln-optim", &[("kiln-autograd", true)]);
        assert_eq!(findings(&members).len(), 1);
    }

    #[test]
    fn a_crate_that_is_not_in_the_table_is_found() {
        let mut members = stack();
        members.push(member("kiln-extra", &[]));
        assert_eq!(findings(&members).len(), 1);
    }
}
