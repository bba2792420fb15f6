//! [`Fault`]: what went wrong inside a file, before the file's name is known.

use std::io;
use std::path::Path;

use kiln_autograd::Error;

/// Why reading or writing stopped. Parsers work on slices and readers and do not know the file's name;
/// [`Fault::at`] adds it at the door.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The content is not what it should be.
    Format(String),
    /// The content is valid, but Kiln has no such thing.
    Unsupported(String),
    /// The operating system's error.
    Io(io::Error),
    /// An error of a tensor operation.
    Kiln(Error),
}

/// What parsers return.
pub(crate) type Outcome<T> = Result<T, Fault>;

/// Says that the content is wrong.
pub(crate) fn wrong<T>(detail: impl Into<String>) -> Outcome<T> {
    Err(Fault::Format(detail.into()))
}

/// Says that Kiln has no such thing.
pub(crate) fn unsupported<T>(detail: impl Into<String>) -> Outcome<T> {
    Err(Fault::Unsupported(detail.into()))
}

impl Fault {
    /// The error for the user, with the name of the file.
    pub(crate) fn at(self, path: &Path) -> Error {
        match self {
            Fault::Format(detail) => Error::format(path, detail),
            Fault::Unsupported(detail) => Error::unsupported(path.display().to_string(), detail),
            Fault::Io(error) => match error.kind() {
                io::ErrorKind::UnexpectedEof => Error::format(path, "the file is cut off"),
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                    Error::format(path, error.to_string())
                }
                _ => Error::io(path, error),
            },
            Fault::Kiln(error) => error,
        }
    }

    /// The same fault, whose text first says what it is about.
    pub(crate) fn about(self, what: &str) -> Fault {
        match self {
            Fault::Format(detail) => Fault::Format(format!("{what}: {detail}")),
            Fault::Unsupported(detail) => Fault::Unsupported(format!("{what}: {detail}")),
            Fault::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Fault::Format(format!("{what} is cut off"))
            }
            other => other,
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::Io(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Kiln(error)
    }
}
