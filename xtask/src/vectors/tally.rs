//! The score of a run: per operator, per tier and in all; as text, as JSON, and against a floor.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::runner::Outcome;

/// How many cases ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// As PyTorch.
    pub passed: usize,
    /// Otherwise than PyTorch, or by a panic, or not in time.
    pub failed: usize,
    /// Not there, or not expressible.
    pub unsupported: usize,
}

impl Counts {
    /// All the cases.
    pub fn total(self) -> usize {
        self.passed + self.failed + self.unsupported
    }

    /// Counts one more case.
    pub fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Unsupported(_) => self.unsupported += 1,
        }
    }
}

/// The score of one part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// `ops`, `rng`, ...
    pub part: String,
    total: usize,
    passed: usize,
    failed: usize,
    unsupported: usize,
    /// By tier, for the parts that have tiers.
    pub by_tier: BTreeMap<String, Counts>,
    /// By operator, or whatever the part's files are about.
    pub by_op: BTreeMap<String, Counts>,
}

impl Tally {
    /// Nothing counted yet.
    pub fn new(part: &str) -> Self {
        Self { part: part.to_owned(), ..Self::default() }
    }

    /// Counts one case.
    pub fn add(&mut self, tier: Option<&str>, op: &str, outcome: &Outcome) {
        if let Some(tier) = tier {
            self.by_tier.entry(tier.to_owned()).or_default().add(outcome);
        }
        self.by_op.entry(op.to_owned()).or_default().add(outcome);
        let mut all = self.total();
        all.add(outcome);
        (self.passed, self.failed, self.unsupported) = (all.passed, all.failed, all.unsupported);
        self.total = all.total();
    }

    /// All the cases together.
    pub fn total(&self) -> Counts {
        Counts { passed: self.passed, failed: self.failed, unsupported: self.unsupported }
    }

    /// The last line of a run.
    pub fn summary(&self) -> String {
        let (p, f, u, t) = (self.passed, self.failed, self.unsupported, self.total);
        format!("passed {p}, failed {f}, unsupported {u} of {t}")
    }

    /// The score for machines: `part`, `total`, `passed`, `failed`, `unsupported`, `by_tier`, `by_op`.
    pub fn to_json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    pub fn from_json(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    /// The operators that pass fewer cases than in an earlier score: `name: 11 passed, 12 before`.
    pub fn below(&self, floor: &Self) -> Vec<String> {
        let lost = |(op, before): (&String, &Counts)| {
            let now = self.by_op.get(op).copied().unwrap_or_default().passed;
            (now < before.passed).then(|| format!("{op}: {now} passed, {} before", before.passed))
        };
        floor.by_op.iter().filter_map(lost).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> Tally {
        let failed = Outcome::Failed("why".to_owned());
        let missing = Outcome::Unsupported("why".to_owned());
        let mut tally = Tally::new("ops");
        tally.add(Some("1"), "add", &Outcome::Passed);
        tally.add(Some("1"), "add", &failed);
        tally.add(Some("2"), "svd", &missing);
        tally
    }

    #[test]
    fn cases_are_counted_by_operator_and_tier() {
        let tally = tally();
        assert_eq!(tally.summary(), "passed 1, failed 1, unsupported 1 of 3");
        assert_eq!(tally.by_op["add"], Counts { passed: 1, failed: 1, unsupported: 0 });
        assert_eq!(tally.by_tier["2"], Counts { passed: 0, failed: 0, unsupported: 1 });
    }

    #[test]
    fn the_json_has_exactly_the_agreed_keys() {
        let tally = tally();
        let text = tally.to_json().expect("plain data");
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let expected = serde_json::json!({
            "part": "ops", "total": 3, "passed": 1, "failed": 1, "unsupported": 1,
            "by_tier": {
                "1": { "passed": 1, "failed": 1, "unsupported": 0 },
                "2": { "passed": 0, "failed": 0, "unsupported": 1 },
            },
            "by_op": {
                "add": { "passed": 1, "failed": 1, "unsupported": 0 },
                "svd": { "passed": 0, "failed": 0, "unsupported": 1 },
            },
        });
        assert_eq!(value, expected);
        assert_eq!(Tally::from_json(&text).expect("what was written"), tally);
    }

    #[test]
    fn a_case_that_no_longer_passes_is_below_the_floor() {
        let floor = tally();
        let mut now = Tally::new("ops");
        now.add(Some("1"), "add", &Outcome::Passed);
        assert_eq!(now.below(&floor), [""; 0]);
        assert_eq!(Tally::new("ops").below(&floor), ["add: 0 passed, 1 before"]);
    }
}
