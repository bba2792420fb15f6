//! The exceptions: `CHECK SUBJECT REASON`, one a line, `#` for comments.

use super::{ALLOW_FILE, Finding};

#[derive(Debug)]
struct Entry {
    line: usize,
    check: String,
    subject: String,
    used: bool,
}

/// The exceptions of one file, which remember whether anything needed them.
#[derive(Debug, Default)]
pub struct Allowed {
    entries: Vec<Entry>,
    findings: Vec<Finding>,
}

impl Allowed {
    /// Reads the exceptions. A line without a reason becomes a finding.
    pub fn parse(text: &str) -> Self {
        let mut allowed = Self::default();
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut words = line.split_whitespace();
            match (words.next(), words.next(), words.next()) {
                (Some(check), Some(subject), Some(_)) => allowed.entries.push(Entry {
                    line: i + 1,
                    check: check.to_owned(),
                    subject: subject.to_owned(),
                    used: false,
                }),
                _ => allowed.findings.push(Finding::new(
                    "allow",
                    ALLOW_FILE,
                    i + 1,
                    "write `CHECK SUBJECT REASON`: an exception needs a reason",
                )),
            }
        }
        allowed
    }

    /// Whether an exception covers the finding: the same check, and the same subject or, where the exception's subject
    /// ends in `/`, a file below that folder.
    pub fn allows(&mut self, finding: &Finding) -> bool {
        let mut found = false;
        for entry in self.entries.iter_mut().filter(|e| e.check == finding.check) {
            let folder = entry.subject.ends_with('/') && finding.subject.starts_with(&entry.subject);
            if folder || entry.subject == finding.subject {
                entry.used = true;
                found = true;
            }
        }
        found
    }

    /// What is wrong with the exceptions themselves, once every finding went through [`allows`](Self::allows).
    pub fn findings(self) -> Vec<Finding> {
        let mut findings = self.findings;
        findings.extend(self.entries.iter().filter(|e| !e.used).map(|e| {
            let message = format!("nothing needs the exception `{} {}`: remove it", e.check, e.subject);
            Finding::new("allow", ALLOW_FILE, e.line, message)
        }));
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_cover_files_and_folders_and_must_be_needed() {
        let text = "# comment\n\nsize a/long.rs one table\nunsafe crates/x/src/cpu/ intrinsics\nsize b.rs not needed\n";
        let mut allowed = Allowed::parse(text);
        assert!(allowed.allows(&Finding::new("size", "a/long.rs", 1, "")));
        assert!(!allowed.allows(&Finding::new("unsafe", "a/long.rs", 1, "")));
        assert!(allowed.allows(&Finding::new("unsafe", "crates/x/src/cpu/deep/er.rs", 3, "")));
        assert!(!allowed.allows(&Finding::new("unsafe", "crates/x/src/cpu.rs", 3, "")));
        let left = allowed.findings();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].line, 5);
    }

    #[test]
    fn an_exception_without_a_reason_is_a_finding() {
        let mut allowed = Allowed::parse("size a.rs\n");
        assert!(!allowed.allows(&Finding::new("size", "a.rs", 1, "")));
        assert_eq!(allowed.findings().len(), 1);
    }
}
