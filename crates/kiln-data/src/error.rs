//! What can go wrong with data from outside: each error names the file or address it is about.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The result of an operation on data from outside.
pub type Result<T, E = DataError> = std::result::Result<T, E>;

/// Why data could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The operating system refused an operation on a file or folder.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb: "open", "read", ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file's content is not what its format demands.
    #[error("{}: {detail}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A file is not, byte for byte, the published one.
    #[error("{}: the {algorithm} is {actual}, but {expected} was expected", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// "sha256" or "md5".
        algorithm: &'static str,
        /// The published checksum, in hexadecimal.
        expected: String,
        /// The file's checksum, in hexadecimal.
        actual: String,
    },
    /// No mirror delivered a file.
    #[error(
        "{name} could not be downloaded: {}. \
         Without a network, put the file at {}; data sets are also looked for in the folder KILN_DATA names",
        Failures(failures), target.display()
    )]
    Download {
        /// The file's name in the cache.
        name: String,
        /// Where the download would have gone.
        target: PathBuf,
        /// What happened at each mirror, in the order they were tried.
        failures: Vec<MirrorFailure>,
    },
    /// A file is neither on this machine nor may it be fetched.
    #[error("{what} was not found (looked in: {}); {hint}", listed(searched.iter().map(|path| path.display())))]
    NotFound {
        /// The data set or file.
        what: String,
        /// The files and folders that were tried.
        searched: Vec<PathBuf>,
        /// What to do about it.
        hint: String,
    },
    /// The cache folder cannot be written to.
    #[error(
        "the cache folder cannot be used: {}: {source}; set KILN_CACHE to a folder that can be written to",
        path.display()
    )]
    Cache {
        /// The folder or file that could not be created or opened.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// There is no place to keep downloads.
    #[error("no cache folder: the home folder is unknown; set KILN_CACHE to a folder that can be written to")]
    NoCacheFolder,
}

impl DataError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> DataError {
        DataError::Io { action, path: path.to_owned(), source }
    }

    pub(crate) fn format(path: &Path, detail: impl Into<String>) -> DataError {
        DataError::Format { path: path.to_owned(), detail: detail.into() }
    }
}

/// One mirror's part in a failed download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorFailure {
    /// The address that was tried.
    pub url: String,
    /// What went wrong there.
    pub reason: String,
}

impl fmt::Display for MirrorFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.url, self.reason)
    }
}

/// The failures of a download in one line.
struct Failures<'a>(&'a [MirrorFailure]);

impl fmt::Display for Failures<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("no mirror is known"),
            failures => f.write_str(&listed(failures)),
        }
    }
}

/// The items with "; " between them.
fn listed<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join("; ")
}

impl From<DataError> for kiln_autograd::Error {
    #[cold]
    #[track_caller]
    fn from(error: DataError) -> kiln_autograd::Error {
        use kiln_autograd::Error;
        match error {
            DataError::Io { path, source, .. } | DataError::Cache { path, source } => Error::io(path, source),
            DataError::Format { path, detail } => Error::format(path, detail),
            other => Error::other(other),
        }
    }
}
