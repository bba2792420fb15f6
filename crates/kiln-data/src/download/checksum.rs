//! Checksums of files, as publishers give them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use md5::Md5;
use sha2::{Digest, Sha256};

use crate::error::{DataError, Result};

/// A file's published checksum, in hexadecimal of either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum<'a> {
    /// SHA-256: also proof against a mirror that cheats.
    Sha256(&'a str),
    /// MD5: proof against damage only. For data sets published with nothing better.
    Md5(&'a str),
}

impl Checksum<'_> {
    /// Reads the file and compares.
    ///
    /// # Errors
    ///
    /// [`DataError::Checksum`] when it differs, [`DataError::Io`] when the file cannot be read.
    pub fn verify(&self, path: &Path) -> Result<()> {
        let (algorithm, expected, actual) = match *self {
            Checksum::Sha256(expected) => ("sha256", expected, hex_digest::<Sha256>(path)?),
            Checksum::Md5(expected) => ("md5", expected, hex_digest::<Md5>(path)?),
        };
        if actual.eq_ignore_ascii_case(expected) {
            return Ok(());
        }
        Err(DataError::Checksum { path: path.to_owned(), algorithm, expected: expected.to_owned(), actual })
    }
}

fn hex_digest<D: Digest>(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(|source| DataError::io("open", path, source))?;
    let mut digest = D::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(got) => digest.update(&chunk[..got]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(source) => return Err(DataError::io("read", path, source)),
        }
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
