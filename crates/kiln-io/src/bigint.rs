//! [`BigInt`]: Python's integers beyond 64 bits, kept as they are.

use std::fmt;

use crate::fault::{Outcome, wrong};

/// An integer that does not fit into 64 bits. Checkpoints rarely have one (a seed, a hash); it can be printed, compared and
/// saved again.
///
/// ```
/// use kiln_io::Value;
/// assert_eq!(Value::from(1u64 << 63).to_string(), "9223372036854775808");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BigInt {
    /// Two's complement, little-endian, without superfluous bytes at the end.
    bytes: Vec<u8>,
}

/// More bytes than any sensible number has; printing costs their square.
const MAX_BYTES: usize = 1024;

/// An integer of any size as a file has it.
pub(crate) enum Integer {
    Small(i64),
    Big(BigInt),
}

impl Integer {
    /// From two's complement, little-endian.
    pub(crate) fn from_le(bytes: &[u8]) -> Outcome<Integer> {
        if bytes.len() > MAX_BYTES {
            return wrong(format!("an integer of {} bytes", bytes.len()));
        }
        let bytes = trimmed(bytes);
        if bytes.len() > 8 {
            return Ok(Integer::Big(BigInt { bytes: bytes.to_vec() }));
        }
        let fill = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
        let mut word = [fill; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        Ok(Integer::Small(i64::from_le_bytes(word)))
    }

    /// From decimal digits with an optional sign.
    pub(crate) fn from_decimal(text: &str) -> Outcome<Integer> {
        if let Ok(small) = text.parse() {
            return Ok(Integer::Small(small));
        }
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        // 2.4 digits to the byte: the limit in bytes is checked once more when they are there.
        if digits.is_empty() || digits.len() > 3 * MAX_BYTES || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return wrong(format!("{:?} is no integer", text.chars().take(40).collect::<String>()));
        }
        let mut magnitude: Vec<u8> = vec![0];
        for digit in digits.bytes() {
            let mut carry = u16::from(digit - b'0');
            for byte in &mut magnitude {
                let value = u16::from(*byte) * 10 + carry;
                *byte = value as u8;
                carry = value >> 8;
            }
            if carry > 0 {
                magnitude.push(carry as u8);
            }
        }
        magnitude.push(0);
        if text.starts_with('-') {
            negate(&mut magnitude);
        }
        Integer::from_le(&magnitude)
    }
}

/// Without the bytes at the end that only repeat the sign.
fn trimmed(mut bytes: &[u8]) -> &[u8] {
    while let [.., before, last] = bytes {
        let sign = if before & 0x80 != 0 { 0xff } else { 0 };
        if *last != sign {
            break;
        }
        bytes = &bytes[..bytes.len() - 1];
    }
    if bytes == [0] { &[] } else { bytes }
}

fn negate(bytes: &mut [u8]) {
    let mut carry = true;
    for byte in bytes {
        let (value, overflow) = (!*byte).overflowing_add(carry as u8);
        (*byte, carry) = (value, overflow);
    }
}

impl BigInt {
    /// Two's complement, little-endian.
    pub fn to_le_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it is below zero.
    pub fn is_negative(&self) -> bool {
        self.bytes.last().is_some_and(|b| b & 0x80 != 0)
    }
}

impl From<u64> for Integer {
    fn from(n: u64) -> Integer {
        match i64::try_from(n) {
            Ok(small) => Integer::Small(small),
            Err(_) => {
                let mut bytes = n.to_le_bytes().to_vec();
                bytes.push(0);
                Integer::Big(BigInt { bytes })
            }
        }
    }
}

impl fmt::Display for BigInt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut magnitude = self.bytes.clone();
        if self.is_negative() {
            negate(&mut magnitude);
        }
        // Nine digits at a time, the last ones first.
        let mut groups = Vec::new();
        while magnitude.iter().any(|&b| b != 0) {
            let mut rest = 0u64;
            for byte in magnitude.iter_mut().rev() {
                let value = rest << 8 | u64::from(*byte);
                *byte = (value / 1_000_000_000) as u8;
                rest = value % 1_000_000_000;
            }
            groups.push(rest);
        }
        let mut text = groups.pop().unwrap_or(0).to_string();
        groups.iter().rev().for_each(|group| text.push_str(&format!("{group:09}")));
        f.pad_integral(!self.is_negative(), "", &text)
    }
}

impl fmt::Debug for BigInt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(n: Integer) -> String {
        match n {
            Integer::Small(n) => n.to_string(),
            Integer::Big(n) => format!("big {n}"),
        }
    }

    #[test]
    fn bytes_and_digits_give_pythons_integers() {
        // int.from_bytes(bytes, "little", signed=True)
        let le = |bytes: &[u8]| shown(Integer::from_le(bytes).expect("short"));
        assert_eq!(le(&[]), "0");
        assert_eq!(le(&[0xff]), "-1");
        assert_eq!(le(&[0xff, 0x00]), "255");
        assert_eq!(le(&[0x00, 0x80]), "-32768");
        assert_eq!(le(&[0, 0, 0, 0, 0, 0, 0, 0x80, 0]), "big 9223372036854775808");
        assert_eq!(le(&[0, 0, 0, 0, 0, 0, 0, 0x80, 0xff]), "-9223372036854775808");
        // (2**70).to_bytes(9, "little", signed=True), and of its negative
        assert_eq!(le(&[0, 0, 0, 0, 0, 0, 0, 0, 0x40]), "big 1180591620717411303424");
        assert_eq!(le(&[0, 0, 0, 0, 0, 0, 0, 0, 0xc0]), "big -1180591620717411303424");
    }

    #[test]
    fn digits_round_trip_and_nonsense_is_refused() {
        for text in [
            "1180591620717411303424",
            "-1000000000000000000000000000001",
            "340282366920938463463374607431768211456",
        ] {
            let n = Integer::from_decimal(text).expect("digits");
            assert_eq!(shown(n), format!("big {text}"));
        }
        assert!(Integer::from_decimal("12x").is_err());
        assert!(Integer::from_decimal("").is_err());
        assert!(Integer::from_decimal(&"9".repeat(1 << 16)).is_err());
        assert!(Integer::from_le(&[1; 5000]).is_err());
    }
}
