//! The bits of a replay: one SHA-256 over every output and gradient of every case, so that two runs can be compared.
//!
//! A replay hands each tensor that Kiln computed to [`see`]; around a case, [`Bits::of`] collects them. The random stream
//! starts anew with every case, so that a case's bits do not depend on the ones before it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use kiln_autograd::{Tensor, manual_seed};
use sha2::{Digest, Sha256};

use super::tensors::to_got;
use crate::vectors::{Outcome, Values};

/// Operators whose results are what the memory held before: they have no bits to compare.
const UNDEFINED: &[&str] =
    &["empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided"];

/// The exceptions to the promise of the same bits on every machine, by the beginning of their names: rustfft takes its
/// twiddle factors from the system's sine and cosine. Their bits depend on neither threads nor instruction sets, and
/// are compared operator by operator, but have no part in the hash of the whole.
const OF_THIS_SYSTEM: &[&str] = &["fft.", "stft", "istft"];

/// Whether an operator's results are the same on every machine.
fn everywhere(op: &str) -> bool {
    !OF_THIS_SYSTEM.iter().any(|name| op.starts_with(name))
}

thread_local! {
    /// What the running case has computed so far; none where nobody asks.
    static RUNNING: RefCell<Option<Sha256>> = const { RefCell::new(None) };
}

/// Adds a tensor that Kiln computed to the bits of the running case, if they are asked for.
pub fn see(t: &Tensor) -> Result<()> {
    if !RUNNING.with_borrow(Option::is_some) {
        return Ok(());
    }
    let got = to_got(t)?;
    RUNNING.with_borrow_mut(|hasher| {
        let Some(hasher) = hasher else { return };
        hasher.update(format!("{} {:?}", got.dtype, got.shape));
        match &got.values {
            Values::Float(values) => values.iter().for_each(|v| hasher.update(v.to_bits().to_le_bytes())),
            Values::Int(values) => values.iter().for_each(|v| hasher.update(v.to_le_bytes())),
        }
    });
    Ok(())
}

fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

/// The bits of a whole part: by operator and case.
#[derive(Default)]
pub struct Bits {
    cases: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
}

impl Bits {
    /// Runs a case and keeps the hash of what it computed, and of whether it passed.
    pub fn of(&self, op: &str, id: &str, case: impl FnOnce() -> Outcome) -> Outcome {
        if UNDEFINED.contains(&op) {
            return case();
        }
        manual_seed(0);
        RUNNING.set(Some(Sha256::new()));
        let outcome = case();
        if let Some(mut hasher) = RUNNING.take() {
            hasher.update(match &outcome {
                Outcome::Passed => "passed",
                Outcome::Failed(_) => "failed",
                Outcome::Unsupported(_) => "unsupported",
            });
            let mut cases = self.cases.lock().unwrap_or_else(PoisonError::into_inner);
            cases.entry(op.to_owned()).or_default().insert(id.to_owned(), hex(hasher));
        }
        outcome
    }

    /// Lines `hash NAME HEX`: of the whole part, after one of every operator where `each` asks for them.
    pub fn lines(&self, part: &str, each: bool) -> Vec<String> {
        let cases = self.cases.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = Vec::new();
        let mut whole = Sha256::new();
        for (op, cases) in cases.iter() {
            let mut hasher = Sha256::new();
            for (id, hash) in cases {
                hasher.update(format!("{id} {hash}\n"));
            }
            let hash = hex(hasher);
            if everywhere(op) {
                whole.update(format!("{op} {hash}\n"));
            }
            if each {
                lines.push(format!("hash {part}/{op} {hash}"));
            }
        }
        lines.push(format!("hash {part} {}", hex(whole)));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(bits: &Bits, op: &str, values: &[f32]) {
        let case = || {
            see(&Tensor::from_vec(values.to_vec(), [values.len()]).expect("a vector")).expect("plain values");
            Outcome::Passed
        };
        assert_eq!(bits.of(op, "case", case), Outcome::Passed);
    }

    fn whole(runs: &[(&str, &[f32])]) -> String {
        let bits = Bits::default();
        runs.iter().for_each(|(op, values)| run(&bits, op, values));
        bits.lines("ops", false).remove(0)
    }

    #[test]
    fn one_bit_changes_the_hash_and_the_order_of_operators_does_not() {
        let next = f32::from_bits(2f32.to_bits() + 1);
        let before = whole(&[("add", &[1.0, 2.0]), ("mul", &[0.0])]);
        assert_eq!(whole(&[("mul", &[0.0]), ("add", &[1.0, 2.0])]), before);
        assert_ne!(whole(&[("mul", &[0.0]), ("add", &[1.0, next])]), before);
        assert_ne!(whole(&[("mul", &[-0.0]), ("add", &[1.0, 2.0])]), before);
    }

    #[test]
    fn what_is_undefined_or_of_this_system_has_no_part_in_the_whole() {
        let before = whole(&[("add", &[1.0])]);
        assert_eq!(whole(&[("add", &[1.0]), ("empty_like", &[2.0]), ("fft.rfft", &[3.0])]), before);
        let bits = Bits::default();
        run(&bits, "fft.rfft", &[3.0]);
        assert!(bits.lines("ops", true)[0].starts_with("hash ops/fft.rfft "));
    }

    #[test]
    fn nothing_is_kept_outside_a_case() {
        see(&Tensor::zeros([2])).expect("plain values");
        assert_eq!(Bits::default().lines("ops", true).len(), 1);
    }
}
